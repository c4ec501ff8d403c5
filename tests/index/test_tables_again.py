"""Tables that are given again, by when they look otherwise."""

import csv

import pytest

import hashret
from hashret.errors import InputError
from hashret.evaluation import RandomHyperplanes


def write_table(path, rows):
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)


def table_rows(count, **more):
    return [
        {"ID": str(100 + n), "Comment": f"a comment on thing {n}", **more} for n in range(count)
    ]


def test_the_columns_taken_of_a_table_are_taken_again(tmp_path):
    """A longer text, or keys that come twice, would make another guess."""
    path = tmp_path / "sheet.csv"
    write_table(path, table_rows(40))
    with hashret.create(tmp_path / "i", path, hasher=RandomHyperplanes(32)) as index:
        code = index["100"].code.tobytes()
        write_table(
            path, table_rows(40, Description="what is far longer than any comment " * 3) * 2
        )
        report = index.add(path)
        assert (report.added, len(index)) == (0, 40)
        assert report.skipped.total == 40
        assert index["100"].code.tobytes() == code


def test_rows_stay_keys_where_names_of_columns_turn_up_later(tmp_path):
    path = tmp_path / "sheet.csv"
    write_table(path, [{"Comment": row["Comment"]} for row in table_rows(40)])
    with hashret.create(tmp_path / "i", path, hasher=RandomHyperplanes(32)) as index:
        write_table(path, table_rows(41))
        index.add(path)
        assert set(index) == {str(n) for n in range(41)}


def test_other_columns_are_taken_where_they_are_named(tmp_path):
    path = tmp_path / "sheet.csv"
    write_table(path, table_rows(40, Other="x"))
    with hashret.create(tmp_path / "i", path, id_column="", hasher=RandomHyperplanes(32)) as index:
        assert "0" in index
        assert index.add(path, id_column="ID").added == 40
        assert index.add(path).unchanged == 40


def test_a_column_taken_before_that_is_gone_is_named(tmp_path):
    path = tmp_path / "sheet.csv"
    write_table(path, table_rows(40))
    with hashret.create(tmp_path / "i", path, hasher=RandomHyperplanes(32)) as index:
        write_table(path, [{"Key": row["ID"], "Comment": row["Comment"]} for row in table_rows(41)])
        with pytest.raises(InputError, match=r"no column 'ID' in sheet.csv.*--id-column"):
            index.add(path)
        assert len(index) == 40


def test_what_comes_through_standard_input_does_not_replace_what_came_before(tmp_path, run):
    first = "".join(f'{{"message": "message {n}"}}\n' for n in range(40))
    given = ["index", "-", "-i", str(tmp_path / "i"), "--format", "jsonl"]
    assert run(*given, "--recipe", "lsh", stdin=first).returncode == 0
    assert ", 40 unchanged" in run(*given, stdin=first).stderr
    refused = run(*given, stdin=first.replace("message 3", "another 3"))
    assert refused.returncode == 1
    assert "--key-prefix" in refused.stderr
    replaced = run(*given, "--replace", stdin=first.replace("message 3", "another 3"))
    assert " 11 updated" in replaced.stderr


def test_rows_that_became_others_are_warned_of(tmp_path, caplog):
    path = tmp_path / "log.jsonl"
    path.write_text("".join(f'{{"message": "message {n}"}}\n' for n in range(40)))
    with hashret.create(tmp_path / "i", path, hasher=RandomHyperplanes(32)) as index:
        path.write_text("".join(f'{{"message": "on another day {n}"}}\n' for n in range(30)))
        assert index.add(path).updated == 30
    assert "30 of 30 items" in caplog.text
    assert "--key-prefix" in caplog.text


def test_another_table_that_takes_keys_brings_no_fields_of_the_first(tmp_path):
    first, other = tmp_path / "first.csv", tmp_path / "other.csv"
    first.write_text("id,text,price\na,red shoes,1\nb,blue hats,2\n")
    other.write_text("id,text\na,green coats\nb,blue hats\n")
    with hashret.create(tmp_path / "i", first, hasher=RandomHyperplanes(8)) as index:
        index.add(other, replace=True)
        assert index["a"].fields == {}
        assert index["b"].fields == {"price": 2}  # the same item, of which less is told
