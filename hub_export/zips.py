"""Zips as people have them: of Windows, in any encoding of names, encrypted, cut off, or unfolding to what no disk holds.

open_zip(path)           its table of contents, cleaned: names with "/", each once, nothing that cannot be read
read_entry(entry)        the bytes of one file in it
"""

import io
import re
import stat
import struct
import zipfile
import zlib
from pathlib import Path

from hub_export.files import os_sentence

ENCODINGS = ("utf-8", "cp932", "gbk", "big5", "cp949", "cp437")
"""Of names without the flag for UTF-8, in the order in which they are tried; any bytes are text in the last."""
MAXIMUM_RATIO, HARMLESS_BYTES = 100, 2**30
"""How much more than the zip its files may be, from how much on it matters; pictures and weights hardly shrink in a zip."""
METHODS = {9: "Deflate64", 12: "bzip2", 14: "LZMA", 93: "Zstandard", 95: "XZ", 97: "WavPack", 98: "PPMd", 99: "AES"}
ENTRY_BYTES = 512
"""More than an entry of a table of contents takes."""
READABLE = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
"""Python unfolds the others as far as they go before it looks how long a file may be."""
MAXIMUM_NAME, MAXIMUM_DEPTH = 1024, 32
"""Characters of a name and folders in it; Python lists every folder of every name."""
OTHERS = {
    b"Rar!": "a RAR archive",
    b"7z\xbc\xaf": "a 7-Zip archive",
    b"\x1f\x8b": "a gzip archive",
    b"\xfd7zXZ": "an XZ archive",
    b"BZh": "a bzip2 archive",
    b"PK\x07\x08": "one part of a zip in several",
}
AGAIN = "fetch or copy it again"
UNPACK = "unpack it and pass the folder instead"
UNICODE_PATH = 0x7075
"""The extra field in which some programs give a name in UTF-8 beside one in an older encoding."""


def open_zip(path: Path, folder: str = "", most_files: int = 0) -> zipfile.Path:
    """Opens a zip and cleans its table of contents; nothing is unpacked.

    Of entries of one name the last counts, as for every program that unpacks. Links are left out.

    Args:
        path: the zip.
        folder: the name of a folder that is looked for in it; of several possible encodings one in which it is there.
        most_files: how many entries are read at most; 0 for any number.

    Raises:
        ValueError: no zip, cut off, damaged, encrypted, packed by an unknown method, with names that lead out of it, or
            holding too many files or far more than it should.
    """
    try:
        head, end = _ends(path)
        if end[:2] not in (b"", b"\x00\x00", b"\xff\xff"):
            raise ValueError(f"{path} is the last part of a zip in several: {UNPACK}")
        archive = zipfile.ZipFile(_Table(path, most_files) if most_files else path)
    except OSError as error:
        raise ValueError(os_sentence(error, path, AGAIN)) from None
    except UnicodeDecodeError:
        raise ValueError(f"{path} has names that are no UTF-8 although it says so, or is damaged there: {UNPACK}") from None
    except (zipfile.BadZipFile, NotImplementedError, struct.error) as error:
        raise ValueError(f"{path} {_trouble(head, end, error)}") from None
    if most_files and len(archive.infolist()) > most_files:
        raise ValueError(f"{path} holds more than {most_files:,} files: get another")
    infos = [info for info in archive.infolist() if not stat.S_ISLNK(info.external_attr >> 16)]
    _check(path, infos)
    encoding = _encoding([_bytes(info) for info in infos if not info.flag_bits & 0x800], folder)
    for info in infos:
        info.filename = _clean(_name(info, encoding), path)
    archive.NameToInfo = {info.filename: info for info in infos if info.filename}
    archive.filelist = list(archive.NameToInfo.values())
    return zipfile.Path(archive)


def read_entry(entry: zipfile.Path) -> bytes:
    """The content of a file. Raises ValueError where the zip is damaged there."""
    try:
        with entry.open("rb") as file:
            return file.read(entry.root.getinfo(entry.at).file_size + 1)  # without a number all is unfolded, then cut
    except OSError as error:
        raise ValueError(os_sentence(error, str(entry.root.filename), AGAIN)) from None
    except (zipfile.BadZipFile, EOFError, RuntimeError, ValueError, zlib.error) as error:
        raise ValueError(f"{entry.root.filename} is damaged at {entry.at} ({error}): {AGAIN}") from None


class _Table(io.BufferedReader):
    """A file of which zipfile, that reads a table of contents in one go, reads none of far more than so many entries."""

    def __init__(self, path: Path, most_files: int):
        super().__init__(io.FileIO(path))
        self._path, self._most_files = path, most_files

    def read(self, size: int | None = -1, /) -> bytes:
        if size and size > ENTRY_BYTES * self._most_files + 2**16:
            raise ValueError(f"{self._path} holds more than {self._most_files:,} files: get another")
        return super().read(size)


def _ends(path: Path) -> tuple[bytes, bytes]:
    """How a file begins, and what follows the mark of a zip's end in it; nothing without that mark."""
    with open(path, "rb") as file:
        head = file.read(512)
        file.seek(max(0, file.seek(0, 2) - 2**16 - 22))
        _, signature, end = file.read().rpartition(b"PK\x05\x06")
        return head, end if signature else b""


def _trouble(head: bytes, end: bytes, error: Exception) -> str:
    """What is wrong with a file that cannot be opened as a zip, and the remedy."""
    if not head:
        return f"is empty: {AGAIN}"
    if end:
        return f"is a damaged zip ({error}): {AGAIN}"
    if head.startswith(b"PK\x03\x04"):
        return f"was cut off, its end with the table of contents is missing: {AGAIN}"
    for magic, kind in OTHERS.items():
        if head.startswith(magic):
            return f"is {kind}: {UNPACK}"
    if head[257:262] == b"ustar":
        return f"is a tar archive: {UNPACK}"
    return "is neither a folder nor a zip: name one of them"


def _check(path: Path, infos: list[zipfile.ZipInfo]) -> None:
    files = [info for info in infos if info.file_size]
    for info in files:
        if info.flag_bits & 0x1:
            raise ValueError(f"{path} is encrypted: {UNPACK}")
        if info.compress_type not in READABLE:
            method = METHODS.get(info.compress_type, f"method {info.compress_type}")
            raise ValueError(f"{path} is packed by {method}, which is not read here: {UNPACK}")
    size, packed, unpacked = path.stat().st_size, sum(f.compress_size for f in files), sum(f.file_size for f in files)
    if packed > size:
        raise ValueError(f"{path} says that it holds {packed:,} packed bytes, but has {size:,}: {AGAIN}")
    if unpacked > max(HARMLESS_BYTES, MAXIMUM_RATIO * size):
        raise ValueError(f"{path} would unfold from {size:,} to {unpacked:,} bytes: it is a zip bomb, get another")


def _bytes(info: zipfile.ZipInfo) -> bytes:
    return info.orig_filename.encode("cp437")  # as which zipfile has decoded it


def _encoding(names: list[bytes], folder: str) -> str:
    """The first encoding that gives a folder of that name, or else the first in which all names are text."""
    possible: dict[str, set[str]] = {}
    for encoding in ENCODINGS:
        try:
            decoded = [name.decode(encoding) for name in names]
        except UnicodeDecodeError:
            continue
        possible[encoding] = {part for name in decoded for part in re.split(r"[/\\]", name)}
    return next((encoding for encoding, parts in possible.items() if folder in parts), next(iter(possible)))


def _name(info: zipfile.ZipInfo, encoding: str) -> str:
    if info.flag_bits & 0x800:
        return info.orig_filename
    original, extra = _bytes(info), info.extra
    while len(extra) >= 4:
        kind, length = struct.unpack("<HH", extra[:4])
        field, extra = extra[4 : 4 + length], extra[4 + length :]
        if kind == UNICODE_PATH and field[:5] == struct.pack("<BL", 1, zlib.crc32(original)):
            return field[5:].decode("utf-8", "replace")
    return original.decode(encoding)


def _clean(name: str, path: Path) -> str:
    """With "/" between folders and without a drive or root."""
    parts = [part for part in re.sub(r"^[A-Za-z]:", "", name).replace("\\", "/").split("/") if part not in ("", ".")]
    if ".." in parts:
        raise ValueError(f"{path} holds a name that leads out of it, {name!r}: pack it again")
    if len(name) > MAXIMUM_NAME or len(parts) > MAXIMUM_DEPTH:
        raise ValueError(f"{path} holds a name of {len(name):,} characters in {len(parts)} folders: get another")
    return "/".join(parts) + ("/" if parts and name.endswith(("/", "\\")) else "")
