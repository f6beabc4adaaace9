"""Pictures decoded and prepared once as a TFDS set, and read into memory, from where batches.py serves them.

An anime frame and its edge-smoothed version come from one decode: the smoothed picture is made from the pixels that are
stored beside it. Likewise a photo and its target, what `targets.py` paints of it.
"""

import contextlib
import functools
import hashlib
import io
import itertools
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from absl import logging
from PIL import Image, ImageOps
from tqdm import tqdm

from train.batches import TrainingData
from train import targets
from train.experiments import DataConfig
from train.smooth import smooth_edges
from train.sources import Kind, Listing, Source, Unusable, locate, monet2photo

MINIMUM_SIDE = 64
MAXIMUM_SHORTER_SIDE = 512
MAXIMUM_ASPECT = 4
MAXIMUM_PIXELS = 80_000_000
"""Checked before a picture is decoded; below the size from which Pillow warns."""

LAYERS = ("photo", "target", "anime", "smooth")
"""What an example may hold, in the order of channels in memory."""


def open_data(config: DataConfig, source: Source, cache: Path | None = None) -> TrainingData:
    """Prepares the pictures, or finds them prepared, and reads them into memory.

    Args:
        config: which pictures.
        source: where they are.
        cache: where prepared sets and downloads are kept; TFDS_DATA_DIR or ~/tensorflow_datasets without it.

    Raises:
        ValueError: the pictures are missing, unusable or too few, or a download failed.
    """
    for name in ("resolution", "holdout", "vivid", "tones", "lines"):
        if not getattr(config, name) >= 0:
            raise ValueError(f"data.{name} cannot be negative, got {getattr(config, name):g}")
    cache = (cache or Path(os.environ.get("TFDS_DATA_DIR", "~/tensorflow_datasets"))).expanduser()
    located = locate(config, source, cache)
    anime = _open_set("anime", located.anime, config, cache)
    if located.photos is None:
        photos = _fit_photos(monet2photo(cache), config)
    else:
        photos = _open_set("photo", located.photos, config, cache)
    return TrainingData(config, list(photos), list(anime), located.sentence, located.terms)


def _fit_photos(photos: Iterator[np.ndarray], config: DataConfig) -> Iterator[np.ndarray]:
    """Photos that are prepared already as `TrainingData` takes them; only resized and painted here, not stored."""

    def photo(image: np.ndarray) -> np.ndarray:
        colour = np.asarray(_fit(Image.fromarray(image), config.resolution))
        return np.dstack([colour, targets.paint(colour, config.target)]) if config.target else colour

    return _parallel(photo, photos)


@dataclass(eq=False, kw_only=True)
class PictureConfig(tfds.core.BuilderConfig):
    """One kind of picture of one source; its name holds a digest of everything that the prepared set depends on."""

    kind: Kind
    resolution: int
    target: str
    listing: Listing = field(repr=False)


class AnimeganPictures(tfds.core.GeneratorBasedBuilder):
    """Prepared pictures as TFRecords, with colour as JPEG (the original's bytes) or PNG.

    Photos hold {"photo"}, and "target" if one is asked for; anime frames {"anime", "smooth"}.
    `info.metadata["skipped"]` maps reasons to names of the pictures left out.
    """

    VERSION = tfds.core.Version("2.0.0")

    def _info(self) -> tfds.core.DatasetInfo:
        config = self.builder_config
        features = {config.kind: tfds.features.Image(shape=(None, None, 3))}
        if config.kind == "anime":
            features["smooth"] = tfds.features.Image(shape=(None, None, 3))
        elif config.target:
            features["target"] = tfds.features.Image(shape=(None, None, 3))
        return tfds.core.DatasetInfo(
            builder=self, features=tfds.features.FeaturesDict(features), metadata=tfds.core.MetadataDict(skipped={})
        )

    def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
        return {"train": self._generate_examples()}

    def _generate_examples(self) -> Iterator[tuple[bytes, dict[str, bytes]]]:
        config = self.builder_config
        pictures = config.listing.pictures
        skipped: dict[str, list[str]] = {}
        prepare = functools.partial(_prepare, config.kind, config.resolution, config.target)
        results = tqdm(_parallel(prepare, pictures.values()), config.kind, len(pictures), unit="picture")
        for name, result in zip(pictures, results, strict=True):
            if isinstance(result, str):
                skipped.setdefault(result, []).append(name)
            else:
                yield os.fsencode(name), result
        self.info.metadata["skipped"] = skipped
        if sum(map(len, skipped.values())) == len(pictures):
            raise ValueError(f"no picture in {config.listing.label} can be used: {'; '.join(_skip_lines(skipped))}")


def _skip_lines(skipped: Mapping[str, list[str]]) -> list[str]:
    """One line a reason: how many pictures, and the names of the first five."""
    return [
        f"{len(names)} {reason}: {', '.join(names[:5])}{', ...' if len(names) > 5 else ''}"
        for reason, names in sorted(skipped.items())
    ]


def _open_set(kind: Kind, listing: Listing, data: DataConfig, cache: Path) -> Iterator[np.ndarray]:
    """Builds a set unless it is there, and says what was skipped; gives its pictures as `TrainingData` takes them."""
    target = data.target if kind == "photo" else ""
    parts = [data.resolution, target and targets.digest(target), listing.identity]
    digest = hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]
    readable = re.sub(r"[^a-z0-9]+", "-", "-".join(Path(listing.label).parts[-2:]).lower()).strip("-")
    config = PictureConfig(
        name=f"{kind}-{readable[-40:]}-{digest}",
        description=listing.label,
        kind=kind,
        resolution=data.resolution,
        target=target,
        listing=listing,
    )
    with _quiet():
        builder = AnimeganPictures(data_dir=cache, config=config)
        prepared = builder.is_prepared()
        if not prepared:
            try:
                builder.download_and_prepare()
            except OSError as error:
                if not builder.is_prepared():  # or another process has finished the same set first
                    raise ValueError(f"cannot prepare pictures in {cache} ({error}): choose another --cache") from error
            builder = AnimeganPictures(data_dir=cache, config=config)
    if not prepared:
        for line in _skip_lines(builder.info.metadata["skipped"]):
            print(f"skipped {kind}: {line}")
    return _read_set(builder)


def _read_set(builder: AnimeganPictures) -> Iterator[np.ndarray]:
    decoders = {name: tfds.decode.SkipDecoding() for name in builder.info.features}
    in_order = tfds.ReadConfig(interleave_cycle_length=1)
    examples = tfds.as_numpy(builder.as_dataset(split="train", decoders=decoders, read_config=in_order))
    return _parallel(_decode_example, examples)


def _decode_example(example: Mapping[str, bytes]) -> np.ndarray:
    """All pictures of an example, which have one size, as the channels of one."""
    # With Pillow, as while preparing: TensorFlow's JPEG decoder gives slightly other pixels than those smoothed.
    return np.dstack([np.asarray(Image.open(io.BytesIO(example[name]))) for name in LAYERS if name in example])


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keeps TFDS from announcing a download and from drawing a second progress bar."""
    verbosity = logging.get_verbosity()
    logging.set_verbosity(logging.ERROR)
    tfds.disable_progress_bar()
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        tfds.enable_progress_bar()
        logging.set_verbosity(verbosity)


def _parallel(function: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[Any]:
    """map() in threads, in order, 64 items ahead at most; Pillow and OpenCV release the interpreter's lock."""
    remaining = iter(items)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        while ahead := list(itertools.islice(remaining, 64)):
            yield from pool.map(function, ahead)


def _prepare(kind: Kind, resolution: int, target: str, read: Callable[[], bytes]) -> dict[str, bytes] | str:
    """One example, or why there is none."""
    try:
        content = read()
        picture, is_plain_jpeg = _decode(content)
        fitted = _fit(picture, resolution)
    except Unusable as reason:
        return str(reason)
    except Exception:  # Pillow's readers raise nearly anything on broken files, and one must not stop thousands
        return "unreadable"
    colour = np.asarray(fitted)
    if np.all(colour == colour[..., :1]):
        return "gray"
    example: dict[str, bytes] = {kind: content if is_plain_jpeg and fitted is picture else _png(fitted)}
    if kind == "anime":
        example["smooth"] = _png(Image.fromarray(smooth_edges(colour)))
    elif target:
        example["target"] = _png(Image.fromarray(targets.paint(colour, target)))
    return example


def _decode(content: bytes) -> tuple[Image.Image, bool]:
    """An upright RGB picture, transparency over white, and whether it is a JPEG whose pixels these are."""
    try:
        picture = Image.open(io.BytesIO(content))
    except Image.DecompressionBombError:
        raise Unusable(f"more than {MAXIMUM_PIXELS // 10**6} megapixels") from None
    with picture:
        if picture.width * picture.height > MAXIMUM_PIXELS:
            raise Unusable(f"more than {MAXIMUM_PIXELS // 10**6} megapixels")
        if min(picture.size) < MINIMUM_SIDE:
            raise Unusable(f"smaller than {MINIMUM_SIDE} pixels")
        if picture.mode == "CMYK":
            raise Unusable("CMYK")
        if picture.mode in ("1", "L", "LA", "La", "F") or picture.mode.startswith("I"):
            raise Unusable("gray")
        is_plain_jpeg = picture.format == "JPEG" and picture.getexif().get(0x0112, 1) not in range(2, 9)
        upright = ImageOps.exif_transpose(picture)
    if not upright.has_transparency_data:
        return upright.convert("RGB"), is_plain_jpeg
    white = Image.new("RGBA", upright.size, "white")
    return Image.alpha_composite(white, upright.convert("RGBA")).convert("RGB"), False


def _fit(picture: Image.Image, resolution: int) -> Image.Image:
    """The central square at a resolution, or at 0 the own size within bounds; the same object if nothing changes."""
    shorter = min(picture.size)
    longest = shorter if resolution else MAXIMUM_ASPECT * shorter
    width, height = min(picture.width, longest), min(picture.height, longest)
    if (width, height) != picture.size:
        left, top = (picture.width - width) // 2, (picture.height - height) // 2
        picture = picture.crop((left, top, left + width, top + height))
    wanted = resolution or min(shorter, MAXIMUM_SHORTER_SIDE)
    if wanted == shorter:
        return picture
    return picture.resize((round(width * wanted / shorter), round(height * wanted / shorter)), Image.Resampling.LANCZOS)


def _png(picture: Image.Image) -> bytes:
    content = io.BytesIO()
    picture.save(content, "PNG", compress_level=1)
    return content.getvalue()
