"""cookiecutter.json and copier.yml ask the same questions, and the taken names are complete."""

import ast
import json
import keyword
import re
import sys

import pytest
import yaml

from tests.conftest import ROOT, TREE

COOKIECUTTER = json.loads((ROOT / "cookiecutter.json").read_text("utf-8"))
COPIER = yaml.safe_load((ROOT / "copier.yml").read_text("utf-8"))
ASKED = [name for name in COOKIECUTTER if not name.startswith("_")]
DERIVED = [name for name in COOKIECUTTER if re.match("__(?!prompts__)", name)]
HIDDEN = [name for name in COPIER if name[0] != "_" and COPIER[name].get("when") is False]
TAKEN = re.sub(r"\{#.*?#\}", "", COPIER["taken_names"]["default"]).split()


def test_same_names_in_the_same_order() -> None:
    assert [name for name in COPIER if name[0] != "_" and name not in HIDDEN] == ASKED


def test_same_prompts() -> None:
    assert COOKIECUTTER["__prompts__"] == {name: COPIER[name]["help"] for name in ASKED}


@pytest.mark.parametrize("name", ASKED)
def test_same_default(name: str) -> None:
    ours, theirs = COOKIECUTTER[name], COPIER[name]
    if isinstance(ours, list):
        assert theirs["choices"] == ours
        assert theirs["default"] == ours[0]
    elif "{{" in ours:
        # Copier knows the answers by their bare names: it sets `cookiecutter`, then says the same.
        setting = re.match(r"\{% set cookiecutter = dict\((\w+)=\1\) %\} ?", theirs["default"])
        assert setting
        assert theirs["default"] == setting.group() + ours
    else:
        assert theirs["default"] == ours


@pytest.mark.parametrize("name", ASKED)
def test_every_question_is_text_with_a_rule(name: str) -> None:
    assert COPIER[name]["type"] == "str"
    assert ("validator" in COPIER[name]) != ("choices" in COPIER[name])


def test_copier_computes_the_name_that_the_tree_uses() -> None:
    assert list(COPIER)[-1] == "cookiecutter"
    computed = COPIER["cookiecutter"]["default"]
    assert re.findall(r"(\w+)=\1\b", computed) == ASKED
    assert re.findall(r"(__\w+)=", computed) == DERIVED


@pytest.mark.parametrize("name", DERIVED)
def test_same_derived_value(name: str) -> None:
    expression = COOKIECUTTER[name].removeprefix("{{ ").removesuffix(" }}")
    assert re.search(
        re.escape(f" {name}={expression}") + r"(,|\) \| tojson)", COPIER["cookiecutter"]["default"]
    )


def test_copier_needs_no_trust() -> None:
    assert not {"_tasks", "_jinja_extensions", "_migrations"} & COPIER.keys()


def test_names_of_python_are_taken() -> None:
    words = {*keyword.kwlist, *keyword.softkwlist, *sys.stdlib_module_names}
    assert {word.lower() for word in words if not word.startswith("_")} <= set(TAKEN)


def test_taken_names_are_written_as_a_package_would_be() -> None:
    assert [name for name in TAKEN if not re.fullmatch("[a-z][a-z0-9_]*", name)] == []


def test_names_of_dependencies_are_taken() -> None:
    text = (ROOT / TREE / "pyproject.toml").read_text("utf-8")
    text = re.sub(r"\{%.*?%\}", "", text).replace("{{", "'").replace("}}", "'")
    requirements = re.findall(r'"([a-zA-Z][\w.-]*)(?:\[[\w,]+\])?[><=~]=?', text)
    assert {"ray", "pytest", "hatchling"} <= set(requirements), "the pattern no longer fits"
    assert {re.sub("[-.]", "_", name.lower()) for name in requirements} <= set(TAKEN)


def test_names_of_imports_are_taken() -> None:
    imported: set[str] = set()
    modules = [*(ROOT / TREE).rglob("*.py"), *(ROOT / TREE).rglob("{{cookiecutter.__*_file}}")]
    for path in modules:
        if "import " not in path.read_text("utf-8"):  # a file that CI reads
            continue
        text = re.sub(r"\{%.*?%\}", "", path.read_text("utf-8"))
        text = re.sub(r"\{\{.*?\}\}", "answer", text)
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Import):
                imported |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                imported.add(node.module.split(".")[0])
    assert {"ray", "mlflow", "wandb"} <= imported
    assert {name.lower() for name in imported - {"answer", "__future__"}} <= set(TAKEN)
