"""Compare queries with every code: the way to answer a wide ball.

NumPy does it for a single query and for few codes; FAISS (``hamming_range_search``) is faster for
long codes and for batches, and is imported once scans have cost as much as importing it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from hashret.search import planner
from hashret.search.found import Collect, Ranking
from hashret.search.layout import Words
from hashret.search.threads import in_threads, n_cores, slices

FIRST_BLOCK = 2048
"""Codes: a first look that gives each ranking with a limit a bound, which keeps later hits few."""
GROWTH = 8
"""By so much the next block may be larger, until it is as large as any."""
NUMPY_BLOCK = 1 << 16
"""Machine words of codes at a time: what stays in the cache of a core."""
FAISS_BLOCK = 1 << 22
"""Pairs of query and code at a time: bounds the memory for hits in flight to 50 MB a thread."""
QUERY_BLOCK = 32

_HitsOfQuery: TypeAlias = tuple[int, NDArray[np.intp], NDArray[Any]]
_Compare: TypeAlias = Callable[[Words, Words, list[int]], Iterator[_HitsOfQuery]]


def distances(words: Words, query: Words) -> NDArray[Any]:
    """Hamming distances in bits, shape ``(n,)``, of codes to one query, given as words."""
    total: NDArray[Any] = np.bitwise_count(words[:, 0] ^ query[0])
    if words.shape[1] > 1:
        total = total.astype(np.uint16)
        for j in range(1, words.shape[1]):
            total += np.bitwise_count(words[:, j] ^ query[j])
    return total


def scan(words: Words, queries: Words, rankings: Sequence[Ranking], collect: Collect) -> None:
    """Add to the ranking of each query all codes within its bound.

    Args:
        words: the codes, shape ``(n, n_words)``.
        queries: shape ``(nq, n_words)``, in the same order of bits.
        rankings: one for each query; a bound is narrowed as its hits come in.
        collect: turns positions and distances into hits.
    """
    n, n_words = words.shape
    if not planner.scans_with_faiss(n, n_words, len(queries)):
        for own in slices(len(queries), QUERY_BLOCK):
            largest = NUMPY_BLOCK // n_words
            _scan_blocks(words, queries[own], rankings[own], collect, _numpy_hits, largest)
        planner.count_numpy_scan(n, n_words, len(queries))
        return
    import faiss

    size = min(QUERY_BLOCK, -(-len(queries) // n_cores()))

    def run(own: slice) -> None:
        # The threads of OpenMP spin while they wait, which on a busy machine makes these short
        # calls 20 times slower; the number set here holds for the calling thread alone.
        before = faiss.omp_get_max_threads()
        faiss.omp_set_num_threads(1)
        try:
            largest = FAISS_BLOCK // size
            _scan_blocks(words, queries[own], rankings[own], collect, _faiss_hits, largest)
        finally:
            faiss.omp_set_num_threads(before)

    in_threads(run, slices(len(queries), size))


def _scan_blocks(
    words: Words,
    queries: Words,
    rankings: Sequence[Ranking],
    collect: Collect,
    hits: _Compare,
    largest: int,
) -> None:
    """Scan blocks of at most ``largest`` codes, each with the bounds that those before it left."""
    size = largest if rankings[0].limit is None else FIRST_BLOCK
    start = 0
    while start < len(words):
        bounds = [ranking.bound for ranking in rankings]
        for i, positions, found in hits(words[start : start + size], queries, bounds):
            rankings[i].add(collect(positions + start, found))
        start += size
        size = min(GROWTH * size, largest)


def _numpy_hits(words: Words, queries: Words, bounds: list[int]) -> Iterator[_HitsOfQuery]:
    for i, (query, bound) in enumerate(zip(queries, bounds, strict=True)):
        found = distances(words, query)
        positions = np.flatnonzero(found <= bound)
        yield i, positions, found[positions]


def _faiss_hits(words: Words, queries: Words, bounds: list[int]) -> Iterator[_HitsOfQuery]:
    import faiss

    codes = words.view(np.uint8)
    for bound in set(bounds):
        members = [i for i, own in enumerate(bounds) if own == bound]
        some = np.ascontiguousarray(queries[members]).view(np.uint8)
        result = faiss.RangeSearchResult(len(members))
        faiss.hamming_range_search(  # type: ignore[attr-defined]  # its stubs lack this
            faiss.swig_ptr(some),
            faiss.swig_ptr(codes),
            len(some),
            len(codes),
            bound + 1,  # FAISS takes what is strictly nearer
            codes.shape[1],
            result,
        )
        lims = faiss.rev_swig_ptr(result.lims, len(some) + 1)
        labels = faiss.rev_swig_ptr(result.labels, int(lims[-1]))
        found = faiss.rev_swig_ptr(result.distances, int(lims[-1]))
        for j, i in enumerate(members):
            own = slice(int(lims[j]), int(lims[j + 1]))
            yield i, labels[own].astype(np.intp), found[own].astype(np.uint16)
