"""Every framework is as real as the first, for both tasks, and only a few files know which one."""

import ast
import json
import os
import re
import shutil
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.conftest import ROOT, TREE, Tree, with_cookiecutter
from tests.faults.kill import resume_command
from tests.faults.project import PACKAGE, STORAGE, Project, seal, using
from tests.recipes import python

QUESTIONS = yaml.safe_load((ROOT / "copier.yml").read_text("utf-8"))
FRAMEWORKS: list[str] = QUESTIONS["framework"]["choices"]
TASKS: list[str] = QUESTIONS["task"]["choices"]
PAIRS = [(framework, task) for framework in FRAMEWORKS for task in TASKS]
OTHERS = PAIRS[1:]  # the first has the tests of everything else
SOURCE = f"src/{PACKAGE}"
# The files that may know the framework: the model, what is tuned, what is installed, a sentence.
KNOWS = {
    *(f"{SOURCE}/model.py", f"{SOURCE}/search_space.py"),
    *("pyproject.toml", "README.md", "tests/conftest.py", "tests/unit/test_model.py"),
}
# Sweeps of the other frameworks, each with another task than its neighbour.
SWEEPS = [(framework, TASKS[index % 2]) for index, framework in enumerate(FRAMEWORKS[1:])]
GPU = {
    "scikit-learn": "scikit-learn trains on the CPU",
    "PyTorch": r"PyTorch \S+ is a build for the CPU",
    "XGBoost": "this XGBoost is a build for the CPU",
    "LightGBM": "the wheels of LightGBM train on the CPU",
}

Projects = dict[tuple[str, str], tuple[Path, Tree]]


@pytest.fixture(scope="module")
def projects(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Projects:
    """A project of each framework and task."""
    found = {}
    for framework, task in PAIRS:
        folder = tmp_path_factory.mktemp(f"{framework}-{task}")
        rendering = with_cookiecutter(template, folder, {"framework": framework, "task": task})
        assert not rendering.refusal
        found[framework, task] = rendering.project, rendering.tree
    return found


# ------------------------------------------------------------ who knows the framework


@pytest.mark.parametrize("task", TASKS)
def test_few_files_know_the_framework(projects: Projects, task: str) -> None:
    _, first = projects[FRAMEWORKS[0], task]
    for framework in FRAMEWORKS[1:]:
        _, tree = projects[framework, task]
        assert tree.keys() == first.keys()
        assert {path for path in tree if tree[path] != first[path]} <= KNOWS


def test_a_model_is_one_whole_file_with_the_same_methods() -> None:
    found = {}
    for path in (ROOT / TREE / "src/{{cookiecutter.package_name}}").glob(
        "{{cookiecutter.__*_file}}"
    ):
        text = path.read_text("utf-8")
        assert not re.search(r"\{[{%]", text), path
        body = ast.parse(text).body
        (model,) = [n for n in body if isinstance(n, ast.ClassDef) and n.name == "Model"]
        signatures = {
            node.name: ast.unparse(node.args)
            for node in model.body
            if isinstance(node, ast.FunctionDef)
            if node.name == "__init__" or not node.name.startswith("_")
        }
        functions = {node.name for node in body if isinstance(node, ast.FunctionDef)}
        assert {"why_no_gpu", "load_export"} <= functions
        found[path.name] = signatures
    assert len(found) == len(PAIRS)
    assert len({json.dumps(signatures) for signatures in found.values()}) == 1, found


def test_the_team_s_files_are_short(projects: Projects) -> None:
    for pair, (project, _) in projects.items():
        package = (project / SOURCE).glob("*.py")
        lines = {path.name: len(path.read_text("utf-8").splitlines()) for path in package}
        assert sum(lines.values()) <= 680, (pair, lines)
        assert max(lines.values()) <= 180, (pair, lines)


# ------------------------------------------------------------ the generated tests


@pytest.mark.timeout(900)
@pytest.mark.parametrize(("framework", "task"), OTHERS)
def test_the_unit_tests_pass(projects: Projects, framework: str, task: str) -> None:
    """The contract: metrics, exact resume, reuse, each hyperparameter, corners, export."""
    project, _ = projects[framework, task]
    assert " passed in " in python(project, "-m", "pytest", "-p", "no:cacheprovider", "tests/unit")


def test_a_hyperparameter_that_is_not_used_is_found(projects: Projects) -> None:
    """The test of each hyperparameter can fail: here is one that the model knows nothing of."""
    project, _ = projects[PAIRS[0]]
    space = project / SOURCE / "search_space.py"
    text = space.read_text("utf-8")
    try:
        space.write_text(text.replace("return {", 'return {"unused": tune.uniform(0, 1),', 1))
        words = ("-m", "pytest", "-p", "no:cacheprovider", "tests/unit/test_trainable.py")
        said = python(project, *words, "-k", "test_each_hyperparameter", code=1)
    finally:
        space.write_text(text)
    assert re.findall(r"^FAILED \S+\[(\w+)\]", said, re.MULTILINE) == ["unused"]


# ------------------------------------------------------------ sweeps


@pytest.fixture(
    params=[
        pytest.param(pair, marks=[pytest.mark.more] * (pair[0] != "PyTorch")) for pair in SWEEPS
    ],
    ids=lambda pair: "-".join(pair),
)
def sweep(
    request: pytest.FixtureRequest, projects: Projects, cluster: str, tmp_path: Path
) -> Iterator[Project]:
    """A project of another framework, whose storage can kill a run."""
    source, _ = projects[request.param]
    files = source / SOURCE / "harness/store/whole_files.py"
    if STORAGE not in (text := files.read_text("utf-8")):
        files.write_text(text + STORAGE)
        seal(source)
    with using(source, Path(sys.executable), tmp_path, cluster=cluster) as project:
        yield project


@pytest.mark.timeout(900)
@pytest.mark.shared_ray
def test_a_sweep_is_killed_resumed_warmed_and_exported(sweep: Project) -> None:
    small = (
        *("--num-samples", 3, "--max-iterations", 4, "--max-concurrent-trials", 1),
        *("--scheduler", "asha", "--grace-iterations", 2),
    )
    sweep.run("run", "--name", "whole", *small)
    whole = sweep.experiment("whole")

    # Killed as the second trial saves, in the worker that the first one used.
    sweep.fault_kill.write_text("after */trial_*_00001/checkpoint_000001/seal.json")
    run = sweep.start("run", "--name", "x", *small, "--max-failures", 0)
    run.until(sweep.fault_kill.with_suffix(".done").exists)
    os.kill(run.pid, signal.SIGKILL)
    run.wait()
    sweep.fault_kill.unlink()
    assert not run.gone(agents=False)
    shown = sweep.run("show", "x")
    experiment = sweep.experiment("x")
    assert 0 < sum(map(len, map(experiment.results, range(2)))) < 12
    sweep.run(*resume_command(sweep, shown))
    assert [trial.status for trial in experiment.trials()] == ["TERMINATED"] * 3
    assert experiment.metrics() == whole.metrics()
    experiment.check_files()

    # pbt changes values while trials train; the first trials are the best ones of before.
    pbt = ("--scheduler", "pbt", "--points-to-evaluate", "x:2", "--num-samples", 2)
    sweep.run("run", "--name", "bred", *pbt, "--max-iterations", 4)
    bred = sweep.experiment("bred")
    assert [trial.iteration for trial in bred.trials()] == [4, 4]

    ended = sweep.run_each(["report", "x", "bred"], ["export", "x"], ["report", "x"])
    assert [code for code, _ in ended] == [0] * 3, ended
    facts = json.loads((experiment.folder / "best/export.json").read_text("utf-8"))
    exported = experiment.folder / "best" / facts["files"]["model"]["file"]
    script = (
        "import sys; from pathlib import Path\n"
        f"from {PACKAGE}.data import load_data\n"
        f"from {PACKAGE}.model import load_export\n"
        f"from {PACKAGE}.settings import Settings\n"
        "assert 'ray' not in sys.modules\n"
        "examples = load_data(Settings()).examples\n"
        "print(len(load_export(Path(sys.argv[1])).predict(examples)))"
    )
    loaded = sweep.start_program("-c", script, exported)
    assert loaded.wait() == 0, loaded.said
    assert loaded.said == "5\n"


# ------------------------------------------------------------ devices, threads, files

MODEL = f"""
import json, math, sys
from pathlib import Path
from {PACKAGE}.data import load_data
from {PACKAGE}.harness.project import Granted
from {PACKAGE}.model import Model, load_export
from {PACKAGE}.settings import Settings
sys.path.insert(0, "tests")
from conftest import CONFIG
data, folder = load_data(Settings()), Path(sys.argv[1])
def model(cpus=1, **changes):
    return Model({{**CONFIG, **changes}}, data, Granted(cpus=cpus, gpus=0, gpu=None))
"""


@pytest.mark.parametrize("framework", ["scikit-learn", "PyTorch"])
@pytest.mark.parametrize("task", TASKS)
def test_weights_that_run_away_are_nan(
    projects: Projects, framework: str, task: str, tmp_path: Path
) -> None:
    check = """
runaway = model(learning_rate=1e30)
losses = [runaway.fit_step() for _ in range(6)]
assert math.isnan(losses[-1]), losses
values = data.metrics(runaway.predict(data.x_valid)).values()
assert all(map(math.isnan, values)), values
"""
    python(projects[framework, task][0], "-c", MODEL + check, str(tmp_path))


@pytest.mark.parametrize("framework", FRAMEWORKS[1:])
def test_threads_are_those_of_the_trial(projects: Projects, framework: str, tmp_path: Path) -> None:
    """As the library itself says it; scikit-learn takes the number that Ray sets."""
    says = {
        "PyTorch": "import torch; print(torch.get_num_threads())",
        "XGBoost": "print(json.loads(trained.booster.save_config())"
        "['learner']['generic_param']['nthread'])",
        "LightGBM": "print(trained.booster.params['num_threads'])",
    }
    check = "".join(
        f"trained = model(cpus={cpus})\ntrained.fit_step()\n{says[framework]}\n" for cpus in (1, 2)
    )
    said = python(projects[framework, TASKS[0]][0], "-c", MODEL + check, str(tmp_path))
    assert said == "1\n2\n"


def test_a_trial_without_a_gpu_touches_none(projects: Projects, tmp_path: Path) -> None:
    """Although the process sees one: Ray leaves them visible to a trial that was given none."""
    check = """
import torch
touched = []
def touch(*args, **kwargs):
    touched.append(args)
    raise AssertionError("a GPU of others")
torch.cuda.is_available = lambda: True
torch.cuda.device_count = lambda: 8
torch.cuda._lazy_init = touch
trained = model()
trained.fit_step()
trained.save(folder)
trained.load(folder)
trained.predict(data.x_valid)
load_export(trained.export(folder)).predict(data.examples)
assert not touched
"""
    python(projects["PyTorch", TASKS[0]][0], "-c", MODEL + check, str(tmp_path))


def test_a_gpu_that_the_build_cannot_use_is_refused(projects: Projects) -> None:
    project, _ = projects["PyTorch", TASKS[0]]
    wanted = ("--resources-per-trial", '{"cpu": 1, "gpu": 0.5}', "--no-check-search-space")
    said = python(project, "-m", PACKAGE, "check", *wanted, code=2)
    (line,) = [line for line in said.splitlines() if line.startswith("error: ")]
    given = r'EXPERIMENT_RESOURCES_PER_TRIAL=\{"cpu": 1.0, "gpu": 0.5\}'
    assert re.fullmatch(f"error: {given}: {GPU['PyTorch']}.*", line), line


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_files_that_are_pickles_run_no_code(
    projects: Projects, framework: str, tmp_path: Path
) -> None:
    """And what a build says that can't use a GPU."""
    check = """
import pickle
from ray_tune_experiment.model import why_no_gpu
class Evil:
    def __reduce__(self):
        return (Path.touch, (folder / "it ran",))
trained = model()
trained.fit_step()
saved, exported = folder / "saved", folder / "exported"
saved.mkdir()
exported.mkdir()
trained.save(saved)
(checkpoint,) = saved.iterdir()
export = trained.export(exported)
loads = {checkpoint: lambda: trained.load(saved), export: lambda: load_export(export)}
for file, load in loads.items():
    load()
    file.write_bytes(pickle.dumps(Evil()))
    try:
        load()
    except Exception as error:
        print("refused", type(error).__name__)
    assert not (folder / "it ran").exists()
print(why_no_gpu())
"""
    said = python(projects[framework, TASKS[0]][0], "-c", MODEL + check, str(tmp_path))
    assert len(re.findall("^refused ", said, re.MULTILINE)) == 2, said
    assert re.match(GPU[framework], said.splitlines()[-1])


@pytest.mark.skipif(not (shutil.which("g++") or shutil.which("clang++")), reason="no C++ compiler")
def test_a_compiled_network_saves_what_any_other_loads(projects: Projects, tmp_path: Path) -> None:
    check = """
import numpy as np
compiled = model(compile=True, dropout=0.0)
compiled.fit_step()
compiled.save(folder)
plain = model(dropout=0.0)
plain.load(folder)
difference = compiled.predict(data.x_valid) - plain.predict(data.x_valid)
assert np.abs(difference).max() < 1e-5
assert plain.epoch == 1
"""
    python(projects["PyTorch", TASKS[0]][0], "-c", MODEL + check, str(tmp_path))
