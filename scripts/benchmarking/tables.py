"""Peers with hash tables, set so that they are exact.

By the pigeonhole principle, codes within a radius agree in one of several disjoint parts up to
radius / parts bits. Which parts is chosen for the number of codes and the radius, by the costs of
probes and candidates that were measured on each peer. What a peer's interface lacks, such as balls
that grow until they hold the k nearest, is added here, at a few microseconds a call.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from math import comb

import numpy as np

from benchmarking.flat import Flat
from benchmarking.peer import Codes, Nearest, Peer, Unavailable, Within, lims, module

MAX_PROBES = 20_000_000


class FaissHash(Flat):
    """FAISS IndexBinaryHash: one table of the first bits, probed with all flips up to the radius.

    Its search for the nearest sees one ball only, so it is exact for a radius alone.
    """

    name = "FAISS Hash"
    no_nearest = "finds the nearest only approximately"
    radius_matters = True

    def _build(self, codes: Codes, radius: int) -> None:
        n_bits = codes.shape[1] * 8
        _, self.bits = min(
            (_cost(len(codes), 1, bits, radius, 0.07, 0.01), bits)
            for bits in range(8, min(n_bits, 32) + 1)
        )
        self.settings = f"b = {self.bits}"
        self.index = self.faiss.IndexBinaryHash(n_bits, self.bits)
        self.index.add(codes)

    def within(self, queries: Codes, radius: int) -> Within:
        """Bits outside the table are free to differ, so all flips are tried."""
        self.index.nflip = min(radius, self.bits)
        _check_probes(1, self.bits, self.index.nflip)
        return super().within(queries, radius)


class FaissMultiHash(Flat):
    """FAISS IndexBinaryMultiHash: tables of disjoint parts; one of them differs in few bits."""

    name = "FAISS MultiHash"
    radius_matters = True

    def _build(self, codes: Codes, radius: int) -> None:
        self.n_bits = codes.shape[1] * 8
        _, self.tables, self.bits = min(
            (_cost(len(codes), tables, bits, radius, 0.07, 0.2), tables, bits)
            for tables in range(1, self.n_bits // 8 + 1)
            for bits in range(8, min(self.n_bits // tables, 32) + 1)
        )
        self.settings = f"nhash = {self.tables}, b = {self.bits}"
        self.index = self.faiss.IndexBinaryMultiHash(self.n_bits, self.tables, self.bits)
        self.index.add(codes)

    def _reach(self, radius: int) -> None:
        self.index.nflip = min(radius // self.tables, self.bits)
        _check_probes(self.tables, self.bits, self.index.nflip)

    def within(self, queries: Codes, radius: int) -> Within:
        """By the pigeonhole principle, some part differs in radius / parts bits at most."""
        self._reach(radius)
        return super().within(queries, radius)

    def nearest(self, queries: Codes, k: int) -> Nearest:
        """Ask for larger balls until each has k codes that nothing outside can beat."""

        def search(some: Codes, radius: int) -> Nearest:
            self._reach(radius)
            distances, rows = self.index.search(some, k)
            return np.where(rows < 0, self.n_bits + 1, distances), rows

        return _growing(search, queries, k, self.tables, self.n_bits)


class PynearMIH(Peer):
    """pynear's multi-index hashing."""

    name = "pynear MIH"
    radius_matters = True

    def __init__(self) -> None:
        """Find the package."""
        self.make = module("pynear").MIHBinaryIndex
        self.most_hits = 256

    def _build(self, codes: Codes, radius: int) -> None:
        n_bytes = codes.shape[1]
        options = [m for m in range(1, n_bytes + 1) if n_bytes % m == 0 and n_bytes // m <= 4]
        costs = [_cost(len(codes), m, 8 * n_bytes // m, radius, 0.015, 0.03) for m in options]
        self.n, self.n_bits = len(codes), 8 * n_bytes
        self.tables = options[int(np.argmin(costs))]
        self.settings = f"m = {self.tables}"
        self.index = self.make(self.tables)
        self.index.set(codes)

    def _search(self, queries: Codes, k: int, radius: int) -> Nearest:
        _check_probes(self.tables, self.n_bits // self.tables, radius // self.tables)
        rows, distances = self.index.searchKNN_arrays(queries, k, radius)
        return np.where(rows < 0, self.n_bits + 1, distances), rows

    def within(self, queries: Codes, radius: int) -> Within:
        """It returns the k nearest within a radius; k grows until all of them fit."""
        while True:
            distances, rows = self._search(queries, min(self.most_hits, self.n), radius)
            if distances.shape[1] == self.n or not (distances[:, -1] <= radius).any():
                break
            self.most_hits *= 4
        keep = distances <= radius
        return lims(keep.sum(axis=1)), rows[keep], distances[keep]

    def nearest(self, queries: Codes, k: int) -> Nearest:
        """Ask for larger balls until each has k codes that nothing outside can beat."""
        return _growing(lambda q, r: self._search(q, k, r), queries, k, self.tables, self.n_bits)


def _ball(n_bits: int, radius: int) -> int:
    return sum(comb(n_bits, i) for i in range(min(radius, n_bits) + 1))


def _cost(n: int, tables: int, bits: int, radius: int, probe: float, candidate: float) -> float:
    """Microseconds that tables of random codes take, from those of a probe and of a candidate."""
    probes = tables * _ball(bits, radius // tables)
    return probes * (probe + n / 2**bits * candidate)


@cache
def _may_probe(tables: int, bits: int, flips: int) -> bool:
    return tables * _ball(bits, flips) <= MAX_PROBES


def _check_probes(tables: int, bits: int, flips: int) -> None:
    if not _may_probe(tables, bits, flips):
        raise Unavailable(f"needs more than {MAX_PROBES:,} probes for a query")


def _growing(
    search: Callable[[Codes, int], Nearest], queries: Codes, k: int, step: int, n_bits: int
) -> Nearest:
    """The k nearest by balls that grow by a bit of each table until they hold k codes."""
    distances = np.empty((len(queries), k), dtype=np.int32)
    rows = np.empty((len(queries), k), dtype=np.int64)
    todo = np.arange(len(queries))
    for radius in range(step - 1, n_bits + step, step):
        distances[todo], rows[todo] = search(queries[todo], radius)
        todo = todo[distances[todo, -1] > radius]
        if not len(todo):
            break
    return distances, rows
