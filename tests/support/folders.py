"""Folders of tiny real pictures for tests."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw


def drawing(index: int, width: int = 80, height: int = 72) -> Image.Image:
    """Flat shapes and a little noise: edges to smooth, and no two windows alike."""
    random = np.random.default_rng(index)
    picture = Image.new("RGB", (width, height), tuple(map(int, random.integers(0, 256, 3))))
    draw = ImageDraw.Draw(picture)
    for _ in range(4):
        left, top = map(int, random.integers(0, 50, 2))
        draw.ellipse((left, top, left + 25, top + 20), fill=tuple(map(int, random.integers(0, 256, 3))), outline=(0, 0, 0))
    noisy = np.asarray(picture) + random.normal(0, 2, (height, width, 3))
    return Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8))


def fill(folder: Path, count: int, first: int = 0, suffix: str = "jpg", **size: int) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for index in range(first, first + count):
        drawing(index, **size).save(folder / f"{index:03d}.{suffix}", quality=95)
    return folder


def fill_layout(root: Path) -> Path:
    """AnimeGAN's layout: 5 frames of Hayao, as many smooth ones, which nothing needs, and 7 photos."""
    fill(root / "Hayao" / "style", 5)
    fill(root / "Hayao" / "smooth", 5, first=50)
    fill(root / "train_photo", 7, first=100, width=96)
    return root
