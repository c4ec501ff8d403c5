"""Encoding by LiteRT: the same bits however items come, and nothing heavy loaded."""

import subprocess
import sys
import threading

import numpy as np
import pytest

from hashret.encoder import Encoder, SemanticHasher
from hashret.errors import DamagedIndexError, InputError


@pytest.fixture(scope="module")
def model():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((500, 300)).astype(np.float32)
    return SemanticHasher(64, hidden=(200, 100), epochs=1, random_state=0).fit(X).artefacts_


@pytest.fixture(scope="module")
def near_threshold(model):
    """10,000 rows with a logit next to 0, found by halving between rows of unlike codes."""
    rng = np.random.default_rng(1)
    low, high = rng.standard_normal((2, 10_000, 300)).astype(np.float32)
    bit = np.unpackbits(model.encoder.encode(low), axis=1)[:, 0]
    for _ in range(24):
        middle = (low + high) / 2
        same = np.unpackbits(model.encoder.encode(middle), axis=1)[:, 0] == bit
        low = np.where(same[:, None], middle, low)
        high = np.where(same[:, None], high, middle)
    return low


@pytest.mark.parametrize("batch", [1, 7, 256, 4096])
def test_a_rows_code_is_the_same_in_every_batch(model, near_threshold, batch):
    whole = model.encoder.encode(near_threshold)
    fresh = Encoder(model.encoder_file)
    parts = [fresh.encode(near_threshold[i : i + batch]) for i in range(0, 10_000, batch)]
    np.testing.assert_array_equal(np.concatenate(parts), whole)


@pytest.mark.parametrize("threads", [1, 4])
@pytest.mark.parametrize("batch", [64, 4096])
def test_a_rows_code_is_the_same_for_every_thread_count(
    model, near_threshold, monkeypatch, threads, batch
):
    from hashret.encoder import runtime

    whole = model.encoder.encode(near_threshold)
    monkeypatch.setattr(runtime, "THREADS", threads)
    monkeypatch.setattr(runtime, "BATCH_ROWS", batch)
    np.testing.assert_array_equal(Encoder(model.encoder_file).encode(near_threshold), whole)


def test_threads_may_share_an_encoder(model, near_threshold):
    whole = model.encoder.encode(near_threshold)
    results = {}

    def work(k):
        part = slice(k * 777, (k + 1) * 777)
        results[k] = (model.encoder.encode(near_threshold[part]) == whole[part]).all()

    threads = [threading.Thread(target=work, args=(k,)) for k in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == dict.fromkeys(range(8), True)


def test_no_rows_give_no_codes(model):
    assert model.encoder.encode(np.empty((0, 300), np.float32)).shape == (0, 8)
    assert model.encoder.logits(np.empty((0, 300), np.float32)).shape == (0, 64)


@pytest.mark.parametrize("batch", [1, 7, 10_000])
def test_logits_are_what_decides_the_bits_in_every_batch(model, near_threshold, batch):
    parts = [model.encoder.logits(near_threshold[i : i + batch]) for i in range(0, 2000, batch)]
    logits = np.concatenate(parts)[:2000]
    assert logits.dtype == np.float32
    np.testing.assert_array_equal(logits, model.encoder.logits(near_threshold)[:2000])
    codes = np.packbits(logits > 0, axis=1)
    np.testing.assert_array_equal(codes, model.encoder.encode(near_threshold[:2000]))


@pytest.mark.parametrize("shape", [(300,), (2, 299), (1, 300, 1)])
def test_other_shapes_are_refused(model, shape):
    with pytest.raises(InputError, match=r"\(n, 300\).*" + str(shape[-1])):
        model.encoder.encode(np.zeros(shape, np.float32))


def test_attributes_describe_the_model(model):
    assert (model.encoder.n_features, model.encoder.n_bits) == (300, 64)
    assert len(model.encoder.fingerprint) == 16
    int(model.encoder.fingerprint, 16)


@pytest.mark.parametrize("content", [b"", b"no model", b"\0" * 4096])
def test_bytes_that_are_no_model_are_refused(content):
    with pytest.raises(DamagedIndexError, match=r"encoder\.tflite"):
        Encoder(content)


HEAVY = "('tensorflow', 'keras', 'sklearn', 'scipy', 'faiss', 'numba')"
ENCODE = f"""
import sys, numpy as np
from hashret.encoder import open_encoder
import hashret.encoder.runtime
print(open_encoder(sys.argv[1]).encode(np.zeros((1, 300), np.float32)).tobytes().hex())
print([name for name in {HEAVY} if name in sys.modules])
"""


def test_encoding_loads_no_heavy_library_and_is_silent(tmp_path, model):
    model.write(tmp_path)
    done = subprocess.run(
        [sys.executable, "-c", ENCODE, tmp_path], capture_output=True, text=True, check=True
    )
    code = model.encoder.encode(np.zeros((1, 300), np.float32)).tobytes().hex()
    assert done.stdout == f"{code}\n[]\n"
    assert done.stderr == ""


LOAD = """
import sys, numpy as np
from hashret.encoder import SemanticHasher
SemanticHasher.load(sys.argv[1]).transform(np.zeros((1, 300)))
print([name for name in ('tensorflow', 'keras') if name in sys.modules])
SemanticHasher.load(sys.argv[1]).reconstruct(np.zeros((1, 8), np.uint8))
"""


def test_a_loaded_hasher_needs_tensorflow_only_to_reconstruct(tmp_path, model):
    # Drawing afterwards also shows that LiteRT and TensorFlow live together in this order.
    model.write(tmp_path)
    done = subprocess.run(
        [sys.executable, "-c", LOAD, tmp_path], capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"
