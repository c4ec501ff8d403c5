"""The parts into which a self-join cuts codes, and how many of them pay.

More parts make more choices of parts to go through, but fewer codes agree by chance. How many do is
estimated from a sample. With no more parts than the radius has bits, all codes are compared with
each other: best for few codes or a wide radius.
"""

from __future__ import annotations

from math import comb

import numpy as np
from numpy.typing import NDArray

from hashret.search.join_kernels import fill_keys
from hashret.search.layout import Words

SAMPLE = 4096
"""Codes from which the number of parts is estimated; so few are simply compared."""
PER_KEY, PER_MEMBER, PER_COMPARISON = 8e-9, 30e-9, 0.2e-9
"""Seconds: to sort a code by its key, to fetch one that agrees with another, to compare a word."""
PER_CHOICE = 1e-4

_TRIED = 8


def choose_parts(words: Words, radius: int, n_bits: int) -> int:
    """The number of parts by which the pairs of different codes are found the soonest.

    Args:
        words: the codes, shape ``(n, n_words)``.
        radius: in bits.
        n_bits: the length of a code.

    Returns:
        ``radius`` to ``n_bits``.
    """
    n, n_words = words.shape
    best, least = radius, n * (n / 2) * n_words * PER_COMPARISON
    if n <= SAMPLE:
        return best
    random = np.random.default_rng(0)
    sample = words[np.sort(random.choice(n, SAMPLE, replace=False))]
    for n_parts in range(radius + 1, n_bits + 1):
        n_choices = comb(n_parts, radius)
        if n_choices * (PER_CHOICE + n * PER_KEY) >= least:
            break
        masks = part_masks(n_parts, n_words)
        n_tried = min(n_choices, _TRIED)
        n_met = sum(
            _count_agreeing(sample, masks[random.permutation(n_parts)[radius:]])
            for _ in range(n_tried)
        )
        n_compared = n_met / n_tried * (n / SAMPLE) ** 2
        seconds = n_choices * (
            PER_CHOICE
            + n * PER_KEY
            + min(n, 2 * n_compared) * PER_MEMBER
            + n_compared * n_words * PER_COMPARISON
        )
        if seconds < least:
            best, least = n_parts, seconds
        if not n_met:
            break
    return best


def _count_agreeing(words: Words, masks: NDArray[np.uint64]) -> int:
    _, runs = np.unique(sorted_keys(words, masks) >> np.uint64(32), return_counts=True)
    return int((runs * (runs - 1) // 2).sum())


def part_masks(n_parts: int, n_words: int) -> NDArray[np.uint64]:
    """Cut words into parts, each of every ``n_parts``-th bit.

    Returns:
        ``uint64``, shape ``(n_parts, n_words)``.
    """
    masks = np.zeros((n_parts, n_words), dtype=np.uint64)
    for place in range(n_words * 64 if n_parts else 0):
        masks[place % n_parts, place // 64] |= np.uint64(1 << place % 64)
    return masks


def sorted_keys(words: Words, masks: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The keys, see ``join_kernels``, of codes by all bits of some parts together."""
    keys = np.empty(len(words), dtype=np.uint64)
    fill_keys(words, np.bitwise_or.reduce(masks, axis=0), keys)
    keys.sort()
    return keys
