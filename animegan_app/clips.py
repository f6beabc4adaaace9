"""A clip -> its drawing, frame by frame, with its sound, length, frame rate and orientation.

`draw_clip` has a process of its own (`clip_process`) read and write the clip, beside the generator: so a stranger's file has
limits of memory and time, no command of ffmpeg's is made of a file's name, and what is in flight is one frame on each way.
ffmpeg comes as the package `av`, whose frames have times, which a variable frame rate needs, and the turn that phones note.
"""

import contextlib
import json
import os
import re
import struct
import threading
import time
from collections.abc import Callable, Generator
from dataclasses import asdict, dataclass
from pathlib import Path
from queue import Empty, Full, Queue
from typing import Any

import numpy as np

from animegan_app.photos import PhotoError, exactly, start
from hub_export.files import sweep

SIDES = (384, 512, 640, 768)
"""Longest sides at which clips are drawn; their drawings are enlarged to the clip's own size."""
DEFAULT_SIDE = 512
SUFFIXES = {".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi"}
STALLED_SECONDS, STALLED_SHARE = 120.0, 0.1
"""What one frame may take to be read or written; or this share of what the clip took so far, since at its end the file is
written anew, with its index first."""
QUEUED, POLL_SECONDS = 2, 0.05
"""Frames that wait on each way, and how long whoever draws waits at a time."""
SIZE, FRAME, END, FAULT = range(4)
HEAD = struct.Struct("<BdI")
"""What follows: its kind, the fraction of the clip that is before it, and its bytes: pixels, or JSON."""
Message = tuple[int, float, bytearray]
QUESTION = struct.Struct("<I")
"""Bytes of the JSON that follows."""
PICTURE_BRANDS = {b"avif", b"avis", b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}


@dataclass(frozen=True)
class Limits:
    """What a clip may be, told from its head before any work, and kept to while it is read.

    Args:
        seconds: its length.
        frames: how many it has.
        pixels: of one frame.
        cpu_seconds: what reading and writing it takes.
    """

    seconds: float = 30.0
    frames: int = 1800
    pixels: int = 9_000_000
    cpu_seconds: int = 300


OWN = Limits(seconds=24 * 3600, frames=24 * 3600 * 60, pixels=40_000_000, cpu_seconds=24 * 3600)
"""Of a person's own files, which are as long as they are."""


@dataclass(frozen=True)
class Clip:
    """What was made.

    Args:
        width, height: in pixels.
        frames: how many there are.
        seconds: its length.
    """

    width: int
    height: int
    frames: int
    seconds: float


def is_clip(head: bytes) -> bool:
    """Whether a file that begins so, with at least 12 bytes, is of a kind that `draw_clip` reads."""
    return kind_of(head) is not None


def kind_of(head: bytes) -> str | None:
    """ffmpeg's name for the kind of a clip: it is told, never asked, as some kinds are lists of other files to open."""
    if head[4:8] == b"ftyp" and head[8:12] not in PICTURE_BRANDS:
        return "mp4"
    if head[4:8] in (b"moov", b"mdat", b"wide", b"free"):
        return "mov"
    if head.startswith(b"\x1a\x45\xdf\xa3"):
        return "matroska"
    return "avi" if head.startswith(b"RIFF") and head[8:12] == b"AVI " else None


def draw_clip(
    source: Path,
    target: Path,
    draw: Callable[[np.ndarray], np.ndarray],
    longest_side: int = DEFAULT_SIDE,
    steady: bool = False,
    limits: Limits = OWN,
    comment: str = "",
) -> Generator[float, None, Clip]:
    """Draws a clip into an MP4 file.

    Args:
        source: the clip.
        target: where its drawing goes; whole or not there.
        draw: uint8 RGB (H, W, 3) -> the same shape.
        longest_side: at which it is drawn.
        steady: whether what hardly changes from frame to frame is drawn from what it was: less flicker where nothing moves;
            what moves or changes slowly and faintly lags behind by some frames.
        limits: what it may be.
        comment: what the file says about how it was made.

    Yields:
        The fraction that is done, after each frame, and while there is none to draw.

    Raises:
        PhotoError: no clip, beyond the limits, damaged, or it cannot be written.
    """
    aside = target.with_name(f".{target.name}.{os.getpid()}.{threading.get_ident()}")
    sweep(target.parent, rf"\.{re.escape(target.name)}\.\d+\.\d+")
    wanted = {"source": str(source.resolve()), "target": str(aside.resolve()), "longest_side": longest_side}
    process = _Process(wanted | {"steady": steady, "limits": asdict(limits), "comment": comment})
    try:
        before: bytearray | None = None
        drawn, shape, done = b"", (0, 0, 3), 0.0
        while True:
            while (message := process.received()) is None:
                yield done
            kind, done, content = message
            if kind == SIZE:
                shape = (*json.loads(content), 3)
            elif kind == FAULT:
                raise PhotoError.parse(content.decode())
            elif kind == END:
                aside.replace(target)
                return Clip(**json.loads(content))
            else:
                if content != before:  # else nothing moves, as in recordings of a screen
                    before, drawn = content, draw(np.frombuffer(content, np.uint8).reshape(shape)).tobytes()
                while not process.sent(drawn):
                    yield done
                yield done
    finally:
        process.end()
        with contextlib.suppress(OSError):
            aside.unlink()


class _Process:
    """The other process. Threads of its own read from it and write to it, so that whoever draws never waits long."""

    def __init__(self, asked: dict[str, Any]):
        self.process = start("clip_process")
        question = json.dumps(asked).encode()
        self._from: Queue[Message] = Queue(QUEUED)
        self._to: Queue[bytes | None] = Queue(QUEUED)
        self._to.put(QUESTION.pack(len(question)) + question)
        self._waited, self._began = 0.0, time.monotonic()
        self._threads = [threading.Thread(target=part, daemon=True) for part in (self._read, self._write)]
        for thread in self._threads:
            thread.start()

    def received(self) -> Message | None:
        """What it says next; None if that is not there yet."""
        try:
            message = self._from.get(timeout=POLL_SECONDS)
        except Empty:
            self._wait()
            return None
        self._waited = 0.0
        return message

    def sent(self, content: bytes) -> bool:
        """Gives it a drawn frame; False if it does not take any yet."""
        try:
            self._to.put(content, timeout=POLL_SECONDS)
        except Full:
            self._wait()
            return False
        self._waited = 0.0
        return True

    def end(self) -> None:
        """Whatever it is doing."""
        self.process.kill()
        self.process.wait()
        self._ended = True
        for queue in (self._from, self._to):
            with contextlib.suppress(Empty):
                while True:
                    queue.get_nowait()
        self._to.put(None)
        for thread in self._threads:
            thread.join()
        for stream in (self.process.stdin, self.process.stdout):
            with contextlib.suppress(OSError):
                stream.close()  # type: ignore[union-attr]

    _ended = False

    def _wait(self) -> None:
        self._waited += POLL_SECONDS
        if self._waited > max(STALLED_SECONDS, STALLED_SHARE * (time.monotonic() - self._began)):
            raise _too_much()

    def _read(self) -> None:
        assert self.process.stdout
        try:
            while not self._ended:
                kind, done, size = HEAD.unpack(exactly(self.process.stdout, HEAD.size))
                self._from.put((kind, done, exactly(self.process.stdout, size)))
                if kind in (END, FAULT):
                    return
        except (OSError, EOFError, ValueError):  # it was ended by a limit of its own, or by us
            if not self._ended:
                self._from.put((FAULT, 0.0, bytearray(_too_much().json().encode())))

    def _write(self) -> None:
        assert self.process.stdin
        with contextlib.suppress(OSError, ValueError):  # it has ended, which `_read` tells
            while (content := self._to.get()) is not None:
                self.process.stdin.write(content)
                self.process.stdin.flush()


def _too_much() -> PhotoError:
    return PhotoError("The clip takes too much time or memory: cut it, or scale it down.")


def comment_of(path: Path) -> str:
    """What `draw_clip` wrote into a file of one's own; "" if it says nothing, or is no such file."""
    import av  # ffmpeg's libraries, for who asks for clips alone

    try:
        with path.open("rb") as file, av.open(file, format="mp4") as container:
            return container.metadata.get("comment", "")
    except (OSError, ValueError):
        return ""
