import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from hashret.errors import InputError, UsageError
from hashret.sources import is_gone, open_source, read_value

TRAIN = np.arange(24, dtype=np.float32).reshape(6, 4)
TEST = -TRAIN[:2]


@pytest.fixture
def path(tmp_path):
    return write(tmp_path / "a.hdf5", train=TRAIN, test=TEST, neighbors=np.ones((2, 3), "i4"))


def write(path, **arrays):
    with h5py.File(path, "w") as file:
        for name, array in arrays.items():
            file.create_dataset(name, data=array)
    return path


def test_train_is_taken_where_nothing_is_named(path):
    source = open_source(path)
    assert np.array_equal([item.value for item in source], TRAIN)
    assert [item.key for item in source][-1] == "5"
    assert source.description.startswith("6 vectors of 4 values (float32) from a.hdf5")
    assert "test, " not in source.description.split(";")[0]


@pytest.mark.parametrize("how", ["column", "path"])
def test_another_data_set_is_named_and_read_again(path, how):
    source = open_source(path, column="test") if how == "column" else open_source(path / "test")
    assert np.array_equal([item.value for item in source], TEST)
    assert source.location == f"{path}/test"
    assert np.array_equal(read_value(f"{source.location}#1"), TEST[1])
    assert not is_gone(source.location)


def test_rows_are_read_again_by_number(path):
    assert np.array_equal(read_value(f"{path}#3"), TRAIN[3])
    with pytest.raises(InputError, match="no row 6"):
        read_value(f"{path}#6")


def test_compressed_chunks_and_groups_are_read(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("group/inner", data=TRAIN, chunks=(2, 4), compression="gzip")
    source = open_source(tmp_path / "a.h5")
    assert np.array_equal([item.value for item in source], TRAIN)
    sample = list(source.sample(3, np.random.default_rng(0)))
    assert all(np.array_equal(item.value, TRAIN[item.position]) for item in sample)


def test_two_data_sets_of_one_file_have_keys_of_their_own(path):
    source = open_source([path, f"{path}/test"], key_prefix="{stem}:")
    assert [item.key for item in source][5:7] == ["a:5", "a/test:0"]


def test_a_data_set_that_is_not_there_is_named_with_those_that_are(path):
    with pytest.raises(InputError, match=r"no data set 'x'.*train \(6, 4\)"):
        open_source(path, column="x")


def test_what_is_meant_must_be_clear(tmp_path):
    path = write(tmp_path / "a.h5", one=TRAIN, two=TEST)
    with pytest.raises(InputError, match="Which data set"):
        open_source(path)


def test_a_file_that_is_none_is_refused(tmp_path):
    (tmp_path / "a.hdf5").write_bytes(b"no such thing" * 50)
    with pytest.raises(InputError, match="not an HDF5 file"):
        open_source(tmp_path / "a.hdf5")


def test_text_is_no_vector(tmp_path):
    path = write(tmp_path / "a.h5", train=np.array([[b"ab"], [b"cd"]]))
    with pytest.raises(InputError, match="Expected numbers"):
        open_source(path)


def test_links_to_other_files_are_not_followed(tmp_path, path):
    with h5py.File(tmp_path / "b.h5", "w") as file:
        file["train"] = h5py.ExternalLink(str(path), "train")
    with pytest.raises(InputError, match="got none"):
        open_source(tmp_path / "b.h5")


def test_without_h5py_it_says_what_to_install(path, monkeypatch):
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(UsageError, match=r"pip install 'hashret\[hdf5\]'"):
        open_source(path)


def test_an_array_of_npz_is_named_in_the_same_way(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, x_train=TRAIN, y_train=np.arange(6), x_test=TEST, y_test=np.arange(2))
    source = open_source(path / "x_test")
    assert [item.fields["label"] for item in source] == [0, 1]
    assert np.array_equal(read_value(f"{source.location}#1"), TEST[1])
    with pytest.raises(InputError, match="no array 'x'"):
        open_source(path, column="x")


def test_column_is_for_files_of_several_arrays(tmp_path):
    np.save(tmp_path / "a.npy", TRAIN)
    with pytest.raises(UsageError, match="column"):
        open_source(tmp_path / "a.npy", column="x")


def test_a_chunk_is_unpacked_once_for_all_of_its_rows(tmp_path):
    def n_read():
        return int(Path("/proc/self/io").read_text().split()[1])

    rows = np.random.default_rng(0).random((12_000, 128), dtype=np.float32)
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("X", data=rows, chunks=(4096, 128), compression="gzip")
    source = open_source(path)
    before = n_read()
    sample = list(source.sample(50, np.random.default_rng(0)))
    assert all(np.array_equal(item.value, rows[item.position]) for item in sample)
    assert sum(1 for _ in source) == 12_000
    assert n_read() - before < 3 * path.stat().st_size
