"""Damaged files: a right answer, or an error that names the file; never a wrong answer."""

import shutil

import numpy as np
import pytest

import hashret
from hashret.errors import DamagedIndexError, HashretError


@pytest.fixture
def healthy(make_index, monkeypatch):
    monkeypatch.setattr("hashret.index.snapshot.SEGMENT_ROWS", 50)
    monkeypatch.setattr("hashret.search.planner.TABLE_FROM_WORDS", 0)
    path = make_index("vectors")
    with hashret.open(path) as index:
        index.compact()
        answer = [(h.key, h.distance) for h in index.query_key("5", radius=9, limit=None)]
    return path, answer


def ask(path, vector):
    """An answer that went through encoder, segment and store."""
    with hashret.open(path) as index:
        return [(h.key, h.distance) for h in index.query(vector, radius=9, limit=None)]


def test_a_missing_segment_is_answered_for_and_rebuilt(healthy, caplog):
    path, answer = healthy
    (segment,) = (path / "segments").iterdir()
    shutil.rmtree(segment)
    with hashret.open(path) as index:
        assert [(h.key, h.distance) for h in index.query_key("5", radius=9, limit=None)] == answer
        assert segment.name in caplog.text
        assert "hashret compact" in caplog.text
        assert not index.verify().ok
        index.compact()
        assert index.verify().ok


def test_every_file_missing_or_cut_short(healthy, vectors):
    path, _ = healthy
    answer = ask(path, vectors[5])
    # What is left of a lock, of the memory that connections share, and what renews itself.
    own = ("write.lock", "items.db-shm", "items.db-wal", "seal.json")
    files = [file for file in path.rglob("*") if file.is_file() and file.name not in own]
    tables = {"codes.npy", "rows.npy", "offsets.npy", "positions.npy", "manifest.json"}
    assert {file.name for file in files} >= {"items.db", "encoder.tflite", *tables}
    for file in files:
        whole = file.read_bytes()
        for content in (None, whole[: len(whole) // 2], b""):
            if content is None:
                file.unlink()
            else:
                file.write_bytes(content)
            try:
                assert ask(path, vectors[5]) == answer, file
                with hashret.open(path) as index:
                    healthy_still = index.verify().ok
                # Whatever was not noticed in answering is noticed by verify.
                assert not healthy_still, file
            except HashretError as error:
                assert file.name in str(error) or str(path) in str(error)
            file.write_bytes(whole)
    with hashret.open(path) as index:
        assert index.verify().ok


def test_verify_finds_every_flipped_byte(healthy):
    path, _ = healthy
    rng = np.random.default_rng(0)
    for file in sorted(path.rglob("*")):
        if not file.is_file() or file.name in ("write.lock", "items.db-shm", "items.db-wal"):
            continue
        whole = file.read_bytes()
        for place in rng.integers(len(whole), size=4):
            spoilt = bytearray(whole)
            spoilt[place] ^= 0x41
            file.write_bytes(bytes(spoilt))
            with hashret.open(path) as index:
                assert any(file.name in problem for problem in index.verify().problems), file
        file.write_bytes(whole)


def test_a_segment_that_disagrees_with_the_store_is_a_problem(healthy, make_index):
    path, _ = healthy
    with hashret.open(path) as index:
        from hashret.search import CodeIndex

        rows, codes = index._store.codes(1)
        (segment,) = (path / "segments").iterdir()
        shutil.rmtree(segment)
        CodeIndex.build(codes[::-1].copy(), path=segment, rows=rows)
        assert any("differs from items.db" in problem for problem in index.verify().problems)


def test_a_wrong_segment_gives_no_wrong_answer(healthy, caplog):
    path, answer = healthy
    with hashret.open(path) as index:
        from hashret.search import CodeIndex

        rows, codes = index._store.codes(1)
    (segment,) = (path / "segments").iterdir()
    shutil.rmtree(segment)
    CodeIndex.build(codes[::-1].copy(), path=segment, rows=rows)
    with hashret.open(path) as index:
        for _ in range(2):
            found = index.query_key("5", radius=9, limit=None)
            assert [(h.key, h.distance) for h in found] == answer
        assert "hashret compact" in caplog.text
        index.compact()
        assert index.verify().ok


def test_row_numbers_out_of_range_give_no_wrong_answer(healthy, caplog):
    path, answer = healthy
    (file,) = path.glob("segments/*/rows.npy")
    content = bytearray(file.read_bytes())
    content[-3:] = b"\xff\xff\xff"
    file.write_bytes(bytes(content))
    with hashret.open(path) as index:
        everything = index.query_key("5", radius=32, limit=None)
        assert len(everything) == 600
        assert [(h.key, h.distance) for h in everything.within(9)] == answer
        (problem,) = index.verify().problems
        assert "rows.npy" in problem
        assert "hashret compact" in problem


def test_a_missing_database_is_named(healthy):
    path, _ = healthy
    (path / "items.db").unlink()
    with pytest.raises(DamagedIndexError, match="items.db is missing"):
        hashret.open(path)


def test_segments_may_be_thrown_away(healthy):
    path, answer = healthy
    shutil.rmtree(path / "segments")
    with hashret.open(path) as index:
        assert [(h.key, h.distance) for h in index.query_key("5", radius=9, limit=None)] == answer
        index.compact()
        assert index.verify().ok
        assert len(list((path / "segments").iterdir())) == 1


def test_a_restored_database_finds_no_segment_of_another_state(healthy):
    path, answer = healthy
    copy = (path / "items.db").read_bytes()
    with hashret.open(path) as index:
        index.remove([str(i) for i in range(0, 600, 2)])
        index.compact()
        shutil.rmtree(path / "segments")
        index.compact()
    for leftover in path.glob("items.db-*"):
        leftover.unlink()
    (path / "items.db").write_bytes(copy)
    with hashret.open(path) as index, pytest.raises(DamagedIndexError, match="verify --repair"):
        len(index)
    report = hashret.Index.repair(path)
    assert report.items == 600
    assert any("was committed" in line for line in report.lost)
    with hashret.open(path) as index:
        assert index.verify().ok
        assert [(h.key, h.distance) for h in index.query_key("5", radius=9, limit=None)] == answer


def test_a_damaged_database_gives_right_answers_or_clear_errors(healthy, vectors):
    path, _ = healthy
    answer = ask(path, vectors[5])
    whole = (path / "items.db").read_bytes()
    rng = np.random.default_rng(0)
    refused = 0
    for trial in range(150):
        spoilt = bytearray(whole)
        for _ in range(1 + trial % 4):
            place = int(rng.integers(len(whole)))
            size = int(rng.choice([1, 2, 40, 400]))
            spoilt[place : place + size] = rng.bytes(size)
        for leftover in path.glob("items.db-*"):
            leftover.unlink()
        (path / "items.db").write_bytes(bytes(spoilt[: len(whole)]))
        try:
            with hashret.open(path) as index:
                report = index.verify()
        except HashretError:
            refused += 1
            continue
        try:
            assert ask(path, vectors[5]) == answer or not report.ok, trial
            with hashret.open(path) as index:
                index.items(5)
                index.info()
                index.compact()
        except HashretError:
            refused += 1
            assert not report.ok
    assert refused > 10


def test_reconstruct_refuses_an_exchanged_encoder(healthy, make_index):
    path, _ = healthy
    shutil.rmtree(path / "encoder")
    shutil.copytree(make_index("photos") / "encoder", path / "encoder")
    with hashret.open(path) as index, pytest.raises(DamagedIndexError, match="encoder"):
        index.reconstruct(index["5"].code)


def test_a_reader_without_permission_follows_what_others_write(healthy, vectors, monkeypatch):
    path, _ = healthy
    for leftover in path.glob("items.db-*"):
        leftover.unlink()
    with monkeypatch.context() as patch:
        # The tests may run as root, whom permissions do not stop.
        patch.setattr("os.access", lambda *_: False)
        reader = hashret.open(path)
    with hashret.open(path) as writer:
        for step in range(3):
            writer.add((f"{step}/{i}", vector) for i, vector in enumerate(vectors[:60]))
            writer.remove([f"{step}/1"])
            writer.compact()
            assert len(reader) == len(writer)
            assert f"{step}/2" in {h.key for h in reader.query(vectors[2], 0, None)}
    assert len(reader) == 600 + 3 * 59
    reader.close()


def test_an_index_in_a_folder_that_cannot_be_written_answers(healthy, vectors, monkeypatch):
    path, _ = healthy
    answer = ask(path, vectors[5])
    # The tests may run as root, whom permissions do not stop.
    monkeypatch.setattr("os.access", lambda *_: False)
    for leftover in path.glob("items.db-*"):
        leftover.unlink()
    assert ask(path, vectors[5]) == answer
    with hashret.open(path) as index, pytest.raises(HashretError, match="written"):
        index.add([("x", vectors[0])])
