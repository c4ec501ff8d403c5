"""Put questions to hashret and to its peers in turns, and compare the answers."""

from __future__ import annotations

import gc
import sys
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from benchmarking.answers import AnswersDifferError, check_nearest, check_order, check_within
from benchmarking.data import make_codes, make_queries
from benchmarking.flat import Flat
from benchmarking.peer import Codes, Peer, Unavailable
from benchmarking.peers import PEERS, Hashret, set_threads
from benchmarking.results import Case, Fact, Result
from benchmarking.timing import Side, affordable, take_turns


@dataclass
class Bench:
    """Runs comparisons and keeps what comes out.

    Attributes:
        seed: of the codes and queries.
        queries: put to each side at most.
        rounds: how often the sides take turns.
        budget: seconds that one side should take in a round at most; it gets fewer queries then.
        peers: the keys of those that take part.
        largest: code sets are cut to this size.
    """

    seed: int = 0
    queries: int = 1000
    rounds: int = 5
    budget: float = 1.5
    peers: tuple[str, ...] = tuple(PEERS)
    largest: int | None = None
    results: list[Result] = field(default_factory=list)
    facts: list[Fact] = field(default_factory=list)

    def size(self, n: int) -> int:
        """A goal's size, cut to the largest."""
        return min(n, self.largest or n)

    def load(self, kind: str, n: int, n_bits: int) -> tuple[Codes, Codes]:
        """Codes and queries."""
        codes = make_codes(kind, n, n_bits, self.seed)
        return codes, make_queries(kind, codes, self.queries, self.seed)

    def run(self, cases: Iterable[Case]) -> None:
        """Compare with Flat, then with the other peers of each case, one code set at a time."""
        groups: dict[tuple[str, int, int], list[Case]] = {}
        for case in cases:
            groups.setdefault((case.kind, case.n, case.n_bits), []).append(case)
        for (kind, n, n_bits), group in groups.items():
            self._run_group(group, *self.load(kind, n, n_bits))

    def _run_group(self, cases: list[Case], codes: Codes, queries: Codes) -> None:
        ours = Hashret()
        try:
            set_threads(2)
        except Unavailable as reason:
            say(f"threads: {reason}")
        self.note_build(cases[0], ours, codes, None, "2 threads")
        one_thread()
        if "flat" in self.peers:
            flat = Flat()
            flat.build(codes)
            for case in cases:
                self.compare(case, ours, flat, codes, queries)
            del flat
        for key in self.peers:
            chosen: dict[int | None, list[Case]] = {}
            for case in cases:
                if key in case.peers:
                    radius = case.radius if PEERS[key].radius_matters else None
                    chosen.setdefault(radius, []).append(case)
            for fitting in chosen.values():
                self._run_peer(PEERS[key], fitting, ours, codes, queries)

    def _run_peer(
        self, kind: type[Peer], cases: list[Case], ours: Peer, codes: Codes, queries: Codes
    ) -> None:
        able = [case for case in cases if not lack(kind, case)]
        unable = [case for case in cases if lack(kind, case)]
        self.results += [Result(case, kind.name, note=lack(kind, case)) for case in unable]
        if not able:
            return
        gc.collect()
        try:
            peer = kind()
            self.note_build(able[0], peer, codes, able[0].radius)
        except Unavailable as reason:
            self.results += [Result(case, kind.name, note=str(reason)) for case in able]
            return
        for case in able:
            self.compare(case, ours, peer, codes, queries)

    def compare(
        self, case: Case, ours: Hashret, theirs: Peer, codes: Codes, queries: Codes
    ) -> None:
        """Compare the answers and the times of two sides."""
        name = theirs.label
        try:
            sides = [
                affordable(Side(ask(peer, case), queries, case.single), self.budget)
                for peer in (ours, theirs)
            ]
            hits, checked = check(case, ours, theirs, codes, [side.queries for side in sides])
        except Unavailable as reason:
            self.results.append(Result(case, theirs.name, note=str(reason)))
            return
        except AnswersDifferError as problem:
            message = f"{case.codes}, {case.query}: hashret and {name} disagree: {problem}"
            if isinstance(theirs, Flat) and theirs.name == Flat.name:
                raise SystemExit(message) from problem
            say(message)
            self.results.append(Result(case, name, note=f"NOT EXACT: {problem}"))
            return
        our_times, their_times = take_turns(sides, self.rounds)
        counts = (len(sides[0].queries), len(sides[1].queries))
        plan = plan_of(ours, case, queries)
        result = Result(case, name, our_times, their_times, hits, checked, counts, plan)
        self.results.append(result)
        say(result.line())

    def note_build(
        self, case: Case, peer: Peer, codes: Codes, radius: int | None, note: str = ""
    ) -> None:
        """Build, and keep how long that took and by how much the process grew."""
        peer.build(codes, radius)
        what = f"{peer.label}, {case.codes}"
        grown = peer.build_bytes / len(codes)
        note = ", ".join(filter(None, [note, f"the process grew by {grown:.3g} bytes a code"]))
        self.facts.append(Fact(case.goal, f"{what}: build", peer.build_seconds, "s", note))
        if isinstance(peer, Hashret):
            self.facts.append(bytes_fact(case.goal, what, peer, len(codes)))


def lack(kind: type[Peer], case: Case) -> str:
    """Why a peer cannot answer a question; empty if it can."""
    return kind.no_within if case.k is None else kind.no_nearest


def ask(peer: Peer, case: Case) -> Callable[[Codes], Any]:
    """What answers a case's question."""
    if case.k is not None:
        return lambda queries: peer.nearest(queries, case.k)
    return lambda queries: peer.within(queries, case.radius)


def check(
    case: Case, ours: Peer, theirs: Peer, codes: Codes, queries: list[Codes]
) -> tuple[float, int]:
    """Compare answers; return the hits of a query and how many queries were compared."""
    few = min(queries, key=len)
    one, other = ask(ours, case)(queries[0]), ask(theirs, case)(few)
    if case.k is not None:
        return float(case.k), check_nearest(one, other, codes, few)
    check_order(one)
    return len(one[1]) / len(queries[0]), check_within(one, other)


def plan_of(ours: Hashret, case: Case, queries: Codes) -> str:
    """The most frequent plan of a few queries."""
    plans = Counter(
        ours.index.search(query, radius=case.radius, limit=case.k).stats.plan
        for query in queries[:15]
    )
    return plans.most_common(1)[0][0]


def bytes_fact(goal: str, what: str, ours: Hashret, n: int) -> Fact:
    """What hashret says of its own size."""
    try:
        return Fact(goal, f"{what}: arrays", ours.nbytes / n, "bytes a code")
    except Unavailable as reason:
        return Fact(goal, f"{what}: arrays", None, "bytes a code", str(reason))


def one_thread() -> None:
    """Keep everything to one thread, as far as hashret lets itself be told."""
    try:
        set_threads(1)
    except Unavailable as reason:
        say(f"threads: {reason}")


def with_peers(cases: Iterable[Case], keys: tuple[str, ...]) -> list[Case]:
    """The cases, to be put to these peers too."""
    return [replace(case, peers=keys) for case in cases]


def say(what: str) -> None:
    """Tell how far it is."""
    print(what, file=sys.stderr, flush=True)
