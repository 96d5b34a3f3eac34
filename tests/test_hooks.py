"""What happens after the files are written: folders, the git repository, the next steps."""

import os
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import BIN, ROOT, commit_all, run

NAME = "ray-tune-experiment"


def steps(text: str) -> list[str]:
    """Return the commands of the next steps."""
    return [line.strip() for line in text.splitlines() if line.startswith("  ")]


def generate(template: Path, folder: Path, *answers: object, **options: Any) -> str:
    folder.mkdir(exist_ok=True)
    command = ("cookiecutter", "--no-input", template, *answers)
    return run(*command, cwd=folder, **options).stdout


def test_git_repository_on_main(template: Path, tmp_path: Path) -> None:
    generate(template, tmp_path)
    project = tmp_path / NAME
    assert run("git", "symbolic-ref", "HEAD", cwd=project).stdout == "refs/heads/main\n"
    assert run("git", "status", "--porcelain", cwd=project).stdout.startswith("??")


def test_no_repository_inside_a_repository(template: Path, tmp_path: Path) -> None:
    run("git", "init", "-q", cwd=tmp_path)
    said = generate(template, tmp_path / "deep")
    assert not (tmp_path / "deep" / NAME / ".git").exists()
    assert steps(said)[-1].startswith("git add")


def test_a_repository_inside_one_that_ignores_the_folder(template: Path, tmp_path: Path) -> None:
    """There git would know none of the project's files, and `make lint` would check none."""
    run("git", "init", "-q", cwd=tmp_path)
    (tmp_path / ".gitignore").write_text("demo/\n")
    generate(template, tmp_path / "demo")
    assert (tmp_path / "demo" / NAME / ".git").exists()


def test_no_repository_and_no_steps_under_cruft(repository: Path, tmp_path: Path) -> None:
    done = run("cruft", "create", repository, "--no-input", "--output-dir", tmp_path)
    project = tmp_path / NAME
    assert (project / ".cruft.json").exists()
    assert not (project / ".git").exists()
    assert done.stdout == ""


def test_cruft_update_brings_a_change_of_the_template(repository: Path, tmp_path: Path) -> None:
    source = tmp_path / "source"
    shutil.copytree(repository, source)
    run("cruft", "create", source, "--no-input", "--output-dir", tmp_path)
    project = tmp_path / NAME
    commit_all(project)
    with (source / "{{cookiecutter.project_slug}}" / "README.md").open("a") as readme:
        readme.write("\nA later line about {{ cookiecutter.project_name }}.\n")
    run("git", "commit", "-q", "-a", "-m", "Later", cwd=source)
    run("cruft", "update", "-y", cwd=project)
    assert (project / "README.md").read_text().endswith("line about Ray Tune experiment.\n")
    changed = run("git", "status", "--porcelain", cwd=project).stdout.split()
    assert changed == ["M", ".cruft.json", "M", "README.md"]


@pytest.mark.parametrize("git", ["missing", "failing"])
def test_generation_does_not_need_git(template: Path, tmp_path: Path, git: str) -> None:
    commands = tmp_path / "bin"
    commands.mkdir()
    (commands / "cookiecutter").symlink_to(shutil.which("cookiecutter", path=BIN) or "")
    for name in ("sh", "python3"):
        (commands / name).symlink_to(shutil.which(name) or "")
    if git == "failing":
        (commands / "git").write_text("#!/bin/sh\necho no >&2\nexit 1\n")
        (commands / "git").chmod(0o755)
    out = tmp_path / "out"
    out.mkdir()
    env = {**os.environ, "PATH": str(commands)}
    done = run(commands / "cookiecutter", "--no-input", template, cwd=out, env=env)
    assert (out / NAME / "README.md").exists()
    assert not (out / NAME / ".git").exists()
    assert done.stderr == ""
    assert done.stdout.splitlines()[0] == (
        "There is no git repository yet: `git init` did not work here."
    )
    assert steps(done.stdout)[-1].startswith("git init -b main && git add")


def test_a_git_hook_around_it_is_left_alone(template: Path, tmp_path: Path) -> None:
    """Inside a git hook GIT_DIR names the repository that is being committed to."""
    other = tmp_path / "other"
    run("git", "init", "-q", "-b", "other", other)
    env = {**os.environ, "GIT_DIR": str(other / ".git"), "PATH": f"{BIN}:{os.environ['PATH']}"}
    generate(template, tmp_path / "out", env=env)
    assert (tmp_path / "out" / NAME / ".git").is_dir()


@pytest.mark.parametrize(("ci", "exists"), [("GitHub", True), ("GitLab", False), ("none", False)])
def test_no_empty_folders(template: Path, tmp_path: Path, ci: str, exists: bool) -> None:
    generate(template, tmp_path, f"ci={ci}")
    assert (tmp_path / NAME / ".github").exists() == exists


def test_a_folder_in_use_stays(template: Path, tmp_path: Path) -> None:
    own = tmp_path / NAME / ".github" / "CODEOWNERS"
    own.parent.mkdir(parents=True)
    own.write_text("* @team\n")
    generate(template, tmp_path, "ci=none", "--overwrite-if-exists")
    assert own.exists()
    assert not (own.parent / "workflows").exists()


@pytest.mark.parametrize("folder", ["plain", "it's a $HOME;`x` Прогноз"])
def test_both_engines_print_the_same_steps(template: Path, tmp_path: Path, folder: str) -> None:
    start = tmp_path / folder
    project = start / NAME
    ours = steps(generate(template, start, "-o", start, env=_env(PWD="/elsewhere")))
    # Copier takes the folder to make; git init is left to the user.
    command = ("copier", "copy", "--defaults", template, start / "copied")
    theirs = steps(run(*command, cwd=start).stderr)
    theirs = [step.replace("/copied", f"/{NAME}") for step in theirs if "create" not in step]
    assert [step.replace("git init -b main && ", "") for step in theirs] == ours
    assert len(ours) == 4
    # The path is one word for a shell, and the right one.
    assert run("sh", "-c", f"{ours[0]} && pwd").stdout == f"{project}\n"
    assert run("sh", "-c", f"{ours[0]} && make -n help && {ours[3]} -q").stdout


def _env(**more: str) -> dict[str, str]:
    return {**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}", **more}


def test_the_path_is_short_from_where_it_was_called(template: Path, tmp_path: Path) -> None:
    said = generate(template, tmp_path, env=_env(PWD=str(tmp_path)))
    assert steps(said)[0] == f"cd {NAME}"


def test_make_targets_of_the_steps_exist(template: Path, tmp_path: Path) -> None:
    said = generate(template, tmp_path)
    makefile = (tmp_path / NAME / "Makefile").read_text()
    for target in re.findall(r"make (\w+)", said):
        assert re.search(f"^{target}:", makefile, re.MULTILINE), target


def test_hook_imports_nothing_slow() -> None:
    """Each import here is time at every generation."""
    text = (ROOT / "hooks" / "post_gen_project.py").read_text("utf-8")
    assert re.findall(r"^ *(?:import|from) (\w+)", text, re.MULTILINE) == ["os", "sys"]
