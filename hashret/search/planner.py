"""The cost model: what a way to answer is expected to take, in seconds.

The constants were measured on one core of a 2.6 GHz server with AVX-512. Only their ratios decide,
and a wrong decision costs time, never an answer.
"""

from __future__ import annotations

import os
import sys

SHELL_SECONDS = 22e-6
"""Per round of probes, whatever its size: the calls into NumPy."""
PROBE_SECONDS = 10e-9
"""Per bucket looked up."""
CANDIDATE_SECONDS = 15e-9
"""Per code found in a bucket: fetch it and compute its distance."""

NUMPY_BLOCK_SECONDS = 6e-6
"""Per query and block of codes."""
NUMPY_WORD_SECONDS = 0.6e-9
"""Per query and machine word of the codes."""
FAISS_CALL_SECONDS = 12e-6
"""Per block of codes, whatever the number of queries."""
FAISS_WORD_SECONDS = 0.3e-9
"""Per query and machine word of the codes, on one core."""
FAISS_IMPORT_SECONDS = 0.15

GROWING_SHARE = 0.5
"""Rings that may not end soon are probed for at most this share of the cost of a scan."""
TABLE_FROM_SECONDS = 100e-6
"""A hash table is built when a scan would cost more; below, it could hardly be faster."""

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
    rounds = -(-n_queries // (os.cpu_count() or 1))
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


def probe_seconds(probes: float, candidates: float) -> float:
    """Expected seconds for one round of ``probes`` that meets so many ``candidates``."""
    return SHELL_SECONDS + probes * PROBE_SECONDS + candidates * CANDIDATE_SECONDS


def worth_a_table(n: int, n_words: int) -> bool:
    """Whether ``n`` codes should get a hash table at all."""
    return _numpy_seconds(n, n_words, 1) > TABLE_FROM_SECONDS
