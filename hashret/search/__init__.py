"""Codes to neighbours: exact search by Hamming distance.

Example:
    >>> from hashret.search import CodeIndex
    >>> from hashret.codes import from_hex
    >>> index = CodeIndex.build([from_hex("00ff"), from_hex("00fe")])
    >>> lims, rows, distances = index.within(from_hex("00ff"), radius=1)
    >>> rows.tolist(), distances.tolist()
    ([0, 1], [0, 1])
"""

from hashret.search.code_index import CodeIndex, search_many, search_segments
from hashret.search.found import Found, SearchStats
from hashret.search.threads import set_threads

__all__ = [
    "CodeIndex",
    "Found",
    "SearchStats",
    "search_many",
    "search_segments",
    "set_threads",
]
