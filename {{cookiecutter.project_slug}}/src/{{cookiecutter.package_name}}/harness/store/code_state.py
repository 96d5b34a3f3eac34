"""Which code runs: its commit, its uncommitted changes, and the installed packages."""

from importlib.metadata import distributions
from pathlib import Path
from typing import Any

from ..work_tree import git


def code_state(package: Path) -> tuple[dict[str, Any], str]:
    """The commit of a package's source, whether there are uncommitted changes, and their diff.

    The commit is None for a package that git does not track, as one installed from a wheel in a
    virtual environment that lies in another repository.
    """
    commit, changes = git(package, "rev-parse", "HEAD"), git(package, "status", "--porcelain")
    if commit is None or changes is None or not git(package, "ls-files", "__init__.py"):
        return {"commit": None, "dirty": None}, ""
    diff = git(package, "diff", "HEAD") or "" if changes else ""
    untracked = [line[3:] for line in changes.splitlines() if line.startswith("??")]
    return {"commit": commit.strip(), "dirty": bool(changes), "untracked": untracked}, diff


def packages() -> dict[str, str]:
    """The version of each installed package."""
    return dict(sorted((found.name, found.version) for found in distributions()))
