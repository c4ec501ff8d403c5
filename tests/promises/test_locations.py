"""Items name the places they came from: these are opened as regular files, and not fetched."""

import os
import shutil
import socket
import sqlite3
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import hashret
from hashret.errors import InputError
from hashret.sources import ValueReader, fetching, read_value
from hashret.sources.locations import with_options

NAMES = ["a.csv", "a.tsv", "a.json", "a.jsonl", "a.txt", "a.md", "a.parquet", "a.db", "a.npy",
         "a.npz", "a.h5", "a.fvecs", "a.png", "a-idx3-ubyte", "a.csv.gz"]  # fmt: skip

READ = """
import sys
from hashret.errors import InputError
from hashret.sources import ValueReader
for place in sys.argv[1:]:
    try:
        ValueReader(stored=True).read(place)
    except InputError as error:
        assert "regular file" in str(error), error
    else:
        raise SystemExit(f"read {place}")
print("refused")
"""


def finished(program, *arguments):
    """What a program prints that must end by itself."""
    out = subprocess.run(
        [sys.executable, "-c", program, *map(str, arguments)],
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert out.returncode == 0, out.stderr
    return out.stdout.strip()


def places_of(kind, folder):
    for name in NAMES:
        if kind == "pipe":
            os.mkfifo(folder / name)
        elif kind == "device":
            (folder / name).symlink_to("/dev/zero")
        else:
            with socket.socket(socket.AF_UNIX) as one:
                one.bind(name)
        yield f"{folder / name}#0" if name not in ("a.md", "a.png") else folder / name


@pytest.mark.parametrize("kind", ["pipe", "device", "socket"])
def test_a_location_is_opened_as_a_regular_file(tmp_path, monkeypatch, kind):
    monkeypatch.chdir(tmp_path)  # the name of a socket may have a hundred bytes only
    places = list(places_of(kind, tmp_path))
    places += [f"{tmp_path / 'a.npy'}?format=csv#0", f"{tmp_path / 'a.png'}?format=lines#3"]
    assert finished(READ, *places) == "refused"


def test_a_location_may_be_a_link_to_a_file(tmp_path):
    np.save(tmp_path / "a.npy", np.arange(6.0).reshape(2, 3))
    (tmp_path / "b.npy").symlink_to("a.npy")
    assert ValueReader(stored=True).read(f"{tmp_path / 'b.npy'}#1").tolist() == [3, 4, 5]


def moved_to(path, location):
    """Let all items of an index come from the first record of another place."""
    connection = sqlite3.connect(path / "items.db")
    with connection:
        connection.execute("update sources set location = ?", [str(location)])
        connection.execute("update items set position = 0")
    connection.close()
    (path / "seal.json").unlink(missing_ok=True)


VIEWS = """
import sys, hashret
from hashret.errors import HashretError
from hashret.web.problems import Problem
from hashret.web.thumbnails import Thumbnails
with hashret.open(sys.argv[1]) as index:
    for key in list(index)[:6]:
        try:
            Thumbnails().of(index, "photos", key, 64)
        except Problem as problem:
            print(problem.status)
"""


def test_views_of_items_from_a_pipe_end(make_index, tmp_path):
    path = make_index("photos")
    os.mkfifo(tmp_path / "photos.csv")
    moved_to(path, tmp_path / "photos.csv")
    assert finished(VIEWS, path).split() == ["404"] * 6


@pytest.mark.parametrize("command", ["outliers", "evaluate", "duplicates --html page.html -r 9"])
def test_commands_on_items_from_a_pipe_end(make_index, run, tmp_path, command):
    path = make_index("photos")
    os.mkfifo(tmp_path / "photos.csv")
    moved_to(path, tmp_path / "photos.csv")
    out = run(*command.split(), "-i", path)
    assert "Traceback" not in out.stderr
    assert "regular file" in (out.stderr if out.returncode else out.stderr + out.stdout) or (
        "regular file" in (tmp_path / "page.html").read_text()
    )


ENDLESS = (
    "with recursive c(x) as (select 1 union all select x + 1 from c) select a from t, c where x < 0"
)


@pytest.mark.parametrize("sql", [ENDLESS, f"select a from t union all select * from ({ENDLESS})"])
def test_the_query_of_a_stored_location_ends(tmp_path, monkeypatch, sql):
    from hashret.sources import values

    monkeypatch.setattr(values, "STORED_QUERY_SECONDS", 0.2)
    with sqlite3.connect(tmp_path / "a.db") as connection:
        connection.execute("create table t (a text)")
        connection.executemany("insert into t values (?)", [("one",), ("two",)])
    connection.close()
    place = with_options(str(tmp_path / "a.db"), {"sql": sql, "column": "a"})
    reader = ValueReader(stored=True)
    with pytest.raises(InputError, match="too long"):
        for row in range(9):
            reader.read(f"{place}#{row}")
    with pytest.raises(InputError, match="too long"):
        reader.read(f"{place}#7")
    fine = with_options(str(tmp_path / "a.db"), {"sql": "select a from t", "column": "a"})
    assert [reader.read(f"{fine}#{row}") for row in (0, 1)] == ["one", "two"]


# URLs


@pytest.fixture
def far(tmp_path, digits):
    """An index of 40 pictures behind a URL, some of them twice."""
    np.save(tmp_path / "far.npy", np.concatenate([digits[:30], digits[:10]]))
    url = f"file://{tmp_path}/far.npy"
    hashret.create(tmp_path / "indexes/far", url, 32, epochs=1, random_state=0).close()
    return tmp_path / "indexes/far"


@pytest.fixture
def fetched(monkeypatch):
    """The URLs that are fetched from now on."""
    from hashret.sources import remote

    urls = []
    copy = remote._copy
    monkeypatch.setattr(remote, "_copies", {})
    monkeypatch.setattr(
        remote, "_copy", lambda url, *rest: urls.append(url) or copy(url, *rest)
    )  # fmt: skip
    return urls


def test_values_of_items_are_fetched_only_where_that_is_allowed(far, fetched):
    with hashret.open(far) as index:
        with pytest.raises(InputError, match="--fetch"):
            index.outliers()
        assert fetched == []
        with fetching():
            assert index.outliers().measured == 40
        assert len(fetched) == 1
        with pytest.raises(InputError, match="--fetch"):
            index.outliers()


def test_what_a_user_names_is_fetched(far, fetched, tmp_path):
    assert read_value(f"file://{tmp_path}/far.npy#3").shape == (8, 8)
    with hashret.open(far) as index:
        assert index.query(f"file://{tmp_path}/far.npy#3", limit=1)[0].distance == 0
        assert index.add(f"file://{tmp_path}/far.npy").unchanged == 40
    assert set(fetched) == {f"file://{tmp_path}/far.npy"}


def test_a_server_fetches_nothing(far, fetched):
    from hashret.web.problems import Problem
    from hashret.web.thumbnails import Thumbnails

    with hashret.open(far) as index, pytest.raises(Problem):
        Thumbnails().of(index, "far", "0", 64)
    assert fetched == []


@pytest.mark.parametrize("place", ["{}#3", "{}?column=a#3", "{}/b.zip/a.png", "zip://a.png::{}"])
def test_every_kind_of_url_is_refused(fetched, tmp_path, place):
    with pytest.raises(InputError, match="--fetch"):
        ValueReader(stored=True).read(place.format(f"http://{tmp_path.name}.invalid/far.csv"))
    assert fetched == []


def test_commands_fetch_with_the_option_only(far, run, tmp_path):
    out = run("outliers", "-i", far, "-k", "3")
    assert (out.returncode, "--fetch" in out.stderr) == (1, True)
    out = run("outliers", "-i", far, "-k", "3", "--fetch")
    assert out.returncode == 0, out.stderr
    assert "40 items" in out.stderr
    out = run("evaluate", "-i", far)
    assert (out.returncode, "--fetch" in out.stderr) == (1, True)
    assert run("evaluate", "-i", far, "--fetch").returncode == 0
    out = run("plot", "reconstruction", "-i", far, "-o", "a.png")
    assert (out.returncode, "--fetch" in out.stderr) == (1, True)
    assert run("plot", "reconstruction", "-i", far, "-o", "a.png", "--fetch").returncode == 0
    for command in ("duplicates", "query --key 0"):
        out = run(*command.split(), "-i", far, "--html", "page.html")
        assert out.returncode == 0, out.stderr
        page = (tmp_path / "page.html").read_text()
        few = page.count('src="data:image')  # at most what the decoder makes of the query's bits
        assert few <= 1
        assert "--fetch" in (page if command == "duplicates" else out.stderr)
        assert out.stderr.count("--fetch") <= 1
        out = run(*command.split(), "-i", far, "--html", "page.html", "--fetch")
        assert out.returncode == 0, out.stderr
        assert (tmp_path / "page.html").read_text().count('src="data:image') > few + 1


def test_an_evaluation_says_why_items_are_missing(tmp_path, digits, fetched):
    np.save(tmp_path / "far.npy", digits[:10])
    np.save(tmp_path / "near.npy", digits[10:60])
    with hashret.create(
        tmp_path / "i", tmp_path / "near.npy", 32, epochs=1, random_state=0
    ) as index:
        index.add(f"file://{tmp_path}/far.npy", key_prefix="far")
        fetched.clear()
        from hashret.evaluation import evaluate

        report = evaluate(index)
        assert any("10 of 60 items" in note and "--fetch" in note for note in report.notes)
        assert fetched == []


def test_pictures_of_a_folder_that_became_pipes_are_skipped(tmp_path, run):
    (tmp_path / "photos").mkdir()
    for number in range(20):
        Image.fromarray(np.full((8, 8), number * 9, np.uint8)).save(
            tmp_path / f"photos/{number}.png"
        )
    os.mkfifo(tmp_path / "photos/pipe.png")
    out = run("index", "photos", "-i", "photos", "--epochs", "1")
    assert out.returncode == 0, out.stderr
    assert "20 added" in out.stderr
    assert "regular file" in out.stderr


# What libraries open by themselves

OPEN = """
import sys
from pathlib import Path
from hashret.errors import InputError
from hashret.sources import archive_files, array_files, tables
folder = Path(sys.argv[1])
def check(name, read, *more):
    try:
        read(folder / name, *more)
    except InputError as error:
        print(error)
    else:
        raise SystemExit(f"{name} was read")
for name in ("a.npy", "a.npz", "a.h5", "a.fvecs", "a-idx3-ubyte"):
    check(name, array_files.read_array_file)
for name in ("a.csv", "a.json", "a.jsonl", "a.txt", "a.parquet", "a.db"):
    check(name, tables.open_table, "auto", tables.Reading())
for name in ("a.zip", "a.tar", "a.tar.gz", "a.tar.bz2", "a.tar.xz"):
    check(name, lambda path: archive_files.latest_archive(str(path)))
"""


@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_every_reader_refuses_what_is_no_regular_file(tmp_path, kind):
    """Whatever was at a place when it was looked at may have been replaced since."""
    arrays = ("a.npy", "a.npz", "a.h5", "a.fvecs", "a-idx3-ubyte")
    tables = ("a.csv", "a.json", "a.jsonl", "a.txt", "a.parquet", "a.db")
    archives = ("a.zip", "a.tar", "a.tar.gz", "a.tar.bz2", "a.tar.xz")
    for name in (*arrays, *tables, *archives):
        if kind == "pipe":
            os.mkfifo(tmp_path / name)
        else:
            (tmp_path / name).symlink_to("/dev/zero")
    lines = finished(OPEN, tmp_path).splitlines()
    assert len(lines) == len(arrays) + len(tables) + len(archives)
    assert [line for line in lines if "not a regular file" not in line] == []


@pytest.mark.parametrize("log", ["-wal", "-journal"])
def test_no_pipe_beside_a_database_is_waited_for(tmp_path, log):
    path = tmp_path / "a.db"
    connection = sqlite3.connect(path)
    with connection:
        if log == "-wal":
            connection.execute("pragma journal_mode = wal")
        connection.execute("create table texts (text)")
        connection.execute("insert into texts values ('one of them')")
    connection.close()
    os.mkfifo(f"{path}{log}")
    assert finished(READ, f"{path}#0") == "refused"


def test_archives_are_closed(tmp_path):
    from hashret.sources.archive_files import ArchiveFile

    def n_open():
        return sum(1 for _ in Path("/proc/self/fd").iterdir())

    (tmp_path / "1.png").write_bytes(b"one")
    for form in ("zip", "tar", "gztar", "bztar", "xztar"):
        name = shutil.make_archive(str(tmp_path / "a"), form, tmp_path, "1.png")
        before = n_open()
        archive = ArchiveFile(name)
        assert archive.read(archive.members[0]) == b"one"
        archive.close()
        assert n_open() == before, name
