"""A Trainable without Ray: `ExperimentTrainable(config).train()`."""

{% if cookiecutter.dataframes == "Modin" -%}
import os
{% endif -%}
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from {{cookiecutter.package_name}}.trainable import ExperimentTrainable
{%- if cookiecutter.dataframes == "Modin" %}

os.environ["MODIN_BACKEND"] = "Pandas"  # in this process, without Ray
{%- endif %}


@pytest.fixture
def make_trainable(
    config: dict[str, Any], data: Any, empty_folder: Path
) -> Iterator[Callable[..., ExperimentTrainable]]:
    """Makes trainables as Ray's workers do, with CONFIG by default."""
    made: list[ExperimentTrainable] = []

    def make(**changes: Any) -> ExperimentTrainable:
        changed = {**config, **changes}
        made.append(ExperimentTrainable.without_ray(changed, data, empty_folder, {"cpu": 1}))
        return made[-1]

    yield make
    for trainable in made:
        trainable.stop()
