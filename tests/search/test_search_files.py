"""Published files: whole or absent, equal to memory, and damage is named."""

import errno
import json
import os
from itertools import pairwise

import numpy as np
import pytest

from hashret.errors import DamagedIndexError, HashretError, IndexExistsError, IndexNotFoundError
from hashret.search import array_file, planner, segment_files
from hashret.search.array_file import ArrayFile
from hashret.search.building import build_segment
from hashret.search.segment_files import open_segment, problems, publish_segment


@pytest.fixture(autouse=True)
def tables_for_all(monkeypatch):
    monkeypatch.setattr(planner, "TABLE_FROM_WORDS", 0)


@pytest.fixture
def codes():
    return np.random.default_rng(0).integers(0, 256, (500, 8), dtype=np.uint8)


@pytest.fixture
def folder(codes, tmp_path):
    publish(codes, tmp_path / "segment", range(0, 1000, 2))
    return tmp_path / "segment"


def publish(codes, path, rows=None):
    publish_segment(path, build_segment(codes, None if rows is None else np.asarray(rows)))


def failure(call, *args):
    """The message of the error a call ends with, or None."""
    try:
        call(*args)
    except HashretError as error:
        return str(error)
    return None


def altered(folder, **facts):
    """Write a manifest with other facts and the right checksum."""
    manifest = json.loads((folder / "manifest.json").read_text())
    del manifest["crc32"]
    manifest |= facts
    manifest["crc32"] = segment_files._crc32_of(manifest)
    (folder / "manifest.json").write_text(json.dumps(manifest))


FILES = ["codes.npy", "rows.npy", "offsets.npy", "positions.npy", "manifest.json"]
ARRAYS = ["words", "rows", "offsets", "positions"]


@pytest.mark.parametrize("n", [0, 1, 500])
@pytest.mark.parametrize("n_bytes", [1, 3, 8, 9, 32])
@pytest.mark.parametrize("table_from_words", [0, 1 << 15])
def test_mapped_equals_in_memory(tmp_path, n, n_bytes, table_from_words, monkeypatch):
    monkeypatch.setattr(planner, "TABLE_FROM_WORDS", table_from_words)
    codes = np.random.default_rng(0).integers(0, 256, (n, n_bytes), dtype=np.uint8)
    memory = build_segment(codes, np.arange(3, 3 + n))
    path = tmp_path / "new" / "segment"
    publish_segment(path, memory)
    opened = open_segment(path)
    assert opened.layout.to_json() == memory.layout.to_json()
    assert (opened.row_base, opened.row_end) == (memory.row_base, memory.row_end)
    assert problems(path) == []
    for name in ARRAYS:
        mine, theirs = getattr(opened, name), getattr(memory, name)
        assert mine.dtype == theirs.dtype
        assert np.array_equal(mine, theirs)
        assert mine.flags.c_contiguous
        assert not mine.flags.writeable
    has_tables = table_from_words == 0
    assert (path / "offsets.npy").exists() == has_tables
    assert (path / "positions.npy").exists() == (has_tables and len(memory.layout.parts) > 1)


def test_opening_maps_the_codes(folder, monkeypatch):
    segment = open_segment(folder)
    assert isinstance(segment.words.base, np.memmap)
    assert type(segment.words) is np.ndarray
    assert segment.scanned is segment.words


def test_large_files_are_mapped_once_more_to_be_scanned(folder, monkeypatch):
    monkeypatch.setattr(segment_files, "RANDOM_FROM_BYTES", 1000)
    segment = open_segment(folder)
    assert np.array_equal(segment.scanned, segment.words)
    assert not np.shares_memory(segment.scanned, segment.words)
    assert segment.nbytes == build_segment(np.zeros((500, 8), np.uint8)).nbytes


def test_bytes_of_arrays_are_not_read_to_open_them(folder):
    for name in FILES[:-1]:
        data = bytearray((folder / name).read_bytes())
        data[-1] ^= 1
        (folder / name).write_bytes(data)
    open_segment(folder)
    assert len(problems(folder)) == 4


@pytest.mark.parametrize("there", ["file", "empty folder", "segment"])
def test_nothing_is_written_over(codes, tmp_path, there):
    path = tmp_path / "segment"
    if there == "file":
        path.write_text("mine")
    elif there == "empty folder":
        path.mkdir()
    else:
        publish(codes[:10], path)
    with pytest.raises(IndexExistsError, match="segment"):
        publish(codes, path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["segment"]
    if there == "segment":
        assert len(open_segment(path)) == 10


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
            message = failure(publish, codes, path)
        if message is None:
            break
        assert "No space left" in message
        # Once renamed into place the files are whole, even if the last flush failed.
        if path.exists():
            assert problems(path) == []
            path.rename(tmp_path / f"whole {nth}")
        assert [entry.name for entry in tmp_path.iterdir() if entry.name.startswith(".")] == []
    assert nth > 0
    assert len(open_segment(path)) == 500


def test_an_interrupt_leaves_nothing(codes, tmp_path, monkeypatch):
    def interrupt(descriptor):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        publish(codes, tmp_path / "segment")
    assert list(tmp_path.iterdir()) == []


def test_no_folder_is_no_index(tmp_path):
    with pytest.raises(IndexNotFoundError, match="nowhere"):
        open_segment(tmp_path / "nowhere")


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_named(folder, name):
    (folder / name).unlink()
    with pytest.raises(DamagedIndexError, match=f"{name}.*derived"):
        open_segment(folder)
    assert any(name in problem for problem in problems(folder))


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("change", [-1, -200, 1])
def test_a_file_of_another_size_is_named(folder, name, change):
    data = (folder / name).read_bytes()
    (folder / name).unlink()  # a mapped file that shrinks would end the process
    (folder / name).write_bytes(data[:change] if change < 0 else data + b"x")
    with pytest.raises(DamagedIndexError, match=name):
        open_segment(folder)
    assert any(name in problem for problem in problems(folder))


@pytest.mark.parametrize("name", FILES)
def test_any_flipped_bit_is_found(folder, name, monkeypatch):
    monkeypatch.setattr(array_file, "BLOCK_BYTES", 1000)
    publish(open_segment(folder).layout.to_codes(open_segment(folder).words), folder / "again")
    folder = folder / "again"
    data = (folder / name).read_bytes()
    rng = np.random.default_rng(0)
    head = range(0, min(len(data), 400), 3)
    for position in [*head, *rng.integers(0, len(data), 60).tolist(), len(data) - 1]:
        bit = 1 << int(rng.integers(0, 8))
        flipped = bytearray(data)
        flipped[position] ^= bit
        (folder / name).write_bytes(flipped)
        found = problems(folder)
        message = failure(open_segment, folder)
        if name == "manifest.json" and message is None:
            assert found == []  # white space
            continue
        (problem,) = found
        assert str(folder / name) in problem
        if message is None:
            assert f"begins at byte {position // 1000 * 1000:,} is" in problem
        else:
            assert str(folder / name) in message
            assert name == "manifest.json" or position < 128
    (folder / name).write_bytes(data)
    assert problems(folder) == []


def test_a_file_that_cannot_be_read_is_reported_with_the_reason(folder):
    for name in FILES:
        (folder / name).rename(folder / "aside")
        (folder / name).mkdir()
        assert name in failure(open_segment, folder)
        assert any(name in problem for problem in problems(folder))
        (folder / name).rmdir()
        (folder / "aside").rename(folder / name)
    assert problems(folder) == []


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", "null", "3", '{"crc32": 1}', '{"crc32": 1, "format": 1}', "{", "\xff"]
)
def test_a_senseless_manifest_is_refused(folder, text):
    (folder / "manifest.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(DamagedIndexError, match=r"manifest\.json"):
        open_segment(folder)


def test_files_of_an_earlier_version_are_refused_with_what_to_do(folder):
    altered(folder, format=1)
    with pytest.raises(DamagedIndexError, match=r"format 1.*reads format 2.*build it again"):
        open_segment(folder)
    assert "format 1" in problems(folder)[0]


@pytest.mark.parametrize(
    "facts",
    [
        {"n": 499},
        {"n": "500"},
        {"row_base": None},
        {"row_end": 2**40},
        {"layout": None},
        {"layout": {"n_bits": 64}},
        {"files": {}},
    ],
)
def test_a_manifest_that_does_not_fit_its_files_is_refused(folder, facts):
    altered(folder, **facts)
    with pytest.raises(DamagedIndexError, match=r"manifest\.json"):
        open_segment(folder)


def test_a_manifest_for_another_layout_is_refused(folder, codes):
    layout = open_segment(folder).layout.to_json()
    altered(folder, layout={**layout, "part_widths": [[*layout["part_widths"][0][:-1], 5]]})
    with pytest.raises(DamagedIndexError, match=r"manifest\.json"):
        open_segment(folder)


@pytest.mark.parametrize("block_bytes", [128, 1000, 1 << 26])
def test_an_array_written_piece_by_piece_is_the_whole_array(tmp_path, monkeypatch, block_bytes):
    monkeypatch.setattr(array_file, "BLOCK_BYTES", block_bytes)
    array = np.random.default_rng(0).integers(0, 2**32, (700, 2), dtype=np.uint64)
    np.save(tmp_path / "saved.npy", array)
    cuts = [0, 0, 1, 5, 60, 61, 200, 700, 700]
    wholes, state = [], None
    with ArrayFile(tmp_path / "at once.npy", array.dtype, array.shape) as file:
        file.append(array)
        wholes.append(file.facts())
    for start, stop in pairwise(cuts):
        with ArrayFile(tmp_path / "parts.npy", array.dtype, array.shape, state) as file:
            assert len(file) == start
            file.append(array[start:stop])
            state = json.loads(json.dumps(file.state()))
            wholes.append(file.facts())
        if start < 700:
            with (tmp_path / "parts.npy").open("ab") as more:
                more.write(b"not known of")
    for name in ("at once.npy", "parts.npy"):
        assert (tmp_path / name).read_bytes() == (tmp_path / "saved.npy").read_bytes()
        assert array_file.problems({tmp_path / name: wholes[0]}) == []
    assert wholes[-1] == wholes[0]
    assert len(wholes[0]["crc32"]) == -(-state["bytes"] // block_bytes)
