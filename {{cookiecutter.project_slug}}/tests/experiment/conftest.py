"""One tiny sweep for all experiment tests, started by the command `run`."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from {{cookiecutter.package_name}}.harness.results import Experiment, open_experiment
from {{cookiecutter.package_name}}.project import PROJECT

FLAGS = ["--name", "tiny", "--num-samples", "3", "--max-iterations", "3"]
# Python hides these by default; with this variable the driver and the workers print them.
WARNINGS = {"PYTHONWARNINGS": "default::DeprecationWarning,default::FutureWarning"}


@pytest.fixture(scope="session")
def storage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("storage")


@pytest.fixture(scope="session")
def said(clean_environment: None, storage: Path) -> str:
    """What the command prints."""
    command = [sys.executable, "-m", PROJECT.package, "run", *FLAGS, "--storage-path", str(storage)]
    env = {**os.environ, **WARNINGS}
    done = subprocess.run(
        command, cwd=storage, env=env, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture(scope="session")
def experiment(said: str, storage: Path) -> Experiment:
    return open_experiment(PROJECT, "tiny", str(storage))


@pytest.fixture
def folder(experiment: Experiment) -> Path:
    return Path(experiment.experiment_path)
