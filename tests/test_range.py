"""From the oldest Ray and Python to the newest: what is stated, what installs, what passes."""

import ast
import importlib
import os
import re
import subprocess
import tomllib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.version import Version
from ray.util.annotations import AnnotationType

from tests.conftest import BIN, OUTSIDE, ROOT, TREE, run, with_cookiecutter
from tests.next_ray import requirement
from tests.test_docs import PAGES, short_folder
from tests.test_generated_lint import PYTHONS

UV = {**OUTSIDE, "UV_PYTHON_DOWNLOADS": "never"}
MODULES = {"ray": "ray", "tune": "ray.tune"}  # as the code calls them


@pytest.fixture
def project(template: Path, tmp_path: Path) -> Path:
    return with_cookiecutter(template, tmp_path, {}).project


def bounds(folder: Path) -> dict[str, str]:
    """What a pyproject.toml needs, whatever the answers: each requirement's lowest version.

    But for Modin, which needs an older pandas than all others.
    """
    text = (folder / "pyproject.toml").read_text("utf-8").partition("[project]")[2]
    text = re.sub(
        r'{%- if cookiecutter.dataframes == "Modin" %}.*?{%- else %}', "", text, flags=re.S
    )
    return dict(re.findall(r'"([\w.-]+(?:\[\w+\])?)>=([\d.]+)[";]', text))


LOWEST = bounds(ROOT / TREE)


def newest() -> Version:
    """The Ray of uv.lock, with which all tests run."""
    packages = tomllib.loads((ROOT / "uv.lock").read_text("utf-8"))["package"]
    (ray,) = (its for its in packages if its["name"] == "ray")
    return Version(ray["version"])


# ------------------------------------------------------------ what is stated


def test_the_template_needs_what_a_project_needs() -> None:
    own, both = bounds(ROOT), bounds(ROOT).keys() & LOWEST.keys()
    assert {"ray[tune]", "hyperopt", "optuna", "pytest"} <= both
    assert {name: own[name] for name in both} == {name: LOWEST[name] for name in both}


def test_the_range_in_the_docs() -> None:
    page = (ROOT / "docs/updates.md").read_text("utf-8")
    rows = re.findall(r"^\| (Ray|Python) \| ([\d.]+) \| ([\d.]+)(.*?) \|$", page, re.MULTILINE)
    (_, *ray, same), (_, *python, _) = rows
    oldest = Version(LOWEST["ray[tune]"])
    assert [*map(Version, ray)] == [oldest, newest()]
    assert bool(same) == (oldest == newest())
    assert python == [PYTHONS[0], PYTHONS[-1]]


def test_the_template_s_own_workflow_runs_every_python() -> None:
    workflow = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text("utf-8"))
    assert workflow["jobs"]["test"]["strategy"]["matrix"]["python"] == PYTHONS


def test_what_pages_say_of_a_ray_is_of_the_newest() -> None:
    """With another Ray in uv.lock, look again at what each of these sentences says."""
    minor = f"{newest().major}.{newest().minor}"
    for page in PAGES:
        others = {*re.findall(r"\bRay (\d+\.\d+)", page.read_text("utf-8"))} - {minor}
        assert others == set(), page.name


def used(project: Path) -> Iterator[tuple[str, str]]:
    """Yield the module and the name of all that a project takes from Ray."""
    for path in (project / "src").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.ImportFrom) and f"{node.module}.".startswith("ray."):
                yield from ((str(node.module), alias.name) for alias in node.names)
            elif isinstance(node, ast.Attribute) and ast.unparse(node.value) in MODULES:
                yield MODULES[ast.unparse(node.value)], node.attr


def test_nothing_that_is_used_is_marked_as_deprecated(template: Path, tmp_path: Path) -> None:
    """Ray's mark comes before its warnings."""
    answers = {"tracker": "MLflow", "dataframes": "Modin"}
    project = with_cookiecutter(template, tmp_path, answers).project
    parts = {
        (module, name): getattr(importlib.import_module(module), name, None)
        for module, name in used(project)
    }
    marks = {what: getattr(part, "_annotated_type", None) for what, part in parts.items()}
    assert {what for what, mark in marks.items() if mark == AnnotationType.DEPRECATED} == set()
    assert marks["ray.tune", "run"] == AnnotationType.PUBLIC_API


# ------------------------------------------------------------ what installs


def test_every_bound_has_a_wheel_for_every_python(tmp_path: Path) -> None:
    asked = "\n".join(f"{name}>={version}" for name, version in LOWEST.items())
    dated = re.compile("types-|.*-stubs")
    expected = {
        Requirement(name).name: Version(version)
        for name, version in LOWEST.items()
        if not dated.match(name)
    }

    def resolve(python: str) -> dict[str, Version]:
        flags = ("--only-binary", ":all:", "--resolution", "lowest-direct", "--quiet")
        command = (BIN / "uv", "pip", "compile", "--python-version", python, *flags, "-")
        lines = run(*command, cwd=tmp_path, env=UV, input=asked).stdout.splitlines()
        pinned = [line.split("==") for line in lines if "==" in line]
        return {name: Version(version) for name, version in pinned if name in expected}

    with ThreadPoolExecutor() as pool:  # each waits for the package index
        for python, found in zip(PYTHONS, pool.map(resolve, PYTHONS), strict=True):
            assert found == expected, python


# ------------------------------------------------------------ what passes


def newest_python() -> str:
    """The newest Python here that a project supports; pyenv's are not on the PATH."""
    pyenv = Path(OUTSIDE.get("PYENV_ROOT", Path(OUTSIDE["HOME"], ".pyenv")), "versions")
    path = os.pathsep.join([*map(str, pyenv.glob("3.*/bin")), OUTSIDE["PATH"]])
    for python in reversed(PYTHONS):
        found = run(BIN / "uv", "python", "find", python, check=False, env={**UV, "PATH": path})
        if found.returncode == 0:
            return found.stdout.strip()
    raise AssertionError("this very Python was not found")


@pytest.mark.timeout(900)
@pytest.mark.more
def test_lowest_versions_pass() -> None:
    """What a maintainer types to try the bounds of a project; of tests/harness a small part."""
    env = {name: value for name, value in UV.items() if not name.startswith(("PYTHON", "RAY_"))}
    flags = "-m 'not ray' -k 'internals or unit or tune_run'"
    with short_folder() as folder:
        done = subprocess.run(
            ["make", "next-ray", "RAY=lowest", f"ARGS={flags}"],
            cwd=ROOT,
            env={
                **env,
                "PATH": f"{BIN}{os.pathsep}{OUTSIDE['PATH']}",
                "UV_PYTHON": newest_python(),
                "TMPDIR": folder,
                "RAY_raylet_start_wait_time_s": "300",
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=800,
        )
        left = [*Path(folder).glob("next-ray-*")]
    assert done.returncode == 0, done.stdout
    said = r"Ray (\S+) on Python .*: tests/harness \d+ passed.*; a project's own \d+ passed.*"
    last = re.fullmatch(said, done.stdout.splitlines()[-1])
    assert last, done.stdout
    assert Version(last[1]) == Version(LOWEST["ray[tune]"])
    assert left == []


@pytest.mark.parametrize(
    ("ray", "asked"),
    [
        ("", "ray[tune]>0.dev0"),
        ("2.61.0rc1", "ray[tune]==2.61.0rc1"),
        ("https://example.com/ray.whl", "ray[tune] @ https://example.com/ray.whl"),
        ("/wheels/a ray.whl", "ray[tune] @ file:///wheels/a%20ray.whl"),
    ],
)
def test_a_ray_that_is_asked_for(ray: str, asked: str) -> None:
    assert requirement(ray) == asked
    assert Requirement(asked).extras == {"tune"}
