"""What people send: a folder of this process's own, which nobody else can read, and a photo from a request.

The folder is made when this module is imported. It is locked as long as the process lives, so that the next process finds,
and deletes, what a killed one left behind.
"""

import atexit
import contextlib
import os
import shutil
import stat
import sys
import tempfile
import time
from collections.abc import Collection
from pathlib import Path
from typing import IO, Any
from urllib.parse import unquote

from animegan_app.photos import gone

try:
    import fcntl
except ImportError:  # not on Windows, where nothing tells whether another folder's process lives
    fcntl = None  # type: ignore[assignment]

SETTING = "GRADIO_TEMP_DIR"
"""Where the folder is made, if not in the system's temporary folder."""
SERVED = "/gradio_api/file="
"""Comes before a file's path in its address."""
PREFIX, LOCK = "animegan-uploads-", "lock"
MAX_FOLDER_BYTES = 4 * 2**30
"""Uploads and drawings on disk: 400 to 2,000 photos with what was made of them."""
EXAMPLES = sorted(Path(__file__).resolve().parent.joinpath("examples").glob("*.jpg"))
FIRST = EXAMPLES[0].parent / "street.jpg", EXAMPLES[0].parent / "drawn" / "street.jpg"
"""What the page shows before anybody has chosen a photo: an example, and what the checkpoint that ships first made of it."""


def take(given: object) -> Path:
    """The photo that a request names: the one way from a request to a file.

    Args:
        given: a dict with its "path", as Gradio's client and pages send it, or with the address under which Gradio serves
            it, as a tool that uploads tells it; anything else is refused like a foreign path.

    Returns:
        The real path of a regular file in this process's folder, or of one of `EXAMPLES`.

    Raises:
        PhotoError: `gone`, whatever is wrong and whether or not there is such a file; foreign paths are not looked at.
    """
    path = _path(given.get("path")) if isinstance(given, dict) else None
    if isinstance(path, str) and _ours(Path(os.path.abspath(path))):
        with contextlib.suppress(OSError, ValueError):
            real = Path(path).resolve(strict=True)
            if _ours(real) and stat.S_ISREG(real.stat().st_mode):
                return real
    raise gone()


def take_all(data: object) -> Any:
    """Data of a request with the path in place of every address that `take` takes. Nothing is fetched from any address.

    Raises:
        PhotoError: it names, in whatever depth, a file that `take` refuses.
    """
    if isinstance(data, dict):
        if data.get("path") is not None:
            path = take(data)
            if data["path"] != _path(data["path"]):
                data = data | {"path": str(path)}
        return {name: take_all(part) for name, part in data.items()}
    if isinstance(data, list):
        return [take_all(part) for part in data]
    return data


def clean(seconds: float, kept: Collection[str] = (), most: float = MAX_FOLDER_BYTES) -> None:
    """Deletes files of this process's folder: those older than that and, of more than `most` bytes, the oldest.

    Args:
        kept: paths that stay.
    """
    files = []
    for path in FOLDER.rglob("*"):
        with contextlib.suppress(OSError):  # it went while we looked
            status = path.lstat()
            if not stat.S_ISDIR(status.st_mode) and str(path) not in kept and path != FOLDER / LOCK:
                files.append((status.st_ctime, status.st_size, path))
    size, now = 0, time.time()
    for changed, bytes_, path in sorted(files, reverse=True):
        size += bytes_
        if now - changed > seconds or size > most:
            with contextlib.suppress(OSError):
                path.unlink()
                path.parent.rmdir()  # unless it holds more


def remove() -> None:
    """Deletes this process's folder with all that is in it, and what other threads write there meanwhile."""
    while FOLDER.exists():
        shutil.rmtree(FOLDER, ignore_errors=True)


def _path(named: object) -> object:
    """What is behind an address of Gradio's for files, wherever that is; anything else as it is."""
    if isinstance(named, str) and named.startswith(("http://", "https://")):
        return unquote(named.partition(SERVED)[2])
    return named


def _ours(path: Path) -> bool:
    return FOLDER in path.parents or path in EXAMPLES


def _make() -> tuple[Path, IO[bytes]]:
    try:
        parent = Path(os.environ.get(SETTING) or tempfile.gettempdir()).resolve()
        parent.mkdir(parents=True, exist_ok=True)
        for other in parent.glob(f"{PREFIX}*"):
            with contextlib.suppress(OSError):
                if _abandoned(other):
                    shutil.rmtree(other, ignore_errors=True)
        begun = Path(tempfile.mkdtemp(prefix=f".{PREFIX}", dir=parent))  # for nobody else: mode 0700
        lock = (begun / LOCK).open("wb")
        if fcntl:
            fcntl.flock(lock, fcntl.LOCK_EX)
        return begun.rename(parent / begun.name[1:]), lock  # by its name only when locked: else it looks abandoned
    except OSError as error:
        sys.exit(f"No folder for uploads can be made ({error}): set {SETTING} to a folder that can be written.")


def _abandoned(folder: Path) -> bool:
    """Whether the process that made this folder has ended. Raises OSError if it is none of ours."""
    if fcntl is None or folder.is_symlink() or folder.stat().st_uid != os.geteuid():
        return False
    handle = os.open(folder / LOCK, os.O_WRONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    finally:
        os.close(handle)


FOLDER, _lock = _make()
atexit.register(remove)
