"""All callbacks of a run, as one callback that saves their states by class name.

Ray saves the state of a callback by its position in the list, which VERBOSE and LOGGERS change.
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
    """All callbacks of a run, as the one callback that Ray gets.

    After a resume, a new callback starts without a state, and the state of one that was removed is
    ignored. An exception of a callback ends the run.

    project: passed to each callback's `setup` as `info["project"]`
    """

    def __init__(self, *callbacks: Callback, project: Project | None = None) -> None:
        super().__init__([_EndingTrials(), *callbacks])
        self.project = project
        self._failed: Exception | None = None
        # Ray does not see the loggers in this list, and would add its own.
        os.environ["TUNE_DISABLE_AUTO_CALLBACK_LOGGERS"] = "1"

    def setup(self, **info: Any) -> None:  # type: ignore[override]  # as in Ray's CallbackList
        if self._failed is not None:
            raise self._failed
        super().setup(project=self.project, **info)  # type: ignore[no-untyped-call]

    def get_state(self) -> dict[str, Any] | None:
        named = by_class_name(self._callbacks)
        states = {name: callback.get_state() for name, callback in named.items()}
        # Pickled one by one: the class of a removed callback's state may have been removed too.
        return {name: cloudpickle.dumps(its) for name, its in states.items() if its} or None

    def set_state(self, state: dict[str, Any]) -> None:
        """Called by Ray, which would start a new experiment after an exception here."""
        try:
            for name, callback in by_class_name(self._callbacks).items():
                if name in state:
                    callback.set_state(pickle.loads(state[name]))
        except Exception as error:
            self._failed = error


class _EndingTrials(Callback):
    """Tells the run's stopper which trials are ending: its `stop_all` waits for them."""

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
        """The trial's worker is lost, and it may have to wait for another."""
        if (stopper := current_stopper()) is not None:
            stopper.told.discard(trial.trial_id)
