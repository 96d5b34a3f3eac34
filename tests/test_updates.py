"""An update of a project with a team's edits, from before harness/ had packages to this version.

What both engines do (seen with Copier 9.19 and Cruft 2.16): files that the template moved, renamed
or dropped leave nothing behind, and every conflict is an inline one in a file that the team edited.

What no template can change is a file that a team edited and a later version dropped. Copier
deletes it, the edits too; Cruft keeps it, and then leaves all conflicts in *.rej files, as
docs/updates.md says. None of EDITS should become such a file.
"""

import ast
import json
import re
import shutil
from pathlib import Path

import pytest
from copier import run_copy, run_update

from tests.conftest import OUTSIDE, PARTS, ROOT, Tree, commit_all, read_tree, run, with_cookiecutter

OLD = "0a5efd9c0d7fc7f2a1fc5050622e404df9896b20"  # the last commit before the packages

# What a team has changed, by file: a text of the old version, and what stands there instead.
EDITS = {
    "README.md": {
        "\n## Commands\n": "\nWho to ask: the team.\n\n## Commands\n",
        "| `NAME` |": "| `FOLDS` | `5` | parts of the validation |\n| `NAME` |",
    },
    ".env.example": {
        "# folder of the experiment": "# parts of the validation\n#EXPERIMENT_FOLDS=5\n\n"
        "# folder of the experiment",
    },
    "src/ray_tune_experiment/data.py": {
        "import load_digits\n": "import load_wine\n",
        '= "scikit-learn\'s digits"': '= "scikit-learn\'s wines"',
        "load_digits(return_X_y=True": "load_wine(return_X_y=True",
    },
    "src/ray_tune_experiment/model.py": {
        '(config["hidden_units"],),': '(config["hidden_units"], config["hidden_units"] // 2),',
        '=config["l2"],\n': '=config["l2"],\n            beta_1=config["beta_1"],\n',
    },
    "src/ray_tune_experiment/search_space.py": {
        '        "batch_size"': '        "beta_1": tune.uniform(0.8, 0.99),\n        "batch_size"',
    },
    "src/ray_tune_experiment/settings.py": {
        "    # The experiment\n": "    folds: int = Field(default=5, ge=2, description="
        '"parts of the validation")\n\n    # The experiment\n',
    },
}
ADDED = "src/ray_tune_experiment/losses.py"
DELETED = ".pre-commit-config.yaml"


@pytest.fixture(scope="module")
def versions(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a repository of the template with two versions: OLD, and as it stands."""
    folder = tmp_path_factory.mktemp("versions")
    repository, old = folder / "template.git", folder / "old"
    command = ("git", "archive", "-o", folder / "old.zip", OLD, "--", *PARTS)
    archived = run(*command, cwd=ROOT, env=OUTSIDE, check=False)
    if archived.returncode:
        why = archived.stderr.strip()
        pytest.fail(f"git has no commit {OLD[:7]} (git fetch --unshallow): {why}", pytrace=False)
    shutil.unpack_archive(folder / "old.zip", old)
    run("git", "init", "-q", "--bare", "-b", "main", repository)
    for version, tree in {"v1.0.0": old, "v2.0.0": template}.items():
        git = ("git", "--git-dir", repository, "--work-tree", tree)
        run(*git, "add", "-A", cwd=tree)
        run(*git, "commit", "-q", "-m", version, cwd=tree)
        run(*git, "tag", version, cwd=tree)
    return repository


def edit(project: Path) -> dict[str, set[str]]:
    """Make and commit a team's edits. Returns the lines that it wrote, by file."""
    written = {}
    for path, edits in EDITS.items():
        before = text = (project / path).read_text("utf-8")
        for old, new in edits.items():
            assert text.count(old) == 1, (path, old)
            text = text.replace(old, new)
        (project / path).write_text(text, "utf-8")
        written[path] = set(text.splitlines()) - set(before.splitlines())
    (project / ADDED).write_text("EPSILON = 1e-9\n")
    (project / DELETED).unlink()
    commit_all(project)
    return written


def untouched(tree: Tree) -> dict[str, bytes | None]:
    """What a tree holds beside the team's files; a folder holds nothing itself."""
    return {k: content for k, (_, content) in tree.items() if k not in {*EDITS, ADDED, DELETED}}


@pytest.mark.parametrize("tracker", ["none", "MLflow"])
@pytest.mark.parametrize("engine", ["copier", "cruft"])
def test_files_that_the_team_left_alone_are_as_in_a_new_project(
    engine: str, tracker: str, versions: Path, template: Path, tmp_path: Path
) -> None:
    project = tmp_path / "ray-tune-experiment"
    if engine == "copier":
        data = {"tracker": tracker}
        run_copy(str(versions), project, data, vcs_ref="v1.0.0", defaults=True, quiet=True)
    else:  # in a process of its own: each version brings its own answer_guard.py
        answer = ("--extra-context", json.dumps({"tracker": tracker}), "--output-dir", tmp_path)
        run("cruft", "create", versions, "--no-input", "--checkout", "v1.0.0", *answer)
    commit_all(project)  # the untouched project, which Cruft merges with
    written = edit(project)
    if engine == "copier":
        run_update(project, defaults=True, overwrite=True, quiet=True)
    else:
        run("cruft", "update", "--skip-apply-ask", cwd=project)

    found = untouched(read_tree(project))  # with anything left over, *.rej too
    new = with_cookiecutter(template, tmp_path / "new", {"tracker": tracker})
    expected = untouched(new.tree)
    assert found.keys() == expected.keys()
    assert [path for path in expected if found[path] != expected[path]] == []

    assert (project / ADDED).read_text() == "EPSILON = 1e-9\n"
    assert not (project / DELETED).exists()
    # For who reads the output (-rP); `git status` shows the same files as "both modified".
    unmerged = run("git", "diff", "--name-only", "--diff-filter=U", cwd=project).stdout.split()
    print(f"{engine}, tracker {tracker}: conflicts in {', '.join(unmerged) or 'no file'}")
    for path, lines in written.items():
        text = (project / path).read_text("utf-8")
        assert lines <= set(text.splitlines()), path
        assert bool(re.search("^(<{7}|>{7}) ", text, re.MULTILINE)) == (path in unmerged), path
        if path.endswith(".py") and path not in unmerged:
            ast.parse(text)
