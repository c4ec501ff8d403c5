"""Tables whose columns of numbers together are vectors."""

import csv
import os

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


def changed(path, columns):
    write(path, columns)
    stamp = path.stat().st_mtime_ns + 10**9
    os.utime(path, ns=(stamp, stamp))


def test_vectors_keep_the_columns_they_were_made_of(tmp_path, vectors):
    rows = vectors[:40].astype(np.float64)
    columns = {
        "id": [f"r{n}" for n in range(40)],
        **dict(zip("hsv", rows.T.tolist(), strict=False)),
    }
    path = write(tmp_path / "t.csv", columns)
    with hashret.create(tmp_path / "i", path, hasher=RandomHyperplanes(32)) as index:
        in_another_order = dict(reversed(columns.items()))
        changed(path, in_another_order)
        assert index.add(path).unchanged == 40
        code = index["r7"].code
        changed(path, {**columns, "more": rows[:, 5].tolist()})
        assert index.add(path).updated == 40
        assert index["r7"].fields == {"more": rows[7, 5]}
        assert np.array_equal(index["r7"].code, code)
        other = write(
            tmp_path / "other.csv", {**in_another_order, "id": [f"s{n}" for n in range(40)]}
        )
        assert index.add(other).added == 40
        for n in range(40):
            assert np.array_equal(index[f"s{n}"].code, index[f"r{n}"].code)
        lacking = write(tmp_path / "lacking.csv", {"id": ["t"], "h": [1.5], "s": [2.5], "w": [0.5]})
        with pytest.raises(InputError, match="Expected numbers in the column 'v' of lacking.csv"):
            index.add(lacking)


def test_chosen_columns_of_numbers_are_vectors(tmp_path, vectors):
    path = write(tmp_path / "t.csv", columns_of(vectors[:9]))
    source = open_source(path, column='["x3", "x1"]')
    item = next(iter(source))
    assert item.value.tolist() == pytest.approx(vectors[0, [3, 1]].tolist())
    assert np.array_equal(read_value(source.place_of(item)), item.value)
    with pytest.raises(InputError, match="'x99'.* there is none"):
        open_source(path, column='["x3", "x99"]')


@pytest.mark.parametrize("cell", ["1_000", "007", "+49"])
def test_a_cell_that_is_no_number_is_none_in_a_vector(tmp_path, cell):
    path = tmp_path / "t.csv"
    path.write_text("a,b\n" + "1.5,2\n" * 2000 + f"{cell},2\n")
    source = open_source(path, kind="vectors")
    assert sum(1 for _ in source) == 2000
    assert "line 2,002: expected a number in its column 'a'" in source.skipped[0].reason


def test_decimal_commas_mean_the_same_in_every_row(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("a;b\n" + "1,5;2,25\n" * 1200 + "1.234;2,5\n1.234;2.500\n")
    source = open_source(path, kind="vectors")
    assert [item.value.tolist() for item in source] == [[1.5, 2.25]] * 1200
    assert source.skipped.total == 2


def test_codes_of_digits_are_no_coordinates(tmp_path):
    path = tmp_path / "t.csv"
    zips = [f"{n:05}" for n in range(9500, 9500 + 20 * 50, 50)]
    write(path, {"zip": zips, "a": [0.5] * 20, "b": [1.5] * 20})
    source = open_source(path, kind="vectors")
    assert source.width == 2
    assert next(iter(source)).fields["zip"] == "09500"


@pytest.mark.parametrize(
    "texts",
    [
        [f"2020-01-{n:02}" for n in range(1, 41)],
        [f"2020-01-01 12:{n:02}:00" for n in range(40)],
        [f"{n:04}-VHVE{n}" for n in range(40)],
    ],
)
def test_dates_and_codes_beside_numbers_are_no_texts(tmp_path, vectors, texts):
    columns = {"when": texts, "a": vectors[:40, 0].tolist(), "b": vectors[:40, 1].tolist()}
    source = open_source(write(tmp_path / "t.csv", columns))
    assert source.kind == "vectors"
    assert next(iter(source)).fields == {"when": texts[0]}
    said = {**columns, "said": [f"nobody said {n}" for n in range(40)]}
    assert "text: said" in open_source(write(tmp_path / "t.csv", said)).description


def test_one_bare_number_among_written_lists_costs_its_row(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text(
        "id,embedding\n" + "".join(f'{n},"[{n}.5, 1.5, 2.5]"\n' for n in range(59)) + "59,0\n"
    )
    source = open_source(path)
    assert (source.kind, sum(1 for _ in source), source.skipped.total) == ("vectors", 59, 1)


def test_a_list_among_notes_is_not_what_vectors_are_made_of(tmp_path):
    path = tmp_path / "t.csv"
    notes = ["a note on this", "another one", "[12]"] * 10
    write(path, {"a": [0.5] * 30, "b": [1.5] * 30, "notes": notes})
    assert open_source(path, kind="vectors").width == 2


def test_a_box_does_not_beat_the_caption_it_stands_beside(tmp_path):
    path = write(tmp_path / "t.csv", {"caption": ["a cat", "a dog"], "bbox": ["[1, 2, 3, 4]"] * 2})
    assert "text: caption" in open_source(path).description
