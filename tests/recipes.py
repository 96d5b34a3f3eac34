"""The edits that a page of docs/ shows, made in a generated project."""

import os
import re
import subprocess
import sys
from pathlib import Path

from tests.conftest import ROOT

Edits = dict[str, list[tuple[str, str]]]  # of each file: what was there, and what is there then


def sections(page: str) -> dict[str, str]:
    """The sections of a page, by heading."""
    text = (ROOT / "docs" / page).read_text("utf-8")
    return {part.partition("\n")[0]: part for part in text.split("\n## ")[1:]}


def blocks(section: str, *languages: str) -> list[tuple[str, str]]:
    """The blocks of these languages, in order: each one's language and its text."""
    return re.findall(rf"```({'|'.join(languages)})\n(.*?)```", section, re.DOTALL)


def edits(section: str) -> Edits:
    """What a section changes, by file. `@@ name.py @@` begins a file, `@@` another place in it.

    A Python block after the comment `<!-- file: name.py -->` is a new file.
    """
    new = re.findall(r"<!-- file: (\S+) -->\n```python\n(.*?)```", section, re.DOTALL)
    found: Edits = {file: [("", text)] for file, text in new}
    for _, block in blocks(section, "diff"):
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


def make_edits(section: str, project: Path) -> None:
    """Make a section's edits in files of the package, or of the project (`tests/…`)."""
    for file, places in edits(section).items():
        path = project / "src/ray_tune_experiment" / file
        if not path.exists() and ("/" in file or (project / file).exists()):
            path = project / file
        text = path.read_text("utf-8") if path.exists() else ""
        for was, now in places:
            if not was:  # a whole file
                text = now
                continue
            assert f"\n{text}".count(f"\n{was}") == 1, f"{file}:\n{was}"
            text = text.replace(was, now, 1)
        path.write_text(text, "utf-8")


def python(project: Path, *words: str, code: int = 0) -> str:
    """Run this Python in a project. Returns what it printed."""
    return command(project, sys.executable, *words, code=code)


def command(project: Path, *words: str, code: int = 0) -> str:
    """Run a command in a project, for this Python. Returns what it printed."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("EXPERIMENT_")}
    path = [str(project / "src"), *filter(None, [env.get("PYTHONPATH")])]
    done = subprocess.run(
        words,
        cwd=project,
        env={**env, "PYTHONPATH": os.pathsep.join(path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=500,
    )
    assert done.returncode == code, done.stdout
    return done.stdout
