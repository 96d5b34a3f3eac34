"""The soak: a sweep is broken at random moments and resumed, until it is done.

    python -m benchmarks.faults [--tries 70] [--seed N]

Each experiment is broken until it completes: by signals to the driver (alone, or to its process
group, as a terminal and a scheduler do), by killing a trial's worker, by killing the driver or a
worker at the moment when it writes a file to the storage path, and, if this user may mount a small
disk, by filling it for some seconds. The kinds of faults take turns, in a random order. The result
is compared with an undisturbed experiment. Prints a Markdown table. The exit code is 1 if a run
ended with a wrong exit code, a process was left, or more was lost than is promised: completed
trials stay as they are, a running one loses at most the iterations since its last checkpoint (one
an epoch here, so that an interval is an epoch), tables and best result are those of the undisturbed
run, and every file of every trial is whole.
"""

import argparse
import contextlib
import random
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.conftest import ROOT, with_cookiecutter
from tests.faults.disk import Disk, small_disk
from tests.faults.kill import Moment, check_end
from tests.faults.project import Experiment, Project, Run, plant, using

SAMPLES, ITERATIONS, EPOCH_S = 6, 15, 0.25
SWEEP = ("--num-samples", SAMPLES, "--max-iterations", ITERATIONS, "--max-failures", -1)
SECONDS_OF_A_RUN = 6.0  # after its first epoch, in which a fault may strike
SECONDS_FULL = 6.0  # at most, that the disk is full
EARLY = 0.15  # share of the signals that strike before the first epoch

FAULTS: dict[str, tuple[signal.Signals, bool]] = {
    "SIGINT to the process group (Ctrl-C)": (signal.SIGINT, True),
    "SIGTERM to the process group": (signal.SIGTERM, True),
    "SIGTERM to the driver": (signal.SIGTERM, False),
    "SIGKILL of the driver": (signal.SIGKILL, False),
}
WORKER = "SIGKILL of a trial's worker"
COPYING = "SIGKILL of the driver while it writes a file"
SAVING = "SIGKILL of a worker while it writes a file"
WRITTEN = {
    COPYING: (
        *("*/experiment_state-*", "*/callback-states-*", "*/basic-variant-state-*"),
        *("*/progress.csv", "*/result.json", "*/params.json", "*/params.pkl", "*/best.json"),
        *("*/newest_checkpoints/*", "*/experiment.json", "*/events.out.*", "*/trial_*/*"),
    ),
    SAVING: ("*/checkpoint_*/*.skops", "*/checkpoint_*/seal.json", "*/model.skops", "*/stdout"),
}
FULL = "disk full for some seconds"
FILLING = "disk full for one kind of file, for some seconds"


@dataclass
class Row:
    """What one kind of fault has cost so far."""

    tries: int = 0
    early: int = 0  # of these, before the first epoch
    completed_again: int = 0
    epochs_again: int = 0  # at most, of one trial
    same: list[bool] = field(default_factory=list)  # the experiment ended as the undisturbed one


Rows = dict[str, Row]


def epochs(project: Project) -> int:
    return sum(map(len, project.trace().values()))


def reached(run: Run, project: Project, more_than: int) -> bool:
    """Wait until the run trains. False: it ended before that."""
    while epochs(project) <= more_than:
        if run.process.poll() is not None:
            return False
        time.sleep(0.05)
    return True


def turns(chance: random.Random, kinds: list[str]) -> Iterator[str]:
    """Every kind of fault as often as the others."""
    while True:
        yield from chance.sample(kinds, len(kinds))


@dataclass
class Sweep:
    """An experiment that is broken."""

    project: Project
    experiment: Experiment
    disk: Disk | None
    chance: random.Random
    rows: Rows
    problems: list[str]


def strike(run: Run, sweep: Sweep, fault: str) -> Moment | None:
    """Let a fault strike a run at a random moment. None: the run ended before that."""
    project, experiment, chance = sweep.project, sweep.experiment, sweep.chance
    early = fault in {*FAULTS, COPYING} and chance.random() < EARLY
    if early:
        time.sleep(chance.uniform(0, 12))
    elif not reached(run, project, epochs(project)):
        return None
    else:
        time.sleep(chance.uniform(0, SECONDS_OF_A_RUN))
    running = project.alive(run)
    if run.process.poll() is not None or (fault == WORKER and not running):
        return None
    sweep.rows[fault].early += early
    if fault == WORKER:
        run.kill_process(chance.choice(running))
        return Moment.now(project, experiment)
    if fault == FULL:
        assert sweep.disk
        sweep.disk.fill()
        time.sleep(chance.uniform(0, SECONDS_FULL))
        sweep.disk.empty()
        return Moment.now(project, experiment)
    if fault == FILLING:
        patterns = [pattern for kind in WRITTEN.values() for pattern in kind]
        project.fault_kill.write_text(f"full {chance.choice(patterns)}")
        time.sleep(chance.uniform(0, SECONDS_FULL))
        project.fault_kill.unlink()
        return Moment.now(project, experiment)
    number, group = FAULTS.get(fault, (signal.SIGKILL, False))
    if fault in WRITTEN:
        if not at_a_file(run, sweep, fault):
            return None
        if run.process.poll() is None:  # a worker was killed
            return Moment.now(project, experiment)
    else:
        run.kill(number, group=group)
    code = run.wait()
    codes = {-number} if number == signal.SIGKILL else {128 + number}
    if not run.said:  # our handlers are not set yet
        codes.add(-number)
    if "Look again" in run.said:  # it was done, and Python may have removed our handlers
        codes |= {0, -number}
    elif "Best of" in run.said:
        codes.add(0)
    if code not in codes:
        sweep.problems.append(f"{fault}: exit code {code}, and said:\n{run.said}")
    if left := run.gone(agents=False):
        sweep.problems.append(f"{fault}: left running: {left}")
    return Moment.now(project, experiment)


def at_a_file(run: Run, sweep: Sweep, fault: str) -> bool:
    """Kill the process that next writes a certain file, before or after the file has its name.

    False: none was written before the run ended.
    """
    when, pattern = sweep.chance.choice(["before", "after"]), sweep.chance.choice(WRITTEN[fault])
    wanted, done = sweep.project.fault_kill, sweep.project.fault_kill.with_suffix(".done")
    done.unlink(missing_ok=True)
    wanted.write_text(f"{when} {pattern}")
    while run.process.poll() is None and not done.exists():
        time.sleep(0.02)
    wanted.unlink()
    if not done.exists():
        return False
    print(f"{fault}: {when} {pattern}", file=sys.stderr)
    if fault == COPYING:
        run.wait()
    return True


def soak_once(sweep: Sweep, whole: Experiment, faults: Iterator[str], name: str) -> None:
    """Run one experiment to its end, through all its faults."""
    project, experiment = sweep.project, sweep.experiment
    struck: list[tuple[str, Moment]] = []
    fault, run = next(faults), None
    while True:
        if run is None:
            exists = (experiment.folder / "experiment.json").exists()
            flags = ("--resume", "errored") if exists else SWEEP
            run = project.start("run", "--name", name, "--min-free-gb", 0, *flags)
        moment = strike(run, sweep, fault)
        if moment is not None:
            struck.append((fault, moment))
            fault = next(faults)
        if moment is None or run.process.poll() == 0:
            code = run.wait()
            is_full = bool(struck) and struck[-1][0] in {FULL, FILLING}
            if code in (1, 2) and is_full and "No space left" in run.said:
                run = None
                continue
            full = any(fault in {FULL, FILLING} for fault, _ in struck)
            if code or ("Traceback" in run.said and not full):
                sweep.problems.append(f"ended with {code}:\n{run.said}")
            break
        if run.process.poll() is not None:
            run = None
    if left := {pid: v for run in project.runs for pid, v in run.gone().items()}:
        sweep.problems.append(f"left running: {left}")
    try:
        check_end(experiment, whole, ITERATIONS)
        same = True
    except AssertionError:
        print(f"{name}: {traceback.format_exc()}", file=sys.stderr)
        same = False
    for fault, moment in struck:
        row = sweep.rows[fault]
        row.tries += 1
        row.same.append(same)
        for loss in moment.losses(project):
            if loss.completed or loss.epochs > 1:
                print(f"{name}: {fault}: {loss}", file=sys.stderr)
            row.completed_again += loss.completed
            row.epochs_again = max(row.epochs_again, loss.epochs)


def may_mount(folder: Path) -> bool:
    """Whether this user may mount a small disk: that needs root."""
    try:
        with small_disk(folder, "1m"):
            return True
    except pytest.skip.Exception:
        return False


def print_table(rows: Rows) -> None:
    columns = (
        "fault",
        "tries",
        "of these before the first epoch",
        "completed trials lost or run again",
        "epochs trained again, at most, of one trial",
        "ended as the undisturbed run",
    )
    print(f"| {' | '.join(columns)} |")
    print("|---|---|---|---|---|---|")
    for fault, row in rows.items():
        print(
            f"| {fault} | {row.tries} | {row.early} | {row.completed_again} |"
            f" {row.epochs_again} | {sum(row.same)} of {len(row.same)} |"
        )


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--tries", type=int, default=70)
    parser.add_argument("--seed", type=int, default=random.randrange(2**32))
    options = parser.parse_args(argv)
    chance = random.Random(options.seed)
    print(f"seed {options.seed}", file=sys.stderr)
    problems: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        source = with_cookiecutter(ROOT, scratch / "project", {}).project
        python = Path(sys.executable)
        plant(source)
        (scratch / "whole").mkdir()
        with using(source, python, scratch / "whole") as undisturbed:
            undisturbed.run("run", "--name", "x", *SWEEP)
        whole = Experiment(scratch / "whole/results/x")
        kinds = [
            *FAULTS,
            WORKER,
            *WRITTEN,
            FILLING,
            *([FULL] if may_mount(scratch / "disk") else []),
        ]
        rows: Rows = {fault: Row() for fault in kinds}
        faults = turns(chance, kinds)
        count = 0
        while sum(row.tries for row in rows.values()) < options.tries:
            count += 1
            work = scratch / f"work{count}"
            work.mkdir()
            with contextlib.ExitStack() as stack:
                disk = None
                if FULL in kinds:
                    disk = stack.enter_context(small_disk(work / "results", "60m"))
                slow = using(source, python, work, FAULT_SLEEP=str(EPOCH_S))
                project, name = stack.enter_context(slow), f"x{count}"
                sweep = Sweep(project, project.experiment(name), disk, chance, rows, problems)
                soak_once(sweep, whole, faults, name)
            print_table(rows)
            sys.stdout.flush()
    for problem in problems:
        print(problem, file=sys.stderr)
    sound = not problems and all(
        all(row.same) and not row.completed_again and row.epochs_again <= 1 for row in rows.values()
    )
    print(f"nothing lost beyond a checkpoint interval: {'yes' if sound else 'no'}")
    return 0 if sound else 1


if __name__ == "__main__":
    sys.exit(main())
