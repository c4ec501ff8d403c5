"""Cutting what a client sends into requests that a server takes."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator
from typing import Any

from hashret.errors import InputError
from hashret.web.settings import Limits
from hashret.web.wire import encoded

MOST_AT_A_TIME = Limits().batch
MOST_BYTES = Limits().body_bytes - (64 << 10)
"""Of the queries or items of a request, which is a little longer."""

_MOST_PIXELS = Limits().batch_pixels


def batches(
    parts: Iterable[dict[str, Any]], most: int = MOST_AT_A_TIME
) -> Iterator[list[dict[str, Any]]]:
    """Queries or items in lists of at most ``most``, whose bytes and pixels one request may have.

    One that is too much alone comes alone: the server says what is wrong with it.
    """
    block: list[dict[str, Any]] = []
    n_bytes = n_pixels = 0
    for part in parts:
        own_bytes, own_pixels = len(encoded(part)) + 2, _pixels(part)
        full = (
            len(block) == most
            or n_bytes + own_bytes > MOST_BYTES
            or n_pixels + own_pixels > _MOST_PIXELS
        )
        if block and full:
            yield block
            block, n_bytes, n_pixels = [], 0, 0
        block.append(part)
        n_bytes += own_bytes
        n_pixels += own_pixels
    if block:
        yield block


def _pixels(part: dict[str, Any]) -> int:
    if "image" not in part:
        return 0
    from hashret.features.decoding import open_file

    try:
        image = open_file(base64.b64decode(part["image"]))
    except InputError:
        return 0  # the server says so
    return image.width * image.height
