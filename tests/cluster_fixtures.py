"""A Ray cluster on this machine, of nodes that share its file system."""

import logging
import os
import warnings
from contextlib import contextmanager
from pathlib import Path

import pytest

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_DATA_LOG_LEVEL", "ERROR")
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
# The nodes' processes must find the package as these tests do.
os.environ["PYTHONPATH"] = os.pathsep.join(
    [str(Path(__file__).parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])]
)

OBJECTS = 100 << 20


@contextmanager
def nodes(count: int, cpus: int = 1):
    """A cluster of a head and ``count`` more nodes, to which this process is connected."""
    ray = pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        cluster = Cluster(
            initialize_head=True,
            head_node_args={
                "num_cpus": cpus,
                "object_store_memory": OBJECTS,
                "include_dashboard": False,
            },
        )
        cluster.more = [
            cluster.add_node(num_cpus=cpus, object_store_memory=OBJECTS) for _ in range(count)
        ]
        cluster.wait_for_nodes()
        ray.init(
            address=cluster.address,
            namespace="hashret",
            log_to_driver=False,
            logging_level=logging.ERROR,
        )
    try:
        yield cluster
    finally:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ray.shutdown()
            cluster.shutdown()
