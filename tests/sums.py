"""The digests of harness/, by which a project sees edits: `python -m tests.sums` writes them."""

import hashlib
import re
from pathlib import Path

from tests.conftest import ROOT, TREE

HARNESS = Path(TREE, "src/{{cookiecutter.package_name}}/harness")


def sums(harness: Path) -> str:
    """What sha256sums.txt holds: each file that a project can have, by its name there."""
    digests = {}
    for path in harness.rglob("*"):
        name = path.relative_to(harness).as_posix()
        name = re.sub(r"{{cookiecutter\.__(\w+)_file}}$", r"\1.py", name)
        if Path(name).suffix in {".py", ".html"}:
            digests[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    return "".join(f"{digests[name]}  {name}\n" for name in sorted(digests))


def write(template: Path = ROOT) -> None:
    """Bring the file of a template up to date."""
    (template / HARNESS / "sha256sums.txt").write_text(sums(template / HARNESS), "utf-8")


if __name__ == "__main__":
    write()
