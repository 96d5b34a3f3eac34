"""A generated project as its user meets it: from outside, with make and Python 3 alone.

It is installed once; the tests share it and follow each other, so the file stays in one worker.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.conftest import OUTSIDE, ROOT, with_cookiecutter

pytestmark = pytest.mark.timeout(900)

# All that a Makefile, git, uv and Ray may use: no uv, no pip, no compiler.
COREUTILS = ["cat", "dirname", "head", "ls", "mkdir", "rm", "touch", "uname"]
TOOLS = ["awk", "bash", "find", "git", "make", "sh", *COREUTILS]
# How this machine reaches the package index.
NETWORK = ("UV_", "PIP_", "SSL_", "HTTP_", "HTTPS_", "NO_PROXY", "http_", "https_", "no_proxy")


class Done(NamedTuple):
    code: int
    said: str


def wait_for(process: subprocess.Popen[str], seconds: float) -> Done:
    """Wait for a process that leads its own group, and leave nothing of it after a timeout."""
    try:
        said, _ = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        said, _ = process.communicate()
        pytest.fail(f"{process.args!r} took more than {seconds} s and said:\n{said}")
    return Done(process.returncode, said)


class Machine:
    """A machine that has Python 3 and make, and an empty home."""

    def __init__(self, home: Path, tools: Path) -> None:
        for name in TOOLS:
            found = shutil.which(name)
            assert found, f"{name} is missing"
            (tools / name).symlink_to(found)
        (tools / "python3").symlink_to(Path(sys.executable).resolve())
        network = {name: value for name, value in OUTSIDE.items() if name.startswith(NETWORK)}
        self.env = network | {
            "PATH": str(tools),
            "HOME": str(home),
            "LANG": "C.UTF-8",
            "UV_CACHE_DIR": OUTSIDE.get("UV_CACHE_DIR", f"{OUTSIDE['HOME']}/.cache/uv"),
            "VIRTUAL_ENV": "/nonexistent",  # as in a shell where another environment is active
            "PYTHONDONTWRITEBYTECODE": "1",  # as in an image
            "GIT_CONFIG_NOSYSTEM": "1",
            **{name: value for name, value in os.environ.items() if name.startswith("GIT_")},
        }

    def start(self, folder: Path, *command: object, **env: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [str(word) for word in command],
            cwd=folder,
            env=self.env | env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def run(self, folder: Path, *command: object, code: int = 0, **env: str) -> str:
        """Run a command to its end; return what it said."""
        done = wait_for(self.start(folder, *command, **env), 600)
        assert done.code == code, done.said
        return done.said


@pytest.fixture(scope="module")
def machine(isolation: Path, tmp_path_factory: pytest.TempPathFactory) -> Machine:
    return Machine(isolation, tmp_path_factory.mktemp("bin"))


@pytest.fixture(scope="module")
def project(template: Path, machine: Machine, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of an installed project."""
    project = with_cookiecutter(template, tmp_path_factory.mktemp("projects"), {}).project
    machine.run(project, "make", "install")
    return project


@pytest.fixture
def make(project: Path, machine: Machine) -> Iterator[Callable[..., str]]:
    """Run make in the project; whatever it does, nothing of it goes on running."""
    yield lambda *words, code=0: machine.run(project, "make", *words, code=code)
    deadline = time.monotonic() + 20
    while left := processes_of(project):
        assert time.monotonic() < deadline, left
        time.sleep(0.5)


def processes_of(project: Path) -> list[str]:
    """Return the command lines of the processes that run from a project's environment."""
    found = []
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = process.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:  # ended meanwhile
            continue
        if f"{project}/.venv" in command:
            found.append(command)
    return found


def test_uv_is_fetched_and_nothing_is_installed_twice(
    project: Path, make: Callable[..., str]
) -> None:
    assert (project / ".tools/bin/uv").is_file()
    assert (project / "uv.lock").is_file()
    assert make("install") == "make: Nothing to be done for 'install'.\n"


def test_make_lint(make: Callable[..., str]) -> None:
    make("lint")


def test_make_unit(project: Path, make: Callable[..., str]) -> None:
    assert " passed in " in make("unit")
    assert list(project.glob(".venv/lib/python*/site-packages/ray/__pycache__"))  # compiled once


# Uses of Ray that are deprecated in 2.60, and what is said of each: by a warning that Python hides,
# in a log alone, and in the workers alone.
PLANTED = {
    "tune_run.py": ("        verbose=", "        checkpoint_freq=1,\n        verbose="),
    "search_space.py": (
        "    return {",
        '    return {\n        "half": tune.sample_from(lambda spec: spec.config.l2 / 2),',
    ),
    "trainable.py": (
        "        training_loss =",
        "        import sys\n\n        from ray import tune\n\n"
        '        if "default_worker" in sys.argv[0]:\n'
        "            tune.get_context().get_world_size()\n        training_loss =",
    ),
}
SAID = ("checkpoint_freq is deprecated", "sample_from functions", "get_world_size` is deprecated")


def test_make_experiment(project: Path, make: Callable[..., str]) -> None:
    """All passes, but for what is deprecated: that is planted here, and nothing else is found."""
    (package,) = project.glob("src/*/")
    before = {package / name: (package / name).read_text() for name in PLANTED}
    for path, text in before.items():
        assert text.count(PLANTED[path.name][0]) == 1
        path.write_text(text.replace(*PLANTED[path.name]))
    try:
        said = make("experiment", code=2)
    finally:
        for path, text in before.items():
            path.write_text(text)
    assert re.search(r"^=+ 1 failed, \d+ passed in ", said, re.MULTILINE), said
    # Its last line shows a set, in any order and cut off.
    shown = r"^E +(?! |assert not )(?:AssertionError: )?(.*deprecat.*)$"
    found = re.findall(shown, said, re.MULTILINE)
    for line in found:
        assert line.startswith(f"{package}/trainable.py:") or any(text in line for text in SAID)
    assert [text for text in SAID if not any(text in line for line in found)] == []


def test_a_wrong_flag_is_refused_in_one_line(make: Callable[..., str]) -> None:
    refusal, from_make = make("run", "ARGS=--num-samples 0", code=2).splitlines()
    assert "num" in refusal
    assert "0" in refusal
    assert from_make.startswith("make: *** ")


def test_control_c(project: Path, machine: Machine, make: Callable[..., str]) -> None:
    """A terminal signals make and the run at once."""
    flags = "ARGS=--num-samples 64 --max-iterations 1000 --name interrupted"
    process = machine.start(project, "make", "run", flags)
    deadline = time.monotonic() + 120
    while not list((project / "results").glob("interrupted/*/progress.csv")):
        if process.poll() is not None or time.monotonic() > deadline:
            pytest.fail(wait_for(process, 0.1).said)
        time.sleep(0.1)
    os.killpg(process.pid, signal.SIGINT)
    code, said = wait_for(process, 120)
    assert code in (130, -signal.SIGINT), said
    assert "Traceback" not in said


def test_git_hooks(project: Path, machine: Machine, make: Callable[..., str]) -> None:
    """The project as it comes passes its own hooks; a file with a fault does not."""
    make("hooks")
    machine.run(project, "git", "add", "-A")
    machine.run(project, "git", "commit", "-q", "-m", "All")
    new = next(project.glob("src/*/")) / "new.py"
    new.write_text("def f( ):\n    return 1\n")
    machine.run(project, "git", "add", "-A")
    said = machine.run(project, "git", "commit", "-q", "-m", "A fault", code=1)
    machine.run(project, "git", "rm", "-q", "-f", new)
    assert "files were modified by this hook" in said
    assert "Function is missing a return type annotation" in said


def test_clean_keeps_results(project: Path, make: Callable[..., str]) -> None:
    """Last, for it takes the environment away."""
    make("clean")
    assert not (project / ".venv").exists()
    assert not (project / ".tools").exists()
    assert (project / "results/interrupted").is_dir()


def test_make_demo(template: Path, machine: Machine, tmp_path: Path) -> None:
    """The template's own first command, on the same bare machine."""
    shutil.copytree(template, tmp_path, dirs_exist_ok=True)
    for name in ("Makefile", "pyproject.toml", "uv.lock"):
        shutil.copy2(ROOT / name, tmp_path)
    flags = "ARGS=--num-samples 2 --max-iterations 2 --max-concurrent-trials 1"
    said = machine.run(tmp_path, "make", "demo", flags)
    (project,) = (tmp_path / "demo/1").iterdir()
    assert "Best of 2 trials" in said
    assert "warning" not in said.lower()
    assert said.index("Best of 2 trials") < said.index(f"demo/1/{project.name}/\nTry next")
    assert len(list(project.glob("results/*/*/progress.csv"))) == 2
    assert not (project / ".tools").exists()  # one uv serves both

    data = next(project.glob("src/*/data.py"))
    data.write_text("mine\n")
    said = machine.run(tmp_path, "make", "demo", "DEST=demo/1", code=2)
    assert "already exists" in said
    assert data.read_text() == "mine\n"
