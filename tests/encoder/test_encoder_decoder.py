"""The decoder computes what Keras does, and reads nothing but the file that it is given."""

import hashlib
import json
import sqlite3
import subprocess
import sys
import tracemalloc
import zipfile
from io import BytesIO

import h5py
import numpy as np
import pytest

import hashret
from hashret.encoder import baselines
from hashret.encoder.artefacts import open_encoder
from hashret.encoder.decoder import Decoder
from hashret.errors import DamagedIndexError

DENSE = {
    "dense": {},
    "tied": {"architecture": "tied", "hidden": (40, 24)},
    "gelu": {"activation": "gelu", "hidden": (24,)},
    "tanh": {"activation": "tanh", "hidden": ()},
    "sigmoid": {"activation": "sigmoid", "reconstruction_loss": "binary"},
    "multinomial": {"reconstruction_loss": "multinomial", "hidden": (24,)},
    "bernoulli": {"bottleneck": "bernoulli", "reconstruction_loss": "squared"},
}
CONVOLUTIONAL = {
    "convolutional": {"hidden": (6, 4), "image_shape": (8, 8)},
    "of odd sides": {"hidden": (6, 4), "image_shape": (16, 4), "activation": "gelu"},
    "of one stage": {"hidden": (5,), "image_shape": (4, 16), "activation": "tanh"},
}


@pytest.fixture(scope="module")
def rows(digits):
    return digits.reshape(len(digits), -1)[:400].astype(np.float32)


def learned(rows, options):
    if "image_shape" in options:
        options = {"architecture": "convolutional", **options}
    return hashret.SemanticHasher(16, epochs=1, random_state=0, **options).fit(rows)


def by_keras(content, bits, folder):
    import keras

    import hashret.encoder.tied  # noqa: F401, whose layers Keras must know

    (folder / "oracle.keras").write_bytes(content)
    model = keras.saving.load_model(folder / "oracle.keras", compile=False)
    return np.asarray(model.get_layer("decoder")(bits, training=False))


@pytest.mark.parametrize("name", [*DENSE, *CONVOLUTIONAL])
def test_it_gives_what_keras_does_to_rounding(rows, name, tmp_path):
    hasher = learned(rows, {**DENSE, **CONVOLUTIONAL}[name])
    hasher.save(tmp_path / "hasher")
    content = (tmp_path / "hasher" / "autoencoder.keras").read_bytes()
    codes = hasher.transform(rows[:20])
    bits = np.unpackbits(codes, axis=1).astype(np.float32)
    expected = by_keras(content, bits, tmp_path)
    decoder = Decoder.read(content)
    assert decoder.decode(bits).dtype == np.float32
    assert decoder.decode(bits) == pytest.approx(expected, rel=1e-4, abs=1e-4)
    assert hasher.reconstruct(codes) == pytest.approx(expected, rel=1e-4, abs=1e-4)
    assert np.ptp(expected) > 0
    encoder = open_encoder(tmp_path / "hasher")
    errors = decoder.reconstruction_errors(rows, encoder)
    # Wherever a row stands among others, its error is the same.
    assert (
        decoder.reconstruction_errors(rows[7:300:3], encoder).tolist() == errors[7:300:3].tolist()
    )


def test_odd_sides_are_cut_to_size(digits, tmp_path):
    rows = digits[:200, :7, :5].reshape(200, -1).astype(np.float32)
    hasher = learned(rows, {"hidden": (6, 4), "image_shape": (7, 5)})
    codes = hasher.transform(rows[:20])
    bits = np.unpackbits(codes, axis=1).astype(np.float32)
    expected = by_keras(hasher.artefacts_.autoencoder_file, bits, tmp_path)
    assert hasher.reconstruct(codes) == pytest.approx(expected, rel=1e-4, abs=1e-4)


@pytest.mark.parametrize("name", ["RandomHyperplanes", "PCAHash", "SpectralHashing", "ITQ"])
def test_it_reads_the_decoders_of_projections(rows, name, tmp_path):
    hasher = getattr(baselines, name)(16, random_state=0).fit(rows)
    codes = hasher.transform(rows[:20])
    bits = np.unpackbits(codes, axis=1).astype(np.float32)
    expected = by_keras(hasher.artefacts_.autoencoder_file, bits, tmp_path)
    assert hasher.reconstruct(codes) == pytest.approx(expected, rel=1e-4, abs=1e-3)


def test_rows_decode_the_same_in_blocks(rows, monkeypatch):
    decoder = learned(rows, DENSE["dense"]).artefacts_.decoder
    bits = np.random.default_rng(0).integers(0, 2, (3000, 16)).astype(np.float32)
    whole = decoder.decode(bits)
    monkeypatch.setattr(decoder, "_block_rows", 7)
    assert decoder.decode(bits[:100]) == pytest.approx(whole[:100], rel=1e-5, abs=1e-4)
    assert decoder.decode(bits[:0]).shape == (0, 64)


# Files of unknown origin


@pytest.fixture(scope="module")
def parts(rows):
    """The configuration and the weights of a whole file, and the path of the decoder's kernel."""
    content = learned(rows, {"hidden": (8,)}).artefacts_.autoencoder_file
    with zipfile.ZipFile(BytesIO(content)) as archive:
        return json.loads(archive.read("config.json")), archive.read("model.weights.h5")


KERNEL = "layers/functional_1/layers/dense_1/vars/0"


def packed(config, weights, compression=zipfile.ZIP_STORED, more=()):
    file = BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        archive.writestr("config.json", json.dumps(config))
        archive.writestr("model.weights.h5", weights)
        for name in more:
            archive.writestr(name, b"x")
    return file.getvalue()


def with_kernel(weights, make):
    """The same weights, but that one kernel, of shape (8, 64), is made otherwise."""
    file = BytesIO(weights)
    with h5py.File(file, "r+") as opened:
        kernel = opened[KERNEL][:]
        assert kernel.shape == (8, 64)
        del opened[KERNEL]
        make(opened, kernel)
    return file.getvalue()


@pytest.fixture
def secret(tmp_path):
    path = tmp_path / "secret"
    path.write_bytes(b"root:x:0:0:secret" * 200)
    return path


def external(secret):
    return lambda file, kernel: file.create_dataset(
        KERNEL, kernel.shape, "f4", external=[(str(secret), 0, kernel.nbytes)]
    )


def virtual(secret):
    with h5py.File(secret.with_name("other.h5"), "w") as other:
        other["data"] = np.full((8, 64), 7, np.float32)

    def make(file, kernel):
        layout = h5py.VirtualLayout(kernel.shape, "f4")
        layout[:] = h5py.VirtualSource(secret.with_name("other.h5"), "data", kernel.shape)
        file.create_virtual_dataset(KERNEL, layout)

    return make


def linked(secret):
    virtual(secret)

    def make(file, kernel):
        file[KERNEL] = h5py.ExternalLink(str(secret.with_name("other.h5")), "/data")

    return make


def softly_linked(_):
    def make(file, kernel):
        file["elsewhere"] = kernel
        file[KERNEL] = h5py.SoftLink("/elsewhere")

    return make


def missing_values(_):
    return lambda file, kernel: file.create_dataset(KERNEL, kernel.shape, "f4")


def chunked(_):
    return lambda file, kernel: file.create_dataset(KERNEL, kernel.shape, "f4", chunks=(1, 1))


def compressed(_):
    return lambda file, kernel: file.create_dataset(KERNEL, data=kernel, compression="gzip")


def doubles(_):
    return lambda file, kernel: file.create_dataset(KERNEL, data=kernel.astype(np.float64))


def transposed(_):
    return lambda file, kernel: file.create_dataset(KERNEL, data=kernel.T)


def a_group(_):
    return lambda file, kernel: file.create_group(KERNEL)


@pytest.mark.parametrize(
    "make",
    [external, virtual, linked, softly_linked, missing_values, chunked, compressed, doubles,
     transposed, a_group],
)  # fmt: skip
def test_weights_that_do_not_lie_in_the_file_as_they_are_are_refused(parts, secret, make):
    config, weights = parts
    spoiled = with_kernel(weights, make(secret))
    with pytest.raises(DamagedIndexError, match="decoder"):
        Decoder.read(packed(config, spoiled))
    Decoder.read(
        packed(config, with_kernel(weights, lambda file, k: file.create_dataset(KERNEL, data=k)))
    )


def test_an_index_with_such_weights_gives_nothing_away(make_index, secret):
    """As a whole: with checksums that fit, from the command that shows reconstructions."""
    path = make_index("vectors")
    file = path / "encoder/autoencoder.keras"
    with zipfile.ZipFile(file) as archive:
        config, weights = archive.read("config.json"), archive.read("model.weights.h5")
    opened = BytesIO(weights)
    with h5py.File(opened, "r+") as inside:
        place = next(
            f"layers/functional_1/layers/{name}/vars/0"
            for name in inside["layers/functional_1/layers"]
            if name.startswith("dense")
        )
        shape = inside[place].shape
        del inside[place]
        inside.create_dataset(place, shape, "f4", external=[(str(secret), 0, h5py.h5f.UNLIMITED)])
    file.write_bytes(packed(json.loads(config), opened.getvalue()))
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    metadata = json.loads((path / "encoder/encoder.json").read_text())
    metadata["sha256"]["autoencoder.keras"] = digest
    (path / "encoder/encoder.json").write_text(json.dumps(metadata))
    with sqlite3.connect(path / "items.db") as connection:
        (found,) = connection.execute(
            "select value from settings where name = 'encoder_files'"
        ).fetchone()
        digests = json.loads(found) | {
            "autoencoder.keras": digest,
            "encoder.json": hashlib.sha256(
                (path / "encoder/encoder.json").read_bytes()
            ).hexdigest(),
        }
        connection.execute(
            "update settings set value = ? where name = 'encoder_files'", [json.dumps(digests)]
        )
    connection.close()
    (path / "seal.json").unlink(missing_ok=True)
    with hashret.open(path) as index:
        code = index["0"].code
        with pytest.raises(DamagedIndexError, match="no decoder as hashret writes"):
            index.reconstruct(code)
        with pytest.raises(DamagedIndexError, match="no decoder as hashret writes"):
            index.outliers(np.zeros((2, 12), np.float32))


def peak_of(content):
    tracemalloc.start()
    try:
        with pytest.raises(DamagedIndexError):
            Decoder.read(content)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_a_few_bytes_do_not_become_gigabytes(parts):
    config, weights = parts
    huge = (1 << 13, 1 << 18)  # 8 GiB of values that nobody wrote

    def make(file, _):
        file.create_dataset(KERNEL, huge, "f4", chunks=(1 << 10, 1 << 10), compression="gzip")

    assert peak_of(packed(config, with_kernel(weights, make))) < 1 << 24
    assert peak_of(packed(config, bytes(1 << 28), zipfile.ZIP_DEFLATED)) < 1 << 24
    wide = json.loads(json.dumps(config).replace('"units": 64', f'"units": {1 << 40}'))
    assert wide != config
    assert peak_of(packed(wide, weights)) < 1 << 24


def decoder_of(config):
    return next(
        layer["config"]["layers"]
        for layer in config["config"]["layers"]
        if layer["config"]["name"] == "decoder"
    )


def with_class(name):
    return lambda layers: layers[1].update(class_name=name)


def with_setting(**settings):
    return lambda layers: layers[1]["config"].update(settings)


CONFIGS = {
    "a lambda": with_class("Lambda"),
    "no class": with_class(None),
    "a function as activation": with_setting(activation={"class_name": "__lambda__"}),
    "no bias": with_setting(use_bias=False),
    "no units": with_setting(units=0),
    "units below 0": with_setting(units=-8),
    "units in words": with_setting(units="many"),
    "other inputs": lambda layers: layers[0]["config"].update(batch_shape=[None, 17]),
    "no inputs": lambda layers: layers.pop(0),
    "a loop": lambda layers: layers[1]["inbound_nodes"][0]["args"][0]["config"].update(
        keras_history=["reconstruct", 0, 0]
    ),
    "two nodes": lambda layers: layers[1]["inbound_nodes"].append({}),
    "no outputs": lambda layers: layers.__delitem__(slice(1, None)),
    "an offset for others": lambda layers: layers[-1]["config"].update(offset=[1.0, 2.0]),
}


@pytest.mark.parametrize("name", CONFIGS)
def test_layers_that_hashret_does_not_make_are_refused(parts, name):
    config, weights = json.loads(json.dumps(parts[0])), parts[1]
    CONFIGS[name](decoder_of(config))
    with pytest.raises(DamagedIndexError, match="no decoder as hashret writes"):
        Decoder.read(packed(config, weights))


@pytest.mark.parametrize("content", [b"", b"PK no archive", b"\0" * 1000])
def test_what_is_no_archive_is_refused(content):
    with pytest.raises(DamagedIndexError, match="no decoder"):
        Decoder.read(content)


def test_an_archive_cut_short_or_nested_deep_is_refused(parts):
    whole = packed(*parts)
    Decoder.read(whole)
    for end in range(0, len(whole), len(whole) // 40):
        with pytest.raises(DamagedIndexError):
            Decoder.read(whole[:end])
    file = BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("config.json", "[" * 200_000)
        archive.writestr("model.weights.h5", parts[1])
    with pytest.raises(DamagedIndexError):
        Decoder.read(file.getvalue())


def test_decoding_takes_no_tensorflow(make_index):
    program = (
        "import sys, numpy as np, hashret\n"
        "code = np.zeros((1, 4), np.uint8)\n"
        "with hashret.open(sys.argv[1]) as index: print(index.reconstruct(code).shape)\n"
        "assert not {'tensorflow', 'keras'} & set(sys.modules)"
    )
    out = subprocess.run(
        [sys.executable, "-c", program, make_index("vectors")], capture_output=True, text=True
    )
    assert out.stdout == "(1, 12)\n", out.stderr
    assert out.returncode == 0, out.stderr
