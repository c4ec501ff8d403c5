"""Learned projections as the model files of an encoder: a graph that is built, not trained."""

from __future__ import annotations

import tempfile
from pathlib import Path

import keras
import numpy as np
from numpy.typing import NDArray

from hashret.encoder.bottleneck import BinarizedSigmoid


def projection_files(
    mean: NDArray[np.float32],
    projection: NDArray[np.float32],
    offset: NDArray[np.float32],
    decoder_kernel: NDArray[np.float32],
    decoder_bias: NDArray[np.float32],
    *,
    cosines: bool,
) -> tuple[bytes, bytes]:
    """Write an encoder of projections and a linear decoder as model files.

    Args:
        mean: subtracted from the features, shape ``(d,)``.
        projection: shape ``(d, n_bits)``.
        offset: added to the projections, shape ``(n_bits,)``.
        decoder_kernel: from bits to features, shape ``(n_bits, d)``.
        decoder_bias: shape ``(d,)``.
        cosines: a bit is the sign of the cosine of its projection, not of the projection.

    Returns:
        The bytes of ``encoder.tflite`` and of ``autoencoder.keras``.
    """
    n_features, n_bits = projection.shape
    features = keras.Input((n_features,), name="features")
    # Subtracted first: in one sum with the projection, a large mean would cost precision.
    centred = keras.layers.Rescaling(1.0, (-mean).tolist(), name="centre")(features)
    project = keras.layers.Dense(n_bits, name="project")
    logits = project(centred)
    if cosines:
        logits = keras.ops.cos(logits)
    encoder = keras.Model(features, logits, name="encoder")
    project.set_weights([projection, offset])

    bits = keras.Input((n_bits,), name="bits")
    reconstruct = keras.layers.Dense(n_features, name="reconstruct")
    decoder = keras.Model(bits, reconstruct(bits), name="decoder")
    reconstruct.set_weights([decoder_kernel, decoder_bias])

    bottleneck = BinarizedSigmoid(name="bottleneck")
    model = keras.Model(features, decoder(bottleneck(encoder(features))), name="autoencoder")
    with tempfile.TemporaryDirectory(prefix="hashret-") as folder:
        encoder_path, model_path = Path(folder, "encoder.tflite"), Path(folder, "model.keras")
        encoder.export(encoder_path, format="litert", verbose=False)
        model.save(model_path)
        return encoder_path.read_bytes(), model_path.read_bytes()
