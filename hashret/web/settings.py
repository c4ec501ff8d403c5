"""What a server is told, and the limits it keeps."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Limits:
    """How much one request may ask for, and all of them together.

    Attributes:
        body_bytes: the longest body.
        batch: the most queries of one request, and the most items that it adds.
        hits: the most hits of one query.
        batch_hits: the most hits of all queries of one request.
        pixels: the most pixels of an image that is decoded.
        batch_pixels: the most pixels of all images of one request.
        text_characters: the longest text, and the longest condition.
        query_seconds: how long the conditions of one request may be evaluated.
        request_seconds: after so long a request is answered with an error.
        body_seconds: how long a body may take to arrive.
        header_seconds: how long the head of a request may take to arrive.
        header_bytes: the longest head of a request; its address may hold the longest key, of which
            a character takes up to twelve bytes there.
        threads: requests of one process that are worked on at the same time.
        waiting: requests of one process that wait for that; more are refused.
        connections: connections of one process; more than these close the longest idle one.
    """

    body_bytes: int = 16 << 20
    batch: int = 100
    hits: int = 1000
    batch_hits: int = 10_000
    pixels: int = 25_000_000
    batch_pixels: int = 50_000_000
    text_characters: int = 100_000
    query_seconds: float = 5.0
    request_seconds: float = 20.0
    body_seconds: float = 10.0
    header_seconds: float = 10.0
    header_bytes: int = 144 << 10
    threads: int = 4
    waiting: int = 256
    connections: int = 2048


@dataclass(frozen=True)
class Settings:
    """How indexes are served.

    Attributes:
        indexes: their folders, by the names that the addresses give them.
        clusters: where clusters lie, a path or a URL each, likewise.
        ray_address: of the Ray on which the readers of clusters run.
        replicas: how many readers each shard has.
        writable: whether items may be added and removed.
        token: what a request must show; None where none is asked for.
        guards_reads: whether reading takes the token too; changing always does.
        hosts: names for this machine that a request may use, beside addresses in numbers and
            ``localhost``.
        limits: see :class:`Limits`.
    """

    indexes: dict[str, Path]
    clusters: dict[str, str] = field(default_factory=dict)
    ray_address: str | None = None
    replicas: int = 1
    writable: bool = False
    token: str | None = field(default=None, repr=False)
    guards_reads: bool = False
    hosts: frozenset[str] = frozenset()
    limits: Limits = Limits()
