"""Several segments, own row numbers and filters answer as one index would."""

import numpy as np
import pytest

from hashret.codes import hamming
from hashret.errors import InputError, UsageError
from hashret.search import CodeIndex, planner, search_many, search_segments

ARGUMENTS = [(0, None), (4, None), (None, 1), (None, 12), (None, 5000), (6, 3)]


def brute_force(codes, rows, query, radius, limit):
    distances = hamming(codes, query)
    order = np.lexsort((rows, distances))
    if radius is not None:
        order = order[distances[order] <= radius]
    return rows[order[:limit]].tolist(), distances[order[:limit]].tolist()


def answer(found):
    return found.rows.tolist(), found.distances.tolist()


@pytest.fixture(params=["tables", "scans"], autouse=True)
def way(request, monkeypatch):
    if request.param == "tables":
        monkeypatch.setattr(planner, "TABLE_FROM_SECONDS", -1.0)
        monkeypatch.setattr(planner, "GROWING_SHARE", 1e9)


@pytest.fixture(scope="module")
def codes():
    rng = np.random.default_rng(3)
    centres = rng.integers(0, 256, (40, 8), dtype=np.uint8)
    return centres[rng.integers(0, 40, 1200)] ^ np.packbits(rng.random((1200, 64)) < 0.05, axis=1)


@pytest.fixture(scope="module")
def rows():
    return np.sort(np.random.default_rng(4).choice(10_000, 1200, replace=False))


@pytest.mark.parametrize(("radius", "limit"), ARGUMENTS)
def test_segments_answer_as_one_index(codes, rows, radius, limit):
    part = np.random.default_rng(5).integers(0, 4, len(codes))
    part[:3] = 3  # a tail of a few codes, as after a small addition
    part[(part == 3) & (np.arange(len(codes)) > 3)] = 0
    segments = [CodeIndex.build(codes[part == i], rows=rows[part == i]) for i in range(4)]
    segments.append(CodeIndex.build(codes[:0]))
    many = search_many(segments, codes[:20], radius, limit)
    for query, one in zip(codes[:20], many, strict=True):
        expected = brute_force(codes, rows, query, radius, limit)
        assert answer(search_segments(segments, query, radius, limit)) == expected
        assert answer(one) == expected


@pytest.mark.parametrize(("radius", "limit"), ARGUMENTS)
@pytest.mark.parametrize("share", [0.0, 0.002, 0.01, 0.5, 1.0])
def test_only_allowed_rows_are_found_and_counted(codes, rows, radius, limit, share):
    allowed = np.random.default_rng(6).random(9_000) < share
    keep = (rows < len(allowed)) & allowed[np.minimum(rows, len(allowed) - 1)]
    segments = [
        CodeIndex.build(codes[:700], rows=rows[:700]),
        CodeIndex.build(codes[700:], rows=rows[700:]),
    ]
    many = search_many(segments, codes[:10], radius, limit, allowed)
    for query, one in zip(codes[:10], many, strict=True):
        expected = brute_force(codes[keep], rows[keep], query, radius, limit)
        assert answer(search_segments(segments, query, radius, limit, allowed)) == expected
        assert answer(one) == expected


def test_an_empty_filter_allows_nothing(codes):
    index = CodeIndex.build(codes)
    assert len(index.search(codes[0], limit=3, allowed=np.zeros(0, dtype=bool))) == 0


def test_a_selective_filter_comes_before_a_scan(codes, monkeypatch):
    monkeypatch.setattr(planner, "TABLE_FROM_SECONDS", 1e9)
    index = CodeIndex.build(codes)
    few, most = np.zeros(1200, dtype=bool), np.ones(1200, dtype=bool)
    few[[3, 700]], most[5] = True, False
    assert index.search(codes[0], limit=5, allowed=few).stats.candidates == 2
    assert index.search(codes[0], limit=5, allowed=most).stats.candidates == 1200


def test_a_list_is_a_filter_too(codes):
    index = CodeIndex.build(codes)
    assert index.search(codes[0], limit=3, allowed=[False, True]).rows.tolist() == [1]


def test_the_largest_row_number_comes_back(codes):
    top = 2**52 - 1
    index = CodeIndex.build(codes[:2], rows=[5, top])
    assert sorted(index.search(codes[0], radius=64).rows) == [5, top]


@pytest.mark.parametrize(
    "rows",
    [[0], [1, 1], [2, 1], [-1, 0], [0, 2**52], [0.0, 1.0], [[0, 1]], ["a", "b"], [False, True]],
)
def test_senseless_rows_are_refused(codes, rows):
    with pytest.raises(InputError, match="rows must"):
        CodeIndex.build(codes[:2], rows=rows)


@pytest.mark.parametrize("allowed", [np.ones(5), np.ones((2, 2), dtype=bool), [0, 1], True, 3])
def test_senseless_filters_are_refused(codes, allowed):
    with pytest.raises(UsageError, match="allowed"):
        CodeIndex.build(codes).search(codes[0], limit=2, allowed=allowed)


def test_segments_of_other_lengths_are_refused(codes):
    segments = [CodeIndex.build(codes), CodeIndex.build(codes[:, :4])]
    with pytest.raises(InputError, match="32 bits"):
        search_segments(segments, codes[0], limit=3)


def test_no_segments_hold_nothing(codes):
    found = search_segments([], codes[0], limit=3)
    assert len(found) == 0
    assert search_many([], codes[:2], radius=3)[1].rows.dtype == np.int64


def test_stats_add_up_over_segments(codes):
    segments = [CodeIndex.build(codes[:800]), CodeIndex.build(codes[800:], rows=range(800, 1200))]
    stats = search_segments(segments, codes[0], radius=64).stats
    assert stats.plan == "scan"
    assert stats.candidates == 1200
