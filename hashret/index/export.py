"""Items and codes as one file for other programs: JSON lines, Parquet, or a FAISS index.

The file is one committed state, whole, or not there. Keys are data in it and never names of files.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias

import numpy as np
from numpy.typing import NDArray

from hashret.codes import to_hex
from hashret.errors import DamagedIndexError, HashretError, UsageError
from hashret.files import whole_file
from hashret.progress import Progress, ProgressCallback, no_progress
from hashret.store import RESTORE, ItemStore, StoredItem

BLOCK_ITEMS = 8192
"""So many items are held at a time; of Parquet, they are a row group."""

_EXACT_IN_FLOAT = 2**53


@dataclass(frozen=True)
class _Selection:
    """The items to be written, of one committed state."""

    store: ItemStore
    rows: NDArray[np.int64] | None
    n_bits: int
    encoder: str
    progress: ProgressCallback

    def blocks(self, stage: str = "exporting") -> Iterator[list[StoredItem]]:
        """Items by ascending row, a few at a time.

        Raises:
            DamagedIndexError: the code of one has another length than the index's.
        """
        total = self.store.count() if self.rows is None else len(self.rows)
        done = 0
        self.progress(Progress(stage, 0, total))
        for block in self._blocks():
            for item in block:
                if item.code.size * 8 != self.n_bits:
                    raise DamagedIndexError(
                        f"The code of item {item.key!r} (row {item.row}) in {self.store.path} is "
                        f"damaged. {RESTORE}"
                    )
            yield block
            done += len(block)
            self.progress(Progress(stage, done, total))

    def _blocks(self) -> Iterator[list[StoredItem]]:
        if self.rows is None:
            yield from self.store.item_blocks(BLOCK_ITEMS)
            return
        for start in range(0, len(self.rows), BLOCK_ITEMS):
            rows = self.rows[start : start + BLOCK_ITEMS]
            items = self.store.items_of(rows)
            yield [items[row] for row in rows.tolist()]


_Writer: TypeAlias = Callable[[_Selection, BinaryIO], int]


def export_items(
    folder: Path,
    path: Path,
    where: str | None = None,
    *,
    overwrite: bool = False,
    progress: ProgressCallback = no_progress,
) -> int:
    """Write items and their codes into a file; others may read and change the index meanwhile.

    The end of its name decides what it becomes:

    - ``.jsonl``, ``.ndjson``: see :func:`export_lines`; with ``.gz`` after it, compressed.
    - ``.parquet``: the columns ``row``, ``key``, ``code`` (binary of fixed size), ``location``, and
      one for each field, of a type that holds all its values exactly, else as text. The metadata
      of the file are ``hashret.n_bits`` and ``hashret.encoder``.
    - ``.faiss``: an ``IndexBinaryIDMap2`` over an ``IndexBinaryFlat``, whose ids are the rows. It
      is the one format that is held in memory, by about 100 bytes an item.

    Args:
        folder: of the index.
        path: the file.
        where: an SQL condition; only items that satisfy it.
        overwrite: replace a file that is there.
        progress: told of the items written, as the stage ``"exporting"``.

    Returns:
        How many items were written.

    Raises:
        UsageError: the name ends otherwise, or a condition that is not valid.
        HashretError: the file is there already, cannot be written, or needs pyarrow; nothing is
            left of it.
        DamagedIndexError: the store is damaged.
    """
    write = _writer_of(path)
    with whole_file(path, overwrite=overwrite) as out, _selected(folder, where, progress) as items:
        return write(items, out)


def export_lines(
    folder: Path,
    out: BinaryIO,
    where: str | None = None,
    progress: ProgressCallback = no_progress,
) -> int:
    """Write items as JSON lines into an open file; returns how many.

    Each line is an object of row, key, code (hexadecimal), encoder (the fingerprint of that which
    made the code), location and fields, in ASCII, so that every reader sees the same lines.

    Raises:
        UsageError: a condition that is not valid.
        DamagedIndexError: the store is damaged.
    """
    with _selected(folder, where, progress) as items:
        return _write_lines(items, out)


@contextmanager
def _selected(folder: Path, where: str | None, progress: ProgressCallback) -> Iterator[_Selection]:
    # A store of its own: its state may be held for long, while others read and write.
    with closing(ItemStore.open(folder / "items.db")) as store, store.reading():
        rows = None if where is None else store.rows_where(where)
        n_bits, encoder = store.setting("n_bits"), store.setting("encoder")
        yield _Selection(store, rows, int(n_bits), str(encoder), progress)


def _writer_of(path: Path) -> _Writer:
    name = path.name.lower()
    for suffix, writer in _WRITERS.items():
        if name.endswith(suffix):
            if writer is _write_parquet:
                _require_pyarrow()
            return writer
    raise UsageError(
        f"Cannot tell what {path} should become; its name may end in {', '.join(_WRITERS)}. "
        "`hashret items --csv` writes CSV."
    )


def _write_lines(items: _Selection, out: BinaryIO | gzip.GzipFile) -> int:
    count = 0
    for block in items.blocks():
        lines = [
            json.dumps(
                {
                    "row": item.row,
                    "key": item.key,
                    "code": to_hex(item.code),
                    "encoder": items.encoder,
                    "location": item.location,
                    "fields": item.fields,
                }
            )
            for item in block
        ]
        out.write("".join(f"{line}\n" for line in lines).encode("ascii"))
        count += len(block)
    return count


def _write_compressed_lines(items: _Selection, out: BinaryIO) -> int:
    # No time and no name in it: the same items give the same bytes.
    with gzip.GzipFile("", "wb", fileobj=out, mtime=0) as compressed:
        return _write_lines(items, compressed)


def _write_parquet(items: _Selection, out: BinaryIO) -> int:
    import pyarrow as pa
    from pyarrow import parquet

    columns = _columns(items)
    n_bytes = items.n_bits // 8
    schema = pa.schema(
        [
            pa.field("row", pa.int64(), nullable=False),
            pa.field("key", pa.string(), nullable=False),
            pa.field("code", pa.binary(n_bytes), nullable=False),
            pa.field("location", pa.string()),
            *(pa.field(column.title, getattr(pa, column.type)()) for column in columns),
        ],
        metadata={"hashret.n_bits": str(items.n_bits), "hashret.encoder": items.encoder},
    )
    count = 0
    with parquet.ParquetWriter(out, schema, compression="zstd") as writer:
        for block in items.blocks():
            values: list[list[Any]] = [
                [item.row for item in block],
                [item.key for item in block],
                [item.code.tobytes() for item in block],
                [item.location for item in block],
                *([column.value(item) for item in block] for column in columns),
            ]
            arrays = [pa.array(own, field.type) for own, field in zip(values, schema, strict=True)]
            writer.write_batch(pa.record_batch(arrays, schema=schema))
            count += len(block)
    return count


class _Column:
    """A field of all items, and the type that holds its values."""

    def __init__(self, name: str, title: str) -> None:
        self.title = title
        self.type = "string"
        self._name = name
        self._kinds: set[type] = set()
        self._largest = 0

    def see(self, item: StoredItem) -> None:
        value = item.fields.get(self._name)
        if value is not None:
            self._kinds.add(type(value))
            if isinstance(value, int):
                self._largest = max(self._largest, abs(value))

    def decide(self) -> None:
        """Choose the type: an exact one, or text."""
        if self._kinds == {bool}:
            self.type = "bool_"
        elif self._kinds == {int}:
            self.type = "int64"
        elif self._kinds in ({float}, {int, float}) and self._largest <= _EXACT_IN_FLOAT:
            self.type = "float64"

    def value(self, item: StoredItem) -> Any:
        value = item.fields.get(self._name)
        if self.type != "string" or value is None or isinstance(value, str):
            return float(value) if self.type == "float64" and value is not None else value
        return json.dumps(value)


def _columns(items: _Selection) -> list[_Column]:
    """The fields as columns; one named like another column has ``fields.`` before its name."""
    columns = []
    taken = {"row", "key", "code", "location"}
    for name in items.store.field_names():
        title = name
        while title.lower() in taken:
            title = f"fields.{title}"
        taken.add(title.lower())
        columns.append(_Column(name, title))
    if columns:
        for block in items.blocks("reading"):
            for column in columns:
                for item in block:
                    column.see(item)
    for column in columns:
        column.decide()
    return columns


def _require_pyarrow() -> None:
    try:
        import pyarrow as pa  # noqa: F401
    except ImportError as error:
        raise HashretError(
            "Parquet files need pyarrow, which is not installed: pip install 'hashret[parquet]'"
        ) from error


def _write_faiss(items: _Selection, out: BinaryIO) -> int:
    import faiss

    flat = faiss.IndexBinaryFlat(items.n_bits)
    index = faiss.IndexBinaryIDMap2(flat)
    for block in items.blocks():
        rows = np.array([item.row for item in block], dtype=np.int64)
        index.add_with_ids(np.stack([item.code for item in block]), rows)
    # Not by name: FAISS would not notice that a full disk took no more.
    file = faiss.PyCallbackIOWriter(out.write)  # type: ignore[attr-defined]
    faiss.write_index_binary(index, file)
    return int(index.ntotal)


_WRITERS: dict[str, _Writer] = {
    ".jsonl": _write_lines,
    ".ndjson": _write_lines,
    ".jsonl.gz": _write_compressed_lines,
    ".ndjson.gz": _write_compressed_lines,
    ".parquet": _write_parquet,
    ".faiss": _write_faiss,
}
