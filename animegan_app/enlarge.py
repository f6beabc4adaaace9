"""A drawing -> the same drawing in a photo's own size, strip by strip: beside the result, memory is a strip's.

A generator's lines are so many pixels wide; on more pixels it would draw finer and weaker ones. So the result is raised,
in three steps that suit flat areas and lines, and work for every generator alike:

1. Twice the size, then smoothed along lines and borders, never across (coherence-enhancing diffusion, Weickert 1999): what a
   plain enlargement makes of a slanting line are beads.
2. Bicubic to the photo's size.
3. Sharpened between what is around: of its neighbourhood's darkest and lightest tone, each pixel comes nearer to the one
   that it is near already. Nothing becomes darker or lighter than the drawing is there, so that no border gets a halo.
"""

from collections.abc import Callable, Iterator
from functools import reduce
from itertools import pairwise

import numpy as np
from PIL import Image

from hub_export import pixels

Weights = Callable[[np.ndarray], list[tuple[int, np.ndarray]]]
STRIP_PIXELS = 500_000
"""Of one strip, or a row: it is computed within a third of a second, in 50 MB."""
STEEPNESS = 3.0
"""How much narrower a border becomes at most: an enlarged one is about two pixels of the drawing wide."""
FAINT, CLEAR = 8.0, 32.0
"""Contrasts of a neighbourhood, in tones: up to the first it is a shade or grain and stays, from the second on a border."""
DIFFUSIONS = 3
"""Steps of 1 in time each: lines are smoothed over about 1.2 pixels of the drawing to both sides."""
BAND_PIXELS = 1_000_000
"""Smoothed at a time, in about 200 MB."""
REACH = 7 + 2 * DIFFUSIONS
"""Rows beyond a band that what is in it depends on: blur 2, slope 1, two blurs 4, and 2 for each step."""
NOISE = 4.0
"""Squared gradient, in tones a pixel, below which there is no direction to smooth along."""


class Enlargement:
    """A drawing made ready to be raised.

    Args:
        drawing: uint8 RGB (h, w, 3).
        size: width and height to raise it to.
    """

    def __init__(self, drawing: np.ndarray, size: tuple[int, int]):
        self.width, self.height = size
        factor = min(self.height / drawing.shape[0], self.width / drawing.shape[1])
        self._steepness = min(max(factor, 1.0), STEEPNESS)
        self._share = min(max(factor - 1, 0.0), 1.0)
        """Of the smoothing and sharpening, which a drawing of the photo's own size does not need."""
        self._itself = drawing if drawing.shape[:2] == (self.height, self.width) else None
        if self._itself is None:
            twice = Image.fromarray(drawing).resize((2 * drawing.shape[1], 2 * drawing.shape[0]), Image.Resampling.BICUBIC)
            self._smooth = self._widened(_coherent(np.asarray(twice), self._share), Image.Resampling.BICUBIC)
            self._darkest, self._lightest = (
                self._widened(tones, Image.Resampling.BILINEAR) for tones in _neighbourhood(drawing)
            )

    def rows(self, top: int, bottom: int) -> np.ndarray:
        """Rows from `top` to before `bottom` of the enlarged drawing: uint8 RGB (bottom - top, width, 3)."""
        if self._itself is not None:
            return self._itself[top:bottom]
        darkest = self._raised(self._darkest, top, bottom, _linear)
        contrast = self._raised(self._lightest, top, bottom, _linear) - darkest
        smooth = np.clip(self._raised(self._smooth, top, bottom, _cubic), darkest, darkest + contrast)
        place = (smooth - darkest) / np.maximum(contrast, 1)
        place = np.clip((place - 0.5) * self._steepness + 0.5, 0, 1)
        sharp = darkest + contrast * (place * place * (3 - 2 * place))
        border = np.clip((contrast - FAINT) * (self._share / (CLEAR - FAINT)), 0, self._share)
        return np.rint(smooth + border * (sharp - smooth)).astype(np.uint8)

    def strips(self) -> Iterator[tuple[int, int]]:
        """Top and bottom of strips, from above, that together are the picture."""
        count = min(self.height, -(-self.width * self.height // STRIP_PIXELS))
        return pairwise(round(self.height * number / count) for number in range(count + 1))

    def _widened(self, layer: np.ndarray, method: Image.Resampling) -> np.ndarray:
        return np.asarray(Image.fromarray(layer).resize((self.width, layer.shape[0]), method))

    def _raised(self, layer: np.ndarray, top: int, bottom: int, weights: Weights) -> np.ndarray:
        """Rows of a layer that is as wide as the picture: float32. Each is computed for itself, whatever the strip."""
        places = (np.arange(top, bottom) + 0.5) * (layer.shape[0] / self.height) - 0.5
        first = np.floor(places).astype(int)
        parts = (
            layer[np.clip(first + offset, 0, layer.shape[0] - 1)] * weight.astype(np.float32)[:, np.newaxis, np.newaxis]
            for offset, weight in weights(places - first)
        )
        return reduce(np.add, parts)


def _linear(share: np.ndarray) -> list[tuple[int, np.ndarray]]:
    """Which neighbours count how much, `share` of a pixel behind the first."""
    return [(0, 1 - share), (1, share)]


def _cubic(share: np.ndarray) -> list[tuple[int, np.ndarray]]:
    """The same after Keys (1981) with a = -1/2, as Pillow's."""
    near, far = 1 - share, share
    return [
        (-1, -0.5 * share * near**2),
        (0, near * (1 + share - 1.5 * share**2)),
        (1, far * (1 + near - 1.5 * near**2)),
        (2, -0.5 * near * share**2),
    ]


def enlarge(drawing: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A whole drawing, uint8 RGB (h, w, 3), at this width and height."""
    enlargement = Enlargement(drawing, size)
    whole = np.empty((size[1], size[0], 3), np.uint8)
    for top, bottom in enlargement.strips():
        whole[top:bottom] = enlargement.rows(top, bottom)
    return whole


def _coherent(picture: np.ndarray, share: float) -> np.ndarray:
    """A picture, uint8 RGB (H, W, 3), smoothed along its lines by a share of it."""
    height, width = picture.shape[:2]
    smooth = np.empty_like(picture)
    rows = max(1, BAND_PIXELS // width)
    for top in range(0, height, rows):
        above, bottom = max(0, top - REACH), min(top + rows, height)
        band = _diffused(picture[above : bottom + REACH].astype(np.float32), share)
        smooth[top:bottom] = np.clip(np.rint(band[top - above : bottom - above]), 0, 255)
    return smooth


def _diffused(values: np.ndarray, share: float) -> np.ndarray:
    """Float (H, W, 3) after `DIFFUSIONS` steps. What a row becomes depends on no row farther than `REACH`."""
    down, right = _slopes(_blurred(values @ np.array(pixels.GRAY_WEIGHTS, np.float32)))
    across, both, along = (_blurred(_blurred(product)) for product in (right * right, right * down, down * down))
    spread = np.hypot(across - along, 2 * both)  # between the structure tensor's eigenvalues
    coherence = share * (spread / (across + along + NOISE)) ** 2
    cosine, sine = (part / np.maximum(spread, 1e-6) for part in (across - along, 2 * both))  # of twice the gradient's angle
    horizontal, diagonal, vertical = (
        (coherence * part)[..., np.newaxis] for part in ((1 - cosine) / 2, -sine / 2, (1 + cosine) / 2)
    )
    for _ in range(DIFFUSIONS):
        down, right = _slopes(values)
        values = values + _slopes(diagonal * right + vertical * down)[0] + _slopes(horizontal * right + diagonal * down)[1]
    return values


def _slopes(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Central differences downwards and to the right of (H, W, ...); at the rim, as if its values went on."""
    padded = np.pad(values, ((1, 1), (1, 1), *((0, 0),) * (values.ndim - 2)), mode="edge")
    return (padded[2:, 1:-1] - padded[:-2, 1:-1]) / 2, (padded[1:-1, 2:] - padded[1:-1, :-2]) / 2


def _blurred(values: np.ndarray) -> np.ndarray:
    """(H, W), by the binomial filter 1 4 6 4 1: a Gaussian of σ = 1."""
    for axis in (0, 1):
        padded = np.pad(values, [(2, 2) if axis == each else (0, 0) for each in (0, 1)], mode="edge")
        size = values.shape[axis]
        one, two, three, four, five = (padded.take(range(start, start + size), axis) for start in range(5))
        values = (one + five + 4 * (two + four) + 6 * three) / 16
    return values


def _neighbourhood(picture: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The darkest and the lightest tone of each channel within 3×3 pixels of (H, W, C)."""
    height, width = picture.shape[:2]
    padded = np.pad(picture, ((1, 1), (1, 1), (0, 0)), mode="edge")
    beside = [padded[:, start : start + width] for start in range(3)]
    tones = []
    for extreme in (np.minimum, np.maximum):
        row = extreme(extreme(beside[0], beside[1]), beside[2])
        tones.append(extreme(extreme(row[:height], row[1 : height + 1]), row[2:]))
    return tones[0], tones[1]
