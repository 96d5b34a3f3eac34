"""The harness as a library: each file of tests/harness, run by a generated project's Python."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.faults.fixtures import installed  # noqa: F401

FILES = sorted((ROOT / "tests/harness").glob("test_*.py"))


@pytest.mark.parametrize("file", FILES, ids=lambda path: path.stem.removeprefix("test_"))
def test_harness(
    file: Path,
    installed: tuple[Path, Path],  # noqa: F811
    tmp_path: Path,
) -> None:
    source, python = installed
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PYTEST", "COLUMNS", "RAY_"))}
    done = subprocess.run(
        [python, "-m", "pytest", file, "-c", file.with_name("pytest.toml")],
        cwd=tmp_path,
        env={**kept, "PYTHONPATH": str(source / "src")},
        capture_output=True,
        text=True,
        timeout=580,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
