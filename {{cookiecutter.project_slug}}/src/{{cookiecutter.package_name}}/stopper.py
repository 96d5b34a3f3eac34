"""Yours: when a trial, or the whole experiment, stops."""

import math
from collections.abc import Mapping
from typing import Any

from ray.tune.stopper import (
    ExperimentPlateauStopper,
    MaximumIterationStopper,
    Stopper,
    TrialPlateauStopper,
)

from .harness.tune import RestorableStopper, TimeBudgetStopper
from .settings import Settings


class NonFiniteStopper(Stopper):
    """Stops a trial that reports NaN or infinity: it will not recover."""

    def __init__(self, metrics: tuple[str, ...]) -> None:
        self.metrics = metrics

    def __call__(self, trial_id: str, result: Mapping[str, Any]) -> bool:
        return any(not math.isfinite(result[metric]) for metric in self.metrics)

    def stop_all(self) -> bool:
        return False


class GoalStopper(Stopper):
    """Stops everything once a trial's metric is as good as `goal`."""

    def __init__(self, metric: str, mode: str, goal: float) -> None:
        self.metric = metric
        self.sign = 1 if mode == "max" else -1
        self.goal = goal
        self.best = -math.inf

    def __call__(self, trial_id: str, result: Mapping[str, Any]) -> bool:
        self.best = max(self.best, self.sign * result[self.metric])
        return self.stop_all()

    def stop_all(self) -> bool:
        return self.best >= self.sign * self.goal


class ValueStopper(Stopper):
    """Stops a trial that reaches one of the values, as `tune.run(stop={…})` does."""

    def __init__(self, rules: Mapping[str, float]) -> None:
        self.rules = dict(rules)

    def __call__(self, trial_id: str, result: Mapping[str, Any]) -> bool:
        return any(result[key] >= value for key, value in self.rules.items())

    def stop_all(self) -> bool:
        return False


def make_stopper(settings: Settings) -> Stopper:
    """All stoppers of a run, combined by "or".

    They are asked in this order until one stops the trial. NonFiniteStopper is first, so that no
    other sees NaN; those that count results are next, so that they see all other results.
    """
    metric, mode, std = settings.metric, settings.mode, settings.plateau_std
    stoppers: list[Stopper] = [NonFiniteStopper(settings.METRICS)]
    if settings.metric_goal is not None:
        stoppers.append(GoalStopper(metric, mode, settings.metric_goal))
    if count := settings.plateau_trials:
        stoppers.append(ExperimentPlateauStopper(metric, std, top=count, mode=mode))
    if count := settings.plateau_results:
        stoppers.append(TrialPlateauStopper(metric, std, num_results=count, grace_period=count))
    if settings.time_budget_s is not None:
        stoppers.append(TimeBudgetStopper(settings.time_budget_s))
    stoppers += [MaximumIterationStopper(settings.max_iterations), ValueStopper(settings.stop)]
    return RestorableStopper(*stoppers, reopen=settings.resume == "extend")
