"""Yours: where the rows come from, and what the model sees of them.

Runs once, on the driver. Ray's object store then shares the arrays with every trial.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_{{cookiecutter.__bundled_data}}
from sklearn.impute import SimpleImputer
{%- if cookiecutter.task == "classification" %}
from sklearn.metrics import accuracy_score, log_loss
{%- else %}
from sklearn.metrics import r2_score, root_mean_squared_error
{%- endif %}
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from .settings import Settings

# The split is the same in every run: results of different seeds can be compared.
VALIDATION_FRACTION = 0.25
SPLIT_SEED = 0
{%- if cookiecutter.task == "regression" %}
SMALLEST = 8  # rows, so that 2 are left to validate with
{%- endif %}


@dataclass(frozen=True)
class Data:
    """Rows for training and for validation, prepared.
{%- if cookiecutter.task == "classification" %}
    x_train: (rows, features) float32    y_train: (rows,) class labels
    x_valid: (rows, features) float32    y_valid: (rows,) class labels
{%- else %}
    x_train: (rows, features) float32    y_train: (rows,) float64
    x_valid: (rows, features) float32    y_valid: (rows,) float64
{%- endif %}
    preprocess: what made features of raw columns, fitted; an exported model begins with it
    description: what the rows are, for experiment.json, `show` and the report
    examples: a few rows of raw columns, as an exported model takes them
    """

    x_train: NDArray[np.float32]
    y_train: NDArray[Any]
    x_valid: NDArray[np.float32]
    y_valid: NDArray[Any]
    preprocess: Any
    description: str
    examples: pd.DataFrame
{% if cookiecutter.task == "classification" %}
    @property
    def classes(self) -> NDArray[Any]:
        return np.unique(self.y_train)

    def metrics(self, predicted: NDArray[Any]) -> dict[str, float]:
        """Accuracy (0 to 1, more is better) and log loss (nats, less is better).

        predicted: of each row of x_valid, the probability of each class: (rows, classes)
        """
        if not np.isfinite(predicted).all():
            return {"validation_accuracy": float("nan"), "validation_log_loss": float("nan")}
        labels, loss = self.classes[predicted.argmax(axis=1)], log_loss
        return {
            "validation_accuracy": float(accuracy_score(self.y_valid, labels)),
            "validation_log_loss": float(loss(self.y_valid, predicted, labels=self.classes)),
        }

    def sample(self, rows: int = 5) -> "Data":
        """A few rows of each class, to try a model on before a run."""
        train, valid = (
            pd.Series(labels).groupby(labels).head(rows).index.to_numpy()
            for labels in (self.y_train, self.y_valid)
        )
{%- else %}
    def metrics(self, predicted: NDArray[Any]) -> dict[str, float]:
        """Root mean squared error (in the target's unit, less is better) and R² (at most 1).

        predicted: the target of each row of x_valid: (rows,)
        """
        if not np.isfinite(predicted).all():
            return {"validation_rmse": float("nan"), "validation_r2": float("nan")}
        return {
            "validation_rmse": float(root_mean_squared_error(self.y_valid, predicted)),
            "validation_r2": float(r2_score(self.y_valid, predicted)),
        }

    def sample(self, rows: int = 50) -> "Data":
        """A few rows, to try a model on before a run."""
        train, valid = slice(rows), slice(rows)
{%- endif %}
        return replace(
            self,
            x_train=self.x_train[train],
            y_train=self.y_train[train],
            x_valid=self.x_valid[valid],
            y_valid=self.y_valid[valid],
        )


def load_data(settings: Settings) -> Data:
    """Load scikit-learn's {{cookiecutter.__bundled_data}}, or the CSV or Parquet file DATA_PATH.

    Raises OSError when the file can't be read, ValueError when its content doesn't fit.
    """
    path, target = settings.data_path, settings.target
    if path is None:
        if target is not None:
            needed = settings.variable("data_path")
            raise ValueError(f"{settings.given('target')} is a column of {needed}, not set")
        description = "scikit-learn's {{cookiecutter.__bundled_data}}"
        features, labels = load_{{cookiecutter.__bundled_data}}(return_X_y=True, as_frame=True)
    else:
        if target is None:
            needed = settings.variable("target")
            raise ValueError(f"{path}: {needed} should name its column to predict")
        description = f"{path}, target {target}"
        features, labels = _read(path, target)
    raw_train, raw_valid, y_train, y_valid = train_test_split(
        features,
        labels.to_numpy(),
        test_size=VALIDATION_FRACTION,
        random_state=SPLIT_SEED,
{%- if cookiecutter.task == "classification" %}
        stratify=labels,
{%- endif %}
    )
    preprocess = _preprocess(features)
    return Data(
        x_train=preprocess.fit_transform(raw_train).astype(np.float32),
        y_train=y_train,
        x_valid=preprocess.transform(raw_valid).astype(np.float32),
        y_valid=y_valid,
        preprocess=preprocess,
        description=description,
        examples=raw_valid.head(),
    )


def _read(path: Path, target: str) -> tuple[pd.DataFrame, pd.Series]:
    """Read the file and part the target from the features."""
    if path.suffix not in {".csv", ".parquet"}:
        raise ValueError(f"{path} should end in .csv or .parquet")
    table = pd.read_csv(path) if path.suffix == ".csv" else pd.read_parquet(path)
    if target not in table.columns:
        raise ValueError(
            f"{path} has no column {target!r}; it has {', '.join(map(str, table.columns))}"
        )
    for name, column in table.items():
        table[name] = _usable(column, path)
    labels = table.pop(target)
    if missing := int(labels.isna().sum()):
        raise ValueError(f"column {target!r} of {path} is empty in {missing} rows")
    if table.columns.empty:
        raise ValueError(f"{path} has no column beside {target!r} to predict from")
{%- if cookiecutter.task == "classification" %}
    counts = labels.value_counts()
    smallest_part = int(min(VALIDATION_FRACTION, 1 - VALIDATION_FRACTION) * len(labels))
    if len(counts) < 2 or counts.min() < 2 or len(counts) > smallest_part:
        raise ValueError(
            f"column {target!r} of {path} holds {len(counts)} classes in {len(labels)} rows: a"
            " classifier needs 2 or more, each in 2 rows or more, and rows of each to validate with"
        )
{%- else %}
    if not pd.api.types.is_numeric_dtype(labels) or pd.api.types.is_bool_dtype(labels):
        kind = labels.dtype
        raise ValueError(f"column {target!r} of {path} should hold numbers; it holds {kind}")
    labels = labels.astype(np.float64)
    if not np.isfinite(labels).all():
        raise ValueError(f"column {target!r} of {path} holds infinite values")
    if labels.nunique() < 2 or len(labels) < SMALLEST:
        raise ValueError(
            f"column {target!r} of {path} holds {labels.nunique()} different values in"
            f" {len(labels)} rows; a regression needs 2 or more, in {SMALLEST} rows or more"
        )
{%- endif %}
    return table, labels


def _usable(column: pd.Series, path: Path) -> pd.Series:
    """A column as scikit-learn takes it. Raises ValueError for lists, and for what is mixed."""
    if isinstance(column.dtype, pd.StringDtype):  # it may have pd.NA, which scikit-learn refuses
        return column.astype(object).where(column.notna(), np.nan)
    if pd.api.types.infer_dtype(column) in {"mixed", "mixed-integer", "timedelta64"}:
        kinds = sorted({type(value).__name__ for value in column.dropna()})
        raise ValueError(
            f"column {column.name!r} of {path} holds values of type {' and '.join(kinds)}; it"
            " should hold numbers, texts, true and false, or dates"
        )
    return column


def _preprocess(features: pd.DataFrame) -> Any:
    """Scale numbers, and make one column of each category; fill what is missing."""
    numbers = features.select_dtypes("number").columns.tolist()
    categories = features.columns.difference(numbers, sort=False).tolist()
    return make_column_transformer(
        (make_pipeline(SimpleImputer(keep_empty_features=True), StandardScaler()), numbers),
        (OneHotEncoder(handle_unknown="infrequent_if_exist", max_categories=50), categories),
        sparse_threshold=0,
    )
