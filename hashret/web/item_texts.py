"""The beginnings of the texts of items, read again from where they came."""

from __future__ import annotations

import re
import threading
from collections import OrderedDict
from collections.abc import Sequence

from hashret.errors import InputError
from hashret.index.index import Index
from hashret.index.item_features import ItemFeatures

MOST_CHARACTERS = 400
MOST_ROW = 200_000
"""Of a table that is read from its beginning: what lies further takes longer than people wait."""

_REMEMBERED = 20_000
_FAR_ROW = re.compile(r"(?P<file>.+)#(?P<row>[0-9]{1,18})", re.DOTALL)
_BY_ROW = (".parquet", ".db", ".sqlite", ".sqlite3")


class _Texts:
    """The latest that were read, for all indexes: the name of a state is that of no other."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: OrderedDict[tuple[str, str], str] = OrderedDict()

    def known(self, commit: str, keys: Sequence[str]) -> dict[str, str]:
        with self._lock:
            places = [(commit, key) for key in keys if (commit, key) in self._known]
            for place in places:
                self._known.move_to_end(place)
            return {place[1]: self._known[place] for place in places}

    def remember(self, commit: str, texts: dict[str, str]) -> None:
        with self._lock:
            self._known.update(((commit, key), text) for key, text in texts.items())
            while len(self._known) > _REMEMBERED:
                self._known.popitem(last=False)


_texts = _Texts()


def texts_of(index: Index, keys: Sequence[str]) -> dict[str, str]:
    """The beginnings of the texts of items, by key; those that cannot be read again are absent."""
    if index.kind != "text" or not keys:
        return {}
    found: dict[str, str] = {}
    for shard, own in index.shards_with(keys):
        found |= _texts_of(shard, own)
    return found


def _texts_of(index: Index, keys: Sequence[str]) -> dict[str, str]:
    with index.reader.state():
        store = index.reader.store
        commit = store.commit
        known = _texts.known(commit, keys)
        others = store.by_keys([key for key in keys if key not in known])
        items = store.items_of([one.row for one in others.values()])
        wanted = [item.key for item in items.values() if _is_near(item.location)]
        features = ItemFeatures(store, index.encoder.features)
        try:
            read = {
                item.key: item.value[:MOST_CHARACTERS]
                for item in features.values(wanted)
                if isinstance(item.value, str)
            }
        except (InputError, OSError):
            read = {}
        _texts.remember(commit, read)
        return known | read


def _is_near(location: str | None) -> bool:
    found = _FAR_ROW.fullmatch(location or "")
    if found is None or found["file"].endswith(_BY_ROW):
        return location is not None
    return int(found["row"]) <= MOST_ROW
