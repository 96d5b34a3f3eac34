"""One run: what happens between its check and its lock."""

from typing import Any, cast

import pytest
from ray_tune_experiment.harness.configuration import Refusal, load
from ray_tune_experiment.harness.run import session
from ray_tune_experiment.harness.run.preflight import Preflight
from ray_tune_experiment.harness.store.dataset import describe
from ray_tune_experiment.harness.store.record import Record
from ray_tune_experiment.harness.store.storage import Storage


def test_another_run_came_and_went_between_the_check_and_the_lock(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    configuration = load(["--name", "x"])

    def prepare(_: Any) -> Preflight:
        storage = Storage(configuration.settings.storage_path)
        ready = Preflight(storage=storage, described=describe(None))
        Record.new(storage, configuration, {}, [], describe(None)).start_run(configuration)
        return ready

    monkeypatch.setattr(session, "prepare", prepare)
    with pytest.raises(Refusal, match="'x' was run by another process meanwhile; start again"):
        session._run(configuration, cast(Any, None))  # it comes to no signal
    storage = Storage(configuration.settings.storage_path)
    assert [name for name in storage.files("x") if not name.endswith(".diff")] == [
        "experiment.json"
    ]
