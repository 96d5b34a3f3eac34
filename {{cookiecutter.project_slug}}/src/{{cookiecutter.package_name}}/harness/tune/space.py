"""The search space: its hyperparameters by name, and its corners.

The name of a nested hyperparameter is `outer/inner`, as in Ray's results.
"""

import copy
import json
import math
from collections.abc import Collection
from typing import Any

from ray.tune.search.sample import (
    Categorical,
    Domain,
    Float,
    Function,
    Integer,
    Normal,
    Quantized,
)
from ray.tune.search.variant_generator import assign_value, parse_spec_vars
from ray.tune.utils.serialization import TuneFunctionEncoder

from ..store import saved_trials
from .ray_internals import with_placeholders

Space = dict[str, Any]
SIGMAS = 3  # where the corners are of a normal distribution, which has no bounds


def variables(space: Space) -> dict[str, tuple[tuple[Any, ...], Domain]]:
    """The hyperparameters by name: the path in the space, and the domain; a grid is a Categorical.

    Raises ValueError when two values have one name, or a hyperparameter has no values.
    """
    fixed, sampled, grids = parse_spec_vars(space)
    found = {_name(path): (path, domain) for path, domain in [*sampled, *grids]}
    names = [_name(path) for path, _ in [*fixed, *sampled, *grids]]
    if twice := [name for name in names if names.count(name) > 1]:
        raise ValueError(f"there are two values called {twice[0]!r}, one of them nested")
    for name, (_, domain) in found.items():
        ends = bounds(domain) if isinstance(domain, Integer) else (0, 0)
        if ends[0] > ends[1] or (isinstance(domain, Categorical) and not domain.categories):
            raise ValueError(f"{name!r} has no values to choose from")
    return found


def constants(space: Space) -> Space:
    """The values that are not tuned, by name."""
    return {_name(path): value for path, value in parse_spec_vars(space)[0]}


def _name(path: tuple[Any, ...]) -> str:
    return "/".join(map(str, path))


def nested(values: dict[str, Any]) -> Space:
    """Values by name as nested dictionaries. Raises TypeError if both `a` and `a/b` have one."""
    found = Space()
    for name, value in values.items():
        *path, last = name.split("/")
        part: Any = found
        for key in path:
            part = part.setdefault(key, {})
            if not isinstance(part, dict):
                raise TypeError(name)
        part[last] = value
    return found


def filled(space: Space, values: dict[str, Any], into: Space | None = None) -> Space:
    """A copy of the space with values, by name, instead of domains.

    into: copied instead: the space `with_placeholders`
    """
    known, found = variables(space), copy.deepcopy(space if into is None else into)
    for name, value in values.items():
        assign_value(found, known[name][0], value)
    return found


def placeholder_values(space: Space, values: dict[str, Any]) -> dict[str, Any]:
    """Values by name, with placeholders of categories; without values of `tune.sample_from`."""
    known, replaced = variables(space), variables(with_placeholders(space))
    found = {name: value for name, value in values.items() if name in replaced}
    for name, value in found.items():
        domain, its = known[name][1], replaced[name][1]
        if isinstance(domain, Categorical) and isinstance(its, Categorical):
            position = next(i for i, one in enumerate(domain.categories) if one is value)
            found[name] = its.categories[position]
    return found


def trials_per_sample(space: Space, given: Collection[str] = ()) -> int:
    """The number of trials of one sample: one for each combination of the values of the grids.

    given: names that already have a value
    """
    return math.prod(
        len(domain.categories)
        for name, (_, domain) in variables(space).items()
        if isinstance(domain, Categorical) and domain.is_grid() and name not in given
    )


def plain(value: Any) -> Any:
    """A value of a configuration as it would be read from Ray's saved state."""
    text = json.dumps(value, cls=TuneFunctionEncoder)
    return json.loads(text, object_hook=saved_trials.readable)


def chosen(config: Space, names: Collection[str]) -> dict[str, Any]:
    """A trial's values of the hyperparameters, by name, as a saved state has them."""
    return saved_trials.chosen(plain(config), names)


def bounds(domain: Float | Integer) -> tuple[Any, Any]:
    """The lowest and the highest value; infinite for a normal distribution."""
    sampler: Any = domain.get_sampler()  # type: ignore[no-untyped-call]
    if isinstance(domain, Float):
        return domain.lower, domain.upper
    q = sampler.q if isinstance(sampler, Quantized) else 1
    if q == 1:  # only then, Ray excludes the upper bound
        return domain.lower, domain.upper - 1
    return math.ceil(domain.lower / q) * q, math.floor(domain.upper / q) * q


def corners(space: Space) -> list[Space]:
    """Configurations with all lowest values, with all highest, and with each category once.

    A normal distribution ends at three standard deviations; a `tune.sample_from` is called with
    the corner's other values, as in a trial. Raises ValueError when it fails.
    """
    ends = {
        name: _ends(domain)
        for name, (_, domain) in variables(space).items()
        if not isinstance(domain, Function)
    }
    if not ends:
        return [_resolved(space)]
    found = []
    for index in range(max(map(len, ends.values()))):
        corner = {name: values[min(index, len(values) - 1)] for name, values in ends.items()}
        found += corners(filled(space, corner))  # a category may be a search space of its own
    return found


def pairs(space: Space, config: Space | None = None) -> dict[str, tuple[Space, Space]]:
    """For each hyperparameter, by name, two configurations that differ only in it.

    They have its lowest and highest value, or its first and last category. A hyperparameter with
    one value is left out.

    config: the values of all others, by default a corner's
    """
    found, config = {}, corners(space)[0] if config is None else config
    for name, (path, domain) in variables(space).items():
        ends = [] if isinstance(domain, Function) else _ends(domain)
        if len(ends) > 1:
            low, high = copy.deepcopy(config), copy.deepcopy(config)
            for changed, value in ((low, ends[0]), (high, ends[-1])):
                assign_value(changed, path, value)
            found[name] = low, high
    return found


def _ends(domain: Domain) -> list[Any]:
    if isinstance(domain, Categorical):
        return list(domain.categories)
    if not isinstance(domain, Float | Integer):
        return [domain.sample()]
    ends: tuple[Any, ...] = bounds(domain)
    sampler: Any = domain.get_sampler()  # type: ignore[no-untyped-call]
    normal = sampler.sampler if isinstance(sampler, Quantized) else sampler
    if isinstance(normal, Normal):
        ends = (normal.mean - SIGMAS * normal.sd, normal.mean + SIGMAS * normal.sd)
        if isinstance(sampler, Quantized):
            ends = tuple(round(end / sampler.q) * sampler.q for end in ends)
    return list(dict.fromkeys(domain.cast(end) for end in ends))  # type: ignore[no-untyped-call]


def _resolved(space: Space) -> Space:
    """The space with the values of its `tune.sample_from`; called in order, as Ray does it."""
    config = copy.deepcopy(space)
    for name, (path, domain) in variables(space).items():
        try:
            assign_value(config, path, domain.sample(config=config))
        except Exception as error:  # whatever the function raises
            reason = f"{type(error).__name__}: {error}"
            raise ValueError(f"{name!r} can't be sampled: {reason}") from None
    return config
