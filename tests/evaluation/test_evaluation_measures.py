"""Recall, curves, float neighbours and reconstruction errors against slow, plain counting."""

import numpy as np
import pytest

from hashret.codes import bit_moments, bucket_sizes, code_statistics, hamming, pack, unpack
from hashret.errors import InputError, UsageError
from hashret.evaluation import (
    Histograms,
    NearestVectors,
    average_precision,
    code_histograms,
    neighbour_histograms,
    precision_at,
    precision_within,
    radius_curve,
    recall_at,
    recall_within,
    reconstruction_scores,
)
from hashret.evaluation.reconstruction import component_errors
from hashret.evaluation.search_cost import search_costs


@pytest.fixture(scope="module")
def crowd():
    """Codes of 8 bits: every distance is shared by many."""
    rng = np.random.default_rng(5)
    database = pack(rng.random((80, 8)) < 0.4)
    queries = pack(rng.random((6, 8)) < 0.4)
    return queries, database, rng.permuted(np.tile(np.arange(80), (6, 1)), axis=1)[:, :10]


@pytest.mark.parametrize("k", [1, 10, 33, 80, 500])
def test_recall_of_neighbours_is_the_mean_over_random_orders(crowd, k):
    queries, database, neighbours = crowd
    expected = recall_at(neighbour_histograms(queries, database, neighbours), k)
    rng = np.random.default_rng(0)
    for q in range(len(queries)):
        distances = hamming(queries[q], database)
        drawn = [
            np.isin(np.lexsort((rng.random(80), distances))[:k], neighbours[q]).sum() / 10
            for _ in range(3000)
        ]
        assert abs(expected[q] - np.mean(drawn)) <= 5 * np.std(drawn) / np.sqrt(3000) + 1e-9


def test_average_precision_over_all_places_is_that_over_as_many_as_there_are(crowd):
    queries, database, neighbours = crowd
    histograms = neighbour_histograms(queries, database, neighbours)
    every = average_precision(histograms, None)
    np.testing.assert_allclose(every, average_precision(histograms, 80))
    np.testing.assert_allclose(every, average_precision(histograms, 10_000))
    assert (every != average_precision(histograms, 20)).any()


def test_average_precision_is_exact_in_rings_of_many(crowd):
    # Ten million items in one ring, half of them relevant: the expectation, place by place.
    size, hits = 10_000_000, 5_000_000
    histograms = Histograms(np.array([[size]], np.int32), np.array([[hits]], np.int32))
    j = np.arange(1, size + 1)
    expected = ((1 + (j - 1) * ((hits - 1) / (size - 1))) / j).mean()
    assert average_precision(histograms, None)[0] == pytest.approx(expected, rel=1e-9)


def test_neighbours_are_counted_by_distance_and_missing_ones_are_not(crowd):
    queries, database, neighbours = crowd
    neighbours = neighbours.copy()
    neighbours[2, 4:] = -1
    own = np.array([-1, 3, -1, -1, 70, -1])
    histograms = neighbour_histograms(queries, database, neighbours, own)
    for q in range(6):
        distances = hamming(queries[q], database)
        rows = neighbours[q][neighbours[q] >= 0]
        np.testing.assert_array_equal(
            histograms.relevant[q], np.bincount(distances[rows], minlength=9)
        )
        kept = np.delete(distances, own[q]) if own[q] >= 0 else distances
        np.testing.assert_array_equal(histograms.items[q], np.bincount(kept, minlength=9))


def test_the_curve_holds_precision_and_recall_within_every_radius(crowd):
    queries, database, _ = crowd
    labels, query_labels = np.arange(80) % 3, np.array([0, 1, 2, 0, 1, 7])  # 7: nothing relevant
    histograms = code_histograms(queries, database, query_labels, labels)
    curve = radius_curve(histograms)
    assert len(curve.precision) == 9
    for radius in range(9):
        precisions, recalls, counts = [], [], []
        for q in range(6):
            near = hamming(queries[q], database) <= radius
            same = labels == query_labels[q]
            counts.append(near.sum())
            precisions.append((near & same).sum() / max(near.sum(), 1))
            if same.any():
                recalls.append((near & same).sum() / same.sum())
        assert curve.precision[radius] == pytest.approx(np.mean(precisions))
        assert curve.recall[radius] == pytest.approx(np.mean(recalls))
        assert curve.items[radius] == pytest.approx(np.mean(counts))
        assert curve.empty[radius] == pytest.approx(np.mean(np.array(counts) == 0))
        assert precision_within(histograms, radius).mean() == pytest.approx(np.mean(precisions))
        assert recall_within(histograms, radius)[:5].mean() == pytest.approx(np.mean(recalls))


def test_precision_and_recall_count_the_same_finds(crowd):
    queries, database, neighbours = crowd
    histograms = neighbour_histograms(queries, database, neighbours)
    np.testing.assert_allclose(precision_at(histograms, 20) * 20, recall_at(histograms, 20) * 10)


@pytest.mark.parametrize("shift", [0, 300])
def test_nearest_vectors_of_blocks_are_those_of_the_whole(shift):
    rng = np.random.default_rng(1)
    database = (rng.standard_normal((90, 5)) + shift).astype(np.float32)
    numbers = np.arange(90) * 3
    own = np.array([0, 30, -1])
    queries = database[[0, 10, 20]]
    nearest = NearestVectors(queries, 7, own)
    for start in (0, 4, 50):  # the first block is smaller than k
        end = {0: 4, 4: 50, 50: 90}[start]
        nearest.add(numbers[start:end], database[start:end])
    for q, query in enumerate(queries):
        distances = ((database - query) ** 2).sum(axis=1)
        distances[numbers == own[q]] = np.inf
        np.testing.assert_array_equal(nearest.rows[q], numbers[np.argsort(distances)[:7]])


def test_nearest_vectors_say_where_there_are_fewer():
    nearest = NearestVectors(np.zeros((1, 2), np.float32), 3, [0])
    nearest.add(np.arange(2), np.ones((2, 2), np.float32))
    assert nearest.rows[0, 0] == 1
    assert (nearest.rows[0, 1:] == -1).all()
    with pytest.raises(UsageError):
        NearestVectors(np.zeros((1, 2), np.float32), 0)


def test_bit_correlation_and_entropy_against_plain_counting():
    rng = np.random.default_rng(3)
    bits = (rng.random((500, 16)) < np.linspace(0.05, 0.9, 16)).astype(np.uint8)
    bits[:, 5] = bits[:, 9] ^ (rng.random(500) < 0.1)
    bits[:, 7] = 1  # never varies
    shares, correlation = bit_moments(pack(bits))
    np.testing.assert_allclose(shares, bits.mean(axis=0))
    varying = np.delete(np.arange(16), 7)
    np.testing.assert_allclose(
        correlation[np.ix_(varying, varying)], np.corrcoef(bits[:, varying].T), atol=1e-9
    )
    assert not correlation[7].any()
    statistics = code_statistics(pack(bits))
    assert statistics.lowest_bit_entropy == 0
    upper = np.abs(correlation[np.triu_indices(16, 1)])
    assert statistics.bit_correlation == pytest.approx(upper.mean())
    assert statistics.largest_bit_correlation == pytest.approx(abs(correlation[5, 9]))


def test_bucket_sizes_add_up():
    codes = pack(np.random.default_rng(0).random((300, 8)) < 0.2)
    sizes = bucket_sizes(codes)
    assert sizes.sum() == 300
    others = [(codes == code).all(axis=1).sum() - 1 for code in codes]
    statistics = code_statistics(codes)
    assert statistics.mean_sharing == pytest.approx(np.mean(others))
    assert statistics.largest == max(others) + 1
    assert statistics.buckets == len(np.unique(codes))


def test_reconstructions_are_measured_against_principal_components():
    rng = np.random.default_rng(0)
    train, rows = (
        (rng.standard_normal((n, 40)) @ np.diag(np.linspace(0.1, 2, 40)) + 3).astype(np.float32)
        for n in (500, 60)
    )
    scores = reconstruction_scores(rows, rows + 0.5, train, n_bits=64)
    assert scores.codes == pytest.approx(0.25, rel=1e-4)
    assert (scores.same_bits_components, scores.same_dimensions_components) == (2, 40)
    mean = train.mean(axis=0)
    basis = np.linalg.svd(train - mean, full_matrices=False)[2][:2]
    rebuilt = mean + (rows - mean) @ basis.T @ basis
    assert scores.same_bits == pytest.approx(((rows - rebuilt) ** 2).mean(), rel=1e-3)
    assert scores.variance == pytest.approx(((rows - mean) ** 2).mean(), rel=1e-3)
    assert scores.same_dimensions == pytest.approx(0, abs=1e-6)
    assert reconstruction_scores(rows, rows, train, n_bits=8).same_bits_components == 1


@pytest.mark.parametrize("n_rows", [1, 20, 120])
def test_components_of_many_features_are_found_without_their_covariance(n_rows, monkeypatch):
    rng = np.random.default_rng(2)
    train, rows = (rng.normal(size=(n, 40)).astype(np.float32) for n in (n_rows, 30))
    expected = component_errors(train, rows, (0, 2, 32))
    monkeypatch.setattr("hashret.evaluation.reconstruction.MAX_COVARIANCE", 39)
    monkeypatch.setattr(np.linalg, "eigh", lambda _: pytest.fail("a covariance"))
    found = component_errors(train, rows, (0, 2, 32))
    assert found[0] == pytest.approx(expected[0])
    if n_rows > 1:
        assert found[2] == pytest.approx(expected[2])
    if n_rows > 32:
        assert found[32] == pytest.approx(expected[32])
    assert found[32] <= found[2] <= found[0]


def test_errors_of_intensities_are_those_of_values_from_0_to_1():
    rows = np.random.default_rng(0).integers(0, 256, (50, 12)).astype(np.float32)
    rows[0, 0] = 255
    whole = reconstruction_scores(rows, rows + 51, rows, n_bits=32)
    assert whole.unit == 255
    assert whole.codes == pytest.approx(0.04, rel=1e-4)
    scaled = reconstruction_scores(rows / 255, rows / 255 + 0.2, rows / 255, n_bits=32)
    assert scaled.unit == 1
    assert scaled.codes == pytest.approx(whole.codes, rel=1e-3)
    assert scaled.same_bits == pytest.approx(whole.same_bits, rel=1e-3)


def test_reconstructions_of_another_shape_are_refused():
    rows = np.zeros((3, 4), np.float32)
    with pytest.raises(InputError):
        reconstruction_scores(rows, rows[:2], rows, 8)
    with pytest.raises(InputError):
        reconstruction_scores(rows, rows, rows[:, :2], 8)


def test_crowded_codes_cost_more_candidates_than_random_ones():
    rng = np.random.default_rng(0)
    crowded = np.repeat(pack(rng.random((20, 32)) < 0.5), 100, axis=0)
    costs = search_costs(crowded, crowded[:5])
    of = {(cost.codes, cost.search): cost for cost in costs}
    assert len(of) == 4
    for cost in costs:
        assert cost.microseconds > 0
    mine, even = of["index", "radius 2"], of["random", "radius 2"]
    assert mine.hits == pytest.approx(100)
    assert even.hits < 2
    assert {cost.items for cost in costs} == {2000}
    assert unpack(crowded).shape == (2000, 32)


def test_the_cost_of_a_search_is_not_that_of_the_first_items_only(monkeypatch):
    monkeypatch.setattr("hashret.evaluation.search_cost.MAX_QUERIES", 50)
    # As in folders that are read one after the other: the first half all alike.
    codes = pack(np.random.default_rng(0).random((2000, 32)) < 0.5)
    codes[:1000] = codes[0]
    (cost,) = (
        c for c in search_costs(codes, codes) if (c.codes, c.search) == ("index", "radius 2")
    )
    assert 200 < cost.hits < 800
