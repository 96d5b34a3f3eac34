"""One run from beginning to end: check, lock, tune, write down how it ended, say it."""

import contextlib
import signal
import sys
from typing import Any

import ray
from ray.tune.analysis import ExperimentAnalysis
from ray.tune.tune_config import ResumeConfig

from ...settings import PREFIX, Settings
from ...stopper import make_stopper
from ...tune_run import tune_run
from ..configuration import Configuration, Refusal, as_text, without_password
from ..store import dataset, lock
from ..store import saved_trials as saved
from ..store.record import FILE, HALF, STOPPING, Record
from ..store.storage import Storage
from ..tune.stopping import SavedStopper, current_stopper
from . import journal
from . import resume as state
from .exports import NoCheckpoint, TrialExports
from .outcome import again, counted, failed_trials, place, print_best, print_failures
from .preflight import Preflight, ResourceCallback, check, check_content
from .progress import ProgressLines
from .signals import Interrupted, SignalCallback, exit_code

DONE, TRIAL_FAILED = 0, 1
LIMITS = {  # of the whole experiment, by the stopper that knows each
    "GoalStopper": "metric_goal",
    "ExperimentPlateauStopper": "plateau_trials",
    "TimeBudgetStopper": "time_budget_s",
}
RESUME, SKIP = ResumeConfig.ResumeType.RESUME, ResumeConfig.ResumeType.SKIP


def prepare(configuration: Configuration) -> Preflight:
    """Check everything, and complete the settings of a resume. Raises Refusal with all findings."""
    ready = check(configuration)
    record = None if ready.findings else ready.record
    if record is not None:
        restored = record.restore_settings(configuration)
        configuration.settings = restored.settings
        configuration.origins = restored.origins
    check_content(configuration, ready)
    if record is not None:
        ready.findings += _may_go_on(configuration.settings, record, ready)
    ready.raise_findings()
    return ready


def _may_go_on(settings: Settings, record: Record, ready: Preflight) -> list[str]:
    """What speaks against going on with the experiment under these settings, on these data."""
    findings, now = record.differences(settings, ready.space), ready.described
    if now is not None and (difference := dataset.difference(record.content["data"], now)):
        findings.append(difference)
    limits = record.limits_changed(settings)
    if settings.resume == "extend":
        samples = record.content["settings"]["num_samples"]["value"]
        if settings.scheduler == "hyperband":
            findings.append(
                "extend: hyperband has laid out its brackets for the limits that there were;"
                f" --points-to-evaluate {settings.name}:5 begins anew with the best five trials"
            )
        if not limits:
            findings.append("extend needs a limit to raise: --num-samples, --max-iterations, …")
        findings += [
            f"extend: {limit} would end the experiment again at once; change it too"
            for limit in _reached(settings, record)
        ]
        if settings.num_samples < samples:
            findings.append(f"{samples} trials are sampled already; --num-samples can only grow")
        if settings.into and not _may_copy(record.storage, settings.into):
            findings.append(
                f"--into={settings.into!r}: exists already; give another name, or `extend"
                f" {settings.into}` goes on with it"
            )
    else:
        findings += [f"{limit}; `extend` goes on with other limits" for limit in limits]
    return findings


def _longer(settings: Settings, record: Record) -> bool:
    """Whether completed trials go on, under new rules of when to stop."""
    was = record.content["settings"]
    now = settings.model_dump(mode="json")
    return settings.resume == "extend" and any(
        was[k]["value"] != now[k] for k in STOPPING if k in was
    )


def _reached(settings: Settings, record: Record) -> list[str]:
    """The limits that the experiment has reached, and that end all of it."""
    make_stopper(settings)
    saved_stopper = state.saved_stopper(record.storage, record.name)
    stopper = current_stopper()
    if stopper is None or not isinstance(saved_stopper, SavedStopper):  # a team's own
        return []
    saved_stopper.hand_over()
    return [_limit(settings, name) for name in stopper.reached()]


def _limit(settings: Settings, stopper: str) -> str:
    """The setting that a stopper is made of, with its value; a team's own is named itself."""
    field = LIMITS.get(stopper)
    return f"{PREFIX}{field.upper()}={as_text(getattr(settings, field))}" if field else stopper


def _print_stopped(settings: Settings, analysis: ExperimentAnalysis) -> list[str]:
    """Say what ended the experiment before all its trials. Returns the limits."""
    stopper = current_stopper()
    limits = [_limit(settings, name) for name in (stopper.stopped_by if stopper else [])]
    if limits:
        never = sum(not trial.last_result.get("training_iteration") for trial in analysis.trials)
        print(f"Stopped by {', '.join(limits)}; {counted(never, 'trial')} had not started.")
    return limits


def _resume_config(settings: Settings) -> ResumeConfig | None:
    """Which trials go on, for Ray."""
    if settings.resume == "false":
        return None
    return ResumeConfig(
        finished=SKIP,  # type: ignore[arg-type]  # Ray's annotation is off; see state.settle
        unfinished=RESUME,  # type: ignore[arg-type]
        errored=RESUME if settings.resume == "errored" else SKIP,  # type: ignore[arg-type]
    )


def _may_copy(storage: Storage, into: str) -> bool:
    """Whether there is nothing yet, or only a copy that was cut off."""
    there = {entry for entry in storage.files(into) if not lock.is_lock(entry)}
    return not there or (HALF in there and FILE not in there)


def _copied(settings: Settings, record: Record) -> Record:
    """The copy that `extend --into` goes on with; it names its parent.

    Its record comes last: without it, it is no experiment. Raises Refusal when the storage fails.
    """
    storage, into = record.storage, str(settings.into)
    try:
        for entry, info in storage.files(into).items():  # of a copy that was cut off
            if not lock.is_lock(entry) and entry != HALF:
                (storage.delete if info.is_file else storage.delete_folder)(into, entry)
        storage.write(record.name.encode(), into, HALF)
        for entry in storage.files(record.name):
            if not lock.is_lock(entry) and entry != FILE:
                storage.copy(record.name, entry, into=into)
        copied = Record(storage, into, {**record.content, "name": into, "parent": record.name})
        copied.save()
        storage.delete(into, HALF)
    except OSError as error:
        raise Refusal(
            f"--into={into!r}: {without_password(str(error))}; the same command copies anew"
        ) from None
    settings.name, settings.into = into, None
    return copied


def run_experiment(configuration: Configuration) -> int:
    """Run the experiment NAME, or go on with it. Returns the exit code."""
    signals = SignalCallback()
    try:
        return _run(configuration, signals)
    except (Interrupted, SystemExit) as ended:  # Ray makes a SystemExit of SIGTERM while it starts
        number = ended.number if isinstance(ended, Interrupted) else int(ended.code or 0)
        print("Interrupted before the first trial: nothing has been run.", flush=True)
        return exit_code(number)


def _run(configuration: Configuration, signals: SignalCallback) -> int:
    ready = prepare(configuration)
    settings, storage, data = configuration.settings, ready.storage, ready.data
    assert storage is not None
    assert ready.described is not None  # or it had been refused; the data themselves may be None
    with contextlib.ExitStack() as stack:
        held = stack.enter_context(lock.locked(storage, str(settings.name)))
        record, resume_config = ready.record, None
        now = Record.load(storage, str(settings.name))
        if (now and now.content) != (record and record.content):
            raise Refusal(f"{settings.name!r} was run by another process meanwhile; start again")
        if record is None:
            record = Record.new(storage, configuration, ready.space, ready.points, ready.described)
        elif not state.has_trials(storage, record.name):
            print(f"Nothing had been saved of {record.name}: it starts from the beginning.")
        else:
            if settings.into is not None:
                held = stack.enter_context(lock.locked(storage, settings.into))
                record = _copied(settings, record)
            try:
                finished = _settle(storage, record, configuration)
            except Refusal:
                if record is not ready.record:
                    storage.delete_folder(record.name)
                raise
            if finished:
                print(finished)
                return DONE
            resume_config = _resume_config(settings)
        record.start_run(configuration)
        _print_start(settings, ready)
        callbacks = [
            signals,
            state.HoldCallback(held),
            journal.JournalCallback(storage, record.name, resumes=resume_config is not None),
            ResourceCallback(settings.resources_per_trial, settings.wait_for_resources),
        ]
        state.save_whole_states()
        signals.block()
        try:
            with ProgressLines(settings) as progress:
                callbacks += progress.callbacks()
                analysis = tune_run(
                    settings, data, ready.points, resume_config, callbacks, progress
                )
            held.keep()
            state.complete(storage, record.name, analysis.trials)
        except lock.LockLost as lost:  # the record is the other run's
            print(f"error: {lost}", file=sys.stderr)
            return TRIAL_FAILED
        except (Refusal, Interrupted, SystemExit):  # before the first trial
            if len(record.content["runs"]) == 1 and not state.exists(storage, record.name):
                storage.delete_folder(record.name)
            else:
                record.end_run("ended before the first trial")
            raise
        except BaseException as error:
            with contextlib.suppress(OSError):
                record.end_run(f"ended by {type(error).__name__}: {error}")
            if (failure := _storage_failure(storage, error)) is None:
                raise
            print(_storage_failed(storage, failure, configuration))
            return TRIAL_FAILED
        finally:
            signals.finish()
            signals.unblock()
        exports = TrialExports(storage, settings, data)
        return _finish(record, analysis, configuration, signals, exports)


def _settle(storage: Storage, record: Record, configuration: Configuration) -> str | None:
    """Bring the saved state in order. Returns what to say when there is nothing left to run."""
    if file := state.damaged(storage, record.name):
        raise Refusal(f"the state of {record.name!r} is damaged: {file} can't be read")
    resume = configuration.settings.resume
    longer = _longer(configuration.settings, record)
    new_stopper = (lambda: make_stopper(configuration.settings)) if longer else None
    state.settle(storage, record.name, errored=resume == "errored", longer=new_stopper)
    trials = saved.trials(storage, record.name)
    run = record.content["runs"][-1]
    complete = run["outcome"] in {"done", "trials failed"}
    if resume == "extend":
        samples = record.content["settings"]["num_samples"]["value"]
        drawn = complete and not run.get("stopped_by")
        over = all(trial.status in {saved.TERMINATED, saved.ERROR} for trial in trials)
        if drawn and over and configuration.settings.num_samples == samples:
            raise Refusal("extend: every trial has reached these limits; nothing would run")
        return None
    failed = [trial for trial in trials if trial.status == saved.ERROR]
    if not complete or (failed and resume == "errored"):
        return None
    retry = ""
    if failed:
        retry = f"\nFailed trials again: {again('run', configuration, '--resume', 'errored')}"
    more_samples = str(2 * configuration.settings.num_samples)
    more = again("extend", configuration, "--num-samples", more_samples)
    return (
        f"{record.name} is finished: {len(trials)} trials, {len(failed)} failed.{retry}\n"
        f"More trials, or longer ones: {more}"
    )


def _print_start(settings: Settings, ready: Preflight) -> None:
    if settings.verbose == 0:
        return
    notes = "".join(f", {note}" for note in ready.notes)
    print(
        f"{settings.name}: {counted(ready.trials, 'trial')} of at most"
        f" {counted(settings.max_iterations, 'iteration')}{notes}.\nCtrl-C saves and ends.",
        flush=True,
    )


def _finish(
    record: Record,
    analysis: ExperimentAnalysis,
    configuration: Configuration,
    signals: SignalCallback,
    exports: TrialExports,
) -> int:
    """Write down and print how the run ended. Returns the exit code."""
    settings = configuration.settings
    failed, no_export = failed_trials(analysis), {}
    print_failures(analysis, settings)
    if signals.received is None:
        no_export = _complete_exports(exports, analysis, signals)
    received = signals.received
    if settings.verbose or failed or no_export:
        print()
    facts: dict[str, Any] = {
        "stopped_by": _print_stopped(settings, analysis),
        "trials": len(analysis.trials),
        "failed": [trial.trial_id for trial in failed],
        "best": print_best(analysis, settings, record.tuned),
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
            journal.forget(record.storage, record.name)
    except OSError as error:
        print(_storage_failed(record.storage, error, configuration))
        saved, code = False, code or TRIAL_FAILED
    print(f"Results in {place(settings)}")
    if saved and facts["best"] is not None:
        print(f"Report: {again('report', configuration)}")
        print(f"Export the best: {again('export', configuration)}")
    if saved and outcome.startswith(("interrupted", "exports")):
        print(f"Go on with: {again('run', configuration, '--resume')}")
    elif failed:
        print(f"Again: {again('run', configuration, '--resume', 'errored')}")
    else:
        print(f"Look again: {again('show', configuration)}")
    return code


def _complete_exports(
    exports: TrialExports, analysis: ExperimentAnalysis, signals: SignalCallback
) -> dict[str, Exception]:
    """Export the models that are missing. Returns, by trial, why one could not be, and says so."""
    count, failed = exports.complete(analysis.trials, lambda: signals.received is not None)
    if count:
        print(f"Exported {counted(count, 'missing model')} from the last checkpoints")
    for trial_id, error in failed.items():
        kind = "" if isinstance(error, NoCheckpoint) else f"{type(error).__name__}: "
        print(f"Trial {trial_id} has no exported model: {kind}{error}")
    return failed


def _storage_failure(storage: Storage, error: BaseException) -> OSError | None:
    """The storage's failure behind an error of Ray, if it is one."""
    if isinstance(error, OSError):
        return error
    try:
        storage.probe()
    except OSError as failure:
        return failure
    return None


def _storage_failed(storage: Storage, error: Exception, configuration: Configuration) -> str:
    command = again("run", configuration, "--resume", "errored")
    return (
        f"{without_password(storage.path)}: {error}. What was saved before is kept; once the"
        f" storage is mended, go on with: {command}"
    )
