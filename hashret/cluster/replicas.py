"""The readers of all shards: where they run, who is asked, and what is done when one is gone."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from hashlib import blake2b
from typing import Any

from hashret.cluster.actors import Refusal, remote_reader
from hashret.cluster.connecting import NAMESPACE, first_line
from hashret.errors import (
    ASKED_WRONGLY,
    HashretError,
    IndexNotFoundError,
    KeyNotFoundError,
    ShardUnavailableError,
    error_of,
)

RECOVERY_SECONDS = 60.0
"""How long a shard that answers nowhere is waited for, until Ray has started a reader again."""

_PAUSE_SECONDS = 0.25
_TOLD_SECONDS = 10.0
_UNWELL_SECONDS = 5.0
"""A reader that failed is asked last for so long."""

SILENT_SECONDS = 30.0
"""Who is silent for so long is asked whether it is alive, and has as long to say so."""

Ask = Callable[[Any], Any]
"""A reader -> the reference of what it will answer."""


class Replicas:
    """The readers of each shard, on different nodes where there are several.

    Attributes:
        names: of the shards.
        retried: how often a question had to be put to another reader, or again.
    """

    def __init__(self, ray: Any, root: str, folders: Sequence[str], replicas: int) -> None:
        """Find the readers by name, or start them.

        Args:
            ray: the module, connected.
            root: where the cluster lies.
            folders: of the shards.
            replicas: how many readers each has.
        """
        self.names = tuple(folders)
        self.retried = 0
        self._ray = ray
        self._root = root
        self._count = replicas
        self._turn = 0
        self._unwell: dict[tuple[int, int], float] = defaultdict(float)
        self._heard: set[tuple[int, int]] = set()
        self._nodes: dict[tuple[int, int], str] = {}
        self._end_older()
        nodes = self._living_nodes()
        self._readers = {
            (shard, replica): self._reader(shard, replica, nodes)
            for shard in range(len(folders))
            for replica in range(replicas)
        }

    def of(self, folders: Sequence[str]) -> Replicas:
        """As many readers of other shards of the cluster."""
        return Replicas(self._ray, self._root, folders, self._count)

    def _end_older(self) -> None:
        """End the readers of shards whose items were spread anew: they hold on to their files."""
        own = _generation(self.names[0])
        for name in _names(self._ray, self._root):
            if _generation(name.removeprefix(_prefix(self._root))) < own:
                _end(self._ray, name)

    def _living_nodes(self) -> list[str]:
        return sorted(node["NodeID"] for node in self._ray.nodes() if node["Alive"])

    def _reader(self, shard: int, replica: int, nodes: Sequence[str]) -> Any:
        others = {self._nodes.get((shard, one)) for one in range(self._count) if one != replica}
        turned = [nodes[(shard + replica + step) % len(nodes)] for step in range(len(nodes))]
        node = next((one for one in turned if one not in others), turned[0])
        self._nodes[shard, replica] = node
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        share = -(-len(self.names) * self._count // len(nodes))
        return (
            remote_reader()
            .options(
                name=f"{_prefix(self._root)}{self.names[shard]}/{replica}",
                namespace=NAMESPACE,
                get_if_exists=True,
                lifetime="detached",
                # Ray, where it may choose, puts two readers of a shard on one node. Nor will it
                # start this one elsewhere when the node is lost: then :meth:`_revive` does.
                scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False),
            )
            .remote(self._root, self.names[shard], share)
        )

    def ask(
        self, questions: Mapping[int, Ask], *, partial: bool = False, again: bool = False
    ) -> tuple[dict[int, Any], tuple[str, ...]]:
        """Put a question to one reader of each of some shards, all at the same time.

        A reader that is gone or fails is stood in for by another; where there is no other, it is
        waited for until Ray has started it again. One that hangs is ended.

        Args:
            questions: by the number of the shard.
            partial: do not wait for shards that answer on none of their replicas.
            again: prefer the readers that were asked last, who may know what was found then.

        Returns:
            Answers by shard, and the names of the shards that did not answer: none, unless
            ``partial``.

        Raises:
            ShardUnavailableError: a shard does not answer, and ``partial`` is False.
            HashretError: what is wrong with the question, or what all readers of a shard say.
        """
        answers: dict[int, Any] = {}
        missing: list[int] = []
        latest = time.monotonic() + RECOVERY_SECONDS
        tried: dict[int, list[int]] = {shard: [] for shard in questions}
        waiting: dict[Any, tuple[int, int]] = {}
        self._turn += not again
        for shard in questions:
            self._send(shard, questions[shard], tried, waiting)
        failure: Exception | None = None
        while waiting:
            done, _ = self._ray.wait(list(waiting), num_returns=1, timeout=SILENT_SECONDS)
            if not done:
                self._end_hung(list(waiting.values()))
            for reference in done:
                shard, replica = waiting.pop(reference)
                try:
                    answers[shard] = self._answer(shard, reference)
                    self._heard.add((shard, replica))
                    continue
                except ASKED_WRONGLY:
                    raise
                except self._ray.exceptions.RayError as error:
                    failure = error
                    self._revive(shard, replica, error)
                except HashretError as error:
                    failure = error
                self.retried += 1
                self._unwell[shard, replica] = time.monotonic() + _UNWELL_SECONDS
                if len(tried[shard]) >= self._count:
                    if isinstance(failure, IndexNotFoundError):
                        raise failure  # it is not out of reach, but elsewhere or gone
                    if partial or time.monotonic() > latest:
                        missing.append(shard)
                        continue
                    if isinstance(failure, HashretError):
                        raise failure
                    tried[shard].clear()
                    time.sleep(_PAUSE_SECONDS)
                self._send(shard, questions[shard], tried, waiting)
        names = tuple(self.names[shard] for shard in sorted(missing))
        if names and not partial:
            told = first_line(failure) if failure else "no answer"
            raise ShardUnavailableError(
                f"No reader of {', '.join(names)} answers ({told}), so the answer would "
                "not be whole. Look at the nodes with `ray status`; partial=True (--partial) takes "
                "what the others have.",
                names,
            ) from failure
        return answers, names

    def _answer(self, shard: int, reference: Any) -> Any:
        try:
            answer = self._ray.get(reference)
        except self._ray.exceptions.RayTaskError as error:
            raise HashretError(
                f"{self.names[shard]} met an error it does not know: {error.cause!r}."
            ) from error
        if isinstance(answer, Refusal):
            refusal = error_of(answer.kind, answer.message) or HashretError(answer.message)
            if isinstance(refusal, KeyNotFoundError):
                refusal.key = answer.key
            raise refusal
        return answer

    def _end_hung(self, asked: Sequence[tuple[int, int]]) -> None:
        """End those that have answered before and do not even say that they are alive.

        Ray then fails what they were asked, and starts them again.
        """
        told = {
            self._readers[one].alive.options(concurrency_group="alive").remote(): one
            for one in asked
            if one in self._heard
        }
        if told:
            _, silent = self._ray.wait(
                list(told), num_returns=len(told), timeout=SILENT_SECONDS, fetch_local=False
            )
            for reference in silent:
                self._ray.kill(self._readers[told[reference]], no_restart=False)

    def _send(
        self,
        shard: int,
        question: Ask,
        tried: dict[int, list[int]],
        waiting: dict[Any, tuple[int, int]],
    ) -> None:
        """Ask the reader whose turn it is, of those that were not tried and were well of late."""
        left = [
            (self._turn + shard + step) % self._count
            for step in range(self._count)
            if (self._turn + shard + step) % self._count not in tried[shard]
        ]
        now = time.monotonic()
        replica = min(left, key=lambda one: self._unwell[shard, one] > now)
        tried[shard].append(replica)
        waiting[question(self._readers[shard, replica])] = shard, replica

    def _revive(self, shard: int, replica: int, error: Exception) -> None:
        """Start a reader anew that Ray has given up; one that is being restarted is left to it."""
        raised = self._ray.exceptions
        if isinstance(error, raised.ActorDiedError | raised.ActorUnschedulableError):
            self._heard.discard((shard, replica))
            self._readers[shard, replica] = self._reader(shard, replica, self._living_nodes())

    def processes(self) -> dict[tuple[str, int], dict[str, Any]]:
        """What each reader tells of its process, by shard and replica; those gone are left out."""
        asked = {reader.process.remote(): one for one, reader in self._readers.items()}
        done, _ = self._ray.wait(list(asked), num_returns=len(asked), timeout=_TOLD_SECONDS)
        found = {}
        for reference in done:
            with suppress(self._ray.exceptions.RayError):
                shard, replica = asked[reference]
                found[self.names[shard], replica] = self._ray.get(reference)
        return found


def stop_readers(ray: Any, root: str) -> int:
    """End all readers of the cluster at ``root``, whoever started them; returns how many."""
    names = _names(ray, root)
    for name in names:
        _end(ray, name)
    return len(names)


def _names(ray: Any, root: str) -> list[str]:
    return [
        one["name"]
        for one in ray.util.list_named_actors(all_namespaces=True)
        if one["namespace"] == NAMESPACE and one["name"].startswith(_prefix(root))
    ]


def _end(ray: Any, name: str) -> None:
    with suppress(ValueError):  # it has just ended
        ray.kill(ray.get_actor(name, NAMESPACE))


def _generation(folder: str) -> int:
    """Of the set of shards that a folder belongs to, ``shards-2/00017``."""
    return int(folder.partition("/")[0].rpartition("-")[2])


def _prefix(root: str) -> str:
    return f"{blake2b(root.encode(), digest_size=8).hexdigest()}/reader/"
