"""Ray's Trainable, with what a long run needs: sealed checkpoints, and exports that are kept."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

from pyarrow import fs
from ray import tune
from ray.tune.result import RESULT_DUPLICATE

SEAL = "seal.json"


class DamagedCheckpoint(OSError):
    """A checkpoint that is not what was saved."""


class StoredTrainable(tune.Trainable):
    """Seals each checkpoint, and restores none with a broken seal but an older one.

    A trial that was killed after its last result, before it was exported, only ends when it is
    restored: `train` repeats that result, as Ray's function trainables do when they return.

    It also keeps what `_export_model` writes: Ray copies a trial's working folder to the storage
    path while it trains, and asks for the export after the last copy (seen in Ray 2.60,
    TuneController._schedule_trial_stop).
    """

    _is_done = False

    def __init_subclass__(cls, **arguments: Any) -> None:
        super().__init_subclass__(**arguments)
        if "save_checkpoint" in vars(cls):
            cls.save_checkpoint = _sealing(cls.save_checkpoint)  # type: ignore[method-assign]
        if "load_checkpoint" in vars(cls):
            cls.load_checkpoint = _checking(cls.load_checkpoint)  # type: ignore[method-assign]

    @classmethod
    def without_ray(cls, config: dict[str, Any], data: Any) -> Self:
        """Make one by `setup` alone: Ray's constructor makes a folder in the home directory."""
        trainable = object.__new__(cls)
        trainable.config, trainable._last_result, trainable._storage = config, None, None
        trainable.setup(config, data=data)  # type: ignore[call-arg]  # each subclass takes it
        return trainable

    def export_model(
        self, export_formats: list[str] | str, export_dir: str | None = None
    ) -> dict[str, Any]:
        """Export, then copy the working folder once more. Same arguments as Ray's."""
        exported: dict[str, Any] = super().export_model(export_formats, export_dir)
        if self._storage is not None:  # None: a Trainable used without Ray
            self._storage.persist_artifacts(force=True)
        return exported

    def _open_logfiles(self, *names: str | None) -> None:
        """Let the log files of a restored trial begin with what they held before."""
        for name in names:
            if name and self._storage is not None and not Path(self.logdir, name).exists():
                kept = f"{self._storage.trial_fs_path}/{name}"
                try:
                    with self._storage.storage_filesystem.open_input_stream(kept) as stream:
                        Path(self.logdir, name).write_bytes(stream.read())
                except OSError:  # a new trial has none
                    continue
        super()._open_logfiles(*names)  # type: ignore[no-untyped-call]

    def train(self) -> dict[str, Any]:
        """One iteration, unless the restored trial has reported its last result."""
        if self._is_done:
            self._is_done = False
            return {RESULT_DUPLICATE: True}
        result: dict[str, Any] = super().train()  # type: ignore[no-untyped-call]
        return result

    def restore(self, checkpoint_path: Any) -> None:
        """Restore the checkpoint, or else the next one of the same trial that is whole."""
        try:
            self._restore(checkpoint_path)
        except (OSError, ValueError) as error:  # damaged, or gone
            if self._storage is None:
                raise
            self._restore_another(checkpoint_path, error)

    def _restore(self, checkpoint: Any) -> None:
        super().restore(checkpoint)
        result: dict[str, Any] = getattr(checkpoint, "metrics", {})
        self._is_done = bool(result.get("done"))
        self._last_result: Any = {**result, "done": False}

    def _restore_another(self, result: Any, error: Exception) -> None:
        disk, damaged = result.checkpoint.filesystem, result.checkpoint.path
        folder = damaged.rpartition("/")[0]
        found = disk.get_file_info(fs.FileSelector(folder, allow_not_found=True))
        paths = sorted(info.path for info in found if info.base_name.startswith("checkpoint_"))
        older = [path for path in reversed(paths) if path < damaged]
        newer = [path for path in paths if path > damaged]
        for path in [*older, *newer]:
            try:
                with disk.open_input_stream(f"{path}/{SEAL}") as stream:
                    metrics = json.loads(stream.read())["result"]
                checkpoint = tune.Checkpoint(path=path, filesystem=disk)
                self._restore(type(result)(checkpoint=checkpoint, metrics=metrics))
            except (OSError, ValueError):
                continue
            print(f"{damaged}: {error}. Went back to {path}", flush=True)
            return
        raise DamagedCheckpoint(f"{damaged}: {error}; no other checkpoint is whole") from error


def _digests(folder: Path) -> dict[str, str]:
    """The digest of each file in a checkpoint's folder."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != SEAL and not path.name.startswith(".")
    }


def whole(seal: bytes | None, files: dict[str, bytes]) -> bool:
    """Whether the files of a checkpoint, by name, are those that its seal names."""
    try:
        digests = json.loads(seal or b"")["files"]
    except (ValueError, KeyError):
        return False
    return bool(digests == {name: hashlib.sha256(data).hexdigest() for name, data in files.items()})


def _sealing(save: Callable[..., Any]) -> Callable[..., Any]:
    def save_checkpoint(self: StoredTrainable, checkpoint_dir: str) -> Any:
        returned = save(self, checkpoint_dir)
        last: dict[str, Any] = self._last_result or {}
        kept = {k: v for k, v in last.items() if isinstance(v, int | float | str | bool)}
        seal = {"files": _digests(Path(checkpoint_dir)), "result": kept}
        Path(checkpoint_dir, SEAL).write_text(json.dumps(seal))
        return returned

    save_checkpoint.__doc__ = save.__doc__
    return save_checkpoint


def _checking(load: Callable[..., Any]) -> Callable[..., Any]:
    def load_checkpoint(self: StoredTrainable, checkpoint: Any) -> Any:
        if isinstance(checkpoint, str):
            try:
                files = json.loads(Path(checkpoint, SEAL).read_text())["files"]
            except (OSError, ValueError):
                raise DamagedCheckpoint("its seal is missing or cut off") from None
            if files != _digests(Path(checkpoint)):
                raise DamagedCheckpoint("its files are not those that were saved")
        return load(self, checkpoint)

    load_checkpoint.__doc__ = load.__doc__
    return load_checkpoint
