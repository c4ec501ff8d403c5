"""Readers of files, fed with whole files that were changed: a value or a HashretError, always."""

import contextlib
import gzip
import io
import json
import shutil
import sqlite3
import zlib

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

import hashret
from hashret.encoder import baselines
from hashret.encoder.artefacts import Artefacts, open_encoder
from hashret.errors import DamagedIndexError, HashretError, InputError, UsageError
from hashret.features import ImageFeatures, features_from_json
from hashret.search import CodeIndex, segment_files
from hashret.sources import open_source, read_idx, read_value
from hashret.sources.ready_codes import ReadyCodes
from hashret.store import seal as seal_module
from hashret.store.seal import Seal

fuzzed = settings(
    max_examples=120,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

INTERESTING = [
    b"\0",
    b"\xff",
    b"\x7f",
    b"\x80",
    b"\0\0\0\0",
    b"\xff\xff\xff\xff",
    b"\x7f\xff\xff\xff",
]


@st.composite
def changed(draw, *wholes):
    """One of the whole files with some places overwritten, cut out, doubled or exchanged."""
    content = bytearray(draw(st.sampled_from(wholes)))
    for _ in range(draw(st.integers(1, 4))):
        # Headers decide most, and they come first.
        last = draw(st.sampled_from([min(64, len(content)), min(512, len(content)), len(content)]))
        at = draw(st.integers(0, last))
        size = draw(st.integers(1, 16))
        match draw(
            st.sampled_from(["bytes", "flip", "interesting", "cut", "end", "double", "mix"])
        ):
            case "bytes":
                content[at : at + size] = draw(st.binary(min_size=1, max_size=16))
            case "flip" if at < len(content):
                content[at] ^= 1 << draw(st.integers(0, 7))
            case "interesting":
                new = draw(st.sampled_from(INTERESTING))
                content[at : at + len(new)] = new
            case "cut":
                del content[at : at + size]
            case "end":
                del content[at:]
            case "double":
                content[at:at] = content[at : at + size] * draw(st.integers(1, 40))
            case "mix":
                other = draw(st.sampled_from(wholes))
                content[at:] = other[at:]
    return bytes(content)


SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.text(max_size=6),
    st.just([]),
    st.just({}),
    st.just("../../x"),
)


@st.composite
def changed_json(draw, whole):
    """A JSON value in which some parts are replaced, left out or doubled."""

    def walk(value, depth):
        choice = draw(st.integers(0, 30))
        if choice == 0:
            return draw(SCALARS)
        if isinstance(value, dict):
            return {
                (draw(st.text(max_size=4)) if draw(st.integers(0, 60)) == 0 else name): walk(
                    part, depth + 1
                )
                for name, part in value.items()
                if draw(st.integers(0, 40))
            }
        if isinstance(value, list):
            parts = [walk(part, depth + 1) for part in value[:6]] + value[6:]
            return parts[: draw(st.integers(0, len(parts)))] if choice == 1 else parts
        return value

    return walk(whole, 0)


def saved(array):
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def encoded(file_format, picture):
    file = io.BytesIO()
    picture.save(file, file_format)
    return file.getvalue()


def idx_of(array):
    head = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes()
    return head + array.tobytes()


PIXELS = np.random.default_rng(0).integers(0, 256, (3, 5, 4), np.uint8)
IDX = [idx_of(PIXELS), idx_of(PIXELS[0])]
NPY = [saved(PIXELS), saved(PIXELS.astype(np.float32)[0]), saved(np.asfortranarray(PIXELS[0]))]


def npz(**arrays):
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


NPZ = [npz(X=PIXELS, y=np.arange(3)), npz(a=PIXELS[0], keys=np.array(["a", "b", "c", "d", "e"]))]


@contextlib.contextmanager
def only(*errors):
    """Nothing but these errors leaves the block, and they say something."""
    try:
        yield
    except errors as error:
        assert str(error)


@fuzzed
@given(content=changed(*IDX))
def test_idx(tmp_path, content):
    for name, written in (("a.idx", content), ("a.idx.gz", gzip.compress(content))):
        (tmp_path / name).write_bytes(written)
        with only(InputError):
            array = read_idx(tmp_path / name)
            assert array.nbytes <= len(content)
            array.sum()


@fuzzed
@given(content=changed(gzip.compress(IDX[0])))
def test_gzip(tmp_path, content):
    (tmp_path / "a.idx.gz").write_bytes(content)
    with only(InputError):
        read_idx(tmp_path / "a.idx.gz")


@pytest.mark.parametrize(("name", "wholes"), [("a.npy", NPY), ("a.npz", NPZ), ("a.idx", IDX)])
def test_array_sources(tmp_path, name, wholes):
    @fuzzed
    @given(content=changed(*wholes))
    def check(content):
        (tmp_path / name).write_bytes(content)
        with only(InputError):
            items = list(open_source(tmp_path / name))
            assert all(isinstance(item.key, str) for item in items)
        with only(InputError):
            read_value(f"{tmp_path / name}#0")

    check()


FEATURES = ImageFeatures(8, 8, 3)


@pytest.mark.parametrize("file_format", ["PNG", "JPEG", "GIF", "BMP", "WEBP", "TIFF", "PPM"])
def test_images(file_format):
    colours = np.random.default_rng(0).integers(0, 256, (12, 9, 3), np.uint8)
    wholes = [encoded(file_format, Image.fromarray(one)) for one in (colours, colours[..., 0])]

    @settings(fuzzed, max_examples=60)
    @given(content=changed(*wholes))
    def check(content):
        matrix, failures = FEATURES.matrix([content])
        assert len(matrix) + len(failures) == 1
        assert all(failure.reason for failure in failures)
        assert np.isfinite(matrix).all()
        with only(InputError):
            ImageFeatures.learn([content])

    check()


# Files of an index


@pytest.fixture(scope="module")
def whole_index(tmp_path_factory, vectors):
    path = tmp_path_factory.mktemp("whole") / "i"
    hasher = baselines.RandomHyperplanes(16, random_state=0)
    with hashret.create(path, vectors[:60], hasher=hasher) as index:
        index.compact()
        index.add([("more", vectors[61])])
        assert index.verify().ok
    return path


@pytest.fixture
def path(whole_index, tmp_path):
    return shutil.copytree(whole_index, tmp_path / "i")


def test_seal(path):
    whole = (path / "seal.json").read_bytes()
    content = json.loads(whole)
    del content["crc32"]

    def read():
        found = Seal.read(path)
        assert found is None or isinstance(found, Seal)
        with only(HashretError), hashret.open(path) as index:
            assert len(index) == 61

    @settings(fuzzed, max_examples=60)
    @given(spoilt=changed(whole))
    def bytes_changed(spoilt):
        (path / "seal.json").write_bytes(spoilt)
        read()

    @settings(fuzzed, max_examples=60)
    @given(spoilt=changed_json(content))
    def meaning_changed(spoilt):
        if isinstance(spoilt, dict):
            spoilt = {**spoilt, "crc32": seal_module._crc32_of(spoilt)}
        (path / "seal.json").write_text(json.dumps(spoilt))
        read()

    bytes_changed()
    meaning_changed()


def test_segments(path):
    (folder,) = [one for one in (path / "segments").iterdir() if len(CodeIndex.open(one)) == 60]
    wholes = {file.name: file.read_bytes() for file in folder.iterdir()}
    manifest = json.loads(wholes["manifest.json"])
    del manifest["crc32"]
    code = np.zeros((1, 2), np.uint8)

    def read():
        with only(HashretError):
            segment = CodeIndex.open(folder)
            if not segment.verify():
                segment.nearest(code, 3)
        assert all(isinstance(problem, str) for problem in segment_files.problems(folder))

    @settings(fuzzed, max_examples=100)
    @given(data=st.data(), name=st.sampled_from(sorted(wholes)))
    def bytes_changed(data, name):
        spoilt = data.draw(changed(wholes[name]))
        (folder / name).unlink()  # a file that is cut while it is mapped would end the process
        (folder / name).write_bytes(spoilt)
        read()
        (folder / name).unlink()
        (folder / name).write_bytes(wholes[name])

    @settings(fuzzed, max_examples=150)
    @given(spoilt=changed_json(manifest))
    def meaning_changed(spoilt):
        if isinstance(spoilt, dict):
            spoilt = {**spoilt, "crc32": segment_files._crc32_of(spoilt)}
        (folder / "manifest.json").write_text(json.dumps(spoilt))
        read()

    bytes_changed()
    meaning_changed()


def test_encoders(path, vectors):
    folder = path / "encoder"
    wholes = {file.name: file.read_bytes() for file in folder.iterdir()}

    @settings(fuzzed, max_examples=80)
    @given(data=st.data(), name=st.sampled_from(sorted(wholes)))
    def check(data, name):
        spoilt = data.draw(changed(wholes[name]))
        (folder / name).write_bytes(spoilt)
        with only(HashretError):
            open_encoder(folder)
        with only(HashretError):
            Artefacts.read(folder)
        with hashret.open(path) as index:
            with only(HashretError):
                index.query(vectors[0], limit=1)
            assert index.verify().ok == (spoilt == wholes[name])
        (folder / name).write_bytes(wholes[name])

    check()


@fuzzed
@given(
    spoilt=st.sampled_from([ImageFeatures(8, 8, 3).to_json(), {**FEATURES.to_json(), "x": 1}])
    .flatmap(changed_json)
    .flatmap(lambda value: st.sampled_from([value, [value], json.dumps(value)]))
)
def test_features(spoilt):
    with only(DamagedIndexError):
        assert features_from_json(spoilt).n_features > 0


SETTINGS = ("format", "generation", "n_bits", "kind", "encoder", "encoder_files", "learned_from",
            "items", "vector_length", "hashret", "created")  # fmt: skip


def test_settings(path, vectors):
    whole = (path / "items.db").read_bytes()

    @settings(fuzzed, max_examples=60)
    @given(name=st.sampled_from(SETTINGS), value=SCALARS, as_it_is=st.booleans())
    def check(name, value, as_it_is):
        for leftover in path.glob("items.db*"):
            leftover.unlink()
        (path / "seal.json").unlink(missing_ok=True)
        (path / "items.db").write_bytes(whole)
        connection = sqlite3.connect(path / "items.db")
        with connection:
            text = str(value) if as_it_is else json.dumps(value)
            connection.execute(
                "insert or replace into settings values (?, ?)",
                [name, text.encode("utf-8", "replace").decode()],
            )
        connection.close()
        with only(HashretError), hashret.open(path) as index:
            for ask in (
                lambda: index.query_key("5", limit=3),
                lambda: index.query(vectors[5], limit=3),
                index.info,
                index.verify,
                lambda: index.add([("new", vectors[1])]),
            ):
                with only(HashretError):
                    ask()

    check()


# Ready codes

LINES = b"".join(
    json.dumps(
        {"row": i, "key": f"k{i}", "code": f"{i:04x}", "encoder": "", "fields": {"a": i, "b": "x"}}
    ).encode()
    + b"\n"
    for i in range(6)
)


@settings(fuzzed, max_examples=300)
@given(content=changed(LINES))
def test_json_lines(tmp_path, content):
    (tmp_path / "codes.jsonl").write_bytes(content)
    with only(InputError, UsageError):
        ready = ReadyCodes(tmp_path / "codes.jsonl")
        found = [key for _, keys, _ in ready.blocks() for key in keys]
        assert len(found) == len(set(found)) == len(ready)


@fuzzed
@given(keys=changed(b"a\nb\nc\n"), fields=changed(b'{"a": 1}\n{"a": null}\n{}\n'))
def test_keys_and_fields_beside_codes(tmp_path, keys, fields):
    (tmp_path / "keys.txt").write_bytes(keys)
    (tmp_path / "fields.jsonl").write_bytes(fields)
    codes = np.zeros((3, 2), np.uint8)
    with only(InputError, UsageError):
        ready = ReadyCodes(codes, tmp_path / "keys.txt", tmp_path / "fields.jsonl")
        for _, some, others in ready.blocks():
            assert len(some) == len(others) == 3


# Conditions

WORDS = [
    "label", "price", "key", "row", '"label"', "'a'", "'b'", "1", "2.5", "-1", "null", "x'00'",
    "=", "<", ">=", "!=", "and", "or", "not", "is", "in", "between", "like", "glob", "(", ")", ",",
    "+", "*", "||", "length(", "abs(", "upper(", "coalesce(", "case when", "then", "else", "end",
    "select", "from items", "from item", "exists", "union", "items", "rowid", "settings", ";",
    "--", "/*", "*/", "'", '"', "random()", "load_extension('x')", "?", ":a", "collate nocase",
    "cast(", "as text", "->>", "'$'", "match", "regexp", "fields", "\0", "\ud800", "é",
]  # fmt: skip
FORMS = [
    "label = 'a'", "price < 2.5", "key like 'k%'", "row in (1, 2, 3)", "label is null",
    "not (price >= 1 and label = 'b')", "price between 0 and 2", "coalesce(price, 7) = 7",
    "length(key) = 2 or row % 2", "upper(label) || 'x' = 'AX'", "row < (select 3)",
]  # fmt: skip
CONDITIONS = st.one_of(
    st.lists(st.sampled_from(WORDS), min_size=1, max_size=8).map(" ".join),
    st.lists(st.sampled_from(FORMS), min_size=1, max_size=3).flatmap(
        lambda forms: st.lists(
            st.sampled_from([" and ", " or ", " and not ", ") or ("]), min_size=2, max_size=2
        ).map(lambda joins: _joined(forms, joins))
    ),
    changed(*[form.encode() for form in FORMS]).map(lambda text: text.decode("utf-8", "replace")),
)


def _joined(forms, joins):
    text = forms[0]
    for join, form in zip(joins, forms[1:], strict=False):
        text += join + form
    return text


@pytest.fixture(scope="module")
def fielded(tmp_path_factory):
    path = tmp_path_factory.mktemp("where") / "i"
    fields = [
        {"label": ["a", "b", None, 3][i % 4], **({"price": i / 3} if i % 3 else {})}
        for i in range(40)
    ]
    codes = np.arange(80, dtype=np.uint8).reshape(40, 2)
    with hashret.create_from_codes(path, codes, [f"k{i}" for i in range(40)], fields) as index:
        reference = sqlite3.connect(":memory:")
        reference.execute("create table item (key text, row integer, label, price)")
        reference.executemany(
            "insert into item values (?, ?, ?, ?)",
            [
                (item.key, number, item.fields.get("label"), item.fields.get("price"))
                for number, item in enumerate(index.items(), start=1)
            ],
        )
        yield index, reference
        reference.close()


@settings(fuzzed, max_examples=800)
@given(condition=CONDITIONS)
def test_conditions(fielded, condition):
    index, reference = fielded
    try:
        found = [item.key for item in index.items(where=condition)]
    except UsageError as error:
        assert str(error)
        return
    finally:
        assert len(index) == 40
    # A remark at its end would hide the bracket.
    expected = reference.execute(f"select key from item where (\n{condition}\n) order by row")
    assert found == [key for (key,) in expected]


def test_conditions_are_answered_often_enough(fielded):
    """The comparison above is worth something only where conditions are taken."""
    index, _ = fielded
    for form in FORMS:
        index.items(where=form)
    refused = 0
    for form in FORMS:
        try:
            index.items(where=f"({form}) and not ({form})")
        except UsageError:
            refused += 1
    assert refused == 0


def test_a_mutation_changes_something():
    whole = bytes(range(200))
    seen = set()

    @settings(fuzzed, max_examples=80)
    @given(content=changed(whole))
    def collect(content):
        seen.add(zlib.crc32(content))

    collect()
    assert len(seen) > 40
