"""An index as it is changed: items added, updated and removed, its tables made anew."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace as replace_in
from pathlib import Path
from types import MappingProxyType
from typing import Any

from hashret.errors import UsageError
from hashret.index.adding import store_source
from hashret.index.adding_codes import check_codes, store_codes
from hashret.index.encoding import AddReport
from hashret.index.queryable import QueryableIndex
from hashret.index.reader import stored
from hashret.index.snapshot import TablesProgress, publish_all, publish_due
from hashret.progress import Progress, ProgressCallback, no_progress
from hashret.sources import Source, open_source
from hashret.sources.ready_codes import FieldSets, ReadyCodes, Texts
from hashret.store import ItemStore, WriterLock


class ChangeableIndex(QueryableIndex):
    """An index that takes items in and lets them go.

    :class:`hashret.Index` is made of it, and describes it.
    """

    def __init__(self, path: Path, store: ItemStore) -> None:
        """Wrap an open store; use :meth:`hashret.Index.create` or :meth:`open`."""
        super().__init__(path, store)
        self._changing = threading.RLock()

    def add(
        self,
        source: Any,
        *,
        key_prefix: str = "",
        column: str | None = None,
        id_column: str | None = None,
        sql: str | None = None,
        encoding: str | None = None,
        format: str | None = None,  # noqa: A002, as for open_source
        replace: bool = False,
        prune: bool = False,
        batch_items: int | None = None,
        progress: ProgressCallback = no_progress,
    ) -> AddReport:
        """Add or update items, by key and content, in one transaction.

        When the call returns, the items are on disk. When it raises, or its process dies before
        that, either all of them are or none. With ``batch_items``, that holds for each batch:
        those that were committed stay, and the same call again goes on where they end.

        Args:
            source: as for :meth:`hashret.Index.create`.
            key_prefix: as for :meth:`hashret.Index.create`.
            column: as for :meth:`hashret.Index.create`.
            id_column: as for :meth:`hashret.Index.create`.
            sql: as for :meth:`hashret.Index.create`.
            encoding: as for :meth:`hashret.Index.create`.
            format: as for :meth:`hashret.Index.create`.
            replace: let items take keys that belong to different items of another file.
            prune: then remove items that came from these folders and files before and are not in
                them any more; not those that merely cannot be read.
            batch_items: commit whenever so many items were added or changed, so that work that is
                stopped can go on; None commits all at the end.
            progress: called often with a :class:`~hashret.progress.Progress`.

        Raises:
            InputError: the source cannot be read, or its values have another shape.
            UsageError: ``prune`` with a source that is not on disk.
            IndexLockedError: another process is writing.
        """
        opened = opened_source(
            source,
            self.kind,
            key_prefix,
            self.columns_taken,
            column=column,
            id_column=id_column,
            sql=sql,
            encoding=encoding,
            format=format,
        )
        self.encoder.check_kind(opened)
        with self._changes() as store:
            report = store_source(
                store,
                opened,
                self.encoder.features,
                self.encoder.runtime,
                replace=replace,
                prune=prune,
                progress=progress,
                batch_items=batch_items,
            )
            started = time.perf_counter()
            publish_due(store, self.path, tables_progress(progress))
        return replace_in(
            report, seconds={**report.seconds, "tables": time.perf_counter() - started}
        )

    @property
    def columns_taken(self) -> dict[str, dict[str, str]]:
        """Which columns of tables are the values and the keys, by where the tables lie.

        They are taken again when such a table is given again: what they hold may look otherwise by
        then, and a guess fall on others.
        """
        with self._reader.state():
            return self._store.setting("columns_taken") or {}

    def add_codes(
        self,
        codes: Any,
        keys: Texts | None = None,
        fields: FieldSets | None = None,
        *,
        fingerprint: str | None = None,
        progress: ProgressCallback = no_progress,
    ) -> AddReport:
        """Add or update items by key and ready code, in one transaction.

        Args:
            codes: as for :meth:`hashret.Index.create_from_codes`.
            keys: as for :meth:`hashret.Index.create_from_codes`.
            fields: as for :meth:`hashret.Index.create_from_codes`.
            fingerprint: of the encoder that made the codes; it must be that of this index, and may
                be left out where the codes tell, or where this index does not know its own.
            progress: called often with a :class:`~hashret.progress.Progress`.

        Raises:
            EncoderMismatchError: codes of another encoder or length.
            InputError: as for :meth:`hashret.Index.create_from_codes`; nothing is added.
            UsageError: it keeps vectors, or nothing tells which encoder made the codes.
        """
        ready = ReadyCodes(codes, keys, fields)
        check_codes(ready, fingerprint, self.encoder)
        with self._changes() as store:
            with store.writing() as writer:
                report = store_codes(writer, ready, progress)
            publish_due(store, self.path, tables_progress(progress))
        return report

    def remove(self, keys: str | Iterable[str]) -> int:
        """Remove items, all or none; returns how many.

        Raises:
            KeyNotFoundError: a key does not exist; nothing is removed.
        """
        if not isinstance(keys, Iterable):
            raise UsageError(f"remove takes a key or several, got {keys!r}.")
        wanted = [keys] if isinstance(keys, str) else list(keys)
        with self._changes() as store, store.writing() as writer:
            as_path = self._reader.finds_paths
            rows = {stored(writer, key, as_path=as_path).row for key in wanted}
            writer.delete_rows(sorted(rows))
        return len(rows)

    def index_field(self, name: str) -> None:
        """Make ``where`` fast on a field, by an index on it that is kept up from now on.

        Answers stay the same, and adding items takes a little longer.

        Raises:
            UsageError: no item was ever given such a field.
        """
        with self._changes() as store, store.writing() as writer:
            writer.index_field(name)

    def compact(self, progress: ProgressCallback = no_progress) -> None:
        """Make one segment of all items, without what was removed; readers are undisturbed."""
        with self._changes() as store:
            publish_all(store, self.path, tables_progress(progress))

    @contextmanager
    def _changes(self) -> Iterator[ItemStore]:
        """Hold the writer's lock, and a store of its own: who reads this index need not wait."""
        with self._changing, WriterLock(self.path):
            with self._reader.state():
                pass  # raises where the index was closed, or is another one by now
            store = ItemStore.open(self.path / "items.db")
            try:
                yield store
            finally:
                store.close()


def tables_progress(progress: ProgressCallback) -> TablesProgress:
    """What tells of search tables being made, as of any other work."""
    return lambda done, total, note: progress(Progress("tables", done, total, note))


def opened_source(
    source: Any,
    kind: str,
    key_prefix: str,
    earlier: Mapping[str, Mapping[str, str]] = MappingProxyType({}),
    **table: str | None,
) -> Source:
    """A source, opened unless it is one already: see :func:`hashret.sources.open_source`.

    Raises:
        InputError: it cannot be read.
        UsageError: it is open, and more is said about it.
    """
    if not isinstance(source, Source):
        return open_source(source, kind=kind, key_prefix=key_prefix, earlier=earlier, **table)
    given = [name for name, value in table.items() if value is not None]
    if given:
        raise UsageError(
            f"{', '.join(given)}: this source is open already; say it to open_source instead."
        )
    return source
