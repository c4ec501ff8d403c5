import numpy as np
import pytest

from hashret.errors import InputError
from hashret.sources import open_source, read_value

DTYPES = {".fvecs": "<f4", ".bvecs": "u1", ".ivecs": "<i4"}


def write(path, rows):
    dtype = DTYPES[path.suffix]
    path.write_bytes(
        b"".join(np.int32(len(row)).tobytes() + np.array(row, dtype).tobytes() for row in rows)
    )
    return path


@pytest.mark.parametrize("suffix", DTYPES)
def test_vectors_are_read_as_they_were_written(tmp_path, suffix):
    rows = np.random.default_rng(0).integers(0, 200, (7, 5))
    path = write(tmp_path / f"a{suffix}", rows)
    source = open_source(path)
    assert np.array_equal([item.value for item in source], rows)
    assert [item.key for item in source] == [str(row) for row in range(7)]
    assert next(iter(source)).value.dtype == DTYPES[suffix]
    assert np.array_equal(read_value(f"{path}#4"), rows[4])
    assert source.location == str(path)


def test_they_are_mapped_not_read(tmp_path):
    source = open_source(write(tmp_path / "a.fvecs", np.ones((3, 4))))
    array = source._values
    while getattr(array, "base", None) is not None and not isinstance(array, np.memmap):
        array = array.base
    assert isinstance(array, np.memmap)


def test_a_record_of_another_length_is_named(tmp_path):
    path = tmp_path / "a.fvecs"
    write(path, np.ones((100_000, 4)))
    content = bytearray(path.read_bytes())
    content[70_000 * 20] = 3
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"4 values in record 0 and 3 in record 70,000"):
        open_source(path)
    with pytest.raises(InputError, match="3 in record 70,000"):
        read_value(f"{path}#70000")


def test_ragged_vectors_are_refused(tmp_path):
    with pytest.raises(InputError, match="record 1"):
        open_source(write(tmp_path / "a.fvecs", [[1, 2], [1, 2, 3], [1, 2]]))


def test_a_cut_file_is_refused_with_the_record(tmp_path):
    path = write(tmp_path / "a.bvecs", np.ones((5, 8)))
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(InputError, match="record 4 should have 8 values, 12 bytes, but only 9"):
        open_source(path)


@pytest.mark.parametrize("head", [b"", b"\1\0", b"\0\0\0\0", b"\xff\xff\xff\xff", b"\0\0\0\x7f"])
def test_a_length_that_cannot_be_is_refused(tmp_path, head):
    (tmp_path / "a.fvecs").write_bytes(head)
    with pytest.raises(InputError, match="no .fvecs file"):
        open_source(tmp_path / "a.fvecs")


def test_a_first_record_that_is_not_there_is_refused(tmp_path):
    (tmp_path / "a.fvecs").write_bytes(b"\5\0\0\0abcd")
    with pytest.raises(InputError, match="record 0"):
        open_source(tmp_path / "a.fvecs")
