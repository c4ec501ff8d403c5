"""An index of codes that were made elsewhere: made, and added to."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from hashlib import blake2b
from importlib.metadata import version
from pathlib import Path
from typing import Any

from hashret.codes import Codes
from hashret.errors import EncoderMismatchError, UsageError
from hashret.index.encoding import AddReport
from hashret.index.new_folder import new_folder
from hashret.index.snapshot import TablesProgress, publish_due
from hashret.index.trained_encoder import READY_CODES, TrainedEncoder
from hashret.progress import Progress, ProgressCallback
from hashret.sources.item import HASH_BYTES
from hashret.sources.ready_codes import ReadyCodes
from hashret.store import ItemStore, ItemWriter, NewItem
from hashret.store.items import encode_many

_HASH = blake2b(b"code\0", digest_size=HASH_BYTES)


def create_from_codes(
    folder: Path,
    ready: ReadyCodes,
    fingerprint: str | None,
    progress: ProgressCallback,
    tables: TablesProgress,
) -> AddReport:
    """Make an index without an encoder, whole or not at all.

    Raises:
        IndexExistsError: something is at ``folder`` already.
        InputError: fields cannot be stored.
        EncoderMismatchError: the codes are of another encoder than ``fingerprint``.
    """
    maker = _maker(ready, fingerprint)
    with new_folder(folder.absolute()) as unfinished:
        (unfinished / "segments").mkdir()
        store = ItemStore.create(
            unfinished / "items.db",
            {
                "n_bits": ready.n_bits,
                "kind": READY_CODES,
                "vector_length": None,
                "encoder": maker or "",
                "encoder_files": {},
                "hashret": version("hashret"),
                "created": datetime.now(UTC).isoformat(timespec="seconds"),
                "learned_from": None,
            },
        )
        try:
            with store.writing() as writer:
                report = store_codes(writer, ready, progress)
            publish_due(store, unfinished, tables)
        finally:
            store.close()
    return report


def check_codes(ready: ReadyCodes, fingerprint: str | None, encoder: TrainedEncoder) -> None:
    """Refuse codes that cannot be compared with those of an index.

    Raises:
        EncoderMismatchError: they are of another encoder, or have another length.
        UsageError: nothing tells which encoder made them, and the index has one.
    """
    maker = _maker(ready, fingerprint)
    if maker is None and encoder.fingerprint:
        raise UsageError(
            f"The codes of this index are of encoder {encoder.fingerprint}, and nothing tells that "
            f"those of {ready.description} are. If they are: --encoder {encoder.fingerprint} "
            "(fingerprint=)."
        )
    if maker is not None and maker != encoder.fingerprint:
        own = f"encoder {encoder.fingerprint}" if encoder.fingerprint else "an unknown encoder"
        raise EncoderMismatchError(
            f"The codes to add were made by encoder {maker}, those of this index by {own}; they "
            "cannot be compared."
        )
    if ready.n_bits != encoder.n_bits:
        raise EncoderMismatchError(
            f"The codes to add have {ready.n_bits} bits, those of this index {encoder.n_bits}."
        )


def _maker(ready: ReadyCodes, fingerprint: str | None) -> str | None:
    if fingerprint is None:
        return ready.fingerprint
    if not isinstance(fingerprint, str) or not fingerprint.strip():
        raise UsageError(f"fingerprint names an encoder, got {fingerprint!r}.")
    if ready.fingerprint not in (None, fingerprint):
        raise EncoderMismatchError(
            f"The codes say that encoder {ready.fingerprint} made them, not {fingerprint}."
        )
    return fingerprint


def store_codes(writer: ItemWriter, ready: ReadyCodes, progress: ProgressCallback) -> AddReport:
    """Add or update items by key and code, in a transaction.

    Raises:
        InputError: fields cannot be stored.
        UsageError: the index keeps vectors, which codes have not.
    """
    if writer.vector_length is not None:
        raise UsageError(
            "This index keeps the vector of every item, and ready codes have none; add them to an "
            "index without --keep-vectors."
        )
    was_empty = writer.count() == 0  # then no key can be known, for they come once each
    names: set[str] = set()
    reports = []
    done = 0
    for codes, keys, fields in ready.blocks():
        names.update(*fields)
        report = _Block(codes, keys, fields).store(writer, was_empty=was_empty)
        reports.append(report)
        done += len(keys)
        progress(Progress("storing", done, len(ready)))
    writer.note_fields(sorted(names))
    return AddReport.sum(reports)


class _Block:
    """Some items, each with its code."""

    def __init__(self, codes: Codes, keys: list[str], fields: list[Mapping[str, Any]]) -> None:
        width = codes.shape[1]
        joined = codes.tobytes()
        self._codes = [joined[start : start + width] for start in range(0, len(joined), width)]
        self._keys = keys
        self._fields = encode_many(fields)

    def store(self, writer: ItemWriter, *, was_empty: bool) -> AddReport:
        known = {} if was_empty else writer.by_keys(self._keys)
        if not known:
            rows = writer.insert(self._items(range(len(self._keys))), None)
            return AddReport(added=len(rows))
        stored = writer.codes_of([one.row for one in known.values()])
        new, refield, unchanged = [], [], 0
        for place, (key, code, fields) in enumerate(
            zip(self._keys, self._codes, self._fields, strict=True)
        ):
            old = known.get(key)
            if old is None or stored[old.row] != code:
                new.append(place)
            elif old.fields != fields:
                refield.append((old.row, fields))
            else:
                unchanged += 1
        replaced = [known[self._keys[place]].row for place in new if self._keys[place] in known]
        writer.delete_rows(replaced)
        writer.insert(self._items(new), None)
        writer.change_fields(refield)
        return AddReport(len(new) - len(replaced), len(replaced) + len(refield), unchanged)

    def _items(self, places: Iterable[int]) -> Iterator[NewItem]:
        for place in places:
            code = self._codes[place]
            digest = _HASH.copy()
            digest.update(code)
            yield NewItem(self._keys[place], code, self._fields[place], digest.digest())
