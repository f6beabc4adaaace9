"""Draws photos and clips from the command line: python -m animegan_app.draw CHECKPOINT PHOTO... --out FOLDER

    python -m animegan_app.draw cel holiday/ --out drawn

- CHECKPOINT: one that ships, "cel" or "cel@epoch-025"; "hub:you/animegan-hayao@epoch-060"; a checkpoint's or run's folder.
- PHOTO: files, folders with all that is in them, patterns, clips. A drawing has its photo's size, name and place in the
  folder; a JPEG's is a JPEG, a clip's an MP4, any other a PNG, as transparent as the photo.
- A clip keeps its sound, length, frame rate and orientation. Its frames are drawn at 512 pixels unless --size says more, and
  enlarged to its own size; --steady takes flicker from what does not move, at the cost that slow and faint motion lags.
- What is there already, of the same photo and drawn in the same way, is not drawn again: to go on, run the command again.
  What is there and was not drawn of this photo stays, and is told.
- A file that cannot be drawn is named, and stops nothing. Exit code: 0 if all is drawn, 1 if not, 2 if nothing could begin.
"""

import hub_export.environment  # noqa: F401  first, as it settles what other programs' settings would break

# isort: split
import argparse
import contextlib
import functools
import glob
import hashlib
import io
import os
import re
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np

from animegan_app import clips
from animegan_app.clips import DEFAULT_SIDE
from animegan_app.contact_sheet import Labelled, sheet
from animegan_app.photos import PhotoError, read_scaled
from animegan_app.stylize import FILES_LONGEST_SIDE, LONGEST_SIDES, MOST_STRENGTH, Stylizer, blend, in_full
from animegan_app.writing import JPEG_SUFFIXES, comment_of, encoded
from hub_export.files import os_sentence, write_aside
from hub_export.folder import SCHEME, find_checkpoints
from hub_export.hub import REFERENCE
from hub_export.record import CheckpointError, Record, read_record
from hub_export.store import resolve

CLIP = ".mp4"
PICTURES = {*JPEG_SUFFIXES, ".png", ".webp", ".avif", ".heic", ".heif", ".hif", ".gif", ".bmp", ".tif", ".tiff"}
"""What is drawn of a folder; a file that is named is drawn whatever it is called."""

OURS = "Drawn by AnimeGAN: "
"""How the comment of every drawing begins."""
ORIGIN = re.compile(", of ([0-9a-f]{12}) ([0-9a-f]{12})$")
"""How it ends, with the photo's `origin`; not with earlier versions."""
ENDS = 2**20
"""Bytes of a file's beginning and of its end that tell it from others."""

Report = Callable[[float], None]
"""Takes the fraction that is done."""
Made = TypeVar("Made")


@dataclass(frozen=True)
class Work:
    """One file to draw.

    Args:
        source: the photo or clip.
        target: where its drawing goes.
    """

    source: Path
    target: Path

    @functools.cached_property
    def origin(self) -> tuple[str, str]:
        """What tells this photo from others of its name: digests of its size, first and last megabyte, and of its path.

        Raises OSError.
        """
        with self.source.open("rb") as file:
            size = file.seek(0, io.SEEK_END)
            ends = [file.read(ENDS) for start in (0, max(0, size - ENDS)) if file.seek(start) == start]
        content = b"".join([str(size).encode(), *ends])
        path = os.fsencode(self.source.resolve())
        return hashlib.sha256(content).hexdigest()[:12], hashlib.sha256(path).hexdigest()[:12]

    @property
    def is_clip(self) -> bool:
        """Whether the drawing is one."""
        return self.target.suffix == CLIP


class Painter:
    """Draws one file after another in the same way.

    Args:
        folder: the checkpoint.
        longest_side: see `stylize.LONGEST_SIDES`; None for the default of photos or of clips.
        strength: 1 for the generator's own drawing, see `stylize.blend`.
        with_sheet: whether a sheet with the photo and its drawing is written beside each.
        steady: see `clips.draw_clip`.
    """

    def __init__(self, folder: Path, longest_side: int | None, strength: float, with_sheet: bool, steady: bool):
        self.folder, self.strength, self.with_sheet, self.steady = folder, strength, with_sheet, steady
        self._longest_side = longest_side
        self.record: Record = read_record(folder)
        self.stylizer = Stylizer()

    def comment(self, work: Work) -> str:
        """What a drawing says about how it was made: equal ones were made alike."""
        name = f"{self.record.experiment} {self.record.checkpoint} {self.record.sha256[:12]}"
        how = f"longest side {self.longest_side(work)}, strength {100 * self.strength:g} %"
        return f"{OURS}{name}, {how}{', steady' if work.is_clip and self.steady else ''}, of {' '.join(work.origin)}"

    def longest_side(self, work: Work) -> int:
        """At which it is drawn, in pixels."""
        return self._longest_side or (DEFAULT_SIDE if work.is_clip else FILES_LONGEST_SIDE)

    def has_drawn(self, work: Work) -> bool:
        """Whether all is there that `draw` would write, and no older than the photo.

        Raises:
            PhotoError: something else is there, which nobody asked to be lost.
            OSError: the photo cannot be read.
        """
        wanted = [work.target, *([_sheet_of(work.target)] if self.with_sheet and not work.is_clip else [])]
        there = [path for path in wanted if path.exists()]
        comments = [clips.comment_of(path) if path.suffix == CLIP else comment_of(path) for path in there]
        for path, comment in zip(there, comments, strict=True):
            origin = ORIGIN.search(comment)
            if not comment.startswith(OURS) or (origin and not set(origin.groups()) & set(work.origin)):
                raise PhotoError("{path} is no drawing of it: choose another --out, or take that away", path=path)
        fresh = all(path.stat().st_mtime >= work.source.stat().st_mtime for path in there)
        alike = {comment.rpartition(" ")[0] for comment in comments} == {self.comment(work).rpartition(" ")[0]}
        return there == wanted and fresh and alike

    def draw(self, work: Work, report: Report) -> str:
        """Draws one file, and tells the fraction that is done. Returns what it has become, for a person.

        Raises:
            PhotoError: it cannot be drawn.
            OSError: it cannot be read or written.
        """
        work.target.parent.mkdir(parents=True, exist_ok=True)
        return self._draw_clip(work, report) if work.is_clip else self._draw_photo(work, report)

    def _draw_photo(self, work: Work, report: Report) -> str:
        content = work.source.read_bytes()  # a person's own: as large as it is
        photo, original = read_scaled(content, self.longest_side(work))
        anime = self.stylizer.stylize(photo, self.folder).anime
        picture = finished(in_full(content, anime, original, self.strength, 0), report)
        if self.with_sheet:
            write_aside(_sheet_of(work.target), self._sheet(work, photo, picture))
        write_aside(work.target, encoded(picture, work.target.suffix.lower(), self.comment(work)))
        return f"{picture.shape[1]} × {picture.shape[0]} px"

    def _draw_clip(self, work: Work, report: Report) -> str:
        def draw(frame: np.ndarray) -> np.ndarray:
            return blend(frame, self.stylizer.stylize(frame, self.folder).anime, self.strength, 0)

        side, comment = self.longest_side(work), self.comment(work)
        start = time.perf_counter()
        clip = finished(clips.draw_clip(work.source, work.target, draw, side, self.steady, comment=comment), report)
        pace = clip.frames / (time.perf_counter() - start)
        return f"{clip.width} × {clip.height} px, {clip.seconds:.1f} s of {clip.frames} frames, {pace:.1f} a second"

    def _sheet(self, work: Work, photo: np.ndarray, picture: np.ndarray) -> bytes:
        labels = work.source.name, f"{self.record.experiment} {self.record.checkpoint}"
        with tempfile.TemporaryDirectory() as place:
            shown = []
            for number, (label, image) in enumerate(zip(labels, (photo, picture), strict=True)):
                path = Path(place, f"{number}.png")
                path.write_bytes(encoded(image, ".png"))
                shown.append(Labelled(path, (label.encode("ascii", "replace").decode(),)))
            return sheet(shown, comment=self.comment(work))


def finished(steps: Generator[float, None, Made], report: Report) -> Made:
    """What a generator returns; each fraction that it yields is told."""
    while True:
        try:
            report(next(steps))
        except StopIteration as end:
            return end.value


def find(inputs: Iterable[str], out: Path) -> list[Work]:
    """What there is to draw, in order, each file once, and where it goes.

    Raises:
        ValueError: there is no such file or folder, or nothing to draw in it; a drawing would take the place of what is to
            be drawn, or of another drawing.
    """
    places: dict[Path, Path] = {}  # by source, the place of its drawing below `out`
    for text in inputs:
        paths = [Path(text)] if Path(text).exists() else [Path(path) for path in sorted(glob.glob(text, recursive=True))]
        if not paths:
            raise ValueError(f"{text}: there is no such file or folder")
        before = len(places)
        for path in paths:
            if not path.is_dir():
                places.setdefault(path.resolve(), Path(path.name))
                continue
            for inner in sorted(path.rglob("*")):
                place = inner.relative_to(path)
                hidden = any(part.startswith(".") for part in place.parts)
                if hidden or inner.suffix.lower() not in PICTURES | clips.SUFFIXES or not inner.is_file():
                    continue
                if out.resolve() not in inner.resolve().parents:
                    places.setdefault(inner.resolve(), place)
        if len(places) == before and all(path.is_dir() for path in paths):
            raise ValueError(f"{text}: there is no photo or clip in it that is not given already")
    targets = {source: place.with_suffix(_suffix(source)) for source, place in places.items()}
    count = Counter(targets.values())
    for source, target in targets.items():
        if count[target] > 1:  # of photo.webp and photo.png, the first becomes photo.webp.png
            own = places[source]
            targets[source] = own if own.suffix == target.suffix else own.with_name(own.name + target.suffix)
    count = Counter(targets.values())
    for source, target in targets.items():
        if count[target] > 1:  # of photos of one name in two folders
            targets[source] = source.parents[len(target.parts) - 1].name / target
    by_target: dict[Path, Path] = {}
    for source, target in targets.items():
        place = (out / target).resolve()
        if place in places:
            raise ValueError(f"{place} is to be drawn, and a drawing would take its place: choose another --out")
        if place in by_target:
            raise ValueError(f"{by_target[place]} and {source} would both become {out / target}: draw one of them apart")
        by_target[place] = source
    return [Work(source, out / target) for source, target in targets.items()]


def checkpoint_folder(text: str) -> Path:
    """The folder of a checkpoint that is named as the command takes it.

    Raises:
        ValueError: there is none of that name.
    """
    if text.startswith((SCHEME, REFERENCE)):
        return resolve(text)
    if Path(text).is_dir() or len(Path(text).parts) > 1:
        return find_checkpoints(Path(text))[-1]
    return resolve(f"{SCHEME}{text}")


def duration(seconds: float) -> str:
    """A time that is left, in words."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{round(seconds / 60)} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command. Returns its exit code."""
    options = _parser().parse_args(arguments)
    try:
        folder = checkpoint_folder(options.checkpoint)
        painter = Painter(folder, options.size, options.strength / 100, options.sheet, options.steady)
        works = find(options.photos, options.out)
        options.out.mkdir(parents=True, exist_ok=True)
    except (ValueError, OSError) as error:
        print(os_sentence(error) if isinstance(error, OSError) else error, file=sys.stderr)
        return 2
    try:
        return _draw_all(painter, works)
    except CheckpointError as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nStopped. The same command goes on from here.", file=sys.stderr)
        return 130


def _draw_all(painter: Painter, works: list[Work]) -> int:
    """Draws what is not there yet and tells how it goes. Returns the exit code."""
    failed: list[str] = []
    there = 0
    spent, drawn = 0.0, 0
    for number, work in enumerate(works, start=1):
        start = time.perf_counter()
        try:
            if painter.has_drawn(work):
                there += 1
                continue
            summary = painter.draw(work, partial(_tell, number, len(works), work, start))
        except (PhotoError, OSError, MemoryError) as error:
            said = (
                os_sentence(error, work.source) if isinstance(error, OSError) else f"{work.source}: {error or 'too large'}"
            )
            print(said, file=sys.stderr, flush=True)
            failed.append(work.source.name)
            continue
        seconds = time.perf_counter() - start
        spent, drawn = spent + seconds, drawn + 1
        left = len(works) - number
        rest = f"; about {duration(left * spent / drawn)} left for {left} more" if left else ""
        print(f"[{number}/{len(works)}] {work.target}: {summary}, {seconds:.1f} s{rest}", flush=True)
    print(f"{drawn} drawn, {there} already there, {len(failed)} failed" + (f": {', '.join(failed)}" if failed else ""))
    return 1 if failed else 0


def _tell(number: int, count: int, work: Work, start: float, done: float) -> None:
    """Rewrites the terminal's last line with how far a file is."""
    if sys.stderr.isatty() and done > 0:
        left = duration((time.perf_counter() - start) * (1 - done) / done)
        print(
            f"\r[{number}/{count}] {work.source.name}: {done:.0%}, {left} left \033[K", end="\r", file=sys.stderr, flush=True
        )


def _suffix(path: Path) -> str:
    with contextlib.suppress(OSError), path.open("rb") as file:  # else it is told when it is to be drawn
        if clips.is_clip(file.read(16)):
            return CLIP
    return path.suffix if path.suffix.lower() in (*JPEG_SUFFIXES, ".png") else ".png"


def _sheet_of(target: Path) -> Path:
    return target.with_name(f"{target.stem}.sheet.png")


def _percent(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1
    if not 0 <= value <= MOST_STRENGTH:
        raise argparse.ArgumentTypeError(f"{text!r} is not from 0 to {MOST_STRENGTH}")
    return value


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "python -m animegan_app.draw", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("checkpoint", metavar="CHECKPOINT", help="what draws")
    parser.add_argument("photos", nargs="+", metavar="PHOTO", help="what is drawn")
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="where drawings go")
    parser.add_argument(
        "--size",
        type=int,
        choices=sorted({*LONGEST_SIDES, *clips.SIDES}),
        help="longest side at which is drawn, in pixels, before the drawing is raised to its photo's size: smaller is "
        f"bolder and faster (default: {FILES_LONGEST_SIDE}, of clips {DEFAULT_SIDE})",
    )
    parser.add_argument(
        "--strength",
        type=_percent,
        default=100,
        metavar="PERCENT",
        help=f"0 is the photo, more than 100 exaggerates, up to {MOST_STRENGTH} (default: 100)",
    )
    parser.add_argument("--sheet", action="store_true", help="write NAME.sheet.png too, with the photo beside its drawing")
    parser.add_argument("--steady", action="store_true", help="clips: less flicker; slow and faint motion lags")
    return parser


if __name__ == "__main__":
    sys.exit(main())
