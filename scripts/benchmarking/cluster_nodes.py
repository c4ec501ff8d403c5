"""Ray on this machine for the benchmarks: nodes on loopback, each of which may be killed."""

from __future__ import annotations

import logging
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
OBJECTS = 200 << 20


@contextmanager
def nodes(count: int, cpus: int) -> Iterator[Any]:
    """A head and ``count`` more nodes, of so many processors each, to which this one connects."""
    # The nodes' processes must find the package as this one does.
    paths = [str(ROOT), str(ROOT / "scripts"), os.environ.get("PYTHONPATH", "")]
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
    os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_DATA_LOG_LEVEL", "ERROR")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    import ray
    from ray.cluster_utils import Cluster

    own = {"num_cpus": cpus, "object_store_memory": OBJECTS}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        cluster = Cluster(initialize_head=True, head_node_args={**own, "include_dashboard": False})
        try:
            for _ in range(count):
                cluster.add_node(**own)
            cluster.wait_for_nodes()
            ray.init(
                cluster.address,
                namespace="hashret",
                log_to_driver=False,
                logging_level=logging.ERROR,
            )
            yield cluster
        finally:
            ray.shutdown()
            cluster.shutdown()


def kill_node(cluster: Any) -> None:
    """Kill the node that was added last, and all that runs on it."""
    node = cluster.list_all_nodes()[-1]
    cluster.remove_node(node, allow_graceful=False)


def add_node(cluster: Any, cpus: int) -> None:
    """Add a node in the place of one that was killed."""
    cluster.add_node(num_cpus=cpus, object_store_memory=OBJECTS)
    cluster.wait_for_nodes()
