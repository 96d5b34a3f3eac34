"""`export`: from which checkpoint, on which data, and why not."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from harness.cli import main
from harness.project import Project
from harness.results.checkpoints import Checkpoints
from harness.results.export import trial_config
from harness.run.journal import encoded
from harness.store.dataset import describe
from harness.store.record import Record
from harness.store.saved_trials import SavedTrial
from ray import tune
from stub import PROJECT, Data
from stub.pieces import StubTrainable

from tests.harness.saved import SavedExperiment, changed


@pytest.fixture
def experiment(empty_folder: Path) -> SavedExperiment:
    return SavedExperiment(empty_folder)


def export(
    capsys: pytest.CaptureFixture[str], *flags: str, project: Project = PROJECT
) -> tuple[int, str]:
    code = main(project, ["export", "x", *flags])
    said = capsys.readouterr()
    return code, said.out + said.err


def facts(experiment: SavedExperiment) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((experiment.folder / "best/export.json").read_text())
    return found


def test_the_best_checkpoint(
    experiment: SavedExperiment, capsys: pytest.CaptureFixture[str]
) -> None:
    code, said = export(capsys)
    assert code == 0, said
    assert "x: trial a_00000 after iteration 2, score 1.0000" in said
    made = facts(experiment)
    assert made["checkpoint"] == "trial_a_00000/checkpoint_000001"
    assert made["data"] == experiment.record.content["data"]
    file = experiment.folder / "best" / made["files"]["model"]["file"]
    assert json.loads(file.read_text()) == {"rate": 0.5, "score": 1.0}
    said = export(capsys, "--metric", "score", "--mode", "min")[1]
    assert "after iteration 1, score 0.5000" in said


def test_a_data_file_that_was_moved(
    experiment: SavedExperiment, capsys: pytest.CaptureFixture[str]
) -> None:
    experiment.rows.rename(experiment.rows.with_name("moved.txt"))
    code, said = export(capsys)
    assert code == 2
    assert said == (
        f"error: EXPERIMENT_DATA_PATH='{experiment.rows}': No such file or directory;"
        " --data-path names where it is\n"
    )
    code, said = export(capsys, "--data-path", "moved.txt")
    assert code == 0, said
    assert facts(experiment)["data"] == experiment.record.content["data"]


def test_from_another_folder(
    experiment: SavedExperiment,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert export(capsys)[0] == 2
    assert export(capsys, "--storage-path", str(experiment.folder.parent))[0] == 0


def test_other_rows_are_refused(
    experiment: SavedExperiment, capsys: pytest.CaptureFixture[str]
) -> None:
    before = experiment.record.content["data"]["digest"][:12]
    experiment.rows.write_text("1\n2\n3\n5\n")
    code, said = export(capsys)
    assert code == 2
    assert f"(digest {before}), is " in said
    assert ": not the rows that x was run on; --data-path names their file, and" in said
    assert len(said.splitlines()) == 1
    assert not (experiment.folder / "best").exists()


def test_another_split_is_refused(
    experiment: SavedExperiment, capsys: pytest.CaptureFixture[str]
) -> None:
    def load_data(settings: Any) -> Data:
        whole: Data = PROJECT.parts().load_data(settings)
        return Data(whole.rows[1:], whole.description)

    code, said = export(capsys, project=changed(load_data=load_data))
    assert code == 2
    assert "not the rows that x was run on" in said


def test_show_names_the_data(
    experiment: SavedExperiment, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(PROJECT, ["show", "x"]) == 0
    said = capsys.readouterr().out
    assert f"data  {experiment.rows} (digest " in said
    assert "rows 4 float64" in said
    described = describe(None)
    experiment.record.content["data"] = described
    experiment.record.save()
    assert main(PROJECT, ["show", "x"]) == 0
    assert f"data  {described['description']} (no digest)" in capsys.readouterr().out


def test_checkpoints_without_a_seal_are_named(
    experiment: SavedExperiment, capsys: pytest.CaptureFixture[str]
) -> None:
    for seal in experiment.trial.glob("checkpoint_*/seal.json"):
        seal.write_text("{")
    code, said = export(capsys)
    assert code == 2
    assert "seal.json" in said
    assert "trial_a_00000/checkpoint_000001" in said
    assert "CHECKPOINT_FREQUENCY" not in said


def test_without_checkpoints_the_setting_is_named_only_where_it_is_the_cause(
    experiment: SavedExperiment, capsys: pytest.CaptureFixture[str]
) -> None:
    for checkpoint in experiment.trial.glob("checkpoint_*"):
        shutil.rmtree(checkpoint)
    code, said = export(capsys)
    assert code == 2
    assert said.endswith("no trial with a finite score has a checkpoint\n")
    experiment.record.content["settings"]["checkpoint_frequency"]["value"] = 0
    experiment.record.save()
    assert "EXPERIMENT_CHECKPOINT_FREQUENCY was 0" in export(capsys)[1]


@pytest.mark.parametrize("returned", [{}, None, {"model": "none"}])
def test_a_trainable_that_exports_no_file_is_refused(
    experiment: SavedExperiment, capsys: pytest.CaptureFixture[str], returned: Any
) -> None:
    class ExportsNone(StubTrainable):
        def _export_model(self, export_formats: list[str], export_dir: str) -> Any:
            return returned

    code, said = export(capsys, project=changed(trainable=ExportsNone))
    assert code == 2
    assert "ExportsNone._export_model returned no file for 'model'" in said
    assert not (experiment.folder / "best").exists()


def test_a_trainable_that_cannot_export_is_refused(
    experiment: SavedExperiment, capsys: pytest.CaptureFixture[str]
) -> None:
    class Plain(StubTrainable):
        _export_model = tune.Trainable._export_model

    code, said = export(capsys, project=changed(trainable=Plain))
    assert code == 2
    assert "Plain has no method _export_model" in said


class Run:
    """What a running experiment does to its checkpoints while they are listed."""

    def __init__(self, experiment: SavedExperiment, monkeypatch: pytest.MonkeyPatch) -> None:
        self.experiment, self.do = experiment, [self.nothing]
        monkeypatch.setattr(Record, "outcome", lambda _: "running")
        candidates = Checkpoints._candidates

        def then_change(checkpoints: Checkpoints) -> Any:
            for candidate in candidates(checkpoints):
                self.do.pop(0)() if self.do else None
                yield candidate

        monkeypatch.setattr(Checkpoints, "_candidates", then_change)

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
    experiment: SavedExperiment,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = Run(experiment, monkeypatch)
    code, said = export(capsys)
    assert code == 0, said
    assert "x is running: this is its best checkpoint so far" in said

    run.do = [run.replace]
    code, said = export(capsys)
    assert code == 0, said
    assert "complete" not in said
    assert "checkpoint_" not in said
    assert facts(experiment)["checkpoint"] == f"{experiment.trial.name}/checkpoint_000002"

    # Where one is damaged for good, the next is taken.
    shutil.copytree(experiment.trial / "checkpoint_000002", experiment.trial / "checkpoint_000003")
    (experiment.trial / "checkpoint_000002/score.json").write_text("9")
    code, said = export(capsys)
    assert code == 0, said
    assert facts(experiment)["checkpoint"] == f"{experiment.trial.name}/checkpoint_000003"

    for checkpoint in experiment.trial.glob("checkpoint_*"):
        shutil.rmtree(checkpoint)
    code, said = export(capsys)
    assert code == 2
    assert "has a checkpoint yet: it is running" in said


def test_an_export_gives_the_trainable_what_the_trial_had() -> None:
    """Also hyperparameters for which JSON has no form, as in `tune.choice(np.arange(3))`."""
    config = encoded({"layers": np.int64(2), "seed": 42})
    trial = SavedTrial("a_00000", 0, "TERMINATED", "trial_a_00000", {}, config, {}, {}, None)
    given = trial_config(trial)
    assert given == {"layers": 2, "seed": 42}
    assert isinstance(given["layers"], np.int64)
