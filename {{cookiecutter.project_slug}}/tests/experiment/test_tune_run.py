"""A tiny sweep through the same `tune_run` that users call, and what it leaves on disk."""

import json
import math
from pathlib import Path

import pandas as pd
import pytest
from ray.tune.analysis import ExperimentAnalysis
from sklearn.datasets import load_digits

from {{cookiecutter.package_name}}.data import load_data
from {{cookiecutter.package_name}}.harness.cli.commands import main
from {{cookiecutter.package_name}}.harness.configuration import load
from {{cookiecutter.package_name}}.harness.results.analysis import open_experiment
from {{cookiecutter.package_name}}.harness.store.dataset import describe
from {{cookiecutter.package_name}}.harness.store.record import Record
from {{cookiecutter.package_name}}.harness.store.storage import Storage
from {{cookiecutter.package_name}}.harness.tune.space import describe_space
from {{cookiecutter.package_name}}.model import (
    CHECKPOINT_FILE,
    EXPORT_FILE,
    load_export,
)
from {{cookiecutter.package_name}}.search_space import search_space
from {{cookiecutter.package_name}}.settings import METRICS, Settings
from {{cookiecutter.package_name}}.tune_run import tune_run


def test_every_trial_ends(analysis: ExperimentAnalysis, settings: Settings) -> None:
    assert [trial.status for trial in analysis.trials] == ["TERMINATED"] * settings.num_samples
    assert all(trial.last_result["training_iteration"] == 3 for trial in analysis.trials)


def test_the_analysis_knows_the_best(analysis: ExperimentAnalysis, settings: Settings) -> None:
    table = analysis.dataframe()
    assert len(table) == settings.num_samples
    assert set(METRICS) <= set(analysis.results_df.columns)
    assert len(analysis.trial_dataframes) == settings.num_samples
    assert analysis.best_result[settings.metric] == table[settings.metric].max()
    assert analysis.best_config["seed"] == settings.seed


def test_each_trial_leaves_its_results(analysis: ExperimentAnalysis, folder: Path) -> None:
    for trial in analysis.trials:
        files = folder / f"trial_{trial.trial_id}"
        progress = pd.read_csv(files / "progress.csv")
        results = [json.loads(line) for line in (files / "result.json").read_text().splitlines()]
        assert progress["training_iteration"].tolist() == [1, 2, 3]
        assert [result["training_iteration"] for result in results] == [1, 2, 3]
        assert all(math.isfinite(result[name]) for result in results for name in METRICS)
        assert list(files.glob("events.out.tfevents.*"))
        assert "iteration 3: loss" in (files / "stdout").read_text()
        assert (files / "stderr").is_file()
        assert len(list(files.glob(f"checkpoint_*/{CHECKPOINT_FILE}"))) == 2


def test_the_logger_of_our_own(analysis: ExperimentAnalysis, folder: Path) -> None:
    best = json.loads((folder / "best.json").read_text())
    values = pd.concat(analysis.trial_dataframes.values())["validation_accuracy"]
    assert best["validation_accuracy"] == values.max()


def test_each_trial_leaves_a_model(analysis: ExperimentAnalysis, folder: Path) -> None:
    digits = load_digits(as_frame=True)
    for trial in analysis.trials:
        model = load_export(folder / f"trial_{trial.trial_id}" / EXPORT_FILE)
        assert model.score(digits.data, digits.target) == pytest.approx(
            trial.last_result["validation_accuracy"], abs=0.1
        )


def test_a_report(analysis: ExperimentAnalysis, settings: Settings, folder: Path) -> None:
    where = ["--name", str(settings.name), "--storage-path", settings.storage_path]
    configuration = load(where)
    storage, space = Storage(settings.storage_path), describe_space(search_space())
    record = Record.new(storage, configuration, space, [], describe(load_data()))
    record.start_run(configuration)
    record.end_run("done")
    again = open_experiment(str(settings.name), settings.storage_path)
    assert again.best_config == analysis.best_config
    assert again.study().best_value == analysis.best_result[settings.metric]
    assert main(["report", *where]) == 0
    assert f"{analysis.best_result[settings.metric]:.4g}" in (folder / "report.html").read_text()
    assert len(pd.read_parquet(folder / "trials.parquet")) == settings.num_samples


def test_a_sweep_of_your_own_file(one_ray: None, settings: Settings, tmp_path: Path) -> None:
    table = load_digits(as_frame=True).frame.astype({"target": str})
    table.to_parquet(tmp_path / "rows.parquet")
    changes = {
        "name": "own-file",
        "data_path": tmp_path / "rows.parquet",
        "target": "target",
        "num_samples": 1,
        "max_iterations": 1,
        "scheduler": "asha",
        "loggers": [],
        "log_to_file": ("out.log", "err.log"),
    }
    own = tune_run(settings.model_copy(update=changes))
    (trial,) = own.trials
    files = Path(own.experiment_path) / f"trial_{trial.trial_id}"
    assert trial.status == "TERMINATED"
    assert not (files / "progress.csv").exists()
    assert "iteration 1" in (files / "out.log").read_text()
