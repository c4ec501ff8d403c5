"""What a search costs with given codes, beside what it costs with codes that spread evenly."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hashret.codes import Codes
from hashret.search import CodeIndex, Found, search_many

MAX_ITEMS = 1_000_000
MAX_QUERIES = 200
WARM_UP = 20
RADIUS = 2
NEAREST = 10


@dataclass(frozen=True)
class SearchCost:
    """One kind of search, one query at a time.

    Attributes:
        codes: ``"index"`` for the codes that are scored, ``"random"`` for as many of the same
            length that are drawn evenly: the least a hash table can be asked to do.
        search: ``"radius 2"`` or ``"10 nearest"``.
        items: how many codes were searched.
        probes: buckets of hash tables that were looked up, mean over the queries.
        candidates: codes whose distance was computed, mean over the queries.
        hits: codes that were found, mean over the queries.
        microseconds: wall-clock time of a query, the median.
    """

    codes: str
    search: str
    items: int
    probes: float
    candidates: float
    hits: float
    microseconds: float


def search_costs(codes: Codes, queries: Codes, seed: int = 0) -> list[SearchCost]:
    """Measure searches within radius 2 and for the 10 nearest, on codes and on random ones.

    Args:
        codes: ``uint8``, shape ``(n, n_bits / 8)``; of more than 1,000,000, so many are drawn.
        queries: ``uint8``, shape ``(n_queries, n_bits / 8)``; of more than 200, so many are drawn.
        seed: of what is drawn.

    Returns:
        Four: each search on the codes, then each on random ones.
    """
    rng = np.random.default_rng(seed)
    codes, queries = _drawn(codes, MAX_ITEMS, rng), _drawn(queries, MAX_QUERIES, rng)
    costs = []
    for name in ("index", "random"):
        if name == "random":
            codes, queries = (
                rng.integers(0, 256, part.shape, dtype=np.uint8) for part in (codes, queries)
            )
        index = CodeIndex.build(codes)
        costs.append(_cost(name, f"radius {RADIUS}", index, queries, radius=RADIUS, limit=None))
        costs.append(_cost(name, f"{NEAREST} nearest", index, queries, radius=None, limit=NEAREST))
    return costs


def _drawn(codes: Codes, most: int, rng: np.random.Generator) -> Codes:
    if len(codes) <= most:
        return codes
    return codes[np.sort(rng.choice(len(codes), most, replace=False))]


def _cost(
    name: str,
    search: str,
    index: CodeIndex,
    queries: Codes,
    *,
    radius: int | None,
    limit: int | None,
) -> SearchCost:
    def ask(query: Codes) -> Found:
        return search_many([index], query[None], radius, limit)[0]

    for query in queries[:WARM_UP]:
        ask(query)
    found = [ask(query) for query in queries]
    return SearchCost(
        codes=name,
        search=search,
        items=len(index),
        probes=float(np.mean([one.stats.probes for one in found])),
        candidates=float(np.mean([one.stats.candidates for one in found])),
        hits=float(np.mean([len(one) for one in found])),
        microseconds=float(np.median([one.stats.seconds for one in found])) * 1e6,
    )
