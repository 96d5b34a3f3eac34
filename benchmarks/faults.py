"""The soak: a sweep is killed at random moments and resumed, again and again, until it is done.

    python -m benchmarks.faults [--tries 60] [--seed N]

Each experiment is broken until it completes, by signals to the driver (alone, or to its process
group as a terminal and a scheduler do) and by killing a trial's worker; the kinds take turns, in a
random order. When it is done it is compared with one that nobody disturbed. Prints a Markdown
table; exit code 1 if more was lost than is promised: completed trials stay as they are, a running
one loses at most the iterations since its last checkpoint (one an epoch here, so that an interval
is an epoch), and tables and best result are those of the undisturbed run.
"""

import argparse
import random
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.conftest import ROOT, with_cookiecutter
from tests.faults.kill import Moment, check_end
from tests.faults.project import Experiment, Project, Run, install, plant, using

SAMPLES, ITERATIONS, EPOCH_S = 6, 15, 0.25
SWEEP = ("--num-samples", SAMPLES, "--max-iterations", ITERATIONS, "--max-failures", -1)
SECONDS_OF_A_RUN = 6.0  # until when, after its first epoch, a run may be struck
EARLY = 0.15  # how many of the faults strike before the first epoch

FAULTS: dict[str, tuple[signal.Signals, bool]] = {
    "SIGINT to the process group (Ctrl-C)": (signal.SIGINT, True),
    "SIGTERM to the process group": (signal.SIGTERM, True),
    "SIGTERM to the driver": (signal.SIGTERM, False),
    "SIGKILL of the driver": (signal.SIGKILL, False),
}
WORKER = "SIGKILL of a trial's worker"


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
    """Wait until the run trains. False: it ended before."""
    while epochs(project) <= more_than:
        if run.process.poll() is not None:
            return False
        time.sleep(0.05)
    return True


def turns(chance: random.Random) -> Iterator[str]:
    """Every kind of fault as often as the others."""
    while True:
        yield from chance.sample([*FAULTS, WORKER], len(FAULTS) + 1)


def strike(
    run: Run, project: Project, experiment: Experiment, chance: random.Random, fault: str, row: Row
) -> Moment | None:
    """Let a fault strike a run at a random moment. None: it has ended before."""
    early = fault != WORKER and chance.random() < EARLY
    if early:
        time.sleep(chance.uniform(0, 12))
    elif not reached(run, project, epochs(project)):
        return None
    else:
        time.sleep(chance.uniform(0, SECONDS_OF_A_RUN))
    running = [w[-1] for w in project.workers().values() if w[-1] in run.processes()]
    if run.process.poll() is not None or (fault == WORKER and not running):
        return None
    row.early += early
    if fault == WORKER:
        run.kill_process(chance.choice(running))
        return Moment.now(project, experiment)
    number, group = FAULTS[fault]
    run.kill(number, group=group)
    code = run.wait()
    codes = {-number} if number == signal.SIGKILL else {128 + number}
    if not run.said:  # our handlers are not there yet
        codes.add(-number)
    if "Best of" in run.said:  # it was about to end anyway
        codes.add(0)
    assert code in codes, f"{fault}: exit code {code}, and said:\n{run.said}"
    left = run.gone()
    assert not left, f"{fault}: left running: {left}"
    return Moment.now(project, experiment)


def soak_once(
    project: Project,
    whole: Experiment,
    chance: random.Random,
    faults: Iterator[str],
    rows: Rows,
    name: str,
) -> None:
    """Run one experiment to its end through all that happens to it."""
    experiment = project.experiment(name)
    struck: list[tuple[str, Moment]] = []
    fault, run = next(faults), None
    while True:
        if run is None:
            exists = (experiment.folder / "experiment.json").exists()
            run = project.start("run", "--name", name, *(["--resume"] if exists else SWEEP))
        moment = strike(run, project, experiment, chance, fault, rows[fault])
        if moment is not None:
            struck.append((fault, moment))
            fault = next(faults)
        if moment is None or run.process.poll() == 0:
            code = run.wait()
            assert code == 0, f"ended with {code}:\n{run.said}"
            break
        if run.process.poll() is not None:
            run = None
    try:
        check_end(experiment, whole, ITERATIONS)
        same = True
    except AssertionError as error:
        print(f"{name}: {error}", file=sys.stderr)
        same = False
    for fault, moment in struck:
        row = rows[fault]
        row.tries += 1
        row.same.append(same)
        for loss in moment.losses(project):
            if loss.completed or loss.epochs > 1:
                print(f"{name}: {fault}: {loss}", file=sys.stderr)
            row.completed_again += loss.completed
            row.epochs_again = max(row.epochs_again, loss.epochs)


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
    parser.add_argument("--tries", type=int, default=60)
    parser.add_argument("--seed", type=int, default=random.randrange(2**32))
    options = parser.parse_args(argv)
    chance = random.Random(options.seed)
    print(f"seed {options.seed}", file=sys.stderr)
    rows: Rows = {fault: Row() for fault in (*FAULTS, WORKER)}
    faults = turns(chance)
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        source = with_cookiecutter(ROOT, scratch / "project", {}).project
        python = install(source)
        plant(source)
        (scratch / "whole").mkdir()
        with using(source, python, scratch / "whole") as undisturbed:
            undisturbed.run("run", "--name", "x", *SWEEP)
        whole = Experiment(scratch / "whole/results/x")
        count = 0
        while sum(row.tries for row in rows.values()) < options.tries:
            count += 1
            work = scratch / f"work{count}"
            work.mkdir()
            with using(source, python, work, FAULT_SLEEP=str(EPOCH_S)) as project:
                soak_once(project, whole, chance, faults, rows, f"x{count}")
            print_table(rows)
    sound = all(
        all(row.same) and not row.completed_again and row.epochs_again <= 1 for row in rows.values()
    )
    print(f"nothing lost beyond a checkpoint interval: {'yes' if sound else 'no'}")
    return 0 if sound else 1


if __name__ == "__main__":
    sys.exit(main())
