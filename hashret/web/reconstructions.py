"""What the bits of a query keep of it, to be shown beside it."""

from __future__ import annotations

import base64
from io import BytesIO
from typing import Any

from hashret.errors import UsageError
from hashret.features import ImageFeatures, TextFeatures
from hashret.index.index import Index
from hashret.index.result import Result
from hashret.index.trained_encoder import READY_CODES

WORDS = 12
MOST_VALUES = 4096


def reconstruction(index: Index, result: Result) -> dict[str, Any] | None:
    """What the decoder makes of a query's code, as JSON values.

    ``{"kind": "image", "png": base64, "width", "height"}``, ``{"kind": "words", "words": [...]}``
    or ``{"kind": "vector", "values": [...]}``; None where there is no decoder.

    Raises:
        DamagedIndexError: the decoder is damaged.
    """
    if index.encoder.kind == READY_CODES:
        return None
    rows = index.encoder.reconstruct(result.code)
    features = index.encoder.features
    if isinstance(features, ImageFeatures):
        file = BytesIO()
        features.picture(rows[0]).save(file, "PNG")
        return {
            "kind": "image",
            "png": base64.b64encode(file.getvalue()).decode(),
            "width": features.width,
            "height": features.height,
        }
    if isinstance(features, TextFeatures):
        try:
            return {"kind": "words", "words": features.top_words(rows[0], WORDS)}
        except UsageError:
            return None
    return {"kind": "vector", "values": [float(f"{x:.6g}") for x in rows[0][:MOST_VALUES]]}
