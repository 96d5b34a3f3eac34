"""What an update leaves in a project, and edits in harness/."""

import hashlib
from pathlib import Path

import pytest
from harness import work_tree

from tests.conftest import commit_all, run

MARKERS = "<<<<<<< before updating\nours\n=======\ntheirs\n>>>>>>> after updating\n"


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A package in a project that is a folder of a repository."""
    package = tmp_path / "projects/one/src/package"
    package.mkdir(parents=True)
    (tmp_path / "outside.txt").write_text(MARKERS)
    project = package.parents[1]
    (project / "pyproject.toml").touch()
    (project / ".gitignore").write_text("results/\n")
    (project / "about.md").write_text("Conflict markers:\n\n    <<<<<<< a\n    >>>>>>> b\n")
    (project / "title.md").write_text("<<<<<<< \n")
    (project / "results").mkdir()
    (project / "results/x.rej").touch()
    commit_all(tmp_path)
    return package


def test_conflicts_and_rejects_are_found(package: Path) -> None:
    run("git", "config", "color.ui", "always", cwd=package)
    assert work_tree.unresolved(package) == []
    project = package.parents[1]
    (project / "src/package/über uns.py").write_text(MARKERS)
    run("git", "add", ".", cwd=project)
    (project / "docs").mkdir()
    (project / "docs/a.md.rej").touch()
    found = [line.partition(": ")[0] for line in work_tree.unresolved(package)]
    assert found == ["src/package/über uns.py", "docs/a.md.rej"]
    (project / ".copier-answers.yml").write_text("_commit: v1.2.0\n_src_path: https://x\n")
    assert "version v1.2.0 of the template" in work_tree.unresolved(package)[-1]


def test_nothing_is_found_without_a_repository(tmp_path: Path) -> None:
    (tmp_path / "a.rej").touch()
    assert work_tree.unresolved(tmp_path / "src/package") == []
    assert work_tree.unresolved(tmp_path / "lib/site-packages/package") == []


@pytest.mark.parametrize(
    ("name", "text", "version"),
    [
        (".copier-answers.yml", "# Written\n_commit: v1.2.0\n_src_path: gh:a/b\n", "v1.2.0"),
        (".copier-answers.yml", "_commit: '1.2'\nci: GitHub\n", "1.2"),
        (
            ".cruft.json",
            '{\n  "template": "x",\n  "commit": "1f3a",\n  "checkout": null\n}',
            "1f3a",
        ),
        ("other", "", None),
    ],
)
def test_the_version_of_the_template(
    package: Path, name: str, text: str, version: str | None
) -> None:
    (package.parents[1] / name).write_text(text)
    assert work_tree.template_version(package) == version


def test_edits_in_harness(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(work_tree, "SUMS", tmp_path / "sha256sums.txt")
    (tmp_path / "run").mkdir()
    for name in ("a.py", "run/b.py", "run/c.html"):
        (tmp_path / name).write_bytes(b"1\n2\n")
    (tmp_path / "run/c.html").write_bytes(b"1\r\n2\r\n")  # git on Windows
    (tmp_path / "a.pyc").touch()
    digest = hashlib.sha256(b"1\n2\n").hexdigest()
    names = ("a.py", "left_out.py", "run/b.py", "run/c.html")
    (tmp_path / "sha256sums.txt").write_text("".join(f"{digest}  {name}\n" for name in names))
    assert work_tree.edits() == []
    (tmp_path / "run/b.py").write_text("1\n")
    (tmp_path / "run/new.py").write_text("1\n2\n")
    found = [line.partition(";")[0] for line in work_tree.edits()]
    assert found == ["harness/run/b.py: edited", "harness/run/new.py: not from the template"]
    (tmp_path / "sha256sums.txt").unlink()
    assert len(work_tree.edits()) == 4


def test_what_ends_an_import_is_explained(
    package: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="130"), work_tree.conflicts_explained(package):
        raise KeyboardInterrupt
    with pytest.raises(SyntaxError), work_tree.conflicts_explained(package):
        raise SyntaxError
    (package / "settings.py").write_text(MARKERS)
    run("git", "add", ".", cwd=package)
    with pytest.raises(SystemExit, match="2"), work_tree.conflicts_explained(package):
        raise SyntaxError
    assert capsys.readouterr().err.startswith("error: src/package/settings.py: conflict markers")
