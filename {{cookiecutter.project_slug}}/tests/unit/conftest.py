"""A Trainable without Ray: `ExperimentTrainable(config).train()`."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from ray.tune.trainable import trainable as ray_trainable

from {{cookiecutter.package_name}}.data import Data, load_data
from {{cookiecutter.package_name}}.trainable import ExperimentTrainable

CONFIG = {"hidden_units": 32, "learning_rate": 0.01, "l2": 1e-4, "batch_size": 64, "seed": 0}


@pytest.fixture(scope="session")
def data() -> Data:
    return load_data()


@pytest.fixture
def make_trainable(
    data: Data, empty_folder: Any, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., ExperimentTrainable]]:
    """Makes trainables whose working folders are the test's own; by default, of a good config."""
    monkeypatch.setattr(ray_trainable, "DEFAULT_STORAGE_PATH", str(empty_folder))

    class WithData(ExperimentTrainable):
        def setup(self, config: dict[str, Any], data: Data | None = data) -> None:
            super().setup(config, data)

    made: list[ExperimentTrainable] = []

    def make(**changes: Any) -> ExperimentTrainable:
        made.append(WithData({**CONFIG, **changes}))
        return made[-1]

    yield make
    for trainable in made:
        trainable.stop()
