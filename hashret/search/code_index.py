"""Exact search over packed binary codes: the facade of this package."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hashret.codes import Codes, as_codes
from hashret.errors import InputError, UsageError
from hashret.search import engine, segment_files
from hashret.search.building import build_segment
from hashret.search.found import Found
from hashret.search.interpreted_plan import damaged
from hashret.search.searching import as_bitmap, checked_integer, search
from hashret.search.segment import Segment
from hashret.search.streaming import build_files

if TYPE_CHECKING:
    from hashret.search.self_join import Pairs

_ALL = as_bitmap(None)


class CodeIndex:
    """An immutable set of codes, each with a row number, that is searched exactly.

    Results are ordered by distance, then row; a radius is inclusive. Make one with :meth:`build`
    or :meth:`open`. Several threads may search it at once.

    Attributes:
        n_bits: the length of the codes.
        path: the folder its files are mapped from; None in memory.
        segment: the codes and their tables.

    Example:
        >>> from hashret.codes import pack
        >>> index = CodeIndex.build(pack([[0] * 8, [0] * 7 + [1], [1] * 8]))
        >>> distances, rows = index.nearest(pack([0] * 8), k=2)
        >>> rows.tolist(), distances.tolist()
        ([[0, 1]], [[0, 1]])
    """

    def __init__(self, segment: Segment, path: Path | None = None) -> None:
        """Search ``segment``; :meth:`build` and :meth:`open` make one."""
        self.segment = segment
        self._segments = (segment,)
        self.n_bits = segment.layout.n_bits
        self.path = path

    @classmethod
    def build(
        cls,
        codes: ArrayLike,
        path: str | Path | None = None,
        rows: ArrayLike | None = None,
        *,
        progress: Callable[[int, int], None] | None = None,
        resume: bool = False,
    ) -> CodeIndex:
        """Build an index of codes.

        Codes of less than 256 KiB are merely copied; more get tables, and those of 64 bits then
        take 20 to 24 bytes each. With a path, memory stays bounded however many codes there are:
        ``codes`` may be mapped from a file.

        Args:
            codes: ``uint8``, shape ``(n, n_bits / 8)``, n below 2**32 - 1; they are copied.
            path: a folder, not there yet, to publish the files into and to map them from; it
                appears whole or not at all. None keeps everything in memory.
            rows: the row number of each code, integers of shape ``(n,)``, ascending, unique, 0 to
                2**52 - 1; by default 0 to n - 1.
            progress: is told, with a path, how much of the work is done and how much there is, if
                it is so much that the files are streamed (more than 2 GiB of them).
            resume: then, keep the work of a build that is interrupted, and go on with it when the
                same codes are built into the same path again.

        Raises:
            InputError: codes or rows of another dtype, shape or order.
            IndexExistsError: something is at ``path`` already.
            HashretError: the files cannot be written.
        """
        codes = as_codes(codes)
        if path is None:
            return cls(build_segment(codes, rows))
        build_files(codes, rows, Path(path), progress=progress, resume=resume)
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
        return cls(segment_files.open_segment(path), path)

    def verify(self) -> list[str]:
        """Read every file and compare checksums.

        Returns:
            A sentence for each damaged or missing file, naming it; empty if all is well or if the
            index lives in memory.
        """
        return segment_files.problems(self.path) if self.path else []

    def __len__(self) -> int:
        """The number of codes."""
        return len(self.segment)

    def __repr__(self) -> str:
        """Size, code length and place."""
        return f"CodeIndex(n={len(self)}, n_bits={self.n_bits}, path={self.path})"

    @property
    def nbytes(self) -> int:
        """Bytes of the codes, rows and tables, in memory or mapped."""
        return self.segment.nbytes

    @cached_property
    def prepared(self) -> Any:
        """The segment as compiled kernels take it."""
        from hashret.search.prepared import prepare

        return prepare(self.segment)

    def rows_and_codes(self) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
        """Everything that is stored, by ascending row.

        Returns:
            ``int64`` rows ``(n,)`` and ``uint8`` codes ``(n, n_bits / 8)``, copied.
        """
        order = np.argsort(self.segment.rows)
        rows = self.segment.rows[order].astype(np.int64) + self.segment.row_base
        return rows, self.segment.layout.to_codes(self.segment.words[order])

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
        codes = self._as_queries(queries)
        if type(radius) is not int or radius < 0:
            radius = checked_integer(radius, "radius", 0)
        radius = min(radius, self.n_bits)
        kernels = None
        if len(self) and len(codes):
            kernels = engine.compiled("within", len(codes), self._segments)
        if kernels is not None:
            hits, lims, _ = kernels.within(self.prepared, codes, radius, _ALL)
            engine.answered("within", self._segments)
            return (lims, *kernels.unpack(hits))
        found = search([self], codes, radius, None, _ALL)
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
        codes = self._as_queries(queries)
        k = min(checked_integer(k, "k", 1), len(self))
        kernels = None
        if k and len(codes):
            kernels = engine.compiled("nearest", len(codes), self._segments)
        if kernels is not None:
            heaps = np.empty((len(codes), k), dtype=np.uint64)
            sizes = np.zeros(len(codes), dtype=np.int64)
            kernels.nearest(self.prepared, codes, self.n_bits, _ALL, heaps, sizes)
            engine.answered("nearest", self._segments)
            if sizes.min() < k:
                raise damaged("offsets.npy or positions.npy")
            heaps.sort(axis=1)
            rows, distances = kernels.unpack(heaps.reshape(-1))
            return distances.reshape(heaps.shape), rows.reshape(heaps.shape)
        found = search([self], codes, self.n_bits, k, _ALL) if k else []
        shape = (len(codes), k)
        distances, rows = np.empty(shape, dtype=np.int32), np.empty(shape, dtype=np.int64)
        for i, one in enumerate(found):
            if len(one) < k:
                raise damaged("offsets.npy or positions.npy")
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

    def pairs(self, radius: int, allowed: ArrayLike | None = None) -> Iterator[Pairs]:
        """Find all pairs of codes within a radius of each other, each pair once.

        Args:
            radius: in bits, inclusive; 0 finds the equal codes.
            allowed: as in :func:`search_segments`; both of a pair must be allowed.

        Yields:
            Blocks of pairs, as they are found; memory stays bounded however many there are.

        Raises:
            UsageError: a radius that is no integer or is negative.
        """
        radius = min(checked_integer(radius, "radius", 0), self.n_bits)
        from hashret.search.self_join import pairs_of

        return pairs_of([self.segment], radius, as_bitmap(allowed))

    def _as_queries(self, queries: ArrayLike) -> Codes:
        """Validated codes, C-contiguous and writable: kernels are compiled for such arrays."""
        if (
            type(queries) is np.ndarray
            and queries.dtype == np.uint8
            and queries.ndim == 2
            and queries.shape[1] * 8 == self.n_bits
            and queries.flags.carray
        ):
            return queries
        codes = as_codes(queries, self.n_bits)
        return codes if codes.flags.writeable else codes.copy()


def search_segments(
    segments: Sequence[CodeIndex],
    query: ArrayLike,
    radius: int | None = None,
    limit: int | None = None,
    allowed: ArrayLike | None = None,
) -> Found:
    """Find the neighbours of one code in several segments, as if they were one index.

    Args:
        segments: indexes with codes of one length and no row in common.
        query: ``uint8``, shape ``(n_bits / 8,)``.
        radius: in bits, inclusive; None lets rings grow until ``limit`` hits are in.
        limit: at most so many hits, the first by distance, then row; None takes all.
        allowed: ``bool``, one for each row number from 0. Rows that are False, or beyond its end,
            are not found and do not count towards ``limit``. An array of ``uint8`` is taken for
            ``numpy.packbits`` of such a mask: eight rows a byte.

    Raises:
        InputError: a query of another dtype or length, or several.
        UsageError: neither radius nor limit, or one that is no integer or too small; ``allowed``
            of another dtype or shape.
        DamagedIndexError: the files of a segment prove to be damaged.
    """
    code = as_codes(query)
    if len(code) != 1:
        raise InputError(f"Expected one code, got {len(code)}; search_many takes several.")
    return search_many(segments, code, radius, limit, allowed)[0]


def search_many(
    segments: Sequence[CodeIndex],
    queries: ArrayLike,
    radius: int | None = None,
    limit: int | None = None,
    allowed: ArrayLike | None = None,
) -> list[Found]:
    """Find the neighbours of several codes at once: :func:`search_segments` for each of them.

    Args:
        segments: indexes with codes of one length and no row in common.
        queries: ``uint8``, shape ``(nq, n_bits / 8)``.
        radius: as in :func:`search_segments`.
        limit: as in :func:`search_segments`.
        allowed: as in :func:`search_segments`.

    Raises:
        InputError: queries of another dtype or length.
        UsageError: neither radius nor limit, or one that is no integer or too small; ``allowed``
            of another dtype or shape.
        DamagedIndexError: the files of a segment prove to be damaged.
    """
    codes = as_codes(queries)
    if radius is None and limit is None:
        raise UsageError("A search needs a radius, a limit, or both.")
    n_bits = codes.shape[1] * 8
    bound = n_bits if radius is None else min(checked_integer(radius, "radius", 0), n_bits)
    limit = None if limit is None else checked_integer(limit, "limit", 1)
    for segment in segments:
        as_codes(codes, segment.n_bits)
    return search(segments, codes, bound, limit, as_bitmap(allowed))
