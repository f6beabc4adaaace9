"""An archive of checkpoints: the same bytes every time, opened like a folder, and a stranger's cannot do harm."""

import hashlib
import os
import re
import runpy
import shutil
import stat
import struct
import sys
import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest

from animegan_app.catalog import open_catalog
from hub_export import release, zips
from hub_export.checkpoint import load_generator
from hub_export.folder import FolderStore
from hub_export.record import SAMPLES, SIZE_LIMITS, WEIGHTS, CheckpointError, read_record
from hub_export.release import SUMS, open_runs, write_archive
from support.checkpoints import save_tiny
from support.processes import ended

PHOTO = np.random.default_rng(0).uniform(-1, 1, (1, 32, 32, 3)).astype(np.float32)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two runs with three checkpoints."""
    folder = tmp_path_factory.mktemp("trained")
    for seed, name in enumerate(("first/epoch-001", "first/epoch-002", "second/epoch-001")):
        save_tiny(folder / name, seed, step=390 + seed)
    return folder


@pytest.fixture(scope="module")
def archive(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("archive") / "checkpoints.zip"
    assert write_archive(path, [trained]) == ["first/epoch-001", "first/epoch-002", "second/epoch-001"]
    return path


def contents(archive: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(archive) as file:
        return {name: file.read(name) for name in file.namelist()}


def pack(path: Path, files: Mapping[str, bytes], sums: bytes | None = None, compression: int = zipfile.ZIP_STORED) -> Path:
    """An archive as anybody could make it, with true checksums if none are given."""
    listed = "".join(f"{hashlib.sha256(content).hexdigest()}  {name}\n" for name, content in files.items() if name != SUMS)
    with zipfile.ZipFile(path, "w", compression) as file:
        for name, content in {**files, SUMS: listed.encode() if sums is None else sums}.items():
            info = zipfile.ZipInfo("placeholder")
            info.filename = info.orig_filename = name  # past what ZipInfo itself cleans
            info.compress_type = compression
            file.writestr(info, content)
    return path


def test_the_same_checkpoints_give_the_same_bytes(archive: Path, trained: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(trained, copy)
    for path in copy.rglob("*"):
        os.utime(path, (0, 0))
        path.chmod(0o700)
    before = os.umask(0o077)
    try:
        again = tmp_path / "again.ZIP"
        write_archive(again, [copy / "second" / "epoch-001", copy / "first"])
    finally:
        os.umask(before)
    assert again.read_bytes() == archive.read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["again.ZIP", "copy"]


def test_every_file_is_listed_with_its_sha256(archive: Path, tmp_path: Path) -> None:
    files = contents(archive)
    assert len(files) == 3 * len(SIZE_LIMITS) + 1
    shutil.unpack_archive(archive, tmp_path)
    for line in (tmp_path / SUMS).read_text().splitlines():
        digest, name = line.split("  ")
        assert hashlib.sha256((tmp_path / name).read_bytes()).hexdigest() == digest
    assert len((tmp_path / SUMS).read_text().splitlines()) == 3 * len(SIZE_LIMITS)
    assert FolderStore(tmp_path).problems() == [] and open_runs(tmp_path) == tmp_path, "unpacked it is a folder of runs"


@pytest.mark.slow
def test_the_app_offers_and_draws_what_is_in_an_archive(
    archive: Path, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(release.constants, "HF_HOME", str(tmp_path))
    catalog = open_catalog(archive, [])
    for name in ("first/epoch-001", "first/epoch-002", "second/epoch-001"):
        folder = catalog.fetch(catalog.find(f"local/{name}"))
        assert read_record(folder) == read_record(trained / name)
        assert np.array_equal(load_generator(folder)(PHOTO), load_generator(trained / name)(PHOTO))
    (unpacked,) = (tmp_path / "animegan").iterdir()
    assert stat.S_IMODE(unpacked.stat().st_mode) == 0o755
    stamp = unpacked.stat().st_mtime_ns
    assert open_runs(archive) == unpacked and unpacked.stat().st_mtime_ns == stamp, "unpacked once"


def test_an_archive_that_another_program_packed(archive: Path, tmp_path: Path) -> None:
    again = pack(tmp_path / "again.zip", contents(archive), compression=zipfile.ZIP_DEFLATED)
    assert len(FolderStore(open_runs(again, tmp_path / "cache")).experiments()) == 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda files: files | {"../out.py": b""}, "holds a name that leads out of it, '../out.py'"),
        (lambda files: files | {"first/../../checkpoint.json": b""}, "holds a name that leads out of it"),
        (lambda files: files | {"first/epoch-001/run.py": b""}, "holds 'first/epoch-001/run.py', which is no file of a"),
        (lambda files: files | {"/etc/x/model.weights.h5": b"", "hosts": b""}, "holds 'hosts', which is no file of a check"),
        (lambda files: files | {"first/.epoch/README.md": b""}, "holds 'first/.epoch/README.md', which is no file"),
        (lambda files: files | {"a/b/c/README.md": b""}, "holds 'a/b/c/README.md', which is no file"),
        (lambda files: files | {"a b/epoch-001/README.md": b""}, "holds 'a b/epoch-001/README.md', which is no file"),
        (lambda files: files | {"first/epoch-001/metadata.json": bytes(2**16 + 1)}, "is larger than the limit of 65536"),
    ],
)
def test_files_that_no_checkpoint_has(
    change: Callable[[dict[str, bytes]], dict[str, bytes]], message: str, archive: Path, tmp_path: Path
) -> None:
    assert_refused(pack(tmp_path / "odd.zip", change(contents(archive))), message)


def assert_refused(path: Path, message: str) -> None:
    """It is named with the cause, and nothing is left of it."""
    with pytest.raises(CheckpointError, match=re.escape(message)) as refusal:
        open_runs(path, path.parent / "cache")
    assert str(path) in str(refusal.value) and "\n" not in str(refusal.value)
    assert not list((path.parent / "cache").glob("*")) and not list((path.parent / "cache").glob(".*"))


def test_checksums(archive: Path, tmp_path: Path) -> None:
    files, path = contents(archive), tmp_path / "odd.zip"
    name = f"first/epoch-002/{WEIGHTS}"
    assert_refused(pack(path, files | {name: b"other"}, files[SUMS]), f"is damaged at {name}, its sha256 differs")
    less = {other: content for other, content in files.items() if other != name}
    assert_refused(pack(path, less, files[SUMS]), f"lacks '{name}'")
    more = files | {"third/epoch-001/README.md": b""}
    assert_refused(pack(path, more, files[SUMS]), "holds 'third/epoch-001/README.md', which SHA256SUMS does not list")
    assert_refused(pack(path, files, b"none"), "SHA256SUMS is no list of sha256 and names")
    outside = files[SUMS] + b"0" * 64 + b"  ../../outside\n"
    assert_refused(pack(path, files, outside), "lacks '../../outside'")
    with zipfile.ZipFile(path, "w") as file:
        file.writestr(name, files[name])
    assert_refused(path, "is no archive of checkpoints, it lacks SHA256SUMS")
    path.write_text("I am no zip.")
    assert_refused(path, "is neither a folder nor a zip: name one of them")
    path.write_bytes(archive.read_bytes()[:-500])
    assert_refused(path, "was cut off, its end with the table of contents is missing")


def test_links_are_left_out(archive: Path, tmp_path: Path) -> None:
    link = zipfile.ZipInfo("third/epoch-001/README.md")
    link.external_attr = 0o120777 << 16
    shutil.copyfile(archive, tmp_path / "links.zip")
    with zipfile.ZipFile(tmp_path / "links.zip", "a") as file:
        file.writestr(link, "/etc/passwd")
    folder = open_runs(tmp_path / "links.zip", tmp_path / "cache")
    assert not [path for path in folder.rglob("*") if path.is_symlink()] and not (folder / "third").exists()


def test_what_would_fill_disk_or_memory(
    archive: Path, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files, path = contents(archive), tmp_path / "odd.zip"
    many = {f"run-{number}/epoch-001/README.md": b"" for number in range(release.MAX_FILES)}
    assert_refused(pack(path, files | many), "holds more than 7,000 files")
    end = path.read_bytes()[-22:]
    entry = b"PK\x01\x02" + bytes(42)
    path.write_bytes(entry * 200_000 + end[:8] + struct.pack("<HHLL", 0, 0, 46 * 200_000, 0) + bytes(2))
    assert_refused(path, "holds more than 7,000 files")
    flat = {f"run-{number}/epoch-001/{WEIGHTS}": bytes(2**24) for number in range(4)}
    pack(path, flat, compression=zipfile.ZIP_DEFLATED)
    monkeypatch.setattr(zips, "HARMLESS_BYTES", 2**20)
    assert_refused(path, "it is a zip bomb, get another")
    monkeypatch.setattr(zips, "HARMLESS_BYTES", 2**30)
    monkeypatch.setattr(release, "MAX_BYTES", 2**25)
    assert_refused(path, "would unpack to 67,109,")
    monkeypatch.setattr(release, "MAX_BYTES", 100)
    assert_refused(path, "is larger than the 100 bytes that an archive of checkpoints may have")
    with pytest.raises(CheckpointError, match="are too many for one archive: write several"):
        write_archive(tmp_path / "new.zip", [trained])


def test_a_size_that_is_not_true_is_not_read_beyond(archive: Path, tmp_path: Path) -> None:
    name, content = "third/epoch-001/README.md", bytes(2**24)
    small = hashlib.sha256(content[:1000]).hexdigest()
    listed = contents(archive)[SUMS] + f"{small}  {name}\n".encode()
    path = pack(tmp_path / "odd.zip", contents(archive) | {name: content}, listed, zipfile.ZIP_DEFLATED)
    raw = bytearray(path.read_bytes())
    entry = raw.rindex(name.encode()) - 46
    raw[entry + 16 : entry + 20] = struct.pack("<L", zlib.crc32(content[:1000]))
    raw[entry + 24 : entry + 28] = struct.pack("<L", 1000)
    path.write_bytes(raw)
    folder = open_runs(path, tmp_path / "cache")
    assert (folder / name).stat().st_size == 1000, "what its table of contents and its checksum say, and no more"


def test_what_cannot_be_packed(trained: Path, tmp_path: Path) -> None:
    path = tmp_path / "checkpoints.zip"
    path.write_bytes(b"old")
    damaged = tmp_path / "runs" / "tiny" / "epoch-001"
    save_tiny(damaged)
    (damaged / SAMPLES).write_bytes(b"spoiled")
    for words, message in {
        (path, damaged): "is damaged or was changed (its sha256 differs from the record)",
        (path, trained / "first", trained): "are both first/epoch-001: leave one of them out",
        (path, tmp_path / "nothing"): "holds no checkpoint: give a checkpoint's folder",
        (trained, trained / "first"): "is to be written: name the archive first, like checkpoints.zip",
    }.items():
        with pytest.raises(CheckpointError, match=re.escape(message)):
            write_archive(words[0], words[1:])
    assert path.read_bytes() == b"old" and sorted(entry.name for entry in tmp_path.iterdir()) == [path.name, "runs"]


def test_the_command(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "checkpoints.zip"
    monkeypatch.setattr(sys, "argv", ["release", str(path), str(trained)])
    runpy.run_module("hub_export.release", run_name="__main__")
    digest, told = capsys.readouterr().out.splitlines()
    assert digest == f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path}"
    assert told == f"3 checkpoints of 2 experiments, {path.stat().st_size / 1e6:.1f} MB"
    monkeypatch.setattr(sys, "argv", ["release", str(path / "file.zip"), str(trained)])
    with pytest.raises(SystemExit, match="something else is there already: choose another folder") as end:
        runpy.run_module("hub_export.release", run_name="__main__")
    assert str(end.value).startswith(f"hub_export.release: {path}")


@pytest.mark.slow
def test_an_archive_that_is_none_ends_the_app_with_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "notes.zip").write_text("I am no zip.")
    told = ended(monkeypatch, capsys, "--runs", str(tmp_path / "notes.zip"))
    assert told == f"{tmp_path}/notes.zip is neither a folder nor a zip: name one of them"
