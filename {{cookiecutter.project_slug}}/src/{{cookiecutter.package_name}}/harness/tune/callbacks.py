"""All callbacks of a run, as one, whose state survives a change of what VERBOSE or LOGGERS add.

Ray saves the state of a callback by its position in a list.
"""

import os
import pickle
from typing import Any

from ray import cloudpickle
from ray.tune import Callback
from ray.tune.callback import CallbackList
from ray.tune.experiment import Trial
from ray.tune.result import DONE

from ..project import Project
from .stopping import by_class_name, current_stopper


class Callbacks(CallbackList):
    """All callbacks of a run, as the one that Ray gets. Their states are saved by class name.

    One that was added since starts new; the state of one that is gone is ignored. An exception of a
    callback ends the run.

    project: what each callback's `setup` finds as `info["project"]`, beside what Ray tells it
    """

    def __init__(self, *callbacks: Callback, project: Project | None = None) -> None:
        super().__init__([_EndingTrials(), *callbacks])
        self.project = project
        self._failed: Exception | None = None
        # Ray does not see the loggers in here, and would add its own.
        os.environ["TUNE_DISABLE_AUTO_CALLBACK_LOGGERS"] = "1"

    def setup(self, **info: Any) -> None:  # type: ignore[override]  # as Ray's list has it
        if self._failed is not None:
            raise self._failed
        super().setup(project=self.project, **info)  # type: ignore[no-untyped-call]

    def get_state(self) -> dict[str, Any] | None:
        named = by_class_name(self._callbacks)
        states = {name: callback.get_state() for name, callback in named.items()}
        # Each by itself: one that is gone may have left objects of a class that is gone too.
        return {name: cloudpickle.dumps(its) for name, its in states.items() if its} or None

    def set_state(self, state: dict[str, Any]) -> None:
        """Called by Ray, which would take an exception for a reason to start a new experiment."""
        try:
            for name, callback in by_class_name(self._callbacks).items():
                if name in state:
                    callback.set_state(pickle.loads(state[name]))
        except Exception as error:
            self._failed = error


class _EndingTrials(Callback):
    """Lets the stopper of the run know which trials end: `stop_all` waits for them."""

    def on_step_begin(self, iteration: int, trials: list[Trial], **info: Any) -> None:
        if (stopper := current_stopper()) is not None:
            stopper.trials = trials

    def on_trial_result(
        self,
        iteration: int,
        trials: list[Trial],
        trial: Trial,
        result: dict[str, Any],
        **info: Any,
    ) -> None:
        if (stopper := current_stopper()) is not None:
            (stopper.told.add if result.get(DONE) else stopper.told.discard)(trial.trial_id)

    def on_trial_recover(
        self, iteration: int, trials: list[Trial], trial: Trial, **info: Any
    ) -> None:
        """Its worker is lost; it may have to wait for another."""
        if (stopper := current_stopper()) is not None:
            stopper.told.discard(trial.trial_id)
