"""`report`: one HTML page that opens offline, and tables as CSV and Parquet beside it."""

import io
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pyarrow as pa

from ..configuration import Configuration
from ..errors import Refusal, reason, without_password
from ..store.record import open_storage
from ..store.storage import Folder
from .experiment import Experiment, open_configured
from .html import comparison_page, report_page

LONGEST_NAME = 200  # characters; file systems allow 255 bytes


def write_report(configuration: Configuration) -> None:
    """Write the report of the experiment NAME into its folder, and print where. Raises Refusal."""
    experiment = open_configured(configuration)
    if not any((trial.last_result or {}).get("training_iteration") for trial in experiment.trials):
        raise Refusal(f"{experiment.settings.given('name')}: no trial has reported anything yet")
    for line in experiment.damaged:
        print(line)
    files = {"report.html": report_page(experiment).encode()}
    files |= _table("trials", experiment.trials_table())
    if experiment.has_history:
        files |= _table("results", experiment.results_table())
    elif not experiment.damaged:
        print("LOGGERS has neither csv nor json: there is no history, only each trial's outcome.")
    _write(experiment.folder, files, Path("reports", experiment.name))


def write_comparison(configurations: Sequence[Configuration]) -> None:
    """Write a comparison of experiments into STORAGE_PATH, and print where. Raises Refusal."""
    names = [str(configuration.settings.name) for configuration in configurations]
    if len(set(names)) < len(names):
        raise Refusal(f"report {' '.join(names)}: takes different experiments")
    experiments = [open_configured(configuration) for configuration in configurations]
    _check_comparable(experiments)
    file = f"report-{'-vs-'.join(names)}.html"
    if len(file) > LONGEST_NAME:
        file = f"report-{names[0]}-vs-{len(names) - 1}-others.html"
    page = comparison_page(experiments).encode()
    _write(open_storage(configurations[0].settings), {file: page}, Path("reports"))


def _check_comparable(experiments: Sequence[Experiment]) -> None:
    first = experiments[0].settings
    for experiment in experiments:
        its = experiment.settings
        if (its.metric, its.mode) != (first.metric, first.mode):
            raise Refusal(
                f"{first.name} has {first.metric} ({first.mode}), {its.name} has {its.metric}"
                f" ({its.mode}): --metric and --mode say what to compare by"
            )
        if experiment.best_trial is None:
            raise Refusal(f"{its.given('name')}: no trial has reported a finite {its.metric}")


def _write(folder: Folder, files: dict[str, bytes], otherwise: Path) -> None:
    """Write the files; if the storage can't be written, into `otherwise`."""
    try:
        for name, content in files.items():
            folder.write(content, name)
    except OSError as error:
        print(f"{without_password(folder.path)}: can't be written ({reason(error)})")
        folder = Folder.open(str(otherwise.resolve()))
        for name, content in files.items():
            folder.write(content, name)
    page, *tables = files
    print(f"Report: {without_password(folder.path)}/{page}")
    if tables:
        print(f"Tables: {', '.join(tables)} beside it")


def _table(name: str, table: pd.DataFrame) -> dict[str, bytes]:
    """A table as CSV and as Parquet."""
    parquet = io.BytesIO()
    _storable(table).to_parquet(parquet)
    return {
        f"{name}.csv": table.to_csv(index=False).encode(),
        f"{name}.parquet": parquet.getvalue(),
    }


def _storable(table: pd.DataFrame) -> pd.DataFrame:
    """The table, with columns of mixed types (numbers and text, say) converted to text."""
    table = table.copy()
    for column in table.columns[table.dtypes == "object"]:
        try:
            pa.array(table[column], from_pandas=True)
        except pa.ArrowException:
            table[column] = table[column].map(str, na_action="ignore")
    return table
