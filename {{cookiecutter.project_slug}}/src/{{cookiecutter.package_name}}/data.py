"""Yours: where the rows come from, and how they are prepared for the model.

It runs once, on the driver. All trials share the arrays through Ray's object store.
"""

from dataclasses import dataclass, replace
from typing import Any, Self

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

{% if cookiecutter.dataframes == "Modin" -%}
{% if cookiecutter.task == "classification" -%}
from .harness.data import checked_classes, part
{%- else -%}
from .harness.data import checked_numbers, part
{%- endif %}
from .harness.data.modin import collected, read_table
{%- elif cookiecutter.task == "classification" -%}
from .harness.data import checked_classes, part, read_table
{%- else -%}
from .harness.data import checked_numbers, part, read_table
{%- endif %}
from .settings import Settings

# The split is the same in every run, so that results of different seeds can be compared.
VALIDATION_FRACTION = 0.25
SPLIT_SEED = 0


@dataclass(frozen=True)
class Data:
    """Prepared rows, for training and for validation.
{%- if cookiecutter.task == "classification" %}
    x_train: (rows, features) float32    y_train: (rows,) class labels
    x_valid: (rows, features) float32    y_valid: (rows,) class labels
{%- else %}
    x_train: (rows, features) float32    y_train: (rows,) float64
    x_valid: (rows, features) float32    y_valid: (rows,) float64
{%- endif %}
    preprocess: the fitted transformer from raw columns to features; part of an exported model
    description: what the rows are, for experiment.json, `show` and the report
    examples: a few rows of raw columns, the input of an exported model
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

        predicted: (rows, classes), the probability of each class for each row of x_valid
        """
        if not np.isfinite(predicted).all():
            return {"validation_accuracy": float("nan"), "validation_log_loss": float("nan")}
        labels = self.classes[predicted.argmax(axis=1)]
        return {
            "validation_accuracy": float(accuracy_score(self.y_valid, labels)),
            "validation_log_loss": float(log_loss(self.y_valid, predicted, labels=self.classes)),
        }

    def sample(self, rows: int = 5) -> Self:
        """A few rows of each class, to try a model on before a run."""
        train, valid = (
            pd.Series(labels).groupby(labels).head(rows).index.to_numpy()
            for labels in (self.y_train, self.y_valid)
        )
{%- else %}
    def metrics(self, predicted: NDArray[Any]) -> dict[str, float]:
        """Root mean squared error (in the target's unit, less is better) and R² (at most 1).

        predicted: (rows,), the target of each row of x_valid
        """
        if not np.isfinite(predicted).all():
            return {"validation_rmse": float("nan"), "validation_r2": float("nan")}
        return {
            "validation_rmse": float(root_mean_squared_error(self.y_valid, predicted)),
            "validation_r2": float(r2_score(self.y_valid, predicted)),
        }

    def sample(self, rows: int = 50) -> Self:
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
        examples=raw_valid.head().copy(),  # a view would keep all rows in memory
    )


def _read(path: str, target: str) -> tuple[pd.DataFrame, pd.Series]:
    """Read the file{{ " with Modin" if cookiecutter.dataframes == "Modin" }}, and separate the target from the features. Missing values stay."""
    table = read_table(path)
{%- if cookiecutter.dataframes == "Modin" %}
    # Drop rows and columns here, and make new ones: Modin computes on all CPUs of Ray.
    features, labels = part(collected(table, path), target, path)
{%- else %}
    # Drop rows and columns here, and make new ones.
    features, labels = part(table, target, path)
{%- endif %}
{%- if cookiecutter.task == "classification" %}
    return features, checked_classes(labels, path, VALIDATION_FRACTION)
{%- else %}
    return features, checked_numbers(labels, path, VALIDATION_FRACTION)
{%- endif %}


def _preprocess(features: pd.DataFrame) -> Any:
    """Scale numbers, one-hot encode categories, and fill missing values."""
    numbers = features.select_dtypes("number").columns.tolist()
    categories = features.columns.difference(numbers, sort=False).tolist()
    return make_column_transformer(
        (make_pipeline(SimpleImputer(keep_empty_features=True), StandardScaler()), numbers),
        (OneHotEncoder(handle_unknown="infrequent_if_exist", max_categories=50), categories),
        sparse_threshold=0,
    )
