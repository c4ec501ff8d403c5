"""Features -> trained model files: the one place where TensorFlow and Keras come in."""

from __future__ import annotations

import os

# Read when TensorFlow is first imported; set by the user, it stays.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import logging
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hashret.encoder.autoencoder import Autoencoder, build_autoencoder
from hashret.encoder.chosen_bottleneck import choose_bottleneck, default_reconstruction_weight
from hashret.encoder.neighbours import mutual_neighbours
from hashret.encoder.pretraining import pretrain
from hashret.encoder.recipe import Recipe
from hashret.encoder.scaling import Scaling
from hashret.encoder.training import History, train
from hashret.encoder.training_progress import TrainingProgress

# It warns of a fit in a loop as if each were to share the compiled step of the one before.
logging.getLogger("tensorflow").setLevel(logging.ERROR)


@dataclass(frozen=True)
class Learned:
    """A trained network and how it came to be.

    Attributes:
        network: with its best weights.
        recipe: as it was carried out: no choice is left open.
        history: a record for each pass over the data.
    """

    network: Autoencoder
    recipe: Recipe
    history: History

    def files(self) -> tuple[bytes, bytes]:
        """The bytes of ``encoder.tflite`` and of ``autoencoder.keras``."""
        with tempfile.TemporaryDirectory(prefix="hashret-") as folder:
            encoder_path, model_path = Path(folder, "encoder.tflite"), Path(folder, "model.keras")
            self.network.encoder.export(encoder_path, format="litert", verbose=False)
            self.network.model.save(model_path)
            return encoder_path.read_bytes(), model_path.read_bytes()


def learn(
    X: NDArray[np.float32],
    recipe: Recipe,
    rng: np.random.Generator,
    progress: Callable[[TrainingProgress], None] | None = None,
) -> Learned:
    """Train an autoencoder on raw features, ``float32``, shape ``(n, d)``.

    Raises:
        InputError: the data do not suit the loss that was asked for.
        HashretError: learning diverged.
    """
    scaling = Scaling.measure(X, recipe.reconstruction_loss)
    graph = None
    if recipe.neighbour_weight:
        graph = mutual_neighbours(scaling.apply(X), recipe.n_neighbors, rng, recipe.image_shape)
    bottleneck, weight = recipe.bottleneck, recipe.reconstruction_weight
    if bottleneck == "auto":
        bottleneck = choose_bottleneck(graph)
    if weight is None:
        weight = default_reconstruction_weight(recipe.n_units, bottleneck, scaling.loss)
    recipe = replace(
        recipe,
        bottleneck=bottleneck,
        reconstruction_loss=scaling.loss,
        reconstruction_weight=weight,
    )
    network = build_autoencoder(X.shape[1], recipe, scaling, int(rng.integers(2**31)))
    if recipe.pretraining is not None:
        pretrain(network, X, recipe, rng, progress)
    history = train(network, X, graph, recipe, rng, progress)
    return Learned(network, recipe, history)
