"""Files and folders that are whole or not there, and what a disk's refusal means to who runs the program."""

import contextlib
import ctypes
import errno
import os
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from functools import reduce
from pathlib import Path
from typing import BinaryIO

from hub_export.sentences import Sentence

ABANDONED_SECONDS = 3600.0
"""After which what nothing changes is taken for what a kill left."""
ELSEWHERE = "choose another folder"
REMEDIES: dict[int, tuple[str, ...]] = {
    errno.ENOSPC: ("the disk is full", "free some space"),
    errno.EDQUOT: ("the disk quota is used up", "free some space"),
    errno.EFBIG: (
        "the file is larger than this system allows",
        "raise the limit with ulimit -f unlimited",
        ELSEWHERE,
    ),
    errno.EACCES: ("access is denied", "change its permissions", ELSEWHERE),
    errno.EPERM: ("access is denied", "change its permissions", ELSEWHERE),
    errno.EROFS: ("the file system is read-only", ELSEWHERE),
    errno.ENOENT: ("it is missing, or was deleted meanwhile",),
    errno.ENOTDIR: ("a file is where a folder should be", ELSEWHERE),
    errno.EISDIR: ("a folder is where a file should be", "remove it"),
    errno.EEXIST: ("something else is there already", ELSEWHERE),
    errno.ENAMETOOLONG: ("its name is too long", "choose a shorter one"),
    errno.EMFILE: ("too many files are open", "raise the limit with ulimit -n 4096"),
    errno.ENFILE: ("too many files are open", "end other programs"),
    errno.EIO: ("the disk fails", "copy what is on it to another one"),
    errno.ESTALE: ("the network drive is no longer connected",),
    errno.ETIMEDOUT: ("the network drive does not answer",),
}
"""What the system's errors mean, and what helps."""


def explain_os(error: Exception, otherwise: str = "") -> Sentence:
    """What went wrong with a file and what helps, as the end of a sentence that names the file.

    Args:
        error: an OSError, or an error of HDF5's or TensorFlow's that has the system's words in its own.
        otherwise: what to do instead, such as "choose another --cache", in place of ELSEWHERE.
    """
    words = re.sub(r"\{\{.*?\}\}|\[Op:.*", "", str(error), flags=re.DOTALL)  # without TensorFlow's own references
    number = getattr(error, "errno", None)
    if number is None and (inner := re.search(r"errno = (\d+)", words)):  # HDF5's
        number = int(inner[1])
    if number is None:  # TensorFlow's
        number = next((known for known in REMEDIES if os.strerror(known).lower() in words.lower()), None)
    plain = getattr(error, "strerror", None) or " ".join(words.split()) or type(error).__name__
    known = REMEDIES.get(number or 0)
    cause, *remedies = map(Sentence, known) if known else [Sentence("{text}", text=plain)]
    choices: list[str] = [remedy for remedy in remedies if not otherwise or remedy != ELSEWHERE]
    choices += [otherwise] if otherwise else []
    if not choices:
        return cause
    remedy = reduce(lambda one, other: Sentence("{one}, or {other}", one=one, other=other), choices)
    return Sentence("{cause}: {remedy}", cause=cause, remedy=remedy)


def os_sentence(error: Exception, path: Path | str | None = None, otherwise: str = "") -> str:
    """`explain_os` behind the file that the error names, or else behind `path`."""
    named = getattr(error, "filename2", None) or getattr(error, "filename", None) or path
    sentence = explain_os(error, otherwise)
    return sentence if named is None or isinstance(named, int) else f"{os.fsdecode(named)}: {sentence}"


@contextlib.contextmanager
def replacing_file(path: Path) -> Iterator[BinaryIO]:
    """A new file that takes the place of `path` when the block is done; an error leaves the old one, and no other."""
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with open(aside, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            aside.unlink()
        _name(error, path, aside)
        raise
    _fsync(path.parent)


def write_aside(path: Path, content: bytes) -> None:
    """Replaces a file in one step: write beside it, fsync, rename. An error leaves the old file, and no other."""
    with replacing_file(path) as file:
        file.write(content)


@contextlib.contextmanager
def replacing(folder: Path) -> Iterator[Path]:
    """A new folder that takes the place of `folder` when the block is done.

    An error leaves the old one, and a kill the old one or the new one, see `replace_folder`.
    """
    folder = folder.resolve()
    folder.parent.mkdir(parents=True, exist_ok=True)
    sweep(folder.parent, rf"\.{re.escape(folder.name)}-[a-z0-9_]{{8}}")  # as `mkdtemp` names them
    aside = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        aside.chmod(0o755)
        yield aside
        for path in aside.rglob("*"):
            _fsync(path)
        _fsync(aside)
        replace_folder(aside, folder)
    except OSError as error:
        _name(error, folder)
        raise
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def sweep(place: Path, name: str) -> None:
    """Removes what a kill left in a folder: what has a name of this pattern, and has not changed for an hour."""
    for path in place.iterdir():
        with contextlib.suppress(OSError):
            if re.fullmatch(name, path.name) and time.time() - path.stat().st_mtime > ABANDONED_SECONDS:
                shutil.rmtree(path) if path.is_dir() else path.unlink()


def replace_folder(aside: Path, folder: Path) -> None:
    """Puts the finished folder `aside` in place of `folder`, which may exist; then it is at `aside`, or gone.

    Linux exchanges the two in one step. Elsewhere there is none for a moment, and a kill in it leaves none.
    """
    if not _exchanged(aside, folder):
        try:
            aside.rename(folder)
        except OSError:  # there is one, perhaps since another process put it there meanwhile
            if not folder.is_dir():
                raise
            _moved(aside, folder)
    _fsync(folder.parent)


def _exchanged(one: Path, other: Path) -> bool:
    """Whether two folders could be exchanged: both are there, and system and file system can do it."""
    if sys.platform != "linux":
        return False
    rename = getattr(ctypes.CDLL(None), "renameat2", None)
    here, exchange = -100, 2  # AT_FDCWD, RENAME_EXCHANGE
    return rename is not None and rename(here, os.fsencode(one), here, os.fsencode(other), exchange) == 0


def _moved(aside: Path, folder: Path) -> None:
    """Moves `folder` away and `aside` there; an error, Ctrl+C too, brings it back."""
    place = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    old = place / "old"
    try:
        folder.rename(old)
        aside.rename(folder)
    except BaseException:
        if old.is_dir() and not folder.exists():
            old.rename(folder)
        raise
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _name(error: BaseException, path: Path, aside: Path | None = None) -> None:
    """Tells an error its file, which those of `write` do not know, and of which a user knows no `aside`."""
    if isinstance(error, OSError) and error.filename in (None, str(aside)):
        error.filename = str(path)


def _fsync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
