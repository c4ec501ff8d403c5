"""Tables whose columns of numbers together are vectors."""

import csv

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pyarrow import parquet

import hashret
from hashret.errors import InputError
from hashret.evaluation import RandomHyperplanes
from hashret.sources import open_source, read_value

NAMES = [f"x{n}" for n in range(12)]


def write(path, columns):
    if path.suffix == ".parquet":
        parquet.write_table(pa.table(columns), path)
        return path
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))
    return path


def columns_of(vectors, **more):
    return {**more, **dict(zip(NAMES, vectors.T.tolist(), strict=True))}


@pytest.mark.parametrize("name", ["t.csv", "t.parquet"])
@pytest.mark.parametrize("options", [{}, {"kind": "vectors"}, {"column": "*"}])
def test_columns_of_numbers_are_vectors(tmp_path, vectors, name, options):
    some = vectors[:40]
    ids, labels = [f"r{n}" for n in range(40)], ["cat", "dog"] * 20
    path = write(tmp_path / name, columns_of(some, id=ids, label=labels))
    with hashret.create(
        tmp_path / "i", open_source(path, **options), hasher=RandomHyperplanes(32)
    ) as index:
        source = open_source(path, **options)
        shown = f"40 vectors of 12 values from {name} (vector: {', '.join(NAMES)}; key: id; "
        assert source.description == f"{shown}fields: label)"
        assert [item.key for item in source] == ids
        assert index["r3"].fields == {"label": "dog"}
        place = source.place_of(list(source)[3])
        np.testing.assert_array_equal(read_value(place), some[3])
        report = index.add(path)
        assert (report.added, report.updated, report.unchanged) == (0, 0, 40)
        again = open_source(path, earlier=source.columns_taken)
        assert again.location == source.location


@pytest.mark.parametrize("id_column", ["", "n", "x0", None])
def test_the_same_columns_are_found_again(tmp_path, vectors, id_column):
    given = columns_of(vectors[:40], n=[f"n{n}" for n in range(40)], id=list(range(100, 140)))
    path = write(tmp_path / "t.csv", given)
    source = open_source(path, id_column=id_column, kind="vectors")
    items = list(source)
    expected = vectors[:40, 1:] if id_column == "x0" else vectors[:40]
    np.testing.assert_array_equal([item.value for item in items], expected)
    np.testing.assert_array_equal(read_value(source.place_of(items[7])), expected[7])


def test_texts_come_first_and_stay_fields_where_vectors_are_asked_for(tmp_path, vectors):
    notes = [f"a note on {n}" for n in range(40)]
    path = write(tmp_path / "t.csv", columns_of(vectors[:40], note=notes))
    assert open_source(path).kind == "text"
    item = next(iter(open_source(path, kind="vectors")))
    assert (item.value.shape, item.fields) == ((12,), {"note": "a note on 0"})


def test_numbers_of_rows_are_no_part_of_a_vector(tmp_path, vectors):
    path = write(tmp_path / "t.csv", columns_of(vectors[:40], **{"": range(40)}))
    assert next(iter(open_source(path))).value.shape == (12,)


def test_a_cell_without_a_number_costs_its_row(tmp_path):
    rows = [[float(n), n / 2] for n in range(40)]
    rows[3][1], rows[4][1], rows[5][0], rows[6][1], rows[7][0] = "?", "", "nan", "1e400", 1e60
    path = tmp_path / "t.csv"
    path.write_text("a,b\n" + "".join(f"{a},{b}\n" for a, b in rows))
    source = open_source(path)
    assert len(list(source)) == 35
    assert [skipped.reason for skipped in source.skipped] == [
        "line 5: expected a number in its column 'b', got '?'",
        "line 6: there is no number in its column 'b'",
        "line 7: there is no number in its column 'a'",
        "line 8: expected a number in its column 'b', got '1e400'",
        "line 9: the number in its column 'a' is too large",
    ]


def test_decimal_commas_are_read(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("a;b\n1,25;1.234,5\n0,5;3,75\n")
    assert [item.value.tolist() for item in open_source(path)] == [[1.25, 1234.5], [0.5, 3.75]]


def test_one_column_of_numbers_is_no_vector(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("a,b\n1,\n2,\n")
    with pytest.raises(InputError, match="no two hold numbers"):
        open_source(path)


@pytest.mark.parametrize(("names", "width"), [("x,y,z", 3), ("X,Y", 2), ("a,b,y", 2)])
def test_y_is_a_label_but_not_beside_x(tmp_path, names, width):
    columns = {name: [n * 0.5 for n in range(5)] for name in names.split(",")}
    assert open_source(write(tmp_path / "points.csv", columns)).width == width
    assert open_source(pd.DataFrame(columns)).width == width


@pytest.mark.parametrize(
    ("beside", "kind"),
    [
        ({"species": ["setosa", "virginica"] * 20}, "vectors"),
        ({"name": [f"place {n}" for n in range(40)]}, "text"),
        ({"review": [f"a long story of number {n}" for n in range(40)]}, "text"),
        ({"title": ["Up"] * 40}, "text"),
    ],
)
def test_labels_beside_numbers_are_no_texts(tmp_path, vectors, beside, kind):
    columns = {**beside, "a": vectors[:40, 0].tolist(), "b": vectors[:40, 1].tolist()}
    assert open_source(write(tmp_path / "t.csv", columns)).kind == kind
    assert open_source(pd.DataFrame(columns)).kind == kind


def test_names_beside_many_numbers_are_no_texts(tmp_path, vectors):
    columns = columns_of(vectors[:40], word=[f"word{n}" for n in range(40)])
    source = open_source(write(tmp_path / "t.csv", columns))
    assert (source.kind, source.width) == ("vectors", 12)
    assert next(iter(source)).fields == {"word": "word0"}
