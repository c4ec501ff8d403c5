"""Damaged files: a right answer, or an error that names the file; never a wrong answer."""

import shutil

import numpy as np
import pytest

import hashret
from hashret.errors import DamagedIndexError, HashretError


@pytest.fixture
def healthy(make_index, monkeypatch):
    monkeypatch.setattr("hashret.snapshot.SEGMENT_ROWS", 50)
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
    files = [file for file in path.rglob("*") if file.is_file() and file.name != "write.lock"]
    assert {file.name for file in files} >= {"items.db", "encoder.tflite", "codes.npy"}
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
        if not file.is_file() or file.name == "write.lock":
            continue
        whole = file.read_bytes()
        # Pages of SQLite have room that nothing uses; a change there is no damage.
        if file.name == "items.db":
            continue
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


def test_an_answer_of_a_wrong_segment_is_refused(healthy):
    path, answer = healthy
    with hashret.open(path) as index:
        from hashret.search import CodeIndex

        rows, codes = index._store.codes(1)
    (segment,) = (path / "segments").iterdir()
    shutil.rmtree(segment)
    CodeIndex.build(codes[::-1].copy(), path=segment, rows=rows)
    with hashret.open(path) as index:
        with pytest.raises(DamagedIndexError, match="hashret compact"):
            index.query_key("5", radius=9, limit=None)
        index.compact()
        assert [(h.key, h.distance) for h in index.query_key("5", radius=9, limit=None)] == answer


def test_a_missing_database_is_named(healthy):
    path, _ = healthy
    (path / "items.db").unlink()
    with pytest.raises(DamagedIndexError, match="items.db is missing"):
        hashret.open(path)


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
