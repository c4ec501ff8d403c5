"""Clusters behind URLs: versions, copies on each node, and what happens when things go wrong."""

import logging
import os
import shutil
import signal
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import ClassVar

import numpy as np
import pytest

import hashret
from hashret.cluster import cached_shard
from hashret.cluster.cluster_layout import Layout
from hashret.cluster.published import storage_at
from hashret.cluster.remote_folder import RemoteFolder
from hashret.cluster.storage import ClusterStorage
from hashret.cluster.versions import Version
from hashret.errors import (
    DamagedIndexError,
    HashretError,
    IndexChangedError,
    IndexNotFoundError,
    UsageError,
)
from hashret.store import WriterLock

fsspec = pytest.importorskip("fsspec")

from fsspec.implementations.local import LocalFileSystem  # noqa: E402
from fsspec.implementations.memory import MemoryFileSystem  # noqa: E402

SHARD = "shards-1/00003"
CODES = np.random.default_rng(0).integers(256, size=(120, 8), dtype=np.uint8)
LAYOUT = Layout(6, 1, "0123", 64, "codes", "0.1.0", "2026-01-01T00:00:00+00:00")


class Script:
    """What happens at the calls of a file system."""

    def __init__(self):
        self.clear()

    def clear(self):
        self.calls, self.at, self.do, self.done_first = [], 0, None, False

    def break_at(self, number, do, *, done_first=False):
        self.calls, self.at, self.do, self.done_first = [], number, do, done_first

    def called(self, kind):
        return [path for name, path in self.calls if name == kind]


SCRIPT = Script()


class Broken(OSError):
    """What a file system that is told to break raises."""


def scripted(name):
    def call(self, path, *arguments, **options):
        SCRIPT.calls.append((name, str(path)))
        now = len(SCRIPT.calls) == SCRIPT.at
        if now and not SCRIPT.done_first:
            SCRIPT.do()
        result = getattr(super(type(self), self), name)(path, *arguments, **options)
        if now and SCRIPT.done_first:
            SCRIPT.do()
        return result

    return call


CALLS = ("cat_file", "get_file", "put_file", "pipe_file", "find", "rm", "mv")


def broken():
    raise Broken("the cable was pulled")


class ScriptedMemory(MemoryFileSystem):
    protocol = "scripted"
    store: ClassVar = {}
    pseudo_dirs: ClassVar = [""]

    @classmethod
    def _strip_protocol(cls, path):
        return super()._strip_protocol(str(path).removeprefix("scripted://"))


class ScriptedDisk(LocalFileSystem):
    protocol = "disk"


for kind in (ScriptedMemory, ScriptedDisk):
    for name in CALLS:
        setattr(kind, name, scripted(name))
    fsspec.register_implementation(kind.protocol, kind, clobber=True)


@pytest.fixture(autouse=True)
def clean(caplog):
    caplog.set_level(logging.INFO, "hashret")
    SCRIPT.clear()
    yield
    SCRIPT.clear()
    ScriptedMemory.store.clear()
    fsspec.filesystem("memory").store.clear()


@pytest.fixture
def node(tmp_path, monkeypatch):
    """The storage as a machine of this name has it."""

    def storage(name, url="scripted://bucket/cluster"):
        monkeypatch.setenv("HASHRET_CACHE", str(tmp_path / "caches" / name))
        return storage_at(url)

    return storage


@pytest.fixture(params=["file", "memory"])
def url(request, tmp_path):
    return f"file://{tmp_path}/mnt/cluster" if request.param == "file" else "memory://b/cluster"


def write(storage, codes, keys=None):
    path = storage.writing(SHARD)
    if not path.exists():
        hashret.create_from_codes(path, codes, keys).close()
        return
    with hashret.open(path) as index:
        index.add_codes(codes, keys)


def put(storage, codes, keys=None):
    write(storage, codes, keys)
    storage.publish(SHARD)


def count(storage, **options):
    with hashret.open(storage.reading(SHARD, **options)) as index:
        assert index.verify().ok
        return len(index)


def files_of(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def wait_until(true):
    give_up = time.time() + 30
    while not true():
        assert time.time() < give_up
        time.sleep(0.01)


def in_child(work):
    """Start something in a process of its own."""
    child = os.fork()
    if child:
        return child
    code = 70
    try:
        signal.alarm(60)
        code = work() or 0
    finally:
        os._exit(code)


def exit_of(child):
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


# In place


def test_behind_a_path_everything_is_used_in_place(tmp_path):
    storage = storage_at(tmp_path / "cluster")
    folder = tmp_path / "cluster" / SHARD
    assert type(storage) is ClusterStorage
    assert storage.writing(SHARD) == storage.reading(SHARD, fresh=True) == folder
    put(storage, CODES)
    assert files_of(tmp_path / "cluster") == {f"{SHARD}/{name}" for name in files_of(folder)}
    storage.write_layout(LAYOUT)
    assert storage.layout() == LAYOUT
    storage.remove("shards-1")
    storage.remove("shards-1")
    assert not folder.exists()
    with pytest.raises(IndexNotFoundError, match="cluster index"):
        storage_at(tmp_path / "elsewhere").layout()


# Behind a URL


def test_an_index_goes_through_a_url_as_it_is(node, url, make_index, vectors, caplog, monkeypatch):
    monkeypatch.setattr("hashret.index.snapshot.SEGMENT_ROWS", 50)
    path = make_index("vectors")
    with hashret.open(path) as index:
        index.compact()
        index.add(vectors[:10] * 1.5, key_prefix="tail-")
    writer, reader = node("a", url), node("b", url)
    shutil.copytree(path, writer.writing(SHARD))
    writer.publish(SHARD)
    with hashret.open(path) as index, hashret.open(reader.reading(SHARD)) as copy:
        assert copy.verify() == index.verify()
        assert copy.verify().segments == 1
        for key in ("3", "17", "tail-4"):
            assert list(copy.query_key(key, 12, None)) == list(index.query_key(key, 12, None))
        assert list(copy.query(vectors[5])) == list(index.query(vectors[5]))
    assert caplog.text == ""


def test_the_files_of_a_copy_are_known_to_be_whole(node, monkeypatch, caplog):
    monkeypatch.setattr("hashret.index.snapshot.SEGMENT_ROWS", 50)
    monkeypatch.setattr("hashret.store.guard.SAID_FROM_BYTES", 0)
    put(node("a"), CODES)
    folder = node("b").reading(SHARD)

    def read(*_):
        raise AssertionError("it was read")

    monkeypatch.setattr("hashret.store.guard.chunk_checksums", read)
    monkeypatch.setattr("hashret.index.snapshot.segment_problems", read)
    with hashret.open(folder) as index:
        assert index.query_code(CODES[7], radius=0)[0].key == "7"
    assert caplog.text == ""


def test_the_index_that_was_learned_is_published_as_a_shard_is(node, url, make_index):
    path = make_index("vectors")
    writer = node("a", url)
    assert not writer.writing("learned").exists()
    shutil.copytree(path, writer.writing("learned"))
    writer.publish("learned")
    with hashret.open(node("b", url).learned()) as learned, hashret.open(path) as index:
        assert learned.info()["encoder"] == index.info()["encoder"]


def test_the_layout_lies_at_the_url(node, url):
    storage = node("a", url)
    with pytest.raises(IndexNotFoundError, match=url):
        storage.layout()
    storage.write_layout(LAYOUT)
    assert node("b", url).layout() == LAYOUT
    storage.write_layout(LAYOUT.resharded(4))
    assert node("b", url).layout().shards == 4


def test_changes_are_seen_when_they_are_published(node, url):
    writer, reader = node("a", url), node("b", url)
    put(writer, CODES[:50])
    assert count(reader) == 50
    write(writer, CODES[50:60], [f"n{row}" for row in range(10)])
    assert count(reader, fresh=True) == 50
    writer.publish(SHARD)
    assert count(reader, fresh=True) == 60
    assert count(node("c", url)) == 60


def test_only_what_is_new_is_sent_and_fetched(node, monkeypatch):
    monkeypatch.setattr("hashret.index.snapshot.SEGMENT_ROWS", 50)
    writer, reader = node("a"), node("b")
    put(writer, CODES)
    assert sum("/segments/" in path for path in ScriptedMemory.store) == 3
    reader.reading(SHARD)
    SCRIPT.clear()
    put(writer, CODES[:5] ^ 1, list("abcde"))
    assert {Path(path).name for path in SCRIPT.called("put_file")} == {"items.db", "seal.json"}
    SCRIPT.clear()
    assert count(reader, fresh=True) == 125
    assert {Path(path).name for path in SCRIPT.called("get_file")} == {"items.db", "seal.json"}
    SCRIPT.clear()
    writer.publish(SHARD)
    assert SCRIPT.called("put_file") == SCRIPT.called("pipe_file") == []


def test_a_new_version_is_looked_for_every_few_seconds_only(node, monkeypatch):
    put(node("a"), CODES[:50])
    reader = node("b")
    reader.reading(SHARD)
    put(node("a"), CODES[50:], [f"n{row}" for row in range(70)])
    SCRIPT.clear()
    for _ in range(20):
        assert count(reader) == 50
    assert SCRIPT.calls == []
    monkeypatch.setattr(cached_shard, "REFRESH_SECONDS", 1e9)
    now = time.monotonic() + 10.1
    monkeypatch.setattr(cached_shard.time, "monotonic", lambda: now)
    old = reader.reading(SHARD)
    wait_until(lambda: reader.reading(SHARD) != old)
    for _ in range(20):
        assert count(reader) == 120
    assert len(SCRIPT.called("cat_file")) == 1


def test_a_store_that_does_not_answer_holds_up_no_reader(node, monkeypatch):
    put(node("a"), CODES)
    reader = node("b")
    folder = reader.reading(SHARD)
    asked, answer, waited = threading.Event(), threading.Event(), []

    def wait():
        asked.set()
        waited.append(answer.wait(20))
        broken()

    SCRIPT.break_at(1, wait)
    now = time.monotonic() + 10.1
    monkeypatch.setattr(cached_shard.time, "monotonic", lambda: now)
    assert reader.reading(SHARD) == folder
    assert asked.wait(30)
    assert reader.reading(SHARD) == folder
    assert waited == []
    answer.set()
    wait_until(lambda: "hashret-refresh" not in [thread.name for thread in threading.enumerate()])
    assert reader.reading(SHARD, fresh=True) == folder


def test_after_an_idle_time_the_first_answer_is_of_the_newest_version(node, monkeypatch):
    put(node("a"), CODES[:50])
    reader = node("b")
    assert count(reader) == 50
    put(node("a"), CODES[50:], [f"n{row}" for row in range(70)])
    now = time.monotonic() + 20.1
    monkeypatch.setattr(cached_shard.time, "monotonic", lambda: now)
    assert count(reader) == 120


def test_after_an_idle_time_a_store_that_does_not_answer_is_waited_for_once(node, monkeypatch):
    put(node("a"), CODES)
    reader = node("b")
    folder = reader.reading(SHARD)
    answer, waited = threading.Event(), []

    def wait():
        waited.append(answer.wait(20))
        broken()

    SCRIPT.break_at(1, wait)
    monkeypatch.setattr(cached_shard, "PATIENCE_SECONDS", 0.01)
    now = time.monotonic() + 20.1
    monkeypatch.setattr(cached_shard.time, "monotonic", lambda: now)
    assert reader.reading(SHARD) == folder
    monkeypatch.setattr(cached_shard, "PATIENCE_SECONDS", 60.0)
    for _ in range(3):
        assert reader.reading(SHARD) == folder
    assert waited == []
    answer.set()
    wait_until(lambda: "hashret-refresh" not in [thread.name for thread in threading.enumerate()])
    assert reader.reading(SHARD) == folder


def test_who_publishes_sees_it_at_once(node):
    storage = node("a")
    put(storage, CODES[:50])
    assert count(storage) == 50
    put(storage, CODES[50:60], [f"n{row}" for row in range(10)])
    assert count(storage) == 60


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_a_cache_that_cannot_be_written_is_read(monkeypatch):
    with TemporaryDirectory() as folder:  # where pytest makes its own, only its user may enter
        Path(folder).chmod(0o755)
        monkeypatch.setenv("HASHRET_CACHE", f"{folder}/cache")
        storage = storage_at(f"file://{folder}/mnt")
        put(storage, CODES[:50])
        storage.reading(SHARD)

        def read():
            os.setgid(65534)
            os.setuid(65534)
            reader = storage_at(f"file://{folder}/mnt")
            with hashret.open(reader.reading(SHARD)) as index:
                hits = index.query_code(CODES[7], radius=0)
                return 10 if index.verify().ok and [hit.key for hit in hits] == ["7"] else 11

        assert exit_of(in_child(read)) == 10
        put(storage, CODES[50:], [f"n{row}" for row in range(70)])
        assert exit_of(in_child(read)) == 10  # the version that is there

        def read_nothing():
            shutil.rmtree(f"{folder}/cache", ignore_errors=True)
            os.setgid(65534)
            os.setuid(65534)
            try:
                storage_at(f"file://{folder}/mnt").reading(SHARD)
            except HashretError as error:
                return 10 if "HASHRET_CACHE" in str(error) else 11

        assert exit_of(in_child(read_nothing)) == 10


# Versions


def test_the_newest_version_and_the_one_before_it_are_kept(node, url, tmp_path, monkeypatch):
    monkeypatch.setattr("hashret.index.snapshot.SEGMENT_ROWS", 50)
    storage = node("a", url)
    put(storage, CODES)
    for number in range(4):
        put(storage, CODES[:1] ^ (number + 1), [f"n{number}"])
    with hashret.open(storage.writing(SHARD)) as index:
        index.compact()
    storage.publish(SHARD)
    remote = RemoteFolder(url)
    names = remote.names(SHARD)
    current = Version.from_json(remote.read(f"{SHARD}/current.json"), "here")
    assert sum(name.endswith("version.json") for name in names) == 2
    assert sum(name.endswith("items.db") for name in names) == 2
    assert sum("/segments/" in name for name in names) == 6  # the first, and that of compact
    assert {file.at for file in current.files.values()} < set(names)
    before = next(name for name in names if "version.json" in name and current.name not in name)
    remote.write(f"{SHARD}/current.json", remote.read(f"{SHARD}/{before}"))
    assert count(node("b", url)) == 124
    if "file:" in url:
        folders = [path for path in (tmp_path / "mnt/cluster" / SHARD).iterdir() if path.is_dir()]
        assert len(folders) == 3


def test_what_was_never_finished_is_removed_but_not_what_is_being_written(node):
    storage, remote = node("a"), RemoteFolder("scripted://bucket/cluster")
    put(storage, CODES[:50])
    for version in ("00000001-dead", "00000009-alive"):
        remote.write(f"{SHARD}/{version}/items.db", b"some of it")
    for number in range(3):
        put(storage, CODES[:1] ^ (number + 1), [f"n{number}"])
    names = remote.names(SHARD)
    assert "00000001-dead/items.db" not in names
    assert "00000009-alive/items.db" in names


def test_old_copies_are_removed_when_nobody_can_be_reading_them(node, monkeypatch, tmp_path):
    writer, reader = node("a"), node("b")
    other = node("b")
    versions = tmp_path.joinpath("caches", "b").glob("clusters/*/reading/shards-1/00003")
    put(writer, CODES[:50])
    old = other.reading(SHARD)
    assert reader.reading(SHARD) == old
    monkeypatch.setattr(cached_shard, "KEPT_SECONDS", -1.0)
    with hashret.open(old) as index:
        put(writer, CODES[50:60], [f"n{row}" for row in range(10)])
        new = reader.reading(SHARD, fresh=True)
        reader.reading(SHARD, fresh=True)
        assert new != old
        assert index.query_code(CODES[7], radius=0)[0].key == "7"  # the other one reads on
    assert other.reading(SHARD, fresh=True) == new
    other.reading(SHARD, fresh=True)
    (folder,) = versions
    assert [path for path in folder.iterdir() if path.is_dir()] == [new]


def test_a_copy_stays_for_a_while_after_there_is_a_newer_one(node):
    writer, reader = node("a"), node("b")
    put(writer, CODES[:50])
    with hashret.open(reader.reading(SHARD)) as index:
        put(writer, CODES[50:60], [f"n{row}" for row in range(10)])
        for _ in range(3):
            assert count(reader, fresh=True) == 60
        assert index.query_code(CODES[7], radius=0)[0].key == "7"


def test_a_version_that_is_removed_while_it_is_fetched_gives_way_to_the_newest(node):
    writer = node("a")
    put(writer, CODES[:50])

    def publish_more():
        SCRIPT.clear()
        for number in range(3):
            put(writer, CODES[:1] ^ (number + 1), [f"n{number}"])

    SCRIPT.break_at(2, publish_more)
    assert count(node("b")) == 53


def test_removed_shards_are_gone(node, url):
    storage = node("a", url)
    put(storage, CODES)
    storage.remove("shards-1")
    assert RemoteFolder(url).names("shards-1") == []
    write(storage, CODES[:9])
    storage.remove("shards-1")
    assert not storage.writing(SHARD).exists()
    with pytest.raises(IndexNotFoundError, match=r"00003/current\.json"):
        node("b", url).reading(SHARD)


def moved_on(storage, _):
    """The cluster has other shards by now, or is removed with all it had."""
    storage.write_layout(LAYOUT.resharded(4))
    storage.remove("shards-1")


def removed(_, url):
    system, path = fsspec.url_to_fs(url)
    system.rm(path, recursive=True)


@pytest.mark.parametrize("end", [moved_on, removed])
def test_a_shard_that_is_gone_is_not_answered_from_a_copy(node, url, end, monkeypatch, tmp_path):
    (tmp_path / "mnt").mkdir()
    (tmp_path / "mnt/other").touch()
    writer, reader = node("a", url), node("b", url)
    writer.write_layout(LAYOUT)
    put(writer, CODES)
    reader.reading(SHARD)
    end(writer, url)
    now = time.monotonic() + 10.1
    monkeypatch.setattr(cached_shard.time, "monotonic", lambda: now)
    with suppress(IndexNotFoundError):  # a thread looks, and may be quick
        reader.reading(SHARD)
    wait_until(lambda: "hashret-refresh" not in [thread.name for thread in threading.enumerate()])
    for storage in (reader, node("b", url)):  # the same process, and one that starts now
        for fresh in (False, True, False):
            with pytest.raises(IndexNotFoundError, match=r"00003/current\.json.*Open the cluster"):
                storage.reading(SHARD, fresh=fresh)


def test_copies_of_shards_that_were_replaced_are_removed_unless_someone_uses_them(node, tmp_path):
    writer, reader = node("a"), node("b")
    writer.write_layout(LAYOUT)
    put(writer, CODES)
    next_one = SHARD.replace("1", "2", 1)
    changed = reader.writing(SHARD)
    hashret.create_from_codes(reader.writing(next_one), CODES).close()
    reader.publish(next_one)
    reader.reading(SHARD)
    reader.reading(next_one)
    moved_on(writer, None)
    caches = tmp_path / "caches/b/clusters"

    def copies():
        return sorted(f"{path.parent.name}/{path.name}" for path in caches.glob("*/*/shards-*"))

    with WriterLock(changed):
        reader.layout()
    assert copies() == [f"{use}/shards-{n}" for use in ("reading", "writing") for n in (1, 2)]
    reader.layout()  # which still holds the copy that it has read
    assert copies() == ["reading/shards-1", "reading/shards-2", "writing/shards-2"]
    del reader
    node("b").layout()
    assert copies() == ["reading/shards-2", "writing/shards-2"]


def test_copies_of_the_shards_to_come_stay(node):
    storage = node("a")
    storage.write_layout(LAYOUT)
    next_one = SHARD.replace("1", "2", 1)
    hashret.create_from_codes(storage.writing(next_one), CODES).close()
    storage.layout()
    storage.publish(next_one)
    assert storage.reading(next_one).is_dir()


def test_a_shard_that_is_back_is_read_again(node):
    writer, reader = node("a"), node("b")
    put(writer, CODES)
    reader.reading(SHARD)
    writer.remove(SHARD)
    with pytest.raises(IndexNotFoundError):
        reader.reading(SHARD, fresh=True)
    put(writer, CODES[:50])
    assert count(reader, fresh=True) == count(reader) == 50


def test_a_store_that_cannot_be_reached_does_not_bring_back_what_is_gone(node, monkeypatch):
    writer, reader = node("a"), node("b")
    put(writer, CODES)
    reader.reading(SHARD)
    writer.remove(SHARD)
    with pytest.raises(IndexNotFoundError):
        reader.reading(SHARD, fresh=True)
    monkeypatch.setattr(ScriptedMemory, "cat_file", lambda *_: broken())
    with pytest.raises(HashretError, match="the cable was pulled"):
        reader.reading(SHARD, fresh=True)


def test_a_disk_that_is_not_mounted_leaves_what_is_here(node, tmp_path, caplog):
    url = f"file://{tmp_path}/mnt/cluster"
    writer, reader = node("a", url), node("b", url)
    put(writer, CODES)
    writer.write_layout(LAYOUT)
    folder = reader.reading(SHARD)
    (tmp_path / "mnt").rename(tmp_path / "unmounted")
    assert reader.reading(SHARD, fresh=True) == folder
    (tmp_path / "mnt").mkdir()
    assert reader.reading(SHARD, fresh=True) == folder
    assert node("b", url).reading(SHARD) == folder
    assert f"go on with version {folder.name}" in caplog.text


def test_a_shard_that_the_cluster_still_names_is_not_gone(node):
    writer, reader = node("a"), node("b")
    put(writer, CODES)
    writer.write_layout(LAYOUT)
    folder = reader.reading(SHARD)
    writer.remove(SHARD)
    assert reader.reading(SHARD, fresh=True) == folder


# Damage


def spoil_fetched(monkeypatch, times):
    """Some times, a bit of what was fetched is another one."""
    left = [times]
    fetch = RemoteFolder.get

    def get(self, name, path):
        fetch(self, name, path)
        if name.endswith("items.db") and left[0]:
            left[0] -= 1
            content = bytearray(path.read_bytes())
            content[5000] ^= 4
            path.write_bytes(content)

    monkeypatch.setattr(RemoteFolder, "get", get)


def test_a_file_that_came_damaged_is_named_and_fetched_again(node, monkeypatch, caplog):
    put(node("a"), CODES)
    spoil_fetched(monkeypatch, 1)
    assert count(node("b")) == 120
    assert "scripted://bucket/cluster/shards-1/00003/00000001-" in caplog.text
    assert "items.db" in caplog.text


def test_a_file_that_is_damaged_in_the_store_is_named_and_can_be_sent_again(node, tmp_path):
    writer = node("a")
    put(writer, CODES)
    (path,) = (path for path in ScriptedMemory.store if path.endswith("items.db"))
    whole = ScriptedMemory.store[path].getvalue()
    ScriptedMemory().pipe_file(path, whole[:5000] + b"?" + whole[5001:])
    reader = node("b")
    with pytest.raises(DamagedIndexError, match=r"scripted://.*items\.db is damaged.*whole=True"):
        reader.reading(SHARD)
    assert {Path(path).name for path in files_of(tmp_path / "caches" / "b")} == {"fetch.lock"}
    writer.publish(SHARD, whole=True)
    assert count(reader) == 120


def test_damage_of_a_new_version_leaves_the_one_that_is_here(node, monkeypatch, caplog):
    writer, reader = node("a"), node("b")
    put(writer, CODES[:50])
    folder = reader.reading(SHARD)
    put(writer, CODES[50:60], [f"n{row}" for row in range(10)])
    spoil_fetched(monkeypatch, 9)
    assert reader.reading(SHARD, fresh=True) == folder
    assert f"go on with version {folder.name}" in caplog.text


def test_a_damaged_copy_can_be_fetched_again(node):
    put(node("a"), CODES)
    reader = node("b")
    folder = reader.reading(SHARD)
    (folder / "items.db").write_bytes(b"nonsense")
    reader.discard(SHARD)
    assert count(reader) == 120


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"format": 1}', b'{"format": 2}', b"\xff"])
def test_a_damaged_list_of_files_is_named(node, content):
    put(node("a"), CODES)
    RemoteFolder("scripted://bucket/cluster").write(f"{SHARD}/current.json", content)
    with pytest.raises(DamagedIndexError, match=r"scripted://bucket/cluster/.*current\.json"):
        node("b").reading(SHARD)


def test_a_list_that_was_changed_or_leads_elsewhere_is_refused(node):
    put(node("a"), CODES)
    remote = RemoteFolder("scripted://bucket/cluster")
    content = remote.read(f"{SHARD}/current.json")
    with pytest.raises(DamagedIndexError):
        Version.from_json(content.replace(b'"generation": ', b'"generation": 1'), "here")
    version = Version.from_json(content, "here")
    for name in ("../items.db", "/items.db", ""):
        away = Version(version.name, 1, {name: version.files["items.db"]})
        with pytest.raises(DamagedIndexError):
            Version.from_json(away.to_json(), "here")


def test_a_damaged_index_is_not_published(node):
    storage = node("a")
    put(storage, CODES[:50])
    write(storage, CODES[50:60], [f"n{row}" for row in range(10)])
    database = storage.writing(SHARD) / "items.db"
    content = bytearray(database.read_bytes())
    content[-5000] ^= 1
    database.write_bytes(content)
    with pytest.raises(DamagedIndexError, match=r"items\.db is damaged"):
        storage.publish(SHARD)
    assert count(node("b")) == 50


def test_what_is_in_the_log_still_is_published_or_refused(node):
    storage = node("a")
    put(storage, CODES[:50])
    with (
        hashret.open(storage.writing(SHARD)) as held,
        held.reader.state(),
    ):
        len(held)
        write(storage, CODES[50:60], [f"n{row}" for row in range(10)])
        with pytest.raises(HashretError, match="close whatever reads"):
            storage.publish(SHARD)
    storage.publish(SHARD)
    assert count(node("b")) == 60


# Killed and cut off


def killed():
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize("done_first", [False, True])
def test_whatever_call_fails_while_publishing_some_version_is_there_whole(node, done_first):
    writer, reader = node("a"), node("b")
    total = 52
    put(writer, CODES[:50])
    put(writer, CODES[50:52], ["x", "y"])
    number, reached = 0, True
    while reached:
        number, total = number + 1, total + 1
        write(writer, CODES[:1] ^ number, [f"n{number}"])
        SCRIPT.break_at(number, broken, done_first=done_first)
        try:
            writer.publish(SHARD)
            possible = {total}
        except HashretError as error:
            assert "the cable was pulled" in str(error)
            possible = {total - 1, total} if done_first else {total - 1}
        reached = len(SCRIPT.calls) >= number
        SCRIPT.clear()
        assert count(node(f"reader-{number}")) in possible
        writer.publish(SHARD)
        assert count(reader, fresh=True) == total
    assert number > 8


def test_killed_while_publishing_the_version_before_or_the_new_one_is_there_whole(node, tmp_path):
    url = f"disk://{tmp_path}/mnt/cluster"
    writer, reader = node("a", url), node("b", url)
    total = 50
    put(writer, CODES[:50])
    number, reached = 0, True
    while reached:
        number, total = number + 1, total + 1
        write(writer, CODES[:1] ^ number, [f"n{number}"])
        SCRIPT.break_at(number, killed)
        code = exit_of(in_child(lambda killed=writer: killed.publish(SHARD)))
        SCRIPT.clear()
        reached = code == -signal.SIGKILL
        assert reached or code == 0
        assert count(node(f"reader-{number}", url)) in {total - reached, total}
        writer = node("a", url)
        assert len(hashret.open(writer.writing(SHARD))) == total  # nothing is lost on that node
        writer.publish(SHARD)
        assert count(reader, fresh=True) == total
    assert number > 8
    for _ in range(3):
        put(writer, CODES[:1], [f"n{time.monotonic_ns()}"])
    assert not [path for path in files_of(tmp_path / "mnt") if "unfinished" in path]
    assert len({path.split("/")[3] for path in files_of(tmp_path / "mnt")}) == 3


def test_killed_while_fetching_nothing_half_is_used_or_left(node, tmp_path):
    url = f"disk://{tmp_path}/mnt/cluster"
    put(node("a", url), CODES)
    for number in (2, 3):
        for done_first in (False, True):
            reader = node("b", url)
            SCRIPT.break_at(number, killed, done_first=done_first)
            assert exit_of(in_child(lambda r=reader: count(r))) == -signal.SIGKILL
            assert list((tmp_path / "caches" / "b").rglob(".unfinished*"))
            SCRIPT.clear()
            assert count(reader) == 120
            assert not list((tmp_path / "caches" / "b").rglob(".unfinished*"))
            shutil.rmtree(tmp_path / "caches" / "b")


def test_processes_that_need_the_same_version_fetch_it_once(node, tmp_path):
    url = f"disk://{tmp_path}/mnt/cluster"
    put(node("a", url), CODES)
    reader = node("b", url)

    def read():
        SCRIPT.break_at(2, lambda: time.sleep(0.3))
        assert count(reader) == 120
        return 10 + len(SCRIPT.called("get_file"))

    codes = [exit_of(child) for child in [in_child(read) for _ in range(4)]]
    assert sorted(codes) == [10, 10, 10, 12]


def test_a_store_that_cannot_be_reached_leaves_what_is_here(node, caplog, monkeypatch):
    put(node("a"), CODES)
    node("a").write_layout(LAYOUT)
    reader = node("b")
    reader.layout()
    count(reader)
    monkeypatch.setattr(ScriptedMemory, "cat_file", lambda *_: broken())
    for storage in (reader, node("b")):  # the same process, and one that starts now
        caplog.clear()
        assert count(storage, fresh=True) == count(storage, fresh=True) == 120
        assert caplog.text.count("the cable was pulled") == 1
        assert storage.layout() == LAYOUT
        assert caplog.text.count("the cable was pulled") == 2
    stranger = node("c")
    for ask in (stranger.layout, lambda: stranger.reading(SHARD), lambda: stranger.writing(SHARD)):
        with pytest.raises(
            HashretError, match=r"scripted://bucket/cluster.*the cable was pulled\. Check"
        ):
            ask()


# Writing


def test_a_working_copy_goes_on_where_it_was(node):
    put(node("a"), CODES[:50])
    write(node("a"), CODES[50:60], [f"n{row}" for row in range(10)])
    SCRIPT.clear()
    node("a").writing(SHARD)
    assert SCRIPT.called("get_file") == []
    node("a").publish(SHARD)
    assert count(node("b")) == 60


def test_another_node_goes_on_from_what_was_published(node, caplog):
    one, other = node("a"), node("b")
    put(one, CODES[:50])
    put(other, CODES[50:60], [f"n{row}" for row in range(10)])
    assert len(hashret.open(one.writing(SHARD))) == 60
    assert "dropped" not in caplog.text
    write(one, CODES[60:61], ["lost"])
    put(other, CODES[61:62], ["kept"])
    with pytest.raises(IndexChangedError, match="another node published"):
        one.publish(SHARD)
    with hashret.open(one.writing(SHARD)) as index:
        assert len(index) == 61
        assert "kept" in index
    assert "never published is dropped" in caplog.text
    put(one, CODES[60:61], ["again"])
    assert count(node("c")) == 62


def test_who_is_overtaken_while_sending_does_not_publish(node):
    one, other = node("a"), node("b")
    put(one, CODES[:50])
    other.writing(SHARD)
    write(one, CODES[60:61], ["late"])

    def overtake():
        SCRIPT.clear()
        put(other, CODES[61:62], ["kept"])

    SCRIPT.break_at(3, overtake)
    with pytest.raises(IndexChangedError):
        one.publish(SHARD)
    with hashret.open(node("c").reading(SHARD)) as index:
        assert len(index) == 51
        assert "kept" in index


def test_nothing_is_published_of_what_was_never_made(node):
    storage = node("a")
    storage.writing(SHARD)
    with pytest.raises(HashretError, match="nothing to publish"):
        storage.publish(SHARD)


# What is needed


def test_without_fsspec_it_says_what_to_do(monkeypatch):
    monkeypatch.setitem(sys.modules, "fsspec", None)
    with pytest.raises(UsageError, match=r"pip install fsspec; or .* give its path"):
        storage_at("s3://bucket/cluster")


def test_without_the_package_of_a_store_it_says_which(monkeypatch):
    monkeypatch.setitem(sys.modules, "s3fs", None)
    with pytest.raises(UsageError, match="s3fs"):
        storage_at("s3://bucket/cluster")


def test_copies_lie_where_the_environment_says(monkeypatch, tmp_path):
    monkeypatch.delenv("HASHRET_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert storage_at("memory://b/c").writing(SHARD).is_relative_to(tmp_path / "hashret")
    monkeypatch.setenv("HASHRET_CACHE", str(tmp_path / "own"))
    assert storage_at("memory://b/c").writing(SHARD).is_relative_to(tmp_path / "own")
