"""The harness as a library: `import harness`, from where it stands, and a stub project.

Nothing is generated or installed. Only test_stub.py starts Ray, in processes of its own.
"""

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import pytest

from tests.conftest import ROOT, TREE

HARNESS = ROOT / TREE / "src/{{cookiecutter.package_name}}/harness"
# A link for each file: what Python compiles stays beside the links, and not in the template.
_folder = tempfile.TemporaryDirectory(prefix="harness-")
shutil.copytree(
    HARNESS,
    Path(_folder.name, "harness"),
    copy_function=os.symlink,
    ignore=shutil.ignore_patterns("__pycache__"),
)
LIBRARY = [_folder.name, str(Path(__file__).parent / "projects")]
sys.path[:0] = LIBRARY


@pytest.fixture(scope="session")
def library() -> str:
    """PYTHONPATH of what imports the harness and the stub project."""
    return os.pathsep.join(LIBRARY)


@pytest.fixture(autouse=True)
def empty_folder(tmp_path: Path, library: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The working folder of each test; no setting comes from outside, and none stays."""
    with mock.patch.dict(os.environ, {"PYTHONPATH": library}):
        for name in [name for name in os.environ if name.startswith("EXPERIMENT_")]:
            del os.environ[name]
        monkeypatch.chdir(tmp_path)
        yield tmp_path
