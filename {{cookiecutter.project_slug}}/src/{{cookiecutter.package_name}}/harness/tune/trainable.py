"""Ray's Trainable with what a long run needs: sealed checkpoints, and exports that are kept."""

import functools
import inspect
import json
import os
import tempfile
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from numbers import Real
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Self, cast

from pyarrow import fs
from ray import cloudpickle, tune
from ray.tune.result import RESULT_DUPLICATE, TRIAL_INFO

from ..project import Granted
from ..settings import RunSettings
from ..store.storage import Folder, check_arrived
from .generators import Generators
from .granted import granted
from .placement import Bundle, placement
from .ray_internals import TrainingResult
from .seal import SEAL, STATE, DamagedCheckpoint, file_digests, load_whole, read_seal
from .workers import WithWorkers

RAY_KEYS = {"done", "training_iteration", "timesteps_total", "episodes_total"}
EXPORTED = "exported.json"  # in a trial's folder, when its model is exported


class StoredTrainable(WithWorkers):
    """Seals each checkpoint. Instead of a damaged one it restores another one of the trial.

    A team's class may inherit its methods from a class of its own, listed after this one:
    `class ExperimentTrainable(StoredTrainable, OurTrainable)`. As with Ray, `save_checkpoint` may
    fill the folder or return a dict.

    A trial may be killed after its last result, but before its export. When it is restored, `train`
    only repeats that result, as Ray's function trainables do when they return.

    The global random generators of Python, NumPy and PyTorch are seeded for each trial with
    `config["seed"]`, and are part of its checkpoints.

    It also keeps what `_export_model` writes: Ray copies a trial's working folder to the storage
    path while it trains, but exports after the last copy (seen in Ray 2.60,
    TuneController._schedule_trial_stop). An export that fails does not fail the trial: the driver
    tries again from the last checkpoint, and reports why that fails.
    """

    _is_done = False

    def __init__(self, config: dict[str, Any], *args: Any, **kwargs: Any) -> None:
        self._generators = _seeded(config)
        with self._generators:
            super().__init__(config, *args, **kwargs)

    @classmethod
    def check(cls, settings: RunSettings) -> list[str]:
        """Called before a run, on the driver: why it can't run, one line for each reason."""
        return []

    @property
    def granted(self) -> Granted:
        """What this trial may use of its machine."""
        return granted(self.trial_resources, by_ray=self._storage is not None)

    @classmethod
    def without_ray(
        cls, config: dict[str, Any], data: Any, folder: Path, resources: Bundle | Sequence[Bundle]
    ) -> Self:
        """Make a trial's Trainable in this process, by Ray's constructor, as a worker does.

        Parameters
        ----------
        config : dict
            The hyperparameters by name, and `seed`.
        data : object
            Passed to `setup` as `data`.
        folder : Path
            Where its working folder is created.
        resources : dict, or list of dict
            RESOURCES_PER_TRIAL, for `self.trial_resources`.
        """

        class WithData(cls):  # type: ignore[valid-type,misc]  # as tune.with_parameters does
            def setup(self, config: dict[str, Any]) -> None:
                super().setup(config, data=data)

            def _setup_logdir(self) -> None:  # Ray's would use the home directory
                self._logdir = tempfile.mkdtemp(prefix="trial_", dir=folder)

        WithData.__name__ = cls.__name__
        trial = SimpleNamespace(
            trial_name=f"{cls.__name__}_default",
            trial_id="default",  # as Ray names it without a trial
            experiment_name="default",
            trial_resources=placement(resources),
        )
        return cast(Self, WithData(config={**config, TRIAL_INFO: trial}, storage=None))

    @classmethod
    def exports(cls) -> bool:
        """Whether the class has a method `_export_model`."""
        return cls._export_model is not tune.Trainable._export_model

    def setup(self, config: dict[str, Any], data: Any = None) -> None:
        """Call the next class's `setup`, with `data` if it has that parameter."""
        own = super().setup
        takes_data = "data" in inspect.signature(own).parameters
        own(config, **({"data": data} if takes_data else {}))

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Call the next class's. If it returns False, which fails the trial in Ray, start over."""
        if not super().reset_config(new_config):
            self.cleanup()
            self.setup(new_config)
        return True

    def log_result(self, result: dict[str, Any]) -> None:
        """After each iteration: call the next class's `log_result`, then `log_results`."""
        super().log_result(result)
        self.log_results(result)

    def log_results(self, result: dict[str, Any]) -> None:
        """Write the numbers that `step` returned to the worker's log."""
        rays = self.get_auto_filled_metrics().keys() | RAY_KEYS
        own = {key: value for key, value in result.items() if key not in rays}
        numbers = [f"{key} {value:.4f}" for key, value in own.items() if isinstance(value, Real)]
        print(f"iteration {result['training_iteration']}: {', '.join(numbers)}")

    def save(self, checkpoint_dir: str | None = None) -> Any:
        """Save and seal a checkpoint. Takes and returns what Ray's `save` does.

        Raises OSError when one of its files has not reached the storage path.
        """
        with _instead(self, "save_checkpoint", functools.partial(self._seal, self.save_checkpoint)):
            saved: Any = super().save(checkpoint_dir)
        if self._storage is not None:
            check_arrived(saved.checkpoint.filesystem, saved.checkpoint.path, self._sealed)
        return saved

    def _seal(self, save_checkpoint: Callable[[str], Any], folder: str) -> None:
        with self._generators:
            state = save_checkpoint(folder)
            self._generators.save(Path(folder))
        if isinstance(state, dict):  # Ray would write it later, without a seal
            with Path(folder, STATE).open("wb") as file:
                cloudpickle.dump(state, file)
        last: dict[str, Any] = self._last_result or {}
        kept = {k: v for k, v in last.items() if isinstance(v, int | float | str | bool)}
        files = file_digests(Path(folder))
        size = Path(folder, SEAL).write_text(json.dumps({"files": files, "result": kept}))
        self._sealed = {SEAL: size, **{file: size for file, (size, _) in files.items()}}

    def export_model(
        self, export_formats: list[str] | str, export_dir: str | None = None
    ) -> dict[str, Any]:
        """Export, then copy the working folder once more. Takes and returns what Ray's does."""
        try:
            exported = dict(super().export_model(export_formats, export_dir) or {})
            if self._storage is not None:
                note = exported_note(exported, Path(self.logdir), self.iteration)
                Path(self.logdir, EXPORTED).write_text(note)
                self._storage.persist_artifacts(force=True)
        except Exception:  # whatever a model raises, or the storage
            if self._storage is None:  # used without Ray
                raise
            traceback.print_exc()
            return {}
        return exported

    def _open_logfiles(self, *names: str | None) -> None:
        """Let the log files of a restored trial continue those in the storage."""
        for name in names:
            if name and self._storage is not None and not Path(self.logdir, name).exists():
                kept = f"{self._storage.trial_fs_path}/{name}"
                with (
                    suppress(OSError),  # a new trial has none
                    self._storage.storage_filesystem.open_input_stream(kept) as stream,
                ):
                    Path(self.logdir, name).write_bytes(stream.read())
        super()._open_logfiles(*names)  # type: ignore[no-untyped-call]

    def train(self) -> dict[str, Any]:
        """Train one iteration, unless the restored trial has already reported its last result."""
        if self._is_done:
            self._is_done = False
            return {RESULT_DUPLICATE: True}
        with self._generators:
            result: dict[str, Any] = super().train()  # type: ignore[no-untyped-call]
        return result

    def reset(self, new_config: dict[str, Any], *args: Any, **kwargs: Any) -> bool:
        """Let this worker take its next trial. Takes and returns what Ray's `reset` does."""
        self._generators = _seeded(new_config)
        with self._generators:
            return bool(super().reset(new_config, *args, **kwargs))  # type: ignore[no-untyped-call]

    def restore_folder(self, folder: Path) -> None:
        """Restore the checkpoint in a folder of this machine. Raises DamagedCheckpoint."""
        checkpoint, (_, result) = tune.Checkpoint.from_directory(str(folder)), read_seal(folder)
        self._restore(TrainingResult(checkpoint, result))

    def restore(self, checkpoint_path: Any) -> None:
        """Restore the checkpoint; if it is damaged, another one of the trial, older ones first."""
        try:
            self._restore(checkpoint_path)
        except (OSError, ValueError) as error:  # damaged, or gone
            if self._storage is None:
                raise
            self._restore_another(checkpoint_path, error)

    def _restore(self, checkpoint: Any) -> None:
        load = functools.partial(load_whole, self.load_checkpoint, self._generators)
        with self._generators, _instead(self, "load_checkpoint", load):
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
                _, metrics = read_seal(Folder(path, disk, path).read(SEAL))
                self._restore(TrainingResult(tune.Checkpoint(path, disk), metrics))
            except (OSError, ValueError):
                continue
            print(f"{damaged}: {error}. Went back to {path}", flush=True)
            return
        raise DamagedCheckpoint(f"{damaged}: {error}; no other checkpoint is whole") from error


@contextmanager
def _instead(trainable: StoredTrainable, method: str, call: Any) -> Iterator[None]:
    """Replace a method of one object for a while, whichever class defines it."""
    setattr(trainable, method, call)
    try:
        yield
    finally:
        delattr(trainable, method)


def _seeded(config: dict[str, Any]) -> Generators:
    return Generators(int(config.get("seed", 0)))


def exported_note(exported: dict[str, str], folder: Path, iteration: int) -> str:
    """The content of EXPORTED: the iteration, and the path in the folder of each format."""
    files = {name: os.path.relpath(path, folder) for name, path in exported.items()}
    return json.dumps({"training_iteration": iteration, "files": files})
