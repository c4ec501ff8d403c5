"""The goals of the search engine, each with what is measured for it."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator

import numpy as np

from benchmarking.answers import check_within
from benchmarking.comparing import Bench, ask, one_thread, plan_of, say, with_peers
from benchmarking.data import KINDS
from benchmarking.flat import Flat
from benchmarking.peer import Codes, Unavailable
from benchmarking.peers import PEERS, Hashret, force_plan, set_threads
from benchmarking.results import Case, Fact, Result, short
from benchmarking.timing import Side, affordable, take_turns

TEN_MILLION = 10_000_000
ALL_PEERS = tuple(key for key in PEERS if key != "flat")
K = 10
MOST_HITS = 20_000_000
JOIN_SAMPLE = 300


def comparisons(goals: list[str], bench: Bench) -> Iterator[Case]:
    """The cases of those goals that are comparisons with peers."""
    n = bench.size(TEN_MILLION)
    for goal, single in (("batch", False), ("single", True)):
        if goal in goals:
            for radius in (3, 6, 10):
                case = Case(goal, "clustered", n, 64, radius, single=single)
                yield from with_peers([case], ALL_PEERS if radius == 6 else ())
    if "knn" in goals:
        for kind in ("clustered", "real"):
            for single in (False, True):
                case = Case("knn", kind, n, 64, k=K, single=single)
                yield from with_peers([case], () if single else ALL_PEERS)
    if "long" in goals:
        for kind in ("clustered", "uniform"):
            for single in (False, True):
                cases = [
                    Case("long", kind, n, 128, 24, single=single),
                    Case("long", kind, bench.size(5_000_000), 256, 31, single=single),
                ]
                yield from with_peers(cases, () if single else ("multihash", "pynear-mih"))
    if "huge" in goals:
        for single in (False, True):
            yield Case("huge", "clustered", bench.size(100_000_000), 64, 6, single=single)


def build(bench: Bench) -> None:
    """Codes a second and bytes a code."""
    n = bench.size(TEN_MILLION)
    for kind in KINDS:
        codes, _ = bench.load(kind, n, 64)
        codes = np.array(codes)
        what = f"hashret, {short(n)} {kind}, 64 bits"
        for threads in (1, 2):
            try:
                set_threads(threads)
            except Unavailable as reason:
                say(f"threads: {reason}")
                continue
            seconds = []
            for _ in range(3):
                ours = Hashret()
                ours.build(codes)
                seconds.append(ours.build_seconds)
            rate = n / float(np.median(seconds))
            bench.facts.append(
                Fact("build", f"{what}: build, {threads} threads", rate, "codes a second")
            )
        one_thread()
        ours = Hashret()
        case = Case("build", kind, n, 64)
        bench.note_build(case, ours, codes, None, "1 thread")
        del ours
        gc.collect()
        if kind == "clustered":
            for key in bench.peers:
                try:
                    peer = PEERS[key]()
                    bench.note_build(case, peer, codes, 6)
                except Unavailable as reason:
                    bench.facts.append(Fact("build", PEERS[key].name, None, "s", str(reason)))


def planner(bench: Bench) -> None:
    """Any data, any radius: never much slower than the better of two scans."""
    for n in dict.fromkeys(bench.size(size) for size in (1_000, 100_000, TEN_MILLION)):
        for kind in KINDS:
            codes, queries = bench.load(kind, n, 64)
            ours, flat = Hashret(), Flat()
            ours.build(codes)
            flat.build(codes)
            one_thread()
            results = []
            for radius in range(0, 65, 2):
                for single in (True, False):
                    case = Case("planner", kind, n, 64, radius, single=single)
                    results.append(_against_scans(bench, case, ours, flat, queries))
            bench.results += results
            for single in (True, False):
                worst = min(
                    (result for result in results if result.case.single == single),
                    key=lambda result: float(np.median(result.ratios)),
                )
                slower = 1 / float(np.median(worst.ratios))
                what = f"{worst.case.codes}, worst: {worst.case.query}"
                fact = Fact("planner", what, slower, f"x the time of {worst.other}", worst.plan)
                bench.facts.append(fact)
                say(fact.line())


def _against_scans(bench: Bench, case: Case, ours: Hashret, flat: Flat, queries: Codes) -> Result:
    """The times of hashret and those of the better scan."""
    radius = case.radius
    hits = len(flat.within(queries[:3], radius)[1]) / 3
    queries = queries[: int(np.clip(MOST_HITS / max(1, hits), 3, len(queries)))]
    sides = {
        "hashret": Side(lambda q: ours.within(q, radius), queries, case.single),
        "hashret's own scan": Side(
            lambda q: ours.within(q, radius),
            queries,
            case.single,
            lambda: force_plan("scan"),
            lambda: force_plan(None),
        ),
        "FAISS Flat": Side(lambda q: flat.within(q, radius), queries, case.single),
    }
    note = ""
    try:
        force_plan(None)
    except Unavailable as reason:
        del sides["hashret's own scan"]
        note = str(reason)
    counts = {name: affordable(side, 0.05) for name, side in sides.items()}
    least = min(len(side.queries) for side in counts.values())
    for side in sides.values():
        # The same queries for all: their numbers of hits differ.
        side.queries = queries[:least]
    checked = check_within(
        ours.within(queries[:least], radius), flat.within(queries[:least], radius)
    )
    times = dict(zip(sides, take_turns(list(sides.values()), bench.rounds), strict=True))
    own = times.pop("hashret")
    other = min(times, key=lambda name: float(np.median(times[name])))
    plan = plan_of(ours, case, queries[:3])
    return Result(case, other, own, times[other], hits, checked, (least, least), plan, note)


def threads(bench: Bench) -> None:
    """A batch on two cores against one."""
    n = bench.size(TEN_MILLION)
    for kind, questions in (
        ("clustered", [{"radius": 6}, {"radius": 10}, {"radius": 20}, {"k": K}]),
        ("real", [{"radius": 2}, {"k": K}]),
    ):
        codes, queries = bench.load(kind, n, 64)
        ours = Hashret()
        ours.build(codes)
        for question in questions:
            case = Case("threads", kind, n, 64, **question)
            run = ask(ours, case)
            try:
                set_threads(1)
            except Unavailable as reason:
                bench.results.append(Result(case, "hashret, 1 thread", note=str(reason)))
                continue
            few = affordable(Side(run, queries), 4 * bench.budget).queries
            sides = [Side(run, few, before=lambda t=t: set_threads(t)) for t in (2, 1)]
            hits = _check_threads(sides)
            two, one = take_turns(sides, bench.rounds)
            plan = plan_of(ours, case, queries)
            m = len(few)
            result = Result(case, "hashret, 1 thread", two, one, hits / m, m, (m, m), plan)
            bench.results.append(result)
            say(result.line())
    one_thread()


def _check_threads(sides: list[Side]) -> int:
    """Compare the answers on two threads and on one; return the number of hits."""
    answers = []
    for side in sides:
        side.before()
        answers.append(side.run(side.queries))
    if not all(np.array_equal(*parts) for parts in zip(*answers, strict=True)):
        raise SystemExit("hashret finds something else on two threads than on one.")
    return answers[0][1].size


def join(bench: Bench) -> None:
    """All pairs of codes within two bits."""
    n, radius = bench.size(1_000_000), 2
    codes, _ = bench.load("real", n, 64)
    ours, flat = Hashret(), Flat()
    ours.build(codes)
    flat.build(codes)
    one_thread()
    case = Case("join", "real", n, 64, radius)
    if not hasattr(ours.index, "pairs"):
        bench.results.append(Result(case, flat.name, note="this hashret joins no pairs"))
        return
    rows = np.sort(np.random.default_rng(bench.seed).choice(n, min(n, JOIN_SAMPLE), replace=False))
    sample = np.array(codes[rows])
    n_pairs = _check_join(ours, flat, radius, rows, sample, n)

    def all_pairs(_: Codes) -> int:
        return sum(len(block.distances) for block in ours.index.pairs(radius))

    sides = [
        Side(all_pairs, sample[:1]),
        Side(lambda queries: flat.within(queries, radius), sample),
    ]
    own, per_query = take_turns(sides, 3)
    whole = [seconds * n for seconds in per_query]
    bench.results.append(
        Result(
            case,
            f"{flat.name}, {len(rows)} codes, scaled to all",
            own,
            whole,
            n_pairs,
            len(rows),
            (n, len(rows)),
            "self-join",
            "times and hits of the whole join, each pair once",
        )
    )


def _check_join(
    ours: Hashret, flat: Flat, radius: int, rows: np.ndarray, sample: Codes, n: int
) -> int:
    """Compare the pairs of a few rows; return how many pairs there are in all."""
    wanted = np.zeros(n, dtype=bool)
    wanted[rows] = True
    found, n_pairs = [], 0
    for block in ours.index.pairs(radius):
        a, b, distances = (np.asarray(x) for x in (block.rows_a, block.rows_b, block.distances))
        if not (a < b).all():
            raise SystemExit("A pair of the join is not in ascending order.")
        n_pairs += len(a)
        for one, other in ((a, b), (b, a)):
            keep = wanted[one]
            found.append(np.column_stack([one[keep], other[keep], distances[keep]]))
    pairs = np.concatenate(found)
    lims, others, distances = flat.within(sample, radius)
    theirs = np.column_stack([np.repeat(rows, np.diff(lims.astype(np.int64))), others, distances])
    theirs = theirs[theirs[:, 0] != theirs[:, 1]]
    if not np.array_equal(*(p[np.lexsort((p[:, 1], p[:, 0]))] for p in (pairs, theirs))):
        raise SystemExit("The join and Flat found different pairs.")
    return n_pairs


FUNCTIONS: dict[str, Callable[[Bench], None]] = {
    "build": build,
    "planner": planner,
    "threads": threads,
    "join": join,
}
GOALS = ("batch", "single", "knn", "long", "huge", *FUNCTIONS)
