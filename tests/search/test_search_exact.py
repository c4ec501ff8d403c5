"""Whatever the codes, the question and the way taken: the answers of brute force."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from search_oracle import (
    KINDS,
    THREADS,
    WAYS,
    answer,
    answers,
    brute_force,
    going,
    make_codes,
    make_layout,
    make_queries,
    split,
)

from hashret.codes import hamming
from hashret.search import CodeIndex, planner, search_many, search_segments
from hashret.search.building import build_segment
from hashret.search.layout import Layout

BUSY = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
"""On a busy machine anything may take long."""
SEEDS = st.integers(0, 2**32 - 1)
WORD_SECONDS = st.sampled_from([1e-9, 1e-8, 1e-7, 1e-6])


@pytest.fixture(autouse=True)
def tables_for_all(monkeypatch):
    monkeypatch.setattr(planner, "TABLE_FROM_WORDS", 0)


@st.composite
def code_sets(draw, most=400, some=0):
    kind = draw(st.sampled_from(KINDS))
    n_bits = 8 * draw(st.one_of(st.integers(1, 17), st.integers(1, 128)))
    n = draw(st.one_of(st.integers(some, 5), st.integers(some, most)))
    return make_codes(kind, n, n_bits, draw(SEEDS))


@st.composite
def row_sets(draw, n):
    """Rows as they come, with gaps, from a base, over more than 2**32, up to the last possible."""
    kind = draw(st.sampled_from(["default", "gaps", "base", "wide", "top"]))
    if kind == "default":
        return None
    random = np.random.default_rng(draw(SEEDS))
    span = {"gaps": 3 * n + 20, "wide": 2**40}.get(kind, 2**20)
    rows = np.unique(random.integers(0, span, 2 * n + 5))
    rows = np.sort(random.choice(rows, n, replace=False)) if len(rows) >= n else np.arange(n)
    if kind in ("base", "top") and n:
        rows += 2**33 + 5 if kind == "base" else 2**52 - 1 - rows[-1]
    return rows


@st.composite
def layouts(draw, n_bits):
    """Any order of bits, and parts of any widths; not all bits need to be in a part."""
    n_words = 1 if n_bits <= 32 else -(-n_bits // 64)
    widths = []
    for word in range(n_words):
        room = n_bits // n_words + (word < n_bits % n_words)
        own = draw(st.lists(st.integers(1, 12), min_size=1 - min(word, 1), max_size=8))
        if draw(st.integers(0, 9)) == 0:
            own = [1] * room
        kept = [width for i, width in enumerate(own) if sum(own[: i + 1]) <= room]
        widths.append(kept or [min(room, 12)])
    order = np.random.default_rng(draw(SEEDS)).permutation(n_bits).tolist()
    return make_layout(order, widths)


@st.composite
def masks(draw, rows):
    """Nothing, or which rows are allowed: few, many, all, none, or fewer than there are."""
    share = draw(st.sampled_from([None, 0.0, 0.02, 0.5, 1.0]))
    if share is None:
        return None
    end = int(rows[-1]) + 1 if len(rows) and rows[-1] < 2**21 else 1000
    size = draw(st.sampled_from([0, 1, end // 2, end, end + 9]))
    return np.random.default_rng(draw(SEEDS)).random(size) < share


@dataclass
class Question:
    codes: Any
    rows: Any
    layout: Any
    queries: Any
    radius: int | None
    limit: int | None
    allowed: Any
    packed: bool

    def expected(self):
        return [
            brute_force(self.codes, query, self.radius, self.limit, self.rows, self.allowed)
            for query in self.queries
        ]

    def given(self):
        return (
            np.packbits(self.allowed) if self.packed and self.allowed is not None else self.allowed
        )


@st.composite
def questions(draw):
    codes = draw(code_sets())
    n, n_bits = len(codes), 8 * codes.shape[1]
    rows = draw(row_sets(n))
    n_queries = draw(st.sampled_from([0, 1, 2, 5, 35, 70]))
    radius = draw(st.one_of(st.none(), st.integers(0, 9), st.integers(0, n_bits + 2)))
    limit = draw(st.one_of(st.integers(1, 5), st.integers(1, n + 5), st.just(10**12)))
    if radius is not None and draw(st.booleans()):
        limit = None
    return Question(
        codes,
        rows,
        draw(st.one_of(st.none(), layouts(n_bits))),
        make_queries(codes, n_queries, draw(SEEDS)),
        radius,
        limit,
        draw(masks(np.arange(n) if rows is None else rows)),
        draw(st.booleans()),
    )


@settings(BUSY, max_examples=120)
@given(question=questions(), word_seconds=WORD_SECONDS, threads=st.sampled_from([*THREADS]))
def test_every_way_gives_what_brute_force_gives(question, word_seconds, threads):
    segment = build_segment(question.codes, question.rows, question.layout)
    expected = question.expected()
    n, n_bits = len(segment), segment.layout.n_bits
    for way in WAYS:
        with going(way, word_seconds), THREADS[threads]():
            index = CodeIndex(segment)
            found = search_many(
                [index], question.queries, question.radius, question.limit, question.given()
            )
            assert answers(found) == expected, way
            if question.allowed is not None:
                continue
            if question.limit is None:
                assert split(*index.within(question.queries, question.radius)) == expected, way
            elif question.radius is None or question.radius >= n_bits:
                distances, rows = index.nearest(question.queries, question.limit)
                assert (distances.dtype, rows.dtype) == (np.int32, np.int64)
                assert distances.shape == (len(question.queries), min(question.limit, n))
                pairs = zip(rows.tolist(), distances.tolist(), strict=True)
                assert [*pairs] == expected, way


@pytest.mark.parametrize("n_bits", [8, 24, 32, 40, 64, 72, 128, 200, 256, 1024])
@pytest.mark.parametrize("kind", ["uniform", "clustered", "equal"])
def test_common_lengths(way, n_bits, kind):
    codes = make_codes(kind, 700, n_bits)
    queries = make_queries(codes, 6)
    index = CodeIndex.build(codes)
    for radius in (0, 1, 4, n_bits // 4, n_bits):
        expected = [brute_force(codes, query, radius) for query in queries]
        assert split(*index.within(queries, radius)) == expected
    for k in (1, 7, 700, 900):
        distances, rows = index.nearest(queries, k)
        expected = [brute_force(codes, query, None, k) for query in queries]
        assert [*zip(rows.tolist(), distances.tolist(), strict=True)] == expected
    for radius, limit in [(3, 4), (n_bits // 3, 50)]:
        expected = [brute_force(codes, query, radius, limit) for query in queries]
        assert answers(search_many([index], queries, radius, limit)) == expected
    assert answer(index.search(queries[1], 3, 4)) == brute_force(codes, queries[1], 3, 4)


@pytest.mark.parametrize("n_bits", [768, 1024])
@pytest.mark.parametrize("n", [300, 3000])
def test_codes_so_long_that_they_have_more_than_64_parts(way, n_bits, n):
    codes = make_codes("clustered", n, n_bits)
    index = CodeIndex.build(codes)
    assert len(index.segment.layout.parts) > 64
    rng = np.random.default_rng(0)
    queries = codes[5:40] ^ np.packbits(rng.random((35, n_bits)) < 0.03, axis=1)
    expected = [brute_force(codes, query, 100) for query in queries]
    assert split(*index.within(queries, 100)) == expected
    assert answers(search_many([index], queries, 100, 3)) == [
        (rows[:3], distances[:3]) for rows, distances in expected
    ]


def test_a_part_for_each_bit(way):
    codes = make_codes("clustered", 90, 1024)
    layout = make_layout(range(1024), [[1] * 64] * 16)
    index = CodeIndex(build_segment(codes, layout=layout))
    queries = make_queries(codes, 34)
    assert split(*index.within(queries, 30)) == [brute_force(codes, one, 30) for one in queries]
    expected = [brute_force(codes, query, None, 5) for query in queries]
    assert answers(search_many([index], queries, limit=5)) == expected


@pytest.mark.parametrize("n_queries", [31, 32, 33, 64, 65])
def test_blocks_of_queries_join_without_a_seam(way, n_queries):
    codes = make_codes("clustered", 2000, 64)
    queries = make_queries(codes, n_queries)
    index = CodeIndex.build(codes)
    assert split(*index.within(queries, 5)) == [brute_force(codes, one, 5) for one in queries]
    expected = [brute_force(codes, query, None, 3) for query in queries]
    assert answers(search_many([index], queries, limit=3)) == expected


@pytest.mark.parametrize("repeats", [255, 1023, 1024, 1025, 5000])
def test_one_crowded_bucket_among_queries_with_few_hits(way, repeats):
    """More candidates than are on their way at once, and more hits than room was made for."""
    codes = make_codes("uniform", 6000, 64)
    codes[:repeats] = codes[0]
    queries = codes[[5999, 0, 5998, 1]].copy()
    index = CodeIndex.build(codes)
    for radius in (0, 2):
        expected = [brute_force(codes, query, radius) for query in queries]
        assert split(*index.within(queries, radius)) == expected
    expected = [brute_force(codes, query, None, 1200) for query in queries]
    assert answers(search_many([index], queries, limit=1200)) == expected


@pytest.mark.parametrize("limit", [1, 2, 63, 64, 65, 3000, 8193])
def test_ties_at_the_cut_go_to_the_lower_rows(way, limit):
    codes = make_codes("few ones", 9000, 16)
    index = CodeIndex.build(codes, rows=np.arange(5, 27005, 3))
    for query in make_queries(codes, 3):
        expected = brute_force(codes, query, None, limit, index.rows_and_codes()[0])
        assert answer(index.search(query, limit=limit)) == expected


@pytest.mark.parametrize("gap", [1, 7, 8, 9, 40, 2**20])
def test_everything_is_in_order_however_dense_the_rows(way, gap):
    codes = make_codes("clustered", 5000, 64)
    rows = np.arange(5000) * gap + 11
    index = CodeIndex.build(codes, rows=rows)
    queries = codes[[0, 17]].copy()
    for radius in (20, 32, 64):
        expected = [brute_force(codes, query, radius, None, rows) for query in queries]
        assert split(*index.within(queries[:1], radius)) == expected[:1]
        assert split(*index.within(queries, radius)) == expected


def test_all_of_many_codes_come_in_order(way):
    codes = make_codes("uniform", 20_000, 64)
    index = CodeIndex.build(codes)
    assert split(*index.within(codes[0], 64)) == [brute_force(codes, codes[0], 64)]
    assert answer(index.search(codes[0], limit=20_000)) == brute_force(codes, codes[0])


@settings(BUSY, max_examples=60)
@given(
    codes=code_sets(most=60, some=1),
    seed=SEEDS,
    radius=st.integers(0, 60),
    k=st.integers(1, 70),
    word_seconds=WORD_SECONDS,
    data=st.data(),
)
def test_what_must_hold_between_answers(codes, seed, radius, k, word_seconds, data):
    """Answers follow what is done to codes and query, whatever way either question takes."""

    def ask(codes, query, radius=None, limit=None):
        with going(data.draw(st.sampled_from(WAYS)), word_seconds):
            return answer(CodeIndex.build(codes).search(query, radius, limit))

    n, n_bytes = codes.shape
    rng = np.random.default_rng(seed)
    query = make_queries(codes, 3, seed)[seed % 3]
    near, nearest = ask(codes, query, radius), ask(codes, query, None, k)

    mask = rng.integers(0, 256, n_bytes, dtype=np.uint8)
    assert ask(codes ^ mask, query ^ mask, radius) == near
    assert ask(codes ^ mask, query ^ mask, None, k) == nearest

    bits = rng.permutation(8 * n_bytes)
    permuted = np.packbits(np.unpackbits(codes, axis=1)[:, bits], axis=1)
    permuted_query = np.packbits(np.unpackbits(query)[bits])
    assert ask(permuted, permuted_query, radius) == near
    assert ask(permuted, permuted_query, None, k) == nearest

    order = rng.permutation(n)
    rows, distances = ask(codes[order], query, radius)
    original = sorted(zip(distances, order[rows].tolist(), strict=True))
    assert original == [*zip(near[1], near[0], strict=True)]

    wider = ask(codes, query, radius + 1)
    assert (wider[0][: len(near[0])], wider[1][: len(near[1])]) == near
    assert all(distance == radius + 1 for distance in wider[1][len(near[1]) :])
    everything = ask(codes, query, 8 * n_bytes)
    assert nearest == (everything[0][:k], everything[1][:k])
    assert ask(codes, query, radius, k) == (near[0][:k], near[1][:k])

    # The same distance both ways.
    other = codes[data.draw(st.integers(0, n - 1))]
    (there,) = ask(other[None], query, 8 * n_bytes)[1]
    assert ask(query[None], other, 8 * n_bytes)[1] == [there] == [int(hamming(query, other))]


@settings(BUSY, max_examples=50)
@given(question=questions(), word_seconds=WORD_SECONDS, n_parts=st.integers(1, 5), data=st.data())
def test_segments_answer_as_one_index(question, word_seconds, n_parts, data):
    """Cut into segments of any sizes and layouts, some empty and some without tables."""
    rows = np.arange(len(question.codes)) if question.rows is None else question.rows
    owner = np.random.default_rng(data.draw(SEEDS)).integers(n_parts, size=len(rows))
    if data.draw(st.booleans()):
        owner[: len(rows) // 2] = 0
    segments = []
    for part in range(n_parts + 1):
        own = question.codes[owner == part]
        n_bits = 8 * own.shape[1]
        kind = data.draw(st.sampled_from(["plain", "chosen", "any"]))
        layout = {"plain": Layout.plain(n_bits), "any": question.layout}.get(kind)
        segments.append(CodeIndex(build_segment(own, rows[owner == part], layout)))
    expected = question.expected()
    asked = question.radius, question.limit, question.given()
    for way in data.draw(st.permutations(WAYS))[:4]:
        with going(way, word_seconds):
            assert answers(search_many(segments, question.queries, *asked)) == expected, way
            for query, own in zip(question.queries[:1], expected, strict=False):
                assert answer(search_segments(segments, query, *asked)) == own, way


@settings(BUSY, max_examples=30)
@given(
    question=questions(),
    word_seconds=WORD_SECONDS,
    way=st.sampled_from(WAYS),
    cut=st.integers(0, 70),
)
def test_neither_threads_nor_batches_change_an_answer(question, word_seconds, way, cut):
    segment = build_segment(question.codes, question.rows, question.layout)
    expected = question.expected()
    asked = question.radius, question.limit, question.given()
    for threads in THREADS.values():
        with going(way, word_seconds), threads():
            index = CodeIndex(segment)
            for queries, own in [
                (question.queries, expected),
                (question.queries[:cut], expected[:cut]),
                (question.queries[cut:], expected[cut:]),
            ]:
                assert answers(search_many([index], queries, *asked)) == own


def test_limits_beyond_what_heaps_have_room_for_at_once(way, monkeypatch):
    monkeypatch.setattr("hashret.search.searching.HEAP_HITS", 100)
    codes = make_codes("clustered", 400, 64)
    queries = make_queries(codes, 20)
    indexes = [CodeIndex.build(codes[:150]), CodeIndex.build(codes[150:], rows=range(150, 400))]
    for limit in (1, 15, 30, 100, 101, 390):
        expected = [brute_force(codes, query, None, limit) for query in queries]
        assert answers(search_many(indexes, queries, limit=limit)) == expected
