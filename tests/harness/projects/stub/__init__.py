"""A project of a few lines, for the tests of the harness: no framework, four numbers as data."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from harness.project import Parts, Project
from harness.setting_types import FilePath
from harness.settings import RunSettings
from pydantic import Field


class Settings(RunSettings, env_prefix="EXPERIMENT_"):  # type: ignore[call-arg]
    METRICS = ("score", "loss")
    DEFAULTS: ClassVar = {"mode": "max", "max_iterations": 3, "num_samples": 2}

    data_path: FilePath | None = Field(default=None, description="file of numbers, one a line")


@dataclass(frozen=True)
class Data:
    """rows: (rows,) float64"""

    rows: Any
    description: str
    examples: Any = None


def load_data(settings: Settings) -> Data:
    path: Path | None = settings.data_path
    if path is None:
        return Data(np.arange(4.0), "four numbers")
    try:
        return Data(np.array([float(line) for line in path.read_text().split()]), str(path))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def parts() -> Parts:
    from . import pieces as its

    return Parts(
        load_data=load_data,
        search_space=its.search_space,
        trainable=its.StubTrainable,
        make_stopper=its.make_stopper,
        make_callbacks=its.make_callbacks,
        tune_run=its.tune_run,
        mutable=its.MUTABLE,
        load_export=its.load_export,
    )


PROJECT = Project(package=__package__, settings=Settings, parts=parts)
