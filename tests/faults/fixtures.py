"""Fixtures of the tests that break things: a generated project, and a folder to run it in."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import OUTSIDE, with_cookiecutter
from tests.faults.project import Project, install, plant, using


@pytest.fixture(scope="session")
def installed(template: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A generated project whose model has faults to switch on, and its Python."""
    source = with_cookiecutter(template, tmp_path_factory.mktemp("faults"), {}).project
    cache = OUTSIDE.get("UV_CACHE_DIR", f"{OUTSIDE['HOME']}/.cache/uv")
    python = install(source, {**os.environ, "UV_CACHE_DIR": cache})
    plant(source)
    return source, python


@pytest.fixture
def project(installed: tuple[Path, Path], tmp_path: Path) -> Iterator[Project]:
    with using(*installed, tmp_path, FAULT_SLEEP="0.2") as project:
        yield project
