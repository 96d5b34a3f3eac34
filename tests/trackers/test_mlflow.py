"""What MLflow is told of a saved experiment: an SQLite file, no server, no Ray."""

import contextlib
import functools
import json
import math
import shlex
import shutil
import sqlite3
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import sqlalchemy
from mlflow import MlflowClient
from ray.tune.experiment import Trial
from ray_tune_experiment.harness.cli import main
from ray_tune_experiment.harness.run.journal import encoded
from ray_tune_experiment.harness.store import lock
from ray_tune_experiment.harness.store.storage import Folder
from ray_tune_experiment.harness.trackers import mlflow
from ray_tune_experiment.harness.trackers.mlflow import MlflowCallback
from ray_tune_experiment.harness.trackers.mlflow_experiment import WAITING, MlflowExperiment
from ray_tune_experiment.harness.tune import stopping
from ray_tune_experiment.project import PROJECT
from ray_tune_experiment.settings import Settings

STEPS = [1, 2, 3]


@pytest.fixture(scope="session")
def no_runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MLflow's tables without a run; it takes seconds to make them."""
    file = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    MlflowClient(f"sqlite:///{file}")
    return file


@pytest.fixture
def settings(storage: Path, no_runs: Path) -> Settings:
    shutil.copy(no_runs, storage)
    return Settings(name="x")


@pytest.fixture
def experiment(settings: Settings) -> MlflowExperiment:
    return MlflowExperiment(PROJECT, settings)


def runs(experiment: MlflowExperiment) -> dict[int, Any]:
    """The runs that MLflow has, by the number of their trial."""
    found = experiment.client.search_runs([experiment.id])
    by_number = {int(run.info.run_name.rpartition("_")[2]): run for run in found}
    assert len(by_number) == len(found)
    return by_number


def steps(experiment: MlflowExperiment, run: Any) -> list[int]:
    history = experiment.client.get_metric_history(run.info.run_id, "training_loss")
    return [metric.step for metric in history]


def edit(storage: Path, **changes: dict[int, Any]) -> list[dict[str, Any]]:
    """Change fields of saved trials, by their numbers. Returns the trials."""
    file = max((storage / "x").glob("experiment_state-*.json"))
    state, trials = json.loads(file.read_text()), []
    for pair in state["trial_data"]:
        trial, run = map(json.loads, pair)
        number = int(trial["trial_id"].rpartition("_")[2])
        for field, by_number in changes.items():
            where = trial if field in trial else run
            where[field] = by_number.get(number, where[field])
        pair[:] = json.dumps(trial), json.dumps(run)
        trials.append(trial)
    file.write_text(json.dumps(state))
    return sorted(trials, key=lambda trial: str(trial["trial_id"]))


def nothing_reported(storage: Path, *numbers: int) -> None:
    edit(storage, last_result={n: {} for n in numbers}, metric_analysis={n: {} for n in numbers})
    for number in numbers:
        (folder,) = (storage / "x").glob(f"trial_*_{number:05d}")
        shutil.rmtree(folder)


def test_it_catches_up_once(experiment: MlflowExperiment) -> None:
    """What was there already is left alone, the time at which a run ended too."""
    experiment.catch_up()
    experiment.keep_best()
    first = runs(experiment)
    assert [run.info.status for run in first.values()] == ["FINISHED"] * 3
    assert [steps(experiment, run) for run in first.values()] == [STEPS] * 3
    assert len([run for run in first.values() if "best" in run.data.tags]) == 1
    again = MlflowExperiment(PROJECT, experiment.settings)
    again.catch_up()
    again.keep_best()
    assert {n: run.to_dictionary() for n, run in runs(again).items()} == {
        n: run.to_dictionary() for n, run in first.items()
    }
    assert [steps(again, run) for run in first.values()] == [STEPS] * 3


@pytest.mark.parametrize("loggers", ["csv", "none"])
def test_without_result_json(loggers: str, experiment: MlflowExperiment, storage: Path) -> None:
    for path in storage.glob("x/trial_*/*"):
        if path.name == "result.json" or (path.name == "progress.csv" and loggers == "none"):
            path.unlink()
    experiment.catch_up()
    kept = STEPS if loggers == "csv" else STEPS[-1:]
    assert [steps(experiment, run) for run in runs(experiment).values()] == [kept] * 3


def test_trials_without_a_result(experiment: MlflowExperiment, storage: Path) -> None:
    """Interrupted before it reported, failed before it reported, killed while it trained."""
    nothing_reported(storage, 0, 1)
    edit(storage, status={0: Trial.PENDING, 1: Trial.ERROR, 2: Trial.RUNNING})
    experiment.catch_up()
    found = runs(experiment)
    assert {n: run.info.status for n, run in found.items()} == {1: "FAILED", 2: "KILLED"}
    assert [steps(experiment, found[n]) for n in (1, 2)] == [[], STEPS]


def test_runs_that_a_killed_driver_left(experiment: MlflowExperiment, storage: Path) -> None:
    """None goes on "running": neither that of a trial without a result, nor of one not saved."""
    trials = edit(storage, status={0: Trial.PENDING})
    nothing_reported(storage, 0)
    for trial_id in (trials[0]["trial_id"], "lost_00007"):
        experiment.start(trial_id, {})
    experiment.catch_up()
    statuses = {n: run.info.status for n, run in runs(experiment).items()}
    assert statuses == {0: "KILLED", 1: "FINISHED", 2: "FINISHED", 7: "KILLED"}


def test_a_run_that_was_deleted(experiment: MlflowExperiment) -> None:
    experiment.catch_up()
    deleted = runs(experiment)[1]
    experiment.client.delete_run(deleted.info.run_id)
    MlflowExperiment(PROJECT, experiment.settings).catch_up()
    assert [steps(experiment, run) for run in runs(experiment).values()] == [STEPS] * 3
    assert runs(experiment)[1].info.run_id != deleted.info.run_id


def test_the_time_budget_of_the_run_is_left_alone(
    experiment: MlflowExperiment, storage: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The state holds the time that was spent before; a resume has counted it already."""
    spent = stopping.RestorableStopper(budget := stopping.TimeBudgetStopper(60))
    budget.set_state({"spent": 50.0})
    file = max((storage / "x").glob("experiment_state-*.json"))
    state = json.loads(file.read_text())
    state["runner_data"]["_stopper"] = encoded(spent)
    file.write_text(json.dumps(state))
    monkeypatch.setattr(stopping, "_current", None)
    stopping.RestorableStopper(stopping.TimeBudgetStopper(60))
    experiment.catch_up()
    experiment.keep_best()
    assert stopping.seconds_left() == 60


def test_odd_hyperparameters_and_results(experiment: MlflowExperiment, storage: Path) -> None:
    config = {
        "seed": 42,
        "nested": {"lr": 0.1, "none": None},
        "list": [1, 2],
        "a:b": "odd",
        "a;b": "the same name to MLflow",
        "long": "x" * 10_000,
        "n" * 300: 1,
        "numpy": encoded(np.int64(7)),
    }
    edit(storage, config={0: config})
    (table,) = storage.glob("x/trial_*_00000/result.json")
    rows = [json.loads(line) for line in table.read_text().splitlines()]
    rows[0]["training_loss"], rows[1]["training_loss"] = math.nan, math.inf
    rows[2]["training_loss"] = "no number"
    table.write_text("".join(json.dumps(row) + "\n" for row in rows))
    experiment.catch_up()
    run = runs(experiment)[0]
    assert run.info.status == "FINISHED"
    assert run.data.params == {
        "seed": "42",
        "nested/lr": "0.1",
        "nested/none": "None",
        "list": "[1, 2]",
        "a_b": "the same name to MLflow",
        "long": "x" * 6000,
        "n" * 250: "1",
        "numpy": "7",
    }
    assert steps(experiment, run) == [1, 2]
    history = experiment.client.get_metric_history(run.info.run_id, "training_iteration")
    assert [metric.step for metric in history] == STEPS


def test_a_changed_hyperparameter(experiment: MlflowExperiment, storage: Path) -> None:
    """SCHEDULER=pbt changes it; a parameter of MLflow stays as it was first."""
    trials = edit(storage)
    experiment.start(trials[0]["trial_id"], {"learning_rate": 0.1})
    experiment.start(trials[0]["trial_id"], {"learning_rate": 0.2, "more": 1})
    assert runs(experiment)[0].data.params == {"learning_rate": "0.1", "more": "1"}


ADDRESSES = [
    ("sqlite:///own/mlflow.db", "sqlite:///own/mlflow.db", "own/mlflow-artifacts/x"),
    ("sqlite:///{here}/own.db", "sqlite:///own.db", "mlflow-artifacts/x"),
    ("", "sqlite:///results/mlflow.db", "results/mlflow-artifacts/x"),
]


@pytest.mark.parametrize(("address", "shown", "artifacts"), ADDRESSES)
def test_where_an_sqlite_file_is(
    address: str,
    shown: str,
    artifacts: str,
    settings: Settings,
    tmp_path: Path,
    no_runs: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A check makes none; the run tells how to look at it, and keeps the artefacts beside it."""
    (tmp_path / "results/mlflow.db").unlink()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address.format(here=tmp_path))
    before = sorted(tmp_path.rglob("*"))
    assert MlflowCallback(settings).check() == []
    assert sorted(tmp_path.rglob("*")) == before
    experiment = MlflowExperiment(PROJECT, settings)
    assert experiment.file is not None
    experiment.file.parent.mkdir(exist_ok=True)
    shutil.copy(no_runs, experiment.file)
    experiment.catch_up()
    experiment.keep_best()
    command = f"{Path(sys.executable).with_name('mlflow')} ui --backend-store-uri {shown}"
    assert experiment.where == command
    assert (tmp_path / artifacts).is_dir()
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.startswith("ml")) == (
        sorted({"mlflow-artifacts"} & {artifacts.partition("/")[0]})
    )


def test_where_a_server_is(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:secret@127.0.0.1:5000/")
    experiment = MlflowExperiment(PROJECT, settings)
    vars(experiment)["id"] = "1"
    assert experiment.where == "http://***@127.0.0.1:5000/#/experiments/1"


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("sqlite:///no.db", "file is not a database"),
        ("sqlite:///no.db/mlflow.db", "[Errno 20] Not a directory"),
        ("sqlite:///file:{storage}/mlflow.db?mode=ro&uri=true", "readonly database"),
        ("sqlite://", "names no file, as sqlite:///mlflow.db does"),
        ("sqlite:///:memory:", "names no file, as sqlite:///mlflow.db does"),
        ("sqlite:nonsense", "names no file, as sqlite:///mlflow.db does"),
    ],
)
def test_an_address_that_is_of_no_use(
    address: str, reason: str, settings: Settings, storage: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("no.db").write_text("something else\n" * 9)
    address = address.format(storage=storage)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    (finding,) = MlflowCallback(settings).check()
    assert finding.startswith(f"MLFLOW_TRACKING_URI={address!r}: ")
    assert finding.endswith(reason)


def test_a_file_that_is_damaged(settings: Settings, storage: Path) -> None:
    """No variable was set, so none is to blame."""
    file = storage / "mlflow.db"
    file.write_text("something else\n" * 9)
    assert MlflowCallback(settings).check() == [f"{file}: file is not a database"]


@pytest.fixture
def impatient() -> Iterator[None]:
    """MLflow lets SQLite wait 20 s for a lock."""

    def at_once(_: Any, cursor: Any, statement: str, parameters: Any, *rest: Any) -> Any:
        return statement.replace("busy_timeout = 20000", "busy_timeout = 1"), parameters

    event = (sqlalchemy.engine.Engine, "before_cursor_execute", at_once)
    sqlalchemy.event.listen(*event, retval=True)
    yield
    sqlalchemy.event.remove(*event)


@contextlib.contextmanager
def locked(file: Path) -> Iterator[None]:
    with contextlib.closing(sqlite3.connect(file, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield


def callback_of(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> MlflowCallback:
    monkeypatch.setattr(mlflow, "SECONDS_BETWEEN_TRIES", 0.01)
    callback = MlflowCallback(settings)
    callback.setup(project=PROJECT)
    return callback


def report(callback: MlflowCallback, step: int) -> None:
    trial = SimpleNamespace(trial_id="new_00009", config={})
    if step == 1:
        callback.on_trial_start(0, [], trial)
    result = {"training_iteration": step, "timestamp": 1, "training_loss": 0.5}
    callback.on_trial_result(0, [], trial, result)


@pytest.mark.usefixtures("impatient")
def test_a_file_that_is_locked(
    settings: Settings,
    storage: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A finding of check; during a run the results wait, and no traceback is shown."""
    address = f"sqlite:///{storage}/mlflow.db?timeout=0.01"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    with locked(storage / "mlflow.db"):
        (finding,) = MlflowCallback(settings).check()
    assert finding.endswith("database is locked")
    callback = callback_of(settings, monkeypatch)
    report(callback, 1)
    callback.jobs.join()
    with locked(storage / "mlflow.db"):
        report(callback, 2)
        while not callback.lost:
            pass
    callback.on_experiment_end([])
    found = runs(callback.experiment)[9]
    assert steps(callback.experiment, found) == [1, 2]
    assert found.info.status == "KILLED"
    said = capsys.readouterr()
    assert "MLflow is unavailable (" in said.out
    assert "database is locked)" in said.out
    assert "MLflow is back" in said.out
    assert "Traceback" not in said.out + said.err


def test_an_experiment_that_is_deleted_while_it_runs(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Trying again would not help."""
    callback = callback_of(settings, monkeypatch)
    report(callback, 1)
    callback.jobs.join()
    callback.experiment.client.delete_experiment(callback.experiment.id)
    report(callback, 2)
    callback.on_experiment_end([])
    said = capsys.readouterr().out
    assert "MLflow doesn't have all results: " in said
    assert "unavailable" not in said


@pytest.fixture
def command() -> Callable[[list[str]], int]:
    return functools.partial(main, PROJECT)


def test_the_command(
    experiment: MlflowExperiment,
    command: Callable[[list[str]], int],
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert command(["sync", "x"]) == 0
    assert capsys.readouterr().out.startswith("MLflow: ")
    assert [steps(experiment, run) for run in runs(experiment).values()] == [STEPS] * 3


def test_the_command_with_a_wrong_name(
    settings: Settings, command: Callable[[list[str]], int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(["sync", "xx"]) == 2
    said = "error: EXPERIMENT_NAME='xx': no such experiment; did you mean x?\n"
    assert capsys.readouterr().err == said


def test_the_command_while_the_experiment_runs(
    settings: Settings,
    storage: Path,
    command: Callable[[list[str]], int],
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Two at once would log every result twice."""
    with lock.locked(Folder.open(str(storage)) / "x"):
        assert command(["sync", "x"]) == 2
    said = "error: EXPERIMENT_NAME='x': it is running, and sends its results itself\n"
    assert capsys.readouterr().err == said


@pytest.mark.usefixtures("impatient")
def test_the_command_that_is_printed_finds_the_storage(
    storage: Path,
    no_runs: Path,
    monkeypatch: pytest.MonkeyPatch,
    command: Callable[[list[str]], int],
    capsys: pytest.CaptureFixture[str],
) -> None:
    """It came by a flag, which the next command doesn't know."""
    elsewhere = storage.rename("else where")
    shutil.copy(no_runs, elsewhere)
    settings = Settings(name="x", storage_path=str(elsewhere.absolute()))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{elsewhere}/mlflow.db?timeout=0.01")
    monkeypatch.setattr(mlflow, "SECONDS_AT_END_IF_LOST", 0)
    callback = callback_of(settings, monkeypatch)
    with locked(elsewhere / "mlflow.db"):
        report(callback, 1)
        while not callback.lost:
            pass
        callback.on_experiment_end([])
    callback.jobs.join()
    printed = capsys.readouterr().out.partition("Send them later: ")[2].splitlines()[0]
    words = shlex.split(printed)
    assert command(words[words.index("sync") :]) == 0, printed
    assert not (elsewhere / "x" / WAITING).exists()


def test_results_that_waited(
    settings: Settings, storage: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without csv and json, what MLflow had not got when a run ended is in a file."""
    for path in storage.glob("x/trial_*/*"):
        if path.name in ("result.json", "progress.csv"):
            path.unlink()
    (first, *_) = edit(storage)
    experiment = MlflowExperiment(PROJECT, settings)
    for step in (1, 2):
        result = {"training_iteration": step, "timestamp": 1, "training_loss": 0.5}
        experiment.waiting = [(first["trial_id"], result)]
        experiment.keep_waiting()
    experiment.catch_up()
    found = runs(experiment)
    assert [steps(experiment, found[number]) for number in range(3)] == [STEPS, [3], [3]]
    assert not (storage / "x" / WAITING).exists()


def test_a_name_that_is_taken(experiment: MlflowExperiment) -> None:
    """Of two experiments, in two storages, MLflow would make one."""
    experiment.catch_up()
    (finding,) = MlflowCallback(experiment.settings).check()
    assert finding.startswith("EXPERIMENT_NAME='x': MLflow has an experiment of that name")
    assert MlflowCallback(experiment.settings.model_copy(update={"resume": "true"})).check() == []
    into = experiment.settings.model_copy(update={"resume": "extend", "into": "x"})
    assert len(MlflowCallback(into).check()) == 1
    experiment.client.delete_experiment(experiment.id)
    (finding,) = MlflowCallback(experiment.settings).check()
    assert f"mlflow experiments restore --experiment-id {experiment.id}" in finding


def test_a_server_that_gives_no_answer(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:secret@127.0.0.1:9")
    (finding,) = MlflowCallback(settings).check()
    assert finding.startswith("MLFLOW_TRACKING_URI='http://***@127.0.0.1:9': ")
    assert "secret" not in finding
