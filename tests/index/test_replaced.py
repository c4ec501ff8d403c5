"""What is not what it was: another index in its place, another log, bytes changed in the log."""

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest

import hashret
from hashret.errors import DamagedIndexError, HashretError
from hashret.store.connection import connect_to_write
from hashret.store.log import LogCheck, bytes_in_log, end_of_log


def codes_of(n, seed=0, n_bytes=8):
    return np.random.default_rng(seed).integers(256, size=(n, n_bytes), dtype=np.uint8)


def make(path, codes, keys=None):
    hashret.create_from_codes(path, codes, keys).close()
    return path


def within(index, code):
    return [hit.key for hit in index.query_code(code, radius=0, limit=None)]


@contextmanager
def log_kept(path, *codes):
    """Codes added while a reader holds an older state, so that they stay in the log."""
    with hashret.open(path) as reader, hashret.open(path) as writer, reader.reader.state():
        len(reader)
        for some in codes:
            writer.add_codes(some, [f"{some[0, 0]}-{row}" for row in range(len(some))])
        yield path / "items.db-wal"


@pytest.mark.parametrize("n_bytes", [8, 16])
def test_an_index_in_the_place_of_another_is_told_from_it(tmp_path, n_bytes):
    codes = codes_of(150)
    path = make(tmp_path / "i", codes[:100])
    with hashret.open(path) as old:
        assert within(old, codes[3]) == ["3"]
        shutil.rmtree(path)
        make(path, codes_of(150, n_bytes=n_bytes))
        for ask in (lambda: within(old, codes[3]), lambda: old.remove("3"), lambda: len(old)):
            with pytest.raises(HashretError, match="open it again"):
                ask()
        with hashret.open(path) as new:
            assert len(new) == 150


def test_an_index_that_is_gone_is_missed(tmp_path):
    path = make(tmp_path / "i", codes_of(9))
    with hashret.open(path) as index:
        len(index)
        path.rename(tmp_path / "elsewhere")
        with pytest.raises(DamagedIndexError, match=r"items\.db is missing"):
            len(index)


def test_a_copy_put_back_under_a_reader_shows_its_own_state(tmp_path):
    path = make(tmp_path / "i", codes_of(20))
    one, other = codes_of(1, seed=5), codes_of(1, seed=6)
    shutil.copytree(path, tmp_path / "copy")
    with hashret.open(path) as index:
        index.add_codes(one, ["one"])
        assert within(index, one[0]) == ["one"]
        for file in ("items.db", "seal.json"):
            shutil.copy(tmp_path / "copy" / file, path / file)
        with hashret.open(path) as writer:  # the state after that has the number of the one before
            writer.add_codes(other, ["other"])
        assert within(index, one[0]) == []
        assert within(index, other[0]) == ["other"]


@pytest.mark.parametrize("n", [20, 300])
def test_the_log_of_another_index_is_not_taken(tmp_path, n):
    codes = codes_of(20)
    path, other = make(tmp_path / "a", codes), make(tmp_path / "b", codes_of(n, seed=7))
    with log_kept(other, codes_of(n, seed=8)) as log:
        shutil.copy(log, path / "items.db-wal")
    with hashret.open(path) as index:
        with pytest.raises(DamagedIndexError, match="wal"):
            within(index, codes[0])
        assert not index.verify().ok
    report = hashret.Index.repair(path)
    assert "belongs to another" in " ".join(report.lost)
    with hashret.open(path) as index:
        assert [within(index, code) for code in codes] == [[str(row)] for row in range(20)]
        assert index.verify().ok


def test_a_byte_changed_in_the_log_while_it_is_open_is_found(tmp_path):
    path = make(tmp_path / "i", codes_of(50))
    late = codes_of(40, seed=3)
    with log_kept(path, late) as log:
        whole = log.read_bytes()
        places = [*range(24, 32), 60, 300, len(whole) // 2, len(whole) - 1]
        for place in places:
            with log.open("r+b") as file:
                file.seek(place)
                file.write(bytes([whole[place] ^ 4]))
            with pytest.raises(DamagedIndexError, match=r"items\.db"):
                hashret.open(path).query_code(late[0], radius=0, limit=None)
            with log.open("r+b") as file:
                file.write(whole)
        with hashret.open(path) as index:
            assert len(within(index, late[0])) == 1


def test_a_log_is_checked_as_it_grows_and_after_it_was_emptied(tmp_path):
    path = tmp_path / "x.db"
    check = LogCheck(path)
    assert end_of_log(path) is None
    with closing(connect_to_write(path, create=True)) as connection:
        connection.execute("create table t (a)")
        frames = 0
        for round_ in range(3):
            for _ in range(5):
                connection.execute("insert into t values (?)", [os.urandom(9000)])
                end = end_of_log(path)
                check.check(end)
                assert end.frames > frames
                frames = end.frames
            if round_ == 1:
                connection.execute("pragma wal_checkpoint(truncate)")
                frames = 0


def test_what_was_never_committed_makes_no_chunks(tmp_path):
    path = make(tmp_path / "i", codes_of(50))
    with log_kept(path, codes_of(5, seed=3)) as log:
        copy = tmp_path / "copy"
        shutil.copytree(path, copy)
        content = bytearray(log.read_bytes())
    content += b"\xff" * 4 * (4096 + 24)
    content += content[32 : 32 + 16] + b"\xff" * (4096 + 8)
    (copy / "items.db-wal").write_bytes(content)
    assert bytes_in_log(copy / "items.db", 1000).max() < 1000 * 4096


def test_damage_is_found_while_another_process_writes(tmp_path):
    codes = codes_of(3000)
    path = make(tmp_path / "i", codes)
    database = path / "items.db"
    content = bytearray(database.read_bytes())
    place = content.index(codes[1234].tobytes())
    content[place] ^= 1
    time.sleep(0.05)
    database.write_bytes(content)
    held = "import sys; from pathlib import Path; from hashret.store import WriterLock\n"
    held += "with WriterLock(Path(sys.argv[1])): print('held', flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", held, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as writer:
        writer.stdout.readline()
        with hashret.open(path) as index, pytest.raises(DamagedIndexError, match=r"items\.db"):
            within(index, codes[1234])
        writer.communicate()


def test_an_index_closed_beside_a_reader_waits_for_it(tmp_path):
    program = """
import sys, threading, hashret
for _ in range(5):
    index = hashret.open(sys.argv[1])
    def ask():
        try:
            while True:
                index.query_key("1", radius=20, limit=None)
        except hashret.HashretError as error:
            assert "closed" in str(error)
    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads: thread.start()
    threading.Event().wait(0.1)
    index.close()
    for thread in threads: thread.join()
"""
    path = make(tmp_path / "i", codes_of(500))
    ran = subprocess.run([sys.executable, "-c", program, path], capture_output=True, text=True)
    assert (ran.returncode, ran.stderr) == (0, "")


def test_a_forked_child_does_not_hold_the_lock_of_its_parent(tmp_path):
    path = make(tmp_path / "i", codes_of(9))
    with hashret.open(path) as index:
        children = []

        def fork(_):
            if not children:
                children.append(os.fork())
                if not children[0]:
                    signal.pause()

        index.add_codes(codes_of(3, seed=1), ["a", "b", "c"], progress=fork)
        try:
            index.remove("a")
        finally:
            os.kill(children[0], signal.SIGKILL)
            os.waitpid(children[0], 0)
        assert len(index) == 11


READS = """
import os, sys, hashret
with hashret.open(sys.argv[1]) as index:  # imports what this user may not
    index.query_key("0", radius=64, limit=None)
os.setgid(65534); os.setuid(65534)
index = hashret.open(sys.argv[1])
print("ready", flush=True)
for _ in range(300):
    hits = index.query_key("0", radius=64, limit=None)
    states = {hit.fields["state"] for hit in hits}
    assert len(hits) == 400 and len(states) == 1, (len(hits), states)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_a_reader_who_may_not_lock_sees_one_state():
    with TemporaryDirectory() as folder:  # where pytest makes its own, only its user may enter
        Path(folder).chmod(0o755)
        read_beside_a_writer(Path(folder) / "i")


def read_beside_a_writer(path):
    codes = codes_of(400)
    keys = [str(row) for row in range(400)]
    with (
        hashret.create_from_codes(path, codes, keys, [{"state": 0}] * 400) as index,
        subprocess.Popen([sys.executable, "-c", READS, path], stdout=subprocess.PIPE) as reader,
    ):
        reader.stdout.readline()
        state = 0
        while reader.poll() is None:
            state += 1
            index.add_codes(codes, keys, [{"state": state}] * 400)
            threading.Event().wait(0.02)
        assert reader.returncode == 0
        assert state > 3
