"""Which engine answers: compiled kernels, or NumPy alone while they would not pay.

Importing the compiler takes longer than many searches with NumPy, and a shell command does but one.
As in renting or buying skis, NumPy answers until it has taken as long as that import:
whatever comes, that is never more than twice as long as the better choice.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Literal, TypeAlias

Engine: TypeAlias = Literal["numpy", "compiled"]

IMPORT_SECONDS = 0.35
"""Importing the compiler and loading kernels that were compiled before."""
COMPILE_SECONDS = 25.0
"""Compiling them, once on a machine."""
QUERY_SECONDS = 200e-6
"""What a query in a batch is expected to take with NumPy."""

_KERNELS = "hashret.search.compiled"


class _Spent:
    """Seconds that NumPy took for searches in this process."""

    seconds = 0.0
    forced: Engine | None = None


def use(engine: Engine | None) -> None:
    """Make every search of this process use one engine; None chooses. Answers are the same."""
    _Spent.forced = engine


def compiled(n_queries: int) -> ModuleType | None:
    """The module ``compiled``, if it is to answer ``n_queries``, else None."""
    if _Spent.forced is not None:
        return import_module(_KERNELS) if _Spent.forced == "compiled" else None
    if _KERNELS not in sys.modules and _Spent.seconds + n_queries * QUERY_SECONDS < _price():
        return None
    return import_module(_KERNELS)  # this waits where another thread is importing it


def count(seconds: float) -> None:
    """Note that NumPy took so long for a search, for :func:`compiled`."""
    _Spent.seconds += seconds


def _price() -> float:
    """Seconds until the kernels could answer."""
    if "numba" in sys.modules or _Spent.seconds > COMPILE_SECONDS:
        return IMPORT_SECONDS / 2
    named = os.environ.get("NUMBA_CACHE_DIR")
    folder = Path(named) if named else Path(__file__).parent / "__pycache__"
    pattern = "**/query_kernels.probe_within-*.nbc" if named else "query_kernels.probe_within-*.nbc"
    known = next(folder.glob(pattern), None) is not None
    return IMPORT_SECONDS if known else COMPILE_SECONDS
