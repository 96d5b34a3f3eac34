"""Every answer gets the same verdict in both engines, and a refusal is one clear line."""

import importlib.util
import json
import os
import random
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pexpect
import pytest
import yaml
from jinja2 import Environment

from tests.conftest import (
    BIN,
    ROOT,
    Answers,
    Rendering,
    commit_all,
    run,
    with_cookiecutter,
    with_copier,
)

RenderBoth = Callable[[Answers], tuple[Rendering, Rendering]]

NOT_ONE_LINE = ["", " ", "a\nb", "a\tb", "a\x00b", "a\x1bb", "a\u2028b", "a\u202eb", "\ud800"]
BRACES = ["{{ 7*7 }}", "{% raw %}", "{# x #}", "a{b", "a}b", "a\\b"]
NO_TEXT = [*NOT_ONE_LINE, *BRACES, " a", "a "]
NO_NAME = [*NO_TEXT, "x", "x" * 51, "x" * 200, "2x", "Xy", "x.y", "xy z", "xy\n"]
NO_NAME += ["../x", "/abs/x", "~/x", ".", "прогноз", "x²", "xª", "x\uff11"]
NO_NAME += ["class", "match", "json", "antigravity", "ray", "numpy", "sklearn", "test", "src"]
REFUSED = {
    "project_name": [*NO_TEXT, "a\u00a0", "x" * 61, "<b>"],
    "project_slug": [*NO_NAME, "-x", "x-", "x--y", "x_y", "scikit-learn", "types-psutil", "con"],
    "package_name": [
        *NO_NAME,
        "_x",
        "x-y",
        "type",
        "pydantic_settings",
        "tensorboardx",
        "conftest",
    ],
    "description": [*NO_TEXT, "x" * 201],
    "author_name": [*NO_TEXT, "x" * 101, "Jo <jo@example.com>", "Acme, Inc."],
    "author_email": [
        *NO_TEXT[1:],
        *("x", "x@y", "@example.com", "a@b@example.com", "a..b@example.com", ".a@example.com"),
        *("a b@example.com", 'a"b@example.com', "a'b@example.com", "<a@example.com>"),
        *("a@example.com.", "a@example..com", "a@example.com\n", "é@example.com"),
        "a" * 100 + "@example.com",
    ],
    "env_prefix": [
        *NO_TEXT,
        *("X", "X_" * 16, "EXPERIMENT", "experiment_", "MY EXPERIMENT_", "2X_", "_X_", "É_", "X-_"),
        *("X_\n", "../X_", "RAY_", "RAY_X_", "TUNE_", "PYTHON_", "AWS_", "MLFLOW_", "UV_"),
    ],
    "license": ["", "GPL-3.0", "mit"],
    "python_version": ["", "3.10", "4"],
    "framework": ["", "torch", "pytorch"],
    "task": ["", "Regression"],
    "dataframes": ["", "modin", "polars"],
    "ci": ["", "Jenkins", "github"],
}
ACCEPTED = {
    "project_name": ["x", "x" * 60, "予測", "Prévision", "2024", "R&D: #1 $HOME", '"""', "'''"],
    "project_slug": ["x" * 50, "rays", "ray-tune", "xy", "x-1", "my-json"],
    "package_name": ["x" * 50, "rays", "x_1", "xy", "x__y", "my_test"],
    "description": ["x", "x" * 200, "it's 100 % #1: [x](y) `z` | $HOME", '"""', "'''", "- # x"],
    "author_name": ["x", "x" * 100, "R&D team"],
    "author_email": ["", "a@example.com", "first.last+tag@mail.example.co.uk"],
    "env_prefix": ["X1_", "MY_TEAM_", "X" * 29 + "_"],
}
# All are rendered in test_engines.py, where the last three of each list meet all other answers.
ACCEPTED["project_name"] += ["Прогноз", "🚀 launch", 'Jo\'s "best"']
ACCEPTED["description"] += ["<b>", "Прогноз 🚀", 'say "hi"']
ACCEPTED["author_name"] += ["Zoë O'Brien", 'Jo "J" Doe', "Прогноз 🚀"]


def pairs(table: dict[str, list[str]]) -> list[Any]:
    return [
        pytest.param(name, answer, id=f"{name}={ascii(answer)[:30]}-{len(answer)}")
        for name, answers in table.items()
        for answer in dict.fromkeys(answers)
    ]


def in_the_way(folder: Path) -> list[Path]:
    return list(folder.rglob("*"))


@pytest.fixture(scope="module")
def guard(template: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("guard_under_test", template / "answer_guard.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def rules(guard: ModuleType, template: Path) -> Any:
    texts = ((template / name).read_text("utf-8") for name in ("copier.yml", "cookiecutter.json"))
    return guard.Rules(*texts)


@pytest.mark.parametrize(("name", "answer"), pairs(REFUSED))
def test_refused_by_both_engines(
    name: str, answer: str, render_both: RenderBoth, tmp_path: Path, questions: dict[str, Any]
) -> None:
    for rendering in render_both({name: answer}):
        # A choice is refused by the engines themselves, in their own words.
        named = name if "choices" in questions[name] else f"not {name}={answer[:40]!r}"
        if answer in BRACES and "{{" in answer + rendering.refusal:
            named = f"not {name}={answer[:40]!r}"
        assert named in rendering.refusal
        assert len(rendering.refusal.strip().splitlines()) == 1
    assert in_the_way(tmp_path) == []


def test_derived_answers_are_accepted_for_every_project_name(rules: Any) -> None:
    chance = random.Random(20)
    names = [
        *ACCEPTED["project_name"],
        *"-aA2,éß²ª١",
        "--",
        ", a",
        "a,",
        "1" * 60,
        "a" * 49 + "-" + "b" * 10,
    ]
    names += [
        word.replace("_", blank)
        for word in rules.computed["taken_names"].split()
        for blank in " _-"
    ]
    names += [name.title() for name in names]
    alphabet = [chr(code) for code in range(32, 0x250)] + list("-_ ,.'\"09azAZ") * 40
    names += ["".join(chance.choices(alphabet, k=chance.randint(1, 60))) for _ in range(3000)]
    texts = json.loads((ROOT / "cookiecutter.json").read_text("utf-8"))
    derive = {
        name: Environment().from_string(texts[name], rules.computed)
        for name in ("project_slug", "package_name", "author_name")
    }
    accepted = [name for name in names if not rules.objection("project_name", name)]
    assert len(accepted) > 2000
    for project_name in accepted:
        answers = {"project_name": project_name}
        for name, template in derive.items():
            answers[name] = template.render(cookiecutter=answers)
            assert rules.objection(name, answers[name]) == "", answers


@pytest.mark.parametrize(
    ("project_name", "slug"),
    [
        ("Ray Tune experiment", "ray-tune-experiment"),
        ("Prévision météo", "prevision-meteo"),
        ("  ".join("ab"), "a-b"),
        ("Прогноз", "ray-tune-experiment"),
        ("2024 sales", "experiment-2024-sales"),
        ("Test", "test-experiment"),
        ("Ray", "ray-experiment"),
        ("Scikit-learn", "scikit-learn-experiment"),
        ("X", "x-experiment"),
        ("x" * 60, "x" * 50),
        ("x" * 49 + " y", "x" * 49),
    ],
)
def test_slug(project_name: str, slug: str, rules: Any) -> None:
    texts = json.loads((ROOT / "cookiecutter.json").read_text("utf-8"))
    template = Environment().from_string(texts["project_slug"], rules.computed)
    assert template.render(cookiecutter={"project_name": project_name}) == slug


# One bad answer that only our rules can see, each way that it may come.

REFUSAL = "a-z, 0-9, _, 2 to 50 long, a letter first; not package_name='../x'"


def assert_refused_by_cookiecutter(done: Any, folder: Path) -> None:
    assert done.returncode == 2
    assert done.stderr == f"Answer refused: {REFUSAL}\n"
    assert not folder.exists()


@pytest.mark.parametrize("hooks", ["yes", "no"])
def test_cookiecutter_command_line(template: Path, tmp_path: Path, hooks: str) -> None:
    out = tmp_path / "out"
    command = ("cookiecutter", "--no-input", "--accept-hooks", hooks, "-o", out, template)
    done = run(*command, "package_name=../x", check=False)
    assert_refused_by_cookiecutter(done, out)
    assert done.stdout == ""


def test_cookiecutter_prompt(template: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = run("cookiecutter", "-o", out, template, input="\n\n../x\n", check=False)
    assert_refused_by_cookiecutter(done, out)
    assert "Name of the Python package" in done.stdout
    assert "What it is for" not in done.stdout, "refused at once, not at the end"


def test_cookiecutter_prompt_for_the_last_question(template: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = run("cookiecutter", "-o", out, template, input="\n" * 13 + "ray_\n", check=False)
    assert (done.returncode, out.exists()) == (2, False)
    assert done.stderr.endswith("not env_prefix='ray_'\n")


def test_cookiecutter_enter_at_every_prompt(template: Path, tmp_path: Path) -> None:
    run("cookiecutter", "-o", tmp_path, template, input="\n" * 14)
    assert (tmp_path / "ray-tune-experiment/pyproject.toml").exists()


def test_cookiecutter_replay(template: Path, tmp_path: Path, isolation: Path) -> None:
    run("cookiecutter", "--no-input", "-o", tmp_path / "good", template)
    context = json.loads((isolation / "replay/template.json").read_text())
    for name, answer in (("package_name", "../x"), ("ci", "Jenkins"), ("description", ["x"])):
        bad = {**context["cookiecutter"], name: answer}
        replay = tmp_path / "replay.json"
        replay.write_text(json.dumps({"cookiecutter": bad}))
        out = tmp_path / "out"
        done = run("cookiecutter", "--replay-file", replay, "-o", out, template, check=False)
        assert done.returncode == 2
        assert f"not {name}=" in done.stderr
        assert len(done.stderr.splitlines()) == 1
        assert not out.exists()


def test_cookiecutter_replay_of_an_edited_file(
    template: Path, tmp_path: Path, isolation: Path
) -> None:
    """A replay file stores the derived values as well: they must follow the answers."""
    run("cookiecutter", "--no-input", "-o", tmp_path / "first", template)
    context = json.loads((isolation / "replay/template.json").read_text())
    del context["cookiecutter"]["_extensions"]  # written before the guard was there, say
    context["cookiecutter"] |= {"description": 'Say "hi"', "ci": "GitLab"}
    replay = tmp_path / "replay.json"
    replay.write_text(json.dumps(context))
    run("cookiecutter", "--replay-file", replay, "-o", tmp_path / "replayed", template)
    answers = ('description=Say "hi"', "ci=GitLab")
    run("cookiecutter", "--no-input", "-o", tmp_path / "fresh", template, *answers)
    run("diff", "-r", "-x", ".git", tmp_path / "fresh", tmp_path / "replayed")


def test_cookiecutter_user_config(template: Path, tmp_path: Path) -> None:
    config = tmp_path / "config.yml"
    config.write_text("default_context: {package_name: ../x}\n")
    command = ("cookiecutter", "--no-input", "--config-file", config)
    done = run(*command, "-o", tmp_path / "out", template, check=False)
    assert_refused_by_cookiecutter(done, tmp_path / "out")


@pytest.mark.parametrize("text", ["{{ 7*7 }}", "{{", "{%", "{#", "{{ 'x' * 300 }}" + "x" * 300])
def test_cookiecutter_evaluates_no_answer(text: str, template: Path, tmp_path: Path) -> None:
    for name in (
        "project_name",
        "project_slug",
        "author_email",
        "env_prefix",
        "__toml_description",
    ):
        refusal = with_cookiecutter(template, tmp_path, {name: text}).refusal
        named = "a value" if name.startswith("__") else name
        assert refusal == (f"Answer refused: text without {{{{ or {{%; not {named}={text[:40]!r}\n")
    assert in_the_way(tmp_path) == []


def test_cruft_create(repository: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    extra = json.dumps({"package_name": "../x"})
    command = ("cruft", "create", repository, "--no-input", "--output-dir", out)
    done = run(*command, "--extra-context", extra, check=False)
    assert_refused_by_cookiecutter(done, out)


def test_cruft_update(repository: Path, tmp_path: Path) -> None:
    run("cruft", "create", repository, "--no-input", "--output-dir", tmp_path)
    project = tmp_path / "ray-tune-experiment"
    commit_all(project)
    command = ("cruft", "update", "-y", "--variables-to-update")
    done = run(*command, json.dumps({"package_name": "../x"}), cwd=project, check=False)
    assert done.returncode == 2
    assert done.stderr.endswith(f"Answer refused: {REFUSAL}\n")
    assert run("git", "status", "--porcelain", cwd=project).stdout == ""
    run(*command, json.dumps({"description": 'Say "hi"'}), cwd=project)
    assert 'description = "Say \\"hi\\""' in (project / "pyproject.toml").read_text()


def assert_refused_by_copier(done: Any, folder: Path) -> None:
    assert done.returncode != 0
    assert REFUSAL in done.stderr.splitlines()[-1]
    assert not folder.exists()


def test_copier_data(template: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = run(
        "copier", "copy", "--defaults", "-d", "package_name=../x", template, out, check=False
    )
    assert_refused_by_copier(done, out)


def test_copier_data_file(template: Path, tmp_path: Path) -> None:
    data, out = tmp_path / "data.yml", tmp_path / "out"
    data.write_text(yaml.safe_dump({"package_name": "../x"}))
    command = ("copier", "copy", "--defaults", "--data-file", data, template, out)
    assert_refused_by_copier(run(*command, check=False), out)


def test_copier_user_settings(template: Path, tmp_path: Path) -> None:
    settings, out = tmp_path / "settings.yml", tmp_path / "out"
    settings.write_text("defaults: {package_name: ../x}\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COPIER_SETTINGS_PATH", str(settings))
        done = run("copier", "copy", "--defaults", template, out, check=False)
    assert_refused_by_copier(done, out)


def test_copier_takes_no_data_for_what_it_computes(template: Path, tmp_path: Path) -> None:
    for name in ("taken_names", "taken_prefixes", "cookiecutter"):
        out = tmp_path / "out"
        refusal = with_copier(template, out, {name: "{}"}).refusal
        assert refusal.endswith("computed, not a question")
        assert not out.exists()


def test_copier_prompt_says_why_and_asks_again(template: Path, tmp_path: Path) -> None:
    command = ["copy", "--quiet", str(template), str(tmp_path / "out")]
    env = {**os.environ, "PROMPT_TOOLKIT_NO_CPR": "1"}  # this terminal can't tell its cursor
    with pexpect.spawn(
        str(BIN / "copier"), command, dimensions=(40, 80), timeout=30, env=env
    ) as child:
        child.expect("Name of the project")
        child.send("\r")
        child.expect("Name of the repository")
        child.send("\x15")  # clears the default
        child.send("Bad Slug\r")
        child.expect("a-z, 0-9, inner -, 2 to 50 long")
        child.send("\x15good-slug\r")
        child.expect("Name of the Python package")
        child.expect("good_slug")
        for question in ("What it is for", "Author", "E-mail", "License", "Oldest Python"):
            child.send("\r")
            child.expect(question)
        for question in ("Framework", "What the model", "Experiment tracker", "Library"):
            child.send("\r")
            child.expect(question)
        for question in ("Continuous integration", "Prefix"):
            child.send("\r")
            child.expect(question)
        child.send("\r")
        child.expect(pexpect.EOF)
    assert child.exitstatus == 0
    assert 'name = "good-slug"' in (tmp_path / "out/pyproject.toml").read_text()


def test_the_guard_reads_what_stands_beside_it(guard: ModuleType, template: Path) -> None:
    assert Path(guard.__file__ or "").parent == template
    assert guard.__name__ not in sys.modules
