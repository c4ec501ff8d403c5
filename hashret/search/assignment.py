"""Assign the bits of codes to parts by what a sample says about them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hashret.codes import Codes, unpack

OVERLAP = 0.5
"""What two bits share counts by so much: summed over pairs, what several share comes repeatedly."""


def assign_bits(
    sample: Codes, part_widths: Sequence[Sequence[int]], word_bits: Sequence[int]
) -> tuple[int, ...]:
    """Choose a place for each bit, so that codes spread evenly over the values of each part.

    Greedy: the part with the least information so far takes the bit that adds most to it, which is
    the bit's entropy less what it shares with the bits that are there. What is left, bits that
    hardly vary or repeat others, lies at the places outside of all parts.

    Args:
        sample: ``uint8``, shape ``(n, n_bits / 8)``; n may be 0.
        part_widths: the bits of each part of each word.
        word_bits: the bits of each word.

    Returns:
        The bit at each place: in a word those of its parts come first.
    """
    entropy, shared = _information(sample)
    widths = [width for own in part_widths for width in own]
    gains = np.tile(entropy, (len(widths), 1))
    members: list[list[int]] = [[] for _ in widths]
    held = [0.0] * len(widths)
    free = np.ones(len(entropy), dtype=bool)
    for _ in range(sum(widths)):
        poorest = min(
            (i for i, width in enumerate(widths) if len(members[i]) < width),
            key=lambda i: held[i],
        )
        bit = int(np.argmax(np.where(free, gains[poorest], -np.inf)))
        free[bit] = False
        members[poorest].append(bit)
        held[poorest] += max(0.0, float(gains[poorest, bit]))
        gains[poorest] -= OVERLAP * shared[bit]
    left = iter(np.flatnonzero(free).tolist())
    taken = iter(members)
    order: list[int] = []
    for own, size in zip(part_widths, word_bits, strict=True):
        bits = [bit for _ in own for bit in next(taken)]
        order += bits + [next(left) for _ in range(size - len(bits))]
    return tuple(order)


def _information(sample: Codes) -> tuple[NDArray[np.float64], NDArray[Any]]:
    """The entropy of each bit, and what each two bits share (mutual information), in bits."""
    bits = unpack(sample).astype(np.float32)
    n = len(bits)
    counts = np.arange(n + 1)
    terms = -counts / max(n, 1) * np.log2(np.maximum(counts, 1) / max(n, 1))
    # Sums of zeros and ones are exact in float32 up to 2**24, in whatever order they are added.
    both = (bits.T @ bits).astype(np.intp)
    ones = np.diagonal(both)
    entropy = terms[ones] + terms[n - ones]
    left, right = ones[:, None] - both, ones[None, :] - both
    joint = terms[both] + terms[left] + terms[right] + terms[n - both - left - right]
    return entropy, entropy[:, None] + entropy[None, :] - joint
