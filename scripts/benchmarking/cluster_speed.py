"""How fast a cluster answers, beside one index of the same items."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from os import sysconf
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import numpy as np

import hashret
from benchmarking.cluster_data import spread
from benchmarking.cluster_faults import told
from hashret.cluster.replicas import stop_readers
from hashret.cluster.shard_answers import Question, bounds_of, merged
from hashret.index.ordering import Refinement

BATCH = 1000
LIMIT = 10
WARM = 50
KINDS: dict[str, dict[str, Any]] = {
    "10 nearest": {"limit": LIMIT},
    "100 nearest": {"limit": 100},
    "radius 4": {"radius": 4, "limit": None},
    "10 nearest where label = 3": {"limit": LIMIT, "where": "label = 3"},
}


def seconds(run: Callable[[], Any]) -> float:
    """The time that one call takes."""
    started = perf_counter()
    run()
    return perf_counter() - started


def compared(cluster: Path, index: Any, images: Any) -> dict[str, Any]:
    """Queries of each kind, whose answers are compared with those of one index."""
    facts: dict[str, Any] = {"queries": 0, "hits": 0, "different": 0}
    share = len(images) // len(KINDS)
    with hashret.open_cluster(cluster) as asked:
        for place, how in enumerate(KINDS.values()):
            some = images[place * share : (place + 1) * share]
            found = told(asked.query_many(some, **how))
            right = told(index.query_many(some, order="key", **how))
            facts["queries"] += len(some)
            facts["hits"] += sum(map(len, right))
            facts["different"] += sum(a != b for a, b in zip(found, right, strict=True))
        facts["memory"] = {
            f"{shard}/{replica}": one["memory"]
            for (shard, replica), one in sorted(asked.replicas.processes().items())
        }
        facts["bytes_an_item"] = asked.info()["bytes"] / len(index)
    return facts


def throughput(ray: Any, cluster: Path, index: Any, images: Any, rounds: int) -> dict[str, Any]:
    """Batches of a cluster of two shards and of one index over its items, which take turns."""
    place = spread(cluster, 2)
    times: dict[str, list[float]] = {}
    with hashret.open_cluster(place) as asked:
        sides: dict[str, Callable[[Any], Any]] = {
            "one index": lambda some: index.query_many(some, limit=LIMIT),
            "one index, by key": lambda some: index.query_many(some, limit=LIMIT, order="key"),
            "2 shards": lambda some: asked.query_many(some, limit=LIMIT),
        }
        for turn in range(rounds + 2):
            start = turn * BATCH % (len(images) - BATCH + 1)
            some = list(images[start : start + BATCH])
            for name, ask in sides.items():
                taken = seconds(lambda ask=ask, some=some: ask(some))
                if turn > 1:
                    times.setdefault(name, []).append(taken)
        costs = {name: getattr(asked.rounds, name) for name in ("trip_seconds", "hit_seconds")}
        stop_readers(ray, asked.path)
    ratios = {
        name: [one / other for one, other in zip(times[name], times["2 shards"], strict=True)]
        for name in ("one index", "one index, by key")
    }
    return {
        "batch": BATCH,
        "limit": LIMIT,
        "seconds": times,
        "ratio": {name: float(np.median(own)) for name, own in ratios.items()},
        "ratio_range": {name: [min(own), max(own)] for name, own in ratios.items()},
        "measured_costs": costs,
    }


def fan_out(ray: Any, cluster: Path, codes: Any, shards: list[int]) -> list[dict[str, Any]]:
    """Single queries, and batches, of clusters of so many shards with the same items."""
    found = []
    for count in shards:
        place = spread(cluster, count)
        # What a shard takes by itself, one after the other.
        folder = place / hashret.open_cluster(place).layout.folders()[0]
        with hashret.open(folder) as shard:
            items = len(shard)
            alone = _each(lambda code, one=shard: one.query_code(code, order="key"), codes)
        with hashret.open_cluster(place) as asked:
            for code in codes[:WARM]:
                asked.query_code(code)
            pids = [one["pid"] for one in asked.replicas.processes().values()]
            before = _processor_seconds(pids)
            single = _each(asked.query_code, codes)
            after = _processor_seconds(pids)
            within = _percentiles([_slowest(asked, code) for code in codes])
            trips = _each(lambda _, one=asked: one._all("n_bits"), codes)
            batches = [
                seconds(
                    lambda one=asked, start=start: one._search(
                        codes[start : start + BATCH], None, LIMIT, None, _by_key(), partial=False
                    )
                )
                for start in range(0, len(codes), BATCH)
                for _ in range(3)
            ]
            steps = _steps(asked, codes)
            bounds = bounds_forced(asked, codes) if count == max(shards) else []
            stop_readers(ray, asked.path)
        found.append(
            {
                "shards": count,
                "items_a_shard": items,
                "shard_alone": alone,
                "empty_round": trips,
                "single": single,
                "in_readers": within,
                "processor_seconds": {
                    name: (after[name] - before[name]) / (len(codes) + WARM) for name in after
                },
                "batch_seconds": float(np.median(batches)),
                "batch": len(codes[:BATCH]),
                "steps": steps,
                "bounds": bounds,
            }
        )
    return found


def _steps(asked: Any, codes: Any) -> dict[str, float]:
    """Seconds of the steps of a batch that asks for distances first; the least of a few."""
    question = Question(
        codes[:BATCH], None, LIMIT, None, _by_key(), name=1, encoder=asked.fingerprint
    )
    found: dict[str, list[float]] = {"reach": [], "answer": [], "merge": [], "hits": []}
    for _ in range(5):
        reaches, _ = asked._round("reach", question, False)
        found["reach"].append(max(one.seconds for one in reaches.values()))
        bounded = replace(question, bounds=bounds_of(question, list(reaches.values())))
        answers, _ = asked._answers(bounded, False)
        found["answer"].append(max(one.seconds for one in answers.values()))
        found["hits"].append(sum(len(one.columns.keys) for one in answers.values()))
        found["merge"].append(seconds(lambda b=bounded, a=answers: merged(b, a, LIMIT, (), 1.0)))
    return {name: float(min(own)) for name, own in found.items()}


def _each(ask: Callable[[Any], Any], codes: Any) -> dict[str, float]:
    for code in codes[:WARM]:
        ask(code)
    return _percentiles([seconds(lambda code=code: ask(code)) for code in codes])


def _percentiles(times: list[float]) -> dict[str, float]:
    points = {"p50_ms": 50, "p90_ms": 90, "p99_ms": 99, "p999_ms": 99.9}
    return {name: float(np.percentile(times, share)) * 1e3 for name, share in points.items()}


def _slowest(asked: Any, code: Any) -> float:
    """Seconds that the slowest of the shards takes for a code, as its reader measures them."""
    question = Question(code[None], None, LIMIT, None, _by_key(), encoder=asked.fingerprint)
    return max(one.seconds for one in asked._answers(question, False)[0].values())


def _processor_seconds(readers: list[int]) -> dict[str, float]:
    """What who asks, and the readers, have taken of processors so far."""
    return {"asking": process_time(), "reading": sum(map(_taken_by, readers))}


def _taken_by(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / sysconf("SC_CLK_TCK")


def bounds_forced(asked: Any, codes: Any) -> list[dict[str, Any]]:
    """Batches asked in one round and in two, in turns; and what the rule would have chosen."""
    found = []
    rule = type(asked.rounds).bounds_pay
    for size in (1, 10, 100, BATCH):
        for limit in (10, 100, 1000):
            times: dict[bool, list[float]] = {False: [], True: []}
            chosen = []
            turns = 4 if size * limit > 10_000 else 20
            for turn in range(turns):
                start = turn * size % max(1, len(codes) - size)
                some = codes[start : start + size]
                question = Question(some, None, limit, None, _by_key())
                chosen.append(rule(asked.rounds, question))
                for two in (False, True):
                    asked.rounds.bounds_pay = lambda _, two=two: two
                    times[two].append(
                        seconds(
                            lambda some=some, limit=limit: asked._search(
                                some, None, limit, None, _by_key(), partial=False
                            )
                        )
                    )
                    del asked.rounds.bounds_pay
            found.append(
                {
                    "batch": size,
                    "limit": limit,
                    "one_round_seconds": float(np.median(times[False])),
                    "two_rounds_seconds": float(np.median(times[True])),
                    "rule_takes_two": float(np.mean(chosen)),
                }
            )
    return found


def bounded_search(cluster: Path, codes: Any, shards: int) -> dict[str, float]:
    """Seconds a code that a search of one shard takes, without and with the bound of all shards."""
    place = spread(cluster, shards)
    with hashret.open_cluster(place) as asked:
        folders = asked.layout.folders()
    opened = [hashret.open(place / folder) for folder in folders]
    try:
        far = [
            [found.distances for found in one.nearest(codes, None, LIMIT, None).founds]
            for one in opened
        ]
        bounds = [
            int(np.partition(np.concatenate(own), LIMIT - 1)[LIMIT - 1])
            for own in zip(*far, strict=True)
        ]
        one = opened[0]

        def each(radii: list[int | None]) -> float:
            def run() -> None:
                for code, radius in zip(codes, radii, strict=True):
                    one.nearest(code[None], radius, LIMIT, None)

            return min(seconds(run) for _ in range(3)) / len(codes)

        free: list[int | None] = [None] * len(codes)
        return {
            "shards": shards,
            "free_seconds": each(free),
            "first_wave_seconds": each([int(own[LIMIT - 1]) for own in far[1]]),
            "bounded_seconds": each(list(bounds)),
        }
    finally:
        for one in opened:
            one.close()


def _by_key() -> Any:
    return Refinement(by_key=True)
