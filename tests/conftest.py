"""Renders the template with each engine, away from the settings of whoever runs the tests."""

import io
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml
from cookiecutter.main import cookiecutter
from copier import run_copy
from jinja2 import Environment
from plumbum import local

ROOT = Path(__file__).parents[1]
sys.path.append(str(ROOT))  # so that the tests can import from tests.conftest
TREE = "{{cookiecutter.project_slug}}"
# All that the engines read of this repository.
PARTS = ("cookiecutter.json", "copier.yml", "answer_guard.py", "hooks", TREE)
ENGINES_OWN = {".git", ".copier-answers.yml", ".cruft.json"}
pytest_plugins = ["tests.faults.fixtures"]
# For a generated project's Python: see test_tracker.py.
collect_ignore = ["trackers"]
BIN = Path(sys.executable).parent
for name in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL"):  # ARGS of `make test` are not for other makes
    os.environ.pop(name, None)
# Each process of a project would compile Ray and all else anew: as much as it takes to run.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False
OUTSIDE = dict(os.environ)  # for uv, whose cache is in the real home

# Copier compiles each part of each path anew, 1,200 times a project; Cookiecutter some of them.
_compile, _compiled = Environment.compile, dict[Any, Any]()


def compile_once(engine: Any, source: Any, *names: Any, **other: Any) -> Any:
    """Compile a template of Jinja, unless that was done before."""
    if other or not isinstance(source, str):
        return _compile(engine, source, *names, **other)
    key = (type(engine), engine.lexer, *sorted(engine.extensions), source, *names)
    if key not in _compiled:
        _compiled[key] = _compile(engine, source, *names)
    return _compiled[key]


Environment.compile = compile_once  # type: ignore[assignment, method-assign]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that take minutes, so that no worker is left alone with one."""
    items.sort(key=lambda item: item.get_closest_marker("timeout") is None)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say at the end what was left out because there is no browser, and what brings one."""
    skipped = terminalreporter.stats.get("skipped", [])
    names = sorted(test.nodeid for test in skipped if "needs a browser" in str(test.longrepr))
    if names:
        command = f"{BIN / 'playwright'} install --with-deps chromium"
        line = f"NOT RUN without a browser ({command} brings one): {', '.join(names)}"
        terminalreporter.write_line(line, yellow=True)


Answers = dict[str, str]
Tree = dict[str, tuple[int, bytes | None]]


@dataclass
class Rendering:
    """What an engine did: the project, or the refusal."""

    project: Path
    refusal: str = ""
    tree: Tree = field(default_factory=dict)


def read_tree(project: Path) -> Tree:
    """Return mode and bytes of every file, and the mode of every folder, by path."""
    tree: Tree = {}
    for path in sorted(project.rglob("*")):
        name = path.relative_to(project)
        if name.parts[0] not in ENGINES_OWN:
            tree[name.as_posix()] = (
                path.stat().st_mode,
                path.read_bytes() if path.is_file() else None,
            )
    return tree


def files(tree: Tree) -> set[str]:
    return {path for path, (_, content) in tree.items() if content is not None}


@pytest.fixture(scope="session", autouse=True)
def isolation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Point HOME and every settings file that an engine or git reads into an empty folder."""
    home = tmp_path_factory.mktemp("home")
    (home / "cookiecutter.yml").write_text(
        f"cookiecutters_dir: {home}/cookiecutters\nreplay_dir: {home}/replay\n"
    )
    (home / "copier.yml").write_text("defaults: {}\n")
    # If a shell starts the tests in the background, they and all that they start ignore Ctrl-C;
    # with nohup they ignore the end of the terminal.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith(("GIT_", "COPIER_"))]:
            patch.delenv(name)
        patch.setenv("HOME", str(home))
        patch.setenv("XDG_CONFIG_HOME", str(home))
        patch.setenv("COOKIECUTTER_CONFIG", str(home / "cookiecutter.yml"))
        patch.setenv("COPIER_SETTINGS_PATH", str(home / "copier.yml"))
        patch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
        patch.setenv("GIT_CONFIG_NOSYSTEM", "1")
        for role in ("AUTHOR", "COMMITTER"):
            patch.setenv(f"GIT_{role}_NAME", "Test")
            patch.setenv(f"GIT_{role}_EMAIL", "test@example.com")
        # Copier starts git in plumbum's environment, which is as old as the import of plumbum.
        local.env.clear()
        local.env.update(os.environ)
        yield home


def copy_template(folder: Path) -> None:
    """Copy all that the engines read, committed or not, without caches."""
    folder.mkdir()
    ignored = shutil.ignore_patterns("__pycache__", ".*_cache", ".venv", ".tools")
    for part in PARTS:
        if (ROOT / part).is_dir():
            shutil.copytree(ROOT / part, folder / part, ignore=ignored)
        else:
            shutil.copy2(ROOT / part, folder)


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a plain copy of the template."""
    folder = tmp_path_factory.mktemp("source") / "template"
    copy_template(folder)
    return folder


@pytest.fixture(scope="session")
def repository(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the same copy as a git repository with one commit."""
    folder = tmp_path_factory.mktemp("repository") / "template"
    shutil.copytree(template, folder)
    commit_all(folder)
    return folder


@pytest.fixture(scope="session")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of this repository, as a clone would be."""
    folder = tmp_path_factory.mktemp("checkout") / "cookiecutter-ray-tune"
    ignored = shutil.ignore_patterns(
        *(".git", ".venv", ".tools", "node_modules", "__pycache__", ".*_cache", ".hypothesis"),
        "demo",
    )
    return shutil.copytree(ROOT, folder, symlinks=True, ignore=ignored)


def build(source: Path, *flags: str) -> Path:
    """Build a package; return the folder of what was built."""
    out = source.parent / "dist"
    run(BIN / "uv", "build", "--quiet", *flags, "--out-dir", out, source, env=OUTSIDE)
    return out


@pytest.fixture(scope="session")
def wheel(checkout: Path) -> Path:
    """Return the wheel of the template, made of its source distribution, which is beside it."""
    (path,) = build(checkout).glob("*.whl")
    return path


def commit_all(folder: Path) -> None:
    run("git", "init", "-q", "-b", "main", cwd=folder)
    run("git", "add", "-A", cwd=folder)
    run("git", "commit", "-q", "-m", "All", cwd=folder)


def run(
    *command: object,
    check: bool = True,
    cwd: Path | None = None,
    env: dict[str, str] | None = None,
    input: str = "",
) -> subprocess.CompletedProcess[str]:
    """Run a command of this environment to its end; its output is text."""
    path = f"{BIN}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env=env or {**os.environ, "PATH": path},
        input=input,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=300,
        check=False,
    )
    if check:
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done


def with_cookiecutter(template: Path, folder: Path, answers: Answers) -> Rendering:
    said = io.StringIO()
    try:
        with redirect_stderr(said):
            project = cookiecutter(
                str(template), no_input=True, extra_context=answers, output_dir=str(folder)
            )
    except (SystemExit, ValueError) as refusal:  # the guard's, or Cookiecutter's own for a choice
        return Rendering(folder, said.getvalue() or str(refusal))
    return Rendering(Path(project), tree=read_tree(Path(project)))


def with_copier(template: Path, folder: Path, answers: Answers) -> Rendering:
    project = folder / "project"
    try:
        run_copy(str(template), project, data=answers, defaults=True, quiet=True)
    except ValueError as refusal:
        return Rendering(folder, str(refusal))
    return Rendering(project, tree=read_tree(project))


@pytest.fixture
def render_both(template: Path, tmp_path: Path) -> Callable[[Answers], tuple[Rendering, Rendering]]:
    """Render with Cookiecutter and Copier, each into a folder of its own."""

    def render(answers: Answers) -> tuple[Rendering, Rendering]:
        for engine in ("cookiecutter", "copier"):
            shutil.rmtree(tmp_path / engine, ignore_errors=True)
        return (
            with_cookiecutter(template, tmp_path / "cookiecutter", answers),
            with_copier(template, tmp_path / "copier", answers),
        )

    return render


@pytest.fixture(scope="session")
def questions() -> dict[str, dict[str, object]]:
    """Return what copier.yml asks."""
    settings = yaml.safe_load((ROOT / "copier.yml").read_text("utf-8"))
    return {
        name: question
        for name, question in settings.items()
        if not name.startswith("_") and question.get("when") is not False
    }
