"""What a trial may use of the machine that it runs on."""

import os
from dataclasses import dataclass


@dataclass(frozen=True)
class Granted:
    """What a trial may use of the machine that it runs on.

    Attributes
    ----------
    cpus : int
        The CPUs of RESOURCES_PER_TRIAL, rounded down; at least 1. So many threads.
    gpus : float
        The GPUs; a part of one is less than 1. 0 without Ray.
    gpu : int or None
        Which one, as PyTorch counts those that the process sees; the first of several. None: a GPU
        that the process sees belongs to others.
    """

    cpus: int
    gpus: float
    gpu: int | None


def position(gpu_id: str) -> int:
    """Where a GPU is among those that the process sees: Ray shows it its own alone, or all."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
    return visible.index(gpu_id) if gpu_id in visible else int(gpu_id)
