"""Which CPUs and GPUs of its machine a trial may use."""

import os
from typing import Any

import ray

from ..project import Granted


def granted(resources: Any, *, by_ray: bool) -> Granted:
    """What a trial may use of its machine.

    resources: its placement group; by_ray: whether it runs in a worker; else it gets no GPU
    """
    bundle = resources.bundles[0] if resources else {}
    ids = [str(each) for each in ray.get_gpu_ids()] if by_ray else []
    return Granted(
        cpus=min(int(bundle.get("CPU", 1)) or 1, os.cpu_count() or 1),
        gpus=bundle.get("GPU", 0.0) if ids else 0.0,
        gpu=_position(ids[0]) if ids else None,
    )


def _position(gpu_id: str) -> int:
    """Where a GPU is among those that the process sees: Ray shows it its own alone, or all."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
    return visible.index(gpu_id) if gpu_id in visible else int(gpu_id)
