"""Ray, for as long as a command takes: a cluster that is there, or one started for it."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from hashret.errors import HashretError, UsageError

LOCAL_OBJECTS = 512 << 20
"""Room for what is under way, on a machine that has no Ray cluster yet."""

NAMESPACE = "hashret"


@contextmanager
def joined(address: str | None) -> Iterator[None]:
    """Be part of a Ray cluster while the block runs.

    Args:
        address: of one that is there, ``host:port`` or ``auto``; None starts one on this machine,
            which ends with the block. Where this process is part of one already, that is it.

    Raises:
        UsageError: Ray is not installed.
        HashretError: there is no cluster at the address.
    """
    try:
        import ray
    except ImportError as error:
        raise UsageError(
            "Clusters need Ray, which is not installed: pip install 'hashret[ray]'."
        ) from error
    if ray.is_initialized():
        yield
        return
    # Ray would ask, and tell its makers.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_DATA_LOG_LEVEL", "ERROR")
    options: dict[str, Any] = (
        {"address": address}
        if address
        else {
            "address": "local",
            "include_dashboard": False,
            "object_store_memory": LOCAL_OBJECTS,
        }
    )
    try:
        ray.init(namespace=NAMESPACE, log_to_driver=False, logging_level=logging.ERROR, **options)
    except (ConnectionError, ValueError, RuntimeError) as error:
        where = f"at {address}" if address else "on this machine"
        raise HashretError(f"There is no Ray cluster {where} to be reached: {error}.") from error
    try:
        yield
    finally:
        ray.shutdown()
