"""What people give who have not read the manual: understood, or refused with what to do."""

import json
import sqlite3
import sys

import numpy as np
import pytest

import hashret
from hashret.cli import main
from hashret.errors import InputError, UsageError
from hashret.evaluation import RandomHyperplanes
from hashret.sources import open_source


def texts(count):
    return [f"a note about topic {n} and thing {n % 7}" for n in range(count)]


def fields_of(path, **how):
    return [dict(item.fields) for item in open_source(path, **how)]


def test_decimal_commas_are_numbers(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text("text;price;code\nthis;53,77;1,5\nthat;1.234,5;007,5\nother;;2\nmore;-12;3\n")
    assert [one["price"] for one in fields_of(path)] == [53.77, 1234.5, None, -12]
    assert [one["code"] for one in fields_of(path)] == ["1,5", "007,5", "2", "3"]
    assert "fields: price (numbers), code)" in open_source(path).description


@pytest.mark.parametrize(
    "written", ["text;price\nthis;1,234\nthat;5,678\n", 'text,price\nthis,"53,77"\nthat,"1,5"\n']
)
def test_commas_that_may_mean_thousands_stay_text(written, tmp_path):
    path = tmp_path / "x.csv"
    path.write_text(written)
    assert all(isinstance(one["price"], str) for one in fields_of(path))


def test_the_line_that_tells_a_spreadsheet_the_delimiter_is_no_row(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text("\ufeffsep=;\r\nid;text\r\na;one, two, three\r\nb;four\r\nb;five\r\n")
    source = open_source(path)
    assert [(item.key, item.value) for item in source] == [("a", "one, two, three"), ("b", "four")]
    assert source.skipped[0].reason.startswith("line 5: the key 'b' came before, on line 4, and")


def test_a_first_row_of_data_is_warned_of(tmp_path, caplog):
    path = tmp_path / "x.csv"
    for row in ("2026-01-10,Smith,words", "5,Smith,words", "2024,name,text"):
        caplog.clear()
        path.write_text(f"{row}\n" + "".join(f"{n},Smith,{t}\n" for n, t in enumerate(texts(9))))
        open_source(path)
        assert ("the first row of x.csv names the columns" in caplog.text) == ("Smith" in row)


@pytest.mark.parametrize(
    ("first", "is_data"),
    [
        ("k0,words about,2", True),
        ("n,some words of row 0,2", True),
        ("Q1,2024,x2", False),
        ("K0,words of row 0 and more,2", False),
    ],
)
def test_a_first_row_that_differs_from_the_others_in_digits_is_warned_of(
    tmp_path, caplog, first, is_data
):
    path = tmp_path / "x.csv"
    rows = [f"k{n},some words of row {n},{n}" for n in range(1, 20)]
    path.write_text("\n".join([first, *rows, first]) + "\n")
    open_source(path)
    assert ("this one looks like data" in caplog.text) == is_data


def test_why_a_column_of_ids_is_no_key_is_told(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text("id,text\n" + "".join(f"{n % 3},{t}\n" for n, t in enumerate(texts(9))))
    assert "key: row number, because id repeats" in open_source(path).description


def test_which_row_of_a_key_is_read_is_told_also_on_one_line(tmp_path):
    path = tmp_path / "x.json"
    path.write_text(json.dumps([{"id": "a", "text": "old"}, {"id": "a", "text": "new"}]))
    source = open_source(path, id_column="id")
    assert [item.value for item in source] == ["old"]
    assert "only that is read: remove it" in source.skipped[0].reason


def test_another_encoding_is_refused_before_anything_is_learned(tmp_path):
    path = tmp_path / "x.csv"
    rows = [f"{t} für Müller" if n % 3 else t for n, t in enumerate(texts(90))]
    path.write_bytes("\n".join(["text", *rows]).encode("latin-1"))
    with pytest.raises(InputError, match=r"60 of the first 90 records.*latin-1 or cp1252"):
        open_source(path)
    assert len(list(open_source(path, encoding="latin-1"))) == 90
    with hashret.create(
        tmp_path / "i", path, hasher=RandomHyperplanes(32), encoding="latin-1", features="tfidf"
    ) as index:
        assert index.add(path, encoding="cp1252", format="csv").unchanged == 90


def test_strings_that_are_no_paths_may_be_texts():
    with pytest.raises(InputError, match=r'a note about.*8 others.*kind="text"') as caught:
        open_source([f"{text} {'and more ' * 50}" for text in texts(9)])
    assert len(str(caught.value)) < 200
    with pytest.raises(InputError, match='kind="text"'):
        open_source(np.array(texts(9), dtype=object))


def test_mappings_in_a_list_are_a_table():
    rows = [{"id": n, "text": text, "n": n / 2} for n, text in enumerate(texts(3))]
    items = list(open_source([*rows, {"id": 9, "text": "other"}]))
    assert [(item.key, item.fields) for item in items[2:]] == [
        ("2", {"n": 1.0}),
        ("9", {}),
    ]


def test_a_row_of_another_length_is_named():
    with pytest.raises(InputError, match="row 20 has 2 values, expected 3"):
        open_source([[1, 2, 3]] * 20 + [[1, 2]])


def test_a_folder_without_images_is_told_to_take_texts_too(tmp_path):
    with pytest.raises(InputError, match=r"No images or texts in .*\.png.*\.txt.*it is empty"):
        open_source(tmp_path)


def test_the_only_array_inside_an_object_is_the_table(tmp_path):
    path = tmp_path / "x.json"
    rows = [{"text": text} for text in texts(5)]
    path.write_text(json.dumps({"count": 5, "items": rows}))
    source = open_source(path)
    assert [item.value for item in source] == texts(5)
    assert "the array 'items'" in source.description
    path.write_text(json.dumps({"text": "whole", "tags": [1, 2], "a": rows, "b": rows}))
    assert [item.value for item in open_source(path)] == ["whole"]


def test_a_structured_array_is_named_as_such(tmp_path):
    np.save(tmp_path / "x.npy", np.zeros(5, dtype=[("a", "f4"), ("b", "i4")]))
    with pytest.raises(InputError, match="structured array, of the fields a, b"):
        open_source(tmp_path / "x.npy")


def test_a_primary_key_is_the_key(tmp_path):
    path = tmp_path / "x.db"
    with sqlite3.connect(path) as database:
        database.execute("create table notes(nid integer primary key, body text)")
        database.executemany("insert into notes values(?, ?)", list(enumerate(texts(9), 5)))
    assert next(iter(open_source(path))).key == "5"
    opened = open_source(path, sql="select body, nid from notes order by nid desc")
    assert next(iter(opened)).key == "13"
    opened = open_source(path, sql="select body, 1 as nid from notes")
    assert next(iter(opened)).key == "0"
    opened = open_source(path, sql="select body from notes")
    assert next(iter(opened)).key == "0"


def test_vectors_of_another_width_are_named_with_their_file(make_index, vectors, tmp_path):
    np.save(tmp_path / "other.npy", vectors[:, :5])
    with (
        hashret.open(make_index("vectors")) as index,
        pytest.raises(InputError, match=r"vectors of 12 values, got 5 in .*other\.npy"),
    ):
        index.add(tmp_path / "other.npy")


def test_other_queries_of_one_file_are_named_as_they_were_written(tmp_path):
    path = tmp_path / "x.db"
    with sqlite3.connect(path) as database:
        database.execute("create table a(id, body)")
        database.executemany("insert into a values(?, ?)", list(enumerate(texts(40))))
    first, second = (f"select id, body || '{n}' as body from a" for n in "12")
    hasher = RandomHyperplanes(32)
    with (
        hashret.create(tmp_path / "i", path, sql=first, hasher=hasher, features="tfidf") as index,
        pytest.raises(InputError, match="already belongs") as caught,
    ):
        index.add(path, sql=second)
    assert str(caught.value).count("select id, body") == 1
    assert "%20" not in str(caught.value)


def test_arrays_beside_the_one_that_is_read_are_told(tmp_path):
    np.savez(tmp_path / "x.npz", X=np.ones((9, 4)), extra=np.ones((9, 4)), y=np.ones(5))
    assert "; extra, y not used (labels have 9 rows" in open_source(tmp_path / "x.npz").description
    np.savez(tmp_path / "x.npz", X=np.ones((9, 4)), extra=np.ones((9, 4)))
    assert open_source(tmp_path / "x.npz").description.endswith("; extra not used")


@pytest.fixture
def notes(tmp_path):
    rows = [
        {"id": str(n), "text": text, "level": "ERROR", "size": n, "host": {"name": f"web{n % 2}"}}
        for n, text in enumerate(texts(40))
    ]
    path = tmp_path / "notes.jsonl"
    path.write_text("".join(json.dumps({**row, "host": row["host"]}) + "\n" for row in rows))
    hasher = RandomHyperplanes(32)
    hashret.create(tmp_path / "indexes/n", path, hasher=hasher, features="tfidf").close()
    return tmp_path


def test_conditions_on_text_say_what_may_be_meant(notes, caplog):
    with hashret.open(notes / "indexes/n") as index:
        with pytest.raises(UsageError, match=r"single quotation marks: 'ERROR'"):
            index.query("topic 3", where="level = ERROR")
        assert len(index.query("topic 3", limit=40, where="host->>'name' = 'web1'")) == 20
        index.query("topic 3", where="size > 7 and level > '7' and level = 'size > 9'")
        assert "holds text" not in caplog.text
        index.query("topic 3", where="level > 7")
        assert "the field level holds text" in caplog.text


def test_the_shell_asks_with_the_text_of_a_file(notes, run):
    (notes / "ask.txt").write_text(texts(9)[3])
    asked = run("query", "--file", "ask.txt", "-i", "n", "-k", "1", "--json")
    assert json.loads(asked.stdout)[0]["distance"] == 0, asked.stderr
    assert "--file" not in run("query", "thing 3", "-i", "n").stderr
    (notes / "thing 3").write_text("x")
    assert "its name was searched for: --file" in run("query", "thing 3", "-i", "n").stderr


def test_the_shell_points_to_the_help_of_the_command(notes, run):
    assert run("query", "-i", "n").stderr.endswith("Try 'hashret query --help'.\n")


def test_the_shell_says_that_nothing_was_pruned(notes, run):
    (notes / "notes.jsonl").write_text("")
    out = run("index", "notes.jsonl", "-i", "n", "--prune")
    assert out.returncode == 1
    assert "Nothing was pruned" in out.stderr
    assert "hashret remove" in out.stderr


def test_fields_to_index_are_checked_before_anything_is_added(notes, run):
    (notes / "more.csv").write_text("id,text,color\n77,a note about thing 3,red\n")
    out = run("index", "more.csv", "-i", "n", "--field-index", "colour")
    assert out.returncode == 2
    assert "There is no field 'colour'" in out.stderr
    with hashret.open(notes / "indexes/n") as index:
        assert len(index) == 40
    out = run("index", "more.csv", "-i", "n", "--field-index", "color", "--field-index", "level")
    assert out.returncode == 0, out.stderr


def test_an_interrupt_tells_of_what_was_stored_where_there_is_something(notes, monkeypatch, capsys):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.chdir(notes)
    monkeypatch.setattr(hashret.Index, "query", interrupted)
    monkeypatch.setattr(sys, "argv", ["hashret", "query", "thing", "-i", "n"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 130
    assert capsys.readouterr().err.endswith("Interrupted. What was stored before is whole.\n")


def test_many_skips_for_one_reason_are_counted(notes, run):
    lines = ["{broken"] * 30 + ["[1, 2]"] * 3 + ['{"id": "77", "text": "about thing 3"}']
    (notes / "more.jsonl").write_text("\n".join(lines))
    out = run("index", "more.jsonl", "-i", "n")
    assert out.stderr.count("more.jsonl#") == 23
    assert "Skipped 10 more: it is not JSON" in out.stderr


def test_items_of_standard_input_are_no_outliers_without_their_vectors(notes, run):
    lines = (notes / "notes.jsonl").read_text()
    out = run("index", "-", "--format", "jsonl", "-i", "s", "--recipe", "lsh", stdin=lines)
    assert out.returncode == 0, out.stderr
    assert "--keep-vectors" in run("outliers", "-i", "s").stderr


def test_embeddings_that_have_no_words_can_be_written(tmp_path, run):
    path = tmp_path / "x.txt"
    path.write_text("\n".join(texts(40)))
    given = ["--recipe", "lsh", "--features", "wordllama"]
    out = run("index", path, "-i", "w", *given)
    assert out.returncode == 0, out.stderr
    assert "-o row.npy" in run("reconstruct", "thing", "-i", "w").stderr


def test_empty_standard_input_is_called_so(notes, run):
    out = run("index", "-", "--format", "csv", "-i", "n")
    assert "nothing on standard input" in out.stderr
    out = run("index", "-", "--format", "csv", "-i", "n", stdin="a\n")
    assert "in standard input" in out.stderr
    assert "/tmp" not in out.stderr
