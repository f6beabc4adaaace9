"""Decodes pictures for `photos`, in a process of its own: `python -m animegan_app.decoding`, not for people.

Reads questions and writes answers as `photos` packs them, until its input ends. A hostile file meets its limits here: what a
header tells (pixels, a JPEG's scans) is refused at once, more CPU time ends the process, more memory the picture.
"""

import contextlib
import io
import re
import struct
import sys
import time
import warnings
from pathlib import Path
from typing import IO

import numpy as np
from PIL import Image, ImageCms, PngImagePlugin, TiffImagePlugin, UnidentifiedImageError
from pillow_heif import register_heif_opener

from animegan_app.memory import give_back
from animegan_app.photos import (
    ANSWER,
    DIVISORS,
    JPEG,
    JPEG_MEGAPIXELS,
    MAX_FILE_PIXELS,
    MAX_JPEG_PIXELS,
    MAX_RATIO,
    MEGAPIXELS,
    QUESTION,
    PhotoError,
    exactly,
)
from hub_export import pixels
from hub_export.pictures import ORIENTATION, TURNS, Content, TooManyScans, bounded, over_white

FORMATS = ("JPEG", "PNG", "WEBP", "AVIF", "HEIF", "GIF", "BMP", "TIFF")
"""What a photo may be; Pillow's other readers, some of which start programs, never see the file."""
HEIC_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}
RAW_HEADS = re.compile(rb"FUJIFILMCCD|IIU\0|IIRO|IIRS|MMOR|FOVb|\0MRM|....ftypcrx ", re.DOTALL)
"""Of Fujifilm, Panasonic, Olympus, Sigma, Minolta and Canon; the raw photos of others are TIFFs, see `_is_raw`."""
SUBFILE_TYPE, SUB_DIRECTORIES, DNG_VERSION = 254, 330, 50706
BITS_PER_SAMPLE, PHOTOMETRIC, WHITE_IS_ZERO = 258, 262, 0
"""TIFF's tags."""
CPU_SECONDS = 15
"""80 megapixels take 3 to 5."""
MEMORY = 2_500_000_000
"""Bytes, beyond what the process has when it starts; a picture of 80 megapixels with transparency takes 1.6 GB."""


def decode(content: bytes, longest_side: int = 0, opacity: bool = False) -> tuple[np.ndarray, tuple[int, int]]:
    """See `photos.read_scaled` and, for the opacity of what is no JPEG, (H, W, 1), `photos.read_opacity`."""
    is_jpeg = content.startswith(JPEG)
    try:
        if is_jpeg:
            picture, size = _jpeg(content)
        else:
            with Image.open(Content(content), formats=FORMATS) as image:
                _check_size(*image.size, MAX_FILE_PIXELS, MEGAPIXELS)
                picture, size = (_opacity if opacity else _to_rgb)(image), image.size
    except PhotoError:
        raise
    except Image.DecompressionBombError:
        raise PhotoError(
            "The picture has too many pixels: scale it down to at most {most} megapixels.",
            most=JPEG_MEGAPIXELS if is_jpeg else MEGAPIXELS,
        ) from None
    except MemoryError:
        raise PhotoError("The picture takes too much memory: open it in a picture viewer and save it again.") from None
    except UnidentifiedImageError:
        raise _unknown(content[:12]) from None
    except Exception:  # Pillow raises many kinds for a malformed file
        raise _damaged() from None
    if (picture.shape[0] < picture.shape[1]) != (size[1] < size[0]):  # it was turned
        size = size[1], size[0]
    return pixels.limit_size(picture, longest_side or max(picture.shape)), size


def _jpeg(content: bytes) -> tuple[np.ndarray, tuple[int, int]]:
    try:
        content = bounded(content)
    except TooManyScans as error:
        raise PhotoError(
            "The picture has {count} scans or more, which take too long to decode: open it in a picture viewer and save it "
            "again.",
            count=error.count,
        ) from None
    try:
        return _draft(content)
    except OSError as error:
        if "truncated" not in str(error):
            raise
    # The end mark is missing. If all of the picture is there, what comes between it and the end mark changes nothing.
    content = content.rstrip(b"\xff")
    noise = np.random.default_rng(0).integers(0, 255, 4096, np.uint8).tobytes()
    (whole, size), (other, _) = _draft(content + b"\xff\xd9"), _draft(content + noise + b"\xff\xd9")
    if not np.array_equal(whole, other):
        raise _damaged()
    return whole, size


def _draft(content: bytes) -> tuple[np.ndarray, tuple[int, int]]:
    """A JPEG at its own size or, where that is more than `MAX_FILE_PIXELS`, at a half, a quarter or an eighth of it."""
    with Image.open(Content(content), formats=["JPEG"]) as image:
        size = image.size
        _check_size(*size, MAX_JPEG_PIXELS, JPEG_MEGAPIXELS)
        divisor = next(divisor for divisor in DIVISORS if size[0] * size[1] <= MAX_FILE_PIXELS * divisor**2)
        if divisor > 1:
            image.draft(None, (size[0] // divisor, size[1] // divisor))
        return _to_rgb(image), size


def _check_size(width: int, height: int, most: int, megapixels: int) -> None:
    if width * height > most:
        raise _too_many_pixels(width, height, megapixels)
    if max(width, height) > MAX_RATIO * min(width, height):
        raise PhotoError(
            "The picture is a strip of {width} × {height} pixels: crop it to at most {most} : 1.",
            width=width,
            height=height,
            most=MAX_RATIO,
        )


def _too_many_pixels(width: int, height: int, megapixels: int) -> PhotoError:
    return PhotoError(
        "The picture has {width} × {height} pixels, which is too many: scale it down to at most {most} megapixels.",
        width=width,
        height=height,
        most=megapixels,
    )


def _damaged() -> PhotoError:
    return PhotoError("The picture file is damaged or cut off: open it in a picture viewer and save it again.")


def _unknown(head: bytes) -> PhotoError:
    if head[4:8] == b"ftyp" and head[8:12] in HEIC_BRANDS:
        return _damaged()
    if RAW_HEADS.match(head):
        return _raw()
    return PhotoError(
        "This file is not a picture that can be read: choose a photo saved as JPEG, PNG, WebP, AVIF, HEIC, GIF, BMP or TIFF."
    )


def _raw() -> PhotoError:
    return PhotoError(
        "This is a raw photo, of which only a small preview could be read: open it in a photo program and save it as JPEG."
    )


def _is_raw(image: TiffImagePlugin.TiffImageFile) -> bool:
    """Whether a camera wrote it: its first picture is a thumbnail, and what it took is among the directories below."""
    tags = image.tag_v2
    assert image.fp
    image.fp.seek(8)
    canon = image.fp.read(2) == b"CR"
    return canon or DNG_VERSION in tags or (SUB_DIRECTORIES in tags and tags.get(SUBFILE_TYPE) == 1)


def _to_rgb(image: Image.Image) -> np.ndarray:
    """(H, W, 3) uint8, upright, from an opened picture of any mode."""
    if isinstance(image, TiffImagePlugin.TiffImageFile) and _is_raw(image):
        raise _raw()
    image.load()
    _check_size(*image.size, MAX_FILE_PIXELS, MEGAPIXELS)  # HEIC's decoder may find another than its header says
    turn = TURNS.get(_orientation(image)) if image.format != "TIFF" else None  # which Pillow has turned already
    if image.mode.startswith("I;16"):
        gray = _upper_byte(np.asarray(image.transpose(turn) if turn is not None else image), _bits(image))
        if getattr(image, "tag_v2", {}).get(PHOTOMETRIC) == WHITE_IS_ZERO:
            gray = 255 - gray
        return np.repeat(gray[..., np.newaxis], 3, axis=2)
    if image.mode in ("I", "F"):
        raise PhotoError("The picture has 32-bit gray values of unknown range: save it with 8 or 16 bits.")
    profile = image.info.get("icc_profile")
    image = over_white(image)
    if profile and image.mode in ("RGB", "CMYK"):
        image = _to_srgb(image, profile)
    image = image.convert("RGB")
    return np.asarray(image.transpose(turn) if turn is not None else image)


def _bits(image: Image.Image) -> int:
    """How many bits a sample of a 16-bit gray picture is said to have."""
    return int(getattr(image, "tag_v2", {}).get(BITS_PER_SAMPLE, (16,))[0])


def _upper_byte(samples: np.ndarray, bits: int) -> np.ndarray:
    """uint8 of uint16 samples. Cameras store 10, 12 or 14 bits and say that it were 16: no sample is larger then."""
    if bits == 16:
        bits = next(fewer for fewer in (8, 10, 12, 14, 16) if not (samples >> (fewer - 1) > 1).any())
    return (samples >> (bits - 8)).astype(np.uint8)


def _opacity(image: Image.Image) -> np.ndarray:
    """(H, W, 1) uint8, upright, 255 for opaque; of a picture without transparency one pixel stands for all."""
    if not image.has_transparency_data:
        return np.full((1, 1, 1), 255, np.uint8)
    image.load()
    turn = TURNS.get(_orientation(image)) if image.format != "TIFF" else None
    layer = image.convert("RGBA").getchannel("A")
    return np.asarray(layer.transpose(turn) if turn is not None else layer)[..., np.newaxis]


def _orientation(image: Image.Image) -> int:
    """Exif's or XMP's, 1 where it cannot be read: what is odd in Exif is no fault of the picture."""
    try:
        return int(image.getexif().get(ORIENTATION, 1))
    except Exception:
        return 1


def _to_srgb(image: Image.Image, profile: bytes) -> Image.Image:
    """Converts wide-gamut and print colours to those the screen shows; without a usable profile nothing changes."""
    try:
        source = ImageCms.getOpenProfile(io.BytesIO(profile))
        if image.mode == "RGB" and "sRGB" in ImageCms.getProfileDescription(source):
            return image
        return ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode="RGB") or image
    except ImageCms.PyCMSError:
        return image


def _load_exif(exif: Image.Exif, data: bytes) -> None:
    """In place of Pillow's, which reads all tags, even those that share the same bytes: the orientation is enough."""
    data = data.removeprefix(b"Exif\0\0")
    order = "<" if data.startswith(b"II") else ">"
    with contextlib.suppress(struct.error):
        (start,) = struct.unpack_from(f"{order}I", data, 4)
        (count,) = struct.unpack_from(f"{order}H", data, start)
        for place in range(start + 2, start + 2 + 12 * count, 12):
            tag, _, _, value = struct.unpack_from(f"{order}HHIH", data, place)
            if tag == ORIENTATION and value in TURNS:
                exif[ORIENTATION] = value


def _write_exif(exif: Image.Exif, offset: int = 8) -> bytes:
    """In place of Pillow's, which writes all tags to change the orientation, and fails on an odd rational among them."""
    turn = exif.get(ORIENTATION)
    return b"Exif\0\0MM\0*\0\0\0\x08\0\1" + struct.pack(">HHIHHI", ORIENTATION, 3, 1, turn if turn in TURNS else 1, 0, 0)


def _limit_memory() -> None:
    with contextlib.suppress(ImportError, OSError, ValueError):  # where there is no such limit, or no such file
        import resource

        most = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize() + MEMORY
        resource.setrlimit(resource.RLIMIT_AS, (most, resource.getrlimit(resource.RLIMIT_AS)[1]))


def _limit_seconds() -> None:
    """The process ends unless it is called again before that."""
    with contextlib.suppress(ImportError, ValueError):
        import resource

        most = int(time.process_time()) + 1 + CPU_SECONDS
        resource.setrlimit(resource.RLIMIT_CPU, (most, resource.getrlimit(resource.RLIMIT_CPU)[1]))


def main() -> None:
    """Answers until the input ends."""
    questions, answers = sys.stdin.buffer, sys.stdout.buffer
    warnings.simplefilter("ignore")
    Image.MAX_IMAGE_PIXELS = MAX_JPEG_PIXELS
    Image.Exif.load, Image.Exif.tobytes = _load_exif, _write_exif  # type: ignore[method-assign,assignment]
    PngImagePlugin.MAX_TEXT_CHUNK, PngImagePlugin.MAX_TEXT_MEMORY = 2**26, 2**28  # with 1 MB, good photos are refused
    Image.init()
    register_heif_opener(thumbnails=False, depth_images=False, aux_images=False, decode_threads=2)
    _limit_memory()
    while head := questions.read(QUESTION.size):
        _answer(head, questions, answers)
        give_back()


def _answer(head: bytes, questions: IO[bytes], answers: IO[bytes]) -> None:
    length, longest_side, opacity = QUESTION.unpack(head)
    content = bytes(exactly(questions, length))
    _limit_seconds()
    try:
        picture, size = decode(content, longest_side, opacity)
        answer = picture.tobytes()
        answers.write(ANSWER.pack(*picture.shape[:2], *size, len(answer)))
    except PhotoError as error:
        answer = error.json().encode()
        answers.write(ANSWER.pack(0, 0, 0, 0, len(answer)))
    answers.write(answer)
    answers.flush()


if __name__ == "__main__":
    main()
