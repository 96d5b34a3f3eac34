"""The loggers of a run, which repeat and lose nothing when a trial is resumed."""

import contextlib
import functools
import itertools
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

    TensorBoard passes over the results of older files from `purge_step` on. The result that the
    trial resumes from is written again: it may be in no file, when a run was interrupted.
    """

    _files = itertools.count()

    def log_trial_start(self, trial: Trial) -> None:
        checkpoint, make_writer = trial.latest_checkpoint_result, self._summary_writer_cls
        result: dict[str, Any] = dict(checkpoint.metrics) if checkpoint else {}
        step = result.get("timesteps_total") or result.get("training_iteration", 0)
        own = result.get("trial_id") == trial.trial_id  # with SCHEDULER=pbt it may be another's
        self._summary_writer_cls = functools.partial(
            make_writer,
            purge_step=step if own else step + 1,
            # The name has the time in seconds: a second file would replace the first.
            filename_suffix=f".{next(self._files):06d}",
        )
        super().log_trial_start(trial)
        self._summary_writer_cls = make_writer
        if own:
            self.log_trial_result(step, trial, result)

    def on_experiment_end(self, trials: list[Trial], **info: Any) -> None:
        """Write what the writers of trials that have not ended still have in a queue."""
        for writer in self._trial_writer.values():
            writer.close()


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
