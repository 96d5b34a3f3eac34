"""Fixtures of the tests of the harness, which import it and start no Ray unless they say so."""

import os
from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder of each test; no setting comes from outside."""
    for name in [name for name in os.environ if name.startswith("EXPERIMENT_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    return tmp_path
