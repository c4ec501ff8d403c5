"""The scikit-learn estimator that learns to hash."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hashret.codes import check_n_bits
from hashret.encoder.artefacts import Artefacts
from hashret.encoder.estimator import CodeEstimator
from hashret.encoder.parameters import check_image_shape, check_parameters
from hashret.encoder.quiet import quiet_stderr
from hashret.encoder.recipe import DENSE_HIDDEN, Recipe
from hashret.encoder.training_progress import TrainingProgress

MAX_TRAINING_ROWS = 100_000


class SemanticHasher(CodeEstimator):
    """Learns, without labels, short binary codes that similar items share.

    An autoencoder squeezes every item through ``n_bits`` bits. It learns to reconstruct the items,
    and to give an item and its mutual nearest neighbours codes a small Hamming distance apart. The
    autoencoders of the literature are choices among the parameters, which go together freely.

    Data in [0, 1], or whole numbers from 0 to 255, are reconstructed as intensities; other data
    are centred and divided by one common factor, so features in unlike units should be
    standardised beforehand. From more than 100,000 rows, that many are drawn to learn from.

    Args:
        n_bits: length of a code, a multiple of 8 from 8 to 1024.
        hidden: widths of the encoder's hidden layers, which the decoder mirrors; ``()`` for an
            undercomplete autoencoder of the code alone. In a convolutional network the filters of
            its stages, each of which halves the sides; there the default stands for ``(32, 64)``.
        architecture: ``"dense"``; ``"tied"``: the decoder's kernels are the transposes of the
            encoder's; ``"convolutional"``: for images.
        image_shape: ``(height, width)`` or ``(height, width, channels)`` of rows that are images:
            their neighbours are then sought by edges as well as by pixels, and ``"convolutional"``,
            ``corruption="downsample"`` and ``augment`` need it.
        activation: of hidden layers: ``"relu"``, ``"sigmoid"``, ``"tanh"`` or ``"gelu"``. None is
            ``"sigmoid"`` with ``pretraining="rbm"``, which allows no other, and else ``"relu"``.
        bottleneck: how bits are made in training (an encoded bit is always a logit above 0):
            ``"straight-through"``, ``"bernoulli"``, ``"gaussian"``, ``"annealed"``,
            ``"variational"`` (Bernoulli bits with a price), see :mod:`hashret.encoder.bottleneck`;
            ``"auto"`` chooses by the data.
        corruption: what disturbs the encoder's inputs in training, while the reconstruction is
            compared with the clean items: ``"noise"``, ``"mask"`` or ``"downsample"``.
        corruption_level: standard deviation of the noise in units of the scaled inputs (0.2), share
            of the inputs that are masked (0.3), or factor of the downsampling (2).
        augment: shift, rotate and scale images a little and erase patches of them, likewise.
        sparsity: weight of the price of hidden units that take part in the last hidden layer, see
            :func:`hashret.encoder.losses.crowding`.
        kl_weight: weight of the price of bits in a variational code.
        pretraining: ``"stacked"`` or ``"rbm"``: first weights learned layer by layer, see
            :func:`hashret.encoder.pretraining.pretrain`; not for convolutional networks.
        reconstruction_loss: ``"binary"`` cross-entropy of intensities, ``"squared"`` error of
            standardised data; ``"multinomial"``: data are counts, read as ``log(1 + count)`` at
            length 1 and reconstructed as shares of a row's sum. ``"auto"`` is one of the first two,
            by the data.
        reconstruction_weight: weight of the reconstruction in the loss; None for one that suits
            the bottleneck and the number of bits.
        neighbour_weight: weight of the neighbours' spectral contrastive loss; 0 for a plain
            autoencoder, for which no neighbours are sought.
        n_neighbors: nearest neighbours among which mutual ones are kept; None for 30, or for fewer
            where there are less than 3,000 rows.
        walk_length: most steps of the random walk from an item to the one it is paired with.
        mu: squared length of a code in the contrastive loss. Small values gather whole classes in
            a bucket, large ones tell items apart; None means ``0.72 * n_bits ** 0.8``.
        optimizer: ``"adam"``, ``"sgd"``, ``"rmsprop"``, ``"adamw"``, ``"nadam"``, ``"lion"`` or
            ``"adagrad"``.
        learning_rate: its peak rate, after 100 steps of warm-up and before a cosine decay; None for
            one that suits the optimizer, 0.001 for Adam.
        effort: ``"high"`` makes six times as many steps as ``"normal"``.
        epochs: passes over the data at most, whatever the effort; None makes about 2,500 steps of
            them, in 3 to 200, or as the effort says.
        batch_size: pairs of neighbours in a step.
        validation_fraction: share of the rows, 2,000 at most, held out to choose the best pass; 0
            holds out none.
        patience: passes without improvement on the held-out rows after which training ends.
        tensorboard: a folder for TensorBoard's event files; it is not saved with the hasher.
        random_state: a seed, for the same codes every time on one machine; None for chance.

    Attributes:
        artefacts_: the trained model files and their metadata.
        fingerprint_: 16 hexadecimal digits that name the encoder.
        n_features_in_: width of the data.
        n_epochs_: passes made.
        bottleneck_: the bottleneck that was learned with.
        history_: for each pass ``{"epoch": 1, "loss": ..., "reconstruction": ..., ...,
            "validation_loss": ...}``: means of the loss and of its terms before they are weighted.

    Example:
        >>> hasher = SemanticHasher(n_bits=64, random_state=0).fit(X)  # doctest: +SKIP
        >>> hasher.transform(X)  # doctest: +SKIP
    """

    def __init__(
        self,
        n_bits: int = 64,
        *,
        hidden: Sequence[int] = DENSE_HIDDEN,
        architecture: str = "dense",
        image_shape: Sequence[int] | None = None,
        activation: str | None = None,
        bottleneck: str = "auto",
        corruption: str | None = None,
        corruption_level: float | None = None,
        augment: bool = False,
        sparsity: float = 0.0,
        kl_weight: float = 1.0,
        pretraining: str | None = None,
        reconstruction_loss: str = "auto",
        reconstruction_weight: float | None = None,
        neighbour_weight: float = 0.2,
        n_neighbors: int | None = None,
        walk_length: int = 4,
        mu: float | None = None,
        optimizer: str = "adam",
        learning_rate: float | None = None,
        effort: str = "normal",
        epochs: int | None = None,
        batch_size: int = 256,
        validation_fraction: float = 0.05,
        patience: int = 20,
        tensorboard: str | os.PathLike[str] | None = None,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        """Store the parameters; ``fit`` checks them."""
        self.n_bits = n_bits
        self.hidden = hidden
        self.architecture = architecture
        self.image_shape = image_shape
        self.activation = activation
        self.bottleneck = bottleneck
        self.corruption = corruption
        self.corruption_level = corruption_level
        self.augment = augment
        self.sparsity = sparsity
        self.kl_weight = kl_weight
        self.pretraining = pretraining
        self.reconstruction_loss = reconstruction_loss
        self.reconstruction_weight = reconstruction_weight
        self.neighbour_weight = neighbour_weight
        self.n_neighbors = n_neighbors
        self.walk_length = walk_length
        self.mu = mu
        self.optimizer = optimizer
        self.learning_rate = learning_rate
        self.effort = effort
        self.epochs = epochs
        self.batch_size = batch_size
        self.validation_fraction = validation_fraction
        self.patience = patience
        self.tensorboard = tensorboard
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
        parameters = self.get_params(deep=False)
        check_n_bits(self.n_bits)
        check_parameters(parameters)
        X = self._check_matrix(X, reset=True)
        check_image_shape(parameters, X.shape[1])
        with quiet_stderr():
            from hashret.encoder.learning import learn

        rng = self._generator()
        n_rows = len(X)
        if n_rows > MAX_TRAINING_ROWS:
            X = X[np.sort(rng.choice(n_rows, MAX_TRAINING_ROWS, replace=False))]
        learned = learn(X, Recipe.resolve(parameters, self.n_bits, len(X)), rng, progress)
        facts = {
            **self._facts(n_rows),
            "epochs": len(learned.history),
            "bottleneck": learned.recipe.bottleneck,
            "history": learned.history,
        }
        self._adopt(Artefacts(*learned.files(), facts))
        return self

    def transform_latent(self, X: ArrayLike) -> NDArray[np.float32]:
        """Map items to the real values whose signs are the bits of their codes.

        Args:
            X: numbers, shape ``(n, d)``, finite, of the width that was learned from.

        Returns:
            ``float32`` logits, shape ``(n, n_bits)``; a bit is 1 where its logit is above 0.

        Raises:
            NotFittedError: the hasher has not learned yet.
            InputError: ``X`` is no such matrix.
        """
        self._check_fitted()
        return self.artefacts_.encoder.logits(self._check_matrix(X, reset=False))

    def _adopt(self, artefacts: Artefacts) -> None:
        super()._adopt(artefacts)
        self.n_epochs_ = artefacts.metadata["epochs"]
        # Folders written before there was a choice name neither.
        self.bottleneck_ = artefacts.metadata.get("bottleneck", "straight-through")
        self.history_ = artefacts.metadata.get("history", [])

    def _parameters(self) -> dict[str, Any]:
        return {**super()._parameters(), "tensorboard": None}
