"""What a run prints when it is over: the failed, the best, and where to go on."""

import contextlib
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import ray
from ray.tune.analysis import ExperimentAnalysis
from ray.tune.experiment import Trial

from ...settings import Settings
from ..configuration import Configuration, as_flags, program, without_password
from ..store.saved_trials import plain
from ..tune.space import chosen
from ..tune.space import plain as as_saved


def best_trial(analysis: ExperimentAnalysis, settings: Settings) -> Trial | None:
    """The trial with the best finite METRIC, by MODE and SCOPE; None when no trial has one."""
    best = analysis.get_best_trial(settings.metric, settings.mode, scope=settings.scope)
    return best if best and math.isfinite(score(best, settings)) else None


def score(trial: Trial, settings: Settings) -> float:
    """What METRIC is of a trial, by MODE and SCOPE; NaN when it has reported none."""
    known = trial.metric_analysis.get(settings.metric, {})
    return float(known.get(settings.mode if settings.scope == "all" else settings.scope, math.nan))


def failed_trials(analysis: ExperimentAnalysis) -> list[Trial]:
    return [trial for trial in analysis.trials if trial.status == Trial.ERROR]


def place(settings: Settings, trial: Trial | None = None) -> str:
    """Where an experiment is kept, or one of its trials."""
    parts = [settings.storage_path, settings.name, trial.relative_logdir if trial else None]
    return "/".join(str(part).rstrip("/") for part in parts if part)


def cause(trial: Trial) -> str:
    """The traceback of a failed trial, as far as the storage gives it."""
    if ray.is_initialized():  # while it runs: not yet copied to the storage
        with contextlib.suppress(OSError, AttributeError):
            return plain(Path(str(trial.error_file)).read_text(errors="replace").rstrip())
    try:
        return plain(str(trial.get_error() or "no cause known").rstrip())
    except OSError as error:
        return f"its traceback can't be read from the storage: {error}"


def print_failures(analysis: ExperimentAnalysis, settings: Settings) -> None:
    """Each failed trial's log, and its own traceback, once for each kind: Ray names only trials."""
    told: dict[str, str] = {}
    for trial in failed_trials(analysis):
        text, name = cause(trial), trial.trial_id
        like = told.setdefault(text.splitlines()[-1], name)
        how = "failed" if like == name else f"failed like {like}"
        print(f"\nTrial {name} {how}; its log is in {place(settings, trial)}")
        if like == name:
            print(text)


def print_best(
    analysis: ExperimentAnalysis, settings: Settings, names: Sequence[str]
) -> dict[str, Any] | None:
    """Print the best configuration and its metric. Returns them, None without a finite metric.

    names: those of the hyperparameters
    """
    best = best_trial(analysis, settings)
    if best is None:
        print(f"No trial reported a finite {settings.metric}: there is no best configuration.")
        return None
    best_value = score(best, settings)
    trials = counted(len(analysis.trials), "trial")
    best_of = f"Best of {trials}: {settings.metric} {best_value:.4f}"
    last = f"{best.last_result.get(settings.metric, math.nan):.4f}"
    print(best_of if best_of.endswith(last) else f"{best_of}, {last} in its last iteration")
    for name, value in chosen(best.config, names).items():
        print(f"  {name} = {value:.4g}" if isinstance(value, float) else f"  {name} = {value}")
    print(f"  in {place(settings, best)}")
    return {
        "trial": best.trial_id,
        settings.metric: best_value,
        "config": as_saved(best.config),
    }


def counted(number: int, what: str) -> str:
    """A number of things: "1 trial", "2 trials"."""
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def again(command: str, configuration: Configuration, *flags: str) -> str:
    """A command about this experiment, as one types it."""
    settings = configuration.settings
    name = [str(settings.name)] if command != "run" else ["--name", str(settings.name)]
    repeated: list[str] = []
    for field in sorted(configuration.overridden - {"name", "resume", "into", "storage_path"}):
        if command in {"run", "extend"}:  # a variable would win over what the run had by its flag
            repeated += as_flags(field, getattr(settings, field))
    return program(command, *name, *flags, *repeated, *storage_flags(settings))


def storage_flags(settings: Settings) -> list[str]:
    """The flag that leads to the storage, unless it is the default in this folder."""
    default = str(Path(Settings.model_fields["storage_path"].get_default()).resolve())
    path = without_password(settings.storage_path)
    return [] if path == default else ["--storage-path", path]
