"""The template as a package, its command, and the harness as a package of its own."""

import importlib
import io
import os
import re
import shutil
import signal
import sys
import tarfile
import tomllib
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pexpect
import pytest
import yaml
from copier import run_copy, run_update

from tests.conftest import (
    BIN,
    OUTSIDE,
    PARTS,
    ROOT,
    TREE,
    build,
    commit_all,
    read_tree,
    run,
    with_cookiecutter,
)

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
VERSION = PROJECT["version"]
ANSWERS = {"project_name": "Jo's churn", "framework": "PyTorch", "tracker": "MLflow", "ci": "none"}
FLAGS = [part for k, v in ANSWERS.items() for part in (f"--{k.replace('_', '-')}", v)]
UV = str(BIN / "uv")


# ------------------------------------------------------------ what is published


@dataclass
class Release:
    """A built version, and the repository that it names."""

    source: Path
    repository: str
    wheel: Path
    sdist: Path


@pytest.fixture(scope="module")
def release(checkout: Path, repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Release:
    """Release the template as the workflow does, from a repository in a folder."""
    folder = tmp_path_factory.mktemp("release")
    published, source = folder / "team/template.git", folder / "source"
    shutil.copytree(repository, published)
    run("git", "tag", f"v{VERSION}", cwd=published)
    shutil.copytree(checkout, source, symlinks=True)
    workflow = yaml.safe_load((source / ".github/workflows/release.yml").read_text("utf-8"))
    steps = {step.get("name"): step.get("run") for step in workflow["jobs"]["build"]["steps"]}
    (source / "assets").mkdir()
    wanted = ("Check", "Tell", "Write")
    script = "\n".join(text for name, text in steps.items() if name and name.startswith(wanted))
    env = {
        **OUTSIDE,
        "PATH": f"{BIN}{os.pathsep}{OUTSIDE['PATH']}",
        "GITHUB_REF_NAME": f"v{VERSION}",
        "GITHUB_SERVER_URL": f"file://{folder}",
        "GITHUB_REPOSITORY": "team/template",
    }
    run("bash", "-euc", script, cwd=source, env=env)
    env["GITHUB_REF_NAME"] = "v0.0.1"
    assert run("bash", "-euc", script, cwd=source, env=env, check=False).returncode != 0
    (wheel,), (sdist,) = (build(source).glob(kind) for kind in ("*.whl", "*.tar.gz"))
    return Release(source, f"file://{published}", wheel, sdist)


def test_notes_of_a_release_are_its_part_of_the_changelog(release: Release) -> None:
    notes = (release.source / "assets/notes.md").read_text("utf-8")
    assert notes.strip()
    assert notes in (ROOT / "CHANGELOG.md").read_text("utf-8")
    assert "What a team must do" in notes
    assert "## [" not in notes


Modes = dict[str, tuple[int, bytes]]


def tree_of_checkout() -> Modes:
    files = [path for part in PARTS for path in [ROOT / part, *(ROOT / part).rglob("*")]]
    return {
        path.relative_to(ROOT).as_posix(): (path.stat().st_mode & 0o777, path.read_bytes())
        for path in files
        if path.is_file() and "__pycache__" not in path.parts
    }


def test_wheel_and_source_hold_the_whole_tree(release: Release) -> None:
    with zipfile.ZipFile(release.wheel) as archive:
        wheel = {
            info.filename.partition("/")[2]: (info.external_attr >> 16 & 0o777, archive.read(info))
            for info in archive.infolist()
            if info.filename.startswith("cookiecutter_ray_tune/")
        }
    sdist: Modes = {}
    with tarfile.open(release.sdist) as tar:
        for member in tar:
            file = tar.extractfile(member)
            assert file, f"{member.name}: neither file nor folder"
            sdist[member.name.partition("/")[2]] = (member.mode, file.read())
    _, program = wheel.pop("__init__.py")
    assert program == (ROOT / "cookiecutter_ray_tune.py").read_bytes()
    assert wheel == tree_of_checkout()
    assert {path: sdist[path] for path in wheel} == wheel
    assert sdist[".ci/run"][0] == 0o755
    assert {"README.md", "tests/conftest.py", "docs/index.md"} <= sdist.keys()
    assert not [path for path in sdist if path.startswith("template")]


@pytest.mark.parametrize("kind", ["wheel", "sdist"])
def test_installed_it_makes_the_same(
    kind: str, release: Release, template: Path, tmp_path: Path
) -> None:
    """From a wheel, compiled as by pip; from source, with the oldest dependencies."""
    python = tmp_path / "env/bin/python"
    run(UV, "venv", "--quiet", "--python", sys.executable, tmp_path / "env", env=OUTSIDE)
    needs: list[object] = [release.wheel]
    if kind == "sdist":
        needs = [release.sdist, *(each.replace(">=", "==") for each in PROJECT["dependencies"])]
    run(UV, "pip", "install", "--quiet", "--python", python, *needs, env=OUTSIDE)
    if kind == "wheel":
        (package,) = tmp_path.glob("env/lib/*/site-packages/cookiecutter_ray_tune")
        run(python, "-m", "compileall", "-q", package, check=False)  # not all of it is Python yet
        assert list(package.rglob("harness/__pycache__/*.pyc"))
    expected = with_cookiecutter(template, tmp_path / "expected", ANSWERS)
    command = (python.with_name("cookiecutter-ray-tune"), "--defaults", *FLAGS)

    said = {}
    for engine, more in {"Cookiecutter": (), "Copier": ("--copier",)}.items():
        folder = tmp_path / engine
        folder.mkdir()
        done = run(*command, "--output-dir", folder, *more)
        said[engine] = done.stderr
        project = folder / "jo-s-churn"
        assert done.stderr.splitlines()[0] == (
            f"Generating {project} with {engine}, template {VERSION}"
        )
        assert 'git commit -m "Start the project"' in done.stdout
        assert list(folder.iterdir()) == [project]
        assert read_tree(project) == expected.tree
        assert (project / ".git").is_dir()

    # What Copier itself would have recorded, which is what an update needs.
    project = tmp_path / "Copier/jo-s-churn"
    run_copy(release.repository, tmp_path / "direct", data=ANSWERS, defaults=True, quiet=True)
    recorded = (project / ".copier-answers.yml").read_bytes()
    assert recorded == (tmp_path / "direct/.copier-answers.yml").read_bytes()
    assert f"_commit: v{VERSION}\n_src_path: {release.repository}\n".encode() in recorded
    assert release.repository in said["Copier"]
    if kind == "wheel":
        commit_all(project)
        run_update(project, {"ci": "GitHub"}, defaults=True, overwrite=True, quiet=True)
        assert (project / ".github/workflows/ci.yml").is_file()


# ------------------------------------------------------------ its command, in this process


@pytest.fixture(scope="module")
def package(release: Release, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Return the module, as the wheel has it."""
    folder = tmp_path_factory.mktemp("unpacked")
    with zipfile.ZipFile(release.wheel) as archive:
        archive.extractall(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        yield importlib.import_module("cookiecutter_ray_tune")


Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def call(
    package: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Call:
    """Run the command in an empty folder; return its exit code, stdout and stderr."""
    monkeypatch.chdir(tmp_path)

    def once(*flags: str, typed: str = "") -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["cookiecutter-ray-tune", *flags])
        monkeypatch.setattr(sys, "stdin", io.StringIO(typed))
        code = 0
        try:
            package.main()
        except SystemExit as end:
            code = int(str(end.code))
        return code, *capfd.readouterr()

    return once


def test_parts_are_those_that_the_engines_read(package: Any) -> None:
    assert package.PARTS == PARTS


@pytest.mark.parametrize(
    ("flags", "refusal"),
    [
        ("--framework torch", "'--framework': 'torch' is not one of 'scikit-learn', 'PyTorch', "),
        (
            "--package-name ray",
            "'--package-name': must be a name free in Python and packages; not ",
        ),
        ("--description {{7*7}}", "'--description': must be 1 to 200 characters, no {}"),
        ("--frame PyTorch", "No such option '--frame'"),
        ("--output-dir missing", "'--output-dir' / '-o': Directory 'missing' does not exist"),
        ("--update-from there", "--update-from goes with --copier"),
        ("--copier --update-from=", "give its git address with --update-from"),
        ("more", "unexpected extra argument (more)"),
    ],
)
def test_one_line_says_what_is_wrong(flags: str, refusal: str, call: Call, tmp_path: Path) -> None:
    """Also before anything is asked: no answer could be read here."""
    for first in ([], ["--defaults"]):
        code, printed, said = call(*first, *flags.split())
        assert (code, printed) == (2, "")
        assert said.startswith("Error: ")
        assert refusal in said
        assert said.endswith("\n")
        assert said.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_an_existing_folder_is_left_alone(call: Call, tmp_path: Path) -> None:
    (tmp_path / "ray-tune-experiment").mkdir()
    code, _, said = call("--no-input")
    assert code == 2
    assert said == (
        "Error: Invalid value for '--project-slug': "
        f"{tmp_path}/ray-tune-experiment exists already\n"
    )
    assert list(tmp_path.glob("**/*")) == [tmp_path / "ray-tune-experiment"]


def test_every_question_is_a_flag(call: Call, questions: dict[str, Any]) -> None:
    _, text, _ = call("--help")
    shown = " ".join(text.split())
    for name, question in questions.items():
        choices = question.get("choices")
        kind = f"[{'|'.join(choices)}]" if choices else "TEXT"
        assert f"--{name.replace('_', '-')} {kind} {question['help']}" in shown
    assert call("--version")[1] == f"cookiecutter-ray-tune, version {VERSION}\n"


def test_what_no_flag_answers_is_asked(
    call: Call, questions: dict[str, Any], tmp_path: Path
) -> None:
    """What isn't accepted is asked again; defaults follow from what was typed before."""
    typed = ["Churn", "9", "", "", "", "", "nobody", *[""] * 20]
    code, printed, said = call("--framework", "PyTorch", typed="\n".join(typed))
    assert (code, said.count("\n")) == (0, 1)
    prompts, _, _ = printed.partition("Next, in the new project")
    for name, question in questions.items():
        assert (question["help"] in prompts) == (name != "framework")
    assert "command [churn]: Error: must be a-z, 0-9, inner -, 2 to 50 long" in prompts
    assert "not author_email='nobody'" in prompts
    assert "(mit" not in prompts
    assert "License (MIT, Apache-2.0, BSD-3-Clause, proprietary) [MIT]: " in prompts
    assert "torch>=" in (tmp_path / "churn/pyproject.toml").read_text("utf-8")


def test_without_answers_it_says_how_to_give_them(call: Call, tmp_path: Path) -> None:
    code, _, said = call()
    assert code == 2
    assert said == "Error: No answer can be read: give --defaults, or a flag for each question\n"
    assert list(tmp_path.iterdir()) == []


def test_an_interrupt_leaves_nothing(
    call: Call, package: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def render(template: Path, project: Path, *_: object) -> None:
        assert (template / TREE).is_dir()
        project.mkdir(parents=True)
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(package, "render", render)
    code, _, said = call("--defaults")
    assert (code, said.splitlines()[-1]) == (130, "Error: Interrupted")
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_at_a_prompt(package: Any, tmp_path: Path) -> None:
    env = {**os.environ, "PYTHONPATH": str(Path(package.__file__).parents[1])}
    words = ["-c", "import cookiecutter_ray_tune; cookiecutter_ray_tune.main()"]
    child = pexpect.spawn(sys.executable, words, env=env, cwd=tmp_path, encoding="utf-8")
    try:
        child.expect_exact("[Ray Tune experiment]: ")
        child.sendintr()
        while child.expect([pexpect.EOF, pexpect.TIMEOUT], timeout=10):
            child.sendintr()  # one that comes before readline waits is lost
    finally:
        child.close(force=True)
    assert child.exitstatus == 130
    assert list(tmp_path.iterdir()) == []


# ------------------------------------------------------------ the harness as a package


def test_a_project_on_the_package_of_the_harness(template: Path, tmp_path: Path) -> None:
    """The edit that the script's first lines show is all that it takes."""
    script = ROOT / ".ci/harness_package.py"
    source, installed = tmp_path / "harness", tmp_path / "installed"
    run(sys.executable, script, source)
    (wheel,) = build(source, "--wheel").glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(installed)
        metadata = archive.read(f"ray_tune_harness-{VERSION}.dist-info/METADATA").decode()
    needs = set(re.findall(r"^Requires-Dist: ([\w-]+)", metadata, re.MULTILINE))
    assert {"ray", "pydantic-settings", "mlflow", "wandb", "modin", "hyperopt"} <= needs
    assert not {"scikit-learn", "torch", "skops"} & needs
    assert not list(installed.rglob("*{*"))

    project = with_cookiecutter(template, tmp_path / "out", {}).project
    edit = re.findall(r"^    ((?:rm|perl) .*)$", script.read_text("utf-8"), re.MULTILINE)
    run("bash", "-euc", "\n".join(edit), cwd=project)
    assert not list(project.glob("src/*/harness"))
    options: dict[str, Any] = {
        "cwd": project,
        "env": {**os.environ, "PYTHONPATH": f"src{os.pathsep}{installed}"},
    }
    done = run(sys.executable, "-m", "ray_tune_experiment", "check", **options)
    assert "Ready to run" in done.stdout
    # The package has each tracker's modules; this project has no tracker.
    assert run(sys.executable, "-m", "ray_tune_experiment", "docs", **options).stdout == ""
