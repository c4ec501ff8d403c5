"""Tables of other libraries as records: pandas, pyarrow, polars, Hugging Face datasets, lists.

They are known by what they can do; none of the libraries is imported.
"""

from __future__ import annotations

import logging
from abc import abstractmethod
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, ClassVar

from hashret.errors import HashretError, InputError
from hashret.sources.choosing import KEY_NAMES, UNIQUE_KEY_NAMES, first_named
from hashret.sources.foreign import arrow_values, unwrapped_picture, unwrapped_pictures
from hashret.sources.metadata import printable
from hashret.sources.records import Count, Record, RecordReader

BLOCK_RECORDS = 1024

_log = logging.getLogger("hashret")

_NO_KEYS = frozenset(
    {
        *("floating", "boolean", "complex", "interval", "period"),
        *("datetime64", "datetime", "date", "timedelta64", "timedelta"),
    }
)
"""What pandas says of an index whose values are no keys: it is a field, then."""


class ObjectReader(RecordReader):
    """A table in memory, of which some records at a time become Python values.

    Attributes:
        name: what messages call it.
        index: the column of the names that the records have beside the columns, where they do.
        key_column: the column that the keys are taken from, unless another is asked for, ``""`` for
            the numbers of the rows; None where the table does not know better than a sample of it.
    """

    name: ClassVar[str]
    index: str | None = None
    key_column: str | None = None

    def __init__(self, names: Sequence[Any], length: int) -> None:
        """Take the names of the columns and the number of the records."""
        self._names = [str(name) for name in names]
        self._length = length
        twice = [name for name, count in Counter(self._names).items() if count > 1]
        if twice:
            raise InputError(
                f"The column {min(twice)!r} comes twice in {self.name}; give each a name of its "
                "own."
            )

    def columns(self) -> list[str]:
        """The names of the columns."""
        return self._names

    def count(self) -> Count:
        """The number of records, which the table knows."""
        return Count(self._length)

    def records(
        self, positions: Iterable[int] | None = None, columns: Collection[str] | None = None
    ) -> Iterator[Record]:
        """The records at these positions, read in blocks."""
        wanted = iter(range(self._length) if positions is None else positions)
        chosen = [name for name in self._names if columns is None or name in columns]
        while some := list(islice(wanted, BLOCK_RECORDS)):
            some = [position for position in some if position < self._length]
            if not some:
                return
            start, end = some[0], some[-1] + 1
            # What is far apart is read one by one, rather than all that lies between.
            spans = (
                [(start, end)] if end - start <= 2 * BLOCK_RECORDS else [(p, p + 1) for p in some]
            )
            held = set(some)
            for first, last in spans:
                kept = held.intersection(range(first, last))
                yield from self._block(chosen, first, last, kept)

    def _block(self, names: list[str], first: int, last: int, kept: set[int]) -> Iterator[Record]:
        """The records of a span that are kept; where it cannot be read, one by one."""
        try:
            values = [unwrapped_pictures(self._values(name, first, last)) for name in names]
        except HashretError:
            raise
        except Exception as error:  # The libraries raise anything on values they cannot give.
            if last - first == 1:
                reason = f"{self.name} cannot give it: {printable(str(error))}"
                yield Record(first, f"row {first:,}", None, reason)
                return
            for position in sorted(kept):
                yield from self._block(names, position, position + 1, {position})
            return
        for position in sorted(kept):
            row = {name: some[position - first] for name, some in zip(names, values, strict=True)}
            yield Record(position, f"row {position:,}", row)

    @abstractmethod
    def _values(self, name: str, start: int, stop: int) -> Sequence[Any]:
        """Python values of a column, None where one is missing."""


class FrameReader(ObjectReader):
    """A pandas DataFrame.

    An index that has a name, or holds texts, is a column too, and holds the keys where no column
    is called as one that does and its values differ. Whole numbers without a name, as they are left
    when rows are taken out of a frame, are keys where each comes once, and otherwise nothing.

    Whether values differ is asked of all rows, and means nine of ten, so that a part of a frame is
    hardly ever understood in another way than the whole: keys would be those of other rows then.

    Args:
        frame: a DataFrame.
        id_column: the user's column of keys, ``""`` for the numbers of the rows, or None.
        column: the user's column of values, or None.
    """

    name = "the DataFrame"

    def __init__(self, frame: Any, id_column: str | None = None, column: str | None = None) -> None:
        """Decide what the index is, and which column holds the keys."""
        self._frame = frame
        self._places = {str(name): place for place, name in enumerate(frame.columns)}
        names = [str(name) for name in frame.columns]
        name = str(frame.index.name or "index")
        index_keys = False
        if name not in self._places and not _are_row_numbers(frame.index):
            kind = getattr(frame.index, "inferred_type", "")
            if kind == "integer" and frame.index.name is None:
                index_keys = frame.index.is_unique
            else:
                index_keys = kind not in _NO_KEYS and _differ(frame.index)
                self.likely_keys = [name] if index_keys else []
                names.append(name)
                self.index = name
        if id_column is None:
            named = [one for one in names if one != column] if len(names) > 1 else []
            self.key_column = self._decided(named, name if index_keys else "")
        if self.index is None and name not in self._places and name in (id_column, self.key_column):
            names.append(name)
            self.index = name
        super().__init__(names, len(frame))

    def _decided(self, names: list[str], index: str) -> str | None:
        """The column of the keys, where the names of the columns alone do not tell it.

        Args:
            names: of the columns that may be it.
            index: the same of an index that can be; empty where it cannot.
        """
        ranked = [name for name in first_named(KEY_NAMES, names) if self._holds_keys(name)]
        kept = next((name for name in ranked if _differ(self._column(name))), None)
        passed = ranked if kept is None else ranked[: ranked.index(kept)]
        if not passed:
            return None if kept or not index else index
        once = (n for n in first_named(UNIQUE_KEY_NAMES, names) if self._column(n).is_unique)
        decided = kept or index or next(once, "")
        _log.warning(
            "values of the column %r of %s repeat, so the keys are %s. id_column=%r takes that "
            "column nonetheless, and skips what comes twice; name one where you will add a part of "
            "these rows, in which they may not repeat.",
            printable(passed[0]),
            self.name,
            f"in {printable(decided)!r}" if decided else "the numbers of the rows",
            passed[0],
        )
        return decided

    def _holds_keys(self, name: str) -> bool:
        """Whether a column may hold texts or whole numbers."""
        column = self._column(name)
        if getattr(column, "inferred_type", "") in _NO_KEYS:
            return False
        try:
            column.nunique()
        except TypeError:  # lists
            return False
        return getattr(column.dtype, "kind", "O") not in "fcbmM"

    def _column(self, name: str) -> Any:
        """A column, or the index."""
        place = self._places.get(name)
        return self._frame.index if place is None else self._frame.iloc[:, place]

    def _values(self, name: str, start: int, stop: int) -> Sequence[Any]:
        if name == self.index:
            part = self._frame.index[start:stop]
        else:
            part = self._frame.iloc[start:stop, self._places[name]]
        values: list[Any] = part.tolist()
        missing = part.isna().tolist()
        if any(missing):
            return [None if m else v for v, m in zip(values, missing, strict=True)]
        return values


def _differ(values: Any) -> bool:
    """Whether nine of ten values of a column, or of an index, come once."""
    return bool(10 * values.nunique() >= 9 * len(values))


def _are_row_numbers(index: Any) -> bool:
    """Whether an index tells nothing but the places of the rows, or tells it by several columns."""
    kind = type(index).__name__
    return kind == "MultiIndex" or (kind == "RangeIndex" and (index.start, index.step) == (0, 1))


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
