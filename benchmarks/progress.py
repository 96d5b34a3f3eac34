"""What the display of a run costs: its share of a sweep's time.

    python -m benchmarks.progress [--trials 200] [--iterations 5] [--rounds 3]

A project is generated and installed; then sweeps of many short trials run, in which the driver does
little but take in results: the worst case for a display. A clock measures all that looks at trials
and prints, in the same process as the sweep:

- in a terminal, with VERBOSE=1 (a live line) and VERBOSE=2 (a line for each result, too);
- into a log, with VERBOSE=1.

The same sweep with VERBOSE=0 is measured for comparison.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
from pathlib import Path

import pexpect

from benchmarks.sweep import PACKAGE, install

MOST = 0.02

# Of the thread that draws the live line, CPU time counts: it stops the driver only while it has the
# interpreter. In the driver's own thread, waiting for the terminal counts too.
CLOCKED = """
import json, sys, threading, time
result, verbose = sys.argv.pop(), sys.argv.pop()
sys.argv[1:] += ["--verbose", verbose]
from {package}.harness.ray_environment import quiet_ray
quiet_ray(int(verbose))
from rich.live import Live
from {package}.harness.run import progress
from {package}.__main__ import main as run

within, spent, seen, main = threading.local(), [], [], threading.main_thread()

def clocked(owner, name):
    inner = getattr(owner, name)
    def call(*arguments, **named):
        in_driver = threading.current_thread() is main
        clock = time.perf_counter if in_driver else time.thread_time
        if getattr(within, "display", False):
            return inner(*arguments, **named)
        within.display, start = True, clock()
        try:
            return inner(*arguments, **named)
        finally:
            within.display = False
            spent.append(clock() - start)
            if in_driver:
                seen.append(time.perf_counter())
    setattr(owner, name, call)

for name in ("should_report", "report", "tell", "flush"):
    clocked(progress.ProgressLines, name)
clocked(progress.ResultLines, "on_trial_result")
clocked(Live, "refresh")
start = time.perf_counter()
code = run()
ended = time.perf_counter()
sweep = seen[-1] - seen[0] if len(seen) > 1 else ended - start
with open(result, "w") as file:
    json.dump({"spent": sum(spent), "sweep": sweep, "all": ended - start}, file)
sys.exit(code)
""".replace("{package}", PACKAGE)


def measure(project: Path, sweep: list[str], verbose: int, *, terminal: bool) -> dict[str, float]:
    """Run the sweep once. Returns the seconds spent in the display, of the sweep, and of all."""
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder, "result.json")
        words = [*sweep, "--storage-path", folder, str(verbose), str(result)]
        python = str(project / ".venv/bin/python")
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("EXPERIMENT_", "RAY_"))}
        log = "" if terminal else f" >{folder}/log 2>&1"
        child = pexpect.spawn(
            "/bin/sh",
            ["-c", f'exec "$0" "$@"{log}', python, "-c", CLOCKED, *words],
            cwd=str(project),
            env={**kept, "TERM": "xterm-256color"},
            dimensions=(40, 120),
            timeout=600,
            encoding="utf-8",
            codec_errors="replace",
        )
        child.expect(pexpect.EOF)
        child.close()
        if child.exitstatus:
            sys.exit(f"the sweep ended with {child.exitstatus}:\n{child.before}")
        measured: dict[str, float] = json.loads(result.read_text())
    return measured


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--iterations", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args(argv)
    numbers = ["--num-samples", str(options.trials), "--max-iterations", str(options.iterations)]
    sweep = ["run", *numbers, "--checkpoint-frequency", "0", "--export-formats", "none"]
    cases = {
        "terminal, VERBOSE=1": (1, True),
        "terminal, VERBOSE=2": (2, True),
        "log, VERBOSE=1": (1, False),
        "VERBOSE=0": (0, True),
    }
    shares: dict[str, list[float]] = {name: [] for name in cases}
    seconds: dict[str, list[float]] = {name: [] for name in cases}
    with tempfile.TemporaryDirectory() as folder:
        project = install(Path(folder))
        for _ in range(options.rounds):
            for name, (verbose, terminal) in cases.items():
                measured = measure(project, sweep, verbose, terminal=terminal)
                shares[name].append(measured["spent"] / measured["sweep"])
                seconds[name].append(measured["all"])
    print(f"{options.trials} trials of {options.iterations} iterations:")
    for name, values in shares.items():
        print(
            f"{name:20} {statistics.median(values):7.2%} of the sweep is the display (at most"
            f" {MOST:.0%}); all of it took {statistics.median(seconds[name]):.1f} s"
        )
    return int(max(map(statistics.median, shares.values())) > MOST)


if __name__ == "__main__":
    sys.exit(main())
