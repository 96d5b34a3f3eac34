"""What a sweep of each framework takes, against Ray alone; and what too many threads cost.

    python -m benchmarks.frameworks [--rounds 3]

Whole commands take turns, in one run, with this Python; each figure is a median of seconds.

- For each framework, the project's `run` of 8 trials x 3 iterations against a script that does
  nothing but call `tune.run` with the same Trainable, actors reused.
- For each framework, two trials at a time on the CPUs of this machine: each with the threads that
  the project gives it (half of the CPUs), and each with four times the machine's CPUs, as when a
  library is left to count the cores of a larger machine that a container shares.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.sweep import BARE, PACKAGE, TEMPLATE, seconds

FRAMEWORKS = ("scikit-learn", "PyTorch", "XGBoost", "LightGBM")
MOST = 1.1  # times a bare tune.run
# Trains one model for some steps in two processes at once, each with so many threads.
TRIAL = f"""
import os, sys
threads = sys.argv[1]
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
for _ in range(20):
    model.fit_step()
"""


def rendered(folder: Path, framework: str) -> Path:
    """Generate a project of a framework. Returns its folder."""
    words = ("--no-input", "-o", str(folder / framework), f"framework={framework}")
    command = [sys.executable, "-m", "cookiecutter", str(TEMPLATE), *words]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return folder / framework / "ray-tune-experiment"


def two_at_once(project: Path, threads: int) -> float:
    """Train in two processes at once. Returns how long both took, imports aside."""
    trials = [
        subprocess.Popen(
            [sys.executable, "-c", TRIAL, str(threads)],
            cwd=project,
            env={**os.environ, "PYTHONPATH": str(project / "src")},
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
    return time.monotonic() - start


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    rounds, python = parser.parse_args(argv).rounds, Path(sys.executable)
    cpus, missed = os.cpu_count() or 2, False
    run = ("-m", PACKAGE, "run", "--max-iterations", "3", "--storage-path", "STORAGE")
    bare = ("-c", BARE, "reuse", "STORAGE")
    with tempfile.TemporaryDirectory() as folder:
        for framework in FRAMEWORKS:
            project = rendered(Path(folder), framework)
            seconds(project, *bare, python=python)  # compile the bytecode, fill the disk's cache
            ours, ray, own, many = [], [], [], []
            for _ in range(rounds):
                ours.append(seconds(project, *run, python=python))
                ray.append(seconds(project, *bare, python=python))
                own.append(two_at_once(project, max(1, cpus // 2)))
                many.append(two_at_once(project, 4 * cpus))
            of = {name: statistics.median(values) for name, values in
                  {"ours": ours, "ray": ray, "own": own, "many": many}.items()}  # fmt: skip
            ratio = of["ours"] / of["ray"]
            missed |= ratio > MOST
            print(
                f"{framework:12} run {of['ours']:6.2f} s, bare tune.run {of['ray']:6.2f} s:"
                f" {ratio:.2f} (at most {MOST})"
            )
            print(
                f"{'':12} two trials, own threads {of['own']:6.2f} s, {4 * cpus} threads each"
                f" {of['many']:6.2f} s: {of['many'] / of['own']:.2f} times"
            )
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
