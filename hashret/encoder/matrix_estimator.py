"""What every estimator here asks of the matrix it is given, and of its caller."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.exceptions import NotFittedError as SklearnNotFittedError
from sklearn.utils import check_random_state
from sklearn.utils.validation import validate_data

from hashret.errors import InputError, NotFittedError

MAX_VALUE = 1e15


class HasherNotFittedError(NotFittedError, SklearnNotFittedError):
    """hashret's error, which scikit-learn recognises too."""


class InputTypeError(InputError, TypeError):
    """Data of a kind that is refused: sparse, or objects that are no numbers."""


class MatrixEstimator(TransformerMixin, BaseEstimator):
    """A scikit-learn transformer of finite, dense matrices that has a ``random_state``."""

    def _check_fitted(self) -> None:
        if not self.__sklearn_is_fitted__():
            raise HasherNotFittedError(
                f"This {type(self).__name__} has not learned yet; call fit with data, or load a "
                "saved one."
            )

    def _generator(self) -> np.random.Generator:
        random_state = self.get_params(deep=False)["random_state"]
        if random_state is None:
            return np.random.default_rng()
        return np.random.default_rng(check_random_state(random_state).randint(2**31))

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
