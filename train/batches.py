"""Pictures in memory, and the endless batches made of them: order, augmentation, and an exact position for resuming.

A photo and its target, an anime frame and its smooth version are cut alike; gray is computed from colour here.
"""

import hashlib
from collections.abc import Callable, Collection
from typing import Any

import numpy as np
import tensorflow as tf

from hub_export import pixels
from train.losses import to_gray
from train.processes import cores
from train.settings import DataConfig
from train.signs import make_signs
from train.tensors import Tensor

ENTRIES = ("photo", "target", "anime", "anime_gray", "smooth", "smooth_gray")
"""What an element of `TrainingData.batches` can have."""
ENLARGEMENT = 286 / 256
"""Of a picture before a random window is cut, as pix2pix, CycleGAN and the diary have it."""
GRAIN, NOISE = 16.0 / 127.5, 4.0 / 127.5
"""What a redrawn frame gets at most of a photo's texture, and the deviation of the noise beside it, of 2."""


class TrainingData:
    """Decoded pictures in memory, and the batches made of them. While it is made it needs twice its final memory.

    Args:
        config: size, augmentation, shares of redrawn frames and of signs, and holdout.
        photos: uint8 (H, W, 3) RGB, any H and W, or (H, W, 6) with the target beside it; the list is emptied.
        anime: uint8 (H, W, 6), RGB and the edge-smoothed RGB, or (H, W, 9) with what `targets.unpaint` makes of it too; the
            list is emptied. There need be none for recipes that look at photos alone.
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
        self.photo_count = len(photos) - config.holdout
        self.anime_count = len(anime) - config.holdout if anime else 0
        if self.photo_count < 1 or (anime and self.anime_count < 1):
            raise ValueError(
                f"{len(photos)} photos and {len(anime)} anime frames leave nothing to train on when "
                f"{config.holdout} of each are held out: lower data.holdout or add pictures"
            )
        self._photos, self._anime = _Store(photos), _Store(anime) if anime else None
        with tf.device("CPU"):
            self._signs = tf.constant(make_signs(config.target)) if config.signs else None

    @property
    def has_targets(self) -> bool:
        """Whether a photo is to become something else than itself."""
        return self._photos.channels == 6

    def summary(self, entries: Collection[str] = ENTRIES) -> dict[str, Any]:
        """For the record: counts of what is trained on, given which of ENTRIES are, what was held out, source and terms."""
        uses_frames = bool(set(entries) - {"photo", "target"}) or self.config.redrawn > 0
        return {
            "photos": self.photo_count,
            "anime": self.anime_count if uses_frames else 0,
            "held_out": self.config.holdout,
            "source": self.source,
            "terms": self.terms,
        }

    def held_out_photos(self) -> list[np.ndarray]:
        """The photos kept out of training: uint8 (H, W, 3) RGB."""
        return [self._photos.picture(self.photo_count + index)[..., :3] for index in range(self.config.holdout)]

    def held_out_anime(self) -> list[np.ndarray]:
        """The anime frames kept out of training: uint8 (H, W, 3) RGB."""
        if not self._anime:
            return []
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
        entries: Collection[str] = ENTRIES,
        beside: Callable[[Tensor, Tensor], dict[str, Tensor]] | None = None,
    ) -> tf.data.Dataset:
        """Endless batches; element k depends on `seed` and `start_step + k` alone, to the bit.

        Photos and frames each come in a new random order every epoch of their own, none twice in one.

        Args:
            batch: pictures a step.
            seed: of order and augmentation.
            start_step: how many steps were taken before.
            context: which worker asks, if several replicas share the batches. It gets its part of every batch, in
                elements of one replica's share each; together they are the batches that one worker alone would get.
            entries: which of ENTRIES an element has.
            beside: gives more entries for an element, from the indices of its photo and of its frame.

        Returns:
            Elements of ENTRIES, each (batch, size, size, 3) float32 [-1, 1] RGB. target is what the photo is to
            become, in the same crop; anime, anime_gray, smooth and smooth_gray are one frame in one crop, the gray ones
            with three equal channels. Where config.redrawn or config.signs is set, photo and target are sometimes that
            frame, or have a sign, see there.
        """
        context = context or tf.distribute.InputContext()
        workers = context.num_input_pipelines
        first, end = start_step * batch, np.iinfo(np.int64).max
        photo_order, anime_order, photo_geometry, anime_geometry = (4 * seed + stream for stream in range(4))
        frames = _order(self.anime_count, anime_order, first) if self._anime else tf.data.Dataset.range(first, end)

        @tf.autograph.experimental.do_not_convert  # there is nothing to convert, and looking for it takes a second
        def example(position: Tensor, photo: Tensor, frame: Tensor) -> dict[str, Tensor]:
            photo_seed, frame_seed = tf.stack([photo_geometry, position]), tf.stack([anime_geometry, position])
            pictures = {**self._photo(photo, photo_seed), **self._frame(frame, frame_seed)}
            if self.config.redrawn:
                pictures |= self._redrawn(pictures, frame_seed)
            if self.config.signs:
                pictures |= self._signed(pictures, photo_seed)
            more = beside(photo, frame) if beside else {}
            return {name: picture for name, picture in pictures.items() if name in entries} | more

        positions = tf.data.Dataset.zip(
            tf.data.Dataset.range(first, end),
            _order(self.photo_count, photo_order, first),
            frames,
        )
        own = positions.batch(batch // workers).shard(workers, context.input_pipeline_id).unbatch()
        examples = own.map(example, num_parallel_calls=cores(), deterministic=True)
        shares = examples.batch(context.get_per_replica_batch_size(batch), drop_remainder=True).prefetch(2)
        options = tf.data.Options()
        options.autotune.enabled = (
            False  # its thread sleeps ever longer, and who lets go of the dataset may wait until it wakes
        )
        return shares.with_options(options).apply(tf.data.experimental.assert_cardinality(tf.data.INFINITE_CARDINALITY))

    def still(self, batch: int) -> tuple[tf.data.Dataset, tf.data.Dataset]:
        """All photos and all frames that are trained on, once and in order, with the entries that `batches` has for them.

        Augmentation would make new pictures of them at every step.
        """
        assert self.config.augment == "none"
        seed = tf.zeros(2, tf.int64)
        photos = tf.data.Dataset.range(self.photo_count).map(lambda index: self._photo(index, seed))
        frames = tf.data.Dataset.range(self.anime_count).map(lambda index: self._frame(index, seed))
        return photos.batch(batch), frames.batch(batch)

    def fingerprint(self, stride: int = 1) -> bytes:
        """Tells these pictures from others, by every `stride`-th of their bytes."""
        digest = hashlib.sha256(repr((self.photo_count, self.anime_count)).encode())
        for store in filter(None, (self._photos, self._anime)):
            digest.update(store.shapes.tobytes())
            digest.update(np.ascontiguousarray(store.flat[::stride]).data)
        if self._signs is not None:
            digest.update(self._signs.numpy().data)
        return digest.digest()

    def _photo(self, index: Tensor, seed: Tensor) -> dict[str, Tensor]:
        picture = self._cut(self._photos.read(index), seed, self.config.augment)
        return {"photo": pixels.to_model(picture[..., :3]), "target": pixels.to_model(picture[..., -3:])}

    def _frame(self, index: Tensor, seed: Tensor) -> dict[str, Tensor]:
        if not self._anime:
            return {}
        augment = self.config.augment if self.config.augment_frames else "none"
        picture = self._cut(self._anime.read(index), seed, augment)
        colour, smooth = pixels.to_model(picture[..., :3]), pixels.to_model(picture[..., 3:6])
        pictures = {"anime": colour, "anime_gray": to_gray(colour), "smooth": smooth, "smooth_gray": to_gray(smooth)}
        return pictures | {"unpainted": pixels.to_model(picture[..., 6:])} if picture.shape[-1] == 9 else pictures

    def _redrawn(self, pictures: dict[str, Tensor], seed: Tensor) -> dict[str, Tensor]:
        """Photo and target, or by chance an unpainted frame with the photo's grain and some noise, and the frame."""
        chance = tf.random.stateless_uniform([3], seed + tf.constant([0, 1 << 40], tf.int64))

        def frame() -> tuple[Tensor, Tensor]:
            photo = pictures["photo"]
            grain = photo - tf.nn.avg_pool2d(photo[None], 5, 1, "SAME")[0]
            noise = tf.random.stateless_normal(photo.shape, seed, stddev=NOISE)
            grainy = pictures["unpainted"] + tf.clip_by_value(grain, -GRAIN, GRAIN) * chance[1] + noise * chance[2]
            return tf.clip_by_value(grainy, -1.0, 1.0), pictures["anime"]

        photo, target = tf.cond(chance[0] < self.config.redrawn, frame, lambda: (pictures["photo"], pictures["target"]))
        return {"photo": photo, "target": target}

    def _signed(self, pictures: dict[str, Tensor], seed: Tensor) -> dict[str, Tensor]:
        """Photo and target, by chance with a sign somewhere in both."""
        assert self._signs is not None
        size = self.config.size
        chance = tf.random.stateless_uniform([4], seed + tf.constant([0, 1 << 41], tf.int64))
        sign = tf.gather(self._signs, tf.cast(chance[3] / self.config.signs * len(self._signs), tf.int32) % len(self._signs))
        room = [[max(size - side, 0)] * 2 for side in sign.shape[:2]]
        window = tf.cast(_random_window(tf.pad(sign, [*room, [0, 0]]), size, chance), tf.float32)
        cover = window[..., 6:] / 255 * tf.cast(chance[3] < self.config.signs, tf.float32)
        beneath = {name: pictures[name] * (1 - cover) for name in ("photo", "target")}
        return {
            "photo": beneath["photo"] + pixels.to_model(window[..., :3]) * cover,
            "target": beneath["target"] + pixels.to_model(window[..., 3:6]) * cover,
        }

    def _cut(self, picture: Tensor, seed: Tensor, augment: str) -> Tensor:
        """uint8 (H, W, C) of any H and W -> float32 (size, size, C) in [0, 255], as the augmentation says."""
        size = self.config.size
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

    def read(self, index: Tensor) -> Tensor:
        """The same inside tf.data: uint8 (?, ?, channels)."""
        start, size, shape = (tf.gather(values, index) for values in (self.starts, self.sizes, self.shapes))
        return tf.ensure_shape(tf.reshape(tf.slice(self.tensor, [start], [size]), shape), (None, None, self.channels))


def _order(count: int, key: int, first: int) -> tf.data.Dataset:
    """Endless indices below `count` from position `first` on: a permutation of its own for every `count` of them."""
    epochs = tf.data.Dataset.range(first // count, np.iinfo(np.int64).max)

    def permutation(epoch: Tensor) -> tf.data.Dataset:
        indices = tf.range(count, dtype=tf.int64)
        return tf.data.Dataset.from_tensor_slices(tf.random.experimental.stateless_shuffle(indices, tf.stack([key, epoch])))

    return epochs.flat_map(permutation).skip(first % count)


def _central_square(picture: Tensor) -> Tensor:
    height, width = tf.shape(picture)[0], tf.shape(picture)[1]
    side = tf.minimum(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return picture[top : top + side, left : left + side]


def _resize(picture: Tensor, height: Tensor, width: Tensor) -> Tensor:
    """To float32 in [0, 255], bilinear with antialiasing; a picture of that size already is only cast."""

    def resized() -> Tensor:
        values = tf.image.resize(picture, (height, width), "bilinear", antialias=True)
        return tf.clip_by_value(values, 0.0, 255.0)  # antialiasing weights sum to 1 up to rounding only

    same = tf.reduce_all(tf.shape(picture)[:2] == tf.stack([height, width]))
    return tf.cond(same, lambda: tf.cast(picture, tf.float32), resized)


def _enlarge(picture: Tensor, size: int) -> Tensor:
    """Makes the shorter side `size` where it is less: float32 in [0, 255]."""
    shape = tf.shape(picture)[:2]
    shorter = tf.reduce_min(shape)
    height, width = tf.unstack(tf.cast(tf.round(shape * tf.maximum(size, shorter) / shorter), tf.int32))
    return _resize(picture, height, width)


def _random_window(picture: Tensor, size: int, chance: Tensor) -> Tensor:
    room = tf.cast(tf.shape(picture)[:2] - size + 1, tf.float32)
    top, left = tf.unstack(tf.cast(chance[:2] * room, tf.int32))
    return picture[top : top + size, left : left + size]
