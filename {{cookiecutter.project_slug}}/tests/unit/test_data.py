"""Tests of data.py: rewrite them with it."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from {{cookiecutter.package_name}}.data import Data, load_data
from {{cookiecutter.package_name}}.settings import Settings


def load(path: Path | None, target: str | None) -> Data:
    return load_data(Settings(data_path=str(path) if path else None, target=target))


def table(rows: int = 40) -> pd.DataFrame:
    """Numbers, categories, missing values, and a target that follows from them."""
    numbers = np.arange(rows, dtype=float)
    frame = pd.DataFrame(
        {
            "size": numbers,
            "colour": np.where(numbers % 3 == 0, "red", "blue"),
{%- if cookiecutter.task == "classification" %}
            "target": np.where(numbers < rows / 2, "small", "large"),
{%- else %}
            "target": numbers * 2,
{%- endif %}
        }
    )
    frame.loc[3, "size"] = np.nan
    return frame


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_a_file_of_your_own(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"rows{suffix}"
    table().to_csv(path, index=False) if suffix == ".csv" else table().to_parquet(path)
    data = load(path, "target")
    assert data.x_train.shape == (30, 3)
    assert data.x_valid.shape == (10, 3)
    assert data.x_train.dtype == np.float32
    assert np.isfinite(data.x_train).all()
{%- if cookiecutter.task == "classification" %}
    assert data.classes.tolist() == ["large", "small"]
{%- else %}
    assert sorted([*data.y_train, *data.y_valid]) == [2.0 * n for n in range(40)]
{%- endif %}


@pytest.mark.parametrize(
    ("dtype", "value", "width"),
    [
        ("string", "a", 5),
        ("str", "a", 5),
        ("object", "a", 5),
        ("boolean", True, 5),
        ("Int64", 1, 4),
    ],
)
def test_values_may_be_missing(dtype: Any, value: Any, width: int, tmp_path: Path) -> None:
    column = pd.Series([value, None] * 20, dtype=dtype)
    table().assign(more=column).to_parquet(tmp_path / "rows.parquet")
    data = load(tmp_path / "rows.parquet", "target")
    assert data.x_train.shape == (30, width)
    assert np.isfinite(data.x_train).all()


{% if cookiecutter.task == "classification" -%}
def test_a_sample_has_rows_of_each_class() -> None:
    data = load(None, None)
    sample = data.sample(rows=3)
    assert sample.x_train.shape == sample.x_valid.shape == (30, 64)
    for labels in (sample.y_train, sample.y_valid):
        assert np.bincount(labels).tolist() == [3] * 10


def test_metrics_of_predictions() -> None:
    data = load(None, None)
    right = (data.y_valid[:, np.newaxis] == data.classes).astype(float)
    metrics = data.metrics(right)
    assert metrics["validation_accuracy"] == 1
    assert metrics["validation_log_loss"] == pytest.approx(0, abs=1e-6)
    assert data.metrics((1 - right) / 9)["validation_accuracy"] == 0
    assert np.isnan(list(data.metrics(right * np.nan).values())).all()
{%- else -%}
def test_a_sample_has_a_few_rows() -> None:
    sample = load(None, None).sample(rows=20)
    assert sample.x_train.shape == sample.x_valid.shape == (20, 10)
    assert sample.y_train.shape == sample.y_valid.shape == (20,)


def test_metrics_of_predictions() -> None:
    data = load(None, None)
    assert data.metrics(data.y_valid) == {"validation_rmse": 0, "validation_r2": 1}
    assert data.metrics(data.y_valid + 3)["validation_rmse"] == pytest.approx(3)
    assert np.isnan(list(data.metrics(data.y_valid * np.nan).values())).all()
{%- endif %}


def test_examples_are_rows_as_an_export_takes_them(tmp_path: Path) -> None:
    table().to_parquet(tmp_path / "rows.parquet")
    data = load(tmp_path / "rows.parquet", "target")
    prepared = data.preprocess.transform(data.examples)
    np.testing.assert_allclose(prepared, data.x_valid[:5], rtol=1e-6)


def test_the_bundled_data_are_split_alike_each_time() -> None:
    first, second = load(None, None), load(None, None)
    assert first.x_train.shape == {{ "(1347, 64)" if cookiecutter.task == "classification" else "(331, 10)" }}
    np.testing.assert_array_equal(first.y_valid, second.y_valid)


@pytest.mark.parametrize(
    ("target", "label", "expected"),
    [
        ("target", "color", "no column 'color'"),
        ("target", "size", "empty in 1 of 40 rows"),
{%- if cookiecutter.task == "classification" %}
        ("same", "target", "holds 1 classes in 40 rows"),
{%- else %}
        ("text", "target", "should hold numbers"),
{%- endif %}
    ],
)
def test_what_does_not_fit_is_named(target: str, label: str, expected: str, tmp_path: Path) -> None:
    table().assign(target=target).to_parquet(tmp_path / "rows.parquet")
    with pytest.raises(ValueError, match=expected):
        load(tmp_path / "rows.parquet", label)


def test_the_file_and_its_target_go_together(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="TARGET should name its column"):
        load(tmp_path / "rows.csv", None)
    with pytest.raises(ValueError, match="TARGET='target'"):
        load(None, "target")
