"""Segments under an index: how they merge, who may be a hit, and what answers when they cannot."""

import json
import sqlite3
import zlib
from functools import partial
from itertools import pairwise
from math import log, log2

import numpy as np
import pytest

import hashret
from hashret.index import snapshot
from hashret.index.snapshot import publish_all, publish_due, take_snapshot
from hashret.search import CodeIndex, search_many
from hashret.store import ItemStore, NewItem

N_BYTES = 8


class Folder:
    """A store without an encoder: codes by row, and the segments that are made of them."""

    def __init__(self, path):
        self.path = path
        self.store = ItemStore.create(path / "items.db", {"n_bits": N_BYTES * 8})
        self.random = np.random.default_rng(0)
        self.codes = {}
        self.told = []

    def add(self, n):
        codes = self.random.integers(0, 4, (n, N_BYTES), dtype=np.uint8)
        before = max(self.codes, default=0)
        rows = range(before + 1, before + n + 1)
        with self.store.writing() as writer:
            writer.insert(
                (
                    NewItem(f"k{row}", code.tobytes(), "{}", bytes(16))
                    for row, code in zip(rows, codes, strict=True)
                ),
                None,
            )
        self.codes.update(zip(rows, codes, strict=True))

    def remove(self, rows):
        with self.store.writing() as writer:
            writer.delete_rows(rows)
        for row in rows:
            self.codes[row] = None

    def publish(self, *, everything=False):
        tell = lambda *told: self.told.append(told)  # noqa: E731
        (publish_all if everything else publish_due)(self.store, self.path, tell)

    def live(self):
        return {row: code for row, code in self.codes.items() if code is not None}

    def sizes(self):
        names = [name for name, _, _ in self.store.segments()]
        return [len(CodeIndex.open(self.path / "segments" / name)) for name in names]

    def check(self, radius=3):
        """Compare an answer with brute force."""
        live = self.live()
        query = self.random.integers(0, 4, (1, N_BYTES), dtype=np.uint8)
        with self.store.reading():
            now = take_snapshot(self.store, self.path)
            (found,) = search_many(now.parts, query, radius, allowed=now.allowed(None))
        rows, codes = np.array([*live]), np.array([*live.values()])
        distances = np.bitwise_count(codes ^ query).sum(axis=1)
        assert set(found.rows.tolist()) == set(rows[distances <= radius].tolist())


@pytest.fixture
def folder(tmp_path):
    folder = Folder(tmp_path)
    yield folder
    folder.store.close()


@pytest.fixture
def written(monkeypatch):
    """The sizes of all segments that were written, in that order."""
    sizes = []
    build = CodeIndex.build

    def counted(codes, path=None, rows=None, **options):
        if path is not None:
            sizes.append(len(codes))
        return build(codes, path, rows, **options)

    monkeypatch.setattr(CodeIndex, "build", counted)
    return sizes


def most_segments(n):
    return 1 + log(n / snapshot.SEGMENT_ROWS) / log(snapshot.GROWTH)


def test_segments_are_few_and_rows_are_seldom_rewritten(folder, written, monkeypatch, caplog):
    monkeypatch.setattr(snapshot, "SEGMENT_ROWS", 10)
    for step in range(1, 121):
        folder.add(10)
        folder.publish()
        sizes = folder.sizes()
        assert sum(sizes) == 10 * step
        assert len(sizes) <= most_segments(10 * step)
        assert all(a >= snapshot.GROWTH * b for a, b in pairwise(sizes))
    assert sum(written) <= 1200 * log2(120)
    folder.check()
    assert caplog.text == ""


def test_ten_million_rows_are_in_eight_segments_at_most():
    assert most_segments(10_000_000) < 9


def test_segments_stay_few_when_items_come_and_go(folder, written, monkeypatch):
    monkeypatch.setattr(snapshot, "SEGMENT_ROWS", 10)
    for _ in range(120):
        folder.add(int(folder.random.integers(1, 80)))
        live = [*folder.live()]
        # Of what was added last, nearly all: the rows in use become few and far between.
        gone = {*live[-70:-4], *folder.random.choice(live, len(live) // 9).tolist()}
        folder.remove(sorted(gone))
        folder.publish()
        assert len(folder.sizes()) <= most_segments(max(written, default=10))
        folder.check()


def test_compact_leaves_one_segment_of_what_is_there(folder, monkeypatch):
    monkeypatch.setattr(snapshot, "SEGMENT_ROWS", 10)
    for n in (100, 20, 10):
        folder.add(n)
        folder.publish()
    folder.remove([3, 110, 130])
    assert folder.sizes() == [100, 30]
    assert folder.store.deletions().tolist() == [3, 110, 130]
    folder.publish(everything=True)
    assert folder.sizes() == [127]
    assert len(folder.store.deletions()) == 0
    folder.check()


def test_a_merge_drops_what_was_deleted_in_it(folder, monkeypatch):
    monkeypatch.setattr(snapshot, "SEGMENT_ROWS", 10)
    for n in (100, 10):
        folder.add(n)
        folder.publish()
    folder.remove([50, 105])
    folder.add(12)
    folder.publish()
    assert folder.sizes() == [100, 21]
    assert folder.store.deletions().tolist() == [50]
    folder.check()


def test_the_bitmap_of_live_rows_is_made_once(folder):
    folder.add(30)
    folder.publish(everything=True)
    with folder.store.reading():
        assert take_snapshot(folder.store, folder.path).allowed(None) is None
    folder.remove([1, 8, 30])
    with folder.store.reading():
        now = take_snapshot(folder.store, folder.path)
    live = now.allowed(None)
    assert now.allowed(None) is live
    mask = np.unpackbits(live)[:31].astype(bool)
    assert np.flatnonzero(~mask).tolist() == [1, 8, 30]


@pytest.mark.parametrize("gone", [[], [7, 63, 64, 300]])
@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 1.0])
def test_the_bitmap_of_a_condition_is_that_of_a_mask(folder, gone, share):
    folder.add(301)
    folder.publish(everything=True)
    folder.add(20)
    folder.remove(gone)
    rows = np.flatnonzero(folder.random.random(322) < share)
    with folder.store.reading():
        now = take_snapshot(folder.store, folder.path)
    mask = np.zeros(322, dtype=np.bool_)
    mask[rows] = True
    mask[gone] = False
    assert np.array_equal(now.allowed(rows), np.packbits(mask))


def test_a_large_segment_has_the_machine_measured(folder, monkeypatch):
    measured = []
    monkeypatch.setattr(snapshot, "MEASURED_FROM", 50)
    monkeypatch.setattr(snapshot, "ensure_measured", lambda _: measured.append(folder.sizes()))
    folder.add(49)
    folder.publish(everything=True)
    assert measured == []
    folder.add(1)
    folder.publish(everything=True)
    assert measured == [[50]]  # the segment is in use by then


def test_making_tables_tells_how_far_it_is_and_may_be_interrupted(folder, monkeypatch):
    from hashret.search.streaming import build_files

    # As if the codes were too many to make tables of them in memory.
    monkeypatch.setattr(
        "hashret.search.code_index.build_files", partial(build_files, memory_bytes=1 << 18)
    )
    folder.add(40_000)
    folder.publish()
    shares = [(done, total) for done, total, _ in folder.told if total]
    assert shares == sorted(shares)
    assert shares[-1][0] == shares[-1][1]
    assert {note for _, _, note in folder.told} == {"", "40,000 codes"}

    folder.add(20_000)

    def interrupt(done, _total, _note):
        if done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        publish_due(folder.store, folder.path, interrupt)
    assert folder.sizes() == [40_000]
    assert len([*folder.path.glob("segments/*")]) == 1
    folder.check()
    folder.publish()
    assert folder.sizes() == [60_000]
    folder.check()


def make_old(path):
    """Let all segments of an index say that they are of the format before."""
    manifests = [*path.glob("segments/*/manifest.json")]
    for file in manifests:
        content = {**json.loads(file.read_bytes()), "format": 1}
        del content["crc32"]
        crc32 = zlib.crc32(json.dumps(content, sort_keys=True).encode())
        file.write_text(json.dumps({**content, "crc32": crc32}))
    return len(manifests)


@pytest.fixture
def old(make_index, vectors, monkeypatch):
    """An index with two segments of the format before, and a tail."""
    monkeypatch.setattr(snapshot, "SEGMENT_ROWS", 50)
    path = make_index("vectors")
    with hashret.open(path) as index:
        index.compact()
        index.add((f"a{i}", vector) for i, vector in enumerate(vectors[:60]))
        index.add((f"b{i}", vector) for i, vector in enumerate(vectors[:9]))
        index.remove(["3", "a4"])
        answer = hits(index)
    assert make_old(path) == 2
    return path, answer


def hits(index, **options):
    return [(hit.key, hit.distance) for hit in index.query_key("5", 9, None, **options)]


def test_an_index_of_the_format_before_answers_and_says_so_once(old, caplog):
    path, answer = old
    with hashret.open(path) as index:
        assert hits(index) == answer
        assert hits(index) == answer
        (said,) = caplog.messages
        for words in ("format 1", "items.db", "2 of 2 segments", "hashret compact"):
            assert words in said
        assert "delete the folder" not in said
        assert all("hashret compact" in problem for problem in index.verify().problems)


@pytest.mark.parametrize("write", ["add", "compact"])
def test_the_next_write_rebuilds_segments_of_the_format_before(old, vectors, caplog, write):
    path, answer = old
    with hashret.open(path) as index:
        index.compact() if write == "compact" else index.add([("new", -9 * vectors[5])])
        assert hits(index) == answer
        assert index.verify().ok
        assert len(index._store.segments()) == 1
        assert len(index._store.deletions()) == 0
    assert caplog.text == ""


def test_only_segments_from_the_first_unusable_one_are_rebuilt(folder, monkeypatch):
    monkeypatch.setattr(snapshot, "SEGMENT_ROWS", 10)
    for n in (2000, 300, 50, 10):
        folder.add(n)
        folder.publish()
    assert folder.sizes() == [2000, 300, 50, 10]
    names = [name for name, _, _ in folder.store.segments()]
    (folder.path / "segments" / names[2] / "codes.npy").unlink()
    folder.add(1)
    folder.publish()
    assert folder.sizes() == [2000, 300, 61]
    assert [name for name, _, _ in folder.store.segments()][:2] == names[:2]
    folder.check()


def test_a_condition_that_few_satisfy_is_answered_without_the_segments(
    make_index, monkeypatch, caplog
):
    monkeypatch.setattr("hashret.index.reader.SCANNED_CODES", 60)
    path = make_index("vectors")
    with hashret.open(path) as index:
        index.compact()
        index.remove(["20"])
    with hashret.open(path) as index:
        index.query_key("5")
        monkeypatch.setattr("hashret.index.snapshot.CodeIndex.search", None)
        monkeypatch.setattr("hashret.index.snapshot.Snapshot.allowed", None)
        keys = [str(number) for number in range(17, 27)]
        listed = ", ".join(f"'{key}'" for key in keys)
        result = index.query_key("5", limit=7, where=f"key in ({listed})")
        code = index["5"].code
        expected = sorted(
            (int(hashret.codes.hamming(code, index[key].code)), index[key].row, key)
            for key in keys
            if key != "20"
        )
        assert [(hit.distance, hit.key) for hit in result] == [
            (distance, key) for distance, _, key in expected[:7]
        ]
        assert result.stats.candidates == 9
        assert list(index.query_key("5", where="key = 'nobody'")) == []
        together = index.query_many(np.zeros((3, 12), np.float32), 32, None, "key in ('1', '2')")
        assert [{hit.key for hit in one} for one in together] == 3 * [{"1", "2"}]
    assert caplog.text == ""


def test_a_damaged_code_is_named_where_few_are_allowed(make_index, monkeypatch, caplog):
    monkeypatch.setattr("hashret.index.reader.SCANNED_CODES", 1)
    path = make_index("vectors")
    with hashret.open(path) as index:
        index.compact()
        with sqlite3.connect(path / "items.db") as connection:
            connection.execute("update items set code = x'00' where key = '7'")
        connection.close()
        with pytest.raises(hashret.errors.DamagedIndexError, match="items.db is damaged"):
            index.query_code("00" * 4, where="key in ('6', '7')")
    assert caplog.text == ""
