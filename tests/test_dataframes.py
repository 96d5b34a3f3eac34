"""The answer Modin: a project that reads its file with Modin, in the one Ray of its run."""

import json
import re
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import OUTSIDE, with_cookiecutter
from tests.faults.bucket import BUCKET, bucket
from tests.faults.project import PACKAGE, Project, install, using

pytestmark = [pytest.mark.ray, pytest.mark.timeout(900)]
SMALL = ("--num-samples", 2, "--max-iterations", 2)
DIGEST = f"""
import json
from {PACKAGE}.data import load_data
from {PACKAGE}.harness.store.dataset import describe
from {PACKAGE}.settings import Settings
print(json.dumps(describe(load_data(Settings()))))
"""


@pytest.fixture(scope="module")
def installed(template: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A project with Modin, and a Python of its own, which has pandas 2."""
    answers = {"dataframes": "Modin"}
    source = with_cookiecutter(template, tmp_path_factory.mktemp("modin"), answers).project
    return source, install(source, OUTSIDE, "pytest>=9.0")


@pytest.fixture
def project(installed: tuple[Path, Path], tmp_path: Path) -> Iterator[Project]:
    with using(*installed, tmp_path, RAY_raylet_start_wait_time_s="300") as project:
        yield project


@pytest.fixture
def rows(project: Project) -> Path:
    """Numbers, texts and gaps, in blocks that look different to who reads a part of the file."""
    lines = [f"{n / 7!r},{'' if n % 5 else n},{'ab'[n % 2]},{n // 600}" for n in range(1200)]
    path = project.folder / "rows.csv"
    path.write_text("\n".join(["size,count,colour,label", *lines, ""]))
    return path


def sessions(project: Project) -> list[Path]:
    """What each start of Ray has left."""
    return list((project.scratch / "ray").glob("session_2*"))


def test_the_unit_tests_pass(project: Project) -> None:
    tests = project.source / "tests/unit"
    run = project.start_program(
        "-m", "pytest", "-q", "-c", project.source / "pyproject.toml", tests
    )
    assert run.wait(600) == 0, run.said
    assert not sessions(project)


def test_without_a_file_nothing_is_started(project: Project) -> None:
    """Nor for one that can't be read: `run_each` sees to that."""
    (project.folder / "empty.csv").touch()
    ended = project.run_each(
        ["check"],
        ["check", "--data-path", "none.csv", "--target", "label"],
        ["check", "--data-path", "empty.csv", "--target", "label"],
    )
    assert [code for code, _ in ended] == [0, 2, 2], ended
    assert "none.csv': No such file or directory" in ended[1][1]
    assert "empty.csv': is empty" in ended[2][1]
    assert not sessions(project)


def test_a_run_has_one_ray(project: Project, rows: Path, template: Path, tmp_path: Path) -> None:
    """It reads a bucket; the trials get the arrays that pandas would have made."""
    with bucket("key", "secret") as s3:
        s3.client.upload_file(str(rows), BUCKET, rows.name)
        data = ("--data-path", f"s3://{BUCKET}/{rows.name}", "--target", "label")
        run = project.start("run", "--name", "x", *SMALL, *data, env=s3.env)
        listening: set[str] = set()
        while run.process.poll() is None:
            listening |= run.listening()
            time.sleep(0.2)
        assert run.wait() == 0, run.said
        assert not run.gone(agents=False)
    assert listening == {"127.0.0.1"}
    assert len(sessions(project)) == 1
    assert not re.search("warning", run.said, re.IGNORECASE)
    record = project.experiment("x").record
    assert [trial.status for trial in project.experiment("x").trials()] == ["TERMINATED"] * 2

    plain = with_cookiecutter(template, tmp_path / "plain", {}).project
    env = {"EXPERIMENT_DATA_PATH": str(rows), "EXPERIMENT_TARGET": "label"}
    with using(plain, Path(sys.executable), tmp_path) as other:
        run = other.start_program("-c", DIGEST, **env)
        assert run.wait() == 0, run.said
        with_pandas = json.loads(run.said.splitlines()[-1])
    assert record["data"]["digest"] == with_pandas["digest"]
    assert record["data"]["arrays"] == with_pandas["arrays"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_while_it_reads(number: signal.Signals, project: Project, rows: Path) -> None:
    data = ("--data-path", rows, "--target", "label")
    run = project.start("run", "--name", "x", *data, "--max-iterations", 1000, *SMALL[:2])
    run.until(lambda: [*project.scratch.glob("ray/session_2*/logs/gcs_server.out")])
    run.kill(number, group=True)
    assert run.wait() == 128 + number, run.said
    assert "Traceback" not in run.said
    assert re.search(r"Interrupted before any trial ran|Resume: ", run.said)
    assert not run.gone(agents=False)


def test_a_file_larger_than_memory(project: Project, rows: Path) -> None:
    module = project.copy_source() / "harness/data/files.py"
    module.write_text(module.read_text() + "\ncheck_memory.__defaults__ = (1e12, None)\n")
    said = project.run("run", "--data-path", rows, "--target", "label", code=2)
    (line,) = said.splitlines()
    assert f"the table of {rows} holds" in line
    assert len(sessions(project)) == 1
