"""What was measured of small clusters, and what follows from it for others."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist, median
from typing import Any

from hashret.errors import UsageError

_NORMAL = NormalDist()


@dataclass(frozen=True, slots=True)
class Figures:
    """What was measured.

    Attributes:
        code_bytes: of codes and tables, for each item.
        item_bytes: of everything on disk, for each item.
        search: (codes, seconds that half take at most, seconds that 99 of 100 take), by codes.
        round_seconds: of a round of no shards.
        shard_seconds: that each shard adds to a round.
        tail_seconds: of the root of the number of shards, by which 99 of 100 rounds take longer
            than half of them do at most.
        batch_seconds: of a shard, to search for one of many codes, twice: see ``rounds``.
        hit_seconds: of a shard, to read and send a hit of one of many codes.
        merge_seconds: to join the answer to a query.
    """

    code_bytes: float
    item_bytes: float
    search: tuple[tuple[float, float, float], ...]
    round_seconds: float
    shard_seconds: float
    tail_seconds: float
    batch_seconds: float
    hit_seconds: float
    merge_seconds: float

    @classmethod
    def measured(cls, cluster: Mapping[str, Any], search: Mapping[str, Any], bits: int) -> Figures:
        """Those of ``cluster_figures.json`` and ``search_figures.json``.

        Raises:
            UsageError: a figure is missing.
        """
        try:
            runs = cluster["fanout"]
            slope, start = _line(
                [(one["shards"], one["empty_round"]["p50_ms"] / 1e3) for one in runs]
            )
            tails = [
                (one["empty_round"]["p99_ms"] - one["empty_round"]["p50_ms"])
                / 1e3
                / math.sqrt(one["shards"])
                for one in runs
            ]
            alone = sorted(
                (
                    float(one["items_a_shard"]),
                    one["shard_alone"]["p50_ms"] / 1e3,
                    one["shard_alone"]["p99_ms"] / 1e3,
                )
                for one in runs
            )
            large = [
                (one["codes"], one["p50"], one["p99"])
                for one in search["searches"]
                if one["query"] == "10 nearest" and "p99" in one
            ]
            # Beyond what was searched here, a query reads its hits as it does here.
            reading = alone[-1][1]
            beyond = [
                (codes, p50 + reading, p99 + reading)
                for codes, p50, p99 in large
                if codes > alone[-1][0]
            ]
            least = min(search["bytes_a_code"], key=lambda one: one["bytes"])
            code_bytes = least["bytes"] * bits / least["bits"]
            steps = [one["steps"] for one in runs]
            searches = [2 * one["reach"] / run["batch"] for one, run in _pairs(steps, runs)]
            hits = [
                max(one["answer"] - one["reach"], 0.0) * run["shards"] / one["hits"]
                for one, run in _pairs(steps, runs)
            ]
            return cls(
                # A code of twice the length has twice as many tables.
                code_bytes=code_bytes,
                item_bytes=cluster["same"]["bytes_an_item"]
                + (code_bytes - least["bytes"])
                + (bits - least["bits"]) / 8,
                search=(*alone, *beyond),
                round_seconds=max(start, 1e-4),
                shard_seconds=max(slope, 1e-6),
                tail_seconds=max(median(tails), 0.0),
                batch_seconds=median(searches),
                hit_seconds=median(hits),
                merge_seconds=min(one["merge"] / run["batch"] for one, run in _pairs(steps, runs)),
            )
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise UsageError(
                f"The measured figures are not whole ({error!r}): run scripts/bench_cluster."
            ) from error

    def shard(self, codes: float) -> tuple[float, float]:
        """Seconds that half, and 99 of 100, of the queries of a shard of so many codes take.

        Between two measured sizes it grows by a power of the size; below the smallest it stays, and
        beyond the largest it grows on as between the last two.
        """
        points = self.search
        if codes <= points[0][0] or len(points) == 1:
            return points[0][1], points[0][2]
        after = next((n for n, one in enumerate(points) if one[0] >= codes), len(points) - 1)
        (low, *first), (high, *second) = points[after - 1], points[after]
        share = math.log(codes / low) / math.log(high / low)
        half, most = (a * (max(b, 1e-9) / a) ** share for a, b in zip(first, second, strict=True))
        return half, max(half, most)

    def late(self, shards: int) -> float:
        """Seconds by which 99 of 100 rounds take longer: what delays single calls evens out."""
        return self.tail_seconds * math.sqrt(shards)

    def batched(self, codes: float, hits: float) -> float:
        """Seconds of a shard for each more code of a batch, of which it reads so many hits.

        It grows with the size of the shard by as much as the mean of single queries does.
        """
        smallest = mean(*self.shard(self.search[0][0]))
        growth = max(mean(*self.shard(codes)) - smallest, 0.0)
        return self.batch_seconds + growth + hits * self.hit_seconds


def tail(half: float, most: float, share: float) -> float:
    """The time within which a ``share`` of answers come, of a lognormal distribution.

    Args:
        half: what half of them take at most.
        most: what 99 of 100 take at most.
        share: below 1.

    Example:
        >>> round(tail(1.0, 10.0, 0.99), 6)
        10.0
    """
    sigma = math.log(max(most / half, 1.0)) / _NORMAL.inv_cdf(0.99)
    return half * math.exp(sigma * _NORMAL.inv_cdf(min(max(share, 1e-12), 1 - 1e-15)))


def slowest_of(half: float, most: float, draws: float, share: float) -> float:
    """The time within which all of ``draws`` answers come, in a ``share`` of cases."""
    return tail(half, most, share ** (1 / max(draws, 1.0)))


def mean(half: float, most: float) -> float:
    """The mean of such a distribution."""
    sigma = math.log(max(most / half, 1.0)) / _NORMAL.inv_cdf(0.99)
    return half * math.exp(sigma**2 / 2)


@dataclass(frozen=True, slots=True)
class Checked:
    """What was predicted of a run that was measured, in seconds."""

    shards: int
    what: str
    predicted: float
    measured: float

    @property
    def error(self) -> float:
        """By how much of the measured time the prediction is off."""
        return self.predicted / self.measured - 1


def check(cluster: Mapping[str, Any], figures: Figures) -> list[Checked]:
    """Single queries of 1, 2, 4, ... shards on the machine that they were measured on.

    Predicted from rounds that ask nothing and from shards asked in their own process: the shards
    share its processors, so that some wait for others.
    """
    cores = cluster["machine"]["cores"]
    found = []
    for run in cluster["fanout"]:
        shards = run["shards"]
        turns = -(-shards // cores)
        half, most = figures.shard(run["items_a_shard"])
        asking = figures.round_seconds + figures.shard_seconds * shards + figures.merge_seconds
        usual = asking + (turns - 1) * half + slowest_of(half, most, min(shards, cores), 0.5)
        late = asking + figures.late(shards) + (turns - 1) * mean(half, most)
        late += slowest_of(half, most, shards, 0.99)
        for what, predicted in (("p50", usual), ("p99", late)):
            measured = run["single"][f"{what}_ms"] / 1e3
            found.append(Checked(shards, what, predicted, measured))
    return found


def _pairs(steps: Sequence[Any], runs: Sequence[Any]) -> Iterator[tuple[Any, Any]]:
    return zip(steps, runs, strict=True)


def _line(points: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Slope and start of the line nearest to points."""
    n = len(points)
    middle_x, middle_y = sum(x for x, _ in points) / n, sum(y for _, y in points) / n
    spread = sum((x - middle_x) ** 2 for x, _ in points)
    slope = sum((x - middle_x) * (y - middle_y) for x, y in points) / spread if spread else 0.0
    return slope, middle_y - slope * middle_x
