"""Blind comparison by eye: sheets with a photo above and two drawings of it below, in an order that nobody sees.

    python -m benchmarks.blind sheets OUT --photos DIR A=DIR B=DIR     a sheet for every picture that all three have
    python -m benchmarks.blind tally OUT.key.tsv ANSWERS.tsv ...       how often each was chosen, with the error

Whoever judges sees the folder OUT alone and writes one line a sheet: its file name, which side is more of a drawing at a
glance, which they would keep, each L or R, with tabs between. The key lies beside OUT. A share of 0.5 is no difference.
"""

import argparse
import sys
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image

from animegan_app.stylize import read_photo

SIDE = 800
"""Pixels of a drawing's longer side on a sheet."""
QUESTIONS = ("more of a drawing", "kept")


def sheets(out: Path, photos: Path, first: tuple[str, Path], second: tuple[str, Path], seed: int = 0) -> int:
    """Writes the sheets, and the key beside their folder; goes on counting where the folder has some.

    Args:
        out: folder for NNN.png; out.key.tsv holds sheet, picture, left and right.
        photos: folder of photos; pictures go together by name without ending.
        first, second: (name, folder) of the drawings.
        seed: of the order and the sides.

    Returns:
        How many were written.

    Raises:
        ValueError: no picture is in all three folders, one is twice in a folder, both drawings have one name, or a file
            cannot be read.
    """
    if first[0] == second[0]:
        raise ValueError(f"both drawings are called {first[0]}: the tally could not tell them apart")
    folders = [_by_name(folder) for folder in (photos, first[1], second[1])]
    names = sorted(set.intersection(*map(set, folders)))
    if not names:
        raise ValueError(f"no picture is in {photos}, {first[1]} and {second[1]} under one name")
    random = np.random.default_rng(seed)
    out.mkdir(parents=True, exist_ok=True)
    with open(f"{out}.key.tsv", "a+", encoding="utf-8") as key:
        key.seek(0)
        number = len(key.readlines())  # also of sheets that are gone
        for name in random.permutation(names):
            sides = [first[0], second[0]]
            photo, *drawn = (Image.fromarray(read_photo(folder[name])) for folder in folders)
            if random.random() < 0.5:
                sides.reverse()
                drawn.reverse()
            number += 1
            _sheet(photo, drawn).save(out / f"{number:03d}.png")
            key.write(f"{number:03d}.png\t{name}\t{sides[0]}\t{sides[1]}\n")
    return len(names)


def _by_name(folder: Path) -> dict[str, Path]:
    """A folder's files by name without ending; what hides behind a dot is no picture."""
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.is_file() and not path.name.startswith(".") and found.setdefault(path.stem, path) != path:
            raise ValueError(f"{folder} has {found[path.stem].name} and {path.name}: keep one of them")
    return found


def _sheet(photo: Image.Image, drawn: Iterable[Image.Image]) -> Image.Image:
    scale = SIDE / max(photo.size)
    width, height = round(photo.width * scale), round(photo.height * scale)
    sheet = Image.new("RGB", (2 * width + 8, height // 2 + 8 + height), "white")
    sheet.paste(photo.resize((width // 2, height // 2), Image.Resampling.LANCZOS), (width + 4 - width // 4, 0))
    for side, picture in enumerate(drawn):
        sheet.paste(picture.resize((width, height), Image.Resampling.LANCZOS), (side * (width + 8), height // 2 + 8))
    return sheet


def tally(key: Path, answers: Iterable[Path]) -> dict[tuple[str, str], list[tuple[int, int]]]:
    """How often the first of each pair of names was chosen, and of how many answers, for each question.

    Raises:
        ValueError: an answer is not about a sheet of the key, or is not L or R.
    """
    sides = {row[0]: (row[2], row[3]) for row in map(_fields, key.read_text("utf-8").splitlines())}
    counts: dict[tuple[str, str], list[tuple[int, int]]] = {}
    for path in answers:
        for line in filter(None, path.read_text("utf-8").splitlines()):
            sheet, *chosen = _fields(line)
            if sheet not in sides or len(chosen) != len(QUESTIONS) or not set(chosen) <= {"L", "R"}:
                raise ValueError(f"{path}: {line!r} is no answer: write a sheet of {key}, then L or R for {QUESTIONS}")
            first, second = sorted(sides[sheet])
            won = [sides[sheet][side == "R"] == first for side in chosen]
            before = counts.get((first, second), [(0, 0)] * len(QUESTIONS))
            counts[first, second] = [(n + w, of + 1) for (n, of), w in zip(before, won, strict=True)]
    return counts


def _fields(line: str) -> list[str]:
    return line.rstrip("\n").split("\t")


def _named(text: str) -> tuple[str, Path]:
    name, equals, folder = text.partition("=")
    if not equals or not Path(folder).is_dir():
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=FOLDER")
    return name, Path(folder)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    make = commands.add_parser("sheets")
    make.add_argument("out", type=Path)
    make.add_argument("--photos", type=Path, required=True)
    make.add_argument("--seed", type=int, default=0)
    make.add_argument("pair", type=_named, nargs=2, metavar="NAME=DIR")
    count = commands.add_parser("tally")
    count.add_argument("key", type=Path)
    count.add_argument("answers", type=Path, nargs="+")
    arguments = parser.parse_args()
    try:
        if arguments.command == "sheets":
            written = sheets(arguments.out, arguments.photos, arguments.pair[0], arguments.pair[1], arguments.seed)
            print(f"{written} sheets in {arguments.out}, the key in {arguments.out}.key.tsv")
        else:
            for (first, second), counts in tally(arguments.key, arguments.answers).items():
                shares = (
                    f"{question} {n} of {of} ({n / of:.2f} +- {(n / of * (1 - n / of) / of) ** 0.5:.2f})"
                    for question, (n, of) in zip(QUESTIONS, counts, strict=True)
                )
                print(f"{first} against {second}: {', '.join(shares)}")
    except (ValueError, OSError) as error:
        sys.exit(f"benchmarks.blind: {error}")


if __name__ == "__main__":
    main()
