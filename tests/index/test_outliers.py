"""Outliers: what the codes describe worst, of new data and of the index's own items."""

import csv
import json
import shutil

import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import roc_auc_score

import hashret
from hashret.encoder.scaling import Scaling
from hashret.errors import InputError, UsageError
from hashret.sources import open_source

LEFT_OUT = 0


@pytest.fixture(scope="module")
def files(tmp_path_factory, digits, digit_labels):
    """Digits without one class to learn from, and some of all classes, as array files."""
    folder = tmp_path_factory.mktemp("novelty")
    seen = np.flatnonzero(digit_labels[:1200] != LEFT_OUT)
    np.save(folder / "seen.npy", digits[seen])
    np.save(folder / "seen_labels.npy", digit_labels[seen])
    np.save(folder / "new.npy", digits[1200:])
    np.save(folder / "new_labels.npy", digit_labels[1200:])
    return folder


@pytest.fixture(scope="module")
def learned(files):
    hashret.create(files / "index", files / "seen.npy", 32, epochs=25, random_state=0).close()
    return files / "index"


@pytest.fixture
def index(learned, tmp_path):
    with hashret.open(shutil.copytree(learned, tmp_path / "index")) as index:
        yield index


def measured(index, rows):
    """Errors by the definition, from the codes and what the decoder makes of them."""
    codes = index.encoder.runtime.encode(rows)
    scaling = Scaling.measure(np.load(index.info()["sources"][0]).reshape(-1, 64) / np.float32(255))
    difference = (rows.astype(float) - index.reconstruct(codes)) * scaling.scale
    return (difference**2).mean(axis=1)


def test_a_class_that_was_never_seen_is_reconstructed_worse(index, files, digit_labels):
    found = index.outliers(files / "new.npy", limit=None)
    unseen = np.array([outlier.fields["label"] == LEFT_OUT for outlier in found])
    errors = np.array([outlier.error for outlier in found])
    assert found.measured == len(found) == len(digit_labels) - 1200
    assert errors[unseen].mean() > 1.2 * errors[~unseen].mean()
    assert roc_auc_score(unseen, errors) > 0.7


def test_errors_are_those_of_the_reconstruction_and_the_worst_come_first(index, files, digits):
    rows = (digits[1200:] / np.float32(255)).reshape(-1, 64)
    errors = measured(index, rows)
    found = index.outliers(files / "new.npy", limit=15)
    order = np.argsort(-errors, kind="stable")[:15]
    assert [outlier.key for outlier in found] == [str(row) for row in order]
    np.testing.assert_allclose([outlier.error for outlier in found], errors[order], rtol=1e-6)
    assert [outlier.rank for outlier in found] == list(range(1, 16))
    assert found[0].location == f"{files / 'new.npy'}#{order[0]}"
    assert found.measured == len(rows)
    assert len(index) == len(np.load(files / "seen.npy"))  # nothing was stored


def test_the_index_reads_its_own_items_again(index, files):
    rows = np.load(files / "seen.npy").reshape(-1, 64) / np.float32(255)
    index.remove(["5", "17"])
    kept = np.setdiff1d(np.arange(len(rows)), [5, 17])
    errors = measured(index, rows)
    order = kept[np.argsort(-errors[kept], kind="stable")[:20]]
    notes = []
    found = index.outliers(progress=notes.append)
    assert [outlier.key for outlier in found] == [str(row) for row in order]
    assert found[0].fields == index[found[0].key].fields != {}
    assert found[0].location == index[found[0].key].location
    assert found.measured == len(index)
    assert (notes[-1].stage, notes[-1].done) == ("reading", len(index))


@pytest.mark.parametrize("limit", [1, 6, 50])
def test_blocks_make_no_difference_and_equal_errors_keep_their_order(
    index, digits, monkeypatch, limit
):
    values = digits[np.tile(np.arange(1200, 1220), 3)]
    whole = index.outliers(values, limit)
    monkeypatch.setattr("hashret.index.encoding.CHUNK_ITEMS", 7)
    assert list(index.outliers(values, limit)) == list(whole)
    assert len(whole) == limit
    every = index.outliers(values, None)
    rank = {outlier.key: outlier.rank for outlier in every}
    for row in range(20):
        assert rank[str(row)] + 2 == rank[str(row + 20)] + 1 == rank[str(row + 40)]


def test_only_the_worst_are_held(index, digits, monkeypatch):
    from hashret.index.outliers import _Ranking

    monkeypatch.setattr("hashret.index.encoding.CHUNK_ITEMS", 10)
    held = []
    add = _Ranking.add

    def watched(self, items, matrix):
        add(self, items, matrix)
        held.append(len(self._worst))

    monkeypatch.setattr(_Ranking, "add", watched)
    index.outliers(digits[:100], 4)
    assert held == [4] * 10


def test_what_cannot_be_read_is_named(index, tmp_path, digits, image_folder, make_index):
    home = tmp_path / "pictures"
    home.mkdir()
    for number in range(4):
        Image.fromarray(digits[number]).save(home / f"{number}.png")
    (home / "9.png").write_bytes(b"no image")
    with hashret.open(make_index("photos")) as photos:
        found = photos.outliers([home, image_folder])
        assert found.measured == 104
        assert [one.name for one in found.skipped] == [str(home / "9.png")]
        assert all(outlier.location == outlier.key for outlier in found)
    with pytest.raises(InputError, match="holds images, but the source holds vectors"):
        index.outliers(open_source(np.zeros((3, 64))))


def test_items_from_python_need_kept_vectors(vectors_index, tmp_path, vectors):
    with pytest.raises(InputError, match="came from Python.*keep_vectors=True"):
        vectors_index.outliers()
    strange = np.append(vectors[:200], 9 * np.ones((1, 12), np.float32), axis=0)
    options = {"epochs": 2, "random_state": 0, "keep_vectors": True}
    with hashret.create(tmp_path / "kept", strange, 16, **options) as kept:
        own = kept.outliers(limit=5)
        assert own[0].key == "200"
        assert own[0].location is None
        again = kept.outliers(strange, limit=5)
        assert [one.key for one in own] == [one.key for one in again]
        np.testing.assert_allclose(
            [one.error for one in own], [one.error for one in again], rtol=1e-2
        )


@pytest.mark.parametrize("limit", [0, -1, True, "all", 2.5])
def test_an_impossible_limit_is_refused(index, digits, limit):
    for source in (None, digits[:3]):
        with pytest.raises(UsageError, match="limit must be"):
            index.outliers(source, limit)


def test_errors_are_in_the_units_of_the_network(vectors):
    # The same data in other units: the same errors, whatever the offset.
    fitted = {"n_bits": 16, "epochs": 2, "random_state": 0, "validation_fraction": 0}
    plain = hashret.SemanticHasher(**fitted).fit(vectors)
    errors = plain.reconstruction_error(vectors)
    assert errors.dtype == np.float64
    assert errors.shape == (600,)
    scaling = Scaling.measure(vectors)
    drawn = plain.reconstruct(plain.transform(vectors))
    expected = ((scaling.apply(vectors) - scaling.apply(drawn)) ** 2).mean(axis=1)
    np.testing.assert_allclose(errors, expected, rtol=1e-4)
    assert 0.05 < errors.mean() < 2  # of features whose mean square is 1


def test_counts_are_compared_as_shares():
    rng = np.random.default_rng(0)
    counts = rng.poisson(3, size=(300, 10)).astype(np.float32)
    counts[0] = 0
    hasher = hashret.SemanticHasher(
        16, epochs=1, random_state=0, reconstruction_loss="multinomial"
    ).fit(counts)
    sums = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, sums, out=np.zeros_like(counts), where=sums > 0)
    drawn = hasher.reconstruct(hasher.transform(counts))
    np.testing.assert_allclose(
        hasher.reconstruction_error(counts), ((shares - drawn) ** 2).mean(axis=1), rtol=1e-4
    )


def test_the_command_line_lists_them(run, index, files):
    found = index.outliers(files / "new.npy", limit=3)
    asked = ("outliers", "-i", index.path, "-k", 3)
    shown = run(*asked, files / "new.npy", "--json")
    assert json.loads(shown.stdout) == [outlier.to_dict() for outlier in found], shown.stderr
    assert "597 items" in shown.stderr
    paths = run(*asked, files / "new.npy", "--paths")
    assert paths.stdout.split() == [outlier.location for outlier in found]
    own = run(*asked, "--csv")
    rows = list(csv.DictReader(own.stdout.splitlines()))
    assert list(rows[0]) == ["rank", "error", "key", "label"]
    assert [row["key"] for row in rows] == [outlier.key for outlier in index.outliers(limit=3)]


def test_the_command_line_names_what_it_skips(run, make_index, image_folder, tmp_path):
    shutil.copytree(image_folder, tmp_path / "pictures")
    (tmp_path / "pictures" / "bad.png").write_bytes(b"no image")
    path = make_index("photos")
    shown = run("outliers", "-i", path, "pictures", "-k", 2, "--strict")
    assert shown.returncode == 3
    assert "Skipped" in shown.stderr
    assert "bad.png" in shown.stderr
    refused = run("outliers", "-i", path, "--key-prefix", "x")
    assert refused.returncode == 2
