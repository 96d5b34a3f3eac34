"""What a project passes to the harness, which imports nothing of it; and what a trial gets."""

import os
import shlex
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .settings import RunSettings

__all__ = ["Granted", "Parts", "Project"]


@dataclass(frozen=True)
class Parts:
    """The parts of a project that the harness calls.

    Parameters
    ----------
    search_space : () → dict
        The hyperparameters by name.
    trainable : type
        A subclass of `harness.tune.StoredTrainable`.
    make_stopper : settings → Stopper
        Makes what ends a trial, or the experiment.
    make_callbacks : settings → list of Callback
        Makes the callbacks and loggers of a run. A callback may have a method
        `check() -> list[str]`, which returns reasons not to start a run.
    tune_run : (settings, plan) → ExperimentAnalysis
        Calls `tune.run`.
    mutable : names
        The hyperparameters that SCHEDULER=pbt may change.
    load_data : settings → data, optional
        Loads what the Trainable's `setup` gets as `data`. It raises OSError or ValueError, with a
        message of one line, when that can't be loaded. Without it, `data` is None.
    load_export : path → model, optional
        Loads an exported model, which has a method `predict`.
    """

    search_space: Callable[[], dict[str, Any]]
    trainable: type[Any]
    make_stopper: Callable[[Any], Any]
    make_callbacks: Callable[[Any], Sequence[Any]]
    tune_run: Callable[[Any, Any], Any]
    mutable: Sequence[str] = ()
    load_data: Callable[[Any], Any] | None = None
    load_export: Callable[[Path], Any] | None = None


@dataclass(frozen=True)
class Project:
    """A project: what its package is called, its settings, and its parts.

    Parameters
    ----------
    package : str
        The import name of the package.
    settings : type
        Its subclass of `RunSettings`.
    parts : () → Parts
        A function, so that commands that don't need Ray don't import it.
    """

    package: str
    settings: type[RunSettings]
    parts: Callable[[], Parts]

    @property
    def folder(self) -> Path:
        """The folder of the package's source."""
        return Path(str(sys.modules[self.package].__file__)).parent

    def command(self, *words: str) -> str:
        """A command of this project, as one types it in this folder."""
        script = Path(sys.argv[0])
        started = [str(script)]
        if script.name == "__main__.py":
            started = [sys.executable, "-m", self.package]
        if shutil.which(Path(started[0]).name) == started[0]:
            started[0] = Path(started[0]).name
        elif Path(started[0]).is_relative_to(Path.cwd()):
            started[0] = os.path.relpath(started[0])
        return shlex.join([*started, *words])


@dataclass(frozen=True)
class Granted:
    """What a trial may use of the machine that it runs on.

    Attributes
    ----------
    cpus : int
        The CPUs of RESOURCES_PER_TRIAL, rounded down, at least 1: the number of threads to use.
    gpus : float
        The GPUs, which may be a fraction. 0 without Ray.
    gpu : int or None
        The index of the (first) GPU, as PyTorch counts those that the process sees. None: the trial
        has no GPU, even if the process sees one.
    """

    cpus: int
    gpus: float
    gpu: int | None
