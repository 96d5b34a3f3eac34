"""The corners of a search space: the configurations a Trainable is likeliest to stumble over."""

from typing import Any

from ray.tune.search.sample import Categorical, Domain, Float, Integer


def corners(space: dict[str, Any]) -> list[dict[str, Any]]:
    """One configuration a bound: everything least, everything most, each category once.

    Domains without bounds (`tune.sample_from`, normal distributions) are sampled.
    """
    ranges = {key: _extremes(value) for key, value in space.items()}
    longest = max((len(values) for values in ranges.values()), default=0)
    return [
        {key: values[min(index, len(values) - 1)] for key, values in ranges.items()}
        for index in range(longest)
    ]


def _extremes(value: Any) -> list[Any]:
    if isinstance(value, Categorical):
        return list(value.categories)
    if isinstance(value, Integer):
        return [value.lower, value.upper - 1]
    if isinstance(value, Float) and abs(value.lower) < float("inf") > abs(value.upper):
        return [value.lower, value.upper]
    if isinstance(value, Domain):
        return [value.sample()]
    if isinstance(value, dict):
        return list(value["grid_search"]) if set(value) == {"grid_search"} else corners(value)
    return [value]
