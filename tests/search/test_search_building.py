"""Building: sorted codes and tables as promised, and the same bytes whatever the memory."""

import fcntl
import json
import os
import signal
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from time import sleep

import numpy as np
import pytest

from hashret.errors import HashretError, IndexLockedError, InputError
from hashret.search import planner, segment_files, threads, unfinished
from hashret.search.building import build_segment
from hashret.search.segment_files import open_segment, problems, publish_segment
from hashret.search.streaming import build_files


@pytest.fixture(autouse=True)
def tables_for_all(monkeypatch):
    monkeypatch.setattr(planner, "TABLE_FROM_WORDS", 0)


@pytest.fixture(autouse=True)
def several_shares_of_small_blocks(monkeypatch):
    monkeypatch.setattr(threads, "n_cores", lambda: 3)
    monkeypatch.setattr(threads, "BLOCK", 3000)


def random_codes(n, n_bits, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (n, n_bits // 8), dtype=np.uint8)


def repeated_codes(n, n_bits):
    """Half of the codes are one and the same: a bucket that is larger than what fits in memory."""
    codes = random_codes(n, n_bits)
    codes[::2] = 7
    return codes


def check(segment, codes, rows):
    """Compare a segment with the definition of it."""
    layout, n = segment.layout, len(codes)
    words = [tuple(word) for word in layout.to_words(codes).tolist()]

    def key(word, part):
        at, shift, width, _ = layout.parts[part].tolist()
        return word[at] >> shift & 2**width - 1

    order = sorted(range(n), key=lambda i: key(words[i], 0))
    words = [words[i] for i in order]
    assert [tuple(word) for word in segment.words.tolist()] == words
    assert (segment.rows.astype(np.int64) + segment.row_base).tolist() == [rows[i] for i in order]
    assert len(segment.offsets) == layout.n_offsets
    assert len(segment.positions) == (len(layout.parts) - 1) * n
    for part, (_, _, width, start) in enumerate(layout.parts.tolist()):
        offsets = segment.offsets[start : start + 2**width + 1]
        keys = [key(word, part) for word in words]
        counts = np.bincount(keys, minlength=2**width)
        assert offsets[0] == 0
        assert np.array_equal(np.diff(offsets.astype(np.int64)), counts)
        if part:
            positions = segment.positions[(part - 1) * n : part * n]
            assert positions.tolist() == sorted(range(n), key=keys.__getitem__)


@pytest.mark.parametrize("make", [random_codes, repeated_codes])
@pytest.mark.parametrize("n_bits", [8, 16, 24, 40, 64, 136])
@pytest.mark.parametrize("n", [1, 2, 3000])
def test_codes_lie_in_the_order_of_part_0_and_tables_find_the_others(make, n, n_bits):
    codes = make(n, n_bits)
    segment = build_segment(codes)
    assert (segment.row_base, segment.row_end, len(segment)) == (0, n, n)
    check(segment, codes, range(n))


@pytest.mark.parametrize(
    ("rows", "dtype"),
    [
        (range(5, 1005), np.uint32),
        (range(2**40, 2**40 + 3000, 3), np.uint32),
        ([*range(999), 2**32 - 1], np.uint32),
        ([*range(999), 2**32], np.int64),
        ([*range(999), 2**52 - 1], np.int64),
        (np.arange(1000, dtype=np.uint16), np.uint32),
    ],
)
def test_rows_are_relative_to_the_lowest(rows, dtype):
    codes = random_codes(1000, 32)
    segment = build_segment(codes, np.asarray(rows))
    assert segment.rows.dtype == dtype
    assert (segment.row_base, segment.row_end) == (rows[0], rows[-1] + 1)
    check(segment, codes, [int(row) for row in rows])


@pytest.mark.parametrize("n_bits", [8, 64, 136])
def test_no_codes_are_a_segment_too(n_bits):
    segment = build_segment(random_codes(0, n_bits))
    assert (len(segment), segment.row_base, segment.row_end) == (0, 0, 0)
    assert segment.words.shape == (0, segment.layout.n_words)


def test_few_codes_keep_their_order_and_get_no_tables(monkeypatch):
    monkeypatch.setattr(planner, "TABLE_FROM_WORDS", 2000)
    codes = random_codes(999, 128)
    segment = build_segment(codes, np.arange(10, 1009))
    assert len(segment.layout.parts) == len(segment.offsets) == len(segment.positions) == 0
    assert np.array_equal(segment.layout.to_codes(segment.words), codes)
    assert segment.rows.tolist() == list(range(999))
    assert len(build_segment(random_codes(1000, 128)).layout.parts) > 0


def test_arrays_are_contiguous_and_read_only_and_share_nothing_with_the_input():
    for n in (0, 1000):
        codes, rows = random_codes(n, 64), np.arange(n, dtype=np.uint32)
        before = codes.copy()
        segment = build_segment(codes, rows)
        arrays = [segment.words, segment.rows, segment.offsets, segment.positions]
        for array in arrays:
            assert array.flags.c_contiguous
            assert not array.flags.writeable
            assert not np.shares_memory(array, codes)
            assert not np.shares_memory(array, rows)
        assert codes.flags.writeable
        assert rows.flags.writeable
        assert np.array_equal(codes, before)
        assert segment.nbytes == sum(array.nbytes for array in arrays)


@pytest.mark.parametrize(
    "rows",
    [
        [0, 1],
        [[0, 1, 2]],
        [0.0, 1.0, 2.0],
        [0, 0, 1],
        [2, 1, 3],
        [-1, 0, 1],
        [0, 1, 2**52],
        np.array([1, 2**63, 2**64 - 1], dtype=np.uint64),
        ["a", "b", "c"],
    ],
)
def test_other_rows_are_refused(rows, tmp_path):
    with pytest.raises(InputError, match="rows must"):
        build_segment(random_codes(3, 64), rows)
    with pytest.raises(InputError, match="rows must"):
        build_files(random_codes(3, 64), rows, tmp_path / "segment")
    assert list(tmp_path.iterdir()) == []


def test_rows_that_stop_ascending_where_a_block_ends_are_refused():
    for at in (1, 65_535, 65_536, 65_537, 131_072, 139_999):
        rows = np.arange(140_000)
        rows[at] = rows[at - 1]
        with pytest.raises(InputError, match="ascend"):
            build_segment(np.zeros((140_000, 1), np.uint8), rows)


def test_building_in_memory_needs_no_compiler():
    script = (
        "import sys, numpy as np; from hashret.search.building import build_segment;"
        "build_segment(np.random.default_rng(0).integers(0, 256, (100_000, 8), dtype=np.uint8));"
        "assert 'numba' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def same_bytes(one, other):
    names = sorted(file.name for file in one.iterdir())
    return names == sorted(file.name for file in other.iterdir()) and all(
        (one / name).read_bytes() == (other / name).read_bytes() for name in names
    )


@pytest.mark.parametrize("memory_bytes", [1, 50_000, 300_000])
@pytest.mark.parametrize(
    ("make", "n", "n_bits"),
    [
        (random_codes, 1, 64),
        (random_codes, 20_000, 64),
        (random_codes, 5000, 136),
        (random_codes, 20_000, 24),
        (repeated_codes, 20_000, 8),
        (repeated_codes, 20_000, 64),
    ],
)
def test_files_built_in_little_memory_are_the_same_bytes(
    tmp_path, make, n, n_bits, memory_bytes, monkeypatch
):
    if memory_bytes == 1:
        n = min(n, 40)
    codes = make(n, n_bits)
    for rows in (None, np.arange(7, 7 + 2**20 * n, 2**20)):
        streamed, published = tmp_path / f"streamed {rows is None}", tmp_path / f"{rows is None}"
        build_files(codes, rows, streamed, memory_bytes=memory_bytes)
        publish_segment(published, build_segment(codes, rows))
        assert same_bytes(streamed, published)
        assert problems(streamed) == []


def test_a_mapped_file_is_built_and_opened_again(tmp_path):
    codes = random_codes(10_000, 64)
    np.save(tmp_path / "codes.npy", codes)
    np.save(tmp_path / "rows.npy", np.arange(0, 30_000, 3))
    mapped = [np.load(tmp_path / name, mmap_mode="r") for name in ("codes.npy", "rows.npy")]
    build_files(*mapped, tmp_path / "segment", memory_bytes=100_000)
    segment = open_segment(tmp_path / "segment")
    check(segment, codes, range(0, 30_000, 3))
    for array in (segment.words, segment.rows, segment.offsets, segment.positions):
        assert array.flags.c_contiguous
        assert not array.flags.writeable


def test_progress_goes_from_nothing_to_all(tmp_path, monkeypatch):
    monkeypatch.setattr(threads, "TELL_SECONDS", 0.0)
    told = []
    codes = random_codes(20_000, 64)
    build_files(codes, None, tmp_path / "a", lambda *now: told.append(now), memory_bytes=200_000)
    done, total = (list(column) for column in zip(*told, strict=True))
    assert done == sorted(done)
    assert set(total) == {done[-1]}
    assert total[0] % 20_000 == 0
    assert len(set(done)) > 5


class Interrupted:
    """A progress that is interrupted at the end of a pass over 20,000 codes."""

    def __init__(self, passes):
        self.most = passes * 20_000
        self.total = None

    def __call__(self, done, total):
        self.total = total
        if done >= self.most:
            raise KeyboardInterrupt


def test_an_interrupt_leaves_nothing(tmp_path):
    codes = random_codes(20_000, 64)
    for passes in range(5):
        with pytest.raises(KeyboardInterrupt):
            build_files(codes, None, tmp_path / "a", Interrupted(passes), memory_bytes=200_000)
        assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("rows", [None, np.arange(7, 20_007)])
def test_an_interrupted_build_goes_on_where_it_was(tmp_path, rows):
    codes = random_codes(20_000, 64)
    path, whole = tmp_path / "a", tmp_path / "whole"
    build_files(codes, rows, whole, memory_bytes=200_000)
    totals = []
    for _ in range(50):
        progress = Interrupted(3)
        try:
            build_files(codes, rows, path, progress, memory_bytes=200_000, resume=True)
        except KeyboardInterrupt:
            assert sorted(entry.name for entry in tmp_path.iterdir()) == [".a.building", "whole"]
        totals.append(progress.total)
        if path.exists():
            break
    assert same_bytes(path, whole)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["a", "whole"]
    assert len(totals) > 4
    assert all(later < earlier for earlier, later in pairwise(totals))


def interrupt(codes, rows, path):
    with pytest.raises(KeyboardInterrupt):
        build_files(codes, rows, path, Interrupted(6), memory_bytes=200_000, resume=True)


def test_what_is_unfinished_is_not_mixed_with_other_codes_or_rows(tmp_path):
    codes, rows = random_codes(20_000, 64), np.arange(20_000)
    interrupt(codes, rows, tmp_path / "a")
    others = codes.copy()
    others[4] ^= 1
    moved = rows.copy()
    moved[-1] += 1
    for given in [(others, rows), (codes, moved), (codes[:-1], rows[:-1]), (codes[:, :7], rows)]:
        with pytest.raises(InputError, match="unfinished search files of other"):
            build_files(*given, tmp_path / "a", memory_bytes=100_000, resume=True)
    build_files(codes, rows, tmp_path / "a", memory_bytes=100_000, resume=True)
    publish_segment(tmp_path / "b", build_segment(codes, rows))
    assert same_bytes(tmp_path / "a", tmp_path / "b")


@pytest.mark.parametrize("damage", ["no state", "no JSON", "cut short", "missing", "leftover"])
def test_a_state_that_does_not_hold_is_given_up(tmp_path, damage):
    codes = random_codes(20_000, 64)
    interrupt(codes, None, tmp_path / "a")
    folder = unfinished.folder_beside(tmp_path / "a")
    if damage == "no state":
        (folder / "manifest.json").unlink()
    elif damage == "no JSON":
        (folder / "manifest.json").write_text('{"input": {}')
    elif damage == "cut short":
        os.truncate(folder / "codes.npy", 1000)
    elif damage == "missing":
        (folder / "offsets.npy").unlink()
    else:
        with (folder / "codes.npy").open("ab") as file:
            file.write(b"more than is known of")
    build_files(codes, None, tmp_path / "a", memory_bytes=200_000, resume=True)
    publish_segment(tmp_path / "b", build_segment(codes))
    assert same_bytes(tmp_path / "a", tmp_path / "b")


def test_a_killed_build_goes_on_where_it_was(tmp_path):
    codes = random_codes(20_000, 64)
    np.save(tmp_path / "codes.npy", codes)
    script = """if True:
        import os, signal, sys
        from pathlib import Path
        import numpy as np
        from hashret.search import planner
        from hashret.search.streaming import build_files

        planner.TABLE_FROM_WORDS = 0

        def progress(done, total):
            if done >= 8 * 20_000:
                os.kill(os.getpid(), signal.SIGKILL)

        folder = Path(sys.argv[1])
        codes = np.load(folder / "codes.npy", mmap_mode="r")
        build_files(codes, None, folder / "a", progress, memory_bytes=200_000, resume=True)
        """
    died = subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=False)
    assert died.returncode == -signal.SIGKILL
    progress = Interrupted(99)
    build_files(codes, None, tmp_path / "a", progress, memory_bytes=200_000, resume=True)
    assert progress.total < 8 * 20_000
    publish_segment(tmp_path / "b", build_segment(codes))
    assert same_bytes(tmp_path / "a", tmp_path / "b")


def test_two_processes_do_not_finish_the_same_files(tmp_path):
    codes = random_codes(20_000, 64)
    interrupt(codes, None, tmp_path / "a")
    descriptor = os.open(unfinished.folder_beside(tmp_path / "a"), os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    with pytest.raises(IndexLockedError, match="Another process"):
        build_files(codes, None, tmp_path / "a", memory_bytes=200_000, resume=True)
    os.close(descriptor)
    build_files(codes, None, tmp_path / "a", memory_bytes=200_000, resume=True)
    assert problems(tmp_path / "a") == []


@pytest.mark.parametrize("resume", [False, True])
def test_a_full_disk_is_said_and_nothing_half_finished_is_published(tmp_path, monkeypatch, resume):
    codes = random_codes(20_000, 64)
    real = os.fsync
    for nth in range(100):
        calls = []

        def failing(descriptor, calls=calls, nth=nth):
            calls.append(1)
            if len(calls) == nth + 1:
                raise OSError(28, "No space left on device")
            real(descriptor)

        monkeypatch.setattr(os, "fsync", failing)
        try:
            build_files(codes, None, tmp_path / "a", memory_bytes=300_000, resume=resume)
            break
        except HashretError as error:
            assert "No space left" in str(error)
        if (tmp_path / "a").exists():
            break
        left = [] if not resume else [".a.building"]
        assert [entry.name for entry in tmp_path.iterdir()] == left
    assert nth > 2
    assert problems(tmp_path / "a") == []
    assert not list((tmp_path / "a").glob(".*"))


@pytest.mark.parametrize("resume", [False, True])
@pytest.mark.parametrize("memory_bytes", [200_000, 1 << 30])
def test_what_a_note_or_manifest_says_is_on_the_disk(tmp_path, monkeypatch, resume, memory_bytes):
    flushed, calls = {}, []
    real_fsync, real_replace = os.fsync, Path.replace

    def fsync(descriptor):
        real_fsync(descriptor)
        facts = os.fstat(descriptor)
        flushed[facts.st_ino] = facts.st_size
        calls.append(facts.st_ino)

    def replace(self, target):
        if target.name == "manifest.json":
            for name, facts in json.loads(self.read_text())["files"].items():
                assert flushed[(self.parent / name).stat().st_ino] == facts["bytes"]
            calls.append("noted")
        return real_replace(self, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(Path, "replace", replace)
    build_files(random_codes(20_000, 64), None, tmp_path / "a", None, memory_bytes, resume)
    assert calls.count("noted") >= (7 if resume and memory_bytes == 200_000 else 1)
    assert calls[-2:] == [(tmp_path / "a").stat().st_ino, tmp_path.stat().st_ino]


def test_a_thread_that_fails_ends_the_build(tmp_path, monkeypatch):
    from hashret.search import build_kernels

    def failing(*arguments):
        raise MemoryError("none left")

    monkeypatch.setattr(build_kernels, "place_positions", failing)
    with pytest.raises(MemoryError, match="none left"):
        build_files(random_codes(20_000, 64), None, tmp_path / "a", memory_bytes=200_000)
    assert list(tmp_path.iterdir()) == []


def test_other_threads_stop_when_one_fails():
    visited = []

    def visit(share, block):
        if share == 0:
            raise ValueError
        visited.append(block)
        sleep(0.01)

    with pytest.raises(ValueError):
        threads.Passes(300_000, 1, None).run(visit)
    assert len(visited) < 30


def test_nothing_is_built_over_what_is_there(tmp_path):
    (tmp_path / "a").mkdir()
    for memory_bytes in (1000, 1 << 30):
        with pytest.raises(segment_files.IndexExistsError, match="never written over"):
            build_files(random_codes(5000, 64), None, tmp_path / "a", memory_bytes=memory_bytes)
    assert [entry.name for entry in tmp_path.iterdir()] == ["a"]
