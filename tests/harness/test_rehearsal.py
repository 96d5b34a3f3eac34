"""The rehearsal of a Trainable: what it finds in classes that a team may write, one line each."""

import json
import math
import os
import threading
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from harness.run.rehearsal import Outcome, rehearse
from harness.tune import StoredTrainable
from harness.tune.space import corners
from ray import tune
from stub import PROJECT, Settings
from stub.pieces import search_space

CORNERS = [{"rate": 0.1, "seed": 1}, {"rate": 0.2, "seed": 1}, {"rate": 0.3, "seed": 1}]


class OneMetric(Settings):
    METRICS = ("loss",)


@dataclass
class Rows:
    x: np.ndarray
    examples: Any = None


class Good(StoredTrainable):
    """A weight that falls with momentum, and keeps the whole contract."""

    def setup(self, config: dict[str, Any], data: Any = None) -> None:
        self.data = data
        self.begin(config)

    def begin(self, config: dict[str, Any]) -> None:
        self.rate, self.weight, self.speed = config["rate"], 1.0, 0.0

    def step(self) -> dict[str, Any]:
        self.speed = 0.9 * self.speed - self.rate * self.weight
        self.weight += self.speed
        return {"loss": self.weight**2}

    def save_checkpoint(self, checkpoint_dir: str) -> Any:
        Path(checkpoint_dir, "state.json").write_text(json.dumps([self.weight, self.speed]))

    def load_checkpoint(self, checkpoint: Any) -> None:
        self.weight, self.speed = json.loads(Path(checkpoint, "state.json").read_text())

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self.begin(new_config)
        return True

    def _export_model(self, export_formats: list[str], export_dir: str) -> Any:
        Path(export_dir, "model").write_text(str(self.weight))
        return {"model": str(Path(export_dir, "model"))}


class Exported:
    def __init__(self, file: Path) -> None:
        self.weight = float(file.read_text())

    def predict(self, rows: list[float]) -> list[float]:
        return [self.weight * row for row in rows]


def tried(
    trainable: Any, configs: list[dict[str, Any]] = CORNERS, *, data: Any = None, **settings: Any
) -> Outcome:
    parts = replace(PROJECT.parts(), trainable=trainable, load_export=Exported)
    return rehearse(parts, configs, data or Rows(np.ones(3), [1.0, 2.0]), OneMetric(**settings))


def test_the_stub_keeps_the_contract(empty_folder: Path) -> None:
    parts, settings = PROJECT.parts(), Settings()
    configs = corners({**search_space(), "seed": 0})
    found = rehearse(parts, configs, parts.load_data(settings), settings)
    assert (found.findings, found.notes) == ([], [])
    assert found.checkpoint_size > 0
    assert list(empty_folder.iterdir()) == []


def test_what_keeps_the_contract_is_not_refused() -> None:
    found = tried(Good)
    assert (found.findings, found.notes) == ([], [])


def test_rays_attributes_are_there() -> None:
    class Curious(Good):
        def setup(self, config: dict[str, Any], data: Any = None) -> None:
            super().setup(config, data)
            assert (self.iteration, self.training_iteration, self._last_result) == (0, 0, None)
            assert self.config == config
            assert self.trial_id
            assert self.trial_name
            assert self.trial_resources.required_resources == {"CPU": 2.0}
            Path(self.logdir, "notes").write_text("x")

        def step(self) -> dict[str, Any]:
            assert Path(self.logdir, "notes").exists() or self.iteration == 0
            return {**super().step(), "so_far": (self._last_result or {}).get("loss", 0.0)}

        def log_result(self, result: dict[str, Any]) -> None:
            assert result["training_iteration"] == self.iteration
            assert result["config"]["rate"] == self.rate
            assert {"trial_id", "time_total_s", "done", "pid", "date"} <= result.keys()

    ray_results = Path.home() / "ray_results"
    before = set(ray_results.iterdir()) if ray_results.exists() else set()
    folder, threads = Path.cwd(), threading.active_count()
    found = tried(Curious, resources_per_trial={"cpu": 2})
    assert (found.findings, found.notes) == ([], [])
    assert (set(ray_results.iterdir()) if ray_results.exists() else set()) == before
    assert (Path.cwd(), threading.active_count()) == (folder, threads)


def test_what_ray_allows_is_allowed() -> None:
    class Dict(Good):
        def save_checkpoint(self, checkpoint_dir: str) -> Any:
            return {"state": [self.weight, self.speed]}

        def load_checkpoint(self, checkpoint: Any) -> None:
            self.weight, self.speed = checkpoint["state"]

    class ReturnsTheFolder(Good):
        def save_checkpoint(self, checkpoint_dir: str) -> Any:
            super().save_checkpoint(checkpoint_dir)
            return checkpoint_dir

    class More(Good):
        def step(self) -> dict[str, Any]:
            return {**super().step(), "extra": "text", "loss": np.float32(super().step()["loss"])}

    class EndsItself(Good):
        def step(self) -> dict[str, Any]:
            return {**super().step(), "done": True}

    for kind in (Dict, ReturnsTheFolder, More, EndsItself):
        assert (tried(kind).findings, tried(kind).notes) == ([], []), kind


def test_a_class_that_knows_no_data_needs_none() -> None:
    class Simulation(tune.Trainable):
        def setup(self, config: dict[str, Any]) -> None:
            self.rate, self.value = config["rate"], 1.0

        def step(self) -> dict[str, Any]:
            self.value *= 1 - self.rate
            return {"loss": self.value}

        def save_checkpoint(self, checkpoint_dir: str) -> dict[str, Any]:
            return {"value": self.value}

        def load_checkpoint(self, checkpoint: Any) -> None:
            self.value = checkpoint["value"]

    class Own(StoredTrainable, Simulation):
        pass

    assert tried(Own).findings == []  # nor a reset_config: a reused worker is set up again
    assert not Own.exports()


def test_a_worker_that_cannot_be_reset_is_found() -> None:
    class SaysNo(Good):
        def reset_config(self, new_config: dict[str, Any]) -> bool:
            return False

    (finding,) = tried(SaysNo).findings
    assert finding.startswith("SaysNo.reset_config does not return True, and Ray would fail")
    assert tried(SaysNo, reuse_actors=False).findings == []


def test_no_export_is_a_note() -> None:
    class Plain(Good):
        _export_model = tune.Trainable._export_model

    assert tried(Plain).findings == []
    assert tried(Plain).notes == ["Plain has no _export_model: no model is exported"]
    assert tried(Plain, export_formats=[]).notes == []


def test_what_is_never_called_is_not_tried() -> None:
    class Bare(Good):
        save_checkpoint = tune.Trainable.save_checkpoint
        load_checkpoint = tune.Trainable.load_checkpoint

        def reset_config(self, new_config: dict[str, Any]) -> bool:
            raise RuntimeError("not needed")

    never: dict[str, Any] = {
        "checkpoint_frequency": 0,
        "checkpoint_at_end": False,
        "reuse_actors": False,
    }
    assert tried(Bare, **never).findings == []
    found = tried(Bare).findings
    assert len(found) == 1, found
    assert found[0].startswith("Bare.save_checkpoint fails with NotImplementedError")


class Renamed(Good):
    def step(self) -> dict[str, Any]:
        return {"val_acc": super().step()["loss"]}


class Tensor(Good):
    def step(self) -> dict[str, Any]:
        return {"loss": np.ones(2)}


class NoDict(Good):
    def step(self) -> Any:
        return super().step()["loss"]


class Stale(Good):
    def log_result(self, result: dict[str, Any]) -> None:
        self.log_results(result)

    def log_results(self, result: dict[str, Any]) -> None:
        print(result["accuracy"])


class Forgetful(Good):
    def save_checkpoint(self, checkpoint_dir: str) -> Any:
        Path(checkpoint_dir, "state.json").write_text(json.dumps([self.weight, 0.0]))


class Keeping(Good):
    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self.weight = 1.0
        return True


class Elsewhere(Good):
    def save_checkpoint(self, checkpoint_dir: str) -> Any:
        super().save_checkpoint(checkpoint_dir)
        Path(checkpoint_dir, "where").write_text(checkpoint_dir)

    def load_checkpoint(self, checkpoint: Any) -> None:
        kept = Path(Path(checkpoint, "where").read_text(), "state.json")
        self.weight, self.speed = json.loads(kept.read_text())


class NoData(Good):
    def setup(self, config: dict[str, Any]) -> None:  # type: ignore[override]
        self.begin(config)


class OwnInit(Good):
    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__(config)


class InPlace(Good):
    def step(self) -> dict[str, Any]:
        self.data.x[0] = 2.0
        return super().step()


class Quits(Good):
    def step(self) -> dict[str, Any]:
        raise SystemExit("no licence")


class NeverFinite(Good):
    def step(self) -> dict[str, Any]:
        return {"loss": math.nan}


class ExportsNone(Good):
    def _export_model(self, export_formats: list[str], export_dir: str) -> Any:
        super()._export_model(export_formats, export_dir)


class ExportsElsewhere(Good):
    def _export_model(self, export_formats: list[str], export_dir: str) -> Any:
        super()._export_model(export_formats, ".")
        return {"model": "model"}


class ExportsRubbish(Good):
    def _export_model(self, export_formats: list[str], export_dir: str) -> Any:
        exported = super()._export_model(export_formats, export_dir)
        Path(exported["model"]).write_text("rubbish")
        return exported


class Unclosed(Good):
    def cleanup(self) -> None:
        self.connection.close()


@pytest.mark.parametrize(
    ("trainable", "expected"),
    [
        (
            Renamed,
            "Renamed.step does not report 'loss', which METRICS in settings.py names; it reports"
            " 'val_acc'",
        ),
        (Tensor, "Tensor.step reports 'loss' as ndarray; a plain number is expected"),
        (NoDict, "NoDict fails with AssertionError: step() needs to return a dict."),
        (Stale, "Stale.log_results fails with KeyError: 'accuracy' (test_rehearsal.py:"),
        (
            Forgetful,
            "Forgetful: a restored trial does not repeat the next result (loss 0.6561 != 0.5184):"
            " save_checkpoint and load_checkpoint miss part of the state, with rate=0.1",
        ),
        (Keeping, "Keeping.reset_config: a reused worker does not repeat the result of a new one"),
        (Elsewhere, "Elsewhere.load_checkpoint fails with FileNotFoundError"),
        (NoData, "NoData.setup takes no data, which tune_run.py hands over"),
        (OwnInit, "OwnInit fails with TypeError: "),
        (InPlace, "InPlace.step fails with ValueError: assignment destination is read-only"),
        (Quits, "Quits.step fails with SystemExit: no licence"),
        (NeverFinite, "NeverFinite.step reports NaN or infinity at each corner"),
        (ExportsNone, "ExportsNone._export_model returns no file of the format 'model'"),
        (ExportsElsewhere, "ExportsElsewhere._export_model returns 'model' for 'model'; expected"),
        (ExportsRubbish, "load_export fails with ValueError: could not convert string to float"),
        (Unclosed, "Unclosed.cleanup fails with AttributeError: "),
        (tune.Trainable, "Trainable should be a class, and a subclass of StoredTrainable"),
        (tried, "tried should be a class, and a subclass of StoredTrainable"),
    ],
)
def test_each_breach_is_one_line(trainable: Any, expected: str) -> None:
    (finding,) = tried(trainable).findings
    assert finding.startswith(expected)
    assert "\n" not in finding


def test_a_metric_and_its_log_are_two_findings() -> None:
    class Both(Renamed):
        def log_result(self, result: dict[str, Any]) -> None:
            print(result["loss"])

    first, second = tried(Both).findings
    assert first.startswith("Both.log_result fails with KeyError: 'loss'")
    assert second.startswith("Both.step does not report 'loss'")


def test_a_finding_names_the_corner_and_counts_the_others() -> None:
    class TooFast(Good):
        def step(self) -> dict[str, Any]:
            if self.rate > 0.15:
                raise ValueError(f"rate {self.rate} is too much")
            return super().step()

    (finding,) = tried(TooFast).findings
    assert finding.startswith("TooFast.step fails with ValueError: rate 0.2 is too much (test_")
    assert finding.endswith("), with rate=0.2, and at 1 more corners of the search space")


def test_nan_at_some_corner_is_a_note() -> None:
    class RunsAway(Forgetful):
        def step(self) -> dict[str, Any]:
            return {"loss": math.nan} if self.rate < 0.15 else super().step()

    found = tried(RunsAway)
    assert found.notes == ["NaN or infinity at 1 of 3 corners of the search space"]
    (finding,) = found.findings  # the rest of the contract was tried at the next corner
    assert finding.startswith("RunsAway: a restored trial does not repeat")
    assert finding.endswith("with rate=0.2")


def test_what_no_new_trial_repeats_is_not_blamed_on_checkpoints() -> None:
    class TwoMetrics(Settings):
        METRICS = ("loss", "rate")

    class Random(Good):
        def step(self) -> dict[str, Any]:
            return {"loss": float.fromhex(os.urandom(6).hex()), "rate": self.rate}

    note = "two trials of one configuration and seed differ: a resume was not compared"
    parts, data = replace(PROJECT.parts(), trainable=Random), Rows(np.ones(3))
    for settings in (OneMetric(export_formats=[]), TwoMetrics(export_formats=[])):
        found = rehearse(parts, CORNERS, data, settings)
        assert (found.findings, found.notes) == ([], [note])


def test_a_slow_model_is_not_tried_everywhere() -> None:
    parts = replace(PROJECT.parts(), trainable=Good)
    found = rehearse(parts, CORNERS, Rows(np.ones(3)), OneMetric(export_formats=[]), seconds=0)
    assert found.notes == ["only 1 of 3 corners of the search space were tried in 0 s"]


def test_one_corner_is_enough_to_reuse_a_worker() -> None:
    (finding,) = tried(Keeping, CORNERS[:1]).findings
    assert finding.startswith("Keeping.reset_config: ")


def test_data_that_cannot_be_sent() -> None:
    (finding,) = tried(Good, data=Rows(np.ones(3), threading.Lock())).findings
    assert finding.startswith("load_data: the workers can't be sent what it returns (cannot pickle")


def test_what_a_trial_prints_is_not_shown(capsys: pytest.CaptureFixture[str]) -> None:
    class Talks(Good):
        def log_result(self, result: dict[str, Any]) -> None:
            print("iteration", result["training_iteration"])

    assert tried(Talks).findings == []
    assert capsys.readouterr() == ("", "")
