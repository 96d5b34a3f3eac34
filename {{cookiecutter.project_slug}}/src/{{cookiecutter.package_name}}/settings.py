"""Every setting, declared once. Yours to extend: add a field, then use it where it is needed.

The field `num_samples` is the variable PREFIX + NUM_SAMPLES, a line of `.env`, and the flag
--num-samples.
A flag wins over the environment, the environment over `.env`, and `.env` over the default.
After a change, the command `docs` writes .env.example and the README's table anew.
"""

import json
import re
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import (
    AfterValidator,
    AliasChoices,
    BeforeValidator,
    Field,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

PREFIX = "{{cookiecutter.env_prefix}}"

# What Trainable.step reports. METRIC and STOP take these names, and a unit test compares them.
METRICS = ("validation_accuracy", "validation_log_loss", "training_loss")
# What Ray adds to every result, and a STOP rule may name.
RAY_METRICS = ("training_iteration", "time_total_s", "time_this_iter_s", "time_since_restore")


NAME = r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}$"


def _json(value: object) -> object:
    """Read text as JSON; anything else is already what it should be."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except json.JSONDecodeError:
        raise ValueError('should be a JSON object, as {"name": 1}') from None


def _yes_or_no(value: object) -> object:
    """Read what else people write for true and false."""
    text = str(value).lower()
    return {"1": "true", "yes": "true", "0": "false", "no": "false"}.get(text, text)


def _words(value: object) -> object:
    """Read text as words between commas; `none` stands for no word at all."""
    if not isinstance(value, str):
        return value
    words = [word.strip() for word in value.split(",") if word.strip()]
    return [] if words == ["none"] else words


def _log_files(value: object) -> object:
    """Read `true`, `false`, one file name, or two between a comma: stdout's and stderr's."""
    if not isinstance(value, str):
        return value
    if value.lower() in {"true", "false", "1", "0", "yes", "no", "on", "off"}:
        return value.lower() in {"true", "1", "yes", "on"}
    names = [name.strip() for name in value.split(",")]
    if len(names) > 2 or not all(name and Path(name).name == name for name in names):
        raise ValueError("should be true, false, a file name, or two file names between a comma")
    return names[0] if len(names) == 1 else tuple(names)


def _reported(metric: str) -> str:
    if metric not in METRICS:
        raise ValueError(f"no trial reports it; known are {', '.join(METRICS)}")
    return metric


def _not_one(count: int) -> int:
    if count == 1:
        raise ValueError("should be 0 (off), or 2 and more: it compares trials")
    return count


Metric = Annotated[str, AfterValidator(_reported)]
Numbers = Annotated[dict[str, float], NoDecode, BeforeValidator(_json)]
LogFiles = Annotated[bool | str | tuple[str, str], NoDecode, BeforeValidator(_log_files)]
Loggers = Annotated[list[Literal["csv", "json", "tensorboard"]], NoDecode, BeforeValidator(_words)]
Formats = Annotated[list[Literal["model"]], NoDecode, BeforeValidator(_words)]


class Settings(BaseSettings):
    """The settings of one run."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_prefix_target="all",
        env_file=".env",
        env_ignore_empty=True,
        extra="ignore",  # the harness refuses unknown names, with the nearest known one
    )

    # The data
    data_path: Path | None = Field(
        default=None, description="CSV or Parquet file; without it, the bundled digits"
    )
    target: str | None = Field(default=None, description="column of DATA_PATH to predict")

    # The experiment
    name: str | None = Field(
        default=None,
        pattern=NAME,
        description="folder of the experiment; default: package and time",
    )
    storage_path: str = Field(
        default="results",
        validation_alias=AliasChoices("storage_path", "local_dir"),
        description="folder or URI (s3://bucket/folder) that keeps all results",
    )
    resume: Annotated[
        Literal["false", "true", "errored", "extend"], BeforeValidator(_yes_or_no)
    ] = Field(
        default="false",
        description="go on with NAME; errored: failed trials too; extend: with new limits",
    )
    into: str | None = Field(
        default=None, pattern=NAME, description="extend a copy of NAME that is called so"
    )
    seed: int = Field(
        default=42, ge=0, lt=2**32, description="seed of the search and of every model"
    )

    # The search
    metric: Metric = Field(default="validation_accuracy", description="metric that is optimised")
    mode: Literal["min", "max"] = Field(default="max", description="whether less or more is better")
    scope: Literal["all", "last", "avg", "last-5-avg", "last-10-avg"] = Field(
        default="all", description="which results of a trial count when the best one is chosen"
    )
    num_samples: int = Field(
        default=8, ge=1, description="samples of the search space; a grid multiplies them"
    )
    search_alg: Literal["random", "optuna", "hyperopt", "nevergrad"] = Field(
        default="random", description="random (grids too); the others learn from results"
    )
    points_to_evaluate: str | None = Field(
        default=None,
        min_length=1,
        description="try these first: a .json file, or NAME:5, the best five of an experiment",
    )
    scheduler: Literal["fifo", "asha", "median", "hyperband", "pbt"] = Field(
        default="fifo",
        description="asha, median, hyperband stop trials that fall behind; pbt changes them",
    )
    grace_iterations: int = Field(
        default=1, ge=1, description="iterations before SCHEDULER may stop or change a trial"
    )

    # When to stop
    max_iterations: int = Field(default=10, ge=1, description="epochs a trial may train")
    stop: Numbers = Field(
        default={}, description='JSON; stop a trial when a value is reached: {"time_total_s": 600}'
    )
    metric_goal: float | None = Field(
        default=None, description="stop everything once METRIC is this good"
    )
    plateau_results: int = Field(
        default=0,
        ge=0,
        description="end a trial whose last N results are equal within PLATEAU_STD; 0: off",
    )
    plateau_trials: Annotated[int, AfterValidator(_not_one)] = Field(
        default=0,
        ge=0,
        description="end all when the best N results are equal within PLATEAU_STD; 0: off",
    )
    plateau_std: float = Field(
        default=0.001, gt=0, description="standard deviation that counts as equal"
    )
    time_budget_s: float | None = Field(
        default=None, gt=0, description="seconds that an experiment may run, all its runs together"
    )

    # What a trial gets
    resources_per_trial: Numbers = Field(
        default={"cpu": 1.0}, description='JSON; what a trial occupies: {"cpu": 4, "gpu": 0.5}'
    )
    max_concurrent_trials: int = Field(
        default=0, ge=0, description="trials at a time; 0: as many as the resources allow"
    )
    max_failures: int = Field(
        default=0, ge=-1, description="restarts of a failed trial; -1: no limit"
    )
    wait_for_resources: bool = Field(
        default=False, description="let trials wait for a node that the cluster will start"
    )
    reuse_actors: bool = Field(
        default=True, description="keep worker processes from trial to trial"
    )

    # What is checked before, and kept
    check_search_space: bool = Field(
        default=True, description="let the model take a step at each corner of the search space"
    )
    min_free_gb: float = Field(
        default=1.0, ge=0, description="space that a local STORAGE_PATH must have left to start"
    )
    num_to_keep: int = Field(
        default=2,
        ge=2,
        validation_alias=AliasChoices("num_to_keep", "keep_checkpoints_num"),
        description="best checkpoints kept of a trial (and always its newest)",
    )
    checkpoint_score_attribute: Metric | None = Field(
        default=None,
        validation_alias=AliasChoices("checkpoint_score_attribute", "checkpoint_score_attr"),
        description="metric that ranks checkpoints; default: METRIC, by MODE",
    )
    checkpoint_score_order: Literal["min", "max"] | None = Field(
        default=None, description="whether a low or a high score is better; default: MODE"
    )
    checkpoint_frequency: int = Field(
        default=1,
        ge=0,
        validation_alias=AliasChoices("checkpoint_frequency", "checkpoint_freq"),
        description="iterations between checkpoints; 0: none",
    )
    checkpoint_at_end: bool = Field(
        default=True, description="also keep the last state of each trial"
    )
    export_formats: Formats = Field(
        default=["model"], description="exports when a trial ends: model, or none"
    )
    export_path: str | None = Field(
        default=None,
        description="folder or URI for the command export; default: best/ in the experiment's",
    )
    export_replace: bool = Field(
        default=False, description="let an export take the place of another experiment's"
    )

    # What is logged
    loggers: Loggers = Field(
        default=["csv", "json", "tensorboard"], description="of csv, json, tensorboard; or none"
    )
    log_to_file: LogFiles = Field(
        default=True, description="true, false, one file name, or two (stdout's, stderr's)"
    )
    verbose: int = Field(
        default=1,
        ge=0,
        le=3,
        description="0: the outcome; 1: progress; 2: each result; 3: all of Ray",
    )

    @field_validator("data_path")
    @classmethod
    def _from_any_folder(cls, value: Path | None) -> Path | None:
        """An experiment that is resumed in another working folder finds its data."""
        return value and value.expanduser().absolute()

    @field_validator("storage_path", "export_path")
    @classmethod
    def _absolute(cls, value: str | None) -> str | None:
        """Ray refuses relative paths, and a relative one would move with the working folder."""
        if value and re.search(r"://[^/]*:[^/]*@", value):
            raise ValueError(
                "should carry no secret, Ray writes it down; AWS_ACCESS_KEY_ID and"
                " AWS_SECRET_ACCESS_KEY are read from the environment"
            )
        if value is None or "://" in value:
            return value
        return str(Path(value).expanduser().resolve())

    @field_validator("stop")
    @classmethod
    def _known_metrics(cls, rules: dict[str, float]) -> dict[str, float]:
        """Ray only warns about a rule that never applies, and runs on for ever."""
        known = (*METRICS, *RAY_METRICS)
        if unknown := [key for key in rules if key not in known]:
            raise ValueError(f"no trial reports {unknown[0]!r}; known are {', '.join(known)}")
        return rules

    @field_validator("resources_per_trial")
    @classmethod
    def _positive(cls, resources: dict[str, float]) -> dict[str, float]:
        if not resources or any(not amount >= 0 for amount in resources.values()):
            raise ValueError("should name resources and amounts of 0 or more")
        return resources

    @model_validator(mode="after")
    def _go_together(self) -> Self:
        if self.resume != "false" and self.name is None:
            raise ValueError(f"{PREFIX}RESUME needs {PREFIX}NAME, the experiment to go on with")
        if self.into is not None and self.resume != "extend":
            raise ValueError(f"{PREFIX}INTO belongs to the command extend")
        return self
