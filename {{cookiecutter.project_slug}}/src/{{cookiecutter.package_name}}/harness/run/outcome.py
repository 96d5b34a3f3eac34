"""How a run ended: recorded and printed."""

import math
import signal
from collections.abc import Sequence
from typing import Any

import ray
from ray.tune.experiment import Trial

from ..configuration import Configuration
from ..errors import DONE, TRIAL_FAILED, reason, without_password
from ..settings import RunSettings
from ..store.ranking import Ranking
from ..store.record import Record
from ..store.storage import Folder
from ..tune.failures import cause
from ..tune.space import chosen, plain
from ..tune.stopping import current_stopper
from . import journal
from .exports import NoCheckpoint, TrialExports
from .extend import limit
from .signals import SignalCallback, exit_code
from .words import counted, short


def finish(
    record: Record,
    trials: Sequence[Trial],
    configuration: Configuration,
    signals: SignalCallback,
    exports: TrialExports,
    planned: int,
) -> int:
    """Record and print how the run ended. Returns the exit code.

    planned: how many trials the whole run has; Ray makes some only when others have ended
    """
    settings, folder = configuration.settings, record.folder
    failed, no_export = failed_trials(trials), {}
    print_failures(trials, folder)
    if signals.received is None:
        no_export = _complete_exports(exports, trials, signals)
    received = signals.received
    if settings.verbose or failed or no_export:
        print()
    facts: dict[str, Any] = {
        "stopped_by": _print_stopped(settings, trials, planned),
        "trials": len(trials),
        "failed": [trial.trial_id for trial in failed],
        "best": print_best(trials, Ranking.of(settings), folder, record.tuned),
        "resources": ray.cluster_resources() if ray.is_initialized() else {},
    }
    if received is not None:
        outcome, code = f"interrupted by {signal.Signals(received).name}", exit_code(received)
    elif failed or facts["best"] is None:
        outcome, code = "trials failed", TRIAL_FAILED
    elif any(not isinstance(error, NoCheckpoint) for error in no_export.values()):
        outcome, code = "exports failed", TRIAL_FAILED
    else:
        outcome, code = "done", DONE
    saved = True
    try:
        record.end_run(outcome, **facts)
        if received is None:
            journal.delete(folder)
    except OSError as error:
        print(storage_failed(folder, error, configuration))
        saved, code = False, code or TRIAL_FAILED
    print(f"Results in {folder.path}")
    if saved and facts["best"] is not None:
        print(f"Report: {configuration.again('report')}")
        if configuration.project.parts().trainable.exports():
            print(f"Export the best: {configuration.again('export')}")
    if saved and outcome.startswith(("interrupted", "exports")):
        print(f"Resume: {configuration.again('run', '--resume')}")
    elif failed:
        print(f"Retry the failed trials: {configuration.again('run', '--resume', 'errored')}")
    else:
        print(f"Look again: {configuration.again('show')}")
    return code


def _print_stopped(settings: RunSettings, trials: Sequence[Trial], planned: int) -> list[str]:
    """Print which limits ended the experiment before all its trials ran. Returns them."""
    stopper = current_stopper()
    limits = [limit(settings, name) for name in (stopper.stopped_by if stopper else [])]
    if limits:
        reported = {t.trial_id for t in trials if t.last_result.get("training_iteration")}
        started = reported | {trial.trial_id for trial in failed_trials(trials)}
        never = counted(max(0, planned - len(started)), "trial")
        print(f"Stopped by {', '.join(limits)}; {never} had not started.")
    return limits


def _complete_exports(
    exports: TrialExports, trials: Sequence[Trial], signals: SignalCallback
) -> dict[str, Exception]:
    """Export the missing models. Prints and returns the errors by trial id."""
    count, failed = exports.complete(trials, lambda: signals.received is not None)
    if count:
        print(f"Exported {counted(count, 'missing model')} from the last checkpoints")
    for trial_id, error in failed.items():
        kind = "" if isinstance(error, NoCheckpoint) else f"{type(error).__name__}: "
        print(f"Trial {trial_id} has no exported model: {kind}{error}")
    return failed


def storage_failed(folder: Folder, error: Exception, configuration: Configuration) -> str:
    storage = without_password(folder.path.rpartition("/")[0])
    command = configuration.again("run", "--resume", "errored")
    return (
        f"{storage}: {reason(error)}. What was saved before is kept; once the storage works again,"
        f" resume: {command}"
    )


def failed_trials(trials: Sequence[Trial]) -> list[Trial]:
    return [trial for trial in trials if trial.status == Trial.ERROR]


def print_failures(trials: Sequence[Trial], folder: Folder) -> None:
    """Print where each failed trial's log is, and each traceback once: Ray prints neither."""
    told: dict[str, str] = {}
    for trial in failed_trials(trials):
        text, name = cause(trial), trial.trial_id
        like = told.setdefault(text.splitlines()[-1], name)
        how = "failed" if like == name else f"failed like {like}"
        print(f"\nTrial {name} {how}; its log is in {folder.path}/{trial.relative_logdir}")
        if like == name:
            print(text)


def print_best(
    trials: Sequence[Trial], ranking: Ranking, folder: Folder, names: Sequence[str]
) -> dict[str, Any] | None:
    """Print and return the best configuration and its metric; None without a finite metric.

    names: the hyperparameters
    """
    if not (found := ranking.best(trials)):
        print(f"No trial reported a finite {ranking.metric}: there is no best configuration.")
        return None
    best, score = found[0], ranking.score(found[0])
    best_of = f"Best of {counted(len(trials), 'trial')}: {ranking.metric} {score:.4f}"
    last = f"{best.last_result.get(ranking.metric, math.nan):.4f}"
    print(best_of if best_of.endswith(last) else f"{best_of}, {last} in its last iteration")
    for name, value in chosen(best.config, names).items():
        print(f"  {name} = {short(value)}")
    print(f"  in {folder.path}/{best.relative_logdir}")
    return {"trial": best.trial_id, ranking.metric: score, "config": plain(best.config)}
