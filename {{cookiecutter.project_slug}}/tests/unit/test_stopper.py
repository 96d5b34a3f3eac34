"""Tests of the stoppers, with made-up results."""

import math
from typing import Any

import pytest
from ray import cloudpickle as pickle
from ray.tune.stopper import Stopper

from {{cookiecutter.package_name}}.settings import Settings
from {{cookiecutter.package_name}}.stopper import (
    GoalStopper,
    NonFiniteStopper,
    ValueStopper,
    make_stopper,
)

METRIC = Settings.default("metric")
GOOD, BAD = (0.9, 0.1) if Settings.default("mode") == "max" else (0.1, 0.9)


def result(iteration: int = 1, value: float = BAD) -> dict[str, Any]:
    """A result whose METRIC is `value`."""
    metrics = {**dict.fromkeys(Settings.METRICS, 0.5), METRIC: value}
    return {**metrics, "training_iteration": iteration}


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_non_finite_stops_the_trial_alone(value: float) -> None:
    stopper = NonFiniteStopper(Settings.METRICS)
    assert not stopper("a", result())
    assert stopper("a", result(value=value))
    assert not stopper("b", result())
    assert not stopper.stop_all()


@pytest.mark.parametrize(("mode", "bad", "good"), [("max", 0.89, 0.9), ("min", 0.91, 0.9)])
def test_the_goal_stops_everything(mode: str, bad: float, good: float) -> None:
    stopper = GoalStopper(METRIC, mode, 0.9)
    assert not stopper("a", result(value=bad))
    assert not stopper.stop_all()
    assert stopper("a", result(value=good))
    assert stopper.stop_all()


def test_a_value_stops_the_trial_that_reaches_it() -> None:
    stopper = ValueStopper({"training_iteration": 3})
    assert not stopper("a", result(iteration=2))
    assert stopper("a", result(iteration=3))
    assert not stopper.stop_all()


def test_the_settings_choose_the_stoppers() -> None:
    stopper = make_stopper(Settings(max_iterations=5, stop={"time_total_s": 60}, metric_goal=GOOD))
    assert not stopper("a", {**result(), "time_total_s": 1})
    assert stopper("a", {**result(2), "time_total_s": 61})
    assert not stopper.stop_all()
    trial = [{**result(iteration), "time_total_s": 1} for iteration in range(1, 6)]
    assert [stopper("b", each) for each in trial] == [False] * 4 + [True]
    assert stopper("c", {**result(value=GOOD), "time_total_s": 1})
    assert stopper.stop_all()


def test_plateaus_stop_a_trial_and_all() -> None:
    alone = make_stopper(Settings(max_iterations=99, plateau_results=3))
    assert [alone("a", result(iteration)) for iteration in range(1, 5)].count(True) >= 1
    assert not alone.stop_all()
    everything = make_stopper(Settings(max_iterations=99, plateau_trials=2))
    for trial in "abc":
        everything(trial, result())
    assert everything.stop_all()


def test_nan_does_not_reach_the_stoppers_that_remember() -> None:
    stopper = make_stopper(Settings(metric_goal=GOOD, plateau_trials=2))
    assert stopper("a", result(value=math.nan))
    assert not stopper.stop_all()


def test_what_a_restored_trial_repeats_is_not_counted_again() -> None:
    before = make_stopper(Settings(max_iterations=5, metric_goal=GOOD))
    assert not any(before("a", result(iteration)) for iteration in (1, 2, 3))
    saved = pickle.dumps(before)
    make_stopper(Settings(max_iterations=5, metric_goal=GOOD))
    after = pickle.loads(saved)
    assert [after("a", result(iteration)) for iteration in (2, 3, 4, 5)] == [False] * 3 + [True]
    assert after("a", result(5))


def test_a_longer_run_takes_the_new_limits() -> None:
    saved = pickle.dumps(_ended_after(2))
    make_stopper(Settings(max_iterations=2, name="a", resume="true"))
    same = pickle.loads(saved)
    assert same("a", result(2))
    make_stopper(Settings(max_iterations=4, name="a", resume="extend"))
    longer = pickle.loads(saved)
    assert [longer("a", result(iteration)) for iteration in (2, 3, 4)] == [False, False, True]


def _ended_after(iterations: int) -> Stopper:
    stopper = make_stopper(Settings(max_iterations=iterations))
    assert [stopper("a", result(i + 1)) for i in range(iterations)][-1]
    return stopper
