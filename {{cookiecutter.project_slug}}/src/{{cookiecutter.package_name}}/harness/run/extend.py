"""`--resume` and `extend`: whether an experiment can be resumed, and whether trials are left."""

from ..configuration import Configuration
from ..errors import Refusal, reason
from ..setting_types import as_text
from ..settings import RunSettings
from ..store import dataset, saved_trials
from ..store.differences import STOPPING, differences, limits_changed
from ..store.lock import is_lock
from ..store.record import FILE, HALF, Record
from ..store.storage import Folder
from ..tune.stopping import SavedStopper, current_stopper
from . import resume
from .preflight import Preflight

LIMITS = {  # of the whole experiment: stopper and setting
    "GoalStopper": "metric_goal",
    "ExperimentPlateauStopper": "plateau_trials",
    "TimeBudgetStopper": "time_budget_s",
}


def limit(settings: RunSettings, stopper: str) -> str:
    """The setting behind a stopper, with its value; for a team's own stopper, its name."""
    field = LIMITS.get(stopper)
    return f"{settings.variable(field)}={as_text(getattr(settings, field))}" if field else stopper


def why_not_resumed(ready: Preflight, record: Record) -> list[str]:
    """Why the experiment can't be resumed with these settings, on these data."""
    settings = ready.settings
    findings, now = differences(record, settings, ready.space), ready.described
    if now is not None and (difference := dataset.difference(record.content["data"], now)):
        findings.append(difference)
    limits = limits_changed(record, settings)
    if settings.resume != "extend":
        return [*findings, *(f"{it}; `extend` resumes with other limits" for it in limits)]
    if settings.scheduler == "hyperband":
        findings.append(
            "extend: hyperband can't change the limits that its brackets were made for;"
            f" --points-to-evaluate {settings.name}:5 starts again with the best five trials"
        )
    if not limits:
        findings.append("extend needs a limit to raise: --num-samples, --max-iterations, …")
    findings += [
        f"extend: {limit(settings, name)} would end the experiment again at once; change it too"
        for name in _reached(ready, record)
    ]
    samples = record.setting("num_samples")
    if settings.num_samples < samples:
        findings.append(f"{samples} trials are sampled already; --num-samples can only grow")
    if settings.into and ready.storage and not _is_free(ready.storage / settings.into):
        findings.append(
            f"--into={settings.into!r}: exists already; give another name, or `extend"
            f" {settings.into}` resumes it"
        )
    return findings


def _reached(ready: Preflight, record: Record) -> list[str]:
    """The class names of the stoppers that would end the experiment at once."""
    ready.parts.make_stopper(ready.settings)
    saved, stopper = resume.saved_stopper(record.folder), current_stopper()
    if stopper is None or not isinstance(saved, SavedStopper):  # a team's own
        return []
    saved.hand_over()
    return stopper.reached()


def _is_free(into: Folder) -> bool:
    """Whether the folder is empty, or has only an incomplete copy."""
    there = {entry for entry in into.files() if not is_lock(entry)}
    return not there or (HALF in there and FILE not in there)


def copied(record: Record, into: Folder) -> Record:
    """Make the copy that `extend --into` resumes. Its record names the parent.

    The record is written last: without it, the folder is not an experiment. Raises Refusal when the
    storage fails.
    """
    try:
        for entry in into.files():  # of an incomplete copy
            if not is_lock(entry) and entry != HALF:
                into.delete(entry)
        into.write(record.name.encode(), HALF)
        for entry in record.folder.files():
            if not is_lock(entry) and entry != FILE:
                record.folder.copy(entry, into)
        copy = Record(into, {**record.content, "name": into.name, "parent": record.name})
        copy.save()
        into.delete(HALF)
    except OSError as error:
        again = "the same command copies it again"
        raise Refusal(f"--into={into.name!r}: {reason(error)}; {again}") from None
    return copy


def reconciled(record: Record, configuration: Configuration) -> str | None:
    """Prepare the saved state for a resume. Returns a message if there is nothing left to run."""
    settings, folder = configuration.settings, record.folder
    if file := resume.damaged(folder):
        raise Refusal(f"the state of {record.name!r} is damaged: {file} can't be read")
    make_stopper = configuration.project.parts().make_stopper
    extends = settings.resume == "extend"
    longer = extends and bool(limits_changed(record, settings, STOPPING))
    resume.reconcile(
        folder,
        errored=settings.resume == "errored",
        longer=(lambda: make_stopper(settings)) if longer else None,
    )
    trials, run = record.trials(), record.last_run
    complete = run["outcome"] in {"done", "trials failed"}
    if extends:
        all_sampled = complete and not run.get("stopped_by")
        ended = all(t.status in {saved_trials.TERMINATED, saved_trials.ERROR} for t in trials)
        if all_sampled and ended and settings.num_samples == record.setting("num_samples"):
            raise Refusal("extend: every trial has reached these limits; nothing would run")
        return None
    failed = sum(trial.status == saved_trials.ERROR for trial in trials)
    if not complete or (failed and settings.resume == "errored"):
        return None
    retry = ""
    if failed:
        retry = f"\nRetry the failed trials: {configuration.again('run', '--resume', 'errored')}"
    more = configuration.again("extend", "--num-samples", str(2 * settings.num_samples))
    return (
        f"{record.name} is finished: {len(trials)} trials, {failed} failed.{retry}\n"
        f"More trials, or longer ones: {more}"
    )
