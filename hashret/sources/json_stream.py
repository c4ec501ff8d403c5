"""A JSON file of many objects, read one by one: an array of them, or one after the other."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import Any, TextIO

from hashret.errors import InputError
from hashret.sources.json_lines import as_object, long_number
from hashret.sources.metadata import is_unicode, printable
from hashret.sources.reading import MAX_CHARACTERS, not_decoded, opened_text, picked
from hashret.sources.records import Count, Record, RecordReader

_CHUNK = 1 << 18
_SPACE = " \t\r\n"
_DIGITS = re.compile("[-+.eE0-9]+")


class JsonReader(RecordReader):
    """A JSON array of objects, or objects one after the other, whatever their lines are.

    Of a file of one object that holds one array of objects, these are the records.
    """

    def __init__(self, path: Path, encoding: str) -> None:
        """Take a file; nothing is read yet."""
        self._path, self._encoding = path, encoding

    def count(self) -> Count:
        """Count the objects by reading all of them, so that a damaged file is refused at once."""
        return Count(sum(1 for _ in self._values()))

    def records(
        self,
        positions: Iterable[int] | None = None,
        columns: Collection[str] | None = None,  # noqa: ARG002, the contract's name
    ) -> Iterator[Record]:
        """The objects; other values of the array are named."""
        for position, (line, value) in picked(self._values(), positions):
            place = f"line {line:,}"
            try:
                yield Record(position, place, as_object(value))
            except InputError as error:
                yield Record(position, place, None, str(error))

    def _values(self) -> Iterator[tuple[int, Any]]:
        with opened_text(self._path, self._encoding) as file:
            values = _Parser(file, self._path, self._encoding).values()
            first = next(values, None)
            if first is None:
                return
            second = next(values, None)
            name = _array_inside(first[1]) if second is None else None
            if name is not None:
                self.note = f"the array {printable(name)!r} of its only object"
                yield from ((first[0], value) for value in first[1][name])
                return
            yield first
            if second is not None:
                yield second
            yield from values


def _array_inside(value: Any) -> str | None:
    """The name of the only array of several objects in an object."""
    if not isinstance(value, dict):
        return None
    names = [
        name
        for name, inner in value.items()
        if isinstance(inner, list)
        and len(inner) > 1
        and all(isinstance(one, dict) for one in inner)
    ]
    return names[0] if len(names) == 1 else None


def _is_part(rest: str) -> bool:
    """Whether what is left of a file is the beginning of a value, or nothing."""
    rest = rest.strip(_SPACE)
    words = ("true", "false", "null")
    return any(word.startswith(rest) for word in words) or _DIGITS.fullmatch(rest) is not None


class _Parser:
    """Cuts a text into JSON values, holding no more than one of them and what was read ahead."""

    def __init__(self, file: TextIO, path: Path, encoding: str) -> None:
        self._file, self._path, self._encoding = file, path, encoding
        self._decode = json.JSONDecoder().raw_decode
        self._decode_long = json.JSONDecoder(parse_int=long_number).raw_decode
        self._buffer = ""
        self._place = 0
        self._line = 1
        self._ended = False

    def values(self) -> Iterator[tuple[int, Any]]:
        """Each value with the number of the line on which it begins."""
        in_array = self._next() == "["
        if in_array:
            self._place += 1
            if self._next() == "]":
                self._place += 1
                self._expect_end()
                return
        while self._next():
            line = self._line
            yield line, self._value()
            if not in_array:
                continue
            after = self._next()
            self._place += 1
            if after == "]":
                self._expect_end()
                return
            if not after:
                break
            if after != ",":
                raise self._refused(f"expected , or ] after a value, got {after}")
        if in_array:
            raise self._cut()

    def _next(self) -> str:
        """The next character that is no space, or nothing at the end."""
        while True:
            while self._place < len(self._buffer):
                character = self._buffer[self._place]
                if character not in _SPACE:
                    return character
                self._line += character == "\n"
                self._place += 1
            if not self._more():
                return ""

    def _value(self) -> Any:
        while True:
            reason: Exception | None = None
            try:
                value, end = self._decoded()
            except (ValueError, RecursionError) as error:
                reason = error
            # A number may go on beyond what was read so far.
            if reason is None and (end < len(self._buffer) or self._ended):
                self._line += self._buffer.count("\n", self._place, end)
                self._place = end
                return value
            if len(self._buffer) - self._place > MAX_CHARACTERS:
                raise self._refused(f"{reason or 'a value'}, within {MAX_CHARACTERS:,} characters")
            start = self._place
            if self._more() or reason is None:
                continue
            told, place = str(reason), self._place
            if isinstance(reason, json.JSONDecodeError):
                place += reason.pos - start  # for what was done with is dropped by now
                if reason.msg.startswith("Unterminated") or _is_part(self._buffer[place:]):
                    raise self._cut() from reason
                told = reason.msg.removesuffix(" at")
            self._line += self._buffer.count("\n", self._place, place)
            raise self._refused(told) from reason

    def _decoded(self) -> tuple[Any, int]:
        try:
            return self._decode(self._buffer, self._place)
        except json.JSONDecodeError:
            raise
        except ValueError:  # of a number of thousands of digits
            return self._decode_long(self._buffer, self._place)

    def _more(self) -> bool:
        """Read on, dropping what is done with; False at the end."""
        if self._ended:
            return False
        rest = self._buffer[self._place :]
        chunk = self._file.read(max(_CHUNK, len(rest)))
        if not chunk.isascii() and not is_unicode(chunk):
            raise self._refused(not_decoded(self._encoding))
        self._buffer, self._place = rest + chunk, 0
        self._ended = not chunk
        return bool(chunk)

    def _expect_end(self) -> None:
        if after := self._next():
            raise self._refused(f"expected the end of the file after the array, got {after}")

    def _cut(self) -> InputError:
        self._line += self._buffer.count("\n", self._place)
        return InputError(
            f"{printable(str(self._path))} is cut short: it ends on line {self._line:,}, within "
            "a JSON value. Get or make it again."
        )

    def _refused(self, reason: str) -> InputError:
        return InputError(
            f"{printable(str(self._path))} is no JSON array of objects: line {self._line:,}: "
            f"{reason}. Files of one object a line are named .jsonl; there, a damaged line is "
            "skipped."
        )
