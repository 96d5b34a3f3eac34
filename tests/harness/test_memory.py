"""What a resume restores of stoppers and callbacks, and what a look at a saved state must not."""

import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ray import cloudpickle as pickle
from ray import tune
from ray.tune import Callback
from ray.tune.callback import CallbackList
from ray.tune.experiment import Trial
from ray.tune.schedulers import AsyncHyperBandScheduler
from ray.tune.stopper import Stopper
from ray.tune.utils.callback import _create_default_callbacks
from ray_tune_experiment import tune_run as team
from ray_tune_experiment.data import load_data
from ray_tune_experiment.harness.run.progress import ProgressLines
from ray_tune_experiment.harness.tune import stopping as memory
from ray_tune_experiment.settings import METRICS, Settings
from ray_tune_experiment.stopper import make_stopper


def result(iteration: int = 1, **values: Any) -> dict[str, Any]:
    return {**dict.fromkeys(METRICS, 0.5), "training_iteration": iteration, **values}


@pytest.fixture(autouse=True)
def no_stopper(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_current", None)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A stopper's time: `now` of the clock that only goes on, `date` of the one that is set."""
    time = SimpleNamespace(now=0.0, date=1e9)
    time.monotonic, time.time = lambda: time.now, lambda: time.date
    monkeypatch.setattr(memory, "time", time)
    return time


# Callbacks


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
    """The callbacks that Ray gets from tune_run.py, with those that it adds by itself."""
    given: dict[str, Any] = {}

    def run(*_: Any, **arguments: Any) -> None:
        given.update(arguments)

    progress = ProgressLines(settings)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tune, "run", run)
        patch.setattr(tune, "with_parameters", lambda trainable, **_: trainable)
        its = team.make_callbacks(settings)
        patch.setattr(team, "make_callbacks", lambda settings: [*more, *its])
        data = load_data(settings.data_path, settings.target)
        team.tune_run(settings, data, [], None, progress.callbacks(), progress)
    given["scheduler"].set_search_properties(settings.metric, settings.mode)  # as Ray does
    return CallbackList(_create_default_callbacks(given["callbacks"], air_verbosity=None))


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
def test_other_callbacks_leave_the_scheduler_and_the_best_as_they_were(
    change: dict[str, Any], tracker: str, trials: list[Trial], empty_folder: Path
) -> None:
    settings = Settings(scheduler="asha", name="x", max_iterations=4)
    before = rays_list(settings, *([Tracker()] if tracker == "before" else []))
    scheduler = children(before)["SearchMemory"].scheduler
    for number, trial in enumerate(trials):
        scheduler.on_trial_add(None, trial)
        scheduler.on_trial_result(None, trial, result(validation_accuracy=number / 8))
    children(before)["BestLogger"].best = 0.875
    before.save_to_dir(str(empty_folder))

    changed = settings.model_copy(update=change)
    after = rays_list(changed, *([Tracker()] if tracker == "after" else []))
    after.restore_from_dir(str(empty_folder))
    scheduler = children(after)["SearchMemory"].scheduler
    for trial in trials:
        scheduler.on_trial_add(None, trial)
    children(after)["SearchMemory"].on_step_begin(0, trials)
    assert rungs(scheduler)[1] == {f"x_{number}": number / 8 for number in range(4)}
    if changed.loggers:
        assert children(after)["BestLogger"].best == 0.875


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
    state = memory.Callbacks(first, second).get_state()
    assert state is not None
    first, second = Counter(), Counter()
    memory.Callbacks(first, Tracker(), second).set_state(state)
    assert (first.count, second.count) == (1, 2)


def test_the_state_of_a_callback_that_is_gone_needs_no_class() -> None:
    counter = Counter()
    memory.Callbacks(counter).set_state(
        {"Gone": b"no pickle", "Counter": pickle.dumps({"count": 3})}
    )
    assert counter.count == 3


def test_a_callback_that_does_not_take_its_state_ends_the_run() -> None:
    """Ray would log it, and start the experiment again from its beginning."""
    callbacks = memory.Callbacks(Counter())
    callbacks.set_state({"Counter": pickle.dumps({"number": 3})})
    with pytest.raises(KeyError, match="count"):
        callbacks.setup()


# Stoppers


def test_to_look_at_a_saved_state_changes_nothing(clock: SimpleNamespace) -> None:
    """MLflow reads the state of the experiment while it runs."""
    settings = Settings(time_budget_s=60)
    first = make_stopper(settings)
    first.stop_all()
    clock.now = 50
    first.stop_all()
    saved = pickle.dumps(first)
    make_stopper(settings)
    resumed = pickle.loads(saved)  # what Ray restores
    for _ in range(3):
        pickle.loads(saved)
    assert not resumed.stop_all()
    clock.now += 9
    assert not resumed.stop_all()
    pickle.loads(saved)
    assert not resumed("a", result())
    assert memory.seconds_left() == 1
    again = pickle.dumps(resumed)
    make_stopper(settings)
    resumed = pickle.loads(again)
    assert not resumed.stop_all()
    assert memory.seconds_left() == 1
    clock.now += 1
    assert resumed.stop_all()


def test_a_state_that_was_saved_before_ray_asked_keeps_what_was_learned(
    clock: SimpleNamespace,
) -> None:
    first = make_stopper(Settings(metric_goal=0.4))
    assert first("a", result())
    make_stopper(Settings(metric_goal=0.4))
    saved = pickle.dumps(pickle.loads(pickle.dumps(first)))  # interrupted before the first step
    make_stopper(Settings(metric_goal=0.4))
    assert pickle.loads(saved).stop_all()


def test_a_clock_that_is_set_spends_no_time(clock: SimpleNamespace) -> None:
    stopper = make_stopper(Settings(time_budget_s=60))
    assert not stopper.stop_all()
    clock.date += 3600
    clock.now += 1
    assert not stopper.stop_all()
    clock.date -= 7200
    clock.now += 60
    assert stopper.stop_all()


class Patience(Stopper):
    """A team's own: stops everything after some bad results."""

    def __init__(self) -> None:
        self.bad = 0

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        self.bad += 1
        return False

    def stop_all(self) -> bool:
        return self.bad >= 3


def test_two_stoppers_of_a_class_learn_apart() -> None:
    first = memory.RememberingStopper(Patience(), Patience())
    first.stoppers["Patience 2"].bad = 2
    saved = pickle.dumps(first)
    second = memory.RememberingStopper(Patience(), Patience())
    assert not pickle.loads(saved)("a", result())
    assert [its.bad for its in second.stoppers.values()] == [1, 3]


@pytest.mark.parametrize("cut", range(1, 9))
@pytest.mark.parametrize("kept", [0, 1, 2])
def test_plateaus_are_found_where_an_undisturbed_run_finds_them(cut: int, kept: int) -> None:
    """The run is cut after some results, and repeats those since a checkpoint, `kept` before."""
    values = [0.1, 0.3, 0.5, 0.6, 0.7, 0.7, 0.7, 0.7, 0.7, 0.7, 0.7]
    settings = Settings(max_iterations=99, plateau_results=3, plateau_trials=4)

    def told(stopper: Stopper, numbers: range) -> Iterator[tuple[int, bool, bool]]:
        for i in numbers:
            answer = stopper("a", result(i + 1, validation_accuracy=values[i]))
            yield i, answer, stopper.stop_all()

    whole = list(told(make_stopper(settings), range(len(values))))
    first = make_stopper(settings)
    assert list(told(first, range(cut))) == whole[:cut]
    saved = pickle.dumps(first)
    make_stopper(settings)
    again = pickle.loads(saved)
    rest = list(told(again, range(max(0, cut - kept), len(values))))
    assert [each for each in rest if each[0] >= cut] == whole[cut:]
    assert any(all_stop for *_, all_stop in whole)


@pytest.mark.parametrize(("was", "now", "more"), [(3, 5, 2), (5, 3, 1)])
def test_an_extended_run_compares_as_many_results_as_it_says_now(
    was: int, now: int, more: int
) -> None:
    first = make_stopper(Settings(max_iterations=99, plateau_results=was))
    for i, value in enumerate([0.1, 0.3, 0.5, 0.7, 0.7, 0.7], 1):
        first("a", result(i, validation_accuracy=value))
    saved = pickle.dumps(first)
    extended = Settings(max_iterations=99, plateau_results=now, name="x", resume="extend")
    make_stopper(extended)
    longer = pickle.loads(saved)
    ends = [longer("a", result(i, validation_accuracy=0.7)) for i in range(7, 12)]
    assert ends.index(True) + 1 == more  # after the three equal results that the first run had


# The end of everything


def step(callbacks: memory.Callbacks, trials: list[Trial]) -> None:
    callbacks.on_step_begin(iteration=0, trials=trials)


def report(
    callbacks: memory.Callbacks, trials: list[Trial], trial: Trial, answer: bool, **values: Any
) -> None:
    told = result(**values) | ({"done": True} if answer else {})
    callbacks.on_trial_result(iteration=0, trials=trials, trial=trial, result=told)


def test_what_was_told_to_stop_ends_before_everything_does(trials: list[Trial]) -> None:
    stopper = make_stopper(Settings(metric_goal=0.9))
    callbacks = memory.Callbacks()
    winner, other, *_ = trials
    for trial in trials:
        trial.set_status(Trial.RUNNING)
    step(callbacks, trials)
    report(callbacks, trials, winner, stopper("x_0", result(validation_accuracy=0.95)))
    assert not stopper.stop_all()  # it saves its last checkpoint
    step(callbacks, trials)
    report(callbacks, trials, other, stopper("x_1", result()))
    assert not stopper.stop_all()
    winner.set_status(Trial.TERMINATED)
    assert stopper.stop_all()  # others may always be ending
    assert stopper.stopped_by == ["GoalStopper"]


def test_what_a_scheduler_ends_is_waited_for_too(
    trials: list[Trial], clock: SimpleNamespace
) -> None:
    stopper = make_stopper(Settings(time_budget_s=60))
    callbacks = memory.Callbacks()
    step(callbacks, trials)
    assert not stopper.stop_all()
    report(callbacks, trials, trials[0], answer=True)
    clock.now = 61
    assert not stopper.stop_all()
    trials[0].set_status(Trial.ERROR)
    assert stopper.stop_all()


@pytest.mark.parametrize("how", ["recovers", "is exploited"])
def test_a_trial_that_does_not_end_after_all_is_not_waited_for(
    how: str, trials: list[Trial], clock: SimpleNamespace
) -> None:
    stopper = make_stopper(Settings(time_budget_s=60))
    callbacks = memory.Callbacks()
    step(callbacks, trials)
    assert not stopper.stop_all()
    report(callbacks, trials, trials[0], answer=True)
    clock.now = 61
    assert not stopper.stop_all()
    if how == "recovers":  # its worker is lost, and another one may never come
        callbacks.on_trial_recover(iteration=0, trials=trials, trial=trials[0])
    else:  # population based training lets it train on, from another's checkpoint
        report(callbacks, trials, trials[0], answer=False)
    assert stopper.stop_all()


def test_a_resumed_run_waits_for_the_trial_that_had_been_told_to_stop(trials: list[Trial]) -> None:
    first = make_stopper(Settings(metric_goal=0.9))
    assert first("x_0", result(validation_accuracy=0.95))
    saved = pickle.dumps(first)  # and killed before its last checkpoint
    make_stopper(Settings(metric_goal=0.9))
    stopper, callbacks = pickle.loads(saved), memory.Callbacks()
    step(callbacks, trials)
    assert not stopper.stop_all()
    assert stopper("x_0", result(validation_accuracy=0.95))  # once more
    trials[0].set_status(Trial.TERMINATED)
    assert stopper.stop_all()


def test_a_stopper_is_saved_in_rays_state() -> None:
    """As JSON with a pickle in it, which names this class: see the module's head."""
    from ray_tune_experiment.harness.run.journal import encoded

    make_stopper(Settings())
    saved = encoded(memory.current_stopper())
    assert b"ray_tune_experiment.harness.tune.stopping" in bytes.fromhex(
        json.loads(json.dumps(saved))["value"]
    )
