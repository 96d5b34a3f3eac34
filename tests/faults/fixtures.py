"""Fixtures of the tests that run a generated project: it, a folder to run it in, and Ray."""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import with_cookiecutter
from tests.faults.project import PACKAGE, Project, plant, seal, using


@pytest.fixture(scope="session")
def installed(template: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A generated project whose model has faults to switch on, and a Python that can run it.

    That is the template's own, which has all that a generated project depends on.
    """
    source = with_cookiecutter(template, tmp_path_factory.mktemp("faults"), {}).project
    plant(source)
    journal = source / "src" / PACKAGE / "harness/run/journal.py"
    # However loaded the machine is, a kill costs one checkpoint interval: no entry is left out.
    journal.write_text(f"{journal.read_text()}\nSHARE = 1\n")
    seal(source)
    return source, Path(sys.executable)


@pytest.fixture(scope="session")
def cluster(
    installed: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """The address of a small Ray that runs as long as this process: its start is half of a run."""
    with using(*installed, tmp_path_factory.mktemp("cluster")) as project:
        run = project.start_program(
            *(Path(__file__).with_name("one_node.py"), project.scratch / "ray"),
            RAY_AUTH_MODE="disabled",
            RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER="0",  # so that it listens on 127.0.0.1 alone
            RAY_raylet_start_wait_time_s="300",
        )
        yield run.until(lambda: re.search(r"cluster at (\S+)\n", run.said))[1]
        run.process.terminate()
        run.wait(60)


@pytest.fixture
def project(
    installed: tuple[Path, Path], tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[Project]:
    """A project to run: with a Ray of its own each time, unless a test is marked `shared_ray`."""
    shared = request.node.get_closest_marker("shared_ray")
    cluster = request.getfixturevalue("cluster") if shared else ""
    with using(*installed, tmp_path, cluster=cluster, FAULT_SLEEP="0.2") as project:
        yield project
