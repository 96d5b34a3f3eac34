"""Tests of the Trainable, without Ray."""

from collections.abc import Callable
from numbers import Real
from pathlib import Path
from typing import Any

import pytest

from {{cookiecutter.package_name}}.harness.tune.space import corners, pairs
from {{cookiecutter.package_name}}.search_space import MUTABLE, search_space
from {{cookiecutter.package_name}}.settings import Settings
from {{cookiecutter.package_name}}.trainable import ExperimentTrainable

Make = Callable[..., ExperimentTrainable]


def metrics(trainable: ExperimentTrainable, iterations: int = 1) -> list[dict[str, Any]]:
    """The METRICS that the trial reports at each iteration."""
    results = [trainable.train() for _ in range(iterations)]
    return [{name: result[name] for name in Settings.METRICS} for result in results]


def test_step_reports_the_declared_metrics(make_trainable: Make) -> None:
    reported = make_trainable().step()
    assert set(reported) >= set(Settings.METRICS)
    assert all(isinstance(reported[name], Real) for name in Settings.METRICS)


def test_training_learns(make_trainable: Make) -> None:
    settings = Settings()
    results = [result[settings.metric] for result in metrics(make_trainable(), 5)]
    assert results[-1] > results[0] if settings.mode == "max" else results[-1] < results[0]


def test_a_restored_trial_continues_as_if_never_stopped(
    make_trainable: Make, tmp_path: Path
) -> None:
    trainable = make_trainable()
    trainable.train()
    saved = trainable.save(str(tmp_path / "checkpoint"))
    expected = metrics(trainable, 3)

    restored = make_trainable()
    restored.restore(saved)
    assert restored.iteration == 1
    assert metrics(restored, 3) == expected


@pytest.mark.parametrize("key", MUTABLE)
def test_a_restored_trial_keeps_what_is_mutable(
    make_trainable: Make, tmp_path: Path, key: str
) -> None:
    trainable = make_trainable()
    trainable.train()
    saved = trainable.save(str(tmp_path / "checkpoint"))
    results = []
    for config in (corners(search_space())[0], corners(search_space())[-1]):
        restored = make_trainable(**{key: config[key]})
        restored.restore(saved)
        results.append(metrics(restored))
    assert results[0] != results[1]


@pytest.mark.parametrize("key", pairs(search_space()))
def test_each_hyperparameter_changes_the_results(
    make_trainable: Make, config: dict[str, Any], key: str
) -> None:
    """It would be useless to tune one that the model doesn't use."""
    low, high = (make_trainable(**changed) for changed in pairs(search_space(), config)[key])
    assert metrics(low, 2) != metrics(high, 2)


def test_a_reused_actor_equals_a_new_one(make_trainable: Make) -> None:
    new = make_trainable()
    expected, config = metrics(new, 2), new.get_config()
    used = make_trainable(**corners(search_space())[0], seed=9)
    used.train()
    assert used.reset(config)
    assert metrics(used, 2) == expected


def test_the_same_seed_gives_the_same_metrics(make_trainable: Make) -> None:
    assert metrics(make_trainable()) == metrics(make_trainable())
    assert metrics(make_trainable()) != metrics(make_trainable(seed=1))


def test_the_export_predicts(
    make_trainable: Make, load_export: Callable[[Path], Any], data: Any, tmp_path: Path
) -> None:
    trainable = make_trainable()
    trainable.train()
    files = trainable.export_model(["model"], str(tmp_path))
    predicted = load_export(Path(files["model"])).predict(data.examples)
    assert len(predicted) == len(data.examples)


def test_log_result_calls_log_results(
    make_trainable: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    logged: list[dict[str, Any]] = []
    monkeypatch.setattr(ExperimentTrainable, "log_results", lambda self, it: logged.append(it))
    result = make_trainable().train()
    assert [it["training_iteration"] for it in logged] == [result["training_iteration"]] == [1]


@pytest.mark.parametrize("corner", corners(search_space()))
def test_every_corner_of_the_search_space_trains(
    make_trainable: Make, corner: dict[str, Any]
) -> None:
    (result,) = metrics(make_trainable(**corner))
    assert all(isinstance(value, Real) for value in result.values())
