"""Groups of near-duplicates as one HTML file with pictures, which needs nothing else."""

from __future__ import annotations

import base64
import hashlib
import html
import json
from collections.abc import Mapping
from io import BytesIO
from typing import Any

from hashret.codes import Codes, differing_bits
from hashret.errors import InputError
from hashret.features import Features
from hashret.features.decoding import picture_of
from hashret.index.duplicates import DuplicateGroup, DuplicateItem, Duplicates
from hashret.index.item_features import ItemFeatures
from hashret.progress import Progress, ProgressCallback, no_progress

MAX_GROUPS = 100
MAX_ITEMS = 24
"""Of each group; more pictures than these would make a page that no browser likes."""

PICTURE_SIDE = 112
MAX_TEXT = 300
"""A key or a value of a field may be of any length."""

_STYLE = """
:root { color-scheme: light dark; --ink: #1f2a37; --page: #fff; --card: #f6f8fa;
  --line: #d5dce5; --soft: #5b6878; --flip: #c2410c }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e5eaf0; --page: #12171d; --card: #1a2129; --line: #333d49; --soft: #9aa7b6;
    --flip: #fb923c }
}
body { margin: 2rem auto; max-width: 76rem; padding: 0 1rem; color: var(--ink);
  background: var(--page); font: .95rem/1.45 system-ui, sans-serif }
h1 { font-size: 1.6rem; margin-bottom: .2rem; overflow-wrap: anywhere }
h2 { font-size: 1.1rem; margin: 2rem 0 .6rem }
h2 small, p { color: var(--soft); font-weight: 400 }
ul { display: grid; grid-template-columns: repeat(auto-fill, minmax(10.5rem, 1fr)); gap: .7rem;
  list-style: none; margin: 0; padding: 0 }
li { background: var(--card); border: 1px solid var(--line); border-radius: .5rem;
  padding: .6rem; overflow-wrap: anywhere; min-width: 0 }
img { display: block; width: 7rem; height: 7rem; object-fit: contain; margin: 0 auto .5rem;
  border-radius: .25rem; background: #8884 }
img.small { image-rendering: pixelated }
.none { color: var(--soft); font-size: .8rem; margin: 0 0 .5rem }
.key { font-weight: 600 }
dl { display: grid; grid-template-columns: auto 1fr; gap: 0 .5rem; margin: .3rem 0;
  font-size: .8rem }
dt { color: var(--soft) }
dd { margin: 0 }
svg { display: block; width: 100%; height: .55rem; margin: .3rem 0 .1rem }
.row { fill: var(--line) }
.flip { fill: var(--flip) }
.distance { color: var(--soft); font-size: .8rem; margin: 0 }
"""

_POLICY = (
    "default-src 'none'; img-src data:; base-uri 'none'; form-action 'none'; style-src 'sha256-"
    + base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
    + "'"
)
"""What a browser is allowed to do with the page, whatever slipped into it: nothing but show it."""


def duplicates_page(
    found: Duplicates,
    features: Features,
    *,
    name: str,
    radius: int,
    limit: int | None = None,
    progress: ProgressCallback = no_progress,
) -> str:
    """A page of the largest groups: pictures, keys, fields, and the bits in which items differ.

    Pictures are made anew from where the items came, and only of what has not changed since.

    Args:
        found: the groups; their state is still held.
        features: of the index.
        name: of the index.
        radius: by which they were found, in bits.
        limit: the most groups; None for as many as a page may have.
        progress: told of the groups, as the stage ``"reading"``.

    Returns:
        At most 100 groups and 24 items of each, with a note on what was left out. Nothing in it
        comes from elsewhere, or runs.
    """
    shown = min(len(found), MAX_GROUPS, MAX_GROUPS if limit is None else limit)
    parts = []
    for group in found.groups(shown, MAX_ITEMS):
        pictures = _pictures(found, group, features) if features.kind == "images" else {}
        parts.append(_group(group, found.sizes[group.number - 1], pictures))
        progress(Progress("reading", group.number, shown, "groups"))
    title = f"{html.escape(_printable(name))}: near-duplicates"
    more = f" The {shown:,} largest groups are shown." if shown < len(found) else ""
    return (
        "<!DOCTYPE html>\n"
        '<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{title}</title><style>{_STYLE}</style></head><body>\n"
        f"<h1>{title}</h1>\n"
        f"<p>{len(found):,} groups of {sum(found.sizes):,} items, of {found.compared:,} compared: "
        f"each item of a group is within {radius} bits of another one of it; the ends of a chain "
        f"may lie further apart.{more} A strip shows the bits in which an item differs from the "
        "first of its group.</p>\n"
        f"{''.join(parts)}</body></html>\n"
    )


def _group(group: DuplicateGroup, size: int, pictures: Mapping[str, str]) -> str:
    first = group.items[0]
    more = f", of which {len(group)} are shown" if len(group) < size else ""
    cards = "".join(_card(item, first.code, pictures.get(item.key, "")) for item in group)
    return f"<h2>Group {group.number} <small>{size:,} items{more}</small></h2>\n<ul>{cards}</ul>\n"


def _card(item: DuplicateItem, first: Codes, picture: str) -> str:
    fields = {name: value for name, value in item.fields.items() if value is not None}
    known = "".join(
        f"<dt>{_text(name)}</dt><dd>{_text(_shown(value))}</dd>" for name, value in fields.items()
    )
    distance = (
        "first of the group"
        if item.rank == 1
        else f"{item.distance} bit{'' if item.distance == 1 else 's'} from the first"
    )
    place = "" if item.location in (None, item.key) else f' title="{_text(str(item.location))}"'
    return (
        f"<li>{picture}<div class=key{place}>{_text(item.key)}</div>"
        f"{f'<dl>{known}</dl>' if known else ''}"
        f"{_strip(first, item.code)}<p class=distance>{distance}</p></li>\n"
    )


def _strip(first: Codes, code: Codes) -> str:
    """A place for each bit, those that differ standing out."""
    flipped = differing_bits(first, code)
    marks = "".join(f"M{bit} 0h1v1h-1z" for bit in flipped)
    title = f"bits {', '.join(map(str, flipped))}" if flipped else "the same code"
    n_bits = code.size * 8
    return (
        f'<svg viewBox="0 0 {n_bits} 1" preserveAspectRatio="none" role="img"><title>{title}'
        f'</title><path class="row" d="M0 0h{n_bits}v1H0z"/><path class="flip" d="{marks}"/></svg>'
    )


def _pictures(found: Duplicates, group: DuplicateGroup, features: Features) -> dict[str, str]:
    """An ``<img>`` for each key, or a word on why there is none."""
    source = ItemFeatures(found.store, features)
    shown = {}
    for item in source.values([item.key for item in group]):
        try:
            shown[item.key] = _image(item.value)
        except InputError as error:
            shown[item.key] = _no_picture(str(error))
    return shown | {skipped.name: _no_picture(skipped.reason) for skipped in source.unread}


def _no_picture(reason: str) -> str:
    return f"<p class=none>No picture: {_text(reason)}</p>"


def _image(value: Any) -> str:
    picture = picture_of(value, (PICTURE_SIDE, PICTURE_SIDE))
    small = " class=small" if max(picture.size) <= PICTURE_SIDE // 2 else ""
    picture.thumbnail((PICTURE_SIDE, PICTURE_SIDE))
    content = BytesIO()
    picture.save(content, "PNG", optimize=True)
    data = base64.b64encode(content.getvalue()).decode()
    return f'<img{small} alt="" src="data:image/png;base64,{data}">'


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _text(text: str) -> str:
    cut = text if len(text) <= MAX_TEXT else text[: MAX_TEXT - 1] + "\N{HORIZONTAL ELLIPSIS}"
    return html.escape(_printable(cut))


def _printable(text: str) -> str:
    """Text without what would turn the direction of writing, or that HTML cannot hold."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
