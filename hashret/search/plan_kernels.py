"""Compiled: choose for each query how many bits to flip in which part.

By the pigeonhole principle, parts probed to ``done[p]`` flips (-1: not at all) reach every code
within ``sum(done[p] + 1) - 1`` bits: with one more difference than that, each part could have too
many. So reaching a radius takes radius + 1 steps of one more flip in some part, and any parts will
do. Each step takes the part where it is cheapest, which the sizes of buckets tell: the allocation
of thresholds of Qin et al., *GPH: Similarity Search in Hamming Space*, ICDE 2018, section 4, made
greedily; the price of a part's next step always grows, so greed is right.
"""

from __future__ import annotations

from math import comb
from typing import Any

import numpy as np
from numba import uint64

from hashret.search.compiling import kernel, prefetch

_WIDTHS = 26
BINOMIALS = np.array([[comb(n, k) for k in range(_WIDTHS + 1)] for n in range(_WIDTHS)], float)

PER_PROBE, PER_NEAR, PER_FAR, BUDGET = 0, 1, 2, 3
"""Places in ``costs``, seconds: a bucket, a code of part 0's, another part's; the most to spend."""

SAMPLES = 24
"""Buckets that tell how full those at some number of flips are."""
SAMPLING_SHARE = 0.1
"""Sizes are sampled where that takes at most this share of the plan, and of the budget."""
SAMPLED_LOW = 1.2
"""By so much more than they promise do plans by samples take: greed likes the low samples."""

_ONE = np.uint64(1)
_STEP, _INCREMENT = np.uint64(6364136223846793005), np.uint64(1442695040888963407)


@kernel(inline=True)
def _price(p: int, width: int, flips: int, density: float, costs: Any) -> Any:
    """Seconds to look up all buckets of part p at so many flips."""
    if flips > width:
        return 0.0  # nothing is left to look up: the part has led to every code
    each = costs[PER_NEAR] if p == 0 else costs[PER_FAR]
    return BINOMIALS[width, flips] * (costs[PER_PROBE] + density * each)


@kernel(inline=True)
def next_density(parts: Any, p: int, n: int, density: float) -> Any:
    """Codes a bucket one flip further out: half way to the average.

    Codes lie close to each other, so buckets near the query's are fuller.
    """
    average = n / (1 << parts[p, 2])
    return average + max(0.0, density - average) * 0.5


@kernel()
def own_buckets(view: Any, words: Any, size: int, keys: Any, sizes: Any) -> None:
    """For a block of queries, find the bucket of each part and how many codes it holds."""
    for q in range(size):
        for p in range(len(view.parts)):
            mask = (_ONE << uint64(view.parts[p, 2])) - _ONE
            keys[q, p] = (words[q, view.parts[p, 0]] >> uint64(view.parts[p, 1])) & mask
            prefetch(view.offsets, keys[q, p] + uint64(view.parts[p, 3]))
    for q in range(size):
        for p in range(len(view.parts)):
            bucket = keys[q, p] + uint64(view.parts[p, 3])
            sizes[q, p] = float(view.offsets[bucket + _ONE]) - float(view.offsets[bucket])


@kernel(inline=True)
def extend(
    view: Any, costs: Any, flips: Any, q: int, density: Any, sampled: Any, known: int, steps: int
) -> Any:
    """Take ``steps`` cheapest steps: raises ``flips[q]`` (m,); what they should cost.

    Args:
        view: the segment.
        costs: see above.
        flips: (any, m) how far each part was probed, -1 for not at all.
        q: the row of ``flips``.
        density: (m,) codes in a bucket at one flip more; changed on the way.
        sampled: (m, any) the same by flips, where it was sampled, else negative.
        known: how many columns of ``sampled`` are filled.
        steps: how many.

    Returns:
        Seconds, and the codes that will be met.
    """
    m = len(view.parts)
    total, candidates = 0.0, 0.0
    for _ in range(steps):
        best = 0
        least = np.inf
        for p in range(m):
            price = _price(p, view.parts[p, 2], flips[q, p] + 1, density[p], costs)
            if price < least:
                best, least = p, price
        if flips[q, best] == view.parts[best, 2]:
            break
        total += least
        flips[q, best] += 1
        candidates += BINOMIALS[view.parts[best, 2], flips[q, best]] * density[best]
        density[best] = next_density(view.parts, best, view.n, density[best])
        after = flips[q, best] + 1
        if after < known and sampled[best, after] >= 0:
            density[best] = sampled[best, after]
    return total, candidates


@kernel()
def cheapest(view: Any, costs: Any, flips: Any, density: Any, q: int) -> Any:
    """The part whose next step is the cheapest, and its price; -1 when all codes were reached."""
    best, least = 0, np.inf
    for p in range(len(view.parts)):
        price = _price(p, view.parts[p, 2], flips[q, p] + 1, density[q, p], costs)
        if price < least:
            best, least = p, price
    if flips[q, best] == view.parts[best, 2]:
        return -1, 0.0
    return best, least


@kernel(inline=True)
def sample_densities(view: Any, keys: Any, flips: Any, q: int, sampled: Any) -> None:
    """Look at some buckets at 1 to ``flips[q, p] + 1`` flips of each part: their mean size."""
    state = np.uint64(1)
    for p in range(len(view.parts)):
        for t in range(sampled.shape[1]):
            sampled[p, t] = -1.0
        width = view.parts[p, 2]
        base = uint64(view.parts[p, 3])
        for t in range(1, min(flips[q, p] + 2, width + 1, sampled.shape[1])):
            total = 0.0
            count = min(SAMPLES, int(BINOMIALS[width, t]))
            for i in range(count):
                mask = np.uint64(0)
                if t == 1 and count == width:
                    mask = _ONE << uint64(i)
                else:
                    left = t
                    while left:
                        state = state * _STEP + _INCREMENT
                        bit = _ONE << (((state >> uint64(32)) * uint64(width)) >> uint64(32))
                        if mask & bit == 0:
                            mask |= bit
                            left -= 1
                bucket = base + (keys[q, p] ^ mask)
                total += float(view.offsets[bucket + _ONE]) - float(view.offsets[bucket])
            sampled[p, t] = max(0.0, total / count)
