"""The one place where pictures become model input and back.

The pixel contract of every checkpoint: RGB, float32 in [-1, 1], height and width multiples of the generator's stride.
NumPy and Pillow only, so that reading a record or preparing a picture never loads TensorFlow.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import Image

CONTRACT = {"order": "RGB", "range": [-1.0, 1.0]}
GRAY_WEIGHTS = (0.299, 0.587, 0.114)
"""Of R, G and B; as in cv2.cvtColor and Pillow's mode L."""
STRIP_PIXELS = 720_000
"""Drawn at once of a picture that can be drawn in parts, without what is around them: 1024 x 683 in one piece."""
MINIMUM_SIDE = 32
"""Smallest side a generator is given: its deepest reflect padding needs more than one pixel at stride 8."""


def to_model(pixels: Any) -> Any:
    """Scales [0, 255] to [-1, 1].

    Args:
        pixels: uint8 or float array of any shape, or a float tensor in [0, 255].

    Returns:
        The same shape in [-1, 1]; float32 for an array, the tensor's own dtype for a tensor.
    """
    if isinstance(pixels, np.ndarray):
        pixels = pixels.astype(np.float32)
    return pixels / 127.5 - 1.0


def to_bytes_range(values: Any) -> Any:
    """Scales [-1, 1] to [0, 255] without rounding: the inverse of `to_model` for arrays and tensors."""
    return (values + 1.0) * 127.5


def from_model(values: Any) -> np.ndarray:
    """Rounds and clips [-1, 1] of any shape to uint8 in [0, 255]."""
    return np.clip(np.rint(to_bytes_range(np.asarray(values, np.float32))), 0, 255).astype(np.uint8)


def pad(image: np.ndarray, multiple: int) -> np.ndarray:
    """Reflects a picture at its right and lower border up to a size that a generator takes.

    Args:
        image: (H, W, C), any H and W from 1.
        multiple: the generator's stride.

    Returns:
        (H', W', C) with H', W' multiples of `multiple`, at least `MINIMUM_SIDE`; `unpad` takes the border off again.
    """
    height, width = (max(-(-side // multiple) * multiple, MINIMUM_SIDE) for side in image.shape[:2])
    return np.pad(image, ((0, height - image.shape[0]), (0, width - image.shape[1]), (0, 0)), mode="reflect")


def unpad(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """Cuts (H', W', C) back to the (height, width, C) it had before `pad`."""
    return image[:height, :width]


def limit_size(picture: np.ndarray, longest_side: int) -> np.ndarray:
    """Scales (H, W, 3) uint8 down, antialiased, until no side is longer than `longest_side`; never up."""
    height, width = picture.shape[:2]
    scale = longest_side / max(height, width)
    if scale >= 1:
        return picture
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.LANCZOS))


def draw(generator: Callable[[np.ndarray], Any], picture: np.ndarray, stride: int, reach: int = 0) -> np.ndarray:
    """What a generator makes of a picture, in strips where it can, so that memory is a strip's.

    Args:
        generator: (1, H', W', 3) float32 [-1, 1] to the same, H' and W' multiples of `stride`.
        picture: uint8 RGB (H, W, 3), any H and W.
        stride, reach: the generator's, see `architecture.Kind`.

    Returns:
        uint8 RGB (H, W, 3).
    """
    padded = pad(picture, stride)
    height, width = padded.shape[:2]
    count = -(-height * width // STRIP_PIXELS) if reach else 1
    rows = -(-height // count // stride) * stride
    window = min(rows + reach * min(count - 1, 2), height)  # of one height all, so that nothing is made ready twice
    strips = []
    for top in range(0, height, rows):
        start = min(max(top - reach, 0), height - window)
        strip = from_model(generator(to_model(padded[start : start + window])[np.newaxis])[0])
        strips.append(strip[top - start : top - start + rows])
    return unpad(np.concatenate(strips), *picture.shape[:2])
