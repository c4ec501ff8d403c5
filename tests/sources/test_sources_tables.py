"""Tables of every format as sources: values, keys, fields, positions, and what is broken."""

import datetime as dt
import decimal
import gzip
import json
import math
import re
import sqlite3
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from pyarrow import parquet

from hashret.errors import HashretError, InputError, UsageError
from hashret.features import learn_features
from hashret.index.encoding import feature_blocks
from hashret.sources import ValueReader, is_gone, open_source, read_value, records
from hashret.sources.records import LineReader

ROWS = [
    {"id": "a", "size": 3, "body": "the first text", "section": "games"},
    {"id": "b", "size": 20, "body": "the second,\nof two lines", "section": "math"},
    {"id": "c", "size": -1, "body": 'the "third" täxt', "section": "games"},
]


def write_csv(path, rows=ROWS, delimiter=","):
    def cell(value):
        text = str(value).replace('"', '""')
        return f'"{text}"'

    lines = [list(rows[0]), *(row.values() for row in rows)]
    path.write_text("".join(delimiter.join(map(cell, line)) + "\n" for line in lines))
    return path


def write_jsonl(path, rows=ROWS):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def write_json(path, rows=ROWS):
    path.write_text(json.dumps(rows, indent=2))
    return path


def write_parquet(path, rows=ROWS):
    parquet.write_table(pa.Table.from_pylist(rows), path, row_group_size=2)
    return path


def write_sqlite(path, rows=ROWS):
    connection = sqlite3.connect(path)
    names = ", ".join(rows[0])
    connection.execute(f"create table docs ({names})")
    marks = ", ".join("?" * len(rows[0]))
    connection.executemany(
        f"insert into docs values ({marks})", [tuple(row.values()) for row in rows]
    )
    connection.commit()
    connection.close()
    return path


WRITERS = {
    "docs.csv": write_csv,
    "docs.tsv": lambda path, rows=ROWS: write_csv(path, rows, "\t"),
    "semicolons.csv": lambda path, rows=ROWS: write_csv(path, rows, ";"),
    "docs.json": write_json,
    "lines.json": lambda path, rows=ROWS: write_jsonl(path, rows),
    "docs.jsonl": write_jsonl,
    "docs.NDJSON": write_jsonl,
    "docs.parquet": write_parquet,
    "docs.db": write_sqlite,
    "docs.sqlite3": write_sqlite,
}
FILES = [*WRITERS, "docs.csv.gz", "docs.jsonl.gz", "docs.json.gz"]


@pytest.fixture(params=FILES)
def file(request, tmp_path):
    name = request.param.removesuffix(".gz")
    path = WRITERS[name](tmp_path / name)
    if name == request.param:
        return path
    packed = tmp_path / request.param
    packed.write_bytes(gzip.compress(path.read_bytes()))
    return packed


def reasons(source):
    return {skipped.name.rpartition("#")[2]: skipped.reason for skipped in source.skipped}


# Every format


def test_values_keys_and_fields_are_the_same_in_every_format(file):
    source = open_source(file)
    items = list(source)
    assert source.kind == "text"
    assert source.length == 3
    assert [item.value for item in items] == [row["body"] for row in ROWS]
    assert [item.key for item in items] == ["a", "b", "c"]
    assert [item.fields for item in items] == [
        {"size": row["size"], "section": row["section"]} for row in ROWS
    ]
    assert [item.position for item in items] == [0, 1, 2]
    assert source.skipped == []


def test_the_description_tells_what_was_understood(file):
    assert open_source(file).description == (
        f"3 texts from {file.name} (text: body, key: id; fields: size (numbers), section)"
    )


def test_columns_can_be_named(file):
    source = open_source(file, column="section", id_column="size", key_prefix="{stem}-")
    items = list(source)
    stem = file.name.partition(".")[0]
    assert [item.value for item in items] == ["games", "math", "games"]
    assert [item.key for item in items] == [f"{stem}-{row['size']}" for row in ROWS]
    assert items[0].fields == {"id": "a", "body": ROWS[0]["body"]}


def test_a_wrong_column_is_refused_and_the_columns_listed(file):
    for asked in ({"column": "txt"}, {"id_column": "txt"}):
        with pytest.raises(InputError, match=r"'txt'.*id .*size .*body .*section"):
            open_source(file, **asked)


def test_a_position_names_the_record(file):
    source = open_source(file)
    assert [read_value(f"{source.location}#{n}") for n in (2, 0)] == [
        ROWS[2]["body"],
        ROWS[0]["body"],
    ]
    with pytest.raises(InputError, match="no record 3"):
        read_value(f"{source.location}#3")


def test_a_location_says_which_column_was_read(file):
    source = open_source(file, column="section")
    assert read_value(f"{source.location}#1") == "math"
    assert not is_gone(source.location)
    assert is_gone(source.location.replace("docs", "gone").replace("lines", "gone")) or (
        "semicolons" in source.location
    )


def test_only_the_drawn_items_come_in_a_sample(file):
    drawn = list(open_source(file).sample(2, np.random.default_rng(0)))
    assert len(drawn) == 2
    assert [ROWS[item.position]["body"] for item in drawn] == [item.value for item in drawn]


def test_what_a_table_holds_can_be_asked(file):
    source = open_source(file)
    assert source.holds("b")
    assert not source.holds("d")
    numbered = open_source(file, id_column="size")
    assert numbered.holds("20")
    assert not numbered.holds("1")


def test_values_are_read_again_in_one_pass(tmp_path, monkeypatch):
    path = tmp_path / "docs.txt"
    path.write_text("".join(f"line {n}\n" for n in range(100)))
    opened = []
    records = LineReader.records

    def counted(self, *arguments):
        opened.append(arguments)
        return records(self, *arguments)

    reader = ValueReader()
    reader.read(f"{path}#0")
    monkeypatch.setattr(LineReader, "records", counted)
    assert [reader.read(f"{path}#{n}") for n in range(1, 100, 2)] == [
        f"line {n}" for n in range(1, 100, 2)
    ]
    assert opened == []
    assert reader.read(f"{path}#3") == "line 3"
    assert len(opened) == 1


# Which columns


@pytest.mark.parametrize(
    ("row", "value", "key"),
    [
        ({"title": "x y", "text": "z", "uid": "1"}, "text", "uid"),
        ({"name": "n", "Description": "some words", "KEY": 7}, "Description", "KEY"),
        ({"a": "short", "b": "much longer words"}, "b", None),
        ({"url": "https://x/y", "title": "words"}, "title", "url"),
        ({"label": 3, "embedding": [0.5, 2]}, "embedding", None),
        ({"title": "t", "vector": [1, 2, 3]}, "vector", None),
        ({"note": "cat", "picture": "a.png"}, "note", None),
        ({"label": 3, "picture": "a.png"}, "picture", None),
    ],
)
def test_columns_are_guessed_by_name_and_content(tmp_path, row, value, key):
    source = open_source(write_jsonl(tmp_path / "x.jsonl", [row]))
    noun = {"embedding": "vector", "vector": "vector", "picture": "image"}.get(value, "text")
    assert f"({noun}: {value}, key: {key or 'row number'}" in source.description


def test_a_column_of_ids_that_repeat_is_no_key(tmp_path):
    rows = [{"id": n % 3, "text": "t"} for n in range(12)]
    source = open_source(write_jsonl(tmp_path / "x.jsonl", rows))
    assert [item.key for item in source] == [str(n) for n in range(12)]
    assert source.holds("11")
    assert not source.holds("12")


def test_cells_of_numbers_are_numbers_and_codes_stay_text(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text(
        "text,n,x,code,mixed,when\none,1,2.5,007,1,2020-01-01\ntwo,,nan,100,x,2021-01-01\n"
    )
    first, second = open_source(path)
    assert first.fields == {"n": 1, "x": 2.5, "code": "007", "mixed": "1", "when": "2020-01-01"}
    assert second.fields == {
        "n": None,
        "x": None,
        "code": "100",
        "mixed": "x",
        "when": "2021-01-01",
    }


def test_whole_numbers_in_cells_keep_all_their_digits(tmp_path):
    path = tmp_path / "x.csv"
    cells = {
        "tweet": ["1212092628029698048", "1212092628029698049"],
        "phone": ["+4917612345678", "+4917612345679"],
        "hash": ["18446744073709551615", "7"],
        "low": ["-9223372036854775808", "9223372036854775807"],
        "far": ["2e3", "1.5"],
    }
    path.write_text(
        "text,"
        + ",".join(cells)
        + "\nsome words,"
        + ",".join(one for one, _ in cells.values())
        + "\nother words,"
        + ",".join(other for _, other in cells.values())
        + "\n"
    )
    source = open_source(path)
    expected = {**cells, "far": [2000.0, 1.5]}
    expected |= {name: list(map(int, cells[name])) for name in ("tweet", "low")}
    for place, item in enumerate(source):
        assert item.fields == {name: values[place] for name, values in expected.items()}
    assert "tweet (numbers), phone, hash, low (numbers), far (numbers))" in source.description


def test_a_column_that_is_empty_at_first_holds_text(tmp_path):
    path = tmp_path / "x.csv"
    rows = [f"some words {n},,{'nan' if n % 2 else 7}\n" for n in range(1000)]
    path.write_text("text,late,n\n" + "".join(rows) + "last words,007,8\nno words,12,9\n")
    source = open_source(path)
    assert [item.fields for item in source][-3:] == [
        {"late": "", "n": None},
        {"late": "007", "n": 8},
        {"late": "12", "n": 9},
    ]
    assert "fields: late, n (numbers)" in source.description


def test_nested_values_are_json_and_what_is_not_finite_is_missing(tmp_path):
    path = tmp_path / "x.jsonl"
    path.write_text(
        '{"text": "t", "tags": ["ä", "b"], "who": {"n": 1}, "x": NaN, "ok": true, "v": [1, 2]}\n'
    )
    source = open_source(path, column="text")
    assert next(iter(source)).fields == {
        "tags": '["ä", "b"]',
        "who": '{"n": 1}',
        "x": None,
        "ok": True,
    }
    assert "not kept: v" in source.description


def write_unsigned(path, rows):
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    columns["hash"] = pa.array(columns["hash"], pa.uint64())
    parquet.write_table(pa.table(columns), path)
    return path


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("x.csv", write_csv),
        ("x.jsonl", write_jsonl),
        ("x.json", write_json),
        ("x.parquet", write_unsigned),
    ],
)
def test_whole_numbers_of_more_than_64_bits_are_text_in_every_format(tmp_path, name, write):
    rows = [{"text": f"text {n}", "hash": 2**63 - 2 + n, "n": n - 2**63} for n in range(4)]
    source = open_source(write(tmp_path / name, rows))
    assert [item.fields for item in source] == [
        {"hash": str(row["hash"]), "n": row["n"]} for row in rows
    ]
    assert source.skipped == []
    assert "fields: hash, n (numbers))" in source.description


def test_long_decimal_numbers_keep_their_digits(tmp_path):
    numbers = [decimal.Decimal(1212092628029698049), decimal.Decimal(2**64), decimal.Decimal("1.5")]
    table = pa.table({"text": ["a", "b", "c"], "n": pa.array(numbers, pa.decimal128(38, 2))})
    parquet.write_table(table, tmp_path / "x.parquet")
    source = open_source(tmp_path / "x.parquet")
    assert [item.fields["n"] for item in source] == [1212092628029698049, str(2**64), 1.5]


def test_nested_values_that_json_does_not_know_cost_one_record_at_most():
    circle: list[object] = []
    circle.append(circle)
    rows = [
        {"text": "a b", "x": {(1, 2): 3, "y": [{None: 1}]}},
        {"text": "c d", "x": {"x": circle}},
        {"text": "e f", "x": {(1, 2): circle}},
        {"text": "g h", "x": decimal.Decimal("sNaN")},
        {"text": "i j", "x": 10**5000},
        {"text": "k l", "x": 2**64},
    ]
    source = open_source(rows)
    assert [(item.value, dict(item.fields)) for item in source] == [
        ("a b", {"x": '{"(1, 2)": 3, "y": [{"null": 1}]}'}),
        ("g h", {"x": None}),
        ("k l", {"x": str(2**64)}),
    ]
    assert len(source.skipped) == 3
    assert all("'x' holds cannot be written as JSON" in one.reason for one in source.skipped)


def test_a_field_that_turns_up_late_is_kept_or_warned_of(tmp_path, caplog):
    path = tmp_path / "x.jsonl"
    late = [
        '"label": 2',
        '"row": 3',
        '"new": 4',
        '"label": 5',
        *(f'"n\\"{n}": 6' for n in range(20)),
    ]
    lines = [f'{{"text": "text {n}", "Label": 1}}\n' for n in range(1000)]
    path.write_text("".join(lines) + "".join(f'{{"text": "late", {one}}}\n' for one in late))
    source = open_source(path)
    for _ in range(2):
        assert [item.fields for item in source][1000:] == [{}, {}, {"new": 4}, *[{}] * 21]
    told = [record.getMessage() for record in caplog.records]
    assert len(told) == 10
    assert "the field 'label' of x.jsonl" in told[0]
    assert "capital letters" in told[0]
    assert "'row'" in told[1]
    assert "conditions cannot name it" in told[1]
    assert told[-1].endswith("Others are not named any more.")


def test_values_for_names_fill_no_memory(tmp_path, caplog):
    path = tmp_path / "x.jsonl"
    path.write_text(
        "".join(f'{{"text": "text {n}", "known": 1, "n{n}": {n}}}\n' for n in range(20_000))
    )
    items = list(open_source(path))
    assert len(items) == 20_000
    assert len({name for item in items for name in item.fields}) == 10_000 - 1
    assert all(item.fields["known"] == 1 for item in items)
    (warning,) = caplog.records
    assert "x.jsonl has fields of more than 10,000 names: 'n9998' and" in warning.getMessage()


def test_columns_that_conditions_cannot_name_are_left_out_and_told(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text('text,row,"a""b",Size,size\none,1,2,3,4\n')
    source = open_source(path)
    assert next(iter(source)).fields == {"Size": 3}
    assert 'not kept: row, a"b, size' in source.description


def test_a_table_without_anything_to_index_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"No column of x\.csv holds lists.*a \(numbers"):
        path = tmp_path / "x.csv"
        path.write_text("a,b\n1,yes\n2,yes\n")
        open_source(path, kind="vectors")
    with pytest.raises(InputError, match=r"'\*'.*two at least"):
        open_source(path, column="*")
    with pytest.raises(InputError, match="makes vectors, and not text"):
        open_source(path, column="*", kind="text")


@pytest.mark.parametrize("name", ["t.csv", "t.tsv", "t.jsonl", "t.parquet"])
@pytest.mark.parametrize("kind", ["auto", "text"])
def test_a_column_of_numbers_holds_no_texts_in_any_format(tmp_path, name, kind):
    path = WRITERS[f"docs.{name.partition('.')[2]}"](tmp_path / name)
    with pytest.raises(InputError, match=r"Expected .*text.* column 'size' .* holds numbers; the"):
        open_source(path, kind=kind, column="size")


# Images and vectors


@pytest.fixture
def pictures(tmp_path):
    (tmp_path / "img").mkdir()
    for n in range(3):
        Image.new("L", (4, 4), n).save(tmp_path / "img" / f"{n}.png")
    rows = [{"caption": f"picture {n}", "file": f"img/{n}.png"} for n in (0, 1, 2, 9)]
    return tmp_path, rows


@pytest.mark.parametrize(
    "write", [write_csv, write_jsonl, write_parquet, write_sqlite], ids=lambda w: w.__name__
)
def test_a_column_of_paths_is_a_source_of_images(pictures, write, tmp_path):
    folder, rows = pictures
    suffix = write.__name__.removeprefix("write_")
    source = open_source(write(folder / f"t.{suffix}", rows))
    items = list(source)
    assert source.kind == "images"
    assert [item.value for item in items] == [
        (folder / "img" / f"{n}.png").read_bytes() for n in range(3)
    ]
    assert items[1].fields == {"caption": "picture 1", "file": "img/1.png"}
    assert "img/9.png: no such file" in reasons(source)["3"]
    assert read_value(f"{source.location}#1") == items[1].value
    assert next(iter(open_source(source.root, kind="text"))).value == "picture 0"


@pytest.mark.parametrize("options", [{}, {"column": "file"}, {"kind": "images"}])
def test_a_path_that_is_no_image_makes_no_texts_of_the_others(pictures, options):
    folder, rows = pictures
    (folder / "img" / "x.svg").write_text("<svg/>")
    path = write_csv(folder / "t.csv", [{"caption": "", "file": "img/x.svg"}, *rows])
    source = open_source(path, **options)
    assert (source.kind, source.location) == ("images", f"{path}?column=file")
    assert [item.position for item in source] == [0, 1, 2, 3]
    (one,) = left_out(open_source(path, **options))
    assert re.match(r"line 2: img/x.svg: not an image", one.reason)
    assert read_value(f"{source.location}#1") == (folder / "img" / "0.png").read_bytes()
    # Where none of them is there, they are names in texts.
    write_csv(path, [{"file": "see the picture.svg"}, *({"file": f"no {n}.png"} for n in range(3))])
    assert open_source(path).kind == "text"


def test_bytes_that_are_no_image_cost_one_record(pictures):
    folder, rows = pictures
    given = [(folder / rows[n]["file"]).read_bytes() for n in range(3)]
    path = write_parquet(folder / "t.parquet", [{"image": one} for one in [*given, b"no picture"]])
    (one,) = left_out(open_source(path))
    assert re.match(r"row 3: not an image", one.reason)


def left_out(source, method="auto"):
    """Which items of a source no features can be made of, and why."""
    values = [item.value for item in source if item.position in (1, 2)]
    features = learn_features(source.kind, values, method)
    return [one for _, _, skipped in feature_blocks(source, features) for one in skipped]


def test_what_has_no_features_is_named_by_its_line(pictures):
    folder, rows = pictures
    (folder / "img" / "9.png").write_text("no picture")
    source = open_source(write_csv(folder / "t.csv", rows))
    (one,) = left_out(source)
    assert one.name == f"{source.root}#3"
    assert re.match(r"line 5: img/9.png: not an image", one.reason)
    texts = [{"text": text} for text in ("a small house", "a large house", "a house", "12 34")]
    (one,) = left_out(open_source(write_jsonl(folder / "t.jsonl", texts)), "counts")
    assert one.reason.startswith("line 4: holds no word")


@pytest.mark.parametrize("write", [write_csv, write_sqlite, write_jsonl])
@pytest.mark.parametrize("shown", [str, lambda row: str(np.array(row)), json.dumps])
@pytest.mark.parametrize("options", [{}, {"kind": "vectors"}, {"column": "embedding"}])
def test_lists_that_are_written_as_text_are_vectors(tmp_path, write, shown, options):
    vectors = np.random.default_rng(0).normal(size=(5, 20)).round(4)
    rows = [{"id": f"n{n}", "embedding": shown(row.tolist())} for n, row in enumerate(vectors)]
    rows += [{"id": "cut", "embedding": "[0.5, 0.2"}, {"id": "short", "embedding": "[0.5]"}]
    path = write(tmp_path / f"t.{write.__name__.removeprefix('write_')}", rows)
    source = open_source(path, **options)
    items = list(source)
    assert source.kind == "vectors"
    assert "vectors of 20 values" in source.description
    assert [item.key for item in items] == [f"n{n}" for n in range(5)]
    np.testing.assert_array_equal([item.value for item in items], vectors.astype(np.float32))
    assert re.search("a list of numbers in its column 'embedding'", reasons(source)["5"])
    assert re.search("expected 20 numbers in its column 'embedding', got 1", reasons(source)["6"])
    np.testing.assert_array_equal(read_value(f"{source.location}#3"), items[3].value)


def test_lists_as_text_of_other_lengths_each_are_no_vectors(tmp_path):
    rows = [{"note": f"text {n}", "tags": str([*range(n + 1)])} for n in range(9)]
    source = open_source(write_csv(tmp_path / "t.csv", rows))
    assert source.kind == "text"
    assert "(text: note, key: row number; fields: tags)" in source.description


def test_only_numbers_are_taken_into_a_vector(tmp_path):
    lists = [[float(n), n, 0.5] for n in range(20)]
    for row, wrong in enumerate((True, "3.5", 10**400, 1e300, None, [1.0], math.inf), start=3):
        lists[row][2] = wrong
    source = open_source(write_jsonl(tmp_path / "v.jsonl", [{"v": one} for one in lists]))
    assert [item.position for item in source] == [0, 1, 2, *range(10, 20)]
    where = "in the list of its column 'v'"
    assert [skipped.reason for skipped in source.skipped] == [
        f"line 4: expected only numbers, got True, {where}",
        f"line 5: expected only numbers, got '3.5', {where}",
        f"line 6: a number is too large {where}",
        f"line 7: a number is too large {where}",
        f"line 8: expected only numbers, got None, {where}",
        f"line 9: expected only numbers, got [1.0], {where}",
        f"line 10: a number is not finite {where}",
    ]


@pytest.mark.parametrize("write", [write_jsonl, write_json, write_parquet])
def test_a_column_of_lists_is_a_source_of_vectors(tmp_path, write):
    rows = [{"name": str(n), "embedding": [n / 2, 1.0, -n]} for n in range(5)]
    suffix = write.__name__.removeprefix("write_")
    source = open_source(write(tmp_path / f"v.{suffix}", rows), id_column="name")
    items = list(source)
    assert (source.kind, items[4].key, items[4].value.dtype) == ("vectors", "4", np.float32)
    np.testing.assert_array_equal(items[3].value, [1.5, 1, -3])
    np.testing.assert_array_equal(read_value(f"{source.location}#3"), [1.5, 1, -3])
    assert "5 vectors of 3 values" in source.description


# Broken input: each is skipped and named by its line, or the file is refused

GOOD = '{"id": "g%d", "text": "good"}\n'


@pytest.mark.parametrize(
    ("name", "content", "skipped"),
    [
        ("x.jsonl", '{"text": "a"}\n{bad\n', {"1": "line 2: it is not JSON"}),
        ("x.jsonl", '{"text": "a"}\n\n[1]\n', {"2": "line 3: it is no JSON object"}),
        ("x.jsonl", b'{"text": "a"}\n{"text": "\xff"}\n', {"1": "line 2: its text is not UTF-8"}),
        ("x.jsonl", '{"text": "a"}\n{"text": "\\ud800"}\n', {"1": "line 2: the text.*Unicode"}),
        ("x.jsonl", '{"text": "a"}\n{"text": null}\n', {"1": "line 2: there is nothing"}),
        ("x.jsonl", '{"text": "a"}\n{"x": 1}\n', {"1": "line 2: there is nothing"}),
        ("x.jsonl", '{"text": "a"}\n{"text": 5}\n', {"1": "line 2: expected text"}),
        ("x.jsonl", '{"text": "a"}\n' + "[" * 100_000 + "\n", {"1": "line 2: it is not JSON"}),
        ("x.jsonl", '{"text": "a"}\n{"text": "b", "n": 1e999}\n', {}),
        ("x.jsonl", GOOD % 1 + GOOD % 2 + GOOD % 1, {"2": "line 3.*'g1' came before, on line 1"}),
        ("x.jsonl", GOOD % 1 + GOOD % 2 + '{"text": "b"}\n', {"2": "line 3: there is no key"}),
        ("x.jsonl", GOOD % 1 + GOOD % 2 + '{"id": null, "text": "b"}\n', {"2": "line 3.*no key"}),
        ("x.jsonl", GOOD % 1 + GOOD % 2 + '{"id": [1], "text": "b"}\n', {"2": "line 3.*no text"}),
        ("x.jsonl", GOOD % 1 + f'{{"id": "h", "text": "b", "n": {2**70}}}\n', {}),
        ("x.jsonl", '{"v": [1, 2]}\n{"v": [1, 2]}\n{"v": [1]}\n', {"2": "line 3.*2 numbers"}),
        ("x.jsonl", '{"v": [1, 2]}\n{"v": [1, NaN]}\n', {"1": "line 2.*not finite"}),
        ("x.jsonl", '{"v": [1, 2]}\n{"v": [1, "b"]}\n', {"1": "line 2.*only numbers"}),
        ("x.jsonl", '{"v": [1, 2]}\n{"v": [1, 1e99]}\n', {"1": "line 2.*too large"}),
        ("x.json", '[{"text": "a"},\n 5, {"text": "b"}]', {"1": "line 2: it is no JSON object"}),
        ("x.csv", "text,b\na,1\nb\nc,3\n", {"1": "line 3: expected 2 cells.*got 1"}),
        ("x.csv", "text,b\na,1\nb,2,3\n", {"1": "line 3: expected 2 cells.*got 3"}),
        ("x.csv", 'text,b\na,1\n"b" c,2\nd,4\n', {"1": "line 3: it is not CSV"}),
        ("x.csv", 'text,b\na,1\n"b,2\nc,3\n', {"1": "line 3: it is not CSV.*not closed.*line 4"}),
        ("x.csv", "text,b\na,1\n ,2\n", {"1": "line 3: there is nothing"}),
        ("x.csv", b"text,b\na,1\n\xe9,2\n", {"1": "line 3: its text is not UTF-8"}),
        ("x.txt", b"one\n\xff\xfe\nthree\n", {"1": "line 2: its text is not UTF-8"}),
    ],
)
def test_a_broken_record_is_skipped_and_named(tmp_path, name, content, skipped):
    path = tmp_path / name
    given = content if isinstance(content, bytes) else content.encode()
    path.write_bytes(given)
    source = open_source(path)
    items = list(source)
    found = reasons(source)
    assert set(found) == set(skipped)
    assert len(items) == source.length - len(skipped) - given.count(b"\n\n")
    for position, pattern in skipped.items():
        assert re.search(pattern, found[position]), found
    assert all(one.name.startswith(str(path)) for one in source.skipped)


@pytest.mark.parametrize(
    ("name", "content", "pattern"),
    [
        ("x.txt", "", "not one record in x.txt"),
        ("x.txt", "\n \n", "not one record in x.txt"),
        ("x.csv", "", "no first row"),
        ("x.csv", "a,text\n", "not one record"),
        ("x.jsonl", "{bad\n{worse\n", "not one record.*line 1: it is not JSON"),
        ("x.json", "", "not one record"),
        ("x.json", "[]", "not one record"),
        ("x.json", '[{"text": "a"},\n{"text": oops}]', "line 2: Expecting value"),
        ("x.json", '[{"text": "a"},\n{"text": "b"}', "cut short: it ends on line 2"),
        ("x.json", '[{"text": "a"}] x', "expected the end"),
        ("x.json", "[" * 200_000, "line 1"),
        ("x.json", b'[{"text": "\xff"}]', "not UTF-8"),
        ("x.csv", '"text,b\na,1\n', "first row of .*not closed"),
        ("x.txt", b"PNG\0\0\1", "no text.*null characters"),
        ("x.jsonl", b"\0", "null characters"),
        ("x.csv", b"\0", "null characters"),
        ("x.jsonl.gz", gzip.compress(b'{"text": "a"}\n' * 999, mtime=0)[:-9], "cut short.*again"),
        ("x.parquet", b"PAR1 no", "damaged or no Parquet"),
        ("x.db", b"no database at all", "Cannot read.*not a database"),
        ("x.db", b"", "no table"),
        ("x.txt", b"x" * ((1 << 24) + (1 << 20) + 1), "Line 1 .*more than"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused(tmp_path, name, content, pattern):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InputError, match=f"(?s){pattern}") as caught:
        list(open_source(path))
    assert "x." in str(caught.value)


@pytest.mark.parametrize("first", ['b,"a stray mark', '"b,a stray mark'])
def test_a_stray_quotation_mark_costs_the_line_it_stands_in(tmp_path, first):
    path = tmp_path / "x.csv"
    rows = "".join(f"{n},good row {n}\n" for n in range(3000))
    path.write_text(f'id,text\na,word\n{first}\n{rows}z,a "quoted" word\nlast,"one\nor two"\n')
    source = open_source(path)
    keys = [item.key for item in source]
    assert keys[-3002:] == [*map(str, range(3000)), "z", "last"]
    assert source.skipped.total == 1
    assert re.match(r"line 3: it is not CSV.*on line 3,00.*; line 4 and", source.skipped[0].reason)
    assert read_value(f"{source.location}#{source.length - 1}") == "one\nor two"


def test_a_row_of_very_many_lines_is_warned_of(tmp_path, caplog):
    path = tmp_path / "x.csv"
    rows = "".join(f"{n},good row {n}\n" for n in range(2000))
    path.write_text(f'id,text\na,word\nb,"a stray mark\n{rows}c,another"\nd,word\n')
    assert len(list(open_source(path))) == 3
    assert "the row of x.csv that begins on line 3 has 2,002 lines: if a quotation mark" in (
        caplog.text
    )
    assert len(caplog.records) == 1


_ROW_MEMORY = """
import gzip, resource, sys
from hashret.errors import InputError
from hashret.sources import open_source
with gzip.open(sys.argv[1], "wb") as file:
    file.write(b"id,text\\n1,hello\\n")
    for _ in range(10):
        file.write(b'"\\nx",' * 1_000_000)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    open_source(sys.argv[1])
except InputError as error:
    print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) >> 10, error)
"""


def test_a_row_without_end_is_not_held_and_not_read_again_and_again(tmp_path):
    command = [sys.executable, "-c", _ROW_MEMORY, tmp_path / "x.csv.gz"]
    out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    megabytes, message = out.split(" ", 1)
    assert "too many of its quotation marks are not closed" in message
    assert int(megabytes) < 300


def test_a_text_of_a_million_characters_is_kept(tmp_path):
    long = "word " * 200_000
    for path in (
        write_jsonl(tmp_path / "x.jsonl", [{"text": long}]),
        write_csv(tmp_path / "x.csv", [{"text": long}]),
        write_json(tmp_path / "x.json", [{"text": long}]),
    ):
        assert [item.value for item in open_source(path)] == [long]


def test_a_mark_of_utf_8_is_no_part_of_the_first_name(tmp_path):
    path = tmp_path / "x.csv"
    path.write_bytes(b"\xef\xbb\xbftext,n\none,1\n")
    assert "text: text" in open_source(path).description


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16"])
def test_another_encoding_can_be_named(tmp_path, encoding):
    for name, content in (("x.csv", "text,n\nfür,1\n"), ("x.jsonl", '{"text": "für"}\n')):
        path = tmp_path / name
        path.write_bytes(content.encode(encoding))
        source = open_source(path, encoding=encoding)
        assert [item.value for item in source] == ["für"]
        assert read_value(f"{source.location}#0") == "für"
    with pytest.raises(UsageError, match="rot13"):
        open_source(path, encoding="rot13")


def test_a_format_can_be_named(tmp_path):
    path = tmp_path / "x.log"
    path.write_text("one\ntwo\n")
    source = open_source(path, format="lines")
    assert [item.value for item in source] == ["one", "two"]
    assert read_value(f"{source.location}#1") == "two"


def test_empty_lines_are_counted_and_keep_their_numbers(tmp_path):
    path = tmp_path / "x.txt"
    path.write_text("one\r\n\r\n\ntwo")
    source = open_source(path)
    assert [(item.key, item.value) for item in source] == [("0", "one"), ("3", "two")]
    assert "2 empty lines left out" in source.description
    assert source.skipped == []


def test_options_of_tables_are_refused_elsewhere(tmp_path):
    path = tmp_path / "x.npy"
    np.save(path, np.eye(3))
    for given in (path, np.eye(3), tmp_path):
        with pytest.raises(UsageError, match="--column .* for tables"):
            open_source(given, column="x")
    with pytest.raises(UsageError, match="SQLite"):
        open_source(write_csv(tmp_path / "x.csv"), sql="select 1")


def test_tables_with_the_same_keys_do_not_go_together(tmp_path):
    paths = [write_jsonl(tmp_path / "x.jsonl"), write_csv(tmp_path / "y.csv")]
    with pytest.raises(InputError, match="'a' comes twice"):
        open_source(paths)
    both = open_source(paths, key_prefix="{stem}:")
    assert [item.key for item in both] == ["x:a", "x:b", "x:c", "y:a", "y:b", "y:c"]
    lines = [tmp_path / "p.txt", tmp_path / "q.txt"]
    for path in lines:
        path.write_text("one\ntwo\n")
    with pytest.raises(InputError, match="both have the keys 0, 1"):
        open_source(lines)


# SQL


def test_a_query_is_a_table(tmp_path):
    path = write_sqlite(tmp_path / "x.db")
    sql = "select upper(body) as body, size from docs where size > 0 order by size desc; "
    source = open_source(path, sql=sql)
    assert [item.value for item in source] == [ROWS[n]["body"].upper() for n in (1, 0)]
    assert source.length == 2
    assert read_value(f"{source.location}#1") == ROWS[0]["body"].upper()


def test_a_query_may_search_full_text_and_look_into_json(tmp_path):
    path = tmp_path / "x.db"
    with sqlite3.connect(path) as connection:
        connection.execute("create virtual table docs using fts5(body)")
        connection.execute("insert into docs values ('some words'), ('others')")
        connection.execute("create table nested as select '[\"in a list\"]' as list")
    connection.close()
    for sql, expected in (
        ("select * from docs where docs match 'words'", "some words"),
        ("select value from nested, json_each(list)", "in a list"),
    ):
        assert [item.value for item in open_source(path, sql=sql)] == [expected]


def test_images_may_lie_in_the_table(tmp_path):
    Image.new("L", (4, 4), 9).save(tmp_path / "p.png")
    picture = (tmp_path / "p.png").read_bytes()
    rows = [{"name": "x", "thumb": picture, "other": b"\0"}]
    for write, name in ((write_sqlite, "t.db"), (write_parquet, "t.parquet")):
        source = open_source(write(tmp_path / name, rows))
        assert [(item.value, item.fields) for item in source] == [(picture, {"name": "x"})]
        assert "not kept: other" in source.description
        assert read_value(f"{source.location}#0") == picture


def test_parquet_values_become_fields(tmp_path):
    rows = [
        {
            "text": "words",
            "when": dt.datetime(2020, 1, 2),
            "day": dt.date(2020, 1, 2),
            "price": decimal.Decimal("1.50"),
            "who": {"n": 1},
            "x": math.nan,
            "took": dt.timedelta(1),
            "id": 7,
        }
    ]
    (item,) = open_source(write_parquet(tmp_path / "x.parquet", rows))
    assert (item.key, item.fields) == (
        "7",
        {
            "when": "2020-01-02T00:00:00",
            "day": "2020-01-02",
            "price": 1.5,
            "who": '{"n": 1}',
            "x": None,
            "took": "1 day, 0:00:00",
        },
    )


def test_which_table_must_be_said_where_there_are_several(tmp_path):
    path = write_sqlite(tmp_path / "x.db")
    with sqlite3.connect(path) as connection:
        connection.execute("create table other (x)")
    connection.close()
    with pytest.raises(UsageError, match=r"--sql.*docs, other"):
        open_source(path)


@pytest.mark.parametrize(
    "sql",
    [
        "delete from docs",
        "drop table docs",
        "insert into docs values (1, 2, 3, 4) returning *",
        "create table t as select 1",
        "attach 'other.db' as other",
        "pragma user_version",
        "select load_extension('x')",
        "select * from pragma_table_info('docs')",
        "select 1; select 2",
        "vacuum",
        "update sqlite_master set sql = ''",
        "pragma data_version = 1",
        "",
        "no sql",
        "select * from gone",
        "select body, body from docs",
        "select body from docs\0",
    ],
)
def test_a_query_only_reads(tmp_path, sql):
    path = write_sqlite(tmp_path / "x.db")
    before = path.read_bytes()
    with pytest.raises(InputError, match=r"x\.db"):
        list(open_source(path, sql=sql))
    assert path.read_bytes() == before
    assert [one.name for one in tmp_path.iterdir()] == ["x.db"]


# Size

_BOUNDED = """
import sys
import numpy as np
from hashret.sources import open_source

def peak():
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmHWM"))

def read(path):
    source = open_source(path)
    drawn = sum(1 for _ in source.sample(100, np.random.default_rng(0)))
    return source.length, drawn, sum(1 for _ in source)

read(sys.argv[2])
before = peak()
print(*read(sys.argv[1]), (peak() - before) // 1024)
"""


@pytest.mark.parametrize("suffix", ["jsonl", "csv", "json"])
def test_memory_does_not_grow_with_the_file(tmp_path, suffix):
    big, small = tmp_path / f"big.{suffix}", tmp_path / f"small.{suffix}"
    n_rows = 100_000 if suffix == "jsonl" else 40_000
    for path, count in ((big, n_rows), (small, 2000)):
        rows = (f'{{"id": "k{n}", "text": "{"word " * 400}", "n": {n}}}' for n in range(count))
        with path.open("w") as file:
            if suffix == "csv":
                file.write("id,text,n\n")
                file.writelines(f"k{n},{'word ' * 400},{n}\n" for n in range(count))
            elif suffix == "jsonl":
                file.writelines(f"{row}\n" for row in rows)
            else:
                file.write("[" + next(rows))
                file.writelines(f",\n{row}" for row in rows)
                file.write("]")
    assert big.stat().st_size > 80_000_000
    out = subprocess.run(
        [sys.executable, "-c", _BOUNDED, big, small], capture_output=True, text=True, check=True
    ).stdout.split()
    length, drawn, read, megabytes = map(int, out)
    assert (length, drawn, read) == (n_rows, 100, n_rows)
    assert megabytes < 24


def test_a_million_lines_are_counted(tmp_path):
    path = tmp_path / "x.jsonl.gz"
    path.write_bytes(gzip.compress(b'{"text": "some words"}\n' * 1_000_000, 1))
    source = open_source(path)
    assert source.length == 1_000_000
    assert source.description.startswith("1,000,000 texts from x.jsonl.gz")


# From the command line


def test_a_table_comes_through_standard_input(run, make_index, vectors):
    index = make_index("vectors")
    lines = "".join(json.dumps({"id": f"n{n}", "v": vectors[n].tolist()}) + "\n" for n in range(3))
    out = run("index", "-", "--format", "jsonl", "-i", index, stdin=lines + "{bad\n")
    assert out.returncode == 0
    assert "from standard input (vector: v, key: id)" in out.stderr
    assert "3 added" in out.stderr
    assert "Skipped standard input#3: line 4: it is not JSON" in out.stderr
    out = run("query", "--key", "n1", "-i", index, "--json")
    assert json.loads(out.stdout)[0]["distance"] == 0
    out = run("index", "-", "--format", "jsonl", "-i", index, "--strict", stdin=lines + "{bad\n")
    assert out.returncode == 3
    assert "3 unchanged" in out.stderr
    out = run("index", "-", "-i", index, stdin=lines)
    assert out.returncode == 2
    assert "--format" in out.stderr


def test_a_closed_standard_input_is_refused(monkeypatch):
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(InputError, match="is closed"):
        open_source("-", format="lines")


def test_prune_removes_the_records_that_are_gone(make_index, vectors, tmp_path):
    import hashret

    path = tmp_path / "v.jsonl"
    rows = [{"id": f"n{n}", "v": vectors[n].tolist()} for n in range(5)]
    write_jsonl(path, rows)
    with hashret.open(make_index("vectors")) as index:
        assert index.add(path).added == 5
        write_jsonl(path, rows[2:])
        report = index.add(path, prune=True)
        assert (report.unchanged, report.pruned) == (3, 2)
        assert index["n2"].location == f"{path}?column=v#0"
        with pytest.raises(HashretError, match="no column 'w'"):
            index.add(path, column="w")


@pytest.mark.parametrize("damage", ["{bad", '{"v": [0.5]}'])
def test_nothing_is_pruned_from_a_table_whose_keys_cannot_all_be_read(
    make_index, vectors, tmp_path, caplog, damage
):
    import hashret

    path = tmp_path / "v.jsonl"
    rows = [{"id": f"n{n}", "v": vectors[n].tolist()} for n in range(5)]
    write_jsonl(path, rows)
    with hashret.open(make_index("vectors")) as index:
        index.add(path)
        before = len(index)
        lines = path.read_text().splitlines()
        path.write_text("\n".join([*lines[:2], damage, lines[4]]))
        report = index.add(path, prune=True)
        assert (report.unchanged, report.pruned, report.skipped.total) == (3, 0, 1)
        assert len(index) == before
        told = [one.getMessage() for one in caplog.records if "v.jsonl" in one.getMessage()]
        assert len(told) == 1
        assert "the keys of 1 of its records cannot be read" in told[0]
        path.write_text("\n".join(lines[:2]))
        assert index.add(path, prune=True).pruned == 3


@pytest.mark.parametrize("name", ["t.jsonl", "t.csv", "t.json", "t.parquet"])
def test_a_table_that_is_written_to_while_it_is_read_is_refused(tmp_path, name):
    path = tmp_path / name
    rows = [{"id": f"n{n}", "text": f"text {n}"} for n in range(3000)]
    other = [{"text": f"text {n}", "id": f"n{n % 2000}"} for n in range(3000)]
    write = WRITERS["docs" + path.suffix]
    write(path, rows)
    source = open_source(path)
    assert len(list(source)) == 3000
    items = iter(source)
    next(items)
    write(path, other)
    with pytest.raises(InputError, match=rf"{name} has changed since it was opened: give it again"):
        list(items)
    with pytest.raises(InputError, match="has changed"):
        next(iter(source))
    path.unlink()
    with pytest.raises(InputError, match="has changed"):
        next(iter(source))


@pytest.mark.parametrize("name", ["t.jsonl", "t.csv"])
@pytest.mark.parametrize("id_column", ["id", ""])
def test_what_is_appended_while_a_table_is_read_is_left_for_the_next_time(
    tmp_path, name, id_column
):
    path = tmp_path / name
    more = write_csv if path.suffix == ".csv" else write_jsonl
    rows = [{"id": f"n{n}", "text": f"text {n}"} for n in range(3000)]
    more(path, rows[:2000])
    whole = more(tmp_path / "whole", rows).read_bytes()
    source = open_source(path, id_column=id_column)
    items = iter(source)
    taken = [next(items)]
    for end in (path.stat().st_size + 20, len(whole)):
        with path.open("ab") as file:
            file.write(whole[path.stat().st_size : end])
        taken.append(next(items))
    assert len([*taken, *items]) == len(list(source)) == 2000
    assert source.skipped == []
    assert len(list(open_source(path, id_column=id_column))) == 3000
    # What is longer and begins otherwise was written anew.
    path.write_bytes(b"\n" + path.read_bytes() + whole)
    with pytest.raises(InputError, match="has changed"):
        list(source)


@pytest.mark.parametrize("id_column", ["id", ""])
def test_keys_and_records_are_read_in_one_pass(tmp_path, monkeypatch, id_column):
    passes = []
    text_lines = records.text_lines

    def counted(*arguments):
        passes.append(0)
        for line in text_lines(*arguments):
            passes[-1] += 1
            yield line

    monkeypatch.setattr(records, "text_lines", counted)
    path = tmp_path / "t.jsonl"
    path.write_text("".join(f'{{"id": {n}, "text": "text {n}"}}\n\n' for n in range(3000)))
    source = open_source(path, id_column=id_column)
    assert passes.count(6000) == 1
    assert source.length == 6000
    assert "3,000 empty lines left out" in source.description
    assert len(list(source)) == 3000


_EMPTY_LINES = """
import gzip, resource, sys
from hashret.sources import open_source
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
with gzip.open(sys.argv[1], "wb") as file:
    file.write(b"one\\n" * 2_000_000)
open_source(sys.argv[1])
before = peak()
with gzip.open(sys.argv[1], "wb") as file:
    file.write(b"one\\n" + b"\\n" * 8_000_000 + b"two\\n")
source = open_source(sys.argv[1])
print(peak() - before, *[item.key for item in source])
"""


def test_empty_lines_take_a_bit_each(tmp_path):
    command = [sys.executable, "-c", _EMPTY_LINES, tmp_path / "x.txt.gz"]
    out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    megabytes, *keys = map(int, out.split())
    assert keys == [0, 8_000_001]
    assert megabytes < 16


@pytest.mark.parametrize("name", ["v.txt", "v.jsonl"])
def test_a_line_that_was_emptied_is_gone(name, tmp_path):
    path = tmp_path / name
    lines = [json.dumps({"text": f"text {n}"}) for n in range(4)]
    lines[1] = ""
    path.write_text("\n".join(lines))
    source = open_source(path)
    assert [item.key for item in source] == ["0", "2", "3"]
    held = [key for key in ("0", "1", "2", "3", "4", "01", "x") if source.holds(key)]
    assert held == ["0", "2", "3"]


# What other programs write


@pytest.mark.parametrize("name", ["docs.csv", "docs.txt"])
def test_a_carriage_return_alone_ends_a_line(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(b"text\rone two\rthree\r")
    assert [item.value for item in open_source(path)][-2:] == ["one two", "three"]
    path.write_bytes(b"text\r\none\ttwo\r\n")
    assert [item.value for item in open_source(path)][-1] == "one\ttwo"


def test_a_mark_of_utf_8_is_none_where_utf_8_is_named(tmp_path):
    path = tmp_path / "docs.csv"
    path.write_bytes(b"\xef\xbb\xbfid,text\n7,words\n")
    source = open_source(path, encoding="UTF8")
    assert [item.key for item in source] == ["7"]


@pytest.mark.parametrize("encoding", ["idna", "punycode", "undefined"])
def test_an_encoding_that_cannot_pass_over_wrong_bytes_is_refused(tmp_path, encoding):
    (tmp_path / "docs.txt").write_text("words")
    with pytest.raises(UsageError, match="encoding must be"):
        open_source(tmp_path / "docs.txt", encoding=encoding)


@pytest.mark.parametrize("name", ["docs.txt", "docs.csv"])
def test_a_line_with_null_characters_far_below_is_skipped(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(b"text\n" + b"some words\n" * 200_000 + b"a\0b\nlast\n")
    source = open_source(path)
    assert [item.value for item in source][-1] == "last"
    assert [(one.name.rpartition("#")[0], one.reason) for one in source.skipped] == [
        (str(path), "line 200,002: it is no text: it holds null characters")
    ]


@pytest.mark.parametrize("content", [b"garbage", gzip.compress(b"text\n", mtime=0)[:-9]])
def test_damaged_gzip_is_refused_with_a_remedy(tmp_path, content):
    path = tmp_path / "docs.txt.gz"
    path.write_bytes(gzip.compress(b"one\ntwo\n") + content)
    with pytest.raises(InputError, match=r"docs\.txt\.gz is cut short, damaged.*again"):
        open_source(path)


@pytest.mark.parametrize("name", ["t.json", "t.jsonl"])
def test_a_number_of_thousands_of_digits_is_text(tmp_path, name):
    digits = "9" * 5000
    rows = [f'{{"text": "text {n}", "n": {n if n < 3 else digits}}}' for n in range(4)]
    content = "\n".join(rows) if name == "t.jsonl" else f"[{', '.join(rows)}]"
    (tmp_path / name).write_text(content)
    source = open_source(tmp_path / name)
    assert [item.fields["n"] for item in source] == [0, 1, 2, digits]
    assert source.skipped == []


def test_json_that_is_cut_short_is_called_so(tmp_path):
    path = tmp_path / "t.json"
    whole = '[{"a": "text", "b": [1.5, -2, true]},\n {"a": "more", "c": null}]'
    for end in range(1, len(whole)):
        path.write_text(whole[:end])
        line = 1 + whole[:end].count("\n")
        with pytest.raises(InputError, match=rf"t\.json is cut short: it ends on line {line},"):
            open_source(path)
    path.write_text(whole.replace('"more"', "more"))
    with pytest.raises(InputError, match="line 2: Expecting value. Files of"):
        open_source(path)


@pytest.mark.parametrize("begin", ["[", "[\n", "\n [ \n\n"])
@pytest.mark.parametrize("end", [",\n", ", "])
def test_an_array_of_objects_is_no_file_of_json_lines(tmp_path, begin, end):
    path = tmp_path / "t.jsonl"
    path.write_text(begin + end.join(map(json.dumps, ROWS)) + "\n]")
    with pytest.raises(InputError, match="array of objects: name it .json, or give --format json"):
        open_source(path)
    assert len(list(open_source(path, format="json"))) == 3


def test_the_column_of_what_is_no_json_is_that_of_the_line(tmp_path):
    path = tmp_path / "t.jsonl"
    path.write_text('{"text": "a"}\n{"text":\n')
    source = open_source(path)
    assert len(list(source)) == 1
    assert reasons(source)["1"] == "line 2: it is not JSON: Expecting value, column 9"


def test_the_line_of_damaged_json_is_that_of_the_damage(tmp_path):
    path = tmp_path / "docs.json"
    path.write_text('[\n{"text": "a"},\n{"text":\n b}]')
    with pytest.raises(InputError, match="line 4: Expecting value"):
        open_source(path)


def test_a_locked_database_is_no_wrong_query(tmp_path, monkeypatch):
    path = write_sqlite(tmp_path / "docs.db")
    connect = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda *a, **k: connect(*a, **k, timeout=0.01))
    writer = connect(path, isolation_level=None)
    writer.execute("begin exclusive")
    with pytest.raises(InputError, match="another program is writing"):
        open_source(path)
    writer.close()


def test_columns_named_alike_are_taken_in_their_order(tmp_path):
    path = tmp_path / "docs.csv"
    path.write_text("key,Key,Text,TEXT\na,b,words,others\n")
    assert [(item.key, item.value) for item in open_source(path)] == [("a", "words")]


def test_a_whole_number_that_floats_cannot_tell_apart_is_no_key(tmp_path):
    path = tmp_path / "docs.jsonl"
    path.write_text('{"id": 9007199254740993.0, "text": "a"}\n{"id": 3.0, "text": "b"}\n')
    source = open_source(path, id_column="id")
    assert [item.key for item in source] == ["3"]
    assert "can be a key" in reasons(source)["0"]


def test_dates_that_python_does_not_know_cost_no_record(tmp_path):
    path = tmp_path / "docs.parquet"
    table = {
        "text": ["a", "b"],
        "nano": pa.array([1, None], pa.timestamp("ns")),
        "far": pa.array([2**52, 0], pa.timestamp("s")),
    }
    parquet.write_table(pa.table(table), path)
    assert [dict(item.fields) for item in open_source(path)] == [
        {"nano": "1970-01-01T00:00:00.000000001", "far": None},
        {"nano": None, "far": "1970-01-01T00:00:00"},
    ]


def test_wrong_bytes_in_parquet_cost_one_record(tmp_path):
    path = tmp_path / "docs.parquet"
    raw = pa.array([b"\xff", b"words"], pa.binary())
    text = pa.Array.from_buffers(pa.string(), 2, raw.buffers())
    parquet.write_table(pa.table({"text": text}), path)
    source = open_source(path)
    assert [item.value for item in source] == ["words"]
    assert "not valid Unicode" in reasons(source)["0"]


def test_a_column_that_comes_twice_in_parquet_is_refused(tmp_path):
    path = tmp_path / "docs.parquet"
    one, two = pa.array(["a"]), pa.array(["b"])
    parquet.write_table(pa.Table.from_arrays([one, two], names=["text", "text"]), path)
    with pytest.raises(InputError, match="'text' comes twice"):
        open_source(path)


def test_pictures_may_be_wrapped_as_hugging_face_does(tmp_path, pictures):
    path = tmp_path / "docs.parquet"
    content = (pictures[0] / "img" / "0.png").read_bytes()
    wrapped = [{"bytes": content, "path": "x.png"}, None]
    parquet.write_table(pa.table({"image": wrapped, "label": [1, 2]}), path)
    source = open_source(path)
    assert source.kind == "images"
    assert [(item.value, dict(item.fields)) for item in source] == [(content, {"label": 1})]


# Whatever the bytes are


def mutated(content, random):
    """A file with bytes changed, cut out, doubled or put in."""
    content = bytearray(content)
    for _ in range(random.integers(1, 6)):
        start = int(random.integers(len(content)))
        end = start + int(random.integers(1, 30))
        content[start:end] = [
            bytes(random.integers(256, size=int(random.integers(1, 5)), dtype=np.uint8)),
            b"",
            bytes(content[start:end]) * 2,
            random.choice([b'"', b"\n", b"{", b"]", b"\0", b",", b"NaN", b"1e999", b"\\u"]),
            b"[" * 3000,
        ][random.integers(5)]
        if not content:
            break
    return bytes(content)


MANY = [
    {
        "id": f"k{n}",
        "size": n,
        "body": f"text {n} of many" + ",\nof two lines" * (n % 5 == 4),
        "section": "x",
    }
    for n in range(40)
]


def untouched(name, whole, content):
    """The values of the records of which every line is in the file as it was."""
    if not name.lower().endswith((".csv", ".tsv", ".ndjson", ".jsonl", "lines.json")):
        return []
    end = b'"\n' if name.endswith("sv") else b"\n"
    records = [record + end for record in whole.split(end)[:-1]]
    if len(records) > len(MANY) and not content.startswith(records.pop(0)):
        return []
    return [
        row["body"]
        for row, record in zip(MANY, records, strict=True)
        if b"\n" + record in b"\n" + content
    ]


@pytest.mark.parametrize("name", WRITERS)
def test_any_bytes_are_items_or_a_refusal(tmp_path, name):
    random = np.random.default_rng(0)
    whole = WRITERS[name](tmp_path / name, MANY).read_bytes()
    path = tmp_path / f"mutated-{name}"
    survived = 0
    for _ in range(100):
        content = mutated(whole, random)
        path.write_bytes(content)
        try:
            source = open_source(path)
            items = list(source)
        except HashretError as error:
            assert "mutated-" in str(error)
            continue
        n_empty = sum(not line.strip() for line in content.split(b"\n")[:-1])
        missing = source.length - len(items) - source.skipped.total
        assert missing == (n_empty if name.lower().endswith(("jsonl", "ndjson")) else 0)
        # A stray mark may also make one valid cell of several lines, and a key be there before.
        expected = untouched(name, whole, content)
        values = "\n".join(item.value for item in items) if expected else ""
        lost = [row["id"] for row in MANY if row["body"] in expected and row["body"] not in values]
        told = " ".join(one.reason for one in source.skipped)
        assert [key for key in lost if f"{key!r} came before" not in told] == []
        survived += len(expected)
        for item in items:
            assert read_value(f"{source.location}#{item.position}") == item.value
    assert survived or name in ("docs.json", "docs.parquet", "docs.db", "docs.sqlite3")
