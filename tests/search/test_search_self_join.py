"""Pairs within a radius: what comparing each code with every other gives, each pair once."""

from itertools import islice

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from search_oracle import clustered, uniform

from hashret.errors import DamagedIndexError, UsageError
from hashret.search import join_parts, self_join
from hashret.search.building import build_segment
from hashret.search.join_parts import choose_parts
from hashret.search.layout import Layout
from hashret.search.segment import Segment
from hashret.search.self_join import pairs_of


def brute_force(codes, rows, radius):
    expected = set()
    for i in range(len(codes)):
        distances = np.bitwise_count(codes[i] ^ codes[i + 1 :]).sum(axis=1)
        near = np.flatnonzero(distances <= radius)
        own, others = np.full(len(near), rows[i]), rows[i + 1 + near]
        low, high = np.minimum(own, others), np.maximum(own, others)
        expected |= set(zip(low.tolist(), high.tolist(), distances[near].tolist(), strict=True))
    return expected


def check(blocks, expected, most=1 << 20):
    blocks = list(blocks)
    for block in blocks:
        assert 0 < len(block) <= most
        assert len(block.rows_a) == len(block.rows_b) == len(block.distances)
        assert (block.rows_a.dtype, block.rows_b.dtype) == (np.int64, np.int64)
        assert block.distances.dtype == np.int32
    found = [
        pair
        for block in blocks
        for pair in zip(
            block.rows_a.tolist(), block.rows_b.tolist(), block.distances.tolist(), strict=True
        )
    ]
    assert len(set(found)) == len(found), "a pair came twice"
    assert set(found) == expected


@pytest.fixture
def parts(monkeypatch):
    """Sets the number of parts, which is else chosen by what it should cost."""

    def fix(n_parts):
        monkeypatch.setattr(self_join, "choose_parts", lambda *_: n_parts)

    return fix


@settings(deadline=None, max_examples=80)
@given(
    n=st.integers(0, 120),
    n_bits=st.sampled_from([8, 16, 24, 32, 40, 64, 72, 128, 200, 1024]),
    radius=st.integers(0, 9) | st.integers(0, 1100),
    more=st.integers(0, 4),
    flip=st.sampled_from([0.0, 0.01, 0.1, 0.5]),
    with_tables=st.booleans(),
    block=st.integers(1, 5000),
    seed=st.integers(0, 99),
)
def test_any_way_finds_what_brute_force_finds(
    n, n_bits, radius, more, flip, with_tables, block, seed
):
    codes = clustered(n, n_bits, seed, flip=flip)
    rows = np.sort(np.random.default_rng(seed).choice(10 * n + 1, n, replace=False)) + 1000
    layout = Layout.choose(n, n_bits, codes) if with_tables else Layout.plain(n_bits)
    segment = build_segment(codes, rows, layout)
    expected = brute_force(codes, rows, radius)
    within = min(radius, n_bits)
    n_parts = min(within + more, n_bits) if within < 10 else within
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(self_join, "choose_parts", lambda *_: n_parts)
        check(pairs_of([segment], radius, block_pairs=block), expected, block)


@pytest.mark.parametrize("n_bits", [8, 32, 64, 256])
@pytest.mark.parametrize("radius", [0, 1, 2, 5])
def test_the_chosen_way_finds_what_brute_force_finds(n_bits, radius):
    codes = np.concatenate([clustered(4000, n_bits, centres=300), uniform(1500, n_bits)])
    if n_bits == 8:
        codes = codes[:1500]
    check(pairs_of([build_segment(codes)], radius), brute_force(codes, np.arange(6000), radius))


@pytest.mark.parametrize("radius", [0, 3, 64])
@pytest.mark.parametrize("n_parts", [3, 5])
def test_large_groups_span_tiles_and_batches(monkeypatch, parts, radius, n_parts):
    monkeypatch.setattr(self_join, "_FOUND", self_join.TILE**2)
    parts(max(radius, n_parts))
    codes = clustered(1200, 64, centres=1, flip=0.02)
    expected = brute_force(codes, np.arange(1200), radius)
    check(pairs_of([build_segment(codes)], radius, block_pairs=10_000), expected, 10_000)


@pytest.mark.parametrize("radius", [0, 2, 64])
def test_equal_codes_are_all_pairs(radius):
    n = 700
    blocks = list(pairs_of([build_segment(np.full((n, 8), 9, np.uint8))], radius, block_pairs=1000))
    assert [len(block) for block in blocks[:-1]] == [1000] * (len(blocks) - 1)
    expected = {(i, j, 0) for i in range(n) for j in range(i + 1, n)}
    check(blocks, expected, 1000)


def test_equal_codes_stream():
    segment = build_segment(np.zeros((200_000, 8), np.uint8))  # 20 billion pairs
    for block in islice(pairs_of([segment], 2, block_pairs=50_000), 20):
        assert len(block) == 50_000
        assert np.all(block.rows_a < block.rows_b)


@pytest.mark.parametrize("n_parts", [2, 4])
def test_only_allowed_rows_are_paired(parts, n_parts):
    parts(n_parts)
    codes, rows = clustered(500, 64), np.arange(500) * 3
    segment = build_segment(codes, rows)
    mask = np.random.default_rng(1).random(1200) < 0.6
    keep = np.array([row < len(mask) and mask[row] for row in rows])
    expected = brute_force(codes[keep], rows[keep], 2)
    check(pairs_of([segment], 2, np.packbits(mask)), expected)
    check(pairs_of([segment], 2, np.zeros(1, np.uint8)), set())


@pytest.mark.parametrize("n_bits", [24, 64, 72])
@pytest.mark.parametrize("n_parts", [2, 4])
def test_pairs_across_segments_of_other_layouts(parts, n_bits, n_parts):
    parts(n_parts)
    codes = clustered(600, n_bits)
    cuts = [slice(0, 250), slice(250, 251), slice(251, 600)]
    rows = np.arange(600) + 7
    segments = [
        build_segment(codes[cuts[0]], rows[cuts[0]], Layout.choose(1000, n_bits, codes)),
        build_segment(codes[cuts[1]], rows[cuts[1]]),
        build_segment(codes[cuts[2]], rows[cuts[2]], Layout.choose(300, n_bits, codes[::-1])),
    ]
    assert len({segment.layout.bit_order for segment in segments}) > 1
    check(pairs_of(segments, 2), brute_force(codes, rows, 2))


def test_rows_far_apart(parts):
    parts(3)
    codes = clustered(300, 64)
    rows = np.arange(300) + np.where(np.arange(300) < 100, 5, 1 << 40)
    check(pairs_of([build_segment(codes, rows)], 2), brute_force(codes, rows, 2))


def test_codes_of_the_same_hash_are_told_apart(monkeypatch):
    """Whatever the hash, it decides only what is compared."""
    original = join_parts.fill_keys

    def collide(words, mask, keys):
        original(words, mask, keys)
        keys &= np.uint64(0x1FFFFFFFF)

    monkeypatch.setattr(join_parts, "fill_keys", collide)
    codes = clustered(400, 64, flip=0.02)
    for radius, n_parts in ((0, 1), (2, 4)):
        monkeypatch.setattr(self_join, "choose_parts", lambda *_, n_parts=n_parts: n_parts)
        check(pairs_of([build_segment(codes)], radius), brute_force(codes, np.arange(400), radius))


def test_the_same_blocks_again(parts):
    parts(4)
    segment = build_segment(clustered(3000, 64))
    runs = [list(pairs_of([segment], 2, block_pairs=5000)) for _ in range(3)]
    for run in runs[1:]:
        assert len(run) == len(runs[0])
        for one, other in zip(runs[0], run, strict=True):
            assert np.array_equal(one.rows_a, other.rows_a)
            assert np.array_equal(one.rows_b, other.rows_b)
            assert np.array_equal(one.distances, other.distances)


def test_a_search_that_finds_nothing_pauses(monkeypatch):
    """So that an interrupt does not wait until every code was compared with every other."""
    find_pairs, cursors = self_join.find_pairs, []

    def watched(*arguments):
        n_found = find_pairs(*arguments)
        cursors.append(arguments[4].copy())
        return n_found

    monkeypatch.setattr(self_join, "find_pairs", watched)
    monkeypatch.setattr(self_join, "choose_parts", lambda words, radius, n_bits: radius)
    segment = build_segment(uniform(80_000, 64))
    assert list(pairs_of([segment], 1)) == []
    assert len(cursors) > self_join._SHARES


def test_parts_are_chosen_by_what_they_cost():
    few = uniform(100, 64).view(np.uint64)
    many = uniform(100_000, 64).view(np.uint64)
    assert choose_parts(few, 2, 64) == 2
    assert choose_parts(many, 0, 64) == 1
    assert 3 <= choose_parts(many, 2, 64) <= 4
    assert choose_parts(many, 30, 64) == 30
    assert choose_parts(many, 64, 64) == 64
    near = clustered(100_000, 64, centres=1, flip=0.1).view(np.uint64)
    assert choose_parts(near, 2, 64) > choose_parts(many, 2, 64)


def test_what_makes_no_sense_is_refused(monkeypatch):
    segment = build_segment(uniform(10, 64))
    with pytest.raises(UsageError, match="radius"):
        pairs_of([segment], -1)
    with pytest.raises(UsageError, match="block_pairs"):
        pairs_of([segment], 1, block_pairs=0)
    with pytest.raises(UsageError, match="64, 72"):
        pairs_of([segment, build_segment(uniform(10, 72))], 1)
    monkeypatch.setattr(self_join, "MAX_CODES", 15)
    with pytest.raises(UsageError, match="15"):
        pairs_of([segment, segment], 1)
    assert list(pairs_of([], 1)) == []
    assert list(pairs_of([build_segment(uniform(0, 64))], 1)) == []
    rows = segment.rows.copy()
    rows[3] = 11
    bad = Segment(segment.layout, segment.words, rows, 0, 10, segment.offsets, segment.positions)
    with pytest.raises(DamagedIndexError, match="rows"):
        next(pairs_of([bad], 1))
