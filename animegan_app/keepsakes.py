"""A photo and its drawing as one file to send: both beside each other, or a boundary that sweeps between them.

A moving one is encoded by a process of its own, `python -m animegan_app.keepsakes`, beside the generator: so the app neither
waits for an encoder nor keeps its memory.
"""

import io
import json
import math
import struct
import sys
import tempfile
import threading
from collections.abc import Generator, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from animegan_app.photos import PhotoError, exactly, start
from animegan_app.writing import encoded

MP4, WEBP, GIF = "mp4", "webp", "gif"
SIDES = {MP4: 720, WEBP: 640, GIF: 480}
"""Longest side of what moves, in pixels: a photo becomes 0.5 to 4 MB."""
RATES = {MP4: Fraction(25), WEBP: Fraction(50, 3), GIF: Fraction(50, 3)}
"""Frames a second; a GIF counts in hundredths of a second, of which a frame takes six."""
SECONDS = 3
REST = 1.16
"""By how much the boundary would overshoot the borders: a fifth of the time, all is photo or all is drawing."""
COLLAGE_SIDE = 1600
"""Longest side of each picture of a collage."""
QUESTION = struct.Struct("<I")
"""Bytes of the JSON that follows; then the pixels of the photo and of its drawing."""
POLL_SECONDS, STALLED_SECONDS = 0.05, 60.0


def collage(photo: np.ndarray, anime: np.ndarray, labels: tuple[str, str]) -> bytes:
    """Both pictures, uint8 RGB (H, W, 3) of one size: beside each other or, where they are wide, one above the other.

    Args:
        labels: in ASCII, written small into the corner of each.

    Returns:
        A JPEG.
    """
    pictures = [_within(picture, COLLAGE_SIDE) for picture in (photo, anime)]
    width, height = pictures[0].size
    gap = max(2, min(width, height) // 160)
    wide = width > height
    across, down = (0, height + gap) if wide else (width + gap, 0)
    page = Image.new("RGB", (width + across, height + down), "white")
    for number, (picture, label) in enumerate(zip(pictures, labels, strict=True)):
        _label(picture, label)
        page.paste(picture, (number * across, number * down))
    return encoded(np.asarray(page), ".jpg")


def wipe(photo: np.ndarray, anime: np.ndarray, kind: str) -> Generator[float, None, bytes]:
    """A boundary that sweeps across both pictures, uint8 RGB (H, W, 3) of one size, and back, in `SECONDS`.

    Args:
        kind: one of `SIDES`.

    Yields:
        The fraction that is done, again and again.

    Returns:
        A file of that kind, which repeats without a jump.

    Raises:
        PhotoError: it cannot be made.
    """
    small = [np.asarray(_within(picture, SIDES[kind])) for picture in (photo, anime)]
    question = json.dumps({"kind": kind, "shape": small[0].shape}).encode()
    process = start("keepsakes")
    content = bytearray()
    asked = QUESTION.pack(len(question)) + question + b"".join(picture.tobytes() for picture in small)
    asking = threading.Thread(target=lambda: content.extend(process.communicate(asked)[0]), daemon=True)
    asking.start()
    waited = 0.0
    try:
        while asking.is_alive() and waited < STALLED_SECONDS:
            asking.join(POLL_SECONDS)
            waited += POLL_SECONDS
            yield 1 - math.exp(-waited / 2)  # of what takes about two seconds
    finally:
        process.kill()
        asking.join()
    if process.returncode or not content:
        raise PhotoError("The moving picture cannot be made: try a smaller photo.")
    return bytes(content)


def frames(photo: np.ndarray, anime: np.ndarray, count: int, line: Any = 255) -> Iterator[np.ndarray]:
    """So many pictures, from the photo on the left of the boundary and its drawing on the right, and the boundary.

    It begins in the middle, so that what shows the first picture alone shows both, and ends just before there.

    Args:
        photo, anime: (H, W) or (H, W, 3) of one size.
        line: value of the boundary's pixels.
    """
    width = photo.shape[1]
    half = max(1, round(max(photo.shape[:2]) / 360))
    for number in range(count):
        place = min(1.0, max(0.0, 0.5 - REST / 2 * math.sin(2 * math.pi * number / count)))
        boundary = round(place * (width + 2 * half)) - half
        frame = anime.copy()
        frame[:, : max(0, boundary)] = photo[:, : max(0, boundary)]
        frame[:, max(0, boundary - half) : max(0, boundary + half)] = line
        yield frame


def _within(picture: np.ndarray, side: int) -> Image.Image:
    """With even lengths, which half the colours' resolution needs, and no longer side than that."""
    height, width = picture.shape[:2]
    scale = min(1.0, side / max(height, width))
    size = max(2, 2 * round(width * scale / 2)), max(2, 2 * round(height * scale / 2))
    image = Image.fromarray(picture)
    return image.copy() if size == image.size else image.resize(size, Image.Resampling.LANCZOS)


def _label(picture: Image.Image, label: str) -> None:
    """Writes into the left lower corner, where it is legible on light and on dark."""
    letters = max(10, round(min(picture.size) / 32))
    font = ImageFont.load_default(letters)
    left, top, right, bottom = font.getbbox(label)
    inner, outer = round(letters * 0.6), round(letters * 0.8)
    size = round(right - left + 2 * inner), round(letters + 1.2 * inner)
    shade = Image.new("L", size, 0)
    ImageDraw.Draw(shade).rounded_rectangle((0, 0, size[0] - 1, size[1] - 1), size[1] // 2, fill=150)
    corner = outer, picture.height - outer - size[1]
    picture.paste("#1c1917", corner, shade)
    place = corner[0] + inner - left, corner[1] + (size[1] - (bottom - top)) / 2 - top
    ImageDraw.Draw(picture).text(place, label, "white", font)


def _mp4(photo: np.ndarray, anime: np.ndarray) -> bytes:
    """By way of a file: what players may begin to show at once is put in front at the end."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "wipe.mp4")
        _write_mp4(path, photo, anime)
        return path.read_bytes()


def _write_mp4(path: Path, photo: np.ndarray, anime: np.ndarray) -> None:
    import av  # ffmpeg's libraries, 60 MB in memory

    av.logging.set_level(None)
    with av.open(str(path), "w", format="mp4", options={"movflags": "+faststart"}) as output:
        video = output.add_stream("libx264", rate=RATES[MP4], options={"crf": "20", "preset": "veryfast"})
        video.height, video.width = photo.shape[:2]
        video.pix_fmt = "yuv420p"
        context = video.codec_context
        context.color_range, context.colorspace, context.color_primaries, context.color_trc = 1, 1, 1, 1  # BT.709
        for picture in frames(photo, anime, round(SECONDS * RATES[MP4])):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            output.mux(video.encode(frame.reformat(format="yuv420p", dst_colorspace="ITU709", dst_color_range="MPEG")))
        output.mux(video.encode())


def _webp(photo: np.ndarray, anime: np.ndarray) -> bytes:
    return _moving([Image.fromarray(frame) for frame in _slow(photo, anime)], "WEBP", quality=80, method=0)


def _gif(photo: np.ndarray, anime: np.ndarray) -> bytes:
    """Both pictures get their 254 colours once, so that nothing but the boundary changes from frame to frame."""
    both = Image.fromarray(np.concatenate([photo, anime])).quantize(254, Image.Quantize.MEDIANCUT)
    palette = [*(both.getpalette() or [])[: 3 * 254], 255, 255, 255]
    indices = np.asarray(both)
    pages = [Image.fromarray(frame, "P") for frame in _slow(indices[: len(photo)], indices[len(photo) :], 254)]
    for page in pages:
        page.putpalette(palette)
    return _moving(pages, "GIF", optimize=False, disposal=1)


def _slow(photo: np.ndarray, anime: np.ndarray, line: int = 255) -> Iterator[np.ndarray]:
    return frames(photo, anime, round(SECONDS * RATES[GIF]), line)


def _moving(pages: list[Image.Image], kind: str, **options: Any) -> bytes:
    content = io.BytesIO()
    duration = round(1000 / RATES[GIF])
    pages[0].save(content, kind, save_all=True, append_images=pages[1:], duration=duration, loop=0, **options)
    return content.getvalue()


def main() -> None:
    """Answers one question."""
    questions = sys.stdin.buffer
    (size,) = QUESTION.unpack(exactly(questions, QUESTION.size))
    asked = json.loads(exactly(questions, size))
    pixels = exactly(questions, 2 * math.prod(asked["shape"]))
    photo, anime = np.frombuffer(pixels, np.uint8).reshape(2, *asked["shape"])
    sys.stdout.buffer.write({MP4: _mp4, WEBP: _webp, GIF: _gif}[asked["kind"]](photo, anime))


if __name__ == "__main__":
    main()
