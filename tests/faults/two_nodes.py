"""A Ray cluster of two nodes with a cpu each, on this machine, until it is killed."""

import signal

from ray.cluster_utils import Cluster  # type: ignore[import-not-found, unused-ignore]

cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
second = cluster.add_node(num_cpus=1)
cluster.wait_for_nodes()
(raylet,) = second.all_processes["raylet"]
print(f"second node {raylet.process.pid}", flush=True)
print(f"cluster at {cluster.address}", flush=True)
signal.pause()
