"""Near-duplicates of an index: what comparing every item with every other one gives."""

import shutil

import numpy as np
import pytest
from PIL import Image
from scipy.sparse.csgraph import connected_components

import hashret
from hashret.codes import differing_bits
from hashret.errors import DamagedIndexError, UsageError
from hashret.index import duplicates, snapshot
from hashret.index.duplicates import find_duplicates
from hashret.pages.duplicates_page import MAX_ITEMS, duplicates_page


@pytest.fixture
def index(vectors_index, vectors, monkeypatch):
    """Items in two segments and a tail, some of each removed, and many more than once."""
    monkeypatch.setattr(snapshot, "SEGMENT_ROWS", 100)
    vectors_index.compact()
    again = [(f"again {n}", vectors[n], {"n": n, "odd": n % 2}) for n in range(0, 300, 2)]
    vectors_index.add(again[:120])
    vectors_index.add(again[120:])
    vectors_index.remove(["7", "8", "9", "again 10", "again 20", "again 250"])
    with vectors_index.reader.snapshot() as state:
        assert len(state.parts) == 3
        assert state.live is not None
        assert state.tail_rows == 29
    return vectors_index


def distances_of(index, keep=lambda item: True):
    items = [item for item in index.items() if keep(item)]
    codes = np.stack([item.code for item in items])
    return items, np.bitwise_count(codes[:, None] ^ codes[None]).sum(axis=2)


def pairs_by_brute_force(index, radius, **options):
    items, distances = distances_of(index, **options)
    low, high = np.nonzero(np.triu(distances <= radius, 1))
    found = zip(distances[low, high].tolist(), low.tolist(), high.tolist(), strict=True)
    return [(items[a].key, items[b].key, distance) for distance, a, b in sorted(found)]


def groups_by_brute_force(index, radius, **options):
    items, distances = distances_of(index, **options)
    labels = connected_components(distances <= radius)[1]
    groups = [np.flatnonzero(labels == label).tolist() for label in np.unique(labels)]
    groups = sorted((g for g in groups if len(g) > 1), key=lambda group: (-len(group), group))
    return [[(items[i].key, int(distances[group[0], i])) for i in group] for group in groups]


def shown(groups):
    return [[(item.key, item.distance) for item in group] for group in groups]


@pytest.mark.parametrize("radius", [0, 1, 2, 3, 8, 31, 32, 1000])
def test_groups_and_pairs_are_those_of_brute_force(index, radius):
    assert shown(index.duplicates(radius)) == groups_by_brute_force(index, radius)
    pairs, expected = list(index.pairs(radius)), pairs_by_brute_force(index, radius)
    assert sorted(pairs) == sorted(expected)
    assert pairs == expected or len(pairs) > duplicates.SORTED_PAIRS


@pytest.mark.parametrize("where", ["odd = 0", "key like 'again%'", "n > 100 or key = '3'", "1 = 0"])
def test_where_chooses_what_is_compared(index, where):
    kept = {item.key for item in index.items(where=where)}
    if kept:
        only = {"keep": lambda item: item.key in kept}
        assert shown(index.duplicates(2, where)) == groups_by_brute_force(index, 2, **only)
        assert list(index.pairs(2, where)) == pairs_by_brute_force(index, 2, **only)
    else:
        assert index.duplicates(2, where) == list(index.pairs(2, where)) == []


def test_a_group_tells_of_its_items_what_the_store_knows(index, vectors):
    groups = index.duplicates(limit=3)
    assert [group.number for group in groups] == [1, 2, 3]
    assert len(groups[0]) >= len(groups[1]) >= len(groups[2])
    assert shown(groups) == shown(index.duplicates())[:3]
    for item in groups[0]:
        stored = index[item.key]
        assert (item.fields, item.location) == (stored.fields, stored.location)
        assert item.code.tobytes() == stored.code.tobytes()
    assert [item.rank for item in groups[0]] == list(range(1, len(groups[0]) + 1))
    assert groups[0].items[0].to_dict()["code"] == groups[0].items[0].code.tobytes().hex()


def test_blocks_end_where_they_may(index, monkeypatch):
    groups, pairs = shown(index.duplicates(4)), sorted(index.pairs(4))
    monkeypatch.setattr(duplicates, "ITEMS_AT_A_TIME", 7)
    monkeypatch.setattr(duplicates, "SORTED_PAIRS", 10)
    assert shown(index.duplicates(4)) == groups
    assert sorted(index.pairs(4)) == pairs


def test_the_items_of_a_bucket_are_not_read_again_for_each_block(index, monkeypatch):
    monkeypatch.setattr(duplicates, "SORTED_PAIRS", 2000)
    read = []
    monkeypatch.setattr(
        duplicates,
        "_stored",
        lambda *a, stored=duplicates._stored: (read.extend(a[1]), stored(*a))[1],
    )
    n_pairs = len(list(index.pairs(32)))
    assert n_pairs == len(index) * (len(index) - 1) // 2
    assert len(read) < n_pairs / 10


def test_pairs_are_of_one_state_while_the_index_changes(index, monkeypatch):
    monkeypatch.setattr(duplicates, "SORTED_PAIRS", 20)
    expected = pairs_by_brute_force(index, 0)
    assert len(expected) > 100
    found = []
    for pair in index.pairs(0):
        found.append(pair)
        if pair.key_b in index:  # the newest state is seen meanwhile
            index.remove(pair.key_b)
    assert sorted(found) == sorted(expected)
    assert list(index.pairs(0)) == index.duplicates(0) == []


def test_an_empty_index_has_none(vectors_index):
    vectors_index.remove(list(vectors_index))
    assert vectors_index.duplicates(3) == list(vectors_index.pairs(3)) == []


@pytest.mark.parametrize(
    "ask",
    [
        lambda index: index.duplicates(-1),
        lambda index: index.duplicates(1.5),
        lambda index: index.duplicates(True),
        lambda index: index.duplicates(1, limit=0),
        lambda index: index.duplicates(1, where="nothing = 1"),
        lambda index: index.pairs(-1),
        lambda index: index.pairs("2"),
        lambda index: next(index.pairs(1, where="nothing = 1")),
    ],
)
def test_what_makes_no_sense_is_refused(vectors_index, ask):
    with pytest.raises(UsageError):
        ask(vectors_index)


@pytest.mark.parametrize("ask", [lambda i: i.duplicates(2), lambda i: list(i.pairs(2))])
def test_what_search_files_say_is_checked_against_the_items(index, monkeypatch, ask):
    def spoiled(*arguments, **options):
        state = snapshot.take_snapshot(*arguments, **options)
        rows, codes = state.parts[0].rows_and_codes()
        state.parts[0] = hashret.CodeIndex.build(np.roll(codes, 1, axis=0), rows=rows)
        return state

    monkeypatch.setattr(duplicates, "take_snapshot", spoiled)
    with pytest.raises(DamagedIndexError, match="compact"):
        ask(index)


# The page


@pytest.fixture
def photos(make_index, image_folder, tmp_path):
    """Copies of photos, under names that are no HTML but look like it."""
    folder = tmp_path / "copies"
    folder.mkdir()
    picture = next(image_folder.glob("*/*.png"))
    for name in ("<script>alert(1)<script>.png", '"onload=x\n.png', "plain.png"):
        shutil.copy(picture, folder / name)
    with hashret.open(make_index("photos")) as index:
        index.add(folder)
        yield index


def page_of(index, radius=0, **options):
    with find_duplicates(index.path, radius) as found:
        return duplicates_page(
            found, index.encoder.features, name="<b>index</b>", radius=radius, **options
        )


def test_the_page_shows_pictures_and_nothing_in_it_runs(photos):
    page = page_of(photos)
    items = sum(len(group) for group in photos.duplicates())
    assert page.count('src="data:image/png;base64,') == items >= 4
    assert "default-src 'none'" in page
    assert "<script" not in page
    assert "<b>" not in page
    assert "&lt;script&gt;alert(1)" in page
    assert "&quot;onload=x\\n.png" in page
    assert "http" not in page.replace("http-equiv", "")


def test_a_picture_that_changed_since_is_not_shown(photos, tmp_path):
    pictures = page_of(photos).count("<img")
    Image.new("L", (8, 8)).save(tmp_path / "copies" / "plain.png")
    page = page_of(photos)
    assert page.count("<img") == pictures - 1
    assert "has changed since it was indexed" in page


def test_vectors_are_shown_as_text_and_what_is_too_much_is_left_out(index):
    groups = index.duplicates(8)
    assert len(groups[0]) > MAX_ITEMS
    page = page_of(index, 8, limit=1)
    assert "<img" not in page
    assert f"{len(groups[0])} items, of which {MAX_ITEMS} are shown" in page
    assert page.count("<li>") == MAX_ITEMS
    assert f"{len(groups):,} groups" in page
    assert "Group 2" not in page
    first, other = next(group.items[:2] for group in groups if group.items[1].distance)
    flipped = ", ".join(map(str, differing_bits(first.code, other.code)))
    assert f"<title>bits {flipped}</title>" in page_of(index, 8)


def test_hostile_fields_are_text(vectors_index, vectors):
    evil = {"<i>": "</dd><img src=x>", "long": "x" * 5000, "tab": "a\tb\u202ec"}
    vectors_index.add([("a", vectors[0], evil), ("b", vectors[0], evil)])
    page = page_of(vectors_index)
    assert "<img" not in page
    assert "<i>" not in page
    assert "x" * 301 not in page
    assert "a\\tb\\u202ec" in page
