"""`report`: one HTML file that opens offline, and the tables beside it as CSV and Parquet."""

import io
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pyarrow as pa

from ...settings import PREFIX
from ..configuration import Configuration, Refusal, without_password
from ..store.storage import Storage
from .analysis import Experiment, open_configured
from .html import comparison_page, report_page

LONGEST_NAME = 200  # a file system takes 255 bytes


def write_report(configuration: Configuration) -> None:
    """Write the report of the experiment NAME into its folder, and say where. Raises Refusal."""
    experiment = open_configured(configuration)
    if not any((trial.last_result or {}).get("training_iteration") for trial in experiment.trials):
        raise Refusal(f"{PREFIX}NAME={experiment.name!r}: no trial has reported anything yet")
    for line in experiment.damaged:
        print(line)
    files = {"report.html": report_page(experiment).encode()}
    files |= _table("trials", experiment.trials_table())
    if experiment.has_history:
        files |= _table("results", experiment.results_table())
    elif not experiment.damaged:
        print("LOGGERS has neither csv nor json: there is no history, only each trial's outcome.")
    _write(experiment.storage, files, experiment.name)


def write_comparison(configurations: Sequence[Configuration]) -> None:
    """Write a comparison of experiments into STORAGE_PATH, and say where. Raises Refusal."""
    names = [str(configuration.settings.name) for configuration in configurations]
    if len(set(names)) < len(names):
        raise Refusal(f"report {' '.join(names)}: takes different experiments")
    experiments = [open_configured(configuration) for configuration in configurations]
    _check_comparable(experiments)
    file = f"report-{'-vs-'.join(names)}.html"
    if len(file) > LONGEST_NAME:
        file = f"report-{names[0]}-vs-{len(names) - 1}-others.html"
    _write(experiments[0].storage, {file: comparison_page(experiments).encode()})


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
            raise Refusal(f"{PREFIX}NAME={its.name!r}: no trial has reported a finite {its.metric}")


def _write(storage: Storage, files: dict[str, bytes], *folder: str) -> None:
    """Write the files; where the storage takes none, into a folder of the working folder."""
    where = "/".join([storage.path.rstrip("/"), *folder])
    try:
        for name, content in files.items():
            storage.write(content, *folder, name)
    except OSError as error:
        reason = without_password(str(error).splitlines()[0])
        where = str(Path("reports", *folder).resolve())
        print(f"{without_password(storage.path)}: can't be written ({reason})")
        for name, content in files.items():
            Storage(where).write(content, name)
    page, *tables = files
    print(f"Report: {without_password(where)}/{page}")
    if tables:
        print(f"Tables: {', '.join(tables)} beside it")


def _table(name: str, table: pd.DataFrame) -> dict[str, bytes]:
    """The files of a table."""
    parquet = io.BytesIO()
    _storable(table).to_parquet(parquet)
    return {
        f"{name}.csv": table.to_csv(index=False).encode(),
        f"{name}.parquet": parquet.getvalue(),
    }


def _storable(table: pd.DataFrame) -> pd.DataFrame:
    """The table with text in place of what no column can hold: numbers beside words, say."""
    table = table.copy()
    for column in table.columns[table.dtypes == "object"]:
        try:
            pa.array(table[column], from_pandas=True)
        except pa.ArrowException:
            table[column] = table[column].map(str, na_action="ignore")
    return table
