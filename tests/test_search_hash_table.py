"""The hash table: every code within a radius is met once, and only its buckets are looked up."""

from itertools import combinations

import numpy as np
import pytest

from hashret.codes import flip, hamming
from hashret.errors import DamagedIndexError
from hashret.search import hash_table
from hashret.search.hash_table import HashTable


def build(n, n_bits, seed=0):
    codes = np.random.default_rng(seed).integers(0, 256, (n, n_bits // 8), dtype=np.uint8)
    table, order = HashTable.build(codes)
    return table, codes[order], codes, order


@pytest.mark.parametrize("n_bits", [8, 16, 24, 64, 72, 256])
def test_rings_meet_each_code_within_them_exactly_once(n_bits):
    table, ordered, codes, _ = build(1500, n_bits)
    query = flip(codes[0], [0, n_bits - 1])
    seen = []
    for ring in range(3):
        _, starts, sizes = table.spans(query, ring, ring)
        seen.extend(table.positions(starts, sizes, len(codes)).tolist())
        assert len(set(seen)) == len(seen)
        assert set(np.flatnonzero(hamming(ordered, query) <= ring)) <= set(seen)
    probed, starts, sizes = table.spans(query, 0, 2)
    assert sorted(table.positions(starts, sizes, len(codes))) == sorted(seen)
    assert probed <= table.probes(0, 2)


def test_the_order_is_a_permutation_and_keeps_the_input_order_in_a_bucket():
    codes = np.zeros((100, 8), dtype=np.uint8)
    codes[::2] = 1
    _, order = HashTable.build(codes)
    assert sorted(order) == list(range(100))
    assert [i for i in order if i % 2] == list(range(1, 100, 2))


def test_a_short_code_is_its_own_address():
    table, ordered, _, _ = build(60_000, 16)
    assert table.bucket_bits == 16
    numbers = ordered[:, 0].astype(int) * 256 + ordered[:, 1]
    assert np.all(np.diff(numbers) >= 0)
    assert table.probes(0, 16) == 1 << 16


@pytest.mark.parametrize(("n_bits", "d"), [(8, 3), (24, 2), (40, 3)])
def test_a_ring_holds_the_xor_of_every_set_of_bits(n_bits, d):
    masks = hash_table._bit_masks(n_bits, 8)
    expected = sorted(int(np.bitwise_xor.reduce(some)) for some in combinations(masks, d))
    assert sorted(hash_table._ring(n_bits, 8, d).tolist()) == expected


def test_codes_that_share_their_first_bits_still_spread():
    codes = np.random.default_rng(0).integers(0, 256, (4096, 8), dtype=np.uint8)
    codes[:, :3] = 7
    table, _ = HashTable.build(codes)
    assert np.diff(table.offsets.astype(int)).max() < 16


def test_the_layout_on_disk_never_changes():
    """The masks are part of the file format: files built elsewhere must stay readable."""
    expected = [8, 4, 2, 1, 1, 5, 2, 12, 3, 15, 6, 12, 8, 8, 11, 8]
    assert hash_table._bit_masks(16, 4).tolist() == expected
    assert hash_table._bit_masks(24, 16)[16:20].tolist() == [32041, 50127, 13414, 55322]


def test_a_ring_too_wide_to_list_costs_infinitely():
    table, *_ = build(100, 1024)
    assert table.probes(0, 4) == float("inf")
    assert table.probes(0, 1) == 1 << table.bucket_bits


@pytest.mark.parametrize(("starts", "sizes"), [([3], [-1]), ([0, 90], [2, 11]), ([2**32 - 1], [1])])
def test_spans_outside_the_codes_mean_damage(starts, sizes):
    table, *_ = build(100, 64)
    with pytest.raises(DamagedIndexError, match="offsets"):
        table.positions(np.array(starts), np.array(sizes), 100)
