"""Yours: what the driver does when a trial starts, reports, ends or fails."""

from typing import Any

from ray.tune import Callback
from ray.tune.logger import (
    CSVLoggerCallback,
    JsonLoggerCallback,
    LoggerCallback,
    TBXLoggerCallback,
)

from .harness.printing import cause
from .settings import Settings

LOGGERS: dict[str, type[LoggerCallback]] = {
    "csv": CSVLoggerCallback,
    "json": JsonLoggerCallback,
    "tensorboard": TBXLoggerCallback,
}


class FailureCallback(Callback):
    """Says when a trial fails, and why, at once. An example of a driver-side callback."""

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        print(f"trial {trial.trial_id} failed: {cause(trial).splitlines()[-1]}", flush=True)


def make_callbacks(settings: Settings) -> list[Callback]:
    """The callbacks of a run: ours, and the loggers that LOGGERS names."""
    return [FailureCallback(), *(LOGGERS[name]() for name in settings.loggers)]
