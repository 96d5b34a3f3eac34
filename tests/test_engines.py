"""Cookiecutter, Copier and Cruft make the same project, whole and rendered, for every answer."""

import ast
import json
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterable, Iterator
from functools import cache, partial
from itertools import zip_longest
from pathlib import Path
from typing import Any

import pytest
import yaml
from allpairspy import AllPairs
from copier import run_copy, run_update
from packaging.requirements import Requirement

from tests.conftest import (
    BIN,
    OUTSIDE,
    ROOT,
    TREE,
    Answers,
    Rendering,
    Tree,
    commit_all,
    files,
    read_tree,
    run,
    with_cookiecutter,
)
from tests.test_answers import ACCEPTED

RenderBoth = Callable[[Answers], tuple[Rendering, Rendering]]

FLOORS = {"cookiecutter": "2.6.0", "copier": "9.2.0"}
COMMON = set(
    """
    .env.example .gitignore .pre-commit-config.yaml LICENSE Makefile README.md pyproject.toml
    src/PACKAGE/__init__.py src/PACKAGE/__main__.py src/PACKAGE/callbacks.py src/PACKAGE/data.py
    src/PACKAGE/model.py src/PACKAGE/project.py src/PACKAGE/py.typed src/PACKAGE/search_space.py
    src/PACKAGE/settings.py src/PACKAGE/stopper.py src/PACKAGE/trainable.py
    src/PACKAGE/tune_run.py
    tests/conftest.py
    tests/experiment/conftest.py tests/experiment/test_tune_run.py
    tests/unit/conftest.py tests/unit/test_data.py tests/unit/test_model.py
    tests/unit/test_settings.py
    tests/unit/test_stopper.py tests/unit/test_template.py tests/unit/test_trainable.py
    """.split()  # noqa: SIM905
)
HARNESS = ROOT / TREE / "src/{{cookiecutter.package_name}}/harness"
CI = {
    "GitHub": {
        ".github/dependabot.yml",
        ".github/workflows/ci.yml",
        ".github/workflows/template.yml",
    },
    "GitLab": {".gitlab-ci.yml"},
    "none": set[str](),
}
TRACKERS = {
    "MLflow": {"mlflow", "mlflow_client", "mlflow_experiment"},
    "Weights & Biases": {"wandb"},
    "none": set[str](),
}
# What is imported under another name than that of its package.
MODULES = {
    "python-dotenv": "dotenv",
    "pyyaml": "yaml",
    "scikit-learn": "sklearn",
    "xgboost-cpu": "xgboost",
}
DATAFRAMES = {"pandas": set[str](), "Modin": {"modin"}}


def answer_pairs() -> Iterator[Answers]:
    """Yield as few sets of answers as hold every pair of choices and awkward texts."""
    questions = yaml.safe_load((ROOT / "copier.yml").read_text("utf-8"))
    values = {
        name: question.get("choices") or ACCEPTED[name][-3:]
        for name, question in questions.items()
        if name[0] != "_" and question.get("when") is not False
    }
    for row in AllPairs(list(values.values())):
        yield dict(zip(values, row, strict=True))


def assert_whole(tree: Tree, answers: Answers) -> None:
    """Assert that a tree has just the right files, that they are rendered, and that they parse."""
    package = answers.get("package_name", "ray_tune_experiment")
    paths = COMMON | CI[answers.get("ci", "GitHub")]
    trackers = TRACKERS[answers.get("tracker", "none")]
    paths |= {"tests/experiment/test_tracker.py"} if trackers else set()
    harness = {f"src/PACKAGE/harness/{path}": content for path, content in harness_files().items()}
    tables = DATAFRAMES[answers.get("dataframes", "pandas")]
    for folder, name in [*(("trackers", n) for n in trackers), *(("data", n) for n in tables)]:
        file = HARNESS / folder / f"{{{{cookiecutter.__{name}_file}}}}"
        harness[f"src/PACKAGE/harness/{folder}/{name}.py"] = file.read_bytes()
    expected = {path.replace("PACKAGE", package) for path in paths | harness.keys()}
    assert files(tree) == expected
    folders = {str(parent) for path in expected for parent in Path(path).parents} - {"."}
    assert tree.keys() - files(tree) == folders
    for path, (mode, content) in tree.items():
        assert not re.search(r"\{\{|\{%|\{#", path)
        if content is None:
            continue
        assert mode & 0o777 == 0o644, path
        text = content.decode("utf-8")
        # GitHub's own expressions are ${{ … }}.
        assert not re.search(r"(?<!\$)\{\{|\{%|\{#", text), path
        assert "\r" not in text
        assert not text or (text.endswith("\n") and not text.endswith("\n\n")), path
        parse(path, text)
    for path, content in harness.items():  # the same bytes in every project
        assert tree[path.replace("PACKAGE", package)][1] == content, path


def harness_files() -> dict[str, bytes]:
    """Return the bytes of each file of the harness that no answer leaves out, by path."""
    paths = (path for kind in ("*.py", "*.html", "*.txt") for path in HARNESS.rglob(kind))
    return {path.relative_to(HARNESS).as_posix(): path.read_bytes() for path in paths}


def test_folders_of_the_harness_are_copied_whole() -> None:
    """File by file takes Cookiecutter a twentieth longer; but a file's name may be conditional."""
    settings = json.loads((ROOT / "cookiecutter.json").read_text("utf-8"))
    folders = {path.parent.name for path in HARNESS.glob("*/__init__.py")} - {"data", "trackers"}
    assert settings["_copy_without_render"] == [
        *(f"*/harness/{folder}" for folder in sorted(folders)),
        "*/harness/*.py",
    ]


@cache  # most are the same in every project
def parse(path: str, text: str) -> object:
    match Path(path).suffix:
        case ".toml":
            return tomllib.loads(text)
        case ".json":
            return json.loads(text)
        case ".yml" | ".yaml":
            return yaml.safe_load(text)
        case ".py":
            return ast.parse(text)
    return None


def describe(answers: Answers) -> str:
    return "-".join(answers[name] for name in ("license", "python_version", "ci", "package_name"))


@pytest.mark.parametrize(
    "answers", [pytest.param(a, id=f"{i:02}") for i, a in enumerate(answer_pairs())]
)
def test_every_pair_of_answers(answers: Answers, render_both: RenderBoth) -> None:
    ours, theirs = render_both(answers)
    assert (ours.refusal, theirs.refusal) == ("", "")
    assert ours.tree.keys() == theirs.tree.keys()
    assert ours.tree == theirs.tree
    assert_whole(ours.tree, answers)
    _, content = ours.tree["pyproject.toml"]
    pyproject: dict[str, Any] = tomllib.loads((content or b"").decode())
    project = pyproject["project"]
    assert project["description"] == answers["description"]
    assert project["authors"][0]["name"] == answers["author_name"]

    package = {answers["package_name"]}
    declared, tools = (
        modules(project["dependencies"]),
        modules(pyproject["dependency-groups"]["dev"]),
    )
    extras = modules(name for each in project["optional-dependencies"].values() for name in each)
    needed = imports(ours.tree, "src") - package
    assert needed <= declared | extras
    assert declared - needed <= {"s3fs"}  # which pandas imports, and Modin, for s3://
    assert imports(ours.tree, "tests") - package <= declared | tools


def imports(tree: Tree, folder: str) -> set[str]:
    """The modules that the Python files in a folder import, but for Python's own."""
    found: set[str] = set()
    for path, (_, content) in tree.items():
        if path.startswith(f"{folder}/") and path.endswith(".py"):
            found |= imported((content or b"").decode())
    return found


@cache
def imported(text: str) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names.add(str(node.module).partition(".")[0])
    return names - sys.stdlib_module_names


def modules(requirements: Iterable[str]) -> set[str]:
    """What requirements are imported as."""
    names = [Requirement(text).name for text in requirements]
    return {MODULES.get(name, name.replace("-", "_")) for name in names}


def test_every_import_of_the_template_is_declared() -> None:
    """But for what only a generated project installs, and PyTorch, which the Makefile adds."""
    metadata = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    groups = metadata["dependency-groups"]
    declared = modules([*metadata["project"]["dependencies"], *groups["dev"], *groups["docs"]])
    paths = [p for folder in ("benchmarks", "docs", "tests") for p in (ROOT / folder).rglob("*.py")]
    found = {name for p in paths for name in imported(p.read_text("utf-8"))}
    own = {"benchmarks", "docs", "tests", "harness", "stub", "ray_tune_experiment"}
    assert found - own - {"mlflow", "sqlalchemy", "wandb", "torch"} - declared == set()


def test_every_choice_and_awkward_text_meets_every_other() -> None:
    rows = list(answer_pairs())
    assert len(rows) < 40, "more renderings than a test run should take"
    for first in rows[0]:
        for second in rows[0]:
            if first < second:
                seen = {(row[first], row[second]) for row in rows}
                sizes = [len({row[name] for row in rows}) for name in (first, second)]
                assert len(seen) == sizes[0] * sizes[1], (first, second)


def accepted_rows() -> Iterator[Answers]:
    """Yield sets of answers that hold each accepted text once.

    Names that are derived from the project's stand apart from those that are given.
    """
    names = {"project_slug", "package_name"}
    for part in (ACCEPTED.keys() - names, names):
        for row in zip_longest(*(ACCEPTED[name] for name in sorted(part))):
            answers = zip(sorted(part), row, strict=True)
            yield {name: text for name, text in answers if text is not None}


@pytest.mark.parametrize(
    "answers", [pytest.param(a, id=f"{i:02}") for i, a in enumerate(accepted_rows())]
)
def test_every_accepted_text(answers: Answers, render_both: RenderBoth) -> None:
    ours, theirs = render_both(answers)
    assert (ours.refusal, theirs.refusal) == ("", "")
    assert ours.tree == theirs.tree
    (package,) = (path.name for path in (ours.project / "src").iterdir())
    assert package == answers.get("package_name", package)
    assert_whole(ours.tree, {**answers, "package_name": package})


def test_link_to_the_tree() -> None:
    assert (ROOT / "template").readlink() == Path(TREE)


def test_no_links_inside_the_tree() -> None:
    assert [path for path in (ROOT / TREE).rglob("*") if path.is_symlink()] == []


@pytest.fixture(scope="session")
def default_tree(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Tree:
    out = tmp_path_factory.mktemp("default")
    run("cookiecutter", "--no-input", "-o", out, template)
    tree = read_tree(out / "ray-tune-experiment")
    assert_whole(tree, {})
    return tree


def test_cruft_makes_the_same(repository: Path, tmp_path: Path, default_tree: Tree) -> None:
    run("cruft", "create", repository, "--no-input", "--output-dir", tmp_path)
    assert read_tree(tmp_path / "ray-tune-experiment") == default_tree


def test_copier_makes_the_same_from_git(
    repository: Path, tmp_path: Path, default_tree: Tree
) -> None:
    run("copier", "copy", "--defaults", repository, tmp_path / "out")
    assert read_tree(tmp_path / "out") == default_tree
    answers = yaml.safe_load((tmp_path / "out" / ".copier-answers.yml").read_text())
    questions = json.loads((ROOT / "cookiecutter.json").read_text())
    asked = {name for name in questions if not name.startswith("_")}
    assert answers.keys() == {*asked, "_commit", "_src_path"}


# What a team wrote: a file of its own, and lines in files whose other lines the answer changes.
EDITS = {
    "src/ray_tune_experiment/losses.py": "EPSILON = 1e-9\n",
    "src/ray_tune_experiment/callbacks.py": "\n\nCHANNEL = 7\n",
    "README.md": "\n## Who to ask\n\nThe team.\n",
}
# The answers of an update, and of the next ones.
STEPS = ({"tracker": "MLflow"}, {"tracker": "Weights & Biases"}, {"tracker": "none", "ci": "none"})


def edited(tree: Tree) -> dict[str, bytes]:
    """The files of a tree, and what a team wrote."""
    contents = {path: content for path, (_, content) in tree.items() if content is not None}
    for path, text in EDITS.items():
        contents[path] = contents.get(path, b"") + text.encode()
    return contents


@pytest.fixture(scope="session")
def fresh(template: Path, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, bytes]]:
    """What a new project of each of STEPS has, and the edits."""
    folder, trees = tmp_path_factory.mktemp("fresh"), []
    for number, answers in enumerate(STEPS):
        made = with_cookiecutter(template, folder / str(number), answers)
        assert_whole(made.tree, answers)
        trees.append(edited(made.tree))
    assert len({frozenset(tree) for tree in trees}) == len(STEPS)
    return trees


@pytest.mark.parametrize("engine", ["copier", "cruft"])
def test_other_answers_are_as_if_they_had_been_given_before(
    engine: str, repository: Path, tmp_path: Path, fresh: list[dict[str, bytes]]
) -> None:
    """A tracker, another, none, and no CI: nothing is left over, and the team's edits stay."""
    source, project = tmp_path / "source", tmp_path / "ray-tune-experiment"
    shutil.copytree(repository, source)
    run("git", "tag", "v1.0.0", cwd=source)
    if engine == "copier":
        run_copy(str(source), project, vcs_ref="v1.0.0", defaults=True, quiet=True)
    else:
        run("cruft", "create", source, "--no-input", "--output-dir", tmp_path)
    commit_all(project)  # the untouched project, which Cruft merges with
    for path, text in EDITS.items():
        with (project / path).open("a") as file:
            file.write(text)
    for answers, expected in zip(STEPS, fresh, strict=True):
        commit_all(project)
        if engine == "copier":
            update = partial(run_update, defaults=True, overwrite=True, quiet=True)
            update(project, answers, vcs_ref="v1.0.0")
        else:
            data = ["--variables-to-update", json.dumps(answers)]
            run("cruft", "update", "--skip-apply-ask", *data, cwd=project)
        found = {path: content for path, (_, content) in read_tree(project).items() if content}
        assert found.keys() == {path for path, content in expected.items() if content}
        assert found == {path: content for path, content in expected.items() if content}


def test_cookiecutter_makes_the_same_from_a_zip(
    template: Path, tmp_path: Path, default_tree: Tree
) -> None:
    archive = shutil.make_archive(
        str(tmp_path / "archive"), "zip", root_dir=template.parent, base_dir=template.name
    )
    run("cookiecutter", "--no-input", "-o", tmp_path / "out", archive)
    assert read_tree(tmp_path / "out/ray-tune-experiment") == default_tree


@pytest.fixture(scope="session")
def floor() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Return a function that runs the oldest version of an engine that the template promises."""
    uv = shutil.which("uv", path=str(BIN)) or shutil.which("uv")
    assert uv, "these tests need uv, beside Python or on the PATH"

    @cache
    def folder(engine: str) -> str:
        version = f"{engine}=={FLOORS[engine]}"
        prepare = [uv, "tool", "run", "--from", version, "--with", "setuptools"]
        return subprocess.run(
            [*prepare, "python", "-c", "import sys; print(sys.prefix)"],
            check=True,
            capture_output=True,
            text=True,
            env=OUTSIDE,
        ).stdout.strip()

    def run_floor(engine: str, *arguments: object, **options: Any) -> Any:
        return run(Path(folder(engine)) / "bin" / engine, *arguments, **options)

    return run_floor


@pytest.mark.parametrize("ci", ["GitHub", "none"])
def test_the_oldest_engines_make_the_same(
    ci: str, floor: Any, render_both: RenderBoth, template: Path, tmp_path: Path
) -> None:
    answers = {"ci": ci, "project_name": "Jo's 🚀", "description": ACCEPTED["description"][-4]}
    newest = render_both(answers)[0].tree
    words = [f"{name}={answer}" for name, answer in answers.items()]
    out = tmp_path / "floor"
    floor("cookiecutter", "--no-input", "-o", out, template, *words)
    assert read_tree(next(out.iterdir())) == newest
    data = [part for word in words for part in ("-d", word)]
    floor("copier", "copy", "--defaults", *data, template, tmp_path / "copied")
    copied = read_tree(tmp_path / "copied")
    if ci == "none":  # before 9.6 Copier leaves these empty folders behind
        assert copied.pop(".github")
        assert copied.pop(".github/workflows")
    assert copied == newest


def test_the_oldest_engines_refuse_the_same(floor: Any, template: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    refusal = "a name free in Python and packages; not package_name='ray'"
    command = ("--no-input", "-o", out, template, "package_name=ray")
    done = floor("cookiecutter", *command, check=False)
    assert (done.returncode, done.stderr) == (2, f"Answer refused: {refusal}\n")
    data = ("-d", "package_name=ray")
    done = floor("copier", "copy", "--defaults", *data, template, out, check=False)
    assert done.returncode != 0
    assert done.stderr.splitlines()[-1] == f"ValueError: {refusal}"
    assert not out.exists()
