"""The columns of a table: what they hold, and which of them are the values and the keys."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from hashret.errors import InputError
from hashret.sources.images import is_image_name
from hashret.sources.item import is_pil_image
from hashret.sources.records import RecordReader

SAMPLE_RECORDS = 1000
_SAMPLE_CHARACTERS = 1 << 23

TEXT_NAMES = (
    *("text", "body", "content", "document", "abstract", "description", "summary", "sentence"),
    *("passage", "review", "comment", "message", "question"),
)
SHORT_TEXT_NAMES = ("title", "headline", "caption", "subject")
KEY_NAMES = (
    *("id", "key", "uid", "uuid", "guid", "_id", "doc_id", "docid", "document_id", "documentid"),
    *("item_id", "record_id", "identifier"),
)
UNIQUE_KEY_NAMES = ("url", "uri", "slug", "doi")
"""Names of columns that are keys only where no value comes twice."""

_WANTED = {
    "auto": "text, paths of images or lists of numbers",
    "text": "text",
    "images": "paths of images",
    "vectors": "lists of numbers",
}
_IMAGE_STARTS = (
    *(b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"BM", b"RIFF", b"II*\0", b"MM\0*", b"P5", b"P6"),
)
_INTEGER = re.compile(r"-?(0|[1-9][0-9]{0,17})")
_MISSING = frozenset({"", "nan", "na", "n/a", "null", "none"})


@dataclass(slots=True)
class Column:
    """What a sample of the values of a column shows.

    Attributes:
        kinds: how often each kind of value came: ``text``, ``path`` (of an image), ``number``,
            ``list`` (of numbers), ``picture`` (as bytes, or a PIL image), ``bytes``, ``other``;
            missing ones do not count.
        widths: how often a list had which length.
        characters: how long its texts are together.
        numeric: whether all its texts are numbers.
        paths: some of the paths.
    """

    kinds: Counter[str] = field(default_factory=Counter)
    widths: Counter[int] = field(default_factory=Counter)
    characters: int = 0
    numeric: bool = True
    paths: list[str] = field(default_factory=list)

    def note(self, value: Any) -> None:
        """Look at one more value."""
        kind = kind_of_value(value)
        if kind is None:
            return
        self.kinds[kind] += 1
        if kind == "list":
            self.widths[len(value)] += 1
        elif kind in ("text", "path"):
            self.characters += len(value)
            self.numeric = self.numeric and is_number(value)
            if kind == "path" and len(self.paths) < 10:
                self.paths.append(value)

    def holds(self) -> str:
        """What a source of it would be a source of; empty where it cannot be one."""
        if not self.kinds:
            return ""
        if set(self.kinds) in ({"path"}, {"picture"}):
            return "images"
        most = self.kinds.most_common(1)[0][0]
        return {"text": "text", "path": "text", "list": "vectors"}.get(most, "")

    def can_be(self, kind: str) -> bool:
        """Whether values of it can be of this kind."""
        needed = {"text": {"text", "path"}, "images": {"path", "picture"}, "vectors": {"list"}}
        return bool(needed[kind] & set(self.kinds))

    def describe(self) -> str:
        """A word on what it holds."""
        if not self.kinds:
            return "empty"
        most = self.kinds.most_common(1)[0][0]
        words = {
            "text": "numbers as text" if self.numeric else "text",
            "path": "paths of images",
            "number": "numbers",
            "list": "lists of numbers",
            "picture": "images",
        }
        return words.get(most, most)


@dataclass(frozen=True, slots=True)
class Survey:
    """What the first records of a table show.

    Attributes:
        columns: all of them, in the order of the file.
        distinct: how many different keys each column would make.
        records: how many were looked at.
        problem: why the first record that could not be read could not.
    """

    columns: dict[str, Column]
    distinct: dict[str, int]
    records: int
    problem: str


@dataclass(frozen=True, slots=True)
class Choice:
    """Which columns are what.

    Attributes:
        kind: ``"text"``, ``"images"`` or ``"vectors"``.
        column: of the values.
        id_column: of the keys; None for the numbers of the rows.
        width: how long vectors are; 0 for other kinds.
    """

    kind: str
    column: str
    id_column: str | None
    width: int = 0


def kind_of_value(value: Any) -> str | None:
    """What a value is, as :class:`Column` counts it; None where it is missing."""
    if isinstance(value, str):
        if not value or value.isspace():
            return None
        return "path" if is_image_name(value) and "\n" not in value else "text"
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, int | float):
        return "other" if isinstance(value, bool) else "number"
    if isinstance(value, bytes):
        return "picture" if value.startswith(_IMAGE_STARTS) else "bytes"
    if is_number_list(value):
        return "list"
    return "picture" if is_picture(value) else "other"


def is_picture(value: Any) -> bool:
    """Whether this is a PIL image, which is only known where Pillow was imported."""
    return type(value).__module__.partition(".")[0] == "PIL" and is_pil_image(value)


def is_number_list(value: Any) -> bool:
    """Whether this is a list of numbers, judged by the first of them."""
    if isinstance(value, np.ndarray):
        return value.ndim == 1 and value.size > 0
    if not isinstance(value, list) or not value:
        return False
    return isinstance(value[0], int | float) and not isinstance(value[0], bool)


def is_number(text: str) -> bool:
    """Whether the text of a cell is a number, or stands for a missing one."""
    return text.strip().lower() in _MISSING or isinstance(number(text), int | float)


def number(text: str) -> int | float | str | None:
    """The number in a cell of a column of numbers; text that is none stays as it is.

    Numbers with leading zeros, such as codes, are text.

    Example:
        >>> number("17"), number("-2.50"), number("nan"), number("007")
        (17, -2.5, None, '007')
    """
    bare = text.strip()
    if _INTEGER.fullmatch(bare):
        return int(bare)
    if bare.lower() in _MISSING:
        return None
    digits = bare.lstrip("-+")
    if (digits[:1] == "0" and digits[1:2].isdigit()) or "_" in bare:
        return text
    try:
        value = float(bare)
    except ValueError:
        return text
    return value if math.isfinite(value) else text


def survey(reader: RecordReader) -> Survey:
    """Look at the first records of a file."""
    declared = reader.columns()
    columns = {name: Column() for name in declared or ()}
    seen: dict[str, set[Any]] = {}
    problem = ""
    count = characters = 0
    for record in reader.records(range(SAMPLE_RECORDS)):
        if record.values is None:
            problem = problem or f"{record.place}: {record.problem}"
            continue
        count += 1
        for name, value in record.values.items():
            columns.setdefault(name, Column()).note(value)
            if isinstance(value, str | int) and value != "":
                seen.setdefault(name, set()).add(value)
            characters += len(value) if isinstance(value, str) else 8
        if characters > _SAMPLE_CHARACTERS:
            break
    return Survey(columns, {name: len(keys) for name, keys in seen.items()}, count, problem)


def choose(
    found: Survey, kind: str, column: str | None, id_column: str | None, *, name: str, folder: Path
) -> Choice:
    """Decide which columns hold the values and the keys.

    Args:
        found: what the columns hold.
        kind: ``"auto"``, or what the user says that the values are.
        column: the user's column of values, or None.
        id_column: the user's column of keys, or None.
        name: what messages call the table.
        folder: where paths of images start from.

    Raises:
        InputError: there is no such column, or none that holds what is asked for.
    """
    for asked in (column, id_column):
        if asked is not None and asked not in found.columns:
            raise InputError(
                f"There is no column {asked!r} in {name}; the columns are {_listed(found)}."
            )
    if column is None:
        column = _value_column(found, kind, id_column, folder)
        if column is None:
            raise InputError(
                f"No column of {name} holds {_WANTED[kind]}; the columns are {_listed(found)}. "
                "Name one with --column (column= in Python)."
            )
    facts = found.columns[column]
    resolved = facts.holds() if kind == "auto" else kind
    if not resolved or not facts.can_be(resolved):
        raise InputError(
            f"Expected {_WANTED[kind]} in the column {column!r} of {name}, which holds "
            f"{facts.describe()}; the columns are {_listed(found)}."
        )
    if id_column is None:
        id_column = _key_column(found, column)
    width = facts.widths.most_common(1)[0][0] if resolved == "vectors" else 0
    return Choice(resolved, column, id_column, width)


def _value_column(found: Survey, kind: str, id_column: str | None, folder: Path) -> str | None:
    """The column that most likely holds what is to be indexed."""
    others = {name: facts for name, facts in found.columns.items() if name != id_column}
    fitting = {
        name: facts
        for name, facts in others.items()
        if (facts.holds() if kind == "auto" else facts.can_be(kind))
    }
    by_kind: dict[str, dict[str, Column]] = {"text": {}, "images": {}, "vectors": {}}
    for name, facts in fitting.items():
        if kind in ("auto", facts.holds()):
            by_kind[facts.holds()][name] = facts
    images, vectors = by_kind["images"], by_kind["vectors"]
    texts = {name: facts for name, facts in by_kind["text"].items() if not facts.numeric}
    there = [name for name in images if _are_there(fitting[name], folder)]
    longest = sorted(texts, key=lambda name: -texts[name].characters)
    ranked = [
        *there,
        *_named(TEXT_NAMES, texts),
        *vectors,
        *_named(SHORT_TEXT_NAMES, texts),
        *longest,
        *images,
        *(fitting if kind != "auto" else ()),
    ]
    # Keys of text are not what they are the keys of, where there is anything else.
    return next(
        (name for name in ranked if name.lower() not in KEY_NAMES), next(iter(ranked), None)
    )


def _key_column(found: Survey, column: str) -> str | None:
    distinct = {name: count for name, count in found.distinct.items() if name != column}
    likely = [name for name, count in distinct.items() if 2 * count > found.records]
    unique = [name for name, count in distinct.items() if count == found.records]
    return next(iter([*_named(KEY_NAMES, likely), *_named(UNIQUE_KEY_NAMES, unique)]), None)


def _named(names: Iterable[str], columns: Iterable[str]) -> list[str]:
    by_name: dict[str, str] = {}
    for column in columns:
        by_name.setdefault(column.lower(), column)
    return [by_name[name] for name in names if name in by_name]


def _are_there(facts: Column, folder: Path) -> bool:
    """Whether values are pictures, or paths of files that are there."""
    if not facts.paths:
        return True
    try:
        return any((folder / path).is_file() for path in facts.paths)
    except (OSError, ValueError):
        return False


def _listed(found: Survey) -> str:
    shown = [f"{name} ({facts.describe()})" for name, facts in list(found.columns.items())[:20]]
    more = len(found.columns) - len(shown)
    return ", ".join(shown) + (f" and {more:,} more" if more > 0 else "") if shown else "none"
