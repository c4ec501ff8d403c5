"""Indexes that earlier versions wrote: each opens, answers as it did, and can be changed."""

import json
import shutil
import sqlite3
import time
from pathlib import Path

import numpy as np
import pytest

import hashret
from hashret.errors import DamagedIndexError, HashretError, UnknownFormatError
from hashret.search import CodeIndex
from hashret.search.segment_files import _crc32_of

GOLDEN = Path(__file__).parent / "golden"
FORMATS = sorted(path.name for path in GOLDEN.glob("format-*"))


@pytest.fixture(params=FORMATS)
def name(request):
    return request.param


@pytest.fixture
def path(name, tmp_path):
    copied = Path(shutil.copytree(GOLDEN / name / "index", tmp_path / name))
    time.sleep(0.03)  # a file that has only just changed is not sealed yet
    return copied


@pytest.fixture
def answers(name):
    return json.loads((GOLDEN / name / "answers.json").read_text())


def queries_of(answers):
    return [np.array(query, np.float32) for query in answers["queries"]]


def hits(result):
    return [[hit.key, hit.distance] for hit in result]


def check_answers(index, answers):
    for query, code, expected in zip(
        queries_of(answers), answers["codes"], answers["hits"], strict=True
    ):
        assert index.encode([query]).tobytes().hex() == code
        assert hits(index.query(query, limit=12)) == expected
    found = index.query_key("item 3", radius=index.n_bits, limit=None, where="price < 4")
    assert hits(found) == answers["where"]
    assert [
        {"key": item.key, "code": item.code.tobytes().hex(), "fields": dict(item.fields)}
        for item in index.items()
    ] == answers["items"]


def schema(path):
    connection = sqlite3.connect(path / "items.db")
    applied = {name for (name,) in connection.execute("select name from _sqlite_migrations")}
    connection.close()
    return applied


def test_there_is_one_of_every_format_that_is_read():
    from hashret.store.migrations import FORMAT, OLDEST_FORMAT

    assert [f"format-{n}" for n in range(OLDEST_FORMAT, FORMAT + 1)] == FORMATS
    for name in FORMATS:
        # As SQLite has it, without hashret: nothing has renewed the file since it was made.
        file = f"{(GOLDEN / name / 'index' / 'items.db').as_uri()}?mode=ro&immutable=1"
        connection = sqlite3.connect(file, uri=True)
        (found,) = connection.execute("select value from settings where name = 'format'").fetchone()
        connection.close()
        assert f"format-{found}" == name
        assert "0003_identities" not in str(list((GOLDEN / name).rglob("*")))


def test_it_answers_as_the_version_that_wrote_it(path, answers):
    with hashret.open(path) as index:
        check_answers(index, answers)


def test_it_answers_where_nothing_can_be_written(path, answers, monkeypatch):
    (path / "write.lock").unlink()
    # The tests may run as root, whom permissions do not stop.
    monkeypatch.setattr("os.access", lambda *_: False)
    path.chmod(0o555)
    before = sorted(file.relative_to(path) for file in path.rglob("*"))
    try:
        with hashret.open(path) as index:
            check_answers(index, answers)
    finally:
        path.chmod(0o755)
    assert sorted(file.relative_to(path) for file in path.rglob("*")) == before


def test_it_verifies_once_its_segments_are_of_today(path, answers):
    """Segments are derived, and those of an older format are said to be so, never misread."""
    with hashret.open(path) as index:
        check_answers(index, answers)  # which also seals what no earlier version has sealed
        problems = index.verify().problems
        assert [("manifest.json has format 1" in problem) for problem in problems] == [True] * (
            path.name == "format-1"
        )
        index.compact()
        assert index.verify().problems == []
        check_answers(index, answers)


def test_it_can_be_changed_and_is_then_of_the_new_schema(path, answers):
    query = queries_of(answers)[0]
    assert "0003_identities" not in schema(path)
    with hashret.open(path) as index:
        assert index.add([("new", query, {"label": "new", "price": 1})]).added == 1
        assert index.add([("item 3", query + 1, {"label": "group 0"})]).updated == 1
        assert index.remove(["item 2"]) == 1
        index.compact()
        assert index.verify().problems == []
        kept = {item["key"]: item for item in answers["items"]} | {"new": None}
        del kept["item 2"]
        assert {item.key for item in index.items()} == set(kept)
        for item in index.items():
            if item.key not in ("new", "item 3"):
                assert item.code.tobytes().hex() == kept[item.key]["code"]
                assert item.fields == kept[item.key]["fields"]
        assert "new" in [hit.key for hit in index.query(query, radius=0)]
        index.index_field("label")
        assert [hit.key for hit in index.items(where="label = 'new'")] == ["new"]
    assert "0003_identities" in schema(path)
    with hashret.open(path) as index:
        assert len(index) == len(kept)


def test_it_can_be_repaired(path, answers):
    file = path / "items.db"
    content = bytearray(file.read_bytes())
    place = content.index(b'"label":"changed"')
    content[place + 10] ^= 1
    file.write_bytes(bytes(content))
    report = hashret.Index.repair(path)
    assert len(report.lost) == 1
    assert "item 5" in report.lost[0]
    with hashret.open(path) as index:
        assert index.verify().problems == []
        expected = [item for item in answers["items"] if item["key"] != "item 5"]
        assert [item.key for item in index.items()] == [item["key"] for item in expected]


@pytest.mark.parametrize("name", ["format-2"], indirect=True)  # format 1 kept none
def test_kept_vectors_are_as_they_were(tmp_path, answers, name):
    with hashret.open(shutil.copytree(GOLDEN / name / "index", tmp_path / "i")) as index:
        found = index.query(queries_of(answers)[0], limit=1, rerank=5)
        assert found[0].key == "item 0"
        assert found[0].vector_distance < 0.1


# Newer formats


def of_the_future(path):
    connection = sqlite3.connect(path / "items.db")
    with connection:
        connection.execute("update settings set value = '99' where name = 'format'")
        connection.execute("update settings set value = '\"9.1\"' where name = 'hashret'")
    connection.close()


NEWER = r"has format 99.*made by hashret 9\.1.*needs a newer hashret.*which reads formats 1 to 2"


def test_a_newer_index_is_refused_naming_the_versions(path, run):
    of_the_future(path)
    before = (path / "items.db").read_bytes()
    with pytest.raises(UnknownFormatError, match=NEWER) as caught:
        hashret.open(path)
    assert str(path / "items.db") in str(caught.value)
    assert f"this is hashret {hashret.__version__}" in str(caught.value)
    for arguments in (["verify"], ["compact"], ["items"], ["remove", "item 3"]):
        out = run(*arguments, "-i", path)
        assert out.returncode == 1
        assert "has format 99" in out.stderr
        assert "Traceback" not in out.stderr
    assert (path / "items.db").read_bytes() == before


def contents(path):
    """All files but the lock, and what SQLite puts beside a database that is read."""
    own = ("write.lock", "items.db-shm", "items.db-wal")
    return {
        file: file.read_bytes()
        for file in path.rglob("*")
        if file.is_file() and file.name not in own
    }


def test_repair_leaves_a_newer_index_alone(path):
    of_the_future(path)
    before = contents(path)
    with pytest.raises(UnknownFormatError, match=NEWER):
        hashret.Index.repair(path)
    assert contents(path) == before


def test_a_format_that_only_damage_made_newer_is_repaired(path, answers):
    with hashret.open(path) as index:
        index.compact()
    of_the_future(path)
    hashret.Index.repair(path)
    with hashret.open(path) as index:
        check_answers(index, answers)


@pytest.mark.parametrize("value", ["null", "0", "-1", "2.0", "true", '"2"', "[1]", "{", "1e999"])
def test_a_format_that_is_none_is_refused(path, value):
    connection = sqlite3.connect(path / "items.db")
    with connection:
        connection.execute("update settings set value = ? where name = 'format'", [value])
    connection.close()
    with pytest.raises(DamagedIndexError, match=r"items\.db"):
        hashret.open(path)


def test_a_newer_segment_is_refused_and_answered_for(path, answers, caplog):
    shutil.rmtree(path / "segments")
    with hashret.open(path) as index:
        index.compact()
    (folder,) = (path / "segments").iterdir()
    file = folder / "manifest.json"
    manifest = json.loads(file.read_text())
    del manifest["crc32"]
    manifest["format"] = 99
    file.write_text(json.dumps({**manifest, "crc32": _crc32_of(manifest)}))
    newer = r"manifest\.json has format 99, and needs a newer hashret.*which reads format 2"
    with pytest.raises(UnknownFormatError, match=newer):
        CodeIndex.open(folder)
    with hashret.open(path) as index:
        check_answers(index, answers)
    assert "has format 99" in caplog.text


def test_a_newer_encoder_is_refused(path):
    file = path / "encoder" / "encoder.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "format": 99}))
    with pytest.raises(UnknownFormatError, match="has format 99, and needs a newer hashret"):
        hashret.SemanticHasher.load(path / "encoder")
    with hashret.open(path) as index:
        assert any("encoder.json" in problem for problem in index.verify().problems)
        with pytest.raises(HashretError, match=r"encoder\.json"):
            index.reconstruct(index["item 3"].code)
