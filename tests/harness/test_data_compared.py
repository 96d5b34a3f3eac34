"""A resume, an extend and an export are compared with the rows of the run; what export refuses."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from ray import tune
from ray.tune.trainable import trainable as ray_trainable
from ray_tune_experiment import data as data_module
from ray_tune_experiment.data import load_data
from ray_tune_experiment.harness.cli.commands import main
from ray_tune_experiment.harness.configuration import Configuration, Refusal, load
from ray_tune_experiment.harness.results import export as export_module
from ray_tune_experiment.harness.run import preflight
from ray_tune_experiment.harness.run.rehearsal import Outcome
from ray_tune_experiment.harness.run.session import prepare
from ray_tune_experiment.harness.store import dataset
from ray_tune_experiment.harness.store.dataset import describe
from ray_tune_experiment.harness.store.record import Record
from ray_tune_experiment.harness.store.storage import Storage
from ray_tune_experiment.harness.tune.space import describe_space
from ray_tune_experiment.search_space import search_space
from ray_tune_experiment.trainable import ExperimentTrainable

CONFIG = {"hidden_units": 16, "learning_rate": 0.01, "l2": 1e-4, "batch_size": 64, "seed": 0}
FLAGS = ["--name", "x", "--no-check-search-space"]


class Experiment:
    """An experiment `x` of one trial with two checkpoints, as a run leaves it, made without Ray."""

    def __init__(self, folder: Path) -> None:
        self.rows, self.folder = folder / "rows.csv", folder / "results/x"
        self.trial = self.folder / "trial_a_00000"
        table = pd.DataFrame({"a": range(40), "colour": ["red", "blue"] * 20})
        table.assign(label=["no"] * 20 + ["yes"] * 20).to_csv(self.rows, index=False)
        flags = ["--data-path", "rows.csv", "--target", "label", "--max-iterations", "2"]
        configuration = load([*FLAGS, *flags])
        settings = configuration.settings
        storage = Storage(settings.storage_path)
        data = load_data(settings.data_path, settings.target)
        self.record = Record.new(
            storage, configuration, describe_space(search_space()), [], describe(data)
        )
        self.record.start_run(configuration)
        self.record.end_run("done", best=None)

        class WithData(ExperimentTrainable):
            def setup(self, config: dict[str, Any], data: Any = data) -> None:
                super().setup(config, data)

        trainable = WithData(CONFIG)
        self.results = []
        for number in range(2):
            result = trainable.train()
            self.results.append({k: v for k, v in result.items() if k != "config"})
            trainable.save(str(self.trial / f"checkpoint_{number:06d}"))
        trainable.stop()
        values = [result["validation_accuracy"] for result in self.results]
        trial = {
            "trial_id": "a_00000",
            "experiment_tag": "0",
            "status": "TERMINATED",
            "relative_logdir": self.trial.name,
            "config": CONFIG,
            "evaluated_params": CONFIG,
        }
        analysis = {"max": max(values), "min": min(values), "avg": values[0], "last": values[1]}
        run = {
            "last_result": self.results[-1],
            "metric_analysis": {"validation_accuracy": analysis},
        }
        state = {"trial_data": [[json.dumps(trial), json.dumps(run)]]}
        (self.folder / "experiment_state-1.json").write_text(json.dumps(state, default=str))


@pytest.fixture
def experiment(empty_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Experiment:
    monkeypatch.setattr(ray_trainable, "DEFAULT_STORAGE_PATH", str(empty_folder / "ray"))
    return Experiment(empty_folder)


def resumed(*flags: str) -> Configuration:
    configuration = load([*FLAGS, "--resume", *flags])
    prepare(configuration)
    return configuration


def refusals(call: Callable[[], object]) -> list[str]:
    with pytest.raises(Refusal) as refused:
        call()
    return list(refused.value.findings)


def export(capsys: pytest.CaptureFixture[str], *flags: str) -> tuple[int, str]:
    code = main(["export", "x", *flags])
    said = capsys.readouterr()
    return code, said.out + said.err


def digest(experiment: Experiment, path: Path) -> str:
    return str(describe(load_data(path, "label"))["digest"])[:12]


def test_a_moved_file_is_named_alone(
    experiment: Experiment, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    moved = experiment.rows.rename(experiment.rows.with_name("moved.csv"))
    gone = f"EXPERIMENT_DATA_PATH='{experiment.rows}': No such file or directory; --data-path names"
    (finding,) = refusals(resumed)
    assert finding.startswith(gone)
    code, said = export(capsys)
    assert code == 2
    assert said.startswith(f"error: {gone}")
    assert len(said.splitlines()) == 1

    settings = resumed("--data-path", "moved.csv").settings
    assert (settings.data_path, settings.target) == (moved, "label")
    code, said = export(capsys, "--data-path", "moved.csv")
    assert code == 0, said
    facts = json.loads((experiment.folder / "best/export.json").read_text())
    assert facts["data"] == experiment.record.content["data"]

    moved.rename(experiment.rows)
    elsewhere = experiment.rows.parent / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    storage = ("--storage-path", str(experiment.folder.parent))
    assert resumed(*storage).settings.data_path == experiment.rows
    assert export(capsys, *storage)[0] == 0


def test_other_rows_are_refused(experiment: Experiment, capsys: pytest.CaptureFixture[str]) -> None:
    before = digest(experiment, experiment.rows)
    experiment.rows.write_text(experiment.rows.read_text().replace("7,blue", "8,blue"))
    now = digest(experiment, experiment.rows)
    assert before != now
    assert describe(load_data(experiment.rows, "label"))["description"] == str(
        f"{experiment.rows}, target label"
    )
    for flags in ([], ["--resume", "extend", "--num-samples", "9"]):
        configuration = load([*FLAGS, *(flags or ["--resume"])])
        (finding,) = refusals(lambda: prepare(configuration))  # noqa: B023
        assert finding.startswith("data: was ")
        assert f"(digest {before}), is " in finding
        assert f"(digest {now})" in finding
    code, said = export(capsys)
    assert code == 2
    assert f"(digest {before}), is " in said
    assert f"(digest {now}): not the rows that x was run on" in said
    assert len(said.splitlines()) == 1
    assert not (experiment.folder / "best").exists()


@pytest.mark.parametrize(("constant", "value"), [("VALIDATION_FRACTION", 0.3), ("SPLIT_SEED", 1)])
def test_another_split_is_refused(
    constant: str,
    value: float,
    experiment: Experiment,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(data_module, constant, value)
    (finding,) = refusals(resumed)
    assert finding.startswith("data: was ")
    code, said = export(capsys)
    assert code == 2
    assert "not the rows that x was run on" in said


def test_what_is_no_file_of_its_own_is_described_too(
    experiment: Experiment, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["show", "x"]) == 0
    said = capsys.readouterr().out
    assert f"data  {experiment.rows}, target label (digest " in said
    assert "x_train 30x3 float32" in said
    described = describe(None)
    experiment.record.content["data"] = described
    experiment.record.save()
    assert main(["show", "x"]) == 0
    assert f"data  {described['description']} (no digest)" in capsys.readouterr().out


def test_checkpoints_without_a_seal_are_named(
    experiment: Experiment, capsys: pytest.CaptureFixture[str]
) -> None:
    for seal in experiment.trial.glob("checkpoint_*/seal.json"):
        seal.write_text("{")
    code, said = export(capsys)
    assert code == 2
    assert "seal.json" in said
    assert "trial_a_00000/checkpoint_000001" in said
    assert "CHECKPOINT_FREQUENCY" not in said


def test_without_checkpoints_the_setting_is_named_only_where_it_is_the_cause(
    experiment: Experiment, capsys: pytest.CaptureFixture[str]
) -> None:
    for checkpoint in experiment.trial.glob("checkpoint_*"):
        shutil.rmtree(checkpoint)
    code, said = export(capsys)
    assert code == 2
    assert said.endswith("no trial with a finite validation_accuracy has a checkpoint\n")
    experiment.record.content["settings"]["checkpoint_frequency"]["value"] = 0
    experiment.record.save()
    assert "EXPERIMENT_CHECKPOINT_FREQUENCY was 0" in export(capsys)[1]


def test_a_trainable_that_exports_nothing_is_refused(
    experiment: Experiment, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for returned in ({}, None, {"model": "none"}):
        monkeypatch.setattr(
            ExperimentTrainable,
            "_export_model",
            lambda *_, returned=returned: returned,
        )
        code, said = export(capsys)
        assert code == 2
        assert "_export_model returned no file for 'model'" in said
    monkeypatch.setattr(ExperimentTrainable, "_export_model", tune.Trainable._export_model)
    code, said = export(capsys)
    assert code == 2
    assert "ExperimentTrainable has no method _export_model" in said
    assert not (experiment.folder / "best").exists()


class Run:
    """What a running experiment does to its checkpoints while they are listed."""

    def __init__(self, experiment: Experiment, monkeypatch: pytest.MonkeyPatch) -> None:
        self.experiment, self.listed, self.do = experiment, 0, [self.nothing]
        monkeypatch.setattr(export_module, "outcome", lambda _: "running")
        candidates = export_module._candidates

        def then_change(*arguments: Any) -> Any:
            for candidate in candidates(*arguments):
                self.do.pop(0)() if self.do else None
                yield candidate

        monkeypatch.setattr(export_module, "_candidates", then_change)

    def nothing(self) -> None:
        """Leave all as it is."""

    def replace(self) -> None:
        """Write a newer checkpoint, and delete the older."""
        old = max(self.experiment.trial.glob("checkpoint_*"))
        number = int(old.name.partition("_")[2]) + 1
        shutil.copytree(old, old.with_name(f"checkpoint_{number:06d}"))
        for checkpoint in self.experiment.trial.glob("checkpoint_*"):
            if not checkpoint.name.endswith(f"{number:06d}"):
                shutil.rmtree(checkpoint)


def test_export_while_it_runs(
    experiment: Experiment, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run(experiment, monkeypatch)
    code, said = export(capsys)
    assert code == 0, said
    assert "x is running: this is its best checkpoint so far" in said

    run.do = [run.replace]
    code, said = export(capsys)
    assert code == 0, said
    assert "whole" not in said
    assert "checkpoint_" not in said
    facts = json.loads((experiment.folder / "best/export.json").read_text())
    assert facts["checkpoint"] == f"{experiment.trial.name}/checkpoint_000002"

    # One that is damaged for good is told, and the next is taken.
    shutil.copytree(experiment.trial / "checkpoint_000002", experiment.trial / "checkpoint_000003")
    model = experiment.trial / "checkpoint_000002/model.skops"
    model.write_bytes(model.read_bytes()[:-20])
    assert export(capsys)[0] == 0

    for checkpoint in experiment.trial.glob("checkpoint_*"):
        shutil.rmtree(checkpoint)
    code, said = export(capsys)
    assert code == 2
    assert "has a checkpoint yet: it is running" in said


def test_load_data_may_return_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dataset, "load_data", lambda *_: None)
    rehearsed = []

    def rehearse(_: Any, __: Any, sample: Any, *___: Any) -> Outcome:
        rehearsed.append(sample)
        return Outcome()

    monkeypatch.setattr(preflight, "rehearse", rehearse)
    ready = prepare(load(["--name", "new"]))
    assert rehearsed == [None]
    assert ready.described == describe(None)
