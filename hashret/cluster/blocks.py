"""Items as Arrow tables: the form in which they travel from where they are read to their shards."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from itertools import repeat
from typing import Any

import numpy as np
import pyarrow as pa

from hashret.index.differences import Given
from hashret.sources import Item, Skipped, SkippedInputs, content_hashes
from hashret.sources.item import HASH_BYTES
from hashret.store import encode_fields

BLOCK_BYTES = 16 << 20
"""Values of more bytes than this are not put into one block, unless one alone has more."""

SCHEMA = pa.schema(
    [
        ("part", pa.int32()),
        ("key", pa.string()),
        ("form", pa.string()),
        ("value", pa.large_binary()),
        ("fields", pa.string()),
        ("digest", pa.binary(HASH_BYTES)),
        ("position", pa.int64()),
    ]
)
"""Of a block. ``form`` tells what the bytes of ``value`` are: ``text``, ``file`` (of an image), the
type and shape of an array, or ``skipped``: then ``key`` is the name of an input that was left out
and ``fields`` the reason, or ``position`` the number of those without a name. Or ``error``: then
``key`` is the kind of what stopped the reader, and ``fields`` its message."""

GIVEN = ("key", "fields", "digest", "position")

TEXT, FILE, SKIPPED, ERROR = "text", "file", "skipped", "error"


def blocks_of(items: Iterable[Item], part: int, most_items: int) -> Iterator[pa.Table]:
    """Items of a part as blocks, one after the other."""
    kept: list[Item] = []
    forms: list[tuple[str, bytes]] = []
    n_bytes = 0
    for item in items:
        kept.append(item)
        forms.append(_to_bytes(item.value))
        n_bytes += len(forms[-1][1])
        if len(kept) == most_items or n_bytes >= BLOCK_BYTES:
            yield _block(kept, forms, part)
            kept, forms, n_bytes = [], [], 0
    if kept:
        yield _block(kept, forms, part)


def _block(items: list[Item], forms: list[tuple[str, bytes]], part: int) -> pa.Table:
    columns = [
        pa.array(np.full(len(items), part, dtype=np.int32)),
        [item.key for item in items],
        [form for form, _ in forms],
        [content for _, content in forms],
        [encode_fields(item.fields) for item in items],
        content_hashes([item.value for item in items]),
        [item.position for item in items],
    ]
    return pa.table(columns, schema=SCHEMA)


def skipped_block(skipped: SkippedInputs, part: int) -> pa.Table:
    """Inputs that were left out, as a block."""
    names = [(one.name, one.reason, 0) for one in skipped]
    if skipped.unnamed:
        names.append(("", "", skipped.unnamed))
    return _notes(SKIPPED, names, part)


def error_block(kind: str, message: str, part: int) -> pa.Table:
    """What stopped whoever reads a part, as a block."""
    text = message.encode("utf-8", "backslashreplace").decode()  # a path in it may be no Unicode
    return _notes(ERROR, [(kind, text, 0)], part)


def error_in(block: pa.Table) -> tuple[str, str] | None:
    """The kind and the message of what stopped whoever read a block."""
    import pyarrow.compute as pc

    for row in block.filter(pc.equal(block["form"], ERROR)).select(["key", "fields"]).to_pylist():
        return row["key"], row["fields"]
    return None


def _notes(form: str, notes: list[tuple[str, str, int]], part: int) -> pa.Table:
    columns = [
        pa.array(np.full(len(notes), part, dtype=np.int32)),
        [name for name, _, _ in notes],
        [form] * len(notes),
        [b""] * len(notes),
        [text for _, text, _ in notes],
        [bytes(HASH_BYTES)] * len(notes),
        [number for _, _, number in notes],
    ]
    return pa.table(columns, schema=SCHEMA)


def split_skipped(block: pa.Table) -> tuple[pa.Table, SkippedInputs]:
    """A block without what was left out, and that."""
    import pyarrow.compute as pc

    is_skipped = pc.equal(block["form"], SKIPPED)
    skipped = SkippedInputs()
    for row in block.filter(is_skipped).select(["key", "fields", "position"]).to_pylist():
        if row["position"]:
            skipped.unnamed += row["position"]
        else:
            skipped.append(Skipped(row["key"], row["fields"]))
    return block.filter(pc.invert(is_skipped)), skipped


def given_of(block: pa.Table) -> list[Given]:
    """The items of a block, as they are compared."""
    return list(map(Given, *(block[name].to_pylist() for name in GIVEN)))


def values_of(block: pa.Table) -> list[Any]:
    """The values of the items of a block."""
    forms = block["form"].to_pylist()
    contents = block["value"].to_pylist()
    if forms and forms.count(forms[0]) == len(forms) and forms[0] not in (TEXT, FILE):
        dtype, shape = _array_type(forms[0])
        rows = np.frombuffer(b"".join(contents), dtype).reshape(len(forms), *shape)
        return list(rows)
    return list(map(_from_bytes, forms, contents))


def _to_bytes(value: Any) -> tuple[str, bytes]:
    if isinstance(value, str):
        return TEXT, value.encode("utf-8", "surrogatepass")
    if isinstance(value, bytes):
        return FILE, value
    if isinstance(value, np.ndarray):
        return f"{value.dtype.str} {' '.join(map(str, value.shape))}", value.tobytes()
    return FILE, _picture_bytes(value)


def _picture_bytes(picture: Any) -> bytes:
    """A PIL image as a file that holds the same pixels, and which way up they are."""
    content = io.BytesIO()
    picture.save(
        content,
        "PNG" if picture.mode in ("1", "L", "LA", "P", "RGB", "RGBA") else "TIFF",
        exif=picture.getexif().tobytes(),
    )
    return content.getvalue()


def _from_bytes(form: str, content: bytes) -> Any:
    if form == TEXT:
        return content.decode("utf-8", "surrogatepass")
    if form == FILE:
        return content
    dtype, shape = _array_type(form)
    return np.frombuffer(content, dtype).reshape(shape)


def _array_type(form: str) -> tuple[np.dtype[Any], tuple[int, ...]]:
    dtype, *shape = form.split(" ")
    return np.dtype(dtype), tuple(map(int, shape))


def delivery(given: pa.Table, places: list[int], codes: dict[int, bytes] | None = None) -> pa.Table:
    """What a shard's writer is given: rows of a block, with their codes where they have one.

    Args:
        given: a block.
        places: of the rows.
        codes: by place.
    """
    table = given.select(GIVEN).take(pa.array(places, type=pa.int64()))
    made = list(map((codes or {}).get, places, repeat(None)))
    return table.append_column("code", pa.array(made, type=pa.binary()))
