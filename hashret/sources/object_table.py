"""Tables in memory as records: what those of all libraries have in common."""

from __future__ import annotations

from abc import abstractmethod
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, ClassVar

from hashret.errors import HashretError, InputError
from hashret.sources.foreign import unwrapped_pictures
from hashret.sources.metadata import printable
from hashret.sources.records import Count, Record, RecordReader

BLOCK_RECORDS = 1024


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
