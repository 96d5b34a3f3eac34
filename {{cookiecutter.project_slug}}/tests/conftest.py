"""Fixtures of all tests, which use neither your environment nor your .env.

For a model of your own, put its hyperparameters into CONFIG; METRIC and MODE are the defaults of
settings.py.
"""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from {{cookiecutter.package_name}}.harness.store import dataset
from {{cookiecutter.package_name}}.project import PROJECT
from {{cookiecutter.package_name}}.settings import Settings

# A good configuration: METRIC improves within five iterations.
CONFIG: dict[str, Any] = {
{%- if cookiecutter.framework == "scikit-learn" %}
    "hidden_units": 32,
    "learning_rate": 0.01,
    "l2": 1e-4,
    "batch_size": 64,
{%- elif cookiecutter.framework == "PyTorch" %}
    "hidden_units": 32,
    "learning_rate": 0.01,
    "decay": 0.95,
    "weight_decay": 0.01,
    "dropout": 0.1,
    "clip_norm": 1.0,
    "batch_size": 64,
    "compile": False,
{%- elif cookiecutter.framework == "XGBoost" %}
    "learning_rate": 0.03,
    "max_depth": 3,
    "min_child_weight": 1.0,
    "subsample": 0.7,
    "colsample_bytree": 0.7,
    "l2": 1.0,
{%- else %}
    "learning_rate": 0.03,
    "num_leaves": 8,
    "min_data_in_leaf": 10,
    "subsample": 0.7,
    "colsample": 0.7,
    "l2": 1.0,
{%- endif %}
    "seed": 0,
}


@pytest.fixture
def config() -> dict[str, Any]:
    return dict(CONFIG)


@pytest.fixture(scope="session")
def clean_environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("empty"))  # where there is no .env
        for name in list(os.environ):
            if name.upper().startswith(Settings.variable("")) or name == "RAY_ADDRESS":
                patch.delenv(name)
{%- if cookiecutter.tracker == "MLflow" %}
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
{%- elif cookiecutter.tracker == "Weights & Biases" %}
        patch.delenv("WANDB_DIR", raising=False)
        patch.setenv("WANDB_MODE", "offline")
{%- endif %}
        yield


@pytest.fixture(scope="session")
def data(clean_environment: None) -> Any:
    """What `load_data` returns; None for a project without `load_data`."""
    return dataset.load(PROJECT, Settings())


@pytest.fixture
def load_export() -> Callable[[Path], Any]:
    found = PROJECT.parts().load_export
    if found is None:
        pytest.skip("project.py names no load_export")
    return found


@pytest.fixture(autouse=True)
def empty_folder(clean_environment: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder of each test."""
    monkeypatch.chdir(tmp_path)
    return tmp_path
