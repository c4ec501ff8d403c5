"""Names that addresses give to what is no index."""

from __future__ import annotations

RESERVED = frozenset(
    {
        "api",
        "docs",
        "favicon.ico",
        "healthz",
        "indexes",
        "indexes.json",
        "metrics",
        "openapi.json",
        "static",
    }
)
"""An index of such a name would hide, or be hidden."""
