"""The engine: what joins sources, features, encoder, search and store into an index."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hashret.index.index import Index

__all__ = ["Index"]


def __getattr__(name: str) -> Any:
    # Loaded when first used: a part of the engine does not need all of it.
    if name == "Index":
        return import_module("hashret.index.index").Index
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
