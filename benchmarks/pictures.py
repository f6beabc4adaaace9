"""A sheet of photos, and below them what checkpoints draw of them, a row each: the pictures in README.

python -m benchmarks.pictures docs/first.jpg animegan_app/checkpoints/cel/epoch-025 --photos PHOTO ...
python -m benchmarks.pictures SHEET.jpg CHECKPOINT CHECKPOINT ... --width 300
"""

import argparse
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from animegan_app import uploads
from animegan_app.stylize import FILES_LONGEST_SIDE, Stylizer, read_photo
from hub_export import pixels

SHAPE = 4 / 3
"""Width of a picture by its height."""


def sheet(checkpoints: list[Path], photos: list[Path], width: int) -> Image.Image:
    """The photos above, then a row of drawings by each checkpoint, all `width` pixels wide and drawn as files are."""
    stylizer = Stylizer()
    whole = [pixels.limit_size(read_photo(path), FILES_LONGEST_SIDE) for path in photos]
    rows = [whole, *([stylizer.stylize(photo, checkpoint).anime for photo in whole] for checkpoint in checkpoints)]
    size = width, round(width / SHAPE)
    fitted = [[ImageOps.fit(Image.fromarray(picture), size, Image.Resampling.LANCZOS) for picture in row] for row in rows]
    return Image.fromarray(np.concatenate([np.concatenate(list(map(np.asarray, row)), axis=1) for row in fitted]))


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sheet", type=Path)
    parser.add_argument("checkpoints", type=Path, nargs="+")
    parser.add_argument("--photos", type=Path, nargs="+", default=uploads.EXAMPLES, help="default: the app's examples")
    parser.add_argument("--width", type=int, default=480, help="of a picture in pixels (default: 480)")
    arguments = parser.parse_args()
    arguments.sheet.parent.mkdir(parents=True, exist_ok=True)
    sheet(arguments.checkpoints, arguments.photos, arguments.width).save(arguments.sheet, quality=88)


if __name__ == "__main__":
    main()
