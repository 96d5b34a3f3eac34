"""What is saved of an experiment's trials, read without Ray: nothing in it is executed."""

import fnmatch
import json
import math
from dataclasses import dataclass
from typing import Any

from rich.text import Text

from .storage import Storage

EXPERIMENT = "experiment_state-*.json"
ERROR, TERMINATED, PENDING = "ERROR", "TERMINATED", "PENDING"  # as Ray calls them
NOT_STARTED = "not started"  # METRIC_GOAL, or another limit of the whole, was reached before


@dataclass
class SavedTrial:
    """One trial of a saved state.

    number: in the order in which they were sampled, from 0
    folder: below the experiment's
    parameters: what was chosen for it, by name, as it is now; config: all that it is given
    last: its last result; analysis: each metric's max, min, avg, last, last-5-avg, last-10-avg
    error_file: in its folder; None without a failure
    """

    id: str
    number: float
    status: str
    folder: str
    parameters: dict[str, Any]
    config: dict[str, Any]
    last: dict[str, Any]
    analysis: dict[str, dict[str, float]]
    error_file: str | None

    @property
    def iterations(self) -> int:
        """Results so far."""
        return int(self.last.get("training_iteration", 0))

    def score(self, metric: str, mode: str, scope: str) -> float:
        """What a metric is of the trial, by SCOPE; NaN when it has reported none."""
        value = self.analysis.get(metric, {}).get(mode if scope == "all" else scope)
        return math.nan if value is None else float(value)


def newest(storage: Storage, name: str) -> str | None:
    """The newest state file of the experiment; None when there is none."""
    return max(fnmatch.filter(storage.files(name), EXPERIMENT), default=None)


def trials(storage: Storage, name: str) -> list[SavedTrial]:
    """The trials of the newest state, in the order in which they were sampled.

    Empty when nothing has been saved. Raises ValueError when it can't be read.
    """
    file = newest(storage, name)
    if file is None:
        return []
    try:
        pairs = json.loads(storage.read(name, file) or b"")["trial_data"]
        read = [_trial(json.loads(trial), json.loads(run)) for trial, run in pairs]
    except (ValueError, KeyError, TypeError):
        raise ValueError(f"the state of {name!r} is damaged: {file} can't be read") from None
    return sorted(read, key=lambda trial: (trial.number, trial.id))


def _trial(trial: dict[str, Any], run: dict[str, Any]) -> SavedTrial:
    number = str(trial["experiment_tag"]).partition("_")[0]
    return SavedTrial(
        id=trial["trial_id"],
        number=int(number) if number.isdecimal() else math.inf,
        status=trial["status"],
        folder=trial["relative_logdir"],
        parameters=tuned(trial["config"], trial["evaluated_params"]),
        config=trial["config"],
        last=run.get("last_result") or {},
        analysis=run.get("metric_analysis") or {},
        error_file=run.get("error_filename"),
    )


def tuned(config: dict[str, Any], sampled: dict[str, Any]) -> dict[str, Any]:
    """The hyperparameters that were sampled, as they are now: SCHEDULER=pbt changes them.

    sampled: by name, `outer/inner` for what is nested
    """
    now = _flat(config)
    return {name: now.get(name, value) for name, value in sampled.items() if name != "seed"}


def _flat(config: dict[str, Any], above: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in config.items():
        found |= _flat(value, f"{above}{key}/") if isinstance(value, dict) else {above + key: value}
    return found


def plain(text: str) -> str:
    """An error's text without the colours that Ray gave it for the terminal of the run."""
    return Text.from_ansi(text).plain


def word(status: str, last: dict[str, Any], metric: str, iterations: int, running: bool) -> str:
    """How a trial ended, or where it is, in a word or two.

    status, last: Ray's word for it, and the trial's last result
    iterations: MAX_ITERATIONS; a trial that ended before was stopped by its metric
    running: whether a run is at work in the experiment
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
