import io
import sys
from pathlib import Path

import numpy as np
import pytest

import hashret
from hashret.errors import InputError, UsageError
from hashret.sources import fetching, is_gone, open_source, read_value

fsspec = pytest.importorskip("fsspec")


@pytest.fixture
def memory():
    system = fsspec.filesystem("memory")
    yield system
    system.store.clear()


def put(memory, path, array):
    buffer = io.BytesIO()
    np.save(buffer, array)
    memory.pipe_file(path, buffer.getvalue())


def test_an_array_behind_a_url_is_read_and_read_again(memory):
    put(memory, "/data/a.npy", np.arange(6.0).reshape(3, 2))
    source = open_source("memory://data/a.npy")
    assert [item.value.tolist() for item in source] == [[0, 1], [2, 3], [4, 5]]
    assert source.location == "memory://data/a.npy"
    assert read_value("memory://data/a.npy#1").tolist() == [2, 3]
    assert not is_gone(source.location)


def test_a_file_that_changed_is_fetched_again(memory):
    put(memory, "/a.npy", np.zeros((2, 2)))
    before = open_source("memory://a.npy")
    put(memory, "/a.npy", np.ones((3, 2)))
    assert len(list(open_source("memory://a.npy"))) == 3
    assert [item.value.tolist() for item in before] == [[0, 0], [0, 0]]


def test_several_urls_go_together(memory):
    put(memory, "/a.npy", np.zeros((2, 2)))
    put(memory, "/b.npy", np.ones((2, 2)))
    source = open_source(["memory://a.npy", "memory://b.npy"], key_prefix="{stem}")
    assert [item.key for item in source] == ["a0", "a1", "b0", "b1"]


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("memory://missing.npy", "Cannot fetch memory://missing.npy: there is no such file"),
        ("nonsense://x.npy", "nonsense"),
        ("memory://data", "is a folder"),
    ],
)
def test_what_cannot_be_fetched_is_refused(memory, url, why):
    put(memory, "/data/a.npy", np.zeros((2, 2)))
    with pytest.raises(InputError, match=why):
        open_source(url)


def test_without_fsspec_it_says_what_to_do(monkeypatch):
    monkeypatch.setitem(sys.modules, "fsspec", None)
    with pytest.raises(UsageError, match="pip install fsspec"):
        open_source("s3://bucket/a.npy")


def test_items_of_a_url_are_indexed_and_their_outliers_found(memory, tmp_path):
    put(memory, "/u.npy", np.random.default_rng(0).normal(size=(300, 8)))
    index = hashret.create(tmp_path / "i", "memory://u.npy", n_bits=16, epochs=1, random_state=0)
    assert index["7"].location == "memory://u.npy#7"
    with fetching():
        outliers = index.outliers(limit=2)
    assert (len(outliers), outliers.skipped) == (2, [])


@pytest.mark.parametrize("name", ["..", "."])
def test_a_name_that_means_a_folder_here_is_a_file_there(memory, tmp_path, name):
    from hashret.sources.remote import _copy

    class Elsewhere:
        def isdir(self, path):
            return False

        def get_file(self, path, copy):
            with Path(copy).open("wb") as file:
                file.write(path.encode())

    assert _copy(f"x://a/{name}", Elsewhere(), f"a/{name}").read_bytes() == f"a/{name}".encode()
