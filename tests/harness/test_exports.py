"""Which completed trials have an exported model of their last result."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ray.tune.experiment import Trial
from ray_tune_experiment.harness.run.exports import TrialExports
from ray_tune_experiment.harness.store.storage import Storage
from ray_tune_experiment.harness.tune.trainable import EXPORTED
from ray_tune_experiment.settings import Settings

NOTE = {"training_iteration": 3, "files": {"model": "model.skops"}}


@pytest.mark.parametrize(
    ("note", "model", "is_missing"),
    [
        (NOTE, True, False),
        (NOTE, False, True),
        ({**NOTE, "training_iteration": 2}, True, True),
        (None, True, True),
        ({}, True, True),
        ([], True, True),
        ({"training_iteration": 3, "files": 1}, True, True),
    ],
)
def test_missing(empty_folder: Path, note: Any, model: bool, is_missing: bool) -> None:
    storage = Storage(str(empty_folder))
    if note is not None:
        storage.write(json.dumps(note).encode(), "x", "trial_1", EXPORTED)
    if model:
        storage.write(b"model", "x", "trial_1", "model.skops")
    ended: Any = SimpleNamespace(
        status=Trial.TERMINATED, relative_logdir="trial_1", last_result={"training_iteration": 3}
    )
    never_ran: Any = SimpleNamespace(
        status=Trial.TERMINATED, relative_logdir="trial_2", last_result={}
    )
    exports = TrialExports(storage, Settings(name="x"), None)
    assert list(exports.missing([ended, never_ran])) == ([ended] if is_missing else [])
