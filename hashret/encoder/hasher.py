"""The scikit-learn estimator that learns to hash."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Self

import numpy as np
from numpy.typing import ArrayLike

from hashret.encoder.artefacts import Artefacts
from hashret.encoder.estimator import CodeEstimator
from hashret.encoder.parameters import check_parameters, default_epochs, default_mu
from hashret.encoder.progress import TrainingProgress
from hashret.encoder.quiet import quiet_stderr

MAX_TRAINING_ROWS = 100_000


class SemanticHasher(CodeEstimator):
    """Learns, without labels, short binary codes that similar items share.

    An autoencoder squeezes every item through ``n_bits`` bits. It learns to reconstruct the items,
    and to give an item and its mutual nearest neighbours codes a small Hamming distance apart.

    Data in [0, 1], or whole numbers from 0 to 255, are reconstructed as intensities; other data
    are centred and divided by one common factor, so features in unlike units should be
    standardised beforehand. From more than 100,000 rows, that many are drawn to learn from.

    Args:
        n_bits: length of a code, a multiple of 8 from 8 to 1024.
        hidden: widths of the encoder's hidden layers; the decoder mirrors them.
        epochs: passes over the data at most; None makes about 1,500 steps of them, in 3 to 200.
        batch_size: pairs of neighbours in a step.
        learning_rate: Adam's peak rate, after 100 steps of warm-up and before a cosine decay.
        reconstruction_weight: weight of the reconstruction in the loss.
        neighbour_weight: weight of the neighbours' spectral contrastive loss.
        n_neighbors: nearest neighbours among which mutual ones are kept.
        walk_length: most steps of the random walk from an item to the one it is paired with.
        mu: squared length of a code in the contrastive loss. Small values gather whole classes in
            a bucket, large ones tell items apart; None means ``0.87 * n_bits ** 0.7``.
        validation_fraction: share of the rows, 2,000 at most, held out to choose the best pass; 0
            holds out none.
        patience: passes without improvement on the held-out rows after which training ends.
        random_state: a seed, for the same codes every time on one machine; None for chance.

    Attributes:
        artefacts_: the trained model files and their metadata.
        fingerprint_: 16 hexadecimal digits that name the encoder.
        n_features_in_: width of the data.
        n_epochs_: passes made.

    Example:
        >>> hasher = SemanticHasher(n_bits=64, random_state=0).fit(X)  # doctest: +SKIP
        >>> hasher.transform(X)  # doctest: +SKIP
    """

    def __init__(
        self,
        n_bits: int = 64,
        *,
        hidden: Sequence[int] = (512, 256),
        epochs: int | None = None,
        batch_size: int = 256,
        learning_rate: float = 1e-3,
        reconstruction_weight: float = 10.0,
        neighbour_weight: float = 0.2,
        n_neighbors: int = 15,
        walk_length: int = 4,
        mu: float | None = None,
        validation_fraction: float = 0.05,
        patience: int = 20,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        """Store the parameters; ``fit`` checks them."""
        self.n_bits = n_bits
        self.hidden = hidden
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.reconstruction_weight = reconstruction_weight
        self.neighbour_weight = neighbour_weight
        self.n_neighbors = n_neighbors
        self.walk_length = walk_length
        self.mu = mu
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

        Returns:
            This hasher.

        Raises:
            UsageError: a parameter is out of its range.
            InputError: ``X`` is no finite, dense, numeric matrix with a row and a column at least.
        """
        check_parameters(self.get_params(deep=False))
        X = self._check_matrix(X, reset=True)
        with quiet_stderr():
            from hashret.encoder.learning import learn
            from hashret.encoder.training import TrainingSettings

        rng = self._generator()
        n_rows = len(X)
        if n_rows > MAX_TRAINING_ROWS:
            X = X[np.sort(rng.choice(n_rows, MAX_TRAINING_ROWS, replace=False))]
        settings = TrainingSettings(
            epochs=self.epochs or default_epochs(len(X), self.batch_size),
            batch_size=int(self.batch_size),
            learning_rate=float(self.learning_rate),
            reconstruction_weight=float(self.reconstruction_weight),
            neighbour_weight=float(self.neighbour_weight),
            mu=float(default_mu(self.n_bits) if self.mu is None else self.mu),
            walk_length=int(self.walk_length),
            validation_fraction=float(self.validation_fraction),
            patience=int(self.patience),
        )
        encoder_file, autoencoder_file, epochs = learn(
            X,
            n_bits=self.n_bits,
            hidden=tuple(self.hidden),
            n_neighbors=self.n_neighbors,
            settings=settings,
            rng=rng,
            progress=progress,
        )
        facts = {**self._facts(n_rows), "epochs": epochs}
        self._adopt(Artefacts(encoder_file, autoencoder_file, facts))
        return self

    def _adopt(self, artefacts: Artefacts) -> None:
        super()._adopt(artefacts)
        self.n_epochs_ = artefacts.metadata["epochs"]
