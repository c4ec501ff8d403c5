"""Codes that were made elsewhere, with their keys and fields, as one stream that can be reread."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from os import PathLike, fspath
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from hashret.codes import Codes, as_codes, from_hex
from hashret.errors import InputError, UsageError
from hashret.sources.array_files import read_npy
from hashret.sources.json_lines import (
    LINES_AT_A_TIME,
    check_regular,
    numbered_lines,
    numbered_objects,
)
from hashret.sources.metadata import are_plain, check_fields, check_key

BLOCK_ITEMS = 16_384

_LINES = (".jsonl", ".ndjson", ".jsonl.gz", ".ndjson.gz")

Block: TypeAlias = tuple[Codes, list[str], list[Mapping[str, Any]]]
Texts: TypeAlias = Sequence[str] | str | PathLike[str]
FieldSets: TypeAlias = Sequence[Mapping[str, Any]] | str | PathLike[str]


class ReadyCodes:
    """Items that have their codes already.

    Args:
        codes: ``uint8``, shape ``(n, n_bits / 8)``; a ``.npy`` file of such, which is mapped, not
            read; or the JSON lines that ``hashret export`` writes, which have keys and fields.
        keys: one text an item, or a file of one a line; None for the numbers of the rows.
        fields: one mapping an item, or a file of one JSON object a line; None for no fields.

    Attributes:
        codes: ``uint8``, ``(n, n_bits / 8)``.
        fingerprint: of the encoder that made them; None where nothing tells.
        description: a line about what was understood.

    Files whose name ends in ``.gz`` are decompressed while they are read.

    Raises:
        InputError: something cannot be read, lengths differ, or a key comes twice.
        UsageError: keys or fields beside JSON lines, which have their own.
    """

    def __init__(
        self,
        codes: Any,
        keys: Texts | None = None,
        fields: FieldSets | None = None,
    ) -> None:
        """Read all but the fields, of which only the number is looked at."""
        self.fingerprint: str | None = None
        name = fspath(codes) if isinstance(codes, str | PathLike) else ""
        self._lines = Path(name) if name.lower().endswith(_LINES) else None
        self._keys: Any = keys
        self._fields: Any = fields
        shown = name or "the codes"
        if self._lines is None:
            if name:
                check_regular(Path(name))
            self.codes = as_codes(read_npy(Path(name)) if name else codes)
            if name and not name.lower().endswith(".npy"):
                raise InputError(f"Codes are read from .npy or {', '.join(_LINES)}, got {name}.")
        else:
            if keys is not None or fields is not None:
                raise UsageError(f"{name} has keys and fields of its own; leave out those beside.")
            self.codes = self._read_lines(self._lines)
        if not len(self.codes):
            raise InputError(f"There is not one code in {shown}.")
        self._check_keys(shown)
        if fields is not None:
            self._check_length(shown, fields, "fields")
        self.description = f"{len(self):,} codes of {self.n_bits} bits from {shown}"

    def __len__(self) -> int:
        """How many items there are."""
        return len(self.codes)

    @property
    def n_bits(self) -> int:
        """Code length in bits."""
        return int(self.codes.shape[1]) * 8

    def blocks(self) -> Iterator[Block]:
        """Codes, keys and fields of some thousand items at a time, in order.

        Raises:
            InputError: the fields of an item are not what can be stored; the line is named. Or
                there are not as many keys or fields any more as when they were counted.
        """
        keys = self._all_keys()
        fields = self._all_fields()
        for start in range(0, len(self), BLOCK_ITEMS):
            codes = self.codes[start : start + BLOCK_ITEMS]
            some = list(islice(keys, len(codes)))
            own = list(islice(fields, len(codes)))
            self._check_unchanged(len(some) == len(codes), len(own) == len(codes))
            yield codes, some, own
        self._check_unchanged(next(keys, None) is None, next(fields, None) is None)

    def _check_unchanged(self, keys: bool, fields: bool) -> None:
        """Refuse files that were changed after their lines were counted."""
        if not keys or not fields:
            what, given = ("fields", self._fields) if keys else ("keys", self._keys)
            given = self._lines or given
            name = fspath(given) if isinstance(given, str | PathLike) else f"the {what}"
            raise InputError(
                f"There are not as many {what} in {name} any more as when they were counted: it "
                "was changed meanwhile. Nothing was added; try again when it is finished."
            )

    # Keys

    def _all_keys(self) -> Iterator[str]:
        if self._lines is not None:
            return (check_key(record["key"]) for _, record in numbered_objects(self._lines))
        if self._keys is None:
            return map(str, range(len(self)))
        if isinstance(self._keys, str | PathLike):
            return _key_lines(self._keys)
        return map(check_key, self._keys)

    def _check_keys(self, shown: str) -> None:
        """Refuse a wrong number of keys, and keys that come twice, holding eight bytes of each."""
        if self._keys is None and self._lines is None:
            return
        if self._keys is not None and not isinstance(self._keys, str | PathLike | Sequence):
            given = type(self._keys).__name__
            raise UsageError(f"keys are a list of texts or a file, got {given}.")
        hashes = np.frombuffer(array("q", map(hash, self._all_keys())), dtype=np.int64)
        if len(hashes) != len(self):
            raise InputError(_lengths(shown, len(self), self._keys, len(hashes), "keys"))
        ordered = np.sort(hashes)
        twice = set(ordered[1:][ordered[1:] == ordered[:-1]].tolist())
        if not twice:
            return
        seen: dict[str, int] = {}
        for number, key in enumerate(self._all_keys(), start=1):
            if hash(key) in twice and (first := seen.setdefault(key, number)) != number:
                place = self._lines or self._keys
                where = (
                    f"lines {first} and {number} of {fspath(place)}"
                    if isinstance(place, str | PathLike)
                    else f"numbers {first} and {number} of the keys, counted from 1"
                )
                raise InputError(f"The key {key!r} comes twice, {where}; keys must be unique.")

    # Fields

    def _all_fields(self) -> Iterator[Mapping[str, Any]]:
        if self._lines is not None:
            path = fspath(self._lines)
            return (
                check_fields(f"line {number} of {path}", record.get("fields") or {})
                for number, record in numbered_objects(path)
            )
        if self._fields is None:
            return ({} for _ in range(len(self)))
        if isinstance(self._fields, str | PathLike):
            path = fspath(self._fields)
            return (
                record if are_plain(record) else check_fields(f"line {number} of {path}", record)
                for number, record in numbered_objects(self._fields)
            )
        return (
            check_fields(f"item {number}", fields) for number, fields in enumerate(self._fields, 1)
        )

    def _check_length(self, shown: str, fields: Any, what: str) -> None:
        if isinstance(fields, str | PathLike):
            found = sum(1 for _ in numbered_lines(fields))
        elif isinstance(fields, Sequence):
            found = len(fields)
        else:
            given = type(fields).__name__
            raise UsageError(f"fields are a list of mappings or a file, got {given}.")
        if found != len(self):
            raise InputError(_lengths(shown, len(self), fields, found, what))

    # JSON lines

    def _read_lines(self, path: Path) -> Codes:
        """The codes of an export, and in passing the encoder that made them."""
        joined = bytearray()
        n_bytes = 0
        for number, record in numbered_objects(path):
            maker = record.get("encoder") or None
            try:
                check_key(record.get("key"))
                code = from_hex(str(record.get("code")), n_bytes * 8 or None).tobytes()
                if not isinstance(maker, str | None):
                    raise InputError(f"An encoder is named by text, got {maker!r}.")
            except InputError as error:
                raise InputError(
                    f"Line {number} of {path} is not what `hashret export -o items.jsonl` writes: "
                    f"{error}"
                ) from error
            if number == 1:
                n_bytes, self.fingerprint = len(code), maker
            elif maker != self.fingerprint:
                raise InputError(
                    f"Line {number} of {path} is of encoder {maker}, those before of "
                    f"{self.fingerprint}: codes of two encoders cannot be compared."
                )
            joined += code
        return as_codes(np.frombuffer(joined, dtype=np.uint8).reshape(-1, n_bytes or 1))


def _lengths(shown: str, n: int, given: object, found: int, what: str) -> str:
    name = fspath(given) if isinstance(given, str | PathLike) else f"the {what}"
    return f"There are {n:,} codes in {shown}, but {found:,} in {name}; expected one for each."


def _key_lines(path: str | PathLike[str]) -> Iterator[str]:
    """A key a line, looked at many at once where nothing is wrong with them."""
    lines = numbered_lines(path)
    while block := list(islice(lines, LINES_AT_A_TIME)):
        try:
            text = b"\n".join([line for _, line in block]).decode()
        except UnicodeDecodeError:
            text = ""
        keys = text.split("\n")
        if len(keys) == len(block) and "" not in keys and "\0" not in text:
            yield from keys
        else:
            yield from (_line_key(path, number, line) for number, line in block)


def _line_key(path: str | PathLike[str], number: int, line: bytes) -> str:
    try:
        return check_key(line.decode())
    except (UnicodeDecodeError, InputError) as error:
        raise InputError(f"Line {number} of {fspath(path)} is no key: {error}") from error
