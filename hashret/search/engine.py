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


class _State:
    """Seconds that NumPy took for searches in this process, and what is known otherwise."""

    spent = 0.0
    price: float | None = None
    kernels: ModuleType | None = None
    forced: Engine | None = None


def use(engine: Engine | None) -> None:
    """Make every search of this process use one engine; None chooses. Answers are the same."""
    _State.forced = engine


def compiled(n_queries: int) -> ModuleType | None:
    """The module ``compiled``, if it is to answer ``n_queries``, else None."""
    if _State.forced == "numpy":
        return None
    if _State.kernels is None:
        if _State.price is None:
            _State.price = _price()
        expected = _State.spent + n_queries * QUERY_SECONDS
        if _State.forced is None and _KERNELS not in sys.modules and expected < _State.price:
            return None
        _State.kernels = import_module(_KERNELS)  # waits where another thread is importing it
    return _State.kernels


def count(seconds: float) -> None:
    """Note that NumPy took so long for a search, for :func:`compiled`."""
    _State.spent += seconds


def _price() -> float:
    """Seconds until the kernels could answer."""
    named = os.environ.get("NUMBA_CACHE_DIR")
    folder = Path(named) if named else Path(__file__).parent / "__pycache__"
    pattern = "query_kernels.probe_within-*.nbc"
    known = next(folder.glob(f"**/{pattern}" if named else pattern), None) is not None
    return IMPORT_SECONDS if known else COMPILE_SECONDS
