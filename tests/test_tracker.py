"""The answers MLflow and Weights & Biases: with a real server, and with no network at all.

Both projects share one environment. Their runs also change LOGGERS, so that each choice is
interrupted and gone on with somewhere: csv and tensorboard with MLflow, none with the other, json
in test_faults.py.
"""

import contextlib
import csv
import json
import os
import signal
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import OUTSIDE, ROOT, with_cookiecutter
from tests.faults.bucket import Gate
from tests.faults.kill import resume_command
from tests.faults.project import PACKAGE, Experiment, Project, install, plant, seal, using
from tests.test_docs import free_port, listens
from tests.test_storage import holding

pytestmark = pytest.mark.timeout(900)

TRACKERS = ROOT / "tests/trackers"

SAMPLES, ITERATIONS = 3, 6
SWEEP = (
    *("run", "--name", "x", "--num-samples", SAMPLES, "--max-iterations", ITERATIONS),
    *("--checkpoint-frequency", 4),  # an interrupted trial goes on from before where it was
)
SECRET = "planted7tracker9secret" * 2
# In the environment and in .env, besides that in the URI.
PASSWORD, TOKEN = "planted1password2" * 2, "planted3token4" * 2
# So that the best checkpoint is not the newest one.
WORST_FIRST = ("--metric", "training_loss", "--mode", "max")
STEPS = [*range(1, ITERATIONS + 1)]
METRICS = ("validation_accuracy", "validation_log_loss", "training_loss")


@pytest.fixture(scope="module")
def python(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an environment that has what a project with either tracker needs."""
    folder = tmp_path_factory.mktemp("environment")
    project = with_cookiecutter(template, folder, {"tracker": "MLflow"}).project
    cache = OUTSIDE.get("UV_CACHE_DIR", f"{OUTSIDE['HOME']}/.cache/uv")
    group = f"{project}/pyproject.toml:dev"
    more = ("wandb>=0.31", "tensorboard>=2.20", "--group", group)
    return install(project, {**os.environ, "UV_CACHE_DIR": cache}, *more)


@pytest.fixture
def generate(template: Path, python: Path, tmp_path: Path) -> Iterator[Callable[[str], Project]]:
    """Makes a project that has one of the trackers."""
    with contextlib.ExitStack() as stack:

        def once(tracker: str) -> Project:
            folder = tmp_path / tracker.split()[0]
            source = with_cookiecutter(template, folder / "source", {"tracker": tracker}).project
            plant(source)
            if tracker == "MLflow":  # less patience
                file = source / "src" / PACKAGE / "harness/trackers/mlflow.py"
                text = file.read_text().replace("TRIES = 5.0", "TRIES = 1.0")
                file.write_text(text.replace("IF_LOST = 10.0", "IF_LOST = 2.0"))
                seal(source)
            return stack.enter_context(using(source, python, folder, FAULT_SLEEP="0.5"))

        yield once


class Mlflow:
    """A real MLflow server behind a gate, and what it says."""

    def __init__(self, project: Project) -> None:
        self.project, self.port = project, free_port()
        self.gate = Gate(("127.0.0.1", self.port))
        self.gate.set("closed")
        self.uri = f"http://me:{SECRET}@127.0.0.1:{self.gate.server_address[1]}"

    def start(self) -> None:
        store = f"sqlite:///{self.project.scratch}/store.db"
        place = ("--host", "127.0.0.1", "--port", self.port, "--workers", 1)
        files = ("--artifacts-destination", self.project.scratch / "artifacts")
        process = self.project.start_program(
            *("-m", "mlflow", "server", "--backend-store-uri", store, *place, *files),
            MLFLOW_SERVER_ENABLE_JOB_EXECUTION="false",
        )
        process.until(lambda: listens(self.port), 120)
        self.gate.set("open")

    def ask(self, what: str, **body: Any) -> Any:
        """Ask the server itself, not the gate."""
        url = f"http://127.0.0.1:{self.port}/api/2.0/mlflow/{what}"
        if what.endswith("search"):
            request = urllib.request.Request(url, json.dumps(body).encode())
            request.add_header("Content-Type", "application/json")
        else:
            request = urllib.request.Request(f"{url}?{urllib.parse.urlencode(body)}")
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)

    def runs(self, name: str) -> dict[str, Any]:
        """The runs of an experiment by trial id, each with its tags as a dict."""
        found = self.ask("experiments/search", max_results=100).get("experiments", [])
        ids = [e["experiment_id"] for e in found if e["name"] == name]
        runs = self.ask("runs/search", experiment_ids=ids).get("runs", []) if ids else []
        for run in runs:
            run["tags"] = {tag["key"]: tag["value"] for tag in run["data"]["tags"]}
            run["params"] = {p["key"]: p["value"] for p in run["data"].get("params", [])}
        assert len({run["tags"]["trial_id"] for run in runs}) == len(runs)
        return {run["tags"]["trial_id"]: run for run in runs}

    def history(self, run: dict[str, Any], metric: str) -> list[tuple[int, float]]:
        """Every value that was logged, with its step."""
        id = run["info"]["run_id"]
        found = self.ask("metrics/get-history", run_id=id, metric_key=metric).get("metrics", [])
        return [(int(m["step"]), m["value"]) for m in found]

    def logged(self, name: str) -> int:
        return sum(len(self.history(run, "training_loss")) for run in self.runs(name).values())


@pytest.fixture
def mlflow(generate: Callable[[str], Project]) -> Iterator[Mlflow]:
    import threading

    server = Mlflow(generate("MLflow"))
    with server.gate as gate:
        thread = threading.Thread(target=gate.serve_forever, daemon=True)
        thread.start()
        yield server
        gate.shutdown()


def statuses(runs: dict[str, Any]) -> list[str]:
    return sorted(run["info"]["status"] for run in runs.values())


@pytest.mark.more
def test_mlflow(mlflow: Mlflow) -> None:
    """Lost, and back; interrupted; lost to the end; `sync` sends the rest. Secrets are kept
    nowhere."""
    project = mlflow.project
    project.env |= {"MLFLOW_TRACKING_URI": mlflow.uri, "MLFLOW_TRACKING_PASSWORD": PASSWORD}
    (project.folder / ".env").write_text(f"MLFLOW_TRACKING_TOKEN={TOKEN}\n")
    mlflow.start()
    loggers = ("--loggers", "csv,tensorboard")
    first = project.start(*SWEEP, *WORST_FIRST, *loggers, FAULT_SLEEP="1")
    first.until(lambda: mlflow.logged("x") > 1)
    mlflow.gate.set("closed")
    first.until(lambda: "MLflow is unavailable" in first.said)
    mlflow.gate.set("open")
    first.until(lambda: "MLflow is back" in first.said)
    first.kill(signal.SIGINT)
    assert first.wait() == 130, first.said
    before = mlflow.runs("x")
    assert "KILLED" in statuses(before)
    assert {"RUNNING"} & {*statuses(before)} == set()

    second = project.start(*resume_command(project, first.said))
    trained = sum(map(len, project.trace().values()))
    second.until(lambda: sum(map(len, project.trace().values())) > trained + 2)
    mlflow.gate.set("closed")
    assert second.wait() == 0, second.said
    assert second.said.count("MLflow is unavailable") == 1
    assert "Best of 3 trials" in second.said
    mlflow.gate.set("open")
    (command,) = [words for words in project.commands(second.said) if words[0] == "sync"]
    caught_up = project.start(*command)
    assert caught_up.wait() == 0, caught_up.said

    experiment, runs = project.experiment("x"), mlflow.runs("x")
    check_runs(mlflow, experiment, runs)
    assert before.items() <= {**runs, **before}.items()
    for trial_id, run in before.items():
        assert runs[trial_id]["info"]["run_id"] == run["info"]["run_id"]
    for folder in sorted(experiment.folder.glob("trial_*")):
        with (folder / "progress.csv").open(newline="") as table:
            assert [int(row["training_iteration"]) for row in csv.DictReader(table)] == STEPS
        assert not (folder / "result.json").exists()
    shown = project.start_program("-c", EVENTS, experiment.folder)
    assert shown.wait() == 0, shown.said
    assert shown.said.splitlines()[-SAMPLES:] == [str(STEPS)] * SAMPLES
    said = project.run("report", "x")
    assert "report.html" in said
    for secret in (SECRET, PASSWORD, TOKEN):  # what was said is in scratch
        assert [path.name for path in holding(secret, project.folder)] == [".env"] * (
            secret == TOKEN
        )
        assert not holding(secret, project.scratch)


def check_runs(mlflow: Mlflow, experiment: Experiment, runs: dict[str, Any]) -> None:
    """Every result of every trial is logged, once; and the model of the best checkpoint."""
    trials = experiment.trials()
    assert statuses(runs) == ["FINISHED"] * SAMPLES
    assert {trial.id for trial in trials} == runs.keys()
    for trial in trials:
        run = runs[trial.id]
        for metric in METRICS:
            assert [step for step, _ in mlflow.history(run, metric)] == STEPS
            assert mlflow.history(run, metric)[-1][1] == pytest.approx(trial.result[metric])
        config = trial.result["config"]
        assert run["params"] == {name: str(value) for name, value in config.items()}
        assert run["tags"]["experiment"] == experiment.folder.name
        assert run["tags"]["host"]
    best = experiment.record["runs"][-1]["best"]["trial"]
    assert [id for id, run in runs.items() if "best" in run["tags"]] == [best]
    kept = mlflow.ask("artifacts/list", run_id=runs[best]["info"]["run_id"], path="best")["files"]
    names = ("config.json", "export.json", "model.skops")
    assert {file["path"] for file in kept} == {f"best/{name}" for name in names}
    (model,) = mlflow.project.scratch.glob(
        f"artifacts/*/{runs[best]['info']['run_id']}/artifacts/best/model.skops"
    )
    check_best(mlflow.project, experiment, model)


def check_best(project: Project, experiment: Experiment, model: Path) -> None:
    """A model is that of the best checkpoint, of those that its trial has kept."""
    metric, mode = (experiment.record["settings"][key]["value"] for key in ("metric", "mode"))
    folder = experiment.folder / f"trial_{experiment.record['runs'][-1]['best']['trial']}"
    seals = [json.loads(path.read_text()) for path in folder.glob("checkpoint_*/seal.json")]
    key = (lambda seal: seal["result"][metric], lambda seal: -seal["result"][metric])
    best = max(seals, key=key[mode == "min"])["result"]
    facts = json.loads(model.with_name("export.json").read_text())
    assert (facts["iteration"], facts["value"]) == (best["training_iteration"], best[metric])
    assert facts["files"]["model"]["file"] == model.name
    told = project.start_program("-c", EPOCHS, model, folder / "model.skops")
    assert told.wait() == 0, told.said
    epochs, at_its_end = map(float, told.said.split()[-2:])
    assert epochs / at_its_end == pytest.approx(best["training_iteration"] / ITERATIONS)
    if metric == "training_loss":
        assert epochs < at_its_end


# Prints how many rows each model has been trained on.
EPOCHS = f"""
import pathlib, sys
from {PACKAGE}.model import load_export

for path in sys.argv[1:]:
    print(load_export(pathlib.Path(path))[-1].t_)
"""

# Prints what TensorBoard shows of each trial: the steps of a metric.
EVENTS = """
import pathlib, sys
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

for folder in sorted(pathlib.Path(sys.argv[1]).glob("trial_*")):
    events = EventAccumulator(str(folder)).Reload()
    print([event.step for event in events.Scalars("ray/tune/training_loss")])
"""


@pytest.mark.more
def test_wandb(generate: Callable[[str], Project]) -> None:
    """Offline: interrupted, and resumed. Secrets are kept nowhere."""
    project = generate("Weights & Biases")
    offline = {"WANDB_API_KEY": SECRET, "WANDB_MODE": "offline"}
    first = project.start(*SWEEP, "--loggers", "none", env=offline)
    first.until(lambda: sum(map(len, project.trace().values())) >= 5)
    first.kill(signal.SIGINT)
    assert first.wait() == 130, first.said
    second = project.start(*resume_command(project, first.said), env=offline)
    assert second.wait() == 0, second.said
    assert not [command for command in second.processes().values() if "wandb" in command]

    folder = project.folder / "results/wandb"
    read = project.start_program(TRACKERS / "wandb_files.py", folder)
    assert read.wait() == 0, read.said
    parts = [json.loads(line) for line in read.said.splitlines()]
    assert 130 in [part["code"] for part in parts]
    assert {(part["group"], part["project"]) for part in parts} == {("x", PACKAGE)}
    trials = project.experiment("x").trials()
    assert {part["id"] for part in parts} == {f"x-{trial.id}" for trial in trials}
    for trial in trials:
        own = [part for part in parts if part["id"] == f"x-{trial.id}"]
        assert own[-1]["code"] == 0
        assert own[0]["config"]["learning_rate"] == trial.result["config"]["learning_rate"]
        steps = [step for part in own for step, _ in part["steps"]]
        assert steps == STEPS
    best = next(t.id for t in trials if t.index == project.experiment("x").best()[0])
    kept = [(part["id"], *artifact) for part in parts for artifact in part["artifacts"]]
    assert (f"x-{best}", "x-best", ["export.json", "model.skops"]) == kept[-1]
    assert len(kept) == 2  # the best at the interruption, and in the end
    assert not holding(SECRET, project.folder)
    assert not holding(SECRET, project.scratch)


@pytest.mark.more
def test_of_a_saved_experiment(generate: Callable[[str], Project]) -> None:
    """tests/trackers: what needs no run that is on."""
    started = []
    for tracker, file in (("MLflow", "test_mlflow.py"), ("Weights & Biases", "test_wandb.py")):
        words = ("-m", "pytest", TRACKERS / file, "-c", TRACKERS / "pytest.toml")
        started.append(generate(tracker).start_program(*words, FAULT_SLEEP="0"))
    for done in started:
        assert done.wait() == 0, done.said


@pytest.mark.more
def test_what_the_projects_test(generate: Callable[[str], Project]) -> None:
    """Their own tests of the tracker pass: a tiny sweep, away from any server."""
    started = []
    for tracker in ("MLflow", "Weights & Biases"):
        project = generate(tracker)
        test = project.source / "tests/experiment/test_tracker.py"
        started.append(project.start_program("-m", "pytest", "-q", test))
    for done in started:
        assert done.wait() == 0, done.said
        assert "1 passed" in done.said


# A Python that starts without tensorboardX, as one that never had it.
WITHOUT_TENSORBOARD = """
from importlib.machinery import PathFinder

_find = PathFinder.find_spec
PathFinder.find_spec = lambda name, *rest: None if name == "tensorboardX" else _find(name, *rest)
"""


@pytest.mark.more
def test_tensorboard_that_is_missing(generate: Callable[[str], Project]) -> None:
    project = generate("none")
    folder = project.scratch / "blocker"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(WITHOUT_TENSORBOARD)
    project.env["PYTHONPATH"] = f"{project.source}/src:{folder}"
    said = project.run("run", "--name", "x", code=2)
    assert said == (
        "error: EXPERIMENT_LOGGERS=tensorboard: tensorboardX is missing;"
        " uv add tensorboardX, or leave tensorboard out\n"
    )
    assert not (project.folder / "results").exists()
    assert "Ready to run" in project.run("check", "--loggers", "csv,json")
