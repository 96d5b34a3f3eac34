"""The results of a tiny sweep, and the files that it writes."""

import json
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

from {{cookiecutter.package_name}}.harness.cli import main
from {{cookiecutter.package_name}}.harness.results import Experiment
from {{cookiecutter.package_name}}.project import PROJECT
from {{cookiecutter.package_name}}.settings import Settings

# Not warnings about what other packages use, or those of Python about what Ray uses.
DEPRECATED = re.compile(
    r"^(?!.*(?:-packages/(?!ray/)|Python 3\.)).*(?:deprecat|FutureWarning)", re.IGNORECASE
)


def test_every_trial_ends(experiment: Experiment) -> None:
    assert experiment.outcome == "done"
    assert [trial.status for trial in experiment.trials] == ["TERMINATED"] * 3
    assert all(trial.last_result["training_iteration"] == 3 for trial in experiment.trials)


def test_the_analysis_knows_the_best(experiment: Experiment) -> None:
    metric, mode = experiment.settings.metric, experiment.settings.mode
    assert set(Settings.METRICS) <= set(experiment.results_df.columns)
    results = pd.concat(experiment.trial_dataframes.values())[metric]
    assert len(results) == 9
    assert experiment.best_value == (results.max() if mode == "max" else results.min())
    assert experiment.best_config is not None
    assert experiment.best_config["seed"] == experiment.settings.seed


def test_each_trial_leaves_its_results(experiment: Experiment, folder: Path) -> None:
    for trial in experiment.trials:
        files = folder / f"trial_{trial.trial_id}"
        progress = pd.read_csv(files / "progress.csv")
        results = [json.loads(line) for line in (files / "result.json").read_text().splitlines()]
        assert progress["training_iteration"].tolist() == [1, 2, 3]
        assert [result["training_iteration"] for result in results] == [1, 2, 3]
        assert all(math.isfinite(result[name]) for result in results for name in Settings.METRICS)
        assert list(files.glob("events.out.tfevents.*"))
        assert "iteration 3" in (files / "stdout").read_text()
        assert (files / "stderr").is_file()
        assert len(list(files.glob("checkpoint_*"))) >= 2


def test_the_logger_of_our_own(experiment: Experiment, folder: Path) -> None:
    best = json.loads((folder / "best.json").read_text())
    assert best[experiment.settings.metric] == experiment.best_value


def test_each_trial_leaves_a_model(
    experiment: Experiment, folder: Path, load_export: Callable[[Path], Any], data: Any
) -> None:
    for trial in experiment.trials:
        files = folder / f"trial_{trial.trial_id}"
        exported = json.loads((files / "exported.json").read_text())["files"]
        model = load_export(files / exported["model"])
        assert len(model.predict(data.examples)) == len(data.examples)


def test_a_report(experiment: Experiment, folder: Path, storage: Path) -> None:
    assert main(PROJECT, ["report", "tiny", "--storage-path", str(storage)]) == 0
    assert f"{experiment.best_value:.4g}" in (folder / "report.html").read_text()
    assert len(pd.read_parquet(folder / "trials.parquet")) == 3


def test_nothing_deprecated_is_used(said: str, folder: Path) -> None:
    """In the driver and in the workers: a later Ray will not accept it."""
    logs = [said, *(path.read_text() for path in folder.glob("trial_*/stderr"))]
    found = {line for log in logs for line in log.splitlines() if DEPRECATED.match(line)}
    assert not found, "\n".join(sorted(found))
