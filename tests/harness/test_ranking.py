"""Which trial is the best: one rule for Ray's trials and for saved ones."""

import math
from types import SimpleNamespace
from typing import Any

import pytest
from harness.store.ranking import Ranking
from harness.store.saved_trials import SavedTrial
from ray.tune.experiment import Trial
from stub import Settings

VALUES = {"a": [0.1, 0.9, 0.2], "b": [0.5, 0.5, 0.5], "nan": [0.7, math.nan], "none": []}


def rays(name: str, values: list[float]) -> Trial:
    trial = Trial("trainable", trial_id=name, stub=True)
    for number, value in enumerate(values, 1):
        trial.update_last_result({"score": value, "training_iteration": number})
    return trial


def saved(name: str, values: list[float]) -> SavedTrial:
    analysis = dict(rays(name, values).metric_analysis)
    return SavedTrial(name, 0, "TERMINATED", "", {}, {}, {}, analysis, None)


def names(trials: list[Any]) -> list[str]:
    return [getattr(trial, "id", None) or trial.trial_id for trial in trials]


@pytest.mark.parametrize("make", [rays, saved])
@pytest.mark.parametrize(
    ("mode", "scope", "best"),
    [
        ("max", "all", ["a", "b"]),
        ("min", "all", ["a", "b"]),
        ("max", "last", ["b", "a"]),
        ("min", "last", ["a", "b"]),
        ("max", "avg", ["b", "a"]),
        ("min", "last-5-avg", ["a", "b"]),
    ],
)
def test_the_best_first(make: Any, mode: str, scope: str, best: list[str]) -> None:
    """Those without a finite score come last, as they were; to Ray, one NaN is a trial's best."""
    trials = [make(name, VALUES[name]) for name in ("none", "nan", "b", "a")]
    ranking = Ranking("score", mode, scope)
    assert names(ranking.best(trials)) == best
    assert names(ranking.sorted(trials)) == [*best, "none", "nan"]


def test_a_score_by_scope() -> None:
    trial: Any = SimpleNamespace(metric_analysis={"score": {"max": 3, "min": 1, "last": 2.0}})
    for mode, scope, score in [("max", "all", 3.0), ("min", "all", 1.0), ("max", "last", 2.0)]:
        assert Ranking("score", mode, scope).score(trial) == score
    assert math.isnan(Ranking("loss", "max").score(trial))
    assert math.isnan(Ranking("score", "max", "avg").score(trial))


def test_of_one_result() -> None:
    ranking = Ranking("score", "max")
    assert ranking.of_result({"score": 1}) == 1.0
    for nothing in ({}, {"score": None}, {"score": "1"}):
        assert math.isnan(ranking.of_result(nothing))


def test_what_the_settings_say() -> None:
    ranking = Ranking.of(Settings(metric="loss", mode="min", scope="last"))
    assert ranking == Ranking("loss", "min", "last")
    assert (ranking.sign, Ranking("loss", "max").sign) == (-1, 1)
    assert str(ranking) == "min, last of loss"
    assert str(Ranking("score", "max")) == "max of score"
