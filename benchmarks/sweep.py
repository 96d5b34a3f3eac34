"""How long a generated project's sweep and tests take, against what Ray alone needs for the same.

    python -m benchmarks.sweep [--rounds 3]

A project is generated and installed once. Then whole commands take turns, in one run, and every
figure is a median of seconds:

- the project's `run` of 8 trials x 3 iterations, against a script that does nothing but call
  `tune.run` with the same Trainable and the same checkpoints, actors reused; and against the same
  script as Ray has it by default, with a new actor for each trial;
- `check`, the preflight of a run, against the imports that it needs, and its seconds;
- the unit tests, against a bare `import ray.tune`;
- all tests, against a bare `ray.init` with one tiny sweep.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.faults.project import python_path

TEMPLATE = Path(__file__).parents[1]
PACKAGE = "ray_tune_experiment"
LONGEST_CHECK = 2.0  # seconds, on an idle machine

BARE = """
import sys
from ray import tune
from ray_tune_experiment.data import load_data
from ray_tune_experiment.search_space import search_space
from ray_tune_experiment.settings import Settings
from ray_tune_experiment.trainable import ExperimentTrainable
settings = Settings()
tune.run(
    tune.with_parameters(ExperimentTrainable, data=load_data(settings)),
    config={**search_space(), "seed": 42}, num_samples=8,
    stop={"training_iteration": int(sys.argv[3])},
    metric=settings.metric, mode=settings.mode, storage_path=sys.argv[2], verbose=0,
    checkpoint_config=tune.CheckpointConfig(
        checkpoint_frequency=1, num_to_keep=2, checkpoint_at_end=True,
        checkpoint_score_attribute=settings.metric, checkpoint_score_order=settings.mode,
    ),
    reuse_actors=sys.argv[1] == "reuse",
)
"""
TINY = """
import sys
import ray
from ray import tune
ray.init()
class Trainable(tune.Trainable):
    def step(self):
        return {"score": 1}
tune.run(
    Trainable, num_samples=1, stop={"training_iteration": 1}, storage_path=sys.argv[1], verbose=0
)
"""


def generate(folder: Path, *answers: str) -> Path:
    """Generate a project. Returns its folder."""
    words = ("--no-input", "-o", str(folder), str(TEMPLATE), *answers)
    command = [sys.executable, "-m", "cookiecutter", *words]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return folder / "ray-tune-experiment"


def install(folder: Path) -> Path:
    """Generate the default project and install it. Returns its folder."""
    project = generate(folder)
    subprocess.run(["make", "install"], cwd=project, check=True, capture_output=True)
    return project


def seconds(project: Path, *command: str, python: Path | None = None) -> float:
    """Run a command of the project's environment to its end. Returns how long it took.

    python: another Python, which imports the project from its folder
    """
    with tempfile.TemporaryDirectory() as storage:
        words = [word.replace("STORAGE", storage) for word in command]
        env = {k: v for k, v in os.environ.items() if not k.startswith(("EXPERIMENT_", "RAY_"))}
        start = time.monotonic()
        done = subprocess.run(
            [str(python or project / ".venv/bin/python"), *words],
            cwd=project,
            env={**env, "PYTHONPATH": python_path(project)} if python else env,
            capture_output=True,
            text=True,
        )
        taken = time.monotonic() - start
    if done.returncode:
        sys.exit(f"{' '.join(words)} failed:\n{done.stdout}\n{done.stderr}")
    return taken


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args(argv).rounds
    sweep = ("-m", PACKAGE, "run", "--max-iterations", "3", "--storage-path", "STORAGE")
    commands = {
        "the project's run": sweep,
        "bare tune.run, actors reused": ("-c", BARE, "reuse", "STORAGE", "3"),
        "bare tune.run, Ray's default": ("-c", BARE, "default", "STORAGE", "3"),
        "check": ("-m", PACKAGE, "check"),
        "import ray.tune and the model": ("-c", f"import ray.tune, {PACKAGE}.model"),
        "unit tests": ("-m", "pytest", "-q", "tests/unit"),
        "import ray.tune": ("-c", "import ray.tune"),
        "all tests": ("-m", "pytest", "-q"),
        "ray.init and a tiny sweep": ("-c", TINY, "STORAGE"),
    }
    with tempfile.TemporaryDirectory() as folder:
        project = install(Path(folder))
        for command in commands.values():  # compile the bytecode, fill the disk's cache
            seconds(project, *command)
        taken: dict[str, list[float]] = {name: [] for name in commands}
        for _ in range(rounds):
            for name, command in commands.items():
                taken[name].append(seconds(project, *command))
    median = {name: statistics.median(values) for name, values in taken.items()}
    for name, value in median.items():
        print(f"{name:30} {value:7.2f} s")
    missed = False
    for name, peer, most in (
        ("the project's run", "bare tune.run, actors reused", 1.1),
        ("the project's run", "bare tune.run, Ray's default", 0.5),
        ("check", "import ray.tune and the model", 1.3),
        ("unit tests", "import ray.tune", 3.0),
        ("all tests", "ray.init and a tiny sweep", 3.0),
    ):
        ratio = median[name] / median[peer]
        missed |= ratio > most
        print(f"{name} / {peer}: {ratio:.2f} (at most {most})")
    print(f"check: {median['check']:.2f} s (at most {LONGEST_CHECK} s)")
    return int(missed or median["check"] > LONGEST_CHECK)


if __name__ == "__main__":
    sys.exit(main())
