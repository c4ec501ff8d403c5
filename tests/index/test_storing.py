"""Storing in batches: what was stopped goes on; what is told of time and memory."""

import logging
import signal
import subprocess
import sys

import numpy as np
import pytest

import hashret
import hashret.index.adding
from hashret.errors import InputError, UsageError
from hashret.progress import STAGES, Stopwatch
from hashret.sources import content_hash, content_hashes

ROWS = np.random.default_rng(0).normal(size=(10_000, 8)).astype(np.float32)


class StopError(Exception):
    pass


@pytest.fixture
def index(tmp_path):
    learned = hashret.create(tmp_path / "i", ROWS[:300], n_bits=16, epochs=1, random_state=0)
    learned.remove([str(row) for row in range(300)])
    return learned


def stop_at(items):
    def progress(state):
        if state.stage == "storing" and state.done >= items:
            raise StopError

    return progress


def test_what_was_stopped_keeps_its_batches_and_goes_on(index, caplog):
    with pytest.raises(StopError), caplog.at_level(logging.WARNING):
        index.add(ROWS, batch_items=4096, progress=stop_at(10_000))
    assert len(index) == 8192
    assert "8,192 items were stored before that and stay" in caplog.text
    report = index.add(ROWS, batch_items=4096)
    assert (report.added, report.unchanged) == (10_000 - 8192, 8192)
    assert index.verify().ok
    codes = index.encoder.encode(list(ROWS[[0, 5000, 9999]]))
    assert [index[str(row)].code.tolist() for row in (0, 5000, 9999)] == codes.tolist()


ADD = """
import sys
import numpy as np
import hashret

def progress(state):
    if state.note:
        print(state.note, flush=True)

hashret.open(sys.argv[1]).add(np.load(sys.argv[2]), batch_items=4096, progress=progress)
"""


def test_what_was_told_to_be_on_disk_outlives_a_kill(index, tmp_path):
    np.save(tmp_path / "a.npy", np.tile(ROWS, (4, 1)))
    process = subprocess.Popen(
        [sys.executable, "-c", ADD, str(index.path), str(tmp_path / "a.npy")],
        stdout=subprocess.PIPE,
        text=True,
    )
    told = [process.stdout.readline() for _ in range(5)][-1]
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    assert len(index) >= int(told.split()[0].replace(",", "")) > 0
    assert index.verify().ok
    report = index.add(np.tile(ROWS, (4, 1)))
    assert report.added + report.unchanged == 40_000
    assert report.unchanged >= 4096


def test_without_batches_it_is_all_or_nothing(index, caplog):
    with pytest.raises(StopError):
        index.add(ROWS, progress=stop_at(10_000))
    assert len(index) == 0
    assert "stored" not in caplog.text


def test_each_batch_is_on_disk_when_it_is_told(index):
    seen = []

    def progress(state):
        if state.note:
            with hashret.open(index.path) as reader:
                seen.append((state.note, len(reader)))

    index.add(ROWS, batch_items=5000, progress=progress)
    assert ("8,192 on disk", 8192) in seen


def test_unchanged_items_make_no_batches(index):
    index.add(ROWS)
    generation = index.verify() and index._reader.store.generation
    index.add(ROWS, batch_items=100)
    assert index._reader.store.generation == generation + 1


@pytest.mark.parametrize(("rows", "commits"), [(8191, 2), (8192, 2), (8193, 3)])
def test_a_full_last_batch_is_followed_by_no_empty_one(index, rows, commits):
    before = index._reader.store.generation
    report = index.add(ROWS[:rows], batch_items=4096)
    assert (report.added, len(index)) == (rows, rows)
    assert index._reader.store.generation == before + commits


def test_a_full_last_batch_is_swept_too(index, tmp_path):
    np.save(tmp_path / "a.npy", ROWS[:9000])
    index.add(tmp_path / "a.npy")
    changed = ROWS[:4096] + 1
    np.save(tmp_path / "a.npy", changed)
    report = index.add(tmp_path / "a.npy", batch_items=4096, prune=True)
    assert (report.updated, report.pruned, len(index)) == (4096, 9000 - 4096, 4096)


def test_fields_of_a_batch_can_be_asked_for_when_the_next_one_fails(index):
    items = [(f"a{row}", value, {"n": row}) for row, value in enumerate(ROWS)]
    with pytest.raises(StopError):
        index.add(items, batch_items=4096, progress=stop_at(8192))
    assert index.query(ROWS[0], limit=1, where="n = 17")[0].key == "a17"


def test_a_refusal_says_what_was_stored(index, tmp_path):
    np.save(tmp_path / "a.npy", ROWS)
    changed = ROWS.copy()
    changed[9999] += 1
    np.save(tmp_path / "b.npy", changed)
    index.add(tmp_path / "a.npy")
    index.remove([str(row) for row in range(9000)])
    with pytest.raises(InputError, match="Key '9999'") as refused:
        index.add(tmp_path / "b.npy", batch_items=4096)
    assert f"The {len(index) - 1000:,} before it are added" in str(refused.value)
    assert len(index) > 1000


def test_the_kept_rows_and_order_of_renamed_and_new_files_are_right(tmp_path, make_pictures):
    folder = make_pictures(12)
    index = hashret.create(
        tmp_path / "i", folder, n_bits=16, epochs=1, random_state=0, keep_vectors=True
    )
    codes = {path.name: index[str(path)].code.tolist() for path in sorted(folder.iterdir())}
    for name in ("03.png", "07.png"):
        (folder / name).rename(folder / f"x{name}")
    (folder / "broken.png").write_bytes(b"no image")
    (folder / "04a.png").write_bytes((folder / "05.png").read_bytes()[:-20] + bytes(20))
    report = index.add(folder, prune=True)
    assert (report.recognized, report.pruned) == (2, 2)
    assert index[str(folder / "x07.png")].code.tolist() == codes["07.png"]
    again = index.encoder.encode([folder / "x07.png"])[0].tolist()
    assert again == codes["07.png"]
    assert index.verify().ok


@pytest.fixture
def make_pictures(tmp_path):
    from PIL import Image

    def make(count):
        folder = tmp_path / "pictures"
        folder.mkdir()
        random = np.random.default_rng(1)
        for number in range(count):
            pixels = random.integers(256, size=(8, 8), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / f"{number:02}.png")
        return folder

    return make


@pytest.mark.parametrize("batch", [0, -1, True, 1.5, "a"])
def test_an_impossible_batch_is_refused(index, batch):
    with pytest.raises(UsageError, match="batch_items"):
        index.add(ROWS[:5], batch_items=batch)


def test_time_is_told_by_stage(index):
    report = index.add(ROWS)
    assert set(report.seconds) == {"read", "compare", "features", "encode", "store", "tables"}
    assert set(report.seconds) < set(STAGES)
    assert all(seconds > 0 for seconds in report.seconds.values())


def test_a_stopwatch_counts_what_raises_too():
    clock = Stopwatch()
    with pytest.raises(StopError), clock.time("read"):
        raise StopError
    clock.add({"read": 5})
    assert clock.seconds["read"] > 5


def test_the_command_stores_in_batches_and_tells_the_time(run, tmp_path):
    np.save(tmp_path / "a.npy", ROWS)
    command = ["index", str(tmp_path / "a.npy"), "-i", str(tmp_path / "i"), "--epochs", "1"]
    made = run(*command, "--timings")
    assert made.returncode == 0
    assert "Seconds: read " in made.stderr
    assert "learn " in made.stderr
    assert " MiB of memory" in made.stderr


@pytest.mark.parametrize(
    "values",
    [
        list(ROWS[:9]),
        [ROWS[0], ROWS[1].astype("f8"), ROWS[2][:5], ROWS.T[3], np.zeros(8, ">f4")],
        [np.zeros((3, 3), np.uint8), np.zeros((3, 3), np.uint8).T, b"bytes"],
        list(np.zeros((4, 2), bool)),
        list(np.zeros((2, 5), ">i4")),
        [b"a", b"b"],
        [np.zeros(())],
        [],
    ],
)
def test_many_hashes_are_the_same_as_one_by_one(values):
    assert content_hashes(values) == [content_hash(value) for value in values]


def test_the_memory_that_is_told_is_not_that_of_who_started_the_process():
    start = (
        "import subprocess, sys\n"
        "held = bytearray(400 << 20)\n"
        "tell = 'from hashret.progress import peak_memory; print(peak_memory() >> 20)'\n"
        "subprocess.run([sys.executable, '-c', tell], check=True, close_fds=True)\n"
    )
    told = subprocess.run([sys.executable, "-c", start], capture_output=True, text=True, check=True)
    assert 5 < int(told.stdout) < 300
