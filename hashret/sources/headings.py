"""Whether the first row of delimited text names its columns, or is data as the others are."""

from __future__ import annotations

import re
from collections import Counter

from hashret.sources.columns import SAMPLE_RECORDS
from hashret.sources.delimited import CsvReader

_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}([T ].*)?|[0-9]{1,2}[./][0-9]{1,2}[./][0-9]{4}")
_DECIMAL = re.compile(r"[-+]?[0-9]+[.,][0-9]+")
_NUMBER = re.compile(r"[0-9]+")
_LETTER = re.compile(r"[^\W\d_]")
_ALIKE = 5


def data_in_heading(reader: CsvReader) -> str | None:
    """What of the first row looks like data: a date, a decimal number, or what its column holds.

    That is a cell that comes again, or letters with digits where nearly all cells of the column
    differ from it in digits only, as ``k0`` does above ``k1`` and ``k2``.

    Whole numbers alone tell nothing, for years are names of columns too; nor does a first row that
    comes again as a whole, where files were put one after the other.
    """
    names = reader.columns()
    for name in names:
        if _DATE.fullmatch(name) or _DECIMAL.fullmatch(name):
            return name
    shapes = {name: _shape(name) for name in names if _LETTER.search(name) and _shape(name) != name}
    again: Counter[str] = Counter()
    alike: Counter[str] = Counter()
    filled: Counter[str] = Counter()
    for record in reader.records(range(SAMPLE_RECORDS)):
        cells = record.values or {}
        same = [name for name in names if name and cells.get(name, "").strip() == name]
        if len(same) < max(2, len(names)):
            again.update(same)
        for name, shape in shapes.items():
            cell = cells.get(name, "").strip()
            if cell and cell != name:
                filled[name] += 1
                alike[name] += _shape(cell) == shape
    for name in names:
        if again[name] > 1 or (alike[name] >= _ALIKE and 10 * alike[name] >= 9 * filled[name]):
            return name
    return None


def _shape(text: str) -> str:
    """A text with ``#`` for each of its numbers."""
    return _NUMBER.sub("#", text)
