"""Which trials of a saved state run when an experiment is resumed or extended, and what refuses."""

import json
from pathlib import Path
from typing import Any

import pytest
from harness.configuration import Configuration
from harness.errors import Refusal
from harness.run import resume
from harness.run.extend import why_not_resumed
from harness.run.journal import JournalCallback, encoded
from harness.run.preflight import Preflight
from harness.store import saved_trials as saved
from harness.store.record import Record
from harness.store.storage import Folder
from harness.tune.stopping import current_stopper
from ray.train._internal.storage import StorageContext
from ray.tune import PlacementGroupFactory
from ray.tune.experiment import Trial
from stub import PROJECT, Settings
from stub.pieces import make_stopper

FILE = "experiment_state-2026-01-01_00-00-00.json"
TEN = Settings(max_iterations=10)


def extended(**limits: Any) -> Settings:
    return Settings(name="x", resume="extend", **{"max_iterations": 10, **limits})


def write_state(
    folder: Folder,
    trials: dict[str, tuple[str, int, float]],
    settings: Settings = TEN,
    decisions: dict[str, str] | None = None,
) -> None:
    """A state as Ray saves it. trials: by id, their status, iterations and last score."""
    stopper, data = make_stopper(settings), []
    for trial_id, (status, iterations, score) in trials.items():
        root = folder.root.rpartition("/")[0]
        place = StorageContext(root, folder.name, storage_filesystem=folder.filesystem)
        trial = Trial("trainable", trial_id=trial_id, stub=True, storage=place)
        trial.relative_logdir = trial_id
        trial.placement_group_factory = PlacementGroupFactory([{"CPU": 1}])
        for i in range(1, iterations + 1):
            result: dict[str, Any] = {"score": score, "training_iteration": i}
            result["done"] = stopper(trial_id, result)
            trial.update_last_result(result)
        trial.status = status
        data.append(trial.get_json_state())
    runner = {
        "_iteration": 30,
        "_stopper": encoded(stopper),
        "_cached_trial_decisions": decisions or {},
    }
    text = json.dumps({"trial_data": data, "runner_data": runner})
    folder.write(text.encode(), FILE)


@pytest.fixture
def folder(empty_folder: Path) -> Folder:
    return Folder.open(str(empty_folder)) / "x"


def statuses(folder: Folder) -> dict[str, str]:
    return {trial.id: trial.status for trial in saved.load(folder)}


@pytest.mark.parametrize("limit", [10, 8, 3])
def test_a_trial_that_has_done_max_iterations_stays_completed(folder: Folder, limit: int) -> None:
    write_state(folder, {"a": ("TERMINATED", 10, 0.5), "b": ("TERMINATED", 2, 0.5)})
    settings = extended(max_iterations=limit, num_samples=20)
    resume.reconcile(folder, errored=False, longer=lambda: make_stopper(settings))
    assert statuses(folder) == {"a": "TERMINATED", "b": "PENDING"}


@pytest.mark.parametrize(
    ("limits", "score", "status"),
    [
        ({"max_iterations": 11}, 0.5, "PENDING"),
        ({"max_iterations": 20, "stop": {"score": 0.6}}, 0.7, "TERMINATED"),
        ({"max_iterations": 20, "stop": {"score": 0.6}}, 0.5, "PENDING"),
        ({"max_iterations": 20}, float("nan"), "TERMINATED"),
    ],
)
def test_the_new_limits_say_which_trials_train_on(
    folder: Folder, limits: dict[str, Any], score: float, status: str
) -> None:
    write_state(folder, {"a": ("TERMINATED", 10, score)})
    settings = extended(**limits)
    resume.reconcile(folder, errored=False, longer=lambda: make_stopper(settings))
    assert statuses(folder) == {"a": status}


@pytest.mark.parametrize("longer", [None, lambda: make_stopper(extended(max_iterations=20))])
def test_a_trial_that_never_started_can_run(folder: Folder, longer: Any) -> None:
    """METRIC_GOAL and the like end trials that were only waiting; Ray calls them TERMINATED."""
    write_state(folder, {"a": ("TERMINATED", 0, 0.5), "b": ("ERROR", 0, 0.5)})
    for trial_id in "ab":
        folder.write(b"", trial_id, "result.json")  # a logger makes it when a trial starts
    resume.reconcile(folder, errored=False, longer=longer)
    assert statuses(folder) == {"a": "PENDING", "b": "ERROR"}


def test_a_trial_that_never_started_is_called_so() -> None:
    words = [
        saved.word(status, last, "score", 10, running=False)
        for status, last in [
            ("TERMINATED", {}),
            ("TERMINATED", {"training_iteration": 0}),
            ("TERMINATED", {"training_iteration": 3, "score": float("nan")}),
            ("PENDING", {}),
        ]
    ]
    assert words == ["not started", "not started", "not finite", "pending"]


def test_what_ray_was_about_to_do_with_a_trial_ends_with_the_old_limits(folder: Folder) -> None:
    words = {"a": "TERMINATED", "b": "RUNNING", "c": "ERROR", "d": "RUNNING"}
    trials = {trial_id: (status, 4, 0.5) for trial_id, status in words.items()}
    decisions = {"a": "STOP", "b": "STOP", "c": "STOP", "d": "PAUSE"}
    write_state(folder, trials, decisions=decisions)
    resume.reconcile(folder, errored=True, longer=None)
    assert left(folder) == {"b": "STOP"}  # a scheduler's, which says so only once

    write_state(folder, trials, decisions=decisions)
    settings = extended(max_iterations=20)
    resume.reconcile(folder, errored=False, longer=lambda: make_stopper(settings))
    assert left(folder) == {}


def left(folder: Folder) -> dict[str, str]:
    content = json.loads(folder.read(FILE) or b"")
    decisions: dict[str, str] = content["runner_data"]["_cached_trial_decisions"]
    return decisions


def record(folder: Folder, settings: Settings, outcome: str = "done", **run: Any) -> Record:
    was = {
        field: {"value": value, "origin": "default"}
        for field, value in settings.model_dump(mode="json").items()
    }
    runs = [{"outcome": outcome, **run}]
    its = {"settings": was, "runs": runs, "data": {}, "search_space": {}}
    return Record(folder, its)


@pytest.mark.parametrize(
    ("limits", "named"),
    [
        ({"metric_goal": 0.4}, "EXPERIMENT_METRIC_GOAL=0.4"),
        ({"plateau_trials": 2}, "EXPERIMENT_PLATEAU_TRIALS=2"),
        ({"metric_goal": 0.6}, None),
    ],
)
def test_a_limit_that_was_reached_has_to_change_too(
    folder: Folder, limits: dict[str, Any], named: str | None
) -> None:
    before = Settings(max_iterations=10, **limits)
    write_state(folder, {"a": ("TERMINATED", 3, 0.5)}, before)
    found = would_end_again(record(folder, before), num_samples=20, **limits)
    assert found == ([named] if named else [])


def would_end_again(record: Record, **limits: Any) -> list[str]:
    """The limits that would end an extended experiment again."""
    ready = Preflight(Configuration(PROJECT, extended(**limits)))
    said = [f for f in why_not_resumed(ready, record) if "would end the experiment again" in f]
    return [finding.removeprefix("extend: ").split()[0] for finding in said]


def test_the_time_that_is_spent_has_to_change_too(folder: Folder) -> None:
    before = Settings(max_iterations=10, time_budget_s=60)
    write_state(folder, {"a": ("TERMINATED", 3, 0.5)}, before)
    stopper = current_stopper()
    assert stopper is not None
    stopper.stoppers["TimeBudgetStopper"].spent = 60.0
    content = json.loads(folder.read(FILE) or b"")
    content["runner_data"]["_stopper"] = encoded(stopper)
    folder.write(json.dumps(content).encode(), FILE)
    was = record(folder, before)
    named = ["EXPERIMENT_TIME_BUDGET_S=60.0"]
    assert would_end_again(was, num_samples=20, time_budget_s=60) == named
    assert would_end_again(was, num_samples=20, time_budget_s=61) == []


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"scheduler": "hyperband"}, "--points-to-evaluate x:5 starts again with the best five"),
        ({}, "extend needs a limit to raise: --num-samples, --max-iterations, …"),
        ({"num_samples": 1}, "2 trials are sampled already; --num-samples can only grow"),
    ],
)
def test_what_cannot_be_extended(folder: Folder, settings: dict[str, Any], said: str) -> None:
    write_state(folder, {"a": ("TERMINATED", 3, 0.5)})
    scheduler = settings.get("scheduler", "fifo")
    was = record(folder, Settings(max_iterations=10, scheduler=scheduler))
    ready = Preflight(Configuration(PROJECT, extended(**settings)))
    assert any(said in finding for finding in why_not_resumed(ready, was))


def test_a_resume_has_the_limits_that_there_were(folder: Folder) -> None:
    was = record(folder, TEN)
    ready = Preflight(Configuration(PROJECT, Settings(name="x", resume="true", max_iterations=11)))
    assert why_not_resumed(ready, was) == [
        "EXPERIMENT_MAX_ITERATIONS: was '10', is '11'; `extend` resumes with other limits"
    ]


def test_a_state_without_trials_is_nothing_to_resume(folder: Folder) -> None:
    assert not resume.has_trials(folder)
    for content, expected in (({"trial_data": []}, False), ({"trial_data": [["{}", "{}"]]}, True)):
        folder.write(json.dumps(content).encode(), "experiment_state-1.json")
        assert resume.has_trials(folder) is expected
    folder.write(b'{"trial_', "experiment_state-2.json")
    assert resume.has_trials(folder)
    assert resume.damaged(folder) == "experiment_state-2.json"


def test_a_resume_that_ray_could_not_restore_starts_nothing_anew(folder: Folder) -> None:
    with pytest.raises(Refusal, match="'x' can't be resumed"):
        JournalCallback(folder, resumes=True).on_step_begin(0, [])
    JournalCallback(folder, resumes=False).on_step_begin(0, [])
