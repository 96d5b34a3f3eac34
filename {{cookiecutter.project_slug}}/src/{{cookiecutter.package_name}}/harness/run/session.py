"""One run from beginning to end: check, lock, tune, record how it ended, print it."""

import contextlib
import signal
import sys

from ray.tune.analysis import ExperimentAnalysis
from ray.tune.tune_config import ResumeConfig

from ..configuration import Configuration
from ..errors import DONE, TRIAL_FAILED, Refusal
from ..settings import RunSettings
from ..store import lock
from ..store.record import Record
from ..store.saved_trials import newest_state
from ..store.storage import Folder
from ..tune.plan import Plan
from ..tune.space import variables
from . import journal, resume
from .exports import TrialExports
from .extend import copied, reconciled, why_not_resumed
from .outcome import finish, storage_failed
from .preflight import Preflight
from .progress import ProgressLines
from .resources import ResourceCallback
from .saving import LockCallback, complete_files
from .signals import Interrupted, SignalCallback, exit_code
from .words import counted

RESUME, SKIP = ResumeConfig.ResumeType.RESUME, ResumeConfig.ResumeType.SKIP


def prepare(configuration: Configuration) -> Preflight:
    """Check everything; restore the settings of a resume. Raises Refusal with all findings."""
    ready = Preflight(configuration)
    ready.check_place()
    record = None if ready.findings else ready.record
    if record is not None:
        restored = record.restored(configuration)
        configuration.settings, configuration.origins = restored.settings, restored.origins
    ready.check_content()
    if record is not None:
        ready.findings += why_not_resumed(ready, record)
    if ready.findings:
        raise Refusal(*ready.findings)
    return ready


def run_experiment(configuration: Configuration) -> int:
    """Run the experiment NAME, or resume it. Returns the exit code."""
    signals = SignalCallback()
    try:
        return _run(configuration, signals)
    except (Interrupted, SystemExit) as ended:
        # Ray raises SystemExit(SIGTERM) for that signal while it starts; others are the team's.
        number = ended.number if isinstance(ended, Interrupted) else signal.SIGTERM
        if isinstance(ended, SystemExit) and ended.code != number:
            raise
        print("Interrupted before any trial ran; no results have changed.", flush=True)
        return exit_code(number)


def _run(configuration: Configuration, signals: SignalCallback) -> int:
    ready = prepare(configuration)
    with contextlib.ExitStack() as stack:
        held = stack.enter_context(lock.locked(ready.folder))
        record, resumes = ready.record, False
        now = Record.load(ready.folder)
        if (now and now.content) != (record and record.content):
            name = ready.folder.name
            raise Refusal(f"{name!r} was run by another process in between; start again")
        if record is None:
            assert ready.described is not None  # else `prepare` has refused
            package = configuration.project.package
            record = Record.new(ready.folder, package, ready.space, ready.points, ready.described)
        elif not resume.has_trials(record.folder):
            print(f"Nothing had been saved of {record.name}: it starts from the beginning.")
        else:
            if into := ready.settings.into:
                assert ready.storage is not None
                held = stack.enter_context(lock.locked(ready.storage / into))
                record = copied(record, ready.storage / into)
                ready.settings.name, ready.settings.into = into, None
            try:
                finished = reconciled(record, configuration)
            except Refusal:
                if record is not ready.record:
                    record.folder.delete()
                raise
            if finished:
                print(finished)
                return DONE
            resumes = True
        record.start_run(configuration)
        _print_start(ready)
        analysis = _tune(ready, record, held, signals, resumes)
        if analysis is None:
            return TRIAL_FAILED
        exports = TrialExports(record.folder, configuration, ready.data)
        return finish(record, analysis.trials, configuration, signals, exports, ready.trials)


def _tune(
    ready: Preflight,
    record: Record,
    held: lock.ExperimentLock,
    signals: SignalCallback,
    resumes: bool,
) -> ExperimentAnalysis | None:
    """Call the project's `tune_run`. None when the storage failed, or the lock was lost."""
    settings, folder = ready.settings, record.folder
    callbacks = [
        signals,
        LockCallback(held),
        journal.JournalCallback(folder, resumes=resumes),
        ResourceCallback(settings),
    ]
    signals.block()
    try:
        with ProgressLines(settings, [*variables(ready.search_space)]) as progress:
            plan = Plan.make(
                ready.configuration.project,
                settings,
                data=ready.data,
                points=ready.points,
                resume_config=_resume_config(settings) if resumes else None,
                callbacks=[*callbacks, *progress.callbacks()],
                progress_reporter=progress,
            )
            analysis: ExperimentAnalysis = ready.parts.tune_run(settings, plan)
        held.keep()
        complete_files(folder, analysis.trials)
    except lock.LockLost as lost:  # the record belongs to the other run
        print(f"error: {lost}", file=sys.stderr)
        return None
    except (Refusal, Interrupted, SystemExit) as ended:  # before the first trial
        if len(record.content["runs"]) == 1 and newest_state(folder) is None:
            folder.delete()
        else:
            record.end_run("ended before the first trial")
            if not isinstance(ended, Refusal):
                print(f"Resume: {ready.configuration.again('run', '--resume')}")
        raise
    except BaseException as error:
        with contextlib.suppress(OSError):
            record.end_run(f"ended by {type(error).__name__}: {error}")
        if (failure := _storage_failure(folder, error)) is None:
            raise
        print(storage_failed(folder, failure, ready.configuration))
        return None
    finally:
        signals.finish()
        signals.unblock()
    return analysis


def _resume_config(settings: RunSettings) -> ResumeConfig:
    """Which trials Ray resumes."""
    return ResumeConfig(
        finished=SKIP,  # type: ignore[arg-type]  # Ray's annotation is off; see resume.reconcile
        unfinished=RESUME,  # type: ignore[arg-type]
        errored=RESUME if settings.resume == "errored" else SKIP,  # type: ignore[arg-type]
    )


def _print_start(ready: Preflight) -> None:
    if ready.settings.verbose:
        notes = "".join(f", {note}" for note in ready.notes)
        print(
            f"{ready.settings.name}: {counted(ready.trials, 'trial')} of at most"
            f" {counted(ready.settings.max_iterations, 'iteration')}{notes}."
            "\nCtrl-C saves and ends.",
            flush=True,
        )


def _storage_failure(folder: Folder, error: BaseException) -> OSError | None:
    """The storage error that caused an error of Ray, if there is one."""
    if isinstance(error, OSError):
        return error
    try:
        folder.probe()
    except OSError as failure:
        return failure
    return None
