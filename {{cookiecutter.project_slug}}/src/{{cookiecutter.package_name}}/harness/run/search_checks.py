"""Checks of the search algorithm and the scheduler before a run."""

import importlib.util
import math
from collections.abc import Sequence
from typing import Any

from ray.tune.search.sample import Categorical, Domain, Float

from ..errors import reason
from ..settings import RunSettings
from ..tune.points import Point
from ..tune.ray_internals import with_placeholders
from ..tune.schedulers import mutations
from ..tune.search import make_search
from ..tune.space import variables


def check_search(
    settings: RunSettings, space: dict[str, Any], points: Sequence[Point]
) -> list[str]:
    """What the search algorithm can't do with the search space."""
    algorithm, given = settings.search_alg, settings.given("search_alg")
    if algorithm == "random":
        return []
    if importlib.util.find_spec(algorithm) is None:
        return [f"{given}: {algorithm} is missing; uv sync --extra {algorithm}"]
    for name, (_, domain) in variables(space).items():
        if why := _unsearchable(algorithm, name, domain):
            return [f"{given}: {why}"]
    try:
        search = make_search(settings, space, points)
        search.set_search_properties(settings.metric, settings.mode, with_placeholders(space))
    except Exception as error:  # whatever a searcher raises
        return [f"{given}: search space: {reason(error)}"]
    return []


def _unsearchable(algorithm: str, name: str, domain: Domain) -> str | None:
    if domain.is_grid():
        return f"it takes no grid, and {name} is one; SEARCH_ALG=random does"
    if isinstance(domain, Categorical) and any(variables({"": c}) for c in domain.categories):
        return f"it takes no search space in a choice, as {name} has; SEARCH_ALG=random does"
    if algorithm == "nevergrad" and isinstance(domain, Float) and math.isinf(domain.upper):
        return f"it needs bounds, and {name} has none"
    return None


def check_scheduler(
    settings: RunSettings, space: dict[str, Any], mutable: Sequence[str], trials: int
) -> list[str]:
    """Settings with which the scheduler would do nothing, without saying so."""
    name, found = settings.scheduler, list[str]()
    variable, concurrent = settings.variable, settings.given("max_concurrent_trials")
    if name in {"hyperband", "pbt"} and settings.checkpoint_frequency == 0:
        found.append(f"it needs checkpoints; {variable('checkpoint_frequency')}=0 makes none")
    if name in {"asha", "median", "pbt"} and settings.grace_iterations > settings.max_iterations:
        grace, most = settings.given("grace_iterations"), settings.given("max_iterations")
        found.append(f"{grace} is more than {most}")
    if name == "hyperband" and settings.max_concurrent_trials:
        found.append(f"trials wait for each other; {concurrent} should be 0")
    if name == "pbt":
        known = mutations(space, mutable)
        unknown = [key for key in mutable if key not in known]
        if settings.search_alg != "random":
            found.append(f"it searches by itself; {variable('search_alg')} should be random")
        if not mutable or unknown:
            which = f"{unknown[0]!r}, which is not sampled" if unknown else "no hyperparameter"
            found.append(f"it changes the hyperparameters of MUTABLE in search_space.py: {which}")
        if settings.max_concurrent_trials == 1:
            found.append(f"it compares trials side by side; {concurrent} should be 0 or 2, 3 …")
        if trials == 1:
            found.append(f"it compares trials; {variable('num_samples')}=1 should be 2 or more")
    return [f"{settings.given('scheduler')}: {reason}" for reason in found]
