"""DataFrames of pandas as records, whose keys stay with their rows."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from hashret.sources.choosing import KEY_NAMES, UNIQUE_KEY_NAMES, first_named
from hashret.sources.metadata import printable
from hashret.sources.object_table import ObjectReader

_log = logging.getLogger("hashret")

_NO_KEYS = frozenset(
    {
        *("floating", "boolean", "complex", "interval", "period"),
        *("datetime64", "datetime", "date", "timedelta64", "timedelta"),
    }
)
"""What pandas says of an index whose values are no keys: it is a field, then."""


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
