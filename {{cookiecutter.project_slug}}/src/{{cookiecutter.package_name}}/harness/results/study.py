"""Trials as an Optuna study: for its plots, importances and dashboard."""

import contextlib
import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
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

DIRECTIONS = {"min": StudyDirection.MINIMIZE, "max": StudyDirection.MAXIMIZE}
STATES = {
    Trial.ERROR: TrialState.FAIL,
    Trial.PENDING: TrialState.WAITING,
    Trial.RUNNING: TrialState.RUNNING,
    Trial.PAUSED: TrialState.RUNNING,
}


@dataclass
class TrialOutcome:
    """What a study takes of a trial.

    state, status: Ray's word for it, and ours (`saved_trials.word`)
    value: METRIC by SCOPE; NaN without one
    history: METRIC by iteration
    """

    trial_id: str
    state: str
    status: str
    value: float
    parameters: dict[str, Any]
    history: dict[int, float]


def make_study(
    name: str,
    mode: str,
    trials: Sequence[TrialOutcome],
    recorded: dict[str, str],
    space: Space,
    text: Callable[[str], str] = str,
    storage: str | None = None,
) -> optuna.Study:
    """A study with every trial, in order, and its METRIC at each iteration.

    A trial that ended with a finite METRIC is complete, also one that was stopped early: its value
    counts when the best is chosen. One that ended without is failed.

    recorded, space: the search space as experiment.json describes it, and that of today's code
    text: what becomes of each name and word, for a place that reads them as markup
    storage: where the study is kept, `sqlite:///study.db`; default: in memory
    """
    optuna.logging.set_verbosity(logging.WARNING)
    study = optuna.create_study(storage=storage, study_name=name, direction=DIRECTIONS[mode])
    chosen = [
        {text(key): _plain(value, text) for key, value in trial.parameters.items()}
        for trial in trials
    ]
    distributions = _distributions(chosen, recorded, space, text)
    frozen = []
    for trial, params in zip(trials, chosen, strict=True):
        state = STATES.get(trial.state, TrialState.COMPLETE)
        if trial.status == NOT_STARTED:
            state = TrialState.WAITING
        elif state == TrialState.COMPLETE and not math.isfinite(trial.value):
            state = TrialState.FAIL
        frozen.append(
            create_trial(
                state=state,
                value=trial.value if state == TrialState.COMPLETE else None,
                params=params,
                distributions={key: distributions[key] for key in params},
                intermediate_values=trial.history,
                user_attrs={"trial_id": trial.trial_id, "status": trial.status},
            )
        )
    study.add_trials(frozen)
    return study


def importances(study: optuna.Study) -> dict[str, float]:
    """The importance of each hyperparameter, largest first; empty when it can't be told."""
    complete = study.get_trials(deepcopy=False, states=[TrialState.COMPLETE])
    if len({trial.value for trial in complete}) < 2:
        return {}
    try:
        found = optuna.importance.get_param_importances(study)
    except (ValueError, RuntimeError):  # no parameter that varies
        return {}
    return {key: value for key, value in found.items() if math.isfinite(value)}


def _plain(value: Any, text: Callable[[str], str]) -> Any:
    """A value that Optuna can hold: a number, a truth value, a text."""
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
    """The distribution of each hyperparameter, by what the search space says and what was drawn.

    Where the code has another domain today than the experiment had, only what was drawn counts.
    """
    named = dict[str, Domain]()
    with contextlib.suppress(ValueError):  # today's space can't be described
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
