"""Reading an index for a caller that joins the answers of several: hits in columns, distances."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from hashret.codes import Codes
from hashret.index.hit_columns import Bounds, HitColumns, Nearest, read_columns, without_later_ties
from hashret.index.ordering import Refinement, beyond
from hashret.index.reader import Question, Reader
from hashret.search import CodeIndex, Found, search_many

SPARE_HITS = 16
"""Reading so many takes as long as to find out, in a shard, which of a ring come first by key."""

RANKED_HITS = 1024
"""So many of a ring are left for :func:`without_later_ties`, where ranks by key are known."""


class ColumnReader(Reader):
    """A reader that also answers in columns."""

    def search_columns(
        self,
        codes: Codes,
        radius: int | None,
        limit: int | None,
        where: str | None,
        refinement: Refinement,
        bounds: Bounds | None = None,
        known: Nearest | None = None,
    ) -> HitColumns:
        """The hits of each code in columns, those of one distance in any order.

        Where they are few more than the limit, all of them: who joins answers cuts them anyway.

        Args:
            codes: ``uint8``, ``(n, n_bits / 8)``.
            radius: as of an index.
            limit: at most so many of each, or the shortlist: the first by distance, cost and key.
            where: as of an index.
            refinement: how hits are ordered, of which here follows only who is among them.
            bounds: of each code, in the place of a radius; the hits are within them.
            known: what :meth:`nearest` found for the same codes, limit and condition.
        """
        if refinement.vectors is not None:
            self.check_keeps_vectors()
            limit = refinement.shortlist

        def read(
            held: dict[int, Found], parts: list[CodeIndex], allowed: NDArray[np.uint8] | None
        ) -> HitColumns:
            left = np.setdiff1d(np.arange(len(codes)), list(held))
            founds = dict(held)
            held.clear()  # what is wrong with it is not to be met again
            ranked = bounds is not None and refinement.logits is None and self.key_order.is_listed
            spare = RANKED_HITS if ranked else SPARE_HITS
            radii = None if bounds is None else bounds.distances[left]
            for bound in [radius] if radii is None else np.unique(radii).tolist():
                own = left if radii is None else left[radii == bound]
                logits = None if refinement.logits is None else refinement.logits[own]
                question = Question(codes[own], bound, limit, logits, by_key=True)
                cuts = (cut for cut, _ in self.cut(question, parts, allowed, spare))
                founds |= zip(own.tolist(), cuts, strict=True)
            in_order = [founds[q] for q in range(len(codes))]
            if bounds is not None and refinement.logits is None:
                rank = partial(self.key_order.ranks, self.store)
                in_order = without_later_ties(in_order, bounds, rank)
            columns = read_columns(self.store, codes, in_order)
            if refinement.vectors is None:
                return columns
            pairs = zip(in_order, refinement.vectors, strict=True)
            far = [self.vector_distances_of(one.rows, vector) for one, vector in pairs]
            return replace(columns, vector_distances=np.concatenate(far))

        with self.snapshot() as snapshot:
            held: dict[int, Found] = {}
            if bounds is not None and known is not None and known.commit == snapshot.commit:
                held = known.within(bounds.distances)
            return self.answers(snapshot, where, codes, partial(read, held))

    def nearest(self, codes: Codes, radius: int | None, limit: int, where: str | None) -> Nearest:
        """The nearest items of each code by distance and row, of which none is read.

        Some more than ``limit``, for the others of the last ring may be asked for next.
        """
        most = beyond(limit)

        def find(parts: list[CodeIndex], allowed: NDArray[np.uint8] | None) -> list[Found]:
            return search_many(parts, codes, radius, most, allowed)

        with self.snapshot() as snapshot:
            return Nearest(snapshot.commit, most, self.answers(snapshot, where, codes, find))
