"""Compacting drops what was removed, holds little in memory, and disturbs nobody."""

import errno
import os

import numpy as np
import pytest

import hashret
from hashret.errors import HashretError
from hashret.store import item_reader, room


@pytest.fixture
def path(make_index, vectors, monkeypatch):
    monkeypatch.setattr("hashret.index.snapshot.SEGMENT_ROWS", 50)
    monkeypatch.setattr("hashret.store.item_store.SHRUNK_FROM_BYTES", 0)
    path = make_index("vectors")
    with hashret.open(path) as index:
        long = "long " * 400
        index.add((f"long{i}", vector, {"text": long}) for i, vector in enumerate(vectors))
        index.remove([f"long{i}" for i in range(590)])
    return path


def hits(index):
    return [(hit.key, hit.distance) for hit in index.query_code("00" * 4, 32, None)]


def test_the_room_of_what_was_removed_is_given_back(path):
    before = (path / "items.db").stat().st_size
    with hashret.open(path) as index:
        answer = hits(index)
        index.compact()
        assert (path / "items.db").stat().st_size < before / 3
        assert hits(index) == answer
        assert index.verify().ok
        assert len(index._store.deletions()) == 0
        assert len(index._store.segments()) == 1
        index.add([("later", np.zeros(12, np.float32))])
    with hashret.open(path) as index:
        assert hits(index)[:600] == hits(index)[:600]
        assert {key for key, _ in hits(index)} == {key for key, _ in answer} | {"later"}
        assert index.verify().ok


def test_a_reader_of_the_state_before_goes_on_reading_it(path):
    with hashret.open(path) as reader, hashret.open(path) as writer:
        answer = hits(reader)
        with reader.reader.snapshot() as snapshot:
            n_rows = len(snapshot)
            writer.compact()
            writer.remove(["long595"])
            assert len(reader.items()) == 610
            assert hits(reader) == answer
            assert len(snapshot) == n_rows
        assert len(reader) == 609
        writer.compact()  # what the reader held up is made good
        assert reader.verify().ok
        assert writer.verify().ok


def test_codes_too_many_for_the_memory_lie_in_files_meanwhile(path, monkeypatch):
    rooms = []
    made = item_reader.room_for
    monkeypatch.setattr(room, "HELD_BYTES", 0)
    monkeypatch.setattr(
        item_reader, "room_for", lambda n, size, where: rooms.append(where) or made(n, size, where)
    )
    with hashret.open(path) as index:
        answer = hits(index)
        rooms.clear()
        index.compact()
        assert any(where is not None for where in rooms)
        assert hits(index) == answer
        assert index.verify().ok
    assert not list(path.glob("segments/.*"))


def test_files_of_codes_have_their_blocks_before_they_are_written(tmp_path, monkeypatch):
    """On a full disk, writing into a hole of a mapped file kills the process."""
    monkeypatch.setattr(room, "HELD_BYTES", 0)
    room.room_for(1 << 18, 8, tmp_path / "room")
    for file in (tmp_path / "room").iterdir():
        assert file.stat().st_blocks * 512 >= file.stat().st_size > 1 << 20


def test_a_full_disk_is_said_and_nothing_is_left(path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with hashret.open(path) as index:
        answer, segments = hits(index), index._store.segments()
        monkeypatch.setattr(room, "HELD_BYTES", 0)
        monkeypatch.setattr(os, "posix_fallocate", full)
        with pytest.raises(HashretError, match="has no room .*No space left"):
            index.compact()
        assert not list(path.glob("segments/.*"))
        assert index._store.segments() == segments
        assert hits(index) == answer


def test_an_interrupted_compaction_leaves_everything_as_it_was(path):
    def interrupt(progress):
        if progress.note:
            raise KeyboardInterrupt

    with hashret.open(path) as index:
        answer, segments = hits(index), index._store.segments()
        with pytest.raises(KeyboardInterrupt):
            index.compact(interrupt)
        assert index._store.segments() == segments
        assert hits(index) == answer
        assert index.verify().ok
        index.compact()
        assert hits(index) == answer
    assert not list(path.glob("segments/.*"))
