"""What only a running Ray can tell."""

from typing import Any

import ray
from ray.tune import Callback

from ..settings import PREFIX
from .refusal import Refusal

NAMES = {"cpu": "CPU", "gpu": "GPU"}


class ResourceCallback(Callback):
    """Refuses a trial that no node can ever hold; Ray would let it wait for ever."""

    def __init__(self, wanted: dict[str, float], wait: bool) -> None:
        self.wanted = {NAMES.get(name, name): amount for name, amount in wanted.items() if amount}
        self.wait = wait

    def setup(self, *_: Any, **info: Any) -> None:
        if self.wait:
            return
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        if not any(
            all(node.get(name, 0) >= amount for name, amount in self.wanted.items())
            for node in nodes
        ):
            largest = {name: max(node.get(name, 0) for node in nodes) for name in self.wanted}
            raise Refusal(
                f"{PREFIX}RESOURCES_PER_TRIAL={self.wanted}: no node has all of it (most on one"
                f" node: {largest}); {PREFIX}WAIT_FOR_RESOURCES=true waits for one that will come"
            )
