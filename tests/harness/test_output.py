"""Standard output that is closed, can't write every character, or is full."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest
from harness.cli import commands as cli
from stub import PROJECT


def run(redirection: str, *words: str, **env: str) -> subprocess.CompletedProcess[bytes]:
    """Run a command as a shell does that closes some of its streams."""
    command = f'exec "$0" -m stub "$@" {redirection}'
    return subprocess.run(
        ["sh", "-c", command, sys.executable, *words],
        capture_output=True,
        env={**os.environ, **env},
    )


@pytest.mark.parametrize("words", [("config",), ("list",), ("--help",)])
def test_closed_streams(words: tuple[str, ...]) -> None:
    for redirection in ("<&-", ">&-", "2>&-", "<&- >&-", "<&- >&- 2>&-"):
        done = run(redirection, *words)
        assert (done.returncode, done.stderr) == (0, b""), redirection
    done = run(">&-", "shwo")
    assert done.returncode == 2
    assert done.stderr.startswith(b"error: ")


OPENED = """if True:
    import os, subprocess, sys
    from harness.cli.output import usable_streams
    usable_streams()
    opened = open("file", "w")
    print("lost", flush=True)
    subprocess.run([sys.executable, "-c", "print('lost too', flush=True)"], check=True)
    assert opened.fileno() > 2, opened.fileno()
"""


def test_no_file_gets_the_number_of_a_closed_stream(empty_folder: Path) -> None:
    subprocess.run(["sh", "-c", 'exec "$0" -c "$1" <&- >&-', sys.executable, OPENED], check=True)
    assert (empty_folder / "file").read_bytes() == b""


ASCII = {"PYTHONIOENCODING": "", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "LC_ALL": "C"}


@pytest.mark.parametrize("env", [{"PYTHONIOENCODING": "latin-1"}, ASCII])
def test_a_terminal_that_knows_few_characters(env: dict[str, str], empty_folder: Path) -> None:
    name = "[red]:smile:→.json"  # no markup for rich
    (empty_folder / ".env").write_text(f"EXPERIMENT_POINTS_TO_EVALUATE={name}\n", "utf-8")
    done = run("", "config", **env)
    assert done.returncode == 0, done.stderr
    assert b"[red]:smile:?.json" in done.stdout
    assert b"EXPERIMENT_CHECKPOINT_SCORE_ATTRIBUTE " in done.stdout  # in a pipe, nothing is folded
    assert run("", "--help", **env).returncode == 0


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_or_quota_is_one_line(
    number: int, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def full(_: object) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setitem(cli.COMMANDS, "config", cli.Command(full))
    monkeypatch.setattr(cli, "to_nowhere", lambda _: None)
    assert cli.main(PROJECT, ["config"]) == 1
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith("error: ")


def test_the_name_as_one_word(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(PROJECT, ["show", "--name=x"]) == 2
    assert "EXPERIMENT_NAME='x': no such experiment" in capsys.readouterr().err
