"""Hyperparameters for which JSON has no form, as in `tune.choice(np.arange(3))`."""

import numpy as np
from ray_tune_experiment.harness.results.export import trial_config
from ray_tune_experiment.harness.run.journal import encoded
from ray_tune_experiment.harness.store.saved_trials import SavedTrial


def test_an_export_gives_the_trainable_what_the_trial_had() -> None:
    config = encoded({"layers": np.int64(2), "seed": 42})
    trial = SavedTrial("a_00000", 0, "TERMINATED", "trial_a_00000", {}, config, {}, {}, None)
    given = trial_config(trial)
    assert given == {"layers": 2, "seed": 42}
    assert isinstance(given["layers"], np.int64)
