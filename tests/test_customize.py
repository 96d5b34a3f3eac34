"""Each change that docs/customize.md shows is made in a generated project, and works there."""

import json
import re
import sqlite3
from pathlib import Path

import pytest

from tests.conftest import with_cookiecutter
from tests.recipes import edits, make_edits, python, sections

SECTIONS = {name: text for name, text in sections("customize.md").items() if edits(text)}
DATABASE = "/data/flowers.db"
STOPPED = """
from ray_tune_experiment.settings import Settings
from ray_tune_experiment.stopper import make_stopper
stopper, metrics = make_stopper(Settings()), dict.fromkeys(Settings.METRICS, 0.5)
assert not stopper("a", {**metrics, "training_iteration": 1})
assert stopper("a", {**metrics, "training_iteration": 2, "training_loss": 0.0001})
"""


@pytest.fixture(scope="module")
def changed(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with every addition."""
    folder = tmp_path_factory.mktemp("changed")
    project = with_cookiecutter(template, folder, {}).project
    for section in SECTIONS.values():
        make_edits(section, project)
    python(project, "-m", "ruff", "check", "src")
    python(project, "-m", "ruff", "format", "--check", "src")
    data = project / "src/ray_tune_experiment/data.py"
    data.write_text(data.read_text("utf-8").replace(DATABASE, str(folder / "flowers.db")), "utf-8")
    with sqlite3.connect(folder / "flowers.db") as database:
        database.execute("CREATE TABLE flowers (length REAL, colour TEXT, species TEXT)")
        rows = [(n, "red" if n % 3 else "blue", "ab"[n > 40]) for n in range(80)]
        database.executemany("INSERT INTO flowers VALUES (?, ?, ?)", rows)
    database.close()
    return project


def test_an_addition_is_short_and_in_one_file() -> None:
    for name, section in SECTIONS.items():
        (places,) = edits(section).values()
        new = [line for was, now in places for line in now.splitlines() if line not in was]
        assert len([line for line in new if line]) < 10, name


def test_a_changed_project_works(changed: Path) -> None:
    """With the tests that are not about the digits."""
    project, program = changed, ("-m", "ray_tune_experiment")
    python(project, *program, "docs")
    tests = [f"tests/unit/test_{name}.py" for name in ("settings", "stopper", "trainable")]
    python(project, "-m", "pytest", *tests)
    python(project, "-c", STOPPED)
    flags = ("--name", "small", "--num-samples", "2", "--max-iterations", "2", "--max-rows", "60")
    printed = python(project, *program, "run", *flags)
    assert len(re.findall(r"trained \d+\.\d s", printed)) == 2
    folder = project / "results/small"
    record = json.loads((folder / "experiment.json").read_text("utf-8"))
    assert record["settings"]["max_rows"] == {"value": 60, "origin": "flag"}
    assert record["data"]["description"] == "the table flowers"
    assert list(folder.glob("search_gen_state-*.json"))  # none for draws at random
