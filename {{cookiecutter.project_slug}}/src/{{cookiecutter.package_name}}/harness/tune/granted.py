"""Which CPUs and GPUs of its machine a trial, or one of its workers, may use."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

import ray

from ..project import Granted


def granted(resources: Any, *, by_ray: bool) -> Granted:
    """What a trial may use of its machine.

    resources: the trial's placement group; by_ray: whether Ray runs it; if not, it gets no GPU
    """
    is_own = resources is not None and not resources.head_bundle_is_empty
    return grant(resources.bundles[0] if is_own else {}, ray.get_gpu_ids() if by_ray else [])


def granted_to_worker() -> Granted:
    """What the calling Ray actor may use, as one of `Workers`."""
    return grant(ray.get_runtime_context().get_assigned_resources(), ray.get_gpu_ids())


def grant(bundle: Mapping[str, float], gpu_ids: Sequence[Any]) -> Granted:
    """What a process with this bundle and these GPUs may use."""
    return Granted(
        cpus=min(int(bundle.get("CPU", 1)) or 1, os.cpu_count() or 1),
        gpus=bundle.get("GPU", 0.0) if gpu_ids else 0.0,
        gpu=_position(str(gpu_ids[0])) if gpu_ids else None,
    )


def _position(gpu_id: str) -> int:
    """The position of a GPU among those that are visible: its own ones only, or all."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
    return visible.index(gpu_id) if gpu_id in visible else int(gpu_id)
