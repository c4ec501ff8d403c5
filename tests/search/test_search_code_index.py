"""CodeIndex: what it takes, what it gives back, and what it says to what makes no sense."""

import subprocess
import sys
import threading

import numpy as np
import pytest
from search_oracle import (
    answer,
    answers,
    brute_force,
    make_codes,
    make_queries,
    split,
)

from hashret.errors import DamagedIndexError, HashretError, InputError, UsageError
from hashret.search import CodeIndex, planner, search_many, set_threads, threads


@pytest.fixture(autouse=True)
def tables_for_all(monkeypatch):
    monkeypatch.setattr(planner, "TABLE_FROM_WORDS", 0)


@pytest.mark.parametrize("n", [0, 1, 2, 3])
def test_few_codes(way, n):
    codes = make_codes("uniform", 3, 64)[:n]
    index = CodeIndex.build(codes)
    query = make_codes("uniform", 3, 64)[0]
    assert len(index) == n
    distances, rows = index.nearest(query, 10)
    assert distances.shape == rows.shape == (1, n)
    lims, rows, _ = index.within(query, 64)
    assert lims.tolist() == [0, n]
    assert len(rows) == n
    assert answer(index.search(query, limit=2)) == brute_force(codes, query, None, 2)
    assert answer(index.search(query, 64, 1)) == brute_force(codes, query, None, 1)


def test_one_code_is_one_query_and_none_is_none(way):
    codes = make_codes("uniform", 100, 32)
    index = CodeIndex.build(codes)
    assert index.n_bits == 32
    for one, several in zip(index.within(codes[3], 9), index.within(codes[3:4], 9), strict=True):
        assert np.array_equal(one, several)
    for one, several in zip(index.nearest(codes[3], 9), index.nearest(codes[3:4], 9), strict=True):
        assert np.array_equal(one, several)
    lims, rows, distances = index.within(codes[:0], 3)
    assert (lims.tolist(), len(rows), len(distances)) == ([0], 0, 0)
    assert (lims.dtype, rows.dtype, distances.dtype) == (np.int64, np.int64, np.int32)
    distances, rows = index.nearest(codes[:0], 3)
    assert distances.shape == rows.shape == (0, 3)
    assert (distances.dtype, rows.dtype) == (np.int32, np.int64)
    assert search_many([index], codes[:0], 3) == []


def test_a_radius_beyond_the_code_length_finds_everything(way):
    codes = make_codes("uniform", 100, 16)
    index = CodeIndex.build(codes)
    for radius in (16, 17, 10**9, 2**70):
        assert split(*index.within(codes[0], radius)) == [brute_force(codes, codes[0])]
        assert answer(index.search(codes[0], radius)) == brute_force(codes, codes[0])


def test_a_limit_beyond_all_numbers_of_rows_finds_everything(way):
    codes = make_codes("uniform", 100, 16)
    index = CodeIndex.build(codes)
    assert answer(index.search(codes[0], limit=2**70)) == brute_force(codes, codes[0])
    assert index.nearest(codes[0], 2**70)[1].shape == (1, 100)


def test_building_copies_the_codes(way):
    codes = make_codes("uniform", 50, 64)
    rows = np.arange(50)
    index = CodeIndex.build(codes, rows=rows)
    query = codes[7].copy()
    codes[:], rows[:] = 0, 0
    assert index.search(query, radius=0).rows.tolist() == [7]


def test_searching_changes_neither_queries_nor_filter(way):
    codes = make_codes("clustered", 200, 64)
    queries, allowed = make_queries(codes, 5), np.packbits(np.arange(200) % 3 > 0)
    before = queries.copy(), allowed.copy()
    found = search_many([CodeIndex.build(codes)], queries, 20, 9, allowed)
    for one in found:
        one.rows[:], one.distances[:] = -1, -1
    assert np.array_equal(queries, before[0])
    assert np.array_equal(allowed, before[1])
    assert answers(search_many([CodeIndex.build(codes)], queries, 20, 9, allowed))[0][0][0] >= 0


def test_memory_of_any_kind(way, tmp_path):
    """Codes and queries that are read-only, strided, in another order, or mapped from a file."""
    codes = make_codes("clustered", 300, 72)
    queries = make_queries(codes, 40)
    np.save(tmp_path / "codes.npy", codes)
    np.save(tmp_path / "queries.npy", queries)
    fixed = queries.copy()
    fixed.flags.writeable = False
    wide = np.zeros((80, 18), dtype=np.uint8)
    wide[::2, ::2] = queries
    expected = [brute_force(codes, query, 20) for query in queries]
    for given in (codes, np.asfortranarray(codes), np.load(tmp_path / "codes.npy", mmap_mode="r")):
        index = CodeIndex.build(given)
        for asked in (
            queries,
            fixed,
            np.asfortranarray(queries),
            wide[::2, ::2],
            queries[::-1][::-1],
            np.load(tmp_path / "queries.npy", mmap_mode="r"),
            np.load(tmp_path / "queries.npy", mmap_mode="r")[:],
            queries.view(np.matrix),
        ):
            assert split(*index.within(asked, 20)) == expected
            assert index.nearest(asked, 2)[1].shape == (40, 2)
            assert answers(search_many([index], asked, 20)) == expected
        assert answer(index.search(fixed[3], 20)) == expected[3]


@pytest.mark.parametrize("n_bits", [24, 64, 136])
@pytest.mark.parametrize("rows", [None, range(2**40, 2**40 + 3000, 2), [*range(1499), 2**52 - 1]])
def test_files_answer_as_memory_does(way, tmp_path, n_bits, rows):
    codes = make_codes("clustered", 1500, n_bits)
    queries = make_queries(codes, 35)
    memory = CodeIndex.build(codes, rows=rows)
    files = CodeIndex.build(codes, tmp_path / "index", rows)
    again = CodeIndex.open(tmp_path / "index")
    expected = [brute_force(codes, query, 8, None, rows) for query in queries]
    for index in (memory, files, again):
        assert split(*index.within(queries, 8)) == expected
        assert answers(search_many([index], queries, 8, 3)) == [
            (own[:3], distances[:3]) for own, distances in expected
        ]
    assert memory.verify() == files.verify() == []
    assert memory.nbytes == files.nbytes > codes.nbytes
    assert memory.path is None
    assert files.path == again.path == tmp_path / "index"
    assert f"n=1500, n_bits={n_bits}" in repr(files)


@pytest.mark.parametrize("n", [0, 1, 400])
def test_everything_comes_back_by_row(tmp_path, n):
    codes = make_codes("clustered", n, 64)
    rows = np.sort(np.random.default_rng(0).choice(10_000, n, replace=False)) + 2**35
    for path in (None, tmp_path / "index"):
        got_rows, got_codes = CodeIndex.build(codes, path, rows).rows_and_codes()
        assert (got_rows.dtype, got_codes.dtype) == (np.int64, np.uint8)
        assert np.array_equal(got_rows, rows)
        assert np.array_equal(got_codes, codes)
        assert got_codes.shape == (n, 8)


def test_pairs_of_an_index():
    codes = make_codes("clustered", 200, 64)
    index = CodeIndex.build(codes)
    allowed = np.arange(200) % 4 != 1
    for given in (None, allowed, np.packbits(allowed)):
        kept = allowed if given is not None else np.ones(200, dtype=bool)
        expected = {
            (i, j, distance)
            for i in np.flatnonzero(kept).tolist()
            for j, distance in zip(*brute_force(codes, codes[i], 9, allowed=kept), strict=True)
            if i < j
        }
        found = [
            triple
            for block in index.pairs(9, given)
            for triple in zip(block.rows_a, block.rows_b, block.distances, strict=True)
        ]
        assert len(found) == len(expected)
        assert set(found) == expected
    for radius in (-1, 1.5, None, True):
        with pytest.raises(UsageError, match="radius"):
            index.pairs(radius)


@pytest.mark.parametrize(
    ("radius", "limit"),
    [
        (None, None),
        (-1, None),
        (-(2**70), None),
        (1.5, None),
        (1.0, None),
        ("2", None),
        (True, None),
        (np.True_, None),
        (np.array([1, 2]), None),
        (None, 0),
        (None, -3),
        (None, 2.0),
        (2, True),
        (2, "1"),
    ],
)
def test_senseless_arguments_are_refused(way, radius, limit):
    codes = make_codes("uniform", 10, 64)
    index = CodeIndex.build(codes)
    with pytest.raises(UsageError, match="radius|limit"):
        index.search(codes[0], radius, limit)
    with pytest.raises(UsageError, match="radius|limit"):
        search_many([index], codes, radius, limit)


def test_senseless_radius_and_k_are_refused_and_named(way):
    index = CodeIndex.build(make_codes("uniform", 10, 64))
    query = np.zeros(8, dtype=np.uint8)
    for radius in (-1, None, 0.5, True, np.float64(2), "3"):
        with pytest.raises(UsageError, match="radius"):
            index.within(query, radius)
    for k in (0, -1, None, 3.0, True):
        with pytest.raises(UsageError, match="k must"):
            index.nearest(query, k)


def test_numpy_integers_are_integers(way):
    codes = make_codes("uniform", 10, 64)
    index = CodeIndex.build(codes)
    assert len(index.search(codes[0], np.int64(64), np.uint8(3))) == 3
    assert index.nearest(codes, np.int32(4))[0].shape == (10, 4)
    assert len(index.within(codes[0], np.uint8(64))[1]) == 10


@pytest.mark.parametrize(
    "query",
    [
        np.zeros(7, dtype=np.uint8),
        np.zeros(9, dtype=np.uint8),
        np.zeros(8, dtype=np.int64),
        np.zeros(8, dtype=np.int8),
        np.zeros(8, dtype=bool),
        np.zeros(8),
        np.zeros(1, dtype=np.uint64),
        np.zeros((2, 4), dtype=np.uint8),
        np.zeros((8, 1), dtype=np.uint8),
        np.zeros((1, 1, 8), dtype=np.uint8),
        np.uint8(3),
        "00",
        b"12345678",
        None,
    ],
)
def test_queries_of_another_kind_are_refused(way, query):
    index = CodeIndex.build(make_codes("uniform", 10, 64))
    for search in (index.search, index.within, index.nearest):
        with pytest.raises(InputError):
            search(query, 3)
    with pytest.raises(InputError):
        search_many([index], query, 3)


@pytest.mark.parametrize(
    "codes",
    [
        np.zeros((3, 8)),
        np.zeros((3, 8), dtype=np.int8),
        np.zeros((3, 129), dtype=np.uint8),
        np.zeros((3, 0), dtype=np.uint8),
        np.zeros((1, 3, 8), dtype=np.uint8),
        np.uint8(3),
        None,
        "00ff",
    ],
)
def test_codes_of_another_kind_are_refused(tmp_path, codes):
    for path in (None, tmp_path / "index"):
        with pytest.raises(HashretError):
            CodeIndex.build(codes, path)
    assert [*tmp_path.iterdir()] == []


@pytest.mark.parametrize(
    "rows",
    [
        [0],
        [0, 1, 2],
        [1, 1],
        [2, 1],
        [-1, 0],
        [0, 2**52],
        [0, 2**63],
        [0.0, 1.0],
        [[0, 1]],
        ["a", "b"],
        [False, True],
        [None, 1],
        np.array([5, 4], dtype=np.uint64),
        np.array([5, 2**64 - 1], dtype=np.uint64),
        7,
    ],
)
def test_senseless_rows_are_refused(tmp_path, rows):
    codes = make_codes("uniform", 2, 64)
    for path in (None, tmp_path / "index"):
        with pytest.raises(InputError, match="rows must"):
            CodeIndex.build(codes, path, rows)
    assert [*tmp_path.iterdir()] == []


@pytest.mark.parametrize("dtype", [np.int8, np.uint16, np.int32, np.uint64])
def test_rows_of_any_integer_dtype(way, dtype):
    codes = make_codes("uniform", 20, 64)
    index = CodeIndex.build(codes, rows=np.arange(100, 120, dtype=dtype))
    assert index.search(codes[3], 0).rows.tolist() == [103]


def test_a_query_of_no_bytes_is_refused(way):
    index = CodeIndex.build(make_codes("uniform", 10, 64))
    for search in (index.search, index.within, index.nearest):
        for shape in (0, (0, 0), (3, 0)):
            with pytest.raises((InputError, UsageError)):
                search(np.zeros(shape, dtype=np.uint8), 3)


def test_search_takes_one_query():
    codes = make_codes("uniform", 10, 64)
    with pytest.raises(InputError, match="one code"):
        CodeIndex.build(codes).search(codes[:2], 3)


@pytest.mark.parametrize("n", [0, -1, 1.0, True, "2"])
def test_senseless_numbers_of_threads_are_refused(n):
    with pytest.raises(UsageError, match="threads"):
        set_threads(n)


def test_no_more_threads_than_were_allowed():
    cores = threads.n_cores()
    try:
        set_threads(1)
        assert threads.n_cores() == 1
        set_threads(cores + 5)
        assert threads.n_cores() == cores
    finally:
        set_threads(None)
    assert threads.n_cores() == cores


def test_threads_share_an_index(way):
    codes = make_codes("clustered", 2000, 64)
    queries = make_queries(codes, 40)
    index = CodeIndex.build(codes)
    near = [brute_force(codes, query, 6) for query in queries]
    nearest = [brute_force(codes, query, None, 5) for query in queries]
    got = {}

    def run(name):
        got[name] = (
            split(*index.within(queries, 6)),
            answers(search_many([index], queries, limit=5)),
            [answer(index.search(query, limit=5)) for query in queries],
        )

    running = [threading.Thread(target=run, args=(name,)) for name in range(4)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    assert all(got[name] == (near, nearest, nearest) for name in range(4))


def test_an_index_that_lacks_codes_is_noticed(way):
    """Fewer are found than there must be: no made-up hits take their place."""
    from hashret.search.segment import Segment

    whole = CodeIndex.build(make_codes("uniform", 300, 64)).segment
    nothing = np.zeros_like(whole.offsets)
    segment = Segment(
        whole.layout, whole.words, whole.rows, 0, 300, nothing, whole.positions.copy()
    )
    index = CodeIndex(segment)
    try:
        rows = index.nearest(make_codes("uniform", 5, 64, seed=9), 300)[1]
    except DamagedIndexError:
        return
    assert [sorted(own) for own in rows.tolist()] == [[*range(300)]] * 5  # by a scan


HEAVY = {"faiss", "numba", "llvmlite", "scipy", "sklearn", "tensorflow", "keras"}


def run_alone(program):
    """What a program in a new process says."""
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    return run.stdout.split()


def test_a_small_search_imports_nothing_heavy():
    program = f"""
import sys
import hashret.search
print(*({HEAVY} & set(sys.modules)))
import numpy as np
from hashret.search import CodeIndex, search_many
codes = np.random.default_rng(0).integers(0, 256, (40_000, 8), dtype=np.uint8)
index = CodeIndex.build(codes)
assert len(index.segment.layout.parts)
index.search(codes[0], limit=3)
index.search(codes[0], radius=2)
index.within(codes[:2], 3)
index.nearest(codes[:2], 3)
search_many([index], codes[:2], 64, 9, np.ones(9, dtype=bool))
print(*({HEAVY} & set(sys.modules)))
"""
    assert run_alone(program) == []


def test_threads_may_all_be_the_first_to_need_the_compiler():
    program = """
import sys, threading
import numpy as np
from hashret.search import CodeIndex, engine
codes = np.random.default_rng(0).integers(0, 256, (500, 8), dtype=np.uint8)
index = CodeIndex.build(codes)
engine.count(1e9)
started = threading.Barrier(6)
right = []
def run():
    started.wait()
    right.append(index.nearest(codes, 1)[1][:, 0].tolist() == [*range(500)])
threads = [threading.Thread(target=run) for _ in range(6)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
print(len(right), all(right), "numba" in sys.modules)
"""
    assert run_alone(program) == ["6", "True", "True"]
