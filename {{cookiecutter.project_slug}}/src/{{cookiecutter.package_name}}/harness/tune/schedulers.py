"""Ray's schedulers, made from the settings."""

import functools
import operator
from collections.abc import Callable, Sequence
from typing import Any

from ray.tune.experiment import Trial
from ray.tune.schedulers import (
    AsyncHyperBandScheduler,
    FIFOScheduler,
    HyperBandScheduler,
    MedianStoppingRule,
    PopulationBasedTraining,
    TrialScheduler,
)
from ray.tune.search.sample import Categorical, Float, Integer, Quantized
from ray.tune.search.variant_generator import assign_value

from ..settings import RunSettings
from .points import Point
from .space import bounds, nested, variables


def make_scheduler(
    settings: RunSettings, space: dict[str, Any], mutable: Sequence[str] = ()
) -> TrialScheduler:
    """Make the scheduler that SCHEDULER names.

    Parameters
    ----------
    settings : RunSettings
    space : dict
        The search space, as `search_space` returns it.
    mutable : list of str
        The names of the hyperparameters that pbt may change.

    Returns
    -------
    TrialScheduler
        fifo: runs each trial to its end. asha: asynchronous successive halving (Li et al. 2020).
        median: the median stopping rule (Golovin et al. 2017). hyperband: Li et al. 2018. pbt:
        population based training (Jaderberg et al. 2017).
    """
    grace, longest = settings.grace_iterations, settings.max_iterations
    if settings.scheduler == "asha":
        return AsyncHyperBandScheduler(max_t=longest, grace_period=grace)
    if settings.scheduler == "median":
        # A trial pauses for others once, not after each result: each pause costs a restore.
        return MedianStoppingRule("training_iteration", grace_period=grace, min_time_slice=longest)
    if settings.scheduler == "hyperband":
        return WaitingHyperBand(max_t=longest)
    if settings.scheduler == "pbt":
        return PopulationBasedTraining(
            "training_iteration",
            perturbation_interval=max(grace, longest // 5),
            hyperparam_mutations=nested(mutations(space, mutable)),
            custom_explore_fn=clip_to_bounds(space, mutable),
        )
    return FIFOScheduler()


class WaitingHyperBand(HyperBandScheduler):
    """Ray's HyperBand, where a paused trial is still paused after a resume.

    It also fixes faults of Ray 2.60: a paused trial that it ends has no worker to export its model,
    and is saved as still paused; and a bracket that was halved once ignores a trial that ends by
    itself.
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
        # Ray may pass a wrapper that lacks the method.
        controller = getattr(tune_controller, "_tune_controller", tune_controller)
        for trial, its in zip(waiting, formats, strict=True):
            trial.export_formats = its
            controller._mark_trial_to_checkpoint(trial)
        bracket.is_being_processed = False
        return decision


def mutations(space: dict[str, Any], mutable: Sequence[str]) -> dict[str, Any]:
    """The values, or the range, that pbt may choose from, for each name in `mutable`."""
    found: dict[str, Any] = {}
    for name, (_, domain) in variables(space).items():
        if name in mutable and isinstance(domain, Categorical):
            found[name] = list(domain.categories)
        elif name in mutable and isinstance(domain, Float | Integer):
            found[name] = domain
    return found


def clip_to_bounds(space: dict[str, Any], mutable: Sequence[str]) -> Callable[[Point], Point]:
    """A function that clips a mutated configuration to the bounds of the search space."""

    def clip(config: Point) -> Point:
        for name, domain in mutations(space, mutable).items():
            if isinstance(domain, Float | Integer):
                path = variables(space)[name][0]
                value: Any = functools.reduce(operator.getitem, path, config)
                sampler: Any = domain.get_sampler()  # type: ignore[no-untyped-call]
                if isinstance(sampler, Quantized):
                    value = type(value)(round(value / sampler.q) * sampler.q)
                lower, upper = bounds(domain)
                assign_value(config, path, min(max(value, lower), upper))
        return config

    return clip
