"""Text files and folders of them as sources."""

import numpy as np
import pytest
from PIL import Image

from hashret.errors import InputError, UsageError
from hashret.sources import open_source, read_value


@pytest.fixture
def texts(tmp_path):
    folder = tmp_path / "texts"
    (folder / "games" / "deep").mkdir(parents=True)
    (folder / "a.txt").write_text("one text\nof two lines\n")
    (folder / "games" / "b.MD").write_text("\ufeff# Another")
    (folder / "games" / "deep" / "c.markdown").write_text("täxt")
    (folder / "notes.odt").write_text("no")
    return folder


def test_a_folder_of_texts(texts):
    source = open_source(texts)
    items = list(source)
    assert (source.kind, source.length, source.ignored) == ("text", 3, 1)
    assert [(item.key, item.value, item.fields) for item in items] == [
        (f"{texts}/a.txt", "one text\nof two lines\n", {}),
        (f"{texts}/games/b.MD", "# Another", {"label": "games"}),
        (f"{texts}/games/deep/c.markdown", "täxt", {"label": "games"}),
    ]
    assert [item.position for item in items] == [None] * 3
    assert source.description == (
        f"3 texts in {texts}, labelled by 1 sub-folder; 1 other file ignored (1 .odt)"
    )
    assert [read_value(item.key) for item in items] == [item.value for item in items]


def test_images_come_first_and_the_kind_overrules(texts):
    Image.new("L", (4, 4)).save(texts / "p.png")
    source = open_source(texts)
    assert (source.kind, source.length, source.ignored) == ("images", 1, 4)
    assert "4 other files ignored (1 .markdown, 1 .md, 1 .odt)" in source.description
    assert "--kind text" in source.description
    Image.new("L", (4, 4)).save(texts / "q.png")
    Image.new("L", (4, 4)).save(texts / "r.png")
    assert "--kind" not in open_source(texts).description
    source = open_source(texts, kind="text")
    assert (source.kind, source.length, source.ignored) == ("text", 3, 4)
    with pytest.raises(InputError, match="Expected vectors"):
        open_source(texts, kind="vectors")


def test_a_folder_without_images_and_texts_is_refused(tmp_path):
    with pytest.raises(InputError, match="No images or texts in .*empty"):
        open_source(tmp_path)
    with pytest.raises(InputError, match="No texts in .*empty"):
        open_source(tmp_path, kind="text")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"PNG\0\0", "null characters"),
        (b"\xff\xfe", "not UTF-8"),
        (b"", "nothing in it"),
        (b" \n\t", "nothing in it"),
    ],
)
def test_what_is_no_text_is_skipped_and_named(texts, content, reason):
    (texts / "b.txt").write_bytes(content)
    source = open_source(texts)
    assert len(list(source)) == 3
    assert [skipped.name for skipped in source.skipped] == [f"{texts}/b.txt"]
    assert reason in source.skipped[0].reason


def test_a_markdown_file_is_one_text(texts):
    path = texts / "games" / "b.MD"
    source = open_source(path)
    assert [(item.key, item.value) for item in source] == [(str(path), "# Another")]
    assert source.description == "1 text, b.MD"
    with pytest.raises(InputError, match="Expected images, got text"):
        open_source(path, kind="images")
    with pytest.raises(UsageError, match="keys are paths"):
        open_source(path, key_prefix="x")


def test_texts_of_another_encoding(texts):
    (texts / "z.txt").write_bytes("für".encode("latin-1"))
    assert len(list(open_source(texts))) == 3
    assert list(open_source(texts, encoding="latin-1"))[-1].value == "für"


@pytest.mark.parametrize("given", [".", "z.md"])
def test_a_text_of_another_encoding_is_read_again(tmp_path, given):
    folder = tmp_path / "ö#1"
    folder.mkdir()
    path = folder / "z.md"
    path.write_bytes("für alle".encode("latin-1"))
    source = open_source(folder if given == "." else path, encoding="latin-1")
    (item,) = source
    assert (item.key, item.value) == (str(path), "für alle")
    assert source.holds(item.key)
    assert source.place_of(item) == f"{path}?encoding=latin-1"
    assert read_value(source.place_of(item)) == "für alle"
    with pytest.raises(InputError, match="not UTF-8"):
        read_value(path)


def test_a_long_text_is_kept(tmp_path):
    (tmp_path / "x.txt").write_text("word " * 200_000)
    assert len(next(iter(open_source(tmp_path))).value) == 1_000_000


def test_a_sample_reads_only_what_was_drawn(texts):
    (texts / "b.txt").write_bytes(b"\0")
    source = open_source(texts)
    drawn = list(source.sample(2, np.random.default_rng(1)))
    assert len(drawn) + len(source.skipped) == 2
