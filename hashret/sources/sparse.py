"""Sparse matrices of SciPy, whose rows are made dense as they are asked for."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hashret.errors import InputError

MAX_WIDTH = 8192
"""Columns of a row that can be held, and learned from, when it is dense."""


def is_sparse(value: Any) -> bool:
    """Whether this is a sparse matrix or array, of any format."""
    return hasattr(value, "tocsr") and hasattr(value, "toarray")


class SparseRows:
    """A sparse matrix, of which only the rows that are asked for become dense.

    Attributes:
        shape: its shape.
        dtype: its type.

    Raises:
        InputError: it is too wide for its rows to be dense.
    """

    def __init__(self, matrix: Any) -> None:
        """Take a sparse matrix."""
        self.shape: tuple[int, ...] = tuple(matrix.shape)
        self.dtype: np.dtype[Any] = np.dtype(matrix.dtype)
        if self.ndim == 2 and self.shape[1] > MAX_WIDTH:
            raise InputError(
                f"A sparse matrix of {self.shape[1]:,} columns is too wide to learn from, which "
                f"takes at most {MAX_WIDTH:,}: reduce it first, with "
                "sklearn.decomposition.TruncatedSVD(256).fit_transform(X)."
            )
        self._matrix = matrix.tocsr() if self.ndim == 2 else matrix

    @property
    def ndim(self) -> int:
        """The number of dimensions."""
        return len(self.shape)

    def __len__(self) -> int:
        """The number of rows."""
        return self.shape[0] if self.shape else 0

    def __getitem__(self, place: int | slice) -> NDArray[Any]:
        """A row, or rows, as a dense array."""
        dense = np.asarray(self._matrix[place].toarray())
        return dense if isinstance(place, slice) else dense.reshape(-1)
