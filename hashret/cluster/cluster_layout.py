"""Where a cluster lies: what its folder holds, and which shard holds a key.

::

    <cluster>/
      cluster.json      how many shards, how keys are assigned to them, of which encoder
      learned/          an index without items: the encoder; every new shard begins as a copy of it
      shards-1/00000/   a shard: an index as any other
      shards-1/00001/
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from hashlib import blake2b
from typing import Any, Self

from hashret.errors import DamagedIndexError, UnknownFormatError

LAYOUT_FILE = "cluster.json"
LEARNED = "learned"
MOST_LAYOUT_BYTES = 1 << 20
"""Of ``cluster.json``, which has some hundred."""
GENERATION_NAME = re.compile(r"shards-[1-9][0-9]*")
"""The folder of a set of shards."""
SHARD_NAME = re.compile(r"[0-9]{5}")
"""The folder of a shard in it."""
FORMAT = 1
ASSIGNMENT = "blake2b-64 of the key, modulo the number of shards"
MOST_SHARDS = 10_000


@dataclass(frozen=True, slots=True)
class Layout:
    """What ``cluster.json`` tells.

    Attributes:
        shards: how many there are.
        generation: which set of shards this is; resharding makes the next one.
        encoder: its fingerprint; all shards have the same.
        n_bits: code length in bits.
        kind: what the values are, as of an index.
        hashret: the version that made it.
        created: when, in ISO 8601.
    """

    shards: int
    generation: int
    encoder: str
    n_bits: int
    kind: str
    hashret: str
    created: str

    def shard_of(self, key: str) -> int:
        """The number of the shard that holds a key."""
        return shard_of(key, self.shards)

    def folder(self, shard: int) -> str:
        """The folder of a shard, relative to that of the cluster."""
        return f"shards-{self.generation}/{shard:05}"

    def folders(self) -> list[str]:
        """The folders of all shards, in order."""
        return [self.folder(shard) for shard in range(self.shards)]

    def resharded(self, shards: int) -> Self:
        """The next set of shards, of another number."""
        return replace(self, shards=shards, generation=self.generation + 1)

    def to_json(self) -> bytes:
        """The content of ``cluster.json``."""
        told = {"format": FORMAT, "assignment": ASSIGNMENT, **asdict(self)}
        return (json.dumps(told, indent=2) + "\n").encode()

    @classmethod
    def from_json(cls, content: bytes, place: str) -> Self:
        """Read the content of the ``cluster.json`` at ``place``.

        Raises:
            DamagedIndexError: it is not what :meth:`to_json` writes.
            UnknownFormatError: another hashret wrote it.
        """
        try:
            told = json.loads(content)
        except ValueError:
            told = None
        if not isinstance(told, Mapping):
            raise _damaged(place, "it is no JSON object")
        if told.get("format") != FORMAT or told.get("assignment") != ASSIGNMENT:
            found = told.get("format")
            if found != FORMAT:
                raise UnknownFormatError(
                    place, found, (FORMAT, FORMAT), "Use the hashret that made it.",
                    told.get("hashret"),
                )  # fmt: skip
            raise _damaged(place, f"it assigns keys by {told.get('assignment')!r}")
        return cls(**{name: _checked(told, name, kind, place) for name, kind in _KINDS.items()})


_KINDS: dict[str, type] = {
    "shards": int,
    "generation": int,
    "encoder": str,
    "n_bits": int,
    "kind": str,
    "hashret": str,
    "created": str,
}


def _checked(told: Mapping[str, Any], name: str, kind: type, place: str) -> Any:
    value = told.get(name)
    if type(value) is not kind or (isinstance(value, int) and not 1 <= value <= MOST_SHARDS):
        raise _damaged(place, f"{name} is {value!r}")
    return value


def _damaged(place: str, reason: str) -> DamagedIndexError:
    return DamagedIndexError(
        f"{place} is damaged: {reason}. Restore it from a copy; the shards are whole indexes and "
        "can be looked into one by one."
    )


def shard_of(key: str, shards: int) -> int:
    """Which of so many shards holds a key: the same on every machine and in every version.

    Example:
        >>> shard_of("17", 6)
        0
    """
    digest = blake2b(key.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") % shards
