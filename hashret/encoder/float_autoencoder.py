"""An autoencoder whose code is a few real numbers: a map of the data, not a hash of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hashret.encoder.decoder import BLOCK_ROWS
from hashret.encoder.matrix_estimator import MatrixEstimator
from hashret.encoder.parameters import check_image_shape, check_parameters
from hashret.encoder.quiet import quiet_stderr
from hashret.encoder.recipe import Recipe
from hashret.encoder.training_progress import TrainingProgress
from hashret.errors import InputError


class FloatAutoencoder(MatrixEstimator):
    """Learns to squeeze items through a few linear units, and to draw them from those again.

    The network of ``SemanticHasher`` with real values for bits. With 2 units it makes a map of the
    data, with 30 the autoencoder that Hinton and Salakhutdinov (2006), "Reducing the Dimensionality
    of Data with Neural Networks", compared with principal components.

    Args:
        n_units: width of the code.
        hidden: as in :class:`~hashret.encoder.SemanticHasher`, as are all that follow.
        architecture: see there.
        image_shape: see there.
        activation: see there.
        corruption: see there.
        corruption_level: see there.
        pretraining: see there.
        reconstruction_loss: see there.
        neighbour_weight: weight of the neighbours' contrastive loss beside a reconstruction of
            weight 1.
        n_neighbors: see there.
        optimizer: see there.
        learning_rate: see there.
        effort: see there.
        epochs: see there.
        batch_size: see there.
        validation_fraction: see there.
        patience: see there.
        random_state: see there.

    Attributes:
        encoder_: Keras model, raw features -> code.
        decoder_: Keras model, code -> raw features.
        n_features_in_: width of the data.
        n_epochs_: passes made.
        history_: the course of each pass, as in ``SemanticHasher``.

    Example:
        >>> FloatAutoencoder(n_units=2, random_state=0).fit_transform(X)  # doctest: +SKIP
    """

    encoder_: Any
    decoder_: Any

    def __init__(
        self,
        n_units: int = 2,
        *,
        hidden: Sequence[int] = (1000, 500, 250),
        architecture: str = "dense",
        image_shape: Sequence[int] | None = None,
        activation: str | None = None,
        corruption: str | None = None,
        corruption_level: float | None = None,
        pretraining: str | None = None,
        reconstruction_loss: str = "auto",
        neighbour_weight: float = 0.0,
        n_neighbors: int = 15,
        optimizer: str = "adam",
        learning_rate: float | None = None,
        effort: str = "normal",
        epochs: int | None = None,
        batch_size: int = 256,
        validation_fraction: float = 0.05,
        patience: int = 20,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        """Store the parameters; ``fit`` checks them."""
        self.n_units = n_units
        self.hidden = hidden
        self.architecture = architecture
        self.image_shape = image_shape
        self.activation = activation
        self.corruption = corruption
        self.corruption_level = corruption_level
        self.pretraining = pretraining
        self.reconstruction_loss = reconstruction_loss
        self.neighbour_weight = neighbour_weight
        self.n_neighbors = n_neighbors
        self.optimizer = optimizer
        self.learning_rate = learning_rate
        self.effort = effort
        self.epochs = epochs
        self.batch_size = batch_size
        self.validation_fraction = validation_fraction
        self.patience = patience
        self.random_state = random_state

    def fit(
        self,
        X: ArrayLike,
        y: object = None,  # noqa: ARG002 - as scikit-learn calls it
        progress: Callable[[TrainingProgress], None] | None = None,
    ) -> Self:
        """Learn from a matrix of items.

        Args:
            X: numbers, shape ``(n, d)``, finite; converted to ``float32``.
            y: ignored.
            progress: called a few times a second and after every pass.

        Raises:
            UsageError: a parameter is out of its range.
            InputError: ``X`` is no finite, dense, numeric matrix with a row and a column at least.
        """
        parameters = {**self.get_params(deep=False), "reconstruction_weight": 1.0}
        check_parameters(parameters)
        X = self._check_matrix(X, reset=True)
        check_image_shape(parameters, X.shape[1])
        with quiet_stderr():
            from hashret.encoder.learning import learn

        parameters["bottleneck"] = "linear"
        recipe = Recipe.resolve(parameters, self.n_units, len(X))
        learned = learn(X, recipe, self._generator(), progress)
        self.encoder_, self.decoder_ = learned.network.encoder, learned.network.decoder
        self.history_ = learned.history
        self.n_epochs_ = len(learned.history)
        return self

    def transform(self, X: ArrayLike) -> NDArray[np.float32]:
        """Encode items ``(n, d)`` as ``float32``, shape ``(n, n_units)``.

        Raises:
            NotFittedError: it has not learned yet.
            InputError: ``X`` is no such matrix as was learned from.
        """
        self._check_fitted()
        return _run(self.encoder_, self._check_matrix(X, reset=False))

    def inverse_transform(self, Z: ArrayLike) -> NDArray[np.float32]:
        """Draw items ``(n, d)`` from codes ``(n, n_units)``, in the units of the training data.

        Raises:
            NotFittedError: it has not learned yet.
            InputError: the codes have another width.
        """
        self._check_fitted()
        codes = np.asarray(Z, dtype=np.float32)
        if codes.ndim != 2 or codes.shape[1] != self.decoder_.input_shape[1]:
            raise InputError(
                f"Expected codes of shape (n, {self.decoder_.input_shape[1]}), got {codes.shape}."
            )
        return _run(self.decoder_, codes)

    def __sklearn_is_fitted__(self) -> bool:
        """Whether it has learned."""
        return hasattr(self, "encoder_")


def _run(model: Any, rows: NDArray[np.float32]) -> NDArray[np.float32]:
    parts = [
        np.asarray(model(rows[start : start + BLOCK_ROWS], training=False))
        for start in range(0, max(len(rows), 1), BLOCK_ROWS)
    ]
    return np.concatenate(parts)
