"""CodeIndex answers exactly, whichever way the planner takes."""

import subprocess
import sys
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hashret.codes import hamming
from hashret.errors import InputError, UsageError
from hashret.search import CodeIndex, planner, search_many

LENGTHS = [8, 16, 24, 32, 40, 64, 72, 128, 256, 512, 1024]


def brute_force(codes, query, radius=None, limit=None, rows=None):
    """Rows and distances by comparing everything, ordered by distance, then row."""
    rows = np.arange(len(codes)) if rows is None else np.asarray(rows)
    distances = hamming(codes, query)
    order = np.lexsort((rows, distances))
    if radius is not None:
        order = order[distances[order] <= radius]
    order = order[:limit]
    return rows[order].tolist(), distances[order].tolist()


def answer(found):
    return found.rows.tolist(), found.distances.tolist()


def make_codes(kind, n, n_bits, seed=0):
    rng = np.random.default_rng(seed)
    codes = rng.integers(0, 256, (n, n_bits // 8), dtype=np.uint8)
    if kind == "clustered":
        codes = codes[rng.integers(0, max(1, n // 30), n)]
        codes ^= np.packbits(rng.random((n, n_bits)) < 0.05, axis=1)
    elif kind == "duplicates":
        codes = codes[rng.integers(0, 4, n)]
    return codes


def make_queries(codes, n_bits, seed=1):
    """Codes that are there, codes a bit or two away from one, and random codes."""
    rng = np.random.default_rng(seed)
    near = codes[2:4].copy()
    near[:, 0] ^= 0b00100100
    random = rng.integers(0, 256, (2, n_bits // 8), dtype=np.uint8)
    return np.concatenate([codes[:2], near, random])


@pytest.fixture(params=["table", "scan", "faiss", "planned"])
def way(request, monkeypatch):
    """Force one way of answering, and check that a test really went it."""
    if request.param == "table":
        monkeypatch.setattr(planner, "TABLE_FROM_SECONDS", -1.0)
        monkeypatch.setattr(planner, "scan_seconds", lambda *_: 1e9)
    elif request.param in ("scan", "faiss"):
        monkeypatch.setattr(planner, "scans_with_faiss", lambda *_: request.param == "faiss")
        monkeypatch.setattr(planner, "TABLE_FROM_SECONDS", 1e9)
    else:
        # Small enough for a table, and for rings to be left for a scan on the way.
        monkeypatch.setattr(planner, "TABLE_FROM_SECONDS", -1.0)
        monkeypatch.setattr(planner, "SHELL_SECONDS", 1e-6)
    return request.param


@pytest.mark.parametrize("n_bits", LENGTHS)
@pytest.mark.parametrize("kind", ["uniform", "clustered", "duplicates"])
def test_search_equals_brute_force(way, n_bits, kind):
    codes = make_codes(kind, 700, n_bits)
    index = CodeIndex.build(codes)
    for radius, limit in [(0, None), (2, None), (n_bits, None), (None, 7), (None, 900), (3, 4)]:
        for query in make_queries(codes, n_bits):
            found = index.search(query, radius, limit)
            assert answer(found) == brute_force(codes, query, radius, limit)
            if way in ("scan", "faiss"):
                assert found.stats.plan == "scan"
            if way == "table" and radius == 2 and n_bits <= 512:
                assert found.stats.plan.startswith("hash table, radius 0")


@pytest.mark.parametrize("n_bits", [8, 24, 64, 72])
def test_within_and_nearest_equal_brute_force(way, n_bits):
    codes = make_codes("clustered", 3000, n_bits)
    queries = make_queries(codes, n_bits)
    index = CodeIndex.build(codes)
    lims, rows, distances = index.within(queries, 2)
    assert (lims.dtype, rows.dtype, distances.dtype) == (np.int64, np.int64, np.int32)
    assert lims.shape == (len(queries) + 1,)
    for i, query in enumerate(queries):
        own = slice(lims[i], lims[i + 1])
        assert (rows[own].tolist(), distances[own].tolist()) == brute_force(codes, query, 2)
    distances, rows = index.nearest(queries, 5)
    assert (distances.dtype, rows.dtype) == (np.int32, np.int64)
    for i, query in enumerate(queries):
        assert (rows[i].tolist(), distances[i].tolist()) == brute_force(codes, query, None, 5)


def test_blocks_of_codes_and_queries_join_without_a_seam(way, monkeypatch):
    monkeypatch.setattr("hashret.search.scan.FIRST_BLOCK", 3)
    monkeypatch.setattr("hashret.search.scan.GROWTH", 2)
    monkeypatch.setattr("hashret.search.scan.NUMPY_BLOCK", 64)
    monkeypatch.setattr("hashret.search.scan.FAISS_BLOCK", 64)
    monkeypatch.setattr("hashret.search.scan.QUERY_BLOCK", 2)
    codes = make_codes("clustered", 500, 64)
    queries = codes[:9]
    index = CodeIndex.build(codes)
    for radius, limit in [(3, None), (None, 20), (40, 100)]:
        found = search_many([index], queries, radius, limit)
        assert len(found) == 9
        for query, one in zip(queries, found, strict=True):
            assert answer(one) == brute_force(codes, query, radius, limit)


def test_a_large_limit_is_cut_exactly(way):
    codes = make_codes("clustered", 20_000, 64)
    found = CodeIndex.build(codes).search(codes[0], limit=3000)
    assert answer(found) == brute_force(codes, codes[0], None, 3000)


def test_scanning_with_faiss_leaves_its_threads_as_they_were(monkeypatch):
    import faiss

    monkeypatch.setattr(planner, "scans_with_faiss", lambda *_: True)
    codes = make_codes("uniform", 500, 64)
    before = faiss.omp_get_max_threads()
    try:
        for threads in (2, 3):
            faiss.omp_set_num_threads(threads)
            found = search_many([CodeIndex.build(codes)], codes[:80], limit=4)
            assert [answer(one) for one in found] == [
                brute_force(codes, query, None, 4) for query in codes[:80]
            ]
            search_many([CodeIndex.build(codes)], codes[:1], limit=4)
            assert faiss.omp_get_max_threads() == threads
    finally:
        faiss.omp_set_num_threads(before)


def test_ties_at_the_cut_go_to_the_lower_row(way):
    codes = np.zeros((200, 8), dtype=np.uint8)
    codes[150:] = 255
    index = CodeIndex.build(codes)
    assert index.nearest(codes[:1], 5)[1].tolist() == [[0, 1, 2, 3, 4]]
    assert index.nearest(codes[199:], 5)[1].tolist() == [[150, 151, 152, 153, 154]]


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


def test_one_code_is_one_query_and_none_is_none():
    codes = make_codes("uniform", 100, 32)
    index = CodeIndex.build(codes)
    assert index.n_bits == 32
    for one, several in zip(index.within(codes[3], 9), index.within(codes[3:4], 9), strict=True):
        assert np.array_equal(one, several)
    lims, rows, distances = index.within(codes[:0], 3)
    assert (lims.tolist(), len(rows), len(distances)) == ([0], 0, 0)
    assert index.nearest(codes[:0], 3)[0].shape == (0, 3)


def test_a_radius_beyond_the_code_length_finds_everything():
    codes = make_codes("uniform", 100, 16)
    assert len(CodeIndex.build(codes).within(codes[0], 10**9)[1]) == 100


def test_building_copies_the_codes():
    codes = make_codes("uniform", 50, 64)
    index = CodeIndex.build(codes)
    query = codes[7].copy()
    codes[:] = 0
    assert index.search(query, radius=0).rows.tolist() == [7]


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_metamorphic(data):
    """What must hold between answers, with the table and the planner as they come."""
    n_bytes = data.draw(st.sampled_from([1, 2, 3, 8, 9]))
    n = data.draw(st.integers(1, 40))
    small = data.draw(st.binary(min_size=n * n_bytes, max_size=n * n_bytes))
    codes = np.frombuffer(small, dtype=np.uint8).reshape(n, n_bytes)
    query = codes[data.draw(st.integers(0, n - 1))] ^ np.uint8(data.draw(st.integers(0, 255)))
    rng = np.random.default_rng(data.draw(st.integers(0, 1000)))
    radius = data.draw(st.integers(0, 8 * n_bytes))
    k = data.draw(st.integers(1, 50))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(planner, "TABLE_FROM_SECONDS", data.draw(st.sampled_from([-1.0, 1.0])))
        patch.setattr(planner, "GROWING_SHARE", data.draw(st.sampled_from([0.5, 1e9])))
        index = CodeIndex.build(codes)
        expected = answer(index.search(query, radius=radius))
        nearest = answer(index.search(query, limit=k))

        mask = rng.integers(0, 256, n_bytes, dtype=np.uint8)
        assert answer(CodeIndex.build(codes ^ mask).search(query ^ mask, radius=radius)) == expected

        bits = rng.permutation(8 * n_bytes)
        permuted = np.packbits(np.unpackbits(codes, axis=1)[:, bits], axis=1)
        permuted_query = np.packbits(np.unpackbits(query)[bits])
        assert answer(CodeIndex.build(permuted).search(permuted_query, radius=radius)) == expected
        assert answer(CodeIndex.build(permuted).search(permuted_query, limit=k)) == nearest

        order = rng.permutation(n)
        rows, distances = answer(CodeIndex.build(codes[order]).search(query, radius=radius))
        original = sorted(zip(distances, order[rows].tolist(), strict=True))
        assert original == list(zip(expected[1], expected[0], strict=True))

        wider = answer(index.search(query, radius=radius + 1))
        assert wider[0][: len(expected[0])] == expected[0]
        everything = answer(index.search(query, radius=8 * n_bytes))
        assert nearest == (everything[0][:k], everything[1][:k])


@pytest.mark.parametrize(
    ("radius", "limit"),
    [
        (None, None),
        (-1, None),
        (1.5, None),
        ("2", None),
        (True, None),
        (None, 0),
        (None, -3),
        (None, 2.0),
        (2, True),
    ],
)
def test_senseless_arguments_are_refused(radius, limit):
    codes = make_codes("uniform", 10, 64)
    with pytest.raises(UsageError):
        CodeIndex.build(codes).search(codes[0], radius, limit)


def test_senseless_radius_and_k_are_refused_and_named():
    index = CodeIndex.build(make_codes("uniform", 10, 64))
    query = np.zeros(8, dtype=np.uint8)
    for radius in (-1, None, 0.5):
        with pytest.raises(UsageError, match="radius"):
            index.within(query, radius)
    for k in (0, None, 3.0):
        with pytest.raises(UsageError, match="k must"):
            index.nearest(query, k)


def test_numpy_integers_are_integers():
    codes = make_codes("uniform", 10, 64)
    index = CodeIndex.build(codes)
    assert len(index.search(codes[0], np.int64(64), np.uint8(3))) == 3
    assert index.nearest(codes, np.int32(4))[0].shape == (10, 4)


@pytest.mark.parametrize(
    "query",
    [
        np.zeros(7, dtype=np.uint8),
        np.zeros(8, dtype=np.int64),
        np.zeros((1, 1, 8), dtype=np.uint8),
        "00",
        None,
    ],
)
def test_queries_of_another_kind_are_refused(query):
    index = CodeIndex.build(make_codes("uniform", 10, 64))
    for search in (index.search, index.within, index.nearest):
        with pytest.raises(InputError):
            search(query, 3)


def test_search_takes_one_query():
    codes = make_codes("uniform", 10, 64)
    with pytest.raises(InputError, match="one code"):
        CodeIndex.build(codes).search(codes[:2], 3)


def test_stats_tell_the_way_taken(monkeypatch):
    monkeypatch.setattr(planner, "TABLE_FROM_SECONDS", -1.0)
    codes = make_codes("uniform", 2000, 64)
    index = CodeIndex.build(codes)
    monkeypatch.setattr(planner, "scan_seconds", lambda *_: 1e-4)
    stats = index.search(codes[0], radius=0).stats
    assert (stats.plan, stats.probes) == ("hash table, radius 0", 1)
    assert 1 <= stats.candidates < 50
    assert stats.seconds > 0
    assert stats.estimated_seconds > 0
    stats = index.search(codes[0], limit=500).stats
    assert stats.plan == "hash table to radius 1, then scan"
    assert stats.candidates >= 2000
    stats = index.search(codes[0], radius=64).stats
    assert (stats.plan, stats.probes) == ("scan", 0)


def test_crowded_buckets_are_left_for_a_scan(monkeypatch):
    monkeypatch.setattr(planner, "TABLE_FROM_SECONDS", -1.0)
    codes = np.zeros((50_000, 8), dtype=np.uint8)
    found = CodeIndex.build(codes).search(codes[0], radius=0, limit=3)
    assert found.rows.tolist() == [0, 1, 2]
    assert found.stats.plan == "scan"


def test_a_planned_search_of_many_codes_uses_the_table():
    codes = make_codes("uniform", 300_000, 64)
    index = CodeIndex.build(codes)
    near = codes[1234] ^ np.array([0, 0, 0, 1, 0, 0, 0, 0], dtype=np.uint8)
    for radius, limit in [(0, None), (1, None), (None, 1)]:
        found = index.search(near, radius, limit)
        assert answer(found) == brute_force(codes, near, radius, limit)
        assert found.stats.plan.startswith("hash table, radius 0")
        assert found.stats.candidates < 1000
    assert answer(index.search(near, None, 5)) == brute_force(codes, near, None, 5)


def test_threads_share_an_index():
    codes = make_codes("clustered", 5000, 64)
    index = CodeIndex.build(codes)
    expected = [answer(index.search(query, limit=5)) for query in codes[:40]]
    got = {}

    def run(name):
        got[name] = [answer(index.search(query, limit=5)) for query in codes[:40]]

    threads = [threading.Thread(target=run, args=(name,)) for name in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(got[name] == expected for name in range(4))


def test_a_small_search_imports_nothing_heavy():
    program = (
        "import sys, numpy as np\n"
        "from hashret.search import CodeIndex\n"
        "codes = np.arange(80000, dtype=np.uint8).reshape(-1, 8)\n"
        "CodeIndex.build(codes).search(codes[0], limit=3)\n"
        "heavy = {'faiss', 'numba', 'scipy', 'sklearn', 'tensorflow', 'keras'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert run.stdout.strip() == "[]", run.stderr
