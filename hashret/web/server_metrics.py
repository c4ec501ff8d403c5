"""Numbers for Prometheus."""

from __future__ import annotations

import os
import time

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
    multiprocess,
)
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_METHODS = frozenset({"GET", "HEAD", "POST", "DELETE", "PUT", "PATCH", "OPTIONS"})


class Metrics:
    """What is counted; one a process, summed over processes where there are several."""

    def __init__(self) -> None:
        """Count from zero."""
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "hashret_requests",
            "Requests answered.",
            ("method", "route", "status"),
            registry=self.registry,
        )
        self.seconds = Histogram(
            "hashret_request_seconds",
            "Time from the head of a request to the end of its answer.",
            ("route",),
            buckets=_BUCKETS,
            registry=self.registry,
        )
        self.in_flight = Gauge(
            "hashret_requests_in_flight",
            "Requests being answered.",
            registry=self.registry,
            multiprocess_mode="livesum",
        )
        self.search_seconds = Counter(
            "hashret_search_seconds",
            "Time spent searching, without reading the items.",
            ("index",),
            registry=self.registry,
        )
        self.queries = Counter(
            "hashret_queries", "Queries answered.", ("index",), registry=self.registry
        )

    def answered(self, index: str, *seconds: float) -> None:
        """Count queries of an index, by how long each was searched for."""
        self.queries.labels(index).inc(len(seconds))
        self.search_seconds.labels(index).inc(sum(seconds))

    def text(self) -> tuple[bytes, str]:
        """All numbers in Prometheus's format, and its content type."""
        registry = self.registry
        if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
            registry = CollectorRegistry()
            multiprocess.MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        return generate_latest(registry), CONTENT_TYPE_LATEST


class Measured:
    """Counts requests, by the route that answered them: never by what the address holds."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        """Count what ``app`` answers."""
        self._app = app
        self._metrics = metrics
        # Looking a label up takes longer than counting.
        self._known: dict[tuple[str, str, int], Counter] = {}
        self._timed: dict[str, Histogram] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer and count."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status = 500
        started = time.perf_counter()

        async def send_noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        self._metrics.in_flight.inc()
        try:
            await self._app(scope, receive, send_noted)
        finally:
            self._metrics.in_flight.dec()
            self._count(scope, status, time.perf_counter() - started)

    def _count(self, scope: Scope, status: int, seconds: float) -> None:
        route = getattr(scope.get("route"), "path_format", None) or "none"
        method = scope["method"] if scope["method"] in _METHODS else "other"
        label = (method, route, status)
        counter = self._known.get(label)
        if counter is None:
            counter = self._metrics.requests.labels(method, route, str(status))
            self._known[label] = counter
        counter.inc()
        timed = self._timed.get(route)
        if timed is None:
            timed = self._timed[route] = self._metrics.seconds.labels(route)
        timed.observe(seconds)
