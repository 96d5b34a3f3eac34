"""One tiny sweep for all experiment tests, run by the command that users type."""

import subprocess
import sys
from pathlib import Path

import pytest

from {{cookiecutter.package_name}}.harness.results import Experiment, open_experiment
from {{cookiecutter.package_name}}.project import PROJECT

FLAGS = ["--name", "tiny", "--num-samples", "3", "--max-iterations", "3"]


@pytest.fixture(scope="session")
def storage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("storage")


@pytest.fixture(scope="session")
def experiment(clean_environment: None, storage: Path) -> Experiment:
    command = [sys.executable, "-m", PROJECT.package, "run", *FLAGS, "--storage-path", str(storage)]
    done = subprocess.run(command, cwd=storage, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    return open_experiment(PROJECT, "tiny", str(storage))


@pytest.fixture
def folder(experiment: Experiment) -> Path:
    return Path(experiment.experiment_path)
