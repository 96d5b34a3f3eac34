"""How far each trial has come, written down at each of its checkpoints, before it trains on.

Ray saves the state of all trials together, and all loggers' files with it: the more trials, the
rarer that may be, and what a kill meets in between would be lost. An entry here is about one trial.
"""

import base64
import contextlib
import fnmatch
import json
import math
import shutil
import time
from pathlib import Path
from typing import Any, cast

from ray.tune import Callback
from ray.tune.experiment import Trial
from ray.tune.utils.serialization import TuneFunctionEncoder

from ..errors import Refusal
from ..store import tables
from ..store.storage import Folder
from ..tune.stopping import current_stopper

FOLDER = "newest_checkpoints"
SHARE = 1 / 20  # of the time, that entries may take


def encoded(value: Any) -> Any:
    """What Ray writes into its state for an object that JSON has no form for."""
    return json.loads(json.dumps(value, cls=TuneFunctionEncoder))


class JournalCallback(Callback):
    """Writes the entries, as long as that takes no more than a twentieth of the time.

    In any case it writes one before the last checkpoint is deleted that a resume would know.
    """

    def __init__(self, folder: Folder, *, resumes: bool) -> None:
        self.folder, self.resumes = folder, resumes
        self._start, self._spent = time.monotonic(), 0.0
        self._left_out = dict[str, int]()  # by trial, since its last entry
        self._first_step = True

    def on_step_begin(self, iteration: int, trials: list[Trial], **info: Any) -> None:
        """Delete what an earlier run left on this machine, where Ray continues in its folder.

        That is so in a cluster that outlived the run, and its files are older than the storage's.

        Raises Refusal when Ray could not restore the experiment: it would start a new one.
        """
        if self._first_step and self.resumes and not trials:
            raise Refusal(f"{self.folder.name!r} can't be resumed: the error is in Ray's log above")
        if self._first_step and trials:  # there are none in a new experiment
            here: Any = trials[0].storage
            for path in Path(here.experiment_driver_staging_path).glob("*/"):
                shutil.rmtree(path, ignore_errors=True)
            for trial in trials:
                trial.init_local_path()
        self._first_step = False

    def on_checkpoint(
        self, iteration: int, trials: list[Trial], trial: Trial, checkpoint: Any, **info: Any
    ) -> None:
        """Called when a worker has saved, before older checkpoints are deleted."""
        now, manager = time.monotonic(), cast(Any, trial.run_metadata.checkpoint_manager)
        left_out = self._left_out.get(trial.trial_id, 0) + 1
        kept = manager.checkpoint_config.num_to_keep or math.inf
        if self._spent > SHARE * (now - self._start) and left_out < kept:
            self._left_out[trial.trial_id] = left_out
            return
        changed = {"config": encoded(trial.config), "experiment_tag": trial.experiment_tag}
        entry = {
            "step": iteration,
            "folder": str(trial.relative_logdir),
            "checkpoint": Path(checkpoint.path).name,
            "run": trial.run_metadata.get_json_state(),
            "changed": changed,
            "stopper": encoded(current_stopper()),
            "files": {
                path.name: base64.b64encode(path.read_bytes()).decode() for path in _logged(trial)
            },
        }
        with contextlib.suppress(OSError):  # a failing storage is reported at the end
            text = json.dumps(entry).encode()
            self.folder.write(text, FOLDER, f"{trial.trial_id}.json")
            self._left_out[trial.trial_id] = 0
        self._spent += time.monotonic() - now

    def on_trial_recover(
        self, iteration: int, trials: list[Trial], trial: Trial, **info: Any
    ) -> None:
        """Called when a worker is lost, and its trial is resumed from a checkpoint."""
        checkpoint = trial.latest_checkpoint_result
        result = checkpoint.metrics if checkpoint else {}
        for path in _logged(trial):
            if path.name in tables.FILES:  # the loggers have them open, to append
                rows = tables.cut(path.name, path.read_bytes(), result, trial.trial_id)
                with path.open("r+b") as file:  # it may be copied at any time: it never lacks rows
                    file.write(rows)
                    file.truncate()


def _logged(trial: Trial) -> list[Path]:
    """The files of the loggers on this machine."""
    folder = Path(str(trial.local_path))
    return [path for path in folder.iterdir() if path.is_file()] if folder.is_dir() else []


def entries(folder: Folder) -> dict[str, dict[str, Any]]:
    """The newest entry of each trial by its id. One that was cut off is passed over."""
    found = {}
    for file in fnmatch.filter(folder.files(FOLDER), "*.json"):
        with contextlib.suppress(ValueError):
            found[file.removesuffix(".json")] = json.loads(folder.read(FOLDER, file) or b"")
    return found


def bring_files(folder: Folder, entry: dict[str, Any]) -> None:
    """Put the loggers' files of an entry where Ray has an older copy.

    They only ever grow; but for the tables of a trial that lost its worker, which are cut.
    """
    for file, text in entry["files"].items():
        content = base64.b64decode(text)
        there = folder.read(entry["folder"], file) or b""
        if len(content) > len(there) or file in tables.FILES:
            folder.write(content, entry["folder"], file)


def delete(folder: Folder) -> None:
    """Delete all entries: the state holds what they held."""
    folder.delete(FOLDER)
