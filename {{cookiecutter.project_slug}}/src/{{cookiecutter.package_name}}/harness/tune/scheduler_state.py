"""Saves what a scheduler has learned, and restores it at a resume.

Ray does not save schedulers: after a resume, they would know nothing of the earlier results.
"""

import io
import math
import pickle
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pyarrow import fs
from ray import cloudpickle
from ray.tune import Callback, Checkpoint
from ray.tune.experiment import Trial
from ray.tune.schedulers import (
    AsyncHyperBandScheduler,
    HyperBandScheduler,
    MedianStoppingRule,
    PopulationBasedTraining,
    TrialScheduler,
)
from ray.tune.search import SearchAlgorithm

from .schedulers import WaitingHyperBand
from .search import ModelSearch

# The attributes that a scheduler learns while trials run; the others come from the settings.
LEARNED: dict[type[TrialScheduler], tuple[str, ...]] = {
    AsyncHyperBandScheduler: ("_brackets", "_trial_info", "_num_stopped"),
    MedianStoppingRule: ("_results", "_stopped_trials", "_last_pause"),
    HyperBandScheduler: ("_hyperbands", "_trial_info", "_state", "_num_stopped"),
    PopulationBasedTraining: ("_trial_state", "_num_checkpoints", "_num_perturbations"),
}


class SchedulerState(Callback):
    """Saves and restores what the scheduler has learned, as the state of a callback.

    It also seeds the generators that Ray's schedulers draw from, and saves and restores their
    state.
    """

    def __init__(self, scheduler: TrialScheduler, search: SearchAlgorithm, seed: int) -> None:
        self.scheduler, self.search, self.seed = scheduler, search, seed
        self._saved: dict[str, Any] | None = None
        self._begun = False

    def setup(self, *_: Any, **info: Any) -> None:
        random.seed(self.seed)
        np.random.seed(self.seed)  # noqa: NPY002  # Ray draws from it

    def get_state(self) -> dict[str, Any]:
        if self._saved is not None:  # the run ended before its first step
            return self._saved
        state = {"random": (random.getstate(), np.random.get_state())}  # noqa: NPY002
        return state | learned(self.scheduler)

    def set_state(self, state: dict[str, Any]) -> None:
        """Called before Ray adds the restored trials to the scheduler."""
        self._saved = state
        if isinstance(self.scheduler, WaitingHyperBand):
            self.scheduler.waiting = frozenset(state["waiting"])

    def on_step_begin(self, iteration: int, trials: list[Trial], **info: Any) -> None:
        """Before the first step of a resumed run, all trials are known and none has started."""
        if self._begun:
            return
        self._begun = True
        if isinstance(self.search, ModelSearch):
            self.search.count_restored(trials)
        if self._saved is not None:
            state, self._saved = self._saved, None
            random.setstate(state["random"][0])
            np.random.set_state(state["random"][1])  # noqa: NPY002
            restore(self.scheduler, state, trials)


class _Pickler(cloudpickle.CloudPickler):
    """Pickles what a scheduler has learned: a trial as its id, a checkpoint as True."""

    def persistent_id(self, value: Any) -> Any:
        if isinstance(value, Trial):
            return value.trial_id
        # A checkpoint's path may change; the restored trial knows it.
        is_checkpoint = isinstance(value, Checkpoint) or "Future" in type(value).__name__
        return True if is_checkpoint else None


class _Unpickler(pickle.Unpickler):
    def __init__(self, content: bytes, trials: dict[str, Trial]) -> None:
        super().__init__(io.BytesIO(content))
        self.trials = trials

    def persistent_load(self, key: Any) -> Any:
        return self.trials.get(key, key)


def learned(scheduler: TrialScheduler) -> dict[str, Any]:
    """What a scheduler has learned, pickled, for `restore`."""
    attributes = next((names for kind, names in LEARNED.items() if isinstance(scheduler, kind)), ())
    found = {name: getattr(scheduler, name) for name in attributes}
    if isinstance(scheduler, MedianStoppingRule):  # it reads only two values of a result
        keys = (scheduler._time_attr, scheduler._metric)
        found["_results"] = {
            trial: [{key: result[key] for key in keys} for result in results]
            for trial, results in scheduler._results.items()
        }
    waiting = [
        trial.trial_id
        for trial in (scheduler._trial_info if isinstance(scheduler, HyperBandScheduler) else ())
        if trial.status == Trial.PAUSED
    ]
    content = io.BytesIO()
    _Pickler(content).dump(found)
    return {"scheduler": content.getvalue(), "waiting": waiting}


def restore(scheduler: TrialScheduler, state: dict[str, Any], trials: Sequence[Trial]) -> None:
    """Give a new scheduler, which already has the restored trials, what another had learned."""
    known = {trial.trial_id: trial for trial in trials}
    learned = _Unpickler(state["scheduler"], known).load()
    if isinstance(scheduler, AsyncHyperBandScheduler):
        _restore_rungs(scheduler, learned)
    elif isinstance(scheduler, MedianStoppingRule):
        _restore_results(scheduler, learned)
    elif isinstance(scheduler, WaitingHyperBand):
        _restore_brackets(scheduler, learned, trials)
    elif isinstance(scheduler, PopulationBasedTraining):
        _restore_population(scheduler, learned, trials)


def _restore_rungs(scheduler: AsyncHyperBandScheduler, learned: dict[str, Any]) -> None:
    """A larger MAX_ITERATIONS adds rungs, so the recorded values are merged by milestone."""
    scheduler._num_stopped = learned["_num_stopped"]
    for was, bracket in zip(learned["_brackets"], scheduler._brackets, strict=True):
        recorded_at = dict(was._rungs)
        for milestone, recorded in bracket._rungs:
            recorded.update(recorded_at.get(milestone, {}))
    for trial_id, was in learned["_trial_info"].items():
        bracket = scheduler._brackets[learned["_brackets"].index(was)]
        scheduler._trial_info[trial_id] = bracket


def _restore_results(scheduler: MedianStoppingRule, learned: dict[str, Any]) -> None:
    """A resumed trial reports the results after its last checkpoint again, so they are dropped."""
    for trial, results in learned["_results"].items():
        if not isinstance(trial, Trial):  # not in the restored state, after a kill
            continue
        last = math.inf if trial.is_finished() else _saved_iteration(trial)
        kept = [result for result in results if result[scheduler._time_attr] <= last]
        if kept:
            scheduler._results[trial] = kept
    scheduler._last_pause.update(learned["_last_pause"])
    # `extend` may resume a stopped trial, whose next result Ray takes for an error.
    stopped = (trial for trial in learned["_stopped_trials"] if isinstance(trial, Trial))
    scheduler._stopped_trials = {trial for trial in stopped if trial.is_finished()}


def _restore_brackets(
    scheduler: WaitingHyperBand, learned: dict[str, Any], trials: Sequence[Trial]
) -> None:
    if set(learned["_trial_info"]) != set(trials):  # killed between saving the one and the other
        print(
            "What hyperband had learned of the trials is lost: it starts anew with them.",
            flush=True,
        )
        for trial, (bracket, _) in scheduler._trial_info.items():
            bracket.trials_to_unpause.add(trial)
        return
    vars(scheduler).update(learned)
    for trial, (bracket, _) in scheduler._trial_info.items():
        if trial in bracket._live_trials and trial.status == Trial.PENDING:
            bracket._live_trials[trial] = None  # no result until it reports again


def _restore_population(
    scheduler: PopulationBasedTraining, learned: dict[str, Any], trials: Sequence[Trial]
) -> None:
    scheduler._num_checkpoints = learned["_num_checkpoints"]
    scheduler._num_perturbations = learned["_num_perturbations"]
    for trial, state in learned["_trial_state"].items():
        if not isinstance(trial, Trial):
            continue
        if state.last_checkpoint:  # others may continue from it
            saved: Any = trial.latest_checkpoint_result
            state.last_checkpoint = saved and saved.checkpoint
            state.last_result = saved and saved.metrics
        scheduler._trial_state[trial] = state
    for trial in trials[:1]:
        _download_history(trial.storage)


def _download_history(place: Any) -> None:
    """Let pbt_global.txt and pbt_policy_….txt continue those in the storage."""
    disk, root = place.storage_filesystem, place.experiment_fs_path
    for info in disk.get_file_info(fs.FileSelector(root)):
        if info.base_name.startswith("pbt_") and info.is_file:
            here = Path(place.experiment_driver_staging_path, info.base_name)
            with disk.open_input_stream(info.path) as stream:
                here.write_bytes(stream.read())


def _saved_iteration(trial: Trial) -> int:
    """The iteration of a trial's newest checkpoint; 0 without one."""
    saved: Any = trial.latest_checkpoint_result
    return int(saved.metrics["training_iteration"]) if saved else 0
