"""A disk cache of VGG features and Gram matrices, for runs without augmentation."""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from tqdm import tqdm

from hub_export.files import os_sentence
from train.batches import TrainingData
from train.losses import gram_matrix
from train.tensors import Tensor

BATCH = 8


class FeatureCache:
    """What content and style are compared with, for every photo and every anime frame.

    Args:
        folder: gets two files, with 1 MB for a photo of 256 pixels (512 channels in bfloat16) and 1 MB for a frame.
        features: the frozen feature network.
        data: pictures, not augmented.
        style: which of a frame's entries has the style, "anime" or "anime_gray".

    Raises:
        ValueError: the files cannot be written; the message names the remedy.
    """

    def __init__(self, folder: Path, features: keras.Model, data: TrainingData, style: str):
        photos, frames = data.still(BATCH)
        known = hashlib.sha256(repr(data.config).encode() + data.fingerprint())
        for weight in features.get_weights():
            known.update(weight.tobytes())
        key = f"{features.compute_dtype}-{known.hexdigest()[:16]}"
        targets = photos.map(lambda entry: entry["target"])
        styles = frames.map(lambda entry: entry[style])
        folder.mkdir(parents=True, exist_ok=True)
        try:
            self._features = _cache(folder / f"target-{key}.npy", data.photo_count, targets, features)
            self._grams = _cache(
                folder / f"{style}-{key}.npy", data.anime_count, styles, lambda pictures: gram_matrix(features(pictures))
            )
        except OSError as error:
            failed = os_sentence(error, folder, "train without --cache-features")
            raise ValueError(f"features cannot be cached in {failed}") from None
        self._dtype = tf.as_dtype(features.compute_dtype)

    def beside(self, photo: Tensor, frame: Tensor) -> dict[str, Tensor]:
        """For `TrainingData.batches`: {"target_features": (h, w, C) in the compute dtype, "style_gram": (C, C) float32}."""
        features = _read(self._features, photo)
        return {
            "target_features": features if features.dtype == self._dtype else tf.bitcast(features, self._dtype),
            "style_gram": _read(self._grams, frame),
        }


def _cache(path: Path, count: int, pictures: tf.data.Dataset, compute: Callable[[Tensor], Tensor]) -> np.ndarray:
    """The file of what `compute` gives for all pictures, mapped: (count, ...) float32, or uint16, bits of 16-bit floats."""
    if not path.exists():
        partial = path.with_suffix(".partial")
        step = tf.function(compute, autograph=False)
        with open(partial, "wb") as file:
            for batch in tqdm(pictures, f"features of {path.stem.partition('-')[0]}", -(-count // BATCH), unit="batch"):
                values = step(batch).numpy()
                values = values if values.dtype == np.float32 else values.view(np.uint16)
                if not file.tell():
                    header = {"descr": values.dtype.str, "fortran_order": False, "shape": (count, *values.shape[1:])}
                    np.lib.format.write_array_header_1_0(file, header)
                file.write(values.tobytes())
            file.flush()
            os.fsync(file.fileno())
        partial.rename(path)
    return np.load(path, mmap_mode="r")


def _read(cached: np.ndarray, index: Tensor) -> Tensor:
    """One entry, inside tf.data."""
    value = tf.numpy_function(lambda number: np.array(cached[number]), [index], tf.as_dtype(cached.dtype))
    return tf.ensure_shape(value, cached.shape[1:])
