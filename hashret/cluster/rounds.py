"""Whether to ask shards twice: first how far their nearest items are, then for those that count."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from hashret.cluster.shard_answers import Question

FEW_CODES = 64
"""Sending more takes time of its own."""

MANY_HITS = 200
"""Of a shard: reading fewer takes less than what comes before."""

_WEIGHT = 0.2
"""Of what was measured last."""


class Timed(Protocol):
    """An answer, and the seconds that it took the shard."""

    @property
    def seconds(self) -> float:
        """Of a shard."""


class Rounds:
    """What rounds take here, and which of them pay.

    The ten nearest of all shards are among the ten nearest of each, most of which are read, sent
    and dropped for nothing. Distances alone are found in a fraction of the time. Once they are
    known of all shards, so is the distance of the last hit, and nothing beyond it has to be read.
    That takes a second round: worth it where many codes are asked at once, or for many hits.

    What was found for the distances is kept by the shards, so that nothing is searched for twice.

    Attributes:
        trip_seconds: of a round, beyond what the slowest shard takes.
        hit_seconds: that a shard takes to read a hit.
    """

    def __init__(self, shards: int) -> None:
        """Begin with typical figures."""
        self.shards = shards
        self.trip_seconds = 2e-3
        self.hit_seconds = 8e-6

    def bounds_pay(self, question: Question) -> bool:
        """Whether to ask for distances first."""
        most = question.most
        if question.radius is not None or type(most) is not int or self.shards < 2:
            return False
        n = len(question.codes)
        saved = n * most * (1 - 1 / self.shards) * self.hit_seconds
        return saved > self.trip_seconds

    def note(self, n: int, seconds: float, answers: Mapping[int, Timed], hits: int = 0) -> None:
        """Note a round that asked ``n`` codes, and read ``hits`` in all shards."""
        slowest = max((one.seconds for one in answers.values()), default=0.0)
        if n <= FEW_CODES:
            self._note("trip_seconds", seconds - slowest)
        if hits >= MANY_HITS * self.shards:
            self._note("hit_seconds", slowest * self.shards / hits)

    def _note(self, name: str, seconds: float) -> None:
        before = getattr(self, name)
        # One that was disturbed is not to decide for long.
        seconds = min(max(seconds, before / 4), before * 4)
        setattr(self, name, before + _WEIGHT * (seconds - before))
