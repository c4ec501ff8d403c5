"""The fault laboratory: indexes whose writers are killed, starved, cut short and lied to.

``python -m faults EXPERIMENT`` runs one experiment in a process that has the library of
``iofault.c`` preloaded and forks a child for each trial; the tests run them in short form,
``scripts/soak`` in full. Every experiment compares with what the oracle knows, and nothing in
hashret knows that it is watched.
"""

from __future__ import annotations

import os
from pathlib import Path


def memory() -> Path | None:
    """A folder in memory, where flushing costs nothing; None where there is none."""
    place = Path("/dev/shm")
    return place if place.is_dir() and os.access(place, os.W_OK) else None
