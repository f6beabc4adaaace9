"""A picture file -> RGB uint8, decoded by a process of its own, so that no file costs the app more than seconds.

`read_photo` hands the file's bytes to `python -m animegan_app.decoding`, which has limits of memory and of CPU time, and is
started anew after it met the latter. What a decoder does with a hostile file thus holds up nobody else.
"""

import json
import os
import signal
import stat
import struct
import subprocess
import sys
import threading
from pathlib import Path
from typing import IO, Any

import numpy as np

from hub_export.sentences import ExplainedError

MAX_FILE_BYTES = 50 * 2**20
"""A larger file is not read; of uploads, no more is accepted either."""
MAX_FILE_PIXELS = 80_500_000
"""A larger picture is refused from its header alone: decoded, this one already takes 240 MB. Cameras of 80
megapixels have up to 10328 × 7760."""
MAX_JPEG_PIXELS = 250_000_000
"""Of a JPEG, which can be decoded at a half, a quarter or an eighth of its size. Phones have up to 200 megapixels."""
DIVISORS = (1, 2, 4, 8)
"""By which a JPEG can be scaled down while it is decoded."""
MEGAPIXELS, JPEG_MEGAPIXELS = MAX_FILE_PIXELS // 10**6, MAX_JPEG_PIXELS // 10**6
JPEG = b"\xff\xd8"
"""How the file begins."""
MAX_RATIO = 32
"""Longest side by shortest side; at the smallest size limit the short side then still has 16 pixels."""
WALL_SECONDS = 60.0
"""For a decoder that waits instead of computing, whose CPU seconds are limited in `decoding`."""


class PhotoError(ExplainedError):
    """A picture cannot be used."""

    @classmethod
    def parse(cls, text: str) -> "PhotoError":
        """The error that `json` wrote."""
        fields = json.loads(text)
        return cls(fields["english"], **fields["values"])

    def json(self) -> str:
        """Its sentence, for another process."""
        return json.dumps({"english": self.sentence.english, "values": self.sentence.values})


def gone() -> PhotoError:
    """The one answer to whoever names a file that is no upload, so that it does not tell which files there are."""
    return PhotoError("The photo is no longer here: choose it again.")


def read_file(path: Path) -> bytes:
    """The content of a regular file; nothing else is opened for reading, and no more read than `MAX_FILE_BYTES`.

    Raises:
        PhotoError: no regular file, not to be read, too large.
    """
    try:
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))  # a pipe waits else
        with open(handle, "rb") as file:
            if not stat.S_ISREG(os.fstat(handle).st_mode):
                raise gone()
            content = file.read(MAX_FILE_BYTES + 1)
    except (OSError, ValueError) as error:
        raise error if isinstance(error, PhotoError) else gone() from None
    if len(content) > MAX_FILE_BYTES:
        raise PhotoError("The file is larger than {most} MB: save the photo as JPEG.", most=MAX_FILE_BYTES // 2**20)
    return content


def read_photo(source: Path | bytes) -> np.ndarray:
    """Decodes a picture file as a person sees it: upright, over white, in sRGB, the first frame of several.

    Args:
        source: path or content of a file of any of `decoding.FORMATS`.

    Returns:
        uint8 RGB (H, W, 3), H * W at most `MAX_FILE_PIXELS`: a larger JPEG comes at a half, a quarter or an eighth.

    Raises:
        PhotoError: no picture, too large, too narrow, too much work, damaged.
    """
    return read_scaled(source)[0]


def read_scaled(source: Path | bytes, longest_side: int = 0) -> tuple[np.ndarray, tuple[int, int]]:
    """`read_photo`, scaled down to a longest side unless that is 0, and the width and height that the file has upright."""
    return _decoder.read(read_file(source) if isinstance(source, Path) else source, longest_side)


def read_opacity(source: Path | bytes) -> np.ndarray | None:
    """How opaque the picture is, which `read_photo` shows over white: uint8 (H, W) of the same size, 255 for opaque.

    Returns:
        None where all of it is, as a JPEG is.

    Raises:
        PhotoError: as `read_photo`.
    """
    content = read_file(source) if isinstance(source, Path) else source
    if content.startswith(JPEG):
        return None
    opacity = _decoder.read(content, 0, opacity=True)[0][..., 0]
    return None if opacity.min() == 255 else opacity


def full_size(original: tuple[int, int]) -> tuple[int, int]:
    """Width and height in which a file of this width and height is read, and its drawing written: see `read_photo`."""
    width, height = original
    divisor = next(divisor for divisor in DIVISORS if width * height <= MAX_FILE_PIXELS * divisor**2)
    return -(-width // divisor), -(-height // divisor)


class _Decoder:
    """The other process: started with the first picture, one picture at a time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None

    def read(self, content: bytes, longest_side: int, opacity: bool = False) -> tuple[np.ndarray, tuple[int, int]]:
        with self._lock:
            if self._process is None or self._process.poll() is not None:
                self._process = start("decoding")
            timer = threading.Timer(WALL_SECONDS, self._process.kill)
            timer.daemon = True
            timer.start()
            try:
                return _ask(self._process, content, longest_side, opacity)
            except (OSError, EOFError):
                raise _died(self._process.wait()) from None
            except PhotoError:
                raise
            except BaseException:  # what is left of its answer would be taken for the next one
                self._process.kill()
                self._process.wait()
                raise
            finally:
                timer.cancel()


_decoder = _Decoder()


def start(module: str) -> subprocess.Popen[bytes]:
    """A process of its own for one of this app's modules, which reads what it is asked and writes its answers."""
    return subprocess.Popen(
        [sys.executable, "-m", f"animegan_app.{module}"],
        cwd=Path(__file__).parents[1],
        env=os.environ | {"OPENBLAS_NUM_THREADS": "1"},  # nothing to compute with more, and each takes memory
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )


def _ask(
    process: subprocess.Popen[bytes], content: bytes, longest_side: int, opacity: bool
) -> tuple[np.ndarray, tuple[int, int]]:
    assert process.stdin and process.stdout
    process.stdin.write(QUESTION.pack(len(content), longest_side, opacity))
    process.stdin.write(content)
    process.stdin.flush()
    height, width, *original, length = ANSWER.unpack(exactly(process.stdout, ANSWER.size))
    answer = exactly(process.stdout, length)
    if not height:
        raise PhotoError.parse(answer.decode())
    return np.frombuffer(answer, np.uint8).reshape(height, width, -1), (original[0], original[1])


QUESTION = struct.Struct("<QI?")
"""Bytes of the file that follows, longest side of the answer or 0, whether it is the opacity that is asked for."""
ANSWER = struct.Struct("<IIIIQ")
"""Height, width, the file's own width and height, bytes that follow: RGB, opacity or, with height 0, `PhotoError.json`."""


def exactly(file: IO[Any], size: int) -> bytearray:
    """So many bytes. Raises EOFError if there are fewer."""
    content = bytearray(size)
    view, done = memoryview(content), 0
    while done < size:
        count = file.readinto(view[done:])  # type: ignore[attr-defined]  # of raw and of buffered binary files
        if not count:
            raise EOFError
        done += count
    return content


def _died(code: int) -> PhotoError:
    if code in (-getattr(signal, "SIGXCPU", 0), -signal.SIGKILL):
        return PhotoError("The picture takes too long to decode: open it in a picture viewer and save it again.")
    return PhotoError("The picture cannot be decoded: open it in a picture viewer and save it again.")
