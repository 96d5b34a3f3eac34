"""One run, from its checks to its outcome."""

from .session import prepare, run_experiment

__all__ = ["prepare", "run_experiment"]
