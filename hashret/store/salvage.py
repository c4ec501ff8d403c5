"""What can be saved of a damaged database: every item that matches its checksum."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from hashret.errors import DamagedIndexError, HashretError
from hashret.files import flush_folder
from hashret.store.connection import connect, sqlite_errors
from hashret.store.item_reader import ItemReader
from hashret.store.item_store import ItemStore
from hashret.store.item_writer import ItemWriter
from hashret.store.items import RESTORE, NewItem, item_checksum
from hashret.store.log import log_of
from hashret.store.own_files import REPAIR_FOLDER
from hashret.store.schema import mend_schema
from hashret.store.seal import Seal
from hashret.store.vectors import is_whole_vector
from hashret.store.where import indexed_fields

_NEEDED = ("n_bits", "kind", "encoder", "encoder_files")
_LAST_ROW = 2**62
_PAGE_BYTES = 4096
_HEADER = b"SQLite format 3\0" + _PAGE_BYTES.to_bytes(2, "big") + bytes([2, 2, 0, 64, 32, 32])
"""How each items.db begins: its page size, and that it has a write-ahead log."""


@dataclass
class Salvage:
    """What became of a damaged database.

    Attributes:
        kept: how many items are in the new one.
        lost: one line for each item, or range of rows, that is not.
        folder: where the damaged files are kept.
    """

    kept: int = 0
    lost: list[str] = field(default_factory=list)
    folder: Path | None = None


def salvage(path: Path) -> Salvage:
    """Put a new database in the place of a damaged one, which is kept in a folder beside it.

    Every item that can be read and matches its checksum keeps its row, key, code, fields and
    vector. Segments, which are derived, are left out. The caller holds the writer's lock.

    Args:
        path: the damaged ``items.db``.

    Raises:
        DamagedIndexError: nothing can be saved; nothing was changed.
    """
    result = Salvage()
    workshop = path.with_name(REPAIR_FOLDER)
    new = workshop / path.name
    try:
        shutil.rmtree(workshop, ignore_errors=True)
        workshop.mkdir()
        connection = _connected(path, workshop)
    except HashretError as error:
        shutil.rmtree(workshop, ignore_errors=True)
        raise _hopeless(path, error) from error
    except OSError as error:
        raise _unchanged(path, error) from error
    try:
        old = ItemReader(path, connection)
        settings = _settings(old)
        noted = _noted(old)
        store = ItemStore.create(new, {**settings, "generation": _generation(old) + 1})
        try:
            with store.writing() as writer:
                _copy(connection, writer, settings.get("vector_length"), result)
        finally:
            store.close()
        connection.close()
        named = sum(line.startswith("item ") for line in result.lost)
        if noted is not None and noted > result.kept + named:
            result.lost.append(f"{noted - result.kept:,} of {noted:,} items, in all")
        result.folder = keep_damaged(path)
        # First what would be taken for the log of the new one; the database itself is replaced.
        remove_log(path)
        new.replace(path)
        flush_folder(path.parent)
    except sqlite3.Error as error:
        raise _hopeless(path, error) from error
    except OSError as error:
        raise _unchanged(path, error) from error
    finally:
        connection.close()
        shutil.rmtree(workshop, ignore_errors=True)
    return result


def _connected(path: Path, workshop: Path) -> sqlite3.Connection:
    """A connection to a damaged database, or else to a copy that is mended so far as to be read.

    SQLite opens no file whose header is damaged, or that is shorter than the header says; and no
    other schema than that of an index is opened here.
    """
    try:
        with sqlite_errors(path):
            connection = connect(path)
            try:
                connection.execute("select name from settings").fetchall()
            except BaseException:
                connection.close()
                raise
            return connection
    except HashretError:
        copy = workshop / "copy.db"
        shutil.copyfile(path, copy)
        if log_of(path).exists():
            shutil.copyfile(log_of(path), log_of(copy))
        size = copy.stat().st_size
        with copy.open("r+b") as file:
            file.write(_HEADER)
            file.seek(28)
            n_pages = int.from_bytes(file.read(4), "big")
            # What is not there reads as nothing. A number that cannot be is damaged itself.
            if size < n_pages * _PAGE_BYTES <= 64 * size:
                file.truncate(n_pages * _PAGE_BYTES)
        with sqlite_errors(path):
            with closing(sqlite3.connect(copy, isolation_level=None)) as mended:
                mend_schema(mended)
            return connect(copy)


def _noted(old: ItemReader) -> int | None:
    """How many items there should be, if that can be told."""
    with suppress(HashretError, sqlite3.Error):
        noted = old.setting("items")
        return noted if isinstance(noted, int) else None
    return None


def _unchanged(path: Path, error: OSError) -> HashretError:
    return HashretError(
        f"{path} could not be repaired ({error.strerror or error}). Nothing was changed; make "
        "room in its folder, or make it writable."
    )


def _hopeless(path: Path, error: Exception) -> DamagedIndexError:
    why = str(error.__cause__ or error)
    return DamagedIndexError(f"Nothing of {path} can be saved ({why}). {RESTORE}")


def _settings(old: ItemReader) -> dict[str, Any]:
    """The settings of the seal, where there is one, for it has a checksum of its own."""
    seal = Seal.read(old.path.parent)
    settings: Mapping[str, Any] = {} if seal is None else seal.settings
    if not settings:
        settings = old.settings()
    if any(name not in settings for name in _NEEDED):
        raise _hopeless(old.path, ValueError("its settings are lost"))
    return {name: value for name, value in settings.items() if name not in ("items", "format")}


def _generation(old: ItemReader) -> int:
    seal = Seal.read(old.path.parent)
    with suppress(HashretError, sqlite3.Error, ValueError):
        return max(old.generation, 0 if seal is None else seal.generation)
    return 0 if seal is None else seal.generation


def _copy(
    connection: sqlite3.Connection, writer: ItemWriter, vector_length: int | None, result: Salvage
) -> None:
    n_bytes = int(writer.setting("n_bits")) // 8
    sources: dict[int, int | None] = {}
    for record in _readable(connection, "sources", "id", "id, location", []):
        if isinstance(record[1], str):
            sources[record[0]] = writer.source_id(record[1])
    columns = "row, key, code, fields, content_hash, source, position, checksum"
    names: set[str] = set()
    kept: dict[str, int] = {}
    for record in _readable(connection, "items", "row", columns, result.lost):
        row, key, code, fields, digest, source, position, checksum = record
        shown = f"item {key!r} (row {row})"
        if not (
            isinstance(key, str)
            and isinstance(code, bytes)
            and len(code) == n_bytes
            and isinstance(fields, str)
            and isinstance(digest, bytes)
            and checksum == item_checksum(key, code, fields, digest)
            and _names_in(fields) is not None
        ):
            result.lost.append(f"{shown}: it does not match its checksum")
            continue
        vector = None
        if vector_length is not None:
            vector = _vector(connection, row, vector_length)
            if vector is None:
                result.lost.append(f"{shown}: its kept vector is missing or damaged")
                continue
        if key in kept:
            result.lost.append(f"{shown}: another item has the same key, row {kept[key]}")
            continue
        kept[key] = row
        item = NewItem(key, code, fields, digest, position if isinstance(position, int) else None)
        writer.insert_at(row, item, sources.get(source), vector)
        names.update(_names_in(fields) or ())
    writer.note_fields(sorted(names))
    with suppress(sqlite3.Error):
        for name in set(indexed_fields(connection)) & names:
            writer.index_field(name)
    result.kept = len(kept)


def _names_in(fields: str) -> list[str] | None:
    """The names of fields; None where these are none."""
    try:
        found = json.loads(fields)
    except (ValueError, RecursionError):
        return None
    return list(found) if isinstance(found, dict) else None


def _vector(
    connection: sqlite3.Connection, row: int, length: int
) -> tuple[int, int, bytes, int] | None:
    with suppress(sqlite3.Error, UnicodeDecodeError):
        found = connection.execute(
            "select row, exponent, vector, checksum from vectors where row = ?", [row]
        ).fetchone()
        if found is not None and is_whole_vector(found, length):
            return (found[0], found[1], found[2], found[3])
    return None


def _readable(
    connection: sqlite3.Connection, table: str, row_name: str, columns: str, lost: list[str]
) -> Iterator[tuple[Any, ...]]:
    """The records of a table by ascending row, past every page that cannot be read.

    Where one cannot, the next row that can is looked for by doubling steps, then by halving them.
    """
    sql = f"select {columns} from {table} where {row_name} > ? order by {row_name}"
    last = 0
    while True:
        try:
            for record in connection.execute(sql, [last]):
                if isinstance(record[0], int) and record[0] > last:
                    last = record[0]
                    yield record
            return
        except (sqlite3.DatabaseError, UnicodeDecodeError):
            following = _next_readable(connection, f"{sql} limit 1", last)
            until = "the last" if following is None else f"{following}"
            lost.append(f"{table}: rows {last + 1} to {until} could not be read")
            if following is None:
                return
            last = following


def _next_readable(connection: sqlite3.Connection, sql: str, last: int) -> int | None:
    """The lowest row from which on there is a record that can be read; None if there is none."""

    def works(row: int) -> bool:
        try:
            return connection.execute(sql, [row]).fetchone() is not None
        except (sqlite3.DatabaseError, UnicodeDecodeError):
            return False

    step = 1
    while not works(last + step):
        step *= 2
        if last + step > _LAST_ROW:
            return None
    fails, succeeds = last + step // 2, last + step
    while succeeds - fails > 1:
        middle = (fails + succeeds) // 2
        if works(middle):
            succeeds = middle
        else:
            fails = middle
    return succeeds


def _files(path: Path) -> list[Path]:
    return [path, log_of(path), path.with_name(path.name + "-shm")]


def remove_log(path: Path) -> None:
    """Remove the write-ahead log of a database that nobody has open, and its shared memory."""
    for leftover in _files(path)[1:]:
        leftover.unlink(missing_ok=True)
    flush_folder(path.parent)


def keep_damaged(path: Path) -> Path:
    """Copy a database and its log into a folder beside it, which is returned."""
    folder = path.with_name(f"damaged-{datetime.now(UTC):%Y%m%d-%H%M%S-%f}")
    folder.mkdir()
    for file in _files(path)[:2]:
        if file.exists():
            copy = folder / file.name
            shutil.copy2(file, copy)
            descriptor = os.open(copy, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
    flush_folder(folder)
    return folder
