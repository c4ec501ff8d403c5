"""Choose for a query which buckets of which part to look up, with NumPy alone.

By the pigeonhole principle, the buckets at up to ``flips[p]`` bits from the query's in each part p
(-1: none) lead to every code within ``sum(flips + 1) - 1`` bits: one that differs by more than that
in each part is farther away. So reaching one bit more takes one more shell of some part, the
buckets at one more flip; the cheapest is taken, as the sizes of buckets tell.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from heapq import heapify, heapreplace
from math import comb
from operator import attrgetter
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hashret.errors import DamagedIndexError
from hashret.search import planner
from hashret.search.layout import Words
from hashret.search.segment import Segment
from hashret.search.segment_files import REMEDY

SAMPLES = 64
"""Buckets that tell how full those of a shell are."""


class Shell(NamedTuple):
    """The buckets of one part at one number of flips, and what to expect of them.

    Attributes:
        seconds: to look them up and to compare the codes in them; the first, so that shells are
            ordered by it.
        part: the number of the part.
        flips: bits in which the buckets differ from the query's.
        probes: how many buckets.
        density: codes in a bucket, on average.
    """

    seconds: float
    part: int
    flips: int
    probes: int
    density: float

    @classmethod
    def priced(cls, part: int, flips: int, probes: int, density: float) -> Shell:
        """Work out the seconds."""
        seconds = probes * (planner.PROBE_SECONDS + density * planner.CANDIDATE_SECONDS)
        return cls(seconds, part, flips, probes, density)


@dataclass(frozen=True)
class Tables:
    """The parts of a segment, as its layout has them, and the values that a query has in them."""

    segment: Segment
    parts: list[list[int]]
    keys: list[int]

    @classmethod
    def around(cls, segment: Segment, query: Words) -> Tables:
        """Take the values from a query, shape ``(n_words,)``."""
        words, parts = query.tolist(), segment.layout.parts.tolist()
        keys = [words[word] >> shift & (1 << width) - 1 for word, shift, width, _ in parts]
        return cls(segment, parts, keys)

    def spans(self, buckets: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Where buckets begin and how many codes they hold.

        Raises:
            DamagedIndexError: the offsets make no sense.
        """
        offsets = self.segment.offsets
        starts = offsets.take(buckets).astype(np.int64)
        ends = offsets.take(buckets + 1)
        sizes = ends - starts
        if sizes.min() < 0 or ends.max() > len(self.segment):
            raise damaged("offsets.npy")
        return starts, sizes

    def own_shells(self) -> list[Shell]:
        """The shell of each part at no flip: a single bucket, the query's."""
        own = [start + key for key, (*_, start) in zip(self.keys, self.parts, strict=True)]
        sizes = self.spans(np.array(own))[1].tolist()
        return [Shell.priced(part, 0, 1, size) for part, size in enumerate(sizes)]

    def guess(self, nearer: Shell) -> Shell:
        """The shell at one flip more than another.

        Codes lie close to each other: the closer a bucket is to the query's, the fuller it is.
        """
        _, part, flips, _, density = nearer
        width = self.parts[part][2]
        average = len(self.segment) / (1 << width)
        density = average + max(0.0, density - average) / 2
        return Shell.priced(part, flips + 1, comb(width, flips + 1), density)

    def sample(self, shell: Shell) -> Shell:
        """The same shell, with the mean size of some of its buckets."""
        _, part, flips, probes, _ = shell
        if not probes:
            return shell
        _, sizes = self.spans(self.buckets(part, flips, -(-probes // SAMPLES)))
        return Shell.priced(part, flips, probes, int(sizes.sum()) / len(sizes))

    def buckets(self, part: int, flips: int, step: int = 1) -> NDArray[np.int64]:
        """Every ``step``-th bucket of a part at so many flips."""
        _, _, width, start = self.parts[part]
        return (_flips(width, flips)[::step] ^ self.keys[part]) + start


@dataclass(frozen=True)
class Plan:
    """Shells to look up together.

    Attributes:
        tables: where to look.
        following: a heap of the next shell of each part, once these are looked up.
        samples: whether the sizes of buckets are sampled; they are guessed otherwise.
        reach: every code within so many bits is found then.
        shells: by part.
        seconds: expected for the shells.
    """

    tables: Tables
    following: list[Shell]
    samples: bool = False
    reach: int = -1
    shells: Sequence[Shell] = ()
    seconds: float = 0.0

    @classmethod
    def begin(cls, segment: Segment, query: Words) -> Plan:
        """Plan nothing yet for a query, shape ``(n_words,)``.

        Raises:
            DamagedIndexError: the offsets make no sense.
        """
        tables = Tables.around(segment, query)
        following = tables.own_shells()
        heapify(following)
        return cls(tables, following)

    @property
    def candidates(self) -> float:
        """Codes expected in the shells."""
        return sum(shell.probes * shell.density for shell in self.shells)

    def sampled(self) -> Plan:
        """Plan no shells, but sample all that follow."""
        following = [self.tables.sample(shell) for shell in self.following]
        heapify(following)
        return Plan(self.tables, following, True, self.reach)

    def ahead(self, bound: int, room: float) -> Plan:
        """Plan the cheapest shells that follow, until they reach a bound or fill the room.

        Args:
            bound: in bits.
            room: in seconds; one shell is taken even if it needs more.

        Raises:
            DamagedIndexError: the offsets make no sense.
        """
        tables, following = self.tables, [*self.following]
        shells: list[Shell] = []
        reach, seconds = self.reach, planner.SHELL_SECONDS
        while reach < bound:
            shell = following[0]
            if shells and seconds + shell.seconds > room:
                break
            shells.append(shell)
            seconds += shell.seconds
            reach += 1
            if shell.flips == tables.parts[shell.part][2]:
                reach = tables.segment.layout.n_bits  # the part has led to every code
            farther = tables.guess(shell)
            heapreplace(following, tables.sample(farther) if self.samples else farther)
        shells.sort(key=attrgetter("part"))
        return Plan(tables, following, self.samples, reach, shells, seconds)

    def look_up(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Where the codes of the shells begin, by bucket, and how many they are.

        Codes 0 to n - 1 are those of the segment in their order, the others its ``positions``.

        Raises:
            DamagedIndexError: the offsets make no sense.
        """
        buckets = [self.tables.buckets(shell.part, shell.flips) for shell in self.shells]
        starts, sizes = self.tables.spans(np.concatenate(buckets))
        n = len(self.tables.segment)
        bases = np.array([shell.part * n for shell in self.shells])
        starts += bases.repeat([shell.probes for shell in self.shells])
        return starts, sizes


def damaged(name: str) -> DamagedIndexError:
    """What to raise where the numbers in a file lead nowhere."""
    return DamagedIndexError(f"Numbers in {name} make no sense: the file was altered. {REMEDY}")


@lru_cache(maxsize=256)
def _flips(width: int, flips: int) -> NDArray[np.int64]:
    """All numbers of ``width`` bits of which ``flips`` are 1, ascending."""
    if flips == 0:
        return np.zeros(1, dtype=np.int64)
    fewer = _flips(width, flips - 1)
    # Of those with one bit less, the first comb(i, flips - 1) lie below bit i.
    return np.concatenate([fewer[: comb(i, flips - 1)] + (1 << i) for i in range(width)])
