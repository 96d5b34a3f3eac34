"""Checks the columns of a table, and converts each to what scikit-learn accepts."""

import math
from typing import Any

import numpy as np
import pandas as pd

# What pandas.api.types.infer_dtype calls a column, and what the column is used as.
NUMBERS = {"integer", "floating", "mixed-integer-float", "decimal"}
CATEGORIES = {"string", "empty", "boolean", "categorical", "date", "datetime", "datetime64"}
TEXT_OR_NUMBER = (str, int, float)


def part(table: pd.DataFrame, target: str, path: str) -> "tuple[pd.DataFrame, pd.Series[Any]]":
    """Separate the target column from the features.

    Parameters
    ----------
    table : DataFrame
    target : str
        The name of the column to predict.
    path : str
        Where the table came from, for messages.

    Returns
    -------
    features : DataFrame
    labels : Series

    Raises
    ------
    ValueError
        When there is no such column, when it has missing values, or when a column holds anything
        but numbers, text, booleans or dates.
    """
    if target not in table.columns:
        known = ", ".join(map(str, table.columns))
        raise ValueError(f"{path} has no column {target!r}; it has {known}")
    if len(table.columns) == 1:
        raise ValueError(f"{path} has no column beside {target!r} to predict from")
    columns = {}
    for name, column in table.items():
        where = f"column {name!r} of {path}"
        if name != target:  # a class label may mix numbers and text
            _check_text(column, where)
        columns[name] = _usable(column, where)
    labels = columns.pop(target)
    if missing := int(labels.isna().sum()):
        raise ValueError(f"column {target!r} of {path} is empty in {missing} of {len(table)} rows")
    return pd.DataFrame(columns), labels


def checked_classes(
    labels: "pd.Series[Any]", path: str, validation_fraction: float
) -> "pd.Series[Any]":
    """Check the labels of a classification: both parts of the split need rows of each class.

    Raises ValueError for one class, a class of one row, and more classes than rows in a part.
    """
    counts = labels.value_counts()
    smallest_part = int(_smaller(validation_fraction) * len(labels))
    if len(counts) < 2 or counts.min() < 2 or len(counts) > smallest_part:
        raise ValueError(
            f"column {labels.name!r} of {path} holds {len(counts)} classes in {len(labels)} rows: a"
            " classifier needs 2 or more, each in 2 rows or more, and rows of each to validate with"
        )
    return labels


def checked_numbers(
    labels: "pd.Series[Any]", path: str, validation_fraction: float
) -> "pd.Series[float]":
    """Labels as float64, for a regression.

    Raises ValueError for values that aren't numbers, for equal ones, and for a part of 1 row.
    """
    where = f"column {labels.name!r} of {path}"
    _check_text(labels, where)
    if not pd.api.types.is_numeric_dtype(labels) or pd.api.types.is_bool_dtype(labels):
        raise ValueError(f"{where} should hold numbers; it holds {labels.dtype}")
    numbers = labels.astype(np.float64)
    different, needed = numbers.nunique(), math.ceil(2 / _smaller(validation_fraction))
    if different < 2 or len(numbers) < needed:
        raise ValueError(
            f"{where} holds {different} different values in {len(numbers)} rows; a regression needs"
            f" 2 or more, in {needed} rows or more"
        )
    return numbers


def _smaller(fraction: float) -> float:
    return min(fraction, 1 - fraction)


def _usable(column: "pd.Series[Any]", where: str) -> "pd.Series[Any]":
    """A column as scikit-learn accepts it. Raises ValueError for one that it can't use."""
    kind = pd.api.types.infer_dtype(column)
    if kind in {"string", "empty"}:  # scikit-learn refuses pd.NA, and takes None for a category
        return column.astype(object).where(column.notna(), np.nan)
    if kind not in {*NUMBERS, *CATEGORIES}:
        kinds = sorted({type(value).__name__ for value in column.dropna()})
        raise ValueError(
            f"{where} holds values of type {' and '.join(kinds)}; it should hold numbers, texts,"
            " true and false, or dates"
        )
    if kind in NUMBERS and column.dtype == object:
        column = column.astype(np.float64)
    if pd.api.types.is_float_dtype(column):
        infinite = int(np.isinf(column.to_numpy(dtype=np.float64, na_value=np.nan)).sum())
        if infinite:
            raise ValueError(f"{where} holds infinity in {infinite} of {len(column)} rows")
    return column


def _check_text(column: "pd.Series[Any]", where: str) -> None:
    """Raise ValueError for some text in a numeric column: each number would be a category."""
    if not (column.dtype == object or isinstance(column.dtype, pd.StringDtype)):
        return
    values = column.dropna()
    if not all(issubclass(kind, TEXT_OR_NUMBER) for kind in set(map(type, values))):
        return
    texts = values[pd.to_numeric(values, errors="coerce").isna()]
    if 0 < len(texts) < len(values) / 2:
        raise ValueError(
            f"{where} holds numbers, but in {len(texts)} of {len(column)} rows a text, as"
            f" {texts.iloc[0]!r}: leave such values empty, or make it a category"
        )
