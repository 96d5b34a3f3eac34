"""After a run: an experiment is opened again, reported and exported."""

from .experiment import Experiment, open_experiment

__all__ = ["Experiment", "open_experiment"]
