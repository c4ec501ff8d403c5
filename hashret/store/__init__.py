"""The truth of an index: items, codes, fields, deletions, segments and settings in SQLite."""

from hashret.store.item_store import ItemStore
from hashret.store.items import RESTORE, NewItem, StoredItem, encode_fields
from hashret.store.lock import WriterLock

__all__ = ["RESTORE", "ItemStore", "NewItem", "StoredItem", "WriterLock", "encode_fields"]
