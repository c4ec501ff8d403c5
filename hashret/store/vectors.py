"""Feature rows kept beside their items, as float16 with a power of two of their own each.

A row is multiplied by a power of two that brings its largest value between 2**14 and 2**15, and
then rounded to float16. So no value is too large, those down to 2**-28 of the row's largest keep 11
significant bits, and what float16 holds exactly stays exact. Two bytes a value, some 25 an item.
"""

from __future__ import annotations

import json
import sqlite3
import struct
import zlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hashret.errors import DamagedIndexError
from hashret.store.items import RESTORE

_RECORDS = "select row, exponent, vector, checksum from vectors"
_TOP_EXPONENT = 15
_FLOAT32_MAX = np.finfo(np.float32).max


def pack_vectors(matrix: NDArray[np.float32]) -> tuple[NDArray[np.int32], NDArray[np.float16]]:
    """Round rows to float16 after scaling each by a power of two.

    Args:
        matrix: ``float32``, shape ``(n, d)``, finite.

    Returns:
        ``int32`` exponents ``(n,)`` and ``float16`` ``(n, d)``: ``ldexp(halves, exponents)`` is
        ``matrix`` but for rounding.
    """
    _, tops = np.frexp(np.abs(matrix).max(axis=1, initial=0))
    exponents = tops.astype(np.int32) - _TOP_EXPONENT
    return exponents, np.ldexp(matrix, -exponents[:, None]).astype(np.float16)


def unpack_vectors(
    exponents: NDArray[np.int32], halves: NDArray[np.float16]
) -> NDArray[np.float32]:
    """The inverse of :func:`pack_vectors`, ``float32`` of shape ``(n, d)``."""
    with np.errstate(over="ignore"):  # what was rounded up from the very end of float32
        matrix = np.ldexp(halves.astype(np.float32), exponents[:, None])
    return np.clip(matrix, -_FLOAT32_MAX, _FLOAT32_MAX)


def _checksum(row: int, exponent: int, vector: bytes) -> int:
    head = struct.pack("<qq", row, exponent)
    return zlib.crc32(vector, zlib.crc32(head))


def insert_vectors(
    connection: sqlite3.Connection, rows: Sequence[int], matrix: NDArray[np.float32]
) -> None:
    """Keep the feature rows ``(n, d)`` of new items, which have these row numbers."""
    exponents, halves = pack_vectors(matrix)
    connection.executemany(
        "insert into vectors (row, exponent, vector, checksum) values (?, ?, ?, ?)",
        (
            (row, exponent, vector, _checksum(row, exponent, vector))
            for row, exponent, vector in zip(
                rows, exponents.tolist(), map(_little_endian, halves), strict=True
            )
        ),
    )


def _little_endian(halves: NDArray[np.float16]) -> bytes:
    return halves.astype("<f2", copy=False).tobytes()


def _first_checksum(row: int, exponent: int, vector: bytes) -> int | None:
    """As the first version that kept vectors wrote it; exponents of other sizes it never had."""
    if not -(2**31) <= exponent < 2**31:
        return None
    return zlib.crc32(vector, zlib.crc32(struct.pack("<qi", row, exponent)))


def read_vectors(
    connection: sqlite3.Connection, rows: Sequence[int], length: int
) -> NDArray[np.float32]:
    """The kept feature rows of items, ``float32`` of shape ``(len(rows), length)``, in order.

    Raises:
        DamagedIndexError: one is missing, has another length, or does not match its checksum.
    """
    found = {
        record[0]: record
        for record in connection.execute(
            f"{_RECORDS} where row in (select value from json_each(?))", [json.dumps(rows)]
        )
    }
    records = []
    for row in rows:
        record = found.get(row)
        if record is None or not is_whole_vector(record, length):
            raise DamagedIndexError(
                f"The vector kept of row {row} in items.db is missing or damaged: `hashret verify` "
                f"names all that are. {RESTORE}"
            )
        records.append(record)
    halves = np.frombuffer(b"".join(record[2] for record in records), dtype="<f2")
    exponents = np.array([record[1] for record in records], dtype=np.int32)
    return unpack_vectors(exponents, halves.reshape(len(records), length))


def is_whole_vector(record: tuple[Any, ...], length: int) -> bool:
    """Whether a record of kept vectors has this ``length`` and matches its checksum."""
    row, exponent, vector, checksum = record
    return (
        isinstance(exponent, int)
        and isinstance(vector, bytes)
        and len(vector) == 2 * length
        and checksum in (_checksum(row, exponent, vector), _first_checksum(row, exponent, vector))
    )


def vector_problems(connection: sqlite3.Connection, length: int) -> Iterator[str]:
    """One line for each kept vector that is damaged, missing, or of no item."""
    try:
        for record in connection.execute(f"{_RECORDS} order by row"):
            if not is_whole_vector(record, length):
                yield f"items.db: the kept vector of row {record[0]} does not match its checksum"
        for (row,) in connection.execute(
            "select row from items where row not in (select row from vectors) order by row"
        ):
            yield f"items.db: the kept vector of row {row} is missing"
        for (row,) in connection.execute(
            "select row from vectors where row not in (select row from items) order by row"
        ):
            yield f"items.db: a vector is kept of row {row}, which is no item"
    except sqlite3.Error as error:
        yield f"items.db: {error}"
