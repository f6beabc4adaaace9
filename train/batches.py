"""Pictures in memory, and the endless batches made of them: order, augmentation, and an exact position for resuming.

A photo and its flat version, an anime frame and its smooth version are cut alike; gray is computed from colour here.
"""

import hashlib
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import tensorflow as tf

from hub_export import pixels
from train.experiments import DataConfig
from train.losses import to_gray

ENLARGEMENT = 1.12
VIVID_SATURATION = 0.3
VIVID_EXPONENTS = (0.05, 0.1, 0.2)
"""Of R, G and B. Photos have a mean CIE lightness of 60, b* of -1 and chroma of 11; Hayao's frames 48, 4 and 16."""
DAY, NIGHT = (24.0, 0.99), (np.inf, 1.0)
"""`nearly_gray` and `white` of `tones_of`."""
TONE_SMOOTHING = 12.0
"""Levels of luma over which mean colours are smoothed, a Gaussian's sigma."""
TONE_STRIDE = 4
"""Every so many rows and columns of a frame are looked at."""
SURROUNDINGS_RADIUS, SURROUNDINGS_EDGE = 16, 30.0
"""Pixels, and the standard deviation of luma, in levels of 255, above which a neighbourhood is not averaged."""
LINE_SIGMAS, LINE_THRESHOLD, LINE_RANGE, LINE_DARKNESS = (1.0, 1.6), 5.0, 8.0, 0.5
"""Two Gaussians in pixels; how much darker than its neighbours, in levels of 255, a pixel is where a line begins, and how
much more where it is full; and how much of its luma a full line takes."""


class TrainingData:
    """Decoded pictures in memory, and the batches made of them. While it is made it needs twice its final memory.

    Args:
        config: size, augmentation, flatten and holdout.
        photos: uint8 (H, W, 3) RGB, any H and W, or (H, W, 6) with the flat version beside it where config.flatten is
            set; the list is emptied.
        anime: uint8 (H, W, 6), RGB and the edge-smoothed RGB; the list is emptied.
        source, terms: a sentence each, for the record.

    Attributes:
        photo_count, anime_count: pictures to train on.

    Raises:
        ValueError: holdout leaves nothing to train on.
    """

    def __init__(
        self, config: DataConfig, photos: list[np.ndarray], anime: list[np.ndarray], source: str = "", terms: str = ""
    ):
        self.config, self.source, self.terms = config, source, terms
        self.photo_count, self.anime_count = len(photos) - config.holdout, len(anime) - config.holdout
        if min(self.photo_count, self.anime_count) < 1:
            raise ValueError(
                f"{len(photos)} photos and {len(anime)} anime frames leave nothing to train on when "
                f"{config.holdout} of each are held out: lower data.holdout or add pictures"
            )
        if config.night:
            reds = [frame[..., 0].mean() for frame in anime[: self.anime_count]]
            nights = sorted(np.argsort(reds)[: max(1, round(config.night * self.anime_count))])
            anime[: self.anime_count] = [anime[index] for index in nights]
            self.anime_count = len(nights)
            self._exposure = _luma(anime[: self.anime_count]) / _luma(photos[: self.photo_count])
        self._photos, self._anime = _Store(photos), _Store(anime)
        if config.tones:
            frames = (self._anime.picture(index)[..., :3] for index in range(self.anime_count))
            self._tones = tones_of(frames, *(NIGHT if config.night else DAY))

    def summary(self) -> dict[str, Any]:
        """For the record: counts of what is trained on, what was held out, source and terms."""
        return {
            "photos": self.photo_count,
            "anime": self.anime_count,
            "held_out": self.config.holdout,
            "source": self.source,
            "terms": self.terms,
        }

    def held_out_photos(self) -> list[np.ndarray]:
        """The photos kept out of training: uint8 (H, W, 3) RGB."""
        return [self._photos.picture(self.photo_count + index)[..., :3] for index in range(self.config.holdout)]

    def held_out_anime(self) -> list[np.ndarray]:
        """The anime frames kept out of training: uint8 (H, W, 3) RGB."""
        return [self._anime.picture(self.anime_count + index)[..., :3] for index in range(self.config.holdout)]

    def fixed_photos(self, count: int) -> list[np.ndarray]:
        """The first photos, at most `count`, of those held out, or of those trained on where none are."""
        if self.config.holdout:
            return self.held_out_photos()[:count]
        return [self._photos.picture(index)[..., :3] for index in range(min(count, self.photo_count))]

    def steps_per_epoch(self, batch: int) -> int:
        """max(photos, frames) / batch, at least 1."""
        return max(1, max(self.photo_count, self.anime_count) // batch)

    def batches(
        self,
        batch: int,
        seed: int,
        start_step: int = 0,
        context: tf.distribute.InputContext | None = None,
        beside: Callable[[Any, Any], dict[str, Any]] | None = None,
    ) -> tf.data.Dataset:
        """Endless batches; element k depends on `seed` and `start_step + k` alone, to the bit.

        Photos and frames each come in a new random order every epoch of their own, none twice in one.

        Args:
            batch: pictures a step.
            seed: of order and augmentation.
            start_step: how many steps were taken before.
            context: which worker asks, if several replicas share the batches. It gets its part of every batch, in
                elements of one replica's share each; together they are the batches that one worker alone would get.
            beside: gives more entries for an element, from the indices of its photo and of its frame.

        Returns:
            Elements {"photo", "target", "anime", "anime_gray", "smooth", "smooth_gray"}, each (batch, size, size, 3)
            float32 [-1, 1] RGB. target is the photo in the same crop, flat where config.flatten is set, more vivid
            where config.vivid, as dark as the frames where config.night, in anime's tones where config.tones is and with
            lines where config.lines; the last four are one frame in one crop, the gray ones with three equal channels.
        """
        context = context or tf.distribute.InputContext()
        workers = context.num_input_pipelines
        first, end = start_step * batch, np.iinfo(np.int64).max
        photo_order, anime_order, photo_geometry, anime_geometry = (4 * seed + stream for stream in range(4))

        @tf.autograph.experimental.do_not_convert  # there is nothing to convert, and looking for it takes a second
        def example(position: Any, photo: Any, frame: Any) -> dict[str, Any]:
            photo_seed, frame_seed = tf.stack([photo_geometry, position]), tf.stack([anime_geometry, position])
            more = beside(photo, frame) if beside else {}
            return {**self._photo(photo, photo_seed), **self._frame(frame, frame_seed), **more}

        positions = tf.data.Dataset.zip(
            tf.data.Dataset.range(first, end),
            _order(self.photo_count, photo_order, first),
            _order(self.anime_count, anime_order, first),
        )
        own = positions.batch(batch // workers).shard(workers, context.input_pipeline_id).unbatch()
        examples = own.map(example, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
        shares = examples.batch(context.get_per_replica_batch_size(batch), drop_remainder=True).prefetch(2)
        return shares.apply(tf.data.experimental.assert_cardinality(tf.data.INFINITE_CARDINALITY))

    def still(self, batch: int) -> tuple[tf.data.Dataset, tf.data.Dataset]:
        """All photos and all frames that are trained on, once and in order, with the entries that `batches` has for them.

        Raises:
            ValueError: augmentation makes new pictures of them.
        """
        if self.config.augment != "none":
            raise ValueError(f"pictures change with data.augment={self.config.augment}, so their features cannot be kept")
        seed = tf.zeros(2, tf.int64)
        photos = tf.data.Dataset.range(self.photo_count).map(lambda index: self._photo(index, seed))
        frames = tf.data.Dataset.range(self.anime_count).map(lambda index: self._frame(index, seed))
        return photos.batch(batch), frames.batch(batch)

    def fingerprint(self) -> bytes:
        """Tells these pictures, as they are cut, from any others."""
        found = hashlib.sha256(repr((self.config, self.photo_count, self.anime_count)).encode())
        for store in (self._photos, self._anime):
            found.update(store.shapes.tobytes())
            found.update(store.flat.data)
        return found.digest()

    def _photo(self, index: Any, seed: Any) -> dict[str, Any]:
        picture = self._cut(self._photos.read(index), seed)
        target = picture[..., -3:]
        if self.config.vivid:
            target = enliven(target, self.config.vivid)
        if self.config.night:
            target = tf.minimum(self._exposure * target, 255.0)
        if self.config.tones:
            target = tint(target, self.config.tones * self._tones)
        if self.config.lines:
            target = outline(target, self.config.lines)
        return {"photo": pixels.to_model(picture[..., :3]), "target": pixels.to_model(target)}

    def _frame(self, index: Any, seed: Any) -> dict[str, Any]:
        picture = self._cut(self._anime.read(index), seed)
        colour, smooth = pixels.to_model(picture[..., :3]), pixels.to_model(picture[..., 3:])
        return {"anime": colour, "anime_gray": to_gray(colour), "smooth": smooth, "smooth_gray": to_gray(smooth)}

    def _cut(self, picture: Any, seed: Any) -> Any:
        """uint8 (H, W, C) of any H and W -> float32 (size, size, C) in [0, 255], as the augmentation says."""
        size, augment = self.config.size, self.config.augment
        chance = tf.random.stateless_uniform([3], seed)
        if augment == "crop":
            cut = _random_window(_enlarge(picture, size), size, chance)
        elif augment == "enlarge-crop":
            enlarged = round(ENLARGEMENT * size)
            cut = _random_window(_resize(_central_square(picture), enlarged, enlarged), size, chance)
        else:
            cut = _resize(_central_square(picture), size, size)
        if augment != "none":
            cut = tf.cond(chance[2] < 0.5, lambda: tf.reverse(cut, axis=[1]), lambda: cut)
        return tf.ensure_shape(cut, (size, size, picture.shape[-1]))


class _Store:
    """Pictures of any size and one number of channels in one flat buffer; empties the list it is given."""

    def __init__(self, pictures: list[np.ndarray]):
        self.channels = pictures[0].shape[-1]
        self.shapes = np.array([picture.shape for picture in pictures], np.int64)
        self.sizes = self.shapes.prod(axis=1)
        self.starts = self.sizes.cumsum() - self.sizes
        # Through DLPack, TensorFlow shares a buffer that is aligned to 64 bytes; tf.constant takes three times the memory.
        padded = np.empty(self.sizes.sum() + 64, np.uint8)
        offset = -padded.ctypes.data % 64
        self.flat = padded[offset : offset + self.sizes.sum()]
        for start, size in zip(self.starts, self.sizes, strict=True):
            self.flat[start : start + size] = pictures.pop(0).reshape(-1)
        self.tensor = tf.experimental.dlpack.from_dlpack(self.flat.__dlpack__())

    def picture(self, index: int) -> np.ndarray:
        """A copy of one picture."""
        start, size = self.starts[index], self.sizes[index]
        return np.array(self.flat[start : start + size].reshape(self.shapes[index]))

    def read(self, index: Any) -> Any:
        """The same inside tf.data: uint8 (?, ?, channels)."""
        start, size, shape = (tf.gather(values, index) for values in (self.starts, self.sizes, self.shapes))
        return tf.ensure_shape(tf.reshape(tf.slice(self.tensor, [start], [size]), shape), (None, None, self.channels))


def _order(count: int, key: int, first: int) -> tf.data.Dataset:
    """Endless indices below `count` from position `first` on: a permutation of its own for every `count` of them."""
    epochs = tf.data.Dataset.range(first // count, np.iinfo(np.int64).max)

    def permutation(epoch: Any) -> tf.data.Dataset:
        indices = tf.range(count, dtype=tf.int64)
        return tf.data.Dataset.from_tensor_slices(tf.random.experimental.stateless_shuffle(indices, tf.stack([key, epoch])))

    return epochs.flat_map(permutation).skip(first % count)


def enliven(picture: Any, vivid: float) -> Any:
    """(..., 3) RGB in [0, 255] -> the same, deeper, more colourful and warmer; black and white stay."""
    gray = to_gray(picture)
    saturated = gray + (1.0 + VIVID_SATURATION * vivid) * (picture - gray)
    return 255.0 * tf.clip_by_value(saturated / 255.0, 0.0, 1.0) ** (1.0 + vivid * tf.constant(VIVID_EXPONENTS))


def tones_of(frames: Iterable[np.ndarray], nearly_gray: float, white: float) -> np.ndarray:
    """What becomes of gray in anime: lights are softer and warm, shadows cool.

    Args:
        frames: uint8 (H, W, 3) RGB.
        nearly_gray: how far from gray in U and V a pixel may be that counts, in levels of 255.
        white: share of the frames' pixels that are darker than what white becomes.

    Returns:
        (256, 3) float32: for each luma what to add to Y, U and V, in levels of 255. White goes to the luma that `white` of
        the frames' pixels stay below, what is lighter than half in proportion; U and V are the mean of the frames' nearly
        gray pixels of the new luma, 0 where there is none.
    """
    shades, sums = np.zeros(256), np.zeros((3, 256))
    for frame in frames:
        yuv = tf.image.rgb_to_yuv(tf.cast(frame[::TONE_STRIDE, ::TONE_STRIDE], tf.float32)).numpy().reshape(-1, 3)
        luma = np.clip(np.rint(yuv[:, 0]), 0, 255).astype(np.int64)
        gray = np.hypot(yuv[:, 1], yuv[:, 2]) < nearly_gray
        shades += np.bincount(luma, minlength=256)
        sums += [np.bincount(luma[gray], weights, 256) for weights in (None, yuv[gray, 1], yuv[gray, 2])]
    levels = np.arange(256)
    count, u, v = sums @ np.exp(-0.5 * np.square((levels[:, None] - levels) / TONE_SMOOTHING))
    lightest = np.searchsorted(np.cumsum(shades), white * shades.sum())
    luma = np.minimum(levels, 127.5 + (levels - 127.5) * (lightest - 127.5) / 127.5)
    chroma = [np.interp(luma, levels, total / np.maximum(count, 1e-8)) for total in (u, v)]
    return np.stack([luma - levels, *chroma], axis=-1).astype(np.float32)


def tint(picture: Any, tones: Any) -> Any:
    """(H, W, 3) RGB in [0, 255] -> the same in the tones of `tones_of`.

    To a pixel's U and V is added what its luma has, to its Y what the luma around it has: softer lights keep the
    contrast within them.
    """
    yuv = tf.image.rgb_to_yuv(picture)
    y, uv = yuv[..., :1], yuv[..., 1:]

    def at(luma: Any, shifts: Any) -> Any:
        return tf.gather(shifts, tf.cast(tf.round(tf.clip_by_value(luma[..., 0], 0.0, 255.0)), tf.int32))

    moved = [y + at(_surroundings(y), tones[:, :1]), uv + at(y, tones[:, 1:])]
    return tf.clip_by_value(tf.image.yuv_to_rgb(tf.concat(moved, axis=-1)), 0.0, 255.0)


def outline(picture: Any, strength: float) -> Any:
    """(H, W, 3) RGB in [0, 255] -> the same with dark lines along the dark sides of its edges.

    At a strength of 1 a full line takes half of the luma. They are a difference of Gaussians, as in Winnemöller 2011,
    "XDoG: Advanced Image Stylization with eXtended Difference-of-Gaussians".
    """
    luma = to_gray(picture)[..., :1]
    narrow, wide = (_blurred(luma, sigma) for sigma in LINE_SIGMAS)
    line = tf.clip_by_value((wide - narrow - LINE_THRESHOLD) / LINE_RANGE, 0.0, 1.0)
    return tf.clip_by_value(picture - strength * LINE_DARKNESS * line * luma, 0.0, 255.0)


def _blurred(luma: Any, sigma: float) -> Any:
    """(H, W, 1) under a Gaussian."""
    radius = int(np.ceil(3 * sigma))
    kernel = np.exp(-0.5 * np.square(np.arange(-radius, radius + 1) / sigma))
    kernel = tf.constant(kernel / kernel.sum(), tf.float32)
    padded = tf.pad(luma, [[radius, radius], [radius, radius], [0, 0]], "REFLECT")[None]
    rows = tf.nn.conv2d(padded, tf.reshape(kernel, (-1, 1, 1, 1)), 1, "VALID")
    return tf.nn.conv2d(rows, tf.reshape(kernel, (1, -1, 1, 1)), 1, "VALID")[0]


def _surroundings(luma: Any) -> Any:
    """(H, W, 1) in [0, 255] -> its means within edges.

    He, Sun and Tang 2010, "Guided Image Filtering", guided by itself.
    """

    def mean(values: Any) -> Any:  # values outside do not count
        side = 2 * SURROUNDINGS_RADIUS + 1
        return tf.nn.avg_pool2d(tf.nn.avg_pool2d(values, (side, 1), 1, "SAME"), (1, side), 1, "SAME")

    values = luma[None] / 255.0
    average = mean(values)
    variance = tf.maximum(mean(tf.square(values)) - tf.square(average), 0.0)
    edge = variance / (variance + (SURROUNDINGS_EDGE / 255.0) ** 2)
    return 255.0 * (mean(edge) * values + mean((1.0 - edge) * average))[0]


def _luma(pictures: list[np.ndarray]) -> float:
    """The mean over pictures of uint8 (H, W, 3 or more), RGB first, in levels of 255."""
    return float(np.mean([picture[..., :3].mean(axis=(0, 1)) @ pixels.GRAY_WEIGHTS for picture in pictures]))


def _central_square(picture: Any) -> Any:
    height, width = tf.shape(picture)[0], tf.shape(picture)[1]
    side = tf.minimum(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return picture[top : top + side, left : left + side]


def _resize(picture: Any, height: Any, width: Any) -> Any:
    """To float32 in [0, 255], bilinear with antialiasing; a picture of that size already is only cast."""

    def resized() -> Any:
        values = tf.image.resize(picture, (height, width), "bilinear", antialias=True)
        return tf.clip_by_value(values, 0.0, 255.0)  # antialiasing weights sum to 1 up to rounding only

    same = tf.reduce_all(tf.shape(picture)[:2] == tf.stack([height, width]))
    return tf.cond(same, lambda: tf.cast(picture, tf.float32), resized)


def _enlarge(picture: Any, size: int) -> Any:
    """Makes the shorter side `size` where it is less: float32 in [0, 255]."""
    shape = tf.shape(picture)[:2]
    shorter = tf.reduce_min(shape)
    height, width = tf.unstack(tf.cast(tf.round(shape * tf.maximum(size, shorter) / shorter), tf.int32))
    return _resize(picture, height, width)


def _random_window(picture: Any, size: int, chance: Any) -> Any:
    room = tf.cast(tf.shape(picture)[:2] - size + 1, tf.float32)
    top, left = tf.unstack(tf.cast(chance[:2] * room, tf.int32))
    return picture[top : top + size, left : left + size]
