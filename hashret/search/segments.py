"""Search several segments as if they were one index."""

from __future__ import annotations

from collections.abc import Sequence
from time import perf_counter
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from hashret.codes import as_codes
from hashret.errors import InputError, UsageError
from hashret.search.found import Found, Ranking, SearchStats
from hashret.search.rings import Trace
from hashret.search.scan import as_words

if TYPE_CHECKING:
    from hashret.search.code_index import CodeIndex


def search_segments(
    segments: Sequence[CodeIndex],
    query: ArrayLike,
    radius: int | None = None,
    limit: int | None = None,
    allowed: ArrayLike | None = None,
) -> Found:
    """Find the neighbours of one code in several segments, as if they were one index.

    Args:
        segments: indexes with codes of one length and no row in common.
        query: ``uint8``, shape ``(n_bits / 8,)``.
        radius: in bits, inclusive; None lets rings grow until ``limit`` hits are in.
        limit: at most so many hits, the first by distance, then row; None takes all.
        allowed: ``bool``, one for each row number from 0. Rows that are False, or beyond its end,
            are not found and do not count towards ``limit``.

    Raises:
        InputError: a query of another dtype or length, or several.
        UsageError: neither radius nor limit, or one that is no integer or too small.
        DamagedIndexError: the files of a segment prove to be damaged.
    """
    code = as_codes(query)
    if len(code) != 1:
        raise InputError(f"Expected one code, got {len(code)}; search_many takes several.")
    return search_many(segments, code, radius, limit, allowed)[0]


def search_many(
    segments: Sequence[CodeIndex],
    queries: ArrayLike,
    radius: int | None = None,
    limit: int | None = None,
    allowed: ArrayLike | None = None,
) -> list[Found]:
    """Find the neighbours of several codes at once: :func:`search_segments` for each of them.

    Args:
        segments: indexes with codes of one length and no row in common.
        queries: ``uint8``, shape ``(nq, n_bits / 8)``.
        radius: as in :func:`search_segments`.
        limit: as in :func:`search_segments`.
        allowed: as in :func:`search_segments`.

    Raises:
        InputError: queries of another dtype or length.
        UsageError: neither radius nor limit, or one that is no integer or too small.
        DamagedIndexError: the files of a segment prove to be damaged.
    """
    started = perf_counter()
    codes = as_codes(queries)
    if radius is None and limit is None:
        raise UsageError("A search needs a radius, a limit, or both.")
    n_bits = codes.shape[1] * 8
    bound = n_bits if radius is None else min(checked_integer(radius, "radius", 0), n_bits)
    limit = None if limit is None else checked_integer(limit, "limit", 1)
    mask = None if allowed is None else np.asarray(allowed)
    if mask is not None and (mask.dtype != np.bool_ or mask.ndim != 1):
        raise UsageError(
            f"allowed must be an array of bool by row number, got {mask.dtype} of shape "
            f"{mask.shape}."
        )
    rankings = [Ranking(bound, limit) for _ in codes]
    traces: list[list[Trace]] = [[] for _ in codes]
    words = as_words(codes)
    for segment in segments:
        as_codes(codes, segment.n_bits)
    # The largest first: it soon narrows the bounds under which the others are searched.
    for segment in sorted(segments, key=len, reverse=True):
        for own, trace in zip(traces, segment.rank(words, rankings, mask), strict=True):
            own.append(trace)
    unpacked = [ranking.unpack() for ranking in rankings]
    seconds = (perf_counter() - started) / max(1, len(codes))
    return [Found(*hits, _stats(own, seconds)) for hits, own in zip(unpacked, traces, strict=True)]


def _stats(traces: list[Trace], seconds: float) -> SearchStats:
    return SearchStats(
        plan="; ".join(dict.fromkeys(trace.plan for trace in traces)) or "nothing to search",
        probes=sum(trace.probes for trace in traces),
        candidates=sum(trace.candidates for trace in traces),
        seconds=seconds,
        estimated_seconds=sum(trace.estimated_seconds for trace in traces),
    )


def checked_integer(value: object, name: str, least: int) -> int:
    """Return ``value`` as an int when it is an integer of at least ``least``.

    Raises:
        UsageError: it is not; the message gives ``name``.
    """
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
        raise UsageError(f"{name} must be an integer of at least {least}, not {value!r}.")
    return int(value)
