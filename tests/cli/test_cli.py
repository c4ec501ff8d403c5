"""The command line as a user meets it: streams, formats, exit codes, messages."""

import csv
import io
import json
import os
import pty
import re
import signal
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

import hashret


@pytest.fixture
def index_dir(make_index):
    return make_index("digits")


def test_index_query_items_remove_from_the_shell(run, idx_files, tmp_path, digits):
    made = run("index", idx_files / "train-images-idx3-ubyte", "-i", "d", "--epochs", 2)
    assert made.returncode == 0, made.stderr
    assert made.stdout == ""
    assert "300 added" in made.stderr
    assert "with labels" in made.stderr
    assert (tmp_path / "indexes" / "d" / "items.db").is_file()

    again = run("index", idx_files / "train-images-idx3-ubyte", "-i", "d")
    assert "0 added, 0 updated, 300 unchanged" in again.stderr

    # -i may be left out, for there is one index only
    found = json.loads(run("query", "--key", "17", "--json").stdout)
    assert found[0]["distance"] == 0
    assert "17" in [hit["key"] for hit in found if hit["distance"] == 0]

    listed = run("items", "-i", "d", "--nl", "-k", "5").stdout.splitlines()
    assert [json.loads(line)["key"] for line in listed] == ["0", "1", "2", "3", "4"]

    removed = run("remove", "17", "18")
    assert removed.returncode == 0
    assert "298 items left" in removed.stderr
    gone = run("query", "--key", "17")
    assert gone.returncode == 1
    assert "'17'" in gone.stderr
    assert run("verify").returncode == 0


def test_an_image_file_finds_its_item(run, index_dir, digits, tmp_path):
    Image.fromarray(digits[42]).save(tmp_path / "ä query.png")
    found = run("query", "ä query.png", "-i", index_dir, "-r", 0, "-k", "all", "--tsv")
    assert found.returncode == 0
    assert "42" in [row["key"] for row in csv.DictReader(io.StringIO(found.stdout), delimiter="\t")]


def expected_rows(index_dir):
    with hashret.open(index_dir) as index:
        return index.query_key("3", limit=4).to_dicts()


def test_every_format_says_the_same(run, index_dir):
    rows = expected_rows(index_dir)
    arguments = ("query", "--key", "3", "-i", index_dir, "-k", 4)
    assert json.loads(run(*arguments, "--json").stdout) == rows
    assert [json.loads(line) for line in run(*arguments, "--nl").stdout.splitlines()] == rows
    for option, delimiter in (("--csv", ","), ("--tsv", "\t")):
        text = run(*arguments, option).stdout
        got = list(csv.DictReader(io.StringIO(text), delimiter=delimiter))
        assert [(r["key"], int(r["distance"]), int(r["label"])) for r in got] == [
            (r["key"], r["distance"], r["fields"]["label"]) for r in rows
        ]
        assert run(*arguments, option, "--no-headers").stdout == text.split("\n", 1)[1]
    table = run(*arguments).stdout.splitlines()
    assert table[0].split() == ["rank", "distance", "similarity", "key", "label"]
    assert [line.split()[3] for line in table[1:]] == [row["key"] for row in rows]
    paths = run(*arguments, "--paths").stdout
    assert paths.splitlines() == [row["location"] for row in rows]
    assert run(*arguments, "-0").stdout == paths.replace("\n", "\0")


def test_the_table_is_the_same_on_a_terminal_and_in_a_pipe(run, index_dir):
    arguments = [sys.executable, "-m", "hashret", "query", "--key", "3", "-i", str(index_dir)]
    ours, theirs = pty.openpty()
    with subprocess.Popen(arguments, stdout=theirs, stderr=subprocess.DEVNULL) as process:
        os.close(theirs)
        shown = b""
        while True:
            try:
                chunk = os.read(ours, 4096)
            except OSError:
                break
            if not chunk:
                break
            shown += chunk
        process.wait()
    os.close(ours)
    assert shown.decode().replace("\r\n", "\n") == run(*arguments[3:]).stdout


def test_stdin_takes_paths_and_keys(run, index_dir, idx_files):
    lines = f"5\n{idx_files}/test-images-idx3-ubyte#7\n6\n"
    out = run("query", "-", "-i", index_dir, "-k", 2, "--nl", stdin=lines)
    assert out.returncode == 0, out.stderr
    rows = [json.loads(line) for line in out.stdout.splitlines()]
    assert [row["query"] for row in rows] == [line for line in lines.split() for _ in range(2)]
    assert rows[0]["distance"] == rows[4]["distance"] == 0


def test_explain_tells_how_the_answer_was_found(run, index_dir):
    out = run("query", "--key", "3", "-i", index_dir, "-r", 5, "--explain", "--json")
    assert re.search(
        r"scan; 0 probes, 300 candidates, [\d.]+ ms \([\d.]+ ms expected\);", out.stderr
    )
    for row in json.loads(out.stdout):
        assert len(row["flipped"]) == row["distance"]
        assert (row["stats"]["plan"], row["stats"]["candidates"]) == ("scan", 300)
        assert row["stats"]["seconds"] > 0
        assert row["stats"]["estimated_seconds"] > 0
    table = run("query", "--key", "3", "-i", index_dir, "--explain").stdout.splitlines()
    assert table[0].split() == ["rank", "distance", "similarity", "key", "flipped", "label"]


def test_building_tables_is_shown_and_compact_is_quiet_about_nothing_else(run, index_dir):
    out = run("compact", "-i", index_dir)
    assert (out.returncode, out.stdout) == (0, "")
    assert re.fullmatch(r"Building tables: 300 codes, [\d.]+ s\n", out.stderr)


def test_no_hits_is_no_error(run, index_dir):
    out = run("query", "--key", "3", "-i", index_dir, "--where", "label = 99")
    assert (out.returncode, out.stdout.splitlines()[1:]) == (0, [])
    assert "no hits" in out.stderr
    assert (
        json.loads(
            run("query", "--key", "3", "-i", index_dir, "--where", "label = 99", "--json").stdout
        )
        == []
    )


def test_a_limit_that_cuts_a_radius_is_said(run, index_dir):
    out = run("query", "--key", "3", "-i", index_dir, "-r", 64)
    assert len(out.stdout.splitlines()) == 11
    assert "-k all" in out.stderr
    every = run("query", "--key", "3", "-i", index_dir, "-r", 64, "-k", "all")
    assert len(every.stdout.splitlines()) == 301


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["query"], 2, "one of VALUE, --key, --code and --file"),
        (["query", "a", "--key", "b"], 2, "one of VALUE, --key, --code and --file"),
        (["query", "--key", "3", "-k", "all"], 2, "needs a radius"),
        (["query", "--key", "3", "-k", "0"], 2, "at least 1"),
        (["query", "--key", "3", "-r", "-1"], 2, "-1"),
        (["query", "--key", "nobody"], 1, "'nobody'"),
        (["query", "--code", "zz"], 1, "hexadecimal"),
        (["query", "--code", "00ff"], 1, "16 bits"),
        (["query", "missing.png"], 1, "missing.png"),
        (["query", "--key", "3", "--where", "nonsense = 1"], 2, "nonsense"),
        (["query", "--key", "3", "--json", "--csv"], 2, "not both"),
        (["index", "missing", "-i", "new"], 1, "missing"),
        (["index", "x.npy"], 2, "-i"),
        (["index", ".", "-i", "new", "--bits", "12"], 2, "multiple of 8"),
        (["index", ".", "-i", "digits", "--bits", "32"], 2, "64 bits already"),
        (["query", "--key", "\udcff"], 1, "has the key"),
        (["query", "--key", "3", "--where", "label = '\udcff'"], 2, "condition"),
        (["query", "--key", "3", "--where", '"labl" <> 9'], 2, "labl"),
        (["items", "-k", "99999999999999999999"], 2, "99999"),
        (["index", ".", "-i", "/proc/nowhere/x"], 1, "No images"),
        (["remove", "nobody"], 1, "'nobody'"),
        (["remove"], 2, "keys"),
        (["info", "-i", "nowhere"], 1, "digits"),
        (["reconstruct", "--key", "3", "-o", "x.jpg"], 2, ".png"),
        (["nonsense"], 2, "nonsense"),
    ],
)
def test_mistakes_get_one_message_and_an_exit_code(run, index_dir, arguments, code, message):
    out = run(*arguments)
    assert out.returncode == code, out.stderr
    assert message in out.stderr
    assert "Traceback" not in out.stderr
    assert out.stdout == ""


def test_broken_images_are_named_and_strict_exits_with_3(run, image_folder, tmp_path):
    import shutil

    folder = shutil.copytree(image_folder, tmp_path / "photos")
    (folder / "3" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing")
    (folder / "notes.txt").write_text("not an image")
    out = run("index", "photos", "-i", "p", "--bits", 16, "--epochs", 1, "--strict")
    assert out.returncode == 3, out.stderr
    assert "broken.png" in out.stderr
    assert "100 added" in out.stderr
    assert "1 skipped" in out.stderr
    # each image kept its own label and code
    for path in list(folder.rglob("*.png"))[::17]:
        if path.name == "broken.png":
            continue
        (hit, *_) = [
            row
            for row in json.loads(
                run(
                    "query",
                    f"photos/{path.parent.name}/{path.name}",
                    "-i",
                    "p",
                    "-r",
                    0,
                    "-k",
                    "all",
                    "--json",
                ).stdout
            )
            if row["key"] == str(path)
        ]
        assert hit["fields"]["label"] == path.parent.name


def test_changed_images_are_updated(run, image_folder, tmp_path):
    import shutil

    folder = shutil.copytree(image_folder, tmp_path / "photos")
    run("index", "photos", "-i", "p", "--bits", 16, "--epochs", 1)
    shutil.copy(folder / "1" / "001.png", folder / "0" / "000.png")
    shutil.copy(folder / "1" / "001.png", folder / "new.png")
    out = run("index", "photos", "-i", "p")
    assert "1 added (1 known by content), 1 updated, 99 unchanged" in out.stderr


def test_encode_prints_and_saves_codes(run, index_dir, idx_files, tmp_path):
    source = idx_files / "train-images-idx3-ubyte"
    lines = run("encode", source, "-i", index_dir, "--nl").stdout.splitlines()
    with hashret.open(index_dir) as index:
        stored = [(item.key, item.code) for item in index.items()]
        fingerprint = index.fingerprint
    printed = [json.loads(line) for line in lines]
    assert [(p["key"], p["code"]) for p in printed] == [(k, c.tobytes().hex()) for k, c in stored]
    assert {p["encoder"] for p in printed} == {fingerprint}
    out = run("encode", source, "-i", index_dir, "-o", "codes.npy")
    assert out.stdout == ""
    assert np.array_equal(np.load(tmp_path / "codes.npy"), np.stack([c for _, c in stored]))


def test_a_code_of_another_encoder_is_refused_by_name(run, index_dir):
    out = run("query", "-i", index_dir, "--code", "0123456789abcdef:" + "00" * 8)
    assert out.returncode == 1
    with hashret.open(index_dir) as index:
        assert index.fingerprint in out.stderr
    assert "0123456789abcdef" in out.stderr


@pytest.mark.parametrize("start", [["--key", "3"], ["--code", "00" * 8], ["FILE"]])
def test_reconstruct_writes_a_picture(run, index_dir, tmp_path, digits, start):
    Image.fromarray(digits[3]).save(tmp_path / "FILE.png")
    start = [part.replace("FILE", "FILE.png") for part in start]
    out = run("reconstruct", *start, "-i", index_dir, "-o", "out.png")
    assert out.returncode == 0, out.stderr
    with Image.open(tmp_path / "out.png") as picture:
        assert picture.size == (8, 8)


def test_info_and_verify(run, index_dir):
    facts = json.loads(run("info", "-i", index_dir, "--json").stdout)[0]
    assert (facts["items"], facts["n_bits"], facts["kind"]) == (300, 64, "images")
    assert "8 x 8" in facts["features"]
    assert "300" in run("info", "-i", index_dir).stdout
    (index_dir / "encoder" / "encoder.tflite").write_bytes(b"spoilt")
    out = run("verify", "-i", index_dir)
    assert out.returncode == 1
    assert "encoder.tflite" in out.stdout


def test_environment_names_the_folder_of_indexes(run, index_dir):
    out = run("info", "-i", "digits", "--json", HASHRET_INDEXES=str(index_dir.parent))
    assert json.loads(out.stdout)[0]["items"] == 300


def test_a_closed_pipe_is_no_error(index_dir):
    command = f"{sys.executable} -m hashret items -i {index_dir} --nl | head -n 1"
    out = subprocess.run(["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True)
    assert (out.returncode, out.stderr) == (0, "")
    assert len(out.stdout.splitlines()) == 1


@pytest.mark.parametrize("option", ["--json", "--nl", "--csv", "--paths"])
def test_a_reader_that_is_gone_is_no_error(index_dir, option):
    command = f"{sys.executable} -m hashret items -i {index_dir} {option} | (exec <&-; sleep 2)"
    out = subprocess.run(["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True)
    assert (out.returncode, out.stderr) == (0, "")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupt_ends_with_one_line_and_leaves_nothing(number, code, tmp_path):
    rng = np.random.default_rng(0)
    np.save(tmp_path / "x.npy", rng.normal(size=(20_000, 64)).astype(np.float32))
    arguments = [sys.executable, "-m", "hashret", "index", "x.npy", "-i", "x", "--epochs", "5000"]
    with subprocess.Popen(arguments, stderr=subprocess.PIPE, text=True, cwd=tmp_path) as process:
        first = process.stderr.readline()
        second = process.stderr.readline()  # reading is done, learning goes on
        process.send_signal(number)
        rest = process.stderr.read()
        process.wait()
    assert process.returncode == code, first + second + rest
    assert rest.splitlines()[-1].startswith("Interrupted.")
    assert "Traceback" not in rest
    assert [path.name for path in (tmp_path / "indexes").glob("*")] == []


DROPPED_INTERRUPT = """
import os, signal, time
import hashret.index.creating
from hashret.cli import main

class Dropping:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(9)

def with_an_interrupt(*arguments, read=hashret.index.creating.training_matrix):
    Dropping()
    return read(*arguments)

hashret.index.creating.training_matrix = with_an_interrupt
main()
"""


def test_an_interrupt_that_python_drops_is_heard_all_the_same(tmp_path):
    rng = np.random.default_rng(0)
    np.save(tmp_path / "x.npy", rng.normal(size=(500, 8)).astype(np.float32))
    arguments = [sys.executable, "-c", DROPPED_INTERRUPT, "index", "x.npy", "-i", "x"]
    out = subprocess.run(arguments, capture_output=True, text=True, cwd=tmp_path)
    assert out.returncode == 130, out.stderr
    assert out.stderr.splitlines()[-1] == "Interrupted."
    assert "Traceback" not in out.stderr
    assert list((tmp_path / "indexes").iterdir()) == []


UNHANDLED_INTERRUPT = """
import ctypes, os, signal
import hashret.index.creating
from hashret.cli import main

def read(*_):
    # As NumPy and TensorFlow run text while they are imported.
    run = ctypes.pythonapi.PyRun_String
    run.restype, run.argtypes = ctypes.py_object, [ctypes.c_char_p, ctypes.c_int] + [
        ctypes.py_object] * 2
    text = b"import os, signal, time; os.kill(os.getpid(), signal.SIGINT); time.sleep(9)"
    run(text, 257, {}, {})

hashret.index.creating.training_matrix = read
main()
"""


def test_an_interrupt_in_text_that_c_runs_ends_with_130(tmp_path):
    (tmp_path / "program.py").write_text(UNHANDLED_INTERRUPT)
    np.save(tmp_path / "x.npy", np.zeros((50, 8), np.float32))
    arguments = [sys.executable, "-m", "program", "index", "x.npy", "-i", "x"]
    out = subprocess.run(arguments, capture_output=True, text=True, cwd=tmp_path)
    assert out.returncode == 130, out.stderr
    assert out.stderr.splitlines()[-1] == "Interrupted."


def test_interrupts_that_are_ignored_stay_ignored(tmp_path):
    np.save(tmp_path / "x.npy", np.random.default_rng(0).normal(size=(500, 8)).astype(np.float32))
    program = f"import signal; signal.signal(signal.SIGINT, signal.SIG_IGN){DROPPED_INTERRUPT}"
    arguments = ["index", "x.npy", "-i", "x", "--epochs", "1"]
    quick = program.replace("time.sleep(9)", "pass")
    out = subprocess.run(
        [sys.executable, "-c", quick, *arguments], capture_output=True, text=True, cwd=tmp_path
    )
    assert out.returncode == 0, out.stderr
    assert "500 added" in out.stderr


def test_two_indexes_must_be_told_apart(run, make_index):
    make_index("digits")
    make_index("vectors")
    out = run("info")
    assert out.returncode == 2
    assert "digits, vectors" in out.stderr


def test_numbers_and_fields_are_written_whole(run, make_index, vectors):
    path = make_index("vectors")
    fields = {"price": 1234567.89, "year": 2019.5, "distance": 7, "location": "here"}
    with hashret.open(path) as index:
        index.add([("a\tb", vectors[0], fields)])
    text = run("items", "-i", path, "--csv", "--where", "price > 0").stdout
    (row,) = csv.DictReader(io.StringIO(text))
    assert (row["key"], row["price"], row["year"]) == ("a\tb", "1234567.89", "2019.5")
    assert (row["distance"], row["location"]) == ("7", "here")
    found = run(
        "query", "--key", "a\tb", "-i", path, "-k", 1, "--csv", "--where", "price > 0"
    ).stdout
    (row,) = csv.DictReader(io.StringIO(found))
    assert (row["distance"], row["fields.distance"]) == ("0", "7")


def test_lines_of_stdin_may_be_any_names_and_a_bad_one_spoils_no_other(run, image_folder, tmp_path):
    import shutil

    folder = shutil.copytree(image_folder, tmp_path / "photos")
    odd = "photos/a #1\x0c\u2028.png"
    shutil.copy(folder / "1" / "001.png", tmp_path / odd)
    run("index", "photos", "-i", "p", "--bits", 16, "--epochs", 1)
    out = run(
        "query", "-", "-i", "p", "-k", 1, "--nl", stdin=f"{odd}\nnowhere.png\nphotos/1/001.png\n"
    )
    assert out.returncode == 1
    assert "nowhere.png" in out.stderr
    assert [json.loads(line)["query"] for line in out.stdout.split("\n")[:-1]] == [
        odd,
        "photos/1/001.png",
    ]


def test_the_same_command_may_be_given_again(run, idx_files, tmp_path):
    command = (
        "index",
        idx_files / "train-images-idx3-ubyte",
        "-i",
        "d",
        "--epochs",
        1,
        "--seed",
        3,
    )
    assert run(*command).returncode == 0
    again = run(*command)
    assert again.returncode == 0
    assert "300 unchanged" in again.stderr
    assert "change nothing" in again.stderr


def test_what_a_dead_run_left_is_no_index_and_is_swept(run, make_index, tmp_path, vectors):
    import shutil

    path = make_index("vectors")
    shutil.copytree(path, path.parent / ".new.unfinished-deadbeef")
    assert run("info").returncode == 0  # there is one index only
    np.save(tmp_path / "x.npy", vectors)
    assert run("index", "x.npy", "-i", "new", "--bits", 16, "--epochs", 1).returncode == 0
    assert {entry.name for entry in path.parent.iterdir()} == {"vectors", "new"}


def test_the_same_name_is_the_same_index_for_every_command(run, make_index, tmp_path, vectors):
    path = make_index("vectors")
    path.rename(tmp_path / "here")
    np.save(tmp_path / "x.npy", vectors[:5] + 1)
    out = run("index", "x.npy", "-i", "here", "--key-prefix", "x")
    assert "605 items in here" in out.stderr


def test_nothing_is_left_in_the_home(run, tmp_path, vectors):
    np.save(tmp_path / "x.npy", vectors[:100])
    home = tmp_path / "home"
    home.mkdir()
    elsewhere = {"HOME": str(home), "MPLCONFIGDIR": str(tmp_path / "fonts")}
    assert run("index", "x.npy", "-i", "x", "--epochs", 1, **elsewhere).returncode == 0
    assert list(home.iterdir()) == []
