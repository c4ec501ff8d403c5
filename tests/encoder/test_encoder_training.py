"""The parts a hasher is made of: bottleneck, scaling, neighbours, walks and loss."""

import numpy as np
import pytest

from hashret.encoder import learning  # noqa: F401  (sets TensorFlow's log level first)
from hashret.encoder.autoencoder import build_autoencoder
from hashret.encoder.bottleneck import BinarizedSigmoid
from hashret.encoder.chosen_bottleneck import choose_bottleneck
from hashret.encoder.losses import Loss
from hashret.encoder.neighbours import (
    NeighbourGraph,
    mutual_neighbours,
    nearest_rows,
    principal_components,
)
from hashret.encoder.recipe import Recipe
from hashret.encoder.scaling import Scaling
from hashret.encoder.training import train


def rng():
    return np.random.default_rng(0)


def recipe(n_units=16, **changes):
    return Recipe(
        **{
            "n_units": n_units, "epochs": 1, "batch_size": 8, "hidden": (8,), "mu": 6.0,
            "bottleneck": "straight-through", "reconstruction_weight": 1.0,
            "neighbour_weight": 1.0, "validation_fraction": 0.1, "patience": 1, **changes,
        }
    )  # fmt: skip


def test_bottleneck_is_hard_forwards_and_a_sigmoid_backwards():
    import tensorflow as tf

    layer = BinarizedSigmoid(slope=2.0)
    logits = tf.constant([[-30.0, -0.5, -0.0, 0.0, 1e-30, 0.5, 30.0]])
    with tf.GradientTape() as tape:
        tape.watch(logits)
        bits = layer(logits)
    np.testing.assert_array_equal(bits.numpy(), [[0, 0, 0, 0, 1, 1, 1]])
    soft = 1 / (1 + np.exp(-2 * logits.numpy().astype(float)))
    np.testing.assert_allclose(
        tape.gradient(bits, logits).numpy(), 2 * soft * (1 - soft), rtol=1e-5, atol=1e-12
    )


def test_bottleneck_is_serializable():
    import keras

    layer = BinarizedSigmoid(slope=3.0, name="bits")
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    assert type(again) is BinarizedSigmoid
    assert again.get_config() == layer.get_config()
    assert keras.saving.get_registered_name(BinarizedSigmoid) == "hashret>BinarizedSigmoid"
    with pytest.raises(ValueError, match="slope"):
        BinarizedSigmoid(slope=0)


@pytest.mark.parametrize(
    ("X", "bounded"),
    [
        ([[0.0, 0.2], [0.4, 0.1]], True),
        ([[0.0, 255], [17, 3]], True),
        ([[0.0, 0], [0, 0]], True),
        ([[0.5, 200.0], [17, 3]], False),
        ([[0.0, 256], [17, 3]], False),
        ([[-1.0, 0], [1, 0.5]], False),
        ([[7e5, 7e5], [7e5, 7e5]], False),
    ],
)
def test_scaling_goes_there_and_back(X, bounded):
    X = np.asarray(X, dtype=np.float32)
    scaling = Scaling.measure(X)
    scaled = scaling.apply(X)
    assert scaling.loss == ("binary" if bounded else "squared")
    if bounded:
        assert 0 <= scaled.min() <= scaled.max() <= 1
    else:
        np.testing.assert_allclose(scaled.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(scaling.inputs(X), scaled, rtol=1e-5, atol=1e-6)
    outputs = np.log(scaled + 1e-9) - np.log(1 - scaled + 1e-9) if bounded else scaled
    np.testing.assert_allclose(scaling.features(outputs), X, rtol=1e-5, atol=1e-5)


def test_scaling_keeps_the_proportions_of_distances():
    X = rng().normal(3, [1, 10], size=(50, 2)).astype(np.float32)
    scaled = Scaling.measure(X).apply(X)
    ratio = np.linalg.norm(scaled[1:] - scaled[0], axis=1) / np.linalg.norm(X[1:] - X[0], axis=1)
    np.testing.assert_allclose(ratio, ratio[0], rtol=1e-3)
    assert scaled.var(axis=0).mean() == pytest.approx(1, rel=1e-3)


@pytest.mark.parametrize("kind", ["squared", "multinomial"])
def test_measuring_a_scaling_takes_little_memory(kind):
    import tracemalloc

    X = rng().random((40_000, 50), dtype=np.float32) * 9
    tracemalloc.start()
    scaling = Scaling.measure(X, kind)
    assert tracemalloc.get_traced_memory()[1] < X.nbytes
    tracemalloc.stop()
    assert scaling.apply(X).var(axis=0).mean() == pytest.approx(1, rel=1e-3)
    np.testing.assert_allclose(scaling.apply(X).mean(axis=0), 0, atol=1e-3)


def test_counts_are_read_at_length_1():
    """Else a text would be near to those as long as it is, whatever they are about."""
    X = rng().poisson(1.0, size=(500, 30)).astype(np.float32)
    X[0] = 0
    scaling = Scaling.measure(X, "multinomial")
    read = (scaling.apply(X) - np.asarray(scaling.offset, np.float32)) / np.float32(scaling.scale)
    np.testing.assert_allclose(np.linalg.norm(read[1:], axis=1), 1, rtol=1e-4)
    np.testing.assert_allclose(read[0], 0, atol=1e-5)
    logs = np.log1p(X[7])
    np.testing.assert_allclose(read[7], logs / np.linalg.norm(logs), atol=1e-5)


def test_nearest_rows_match_brute_force():
    X = rng().standard_normal((200, 5)).astype(np.float32)
    squared = ((X[:, None] - X[None]) ** 2).sum(axis=2)
    np.fill_diagonal(squared, np.inf)
    nearest, distances = nearest_rows(X, 6)
    np.testing.assert_array_equal(nearest, np.argsort(squared, axis=1)[:, :6])
    np.testing.assert_allclose(distances, np.sort(squared, axis=1)[:, :6], rtol=1e-3)


def test_spread_tells_copies_from_noise():
    points = rng().standard_normal((400, 8)).astype(np.float32)
    copies = np.repeat(points[:40], 10, axis=0)
    assert mutual_neighbours(copies, 5, rng()).spread == pytest.approx(0, abs=1e-5)
    assert mutual_neighbours(np.zeros((40, 3), np.float32), 5, rng()).spread == 0
    far = mutual_neighbours(rng().standard_normal((400, 60)).astype(np.float32), 5, rng())
    squared = ((points[:, None] - points[None]) ** 2).sum(axis=2)
    near, all_pairs = np.sort(squared, axis=1)[:, 1:6].mean(), squared.mean()
    graph = mutual_neighbours(points, 5, rng())
    assert graph.spread == pytest.approx(near / all_pairs, rel=1e-3)
    assert graph.spread < far.spread < 1


def test_wide_neighbourhoods_get_bernoulli_bits():
    assert choose_bottleneck(None) == "straight-through"
    narrow, wide = (NeighbourGraph(np.zeros(2), np.zeros(0), spread) for spread in (0.1, 0.2))
    assert choose_bottleneck(narrow) == "straight-through"
    assert choose_bottleneck(wide) == "bernoulli"


def test_images_are_compared_by_their_edges():
    # Squares and crosses, each at four brightnesses: pixels bring together what is equally bright.
    square, cross = np.zeros((2, 12, 12), np.float32)
    square[2:10, 2:10] = 1
    cross[5:7] = cross[:, 5:7] = 1
    shapes = [shape * level for shape in (square, cross) for level in (0.1, 0.4, 0.7, 1.0)]
    noise = 0.002 * rng().random((80, 144), dtype=np.float32)
    X = np.repeat(np.stack(shapes).reshape(8, -1), 10, axis=0) + noise
    kind = np.repeat([0, 1], 40)

    def share_alike(image_shape):
        graph = mutual_neighbours(X, 20, rng(), image_shape)
        sources = np.repeat(np.arange(80), np.diff(graph.starts))
        return (kind[sources] == kind[graph.targets]).mean()

    assert share_alike((12, 12)) == 1
    assert share_alike(None) < 0.9
    tiny = mutual_neighbours(X[:, :6], 5, rng(), (2, 3))  # too small to have edges
    assert len(tiny.targets)


@pytest.mark.parametrize("n", [1, 2, 5])
def test_few_rows_have_few_neighbours(n):
    nearest, distances = nearest_rows(np.arange(n, dtype=np.float32)[:, None], 15)
    assert nearest.shape == distances.shape == (n, n - 1)
    graph = mutual_neighbours(np.arange(n, dtype=np.float32)[:, None], 15, rng())
    assert len(graph.targets) == n * (n - 1)


def test_equal_rows_are_never_their_own_neighbours():
    nearest, _ = nearest_rows(np.zeros((100, 3), np.float32), 4)
    assert (nearest != np.arange(100)[:, None]).all()
    assert all(len(set(row)) == 4 for row in nearest)


def test_edges_are_those_named_from_both_ends():
    X = rng().standard_normal((150, 3)).astype(np.float32)
    named = [set(row) for row in nearest_rows(X, 5)[0]]
    graph = mutual_neighbours(X, 5, rng())
    for i in range(150):
        targets = graph.targets[graph.starts[i] : graph.starts[i + 1]].tolist()
        assert targets == sorted(j for j in named[i] if i in named[j])


def test_principal_components_keep_the_distances_of_flat_data():
    flat = rng().standard_normal((300, 10)) @ rng().standard_normal((10, 90))
    projected = principal_components(flat.astype(np.float32), rng())
    assert projected.shape == (300, 64)
    np.testing.assert_allclose(
        np.linalg.norm(projected[1:] - projected[0], axis=1),
        np.linalg.norm(flat[1:] - flat[0], axis=1),
        rtol=1e-3,
    )


def test_walks_follow_edges_and_stay_without_one():
    # A path 0 - 1 - 2 - 3 and a row 4 alone.
    graph = NeighbourGraph(np.array([0, 1, 3, 5, 6, 6]), np.array([1, 0, 2, 1, 3, 2]), 0.0)
    starts = np.repeat(np.arange(5), 2000)
    one = graph.walk(starts, 1, rng()).reshape(5, -1)
    assert [set(ends) for ends in one.tolist()] == [{1}, {0, 2}, {1, 3}, {2}, {4}]
    assert 0.4 < (one[1] == 0).mean() < 0.6
    two = graph.walk(starts, 2, rng()).reshape(5, -1)
    # The second step is taken half the time: 0 -> 1, then back, or on, or not at all.
    shares = np.bincount(two[0], minlength=5) / 2000
    np.testing.assert_allclose(shares, [0.25, 0.5, 0.25, 0, 0], atol=0.05)
    assert set(two[4].tolist()) == {4}


@pytest.mark.parametrize("bounded", [True, False])
def test_loss_is_the_documented_formula(bounded):
    X = rng().random((12, 6)).astype(np.float32) * (1 if bounded else 9)
    how = recipe(reconstruction_weight=3.0, neighbour_weight=0.7)
    network = build_autoencoder(6, how, Scaling.measure(X), 0)
    loss = Loss(network, how)
    bits = network.bottleneck(network.encoder(X)).numpy()
    outputs = network.reconstruction(bits[:6]).numpy().astype(float)
    inputs = network.inputs(X[:6]).numpy()
    if bounded:
        p = 1 / (1 + np.exp(-outputs))
        reconstruction = -(inputs * np.log(p) + (1 - inputs) * np.log(1 - p)).mean()
    else:
        reconstruction = ((inputs - outputs) ** 2).mean()
    z = (2 * bits - 1) * np.sqrt(6.0 / 16)
    products = z[:6] @ z[6:].T
    others = products[~np.eye(6, dtype=bool)]
    contrast = -2 * np.diag(products).mean() + (others**2).mean()
    assert loss.names == ("loss", "reconstruction", "neighbours")
    assert loss(X, training=False).numpy() == pytest.approx(
        [3 * reconstruction + 0.7 * contrast, reconstruction, contrast], rel=1e-4
    )


@pytest.mark.parametrize(("kind", "share"), [("multinomial", 1), ("squared", 1 / 6)])
def test_the_price_of_bits_is_of_an_item_or_a_feature_as_the_error_is(kind, share):
    X = rng().integers(0, 9, (12, 6)).astype(np.float32)
    how = recipe(bottleneck="variational", kl_weight=1.0, neighbour_weight=0.0)
    network = build_autoencoder(6, how, Scaling.measure(X, kind), 0)
    loss = Loss(network, how)
    p = 1 / (1 + np.exp(-2 * network.encoder(X).numpy().astype(float)))
    divergence = (p * np.log(2 * p) + (1 - p) * np.log(2 * (1 - p))).sum(axis=1).mean()
    terms = dict(zip(loss.names, loss(X, training=False).numpy(), strict=True))
    assert terms["kl"] == pytest.approx(share * divergence, rel=1e-4)


def test_convolutions_of_held_out_images_are_made_a_batch_at_a_time(monkeypatch):
    X = rng().random((200, 16)).astype(np.float32)
    how = recipe(
        hidden=(2,), architecture="convolutional", image_shape=(4, 4, 1), validation_fraction=0.4
    )
    seen = []

    class Watched(Loss):
        def __call__(self, features, training, seed=None):
            seen.extend([] if training else [features.shape[0]])
            return super().__call__(features, training, seed)

    monkeypatch.setattr("hashret.encoder.training.Loss", Watched)
    network = build_autoencoder(16, how, Scaling.measure(X), 0)
    (record,) = train(network, X, mutual_neighbours(X, 5, rng()), how, rng())
    assert set(seen) == {2 * how.batch_size}
    assert np.isfinite(record["validation_loss"])


def test_training_leaves_the_weights_of_the_best_pass():
    X = rng().standard_normal((300, 20)).astype(np.float32)
    how = recipe(hidden=(128,), epochs=100, learning_rate=0.02, validation_fraction=0.3, patience=3)
    network = build_autoencoder(20, how, Scaling.measure(X), 0)
    passes = {}
    history = train(
        network,
        X,
        mutual_neighbours(X, 5, rng()),
        how,
        rng(),
        lambda p: passes.update({p.epoch: (p.validation_loss, network.model.get_weights())}),
    )
    best = min(passes, key=lambda epoch: passes[epoch][0])
    assert len(history) == best + 3
    assert [record["validation_loss"] for record in history] == [
        loss for loss, _ in passes.values()
    ]
    for weight, expected in zip(network.model.get_weights(), passes[best][1], strict=True):
        np.testing.assert_array_equal(weight, expected)


def test_weights_depend_on_the_seed_alone():
    scaling, how = Scaling(1.0, (0.0,) * 5, "binary"), recipe(8, hidden=(4, 3))
    first, again, other = (
        build_autoencoder(5, how, scaling, seed).model.get_weights() for seed in (1, 1, 2)
    )
    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(a, b)
    assert any((a != b).any() for a, b in zip(first, other, strict=True))


def test_learning_that_diverges_is_said():
    from hashret.encoder import SemanticHasher
    from hashret.errors import HashretError

    X = np.random.default_rng(0).normal(size=(200, 8)).astype(np.float32)
    hasher = SemanticHasher(n_bits=8, hidden=(8,), learning_rate=1e30, epochs=60, random_state=0)
    with pytest.raises(HashretError, match="learning_rate"):
        hasher.fit(X)
