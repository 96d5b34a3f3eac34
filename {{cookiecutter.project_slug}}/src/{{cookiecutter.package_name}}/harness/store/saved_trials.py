"""The saved trials of an experiment, read without Ray. No saved code is executed."""

import fnmatch
import hashlib
import io
import json
import math
import pickle
import pickletools
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

from .storage import Folder

EXPERIMENT = "experiment_state-*.json"
ERROR, TERMINATED, PENDING = "ERROR", "TERMINATED", "PENDING"  # Ray's names
NOT_STARTED = "not started"  # METRIC_GOAL, or another limit of the experiment, was reached before
PICKLED = "CLOUDPICKLE_FALLBACK"  # how Ray marks a value that is not JSON
POSITIONS = {"FRAME", "MEMOIZE", "BINPUT", "LONG_BINPUT", "BINGET", "LONG_BINGET"}  # in a pickle
FIXED = "fixed "  # begins the description of a value that is not tuned


@dataclass
class SavedTrial:
    """One trial of a saved state.

    number: its place in the order of sampling, from 0
    folder: its name, in the experiment's folder
    parameters: its values of the hyperparameters (`chosen`); config: its whole configuration
    last: its last result
    metric_analysis: each metric's max, min, avg, last, last-5-avg, last-10-avg
    error_file: its name, in the trial's folder; None if the trial never failed
    """

    id: str
    number: float
    status: str
    folder: str
    parameters: dict[str, Any]
    config: dict[str, Any]
    last: dict[str, Any]
    metric_analysis: dict[str, dict[str, float]]
    error_file: str | None

    @property
    def iterations(self) -> int:
        """The number of results so far."""
        return int(self.last.get("training_iteration", 0))


def newest_state(folder: Folder) -> str | None:
    """The name of an experiment's newest state file, or None."""
    return max(fnmatch.filter(folder.files(), EXPERIMENT), default=None)


def load(folder: Folder, names: Collection[str] = ()) -> list[SavedTrial]:
    """The trials of the newest state, in the order of sampling; empty if nothing was saved.

    names: the names of the hyperparameters, for `parameters`

    Raises ValueError when the state can't be read.
    """
    file = newest_state(folder)
    if file is None:
        return []
    try:
        pairs = json.loads(folder.read(file) or b"")["trial_data"]
        read = [_trial(json.loads(trial), json.loads(run), names) for trial, run in pairs]
    except (ValueError, KeyError, TypeError):
        raise ValueError(f"the state of {folder.name!r} is damaged: {file} can't be read") from None
    return sorted(read, key=lambda trial: (trial.number, trial.id))


def _trial(trial: dict[str, Any], run: dict[str, Any], names: Collection[str]) -> SavedTrial:
    number = str(trial["experiment_tag"]).partition("_")[0]
    return SavedTrial(
        id=trial["trial_id"],
        number=int(number) if number.isdecimal() else math.inf,
        status=trial["status"],
        folder=trial["relative_logdir"],
        parameters=chosen(trial["config"], names),
        config=trial["config"],
        last=run.get("last_result") or {},
        metric_analysis=run.get("metric_analysis") or {},
        error_file=run.get("error_filename"),
    )


def tuned(search_space: dict[str, str]) -> list[str]:
    """The names of the hyperparameters; search_space: as experiment.json describes it."""
    return [name for name, text in search_space.items() if not text.startswith(FIXED)]


def flat(
    config: Any, names: Collection[str] = (), lists: bool = True, above: str = ""
) -> Iterator[tuple[str, Any]]:
    """The values of a nested configuration, by name; the values of `names` stay whole.

    lists: whether lists are nested too
    """
    kinds = (dict, list) if lists else dict
    for key, value in config.items() if isinstance(config, dict) else enumerate(config):
        name = f"{above}{key}"
        if name in names or not isinstance(value, kinds) or not value:
            yield name, value
        else:
            yield from flat(value, names, lists, f"{name}/")


def chosen(config: dict[str, Any], names: Collection[str]) -> dict[str, Any]:
    """A trial's present values of the hyperparameters, by name (SCHEDULER=pbt changes them).

    config: as Ray saves it, in JSON
    names: the hyperparameters; a value that is a dictionary gets a name for each of its values
    """
    config = json.loads(json.dumps(config), object_hook=readable)
    tuned = {name: value for name, value in flat(config, names) if name in names}
    return dict(flat(tuned, lists=False))


def readable(value: dict[str, Any]) -> Any:
    """A JSON object of Ray's saved state, where a pickled value becomes its name, or a number.

    The pickle is read without executing it, except for NumPy's numbers.
    """
    if value.get("_type") != PICKLED:
        return value
    content = bytes.fromhex(value["value"])
    try:
        return _Reader(io.BytesIO(content)).load().item()
    except _Name as name:
        if content.endswith(b"\x93\x94."):  # STACK_GLOBAL, MEMOIZE, STOP: only a name
            return str(name)
        kind = str(name).removeprefix("ray.cloudpickle.cloudpickle._make_")  # a lambda: "function"
        # A set: their order, and which of them are repeated, differ from process to process.
        parts = {repr(a) for op, a, _ in pickletools.genops(content) if op.name not in POSITIONS}
        text = repr(sorted(parts))
        return f"{kind} {hashlib.sha256(text.encode()).hexdigest()[:6]}"
    except Exception:  # whatever a damaged pickle raises
        return "an object"


class _Name(Exception):
    """The first name in a pickle: of a function, or of an object's class."""


class _Reader(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if module.partition(".")[0] == "numpy" and name in {"scalar", "dtype"}:
            return super().find_class(module, name)
        raise _Name(f"{module}.{name}")


def without_colours(text: str) -> str:
    """The text of an error without the colours that Ray added for the terminal."""
    from rich.text import Text

    return Text.from_ansi(text).plain


def word(status: str, last: dict[str, Any], metric: str, iterations: int, running: bool) -> str:
    """The status of a trial in a word or two, as `trials` shows it.

    status, last: Ray's status, and the trial's last result
    iterations: MAX_ITERATIONS; a trial that ended earlier was stopped early
    running: whether the experiment is running
    """
    done = last.get("training_iteration", 0)
    if status == ERROR:
        return "failed"
    if status == TERMINATED:
        if not done:
            return NOT_STARTED
        value = last.get(metric)
        if not isinstance(value, int | float) or not math.isfinite(value):
            return "not finite"
        return "completed" if done >= iterations else "stopped early"
    if status == PENDING and not done:
        return "pending"
    return "running" if running else "unfinished"
