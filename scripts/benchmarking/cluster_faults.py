"""Readers and nodes are killed while a cluster answers or is indexed."""

from __future__ import annotations

import os
import shutil
import signal
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter, sleep
from typing import Any

import numpy as np

import hashret
from benchmarking.cluster_data import empty
from benchmarking.cluster_nodes import add_node, kill_node
from hashret.cluster.cluster_changes import add_to_cluster
from hashret.cluster.making import open_source_for
from hashret.cluster.published import storage_at
from hashret.errors import HashretError

BATCH = 50
CALM_SECONDS = 3.0
PATIENCE_SECONDS = 120.0


@dataclass
class Stream:
    """Batches asked one after the other, until told to stop.

    Attributes:
        answers: when each was asked, when it was answered, and whether it was right.
        refused: messages of those that failed.
    """

    answers: list[tuple[float, float, bool]] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)

    def run(
        self, ask: Callable[[Any], Any], batches: list[tuple[Any, Any]], stop: threading.Event
    ) -> None:
        """Ask until ``stop``; each batch comes with what is right."""
        turn = 0
        while not stop.is_set():
            queries, right = batches[turn % len(batches)]
            turn += 1
            started = perf_counter()
            try:
                found = ask(queries)
            except HashretError as error:
                self.refused.append(str(error))
                continue
            self.answers.append((started, perf_counter(), found == right))


def told(results: Any) -> list[Any]:
    """What is compared of answers."""
    return [
        [
            (hit.rank, hit.key, hit.distance, hit.code.tobytes(), hit.fields, hit.location)
            for hit in one
        ]
        for one in results
    ]


def killed_while_asked(
    ray_cluster: Any, cluster: Path, index: Any, images: Any, cpus: int
) -> dict[str, Any]:
    """Kill a reader, then a node, in the middle of a stream of batches."""
    batches = [
        (images[start : start + BATCH], None) for start in range(0, min(len(images), 1000), BATCH)
    ]
    batches = [(some, told(index.query_many(some, order="key"))) for some, _ in batches]
    facts: dict[str, Any] = {}
    with hashret.open_cluster(cluster, replicas=2) as asked:
        readers = 2 * asked.layout.shards
        asked.query_many(images[:BATCH])
        _until(lambda: len(asked.replicas.processes()) == readers)
        for name in ("reader", "node"):
            stream, stop = Stream(), threading.Event()
            # Ray is asked from one thread; who kills only looks on.
            arguments = (lambda some: told(asked.query_many(some)), batches, stop)
            thread = threading.Thread(target=stream.run, args=arguments)
            retried = asked.replicas.retried
            thread.start()
            sleep(CALM_SECONDS)
            killed = perf_counter()
            if name == "reader":
                process = next(iter(asked.replicas.processes().values()))
                killed = perf_counter()
                os.kill(process["pid"], signal.SIGKILL)
                gone = {process["pid"]}
            else:
                node = ray_cluster.list_all_nodes()[-1].node_id
                before = asked.replicas.processes().values()
                gone = {one["pid"] for one in before if one["node"] == node}
                killed = perf_counter()
                kill_node(ray_cluster)

            def whole(gone: set[int] = gone) -> bool:
                now = {one["pid"] for one in asked.replicas.processes().values()}
                return len(now) == readers and not now & gone

            back = _until(whole)
            sleep(CALM_SECONDS)
            stop.set()
            thread.join()
            after = [one for one in stream.answers if one[0] >= killed]
            during = [one for one in stream.answers if one[1] >= killed]
            calm = [end - start for start, end, _ in stream.answers if end < killed]
            facts[name] = {
                "batches": len(stream.answers),
                "wrong": sum(not right for *_, right in stream.answers),
                "refused": len(stream.refused),
                "readers_killed": len(gone),
                "asked_again": asked.replicas.retried - retried,
                "usual_batch_seconds": float(np.median(calm)) if calm else None,
                "next_right_seconds": min(e for _, e, right in during if right) - killed,
                "next_asked_right_seconds": min(e for _, e, right in after if right) - killed,
                "longest_batch_seconds": max(end - start for start, end, _ in during),
                "all_back_seconds": back - killed,
            }
        add_node(ray_cluster, cpus)
    return facts


def _until(reached: Callable[[], bool]) -> float:
    latest = perf_counter() + PATIENCE_SECONDS
    while not reached():
        if perf_counter() > latest:
            raise SystemExit("The readers do not come back.")
        sleep(0.05)
    return perf_counter()


def killed_while_indexed(
    ray_cluster: Any, cluster: Path, source: Path, cpus: int
) -> dict[str, Any]:
    """Index a source twice: in peace, and with a node killed in the middle of it."""
    facts: dict[str, Any] = {}
    for name in ("in_peace", "node_killed"):
        place = cluster.parent / f"{cluster.name}-killed"
        layout = empty(cluster, place)
        storage = storage_at(place)
        opened = open_source_for(storage, layout, source)
        total = opened.source.length or 0
        killed: list[float] = []

        def kill(when: list[float] = killed) -> None:
            when.append(perf_counter())
            kill_node(ray_cluster)

        timer = threading.Timer(facts.get("in_peace", {}).get("seconds", 0) / 2, kill)
        if name == "node_killed":
            timer.start()
        started = perf_counter()
        runs = 0
        while True:
            runs += 1
            try:
                report, count = add_to_cluster(storage, layout, opened)
                break
            except HashretError:
                if runs == 5:
                    raise
        seconds = perf_counter() - started
        if name == "node_killed":
            timer.join()
            add_node(ray_cluster, cpus)
        keys, wrong = _compared(place, cluster)
        facts[name] = {
            "items": total,
            "stored": count,
            "keys": keys,
            "lost_or_wrong": wrong,
            "runs": runs,
            "seconds": seconds,
            "killed_after_seconds": killed[0] - started if killed else None,
            "told_added": report.added,
        }
        shutil.rmtree(place)
    return facts


def _compared(place: Path, cluster: Path) -> tuple[int, int]:
    """How many different keys there are, and how many of their items are not as in a cluster.

    Both have the same shards, and the first of them the same source or its beginning.
    """
    keys: set[str] = set()
    wrong = 0
    layout = storage_at(place).layout()
    for folder in layout.folders():
        with hashret.open(place / folder) as own, hashret.open(cluster / folder) as other:
            codes = dict(_codes(other))
            for key, code in _codes(own):
                keys.add(key)
                wrong += codes.get(key) != code
    return len(keys), wrong


def _codes(index: Any) -> Any:
    with index.reader.state():
        for block in index.reader.store.item_blocks(50_000):
            for item in block:
                yield item.key, item.code.tobytes()
