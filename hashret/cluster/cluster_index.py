"""A cluster as one index: asked once, answered by all shards."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from hashret.cluster.connecting import connect
from hashret.cluster.replicas import Ask, Replicas
from hashret.cluster.rounds import Rounds
from hashret.cluster.shard_answers import Question, ShardAnswer, bounds_of, falls_short, merged
from hashret.cluster.storage import ClusterStorage
from hashret.codes import Codes
from hashret.errors import IndexNotFoundError, KeyNotFoundError, UsageError
from hashret.index.index import Index
from hashret.index.ordering import Refinement
from hashret.index.outliers import Outlier, Outliers
from hashret.index.queries import Queries
from hashret.index.result import Result
from hashret.progress import ProgressCallback, no_progress
from hashret.sources import SkippedInputs
from hashret.store import StoredItem
from hashret.store.patience import patience_left

_SENT_BYTES = 1 << 16
"""A question of more bytes is put into the object store once, not sent to each shard."""

_ITEMS_AT_A_TIME = 4096


class ClusterIndex(Queries):
    """Shards on Ray that answer as one index does; see :func:`hashret.open_cluster`.

    Hits at one distance come by key (``order="key"`` of an index), which is the same however items
    are spread over shards. Every answer is whole, or the call raises
    :class:`~hashret.errors.ShardUnavailableError`; with ``partial=True`` the result names the
    shards that are missing.

    Attributes:
        path: where the cluster lies: a path, or a URL.
        layout: how many shards there are, and of which encoder.
        n_bits: code length in bits.
        kind: what its values are, as of an index.
        encoder: turns values into codes and codes into values, in this process.
        rounds: what asking them takes.
        replicas: the readers of the shards.
    """

    orders = ("key", "certainty")

    def __init__(
        self, storage: ClusterStorage, replicas: int = 1, address: str | None = None
    ) -> None:
        """Use :func:`hashret.open_cluster`."""
        if isinstance(replicas, bool) or not isinstance(replicas, int) or replicas < 1:
            raise UsageError(f"replicas must be a number of at least 1, not {replicas!r}.")
        self.path = storage.root
        self._storage = storage
        self._shards: dict[int, Index] = {}
        self.layout = storage.layout()
        self._learned = Index.open(storage.learned())
        self.encoder = self._learned.encoder
        self.kind, self.n_bits = self._learned.kind, self._learned.n_bits
        self._ray = connect(address)
        self.rounds = Rounds(self.layout.shards)
        self.replicas = Replicas(self._ray, storage.root, self.layout.folders(), replicas)

    def close(self) -> None:
        """Stop using it; its readers stay, for others and for the next time."""
        self._learned.close()
        for shard in self._shards.values():
            shard.close()
        self._shards.clear()

    def __enter__(self) -> Self:
        """Use it in a ``with`` block that closes it."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close it."""
        self.close()

    # What it holds

    @property
    def fingerprint(self) -> str:
        """Names the encoder: codes of two encoders cannot be compared."""
        return self.encoder.fingerprint

    def __len__(self) -> int:
        """How many items all shards hold."""
        return sum(self._all("__len__"))

    def __contains__(self, key: object) -> bool:
        """Whether an item has this key."""
        return isinstance(key, str) and bool(self._own(key, _named("__contains__", key)))

    def __getitem__(self, key: str) -> StoredItem:
        """The item with this key; its row is that in its shard.

        Raises:
            KeyNotFoundError: no item has it.
        """
        found: StoredItem = self._item(key)[0]
        return found

    def items(self, limit: int | None = None, where: str | None = None) -> list[StoredItem]:
        """Items in the order of their keys, at most ``limit``, those that satisfy ``where``."""
        if limit is not None and (not isinstance(limit, int) or limit < 1):
            raise UsageError(f"limit must be a number of at least 1 or None, not {limit!r}.")
        return self._items(limit, where, None)

    def _items(self, limit: int | None, where: str | None, after: str | None) -> list[StoredItem]:
        answers = self._all_answers(lambda one: one.items.remote(limit, where, after))
        return sorted((item for some in answers for item in some), key=_key)[:limit]

    def __iter__(self) -> Iterator[str]:
        """The keys in their own order; what is changed meanwhile may be among them."""
        after: str | None = None
        while some := self._items(_ITEMS_AT_A_TIME, None, after):
            yield from map(_key, some)
            after = some[-1].key

    @property
    def field_names(self) -> list[str]:
        """The names of all fields that an item was ever given, in alphabetical order."""
        return self.fields_of_shards()

    def fields_of_shards(self, *, partial: bool = False) -> list[str]:
        """The same; ``partial`` leaves out what only shards know that cannot be reached."""
        names = self._all("field_names", partial=partial)
        return sorted({name for own in names for name in own})

    @property
    def knows_sources(self) -> bool:
        """Whether it is known of some items where their values can be read again."""
        return any(self._all("knows_sources"))

    @property
    def keeps_vectors(self) -> bool:
        """Whether the features of its items are kept, for re-ranking."""
        return self._learned.keeps_vectors

    @property
    def commit(self) -> str:
        """The name of the state of all shards, which no other state has."""
        return "-".join(self._all("commit"))

    def shards_with(self, keys: Iterable[str] | None = None) -> list[tuple[Index, list[str]]]:
        """The shards that may hold these keys, opened in this process, each with its own.

        For what reads sources again, such as pictures. It takes the files of the shards: behind a
        URL, a copy of each is made on this machine.

        Args:
            keys: None for all shards.
        """
        own: dict[int, list[str]] = {}
        if keys is None:
            own = {shard: [] for shard in range(self.layout.shards)}
        for key in keys or ():
            own.setdefault(self._shard_of(key), []).append(key)
        return [(self._opened(shard), some) for shard, some in own.items()]

    def _opened(self, shard: int) -> Index:
        path = self._storage.reading(self.layout.folder(shard))
        found = self._shards.get(shard)
        if found is None or found.path != path:
            if found is not None:
                found.close()
            found = self._shards[shard] = Index.open(path)
            found.reader.finds_paths = False
        return found

    def outliers(
        self, limit: int | None = 20, *, progress: ProgressCallback = no_progress
    ) -> Outliers:
        """The items that their bits reconstruct worst; see :meth:`hashret.Index.outliers`.

        The shards are read one after the other, in this process.
        """
        worst: list[Outlier] = []
        measured, skipped = 0, SkippedInputs()
        for shard, _ in self.shards_with():
            if not len(shard):
                continue
            found = shard.outliers(limit=limit, progress=progress)
            worst += found
            measured += found.measured
            skipped.extend(found.skipped)
        worst.sort(key=lambda one: (-one.error, one.key))
        ranked = [replace(one, rank=rank) for rank, one in enumerate(worst[:limit], start=1)]
        return Outliers(ranked, measured, skipped)

    def info(self) -> dict[str, Any]:
        """What the cluster is, and what each shard holds."""
        shards = self._all("info")
        return {
            "path": self.path,
            "items": sum(one["items"] for one in shards),
            "n_bits": self.n_bits,
            "kind": self.kind,
            "encoder": self.fingerprint,
            "fields": self.field_names,
            "created": self.layout.created,
            "bytes": sum(one["bytes"] for one in shards),
            "shards": [
                {"name": name, **{fact: one[fact] for fact in ("items", "segments", "bytes")}}
                for name, one in zip(self.layout.folders(), shards, strict=True)
            ],
        }

    def __repr__(self) -> str:
        """Place, shards and code length."""
        return (
            f"<ClusterIndex {self.path}: {self.layout.shards} shards of {self.kind}, "
            f"{self.n_bits} bits>"
        )

    # Queries

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
        if not len(codes):
            return []
        started = time.perf_counter()
        question = Question(
            codes, radius, limit, where, refinement, patience_left(), encoder=self.fingerprint
        )
        if self.rounds.bounds_pay(question):
            bounded = self._bounded(replace(question, name=secrets.randbits(62) + 1), partial)
            answers, missing = self._answers(bounded, partial)
            if not falls_short(bounded, answers):
                return merged(bounded, answers, limit, missing, time.perf_counter() - started)
            question = replace(question, patience=patience_left())
        answers, missing = self._answers(question, partial)
        return merged(question, answers, limit, missing, time.perf_counter() - started)

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
        item, vector = self._item(key, with_vector=with_vector)
        refinement = refine(None if vector is None else vector[None])
        return self._search(item.code[None], radius, limit, where, refinement, partial=partial)[0]

    def _checked(self, order: str | None) -> str:
        if order == "row":
            raise UsageError(
                "The items of a cluster have no common order of being added: order is 'key' or "
                "'certainty'."
            )
        return super()._checked(order)

    def _bounded(self, question: Question, partial: bool) -> Question:
        """The question with the distance of the last hit of each code, found in a round before."""
        started = time.perf_counter()
        reaches, _ = self._round("reach", question, partial)
        seconds = time.perf_counter() - started
        self.rounds.note(len(question.codes), seconds, reaches)
        if not reaches:
            return question
        bounds = bounds_of(question, list(reaches.values()))
        return replace(question, bounds=bounds, patience=patience_left())

    def _answers(
        self, question: Question, partial: bool
    ) -> tuple[dict[int, ShardAnswer], tuple[str, ...]]:
        started = time.perf_counter()
        answers, missing = self._round("answer", question, partial)
        hits = sum(len(one.columns.keys) for one in answers.values())
        seconds = time.perf_counter() - started
        self.rounds.note(len(question.codes), seconds, answers, hits)
        return answers, missing

    def _round(
        self, name: str, question: Question, partial: bool
    ) -> tuple[dict[int, Any], tuple[str, ...]]:
        wanted = question.refinement
        arrays = (question.codes, wanted.logits, wanted.vectors)
        large = sum(one.nbytes for one in arrays if one is not None) >= _SENT_BYTES
        sent: Any = self._ray.put(question) if large else question
        return self._asked(
            lambda: range(self.layout.shards),
            lambda reader: getattr(reader, name).remote(sent),
            partial=partial,
            again=question.bounds is not None,
        )

    # Shards

    def _item(self, key: str, *, with_vector: bool = False) -> Any:
        try:
            return self._own(key, lambda one: one.item.remote(key, with_vector=with_vector))
        except KeyNotFoundError:
            raise KeyNotFoundError(f"No item of {self.path} has the key {key!r}.", key) from None

    def _own(self, key: str, ask: Ask) -> Any:
        answers, _ = self._asked(lambda: [self._shard_of(key)], ask)
        return next(iter(answers.values()))

    def _shard_of(self, key: object) -> int:
        if not isinstance(key, str):
            raise UsageError(f"A key is text, got {key!r} of type {type(key).__name__}.")
        try:
            return self.layout.shard_of(key)
        except UnicodeEncodeError:
            raise KeyNotFoundError(
                f"No item has the key {key!r}, which is no Unicode text."
            ) from None

    def _all(self, name: str, *, partial: bool = False) -> list[Any]:
        return self._all_answers(_named(name), partial=partial)

    def _all_answers(self, ask: Ask, *, partial: bool = False) -> list[Any]:
        answers, _ = self._asked(lambda: range(self.layout.shards), ask, partial=partial)
        return [answers[shard] for shard in sorted(answers)]

    def _asked(
        self, shards: Callable[[], Iterable[int]], ask: Ask, **how: bool
    ) -> tuple[dict[int, Any], tuple[str, ...]]:
        """Ask the shards that there are now: others, where the items were spread anew."""
        try:
            return self.replicas.ask(dict.fromkeys(shards(), ask), **how)
        except IndexNotFoundError:
            if not self._spread_anew():
                raise
            return self.replicas.ask(dict.fromkeys(shards(), ask), **how)

    def _spread_anew(self) -> bool:
        """Turn to other shards of the same encoder, where there are others now."""
        layout = self._storage.layout()
        if layout == self.layout or layout.encoder != self.layout.encoder:
            return False
        self.layout, self.rounds = layout, Rounds(layout.shards)
        self.replicas = self.replicas.of(layout.folders())
        return True


def _key(item: StoredItem) -> str:
    return item.key


def _named(name: str, *arguments: Any) -> Ask:
    return lambda reader: reader.ask.remote(name, *arguments)
