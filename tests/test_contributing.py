"""The lists in CONTRIBUTING.md are complete: each names the files in which its example is found."""

import re
from functools import cache

import pytest

from tests.conftest import ROOT, TREE

PAGE = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
LISTS = re.findall(r"^### A (\w+).*<!-- (.+) -->\n\n((?:[^#\n].*\n|\n)+)", PAGE, re.MULTILINE)
A_FILE = r"`([\w{./}-]+(?:\.(?:example|json|md|py|toml|yml)|_file\}\}|/))`"


@cache
def texts() -> dict[str, str]:
    """The files that a change may concern, but for pages and tests of the template."""
    paths = [*ROOT.glob("*.*"), ROOT / "Makefile"]
    paths += [
        path for folder in (TREE, "benchmarks", "hooks") for path in (ROOT / folder).rglob("*")
    ]
    texts = {
        f"/{path.relative_to(ROOT).as_posix()}": path.read_text("utf-8")
        for path in paths
        if path.is_file() and path.suffix != ".pyc" and path.name != "sha256sums.txt"
    }
    return {
        path: texts[path]
        for path in texts.keys() - {"/CHANGELOG.md", "/CONTRIBUTING.md", "/uv.lock"}
    }


def test_what_has_a_list() -> None:
    assert [name for name, *_ in LISTS] == [
        "question",
        "framework",
        "tracker",
        "setting",
        "command",
    ]


@pytest.mark.parametrize(("example", "steps"), [pytest.param(e, s, id=n) for n, e, s in LISTS])
def test_list_is_complete(example: str, steps: str) -> None:
    pattern, named = re.compile(example, re.MULTILINE), re.findall(A_FILE, steps)
    found = {path for path, text in texts().items() if pattern.search(path) or pattern.search(text)}
    assert {
        path for path in found if not path.endswith(tuple(f"/{name}" for name in named))
    } == set()
    there = {name for name in named if any(path.endswith(f"/{name}") for path in texts())}
    assert [name for name in named if name not in there and not (ROOT / name).exists()] == []
