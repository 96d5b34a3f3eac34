"""The harness is a library: it imports nothing above itself, and its packages stand in an order."""

import ast
from collections.abc import Iterator
from pathlib import Path

from tests.conftest import ROOT, TREE

PACKAGE = ROOT / TREE / "src/{{cookiecutter.package_name}}"
HARNESS = PACKAGE / "harness"
# A module imports what stands before it, and its neighbours. `run` and `results` are on one level.
ORDER = (
    {"errors"},
    {"settings"},
    {"project"},
    {"configuration"},
    {"store"},
    {"tune"},
    {"run", "results"},
    {"trackers"},
    {"cli"},
)
LEVEL = {name: level for level, names in enumerate(ORDER) for name in names}


def modules() -> dict[str, Path]:
    """Return each module of the harness by its dotted name, `store.lock` for one."""
    found = {}
    for path in sorted(HARNESS.rglob("*.py")):
        parts = path.relative_to(HARNESS).with_suffix("").parts
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


# What is still to be mended; each list may only become shorter.
ABOVE = {
    "cli.documents",
    "cli.listing",
    "cli.trials",
    "configuration",
    "results.analysis",
    "results.export",
    "results.report",
    "results.study",
    "run.exports",
    "run.outcome",
    "run.preflight",
    "run.progress",
    "run.rehearsal",
    "run.session",
    "store.dataset",
    "store.record",
    "tune.points",
    "tune.search",
}
UPWARD = {"results.analysis", "results.export", "results.html", "results.study", "tune.points"}
IN_CIRCLES = {
    "cli.commands",
    "results.analysis",
    "results.html",
    "results.plots",
    "results.report",
    "results.study",
}
LONG = {
    "results.analysis",
    "results.export",
    "run.preflight",
    "run.progress",
    "run.rehearsal",
    "run.resume",
    "run.session",
    "store.lock",
    "store.record",
    "store.storage",
    "tune.search",
    "tune.space",
    "tune.stopping",
}


def test_nothing_above_the_harness_is_imported() -> None:
    everything = {name: {*imported(name, path)} for name, path in modules().items()}
    assert {n for n, its in everything.items() if any(i.startswith("^") for i in its)} == ABOVE


def test_packages_import_what_stands_before_them() -> None:
    wrong = set()
    for name, path in modules().items():
        own = name.split(".")[0]
        for package in {other.split(".")[0] for other in imported(name, path)} - {own, ""}:
            if not package.startswith("^") and LEVEL[package] >= LEVEL[own]:
                wrong.add(name)
    assert wrong == UPWARD


def test_there_are_no_circles() -> None:
    uses = {name: {*imported(name, path)} & modules().keys() for name, path in modules().items()}
    while leaves := [name for name, its in uses.items() if not its & uses.keys() - {name}]:
        for leaf in leaves:
            del uses[leaf]
    assert uses.keys() == IN_CIRCLES


def test_no_module_is_long() -> None:
    lines = {name: len(path.read_text("utf-8").splitlines()) for name, path in modules().items()}
    assert {name for name, count in lines.items() if count > 250} == LONG
    assert len(list(HARNESS.glob("*.py"))) <= 8
