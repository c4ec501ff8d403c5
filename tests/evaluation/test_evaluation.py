"""The measures against brute force."""

import numpy as np
import pytest

from hashret.codes import hamming, pack
from hashret.errors import EncoderMismatchError, InputError, UsageError
from hashret.evaluation import (
    Histograms,
    average_precision,
    code_histograms,
    code_statistics,
    precision_at,
    precision_within,
    score_codes,
    score_vectors,
)


def ranked_scores(relevant, k_map, k_precision):
    """Average precision and precision of one ranking without ties."""
    precisions = np.cumsum(relevant) / np.arange(1, len(relevant) + 1)
    most = min(relevant.sum(), k_map)
    average = (precisions * relevant)[:k_map].sum() / most if most else 0.0
    return average, relevant[:k_precision].mean()


@pytest.fixture(scope="module")
def problem():
    rng = np.random.default_rng(0)
    database = pack(rng.random((60, 8)) < 0.4)
    queries = pack(rng.random((5, 8)) < 0.4)
    return queries, database, rng.integers(3, size=5), rng.integers(3, size=60)


@pytest.mark.parametrize("k", [1, 7, 25, 60, 1000])
def test_ties_count_as_the_mean_over_random_orders(problem, k):
    queries, database, query_labels, labels = problem
    histograms = code_histograms(queries, database, query_labels, labels)
    average, precision = average_precision(histograms, k), precision_at(histograms, k)
    rng = np.random.default_rng(1)
    for q in range(len(queries)):
        distances = hamming(queries[q], database)
        drawn = []
        for _ in range(4000):
            order = np.lexsort((rng.random(60), distances))
            drawn.append(ranked_scores(labels[order] == query_labels[q], k, k))
        means, errors = np.mean(drawn, axis=0), np.std(drawn, axis=0) / np.sqrt(4000)
        assert abs(average[q] - means[0]) <= 5 * errors[0] + 1e-9
        assert abs(precision[q] - means[1]) <= 5 * errors[1] + 1e-9


def test_a_hand_worked_case():
    # Distance 0: one relevant item of two; distance 1: one relevant item.
    histograms = Histograms(np.array([[2, 1]], np.int32), np.array([[1, 1]], np.int32))
    # The first relevant item is first or second, the other is third: (1 + 1/2) / 2 + 2/3, over 2.
    assert average_precision(histograms, 10)[0] == pytest.approx((0.75 + 2 / 3) / 2)
    assert precision_at(histograms, 1)[0] == pytest.approx(0.5)
    assert precision_at(histograms, 10)[0] == pytest.approx(2 / 3)
    assert precision_within(histograms, 0)[0] == pytest.approx(0.5)


@pytest.mark.parametrize("n_bits", [8, 32, 72, 128])
def test_histograms_match_brute_force_at_every_length(n_bits):
    rng = np.random.default_rng(n_bits)
    queries, database = (pack(rng.random((n, n_bits)) < 0.5) for n in (7, 90))
    query_labels, labels = rng.integers(3, size=7), rng.integers(4, size=90)
    histograms = code_histograms(queries, database, query_labels, labels)
    for q in range(7):
        distances = hamming(queries[q], database)
        same = labels == query_labels[q]
        np.testing.assert_array_equal(
            histograms.items[q], np.bincount(distances, minlength=n_bits + 1)
        )
        np.testing.assert_array_equal(
            histograms.relevant[q], np.bincount(distances[same], minlength=n_bits + 1)
        )


def test_own_rows_are_left_out(problem):
    _, database, _, labels = problem
    rows = np.array([3, 10, -1])
    whole = code_histograms(database[[3, 10, 3]], database, labels[[3, 10, 3]], labels)
    without = code_histograms(database[[3, 10, 3]], database, labels[[3, 10, 3]], labels, rows)
    np.testing.assert_array_equal((whole.items - without.items)[:, 0], [1, 1, 0])
    np.testing.assert_array_equal((whole.relevant - without.relevant).sum(axis=1), [1, 1, 0])


def test_an_empty_ball_counts_zero_and_is_reported():
    database = pack([[0] * 8, [0] * 7 + [1]])
    queries = pack([[0] * 8, [1] * 8])
    scores = score_codes(queries, database, ["a", "a"], ["a", "b"], radius=1)
    assert scores.ball_precision == pytest.approx(0.25)
    assert scores.empty_balls == pytest.approx(0.5)
    assert score_codes(queries, database, ["a", "a"], ["a", "b"], radius=8).empty_balls == 0


def test_a_query_with_nothing_relevant_scores_zero():
    scores = score_codes(pack([[0] * 8]), pack([[0] * 8]), ["x"], ["y"])
    assert (scores.mean_average_precision, scores.precision, scores.ball_precision) == (0, 0, 0)


def test_vectors_score_as_codes_do_where_there_are_no_ties():
    rng = np.random.default_rng(2)
    queries, database = (rng.standard_normal((n, 6)).astype(np.float32) for n in (9, 70))
    query_labels, labels = rng.integers(3, size=9), rng.integers(3, size=70)
    scores = score_vectors(queries, database, query_labels, labels, map_k=20, precision_k=10)
    expected = []
    for query, label in zip(queries, query_labels, strict=True):
        order = np.argsort(((query - database) ** 2).sum(axis=1))
        average, precision = ranked_scores(labels[order] == label, 20, 10)
        expected.append((average, precision))
    np.testing.assert_allclose(
        (scores.mean_average_precision, scores.precision), np.mean(expected, axis=0)
    )
    assert scores.ball_precision is None


def test_a_bit_that_never_changes_has_no_entropy():
    lowest = code_statistics(np.zeros((4, 1), np.uint8)).lowest_bit_entropy
    assert lowest == 0
    assert not np.signbit(lowest)


def test_code_statistics():
    codes = pack([[0] * 8] * 3 + [[1] + [0] * 7])
    statistics = code_statistics(codes)
    assert statistics.buckets == 2
    assert statistics.largest == 3
    assert statistics.mean_sharing == pytest.approx((3 * 2 + 0) / 4)
    quarter = -(0.25 * np.log2(0.25) + 0.75 * np.log2(0.75))
    assert statistics.bit_entropy == pytest.approx(quarter / 8)


CODES = np.zeros((3, 1), np.uint8)
WIDER = np.zeros((3, 2), np.uint8)


@pytest.mark.parametrize(
    ("error", "call"),
    [
        (EncoderMismatchError, lambda: score_codes(CODES, WIDER, [0] * 3, [0] * 3)),
        (InputError, lambda: score_codes(CODES, CODES, [0] * 2, [0] * 3)),
        (InputError, lambda: score_codes(CODES, CODES, [0] * 3, [0] * 4)),
        (InputError, lambda: score_codes(CODES[:0], CODES, [], [0] * 3)),
        (InputError, lambda: score_codes(CODES, CODES[:0], [0] * 3, [])),
        (InputError, lambda: score_codes(CODES, CODES, [0] * 3, [0] * 3, own_rows=[0])),
        (InputError, lambda: score_codes(CODES, CODES, [[0] * 3], [0] * 3)),
        (InputError, lambda: score_codes(CODES * 1.0, CODES, [0] * 3, [0] * 3)),
        (UsageError, lambda: score_codes(CODES, CODES, [0] * 3, [0] * 3, map_k=0)),
        (UsageError, lambda: score_codes(CODES, CODES, [0] * 3, [0] * 3, precision_k=0)),
        (UsageError, lambda: score_codes(CODES, CODES, [0] * 3, [0] * 3, radius=-1)),
        (InputError, lambda: score_vectors(np.eye(3), np.eye(4), [0] * 3, [0] * 4)),
        (InputError, lambda: code_statistics(CODES[:0])),
    ],
)  # fmt: skip
def test_senseless_calls_are_refused(error, call):
    with pytest.raises(error):
        call()
