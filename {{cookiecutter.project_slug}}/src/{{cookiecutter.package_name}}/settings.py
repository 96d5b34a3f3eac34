"""Yours: the settings that this project adds to those of harness/settings.py, and its defaults.

Each field is an environment variable, a line of `.env` and a flag. After a change, run the command
`docs`: it updates .env.example and the table in README.md.
"""

from typing import ClassVar

from pydantic import Field

from .harness.setting_types import DataPath
from .harness.settings import RunSettings


class Settings(RunSettings, env_prefix="{{cookiecutter.env_prefix}}"):
    """The settings of one run of this project."""

    # What Trainable.step returns. METRIC and STOP accept these names; METRIC defaults to the first.
    METRICS = ("{{cookiecutter.__metric}}", "{{cookiecutter.__second_metric}}", "training_loss")
    DEFAULTS: ClassVar = {"mode": "{{cookiecutter.__mode}}"}

    data_path: DataPath | None = Field(
        default=None,
        description="CSV or Parquet file or URI; without it, scikit-learn's {{cookiecutter.__bundled_data}}",
    )
    target: str | None = Field(default=None, description="column of DATA_PATH to predict")
