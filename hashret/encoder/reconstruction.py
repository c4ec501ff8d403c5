"""How much of rows their bits lose, whatever decodes them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hashret.codes import unpack
from hashret.encoder.runtime import Encoder

DECODE_ROWS = 1024


class Measure(NamedTuple):
    """In what rows are compared with what is made of their bits.

    Attributes:
        scale: of raw features, where they become the network's inputs.
        shares: whether counts are compared as shares of their sum.
    """

    scale: float
    shares: bool


def reconstruction_errors(
    rows: NDArray[np.float32],
    encoder: Encoder,
    decode: Callable[[NDArray[np.float32]], NDArray[Any]],
    measure: Measure,
) -> NDArray[np.float64]:
    """Mean squared error of each row's reconstruction from its bits, as the network sees it.

    Args:
        rows: raw features, shape ``(n, d)``.
        encoder: rows -> codes.
        decode: bits as zeros and ones, shape ``(n, n_bits)``, -> features, shape ``(n, d)``.
        measure: in what they are compared.

    Returns:
        Shape ``(n,)``.
    """
    errors = np.empty(len(rows))
    for start in range(0, len(rows), DECODE_ROWS):
        block = rows[start : start + DECODE_ROWS]
        bits = unpack(encoder.encode(block)).astype(np.float32)
        targets = block.astype(np.float64)
        if measure.shares:
            sums = targets.sum(axis=1, keepdims=True)
            targets = np.divide(targets, sums, out=np.zeros_like(targets), where=sums != 0)
        difference = (targets - decode(bits)) * measure.scale
        errors[start : start + DECODE_ROWS] = np.square(difference).mean(axis=1)
    return errors
