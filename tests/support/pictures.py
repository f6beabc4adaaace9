"""Picture files in memory, whole and misleading."""

import io
import struct
import zlib

import numpy as np
from PIL import Image
from pillow_heif import register_heif_opener


def scene(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


def encode(image: Image.Image, kind: str, **options: object) -> bytes:
    if kind == "HEIF":
        register_heif_opener()
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def png_header(width: int, height: int) -> bytes:
    """A valid PNG that promises `width` x `height` pixels and holds a few bytes."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    content = zlib.compress(bytes(1000))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", content) + chunk(b"IEND", b"")


def noise() -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 96, 3), np.uint8))


def encoded(picture: Image.Image, **options: object) -> bytes:
    file = io.BytesIO()
    picture.save(file, "JPEG", **options)
    return file.getvalue()


def claiming(content: bytes, side: int) -> bytes:
    """A progressive JPEG that says that it is so large; only a decoder would miss the rest."""
    frame = content.index(b"\xff\xc2")
    return content[: frame + 5] + struct.pack(">HH", side, side) + content[frame + 9 :]


def with_scans(content: bytes, more: int, filling: bytes = b"") -> bytes:
    """A progressive JPEG with its last scan over and over."""
    scan = content[content.rindex(b"\xff\xda") : -2]
    return content[:-2] + (filling + scan) * more + b"\xff\xd9"


def with_segments(count: int, body: bytes = b"") -> bytes:
    """A JPEG with more segments after its beginning."""
    content = encoded(noise())
    return content[:2] + (b"\xff\xe2" + struct.pack(">H", len(body) + 2) + body) * count + content[2:]


def tiff(tags: int, size: int) -> bytes:
    """64 x 64 gray pixels and so many unknown tags, which all have the same bytes."""
    content = bytearray(b"II*\0" + struct.pack("<I", 8 + 64 * 64 + size) + bytes(64 * 64 + size))
    known = [(256, 64), (257, 64), (258, 8), (259, 1), (262, 1), (273, 8), (277, 1), (278, 64), (279, 64 * 64)]
    entries = [struct.pack("<HHII", tag, 4, 1, value) for tag, value in known]
    entries += [struct.pack("<HHII", 40_000 + number, 7, size, 8 + 64 * 64) for number in range(tags)]
    return bytes(content + struct.pack("<H", len(entries)) + b"".join(entries) + bytes(4))
