"""One photo's way: file -> bounded RGB uint8 -> generator -> RGB uint8 of the same size -> raised to the photo's own.

TensorFlow loads with the first generator, never with this module, so that the app's first page does not wait for it.
"""

import os
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Generator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from animegan_app.enlarge import Enlargement
from animegan_app.photos import PhotoError as PhotoError
from animegan_app.photos import full_size, read_opacity
from animegan_app.photos import read_photo as read_photo
from hub_export import pixels
from hub_export.architecture import GeneratorConfig
from hub_export.checkpoint import load_generator
from hub_export.record import CheckpointError, read_record

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # TensorFlow's notes on its own build are not for a person with a photo

LONGEST_SIDES = (512, 768, 1024, 1536)
DEFAULT_LONGEST_SIDE = 768
"""Of the app, where somebody waits: drawn within a second on two cores, where 1024 takes twice as long."""
FILES_LONGEST_SIDE = 1024
"""Of files: blind judges kept this size of `cel` in 23 of 34 against 768; on more pixels lines get too thin."""
MAX_PIXELS = max(LONGEST_SIDES) ** 2
"""What a generator is given at most: v2 takes about 2 kB a pixel, 4.7 GB for this many."""
MOST_STRENGTH = 150
"""Percent; the bundled checkpoint shown first stays clean up to it, by eye."""
LUMA = np.array(pixels.GRAY_WEIGHTS, np.float32)
"""Shares of red, green and blue in a pixel's light, after ITU-R BT.601."""


@dataclass(frozen=True)
class Stylized:
    """A photo and its anime version.

    Args:
        photo, anime: uint8 RGB (H, W, 3) of one size.
        seconds: what the generator took, loading not counted.
    """

    photo: np.ndarray
    anime: np.ndarray
    seconds: float


def blend(photo: np.ndarray, anime: np.ndarray, strength: float, photo_colours: float) -> np.ndarray:
    """An anime picture toned down or exaggerated: nearer to the photo or beyond the drawing, or in the photo's colours.

    Light and colour are the luma and chroma of JPEG's YCbCr. There R = Y + 1.402 Cr, and so on, so that a colour without its
    luma, (R - Y, G - Y, B - Y), is its chroma; chroma is mixed before pictures are.

    Args:
        photo, anime: uint8 RGB (H, W, 3).
        strength: 1 for the anime picture, 0 for the photo; more than 1 goes on in the direction from photo to drawing.
        photo_colours: 0 for the anime picture's colours, 1 for the photo's under the anime picture's light.

    Returns:
        uint8 RGB (H, W, 3).
    """
    if (strength, photo_colours) == (1, 0):
        return anime
    before, after = photo.astype(np.float32), anime.astype(np.float32)
    change = (1 - photo_colours) * (after - before) + photo_colours * ((after - before) @ LUMA)[..., np.newaxis]
    return np.clip(np.rint(before + strength * change), 0, 255).astype(np.uint8)


def in_full(
    source: Path | bytes, anime: np.ndarray, original: tuple[int, int], strength: float, photo_colours: float
) -> Generator[float, None, np.ndarray]:
    """The anime picture in its photo's own size, blended as `blend` does, and as transparent as the photo.

    Args:
        source: the photo, as `read_photo` takes it.
        anime: what a generator drew of it, uint8 RGB (h, w, 3).
        original: width and height of the photo's file.
        strength, photo_colours: see `blend`.

    Yields:
        The fraction that is done, after each strip.

    Returns:
        uint8 RGB or RGBA (H, W, 3 or 4).

    Raises:
        PhotoError: the photo can no longer be read.
    """
    photo = None if (strength, photo_colours) == (1, 0) else read_photo(source)
    opacity = read_opacity(source)
    enlargement = Enlargement(anime, full_size(original))
    whole = np.empty((enlargement.height, enlargement.width, 3 if opacity is None else 4), np.uint8)
    for top, bottom in enlargement.strips():
        rows = enlargement.rows(top, bottom)
        if photo is not None:
            rows = blend(photo[top:bottom], rows, strength, photo_colours)
        if opacity is not None:
            seen = opacity[top:bottom, :, np.newaxis]
            whole[top:bottom, :, 3:] = seen
            rows = _without_white(rows, seen)
        whole[top:bottom, :, :3] = rows
        yield bottom / enlargement.height
    return whole


def _without_white(rows: np.ndarray, opacity: np.ndarray) -> np.ndarray:
    """The colours that, so opaque and over white, look like these: else a cut-out picture has a white rim."""
    seen = opacity.astype(np.float32)
    return np.clip(np.rint((rows - (255 - seen)) * (255 / np.maximum(seen, 1))), 0, 255).astype(np.uint8)


class Stylizer:
    """Draws with generators from checkpoint folders and keeps the last few loaded.

    May be called from many threads; one generator draws at a time, on all cores, so that memory stays bounded.

    Args:
        capacity: how many generators stay loaded.
    """

    def __init__(self, capacity: int = 8):
        self._capacity = capacity
        self._loaded: OrderedDict[tuple[Path, str], tuple[Callable[[np.ndarray], Any], GeneratorConfig]] = OrderedDict()
        self._traced: OrderedDict[str, tuple[Callable[..., Any], Any]] = OrderedDict()
        self._lock = threading.Lock()
        self._warming: threading.Thread | None = None

    def stylize(self, photo: np.ndarray, folder: Path) -> Stylized:
        """Draws a photo.

        Args:
            photo: uint8 RGB (H, W, 3), H * W at most `MAX_PIXELS`.
            folder: a checkpoint, see `hub_export.checkpoint`.

        Raises:
            PhotoError: more than `MAX_PIXELS`.
            CheckpointError: missing, damaged or tampered with.
        """
        height, width = photo.shape[:2]
        if height * width > MAX_PIXELS:
            raise PhotoError(
                "{width} × {height} pixels are too many to draw at once: scale the photo down.", width=width, height=height
            )
        with self._lock:
            generator, config = self._generator(folder)
            start = time.perf_counter()
            anime = pixels.draw(generator, photo, config.stride, config.reach)
            return Stylized(photo, anime, time.perf_counter() - start)

    def warm_up(self, folder: Path) -> None:
        """Loads TensorFlow and a generator in a background thread; the first call counts, later ones do nothing."""
        if self._warming is None:
            self._warming = threading.Thread(target=self._warm_up, args=(folder,), daemon=True)
            self._warming.start()

    def _warm_up(self, folder: Path) -> None:
        try:
            self.stylize(np.zeros((pixels.MINIMUM_SIDE, pixels.MINIMUM_SIDE, 3), np.uint8), folder)
        except CheckpointError:
            return  # who chooses this checkpoint is told

    def _generator(self, folder: Path) -> tuple[Callable[[np.ndarray], Any], GeneratorConfig]:
        """The drawing function `(1, H, W, 3) -> (1, H, W, 3)` of a checkpoint, loaded at most once, and its kind."""
        record = read_record(folder)
        key = folder, record.sha256
        if key not in self._loaded:
            import tensorflow as tf

            kind = str(sorted(record.generator.items()))
            draw, built = self._traced.get(kind, (None, None))
            generator = load_generator(folder, into=built)
            variables = generator.trainable_variables, generator.non_trainable_variables
            weights = tf.nest.map_structure(lambda variable: tf.identity(variable.value), variables)
            if draw is None:
                # One trace for every size and all weights; autograph has nothing to convert in a Functional model.
                shapes = tf.nest.map_structure(lambda weight: tf.TensorSpec(weight.shape, weight.dtype), weights)
                draw = tf.function(
                    lambda weights, photo: generator.stateless_call(*weights, photo)[0],
                    input_signature=[shapes, tf.TensorSpec((1, None, None, 3), tf.float32)],
                    autograph=False,
                )
                blank = np.zeros((1, pixels.MINIMUM_SIDE, pixels.MINIMUM_SIDE, 3), np.float32)
                draw(weights, blank)  # traces: no drawing's time
                self._traced[kind] = draw, generator
            self._traced.move_to_end(kind)
            self._loaded[key] = partial(draw, weights), record.generator_config
        self._loaded.move_to_end(key)
        for kept in (self._loaded, self._traced):
            while len(kept) > self._capacity:
                kept.popitem(last=False)
        return self._loaded[key]
