"""What a stranger's picture file asks for, told from its bytes before anything is decoded, and its way up."""

import io
import re

from PIL import Image

MAXIMUM_JPEG_SCANS = 100
"""Encoders write about ten; every one costs a pass over the whole picture, however few bytes it has."""

# Not the markers without a length: RST0 to RST7 between the pieces of a scan, SOI, TEM and the stuffed zero.
_MARKER = re.compile(rb"\xff([\x02-\xcf\xd9-\xfe])")
_START_OF_SCAN, _END_OF_IMAGE = 0xDA, 0xD9
_ORIENTATION = 0x0112
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def jpeg_scans(data: bytes) -> int:
    """How many scans a decoder would go through: the SOS markers of the first picture of a JPEG file.

    Thumbnails in EXIF, further pictures and whatever else follows the end of the first one do not count.
    """
    return _walk(data)[0]


def with_end(data: bytes) -> bytes:
    """The same JPEG with the end marker that some programs leave out, if that is all it lacks; else `data` itself.

    A picture whose pixels are all there does not change with what follows them, and one that was cut off does.
    """
    if _walk(data)[1]:
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
        orientation = picture.getexif().get(_ORIENTATION)
    except Exception:  # any kind, for malformed EXIF
        return picture
    # Not by ImageOps.exif_transpose, which writes the EXIF anew and fails on what cameras put into it.
    return picture.transpose(_UPRIGHT[orientation]) if orientation in _UPRIGHT else picture


def _walk(data: bytes) -> tuple[int, bool]:
    """The number of scans, and whether the end marker was found; marker by marker, as libjpeg goes."""
    scans, position = 0, 0
    while found := _MARKER.search(data, position):
        marker, position = found[1][0], found.end()
        if marker == _END_OF_IMAGE:
            return scans, True
        scans += marker == _START_OF_SCAN
        position += int.from_bytes(data[position : position + 2], "big")
    return scans, False
