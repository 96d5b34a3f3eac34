"""Whether the nodes have the resources that a trial needs."""

from typing import Any

import ray
from ray.tune import Callback

from ..errors import Refusal
from ..settings import RunSettings
from ..tune.placement import ray_names

Amounts = dict[str, float]


class ResourceCallback(Callback):
    """Refuses a run whose trials never fit on the nodes: Ray would let them wait forever."""

    def __init__(self, settings: RunSettings) -> None:
        self.settings = settings

    def setup(self, *_: Any, **info: Any) -> None:
        if self.settings.wait_for_resources:
            return
        bundles = [ray_names(bundle) for bundle in self.settings.resources_per_trial]
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        if reason := why_too_much([bundle for bundle in bundles if bundle], nodes):
            waits = f"{self.settings.variable('wait_for_resources')}=true waits for a node"
            raise Refusal(f"{self.settings.given('resources_per_trial')}: {reason}; {waits}")


def why_too_much(bundles: list[Amounts], nodes: list[Amounts]) -> str | None:
    """Why the bundles, each on one node, don't fit on the nodes; None if they seem to fit."""
    for bundle in bundles:
        wanted = bundles.count(bundle)
        held = sum(min(int(node.get(k, 0) / v + 1e-9) for k, v in bundle.items()) for node in nodes)
        if not held:
            largest = {name: max(node.get(name, 0) for node in nodes) for name in bundle}
            return f"no node has all of {bundle} (most on one node: {largest})"
        if held < wanted:
            return f"the nodes have room for {held} of its {wanted} bundles {bundle}"
    for name in dict.fromkeys(name for bundle in bundles for name in bundle):
        total = sum(bundle.get(name, 0) for bundle in bundles)
        there = sum(node.get(name, 0) for node in nodes)
        if total > there + 1e-9:
            return f"it needs {name} {total:g}, and all nodes together have {there:g}"
    return None
