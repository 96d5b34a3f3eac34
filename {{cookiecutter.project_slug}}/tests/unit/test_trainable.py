"""The whole contract of the Trainable, without Ray."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_digits

from {{cookiecutter.package_name}}.data import Data
from {{cookiecutter.package_name}}.harness.tune.space import corners
from {{cookiecutter.package_name}}.model import EXPORT_FILE, load_export
from {{cookiecutter.package_name}}.search_space import MUTABLE, search_space
from {{cookiecutter.package_name}}.settings import METRICS
from {{cookiecutter.package_name}}.trainable import ExperimentTrainable

Make = Callable[..., ExperimentTrainable]


def metrics(trainable: ExperimentTrainable) -> dict[str, Any]:
    result = trainable.train()
    return {name: result[name] for name in METRICS}


def test_step_reports_the_declared_metrics(make_trainable: Make) -> None:
    assert set(make_trainable().step()) == set(METRICS)


def test_training_learns(make_trainable: Make) -> None:
    trainable = make_trainable()
    results = [metrics(trainable) for _ in range(5)]
    assert results[-1]["validation_accuracy"] > 0.9
    assert results[-1]["validation_log_loss"] < results[0]["validation_log_loss"]


def test_a_bad_configuration_scores_badly(make_trainable: Make) -> None:
    trainable = make_trainable(learning_rate=1e-6)
    assert [metrics(trainable) for _ in range(5)][-1]["validation_accuracy"] < 0.5


def test_a_restored_trial_continues_as_if_never_stopped(
    make_trainable: Make, tmp_path: Path
) -> None:
    trainable = make_trainable()
    trainable.train()
    saved = trainable.save(str(tmp_path / "checkpoint"))
    expected = [metrics(trainable) for _ in range(3)]

    restored = make_trainable(seed=1)
    restored.restore(saved)
    assert restored.iteration == 1
    assert [metrics(restored) for _ in range(3)] == expected


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


def test_a_reused_actor_equals_a_new_one(make_trainable: Make) -> None:
    used = make_trainable(hidden_units=16, seed=9)
    used.train()
    new = make_trainable()
    assert used.reset(new.get_config())
    assert [metrics(used) for _ in range(2)] == [metrics(new) for _ in range(2)]


def test_the_same_seed_gives_the_same_metrics(make_trainable: Make) -> None:
    assert metrics(make_trainable()) == metrics(make_trainable())
    assert metrics(make_trainable()) != metrics(make_trainable(seed=1))


def test_the_export_predicts_the_same(make_trainable: Make, data: Data, tmp_path: Path) -> None:
    trainable = make_trainable()
    trainable.train()
    files = trainable.export_model(["model"], str(tmp_path))
    assert files == {"model": str(tmp_path / EXPORT_FILE)}
    table = load_digits(as_frame=True).data
    expected = trainable.model.classifier.predict(
        data.preprocess.transform(table).astype(np.float32)
    )
    np.testing.assert_array_equal(load_export(tmp_path / EXPORT_FILE).predict(table), expected)


def test_log_result_calls_log_results(
    make_trainable: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    make_trainable().train()
    assert capsys.readouterr().out.startswith("iteration 1: loss ")


@pytest.mark.parametrize("config", corners(search_space()))
def test_every_corner_of_the_search_space_trains(
    make_trainable: Make, config: dict[str, Any]
) -> None:
    assert all(isinstance(value, float) for value in metrics(make_trainable(**config)).values())


def test_runaway_weights_report_nan(make_trainable: Make) -> None:
    trainable = make_trainable()
    trainable.train()
    trainable.model.classifier.coefs_[0][:] = math.nan
    assert all(math.isnan(value) for value in metrics(trainable).values())
