"""What is told of picture files before they are decoded."""

import contextlib
import io
import time

import numpy as np
import pytest
from PIL import Image, ImageOps

from hub_export.pictures import MAX_SEGMENTS, TooManyScans, bounded, upright, with_end
from support.pictures import claiming, encoded, noise, with_scans, with_segments


def test_what_encoders_write_is_taken() -> None:
    for options in ({}, {"progressive": True}, {"optimize": True, "quality": 100}, {"restart_marker_blocks": 1}):
        content = encoded(noise(), **options)
        assert bounded(content) == content
    for content in (
        claiming(encoded(noise(), progressive=True), 8900),
        encoded(noise(), exif=b"Exif\0\0" + b"\xff\xda" * 5000),  # scans of a preview
        encoded(noise()) + b"\xff\xda\0\2" * 5000,  # what a phone appends after the end
        with_segments(1000),
    ):
        assert bounded(content) == content


def test_an_index_of_further_pictures_is_left_out() -> None:
    content = encoded(noise())
    index = b"\xff\xe2\x00\x0aMPF\0MM\x00*"
    assert bounded(content[:2] + index + content[2:]) == content


@pytest.mark.parametrize(
    "filling", [b"", b"\xff", b"\xff" * 50, b"\xff\xfe\0\2", b"nonsense", b"\xff\0", b"\xff\x01", b"\xff\xd0"]
)
def test_many_scans_of_a_large_picture_are_refused_however_they_are_hidden(filling: bytes) -> None:
    content = with_scans(claiming(encoded(noise(), progressive=True), 8900), 60, filling)
    with pytest.raises(TooManyScans, match="scans or segments or more, which only slow its reader down"):
        bounded(content)


def test_many_segments_are_refused() -> None:
    with pytest.raises(TooManyScans):
        bounded(with_segments(MAX_SEGMENTS + 1, b"ICC_PROFILE\0\1\1"))
    with pytest.raises(TooManyScans):
        bounded(with_scans(encoded(noise(), progressive=True), MAX_SEGMENTS))


@pytest.mark.parametrize(
    "unit", [b"\xff", b"\xff\0", b"\xff\xd0", b"\xff\xff\0", b"\xff\xfe", b"\xff\xda", b"\xff\xda\0\2", b"\0"]
)
def test_any_bytes_may_be_asked_about_and_take_no_time(unit: bytes) -> None:
    started = time.process_time()
    for content in (b"\xff\xd8" + unit * (2**24 // len(unit)), unit * 1000, unit, b""):
        with contextlib.suppress(TooManyScans):
            bounded(content)
    assert time.process_time() - started < 2
    for content in (b"\xff\xd8" + unit * 1000, unit, b""):
        assert with_end(content) == content


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
