"""Which columns of a table are the values and the keys."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from hashret.errors import InputError
from hashret.sources.columns import Column, Survey
from hashret.sources.joined import (
    JOINED,
    LABEL_NAMES,
    as_names,
    names_in,
    numeric_columns,
)

TEXT_NAMES = (
    *("text", "body", "content", "document", "abstract", "description", "summary", "sentence"),
    *("passage", "review", "comment", "message", "question"),
)
VECTOR_NAMES = ("vector", "vectors", "embedding", "embeddings", "emb", "vec", "features")
SHORT_TEXT_NAMES = ("title", "headline", "caption", "subject")
KEY_NAMES = (
    *("id", "key", "uid", "uuid", "guid", "_id", "doc_id", "docid", "document_id", "documentid"),
    *("item_id", "record_id", "identifier"),
)
UNIQUE_KEY_NAMES = ("url", "uri", "slug", "doi")
"""Names of columns that are keys only where no value comes twice."""

MANY_NUMBERS = 8
"""Beside so many columns of numbers, short texts are names of vectors."""

_WANTED = {
    "auto": "text, paths of images or lists of numbers, and no two hold numbers",
    "text": "text",
    "images": "paths of images",
    "vectors": "lists of numbers, and no two hold numbers",
}


@dataclass(frozen=True, slots=True)
class Choice:
    """Which columns are what.

    Attributes:
        kind: ``"text"``, ``"images"`` or ``"vectors"``.
        column: of the values.
        id_column: of the keys; None for the numbers of the rows.
        width: how long vectors are; 0 for other kinds.
        no_key: the column that has a name as for keys and is none, because its values repeat.
        joined: the columns of numbers that together are the values, where these lie in no column
            of their own; ``column`` is :data:`~hashret.sources.joined.JOINED` then, or a list of
            their names where these are not all columns of numbers.
    """

    kind: str
    column: str
    id_column: str | None
    width: int = 0
    no_key: str | None = None
    joined: tuple[str, ...] = ()

    @property
    def columns(self) -> tuple[str, ...]:
        """All that hold values."""
        return self.joined or (self.column,)

    @property
    def named(self) -> str:
        """The columns of the values, by name, as they are to be taken the next time."""
        return as_names(self.joined) if self.joined else self.column


def choose(
    found: Survey,
    kind: str,
    column: str | None,
    id_column: str | None,
    likely_keys: Sequence[str] = (),
    *,
    name: str,
    folder: Path,
    joined_before: Sequence[str] = (),
) -> Choice:
    """Decide which columns hold the values and the keys.

    Args:
        found: what the columns hold.
        kind: ``"auto"``, or what the user says that the values are.
        column: the user's column of values, or None.
        id_column: the user's column of keys, ``""`` for the numbers of the rows, or None.
        likely_keys: what :class:`~hashret.sources.records.RecordReader` says.
        name: what messages call the table.
        folder: where paths of images start from.
        joined_before: the columns of numbers that vectors of other tables are made of.

    Raises:
        InputError: there is no such column, or none that holds what is asked for.
    """
    given = () if column in found.columns else names_in(column)
    wants_joined = bool(given) or (column == JOINED and JOINED not in found.columns)
    for asked, flag in ((None if wants_joined else column, "--column"), (id_column, "--id-column")):
        if asked and asked not in found.columns:
            raise InputError(
                f"There is no column {asked!r} in {name}; the columns are {_listed(found)}. Name "
                f"one with {flag} ({flag[2:].replace('-', '_')}= in Python), also where another "
                "was taken before."
            )
    numbers: tuple[str, ...] = ()
    if kind in ("auto", "vectors") and (column is None or wants_joined):
        # Found again without the user's column of keys, they must not depend on the guess alone.
        guess = key_column(found, JOINED, likely_keys)
        numbers = numeric_columns(found, (*KEY_NAMES, guess or "", id_column or ""))
    if column is None:
        n_numbers = len(numbers) if len(numbers) > 1 else 0
        column = _value_column(found, kind, id_column, folder, n_numbers)
        wants_joined = column is None and len(numbers) > 1
        if column is None and not wants_joined:
            raise InputError(
                f"No column of {name} holds {_WANTED[kind]}; the columns are {_listed(found)}. "
                "Name one with --column (column= in Python)."
            )
    if wants_joined or column is None:
        taken = _taken(found, given or tuple(joined_before) or numbers, name)
        choice = _joined(found, taken, kind, id_column, likely_keys, name)
        return choice if taken == numbers else replace(choice, column=as_names(taken))
    facts = found.columns[column]
    resolved = held(facts, folder) if kind == "auto" else kind
    if not resolved or not facts.can_be(resolved):
        raise InputError(
            f"Expected {_WANTED[kind]} in the column {column!r} of {name}, which holds "
            f"{facts.describe()}; the columns are {_listed(found)}."
        )
    id_column, no_key = _keys(found, column, id_column, likely_keys)
    width = facts.widths.most_common(1)[0][0] if resolved == "vectors" else 0
    return Choice(resolved, column, id_column, width, no_key)


def _taken(found: Survey, names: tuple[str, ...], table: str) -> tuple[str, ...]:
    """Columns that vectors are made of.

    Raises:
        InputError: one is not there, or holds no numbers.
    """
    for name in names:
        facts = found.columns.get(name)
        if facts is None or not facts.mostly_numbers:
            held = "there is none" if facts is None else f"it holds {facts.describe()}"
            raise InputError(
                f"Expected numbers in the column {name!r} of {table}, of which vectors are to be "
                f"made, and {held}; the columns are {_listed(found)}."
            )
    return names


def _joined(
    found: Survey,
    numbers: tuple[str, ...],
    kind: str,
    id_column: str | None,
    likely_keys: Sequence[str],
    name: str,
) -> Choice:
    """The columns of numbers as the values.

    Raises:
        InputError: these are fewer than two, or other values are asked for.
    """
    if len(numbers) < 2:
        raise InputError(
            f"--column '{JOINED}' (column= in Python) makes vectors of all columns of numbers, and "
            f"expects two at least and no other kind; the columns of {name} are {_listed(found)}."
            if kind in ("auto", "vectors")
            else f"--column '{JOINED}' (column= in Python) makes vectors, and not {kind}."
        )
    id_column, no_key = _keys(found, JOINED, id_column, likely_keys)
    return Choice("vectors", JOINED, id_column, len(numbers), no_key, numbers)


def _keys(
    found: Survey, column: str, id_column: str | None, likely_keys: Sequence[str]
) -> tuple[str | None, str | None]:
    """The column of keys, and the one that is none although it is named so."""
    if id_column is not None:
        return id_column or None, None
    guess = key_column(found, column, likely_keys)
    named = first_named(KEY_NAMES, (one for one in found.distinct if one != column))
    return guess, None if guess else next(iter(named), None)


def _value_column(
    found: Survey, kind: str, id_column: str | None, folder: Path, n_numbers: int
) -> str | None:
    """The column that most likely holds what is to be indexed.

    None where there is none, or only keys, labels and names beside ``n_numbers`` columns of numbers
    that can be joined, if any can.
    """
    others = {name: facts for name, facts in found.columns.items() if name != id_column}
    holding = {name: held(facts, folder) for name, facts in others.items()}
    fitting = {
        name: facts
        for name, facts in others.items()
        if (holding[name] if kind == "auto" else facts.can_be(kind))
    }
    by_kind: dict[str, dict[str, Column]] = {"text": {}, "images": {}, "vectors": {}}
    for name, facts in fitting.items():
        if kind in ("auto", holding[name]):
            by_kind[holding[name]][name] = facts
    images, vectors = by_kind["images"], by_kind["vectors"]
    texts = {
        name: facts
        for name, facts in by_kind["text"].items()
        if facts.words and (not n_numbers or holds_texts(found, name, n_numbers))
    }
    there = [name for name in images if _are_there(fitting[name], folder)]
    # Boxes, coordinates and colours stand beside what they belong to.
    short = [
        name
        for name, facts in vectors.items()
        if name.lower() not in VECTOR_NAMES and facts.widths.most_common(1)[0][0] < MANY_NUMBERS
    ]
    longest = sorted(texts, key=lambda name: -texts[name].characters)
    ranked = [
        *there,
        *first_named(TEXT_NAMES, texts),
        *(name for name in vectors if name not in short),
        *first_named(SHORT_TEXT_NAMES, texts),
        *short,
        *longest,
        *images,
        *(fitting if kind != "auto" and not n_numbers else ()),
    ]
    # Keys of text are not what they are the keys of, where there is anything else.
    apart = (*KEY_NAMES, *LABEL_NAMES) if n_numbers and not (images or vectors) else KEY_NAMES
    last = None if n_numbers else next(iter(ranked), None)
    return next((name for name in ranked if name.lower() not in apart), last)


def holds_texts(found: Survey, name: str, n_numbers: int) -> bool:
    """Whether a column beside columns of numbers holds texts, rather than labels or names.

    It does if it is named as texts are; or if most of its values differ, are no dates or codes, and
    have three words or more, or stand beside only a few columns of numbers.
    """
    facts = found.columns[name]
    if not facts.words or facts.mostly_numbers or facts.holds() != "text":
        return False
    if name.lower() in (*TEXT_NAMES, *SHORT_TEXT_NAMES):
        return True
    if 2 * facts.codes > facts.kinds.total():
        return False
    is_prose = 2 * facts.sentences > facts.kinds.total()
    return is_varied(found, name) and (is_prose or n_numbers < MANY_NUMBERS)


def is_varied(found: Survey, name: str) -> bool:
    """Whether most of the first values of a column differ, where there are any."""
    return 2 * found.distinct.get(name, 0) > found.columns[name].kinds.total()


def held(facts: Column, folder: Path) -> str:
    """What a source of a column would be a source of; empty where it cannot be one.

    Where most of its values are paths of images that are there, the others are broken ones.
    """
    if facts.mostly_paths and _are_there(facts, folder):
        return "images"
    return facts.holds()


def key_column(found: Survey, column: str, likely_keys: Sequence[str]) -> str | None:
    """The column that most likely holds the keys of the values in ``column``; None for none."""
    distinct = {name: count for name, count in found.distinct.items() if name != column}
    likely = [name for name, count in distinct.items() if 2 * count > found.records]
    unique = [name for name, count in distinct.items() if count == found.records]
    ranked = [
        *first_named(KEY_NAMES, likely),
        *(name for name in likely_keys if name in unique),
        *first_named(UNIQUE_KEY_NAMES, unique),
    ]
    return next(iter(ranked), None)


def first_named(names: Iterable[str], columns: Iterable[str]) -> list[str]:
    """Those of the columns that have one of these names, in the order of the names."""
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
