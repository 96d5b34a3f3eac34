"""The soak: a sweep is killed at random moments and resumed, again and again, until it is done.

    python -m benchmarks.faults [--tries 40] [--seed N]

Each experiment is broken until it completes, by signals to the driver (alone, or to its process
group as a terminal and a scheduler do) and by killing a trial's worker. When it is done it is
compared with one that nobody disturbed. Prints a Markdown table; exit code 1 if anything was lost
beyond what is promised: completed trials stay as they are, a running one goes on from its last
checkpoint (one an epoch here, so that an interval is an epoch; the saved state may be a second
older), and the best result is that of the undisturbed run.
"""

import argparse
import random
import signal
import sys
import tempfile
import time
from collections import defaultdict
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
    beyond: int = 0  # of these, at most, saved in a checkpoint that the state did not know
    same: list[bool] = field(default_factory=list)  # the experiment ended as the undisturbed one


def epochs(project: Project) -> int:
    return sum(map(len, project.trace().values()))


def reached(run: Run, project: Project, more_than: int) -> bool:
    """Wait until the run trains. False: it ended before."""
    while epochs(project) <= more_than:
        if run.process.poll() is not None:
            return False
        time.sleep(0.05)
    return True


def strike(
    run: Run, project: Project, experiment: Experiment, chance: random.Random, rows: dict[str, Row]
) -> list[tuple[str, Moment]]:
    """Break one run, at most twice: a worker may go before the driver does."""
    struck: list[tuple[str, Moment]] = []
    fault = chance.choice(list(FAULTS))
    number, group = FAULTS[fault]
    early = chance.random() < EARLY
    if early:
        time.sleep(chance.uniform(0, 12))
    else:
        if not reached(run, project, epochs(project)):
            return struck
        time.sleep(chance.uniform(0, SECONDS_OF_A_RUN / 2))
        running = [w[-1] for w in project.workers().values() if w[-1] in run.processes()]
        if running and chance.random() < 0.4:
            run.kill_process(chance.choice(running))
            struck.append((WORKER, Moment.now(project, experiment)))
        time.sleep(chance.uniform(0, SECONDS_OF_A_RUN / 2))
    if run.process.poll() is None:
        rows[fault].early += early
        run.kill(number, group=group)
        code = run.wait()
        if code not in (0, 128 + number, -number):
            print(f"{fault}: exit code {code}, and said:\n{run.said}", file=sys.stderr)
        left = run.gone()
        if left:
            print(f"{fault}: left running: {left}", file=sys.stderr)
        struck.append((fault, Moment.now(project, experiment)))
    return struck


def soak_once(
    project: Project, whole: Experiment, chance: random.Random, rows: dict[str, Row], name: str
) -> None:
    """Run one experiment to its end through all that happens to it."""
    experiment = project.experiment(name)
    struck: list[tuple[str, Moment]] = []
    while True:
        exists = (experiment.folder / "experiment.json").exists()
        flags = ["--resume"] if exists else SWEEP
        run = project.start("run", "--name", name, *flags)
        struck += strike(run, project, experiment, chance, rows)
        if run.process.poll() == 0 or (run.process.poll() is None and run.wait() == 0):
            break
        if run.process.returncode not in (130, 143, -signal.SIGKILL, -signal.SIGTERM):
            raise AssertionError(f"ended with {run.process.returncode}:\n{run.said}")
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
            row.completed_again += loss.completed
            row.epochs_again = max(row.epochs_again, loss.epochs)
            row.beyond = max(row.beyond, loss.beyond)


def print_table(rows: dict[str, Row]) -> None:
    columns = (
        "fault",
        "tries",
        "of these before the first epoch",
        "completed trials lost or run again",
        "epochs trained again, at most, of one trial",
        "ended as the undisturbed sweep",
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
    parser.add_argument("--tries", type=int, default=40)
    parser.add_argument("--seed", type=int, default=random.randrange(2**32))
    options = parser.parse_args(argv)
    chance = random.Random(options.seed)
    print(f"seed {options.seed}", file=sys.stderr)
    rows: dict[str, Row] = defaultdict(Row)
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
                soak_once(project, whole, chance, rows, f"x{count}")
            print_table(rows)
    bound = 2 + round(1.0 / EPOCH_S)  # an interval, what was being trained, and a second of state
    sound = all(
        all(row.same) and not row.completed_again and row.epochs_again <= bound
        for row in rows.values()
    )
    print(f"nothing lost beyond a checkpoint interval and a second: {'yes' if sound else 'no'}")
    return 0 if sound else 1


if __name__ == "__main__":
    sys.exit(main())
