"""An index of texts, from learning to the command line."""

import json
import os
import shutil

import numpy as np
import pytest
from import_probe import HEAVY, imported
from sample_texts import TEXTS

import hashret
from hashret.errors import DamagedIndexError, InputError, UsageError
from hashret.index import encoding
from hashret.index.encoding import learned_features, training_matrix
from hashret.progress import no_progress
from hashret.sources import open_paths, open_source
from hashret.sources.pairs import PairSource

METHODS = ["tfidf", "counts", "wordllama"]
ROWS = [(f"t{n}", text, {"label": n % 4}) for n, text in enumerate(TEXTS)]
QUERY = "The violin hears a melody and the trumpet"


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("texts")
    for method in METHODS:
        hashret.create(
            folder / method, ROWS, 32, features=method, epochs=20, random_state=0
        ).close()
    return folder


@pytest.fixture
def text_index(trained, tmp_path):
    def copy(method):
        return shutil.copytree(trained / method, tmp_path / "indexes" / method)

    return copy


@pytest.mark.parametrize("method", METHODS)
def test_every_text_finds_itself(text_index, method):
    with hashret.open(text_index(method)) as index:
        assert (len(index), index.kind) == (300, "text")
        for key, text, _ in ROWS:
            hits = index.query(text, radius=0, limit=None)
            assert key in [hit.key for hit in hits]
        several = index.query_many([text for _, text, _ in ROWS], radius=0, limit=None)
        assert all(
            key in [hit.key for hit in one] for (key, _, _), one in zip(ROWS, several, strict=True)
        )


@pytest.mark.parametrize("method", METHODS)
def test_words_find_texts_of_their_subject(text_index, method):
    with hashret.open(text_index(method)) as index:
        labels = [hit.fields["label"] for hit in index.query(QUERY, limit=20)]
    assert labels.count(2) > 10


def test_add_update_remove_and_verify(text_index):
    with hashret.open(text_index("tfidf")) as index:
        report = index.add([("new", QUERY), ("t0", "the oven and the flour"), ROWS[1]])
        assert (report.added, report.updated, report.unchanged) == (1, 1, 1)
        assert index.query(QUERY, limit=1, where="key = 'new'")[0].distance == 0
        report = index.add([("blank", "   "), ("unknown", "!?")])
        assert [(one.name, one.reason) for one in report.skipped] == [
            ("blank", "holds no text"),
            ("unknown", "holds no word that these features know"),
        ]
        index.remove("new")
        assert index.verify().problems == []
        assert len(index) == 300


@pytest.mark.parametrize("method", METHODS)
def test_a_changed_file_of_the_features_is_refused(text_index, method):
    path = text_index(method)
    for name in ("features.json", "features.npy"):
        file = path / "encoder" / name
        if not file.exists():
            assert (method, name) != ("tfidf", "features.npy")
            continue
        content = file.read_bytes()
        for damaged in (content[:-1], content[:-9] + b"\x01" + content[-8:], b""):
            file.write_bytes(damaged)
            with hashret.open(path) as index:
                with pytest.raises(DamagedIndexError, match=name):
                    index.query(QUERY)
                assert name in index.verify().problems[0]
        file.unlink()
        with hashret.open(path) as index, pytest.raises(DamagedIndexError, match=name):
            index.query(QUERY)
        file.write_bytes(content)


def test_a_path_is_words_to_an_index_of_texts(text_index, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "violin").write_text("the oven and the flour")
    with hashret.open(text_index("tfidf")) as index:
        np.testing.assert_array_equal(index.encode(["violin"]), index.encode(["VIOLIN!"]))
        with pytest.raises(InputError, match="Expected text"):
            index.query(tmp_path / "violin")


def test_sources_of_texts():
    (one, two) = open_source([("a", "some words", {"n": 1}), ("b", "others")])
    assert (one.key, one.value, one.fields, two.value) == ("a", "some words", {"n": 1}, "others")
    source = open_source(["x.png", "two words"], kind="text")
    assert [(item.key, item.value) for item in source] == [("0", "x.png"), ("1", "two words")]
    assert source.description == "2 texts given"
    assert open_source([("a", "b")]).description == "1 text given"
    assert [item.key for item in open_source(["a"], kind="text", key_prefix="p")] == ["p0"]
    assert [item.value for item in open_source(np.array(["a", "b"]), kind="text")] == ["a", "b"]
    assert [item.value for item in open_source([("a", "x.png")], kind="text")] == ["x.png"]


@pytest.mark.parametrize(
    ("source", "error"),
    [
        ([("a", "words"), ("b", 3)], "'b', got int"),
        ([("a", b"words")], "'a', got bytes"),
        ([("a", None)], "'a', got NoneType"),
        (np.zeros(3), "Item 0 is of type float64, expected text"),
        (["words"] * 50 + [None], "Item 50 is None, expected text"),
        (np.array(["words", None], object), "Item 1 is None, expected text"),
    ],
)
def test_what_is_no_text_is_refused_by_name(source, error):
    with pytest.raises(InputError, match=error):
        open_source(source, kind="text")


def test_strings_are_paths_without_the_kind_and_on_the_command_line():
    for opened in (lambda: open_source(["a", "b"]), lambda: open_paths(["a", "b"], "text")):
        with pytest.raises(InputError, match="No such file or folder: a"):
            opened()


def test_features_are_learned_from_more_than_images_would_be():
    texts = [f"word{n}a word{n}b word{n}a word{n}b common" for n in range(1500)] * 3
    source = open_source(texts, kind="text")
    features = learned_features(source, np.random.default_rng(0), "counts", no_progress)
    assert len(features.words) > 2000


@pytest.mark.parametrize("method", METHODS)
def test_few_texts_are_read_once_to_learn_from_them(method, monkeypatch):
    class Counted(PairSource):
        n_read = 0

        def _items(self, positions):
            for item in super()._items(positions):
                self.n_read += 1
                yield item

    source = Counted([(str(n), f"word{n % 80} word{n % 9} cat") for n in range(3000)], "text")
    found = training_matrix(source, np.random.default_rng(0), no_progress, method=method)
    assert source.n_read == source.length
    monkeypatch.setattr(encoding, "CHUNK_BYTES", 10_000)
    again = training_matrix(source, np.random.default_rng(0), no_progress, method=method)
    assert np.array_equal(found[1], again[1])
    assert found[0].to_json() == again[0].to_json()


def test_words_that_are_learned_are_told_of_to_the_last_and_no_others():
    source = open_source([f"word{n} word{n % 9}" for n in range(5000)], kind="text")
    told = {}
    for method in METHODS:
        told[method] = []
        learned_features(source, np.random.default_rng(0), method, told[method].append)
    assert [(one.done, one.total) for one in told["tfidf"]] == [(4096, 5000), (5000, 5000)]
    assert told["counts"] == told["tfidf"]
    assert told["wordllama"] == []


def test_a_method_for_texts_is_refused_elsewhere(tmp_path, vectors):
    with pytest.raises(UsageError, match="is for texts; these are vectors"):
        hashret.create(tmp_path / "x", vectors, 32, features="tfidf")
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("method", METHODS)
def test_the_command_line_asks_by_words(text_index, run, method, tmp_path):
    path = text_index(method)
    out = run("query", QUERY, "-i", path, "-k", 3, "--json")
    assert out.returncode == 0, out.stderr
    alone = json.loads(out.stdout)
    assert len(alone) == 3
    # "t7" is a key, and here it is a word like any other.
    out = run("query", "-", "-i", path, "-k", 3, "--json", stdin=f"{QUERY}\n\nt7 cat\n")
    assert out.returncode == 0, out.stderr
    rows = json.loads(out.stdout)
    assert [row["query"] for row in rows] == [QUERY] * 3 + ["t7 cat"] * 3
    assert [row["key"] for row in rows[:3]] == [row["key"] for row in alone]
    out = run("query", "  ", "-i", path)
    assert (out.returncode, "holds no text" in out.stderr) == (1, True)
    (tmp_path / "latin.txt").write_bytes("a violin, très cher".encode("latin-1"))
    out = run("query", "--file", tmp_path / "latin.txt", "-i", path)
    assert (out.returncode, "--encoding" in out.stderr) == (1, True)
    out = run("query", "--file", tmp_path / "latin.txt", "--encoding", "latin-1", "-i", path)
    assert out.returncode == 0, out.stderr
    out = run("info", "-i", path)
    assert (
        "English" if method == "wordllama" else "words" if method == "counts" else "TF-IDF"
    ) in out.stdout


def test_an_index_keeps_the_features_it_has(text_index, run, tmp_path):
    (tmp_path / "a.txt").write_text("the violin\nthe oven\n")
    path = text_index("tfidf")
    out = run("index", tmp_path / "a.txt", "-i", path, "--features", "wordllama")
    assert (out.returncode, "was made with --features tfidf" in out.stderr) == (2, True)
    for method in ("tfidf", "auto"):
        out = run("index", tmp_path / "a.txt", "-i", path, "--features", method)
        assert (out.returncode, "2 skipped" in out.stderr) == (0, False), out.stderr
    assert "became" not in out.stderr
    out = run("index", tmp_path / "a.txt", "-i", tmp_path / "new", "--recipe", "lsh")
    assert "Texts became means of wordllama's" in out.stderr


def test_the_command_line_survives_bytes_that_are_no_text(text_index):
    import subprocess
    import sys

    out = subprocess.run(
        [sys.executable, "-m", "hashret", "query", "-", "-i", text_index("tfidf"), "--json"],
        input=b"cat \xff\xfe dog\n",
        capture_output=True,
        env={**os.environ, "PYTHONIOENCODING": "utf-8"},
    )
    assert out.returncode == 0, out.stderr


def test_what_looks_at_a_whole_index_knows_texts(text_index, run):
    path = text_index("counts")
    out = run("reconstruct", QUERY, "-i", path)
    assert out.returncode == 0, out.stderr
    assert len(out.stdout.split()) == 10
    assert set(out.stdout.split()) & {"violin", "melody", "trumpet"}
    assert run("reconstruct", QUERY, "-i", path, "-o", "x.png").returncode == 2
    out = run("duplicates", "-r", 0, "-i", path)
    assert out.returncode == 0, out.stderr
    out = run("outliers", "-i", path)
    assert (out.returncode, "came from Python" in out.stderr) == (1, True)
    with hashret.open(path) as index:
        assert len(index.outliers(ROWS[:20], limit=5)) == 5
        from hashret.evaluation import evaluate

        report = evaluate(index, open_source(ROWS[:40]), sample=20)
        assert report is not None
    out = run("reconstruct", QUERY, "-i", text_index("wordllama"))
    assert (out.returncode, "cannot be put into words" in out.stderr) == (2, True)


@pytest.mark.parametrize("method", METHODS)
def test_a_query_by_words_imports_no_learning_library(text_index, method):
    path = text_index(method)
    code = (
        "from hashret.cli import cli\n"
        f"cli.main(['query', {QUERY!r}, '-i', {str(path)!r}], standalone_mode=False)"
    )
    assert imported(code, *HEAVY, "PIL", "wordllama", "pydantic") == []


def test_kept_vectors_rerank(tmp_path):
    with hashret.create(
        tmp_path / "x", ROWS, 32, features="tfidf", epochs=3, random_state=0, keep_vectors=True
    ) as index:
        hits = index.query(TEXTS[5], limit=3, rerank=True)
        assert hits[0].vector_distance < 0.01
        assert len(index.outliers(limit=4)) == 4


def test_counts_are_decoded_as_shares(text_index):
    with hashret.open(text_index("counts")) as index:
        learned = index.info()["learned_from"]
        assert learned["reconstruction_loss"] == "multinomial"
        row = index.reconstruct(index["t0"].code)[0]
        assert row.sum() == pytest.approx(1, abs=1e-4)


def test_texts_of_another_encoding_are_read_again_and_pruned(text_index, tmp_path):
    folder = tmp_path / "latin"
    folder.mkdir()
    for n in range(3):
        (folder / f"{n}.txt").write_bytes(f"the oven, the flour and the café {n}".encode("latin-1"))
    with hashret.open(text_index("tfidf")) as index:
        index.remove([key for key, _, _ in ROWS])
        source = open_source(folder, encoding="latin-1")
        assert index.add(source).added == 3
        assert index[f"{folder}/0.txt"].location == f"{folder}/0.txt?encoding=latin-1"
        found = index.outliers()
        assert (found.measured, found.skipped) == (3, [])
        (folder / "1.txt").unlink()
        report = index.add(open_source(folder, encoding="latin-1"), prune=True)
        assert (report.unchanged, report.pruned) == (2, 1)
