"""Ray's own state of an experiment: how it is saved, and made ready for a resume."""

import copy
import fnmatch
import json
import pickle
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from ray import cloudpickle
from ray.train._internal.session import _TrainingResult
from ray.tune import Callback, Checkpoint
from ray.tune.execution.tune_controller import TuneController
from ray.tune.experiment import Trial
from ray.tune.schedulers import TrialScheduler
from ray.tune.stopper import Stopper

from ..store import tables
from ..store.lock import ExperimentLock
from ..store.saved_trials import EXPERIMENT, newest
from ..store.storage import Storage
from ..tune.trainable import SEAL, has_all_files
from . import journal

PATTERNS = (
    EXPERIMENT,
    "basic-variant-state-*.json",
    "search_gen_state-*.json",
    "searcher-state-*.pkl",
    "callback-states-*.pkl",
)
_save_to_dir = TuneController.save_to_dir


def save_whole_states() -> None:
    """Let Ray write its state in a folder beside the one that its thread copies from.

    A copy would else hold what is half written, or fail at a temporary file that is gone (seen in
    Ray 2.60, TuneController.save_to_dir).
    """
    TuneController.save_to_dir = _save_beside  # type: ignore[method-assign]


def _save_beside(controller: Any) -> None:
    storage = controller._storage
    copied = Path(storage.experiment_driver_staging_path)
    beside = copied.with_name("state")
    controller._storage = SimpleNamespace(experiment_driver_staging_path=str(beside))
    try:
        _save_to_dir(controller)
    finally:
        controller._storage = storage
    copied.mkdir(parents=True, exist_ok=True)
    for path in beside.iterdir():
        path.replace(copied / path.name)


class HoldCallback(Callback):
    """Ends a run that no longer holds its experiment, before it saves anything."""

    def __init__(self, lock: ExperimentLock) -> None:
        self.lock = lock

    def on_trial_result(self, *_: Any, **info: Any) -> None:
        self.lock.renew()

    def on_checkpoint(self, *_: Any, **info: Any) -> None:
        self.lock.renew()

    def get_state(self) -> None:
        """Called before anything is saved, and copied over what another run may have saved."""
        self.lock.renew()

    def on_step_end(self, *_: Any, **info: Any) -> None:
        self.lock.renew()


def complete(storage: Storage, name: str, trials: list[Trial]) -> None:
    """Write what the storage lacks of the last state and tables: Ray only logs that it could not.

    Raises OSError when the storage doesn't take it.
    """
    if not trials or trials[0].storage is None:
        return
    folder = Path(trials[0].storage.experiment_driver_staging_path)
    there = {path: info.size for path, info in storage.all_files(name).items()}
    for path in filter(Path.is_file, folder.rglob("*")):
        content, file = path.read_bytes(), path.relative_to(folder)
        same = there.get(file.as_posix()) == len(content)
        if same and len(file.parts) == 1:  # a state of the same size may be another
            same = storage.read(name, file.name) == content
        if not same:
            storage.write(content, name, *file.parts)


def exists(storage: Storage, name: str) -> bool:
    """Whether Ray has saved a state of the experiment."""
    return newest(storage, name) is not None


def has_trials(storage: Storage, name: str) -> bool:
    """Whether there is something to resume. A state that can't be read may have trials."""
    file = newest(storage, name)
    try:
        return file is not None and bool(json.loads(storage.read(name, file) or b"")["trial_data"])
    except ValueError:
        return True


def damaged(storage: Storage, name: str) -> str | None:
    """The name of a state file that can't be read; None when all can. Nothing is executed."""
    for file in (f for pattern in PATTERNS for f in fnmatch.filter(storage.files(name), pattern)):
        content = storage.read(name, file) or b""
        is_pickle = file.endswith(".pkl") or content[:1] == b"\x80"
        try:
            whole = content.endswith(pickle.STOP) if is_pickle else json.loads(content) is not None
        except ValueError:
            whole = False
        if not whole:
            return file
    return None


def saved_stopper(storage: Storage, name: str) -> Any:
    """The stopper of the newest state, which is unpickled; None where it can't be read."""
    try:
        state = json.loads(storage.read(name, str(newest(storage, name))) or b"")
        return cloudpickle.loads(bytes.fromhex(state["runner_data"]["_stopper"]["value"]))
    except (ValueError, KeyError, EOFError, ImportError, AttributeError, pickle.UnpicklingError):
        return None


def settle(
    storage: Storage, name: str, *, errored: bool, longer: Callable[[], Stopper] | None
) -> None:
    """Make the saved state ready for a resume, after whatever ended the last run.

    Trials that had ended keep all their results. The others resume from what the journal has of
    them, and forget checkpoints that are gone or damaged; their tables end where they resume, so
    that no iteration stands in them twice.

    errored: failed trials are to resume, too
    longer: makes a stopper with new limits (`extend`): only a trial that has reached one of them
        has reported its last result
    """
    storage.delete_unfinished(name)
    file = str(newest(storage, name))
    state = json.loads(storage.read(name, file) or b"{}")
    reopened = _reopen(state, longer)
    ended = {Trial.TERMINATED} if errored else {Trial.TERMINATED, Trial.ERROR}
    saved_step = step = state["runner_data"]["_iteration"]
    entries, known = journal.entries(storage, name), set()
    for pair in state["trial_data"]:
        trial = Trial.from_json_state(pair[0], stub=True)
        known.add(str(trial.relative_logdir))
        entry = entries.get(trial.trial_id)
        newer = entry if entry and entry["step"] > saved_step else None
        trial.restore_run_metadata(newer["run"] if newer else pair[1])
        if trial.status in ended or trial.trial_id in reopened:
            _complete_tables(storage, name, trial, entry)
        if trial.status in ended:
            continue
        trial.set_storage(_here(storage, name, trial))
        if newer is not None:
            journal.bring_files(storage, name, newer)
            if newer["step"] >= step:
                step, state["runner_data"]["_stopper"] = newer["step"], newer["stopper"]
        own = _forget_what_is_gone(storage, name, trial, newer["checkpoint"] if newer else None)
        saved: Any = trial.latest_checkpoint_result
        last, result = trial.last_result or {}, saved.metrics if saved else {}
        if saved:
            up_to_date = result.get("training_iteration") == last.get("training_iteration")
            done = longer()(trial.trial_id, last) if longer else last.get("done")
            result["done"] = bool(up_to_date and done)
        folder = str(trial.relative_logdir)
        for table in tables.FILES:
            rows = storage.read(name, folder, table)
            if rows is not None:
                rows = tables.cut(table, rows, result, trial.trial_id)
                storage.write(rows, name, folder, table)
        here: Any = trial.storage  # the next checkpoint takes the next number
        here.current_checkpoint_index = int(own.rpartition("_")[2]) if own else -1
        changed = {"storage": journal.encoded(here), **(newer["changed"] if newer else {})}
        pair[0] = json.dumps({**json.loads(pair[0]), **changed})
        pair[1] = trial.run_metadata.get_json_state()
    # Trials that began after the last saved state begin again, and some searchers name them anew.
    for folder, info in storage.files(name).items():
        if folder.startswith("trial_") and not info.is_file and folder not in known:
            storage.delete_folder(name, folder)
    storage.write(json.dumps(state).encode(), name, file)
    journal.forget(storage, name)


def _complete_tables(
    storage: Storage, name: str, trial: Trial, entry: dict[str, Any] | None
) -> None:
    """Give a trial that has ended the last results, where a kill kept Ray from copying them."""
    if entry is not None:
        journal.bring_files(storage, name, entry, only_longer=True)
    folder, last = str(trial.relative_logdir), trial.last_result or {}
    for table in tables.FILES if "training_iteration" in last else ():
        rows = storage.read(name, folder, table)
        if rows is not None and not tables.reaches(table, rows, last):
            rows = tables.cut(table, rows, last, trial.trial_id)
            storage.write(rows, name, folder, table)


def _reopen(state: dict[str, Any], longer: Callable[[], Stopper] | None) -> set[str]:
    """Let ended trials run that never did, or that have not reached the new limits: their ids.

    What Ray had decided to do after a checkpoint that it was waiting for holds no more, but for the
    end of an unfinished trial under the same limits: a scheduler may say that only once.
    """
    decisions = state["runner_data"].get("_cached_trial_decisions", {})
    kept, reopened = {}, set()
    for pair in state["trial_data"]:
        trial = Trial.from_json_state(pair[0], stub=True)
        if trial.status == Trial.TERMINATED:
            trial.restore_run_metadata(pair[1])
            last = trial.last_result
            has_run = last.get("training_iteration")
            if not has_run or (longer and not longer()(trial.trial_id, last)):
                pair[0] = json.dumps({**json.loads(pair[0]), "status": Trial.PENDING})
                reopened.add(trial.trial_id)
        elif trial.status != Trial.ERROR and decisions.get(trial.trial_id) == TrialScheduler.STOP:
            kept[trial.trial_id] = TrialScheduler.STOP
    state["runner_data"]["_cached_trial_decisions"] = {} if longer else kept
    return reopened


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
    Returns the newest that was kept of the trial's own; those after it are deleted.
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
    there = sorted(e for e in storage.files(name, folder) if e.startswith("checkpoint_"))
    entries: list[str] = []
    if known:
        latest = max(known)
        whole = [entry for entry in there if _is_whole(storage, name, folder, entry)]
        older = [entry for entry in whole if entry <= latest]
        entries = [entry for entry in older if entry in known] or older[-1:] or whole[:1]
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
    for entry in there:  # the next checkpoint takes the place of the first of them
        if entry > max(entries, default=""):
            storage.delete_folder(name, folder, entry)
    return max(entries, default=None)


def _place(result: Any) -> tuple[str, str]:
    """The folder and the name of a checkpoint."""
    path = Path(result.checkpoint.path)
    return path.parent.name, path.name


def _is_whole(storage: Storage, *folder: str) -> bool:
    """Whether all files are there that the seal of a checkpoint names; the worker reads them."""
    seal = storage.read(*folder, SEAL)
    sizes = {path: info.size for path, info in storage.all_files(*folder).items()}
    return has_all_files(seal, sizes)
