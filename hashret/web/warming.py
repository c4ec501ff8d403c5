"""Making a process ready to search quickly, before anyone asks."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from hashret.errors import HashretError
from hashret.search import engine
from hashret.web.served import Served
from hashret.web.served_cluster import is_cluster

PROGRESS = "hashret.web.progress"
"""The logger of what is no warning, and is to be read all the same."""

_log = logging.getLogger("hashret.web")
_progress = logging.getLogger(PROGRESS)

WORTH_COMPILING_ITEMS = 20_000
"""NumPy alone searches fewer items quickly enough."""

PATIENCE_SECONDS = 2.0
"""What takes longer is told of. Loading what was compiled before takes less."""


def warm(served: Served, *, tells: bool = True) -> None:
    """Open the indexes, and load the compiled search where they are large.

    Compiling it takes some 20 seconds, once on a machine. What cannot be read is told to those who
    ask for it.

    Args:
        served: the indexes.
        tells: whether to say so where it takes long; of several processes, one does.
    """
    with _told_if_long(tells):
        _make_ready(served)


@contextmanager
def _told_if_long(tells: bool) -> Iterator[None]:
    timer = threading.Timer(
        PATIENCE_SECONDS,
        _progress.info,
        [
            "Making the search ready: it is compiled once on a machine, for some 20 s or more. "
            "Who asks meanwhile is answered then."
        ],
    )
    timer.daemon = True
    if tells:
        timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _make_ready(served: Served) -> None:
    for one in served:
        try:
            with one.reader() as index:
                if is_cluster(index):
                    continue
                code = np.zeros(index.n_bits // 8, dtype=np.uint8)
                if len(index) >= WORTH_COMPILING_ITEMS:
                    engine.use("compiled")
                index.query_code(code, limit=1)
        except HashretError as error:
            _log.warning("%s: %s", one.name, error)
        except Exception as error:
            _log.warning("The compiled search does not work here (%r); NumPy answers.", error)
        finally:
            engine.use(None)
