"""Where pictures are found: a folder or a zip, two folders, the official release, monet2photo, or drawn here.

locate(config, Source(data="DIR"), cache)         AnimeGAN's layout: STYLE/style and train_photo, a folder or a zip
locate(config, Source(data="official"), cache)    the official release, downloaded once
locate(config, Source(photos=A, anime=B), cache)  two folders of pictures of any size
locate(config, Source(), cache)                   style "generated": drawn here, no files
"""

import functools
import io
import urllib.request
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import tensorflow_datasets as tfds
from PIL import Image, ImageDraw, ImageFilter

from train.experiments import DataConfig, nearest

OFFICIAL = "official"
OFFICIAL_URL = "https://github.com/TachibanaYoshino/AnimeGAN/releases/download/dataset-1/dataset.zip"
MONET2PHOTO_URL = "https://efrosgans.eecs.berkeley.edu/cyclegan/datasets/monet2photo.zip"
GENERATED = "generated"
GENERATED_COUNT = 24
MAXIMUM_BYTES = 256 * 2**20

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


class Unusable(Exception):
    """Why a picture is left out."""


@dataclass(frozen=True)
class Listing:
    """Pictures by name, each with what reads its bytes, and what tells these pictures from any others."""

    label: str
    pictures: Mapping[str, Callable[[], bytes]]
    identity: list[Any]


@dataclass(frozen=True)
class Located:
    """`photos` is None for monet2photo."""

    photos: Listing | None
    anime: Listing
    sentence: str
    terms: str


def locate(config: DataConfig, source: Source, cache: Path) -> Located:
    """Finds the pictures, and downloads the official release where it is asked for. Raises ValueError without pictures."""
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
    return Located(photos, anime, sentence, terms)


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


def _list_photos(base: Tree, label: str) -> Listing:
    if not (base / "train_photo").is_dir():
        names = ", ".join(folder.name for folder in _folders(base))
        raise ValueError(
            f"no folder train_photo in {label}, only {names}: add it, or take photos from TFDS with data.photos=monet2photo"
        )
    return _list(base / "train_photo", f"{label}: train_photo")


def _list_own(folder: Path, flag: str) -> Listing:
    if not folder.is_dir():
        raise ValueError(f"{flag} {folder} is not a folder")
    return _list(folder, str(folder))


def _check_apart(source: Source) -> None:
    if source.photos is None or source.anime is None:
        return
    photos, anime = source.photos.resolve(), source.anime.resolve()
    if photos == anime or photos in anime.parents or anime in photos.parents:
        raise ValueError(f"--photos {source.photos} and --anime {source.anime} hold each other: give two separate folders")


def _list(folder: Tree, label: str) -> Listing:
    files = dict(_files(folder))
    if not files:
        raise ValueError(f"no pictures in {label}: the folder is empty")
    where = f"{folder.root.filename}/{folder.at}" if isinstance(folder, zipfile.Path) else str(folder.resolve())
    stamps = {name: _stamp(file) for name, file in files.items()}
    pictures = {name: functools.partial(_read, file, stamps[name][0]) for name, file in files.items()}
    return Listing(label, pictures, [where, stamps])


def _list_generated(kind: Kind) -> Listing:
    pictures = {f"{index:03d}": functools.partial(_draw, kind, index) for index in range(GENERATED_COUNT)}
    return Listing(GENERATED, pictures, [GENERATED, GENERATED_COUNT])


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
        raise Unusable(f"larger than {MAXIMUM_BYTES >> 20} MB")
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


def monet2photo(cache: Path) -> Iterator[np.ndarray]:
    """Photos of TFDS cycle_gan/monet2photo, uint8 (H, W, 3) RGB. Raises ValueError where they cannot be had."""
    builder = tfds.builder("cycle_gan/monet2photo", data_dir=cache)
    if not builder.is_prepared():
        _check_reachable(MONET2PHOTO_URL, "use photos of your own with data.photos=folder")
        try:
            builder.download_and_prepare()
        except (OSError, tfds.download.DownloadError) as error:
            raise ValueError(f"cycle_gan/monet2photo cannot be prepared ({error})") from None
    return (example["image"] for example in tfds.as_numpy(builder.as_dataset(split="trainB")))


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
    content = io.BytesIO()
    picture.save(content, "PNG")
    return content.getvalue()
