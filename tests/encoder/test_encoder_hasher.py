"""SemanticHasher: the estimator's contract, its files, its seeds and its refusals."""

import copy
import gc
import json
import pickle
import subprocess
import sys

import numpy as np
import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from hashret.encoder import SemanticHasher, TrainingProgress, open_encoder
from hashret.encoder.recipe import default_epochs, default_mu
from hashret.errors import (
    DamagedIndexError,
    EncoderMismatchError,
    InputError,
    NotFittedError,
    UsageError,
)

FILES = ["autoencoder.keras", "encoder.json", "encoder.tflite"]


def tiny(**parameters):
    return SemanticHasher(**{"n_bits": 8, "hidden": (16,), "epochs": 2, **parameters})


def clusters(n=300, d=12, seed=0):
    rng = np.random.default_rng(seed)
    labels = rng.integers(4, size=n)
    centres = 4 * rng.standard_normal((4, d))
    return (centres[labels] + rng.standard_normal((n, d))).astype(np.float32), labels


@pytest.fixture(scope="module", autouse=True)
def _few_objects_to_collect():
    """Every export collects garbage: put what the libraries keep for good out of its way."""
    import tensorflow as tf  # noqa: F401

    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture(scope="module")
def fitted():
    X, _ = clusters()
    return tiny(random_state=0).fit(X), X


@parametrize_with_checks([tiny()])
def test_scikit_learn_contract(estimator, check):
    check(estimator)


def test_codes_are_packed_bytes_that_group_what_is_alike():
    X, labels = clusters(600)
    codes = SemanticHasher(16, hidden=(32,), epochs=40, random_state=0).fit_transform(X)
    assert codes.dtype == np.uint8
    assert codes.shape == (600, 2)
    distances = np.bitwise_count(codes[:, None] ^ codes[None]).sum(axis=2)
    same = labels[:, None] == labels[None]
    assert distances[same].mean() < 0.5 * distances[~same].mean()


def test_bits_are_the_signs_of_the_saved_autoencoders_logits(fitted, tmp_path):
    import keras

    hasher, X = fitted
    hasher.save(tmp_path)
    model = keras.saving.load_model(tmp_path / "autoencoder.keras", compile=False)
    logits = model.get_layer("encoder").predict(X, verbose=0)
    clear = np.abs(logits) > 1e-3
    bits = np.unpackbits(hasher.transform(X), axis=1)
    np.testing.assert_array_equal(bits[clear], (logits > 0)[clear])


# Four prototypes and a little noise, in [0, 1].
SHARES = np.random.default_rng(0).random((4, 9))[np.arange(400) % 4] * 0.9
SHARES += np.random.default_rng(1).random((400, 9)) * 0.1


@pytest.mark.parametrize(
    ("X", "low", "high"),
    [
        (SHARES, 0, 1),
        ((SHARES * 200).astype(np.uint8), 0, 200),
        (5000 + 100 * SHARES, 4900, 5200),
    ],
    ids=["unit", "bytes", "wide"],
)
def test_reconstruction_is_in_the_units_of_the_data(X, low, high):
    hasher = tiny(epochs=60, learning_rate=0.01, random_state=0).fit(X)
    drawn = hasher.reconstruct(hasher.transform(X))
    assert drawn.dtype == np.float32
    assert drawn.shape == X.shape
    assert low <= drawn.min() <= drawn.max() <= high
    assert ((drawn - X) ** 2).mean() < 0.5 * X.var(axis=0).mean()


def test_save_and_load_give_the_same_codes_and_drawings(fitted, tmp_path):
    hasher, X = fitted
    hasher.save(tmp_path / "encoder")
    assert sorted(p.name for p in (tmp_path / "encoder").iterdir()) == FILES
    loaded = SemanticHasher.load(tmp_path / "encoder")
    codes = hasher.transform(X)
    np.testing.assert_array_equal(loaded.transform(X), codes)
    np.testing.assert_array_equal(loaded.reconstruct(codes[:9]), hasher.reconstruct(codes[:9]))
    assert loaded.fingerprint_ == hasher.fingerprint_
    assert loaded.get_params() == {**hasher.get_params(), "hidden": [16]}
    np.testing.assert_array_equal(open_encoder(tmp_path / "encoder").encode(X), codes)


def test_metadata_names_version_shape_and_fingerprint(fitted, tmp_path):
    hasher, _ = fitted
    hasher.save(tmp_path)
    metadata = json.loads((tmp_path / "encoder.json").read_text())
    assert metadata["n_bits"] == 8
    assert metadata["n_features"] == 12
    assert metadata["fingerprint"] == hasher.fingerprint_
    assert metadata["hashret"]
    assert metadata["parameters"]["random_state"] == 0


@pytest.mark.parametrize(
    "parameters", [{"random_state": np.random.RandomState(3)}, {"mu": np.float32(4)}]
)
def test_any_accepted_parameter_can_be_saved(parameters, tmp_path):
    X, _ = clusters(40)
    tiny(**parameters).fit(X).save(tmp_path)
    assert SemanticHasher.load(tmp_path).transform(X).shape == (40, 1)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("damage", ["missing", "cut", "altered"])
def test_a_damaged_file_is_named(fitted, tmp_path, name, damage):
    fitted[0].save(tmp_path)
    path = tmp_path / name
    content = path.read_bytes()
    if damage == "missing":
        path.unlink()
    elif damage == "cut":
        path.write_bytes(content[: len(content) // 2])
    else:
        path.write_bytes(content.replace(b"sha256", b"sha255") + b" " * (name != "encoder.json"))
    with pytest.raises(DamagedIndexError, match=name) as caught:
        SemanticHasher.load(tmp_path)
    assert "backup" in str(caught.value)


def test_an_encoder_of_a_later_format_is_refused(fitted, tmp_path):
    fitted[0].save(tmp_path)
    path = tmp_path / "encoder.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "format": 99}))
    with pytest.raises(DamagedIndexError, match="format 99"):
        SemanticHasher.load(tmp_path)


def test_a_failed_write_leaves_the_old_file_and_no_other(fitted, tmp_path, monkeypatch):
    import os

    fitted[0].save(tmp_path)
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}

    def full(_descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        fitted[0].save(tmp_path)
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before


def test_copies_and_pickles_encode_alike(fitted):
    hasher, X = fitted
    codes = hasher.transform(X)
    np.testing.assert_array_equal(copy.deepcopy(hasher).transform(X), codes)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(hasher)).transform(X), codes)


SEEDED = """
import numpy as np, sys
from hashret.encoder import SemanticHasher
X = np.random.default_rng(0).standard_normal((900, 100)).astype("float32")
hasher = SemanticHasher(16, hidden=(64,), epochs=5, random_state=int(sys.argv[1])).fit(X)
print(hasher.transform(X).tobytes().hex())
"""


def test_a_seed_gives_the_same_codes_in_every_process():
    outputs = [
        subprocess.run(
            [sys.executable, "-c", SEEDED, seed], capture_output=True, text=True, check=True
        ).stdout
        for seed in ("1", "1")
    ]
    assert outputs[0] == outputs[1]
    # Nothing but the codes reached stdout.
    assert len(outputs[0].strip()) == 900 * 4
    int(outputs[0], 16)


def test_seeds_matter_and_the_callers_generators_are_left_alone():
    import tensorflow as tf

    X, _ = clusters(100)
    np.random.seed(0)  # noqa: NPY002
    tf.random.set_seed(5)
    expected = float(tf.random.uniform(()))
    tf.random.set_seed(5)
    state = np.random.get_state()[1].copy()  # noqa: NPY002
    first = tiny(random_state=1).fit_transform(X)
    assert (first != tiny(random_state=2).fit_transform(X)).any()
    np.testing.assert_array_equal(tiny(random_state=1).fit_transform(X), first)
    assert (tiny().fit_transform(X) != tiny().fit_transform(X)).any()
    assert float(tf.random.uniform(())) == expected
    np.testing.assert_array_equal(np.random.get_state()[1], state)  # noqa: NPY002


@pytest.mark.parametrize(
    "X",
    [
        np.ones((1, 5)),
        np.ones((40, 5)),
        np.zeros((40, 5)),
        np.full((40, 5), -0.1),
        np.arange(6.0).reshape(2, 3),
        np.arange(30.0)[:, None],
        np.c_[np.zeros(50), np.arange(50.0)],
        np.random.default_rng(0).normal(size=(50, 4)) * 1e14,
        np.random.default_rng(0).normal(size=(50, 4)) * 1e-12,
        np.random.default_rng(0).random(size=(50, 4)) * 1e-40,
        np.arange(120, dtype=np.uint8).reshape(30, 4),
        np.arange(120, dtype=np.int64).reshape(30, 4) * 10**9,
        np.repeat(np.eye(3), 40, axis=0),
        np.random.default_rng(0).normal(size=(30, 200)),
    ],
    ids=[
        "one-row", "ones", "zeros", "constant", "two-rows", "one-feature", "constant-column",
        "huge", "minute", "subnormal", "uint8", "int64", "duplicates", "wide",
    ],
)  # fmt: skip
def test_awkward_data_are_learned_from(X):
    hasher = tiny(n_bits=24, random_state=0).fit(X)
    codes = hasher.transform(X)
    assert codes.shape == (len(X), 3)
    drawn = hasher.reconstruct(codes)
    assert drawn.shape == X.shape
    assert np.isfinite(drawn).all()
    equal = (X[:1] == X).all(axis=1)
    assert (codes[equal] == codes[0]).all()


@pytest.mark.parametrize(
    ("X", "message"),
    [
        (np.array([[1.0, np.nan], [0, 1]]), "NaN"),
        (np.array([[1.0, np.inf], [0, 1]]), "infinity"),
        (np.full((5, 3), 1e300), "infinity or a value too large"),
        (np.full((5, 3), -1e20), "rescale"),
        (np.empty((0, 4)), "0 sample"),
        (np.empty((4, 0)), "0 feature"),
        (np.arange(4.0), "1D array"),
        (np.zeros((2, 2, 2)), "dim 3"),
        (np.array([["a", "b"]]), "could not convert"),
        (np.array([[1 + 2j]]), "[Cc]omplex"),
        (None, "2D array"),
    ],
)
def test_unusable_data_are_refused(fitted, X, message):
    with pytest.raises(InputError, match=message):
        tiny().fit(X)
    with pytest.raises(InputError):
        fitted[0].transform(X)


def test_sparse_data_are_refused():
    from scipy.sparse import csr_array

    with pytest.raises(InputError, match=r"[Ss]parse"):
        tiny().fit(csr_array(np.eye(8)))


def test_another_width_is_refused_with_both_widths(fitted):
    with pytest.raises(InputError, match=r"5 features.*12 features"):
        fitted[0].transform(np.zeros((2, 5)))


def test_codes_of_another_length_are_refused_with_both_lengths(fitted):
    with pytest.raises(EncoderMismatchError, match=r"8 bits.*16 bits"):
        fitted[0].reconstruct(np.zeros((2, 2), np.uint8))
    with pytest.raises(InputError, match="uint8"):
        fitted[0].reconstruct(np.zeros((2, 1)))


@pytest.mark.parametrize("use", [lambda h: h.transform([[1.0]]), lambda h: h.reconstruct(b""),
                                 lambda h: h.save("nowhere")])  # fmt: skip
def test_an_unfitted_hasher_says_so(use):
    with pytest.raises(NotFittedError, match="fit"):
        use(SemanticHasher())


@pytest.mark.parametrize(
    "parameters",
    [
        {"n_bits": 12}, {"n_bits": 0}, {"n_bits": 2048}, {"n_bits": 8.0}, {"epochs": 0},
        {"epochs": 1.5}, {"batch_size": 0}, {"learning_rate": 0}, {"learning_rate": "fast"},
        {"reconstruction_weight": -1}, {"neighbour_weight": float("nan")}, {"n_neighbors": 0},
        {"walk_length": 0}, {"mu": 0}, {"mu": "big"}, {"validation_fraction": 1},
        {"patience": True}, {"hidden": (0,)}, {"hidden": 5}, {"hidden": "64"},
        {"random_state": "chance"},
    ],
    ids=str,
)  # fmt: skip
def test_senseless_parameters_are_named(parameters):
    with pytest.raises(UsageError, match=next(iter(parameters))):
        tiny(**parameters).fit(np.zeros((5, 2)))


@pytest.mark.parametrize("n_bits", [8, 40, 1024])
def test_every_code_length_works(n_bits):
    X, _ = clusters(60)
    hasher = tiny(n_bits=n_bits, hidden=()).fit(X)
    codes = hasher.transform(X)
    assert codes.shape == (60, n_bits // 8)
    assert hasher.reconstruct(codes).shape == X.shape


def test_progress_counts_up_to_the_end():
    X, _ = clusters(600)
    told: list[TrainingProgress] = []
    hasher = tiny(epochs=3, batch_size=64, random_state=0).fit(X, progress=told.append)
    assert hasher.n_epochs_ == 3
    assert [p.epoch for p in told] == sorted(p.epoch for p in told)
    assert {p.epoch for p in told} == {1, 2, 3}
    assert told[-1].step == told[-1].steps
    assert told[-1].seconds_left == 0
    assert told[-1].validation_loss is not None
    assert all(np.isfinite(p.loss) for p in told)


def test_an_interrupt_passes_through_and_leaves_the_hasher_unfitted():
    def interrupt(_progress):
        raise KeyboardInterrupt

    hasher = tiny()
    with pytest.raises(KeyboardInterrupt):
        hasher.fit(clusters(100)[0], progress=interrupt)
    with pytest.raises(NotFittedError):
        hasher.transform(clusters(10)[0])


def test_more_rows_than_the_limit_are_sampled(monkeypatch):
    from hashret.encoder import hasher as module

    monkeypatch.setattr(module, "MAX_TRAINING_ROWS", 100)
    X, _ = clusters(400)
    told = []
    hasher = tiny(batch_size=10, validation_fraction=0).fit(X, progress=told.append)
    assert told[-1].steps == 2 * 100 // 10
    assert hasher.transform(X).shape == (400, 1)


def test_default_mu_is_the_measured_one():
    assert [round(default_mu(n)) for n in (16, 32, 64)] == [7, 12, 20]


def test_default_epochs_follow_the_number_of_rows():
    assert default_epochs(10, 256) == 200
    assert default_epochs(10**7, 256) == 3
    assert 3 < default_epochs(60_000, 256) < 12
    assert default_epochs(60_000, 256, "high") == 6 * default_epochs(60_000, 256)
