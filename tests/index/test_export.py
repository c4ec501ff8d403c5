"""Exports: what is read back is what the index holds, and a file is there whole or not at all."""

import gzip
import json
import sys

import faiss
import pyarrow.parquet as pq
import pytest

from hashret.errors import HashretError, UsageError
from hashret.index import export

HOSTILE = [
    "two\nlines\r\n",
    "quotes \"' and \\ and ,\t;",
    "../../etc/passwd",
    "/absolute/../x",
    " ",
    "line\u2028separator\x85and\x0bmore",
    "\u202ereversed",
    "plane 1 \U0001f600, 2 \U00020000, 3 \U00030000, 14 \U000e0001, 16 \U0010ffff, none \ufffd",
    "x" * 10_000,
    "-rf",
]
FIELDS = {
    "whole": [1, -(2**63), 2**63 - 1, None],
    "real": [0.5, 3, None, 1e300],
    "mixed": ["a", 1, 2.5, True],
    "flag": [True, False, None, True],
    "unsure": [True, 0, None, 1],
    "exact": [2**53 + 1, 0.5, None, 1],
    "text": ["\u2028\0\n", "", None, "null"],
    "never": [None, None, None, None],
    "location": ["not the location", 1, None, None],
    "Code": [1, 2, 3, 4],
    "fields.code": [1, 2, 3, 4],
    "odd, \U0001f600 name": [1, 2, 3, 4],
}


@pytest.fixture
def index(vectors_index, vectors):
    """Items of hostile names and fields, some removed, a segment and a tail."""
    vectors_index.compact()
    fields = [
        {name: values[n % 4] for name, values in FIELDS.items() if n < 8}
        for n in range(len(HOSTILE))
    ]
    vectors_index.add([(key, vectors[n], fields[n]) for n, key in enumerate(HOSTILE)], replace=True)
    vectors_index.remove(["3", "4", "599", " "])
    return vectors_index


def lines_of(path):
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "rb") as file:
        return [json.loads(line) for line in file.read().decode("ascii").splitlines()]


def expected_lines(index, where=None):
    return [
        {
            "row": item.row,
            "key": item.key,
            "code": item.code.tobytes().hex(),
            "encoder": index.fingerprint,
            "location": item.location,
            "fields": item.fields,
        }
        for item in index.items(where=where)
    ]


@pytest.mark.parametrize("name", ["x.jsonl", "x.ndjson", "x.JSONL", "x.jsonl.gz", "a.b.ndjson.gz"])
def test_json_lines_hold_every_item(index, tmp_path, name):
    count = index.export(tmp_path / name)
    assert lines_of(tmp_path / name) == expected_lines(index)
    assert count == len(index) == 600 + len(HOSTILE) - 4


def test_parquet_holds_every_item_in_columns_of_fitting_types(index, tmp_path):
    path = tmp_path / "x.parquet"
    assert index.export(path) == len(index)
    table = pq.read_table(path)
    assert {name: str(table.schema.field(name).type) for name in table.column_names} == {
        "row": "int64",
        "key": "string",
        "code": "fixed_size_binary[4]",
        "location": "string",
        "whole": "int64",
        "real": "double",
        "mixed": "string",
        "flag": "bool",
        "unsure": "string",
        "exact": "string",
        "text": "string",
        "never": "string",
        "fields.location": "string",
        "fields.Code": "int64",
        "fields.fields.code": "int64",
        "odd, \U0001f600 name": "int64",
    }
    metadata = table.schema.metadata
    assert metadata[b"hashret.n_bits"] == b"32"
    assert metadata[b"hashret.encoder"] == index.fingerprint.encode()
    items = index.items()
    assert table["row"].to_pylist() == [item.row for item in items]
    assert table["key"].to_pylist() == [item.key for item in items]
    assert table["code"].to_pylist() == [item.code.tobytes() for item in items]
    assert table["location"].to_pylist() == [item.location for item in items]
    for name in FIELDS:
        title = f"fields.{name}" if name in ("location", "Code", "fields.code") else name
        values = [item.fields.get(name) for item in items]
        if str(table.schema.field(title).type) == "string":
            values = [v if v is None or isinstance(v, str) else json.dumps(v) for v in values]
        assert table[title].to_pylist() == values


def test_faiss_finds_the_same_neighbours(index, tmp_path):
    path = tmp_path / "x.faiss"
    assert index.export(path) == len(index)
    read = faiss.read_index_binary(str(path))
    assert isinstance(read, faiss.IndexBinaryIDMap2)
    assert (read.d, read.ntotal) == (32, len(index))
    items = index.items()
    key_of = {item.row: item.key for item in items}
    for item in items[::97]:
        distances, rows = read.search(item.code[None], 20)
        result = index.query_code(item.code, limit=20)
        assert distances[0].tolist() == [hit.distance for hit in result]
        nearer = [row for row, d in zip(rows[0], distances[0], strict=True) if d < distances[0][-1]]
        hits = [hit.key for hit in result if hit.distance < result[-1].distance]
        assert sorted(key_of[row] for row in nearer) == sorted(hits)
        assert read.reconstruct(item.row).tolist() == item.code.tolist()


@pytest.mark.parametrize("suffix", ["jsonl", "parquet", "faiss"])
@pytest.mark.parametrize("where", ['"whole" is not null', "key like '1%'", "1 = 0"])
def test_only_what_a_condition_chooses(index, tmp_path, suffix, where):
    path = tmp_path / f"x.{suffix}"
    rows = [item.row for item in index.items(where=where)]
    assert index.export(path, where) == len(rows)
    if suffix == "jsonl":
        assert lines_of(path) == expected_lines(index, where)
    elif suffix == "parquet":
        assert pq.read_table(path)["row"].to_pylist() == rows
    else:
        read = faiss.read_index_binary(str(path))
        assert faiss.vector_to_array(read.id_map).tolist() == rows


@pytest.mark.parametrize("suffix", ["jsonl", "jsonl.gz", "parquet", "faiss"])
def test_an_empty_index_gives_an_empty_file(vectors_index, tmp_path, suffix):
    vectors_index.remove(list(vectors_index))
    path = tmp_path / f"x.{suffix}"
    assert vectors_index.export(path) == 0
    if suffix == "parquet":
        assert pq.read_table(path).num_rows == 0
    elif suffix == "faiss":
        assert faiss.read_index_binary(str(path)).ntotal == 0
    else:
        assert lines_of(path) == []


def test_blocks_end_where_they_may(index, tmp_path, monkeypatch):
    monkeypatch.setattr(export, "BLOCK_ITEMS", 7)
    index.export(tmp_path / "x.jsonl")
    assert lines_of(tmp_path / "x.jsonl") == expected_lines(index)
    index.export(tmp_path / "some.jsonl", "key like '1%'")
    assert lines_of(tmp_path / "some.jsonl") == expected_lines(index, "key like '1%'")
    seen = []
    index.export(tmp_path / "x.parquet", progress=seen.append)
    assert pq.read_table(tmp_path / "x.parquet")["key"].to_pylist() == [
        i.key for i in index.items()
    ]
    done = [one.done for one in seen if one.stage == "exporting"]
    assert (done[0], done[-1], len(done)) == (0, len(index), 2 + (len(index) - 1) // 7)


@pytest.mark.parametrize("suffix", ["jsonl", "jsonl.gz", "parquet", "faiss"])
def test_it_is_one_state_while_the_index_changes(index, tmp_path, monkeypatch, suffix):
    monkeypatch.setattr(export, "BLOCK_ITEMS", 50)
    before = [item.row for item in index.items()]
    changed = []

    def change(progress):
        if not changed and progress.done >= 100:
            changed.append(index.remove(["590", "591"]))

    path = tmp_path / f"x.{suffix}"
    assert index.export(path, progress=change) == len(before) == len(index) + 2
    if suffix == "parquet":
        assert pq.read_table(path)["row"].to_pylist() == before
    elif suffix != "faiss":
        assert [line["row"] for line in lines_of(path)] == before


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError(28, "No space left on device")])
@pytest.mark.parametrize("suffix", ["jsonl", "jsonl.gz", "parquet", "faiss"])
@pytest.mark.parametrize("there", [True, False])
def test_what_goes_wrong_leaves_what_was(index, tmp_path, monkeypatch, suffix, error, there):
    monkeypatch.setattr(export, "BLOCK_ITEMS", 100)
    folder = tmp_path / "out"
    folder.mkdir()
    path = folder / f"x.{suffix}"
    if there:
        path.write_text("what was")

    def interrupt(progress):
        if progress.stage == "exporting" and progress.done >= 300:
            raise error

    expected = KeyboardInterrupt if error is KeyboardInterrupt else HashretError
    with pytest.raises(expected):
        index.export(path, overwrite=True, progress=interrupt)
    assert [file.read_text() for file in folder.iterdir()] == ["what was"] * there


@pytest.mark.parametrize("suffix", ["jsonl", "jsonl.gz", "parquet", "faiss"])
def test_a_full_disk_is_said(index, tmp_path, monkeypatch, suffix):
    """The disk takes some bytes, then no more: even what is only written at the end is missed."""
    from contextlib import contextmanager

    folder = tmp_path / "out"
    folder.mkdir()

    @contextmanager
    def nearly_full(path, *, overwrite, opened=export.whole_file):
        with opened(path, overwrite=overwrite) as file:

            class Disk:
                size = 0

                def write(self, content):
                    self.size += len(content)
                    if self.size > 2000:
                        raise OSError(28, "No space left on device")
                    return file.write(content)

                def __getattr__(self, name):
                    return getattr(file, name)

            yield Disk()

    monkeypatch.setattr(export, "whole_file", nearly_full)
    with pytest.raises(HashretError, match="No space left"):
        index.export(folder / f"x.{suffix}")
    assert list(folder.iterdir()) == []


def test_a_file_is_replaced_only_when_asked(index, tmp_path):
    path = tmp_path / "x.jsonl"
    path.write_text("mine")
    with pytest.raises(HashretError, match="--overwrite"):
        index.export(path)
    assert path.read_text() == "mine"
    assert index.export(path, overwrite=True) == len(lines_of(path))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("x.txt", "parquet"),
        ("jsonl", "may end in"),
        ("x.csv", "items --csv"),
        ("x.gz", ".jsonl.gz"),
    ],
)
def test_an_unknown_end_of_the_name_is_refused(index, tmp_path, name, message):
    with pytest.raises(UsageError, match=message):
        index.export(tmp_path / name)
    assert not (tmp_path / name).exists()


def test_a_folder_that_is_missing_or_in_the_way_is_said(index, tmp_path):
    with pytest.raises(HashretError, match="no folder"):
        index.export(tmp_path / "missing" / "x.jsonl")
    (tmp_path / "x.jsonl").mkdir()
    with pytest.raises(HashretError, match="is a folder"):
        index.export(tmp_path / "x.jsonl", overwrite=True)
    with pytest.raises(UsageError, match="nothing"):
        index.export(tmp_path / "y.jsonl", "nothing = 1")
    assert not list(tmp_path.glob(".unfinished*"))


def test_parquet_without_pyarrow_says_what_to_install(index, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(HashretError, match=r"hashret\[parquet\]"):
        index.export(tmp_path / "x.parquet")


def test_the_command_line(index, run, tmp_path):
    out = run("export", "-i", index.path, "-o", "x.jsonl")
    assert (out.returncode, out.stdout) == (0, "")
    assert f"Wrote {len(index)} items to x.jsonl" in out.stderr
    assert "Exporting: 606" in out.stderr
    out = run("export", "-i", index.path, "-o", "x.jsonl")
    assert (out.returncode, "--overwrite" in out.stderr) == (1, True)
    out = run("export", "-i", index.path, "-o", "x.jsonl", "--overwrite", "--where", "key = '17'")
    assert out.returncode == 0
    assert [line["key"] for line in lines_of(tmp_path / "x.jsonl")] == ["17"]
    out = run("export", "-i", index.path, "-o", "-")
    assert [json.loads(line) for line in out.stdout.splitlines()] == expected_lines(index)
    assert run("export", "-i", index.path).returncode == 2
    assert run("export", "-i", index.path, "-o", "x.txt").returncode == 2


def test_a_reader_that_has_seen_enough_ends_it_in_peace(index, run, tmp_path):
    import subprocess

    command = f"{sys.executable} -m hashret export -i {index.path} -o - | head -n 1"
    out = subprocess.run(["bash", "-c", command], capture_output=True, text=True)
    assert json.loads(out.stdout)["key"] == "0"
    assert "Error" not in out.stderr
    assert "Broken" not in out.stderr
