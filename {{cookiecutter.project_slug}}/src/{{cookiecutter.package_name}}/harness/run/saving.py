"""Saving Ray's state of an experiment: only with its lock, and completely."""

from pathlib import Path
from typing import Any

from ray.tune import Callback
from ray.tune.experiment import Trial

from ..store.lock import ExperimentLock
from ..store.storage import Folder
from ..tune.ray_internals import copied_in_order


class LockCallback(Callback):
    """Ends a run that has lost its experiment's lock, before it saves anything."""

    def __init__(self, lock: ExperimentLock) -> None:
        self.lock = lock

    def on_trial_result(self, *_: Any, **info: Any) -> None:
        self.lock.renew()

    on_checkpoint = on_step_end = on_trial_result

    def get_state(self) -> None:
        """Called before Ray saves its state, which would replace the other run's."""
        self.lock.renew()


def complete_files(folder: Folder, trials: list[Trial]) -> None:
    """Write what the storage lacks of the last state and tables: if Ray can't, it only logs that.

    Raises OSError when the storage fails.
    """
    if not trials or trials[0].storage is None:
        return
    there = {path: info.size for path, info in folder.all_files().items()}
    for here in copied_in_order(trials[0].storage.experiment_driver_staging_path):
        for path in filter(Path.is_file, here.rglob("*")):
            content, file = path.read_bytes(), path.relative_to(here)
            same = there.get(file.as_posix()) == len(content)
            if same and len(file.parts) == 1:  # a state of the same size may be another
                same = folder.read(file.name) == content
            if not same:
                folder.write(content, *file.parts)
