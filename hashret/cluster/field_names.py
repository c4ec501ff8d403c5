"""Names of fields that items bring along: known to one writer before any shard stores them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

import pyarrow as pa


def field_names(block: pa.Table, places: Iterable[int]) -> list[str]:
    """The names of all fields of some items of a block."""
    texts = block["fields"].take(pa.array(places, type=pa.int64())).unique().to_pylist()
    return sorted({name for text in texts for name in json.loads(text)})


def agree_on(names: Iterable[str], writer: Any, run: str) -> None:
    """Make names known to the writer that all processes ask, once for each process and name.

    A shard alone sees only its own names, and never forgets one: two that differ only in case would
    each be stored in another shard, and no condition could mean the same on both.

    Raises:
        InputError: a name differs from another one only in case; no shard has stored it.
    """
    from hashret.cluster.failures import asked

    agreed = _agreed_in(run)
    new = [name for name in names if name not in agreed]
    if new:
        asked([writer.note_fields.remote(new)])
        agreed.update(new)


@lru_cache(maxsize=1)
def _agreed_in(run: str) -> set[str]:  # noqa: ARG001, of the cache
    return set()
