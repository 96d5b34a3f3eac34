"""Why a trial failed: Ray's own errors name only its id."""

import contextlib
from pathlib import Path

import ray
from ray.tune.experiment import Trial

from ..store.saved_trials import without_colours


def cause(trial: Trial) -> str:
    """The traceback of a failed trial, or why it can't be read."""
    if ray.is_initialized():  # during a run, when it may not be in the storage yet
        with contextlib.suppress(OSError, AttributeError):
            text = Path(str(trial.error_file)).read_text(errors="replace")
            return without_colours(text.rstrip())
    try:
        return without_colours(str(trial.get_error() or "no cause known").rstrip())
    except OSError as error:
        return f"its traceback can't be read from the storage: {error}"


def last_line(trial: Trial) -> str:
    """The last line of a failed trial's traceback: what it raised."""
    return next(reversed(cause(trial).splitlines()), "no cause known")
