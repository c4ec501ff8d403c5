"""What goes into an index from its sources: what stays, moves, is recognized and is pruned."""

import shutil
import sqlite3
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import hashret
from hashret.errors import UsageError
from hashret.features import ImageFeatures
from hashret.index.encoding import training_matrix
from hashret.sources import content_hash, open_source
from hashret.store import ItemWriter


def contents(index) -> dict[str, dict]:
    return {item.key: item.fields for item in index.items()}


def on_disk(*folders: Path) -> set[str]:
    return {str(path) for folder in folders for path in folder.rglob("*.png")}


@pytest.fixture
def photos(tmp_path, image_folder) -> Path:
    """Folders of images whose names begin with each other's."""
    home = tmp_path / "home"
    files = sorted(image_folder.rglob("*.png"))
    for number, name in enumerate(["a", "a b", "ab", "a/b", "a/b/c", "a0", "."]):
        (home / name).mkdir(parents=True, exist_ok=True)
        for path in files[number * 4 : number * 4 + 4]:
            shutil.copy(path, home / name / path.name)
    return home


@pytest.fixture
def index(tmp_path, photos) -> hashret.Index:
    with hashret.create(tmp_path / "index", photos, 16, epochs=1, random_state=0) as index:
        yield index


def drawing(path: Path, shade: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((8, 8), shade, dtype=np.uint8)).save(path)
    return path


# Prune


def test_only_what_is_gone_below_the_folder_is_pruned(index, photos):
    rng = np.random.default_rng(0)
    for folder in ("a", "a/b", "a b", "."):
        victims = rng.choice(sorted(photos.rglob("*.png")), 3, replace=False)
        for path in victims:
            path.unlink()
        before = set(contents(index))
        below = {key for key in before if key.startswith(f"{(photos / folder).resolve()}/")}
        if not on_disk(photos / folder):
            continue
        report = index.add(photos / folder, prune=True)
        expected = (before - below) | on_disk(photos / folder)
        assert set(contents(index)) == expected
        assert report.pruned == len(before - expected)
        assert report.added == 0
    assert set(contents(index)) == on_disk(photos)
    assert index.verify().ok


def test_without_prune_nothing_is_removed(index, photos):
    next(photos.rglob("*.png")).unlink()
    assert index.add(photos).pruned == 0
    assert len(index) == len(on_disk(photos)) + 1


def test_files_once_given_alone_or_with_another_folder_are_pruned_too(index, photos):
    alone = drawing(photos / "z" / "alone.png", 10)
    drawing(photos / "z" / "other.png", 20)
    index.add(alone)
    index.add(photos / "z")
    shutil.rmtree(photos / "z")
    assert index.add(photos, prune=True).pruned == 2
    assert set(contents(index)) == on_disk(photos)


def test_pruned_items_of_segments_are_not_found_again(index, photos):
    index.compact()
    gone = sorted(photos.rglob("*.png"))[::3]
    codes = [index[str(path)].code for path in gone]
    for path in gone:
        path.unlink()
    assert index.add(photos, prune=True).pruned == len(gone)
    for path, code in zip(gone, codes, strict=True):
        assert str(path) not in [hit.key for hit in index.query_code(code, limit=None, radius=16)]
    assert index.verify().ok


def test_what_cannot_be_read_is_not_pruned(index, photos, monkeypatch):
    before = set(contents(index))
    broken, link, vanishing = sorted((photos / "a b").iterdir())[:3]
    broken.write_bytes(b"not an image")
    link.unlink()
    link.symlink_to("nowhere")
    from hashret.sources import images

    read = images.read_image_bytes

    def vanish(path):
        vanishing.unlink(missing_ok=True)
        return read(path)

    monkeypatch.setattr(images, "read_image_bytes", vanish)
    report = index.add(photos / "a b", prune=True)
    assert {Path(one.name).name for one in report.skipped} == {
        path.name for path in (broken, link, vanishing)
    }
    assert report.pruned == 0
    assert set(contents(index)) == before


def test_a_folder_that_cannot_be_listed_is_not_pruned(index, photos, monkeypatch):
    before = set(contents(index))
    hidden = str((photos / "a" / "b").resolve())
    from hashret.sources import images

    walk = images.os.walk

    def forbidding(top, onerror):
        for folder, subfolders, names in walk(top, onerror=onerror):
            if folder.startswith(hidden):
                onerror(PermissionError(13, "Permission denied", folder))
                subfolders.clear()
                continue
            yield folder, subfolders, names

    monkeypatch.setattr(images.os, "walk", forbidding)
    report = index.add(photos, prune=True)
    assert hidden in [one.name for one in report.skipped]
    assert report.pruned == 0
    assert set(contents(index)) == before


def test_a_folder_that_became_a_link_to_nothing_is_not_pruned(index, photos, tmp_path):
    before = set(contents(index))
    (photos / "a" / "b").rename(tmp_path / "moved")
    (photos / "a" / "b").symlink_to(tmp_path / "away")
    report = index.add(photos, prune=True)
    assert [one.reason for one in report.skipped] == ["a broken symbolic link"]
    assert report.pruned == 0
    assert set(contents(index)) == before
    (photos / "a" / "b").unlink()
    assert index.add(photos, prune=True).pruned == len(before - on_disk(photos)) > 0


@pytest.mark.parametrize("state", ["empty", "missing"])
def test_a_source_that_is_empty_or_missing_prunes_nothing(index, photos, state):
    before = set(contents(index))
    shutil.rmtree(photos / "a b")
    if state == "empty":
        (photos / "a b").mkdir()
    with pytest.raises(hashret.InputError):
        index.add(photos / "a b", prune=True)
    assert set(contents(index)) == before


def test_rows_an_array_file_has_lost_are_pruned_and_no_others(make_index, vectors, tmp_path):
    file, other = tmp_path / "rows.npy", tmp_path / "more.npy"
    np.save(file, vectors[:50])
    np.save(other, vectors[:40])
    with hashret.open(make_index("vectors")) as index:
        untouched = set(contents(index))
        index.add([file, other], key_prefix="{stem}:")
        broken = vectors[:20].copy()
        broken[3] = np.nan
        np.save(file, broken)
        report = index.add([file, other], key_prefix="{stem}:", prune=True)
        assert (report.pruned, len(report.skipped), report.unchanged) == (30, 1, 59)
        assert set(contents(index)) - untouched == {
            *(f"rows:{row}" for row in range(20)),
            *(f"more:{row}" for row in range(40)),
        }


def test_rows_named_by_the_file_are_pruned_by_name(make_index, vectors, tmp_path):
    file = tmp_path / "named.npz"
    names = [f"n{row}" for row in range(9)]
    np.savez(file, X=vectors[:9], keys=names)
    with hashret.open(make_index("vectors")) as index:
        index.add(file)
        order = [7, 2, 5]
        np.savez(file, X=vectors[order], keys=[names[row] for row in order])
        assert index.add(file, prune=True).pruned == 6
        assert {key for key in index if key.startswith("n")} == {"n7", "n2", "n5"}
        assert index["n5"].location == f"{file}#2"


def test_python_data_cannot_be_pruned(vectors_index, vectors):
    with pytest.raises(UsageError, match="Python"):
        vectors_index.add(vectors[:5], prune=True)
    with pytest.raises(UsageError, match="Python"):
        vectors_index.add([("a", vectors[0])], prune=True)
    assert len(vectors_index) == 600


# Renamed files


@pytest.mark.parametrize("keep", [False, True])
def test_a_renamed_file_takes_its_code_without_being_decoded(tmp_path, photos, monkeypatch, keep):
    with hashret.create(
        tmp_path / "i", photos, 16, epochs=1, random_state=0, keep_vectors=keep
    ) as index:
        old = sorted(str(path) for path in (photos / "a b").iterdir())
        codes = [index[key].code.tolist() for key in old]
        vectors = index.vectors(old) if keep else None
        (photos / "a b").rename(photos / "new")
        new = [key.replace("a b", "new") for key in old]
        drawn = []
        matrix = ImageFeatures.matrix
        monkeypatch.setattr(
            ImageFeatures, "matrix", lambda self, v: drawn.extend(v) or matrix(self, v)
        )
        report = index.add(photos, prune=True)
        assert drawn == []
        assert (report.added, report.recognized, report.pruned) == (len(old),) * 3
        assert [index[key].code.tolist() for key in new] == codes
        assert index[new[0]].fields == {"label": "new"}
        assert not any(key in index for key in old)
        if keep:
            assert np.array_equal(index.vectors(new), vectors)
        drawing(photos / "unknown.png", 99)
        report = index.add(photos)
        assert (report.added, report.recognized, len(drawn)) == (1, 0, 1)
        assert index.verify().ok


def test_files_that_swap_their_names_swap_their_codes(index, photos):
    one, other = sorted((photos / "a").glob("*.png"))[:2]
    codes = [index[str(path)].code.tolist() for path in (one, other)]
    one.rename(photos / "x")
    other.rename(one)
    (photos / "x").rename(other)
    assert index.add(photos).updated == 2
    assert [index[str(path)].code.tolist() for path in (other, one)] == codes
    assert index.verify().ok


def test_the_code_of_a_damaged_item_is_not_passed_on(index, photos):
    path = next((photos / "ab").iterdir())
    digest = content_hash(path.read_bytes())
    connection = sqlite3.connect(index.path / "items.db", isolation_level=None)
    writer = ItemWriter(index.path / "items.db", connection)
    assert writer.files_with([digest])[digest][1] == index[str(path)].code.tobytes()
    connection.execute("update items set code = x'0000' where key = ?", [str(path)])
    assert writer.files_with([digest]) == {}
    connection.close()


# Where items belong


def test_labels_survive_however_often_a_part_is_given_alone(index, photos):
    before = contents(index)
    part = next((photos / "a").glob("*.png"))
    for source in (photos / "a b", part, photos / "a b", part, photos / "a b"):
        report = index.add(source)
        assert report.updated == 0
        assert contents(index) == before
    assert index.add(photos).updated == 0


def test_a_copy_of_a_file_takes_items_only_when_the_first_is_gone(make_index, vectors, tmp_path):
    first, copy = tmp_path / "first.npy", tmp_path / "copy.npy"
    np.save(first, vectors)
    shutil.copy(first, copy)
    with hashret.open(make_index("vectors")) as index:
        index.add(first)
        assert index.add(copy).unchanged == 600
        assert index["3"].location == f"{first}#3"
        first.unlink()
        assert index.add(copy).unchanged == 600
        assert index["3"].location == f"{copy}#3"


# The command line


def test_prune_and_renamed_files_from_the_shell(run, make_index, image_folder, tmp_path):
    folder = shutil.copytree(image_folder, tmp_path / "photos")
    index = tmp_path / "i"
    assert run("index", folder, "-i", index, "--epochs", 1).returncode == 0
    (folder / "0").rename(folder / "zero")
    gone = next((folder / "1").iterdir())
    gone.unlink()
    n = len(list((folder / "zero").iterdir()))
    out = run("index", folder, "-i", index, "--prune")
    assert out.returncode == 0, out.stderr
    assert (
        f"{n} added ({n} known by content), 0 updated, {99 - n} unchanged, {n + 1} pruned, "
        "0 skipped: 99 items" in out.stderr
    )


@pytest.mark.parametrize("n_keys", [1200, 20])
def test_words_are_learned_only_where_features_are_learned(n_keys):
    pytest.importorskip("wordllama")
    rows = [{"id": f"k{n % n_keys}", "text": f"words of number {n}"} for n in range(1200)]
    source = open_source(rows, id_column="id")
    stages = {}
    for method in ("auto", "wordllama", "tfidf"):
        told = []
        training_matrix(source, np.random.default_rng(0), told.append, method=method)
        stages[method] = {progress.stage for progress in told}
    assert stages == {
        "auto": {"reading"},
        "wordllama": {"reading"},
        "tfidf": {"features", "reading"},
    }
