"""What an index reports of itself."""

from __future__ import annotations

import stat
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from hashret.codes import Codes, code_statistics
from hashret.index.reader import Reader
from hashret.index.trained_encoder import TrainedEncoder
from hashret.store import ItemStore

SAMPLE = 1_000_000
"""Codes of more items than these are described by a sample."""

SAMPLE_BLOCKS = 50

BIT_STEPS = 20_000_000_000
"""Multiplications that the correlation of bits may take: about a second."""


def facts(reader: Reader, encoder: TrainedEncoder, folder: Path) -> dict[str, Any]:
    """What the index is and holds, as JSON values; sizes in bytes.

    Of more than 1,000,000 items, so many in blocks from all over tell of the codes; then
    ``code_sample`` says how many, ``distinct_codes`` and ``largest_bucket`` are those of the
    sample, and ``mean_sharing`` is an estimate for the whole index.
    """
    store = reader.store
    with reader.snapshot() as snapshot:
        items = store.count()
        codes = _some_codes(store, items, snapshot.last_row)
        fields, sources = store.field_names(), list(store.sources().values())
        field_indexes = store.indexed_fields()
        segments, keeps_vectors = len(store.segments()), store.vector_length is not None
        settings = {
            name: store.setting(name)
            for name in ("n_bits", "kind", "encoder", "created", "hashret", "learned_from")
        }
    return {
        "path": str(folder),
        "items": items,
        "fields": fields,
        "field_indexes": field_indexes,
        "sources": sources,
        "features": encoder.describe(),
        "keeps_vectors": keeps_vectors,
        **settings,
        **_code_facts(codes, items),
        "segments": segments,
        "rows_not_in_a_segment": snapshot.tail_rows,
        "bytes": _bytes_in(folder),
    }


def _bytes_in(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        with suppress(FileNotFoundError):  # a reader's files come and go
            status = path.lstat()
            total += status.st_size if stat.S_ISREG(status.st_mode) else 0
    return total


def _some_codes(store: ItemStore, items: int, last_row: int) -> Codes:
    """All codes, or those in evenly spaced blocks of ``SAMPLE`` rows together."""
    if items <= SAMPLE:
        return store.codes(1)[1]
    size = SAMPLE // SAMPLE_BLOCKS
    starts = np.linspace(1, last_row - size + 1, SAMPLE_BLOCKS).astype(np.int64).tolist()
    return np.concatenate([store.codes(start, start + size - 1)[1] for start in starts])


def _code_facts(codes: Codes, items: int) -> dict[str, Any]:
    if not len(codes):
        return {"distinct_codes": 0, "largest_bucket": 0}
    n_bits = codes.shape[1] * 8
    statistics = code_statistics(codes, bit_rows=BIT_STEPS // n_bits**2)
    sampled = {"code_sample": len(codes)} if len(codes) < items else {}
    # Of two items of the sample, as of any two, a constant share lie in one bucket.
    scale = (items - 1) / max(len(codes) - 1, 1) if sampled else 1.0
    return {
        **sampled,
        "distinct_codes": statistics.buckets,
        "mean_sharing": round(statistics.mean_sharing * scale, 4),
        "largest_bucket": statistics.largest,
        "bit_entropy": round(statistics.bit_entropy, 4),
        "lowest_bit_entropy": round(statistics.lowest_bit_entropy, 4),
        "bit_correlation": round(statistics.bit_correlation, 4),
        "largest_bit_correlation": round(statistics.largest_bit_correlation, 4),
    }
