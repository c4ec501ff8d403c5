""".npy and .npz files, and arrays from Python."""

import contextlib
import io
import zipfile

import numpy as np
import pytest

from hashret.errors import InputError, UsageError
from hashret.sources import open_source, read_value

X = np.arange(12, dtype=np.float32).reshape(4, 3)
PICTURES = np.arange(4 * 5 * 6, dtype=np.uint8).reshape(4, 5, 6)


def save(path, array):
    np.save(path, array)
    return path


def values(source):
    return np.stack([item.value for item in source])


def test_npy_rows_are_vectors_and_mapped(tmp_path):
    path = save(tmp_path / "X.npy", X)
    source = open_source(path)
    items = list(source)
    np.testing.assert_array_equal(values(items), X)
    assert [(item.key, item.position, dict(item.fields)) for item in items] == [
        (str(row), row, {}) for row in range(4)
    ]
    assert (source.kind, source.length, source.location) == ("vectors", 4, str(path))
    assert source.description == "4 vectors of 3 values (float32) from X.npy"
    base = items[0].value
    while getattr(base, "base", None) is not None and not isinstance(base, np.memmap):
        base = base.base
    assert isinstance(base, np.memmap) or type(base).__name__ == "mmap"


@pytest.mark.parametrize("shape", [(4, 5, 6), (4, 5, 6, 1), (4, 5, 6, 3)])
def test_uint8_of_three_or_four_dimensions_are_images(tmp_path, shape):
    source = open_source(save(tmp_path / "p.npy", np.ones(shape, np.uint8)))
    assert source.kind == "images"
    assert all(item.value.shape == shape[1:] for item in source)
    assert ("RGB" if shape[-1] == 3 else "grey") in source.description
    assert "6 x 5" in source.description


def test_kind_overrules(tmp_path):
    path = save(tmp_path / "p.npy", PICTURES)
    source = open_source(path, kind="vectors")
    assert source.kind == "vectors"
    np.testing.assert_array_equal(values(source), PICTURES.reshape(4, 30))
    floats = save(tmp_path / "f.npy", PICTURES / 255)
    with pytest.raises(InputError, match="kind 'images'"):
        open_source(floats)
    assert open_source(floats, kind="images").kind == "images"
    with pytest.raises(InputError, match="height"):
        open_source(save(tmp_path / "x.npy", X), kind="images")
    with pytest.raises(InputError, match="Expected text, got numbers"):
        open_source(path, kind="text")
    with pytest.raises(UsageError, match="sounds"):
        open_source(path, kind="sounds")


@pytest.mark.parametrize(
    "array",
    [
        np.zeros(5),
        np.float64(3),
        np.zeros((0, 3)),
        np.zeros((3, 0)),
        np.zeros((2, 3), complex),
        np.array([["a", "b"]]),
        np.zeros((2, 2), "M8[s]"),
        np.zeros((2, 2), [("a", "f4")]),
        np.zeros((2, 5, 5, 4), np.uint8),
        np.zeros((2, 5, 5, 5, 3), np.uint8),
    ],
    ids=lambda array: f"{array.dtype}{array.shape}",
)
def test_what_is_no_table_of_numbers_is_refused(tmp_path, array):
    path = save(tmp_path / "bad.npy", array)
    with pytest.raises(InputError, match=r"bad\.npy"):
        open_source(path)
    with pytest.raises(InputError):
        open_source(array)


@pytest.mark.parametrize("name", ["o.npy", "o.npz"])
def test_python_objects_are_refused(tmp_path, name):
    path = tmp_path / name
    (np.save if name.endswith("npy") else np.savez)(path, np.array([{}, 1], dtype=object))
    for read in (open_source, read_value):
        with pytest.raises(InputError, match="objects"):
            read(path)


@pytest.mark.parametrize("name", ["d.npy", "d.npz"])
def test_damage_of_any_byte_or_length_is_read_or_refused(tmp_path, name):
    path = tmp_path / name
    np.save(path, X) if name.endswith("npy") else np.savez_compressed(path, X=X)
    content = path.read_bytes()
    variants = [content[:length] for length in range(0, len(content), 7)]
    for position in range(0, len(content), 1 if name.endswith("npz") else 3):
        altered = bytearray(content)
        altered[position] ^= 0x55
        variants.append(bytes(altered))
    for variant in [*variants, b"hello", b"PK"]:
        path.write_bytes(variant)
        with contextlib.suppress(InputError):
            assert list(open_source(path))


@pytest.mark.parametrize("labels_name", ["X_labels.npy", "X.labels.npy"])
def test_labels_beside_an_npy(tmp_path, labels_name):
    path = save(tmp_path / "X.npy", X)
    save(tmp_path / labels_name, np.array(["a", "b", "c", "d"]))
    source = open_source(path)
    assert [item.fields for item in source] == [{"label": label} for label in "abcd"]
    assert labels_name in source.description
    save(tmp_path / labels_name, np.zeros(3, int))
    with pytest.raises(InputError) as caught:
        open_source(path)
    assert labels_name in str(caught.value)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    "name", ["X", "x", "data", "vectors", "embeddings", "images", "arr_0", "x_train", "other"]
)
def test_the_array_of_an_npz(tmp_path, name):
    path = tmp_path / "a.npz"
    np.savez(path, **{name: X, "steps": np.arange(7)})
    source = open_source(path)
    np.testing.assert_array_equal(values(source), X)
    assert "steps not used" in source.description


def test_an_npz_that_leaves_open_what_is_meant(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, first=X, second=X)
    with pytest.raises(InputError, match=r"first \(4, 3\), second \(4, 3\)"):
        open_source(path)
    np.savez(path)
    with pytest.raises(InputError, match="none at all"):
        open_source(path)


@pytest.mark.parametrize("label_name", ["y", "labels", "label", "y_train"])
def test_labels_in_an_npz(tmp_path, label_name):
    path = tmp_path / "a.npz"
    np.savez(path, X=X, **{label_name: np.array([3, 2, 1, 0], np.uint8)})
    labels = [item.fields["label"] for item in open_source(path)]
    assert labels == [3, 2, 1, 0]
    assert all(type(label) is int for label in labels)
    np.savez(path, X=X, **{label_name: np.array(["cat", "dog"])})
    source = open_source(path)
    assert all(item.fields == {} for item in source)
    assert f"{label_name} not used" in source.description


def test_keras_archives(tmp_path):
    path = tmp_path / "mnist.npz"
    y = np.array([[3], [2], [1], [0]])
    np.savez(path, x_test=PICTURES[:2], y_test=y[:2], x_train=PICTURES, y_train=y)
    source = open_source(path)
    np.testing.assert_array_equal(values(source), PICTURES)
    assert [item.fields["label"] for item in source] == [3, 2, 1, 0]
    assert "x_test, y_test not used" in source.description


@pytest.mark.parametrize("name", ["keys", "ids"])
@pytest.mark.parametrize("ids", [np.array(["d", "c", "b", "ä"]), np.array([7, 5, 3, 1])])
def test_keys_in_an_npz(tmp_path, name, ids):
    path = tmp_path / "a.npz"
    np.savez(path, X=X, **{name: ids})
    assert [item.key for item in open_source(path)] == [str(key) for key in ids]
    assert [item.position for item in open_source(path)] == [0, 1, 2, 3]
    prefixed = open_source(path, key_prefix="{stem}/")
    assert [item.key for item in prefixed] == [f"a/{key}" for key in ids]


@pytest.mark.parametrize(
    ("ids", "reason"),
    [
        (np.array(["a", "b", "a", "c"]), "'a' comes twice"),
        (np.array(["a", "b"]), "each of the 4 rows"),
        (np.array([0.5, 1, 2, 3]), "float64"),
        (np.array(["a", "", "b", "c"]), "valid character"),
        (np.array([b"a", b"\xff", b"b", b"c"]), "UTF-8"),
    ],
)
def test_keys_that_are_none(tmp_path, ids, reason):
    path = tmp_path / "a.npz"
    np.savez(path, X=X, keys=ids)
    with pytest.raises(InputError, match=reason):
        open_source(path)


def test_members_of_an_npz_that_are_no_arrays_are_left_alone(tmp_path):
    buffer = io.BytesIO()
    np.save(buffer, X)
    path = tmp_path / "a.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("images", b"just text")
        archive.writestr("X.npy", buffer.getvalue())
    assert open_source(path).length == 4


@pytest.mark.parametrize(("prefix", "first"), [("", "0"), ("p:", "p:0"), ("{stem}:", "v1.2:0")])
def test_key_prefix(tmp_path, prefix, first):
    path = save(tmp_path / "v1.2.npy", X)
    assert next(iter(open_source(path, key_prefix=prefix))).key == first


def test_read_value_of_an_array_file(tmp_path):
    path = save(tmp_path / "X.npy", X)
    np.testing.assert_array_equal(read_value(f"{path}#2"), X[2])
    with pytest.raises(InputError, match="#0"):
        read_value(path)
    for row in (4, 10**17):
        with pytest.raises(InputError, match="0 to 3"):
            read_value(f"{path}#{row}")
    np.testing.assert_array_equal(read_value(save(tmp_path / "1.npy", X[:1])), X[0])
    np.testing.assert_array_equal(read_value(save(tmp_path / "v.npy", X[0])), X[0])
    np.testing.assert_array_equal(read_value(save(tmp_path / "p.npy", PICTURES[0])), PICTURES[0])
    np.testing.assert_array_equal(read_value(save(tmp_path / "q.npy", PICTURES[:1])), PICTURES[0])
    np.savez(tmp_path / "a.npz", X=X)
    np.testing.assert_array_equal(read_value(tmp_path / "a.npz#1"), X[1])


def test_a_file_whose_own_name_looks_like_a_locator(tmp_path):
    path = save(tmp_path / "X.npy#1.npy", X[:1])
    save(tmp_path / "X.npy", X)
    np.testing.assert_array_equal(read_value(path), X[0])
    np.testing.assert_array_equal(read_value(f"{path}#0"), X[0])


def test_arrays_from_python():
    class Frame:
        def __array__(self, dtype=None, copy=None):
            return X.astype(np.int64)

    for given in (X, X.tolist(), list(X), tuple(X), iter(X), Frame(), np.asfortranarray(X)):
        source = open_source(given)
        items = list(source)
        assert [item.key for item in items] == ["0", "1", "2", "3"]
        np.testing.assert_array_equal(values(items), X)
        np.testing.assert_array_equal(values(source), X)  # A second time.
        assert (source.kind, source.length, source.location) == ("vectors", 4, None)
        assert all(item.position is None for item in items)
    assert open_source(PICTURES).kind == "images"
    assert [item.key for item in open_source(X[:2], key_prefix="p")] == ["p0", "p1"]
    with pytest.raises(UsageError, match="stem"):
        open_source(X, key_prefix="{stem}:")


def test_a_row_of_two_numbers_is_no_pair():
    source = open_source([[1, 2], [3, 4]])
    assert values(source).tolist() == [[1, 2], [3, 4]]


def test_an_npz_file_that_is_not_compressed_is_mapped_not_read(tmp_path):
    vectors = np.arange(12, dtype=np.float32).reshape(3, 4)
    np.savez(tmp_path / "a.npz", X=vectors, y=np.arange(3), keys=np.array(["a", "b", "c"]))
    np.savez(tmp_path / "f.npz", X=np.asfortranarray(vectors))
    for name in ("a.npz", "f.npz"):
        source = open_source(tmp_path / name)
        assert np.array_equal([item.value for item in source], vectors)
        assert is_mapped(source._values)
    items = list(open_source(tmp_path / "a.npz"))
    assert [(item.key, item.fields["label"]) for item in items] == [("a", 0), ("b", 1), ("c", 2)]
    np.savez_compressed(tmp_path / "c.npz", X=vectors)
    source = open_source(tmp_path / "c.npz")
    assert np.array_equal([item.value for item in source], vectors)


@pytest.mark.parametrize("at", [0, 20, 40, 60, 100, 130, 200])
def test_a_damaged_npz_file_is_refused_or_read_as_it_is(tmp_path, at):
    np.savez(tmp_path / "a.npz", X=np.ones((3, 4)))
    content = bytearray((tmp_path / "a.npz").read_bytes())
    content[at] ^= 0x55
    (tmp_path / "a.npz").write_bytes(content)
    try:
        source = open_source(tmp_path / "a.npz")
    except InputError as error:
        assert "a.npz" in str(error)
    else:
        assert len(list(source)) == source.length


def is_mapped(array):
    while array is not None and not isinstance(array, np.memmap):
        array = array.base
    return array is not None


def test_a_mapped_array_is_never_copied_whole(tmp_path):
    array = np.lib.format.open_memmap(
        tmp_path / "a.npy", mode="w+", dtype=np.float32, shape=(4000, 6, 4), fortran_order=True
    )
    array[:] = np.arange(4000)[:, None, None]
    array.flush()
    source = open_source(tmp_path / "a.npy", kind="vectors")
    assert is_mapped(source._values)
    items = list(source)
    assert [item.value[0] for item in items] == list(range(4000))
    assert all(item.value.shape == (24,) for item in items)


def test_what_was_read_of_a_mapped_file_is_let_go(tmp_path, monkeypatch):
    from hashret.sources import arrays

    np.save(tmp_path / "a.npy", np.arange(80_000, dtype=np.float32).reshape(20_000, 4))
    calls = []
    monkeypatch.setattr(arrays, "LET_GO_BYTES", 1 << 16)
    monkeypatch.setattr(arrays, "let_go", calls.append)
    source = open_source(tmp_path / "a.npy")
    assert sum(1 for _ in source) == 20_000
    assert len(calls) == 4
    monkeypatch.undo()
    arrays.let_go(source._values)
    arrays.let_go(np.zeros(3))
    assert [item.value[0] for item in source] == list(range(0, 80_000, 4))
