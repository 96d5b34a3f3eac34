"""What a resume begins with."""

import json
from pathlib import Path

import pytest
from ray_tune_experiment.harness.configuration import Refusal
from ray_tune_experiment.harness.run import resume as state
from ray_tune_experiment.harness.run.journal import JournalCallback
from ray_tune_experiment.harness.store.storage import Storage


def test_a_state_without_trials_is_nothing_to_resume(empty_folder: Path) -> None:
    storage = Storage(str(empty_folder))
    assert not state.has_trials(storage, "x")
    for content, expected in (({"trial_data": []}, False), ({"trial_data": [["{}", "{}"]]}, True)):
        storage.write(json.dumps(content).encode(), "x", "experiment_state-1.json")
        assert state.has_trials(storage, "x") is expected
    storage.write(b'{"trial_', "x", "experiment_state-2.json")
    assert state.has_trials(storage, "x")
    assert state.damaged(storage, "x") == "experiment_state-2.json"


def test_a_resume_that_ray_could_not_restore_starts_nothing_anew(empty_folder: Path) -> None:
    storage = Storage(str(empty_folder))
    with pytest.raises(Refusal, match="'x' can't be resumed"):
        JournalCallback(storage, "x", resumes=True).on_step_begin(0, [])
    JournalCallback(storage, "x", resumes=False).on_step_begin(0, [])
