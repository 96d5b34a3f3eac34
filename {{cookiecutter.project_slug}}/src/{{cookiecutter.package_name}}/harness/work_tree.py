"""The project's files under git: conflicts that an update left; edits in harness/.

`__main__` imports this module first, to explain why the others can't be imported: it uses none.
"""

import hashlib
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["conflicts_explained", "edits", "unresolved"]

# A git hook sets these, and git would use the hook's repository.
GIT_ELSEWHERE = {"GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"}
SUMS = Path(__file__).with_name("sha256sums.txt")


def git(folder: Path, *arguments: str) -> str | None:
    """The output of a git command in a folder; None when it fails."""
    command = ["git", "-C", str(folder), *arguments]
    env = {name: value for name, value in os.environ.items() if name not in GIT_ELSEWHERE}
    try:
        done = subprocess.run(command, capture_output=True, timeout=20, check=True, env=env)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.decode(errors="replace")


def _root(package: Path) -> Path:
    """The folder of the package's project."""
    return next((up for up in package.parents if (up / "pyproject.toml").is_file()), package)


def template_version(package: Path) -> str | None:
    """The version of the template that Copier or Cruft recorded, if one of them did."""
    for name in (".copier-answers.yml", ".cruft.json"):  # _commit: v1.0.0, "commit": "1f3a…"
        file = _root(package) / name
        text = file.read_text("utf-8") if file.is_file() else ""
        if found := re.search(r"""^\s*"?_?commit"?: ["']?([^"',\n]+)""", text, re.MULTILINE):
            return found[1]
    return None


def unresolved(package: Path) -> list[str]:
    """The conflicts that an update or a merge has left, one line per file."""
    if "site-packages" in package.parts:  # a repository around it is not the project's
        return []
    folder = _root(package)
    both = ("--all-match", "-e", "^<{7} ", "-e", "^>{7} ")
    marked = git(folder, "grep", "--no-color", "-lzIE", *both)
    ignored = "--exclude-per-directory=.gitignore"
    rejected = git(folder, "ls-files", "-coz", ignored, "--", "*.rej")
    found = [
        f"{path}: conflict markers, <<<<<<< to >>>>>>>; keep the right lines of both versions"
        for path in (marked or "").split("\0")[:-1]
    ]
    found += [
        f"{path}: changes that Cruft could not apply; make them by hand, and delete this file"
        for path in (rejected or "").split("\0")[:-1]
    ]
    version = template_version(package)
    if found and version:
        found.append(f"the last update was to version {version} of the template; resolve it first")
    return found


def edits() -> list[str]:
    """The files in harness/ that are not as the template made them, one line per file."""
    lines = SUMS.read_text("utf-8").splitlines() if SUMS.is_file() else []
    known = {name: digest for digest, name in (line.split("  ", 1) for line in lines)}
    found = []
    for path in sorted(SUMS.parent.rglob("*")):
        name = path.relative_to(SUMS.parent).as_posix()
        if path.suffix not in {".py", ".html"}:
            continue
        content = path.read_bytes().replace(b"\r\n", b"\n")
        if known.get(name) != hashlib.sha256(content).hexdigest():
            what = "edited" if name in known else "not from the template"
            found.append(
                f"harness/{name}: {what}; updates replace harness/: keep your code outside of it"
            )
    return found


@contextmanager
def conflicts_explained(package: Path) -> Iterator[None]:
    """When an import fails because of a conflict, say so and end with exit code 2.

    Ctrl-C during the imports ends with 130; later, a command handles it itself.
    """
    try:
        yield
    except KeyboardInterrupt:
        sys.exit(130)
    except (SyntaxError, ImportError):
        findings = unresolved(package)
        if not findings:
            raise
        for finding in findings:
            print(f"error: {finding}", file=sys.stderr)
        sys.exit(2)
