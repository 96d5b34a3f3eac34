"""Ray's own state of an experiment: a spare copy of it, and its repair before a resume."""

import contextlib
import csv
import fnmatch
import io
import json
import pickle
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ray.tune import Callback
from ray.tune.experiment import Trial

from .claim import Claim
from .saved import EXPERIMENT, SPARE
from .storage import Storage
from .trainable import SEAL, whole

PATTERNS = (
    EXPERIMENT,
    "basic-variant-state-*.json",
    "searcher-state-*.pkl",
    "callback-states-*.pkl",
)
SECONDS_BETWEEN_COPIES = 5.0
ENDED = (Trial.TERMINATED, Trial.ERROR)


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


def settle(storage: Storage, name: str) -> None:
    """Bring the trials that a run left unfinished in line with what is on the storage.

    One that had reported its last result, and saved it, is marked as ended: Ray would restore it
    and train one iteration too many. The others forget checkpoints that are gone or damaged, and
    their tables end where they go on, so that no iteration stands in them twice.
    """
    file = max(fnmatch.filter(_state_files(storage, name), EXPERIMENT))
    state = json.loads(storage.read(name, file) or b"{}")
    for pair in state["trial_data"]:
        trial = Trial.from_json_state(pair[0], stub=True)
        trial.restore_run_metadata(pair[1])
        if trial.status in ENDED:
            continue
        _forget_what_is_gone(storage, name, trial)
        last = trial.last_result or {}
        saved = trial.latest_checkpoint_result
        result = saved.metrics if saved else {}
        if last.get("done") and result.get("training_iteration") == last["training_iteration"]:
            pair[0] = json.dumps({**json.loads(pair[0]), "status": Trial.TERMINATED})
        else:
            _cut_tables(storage, name, str(trial.relative_logdir), result)
        pair[1] = trial.run_metadata.get_json_state()
    storage.write(json.dumps(state).encode(), name, file)


def _forget_what_is_gone(storage: Storage, name: str, trial: Trial) -> None:
    """Keep the checkpoints that are whole; where the newest is not, an older, or else a newer."""
    manager: Any = trial.run_metadata.checkpoint_manager
    newest: Any = manager.latest_checkpoint_result
    if newest is None:
        return
    folder, latest = str(trial.relative_logdir), Path(newest.checkpoint.path).name
    known = {Path(r.checkpoint.path).name: r for r in [*manager.best_checkpoint_results, newest]}
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
            path = Path(newest.checkpoint.path).with_name(entry)
            checkpoint = type(newest.checkpoint)(str(path), newest.checkpoint.filesystem)
            result = type(newest)(checkpoint=checkpoint, metrics=seal["result"])
        rebuilt.register_checkpoint(result)
    trial.run_metadata.checkpoint_manager = rebuilt


def _is_whole(storage: Storage, *folder: str) -> bool:
    """Whether a checkpoint has its seal and, on a disk, is what the seal says.

    In a bucket that would mean to load it; there the worker that restores it looks.
    """
    seal = storage.read(*folder, SEAL)
    if seal is None or not storage.local:
        return seal is not None
    names = [n for n in storage.files(*folder) if n != SEAL and not n.startswith(".")]
    return whole(seal, {name: storage.read(*folder, name) or b"" for name in names})


def _cut_tables(storage: Storage, name: str, folder: str, result: dict[str, Any]) -> None:
    """End result.json and progress.csv with the result that a trial goes on from."""
    goes_on_from = result.get("training_iteration", 0)
    text = storage.read(name, folder, "result.json")
    if text is not None:
        rows = {row["training_iteration"]: row for row in json_lines(text)}
        rows = _until(goes_on_from, rows, result)
        lines = "".join(json.dumps(row) + "\n" for row in rows.values())
        storage.write(lines.encode(), name, folder, "result.json")
    text = storage.read(name, folder, "progress.csv")
    if text is not None:
        reader = csv.DictReader(io.StringIO(text.decode(errors="replace"), newline=""))
        table = {int(row["training_iteration"]): row for row in reader if row["training_iteration"]}
        table = _until(goes_on_from, table, result)
        target = io.StringIO(newline="")
        writer = csv.DictWriter(target, reader.fieldnames or [], extrasaction="ignore")
        writer.writeheader()
        writer.writerows(table.values())
        storage.write(target.getvalue().encode(), name, folder, "progress.csv")


def _until(last: int, rows: dict[int, Any], result: dict[str, Any]) -> dict[int, Any]:
    """The rows up to an iteration, in order; its own may not have reached the storage."""
    kept = {iteration: rows[iteration] for iteration in sorted(rows) if iteration <= last}
    if last and last not in kept:
        kept[last] = {k: v for k, v in result.items() if isinstance(v, int | float | str | bool)}
    return kept


def json_lines(text: bytes) -> Iterator[dict[str, Any]]:
    """The whole lines of a result.json."""
    for line in text.splitlines():
        with contextlib.suppress(ValueError):  # the last may be cut off
            yield json.loads(line)
