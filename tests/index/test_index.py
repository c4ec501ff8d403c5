import threading

import numpy as np
import pytest
from PIL import Image

import hashret
from hashret.codes import hamming, to_hex
from hashret.errors import (
    EncoderMismatchError,
    HashretError,
    IndexExistsError,
    IndexLockedError,
    IndexNotFoundError,
    InputError,
    KeyNotFoundError,
    UsageError,
)
from hashret.store import ItemStore


def brute_force(index, code, *, radius=None, limit=None, keep=lambda item: True):
    items = [item for item in index.items() if keep(item)]
    found = sorted((int(hamming(code, item.code)), item.row, item.key) for item in items)
    found = [hit for hit in found if radius is None or hit[0] <= radius]
    return [(distance, key) for distance, _, key in found][:limit]


def answers(result):
    return [(hit.distance, hit.key) for hit in result]


def test_every_item_finds_itself_at_distance_0(digits_index, digits):
    results = digits_index.query_many(digits[:300], radius=0, limit=None)
    for number, result in enumerate(results):
        assert str(number) in {hit.key for hit in result.rings[0]}


@pytest.mark.parametrize("radius", [None, 0, 1, 5, 20, 64, 100])
@pytest.mark.parametrize("limit", [None, 1, 10, 300, 1000])
def test_answers_are_those_of_brute_force(digits_index, digits, radius, limit):
    if radius is None and limit is None:
        with pytest.raises(UsageError, match="radius, a limit"):
            digits_index.query(digits[0], radius, limit)
        return
    for value in digits[295:305]:
        result = digits_index.query(value, radius, limit)
        expected = brute_force(digits_index, result.code, radius=radius, limit=limit)
        assert answers(result) == expected


def test_query_many_equals_single_queries(digits_index, digits):
    together = digits_index.query_many(digits[290:330], limit=7)
    alone = [digits_index.query(value, limit=7) for value in digits[290:330]]
    assert [answers(r) for r in together] == [answers(r) for r in alone]


def test_a_file_an_array_and_a_pil_image_are_the_same_query(digits_index, digits, tmp_path):
    Image.fromarray(digits[310]).save(tmp_path / "d.png")
    values = [
        digits[310],
        Image.fromarray(digits[310]),
        tmp_path / "d.png",
        str(tmp_path / "d.png"),
    ]
    codes = digits_index.encode(values)
    assert len({code.tobytes() for code in codes}) == 1


def test_query_by_key_and_by_code(digits_index):
    item = digits_index["42"]
    by_key = digits_index.query_key("42", limit=5)
    assert by_key[0].distance == 0
    assert answers(digits_index.query_code(item.code, limit=5)) == answers(by_key)
    assert answers(digits_index.query_code(to_hex(item.code), limit=5)) == answers(by_key)


def test_results_have_rings_that_can_be_cut_and_explained(digits_index, digits):
    result = digits_index.query(digits[301], radius=20, limit=None)
    assert [hit for ring in result.rings.values() for hit in ring] == list(result)
    assert list(result.rings) == sorted(result.rings)
    assert [hit.rank for hit in result] == list(range(1, len(result) + 1))
    for hit in result:
        flipped = result.explain(hit)
        assert len(flipped) == hit.distance
        assert hit.similarity == 1 - hit.distance / 64
    cut = result.within(9)
    assert answers(cut) == answers(digits_index.query(digits[301], radius=9, limit=None))
    with pytest.raises(UsageError, match="radius 20, not 21"):
        result.within(21)


def test_results_are_shown_as_html_with_names_escaped(vectors_index, vectors):
    vectors_index.add([("<b>&", vectors[0], {"n<": "<script>"})])
    text = vectors_index.query_key("<b>&", radius=0, limit=None)._repr_html_()
    assert "&lt;b&gt;&amp;" in text
    assert "<script>" not in text


def test_labels_become_fields_and_where_uses_them(digits_index, digits, digit_labels):
    result = digits_index.query(digits[0], limit=8, where="label in (3, 5)")
    labels = {key: digit_labels[int(key)] for key in (item.key for item in digits_index.items())}
    expected = brute_force(
        digits_index, result.code, limit=8, keep=lambda item: labels[item.key] in (3, 5)
    )
    assert answers(result) == expected
    assert all(hit.fields["label"] in (3, 5) for hit in result)
    assert len(digits_index.query(digits[0], where="label = 77")) == 0


def test_adding_again_changes_nothing(vectors_index, vectors):
    report = vectors_index.add(vectors)
    assert (report.added, report.updated, report.unchanged) == (0, 0, 600)


def test_add_updates_changed_values_and_fields(vectors_index, vectors):
    changed = vectors_index.add([("3", vectors[500]), ("new", vectors[1], {"a": 1})])
    assert (changed.added, changed.updated, changed.unchanged) == (1, 1, 0)
    assert np.array_equal(vectors_index["3"].code, vectors_index["500"].code)
    assert len(vectors_index) == 601
    before = vectors_index["new"]
    report = vectors_index.add([("new", vectors[1], {"a": 2})])
    assert (report.added, report.updated) == (0, 1)
    assert vectors_index["new"].fields == {"a": 2}
    assert vectors_index["new"].row == before.row  # the value was not encoded again
    assert vectors_index.verify().ok
    code = vectors_index["3"].code
    result = vectors_index.query_code(code, radius=0, limit=None)
    assert answers(result) == brute_force(vectors_index, code, radius=0)


def test_removed_items_are_no_hits_before_and_after_compact(vectors_index, caplog):
    vectors_index.compact()
    code = vectors_index["7"].code
    vectors_index.remove(["7", "8"])
    assert "7" not in vectors_index
    for _ in range(2):
        result = vectors_index.query_code(code, radius=32, limit=None)
        assert answers(result) == brute_force(vectors_index, code)
        assert len(result) == 598
        vectors_index.compact()
    assert vectors_index.verify().ok
    assert caplog.text == ""  # no segment had to be answered for


def test_remove_is_all_or_nothing(vectors_index):
    with pytest.raises(KeyNotFoundError, match="'nobody'"):
        vectors_index.remove(["1", "nobody"])
    assert "1" in vectors_index


def test_an_empty_index_answers(vectors_index):
    code = vectors_index["0"].code
    vectors_index.remove([item.key for item in vectors_index.items()])
    for _ in range(2):
        assert len(vectors_index) == 0
        assert list(vectors_index.query_code(code)) == []
        vectors_index.compact()
    assert vectors_index.verify().ok


def test_answers_stay_right_over_many_segments(make_index, vectors, monkeypatch, caplog):
    monkeypatch.setattr("hashret.index.snapshot.SEGMENT_ROWS", 50)
    rng = np.random.default_rng(1)
    with hashret.open(make_index("vectors")) as index:
        for step in range(12):
            noisy = vectors[:60] + rng.normal(scale=0.1, size=(60, 12)).astype(np.float32)
            index.add((f"{step}/{i}", vector) for i, vector in enumerate(noisy))
            index.remove(f"{step}/{i}" for i in range(0, 60, 7))
            code = index[f"{step}/1"].code
            result = index.query_code(code, radius=6, limit=None)
            assert answers(result) == brute_force(index, code, radius=6)
        assert 1 < len(index._store.segments()) <= 8
        assert index.verify().ok
    assert caplog.text == ""  # no segment had to be answered for


def test_one_index_sees_what_another_adds(make_index, vectors):
    path = make_index("vectors")
    with hashret.open(path) as reader, hashret.open(path) as writer:
        assert len(reader.query(vectors[0], radius=32, limit=None)) == 600
        writer.add([("new", vectors[0])])
        assert "new" in {hit.key for hit in reader.query(vectors[0], radius=0, limit=None)}
        writer.compact()
        writer.remove("new")
        assert "new" not in {hit.key for hit in reader.query(vectors[0], radius=0, limit=None)}


def test_threads_may_share_an_index(vectors_index, vectors):
    expected = [answers(vectors_index.query(v, limit=5)) for v in vectors[:40]]
    wrong = []

    def ask():
        got = [answers(vectors_index.query(v, limit=5)) for v in vectors[:40]]
        if got != expected:
            wrong.append(got)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_a_second_writer_is_refused_while_the_first_is_at_it(make_index, vectors):
    path = make_index("vectors")
    with hashret.open(path) as one, hashret.open(path) as two:
        seen = []

        def in_the_middle(progress):
            if progress.stage == "storing":
                with pytest.raises(IndexLockedError, match="process [0-9]+"):
                    two.add([("b", vectors[0])])
                assert "a" not in two  # not committed yet
                seen.append(progress)

        one.add([("a", vectors[0])], progress=in_the_middle)
        assert seen
        assert "a" in two
        assert two.add([("b", vectors[0])]).added == 1


def test_other_shapes_are_refused_with_both_named(vectors_index, digits_index):
    with pytest.raises(InputError, match=r"12.*13|13.*12"):
        vectors_index.query(np.zeros(13, np.float32))
    with pytest.raises(InputError, match=r"8 x 8.*9 x 9|\(8, 8\).*\(9, 9\)|9.*8"):
        digits_index.query(np.zeros((9, 9), np.uint8))
    with pytest.raises(InputError, match=r"vectors of 12 values, got 64 in 3 vectors of 64 values"):
        vectors_index.add(np.zeros((3, 8, 8), np.uint8))


def test_codes_of_another_encoder_are_refused_with_both_fingerprints(
    make_index, vectors_index, digits_index
):
    with pytest.raises(EncoderMismatchError, match=r"64 bits.*32 bits"):
        vectors_index.query_code(digits_index["0"].code)
    photos = hashret.open(make_index("photos"))
    text = f"{photos.fingerprint}:{to_hex(photos.items(1)[0].code)}"
    with pytest.raises(EncoderMismatchError) as raised:
        vectors_index.query_code(text)
    assert photos.fingerprint in str(raised.value)
    assert vectors_index.fingerprint in str(raised.value)
    photos.close()


def test_an_exchanged_encoder_is_refused(make_index, vectors):
    import shutil

    path, other = make_index("vectors"), make_index("photos")
    shutil.rmtree(path / "encoder")
    shutil.copytree(other / "encoder", path / "encoder")
    with hashret.open(path) as index:
        with pytest.raises(EncoderMismatchError, match=index.fingerprint):
            index.query(vectors[0])
        assert not index.verify().ok


def test_create_refuses_a_folder_in_use(make_index, vectors, tmp_path):
    with pytest.raises(IndexExistsError, match="already"):
        hashret.create(make_index("vectors"), vectors)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("do not lose me")
    with pytest.raises(IndexExistsError, match="not empty"):
        hashret.create(tmp_path / "mine", vectors)
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "do not lose me"


def test_opening_nothing_says_how_to_make_an_index(tmp_path):
    with pytest.raises(IndexNotFoundError, match="hashret index SOURCE"):
        hashret.open(tmp_path / "nothing")


def test_create_learns_from_pairs_and_names_what_it_skipped(tmp_path, vectors, caplog):
    pairs = [(f"v{i}", vector) for i, vector in enumerate(vectors[:50])]
    pairs[7] = ("v7", np.full(12, np.nan))
    with hashret.create(tmp_path / "pairs", iter(pairs), 16, epochs=1) as index:
        assert len(index) == 49
    assert "1 of the inputs skipped: v7 (" in caplog.text


def test_nothing_to_learn_from_is_said_and_leaves_nothing(tmp_path):
    (tmp_path / "empty").mkdir()
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "a.png").write_bytes(b"no image")
    for source in (tmp_path / "empty", broken):
        with pytest.raises(InputError):
            hashret.create(tmp_path / "indexes" / "x", source)
    assert not list(tmp_path.glob("indexes/*"))


def test_the_same_seed_gives_the_same_codes(make_index, vectors, tmp_path):
    a, b = (
        hashret.create(tmp_path / name, vectors[:100], 16, epochs=1, random_state=4)
        for name in "ab"
    )
    assert [i.code.tolist() for i in a.items()] == [i.code.tolist() for i in b.items()]
    assert a.fingerprint == b.fingerprint
    a.close()
    b.close()


def test_an_item_is_reconstructed_from_its_bits(digits_index, digits):
    rows = digits_index.reconstruct(np.stack([digits_index[str(i)].code for i in range(40)]))
    error = np.abs(rows - digits[:40].reshape(40, 64) / 255).mean()
    shuffled = np.abs(rows - digits[40:80].reshape(40, 64) / 255).mean()
    assert error < shuffled * 0.9
    assert digits_index.encoder.picture(rows[0]).size == (8, 8)


def test_hits_tell_where_their_value_lies(digits_index, digits, make_index):
    from hashret.sources import read_value

    hit = digits_index.query_key("31", limit=1)[0]
    assert np.array_equal(read_value(hit.location), digits[int(hit.key)])
    with hashret.open(make_index("photos")) as photos:
        hit = photos.query(photos.items(1)[0].location, limit=1)[0]
        assert hit.location == hit.key
        assert read_value(hit.location)


def test_arrays_of_another_file_do_not_silently_replace_items(digits_index, idx_files):
    path = idx_files / "test-images-idx3-ubyte"
    with pytest.raises(InputError, match=r"--key-prefix '\{stem\}:'"):
        digits_index.add(path)
    assert len(digits_index) == 300
    report = digits_index.add(path, key_prefix="{stem}:")
    assert report.added == 50
    assert "test-images-idx3-ubyte:49" in digits_index
    assert digits_index.add(path, replace=True).updated == 50
    assert len(digits_index) == 350


@pytest.mark.parametrize("gone", [1, 300])
def test_the_last_rows_may_be_removed_and_compacted(vectors_index, gone):
    vectors_index.compact()
    vectors_index.remove([str(i) for i in range(600 - gone, 600)])
    for _ in range(2):
        vectors_index.compact()
        code = vectors_index["0"].code
        assert answers(vectors_index.query_code(code, limit=9)) == brute_force(
            vectors_index, code, limit=9
        )
        assert len(vectors_index.query_code(code, radius=32, limit=None)) == 600 - gone
    assert vectors_index.verify().ok


def test_part_of_a_folder_given_alone_keeps_the_labels(make_index, image_folder):
    path = image_folder / "1" / "001.png"
    with hashret.open(make_index("photos")) as index:
        report = index.add(path)
        assert (report.updated, report.unchanged) == (0, 1)
        assert index[str(path)].fields == {"label": "1"}


def test_a_changed_image_is_updated_from_whatever_folder(make_index, image_folder, tmp_path):
    import shutil

    folder = shutil.copytree(image_folder, tmp_path / "photos")
    with hashret.create(tmp_path / "p", folder, 16, epochs=1) as index:
        shutil.copy(folder / "1" / "001.png", folder / "0" / "000.png")
        assert index.add(folder / "0").updated == 1
        assert index[str(folder / "0" / "000.png")].fields == {"label": "0"}
        shutil.copy(folder / "2" / "002.png", folder / "0" / "000.png")
        assert index.add(folder / "0" / "000.png").updated == 1
        assert len(index) == 100


def test_items_tell_where_they_were_seen_last(make_index, vectors, tmp_path):
    np.save(tmp_path / "moved.npy", vectors)
    with hashret.open(make_index("vectors")) as index:
        assert index["3"].location is None
        assert index.add(tmp_path / "moved.npy").unchanged == 600
        assert index["3"].location == f"{tmp_path / 'moved.npy'}#3"
        assert index.verify().ok


def test_items_and_hits_can_be_compared_and_collected(vectors_index):
    assert vectors_index["3"] == vectors_index["3"]
    assert vectors_index["3"] != vectors_index["4"]
    assert len({vectors_index["3"], vectors_index["3"], vectors_index["4"]}) == 2
    one, two = vectors_index.query_key("3", limit=5), vectors_index.query_key("3", limit=5)
    assert list(one) == list(two)
    assert len(set(one)) == 5


@pytest.mark.parametrize(
    "mistake",
    [
        lambda index: index.query_key(10**6),
        lambda index: index.query_key("\udcff"),
        lambda index: index.remove(5),
        lambda index: index.remove([5]),
        lambda index: index[5],
        lambda index: index.items(-5),
        lambda index: index.items(where=5),
        lambda index: index.query_key("3", where="1) union select row from (select 9e9 as row"),
        lambda index: index.query_key("3", where="1) union select 'x' from (select 1"),
        lambda index: index.query_key("3", radius="a"),
        lambda index: index.query_key("3", limit=0),
        lambda index: index.query_key("3").within("a"),
        lambda index: index.query(None),
        lambda index: index.query("nowhere.npy"),
        lambda index: index.query_code(np.zeros((2, 4), np.uint8)),
        lambda index: index.query_many([None]),
        lambda index: index.add([]),
        lambda index: index.add(None),
        lambda index: index.add([("a\0b", np.zeros(12))]),
        lambda index: index.add([("a", np.zeros(12), {"n": 10**5000})]),
        lambda index: index.add([("a", np.zeros(12), {"x\0y": 1})]),
        lambda index: hashret.create(index.path.parent / "n", np.zeros((3, 4)), random_state=-1),
        lambda index: hashret.create(index.path.parent / "n", np.zeros((3, 4)), random_state="a"),
        lambda index: hashret.create(index.path.parent / "n", np.zeros((3, 4)), n_bits=7),
        lambda index: hashret.create(index.path / "items.db" / "n", np.zeros((3, 4)), epochs=1),
        lambda index: index.add([("a", np.zeros(12), {"Key": 1})]),
        lambda index: index.add([("a", np.zeros(12), {"a": 1}), ("b", np.zeros(12), {"A": 2})]),
        lambda index: index.query_many(None),
        lambda index: index.query_many("x.npy"),
        lambda index: index.encoder.own_code(b"12345678"),
        lambda index: hashret.open(None),
        lambda index: hashret.create(None, np.zeros((3, 4))),
        lambda index: hashret.SemanticHasher.load(index.path / "nothing"),
        lambda index: hashret.create(index.path.parent / "n", np.zeros((3, 4)), key_prefix="{x}"),
        lambda index: (index.close(), len(index)),
        lambda index: (index.close(), index.query_key("3")),
        lambda index: (index.close(), index.add([("a", np.zeros(12))])),
    ],
)
def test_mistakes_raise_hashret_errors_and_change_nothing(make_index, mistake):
    path = make_index("vectors")
    with hashret.open(path) as index, pytest.raises(hashret.HashretError):
        mistake(index)
    with hashret.open(path) as index:
        assert len(index) == 600
        assert index.verify().ok
    assert not (path.parent / "n").exists()


def test_any_number_of_fields_can_be_conditioned_on(vectors_index, vectors):
    many = {f"f{i}": i for i in range(3000)}
    vectors_index.add([("wide", vectors[0], many)])
    assert [item.key for item in vectors_index.items(where="f2999 = 2999 and f1 < 2")] == ["wide"]


def test_a_query_inside_an_add_remembers_nothing(vectors_index, vectors):
    def ask_then_fail(progress):
        if progress.stage == "storing":
            assert "new" not in {hit.key for hit in vectors_index.query(vectors[0], 0, None)}
            raise RuntimeError

    with pytest.raises(RuntimeError):
        vectors_index.add([("new", vectors[0])], progress=ask_then_fail)
    assert "new" not in {hit.key for hit in vectors_index.query(vectors[0], 0, None)}


def test_an_index_names_its_keys_and_itself(vectors_index):
    assert list(vectors_index) == [item.key for item in vectors_index.items()]
    assert "600 vectors, 32 bits" in repr(vectors_index)


def test_two_that_make_the_same_index_are_told_apart(make_index, vectors, tmp_path):
    path = tmp_path / "one"

    def overtake(progress):
        if progress.stage == "learning" and not path.exists():
            make_index("vectors").rename(path)

    with pytest.raises(IndexExistsError, match="already"):
        hashret.create(path, vectors, 16, epochs=1, progress=overtake)
    with hashret.open(path) as index:
        assert len(index) == 600


def test_keys_are_read_some_at_a_time_from_one_state(vectors_index, monkeypatch):
    monkeypatch.setattr("hashret.index.queryable.ITEMS_AT_A_TIME", 7)
    before = [item.key for item in vectors_index.items()]
    monkeypatch.setattr(ItemStore, "items_in_order", None)  # which would hold all of them
    keys = iter(vectors_index)
    first = [next(keys) for _ in range(10)]
    vectors_index.remove(before[5:50])
    assert first + list(keys) == before
    assert list(vectors_index) == before[:5] + before[50:]
    vectors_index.close()
    with pytest.raises(HashretError, match="closed"):
        iter(vectors_index)
