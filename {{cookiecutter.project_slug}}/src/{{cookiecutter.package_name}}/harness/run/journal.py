"""The journal: an entry for each trial, written at each of its checkpoints.

Ray saves the state of all trials and all loggers' files together: the more trials, the more rarely.
A kill would lose what came after. An entry is about one trial only.
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
SHARE = 1 / 20  # of the time may be spent on entries


def encoded(value: Any) -> Any:
    """A value as Ray's state has it, where objects that JSON doesn't know are pickled."""
    return json.loads(json.dumps(value, cls=TuneFunctionEncoder))


class JournalCallback(Callback):
    """Writes the entries, as long as that takes no more than a twentieth of the time.

    In any case it writes one before Ray deletes the last checkpoint that a resume would know.
    """

    def __init__(self, folder: Folder, *, resumes: bool) -> None:
        self.folder, self.resumes = folder, resumes
        self._start, self._spent = time.monotonic(), 0.0
        self._left_out = dict[str, int]()  # checkpoints without an entry since the last, by trial
        self._first_step = True

    def on_step_begin(self, iteration: int, trials: list[Trial], **info: Any) -> None:
        """At the first step of a resume, delete what an earlier run left on this machine.

        In a cluster that outlived that run, Ray continues in the same folder, and its files are
        older than the storage's.

        Raises Refusal when Ray could not restore the experiment, and would start a new one.
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
        entry = {
            "step": iteration,
            "folder": str(trial.relative_logdir),
            "checkpoint": Path(checkpoint.path).name,
            "run": trial.run_metadata.get_json_state(),
            "changed": {"config": encoded(trial.config), "experiment_tag": trial.experiment_tag},
            "stopper": encoded(current_stopper()),
            "files": {p.name: base64.b64encode(p.read_bytes()).decode() for p in _logged(trial)},
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
                with path.open("r+b") as file:  # Ray may copy it at any time: never without rows
                    file.write(rows)
                    file.truncate()


def _logged(trial: Trial) -> list[Path]:
    """The files of the loggers on this machine."""
    folder = Path(str(trial.local_path))
    return [path for path in folder.iterdir() if path.is_file()] if folder.is_dir() else []


def entries(folder: Folder) -> dict[str, dict[str, Any]]:
    """The newest entry of each trial, by trial id. Incomplete ones are skipped."""
    found = {}
    for file in fnmatch.filter(folder.files(FOLDER), "*.json"):
        with contextlib.suppress(ValueError):
            found[file.removesuffix(".json")] = json.loads(folder.read(FOLDER, file) or b"")
    return found


def bring_files(folder: Folder, entry: dict[str, Any]) -> None:
    """Replace the loggers' files in the storage by those of an entry, if these are newer.

    The files only grow, except the tables of a trial that lost its worker: they are cut.
    """
    for file, text in entry["files"].items():
        content = base64.b64decode(text)
        there = folder.read(entry["folder"], file) or b""
        if len(content) > len(there) or file in tables.FILES:
            folder.write(content, entry["folder"], file)


def delete(folder: Folder) -> None:
    """Delete all entries: the saved state has everything now."""
    folder.delete(FOLDER)
