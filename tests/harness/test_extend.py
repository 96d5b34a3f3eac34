"""Which trials of a saved state run when an experiment is resumed or extended."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from ray.train._internal.storage import StorageContext
from ray.tune import PlacementGroupFactory
from ray.tune.experiment import Trial
from ray_tune_experiment.harness.run import resume as state
from ray_tune_experiment.harness.run import session
from ray_tune_experiment.harness.run.journal import encoded
from ray_tune_experiment.harness.run.preflight import Preflight
from ray_tune_experiment.harness.store import saved_trials as saved
from ray_tune_experiment.harness.store.record import Record
from ray_tune_experiment.harness.store.storage import Storage
from ray_tune_experiment.harness.tune.search import RandomSearch
from ray_tune_experiment.harness.tune.stopping import current_stopper
from ray_tune_experiment.settings import METRICS, Settings
from ray_tune_experiment.stopper import make_stopper

FILE = "experiment_state-2026-01-01_00-00-00.json"
TEN = Settings(max_iterations=10)


def extended(**limits: Any) -> Settings:
    return Settings(name="x", resume="extend", **{"max_iterations": 10, **limits})


def write_state(
    storage: Storage,
    trials: dict[str, tuple[str, int, float]],
    settings: Settings = TEN,
    decisions: dict[str, str] | None = None,
) -> None:
    """A state as Ray saves it. trials: by id, their status, iterations and last accuracy."""
    stopper, data = make_stopper(settings), []
    for trial_id, (status, iterations, accuracy) in trials.items():
        place = StorageContext(storage.root, "x", storage_filesystem=storage.filesystem)
        trial = Trial("trainable", trial_id=trial_id, stub=True, storage=place)
        trial.relative_logdir = trial_id
        trial.placement_group_factory = PlacementGroupFactory([{"CPU": 1}])
        for i in range(1, iterations + 1):
            result: dict[str, Any] = {**dict.fromkeys(METRICS, accuracy), "training_iteration": i}
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
    storage.write(text.encode(), "x", FILE)


@pytest.fixture
def storage(empty_folder: Path) -> Storage:
    return Storage(str(empty_folder))


def statuses(storage: Storage) -> dict[str, str]:
    return {trial.id: trial.status for trial in saved.trials(storage, "x")}


@pytest.mark.parametrize("limit", [10, 8, 3])
def test_a_trial_that_has_done_max_iterations_stays_completed(storage: Storage, limit: int) -> None:
    write_state(storage, {"a": ("TERMINATED", 10, 0.5), "b": ("TERMINATED", 2, 0.5)})
    settings = extended(max_iterations=limit, num_samples=20)
    state.settle(storage, "x", errored=False, longer=lambda: make_stopper(settings))
    assert statuses(storage) == {"a": "TERMINATED", "b": "PENDING"}


@pytest.mark.parametrize(
    ("limits", "accuracy", "status"),
    [
        ({"max_iterations": 11}, 0.5, "PENDING"),
        ({"max_iterations": 20, "stop": {"validation_accuracy": 0.6}}, 0.7, "TERMINATED"),
        ({"max_iterations": 20, "stop": {"validation_accuracy": 0.6}}, 0.5, "PENDING"),
        ({"max_iterations": 20}, float("nan"), "TERMINATED"),
    ],
)
def test_the_new_limits_say_which_trials_train_on(
    storage: Storage, limits: dict[str, Any], accuracy: float, status: str
) -> None:
    write_state(storage, {"a": ("TERMINATED", 10, accuracy)})
    settings = extended(**limits)
    state.settle(storage, "x", errored=False, longer=lambda: make_stopper(settings))
    assert statuses(storage) == {"a": status}


@pytest.mark.parametrize("longer", [None, lambda: make_stopper(extended(max_iterations=20))])
def test_a_trial_that_never_started_can_run(storage: Storage, longer: Any) -> None:
    """METRIC_GOAL and the like end trials that were only waiting; Ray calls them TERMINATED."""
    write_state(storage, {"a": ("TERMINATED", 0, 0.5), "b": ("ERROR", 0, 0.5)})
    for trial_id in "ab":
        storage.write(b"", "x", trial_id, "result.json")  # a logger makes it when a trial starts
    state.settle(storage, "x", errored=False, longer=longer)
    assert statuses(storage) == {"a": "PENDING", "b": "ERROR"}


def test_a_trial_that_never_started_is_called_so() -> None:
    words = [
        saved.word(status, last, "validation_accuracy", 10, running=False)
        for status, last in [
            ("TERMINATED", {}),
            ("TERMINATED", {"training_iteration": 0}),
            ("TERMINATED", {"training_iteration": 3, "validation_accuracy": float("nan")}),
            ("PENDING", {}),
        ]
    ]
    assert words == ["not started", "not started", "not finite", "pending"]


def test_what_ray_was_about_to_do_with_a_trial_ends_with_the_old_limits(storage: Storage) -> None:
    words = {"a": "TERMINATED", "b": "RUNNING", "c": "ERROR", "d": "RUNNING"}
    trials = {trial_id: (status, 4, 0.5) for trial_id, status in words.items()}
    decisions = {"a": "STOP", "b": "STOP", "c": "STOP", "d": "PAUSE"}
    write_state(storage, trials, decisions=decisions)
    state.settle(storage, "x", errored=True, longer=None)
    assert left(storage) == {"b": "STOP"}  # a scheduler's, which says so only once

    write_state(storage, trials, decisions=decisions)
    settings = extended(max_iterations=20)
    state.settle(storage, "x", errored=False, longer=lambda: make_stopper(settings))
    assert left(storage) == {}


def left(storage: Storage) -> dict[str, str]:
    content = json.loads(storage.read("x", FILE) or b"")
    decisions: dict[str, str] = content["runner_data"]["_cached_trial_decisions"]
    return decisions


def record(storage: Storage, settings: Settings, outcome: str = "done", **run: Any) -> Record:
    was = {
        field: {"value": value, "origin": "default"}
        for field, value in settings.model_dump(mode="json").items()
    }
    runs = [{"outcome": outcome, **run}]
    its = {"settings": was, "runs": runs, "data": {}, "search_space": {}}
    return Record(storage, "x", its)


@pytest.mark.parametrize(
    ("limits", "named"),
    [
        ({"metric_goal": 0.4}, r"EXPERIMENT_METRIC_GOAL=0.4"),
        ({"plateau_trials": 2}, r"EXPERIMENT_PLATEAU_TRIALS=2"),
        ({"metric_goal": 0.6}, None),
    ],
)
def test_a_limit_that_was_reached_has_to_change_too(
    storage: Storage, limits: dict[str, Any], named: str | None
) -> None:
    before = Settings(max_iterations=10, **limits)
    write_state(storage, {"a": ("TERMINATED", 3, 0.5)}, before)
    settings = extended(num_samples=20, **limits)
    before_it = record(storage, before)
    findings = [f for f in session._may_go_on(settings, before_it, Preflight()) if "again" in f]
    assert len(findings) == bool(named)
    assert all(re.search(str(named), finding) for finding in findings)


def test_the_time_that_is_spent_has_to_change_too(storage: Storage) -> None:
    before = Settings(max_iterations=10, time_budget_s=60)
    make_stopper(before)
    write_state(storage, {"a": ("TERMINATED", 3, 0.5)}, before)
    stopper = current_stopper()
    assert stopper is not None
    stopper.stoppers["TimeBudgetStopper"].spent = 60.0
    content = json.loads(storage.read("x", FILE) or b"")
    content["runner_data"]["_stopper"] = encoded(stopper)
    storage.write(json.dumps(content).encode(), "x", FILE)
    reached = session._reached(extended(num_samples=20, time_budget_s=60), record(storage, before))
    assert reached == ["EXPERIMENT_TIME_BUDGET_S=60.0"]
    longer = extended(num_samples=20, time_budget_s=61)
    assert not session._reached(longer, record(storage, before))


def test_a_search_that_everything_ended_samples_on_when_extended() -> None:
    search = RandomSearch(Settings(num_samples=8))
    search.set_finished()  # as Ray does for METRIC_GOAL
    kept = search.get_state()
    for settings, finished in [(extended(num_samples=8), False), (Settings(num_samples=8), True)]:
        again = RandomSearch(settings)
        again.set_state(kept)
        assert again.is_finished() is finished
