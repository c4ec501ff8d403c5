"""What a decoder of unknown origin takes is bounded by its file, and it fits its index."""

import hashlib
import json
import shutil
import sqlite3
import zipfile
from io import BytesIO
from itertools import pairwise
from pathlib import Path

import h5py
import numpy as np
import pytest

import hashret
from hashret.encoder import decoder as decoder_module
from hashret.encoder.decoder import Decoder
from hashret.errors import DamagedIndexError

N_BITS, WIDTH, HIDDEN = 16, 64, 8
LAYERS = "layers/functional_1/layers"


def learned(rows, n_bits=N_BITS):
    hasher = hashret.SemanticHasher(n_bits, hidden=(HIDDEN,), epochs=1, random_state=0)
    return hasher.fit(rows)


@pytest.fixture(scope="module")
def rows(digits):
    return digits.reshape(len(digits), -1)[:400].astype(np.float32)


@pytest.fixture(scope="module")
def content(rows):
    return learned(rows).artefacts_.autoencoder_file


@pytest.fixture
def parts(content):
    """The configuration, the list of the decoder's layers in it, and the weights."""
    with zipfile.ZipFile(BytesIO(content)) as archive:
        config, weights = json.loads(archive.read("config.json")), archive.read("model.weights.h5")
    layers = next(
        layer["config"]["layers"]
        for layer in config["config"]["layers"]
        if layer["config"]["name"] == "decoder"
    )
    return config, layers, weights


def packed(config, weights):
    file = BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("config.json", json.dumps(config))
        archive.writestr("model.weights.h5", weights)
    return file.getvalue()


def layer(kind, name, **settings):
    node = {"args": [{"config": {"keras_history": ["", 0, 0]}}]}
    return {
        "class_name": kind,
        "config": {"name": name, **settings},
        "inbound_nodes": [node],
    }


def chain(layers):
    """Let each layer read the one before it."""
    for before, after in pairwise(layers):
        given = after["inbound_nodes"][0]["args"][0]["config"]
        given["keras_history"][0] = before["config"]["name"]


def with_shared_layers(config, layers, weights, n):
    """``n`` more layers of the hidden width; all are links to the weights of one."""
    dense = {"units": HIDDEN, "activation": "linear", "use_bias": True}
    layers[2:2] = [layer("Dense", f"shared_{i}", **dense) for i in range(n)]
    chain(layers)
    file = BytesIO(weights)
    with h5py.File(file, "r+") as opened:
        group = opened[LAYERS]
        group.move("dense_1", f"dense_{n + 1}")
        group["shared/vars/0"] = np.eye(HIDDEN, dtype=np.float32)
        group["shared/vars/1"] = np.zeros(HIDDEN, np.float32)
        for i in range(1, n + 1):
            group[f"dense_{i}"] = group["shared"]
    return packed(config, file.getvalue())


def test_layers_that_share_their_weights_read_no_more_than_the_file_holds(parts):
    with pytest.raises(DamagedIndexError, match="more weights than the file holds"):
        Decoder.read(with_shared_layers(*parts, n=1000))


@pytest.mark.parametrize("scale", [[[1.0]] * 1000, [1.0, 2.0], [], "1", None])
def test_a_scale_is_one_number(parts, scale):
    config, layers, weights = parts
    layers.append(layer("Rescaling", "once more", scale=scale, offset=0.0))
    chain(layers)
    with pytest.raises(DamagedIndexError, match="decoder"):
        Decoder.read(packed(config, weights))
    layers[-1]["config"]["scale"] = 1.0
    Decoder.read(packed(config, weights))


def with_large_images(layers, n):
    """Blow up the hidden layer to 8 million values, change these n times, and cut them again."""
    last = {"data_format": "channels_last"}
    doubling = {"size": [2, 2], "interpolation": "nearest", **last}
    layers[2:2] = [
        layer("Reshape", "image", target_shape=[1, 1, HIDDEN]),
        *(layer("UpSampling2D", f"larger_{i}", **doubling) for i in range(10)),
        *(layer("Activation", f"change_{i}", activation="gelu") for i in range(n)),
        layer("Cropping2D", "cut", cropping=[[0, 1023], [0, 1023]], **last),
        layer("Flatten", "flat", **last),
    ]
    chain(layers)


def test_the_layers_of_a_small_file_do_not_compute_for_ever(parts):
    config, layers, weights = parts
    with_large_images(layers, 1000)
    with pytest.raises(DamagedIndexError, match="values for a row"):
        Decoder.read(packed(config, weights))


def test_a_configuration_is_no_longer_than_any_that_is_written(content, monkeypatch):
    Decoder.read(content)
    monkeypatch.setattr(decoder_module, "MOST_CONFIG_BYTES", 1000, raising=False)
    with pytest.raises(DamagedIndexError, match=r"config\.json has .* bytes"):
        Decoder.read(content)


@pytest.mark.parametrize("n_bits", [8, 32])
def test_bits_of_another_number_are_refused(content, n_bits):
    with pytest.raises(DamagedIndexError, match=f"16 bits .*expected {n_bits} bits"):
        Decoder.read(content).decode(np.zeros((3, n_bits), np.float32))


def test_a_hasher_refuses_the_decoder_of_another(rows):
    hasher = learned(rows)
    codes = hasher.transform(rows[:3])
    for other in (learned(rows, 32), learned(rows[:, :60])):
        spoiled = learned(rows)
        spoiled.artefacts_.autoencoder_file = other.artefacts_.autoencoder_file
        with pytest.raises(DamagedIndexError, match="another encoder"):
            spoiled.reconstruct(codes)
        with pytest.raises(DamagedIndexError, match="another encoder"):
            spoiled.reconstruction_error(rows[:3])


def replace_decoder(path, content):
    """Put a decoder into an index, with checksums that fit."""
    folder = path / "encoder"
    (folder / "autoencoder.keras").write_bytes(content)
    metadata = json.loads((folder / "encoder.json").read_text())
    metadata["sha256"]["autoencoder.keras"] = hashlib.sha256(content).hexdigest()
    (folder / "encoder.json").write_text(json.dumps(metadata))
    connection = sqlite3.connect(path / "items.db")
    with connection:
        (found,) = connection.execute(
            "select value from settings where name = 'encoder_files'"
        ).fetchone()
        digests = {
            name: hashlib.sha256((folder / name).read_bytes()).hexdigest()
            for name in json.loads(found)
        }
        connection.execute(
            "update settings set value = ? where name = 'encoder_files'", [json.dumps(digests)]
        )
    connection.close()
    (path / "seal.json").unlink(missing_ok=True)


@pytest.mark.parametrize(("n_bits", "width"), [(16, 12), (32, 13)])
def test_an_index_refuses_the_decoder_of_another(make_index, n_bits, width):
    path = make_index("vectors")
    with hashret.open(path) as index:
        assert (index.encoder.n_bits, index.encoder.features.n_features) == (32, 12)
    other = np.random.default_rng(0).normal(size=(60, width)).astype(np.float32)
    replace_decoder(path, learned(other, n_bits).artefacts_.autoencoder_file)
    with hashret.open(path) as index:
        with pytest.raises(DamagedIndexError, match="another encoder"):
            index.reconstruct(index["0"].code)
        with pytest.raises(DamagedIndexError, match="another encoder"):
            index.outliers(np.zeros((2, 12), np.float32))


@pytest.mark.parametrize("name", ["format-1", "format-2"])
def test_indexes_of_earlier_formats_decode_as_by_keras(name, tmp_path):
    import keras

    import hashret.encoder.bottleneck

    golden = Path(__file__).parents[1] / "promises" / "golden" / name / "index"
    path = shutil.copytree(golden, tmp_path / "index")
    model = keras.saving.load_model(
        golden / "encoder" / "autoencoder.keras", compile=False, safe_mode=True
    )
    with hashret.open(path) as index:
        codes = np.stack([item.code for item in index.items()])
        found = index.reconstruct(codes)
    bits = np.unpackbits(codes, axis=1).astype(np.float32)
    expected = np.asarray(model.get_layer("decoder")(bits, training=False))
    assert found == pytest.approx(expected, rel=1e-4, abs=1e-4)
    assert np.ptp(found) > 0
