"""What ends a trial, or the experiment, and what a look at a saved state must not."""

import threading
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from harness.tune import RestorableStopper, stopping
from harness.tune.callbacks import Callbacks
from ray import cloudpickle as pickle
from ray.tune.experiment import Trial
from ray.tune.stopper import Stopper
from stub import Settings
from stub.pieces import make_stopper


def result(iteration: int = 1, **values: Any) -> dict[str, Any]:
    return {"score": 0.5, "training_iteration": iteration, **values}


@pytest.fixture(autouse=True)
def no_stopper(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stopping, "_current", None)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A stopper's time: `now` of the clock that only goes on, `date` of the one that is set."""
    time = SimpleNamespace(now=0.0, date=1e9)
    time.monotonic, time.time = lambda: time.now, lambda: time.date
    monkeypatch.setattr(stopping, "time", time)
    return time


@pytest.fixture
def trials() -> list[Trial]:
    return [Trial("trainable", trial_id=f"x_{i}", stub=True) for i in range(4)]


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
    assert stopping.seconds_left() == 1
    again = pickle.dumps(resumed)
    make_stopper(settings)
    resumed = pickle.loads(again)
    assert not resumed.stop_all()
    assert stopping.seconds_left() == 1
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
    first = RestorableStopper(Patience(), Patience())
    first.stoppers["Patience 2"].bad = 2
    saved = pickle.dumps(first)
    second = RestorableStopper(Patience(), Patience())
    assert not pickle.loads(saved)("a", result())
    assert [its.bad for its in second.stoppers.values()] == [1, 3]


class Window(Stopper):
    """A team's own, with arrays."""

    def __init__(self, weights: list[float]) -> None:
        self.weights, self.scores = np.array(weights), np.zeros(2)

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        self.scores = np.append(self.scores[1:], result["score"])
        return bool(self.weights @ self.scores > 1)

    def stop_all(self) -> bool:
        return False


class Locked(Patience):
    """A team's own, with what can't be copied, and so with a state of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.lock = threading.Lock()

    def get_state(self) -> int:
        return self.bad

    def set_state(self, state: int) -> None:
        self.bad = state


def test_stoppers_with_arrays_and_with_what_cannot_be_copied() -> None:
    first = RestorableStopper(Window([1, 1]), Locked())
    assert not first("a", result(1, score=0.6))
    saved = pickle.dumps(first)
    second = RestorableStopper(Window([1, 2]), Locked())
    assert pickle.loads(saved)("a", result(2, score=0.5))  # 0.6 + 2 x 0.5, by the new weights
    assert second.stoppers["Locked"].bad == 1


@pytest.mark.parametrize("cut", range(1, 9))
@pytest.mark.parametrize("kept", [0, 1, 2])
def test_plateaus_are_found_where_an_undisturbed_run_finds_them(cut: int, kept: int) -> None:
    """The run is cut after some results, and repeats those since a checkpoint, `kept` before."""
    values = [0.1, 0.3, 0.5, 0.6, 0.7, 0.7, 0.7, 0.7, 0.7, 0.7, 0.7]
    settings = Settings(max_iterations=99, plateau_results=3, plateau_trials=4)

    def told(stopper: Stopper, numbers: range) -> Iterator[tuple[int, bool, bool]]:
        for i in numbers:
            answer = stopper("a", result(i + 1, score=values[i]))
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
        first("a", result(i, score=value))
    saved = pickle.dumps(first)
    extended = Settings(max_iterations=99, plateau_results=now, name="x", resume="extend")
    make_stopper(extended)
    longer = pickle.loads(saved)
    ends = [longer("a", result(i, score=0.7)) for i in range(7, 12)]
    assert ends.index(True) + 1 == more  # after the three equal results that the first run had


# The end of everything


def step(callbacks: Callbacks, trials: list[Trial]) -> None:
    callbacks.on_step_begin(iteration=0, trials=trials)


def report(
    callbacks: Callbacks, trials: list[Trial], trial: Trial, answer: bool, **values: Any
) -> None:
    told = result(**values) | ({"done": True} if answer else {})
    callbacks.on_trial_result(iteration=0, trials=trials, trial=trial, result=told)


def test_what_was_told_to_stop_ends_before_everything_does(trials: list[Trial]) -> None:
    stopper = make_stopper(Settings(metric_goal=0.9))
    callbacks = Callbacks()
    winner, other, *_ = trials
    for trial in trials:
        trial.set_status(Trial.RUNNING)
    step(callbacks, trials)
    report(callbacks, trials, winner, stopper("x_0", result(score=0.95)))
    assert not stopper.stop_all()  # it saves its last checkpoint
    step(callbacks, trials)
    report(callbacks, trials, other, stopper("x_1", result()))
    assert not stopper.stop_all()
    winner.set_status(Trial.TERMINATED)
    assert stopper.stop_all()  # others may always be ending
    assert stopper.stopped_by == ["GoalStopper"]


def waiting_for_the_first(
    trials: list[Trial], clock: SimpleNamespace
) -> tuple[RestorableStopper, Callbacks]:
    """A stopper whose time is over, while the first trial was told to stop and has not ended."""
    stopper = make_stopper(Settings(time_budget_s=60))
    callbacks = Callbacks()
    step(callbacks, trials)
    assert not stopper.stop_all()
    report(callbacks, trials, trials[0], answer=True)
    clock.now = 61
    assert not stopper.stop_all()
    return stopper, callbacks


def test_what_a_scheduler_ends_is_waited_for_too(
    trials: list[Trial], clock: SimpleNamespace
) -> None:
    stopper, _ = waiting_for_the_first(trials, clock)
    trials[0].set_status(Trial.ERROR)
    assert stopper.stop_all()


@pytest.mark.parametrize("how", ["recovers", "is exploited"])
def test_a_trial_that_does_not_end_after_all_is_not_waited_for(
    how: str, trials: list[Trial], clock: SimpleNamespace
) -> None:
    stopper, callbacks = waiting_for_the_first(trials, clock)
    if how == "recovers":  # its worker is lost, and another one may never come
        callbacks.on_trial_recover(iteration=0, trials=trials, trial=trials[0])
    else:  # population based training lets it train on, from another's checkpoint
        report(callbacks, trials, trials[0], answer=False)
    assert stopper.stop_all()


def test_a_resumed_run_waits_for_the_trial_that_had_been_told_to_stop(trials: list[Trial]) -> None:
    first = make_stopper(Settings(metric_goal=0.9))
    assert first("x_0", result(score=0.95))
    saved = pickle.dumps(first)  # and killed before its last checkpoint
    make_stopper(Settings(metric_goal=0.9))
    stopper, callbacks = pickle.loads(saved), Callbacks()
    step(callbacks, trials)
    assert not stopper.stop_all()
    assert stopper("x_0", result(score=0.95))  # once more
    trials[0].set_status(Trial.TERMINATED)
    assert stopper.stop_all()


def test_what_a_state_names_does_not_move() -> None:
    """A state of Ray is JSON with a pickle in it, which names this class and its module."""
    make_stopper(Settings())
    saved = pickle.dumps(stopping.current_stopper())
    assert b"harness.tune.stopping" in saved
    assert b"SavedStopper" in saved
