"""Items by code in a direct-address hash table, probed by flipping bits.

The classic semantic-hashing table (Salakhutdinov and Hinton, *Semantic Hashing*, 2009, section 3)
addresses memory by the code itself and finds neighbours by flipping bits. A code longer than the
address is folded to it by a linear map over GF(2): every bit of a code has an address mask, and the
bucket of a code is the XOR of the masks of its set bits. So flipping bits of the code XORs a fixed
mask onto the bucket, and one cached list of masks reaches the ball around any query.
"""

from __future__ import annotations

from functools import lru_cache
from math import comb, inf
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hashret.codes import Codes
from hashret.errors import DamagedIndexError

MAX_RING_PROBES = 1 << 18
"""A wider ring is never listed: 2 MiB of masks, and probing it costs more than a scan."""


class HashTable:
    """Buckets over codes that lie in bucket order: bucket b owns ``offsets[b]:offsets[b + 1]``."""

    def __init__(self, offsets: NDArray[np.uint32], n_bits: int) -> None:
        """Wrap ``offsets``, shape ``(2**bucket_bits + 1,)``, of codes of ``n_bits`` bits."""
        self.offsets = offsets
        self.n_bits = n_bits
        self.bucket_bits = (len(offsets) - 1).bit_length() - 1

    @classmethod
    def build(cls, codes: Codes) -> tuple[HashTable, NDArray[np.intp]]:
        """Build the table of ``codes``, shape ``(n, n_bits / 8)``.

        Returns:
            The table, and the order, shape ``(n,)``, into which the codes must be put for it.
        """
        n, n_bits = len(codes), codes.shape[1] * 8
        # About one code a bucket: narrower means more candidates, wider means cache misses.
        bucket_bits = min(n_bits, max(1, (n - 1).bit_length()))
        table = _byte_masks(n_bits, bucket_bits)
        buckets = np.zeros(n, dtype=np.uint32)
        for byte in range(codes.shape[1]):
            buckets ^= table[byte].astype(np.uint32)[codes[:, byte]]
        offsets = np.zeros((1 << bucket_bits) + 1, dtype=np.uint32)
        np.cumsum(np.bincount(buckets, minlength=1 << bucket_bits), out=offsets[1:])
        # Sorting (bucket, position) as one number is several times faster than argsort.
        order = buckets.astype(np.uint64) << np.uint64(32) | np.arange(n, dtype=np.uint64)
        order.sort()
        order &= np.uint64(0xFFFFFFFF)
        return cls(offsets, n_bits), order.astype(np.intp, copy=False)

    def probes(self, first: int, last: int) -> float:
        """How many buckets rings ``first`` to ``last`` add at most; inf if too many to list."""
        rings = [comb(self.n_bits, d) for d in range(first, last + 1)]
        return inf if max(rings) > MAX_RING_PROBES else min(sum(rings), len(self.offsets) - 1)

    def spans(self, code: Codes, first: int, last: int) -> tuple[int, NDArray[Any], NDArray[Any]]:
        """Look up the buckets that rings ``first`` to ``last`` (in bits) around ``code`` add.

        A code at distance d lies in a bucket of ring d or of an earlier one, and no bucket comes
        twice: once rings 0 to d are looked up, each code within d was seen exactly once.

        Returns:
            The number of buckets, and start and size of each one that holds codes.

        Raises:
            DamagedIndexError: the offsets make no sense.
        """
        masks = (
            _ball(self.n_bits, self.bucket_bits, last)
            if first == 0
            else (_shell(self.n_bits, self.bucket_bits, last))
        )
        byte_masks = _byte_masks(self.n_bits, self.bucket_bits)
        buckets = masks ^ np.bitwise_xor.reduce(byte_masks[np.arange(len(code)), code])
        starts = self.offsets[buckets].astype(np.intp)
        sizes = self.offsets[buckets + 1].astype(np.intp) - starts
        filled = np.flatnonzero(sizes)
        return len(buckets), starts[filled], sizes[filled]

    def positions(self, starts: NDArray[Any], sizes: NDArray[Any], n: int) -> NDArray[np.intp]:
        """The positions, among ``n`` codes, that the spans of :meth:`spans` cover.

        Raises:
            DamagedIndexError: the spans do not lie within the codes.
        """
        if not len(starts):
            return np.empty(0, dtype=np.intp)
        if sizes.min() < 0 or int((starts + sizes).max()) > n:
            raise DamagedIndexError(
                "The hash table (offsets.npy) points outside the codes: the file was altered. "
                "Search files are derived: delete their folder and build them again."
            )
        ends = np.cumsum(sizes)
        return np.repeat(starts - ends + sizes, sizes) + np.arange(ends[-1])


def _splitmix64(i: int) -> int:
    """The i-th number of the SplitMix64 generator: the same in every version of everything."""
    z = (i + 1) * 0x9E3779B97F4A7C15 & 0xFFFFFFFFFFFFFFFF
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 & 0xFFFFFFFFFFFFFFFF
    z = (z ^ z >> 27) * 0x94D049BB133111EB & 0xFFFFFFFFFFFFFFFF
    return z ^ z >> 31


@lru_cache(maxsize=32)
def _bit_masks(n_bits: int, bucket_bits: int) -> NDArray[np.intp]:
    """The address mask of each bit of a code, shape ``(n_bits,)``.

    The first ``bucket_bits`` bits are the address, which makes the map one-to-one on short codes;
    the others get random masks, so that codes which share their first bits spread out too.
    """
    first = [1 << bucket_bits - 1 - i for i in range(bucket_bits)]
    others = [_splitmix64(i) >> 64 - bucket_bits for i in range(bucket_bits, n_bits)]
    return np.array(first + others, dtype=np.intp)


@lru_cache(maxsize=32)
def _byte_masks(n_bits: int, bucket_bits: int) -> NDArray[np.intp]:
    """The address mask of each value of each byte of a code, shape ``(n_bits / 8, 256)``."""
    bits = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1)
    masks = _bit_masks(n_bits, bucket_bits).reshape(-1, 1, 8)
    return np.asarray(np.bitwise_xor.reduce(bits * masks, axis=2), dtype=np.intp)


@lru_cache(maxsize=32)
def _ring(n_bits: int, bucket_bits: int, d: int) -> NDArray[np.intp]:
    """The XOR of every d of the bit masks, in the order of the highest bit taken."""
    if d == 0:
        return np.zeros(1, dtype=np.intp)
    masks = _bit_masks(n_bits, bucket_bits)
    inner = _ring(n_bits, bucket_bits, d - 1)
    # In this order the sets that use only bits below i come first, and there are comb(i, d - 1).
    return np.concatenate([inner[: comb(i, d - 1)] ^ masks[i] for i in range(n_bits)])


@lru_cache(maxsize=32)
def _shell(n_bits: int, bucket_bits: int, d: int) -> NDArray[np.intp]:
    """The masks of ring d that no smaller ring has, ascending and unique."""
    ring = np.unique(_ring(n_bits, bucket_bits, d))
    if d == 0:
        return ring
    return np.setdiff1d(ring, _ball(n_bits, bucket_bits, d - 1), assume_unique=True)


@lru_cache(maxsize=32)
def _ball(n_bits: int, bucket_bits: int, radius: int) -> NDArray[np.intp]:
    """The masks of rings 0 to ``radius``, ascending and unique."""
    return np.sort(np.concatenate([_shell(n_bits, bucket_bits, d) for d in range(radius + 1)]))
