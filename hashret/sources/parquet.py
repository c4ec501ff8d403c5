"""Parquet files as records, a batch at a time."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from hashret.errors import InputError
from hashret.sources.foreign import arrow_values, unwrapped_pictures
from hashret.sources.metadata import printable
from hashret.sources.records import Count, Record, RecordReader
from hashret.sources.regular import check_file

_BATCH_ROWS = 1024
_IN_PIECES = {"pre_buffer": False, "buffer_size": 1 << 20}
"""Of a row group, which may be the whole file, so many bytes at a time; all of it otherwise."""


class ParquetReader(RecordReader):
    """The rows of a Parquet file; only the columns that are asked for are read.

    Raises:
        InputError: pyarrow is not installed, or cannot read the file.
    """

    def __init__(self, path: Path) -> None:
        """Read what the file says about itself."""
        self._path = path
        self._arrow = _pyarrow()
        try:
            with self._opened() as file:
                self._columns = list(file.schema_arrow.names)
                self._length = int(file.metadata.num_rows)
        except (OSError, ValueError, self._arrow.ArrowException) as error:
            raise self._unreadable(error) from error
        twice = {name for name in self._columns if self._columns.count(name) > 1}
        if twice:
            raise InputError(
                f"The column {min(twice)!r} comes twice in {printable(str(path))}; give each a "
                "name of its own."
            )

    def columns(self) -> list[str]:
        """The names of the columns."""
        return self._columns

    def count(self) -> Count:
        """The number of rows, which the file tells."""
        return Count(self._length)

    def records(
        self, positions: Iterable[int] | None = None, columns: Collection[str] | None = None
    ) -> Iterator[Record]:
        """The rows as records."""
        wanted = iter(range(self._length) if positions is None else positions)
        following = next(wanted, None)
        try:
            with self._opened(**_IN_PIECES) as file:
                start = 0
                for group in range(file.num_row_groups):
                    n_rows = file.metadata.row_group(group).num_rows
                    if following is None:
                        return
                    if following < start + n_rows:
                        first = start
                        for batch in file.iter_batches(
                            _BATCH_ROWS,
                            row_groups=[group],
                            columns=None if columns is None else list(columns),
                        ):
                            if following is None:
                                return
                            rows = []
                            while following is not None and following < first + len(batch):
                                rows.append(following - first)
                                following = next(wanted, None)
                            yield from self._records(batch, first, rows)
                            first += len(batch)
                    start += n_rows
        except (OSError, ValueError, self._arrow.ArrowException) as error:
            raise self._unreadable(error) from error

    def _opened(self, **options: Any) -> Any:
        check_file(self._path)  # which Arrow opens by its name alone
        return self._arrow.parquet.ParquetFile(self._path, **options)

    def _records(self, batch: Any, first: int, rows: list[int]) -> Iterator[Record]:
        if not rows:
            return
        if len(rows) < len(batch):
            batch = batch.take(self._arrow.array(rows))
        names = batch.schema.names
        values = [self._values(column) for column in batch.columns]
        for place, row in enumerate(rows):
            yield Record(
                first + row,
                f"row {first + row:,}",
                {name: column[place] for name, column in zip(names, values, strict=True)},
            )

    def _values(self, column: Any) -> list[Any]:
        """Python values; lists of numbers are arrays, which takes a hundredth of the time."""
        types = self._arrow.types
        kind = column.type
        is_list = types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind)
        if is_list and (types.is_floating(kind.value_type) or types.is_integer(kind.value_type)):
            return [
                None
                if one.values is None
                else np.asarray(one.values.to_numpy(zero_copy_only=False))
                for one in column
            ]
        values: list[Any] = unwrapped_pictures(arrow_values(column))
        return values

    def _unreadable(self, error: Exception) -> InputError:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        return InputError(
            f"{printable(str(self._path))} is damaged or no Parquet file ({reason}); get or make "
            "it again."
        )


def _pyarrow() -> ModuleType:
    try:
        pyarrow = import_module("pyarrow")
        import_module("pyarrow.parquet")
    except ImportError as error:
        raise InputError(
            "Parquet files need pyarrow, which is not installed: pip install 'hashret[parquet]'"
        ) from error
    return pyarrow
