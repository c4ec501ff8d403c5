"""The estimator contract that every hasher keeps, whatever it learns."""

from __future__ import annotations

import os
from importlib import import_module, metadata
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import Tags

from hashret.codes import Codes, as_codes, unpack
from hashret.encoder.artefacts import Artefacts
from hashret.encoder.matrix_estimator import MatrixEstimator
from hashret.encoder.runtime import fingerprint_of
from hashret.errors import DamagedIndexError, EncoderMismatchError, InputError

_HOMES = {
    "SemanticHasher": "hashret.encoder.hasher",
    "RandomHyperplanes": "hashret.encoder.baselines",
    "PCAHash": "hashret.encoder.baselines",
    "SpectralHashing": "hashret.encoder.baselines",
    "ITQ": "hashret.encoder.baselines",
}


class CodeEstimator(MatrixEstimator):
    """A scikit-learn transformer from feature rows to packed binary codes.

    A subclass stores its parameters in ``__init__``, and in ``fit`` checks the data by
    ``_check_matrix`` and hands what it has learned to ``_adopt``. Its name goes into the metadata,
    and into ``_HOMES``, by which :func:`open_hasher` finds it again.

    Attributes:
        artefacts_: the learned model files and their metadata.
        fingerprint_: 16 hexadecimal digits that name the encoder.
        n_features_in_: width of the data.
    """

    artefacts_: Artefacts
    fingerprint_: str
    n_features_in_: int

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
            DamagedIndexError: the decoder is damaged, or belongs to another encoder.
        """
        self._check_fitted()
        packed = as_codes(codes)
        expected = self.artefacts_.encoder.n_bits
        if packed.shape[1] * 8 != expected:
            raise EncoderMismatchError(
                f"This hasher has codes of {expected} bits; got codes of {packed.shape[1] * 8} "
                "bits. Use the hasher that made them."
            )
        self.artefacts_.decoder.require(expected, self.n_features_in_)
        return self.artefacts_.decoder.decode(unpack(packed).astype(np.float32))

    def reconstruction_error(self, X: ArrayLike) -> NDArray[np.float64]:
        """How much of each item its bits lose: large for items unlike those learned from.

        The mean squared error between a row and its reconstruction, in features scaled as the
        network's inputs (or, where counts are reconstructed as shares, between the shares).

        Args:
            X: numbers, shape ``(n, d)``, finite, of the width that was learned from.

        Returns:
            ``float64``, shape ``(n,)``.

        Raises:
            NotFittedError: the hasher has not learned yet.
            InputError: ``X`` is no such matrix.

        Example:
            >>> errors = hasher.reconstruction_error(X)  # doctest: +SKIP
            >>> unlike_the_others = np.argsort(-errors)[:10]  # doctest: +SKIP
        """
        self._check_fitted()
        rows = self._check_matrix(X, reset=False)
        return self.artefacts_.decoder.reconstruction_errors(rows, self.artefacts_.encoder)

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

        ``CodeEstimator.load`` reads one of any class, as :func:`open_hasher` does.

        Raises:
            InputError: there is no such folder, or it holds a hasher of another class.
            DamagedIndexError: a file is missing or is not the one that was written.
        """
        artefacts = Artefacts.read(Path(folder))
        # Folders written before there were several classes name none.
        name = artefacts.metadata.get("estimator", "SemanticHasher")
        if name not in _HOMES:
            raise DamagedIndexError(
                f"{folder} holds a hasher of the class {name!r}, which this hashret does not know; "
                f"it was written by version {artefacts.metadata.get('hashret')}."
            )
        found = getattr(import_module(_HOMES[name]), name)
        if not issubclass(found, cls):
            raise InputError(
                f"{folder} holds a {name}, not a {cls.__name__}; {name}.load and "
                "hashret.encoder.open_hasher read it."
            )
        try:
            hasher = found(**artefacts.metadata["parameters"])
            hasher.n_features_in_ = artefacts.metadata["n_features"]
        except (KeyError, TypeError) as error:
            raise DamagedIndexError(
                f"The parameters in {folder} are not those of this version of hashret ({error}); "
                f"it was written by version {artefacts.metadata.get('hashret')}."
            ) from error
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

    def _facts(self, n_rows: int) -> dict[str, Any]:
        """Metadata that every hasher writes, JSON values: what it is and what it learned from."""
        return {
            "hashret": _version(),
            "estimator": type(self).__name__,
            "parameters": self._parameters(),
            "n_bits": int(self.get_params(deep=False)["n_bits"]),
            "n_features": int(self.n_features_in_),
            "rows": int(n_rows),
        }

    def _adopt(self, artefacts: Artefacts) -> None:
        self.artefacts_ = artefacts
        self.fingerprint_ = fingerprint_of(artefacts.encoder_file)

    def _parameters(self) -> dict[str, Any]:
        return {name: _as_json(value) for name, value in self.get_params(deep=False).items()}


def open_hasher(folder: str | os.PathLike[str]) -> CodeEstimator:
    """Read a hasher that was saved, whatever its class.

    Raises:
        InputError: there is no such folder.
        DamagedIndexError: a file is missing or is not the one that was written.

    Example:
        >>> open_hasher("indexes/fashion/encoder")  # doctest: +SKIP
        SemanticHasher()
    """
    return CodeEstimator.load(folder)


def _version() -> str:
    try:
        return metadata.version("hashret")
    except metadata.PackageNotFoundError:
        return "unknown"


def _as_json(value: Any) -> Any:
    if isinstance(value, np.random.RandomState):
        return None
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, list | tuple | np.ndarray):
        return [_as_json(one) for one in value]
    return value
