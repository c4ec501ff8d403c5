"""The hasher's parameters: their defaults that depend on the data, and their ranges."""

from __future__ import annotations

import math
from numbers import Integral, Real
from typing import Any

from sklearn.utils import check_random_state

from hashret.codes import check_n_bits
from hashret.errors import UsageError

DEFAULT_STEPS = 1500
EPOCH_RANGE = (3, 200)


def default_mu(n_bits: int) -> float:
    """The squared code length that suited 16, 32 and 64 bits (6, 10, 16), for any length."""
    return 0.87 * n_bits**0.7


def default_epochs(n_rows: int, batch_size: int) -> int:
    """The passes that make about 1,500 steps, in 3 to 200."""
    steps_per_epoch = max(1, n_rows // batch_size)
    return min(max(math.ceil(DEFAULT_STEPS / steps_per_epoch), EPOCH_RANGE[0]), EPOCH_RANGE[1])


def check_parameters(parameters: dict[str, Any]) -> None:
    """Check the parameters of a ``SemanticHasher``, by name.

    Raises:
        UsageError: one is out of its range; the message names it.
    """
    check_n_bits(parameters["n_bits"])
    hidden = parameters["hidden"]
    if not isinstance(hidden, list | tuple):
        raise UsageError(f"hidden must be a list or tuple of layer widths, not {hidden!r}.")
    for units in hidden:
        _check_number("a layer width in hidden", units, Integral, 1)
    for name in ("batch_size", "n_neighbors", "walk_length", "patience"):
        _check_number(name, parameters[name], Integral, 1)
    for name in ("reconstruction_weight", "neighbour_weight", "validation_fraction"):
        _check_number(name, parameters[name], Real, 0)
    _check_number("learning_rate", parameters["learning_rate"], Real, 0, inclusive=False)
    if parameters["epochs"] is not None:
        _check_number("epochs", parameters["epochs"], Integral, 1)
    if parameters["mu"] is not None:
        _check_number("mu", parameters["mu"], Real, 0, inclusive=False)
    fraction, seed = parameters["validation_fraction"], parameters["random_state"]
    if fraction >= 1:
        raise UsageError(f"validation_fraction must be below 1, not {fraction!r}.")
    try:
        if seed is not None:
            check_random_state(seed)
    except ValueError as error:
        raise UsageError(
            "random_state must be None, a whole number or a numpy.random.RandomState, not "
            f"{seed!r}."
        ) from error


def _check_number(
    name: str, value: Any, kind: type, least: float, *, inclusive: bool = True
) -> None:
    numeric = isinstance(value, kind) and not isinstance(value, bool)
    size = float(value) if numeric else math.nan
    if not math.isfinite(size) or not (size >= least if inclusive else size > least):
        noun = "a whole number" if kind is Integral else "a number"
        bound = f"of at least {least:g}" if inclusive else f"above {least:g}"
        raise UsageError(f"{name} must be {noun} {bound}, not {value!r}.")
