"""What is damaged is mended as far as it can be, and what is lost is named."""

import json
import shutil
import sqlite3

import numpy as np
import pytest

import hashret
from hashret.errors import DamagedIndexError

PAGE = 4096


@pytest.fixture
def path(make_index, monkeypatch, vectors):
    monkeypatch.setattr("hashret.snapshot.SEGMENT_ROWS", 50)
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
