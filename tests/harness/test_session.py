"""One run: what happens between its check and its lock."""

import signal
import sys
from typing import Any, cast
from unittest.mock import Mock

import pytest
from harness.configuration import Configuration, load
from harness.errors import Refusal
from harness.run import session
from harness.run.preflight import Preflight
from harness.store.dataset import describe
from harness.store.record import Record
from harness.store.storage import Folder
from stub import PROJECT

from tests.harness.saved import changed


def test_another_run_came_and_went_between_the_check_and_the_lock(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    configuration = load(PROJECT, ["--name", "x"])
    storage = Folder.open(configuration.settings.storage_path)
    said = describe(None)

    def prepare(_: Configuration) -> Preflight:
        ready = Preflight(configuration, storage=storage, described=said)
        Record.new(storage / "x", PROJECT.package, {}, [], said).start_run(configuration)
        return ready

    monkeypatch.setattr(session, "prepare", prepare)
    with pytest.raises(Refusal, match="'x' was run by another process in between; start again"):
        session._run(configuration, cast(Any, None))  # it comes to no signal
    files = (storage / "x").files()
    assert [name for name in files if not name.endswith(".diff")] == ["experiment.json"]


def test_only_an_exit_by_a_signal_counts_as_interrupted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "SignalCallback", lambda: None)
    project = changed(load_data=lambda _: sys.exit("no licence"))
    with pytest.raises(SystemExit, match="no licence"):
        session.run_experiment(load(project, ["--name", "x"]))


def test_an_interruption_before_the_first_trial(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An experiment that is new is deleted; one that a killed run has left is kept."""
    monkeypatch.setattr(session, "SignalCallback", Mock)

    def ending(error: BaseException, *flags: str) -> Configuration:
        project = changed(tune_run=Mock(side_effect=error))
        return load(project, ["--name", "x", "--no-check-search-space", *flags])

    configuration = ending(session.Interrupted(signal.SIGTERM))
    folder = Folder.open(configuration.settings.storage_path) / "x"
    for error in (session.Interrupted(signal.SIGTERM), SystemExit(signal.SIGTERM)):
        assert session.run_experiment(ending(error)) == 128 + signal.SIGTERM
        assert "Resume: " not in capsys.readouterr().out
        assert not folder.files()

    with pytest.raises(ZeroDivisionError):
        session.run_experiment(ending(ZeroDivisionError()))
    for error in (session.Interrupted(signal.SIGTERM), SystemExit(signal.SIGTERM)):
        assert session.run_experiment(ending(error, "--resume")) == 128 + signal.SIGTERM
        *_, resume, last = capsys.readouterr().out.splitlines()
        assert resume.endswith(" run --name x --resume")
        assert last == "Interrupted before any trial ran; no results have changed."
        assert folder.files()
