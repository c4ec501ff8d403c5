import numpy as np
import pytest

from hashret.encoder.orientations import ORIENTATIONS, orientation_histograms


def edge(angle, size=28):
    """A bright half plane whose border runs across the direction ``angle``."""
    down, across = np.mgrid[:size, :size] - (size - 1) / 2
    return (1 / (1 + np.exp(-(across * np.cos(angle) + down * np.sin(angle))))).astype(np.float32)


def by_orientation(image, shape):
    return orientation_histograms(image.reshape(1, -1), shape).reshape(-1, ORIENTATIONS)


@pytest.mark.parametrize("bin_number", range(ORIENTATIONS))
def test_an_edge_falls_into_the_bin_of_its_gradient(bin_number):
    summed = by_orientation(edge(bin_number * np.pi / ORIENTATIONS), (28, 28)).sum(axis=0)
    assert summed.argmax() == bin_number
    assert summed[bin_number] > 0.6 * summed.sum()


def test_dark_on_light_is_as_light_on_dark():
    np.testing.assert_allclose(
        by_orientation(edge(0.7), (28, 28)), by_orientation(1 - edge(0.7), (28, 28)), atol=2e-3
    )


def test_a_gradient_stays_in_its_cell():
    image = np.zeros((28, 28), np.float32)
    image[9:11, 17:19] = 1  # the cell in row 2 and column 4, of 7 x 7 cells of 4 x 4 pixels
    cells = by_orientation(image, (28, 28)).sum(axis=1).reshape(7, 7)
    assert np.argwhere(cells > 0).tolist() == [[2, 4]]


def test_brightness_does_not_count_and_no_edges_give_nothing():
    rows = np.stack([edge(1.1).ravel(), 0.25 * edge(1.1).ravel(), np.full(784, 0.5, np.float32)])
    histograms = orientation_histograms(rows, (28, 28))
    np.testing.assert_allclose(histograms[0], histograms[1], atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(histograms, axis=1), [1, 1, 0], atol=1e-5)


def test_of_several_channels_the_steepest_counts():
    down, across = np.mgrid[:28, :28].astype(np.float32) / 28
    colour = np.stack([np.zeros_like(down), down, 0.6 * across], axis=2)
    inner = by_orientation(colour, (28, 28, 3)).reshape(7, 7, ORIENTATIONS)[1:6, 1:6]
    assert (inner.argmax(axis=2) == 4).all()  # downwards: between the bins of 80 and 100 degrees
    assert inner[..., [0, 1, 2, 3, 6, 7, 8]].max() == 0


@pytest.mark.parametrize("shape", [(4, 4), (5, 9), (8, 8), (28, 3), (64, 50, 3)])
def test_every_shape_of_image_has_histograms(shape):
    rows = np.random.default_rng(0).random((3, np.prod(shape)), dtype=np.float32)
    histograms = orientation_histograms(rows, shape)
    cells = min(7, shape[0] // 2) * min(7, shape[1] // 2)
    assert histograms.shape == (3, cells * ORIENTATIONS)
    assert histograms.dtype == np.float32
    assert np.isfinite(histograms).all()
