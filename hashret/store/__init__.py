"""The truth of an index: items, codes, fields, deletions, segments and settings in SQLite."""

from hashret.store.item_reader import ItemReader
from hashret.store.item_store import ItemStore
from hashret.store.item_writer import ItemWriter
from hashret.store.items import RESTORE, NewItem, Record, StoredItem, encode_fields
from hashret.store.lock import WriterLock

__all__ = [
    "RESTORE",
    "ItemReader",
    "ItemStore",
    "ItemWriter",
    "NewItem",
    "Record",
    "StoredItem",
    "WriterLock",
    "encode_fields",
]
