"""What a run says when it is over."""

from types import SimpleNamespace
from typing import Any

import pytest
from harness.run import outcome
from harness.tune.stopping import current_stopper
from ray.tune.experiment import Trial
from stub import Settings
from stub.pieces import make_stopper


def trial(number: int, status: str, **last_result: int) -> Any:
    return SimpleNamespace(trial_id=str(number), status=status, last_result=last_result)


def test_what_stopped_a_run_and_how_many_trials_had_not_started(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A search algorithm that learns has not made them; a trial that failed at once had started."""
    settings = Settings(num_samples=8, metric_goal=0.5)
    make_stopper(settings)
    stopper = current_stopper()
    assert stopper is not None
    stopper.stopped_by = ["GoalStopper"]
    trials = [
        trial(0, Trial.TERMINATED, training_iteration=3),
        trial(1, Trial.ERROR),
        trial(2, Trial.TERMINATED),
    ]
    said = "EXPERIMENT_METRIC_GOAL=0.5"
    assert outcome._print_stopped(settings, trials, 8) == [said]
    assert capsys.readouterr().out == f"Stopped by {said}; 6 trials had not started.\n"
