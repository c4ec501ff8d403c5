"""Damaged, hostile and wrongly named image files, from the folder to the matrix."""

import io
import struct
import sys
import threading
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hashret.errors import InputError
from hashret.features import ImageFeatures, decoding
from hashret.sources import open_source

NOISE = np.random.default_rng(0).integers(0, 256, (40, 40), np.uint8)
FORMATS = ["PNG", "JPEG", "GIF", "BMP", "WEBP", "TIFF", "PPM"]
FEATURES = ImageFeatures(8, 8, 3)


def encode(picture, file_format="PNG", **options):
    file = io.BytesIO()
    picture.save(file, file_format, **options)
    return file.getvalue()


def png_header(width, height):
    """A PNG that says it is of this size, and holds nothing."""

    def chunk(name, content):
        body = name + content
        return struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


BOMBS = {
    "png": png_header(60_000, 60_000),
    "just over": png_header(10_001, 10_000),
    "between Pillow's warning and our limit": png_header(10_000, 10_000),
    "ppm": b"P6 99999 99999 255\n",
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_refused_before_it_is_decoded(name):
    limit = Image.MAX_IMAGE_PIXELS
    filters = list(warnings.filters)
    matrix, (failure,) = FEATURES.matrix([BOMBS[name]])
    assert len(matrix) == 0
    if name.startswith("between"):
        assert "damaged" in failure.reason  # It was tried: 100 megapixels are allowed.
    else:
        assert "100 megapixels" in failure.reason
        assert "scale it down" in failure.reason
    assert limit == Image.MAX_IMAGE_PIXELS
    assert filters == warnings.filters


def test_a_user_s_own_image_has_the_same_limit(monkeypatch):
    monkeypatch.setattr(decoding, "MAX_PIXELS", 50)
    with pytest.raises(InputError, match="megapixels"):
        FEATURES.vector(Image.new("L", (8, 8)))


def test_nothing_is_warned_when_threads_open_images_at_once():
    filters = list(warnings.filters)
    values = [BOMBS["just over"]] * 1500
    results = []
    threads = [
        threading.Thread(target=lambda: results.append(FEATURES.matrix(values))) for _ in range(3)
    ]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert filters == warnings.filters
    reasons = {failure.reason for _, failures in results for failure in failures}
    assert len(reasons) == 1  # Under pytest a warning is an error, hence another reason.
    assert "100 megapixels" in reasons.pop()


@pytest.mark.parametrize("file_format", FORMATS)
def test_a_file_cut_short_is_read_or_named(file_format):
    whole = encode(Image.fromarray(NOISE), file_format)
    lengths = [0, 1, 7, 20, *range(30, len(whole) - 30, 97)]
    matrix, failures = FEATURES.matrix([*(whole[:length] for length in lengths), whole])
    assert len(matrix) + len(failures) == len(lengths) + 1
    assert lengths[-1] > len(whole) // 2
    assert len(failures) >= len(lengths) - 1
    for failure in failures:
        assert failure.reason
        assert "0x" not in failure.reason  # No addresses of objects.


@pytest.mark.parametrize("file_format", FORMATS)
def test_altered_bytes_are_read_or_named(file_format):
    whole = encode(Image.fromarray(NOISE).convert("P"), "GIF")
    if file_format != "GIF":
        whole = encode(Image.fromarray(NOISE), file_format)
    rng = np.random.default_rng(1)
    values = []
    for position in [*range(min(120, len(whole))), *rng.integers(0, len(whole), 80)]:
        altered = bytearray(whole)
        altered[position] ^= int(rng.integers(1, 256))
        values.append(bytes(altered))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        matrix, failures = FEATURES.matrix(values)
    assert len(matrix) + len(failures) == len(values)
    assert len(matrix)


@pytest.mark.parametrize(
    "content",
    [
        b"just some text",
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n",
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"\0" * 100,
        encode(Image.new("RGB", (8, 8)), "ICO"),
        encode(Image.new("RGB", (8, 8)), "TGA"),
    ],
)
def test_only_the_listed_formats_are_opened(content):
    with pytest.raises(InputError, match="not an image"):
        FEATURES.vector(content)


def test_a_value_of_another_type_is_refused():
    for value in (None, 3, "x.png", [[0]]):
        with pytest.raises(InputError, match="xpected (the bytes of )?an image"):
            FEATURES.vector(value)


def test_fields_stay_with_their_image_after_others_failed(tmp_path):
    """Each image's grey level is also its label; whatever fails must not shift them."""
    rng = np.random.default_rng(2)
    expected = {}
    for number in range(60):
        level = number * 4
        folder = tmp_path / str(level)
        folder.mkdir()
        path = folder / f"{number:03}.png"
        Image.new("L", (8, 8), level).save(path)
        damage = rng.integers(0, 8)
        if damage == 0:
            path.write_bytes(b"")
        elif damage == 1:
            path.write_text("text under a wrong name")
        elif damage == 2:
            path.write_bytes(encode(Image.fromarray(NOISE), "JPEG")[:300])
        elif damage == 3:
            path.unlink()
            path.symlink_to("gone.png")
        elif damage == 4:
            path.write_bytes(BOMBS["png"])
        else:
            expected[path.as_posix()] = level
    assert 20 < len(expected) < 50
    source = open_source(tmp_path)
    features = ImageFeatures.learn([item.value for item in source])
    assert (features.height, features.width) in [(8, 8), (32, 32)]
    items = list(source)
    matrix, failures = features.matrix([item.value for item in items])
    failed = {failure.position for failure in failures}
    readable = [item for position, item in enumerate(items) if position not in failed]
    assert len(readable) == len(matrix)
    came = {
        item.key: (int(item.fields["label"]), round(float(row.mean() * 255)))
        for item, row in zip(readable, matrix, strict=True)
    }
    assert came == {key: (level, level) for key, level in expected.items()}
    skipped = [Path(s.name) for s in source.skipped]
    assert skipped
    assert all(path.is_symlink() for path in skipped)
    assert len(came) + len(failed) + len(skipped) == 60


@pytest.mark.parametrize("mode", ["L", "RGB", "P", "RGBA"])
@pytest.mark.parametrize("suffix", ["png", "jpeg", "gif", "bmp", "webp", "tiff"])
def test_a_file_cut_anywhere_is_a_failure_by_name_and_no_exception(mode, suffix):
    rng = np.random.default_rng(0)
    shape = (40, 40) if mode in "LP" else (40, 40, len(mode))
    picture = Image.fromarray(
        rng.integers(0, 256, shape, dtype=np.uint8), "RGBA" if mode == "RGBA" else None
    )
    if mode == "P":
        picture = picture.convert("P")
    if mode in ("RGBA", "P") and suffix in ("jpeg", "bmp"):
        picture = picture.convert("RGB")
    file = io.BytesIO()
    picture.save(file, suffix)
    whole = file.getvalue()
    for size in (0, 1, 8, 20, 60, 100, 200, 400, len(whole) // 2, len(whole) - 9):
        cut = whole[:size]
        features = ImageFeatures.learn([whole, cut, whole])
        rows, failures = features.matrix([whole, cut, whole])
        assert len(rows) + len(failures) == 3
        assert [failure.position for failure in failures] in ([], [1])
