"""Checkpoints of a Trainable that a team brings: sealed and restored, whatever its classes are."""

import errno
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from harness.store.storage import Folder
from harness.store.whole_files import _WholeFile, unreported
from harness.tune.generators import FILE
from harness.tune.seal import SEAL, DamagedCheckpoint, has_all_files
from harness.tune.trainable import EXPORTED, StoredTrainable
from ray import tune
from ray.train._internal.storage import StorageContext
from ray.tune.trainable import trainable as ray_trainable


class Counts(tune.Trainable):
    """A class of a team's own, which counts."""

    def setup(self, config: dict[str, Any]) -> None:
        self.count = 0

    def step(self) -> dict[str, float]:
        self.count += 1
        return {"count": self.count}

    def save_checkpoint(self, checkpoint_dir: str) -> Any:
        folder = Path(checkpoint_dir, "deep")
        folder.mkdir()
        (folder / "count").write_text(str(self.count))

    def load_checkpoint(self, checkpoint: Any) -> None:
        self.count = int(Path(checkpoint, "deep", "count").read_text())


class CountsInADict(Counts):
    def save_checkpoint(self, checkpoint_dir: str) -> Any:
        return {"count": self.count, "nested": {"nan": math.nan}}

    def load_checkpoint(self, checkpoint: Any) -> None:
        self.count = checkpoint["count"]


class Own(StoredTrainable, Counts): ...


class OwnInTheOtherOrder(Counts, StoredTrainable): ...


class OwnDict(StoredTrainable, CountsInADict): ...


class OwnDictInTheOtherOrder(CountsInADict, StoredTrainable): ...


class Overridden(StoredTrainable, Counts):
    def save_checkpoint(self, checkpoint_dir: str) -> Any:
        super().save_checkpoint(checkpoint_dir)
        Path(checkpoint_dir, "more").write_text("more")


KINDS = [Own, OwnInTheOtherOrder, OwnDict, OwnDictInTheOtherOrder, Overridden]
Make = Callable[[type[StoredTrainable]], Any]


@pytest.fixture
def make(empty_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    monkeypatch.setattr(ray_trainable, "DEFAULT_STORAGE_PATH", str(empty_folder))
    return lambda kind: kind({})


@pytest.mark.parametrize("kind", KINDS)
def test_each_checkpoint_is_sealed_and_restored(make: Make, kind: Any, tmp_path: Path) -> None:
    trainable, again, third = make(kind), make(kind), make(kind)
    for _ in range(3):
        trainable.train()
    folder = tmp_path / "checkpoint"
    saved = trainable.save(str(folder))
    seal = json.loads((folder / SEAL).read_text())
    assert seal["result"]["training_iteration"] == 3
    assert set(seal["files"]) == {
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file() and path.name != SEAL
    }
    assert seal["files"]
    again.restore(saved)
    assert (again.count, again.iteration) == (3, 3)
    third.restore_folder(folder)
    assert (third.count, third.iteration) == (3, 3)
    assert third.train()["count"] == 4
    assert third.train()["training_iteration"] == 5


@pytest.mark.parametrize("kind", KINDS)
def test_a_damaged_checkpoint_is_not_restored(make: Make, kind: Any, tmp_path: Path) -> None:
    trainable = make(kind)
    trainable.train()
    folder = tmp_path / "checkpoint"
    trainable.save(str(folder))
    (file, *_) = [path for path in folder.rglob("*") if path.is_file() and path.name != SEAL]
    content = file.read_bytes()
    file.write_bytes(content[:-1] + b"?")
    with pytest.raises(DamagedCheckpoint, match="not those that were saved"):
        make(kind).restore_folder(folder)
    file.write_bytes(content)
    make(kind).restore_folder(folder)
    (folder / SEAL).write_text('{"files"')
    with pytest.raises(DamagedCheckpoint, match="its seal is damaged"):
        make(kind).restore_folder(folder)
    (folder / SEAL).unlink()
    with pytest.raises(DamagedCheckpoint, match="it has no seal"):
        make(kind).restore_folder(folder)


def test_a_checkpoint_that_is_not_stored_fails_the_trial(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where pyarrow keeps to itself that a file could not get its name, as on a full disk."""
    trainable, close = make(Own), _WholeFile.close

    def full(file: Any) -> None:
        if file._path.endswith("/count") and not file.closed:
            unreported[file._path] = OSError(errno.ENOSPC, "No space left on device")
            file.discard()
            raise unreported[file._path]
        close(file)

    storage = Folder.open(str(tmp_path / "results"))
    trainable._storage = StorageContext(
        storage.root, "x", storage_filesystem=storage.filesystem, trial_dir_name="trial_1"
    )
    trainable.train()
    assert Path(trainable.save().checkpoint.path, "deep", "count").read_text() == "1"
    monkeypatch.setattr(_WholeFile, "close", full)
    with pytest.raises(OSError, match="No space left"):
        trainable.save()


def test_all_files_of_a_seal_are_there_or_not(make: Make, tmp_path: Path) -> None:
    trainable = make(Own)
    trainable.train()
    trainable.save(str(tmp_path / "checkpoint"))
    seal = (tmp_path / "checkpoint" / SEAL).read_bytes()
    drawn = {FILE: (tmp_path / "checkpoint" / FILE).stat().st_size}
    assert has_all_files(seal, {**drawn, "deep/count": 1, "seal.json": 99, "left over": 3})
    assert not has_all_files(seal, {**drawn, "deep/count": 0})
    assert not has_all_files(seal, drawn)
    for damaged in (None, b"", b"{}", b"[]", b'{"files": {"deep/count": 1}}', seal[:-9]):
        assert not has_all_files(damaged, {**drawn, "deep/count": 1})


def test_without_ray_an_export_fails_as_it_is(make: Make, tmp_path: Path) -> None:
    class Fails(Own):
        def _export_model(self, export_formats: list[str], export_dir: str) -> dict[str, str]:
            raise ValueError("no weights")

    with pytest.raises(ValueError, match="no weights"):
        make(Fails).export_model(["model"], str(tmp_path))
    assert not (tmp_path / EXPORTED).exists()
