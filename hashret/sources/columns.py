"""The columns of a table: what a sample of the records shows that they hold."""

from __future__ import annotations

import math
import re
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from hashret.sources.images import is_image_name
from hashret.sources.item import is_pil_image
from hashret.sources.reading import is_not_decoded
from hashret.sources.records import RecordReader

SAMPLE_RECORDS = 1000
_SAMPLE_CHARACTERS = 1 << 23

_IMAGE_STARTS = (
    *(b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"BM", b"RIFF", b"II*\0", b"MM\0*", b"P5", b"P6"),
)
_INTEGER = re.compile(r"-?(0|[1-9][0-9]{0,18})")
_COMMA = re.compile(r"[-+]?(?:0|[1-9][0-9]*|[1-9][0-9]{0,2}(?:\.[0-9]{3})+),[0-9]+")
_THOUSANDS = re.compile(r"[-+]?[1-9][0-9]{0,2},[0-9]{3}")
"""What may also be a whole number with a comma after the thousands."""
_UNSPACED = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff]{8}")
_PLAIN = re.compile(r"-?(?:0|[1-9][0-9]{0,14})(?:\.[0-9]+)?")
_DIGITS = re.compile(r"[-+]?[0-9]+")
_WORD = re.compile(r"[^\W\d_]{2,}")
_CODE = 100
_MISSING = frozenset({"", "nan", "na", "n/a", "null", "none"})


@dataclass(slots=True)
class Column:
    """What a sample of the values of a column shows.

    Attributes:
        kinds: how often each kind of value came: ``text``, ``path`` (of an image), ``number``,
            ``list`` (of numbers), ``written`` (such a list as text), ``picture`` (as bytes, or a
            PIL image), ``bytes``, ``other``; missing ones do not count.
        widths: how often a list had which length.
        characters: how long its texts are together.
        words: whether one of its texts is no number, no list of these, and no missing one.
        sentences: how many of its texts have three words or more, or the letters of as many in a
            script that puts no space between words.
        numbers: how many of its texts are numbers.
        digits: whether one of its texts is digits that are no number, as 007 and +49 are.
        codes: how many of its texts are dates, times or codes: of digits without words.
        wide: whether one of its whole numbers has more than 64 bits.
        decimal_comma: whether they are numbers with a decimal comma.
        maybe_comma: whether all its texts so far can be such numbers, and whether one is certain to
            be one.
        paths: some of the paths.
    """

    kinds: Counter[str] = field(default_factory=Counter)
    widths: Counter[int] = field(default_factory=Counter)
    characters: int = 0
    words: bool = False
    sentences: int = 0
    numbers: int = 0
    digits: bool = False
    codes: int = 0
    wide: bool = False
    decimal_comma: bool = False
    maybe_comma: tuple[bool, bool] = (True, False)
    paths: list[str] = field(default_factory=list)

    @property
    def numeric(self) -> bool:
        """Whether its texts are numbers; where all of them are missing, nothing says so."""
        return self.numbers > 0 and not self.words and not self.kinds["written"]

    @property
    def mostly_numbers(self) -> bool:
        """Whether it holds numbers, or texts that are some, in nine of ten of its values."""
        count = self.kinds["number"] + self.numbers
        enough = count > 0 and 10 * count >= 9 * self.kinds.total()
        return self.numeric or (enough and not self.digits)

    def note(self, value: Any) -> None:
        """Look at one more value."""
        if type(value) is str and _PLAIN.fullmatch(value):
            self._note_plain(value)
            return
        kind = kind_of_value(value)
        if kind is None:
            return
        self.kinds[kind] += 1
        if kind == "list":
            self.widths[len(value)] += 1
        elif kind == "number":
            self.wide = self.wide or (isinstance(value, int) and not fits(value))
        elif kind in ("text", "path", "written"):
            if kind == "written":
                self.widths[len(written_list(value) or ())] += 1
            self.characters += len(value)
            self.sentences += _is_sentence(value)
            self.codes += _is_code(value)
            bare = value.strip()
            if not is_missing(bare) and kind != "written":
                is_number = not isinstance(number(bare), str)
                self.numbers, self.words = self.numbers + is_number, self.words or not is_number
                self.digits = self.digits or (not is_number and _DIGITS.fullmatch(bare) is not None)
            self._note_comma(bare)
            if kind == "path" and len(self.paths) < 10:
                self.paths.append(value)

    def _note_plain(self, text: str) -> None:
        """What :meth:`note` does, sooner, for a number as most are written."""
        self.kinds["text"] += 1
        self.characters += len(text)
        self.numbers += 1
        if "." in text:
            self.maybe_comma = (False, self.maybe_comma[1])

    def _note_comma(self, bare: str) -> None:
        possible, certain = self.maybe_comma
        if not possible:
            return
        comma = _COMMA.fullmatch(bare) is not None
        whole = _whole(bare) is not None or is_missing(bare)
        certain = certain or (comma and _THOUSANDS.fullmatch(bare) is None)
        self.maybe_comma = (comma or whole, certain)

    def holds(self) -> str:
        """What a source of it would be a source of; empty where it cannot be one."""
        if not self.kinds:
            return ""
        if set(self.kinds) == {"path"}:
            return "images"
        most = self.kinds.most_common(1)[0][0]
        if most == "written":
            # Lists of other lengths each, such as numbers of categories, are no vectors.
            width, count = self.widths.most_common(1)[0]
            return "vectors" if width > 1 and 2 * count > self.kinds.total() else "text"
        kinds = {"text": "text", "path": "text", "list": "vectors", "picture": "images"}
        return kinds.get(most, "")

    @property
    def mostly_paths(self) -> bool:
        """Whether more than half of its values are paths of images."""
        return 2 * self.kinds["path"] > self.kinds.total()

    def can_be(self, kind: str) -> bool:
        """Whether values of it can be of this kind."""
        needed = {
            "text": {"text", "path", "written"},
            "images": {"path", "picture"},
            "vectors": {"list", "written"},
        }
        return bool(needed[kind] & set(self.kinds))

    def describe(self) -> str:
        """A word on what it holds."""
        if not self.kinds:
            return "empty"
        most = self.kinds.most_common(1)[0][0]
        words = {
            "text": "text" if self.words else "numbers as text",
            "path": "paths of images",
            "number": "numbers",
            "list": "lists of numbers",
            "written": "lists of numbers as text",
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
        undecoded: how many could not be read because they are in another encoding.
    """

    columns: dict[str, Column]
    distinct: dict[str, int]
    records: int
    problem: str
    undecoded: int = 0


def _is_code(text: str) -> bool:
    """Whether a text is a date, a time, an id or the like: digits, and no words beside them."""
    has_digits = any(map(str.isdigit, text[:_CODE]))
    return has_digits and (len(text.split(None, 1)) < 2 or _WORD.search(text) is None)


def _is_sentence(text: str) -> bool:
    return len(text.split(None, 2)) > 2 or _UNSPACED.search(text) is not None


def kind_of_value(value: Any) -> str | None:
    """What a value is, as :class:`Column` counts it; None where it is missing."""
    if isinstance(value, str):
        if not value or value.isspace():
            return None
        if written_list(value) is not None:
            return "written"
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


def written_list(text: str) -> list[float] | None:
    """The numbers of a list that was written as text, as pandas does in CSV; None for other text.

    Example:
        >>> written_list("[0.5, -1e-3]"), written_list("[1.  2.5]"), written_list("[1] a note")
        ([0.5, -0.001], [1.0, 2.5], None)
    """
    bare = text.strip()
    if bare[:1] != "[" or bare[-1:] != "]":
        return None
    try:
        return [float(one) for one in bare[1:-1].replace(",", " ").split()] or None
    except ValueError:
        return None


def is_missing(text: str) -> bool:
    """Whether the text of a cell stands for a missing number."""
    return text.strip().lower() in _MISSING


def fits(value: int) -> bool:
    """Whether a whole number has no more than 64 bits, which is what a field can hold."""
    return -(2**63) <= value < 2**63


def number(text: str, *, decimal_comma: bool = False) -> int | float | str | None:
    """The number in a cell of a column of numbers; text that is none stays as it is.

    Numbers with leading zeros, such as codes, are text; so are whole numbers with a plus sign, such
    as those of telephones, and those of more than 64 bits.

    Example:
        >>> number("17"), number("-2.50"), number("nan"), number("007")
        (17, -2.5, None, '007')
        >>> number("1212092628029698049"), number("18446744073709551615"), number("+491761234")
        (1212092628029698049, '18446744073709551615', '+491761234')
        >>> number("1.234,5", decimal_comma=True)
        1234.5
    """
    bare = text.strip()
    if is_missing(bare):
        return None
    if (whole := _whole(bare)) is not None:
        return whole
    if decimal_comma:
        if not _COMMA.fullmatch(bare):
            return text
        bare = bare.replace(".", "").replace(",", ".")
    digits = bare.lstrip("-+")
    if digits.isdecimal() or (digits[:1] == "0" and digits[1:2].isdigit()) or "_" in bare:
        return text
    try:
        value = float(bare)
    except ValueError:
        return text
    return value if math.isfinite(value) else text


def _whole(bare: str) -> int | None:
    """The whole number that a text is."""
    if not _INTEGER.fullmatch(bare):
        return None
    value = int(bare)
    return value if fits(value) else None


def survey(reader: RecordReader) -> Survey:
    """Look at the first records of a file."""
    declared = reader.columns()
    columns = {name: Column() for name in declared or ()}
    seen: dict[str, set[Any]] = {}
    problem = ""
    count = characters = undecoded = 0
    for record in reader.records(range(SAMPLE_RECORDS)):
        if record.values is None:
            problem = problem or f"{record.place}: {record.problem}"
            undecoded += is_not_decoded(record.problem)
            continue
        count += 1
        for name, value in record.values.items():
            columns.setdefault(name, Column()).note(value)
            if isinstance(value, str | int) and value != "":
                seen.setdefault(name, set()).add(value)
            characters += len(value) if isinstance(value, str) else 8
        if characters > _SAMPLE_CHARACTERS:
            break
    if reader.decimal_comma:
        for facts in columns.values():
            if not facts.numeric and all(facts.maybe_comma):
                facts.words, facts.numbers, facts.decimal_comma = False, 1, True
    if not reader.typed:
        for facts in columns.values():
            if facts.numeric:
                facts.kinds = Counter({"number": facts.kinds.total()})
    distinct = {name: len(keys) for name, keys in seen.items()}
    return Survey(columns, distinct, count, problem, undecoded)
