"""Which checkpoints of a trial a resume can use: the whole ones."""

import copy
import fnmatch
import posixpath
from typing import Any

from ray.tune import Checkpoint
from ray.tune.experiment import Trial

from ..store.storage import Folder
from ..tune.ray_internals import TrainingResult
from ..tune.seal import SEAL, has_all_files, read_seal


def storage_of(folder: Folder, trial: Trial) -> Any:
    """A trial's storage, pointing to this folder even if the experiment was moved."""
    here: Any = copy.copy(trial.storage)
    here.storage_filesystem = folder.filesystem
    here.storage_fs_path = posixpath.dirname(folder.root)
    here.experiment_dir_name = folder.name
    return here


def keep_whole(folder: Folder, trial: Trial, newer: str | None) -> str | None:
    """Keep the whole checkpoints; if the latest is damaged, use an older one, or else a newer one.

    newer: the checkpoint of the trial's last result, if the trial doesn't know it yet
    Returns the latest of the trial's own that is kept; those after it are deleted.
    """
    manager: Any = trial.run_metadata.checkpoint_manager
    results = [*manager.best_checkpoint_results, manager.latest_checkpoint_result]
    own, name = folder / str(trial.relative_logdir), str(trial.relative_logdir)
    if newer is not None:
        results.append(_result(own, newer, trial.last_result))
    place_of = {_place(result): result for result in results if result is not None}
    known = {file: result for (where, file), result in place_of.items() if where == name}
    # With SCHEDULER=pbt a trial may be about to continue from another trial's checkpoint.
    others = {place: result for place, result in place_of.items() if place[0] != name}
    there = sorted(fnmatch.filter(own.files(), "checkpoint_*"))
    entries: list[str] = []
    if known:
        latest = max(known)
        whole = [entry for entry in there if is_whole(own / entry)]
        older = [entry for entry in whole if entry <= latest]
        entries = [entry for entry in older if entry in known] or older[-1:] or whole[:1]
        if entries[-1:] != [latest]:
            went = f"goes back to {entries[-1]}" if entries else "starts from the beginning"
            print(f"trial {trial.trial_id}: {latest} is damaged or gone; it {went}")
        rebuilt = type(manager)(manager.checkpoint_config)
        for entry in entries:
            result = known.get(entry)
            if result is None:
                result = _result(own, entry, read_seal(own.read(entry, SEAL))[1])
            rebuilt.register_checkpoint(result)
        for (where, entry), result in others.items():
            if newer is None and is_whole(folder / where / entry):
                rebuilt._latest_checkpoint_result = _result(folder / where, entry, result.metrics)
        trial.run_metadata.checkpoint_manager = rebuilt
    for entry in there:  # the next checkpoint gets the number of the first of them
        if entry > max(entries, default=""):
            own.delete(entry)
    return max(entries, default=None)


def _result(folder: Folder, checkpoint: str, result: Any) -> TrainingResult:
    return TrainingResult(Checkpoint(folder.at(checkpoint), folder.filesystem), dict(result))


def _place(result: Any) -> tuple[str, str]:
    """The folder and the name of a checkpoint."""
    folder, name = posixpath.split(result.checkpoint.path)
    return posixpath.basename(folder), name


def is_whole(checkpoint: Folder) -> bool:
    """Whether a checkpoint has all files of its seal; the worker checks their content."""
    sizes = {path: info.size for path, info in checkpoint.all_files().items()}
    return has_all_files(checkpoint.read(SEAL), sizes)
