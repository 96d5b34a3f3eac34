"""Tests of model.py: rewrite them with it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from {{cookiecutter.package_name}}.data import Data
from {{cookiecutter.package_name}}.harness.project import Granted
from {{cookiecutter.package_name}}.model import Model, load_export

Train = Callable[..., Model]
# What turns CONFIG into a bad configuration, which hardly learns.
{%- if cookiecutter.framework in ("scikit-learn", "PyTorch") %}
BAD: dict[str, Any] = {"learning_rate": 1e-6}
{%- elif cookiecutter.framework == "XGBoost" %}
BAD: dict[str, Any] = {"min_child_weight": 1000.0}
{%- else %}
BAD: dict[str, Any] = {"min_data_in_leaf": 1000}
{%- endif %}


@pytest.fixture
def train(config: dict[str, Any], data: Data) -> Train:
    """Trains a model for a few steps, with CONFIG by default."""

    def run(steps: int, config: dict[str, Any] = config) -> Model:
        model = Model(config, data, Granted(cpus=1, gpus=0, gpu=None))
        for _ in range(steps):
            model.fit_step()
        return model

    return run


def test_it_learns(train: Train, data: Data) -> None:
    metrics = data.metrics(train(5).predict(data.x_valid))
{%- if cookiecutter.task == "classification" %}
    assert metrics["validation_accuracy"] > 0.85
{%- else %}
    assert metrics["validation_r2"] > 0.2
{%- endif %}


def test_a_bad_configuration_scores_badly(train: Train, data: Data, config: dict[str, Any]) -> None:
    metrics = data.metrics(train(1, {**config, **BAD}).predict(data.x_valid))
{%- if cookiecutter.task == "classification" %}
    assert metrics["validation_accuracy"] < 0.5
{%- else %}
    assert metrics["validation_r2"] < 0.1
{%- endif %}


def test_the_export_predicts_the_same(train: Train, data: Data, tmp_path: Path) -> None:
    model = train(2)
    predicted = model.predict(data.preprocess.transform(data.examples).astype(np.float32))
    exported = load_export(model.export(tmp_path))
{%- if cookiecutter.task == "classification" %}
    np.testing.assert_allclose(exported.predict_proba(data.examples), predicted, rtol=1e-4)
    labels = data.classes[predicted.argmax(axis=1)]
    np.testing.assert_array_equal(exported.predict(data.examples), labels)
{%- else %}
    np.testing.assert_allclose(exported.predict(data.examples), predicted, rtol=1e-4)
{%- endif %}
