"""Processes are killed in the middle of their work: what was acknowledged is there, whole."""

import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time

import numpy as np
import pytest

import hashret

ADD = """
import sys
import numpy as np
import hashret, hashret.index.snapshot
hashret.index.snapshot.SEGMENT_ROWS = 700  # so that kills fall into the making of segments, too
path, first = sys.argv[1], int(sys.argv[2])
index = hashret.open(path)
print("ready", flush=True)
for batch in range(first, first + 1000):
    rng = np.random.default_rng(batch)
    index.add((f"{batch}/{i}", row) for i, row in enumerate(rng.normal(size=(400, 12))))
    print(batch, flush=True)
"""


def batch_of(number):
    return np.random.default_rng(number).normal(size=(400, 12)).astype(np.float32)


def check(path, acknowledged, attempted):
    """The index opens, its checks pass, and batches are there whole or not at all."""
    with hashret.open(path) as index:
        assert index.verify().ok, index.verify().problems
        present = {}
        for item in index.items():
            batch, _, number = item.key.partition("/")
            if number:
                present.setdefault(int(batch), []).append(int(number))
        assert all(sorted(numbers) == list(range(400)) for numbers in present.values())
        assert set(acknowledged) <= set(present) <= set(acknowledged) | set(attempted)
        for batch in acknowledged[-2:]:
            found = index.query_many(batch_of(batch)[:5], radius=0, limit=None)
            for number, result in enumerate(found):
                assert f"{batch}/{number}" in {hit.key for hit in result}
        return sorted(present)


def test_kill_in_the_middle_of_add(make_index):
    path = make_index("vectors")
    rng = random.Random(0)
    acknowledged, batch = [], 0
    for _ in range(14):
        process = subprocess.Popen(
            [sys.executable, "-c", ADD, str(path), str(batch)], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout.readline() == "ready\n"
        told = [process.stdout.readline() for _ in range(rng.randrange(4))]
        time.sleep(rng.uniform(0.0, 0.05))
        process.send_signal(signal.SIGKILL)
        acknowledged += [int(line) for line in (*told, *process.stdout)]
        process.wait()
        process.stdout.close()
        unacknowledged = max([batch - 1, *acknowledged]) + 1
        present = check(path, acknowledged, [unacknowledged])
        acknowledged = present  # an add may have been committed before it could say so
        batch = max([-1, *present]) + 1
    assert len(acknowledged) > 14


def test_kill_in_the_middle_of_index(run, make_index, tmp_path):
    path = make_index("vectors")
    rng = np.random.default_rng(0)
    np.save(tmp_path / "more.npy", rng.normal(size=(60_000, 12)).astype(np.float32))
    command = [sys.executable, "-m", "hashret", "index", "more.npy", "-i", str(path)]
    command += ["--key-prefix", "more:"]
    started = time.perf_counter()
    subprocess.run([*command[:-1], "whole:"], cwd=tmp_path, check=True, capture_output=True)
    whole = time.perf_counter() - started
    for step in range(4):
        process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.DEVNULL)
        time.sleep(whole * (0.4 + 0.15 * step))
        process.send_signal(signal.SIGKILL)
        process.wait()
        with hashret.open(path) as index:
            assert len(index) in (60_600, 120_600)
            assert index.verify().ok
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    with hashret.open(path) as index:
        assert len(index) == 120_600
        assert index.verify().ok
        assert not list(path.glob("segments/.*"))


def test_kill_while_an_index_is_made(run, tmp_path, vectors):
    np.save(tmp_path / "x.npy", vectors)
    command = [sys.executable, "-m", "hashret", "index", "x.npy", "-i", "x", "--epochs", "200"]
    for seconds in (1.5, 6.0):
        process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.DEVNULL)
        time.sleep(seconds)
        process.send_signal(signal.SIGKILL)
        process.wait()
        opened = run("info", "-i", "x", "--json")
        if opened.returncode == 0:
            assert json.loads(opened.stdout)[0]["items"] in (0, 600)
        else:
            assert "There is no index" in opened.stderr
    done = run("index", "x.npy", "-i", "x")
    assert done.returncode == 0, done.stderr
    assert json.loads(run("info", "-i", "x", "--json").stdout)[0]["items"] == 600
    assert run("verify", "-i", "x").returncode == 0
    # what the killed runs left beside the index is gone
    assert [path.name for path in (tmp_path / "indexes").iterdir()] == ["x"]


WRITE = """
import sys, numpy as np
import hashret, hashret.index.snapshot
hashret.index.snapshot.SEGMENT_ROWS = 30
index = hashret.open(sys.argv[1])
rng = np.random.default_rng(0)
for step in range(10_000):
    index.add((f"{step}/{i}", row) for i, row in enumerate(rng.normal(size=(40, 12))))
    index.remove([f"{step}/{i}" for i in range(0, 40, 3)])
    if step % 5 == 0:
        index.compact()
"""


def test_a_reader_is_right_beside_a_busy_writer(make_index, vectors):
    path = make_index("vectors")
    with hashret.open(path) as reader:
        expected = {hit.key for hit in reader.query(vectors[3], radius=0, limit=None)}
        writer = subprocess.Popen([sys.executable, "-c", WRITE, str(path)])
        try:
            for _ in range(60):
                found = {hit.key for hit in reader.query(vectors[3], radius=0, limit=None)}
                assert expected <= found
                assert reader.verify().ok
                time.sleep(0.02)
            assert writer.poll() is None
        finally:
            writer.kill()
            writer.wait()
        assert reader.verify().ok
        assert len(reader) > 600


@pytest.mark.parametrize("what", ["add", "compact", "remove"])
def test_an_error_in_the_middle_changes_nothing(make_index, vectors, monkeypatch, what):
    path = make_index("vectors")
    with hashret.open(path) as index:
        before = [(item.key, item.row) for item in index.items()]

        def fail(*_args, **_kwargs):
            raise OSError(28, os.strerror(28))

        def full(*_args, **_kwargs):
            error = sqlite3.OperationalError("database or disk is full")
            error.sqlite_errorname = "SQLITE_FULL"
            raise error

        if what == "add":
            monkeypatch.setattr("hashret.store.ItemWriter.note_fields", full)
            with pytest.raises(hashret.HashretError, match="disk is full"):
                index.add([("new", vectors[0])])
        elif what == "remove":
            monkeypatch.setattr("hashret.store.ItemWriter.delete_rows", full)
            with pytest.raises(hashret.HashretError, match="disk is full"):
                index.remove(["1"])
        else:
            monkeypatch.setattr("os.fsync", fail)
            with pytest.raises(hashret.HashretError, match="write"):
                index.compact()
        monkeypatch.undo()
        assert [(item.key, item.row) for item in index.items()] == before
        assert index.verify().ok
        assert index.add([("new", vectors[0])]).added == 1
