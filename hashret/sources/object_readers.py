"""Tables of other libraries as records: pandas, pyarrow, polars, Hugging Face datasets, lists.

They are known by what they can do; none of the libraries is imported.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

from hashret.errors import InputError
from hashret.sources.foreign import arrow_values, unwrapped_picture
from hashret.sources.frame_reader import FrameReader
from hashret.sources.object_table import ObjectReader
from hashret.sources.records import Count, Record, RecordReader


class ArrowReader(ObjectReader):
    """A pyarrow Table."""

    name = "the Table"

    def __init__(self, table: Any) -> None:
        """Take a Table."""
        self._table = table
        super().__init__(table.column_names, table.num_rows)

    def _values(self, name: str, start: int, stop: int) -> Sequence[Any]:
        return arrow_values(self._table.column(name).slice(start, stop - start))


class PolarsReader(ObjectReader):
    """A polars DataFrame."""

    name = "the DataFrame"

    def __init__(self, frame: Any) -> None:
        """Take a DataFrame."""
        self._frame = frame
        super().__init__(frame.columns, frame.height)

    def _values(self, name: str, start: int, stop: int) -> Sequence[Any]:
        values: list[Any] = self._frame.get_column(name).slice(start, stop - start).to_list()
        return values


class DatasetReader(ObjectReader):
    """A ``datasets.Dataset`` of Hugging Face, whose pictures stay as they lie in their files."""

    name = "the Dataset"

    def __init__(self, dataset: Any) -> None:
        """Take a Dataset."""
        self._dataset = _undecoded(dataset)
        self._single: dict[str, Any] = {}
        super().__init__(dataset.column_names, len(dataset))

    def _values(self, name: str, start: int, stop: int) -> Sequence[Any]:
        if name not in self._single:
            select = getattr(self._dataset, "select_columns", None)
            # A transform may need other columns than the one that is asked for.
            if select is None or _format(self._dataset) == "custom":
                self._single[name] = self._dataset
            else:
                self._single[name] = select([name])
        values: Sequence[Any] = self._single[name][start:stop][name]
        return values


def _undecoded(dataset: Any) -> Any:
    """A Dataset that gives Python values and encoded pictures, unless it has a transform."""
    if _format(dataset) == "custom":
        return dataset
    if _format(dataset) is not None:
        dataset = dataset.with_format(None)
    for name, feature in (getattr(dataset, "features", None) or {}).items():
        if getattr(feature, "decode", False) is True:
            dataset = dataset.cast_column(name, type(feature)(decode=False))
    return dataset


def _format(dataset: Any) -> Any:
    return (getattr(dataset, "format", None) or {}).get("type")


class ListReader(ObjectReader):
    """Columns that are lists of one length."""

    name = "the data"

    def __init__(self, columns: Mapping[str, Sequence[Any]]) -> None:
        """Take the columns by name."""
        self._columns = columns
        super().__init__(list(columns), min(map(len, columns.values()), default=0))

    def _values(self, name: str, start: int, stop: int) -> Sequence[Any]:
        return self._columns[name][start:stop]


class RowReader(RecordReader):
    """Mappings, such as objects of JSON: each has the values that it names, and no others."""

    name = "the data"

    def __init__(self, rows: Sequence[Mapping[Any, Any]]) -> None:
        """Take the rows."""
        self._rows = rows
        self._names = list(dict.fromkeys(str(name) for row in rows for name in row))

    def columns(self) -> list[str]:
        """The names of all rows."""
        return self._names

    def count(self) -> Count:
        """The number of rows."""
        return Count(len(self._rows))

    def records(
        self, positions: Iterable[int] | None = None, columns: Collection[str] | None = None
    ) -> Iterator[Record]:
        """The rows at these positions."""
        for position in range(len(self._rows)) if positions is None else positions:
            if position >= len(self._rows):
                return
            given = self._rows[position]
            row = {str(name): unwrapped_picture(value) for name, value in given.items()}
            place = f"row {position:,}"
            if len(row) < len(given):
                reason = "two of its names are the same as text, such as 1 and '1'"
                yield Record(position, place, None, reason)
            elif columns is None:
                yield Record(position, place, row)
            else:
                yield Record(position, place, {name: row[name] for name in columns if name in row})


def reader_of(
    source: Any, id_column: str | None = None, column: str | None = None
) -> ObjectReader | None:
    """A reader of a table of another library; None where it is none.

    Args:
        source: anything.
        id_column: the user's column of keys, as for :class:`FrameReader`.
        column: the user's column of values, as for the same.

    Raises:
        InputError: it is one that cannot be read so.
    """
    kind, module = type(source).__name__, type(source).__module__.partition(".")[0]
    if all(hasattr(source, name) for name in ("iloc", "columns", "index")):
        return FrameReader(source, id_column, column)
    if all(hasattr(source, name) for name in ("iloc", "to_frame", "index")):
        return FrameReader(source.to_frame(str(source.name or "value")), id_column, column)
    if all(hasattr(source, name) for name in ("column_names", "num_rows", "column", "slice")):
        if kind == "Dataset":  # of Hugging Face, whose columns are not arrays
            return DatasetReader(source)
        return ArrowReader(source)
    if all(hasattr(source, name) for name in ("get_column", "height", "columns")):
        return PolarsReader(source)
    if module == "polars" and kind == "Series":
        return PolarsReader(source.to_frame(source.name or "value"))
    if hasattr(source, "collect_schema"):
        raise InputError(f"{_a(kind)} has not been computed yet: pass what its collect() returns.")
    if module == "pyarrow" and hasattr(source, "to_pylist"):
        raise InputError(f"{_a(kind)} is one column: pass pyarrow.table({{'text': it}}).")
    if hasattr(source, "column_names") and hasattr(source, "features"):
        if not hasattr(source, "__len__"):
            raise InputError(
                f"{_a(kind)} is streamed and has no length; take some of it as a Dataset, or pass "
                "an iterable of (key, value)."
            )
        return DatasetReader(source)
    if module == "datasets" and isinstance(source, Mapping):
        parts = ", ".join(map(str, source))
        raise InputError(f"{_a(kind)} holds several data sets ({parts}); pass one of them.")
    return None


def _a(noun: str) -> str:
    return f"{'An' if noun[:1] in 'AEIOU' else 'A'} {noun}"
