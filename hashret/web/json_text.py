"""JSON as it is sent: quickly where that is possible, and always valid."""

from __future__ import annotations

import json
from typing import Any

import orjson


def to_json(value: Any) -> bytes:
    """JSON in UTF-8. Fields may hold numbers of any length, which the quick encoder refuses."""
    try:
        return orjson.dumps(value)
    except TypeError:
        return json.dumps(value, allow_nan=False, separators=(",", ":")).encode()
