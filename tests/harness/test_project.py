"""What a command line of a project's program looks like, and where its source is."""

import sys
from pathlib import Path

import pytest
from harness.configuration import load
from stub import PROJECT


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.setattr(sys, "executable", "/python/of/another/environment")
    return monkeypatch


def as_program(path: Path) -> str:
    path.parent.mkdir(parents=True)
    path.touch(mode=0o755)
    return str(path)


def test_as_a_module(started: pytest.MonkeyPatch) -> None:
    started.setattr(sys, "argv", ["/somewhere/stub/__main__.py", "run"])
    words = PROJECT.command("show", "a b")
    assert words == "/python/of/another/environment -m stub show 'a b'"


def test_as_a_program_of_this_folder(started: pytest.MonkeyPatch, empty_folder: Path) -> None:
    program = as_program(empty_folder / ".venv/bin/stub")
    started.setattr(sys, "argv", [program])
    assert PROJECT.command("list") == ".venv/bin/stub list"
    started.setenv("PATH", str(empty_folder / ".venv/bin"))
    assert PROJECT.command("list") == "stub list"


def test_as_a_program_of_elsewhere(
    started: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    program = as_program(tmp_path_factory.mktemp("else") / "bin/stub")
    started.setattr(sys, "argv", [program])
    assert PROJECT.command() == program


def test_where_its_source_is() -> None:
    assert (PROJECT.folder / "pieces.py").is_file()


def test_a_command_about_an_experiment(started: pytest.MonkeyPatch) -> None:
    """Flags that a variable would undo are in it, and where the storage is not the default."""
    started.setattr(sys, "argv", ["/bin/stub"])
    started.setenv("PATH", "/bin")
    started.setenv("EXPERIMENT_VERBOSE", "0")
    configuration = load(PROJECT, ["--name", "x", "--verbose", "1", "--storage-path", "/there"])
    program = PROJECT.command()
    assert configuration.again("show") == f"{program} show x --storage-path /there"
    assert configuration.again("run", "--resume") == (
        f"{program} run --name x --resume --verbose 1 --storage-path /there"
    )
