"""A disk that is full, read-only or out of file handles is told in a sentence, and leaves the old file and no half one."""

import errno
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from hub_export import files
from hub_export.files import REMEDIES, explain_os, os_sentence, replacing, write_aside
from support.checkpoints import save_tiny

ROOT = Path(__file__).parents[1]
SMALL_DISK = """
import contextlib, shutil, subprocess, sys
from pathlib import Path
sys.path[:0] = [".", "tests"]
source, disk = map(Path, sys.argv[1:])
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=300k", "none", str(disk)], check=True)
from hub_export.checkpoint import load_generator, save_checkpoint
from hub_export.record import CheckpointError, read_record
from hub_export.files import os_sentence, replacing, write_aside
from hub_export.half import copy_in_half
shutil.copytree(source, disk / "tiny" / "epoch-001")
record, generator = read_record(source), load_generator(source)
def room():
    return sorted(str(path.relative_to(disk)) for path in disk.rglob("*"))
before = room()
import numpy as np
samples = np.random.default_rng(0).integers(0, 256, (512, 512, 3), np.uint8)
def written(folder):
    with replacing(folder) as aside:
        (aside / "file").write_bytes(bytes(400_000))
def state(folder):
    with contextlib.suppress(OSError):
        (disk / "filling").write_bytes(bytes(300_000))
    write_aside(folder / "history.jsonl", bytes(150_000))
for task in (
    lambda: save_checkpoint(disk / "tiny" / "epoch-001", generator, record, [], samples),
    lambda: save_checkpoint(disk / "tiny" / "epoch-002", generator, record, [], samples),
    lambda: copy_in_half(source, disk / "release"),
    lambda: written(disk / "space"),
    lambda: state(disk / "tiny" / "epoch-001"),
):
    try:
        task()
        print("nothing went wrong")
    except CheckpointError as error:
        print(error)
    except OSError as error:
        print(os_sentence(error))
(disk / "filling").unlink()
assert set(room()) - set(before) <= {"release", "release/tiny", "space"}, sorted(set(room()) - set(before))
load_generator(disk / "tiny" / "epoch-001")
"""


@pytest.mark.slow
def test_a_full_disk_leaves_what_was_there(tmp_path: Path) -> None:
    """On a disk of 300 KB, which needs the right to mount one."""
    if subprocess.run(["unshare", "-rm", "true"], capture_output=True).returncode:
        pytest.skip("this system lets nobody mount a small disk")
    save_tiny(tmp_path / "tiny" / "epoch-001")
    (tmp_path / "disk").mkdir()
    arguments = [sys.executable, "-c", SMALL_DISK, str(tmp_path / "tiny" / "epoch-001"), str(tmp_path / "disk")]
    done = subprocess.run(["unshare", "-rm", *arguments], cwd=ROOT, capture_output=True, text=True)
    said = done.stdout.splitlines()
    assert done.returncode == 0 and len(said) == 5, done.stdout + done.stderr[-2000:]
    assert all("the disk is full: free some space" in line and str(tmp_path) in line for line in said), said


@pytest.mark.slow
def test_a_file_that_may_not_grow_is_left_as_it_was(tmp_path: Path) -> None:
    code = """
import resource, sys
from pathlib import Path
from hub_export.files import os_sentence, write_aside
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    write_aside(Path(sys.argv[1]), bytes(5000))
except OSError as error:
    print(os_sentence(error, Path(sys.argv[1])))
"""
    path = tmp_path / "state.npz"
    write_aside(path, b"old")
    done = subprocess.run([sys.executable, "-c", code, path], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.startswith(f"{path}: the file is larger than this system allows")
    assert path.read_bytes() == b"old" and list(tmp_path.iterdir()) == [path]


def test_an_error_leaves_the_old_folder_and_nothing_else(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    for text in ("old", "new"):
        with replacing(folder) as aside:
            (aside / "file").write_text(text)
    with pytest.raises(TypeError), replacing(folder) as aside:
        (aside / "file").write_text(5)  # type: ignore[arg-type]
    assert (folder / "file").read_text() == "new" and list(tmp_path.iterdir()) == [folder]
    with pytest.raises(FileNotFoundError), replacing(folder) as aside:
        shutil.rmtree(aside)
    assert (folder / "file").read_text() == "new" and list(tmp_path.iterdir()) == [folder]


@pytest.mark.skipif(sys.platform != "linux", reason="exchanges two folders in one step, which is Linux's")
def test_who_looks_always_finds_the_old_folder_or_the_new_one(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    with replacing(folder) as aside:
        (aside / "number").write_text("0")
    (tmp_path / "other").mkdir()
    if not files._exchanged(tmp_path / "other", folder):
        pytest.skip("this file system exchanges nothing in one step")
    files._exchanged(tmp_path / "other", folder)
    (tmp_path / "other").rmdir()
    there, done = [], threading.Event()

    def look() -> None:
        while not done.is_set():
            there.append(folder.is_dir())

    looking = threading.Thread(target=look)
    looking.start()
    for number in range(100):
        with replacing(folder) as aside:
            (aside / "number").write_text(f"{number}")
    done.set()
    looking.join()
    assert all(there) and [path.name for path in tmp_path.iterdir()] == ["folder"]


@pytest.mark.parametrize("interrupt", [OSError, KeyboardInterrupt])
def test_where_that_is_not_to_be_had_an_interrupt_brings_the_old_one_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, interrupt: type[BaseException]
) -> None:
    monkeypatch.setattr(sys, "platform", "another")
    folder, rename = tmp_path / "folder", Path.rename
    for text in ("old", "new"):
        with replacing(folder) as aside:
            (aside / "text").write_text(text)
    assert (folder / "text").read_text() == "new"

    def interrupted(self: Path, target: Path) -> Path:
        if target == folder and not folder.exists() and self.name != "old":
            raise interrupt
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", interrupted)
    with pytest.raises(interrupt), replacing(folder) as aside:
        (aside / "text").write_text("newer")
    assert (folder / "text").read_text() == "new" and [path.name for path in tmp_path.iterdir()] == ["folder"]


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ("file/in/a/file", "a file is where a folder should be: choose another folder"),
        ("x" * 300, "its name is too long: choose a shorter one"),
        ("missing/folder/file", "it is missing, or was deleted meanwhile"),
    ],
)
def test_places_where_nothing_can_be_written(tmp_path: Path, place: str, words: str) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="Errno") as refusal:
        write_aside(tmp_path / place, b"")
    assert os_sentence(refusal.value).startswith(str(tmp_path)) and os_sentence(refusal.value).endswith(words)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_every_remedy_is_for_an_error_of_this_system() -> None:
    for number in REMEDIES:
        assert ": " in f"{os_sentence(OSError(number, os.strerror(number)), Path('x'))}"
    assert (
        explain_os(OSError("Can't write data (errno = 28, error message = 'No space')"))
        == "the disk is full: free some space"
    )
    assert explain_os(OSError(errno.ECHILD, "No child processes")) == "No child processes"


def test_the_second_choice_takes_the_place_of_another_folder() -> None:
    for number, told in {
        errno.ENOSPC: "the disk is full: free some space, or choose another --cache",
        errno.EACCES: "access is denied: change its permissions, or choose another --cache",
        errno.EROFS: "the file system is read-only: choose another --cache",
        errno.ECHILD: "No child processes: choose another --cache",
    }.items():
        assert explain_os(OSError(number, os.strerror(number)), "choose another --cache") == told
    words = "{{function_node __wrapped__IteratorGetNext}} /x; No space left on device [Op:IteratorGetNext]"
    assert os_sentence(RuntimeError(words), Path("x"), "wait") == "x: the disk is full: free some space, or wait"
    assert os_sentence(RuntimeError("{{node a}} no such\nthing [Op:Read]"), Path("x")) == "x: no such thing"


def test_what_a_kill_left_goes_with_the_next_try_when_it_is_old(tmp_path: Path) -> None:
    for name in (".run-abcd_old", ".run-abcd_new", ".running-abcd_old", ".run-own_old"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").touch()
        if name.endswith("old"):
            os.utime(tmp_path / name, (1, 1))
    with replacing(tmp_path / "run") as aside:
        (aside / "file").touch()
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        ".run-abcd_new",
        ".run-own_old",
        ".running-abcd_old",
        "run",
    ]
