"""Drawings for everybody who looks at the app: one is made at a time, the last ones stay in memory, none goes to disk."""

import asyncio
import hashlib
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from queue import SimpleQueue

import numpy as np

from animegan_app.catalog import HUB, Catalog, Offer
from animegan_app.photos import PhotoError, read_file, read_scaled
from animegan_app.stylize import LONGEST_SIDES, Stylizer
from hub_export.record import Record, read_record
from hub_export.sentences import Sentence

KEPT_BYTES = 256 * 2**20
"""What the drawings in memory take at most; one of 1024 × 768 pixels takes 4.7 MB."""
MAX_WAITING = 64
"""How many drawings may be waited for; a page or program waits for one at a time."""
LOOK_SECONDS = 0.25
"""How often a waiting person is told how far it is."""

Report = Callable[[float, Sentence], None]
"""Takes the fraction that is done, in [0, 1], and what is being done."""
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


@dataclass
class _Task:
    """A drawing that is waited for."""

    future: Future[Drawing] = field(default_factory=Future)
    waiting: int = 0
    doing: Sentence = field(default_factory=lambda: Sentence("Reading the photo"))
    begun: float = 0.0
    expected: float | None = None


class Studio:
    """Draws photos with checkpoints of a catalog. May be used from many event loops and threads.

    Args:
        catalog: what there is to draw with.
        stylizer: what draws.
        kept_bytes: how many bytes of drawings stay in memory.
    """

    def __init__(self, catalog: Catalog, stylizer: Stylizer | None = None, kept_bytes: int = KEPT_BYTES):
        self.catalog = catalog
        self.stylizer = stylizer or Stylizer()
        self._kept_bytes = kept_bytes
        self._kept: OrderedDict[Identity, Drawing] = OrderedDict()
        self._tasks: dict[Identity, _Task] = {}
        self._pace: dict[str, float] = {}  # seconds per pixel by generator
        self._lock = threading.Lock()
        self._line: SimpleQueue[tuple[Identity, _Task, Path, Offer]] = SimpleQueue()
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
        identity = await asyncio.to_thread(_digest, path), offer.key, offer.record.sha256, longest_side
        with self._lock:
            if identity in self._kept:
                self._kept.move_to_end(identity)
                return self._kept[identity]
        missing_bytes = self.catalog.missing_bytes(offer)
        if missing_bytes:
            size = megabytes(missing_bytes)
            report(0.1, Sentence("Downloading {size} from {name} on the Hugging Face Hub", size=size, name=offer.name))
        await self.catalog.pull(offer)
        return await self._wait(identity, self._join(identity, path, offer), report)

    def expected_seconds(self, record: Record, width: int, height: int) -> float | None:
        """What a drawing of this size will take, from the last one with such a generator; None before the first."""
        pace = self._pace.get(_generator(record))
        return pace and pace * width * height

    def _join(self, identity: Identity, path: Path, offer: Offer) -> _Task:
        """The task of this identity, begun if there is none, with one more who waits for it."""
        with self._lock:
            task = self._tasks.get(identity)
            if task is None:
                if len(self._tasks) >= MAX_WAITING:
                    raise PhotoError("Too many drawings are waited for here: try again in a minute.")
                task = self._tasks[identity] = _Task()
                self._line.put((identity, task, path, offer))
            task.waiting += 1
            return task

    async def _wait(self, identity: Identity, task: _Task, report: Report) -> Drawing:
        try:
            done = asyncio.wrap_future(task.future)
            done.add_done_callback(lambda future: future.cancelled() or future.exception())  # told, if nobody waits
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
            before = list(self._tasks).index(identity) if identity in self._tasks else 0
            if before == 1:
                return 0.2, Sentence("Waiting for 1 drawing before this one")
            return 0.2, Sentence("Waiting for {count} drawings before this one", count=before)
        if task.expected is None:
            return 0.4, task.doing
        return min(0.95, 0.3 + 0.65 * (time.perf_counter() - task.begun) / max(task.expected, 0.1)), task.doing

    def _work(self) -> None:
        while True:
            self._make(*self._line.get())

    def _make(self, identity: Identity, task: _Task, path: Path, offer: Offer) -> None:
        """Makes one drawing; runs on the only drawing thread, so that no two photos are decoded at a time either."""
        with self._lock:
            if not task.future.set_running_or_notify_cancel():
                return
        try:
            drawing = self._drawn(identity[-1], task, path, offer)
        except BaseException as error:
            self._tasks.pop(identity)
            task.future.set_exception(error)
            return
        with self._lock:
            self._keep((identity[0], offer.key, drawing.record.sha256, identity[-1]), drawing)
            del self._tasks[identity]
        task.future.set_result(drawing)

    def _drawn(self, longest_side: int, task: _Task, path: Path, offer: Offer) -> Drawing:
        photo, original = read_scaled(path, longest_side)
        folder = self.catalog.fetch(offer)
        record = read_record(folder)
        size = {"width": photo.shape[1], "height": photo.shape[0]}
        task.expected = self.expected_seconds(record, **size)
        task.begun, task.doing = time.perf_counter(), Sentence("Drawing {width} × {height} px", **size)
        result = self.stylizer.stylize(photo, folder)
        self._pace[_generator(record)] = result.seconds / (photo.shape[0] * photo.shape[1])
        return Drawing(result.photo, result.anime, result.seconds, original, offer, record, folder)

    def _keep(self, identity: Identity, drawing: Drawing) -> None:
        self._kept[identity] = drawing
        while sum(kept.photo.nbytes + kept.anime.nbytes for kept in self._kept.values()) > self._kept_bytes:
            self._kept.popitem(last=False)


def megabytes(size: int) -> str:
    """A number of bytes for a person, e.g. "4.2 MB"."""
    return f"{max(size / 1e6, 0.1):.1f} MB"


def _digest(path: Path) -> str:
    return hashlib.sha256(read_file(path)).hexdigest()


def _generator(record: Record) -> str:
    return str(sorted(record.generator.items()))
