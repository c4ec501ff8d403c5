"""How a source is divided among nodes, each of which opens it anew."""

import shutil

import pytest

from hashret.cluster.parts import open_parts, read_part
from hashret.errors import InputError


@pytest.fixture
def ranges(tmp_path, image_folder, monkeypatch):
    """A folder of a hundred pictures, and four ranges of it."""
    monkeypatch.setattr("hashret.cluster.parts.RANGE_ITEMS", 25)
    folder = shutil.copytree(image_folder, tmp_path / "photos")
    opened = open_parts(folder, earlier={})
    return folder, opened.parts[0].ranges(opened.source)


def test_ranges_hold_together_what_the_folder_holds(ranges):
    folder, parts = ranges
    assert len(parts) == 4
    keys = [item.key for part in parts for item in read_part(part, "a run")]
    assert keys == sorted(str(path) for path in folder.rglob("*.png"))


def test_a_listing_that_shifted_is_refused(ranges):
    folder, parts = ranges
    first, *_, last = sorted(folder.rglob("*.png"))
    first.rename(last.with_name("zzz.png"))
    for part in parts:
        with pytest.raises(InputError, match=r"photos has changed while .* Give it again\."):
            list(read_part(part, "another run"))


def test_files_that_come_last_disturb_nothing(ranges):
    folder, parts = ranges
    last = max(folder.rglob("*.png"))
    shutil.copy(last, last.with_name("zzz.png"))
    assert sum(len(list(read_part(part, "a third run"))) for part in parts) == 100


def test_paths_may_come_from_a_generator(image_folder):
    folders = sorted(image_folder.iterdir())
    opened = open_parts(iter(folders), earlier={})
    assert [part.path for part in opened.parts] == list(map(str, folders))
