"""What the slower pages show, as JSON values: groups of near-duplicates, outliers, bits."""

from __future__ import annotations

import base64
import logging
from io import BytesIO
from typing import Any

import numpy as np

from hashret.codes import Codes, bit_moments, bucket_sizes, differing_bits, to_hex
from hashret.errors import InputError, UsageError
from hashret.index.duplicates import find_duplicates
from hashret.index.index import Index
from hashret.progress import ProgressCallback
from hashret.store.patience import patience
from hashret.web.item_texts import texts_of
from hashret.web.served_cluster import is_cluster

_log = logging.getLogger("hashret.web")

MOST_GROUPS = 60
MOST_OF_A_GROUP = 16
MOST_OUTLIERS = 60
_MOST_CODES = 200_000
"""That the plots of bits and buckets are made of."""

_BLOCKS = 20
_MOST_SIDE = 256


def duplicates_view(
    index: Index, radius: int, where: str | None, seconds: float
) -> dict[str, Any]:  # fmt: skip
    """The largest groups of near-duplicates.

    Raises:
        HashretError: as :func:`hashret.index.duplicates.find_duplicates`.
    """
    if is_cluster(index):
        raise UsageError(
            "The near-duplicates of a cluster are not looked for, as those of one item may lie in "
            "several shards. `hashret duplicates -i SHARD` looks into one shard."
        )
    with patience(seconds), find_duplicates(index.path, radius, where) as found:
        groups = [
            {
                "number": group.number,
                "size": found.sizes[group.number - 1],
                "items": [
                    {
                        "key": item.key,
                        "code": to_hex(item.code),
                        "fields": item.fields,
                        "flipped": differing_bits(group.items[0].code, item.code),
                    }
                    for item in group
                ],
            }
            for group in found.groups(MOST_GROUPS, MOST_OF_A_GROUP)
        ]
        view = {
            "radius": radius,
            "where": where,
            "n_groups": len(found),
            "n_items": sum(found.sizes),
            "compared": found.compared,
            "groups": groups,
        }
    keys = [item["key"] for group in groups for item in group["items"]]
    return {**view, "texts": texts_of(index, keys)}


def outliers_view(index: Index, progress: ProgressCallback) -> dict[str, Any]:
    """The items that their bits keep least of.

    Raises:
        HashretError: as :meth:`hashret.Index.outliers`.
    """
    try:
        found = index.outliers(limit=MOST_OUTLIERS, progress=progress)
    except InputError as error:
        if not index.knows_sources:
            raise
        _log.warning("outliers: %s", error)  # which says where on this machine the files lie
        raise InputError(
            "The items cannot be read again: their files are gone, or have changed since they were "
            "indexed. The log of the server says more."
        ) from error
    outliers = [
        {"rank": one.rank, "key": one.key, "error": one.error, "fields": one.fields}
        for one in found
    ]
    return {
        "measured": found.measured,
        "skipped": len(found.skipped),
        "outliers": outliers,
        "texts": texts_of(index, [one.key for one in found]),
    }


def codes_view(index: Index) -> dict[str, Any]:
    """How the bits are used: the share of ones of each, and how full the buckets are.

    ``correlation`` is that of every two bits. Of a large index, a part in blocks tells.
    """
    shards = index.shards_with()
    parts = []
    for shard, _ in shards:
        with shard.reader.snapshot() as snapshot:
            parts.append(_some_codes(shard, snapshot.last_row, _MOST_CODES // len(shards)))
    codes = np.concatenate(parts)
    if not len(codes):
        return {"codes": 0, "shares": [], "buckets": [], "correlation": []}
    shares, correlations = bit_moments(codes)
    return {
        "codes": len(codes),
        "shares": np.round(shares, 4).tolist(),
        "buckets": _buckets(codes),
        "correlation": np.round(correlations, 3).tolist(),
    }


def _some_codes(index: Index, last_row: int, most: int) -> Codes:
    store = index.reader.store
    if store.count() <= most:
        return store.codes(1)[1]
    size = max(1, most // _BLOCKS)
    starts = np.linspace(1, last_row - size + 1, _BLOCKS).astype(np.int64).tolist()
    return np.concatenate([store.codes(start, start + size - 1)[1] for start in starts])


def _buckets(codes: Codes) -> list[dict[str, Any]]:
    """Items by how many share their bucket, in steps of doubling."""
    sizes = bucket_sizes(codes)
    steps = []
    low = 1
    while low <= sizes.max():
        high = 2 * low - 1
        inside = sizes[(sizes >= low) & (sizes <= high)]
        label = str(low) if low == high else f"{low} to {high}"
        steps.append({"sizes": label, "items": int(inside.sum()), "buckets": len(inside)})
        low = high + 1
    return steps


def correlation_picture(correlations: list[list[float]]) -> str:
    """A matrix as a PNG file in base64, a pixel a pair of bits; opaque where they agree.

    Of more than 256 bits, a pixel is the mean of some.
    """
    from PIL import Image

    if not correlations:
        return ""
    strength = np.abs(np.array(correlations, dtype=np.float64))
    np.fill_diagonal(strength, 0)
    pixels = np.zeros((*strength.shape, 4), dtype=np.uint8)
    pixels[..., :3] = (0xD9, 0x5B, 0x1A)
    pixels[..., 3] = np.round(255 * np.clip(strength / max(strength.max(), 0.25), 0, 1))
    picture = Image.fromarray(pixels)
    picture.thumbnail((_MOST_SIDE, _MOST_SIDE), Image.Resampling.BOX)
    file = BytesIO()
    picture.save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()
