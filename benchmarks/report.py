"""How long it takes to open a large experiment and to write its report, and how much memory.

    python -m benchmarks.report [--trials 1000] [--iterations 100]

A project is generated, installed, and runs one tiny sweep. Ray's saved state and the results of its
trials are then multiplied, in the format that Ray writes, into experiments of half as many trials,
as many, and twice as many. Each figure is for a whole process:

- `report`: seconds and peak memory, which should grow linearly, or slower;
- opening it with `open_experiment`, against Ray's ExperimentAnalysis alone.
"""

import argparse
import json
import math
import random
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.sweep import PACKAGE, install

MOST_SECONDS, MOST_MEGABYTES, MOST_RATIO, MOST_GROWTH = 15.0, 1000.0, 1.2, 2.2
METRICS = {"validation_accuracy": 1, "validation_log_loss": -1, "training_loss": -1}

MEASURED = """
import resource, sys, time
start = time.monotonic()
sys.argv = ["{package}", *sys.argv[1:]]
from {package}.__main__ import main
code = main()
print(time.monotonic() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000)
sys.exit(code)
""".replace("{package}", PACKAGE)
OPENED = """
import gc, sys, time
from ray.tune import ExperimentAnalysis
from {package}.harness.results import open_experiment
from {package}.project import PROJECT
PROJECT.parts()
storage, name, rounds = sys.argv[1], sys.argv[2], int(sys.argv[3])
for _ in range(rounds):
    for call in (lambda: ExperimentAnalysis(storage + "/" + name),
                 lambda: open_experiment(PROJECT, name, storage)):
        gc.collect()
        start = time.monotonic()
        call()
        print(time.monotonic() - start)
""".replace("{package}", PACKAGE)


# What `_trial` draws from, as experiment.json has it.
SPACE = {
    "hidden_units": "Categorical[16, 32, 64, 128] Uniform",
    "learning_rate": "Float(1e-05, 0.1) LogUniform",
    "l2": "Float(1e-06, 0.1) LogUniform",
    "batch_size": "Categorical[32, 64, 128] Uniform",
}


def multiply(
    model: Path, into: Path, trials: int, iterations: int, *, troubles: bool = True
) -> Path:
    """Make an experiment of many trials from a small one that Ray has written. Returns its folder.

    model: the folder of an experiment with at least one completed trial
    troubles: one trial in ten fails, and one in three is stopped early
    """
    chance = random.Random(trials)
    into.mkdir(parents=True)
    record = json.loads((model / "experiment.json").read_text())
    record["name"] = into.name
    record["search_space"] = SPACE
    record["settings"]["num_samples"]["value"] = trials
    record["settings"]["max_iterations"]["value"] = iterations
    (into / "experiment.json").write_text(json.dumps(record))
    file = max(model.glob("experiment_state-*.json"))
    state = json.loads(file.read_text())
    pair = next(p for p in state["trial_data"] if json.loads(p[0])["status"] == "TERMINATED")
    row = json.loads((model / json.loads(pair[0])["relative_logdir"] / "result.json").read_text()
                     .splitlines()[-1])  # fmt: skip
    state["trial_data"] = [
        _trial(pair, row, number, iterations, chance, into, troubles) for number in range(trials)
    ]
    (into / file.name).write_text(json.dumps(state))
    return into


def _trial(
    pair: list[str],
    row: dict[str, Any],
    number: int,
    iterations: int,
    chance: random.Random,
    into: Path,
    troubles: bool,
) -> list[str]:
    """One trial: its two parts of the state, and its files in `into`."""
    before = json.loads(pair[0])["trial_id"]
    trial_id = f"{before[:5]}_{number:05d}"
    # The same length as before: the name also stands in pickles, written in hexadecimal.
    texts = [text.replace(before.encode().hex(), trial_id.encode().hex()) for text in pair]
    trial, run = (json.loads(text.replace(before, trial_id)) for text in texts)
    rate = 10 ** chance.uniform(-5, -1)
    config = {
        "hidden_units": chance.choice([16, 32, 64, 128]),
        "learning_rate": rate,
        "l2": 10 ** chance.uniform(-6, -1),
        "batch_size": chance.choice([32, 64, 128]),
    }
    failed = troubles and number % 10 == 7
    stopped = troubles and number % 3 == 2 and not failed
    length = max(1, iterations // 4) if failed or stopped else iterations
    trial["config"].update(config)
    trial["experiment_tag"] = f"{number}_{'_'.join(config)}"
    rows = list(_results(row, trial, rate, length, chance))
    folder = into / trial["relative_logdir"]
    folder.mkdir()
    (folder / "result.json").write_text("".join(json.dumps(result) + "\n" for result in rows))
    if failed:
        trial["status"] = "ERROR"
        run["error_filename"] = "error.txt"
        (folder / "error.txt").write_text("Traceback (most recent call last):\nRuntimeError: no\n")
    run["last_result"] = rows[-1]
    for metric in METRICS:
        values = [result[metric] for result in rows]
        run["metric_analysis"][metric] = {
            "max": max(values),
            "min": min(values),
            "avg": statistics.fmean(values),
            "last": values[-1],
            "last-5-avg": statistics.fmean(values[-5:]),
            "last-10-avg": statistics.fmean(values[-10:]),
        }
    return [json.dumps(trial), json.dumps(run)]


def _results(
    row: dict[str, Any],
    trial: dict[str, Any],
    rate: float,
    length: int,
    chance: random.Random,
) -> Iterator[dict[str, Any]]:
    """Results that rise and level off; they are better near a rate of 0.01."""
    ceiling = 0.98 - 0.06 * abs(math.log10(rate) + 2)
    for iteration in range(1, length + 1):
        accuracy = ceiling * (1 - math.exp(-iteration / (0.15 * length + 1)))
        accuracy += chance.gauss(0, 0.004)
        yield {
            **row,
            "training_iteration": iteration,
            "validation_accuracy": accuracy,
            "validation_log_loss": -math.log(max(accuracy, 0.01)),
            "training_loss": 1.1 - accuracy,
            "time_this_iter_s": 0.5,
            "time_total_s": 0.5 * iteration,
            "done": iteration == length,
            "trial_id": trial["trial_id"],
            "experiment_tag": trial["experiment_tag"],
            "config": trial["config"],
        }


def _process(project: Path, *words: object) -> list[float]:
    """Run the project's Python. Returns the numbers that it printed last."""
    done = subprocess.run(
        [str(project / ".venv/bin/python"), *map(str, words)],
        cwd=project,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        sys.exit(f"{words} failed:\n{done.stdout}\n{done.stderr}")
    return [float(word) for word in done.stdout.split() if word.replace(".", "").isdigit()]


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--iterations", type=int, default=100)
    options = parser.parse_args(argv)
    most, iterations = options.trials, options.iterations
    with tempfile.TemporaryDirectory() as folder:
        project, storage = install(Path(folder)), Path(folder) / "storage"
        _process(
            *(project, "-m", PACKAGE, "run", "--name", "tiny", "--storage-path", storage),
            *("--num-samples", 1, "--max-iterations", 1),
        )
        sizes = [most // 2, most, 2 * most]
        for trials in sizes:
            multiply(storage / "tiny", storage / f"of-{trials}", trials, iterations)
        words = ("--storage-path", storage)
        seconds, megabytes = {}, {}
        for trials in (sizes[0], *sizes):  # the first once more: bytecode and the disk's cache
            *_, seconds[trials], megabytes[trials] = _process(
                project, "-c", MEASURED, "report", f"of-{trials}", *words
            )
        taken = _process(project, "-c", OPENED, storage, f"of-{most}", 3)
    for trials in sizes:
        print(
            f"report of {trials:4} x {iterations} results {seconds[trials]:9.2f} s"
            f" {megabytes[trials]:7.0f} MB"
        )
    growth = seconds[2 * most] / seconds[most]
    ratio = statistics.median(taken[1::2]) / statistics.median(taken[::2])
    print(f"twice the trials: {growth:.2f} times the seconds (at most {MOST_GROWTH})")
    print(f"open_experiment / ExperimentAnalysis: {ratio:.2f} (at most {MOST_RATIO})")
    missed = seconds[most] > MOST_SECONDS or megabytes[most] > MOST_MEGABYTES
    return int(missed or growth > MOST_GROWTH or ratio > MOST_RATIO)


if __name__ == "__main__":
    sys.exit(main())
