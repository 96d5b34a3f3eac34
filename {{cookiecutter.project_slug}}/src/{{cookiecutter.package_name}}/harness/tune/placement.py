"""RESOURCES_PER_TRIAL, as Ray takes it."""

from collections.abc import Mapping, Sequence

from ray.tune import PlacementGroupFactory

RAY_NAMES = {"cpu": "CPU", "gpu": "GPU"}
Bundle = Mapping[str, float]


def ray_names(bundle: Bundle) -> dict[str, float]:
    """A bundle of RESOURCES_PER_TRIAL with Ray's names, without amounts of 0."""
    return {RAY_NAMES.get(name, name): amount for name, amount in bundle.items() if amount}


def placement(resources: Bundle | Sequence[Bundle]) -> PlacementGroupFactory:
    """RESOURCES_PER_TRIAL, as `tune.run` takes it."""
    bundles = [resources] if isinstance(resources, Mapping) else resources
    return PlacementGroupFactory([ray_names(bundle) for bundle in bundles])
