"""Every autoencoder of the family learns, saves, loads and encodes the same, and is seeded."""

import functools
import gc
import json

import numpy as np
import pytest

from hashret.encoder import FloatAutoencoder, SemanticHasher, open_encoder
from hashret.encoder.recipe import Recipe, default_epochs
from hashret.errors import InputError, NotFittedError, UsageError

IMAGES = {"image_shape": (8, 8)}
LION = {"optimizer": "lion", "learning_rate": 0.003}
RMSPROP = {"optimizer": "rmsprop", "learning_rate": 0.003}
CHOICES = {
    "undercomplete": {"hidden": (), "learning_rate": 0.03, "reconstruction_loss": "squared"},
    "deep": {"hidden": (48, 32, 24), "activation": "gelu", "optimizer": "nadam"},
    "tied": {"architecture": "tied", "activation": "tanh", "optimizer": "adamw"},
    "convolutional": {"architecture": "convolutional", "hidden": (8, 16), **IMAGES},
    "bernoulli": {"bottleneck": "bernoulli", "corruption": "mask", "corruption_level": 0.2},
    "gaussian": {"bottleneck": "gaussian", "corruption": "noise"},
    "annealed": {"bottleneck": "annealed", "pretraining": "rbm"},
    "variational": {"bottleneck": "variational", "neighbour_weight": 0, **LION},
    "super-resolution": {"corruption": "downsample", **IMAGES},
    "augmented": {"augment": True, "bottleneck": "straight-through", **IMAGES},
    "sparse": {"sparsity": 0.5, "pretraining": "stacked"},
    "stacked-tied": {"pretraining": "stacked", "architecture": "tied"},
    "rbm-tied": {"pretraining": "rbm", "architecture": "tied", **RMSPROP},
}
PLAIN = {"neighbour_weight": 0}
SLOW_OPTIMIZERS = {"sgd": 0.03, "adagrad": 0.1}


@pytest.fixture(scope="module", autouse=True)
def _few_objects_to_collect():
    """Every export collects garbage: put what the libraries keep for good out of its way."""
    import tensorflow as tf  # noqa: F401

    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture(autouse=True)
def _short_pretraining(monkeypatch):
    from hashret.encoder import learning, pretraining  # noqa: F401

    monkeypatch.setattr(pretraining, "STEPS_PER_LAYER", 60)


@pytest.fixture(scope="module")
def pixels(digits):
    return digits[:400].reshape(400, 64).astype(np.float32) / 255


@pytest.fixture(scope="module")
def fitted(pixels):
    """Fit the hasher of a name, once."""
    return functools.cache(lambda name: hasher(name).fit(pixels))


def learned_network(pixels, progress=None, **changes):
    """What a hasher learns, without the files that ``fit`` makes of it."""
    from hashret.encoder.learning import learn

    unfitted = hasher(**changes)
    how = Recipe.resolve(unfitted.get_params(deep=False), 16, len(pixels))
    return learn(pixels, how, unfitted._generator(), progress)


def hasher(name="plain", **changes):
    return SemanticHasher(
        **{
            "n_bits": 16, "hidden": (32,), "epochs": 15, "batch_size": 64, "random_state": 0,
            "learning_rate": 0.005, "reconstruction_weight": 10,
            **CHOICES.get(name, PLAIN), **changes,
        }
    )  # fmt: skip


def error(learned, X):
    return ((learned.reconstruct(learned.transform(X)) - X) ** 2).mean()


@pytest.mark.parametrize("name", CHOICES)
def test_each_learns_saves_loads_and_is_seeded(name, fitted, pixels, digit_labels, tmp_path):
    learned = fitted(name)
    codes = learned.transform(pixels)
    # It learns: to draw the items, and to bring those of a class together.
    assert error(learned, pixels) < 0.9 * pixels.var(axis=0).mean()
    distances = np.bitwise_count(codes[:, None] ^ codes[None]).sum(axis=2)
    same = digit_labels[:400, None] == digit_labels[None, :400]
    assert distances[same].mean() < 0.85 * distances[~same].mean()
    # What is saved encodes and draws the same, and holds nothing that is there for training.
    learned.save(tmp_path)
    loaded = SemanticHasher.load(tmp_path)
    np.testing.assert_array_equal(loaded.transform(pixels), codes)
    np.testing.assert_array_equal(open_encoder(tmp_path).encode(pixels[:7]), codes[:7])
    np.testing.assert_allclose(
        loaded.reconstruct(codes[:7]), learned.reconstruct(codes[:7]), atol=1e-6
    )
    assert loaded.bottleneck_ == CHOICES[name].get("bottleneck", learned.bottleneck_)
    assert loaded.history_ == learned.history_
    # The same seed, the same course of learning and the same logits.
    again = learned_network(pixels, name=name)
    assert again.history == learned.history_
    np.testing.assert_allclose(
        again.network.encoder(pixels), learned.transform_latent(pixels), atol=1e-3
    )


@pytest.mark.parametrize("name", SLOW_OPTIMIZERS)
def test_slow_optimizers_learn_and_are_seeded(name, pixels):
    from hashret.encoder.learning import learn

    how = Recipe(
        n_units=16, epochs=10, batch_size=64, hidden=(), optimizer=name,
        learning_rate=SLOW_OPTIMIZERS[name], validation_fraction=0,
    )  # fmt: skip
    first, again = (learn(pixels, how, np.random.default_rng(0)).history for _ in range(2))
    assert first[-1]["loss"] < 0.95 * first[0]["loss"]
    assert first == again


@pytest.mark.parametrize("name", ["tied", "convolutional", "gaussian", "annealed", "augmented"])
def test_the_saved_autoencoder_draws_what_the_trained_one_does(name, fitted, pixels, tmp_path):
    import keras

    learned = fitted(name)
    learned.save(tmp_path)
    model = keras.saving.load_model(tmp_path / "autoencoder.keras", compile=False)
    drawn = learned.reconstruct(learned.transform(pixels[:20]))
    # A logit next to 0 may fall on either side in TensorFlow and LiteRT.
    close = np.isclose(model(pixels[:20]), drawn, atol=1e-5).all(axis=1)
    assert close.mean() >= 0.9


@pytest.mark.parametrize("name", ["bernoulli", "gaussian", "augmented"])
def test_the_encoder_file_holds_nothing_that_is_there_for_training(name, fitted):
    learned = fitted(name)
    interpreter = learned.artefacts_.encoder._interpreter
    operations = {one["op_name"] for one in interpreter._get_ops_details()}
    assert operations <= {"FULLY_CONNECTED", "MUL", "ADD", "SUB", "DELEGATE"}


def test_latent_values_have_the_bits_for_signs(fitted, pixels):
    learned = fitted("variational")
    latent = learned.transform_latent(pixels)
    assert (latent.dtype, latent.shape) == (np.float32, (400, 16))
    np.testing.assert_array_equal(np.packbits(latent > 0, axis=1), learned.transform(pixels))
    with pytest.raises(NotFittedError):
        hasher().transform_latent(pixels)
    with pytest.raises(InputError):
        learned.transform_latent(pixels[:, :5])


@pytest.mark.parametrize("shape", [(4, 4), (5, 7), (7, 5, 3), (28, 9)])
def test_convolutional_networks_fit_any_size_of_image(shape):
    from hashret.encoder.autoencoder import build_autoencoder
    from hashret.encoder.scaling import Scaling

    X = np.random.default_rng(0).random((3, int(np.prod(shape)))).astype(np.float32)
    how = Recipe(
        n_units=8, epochs=1, architecture="convolutional", hidden=(4, 8, 8),
        image_shape=(*shape, 1)[:3],
    )  # fmt: skip
    network = build_autoencoder(X.shape[1], how, Scaling.measure(X), 0)
    assert network.model(X).shape == X.shape


def test_an_image_has_the_same_code_alone_and_beside_others(fitted, pixels):
    learned = fitted("convolutional")
    alone = np.concatenate([learned.transform(pixels[i : i + 1]) for i in range(40)])
    np.testing.assert_array_equal(alone, learned.transform(pixels[:40]))


def test_counts_are_drawn_as_shares():
    rng = np.random.default_rng(0)
    topics = rng.dirichlet(np.full(30, 0.1), size=4)
    X = np.array([rng.multinomial(60, topics[i % 4]) for i in range(300)]).astype(np.float32)
    learned = hasher(reconstruction_loss="multinomial", epochs=40).fit(X)
    shares = learned.reconstruct(learned.transform(X))
    np.testing.assert_allclose(shares.sum(axis=1), 1, rtol=1e-4)
    expected = topics[np.arange(300) % 4]
    assert ((shares - expected) ** 2).mean() < 0.3 * expected.var(axis=0).mean()
    assert learned.transform(-X).shape == (300, 2)


def test_the_history_holds_the_weighted_terms_of_every_pass(pixels, tmp_path):
    learned = hasher(
        "variational", neighbour_weight=0.3, sparsity=0.2, kl_weight=0.7, epochs=3
    ).fit(pixels)
    assert [record["epoch"] for record in learned.history_] == [1, 2, 3]
    for record in learned.history_:
        total = (
            10 * record["reconstruction"] + 0.3 * record["neighbours"]
            + 0.2 * record["sparsity"] + 0.7 * record["kl"]
        )  # fmt: skip
        assert record["loss"] == pytest.approx(total, rel=1e-4)
        assert np.isfinite(record["validation_loss"])
    learned.save(tmp_path)
    metadata = json.loads((tmp_path / "encoder.json").read_text())
    assert metadata["history"] == learned.history_
    assert metadata["bottleneck"] == "variational"
    (record,) = learned_network(pixels[:50], validation_fraction=0, epochs=1).history
    assert set(record) == {"epoch", "loss", "reconstruction", "validation_loss"}
    assert record["validation_loss"] is None


def test_neighbours_alone_are_enough_to_learn_codes(pixels):
    how = {"reconstruction_weight": 0, "neighbour_weight": 0.2}
    record = learned_network(pixels[:50], epochs=2, **how).history[-1]
    assert record["loss"] == pytest.approx(0.2 * record["neighbours"], rel=1e-4)
    assert record["reconstruction"] > 0


def test_without_neighbours_none_are_sought(pixels, monkeypatch):
    from hashret.encoder import learning

    monkeypatch.setattr(learning, "mutual_neighbours", None)
    learned_network(pixels[:50], epochs=1)


def test_sparsity_leaves_fewer_units_active(pixels):
    from hashret.encoder import learning
    from hashret.encoder.losses import crowding

    values = []
    for sparsity in (0.0, 5.0):
        how = Recipe(
            n_units=16, epochs=20, hidden=(32,), sparsity=sparsity, learning_rate=0.005,
            batch_size=64,
        )  # fmt: skip
        network = learning.learn(pixels, how, np.random.default_rng(0)).network
        values.append(float(crowding(network.body(network.inputs(pixels))[0])))
    assert values[1] < 0.8 * values[0]


def test_denoising_draws_clean_items_from_noisy_ones(pixels):
    noisy = pixels + np.random.default_rng(0).normal(scale=0.4, size=pixels.shape)
    noisy = noisy.astype(np.float32)

    def left(learned):
        return ((learned.reconstruct(learned.transform(noisy)) - pixels) ** 2).mean()

    plain, denoising = (
        hasher("plain", hidden=(64,), epochs=40, corruption=corruption, corruption_level=level).fit(
            pixels
        )
        for corruption, level in ((None, None), ("noise", 0.4))
    )
    assert left(denoising) < left(plain)


def test_high_effort_makes_more_steps(pixels):
    told = []
    learned_network(pixels, told.append, effort="high", epochs=None, batch_size=400, patience=1)
    assert told[-1].epochs == 6 * default_epochs(400, 400)


@pytest.mark.parametrize("pretraining", ["stacked", "rbm"])
def test_pretraining_tells_how_far_it_has_come(pretraining, pixels):
    told = []
    learned_network(pixels, told.append, pretraining=pretraining, epochs=1, batch_size=50)
    first = [state for state in told if state.phase == "pretraining"]
    assert told[: len(first)] == first
    assert {(state.epoch, state.epochs) for state in first} == {(1, 2), (2, 2)}
    # As many steps as a layer is due, though the last pass over the rows is not complete.
    assert first[-1].step == first[-1].steps == 2 * 60
    assert np.isfinite([state.loss for state in first]).all()
    assert (told[-1].phase, told[-1].epoch, told[-1].epochs) == ("training", 1, 1)


def test_boltzmann_machines_are_unrolled_into_a_linear_code_too(pixels, monkeypatch):
    from hashret.encoder import pretraining

    monkeypatch.setattr(pretraining, "STEPS_PER_LAYER", 400)
    learned = FloatAutoencoder(
        16, hidden=(), pretraining="rbm", epochs=1, batch_size=50, learning_rate=1e-9,
        random_state=0,
    ).fit(pixels)  # fmt: skip
    drawn = learned.inverse_transform(learned.transform(pixels))
    assert ((drawn - pixels) ** 2).mean() < 0.6 * pixels.var(axis=0).mean()


def test_boltzmann_machines_need_logistic_units(pixels):
    with pytest.raises(UsageError, match=r"activation.*relu"):
        hasher(pretraining="rbm", activation="relu").fit(pixels)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"architecture": "round"}, "architecture.*'tied'.*'round'"),
        ({"activation": 3}, "activation"),
        ({"bottleneck": "linear"}, "bottleneck"),
        ({"bottleneck": None}, "bottleneck"),
        ({"corruption": "fire"}, "corruption"),
        ({"corruption": "mask", "corruption_level": 1.0}, "corruption_level"),
        ({"corruption": "downsample", "corruption_level": 1.5, **IMAGES}, "corruption_level"),
        ({"corruption_level": 0.1}, "corruption"),
        ({"augment": 1}, "augment"),
        ({"augment": True}, "image_shape"),
        ({"architecture": "convolutional"}, "image_shape"),
        ({"corruption": "downsample"}, "image_shape"),
        ({"augment": True, "image_shape": (8, 9)}, "72.*64"),
        ({"image_shape": (8, 9)}, "72.*64"),
        ({"augment": True, "image_shape": (2, 32)}, "4 x 4"),
        ({"image_shape": 8}, "image_shape"),
        ({"image_shape": (8, 0)}, "image_shape"),
        ({"architecture": "convolutional", "hidden": (), **IMAGES}, "hidden"),
        ({"architecture": "convolutional", "pretraining": "rbm", **IMAGES}, "pretraining"),
        ({"sparsity": 0.1, "hidden": ()}, "sparsity.*hidden"),
        ({"pretraining": "luck"}, "pretraining"),
        ({"reconstruction_loss": "absolute"}, "reconstruction_loss"),
        ({"optimizer": "magic"}, "optimizer.*'adam'"),
        ({"effort": "none"}, "effort"),
        ({"tensorboard": 3}, "tensorboard"),
        ({"kl_weight": -1}, "kl_weight"),
        ({"reconstruction_weight": 0, "neighbour_weight": 0}, "reconstruction_weight"),
    ],
    ids=str,
)
def test_senseless_choices_are_named(parameters, message, pixels):
    with pytest.raises(UsageError, match=message):
        hasher(**parameters).fit(pixels)


@pytest.mark.parametrize(("loss", "X"), [("binary", [[0.5, 3]]), ("multinomial", [[-1.0, 3]])])
def test_data_that_do_not_suit_the_loss_are_refused(loss, X):
    with pytest.raises(InputError, match=f"{loss}.*squared"):
        hasher(reconstruction_loss=loss).fit(np.repeat(X, 30, axis=0))


def test_a_float_autoencoder_maps_and_draws(pixels):
    from sklearn.base import clone

    learned = FloatAutoencoder(
        8, hidden=(64,), epochs=60, batch_size=64, learning_rate=0.005, random_state=0
    ).fit(pixels)
    codes = learned.transform(pixels)
    assert (codes.dtype, codes.shape) == (np.float32, (400, 8))
    drawn = learned.inverse_transform(codes)
    assert (drawn.dtype, drawn.shape) == (np.float32, pixels.shape)
    centred = pixels - pixels.mean(axis=0)
    left_by_pca = (np.linalg.svd(centred, compute_uv=False)[8:] ** 2).sum() / pixels.size
    assert ((drawn - pixels) ** 2).mean() < left_by_pca
    assert set(learned.history_[0]) == {"epoch", "loss", "reconstruction", "validation_loss"}
    again = clone(learned)
    with pytest.raises(NotFittedError, match="FloatAutoencoder"):
        again.transform(pixels)
    np.testing.assert_array_equal(again.fit_transform(pixels), codes)
    with pytest.raises(InputError, match="8"):
        learned.inverse_transform(codes[:, :3])
