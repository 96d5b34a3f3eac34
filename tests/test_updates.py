"""Updates of a project that its team has edited: from each release, and from before the first.

What both engines do (seen with Copier 9.19 and Cruft 2.16): files that the template moved, renamed
or dropped leave nothing behind, and every conflict is an inline one in a file that the team edited.

What no template can change is a file that a team edited and a later version dropped. Copier
deletes it, the edits too; Cruft keeps it, and then leaves all conflicts in *.rej files, as
docs/updates.md says. None of the edits should be in such a file.
"""

import ast
import json
import os
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from copier import run_copy, run_update
from packaging.version import Version

from tests.conftest import (
    OUTSIDE,
    PARTS,
    ROOT,
    TREE,
    Tree,
    commit_all,
    read_tree,
    run,
    with_cookiecutter,
)
from tests.sums import write as write_sums

OLD = "0a5efd9c0d7fc7f2a1fc5050622e404df9896b20"  # the last commit before harness/ had packages
PROJECT = "ray-tune-experiment"
PACKAGE = "src/ray_tune_experiment"


def releases(text: str, repository: Path = ROOT) -> Iterator[tuple[str, str]]:
    """Yield version and commit of each line of RELEASES. Raises ValueError for a wrong line."""
    newest = Version("0")
    for line in text.splitlines():
        if line.startswith("#"):
            continue
        version, _, commit = line.partition(" ")
        if Version(version) <= newest:
            raise ValueError(f"{line}: not newer than {newest}")
        newest = Version(version)
        ancestor = ("git", "merge-base", "--is-ancestor", commit, "HEAD")
        if len(commit) != 40 or run(*ancestor, cwd=repository, check=False).returncode:
            raise ValueError(f"{line}: no commit before this one")
        yield version, commit


RELEASES = dict(releases((ROOT / "RELEASES").read_text("utf-8")))

# ------------------------------------------------------------ from before the first release

# What a team has changed, by file: a text of OLD, and what stands there instead.
OLD_EDITS = {
    "README.md": {
        "\n## Commands\n": "\nWho to ask: the team.\n\n## Commands\n",
        "| `NAME` |": "| `FOLDS` | `5` | parts of the validation |\n| `NAME` |",
    },
    ".env.example": {
        "# folder of the experiment": "# parts of the validation\n#EXPERIMENT_FOLDS=5\n\n"
        "# folder of the experiment",
    },
    f"{PACKAGE}/data.py": {
        "import load_digits\n": "import load_wine\n",
        '= "scikit-learn\'s digits"': '= "scikit-learn\'s wines"',
        "load_digits(return_X_y=True": "load_wine(return_X_y=True",
    },
    f"{PACKAGE}/model.py": {
        '(config["hidden_units"],),': '(config["hidden_units"], config["hidden_units"] // 2),',
        '=config["l2"],\n': '=config["l2"],\n            beta_1=config["beta_1"],\n',
    },
    f"{PACKAGE}/search_space.py": {
        '        "batch_size"': '        "beta_1": tune.uniform(0.8, 0.99),\n        "batch_size"',
    },
    f"{PACKAGE}/settings.py": {
        "    # The experiment\n": "    folds: int = Field(default=5, ge=2, description="
        '"parts of the validation")\n\n    # The experiment\n',
    },
}
ADDED = f"{PACKAGE}/losses.py"
DELETED = ".pre-commit-config.yaml"


Edits = dict[str, dict[str, str]]


def archive(commit: str, folder: Path) -> Path:
    """Write what the template was at a commit."""
    packed = folder / f"{commit}.zip"
    command = ("git", "archive", "-o", packed, commit, "--", *PARTS)
    archived = run(*command, cwd=ROOT, env=OUTSIDE, check=False)
    if archived.returncode:
        why = archived.stderr.strip()
        pytest.fail(f"git has no commit {commit[:7]} (git fetch --unshallow): {why}", pytrace=False)
    shutil.unpack_archive(packed, folder / commit)
    return folder / commit


@pytest.fixture(scope="module")
def later(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The next version: the template as it stands, and changes of the kind that versions bring."""
    folder = shutil.copytree(template, tmp_path_factory.mktemp("later") / "template")
    harness = folder / TREE / "src/{{cookiecutter.package_name}}/harness"
    for path, old, new in (
        (harness / "run/pace.py", '"""', '"""Later: '),
        (folder / TREE / "README.md", "## Commands\n", "## Commands\n\nLater.\n"),
        (folder / TREE / "Makefile", "## Run all tests", "## Run each test"),
    ):
        text = path.read_text("utf-8")
        assert old in text
        path.write_text(text.replace(old, new, 1), "utf-8")
    (harness / "run/later.py").write_text('"""What a later version adds."""\n')
    write_sums(folder)
    return folder


@pytest.fixture(scope="module")
def versions(template: Path, later: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the template in git: OLD, each release, as it stands, and the next version."""
    folder = tmp_path_factory.mktemp("versions")
    repository = folder / "template.git"
    trees = {"0.0.1": archive(OLD, folder)}
    trees |= {version: archive(commit, folder) for version, commit in RELEASES.items()}
    run("git", "init", "-q", "--bare", "-b", "main", repository)
    for version, tree in {**trees, "9998": template, "9999": later}.items():
        git = ("git", "--git-dir", repository, "--work-tree", tree)
        run(*git, "add", "-A", cwd=tree)
        run(*git, "commit", "-q", "--allow-empty", "-m", version, cwd=tree)
        run(*git, "tag", f"v{version}", cwd=tree)
    return repository


def start(engine: str, versions: Path, version: str, answers: dict[str, str], tmp: Path) -> Path:
    """Make and commit a project as it was in a version."""
    project = tmp / PROJECT
    if engine == "copier":
        run_copy(str(versions), project, answers, vcs_ref=version, defaults=True, quiet=True)
    else:  # in a process of its own: each version brings its own answer_guard.py
        answer = ("--extra-context", json.dumps(answers), "--output-dir", tmp)
        run("cruft", "create", versions, "--no-input", "--checkout", version, *answer)
    commit_all(project)  # the untouched project, which Cruft merges with
    return project


def update(engine: str, project: Path) -> None:
    if engine == "copier":
        run_update(project, defaults=True, overwrite=True, quiet=True)
    else:
        run("cruft", "update", "--skip-apply-ask", cwd=project)


def command(project: Path, *words: str, check: bool = True) -> list[str]:
    """Run a project's command in the template's own Python. Returns its errors."""
    env = {**os.environ, "PYTHONPATH": str(project / "src"), "OMP_NUM_THREADS": "1"}
    said = run(sys.executable, "-m", *words, cwd=project, env=env, check=check)
    return [line.removeprefix("error: ") for line in said.stderr.splitlines()]


def edit(project: Path, edits: Edits) -> dict[str, set[str]]:
    """Make a team's edits. Returns the lines that it wrote, by file."""
    written = {}
    for path, changes in edits.items():
        before = text = (project / path).read_text("utf-8")
        for old, new in changes.items():
            assert text.count(old) == 1, (path, old)
            text = text.replace(old, new)
        (project / path).write_text(text, "utf-8")
        written[path] = set(text.splitlines()) - set(before.splitlines())
    (project / ADDED).write_text("EPSILON = 1e-9\n")
    (project / DELETED).unlink()
    return written


def untouched(tree: Tree) -> dict[str, bytes | None]:
    """What a tree holds beside the team's files; a folder holds nothing itself."""
    return {k: content for k, (_, content) in tree.items() if k not in {*OLD_EDITS, ADDED, DELETED}}


@pytest.mark.parametrize(("engine", "tracker"), [("copier", "none"), ("cruft", "MLflow")])
def test_files_that_the_team_left_alone_are_as_in_a_new_project(
    engine: str, tracker: str, versions: Path, later: Path, tmp_path: Path
) -> None:
    project = start(engine, versions, "v0.0.1", {"tracker": tracker}, tmp_path)
    written = edit(project, OLD_EDITS)
    commit_all(project)
    update(engine, project)

    found = untouched(read_tree(project))  # with anything left over, *.rej too
    new = with_cookiecutter(later, tmp_path / "new", {"tracker": tracker})
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

    *found_by_check, last = command(project, "ray_tune_experiment", "check", check=False)
    assert [line.partition(": conflict markers")[0] for line in found_by_check] == unmerged
    version = "v9999"
    if engine == "cruft":
        version = run("git", "rev-parse", version, cwd=versions).stdout.strip()
    assert last == f"the last update was to version {version} of the template; resolve it first"


# ------------------------------------------------------------ from each release

EDITS: Edits = {
    ".github/workflows/ci.yml": {"timeout-minutes: 20": "timeout-minutes: 45"},
    "README.md": {"\n## Files\n": "\nWho to ask: the team.\n\n## Files\n"},
    f"{PACKAGE}/model.py": {
        '=config["l2"],\n': '=config["l2"],\n            beta_1=config["beta_1"],\n',
    },
    f"{PACKAGE}/search_space.py": {
        '        "batch_size"': '        "beta_1": tune.uniform(0.8, 0.99),\n        "batch_size"',
    },
    f"{PACKAGE}/settings.py": {
        'column of DATA_PATH to predict")\n': 'column of DATA_PATH to predict")\n'
        '    folds: int = Field(default=5, ge=2, description="parts of the validation")\n',
    },
    "tests/conftest.py": {'    "l2": 1e-4,\n': '    "l2": 1e-4,\n    "beta_1": 0.9,\n'},
}
HARNESS_EDIT = f"{PACKAGE}/harness/run/words.py"


@pytest.fixture(scope="module")
def expected(later: Path, tmp_path_factory: pytest.TempPathFactory) -> Tree:
    """A new project of the next version with the edits; its own unit tests pass."""
    project = with_cookiecutter(later, tmp_path_factory.mktemp("expected"), {}).project
    edit(project, EDITS)
    command(project, "ray_tune_experiment", "docs")
    tree = read_tree(project)
    command(project, "pytest", "-q", "-p", "no:cacheprovider", "tests/unit")
    return tree


@pytest.mark.parametrize("engine", ["copier", "cruft"])
@pytest.mark.parametrize("version", [*RELEASES] or ["9998"])
def test_an_edited_project_becomes_what_a_new_one_with_the_edits_is(
    version: str, engine: str, versions: Path, expected: Tree, tmp_path: Path
) -> None:
    project = start(engine, versions, f"v{version}", {}, tmp_path)
    edit(project, EDITS)
    command(project, "ray_tune_experiment", "docs")
    with (project / HARNESS_EDIT).open("a") as file:
        file.write("\n# Not ours to edit.\n")
    commit_all(project)
    update(engine, project)

    said = command(project, "ray_tune_experiment", "check", check=False)
    edited = "harness/run/words.py: edited; updates replace harness/: keep your code outside of it"
    assert edited in said
    # Where the new version has changed the same lines, they are the only conflict.
    conflicts = [line for line in said if ": conflict markers" in line]
    assert all(line.startswith(f"{HARNESS_EDIT}: ") for line in conflicts)
    assert len(said) == (3 if conflicts else 1), said
    _, content = expected[HARNESS_EDIT]
    (project / HARNESS_EDIT).write_bytes(content or b"")
    found = {path: file for path, file in read_tree(project).items() if "__pycache__" not in path}
    assert found.keys() == {path for path in expected if "__pycache__" not in path}
    assert [path for path in found if found[path] != expected[path]] == []


def test_releases_that_are_refused(tmp_path: Path) -> None:
    run("git", "init", "-q", "-b", "main", cwd=tmp_path)
    commits = []
    for name in ("first", "second", "aside"):
        run("git", "commit", "-q", "--allow-empty", "-m", name, cwd=tmp_path)
        commits.append(run("git", "rev-parse", "HEAD", cwd=tmp_path).stdout.strip())
    run("git", "reset", "-q", "--hard", commits[1], cwd=tmp_path)
    first, second, aside = commits
    good = f"# A remark\n1.0.0 {first}\n1.1.0rc1 {second}\n"
    assert dict(releases(good, tmp_path)) == {"1.0.0": first, "1.1.0rc1": second}
    for line in (
        f"1.2.0 {aside}",
        f"1.2.0 {second[:12]}",
        "1.2.0 main",
        f"1.1.0.rc.0 {second}",
        f"1.0.0 {second}",
        f"next {second}",
        "1.2.0",
    ):
        with pytest.raises(ValueError, match=re.escape(line.split()[0])):
            list(releases(good + line, tmp_path))


# ------------------------------------------------------------ other names


@pytest.fixture(scope="module")
def renamed(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository whose second version calls a question, and two files, by other names.

    As copier.yml says: the new question's default is the answer to the old one.
    """
    folder = shutil.copytree(template, tmp_path_factory.mktemp("renamed") / "template")
    commit_all(folder)
    run("git", "tag", "v1.0.0", cwd=folder)
    questions = (folder / "copier.yml").read_text("utf-8")
    assert "\n  default: none\n" in questions
    questions = re.sub(
        r"^tracker:(.*?default: )none$",
        r"""logged_by:\1'{{ tracker | default("none") }}'""",
        questions,
        flags=re.MULTILINE | re.DOTALL,
    ).replace("tracker=tracker", "logged_by=logged_by")
    (folder / "copier.yml").write_text(questions.replace(OLD_NAME, NEW_NAME), "utf-8")
    texts = (folder / "cookiecutter.json").read_text("utf-8").replace('"tracker":', '"logged_by":')
    (folder / "cookiecutter.json").write_text(texts.replace(OLD_NAME, NEW_NAME), "utf-8")
    for path in filter(Path.is_file, (folder / TREE).rglob("*")):
        if OLD_NAME in (text := path.read_text("utf-8")):
            path.write_text(text.replace(OLD_NAME, NEW_NAME), "utf-8")
    for old, new in (("run/pace.py", "run/tempo.py"), ("store", "kept")):
        harness = folder / TREE / "src/{{cookiecutter.package_name}}/harness"
        (harness / old).rename(harness / new)
    run("git", "add", "-A", cwd=folder)
    run("git", "commit", "-q", "-m", "Other names", cwd=folder)
    run("git", "tag", "v2.0.0", cwd=folder)
    return folder


OLD_NAME, NEW_NAME = "cookiecutter.tracker", "cookiecutter.logged_by"


@pytest.mark.parametrize("engine", ["copier", "cruft"])
def test_a_question_and_files_may_get_other_names(
    engine: str, renamed: Path, tmp_path: Path
) -> None:
    """Without --trust, and with nothing left over; Cruft has to be told the answer."""
    project = start(engine, renamed, "v1.0.0", {"tracker": "MLflow"}, tmp_path)
    if engine == "copier":
        update(engine, project)
        answers = (project / ".copier-answers.yml").read_text("utf-8")
        assert "\nlogged_by: MLflow\n" in answers
        assert "\ntracker:" not in answers
    else:
        told = ("--variables-to-update", '{"logged_by": "MLflow"}')
        run("cruft", "update", "--skip-apply-ask", *told, cwd=project)
    # in a process of its own: it has an answer_guard.py of its own
    run("cookiecutter", "--no-input", "-o", tmp_path / "new", renamed, "logged_by=MLflow")
    assert read_tree(project) == read_tree(tmp_path / "new" / PROJECT)
