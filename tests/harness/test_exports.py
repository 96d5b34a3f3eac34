"""Which completed trials have an exported model of their last result."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from harness.configuration import Configuration
from harness.run.exports import TrialExports
from harness.store.storage import Folder
from harness.tune.trainable import EXPORTED
from ray.tune.experiment import Trial
from stub import PROJECT, Settings

NOTE = {"training_iteration": 3, "files": {"model": "model.json"}}


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
    folder = Folder.open(str(empty_folder)) / "x"
    if note is not None:
        folder.write(json.dumps(note).encode(), "trial_1", EXPORTED)
    if model:
        folder.write(b"model", "trial_1", "model.json")
    ended: Any = SimpleNamespace(
        status=Trial.TERMINATED, relative_logdir="trial_1", last_result={"training_iteration": 3}
    )
    never_ran: Any = SimpleNamespace(
        status=Trial.TERMINATED, relative_logdir="trial_2", last_result={}
    )
    exports = TrialExports(folder, Configuration(PROJECT, Settings(name="x")), None)
    assert list(exports.missing([ended, never_ran])) == ([ended] if is_missing else [])
