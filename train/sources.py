"""Where pictures are found: a folder or a zip, two folders, the official release, monet2photo, or drawn here.

locate(config, Source(data="DIR"), cache)         AnimeGAN's layout: STYLE/style and train_photo, a folder or a zip
locate(config, Source(data="official"), cache)    the official release, downloaded once; "official-v2" has v2's frames
locate(config, Source(photos=A, anime=B), cache)  two folders of pictures of any size
locate(config, Source(photos=A, drawings=B), cache)  photos, and a drawing of each by the same name
locate(config, Source(photos=A), cache)           photos alone, for a target that is painted
locate(config, Source(), cache)                   style "generated": drawn here, no files
"""

import functools
import io
import itertools
import os
import re
import threading
import unicodedata
import urllib.request
import zipfile
import zlib
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import tensorflow_datasets as tfds
from PIL import Image, ImageDraw, ImageFilter
from tensorflow_datasets.core.download.extractor import ExtractError

from hub_export.files import os_sentence
from hub_export.zips import open_zip, read_entry
from train.checks import nearest
from train.processes import cores
from train.settings import DataConfig

OFFICIAL, OFFICIAL_V2 = "official", "official-v2"
OFFICIAL_URL = "https://github.com/TachibanaYoshino/AnimeGAN/releases/download/dataset-1/dataset.zip"
OFFICIAL_V2_URL = "https://github.com/TachibanaYoshino/AnimeGANv2/releases/download/1.0/{style}.tar.gz"
OFFICIAL_V2_STYLES = ("Hayao", "Paprika", "Shinkai")
MONET2PHOTO_URL = "https://efrosgans.eecs.berkeley.edu/cyclegan/datasets/monet2photo.zip"
GENERATED = "generated"
GENERATED_COUNT = 24
MAXIMUM_BYTES = 256 * 2**20
SUFFIXES = {".jpg", ".jpeg", ".jfif", ".png", ".webp", ".avif", ".gif", ".bmp", ".tif", ".tiff"}
"""By which a folder of frames is told from others; what is in it is read whatever its name."""
NO_STYLES = {"train_photo", "style", "smooth", "val", "test"}
"""Folders of AnimeGAN's layout, in lower case, whose pictures are no style."""
SYSTEM = re.compile(
    r"(?i)\..*|__macosx|@eadir|@tmp|@recycle|@recently-snapshot|#recycle|#snapshot|\$recycle\.bin|lost\+found|"
    r"system volume information|e?h?thumbs.*\.db.*|desktop\.ini|icon\r"
)
"""Names of what macOS, Windows and storage devices (Synology, QNAP) add; nobody misses it."""
THUMBNAILS = re.compile(r"(?i)(.*[._-])?thumb(nail)?s?_*|.*\.lrdata|ipod photo cache")
"""Folders of small copies."""

Kind = Literal["photo", "anime"]
Tree = Path | zipfile.Path


@dataclass(frozen=True)
class Source:
    """Where the pictures are; nothing at all for style "generated".

    Args:
        data: a folder or zip in AnimeGAN's layout; or "official" to download AnimeGAN's release, "official-v2" to download
            its photos and AnimeGANv2's frames.
        photos, anime: two folders of pictures; photos may be missing with DataConfig.photos "monet2photo", anime where
            a recipe looks at no frames.
        drawings: a folder with a drawing of every photo, of the photo's name whatever the ending.

    Raises:
        ValueError: contradicting or half a pair.
    """

    data: str | None = None
    photos: Path | None = None
    anime: Path | None = None
    drawings: Path | None = None

    def __post_init__(self) -> None:
        if self.data is not None and (self.photos or self.anime or self.drawings):
            raise ValueError("both --data and --photos/--anime/--drawings given: choose one")
        if self.drawings is not None and self.photos is None:
            raise ValueError("--drawings DIR needs --photos DIR, the photos that they are of")

    @property
    def has_frames(self) -> bool:
        """Whether there are anime frames: given, in a data folder, or generated."""
        return self.anime is not None or self.photos is None

    def check(self, config: DataConfig) -> None:
        """Raises ValueError where no pictures are given, or what is given is not there. Nothing is opened or downloaded."""
        if self.data is None and self.photos is None and self.anime is None and config.style != GENERATED:
            raise ValueError(
                f"no pictures given for style {config.style}: pass --data DIR (or a zip) in AnimeGAN's layout, "
                "--data official to download AnimeGAN's release, or --photos DIR with --anime DIR or --drawings DIR"
            )
        if self.photos is not None and config.photos == "monet2photo":
            raise ValueError("--photos given, but data.photos is monet2photo: leave --photos out, or set data.photos=folder")
        if self.anime is not None and self.photos is None and config.photos != "monet2photo":
            raise ValueError("--anime DIR needs --photos DIR, or data.photos=monet2photo")
        if self.data == OFFICIAL_V2 and config.style not in OFFICIAL_V2_STYLES:
            raise ValueError(
                f"--data {OFFICIAL_V2} has no style {config.style}: {nearest(config.style, OFFICIAL_V2_STYLES)}"
            )
        if self.data not in (None, OFFICIAL, OFFICIAL_V2) and not Path(str(self.data)).exists():
            raise ValueError(f"{self.data} does not exist: pass --data a folder or zip in AnimeGAN's layout")
        for flag, folder in (("--photos", self.photos), ("--anime", self.anime), ("--drawings", self.drawings)):
            if folder is not None and not folder.is_dir():
                raise ValueError(f"{flag} {folder} is not a folder")

    @classmethod
    def of(cls, data: str | None, photos: str | None, anime: str | None, drawings: str | None = None) -> "Source":
        """From the values of --data, --photos, --anime and --drawings."""
        return cls(data, *(Path(folder) if folder else None for folder in (photos, anime, drawings)))


class Unusable(Exception):
    """Why a picture is left out."""


@dataclass(frozen=True)
class Listing:
    """Pictures by name, each with what reads its bytes, and what tells these pictures from any others."""

    label: str
    pictures: Mapping[str, Callable[[], bytes]]
    identity: list[Any]
    left_out: Mapping[str, list[str]] = field(default_factory=dict)
    """Names of what was found and is no picture of its own, by reason."""
    drawings: Mapping[str, Callable[[], bytes]] = field(default_factory=dict)
    """Of every picture, by the picture's name, or none at all."""


@dataclass(frozen=True)
class Located:
    """`anime` is None where there are no frames."""

    photos: Listing
    anime: Listing | None
    sentence: str
    terms: str


def locate(config: DataConfig, source: Source, cache: Path) -> Located:
    """Finds the pictures, and downloads the official release where it is asked for. Raises ValueError without pictures."""
    from_monet = config.photos == "monet2photo"
    own_terms = "Photos and frames belong to their owners, whose terms this program does not know."
    source.check(config)
    anime: Listing | None
    if source.data is not None:
        official = source.data in (OFFICIAL, OFFICIAL_V2)
        root = _open_root(_download_official(cache) if official else Path(source.data), config.style)
        base, frames = _find_layout(root, config.style, source.data)
        if source.data == OFFICIAL_V2:
            _, frames = _find_layout(_download_v2_frames(cache, config.style), config.style, source.data)
        anime = _list_frames(frames, f"{source.data}: {config.style}")
        photos = _list_monet2photo(cache) if from_monet else _list_photos(base, source.data)
        if official:
            release = f"AnimeGAN's own release ({OFFICIAL_URL})"
            if source.data == OFFICIAL_V2:
                release = f"AnimeGANv2's own release ({OFFICIAL_V2_URL.format(style=config.style)}), photos of {release}"
            sentence = f"Style {config.style} of {release}."
            terms = "Its authors offer the release for non-commercial use; the frames are from films under copyright."
        else:
            sentence = f"Style {config.style} of {Path(source.data).resolve().name}, in AnimeGAN's layout."
            terms = own_terms
    elif source.anime is not None or source.photos is not None:
        _check_apart(source)
        anime = None if source.anime is None else _list_own(source.anime)
        photos = _list_monet2photo(cache) if source.photos is None else _list_own(source.photos)
        if source.drawings is not None:
            photos = _with_drawings(photos, _list_own(source.drawings))
        named = [folder.resolve().name for folder in (source.photos, source.drawings, source.anime) if folder]
        sentence, terms = f"Own pictures: {' and '.join(named)}.", own_terms
    else:
        anime = _list_generated("anime")
        photos = _list_monet2photo(cache) if from_monet else _list_generated("photo")
        sentence, terms = "Pictures drawn by this program.", "None: the pictures are generated."
    if from_monet:
        sentence += " Photos: trainB of TFDS cycle_gan/monet2photo."
        terms += " monet2photo's photos were collected from Flickr by CycleGAN's authors."
    return Located(photos, anime, sentence, terms)


def _open_root(path: Path, style: str) -> Tree:
    if path.is_dir():
        return path
    return open_zip(path, style)


def _find_layout(root: Tree, style: str, label: str) -> tuple[Tree, Tree]:
    """The folder that holds the styles, the root itself or one in it, and the folder of the style's frames.

    Frames lie in STYLE/style, or right in STYLE if that lies beside train_photo or is the style that is looked for.
    """
    styles: dict[str, tuple[Tree, Tree]] = {}
    for base in [root, *_folders(root)]:
        beside_photos = _child(base, "train_photo") is not None
        for folder in _folders(base):
            frames = _child(folder, "style")
            if frames is None and _plain(folder.name) not in NO_STYLES and _holds_pictures(folder):
                frames = folder if beside_photos or _plain(folder.name) == _plain(style) else None
            if frames is not None:
                styles.setdefault(folder.name, (base, frames))
    name = style if style in styles else next((name for name in styles if _plain(name) == _plain(style)), None)
    if name is not None:
        return styles[name]
    if not styles:
        raise ValueError(f"no folder {style}/style in {label}, nor any other STYLE/style: it is not in AnimeGAN's layout")
    raise ValueError(
        f"no folder {style}/style in {label}: found styles {', '.join(sorted(styles))}; {nearest(style, sorted(styles))} "
        "Set it with --set data.style=NAME"
    )


def _list_frames(folder: Tree, label: str) -> Listing:
    if _plain(folder.name) == "style":
        return _list(folder, f"{label}/{folder.name}")
    others = [
        inner.name for inner in _folders(folder) if _plain(inner.name) != "smooth" and not THUMBNAILS.fullmatch(inner.name)
    ]
    if others:
        raise ValueError(
            f"{label} holds frames and folders ({', '.join(others)}): move the frames to train on to {label}/style"
        )
    return _list(folder, label, deep=False)


def _list_photos(base: Tree, label: str) -> Listing:
    photos = _child(base, "train_photo")
    if photos is None:
        names = ", ".join(folder.name for folder in _folders(base))
        raise ValueError(
            f"no folder train_photo in {label}, only {names}: add it, or take photos from TFDS with data.photos=monet2photo"
        )
    return _list(photos, f"{label}: {photos.name}")


def _list_own(folder: Path) -> Listing:
    return _list(folder, str(folder))


def _with_drawings(photos: Listing, drawings: Listing) -> Listing:
    """The photos of which there is a drawing, by the path below their folder without its ending."""
    names, drawn_names = ({name: Path(name).with_suffix("") for name in each.pictures} for each in (photos, drawings))
    by_stem = {stem: drawings.pictures[name] for name, stem in drawn_names.items()}
    drawn = {name: by_stem[stem] for name, stem in names.items() if stem in by_stem}
    for listing, stems in ((drawings, drawn_names), (photos, {name: names[name] for name in drawn})):
        last = {stem: name for name, stem in stems.items()}
        if twice := [f"{name} and {last[stem]}" for name, stem in stems.items() if last[stem] != name]:
            raise ValueError(
                f"{listing.label} holds {first_names(twice)}, whose names differ in their endings alone, so that photos and "
                "drawings cannot be paired: take one of them out"
            )
    if not drawn:
        raise ValueError(
            f"no photo in {photos.label} has a drawing of its name in {drawings.label}: name them alike, as "
            f"{first_names(list(photos.pictures)[:1])} and {Path(next(iter(photos.pictures))).stem}.png"
        )
    without = [name for name in photos.pictures if name not in drawn]
    left_out = {**photos.left_out, **({"without a drawing": without} if without else {})}
    paired = {name: read for name, read in photos.pictures.items() if name in drawn}
    return Listing(photos.label, paired, [photos.identity, drawings.identity], left_out, drawn)


def _check_apart(source: Source) -> None:
    folders = {"--photos": source.photos, "--anime": source.anime, "--drawings": source.drawings}
    paths = [(flag, folder, folder.resolve()) for flag, folder in folders.items() if folder]
    for (flag, folder, real), (other_flag, other, other_real) in itertools.combinations(paths, 2):
        if real == other_real or real in other_real.parents or other_real in real.parents:
            raise ValueError(f"{flag} {folder} and {other_flag} {other} hold each other: give separate folders")


def _list(folder: Tree, label: str, deep: bool = True) -> Listing:
    files, left_out = _files(folder, deep)
    if not files:
        only = "".join(f", only {line}" for line in reason_lines(left_out)) or ": the folder is empty"
        raise ValueError(f"no pictures in {label}{only}")
    with ThreadPoolExecutor(cores()) as pool:  # reading and checksums leave the interpreter to others
        stamps = dict(zip(files, pool.map(_stamp, files.values()), strict=True))
    pictures = {name: functools.partial(_read, file, stamps[name][0]) for name, file in files.items()}
    return Listing(label, pictures, [stamps], left_out)


def reason_lines(names: Mapping[str, list[str]]) -> list[str]:
    """One line a reason: how many, and the names of the first five."""
    return [f"{len(some)} {reason}: {first_names(some)}" for reason, some in sorted(names.items())]


def first_names(names: list[str]) -> str:
    """Five at most, in letters that any terminal takes: a file's name may be any bytes."""
    return ", ".join(os.fsencode(name).decode(errors="replace") for name in names[:5]) + (", ..." if names[5:] else "")


def _list_generated(kind: Kind) -> Listing:
    pictures = {f"{index:03d}": functools.partial(_draw, kind, index) for index in range(GENERATED_COUNT)}
    return Listing(GENERATED, pictures, [GENERATED, GENERATED_COUNT])


def _plain(name: str) -> str:
    """A name as people mean it: without regard to capitals, and to how a system writes an umlaut."""
    return unicodedata.normalize("NFC", name).casefold()


def _child(folder: Tree, name: str) -> Any:
    """The sub folder of a name, of that very name if there are several; None if there is none."""
    folders = [entry for entry in _folders(folder) if _plain(entry.name) == _plain(name)]
    return min(folders, key=lambda entry: entry.name != name, default=None)


def _entries(folder: Tree) -> list[Any]:
    """What a folder holds, in order of names, without what systems put there."""
    return sorted(
        (entry for entry in folder.iterdir() if not SYSTEM.fullmatch(entry.name)), key=lambda entry: str(entry.name)
    )


def _folders(folder: Tree) -> list[Any]:
    return [entry for entry in _entries(folder) if entry.is_dir()]


def _holds_pictures(folder: Tree) -> bool:
    return any(Path(entry.name).suffix.lower() in SUFFIXES for entry in _entries(folder))


def _files(folder: Tree, deep: bool) -> tuple[dict[str, Tree], dict[str, list[str]]]:
    """Every file in a folder, and in its sub folders, by its path below it; and names of what was left out, by reason.

    Each real file and folder counts once. Links are followed last, so that what lies here has its own name.
    """
    files: dict[str, Tree] = {}
    left_out: dict[str, list[str]] = {}
    seen = set()
    here, links = deque[tuple[str, Any]]([("", folder)]), deque[tuple[str, Any]]()
    while here or links:
        name, entry = here.popleft() if here else links.popleft()
        if isinstance(entry, Path) and not entry.exists() and entry.is_symlink():
            left_out.setdefault("link that leads nowhere", []).append(name)
        elif (identity := _identity(entry)) in seen:
            left_out.setdefault("already here by another name", []).append(name)
        elif entry.is_file():
            files[name] = entry
            seen.add(identity)
        elif name and not deep:
            continue
        elif name and THUMBNAILS.fullmatch(entry.name):
            left_out.setdefault("folder of thumbnails", []).append(name)
        elif entry.is_dir():
            seen.add(identity)
            for inner in _entries(entry):
                later = links if isinstance(inner, Path) and inner.is_symlink() else here
                later.append((f"{name}/{inner.name}" if name else inner.name, inner))
    return dict(sorted(files.items())), left_out


def _identity(entry: Tree) -> Any:
    """The same for all names of one file or folder."""
    if isinstance(entry, zipfile.Path):
        return entry.at
    status = entry.stat()
    return (status.st_dev, status.st_ino) if status.st_ino else entry.resolve()


def _stamp(file: Tree) -> tuple[int, int]:
    """Size and checksum: a copy of the pictures, elsewhere or in a zip, is known as the same."""
    if isinstance(file, zipfile.Path):
        info = file.root.getinfo(file.at)
        return info.file_size, info.CRC
    size = file.stat().st_size
    return size, zlib.crc32(_read(file, size)) if size <= MAXIMUM_BYTES else 0


def _read(file: Tree, size: int) -> bytes:
    if size > MAXIMUM_BYTES:
        raise Unusable(f"larger than {MAXIMUM_BYTES >> 20} MB")
    if isinstance(file, zipfile.Path):
        return read_entry(file)
    try:
        return file.read_bytes()
    except OSError as error:
        raise ValueError(os_sentence(error, file, "take it out of the folder")) from None


def _download_official(cache: Path) -> Path:
    """The zip of AnimeGAN's release."""
    folder = cache / "downloads" / "animegan-dataset-1"
    if not list(folder.glob("*.zip")):
        remedy = "download it elsewhere and pass --data dataset.zip"
        _download(OFFICIAL_URL, folder, remedy, tfds.download.DownloadManager.download)
    return max(folder.glob("*.zip"))


def _download_v2_frames(cache: Path, style: str) -> Path:
    """The unpacked archive of one of AnimeGANv2's styles."""
    folder, url = cache / "downloads" / f"animegan2-{style}", OFFICIAL_V2_URL.format(style=style)

    def unpacked() -> list[Path]:
        return [path for path in folder.glob("extracted/*") if path.is_dir() and "incomplete" not in path.name]

    if not unpacked():
        remedy = "download it elsewhere, unpack it beside AnimeGAN's train_photo and pass --data DIR"
        _download(url, folder, remedy, tfds.download.DownloadManager.download_and_extract)
    return max(unpacked())


def _download(url: str, folder: Path, remedy: str, get: Callable[[tfds.download.DownloadManager, str], Any]) -> None:
    _check_reachable(url, remedy)
    try:
        get(tfds.download.DownloadManager(download_dir=folder), url)
    except (OSError, tfds.download.DownloadError) as error:
        failed = os_sentence(error, folder, "try again")
        raise ValueError(f"{url} was not downloaded to {failed}") from None
    except ExtractError:
        raise ValueError(f"{url} is damaged or cut off: delete {folder} and try again") from None


def _check_reachable(url: str, remedy: str) -> None:
    """Fails within seconds: without a network, TFDS retries for more than three minutes."""
    try:
        urllib.request.urlopen(url, timeout=20).close()
    except OSError as error:
        raise ValueError(f"{url} cannot be reached ({error}): {remedy}") from None


def _list_monet2photo(cache: Path) -> Listing:
    """Photos of TFDS cycle_gan/monet2photo, downloaded once. Raises ValueError where they cannot be had."""
    builder = tfds.builder("cycle_gan/monet2photo", data_dir=cache)
    if not builder.is_prepared():
        _check_reachable(MONET2PHOTO_URL, "use photos of your own with data.photos=folder")
        try:
            builder.download_and_prepare()
        except (OSError, tfds.download.DownloadError) as error:
            failed = os_sentence(error, cache, "choose another --cache")
            raise ValueError(f"cycle_gan/monet2photo cannot be prepared in {failed}") from None

    @functools.cache
    def files() -> list[bytes]:  # a set of TFDS is read from its beginning; 130 MB until the photos are prepared
        undecoded = {"image": tfds.decode.SkipDecoding()}
        in_order = tfds.ReadConfig(interleave_cycle_length=1)
        photos = builder.as_dataset(split="trainB", decoders=undecoded, read_config=in_order)
        return [example["image"] for example in tfds.as_numpy(photos)]

    lock = threading.Lock()

    def read(index: int) -> bytes:
        with lock:
            return files()[index]

    count = builder.info.splits["trainB"].num_examples
    pictures = {f"{index:05d}": functools.partial(read, index) for index in range(count)}
    return Listing("monet2photo", pictures, ["cycle_gan/monet2photo", str(builder.version), count])


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
