"""Groups of near codes: the connected components of what comparing each with every other gives."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse.csgraph import connected_components
from search_oracle import clustered, uniform

from hashret.errors import UsageError
from hashret.search import components, join_parts
from hashret.search.building import build_segment
from hashret.search.components import components_of


def brute_force(codes, rows, radius):
    distances = np.bitwise_count(codes[:, None] ^ codes[None]).sum(axis=2)
    labels = connected_components(distances <= radius)[1]
    groups = [rows[labels == label].tolist() for label in np.unique(labels)]
    return sorted((g for g in groups if len(g) > 1), key=lambda group: (-len(group), group))


def groups_of(found):
    return [found.rows[a:b].tolist() for a, b in zip(found.starts, found.starts[1:], strict=False)]


@settings(deadline=None, max_examples=80)
@given(
    n=st.integers(1, 120),
    n_bits=st.sampled_from([8, 16, 64, 72, 200]),
    radius=st.integers(0, 9) | st.integers(0, 210),
    flip=st.sampled_from([0.0, 0.02, 0.1, 0.5]),
    share=st.sampled_from([0.2, 0.9, 1.0]),
    seed=st.integers(0, 99),
)
def test_groups_are_those_of_brute_force(n, n_bits, radius, flip, share, seed):
    random = np.random.default_rng(seed)
    codes = clustered(n, n_bits, seed, flip=flip)
    rows = np.sort(random.choice(3 * n, n, replace=False))
    cut = random.integers(n + 1)
    segments = [build_segment(codes[part], rows[part]) for part in (slice(cut), slice(cut, None))]
    mask = random.random(3 * n) < share
    mask[rows[0]] = True
    found = components_of(segments, radius, np.packbits(mask))
    allowed = mask[rows]
    assert groups_of(found) == brute_force(codes[allowed], rows[allowed], radius)
    assert found.compared == allowed.sum()
    code_of = dict(zip(rows.tolist(), codes.tolist(), strict=True))
    assert found.codes.tolist() == [code_of[row] for row in found.rows.tolist()]


def test_a_chain_is_one_group_though_its_ends_are_far_apart():
    links = np.packbits(np.tri(16, dtype=np.uint8), axis=1)  # each a bit from the one before
    assert groups_of(components_of([build_segment(links)], 1)) == [list(range(16))]
    assert len(components_of([build_segment(links)], 0)) == 0


def test_parts_of_the_bits_find_the_same_groups(monkeypatch):
    codes = np.concatenate([clustered(600, 64, flip=0.01), uniform(400, 64)])
    expected = brute_force(codes, np.arange(1000), 4)
    monkeypatch.setattr(join_parts, "SAMPLE", 64)
    assert groups_of(components_of([build_segment(codes)], 4)) == expected


def test_equal_codes_are_never_unfolded_into_pairs(monkeypatch):
    """A million equal codes have 5e11 pairs: a test that unfolds them does not end."""
    codes = np.zeros((1_000_000, 8), dtype=np.uint8)
    codes[::2] = 255
    found = components_of([build_segment(codes)], 3)
    assert np.diff(found.starts).tolist() == [500_000, 500_000]
    assert found.rows[:3].tolist() == [0, 2, 4]


def test_it_stops_when_all_hang_together(monkeypatch):
    codes = uniform(5_000, 64)
    seen = []
    copies = components._copies
    monkeypatch.setattr(
        components,
        "_copies",
        lambda found: (seen.append(len(block)) or block for block in copies(found)),
    )
    assert len(components_of([build_segment(codes)], 64)) == 1
    assert sum(seen) < len(codes) * (len(codes) - 1) / 2


def test_nothing_to_compare():
    assert len(components_of([], 2)) == 0
    none = build_segment(np.empty((0, 8), dtype=np.uint8))
    assert components_of([none], 2).compared == 0
    few = build_segment(np.zeros((3, 8), dtype=np.uint8))
    assert len(components_of([few], 2, np.zeros(1, dtype=np.uint8))) == 0
    with pytest.raises(UsageError, match="radius"):
        components_of([few], -1)


def test_what_was_found_is_not_overwritten_while_it_is_used():
    batch = np.zeros((8, 3), dtype=np.uint32)
    stream = components._copies((batch, size) for size in (5, 3))
    first = next(stream)
    batch[:] = 7
    assert first.tolist() == [[0, 0, 0]] * 5
    assert next(stream).tolist() == [[7, 7, 7]] * 3
