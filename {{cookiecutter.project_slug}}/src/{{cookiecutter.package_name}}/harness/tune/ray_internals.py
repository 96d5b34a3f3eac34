"""What the harness uses of Ray's private parts, and where it changes what Ray 2.60 does.

A new Ray may break this module; tests/harness/test_ray_internals.py of the template says how. The
private state of Ray's schedulers is in scheduler_state.py.
"""

import copy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from ray._private import worker
from ray.train._internal.session import _TrainingResult as TrainingResult
from ray.tune.execution.tune_controller import TuneController
from ray.tune.experiment import Trial
from ray.tune.impl.placeholder import (
    _FunctionResolver,
    _get_placeholder,
    _RefResolver,
    create_resolvers_map,
    inject_placeholders,
)

__all__ = [
    "TrainingResult",
    "end_daemons_at_once",
    "patch_ray",
    "with_stand_ins",
]

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
    """Change two methods of Ray's driver, for this process.

    A trial keeps what it was given: Ray resolves marks at each resume again, so that a trial would
    continue with another value of a `sample_from` than it began with, and without what
    SCHEDULER=pbt has changed. And it takes a point's values for marks.

    A state is written beside the folder that Ray's thread copies from, then moved into it: a copy
    would else hold what is half written, or fail at a temporary file that is gone.
    """
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


def _save_beside(controller: Any) -> None:
    storage = controller._storage
    copied = Path(storage.experiment_driver_staging_path)
    beside = copied.with_name("state")
    controller._storage = SimpleNamespace(experiment_driver_staging_path=str(beside))
    try:
        _ray_saves(controller)
    finally:
        controller._storage = storage
    copied.mkdir(parents=True, exist_ok=True)
    for path in beside.iterdir():
        path.replace(copied / path.name)


def end_daemons_at_once() -> None:
    """Let Ray end its daemons by SIGKILL at exit, and not wait a second for each.

    Ray sends them SIGTERM first, which they were started without. All is saved by now.
    """
    node: Any = worker._global_node
    if node is not None:
        end = node.kill_all_processes
        node.kill_all_processes = lambda **how: end(**{**how, "allow_graceful": False})
