"""What is damaged is mended as far as it can be, and what is lost is named."""

import errno
import json
import os
import shutil
import sqlite3
from pathlib import Path

import numpy as np
import pytest

import hashret
from hashret.errors import DamagedIndexError, HashretError, IndexNotFoundError
from hashret.index.new_folder import new_folder
from hashret.store import WriterLock

PAGE = 4096


@pytest.fixture
def path(make_index, monkeypatch, vectors):
    monkeypatch.setattr("hashret.index.snapshot.SEGMENT_ROWS", 50)
    path = make_index("vectors")
    with hashret.open(path) as index:
        index.compact()
        index.add((f"more{i}", vector) for i, vector in enumerate(vectors[:200] + 1))
        index.remove([str(number) for number in range(0, 600, 7)])
    return path


def state(path):
    with hashret.open(path) as index:
        return {item.key: (item.row, item.code.tobytes()) for item in index.items()}


def spoil(file, places, content=b"\xa5"):
    whole = bytearray(file.read_bytes())
    for place in places:
        whole[place : place + len(content)] = content
    file.write_bytes(bytes(whole))


def test_a_whole_index_needs_no_repair(path):
    before = state(path)
    report = hashret.Index.repair(path)
    assert report.ok
    assert report.repaired == []
    assert report.items == len(before)
    assert state(path) == before


def test_damaged_pages_cost_only_the_items_in_them(path):
    before = state(path)
    n_pages = (path / "items.db").stat().st_size // PAGE
    rng = np.random.default_rng(0)
    losses = 0
    for trial in range(25):
        copy = path.with_name(f"copy{trial}")
        shutil.copytree(path, copy)
        pages = rng.choice(np.arange(1, n_pages), size=1 + trial % 3, replace=False)
        spoil(copy / "items.db", [int(page) * PAGE for page in pages], rng.bytes(PAGE))
        with pytest.raises(DamagedIndexError, match="--repair"), hashret.open(copy) as index:
            index.query_code("00" * 4)
        try:
            report = hashret.Index.repair(copy)
        except DamagedIndexError as error:
            assert "Nothing of" in str(error)
            continue
        after = state(copy)
        assert after.items() <= before.items()
        assert report.items == len(after)
        assert bool(report.lost) >= (len(after) < len(before))
        losses += len(after) < len(before)
        with hashret.open(copy) as index:
            assert index.verify().ok, index.verify().problems
            found = {hit.key for hit in index.query_code("00" * 4, 32, None)}
            assert found == set(after)
            index.add([("again", np.zeros(12, np.float32))])
        if report.lost:
            (kept,) = copy.glob("damaged-*")
            assert (kept / "items.db").stat().st_size == (path / "items.db").stat().st_size
    assert losses > 5


def test_an_altered_item_is_named_and_the_others_stay(path):
    before = state(path)
    connection = sqlite3.connect(path / "items.db")
    connection.execute("update items set code = x'00000001' where key = '8'")
    connection.commit()
    connection.close()
    report = hashret.Index.repair(path)
    (line,) = report.lost
    assert "'8'" in line
    del before["8"]
    assert state(path) == before


def test_altered_settings_come_back(path):
    connection = sqlite3.connect(path / "items.db")
    connection.execute("update settings set value = '\"image\"' where name = 'kind'")
    connection.execute("update settings set value = '7' where name = 'items'")
    connection.commit()
    connection.close()
    before = None
    with hashret.open(path) as index, pytest.raises(DamagedIndexError, match="--repair"):
        before = len(index)
    assert before is None
    assert hashret.Index.repair(path).ok
    with hashret.open(path) as index:
        assert index.kind == "vectors"
        assert index.verify().ok


def test_what_is_derived_is_rebuilt(path, run):
    before = state(path)
    for spoilt in ("codes.npy", "manifest.json"):
        for file in path.glob(f"segments/*/{spoilt}"):
            spoil(file, [file.stat().st_size - 9])
    (path / "seal.json").unlink()
    done = run("verify", "-i", path, "--repair", "--json")
    assert done.returncode == 0, done.stderr
    assert "segments" in done.stdout
    assert {line["what"] for line in json.loads(done.stdout)} == {"repaired"}
    assert state(path) == before
    assert run("verify", "-i", path).returncode == 0
    again = run("verify", "-i", path, "--repair")
    assert "nothing to repair" in again.stderr


def test_a_damaged_encoder_is_lost_and_said(path, run):
    spoil(path / "encoder" / "encoder.tflite", [100])
    done = run("verify", "-i", path, "--repair", "--json")
    assert done.returncode == 1
    assert "encoder.tflite" in done.stdout
    with hashret.open(path) as index:
        assert index.query_key("8")[0].key == "8"


def test_a_missing_database_cannot_be_repaired(path):
    (path / "items.db").unlink()
    with pytest.raises(DamagedIndexError, match="missing"):
        hashret.Index.repair(path)


def test_where_no_index_is_nothing_is_written(tmp_path, run):
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "a.txt").write_text("hello")
    for place in ("letters", "nowhere"):
        with pytest.raises(IndexNotFoundError):
            hashret.Index.repair(tmp_path / place)
    out = run("verify", "--repair", "-i", "./letters")
    assert (out.returncode, "no index at" in out.stderr) == (1, True)
    assert [file.name for file in (tmp_path / "letters").iterdir()] == ["a.txt"]
    assert not (tmp_path / "nowhere").exists()


def test_a_file_in_the_place_of_segments_is_derived(path):
    before = state(path)
    for mend in (hashret.Index.repair, lambda path: hashret.open(path).compact()):
        shutil.rmtree(path / "segments")
        (path / "segments").write_text("x")
        mend(path)
        assert state(path) == before
        with hashret.open(path) as index:
            assert index.verify().ok
            assert index.verify().segments == 1


@pytest.mark.parametrize("name", ["mkdir", "scandir", "open"])
def test_segments_that_may_not_be_written_are_said(path, monkeypatch, name):
    usual = getattr(os, name)

    def refused(which, *arguments, **options):
        if which == "segments" or (name == "scandir" and isinstance(which, int)):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), which)
        return usual(which, *arguments, **options)

    with hashret.open(path) as index:
        monkeypatch.setattr(os, name, refused)
        with pytest.raises(HashretError, match="segments.*Permission denied"):
            index.compact()


def test_a_new_index_where_nobody_may_look_is_refused_in_words(tmp_path, monkeypatch):
    def refused(self, *_, **__):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(self))

    monkeypatch.setattr(Path, "exists", refused)
    with pytest.raises(HashretError, match="cannot be looked into .Permission denied"):
        hashret.create_from_codes(tmp_path / "i", np.zeros((3, 8), np.uint8))


def test_two_who_make_the_same_index_leave_each_other_alone(tmp_path, monkeypatch):
    """The other one looks for what died at the worst of times: just before the lock is held."""
    entered = WriterLock.__enter__
    swept = []

    def sweeping(lock):
        monkeypatch.setattr(WriterLock, "__enter__", entered)
        with new_folder(tmp_path / "i"):
            swept.append(not lock._path.parent.exists())
        shutil.rmtree(tmp_path / "i")
        return entered(lock)

    monkeypatch.setattr(WriterLock, "__enter__", sweeping)
    with new_folder(tmp_path / "i") as unfinished:
        assert swept == [True]
        (unfinished / "items.db").touch()
    assert [path.name for path in tmp_path.iterdir()] == ["i"]


def test_an_index_without_a_seal_is_whole_and_is_sealed_by_verify(path, run):
    (path / "seal.json").unlink()
    out = run("verify", "-i", path)
    assert (out.returncode, "all is well" in out.stderr) == (0, True)
    assert (path / "seal.json").is_file()


def test_repairing_without_a_seal_leaves_whole_segments_alone(path):
    segments = sorted((path / "segments").iterdir())
    (path / "seal.json").unlink()
    report = hashret.Index.repair(path)
    assert report.ok
    assert [line.split(":")[0] for line in report.repaired] == ["seal.json"]
    assert sorted((path / "segments").iterdir()) == segments
    assert (path / "seal.json").is_file()


@pytest.mark.parametrize("share", [0.3, 0.6, 0.9, 0.999])
def test_of_a_database_cut_short_what_is_left_is_kept(path, share):
    with hashret.open(path) as index:
        codes = {item.key: item.code.tobytes() for item in index.items()}
    os.truncate(path / "items.db", int((path / "items.db").stat().st_size * share))
    report = hashret.Index.repair(path)
    with hashret.open(path) as index:
        kept = {item.key: item.code.tobytes() for item in index.items()}
        assert index.verify().ok
    assert kept.items() <= codes.items()
    assert report.items == len(kept)
    assert report.ok == (len(kept) == len(codes))
    assert len(kept) > (len(codes) * share / 3 if share > 0.8 else 0 if share > 0.5 else -1)


@pytest.mark.parametrize("length", [4, 16, 24])
def test_a_header_of_zeros_loses_no_item(path, length):
    with hashret.open(path) as index:
        count = len(index)
    with (path / "items.db").open("r+b") as file:
        file.write(bytes(length))
    with pytest.raises(DamagedIndexError, match="--repair"):
        hashret.open(path)
    report = hashret.Index.repair(path)
    assert (report.items, report.lost) == (count, [])


def test_items_deleted_by_another_program_are_counted_as_lost(path, run):
    connection = sqlite3.connect(path / "items.db")
    (count,) = connection.execute("select count(*) from items").fetchone()
    connection.execute("delete from items where row in (select row from items limit 101)")
    connection.commit()
    connection.close()
    out = run("verify", "--repair", "-i", path)
    assert out.returncode == 1
    assert f"101 of {count} items" in out.stdout


@pytest.mark.parametrize("content", [b"", b"\0" * 100, b"no database at all" * 300])
def test_what_holds_nothing_cannot_be_saved_and_says_so(path, content, run):
    (path / "items.db").write_bytes(content)
    for command in ("query", "verify", "info"):
        out = run(command, "-i", path, *(["--key", "5"] if command == "query" else []))
        assert out.returncode == 1
        assert "damaged" in out.stdout + out.stderr
    out = run("verify", "--repair", "-i", path)
    assert out.returncode == 1
    assert "Nothing of" in out.stderr
    assert (path / "items.db").read_bytes() == content
