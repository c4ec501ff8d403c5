"""An index that someone sent: whatever is done with it, nothing outside of it is touched."""

import os
import re
import shutil
import socket
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import hashret
from hashret.cluster.storage import ClusterStorage
from hashret.errors import DamagedIndexError, HashretError, UnsafeIndexError
from hashret.store.copies import bring_to_rest
from hashret.store.items import item_checksum
from hashret.store.lock import WriterLock
from hashret.store.seal import SEAL_FILE, Seal


@pytest.fixture
def path(make_index):
    """An index of 600 vectors with a segment, beside which a log and its shared memory lie."""
    index = make_index("vectors")
    with hashret.open(index) as opened:
        opened.compact()
    return index


@pytest.fixture
def outside(tmp_path):
    """What lies around the index: another index, and folders that nobody may lose."""
    home = tmp_path / "home"
    for name in (".git/HEAD", ".ssh/id", "photos/1.png", "00000001-abcdef01/1.png", "file"):
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).write_bytes(b"precious " * 100)
    for folder in (*home.iterdir(), home):
        if folder.is_dir():
            os.utime(folder, (0, 0))  # so long ago that a sweep would take it
    return home


def state(folder):
    """All of a folder: names, kinds, content and times."""
    return {
        str(path.relative_to(folder)): (
            path.lstat().st_mode,
            path.lstat().st_mtime_ns,
            path.lstat().st_ctime_ns,
            path.read_bytes() if path.is_file() else None,
        )
        for path in [folder, *sorted(folder.rglob("*"))]
    }


def add(path):
    with hashret.open(path) as index:
        index.add(np.ones((1, 12), dtype=np.float32), key_prefix="new")


def compact(path):
    with hashret.open(path) as index:
        index.compact()


def remove(path):
    with hashret.open(path) as index:
        index.remove("0")


def query(path):
    with hashret.open(path) as index:
        index.query_key("0")
        index.info()
        len(index)
        list(index)


def verify(path):
    with hashret.open(path) as index:
        index.verify()


DONE = (query, verify, add, compact, remove, hashret.Index.repair)


def link(target):
    return lambda path: path.symlink_to(target)


def linked_to(home, name):
    """Ways in which a part of an index may be something else, by what the message calls it."""
    folder = name in ("encoder", "segments", ".repair", "plots")
    return {
        "a symbolic link": link(home if folder else home / "file"),
        "a symbolic link to nothing": link(home / "nothing"),
        "a pipe": os.mkfifo,
        "a socket": _socket,
        "a device": link("/dev/zero"),
        "hard links": lambda path: os.link(home / "file", path),
    }


def _socket(path):
    before = Path.cwd()
    os.chdir(path.parent)  # its name may have a hundred bytes only
    try:
        with socket.socket(socket.AF_UNIX) as one:
            one.bind(path.name)
    finally:
        os.chdir(before)


PARTS = ["items.db", "items.db-wal", "items.db-shm", "items.db-journal", "write.lock", "seal.json"]
FOLDERS = ["encoder", "segments", ".repair", "plots", "damaged-20260101-000000-000000"]


def replaced(path, make):
    if path.is_dir():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
    make(path)


ELSEWHERE = ["a symbolic link", "a symbolic link to nothing", "a pipe", "a socket", "a device"]


@pytest.mark.parametrize(
    ("name", "what"),
    [(name, what) for name in (*PARTS, *FOLDERS) for what in ELSEWHERE],
)
def test_a_part_that_leads_elsewhere_is_refused(path, outside, name, what):
    replaced(path / name, linked_to(outside, name)[what])
    before = state(outside)
    for done in DONE:
        with pytest.raises(UnsafeIndexError, match=re.escape(name)) as raised:
            done(path)
        assert "\n" not in str(raised.value)
        assert state(outside) == before
    assert not (outside / "nothing").exists()


@pytest.mark.parametrize("name", ["items.db-wal", "items.db-shm"])
def test_what_sqlite_writes_when_it_reads_may_have_no_other_name(path, outside, name):
    replaced(path / name, lambda part: os.link(outside / "file", part))
    before = state(outside)
    for done in DONE:
        with pytest.raises(UnsafeIndexError, match=re.escape(name)):
            done(path)
    assert state(outside) == before


@pytest.mark.parametrize("name", ["items.db", "write.lock"])
def test_a_copy_that_shares_files_is_read_and_not_changed(path, outside, name):
    """As backups make them, and tools that look for equal files."""
    os.link(path / name, outside / "backup")
    before = state(outside)
    for done in (query, verify):
        done(path)
    for done in (add, compact, remove, hashret.Index.repair):
        with pytest.raises(UnsafeIndexError, match=f"{re.escape(name)} has 2 hard links"):
            done(path)
    assert state(outside) == before
    (outside / "backup").unlink()
    add(path)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can be another user")
def test_folders_that_nobody_reads_may_be_closed(path):
    """Who repairs an index as root must not lock out all others."""
    for name in ("plots", "damaged-20260101-000000-000000"):
        (path / name).mkdir(mode=0o700)
    program = (
        "import os, sys, hashret\nfrom pathlib import Path\n"
        "from hashret.store.own_files import check_own_files\n"
        "os.chdir(sys.argv[1])\nos.setuid(65534)\ncheck_own_files(Path('.'))\nprint('fine')"
    )
    for one in (path, path / "encoder", path / "segments", *path.glob("segments/*")):
        one.chmod(0o755)
    out = subprocess.run([sys.executable, "-c", program, path], capture_output=True, text=True)
    assert out.stdout == "fine\n", out.stderr


@pytest.mark.parametrize("name", ["encoder/encoder.tflite", "segments/*/codes.npy",
                                  "segments/*/manifest.json", "segments/*"])  # fmt: skip
def test_a_part_of_a_part_that_leads_elsewhere_is_refused(path, outside, name):
    part = next(path.glob(name))
    replaced(part, link(outside / "00000001-abcdef01" if name == "segments/*" else "/etc/passwd"))
    before = state(outside)
    for done in DONE:
        with pytest.raises(UnsafeIndexError, match=re.escape(part.name)):
            done(path)
    assert state(outside) == before


def test_a_name_that_is_no_part_of_an_index_is_left_alone(path, outside):
    (path / "notes").symlink_to(outside)
    before = state(outside)
    for done in DONE:
        done(path)
    assert state(outside) == before
    assert (path / "notes").is_symlink()


def test_the_folder_of_an_index_may_be_a_link_of_its_user(path, tmp_path):
    (tmp_path / "short").symlink_to(path)
    for done in DONE:
        done(tmp_path / "short")


@pytest.mark.parametrize(
    "command",
    ["info", "query --key 0", "verify", "verify --repair", "compact", "items", "duplicates"],
)
def test_a_lock_elsewhere_is_refused_by_commands(path, outside, run, command):
    replaced(path / "write.lock", link(outside / "file"))
    before = state(outside)
    out = run(*command.split(), "-i", path)
    assert out.returncode == 1
    assert "write.lock is a symbolic link" in out.stderr
    assert "Traceback" not in out.stderr
    assert state(outside) == before


def test_adding_nothing_sweeps_nothing_elsewhere(path, outside, run, tmp_path):
    np.save(tmp_path / "none.npy", np.ones((1, 12), dtype=np.float32))
    replaced(path / "segments", link("../../home"))
    before = state(outside)
    out = run("index", tmp_path / "none.npy", "-i", path)
    assert (out.returncode, "segments is a symbolic link" in out.stderr) == (1, True)
    assert state(outside) == before


def test_reading_writes_nothing_into_the_lock(path):
    (path / SEAL_FILE).unlink()  # which a reader makes anew
    (path / "write.lock").write_bytes(b"1234567")
    time.sleep(0.05)  # a database that was written just now is not sealed by readers
    query(path)
    assert Seal.read(path) is not None
    assert (path / "write.lock").read_bytes() == b"1234567"


def test_the_lock_names_its_holder(path):
    with WriterLock(path), pytest.raises(HashretError, match=f"by process {os.getpid()}"):
        add(path)


def test_only_folders_of_the_own_pattern_are_swept(path):
    segments = path / "segments"
    kept = ["photos", ".git", "1x", "00000001-ABCDEF01", ".codes-1", "00000009-abcdef01.txt"]
    swept = ["00000009-abcdef01", "000001", ".codes-01234567", ".00000009-abcdef01.01234567.tmp"]
    for name in (*kept, *swept):
        (segments / name).mkdir()
        (segments / name / "1.png").write_bytes(b"x")
        os.utime(segments / name, (0, 0))
    add(path)
    left = {one.name for one in segments.iterdir()}
    assert left >= set(kept)
    assert not left & set(swept)


def test_a_segment_replaced_just_now_is_left_to_its_readers(path):
    (path / "segments/00000009-abcdef01").mkdir()
    add(path)
    assert (path / "segments/00000009-abcdef01").is_dir()


def test_only_unfinished_seals_of_the_own_pattern_are_swept(path):
    (path / f".{SEAL_FILE}.abc_1234").write_text("x")
    (path / f".{SEAL_FILE}.Mine.txt").write_text("x")
    add(path)
    assert not (path / f".{SEAL_FILE}.abc_1234").exists()
    assert (path / f".{SEAL_FILE}.Mine.txt").exists()


def test_what_lies_beside_a_new_index_is_swept_only_where_it_is_its_own(outside, tmp_path):
    names = [".new.unfinished-1", ".new.unfinished-mine", ".other.unfinished-01234567"]
    for name in (*names, ".new.unfinished-01234567"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text("x")
    (tmp_path / ".new.unfinished-89abcdef").symlink_to(outside)
    before = state(outside)
    hashret.create_from_codes(tmp_path / "new", np.zeros((3, 8), np.uint8)).close()
    assert all((tmp_path / name / "file").exists() for name in names)
    assert not (tmp_path / ".new.unfinished-01234567").exists()
    assert state(outside) == before


def test_a_database_that_is_a_link_to_another_index_stays_as_it_is(path, tmp_path, outside):
    other = shutil.copytree(path, outside / "other")
    with sqlite3.connect(other / "items.db") as connection:
        connection.execute("update items set code = x'00000000' where row < 9")
    connection.close()
    for make in (lambda one: one.symlink_to(other / "items.db"),
                 lambda one: os.link(other / "items.db", one)):  # fmt: skip
        replaced(path / "items.db", make)
        before = state(outside)
        with pytest.raises(UnsafeIndexError, match=r"items\.db"):
            hashret.Index.repair(path)
        assert state(outside) == before


def test_a_rollback_journal_is_refused_and_left_alone(path, outside):
    (path / "items.db-journal").write_bytes(b"\xd9\xd5\x05\xf9 \xa1c\xd7" + bytes(600))
    before, journal = state(outside), (path / "items.db-journal").read_bytes()
    for done in DONE:
        with pytest.raises(UnsafeIndexError, match="rollback journal"):
            done(path)
    assert state(outside) == before
    assert (path / "items.db-journal").read_bytes() == journal


def test_what_a_run_left_that_died_while_it_made_a_database_is_swept(tmp_path):
    left = tmp_path / ".new.unfinished-01234567"
    left.mkdir()
    (left / "items.db-journal").write_bytes(b"x")
    hashret.create_from_codes(tmp_path / "new", np.zeros((3, 8), np.uint8)).close()
    assert not left.exists()


# What the rows of a database name


def with_segment(path, name, first=1, last=2):
    connection = sqlite3.connect(path / "items.db")
    with connection:
        connection.execute("delete from segments")
        connection.execute("insert into segments values (?, ?, ?, 5)", [name, first, last])
    connection.close()
    (path / SEAL_FILE).unlink(missing_ok=True)


@pytest.mark.parametrize(
    "name",
    ["../../../home/.ssh", "../../../home/.ssh/.", "/etc", "..", "", "00000001/..", "photos"],
)
def test_the_name_of_a_segment_leads_nowhere_else(path, outside, name):
    with hashret.open(path) as index:
        answer = [hit.key for hit in index.query_key("5", radius=32, limit=None)]
    with_segment(path, name)
    before = state(outside)
    for done in (query, add, compact, remove):
        with pytest.raises(DamagedIndexError, match="list of segments"):
            done(path)
    with pytest.raises(DamagedIndexError, match="list of segments"):
        bring_to_rest(path)
    with hashret.open(path) as index:
        assert any("list of segments" in problem for problem in index.verify().problems)
    hashret.Index.repair(path)
    with hashret.open(path) as index:
        assert [hit.key for hit in index.query_key("5", radius=32, limit=None)] == answer
        index.compact()
    assert state(outside) == before


@pytest.mark.parametrize(("first", "last"), [(1, 2**63 - 1), (-5, 3), (2**62 + 1, 2**62 + 1)])
def test_rows_of_a_segment_that_cannot_be_are_refused(path, first, last):
    with_segment(path, "00000009-abcdef01", first, last)
    with pytest.raises(DamagedIndexError, match="list of segments"):
        query(path)
    hashret.Index.repair(path)
    query(path)


@pytest.mark.parametrize("fields", ["5", "[1]", "null"])
def test_fields_that_are_none_cost_their_item_only(path, fields):
    connection = sqlite3.connect(path / "items.db")
    with connection:
        row, key, code, digest = connection.execute(
            "select row, key, code, content_hash from items where row = 7"
        ).fetchone()
        checksum = item_checksum(key, code, fields, digest)
        connection.execute(
            "update items set fields = ?, checksum = ? where row = ?", [fields, checksum, row]
        )
        connection.execute("drop table settings")  # so that all is made anew
    connection.close()
    report = hashret.Index.repair(path)
    assert report.items == 599
    assert any("row 7" in line for line in report.lost)


# What a schema holds


def changed_schema(path, *statements):
    connection = sqlite3.connect(path / "items.db")
    connection.execute("pragma writable_schema = on")
    with connection:
        for statement in statements:
            connection.execute(statement)
    connection.close()
    (path / SEAL_FILE).unlink(missing_ok=True)


SCHEMAS = {
    "a trigger that is called TRIGGER": (
        "create trigger t after insert on items begin delete from items where row > 3; end",
        "update sqlite_master set type = 'TRIGGER' where name = 't'",
    ),
    "a trigger that is called an index": (
        "create trigger t after insert on items begin delete from items where row > 3; end",
        "update sqlite_master set type = 'index' where name = 't'",
    ),
    "a virtual table with a line break": (
        "create virtual table v using fts5(a)",
        "update sqlite_master set sql = 'CREATE' || char(10) || 'VIRTUAL TABLE v USING fts5(a)' "
        "where name = 'v'",
    ),
    "a virtual table with a remark": (
        "create virtual table v using fts5(a)",
        "update sqlite_master set sql = 'CREATE /**/ VIRTUAL TABLE v USING fts5(a)' "
        "where name = 'v'",
    ),
    "another table": ("create table more (a unique)",),
    "another index": ("create index more on items(position)",),
    "a field index of another expression": (
        "create index \"field:a\" on items(json_extract(fields, '$.b'))",
    ),
    "a column that is computed": (
        "alter table sources add column more text as (upper(location)) virtual",
    ),
    "a check": ("update sqlite_master set sql = replace(sql, 'position integer', "
                "'position integer check (row < 3)') where name = 'items'",),
    "an index of a function": (
        'create index evil on "_sqlite_migrations"(upper("name"))',
        "update sqlite_master set sql = replace(sql, 'upper', '\"upper\"') where name = 'evil'",
    ),
    "migrations that act": (
        "update sqlite_master set sql = replace(sql, '\"name\" TEXT', "
        "'\"name\" TEXT DEFAULT (1)') where name = '_sqlite_migrations'",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", SCHEMAS)
def test_a_schema_that_hashret_has_not_made_is_refused_and_repaired(path, name):
    with hashret.open(path) as index:
        answer = [hit.key for hit in index.query_key("5", radius=32, limit=None)]
    changed_schema(path, *SCHEMAS[name])
    for done in DONE[:-1]:
        with pytest.raises(DamagedIndexError, match="not made|malformed"):
            done(path)
    assert hashret.Index.repair(path).items == len(answer)
    add(path)
    with hashret.open(path) as index:
        found = [hit.key for hit in index.query_key("5", radius=32, limit=None)]
        assert [key for key in found if key != "new0"] == answer
        assert len(index) == len(answer) + 1
        assert index.verify().ok


def test_what_hashret_and_sqlite_make_themselves_is_known(path):
    add(path)
    with hashret.open(path) as index:
        index.add([("k", np.ones(12, dtype=np.float32), {"it's a [name]": 1})])
        index.index_field("it's a [name]")
    with sqlite3.connect(path / "items.db") as connection:
        connection.execute("analyze")
    connection.close()
    (path / SEAL_FILE).unlink()
    for done in DONE:
        done(path)


# Clusters


@pytest.mark.parametrize("name", ["learned", "shards-1", "shards-1/00000", "cluster.json"])
def test_a_folder_of_a_cluster_that_leads_elsewhere_is_refused(tmp_path, outside, name):
    root = tmp_path / "cluster"
    (root / "shards-1/00000").mkdir(parents=True)
    (root / "learned").mkdir()
    replaced(root / name, link(outside))
    storage = ClusterStorage(str(root))
    before = state(outside)
    uses = {
        "learned": [storage.learned],
        "cluster.json": [storage.layout],
    }.get(name, [lambda: storage.reading("shards-1/00000"),
                 lambda: storage.writing("shards-1/00000"),
                 lambda: storage.remove("shards-1/00000")])  # fmt: skip
    for use in uses:
        with pytest.raises(UnsafeIndexError, match=re.escape(name)):
            use()
    assert state(outside) == before


def test_copies_of_shards_are_swept_only_in_their_own_folder(tmp_path, outside, monkeypatch):
    from hashret.cluster.cluster_layout import Layout
    from hashret.cluster.published import PublishedStorage

    monkeypatch.setenv("HASHRET_CACHE", str(tmp_path / "cache"))
    storage = PublishedStorage(f"file://{tmp_path}/published")
    cache = storage._cache
    for use in ("reading", "writing"):
        (cache / use).mkdir(parents=True)
        (cache / use / "shards-1").symlink_to(outside)
        (cache / use / "shards-2").mkdir()
        (cache / use / "shards-2/00000").symlink_to(outside)
        own = cache / use / "shards-3/00000"
        (own / "00000001-abcdef01").mkdir(parents=True)
        (own / "00000002-abcdef01").symlink_to(outside)
    before = state(outside)
    layout = Layout(1, 4, "e", 64, "text", "0", "0")
    storage._sweep(layout)
    assert state(outside) == before
    assert not (cache / "reading/shards-3/00000/00000001-abcdef01").exists()
    assert not (cache / "writing/shards-3/00000").exists()


def test_a_mounted_store_leads_nowhere_else(tmp_path, outside):
    from hashret.cluster.published import PublishedStorage
    from hashret.cluster.remote_folder import RemoteFolder

    root = tmp_path / "published"
    (root / "shards-1/00001").mkdir(parents=True)
    (root / "shards-1/00001/a").write_text("x")
    (root / "shards-1/00000").symlink_to(outside)
    (root / "shards-1/00001/b").symlink_to(outside / "file")
    remote = RemoteFolder(f"file://{root}")
    before = state(outside)
    for use in (
        lambda: remote.read("shards-1/00000/file"),
        lambda: remote.write("shards-1/00000/new", b"x"),
        lambda: remote.names("shards-1/00000"),
        lambda: remote.remove(["shards-1/00000/file"]),
        lambda: remote.put(root / "shards-1/00001/a", "shards-1/00000/new"),
        lambda: remote.read("../home/file"),
        lambda: remote.write("shards-1/../../home/new", b"x"),
    ):
        with pytest.raises(UnsafeIndexError):
            use()
    assert remote.names("shards-1") == ["00001/a"]
    assert state(outside) == before
    os.mkfifo(root / "cluster.json")
    with pytest.raises(UnsafeIndexError, match="pipe"):
        PublishedStorage(f"file://{root}").layout()
