"""The storage: what a reader sees of a file while it is written, and after a kill."""

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pyarrow import PythonFile, fs
from ray import cloudpickle
from ray_tune_experiment.harness.store.storage import (
    Storage,
    WholeFiles,
    _WholeFile,
    replace_text,
    unreported,
)

KILLED = """
import os, signal, sys
from ray_tune_experiment.harness.store.storage import Storage
storage = Storage(sys.argv[1])
with storage.filesystem.open_output_stream(storage.at("x", "table")) as stream:
    stream.write(b"half of the new")
    os.kill(os.getpid(), signal.SIGKILL)
"""

KILLED_DELETING = """
import os, signal, sys
from ray_tune_experiment.harness.store.storage import Storage, WholeFiles
storage = Storage(sys.argv[1])
class Disk:
    def delete_dir(self, path):
        os.kill(os.getpid(), signal.SIGKILL)
storage.filesystem.handler.disk = Disk()
storage.filesystem.delete_dir(storage.at("x", "checkpoint_000001"))
"""
# No file may be larger than a few bytes, as on a full disk.
LIMITED = """
import resource, sys
from pyarrow import fs
from ray_tune_experiment.harness.store.storage import Storage
storage = Storage(sys.argv[1])
resource.setrlimit(resource.RLIMIT_FSIZE, (10, 10))
try:
    storage.write(b"new" * 100, "x", "table")
except OSError as error:
    print(error)
"""


@pytest.fixture
def storage(empty_folder: Path) -> Storage:
    storage = Storage(str(empty_folder))
    storage.write(b"old", "x", "table")
    return storage


def names(storage: Storage, *parts: str) -> list[str]:
    return sorted(path.name for path in Path(storage.at(*parts)).iterdir())


def test_a_file_is_written_and_read_back(storage: Storage) -> None:
    storage.write(b"new", "x", "table")
    assert storage.read("x", "table") == b"new"
    assert names(storage, "x") == ["table"]
    assert storage.read("x", "another") is None


def test_the_old_file_is_there_until_the_new_one_is_whole(storage: Storage) -> None:
    with storage.filesystem.open_output_stream(storage.at("x", "table")) as stream:
        stream.write(b"new")
        assert storage.read("x", "table") == b"old"
    assert storage.read("x", "table") == b"new"


def test_a_kill_while_a_file_is_written(storage: Storage) -> None:
    done = subprocess.run([sys.executable, "-c", KILLED, storage.path], check=False)
    assert done.returncode == -signal.SIGKILL
    assert storage.read("x", "table") == b"old"
    assert len(names(storage, "x")) == 2
    assert list(storage.all_files()) == ["x/table"]
    storage.delete_unfinished("x")
    assert names(storage, "x") == ["table"]


def test_a_kill_while_a_folder_is_deleted(storage: Storage) -> None:
    """It is gone at once: nobody takes it for a checkpoint that has lost some files."""
    for file in ("model", "seal"):
        storage.write(b"content", "x", "checkpoint_000001", file)
    done = subprocess.run([sys.executable, "-c", KILLED_DELETING, storage.path], check=False)
    assert done.returncode == -signal.SIGKILL
    (left,) = [name for name in names(storage, "x") if name != "table"]
    assert len(names(storage, "x", left)) == 2
    assert list(storage.all_files("x")) == ["table"]
    storage.write(b"half", "x", left, ".model.1.part")
    storage.delete_unfinished("x")
    assert names(storage, "x") == ["table"]


def test_a_file_that_cannot_be_read_to_its_end_is_not_copied(storage: Storage) -> None:
    class Gone(WholeFiles):
        """A source that fails after its first bytes."""

        def open_input_stream(self, path: str) -> Any:
            return PythonFile(FailingFile(), mode="r")

        def __eq__(self, other: object) -> bool:
            return self is other

    class FailingFile:
        closed, said = False, False

        def read(self, size: int = -1) -> bytes:
            if self.said:
                raise OSError("the file is gone")
            self.said = True
            return b"x" * max(size, 1)

        def close(self) -> None:
            self.closed = True

    with pytest.raises(OSError, match="gone"):
        fs.copy_files(
            storage.at("x", "table"),
            storage.at("x", "table"),
            source_filesystem=fs.PyFileSystem(Gone()),
            destination_filesystem=storage.filesystem,
            chunk_size=100,
        )
    assert storage.read("x", "table") == b"old"
    assert names(storage, "x") == ["table"]


def test_a_write_that_fails_leaves_the_old_file(storage: Storage) -> None:
    refused = subprocess.run(
        [sys.executable, "-c", LIMITED, storage.path], capture_output=True, text=True, check=False
    )
    assert "File too large" in refused.stdout, refused
    assert storage.read("x", "table") == b"old"
    assert names(storage, "x") == ["table"]


@pytest.mark.parametrize(
    ("path", "durable"),
    [
        (("trial_1", "checkpoint_000001", "model.skops"), True),
        (("experiment_state-2026.json",), True),
        (("searcher-state-2026.pkl",), True),
        (("experiment.json",), True),
        (("trial_1", "progress.csv"), False),
        (("trial_1", "result.json"), False),
    ],
)
def test_what_a_resume_needs_outlives_a_power_cut(
    storage: Storage, monkeypatch: pytest.MonkeyPatch, path: tuple[str, ...], durable: bool
) -> None:
    synced: list[bool] = []
    at = Path(storage.at("x", *path))
    monkeypatch.setattr(os, "fsync", lambda _: synced.append(at.exists()))
    storage.write(b"new", "x", *path)
    assert synced == ([False] if durable else []), "it is on the disk before it has its name"
    assert at.read_bytes() == b"new"


def test_folders_are_copied_whole(storage: Storage) -> None:
    storage.write(b"deep", "x", "folder", "file")
    storage.copy("x", "folder", into="y")
    storage.copy("x", "table", into="y")
    assert storage.read("y", "folder", "file") == b"deep"
    assert storage.read("y", "table") == b"old"


def test_a_copy_that_has_not_arrived_is_told(
    storage: Storage, empty_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """pyarrow keeps to itself what closing a file raised."""
    storage.write(b"model", "x", "folder", "model")
    close = _WholeFile.close

    def full(file: Any) -> None:
        if file._path.startswith(storage.at("y")) and not file.closed:
            unreported[file._path] = OSError(errno.ENOSPC, "No space left on device")
            file.discard()
            raise unreported[file._path]
        close(file)

    monkeypatch.setattr(_WholeFile, "close", full)
    storage.filesystem.create_dir(storage.at("y", "folder"))
    with pytest.raises(OSError, match="No space left"):
        storage.copy("x", "folder", into="y")
    with pytest.raises(OSError, match="No space left"):
        storage.copy("x", "table", into="y")
    with pytest.raises(OSError, match="No space left"):
        storage.bring(Path(storage.at("x", "folder")), "y", "folder")
    storage.bring(Path(storage.at("x", "folder")), "x")
    assert storage.read("x", "model") == b"model"


def test_workers_get_the_same_file_system(storage: Storage) -> None:
    again = cloudpickle.loads(cloudpickle.dumps(storage.filesystem))
    assert again == storage.filesystem
    assert again.handler == WholeFiles()


def test_a_folder_that_is_not_there(storage: Storage) -> None:
    with pytest.raises(FileNotFoundError):
        storage.filesystem.open_output_stream(storage.at("no", "such", "folder"))
    assert storage.files("no") == {}
    assert storage.all_files("no") == {}


def test_a_file_of_the_folder_that_ray_copies_from(empty_folder: Path) -> None:
    folder = empty_folder / "copied"
    folder.mkdir()
    for text in ("first", "second"):
        replace_text(folder / "best.json", text)
        assert (folder / "best.json").read_text() == text
    assert [path.name for path in folder.iterdir()] == ["best.json"]
