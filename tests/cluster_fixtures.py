"""Ray on this machine, of nodes that share its file system, and shards made by hand."""

import json
import logging
import os
import shutil
import warnings
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np
import pytest

import hashret
from hashret.cluster.cluster_layout import LEARNED, Layout, shard_of
from hashret.cluster.storage import ClusterStorage
from hashret.index.snapshot import publish_due
from hashret.store import ItemStore, NewItem

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


@pytest.fixture(scope="module")
def ray_cluster():
    """Three nodes, of which each may be killed but the first."""
    with nodes(2) as cluster:
        yield cluster


def split(index, root: Path, shards: int) -> Path:
    """The items of an index as a cluster of so many shards."""
    layout = Layout(
        shards, 1, index.fingerprint, index.n_bits, index.kind, "0", "2026-01-01T00:00:00+00:00"
    )
    with index.reader.state():
        settings = index.reader.store.settings()
    for name in ("items", "generation", "commit", "identity"):
        settings.pop(name, None)
    for number, folder in enumerate([LEARNED, *layout.folders()], start=-1):
        place = root / folder
        (place / "segments").mkdir(parents=True)
        if (index.path / "encoder").is_dir():
            shutil.copytree(index.path / "encoder", place / "encoder")
        with closing(ItemStore.create(place / "items.db", settings)) as store:
            if folder == LEARNED:
                continue
            mine = [item for item in index.items() if shard_of(item.key, shards) == number]
            with store.writing() as writer:
                rows = writer.insert(
                    (
                        NewItem(item.key, item.code.tobytes(), json.dumps(item.fields), bytes(16))
                        for item in mine
                    ),
                    None,
                )
                writer.note_fields(sorted({name for item in mine for name in item.fields}))
                if index.keeps_vectors and mine:
                    writer.keep_vectors(rows, index.vectors([item.key for item in mine]))
            publish_due(store, place, lambda *_: None)
    ClusterStorage(str(root)).write_layout(layout)
    return root


def tied_vectors(n=1200, seed=0):
    """Vectors in clouds, many of them equal: rings are large, and limits cut them."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(12, 6))
    rows = centres[rng.integers(12, size=n)] + rng.normal(scale=0.2, size=(n, 6))
    rows[::5] = rows[0]
    return rows.astype(np.float32)


def made_index(path: Path, **options):
    rows = tied_vectors()
    items = [(f"v{i * 7919 % 1201}", row, {"n": i, "third": i % 3}) for i, row in enumerate(rows)]
    return hashret.create(path, items, 16, epochs=3, random_state=0, **options)
