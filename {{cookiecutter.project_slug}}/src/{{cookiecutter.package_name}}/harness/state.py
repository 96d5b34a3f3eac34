"""Ray's own state of an experiment: a spare copy of it, and its repair before a resume."""

import contextlib
import copy
import fnmatch
import json
import pickle
import time
from pathlib import Path
from typing import Any

from ray.train._internal.session import _TrainingResult
from ray.tune import Callback, Checkpoint
from ray.tune.experiment import Trial

from . import journal, tables
from .claim import Claim
from .saved import EXPERIMENT, SPARE, newest
from .storage import Storage
from .trainable import SEAL, whole

PATTERNS = (
    EXPERIMENT,
    "basic-variant-state-*.json",
    "search_gen_state-*.json",
    "searcher-state-*.pkl",
    "callback-states-*.pkl",
)
SECONDS_BETWEEN_COPIES = 5.0


class SpareCallback(Callback):
    """Keeps a copy of the last whole state.

    Ray copies its state to the storage path in a thread, over the older copy: a kill or a full
    disk at that moment leaves half a file. This copy is made of what the thread copies from, file
    by file and never over a good one.
    """

    def __init__(self, storage: Storage, name: str, claim: Claim) -> None:
        self.storage, self.name, self.claim = storage, name, claim
        self._next = 0.0
        self._copied: float = 0

    def on_trial_result(self, *_: Any, **info: Any) -> None:
        self.claim.renew()

    def on_checkpoint(self, *_: Any, **info: Any) -> None:
        self.claim.renew()

    def get_state(self) -> None:
        """Called before anything is saved, and copied over what another run may have saved."""
        self.claim.renew()

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        self.claim.renew()
        if time.monotonic() >= self._next:
            start = time.monotonic()
            self._copy(trials)
            # At most a twentieth of the time, however slow the storage is.
            self._next = time.monotonic() + max(
                SECONDS_BETWEEN_COPIES, 19 * (time.monotonic() - start)
            )

    def on_experiment_end(self, trials: list[Any], **info: Any) -> None:
        self._copy(trials)

    def _copy(self, trials: list[Any]) -> None:
        if not trials or trials[0].storage is None:
            return
        folder = Path(trials[0].storage.experiment_driver_staging_path)
        files = [path for pattern in PATTERNS for path in folder.glob(pattern)]
        newest = max((path.stat().st_mtime for path in files), default=0)
        if newest == self._copied:
            return
        with contextlib.suppress(OSError):  # a storage that fails is told of at the end
            for path in files:
                self.storage.write(path.read_bytes(), self.name, SPARE, path.name)
            self._copied = newest


def complete(storage: Storage, name: str, trials: list[Trial]) -> None:
    """Write what the storage lacks of Ray's last state: Ray only logs that it could not.

    Raises OSError when the storage doesn't take it.
    """
    if not trials or trials[0].storage is None:
        return
    folder = Path(trials[0].storage.experiment_driver_staging_path)
    for path in (path for pattern in PATTERNS for path in folder.glob(pattern)):
        content = path.read_bytes()
        if storage.read(name, path.name) != content:
            storage.write(content, name, path.name)


def _whole(name: str, content: bytes) -> bool:
    """Whether a state file is complete. A pickle's last byte is its STOP; nothing is executed."""
    if name.endswith(".pkl") or content[:1] == b"\x80":
        return content.endswith(pickle.STOP)
    try:
        json.loads(content)
    except ValueError:
        return False
    return True


def _state_files(storage: Storage, *folder: str) -> list[str]:
    names = storage.files(*folder)
    return [name for pattern in PATTERNS for name in fnmatch.filter(names, pattern)]


def repair(storage: Storage, name: str) -> str | None:
    """Replace a damaged state by the spare copy. Returns what was done, None for nothing.

    Raises ValueError when there is no whole copy.
    """
    files = {file: storage.read(name, file) or b"" for file in _state_files(storage, name)}
    damaged = [file for file, content in files.items() if not _whole(file, content)]
    if not damaged and fnmatch.filter(files, EXPERIMENT):
        return None
    spare = {f: storage.read(name, SPARE, f) or b"" for f in _state_files(storage, name, SPARE)}
    if not fnmatch.filter(spare, EXPERIMENT) or not all(_whole(*item) for item in spare.items()):
        raise ValueError(
            f"the state of {name!r} is damaged ({', '.join(damaged) or 'no state file'}), and there"
            " is no whole copy of it"
        )
    for file in files:
        storage.delete(name, file)
    for file, content in spare.items():
        storage.write(content, name, file)
    return f"{damaged[0] if damaged else 'the state file'} was damaged: going on from its last copy"


def exists(storage: Storage, name: str) -> bool:
    """Whether Ray has saved a state of the experiment, whole or not."""
    return bool(_state_files(storage, name) or storage.files(name, SPARE))


def settle(storage: Storage, name: str, *, errored: bool, longer: bool) -> None:
    """Bring the trials that will go on in line with what is on the storage.

    They go on from what the journal has of them, forget checkpoints that are gone or damaged, and
    their tables end where they go on, so that no iteration stands in them twice.

    errored: also those that failed
    longer: also one that had reported its last result goes on training; else it only ends
    """
    file = str(newest(storage, name))
    state = json.loads(storage.read(name, file) or b"{}")
    ended = {Trial.TERMINATED} if errored else {Trial.TERMINATED, Trial.ERROR}
    step = state["runner_data"]["_iteration"]
    entries = journal.entries(storage, name)
    newer = {trial_id: entry for trial_id, entry in entries.items() if entry["step"] > step}
    for pair in state["trial_data"]:
        trial = Trial.from_json_state(pair[0], stub=True)
        entry = newer.pop(trial.trial_id, None)
        if trial.status in ended:
            continue
        trial.restore_run_metadata(entry["run"] if entry else pair[1])
        trial.set_storage(_here(storage, name, trial))
        if entry is not None:
            journal.bring_files(storage, name, entry)
            if entry["step"] >= step:
                step, state["runner_data"]["_stopper"] = entry["step"], entry["stopper"]
        own = _forget_what_is_gone(storage, name, trial, entry["checkpoint"] if entry else None)
        saved: Any = trial.latest_checkpoint_result
        last, result = trial.last_result or {}, saved.metrics if saved else {}
        if saved:
            up_to_date = result.get("training_iteration") == last.get("training_iteration")
            result["done"] = bool(up_to_date and last.get("done") and not longer)
        for table in tables.FILES:
            rows = storage.read(name, str(trial.relative_logdir), table)
            if rows is not None:
                rows = tables.cut(table, rows, result, trial.trial_id)
                storage.write(rows, name, str(trial.relative_logdir), table)
        here: Any = trial.storage  # the next checkpoint takes the next number
        here.current_checkpoint_index = int(own.rpartition("_")[2]) if own else -1
        changed = {"storage": journal.encoded(here), **(entry["changed"] if entry else {})}
        pair[0] = json.dumps({**json.loads(pair[0]), **changed})
        pair[1] = trial.run_metadata.get_json_state()
    for entry in newer.values():  # begun after the last saved state: begins again
        storage.delete_folder(name, entry["folder"])
    storage.write(json.dumps(state).encode(), name, file)
    journal.forget(storage, name)


def _here(storage: Storage, name: str, trial: Trial) -> Any:
    """A trial's storage, which names this experiment also when its folder has been moved."""
    here: Any = copy.copy(trial.storage)
    here.storage_filesystem, here.storage_fs_path = storage.filesystem, storage.root.rstrip("/")
    here.experiment_dir_name = name
    return here


def _saved(storage: Storage, trial: Trial, checkpoint: str, result: Any) -> _TrainingResult:
    place: Any = trial.storage
    path = f"{place.trial_fs_path}/{checkpoint}"
    return _TrainingResult(Checkpoint(path, storage.filesystem), dict(result))


def _forget_what_is_gone(
    storage: Storage, name: str, trial: Trial, newer: str | None
) -> str | None:
    """Keep the checkpoints that are whole; where the newest is not, an older, or else a newer.

    newer: the checkpoint of the trial's last result, where the trial doesn't know it yet
    Returns the newest that was kept of the trial's own.
    """
    manager: Any = trial.run_metadata.checkpoint_manager
    results = [*manager.best_checkpoint_results, manager.latest_checkpoint_result]
    if newer is not None:
        results.append(_saved(storage, trial, newer, trial.last_result))
    folder = str(trial.relative_logdir)
    place_of = {_place(result): result for result in results if result is not None}
    known = {file: result for (where, file), result in place_of.items() if where == folder}
    # With SCHEDULER=pbt a trial may be about to go on from the checkpoint of another.
    others = {place: result for place, result in place_of.items() if place[0] != folder}
    if not known:
        return None
    latest = max(known)
    there = sorted(e for e in storage.files(name, folder) if e.startswith("checkpoint_"))
    there = [entry for entry in there if _is_whole(storage, name, folder, entry)]
    older = [entry for entry in there if entry <= latest]
    entries = [entry for entry in older if entry in known] or older[-1:] or there[:1]
    if entries[-1:] != [latest]:
        went = f"goes back to {entries[-1]}" if entries else "starts from the beginning"
        print(f"trial {trial.trial_id}: {latest} is damaged or gone; it {went}")
    rebuilt = type(manager)(manager.checkpoint_config)
    for entry in entries:
        result = known.get(entry)
        if result is None:
            seal = json.loads(storage.read(name, folder, entry, SEAL) or b'{"result": {}}')
            result = _saved(storage, trial, entry, seal["result"])
        rebuilt.register_checkpoint(result)
    here: Any = trial.storage
    for place, result in others.items():
        if newer is None and _is_whole(storage, name, *place):
            path = f"{here.experiment_fs_path}/{'/'.join(place)}"
            checkpoint = Checkpoint(path, storage.filesystem)
            rebuilt._latest_checkpoint_result = _TrainingResult(checkpoint, result.metrics)
    trial.run_metadata.checkpoint_manager = rebuilt
    return entries[-1] if entries else None


def _place(result: Any) -> tuple[str, str]:
    """The folder and the name of a checkpoint."""
    path = Path(result.checkpoint.path)
    return path.parent.name, path.name


def _is_whole(storage: Storage, *folder: str) -> bool:
    """Whether a checkpoint has its seal and, on a disk, is what the seal says.

    In a bucket that would mean to load it; there the worker that restores it looks.
    """
    seal = storage.read(*folder, SEAL)
    if seal is None or not storage.local:
        return seal is not None
    names = [n for n in storage.files(*folder) if n != SEAL and not n.startswith(".")]
    return whole(seal, {name: storage.read(*folder, name) or b"" for name in names})
