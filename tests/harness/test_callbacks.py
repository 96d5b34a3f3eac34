"""The callbacks of a run, and what a resume restores of them."""

import struct
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from harness.run.progress import ProgressLines
from harness.store.storage import Folder
from harness.tune import Plan, make_loggers
from harness.tune.callbacks import Callbacks
from ray import cloudpickle as pickle
from ray.tune import Callback
from ray.tune.callback import CallbackList
from ray.tune.experiment import Trial
from ray.tune.schedulers import AsyncHyperBandScheduler
from ray.tune.utils.callback import _create_default_callbacks
from stub import PROJECT, Settings
from stub.pieces import MUTABLE
from tensorboardX.proto.event_pb2 import Event


class Counter(Callback):
    """Counts results, and is the state of it."""

    def __init__(self) -> None:
        self.count = 0

    def on_trial_result(self, *_: Any, **info: Any) -> None:
        self.count += 1

    def get_state(self) -> dict[str, Any]:
        return {"count": self.count}

    def set_state(self, state: dict[str, Any]) -> None:
        self.count = state["count"]


class Tracker(Counter):
    """Stands for what a team added, or took away, between two runs."""


def rays_list(settings: Settings, *more: Callback) -> CallbackList:
    """The callbacks that `tune.run` gets, with those that Ray adds by itself."""
    progress = ProgressLines(settings, MUTABLE)
    plan = Plan.make(PROJECT, settings, callbacks=progress.callbacks())
    plan.scheduler.set_search_properties(settings.metric, settings.mode)  # as Ray does
    given = plan.callbacks([*more, *make_loggers(settings), Counter()])
    return CallbackList(_create_default_callbacks(given, air_verbosity=None))


def children(callbacks: CallbackList) -> dict[str, Any]:
    """The callbacks themselves, by class."""
    found: dict[str, Any] = {}
    for callback in callbacks._callbacks:
        found |= children(callback) if isinstance(callback, CallbackList) else {}
        found[type(callback).__name__] = callback
    return found


@pytest.fixture
def trials() -> list[Trial]:
    return [Trial("trainable", trial_id=f"x_{i}", stub=True) for i in range(4)]


OTHERS = [
    {"verbose": 0},
    {"verbose": 2},
    {"verbose": 3},
    {"loggers": []},
    {"loggers": ["csv"], "verbose": 2},
]


@pytest.mark.parametrize("change", OTHERS, ids=str)
@pytest.mark.parametrize("tracker", ["before", "after", "never"])
def test_other_callbacks_leave_all_states_as_they_were(
    change: dict[str, Any], tracker: str, trials: list[Trial], empty_folder: Path
) -> None:
    settings = Settings(scheduler="asha", name="x", max_iterations=4)
    before = rays_list(settings, *([Tracker()] if tracker == "before" else []))
    scheduler = children(before)["SchedulerState"].scheduler
    for number, trial in enumerate(trials):
        scheduler.on_trial_add(None, trial)
        scheduler.on_trial_result(None, trial, {"score": number / 8, "training_iteration": 1})
    children(before)["Counter"].count = 7
    before.save_to_dir(str(empty_folder))

    changed = settings.model_copy(update=change)
    after = rays_list(changed, *([Tracker()] if tracker == "after" else []))
    after.restore_from_dir(str(empty_folder))
    scheduler = children(after)["SchedulerState"].scheduler
    for trial in trials:
        scheduler.on_trial_add(None, trial)
    children(after)["SchedulerState"].on_step_begin(0, trials)
    assert rungs(scheduler)[1] == {f"x_{number}": number / 8 for number in range(4)}
    assert children(after)["Counter"].count == 7


def rungs(scheduler: AsyncHyperBandScheduler) -> dict[int, dict[str, float]]:
    (bracket,) = scheduler._brackets
    return {int(milestone): dict(recorded) for milestone, recorded in bracket._rungs}


def test_ray_adds_no_logger_to_those_that_it_does_not_see(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "0")
    callbacks = rays_list(Settings(verbose=2))
    assert [type(its).__name__ for its in callbacks._callbacks] == [
        "Callbacks",
        "TrialProgressCallback",  # stateless, and silent unless VERBOSE=3
    ]


def test_two_callbacks_of_a_class_have_two_states() -> None:
    first, second = Counter(), Counter()
    first.count, second.count = 1, 2
    state = Callbacks(first, second).get_state()
    assert state is not None
    first, second = Counter(), Counter()
    Callbacks(first, Tracker(), second).set_state(state)
    assert (first.count, second.count) == (1, 2)


def test_the_state_of_a_callback_that_is_gone_needs_no_class() -> None:
    counter = Counter()
    Callbacks(counter).set_state({"Gone": b"no pickle", "Counter": pickle.dumps({"count": 3})})
    assert counter.count == 3


def test_a_callback_that_does_not_take_its_state_ends_the_run() -> None:
    """Ray would log it, and start the experiment again from its beginning."""
    callbacks = Callbacks(Counter())
    callbacks.set_state({"Counter": pickle.dumps({"number": 3})})
    with pytest.raises(KeyError, match="count"):
        callbacks.setup()


def test_a_logger_continues_the_table_that_it_has(empty_folder: Path) -> None:
    """Without one it takes the storage's, or none, if the trial has none; an error ends the run."""
    folder = Folder.open(str(empty_folder)) / "trial_a"
    place = Mock(
        storage_filesystem=folder.filesystem,
        trial_fs_path=folder.root,
        experiment_driver_staging_path=str(empty_folder / "staging"),
    )
    table = empty_folder / "staging/trial_a/result.json"
    table.parent.mkdir(parents=True)
    trial = Mock(storage=place, local_path=str(table.parent), checkpoint="one")
    (logger,) = make_loggers(Settings(loggers=["json"]))
    logger._restore_from_remote(table.name, trial)
    assert not table.exists()
    folder.write(b"{}\n", table.name)
    logger._restore_from_remote(table.name, trial)
    assert table.read_bytes() == b"{}\n"
    assert [path.name for path in table.parent.iterdir()] == [table.name]
    folder.delete(table.name)
    folder.write(b"", table.name, "in its place")
    with pytest.raises(OSError, match=table.name):
        logger._restore_from_remote(table.name, trial)


def shown(folder: Path) -> list[tuple[int, float]]:
    """Each step of a trial and its value as TensorBoard shows them: it reads file after file."""
    steps: dict[int, float] = {}
    for path in sorted(folder.glob("events.out.tfevents.*")):
        content = path.read_bytes()
        while content:  # a record: its length, a checksum of 4 bytes, the event, a checksum
            (length,) = struct.unpack("<Q", content[:8])
            event = Event.FromString(content[12 : 12 + length])
            content = content[16 + length :]
            if event.HasField("session_log"):
                steps = {step: value for step, value in steps.items() if step < event.step}
            for value in event.summary.value:
                if value.tag == "ray/tune/loss":
                    steps[event.step] = value.simple_value
    return [*steps.items()]


@pytest.mark.parametrize("unit", [1, 100])
def test_tensorboard_shows_each_result_once(empty_folder: Path, unit: int) -> None:
    """Started again within a second, and from a result that was never logged."""

    def result(iteration: int, loss: float) -> dict[str, Any]:
        more = {"timesteps_total": iteration * unit} if unit > 1 else {}
        return {"trial_id": "a", "training_iteration": iteration, "loss": loss, **more}

    trial = Mock(local_path=str(empty_folder), trial_id="a", latest_checkpoint_result=None)
    (logger,) = make_loggers(Settings(loggers=["tensorboard"]))
    for iteration in (1, 2, 3):
        logger.log_trial_result(iteration, trial, result(iteration, 1))
    for saved in (2, 5):
        trial.latest_checkpoint_result = Mock(metrics=result(saved, saved))
        logger.log_trial_start(trial)
        for iteration in (saved + 1, saved + 2):
            logger.log_trial_result(iteration, trial, result(iteration, saved))
    logger.on_experiment_end([trial])
    expected = [(1, 1), (2, 2), (3, 2), (4, 2), (5, 5), (6, 5), (7, 5)]
    assert shown(empty_folder) == [(iteration * unit, loss) for iteration, loss in expected]

    trial.latest_checkpoint_result.metrics["trial_id"] = "of another trial"
    logger.log_trial_start(trial)
    logger.log_trial_end(trial)
    assert shown(empty_folder)[-3:] == [(n * unit, loss) for n, loss in expected[2:5]]
