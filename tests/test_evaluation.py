"""The measures against brute force, and the baselines against what they promise."""

import numpy as np
import pytest

from hashret.codes import hamming, pack, unpack
from hashret.errors import EncoderMismatchError, InputError, NotFittedError, UsageError
from hashret.evaluation import (
    ITQ,
    Histograms,
    PCAHash,
    RandomHyperplanes,
    average_precision,
    bucket_statistics,
    code_histograms,
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


def test_bucket_statistics():
    codes = pack([[0] * 8] * 3 + [[1] + [0] * 7])
    statistics = bucket_statistics(codes)
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
        (InputError, lambda: bucket_statistics(CODES[:0])),
    ],
)  # fmt: skip
def test_senseless_calls_are_refused(error, call):
    with pytest.raises(error):
        call()


@pytest.fixture(scope="module")
def ellipse():
    rng = np.random.default_rng(0)
    mixing = rng.standard_normal((24, 24)) * np.linspace(0.2, 3, 24)
    return (rng.standard_normal((2000, 24)) @ mixing + 5).astype(np.float32)


@pytest.mark.parametrize("method", [ITQ, PCAHash, RandomHyperplanes])
def test_baselines_encode_reproducibly(method, ellipse):
    codes = method(16, random_state=3).fit(ellipse).transform(ellipse)
    assert codes.dtype == np.uint8
    assert codes.shape == (2000, 2)
    np.testing.assert_array_equal(method(16, random_state=3).fit(ellipse).transform(ellipse), codes)
    # The data were centred: bits are balanced.
    assert np.abs(unpack(codes).mean(axis=0) - 0.5).max() < 0.1


def test_itq_quantizes_with_less_loss_than_the_components_it_rotates(ellipse):
    def loss(hasher):
        projected = (ellipse - hasher.mean_) @ hasher.projection_
        return ((np.sign(projected) - projected) ** 2).sum()

    itq, pca = ITQ(16, random_state=0).fit(ellipse), PCAHash(16).fit(ellipse)
    assert loss(itq) < loss(pca)
    # A rotation of the same components: it spans the same space and keeps lengths.
    np.testing.assert_allclose(itq.projection_.T @ itq.projection_, np.eye(16), atol=1e-4)
    residual = itq.projection_ - pca.projection_ @ (pca.projection_.T @ itq.projection_)
    assert np.abs(residual).max() < 1e-4


def test_principal_components_are_the_leading_ones(ellipse):
    projection = PCAHash(8).fit(ellipse).projection_
    variances = (ellipse @ projection).var(axis=0)
    expected = np.linalg.eigvalsh(np.cov(ellipse.T, ddof=0))[::-1][:8]
    np.testing.assert_allclose(variances, expected, rtol=1e-3)


def test_baselines_refuse_what_they_cannot_do(ellipse):
    with pytest.raises(InputError, match="fewer bits"):
        ITQ(32).fit(ellipse)
    with pytest.raises(UsageError):
        PCAHash(7).fit(ellipse)
    with pytest.raises(NotFittedError):
        PCAHash(8).transform(ellipse)
    with pytest.raises(InputError, match="24"):
        PCAHash(8).fit(ellipse).transform(ellipse[:, :3])
    with pytest.raises(InputError):
        PCAHash(8).fit(ellipse[0])
