"""Compiled kernels one by one, and what they make of arrays that make no sense."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from search_oracle import (
    THREADS,
    WAYS,
    answer,
    answers,
    brute_force,
    going,
    make_codes,
    make_layout,
    make_queries,
    split,
)

from hashret.errors import DamagedIndexError
from hashret.search import CodeIndex, found, planner, search_many
from hashret.search.building import build_segment
from hashret.search.hit_kernels import FEW, push, sort_each, unpack_hits
from hashret.search.layout import Layout
from hashret.search.segment import Segment

COMPILED = [way for way in WAYS if way.startswith("compiled")]
ROW_BITS = np.uint64(52)


@pytest.fixture(autouse=True)
def tables_for_all(monkeypatch):
    monkeypatch.setattr(planner, "TABLE_FROM_WORDS", 0)


def random_hits(n, row_bits, distances, seed=0):
    rng = np.random.default_rng(seed)
    rows = rng.integers(0, 2**row_bits, n, dtype=np.uint64)
    return rows | rng.integers(*distances, n, dtype=np.uint64) << ROW_BITS


@pytest.mark.parametrize("distances", [(0, 1), (7, 8), (0, 65), (3, 5), (0, 1025), (0, 4096)])
@pytest.mark.parametrize("row_bits", [0, 1, 8, 12, 13, 20, 25, 33, 52])
def test_hits_are_sorted_whatever_differs_in_them(row_bits, distances):
    sizes = [0, 1, 2, FEW - 1, FEW, FEW + 1, 1000, 8192, 8193, 20_000]
    hits = random_hits(sum(sizes), row_bits, distances)
    lims = np.cumsum([0, *sizes])
    expected = [np.sort(hits[start:end]) for start, end in pairwise(lims)]
    sort_each(hits, lims)
    assert np.array_equal(hits, np.concatenate(expected))


@pytest.mark.parametrize("n", [FEW + 1, 5000, 9000])
def test_hits_that_differ_in_few_bits_are_sorted(n):
    """Every bit on its own, and pairs of bits far from each other."""
    rng = np.random.default_rng(n)
    constant = rng.integers(0, 2**64, dtype=np.uint64)
    for low in range(0, 64, 3):
        for high in (low, 51, 52, 63):
            bits = np.uint64(1 << low | 1 << high)
            hits = constant ^ (rng.integers(0, 2**64, n, dtype=np.uint64) & bits)
            expected = np.sort(hits)
            sort_each(hits, np.array([0, n]))
            assert np.array_equal(hits, expected), (low, high)


def test_hits_in_order_or_in_reverse_are_sorted():
    for n in (FEW, FEW + 1, 300, 10_000):
        ascending = np.sort(random_hits(n, 30, (0, 65)))
        for hits in (ascending.copy(), ascending[::-1].copy()):
            sort_each(hits, np.array([0, n]))
            assert np.array_equal(hits, ascending)


def test_queries_without_hits_are_left_alone():
    hits = random_hits(300, 40, (0, 9))
    untouched = hits[250:].copy()
    expected = np.concatenate([hits[:100], np.sort(hits[100:250])])
    sort_each(hits, np.array([100, 100, 250, 250]))
    assert np.array_equal(hits[:250], expected)
    assert np.array_equal(hits[250:], untouched)


@pytest.mark.parametrize("k", [1, 2, 3, 10, 64, 500])
@pytest.mark.parametrize("order", ["random", "ascending", "descending", "equal distances"])
def test_a_heap_keeps_the_least_with_the_greatest_on_top(k, order):
    hits = random_hits(400, 50, (5, 6) if order == "equal distances" else (0, 65))
    if order != "random":
        hits.sort()
    if order == "descending":
        hits = hits[::-1]
    heaps = np.full((3, k), 7, dtype=np.uint64)
    size = 0
    for i, hit in enumerate(hits):
        size = push(heaps, 1, size, hit)
        assert size == min(i + 1, k)
        assert heaps[1, 0] == heaps[1, :size].max()
    assert np.sort(heaps[1, :size]).tolist() == np.sort(hits)[:k].tolist()
    assert np.all(heaps[[0, 2]] == 7)


def test_hits_are_packed_and_unpacked():
    rows = np.array([0, 1, 2**32, 2**52 - 1])
    distances = np.array([0, 1024, 64, 4095], dtype=np.uint16)
    hits = found.pack_hits(distances, rows)
    out = np.empty(4, dtype=np.int64), np.empty(4, dtype=np.int32)
    unpack_hits(hits, *out)
    for got in (out, found.unpack_hits(hits)):
        assert got[0].tolist() == rows.tolist()
        assert got[1].tolist() == distances.tolist()


@pytest.mark.parametrize("way", COMPILED)
@pytest.mark.parametrize("n_bits", [32, 64, 128, 192, 256])
def test_a_block_of_codes_joins_the_next_without_a_seam(way, n_bits):
    """Scans go over 2,048 words at a time."""
    n_words = -(-n_bits // 64)
    block = 2048 // n_words
    codes = make_codes("uniform", 2 * block + 1, n_bits)
    for n in (block - 1, block, block + 1, 2 * block + 1):
        index = CodeIndex.build(codes[:n])
        queries = codes[[0, n - 1, min(n, block) - 1]]
        with going(way):
            for radius in (0, n_bits // 2 - 2):
                expected = [brute_force(codes[:n], query, radius) for query in queries]
                assert split(*index.within(queries, radius)) == expected


@pytest.mark.parametrize("threads", THREADS)
@pytest.mark.parametrize("way", COMPILED)
def test_many_queries_with_many_hits(way, threads):
    """More hits than queries are scanned together for."""
    codes = make_codes("few ones", 6000, 64)
    queries = np.concatenate([make_queries(codes, 50), codes[:20], ~codes[:10]])
    index = CodeIndex.build(codes)
    with going(way), THREADS[threads]():
        for radius in (2, 10, 64):
            expected = [brute_force(codes, query, radius) for query in queries]
            assert split(*index.within(queries, radius)) == expected


@pytest.mark.parametrize("threads", THREADS)
@pytest.mark.parametrize("way", COMPILED)
@pytest.mark.parametrize("limit", [1, 2, 50, 7000])
def test_spans_of_a_scan_join_into_one_heap(way, threads, limit):
    codes = make_codes("few ones", 5000, 72)
    parts = [CodeIndex.build(codes[:4000]), CodeIndex.build(codes[4000:], rows=range(4000, 5000))]
    queries = make_queries(codes, 3)
    with going(way), THREADS[threads]():
        for radius in (0, 3, None):
            found = search_many(parts, queries, radius, limit)
            assert answers(found) == [brute_force(codes, one, radius, limit) for one in queries]


def alter(segment, rng):
    """The segment with numbers altered in one or several of its arrays."""
    arrays = {
        name: getattr(segment, name).copy() for name in ("words", "rows", "offsets", "positions")
    }
    for _ in range(int(rng.integers(1, 4))):
        array = arrays[[*arrays][rng.choice(4, p=[0.1, 0.3, 0.35, 0.25])]].reshape(-1)
        if not array.size:
            continue
        low, high = np.iinfo(array.dtype).min, np.iinfo(array.dtype).max
        n = len(segment)
        values = [0, 1, n - 1, n, n + 1, high, high - 1, high // 2, high // 2 + 1, low]
        some = rng.integers(array.size, size=int(rng.choice([1, 3, array.size])))
        match rng.integers(5):
            case 0:
                array[some] = np.array(values, dtype=array.dtype)[rng.integers(10, size=len(some))]
            case 1:
                array[some] = rng.integers(low, high, len(some), array.dtype, endpoint=True)
            case 2:
                array[some] = array[some[::-1]]
            case 3:
                array[some] ^= array.dtype.type(1) << rng.integers(31, dtype=array.dtype)
            case _:
                array[:] = values[rng.integers(9)]
    return replace(segment, **arrays)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("wide_rows", [False, True])
@pytest.mark.parametrize(("n_bits", "widths"), [(24, [[8, 9]]), (64, [[9, 7, 1, 9]]), (136, None)])
def test_altered_arrays_crash_nothing(way, wide_rows, n_bits, widths):
    """Damage is raised, or not met, or leads to other answers; never out of the arrays."""
    codes = make_codes("clustered", 300, n_bits)
    rows = np.arange(300) * (2**33 if wide_rows else 2) + 5
    layout = make_layout(range(n_bits), widths) if widths else None
    segment = build_segment(codes, rows, layout)
    queries = make_queries(codes, 5)
    allowed = np.arange(1000) % 3 > 0
    rng = np.random.default_rng(n_bits)
    damaged = 0
    for trial in range(40):
        altered = alter(segment, rng)
        questions = [
            lambda index: split(*index.within(queries, 3)),
            lambda index: split(*index.within(queries[:1], n_bits)),
            lambda index: [
                *zip(*[r.tolist() for r in index.nearest(queries, 9)[::-1]], strict=True)
            ],
            lambda index: answers(search_many([index], queries, 9, 4)),
            lambda index: answers(search_many([index], queries, None, 300, allowed)),
            lambda index: answers(search_many([index, CodeIndex.build(codes)], queries, limit=2)),
        ]
        for question in questions:
            with going(way), THREADS["several" if trial % 2 else "one"]():
                try:
                    found = question(CodeIndex(altered))
                except DamagedIndexError as error:
                    assert ".npy" in str(error)
                    damaged += 1
                    continue
            for own, distances in found:
                assert all(0 <= row <= rows[-1] for row in own)
                assert all(0 <= distance <= n_bits for distance in distances)
    assert damaged


@pytest.mark.parametrize(
    ("name", "value"), [("rows", 299), ("rows", 2**32 - 1), ("positions", 300)]
)
@pytest.mark.parametrize("way", [way for way in WAYS if "tables" in way])
def test_a_number_just_outside_is_damage(way, name, value):
    codes = make_codes("uniform", 300, 64)
    rows = np.delete(np.arange(301), 299)[:299].tolist()
    segment = build_segment(codes[:299], rows)
    assert (segment.row_base, segment.row_end) == (0, 299)
    array = getattr(segment, name).copy()
    array[:] = value
    index = CodeIndex(replace(segment, **{name: array}))
    with going(way):
        for question in (
            lambda: index.within(codes[:3], 64),
            lambda: index.nearest(codes[:3], 299),
        ):
            with pytest.raises(DamagedIndexError):
                question()


def test_words_in_order_are_scanned_in_the_place_of_the_words():
    """A mapping that is read ahead holds the same codes."""
    codes = make_codes("uniform", 300, 64)
    segment = build_segment(codes, layout=Layout.plain(64))
    same = Segment(
        segment.layout,
        segment.words,
        segment.rows,
        0,
        300,
        segment.offsets,
        segment.positions,
        segment.words.copy(),
    )
    for way in WAYS:
        with going(way):
            got = answer(CodeIndex(same).search(codes[5], 30))
            assert got == brute_force(codes, codes[5], 30)
