"""Measure what the steps of a compiled search take on this machine.

What matters is where codes lie, not what they are: so the segments that are probed are made up,
which takes no sorting. Whatever else runs on a machine makes a step take longer, never shorter: so
the least of several times counts.
"""

from __future__ import annotations

from dataclasses import replace
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hashret.search.compiled import N_TRACE
from hashret.search.layout import WORD_BITS, Layout
from hashret.search.machine import Costs
from hashret.search.prepared import prepare
from hashret.search.query_kernels import T_CANDIDATES, T_PROBES, probe_within
from hashret.search.scan_kernels import scan_within
from hashret.search.segment import Segment

_PROBED = (1 << 15, 1 << 18, 1 << 21, 1 << 23)
"""Words of the segments: they lie in the second cache, in the third, and in neither."""
_SCANNED = (1 << 15, 1 << 20, 1 << 23)
_LENGTHS = (1, 2, 8)
"""Words of a code."""
_DENSITIES = {1: 32, 8: 16, 64: 8}
"""Codes of a bucket, and how many queries are asked at a time."""
_FLIPS = 3
_REPEATS = 7
_MANY, _SHARING = 256, 16
_LEAST = 1e-12

_ALL = np.empty(0, dtype=np.uint8)
_WITHOUT_LIMIT = (1.0, 1.0, 1.0, np.inf)


class _Times(NamedTuple):
    """What a query took: seconds, buckets and codes."""

    seconds: float
    probes: float
    candidates: float


def measure_costs() -> Costs:
    """Measure all figures on this machine, in a second or two and 300 MB.

    Where the kernels were never compiled, that comes on top.
    """
    rng = np.random.default_rng(0)
    words = np.ones(_PROBED[-1], dtype=np.uint64)
    numbers = rng.integers(0, 1 << 32, len(words), dtype=np.uint32)
    small = _make(words[: _PROBED[0]], 1, 1, numbers, rng)
    for segment in (small, _near(small)):  # for whatever is still to be compiled
        _probe(segment, 1, 0, rng)
    per_call = _quickest(small, 1, -1, rng).seconds
    per_query = max(_quickest(small, _MANY, 0, rng).seconds - per_call / _MANY, _LEAST)
    footprints, fits = zip(
        *(_fit(words[:size], numbers, per_call, per_query, rng) for size in _PROBED), strict=True
    )
    per_probe, *others = (tuple(row.tolist()) for row in np.array(fits).T)
    call, *scans = (_scan(words[:size], 1, rng) for size in (0, *_SCANNED))
    shared_call, shared = (_scan(words[:size], _SHARING, rng) for size in (0, _PROBED[1]))
    return Costs(
        footprints=footprints,
        per_probe=per_probe,
        n_words=_LENGTHS,
        per_near=tuple(others[: len(_LENGTHS)]),
        per_far=tuple(others[len(_LENGTHS) :]),
        per_query=per_query,
        per_call=per_call,
        scan_footprints=tuple(float(words[:size].nbytes) for size in _SCANNED),
        per_scanned_word=tuple(
            max((seconds - call) / size, _LEAST)
            for seconds, size in zip(scans, _SCANNED, strict=True)
        ),
        per_batched_word=max((shared - shared_call) / _PROBED[1] / _SHARING, _LEAST),
    )


def _fit(
    words: NDArray[np.uint64],
    numbers: NDArray[np.uint32],
    per_call: float,
    per_query: float,
    rng: np.random.Generator,
) -> tuple[float, NDArray[np.float64]]:
    """Fit what probing segments of some words takes, by the least squares of relative errors.

    Returns:
        Their bytes; and seconds a probe, a near code and a far code, of each length.
    """
    steps, seconds, footprints = [], [], []
    for place, n_words in enumerate(_LENGTHS):
        for density, n_queries in _DENSITIES.items():
            far = _make(words, n_words, density, numbers, rng)
            footprints.append(far.nbytes)
            for kind, segment in enumerate((_near(far), far)):
                times = _quickest(segment, n_queries, _FLIPS, rng)
                row = np.zeros(1 + 2 * len(_LENGTHS))
                row[0] = times.probes
                row[1 + kind * len(_LENGTHS) + place] = times.candidates
                steps.append(row)
                seconds.append(max(times.seconds - per_call / n_queries - per_query, _LEAST))
    relative = np.array(steps) / np.array(seconds)[:, None]
    fit = np.linalg.lstsq(relative, np.ones(len(relative)), rcond=None)[0]
    return float(np.mean(footprints)), np.maximum(fit, _LEAST)


def _make(
    words: NDArray[np.uint64],
    n_words: int,
    density: int,
    numbers: NDArray[np.uint32],
    rng: np.random.Generator,
) -> Segment:
    """Make up a segment of a power of two of words, from random numbers.

    Of its two parts the first is one bucket with all codes, so that it does not pay to probe it.
    The buckets of the second hold ``density`` far codes on average. No code is ever a hit.
    """
    n = len(words) // n_words
    width = (n // density).bit_length() - 1
    sizes = rng.integers(0, 2 * density, 1 << width, dtype=np.uint8, endpoint=True)
    offsets = np.zeros((1 << width) + 3, dtype=np.uint32)
    np.cumsum(sizes, out=offsets[1:-2])
    np.minimum(offsets, n, out=offsets)
    offsets[-1] = n
    parts = np.array([[0, 0, 0, (1 << width) + 1], [0, WORD_BITS - width, width, 0]])
    layout = replace(Layout.plain(WORD_BITS * n_words), parts=_read_only(parts))
    rows = np.empty(n, dtype=np.uint32)
    positions = numbers[:n] & np.uint32(n - 1)
    return Segment(layout, words.reshape(n, n_words), rows, 0, n, offsets, positions)


def _near(segment: Segment) -> Segment:
    """The same without the first part, so that the codes of the second are near ones."""
    parts = _read_only(segment.layout.parts[1:].copy())
    return replace(segment, layout=replace(segment.layout, parts=parts))


def _quickest(segment: Segment, n_queries: int, flips: int, rng: np.random.Generator) -> _Times:
    times = [_probe(segment, n_queries, flips, rng) for _ in range(_REPEATS)]
    return min(times, key=lambda own: own.seconds / max(own.probes, 1.0))


def _probe(segment: Segment, n_queries: int, flips: int, rng: np.random.Generator) -> _Times:
    """Look up all buckets within so many flips (-1: none) of random queries."""
    queries = rng.integers(0, 256, (n_queries, segment.layout.n_bits // 8), dtype=np.uint8)
    prepared = prepare(segment)
    costs, trace = np.array(_WITHOUT_LIMIT), np.zeros((n_queries, N_TRACE))
    lims, signals = np.zeros(n_queries + 1, dtype=np.int64), np.zeros(2, dtype=np.int64)
    tables = segment.layout.word_tables
    start = perf_counter()
    probe_within(
        *prepared.store, *prepared.tables, tables, _ALL, queries, flips, costs, lims, trace, signals
    )
    seconds = perf_counter() - start
    probes, candidates = trace[:, [T_PROBES, T_CANDIDATES]].mean(axis=0).tolist()
    return _Times(seconds / n_queries, probes, candidates)


def _scan(words: NDArray[np.uint64], n_queries: int, rng: np.random.Generator) -> float:
    """Seconds to compare codes of a word with random queries."""
    layout = Layout.plain(WORD_BITS)
    queries = rng.integers(0, 256, (n_queries, WORD_BITS // 8), dtype=np.uint8)
    rows, none = np.empty(len(words), dtype=np.uint32), np.empty(0, dtype=np.uint32)
    segment = Segment(layout, words.reshape(-1, 1), rows, 0, max(1, len(words)), none, none)
    store = prepare(segment).store
    lims, damage = np.zeros(n_queries + 1, dtype=np.int64), np.zeros(1, dtype=np.int64)
    least = np.inf
    for _ in range(_REPEATS):
        start = perf_counter()
        scan_within(*store, layout.word_tables, _ALL, 0, len(words), queries, 0, lims, damage)
        least = min(least, perf_counter() - start)
    return least


def _read_only(array: NDArray[Any]) -> NDArray[Any]:
    array.flags.writeable = False
    return array
