"""Layouts: nothing of a code is lost, parts are where they say, and bits are spread sensibly."""

import json

import numpy as np
import pytest

from hashret.codes import hamming, pack, unpack
from hashret.errors import DamagedIndexError
from hashret.search.layout import Layout

LENGTHS = [8, 16, 24, 32, 40, 48, 64, 72, 96, 128, 136, 256, 520, 1024]


def random_codes(n, n_bits, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (n, n_bits // 8), dtype=np.uint8)


def widths(n, n_bits):
    return Layout.choose(n, n_bits, random_codes(10, n_bits)).to_json()["part_widths"]


@pytest.mark.parametrize("n_bits", LENGTHS)
@pytest.mark.parametrize("n", [0, 1, 2, 64, 65, 20_000])
def test_words_keep_every_bit_and_all_distances(n, n_bits):
    codes = random_codes(n, n_bits)
    layout = Layout.choose(100_000, n_bits, codes)
    words = layout.to_words(codes)
    assert words.dtype == layout.dtype == (np.uint32 if n_bits <= 32 else np.uint64)
    assert words.shape == (n, layout.n_words)
    assert words.flags.c_contiguous
    again = layout.to_codes(words)
    assert again.dtype == np.uint8
    assert again.flags.c_contiguous
    assert np.array_equal(again, codes)
    distances = np.bitwise_count(words[1:] ^ words[:-1]).sum(axis=1, dtype=np.int32)
    assert np.array_equal(distances, hamming(codes[1:], codes[:-1]))


@pytest.mark.parametrize("n_bits", LENGTHS)
def test_each_bit_lies_at_its_place(n_bits):
    codes = random_codes(50, n_bits)
    layout = Layout.choose(1000, n_bits, codes)
    placed = iter(unpack(codes)[:, layout.bit_order].T.astype(object))
    sizes = [
        n_bits // layout.n_words + (w < n_bits % layout.n_words) for w in range(layout.n_words)
    ]
    for word, size in enumerate(sizes):
        expected = sum(next(placed) << shift for shift in reversed(range(size)))
        assert layout.to_words(codes)[:, word].tolist() == expected.tolist()


@pytest.mark.parametrize("n_bits", LENGTHS)
@pytest.mark.parametrize("n", [1, 300, 60_000, 10_000_000, 3_000_000_000])
def test_parts_follow_each_other_from_the_top_of_each_word(n, n_bits):
    layout = Layout.choose(n, n_bits, random_codes(10, n_bits))
    top = {
        w: n_bits // layout.n_words + (w < n_bits % layout.n_words) for w in range(layout.n_words)
    }
    start = 0
    assert layout.parts[0, 0] == 0
    for word, shift, width, offsets in layout.parts.tolist():
        assert 1 <= width <= min(24, max(1, n.bit_length() - 1))
        assert (shift, offsets) == (top[word] - width, start)
        top[word], start = shift, start + 2**width + 1
    assert all(room >= 0 for room in top.values())
    assert layout.n_offsets == start
    assert not layout.parts.flags.writeable


def test_parts_are_as_wide_as_there_are_codes_to_fill_them():
    assert widths(10_000_000, 64) == [[22, 21, 21]]
    assert widths(1_000_000_000, 64) == [[22, 21, 21]]
    assert widths(1_000_000, 64) == [[19, 19, 19]]
    assert widths(60_000, 32) == [[15, 15]]
    assert widths(70_000, 32) == [[16, 16]]
    assert widths(10_000_000, 16) == [[16]]
    assert widths(10_000_000, 8) == [[8]]
    assert widths(10_000_000, 24) == [[23]]
    assert widths(10_000_000, 128) == [[22, 21, 21]] * 2
    assert widths(10_000_000, 72) == [[18, 18]] * 2
    assert widths(100, 64) == [[6] * 8]


@pytest.mark.parametrize("n_bits", [24, 64, 200])
def test_keys_are_the_values_of_a_part(n_bits):
    codes = random_codes(100, n_bits)
    layout = Layout.choose(5000, n_bits, codes)
    words = layout.to_words(codes)
    for part, (word, shift, width, _) in enumerate(layout.parts.tolist()):
        expected = [int(value) >> shift & 2**width - 1 for value in words[:, word]]
        assert layout.keys(words, part).tolist() == expected


def test_plain_keeps_the_order_and_has_no_parts():
    layout = Layout.plain(128)
    assert layout.bit_order == tuple(range(128))
    assert layout.parts.shape == (0, 4)
    assert layout.n_offsets == 0
    code = pack([1] + [0] * 126 + [1])[None]
    assert layout.to_words(code).tolist() == [[1 << 63, 1]]


def test_the_same_codes_get_the_same_layout_without_being_altered():
    codes = random_codes(20_000, 64)
    before = codes.copy()
    first, second = (Layout.choose(20_000, 64, codes) for _ in range(2))
    assert first.to_json() == second.to_json()
    assert np.array_equal(codes, before)
    assert first.to_json() != Layout.choose(20_000, 64, random_codes(20_000, 64, 1)).to_json()


def test_bits_that_say_nothing_lie_outside_of_the_parts():
    bits = np.random.default_rng(0).integers(0, 2, (5000, 64))
    idle = [3, 17, 18, 40, 41, 60, 63]
    bits[:, idle] = [0, 1, 0, 1, 0, 1, 0]
    layout = Layout.choose(1_000_000, 64, pack(bits))
    assert sorted(layout.bit_order[57:]) == idle


def test_bits_that_repeat_each_other_lie_in_different_parts():
    half = np.random.default_rng(0).integers(0, 2, (5000, 32))
    layout = Layout.choose(100_000, 64, pack(np.hstack([half, 1 - half])))
    places = {bit: place for place, bit in enumerate(layout.bit_order)}
    parts = [16, 32, 48, 64]
    for bit in range(32):
        mine, other = (np.searchsorted(parts, places[b], side="right") for b in (bit, bit + 32))
        assert mine != other


def test_buckets_of_correlated_codes_stay_small():
    rng = np.random.default_rng(0)
    factors = rng.standard_normal((6, 64))
    codes = pack(rng.standard_normal((30_000, 6)) @ factors + rng.standard_normal((30_000, 64)) > 0)

    def load(layout):
        words = layout.to_words(codes)
        counts = [np.bincount(layout.keys(words, part)) for part in range(len(layout.parts))]
        return np.mean([np.square(count).sum() / len(codes) for count in counts])

    chosen = Layout.choose(len(codes), 64, codes)
    others = [
        {**chosen.to_json(), "bit_order": np.random.default_rng(i).permutation(64).tolist()}
        for i in range(5)
    ]
    assert load(chosen) < 0.9 * np.mean([load(Layout.from_json(other)) for other in others])


@pytest.mark.parametrize("n_bits", LENGTHS)
def test_json_gives_the_same_layout(n_bits):
    codes = random_codes(100, n_bits)
    for layout in (Layout.choose(1000, n_bits, codes), Layout.plain(n_bits)):
        again = Layout.from_json(json.loads(json.dumps(layout.to_json())))
        assert again.bit_order == layout.bit_order
        assert np.array_equal(again.parts, layout.parts)
        assert np.array_equal(again.to_words(codes), layout.to_words(codes))


SOUND = {"n_bits": 16, "bit_order": list(range(16)), "part_widths": [[8, 7]]}


@pytest.mark.parametrize(
    "content",
    [
        None,
        [],
        "layout",
        {},
        {"n_bits": 12, "bit_order": list(range(12)), "part_widths": [[8]]},
        {**SOUND, "n_bits": "16"},
        {**SOUND, "n_bits": 24},
        {**SOUND, "bit_order": [0] * 16},
        {**SOUND, "bit_order": list(range(15))},
        {**SOUND, "bit_order": [*range(15), "15"]},
        {**SOUND, "bit_order": [*range(15), 15.0]},
        {**SOUND, "bit_order": [False, True, *range(2, 16)]},
        {**SOUND, "bit_order": 3},
        {**SOUND, "part_widths": []},
        {**SOUND, "part_widths": [[8], [8]]},
        {**SOUND, "part_widths": [[8, 9]]},
        {**SOUND, "part_widths": [[-1, 9]]},
        {**SOUND, "part_widths": [[0]]},
        {**SOUND, "part_widths": [["8"]]},
        {**SOUND, "part_widths": [8]},
        {**SOUND, "part_widths": None},
        {"n_bits": 64, "bit_order": list(range(64)), "part_widths": [[25]]},
        {"n_bits": 128, "bit_order": list(range(128)), "part_widths": [[], [20]]},
    ],
)
def test_nonsense_is_no_layout(content):
    Layout.from_json(SOUND)
    with pytest.raises(DamagedIndexError, match="layout"):
        Layout.from_json(content)
