"""Drawings for everybody who looks at the app: one is made at a time, the last ones stay in memory, none goes to disk.

What takes long, a picture of many megapixels or a clip, is made in steps, and in turn with the drawings that wait: nobody's
photo waits for more than one step of each.
"""

import asyncio
import contextlib
import hashlib
import itertools
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Generator
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from animegan_app import clips, memory
from animegan_app.catalog import HUB, Catalog, Offer
from animegan_app.photos import PhotoError, full_size, read_file, read_scaled
from animegan_app.stylize import LONGEST_SIDES, Stylizer, blend, in_full
from hub_export.record import CheckpointError, Record, read_record
from hub_export.sentences import Sentence

KEPT_BYTES = 256 * 2**20
"""What the drawings in memory take at most; one of 1024 × 768 pixels takes 4.7 MB."""
MAX_WAITING = 64
"""How many drawings may be waited for; a page or program waits for one at a time."""
MAX_LONG = 16
"""How many full pictures, and how many clips, may be waited for."""
LOOK_SECONDS = 0.25
"""How often a waiting person is told how far it is."""
MAX_AHEAD = 16
"""How many drawings may wait that nobody has asked for yet."""
THUMBNAIL_SIDE = 256
"""The longest side of a drawing that only shows what one would be like, in pixels."""
DRAWINGS, PICTURES, CLIPS, AHEAD = "drawings", "pictures", "clips", "ahead"
"""The lines that are served in turn: of each the first waits for nobody but one step of each other line. What is drawn ahead
of a wish also waits until nobody waits for a drawing."""

Report = Callable[[float, Sentence], None]
"""Takes the fraction that is done, in [0, 1], and what is being done."""
Progress = tuple[float, Sentence]
"""What a `Report` takes."""
Made = TypeVar("Made")
Identity = tuple[str, str, str, int]
"""Equal ones give equal drawings: sha256 of the photo's file, key of the checkpoint, sha256 of its weights, longest side."""


@dataclass(frozen=True)
class Drawing:
    """A photo as a checkpoint drew it.

    Args:
        photo, anime: uint8 RGB (H, W, 3) of one size.
        seconds: what the generator took.
        original: width and height of the photo before it was scaled down.
        offer: what was chosen.
        record: what the files that drew say about themselves.
        folder: where they are.
    """

    photo: np.ndarray
    anime: np.ndarray
    seconds: float
    original: tuple[int, int]
    offer: Offer
    record: Record
    folder: Path

    @property
    def commit(self) -> str:
        """The commit sha on the Hub, "" for a checkpoint from a folder."""
        return self.folder.name if self.offer.source == HUB else ""

    @property
    def size(self) -> tuple[int, int]:
        """Width and height."""
        return self.photo.shape[1], self.photo.shape[0]

    @property
    def full(self) -> tuple[int, int]:
        """Width and height in which `Studio.finish` gives it."""
        return full_size(self.original)


@dataclass
class _Task:
    """A drawing that is waited for."""

    line: str
    future: Future[Drawing] = field(default_factory=Future)
    waiting: int = 0
    doing: Sentence = field(default_factory=lambda: Sentence("Reading the photo"))
    begun: float = 0.0
    expected: float | None = None


class _Work:
    """Something that takes many steps, and who waits for it.

    Args:
        steps: yields how far it is after each, and returns what was made.
    """

    def __init__(self, steps: Generator[Progress, None, Any]):
        self._steps = steps
        self.future: Future[Any] = Future()
        self.future.set_running_or_notify_cancel()
        self.progress: Progress | None = None
        self.given_up = False

    def step(self) -> bool:
        """Takes one. Returns whether that was the last."""
        try:
            if self.given_up:
                self._steps.close()
                self.future.set_result(None)
                return True
            self.progress = next(self._steps)
            return False
        except StopIteration as end:
            self.future.set_result(end.value)
        except BaseException as error:
            self.future.set_exception(error)
        return True


class Studio:
    """Draws photos with checkpoints of a catalog. May be used from many event loops and threads.

    Args:
        catalog: what there is to draw with.
        stylizer: what draws.
        kept_bytes: how many bytes of drawings stay in memory.
    """

    def __init__(self, catalog: Catalog, stylizer: Stylizer | None = None, kept_bytes: int = KEPT_BYTES):
        self.catalog = catalog
        memory.keep_at_hand()
        self.stylizer = stylizer or Stylizer()
        self._kept_bytes = kept_bytes
        self._kept: OrderedDict[Identity, Drawing] = OrderedDict()
        self._tasks: dict[Identity, _Task] = {}
        self._pace: dict[str, float] = {}  # seconds per pixel by generator
        self._lock = threading.Lock()
        self._lines: dict[str, deque[Callable[[], bool]]] = {line: deque() for line in (DRAWINGS, PICTURES, CLIPS, AHEAD)}
        """Each takes a step and tells whether it was the last. Guarded by the lock, and only `_work` takes out."""
        self._added = threading.Condition(self._lock)
        # A daemon: an app that ends does not first make what people who are gone were waiting for.
        threading.Thread(target=self._work, name="drawing", daemon=True).start()

    async def draw(self, path: Path, key: str, longest_side: int, report: Report) -> Drawing:
        """A photo as a checkpoint draws it, from memory if it is there, which waits for nobody's drawing or download.

        What identical requests wait for is made once. Whoever is cancelled waits no longer; if nobody else waits, a drawing
        that has not begun is never made, and one that has is finished and kept.

        Args:
            path: the photo's file.
            key: the checkpoint, see `Offer.key`.
            longest_side: one of `LONGEST_SIDES`, in pixels.
            report: told again and again how far it is; not called where there is nothing to wait for.

        Raises:
            PhotoError: the file cannot be used, the side is none of those, or too many drawings are waited for.
            CheckpointError: not on offer, not to be had, damaged.
        """
        if longest_side not in LONGEST_SIDES:
            sides = ", ".join(map(str, LONGEST_SIDES))
            raise PhotoError("The longest side must be one of {sides} pixels.", sides=sides)
        offer = self.catalog.find(key)
        identity = await _identity(path, offer, longest_side)
        if kept := self._recall(identity):
            return kept
        missing_bytes = self.catalog.missing_bytes(offer)
        if missing_bytes:
            size = megabytes(missing_bytes)
            report(0.1, Sentence("Downloading {size} from {name} on the Hugging Face Hub", size=size, name=offer.name))
        await self.catalog.pull(offer)
        return await self._wait(identity, self._join(identity, path, offer, DRAWINGS), report)

    async def recall(self, path: Path, key: str, longest_side: int) -> Drawing | None:
        """The same where it is in memory; None where it is not, or the photo or checkpoint is gone."""
        try:
            return self._recall(await _identity(path, self.catalog.find(key), longest_side))
        except (PhotoError, CheckpointError):
            return None

    async def draw_ahead(self, path: Path, key: str, longest_side: int) -> Drawing | None:
        """The same behind all drawings that somebody waits for; None where it would take a download.

        Args:
            longest_side: one of `LONGEST_SIDES`, or `THUMBNAIL_SIDE`.

        Raises:
            PhotoError, CheckpointError: as `draw`.
        """
        offer = self.catalog.find(key)
        identity = await _identity(path, offer, longest_side)
        if kept := self._recall(identity):
            return kept
        if longest_side not in (*LONGEST_SIDES, THUMBNAIL_SIDE) or self.catalog.missing_bytes(offer):
            return None
        return await self._wait(identity, self._join(identity, path, offer, AHEAD), lambda done, doing: None)

    @property
    def idle(self) -> bool:
        """Whether nothing is being drawn or waited for."""
        with self._lock:
            return not any(self._lines.values())

    async def finish(
        self, drawing: Drawing, path: Path, strength: float, photo_colours: float, report: Report
    ) -> np.ndarray:
        """A drawing in its photo's own size, see `stylize.in_full`: RGB or RGBA.

        Args:
            path: the photo's file.
            strength, photo_colours: see `stylize.blend`.

        Raises:
            PhotoError: the photo can no longer be read, or too many pictures are waited for.
        """
        width, height = drawing.full
        doing = Sentence("Raising the drawing to {width} × {height} px", width=width, height=height)

        making = in_full(path, drawing.anime, drawing.original, strength, photo_colours)
        return await self.in_turn(PICTURES, described(making, doing), report)

    async def draw_clip(
        self,
        path: Path,
        target: Path,
        key: str,
        longest_side: int,
        strength: float,
        steady: bool,
        limits: clips.Limits,
        report: Report,
    ) -> tuple[clips.Clip, Record]:
        """Draws a clip, frame by frame in turn with all else.

        Args:
            path: the clip's file.
            target: the file to write.
            key: the checkpoint, see `Offer.key`.
            longest_side: one of `clips.SIDES`, in pixels.
            strength: see `stylize.blend`.
            steady, limits: see `clips.draw_clip`.
            report: told again and again how far it is.

        Returns:
            What was made, and the record of what drew it.

        Raises:
            PhotoError: the clip cannot be used, the side is none of those, or too many clips are waited for.
            CheckpointError: not on offer, not to be had, damaged.
        """
        if longest_side not in clips.SIDES:
            sides = ", ".join(map(str, clips.SIDES))
            raise PhotoError("The longest side must be one of {sides} pixels.", sides=sides)
        offer = self.catalog.find(key)
        await self.catalog.pull(offer)

        def steps() -> Generator[Progress, None, tuple[clips.Clip, Record]]:
            folder = self.catalog.fetch(offer)

            def draw(frame: np.ndarray) -> np.ndarray:
                return blend(frame, self.stylizer.stylize(frame, folder).anime, strength, 0)

            drawing = clips.draw_clip(path, target, draw, longest_side, steady, limits)
            clip = yield from described(drawing, Sentence("Drawing the clip at {side} px", side=longest_side))
            return clip, read_record(folder)

        return await self.in_turn(CLIPS, steps(), report)

    async def in_turn(self, line: str, steps: Generator[Progress, None, Made], report: Report) -> Made:
        """Has the drawing thread make something that takes long, step by step, in turn with all else.

        Whoever is cancelled has it given up before its next step, and closed.

        Args:
            line: `PICTURES` or `CLIPS`; of each, one is made at a time.
            steps: yields after each step how far it is; returns what was made.
            report: told again and again how far it is.

        Raises:
            PhotoError: too many are waited for; whatever else comes from the steps.
        """
        work = _Work(steps)
        with self._added:
            if len(self._lines[line]) >= MAX_LONG:
                raise PhotoError("Too many drawings are waited for here: try again in a minute.")
            self._lines[line].append(work.step)
            self._added.notify()
        try:
            done = asyncio.wrap_future(work.future)
            # Marks the exception as retrieved, or asyncio logs it where nobody waits any more.
            done.add_done_callback(lambda future: future.cancelled() or future.exception())
            while not (await asyncio.wait([done], timeout=LOOK_SECONDS))[0]:
                report(*(work.progress or self._before(self._place(line, work.step))))
            return done.result()
        finally:
            work.given_up = True

    def _place(self, line: str, step: Callable[[], bool]) -> int:
        """How many are before this one in a line."""
        with self._lock:
            return self._lines[line].index(step) if step in self._lines[line] else 0

    def expected_seconds(self, record: Record, width: int, height: int) -> float | None:
        """What a drawing of this size will take, from the last one with such a generator; None before the first."""
        pace = self._pace.get(_generator(record))
        return pace and pace * width * height

    def _recall(self, identity: Identity) -> Drawing | None:
        with self._lock:
            if identity in self._kept:
                self._kept.move_to_end(identity)
            return self._kept.get(identity)

    def _join(self, identity: Identity, path: Path, offer: Offer, line: str) -> _Task:
        """The task of this identity, begun if there is none, with one more who waits for it.

        What was only to be drawn ahead moves up when somebody asks for it: it then stands in both lines, and is made once.
        """
        with self._lock:
            task = self._tasks.get(identity)
            if task is None or (line, task.line) == (DRAWINGS, AHEAD):
                if sum(other.line == line for other in self._tasks.values()) >= (
                    MAX_WAITING if line == DRAWINGS else MAX_AHEAD
                ):
                    raise PhotoError("Too many drawings are waited for here: try again in a minute.")
                task = self._tasks.setdefault(identity, _Task(line))
                task.line = line
                self._lines[line].append(partial(self._make, identity, task, path, offer))
                self._added.notify()
            task.waiting += 1
            return task

    async def _wait(self, identity: Identity, task: _Task, report: Report) -> Drawing:
        try:
            done = asyncio.wrap_future(task.future)
            # Marks the exception as retrieved, or asyncio logs it where nobody waits any more.
            done.add_done_callback(lambda future: future.cancelled() or future.exception())
            while not (await asyncio.wait([done], timeout=LOOK_SECONDS))[0]:
                report(*self._progress(identity, task))
            return done.result()
        finally:
            with self._lock:
                task.waiting -= 1
                if not task.waiting and self._tasks.get(identity) is task and task.future.cancel():
                    del self._tasks[identity]

    def _progress(self, identity: Identity, task: _Task) -> tuple[float, Sentence]:
        if not task.future.running():
            with self._lock:
                before = [other.line for other in itertools.takewhile(lambda other: other is not task, self._tasks.values())]
            return self._before(before.count(DRAWINGS)) if DRAWINGS in before else (0.2, task.doing)
        if task.expected is None:
            return 0.4, task.doing
        return min(0.95, 0.3 + 0.65 * (time.perf_counter() - task.begun) / max(task.expected, 0.1)), task.doing

    @staticmethod
    def _before(count: int) -> Progress:
        if count == 1:
            return 0.2, Sentence("Waiting for 1 drawing before this one")
        return 0.2, Sentence("Waiting for {count} drawings before this one", count=count)

    def _work(self) -> None:
        """The only drawing thread: no two photos are decoded at a time either."""
        while True:
            with self._added:
                self._added.wait_for(lambda: any(self._lines.values()))
            for name, line in self._lines.items():
                if line and not (name == AHEAD and self._lines[DRAWINGS]) and line[0]():
                    with self._lock:
                        line.popleft()

    def _make(self, identity: Identity, task: _Task, path: Path, offer: Offer) -> bool:
        """Makes one drawing, in one step."""
        with self._lock:
            if self._tasks.get(identity) is not task or not task.future.set_running_or_notify_cancel():
                return True  # nobody waits any more, or it was made in its other line
        try:
            drawing = self._drawn(identity[-1], task, path, offer)
        except BaseException as error:
            self._tasks.pop(identity)
            task.future.set_exception(error)
            return True
        with self._lock:
            self._keep((identity[0], offer.key, drawing.record.sha256, identity[-1]), drawing)
            del self._tasks[identity]
        task.future.set_result(drawing)
        return True

    def _drawn(self, longest_side: int, task: _Task, path: Path, offer: Offer) -> Drawing:
        photo, original = read_scaled(path, longest_side)
        folder = self.catalog.fetch(offer)
        record = read_record(folder)
        size = {"width": photo.shape[1], "height": photo.shape[0]}
        task.expected = self.expected_seconds(record, **size)
        task.begun, task.doing = time.perf_counter(), Sentence("Drawing {width} × {height} px", **size)
        result = self.stylizer.stylize(photo, folder)
        if longest_side in LONGEST_SIDES:  # a smaller one's pixels take longer
            self._pace[_generator(record)] = result.seconds / (photo.shape[0] * photo.shape[1])
        return Drawing(result.photo, result.anime, result.seconds, original, offer, record, folder)

    def _keep(self, identity: Identity, drawing: Drawing) -> None:
        self._kept[identity] = drawing
        while sum(kept.photo.nbytes + kept.anime.nbytes for kept in self._kept.values()) > self._kept_bytes:
            self._kept.popitem(last=False)


def described(steps: Generator[float, None, Made], doing: Sentence) -> Generator[Progress, None, Made]:
    """The same steps, which tell what is being done."""
    yield 0.0, doing  # what it begins with may take a moment
    with contextlib.closing(steps):
        while True:
            try:
                yield next(steps), doing
            except StopIteration as end:
                return end.value


def megabytes(size: int) -> str:
    """A number of bytes for a person, e.g. "4.2 MB"."""
    return f"{max(size / 1e6, 0.1):.1f} MB"


async def _identity(path: Path, offer: Offer, longest_side: int) -> Identity:
    return await asyncio.to_thread(_digest, path), offer.key, offer.record.sha256, longest_side


def _digest(path: Path) -> str:
    return hashlib.sha256(read_file(path)).hexdigest()


def _generator(record: Record) -> str:
    return str(sorted(record.generator.items()))
