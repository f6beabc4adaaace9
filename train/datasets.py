"""Pictures decoded and prepared once as a TFDS set, and read into memory, from where batches.py serves them.

An anime frame and its edge-smoothed version come from one decode: the smoothed picture is made from the pixels that are
stored beside it. Likewise a photo and its target, what `targets.py` paints of it: its slow operations in one set, and on
that the rest in another, so that looks that begin alike share the first.
"""

import contextlib
import functools
import hashlib
import io
import json
import os
import re
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds
from absl import logging
from PIL import Image, ImageCms, UnidentifiedImageError
from tqdm import tqdm

from hub_export.files import os_sentence, write_aside
from hub_export.pictures import Content, TooManyScans, TooOftenRead, bounded, over_white, upright, with_end
from train import processes, targets
from train.batches import TrainingData
from train.settings import DataConfig
from train.smooth import smooth_edges
from train.sources import Kind, Listing, Source, Unusable, first_names, locate, reason_lines

MINIMUM_SIDE = 64
MAXIMUM_SHORTER_SIDE = 512
MAXIMUM_ASPECT = 4
MAXIMUM_PIXELS = 80_000_000
"""That are decoded at most; below the size from which Pillow warns."""
FORMATS = ("JPEG", "PNG", "WEBP", "AVIF", "GIF", "BMP", "TIFF")
"""What pictures may be; Pillow's other readers, some of which start programs, never see a file."""
UNDECODABLE = "damaged, cut off, or of a kind that cannot be decoded"
STARTS = (
    (re.compile(rb"$"), "empty"),
    (re.compile(rb"version https://git-lfs"), "Git LFS pointer, to be replaced by git lfs pull"),
    (re.compile(rb"....ftyp(hei[cxms]|hev[cx]|mif1|msf1)", re.DOTALL), "HEIC, to be saved as JPEG first"),
    (re.compile(rb"\xff\xd8|\x89PNG|GIF8|RIFF....WEBP|....ftypavi[fs]|BM|II\*|MM\0\*", re.DOTALL), UNDECODABLE),
)
"""How files begin that Pillow does not open, and why it does not."""
AHEAD = 32
"""Pictures prepared or decoded before they are asked for."""
FEWEST_FOR_PROCESSES = 100
"""Pictures that are worth starting processes for, which takes some seconds."""
Paint = Callable[..., np.ndarray]
"""Takes a function and its arguments, and calls it."""
PREPARE_AGAIN = "delete that folder, and it is made again"
BAR_BLACK, BAR_LEAST, BAR_BLUR = 24, 0.015, 2
"""A bar's brightest value (video's black is 16), its least share of the picture's height or width, and the pixels that its
inner edge is blurred over."""

SHAPE_TOLERANCE = 0.02
"""By how much a drawing's width to height may differ from its photo's."""
PICTURES = ("photo", "target", "anime", "smooth", "unpainted")
"""What an example may hold, in the order of channels in memory."""
FINISHED = {"photo": "target", "anime": "unpainted"}
"""What `FinishedPictures` make of either kind."""


def open_data(config: DataConfig, source: Source, cache: Path | None = None) -> TrainingData:
    """Prepares the pictures, or finds them prepared, and reads them into memory.

    Args:
        config: which pictures.
        source: where they are.
        cache: where prepared sets and downloads are kept; TFDS_DATA_DIR or ~/tensorflow_datasets without it.

    Raises:
        ValueError: the pictures are missing, unusable or too few, a download failed, or a target needs a network that is not
            there.
    """
    targets.require_networks(config.target)
    cache = (cache or Path(os.environ.get("TFDS_DATA_DIR", "~/tensorflow_datasets"))).expanduser()
    try:
        located = locate(config, source, cache)
    except OSError as error:
        raise ValueError(os_sentence(error, cache, "choose other pictures")) from None
    if located.photos.drawings and config.target:
        raise ValueError("--drawings are the targets: leave out data.target, or leave out --drawings")
    for listing in filter(None, (located.photos, located.anime)):
        if len(listing.pictures) <= config.holdout:
            raise ValueError(
                f"{len(listing.pictures)} pictures in {listing.label} leave nothing to train on when {config.holdout} are "
                "held out: lower data.holdout or add pictures"
            )
    undone = config.target if config.redrawn else ""  # frames are unpainted where they are redrawn
    anime = _open_set("anime", located.anime, config, undone, cache) if located.anime else iter(())
    photos = _open_set("photo", located.photos, config, config.target, cache)
    data = TrainingData(config, list(photos), list(anime), located.sentence, located.terms)
    processes.end_pool()  # with TensorFlow, which contours need, each of them holds most of a gigabyte
    return data


@dataclass(eq=False, kw_only=True)
class PictureConfig(tfds.core.BuilderConfig):
    """One kind of picture of one source; its name holds a digest of everything that the prepared set depends on."""

    kind: Kind
    resolution: int
    enlarged: float
    target: str
    cut_bars: bool
    listing: Listing = field(repr=False)
    begun: Path
    """Where targets are kept until the set is whole, also those of other sets of the cache with these operations."""
    painted: list[Path] = field(default_factory=list, repr=False)
    """Of this set."""


class AnimeganPictures(tfds.core.GeneratorBasedBuilder):
    """Prepared pictures as TFRecords, with colour as JPEG (the original's bytes) or PNG.

    Photos hold {"photo"}, and "target", given or as far as `targets.start` paints it; anime frames {"anime", "smooth"}.
    Pictures of the same bytes are taken once, so that none is both trained on and held out.
    `info.metadata["skipped"]` maps reasons to names of the pictures left out, `info.metadata["bars"]` names those in
    whose file there are black bars.
    """

    VERSION = tfds.core.Version("3.0.0")

    def _info(self) -> tfds.core.DatasetInfo:
        config = self.builder_config
        features = {config.kind: tfds.features.Image(shape=(None, None, 3))}
        if config.kind == "anime":
            features["smooth"] = tfds.features.Image(shape=(None, None, 3))
        if config.target or config.listing.drawings:
            features["target"] = tfds.features.Image(shape=(None, None, 3))
        metadata = tfds.core.MetadataDict(skipped={}, bars=[])
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features), metadata=metadata)

    def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
        return {"train": self._generate_examples()}

    def _generate_examples(self) -> Iterator[tuple[bytes, dict[str, bytes]]]:
        config = self.builder_config
        pictures, drawings = config.listing.pictures, config.listing.drawings
        reads = [(read, drawings.get(name)) for name, read in pictures.items()]
        skipped = {reason: list(names) for reason, names in config.listing.left_out.items()}
        bars: list[str] = []
        seen: set[bytes] = set()
        prepare = functools.partial(_prepare, config, _painter(len(pictures)))
        results = tqdm(_parallel(lambda read: prepare(*read), reads), config.kind, len(pictures), unit="picture")
        for name, result in zip(pictures, results, strict=True):
            if isinstance(result, str):
                skipped.setdefault(result, []).append(name)
            elif result.digest in seen:
                skipped.setdefault("the same as another", []).append(name)
            else:
                seen.add(result.digest)
                if result.has_bars:
                    bars.append(name)
                yield os.fsencode(name), result.example
        self.info.metadata.update(skipped=skipped, bars=bars)
        if not seen:
            raise ValueError(f"no picture in {config.listing.label} can be used: {'; '.join(reason_lines(skipped))}")


@dataclass(eq=False, kw_only=True)
class FinishedConfig(tfds.core.BuilderConfig):
    """A prepared set, and the target that is finished on it."""

    base: AnimeganPictures
    target: str


class FinishedPictures(tfds.core.GeneratorBasedBuilder):
    """The pictures of a prepared set, in its order, with what no slow operation makes: targets, unpainted frames."""

    VERSION = tfds.core.Version("1.0.0")

    def _info(self) -> tfds.core.DatasetInfo:
        base = self.builder_config.base
        names = [*base.info.features, FINISHED[base.builder_config.kind]]
        features = {name: tfds.features.Image(shape=(None, None, 3)) for name in names}
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features), disable_shuffling=True)

    def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
        return {"train": self._generate_examples()}

    def _generate_examples(self) -> Iterator[tuple[int, dict[str, bytes]]]:
        config = self.builder_config
        count = config.base.info.splits["train"].num_examples
        finish = functools.partial(_finish_example, target=config.target, paint=_painter(count))
        yield from enumerate(tqdm(_parallel(finish, _examples(config.base)), "finish", count, unit="picture"))


def _open_set(kind: Kind, listing: Listing, data: DataConfig, target: str, cache: Path) -> Iterator[np.ndarray]:
    """Builds a set unless it is there, and says what was skipped; gives its pictures as `TrainingData` takes them."""
    slow, rest = targets.parts(target) if kind == "photo" else ([], targets.parse(target))
    enlarged = data.enlarged if kind == "photo" else 0.0
    depends_on = [data.resolution, targets.digest(slow), data.cut_bars, listing.identity, *([enlarged] if enlarged else [])]
    folder = re.split(r"[/\\:]\s*", listing.label)[-1]  # not where it lies: --data and --photos may name the same one
    readable = re.sub(r"[^a-z0-9]+", "-", folder.lower()).strip("-")
    config = PictureConfig(
        name=f"{kind}-{readable[-40:]}-{_short_digest(depends_on, 16)}",
        description=listing.label,
        kind=kind,
        resolution=data.resolution,
        enlarged=enlarged,
        target=target if slow else "",
        cut_bars=data.cut_bars,
        listing=listing,
        begun=cache / "begun" / _short_digest([data.resolution, targets.digest(slow), data.cut_bars, enlarged], 16),
    )
    builder, is_new = _prepared(AnimeganPictures, config, cache)
    if is_new:
        for path in config.painted:
            path.unlink(missing_ok=True)
        for line in reason_lines(builder.info.metadata["skipped"]):
            print(f"skipped {kind}: {line}")
        if bars := builder.info.metadata["bars"]:
            remedy = "were cut off" if data.cut_bars else "would be learnt: cut them off with --set data.cut_bars=true"
            print(f"{kind}: black bars at the edges of {len(bars)} pictures {remedy} ({first_names(bars)})")
    if rest:
        name = f"{config.name}-{_short_digest(targets.digest(rest), 8)}"
        finished = FinishedConfig(name=name, description=target, base=builder, target=target)
        builder, _ = _prepared(FinishedPictures, finished, cache)
    return _read_set(builder)


def _short_digest(of: Any, digits: int) -> str:
    return hashlib.sha256(json.dumps(of).encode()).hexdigest()[:digits]


def _prepared(kind: type[Any], config: tfds.core.BuilderConfig, cache: Path) -> tuple[Any, bool]:
    """The builder of a prepared set, and whether it was prepared just now."""
    with _quiet():
        builder = _builder(kind, config, cache)
        if builder.is_prepared():
            return builder, False
        try:
            builder.download_and_prepare()
        except Exception as error:
            if not isinstance(error.__cause__ or error, (OSError, tf.errors.OpError)):  # TFDS raises some anew
                raise
            if not builder.is_prepared():  # or another process has finished the same set first
                failed = os_sentence(error, cache, "choose another --cache")
                raise ValueError(f"cannot prepare pictures in {failed}") from error
        return _builder(kind, config, cache), True


def _builder(kind: type[Any], config: tfds.core.BuilderConfig, cache: Path) -> Any:
    try:
        return kind(data_dir=cache, config=config)
    except Exception as error:  # nearly any kind, for what a prepared set says of itself
        folder = cache / kind.name / config.name
        raise ValueError(os_sentence(error, folder, PREPARE_AGAIN)) from error


def _examples(builder: Any) -> Iterator[Mapping[str, bytes]]:
    """What a set holds, in its order, with pictures as the bytes of their files."""
    decoders = {name: tfds.decode.SkipDecoding() for name in builder.info.features}
    in_order = tfds.ReadConfig(interleave_cycle_length=1)
    yield from tfds.as_numpy(builder.as_dataset(split="train", decoders=decoders, read_config=in_order))


def _read_set(builder: Any) -> Iterator[np.ndarray]:
    try:
        yield from _parallel(_decode_example, _examples(builder))
    except (OSError, tf.errors.OpError, KeyError) as error:
        raise ValueError(os_sentence(error, builder.data_dir, PREPARE_AGAIN)) from error


def _decode_example(example: Mapping[str, bytes]) -> np.ndarray:
    """All pictures of an example, which have one size, as the channels of one."""
    return np.dstack([_pixels(example[name]) for name in PICTURES if name in example])


def _finish_example(example: Mapping[str, bytes], target: str, paint: Paint) -> dict[str, bytes]:
    if "photo" in example:
        photo = _pixels(example["photo"])
        started = _pixels(example["target"]) if "target" in example else photo
        made = {"target": paint(targets.finish, started, photo, target)}
    else:
        made = {"unpainted": paint(targets.unpaint, _pixels(example["anime"]), target)}
    return {**example, **{name: _png(Image.fromarray(picture)) for name, picture in made.items()}}


def _pixels(content: bytes) -> np.ndarray:
    # With Pillow, as while preparing: TensorFlow's JPEG decoder gives slightly other pixels than those smoothed.
    return np.asarray(Image.open(io.BytesIO(content)))


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keeps TFDS from announcing a download and drawing a second progress bar, and Pillow from remarks on odd files."""
    verbosity = logging.get_verbosity()
    logging.set_verbosity(logging.ERROR)
    tfds.disable_progress_bar()
    try:
        with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="PIL")
            yield
    finally:
        tfds.enable_progress_bar()
        logging.set_verbosity(verbosity)


def _parallel(function: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[Any]:
    """map() in threads, in order, `AHEAD` items ahead at most; Pillow and OpenCV release the interpreter's lock."""
    ahead: deque[Future[Any]] = deque()
    with ThreadPoolExecutor(processes.cores()) as pool:
        try:
            for item in items:
                ahead.append(pool.submit(function, item))
                if len(ahead) == AHEAD:
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()
        finally:
            for future in ahead:
                future.cancel()


@dataclass(frozen=True)
class _Prepared:
    """An example, the digest of its file, and whether there are black bars in that."""

    example: dict[str, bytes]
    digest: bytes
    has_bars: bool


def _painter(pictures: int) -> Paint:
    """Calls a function of targets.py. Where there are many pictures, in a process for each core: most of a filter's time is
    NumPy's, under Python's one lock."""
    if pictures < FEWEST_FOR_PROCESSES:
        return lambda function, *arguments: function(*arguments)

    def paint(function: Callable[..., np.ndarray], *arguments: Any) -> np.ndarray:
        with processes.breaking_told():
            return processes.pool().submit(function, *arguments).result()

    return paint


def _prepare(
    config: PictureConfig, paint: Paint, read: Callable[[], bytes], read_drawing: Callable[[], bytes] | None = None
) -> _Prepared | str:
    """One example, or why there is none. Raises ValueError where the file cannot be read."""
    try:
        content = read()
        digest = hashlib.sha256(content).digest()
        wanted = config.resolution or MAXIMUM_SHORTER_SIDE
        picture, plain_jpeg = decode(content, wanted)
    except Unusable as reason:
        return str(reason)
    try:
        drawing = _alike(decode(read_drawing(), wanted, gray=True)[0], picture) if read_drawing else None
    except Unusable as reason:
        return f"with a drawing that is {reason}"
    inner = _without_bars(np.asarray(picture))
    fitted = picture.crop(inner) if inner and config.cut_bars else picture
    if min(fitted.size) < MINIMUM_SIDE:
        return f"smaller than {MINIMUM_SIDE} pixels"
    enlarge = _is_enlarged(digest, config.enlarged)
    fitted = _fit(fitted, config.resolution, enlarge)
    colour = np.asarray(fitted)
    if np.all(colour == colour[..., :1]):
        return "gray"
    example: dict[str, bytes] = {config.kind: plain_jpeg if plain_jpeg and fitted is picture else _png(fitted)}
    if config.kind == "anime":
        example["smooth"] = _png(Image.fromarray(smooth_edges(colour)))
    if config.target:
        example["target"] = _start_target(config, paint, colour, digest)
    elif drawing:
        drawing = drawing.crop(inner) if inner and config.cut_bars else drawing
        example["target"] = _png(_fit(drawing, config.resolution, enlarge))
    return _Prepared(example, digest, inner is not None)


def _start_target(config: PictureConfig, paint: Paint, colour: np.ndarray, digest: bytes) -> bytes:
    """What the slow operations make of a picture, a PNG: painted now, or by a try that was killed. Hours of painting are
    then not lost with it."""
    path = config.begun / f"{digest.hex()}.png"
    config.painted.append(path)
    with contextlib.suppress(OSError):
        return path.read_bytes()
    content = _png(Image.fromarray(paint(targets.start, colour, config.target)))
    path.parent.mkdir(parents=True, exist_ok=True)
    write_aside(path, content)
    return content


def _alike(drawing: Image.Image, photo: Image.Image) -> Image.Image:
    """A drawing at its photo's size. Raises Unusable if it is of another shape."""
    if abs(drawing.width * photo.height / (drawing.height * photo.width) - 1) > SHAPE_TOLERANCE:
        raise Unusable("of another shape")
    return drawing if drawing.size == photo.size else drawing.resize(photo.size, Image.Resampling.LANCZOS)


def decode(content: bytes, wanted: int | None = None, gray: bool = False) -> tuple[Image.Image, bytes | None]:
    """An upright RGB picture, transparency over white, and its bytes if those are of a JPEG with these very pixels.

    Args:
        content: of a file.
        wanted: the shorter side that is needed, if not all; a JPEG of four times that is decoded at a fraction of its size.
        gray: whether it may be gray, as drawings in ink are.

    Raises:
        Unusable: the reason.
    """
    too_large = f"more than {MAXIMUM_PIXELS // 10**6} megapixels"
    is_jpeg = content.startswith(b"\xff\xd8")
    try:
        if is_jpeg:
            bounded(content)
        picture = Image.open(Content(content), formats=FORMATS)
        size = picture.size
        if min(size) < MINIMUM_SIDE:
            raise Unusable(f"smaller than {MINIMUM_SIDE} pixels")
        if wanted and min(size) >= 4 * wanted:
            picture.draft(None, (2 * wanted * size[0] // min(size), 2 * wanted * size[1] // min(size)))
        if picture.width * picture.height > MAXIMUM_PIXELS:
            raise Unusable(too_large)
        deep = picture.mode == "F" or picture.mode.startswith("I")
        if not gray and (deep or picture.mode in ("1", "L", "LA", "La")):
            raise Unusable("gray")
        if deep:
            raise Unusable("of more than 8 bits, to be saved with 8 first")
        if is_jpeg and picture.size == size and (whole := with_end(content)) is not content:
            content = whole
            picture = Image.open(Content(content), formats=FORMATS)
        is_plain = picture.format == "JPEG" and picture.mode == "RGB" and picture.size == size
        turned = upright(picture)
        if turned.has_transparency_data:
            return over_white(turned), None
        return _to_rgb(turned), content if is_plain and turned is picture else None
    except TooOftenRead:
        raise Unusable(UNDECODABLE) from None
    except (Unusable, MemoryError):
        raise
    except TooManyScans as error:
        raise Unusable(str(error)) from None
    except Image.DecompressionBombError:
        raise Unusable(too_large) from None
    except UnidentifiedImageError:
        raise Unusable(
            next((reason for start, reason in STARTS if start.match(content)), "not a picture in a known format")
        ) from None
    except Exception as error:  # Pillow's readers raise nearly anything on broken files, and one must not stop thousands
        cut = isinstance(error, EOFError) or "truncated" in str(error)
        raise Unusable("cut off" if cut else UNDECODABLE) from None


def _to_rgb(picture: Image.Image) -> Image.Image:
    """Colours as they are on a screen; what is for print through the profile that it carries."""
    profile = picture.info.get("icc_profile")
    if picture.mode == "CMYK" and profile:
        with contextlib.suppress(ImageCms.PyCMSError, OSError):
            converted = ImageCms.profileToProfile(
                picture, ImageCms.ImageCmsProfile(io.BytesIO(profile)), ImageCms.createProfile("sRGB"), outputMode="RGB"
            )
            if converted is not None:
                return converted
    return picture.convert("RGB")


def _without_bars(image: np.ndarray) -> tuple[int, int, int, int] | None:
    """The box (left, top, right, bottom) inside black bars at two opposite sides, or at all four; None without any.

    A bar is black all along, and as wide as the one on the other side, which tells it from a picture of the night.
    """
    if image[:: image.shape[0] - 1, :: image.shape[1] - 1].max() > BAR_BLACK:
        return None
    brightest = np.maximum(np.maximum(image[..., 0], image[..., 1]), image[..., 2])
    if brightest.max() <= BAR_BLACK:
        return None
    top, bottom = _bars(brightest)
    left, right = _bars(brightest[top : brightest.shape[0] - bottom].T)
    if not top and not left:
        return None
    return left, top, image.shape[1] - right, image.shape[0] - bottom


def _bars(brightest: np.ndarray) -> tuple[int, int]:
    """Rows of the bars at the top and at the bottom of (H, W), with what a JPEG blurs at their inner edge; or 0, 0."""
    bright = np.flatnonzero(np.percentile(brightest, 99, axis=1) > BAR_BLACK)
    if not bright.size:
        return 0, 0
    before, after = int(bright[0]), int(brightest.shape[0] - 1 - bright[-1])
    if before + after + 2 * BAR_BLUR > 0.8 * brightest.shape[0]:
        return 0, 0  # a light in the night; the widest film on an upright screen leaves more than a fifth
    least = max(BAR_BLUR, round(BAR_LEAST * brightest.shape[0]))
    if min(before, after) < least or abs(before - after) > max(BAR_BLUR, 0.1 * max(before, after)):
        return 0, 0
    return before + BAR_BLUR, after + BAR_BLUR


def _is_enlarged(digest: bytes, share: float) -> bool:
    """Whether a photo is among the share that is enlarged: by the digest of its bytes, so always the same ones."""
    return int.from_bytes(digest[:4], "big") < share * 2**32


def _fit(picture: Image.Image, resolution: int, enlarge: bool = False) -> Image.Image:
    """The central square at a resolution, or at 0 the own size within bounds; the same object if nothing changes.

    With `enlarge` a picture of its own size is brought to the largest one, if it is smaller.
    """
    shorter = min(picture.size)
    longest = shorter if resolution else MAXIMUM_ASPECT * shorter
    width, height = min(picture.width, longest), min(picture.height, longest)
    if (width, height) != picture.size:
        left, top = (picture.width - width) // 2, (picture.height - height) // 2
        picture = picture.crop((left, top, left + width, top + height))
    wanted = resolution or (MAXIMUM_SHORTER_SIDE if enlarge else min(shorter, MAXIMUM_SHORTER_SIDE))
    if wanted == shorter:
        return picture
    return picture.resize((round(width * wanted / shorter), round(height * wanted / shorter)), Image.Resampling.LANCZOS)


def _png(picture: Image.Image) -> bytes:
    content = io.BytesIO()
    picture.save(content, "PNG", compress_level=1)
    return content.getvalue()
