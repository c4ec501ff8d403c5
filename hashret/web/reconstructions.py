"""What the bits of a query keep of it, to be shown beside it."""

from __future__ import annotations

from typing import Any

from hashret.index import Index
from hashret.result import Result


def reconstruction(index: Index, result: Result) -> dict[str, Any] | None:
    """What the decoder makes of a query's code, as JSON values; None where there is no decoder."""
    return None
