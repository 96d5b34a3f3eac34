"""Which code runs: its commit, what differs from it, and the packages that are installed."""

import os
import subprocess
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

# Lead git to the repository whose hook started the command.
GIT_ELSEWHERE = {"GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"}


def _git(folder: Path, *arguments: str) -> str | None:
    """What git says of the repository that a folder is in."""
    command = ["git", "-C", str(folder), *arguments]
    env = {name: value for name, value in os.environ.items() if name not in GIT_ELSEWHERE}
    try:
        done = subprocess.run(command, capture_output=True, timeout=20, check=True, env=env)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.decode(errors="replace")


def code_state(package: Path) -> tuple[dict[str, Any], str]:
    """The commit of a package's source, whether the work tree differs from it, and how.

    None for a package that was installed from a wheel: it may lie in the folder of a repository
    that does not track it.
    """
    commit, changes = _git(package, "rev-parse", "HEAD"), _git(package, "status", "--porcelain")
    if commit is None or changes is None or not _git(package, "ls-files", "__init__.py"):
        return {"commit": None, "dirty": None}, ""
    diff = _git(package, "diff", "HEAD") or "" if changes else ""
    untracked = [line[3:] for line in changes.splitlines() if line.startswith("??")]
    return {"commit": commit.strip(), "dirty": bool(changes), "untracked": untracked}, diff


def packages() -> dict[str, str]:
    """The version of each package that is installed here."""
    return dict(sorted((found.name, found.version) for found in distributions()))
