"""Pictures as files: how they are encoded, and what they say about how they were made."""

import io
from pathlib import Path

import numpy as np
from PIL import Image, PngImagePlugin

from hub_export.pictures import over_white

JPEG_QUALITY = 95
JPEG_SUFFIXES = (".jpg", ".jpeg")


def encoded(picture: np.ndarray, suffix: str, comment: str = "") -> bytes:
    """A picture, uint8 RGB or RGBA, as a JPEG or PNG file, which holds the comment.

    Args:
        suffix: ".png" or one of `JPEG_SUFFIXES`; a JPEG shows transparency over white.
    """
    content = io.BytesIO()
    image = Image.fromarray(picture)
    if suffix in JPEG_SUFFIXES:
        over_white(image).save(content, "JPEG", quality=JPEG_QUALITY, subsampling=0, comment=comment)
    else:
        # A third larger than by the default, and six times as fast.
        image.save(content, "PNG", compress_level=1, pnginfo=png_text(comment))
    return content.getvalue()


def png_text(comment: str) -> PngImagePlugin.PngInfo:
    """What Pillow writes a comment into a PNG from; nothing for ""."""
    text = PngImagePlugin.PngInfo()
    if comment:
        text.add_text("Comment", comment)
    return text


def comment_of(path: Path) -> str:
    """What `encoded` wrote into a file; "" if it says nothing, or is no such file."""
    try:
        with Image.open(path, formats=["JPEG", "PNG"]) as image:
            comment = image.info.get("comment") or image.info.get("Comment") or ""
    except (OSError, ValueError):
        return ""
    return comment.decode("utf-8", "replace") if isinstance(comment, bytes) else str(comment)
