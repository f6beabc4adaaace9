"""Reads and writes clips for `clips`, in a process of its own: `python -m animegan_app.clip_process`, not for people.

Takes one question, then sends the clip's frames, upright and small, takes the drawn ones, and writes them with the clip's
times and sound. Reading is a thread, so that it goes on while a frame is written; each waits for the other process, thus
neither gets ahead by more than a frame.
"""

import contextlib
import json
import math
import sys
import threading
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from queue import SimpleQueue
from typing import IO, Any

import av
import numpy as np
from av.error import FFmpegError

from animegan_app.clips import END, FAULT, FRAME, HEAD, QUESTION, SIZE, Limits, kind_of
from animegan_app.photos import PhotoError, exactly

MEMORY = 2_000_000_000
"""Bytes beyond what the process has when it starts; frames of 9 megapixels take 0.5 GB."""
MAX_SIDE = 1920
"""Longest side of what is written."""
THREADS = 2
COPIED = {"aac": 0, "mp3": 16_000}
"""Sound that an MP4 takes as it is, from so many samples a second on."""
AAC_RATES = (7350, 8000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000)
"""Samples a second that AAC knows; others are resampled."""
"""Sound that every player knows in an MP4; any other is written as AAC."""
QUALITY = {"crf": "18", "preset": "veryfast"}
TIME_BASE = Fraction(1, 90_000)
"""Of what is written: of 24, 25, 29.97, 30, 50 and 60 frames a second each one's time is a whole number."""
MAX_FAULTS = 100
"""Damaged places of a file that are passed over."""
UNSAID, WHOLE = 2, 2
"""ffmpeg's numbers of a colour space that is not given, and of a range from 0 to 255."""
STILL, MOVING = 6.0, 18.0
"""Differences of a pixel from one frame to the next, in tones: up to the first it is noise, from the second on it moves."""


def main() -> None:
    """Answers one question."""
    questions, answers = sys.stdin.buffer, sys.stdout.buffer
    av.logging.set_level(None)
    (size,) = QUESTION.unpack(exactly(questions, QUESTION.size))
    asked = json.loads(exactly(questions, size))
    limits = Limits(**asked.pop("limits"))
    _limit(limits)
    lock = threading.Lock()

    def send(kind: int, done: float, content: Any) -> None:
        with lock:
            answers.write(HEAD.pack(kind, done, len(content)))
            answers.write(content)
            answers.flush()

    try:
        with open(asked["source"], "rb") as file:
            _carry(file, questions, send, limits, asked)
    except PhotoError as error:
        send(FAULT, 0, error.json().encode())
    except MemoryError:
        send(FAULT, 0, PhotoError("The clip takes too much time or memory: cut it, or scale it down.").json().encode())
    except (OSError, ValueError) as error:
        text = PhotoError("The clip cannot be written: {why}", why=getattr(error, "strerror", None) or str(error))
        send(FAULT, 0, text.json().encode())
    except Exception:  # PyAV raises many kinds for a malformed file
        send(FAULT, 0, damaged().json().encode())


class Reader:
    """A clip that is open.

    Args:
        file: its file.
        longest_side: of the frames that it gives.
        limits: what it may be.

    Raises:
        PhotoError: no clip, or beyond the limits.
    """

    def __init__(self, file: IO[bytes], longest_side: int, limits: Limits):
        kind = kind_of(file.read(16))
        file.seek(0)
        if kind is None:
            raise PhotoError("This file is not a clip that can be read: choose an MP4, MOV, MKV, WebM or AVI.")
        try:
            # Read from here alone: no other file, no address, no list of files.
            self.container: Any = av.open(file, format=kind, options={"protocol_whitelist": "none", "enable_drefs": "0"})
            self.video = self.container.streams.video[0]
            self.context = self.video.codec_context
        except (FFmpegError, IndexError, ValueError):
            raise damaged() from None
        self.audio = next(iter(self.container.streams.audio), None)
        self.context.thread_count, self.context.thread_type = THREADS, "AUTO"
        self.limits = limits
        self._check(self.context.width, self.context.height)
        self.seconds = self._length()
        if self.seconds > limits.seconds:
            raise PhotoError(
                "The clip is {seconds} s long: cut it to at most {most} s.",
                seconds=f"{self.seconds:.0f}",
                most=f"{limits.seconds:.0f}",
            )
        self._longest_side = longest_side
        self.sound: SimpleQueue[Any] = SimpleQueue()
        """Packets of the audio as they come."""

    def frames(self) -> Iterator[tuple[np.ndarray, Fraction]]:
        """Each frame, upright, uint8 RGB (H, W, 3) of one size for all, and when it is shown, in seconds, rising."""
        streams = [self.video, *([self.audio] if self.audio else [])]
        size: tuple[int, int] | None = None
        last: Fraction | None = None
        count = 0
        for packet in self._packets(streams):
            if packet.stream is not self.video:
                if packet.dts is not None:
                    self.sound.put(packet)
                continue
            for frame in self._decoded(packet):
                self._check(frame.width, frame.height)
                step = 1 / self.rate
                moment = Fraction(frame.pts) * frame.time_base if frame.pts is not None else None
                if moment is None or (last is not None and moment <= last):
                    moment = (last or Fraction(0)) + (step if last is not None else 0)
                last = moment
                count += 1
                if count > self.limits.frames or moment > self._start() + Fraction(self.limits.seconds) + 1:
                    raise PhotoError("The clip is longer than it says: open it in a video program and save it again.")
                size = size or self._size(frame)
                # Where a file does not say, as players have it; where it says so, all of 0 to 255 is in use.
                space = "ITU709" if frame.colorspace == UNSAID and frame.height >= 720 else None
                span = frame.color_range if frame.color_range == WHOLE else None
                small = frame.reformat(*size, "rgb24", src_colorspace=space, src_color_range=span, interpolation="AREA")
                yield np.ascontiguousarray(np.rot90(small.to_ndarray(), -self.turns(frame))), moment
        if not count:
            raise damaged()

    def turns(self, frame: Any) -> int:
        """Quarter turns to the right that make a frame upright."""
        return round(-(frame.rotation or 0) / 90) % 4

    def written_size(self, height: int, width: int) -> tuple[int, int]:
        """Width and height of what is written, for drawn frames of this shape: the clip's own, up to `MAX_SIDE`."""
        own = max(self.context.width * self._aspect(), self.context.height)
        scale = max(1.0, min(own, MAX_SIDE) / max(height, width))
        return _even(width * scale), _even(height * scale)

    def share(self, moment: Fraction) -> float:
        """The fraction of the clip that is over then."""
        return min(1.0, max(0.0, float(moment - self._start()) / max(self.seconds, 0.01)))

    def _packets(self, streams: list[Any]) -> Iterator[Any]:
        """What the file holds; where it is damaged, what is before and behind that."""
        for _ in range(MAX_FAULTS):
            with contextlib.suppress(FFmpegError):
                yield from self.container.demux(*streams)
                return

    def _decoded(self, packet: Any) -> list[Any]:
        try:
            return packet.decode()
        except FFmpegError:
            return []

    def _size(self, frame: Any) -> tuple[int, int]:
        """Width and height, before any turn, at which frames are given."""
        width, height = frame.width * self._aspect(), float(frame.height)
        scale = min(1.0, self._longest_side / max(width, height))
        return _even(width * scale), _even(height * scale)

    def _aspect(self) -> float:
        """How much wider than high a pixel is."""
        aspect = float(self.context.sample_aspect_ratio or 1) or 1.0
        return aspect if 0.1 < aspect < 10 else 1.0

    @property
    def rate(self) -> Fraction:
        """Frames a second on average; 25 where the file does not say, or says what no camera does."""
        rate = Fraction(self.video.average_rate or 25)
        return rate if 1 <= rate <= 1000 else Fraction(25)

    def _start(self) -> Fraction:
        return Fraction(self.video.start_time or 0) * (self.video.time_base or 0)

    def _length(self) -> float:
        """In seconds, as the file says."""
        if self.video.duration and self.video.time_base:
            return float(self.video.duration * self.video.time_base)
        return (self.container.duration or 0) / 1_000_000  # av's own unit

    def _check(self, width: int, height: int) -> None:
        if not width or not height or width * height > self.limits.pixels:
            raise PhotoError(
                "The clip has frames of {width} × {height} pixels: scale it down to at most {most} megapixels.",
                width=width,
                height=height,
                most=self.limits.pixels // 10**6,
            )


def damaged() -> PhotoError:
    """The one answer to a file that holds no frame."""
    return PhotoError("The clip is damaged or of a kind that cannot be read: open it in a video program and save it as MP4.")


def steadied(before: np.ndarray | None, frame: np.ndarray) -> np.ndarray:
    """A frame, uint8 RGB, in which what hardly differs from the one before, steadied too, is as it was there."""
    if before is None or before.shape != frame.shape:
        return frame
    change = np.abs(frame.astype(np.int16) - before).max(axis=2).astype(np.float32)
    padded = np.pad(change, 1, mode="edge")
    around = sum(padded[y : y + change.shape[0], x : x + change.shape[1]] for y in range(3) for x in range(3)) / 9
    share = np.clip((around - STILL) / (MOVING - STILL), 0, 1)[..., np.newaxis]
    return np.rint(before + share * (frame.astype(np.float32) - before)).astype(np.uint8)


def _carry(file: IO[bytes], drawn: IO[bytes], send: Any, limits: Limits, asked: dict[str, Any]) -> None:
    """Sends what the file shows, and writes what comes back."""
    reader = Reader(file, asked["longest_side"], limits)
    moments: SimpleQueue[Any] = SimpleQueue()

    def read() -> None:
        before: np.ndarray | None = None
        try:
            for frame, moment in reader.frames():
                if before is None:
                    send(SIZE, 0, json.dumps(frame.shape[:2]).encode())
                    moments.put(frame.shape)
                before = steadied(before, frame) if asked["steady"] else frame
                moments.put(moment)
                send(FRAME, reader.share(moment), before.tobytes())
            moments.put(None)
        except BaseException as error:
            moments.put(error)

    threading.Thread(target=read, daemon=True).start()
    shape = _next(moments)
    width, height = reader.written_size(*shape[:2])
    count = 0
    with av.open(f"file:{asked['target']}", "w", format="mp4", options={"movflags": "+faststart"}) as output:
        output.metadata["comment"] = asked["comment"]
        video = output.add_stream("libx264", rate=reader.rate, options=QUALITY)  # how long the last frame is
        video.width, video.height, video.pix_fmt = width, height, "yuv420p"
        video.time_base = video.codec_context.time_base = TIME_BASE
        video.codec_context.thread_count = THREADS
        context = video.codec_context
        context.color_range, context.colorspace, context.color_primaries, context.color_trc = 1, 1, 1, 1  # BT.709
        sound = _Sound(reader, output)
        last: Fraction | None = None
        step = 1 / reader.rate
        while (moment := _next(moments)) is not None:
            picture = np.frombuffer(exactly(drawn, int(np.prod(shape))), np.uint8).reshape(shape)
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame = frame.reformat(
                width, height, "yuv420p", dst_colorspace="ITU709", dst_color_range="MPEG", interpolation="BICUBIC"
            )
            step = moment - last if last is not None else step
            frame.pts, frame.time_base = round(moment / TIME_BASE), TIME_BASE
            frame.duration = round(step / TIME_BASE)
            last = moment
            count += 1
            sound.write()
            output.mux(video.encode(frame))
        output.mux(video.encode())
        sound.write(end=True)
    clip = {"width": width, "height": height, "frames": count, "seconds": float((last or 0) + step - reader._start())}
    send(END, 1, json.dumps(clip).encode())


class _Sound:
    """Writes the clip's audio as it comes: as it is, or as AAC."""

    def __init__(self, reader: Reader, output: Any):
        self._reader, self._output, self._copied = reader, output, False
        self._stream: Any = None
        audio = reader.audio
        if audio is None:
            return
        self._last: int | None = None
        """When the packet before began."""
        rate = audio.codec_context.sample_rate or 0
        self._copied = rate >= COPIED.get(audio.codec_context.name.removesuffix("float"), math.inf)
        with contextlib.suppress(FFmpegError, ValueError):
            if self._copied:
                self._stream = output.add_stream_from_template(audio)
            elif rate:
                self._stream = output.add_stream("aac", rate=min(AAC_RATES, key=lambda known: abs(known - rate)))
                self._stream.bit_rate = 160_000

    def write(self, end: bool = False) -> None:
        """What has come so far."""
        if self._stream is None:
            return
        while not self._reader.sound.empty():
            packet = self._reader.sound.get()
            if self._copied:
                self._copy(packet)
            else:
                self._encode(packet)
        if end and not self._copied:
            self._output.mux(self._stream.encode(None))

    def _copy(self, packet: Any) -> None:
        if self._last is None or packet.dts > self._last:  # recordings that were joined step back
            self._last, packet.stream = packet.dts, self._stream
            self._output.mux(packet)

    def _encode(self, packet: Any) -> None:
        with contextlib.suppress(FFmpegError):
            for frame in packet.decode():
                self._output.mux(self._stream.encode(frame))


def _next(moments: "SimpleQueue[Any]") -> Any:
    item = moments.get()
    if isinstance(item, BaseException):
        raise item
    return item


def _even(length: float) -> int:
    """What half the colours' resolution needs."""
    return max(2, 2 * round(length / 2))


def _limit(limits: Limits) -> None:
    with contextlib.suppress(ImportError, OSError, ValueError):  # where there is no such limit, or no such file
        import resource

        most = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize() + MEMORY
        resource.setrlimit(resource.RLIMIT_AS, (most, resource.getrlimit(resource.RLIMIT_AS)[1]))
        resource.setrlimit(resource.RLIMIT_CPU, (limits.cpu_seconds, resource.getrlimit(resource.RLIMIT_CPU)[1]))


if __name__ == "__main__":
    main()
