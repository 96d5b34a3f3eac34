"""Trials as an Optuna study: for its plots, importances and dashboard."""

import contextlib
import logging
import math
from collections.abc import Callable, Sequence
from typing import Any

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.study import StudyDirection
from optuna.trial import TrialState, create_trial
from ray.tune.experiment import Trial
from ray.tune.search.sample import Categorical, Domain, Float, Integer, LogUniform

from ..store.saved_trials import NOT_STARTED
from ..tune.description import describe_space
from ..tune.space import Space, bounds, plain, variables
from .analysis import SavedAnalysis

DIRECTIONS = {"min": StudyDirection.MINIMIZE, "max": StudyDirection.MAXIMIZE}
STATES = {
    Trial.ERROR: TrialState.FAIL,
    Trial.PENDING: TrialState.WAITING,
    Trial.RUNNING: TrialState.RUNNING,
    Trial.PAUSED: TrialState.RUNNING,
}


def make_study(
    analysis: SavedAnalysis, storage: str | None, text: Callable[[str], str], *, history: bool
) -> optuna.Study:
    """The study of `Experiment.study`, which describes the arguments.

    A trial that ended with a finite METRIC is complete, even if it was stopped early: its value
    counts when the best is chosen. A trial that ended without one is failed.
    """
    optuna.logging.set_verbosity(logging.WARNING)
    name, direction = analysis.record.name, DIRECTIONS[analysis.settings.mode]
    study = optuna.create_study(storage=storage, study_name=name, direction=direction)
    chosen = [
        {text(key): _plain(value, text) for key, value in analysis.parameters(trial).items()}
        for trial in analysis.trials
    ]
    recorded, space = analysis.record.content["search_space"], analysis.project.parts().search_space
    distributions = _distributions(chosen, recorded, space(), text)
    for trial, params in zip(analysis.trials, chosen, strict=True):
        state, status = STATES.get(trial.status, TrialState.COMPLETE), analysis.status(trial)
        value = analysis.ranking.score(trial)
        if status == NOT_STARTED:
            state = TrialState.WAITING
        elif state == TrialState.COMPLETE and not math.isfinite(value):
            state = TrialState.FAIL
        study.add_trial(
            create_trial(
                state=state,
                value=value if state == TrialState.COMPLETE else None,
                params=params,
                distributions={key: distributions[key] for key in params},
                intermediate_values=analysis.history(trial) if history else {},
                user_attrs={"trial_id": trial.trial_id, "status": status},
            )
        )
    return study


def importances(study: optuna.Study) -> dict[str, float]:
    """The importance of each hyperparameter, largest first; empty if it can't be computed."""
    complete = study.get_trials(deepcopy=False, states=[TrialState.COMPLETE])
    if len({trial.value for trial in complete}) < 2:
        return {}
    try:
        found = optuna.importance.get_param_importances(study)
    except (ValueError, RuntimeError):  # no parameter that varies
        return {}
    return {key: value for key, value in found.items() if math.isfinite(value)}


def _plain(value: Any, text: Callable[[str], str]) -> Any:
    """A value that Optuna can store: a number, a bool, or text."""
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    return text(value if isinstance(value, str) else str(value))


def _distributions(
    chosen: Sequence[dict[str, Any]],
    recorded: dict[str, str],
    space: Space,
    text: Callable[[str], str],
) -> dict[str, BaseDistribution]:
    """The distribution of each hyperparameter, from the search space and the sampled values.

    recorded: the search space as experiment.json describes it; space: that of the present code

    Where the two differ in a hyperparameter, only its sampled values count.
    """
    named = dict[str, Domain]()
    with contextlib.suppress(ValueError):  # the present space can't be described
        said = describe_space(space)
        for key, (_, domain) in variables(space).items():
            if said[key] == recorded.get(key):
                named[text(key)] = domain
    return {
        key: _distribution(
            named.get(key),
            [params[key] for params in chosen if key in params],
            text,
            log="Log" in str(recorded.get(key)),
        )
        for key in dict.fromkeys(key for params in chosen for key in params)
    }


def _distribution(
    domain: Domain | None, values: list[Any], text: Callable[[str], str], log: bool
) -> BaseDistribution:
    numbers = all(isinstance(v, int | float) and not isinstance(v, bool) for v in values)
    if isinstance(domain, Categorical) or not numbers:
        known = plain(domain.categories) if isinstance(domain, Categorical) else []
        choices = dict.fromkeys([*(_plain(value, text) for value in known), *values])
        return CategoricalDistribution(tuple(choices))
    least, most = min(values), max(values)
    if isinstance(domain, Float | Integer):
        sampler: Any = domain.get_sampler()  # type: ignore[no-untyped-call]
        log = isinstance(getattr(sampler, "sampler", sampler), LogUniform)  # quantised or not
        lower, upper = bounds(domain)
        if math.isfinite(lower) and math.isfinite(upper):
            least, most = min(least, lower), max(most, upper)
    if all(isinstance(value, int) for value in (*values, least, most)):
        return IntDistribution(least, most, log=log and least > 0)
    return FloatDistribution(least, most, log=log and least > 0)
