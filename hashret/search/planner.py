"""The cost model: what a way to answer is expected to take, in seconds.

What compiled code takes was measured on this machine (``machine``). The constants here are those of
NumPy and FAISS, measured on one core of a 2.6 GHz server with AVX-512; only their ratios decide. A
wrong decision costs time, never an answer.
"""

from __future__ import annotations

import sys
from typing import Literal, TypeAlias

from hashret.search.threads import n_cores

Plan: TypeAlias = Literal["scan", "tables"]

forced: Plan | None = None
"""The way every search takes where it can; None lets the costs decide. See :func:`force`."""

TABLE_FROM_WORDS = 1 << 15
"""Fewer words than these are scanned about as fast as tables could be probed: they get none."""
MARGIN = 0.85
"""Tables are probed where they are expected to take less than this share of a scan."""

SHELL_SECONDS = 30e-6
"""Per round of probes, whatever its size: the calls into NumPy."""
PROBE_SECONDS = 15e-9
"""Per bucket looked up."""
CANDIDATE_SECONDS = 25e-9
"""Per code found in a bucket: fetch it and compute its distance."""

NUMPY_BLOCK_SECONDS = 6e-6
"""Per query and block of codes."""
NUMPY_WORD_SECONDS = 0.85e-9
"""Per query and machine word of the codes."""
FAISS_CALL_SECONDS = 12e-6
"""Per block of codes, whatever the number of queries."""
FAISS_WORD_SECONDS = 0.3e-9
"""Per query and machine word of the codes, on one core."""
FAISS_IMPORT_SECONDS = 0.15

_BLOCK_WORDS = 1 << 16


class _NumpyScans:
    """Seconds that scans with NumPy took more, in this process, than FAISS would have taken."""

    lost_seconds = 0.0


def _numpy_seconds(n: int, n_words: int, n_queries: int) -> float:
    words = n * n_words
    blocks = 1 + words / _BLOCK_WORDS
    return n_queries * (blocks * NUMPY_BLOCK_SECONDS + words * NUMPY_WORD_SECONDS)


def _faiss_seconds(n: int, n_words: int, n_queries: int) -> float:
    words = n * n_words
    blocks = 1 + words * n_queries / _BLOCK_WORDS / 64
    rounds = -(-n_queries // (n_cores()))
    return blocks * FAISS_CALL_SECONDS + rounds * words * FAISS_WORD_SECONDS


def scans_with_faiss(n: int, n_words: int, n_queries: int) -> bool:
    """Whether FAISS should do this scan.

    Until FAISS is imported the import counts too, as in renting or buying skis: NumPy does the
    scans until they have lost as much time as the import takes.
    """
    lost = _numpy_seconds(n, n_words, n_queries) - _faiss_seconds(n, n_words, n_queries)
    if "faiss" in sys.modules:
        return lost > 0
    return _NumpyScans.lost_seconds + lost > FAISS_IMPORT_SECONDS


def count_numpy_scan(n: int, n_words: int, n_queries: int) -> None:
    """Note that NumPy did a scan, for :func:`scans_with_faiss`."""
    lost = _numpy_seconds(n, n_words, n_queries) - _faiss_seconds(n, n_words, n_queries)
    _NumpyScans.lost_seconds += max(0.0, lost)


def scan_seconds(n: int, n_words: int, n_queries: int = 1) -> float:
    """Expected seconds to compare ``n_queries`` with ``n`` codes of ``n_words`` machine words."""
    with_faiss = scans_with_faiss(n, n_words, n_queries)
    return (_faiss_seconds if with_faiss else _numpy_seconds)(n, n_words, n_queries)


def force(plan: Plan | None) -> None:
    """Make every search of this process scan, or probe tables where there are some.

    For benchmarks and tests, which compare the two; answers are the same.
    """
    global forced
    forced = plan
