"""The loggers of a run, which repeat and lose nothing when a trial is resumed."""

import contextlib
import functools
import json
from pathlib import Path
from typing import Any

from ray.tune.experiment import Trial
from ray.tune.logger import (
    CSVLoggerCallback,
    JsonLoggerCallback,
    LoggerCallback,
    TBXLoggerCallback,
)

from ..settings import RunSettings
from ..store.storage import replace_text
from .space import plain


class _TableLogger(LoggerCallback):
    """A logger that continues a file that it has, and else takes it from the storage, whole.

    Ray's takes it from there whenever a trial starts again (a lost worker, a pause), where it is as
    old as Ray's last copy: what came since would be lost. It logs an error of the storage and goes
    on without the file, and Ray's thread may copy what it has of it meanwhile.
    """

    _trial_files: dict[Trial, Any]

    def _restore_from_remote(self, file_name: str, trial: Trial) -> None:
        place: Any = trial.storage
        if trial in self._trial_files or not trial.checkpoint:
            return
        beside = Path(place.experiment_driver_staging_path).with_name(file_name)
        with contextlib.suppress(FileNotFoundError):  # LOGGERS was another
            where = f"{place.trial_fs_path}/{file_name}"
            with place.storage_filesystem.open_input_stream(where) as stream:
                beside.write_bytes(stream.read())
            beside.replace(Path(str(trial.local_path), file_name))


class CsvLogger(_TableLogger, CSVLoggerCallback):
    """Ray's logger of progress.csv."""


class JsonLogger(_TableLogger, JsonLoggerCallback):
    """Ray's logger of result.json."""


class TensorboardLogger(TBXLoggerCallback):
    """Ray's logger; what a resumed trial repeats takes the place of what an older file has of it.

    TensorBoard passes over the results of older files from `purge_step` on.
    """

    def log_trial_start(self, trial: Trial) -> None:
        checkpoint, make_writer = trial.latest_checkpoint_result, self._summary_writer_cls
        resumed_at: Any = checkpoint.metrics["training_iteration"] if checkpoint else 0
        self._summary_writer_cls = functools.partial(make_writer, purge_step=resumed_at + 1)
        super().log_trial_start(trial)
        self._summary_writer_cls = make_writer


LOGGERS: dict[str, type[LoggerCallback]] = {
    "csv": CsvLogger,
    "json": JsonLogger,
    "tensorboard": TensorboardLogger,
}


def make_loggers(settings: RunSettings) -> list[LoggerCallback]:
    """Make the loggers that LOGGERS names; none for `none`."""
    return [LOGGERS[name]() for name in settings.loggers]


def write_json(trial: Trial, name: str, value: Any) -> None:
    """Write a file of the experiment, which Ray copies to the storage path with its own state.

    What JSON has no form for, as a function, is written by its name.
    """
    text = json.dumps(value, indent=2, default=plain)
    replace_text(Path(str(trial.local_path)).with_name(name), text)
