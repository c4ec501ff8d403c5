"""Images as features: how the shape is decided, what becomes of every mode, and back again."""

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image, ImageDraw

from hashret.errors import InputError
from hashret.features import Failure, ImageFeatures, learn_features


def encode(picture, file_format="PNG", **options):
    file = io.BytesIO()
    picture.save(file, file_format, **options)
    return file.getvalue()


def grey(level=0, size=(8, 8), file_format="PNG"):
    return encode(Image.new("L", size, level), file_format)


def coloured(size=(8, 8)):
    return encode(Image.new("RGB", size, (200, 10, 10)))


RNG = np.random.default_rng(0)
ARRAYS = list(RNG.integers(0, 256, (5, 7, 6), np.uint8))


def test_arrays_of_one_shape_fix_it():
    features = learn_features("images", ARRAYS)
    assert features == ImageFeatures(7, 6, 1, (7, 6))
    assert features.n_features == 42
    assert features.describe() == "6 x 7 grey pixels"
    matrix, failures = features.matrix(ARRAYS)
    assert failures == []
    assert (matrix.dtype, matrix.shape, matrix.flags.c_contiguous) == (np.float32, (5, 42), True)
    np.testing.assert_array_equal(matrix, np.stack(ARRAYS).reshape(5, 42) / np.float32(255))
    for wrong in (np.zeros((6, 7), np.uint8), np.zeros((7, 6, 3), np.uint8)):
        for use in (features.vector, lambda value: features.matrix([*ARRAYS, value])):
            with pytest.raises(InputError) as caught:
                use(wrong)
            assert "(7, 6)" in str(caught.value)
            assert str(wrong.shape) in str(caught.value)


@pytest.mark.parametrize("shape", [(7, 6), (7, 6, 1), (7, 6, 3)])
def test_an_array_saved_as_a_file_has_the_same_features(shape):
    arrays = list(RNG.integers(0, 256, (4, *shape), np.uint8))
    features = ImageFeatures.learn(arrays)
    pictures = [Image.fromarray(array.squeeze()) for array in arrays]
    expected, _ = features.matrix(arrays)
    for values in (pictures, [encode(picture) for picture in pictures]):
        matrix, failures = features.matrix(values)
        assert failures == []
        np.testing.assert_array_equal(matrix, expected)


def test_a_file_of_another_size_is_scaled_to_the_arrays():
    features = ImageFeatures.learn(ARRAYS)
    assert features.vector(grey(255, (12, 14))).tolist() == [1.0] * 42


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([grey(size=(64, 64))] * 2, (64, 64, 1)),
        ([grey(size=(20, 10))] * 2, (10, 20, 1)),
        ([grey(size=(65, 64))], (32, 32, 1)),
        ([grey(size=(20, 10)), grey(size=(10, 20))], (32, 32, 1)),
        ([grey(), coloured()], (8, 8, 3)),
        ([coloured((36, 36))], (36, 36, 3)),
        ([coloured((64, 64))], (32, 32, 3)),
        ([encode(Image.new("RGB", (8, 8), (9, 9, 9)))], (8, 8, 1)),
        ([encode(Image.new("LA", (8, 8), (9, 99)))], (8, 8, 1)),
        ([encode(Image.new("RGBA", (8, 8), (9, 9, 9, 0)))], (8, 8, 1)),
        ([encode(Image.new("1", (8, 8)))], (8, 8, 1)),
        ([encode(Image.new("I;16", (8, 8)))], (8, 8, 1)),
        ([encode(Image.new("P", (8, 8), 0), "GIF")], (8, 8, 1)),
        ([Image.new("L", (8, 9)), Image.new("L", (8, 9))], (9, 8, 1)),
        ([np.zeros((8, 8), np.uint8), grey()], (8, 8, 1)),
        ([b"", grey(), b"broken"], (8, 8, 1)),
    ],
)
def test_size_and_channels_are_decided_from_the_sample(values, expected):
    features = ImageFeatures.learn(values)
    assert (features.height, features.width, features.channels) == expected
    assert features.array_shape is None


def test_large_arrays_are_scaled_and_still_fixed():
    arrays = [np.full((80, 80, 3), level, np.uint8) for level in (0, 255)]
    features = ImageFeatures.learn(arrays)
    assert features == ImageFeatures(32, 32, 3, (80, 80, 3))
    matrix, _ = features.matrix(arrays)
    assert matrix.min(axis=1).tolist() == matrix.max(axis=1).tolist() == [0, 1]
    with pytest.raises(InputError, match=r"\(80, 80, 3\).*\(32, 32, 3\)"):
        features.vector(np.zeros((32, 32, 3), np.uint8))


def test_arrays_of_several_shapes_are_scaled_like_files():
    arrays = [np.zeros((8, 8), np.uint8), np.zeros((9, 8), np.uint8)]
    features = ImageFeatures.learn(arrays)
    assert features == ImageFeatures(32, 32, 1, None)
    assert features.matrix(arrays)[0].shape == (2, 1024)


def test_a_sample_without_a_readable_image_is_refused():
    for values in ([], [b"", b"x"]):
        with pytest.raises(InputError, match="None of the images"):
            ImageFeatures.learn(values)


def test_the_aspect_is_kept_on_black():
    features = ImageFeatures(8, 8, 1)
    wide = features.vector(grey(255, (16, 8))).reshape(8, 8)
    np.testing.assert_array_equal(wide[2:6], 1)
    assert wide.sum() == 32
    tall = features.vector(grey(255, (8, 16))).reshape(8, 8)
    np.testing.assert_array_equal(tall, wide.T)


@pytest.mark.parametrize("size", [(5000, 1), (1, 5000), (1, 1), (9, 9), (4000, 3000)])
def test_any_size_fits(size):
    row = ImageFeatures(8, 8, 3).vector(grey(255, size))
    assert row.shape == (192,)
    assert row.max() == 1


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_exif_orientation_is_applied(orientation):
    undo = {
        1: [],
        2: [Image.Transpose.FLIP_LEFT_RIGHT],
        3: [Image.Transpose.ROTATE_180],
        4: [Image.Transpose.FLIP_TOP_BOTTOM],
        5: [Image.Transpose.TRANSPOSE],
        6: [Image.Transpose.ROTATE_90],
        7: [Image.Transpose.TRANSVERSE],
        8: [Image.Transpose.ROTATE_270],
    }
    upright = Image.fromarray(ARRAYS[0])
    turned = upright
    for step in undo[orientation]:
        turned = turned.transpose(step)
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = encode(turned, exif=exif)
    features = ImageFeatures.learn([file])
    assert (features.width, features.height) == upright.size
    expected = features.vector(upright)
    np.testing.assert_array_equal(features.vector(file), expected)
    with Image.open(io.BytesIO(file)) as given:
        np.testing.assert_array_equal(features.vector(given), expected)
        assert given.size == turned.size  # The user's own image is left as it was.


LEVELS = np.linspace(0, 65535, 64).astype(np.uint16).reshape(8, 8)


@pytest.mark.parametrize("file_format", ["PNG", "TIFF", "PPM"])
def test_16_bit_grey_keeps_its_whole_range(file_format):
    file = encode(Image.fromarray(LEVELS), file_format)
    row = ImageFeatures(8, 8, 1).vector(file)
    np.testing.assert_allclose(row, LEVELS.reshape(-1) / 65535, atol=0.003)


def test_float_pictures():
    features = ImageFeatures(8, 8, 1)
    levels = (LEVELS / 65535).astype(np.float32)
    row = features.vector(encode(Image.fromarray(levels), "TIFF"))
    np.testing.assert_allclose(row, levels.reshape(-1), atol=0.003)
    with pytest.raises(InputError, match="0 to 1 was expected"):
        features.vector(encode(Image.fromarray(levels * 9), "TIFF"))


@pytest.mark.parametrize(
    ("picture", "expected"),
    [
        (Image.new("RGBA", (4, 4), (0, 0, 0, 0)), (1, 1, 1)),
        (Image.new("RGBA", (4, 4), (255, 0, 0, 255)), (1, 0, 0)),
        (Image.new("RGBA", (4, 4), (0, 0, 0, 51)), (0.8, 0.8, 0.8)),
        (Image.new("LA", (4, 4), (0, 0)), (1, 1, 1)),
        (Image.new("1", (4, 4), 1), (1, 1, 1)),
        (Image.new("L", (4, 4), 51), (0.2, 0.2, 0.2)),
        (Image.new("RGB", (4, 4), (255, 51, 0)), (1, 0.2, 0)),
        (Image.new("RGB", (4, 4), (255, 51, 0)).quantize(4), (1, 0.2, 0)),
        (Image.new("CMYK", (4, 4), (0, 255, 255, 0)), (1, 0, 0)),
        (Image.new("YCbCr", (4, 4), (255, 128, 128)), (1, 1, 1)),
        (Image.new("HSV", (4, 4), (0, 0, 255)), (1, 1, 1)),
    ],
    ids=lambda value: getattr(value, "mode", ""),
)
def test_every_mode_becomes_rgb(picture, expected):
    row = ImageFeatures(4, 4, 3).vector(picture)
    np.testing.assert_allclose(row.reshape(16, 3), [expected] * 16, atol=1e-6)


@pytest.mark.parametrize("transparency", [0, b"\0\xff"])
def test_a_transparent_palette_shows_white(transparency):
    picture = Image.new("P", (4, 4), 0)
    picture.putpalette([255, 0, 0, 0, 255, 0])
    file = encode(picture, transparency=transparency)
    assert ImageFeatures(4, 4, 3).vector(file).tolist() == [1.0] * 48


@pytest.mark.parametrize("file_format", ["PNG", "JPEG", "GIF", "BMP", "WEBP", "TIFF", "PPM"])
def test_every_format_is_read(file_format):
    row = ImageFeatures(8, 8, 1).vector(grey(128, (8, 8), file_format))
    np.testing.assert_allclose(row, 128 / 255, atol=0.01)


def test_the_first_frame_counts():
    frames = [Image.new("L", (8, 8), level) for level in (0, 255)]
    file = encode(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert ImageFeatures(8, 8, 1).vector(file).max() == 0


def test_a_large_jpeg_read_at_a_fraction_looks_the_same():
    picture = Image.new("RGB", (1600, 1200), "navy")
    ImageDraw.Draw(picture).ellipse((300, 200, 1300, 900), fill="orange")
    features = ImageFeatures(32, 32, 3)
    from_jpeg = features.vector(encode(picture, "JPEG", quality=95))
    assert np.abs(from_jpeg - features.vector(picture)).mean() < 0.01


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.bool_])
def test_floats_and_booleans_are_pixels_from_0_to_1(dtype):
    arrays = [(array > 128).astype(dtype) for array in ARRAYS]
    features = ImageFeatures.learn(arrays)
    matrix, _ = features.matrix(arrays)
    np.testing.assert_array_equal(matrix, np.stack(ARRAYS).reshape(5, -1) > 128)
    scaled = ImageFeatures(14, 12, 1).vector(arrays[0])
    assert 0 <= scaled.min() <= scaled.max() <= 1


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((7, 6), np.int64),
        np.zeros((7, 6), complex),
        np.zeros(42, np.uint8),
        np.zeros((7, 6, 4), np.uint8),
        np.zeros((0, 6), np.uint8),
    ],
    ids=str,
)
def test_other_arrays_are_refused(array):
    features = ImageFeatures.learn(ARRAYS)
    for use in (
        features.vector,
        lambda value: features.matrix([value]),
        lambda value: features.matrix([*ARRAYS, value]),
        lambda value: ImageFeatures.learn([value]),
    ):
        with pytest.raises(InputError, match="Expected"):
            use(array)


@pytest.mark.parametrize("wrong", [255.0, -0.1, np.nan])
@pytest.mark.parametrize("features", [ImageFeatures(14, 12, 1), ImageFeatures(4, 4, 3)])
def test_floats_out_of_range_cost_one_image(wrong, features):
    good = np.linspace(0, 1, 168, dtype=np.float32).reshape(14, 12)
    bad = good.copy()
    bad[3, 4] = wrong
    matrix, failures = features.matrix([bad, good, good, bad])
    assert np.array_equal(matrix, [features.vector(good)] * 2)
    assert [failure.position for failure in failures] == [0, 3]
    assert all("0 to 1" in one.reason or "NaN" in one.reason for one in failures)
    assert ImageFeatures.learn([bad, good]) == ImageFeatures.learn([good])
    for use in (features.vector, lambda value: ImageFeatures.learn([value])):
        with pytest.raises(InputError, match="0 to 1|NaN"):
            use(bad)


@settings(max_examples=30, deadline=None)
@given(
    arrays=hnp.arrays(
        st.sampled_from([np.uint8, np.float32]),
        st.sampled_from([(6, 5, 4), (6, 5, 4, 3)]),
        elements={"min_value": 0, "max_value": 1},
    ),
    files=st.lists(st.sampled_from([grey(9), coloured(), b"broken"]), max_size=3),
)
def test_one_and_many_give_the_same_rows(arrays, files):
    features = ImageFeatures.learn(arrays)
    values = [*arrays, *files]
    matrix, failures = features.matrix(values)
    broken = [isinstance(value, bytes) and value == b"broken" for value in values]
    assert [failure.position for failure in failures] == list(np.flatnonzero(broken))
    rows = [features.vector(value) for value, bad in zip(values, broken, strict=True) if not bad]
    np.testing.assert_array_equal(matrix, np.stack(rows))


def test_an_empty_batch():
    matrix, failures = ImageFeatures(8, 8, 1).matrix([])
    assert (matrix.shape, matrix.dtype, failures) == ((0, 64), np.float32, [])


def test_failures_keep_their_positions():
    features = ImageFeatures(8, 8, 1)
    matrix, failures = features.matrix([b"", grey(51), b"no image", grey(102), None, grey(153)])
    np.testing.assert_allclose(matrix[:, 0], [0.2, 0.4, 0.6])
    assert [failure.position for failure in failures] == [0, 2, 4]
    assert failures[0] == Failure(0, "the file is empty")
    assert "not an image" in failures[1].reason
    assert "NoneType" in failures[2].reason


@pytest.mark.parametrize("shape", [(7, 6), (7, 6, 3)])
def test_a_picture_of_a_row_is_the_image(shape):
    array = RNG.integers(0, 256, shape, np.uint8)
    features = ImageFeatures.learn([array])
    np.testing.assert_array_equal(np.asarray(features.picture(features.vector(array))), array)


def test_a_picture_of_a_decoded_row_is_clipped():
    features = ImageFeatures(1, 4, 1)
    picture = features.picture(np.array([-5, 2, np.nan, 0.5], np.float32))
    assert np.asarray(picture).tolist() == [[0, 255, 0, 128]]
    with pytest.raises(InputError, match=r"\(4,\).*\(3,\)"):
        features.picture(np.zeros(3, np.float32))


def test_a_text_is_no_image():
    features = ImageFeatures.learn([np.zeros((4, 4), np.uint8)])
    with pytest.raises(InputError, match=r"^Expected an image, got text\.$"):
        features.vector("words")
