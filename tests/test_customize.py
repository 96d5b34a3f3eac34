"""Each change that docs/customize.md shows is made in a generated project, and works there."""

import json
import os
import re
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT, with_cookiecutter

PAGE = (ROOT / "docs/customize.md").read_text("utf-8")
SECTIONS = {text.partition("\n")[0]: text for text in PAGE.split("\n## ")[1:]}
TASK = "Another task"  # touches three files, and is a project of its own
DATABASE = "/data/flowers.db"
STOPPED = """
from ray_tune_experiment.settings import Settings
from ray_tune_experiment.stopper import make_stopper
stopper, metrics = make_stopper(Settings()), dict.fromkeys(Settings.METRICS, 0.5)
assert not stopper("a", {**metrics, "training_iteration": 1})
assert stopper("a", {**metrics, "training_iteration": 2, "training_loss": 0.0001})
"""

Edits = dict[str, list[tuple[str, str]]]  # of each file: what was there, and what is there then


def edits(section: str) -> Edits:
    """What a section changes, by file. `@@ name.py @@` begins a file, `@@` another place in it."""
    found: Edits = {}
    for block in re.findall(r"```diff\n(.*?)```", section, re.DOTALL):
        assert block.startswith("@@ "), block
        file = ""
        for hunk in re.split(r"^@@", block, flags=re.MULTILINE)[1:]:
            head, _, body = hunk.partition("\n")
            file = head.strip(" @") or file
            lines = [line or " " for line in body.splitlines()]
            was = "".join(f"{line[1:]}\n" for line in lines if line[0] != "+")
            now = "".join(f"{line[1:]}\n" for line in lines if line[0] != "-")
            found.setdefault(file, []).append((was, now))
    return found


@pytest.fixture(scope="module", params=["additions", TASK])
def changed(
    request: pytest.FixtureRequest, template: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, Path]:
    """A project with every addition, or one with another task."""
    folder = tmp_path_factory.mktemp("changed")
    project = with_cookiecutter(template, folder, {}).project
    names = [TASK] if request.param == TASK else [name for name in SECTIONS if name != TASK]
    for name in names:
        for file, places in edits(SECTIONS[name]).items():
            path = project / "src/ray_tune_experiment" / file
            text = path.read_text("utf-8")
            for was, now in places:
                assert f"\n{text}".count(f"\n{was}") == 1, f"{file}:\n{was}"
                text = text.replace(was, now, 1)
            path.write_text(text, "utf-8")
    python(project, "-m", "ruff", "check", "src")
    python(project, "-m", "ruff", "format", "--check", "src")
    data = project / "src/ray_tune_experiment/data.py"
    data.write_text(data.read_text("utf-8").replace(DATABASE, str(folder / "flowers.db")), "utf-8")
    with sqlite3.connect(folder / "flowers.db") as database:
        database.execute("CREATE TABLE flowers (length REAL, colour TEXT, species TEXT)")
        rows = [(n, "red" if n % 3 else "blue", "ab"[n > 40]) for n in range(80)]
        database.executemany("INSERT INTO flowers VALUES (?, ?, ?)", rows)
    database.close()
    return request.param, project


def python(project: Path, *words: str) -> str:
    """Run this Python in a project. Returns what it printed."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("EXPERIMENT_")}
    done = subprocess.run(
        [sys.executable, *words],
        cwd=project,
        env={**env, "PYTHONPATH": str(project / "src")},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def test_an_addition_is_short_and_in_one_file() -> None:
    for name in SECTIONS.keys() - {TASK}:
        (places,) = edits(SECTIONS[name]).values()
        new = [line for was, now in places for line in now.splitlines() if line not in was]
        assert len([line for line in new if line]) < 10, name


def test_a_changed_project_works(changed: tuple[str, Path]) -> None:
    """With the tests that are not about the digits."""
    kind, project = changed
    program = ("-m", "ray_tune_experiment")
    python(project, *program, "docs")
    tests = [f"tests/unit/test_{name}.py" for name in ("settings", "stopper", "trainable")]
    python(project, "-m", "pytest", *tests)
    if kind == TASK:
        assert "Ready to run" in python(project, *program, "check")
        return
    python(project, "-c", STOPPED)
    flags = ("--name", "small", "--num-samples", "2", "--max-iterations", "2", "--max-rows", "60")
    printed = python(project, *program, "run", *flags)
    assert len(re.findall(r"trained \d+\.\d s", printed)) == 2
    folder = project / "results/small"
    record = json.loads((folder / "experiment.json").read_text("utf-8"))
    assert record["settings"]["max_rows"] == {"value": 60, "origin": "flag"}
    assert record["data"]["description"] == "the table flowers"
    assert list(folder.glob("search_gen_state-*.json"))  # none for draws at random
