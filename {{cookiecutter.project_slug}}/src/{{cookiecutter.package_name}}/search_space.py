"""Yours: what is tuned, and between which bounds."""

from typing import Any

from ray import tune

# What may change while a trial trains: SCHEDULER=pbt changes these, and Model.load keeps them.
MUTABLE = ("learning_rate", "l2", "batch_size")


def search_space() -> dict[str, Any]:
    """The hyperparameters by name. A `tune.grid_search([…])` tries each of its values."""
    return {
        "hidden_units": tune.choice([16, 32, 64, 128]),
        "learning_rate": tune.loguniform(1e-5, 1e-1),
        "l2": tune.loguniform(1e-6, 1e-1),
        "batch_size": tune.choice([32, 64, 128]),
    }
