"""How to learn: a hasher's parameters with every default filled in."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

DEFAULT_STEPS = 2500
EPOCH_RANGE = (3, 200)
HIGH_EFFORT = 6
MAX_NEIGHBORS = 30
ROWS_PER_NEIGHBOR = 100

DENSE_HIDDEN = (512, 256)
CONVOLUTIONAL_HIDDEN = (32, 64)

LEARNING_RATES = {
    "adam": 1e-3,
    "sgd": 1e-2,
    "rmsprop": 1e-3,
    "adamw": 1e-3,
    "nadam": 1e-3,
    "lion": 5e-4,
    "adagrad": 1e-2,
}
"""Optimizers, and the peak learning rate of each."""

CORRUPTION_LEVELS = {"noise": 0.2, "mask": 0.3, "downsample": 2}
"""Kinds of corruption, and the level of each."""

CHOICES: dict[str, tuple[str | None, ...]] = {
    "architecture": ("dense", "tied", "convolutional"),
    "activation": (None, "relu", "sigmoid", "tanh", "gelu"),
    "bottleneck": (
        "auto", "straight-through", "bernoulli", "gaussian", "annealed", "variational",
    ),
    "corruption": (None, *CORRUPTION_LEVELS),
    "pretraining": (None, "stacked", "rbm"),
    "reconstruction_loss": ("auto", "binary", "squared", "multinomial"),
    "optimizer": tuple(LEARNING_RATES),
    "effort": ("normal", "high"),
}  # fmt: skip
"""The values of the parameters that are one of a few words."""

RECIPES = {
    "hashret": "SemanticHasher",
    "lsh": "RandomHyperplanes",
    "pca": "PCAHash",
    "itq": "ITQ",
    "spectral": "SpectralHashing",
}
"""Ways to learn codes, and the estimator of each."""


def default_mu(n_bits: int) -> float:
    """The squared code length that suited 16, 32 and 64 bits (6.6, 11.5, 20), for any length."""
    return 0.72 * n_bits**0.8


def default_n_neighbors(n_rows: int) -> int:
    """A hundredth of the rows, so that a small class is more than a neighbourhood, in 5 to 30."""
    return min(max(n_rows // ROWS_PER_NEIGHBOR, 5), MAX_NEIGHBORS)


def default_epochs(n_rows: int, batch_size: int, effort: str = "normal") -> int:
    """The passes that make about 2,500 steps, in 3 to 200; six times as many for high effort."""
    steps_per_epoch = max(1, n_rows // batch_size)
    least, most = EPOCH_RANGE
    epochs = min(max(math.ceil(DEFAULT_STEPS / steps_per_epoch), least), most)
    return epochs * (HIGH_EFFORT if effort == "high" else 1)


@dataclass(frozen=True)
class Recipe:
    """How to learn; the fields are the parameters of ``SemanticHasher`` of the same name.

    Attributes:
        n_units: width of the code, a bit each where the bottleneck is binary.
        reconstruction_weight: None until the bottleneck is known.
    """

    n_units: int
    epochs: int
    batch_size: int = 256
    hidden: tuple[int, ...] = DENSE_HIDDEN
    architecture: str = "dense"
    image_shape: tuple[int, ...] | None = None
    activation: str = "relu"
    bottleneck: str = "auto"
    reconstruction_loss: str = "auto"
    reconstruction_weight: float | None = None
    neighbour_weight: float = 0.0
    n_neighbors: int = MAX_NEIGHBORS
    walk_length: int = 4
    mu: float = 1.0
    kl_weight: float = 0.0
    sparsity: float = 0.0
    corruption: str | None = None
    corruption_level: float = 0.0
    augment: bool = False
    pretraining: str | None = None
    optimizer: str = "adam"
    learning_rate: float = LEARNING_RATES["adam"]
    validation_fraction: float = 0.05
    patience: int = 20
    tensorboard: str | None = None

    @classmethod
    def resolve(cls, parameters: Mapping[str, Any], n_units: int, n_rows: int) -> Recipe:
        """Fill in what the parameters leave open.

        Args:
            parameters: of an estimator, checked.
            n_units: width of the code.
            n_rows: the rows there are to learn from.
        """
        given = {
            field.name: parameters[field.name]
            for field in fields(cls)
            if parameters.get(field.name) is not None
        }
        given["hidden"] = tuple(int(units) for units in parameters["hidden"])
        if parameters["architecture"] == "convolutional" and given["hidden"] == DENSE_HIDDEN:
            given["hidden"] = CONVOLUTIONAL_HIDDEN
        if parameters.get("image_shape") is not None:
            given["image_shape"] = (*map(int, parameters["image_shape"]), 1)[:3]
        given.setdefault(
            "epochs",
            default_epochs(n_rows, parameters["batch_size"], parameters.get("effort", "normal")),
        )
        given.setdefault("n_neighbors", default_n_neighbors(n_rows))
        given.setdefault("mu", default_mu(n_units))
        given.setdefault("learning_rate", LEARNING_RATES[parameters["optimizer"]])
        if parameters.get("corruption") is not None:
            given.setdefault("corruption_level", CORRUPTION_LEVELS[parameters["corruption"]])
        if parameters.get("pretraining") == "rbm":
            given["activation"] = "sigmoid"
        if parameters.get("tensorboard") is not None:
            given["tensorboard"] = str(parameters["tensorboard"])
        return cls(**{**given, "n_units": int(n_units)})
