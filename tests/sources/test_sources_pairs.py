"""(key, value) and (key, value, fields) from Python."""

import enum
import pathlib

import numpy as np
import pytest
from PIL import Image

from hashret.errors import InputError, UsageError
from hashret.sources import open_source


def test_vectors_with_fields():
    pairs = [
        ("a", [1, 2, 3], {"label": np.int64(3), "x": np.float32(0.5), "b": np.bool_(True)}),
        ("b", np.ones(3), {"n": None, "s": np.str_("t")}),
        ["c", (4, 5, 6)],
    ]
    source = open_source(pairs)
    items = list(source)
    assert [item.key for item in items] == ["a", "b", "c"]
    assert [item.value.tolist() for item in items] == [[1, 2, 3], [1, 1, 1], [4, 5, 6]]
    assert items[0].fields == {"label": 3, "x": 0.5, "b": True}
    assert [type(value) for value in items[0].fields.values()] == [int, float, bool]
    assert items[1].fields == {"n": None, "s": "t"}
    assert items[2].fields == {}
    assert (source.kind, source.length, source.location) == ("vectors", 3, None)
    assert source.description == "3 vectors given"


def test_a_generator_can_be_iterated_twice():
    source = open_source((str(n), [n, n + 1.0, 0]) for n in range(3))
    assert [item.key for item in source] == [item.key for item in source] == ["0", "1", "2"]


def test_every_form_of_image(tmp_path):
    path = tmp_path / "x.png"
    picture = Image.new("RGB", (4, 3), "red")
    picture.save(path)
    array = np.asarray(picture)
    given = [picture, array, path, str(path), path.read_bytes(), bytearray(path.read_bytes())]
    source = open_source({str(n): value for n, value in enumerate(given)}.items())
    items = [item.value for item in source]
    assert source.kind == "images"
    assert items[0] is picture
    assert items[1] is array
    assert items[2:] == [path.read_bytes()] * 4


def test_unreadable_images_are_skipped_and_keep_no_others_fields(tmp_path):
    good = tmp_path / "good.png"
    Image.new("L", (40, 40), 7).save(good)
    cut = tmp_path / "cut.png"
    noise = np.random.default_rng(0).integers(0, 256, (40, 40), np.uint8)
    Image.fromarray(noise).save(cut)
    cut.write_bytes(cut.read_bytes()[:600])
    lazy = Image.open(cut)
    pairs = [
        ("gone", tmp_path / "gone.png", {"n": 0}),
        ("good", good, {"n": 1}),
        ("lazy", lazy, {"n": 2}),
        ("last", good, {"n": 3}),
    ]
    source = open_source(pairs)
    assert [(item.key, item.fields) for item in source] == [("good", {"n": 1}), ("last", {"n": 3})]
    lazy.close()
    assert [skipped.name for skipped in source.skipped] == ["gone", "lazy"]
    assert source.skipped[0].reason == "no such file"
    assert "damaged" in source.skipped[1].reason


class Colour(enum.Enum):
    RED = 1


V = [1.0, 2.0]


@pytest.mark.parametrize(
    ("pairs", "reason"),
    [
        ([("a", V), ("b", V), ("a", V)], "'a' comes twice"),
        ([(1, V)], r"str\(key\)"),
        ([(1, "x.png")], r"str\(key\)"),
        ([("a", V), (None, V)], r"str\(key\)"),
        ([("", V)], "valid character"),
        ([("caf\udce9", V)], "valid character"),
        ([("a", V), ("b",)], "entry 1"),
        ([("a", V), "b"], "entry 1"),
        ([("a", V, {}, 4)], "got|numbers|equal length"),
        ([("a", V), ("b", V, 3)], "fields of 'b'"),
        ([("a", V, None)], "fields of 'a'"),
        ([("a", V, {"x": [1]})], "'x' of 'a'"),
        ([("a", V, {"x": float("nan")})], "None for a missing"),
        ([("a", V, {"x": np.float32("inf")})], "None for a missing"),
        ([("a", V, {"x": Colour.RED})], "'x' of 'a'"),
        ([("a", V, {"x": "\ud800"})], "Unicode"),
        ([("a", V, {1: "x"})], "named by printable text"),
        ([("a", V), ("b", [1.0])], "2 values in 'a' and 1 in 'b'"),
        ([("a", V), ("b", np.zeros((4, 4), np.uint8))], "'b'"),
        ([("a", V), ("b", b"bytes")], "'b'"),
        ([("a", 3.0)], "'a'"),
        ([("a", None)], "'a'"),
        ([("a", {"x": 1})], "'a'"),
        ([("a", ["x", "y"])], "'a'"),
        ([("a", [[1], [2, 3]])], "'a'"),
        ([("a", "some text"), ("b", "x.png")], "text.*'a'.*images.*'b'.*kind='text'"),
        ([("a", pathlib.Path("some text"))], "path of an image"),
        ([("a", np.zeros((4, 4)))], "kind 'images'"),
    ],
)
def test_what_cannot_be_used_is_refused_by_name(pairs, reason):
    with pytest.raises(InputError, match=reason):
        open_source(pairs)


@pytest.mark.parametrize("given", [[], (), iter(()), {"a": V}, b"bytes", 3, None, object()])
def test_what_is_no_source(given):
    with pytest.raises(InputError):
        open_source(given)


def test_kind_and_prefix():
    square = np.zeros((2, 2))
    assert open_source([("a", square)], kind="images").kind == "images"
    (item,) = open_source([("a", square)], kind="vectors")
    assert item.value.shape == (4,)
    with pytest.raises(InputError, match="'a'"):
        open_source([("a", V)], kind="images")
    with pytest.raises(InputError, match="'a'"):
        open_source([("a", b"bytes")], kind="vectors")
    with pytest.raises(UsageError, match="row numbers"):
        open_source([("a", V)], key_prefix="p")
