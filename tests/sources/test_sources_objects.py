"""Tables and collections of other libraries, where these are installed."""

import io
import tracemalloc

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from scipy import sparse
from sklearn.datasets import load_digits, load_iris
from sklearn.utils import Bunch

import hashret
from hashret.errors import InputError, UsageError
from hashret.features import VectorFeatures
from hashret.sources import open_source

TEXTS = ["a cat", "a dog", "no animal"]
ROWS = np.arange(12, dtype=np.float32).reshape(3, 4)


def items(source):
    return [(item.key, item.value, dict(item.fields)) for item in source]


def vectors(source):
    return [(item.key, item.value.tolist(), dict(item.fields)) for item in source]


def as_pandas(columns):
    return pytest.importorskip("pandas").DataFrame(columns)


def as_polars(columns):
    return pytest.importorskip("polars").DataFrame(columns)


def as_dataset(columns):
    return pytest.importorskip("datasets").Dataset.from_dict(columns)


@pytest.fixture(params=[pa.table, as_pandas, as_polars, as_dataset])
def table(request):
    return request.param


def test_a_column_of_texts_holds_the_values_and_the_others_are_fields(table):
    source = open_source(table({"id": [7, 8, 9], "text": TEXTS, "stars": [1.5, None, 3.0]}))
    assert (source.kind, source.length, source.location) == ("text", 3, None)
    assert items(source) == [
        ("7", "a cat", {"stars": 1.5}),
        ("8", "a dog", {"stars": None}),
        ("9", "no animal", {"stars": 3.0}),
    ]
    assert source.description.startswith("3 texts from the ")


def test_columns_can_be_named(table):
    data = table({"one": TEXTS, "two": ["x y", "y z", "z x"], "name": ["a", "b", "c"]})
    source = open_source(data, column="two", id_column="name", key_prefix="p:")
    assert [(key, value) for key, value, _ in items(source)] == [
        ("p:a", "x y"),
        ("p:b", "y z"),
        ("p:c", "z x"),
    ]
    with pytest.raises(InputError, match="no column 'three'"):
        open_source(data, column="three")


def test_a_column_of_lists_is_one_of_vectors(table):
    source = open_source(table({"id": ["a", "b", "c"], "embedding": ROWS.tolist()}))
    assert source.kind == "vectors"
    assert vectors(source) == [(k, row.tolist(), {}) for k, row in zip("abc", ROWS, strict=True)]


def test_a_table_of_numbers_is_one_of_vectors(table):
    columns = {f"x{j}": ROWS[:, j] for j in range(4)}
    source = open_source(table({"id": [5, 6, 7], **columns, "label": [0, 1, 0]}))
    assert source.kind == "vectors"
    assert vectors(source) == [
        (key, row.tolist(), {"label": label})
        for key, row, label in zip("567", ROWS, [0, 1, 0], strict=True)
    ]


def test_what_is_no_number_in_a_table_of_numbers_is_a_field(table, caplog):
    rows = np.tile(ROWS, 2)
    columns = {f"x{j}": rows[:, j] for j in range(8)}
    for names in (["cat", "cat", "cat"], ["New York", "Rome", "Bern"]):
        data = table({"where": names, **columns, "wild": [True, False, None], "y": [2, 0, 1]})
        caplog.clear()
        source = open_source(data)
        assert vectors(source) == [
            (str(n), row.tolist(), {"where": name, "wild": wild, "label": label})
            for n, (row, name, wild, label) in enumerate(
                zip(rows, names, (True, False, None), (2, 0, 1), strict=True)
            )
        ]
        assert vectors(source.sample(1, np.random.default_rng(0)))[0] in vectors(source)
        assert "fields: where, wild, label (numbers); label: y)" in source.description
        # Where it might be meant as texts, that is said.
        assert ("column='where'" in caplog.text) == (len(set(names)) == 3)
    assert open_source(data, column="where").kind == "text"
    few = table({"where": names, "a": rows[:, 0], "b": rows[:, 1]})
    assert open_source(few).kind == "text"  # names of things that have few numbers


@pytest.mark.parametrize(
    ("name", "texts"),
    [
        ("title", ["Alien", "Up", "Up"]),
        ("said", ["a cat that sleeps", "a dog that barks", "ok"]),
        ("said", ["今天的天气非常好啊", "明天会下很大的雨吗", "好"]),
    ],
)
def test_a_table_of_texts_and_numbers_is_one_of_texts(table, name, texts):
    data = table({name: texts, "a": [1.0, 2.0, 3.0], "b": [4.0, 5.0, 6.0]})
    source = open_source(data)
    assert [(value, fields) for _, value, fields in items(source)] == [
        (text, {"a": n, "b": n + 3.0}) for n, text in enumerate(texts, start=1)
    ]
    assert vectors(open_source(data, kind="vectors"))[2] == ("2", [3.0, 6.0], {name: texts[2]})


def test_a_missing_number_costs_its_row(table):
    data = table({"a": [1, None, 3], "b": [4.5, 5.5, 6.5], "kind": ["x", "x", "x"]})
    source = open_source(data)
    assert [value.tolist() for _, value, _ in items(source)][::2] == [[1.0, 4.5], [3.0, 6.5]]
    assert np.isnan(list(source)[1].value[0])


@pytest.mark.parametrize("numbers", [False, True])
def test_keys_of_a_table_in_memory_come_once(table, numbers):
    ids = [*range(100, 120), 105]
    columns = {"a": np.arange(21.0), "b": np.ones(21)} if numbers else {"text": ["a b"] * 21}
    source = open_source(table({"id": ids} | columns))
    assert [item.key for item in source] == list(map(str, ids[:-1]))
    assert [one.reason.partition(", and")[0] for one in source.skipped] == [
        "row 20: the key '105' came before, on row 5"
    ]
    groups = open_source(table({"id": [1, 1, 2] * 7} | columns))
    assert [item.key for item in groups] == list(map(str, range(21)))
    assert next(iter(groups)).fields == {"id": 1}
    both = open_source(table({"uid": range(21), "id": ids} | columns))
    assert next(iter(both)).key == "100"


def test_keys_that_cannot_be_read_cost_their_rows_and_nothing_is_taken_for_gone(table, caplog):
    columns = {"a": [1.0, 2.0, 3.0], "b": [4.0, 5.0, 6.0]}
    source = open_source(table({"id": [5.0, None, 7.0]} | columns), id_column="id")
    assert vectors(source) == [("5", [1.0, 4.0], {}), ("7", [3.0, 6.0], {})]
    assert [one.reason for one in source.skipped] == ["row 1: there is no key in its column 'id'"]
    assert list(source.named_keys()) == ["5", "7"]
    assert source.holds("5")
    assert not caplog.text
    assert source.holds("gone")
    assert "the keys of 1 of its rows" in caplog.text


@pytest.mark.parametrize("name", ["Unnamed: 0", "index", "level_0"])
def test_the_numbers_of_rows_are_no_part_of_a_vector(table, name):
    source = open_source(table({name: [0, 1, 2], "a": [1.0, 2.0, 3.0], "b": [4.0, 5.0, 6.0]}))
    assert [value.tolist() for _, value, _ in items(source)][1] == [2.0, 5.0]


@pytest.mark.parametrize("place", [5, 1500])
def test_a_cell_that_is_no_number_costs_its_row(place):
    pandas = pytest.importorskip("pandas")
    for bad in ("n.a. today", 10**400, True):
        column = list(range(2000))
        column[place], column[place + 1] = bad, "7.5"
        data = pandas.DataFrame({"a": pandas.Series(column, dtype=object), "b": np.arange(2000)})
        source = open_source(data)
        found = {item.key: item.value.tolist() for item in source}
        assert len(found) == 1999
        assert found[str(place + 1)] == [7.5, place + 1]
        assert [one.name for one in source.skipped] == [f"the DataFrame#{place}"]
        assert "number in its column 'a'" in source.skipped[0].reason


def test_what_cannot_be_used_is_skipped_by_its_row(table):
    source = open_source(table({"id": [1, 2, 3], "text": ["a b", None, "c d"]}))
    assert [key for key, _, _ in items(source)] == ["1", "3"]
    assert "row 1" in source.skipped[0].reason


def test_many_records_are_read_in_order_and_by_chance(table):
    source = open_source(table({"text": [f"text {n}" for n in range(5000)]}))
    assert [value for _, value, _ in items(source)] == [f"text {n}" for n in range(5000)]
    sample = items(source.sample(50, np.random.default_rng(0)))
    assert len(sample) == 50
    assert all(value == f"text {key}" for key, value, _ in sample)


def test_a_pandas_index_that_names_the_rows_gives_the_keys():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(ROWS, index=["a", "b", "c"])
    assert vectors(open_source(frame)) == [
        (key, row.tolist(), {}) for key, row in zip("abc", ROWS, strict=True)
    ]
    texts = pandas.Series(TEXTS, index=["x", "y", "z"], name="what")
    assert items(open_source(texts)) == [
        (key, text, {}) for key, text in zip("xyz", TEXTS, strict=True)
    ]
    frame.columns = ["a", "b", "c", "a"]
    with pytest.raises(InputError, match="'a' comes twice"):
        open_source(frame)


@pytest.mark.parametrize("numbers", [False, True])
def test_rows_keep_their_keys_when_others_are_taken_out_of_a_frame(numbers):
    pandas = pytest.importorskip("pandas")
    columns = {"a": [1.5, 2.5, 3.5], "b": [1.0, 2.0, 3.0]} if numbers else {"text": TEXTS}
    named = pandas.DataFrame({"id": ["x", "y", "z"]} | columns)
    other = named.assign(id=["u", "v", "w"])
    for key, frame in (("id", named), (None, named.drop(columns="id"))):
        whole = {k: (np.array(v).tolist(), f) for k, v, f in items(open_source(frame))}
        assert list(whole) == (["x", "y", "z"] if key else ["0", "1", "2"])
        for part in (frame[frame[frame.columns[-1]] != frame.iloc[0, -1]], frame[1:]):
            got = {k: (np.array(v).tolist(), f) for k, v, f in items(open_source(part))}
            assert got == {k: whole[k] for k in list(whole)[1:]}
    joined = pandas.concat([named, other])
    assert [key for key, _, _ in items(open_source(joined))] == list("xyzuvw")
    without = joined.drop(columns="id")
    assert [key for key, _, _ in items(open_source(without))] == list("012345")
    asked = open_source(without.iloc[::-1], id_column="index") if not numbers else None
    assert asked is None or [key for key, _, _ in items(asked)] == ["2", "1", "0"]


@pytest.mark.parametrize("numbers", [False, True])
def test_a_part_of_a_frame_whose_ids_repeat_keeps_its_keys(numbers, caplog):
    pandas = pytest.importorskip("pandas")
    columns = {"a": np.arange(60.0), "b": np.ones(60)}
    if not numbers:
        columns = {"text": [f"text {n}" for n in range(60)]}
    frame = pandas.DataFrame({"id": np.arange(60) // 3, **columns, "lang": ["en", "de"] * 30})
    whole = [item.key for item in open_source(frame)]
    assert whole == list(map(str, range(60)))
    assert "id_column='id'" in caplog.text
    assert [item.key for item in open_source(frame[frame.lang == "de"])] == whole[1::2]
    indexed = frame.set_index("id")
    assert [item.key for item in open_source(indexed)] == whole
    asked = open_source(frame, id_column="id")
    assert [item.key for item in asked] == list(map(str, range(20)))
    assert len(asked.skipped) == 40
    # Almost all differ, here and in each part.
    frame["id"] = [*range(100, 159), 100]
    caplog.clear()
    for part in (frame, frame[1:], frame[frame.lang == "de"]):
        assert next(iter(open_source(part))).key == str(part["id"].iloc[0])
    assert not caplog.text


def test_a_pandas_index_beside_a_column_of_keys_is_a_field():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"id": [7, 8, 9], "text": TEXTS}, index=["a", "b", "c"])
    assert items(open_source(frame))[0] == ("7", "a cat", {"index": "a"})
    assert items(open_source(frame, id_column="index"))[0] == ("a", "a cat", {"id": 7})
    frame["id"] = 7
    assert items(open_source(frame))[0] == ("a", "a cat", {"id": 7})
    repeated = frame[["text"]].set_index(pandas.Index(["a", "a", "a"], name="group"))
    assert items(open_source(repeated))[2] == ("2", "no animal", {"group": "a"})


def test_the_numbers_of_the_rows_can_be_asked_for(table):
    texts = table({"id": ["x", "y", "z"], "text": TEXTS})
    assert [(k, f) for k, _, f in items(open_source(texts, id_column=""))] == [
        (str(n), {"id": key}) for n, key in enumerate("xyz")
    ]
    numbers = table({"id": ["x", "y", "z"], "a": [1.0, 2.0, 3.0], "b": [4.0, 5.0, 6.0]})
    assert vectors(open_source(numbers, id_column=""))[2] == ("2", [3.0, 6.0], {"id": "z"})
    rows = [{"id": "x", "text": "a cat"}, {"id": "y", "text": "a dog"}]
    assert [key for key, _, _ in items(open_source(rows, id_column=""))] == ["0", "1"]


def test_mappings_may_have_any_names_and_each_its_own():
    rows = [{"id": "a", "text": "a cat", 2020: 5}, {"id": "b", "text": "a dog", "n": 1}]
    source = open_source([*rows, {"id": "c", "text": "no", 1: 2, "1": 3}])
    assert items(source) == [("a", "a cat", {"2020": 5}), ("b", "a dog", {"n": 1})]
    assert "row 2: two of its names" in source.skipped[0].reason


def test_memory_does_not_grow_with_the_square_of_the_names():
    rows = [{"id": str(n), "text": f"text {n}", f"name{n}": 1} for n in range(3000)]
    tracemalloc.start()
    source = open_source(rows)
    fields = [item.fields for item in source.sample(3, np.random.default_rng(0))]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert [len(some) for some in fields] == [1, 1, 1]
    assert peak < 20 << 20


def test_a_damaged_picture_in_memory_costs_one_row():
    picture = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (8, 8), np.uint8)).save(
        picture, "PNG"
    )
    whole = picture.getvalue()
    rows = [{"id": n, "image": Image.open(io.BytesIO(whole))} for n in range(3)]
    rows[1]["image"] = Image.open(io.BytesIO(whole[:-25]))
    source = open_source(rows)
    assert [key for key, _, _ in items(source)] == ["0", "2"]
    assert [one.reason for one in source.skipped] == [
        "row 1: damaged image: image file is truncated"
    ]


def test_pandas_times_and_missing_values_become_fields():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(
        {
            "text": TEXTS,
            "when": pandas.to_datetime(["2020-01-02", None, "2021-01-01"]),
            "n": pandas.array([1, None, 3], dtype="Int64"),
        }
    )
    fields = [fields for _, _, fields in items(open_source(frame))]
    assert fields[0] == {"when": "2020-01-02T00:00:00", "n": 1}
    assert fields[1] == {"when": None, "n": None}


def test_pictures_of_a_dataset_are_images(tmp_path):
    datasets = pytest.importorskip("datasets")
    pictures = [Image.fromarray(np.full((4, 4), level, np.uint8)) for level in (10, 20, 30)]
    features = datasets.Features(
        {"image": datasets.Image(), "label": datasets.ClassLabel(names=["cat", "dog"])}
    )
    dataset = datasets.Dataset.from_dict({"image": pictures, "label": [0, 1, 0]}, features=features)
    source = open_source(dataset)
    assert source.kind == "images"
    shown = [Image.open(io.BytesIO(value)) for _, value, _ in items(source)]
    assert [np.asarray(picture).max() for picture in shown] == [10, 20, 30]
    assert [fields for _, _, fields in items(source)] == [{"label": 0}, {"label": 1}, {"label": 0}]
    with pytest.raises(InputError, match="several data sets"):
        open_source(datasets.DatasetDict({"train": dataset}))
    with pytest.raises(InputError, match="An IterableDataset is streamed"):
        open_source(dataset.to_iterable_dataset())


def test_a_damaged_picture_of_a_dataset_is_one_item():
    datasets = pytest.importorskip("datasets")
    buffer = io.BytesIO()
    Image.fromarray(np.zeros((4, 4), np.uint8)).save(buffer, "PNG")
    wrapped = [{"bytes": content, "path": None} for content in (buffer.getvalue(), b"no picture")]
    dataset = datasets.Dataset.from_dict({"image": wrapped})
    source = open_source(dataset.cast_column("image", datasets.Image()), kind="images")
    assert [value for _, value, _ in items(source)] == [buffer.getvalue(), b"no picture"]


def test_the_format_of_a_dataset_does_not_matter():
    datasets = pytest.importorskip("datasets")
    dataset = datasets.Dataset.from_dict({"id": [4, 5, 6], "text": TEXTS, "n": [1, 2, 3]})
    expected = [(str(n + 4), text, {"n": n + 1}) for n, text in enumerate(TEXTS)]
    assert items(open_source(dataset.with_format("numpy"))) == expected
    shouting = dataset.with_transform(
        lambda rows: rows | {"text": [text.upper() for text in rows["text"]]}
    )
    assert items(open_source(shouting)) == [(key, text.upper(), n) for key, text, n in expected]


@pytest.mark.parametrize("index", [[0.5, 1.5, 2.5], ["2020-01-02", "2020-01-03", "2020-01-04"]])
def test_a_pandas_index_that_cannot_be_keys_is_a_field(index):
    pandas = pytest.importorskip("pandas")
    dates = isinstance(index[0], str)
    frame = pandas.DataFrame({"text": TEXTS}, index=pandas.to_datetime(index) if dates else index)
    expected = [f"{day}T00:00:00" for day in index] if dates else index
    assert items(open_source(frame)) == [
        (str(n), text, {"index": given})
        for n, (text, given) in enumerate(zip(TEXTS, expected, strict=True))
    ]


def test_a_series_of_polars_is_a_column_and_a_lazy_frame_is_refused():
    polars = pytest.importorskip("polars")
    series = polars.Series("text", TEXTS)
    assert [value for _, value, _ in items(open_source(series))] == TEXTS
    with pytest.raises(InputError, match=r"collect\(\)"):
        open_source(series.to_frame().lazy())


def test_a_value_that_a_library_cannot_give_costs_one_record():
    class Failing(list):
        def __getitem__(self, place):
            some = super().__getitem__(place)
            if "broken" in some:
                raise RuntimeError("no decoder")
            return some

    source = open_source(Bunch(data=Failing(["a cat", "broken", "a dog"])))
    assert [value for _, value, _ in items(source)] == ["a cat", "a dog"]
    assert [one.reason for one in source.skipped] == ["row 1: the data cannot give it: no decoder"]


def test_one_column_of_arrow_and_masked_arrays_are_refused_with_a_remedy():
    with pytest.raises(InputError, match="pyarrow.table"):
        open_source(pa.array(TEXTS))
    with pytest.raises(InputError, match="filled"):
        open_source(np.ma.masked_less(ROWS, 3))
    assert len(list(open_source(np.ma.masked_less(ROWS, -1)))) == 3
    with pytest.raises(InputError, match="Item 1 is None, expected text"):
        open_source(["words", None], kind="text")


def test_pictures_as_bytes_in_a_table_are_images():
    buffer = io.BytesIO()
    Image.fromarray(np.zeros((4, 4), np.uint8)).save(buffer, "PNG")
    source = open_source(pa.table({"picture": [buffer.getvalue()] * 2, "name": ["a b", "c d"]}))
    assert source.kind == "images"
    assert items(source)[1] == ("1", buffer.getvalue(), {"name": "c d"})


def test_a_bunch_has_its_target_as_label():
    digits = load_digits()
    source = open_source(digits)
    assert (source.kind, source.length) == ("vectors", 1797)
    key, value, fields = items(source)[5]
    assert (key, fields) == ("5", {"label": 5})
    assert np.array_equal(value, digits.data[5])
    assert items(open_source(load_iris()))[0][2] == {"label": "setosa"}


def test_a_bunch_of_frames_has_its_target_as_label():
    pytest.importorskip("pandas")
    source, plain = open_source(load_iris(as_frame=True)), open_source(load_iris())
    assert vectors(source) == vectors(plain)
    bunch = Bunch(data=as_pandas({"text": TEXTS}), target=np.array([0.5, 1.5, 2.5]))
    assert items(open_source(bunch))[1] == ("1", "a dog", {"label": 1.5})


def test_a_bunch_of_texts_is_text():
    bunch = Bunch(data=TEXTS, target=np.array([0, 1, 1]), target_names=["cat", "other"])
    source = open_source(bunch)
    assert items(source)[1] == ("1", "a dog", {"label": "other"})


@pytest.mark.parametrize("form", ["csr", "coo", "csc", "dok"])
@pytest.mark.parametrize("make", [sparse.csr_matrix, sparse.csr_array])
def test_a_sparse_matrix_is_read_row_by_row(form, make):
    source = open_source(make(ROWS).asformat(form), key_prefix="p")
    assert (source.kind, source.width) == ("vectors", 4)
    assert vectors(source) == [(f"p{n}", row.tolist(), {}) for n, row in enumerate(ROWS)]
    bunch = Bunch(data=make(ROWS), target=np.array([0, 1, 1]), target_names=["a", "b"])
    assert vectors(open_source(bunch))[2] == ("2", ROWS[2].tolist(), {"label": "b"})
    random = np.random.default_rng(0)
    assert all(row[1] in ROWS.tolist() for row in vectors(source.sample(2, random)))
    with pytest.raises(InputError, match="Expected text, got numbers"):
        open_source(make(ROWS), kind="text")


def test_a_sparse_matrix_is_never_dense_as_a_whole():
    matrix = sparse.random(100_000, 4000, 0.0001, "csr", np.float32, 0)
    tracemalloc.start()
    n_rows = sum(1 for _ in open_source(matrix).between(0, 20_000))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert n_rows == 20_000  # 320 MB dense
    assert peak < 100 << 20


def test_a_sparse_matrix_that_is_too_wide_is_refused_with_what_to_do():
    wide = sparse.csr_matrix((3, 8193))
    for data in (wide, Bunch(data=wide)):
        with pytest.raises(InputError, match=r"8,193 columns .* at most 8,192.*TruncatedSVD"):
            open_source(data)


def test_a_row_of_a_sparse_matrix_is_a_query():
    features = VectorFeatures(4)
    for make in (sparse.csr_matrix, sparse.csr_array):
        np.testing.assert_array_equal(features.vector(make(ROWS)[1]), ROWS[1])
    with pytest.raises(InputError, match=r"\(12,\)"):
        features.vector(sparse.csr_matrix(ROWS))


def test_a_memoryview_is_an_array():
    assert vectors(open_source(memoryview(ROWS))) == vectors(open_source(ROWS))
    with pytest.raises(InputError, match="two dimensions or more"):
        open_source(memoryview(b"abc"))


def test_an_open_file_is_refused_with_its_path(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "a cat"}\n')
    for mode in ("r", "rb"):
        with path.open(mode) as file, pytest.raises(InputError, match=r"pass '.*a\.jsonl'"):
            open_source(file)
    with pytest.raises(InputError, match="got an open one"):
        open_source(io.StringIO("a.png"))


def test_images_of_several_sizes_are_given_as_a_list():
    arrays = [np.full((side, 5), side, np.uint8) for side in (4, 6)]
    for images in (arrays, list(map(Image.fromarray, arrays))):
        source = open_source(images, key_prefix="p")
        assert source.kind == "images"
        assert [(key, np.asarray(value).shape) for key, value, _ in items(source)] == [
            ("p0", (4, 5)),
            ("p1", (6, 5)),
        ]
        with pytest.raises(UsageError, match="images have none"):
            open_source(images, key_prefix="{stem}")


class Tensor:
    def __init__(self, array):
        self._array = array

    def __array__(self, dtype=None, copy=None):
        if self._array is None:
            raise RuntimeError("Can't call numpy() on Tensor that requires grad.")
        return np.asarray(self._array, dtype=dtype)


def test_a_tensor_is_an_array():
    assert np.array_equal([item.value for item in open_source(Tensor(ROWS))], ROWS)
    with pytest.raises(InputError, match="requires grad"):
        open_source(Tensor(None))


@pytest.mark.parametrize(
    "options", [{"sql": "select 1"}, {"format": "csv"}, {"key_prefix": "{stem}"}]
)
def test_options_of_files_are_refused(options):
    with pytest.raises(UsageError):
        open_source(pa.table({"text": TEXTS}), **options)


def test_an_index_is_made_of_a_table_and_asked(tmp_path):
    rows = np.random.default_rng(0).normal(size=(300, 8)).astype(np.float32)
    data = pa.table({"id": list(map(str, range(300))), "v": rows.tolist(), "n": range(300)})
    index = hashret.create(tmp_path / "i", data, n_bits=16, epochs=1, random_state=0, column="v")
    assert index.query(rows[7], limit=1, where="n = 7")[0].key == "7"
    report = index.add(data, column="v")
    assert report.unchanged == 300
