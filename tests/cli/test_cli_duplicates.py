"""``hashret duplicates``: what it prints, in each format, and that one of each group is kept."""

import csv
import json
import shutil
from pathlib import Path

import pytest

import hashret


@pytest.fixture
def photos(make_index, image_folder, tmp_path):
    """An index with copies of three of its pictures, in a folder of their own."""
    path = make_index("photos")
    folder = tmp_path / "copies"
    folder.mkdir()
    for picture in sorted(image_folder.glob("*/*.png"))[:3]:
        for name in ("one", "two\n"):
            shutil.copy(picture, folder / f"{name} {picture.name}")
    with hashret.open(path) as index:
        index.add(folder)
    return path


def rows_of(index):
    return [item.to_dict() for group in index.duplicates() for item in group]


def test_every_format_lists_the_groups(photos, run):
    with hashret.open(photos) as index:
        expected, groups = rows_of(index), index.duplicates()
    out = run("duplicates", "-i", photos, "--json")
    assert json.loads(out.stdout) == expected
    assert out.stderr == f"{len(groups)} groups of {len(expected)} items; 106 compared\n"
    lines = run("duplicates", "-i", photos, "--nl").stdout.splitlines()
    assert [json.loads(line) for line in lines] == expected
    table = list(csv.DictReader(run("duplicates", "-i", photos, "--csv").stdout.splitlines(True)))
    assert [(row["key"], int(row["group"])) for row in table] == [
        (row["key"], row["group"]) for row in expected
    ]
    plain = run("duplicates", "-i", photos, "-k", 1)
    assert plain.stdout.splitlines()[0].split() == ["group", "distance", "key", "label"]
    assert len(plain.stdout.splitlines()) == 1 + len(groups[0])
    assert plain.stderr.endswith("items, the first 1 shown; 106 compared\n")


def test_paths_keep_one_of_each_group(photos, run):
    with hashret.open(photos) as index:
        expected = [row["location"] for row in rows_of(index) if row["rank"] > 1]
    for flags in (["-0"], ["--paths", "-0"], ["-0", "--paths"]):
        out = run("duplicates", "-i", photos, *flags)
        assert out.stdout.split("\0")[:-1] == expected
    assert run("duplicates", "-i", photos, "--paths", "--csv").returncode == 2
    assert len(expected) >= 6


def test_the_last_copy_is_never_listed(photos, run, tmp_path):
    """The one to keep is the first whose file is still there: others are only remembered."""
    with hashret.open(photos) as index:
        own = [key for key in index if Path(key).is_relative_to(tmp_path)]
        index.remove([key for key in index if key not in own])  # files that other tests read
        for name in ("three", "four"):
            shutil.copytree(tmp_path / "copies", tmp_path / name)
            index.add(tmp_path / name)
        gone, kept = index.duplicates()[:2], []
    for group in gone:
        Path(group.items[0].location).rename(tmp_path / f"moved {group.number}")
    for item in gone[1].items:
        Path(item.location).unlink(missing_ok=True)
    kept = gone[0].items[1].location
    listed = run("duplicates", "-i", photos, "-0").stdout.split("\0")
    assert kept not in listed
    assert [item.location for item in gone[0].items if item.location != kept] == [
        one for one in listed if one in {item.location for item in gone[0].items}
    ]
    assert not {item.location for item in gone[1].items} & set(listed)


def test_no_other_name_of_the_file_that_is_kept_is_listed(make_index, digits, run, tmp_path):
    """Else `xargs rm` would delete what a link, which is kept, points to."""
    from PIL import Image

    folder = tmp_path / "linked"
    folder.mkdir()
    Image.fromarray(digits[500]).save(folder / "real.png")
    (folder / "a link.png").symlink_to(folder / "real.png")
    shutil.copy(folder / "real.png", folder / "same.png")
    path = make_index("photos")
    with hashret.open(path) as index:
        index.add(folder)
        (group,) = index.duplicates(where="key like '%linked%'")
    assert [Path(item.key).name for item in group] == ["a link.png", "real.png", "same.png"]
    out = run("duplicates", "-i", path, "--where", "key like '%linked%'", "--paths")
    assert out.stdout == f"{folder / 'same.png'}\n"


def test_pairs(photos, run):
    with hashret.open(photos) as index:
        expected = [pair._asdict() for pair in index.pairs(2)]
    out = run("duplicates", "-i", photos, "-r", 2, "--pairs", "--nl")
    assert [json.loads(line) for line in out.stdout.splitlines()] == expected
    assert out.stderr == f"{len(expected)} pairs\n"
    out = run("duplicates", "-i", photos, "-r", 2, "--pairs", "-k", 1, "--tsv", "--no-headers")
    first = next(csv.reader([out.stdout], delimiter="\t", strict=False))
    assert first[:2] == ["0", expected[0]["key_a"]]
    assert out.stderr == "the first 1 pairs\n"


def test_a_page_beside_the_list(photos, run, tmp_path):
    out = run("duplicates", "-i", photos, "--html", "page.html", "--nl")
    assert out.returncode == 0
    assert (tmp_path / "page.html").read_text().count("<img") == len(out.stdout.splitlines())
    again = run("duplicates", "-i", photos, "-k", 1, "--html", "page.html")
    assert again.returncode == 0  # a page is made anew
    assert "Group 2" not in (tmp_path / "page.html").read_text()


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (["--pairs", "--html", "x.html"], 2, "--pairs"),
        (["--pairs", "--paths"], 2, "--pairs"),
        (["-r", "-1"], 2, "-1"),
        (["--where", "nothing = 1"], 2, "nothing"),
        (["--html", "missing/x.html"], 1, "no folder"),
    ],
)
def test_wrong_usage(vectors_index, run, tmp_path, options, code, message):
    out = run("duplicates", "-i", vectors_index.path, *options)
    assert out.returncode == code
    assert message in out.stderr
    assert "Traceback" not in out.stderr
    assert out.stdout == ""
    assert not (tmp_path / "x.html").exists()
