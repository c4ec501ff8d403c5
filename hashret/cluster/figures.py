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
        search: (codes, seconds that half take at most, seconds that 99 of 100 take), by codes, of
            queries one after the other in one process.
        one_codes: of the one shard that queries were put to.
        one_half: seconds that half of the queries to this shard take at most, all in all.
        one_most: seconds that 99 of 100 of them take.
        front_seconds: of a processor, to put a query to one shard and read its answer.
        shard_seconds: the same, for each shard more.
        reader_seconds: of a processor, that this shard's reader takes for a query.
        batch_seconds: of a shard, to search for one of many codes, twice: see ``rounds``.
        hit_seconds: of a shard, to read and send a hit of one of many codes.
        merge_seconds: to join the answer to a query.
    """

    code_bytes: float
    item_bytes: float
    search: tuple[tuple[float, float, float], ...]
    one_codes: float
    one_half: float
    one_most: float
    front_seconds: float
    shard_seconds: float
    reader_seconds: float
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
            one = next(run for run in runs if run["shards"] == 1)
            asking = [(run["shards"], run["processor_seconds"]["asking"]) for run in runs]
            alone = sorted(
                (
                    float(run["items_a_shard"]),
                    run["shard_alone"]["p50_ms"] / 1e3,
                    run["shard_alone"]["p99_ms"] / 1e3,
                )
                for run in runs
            )
            large = [
                (run["codes"], run["p50"], run["p99"])
                for run in search["searches"]
                if run["query"] == "10 nearest" and "p99" in run
            ]
            # Beyond what was searched here, a query reads its hits as it does here.
            reading = alone[-1][1]
            beyond = [
                (codes, p50 + reading, p99 + reading)
                for codes, p50, p99 in large
                if codes > alone[-1][0]
            ]
            least = min(search["bytes_a_code"], key=lambda run: run["bytes"])
            code_bytes = least["bytes"] * bits / least["bits"]
            steps = [run["steps"] for run in runs]
            searches = [2 * step["reach"] / run["batch"] for step, run in _pairs(steps, runs)]
            hits = [
                max(step["answer"] - step["reach"], 0.0) * run["shards"] / step["hits"]
                for step, run in _pairs(steps, runs)
            ]
            return cls(
                # A code of twice the length has twice as many tables.
                code_bytes=code_bytes,
                item_bytes=cluster["same"]["bytes_an_item"]
                + (code_bytes - least["bytes"])
                + (bits - least["bits"]) / 8,
                search=(*alone, *beyond),
                one_codes=float(one["items_a_shard"]),
                one_half=one["single"]["p50_ms"] / 1e3,
                one_most=one["single"]["p99_ms"] / 1e3,
                front_seconds=one["processor_seconds"]["asking"],
                shard_seconds=max(_slope(asking), 1e-6),
                reader_seconds=one["processor_seconds"]["reading"],
                batch_seconds=median(searches),
                hit_seconds=median(hits),
                merge_seconds=min(
                    step["merge"] / run["batch"] for step, run in _pairs(steps, runs)
                ),
            )
        except (KeyError, IndexError, TypeError, ValueError, StopIteration) as error:
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

    def call(self, codes: float) -> tuple[float, float]:
        """Seconds that half, and 99 of 100, of the queries to one shard of so many codes take.

        That is what those to the measured shard took, and by how much longer a larger one searches.
        """
        more = [
            here - there
            for here, there in zip(self.shard(codes), self.shard(self.one_codes), strict=True)
        ]
        half = max(self.one_half + more[0], self.front_seconds)
        return half, max(half, self.one_most + more[1])

    def read(self, codes: float) -> float:
        """Seconds of a processor that a reader of so many codes takes for a query."""
        more = mean(*self.shard(codes)) - mean(*self.shard(self.one_codes))
        return max(self.reader_seconds + more, self.reader_seconds / 4)

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

    Predicted from those of one shard, and from what the search of smaller ones takes in a process
    of its own. The shards share the processors of this machine, and so does who asks: what is done
    for each more keeps them busy for so much longer.
    """
    cores = cluster["machine"]["cores"]
    found = []
    for run in cluster["fanout"]:
        shards, codes = run["shards"], run["items_a_shard"]
        work = figures.shard_seconds + figures.read(codes)
        more = (shards - 1) * max(figures.shard_seconds, work / cores)
        half, most = figures.call(codes)
        together = min(shards, cores)
        for what, predicted in (
            ("p50", slowest_of(half, most, together, 0.5) + more),
            ("p99", slowest_of(half, most, shards, 0.99) + more),
        ):
            measured = run["single"][f"{what}_ms"] / 1e3
            found.append(Checked(shards, what, predicted, measured))
    return found


def _pairs(steps: Sequence[Any], runs: Sequence[Any]) -> Iterator[tuple[Any, Any]]:
    return zip(steps, runs, strict=True)


def _slope(points: Sequence[tuple[float, float]]) -> float:
    """That of the line nearest to points."""
    n = len(points)
    middle_x, middle_y = sum(x for x, _ in points) / n, sum(y for _, y in points) / n
    spread = sum((x - middle_x) ** 2 for x, _ in points)
    return sum((x - middle_x) * (y - middle_y) for x, y in points) / spread if spread else 0.0
