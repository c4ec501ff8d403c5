"""A cluster answers as one index does, whole or not at all."""

import os
import shutil
import signal
import threading
import time
from contextlib import suppress

import numpy as np
import pytest
from cluster_fixtures import made_index, split, tied_vectors

import hashret
from hashret.cluster import replicas as replicas_module
from hashret.cluster.actors import Refusal
from hashret.cluster.published import storage_at
from hashret.cluster.resharding import reshard

pytestmark = pytest.mark.usefixtures("ray_cluster")


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    with made_index(tmp_path_factory.mktemp("one") / "index", keep_vectors=True) as index:
        yield index


@pytest.fixture(scope="module")
def place(index, tmp_path_factory):
    return split(index, tmp_path_factory.mktemp("many") / "cluster", 5)


@pytest.fixture(scope="module")
def cluster(place, ray_cluster):
    with hashret.open_cluster(place, replicas=2) as cluster:
        yield cluster
        assert replicas_module.stop_readers(cluster._ray, cluster.path) == 10


def hits(result):
    assert [hit.rank for hit in result] == list(range(1, len(result) + 1))
    return [
        (hit.key, hit.distance, hit.similarity, hit.code.tobytes(), hit.fields, hit.vector_distance)
        for hit in result
    ]


def all_readers(cluster, seconds=90):
    """What all ten readers tell, once each has been started (again)."""
    latest = time.monotonic() + seconds
    while len(found := cluster.replicas.processes()) < 10:
        assert time.monotonic() < latest
        time.sleep(0.3)
    return found


CUTS = [
    {"limit": 1},
    {"limit": 10},
    {"limit": 333},
    {"radius": 2, "limit": None},
    {"radius": 3, "limit": 50},
    {"radius": 0, "limit": 7},
    {"limit": 20, "where": "third = 1"},
    {"limit": 5, "where": "n < 9"},
    {"limit": 5_000},
]


@pytest.mark.parametrize("cut", CUTS, ids=str)
def test_answers_are_those_of_one_index_ties_included(cluster, index, cut):
    values = tied_vectors(40, seed=7)
    found = cluster.query_many(values, **cut)
    expected = index.query_many(values, order="key", **cut)
    assert [hits(one) for one in found] == [hits(one) for one in expected]
    assert [one.code.tobytes() for one in found] == [one.code.tobytes() for one in expected]
    key = next(iter(index))
    assert hits(cluster.query_key(key, **cut)) == hits(index.query_key(key, order="key", **cut))
    code = expected[3].code
    assert hits(cluster.query_code(code, **cut)) == hits(index.query_code(code, order="key", **cut))


def test_whole_rings_are_those_of_one_index_in_its_own_order(cluster, index):
    for value in tied_vectors(10, seed=8):
        found = cluster.query(value, radius=3, limit=None).rings
        expected = index.query(value, radius=3, limit=None).rings
        assert list(found) == list(expected)
        for distance, ring in expected.items():
            assert {hit.key for hit in found[distance]} == {hit.key for hit in ring}


def test_certainty_and_vectors_order_as_in_one_index(cluster, index):
    values = tied_vectors(10, seed=9)
    for found, expected in zip(
        cluster.query_many(values, limit=15, order="certainty"),
        index.query_many(values, limit=400, order="certainty"),
        strict=True,
    ):
        # Equal codes tie: one index tells them apart by row, a cluster by key.
        assert [(hit.distance, hit.code.tobytes()) for hit in found] == [
            (hit.distance, hit.code.tobytes()) for hit in expected[:15]
        ]
    for options in ({"rerank": True}, {"rerank": True, "shortlist": 30}):
        found = cluster.query_many(values, limit=8, **options)
        expected = index.query_many(values, limit=8, order="key", **options)
        assert [hits(one) for one in found] == [hits(one) for one in expected]
        assert all(one.reranked for one in found)
    key = next(iter(index))
    assert hits(cluster.query_key(key, limit=8, rerank=True)) == hits(
        index.query_key(key, limit=8, rerank=True, order="key")
    )


def test_it_tells_what_it_holds(cluster, index):
    assert len(cluster) == len(index)
    keys = list(index)
    assert list(cluster) == sorted(keys)
    assert keys[5] in cluster
    assert "nobody" not in cluster
    assert cluster[keys[5]].fields == index[keys[5]].fields
    assert [item.key for item in cluster.items(7)] == sorted(keys)[:7]
    assert [item.key for item in cluster.items(None, "n < 3")] == sorted(
        item.key for item in index.items(where="n < 3")
    )
    assert cluster.field_names == ["n", "third"]
    told = cluster.info()
    assert told["items"] == len(index)
    assert sum(shard["items"] for shard in told["shards"]) == len(index)
    assert len(told["shards"]) == 5
    assert "5 shards" in cluster.query_key(keys[0]).stats.plan


def test_what_is_asked_wrongly_is_refused_as_by_an_index(cluster):
    with pytest.raises(hashret.UsageError, match="third ="):
        cluster.query(np.zeros(6, np.float32), where="third =")
    with pytest.raises(hashret.InputError, match=r"shape \(6,\), got shape \(7,\)"):
        cluster.query(np.zeros(7, np.float32))
    with pytest.raises(hashret.KeyNotFoundError, match="nobody"):
        cluster.query_key("nobody")
    with pytest.raises(hashret.UsageError, match="no common order of being added"):
        cluster.query(np.zeros(6, np.float32), order="row")
    with pytest.raises(hashret.UsageError):
        cluster.query(np.zeros(6, np.float32), limit=0)
    with pytest.raises(hashret.UsageError, match="replicas"):
        hashret.open_cluster(cluster.path, replicas=0)
    with pytest.raises(hashret.IndexNotFoundError, match="no cluster at"):
        hashret.open_cluster(cluster.path + "-nowhere")


def test_readers_of_a_shard_are_on_different_nodes(cluster):
    nodes = {}
    for (name, _), told in all_readers(cluster).items():
        nodes.setdefault(name, set()).add(told["node"])
    assert len(nodes) == 5
    assert all(len(own) == 2 for own in nodes.values())


def test_what_a_shard_takes_in_is_found_at_once(cluster, index, place):
    value = np.full(6, 9, np.float32)
    folder = place / cluster.layout.folder(cluster.layout.shard_of("new"))
    with hashret.open(folder) as shard:
        shard.add([("new", value, {"n": -1})])
        try:
            assert cluster.query(value, limit=1)[0].key == "new"
        finally:
            shard.remove("new")
    assert "new" not in cluster


def test_killed_readers_are_stood_in_for_and_come_back(cluster, index):
    values = tied_vectors(30, seed=10)
    expected = [hits(one) for one in index.query_many(values, order="key")]
    before = cluster.replicas.retried
    wrong, asked, ending = [], [0], threading.Event()

    def ask():
        while not ending.is_set():
            found = [hits(one) for one in cluster.query_many(values)]
            asked[0] += 1
            if found != expected:
                wrong.append(found)

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        for turn in range(4):
            os.kill(list(all_readers(cluster).values())[turn]["pid"], signal.SIGKILL)
            time.sleep(0.7)
    finally:
        ending.set()
        thread.join()
    assert not wrong
    assert asked[0] > 4
    assert cluster.replicas.retried > before
    all_readers(cluster)


def test_a_reader_that_hangs_is_ended_and_stood_in_for(cluster, index, monkeypatch):
    monkeypatch.setattr(replicas_module, "SILENT_SECONDS", 3.0)
    before = all_readers(cluster)
    shard = cluster.layout.folders()[0]
    value = np.zeros(6, np.float32)
    right = hits(index.query(value, limit=20, order="key"))
    for _ in range(2):  # each replica has answered
        assert hits(cluster.query(value, limit=20)) == right
    hung = before[shard, 0]["pid"]
    os.kill(hung, signal.SIGSTOP)
    try:
        for _ in range(4):
            assert hits(cluster.query(value, limit=20)) == right
        assert all_readers(cluster)[shard, 0]["pid"] != hung
    finally:
        with suppress(ProcessLookupError):
            os.kill(hung, signal.SIGKILL)


def test_what_one_reader_cannot_do_another_is_asked(cluster):
    asked = []

    def ask(reader):
        asked.append(reader)
        if len(asked) == 1:
            return cluster._ray.put(Refusal("HashretError", "The disk is full."))
        return reader.ask.remote("n_bits")

    assert cluster.replicas.ask({2: ask}) == ({2: 16}, ())
    assert len(asked) == 2
    refused = cluster._ray.put(Refusal("HashretError", "The disk is full."))
    with pytest.raises(hashret.HashretError, match="disk is full"):
        cluster.replicas.ask({2: lambda _: refused})
    assert cluster.replicas.ask({2: lambda _: refused}, partial=True)[1] == ("shards-1/00002",)


def test_shards_that_were_spread_anew_meanwhile_are_asked(index, tmp_path):
    place = split(index, tmp_path / "cluster", 2)
    value = np.zeros(6, np.float32)
    right = hits(index.query(value, limit=30, order="key"))
    with hashret.open_cluster(place) as cluster:
        for shards in (3, 1):
            assert hits(cluster.query(value, limit=30)) == right
            reshard(storage_at(place), shards)
            assert hits(cluster.query(value, limit=30)) == right
            assert (cluster.layout.shards, len(cluster)) == (shards, len(index))
        reshard(storage_at(place), 2)
    with hashret.open_cluster(place) as cluster:  # ends the reader of the one shard there was
        assert hits(cluster.query(value, limit=30)) == right
        assert replicas_module.stop_readers(cluster._ray, cluster.path) == 2


def test_a_cluster_that_was_made_anew_is_not_asked_for_codes_of_the_old(index, tmp_path):
    place = split(index, tmp_path / "cluster", 2)
    value = np.zeros(6, np.float32)
    with hashret.open_cluster(place) as cluster:
        cluster.query(value)
        shutil.rmtree(place)
        items = [(f"v{n}", row) for n, row in enumerate(tied_vectors(seed=3))]
        with hashret.create(tmp_path / "new", items, 16, epochs=1, random_state=1) as new:
            split(new, place, 2)
        for partial in (False, True):
            with pytest.raises(hashret.IndexNotFoundError, match="made anew"):
                cluster.query(value, partial=partial)
    with hashret.open_cluster(place) as cluster:
        assert len(cluster.query(value)) == 10
        replicas_module.stop_readers(cluster._ray, cluster.path)


def test_a_shard_that_is_nowhere_is_named_or_waited_for(place, index, monkeypatch):
    import ray

    with hashret.open_cluster(place, replicas=2) as cluster:
        value = tied_vectors(1, seed=11)[0]
        shard = 2
        for replica in range(2):
            ray.kill(cluster.replicas._readers[shard, replica])
        monkeypatch.setattr(replicas_module.Replicas, "_revive", lambda *_: None)
        monkeypatch.setattr(replicas_module, "RECOVERY_SECONDS", 1.0)
        name = cluster.layout.folder(shard)
        with pytest.raises(hashret.ShardUnavailableError, match=name) as error:
            cluster.query(value)
        assert error.value.shards == (name,)
        found = cluster.query(value, limit=None, radius=16, partial=True)
        assert found.missing_shards == (name,)
        assert cluster.fields_of_shards(partial=True) == ["n", "third"]
        assert {hit.key for hit in found} == {
            key for key in index if cluster.layout.shard_of(key) != shard
        }
        monkeypatch.undo()
        whole = cluster.query(value, limit=None, radius=16, partial=False)
        assert whole.missing_shards == ()
        assert {hit.key for hit in whole} == set(index)


def test_a_node_that_dies_while_it_is_asked_costs_no_answer(cluster, index, ray_cluster):
    values = tied_vectors(20, seed=12)
    expected = [hits(one) for one in index.query_many(values, order="key")]
    assert [hits(one) for one in cluster.query_many(values)] == expected
    before = all_readers(cluster)
    node = next(iter(ray_cluster.worker_nodes))
    killer = threading.Timer(0.3, lambda: ray_cluster.remove_node(node, allow_graceful=False))
    killer.start()
    started = time.monotonic()
    while killer.is_alive() or time.monotonic() - started < 2:
        assert [hits(one) for one in cluster.query_many(values)] == expected
    while len(found := cluster.replicas.processes()) < len(before):
        assert time.monotonic() - started < 120
        assert [hits(one) for one in cluster.query_many(values)] == expected
    for shard in cluster.layout.folders():
        assert found[shard, 0]["node"] != found[shard, 1]["node"]
    assert [hits(one) for one in cluster.query_many(values)] == expected
