"""docs/distributed.md: its edits in a PyTorch project, whose trials then train in two workers."""

import json
import re
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT, with_cookiecutter
from tests.faults.project import PACKAGE, Experiment, Project, Run, using
from tests.recipes import make_edits, python

pytestmark = [pytest.mark.timeout(900), pytest.mark.more]

PAGE = (ROOT / "docs/distributed.md").read_text("utf-8")
METRICS = ("validation_accuracy", "validation_log_loss", "training_loss")
POINT = {
    "hidden_units": 32,
    "learning_rate": 0.01,
    "decay": 0.95,
    "weight_decay": 0.01,
    "clip_norm": 1.0,
    "batch_size": 64,
}
DROPOUT = (0.0, 0.2)  # of the two trials
SWEEP = (
    *("--points-to-evaluate", "points.json", "--num-samples", 2),
    *("--max-iterations", 4, "--checkpoint-frequency", 2),
)
# Added to model.py. Before the second worker of a trial trains the fourth epoch, it does what a
# file says that is called after the dropout, and forgets it: words, the last one first.
FAULT = """

import os
import signal
import time

_fit_step = Model.fit_step


def _faulty_fit_step(self):
    fault = Path(os.environ.get("FAULT_WORKER", "/"), str(self.config["dropout"]))
    if self.rank == 1 and self.epoch == 3 and fault.exists():
        *rest, word = fault.read_text().split() or [""]
        fault.write_text(" ".join(rest))
        if word == "raise":
            raise RuntimeError("the planted fault")
        if word == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        if word == "wait":
            time.sleep(900)
    return _fit_step(self)


Model.fit_step = _faulty_fit_step
"""
# The first trial in one process without Ray, then what looks at its experiment.
ALONE = f"""
import json, sys, torch, ray.train.torch
from pathlib import Path
from {PACKAGE}.data import load_data
from {PACKAGE}.harness.cli import main
from {PACKAGE}.model import load_export
from {PACKAGE}.project import PROJECT
from {PACKAGE}.settings import Settings
from {PACKAGE}.trainable import ExperimentTrainable
config, exported = json.loads(sys.argv[1]), Path(sys.argv[2])
data = load_data(Settings())
trial = ExperimentTrainable.without_ray(config, data, Path.cwd(), {{"cpu": 1}})
results = [trial.train() for _ in range(4)]
trial.stop()
assert len(load_export(exported).predict(data.examples)) == len(data.examples)
for command in ("show", "trials", "report", "export"):
    assert main(PROJECT, [command, "whole", "--storage-path", sys.argv[3]]) == 0
try:
    ray.train.torch.prepare_model(torch.nn.Linear(1, 1))
except RuntimeError as error:
    refused = str(error)
print(json.dumps([results, refused], default=str))
"""


@pytest.fixture(scope="module")
def project(
    template: Path, cluster: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Project]:
    """A project with the edits of the page, and faults to switch on."""
    folder = tmp_path_factory.mktemp("distributed")
    source = with_cookiecutter(template, folder, {"framework": "PyTorch"}).project
    make_edits(PAGE, source)
    python(source, "-m", "ruff", "check")
    python(source, "-m", "ruff", "format", "--check")
    model = source / "src" / PACKAGE / "model.py"
    model.write_text(model.read_text("utf-8") + FAULT, "utf-8")
    points = [{**POINT, "dropout": dropout} for dropout in DROPOUT]
    (folder / "points.json").write_text(json.dumps(points))
    (bundles,) = re.findall(r"^EXPERIMENT_RESOURCES_PER_TRIAL=(.*)", PAGE, re.MULTILINE)
    env = {"FAULT_WORKER": str(folder), "EXPERIMENT_RESOURCES_PER_TRIAL": bundles}
    with using(source, Path(sys.executable), folder, cluster=cluster, **env) as project:
        yield project


@pytest.fixture(scope="module")
def whole(project: Project) -> Experiment:
    """The sweep that nobody disturbs; `run` rehearses the Trainable before."""
    run = project.start("run", "--name", "whole", *SWEEP)
    assert run.wait() == 0, run.said
    assert not run.gone(agents=False)
    return project.experiment("whole")


def metrics(experiment: Experiment, index: int) -> set[tuple[float, ...]]:
    """All that a trial reported; what it did again after a restart counts once if it is equal."""
    names = ("training_iteration", *METRICS)
    return {tuple(result[name] for name in names) for result in experiment.results(index)}


def workers(run: Run) -> list[int]:
    return [pid for pid, name in run.processes().items() if name.startswith("ray::Worker")]


def test_two_workers_do_what_one_process_does(project: Project, whole: Experiment) -> None:
    """Without dropout, and up to rounding: the workers add the same numbers in another order."""
    config, exported = whole.trials()[0].result["config"], whole.trial_folder(0) / "model.pt"
    assert config["dropout"] == 0
    words = (json.dumps(config), str(exported), str(whole.folder.parent))
    printed = python(project.source, "-c", ALONE, *words)
    results, refused = json.loads(printed.splitlines()[-1])
    for result, distributed in zip(results, whole.results(0), strict=True):
        for name in METRICS:
            assert distributed[name] == pytest.approx(result[name], rel=1e-4), name
    # What the page says of Ray Train.
    assert "only available within a function launched by `trainer.fit()`" in refused


def test_a_worker_raises_another_dies_and_the_run_is_killed(
    project: Project, whole: Experiment
) -> None:
    first, second = (project.folder / str(dropout) for dropout in DROPOUT)
    first.write_text("die raise")
    second.write_text("wait")
    flags = ("--max-failures", 2, "--no-check-search-space")
    run = project.start("run", "--name", "killed", *SWEEP, *flags)
    run.until(lambda: not second.read_text())
    run.until(lambda: len(workers(run)) == 2)  # those of the trial that failed are gone
    run.kill(signal.SIGKILL)
    assert run.wait() == -signal.SIGKILL
    assert not run.gone(agents=False)
    killed = project.experiment("killed")
    assert [max(killed.checkpoints(index)) for index in (0, 1)] == [2, 2]
    error = (killed.trial_folder(0) / "error.txt").read_text()
    assert "RuntimeError: the planted fault" in error
    assert re.search(r'model\.py", line \d+, in _faulty_fit_step', error)

    project.run("run", "--resume", "--name", "killed", "--no-check-search-space")
    assert not first.read_text()
    for index in (0, 1):
        assert metrics(killed, index) == metrics(whole, index)
