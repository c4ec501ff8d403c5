"""FAISS Flat, the peer that all answers are checked against."""

from __future__ import annotations

from benchmarking.peer import Codes, Nearest, Peer, Within, module


class Flat(Peer):
    """FAISS IndexBinaryFlat: compares every code; what all answers are checked against."""

    name = "FAISS Flat"

    def __init__(self) -> None:
        """Find the package."""
        self.faiss = module("faiss")
        self.faiss.omp_set_num_threads(1)

    def _build(self, codes: Codes, radius: int) -> None:  # noqa: ARG002 - serves any
        self.index = self.faiss.IndexBinaryFlat(codes.shape[1] * 8)
        self.index.add(codes)

    def within(self, queries: Codes, radius: int) -> Within:
        """FAISS excludes the radius itself."""
        lims, distances, rows = self.index.range_search(queries, radius + 1)
        return lims, rows, distances

    def nearest(self, queries: Codes, k: int) -> Nearest:
        """As FAISS returns them."""
        distances, rows = self.index.search(queries, k)
        return distances, rows
