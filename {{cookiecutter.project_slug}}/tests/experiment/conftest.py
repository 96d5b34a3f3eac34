"""One small Ray for all experiment tests, ended with them; and one tiny sweep."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import ray
from ray.tune.analysis import ExperimentAnalysis

from {{cookiecutter.package_name}}.harness.tune.ray_environment import quiet_ray
from {{cookiecutter.package_name}}.settings import Settings
from {{cookiecutter.package_name}}.tune_run import tune_run


@pytest.fixture(scope="session")
def one_ray(clean_environment: None) -> Iterator[None]:
    """`tune.run` starts Ray in the first test; a Ray that a failed test leaves ends here."""
    quiet_ray(verbose=1)
    yield
    ray.shutdown()


@pytest.fixture(scope="session")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    storage = tmp_path_factory.mktemp("storage")
    return Settings(storage_path=str(storage), name="tiny", num_samples=3, max_iterations=3)


@pytest.fixture(scope="session")
def analysis(one_ray: None, settings: Settings) -> ExperimentAnalysis:
    return tune_run(settings)


@pytest.fixture
def folder(analysis: ExperimentAnalysis) -> Path:
    return Path(analysis.experiment_path)
