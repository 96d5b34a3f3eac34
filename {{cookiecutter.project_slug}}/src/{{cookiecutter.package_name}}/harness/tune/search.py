"""Ray's own search algorithms and schedulers, with what lets them go on after a resume.

Ray saves a search algorithm with the limits it had, so that a larger one would change nothing, and
of a scheduler nothing at all: after a resume it would compare trials with none that came before.
"""

import contextlib
import copy
import functools
import io
import math
import operator
import pickle
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pyarrow import fs
from ray import cloudpickle
from ray.tune import Callback, Checkpoint
from ray.tune.experiment import Trial
from ray.tune.impl.placeholder import _get_placeholder
from ray.tune.schedulers import (
    AsyncHyperBandScheduler,
    HyperBandScheduler,
    MedianStoppingRule,
    PopulationBasedTraining,
    TrialScheduler,
)
from ray.tune.search import (
    BasicVariantGenerator,
    ConcurrencyLimiter,
    SearchAlgorithm,
    Searcher,
    SearchGenerator,
)
from ray.tune.search.sample import Categorical, Float, Integer, Quantized
from ray.tune.search.variant_generator import assign_value

from ... import search_space as spaces
from ...settings import Settings
from ..store import saved_trials as saved
from .space import bounds, filled, is_mark, trials_a_sample, variables

Point = dict[str, Any]
MUTABLE: tuple[str, ...] = getattr(spaces, "MUTABLE", ())  # not needed without SCHEDULER=pbt


class RandomSearch(BasicVariantGenerator):
    """Random samples and grids. Restored with a larger `num_samples`, it goes on sampling.

    The random generator is part of its state: the samples are those that one longer run had drawn.
    """

    def __init__(
        self,
        settings: Settings,
        points: Sequence[Point] = (),
        space: dict[str, Any] | None = None,
    ) -> None:
        """Points by name; the space as it is: with functions, for which `tune.run` has marks."""
        super().__init__(random_state=settings.seed, max_concurrent=settings.max_concurrent_trials)
        self.settings, self.points, self.space = settings, points, space

    def add_configurations(self, experiments: Any) -> None:
        """Sample each point, then the space. Ray's own points can be no lists and no dictionaries.

        A point is an experiment of one sample, with its values in the place of what is tuned.
        """
        for experiment in experiments:
            spec = experiment.spec
            searched, more = spec["config"], spec["num_samples"] - len(self.points)
            space = searched if self.space is None else self.space
            first = [(filled(space, point, into=searched), 1) for point in self.points]
            for config, samples in [*first, (searched, more)]:
                part = copy.copy(experiment)
                part.spec = {**spec, "config": config, "num_samples": samples}
                super().add_configurations([part])

    def get_state(self) -> dict[str, Any]:
        return {k: v for k, v in super().get_state().items() if k not in {"settings", "space"}}  # type: ignore[no-untyped-call]

    def set_state(self, state: dict[str, Any]) -> None:
        settings = self.settings
        super().set_state(state)  # type: ignore[no-untyped-call]
        self.max_concurrent = settings.max_concurrent_trials
        self._live_trials: set[str] = set()  # those of the ended run: its trials start again
        # Also METRIC_GOAL and the like have ended the sampling.
        self._finished = self._finished and settings.resume != "extend"
        for iterator in self._iterators:
            _move(iterator.unresolved_spec["storage"], settings)
        more = settings.num_samples - sum(iterator.num_samples for iterator in self._iterators)
        for last in self._iterators[-1:] if more > 0 else []:  # those before it are the points
            self._total_samples += more * trials_a_sample(last.unresolved_spec["config"])
            last.num_samples_left += more
            last.num_samples += more


def count_trials(settings: Settings, space: dict[str, Any], points: Sequence[Point]) -> int:
    """The trials of a whole run: each combination of the grids is sampled NUM_SAMPLES times."""
    if settings.search_alg != "random":
        return settings.num_samples
    given = [{name for name, _ in saved.flat(point, variables(space))} for point in points]
    more = settings.num_samples - len(given)
    return sum(trials_a_sample(space, names) for names in given) + more * trials_a_sample(space)


class ModelSearch(SearchGenerator):
    """Drives a searcher that learns from results, and restores it with the limits of this run."""

    def __init__(self, searcher: Searcher, settings: Settings) -> None:
        if settings.max_concurrent_trials:
            searcher = ConcurrencyLimiter(searcher, settings.max_concurrent_trials)
        super().__init__(searcher)
        self.settings = settings

    def set_search_properties(
        self, metric: str | None, mode: str | None, config: dict[str, Any], **spec: Any
    ) -> bool:
        done: bool = super().set_search_properties(metric, mode, config, **spec)
        searcher = getattr(self.searcher, "searcher", self.searcher)
        optimizer = getattr(searcher, "_nevergrad_opt", None)
        if optimizer is not None:  # Ray has no argument for it
            optimizer.parametrization.random_state.seed(self.settings.seed)
        return done

    def set_state(self, state: dict[str, Any]) -> None:
        settings = self.settings
        super().set_state(state)
        if isinstance(self.searcher, ConcurrencyLimiter):
            self.searcher.max_concurrent = settings.max_concurrent_trials
        self._total_samples = settings.num_samples
        self._finished = self._finished and settings.resume != "extend"
        experiment: Any = self._experiment
        _move(experiment.spec["storage"], settings)

    def meet(self, trials: Sequence[Trial]) -> None:
        """Count the trials that there are. A kill may leave a searcher that knows of others."""
        self._counter = len(trials)
        if isinstance(self.searcher, ConcurrencyLimiter):
            live = {trial.trial_id for trial in trials if not trial.is_finished()}
            self.searcher.live_trials, self.searcher.num_unfinished_live_trials = live, len(live)

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        with contextlib.suppress(KeyError):  # a trial that the saved searcher didn't know yet
            super().on_trial_result(trial_id, result)

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Tell the searcher how a trial ended; one that ended with NaN counts as failed."""
        if result and not math.isfinite(result[self.settings.metric]):
            result, error = None, True
        with contextlib.suppress(KeyError):
            super().on_trial_complete(trial_id, result, error)


def _resolve_once(self: Trial, placeholder_resolvers: dict[tuple[Any, ...], Any]) -> None:
    """Give a new trial what `tune.run` has marks for: objects, and what `sample_from` returns.

    Ray 2.60 does so at each resume again: a trial would go on with another sample than it began
    with, and without what SCHEDULER=pbt has changed. And it takes a point's values for marks.
    """
    unresolved = {
        path: resolvers
        for path, resolvers in placeholder_resolvers.items()
        if is_mark(_get_placeholder(self.config, (), path)[1])
    }
    if unresolved:
        _ray_resolves(self, unresolved)


_ray_resolves = Trial.resolve_config_placeholders
Trial.resolve_config_placeholders = _resolve_once  # type: ignore[method-assign]


def _move(place: Any, settings: Settings) -> None:
    """Let trials to come be kept where the experiment is now: it may have been copied or moved."""
    filesystem, root = fs.FileSystem.from_uri(settings.storage_path)
    place.storage_filesystem, place.storage_fs_path = filesystem, root
    place.experiment_dir_name = settings.name


class WaitingHyperBand(HyperBandScheduler):
    """Ray's HyperBand; a trial that waits for others goes on waiting after a resume.

    It also mends what goes wrong in Ray 2.60: a waiting trial that it ends has no worker that could
    export its model, and is saved as still waiting; and a bracket that was halved once no longer
    heeds a trial that ends by itself.
    """

    waiting: frozenset[str] = frozenset()

    def on_trial_add(self, tune_controller: Any, trial: Trial) -> None:
        super().on_trial_add(tune_controller, trial)
        if trial.trial_id in self.waiting:
            trial.set_status(Trial.PAUSED)

    def _process_bracket(self, tune_controller: Any, bracket: Any) -> str:
        waiting = [t for t in bracket.current_trials() if t.status == Trial.PAUSED]
        formats = [trial.export_formats for trial in waiting]
        for trial in waiting:
            trial.export_formats = []
        decision: str = super()._process_bracket(tune_controller, bracket)
        # Ray hands out a wrapper that has no such method.
        controller = getattr(tune_controller, "_tune_controller", tune_controller)
        for trial, its in zip(waiting, formats, strict=True):
            trial.export_formats = its
            controller._mark_trial_to_checkpoint(trial)
        bracket.is_being_processed = False
        return decision


def mutations(space: dict[str, Any]) -> dict[str, Any]:
    """How population based training may change what is MUTABLE, by name: values, or a range."""
    found: dict[str, Any] = {}
    for name, (_, domain) in variables(space).items():
        if name in MUTABLE and isinstance(domain, Categorical):
            found[name] = list(domain.categories)
        elif name in MUTABLE and isinstance(domain, Float | Integer):
            found[name] = domain
    return found


def within(space: dict[str, Any]) -> Callable[[Point], Point]:
    """A function that brings a mutated configuration back between the bounds of the space."""

    def brought_back(config: Point) -> Point:
        for name, domain in mutations(space).items():
            if isinstance(domain, Float | Integer):
                path = variables(space)[name][0]
                value: Any = functools.reduce(operator.getitem, path, config)
                sampler: Any = domain.get_sampler()  # type: ignore[no-untyped-call]
                if isinstance(sampler, Quantized):
                    value = type(value)(round(value / sampler.q) * sampler.q)
                lower, upper = bounds(domain)
                assign_value(config, path, min(max(value, lower), upper))
        return config

    return brought_back


# What a scheduler learns while trials run; the rest of it comes from the settings.
LEARNED: dict[type[TrialScheduler], tuple[str, ...]] = {
    AsyncHyperBandScheduler: ("_brackets", "_trial_info", "_num_stopped"),
    MedianStoppingRule: ("_results", "_stopped_trials", "_last_pause"),
    HyperBandScheduler: ("_hyperbands", "_trial_info", "_state", "_num_stopped"),
    PopulationBasedTraining: ("_trial_state", "_num_checkpoints", "_num_perturbations"),
}


class SearchMemory(Callback):
    """Carries what the scheduler has learned through a resume, with the state of callbacks.

    It also seeds the generators that Ray's schedulers draw from, and carries their state.
    """

    def __init__(self, scheduler: TrialScheduler, search: SearchAlgorithm, seed: int) -> None:
        self.scheduler, self.search, self.seed = scheduler, search, seed
        self._saved: dict[str, Any] | None = None
        self._begun = False

    def setup(self, *_: Any, **info: Any) -> None:
        random.seed(self.seed)
        np.random.seed(self.seed)  # noqa: NPY002  # it is the one that Ray draws from

    def get_state(self) -> dict[str, Any]:
        if self._saved is not None:  # ended before its first step
            return self._saved
        state = {"random": (random.getstate(), np.random.get_state())}  # noqa: NPY002
        return state | remember(self.scheduler)

    def set_state(self, state: dict[str, Any]) -> None:
        """Called before Ray adds the restored trials to the scheduler."""
        self._saved = state
        if isinstance(self.scheduler, WaitingHyperBand):
            self.scheduler.waiting = frozenset(state["waiting"])

    def on_step_begin(self, iteration: int, trials: list[Trial], **info: Any) -> None:
        """Before the first step of a resumed run all its trials are there, and none has begun."""
        if self._begun:
            return
        self._begun = True
        if isinstance(self.search, ModelSearch):
            self.search.meet(trials)
        if self._saved is not None:
            state, self._saved = self._saved, None
            random.setstate(state["random"][0])
            np.random.set_state(state["random"][1])  # noqa: NPY002
            recall(self.scheduler, state, trials)


class _Pickler(cloudpickle.CloudPickler):
    """Pickles a scheduler's memory with trials as their ids, and checkpoints as a mark."""

    def persistent_id(self, value: Any) -> Any:
        if isinstance(value, Trial):
            return value.trial_id
        # Where it is may change; the restored trial knows.
        is_checkpoint = isinstance(value, Checkpoint) or "Future" in type(value).__name__
        return True if is_checkpoint else None


class _Unpickler(pickle.Unpickler):
    def __init__(self, content: bytes, trials: dict[str, Trial]) -> None:
        super().__init__(io.BytesIO(content))
        self.trials = trials

    def persistent_load(self, key: Any) -> Any:
        return self.trials.get(key, key)


def remember(scheduler: TrialScheduler) -> dict[str, Any]:
    """What a scheduler has learned, to be pickled: `recall` gives it to another one."""
    attributes = next((names for kind, names in LEARNED.items() if isinstance(scheduler, kind)), ())
    learned = {name: getattr(scheduler, name) for name in attributes}
    if isinstance(scheduler, MedianStoppingRule):  # all it reads of a result are two values
        keys = (scheduler._time_attr, scheduler._metric)
        learned["_results"] = {
            trial: [{key: result[key] for key in keys} for result in results]
            for trial, results in scheduler._results.items()
        }
    waiting = [
        trial.trial_id
        for trial in (scheduler._trial_info if isinstance(scheduler, HyperBandScheduler) else ())
        if trial.status == Trial.PAUSED
    ]
    content = io.BytesIO()
    _Pickler(content).dump(learned)
    return {"scheduler": content.getvalue(), "waiting": waiting}


def recall(scheduler: TrialScheduler, state: dict[str, Any], trials: Sequence[Trial]) -> None:
    """Give a new scheduler, to which the restored trials were added, what another had learned."""
    known = {trial.trial_id: trial for trial in trials}
    learned = _Unpickler(state["scheduler"], known).load()
    if isinstance(scheduler, AsyncHyperBandScheduler):
        _recall_rungs(scheduler, learned)
    elif isinstance(scheduler, MedianStoppingRule):
        _recall_results(scheduler, learned)
    elif isinstance(scheduler, WaitingHyperBand):
        _recall_brackets(scheduler, learned, trials)
    elif isinstance(scheduler, PopulationBasedTraining):
        _recall_population(scheduler, learned, trials)


def _recall_rungs(scheduler: AsyncHyperBandScheduler, learned: dict[str, Any]) -> None:
    """With a larger MAX_ITERATIONS there are more rungs than there were."""
    scheduler._num_stopped = learned["_num_stopped"]
    for was, bracket in zip(learned["_brackets"], scheduler._brackets, strict=True):
        recorded_at = dict(was._rungs)
        for milestone, recorded in bracket._rungs:
            recorded.update(recorded_at.get(milestone, {}))
    for trial_id, was in learned["_trial_info"].items():
        bracket = scheduler._brackets[learned["_brackets"].index(was)]
        scheduler._trial_info[trial_id] = bracket


def _recall_results(scheduler: MedianStoppingRule, learned: dict[str, Any]) -> None:
    """A trial that goes on reports once more what came after its last checkpoint."""
    for trial, results in learned["_results"].items():
        if not isinstance(trial, Trial):  # gone with a state that a kill cut off
            continue
        last = math.inf if trial.is_finished() else _saved_iteration(trial)
        kept = [result for result in results if result[scheduler._time_attr] <= last]
        if kept:
            scheduler._results[trial] = kept
    scheduler._last_pause.update(learned["_last_pause"])
    # `extend` lets a trial that was stopped go on; Ray takes its next result for a mistake.
    stopped = (trial for trial in learned["_stopped_trials"] if isinstance(trial, Trial))
    scheduler._stopped_trials = {trial for trial in stopped if trial.is_finished()}


def _recall_brackets(
    scheduler: WaitingHyperBand, learned: dict[str, Any], trials: Sequence[Trial]
) -> None:
    if set(learned["_trial_info"]) != set(trials):  # a kill while both were saved
        print("What hyperband knew of the trials is lost: it begins anew with them.", flush=True)
        for trial, (bracket, _) in scheduler._trial_info.items():
            bracket.trials_to_unpause.add(trial)
        return
    vars(scheduler).update(learned)
    for trial, (bracket, _) in scheduler._trial_info.items():
        if trial in bracket._live_trials and trial.status == Trial.PENDING:
            bracket._live_trials[trial] = None  # it counts when it has reported again


def _recall_population(
    scheduler: PopulationBasedTraining, learned: dict[str, Any], trials: Sequence[Trial]
) -> None:
    scheduler._num_checkpoints = learned["_num_checkpoints"]
    scheduler._num_perturbations = learned["_num_perturbations"]
    for trial, state in learned["_trial_state"].items():
        if not isinstance(trial, Trial):
            continue
        if state.last_checkpoint:  # others may go on from it
            saved: Any = trial.latest_checkpoint_result
            state.last_checkpoint = saved and saved.checkpoint
            state.last_result = saved and saved.metrics
        scheduler._trial_state[trial] = state
    for trial in trials[:1]:
        _fetch_history(trial.storage)


def _fetch_history(place: Any) -> None:
    """Let pbt_global.txt and pbt_policy_….txt begin with what they held before."""
    disk, root = place.storage_filesystem, place.experiment_fs_path
    for info in disk.get_file_info(fs.FileSelector(root)):
        if info.base_name.startswith("pbt_") and info.is_file:
            with disk.open_input_stream(info.path) as stream:
                Path(place.experiment_driver_staging_path, info.base_name).write_bytes(
                    stream.read()
                )


def _saved_iteration(trial: Trial) -> int:
    """The iteration of a trial's newest checkpoint; 0 without one."""
    saved: Any = trial.latest_checkpoint_result
    return int(saved.metrics["training_iteration"]) if saved else 0
