"""What is asked of items by their codes, wherever they lie."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hashret.codes import Codes
from hashret.errors import UsageError
from hashret.index.ordering import (
    Refinement,
    check_no_rerank,
    check_order,
    check_order_without_logits,
    refined,
)
from hashret.index.result import Result
from hashret.index.trained_encoder import TrainedEncoder

DEFAULT_LIMIT = 10


class Queries(ABC):
    """The questions that an index and a cluster of indexes answer alike.

    Attributes:
        orders: of hits at one distance, that of a question that names none first.
        encoder: turns values into codes and codes into values.
    """

    orders: ClassVar[tuple[str, ...]]
    encoder: TrainedEncoder

    def query(
        self,
        value: Any,
        radius: int | None = None,
        limit: int | None = DEFAULT_LIMIT,
        where: str | None = None,
        *,
        order: str | None = None,
        rerank: bool = False,
        shortlist: int | None = None,
        partial: bool = False,
    ) -> Result:
        """The items nearest to a value.

        Args:
            value: a path to an image or ``.npy`` file (``file.npy#17`` is row 17 of it), an array,
                or a PIL image; of an index of texts, the words to look for, never a path.
            radius: how many bits a hit may differ in; None lets the rings grow until ``limit``
                hits are in.
            limit: the most hits; None for all within ``radius``.
            where: an SQL condition on ``key`` and the fields, such as ``label = 9``.
            order: of hits at one distance. ``"row"``, of an index unless another is named: as they
                were added. ``"key"``, of a cluster: by their keys, as texts by code points, which
                is the same however the items were added and spread over shards. ``"certainty"``:
                by the sum of ``|logit|`` over the bits in which they differ from the value, so
                that bits of which the encoder was less certain count less, then by row or key. A
                limit that cuts a ring takes a second search, for all of that ring, unless the
                order is by row.
            rerank: order the ``shortlist`` nearest by the exact Euclidean distance of the value's
                features to the kept vectors, and answer with the first ``limit`` of them.
            shortlist: None for 100, or 10 times the limit if that is more; without a limit, all
                within ``radius``. Of a cluster: of all shards together.
            partial: of a cluster: answer without the shards that cannot be reached, and name them
                in ``missing_shards``. An index is there as a whole.

        Returns:
            Hits by ascending distance, then in the ``order`` asked for; exact. Re-ranked, by
            ascending ``vector_distance``; exact within the shortlist.

        Raises:
            InputError: the value cannot be read or has another shape than the index.
            UsageError: neither radius nor limit, or an impossible one; a condition that is
                not valid; ``rerank`` where the index keeps no vectors.
            ShardUnavailableError: a shard cannot be reached, and ``partial`` is False.
        """
        return self.query_many(
            [value], radius, limit, where,
            order=order, rerank=rerank, shortlist=shortlist, partial=partial,
        )[0]  # fmt: skip

    def query_key(
        self,
        key: str,
        radius: int | None = None,
        limit: int | None = DEFAULT_LIMIT,
        where: str | None = None,
        *,
        order: str | None = None,
        rerank: bool = False,
        shortlist: int | None = None,
        partial: bool = False,
    ) -> Result:
        """The items nearest to the item with this key, itself among them; see :meth:`query`.

        Raises:
            KeyNotFoundError: no item has the key.
            UsageError: ``order="certainty"``: only a value has logits, a stored code has none.
            ShardUnavailableError: the shard of the key cannot be reached.
        """
        order = self._checked(order)
        check_order_without_logits(order, "a key")

        def refine(vectors: NDArray[np.float32] | None) -> Refinement:
            return refined(None, vectors, limit, shortlist, by_key=self._by_key(order))

        return self._search_item(
            key, radius, limit, where, refine, with_vector=rerank, partial=partial
        )

    def query_code(
        self,
        code: ArrayLike | str,
        radius: int | None = None,
        limit: int | None = DEFAULT_LIMIT,
        where: str | None = None,
        *,
        order: str | None = None,
        rerank: bool = False,
        shortlist: int | None = None,
        partial: bool = False,
    ) -> Result:
        """The items nearest to a code; see :meth:`query`.

        Args:
            code: ``uint8``, shape ``(n_bits / 8,)``, or hexadecimal text, which may name the
                encoder that made it: ``fingerprint:code``.
            radius: as in :meth:`query`.
            limit: as in :meth:`query`.
            where: as in :meth:`query`.
            order: ``"row"`` or ``"key"``; a code has no logits to order by.
            rerank: False; a code has no features to compare.
            shortlist: None, for the same reason.
            partial: as in :meth:`query`.

        Raises:
            EncoderMismatchError: the code has another length, or names another encoder.
            UsageError: another ``order``, or ``rerank``.
        """
        order = self._checked(order)
        check_order_without_logits(order, "a code")
        check_no_rerank(rerank, shortlist)
        own = self.encoder.own_code(code)
        refinement = Refinement(by_key=self._by_key(order))
        return self._search(own, radius, limit, where, refinement, partial=partial)[0]

    def query_many(
        self,
        values: Iterable[Any],
        radius: int | None = None,
        limit: int | None = DEFAULT_LIMIT,
        where: str | None = None,
        *,
        order: str | None = None,
        rerank: bool = False,
        shortlist: int | None = None,
        partial: bool = False,
    ) -> list[Result]:
        """One result for each value, encoded and searched together; see :meth:`query`.

        Of a cluster, all are asked of its shards together.
        """
        if isinstance(values, str) or not isinstance(values, Iterable):
            raise UsageError(f"query_many takes several values, got {values!r}.")
        order = self._checked(order)
        encoder = self.encoder.runtime  # first: that it is another one's says more than its files
        rows = self.encoder.rows(list(values))
        refinement = refined(
            encoder.logits(rows) if order == "certainty" else None,
            rows if rerank else None,
            limit,
            shortlist,
            by_key=self._by_key(order),
        )
        codes = encoder.encode(rows)
        return self._search(codes, radius, limit, where, refinement, partial=partial)

    def encode(self, values: Iterable[Any]) -> Codes:
        """Codes of values, ``uint8``, shape ``(n, n_bits / 8)``; nothing is stored."""
        return self.encoder.encode(list(values))

    def reconstruct(self, codes: ArrayLike) -> NDArray[np.float32]:
        """What the decoder makes of codes: see :meth:`TrainedEncoder.reconstruct`."""
        return self.encoder.reconstruct(codes)

    @abstractmethod
    def _search(
        self,
        codes: Codes,
        radius: int | None,
        limit: int | None,
        where: str | None,
        refinement: Refinement,
        *,
        partial: bool,
    ) -> list[Result]:
        """One result for each code."""

    @abstractmethod
    def _search_item(
        self,
        key: str,
        radius: int | None,
        limit: int | None,
        where: str | None,
        refine: Callable[[NDArray[np.float32] | None], Refinement],
        *,
        with_vector: bool,
        partial: bool,
    ) -> Result:
        """The result for the code of an item; ``refine`` takes its kept vector, ``(1, d)``."""

    def _checked(self, order: str | None) -> str:
        """The order that is asked for."""
        if order is None:
            return self.orders[0]
        check_order(order)
        return order

    def _by_key(self, order: str) -> bool:
        """Whether hits that nothing else orders come by key, not by row."""
        return "key" in (order, self.orders[0])
