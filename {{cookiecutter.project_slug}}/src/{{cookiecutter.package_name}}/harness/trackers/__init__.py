"""Trackers: services that show the trials of a whole team, side by side.

The project's has a module of its name here, and is a callback of every run: a line of callbacks.py.
"""

import importlib
import importlib.util
import os
from types import ModuleType

from dotenv import dotenv_values

NAMES = ("mlflow", "wandb")


def name() -> str | None:
    """The name of the project's tracker, None where it has none. Imports nothing."""
    ours = (n for n in NAMES if importlib.util.find_spec(f"{__name__}.{n}"))
    return next((n for n in ours if importlib.util.find_spec(n)), None)  # a package has all modules


def chosen() -> ModuleType | None:
    """The module of the project's tracker. Its VARIABLES: what it reads of the environment."""
    return importlib.import_module(f"{__name__}.{name()}") if name() else None


def read_dotenv(prefix: str) -> None:
    """Hand a tracker what .env has for it: it reads its variables from the environment alone."""
    for variable, value in dotenv_values(".env").items():
        if variable.startswith(prefix) and value:
            os.environ.setdefault(variable, value)
