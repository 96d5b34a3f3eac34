"""At the end of a run: export the models that are missing, or say why they can't be."""

import fnmatch
import json
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from ray.tune.experiment import Trial

from ..configuration import Configuration
from ..store.storage import Folder
from ..tune.trainable import EXPORTED, StoredTrainable, exported_note
from .checkpoints import is_whole


class NoCheckpoint(Exception):
    """A trial has no checkpoint to export its model from."""


class TrialExports:
    """The exported models of an experiment's trials, in the trials' folders.

    Ray lets a worker export when its trial ends. A model is missing when the worker or its node was
    lost, when `_export_model` failed, or when everything was stopped at once (TIME_BUDGET_S). It is
    exported on this machine then, from the trial's last checkpoint.
    """

    def __init__(self, folder: Folder, configuration: Configuration, data: Any) -> None:
        self.folder, self.data, self.settings = folder, data, configuration.settings
        self.trainable: type[StoredTrainable] = configuration.project.parts().trainable

    def complete(
        self, trials: Sequence[Trial], ended: Callable[[], bool]
    ) -> tuple[int, dict[str, Exception]]:
        """Export what is missing, until `ended` returns true.

        Returns the number of exported models, and the errors of the others by trial id.
        """
        count, failed = 0, {}
        for trial in self.missing(trials):
            if ended():
                break
            try:
                self._export(trial)
                count += 1
            except Exception as error:  # whatever a model, or the storage, raises
                failed[trial.trial_id] = error
        return count, failed

    def missing(self, trials: Sequence[Trial]) -> Iterator[Trial]:
        """The completed trials without an exported model of their last result."""
        if not self.settings.export_formats or not self.trainable.exports():
            return
        self.there = self.folder.all_files()
        for trial in trials:
            reported = trial.last_result.get("training_iteration")
            if trial.status == Trial.TERMINATED and reported and not self._is_exported(trial):
                yield trial

    def _is_exported(self, trial: Trial) -> bool:
        folder = str(trial.relative_logdir)
        if f"{folder}/{EXPORTED}" not in self.there:
            return False
        try:
            note = json.loads(self.folder.read(folder, EXPORTED) or b"")
            paths = [f"{folder}/{file}" for file in note["files"].values()]
            is_last = bool(note["training_iteration"] == trial.last_result["training_iteration"])
        except (ValueError, KeyError, TypeError, AttributeError):  # somebody has edited it
            return False
        return is_last and all(
            path in self.there or any(file.startswith(f"{path}/") for file in self.there)
            for path in paths
        )

    def _export(self, trial: Trial) -> None:
        folder = str(trial.relative_logdir)
        with tempfile.TemporaryDirectory() as scratch:
            checkpoint, export = Path(scratch, "checkpoint"), Path(scratch, "export")
            checkpoint.mkdir()
            export.mkdir()
            self.folder.download(checkpoint, folder, self._last_checkpoint(folder))
            trainable = self.trainable.without_ray(
                dict(trial.config), self.data, Path(scratch), self.settings.resources_per_trial
            )
            try:
                trainable.restore_folder(checkpoint)
                formats: list[str] = [*self.settings.export_formats]
                exported: dict[str, Any] = trainable.export_model(formats, str(export))
            finally:
                trainable.stop()
            iteration = int(trial.last_result["training_iteration"])
            (export / EXPORTED).write_text(exported_note(exported or {}, export, iteration))
            self.folder.upload(export, folder)

    def _last_checkpoint(self, folder: str) -> str:
        """The newest whole checkpoint of a trial. Raises NoCheckpoint."""
        own = self.folder / folder
        for checkpoint in sorted(fnmatch.filter(own.files(), "checkpoint_*"), reverse=True):
            if is_whole(own / checkpoint):
                return checkpoint
        raise NoCheckpoint("no checkpoint of it was kept")
