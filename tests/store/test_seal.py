"""Files that something else has changed are noticed before they can give a wrong answer."""

import os
import shutil
import time

import numpy as np
import pytest

import hashret
from hashret.errors import DamagedIndexError
from hashret.store.log import bytes_in_log
from hashret.store.seal import Seal, chunk_checksums, fresh_stamp, stamp_of


@pytest.fixture
def path(make_index, monkeypatch):
    monkeypatch.setattr("hashret.index.snapshot.SEGMENT_ROWS", 50)
    path = make_index("vectors")
    with hashret.open(path) as index:
        index.compact()
    return path


def hits(index):
    return [(hit.key, hit.distance) for hit in index.query_key("5", 9, None)]


def spoil(file, place, keep_time=False):
    status = file.stat()
    content = bytearray(file.read_bytes())
    content[place] ^= 0xFF
    file.write_bytes(bytes(content))
    if keep_time:
        os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))


@pytest.mark.parametrize("keep_time", [False, True])
def test_any_byte_of_a_segment_that_changes_is_noticed_at_the_next_query(path, caplog, keep_time):
    with hashret.open(path) as index:
        answer = hits(index)
        (file,) = path.glob("segments/*/codes.npy")
        spoil(file, -5, keep_time)
        assert hits(index) == answer
        assert "codes.npy" in caplog.text
        spoil(file, -5, keep_time)
    for place in (-5, -1900, 200):
        caplog.clear()
        with hashret.open(path) as index:
            assert hits(index) == answer
            assert caplog.text == ""
        spoil(file, place, keep_time)
        with hashret.open(path) as index:
            assert hits(index) == answer
            assert "codes.npy" in caplog.text
        spoil(file, place, keep_time)


def test_a_segment_that_is_cut_short_under_a_reader_does_not_kill_it(path, caplog):
    with hashret.open(path) as index:
        answer = hits(index)
        for file in path.glob("segments/*/*.npy"):
            os.truncate(file, 128)
        assert hits(index) == answer
        assert "hashret compact" in caplog.text


@pytest.mark.parametrize("keep_time", [False, True])
def test_any_byte_of_the_database_that_changes_is_noticed_at_the_next_query(path, keep_time):
    size = (path / "items.db").stat().st_size
    with hashret.open(path) as index:
        answer = hits(index)
        for place in np.random.default_rng(0).integers(size, size=30).tolist():
            spoil(path / "items.db", place, keep_time)
            with pytest.raises(DamagedIndexError, match=r"items\.db"):
                hits(index)
            with (
                pytest.raises(DamagedIndexError, match=r"items\.db"),
                hashret.open(path) as another,
            ):
                hits(another)
            assert any("items.db" in problem for problem in index.verify().problems)
            spoil(path / "items.db", place, keep_time)
            assert hits(index) == answer


def settle():
    """Let the clock of the file system go on, or what was changed just now is checked again."""
    time.sleep(0.05)


def test_a_copied_index_is_read_once_and_trusted_from_then_on(path, monkeypatch):
    copy = path.with_name("copy")
    shutil.copytree(path, copy)
    settle()
    read = []
    monkeypatch.setattr(
        "hashret.store.guard.chunk_checksums",
        lambda file: read.append(file) or chunk_checksums(file),
    )
    for expected in ([copy / "items.db"], []):
        with hashret.open(copy) as index:
            assert index.query_key("5")[0].key == "5"
        assert read == expected
        read.clear()


def test_a_segment_of_another_index_under_the_same_name_is_noticed(path, make_index, caplog):
    with hashret.open(path) as index:
        answer = hits(index)
        other = path.with_name("other")
        shutil.copytree(path, other)
        index.remove([str(number) for number in range(100)])
        index.compact()
        index.add([("more", np.zeros(12, np.float32))])
        (mine,) = (path / "segments" / name for name, _, _ in index._store.segments())
    with hashret.open(other) as index:
        (theirs,) = (name for name, _, _ in index._store.segments())
    shutil.rmtree(other / "segments" / theirs)
    shutil.copytree(mine, other / "segments" / theirs)
    with hashret.open(other) as index:
        assert hits(index) == answer
        assert "differs from items.db" in caplog.text


def test_a_log_that_was_lost_is_noticed(path):
    with hashret.open(path) as reader, hashret.open(path) as writer:
        with reader.reader.state():
            len(reader)
            writer.add([("late", np.zeros(12, np.float32))])  # the log cannot be emptied
        assert (path / "items.db-wal").stat().st_size > 0
        copy = path.with_name("copy")
        shutil.copytree(path, copy)
    for lose in (lambda log: log.unlink(), lambda log: os.truncate(log, 60)):
        spoilt = path.with_name("spoilt")
        shutil.copytree(copy, spoilt)
        (spoilt / "items.db-shm").unlink(missing_ok=True)
        lose(spoilt / "items.db-wal")
        with hashret.open(spoilt) as index, pytest.raises(DamagedIndexError, match="items.db-wal"):
            len(index)
        report = hashret.Index.repair(spoilt)
        assert "was committed" in " ".join(report.lost)
        with hashret.open(spoilt) as index:
            assert len(index) == 600
            assert index.verify().ok
        shutil.rmtree(spoilt)
    with hashret.open(copy) as index:
        assert "late" in index
        assert bytes_in_log(copy / "items.db", 10**6).size


def test_a_seal_that_is_damaged_or_missing_is_renewed(path, caplog):
    with hashret.open(path) as index:
        answer = hits(index)
    for spoilt in (b"", b"{}", b"[1]", b"\xff\xfe", b'{"format": 1, "crc32": 5}', None):
        (path / "seal.json").unlink()
        if spoilt is not None:
            (path / "seal.json").write_bytes(spoilt)
        assert Seal.read(path) is None
        settle()
        caplog.clear()
        with hashret.open(path) as index:
            assert hits(index) == answer
            assert "every item was checked" in caplog.text
            assert index.verify().ok


def test_verify_tells_a_damaged_seal_once_and_renews_it(path):
    (path / "seal.json").write_bytes(b"{}")
    settle()
    with hashret.open(path) as index:
        assert ["seal.json" in line for line in index.verify().problems] == [True]
        assert index.verify().ok


def test_a_write_within_the_same_tick_changes_the_stamp(tmp_path):
    file = tmp_path / "file"
    for _ in range(200):
        file.write_bytes(b"one")
        stamp = fresh_stamp(file)
        with file.open("r+b") as opened:
            opened.write(b"two")
        assert stamp_of(file) != stamp
