"""A sheet of photos above what a checkpoint draws of them: the picture in README.

python -m benchmarks.pictures animegan_app/checkpoints/cel/epoch-008 docs/first.jpg
python -m benchmarks.pictures CHECKPOINT SHEET.jpg PHOTO ...
"""

import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from animegan_app.stylize import DEFAULT_LONGEST_SIDE, Stylizer, read_photo
from hub_export import pixels

EXAMPLES = ("mountains", "pagoda", "autumn")
WIDTH, HEIGHT = 480, 360


def sheet(checkpoint: Path, photos: list[Path]) -> Image.Image:
    """Photos above, drawings below, each (HEIGHT, WIDTH)."""
    stylizer = Stylizer()
    columns = []
    for path in photos:
        whole = Image.fromarray(pixels.limit_size(read_photo(path), DEFAULT_LONGEST_SIDE))
        photo = ImageOps.fit(whole, (WIDTH, HEIGHT), Image.Resampling.LANCZOS)
        result = stylizer.stylize(np.asarray(photo), checkpoint)
        columns.append(np.concatenate([result.photo, result.anime]))
    return Image.fromarray(np.concatenate(columns, axis=1))


if __name__ == "__main__":
    checkpoint, target, *photos = map(Path, sys.argv[1:])
    examples = [Path("animegan_app/examples") / f"{name}.jpg" for name in EXAMPLES]
    target.parent.mkdir(parents=True, exist_ok=True)
    sheet(checkpoint, photos or examples).save(target, quality=88)
