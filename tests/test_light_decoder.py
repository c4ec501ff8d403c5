"""The decoder without TensorFlow computes what the decoder with it does."""

import numpy as np
import pytest

import hashret
from hashret.encoder.artefacts import open_encoder
from hashret.encoder.light_decoder import LightDecoder


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"architecture": "tied", "hidden": (40, 24)},
        {"activation": "gelu", "hidden": (24,)},
        {"activation": "tanh", "hidden": ()},
        {"reconstruction_loss": "multinomial", "hidden": (24,)},
        {"bottleneck": "bernoulli", "reconstruction_loss": "squared"},
    ],
    ids=str,
)
def test_dense_decoders_give_the_same_to_rounding(digits, options, tmp_path):
    X = digits.reshape(len(digits), -1)[:400].astype(np.float32)
    hasher = hashret.SemanticHasher(16, epochs=1, random_state=0, **options).fit(X)
    hasher.save(tmp_path / "hasher")
    codes = hasher.transform(X[:20])
    decoder = LightDecoder.read((tmp_path / "hasher" / "autoencoder.keras").read_bytes())
    bits = np.unpackbits(codes, axis=1).astype(np.float32)
    expected = hasher.reconstruct(codes)
    assert decoder.decode(bits) == pytest.approx(expected, rel=1e-4, abs=1e-4)
    assert np.ptp(expected) > 0
    errors = decoder.reconstruction_errors(X, open_encoder(tmp_path / "hasher"))
    np.testing.assert_allclose(errors, hasher.reconstruction_error(X), rtol=1e-5)
    # Wherever a row stands among others, its error is the same.
    again = decoder.reconstruction_errors(X[7:300:3], open_encoder(tmp_path / "hasher"))
    assert again.tolist() == errors[7:300:3].tolist()


def test_another_decoder_is_left_to_tensorflow(digits, tmp_path):
    X = digits.reshape(len(digits), -1)[:100].astype(np.float32)
    hasher = hashret.SemanticHasher(
        16, epochs=1, random_state=0, architecture="convolutional", image_shape=(8, 8)
    ).fit(X)
    hasher.save(tmp_path / "hasher")
    content = (tmp_path / "hasher" / "autoencoder.keras").read_bytes()
    assert LightDecoder.read(content) is None


@pytest.mark.parametrize("content", [b"", b"PK no archive", b"\0" * 1000])
def test_what_is_no_autoencoder_has_no_decoder(content):
    assert LightDecoder.read(content) is None
