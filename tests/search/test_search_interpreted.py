"""Searching a segment with NumPy alone: exact, whichever way is taken, and damage is noticed."""

import dataclasses
import subprocess
import sys
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hashret.codes import hamming
from hashret.errors import DamagedIndexError
from hashret.search import interpreted, interpreted_plan, planner, scan
from hashret.search.building import build_segment
from hashret.search.found import Ranking, unpack_hits
from hashret.search.interpreted_plan import Plan
from hashret.search.layout import Layout

KINDS = ["uniform", "clustered", "equal"]
ALL = np.empty(0, dtype=np.uint8)


def make_codes(kind, n, n_bits, seed=0):
    rng = np.random.default_rng(seed)
    codes = rng.integers(0, 256, (n, n_bits // 8), dtype=np.uint8)
    if kind == "clustered" and n:
        codes = codes[rng.integers(0, max(1, n // 30), n)]
        codes ^= np.packbits(rng.random((n, n_bits)) < 0.05, axis=1)
    elif kind == "equal":
        codes[:] = codes[:1]
    return codes


def make_queries(codes, seed=1):
    """Codes that are there, some a few bits away, and random ones."""
    rng = np.random.default_rng(seed)
    near = codes[2:4] ^ np.packbits(rng.random((2, 8 * codes.shape[1])) < 0.02, axis=1)
    return np.concatenate([codes[:2], near, rng.integers(0, 256, near.shape, dtype=np.uint8)])


def make_segment(codes, rows=None):
    return build_segment(codes, rows, Layout.choose(len(codes), 8 * codes.shape[1], codes))


def brute_force(codes, query, radius=None, limit=None, rows=None, allowed=None):
    """Rows and distances by comparing everything, ordered by distance, then row."""
    rows = np.arange(len(codes)) if rows is None else np.asarray(rows)
    distances = hamming(codes, query)
    order = np.lexsort((rows, distances))
    if radius is not None:
        order = order[distances[order] <= radius]
    if allowed is not None:
        order = order[[row < len(allowed) and bool(allowed[row]) for row in rows[order]]]
    order = order[:limit]
    return rows[order].tolist(), distances[order].tolist()


def search(segments, queries, radius=None, limit=None, allowed=ALL):
    """The answers of some segments to each query, and the traces of the last."""
    bound = 8 * queries.shape[1] if radius is None else radius
    rankings = [Ranking(bound, limit) for _ in queries]
    for segment in segments:
        words = segment.layout.to_words(queries)
        traces = interpreted.search(segment, words, rankings, allowed)
    answers = [unpack_hits(ranking.hits()) for ranking in rankings]
    return [(rows.tolist(), distances.tolist()) for rows, distances in answers], traces


@pytest.fixture
def prices(monkeypatch):
    """Seconds that tests of planning rely on."""
    monkeypatch.setattr(planner, "SHELL_SECONDS", 20e-6)
    monkeypatch.setattr(planner, "PROBE_SECONDS", 10e-9)
    monkeypatch.setattr(planner, "CANDIDATE_SECONDS", 20e-9)
    monkeypatch.setattr(planner, "scan_seconds", lambda _n, _n_words, n_queries: 4e-4 * n_queries)


@pytest.fixture(params=["tables", "scan", "faiss", "planned"])
def way(request, monkeypatch):
    """One way of answering; the planned one has costs that mix them."""
    forced = {"planned": None, "faiss": "scan"}.get(request.param, request.param)
    monkeypatch.setattr(planner, "forced", forced)
    monkeypatch.setattr(planner, "scans_with_faiss", lambda *_: request.param == "faiss")
    if request.param == "planned":
        monkeypatch.setattr(planner, "SHELL_SECONDS", 1e-7)
        monkeypatch.setattr(
            planner, "scan_seconds", lambda _n, _n_words, n_queries: 5e-6 * n_queries
        )
    return request.param


ASKED = [(0, None), (2, None), (9, None), (None, 1), (None, 7), (None, 900), (3, 4), (200, 50)]


@pytest.mark.parametrize("n_bits", [8, 16, 24, 32, 40, 64, 72, 128, 256, 512, 1024])
@pytest.mark.parametrize("kind", KINDS)
def test_answers_equal_those_of_comparing_everything(way, kind, n_bits):
    codes = make_codes(kind, 700, n_bits)
    segment = make_segment(codes)
    queries = make_queries(codes)
    mask = np.random.default_rng(2).random(600) < 0.3
    for radius, limit in ASKED:
        if radius is not None:
            radius = min(radius, n_bits)
        for allowed in (None, mask):
            bitmap = ALL if allowed is None else np.packbits(allowed)
            answers, traces = search([segment], queries, radius, limit, bitmap)
            for query, answer, trace in zip(queries, answers, traces, strict=True):
                assert answer == brute_force(codes, query, radius, limit, None, allowed)
                if way == "tables":
                    assert trace.plan.startswith("tables, radius 0")
                    assert "scan" not in trace.plan
                elif way != "planned":
                    assert (trace.plan, trace.candidates) == ("scan", 700)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_any_shape(data):
    n_bits = data.draw(st.sampled_from([8, 16, 24, 32, 40, 64, 72, 136, 200]))
    n = data.draw(st.integers(0, 300))
    codes = make_codes(data.draw(st.sampled_from(KINDS)), n, n_bits, data.draw(st.integers(0, 9)))
    step = data.draw(st.sampled_from([1, 3, 1 << 33]))
    rows = np.arange(n) * step + data.draw(st.sampled_from([0, 5, 1 << 40]))
    radius = data.draw(st.none() | st.integers(0, n_bits))
    limit = data.draw(st.integers(1, 400) if radius is None else st.none() | st.integers(1, 400))
    rng = np.random.default_rng(data.draw(st.integers(0, 9)))
    allowed = data.draw(st.sampled_from([None, 1, 50, 2000]))
    mask = None if allowed is None else rng.random(allowed) < 0.5
    queries = rng.integers(0, 256, (data.draw(st.integers(0, 10)), n_bits // 8), dtype=np.uint8)
    queries[: n // 2] = codes[: n // 2][: len(queries)]
    bitmap = ALL if mask is None else np.packbits(mask)
    cut = data.draw(st.integers(0, n))
    segments = [make_segment(codes[own], rows[own]) for own in (slice(cut), slice(cut, n))]
    plan = data.draw(st.sampled_from([None, "scan", "tables"]))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(planner, "forced", plan)
        patch.setattr(planner, "SHELL_SECONDS", 1e-7)
        patch.setattr(interpreted, "CANDIDATE_WORDS", data.draw(st.sampled_from([1, 64, 1 << 20])))
        answers, _ = search(segments, queries, radius, limit, bitmap)
    for query, answer in zip(queries, answers, strict=True):
        assert answer == brute_force(codes, query, radius, limit, rows, mask)


def test_flips_are_all_numbers_with_so_many_bits_ascending():
    for width in range(1, 9):
        for flips in range(width + 1):
            expected = sorted(
                sum(some) for some in combinations([1 << i for i in range(width)], flips)
            )
            assert interpreted_plan._flips(width, flips).tolist() == expected


def test_a_radius_takes_one_round_of_the_cheapest_shells(prices):
    codes = make_codes("uniform", 4000, 64)
    segment = make_segment(codes)
    plan = Plan.begin(segment, segment.words[0]).ahead(12, 1.0)
    assert sum(1 for _ in plan.shells) == 13
    assert (plan.reach, plan.candidates > 0) == (12, True)
    dearest = max(shell.seconds for shell in plan.shells)
    assert all(shell.seconds >= dearest for shell in plan.following)


def test_a_plan_stops_where_the_room_ends(prices):
    segment = make_segment(make_codes("uniform", 4000, 64))
    begun = Plan.begin(segment, segment.words[0])
    whole = begun.ahead(20, 1.0)
    part = begun.ahead(20, whole.seconds / 2)
    assert part.seconds <= whole.seconds / 2
    assert 0 <= part.reach < whole.reach
    assert len(begun.ahead(20, 0.0).shells) == 1
    assert part.ahead(20, 1.0).seconds + part.seconds == pytest.approx(
        whole.seconds + planner.SHELL_SECONDS
    )


def test_a_full_bucket_among_empty_ones_does_not_deter(prices):
    """Guesses take the surroundings of a full bucket for full; samples tell better."""
    codes = make_codes("uniform", 60_000, 64)
    codes[:30_000] = codes[0]
    segment = make_segment(codes)
    query = segment.layout.to_words(codes[:1])[0]
    guessed = Plan.begin(segment, query).ahead(8, 1.0)
    sampled = Plan.begin(segment, query).sampled().ahead(8, 1.0)
    _, sizes = sampled.look_up()
    assert sampled.candidates == pytest.approx(sizes.sum(), rel=0.3)
    assert guessed.candidates > 2 * sampled.candidates


def test_costs_that_look_high_are_sampled_before_tables_are_given_up(prices, monkeypatch):
    codes = make_codes("uniform", 60_000, 64)
    codes[:6000] = codes[0]
    segment = make_segment(codes)
    query = segment.layout.to_words(codes[:1])[0]
    assert Plan.begin(segment, query).ahead(8, 1.0).seconds > 4e-4
    rounds = []
    look_up = Plan.look_up
    monkeypatch.setattr(Plan, "look_up", lambda plan: rounds.append(plan) or look_up(plan))
    answers, (trace,) = search([segment], codes[:1], radius=8)
    assert answers == [brute_force(codes, codes[0], 8)]
    assert trace.plan == "tables, radius 0 to 8"
    assert len(rounds) == 1


def test_a_part_whose_buckets_all_were_looked_up_has_led_to_every_code(prices):
    segment = make_segment(make_codes("equal", 5, 64))
    width = segment.layout.parts[0, 2]
    plan = Plan.begin(segment, segment.words[0]).ahead(64, 1.0)
    assert plan.reach == 64
    assert len(plan.shells) <= len(segment.layout.parts) * width + 1
    assert max(shell.flips for shell in plan.shells) == width


def test_a_wide_radius_is_left_to_a_scan_at_once(prices):
    codes = make_codes("uniform", 50_000, 64)
    answers, (trace,) = search([make_segment(codes)], codes[:1], radius=30)
    assert answers == [brute_force(codes, codes[0], 30)]
    assert (trace.plan, trace.probes, trace.candidates) == ("scan", 0, 50_000)
    assert trace.estimated_seconds == 4e-4


def test_nearest_start_in_tables_and_may_end_in_a_scan(prices):
    codes = make_codes("uniform", 100_000, 64)
    segment = make_segment(codes)
    query = make_queries(codes)[-1:]
    answers, (trace,) = search([segment], query, limit=20)
    assert answers == [brute_force(codes, query[0], None, 20)]
    assert trace.plan.startswith("tables, radius 0")
    assert trace.plan.endswith(", then scan")
    assert trace.probes > 0
    assert trace.candidates > 100_000
    assert 4e-4 < trace.estimated_seconds < 8e-4


def test_more_codes_in_the_buckets_than_expected_are_left_to_a_scan(prices, monkeypatch):
    codes = make_codes("uniform", 50_000, 64)
    segment = make_segment(codes)
    codes_met = Plan.begin(segment, segment.words[0]).ahead(6, 1.0).candidates
    monkeypatch.setattr(Plan, "candidates", property(lambda _: codes_met - 1e6))
    answers, (trace,) = search([segment], codes[:1], radius=6)
    assert answers == [brute_force(codes, codes[0], 6)]
    assert trace.plan == "scan"
    assert trace.probes > 0


@pytest.mark.parametrize("n_queries", [1, 20])
def test_few_allowed_codes(way, n_queries):
    codes = make_codes("clustered", 3000, 64)
    mask = np.random.default_rng(3).random(3000) < 0.02
    answers, traces = search([make_segment(codes)], codes[:n_queries], None, 5, np.packbits(mask))
    for query, answer in zip(codes[:n_queries], answers, strict=True):
        assert answer == brute_force(codes, query, None, 5, None, mask)
    if way in ("scan", "faiss") and n_queries == 20:
        assert {trace.candidates for trace in traces} == {np.count_nonzero(mask)}


def test_blocks_of_codes_and_queries_join_without_a_seam(way, monkeypatch):
    monkeypatch.setattr(scan, "FIRST_BLOCK", 3)
    monkeypatch.setattr(scan, "GROWTH", 2)
    monkeypatch.setattr(scan, "NUMPY_BLOCK", 64)
    monkeypatch.setattr(scan, "FAISS_BLOCK", 64)
    monkeypatch.setattr(scan, "QUERY_BLOCK", 2)
    monkeypatch.setattr(interpreted, "CANDIDATE_WORDS", 5)
    codes = make_codes("clustered", 500, 64)
    for radius, limit in [(3, None), (None, 20), (40, 100)]:
        answers, _ = search([make_segment(codes)], codes[:9], radius, limit)
        for query, answer in zip(codes[:9], answers, strict=True):
            assert answer == brute_force(codes, query, radius, limit)


def test_without_tables_everything_is_scanned(way):
    codes = make_codes("clustered", 300, 64)
    segment = build_segment(codes, None, Layout.plain(64))
    answers, (trace,) = search([segment], codes[:1], 3)
    assert answers == [brute_force(codes, codes[0], 3)]
    assert trace.plan == "scan"


def test_scanning_with_faiss_leaves_its_threads_as_they_were(monkeypatch):
    import faiss

    monkeypatch.setattr(planner, "forced", "scan")
    monkeypatch.setattr(planner, "scans_with_faiss", lambda *_: True)
    codes = make_codes("uniform", 500, 64)
    segment = make_segment(codes)
    before = faiss.omp_get_max_threads()
    try:
        for threads in (2, 3):
            faiss.omp_set_num_threads(threads)
            answers, _ = search([segment], codes[:80], limit=4)
            assert answers == [brute_force(codes, query, None, 4) for query in codes[:80]]
            search([segment], codes[:1], limit=4)
            assert faiss.omp_get_max_threads() == threads
    finally:
        faiss.omp_set_num_threads(before)


def altered(segment, name, change):
    """The segment with one array changed."""
    array = getattr(segment, name).copy()
    change(array)
    return dataclasses.replace(segment, **{name: array})


def descend(offsets):
    offsets[:] = np.arange(len(offsets))[::-1] % 100


def fill(value):
    def change(array):
        array[:] = value

    return change


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("offsets", fill(2**32 - 1)),
        ("offsets", fill(2001)),
        ("offsets", descend),
        ("positions", fill(2000)),
        ("positions", fill(2**32 - 1)),
        ("rows", fill(2000)),
        ("rows", fill(2**32 - 1)),
    ],
)
@pytest.mark.parametrize(("radius", "limit"), [(9, None), (None, 30)])
def test_altered_numbers_mean_damage(monkeypatch, name, change, radius, limit):
    monkeypatch.setattr(planner, "forced", "tables")
    codes = make_codes("clustered", 2000, 64)
    segment = altered(make_segment(codes), name, change)
    with pytest.raises(DamagedIndexError, match=rf"{name}\.npy .*build it again"):
        search([segment], codes[:1], radius, limit)


@pytest.mark.parametrize("row", [-1, -(2**63), 2**62, 2000 << 33])
@pytest.mark.parametrize("plan", ["tables", "scan"])
@pytest.mark.parametrize("n_queries", [1, 20])
def test_altered_wide_rows_mean_damage(monkeypatch, row, plan, n_queries):
    monkeypatch.setattr(planner, "forced", plan)
    codes = make_codes("clustered", 2000, 64)
    segment = make_segment(codes, np.arange(2000) << 33)
    assert segment.rows.dtype == np.int64
    segment = altered(segment, "rows", fill(row))
    for allowed in (ALL, np.full(1, 255, dtype=np.uint8)):
        try:
            answers, _ = search([segment], codes[:n_queries], 9, allowed=allowed)
        except DamagedIndexError as error:
            assert "rows.npy" in str(error)
        else:
            assert len(allowed)
            assert answers == [([], [])] * n_queries


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_random_damage_never_crashes(data):
    codes = make_codes("clustered", 400, 64)
    name = data.draw(st.sampled_from(["offsets", "positions", "rows"]))
    rng = np.random.default_rng(data.draw(st.integers(0, 1000)))

    def change(array):
        places = rng.integers(0, len(array), 1 + len(array) // 50)
        array[places] = rng.integers(0, 1 << rng.integers(1, 33), len(places), dtype=np.uint32)

    segment = altered(make_segment(codes), name, change)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(planner, "forced", data.draw(st.sampled_from([None, "tables", "scan"])))
        try:
            search([segment], codes[:3], 9, data.draw(st.none() | st.just(10)))
        except DamagedIndexError as error:
            assert f"{name}.npy" in str(error)


def test_nothing_is_compiled():
    program = "import sys, hashret.search.interpreted; sys.exit('numba' in sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True)
