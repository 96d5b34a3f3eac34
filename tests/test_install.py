"""What a project installs for PyTorch, XGBoost and LightGBM: with CUDA and without.

PyTorch's build for the CPU comes from a folder of wheels, where uv or pip is told of one, and
otherwise from pytorch.org. The tests follow each other, so the file stays in one worker.
"""

import re
import shutil
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import quote

import pytest

from tests.conftest import BIN, OUTSIDE, ROOT, Answers, with_cookiecutter
from tests.test_generated_project import Machine

pytestmark = [pytest.mark.timeout(900), pytest.mark.more]

PAGE = (ROOT / "docs/frameworks.md").read_text("utf-8")
PYTORCH_ORG = "https://download.pytorch.org/whl/cpu"
FOLDERS = OUTSIDE.get("UV_FIND_LINKS", OUTSIDE.get("PIP_FIND_LINKS", ""))
WHEEL = f"torch-*+cpu-cp{sys.version_info.major}{sys.version_info.minor}-*.whl"
WHEELS = [wheel for name in FOLDERS.split(",") if name for wheel in Path(name).glob(WHEEL)]
# Each a package of its own, so that one environment holds them all.
LOWEST = {
    "PyTorch": "torch==2.13.0",
    "XGBoost": "xgboost-cpu==3.0.0",
    "LightGBM": "lightgbm==4.6.0",
}


def shown(beginning: str) -> str:
    """The command on the page that begins so."""
    (command,) = re.findall(rf"^{beginning}.*$", PAGE, re.MULTILINE)
    return str(command)


@pytest.fixture(scope="module")
def machine(isolation: Path, tmp_path_factory: pytest.TempPathFactory) -> Machine:
    """A bare machine that has uv, and finds wheels where a test says so."""
    machine = Machine(isolation, tmp_path_factory.mktemp("bin"))
    machine.env.pop("UV_FIND_LINKS", None)
    for tool in (BIN / "uv", Path(shutil.which("sed") or "")):
        (Path(machine.env["PATH"]) / tool.name).symlink_to(tool)
    return machine


@pytest.fixture(scope="module")
def cpu(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Variables with which uv takes PyTorch for the CPU, and all else from where it always does."""
    if not WHEELS:
        return {"UV_TORCH_BACKEND": "cpu"}  # of `uv pip` alone
    config = tmp_path_factory.mktemp("uv") / "uv.toml"
    config.write_text(f'[[index]]\nurl = "{WHEELS[0].parent}"\nformat = "flat"\n')
    return {"UV_CONFIG_FILE": str(config)}


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of an index that has PyTorch for the CPU."""
    if not WHEELS:
        yield PYTORCH_ORG
        return
    top = tmp_path_factory.mktemp("index")
    folder = top / "whl/cpu/torch"
    folder.mkdir(parents=True)
    links = ""
    for wheel in WHEELS:
        (folder / wheel.name).symlink_to(wheel)
        with zipfile.ZipFile(wheel) as archive:
            (about,) = (name for name in archive.namelist() if Path(name).match("*-info/METADATA"))
            (folder / f"{wheel.name}.metadata").write_bytes(archive.read(about))
        links += f'<a href="{quote(wheel.name)}" data-core-metadata="true">{wheel.name}</a>\n'
    (folder / "index.html").write_text(links)
    handler = partial(SimpleHTTPRequestHandler, directory=str(top))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/whl/cpu"
        server.shutdown()
        thread.join()


def generate(template: Path, folder: Path, answers: Answers) -> Path:
    rendering = with_cookiecutter(template, folder, answers)
    assert not rendering.refusal
    return rendering.project


@pytest.fixture(scope="module")
def pytorch(
    template: Path, machine: Machine, cpu: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    answers = {"framework": "PyTorch", "task": "regression"}
    project = generate(template, tmp_path_factory.mktemp("projects"), answers)
    if WHEELS:  # so that the step has nothing to download
        machine.run(project, "make", "install", **cpu)
    return project


def locked(project: Path) -> dict[str, list[dict[str, Any]]]:
    """The packages of uv.lock, for every platform."""
    found: dict[str, list[dict[str, Any]]] = {}
    for package in tomllib.loads((project / "uv.lock").read_text("utf-8"))["package"]:
        found.setdefault(package["name"], []).append(package)
    return found


def cuda(project: Path) -> set[str]:
    return {name for name in locked(project) if name.startswith(("nvidia-", "cuda-"))}


def test_pytorch_without_cuda_is_one_step_away(pytorch: Path, machine: Machine, index: str) -> None:
    (pytorch / "uv.lock").unlink(missing_ok=True)
    machine.run(pytorch, "uv", "lock")
    assert {"nvidia-cudnn-cu13", "nvidia-nccl-cu13"} <= cuda(pytorch)  # as it comes

    pyproject = pytorch / "pyproject.toml"
    replace(pyproject, f'"{PYTORCH_ORG}"', f'"{index}"')
    machine.run(pytorch, "sh", "-c", shown("sed "))
    for change in (None, ('"rich>=14.0"', '"rich>=14.1"')):
        if change:  # so that make syncs once more
            replace(pyproject, *change)
        machine.run(pytorch, "make", "install")
        assert cuda(pytorch) == set()
        assert {torch["source"]["registry"] for torch in locked(pytorch)["torch"]} == {index}
        check = "import torch; print(torch.__version__, torch.version.cuda)"
        said = machine.run(pytorch, ".venv/bin/python", "-c", check)
        assert re.fullmatch(r"[\d.]+\+cpu None\n", said)


def replace(path: Path, was: str, now: str) -> None:
    text = path.read_text("utf-8")
    assert text.count(was) == 1
    path.write_text(text.replace(was, now), "utf-8")


def test_make_experiment_in_a_pytorch_project(pytorch: Path, machine: Machine) -> None:
    """Its unit tests: test_frameworks.py; `make lint`: test_generated_lint.py."""
    machine.run(pytorch, "make", "experiment")


def test_xgboost_has_cuda_only_when_asked(template: Path, machine: Machine, tmp_path: Path) -> None:
    project = generate(template, tmp_path, {"framework": "XGBoost"})
    machine.run(project, "uv", "lock")
    assert cuda(project) == set()
    machine.run(project, "sh", "-c", shown("uv remove"), UV_NO_SYNC="1")
    assert {"nvidia-nccl-cu12", "nvidia-nccl-cu13"} >= cuda(project) != set()
    assert "xgboost-cpu" not in locked(project)


def test_lowest_versions_pass_the_tests_of_the_model(
    template: Path, machine: Machine, cpu: dict[str, Any], tmp_path: Path
) -> None:
    projects = []
    for framework in LOWEST:
        names = {"project_slug": f"a-{framework.lower()}", "package_name": f"a_{framework.lower()}"}
        projects.append(generate(template, tmp_path, {"framework": framework, **names}))
    env = {**cpu, "VIRTUAL_ENV": str(tmp_path / "venv")}
    how = ("--resolution", "lowest-direct", "pytest>=9.0")
    editable = [word for project in projects for word in ("--editable", project)]
    machine.run(tmp_path, "uv", "venv", "--quiet", "venv")
    machine.run(tmp_path, "uv", "pip", "install", *how, *editable, **env)
    installed = machine.run(tmp_path, "uv", "pip", "freeze", **env).replace("+cpu", "").split()
    assert {*LOWEST.values()} <= {*installed}
    for project in projects:
        tests = [f"tests/unit/test_{name}.py" for name in ("model", "trainable")]
        machine.run(project, tmp_path / "venv/bin/python", "-m", "pytest", *tests)
