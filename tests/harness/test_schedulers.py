"""Schedulers, and what they have learned; what a plan hands to `tune.run`."""

from typing import Any

import pytest
from harness.tune import Plan, make_scheduler
from harness.tune.callbacks import Callbacks
from harness.tune.scheduler_state import SchedulerState, learned, restore
from harness.tune.schedulers import WaitingHyperBand, clip_to_bounds, mutations
from ray import tune
from ray.tune import Callback
from ray.tune.experiment import Trial
from ray.tune.schedulers import (
    AsyncHyperBandScheduler,
    FIFOScheduler,
    MedianStoppingRule,
    PopulationBasedTraining,
    TrialScheduler,
)
from ray.tune.search import BasicVariantGenerator
from stub import PROJECT, Settings

SPACE = {
    "rate": tune.quniform(0.1, 1.0, 0.1),
    "deep": {"size": tune.randint(1, 9)},
    "kind": tune.choice(["a", "b"]),
    "far": tune.uniform(0, 1),
}
MUTABLE = ("rate", "deep/size", "kind")


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("fifo", FIFOScheduler),
        ("asha", AsyncHyperBandScheduler),
        ("median", MedianStoppingRule),
        ("hyperband", WaitingHyperBand),
        ("pbt", PopulationBasedTraining),
    ],
)
def test_each_scheduler(name: str, kind: type[TrialScheduler]) -> None:
    """And what it has learned is kept, with as many trials as there are."""
    settings = Settings(scheduler=name, max_iterations=9, grace_iterations=2)
    scheduler, again = (make_scheduler(settings, SPACE, MUTABLE) for _ in range(2))
    assert type(scheduler) is kind
    for made in (scheduler, again):
        made.set_search_properties("score", "max")
    state = learned(scheduler)
    assert state["waiting"] == []
    restore(again, state, [])


def test_what_pbt_may_change() -> None:
    assert mutations(SPACE, MUTABLE) == {
        "rate": SPACE["rate"],
        "deep/size": SPACE["deep"]["size"],
        "kind": ["a", "b"],
    }
    clip = clip_to_bounds(SPACE, MUTABLE)
    config = clip({"rate": 1.22, "deep": {"size": 12}, "kind": "a", "far": 5.0})
    assert config == {"rate": 1.0, "deep": {"size": 8}, "kind": "a", "far": 5.0}
    config = clip({"rate": 0.34, "deep": {"size": 0}, "kind": "a", "far": 5.0})
    assert config == {"rate": pytest.approx(0.3), "deep": {"size": 1}, "kind": "a", "far": 5.0}


def test_a_trial_that_was_waiting_for_others_waits_on() -> None:
    scheduler = make_scheduler(Settings(scheduler="hyperband", max_iterations=9), SPACE)
    scheduler.set_search_properties("score", "max")
    callback = SchedulerState(scheduler, BasicVariantGenerator(), seed=1)
    callback.set_state({"waiting": ["x_0"], "scheduler": b"", "random": None})
    trials = [Trial("trainable", trial_id=f"x_{i}", stub=True) for i in range(2)]
    for trial in trials:
        scheduler.on_trial_add(None, trial)
    assert [trial.status for trial in trials] == [Trial.PAUSED, Trial.PENDING]


def test_a_plan_needs_no_ray_that_runs() -> None:
    """In a notebook: `tune_run(settings, Plan.make(PROJECT, settings))`."""
    own, another = Callback(), Callback()
    plan = Plan.make(PROJECT, Settings(scheduler="asha"), callbacks=[another])
    assert plan.data.description == "four numbers"
    assert plan.resume_config is None
    assert isinstance(plan.search_alg, BasicVariantGenerator)
    assert isinstance(plan.scheduler, AsyncHyperBandScheduler)
    (callbacks,) = plan.callbacks([own])
    assert isinstance(callbacks, Callbacks)
    _, first, state, last = callbacks._callbacks
    assert (first, type(state), last) == (another, SchedulerState, own)


def test_a_plan_takes_what_is_loaded_already() -> None:
    data: Any = object()
    points = [{"rate": 0.5, "size": 2}]
    plan = Plan.make(PROJECT, Settings(), data=data, points=points)
    assert plan.data is data
    assert plan.search_alg.points == points
