"""The workers of a trial: actors in its placement group, which end with the trial."""

from typing import Any

import ray
from ray import tune
from ray.util import get_current_placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy


class Workers:
    """Ray actors that work for one trial: one in each bundle of its placement group but the first.

    Parameters
    ----------
    resources : PlacementGroupFactory or None
        The trial's `trial_resources`. None: there are no workers.
    kind : type
        Their class, without a decorator. Its `__init__` takes the worker's number, the number of
        workers, and `values`.
    values : objects
        Passed to the workers through Ray's object store.
    """

    def __init__(
        self, resources: tune.PlacementGroupFactory | None, kind: type, *values: Any
    ) -> None:
        self._actors: list[Any] = []
        group = get_current_placement_group() if resources else None
        if resources is None or group is None:
            return
        first = 0 if resources.head_bundle_is_empty else 1  # Ray omits an empty first bundle
        bundles = resources.bundles[first:]
        shared = [ray.put(value) for value in values] if bundles else []
        for rank, bundle in enumerate(bundles):
            options = {
                "num_cpus": bundle.pop("CPU", 0),
                "num_gpus": bundle.pop("GPU", 0),
                "memory": bundle.pop("memory", None),
                "resources": bundle,
                "scheduling_strategy": PlacementGroupSchedulingStrategy(group, first + rank),
            }
            actor: Any = ray.remote(kind).options(**options)
            self._actors.append(actor.remote(rank, len(bundles), *shared))

    def __len__(self) -> int:
        return len(self._actors)

    def call(self, method: str, *values: Any) -> list[Any]:
        """What a method of each worker returns. Raises the first error, without waiting for all."""
        return ray.get([getattr(actor, method).remote(*values) for actor in self._actors])

    def call_first(self, method: str, *values: Any) -> Any:
        """What a method of the first worker returns."""
        return ray.get(getattr(self._actors[0], method).remote(*values))

    def end(self) -> None:
        """Kill the processes of the workers."""
        while self._actors:
            ray.kill(self._actors.pop())


class WithWorkers(tune.Trainable):
    """A Trainable that may have workers."""

    _workers: Workers | None = None

    def start_workers(self, kind: type, *values: Any) -> Workers:
        """Start a worker in each bundle of RESOURCES_PER_TRIAL but the first: see `Workers`.

        They end with the trial. Without Ray there are none: in `check`, tests and late exports.
        """
        if self._workers is not None:  # `setup` is called again
            self._workers.end()
        resources = None if self._storage is None else self.trial_resources
        self._workers = Workers(resources, kind, *values)
        return self._workers

    def stop(self) -> None:
        """End the trial in this process, and its workers."""
        try:
            super().stop()  # type: ignore[no-untyped-call]
        finally:
            if self._workers is not None:
                self._workers.end()
