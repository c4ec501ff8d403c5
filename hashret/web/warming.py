"""Making a process ready to search quickly, before anyone asks."""

from __future__ import annotations

import logging

import numpy as np

from hashret.errors import HashretError
from hashret.search import engine
from hashret.web.served import Served
from hashret.web.served_cluster import is_cluster

_log = logging.getLogger("hashret.web")

WORTH_COMPILING_ITEMS = 20_000
"""NumPy alone searches fewer items quickly enough."""


def warm(served: Served) -> None:
    """Open the indexes, and load the compiled search where they are large.

    Compiling it takes some 15 seconds, once on a machine. What cannot be read is told to those who
    ask for it.
    """
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
