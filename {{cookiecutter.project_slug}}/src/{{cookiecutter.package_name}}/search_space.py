"""Yours: what is tuned, and between which bounds."""

from typing import Any

from ray import tune

# What SCHEDULER=pbt may change while a trial trains; Model.load keeps the new values.
{% if cookiecutter.framework == "scikit-learn" -%}
MUTABLE = ("learning_rate", "l2", "batch_size")
{% elif cookiecutter.framework == "PyTorch" -%}
MUTABLE = ("learning_rate", "decay", "weight_decay", "dropout", "clip_norm", "batch_size")
{% elif cookiecutter.framework == "XGBoost" -%}
MUTABLE = ("learning_rate", "min_child_weight", "subsample", "colsample_bytree", "l2")
{% else -%}
MUTABLE = ("learning_rate", "min_data_in_leaf", "subsample", "colsample", "l2")
{% endif %}

def search_space() -> dict[str, Any]:
    """The hyperparameters by name. `tune.grid_search([…])` tries each of its values."""
    return {
{%- if cookiecutter.framework == "scikit-learn" %}
        "hidden_units": tune.choice([16, 32, 64, 128]),
        "learning_rate": tune.loguniform(1e-5, 1e-1),
        "l2": tune.loguniform(1e-6, 1e-1),
        "batch_size": tune.choice([32, 64, 128]),
{%- elif cookiecutter.framework == "PyTorch" %}
        "hidden_units": tune.choice([16, 32, 64, 128]),
        "learning_rate": tune.loguniform(1e-5, 1e-1),
        "decay": tune.uniform(0.8, 1.0),  # of the learning rate, each epoch
        "weight_decay": tune.loguniform(1e-4, 1.0),
        "dropout": tune.uniform(0.0, 0.5),
        "clip_norm": tune.loguniform(0.1, 10.0),  # of the gradient
        "batch_size": tune.choice([32, 64, 128]),
        "compile": False,  # True: torch.compile, which pays when an epoch takes minutes
{%- elif cookiecutter.framework == "XGBoost" %}
        "learning_rate": tune.loguniform(1e-3, 1.0),
        "max_depth": tune.randint(1, 9),
        "min_child_weight": tune.loguniform(1e-2, 1e2),
        "subsample": tune.uniform(0.1, 1.0),
        "colsample_bytree": tune.uniform(0.1, 1.0),
        "l2": tune.loguniform(1e-3, 1e2),
{%- else %}
        "learning_rate": tune.loguniform(1e-3, 1.0),
        "num_leaves": tune.lograndint(2, 64),
        "min_data_in_leaf": tune.lograndint(1, 500),
        "subsample": tune.uniform(0.1, 1.0),
        "colsample": tune.uniform(0.1, 1.0),
        "l2": tune.loguniform(1e-3, 1e2),
{%- endif %}
    }
