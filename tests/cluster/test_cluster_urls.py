"""A cluster behind a URL, made, asked and changed by processes that only know the URL."""

import os
import threading
import time
from contextlib import suppress

import numpy as np
import pytest
from cluster_fixtures import nodes

import hashret
from hashret.cluster.cluster_changes import remove_from_cluster
from hashret.cluster.making import create_cluster
from hashret.cluster.published import storage_at
from hashret.cluster.resharding import reshard

pytestmark = pytest.mark.filterwarnings("ignore:::ray", "ignore::ResourceWarning")

LEARN = {"n_bits": 16, "epochs": 1, "random_state": 0}


@pytest.fixture(scope="module", autouse=True)
def ray_nodes(tmp_path_factory):
    """Nodes whose processes keep their copies in a folder of these tests."""
    before = os.environ.get("HASHRET_CACHE")
    os.environ["HASHRET_CACHE"] = str(tmp_path_factory.mktemp("copies"))
    try:
        with nodes(1) as cluster:
            yield cluster
    finally:
        del os.environ["HASHRET_CACHE"]
        if before is not None:
            os.environ["HASHRET_CACHE"] = before


@pytest.fixture
def url(tmp_path):
    return f"file://{tmp_path}/mnt/cluster"


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "rows.npy"
    np.save(path, np.random.default_rng(0).normal(size=(4000, 8)).astype(np.float32))
    return path


def told(results):
    return [[(hit.rank, hit.key, hit.distance) for hit in result] for result in results]


def held(url):
    """Keys and codes of all shards, as they lie behind the URL."""
    storage, found = storage_at(url), {}
    for folder in storage.layout().folders():
        with hashret.open(storage.reading(folder, fresh=True)) as index:
            assert index.verify().ok
            for item in index.items(None):
                assert item.key not in found
                found[item.key] = item.code.tobytes()
    return found


def test_it_is_made_asked_changed_and_spread_anew(url, file, tmp_path):
    rows = np.load(file)
    report = create_cluster(url, file, 3, **LEARN)
    assert (report.added, len(report.skipped)) == (4000, 0)
    assert create_cluster(url, file, 3).unchanged == 4000
    with hashret.create(tmp_path / "one", file, **LEARN) as one:
        with hashret.open_cluster(url) as cluster:
            assert len(cluster) == 4000
            found = cluster.query_many(rows[:50], limit=20)
            assert told(found) == told(one.query_many(rows[:50], limit=20, order="key"))
        gone = [str(n) for n in range(0, 4000, 7)]
        one.remove(gone)
        assert remove_from_cluster(storage_at(url), gone) == (len(gone), 4000 - len(gone))
        reshard(storage_at(url), 2)
        with hashret.open_cluster(url) as cluster:
            assert len(cluster) == 4000 - len(gone)
            found = cluster.query_many(rows[:50], limit=20)
            assert told(found) == told(one.query_many(rows[:50], limit=20, order="key"))


def test_a_writer_that_is_killed_goes_on(url, file, monkeypatch):
    import ray

    monkeypatch.setattr("hashret.cluster.pipeline.items_at_a_time", lambda *_, **__: 500)
    few = np.load(file)[:50]
    create_cluster(url, few, 2, **LEARN)
    remove_from_cluster(storage_at(url), map(str, range(50)))
    killed = []

    def kill():
        folder = storage_at(url).layout().folder(1)
        for _ in range(6):
            time.sleep(0.3)
            with suppress(ValueError):  # it is not there yet, or no more
                writer = ray.get_actor(f"writer of {folder} of {url}", namespace="hashret")
                killed.append(ray.kill(writer, no_restart=False))

    thread = threading.Thread(target=kill)
    thread.start()
    report = create_cluster(url, file, 2)
    thread.join()
    assert killed
    assert report.added + report.unchanged == 4000
    with hashret.open_cluster(url) as cluster:
        codes = cluster.encode(list(np.load(file)))
    assert held(url) == {str(row): code.tobytes() for row, code in enumerate(codes)}
