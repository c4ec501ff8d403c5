"""What an index reports of itself: what it holds, and whether it is whole."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hashret.errors import HashretError
from hashret.reader import Reader
from hashret.search import CodeIndex
from hashret.snapshot import without_remedy
from hashret.store import ItemStore
from hashret.trained import TrainedEncoder


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """What :meth:`hashret.Index.verify` found.

    Attributes:
        problems: one line for each thing that is damaged, naming the file; empty when all is well.
        items: how many items were checked.
        segments: how many segments were checked.
    """

    problems: list[str]
    items: int
    segments: int

    @property
    def ok(self) -> bool:
        """Nothing is damaged."""
        return not self.problems


def verify(reader: Reader, encoder: TrainedEncoder, folder: Path) -> VerifyReport:
    """Check every item, segment and encoder file against its checksum."""
    store = reader.store
    with reader.state():
        problems = list(store.problems())
        items = segments = 0
        try:
            items, segments = store.count(), len(store.segments())
            problems += _segment_problems(store, folder)
        except HashretError as error:
            problems.append(str(error))
    return VerifyReport(problems + encoder.problems(), items, segments)


def _segment_problems(store: ItemStore, folder: Path) -> list[str]:
    problems = []
    deletions = store.deletions()
    for name, first, last in store.segments():
        try:
            segment = CodeIndex.open(folder / "segments" / name)
            damage = segment.verify()
        except HashretError as error:
            damage = [str(error)]
        problems += [f"{without_remedy(line)} `hashret compact` rebuilds it." for line in damage]
        if damage:
            continue
        rows, codes = segment.rows_and_codes()
        live = ~np.isin(rows, deletions)
        stored_rows, stored_codes = store.codes(first, last)
        if not (
            np.array_equal(rows[live], stored_rows) and np.array_equal(codes[live], stored_codes)
        ):
            problems.append(
                f"segments/{name} differs from items.db. `hashret compact` rebuilds it."
            )
    return problems


def facts(reader: Reader, encoder: TrainedEncoder, folder: Path) -> dict[str, Any]:
    """What the index is and holds, as JSON values; sizes in bytes."""
    store = reader.store
    with reader.snapshot() as snapshot:
        _, codes = store.codes(1)
        fields, sources = store.field_names(), list(store.sources().values())
        segments = len(store.segments())
        settings = {
            name: store.setting(name)
            for name in ("n_bits", "kind", "encoder", "created", "hashret", "learned_from")
        }
    # As one opaque value a code, which sorts many times faster than rows of bytes.
    _, counts = np.unique(codes.view(f"V{codes.shape[1]}"), return_counts=True)
    return {
        "path": str(folder),
        "items": len(codes),
        "fields": fields,
        "sources": sources,
        "features": encoder.features.describe(),
        **settings,
        "distinct_codes": len(counts),
        "largest_bucket": int(counts.max(initial=0)),
        "segments": segments,
        "rows_not_in_a_segment": snapshot.tail_rows,
        "bytes": sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()),
    }
