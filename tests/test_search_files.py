"""Published files: whole or absent, equal to memory, and damage is named instead of answered."""

import errno
import json
import os

import numpy as np
import pytest

from hashret.errors import DamagedIndexError, HashretError, IndexExistsError, IndexNotFoundError
from hashret.search import CodeIndex, planner, segment_files


@pytest.fixture(autouse=True)
def tables_for_all(monkeypatch):
    monkeypatch.setattr(planner, "TABLE_FROM_SECONDS", -1.0)
    monkeypatch.setattr(planner, "GROWING_SHARE", 1e9)


@pytest.fixture
def codes():
    return np.random.default_rng(0).integers(0, 256, (500, 8), dtype=np.uint8)


@pytest.fixture
def folder(codes, tmp_path):
    CodeIndex.build(codes, tmp_path / "segment", rows=range(0, 1000, 2))
    return tmp_path / "segment"


def failure(call, *args):
    """The message of the error a call ends with, or None."""
    try:
        call(*args)
    except HashretError as error:
        return str(error)
    return None


FILES = ["codes.npy", "rows.npy", "offsets.npy", "manifest.json"]


@pytest.mark.parametrize("n", [0, 1, 500])
@pytest.mark.parametrize("n_bytes", [1, 3, 8, 9, 32])
def test_mapped_equals_in_memory(tmp_path, n, n_bytes):
    codes = np.random.default_rng(0).integers(0, 256, (n, n_bytes), dtype=np.uint8)
    memory = CodeIndex.build(codes)
    built = CodeIndex.build(codes, tmp_path / "new" / "segment")
    opened = CodeIndex.open(str(tmp_path / "new" / "segment"))
    queries = np.random.default_rng(1).integers(0, 256, (5, n_bytes), dtype=np.uint8)
    for index in (built, opened):
        assert (len(index), index.n_bits) == (n, n_bytes * 8)
        assert index.path == tmp_path / "new" / "segment"
        assert index.verify() == []
        for mine, theirs in zip(index.within(queries, 5), memory.within(queries, 5), strict=True):
            assert np.array_equal(mine, theirs)
        for mine, theirs in zip(index.nearest(queries, 7), memory.nearest(queries, 7), strict=True):
            assert np.array_equal(mine, theirs)


def test_an_index_in_memory_has_nothing_to_verify(codes):
    index = CodeIndex.build(codes)
    assert index.path is None
    assert index.verify() == []


def test_a_small_index_is_published_without_a_table(codes, tmp_path, monkeypatch):
    monkeypatch.setattr(planner, "TABLE_FROM_SECONDS", 1.0)
    index = CodeIndex.build(codes, tmp_path / "segment")
    assert not (tmp_path / "segment" / "offsets.npy").exists()
    assert index.search(codes[3], radius=0).rows.tolist() == [3]


def test_opening_maps_the_codes(folder):
    assert isinstance(CodeIndex.open(folder)._words.base, np.memmap)


@pytest.mark.parametrize("there", ["file", "empty folder", "segment"])
def test_nothing_is_written_over(codes, tmp_path, there):
    path = tmp_path / "segment"
    if there == "file":
        path.write_text("mine")
    elif there == "empty folder":
        path.mkdir()
    else:
        CodeIndex.build(codes[:10], path)
    with pytest.raises(IndexExistsError, match="segment"):
        CodeIndex.build(codes, path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["segment"]
    if there == "segment":
        assert len(CodeIndex.open(path)) == 10


@pytest.mark.parametrize("call", ["fsync", "rename", "mkdir", "open"])
def test_a_failure_at_any_call_leaves_nothing_or_all(codes, tmp_path, monkeypatch, call):
    """Fail the first, the second, … call until publishing passes."""
    owner = os if call == "fsync" else type(tmp_path)
    real = getattr(owner, call)
    path = tmp_path / "segment"
    for nth in range(30):
        made = []

        def failing(*args, made=made, nth=nth, **kwargs):
            made.append(1)
            if len(made) == nth + 1:
                raise OSError(errno.ENOSPC, "No space left on device")
            return real(*args, **kwargs)

        with monkeypatch.context() as patch:
            patch.setattr(owner, call, failing)
            message = failure(CodeIndex.build, codes, path)
        if message is None:
            break
        assert "No space left" in message
        # Once renamed into place the files are whole, even if the last flush failed.
        if path.exists():
            assert CodeIndex.open(path).verify() == []
            path.rename(tmp_path / f"whole {nth}")
        assert [entry.name for entry in tmp_path.iterdir() if entry.name.startswith(".")] == []
    assert nth > 0
    assert CodeIndex.open(path).search(codes[5], radius=0).rows.tolist() == [5]


def test_an_interrupt_leaves_nothing(codes, tmp_path, monkeypatch):
    def interrupt(descriptor):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        CodeIndex.build(codes, tmp_path / "segment")
    assert list(tmp_path.iterdir()) == []


def test_no_folder_is_no_index(tmp_path):
    with pytest.raises(IndexNotFoundError, match="nowhere"):
        CodeIndex.open(tmp_path / "nowhere")


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_named(folder, name):
    index = CodeIndex.open(folder)
    (folder / name).unlink()
    with pytest.raises(DamagedIndexError, match=f"{name}.*derived"):
        CodeIndex.open(folder)
    assert any(name in problem for problem in index.verify())


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("change", [-1, -200, 1])
def test_a_file_of_another_size_is_named(folder, name, change):
    index = CodeIndex.open(folder)
    data = (folder / name).read_bytes()
    (folder / name).unlink()  # a mapped file that shrinks would end the process
    (folder / name).write_bytes(data[:change] if change < 0 else data + b"x")
    with pytest.raises(DamagedIndexError, match=name):
        CodeIndex.open(folder)
    assert any(name in problem for problem in index.verify())


@pytest.mark.parametrize("name", FILES)
def test_any_flipped_bit_is_refused_or_answered_and_always_verified(folder, codes, name):
    data = (folder / name).read_bytes()
    rng = np.random.default_rng(0)
    head = range(0, min(len(data), 400), 3)
    for position in [*head, *rng.integers(0, len(data), 60).tolist()]:
        bit = 1 << int(rng.integers(0, 8))
        altered = bytearray(data)
        altered[position] ^= bit
        (folder / name).write_bytes(altered)
        message = failure(CodeIndex.open, folder)
        if message is not None:
            assert name in message
            continue
        index = CodeIndex.open(folder)
        if name == "manifest.json" and not index.verify():
            assert index.search(codes[5], radius=0).rows.tolist() == [10]  # white space
            continue
        assert any(name in problem for problem in index.verify())
        for radius, limit in [(0, None), (2, None), (64, None), (None, 3)]:
            message = failure(index.search, codes[5], radius, limit)
            assert message is None or "altered" in message
    (folder / name).write_bytes(data)
    assert CodeIndex.open(folder).verify() == []


def test_a_file_that_cannot_be_read_is_reported_with_the_reason(folder):
    index = CodeIndex.open(folder)
    for name in FILES:
        (folder / name).rename(folder / "aside")
        (folder / name).mkdir()
        assert name in failure(CodeIndex.open, folder)
        assert any(name in problem for problem in index.verify())
        (folder / name).rmdir()
        (folder / "aside").rename(folder / name)
    assert index.verify() == []


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", "null", "3", '{"crc32": 1}', '{"crc32": 1, "format": 1}', "{", "\xff"]
)
def test_a_senseless_manifest_is_refused(folder, text):
    (folder / "manifest.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(DamagedIndexError, match=r"manifest\.json"):
        CodeIndex.open(folder)


def test_another_format_is_refused(folder):
    manifest = json.loads((folder / "manifest.json").read_text())
    del manifest["crc32"]
    manifest["format"] = 2
    manifest["crc32"] = segment_files._crc32_of(manifest)
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(DamagedIndexError, match="format 2"):
        CodeIndex.open(folder)


@pytest.mark.parametrize(
    ("name", "factor"), [("rows.npy", -1), ("rows.npy", 1000), ("offsets.npy", 1000)]
)
def test_altered_numbers_are_refused_when_a_search_meets_them(
    folder, codes, monkeypatch, name, factor
):
    monkeypatch.setattr(planner, "scan_seconds", lambda *_: 1e9)
    array = np.load(folder / name, mmap_mode="r+")
    array[:] = array.astype(np.int64) * factor
    array.flush()
    index = CodeIndex.open(folder)
    assert "altered" in failure(index.search, codes[400], 1)
