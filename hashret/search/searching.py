"""Search segments as if they were one: the same answers from whichever engine."""

from __future__ import annotations

from collections.abc import Sequence
from time import perf_counter
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hashret.codes import Codes
from hashret.errors import UsageError
from hashret.search import engine, interpreted
from hashret.search.found import Found, Ranking, SearchStats, unpack_hits
from hashret.search.interpreted import Trace
from hashret.search.segment import Segment

HEAP_HITS = 1 << 22
"""Hits that heaps have room for at once: 32 MiB."""

_NOTHING = np.empty(0, dtype=np.uint8)


class Searchable(Protocol):
    """What can be searched: a segment, and what compiled kernels keep of it."""

    @property
    def segment(self) -> Segment:
        """Codes and tables."""

    @property
    def prepared(self) -> Any:
        """See ``prepared.Prepared``."""


def search(
    parts: Sequence[Searchable],
    codes: Codes,
    radius: int,
    limit: int | None,
    allowed: NDArray[np.uint8],
) -> list[Found]:
    """Find the neighbours of each code in all of the parts.

    Args:
        parts: with codes of one length and no row in common.
        codes: ``uint8``, shape ``(nq, n_bits / 8)``.
        radius: in bits, at most ``n_bits``.
        limit: at most so many hits, the first by distance, then row; None takes all.
        allowed: bitmap of rows; empty allows all.

    Raises:
        DamagedIndexError: the files of a segment prove to be damaged.
    """
    started = perf_counter()
    # The largest first: it soon narrows the bounds under which the others are searched.
    limit = None if limit is not None and limit >= sum(map(_size, parts)) else limit
    filled = sorted((part for part in parts if len(part.segment)), key=_size, reverse=True)
    task: engine.Task = "within" if limit is None else "nearest"
    segments = [part.segment for part in filled]
    kernels = engine.compiled(task, len(codes), segments) if filled and len(codes) else None
    if kernels is None:
        hits, traces = _interpreted(filled, codes, radius, limit, allowed)
        engine.count(perf_counter() - started)
    else:
        if limit is None:
            hits, traces = _compiled_within(kernels, filled, codes, radius, allowed)
        else:
            hits, traces = _compiled_nearest(kernels, filled, codes, radius, limit, allowed)
        engine.answered(task, segments)
    seconds = (perf_counter() - started) / max(1, len(codes))
    return [
        Found(*unpack_hits(own), _stats(trace, seconds))
        for own, trace in zip(hits, traces, strict=True)
    ]


def _size(part: Searchable) -> int:
    return len(part.segment)


def _interpreted(
    parts: Sequence[Searchable], codes: Codes, radius: int, limit: int | None, allowed: Any
) -> tuple[list[NDArray[np.uint64]], list[list[Trace]]]:
    rankings = [Ranking(radius, limit) for _ in codes]
    traces: list[list[Trace]] = [[] for _ in codes]
    for part in parts:
        words = part.segment.layout.to_words(codes)
        found = interpreted.search(part.segment, words, rankings, allowed)
        for own, trace in zip(traces, found, strict=True):
            own.append(trace)
    return [ranking.hits() for ranking in rankings], traces


def _compiled_within(
    kernels: Any, parts: Sequence[Searchable], codes: Codes, radius: int, allowed: Any
) -> tuple[list[NDArray[np.uint64]], list[list[Trace]]]:
    hits: list[list[NDArray[np.uint64]]] = [[] for _ in codes]
    traces: list[list[Trace]] = [[] for _ in codes]
    for part in parts:
        found, lims, trace = kernels.within(part.prepared, _own(codes), radius, allowed)
        for q, (start, end) in enumerate(zip(lims[:-1].tolist(), lims[1:].tolist(), strict=True)):
            hits[q].append(found[start:end])
        _note(traces, trace, 0)
    if len(parts) == 1:
        return [own[0] for own in hits], traces
    return [np.sort(np.concatenate(own)) for own in hits], traces


def _compiled_nearest(
    kernels: Any,
    parts: Sequence[Searchable],
    codes: Codes,
    radius: int,
    limit: int,
    allowed: Any,
) -> tuple[list[NDArray[np.uint64]], list[list[Trace]]]:
    k = min(limit, sum(len(part.segment) for part in parts))
    hits: list[NDArray[np.uint64]] = []
    traces: list[list[Trace]] = [[] for _ in codes]
    size = max(1, HEAP_HITS // k)
    for start in range(0, len(codes), size):
        block = _own(codes[start : start + size])
        heaps = np.empty((len(block), k), dtype=np.uint64)
        sizes = np.zeros(len(block), dtype=np.int64)
        for part in parts:
            trace = kernels.nearest(part.prepared, block, radius, allowed, heaps, sizes)
            _note(traces, trace, start)
        hits += [np.sort(heap[:n]) for heap, n in zip(heaps, sizes.tolist(), strict=True)]
    return hits, traces


def _own(codes: Codes) -> Codes:
    """Codes that kernels take: they are compiled for arrays that may be written to."""
    return codes if codes.flags.writeable and codes.flags.c_contiguous else codes.copy()


def _note(traces: list[list[Trace]], kernel_trace: NDArray[np.float64], start: int) -> None:
    """Put what kernels tell of a block of queries into words."""
    for q, (probes, candidates, seconds, scanned, reach) in enumerate(kernel_trace.tolist()):
        plan = f"tables, radius 0 to {reach:.0f}" if reach else "tables, radius 0"
        if scanned:
            plan = f"{plan}, then scan" if probes else "scan"
        traces[start + q].append(Trace(plan, int(probes), int(candidates), seconds))


def _stats(traces: list[Trace], seconds: float) -> SearchStats:
    return SearchStats(
        plan="; ".join(dict.fromkeys(trace.plan for trace in traces)) or "nothing to search",
        probes=sum(trace.probes for trace in traces),
        candidates=sum(trace.candidates for trace in traces),
        seconds=seconds,
        estimated_seconds=sum(trace.estimated_seconds for trace in traces),
    )


def as_bitmap(allowed: ArrayLike | None) -> NDArray[np.uint8]:
    """A bitmap from a mask of ``bool`` by row, from a bitmap, or from None for all rows.

    Raises:
        UsageError: an array of another dtype or shape.
    """
    if allowed is None:
        return _NOTHING
    array = np.asarray(allowed)
    if array.ndim != 1 or array.dtype not in (np.bool_, np.uint8):
        raise UsageError(
            f"allowed must be an array of bool by row number, or numpy.packbits of one, got "
            f"{array.dtype} of shape {array.shape}."
        )
    bitmap: NDArray[np.uint8] = np.packbits(array) if array.dtype == np.bool_ else array
    if not bitmap.size:
        bitmap = np.zeros(1, dtype=np.uint8)  # nothing is allowed; no bitmap would allow all
    return bitmap if bitmap.flags.writeable and bitmap.flags.c_contiguous else bitmap.copy()


def checked_integer(value: object, name: str, least: int) -> int:
    """Return ``value`` as an int when it is an integer of at least ``least``.

    Raises:
        UsageError: it is not; the message gives ``name``.
    """
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
        raise UsageError(f"{name} must be an integer of at least {least}, not {value!r}.")
    return int(value)
