"""Asking a server as one asks an index."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote, urlencode

from numpy.typing import ArrayLike

from hashret.codes import Codes, to_hex
from hashret.errors import IndexNotFoundError, KeyNotFoundError, UsageError
from hashret.index.encoding import AddReport
from hashret.index.queries import DEFAULT_LIMIT
from hashret.index.result import Result
from hashret.sources import Skipped, open_source
from hashret.sources.skipped import SkippedInputs
from hashret.store import StoredItem
from hashret.web.batching import MOST_AT_A_TIME, batches
from hashret.web.receiving import received_item, received_result
from hashret.web.sending import (
    MOST_HITS,
    sent_cut,
    sent_item,
    sent_key,
    sent_limit,
    sent_value,
)
from hashret.web.wire import Wire


class Client:
    """An index that ``hashret serve`` serves: :class:`hashret.Index` as far as it asks and changes.

    Answers are the same, but that hits have no ``location``: a server does not tell where its files
    lie. Paths are read here. Threads may share a client; each has a connection of its own.

    Attributes:
        address: of the server.
        name: of the index.

    Example:
        >>> client = hashret.Client("http://127.0.0.1:8484", "fashion")  # doctest: +SKIP
        >>> client.query("shoe.png", limit=5)[0].key  # doctest: +SKIP
        '3865'
    """

    def __init__(
        self,
        address: str = "http://127.0.0.1:8484",
        index: str | None = None,
        *,
        token: str | None = None,
        timeout: float = 30.0,
    ) -> None:
        """Name a server; it is asked when something is wanted of it.

        Args:
            address: ``http://host:port``, or ``https://...`` behind a proxy.
            index: the name of an index; None where the server has only one.
            token: of the server, where it wants one.
            timeout: seconds to wait for an answer.

        Raises:
            UsageError: an address of another form.
            IndexNotFoundError: no index was named and the server has several, or none.
        """
        self._wire = Wire(address, token, timeout)
        self.address = self._wire.address
        self._known: dict[str, Any] | None = None
        self.name = self._only_name() if index is None else index

    def _only_name(self) -> str:
        try:
            names = [one["name"] for one in self._wire.get("/api/indexes")["indexes"]]
        except BaseException:
            self.close()
            raise
        if len(names) != 1:
            self.close()
            raise IndexNotFoundError(f"{self.address} serves {', '.join(names)}; name one of them.")
        return str(names[0])

    def close(self) -> None:
        """Close this thread's connection; those of others close with their threads."""
        self._wire.close()

    def __enter__(self) -> Self:
        """Use the client in a ``with`` block that closes it."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the connection."""
        self.close()

    # What the index holds

    def info(self) -> dict[str, Any]:
        """What the index is and holds; see :meth:`hashret.Index.info`."""
        found: dict[str, Any] = self._wire.get(self._place())
        return found

    @property
    def kind(self) -> str:
        """What its values are: ``"images"``, ``"text"``, ``"vectors"`` or ``"codes"``."""
        return str(self._facts["kind"])

    @property
    def n_bits(self) -> int:
        """Code length in bits."""
        return int(self._facts["n_bits"])

    @property
    def _facts(self) -> dict[str, Any]:
        """What does not change while an index is there."""
        if self._known is None:
            self._known = self.info()
        return self._known

    def __len__(self) -> int:
        """How many items there are."""
        return int(self.info()["items"])

    def __contains__(self, key: object) -> bool:
        """Whether an item has this key."""
        try:
            return isinstance(key, str) and bool(self[key])
        except KeyNotFoundError:
            return False

    def __getitem__(self, key: str) -> StoredItem:
        """The item with this key.

        Raises:
            KeyNotFoundError: no item has it.
        """
        return received_item(self._wire.get(self._place("items"), key=sent_key(key))["items"][0])

    def items(self, limit: int | None = None, where: str | None = None) -> list[StoredItem]:
        """Items in the order they were added, at most ``limit``, those that satisfy ``where``.

        Several requests bring more than a thousand; what is changed meanwhile may be among them.
        """
        sent_limit(limit)
        found: list[StoredItem] = []
        asked = where
        while True:
            most = MOST_HITS if limit is None else min(limit - len(found), MOST_HITS)
            some = self._wire.get(self._place("items"), limit=most, where=asked)["items"]
            found += map(received_item, some)
            if len(some) < most or len(found) == limit:
                return found
            # The line breaks end a remark in the condition, which was taken alone before.
            later = f"row > {found[-1].row}"
            asked = later if where is None else f"{later} and (\n{where}\n)"

    # Queries

    def query(
        self,
        value: Any,
        radius: int | None = None,
        limit: int | None = DEFAULT_LIMIT,
        where: str | None = None,
        **options: Any,
    ) -> Result:
        """The items nearest to a value; see :meth:`hashret.Index.query`."""
        return self._asked(sent_value(value, self.kind), radius, limit, where, options)

    def query_key(
        self,
        key: str,
        radius: int | None = None,
        limit: int | None = DEFAULT_LIMIT,
        where: str | None = None,
        **options: Any,
    ) -> Result:
        """The items nearest to the item with this key; see :meth:`hashret.Index.query_key`."""
        return self._asked({"key": sent_key(key)}, radius, limit, where, options)

    def query_code(
        self,
        code: ArrayLike | str,
        radius: int | None = None,
        limit: int | None = DEFAULT_LIMIT,
        where: str | None = None,
        **options: Any,
    ) -> Result:
        """The items nearest to a code; see :meth:`hashret.Index.query_code`."""
        text = code.strip() if isinstance(code, str) else to_hex(code)
        return self._asked({"code": text}, radius, limit, where, options)

    def query_many(
        self,
        values: Iterable[Any],
        radius: int | None = None,
        limit: int | None = DEFAULT_LIMIT,
        where: str | None = None,
        **options: Any,
    ) -> list[Result]:
        """One result for each value; see :meth:`hashret.Index.query_many`."""
        if isinstance(values, str) or not isinstance(values, Iterable):
            raise UsageError(f"query_many takes several values, got {values!r}.")
        wanted = sent_cut(radius, limit, where, options)
        size = max(1, min(MOST_AT_A_TIME, 10 * MOST_HITS // wanted["limit"]))
        results: list[Result] = []
        for queries in batches((sent_value(value, self.kind) for value in values), size):
            asked = {"queries": queries, **wanted}
            answers = self._wire.post(self._place("query_many"), asked)["answers"]
            results += [received_result(answer, limit) for answer in answers]
        return results

    def _asked(
        self,
        query: dict[str, Any],
        radius: int | None,
        limit: int | None,
        where: str | None,
        options: Mapping[str, Any],
    ) -> Result:
        body = {**query, **sent_cut(radius, limit, where, options)}
        return received_result(self._wire.post(self._place("query"), body), limit)

    # Changes

    def add(self, source: Any, *, key_prefix: str = "") -> AddReport:
        """Add or update items, at most a hundred at a time, each time in one transaction.

        Raises:
            HashretError: the server is not writable, or the token is missing.
        """
        opened = open_source(source, kind=self.kind, key_prefix=key_prefix)
        items = (sent_item(item, self.kind) for item in opened)
        reports = [self._added(block) for block in batches(items)]
        skipped = AddReport(skipped=opened.skipped)
        return AddReport.sum([*reports, skipped])

    def add_codes(
        self, codes: Codes, keys: Iterable[str], fields: Iterable[Mapping[str, Any]] | None = None
    ) -> AddReport:
        """Add or update items by key and ready code; see :meth:`hashret.Index.add_codes`."""
        names = list(keys)
        known = [{} for _ in names] if fields is None else [dict(one) for one in fields]
        items = (
            {"key": key, "code": to_hex(code), "fields": own}
            for code, key, own in zip(codes, names, known, strict=True)
        )
        return AddReport.sum(self._added(block) for block in batches(items))

    def _added(self, items: list[dict[str, Any]]) -> AddReport:
        found = self._wire.post(self._place("items"), {"items": items})
        skipped = (Skipped(one["name"], one["reason"]) for one in found.pop("skipped"))
        return AddReport(**found, skipped=SkippedInputs(skipped))

    def remove(self, keys: str | Iterable[str]) -> int:
        """Remove items, all or none (of 100 at most); returns how many.

        Raises:
            KeyNotFoundError: a key does not exist; nothing is removed.
        """
        wanted = [sent_key(key) for key in ([keys] if isinstance(keys, str) else keys)]
        if not wanted:
            return 0
        place = f"{self._place('items')}?{urlencode({'key': wanted}, doseq=True)}"
        return int(self._wire.send("DELETE", place)["removed"])

    def _place(self, *parts: str) -> str:
        return "/".join(["/api", quote(self.name, safe="", errors="replace"), *parts])
