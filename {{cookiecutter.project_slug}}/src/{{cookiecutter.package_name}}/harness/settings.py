"""The settings of a run: all that `tune.run` and the harness need. A project adds its own.

The field `num_samples` is the variable PREFIX + NUM_SAMPLES, also in `.env`, and the flag
`--num-samples`. A flag wins over the environment, that over `.env`, and that over the default.
"""

from typing import Any, ClassVar, Literal, Self

from pydantic import AliasChoices, Field, field_validator, model_validator
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, SettingsConfigDict

from .errors import nearest, without_password
from .setting_types import (
    CountOfTrials,
    Formats,
    LogFiles,
    Loggers,
    Name,
    Numbers,
    Resources,
    Resume,
    StoragePath,
    as_text,
)

__all__ = ["RunSettings"]

# What Ray adds to every result; STOP may name it, too.
RAY_METRICS = ("training_iteration", "time_total_s", "time_this_iter_s", "time_since_restore")


class RunSettings(BaseSettings):
    """The settings of one run; a project's own class derives from it::

        class Settings(RunSettings, env_prefix="EXPERIMENT_"):
            METRICS = ("accuracy", "loss")
            DEFAULTS: ClassVar = {"num_samples": 16}
            data_path: Path | None = Field(default=None, description="…")

    Attributes
    ----------
    METRICS : tuple of str
        What `Trainable.step` reports; the first is the default of METRIC.
    DEFAULTS : dict
        Other defaults of the fields below, by name.
    """

    METRICS: ClassVar[tuple[str, ...]] = ()
    DEFAULTS: ClassVar[dict[str, Any]] = {}

    model_config = SettingsConfigDict(
        env_prefix_target="all",
        env_file=".env",
        env_ignore_empty=True,
        extra="ignore",  # configuration.py refuses unknown names, with the nearest known one
    )

    # The experiment
    name: str | None = Field(
        default=None,
        pattern=Name,
        description="folder of the experiment; default: package and time",
    )
    storage_path: StoragePath = Field(
        default="results",
        validation_alias=AliasChoices("storage_path", "local_dir"),
        description="folder or URI (s3://bucket/folder) that keeps all results",
    )
    resume: Resume = Field(
        default="false", description="resume NAME; errored: failed trials too; extend: new limits"
    )
    into: str | None = Field(
        default=None, pattern=Name, description="extend a copy of NAME that is called so"
    )
    seed: int = Field(default=42, ge=0, lt=2**32, description="seed of the search and each model")

    # The search
    metric: str = Field(default="", description="metric to optimise")
    mode: Literal["min", "max"] = Field(default="max", description="whether low or high is better")
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
        default="fifo", description="asha, median, hyperband stop bad trials; pbt changes them"
    )
    grace_iterations: int = Field(
        default=1,
        ge=1,
        description="iterations before SCHEDULER may stop or change a trial; hyperband ignores it",
    )

    # When to stop
    max_iterations: int = Field(default=10, ge=1, description="iterations a trial may train")
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
    plateau_trials: CountOfTrials = Field(
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
    resources_per_trial: Resources = Field(
        default=[{"cpu": 1.0}],
        description='JSON; what a trial occupies: {"cpu": 4, "gpu": 0.5}; a list: its workers too',
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
    reuse_actors: bool = Field(default=True, description="reuse worker processes for later trials")

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
    checkpoint_score_attribute: str | None = Field(
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
    checkpoint_at_end: bool = Field(default=True, description="also save the last state of a trial")
    export_formats: Formats = Field(
        default=["model"], description="exports when a trial ends: model, or none"
    )
    export_path: StoragePath | None = Field(
        default=None, description="folder or URI for export; default: best/ in the experiment's"
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
        default=1, ge=0, le=3, description="0: outcome; 1: progress; 2: each result; 3: all of Ray"
    )

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        super().__pydantic_init_subclass__(**kwargs)
        for field, value in {"metric": next(iter(cls.METRICS), ""), **cls.DEFAULTS}.items():
            if field not in cls.model_fields:
                raise TypeError(
                    f"DEFAULTS: no setting {field!r}; {nearest(field, cls.model_fields)}"
                )
            cls.model_fields[field].default = value
        cls.model_rebuild(force=True)

    @classmethod
    def fields(cls) -> dict[str, FieldInfo]:
        """All settings, those that a project adds first."""
        fields, inherited = cls.model_fields, RunSettings.model_fields
        return {name: fields[name] for name in sorted(fields, key=lambda name: name in inherited)}

    @classmethod
    def names(cls, field: str) -> list[str]:
        """The names of a setting: its own first, then the older ones of `tune.run`."""
        alias = cls.model_fields[field].validation_alias
        return [str(name) for name in alias.choices] if isinstance(alias, AliasChoices) else [field]

    @classmethod
    def variable(cls, name: str) -> str:
        """The environment variable of a setting's name."""
        return f"{cls.model_config['env_prefix']}{name.upper()}"

    @classmethod
    def default(cls, field: str) -> Any:
        """The default of a setting."""
        return cls.model_fields[field].get_default(call_default_factory=True)

    def given(self, field: str) -> str:
        """A setting, as messages name it: VARIABLE=value."""
        value = getattr(self, field)
        number = isinstance(value, int | float | dict | list)
        text = as_text(value) if number else repr(without_password(str(value)))
        return f"{self.variable(field)}={text}"

    @field_validator("metric", "checkpoint_score_attribute")
    @classmethod
    def _reported(cls, metric: str | None) -> str | None:
        if metric is not None and metric not in cls.METRICS:
            raise ValueError(f"no trial reports it; known are {', '.join(cls.METRICS)}")
        return metric

    @field_validator("stop")
    @classmethod
    def _known_metrics(cls, rules: dict[str, float]) -> dict[str, float]:
        """Refuse unknown metrics: Ray would warn, and never stop."""
        known = (*cls.METRICS, *RAY_METRICS)
        if unknown := [key for key in rules if key not in known]:
            raise ValueError(f"no trial reports {unknown[0]!r}; known are {', '.join(known)}")
        return rules

    @model_validator(mode="after")
    def _go_together(self) -> Self:
        if self.resume != "false" and self.name is None:
            raise ValueError(
                f"{self.variable('resume')} needs {self.variable('name')}, the experiment to resume"
            )
        if self.into is not None and self.resume != "extend":
            raise ValueError(f"{self.variable('into')} belongs to the command extend")
        return self
