"""Mapped files: memory that need not be held on to."""

from __future__ import annotations

import mmap
from typing import Any


def let_go(array: Any) -> None:
    """Let the system take back the memory of a mapped file; what is asked for again is read again.

    Pages of a mapped file count as the memory of the process until then. Of an array that is not
    mapped read-only, nothing is let go.
    """
    mapped = _mapped_by(array)
    if mapped is not None and _is_read_only(mapped):
        mapped.madvise(mmap.MADV_DONTNEED)


def is_mapped(array: Any) -> bool:
    """Whether an array is a mapped file, of which only what is asked for is read."""
    return _mapped_by(array) is not None


def _mapped_by(array: Any) -> mmap.mmap | None:
    mapped = array
    while mapped is not None and not isinstance(mapped, mmap.mmap):
        mapped = getattr(mapped, "base", None)
        if isinstance(mapped, memoryview):
            mapped = mapped.obj
    return mapped


def _is_read_only(mapped: mmap.mmap) -> bool:
    with memoryview(mapped) as view:
        return view.readonly
