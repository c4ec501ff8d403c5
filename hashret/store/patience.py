"""How long the one who asks is willing to wait for a condition."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_end: ContextVar[float | None] = ContextVar("end of patience", default=None)


@contextmanager
def patience(seconds: float) -> Iterator[None]:
    """Give up conditions of this thread or task that are not evaluated after so long.

    Example:
        >>> with patience(5):  # doctest: +SKIP
        ...     index.query(value, where="name like '%a%'")
    """
    token = _end.set(time.monotonic() + seconds)
    try:
        yield
    finally:
        _end.reset(token)


def patience_left() -> float | None:
    """Seconds that are left of it; None where it has no end."""
    end = _end.get()
    return None if end is None else max(0.0, end - time.monotonic())


def end_of_patience(latest: float) -> float:
    """When to give up, by ``time.monotonic``; no later than ``latest``."""
    end = _end.get()
    return latest if end is None else min(end, latest)
