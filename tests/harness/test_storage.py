"""The storage: what a reader sees of a file while it is written, and after a kill."""

import errno
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from harness.store import storage
from harness.store.storage import Folder, replace_text
from harness.store.whole_files import WholeFiles, _WholeFile, unreported
from pyarrow import PythonFile, fs
from ray import cloudpickle

KILLED = """
import os, signal, sys
from harness.store.storage import Folder
folder = Folder.open(sys.argv[1])
with folder.filesystem.open_output_stream(folder.at("table")) as stream:
    stream.write(b"half of the new")
    os.kill(os.getpid(), signal.SIGKILL)
"""

KILLED_DELETING = """
import os, signal, sys
from harness.store.storage import Folder
folder = Folder.open(sys.argv[1])
class Disk:
    def delete_dir(self, path):
        os.kill(os.getpid(), signal.SIGKILL)
folder.filesystem.handler.disk = Disk()
folder.filesystem.delete_dir(folder.at("checkpoint_000001"))
"""
# No file may be larger than a few bytes, as on a full disk.
LIMITED = """
import resource, sys
from pyarrow import fs
from harness.store.storage import Folder
folder = Folder.open(sys.argv[1])
resource.setrlimit(resource.RLIMIT_FSIZE, (10, 10))
try:
    folder.write(b"new" * 100, "table")
except OSError as error:
    print(error)
"""


@pytest.fixture
def folder(empty_folder: Path) -> Folder:
    folder = Folder.open(str(empty_folder)) / "x"
    folder.write(b"old", "table")
    return folder


@pytest.fixture
def other(empty_folder: Path) -> Folder:
    return Folder.open(str(empty_folder)) / "y"


def names(folder: Folder) -> list[str]:
    return sorted(path.name for path in Path(folder.root).iterdir())


def test_a_file_is_written_and_read_back(folder: Folder) -> None:
    folder.write(b"new", "table")
    assert folder.read("table") == b"new"
    assert names(folder) == ["table"]
    assert folder.read("another") is None


def test_a_folder_in_a_folder(folder: Folder, empty_folder: Path) -> None:
    trial = folder / "trial_1"
    assert (trial.name, trial.path, trial.root) == ("trial_1", *[f"{empty_folder}/x/trial_1"] * 2)
    assert (trial.filesystem, trial.local) == (folder.filesystem, True)
    assert trial.files() == {}
    trial.write(b"rows", "result.json")
    assert folder.read("trial_1", "result.json") == trial.read("result.json") == b"rows"
    assert names(folder) == ["table", "trial_1"]


def test_the_root_of_a_disk() -> None:
    root = Folder.open("/")
    assert (root.root, root.at("x"), (root / "x").at("y")) == ("/", "/x", "/x/y")
    assert (root / "x").name == "x"
    assert root.files().keys() >= {"dev", "proc"}


def test_files_and_folders_are_deleted(folder: Folder) -> None:
    for file in ("a", "b"):
        folder.write(b"rows", "trial_1", file)
    folder.delete("trial_1", "a")
    assert names(folder / "trial_1") == ["b"]
    folder.delete("trial_1", "no such file")
    folder.delete("trial_1")
    assert names(folder) == ["table"]
    folder.delete("trial_1")
    folder.delete()
    assert not Path(folder.root).exists()


def test_a_file_is_created_once(folder: Folder) -> None:
    assert folder.create(b"mine", "lock")
    assert not folder.create(b"another's", "lock")
    assert folder.read("lock") == b"mine"


def test_a_storage_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage, "SECONDS_TO_ANSWER", 0.01)
    asked = threading.Event()
    with pytest.raises(OSError, match="no answer in 0 s"):
        storage.with_timeout(asked.wait)
    asked.set()
    with pytest.raises(OSError, match="no bucket"):
        storage.with_timeout(lambda: dict[str, str]()["no bucket"])


def test_a_probe_leaves_nothing(folder: Folder) -> None:
    (folder / "not yet there").probe()
    assert names(folder) == ["table"]
    assert (folder / "not yet there").free_bytes()


def test_the_old_file_is_there_until_the_new_one_is_whole(folder: Folder) -> None:
    with folder.filesystem.open_output_stream(folder.at("table")) as stream:
        stream.write(b"new")
        assert folder.read("table") == b"old"
    assert folder.read("table") == b"new"


def test_a_kill_while_a_file_is_written(folder: Folder) -> None:
    done = subprocess.run([sys.executable, "-c", KILLED, folder.path], check=False)
    assert done.returncode == -signal.SIGKILL
    assert folder.read("table") == b"old"
    assert len(names(folder)) == 2
    assert list(folder.all_files()) == ["table"]
    folder.delete_unfinished()
    assert names(folder) == ["table"]


def test_a_kill_while_a_folder_is_deleted(folder: Folder) -> None:
    """It is gone at once: nobody takes it for a checkpoint that has lost some files."""
    for file in ("model", "seal"):
        folder.write(b"content", "checkpoint_000001", file)
    done = subprocess.run([sys.executable, "-c", KILLED_DELETING, folder.path], check=False)
    assert done.returncode == -signal.SIGKILL
    (left,) = [name for name in names(folder) if name != "table"]
    assert len(names(folder / left)) == 2
    assert list(folder.all_files()) == ["table"]
    folder.write(b"half", left, ".model.1.part")
    folder.delete_unfinished()
    assert names(folder) == ["table"]


def test_a_file_that_cannot_be_read_to_its_end_is_not_copied(folder: Folder) -> None:
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
            folder.at("table"),
            folder.at("table"),
            source_filesystem=fs.PyFileSystem(Gone()),
            destination_filesystem=folder.filesystem,
            chunk_size=100,
        )
    assert folder.read("table") == b"old"
    assert names(folder) == ["table"]


def test_a_write_that_fails_leaves_the_old_file(folder: Folder) -> None:
    refused = subprocess.run(
        [sys.executable, "-c", LIMITED, folder.path], capture_output=True, text=True, check=False
    )
    assert "File too large" in refused.stdout, refused
    assert folder.read("table") == b"old"
    assert names(folder) == ["table"]


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
    folder: Folder, monkeypatch: pytest.MonkeyPatch, path: tuple[str, ...], durable: bool
) -> None:
    synced: list[bool] = []
    at = Path(folder.at(*path))
    monkeypatch.setattr(os, "fsync", lambda _: synced.append(at.exists()))
    folder.write(b"new", *path)
    assert synced == ([False] if durable else []), "it is on the disk before it has its name"
    assert at.read_bytes() == b"new"


def test_folders_are_copied_whole(folder: Folder, other: Folder) -> None:
    folder.write(b"deep", "folder", "file")
    folder.copy("folder", other)
    folder.copy("table", other)
    assert other.read("folder", "file") == b"deep"
    assert other.read("table") == b"old"


def test_a_copy_that_has_not_arrived_is_told(
    folder: Folder, other: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """pyarrow keeps to itself what closing a file raised."""
    folder.write(b"model", "folder", "model")
    close = _WholeFile.close

    def full(file: Any) -> None:
        if file._path.startswith(other.root) and not file.closed:
            unreported[file._path] = OSError(errno.ENOSPC, "No space left on device")
            file.discard()
            raise unreported[file._path]
        close(file)

    monkeypatch.setattr(_WholeFile, "close", full)
    other.filesystem.create_dir(other.at("folder"))
    with pytest.raises(OSError, match="No space left"):
        folder.copy("folder", other)
    with pytest.raises(OSError, match="No space left"):
        folder.copy("table", other)
    with pytest.raises(OSError, match="No space left"):
        other.upload(Path(folder.at("folder")), "folder")
    folder.upload(Path(folder.at("folder")))
    assert folder.read("model") == b"model"


def test_workers_get_the_same_file_system(folder: Folder) -> None:
    again = cloudpickle.loads(cloudpickle.dumps(folder.filesystem))
    assert again == folder.filesystem
    assert again.handler == WholeFiles()


def test_a_folder_that_is_not_there(folder: Folder) -> None:
    with pytest.raises(FileNotFoundError):
        folder.filesystem.open_output_stream(folder.at("no", "such", "folder"))
    assert folder.files("no") == {}
    assert folder.all_files("no") == {}


def test_a_file_of_the_folder_that_ray_copies_from(empty_folder: Path) -> None:
    folder = empty_folder / "copied"
    folder.mkdir()
    for text in ("first", "second"):
        replace_text(folder / "best.json", text)
        assert (folder / "best.json").read_text() == text
    assert [path.name for path in folder.iterdir()] == ["best.json"]
