"""What Weights & Biases is told, without a server and without a run of Ray."""

import json
import math
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
import wandb
from ray_tune_experiment.harness.trackers.wandb import WandbCallback
from ray_tune_experiment.project import PROJECT
from ray_tune_experiment.settings import Settings

KEY = "planted7tracker9secret" * 2
ODD = {
    "seed": 42,
    "nested": {"lr": 0.1, "none": None},
    "list": [1, 2],
    "a:b": math.nan,
    "long": "x" * 10_000,
    "function": abs,
}


@pytest.fixture(autouse=True)
def nobody_is_logged_in(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in [name for name in os.environ if name.startswith(("WANDB_", "EXPERIMENT_"))]:
        monkeypatch.delenv(name)
    yield
    wandb.teardown()


def services() -> list[Any]:
    """wandb's own processes."""
    return [child for child in psutil.Process().children(True) if child.name() == "wandb-core"]


def test_no_key() -> None:
    """A finding, and no prompt."""
    (finding,) = WandbCallback(Settings()).check()
    assert finding.startswith("WANDB_API_KEY: not set")


def test_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    (finding,) = WandbCallback(Settings()).check()
    assert finding.startswith("WANDB_API_KEY: Failed to authenticate with http://127.0.0.1:9")
    assert KEY not in finding
    assert not services()  # else the end of the command may wait ten minutes for it


@pytest.fixture
def callback(monkeypatch: pytest.MonkeyPatch) -> WandbCallback:
    monkeypatch.setenv("WANDB_MODE", "offline")
    callback = WandbCallback(Settings(name="x", verbose=0))
    callback.setup(project=PROJECT)
    return callback


TRIAL = SimpleNamespace(trial_id="a_00000", config=ODD)


def report(callback: WandbCallback, *steps: int) -> None:
    for step in steps:
        values = {"training_iteration": step, "validation_accuracy": 0.5}
        odd = {"training_loss": math.nan, "validation_log_loss": math.inf}
        callback.on_trial_result(0, [], TRIAL, {**values, **odd})


def written() -> list[dict[str, Any]]:
    """What is in each run's file, the oldest first."""
    read: list[str | Path] = [
        sys.executable,
        Path(__file__).with_name("wandb_files.py"),
        "results/wandb",
    ]
    done = subprocess.run(read, check=True, capture_output=True, text=True, timeout=60)
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_odd_hyperparameters_and_results(callback: WandbCallback) -> None:
    callback.on_trial_start(0, [], TRIAL)
    report(callback, 1, 2)
    callback.on_trial_complete(0, [], TRIAL)
    (run,) = written()
    assert run["config"]["nested"] == {"lr": 0.1, "none": None}
    assert (run["id"], run["code"]) == ("x-a_00000", 0)
    assert [step for step, _ in run["steps"]] == [1, 2]


def test_a_result_that_is_repeated(callback: WandbCallback) -> None:
    """As after two resumes, each of which goes back to a checkpoint."""
    for steps in ([1, 2, 3], [2, 3, 4], [4, 5]):
        state = callback.get_state()
        callback = WandbCallback(callback.settings)
        callback.set_state(state)
        callback.setup(project=PROJECT)
        callback.on_trial_start(0, [], TRIAL)
        report(callback, *steps)
        callback.on_trial_complete(0, [], TRIAL)
    assert [step for run in written() for step, _ in run["steps"]] == [1, 2, 3, 4, 5]


def test_its_own_process_is_killed(
    callback: WandbCallback, capfd: pytest.CaptureFixture[str]
) -> None:
    """As when memory is short: the trials continue, and so do their runs."""
    callback.on_trial_start(0, [], TRIAL)
    report(callback, 1)
    (process,) = services()
    process.kill()
    process.wait(10)
    step, killed = 1, callback.runs["a_00000"]
    while callback.runs["a_00000"] is killed:  # wandb notices late
        step += 1
        report(callback, step)
    callback.on_trial_complete(0, [], TRIAL)
    callback.on_experiment_end([])
    said = capfd.readouterr()
    assert said.out.count("Weights & Biases restarts: ") == 1
    assert "Traceback" not in said.out + said.err
    last = written()[-1]  # what the killed one had in memory is gone
    assert (last["id"], last["code"], last["steps"][-1][0]) == ("x-a_00000", 0, step)
