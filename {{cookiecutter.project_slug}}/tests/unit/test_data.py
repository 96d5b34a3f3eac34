"""Your own file instead of the digits: rewrite it with data.py."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from {{cookiecutter.package_name}}.data import Data, load_data
from {{cookiecutter.package_name}}.settings import Settings


def load(path: Path | None, target: str | None) -> Data:
    return load_data(Settings(data_path=path, target=target))


def table(rows: int = 40) -> pd.DataFrame:
    """Numbers, categories, missing values, and a class that follows from them."""
    numbers = np.arange(rows, dtype=float)
    frame = pd.DataFrame(
        {
            "size": numbers,
            "colour": np.where(numbers % 3 == 0, "red", "blue"),
            "kind": np.where(numbers < rows / 2, "small", "large"),
        }
    )
    frame.loc[3, "size"] = np.nan
    return frame


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_a_file_of_your_own(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"rows{suffix}"
    table().to_csv(path, index=False) if suffix == ".csv" else table().to_parquet(path)
    data = load(path, "kind")
    assert data.x_train.shape == (30, 3)
    assert data.x_valid.shape == (10, 3)
    assert data.x_train.dtype == np.float32
    assert np.isfinite(data.x_train).all()
    assert data.classes.tolist() == ["large", "small"]


@pytest.mark.parametrize(
    ("column", "width"),
    [
        (pd.Series(["a", None] * 20, dtype="string"), 5),
        (pd.Series(["a", None] * 20, dtype="str"), 5),
        (pd.Series(["a", None] * 20, dtype="object"), 5),
        (pd.Series([True, None] * 20, dtype="boolean"), 5),
        (pd.Series([1, None] * 20, dtype="Int64"), 4),
    ],
    ids=["string", "str", "object", "boolean", "Int64"],
)
def test_values_may_be_missing(column: "pd.Series[Any]", width: int, tmp_path: Path) -> None:
    table().assign(more=column).to_parquet(tmp_path / "rows.parquet")
    data = load(tmp_path / "rows.parquet", "kind")
    assert data.x_train.shape == (30, width)
    assert np.isfinite(data.x_train).all()


def test_a_sample_has_rows_of_each_class() -> None:
    data = load(None, None)
    sample = data.sample(rows=3)
    assert sample.x_train.shape == sample.x_valid.shape == (30, 64)
    for labels in (sample.y_train, sample.y_valid):
        assert np.bincount(labels).tolist() == [3] * 10


def test_examples_are_rows_as_an_export_takes_them(tmp_path: Path) -> None:
    table().to_parquet(tmp_path / "rows.parquet")
    data = load(tmp_path / "rows.parquet", "kind")
    prepared = data.preprocess.transform(data.examples)
    np.testing.assert_allclose(prepared, data.x_valid[:5], rtol=1e-6)


def test_the_digits_are_split_alike_each_time() -> None:
    first, second = load(None, None), load(None, None)
    assert first.x_train.shape == (1347, 64)
    np.testing.assert_array_equal(first.y_valid, second.y_valid)


@pytest.mark.parametrize(
    ("change", "target", "expected"),
    [
        (lambda frame: frame, "color", "no column 'color'"),
        (lambda frame: frame, "size", "empty in 1 rows"),
        (lambda frame: frame.assign(kind=np.arange(len(frame))), "kind", "40 classes in 40 rows"),
        (lambda frame: frame.assign(kind="same"), "kind", "1 classes"),
        (lambda frame: frame[["kind"]], "kind", "no column beside"),
        (lambda frame: frame.assign(size=[[1, 2]] * 40), "kind", "'size' of .*values of type"),
        (lambda frame: frame.assign(kind=[{"a": 1}] * 40), "kind", "'kind' of .*type dict"),
        (lambda frame: frame.assign(size=pd.Timedelta(1)), "kind", "of type Timedelta"),
    ],
)
def test_what_does_not_fit_is_named(
    change: object, target: str, expected: str, tmp_path: Path
) -> None:
    assert callable(change)
    change(table()).to_parquet(tmp_path / "rows.parquet")
    with pytest.raises(ValueError, match=expected):
        load(tmp_path / "rows.parquet", target)


def test_a_file_that_is_not_there_or_not_a_table(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        load(tmp_path / "rows.csv", "kind")
    with pytest.raises(ValueError, match="should end in"):
        load(tmp_path / "rows.xlsx", "kind")


def test_the_file_and_its_target_go_together(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="TARGET should name its column"):
        load(tmp_path / "rows.csv", None)
    with pytest.raises(ValueError, match="TARGET='kind'"):
        load(None, "kind")
