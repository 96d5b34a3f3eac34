"""Experiment trackers: MLflow, Weights & Biases.

The project's tracker has a module here, named after it; callbacks.py adds its callback to each run.
"""

import importlib
import importlib.util
import os
from types import ModuleType

from dotenv import dotenv_values

NAMES = ("mlflow", "wandb")


def name() -> str | None:
    """The name of the project's tracker, or None. Imports nothing."""
    ours = (n for n in NAMES if importlib.util.find_spec(f"{__name__}.{n}"))
    return next((n for n in ours if importlib.util.find_spec(n)), None)  # a package has all modules


def chosen() -> ModuleType | None:
    """The module of the project's tracker. VARIABLES in it: its environment variables."""
    return importlib.import_module(f"{__name__}.{name()}") if name() else None


def read_dotenv(prefix: str) -> None:
    """Put a tracker's variables of .env into the environment, from which alone it reads them."""
    for variable, value in dotenv_values(".env").items():
        if variable.startswith(prefix) and value:
            os.environ.setdefault(variable, value)
