"""A Ray cluster of one node with two cpus, on this machine, as long as who started it lives.

    python one_node.py FOLDER

It says its address. FOLDER is where Ray keeps its sockets and logs; its path has to be short.
"""

import os
import sys
import time

import ray

parent = os.getppid()
ray.init(
    num_cpus=2, include_dashboard=False, object_store_memory=200_000_000, _temp_dir=sys.argv[1]
)
print(f"cluster at {ray.get_runtime_context().gcs_address}", flush=True)
while os.getppid() == parent:  # SIGTERM ends it, too
    time.sleep(0.5)
