"""A finished experiment for the tests of the trackers, run once by the project itself."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = "ray_tune_experiment"
SAMPLES, ITERATIONS = 3, 3
OUTSIDE = ("EXPERIMENT_", "MLFLOW_", "WANDB_")


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The storage path of the experiment x, which had no tracker to tell."""
    folder = tmp_path_factory.mktemp("finished")
    sweep = ("--name", "x", "--num-samples", SAMPLES, "--max-iterations", ITERATIONS)
    words = ("run", *sweep, "--max-concurrent-trials", 1, "--time-budget-s", 3600, "--verbose", 0)
    env = {k: v for k, v in os.environ.items() if not k.startswith((*OUTSIDE, "PYTEST"))}
    done = subprocess.run(
        [sys.executable, "-m", PACKAGE, *map(str, words)],
        cwd=folder,
        env={**env, "WANDB_MODE": "disabled"},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "results"


@pytest.fixture
def storage(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it in the working folder."""
    for name in [name for name in os.environ if name.startswith(OUTSIDE)]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    shutil.copytree(finished / "x", tmp_path / "results/x")
    return tmp_path / "results"
