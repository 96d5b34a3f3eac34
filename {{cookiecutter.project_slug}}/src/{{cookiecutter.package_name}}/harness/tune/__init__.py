"""What `tune.run` gets: the base of the Trainable, search, schedulers, stoppers, loggers."""

from .failures import last_line
from .generators import Generators
from .granted import granted_to_worker
from .loggers import make_loggers, write_json
from .placement import placement
from .plan import Plan, trial_folder
from .schedulers import make_scheduler
from .search import ModelSearch, make_search
from .stopping import RestorableStopper, TimeBudgetStopper
from .trainable import StoredTrainable
from .workers import Workers

__all__ = [
    "Generators",
    "ModelSearch",
    "Plan",
    "RestorableStopper",
    "StoredTrainable",
    "TimeBudgetStopper",
    "Workers",
    "granted_to_worker",
    "last_line",
    "make_loggers",
    "make_scheduler",
    "make_search",
    "placement",
    "trial_folder",
    "write_json",
]
