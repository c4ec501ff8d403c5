"""What a cluster takes: shards, nodes, memory and latency, from what was measured of small ones."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from hashret.cluster.cluster_layout import MOST_SHARDS
from hashret.cluster.figures import Figures, slowest_of
from hashret.errors import HashretError, UsageError

BUSY = 0.6
"""Processors are planned to be busy for this share of the time at most: more, and queries queue."""

_BUSY = (BUSY, 0.45, 0.3, 0.15)
"""Where queries must wait less, readers are planned to be less busy."""

MEMORY_USED = 0.8
"""Of a node's memory, for the tables; the rest is for processes and the pages of databases."""

HITS = 10
"""That a query asks for."""

SENT = 1.5
"""Hits that shards send for each that is asked for: of the last ring, each sends all of its own."""

MOST_CODES = 2**32 - 2
"""Of one segment: a place in it has 32 bits."""

_SHARDS = (1, 2, 3, 4, 5, 6, 8, 10, 12, 16, 20, 24, 32, 40, 48, 64, 80, 100, 128, 160, 200, 256)
_WINDOWS = (0.0, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05)


@dataclass(frozen=True, slots=True)
class Goal:
    """What is wanted: so many items, queries a second, and the time that 99 of 100 take at most."""

    items: float
    bits: int
    qps: float
    p99: float
    replicas: int = 2


@dataclass(frozen=True, slots=True)
class Node:
    """What a machine has: bytes of memory and disk, processors; seconds of a disk read and trip."""

    memory: float
    cores: int
    disk: float
    disk_read: float = 1e-4
    trip: float = 2e-4


@dataclass(frozen=True, slots=True)
class Plan:
    """A cluster that does what is wanted.

    Attributes:
        shards: each on ``replicas`` nodes.
        readers: of each shard; those beyond the replicas share the memory of one.
        nodes: that hold and search them.
        fronts: processes that ask the shards and join answers.
        front_nodes: for the fronts.
        window: seconds for which queries are gathered into a batch.
        batch: how many are then asked at once.
        shard_codes: of one shard.
        node_memory: bytes of tables on a node.
        node_disk: bytes on the disk of a node.
        busy: share of the time for which the processors of the nodes are busy.
        p50: seconds that half of the queries take at most.
        p99: seconds that 99 of 100 take at most.
        parts: of ``p99``, in seconds, by what takes them.
    """

    shards: int
    readers: int
    nodes: int
    fronts: int
    front_nodes: int
    window: float
    batch: float
    shard_codes: float
    node_memory: float
    node_disk: float
    busy: float
    p50: float
    p99: float
    parts: Mapping[str, float]


def plan(goal: Goal, node: Node, figures: Figures) -> Plan:
    """The cluster of the fewest nodes that does what is wanted; of those, the quickest.

    Raises:
        UsageError: a goal that makes no sense.
        HashretError: nothing does it; the message says what limits it.
    """
    for name in ("items", "qps", "p99", "replicas"):
        if not getattr(goal, name) > 0:
            raise UsageError(f"{name} must be above 0, not {getattr(goal, name)!r}.")
    if goal.bits % 8 or not 8 <= goal.bits <= 1024:
        raise UsageError(f"bits must be a multiple of 8 from 8 to 1024, not {goal.bits}.")
    # Larger shards than were measured are planned only where no others will do.
    measured = min(MOST_CODES, figures.search[-1][0])
    found = [one for most in {measured, MOST_CODES} for one in _sizes(goal, node, figures, most)]
    if not found:
        raise HashretError(
            f"No cluster of such nodes answers {goal.qps:,.0f} queries a second about "
            f"{goal.items:.3g} items: there are {MOST_SHARDS:,} shards of {MOST_CODES:.3g} codes "
            f"at most, and who asks takes {figures.shard_seconds * 1e3:.3g} ms for each."
        )
    good = [one for one in found if one.p99 <= goal.p99]
    if not good:
        best = min(found, key=lambda one: one.p99)
        parts = ", ".join(f"{name} {seconds * 1e3:.3g} ms" for name, seconds in best.parts.items())
        raise HashretError(
            f"A p99 of {goal.p99 * 1e3:.3g} ms is out of reach: the best is {best.p99 * 1e3:.3g} "
            f"ms, with {best.shards} shards on {best.nodes} nodes ({parts})."
        )
    within = [one for one in good if one.shard_codes <= measured]
    return min(within or good, key=lambda one: (one.nodes + one.front_nodes, one.p99))


def _sizes(goal: Goal, node: Node, figures: Figures, largest: float) -> list[Plan]:
    """Clusters of more and more shards, none of more than so many codes."""
    least = math.ceil(goal.items / largest)
    counts = {n * 10**power for power in range(3) for n in _SHARDS}
    found = [
        _sized(goal, node, figures, shards, window, busy)
        for shards in sorted({least, *counts})
        if least <= shards <= MOST_SHARDS
        for window in _WINDOWS
        for busy in _BUSY
    ]
    return [one for one in found if one is not None]


def _sized(
    goal: Goal, node: Node, figures: Figures, shards: int, window: float, busy: float
) -> Plan | None:
    """What so many shards take; None where no number of fronts keeps up."""
    codes = goal.items / shards
    half, most = figures.call(codes)
    reading = node.disk_read * HITS / shards
    half, most = half + reading, most + reading
    others = figures.shard_seconds * (shards - 1)
    ask = figures.front_seconds + others
    fronts = _fronts(goal, figures, ask, window)
    if fronts is None:
        return None
    batch = max(1.0, goal.qps / fronts * window)
    more = (batch - 1) * (figures.batched(codes, HITS * SENT / shards) + reading)
    call = figures.read(codes) + reading + more
    batches = goal.qps / batch
    readers = max(goal.replicas, math.ceil(batches * call / busy))
    memory = goal.items * figures.code_bytes * goal.replicas
    disk = goal.items * figures.item_bytes * goal.replicas
    nodes = max(
        math.ceil(memory / (node.memory * MEMORY_USED)),
        math.ceil(disk / node.disk),
        math.ceil(batches * shards * call / (node.cores * busy)),
        goal.replicas,
    )
    load = batches / readers * call
    queue = load / (2 * (1 - load)) * call
    joining = others + (batch - 1) * figures.merge_seconds
    parts = {
        "gathering": window,
        "network": node.trip,
        "asking the other shards": joining,
        "waiting for readers": queue * math.log(100),
        "the others of the batch": more,
        "the slowest shard": slowest_of(half, most, shards, 0.99),
    }
    usual = slowest_of(half, most, shards, 0.5) + window / 2 + node.trip + joining + queue + more
    return Plan(
        shards=shards,
        readers=readers,
        nodes=nodes,
        fronts=fronts,
        front_nodes=math.ceil(fronts / (node.cores * BUSY)),
        window=window,
        batch=batch,
        shard_codes=codes,
        node_memory=memory / nodes,
        node_disk=disk / nodes,
        busy=batches * shards * call / (nodes * node.cores),
        p50=usual,
        p99=sum(parts.values()),
        parts=parts,
    )


def _fronts(goal: Goal, figures: Figures, ask: float, window: float) -> int | None:
    """The fewest processes that ask shards and join answers, and keep up."""
    for fronts in (*range(1, 64), *range(64, 10_000, 32)):
        batch = max(1.0, goal.qps / fronts * window)
        if goal.qps / fronts / batch * (ask + batch * figures.merge_seconds) <= BUSY:
            return fronts
    return None


_UNITS = {
    "bytes": {
        "": 1.0, "B": 1.0,
        "KB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12, "PB": 1e15,
        "KIB": 2.0**10, "MIB": 2.0**20, "GIB": 2.0**30, "TIB": 2.0**40, "PIB": 2.0**50,
    },
    "seconds": {"S": 1.0, "MS": 1e-3, "US": 1e-6},
    "number": {"": 1.0, "K": 1e3, "M": 1e6, "G": 1e9, "B": 1e9, "T": 1e12},
}  # fmt: skip


def amount(text: str, kind: str) -> float:
    """Read an amount such as ``256GB``, ``50ms``, ``1e11`` or ``100 M``.

    Args:
        text: a number and its unit.
        kind: ``"bytes"``, ``"seconds"`` or ``"number"``.

    Raises:
        UsageError: it is none, or not above 0.

    Example:
        >>> amount("256GB", "bytes"), amount("50ms", "seconds"), amount("2 T", "number")
        (256000000000.0, 0.05, 2000000000000.0)
    """
    units = _UNITS[kind]
    plain = "".join(text.split()).replace(",", "").replace("_", "")
    number = plain.rstrip("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
    unit = plain[len(number) :].upper()
    try:
        value = float(number) * units[unit]
    except (ValueError, KeyError):
        value = math.nan
    if not (math.isfinite(value) and value > 0):
        names = ", ".join(name.replace("I", "i") or "none" for name in units)
        raise UsageError(f"Expected {kind} above 0 with a unit of {names}, got {text!r}.")
    return value
