"""Prepares Ray's saved state of an experiment for a resume."""

import fnmatch
import json
import pickle
from collections.abc import Callable
from typing import Any

from ray import cloudpickle
from ray.tune.experiment import Trial
from ray.tune.schedulers import TrialScheduler
from ray.tune.stopper import Stopper

from ..store import tables
from ..store.saved_trials import EXPERIMENT, newest_state
from ..store.storage import Folder
from . import journal
from .checkpoints import keep_whole, storage_of

PATTERNS = (
    EXPERIMENT,
    "basic-variant-state-*.json",
    "search_gen_state-*.json",
    "searcher-state-*.pkl",
    "callback-states-*.pkl",
)


def has_trials(folder: Folder) -> bool:
    """Whether there is something to resume; true if the state can't be read."""
    file = newest_state(folder)
    try:
        return file is not None and bool(json.loads(folder.read(file) or b"")["trial_data"])
    except ValueError:
        return True


def damaged(folder: Folder) -> str | None:
    """The name of a damaged state file, or None. It unpickles nothing."""
    for file in (f for pattern in PATTERNS for f in fnmatch.filter(folder.files(), pattern)):
        content = folder.read(file) or b""
        is_pickle = file.endswith(".pkl") or content[:1] == b"\x80"
        try:
            whole = content.endswith(pickle.STOP) if is_pickle else json.loads(content) is not None
        except ValueError:
            whole = False
        if not whole:
            return file
    return None


def saved_stopper(folder: Folder) -> Any:
    """Unpickle the stopper of the newest state; None if it can't be read."""
    try:
        state = json.loads(folder.read(str(newest_state(folder))) or b"")
        return cloudpickle.loads(bytes.fromhex(state["runner_data"]["_stopper"]["value"]))
    except (ValueError, KeyError, EOFError, ImportError, AttributeError, pickle.UnpicklingError):
        return None


def reconcile(folder: Folder, *, errored: bool, longer: Callable[[], Stopper] | None) -> None:
    """Prepare the saved state for a resume, however the last run ended.

    Ended trials keep all their results. The others resume from their state or their journal entry,
    whichever is newer, without checkpoints that are gone or damaged. Their tables are cut where
    they resume, so that no iteration is in them twice. No row is missing: a state or an entry is
    never in the storage before the tables that belong to it.

    errored: also resume failed trials
    longer: makes a stopper with new limits (`extend`): a trial that has reached none of them has
        not reported its last result
    """
    folder.delete_unfinished()
    file = str(newest_state(folder))
    state = json.loads(folder.read(file) or b"{}")
    _reopen(state, longer)
    ended = {Trial.TERMINATED} if errored else {Trial.TERMINATED, Trial.ERROR}
    saved_step = step = state["runner_data"]["_iteration"]
    entries, known = journal.entries(folder), set()
    for pair in state["trial_data"]:
        trial = Trial.from_json_state(pair[0], stub=True)
        known.add(str(trial.relative_logdir))
        entry = entries.get(trial.trial_id)
        newer = entry if entry and entry["step"] > saved_step else None
        trial.restore_run_metadata(newer["run"] if newer else pair[1])
        if trial.status in ended:
            continue
        trial.set_storage(storage_of(folder, trial))
        if newer is not None:
            journal.bring_files(folder, newer)
            if newer["step"] >= step:
                step, state["runner_data"]["_stopper"] = newer["step"], newer["stopper"]
        own = keep_whole(folder, trial, newer["checkpoint"] if newer else None)
        saved: Any = trial.latest_checkpoint_result
        last, result = trial.last_result, saved.metrics if saved else {}
        if saved:
            up_to_date = result.get("training_iteration") == last.get("training_iteration")
            done = longer()(trial.trial_id, last) if longer else last.get("done")
            result["done"] = bool(up_to_date and done)
        for table in tables.FILES:
            if (rows := folder.read(str(trial.relative_logdir), table)) is not None:
                rows = tables.cut(table, rows, result, trial.trial_id)
                folder.write(rows, str(trial.relative_logdir), table)
        here: Any = trial.storage  # the next checkpoint takes the next number
        here.current_checkpoint_index = int(own.rpartition("_")[2]) if own else -1
        changed = {"storage": journal.encoded(here), **(newer["changed"] if newer else {})}
        pair[0] = json.dumps({**json.loads(pair[0]), **changed})
        pair[1] = trial.run_metadata.get_json_state()
    # Trials that began after the last saved state start again, maybe in a folder of another name.
    for name, info in folder.files().items():
        if name.startswith("trial_") and not info.is_file and name not in known:
            folder.delete(name)
    folder.write(json.dumps(state).encode(), file)
    journal.delete(folder)


def _reopen(state: dict[str, Any], longer: Callable[[], Stopper] | None) -> None:
    """Let ended trials run that never ran, or that have not reached the new limits.

    Ray keeps what it decided to do once a checkpoint is saved. These decisions are dropped, except
    to stop an unfinished trial under the same limits: a scheduler may say that only once.
    """
    decisions = state["runner_data"].get("_cached_trial_decisions", {})
    kept = {}
    for pair in state["trial_data"]:
        trial = Trial.from_json_state(pair[0], stub=True)
        if trial.status == Trial.TERMINATED:
            trial.restore_run_metadata(pair[1])
            last = trial.last_result
            has_run = last.get("training_iteration")
            if not has_run or (longer and not longer()(trial.trial_id, last)):
                pair[0] = json.dumps({**json.loads(pair[0]), "status": Trial.PENDING})
        elif trial.status != Trial.ERROR and decisions.get(trial.trial_id) == TrialScheduler.STOP:
            kept[trial.trial_id] = TrialScheduler.STOP
    state["runner_data"]["_cached_trial_decisions"] = {} if longer else kept
