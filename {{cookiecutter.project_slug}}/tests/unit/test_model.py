"""What is the model's own: rewrite it with model.py."""

import math
from pathlib import Path
from typing import Any

import numpy as np

from {{cookiecutter.package_name}}.data import Data
from {{cookiecutter.package_name}}.model import Model, load_export


def test_it_learns_the_digits(config: dict[str, Any], data: Data) -> None:
    model = Model(config)
    for _ in range(5):
        model.fit_epoch(data)
    assert model.evaluate(data)["validation_accuracy"] > 0.9


def test_a_bad_configuration_scores_badly(config: dict[str, Any], data: Data) -> None:
    model = Model({**config, "learning_rate": 1e-6})
    model.fit_epoch(data)
    assert model.evaluate(data)["validation_accuracy"] < 0.5


def test_runaway_weights_report_nan(config: dict[str, Any], data: Data) -> None:
    model = Model(config)
    model.fit_epoch(data)
    model.classifier.coefs_[0][:] = math.nan
    assert math.isnan(model.fit_epoch(data))
    assert all(math.isnan(value) for value in model.evaluate(data).values())


def test_the_export_predicts_the_same(config: dict[str, Any], data: Data, tmp_path: Path) -> None:
    model = Model(config)
    model.fit_epoch(data)
    exported = load_export(model.export(tmp_path, data))
    expected = model.classifier.predict(data.preprocess.transform(data.examples))
    np.testing.assert_array_equal(exported.predict(data.examples), expected)
