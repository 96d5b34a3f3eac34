"""What the harness uses of Ray's private parts, and where it changes what Ray 2.60 does.

A new Ray may break this module; tests/harness/test_ray_internals.py of the template says how. The
private state of Ray's schedulers is in scheduler_state.py.
"""

import copy
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from ray._private import worker
from ray.train._internal.session import _TrainingResult as TrainingResult
from ray.train._internal.storage import _FilesystemSyncer
from ray.tune.execution.tune_controller import TuneController
from ray.tune.experiment import Trial
from ray.tune.impl.placeholder import (
    _FunctionResolver,
    _get_placeholder,
    _RefResolver,
    create_resolvers_map,
    inject_placeholders,
)

from ..store.whole_files import unreported

__all__ = [
    "TrainingResult",
    "copied_in_order",
    "end_daemons_at_once",
    "patch_ray",
    "with_stand_ins",
]

_ray_copies = _FilesystemSyncer._launch_sync_process
_ray_resolves = Trial.resolve_config_placeholders
_ray_saves = TuneController.save_to_dir


def with_stand_ins(space: dict[str, Any]) -> dict[str, Any]:
    """The space as `tune.run` gives it to a search algorithm: of functions and objects, marks."""
    resolvers = create_resolvers_map()
    marked: dict[str, Any] = inject_placeholders(copy.deepcopy(space), resolvers)
    return marked


def _is_mark(value: Any) -> bool:
    """Whether it is a mark of Ray's for a function or an object."""
    marks = {_FunctionResolver.TOKEN, _RefResolver.TOKEN}
    return isinstance(value, tuple) and len(value) == 2 and value[0] in marks


def patch_ray() -> None:
    """Change three methods of Ray's driver, for this process.

    A trial keeps what it was given: Ray resolves marks at each resume again, so that a trial would
    continue with another value of a `sample_from` than it began with, and without what
    SCHEDULER=pbt has changed. And it takes a point's values for marks.

    The state is written beside the folder that Ray's thread copies to the storage, and copied after
    it: no state in the storage is newer than the trials' tables there, whenever a kill comes. Ray
    copies all files in any order, and the state while it is written.
    """
    _FilesystemSyncer._launch_sync_process = _copy_in_order  # type: ignore[assignment, method-assign]
    Trial.resolve_config_placeholders = _resolve_once  # type: ignore[method-assign]
    TuneController.save_to_dir = _save_beside  # type: ignore[method-assign]


def _resolve_once(self: Trial, placeholder_resolvers: dict[tuple[Any, ...], Any]) -> None:
    unresolved = {
        path: resolvers
        for path, resolvers in placeholder_resolvers.items()
        if _is_mark(_get_placeholder(self.config, (), path)[1])
    }
    if unresolved:
        _ray_resolves(self, unresolved)


def copied_in_order(staging: str) -> list[Path]:
    """The folders of this machine that are copied to the storage: the second after the first.

    staging: Ray's, with the trials' tables; the other has the state of the experiment
    """
    return [Path(staging), Path(staging).with_name("state")]


def _save_beside(controller: Any) -> None:
    storage = controller._storage
    staging, state = copied_in_order(storage.experiment_driver_staging_path)
    shutil.rmtree(state, ignore_errors=True)
    controller._storage = SimpleNamespace(experiment_driver_staging_path=str(state))
    try:
        _ray_saves(controller)
    finally:
        controller._storage = storage
    staging.mkdir(parents=True, exist_ok=True)


def _copy_in_order(syncer: Any, sync_command: tuple[Callable[..., Any], dict[str, Any]]) -> None:
    """Start Ray's thread, with the state as it is now: the next may be saved meanwhile."""
    copy_folder, its = sync_command
    _, state = copied_in_order(its["local_path"])
    as_it_is = state.with_name("copied_state")
    shutil.rmtree(as_it_is, ignore_errors=True)
    shutil.copytree(state, as_it_is)

    def copy_both(**arguments: Any) -> None:
        before = dict(unreported)
        copy_folder(**arguments)
        for path, error in [*unreported.items()]:  # the copying loses them
            if before.get(path) is not error:
                raise error
        copy_folder(**{**arguments, "local_path": str(as_it_is)})

    _ray_copies(syncer, (copy_both, its))
    syncer._current_cmd = sync_command  # the state has it, which may name nothing of ours


def end_daemons_at_once() -> None:
    """Let Ray end its daemons by SIGKILL at exit, and not wait a second for each.

    Ray sends them SIGTERM first, which they were started without. All is saved by now.
    """
    node: Any = worker._global_node
    if node is not None:
        end = node.kill_all_processes
        node.kill_all_processes = lambda **how: end(**{**how, "allow_graceful": False})
