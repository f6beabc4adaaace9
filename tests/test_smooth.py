"""Edge smoothing against the reference's loop, written out in NumPy."""

import cv2
import numpy as np
import pytest
from PIL import Image, ImageDraw

from train.smooth import smooth_edges


def loop(image: np.ndarray) -> np.ndarray:
    """Pixel by pixel and channel by channel, floats assigned to uint8."""
    edges = cv2.Canny(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), 100, 200)
    kernel = cv2.getGaussianKernel(5, 0)
    gauss = kernel * kernel.T
    padded = np.pad(image, ((2, 2), (2, 2), (0, 0)), mode="reflect")
    near = cv2.dilate(edges, np.ones((5, 5), np.uint8))
    result = image.copy()
    for y, x in zip(*np.where(near != 0), strict=True):
        for channel in range(3):
            value = np.sum(padded[y : y + 5, x : x + 5, channel] * gauss)
            result[y, x, channel] = np.uint8(np.floor(value))
    return result


def drawing(width: int, height: int, noise: float = 0.0) -> np.ndarray:
    picture = Image.new("RGB", (width, height), (255, 250, 201))
    draw = ImageDraw.Draw(picture)
    draw.ellipse((10, 5, width // 2, height - 9), fill=(200, 30, 40), outline=(0, 0, 0), width=2)
    draw.rectangle((width // 2, height // 2, width + 5, height + 5), fill=(17, 99, 255))
    pixels = np.asarray(picture)
    if noise:
        pixels = np.clip(pixels + np.random.default_rng(0).normal(0, noise, pixels.shape), 0, 255).astype(np.uint8)
    return pixels


@pytest.mark.parametrize("noise", [0.0, 3.0, 40.0])
def test_equals_the_loop_exactly(noise: float) -> None:
    image = drawing(96, 70, noise)
    smooth = smooth_edges(image)
    np.testing.assert_array_equal(smooth, loop(image))
    assert smooth.dtype == np.uint8 and np.any(smooth != image)


@pytest.mark.parametrize("value", range(0, 256, 15))
def test_truncation_never_flips_a_flat_area(value: int) -> None:
    image = np.full((40, 40, 3), value, np.uint8)
    image[:, 20:] = 255 - value
    smooth = smooth_edges(image)
    np.testing.assert_array_equal(smooth[:, :17], image[:, :17])
    np.testing.assert_array_equal(smooth, loop(image))


def test_far_from_edges_nothing_changes_and_the_input_is_kept() -> None:
    image = drawing(128, 96)
    before = image.copy()
    smooth = smooth_edges(image)
    np.testing.assert_array_equal(image, before)
    edges = cv2.Canny(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), 100, 200)
    far = cv2.dilate(edges, np.ones((5, 5), np.uint8)) == 0
    np.testing.assert_array_equal(smooth[far], image[far])
    assert far.any() and not far.all()


@pytest.mark.parametrize(
    "image", [np.zeros((8, 8), np.uint8), np.zeros((8, 8, 4), np.uint8), np.zeros((8, 8, 3), np.float32)]
)
def test_refuses_other_arrays(image: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"expected uint8 \(H, W, 3\)"):
        smooth_edges(image)
