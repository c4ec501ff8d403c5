"""Stored items read again: the same rows, matched by key and content, and who cannot be read."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import hashret
from hashret.encoder.baselines import RandomHyperplanes
from hashret.errors import InputError
from hashret.index.item_features import ItemFeatures
from hashret.progress import no_progress


def read(index, keys=None, progress=no_progress):
    """Rows by key, and the reader that read them."""
    reader = ItemFeatures(index._store, index.encoder.features)
    found = {}
    with index._reader.state():
        for names, rows in reader.rows(keys, progress):
            assert rows.dtype == np.float32
            found.update(zip(names, rows, strict=True))
    return found, reader


@pytest.fixture
def indexed(make_index, idx_files, image_folder, tmp_path):
    """An index of digits beside sources of its own that may be spoiled."""

    def make(name):
        home = tmp_path / "source"
        if name == "photos":
            shutil.copytree(image_folder, home)
            source = home
        else:
            shutil.copytree(idx_files, home)
            source = home / "train-images-idx3-ubyte"
        index = hashret.open(make_index(name))
        index.remove(list(index))
        index.add(source)
        return index, source

    return make


def test_the_rows_of_an_array_file_are_the_items(indexed, digits):
    index, _ = indexed("digits")
    index.remove(["3", "7"])
    notes = []
    found, reader = read(index, progress=notes.append)
    assert list(found) == [str(row) for row in range(300) if row not in (3, 7)]
    np.testing.assert_array_equal(found["8"], (digits[8] / np.float32(255)).reshape(-1))
    assert reader.unread == []
    assert (notes[-1].stage, notes[-1].done, notes[-1].total) == ("reading", 298, 298)


def test_images_are_read_and_chunks_are_joined(indexed, monkeypatch):
    index, _ = indexed("photos")
    monkeypatch.setattr("hashret.index.item_features.CHUNK_ITEMS", 7)
    monkeypatch.setattr("hashret.index.encoding.CHUNK_ITEMS", 11)
    found, _ = read(index)
    assert list(found) == list(index)
    codes = index.encoder.runtime.encode(np.stack(list(found.values())))
    assert [code.tobytes() for code in codes] == [index[key].code.tobytes() for key in found]


def test_chosen_keys_alone_are_read(indexed):
    index, _ = indexed("digits")
    found, reader = read(index, ["200", "5", "nobody"])
    assert list(found) == ["5", "200"]
    assert [(one.name, one.reason) for one in reader.unread] == [("nobody", "no item has this key")]


def test_what_is_gone_or_changed_is_named_and_not_used(indexed):
    index, folder = indexed("photos")
    gone, changed, broken = list(index)[:3]
    shutil.copy(list(index)[4], changed)
    (folder / gone).unlink()
    (folder / broken).write_bytes(b"no image")
    found, reader = read(index)
    assert list(found) == list(index)[3:]
    assert [one.name for one in reader.unread] == [gone, changed, broken]
    assert "No such file" in reader.unread[0].reason
    assert all("has changed since" in one.reason for one in reader.unread[1:])


def test_rows_of_a_file_that_was_written_anew_are_not_taken_for_the_items(indexed, digits):
    index, source = indexed("digits")
    content = bytearray(source.read_bytes())
    content[16 + 64 * 10] ^= 1
    source.write_bytes(content)
    found, reader = read(index)
    assert len(found) == 299
    assert [one.name for one in reader.unread] == ["10"]


def test_pictures_indexed_as_vectors_are_read_as_vectors(tmp_path, digits):
    np.save(tmp_path / "digits.npy", digits[:60])
    options = {"n_bits": 16, "epochs": 1, "random_state": 0}
    with hashret.create(
        tmp_path / "flat", tmp_path / "digits.npy", kind="vectors", **options
    ) as index:
        found, reader = read(index)
    assert len(found) == 60
    assert reader.unread == []
    np.testing.assert_array_equal(found["9"], digits[9].reshape(-1))


def test_when_nothing_can_be_read_it_says_why(indexed, vectors_index):
    with pytest.raises(InputError, match="came from Python or through standard input"):
        read(vectors_index)
    index, source = indexed("digits")
    source.unlink()
    with pytest.raises(InputError, match=r"None of the 300 items.*first is 0: No such file"):
        read(index)


def test_an_empty_index_has_no_rows(vectors_index):
    vectors_index.remove(list(vectors_index))
    assert read(vectors_index)[0] == {}


def test_a_table_in_another_order_than_the_items_is_read_in_one_pass(tmp_path, monkeypatch):
    path = tmp_path / "notes.jsonl"
    lines = [json.dumps({"id": str(n), "text": f"a note on thing {n}"}) for n in range(60)]
    path.write_text("\n".join(lines))
    with hashret.create(tmp_path / "i", path, hasher=RandomHyperplanes(8)) as index:
        path.write_text("\n".join(lines[::-1]))
        assert index.add(path).unchanged == 60
        opened = []
        monkeypatch.setattr(
            Path,
            "open",
            lambda self, *how, whole=Path.open: opened.append(self) or whole(self, *how),
        )
        found, reader = read(index)
    assert found.keys() == {str(n) for n in range(60)}
    assert not reader.unread
    assert opened.count(path) < 10
