"""Indexes of codes that were made elsewhere: brought in, asked, and refused where they must be."""

import gzip
import json
import os
import sqlite3
import subprocess
import sys

import numpy as np
import pytest

import hashret
from hashret.codes import hamming, to_hex
from hashret.errors import (
    EncoderMismatchError,
    IndexExistsError,
    InputError,
    NoEncoderError,
    UsageError,
)
from hashret.sources.ready_codes import ReadyCodes
from hashret.store import encode_fields
from hashret.store.items import encode_many


@pytest.fixture
def codes():
    return np.random.default_rng(0).integers(256, size=(500, 8), dtype=np.uint8)


@pytest.fixture
def index(tmp_path, codes):
    keys = [f"k{row}" for row in range(500)]
    fields = [{"half": row % 2} for row in range(500)]
    with hashret.create_from_codes(tmp_path / "i", codes, keys, fields) as index:
        yield index


def nearest(codes, query, limit):
    distances = hamming(codes, query)
    order = np.lexsort((np.arange(len(codes)), distances))[:limit]
    return [(int(row), int(distances[row])) for row in order]


def write_files(folder, codes, keys=None, fields=None):
    np.save(folder / "codes.npy", codes)
    if keys is not None:
        (folder / "keys.txt").write_text("".join(f"{key}\n" for key in keys))
    if fields is not None:
        with gzip.open(folder / "fields.jsonl.gz", "wt") as file:
            file.writelines(f"{json.dumps(one)}\n" for one in fields)


def test_it_is_queried_by_key_and_code(index, codes):
    for row in (0, 17, 499):
        expected = [(f"k{other}", distance) for other, distance in nearest(codes, codes[row], 9)]
        for result in (
            index.query_key(f"k{row}", limit=9),
            index.query_code(codes[row], limit=9),
            index.query_code(to_hex(codes[row]), limit=9),
        ):
            assert [(hit.key, hit.distance) for hit in result] == expected
    odd = index.query_key("k17", limit=5, where="half = 1")
    assert all(int(hit.key[1:]) % 2 for hit in odd)
    assert (index.kind, index.n_bits, len(index)) == ("codes", 64, 500)


def test_it_is_listed_changed_and_verified_as_any_index(index, codes, tmp_path):
    assert index.info()["features"] == "ready codes"
    assert index["k3"].fields == {"half": 1}
    assert index["k3"].location is None
    assert index.remove(["k3", "k4"]) == 2
    index.compact()
    assert index.verify().ok
    assert index.verify().items == 498
    index.add_codes(codes[:2], ["twin", "k1"])
    assert index.duplicates()[0].items[0].key == "k0"
    with hashret.open(index.path) as again:
        assert len(again) == 499


def test_repair_keeps_codes_and_field_indexes(index):
    index.index_field("half")
    path = index.path
    index.close()
    connection = sqlite3.connect(path / "items.db")
    connection.execute("update items set code = x'00' where key = 'k9'")
    connection.commit()
    connection.close()
    report = hashret.Index.repair(path)
    assert report.items == 499
    assert "k9" in report.lost[0]
    with hashret.open(path) as again:
        assert again.kind == "codes"
        assert again.info()["field_indexes"] == ["half"]
        assert len(again.items(where="half = 1")) == 249
        assert again.verify().ok


@pytest.mark.parametrize(
    "ask",
    [
        lambda index: index.query(np.zeros(8)),
        lambda index: index.query_many([np.zeros(8)]),
        lambda index: index.encode([np.zeros(8)]),
        lambda index: index.encode([]),
        lambda index: index.reconstruct(index["k0"].code),
        lambda index: index.outliers(),
        lambda index: index.outliers(np.zeros((2, 8))),
        lambda index: index.add(np.zeros((2, 8))),
        lambda index: index.add([("a", np.zeros(8))]),
        lambda index: index.encoder.features,
        lambda index: index.encoder.runtime,
    ],
)
def test_what_needs_an_encoder_is_refused_in_words(index, ask):
    with pytest.raises(NoEncoderError, match="ready codes.*--key"):
        ask(index)
    assert len(index) == 500


def test_files_and_arrays_give_the_same_index(tmp_path, codes):
    keys = [f"ключ {row}, 'x'" for row in range(500)]
    fields = [{"name": f"ß{row}", "price": row / 7} if row % 3 else {} for row in range(500)]
    write_files(tmp_path, codes, keys, fields)
    from_files = hashret.create_from_codes(
        tmp_path / "a", tmp_path / "codes.npy", tmp_path / "keys.txt", tmp_path / "fields.jsonl.gz"
    )
    from_arrays = hashret.create_from_codes(tmp_path / "b", codes, keys, fields)
    with from_files, from_arrays:
        assert from_files.items() == from_arrays.items()
        assert [item.key for item in from_files.items()] == keys
        assert [item.fields for item in from_files.items()] == fields
        assert np.array_equal([item.code for item in from_files.items()], codes)


def test_keys_are_row_numbers_by_default_and_many_blocks_keep_their_order(tmp_path):
    codes = np.random.default_rng(1).integers(256, size=(40_000, 2), dtype=np.uint8)
    with hashret.create_from_codes(tmp_path / "i", codes) as index:
        items = index.items()
        assert [item.key for item in items] == [str(row) for row in range(40_000)]
        assert np.array_equal([item.code for item in items], codes)
        assert index.info()["segments"] == 1


def test_codes_are_added_and_updated_by_key(index, codes):
    changed = codes[:4].copy()
    changed[1] ^= 1
    fields = [{"half": 0}, {"half": 1}, {"half": 5}, {"half": 1}]
    report = index.add_codes(changed, ["k0", "k1", "k2", "new"], fields)
    assert (report.added, report.updated, report.unchanged) == (1, 2, 1)
    assert index["k1"].code.tolist() == changed[1].tolist()
    assert index["k2"].fields == {"half": 5}
    assert len(index) == 501
    assert index.verify().ok


def test_an_export_comes_back_in(index, tmp_path, make_index):
    index.remove(["k7"])
    for name in ("items.jsonl", "items.jsonl.gz"):
        index.export(tmp_path / name)
        with hashret.create_from_codes(tmp_path / f"of-{name}", tmp_path / name) as again:
            assert [(item.key, item.fields) for item in again.items()] == [
                (item.key, item.fields) for item in index.items()
            ]
            assert np.array_equal(
                [item.code for item in again.items()], [item.code for item in index.items()]
            )
    with hashret.open(make_index("digits")) as digits:
        digits.export(tmp_path / "digits.jsonl")
        with hashret.create_from_codes(tmp_path / "d", tmp_path / "digits.jsonl") as copy:
            assert copy.fingerprint == digits.fingerprint
        # It names its encoder, so it may go back to where it came from.
        report = digits.add_codes(tmp_path / "digits.jsonl")
        assert (report.added, report.updated, report.unchanged) == (0, 0, 300)
        with pytest.raises(EncoderMismatchError, match=digits.fingerprint):
            index.add_codes(tmp_path / "digits.jsonl")


def test_codes_of_another_encoder_are_refused(digits_index):
    codes = np.stack([item.code for item in digits_index.items(limit=5)])
    with pytest.raises(UsageError, match=f"--encoder {digits_index.fingerprint}"):
        digits_index.add_codes(codes, list("abcde"))
    with pytest.raises(EncoderMismatchError, match="0123"):
        digits_index.add_codes(codes, list("abcde"), fingerprint="0123")
    with pytest.raises(EncoderMismatchError, match="16 bits"):
        digits_index.add_codes(codes[:, :2], list("abcde"), fingerprint=digits_index.fingerprint)
    assert len(digits_index) == 300
    report = digits_index.add_codes(codes, list("abcde"), fingerprint=digits_index.fingerprint)
    assert report.added == 5
    assert digits_index.query_key("a", limit=1)[0].distance == 0


def test_an_index_that_keeps_vectors_takes_no_codes(tmp_path, vectors):
    with hashret.create(tmp_path / "v", vectors, 16, epochs=1, keep_vectors=True) as index:
        codes = np.zeros((1, 2), dtype=np.uint8)
        with pytest.raises(UsageError, match="vector"):
            index.add_codes(codes, ["a"], fingerprint=index.fingerprint)
        assert len(index) == 600


N = 20_000  # more than a block
DUPLICATES = [f"k{row}" for row in range(N - 1)] + ["k5"]
WRONG = {
    "too few keys": ({"keys": ["a"]}, "20,000 codes.*1 in"),
    "too many fields": ({"fields": [{}] * (N + 1)}, "20,000 codes.*20,001 in"),
    "a key twice": ({"keys": DUPLICATES}, "'k5' comes twice.* 6 and 20000"),
    "an empty key": ({"keys": [*DUPLICATES[:-1], ""]}, "(?i)key"),
    "a field with a list": ({"fields": [{}] * (N - 1) + [{"a": [1]}]}, "20000"),
    "a field named key": ({"fields": [{}] * (N - 1) + [{"key": 1}]}, "'key'"),
    "fields that differ in case": ({"fields": [{"a": 1}] * (N - 1) + [{"A": 1}]}, "'A'"),
}


@pytest.mark.parametrize("as_files", [False, True])
@pytest.mark.parametrize(("given", "message"), WRONG.values(), ids=WRONG)
def test_what_does_not_fit_leaves_nothing(tmp_path, given, message, as_files):
    codes = np.random.default_rng(0).integers(256, size=(N, 2), dtype=np.uint8)
    arguments = {"codes": codes, **given}
    if as_files:
        write_files(tmp_path, **arguments)
        arguments = {"codes": tmp_path / "codes.npy"}
        arguments |= {"keys": tmp_path / "keys.txt"} if "keys" in given else {}
        arguments |= {"fields": tmp_path / "fields.jsonl.gz"} if "fields" in given else {}
    home = tmp_path / "home"
    with pytest.raises(InputError, match=message):
        hashret.create_from_codes(home / "i", **arguments)
    assert not home.exists() or list(home.iterdir()) == []
    with hashret.create_from_codes(tmp_path / "i", codes[:3]) as index:
        with pytest.raises(InputError, match=message):
            index.add_codes(**arguments)
        assert list(index) == ["0", "1", "2"]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("x.npy", b"nothing"),
        ("missing.npy", None),
        ("x.jsonl", b""),
        ("x.jsonl", b"{"),
        ("x.jsonl", b"[" * 100_000),
        ("x.jsonl", b"[]\n"),
        ("x.jsonl", b'{"key": "a"}\n'),
        ("x.jsonl", b'{"key": "a", "code": "xx"}\n'),
        ("x.jsonl", b'{"key": "a", "code": "00ff"}\n{"key": "b", "code": "00"}\n'),
        ("x.jsonl", b'{"key": "a", "code": "00"}\n{"key": "b", "code": "01", "encoder": "e"}\n'),
        ("x.jsonl", b'{"key": "a", "code": "00", "fields": 7}\n'),
        ("x.jsonl", b'{"key": "a", "code": "00", "fields": {"n": 1e999}}\n'),
        ("x.jsonl", b'{"key": "a", "code": "00", "encoder": 7}\n'),
        ("x.jsonl", b'{"key": "a", "code": "00"}\n{"key": "a", "code": "01"}\n'),
        ("x.jsonl.gz", b"nothing"),
        ("x.jsonl.gz", gzip.compress(b'{"key": "a", "code": "00"}\n' * 99, mtime=0)[:-20]),
        ("x.csv", b"1,2"),
    ],
)
def test_damaged_files_are_named(tmp_path, name, content):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError) as caught:
        hashret.create_from_codes(tmp_path / "i", tmp_path / name)
    assert str(tmp_path / name) in str(caught.value)
    assert not (tmp_path / "i").exists()


def test_many_fields_are_encoded_as_one_by_one():
    hostile = ["", "}\n{", "\n", ",", '"', "\\", "\u2028", "\r\n", "ß", "\x00", "},{"]
    values = [*hostile, None, True, 0, -1.5, 2**62]
    fields = [{}] + [
        {name: one, "b": other, "a": 1}
        for name in ("z", "}{", ",")
        for one in values
        for other in values[::3]
    ]
    assert encode_many(fields) == [encode_fields(one) for one in fields]
    assert encode_many([{}, {}]) == ["{}", "{}"]
    assert encode_many([]) == []


@pytest.mark.parametrize(
    "lines",
    [
        ['{"a":1},{"a":2}', '{"a":3'],
        ['{"a":1', '"b":2}', "{},{}"],
        ['{"a":[{}', "{}]}", "{},{}"],
        ["{}", "", "{}"],
        ["{}", "[]", "{}"],
        ["{}", "7", "{}"],
        ['{"a":"', '"}', "{},{}"],
    ],
)
def test_an_object_a_line_and_no_other_form(tmp_path, lines):
    (tmp_path / "f.jsonl").write_text("\n".join(lines))
    codes = np.zeros((len(lines), 1), np.uint8)
    with pytest.raises(InputError, match=r"ine \d of .*f\.jsonl"):
        hashret.create_from_codes(tmp_path / "i", codes, fields=tmp_path / "f.jsonl")


def test_codes_of_the_wrong_form_are_refused(tmp_path):
    for wrong in (np.zeros((3, 8)), np.zeros((0, 8), np.uint8), np.zeros((2, 2, 2), np.uint8)):
        with pytest.raises(InputError):
            hashret.create_from_codes(tmp_path / "i", wrong)
    for keys in (7, {"a": 1}):
        with pytest.raises(UsageError):
            hashret.create_from_codes(tmp_path / "i", np.zeros((3, 8), np.uint8), keys)
    with hashret.create_from_codes(tmp_path / "i", np.zeros((3, 8), np.uint8)):
        pass
    with pytest.raises(IndexExistsError):
        hashret.create_from_codes(tmp_path / "i", np.zeros((3, 8), np.uint8))


def test_ready_codes_from_the_shell(run, tmp_path, codes):
    write_files(
        tmp_path, codes, [f"k{row}" for row in range(500)], [{"n": row} for row in range(500)]
    )
    files = ("--codes", "codes.npy", "--keys", "keys.txt", "--fields", "fields.jsonl.gz")
    made = run("index", *files, "-i", "c")
    assert (made.returncode, made.stdout) == (0, ""), made.stderr
    assert "500 added" in made.stderr
    assert "0 added, 0 updated, 500 unchanged" in run("index", *files, "-i", "c").stderr
    found = json.loads(run("query", "--key", "k9", "-i", "c", "-k", 3, "--json").stdout)
    assert [(hit["key"], hit["distance"]) for hit in found] == [
        (f"k{row}", distance) for row, distance in nearest(codes, codes[9], 3)
    ]
    by_code = run("query", "--code", to_hex(codes[9]), "-i", "c", "-k", 3, "--json").stdout
    assert [hit["key"] for hit in json.loads(by_code)] == [hit["key"] for hit in found]
    assert json.loads(run("info", "-i", "c", "--json").stdout)[0]["kind"] == "codes"
    assert run("export", "-o", "items.jsonl", "-i", "c").returncode == 0
    assert "500 added" in run("index", "--codes", "items.jsonl", "-i", "again").stderr
    for command in (("verify",), ("compact",), ("duplicates",), ("remove", "k1")):
        assert run(*command, "-i", "c").returncode == 0, command
    for command in (
        ("query", "codes.npy#3"),
        ("index", "codes.npy"),
        ("encode", "codes.npy"),
        ("outliers",),
        ("evaluate",),
        ("reconstruct", "--key", "k2", "-o", "x.npy"),
    ):
        refused = run(*command, "-i", "c")
        assert (refused.returncode, refused.stdout) == (2, ""), (command, refused.stderr)
        assert "ready codes" in refused.stderr, command


def test_encoded_codes_come_back_in_from_the_shell(run, make_index, idx_files):
    index = make_index("digits")
    images = idx_files / "test-images-idx3-ubyte"
    assert run("encode", images, "-i", index, "-o", "new.npy").returncode == 0
    (index.parent.parent / "keys.txt").write_text("".join(f"new{row}\n" for row in range(50)))
    codes = ("--codes", "new.npy", "--keys", "keys.txt")
    nameless = run("index", *codes, "-i", index)
    assert nameless.returncode == 2
    with hashret.open(index) as opened:
        fingerprint = opened.fingerprint
    assert fingerprint in nameless.stderr
    assert run("index", *codes, "-i", index, "--encoder", "0" * 16).returncode == 1
    added = run("index", *codes, "-i", index, "--encoder", fingerprint)
    assert "50 added" in added.stderr, added.stderr
    found = json.loads(run("query", f"{images}#7", "-i", index, "-r", 0, "--json").stdout)
    assert "new7" in [hit["key"] for hit in found]


@pytest.mark.parametrize(
    "arguments",
    [
        ("--keys", "keys.txt", "x.npy"),
        ("--fields", "keys.txt", "x.npy"),
        ("--encoder", "00", "x.npy"),
        ("--codes", "x.npy", "x.npy"),
        ("--codes", "x.npy", "--bits", 32),
        ("--codes", "x.npy", "--prune"),
        ("--codes", "x.npy", "--keep-vectors"),
        ("--codes", "x.jsonl", "--keys", "keys.txt"),
    ],
)
def test_options_that_do_not_go_together(run, tmp_path, arguments):
    out = run("index", *arguments, "-i", "i")
    assert out.returncode == 2, out.stderr
    assert not (tmp_path / "indexes").exists()


def test_ready_codes_need_no_tensorflow(tmp_path, codes):
    np.save(tmp_path / "codes.npy", codes)
    check = (
        "import sys, hashret; i = hashret.create_from_codes('i', 'codes.npy'); "
        "i.query_key('3'); i.add_codes('codes.npy'); i.info(); i.verify(); "
        "sys.exit('tensorflow' in sys.modules or 'keras' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", check], cwd=tmp_path).returncode == 0


@pytest.mark.parametrize("what", ["--codes", "--keys", "--fields"])
def test_pipes_are_refused_for_they_can_be_read_once_only(run, tmp_path, codes, what):
    write_files(tmp_path, codes)
    lines = {
        "--codes": json.dumps({"key": "a", "code": "00" * 8}),
        "--keys": "\n".join(map(str, range(500))),
        "--fields": "\n".join(["{}"] * 500),
    }
    ours, theirs = os.pipe()
    os.write(theirs, lines[what].encode() + b"\n")
    os.close(theirs)
    name = "lines.jsonl" if what == "--codes" else "lines"
    (tmp_path / name).symlink_to(f"/proc/{os.getpid()}/fd/{ours}")
    given = {"--codes": "codes.npy", what: name}
    out = run("index", *(word for pair in given.items() for word in pair), "-i", "./i")
    os.close(ours)
    assert out.returncode == 1
    assert f"{name} is no regular file" in out.stderr
    assert not (tmp_path / "i").exists()


@pytest.mark.parametrize("lines", [499, 501])
@pytest.mark.parametrize("name", ["keys.txt", "fields.jsonl"])
def test_a_file_that_has_changed_since_it_was_counted_is_refused(tmp_path, codes, name, lines):
    keys, fields = tmp_path / "keys.txt", tmp_path / "fields.jsonl"
    content = {"keys.txt": "\n".join(map(str, range(lines))), "fields.jsonl": "{}\n" * lines}
    keys.write_text("\n".join(map(str, range(500))))
    fields.write_text("{}\n" * 500)
    ready = ReadyCodes(codes, keys, fields)
    (tmp_path / name).write_text(content[name])
    with pytest.raises(InputError, match=f"{name} any more"):
        list(ready.blocks())
