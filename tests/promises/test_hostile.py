"""Hostile input: each is handled, or refused with one message that says what and why."""

import csv
import gzip
import io
import json
import os
import pty
import re
import resource
import shutil
import socket
import sqlite3
import struct
import subprocess
import sys
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import hashret
from hashret.encoder import baselines
from hashret.errors import HashretError, InputError, UnsafeIndexError
from hashret.features import ImageFeatures
from hashret.sources import open_source, read_idx, read_value
from hashret.sources.ready_codes import ReadyCodes

FEATURES = ImageFeatures(8, 8, 3)
GOOD = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)
ESCAPE = "\x1b[2J\x1b]0;owned\x07\x9b31m\u202e"


def encoded(file_format="PNG", picture=None, **options):
    file = io.BytesIO()
    (picture or Image.fromarray(GOOD)).save(file, file_format, **options)
    return file.getvalue()


def png_chunk(name, content):
    crc = struct.pack(">I", zlib.crc32(name + content))
    return struct.pack(">I", len(content)) + name + content + crc


def huge_png():
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    rows = zlib.compress(b"\0" * 4_000_000)
    return (
        b"\x89PNG\r\n\x1a\n"
        + png_chunk(b"IHDR", header)
        + png_chunk(b"IDAT", rows)
        + png_chunk(b"IEND", b"")
    )


def huge_text_png():
    text = png_chunk(b"zTXt", b"a\0\0" + zlib.compress(b"x" * 200_000_000))
    whole = encoded()
    return whole[:33] + text + whole[33:]


def huge_gif():
    return encoded("GIF")[:6] + struct.pack("<HH", 65535, 65535) + encoded("GIF")[10:]


def huge_webp():
    size = struct.pack("<I", 16382)[:3]
    canvas = b"VP8X" + struct.pack("<I", 10) + b"\0\0\0\0" + size + size
    still = encoded("WEBP", lossless=True)[12:]
    return b"RIFF" + struct.pack("<I", 4 + len(canvas) + len(still)) + b"WEBP" + canvas + still


def huge_tiff():
    whole = bytearray(encoded("TIFF"))
    n_tags_at = struct.unpack_from("<I", whole, 4)[0]
    for tag in range(struct.unpack_from("<H", whole, n_tags_at)[0]):
        at = n_tags_at + 2 + 12 * tag
        if struct.unpack_from("<H", whole, at)[0] in (256, 257, 278):
            struct.pack_into("<HII", whole, at + 2, 4, 1, 70_000)
    return bytes(whole)


def animation():
    frames = [Image.new("L", (8, 8), i % 256) for i in range(3000)]
    return encoded("GIF", frames[0], save_all=True, append_images=frames[1:])


def zip_and_png():
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("evil.txt", "x")
    return encoded() + file.getvalue()


def corrupt_exif():
    whole = encoded("JPEG", exif=b"Exif\0\0II*\0\x08\0\0\0\xff\xff" + b"\xff" * 60)
    assert b"Exif" in whole
    return whole


READ = None
IMAGES = {
    "a png of 3,600 megapixels": (huge_png, "100 megapixels"),
    "a gif of 4,300 megapixels": (huge_gif, "100 megapixels"),
    "a webp of 268 megapixels": (huge_webp, "100 megapixels|damaged|not an image"),
    "a tiff of 4,900 megapixels": (huge_tiff, "100 megapixels"),
    "a ppm of 10,000 megapixels": (lambda: b"P6 99999 99999 255\n", "100 megapixels"),
    "a png whose text unpacks to 200 MB": (huge_text_png, "damaged"),
    "3,000 frames": (animation, READ),
    "a png that is a zip as well": (zip_and_png, READ),
    "html": (lambda: b"<html><script>alert(1)</script></html>", "not an image"),
    "text": (lambda: b"just text\n", "not an image"),
    "svg": (lambda: b"<svg xmlns='http://www.w3.org/2000/svg'/>", "not an image"),
    "postscript, which starts a program": (lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n", "not an image"),
    "corrupt EXIF": (corrupt_exif, "READ OR damaged"),
    "nothing": (lambda: b"", "empty"),
    **{
        f"a {kind} cut short": (lambda kind=kind: encoded(kind)[: len(encoded(kind)) // 2], "dam")
        for kind in ("PNG", "JPEG", "GIF", "BMP", "WEBP", "TIFF", "PPM")
    },
}


@pytest.mark.parametrize("name", IMAGES)
def test_images(name):
    make, expected = IMAGES[name]
    content = make()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    matrix, failures = FEATURES.matrix([content, encoded()])
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) >> 10
    assert grown < 300, "the pixels were allocated"
    if expected is READ or (expected.startswith("READ OR") and not failures):
        assert (len(matrix), failures) == (2, [])
        return
    (failure,) = failures
    assert len(matrix) == 1
    assert any(part in failure.reason for part in expected.removeprefix("READ OR ").split("|"))


# What lies in a folder of images, and what is said of it; None where it is read


def fifo(path):
    os.mkfifo(path)


def socket_file(path):
    here = Path.cwd()
    os.chdir(path.parent)  # the address of a socket is short
    try:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(path.name)
    finally:
        os.chdir(here)


def image(path):
    path.write_bytes(encoded())


def link_to(target):
    return lambda path: path.symlink_to(target)


FILES = {
    "pipe.png": (fifo, "not a regular file"),
    "socket.png": (socket_file, "not a regular file"),
    "device.png": (link_to("/dev/zero"), "not a regular file"),
    "endless.jpg": (link_to("/dev/urandom"), "not a regular file"),
    "loop.png": (lambda path: path.symlink_to(path), "too many levels of symbolic links"),
    "dangling.png": (link_to("/nowhere/at/all.png"), "a broken symbolic link"),
    "passwd.png": (link_to("/etc/passwd"), "not an image"),
    "two\nlines.png": (image, READ),
    "'quotes\".png": (image, READ),
    "-rf.png": (image, READ),
    "--help.png": (image, READ),
    "$(touch owned).png": (image, READ),
    f"{'n' * 251}.png": (image, READ),
    "\x1b[2J.png": (image, READ),
    "\U0001f600 e\u0301 \u202e.png": (image, READ),
    "caf\udce9.png": (image, "not valid UTF-8"),
    "empty.png": (lambda path: path.write_bytes(b""), "empty"),
    "folder.png": (lambda path: path.mkdir(), ...),
    "around": (link_to("."), ...),
    "up": (link_to(".."), ...),
}


@pytest.fixture(scope="module")
def hostile_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("folder")
    for number in range(30):
        level = np.random.default_rng(number).integers(0, 256, (8, 8), np.uint8)
        Image.fromarray(level).save(folder / f"good {number}.png")
    for name, (make, _) in FILES.items():
        make(folder / name)
    return folder


def test_files_of_a_folder(hostile_folder):
    source = open_source(hostile_folder)
    items = {Path(item.key).name: item.value for item in source}
    skipped = {Path(one.name).name: one.reason for one in source.skipped}
    for name, (_, expected) in FILES.items():
        if expected is ...:
            assert name not in items | skipped
        elif name in items:
            _, failures = FEATURES.matrix([items[name]])
            assert (expected in failures[0].reason) if failures else expected is READ, name
        else:
            shown = name.encode("utf-8", "backslashreplace").decode()
            assert expected in skipped[shown], name
    assert "links to folders not followed: 2" in source.description


def test_a_folder_of_it_is_indexed_from_the_shell(hostile_folder, run, tmp_path):
    codes = hashret.create(
        tmp_path / "i", hostile_folder, hasher=baselines.RandomHyperplanes(16, random_state=0)
    )
    n_read = 30 + sum(expected is READ for _, expected in FILES.values())
    assert len(codes) == n_read
    codes.close()
    out = run("index", hostile_folder, "-i", tmp_path / "i", "--strict")
    assert out.returncode == 3, out.stderr
    assert "\x1b" not in out.stderr
    assert "Traceback" not in out.stderr
    assert len([line for line in out.stderr.splitlines() if line.startswith("Skipped")]) == 9
    assert not (tmp_path / "owned").exists()
    keys = run("items", "-i", tmp_path / "i", "-0").stdout.split("\0")[:-1]
    assert len(keys) == n_read
    for key in keys:
        assert run("query", key, "-i", tmp_path / "i", "-k", 1).returncode == 0 or key[0] == "-"
        break


# Keys and fields

EVERY_PLANE = "".join(chr(plane << 16 | 0x1234) for plane in range(17))
KEYS = {
    "new lines": ("a\nb\r\n\u2028c", READ),
    "quotes": ("'\"`[];--", READ),
    "10,000 characters": ("k" * 10_000, READ),
    "every plane": (EVERY_PLANE, READ),
    "noncharacters": ("\ufffe\uffff\U0010ffff", READ),
    "traversal": ("../../../../tmp/owned", READ),
    "an absolute path": ("/etc/passwd", READ),
    "a script": ("</td><script>alert(1)</script><img src=x onerror=alert(1)>", READ),
    "escape sequences": (ESCAPE, READ),
    "a formula": ("=cmd|' /C calc'!A0", READ),
    "a null": ("a\0b", "none of them null"),
    "a lone surrogate": ("a\ud800", "valid character"),
    "nothing": ("", "at least one"),
    "bytes": (b"key", "must be text"),
    "a number": (7, "must be text"),
    "none": (None, "must be text"),
}
FIELDS = {
    "NaN": ({"a": float("nan")}, "JSON does not know"),
    "infinity": ({"a": float("-inf")}, "JSON does not know"),
    "2**63": ({"a": 2**63}, "more than 64 bits"),
    "2**200": ({"a": 2**200}, "more than 64 bits"),
    "-2**63": ({"a": -(2**63), "b": 2**63 - 1}, READ),
    "NumPy NaN": ({"a": np.float32("nan")}, "JSON does not know"),
    "nested": ({"a": {"b": 1}}, "must be text, a number"),
    "a list": ({"a": [1]}, "must be text, a number"),
    "bytes": ({"a": b"x"}, "must be text, a number"),
    "an object": ({"a": object()}, "must be text, a number"),
    "a million characters": ({"a": "x" * 1_000_000}, READ),
    "a script": ({"a": "</script><script>alert(1)</script>"}, READ),
    "escape sequences": ({"a": ESCAPE}, READ),
    "a null": ({"a": "x\0y"}, READ),
    "a lone surrogate": ({"a": "\udfff"}, "not valid Unicode"),
    "a name that is SQL": ({"a); drop table items; --": 1}, READ),
    "a name with quotes": ({'a"b': 1}, "without quotation marks"),
    "a name that is reserved": ({"KEY": 1}, "another name"),
    "a name that escapes": ({"\x1b[2J": 1}, "printable text"),
    "no name": ({"": 1}, "printable text"),
    "a name that is no text": ({1: 1}, "printable text"),
    "fields that are none": ([("a", 1)], "must be a mapping"),
}


@pytest.fixture(scope="module")
def plain_index(tmp_path_factory, vectors):
    path = tmp_path_factory.mktemp("plain") / "i"
    hasher = baselines.RandomHyperplanes(16, random_state=0)
    hashret.create(path, vectors[:60], hasher=hasher).close()
    return path


@pytest.fixture
def path(plain_index, tmp_path):
    return Path(shutil.copytree(plain_index, tmp_path / "i"))


@pytest.mark.parametrize("name", KEYS)
def test_keys(path, vectors, name):
    key, expected = KEYS[name]
    with hashret.open(path) as index:
        if expected is not READ:
            with pytest.raises(HashretError, match=expected):
                index.add([("good", vectors[1]), (key, vectors[0])])
            assert len(index) == 60
            return
        index.add([(key, vectors[0])])
        assert index[key].key == key
        assert key in [hit.key for hit in index.query(vectors[0], radius=0, limit=None)]
        assert [item.key for item in index.items(where="row > 60")] == [key]
        index.export(path.parent / "out.jsonl")
        lines = (path.parent / "out.jsonl").read_text().splitlines()
        assert json.loads(lines[-1])["key"] == key
        assert sorted(file.name for file in path.parent.iterdir()) == ["i", "out.jsonl"]
        index.remove([key])
        assert len(index) == 60


@pytest.mark.parametrize("name", FIELDS)
def test_fields(path, vectors, name):
    fields, expected = FIELDS[name]
    with hashret.open(path) as index:
        if expected is not READ:
            with pytest.raises(HashretError, match=expected):
                index.add([("good", vectors[1]), ("new", vectors[0], fields)])
            assert len(index) == 60
            return
        index.add([("new", vectors[0], fields)])
        assert index["new"].fields == fields
        index.export(path.parent / "out.jsonl")
        (last,) = (path.parent / "out.jsonl").read_text().splitlines()[-1:]
        assert json.loads(last)["fields"] == fields


@pytest.fixture
def hostile_index(path, vectors):
    with hashret.open(path) as index:
        good = [key for key, expected in KEYS.values() if expected is READ]
        fields = {"escape": ESCAPE, "script": "<script>alert(1)</script>"}
        index.add([(key, vectors[0], fields) for key in good])
    return path, good


def parsed(text, option):
    if option == "--json":
        return [row["key"] for row in json.loads(text)]
    if option == "--nl":
        return [json.loads(line)["key"] for line in text.split("\n") if line]
    delimiter = "," if option == "--csv" else "\t"
    return [
        row["key"] for row in csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter)
    ]


@pytest.mark.parametrize("option", ["--json", "--nl", "--csv", "--tsv"])
def test_what_programs_read_is_what_was_stored(hostile_index, option):
    path, good = hostile_index
    out = subprocess.run(
        [sys.executable, "-m", "hashret", "items", "-i", path, option, "--where", "row > 60"],
        capture_output=True,
        check=True,
    ).stdout.decode()
    assert parsed(out, option) == good


def on_a_terminal(*arguments):
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "hashret", *map(str, arguments)],
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        stderr=theirs,
        env={**os.environ, "TERM": "xterm"},
    ) as process:
        os.close(theirs)
        shown = b""
        try:
            while part := os.read(ours, 65536):
                shown += part
        except OSError:  # so ends a terminal
            pass
        process.wait()
    os.close(ours)
    return shown.decode()


@pytest.mark.parametrize(
    "arguments",
    [
        ["items"],
        *(["items", option] for option in ("--csv", "--tsv", "--json", "--nl", "--paths", "-0")),
        ["query", "--key", ESCAPE, "-r", 0],
        ["query", "--key", f"missing {ESCAPE}"],
        ["duplicates", "-r", 0],
        ["info"],
        ["remove", f"missing {ESCAPE}"],
        [f"--{ESCAPE}"],
        ["items", "--where", f"'{ESCAPE}"],
    ],
)
def test_nothing_speaks_to_the_terminal(hostile_index, arguments):
    path, _ = hostile_index
    index = [] if arguments[0].startswith("--") else ["-i", path]
    shown = on_a_terminal(*arguments, *index)
    assert not set(shown) & set("\x1b\x07\x9b\u202e"), shown[:300]
    assert shown.strip()


def test_nothing_runs_in_a_page_of_duplicates(hostile_index, run, tmp_path):
    path, _ = hostile_index
    out = run("duplicates", "-i", path, "-r", 1, "--html", tmp_path / "page.html")
    assert out.returncode == 0, out.stderr
    page = (tmp_path / "page.html").read_text()
    assert "<script>alert" not in page
    assert "<img src=x" not in page
    assert "&lt;script&gt;" in page


# Array files


def saved(array):
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def npy_header(text):
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode()


def archive_of(**members):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(f"{name}.npy", content)
    return file.getvalue()


def pickled_npz():
    file = io.BytesIO()
    np.savez(file, X=np.array([{"a": 1}, None], dtype=object))
    return file.getvalue()


def bomb_npz():
    head = npy_header("{'descr':'<f4','fortran_order':False,'shape':(100000000,20)}\n")
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.writestr("X.npy", head + bytes(10_000_000))
    content = bytearray(file.getvalue())
    at = content.rindex(b"PK\x01\x02") + 24  # the size that its directory tells
    struct.pack_into("<I", content, at, 2**32 - 2)
    return bytes(content)


def idx(type_code, *sizes, content=b""):
    return bytes([0, 0, type_code, len(sizes)]) + struct.pack(f">{len(sizes)}I", *sizes) + content


HUGE = f"{{'descr':'<f4','fortran_order':False,'shape':({2**60},4)}}\n"
ARRAYS = {
    "objects.npy": (lambda: saved(np.array([{}, 1], dtype=object)), "Python objects"),
    "2 to the 60.npy": (lambda: npy_header(HUGE), "damaged"),
    "negative.npy": (
        lambda: npy_header("{'descr':'<f4','fortran_order':False,'shape':(-4,4)}\n"),
        "damaged",
    ),
    "code in the header.npy": (
        lambda: npy_header("__import__('os').system('touch owned')\n"),
        "damaged",
    ),
    "a header of brackets.npy": (lambda: npy_header("(" * 9000), "damaged"),
    "pickle.npz": (pickled_npz, "Python objects"),
    "2 to the 60.npz": (lambda: archive_of(X=npy_header(HUGE)), "damaged|memory"),
    "bomb.npz": (bomb_npz, "damaged|memory"),
    "traversal.npz": (lambda: archive_of(**{"../../owned": saved(np.ones((3, 4)))}), READ),
    "html.npz": (lambda: b"<html>", "not a .npz"),
    "lying-idx3-ubyte": (lambda: idx(8, 2**31, 2**31, 2**31), "cut short"),
    "of nothing-idx3-ubyte": (lambda: idx(8, 0, 2**32 - 1, 2**32 - 1), "nothing|damaged"),
    "255 dimensions.idx": (lambda: idx(8, *[1] * 255, content=b"x"), "255 dimensions"),
    "lying-idx3-ubyte.gz": (lambda: gzip.compress(idx(8, 2**31, 2**31, 2**31)), "cut short"),
    "bomb-idx3-ubyte.gz": (
        lambda: gzip.compress(idx(8, 1, 1, 1) + bytes(200_000_000), 1),
        "longer than",
    ),
    "not gzip-idx3-ubyte.gz": (lambda: b"<html>", "gzip"),
}


@pytest.mark.parametrize("name", ARRAYS)
def test_array_files(tmp_path, monkeypatch, name):
    make, expected = ARRAYS[name]
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).write_bytes(make())
    if expected is READ:
        assert open_source(tmp_path / name).length == 3
    else:
        with pytest.raises(InputError) as caught:
            open_source(tmp_path / name)
        assert any(part in str(caught.value) for part in expected.split("|")), caught.value
        assert name in str(caught.value)
    assert [file.name for file in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("name", ["a.npy", "a.npz", "a-idx3-ubyte", "a-idx3-ubyte.gz", "a.png"])
def test_pipes_are_not_waited_for(tmp_path, name):
    os.mkfifo(tmp_path / name)
    for read in (open_source, read_value):
        with pytest.raises(InputError, match=r"regular file|not a file|neither a file"):
            read(tmp_path / name)


BOMB = """
import resource, sys
from hashret.errors import InputError
from hashret.sources import read_idx
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + (300 << 20), -1))
try:
    read_idx(sys.argv[1])
except InputError as error:
    print(error)
"""


def test_a_compressed_bomb_ends_where_the_memory_does(tmp_path):
    file = tmp_path / "bomb-idx3-ubyte.gz"
    member = gzip.compress(bytes(100_000_000), 1)
    file.write_bytes(gzip.compress(idx(8, 1000, 1000, 1000)) + member * 10)
    assert file.stat().st_size < 20_000_000
    out = subprocess.run([sys.executable, "-c", BOMB, file], capture_output=True, text=True)
    assert "more than fits into the memory" in out.stdout, out.stderr
    assert file.name in out.stdout


def test_compressed_content_is_held_against_the_memory_of_the_machine(tmp_path, monkeypatch):
    monkeypatch.setattr("hashret.sources.idx.os.sysconf", lambda _: 1000)
    file = tmp_path / "big-idx3-ubyte.gz"
    file.write_bytes(gzip.compress(idx(8, 100, 100, 100, content=bytes(1_000_000))))
    with pytest.raises(InputError, match=r"half the memory.*unpacked"):
        read_idx(file)
    (tmp_path / "big.npz").write_bytes(archive_of(X=saved(np.zeros((1000, 1000)))))
    with pytest.raises(InputError, match="half the memory"):
        open_source(tmp_path / "big.npz")


# Ready codes


LINE = '{"key": "%s", "code": "00ff"}\n'
CODES = {
    "wrong hexadecimal": ('{"key": "a", "code": "0g"}', "Line 1 .*hexadecimal"),
    "a code of nothing": ('{"key": "a", "code": ""}', "Line 1"),
    "a code of another length": (LINE % "a" + '{"key": "b", "code": "00"}', "Line 2"),
    "a code of 2,000 bytes": ('{"key": "a", "code": "%s"}' % ("00" * 2000), "n_bits"),
    "a code that is NaN": ('{"key": "a", "code": NaN}', "Line 1"),
    "a field that is NaN": ('{"key": "a", "code": "00ff", "fields": {"x": NaN}}', "line 1"),
    "an endless number": ('{"key": "a", "code": "00ff", "fields": {"x": 1e999}}', "line 1"),
    "deep nesting": ("[" * 100_000, "Line 1"),
    "deep nesting in fields": ('{"key":"a","code":"00ff","fields":' + '{"a":' * 99_999, "Line 1"),
    "the same key twice": (LINE % "a" + LINE % "a", "comes twice"),
    "a huge line": ('{"key": "a", "code": "' + "0" * (17 << 20), "more than 16 MiB"),
    "a key of null": ('{"key": "a\\u0000", "code": "00ff"}', "Line 1"),
    "a lone surrogate": ('{"key": "\\ud800", "code": "00ff"}', "Line 1"),
    "no key": ('{"code": "00ff"}', "Line 1"),
    "a list": ("[1]", "no JSON object"),
    "a mapping for an encoder": ('{"key": "a", "code": "00ff", "encoder": {"a": 1}}', "Line 1"),
    "nothing": ("", "not one code"),
}


@pytest.mark.parametrize("name", CODES)
def test_ready_codes(tmp_path, name):
    content, expected = CODES[name]
    file = tmp_path / "codes.jsonl"
    file.write_text(content)
    with pytest.raises(HashretError, match=f"(?s){expected}") as caught:
        hashret.create_from_codes(tmp_path / "i", file)
    assert len(str(caught.value)) < 20_000
    assert not (tmp_path / "i").exists()


def test_a_bomb_of_one_line_is_not_unpacked(tmp_path):
    with gzip.open(tmp_path / "codes.jsonl.gz", "wb", 1) as file:
        file.writelines(bytes(1_000_000) for _ in range(200))
    with pytest.raises(InputError, match="more than 16 MiB"):
        ReadyCodes(tmp_path / "codes.jsonl.gz")


def test_pipes_of_codes_are_not_waited_for(tmp_path):
    codes = np.zeros((2, 2), np.uint8)
    for name in ("codes.npy", "codes.jsonl", "keys.txt", "keys.txt.gz"):
        os.mkfifo(tmp_path / name)
        given = (codes, tmp_path / name) if name.startswith("keys") else (tmp_path / name,)
        with pytest.raises(InputError, match="regular file"):
            ReadyCodes(*given)


# The files of an index: each makes one worse, and what follows is an answer or a refusal


def sql(statement):
    def change(path):
        connection = sqlite3.connect(path / "items.db")
        with connection:
            connection.execute(statement)
        connection.close()
        (path / "seal.json").unlink(missing_ok=True)

    return change


def instead(name, make):
    def change(path):
        (path / name).unlink(missing_ok=True)
        make(path / name)

    return change


def written(content):
    return lambda path: path.write_bytes(content)


def sparse(path):
    with path.open("wb") as file:
        file.truncate(1 << 40)


def setting(name, value):
    return sql(f"update settings set value = '{value}' where name = '{name}'")


def with_manifest(**facts):
    from hashret.search.segment_files import _crc32_of

    def change(path):
        with hashret.open(path) as index:
            index.compact()
        for file in path.glob("segments/*/manifest.json"):
            manifest = json.loads(file.read_text())
            del manifest["crc32"]
            manifest |= facts
            file.write_text(json.dumps({**manifest, "crc32": _crc32_of(manifest)}))

    return change


FACTS = {"bytes": 4, "header_bytes": 4, "header_crc32": 0, "crc32": [0]}
ENCODER = ("encoder/encoder.tflite", "encoder/features.json")
INDEX = {
    "a trigger": (
        sql("create trigger t after insert on items begin delete from items; end"),
        "trigger",
    ),
    "a view": (sql("create view v as select * from items"), "view"),
    "a virtual table": (sql("create virtual table v using fts5(a)"), "not made"),
    "no settings": (sql("drop table settings"), r"items\.db"),
    "no items": (sql("drop table items"), r"items\.db"),
    "a generation that is none": (setting("generation", "[1]"), "generation"),
    "a length that is none": (setting("n_bits", '"x"'), "settings"),
    "a length of 0": (setting("n_bits", "0"), r"settings|items\.db"),
    "a length of 2 to the 60": (setting("n_bits", str(2**60)), r"settings|items\.db"),
    "settings nested deep": (setting("learned_from", "[" * 99_999), r"items\.db"),
    "an encoder elsewhere": (
        setting("encoder_files", '{"../../../../../../etc/passwd": "00"}'),
        "settings",
    ),
    "digests that are none": (setting("encoder_files", "[1]"), "settings"),
    "a segment elsewhere": (
        sql("insert into segments values ('../../../../../../etc', 1, 1, null)"),
        "list of segments",
    ),
    **{
        f"{name} is {what}": (instead(name, make), expected)
        for name in ENCODER
        for what, make, expected in [
            ("a pipe", fifo, "regular file"),
            ("a device", link_to("/dev/zero"), "symbolic link"),
            ("1 TB", sparse, "more than"),
            ("a loop", lambda path: path.symlink_to(path), "symbolic link"),
            ("another file", link_to("/etc/passwd"), "symbolic link"),
            ("a folder", lambda path: path.mkdir(), "regular file|cannot be read"),
        ]
    },
    **{
        f"a seal that is {what}": (instead("seal.json", make), READ)
        for what, make in {
            "1 TB": sparse,
            "nested deep": written(b"[" * 200_000),
            "not JSON": written(b"\xff\xfe{"),
            "a number": written(b"9" * 5000),
        }.items()
    },
    "a seal that is a pipe": (instead("seal.json", fifo), "regular file"),
    "a seal that is a device": (instead("seal.json", link_to("/dev/zero")), "symbolic link"),
    "a lock that is a pipe": (instead("write.lock", fifo), "regular file"),
    "a manifest elsewhere": (with_manifest(files={"../../../../../etc/passwd": FACTS}), READ),
    "a manifest of the root": (with_manifest(files={"/etc/passwd": FACTS}), READ),
    "a manifest of no facts": (with_manifest(files={"codes.npy": None}), READ),
    "a manifest of other facts": (
        with_manifest(files={"codes.npy": {**FACTS, "bytes": "4"}}),
        READ,
    ),
    "a manifest of a list": (with_manifest(files=[1]), READ),
    "a manifest of 2 to the 60 codes": (with_manifest(n=2**60), READ),
    "a manifest of a layout that is none": (with_manifest(layout={"n_bits": 2**40}), READ),
}


@pytest.mark.parametrize("name", INDEX)
def test_an_index(path, vectors, name):
    change, expected = INDEX[name]
    with hashret.open(path) as index:
        answer = [hit.key for hit in index.query(vectors[3], radius=4, limit=None)]
        index.compact()
    change(path)
    try:
        with hashret.open(path) as index:
            found = [hit.key for hit in index.query(vectors[3], radius=4, limit=None)]
            info, report = index.info(), index.verify()
    except HashretError as error:
        assert expected is not READ, error
        assert re.search(expected, str(error)), error
        assert "\n" not in str(error)
    else:
        assert expected is READ, (info, report)
        assert found == answer


def test_an_encoder_of_another_index_is_refused(path, make_index, vectors):
    shutil.rmtree(path / "encoder")
    shutil.copytree(make_index("vectors") / "encoder", path / "encoder")
    with hashret.open(path) as index, pytest.raises(HashretError, match="another index"):
        index.query(vectors[0])


def test_a_log_that_is_a_pipe_does_not_hang(path):
    for leftover in path.glob("items.db-*"):
        leftover.unlink()
    os.mkfifo(path / "items.db-wal")
    program = "import sys, hashret\nwith hashret.open(sys.argv[1]) as i: print(len(i))"
    out = subprocess.run(
        [sys.executable, "-c", program, path], capture_output=True, text=True, timeout=60
    )
    assert "UnsafeIndexError" in out.stderr


def test_a_database_that_is_a_pipe_is_refused(path):
    (path / "items.db").unlink()
    os.mkfifo(path / "items.db")
    with pytest.raises(UnsafeIndexError, match=r"items\.db is a pipe"):
        hashret.open(path)
