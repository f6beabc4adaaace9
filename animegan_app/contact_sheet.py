"""Pictures of one photo by many checkpoints, laid out to be kept: a labelled sheet (PNG), a course that moves (WebP)."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from pathlib import Path
from typing import TypeVar

from PIL import Image, ImageDraw, ImageFont

from animegan_app.writing import png_text

MAX_SHEET_PIXELS = 40_000_000
"""Pictures are scaled down until the sheet has no more: 120 MB while it is drawn."""
SHEET_RATIO = 1.5
"""Width by height that the sheet comes as near to as whole rows and columns allow."""
MAX_FRAMES, FRAME_SIDE = 100, 768
"""A course has at most so many frames, none with a longer side."""
FRAME_SECONDS, FIRST_SECONDS, LAST_SECONDS = 0.35, 1.2, 2.0
PAPER, INK, ACCENT = "white", "#1c1917", "#0d9488"

Item = TypeVar("Item")


@dataclass(frozen=True)
class Labelled:
    """A picture file and the lines of ASCII text below it."""

    path: Path
    lines: tuple[str, ...]


def evenly(items: Sequence[Item], most: int) -> list[Item]:
    """At most `most` (from 2) of the items, evenly spread, the first and the last among them."""
    if len(items) <= most:
        return list(items)
    return [items[round(index * (len(items) - 1) / (most - 1))] for index in range(most)]


def sheet(pictures: Sequence[Labelled | None], columns: int = 0, comment: str = "") -> bytes:
    """All pictures, each over its label, in rows of equal cells.

    Args:
        pictures: at least one, None for a cell that stays empty; the first one's proportions are those of the cells, others
            are fitted into them.
        columns: how many cells a row has; 0 for what comes nearest to `SHEET_RATIO`.
        comment: what the file says about how it was made.

    Returns:
        A PNG of at most about `MAX_SHEET_PIXELS`.
    """
    there = [picture for picture in pictures if picture]
    width, height = _size(there[0].path)
    columns = columns or min(
        range(1, len(pictures) + 1),
        key=lambda count: abs(count * width / (-(-len(pictures) // count) * height) - SHEET_RATIO),
    )
    rows = -(-len(pictures) // columns)
    scale = min(1.0, sqrt(MAX_SHEET_PIXELS / (columns * width * rows * height)))
    width, height = max(1, int(width * scale)), max(1, int(height * scale))
    margin, letters = max(4, width // 40), max(11, width // 24)
    strip = _strip_height(letters, max(len(picture.lines) for picture in there))
    page = Image.new("RGB", (margin + columns * (width + margin), margin + rows * (height + strip + margin)), PAPER)
    for index, picture in enumerate(pictures):
        if picture is None:
            continue
        row, column = divmod(index, columns)
        left, top = margin + column * (width + margin), margin + row * (height + strip + margin)
        page.paste(_fitted(picture.path, width, height), (left, top))
        _write(page, picture.lines, (left, top + height), width, letters)
    return _encoded(page, "PNG", pnginfo=png_text(comment))


def course(pictures: Sequence[Labelled]) -> bytes:
    """The pictures one after another, each over its label and a bar that tells how far the course has come.

    Args:
        pictures: at least one, in order; of more than `MAX_FRAMES` an even choice is shown.

    Returns:
        An animated WebP that repeats; the first and the last frame stay longer.
    """
    pictures = evenly(pictures, MAX_FRAMES)
    width, height = _size(pictures[0].path)
    scale = min(1.0, FRAME_SIDE / max(width, height))
    width, height = max(1, round(width * scale)), max(1, round(height * scale))
    letters = max(11, width // 32)
    strip = _strip_height(letters, max(len(picture.lines) for picture in pictures))
    frames = []
    for index, picture in enumerate(pictures):
        frame = Image.new("RGB", (width, height + strip), PAPER)
        frame.paste(_fitted(picture.path, width, height))
        _write(frame, picture.lines, (letters // 2, height), width - letters, letters)
        done = round(width * index / max(1, len(pictures) - 1))
        ImageDraw.Draw(frame).rectangle((0, height, done, height + max(1, letters // 6)), fill=ACCENT)
        frames.append(frame)
    seconds = [FRAME_SECONDS] * len(frames)
    seconds[0], seconds[-1] = FIRST_SECONDS, LAST_SECONDS
    milliseconds = [round(1000 * each) for each in seconds]
    return _encoded(
        frames[0], "WEBP", save_all=True, append_images=frames[1:], duration=milliseconds, loop=0, quality=88, method=3
    )


def _size(path: Path) -> tuple[int, int]:
    with Image.open(path) as image:
        return image.size


def _fitted(path: Path, width: int, height: int) -> Image.Image:
    """The picture in the middle of a paper of this size."""
    with Image.open(path) as image:
        picture = image.convert("RGB")
    scale = min(width / picture.width, height / picture.height)
    size = max(1, round(picture.width * scale)), max(1, round(picture.height * scale))
    paper = Image.new("RGB", (width, height), PAPER)
    paper.paste(picture.resize(size, Image.Resampling.LANCZOS), ((width - size[0]) // 2, (height - size[1]) // 2))
    return paper


def _strip_height(letters: int, lines: int) -> int:
    return round(letters * (0.8 + 1.3 * lines))


def _write(page: Image.Image, lines: Sequence[str], corner: tuple[int, int], width: int, letters: int) -> None:
    """Lines of text below a picture, in smaller letters where one would not fit."""
    draw = ImageDraw.Draw(page)
    for number, line in enumerate(lines):
        size = float(letters)
        while size > 6 and draw.textlength(line, ImageFont.load_default(size)) > width:
            size -= 1
        top = corner[1] + letters * (0.5 + 1.3 * number) + (letters - size)
        draw.text((corner[0], top), line, INK, ImageFont.load_default(size))


def _encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    content = io.BytesIO()
    image.save(content, kind, **options)
    return content.getvalue()
