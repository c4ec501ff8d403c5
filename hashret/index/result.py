"""Answers: hits in rings of equal Hamming distance."""

from __future__ import annotations

import html
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, overload

from hashret.codes import Codes, differing_bits, to_hex
from hashret.errors import UsageError
from hashret.search import SearchStats


@dataclass(frozen=True, slots=True)
class Hit:
    """An item that was found.

    Attributes:
        rank: 1 for the first hit.
        key: the item's unique name.
        distance: Hamming distance to the query, in bits.
        similarity: the share of bits that agree, 0 to 1.
        code: the item's code, ``uint8``, shape ``(n_bits / 8,)``.
        fields: what is known about the item, JSON values by name.
        location: where its value can be read again (a path, or a path, ``#`` and a row number);
            None when it came from Python.
        vector_distance: Euclidean distance of the features to the query's, in their own units,
            where the answer was re-ranked by them; else None.
    """

    rank: int
    key: str
    distance: int
    similarity: float
    code: Codes = field(repr=False, compare=False)
    fields: dict[str, Any] = field(hash=False)
    location: str | None = None
    vector_distance: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """JSON values: rank, key, distance, similarity, code (hexadecimal), location, fields.

        Where there is a vector_distance, it follows the distance.
        """
        exact = self.vector_distance
        more = {} if exact is None else {"vector_distance": float(f"{exact:.6g}")}
        return {
            "rank": self.rank,
            "key": self.key,
            "distance": self.distance,
            **more,
            "similarity": round(self.similarity, 6),
            "code": to_hex(self.code),
            "location": self.location,
            "fields": self.fields,
        }


class Result(Sequence[Hit]):
    """The hits of one query, by ascending distance, then by row (the order of being added).

    Asked for ``order="certainty"``, hits at one distance come by how certain the query's bits are
    in which they differ, the least certain first, then by row. Asked to re-rank, hits come by
    ``vector_distance`` instead, their Hamming distances in no order; ``rings`` still groups by the
    Hamming distance.

    Attributes:
        code: the query's code, ``uint8``, shape ``(n_bits / 8,)``.
        radius: the radius that was asked for, in bits, or None.
        limit: the most hits that were asked for, or None.
        stats: how the answer was found: plan, probes, candidates, seconds.
        reranked: the hits are in the order of their ``vector_distance``.
        missing_shards: of a cluster that was asked for a partial answer, the names of the shards
            that did not answer; their items are not among the hits. Empty for a whole answer.
    """

    def __init__(
        self,
        code: Codes,
        hits: Sequence[Hit],
        stats: SearchStats,
        *,
        radius: int | None = None,
        limit: int | None = None,
        reranked: bool = False,
        missing_shards: tuple[str, ...] = (),
    ) -> None:
        """Hold hits that are already in order."""
        self.code = code
        self.radius = radius
        self.limit = limit
        self.stats = stats
        self.reranked = reranked
        self.missing_shards = missing_shards
        self._hits = tuple(hits)

    @property
    def n_bits(self) -> int:
        """Code length in bits."""
        return int(self.code.size) * 8

    @property
    def rings(self) -> dict[int, list[Hit]]:
        """Hits by distance, ascending; ring 0 holds the exact matches. Empty rings are absent."""
        rings: dict[int, list[Hit]] = {}
        for hit in sorted(self._hits, key=lambda hit: hit.distance):
            rings.setdefault(hit.distance, []).append(hit)
        return rings

    def within(self, radius: int) -> Result:
        """The answer to the same query at another radius (bits, inclusive), without a search.

        A limit stays in force: the result holds at most that many hits.

        Raises:
            UsageError: the answer does not reach that far, because its own radius was smaller; or
                it was re-ranked and cut by the limit, so that hits of the radius are not in it.
        """
        if isinstance(radius, bool) or not isinstance(radius, int) or radius < 0:
            raise UsageError(f"radius must be a whole number of at least 0, not {radius!r}.")
        cut_by_limit = self.limit is not None and len(self._hits) >= self.limit
        if self.radius is not None and radius > self.radius and not cut_by_limit:
            raise UsageError(
                f"This answer reaches to radius {self.radius}, not {radius}; query again with "
                f"radius={radius}."
            )
        if self.reranked and cut_by_limit:
            raise UsageError(
                "This answer was re-ranked by vectors and cut to its limit, so it does not hold "
                f"every hit within radius {radius}; query again with radius={radius}."
            )
        hits = [hit for hit in self._hits if hit.distance <= radius]
        return Result(
            self.code,
            hits,
            self.stats,
            radius=radius,
            limit=self.limit,
            reranked=self.reranked,
            missing_shards=self.missing_shards,
        )

    def explain(self, hit: Hit) -> list[int]:
        """Positions, ascending, of the bits to flip to get from the query's code to the hit's."""
        return differing_bits(self.code, hit.code)

    def to_dicts(self) -> list[dict[str, Any]]:
        """One dictionary of JSON values a hit; see :meth:`Hit.to_dict`."""
        return [hit.to_dict() for hit in self._hits]

    def __len__(self) -> int:
        """How many hits there are."""
        return len(self._hits)

    def __iter__(self) -> Iterator[Hit]:
        """Hits in order."""
        return iter(self._hits)

    @overload
    def __getitem__(self, index: int) -> Hit: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Hit]: ...
    def __getitem__(self, index: int | slice) -> Hit | Sequence[Hit]:
        """The hit at a position, counted from 0."""
        return self._hits[index]

    def __repr__(self) -> str:
        """One line: how many hits in which rings."""
        rings = ", ".join(f"{distance}: {len(hits)}" for distance, hits in self.rings.items())
        return f"<Result {len(self)} hits, rings {{{rings}}}, {self.stats.plan}>"

    def _repr_html_(self) -> str:
        """A table for notebooks."""
        names = sorted({name for hit in self._hits for name in hit.fields})
        head = "".join(f"<th>{html.escape(name)}</th>" for name in ("#", "distance", "key", *names))
        rows = []
        for hit in self._hits:
            values = (hit.rank, hit.distance, hit.key, *(hit.fields.get(name) for name in names))
            cells = "".join(
                f"<td>{'' if value is None else html.escape(str(value))}</td>" for value in values
            )
            rows.append(f"<tr>{cells}</tr>")
        return (
            f"<table><caption>{len(self)} hits for code {to_hex(self.code)}</caption>"
            f"<thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"
        )
