"""What all tests share: none of them reads your environment or your .env, or writes beside it."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from {{cookiecutter.package_name}}.settings import PREFIX


@pytest.fixture(scope="session")
def clean_environment() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if name.upper().startswith(PREFIX) or name == "RAY_ADDRESS":
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
