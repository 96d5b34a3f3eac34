"""What `tune.run` is given: the Trainable's base, search, schedulers, stopping, loggers."""

from .failures import last_line
from .granted import Granted
from .loggers import make_loggers, write_json
from .plan import Plan, trial_folder
from .schedulers import make_scheduler
from .search import ModelSearch, make_search
from .stopping import RestorableStopper, TimeBudgetStopper
from .trainable import StoredTrainable

__all__ = [
    "Granted",
    "ModelSearch",
    "Plan",
    "RestorableStopper",
    "StoredTrainable",
    "TimeBudgetStopper",
    "last_line",
    "make_loggers",
    "make_scheduler",
    "make_search",
    "trial_folder",
    "write_json",
]
