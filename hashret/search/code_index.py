"""Exact search over packed binary codes: the facade of this package."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hashret.codes import as_codes
from hashret.errors import DamagedIndexError, InputError
from hashret.search import planner, rings, segment_files
from hashret.search.found import ROW_BITS, Found, Hits, Ranking, pack_hits
from hashret.search.hash_table import HashTable
from hashret.search.scan import Words, as_words
from hashret.search.segments import checked_integer, search_many, search_segments

SELECTIVE = 16
"""A filter that allows less than one code in so many is applied before a scan, else after."""


class CodeIndex:
    """An immutable set of codes, each with a row number, that is searched exactly.

    Results are ordered by distance, then row; a radius is inclusive. Make one with :meth:`build`
    or :meth:`open`. Several threads may search it at once.

    Attributes:
        n_bits: the length of the codes.
        path: the folder its files are mapped from; None in memory.

    Example:
        >>> from hashret.codes import pack
        >>> index = CodeIndex.build(pack([[0] * 8, [0] * 7 + [1], [1] * 8]))
        >>> distances, rows = index.nearest(pack([0] * 8), k=2)
        >>> rows.tolist(), distances.tolist()
        ([[0, 1]], [[0, 1]])
    """

    def __init__(
        self,
        words: Words,
        rows: NDArray[np.int64],
        row_end: int,
        table: HashTable | None,
        n_bits: int,
        path: Path | None = None,
    ) -> None:
        """Wrap parts that belong together; :meth:`build` and :meth:`open` make them."""
        self.n_bits = n_bits
        self.path = path
        self._words = words
        self._rows = rows
        self._row_end = row_end
        self._table = table

    @classmethod
    def build(
        cls, codes: ArrayLike, path: str | Path | None = None, rows: ArrayLike | None = None
    ) -> CodeIndex:
        """Build an index of codes.

        A few thousand codes are merely copied, in microseconds; more get a hash table, in about
        0.1 seconds a million. Codes of 64 bits take about 24 bytes each.

        Args:
            codes: ``uint8``, shape ``(n, n_bits / 8)``, n below 2**32; they are copied.
            path: a folder, not there yet, to publish the files into and to map them from; it
                appears whole or not at all. None keeps everything in memory.
            rows: the row number of each code, integers of shape ``(n,)``, ascending, unique, 0 to
                2**52 - 1; by default 0 to n - 1.

        Raises:
            InputError: codes or rows of another dtype, shape or order.
            IndexExistsError: something is at ``path`` already.
            HashretError: the files cannot be written.
        """
        codes = as_codes(codes)
        numbers = _as_rows(rows, len(codes))
        row_end = int(numbers[-1]) + 1 if len(numbers) else 0
        words = as_words(codes)
        table = None
        if planner.worth_a_table(*words.shape):
            table, order = HashTable.build(codes)
            words, numbers = words.take(order, axis=0), numbers[order]
        else:
            words, numbers = words.copy(), numbers.copy()
        n_bits = codes.shape[1] * 8
        if path is None:
            return cls(words, numbers, row_end, table, n_bits)
        arrays: dict[str, NDArray[Any]] = {"codes": words, "rows": numbers}
        if table is not None:
            arrays["offsets"] = table.offsets
        facts = {"n": len(words), "n_bits": n_bits, "row_end": row_end}
        segment_files.publish(Path(path), arrays, facts)
        return cls.open(path)

    @classmethod
    def open(cls, path: str | Path) -> CodeIndex:
        """Map the files of a published index; no code is read until a search needs it.

        Raises:
            IndexNotFoundError: there is no such folder.
            DamagedIndexError: a file is missing, cut short or altered, as far as manifest, size
                and header show; :meth:`verify` checks every byte.
        """
        path = Path(path)
        arrays, facts = segment_files.open_mapped(path)
        table = HashTable(arrays["offsets"], facts["n_bits"]) if "offsets" in arrays else None
        return cls(arrays["codes"], arrays["rows"], facts["row_end"], table, facts["n_bits"], path)

    def verify(self) -> list[str]:
        """Read every file and compare checksums.

        Returns:
            A sentence for each damaged or missing file, naming it; empty if all is well or if the
            index lives in memory.
        """
        return segment_files.problems(self.path) if self.path else []

    def __len__(self) -> int:
        """The number of codes."""
        return len(self._words)

    def __repr__(self) -> str:
        """Size, code length and place."""
        return f"CodeIndex(n={len(self)}, n_bits={self.n_bits}, path={self.path})"

    def rows_and_codes(self) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
        """Everything that is stored, by ascending row.

        Returns:
            ``int64`` rows ``(n,)`` and ``uint8`` codes ``(n, n_bits / 8)``, copied.
        """
        order = np.argsort(self._rows)
        codes = np.ascontiguousarray(self._words[order]).view(np.uint8)
        return self._rows[order], codes.reshape(len(order), -1)[:, : self.n_bits // 8]

    def within(
        self, queries: ArrayLike, radius: int
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int32]]:
        """Find all codes within a radius of each query.

        Args:
            queries: ``uint8``, shape ``(nq, n_bits / 8)`` or one code.
            radius: in bits, inclusive; 0 finds the exact matches.

        Returns:
            ``lims`` (``int64``, ``(nq + 1,)``), ``rows`` (``int64``) and ``distances``
            (``int32``): query i owns ``lims[i]:lims[i + 1]`` of the latter two.

        Raises:
            InputError: queries of another dtype or length.
            UsageError: a radius that is no integer or is negative.
            DamagedIndexError: the files prove to be damaged.
        """
        found = search_many([self], queries, radius=checked_integer(radius, "radius", 0))
        lims = np.zeros(len(found) + 1, dtype=np.int64)
        np.cumsum([len(one) for one in found], out=lims[1:])
        rows = np.concatenate([one.rows for one in found] or [np.empty(0, np.int64)])
        distances = np.concatenate([one.distances for one in found] or [np.empty(0, np.int32)])
        return lims, rows, distances

    def nearest(self, queries: ArrayLike, k: int) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """Find the ``k`` nearest codes of each query, exactly.

        Args:
            queries: ``uint8``, shape ``(nq, n_bits / 8)`` or one code.
            k: at least 1; more than there are codes is fine.

        Returns:
            ``distances`` (``int32``, in bits) and ``rows`` (``int64``), shape ``(nq, min(k, n))``.

        Raises:
            InputError: queries of another dtype or length.
            UsageError: ``k`` is no integer or below 1.
            DamagedIndexError: the files prove to be damaged.
        """
        found = search_many([self], queries, limit=checked_integer(k, "k", 1))
        shape = (len(found), min(k, len(self)))
        distances, rows = np.empty(shape, dtype=np.int32), np.empty(shape, dtype=np.int64)
        for i, one in enumerate(found):
            distances[i], rows[i] = one.distances, one.rows
        return distances, rows

    def search(
        self,
        query: ArrayLike,
        radius: int | None = None,
        limit: int | None = None,
        allowed: ArrayLike | None = None,
    ) -> Found:
        """Find the neighbours of one code; see :func:`search_segments` for the arguments."""
        return search_segments([self], query, radius, limit, allowed)

    def rank(
        self, queries: Words, rankings: Sequence[Ranking], allowed: NDArray[np.bool_] | None
    ) -> list[rings.Trace]:
        """Bring what queries, given as words, find here into their rankings.

        This is how :func:`~hashret.search.segments.search_many` searches each of its segments.
        """

        def collect(positions: NDArray[np.intp], distances: NDArray[Any]) -> Hits:
            rows = self._rows[positions]
            # As unsigned numbers, negative rows are too large as well.
            if rows.size and int(rows.view(np.uint64).max()) >= self._row_end:
                raise DamagedIndexError(
                    f"The row numbers in {self.path} make no sense: the file was altered. "
                    f"{segment_files.REMEDY}"
                )
            if allowed is None:
                return pack_hits(distances, rows)
            keep = _is_allowed(allowed, rows)
            return pack_hits(distances[keep], rows[keep])

        def narrow() -> NDArray[np.intp] | None:
            if allowed is None or np.count_nonzero(allowed) * SELECTIVE > len(self):
                return None
            return np.flatnonzero(_is_allowed(allowed, self._rows))

        return rings.search(self._words, self._table, queries, rankings, collect, narrow)


def _is_allowed(allowed: NDArray[np.bool_], rows: NDArray[np.int64]) -> NDArray[np.bool_]:
    # Altered rows may be negative; they must neither wrap around nor escape the check of rows.
    known = (rows >= 0) & (rows < len(allowed))
    known[known] = allowed[rows[known]]
    return known


def _as_rows(rows: ArrayLike | None, n: int) -> NDArray[np.int64]:
    if rows is None:
        return np.arange(n, dtype=np.int64)
    given = np.asarray(rows)
    if given.shape != (n,) or (n and given.dtype.kind not in "iu"):
        raise InputError(
            f"rows must be {n} integers, one for each code, got {given.dtype} of shape "
            f"{given.shape}."
        )
    numbers = given.astype(np.int64)
    if n and (numbers[0] < 0 or numbers[-1] >> ROW_BITS or bool(np.any(np.diff(numbers) <= 0))):
        raise InputError(f"rows must ascend, without repeats, within 0 to 2**{ROW_BITS} - 1.")
    return numbers
