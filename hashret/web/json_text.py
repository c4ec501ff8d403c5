"""JSON as it is sent: quickly where that is possible, and always valid."""

from __future__ import annotations

import json
from typing import Any

import orjson
from starlette.responses import Response


def to_json(value: Any) -> bytes:
    """JSON in UTF-8. Fields may hold numbers of any length, which the quick encoder refuses."""
    try:
        return orjson.dumps(value)
    except TypeError:
        return json.dumps(value, allow_nan=False, separators=(",", ":")).encode()


def as_json(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """An answer of JSON values."""
    return Response(to_json(value), status, headers, "application/json")
