"""Yours: what this project adds to the settings of a run, and which defaults it has.

A field is a variable, a line of `.env` and a flag. After a change, the command `docs` writes
.env.example and the README's table. The other settings: harness/settings.py.
"""

from typing import ClassVar

from pydantic import Field

from .harness.setting_types import DataPath
from .harness.settings import RunSettings


class Settings(RunSettings, env_prefix="{{cookiecutter.env_prefix}}"):
    """The settings of one run of this project."""

    # What Trainable.step reports. METRIC and STOP take these names; the first is METRIC's default.
    METRICS = ("{{cookiecutter.__metric}}", "{{cookiecutter.__second_metric}}", "training_loss")
    DEFAULTS: ClassVar = {"mode": "{{cookiecutter.__mode}}"}

    data_path: DataPath | None = Field(
        default=None,
        description="CSV or Parquet file or URI; without it, scikit-learn's {{cookiecutter.__bundled_data}}",
    )
    target: str | None = Field(default=None, description="column of DATA_PATH to predict")
