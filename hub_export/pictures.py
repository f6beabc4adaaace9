"""What a stranger's picture file asks for, told from its bytes before anything is decoded, and its way up.

A JPEG's markers are after ITU-T T.81, annex B.
"""

import io
import itertools
import re
import struct
from collections.abc import Iterator

from PIL import Image

from hub_export.sentences import ExplainedError

MAX_SCANNED = 2_000_000_000
"""Samples that all scans go over. The ten scans of a progressive photo of 108 megapixels, colour at half its size, make 900
million; 1,200 empty scans of 79 megapixels, which took a minute, 95 billion."""
MAX_COEFFICIENTS = 400_000_000
"""Samples that a JPEG of several scans has in memory at a time, 2 bytes each."""
READINGS = 16
"""How often all of a file may be read; Pillow reads a TIFF's tags twice."""
MAX_SEGMENTS = 2000
"""Profiles, previews and descriptions fill some hundred at most; Pillow sorts all of a profile's for each that it meets."""
FRAMES = {code for code in range(0xC0, 0xD0) if code not in (0xC4, 0xC8, 0xCC)}
SCAN, END, APP2 = 0xDA, 0xD9, 0xE2
MARKER = re.compile(rb"\xff([^\x00\x01\xd0-\xd8\xff])", re.DOTALL)
"""Of a segment; what else follows an FF is data, filling, or a marker without a length. Linear in any bytes."""
ORIENTATION = 0x0112
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""By EXIF's orientation."""


class TooOftenRead(MemoryError):
    """A file's tags point to the same bytes again and again: what they unfold to no memory holds."""


class Content(io.BytesIO):
    """A picture's file for Pillow. Raises TooOftenRead when much more is read of it than it is long."""

    def __init__(self, content: bytes):
        super().__init__(content)
        self._left = READINGS * len(content) + 2**20

    def read(self, size: int | None = -1, /) -> bytes:
        content = super().read(size)
        self._left -= len(content)
        if self._left < 0:
            raise TooOftenRead
        return content


class TooManyScans(ExplainedError):
    """Decoding would take too long or too much memory. Args: count: of the scans, or segments, that were looked at."""

    def __init__(self, count: int):
        self.count = count
        super().__init__("a JPEG of {count} scans or segments or more, which only slow its reader down", count=count)


def bounded(content: bytes) -> bytes:
    """A JPEG that takes seconds at most, without its index of further pictures, for which Pillow is strict.

    Whether it is a picture at all, is for the decoder to say.

    Raises:
        TooManyScans: it would take longer.
    """
    samples: dict[int, int] = {}  # by component
    scanned = scans = done = 0
    kept = []
    for number, (code, start, end) in enumerate(segments(content)):
        if number == MAX_SEGMENTS:
            raise TooManyScans(number)
        body = content[start + 4 : end]
        if code == APP2 and body.startswith(b"MPF\0"):
            kept.append(content[done:start])
            done = end
        elif code in FRAMES and len(body) >= 6:
            height, width = struct.unpack(">HH", body[1:5])
            parts = [(part, factors >> 4, factors & 15) for part, factors in zip(body[6::3], body[7::3], strict=False)]
            most = max((across for _, across, _ in parts), default=1) * max((down for _, _, down in parts), default=1) or 1
            samples = {part: height * width * across * down // most for part, across, down in parts}
        elif code == SCAN and body:
            scans += 1
            scanned += sum(samples.get(part, 0) for part in body[1 : 1 + 2 * body[0] : 2])
            if scanned > MAX_SCANNED or (scans > 1 and sum(samples.values()) > MAX_COEFFICIENTS):
                raise TooManyScans(scans)
    return b"".join([*kept, content[done:]])


def segments(content: bytes) -> Iterator[tuple[int, int, int]]:
    """Code, begin and end of each segment up to the end mark; the entropy-coded bytes behind a scan's head are skipped."""
    marker = MARKER.search(content, 2)
    while marker and (code := marker[1][0]) != END and marker.end() + 2 <= len(content):
        start = marker.end() - 2
        end = start + 2 + int.from_bytes(content[start + 2 : start + 4], "big")
        yield code, start, end
        marker = MARKER.search(content, end)


def with_end(data: bytes) -> bytes:
    """The same JPEG with the end marker that some programs leave out, if that is all it lacks; else `data` itself.

    A picture whose pixels are all there does not change with what follows them, and one that was cut off does.
    """
    if _ends(data):
        return data
    one, two = (data.rstrip(b"\xff") + filler * 64 + b"\xff\xd9" for filler in (b"\x00", b"\xaa"))
    try:
        first, second = (Image.open(io.BytesIO(content), formats=["JPEG"]).tobytes() for content in (one, two))
    except OSError:
        return data
    return one if first == second else data


def upright(picture: Image.Image) -> Image.Image:
    """Turned and mirrored as its EXIF says. EXIF that cannot be read turns nothing: the pixels are good without it."""
    picture.load()
    try:
        orientation = picture.getexif().get(ORIENTATION)
    except Exception:  # any kind, for malformed EXIF
        return picture
    # Not by ImageOps.exif_transpose, which writes the EXIF anew and fails on what cameras put into it.
    return picture.transpose(TURNS[orientation]) if orientation in TURNS else picture


def over_white(picture: Image.Image) -> Image.Image:
    """As RGB over white, if any of it is transparent; else the same object."""
    if not picture.has_transparency_data:
        return picture
    return Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture.convert("RGBA")).convert("RGB")


def _ends(data: bytes) -> bool:
    """Whether the end marker is there."""
    ends = [end for _, _, end in itertools.islice(segments(data), MAX_SEGMENTS)]
    marker = MARKER.search(data, ends[-1] if ends else 2)
    return bool(marker and marker[1][0] == END)
