"""Yours: the model. The only file that knows the machine-learning framework.

Keep the methods and change what is inside, and everything else keeps working.
"""

from pathlib import Path
from typing import Any

import numpy as np
import skops.io
from sklearn.exceptions import NotFittedError
from sklearn.metrics import accuracy_score, log_loss
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline

from .data import Data

CHECKPOINT_FILE = "model.skops"
EXPORT_FILE = "model.skops"
# skops loads nothing that is not named here: no code runs when a checkpoint is opened.
TRUSTED = [
    "sklearn.neural_network._stochastic_optimizers.AdamOptimizer",
    "numpy.dtype",
]


class Model:
    """A neural network with one hidden layer, trained an epoch at a time."""

    def __init__(self, config: dict[str, Any]) -> None:
        self.classifier = MLPClassifier(
            hidden_layer_sizes=(config["hidden_units"],),
            learning_rate_init=config["learning_rate"],
            alpha=config["l2"],
            batch_size=config["batch_size"],
            # A generator, not a number: its state is saved, so a restored model shuffles on
            # from where it was.
            random_state=np.random.RandomState(config["seed"]),
        )

    def fit_epoch(self, data: Data) -> float:
        """Train on every row once. Returns the mean loss, NaN if the weights ran away."""
        self.classifier.batch_size = min(self.classifier.batch_size, len(data.x_train))
        try:
            self.classifier.partial_fit(data.x_train, data.y_train, classes=data.classes)
        except ValueError as error:
            if "non-finite" not in str(error):
                raise
            return float("nan")
        return float(self.classifier.loss_)

    def evaluate(self, data: Data) -> dict[str, float]:
        """Accuracy (0 to 1, more is better) and log loss (nats, less is better)."""
        probabilities = self.classifier.predict_proba(data.x_valid)
        if not np.isfinite(probabilities).all():
            return {"validation_accuracy": float("nan"), "validation_log_loss": float("nan")}
        labels = data.classes[probabilities.argmax(axis=1)]
        return {
            "validation_accuracy": float(accuracy_score(data.y_valid, labels)),
            "validation_log_loss": float(
                log_loss(data.y_valid, probabilities, labels=data.classes)
            ),
        }

    def save(self, folder: Path) -> None:
        """Write all state (weights, optimiser, random generator) into `folder`."""
        skops.io.dump(self.classifier, folder / CHECKPOINT_FILE)

    def load(self, folder: Path) -> None:
        """Take over the state that `save` wrote into `folder`.

        What may change while a trial trains (MUTABLE in search_space.py) stays as `__init__` set
        it: SCHEDULER=pbt lets a trial continue from another's checkpoint with values of its own.
        """
        saved = skops.io.load(folder / CHECKPOINT_FILE, trusted=TRUSTED)
        own = {key: getattr(self.classifier, key) for key in ("learning_rate_init", "alpha")}
        saved.set_params(**own, batch_size=self.classifier.batch_size)
        if hasattr(saved, "_optimizer"):  # none before the first epoch; Adam has its own copy
            saved._optimizer.learning_rate_init = saved.learning_rate_init
        self.classifier = saved

    def export(self, folder: Path, data: Data) -> Path:
        """Write one file that takes raw columns and predicts: see `load_export`."""
        if not hasattr(self.classifier, "coefs_"):
            raise NotFittedError("the model has not been trained, there is nothing to export")
        path = folder / EXPORT_FILE
        skops.io.dump(make_pipeline(data.preprocess, self.classifier), path)
        return path


def load_export(path: Path) -> Any:
    """Load an exported model: an estimator whose `predict` takes a table of raw columns."""
    return skops.io.load(path, trusted=TRUSTED)
