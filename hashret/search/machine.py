"""What a search takes on this machine: measured once, and kept in the user's cache.

Which of two ways to an answer is the shorter depends on how long a processor waits for its memory,
and on what is compiled for it. A wrong figure costs time, never an answer. So nothing here fails:
a file that cannot be read, or was written on another machine or by other versions, is as good as
none.
"""

from __future__ import annotations

import json
import logging
import os
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from importlib.util import find_spec
from math import isfinite, log
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from hashret.files import write_durably

_log = logging.getLogger("hashret")

VARIABLE = "HASHRET_COSTS"
"""Environment: another file to keep the figures in; empty for none."""
VERSION = 1
"""Of what the figures mean and how they are measured."""


@dataclass(frozen=True)
class Costs:
    """What the steps of a search take, in seconds, as far as compiled code does them.

    Tables are probed at random, so what that takes depends on the cache which they fit into: on the
    bytes of all arrays of a segment. A near code is met in a bucket of part 0, next to the others
    of it; a far one through a position, somewhere.

    Attributes:
        footprints: bytes of the arrays at which the following were measured, ascending.
        per_probe: looking up a bucket, at each footprint.
        n_words: lengths of codes in words, from 1 up, at which the following were measured.
        per_near: checking a near code, for each length at each footprint.
        per_far: checking a far code, likewise.
        per_query: a query among others in one call, before its first bucket.
        per_call: a call of compiled code, whatever it does.
        scan_footprints: bytes of the words at which the following was measured, ascending.
        per_scanned_word: comparing a word in a scan for one query.
        per_batched_word: the same for each of many queries that share a scan.
    """

    footprints: tuple[float, ...]
    per_probe: tuple[float, ...]
    n_words: tuple[int, ...]
    per_near: tuple[tuple[float, ...], ...]
    per_far: tuple[tuple[float, ...], ...]
    per_query: float
    per_call: float
    scan_footprints: tuple[float, ...]
    per_scanned_word: tuple[float, ...]
    per_batched_word: float

    def __post_init__(self) -> None:
        """Check the figures.

        Raises:
            ValueError: they make no sense.
            TypeError: some are no numbers.
        """
        rows = (self.per_probe, *self.per_near, *self.per_far)
        if any(len(row) != len(self.footprints) for row in rows):
            raise ValueError("not one figure for each footprint")
        if len(self.per_scanned_word) != len(self.scan_footprints):
            raise ValueError("not one figure for each footprint of a scan")
        if {len(self.per_near), len(self.per_far)} != {len(self.n_words)} or self.n_words[0] != 1:
            raise ValueError("not one row for each length from 1 on")
        single = (self.per_query, self.per_call, self.per_batched_word)
        figures = [single, self.per_scanned_word, *rows]
        if not all(isfinite(figure) and figure > 0 for row in figures for figure in row):
            raise ValueError("a figure is not above 0")
        for axis in (self.n_words, self.footprints, self.scan_footprints):
            ascends = all(isfinite(value) for value in axis) and sorted({*axis}) == [*axis]
            if not axis or not ascends or axis[0] <= 0:
                raise ValueError("sizes do not ascend")

    @classmethod
    def from_json(cls, content: Any) -> Costs:
        """Read what ``json`` made of ``dataclasses.asdict``.

        Raises:
            ValueError: a figure makes no sense.
            TypeError: this is something else.
        """
        return cls(**{name: _as_tuples(value) for name, value in content.items()})

    def at(self, footprint: float, n_words: int = 1) -> tuple[float, float, float]:
        """What a probe, a near and a far code take.

        It grows with the logarithm of the footprint, up to the largest that was measured, and with
        the length without end.

        Args:
            footprint: bytes of all arrays of a segment.
            n_words: words of a code.
        """
        near, far = (
            _along_line(
                n_words, self.n_words, [_level(footprint, self.footprints, row) for row in kind]
            )
            for kind in (self.per_near, self.per_far)
        )
        return _level(footprint, self.footprints, self.per_probe), near, far

    def scanned_word(self, footprint: float) -> float:
        """What a word takes in a scan for one query, of ``footprint`` bytes of words."""
        return _level(footprint, self.scan_footprints, self.per_scanned_word)


_SENSELESS = (
    OSError,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    OverflowError,
    RecursionError,
)
"""What reading any content of a file as figures may raise."""


class _Known:
    costs: Costs | None = None
    looked = False


_MEASURING = Lock()


def costs() -> Costs:
    """The figures of this machine if they were measured, else typical ones: in no time."""
    if not _Known.looked:
        _Known.costs = _read()
        _Known.looked = True
    return _Known.costs or DEFAULTS


def ensure_measured(measure: Callable[[], Costs]) -> Costs:
    """The figures of this machine: they are measured, and kept, if they were not yet.

    Args:
        measure: see :func:`hashret.search.measuring.measure_costs`.
    """
    with _MEASURING:
        if costs() is DEFAULTS:
            _Known.costs = _read()
        if _Known.costs is None:
            try:
                _Known.costs = measure()
            except Exception as error:  # an index must not fail by it
                _log.debug("The costs of searches could not be measured: %r", error)
                _Known.costs = DEFAULTS
            else:
                _write(_Known.costs)
        return _Known.costs


def _level(footprint: float, footprints: Sequence[float], figures: Sequence[float]) -> float:
    above = bisect_right(footprints, footprint)
    if above in (0, len(footprints)):
        return figures[max(0, above - 1)]
    low, high = footprints[above - 1 : above + 1]
    share = log(footprint / low) / log(high / low)
    return figures[above - 1] + share * (figures[above] - figures[above - 1])


def _along_line(n_words: int, lengths: Sequence[int], figures: Sequence[float]) -> float:
    above = min(max(1, bisect_right(lengths, n_words)), len(lengths) - 1)
    if above == 0:
        return figures[0]
    slope = (figures[above] - figures[above - 1]) / (lengths[above] - lengths[above - 1])
    beyond = n_words - lengths[above]
    return figures[above] + (max(0.0, slope) if beyond > 0 else slope) * beyond


def _as_tuples(value: Any) -> Any:
    return tuple(map(_as_tuples, value)) if isinstance(value, list) else value


def cache_file() -> Path | None:
    """Where the figures are kept; None where nothing is to be kept."""
    named = os.environ.get(VARIABLE)
    if named is not None:
        return Path(named) if named else None
    folder = os.environ.get("XDG_CACHE_HOME", "")
    try:
        return (Path(folder) if folder else Path.home() / ".cache") / "hashret" / "costs.json"
    except RuntimeError:  # there is no home
        return None


@cache
def machine() -> dict[str, Any]:
    """What figures depend on: other figures hold where any of this differs."""
    return {
        "version": VERSION,
        "processor": _processor(),
        "cores": os.cpu_count(),
        "numpy": np.__version__,
        "numba": _numba(),
    }


def _processor() -> str:
    try:
        with Path("/proc/cpuinfo").open(encoding="utf-8", errors="replace") as file:
            # The first core will do: where there are hundreds, all take longer than a search.
            for line in file.read(4096).splitlines():
                if line.startswith("model name"):
                    return line.partition(":")[2].strip()
    except OSError:
        pass
    return os.uname().machine


def _numba() -> str:
    """The name of the installed version; importing numba, or reading its metadata, takes long."""
    spec = find_spec("numba")
    if spec is None or spec.origin is None:
        return ""
    return " ".join(sorted(path.name for path in Path(spec.origin).parents[1].glob("numba-*")))


def _read() -> Costs | None:
    path = cache_file()
    if path is None:
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return Costs.from_json(content["costs"]) if content["machine"] == machine() else None
    except _SENSELESS:
        return None


def _write(measured: Costs) -> None:
    path = cache_file()
    if path is None:
        return
    content = {"machine": machine(), "costs": asdict(measured)}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_durably(path, json.dumps(content, indent=1).encode())
    except OSError:
        pass


DEFAULTS = Costs(
    footprints=(0.43e6, 3.5e6, 28e6, 110e6),
    per_probe=(11.4e-9, 11.4e-9, 12.6e-9, 14.2e-9),
    n_words=(1, 2, 8),
    per_near=(
        (0.76e-9, 0.79e-9, 0.80e-9, 0.83e-9),
        (1.70e-9, 1.78e-9, 1.81e-9, 1.95e-9),
        (2.4e-9, 2.5e-9, 3.7e-9, 5.5e-9),
    ),
    per_far=(
        (1.08e-9, 1.36e-9, 3.0e-9, 4.5e-9),
        (2.05e-9, 2.42e-9, 3.85e-9, 5.9e-9),
        (2.9e-9, 3.3e-9, 4.2e-9, 7.3e-9),
    ),
    per_query=140e-9,
    per_call=3e-6,
    scan_footprints=(0.26e6, 8.4e6, 67e6),
    per_scanned_word=(0.053e-9, 0.10e-9, 0.24e-9),
    per_batched_word=0.05e-9,
)
"""Figures of an AMD EPYC of 2024 at 2.6 GHz, with AVX-512: 1 MB of second cache, 32 MB of third."""
