"""What is told of picture files before they are decoded."""

import io
import re
import struct
import time

import numpy as np
import pytest
from PIL import Image, ImageOps

from hub_export.pictures import MAX_SCANS, MAX_SEGMENTS, check_jpeg, jpeg_scans, upright, with_end


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


def jpeg(width: int = 64, height: int = 64, **options: object) -> bytes:
    picture = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    content = io.BytesIO()
    Image.fromarray(picture).save(content, "JPEG", **options)
    return content.getvalue()


def with_scans(content: bytes, more: int, filling: bytes = b"") -> bytes:
    """A progressive JPEG with its last scan over and over."""
    scan = content[content.rindex(b"\xff\xda") : -2]
    return content[:-2] + (filling + scan) * more + b"\xff\xd9"


def segments(count: int, body: bytes = b"") -> bytes:
    """A JPEG with more segments after its beginning."""
    content = jpeg()
    return content[:2] + (b"\xff\xe2" + struct.pack(">H", len(body) + 2) + body) * count + content[2:]


def test_what_encoders_write_is_taken() -> None:
    for options in ({}, {"progressive": True}, {"optimize": True, "quality": 100}, {"restart_marker_blocks": 1}):
        check_jpeg(jpeg(512, 512, **options))
    check_jpeg(
        jpeg(exif=b"Exif\0\0" + b"\xff\xda" * 5000),
    )  # scans of a preview
    check_jpeg(jpeg() + b"\xff\xda\0\2" * 5000)  # what a phone appends after the end
    check_jpeg(segments(1000))


@pytest.mark.parametrize("filling", [b"", b"\xff", b"\xff" * 50, b"\xff\xfe\0\2", b"nonsense", b"\xff\0"])
def test_many_scans_are_refused_however_they_are_hidden(filling: bytes) -> None:
    content = with_scans(jpeg(progressive=True), MAX_SCANS, filling)
    with pytest.raises(ValueError, match="has more than 64 scans"):
        check_jpeg(content)


def test_many_segments_are_refused() -> None:
    with pytest.raises(ValueError, match="has more than 2000 segments"):
        check_jpeg(segments(MAX_SEGMENTS + 1, b"ICC_PROFILE\0\1\1"))


@pytest.mark.parametrize(
    "unit", [b"\xff", b"\xff\0", b"\xff\xd0", b"\xff\xff\0", b"\xff\xfe", b"\xff\xda", b"\xff\xda\0\2", b"\0"]
)
def test_telling_it_takes_no_time(unit: bytes) -> None:
    started = time.process_time()
    for content in (b"\xff\xd8" + unit * (2**24 // len(unit)), unit * 1000, unit, b""):
        try:
            check_jpeg(content)
        except ValueError:
            continue
    assert time.process_time() - started < 2
