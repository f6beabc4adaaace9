"""Pictures, found and prepared once as a TFDS set, and read into memory, from where batches.py serves them.

    open_data(config, Source(data="DIR"))         AnimeGAN's layout: STYLE/style and train_photo, a folder or a zip
    open_data(config, Source(data="official"))    the official release, downloaded once
    open_data(config, Source(photos=A, anime=B))  two folders of pictures of any size
    open_data(config, Source())                   style "generated": drawn here, no files

An anime frame and its edge-smoothed version come from one decode: the smoothed picture is made from the pixels that are
stored beside it. Likewise a photo and its flat version.
"""

import contextlib
import functools
import hashlib
import io
import itertools
import json
import os
import re
import urllib.request
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import tensorflow_datasets as tfds
from absl import logging
from PIL import Image, ImageDraw, ImageFilter, ImageOps
from tqdm import tqdm

from train.batches import TrainingData
from train.checks import nearest
from train.settings import DataConfig
from train.smooth import flatten, smooth_edges

OFFICIAL = "official"
OFFICIAL_URL = "https://github.com/TachibanaYoshino/AnimeGAN/releases/download/dataset-1/dataset.zip"
MONET2PHOTO_URL = "https://efrosgans.eecs.berkeley.edu/cyclegan/datasets/monet2photo.zip"
GENERATED = "generated"
GENERATED_COUNT = 24
MINIMUM_SIDE = 64
MAXIMUM_SHORTER_SIDE = 512
MAXIMUM_ASPECT = 4
MAXIMUM_PIXELS = 80_000_000
"""Checked before a picture is decoded; below the size from which Pillow warns."""
MAXIMUM_BYTES = 256 * 2**20

LAYERS = ("photo", "flat", "anime", "smooth")
"""What an example may hold, in the order of channels in memory."""

Kind = Literal["photo", "anime"]
Tree = Path | zipfile.Path


@dataclass(frozen=True)
class Source:
    """Where the pictures are; nothing at all for style "generated".

    Args:
        data: a folder or zip in AnimeGAN's layout, or "official" to download AnimeGAN's release.
        photos, anime: two folders of pictures; photos may be missing with DataConfig.photos "monet2photo".

    Raises:
        ValueError: contradicting or half a pair.
    """

    data: str | None = None
    photos: Path | None = None
    anime: Path | None = None

    def __post_init__(self) -> None:
        if self.data is not None and (self.photos or self.anime):
            raise ValueError("both --data and --photos/--anime given: choose one")
        if self.photos is not None and self.anime is None:
            raise ValueError("--photos DIR needs --anime DIR")

    @classmethod
    def of(cls, data: str | None, photos: str | None, anime: str | None) -> "Source":
        """From the values of --data, --photos and --anime."""
        return cls(data, Path(photos) if photos else None, Path(anime) if anime else None)


def open_data(config: DataConfig, source: Source, cache: Path | None = None) -> TrainingData:
    """Prepares the pictures, or finds them prepared, and reads them into memory.

    Args:
        config: which pictures.
        source: where they are.
        cache: where prepared sets and downloads are kept; TFDS_DATA_DIR or ~/tensorflow_datasets without it.

    Raises:
        ValueError: the pictures are missing, unusable or too few, or a download failed.
    """
    cache = (cache or Path(os.environ.get("TFDS_DATA_DIR", "~/tensorflow_datasets"))).expanduser()
    located = _locate(config, source, cache)
    anime = _open_set("anime", located.anime, config, cache)
    photos = _monet2photo(config, cache) if located.photos is None else _open_set("photo", located.photos, config, cache)
    return TrainingData(config, list(photos), list(anime), located.sentence, located.terms)


@dataclass(frozen=True)
class _Listing:
    """Pictures by name, each with what reads its bytes, and what tells these pictures from any others."""

    label: str
    pictures: Mapping[str, Callable[[], bytes]]
    identity: list[Any]


@dataclass(frozen=True)
class _Located:
    """`photos` is None for monet2photo."""

    photos: _Listing | None
    anime: _Listing
    sentence: str
    terms: str


def _locate(config: DataConfig, source: Source, cache: Path) -> _Located:
    from_monet = config.photos == "monet2photo"
    own_terms = "Photos and frames belong to their owners, whose terms this program does not know."
    if source.photos is not None and from_monet:
        raise ValueError("--photos given, but data.photos is monet2photo: leave --photos out, or set data.photos=folder")
    if source.data is not None:
        official = source.data == OFFICIAL
        root = _open_root(_download_official(cache) if official else Path(source.data))
        base = _find_layout(root, config.style, source.data)
        anime = _list(base / config.style / "style", f"{source.data}: {config.style}/style")
        photos = None if from_monet else _list_photos(base, source.data)
        if official:
            sentence = f"Style {config.style} of AnimeGAN's own release ({OFFICIAL_URL})."
            terms = "Its authors offer the release for non-commercial use; the frames are from films under copyright."
        else:
            sentence = f"Style {config.style} of {Path(source.data).resolve().name}, in AnimeGAN's layout."
            terms = own_terms
    elif source.anime is not None:
        if source.photos is None and not from_monet:
            raise ValueError("--anime DIR needs --photos DIR, or data.photos=monet2photo")
        _check_apart(source)
        anime = _list_own(source.anime, "--anime")
        photos = None if source.photos is None else _list_own(source.photos, "--photos")
        named = [folder.resolve().name for folder in (source.photos, source.anime) if folder]
        sentence, terms = f"Own pictures: {' and '.join(named)}.", own_terms
    elif config.style == GENERATED:
        anime = _list_generated("anime")
        photos = None if from_monet else _list_generated("photo")
        sentence, terms = "Pictures drawn by this program.", "None: the pictures are generated."
    else:
        raise ValueError(
            f"no pictures given for style {config.style}: pass --data DIR (or a zip) in AnimeGAN's layout, "
            "--data official to download AnimeGAN's release, or --photos DIR --anime DIR"
        )
    if from_monet:
        sentence += " Photos: trainB of TFDS cycle_gan/monet2photo."
        terms += " monet2photo's photos were collected from Flickr by CycleGAN's authors."
    return _Located(photos, anime, sentence, terms)


def _open_root(path: Path) -> Tree:
    if path.is_dir():
        return path
    if not path.exists():
        raise ValueError(f"{path} does not exist: pass --data a folder or zip in AnimeGAN's layout")
    try:
        return zipfile.Path(path)
    except (zipfile.BadZipFile, OSError) as error:
        raise ValueError(f"{path} is neither a folder nor a readable zip ({error})") from None


def _find_layout(root: Tree, style: str, label: str) -> Tree:
    """The folder that holds STYLE/style: the root itself, or one in it."""
    candidates = [root, *_folders(root)]
    found: dict[str, Tree] = {}
    for base in candidates:
        for folder in _folders(base):
            if (folder / "style").is_dir():
                found.setdefault(folder.name, base)
    if style in found:
        return found[style]
    if not found:
        raise ValueError(f"no folder {style}/style in {label}, nor any other STYLE/style: it is not in AnimeGAN's layout")
    raise ValueError(
        f"no folder {style}/style in {label}: found styles {', '.join(sorted(found))}; {nearest(style, sorted(found))} "
        "Set it with --set data.style=NAME"
    )


def _list_photos(base: Tree, label: str) -> _Listing:
    if not (base / "train_photo").is_dir():
        names = ", ".join(folder.name for folder in _folders(base))
        raise ValueError(
            f"no folder train_photo in {label}, only {names}: add it, or take photos from TFDS with data.photos=monet2photo"
        )
    return _list(base / "train_photo", f"{label}: train_photo")


def _list_own(folder: Path, flag: str) -> _Listing:
    if not folder.is_dir():
        raise ValueError(f"{flag} {folder} is not a folder")
    return _list(folder, str(folder))


def _check_apart(source: Source) -> None:
    if source.photos is None or source.anime is None:
        return
    photos, anime = source.photos.resolve(), source.anime.resolve()
    if photos == anime or photos in anime.parents or anime in photos.parents:
        raise ValueError(f"--photos {source.photos} and --anime {source.anime} hold each other: give two separate folders")


def _list(folder: Tree, label: str) -> _Listing:
    files = dict(_files(folder))
    if not files:
        raise ValueError(f"no pictures in {label}: the folder is empty")
    where = f"{folder.root.filename}/{folder.at}" if isinstance(folder, zipfile.Path) else str(folder.resolve())
    stamps = {name: _stamp(file) for name, file in files.items()}
    pictures = {name: functools.partial(_read, file, stamps[name][0]) for name, file in files.items()}
    return _Listing(label, pictures, [where, stamps])


def _list_generated(kind: Kind) -> _Listing:
    pictures = {f"{index:03d}": functools.partial(_draw, kind, index) for index in range(GENERATED_COUNT)}
    return _Listing(GENERATED, pictures, [GENERATED, GENERATED_COUNT])


def _entries(folder: Tree) -> list[Any]:
    """What a folder holds, in order of names, without hidden files and macOS' extras."""
    visible = (entry for entry in folder.iterdir() if not entry.name.startswith((".", "__MACOSX")))
    return sorted(visible, key=lambda entry: str(entry.name))


def _folders(folder: Tree) -> list[Any]:
    return [entry for entry in _entries(folder) if entry.is_dir()]


def _files(folder: Tree, prefix: str = "") -> Iterator[tuple[str, Tree]]:
    """Every file in a folder and its sub folders, by its path below the folder, in order of names."""
    for entry in _entries(folder):
        if entry.is_dir():
            yield from _files(entry, f"{prefix}{entry.name}/")
        elif entry.is_file():
            yield prefix + entry.name, entry


def _stamp(file: Tree) -> tuple[int, int]:
    """Size, and what changes with the content: checksum in a zip, time in nanoseconds in a folder."""
    if isinstance(file, zipfile.Path):
        info = file.root.getinfo(file.at)
        return info.file_size, info.CRC
    status = file.stat()
    return status.st_size, status.st_mtime_ns


def _read(file: Tree, size: int) -> bytes:
    if size > MAXIMUM_BYTES:
        raise _Unusable(f"larger than {MAXIMUM_BYTES >> 20} MB")
    return file.read_bytes()


def _download_official(cache: Path) -> Path:
    folder = cache / "downloads" / "animegan-dataset-1"
    if not list(folder.glob("*.zip")):
        _check_reachable(OFFICIAL_URL, "download it elsewhere and pass --data dataset.zip")
        try:
            tfds.download.DownloadManager(download_dir=folder).download(OFFICIAL_URL)
        except (OSError, tfds.download.DownloadError) as error:
            raise ValueError(f"{OFFICIAL_URL}: the download failed ({error}): try again") from None
    return max(folder.glob("*.zip"))


def _check_reachable(url: str, remedy: str) -> None:
    """Fails within seconds: without a network, TFDS retries for more than three minutes."""
    try:
        urllib.request.urlopen(url, timeout=20).close()
    except OSError as error:
        raise ValueError(f"{url} cannot be reached ({error}): {remedy}") from None


def _monet2photo(config: DataConfig, cache: Path) -> Iterator[np.ndarray]:
    """Photos of TFDS cycle_gan/monet2photo as `TrainingData` takes them; only resized and flattened here, not stored."""
    builder = tfds.builder("cycle_gan/monet2photo", data_dir=cache)
    if not builder.is_prepared():
        _check_reachable(MONET2PHOTO_URL, "use photos of your own with data.photos=folder")
        try:
            builder.download_and_prepare()
        except (OSError, tfds.download.DownloadError) as error:
            raise ValueError(f"cycle_gan/monet2photo cannot be prepared ({error})") from None

    def photo(example: Mapping[str, np.ndarray]) -> np.ndarray:
        colour = np.asarray(_fit(Image.fromarray(example["image"]), config.resolution))
        return np.dstack([colour, flatten(colour, config.flatten)]) if config.flatten else colour

    return _parallel(photo, tfds.as_numpy(builder.as_dataset(split="trainB")))


@dataclass(eq=False, kw_only=True)
class PictureConfig(tfds.core.BuilderConfig):
    """One kind of picture of one source; its name holds a digest of everything that the prepared set depends on."""

    kind: Kind
    resolution: int
    flatten: float
    listing: _Listing = field(repr=False)


class AnimeganPictures(tfds.core.GeneratorBasedBuilder):
    """Prepared pictures as TFRecords, with colour as JPEG (the original's bytes) or PNG.

    Photos hold {"photo"}, and "flat" if asked for; anime frames {"anime", "smooth"}.
    `info.metadata["skipped"]` maps reasons to names of the pictures left out.
    """

    VERSION = tfds.core.Version("2.0.0")

    def _info(self) -> tfds.core.DatasetInfo:
        config = self.builder_config
        features = {config.kind: tfds.features.Image(shape=(None, None, 3))}
        if config.kind == "anime":
            features["smooth"] = tfds.features.Image(shape=(None, None, 3))
        elif config.flatten:
            features["flat"] = tfds.features.Image(shape=(None, None, 3))
        return tfds.core.DatasetInfo(
            builder=self, features=tfds.features.FeaturesDict(features), metadata=tfds.core.MetadataDict(skipped={})
        )

    def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
        return {"train": self._generate_examples()}

    def _generate_examples(self) -> Iterator[tuple[bytes, dict[str, bytes]]]:
        config = self.builder_config
        pictures = config.listing.pictures
        skipped: dict[str, list[str]] = {}
        prepare = functools.partial(_prepare, config.kind, config.resolution, config.flatten)
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


def _open_set(kind: Kind, listing: _Listing, data: DataConfig, cache: Path) -> Iterator[np.ndarray]:
    """Builds a set unless it is there, and says what was skipped; gives its pictures as `TrainingData` takes them."""
    strength = data.flatten if kind == "photo" else 0.0
    digest = hashlib.sha256(json.dumps([data.resolution, strength, listing.identity]).encode()).hexdigest()[:16]
    readable = re.sub(r"[^a-z0-9]+", "-", "-".join(Path(listing.label).parts[-2:]).lower()).strip("-")
    config = PictureConfig(
        name=f"{kind}-{readable[-40:]}-{digest}",
        description=listing.label,
        kind=kind,
        resolution=data.resolution,
        flatten=strength,
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


class _Unusable(Exception):
    """Why a picture is left out."""


def _prepare(kind: Kind, resolution: int, strength: float, read: Callable[[], bytes]) -> dict[str, bytes] | str:
    """One example, or why there is none."""
    try:
        content = read()
        picture, is_plain_jpeg = _decode(content)
        fitted = _fit(picture, resolution)
    except _Unusable as reason:
        return str(reason)
    except Exception:  # Pillow's readers raise nearly anything on broken files, and one must not stop thousands
        return "unreadable"
    colour = np.asarray(fitted)
    if np.all(colour == colour[..., :1]):
        return "gray"
    example: dict[str, bytes] = {kind: content if is_plain_jpeg and fitted is picture else _png(fitted)}
    if kind == "anime":
        example["smooth"] = _png(Image.fromarray(smooth_edges(colour)))
    elif strength:
        example["flat"] = _png(Image.fromarray(flatten(colour, strength)))
    return example


def _decode(content: bytes) -> tuple[Image.Image, bool]:
    """An upright RGB picture, transparency over white, and whether it is a JPEG whose pixels these are."""
    try:
        picture = Image.open(io.BytesIO(content))
    except Image.DecompressionBombError:
        raise _Unusable(f"more than {MAXIMUM_PIXELS // 10**6} megapixels") from None
    with picture:
        if picture.width * picture.height > MAXIMUM_PIXELS:
            raise _Unusable(f"more than {MAXIMUM_PIXELS // 10**6} megapixels")
        if min(picture.size) < MINIMUM_SIDE:
            raise _Unusable(f"smaller than {MINIMUM_SIDE} pixels")
        if picture.mode == "CMYK":
            raise _Unusable("CMYK")
        if picture.mode in ("1", "L", "LA", "La", "F") or picture.mode.startswith("I"):
            raise _Unusable("gray")
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


def _draw(kind: Kind, index: int) -> bytes:
    """A 96x128 PNG: soft shapes on a gradient with noise (photo), or outlined flat shapes (anime)."""
    random = np.random.default_rng([index, kind == "anime"])
    width, height = 128, 96
    colours = random.integers(0, 256, (8, 3))
    if kind == "photo":
        ramp = np.linspace(0.0, 1.0, height)[:, None, None]
        gradient = np.broadcast_to((1.0 - ramp) * colours[0] + ramp * colours[1], (height, width, 3))
        picture = Image.fromarray(gradient.astype(np.uint8))
    else:
        picture = Image.new("RGB", (width, height), tuple(map(int, colours[0])))
    draw = ImageDraw.Draw(picture)
    for colour in colours[2:]:
        left, top = int(random.integers(-20, width - 20)), int(random.integers(-20, height - 20))
        box = (left, top, left + int(random.integers(20, 60)), top + int(random.integers(20, 60)))
        shape = draw.ellipse if random.random() < 0.5 else draw.rectangle
        shape(box, fill=tuple(map(int, colour)), outline=(20, 20, 20) if kind == "anime" else None, width=2)
    if kind == "photo":
        blurred = np.asarray(picture.filter(ImageFilter.GaussianBlur(2)))
        noisy = blurred + random.normal(0.0, 8.0, blurred.shape)
        picture = Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8))
    return _png(picture)
