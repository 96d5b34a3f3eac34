"""The edits of docs/your-trainable.md are made: two of Ray's own class Trainables in a project."""

import re
import shlex
from pathlib import Path

import pytest
import torch

from tests.conftest import ROOT, with_cookiecutter
from tests.faults.project import PACKAGE
from tests.recipes import blocks, command, edits, make_edits, python, sections

pytestmark = [pytest.mark.timeout(900), pytest.mark.more]

SECTIONS = sections("your-trainable.md")
FOR_ALL = SECTIONS["Without rows and model"]
PROGRAM = ("-m", PACKAGE)
LOOK = f"""
from {PACKAGE}.harness.cli import main
from {PACKAGE}.project import PROJECT
for command in ("show", "trials", "report"):
    assert main(PROJECT, [command, "toy"]) == 0
raise SystemExit(main(PROJECT, ["export", "toy"]))
"""


def lines(*parts: str) -> int:
    """How many lines the edits add and remove."""
    text = "".join(block for part in parts for _, block in blocks(part, "diff"))
    return len(re.findall(r"^[-+]", text, re.MULTILINE))


@pytest.fixture
def project(template: Path, tmp_path: Path) -> Path:
    """A project without rows and model."""
    project = with_cookiecutter(template, tmp_path, {}).project
    make_edits(FOR_ALL, project)
    ((_, remove),) = blocks(FOR_ALL, "text")
    command(project, "bash", "-c", remove)
    return project


def ready(project: Path) -> str:
    """Check a project as its CI and its user do."""
    python(project, "-m", "ruff", "check")
    python(project, "-m", "ruff", "format", "--check")
    return python(project, *PROGRAM, "check")


def test_a_simulation(project: Path) -> None:
    section = SECTIONS["A simulation"]
    assert lines(FOR_ALL, section) < 60
    assert len({*edits(FOR_ALL), *edits(section)}) == 5
    (_, found), (_, runs) = blocks(section, "text")
    first, second = section.split(found)
    make_edits(first, project)
    python(project, *PROGRAM, "docs")
    failed = python(project, "-m", "pytest", "tests/unit", code=1)
    assert re.findall("^FAILED .*?(?= - )", failed, re.MULTILINE) == [found.strip()]
    make_edits(second, project)
    assert ready(project).startswith("Ready to run: ExperimentTrainable has no _export_model")
    python(project, "-m", "pytest", "tests")

    for line in runs.splitlines():
        printed = python(project, *PROGRAM, *shlex.split(line)[1:])
        assert "Best of 4 trials: mean_accuracy" in printed
        assert "Export" not in printed
    printed = python(project, "-c", LOOK, code=2)
    assert "no data" in printed
    assert len(re.findall(r"completed +20 ", printed)) == 4
    assert "error: ExperimentTrainable has no method _export_model" in printed
    report = (project / "results/toy/report.html").read_text("utf-8")
    assert "Export the best" not in report


def test_a_pytorch_class(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "tests/stand_ins"))  # torchvision
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # the tests of several files run at a time
    section = SECTIONS["A PyTorch class"]
    make_edits(section, project)
    python(project, *PROGRAM, "docs")
    assert ready(project).startswith("Ready to run")
    python(project, "-m", "pytest", "tests/unit")
    # One after the other, in one worker: the class has no reset_config.
    run = "run --name mnist --num-samples 2 --max-iterations 2 --max-concurrent-trials 1"
    printed = python(project, *PROGRAM, *run.split())
    assert "Best of 2 trials: mean_accuracy" in printed
    assert "Export the best" in printed
    python(project, *PROGRAM, "export", "mnist")
    (exported,) = (project / "results/mnist/best").glob("*.pth")
    assert "conv1.weight" in torch.load(exported, weights_only=True)
