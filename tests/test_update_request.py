"""The jobs of a project's CI that ask it to update, as a runner starts them: bash, git, engines.

The repository that they push to is a bare one on this machine. A stand-in for GitHub's `gh` writes
down its arguments, and knows the pull requests that it has opened; one for `uvx` takes the engines
of this environment, which have the same versions.
"""

import os
import shutil
import tomllib
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from copier import run_copy

from tests.conftest import BIN, OUTSIDE, ROOT, TREE, commit_all, run

GH = """#!/bin/bash
case "$1 $2" in
"auth setup-git") [[ $GH_TOKEN == secret ]] ;;
"pr list") [[ ! -f $REQUESTS/$6 ]] || echo https://github.com/team/project/pull/1 ;;
"pr create") printf '%s\\n' "$@" >"$REQUESTS/$4" ;;
*) exit 1 ;;
esac
"""
UVX = f"""#!/bin/bash
exec {BIN}/${{1%@*}} "${{@:2}}"
"""
# What GitLab makes a merge request of.
HOOK = """#!/bin/bash
for ((n = 0; n < GIT_PUSH_OPTION_COUNT; n++)); do
    option=GIT_PUSH_OPTION_$n
    echo "${!option}" >>"$REQUESTS/options"
done
"""
LATER = "src/{{cookiecutter.package_name}}/harness/later.py"
MADE = "src/ray_tune_experiment/harness/later.py"
ADVICE = "CHANGELOG.md of the template says what a version changes, and what you have to do."
CONFLICT = f"Resolve the conflicts on this branch before you merge: Makefile. {ADVICE}"


def script(project: Path, ci: str) -> tuple[str, list[str]]:
    """The last step of the job, and the shell that runs it."""
    if ci == "GitHub":
        job = yaml.safe_load((project / ".github/workflows/template.yml").read_text("utf-8"))
        step = job["jobs"]["update"]["steps"][-1]
        assert step["shell"] == "bash"
        return step["run"], ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c"]
    job = yaml.safe_load((project / ".gitlab-ci.yml").read_text("utf-8"))["template"]
    return job["script"][-1], ["bash", "-eo", "pipefail", "-c"]


@pytest.fixture
def source(template: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    shutil.copytree(template, folder)
    commit_all(folder)
    run("git", "tag", "v1.0.0", cwd=folder)
    return folder


def release(source: Path, version: str, path: str, text: str) -> str:
    """Change a file of the template. Returns the commit."""
    (source / TREE / path).write_text(text, "utf-8")
    run("git", "add", "-A", cwd=source)
    run("git", "commit", "-q", "-m", version, cwd=source)
    run("git", "tag", version, cwd=source)
    return run("git", "rev-parse", "HEAD", cwd=source).stdout.strip()


@dataclass
class Repository:
    """A project with edits of its team, on a server."""

    ci: str
    project: Path
    origin: Path
    requests: Path
    env: dict[str, str]

    @classmethod
    def start(cls, source: Path, engine: str, ci: str, tmp: Path) -> "Repository":
        project, origin = tmp / "ray-tune-experiment", tmp / "origin.git"
        if engine == "copier":
            data = {"ci": ci}
            run_copy(str(source), project, data, vcs_ref="v1.0.0", defaults=True, quiet=True)
        elif engine == "cruft":
            extra = ("--extra-context", f'{{"ci": "{ci}"}}', "--output-dir", tmp)
            run("cruft", "create", source, "--no-input", *extra)
        else:
            run("cookiecutter", "--no-input", "-o", tmp, source, f"ci={ci}")
        commit_all(project)  # the untouched project, which Cruft merges with
        (project / "Makefile").write_text(makefile(project, "Delete"), "utf-8")
        run("git", "commit", "-q", "-a", "-m", "Ours", cwd=project)
        run("git", "clone", "-q", "--bare", project, origin)
        run("git", "config", "receive.advertisePushOptions", "true", cwd=origin)
        requests, tools, config = tmp / "requests", tmp / "tools", tmp / "gitconfig"
        requests.mkdir()
        tools.mkdir()
        url = "https://gitlab.example/team/project"
        config.write_text(f'[url "{origin}"]\n    insteadOf = {url}.git\n')
        scripts = {tools / "gh": GH, tools / "uvx": UVX, origin / "hooks/pre-receive": HOOK}
        for path, text in scripts.items():
            path.write_text(text)
            path.chmod(0o755)
        unknown = ("GIT_AUTHOR_", "GIT_COMMITTER_")  # a runner has no name
        env = {
            **{name: text for name, text in os.environ.items() if not name.startswith(unknown)},
            "PATH": f"{tools}{os.pathsep}{OUTSIDE['PATH']}",
            "GIT_CONFIG_GLOBAL": str(config),
            "REQUESTS": str(requests),
            "GH_TOKEN": "secret",
            "UPDATE_TOKEN": "secret",
            "GITLAB_USER_NAME": "Grace",
            "GITLAB_USER_EMAIL": "grace@example.com",
            "CI_SERVER_PROTOCOL": "https",
            "CI_SERVER_HOST": "gitlab.example",
            "CI_SERVER_PORT": "443",
            "CI_SERVER_URL": "https://gitlab.example",
            "CI_PROJECT_URL": url,
        }
        return cls(ci, project, origin, requests, env)

    def run(self) -> str:
        """Run the step in a new checkout. Returns the last line that it says."""
        checkout = self.origin.with_name("checkout")
        shutil.rmtree(checkout, ignore_errors=True)
        run("git", "clone", "-q", f"file://{self.origin}", checkout, env=self.env)
        text, shell = script(self.project, self.ci)
        said = run(*shell, text, cwd=checkout, env=self.env).stdout
        return said.splitlines()[-1] if said else ""

    def asked(self) -> list[list[str]]:
        """The requests since the last call, word by word."""
        files = [*self.requests.iterdir()]
        return [file.read_text("utf-8").splitlines() for file in files]

    def changed(self, branch: str) -> dict[str, str]:
        """What a branch changes, by path: M(odified) or A(dded)."""
        diff = run("git", "diff", "--name-status", "main", branch, cwd=self.origin).stdout
        return {path: kind for kind, path in (line.split("\t") for line in diff.splitlines())}

    def author(self, branch: str) -> str:
        return run("git", "log", "-1", "--format=%an", branch, cwd=self.origin).stdout.strip()


def makefile(project: Path, verb: str) -> str:
    """A Makefile with an edit."""
    return (project / "Makefile").read_text("utf-8").replace("Remove .venv", f"{verb} .venv")


def test_a_pull_request_for_each_version(source: Path, tmp_path: Path) -> None:
    made = Repository.start(source, "cruft", "GitHub", tmp_path)
    assert made.run() == "Nothing new."
    assert made.asked() == []

    commit = release(source, "v1.1.0", LATER, '"""What a later version adds."""\n')
    made.run()
    branch, title = f"template-{commit}", f"Update the template to {commit}"
    create = ["pr", "create", "--head", branch, "--title", title, "--body", ADVICE]
    assert made.asked() == [create]
    assert made.changed(branch) == {".cruft.json": "M", MADE: "A"}
    assert made.author(branch) == "github-actions[bot]"
    assert made.run() == f"{branch} has, or had, a pull request."

    commit = release(source, "v2.0.0", "Makefile", makefile(source / TREE, "Take away"))
    made.run()
    (asked,) = [words for words in made.asked() if words != create]
    assert asked[3] == f"template-{commit}"
    assert asked[5:] == [f"Update the template to {commit}, with conflicts", "--body", CONFLICT]
    assert made.changed(f"template-{commit}") == {".cruft.json": "M", MADE: "A", "Makefile": "M"}


def test_a_pull_request_by_copier(source: Path, tmp_path: Path) -> None:
    made = Repository.start(source, "copier", "GitHub", tmp_path)
    (source / TREE / LATER).write_text('"""What a later version adds."""\n', "utf-8")
    release(source, "v2.0.0", "Makefile", makefile(source / TREE, "Take away"))
    made.run()
    title = "Update the template to v2.0.0, with conflicts"
    create = ["pr", "create", "--head", "template-v2.0.0", "--title", title, "--body", CONFLICT]
    assert made.asked() == [create]
    changed = {".copier-answers.yml": "M", MADE: "A", "Makefile": "M"}
    assert made.changed("template-v2.0.0") == changed


def test_a_merge_request(source: Path, tmp_path: Path) -> None:
    made = Repository.start(source, "cruft", "GitLab", tmp_path)
    commit = release(source, "v2.0.0", "Makefile", makefile(source / TREE, "Take away"))
    made.run()
    assert made.asked() == [
        [
            "merge_request.create",
            "merge_request.remove_source_branch",
            f"merge_request.title=Update the template to {commit}, with conflicts",
            f"merge_request.description={CONFLICT}",
        ]
    ]
    assert made.changed(f"template-{commit}") == {".cruft.json": "M", "Makefile": "M"}
    assert made.author(f"template-{commit}") == "Grace"
    assert made.run() == f"There is a branch template-{commit}."
    token = (
        '[url "https://update:secret@gitlab.example:443/"]\n\tinsteadOf = https://gitlab.example/\n'
    )
    assert token in Path(made.env["GIT_CONFIG_GLOBAL"]).read_text("utf-8")


def test_no_record_of_the_template(source: Path, tmp_path: Path) -> None:
    made = Repository.start(source, "cookiecutter", "GitHub", tmp_path)
    assert made.run() == "Nothing new."
    assert made.asked() == []


def test_both_jobs_update_alike() -> None:
    """The lines up to the request, and the versions of the engines: those of the tests."""
    github = next((ROOT / TREE / ".github/workflows").glob("*update*")).read_text("utf-8")
    gitlab = next((ROOT / TREE).glob("*gitlab*")).read_text("utf-8")
    update, request = "if [[ -f .copier", "      fi\n      if git ls-remote"
    shared = gitlab[gitlab.index(update) : gitlab.index(request)]
    assert shared in github.replace("\n    ", "\n")
    packages = tomllib.loads((ROOT / "uv.lock").read_text("utf-8"))["package"]
    for engine in ("copier", "cruft"):
        (version,) = (found["version"] for found in packages if found["name"] == engine)
        assert f"uvx {engine}@{version} update " in shared
