"""What a run shows while it runs: in a terminal, in a log, and at each VERBOSE."""

import re

import pytest

from tests.faults.project import PACKAGE, Project, rows
from tests.faults.terminal import terminal

pytestmark = [pytest.mark.shared_ray, pytest.mark.timeout(900)]

SWEEP = ("--num-samples", 4, "--max-iterations", 6)
TINY = ("--num-samples", 2, "--max-iterations", 2, "--max-concurrent-trials", 1)
# The third configuration that the default seed draws fails, in its second iteration.
FAILING = {"FAULT": "raise", "FAULT_ABOVE": "0.01"}
LAST = "0.000304"  # so begins the learning rate of the fourth
NEAR_THE_END = re.compile(
    r"━ +3/4 trials ended, 1 running, 1 failed, best validation_accuracy 0\.\d{4},"
    r" about \d+ s left$"
)
ENDED = re.compile(r" +\d+:\d\d  (\d)/(\d) trial (\w+)")
ESCAPE = "\x1b"
COLOUR = re.compile(rb"\x1b\[[0-9;]*m")


def ended(text: str) -> list[str]:
    """The trials that a run has told the end of, in that order."""
    return [match[3] for line in text.splitlines() if (match := ENDED.match(line))]


def test_a_terminal_then_a_log(project: Project) -> None:
    """A last line that is always current; Ctrl-C leaves a clean terminal; the rest goes to a log.

    Meanwhile `trials` shows the run at work.
    """
    hold = project.folder / "hold"
    hold.write_text(LAST)
    faults = {**FAILING, "FAULT_SLEEP": "0.3", "FAULT_HOLD": str(hold)}
    with terminal(project, "run", "--name", "x", *SWEEP, columns=200, **faults) as run:
        run.until(lambda: "failed: RuntimeError: the planted fault" in run.text)
        run.until(lambda: NEAR_THE_END.search(run.looks[-1]))
        table = project.run("trials", "x")
        assert table.startswith("x: running; 4 trials, "), table
        run.child.send("\x03")
        hold.unlink()
        assert run.wait() == 130, run.text
        shown, last, written = run.text, run.lines[-1], run.written.decode()
    for facts in ("Starting Ray", "workers are starting", "0/4 trials ended, 2 running, 0 failed"):
        assert any(facts in look for look in run.looks), run.looks
    assert "--resume" in last
    # What was ever on the last line is gone; every trial was told of once; the cursor is there.
    assert "━" not in shown
    assert shown.count("failed: RuntimeError: the planted fault") == 1
    assert len(ended(shown)) == len(set(ended(shown))) == 2
    assert "Traceback" not in shown.partition("Trial ")[0]
    assert not run.screen.cursor.hidden
    assert "\x1b[?25l" not in written
    assert written.count("\x1b[?1049") == 0  # nor is there another screen

    package = project.copy_source()
    source = package / "harness/run/progress.py"
    text = source.read_text()
    source.write_text(text.replace("SECONDS_BETWEEN_LINES = 30.0", "SECONDS_BETWEEN_LINES = 1.0"))
    assert source.read_text() != text
    said = project.run("run", "--name", "x", "--resume", FAULT_SLEEP="0.7", code=1)
    assert ESCAPE not in said
    assert "\r" not in said
    lines = said.splitlines()
    once = [line for line in lines if line.strip(" ^")]  # carets belong to a traceback
    assert len(once) == len(set(once)), said
    assert len(ended(said)) == 1
    assert not {*ended(said)} & {*ended(shown)}
    assert f"4/4 trial {ended(said)[0]}" in said
    told = [line for line in lines if " 3/4 trials ended, " in line]
    pattern = (
        r" +0:\d\d  3/4 trials ended, (1 running|workers are starting), 1 failed, best \w+ 0\.\d"
    )
    assert told
    assert all(re.match(pattern, line) for line in told), told
    assert any(re.search(r", about \d+ s left$", line) for line in told), told


def test_a_narrow_terminal_without_colours(project: Project) -> None:
    """40 columns, with NO_COLOR and VERBOSE=2: nothing is cut off, and each result is a line."""
    with terminal(
        *(project, "run", "--name", "x", "--num-samples", 2, "--max-iterations", 6),
        *("--verbose", 2),
        columns=40,
        FAULT_SLEEP="0.5",
        NO_COLOR="1",
    ) as run:
        assert run.wait() == 0, run.text
    assert all(len(look) <= 40 for look in run.looks)
    line = re.compile(r"[01]/2, [12] running, best 0\.\d{4}, ~\d+ s")
    assert any(map(line.fullmatch, run.looks)), "\n".join(run.looks)
    assert not COLOUR.search(run.written)
    flat = " ".join(run.text.split())
    for trial in project.experiment("x").trials():
        for row in rows(project.experiment("x").trial_folder(trial.index) / "result.json"):
            number, value = row["training_iteration"], row["validation_accuracy"]
            result = f"trial {trial.id} iteration {number} validation_accuracy {value:.4f}"
            assert flat.count(result) == 1, run.text
        assert flat.count(f"/2 trial {trial.id} ") == 1, run.text
    # The table of trials fits, too.
    with terminal(project, "trials", "x", columns=40) as table:
        assert table.wait() == 0
    assert all(trial.id in table.text for trial in project.experiment("x").trials())
    assert "hidden_units=" in table.text


def test_verbose_0_is_the_outcome(project: Project) -> None:
    said = project.run("run", "--name", "x", *TINY, "--verbose", 0, FAULT_SLEEP="0")
    begins = [line.partition(":")[0] for line in said.splitlines() if line[0] != " "]
    ends = ["Report", "Export the best", "Look again"]
    assert begins[0] == "Best of 2 trials"
    assert begins[1].startswith("Results in ")
    assert begins[2:] == ends


# Reads a line of a command, then closes the pipe, as `head -n 1` does.
HEAD = """
import subprocess, sys
command = subprocess.Popen([sys.executable, "-m", *sys.argv[1:]], stdout=subprocess.PIPE, text=True)
print(command.stdout.readline())
command.stdout.close()
sys.exit(command.wait())
"""


def test_a_reader_that_leaves_ends_nothing(project: Project) -> None:
    run = project.start_program("-c", HEAD, PACKAGE, "run", "--name", "x", *TINY, FAULT_SLEEP="0")
    assert run.wait() == 0, run.said
    assert run.said.splitlines()[0].startswith("x: 2 trials"), run.said
    assert "Error" not in run.said
    assert [trial.status for trial in project.experiment("x").trials()] == ["TERMINATED"] * 2
    assert project.experiment("x").record["runs"][0]["outcome"] == "done"


def test_verbose_3_is_all_of_ray(project: Project) -> None:
    """What the workers print, and Ray's own reports of a failure; no live line runs through it."""
    with terminal(
        *(project, "run", "--name", "x", *TINY, "--verbose", 3),
        columns=200,
        FAULT_SLEEP="0",
        FAULT="raise",
    ) as run:
        assert run.wait() == 1, run.text
    assert re.search(r"pid=\d+.*iteration 1: validation_accuracy", run.text), run.text
    assert "Trial task failed for trial" in run.text
    assert "INFO" in run.text
    assert "━" not in run.text
