"""How long a sweep takes with each framework, against Ray alone; and what too many threads cost.

    python -m benchmarks.frameworks [--rounds 3]

Whole commands take turns, in one run, with this Python; each figure is a median of seconds. For
each framework:

- the project's `run` with its default settings, 8 trials x 10 iterations, against a script that
  only calls `tune.run` with the same Trainable, actors reused;
- two trials at a time on the CPUs of this machine: each with the threads that the project gives it
  (half of the CPUs), and each with four times the machine's CPUs, as when a library in a container
  counts the cores of the whole machine.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.sweep import BARE, PACKAGE, generate, seconds
from tests.faults.project import python_path

FRAMEWORKS = ("scikit-learn", "PyTorch", "XGBoost", "LightGBM")
MOST = 1.1  # times a bare tune.run
# Trains a model. With too many threads, a step of XGBoost takes seconds: few steps then.
TRIAL = f"""
import os, sys
threads, steps = sys.argv[1:]
os.environ["OMP_NUM_THREADS"] = threads
sys.path.insert(0, "tests")
from conftest import CONFIG
from {PACKAGE}.data import load_data
from {PACKAGE}.harness.project import Granted
from {PACKAGE}.model import Model
from {PACKAGE}.settings import Settings
model = Model(CONFIG, load_data(Settings()), Granted(cpus=int(threads), gpus=0, gpu=None))
model.fit_step()
print("ready", flush=True)
sys.stdin.readline()
for _ in range(int(steps)):
    model.fit_step()
"""


def two_at_once(project: Path, threads: int, steps: int) -> float:
    """Train in two processes at once. Returns how long a step took, without the imports."""
    trials = [
        subprocess.Popen(
            [sys.executable, "-c", TRIAL, str(threads), str(steps)],
            cwd=project,
            env={**os.environ, "PYTHONPATH": python_path(project)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    for trial in trials:
        assert trial.stdout
        assert trial.stdout.readline() == "ready\n"
    start = time.monotonic()
    for trial in trials:
        assert trial.stdin
        trial.stdin.write("go\n")
        trial.stdin.flush()
    codes = [trial.wait() for trial in trials]
    assert codes == [0, 0]
    return (time.monotonic() - start) / steps


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    rounds, python = parser.parse_args(argv).rounds, Path(sys.executable)
    cpus, missed = os.cpu_count() or 2, False
    run = ("-m", PACKAGE, "run", "--storage-path", "STORAGE")
    bare = ("-c", BARE, "reuse", "STORAGE", "10")
    with tempfile.TemporaryDirectory() as folder:
        for framework in FRAMEWORKS:
            project = generate(Path(folder, framework), f"framework={framework}")
            seconds(project, *bare, python=python)  # compile the bytecode, fill the disk's cache
            ours, ray, own, many = [], [], [], []
            for _ in range(rounds):
                ours.append(seconds(project, *run, python=python))
                ray.append(seconds(project, *bare, python=python))
                own.append(two_at_once(project, max(1, cpus // 2), steps=20))
                many.append(two_at_once(project, 4 * cpus, steps=2))
            run_s, bare_s, own_s, many_s = map(statistics.median, (ours, ray, own, many))
            missed |= run_s / bare_s > MOST
            print(
                f"{framework:12} run {run_s:6.2f} s, bare tune.run {bare_s:6.2f} s:"
                f" {run_s / bare_s:.2f} (at most {MOST})"
            )
            print(
                f"{'':12} a step of two trials, own threads {own_s:6.3f} s, {4 * cpus} threads each"
                f" {many_s:6.3f} s: {many_s / own_s:.2f} times"
            )
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
