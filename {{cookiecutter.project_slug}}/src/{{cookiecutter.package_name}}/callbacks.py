"""Yours: what the driver does when a trial starts, reports, ends or fails."""

import math
from typing import Any

from ray.tune import Callback
from ray.tune.logger import LoggerCallback

{% if cookiecutter.tracker == "MLflow" -%}
from .harness.trackers.mlflow import MlflowCallback
{% elif cookiecutter.tracker == "Weights & Biases" -%}
from .harness.trackers.wandb import WandbCallback
{% endif -%}
from .harness.tune import last_line, make_loggers, write_json
from .settings import Settings


class FailureCallback(Callback):
    """Prints why a trial failed, at once. An example of a callback."""

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        print(f"trial {trial.trial_id} failed: {last_line(trial)}", flush=True)

    def on_trial_recover(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        print(f"trial {trial.trial_id} failed, and is resumed: {last_line(trial)}", flush=True)


class BestLogger(LoggerCallback):
    """Writes the best result so far to best.json. An example of a logger."""

    def __init__(self, settings: Settings) -> None:
        self.settings, self.sign = settings, 1 if settings.mode == "max" else -1
        self.best: float | None = None

    def log_trial_result(self, iteration: int, trial: Any, result: dict[str, Any]) -> None:
        value = result[self.settings.metric]
        if math.isfinite(value) and (self.best is None or self.sign * (value - self.best) > 0):
            self.best = value
            keys = ("trial_id", "training_iteration", *self.settings.METRICS, "config")
            write_json(trial, "best.json", {key: result[key] for key in keys})

    def get_state(self) -> dict[str, Any]:
        """The state that a resume passes to `set_state`."""
        return {"best": self.best}

    def set_state(self, state: dict[str, Any]) -> None:
        self.best = state["best"]


def make_callbacks(settings: Settings) -> list[Callback]:
    """The callbacks of a run, and its LOGGERS; LOGGERS=none turns BestLogger off too."""
    callbacks: list[Callback] = [FailureCallback()] if settings.verbose else []
    if loggers := make_loggers(settings):
        callbacks += [*loggers, BestLogger(settings)]
{%- if cookiecutter.tracker == "MLflow" %}
    callbacks.append(MlflowCallback(settings))
{%- elif cookiecutter.tracker == "Weights & Biases" %}
    callbacks.append(WandbCallback(settings))
{%- endif %}
    return callbacks
