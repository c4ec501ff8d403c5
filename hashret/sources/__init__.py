"""Sources: folders, array files, tables and Python data as one stream of items.

:func:`open_source` understands what it is given and returns a :class:`Source`, which can be
iterated more than once; :func:`read_value` reads the one value of a query.
"""

from __future__ import annotations

from hashret.sources.idx import read_idx
from hashret.sources.item import Item, Source, content_hash, content_hashes, is_gone
from hashret.sources.opening import open_paths, open_source
from hashret.sources.remote import fetching
from hashret.sources.skipped import Skipped, SkippedInputs
from hashret.sources.values import ValueReader, read_value

__all__ = [
    "Item",
    "Skipped",
    "SkippedInputs",
    "Source",
    "ValueReader",
    "content_hash",
    "content_hashes",
    "fetching",
    "is_gone",
    "open_paths",
    "open_source",
    "read_idx",
    "read_value",
]
