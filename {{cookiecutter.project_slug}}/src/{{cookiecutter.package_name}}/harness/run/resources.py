"""What a trial occupies, against what the nodes have."""

from typing import Any

import ray
from ray.tune import Callback

from ..errors import Refusal
from ..settings import RunSettings

RAY_NAMES = {"cpu": "CPU", "gpu": "GPU"}


class ResourceCallback(Callback):
    """Refuses a trial that no node can ever hold; Ray would let it wait for ever."""

    def __init__(self, settings: RunSettings) -> None:
        self.settings = settings

    def setup(self, *_: Any, **info: Any) -> None:
        if self.settings.wait_for_resources:
            return
        wanted = {
            RAY_NAMES.get(name, name): amount
            for name, amount in self.settings.resources_per_trial.items()
            if amount
        }
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        if not any(all(node.get(k, 0) >= v for k, v in wanted.items()) for node in nodes):
            largest = {name: max(node.get(name, 0) for node in nodes) for name in wanted}
            raise Refusal(
                f"{self.settings.variable('resources_per_trial')}={wanted}: no node has all of it"
                f" (most on one node: {largest}); {self.settings.variable('wait_for_resources')}"
                "=true waits for one that will come"
            )
