"""Checkpoints that do not ship, as one archive: a zip of EXPERIMENT/CHECKPOINT folders and the sha256 of every file.

    python -m hub_export.release checkpoints.zip                                 those that ship
    python -m hub_export.release checkpoints.zip runs/cel runs/ink/epoch-003     a run's, and a single one
    python app.py --runs checkpoints.zip                                         the app offers what is in it

The same checkpoints give the same archive, byte for byte: in the order of their names, dated 1980, and stored as they are,
since every version of zlib packs otherwise. SHA256SUMS in it is what `sha256sum --check` reads.

An archive may be a stranger's. Before anything of it is used, its size, the number of files and each one's name, size and
sha256 are checked; links are left out. What is in the checkpoints is then checked as everywhere (record.py, checkpoint.py).
"""

import argparse
import hashlib
import re
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path

from huggingface_hub import constants

from hub_export.checkpoint import verify_files
from hub_export.files import os_sentence, replacing, replacing_file
from hub_export.folder import BUNDLED, find_checkpoints
from hub_export.record import NAME, SIZE_LIMITS, CheckpointError, brief, read_file, read_record
from hub_export.zips import open_zip, read_entry

SUMS = "SHA256SUMS"
SUM = re.compile(r"([0-9a-f]{64}) [ *](\S+)")
MAX_BYTES = 2**31
"""Of an archive, and of what it unpacks to; GitHub takes no larger file for a release."""
MAX_FILES = 7000
"""A thousand checkpoints."""


def write_archive(archive: Path, paths: Sequence[Path]) -> list[str]:
    """Writes checkpoints into one archive, which replaces what is there; an error leaves the old one.

    Args:
        archive: its path, which ends in .zip.
        paths: folders, see `folder.find_checkpoints`.

    Returns:
        "EXPERIMENT/CHECKPOINT" for each, in order.

    Raises:
        CheckpointError: there is none, one is damaged, two have one name, or they are more than an archive may hold.
        OSError: a file cannot be read or written.
    """
    if archive.suffix.lower() != ".zip":
        raise CheckpointError(f"{archive} is to be written: name the archive first, like checkpoints.zip")
    folders: dict[str, Path] = {}
    for path in paths:
        for folder in find_checkpoints(path):
            record = read_record(folder)
            verify_files(folder, record)
            name = f"{record.experiment}/{record.checkpoint}"
            if name in folders:
                raise CheckpointError(f"{folders[name]} and {folder} are both {name}: leave one of them out")
            folders[name] = folder
    files = [(name, file) for name in sorted(folders) for file in sorted(SIZE_LIMITS)]
    size = sum((folders[name] / file).stat().st_size for name, file in files)
    if len(files) >= MAX_FILES or size > 0.99 * MAX_BYTES:
        raise CheckpointError(f"{len(folders)} checkpoints of {size:,} bytes are too many for one archive: write several")
    sums = ""
    archive.parent.mkdir(parents=True, exist_ok=True)
    with replacing_file(archive) as file_object, zipfile.ZipFile(file_object, "w") as target:
        for name, file in files:
            content = read_file(folders[name], file)
            _add(target, f"{name}/{file}", content)
            sums += f"{hashlib.sha256(content).hexdigest()}  {name}/{file}\n"
        _add(target, SUMS, sums.encode())
    return sorted(folders)


def _add(target: zipfile.ZipFile, name: str, content: bytes) -> None:
    info = zipfile.ZipInfo(name)  # of 1980
    info.create_system, info.external_attr = 3, 0o100644 << 16
    target.writestr(info, content)


def open_runs(path: Path, cache: Path | None = None) -> Path:
    """The folder of runs that a path stands for: itself, or what is in an archive.

    An archive is unpacked into the cache at first, into a folder that is named after its content.

    Args:
        path: a folder, which need not be there, or an archive.
        cache: where archives are unpacked; None for the Hub's cache.

    Raises:
        CheckpointError: an archive is damaged, not what `write_archive` writes, or cannot be read or unpacked.
    """
    if not path.is_file():
        return path
    try:
        if path.stat().st_size > MAX_BYTES:
            raise CheckpointError(f"{path} is larger than the {MAX_BYTES:,} bytes that an archive of checkpoints may have")
        with open(path, "rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        folder = (cache or Path(constants.HF_HOME) / "animegan") / digest[:32]
        if not folder.is_dir():
            with replacing(folder) as aside:
                _unpack(path, aside)
    except OSError as error:
        raise CheckpointError(os_sentence(error, path)) from None
    except ValueError as error:
        raise CheckpointError(str(error)) from None
    return folder


def _unpack(archive: Path, into: Path) -> None:
    """Raises ValueError, OSError."""
    root = open_zip(archive, most_files=MAX_FILES)
    table = root.root
    assert table.fp
    with table.fp:
        infos = [info for info in table.infolist() if not info.is_dir()]
        size = sum(info.file_size for info in infos)
        if size > MAX_BYTES:
            raise ValueError(f"{archive} would unpack to {size:,} bytes, more than the {MAX_BYTES:,} allowed")
        for info in infos:
            _check(archive, info)
        if SUMS not in table.NameToInfo:
            raise ValueError(f"{archive} is no archive of checkpoints, it lacks {SUMS}: make one with hub_export.release")
        sums = _read_sums(archive, read_entry(root / SUMS))
        if odd := sorted({info.filename for info in infos} - {SUMS} ^ sums.keys()):
            what = f"lacks {brief(odd[0])}" if odd[0] in sums else f"holds {brief(odd[0])}, which {SUMS} does not list"
            raise ValueError(f"{archive} {what}: get it again")
        for name, expected in sums.items():
            content = read_entry(root / name)
            if hashlib.sha256(content).hexdigest() != expected:
                raise ValueError(f"{archive} is damaged at {name}, its sha256 differs from {SUMS}: get it again")
            (into / name).parent.mkdir(parents=True, exist_ok=True)
            (into / name).write_bytes(content)


def _check(archive: Path, info: zipfile.ZipInfo) -> None:
    """Raises ValueError for a file that no archive of ours has."""
    if info.filename == SUMS:
        limit = 2**10 * MAX_FILES
    else:
        *folders, file = info.filename.split("/")
        if len(folders) != 2 or not all(map(NAME.fullmatch, folders)) or file not in SIZE_LIMITS:
            raise ValueError(f"{archive} holds {brief(info.filename)}, which is no file of a checkpoint: get another")
        limit = SIZE_LIMITS[file]
    if info.file_size > limit:
        raise ValueError(f"{archive}: {info.filename} is larger than the limit of {limit} bytes")


def _read_sums(archive: Path, content: bytes) -> dict[str, str]:
    """Name to sha256. Raises ValueError."""
    matches = [SUM.fullmatch(line) for line in content.decode("utf-8", "replace").splitlines()]
    if not all(matches):
        raise ValueError(f"{archive}: {SUMS} is no list of sha256 and names: get it again")
    return {line[2]: line[1] for line in matches if line}


def main(arguments: argparse.Namespace) -> None:
    """Runs the command. Raises CheckpointError, OSError."""
    written = write_archive(arguments.archive, arguments.paths or [BUNDLED])
    with open(arguments.archive, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    print(f"{digest}  {arguments.archive}")
    experiments, size = {name.partition("/")[0] for name in written}, arguments.archive.stat().st_size
    print(f"{len(written)} checkpoints of {len(experiments)} experiments, {size / 1e6:.1f} MB")


def parser() -> argparse.ArgumentParser:
    """The command line."""
    raw = argparse.RawTextHelpFormatter
    p = argparse.ArgumentParser(prog="python -m hub_export.release", description=__doc__, formatter_class=raw)
    p.add_argument("archive", metavar="OUT.zip", type=Path, help="the archive, replaced if it is there")
    p.add_argument(
        "paths",
        metavar="PATH",
        nargs="*",
        type=Path,
        help="a checkpoint's folder, a run's, or one of runs (default: the checkpoints that ship)",
    )
    return p


if __name__ == "__main__":
    try:
        main(parser().parse_args())
    except CheckpointError as error:
        sys.exit(f"hub_export.release: {error}")
    except OSError as error:
        sys.exit(f"hub_export.release: {os_sentence(error)}")
