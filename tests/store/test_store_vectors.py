"""Kept vectors: close to what they were, in the transaction of their items, and checked."""

import sqlite3

import numpy as np
import pytest
from PIL import Image

import hashret
from hashret.errors import DamagedIndexError, HashretError, KeyNotFoundError, UsageError
from hashret.store import ItemStore, NewItem
from hashret.store.vectors import pack_vectors, unpack_vectors

FLOAT32_MAX = np.finfo(np.float32).max
TINY = {"n_bits": 16, "epochs": 1, "random_state": 0}


def there_and_back(matrix):
    return unpack_vectors(*pack_vectors(np.asarray(matrix, dtype=np.float32)))


@pytest.mark.parametrize("size", [1e-44, 1e-30, 1e-3, 1.0, 7e4, 1e15, 1e38])
def test_rows_of_any_size_keep_eleven_bits(size):
    matrix = (np.random.default_rng(0).normal(size=(50, 20)) * size).clip(-FLOAT32_MAX, FLOAT32_MAX)
    matrix = matrix.astype(np.float32)
    back = there_and_back(matrix)
    assert back.dtype == np.float32
    top = np.abs(matrix).max(axis=1, keepdims=True).astype(np.float64)
    exact = matrix.astype(np.float64)
    # Halves round to 2**-11 of a value, and to no finer than 2**-39 of the row's largest.
    allowed = np.maximum(np.abs(exact) * 2.0**-11, top * 2.0**-39)
    assert (np.abs(back - exact) <= allowed).all()


def test_a_large_value_beside_small_ones_is_not_lost():
    row = [[1e5, 1.0, 1e-3, 0.0]]
    np.testing.assert_allclose(there_and_back(row), row, rtol=2.0**-11)


def test_what_halves_hold_exactly_stays_exact():
    pixels = np.arange(256, dtype=np.float32).reshape(4, 64)
    np.testing.assert_array_equal(there_and_back(pixels), pixels)
    np.testing.assert_array_equal(there_and_back(-pixels / 256), -pixels / 256)
    np.testing.assert_array_equal(there_and_back(np.zeros((2, 3))), np.zeros((2, 3)))


def test_the_largest_numbers_stay_finite():
    row = [[FLOAT32_MAX, -FLOAT32_MAX]]
    np.testing.assert_allclose(there_and_back(row), row, rtol=2.0**-11)
    assert pack_vectors(np.empty((0, 3), np.float32))[1].shape == (0, 3)


@pytest.fixture
def kept(tmp_path, vectors):
    with hashret.create(tmp_path / "kept", vectors[:100], keep_vectors=True, **TINY) as index:
        yield index


def close_to(found, expected):
    np.testing.assert_allclose(found, expected, rtol=2.0**-10, atol=1e-6)


def test_vectors_come_back_in_the_order_of_the_keys(kept, vectors):
    found = kept.vectors(["7", "3", "7", "99"])
    assert found.dtype == np.float32
    close_to(found, vectors[[7, 3, 7, 99]])
    assert kept.vectors([]).shape == (0, 12)
    with pytest.raises(KeyNotFoundError):
        kept.vectors(["3", "nobody"])
    with pytest.raises(UsageError, match="several keys"):
        kept.vectors("3")


def test_the_setting_outlives_the_process_and_holds_for_later_adds(kept, vectors):
    with hashret.open(kept.path) as again:
        assert again.keeps_vectors
        assert again.info()["keeps_vectors"] is True
        again.add([(f"new{i}", vectors[100 + i]) for i in range(5)])
        close_to(again.vectors([f"new{i}" for i in range(5)]), vectors[100:105])
        again.add([("3", vectors[200]), ("4", vectors[4])])  # one changed, one as it was
        close_to(again.vectors(["3", "4"]), vectors[[200, 4]])
        assert again.verify().ok


def count(index):
    connection = sqlite3.connect(index.path / "items.db")
    found = connection.execute("select count(*) from vectors").fetchone()[0]
    connection.close()
    return found


def test_vectors_go_with_their_items(kept, vectors):
    kept.remove(["0", "50"])
    assert count(kept) == 98
    kept.add([("3", vectors[200])])  # a changed item has a new row, and the old vector is gone
    kept.compact()
    assert count(kept) == 98
    assert kept.verify().ok
    close_to(kept.vectors(["1", "3"]), vectors[[1, 200]])


def test_an_add_that_fails_leaves_no_vector(kept, vectors):
    values = [("a", vectors[0]), ("b", np.append(vectors[0], 0))]
    with pytest.raises(hashret.InputError):
        kept.add(values)
    assert count(kept) == 100
    assert kept.verify().ok


def test_values_that_are_skipped_shift_no_vector(tmp_path, digits):
    home = tmp_path / "photos"
    home.mkdir()
    for i in range(20):
        Image.fromarray(digits[i]).save(home / f"{i:02}.png")
    for i in (0, 7, 19):
        (home / f"{i:02}.png").write_bytes(b"no image")
    with hashret.create(tmp_path / "kept", home, keep_vectors=True, **TINY) as index:
        found = index.vectors(list(index))
    expected = digits[[i for i in range(20) if i not in (0, 7, 19)]].reshape(17, -1) / 255
    np.testing.assert_allclose(found, expected, rtol=2.0**-11)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        ("update vectors set vector = zeroblob(24) where row = 5", "row 5 does not match"),
        ("update vectors set vector = x'00' where row = 5", "row 5 does not match"),
        ("update vectors set exponent = exponent + 1 where row = 5", "row 5 does not match"),
        ("update vectors set checksum = 0 where row = 5", "row 5 does not match"),
        (
            "update vectors set (exponent, vector, checksum) = "
            "(select exponent, vector, checksum from vectors where row = 6) where row = 5",
            "row 5 does not match",
        ),
        ("delete from vectors where row = 5", "row 5 is missing"),
    ],
)
def test_verify_names_a_damaged_vector_and_it_is_never_answered_with(kept, damage, said):
    connection = sqlite3.connect(kept.path / "items.db")
    connection.execute(damage)
    connection.commit()
    connection.close()
    report = kept.verify()
    assert len(report.problems) == 1
    assert said in report.problems[0]
    with pytest.raises(DamagedIndexError, match="row 5.*hashret verify"):
        kept.vectors(["4"])
    assert kept.vectors(["5"]).shape == (1, 12)


def test_any_page_overwritten_is_an_error_or_a_problem_never_another_vector(tmp_path):
    path = tmp_path / "items.db"
    matrix = np.random.default_rng(0).normal(size=(150, 12)).astype(np.float32)
    keys = [f"k{i}" for i in range(150)]
    store = ItemStore.create(path, {"n_bits": 32, "vector_length": 12})
    with store.writing() as writer:
        rows = writer.insert((NewItem(key, bytes(4), "{}", bytes(16)) for key in keys), None)
        writer.keep_vectors(rows, matrix)
    expected = store.vectors_of(range(1, 151))
    close_to(expected, matrix)
    store.close()
    whole = path.read_bytes()
    rng = np.random.default_rng(1)
    for offset in range(0, len(whole), 1024):
        path.write_bytes(whole[:offset] + rng.bytes(1024) + whole[offset + 1024 :])
        for name in ("items.db-wal", "items.db-shm"):
            path.with_name(name).unlink(missing_ok=True)
        try:
            opened = ItemStore.open(path)
        except HashretError:
            continue
        problems = list(opened.problems())
        try:
            with opened.reading():
                found = opened.vectors_of(range(1, 151))
            np.testing.assert_array_equal(found, expected)
        except HashretError:
            assert problems, offset
        opened.close()


def test_verify_names_a_vector_of_no_item(kept):
    connection = sqlite3.connect(kept.path / "items.db")
    connection.execute("update vectors set row = 1000 where row = 5")
    connection.commit()
    connection.close()
    assert any("row 1000, which is no item" in line for line in kept.verify().problems)


def test_an_index_without_vectors_says_how_to_make_one_that_has_them(vectors_index):
    assert not vectors_index.keeps_vectors
    with pytest.raises(UsageError, match="--keep-vectors.*keep_vectors=True"):
        vectors_index.vectors(["0"])


def as_before(path):
    """Make an index what it was before vectors could be kept and files were sealed."""
    connection = sqlite3.connect(path / "items.db")
    connection.execute("drop table vectors")
    connection.execute("drop index items_by_content")
    connection.execute("alter table segments drop column manifest")
    connection.execute("delete from _sqlite_migrations where name > '0001_items'")
    connection.execute("delete from settings where name in ('vector_length', 'items')")
    connection.commit()
    connection.close()
    (path / "seal.json").unlink()


def test_an_older_index_opens_and_is_brought_up_to_date(make_index, vectors, caplog):
    path = make_index("vectors")
    as_before(path)
    for turn in range(2):
        with hashret.open(path) as index:
            assert index.query(vectors[7], limit=1)[0].key == "7"
            assert ("every item was checked" in caplog.text) == (turn == 0)
            assert len(index) == 600 + turn
            index.add([("new", vectors[0] + 1)])
            assert index.verify().ok
            assert not index.keeps_vectors
            caplog.clear()
    assert count(index) == 0


def test_an_older_index_opens_where_it_cannot_be_written(make_index, vectors, monkeypatch):
    path = make_index("vectors")
    as_before(path)
    monkeypatch.setattr("hashret.store.connection.is_writable", lambda _: False)
    monkeypatch.setattr("hashret.store.item_store.is_writable", lambda _: False)
    monkeypatch.setattr("hashret.store.guard.is_writable", lambda _: False)
    for _ in range(2):
        with hashret.open(path) as index:
            assert index.query(vectors[7], limit=1)[0].key == "7"
            assert len(index) == 600
    assert not (path / "seal.json").exists()


def test_only_an_index_that_keeps_vectors_needs_a_hashret_that_knows_them(kept, vectors_index):
    formats = []
    for index in (vectors_index, kept):
        store = ItemStore.open(index.path / "items.db")
        formats.append(store.setting("format"))
        store.close()
    assert formats == [1, 2]


def test_kept_vectors_are_the_features_of_items_that_came_from_python(kept, vectors, monkeypatch):
    from hashret.index.item_features import ItemFeatures

    reader = ItemFeatures(kept._store, kept.encoder.features)
    monkeypatch.setattr("hashret.index.item_features.CHUNK_ITEMS", 7)
    with kept._reader.state():
        blocks = list(reader.rows())
        chosen = list(reader.rows(["9", "2", "nobody"]))
    assert [key for keys, _ in blocks for key in keys] == [str(i) for i in range(100)]
    close_to(np.concatenate([rows for _, rows in blocks]), vectors[:100])
    assert len(blocks) == 15
    assert chosen[0][0] == ["2", "9"]
    close_to(chosen[0][1], vectors[[2, 9]])
    assert [one.name for one in reader.unread] == ["nobody"]


def test_the_command_line_keeps_vectors_from_the_first_index_on(run, tmp_path, vectors):
    np.save(tmp_path / "v.npy", vectors[:80])
    first = run("index", "v.npy", "-i", "kept", "--bits", 16, "--epochs", 1, "--keep-vectors")
    assert first.returncode == 0, first.stderr
    np.save(tmp_path / "v.npy", vectors[:90])
    assert run("index", "v.npy", "-i", "kept").returncode == 0
    assert run("index", "v.npy", "-i", "kept", "--keep-vectors").returncode == 0
    with hashret.open(tmp_path / "indexes" / "kept") as index:
        close_to(index.vectors([str(i) for i in range(90)]), vectors[:90])
    assert run("index", "v.npy", "-i", "bare", "--bits", 16, "--epochs", 1).returncode == 0
    refused = run("index", "v.npy", "-i", "bare", "--keep-vectors")
    assert refused.returncode == 2
    assert "made without --keep-vectors" in refused.stderr
