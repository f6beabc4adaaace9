"""The pixel contract: uint8 RGB and [-1, 1], padding of any size, without TensorFlow."""

import subprocess
import sys

import numpy as np
import pytest

from hub_export import pixels


def test_ends_and_middle_of_the_range() -> None:
    assert pixels.to_model(np.array([0, 255], np.uint8)).tolist() == [-1.0, 1.0]
    assert pixels.to_model(np.array([127.5])) == pytest.approx(0.0)
    assert pixels.to_model(np.zeros((2, 3, 3), np.uint8)).dtype == np.float32


def test_every_level_survives_the_round_trip() -> None:
    levels = np.arange(256, dtype=np.uint8)
    assert np.array_equal(pixels.from_model(pixels.to_model(levels)), levels)
    assert np.array_equal(pixels.to_bytes_range(pixels.to_model(levels)).round(), levels)


def test_what_a_generator_draws_beyond_the_range_is_clipped() -> None:
    drawn = pixels.from_model(np.array([-7.0, -1.001, 1.001, 7.0], np.float32))
    assert drawn.dtype == np.uint8 and drawn.tolist() == [0, 0, 255, 255]


def test_tensors_keep_their_kind() -> None:
    import tensorflow as tf

    values = pixels.to_model(tf.constant([0.0, 255.0], tf.float16))
    assert values.dtype == tf.float16 and pixels.to_bytes_range(values).numpy().tolist() == [0.0, 255.0]


@pytest.mark.parametrize("multiple", [4, 8])
@pytest.mark.parametrize("height", [1, 2, 31, 32, 33, 256])
@pytest.mark.parametrize("width", [1, 7, 32, 257])
def test_padding_reflects_up_to_the_next_multiple(height: int, width: int, multiple: int) -> None:
    image = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    padded = pixels.pad(image, multiple)
    for side, own in zip(padded.shape[:2], (height, width), strict=True):
        assert side % multiple == 0 and pixels.MINIMUM_SIDE <= side < max(own + multiple, pixels.MINIMUM_SIDE + 1)
    assert np.array_equal(pixels.unpad(padded, height, width), image)
    if padded.shape[1] > width > 1:
        assert np.array_equal(padded[:height, width], image[:, width - 2])


@pytest.mark.parametrize(("height", "width"), [(200, 31), (97, 64), (64, 64), (1, 300)])
def test_strips_draw_what_is_drawn_at_once(monkeypatch: pytest.MonkeyPatch, height: int, width: int) -> None:
    """Where nothing depends on more than `reach`; and each strip has the same height, so that a generator sees one shape."""
    picture = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    shapes = set()

    def generator(values: np.ndarray) -> np.ndarray:
        shapes.add(values.shape)
        rows = np.pad(values, [(0, 0), (8, 8), (0, 0), (0, 0)], mode="edge")
        return sum(rows[:, shift : shift + values.shape[1]] for shift in (0, 5, 16)) / 3  # 8 rows above and below

    at_once = pixels.draw(generator, picture, 8)
    assert len(shapes) == 1 and at_once.shape == picture.shape
    monkeypatch.setattr(pixels, "STRIP_PIXELS", 64 * 32)
    shapes.clear()
    np.testing.assert_array_equal(pixels.draw(generator, picture, 8, reach=8), at_once)
    (_, rows, columns, _) = shapes.pop()
    assert not shapes and rows <= 64 * 32 // columns + 8 + 2 * 8


@pytest.mark.slow
def test_needs_no_tensorflow() -> None:
    code = "import sys, hub_export.pixels, hub_export.checkpoint; print({'tensorflow', 'keras', 'h5py'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "set()"
