"""Yours: what the driver does when a trial starts, reports, ends or fails."""

import json
import math
from pathlib import Path
from typing import Any

from ray.tune import Callback
from ray.tune.logger import CSVLoggerCallback, LoggerCallback

from .harness.run.journal import JsonLogger
from .harness.run.outcome import cause
from .harness.store.storage import replace_text
from .harness.tune.loggers import TensorboardLogger
from .harness.tune.space import plain
from .settings import METRICS, Settings
{%- if cookiecutter.tracker != "none" %}
from .tracker import TrackerCallback
{%- endif %}

LOGGERS: dict[str, type[LoggerCallback]] = {
    "csv": CSVLoggerCallback,
    "json": JsonLogger,
    "tensorboard": TensorboardLogger,
}


class FailureCallback(Callback):
    """Says when a trial fails, and why, at once. An example of a driver-side callback."""

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        print(f"trial {trial.trial_id} failed: {cause(trial).splitlines()[-1]}", flush=True)

    def on_trial_recover(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        why = cause(trial).splitlines()[-1]
        print(f"trial {trial.trial_id} failed, and goes on: {why}", flush=True)


class BestLogger(LoggerCallback):
    """Keeps the best result so far in best.json of the experiment. An example of a logger."""

    def __init__(self, metric: str, mode: str) -> None:
        self.metric, self.sign = metric, 1 if mode == "max" else -1
        self.best: float | None = None

    def log_trial_result(self, iteration: int, trial: Any, result: dict[str, Any]) -> None:
        value = result[self.metric]
        if math.isfinite(value) and (self.best is None or self.sign * (value - self.best) > 0):
            self.best = value
            best = {k: result[k] for k in ("trial_id", "training_iteration", *METRICS, "config")}
            # Beside the trial's folder; Ray copies it to the storage path with its own state.
            text = json.dumps(best, indent=2, default=plain)  # of a function, its name
            replace_text(Path(trial.local_path).with_name("best.json"), text)

    def get_state(self) -> dict[str, Any]:
        """What a resume gives back to `set_state`."""
        return {"best": self.best}

    def set_state(self, state: dict[str, Any]) -> None:
        self.best = state["best"]


def make_callbacks(settings: Settings) -> list[Callback]:
    """The callbacks of a run: ours, and the loggers that LOGGERS names; with none, no logger."""
    loggers: list[Callback] = [LOGGERS[name]() for name in settings.loggers]
    if loggers:
        loggers.append(BestLogger(settings.metric, settings.mode))
{%- if cookiecutter.tracker != "none" %}
    loggers.append(TrackerCallback(settings))
{%- endif %}
    return [*([FailureCallback()] if settings.verbose else []), *loggers]
