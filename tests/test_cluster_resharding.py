"""Another number of shards: everything is kept, whatever interrupts it."""

import numpy as np
import pytest

import hashret
import hashret.cluster.resharding as resharding
from hashret.cluster.layout import shard_of
from hashret.cluster.making import Learning, make_cluster, open_source_for
from hashret.cluster.storage import ClusterStorage
from hashret.encoder import SemanticHasher
from hashret.errors import IndexLockedError
from hashret.ingest import no_progress
from hashret.store import WriterLock


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A cluster of two shards, each filled as an index is, and what it holds."""
    home = tmp_path_factory.mktemp("made")
    file = home / "rows.npy"
    rows = np.random.default_rng(0).normal(size=(1000, 8)).astype(np.float32)
    np.save(file, rows)
    storage = ClusterStorage.at(home / "c")
    how = Learning(SemanticHasher(16, epochs=1, random_state=0), keep_vectors=True)
    layout = make_cluster(storage, open_source_for(storage, None, file), 2, how, no_progress)
    for number, folder in enumerate(layout.folders()):
        own = [n for n in range(1000) if shard_of(str(n), 2) == number]
        with hashret.open(storage.reading(folder)) as index:
            index.add([(str(n), rows[n], {"n": n, f"only{number}": 1}) for n in own[:-5]])
            index.remove([str(own[0])])
            index.index_field("n")
    with hashret.open(storage.reading(layout.folder(0))) as index:
        extra = home / "extra.npy"
        np.save(extra, rows[:3] + 1)
        index.add(extra, key_prefix="x", replace=True)
        index.remove([key for key in ("x0", "x1", "x2") if shard_of(key, 2) != 0])
    return storage


@pytest.fixture
def storage(made, tmp_path):
    import shutil

    return ClusterStorage.at(shutil.copytree(made.root, tmp_path / "c"))


def held(storage):
    found = {}
    layout = storage.layout()
    for number, folder in enumerate(layout.folders()):
        with hashret.open(storage.reading(folder)) as index:
            assert index.verify().ok
            assert index.info()["field_indexes"] == ["n"]
            for item in index.items(None):
                assert item.key not in found
                assert layout.shard_of(item.key) == number
                found[item.key] = (
                    item.code.tobytes(),
                    item.fields,
                    item.location,
                    index._store.vectors_of([item.row]).tobytes(),
                )
    return found


def folders(storage):
    from pathlib import Path

    return sorted(path.name for path in Path(storage.root).glob("shards-*"))


def test_there_and_back_keeps_everything(storage):
    before = held(storage)
    assert any(location for _, _, location, _ in before.values())
    assert resharding.reshard(storage, 3).shards == 3
    assert held(storage) == before
    assert folders(storage) == ["shards-2"]
    resharding.reshard(storage, 2)
    assert held(storage) == before
    assert folders(storage) == ["shards-3"]


def test_all_shards_know_all_fields(storage):
    resharding.reshard(storage, 3)
    for folder in storage.layout().folders():
        with hashret.open(storage.reading(folder)) as index:
            assert index.field_names == ["n", "only0", "only1"]


@pytest.mark.parametrize("moment", ["make_shard", "_bring", "publish_due"])
def test_interrupted_the_old_shards_answer_and_the_next_run_is_whole(storage, moment, monkeypatch):
    before = held(storage)

    def stop(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(resharding, moment, stop)
        with pytest.raises(KeyboardInterrupt):
            resharding.reshard(storage, 3)
    assert storage.layout().generation == 1
    assert held(storage) == before
    resharding.reshard(storage, 3)
    assert held(storage) == before
    assert folders(storage) == ["shards-2"]


def test_interrupted_before_the_old_shards_are_removed(storage, monkeypatch):
    before = held(storage)
    removed = resharding._remove_others
    calls = []

    def only_once(*arguments):
        calls.append(arguments)
        if len(calls) > 1:
            raise KeyboardInterrupt
        removed(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(resharding, "_remove_others", only_once)
        with pytest.raises(KeyboardInterrupt):
            resharding.reshard(storage, 3)
    assert held(storage) == before
    resharding.reshard(storage, 3)
    assert folders(storage) == ["shards-2"]
    assert held(storage) == before


def test_nobody_may_be_writing(storage):
    with WriterLock(storage.writing("shards-1/00001")), pytest.raises(IndexLockedError):
        resharding.reshard(storage, 3)
    assert folders(storage) == ["shards-1"]
