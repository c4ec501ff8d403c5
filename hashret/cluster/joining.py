"""Ray, for as long as a piece of work takes: one that is there, or one started for it."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from hashret.cluster.connecting import CLIENT, check_reachable, connect
from hashret.errors import UsageError


def check_may_join(address: str | None) -> None:
    """Refuse an address at which nothing can be indexed, before any work is done for it.

    Raises:
        UsageError: the address is one for those who only ask.
        HashretError: nothing answers there.
    """
    if address is not None and address.startswith(CLIENT):
        raise UsageError(
            f"Items are indexed by a machine that is part of Ray and sees the source: run this on "
            f"one of its nodes, with --address auto, or with its HOST:6379 instead of {address}."
        )
    check_reachable(address)


@contextmanager
def joined(address: str | None) -> Iterator[bool]:
    """Be part of Ray while the block runs; where this process is already, it stays so.

    Gives whether it is only for the block: then all that was started in it ends with it.

    Args:
        address: see :func:`hashret.cluster.connecting.connect`.

    Raises:
        UsageError: Ray is not installed, or the address is one for those who only ask.
        HashretError: there is no Ray at the address.
    """
    check_may_join(address)
    os.environ.setdefault("RAY_DATA_LOG_LEVEL", "ERROR")
    ray = sys.modules.get("ray")
    was_part = ray is not None and ray.is_initialized()
    connected = connect(address)
    try:
        yield not was_part
    finally:
        if not was_part:
            connected.shutdown()
