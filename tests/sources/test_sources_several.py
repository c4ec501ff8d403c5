"""Several paths in one call."""

import numpy as np
import pytest
from PIL import Image

from hashret.errors import InputError, UsageError
from hashret.sources import open_source


def vectors(path, n=3):
    np.save(path, np.zeros((n, 2)))
    return path


def image(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (4, 4)).save(path)
    return path


def test_streams_follow_each_other(tmp_path):
    paths = [vectors(tmp_path / "b.npy", 2), vectors(tmp_path / "a.npy", 1)]
    source = open_source(paths, key_prefix="{stem}:")
    assert [item.key for item in source] == ["b:0", "b:1", "a:0"]
    assert [item.key for item in source] == ["b:0", "b:1", "a:0"]
    assert (source.length, source.kind, source.location) == (3, "vectors", None)
    assert [part.location for part in source.parts] == [str(path) for path in paths]
    assert "b.npy" in source.description


def test_a_list_of_one_path_is_that_path(tmp_path):
    path = vectors(tmp_path / "a.npy")
    assert open_source([path]).location == str(path)


@pytest.mark.parametrize("prefix", ["", "p:"])
def test_equal_row_numbers_ask_for_a_prefix(tmp_path, prefix):
    paths = [vectors(tmp_path / "a.npy"), vectors(tmp_path / "b.npy")]
    with pytest.raises(InputError, match=r"--key-prefix '\{stem\}:'.*key_prefix=\"\{stem\}:\""):
        open_source(paths, key_prefix=prefix)


def test_the_same_stem_in_two_folders(tmp_path):
    (tmp_path / "x").mkdir()
    with pytest.raises(InputError, match="a:0"):
        open_source(
            [vectors(tmp_path / "a.npy"), vectors(tmp_path / "x/a.npy")], key_prefix="{stem}:"
        )


def test_a_prefix_that_runs_into_the_row(tmp_path):
    # Without a separator, row 10 of "1" and row 0 of "11" would both be called "110".
    with pytest.raises(InputError, match="key-prefix"):
        open_source(
            [vectors(tmp_path / "1.npy", 20), vectors(tmp_path / "11.npy")], key_prefix="{stem}"
        )


def test_kinds_are_not_mixed(tmp_path):
    paths = [vectors(tmp_path / "a.npy"), image(tmp_path / "p/x.png")]
    with pytest.raises(InputError) as caught:
        open_source(paths)
    for path in paths:
        assert str(path) in str(caught.value)


@pytest.mark.parametrize("inner", ["photos", "photos/2024", "photos/2024/x.png"])
def test_a_file_that_comes_twice(tmp_path, inner):
    image(tmp_path / "photos/2024/x.png")
    with pytest.raises(InputError, match=r"x\.png' comes twice"):
        open_source([tmp_path / "photos", tmp_path / inner])


def test_keys_of_an_archive_against_row_numbers(tmp_path):
    np.savez(tmp_path / "named.npz", X=np.zeros((2, 2)), keys=["a", "2"])
    numbered = vectors(tmp_path / "n.npy", 3)
    with pytest.raises(InputError, match="'2' comes twice"):
        open_source([tmp_path / "named.npz", numbered])
    np.savez(tmp_path / "named.npz", X=np.zeros((2, 2)), keys=["02", "3"])
    keys = [item.key for item in open_source([tmp_path / "named.npz", numbered])]
    assert keys == ["02", "3", "0", "1", "2"]
    np.savez(tmp_path / "other.npz", X=np.zeros((1, 2)), keys=["3"])
    with pytest.raises(InputError, match="key-prefix"):
        open_source([tmp_path / "named.npz", tmp_path / "other.npz"])


def test_images_and_image_arrays_go_together(tmp_path):
    np.save(tmp_path / "p.npy", np.zeros((2, 4, 4), np.uint8))
    path = image(tmp_path / "x.png")
    keys = [item.key for item in open_source([path, tmp_path / "p.npy"])]
    assert keys == [path.as_posix(), "0", "1"]
    with pytest.raises(UsageError):
        open_source([path, tmp_path / "p.npy"], key_prefix="p:")


def test_skipped_of_all_parts_start_again_together(tmp_path):
    image(tmp_path / "a/good.png")
    image(tmp_path / "b/good.png")
    for name in "ab":
        (tmp_path / name / "broken.png").symlink_to("gone")
        (tmp_path / name / "note.txt").write_text("")
    source = open_source([tmp_path / "a", tmp_path / "b"])
    assert len(list(source)) == 2
    assert len(source.skipped) == 2
    assert source.ignored == 2
    iterator = iter(source)
    assert source.skipped == []
    assert len(list(iterator)) == 2


def test_many_paths_make_a_short_description(tmp_path):
    paths = [image(tmp_path / f"{number}.png") for number in range(50)]
    source = open_source(paths)
    assert source.length == 50
    assert len(source.description) < 200


def test_a_key_of_any_number_of_digits_is_no_row(tmp_path):
    (tmp_path / "lines.txt").write_text("one\ntwo\n")
    (tmp_path / "rows.csv").write_text(f"id,text\n{'7' * 5000},three\n")
    source = open_source([tmp_path / "lines.txt", tmp_path / "rows.csv"])
    assert [item.key for item in source] == ["0", "1", "7" * 5000]


def test_empty_lines_are_no_items_in_the_count(tmp_path):
    (tmp_path / "a.txt").write_text("one line\n\n\ntwo lines\n")
    (tmp_path / "b.txt").write_text("three lines\nfour lines\n")
    source = open_source([tmp_path / "a.txt", tmp_path / "b.txt"], key_prefix="{stem}:")
    assert source.description.startswith("4 texts from 2 sources: 2 texts from a.txt")
    assert (source.length - source.empty, len(list(source))) == (4, 4)
