"""What is told of picture files before they are decoded."""

import io
import re

import numpy as np
import pytest
from PIL import Image, ImageOps

from hub_export.pictures import jpeg_scans, upright, with_end


def noise() -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 96, 3), np.uint8))


def encoded(picture: Image.Image, **options: object) -> bytes:
    file = io.BytesIO()
    picture.save(file, "JPEG", **options)
    return file.getvalue()


def of_many_scans(extra: int, width: int = 64, height: int = 64) -> bytes:
    """A progressive JPEG whose last scan comes `extra` times more."""
    content = encoded(Image.new("L", (width, height), 200), progressive=True)
    last = [found.start() for found in re.finditer(rb"\xff\xda", content)][-1]
    return content[:-2] + content[last:-2] * extra + b"\xff\xd9"


def test_scans_are_those_that_a_decoder_goes_through() -> None:
    assert jpeg_scans(encoded(noise())) == 1
    assert jpeg_scans(encoded(noise(), restart_marker_blocks=1)) == 1
    progressive = jpeg_scans(encoded(noise(), progressive=True))
    assert 6 <= progressive <= 12
    assert jpeg_scans(of_many_scans(0)) + 1200 == jpeg_scans(of_many_scans(1200))


def test_scans_of_thumbnails_and_of_what_follows_the_end_do_not_count() -> None:
    content = encoded(noise())
    thumbnail = b"\xff\xe1" + (len(content) + 2).to_bytes(2, "big") + content
    assert jpeg_scans(content[:2] + thumbnail + content[2:] + content + b"\xff\xda" * 1000) == 1
    assert Image.open(io.BytesIO(content[:2] + thumbnail + content[2:])).size == (96, 64)


@pytest.mark.parametrize(
    "content", [b"", b"\xff", b"\xff\xda", b"\xff\xda\x00", b"\x00" * 99, b"\xff" * 10**6, b"\xff\xfe" * 9]
)
def test_any_bytes_may_be_asked_about(content: bytes) -> None:
    assert jpeg_scans(content) <= 1


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"restart_marker_blocks": 2}])
def test_only_the_end_may_be_missing(options: dict[str, object]) -> None:
    picture = encoded(noise(), **options)
    assert with_end(picture) is picture
    for lacking in (picture[:-2], picture[:-1]):
        mended = Image.open(io.BytesIO(with_end(lacking)))
        np.testing.assert_array_equal(np.asarray(mended), np.asarray(Image.open(io.BytesIO(picture))))
    for lost in (4, 10, 100, 1000):
        cut = picture[:-lost]
        assert with_end(cut) is cut


@pytest.mark.parametrize("orientation", range(10))
def test_upright_is_what_viewers_show(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture = Image.open(io.BytesIO(encoded(noise(), exif=exif)))
    np.testing.assert_array_equal(np.asarray(upright(picture)), np.asarray(ImageOps.exif_transpose(picture)))


def test_upright_without_readable_exif_is_the_picture() -> None:
    for exif in (b"Exif\x00\x00", b"Exif\x00\x00MM\x00*\x00\x00\x00\x08\xff\xff", b"Exif\x00\x00II*\x00\xff\xff\xff\xff"):
        picture = Image.open(io.BytesIO(encoded(noise(), exif=exif)))
        np.testing.assert_array_equal(np.asarray(upright(picture)), np.asarray(picture))
