"""A JPEG that was made to be slow is told from one that is not, before it is decoded."""

import io
import struct
import time

import numpy as np
import pytest
from PIL import Image

from hub_export.pictures import MAX_SCANS, MAX_SEGMENTS, check_jpeg


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
