"""Another number of shards: everything is kept, whatever interrupts it."""

import shutil
from contextlib import suppress

import numpy as np
import pytest

import hashret
import hashret.cluster.resharding as resharding
from hashret.cluster.cluster_layout import shard_of
from hashret.cluster.making import Learning, make_cluster, open_source_for
from hashret.cluster.published import storage_at
from hashret.encoder import SemanticHasher
from hashret.errors import HashretError, IndexChangedError, IndexLockedError
from hashret.progress import no_progress
from hashret.store import WriterLock


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A cluster of two shards, each filled as an index is, and what it holds."""
    home = tmp_path_factory.mktemp("made")
    file = home / "rows.npy"
    rows = np.random.default_rng(0).normal(size=(1000, 8)).astype(np.float32)
    np.save(file, rows)
    storage = storage_at(home / "c")
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
    return storage_at(shutil.copytree(made.root, tmp_path / "c"))


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


# Others, meanwhile


@pytest.fixture
def node(made, tmp_path, monkeypatch):
    """The storage of a cluster behind a URL, as a machine of this name has it."""
    url = f"file://{tmp_path}/mnt/c"

    def storage(name):
        monkeypatch.setenv("HASHRET_CACHE", str(tmp_path / "caches" / name))
        return storage_at(url)

    first = storage("first")
    for folder in ("learned", *made.layout().folders()):
        shutil.copytree(made.reading(folder), first.writing(folder))
        first.publish(folder)
    first.write_layout(made.layout())
    return storage


def meanwhile(monkeypatch, name, do, *, after=False):
    """Something happens once when resharding calls a function of its own, or has called it."""
    called = getattr(resharding, name)
    left = [do]

    def call(*arguments):
        if not after and left:
            left.pop()()
        result = called(*arguments)
        if after and left:
            left.pop()()
        return result

    monkeypatch.setattr(resharding, name, call)


@pytest.mark.parametrize("shards", [2, 3, 4])
def test_who_comes_second_does_not_touch_what_the_first_one_made(storage, shards, monkeypatch):
    before = held(storage)
    lock = resharding.WriterLock
    first = [lambda: resharding.reshard(storage, 3)]

    def late(folder):
        if first:
            first.pop()()
        return lock(folder)

    monkeypatch.setattr(resharding, "WriterLock", late)
    with pytest.raises(IndexChangedError, match="another run changed it"):
        resharding.reshard(storage, shards)
    assert folders(storage) == ["shards-2"]
    assert held(storage) == before


MOMENTS = [
    ("_remove_others", False),
    ("_make", False),
    ("_make", True),
    ("_move", False),
    ("_move", True),
    ("_replace_layout", False),
]


@pytest.mark.parametrize(("moment", "after"), MOMENTS)
def test_two_nodes_that_reshard_at_once_leave_one_whole_cluster(node, moment, after, monkeypatch):
    before = held(node("first"))
    one, other = node("one"), node("other")

    def reshard_there():
        with suppress(HashretError):
            resharding.reshard(other, 3)

    meanwhile(monkeypatch, moment, reshard_there, after=after)
    with suppress(HashretError):
        resharding.reshard(one, 4)
    assert held(node("reader")) == before
    resharding.reshard(node("one"), 5)
    assert held(node("reader")) == before


def test_what_another_node_publishes_meanwhile_is_kept(node, tmp_path, monkeypatch):
    before = held(node("first"))
    extra = str(next(n for n in range(2000, 3000) if shard_of(str(n), 2) == 1))
    one, other = node("one"), node("other")

    def add():
        with hashret.open(other.writing("shards-1/00001")) as index:
            index.add([(extra, np.ones(8, np.float32), {"n": 1})])
        other.publish("shards-1/00001")

    with monkeypatch.context() as patch:
        meanwhile(patch, "_move", add, after=True)
        with pytest.raises(IndexChangedError, match=r"00001 was changed by another run"):
            resharding.reshard(one, 3)
    assert {path.name for path in tmp_path.glob("mnt/c/shards-*")} == {"shards-1"}
    assert set(held(node("reader"))) == {*before, extra}
    resharding.reshard(one, 3)
    assert set(held(node("reader"))) == {*before, extra}


def test_what_is_published_in_the_last_moment_is_kept_too(node, monkeypatch):
    before = held(node("first"))
    extra = str(next(n for n in range(2000, 3000) if shard_of(str(n), 2) == 1))
    one, other = node("one"), node("other")
    write = type(one).write_layout

    def late(storage, layout):
        write(storage, layout)
        if layout.generation == 2:
            other.publish("shards-1/00001")

    with hashret.open(other.writing("shards-1/00001")) as index:
        index.add([(extra, np.ones(8, np.float32), {"n": 1})])
    with monkeypatch.context() as patch:
        patch.setattr(type(one), "write_layout", late)
        with pytest.raises(IndexChangedError):
            resharding.reshard(one, 3)
    assert set(held(node("reader"))) == {*before, extra}
