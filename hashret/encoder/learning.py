"""Features -> trained model files: the one place where TensorFlow and Keras come in."""

from __future__ import annotations

import os

# Read when TensorFlow is first imported; set by the user, it stays.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import logging
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import keras
import numpy as np
from numpy.typing import NDArray

from hashret.encoder.autoencoder import Scaling, build_autoencoder
from hashret.encoder.neighbours import mutual_neighbours
from hashret.encoder.progress import TrainingProgress
from hashret.encoder.training import TrainingSettings, train

# It warns of a fit in a loop as if each were to share the compiled step of the one before.
logging.getLogger("tensorflow").setLevel(logging.ERROR)


def learn(
    X: NDArray[np.float32],
    *,
    n_bits: int,
    hidden: Sequence[int],
    n_neighbors: int,
    settings: TrainingSettings,
    rng: np.random.Generator,
    progress: Callable[[TrainingProgress], None] | None = None,
) -> tuple[bytes, bytes, int]:
    """Train an autoencoder on raw features, ``float32``, shape ``(n, d)``.

    Returns:
        The bytes of ``encoder.tflite`` and of ``autoencoder.keras``, and the passes made.
    """
    scaling = Scaling.measure(X)
    graph = mutual_neighbours(scaling.apply(X), n_neighbors, rng)
    seed = int(rng.integers(2**31))
    network = build_autoencoder(X.shape[1], n_bits, hidden, scaling, seed)
    epochs = train(network, X, graph, settings, rng, progress)
    with tempfile.TemporaryDirectory(prefix="hashret-") as folder:
        encoder_path, model_path = Path(folder, "encoder.tflite"), Path(folder, "model.keras")
        network.encoder.export(encoder_path, format="litert", verbose=False)
        network.model.save(model_path)
        return encoder_path.read_bytes(), model_path.read_bytes(), epochs


def load_decoder(autoencoder_file: bytes) -> keras.Model:
    """The part of a saved autoencoder that turns bits into raw features."""
    with tempfile.TemporaryDirectory(prefix="hashret-") as folder:
        path = Path(folder, "autoencoder.keras")
        path.write_bytes(autoencoder_file)
        return keras.saving.load_model(path, compile=False).get_layer("decoder")
