"""The writer of a shard, asked without Ray: what it takes in, and what it leaves alone."""

import numpy as np
import pytest

import hashret
from hashret.cluster.blocks import (
    blocks_of,
    delivery,
    skipped_block,
    split_skipped,
    values_of,
)
from hashret.cluster.failures import raised, told
from hashret.cluster.writing import ShardWriter
from hashret.errors import IndexLockedError, InputError
from hashret.index.differences import Origin
from hashret.sources import Item, Skipped, SkippedInputs, content_hash
from hashret.store import WriterLock

FILE = Origin("/data/rows.npy")


@pytest.fixture
def shard(tmp_path):
    rows = np.random.default_rng(0).normal(size=(300, 8)).astype(np.float32)
    with hashret.create(tmp_path / "shards-1" / "00000", rows, n_bits=16, epochs=1) as index:
        index.remove([str(row) for row in range(300)])
    return tmp_path


@pytest.fixture
def writer(shard):
    writer = ShardWriter(str(shard), "shards-1/00000")
    yield writer
    writer._open.close()  # as its process does by its end


def block(items):
    (only,) = blocks_of(items, 0, 1000)
    return only


def given(items, codes=None):
    return delivery(block(items), list(range(len(items))), codes)


def rows(*numbers, scale=1, **fields):
    return [Item(str(n), np.full(8, n * scale, dtype=np.float32), dict(fields), n) for n in numbers]


CODES = {n: bytes([n, n]) for n in range(10)}


def state(shard):
    with hashret.open(shard / "shards-1" / "00000") as index:
        assert index.verify().ok
        return {
            item.key: (item.code.tobytes(), item.fields, item.location)
            for item in index.items(None)
        }


def test_a_batch_given_twice_changes_nothing(shard, writer):
    batch = given(rows(0, 1, 2, label=1), CODES)
    assert writer.store(FILE, batch, None, ["label"]) == (3, 0, 0)
    before = state(shard)
    assert before["2"] == (b"\2\2", {"label": 1}, "/data/rows.npy#2")
    assert writer.store(FILE, batch, None, ["label"]) == (0, 0, 0)
    assert state(shard) == before


def test_a_batch_is_on_disk_when_it_is_acknowledged(shard, writer):
    writer.store(FILE, given(rows(0, 1), CODES), None, [])
    assert state(shard).keys() == {"0", "1"}


def test_only_what_is_new_has_to_be_encoded(shard, writer):
    writer.store(FILE, given(rows(0, 1, 2), CODES), None, [])
    now = [*rows(0), *rows(1, scale=5), *rows(2, label=7), *rows(3)]
    compared = writer.compare(FILE, None, given(now))
    assert compared == ([1, 3], [2])
    some = delivery(block(now), [1, 2, 3], {1: b"ab", 3: b"cd"})
    assert writer.store(FILE, some, None, ["label"]) == (1, 2, 1)
    place = "/data/rows.npy#"
    assert state(shard) == {
        "0": (b"\0\0", {}, f"{place}0"),
        "1": (b"ab", {}, f"{place}1"),
        "2": (b"\2\2", {"label": 7}, f"{place}2"),
        "3": (b"cd", {}, f"{place}3"),
    }


def test_another_file_s_row_is_refused_and_nothing_stored(shard, writer):
    writer.store(FILE, given(rows(1), CODES), None, [])
    other = Origin("/data/other.npy")
    with pytest.raises(InputError, match=r"other.npy already belongs .* from /data/rows.npy"):
        writer.compare(other, None, given(rows(1, 2, scale=3)))
    with pytest.raises(InputError):
        writer.store(other, given(rows(2, 1, scale=3), CODES), None, [])
    assert state(shard).keys() == {"1"}
    taking = Origin("/data/other.npy", replace=True)
    assert writer.store(taking, given(rows(1, scale=3), CODES), None, []) == (0, 1, 1)
    assert state(shard)["1"][2] == "/data/other.npy#1"


def test_removed_items_are_gone_and_others_stay(shard, writer):
    writer.store(FILE, given(rows(0, 1, 2), CODES), None, [])
    assert writer.held(["1", "9"]) == ["1"]
    assert writer.remove(["1", "9"]) == 1
    assert writer.remove(["1", "9"]) == 0
    assert state(shard).keys() == {"0", "2"}


def test_a_shard_is_locked_while_it_is_open_and_free_when_it_is_finished(shard, monkeypatch):
    monkeypatch.setattr("hashret.cluster.writing.PATIENCE_SECONDS", 0.1)
    writer = ShardWriter(str(shard), "shards-1/00000")
    writer.count()
    with pytest.raises(IndexLockedError):
        ShardWriter(str(shard), "shards-1/00000").count()
    assert writer.finish(["label"], {"/t.csv": {"column": "text"}}) == 0
    with WriterLock(shard / "shards-1" / "00000"):
        pass
    with hashret.open(shard / "shards-1" / "00000") as index:
        assert index.field_names == ["label"]
        assert index.columns_taken == {"/t.csv": {"column": "text"}}


def test_finishing_makes_search_tables(shard, writer, monkeypatch):
    monkeypatch.setattr("hashret.index.snapshot.SEGMENT_ROWS", 3)
    writer.store(FILE, given(rows(0, 1, 2), CODES), None, [])
    assert writer.finish([], {}) == 3
    with hashret.open(shard / "shards-1" / "00000") as index:
        assert index.info()["segments"] == 1


@pytest.mark.parametrize(
    "value",
    [
        "text with \ud800 and ü",
        b"bytes of a file",
        np.arange(6, dtype=">i2").reshape(2, 3),
        np.float32([[1.5, -0.0]]),
    ],
)
def test_values_arrive_as_they_were(value):
    (back,) = values_of(block([Item("a", value)]))
    assert type(back) is type(value)
    assert content_hash(back) == content_hash(value)
    again = values_of(block([Item("a", value), Item("b", b"x")]))[0]
    assert content_hash(again) == content_hash(value)


def test_what_was_skipped_travels_with_the_items():
    skipped = SkippedInputs([Skipped("a.png", "damaged")])
    skipped.unnamed = 7
    items, found = split_skipped(skipped_block(skipped, 0))
    assert len(items) == 0
    assert list(found) == [Skipped("a.png", "damaged")]
    assert found.total == 8


def test_an_error_of_another_process_is_the_same_here():
    error = raised(*told(InputError("no such thing")))
    assert type(error) is InputError
    assert str(error) == "no such thing"
    assert told(RuntimeError()) is None
