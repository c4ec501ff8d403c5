"""An index: learn codes from a dataset, store its items, answer queries exactly."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from hashret.errors import UsageError
from hashret.index.adding import BATCH_ITEMS
from hashret.index.adding_codes import create_from_codes
from hashret.index.changeable import ChangeableIndex, opened_source, tables_progress
from hashret.index.creating import learn_index
from hashret.index.duplicates import (
    DuplicateGroup,
    DuplicatePair,
    duplicate_groups,
    duplicate_pairs,
)
from hashret.index.export import export_items
from hashret.index.folder import check_is_index, index_folder
from hashret.index.outliers import Outliers, outliers_in_index, outliers_in_source
from hashret.index.verification import RepairReport, VerifyReport, repair, verify
from hashret.progress import ProgressCallback, no_progress
from hashret.sources.ready_codes import FieldSets, ReadyCodes, Texts

if TYPE_CHECKING:
    from hashret.encoder import CodeEstimator

DEFAULT_BITS = 64

_log = logging.getLogger("hashret")


class Index(ChangeableIndex):
    """Items in a folder, found by their binary codes.

    Make one with :meth:`create`, open one with :meth:`open`. Many processes may read an index
    while one writes to it: every query answers from the newest committed state.

    Attributes:
        path: the folder, absolute.
        n_bits: code length in bits.
        encoder: turns values into codes and codes into values.
        kind: what its values are, ``"images"``, ``"text"`` or ``"vectors"``; ``"codes"`` where it
            was made of ready codes.

    Example:
        >>> import hashret, numpy as np
        >>> vectors = np.random.default_rng(0).normal(size=(500, 16))
        >>> index = hashret.create("indexes/doctest", vectors, n_bits=32, random_state=0)
        >>> index.query(vectors[7], limit=1)[0].distance
        0
    """

    @classmethod
    def create(
        cls,
        path: str | Path,
        source: Any,
        n_bits: int = DEFAULT_BITS,
        *,
        hasher: CodeEstimator | None = None,
        kind: str = "auto",
        epochs: int | None = None,
        random_state: int | None = None,
        key_prefix: str = "",
        column: str | None = None,
        id_column: str | None = None,
        sql: str | None = None,
        encoding: str | None = None,
        format: str | None = None,  # noqa: A002, as for open_source
        keep_vectors: bool = False,
        metric: str = "l2",
        features: str = "auto",
        progress: ProgressCallback = no_progress,
    ) -> Self:
        """Learn codes from a source, and store its items.

        Inputs that cannot be used are skipped and named in a warning of the logger ``hashret``.
        Interrupted while learning, this leaves nothing; interrupted while storing, an index with
        each whole million of items so far, to which the same source can be added again.

        Args:
            path: the folder to make.
            source: a path (a folder of images or texts, an archive of images, an
                IDX, ``.npy``, ``.npz``, HDF5 or ``.fvecs`` file, a table
                such as ``.csv``, ``.jsonl``, ``.parquet`` or an SQLite file) or several; an
                array, ``(n, d)`` vectors or ``(n, height, width[, channels])`` images, whose keys
                are the row numbers as strings; with ``kind="text"`` a list of texts, likewise; an
                iterable of ``(key, value)`` or ``(key, value, fields)``; or what
                :func:`hashret.sources.open_source` returns.
            n_bits: code length in bits, a multiple of 8 from 8 to 1024.
            hasher: what learns the codes, such as ``hashret.SemanticHasher(32, effort="high")`` or
                one of ``hashret.encoder.baselines``; a copy of it is fitted. It has a code length,
                passes and a seed of its own: ``n_bits``, ``epochs`` and ``random_state`` are
                then left alone.
            kind: ``"images"``, ``"text"`` or ``"vectors"``; ``"auto"`` guesses from the source. A
                list of texts is one of paths without ``kind="text"``.
            epochs: passes over the training data; None for the default.
            random_state: a seed; the same seed gives the same codes on the same machine.
            key_prefix: put before the keys of array files and tables; ``{stem}`` in it stands for
                the file's name without its suffixes.
            column: of a table, the column that holds the values; of an HDF5 or .npz file, the data
                set; None guesses by names.
            id_column: of a table, the column that holds the keys; ``""`` takes the numbers of the
                rows; None guesses by names, and takes these numbers where none looks like it. A
                table that is given again has the same columns taken, if none is named.
            sql: of an SQLite file, the query whose rows are the table.
            encoding: of text files, such as ``"latin-1"``; None for UTF-8.
            format: what a table is, whatever its name: ``"csv"``, ``"jsonl"``, ...; see
                :func:`hashret.sources.open_source`.
            keep_vectors: also keep the features of every item that is ever added, as float16 (two
                bytes a value), so that queries can be re-ranked by them.
            metric: what near means for vectors: ``"l2"``, their distance, or ``"cosine"``, their
                angle; then they are scaled to length one before learning and encoding, and so
                are queries.
            features: how texts become numbers: ``"wordllama"``, embeddings of English words (needs
                the extra ``text``); ``"tfidf"``, learned from the texts, in any language;
                ``"counts"`` of words; ``"auto"`` is the first where it is installed and the texts
                are in Latin letters, else the second.
            progress: called often with a :class:`~hashret.progress.Progress`.

        Raises:
            IndexExistsError: ``path`` holds an index already, or other files.
            InputError: the source cannot be read or learned from.
            UsageError: a parameter is out of its range.
        """
        hasher = chosen_hasher(hasher, n_bits, epochs, random_state)
        opened = opened_source(
            source,
            kind,
            key_prefix,
            column=column,
            id_column=id_column,
            sql=sql,
            encoding=encoding,
            format=format,
        )
        learn_index(
            index_folder(path),
            opened,
            hasher=hasher,
            progress=progress,
            keep_vectors=keep_vectors,
            metric=metric,
            features=features,
        )
        index = cls.open(path)
        skipped = index.add(opened, batch_items=BATCH_ITEMS, progress=progress).skipped
        if skipped:
            names = ", ".join(f"{one.name} ({one.reason})" for one in skipped[:3])
            _log.warning(
                "%d of the inputs skipped: %s%s", skipped.total, names, ", ..." * (len(skipped) > 3)
            )
        return index

    @classmethod
    def create_from_codes(
        cls,
        path: str | Path,
        codes: Any,
        keys: Texts | None = None,
        fields: FieldSets | None = None,
        *,
        fingerprint: str | None = None,
        progress: ProgressCallback = no_progress,
    ) -> Self:
        """Make an index of codes that were made elsewhere; it has no encoder, and kind ``"codes"``.

        It is queried by key and by code; what needs an encoder raises ``UsageError``. Interrupted,
        this leaves nothing.

        Args:
            path: the folder to make.
            codes: ``uint8``, shape ``(n, n_bits / 8)``; a ``.npy`` file of such; or the JSON lines
                of :meth:`export`, which have keys and fields of their own.
            keys: one text an item, or a text file of one a line; None for the numbers of the rows.
            fields: one mapping an item, or a file of one JSON object a line (``.gz`` too).
            fingerprint: names the encoder that made the codes, if that is known.
            progress: called often with a :class:`~hashret.progress.Progress`.

        Raises:
            IndexExistsError: ``path`` holds an index already, or other files.
            InputError: something cannot be read, lengths differ, or a key comes twice.

        Example:
            >>> import numpy as np
            >>> codes = np.random.default_rng(0).integers(256, size=(9, 8), dtype=np.uint8)
            >>> index = hashret.create_from_codes("i", codes)  # doctest: +SKIP
        """
        ready = ReadyCodes(codes, keys, fields)
        create_from_codes(
            index_folder(path), ready, fingerprint, progress, tables_progress(progress)
        )
        return cls.open(path)

    # All of it

    def outliers(
        self,
        source: Any = None,
        limit: int | None = 20,
        *,
        key_prefix: str = "",
        progress: ProgressCallback = no_progress,
    ) -> Outliers:
        """The items that their bits reconstruct worst: unlike those the index was learned from.

        Args:
            source: new items, as for :meth:`create`, which are not stored; None for the items of
                the index, whose features are kept vectors or are read again from their sources.
            limit: how many; None for all.
            key_prefix: as for :meth:`create`.
            progress: called often with a :class:`~hashret.progress.Progress`.

        Returns:
            Outliers by descending error; ``skipped`` names what could not be read.

        Raises:
            InputError: the source cannot be read, or not one item of the index can be read again.
            UsageError: an impossible limit.

        Example:
            >>> for outlier in index.outliers("new/"):  # doctest: +SKIP
            ...     outlier.key, outlier.error
        """
        if source is None:
            return outliers_in_index(self._reader, self.encoder, limit, progress)
        opened = opened_source(source, self.kind, key_prefix)
        return outliers_in_source(self.encoder, opened, limit, progress)

    def duplicates(
        self, radius: int = 0, where: str | None = None, limit: int | None = None
    ) -> list[DuplicateGroup]:
        """Groups of items whose codes are near: see :mod:`hashret.index.duplicates`.

        Args:
            radius: the largest distance of a pair, in bits, inclusive; pairs that share an item
                hang together (single linkage), so a group may be wider than the radius.
            where: an SQL condition; only items that satisfy it are compared.
            limit: the most groups; None for all.

        Returns:
            The largest group first, then by their first item; exact, of one committed state.

        Raises:
            UsageError: an impossible radius or limit, or a condition that is not valid.
        """
        return duplicate_groups(self.path, radius, where, limit)

    def pairs(self, radius: int, where: str | None = None) -> Iterator[DuplicatePair]:
        """All pairs ``(key_a, key_b, distance)`` within a radius, each once.

        They are found while they are asked for, in one committed state: the index may be read and
        changed meanwhile. See :func:`hashret.index.duplicates.duplicate_pairs`.

        Example:
            >>> for pair in index.pairs(radius=2):  # doctest: +SKIP
            ...     pair.key_a, pair.key_b, pair.distance
        """
        return duplicate_pairs(self.path, radius, where)

    def export(
        self,
        path: str | Path,
        where: str | None = None,
        *,
        overwrite: bool = False,
        progress: ProgressCallback = no_progress,
    ) -> int:
        """Write the items and their codes into one file; returns how many items there were.

        Args:
            path: ends in ``.jsonl`` or ``.ndjson`` (and may add ``.gz``), ``.parquet`` or
                ``.faiss``; see :mod:`hashret.index.export`.
            where: an SQL condition; only items that satisfy it.
            overwrite: replace a file that is there.
            progress: called often with a :class:`~hashret.progress.Progress`.

        Raises:
            UsageError: another suffix, or a condition that is not valid.
            HashretError: the file is there already or cannot be written; nothing is left of it.
        """
        return export_items(self.path, Path(path), where, overwrite=overwrite, progress=progress)

    def verify(self) -> VerifyReport:
        """Check every item, segment and encoder file against its checksum.

        Nothing is changed, but that a missing or damaged seal is made anew if all items are whole.
        """
        return verify(self._reader, self.encoder, self.path)

    @staticmethod
    def repair(path: str | Path, progress: ProgressCallback = no_progress) -> RepairReport:
        """Rebuild what is derived, and keep of the items in ``path`` all that are whole.

        For an index that cannot be opened, or that :meth:`verify` finds damaged. A damaged database
        is kept, in a folder beside the new one.

        Raises:
            IndexNotFoundError: there is no index, nor anything left of one.
            DamagedIndexError: nothing of the database can be saved; nothing was changed.
            IndexLockedError: another process is writing.
        """
        folder = index_folder(path)
        check_is_index(folder)
        return repair(folder, tables_progress(progress))


def chosen_hasher(
    hasher: CodeEstimator | None, n_bits: int, epochs: int | None, random_state: int | None
) -> CodeEstimator:
    """The hasher that was given, or one of these parameters.

    Raises:
        UsageError: there is one, which has parameters of its own.
    """
    if hasher is None:
        from hashret.encoder import SemanticHasher

        return SemanticHasher(n_bits, epochs=epochs, random_state=random_state)
    own_bits = getattr(hasher, "n_bits", None)
    if n_bits not in (DEFAULT_BITS, own_bits) or epochs is not None or random_state is not None:
        raise UsageError(
            "A hasher has n_bits, epochs and random_state of its own: set them there, and leave "
            "those of create alone."
        )
    return hasher
