"""Folders of images and single image files."""

import os
import shutil
from pathlib import Path

import pytest
from PIL import Image

from hashret.errors import InputError, UsageError
from hashret.sources import images as images_module
from hashret.sources import open_source, read_value


def save(path, level=0, size=(8, 8)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", size, level).save(path, "PNG")
    return path


def names(source, root):
    return [str(Path(item.key).relative_to(root)) for item in source]


def test_keys_values_and_labels(tmp_path):
    for name in ("b/2.png", "b/deep/1.PNG", "a/9.png", "top.png"):
        save(tmp_path / name, level=len(name))
    source = open_source(tmp_path)
    items = list(source)
    assert names(items, tmp_path) == ["a/9.png", "b/2.png", "b/deep/1.PNG", "top.png"]
    assert [dict(item.fields) for item in items] == [
        {"label": "a"},
        {"label": "b"},
        {"label": "b"},
        {},
    ]
    for item in items:
        assert item.value == Path(item.key).read_bytes()
        assert item.position is None
    assert (source.kind, source.length, source.skipped) == ("images", 4, [])
    assert source.location == tmp_path.resolve().as_posix()
    assert source.description == f"4 images in {tmp_path}, labelled by 2 sub-folders"


def test_keys_are_absolute_however_the_folder_is_named(tmp_path, monkeypatch):
    save(tmp_path / "data/x.png")
    (tmp_path / "link").symlink_to(tmp_path / "data")
    monkeypatch.chdir(tmp_path)
    expected = [(tmp_path / "data/x.png").resolve().as_posix()]
    for given in ("data", "./data/", "data/../data", "link", Path("data"), str(tmp_path / "link")):
        assert [item.key for item in open_source(given)] == expected
    for given in ("data/x.png", "link/x.png"):
        assert [item.key for item in open_source(given)] == expected
        assert open_source(given).location == expected[0]


def test_other_and_hidden_files_are_left_alone_and_others_counted(tmp_path):
    save(tmp_path / "x.png")
    save(tmp_path / ".hidden.png")
    save(tmp_path / ".cache/y.png")
    for name in ("a.txt", "b.txt", "c.heic", "README"):
        (tmp_path / name).write_text("no image")
    source = open_source(tmp_path)
    assert names(source, tmp_path) == ["x.png"]
    assert source.ignored == 4
    assert source.description == (
        f"1 image in {tmp_path}; 4 other files ignored (2 .txt, 1 without suffix, 1 .heic)"
    )


@pytest.mark.parametrize(
    "name", ["ü ß 日本.png", "two\nlines.png", "quote'\".png", "a#1.png", "%.png"]
)
def test_names_of_any_characters(tmp_path, name):
    path = save(tmp_path / "höhe" / name)
    (item,) = open_source(tmp_path)
    assert item.key == path.as_posix()
    assert read_value(item.key) == path.read_bytes()
    assert item.fields == {"label": "höhe"}


def test_a_name_that_is_not_utf8_is_skipped_by_name(tmp_path):
    save(tmp_path / "good.png")
    path = os.fsencode(tmp_path) + b"/caf\xe9.png"
    shutil.copyfile(tmp_path / "good.png", path)
    source = open_source(tmp_path)
    assert names(source, tmp_path) == ["good.png"]
    (skipped,) = source.skipped
    assert skipped.name.endswith("caf\\udce9.png")
    assert "UTF-8" in skipped.reason
    skipped.name.encode()


def test_what_cannot_be_read_is_skipped_by_name_with_the_reason(tmp_path, monkeypatch):
    for name in ("a/1.png", "b/2.png", "c/3.png"):
        save(tmp_path / name)
    (tmp_path / "b/broken.png").symlink_to(tmp_path / "gone.png")
    (tmp_path / "b/loop.png").symlink_to(tmp_path / "b/loop.png")
    os.mkfifo(tmp_path / "b/pipe.png")
    save(tmp_path / "b/x.png/inside.png")
    usual = os.open

    def refuse(path, *arguments, **options):
        if os.fspath(path).endswith("2.png"):
            raise PermissionError(13, "Permission denied")
        return usual(path, *arguments, **options)

    monkeypatch.setattr(os, "open", refuse)
    source = open_source(tmp_path)
    for _ in range(2):  # The second iteration starts with an empty list.
        items = list(source)
        assert names(items, tmp_path) == ["a/1.png", "b/x.png/inside.png", "c/3.png"]
        assert [item.fields["label"] for item in items] == ["a", "b", "c"]
        assert [(Path(s.name).name, s.reason) for s in source.skipped] == [
            ("2.png", "permission denied"),
            ("broken.png", "a broken symbolic link"),
            ("loop.png", "too many levels of symbolic links"),
            ("pipe.png", "not a regular file"),
        ]


def test_a_file_that_vanishes_after_listing_is_skipped(tmp_path):
    save(tmp_path / "a.png")
    save(tmp_path / "b.png")
    source = open_source(tmp_path)
    (tmp_path / "a.png").unlink()
    assert names(source, tmp_path) == ["b.png"]
    assert [skipped.reason for skipped in source.skipped] == ["no such file"]


def test_a_file_beyond_the_limit_is_skipped(tmp_path, monkeypatch):
    save(tmp_path / "a.png")
    monkeypatch.setattr(images_module, "MAX_FILE_BYTES", 10)
    source = open_source(tmp_path)
    assert list(source) == []
    assert "larger than" in source.skipped[0].reason


def test_a_folder_that_cannot_be_listed_is_skipped_by_name(tmp_path, monkeypatch):
    save(tmp_path / "a.png")
    (tmp_path / "locked").mkdir()
    scandir = os.scandir

    def refuse(path):
        if str(path).endswith("locked"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    source = open_source(tmp_path)
    assert names(source, tmp_path) == ["a.png"]
    assert [(s.name, s.reason) for s in source.skipped] == [
        (str(tmp_path / "locked"), "a folder that cannot be listed: permission denied")
    ]


def test_linked_folders_are_not_followed_and_counted(tmp_path):
    save(tmp_path / "data/a.png")
    (tmp_path / "data/again").symlink_to(tmp_path / "data")
    source = open_source(tmp_path / "data")
    assert source.length == 1
    assert "links to folders not followed: 1" in source.description


@pytest.mark.parametrize("others", [0, 2])
def test_a_folder_without_images_says_what_was_looked_for(tmp_path, others):
    for number in range(others):
        (tmp_path / f"{number}.npy").write_bytes(b"")
    with pytest.raises(InputError, match=r"\.png") as caught:
        open_source(tmp_path)
    assert str(tmp_path) in str(caught.value)
    assert ("2 other files" in str(caught.value)) == bool(others)


def test_one_image_file(tmp_path):
    path = save(tmp_path / "sub/x.png")
    source = open_source(str(path))
    (item,) = source
    assert (item.key, item.value, item.fields) == (path.as_posix(), path.read_bytes(), {})
    assert (source.length, source.kind, source.location) == (1, "images", path.as_posix())


@pytest.mark.parametrize("given", ["gone.png", "gone", "", "gone/x.npy", "nul\0.png", "n" * 300])
def test_a_path_to_nothing(tmp_path, monkeypatch, given):
    monkeypatch.chdir(tmp_path)
    for read in (open_source, read_value):
        with pytest.raises(InputError):
            read(given)


def test_an_unknown_suffix_says_what_is_understood(tmp_path):
    path = tmp_path / "table.xyz"
    path.write_text("a,b")
    for read in (open_source, read_value):
        with pytest.raises(InputError, match=r"\.png.*") as caught:
            read(path)
        assert "table.xyz" in str(caught.value)
        assert "npy" in str(caught.value)


def test_a_key_prefix_is_for_row_numbers(tmp_path):
    save(tmp_path / "x.png")
    for given in (tmp_path, tmp_path / "x.png"):
        with pytest.raises(UsageError, match="array files"):
            open_source(given, key_prefix="p:")


def test_images_are_no_vectors(tmp_path):
    save(tmp_path / "x.png")
    with pytest.raises(InputError, match="vectors"):
        open_source(tmp_path, kind="vectors")


def test_read_value_of_an_image_is_its_bytes(tmp_path):
    path = save(tmp_path / "x.png")
    assert read_value(path) == read_value(str(path)) == path.read_bytes()
    with pytest.raises(InputError, match="folder"):
        read_value(tmp_path)
    with pytest.raises(InputError, match=r"x\.png"):
        read_value(f"{path}#3")


def test_a_description_is_one_line(tmp_path):
    folder = tmp_path / "two\nlines"
    save(folder / "x.png")
    assert open_source(folder).description == f"1 image in {tmp_path}/two\\nlines"
