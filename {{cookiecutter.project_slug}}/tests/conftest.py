"""What all tests share. None reads your environment or your .env, or writes beside it.

With a model, or data, of your own, give CONFIG its hyperparameters; METRIC and MODE are those of
settings.py.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from {{cookiecutter.package_name}}.settings import Settings

# A good configuration of the search space: in five iterations, METRIC becomes better.
CONFIG: dict[str, Any] = {
    "hidden_units": 32,
    "learning_rate": 0.01,
    "l2": 1e-4,
    "batch_size": 64,
    "seed": 0,
}


@pytest.fixture
def config() -> dict[str, Any]:
    return dict(CONFIG)


@pytest.fixture(scope="session")
def clean_environment() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
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


@pytest.fixture(autouse=True)
def empty_folder(clean_environment: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder of each test."""
    monkeypatch.chdir(tmp_path)
    return tmp_path
