"""Several segments, own row numbers and filters answer as one index would."""

import numpy as np
import pytest
from search_oracle import answer, answers, brute_force, make_codes, make_queries

from hashret.errors import InputError, UsageError
from hashret.search import CodeIndex, planner, search_many, search_segments
from hashret.search.building import build_segment
from hashret.search.layout import Layout

ARGUMENTS = [(0, None), (4, None), (None, 1), (None, 12), (None, 5000), (6, 3)]


@pytest.fixture(autouse=True)
def tables_for_all(monkeypatch):
    monkeypatch.setattr(planner, "TABLE_FROM_WORDS", 0)


@pytest.fixture(scope="module")
def codes():
    return make_codes("clustered", 1200, 64)


@pytest.fixture(scope="module")
def rows():
    return np.sort(np.random.default_rng(4).choice(10_000, 1200, replace=False))


@pytest.mark.parametrize(("radius", "limit"), ARGUMENTS)
def test_segments_answer_as_one_index(way, codes, rows, radius, limit):
    part = np.random.default_rng(5).choice(4, len(codes), p=[0.8, 0.15, 0.04, 0.01])
    layouts = [None, Layout.plain(64), Layout.choose(10**6, 64, codes), None]
    segments = [
        CodeIndex(build_segment(codes[part == i], rows[part == i], layout))
        for i, layout in enumerate(layouts)
    ]
    segments.insert(1, CodeIndex.build(codes[:0]))
    queries = make_queries(codes, 20)
    expected = [brute_force(codes, query, radius, limit, rows) for query in queries]
    for some in (segments, segments[::-1]):
        assert answers(search_many(some, queries, radius, limit)) == expected
    for query, own in zip(queries[:3], expected, strict=False):
        assert answer(search_segments(segments, query, radius, limit)) == own


def test_rows_far_from_each_other(way):
    """Segments whose rows are counted from different bases, one of them over more than 2**32."""
    codes = make_codes("clustered", 900, 40)
    rows = np.sort(np.random.default_rng(0).choice(2**50, 900, replace=False))
    rows[:300] = np.arange(300) * 3
    rows[-1] = 2**52 - 1
    segments = [
        CodeIndex.build(codes[own], rows=rows[own])
        for own in (slice(300), slice(300, 301), slice(301, 900))
    ]
    assert [one.segment.rows.itemsize for one in segments] == [4, 4, 8]
    for query in make_queries(codes, 4):
        for radius, limit in ARGUMENTS:
            expected = brute_force(codes, query, radius, limit, rows)
            assert answer(search_segments(segments, query, radius, limit)) == expected


def test_a_near_code_in_a_small_segment_is_not_missed(way):
    """The bound that the largest segment sets is kept, and a tie goes to the lower row."""
    codes = make_codes("uniform", 1000, 64)
    codes[[3, 700]] = codes[0]
    large = CodeIndex.build(codes[500:], rows=range(500, 1000))
    small = CodeIndex.build(codes[:4], rows=range(4))
    for limit, expected in [(1, [0]), (2, [0, 3]), (3, [0, 3, 700])]:
        for segments in ([large, small], [small, large]):
            assert search_segments(segments, codes[0], limit=limit).rows.tolist() == expected


@pytest.mark.parametrize(("radius", "limit"), ARGUMENTS)
@pytest.mark.parametrize("share", [0.0, 0.002, 0.01, 0.5, 1.0])
def test_only_allowed_rows_are_found_and_counted(way, codes, rows, radius, limit, share):
    allowed = np.random.default_rng(6).random(9_001) < share
    segments = [
        CodeIndex.build(codes[:700], rows=rows[:700]),
        CodeIndex.build(codes[700:], rows=rows[700:]),
    ]
    queries = make_queries(codes, 10)
    expected = [brute_force(codes, query, radius, limit, rows, allowed) for query in queries]
    for given in (allowed, np.packbits(allowed)):
        assert answers(search_many(segments, queries, radius, limit, given)) == expected
        assert answer(search_segments(segments, queries[0], radius, limit, given)) == expected[0]


def test_filters_in_memory_of_any_kind(way, codes, tmp_path):
    allowed = np.random.default_rng(0).random(1200) < 0.3
    bitmap = np.packbits(allowed)
    np.save(tmp_path / "bitmap.npy", bitmap)
    fixed = bitmap.copy()
    fixed.flags.writeable = False
    expected = brute_force(codes, codes[0], None, 20, None, allowed)
    index = CodeIndex.build(codes)
    for given in (
        allowed,
        [bool(one) for one in allowed],
        np.repeat(allowed, 2)[::2],
        bitmap,
        fixed,
        np.repeat(bitmap, 2)[::2],
        np.load(tmp_path / "bitmap.npy", mmap_mode="r"),
    ):
        assert answer(index.search(codes[0], limit=20, allowed=given)) == expected


def test_rows_beyond_the_end_of_a_filter_are_not_allowed(way, codes):
    index = CodeIndex.build(codes[:40], rows=[*range(39), 2**52 - 1])
    for n in range(20):
        given = np.ones(n, dtype=bool)
        assert len(index.search(codes[0], 64, allowed=given)) == n
        # A bitmap has whole bytes, and their last bits are rows like others.
        assert len(index.search(codes[0], 64, allowed=np.packbits(given))) == n
    assert len(index.search(codes[0], 64, allowed=np.full(2, 255, dtype=np.uint8))) == 16


def test_an_empty_filter_allows_nothing(way, codes):
    index = CodeIndex.build(codes)
    for dtype in (bool, np.uint8):
        empty = np.zeros(0, dtype=dtype)
        assert len(index.search(codes[0], limit=3, allowed=empty)) == 0
        assert len(index.search(codes[0], radius=64, allowed=empty)) == 0


def test_a_list_is_a_filter_too(way, codes):
    index = CodeIndex.build(codes)
    assert index.search(codes[0], limit=3, allowed=[False, True]).rows.tolist() == [1]


def test_the_largest_row_number_comes_back(way, codes):
    top = 2**52 - 1
    index = CodeIndex.build(codes[:2], rows=[5, top])
    assert sorted(index.search(codes[0], radius=64).rows) == [5, top]
    assert sorted(index.search(codes[0], limit=2).rows) == [5, top]
    assert CodeIndex.build(codes[:1], rows=[top]).nearest(codes[0], 1)[1].tolist() == [[top]]


@pytest.mark.parametrize(
    "allowed",
    [
        np.ones(5),
        np.ones(5, dtype=np.int8),
        np.ones(5, dtype=np.int64),
        np.ones((2, 2), dtype=bool),
        np.ones((2, 2), dtype=np.uint8),
        [0, 1],
        [],
        "no",
        True,
        3,
    ],
)
def test_senseless_filters_are_refused(way, codes, allowed):
    index = CodeIndex.build(codes)
    with pytest.raises(UsageError, match="allowed"):
        index.search(codes[0], limit=2, allowed=allowed)
    with pytest.raises(UsageError, match="allowed"):
        index.pairs(2, allowed)


def test_segments_of_other_lengths_are_refused(way, codes):
    segments = [CodeIndex.build(codes), CodeIndex.build(codes[:, :4])]
    with pytest.raises(InputError, match="32 bits"):
        search_segments(segments, codes[0], limit=3)
    with pytest.raises(InputError, match="64 bits"):
        search_many(segments, codes[:, :4], limit=3)


def test_no_segments_hold_nothing(way, codes):
    empty = CodeIndex.build(codes[:0])
    for segments in ([], [empty], [empty, empty]):
        found = search_segments(segments, codes[0], limit=3)
        assert len(found) == 0
        assert (found.stats.probes, found.stats.candidates) == (0, 0)
        for one in search_many(segments, codes[:2], radius=3):
            assert (one.rows.dtype, one.distances.dtype) == (np.int64, np.int32)
            assert answer(one) == ([], [])


def test_stats_add_up_over_segments(way, codes):
    parts = [(slice(800), range(800)), (slice(800, 1200), range(800, 1200))]
    segments = [CodeIndex.build(codes[own], rows=rows) for own, rows in parts]
    together = search_segments(segments, codes[0], radius=2).stats
    single = [one.search(codes[0], radius=2).stats for one in segments]
    assert together.probes == sum(stats.probes for stats in single)
    assert together.candidates == sum(stats.candidates for stats in single)
    assert together.plan == "; ".join(dict.fromkeys(stats.plan for stats in single))
    assert together.seconds > 0
    assert together.estimated_seconds > 0
    if "scan" in way or "faiss" in way:
        assert (together.plan, together.probes, together.candidates) == ("scan", 0, 1200)
    if "tables" in way:
        assert together.plan == "tables, radius 0 to 2"
        assert together.probes >= 6
