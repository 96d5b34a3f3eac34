"""What is saved of an experiment's trials, read without Ray: nothing in it is executed."""

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
ERROR, TERMINATED, PENDING = "ERROR", "TERMINATED", "PENDING"  # as Ray calls them
NOT_STARTED = "not started"  # METRIC_GOAL, or another limit of the whole, was reached before
PICKLED = "CLOUDPICKLE_FALLBACK"  # as Ray marks what JSON has no form for
POSITIONS = {"FRAME", "MEMOIZE", "BINPUT", "LONG_BINPUT", "BINGET", "LONG_BINGET"}  # in a pickle
FIXED = "fixed "  # how the description of a value that is not tuned begins


@dataclass
class SavedTrial:
    """One trial of a saved state.

    number: in the order in which they were sampled, from 0
    folder: below the experiment's
    parameters: what was chosen for it (`chosen`); config: all that it is given
    last: its last result
    metric_analysis: each metric's max, min, avg, last, last-5-avg, last-10-avg
    error_file: in its folder; None without a failure
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
        """Results so far."""
        return int(self.last.get("training_iteration", 0))


def newest_state(folder: Folder) -> str | None:
    """The newest state file of an experiment; None when there is none."""
    return max(fnmatch.filter(folder.files(), EXPERIMENT), default=None)


def load(folder: Folder, names: Collection[str] = ()) -> list[SavedTrial]:
    """The trials of the newest state, in the order in which they were sampled.

    names: what is tuned, for `parameters`

    Empty when nothing has been saved. Raises ValueError when it can't be read.
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
    """The names of what is tuned, by the description that experiment.json has of the space."""
    return [name for name, text in search_space.items() if not text.startswith(FIXED)]


def flat(
    config: Any, names: Collection[str] = (), lists: bool = True, above: str = ""
) -> Iterator[tuple[str, Any]]:
    """The values of a nested configuration, by name; those of `names` stay whole.

    lists: whether the values in a list have names too
    """
    kinds = (dict, list) if lists else dict
    for key, value in config.items() if isinstance(config, dict) else enumerate(config):
        name = f"{above}{key}"
        if name in names or not isinstance(value, kinds) or not value:
            yield name, value
        else:
            yield from flat(value, names, lists, f"{name}/")


def chosen(config: dict[str, Any], names: Collection[str]) -> dict[str, Any]:
    """What was chosen for a trial, by name, as it is now: SCHEDULER=pbt changes it.

    config: as Ray saves it, in JSON
    names: what is tuned; where that is a choice of dictionaries, each of their values has a name
    """
    config = json.loads(json.dumps(config), object_hook=readable)
    tuned = {name: value for name, value in flat(config, names) if name in names}
    return dict(flat(tuned, lists=False))


def readable(value: dict[str, Any]) -> Any:
    """A JSON object of Ray's saved state; a pickled value in it becomes its name, or its number.

    Its pickle is read, but nothing in it is executed but what makes NumPy's numbers.
    """
    if value.get("_type") != PICKLED:
        return value
    content = bytes.fromhex(value["value"])
    try:
        return _Reader(io.BytesIO(content)).load().item()
    except _Name as name:
        if content.endswith(b"\x93\x94."):  # STACK_GLOBAL, MEMOIZE, STOP: a name is all
            return str(name)
        kind = str(name).removeprefix("ray.cloudpickle.cloudpickle._make_")  # a lambda: "function"
        # Their order, and which of them are written twice, is not the same in each process.
        parts = {repr(a) for op, a, _ in pickletools.genops(content) if op.name not in POSITIONS}
        text = repr(sorted(parts))
        return f"{kind} {hashlib.sha256(text.encode()).hexdigest()[:6]}"
    except Exception:  # whatever a damaged pickle raises
        return "an object"


class _Name(Exception):
    """The first name in a pickle: a function's, or an object's class."""


class _Reader(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if module.partition(".")[0] == "numpy" and name in {"scalar", "dtype"}:
            return super().find_class(module, name)
        raise _Name(f"{module}.{name}")


def without_colours(text: str) -> str:
    """An error's text without the colours that Ray gave it for the terminal of the run."""
    from rich.text import Text

    return Text.from_ansi(text).plain


def word(status: str, last: dict[str, Any], metric: str, iterations: int, running: bool) -> str:
    """How a trial ended, or where it is, in a word or two.

    status, last: Ray's word for it, and the trial's last result
    iterations: MAX_ITERATIONS; a trial that ended before was stopped by its metric
    running: whether the experiment is running
    """
    if status == ERROR:
        return "failed"
    if status == TERMINATED:
        if not last.get("training_iteration"):
            return NOT_STARTED
        value = last.get(metric)
        if not isinstance(value, int | float) or not math.isfinite(value):
            return "not finite"
        whole = last.get("training_iteration", 0) >= iterations
        return "completed" if whole else "stopped early"
    if status == PENDING and not last.get("training_iteration"):
        return "pending"
    return "running" if running else "unfinished"
