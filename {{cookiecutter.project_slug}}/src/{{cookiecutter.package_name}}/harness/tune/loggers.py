"""The loggers of a run, which neither repeat nor lose results when a trial is resumed."""

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
    """A logger that continues its open file; only without one it copies it from the storage.

    Ray's loggers copy it whenever a trial starts again (a lost worker, a pause). The results since
    Ray's last upload would be lost. If the storage fails, they log the error and continue without
    the file; and Ray's thread may upload a half-copied file.
    """

    _trial_files: dict[Trial, Any]

    def _restore_from_remote(self, file_name: str, trial: Trial) -> None:
        place: Any = trial.storage
        if trial in self._trial_files or not trial.checkpoint:
            return
        beside = Path(place.experiment_driver_staging_path).with_name(file_name)
        with contextlib.suppress(FileNotFoundError):  # LOGGERS had not named it
            where = f"{place.trial_fs_path}/{file_name}"
            with place.storage_filesystem.open_input_stream(where) as stream:
                beside.write_bytes(stream.read())
            beside.replace(Path(str(trial.local_path), file_name))


class CsvLogger(_TableLogger, CSVLoggerCallback):
    """Ray's logger of progress.csv."""


class JsonLogger(_TableLogger, JsonLoggerCallback):
    """Ray's logger of result.json."""


class TensorboardLogger(TBXLoggerCallback):
    """Ray's logger; the results that a resumed trial repeats replace those of older files.

    TensorBoard ignores the results of older files from `purge_step` on. The result that the trial
    resumes from is written again: an interrupted run may not have written it.
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
            # Two files of the same second would have the same name without it.
            filename_suffix=f".{next(self._files):06d}",
        )
        super().log_trial_start(trial)
        self._summary_writer_cls = make_writer
        if own:
            self.log_trial_result(step, trial, result)

    def on_experiment_end(self, trials: list[Trial], **info: Any) -> None:
        """Write what is still queued for trials that have not ended."""
        for writer in self._trial_writer.values():
            writer.close()


LOGGERS: dict[str, type[LoggerCallback]] = {
    "csv": CsvLogger,
    "json": JsonLogger,
    "tensorboard": TensorboardLogger,
}


def make_loggers(settings: RunSettings) -> list[LoggerCallback]:
    """Make the loggers that LOGGERS names."""
    return [LOGGERS[name]() for name in settings.loggers]


def write_json(trial: Trial, name: str, value: Any) -> None:
    """Write a file of the experiment, which Ray copies to the storage path with its own state.

    A value that is not JSON, as a function, is written as its name.
    """
    text = json.dumps(value, indent=2, default=plain)
    replace_text(Path(str(trial.local_path)).with_name(name), text)
