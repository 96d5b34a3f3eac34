"""The logger for TensorBoard, in which a trial that goes on repeats nothing."""

import functools
from typing import Any

from ray.tune.experiment import Trial
from ray.tune.logger import TBXLoggerCallback


class TensorboardLogger(TBXLoggerCallback):
    """Ray's logger; what a trial trains again takes the place of what an older file has of it.

    TensorBoard passes over the results of older files from `purge_step` on.
    """

    def log_trial_start(self, trial: Trial) -> None:
        checkpoint, make_writer = trial.latest_checkpoint_result, self._summary_writer_cls
        goes_on_from: Any = checkpoint.metrics["training_iteration"] if checkpoint else 0
        self._summary_writer_cls = functools.partial(make_writer, purge_step=goes_on_from + 1)
        super().log_trial_start(trial)
        self._summary_writer_cls = make_writer
