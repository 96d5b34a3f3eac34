"""What proposes trials: how many, which, after a resume, and what it can't do with a space."""

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest
from harness.configuration import Configuration, load
from harness.run.preflight import Preflight
from harness.tune import make_search
from harness.tune.search import ModelSearch, RandomSearch, count_trials
from ray import tune
from stub import PROJECT, Settings

from tests.harness.saved import changed

SPACE = {
    "seed": tune.grid_search([1, 2, 3]),
    "rate": tune.uniform(0, 1),
    "inner": {"size": tune.grid_search([16, 32])},
}
POINTS = [{"rate": 0.5, "size": 2}, {"rate": 0.25, "size": 4}]


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


def test_a_search_that_everything_ended_samples_on_when_extended() -> None:
    search = RandomSearch(Settings(num_samples=8))
    search.set_finished()  # as Ray does for METRIC_GOAL
    kept = search.get_state()
    extended = Settings(num_samples=8, name="x", resume="extend")
    for settings, finished in [(extended, False), (Settings(num_samples=8), True)]:
        again = RandomSearch(settings)
        again.set_state(kept)
        assert again.is_finished() is finished


@pytest.mark.parametrize("algorithm", ["optuna", "hyperopt", "nevergrad"])
def test_a_seed_proposes_the_same_again(algorithm: str) -> None:
    def proposed(seed: int, points: list[Any]) -> list[dict[str, Any]]:
        space = PROJECT.parts().search_space()
        search = make_search(Settings(search_alg=algorithm, seed=seed), space, points)
        assert isinstance(search, ModelSearch)
        search.set_search_properties("score", "max", space)
        return [search.searcher.suggest(str(number)) for number in range(3)]

    assert proposed(1, []) == proposed(1, []) != proposed(2, [])
    first = proposed(1, POINTS[:1])[0]
    assert first == {"rate": pytest.approx(0.5), "size": 2}


def test_trials_at_a_time() -> None:
    settings = Settings(search_alg="optuna", max_concurrent_trials=2)
    search = make_search(settings, PROJECT.parts().search_space())
    assert search.searcher.max_concurrent == 2
    random = make_search(Settings(max_concurrent_trials=3), SPACE)
    assert random.max_concurrent == 3


def test_the_preflight_counts() -> None:
    words = ["--num-samples", "2", "--no-check-search-space"]
    ready = Preflight(load(changed(search_space=lambda: SPACE), words))
    ready.check_place()
    ready.check_content()
    assert ready.trials == 12


NORMAL = {"rate": tune.uniform(0, 1), "normal": tune.randn(0, 1)}
CHOICE = {"a": tune.choice([{"b": tune.randn(0, 1)}])}


@pytest.mark.parametrize(
    ("settings", "parts", "words"),
    [
        ({"search_alg": "optuna"}, {}, ""),
        ({"search_alg": "optuna"}, {"search_space": lambda: SPACE}, "'optuna': it takes no grid"),
        ({"search_alg": "optuna"}, {"search_space": lambda: CHOICE}, "no search space in a choice"),
        ({"search_alg": "hyperopt"}, {"search_space": lambda: NORMAL}, ""),
        ({"search_alg": "nevergrad"}, {"search_space": lambda: NORMAL}, "normal has none"),
        ({"scheduler": "asha", "grace_iterations": 4}, {}, "more than EXPERIMENT_MAX_ITERATIONS"),
        ({"scheduler": "asha", "grace_iterations": 3}, {}, ""),
        ({"scheduler": "hyperband", "max_concurrent_trials": 2}, {}, "should be 0"),
        ({"scheduler": "hyperband", "checkpoint_frequency": 0}, {}, "needs checkpoints"),
        ({"scheduler": "pbt"}, {}, ""),
        ({"scheduler": "pbt", "search_alg": "optuna"}, {}, "it searches by itself"),
        ({"scheduler": "pbt", "num_samples": 1}, {}, "NUM_SAMPLES=1 should be 2 or more"),
        ({"scheduler": "pbt", "max_concurrent_trials": 1}, {}, "side by side"),
        ({"scheduler": "pbt"}, {"mutable": ("rates",)}, "'rates', which is not sampled"),
        ({"scheduler": "pbt"}, {"mutable": ()}, "no hyperparameter"),
    ],
)
def test_what_a_search_or_a_scheduler_cannot_do(
    settings: dict[str, Any], parts: dict[str, Any], words: str
) -> None:
    asked = Settings(check_search_space=False, **settings)
    ready = Preflight(Configuration(changed(**parts), asked))
    ready.check_place()
    ready.check_content()
    assert len(ready.findings) == bool(words), ready.findings
    assert all(words in finding for finding in ready.findings)


def test_a_search_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda n: find(n) if n != "optuna" else None)
    settings = Settings(check_search_space=False, search_alg="optuna")
    ready = Preflight(Configuration(PROJECT, settings))
    ready.check_place()
    ready.check_content()
    assert ready.findings == [
        "EXPERIMENT_SEARCH_ALG='optuna': optuna is missing; uv sync --extra optuna"
    ]


@pytest.mark.parametrize(
    ("given", "content", "settings", "words"),
    [
        ("none.json", None, {}, ["'none.json'", "No such file"]),
        ("text.json", "rate: 1", {}, ["is not JSON"]),
        ("one.json", {"rate": 0.1}, {}, ["should hold a list of configurations"]),
        ("name.json", [{"rat": 1}], {}, ["point 1: no hyperparameter 'rat'; did you mean rate?"]),
        ("far.json", [{"rate": 2}], {}, ["point 1: rate=2 is not in Float"]),
        ("few.json", [{"size": 2.0}], {}, []),
        (
            "few.json",
            [{"size": 2.0}],
            {"search_alg": "optuna"},
            ["rate is missing; SEARCH_ALG=random would sample it"],
        ),
        ("two.json", POINTS, {"num_samples": 1}, ["2 points, and only 1 trials to sample"]),
        ("two.json", POINTS, {}, []),
        ("earlier:3", None, {}, ["'earlier:3'", "no such experiment with trials"]),
        ("earlier:0", None, {}, ["NAME:5 for its best five"]),
    ],
)
def test_points(
    given: str, content: Any, settings: dict[str, Any], words: list[str], empty_folder: Path
) -> None:
    if content is not None:
        text = content if isinstance(content, str) else json.dumps(content)
        (empty_folder / given).write_text(text)
    asked = Settings(points_to_evaluate=given, check_search_space=False, **settings)
    ready = Preflight(Configuration(PROJECT, asked))
    ready.check_place()
    ready.check_content()
    assert len(ready.findings) == bool(words), ready.findings
    for finding in ready.findings:
        assert finding.startswith("EXPERIMENT_POINTS_TO_EVALUATE=")
        assert all(word in finding for word in words)
    assert ready.points == ([] if words else content)
