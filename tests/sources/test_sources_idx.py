"""IDX files: every type, both encodings, and each way of being damaged."""

import contextlib
import gzip
import struct
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from hashret.errors import InputError
from hashret.sources import open_source, read_idx, read_value
from hashret.sources.idx import DTYPES


def write_idx(path, array):
    code = next(code for code, name in DTYPES.items() if np.dtype(name) == array.dtype)
    header = struct.pack(f">BBBB{array.ndim}I", 0, 0, code, array.ndim, *array.shape)
    content = header + array.tobytes()
    Path(path).write_bytes(gzip.compress(content) if str(path).endswith(".gz") else content)
    return Path(path)


@pytest.fixture
def images():
    return np.arange(5 * 4 * 3, dtype=np.uint8).reshape(5, 4, 3)


@settings(max_examples=60, deadline=None)
@given(
    array=st.sampled_from(sorted(DTYPES.values())).flatmap(
        lambda dtype: hnp.arrays(dtype, hnp.array_shapes(max_dims=4, max_side=5, min_side=0))
    ),
    name=st.sampled_from(["a.idx", "a-idx3-ubyte.gz"]),
)
def test_what_is_written_is_read(array, name):
    with tempfile.TemporaryDirectory() as folder:
        came = read_idx(write_idx(Path(folder, name), array))
        assert came.shape == array.shape
        assert came.dtype == array.dtype.newbyteorder("=")
        assert came.dtype.isnative
        np.testing.assert_array_equal(came, array)


@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize("separator", ["-", "."])
@pytest.mark.parametrize("labels_suffix", ["", ".gz"])
def test_labels_beside_become_fields(tmp_path, images, suffix, separator, labels_suffix):
    path = write_idx(tmp_path / f"train-images{separator}idx3-ubyte{suffix}", images)
    labels = np.array([9, 8, 7, 6, 5], np.uint8)
    write_idx(tmp_path / f"train-labels{separator}idx1-ubyte{labels_suffix}", labels)
    source = open_source(path)
    items = list(source)
    assert [item.key for item in items] == ["0", "1", "2", "3", "4"]
    assert [item.position for item in items] == [0, 1, 2, 3, 4]
    assert [item.fields for item in items] == [{"label": int(label)} for label in labels]
    assert all(type(item.fields["label"]) is int for item in items)
    np.testing.assert_array_equal(np.stack([item.value for item in items]), images)
    assert source.kind == "images"
    assert source.length == 5
    assert source.location == str(path)
    assert source.description == (
        f"5 images of 3 x 4 (grey) from {path.name} with labels from train-labels"
        f"{separator}idx1-ubyte{labels_suffix}"
    )


def test_without_labels_there_are_no_fields(tmp_path, images):
    path = write_idx(tmp_path / "train-images-idx3-ubyte", images)
    assert [dict(item.fields) for item in open_source(path)] == [{}] * 5


def test_labels_of_another_length_are_refused_naming_both_files(tmp_path, images):
    path = write_idx(tmp_path / "train-images-idx3-ubyte", images)
    labels = write_idx(tmp_path / "train-labels-idx1-ubyte", np.zeros(4, np.uint8))
    with pytest.raises(InputError) as caught:
        open_source(path)
    assert str(path) in str(caught.value)
    assert str(labels) in str(caught.value)


def test_a_labels_file_is_no_source(tmp_path):
    path = write_idx(tmp_path / "train-labels-idx1-ubyte.gz", np.zeros(4, np.uint8))
    with pytest.raises(InputError, match="labels"):
        open_source(path)


def test_two_dimensions_are_vectors(tmp_path):
    path = write_idx(tmp_path / "x.idx", np.arange(6, dtype=">f4").reshape(2, 3))
    source = open_source(path)
    assert source.kind == "vectors"
    assert [list(item.value) for item in source] == [[0, 1, 2], [3, 4, 5]]


def test_a_row_is_read_by_its_locator(tmp_path, images):
    images = images.reshape(5, 2, 6)
    path = write_idx(tmp_path / "t10k-images-idx3-ubyte.gz", images)
    np.testing.assert_array_equal(read_value(f"{path}#3"), images[3])
    with pytest.raises(InputError, match="no row 5"):
        read_value(f"{path}#5")
    with pytest.raises(InputError, match="#0"):
        read_value(path)


def whole():
    return b"\0\0\x08\x02" + struct.pack(">II", 2, 3) + bytes(6)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "an empty file"),
        (b"\0\0\x08", "00 00 08"),
        (b"\x89PNG....", "89 50 4e 47"),
        (b"\0\0\x07\x01\0\0\0\0", "00 00 07 01"),
        (b"\0\0\x08\x00", "00 00 08 00"),
        (whole()[:9], "cut short"),
        (whole()[:-1], "cut short"),
        (whole() + b"x", "longer"),
        (b"\0\0\x08\x04" + b"\xff" * 16 + b"abc", "cut short"),
    ],
)
@pytest.mark.parametrize("name", ["a.idx", "a.idx.gz"])
def test_damage_is_named(tmp_path, content, reason, name):
    path = tmp_path / name
    path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    with pytest.raises(InputError, match=reason) as caught:
        open_source(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("damage", ["cut", "altered", "no gzip", "empty"])
def test_damaged_gzip_is_named(tmp_path, damage):
    content = gzip.compress(whole() * 1)
    path = tmp_path / "a.idx.gz"
    path.write_bytes(
        {
            "cut": content[:-9],
            "altered": content[:-6] + b"\xff" + content[-5:],
            "no gzip": whole(),
            "empty": b"",
        }[damage]
    )
    with pytest.raises(InputError, match=r"a\.idx\.gz"):
        read_idx(path)


def test_any_flipped_byte_is_read_or_refused(tmp_path):
    content = gzip.compress(whole())
    path = tmp_path / "a.idx.gz"
    for position in range(len(content)):
        for flip in (0x01, 0x80, 0xFF):
            altered = bytearray(content)
            altered[position] ^= flip
            path.write_bytes(altered)
            with contextlib.suppress(InputError):
                assert read_idx(path).size <= 6


def test_a_missing_file(tmp_path):
    with pytest.raises(InputError, match=r"gone\.idx"):
        read_idx(tmp_path / "gone.idx")
