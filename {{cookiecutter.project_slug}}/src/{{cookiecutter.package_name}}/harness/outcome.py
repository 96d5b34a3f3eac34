"""What a run prints at its end."""

import shlex
from pathlib import Path
from typing import Any

from ray.tune.analysis import ExperimentAnalysis
from ray.tune.experiment import Trial

from ..settings import Settings


def best_trial(analysis: ExperimentAnalysis, settings: Settings) -> Trial | None:
    """The trial with the best finite METRIC in any iteration; None when no trial has one."""
    return analysis.get_best_trial(settings.metric, settings.mode, scope="all")


def failed_trials(analysis: ExperimentAnalysis) -> list[Trial]:
    return [trial for trial in analysis.trials if trial.status == Trial.ERROR]


def print_failures(analysis: ExperimentAnalysis) -> None:
    """Each failed trial's log, and its own traceback: Ray names only the trial."""
    for trial in failed_trials(analysis):
        print(f"\nTrial {trial.trial_id} failed; its log is in {trial.path}")
        print(str(trial.get_error() or "no cause known").rstrip())


def print_best(analysis: ExperimentAnalysis, settings: Settings) -> dict[str, Any] | None:
    """Print the best configuration and its metric. Returns them, None without a finite metric."""
    best = best_trial(analysis, settings)
    if best is None:
        print(f"\nNo trial reported a finite {settings.metric}: there is no best configuration.")
        return None
    value = best.metric_analysis[settings.metric][settings.mode]
    print(f"\nBest of {len(analysis.trials)} trials: {settings.metric} {value:.4f}")
    for name, chosen in best.evaluated_params.items():
        print(f"  {name} = {chosen:.4g}" if isinstance(chosen, float) else f"  {name} = {chosen}")
    print(f"  in {best.path}")
    return {
        "trial": best.trial_id,
        settings.metric: value,
        "config": {k: v for k, v in best.config.items() if isinstance(v, str | int | float | bool)},
    }


def again(prog: str, command: str, settings: Settings, *flags: str) -> str:
    """A command about this experiment, as one types it."""
    default = str(Path(Settings.model_fields["storage_path"].get_default()).resolve())
    place = [] if settings.storage_path == default else ["--storage-path", settings.storage_path]
    name = [str(settings.name)] if command != "run" else ["--name", str(settings.name)]
    return shlex.join([prog, command, *name, *flags, *place])
