"""All private imports of Ray, and the patches of Ray 2.60.

A new Ray may break this module; tests/harness/test_ray_internals.py of the template shows how.
scheduler_state.py uses private attributes of Ray's schedulers.
"""

import copy
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from ray._private import worker
from ray.train._internal.session import _TrainingResult
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

TrainingResult = _TrainingResult
_ray_copies = _FilesystemSyncer._launch_sync_process
_ray_resolves = Trial.resolve_config_placeholders
_ray_saves = TuneController.save_to_dir


def with_placeholders(space: dict[str, Any]) -> dict[str, Any]:
    """The space as a search algorithm gets it: with placeholders for functions and objects."""
    found: dict[str, Any] = inject_placeholders(copy.deepcopy(space), create_resolvers_map())
    return found


def _is_placeholder(value: Any) -> bool:
    """Whether it is Ray's placeholder for a function or an object."""
    tokens = {_FunctionResolver.TOKEN, _RefResolver.TOKEN}
    return isinstance(value, tuple) and len(value) == 2 and value[0] in tokens


def patch_ray() -> None:
    """Patch three methods of Ray's driver, in this process.

    `_resolve_once`: a trial keeps its configuration. At each resume Ray would resolve placeholders
    again: a trial would get another value of a `sample_from`, and lose the changes of
    SCHEDULER=pbt. Ray also takes values of points for placeholders.

    `_save_beside` and `_copy_in_order`: the state is written beside the folder that Ray's thread
    copies to the storage, and copied after it. So the state in the storage is never newer than the
    trials' tables, even after a kill. Ray copies all files in any order, also a half-written state.
    """
    _FilesystemSyncer._launch_sync_process = _copy_in_order  # type: ignore[assignment, method-assign]
    Trial.resolve_config_placeholders = _resolve_once  # type: ignore[method-assign]
    TuneController.save_to_dir = _save_beside  # type: ignore[method-assign]


def _resolve_once(self: Trial, placeholder_resolvers: dict[tuple[Any, ...], Any]) -> None:
    unresolved = {
        path: resolvers
        for path, resolvers in placeholder_resolvers.items()
        if _is_placeholder(_get_placeholder(self.config, (), path)[1])
    }
    if unresolved:
        _ray_resolves(self, unresolved)


def copied_in_order(staging: str) -> list[Path]:
    """The two folders of this machine that are copied to the storage, in this order.

    staging: Ray's folder, with the trials' tables; the second has the state of the experiment
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
    """Start Ray's thread with a copy of the state: the next state may be saved meanwhile."""
    copy_folder, its = sync_command
    _, state = copied_in_order(its["local_path"])
    as_it_is = state.with_name("copied_state")
    shutil.rmtree(as_it_is, ignore_errors=True)
    shutil.copytree(state, as_it_is)

    def copy_both(**arguments: Any) -> None:
        before = dict(unreported)
        copy_folder(**arguments)
        for path, error in [*unreported.items()]:  # pyarrow loses them
            if before.get(path) is not error:
                raise error
        copy_folder(**{**arguments, "local_path": str(as_it_is)})

    _ray_copies(syncer, (copy_both, its))
    syncer._current_cmd = sync_command  # Ray pickles it, so it must not refer to `copy_both`


def end_daemons_at_once() -> None:
    """Let Ray end its daemons by SIGKILL at exit, instead of waiting a second for each.

    Ray sends SIGTERM first, which they block: they inherit that from the driver (run/signals.py).
    """
    node: Any = worker._global_node
    if node is not None:
        end = node.kill_all_processes
        node.kill_all_processes = lambda **how: end(**{**how, "allow_graceful": False})
