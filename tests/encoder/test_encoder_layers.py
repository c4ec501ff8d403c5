"""The parts of the family, each by itself: bottlenecks, tied layers, corruption, terms of loss."""

import numpy as np
import pytest

from hashret.encoder import learning  # noqa: F401  (sets TensorFlow's log level first)
from hashret.encoder.boltzmann import BoltzmannMachine
from hashret.encoder.bottleneck import (
    AnnealedSigmoid,
    BernoulliBits,
    BinarizedSigmoid,
    NoisySigmoid,
    build_bottleneck,
)
from hashret.encoder.corruption import Corruption, augment_images, blurred
from hashret.encoder.losses import crowding, divergence_from_half
from hashret.encoder.recipe import Recipe
from hashret.encoder.tied import TransposedDense

LOGITS = np.array([[-30.0, -0.5, 0.0, 1e-30, 0.5, 30.0]], np.float32)
SEED = np.array([3, 4], np.int32)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


@pytest.mark.parametrize(
    "kind", ["straight-through", "bernoulli", "gaussian", "annealed", "variational"]
)
def test_bits_are_hard_at_rest_whatever_the_bottleneck(kind):
    layer = build_bottleneck(kind, 0)
    np.testing.assert_array_equal(layer(LOGITS, training=False), [[0, 0, 0, 1, 1, 1]])
    layer(LOGITS, training=True)
    np.testing.assert_array_equal(layer(LOGITS), [[0, 0, 0, 1, 1, 1]])


@pytest.mark.parametrize("kind", [BinarizedSigmoid, BernoulliBits, NoisySigmoid, AnnealedSigmoid])
def test_bottlenecks_are_serializable_and_seeded(kind):
    import keras

    layer = kind(slope=3.0, name="bits")
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    assert type(again) is kind
    assert again.get_config() == layer.get_config()
    np.testing.assert_array_equal(layer(LOGITS, training=True), again(LOGITS, training=True))
    with pytest.raises(ValueError, match="slope"):
        kind(slope=0)


def test_bernoulli_bits_are_ones_as_often_as_the_sigmoid_says():
    import tensorflow as tf

    logits = tf.constant(np.repeat([[-1.0, 0.0, 0.3]], 20_000, axis=0), tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(logits)
        bits = BernoulliBits(slope=2.0, seed=1)(logits, training=True)
    assert set(np.unique(bits)) == {0, 1}
    ones = sigmoid(2 * np.array([-1.0, 0.0, 0.3]))
    np.testing.assert_allclose(np.mean(bits, axis=0), ones, atol=0.015)
    np.testing.assert_allclose(tape.gradient(bits, logits)[0], 2 * ones * (1 - ones), rtol=1e-4)


def test_noise_goes_in_before_the_sigmoid():
    logits = np.full((20_000, 1), 0.25, np.float32)
    seen = NoisySigmoid(slope=8.0, noise=4.0, seed=1)(logits, training=True).numpy()
    before = np.log(seen / (1 - seen))
    assert before[np.abs(before) < 12].mean() == pytest.approx(2, abs=0.15)
    assert before[np.abs(before) < 12].std() == pytest.approx(4, abs=0.2)


def test_the_annealed_slope_grows_from_1_to_its_end():
    layer = AnnealedSigmoid(slope=16.0)
    for share, slope in ((0.0, 1), (0.4, 4), (0.8, 16), (1.0, 16)):
        layer(LOGITS)
        layer.set_training_share(share)
        np.testing.assert_allclose(
            layer(LOGITS / 10, training=True), sigmoid(slope * LOGITS / 10), rtol=1e-4
        )


def test_a_tied_layer_follows_the_kernel_it_shares():
    import keras

    forth = keras.layers.Dense(3)
    forth.build((None, 5))
    back = TransposedDense(5, "relu", forth)
    codes = np.random.default_rng(0).standard_normal((4, 3)).astype(np.float32)
    back(codes)
    kernel = np.random.default_rng(1).standard_normal((5, 3)).astype(np.float32)
    forth.kernel.assign(kernel)
    np.testing.assert_allclose(back(codes), np.maximum(codes @ kernel.T, 0), rtol=1e-5)
    assert any(weight is forth.kernel for weight in back.trainable_weights)


def disturbed(X, seed=SEED, **how):
    how = {"n_units": 8, "epochs": 1, "image_shape": (10, 10, 1), **how}
    return Corruption(Recipe(**how))(X, seed).numpy()


X = np.random.default_rng(0).random((500, 100)).astype(np.float32) + 0.5


@pytest.mark.parametrize(
    "how",
    [
        {"corruption": "noise", "corruption_level": 0.2},
        {"corruption": "mask", "corruption_level": 0.3},
        {"augment": True},
    ],
    ids=str,
)
def test_a_seed_gives_the_same_disturbance(how):
    first = disturbed(X, **how)
    np.testing.assert_array_equal(disturbed(X, **how), first)
    assert (disturbed(X, SEED + 1, **how) != first).any()
    assert first.shape == X.shape


def test_noise_has_the_level_for_standard_deviation():
    noise = disturbed(X, corruption="noise", corruption_level=0.3) - X
    assert abs(noise.mean()) < 0.01
    assert noise.std() == pytest.approx(0.3, rel=0.02)


def test_a_mask_leaves_the_other_inputs_as_they_are():
    masked = disturbed(X, corruption="mask", corruption_level=0.3)
    assert (masked == 0).mean() == pytest.approx(0.3, abs=0.01)
    np.testing.assert_array_equal(masked[masked != 0], X[masked != 0])


def test_blurring_keeps_what_has_no_detail_and_drops_what_has():
    flat = np.full((2, 9, 7, 3), 0.4, np.float32)
    np.testing.assert_allclose(blurred(flat, 2), flat, rtol=1e-5)
    checks = (np.indices((8, 8)).sum(axis=0) % 2)[None, ..., None].astype(np.float32)
    np.testing.assert_allclose(blurred(checks, 2), 0.5, atol=1e-5)


def test_augmented_images_are_moved_a_little_and_some_have_a_hole():
    spot = np.zeros((400, 21, 21, 1), np.float32)
    spot[:, 10, 10] = 1
    moved = augment_images(spot, SEED).numpy()
    places = np.array([np.unravel_index(one.argmax(), one.shape)[:2] for one in moved if one.any()])
    # Rotated and scaled about its centre, a spot there is shifted: 8 % of 21 pixels at most.
    assert np.abs(places - 10).max() <= 2
    assert len(np.unique(places, axis=0)) > 5
    np.testing.assert_allclose(places.mean(axis=0), 10, atol=0.3)
    full = augment_images(np.ones((400, 21, 21, 1), np.float32), SEED).numpy()
    centre = full[:, 5:16, 5:16, 0]
    assert 0.3 < (centre == 0).any(axis=(1, 2)).mean() < 0.6


def test_divergence_is_that_from_one_half():
    p = sigmoid(LOGITS[0].astype(float))
    with np.errstate(divide="ignore", invalid="ignore"):
        expected = np.nansum(p * np.log(2 * p) + (1 - p) * np.log(2 * (1 - p)))
    assert float(divergence_from_half(LOGITS)) == pytest.approx(expected, rel=1e-5)
    assert float(divergence_from_half(np.zeros((3, 9), np.float32))) == pytest.approx(0, abs=1e-6)


def test_crowding_is_blind_to_scale():
    one_of_four = np.array([[0, 2, 0, 0], [0, 0, 0, 1e-3]], np.float32)
    assert float(crowding(one_of_four)) == pytest.approx(0.5, rel=1e-3)
    assert float(crowding(np.full((2, 4), 7, np.float32))) == pytest.approx(1)
    assert float(crowding(np.zeros((2, 4), np.float32))) == 0


@pytest.mark.parametrize("linear", [False, True])
@pytest.mark.parametrize("gaussian", [False, True])
def test_a_boltzmann_machine_learns_to_draw_what_it_saw(gaussian, linear):
    rng = np.random.default_rng(0)
    prototypes = rng.random((4, 20)) > 0.5
    seen = prototypes[np.arange(200) % 4].astype(np.float32) * (2 if gaussian else 1) - gaussian
    machine = BoltzmannMachine(20, 16, gaussian=gaussian, linear=linear, rng=rng)
    for step in range(800):
        error = machine.learn(seen, step / 800)
    assert np.isfinite(error)
    assert (machine.hidden(seen).min() < 0) == linear
    left = ((machine.visible(machine.hidden(seen)) - seen) ** 2).mean()
    assert left < 0.2 * seen.var(axis=0).mean()
