"""How many trials a run has: samples, times what the grids make of each."""

from typing import Any

import pytest
from ray import tune
from ray_tune_experiment.harness.configuration import load
from ray_tune_experiment.harness.run.preflight import Preflight, check_content
from ray_tune_experiment.harness.tune.search import RandomSearch, count_trials
from ray_tune_experiment.settings import Settings
from ray_tune_experiment.tune_run import tune_run

SPACE = {
    "seed": tune.grid_search([1, 2, 3]),
    "rate": tune.uniform(0, 1),
    "inner": {"size": tune.grid_search([16, 32])},
}


@pytest.mark.parametrize(
    ("settings", "points", "expected"),
    [
        ({"num_samples": 2}, [], 12),
        ({"num_samples": 2}, [{"rate": 0.5}], 12),
        ({"num_samples": 2}, [{"seed": 1}], 2 + 6),
        ({"num_samples": 2}, [{"seed": 1, "inner": {"size": 16}}], 1 + 6),
        ({"num_samples": 2, "search_alg": "optuna"}, [], 2),
    ],
)
def test_grids_times_samples(settings: dict[str, Any], points: list[Any], expected: int) -> None:
    assert count_trials(Settings(**settings), SPACE, points) == expected


@pytest.mark.parametrize("points", [[], [{"seed": 1}]])
def test_more_samples_after_a_resume(points: list[Any]) -> None:
    def search(samples: int) -> RandomSearch:
        made = RandomSearch(Settings(num_samples=samples), points)
        run = tune.Experiment("x", tune.Trainable, config=SPACE, num_samples=samples)
        made.add_configurations([run])
        return made

    resumed = search(5)
    resumed.set_state(search(2).get_state())
    assert resumed.total_samples == search(5).total_samples
    assert resumed.total_samples == count_trials(Settings(num_samples=5), SPACE, points)


def test_a_seed_in_the_search_space_is_the_models(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, Any] = {}
    monkeypatch.setattr("ray_tune_experiment.tune_run.search_space", lambda: SPACE)
    monkeypatch.setattr(tune, "run", lambda _, **arguments: asked.update(arguments))
    tune_run(Settings(name="x", seed=7))
    assert asked["config"] == SPACE
    monkeypatch.setattr("ray_tune_experiment.tune_run.search_space", lambda: {"rate": 1.0})
    tune_run(Settings(name="x", seed=7))
    assert asked["config"] == {"rate": 1.0, "seed": 7}


def test_the_preflight_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ray_tune_experiment.harness.run.preflight.search_space", lambda: SPACE)
    found = Preflight()
    check_content(load(["--num-samples", "2", "--no-check-search-space"]), found)
    assert found.trials == 12
