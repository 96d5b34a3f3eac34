"""The harness is a library: it imports nothing above itself, and its packages stand in an order."""

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT, TREE
from tests.sums import sums

PACKAGE = ROOT / TREE / "src/{{cookiecutter.package_name}}"
HARNESS = PACKAGE / "harness"
# A module imports what stands before it, and its neighbours. `run` and `results` are on one level.
ORDER = (
    {"errors", "ray_environment", "work_tree"},
    {"setting_types"},
    {"settings"},
    {"project"},
    {"configuration"},
    {"store"},
    {"data"},
    {"tune"},
    {"run", "results"},
    {"trackers"},
    {"cli"},
)
LEVEL = {name: level for level, names in enumerate(ORDER) for name in names}


def modules() -> dict[str, Path]:
    """Return each module of the harness by its dotted name, `store.lock` for one.

    An answer brings `{{cookiecutter.__wandb_file}}`, which is wandb.py then.
    """
    found = {}
    for path in [*HARNESS.rglob("*.py"), *HARNESS.rglob("{{cookiecutter.__*_file}}")]:
        name = re.sub(r".*\.__(\w+)_file}}$", r"\1", path.name.removesuffix(".py"))
        parts = path.relative_to(HARNESS).with_name(name).parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imported(name: str, path: Path) -> Iterator[str]:
    """Yield what a module imports of the project, by dotted name; `^` is what is above.

    It looks into functions and under TYPE_CHECKING, too.
    """
    known = modules()
    package = name.split(".") if path.name == "__init__.py" else name.split(".")[:-1]
    package = [part for part in package if part]
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level:
            up = node.level - 1
            if up > len(package):
                yield f"^{node.module or node.names[0].name}"
                continue
            base = [*package[: len(package) - up], *(node.module or "").split(".")]
            base = [part for part in base if part]
            for alias in node.names:
                full = ".".join([*base, alias.name])
                yield full if full in known else ".".join(base)


def test_nothing_above_the_harness_is_imported() -> None:
    everything = {name: {*imported(name, path)} for name, path in modules().items()}
    assert not {n for n, its in everything.items() if any(i.startswith("^") for i in its)}


def test_packages_import_what_stands_before_them() -> None:
    wrong = set()
    for name, path in modules().items():
        own = name.split(".")[0]
        for package in {other.split(".")[0] for other in imported(name, path)} - {own, ""}:
            if not package.startswith("^") and LEVEL[package] >= LEVEL[own]:
                wrong.add((name, package))
    assert not wrong


def test_there_are_no_circles() -> None:
    uses = {name: {*imported(name, path)} & modules().keys() for name, path in modules().items()}
    while leaves := [name for name, its in uses.items() if not its & uses.keys() - {name}]:
        for leaf in leaves:
            del uses[leaf]
    assert not uses


def test_no_module_is_long() -> None:
    lines = {name: len(path.read_text("utf-8").splitlines()) for name, path in modules().items()}
    assert {name: count for name, count in lines.items() if count > 270} == {}
    assert len(list(HARNESS.glob("*.py"))) <= 8


def test_rays_private_parts_are_imported_in_one_place() -> None:
    found = set()
    for name, path in modules().items():
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("ray"):
                names = [*(node.module or "").split("."), *(alias.name for alias in node.names)]
                if any(part.startswith("_") for part in names):
                    found.add(name)
    assert found == {"tune.ray_internals"}


def test_every_module_that_is_imported_is_there() -> None:
    known = {*modules(), ""}
    assert {
        (name, other)
        for name, path in modules().items()
        for other in imported(name, path)
        if other not in known and not other.startswith("^")
    } == set()


HEAVY = {"ray", "pandas", "optuna", "plotly", "rich"}
STORE = [name for name in modules() if name.partition(".")[0] == "store"]


@pytest.mark.parametrize(
    ("names", "absent"),
    [
        (["errors", "settings", "project"], {*HEAVY, "numpy", "pyarrow"}),
        (["cli", "configuration"], {*HEAVY, "numpy", "pyarrow"}),
        (["store.record", "store.differences"], HEAVY),
        ([*STORE, "data"], {"ray"}),
    ],
    ids=["settings", "commands", "records", "store"],
)
def test_what_an_import_does_not_wait_for(names: list[str], absent: set[str]) -> None:
    """`list`, `config` and `--help` answer at once."""
    imports = "; ".join(f"import harness.{name}" for name in names)
    done = subprocess.run(
        [sys.executable, "-B", "-c", f"{imports}; import sys; print(*sys.modules)"],
        env={**os.environ, "PYTHONPATH": str(PACKAGE)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert {*done.stdout.split()} & absent == set()


def test_a_project_knows_what_harness_was() -> None:
    message = "harness/ has changed: `python -m tests.sums` writes its digests anew"
    assert (HARNESS / "sha256sums.txt").read_text("utf-8") == sums(HARNESS), message


def test_the_harness_knows_no_project() -> None:
    """Nothing in it is filled in: it is the same in each project."""
    marks = re.compile(r"\{\{|\{%|\{#|cookiecutter|ray_tune_experiment|\bEXPERIMENT_\w")
    for path in filter(Path.is_file, HARNESS.rglob("*")):
        if path.suffix != ".pyc":
            assert not marks.findall(path.read_text("utf-8")), path
