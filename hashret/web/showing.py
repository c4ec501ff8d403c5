"""Names and values of others on a page: harmless, and of a length that can be read."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from hashret.codes import from_hex, unpack

MOST_CHARACTERS = 300
"""A key or a value of a field may be of any length."""

_FOLDER = Path(__file__).parent
_STRIP_COLUMNS = 32
_LONG_CODE_BITS = 256

STATIC_FILES = {
    "hashret.css": "text/css; charset=utf-8",
    "hashret.js": "text/javascript; charset=utf-8",
    "icon.svg": "image/svg+xml",
}


@cache
def environment() -> Environment:
    """The templates, which escape all they are given."""
    made = Environment(
        loader=FileSystemLoader(_FOLDER / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        auto_reload=False,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    for one in (shown, flowing, shortened, strip, count, duration, part, size):
        made.filters[one.__name__] = one
    return made


def rendered(template: str, **values: Any) -> bytes:
    """A page as bytes; what is no Unicode in a name is shown by its number."""
    text = environment().get_template(template).render(**values)
    return text.encode("utf-8", "backslashreplace")


@cache
def static_file(name: str) -> bytes:
    """The content of one of ``STATIC_FILES``."""
    return (_FOLDER / "static" / name).read_bytes()


def printable(text: str) -> str:
    """Text without what would turn the direction of writing, or that HTML cannot hold."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def shown(value: Any, most: int = MOST_CHARACTERS) -> str:
    """A value as a text that can be printed; a long one keeps its beginning."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return printable(text if len(text) <= most else text[: most - 1] + "…")


def flowing(text: str) -> str:
    """The beginning of a text whose lines are broken by the page."""
    return shown(" ".join(text.split()))


def shortened(key: str, most: int = 80) -> str:
    """A key that can be printed; a long one keeps its end, where the name of a file is."""
    if len(key) <= most:
        return printable(key)
    head = most // 4
    return f"{printable(key[:head])}…{printable(key[head + 1 - most :])}"


def part(text: str) -> str:
    """A text as one part of an address."""
    return quote(text.encode("utf-8", "surrogatepass"), safe="")


def count(number: float) -> str:
    """A number as people write it."""
    return f"{number:,}"


def duration(seconds: float) -> str:
    """Seconds in the unit that fits them."""
    if seconds < 1e-3:
        return f"{seconds * 1e6:,.0f} µs"
    return f"{seconds * 1e3:,.1f} ms" if seconds < 1 else f"{seconds:,.2f} s"


def size(n_bytes: float) -> str:
    """Bytes in the unit that fits them."""
    if n_bytes < 1000:
        return f"{n_bytes:,.0f} bytes"
    for unit in ("kB", "MB"):
        n_bytes /= 1000
        if n_bytes < 1000:
            return f"{n_bytes:,.1f} {unit}"
    return f"{n_bytes / 1000:,.1f} GB"


def strip(code: str, flipped: list[int] | None = None) -> Markup:
    """The bits of a code as a picture: ones dark, zeros light, those that are flipped standing out.

    Args:
        code: in hexadecimal.
        flipped: the bits in which it differs from the query.
    """
    bits = unpack(from_hex(code)).tolist()
    flipped = flipped or []
    columns = _STRIP_COLUMNS if len(bits) <= _LONG_CODE_BITS else 2 * _STRIP_COLUMNS
    columns = min(columns, len(bits))
    rows = -(-len(bits) // columns)
    differing = set(flipped)

    def cells(chosen: list[int]) -> str:
        if len(bits) > _LONG_CODE_BITS:
            return "".join(f"M{bit % columns} {bit // columns}h1v1h-1z" for bit in chosen)
        return "".join(
            f"M{bit % columns + 0.08:.2f} {bit // columns + 0.1:.1f}h.84v.8h-.84z" for bit in chosen
        )

    paths = {
        "zero": [bit for bit, one in enumerate(bits) if not one and bit not in differing],
        "one": [bit for bit, one in enumerate(bits) if one and bit not in differing],
        "off": [bit for bit in flipped if not bits[bit]],
        "on": [bit for bit in flipped if bits[bit]],
    }
    title = f"differs in bits {', '.join(map(str, flipped))}" if flipped else f"code {code}"
    return Markup(  # noqa: S704 - numbers, and the digits of a code that was read above
        f'<svg class="strip" viewBox="0 0 {columns} {rows}" width="{columns * 5}" '
        f'height="{rows * 8}" preserveAspectRatio="none" role="img"><title>{title}</title>'
        + "".join(f'<path class="{name}" d="{cells(some)}"/>' for name, some in paths.items())
        + "</svg>"
    )
