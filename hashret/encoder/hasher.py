"""The scikit-learn estimator that learns to hash."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.exceptions import NotFittedError as SklearnNotFittedError
from sklearn.utils import Tags, check_random_state
from sklearn.utils.validation import validate_data

from hashret.codes import Codes, as_codes, unpack
from hashret.encoder.artefacts import Artefacts
from hashret.encoder.parameters import check_parameters, default_epochs, default_mu
from hashret.encoder.progress import TrainingProgress
from hashret.encoder.quiet import quiet_stderr
from hashret.encoder.runtime import fingerprint_of
from hashret.errors import DamagedIndexError, EncoderMismatchError, InputError, NotFittedError

MAX_TRAINING_ROWS = 100_000
MAX_VALUE = 1e15


class HasherNotFittedError(NotFittedError, SklearnNotFittedError):
    """hashret's error, which scikit-learn recognises too."""


class InputTypeError(InputError, TypeError):
    """Data of a kind that is refused: sparse, or objects that are no numbers."""


class SemanticHasher(TransformerMixin, BaseEstimator):
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
        facts = {
            "hashret": _version(),
            "parameters": self._parameters(),
            "n_bits": int(self.n_bits),
            "n_features": int(self.n_features_in_),
            "rows": n_rows,
            "epochs": epochs,
        }
        self._adopt(Artefacts(encoder_file, autoencoder_file, facts))
        return self

    def transform(self, X: ArrayLike) -> Codes:
        """Encode items.

        Args:
            X: numbers, shape ``(n, d)``, finite, of the width that was learned from.

        Returns:
            ``uint8`` codes of shape ``(n, n_bits / 8)``. A row's code does not depend on the rows
            beside it.

        Raises:
            NotFittedError: the hasher has not learned yet.
            InputError: ``X`` is no such matrix.
        """
        self._check_fitted()
        return self.artefacts_.encoder.encode(self._check_matrix(X, reset=False))

    def reconstruct(self, codes: ArrayLike) -> NDArray[np.float32]:
        """Draw the items that codes stand for, in the units of the training data.

        Args:
            codes: ``uint8``, shape ``(n, n_bits / 8)``.

        Returns:
            ``float32``, shape ``(n, d)``.

        Raises:
            NotFittedError: the hasher has not learned yet.
            InputError: ``codes`` are no codes.
            EncoderMismatchError: the codes have another length than this hasher's.
        """
        self._check_fitted()
        packed = as_codes(codes)
        expected = self.artefacts_.encoder.n_bits
        if packed.shape[1] * 8 != expected:
            raise EncoderMismatchError(
                f"This hasher has codes of {expected} bits; got codes of {packed.shape[1] * 8} "
                "bits. Use the hasher that made them."
            )
        return self.artefacts_.decode(unpack(packed).astype(np.float32))

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Write ``encoder.tflite``, ``autoencoder.keras`` and ``encoder.json`` into a folder.

        Raises:
            NotFittedError: the hasher has not learned yet.
        """
        self._check_fitted()
        self.artefacts_.write(Path(folder))

    @classmethod
    def load(cls, folder: str | os.PathLike[str]) -> Self:
        """Read a hasher that :meth:`save` wrote.

        Raises:
            DamagedIndexError: a file is missing or is not the one that was written.
        """
        artefacts = Artefacts.read(Path(folder))
        try:
            hasher = cls(**artefacts.metadata["parameters"])
        except (KeyError, TypeError) as error:
            raise DamagedIndexError(
                f"The parameters in {folder} are not those of this version of hashret ({error}); "
                f"it was written by version {artefacts.metadata.get('hashret')}."
            ) from error
        hasher.n_features_in_ = artefacts.metadata["n_features"]
        hasher._adopt(artefacts)
        return hasher

    def __sklearn_tags__(self) -> Tags:
        """What scikit-learn may expect: codes are ``uint8`` whatever the data are."""
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = []
        return tags

    def __sklearn_is_fitted__(self) -> bool:
        """Whether the hasher has learned."""
        return hasattr(self, "artefacts_")

    def _adopt(self, artefacts: Artefacts) -> None:
        self.artefacts_ = artefacts
        self.fingerprint_ = fingerprint_of(artefacts.encoder_file)
        self.n_epochs_ = artefacts.metadata["epochs"]

    def _check_fitted(self) -> None:
        if not self.__sklearn_is_fitted__():
            raise HasherNotFittedError(
                "This SemanticHasher has not learned yet; call fit with data, or load a saved one."
            )

    def _generator(self) -> np.random.Generator:
        if self.random_state is None:
            return np.random.default_rng()
        return np.random.default_rng(check_random_state(self.random_state).randint(2**31))

    def _parameters(self) -> dict[str, Any]:
        parameters = dict(self.get_params(deep=False), hidden=[int(n) for n in self.hidden])
        if isinstance(self.random_state, np.random.RandomState):
            parameters["random_state"] = None
        return {
            name: value.item() if isinstance(value, np.generic) else value
            for name, value in parameters.items()
        }

    def _check_matrix(self, X: ArrayLike, *, reset: bool) -> NDArray[np.float32]:
        try:
            with np.errstate(over="ignore"):
                matrix = validate_data(self, X, reset=reset, dtype=np.float32, order="C")
        except TypeError as error:
            raise InputTypeError(str(error)) from error
        except ValueError as error:
            raise InputError(str(error)) from error
        largest = max(-float(matrix.min()), float(matrix.max()))
        if largest > MAX_VALUE:
            raise InputError(
                f"Expected values of at most {MAX_VALUE:g} in size, got {largest:g}; rescale the "
                "data."
            )
        return matrix


def _version() -> str:
    try:
        return metadata.version("hashret")
    except metadata.PackageNotFoundError:
        return "unknown"
