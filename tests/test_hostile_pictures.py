"""Hostile and odd picture files: none costs the app more than seconds and bounded memory, and no good one is refused."""

import os
import signal
import struct
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from animegan_app import photos
from animegan_app.photos import PhotoError, read_file, read_photo, read_scaled
from hub_export.checkpoint import SAMPLES, CheckpointError, read_samples
from support.app import PAGODA, ROOT
from support.checkpoints import tiny_checkpoint
from support.language import translated
from support.pictures import claiming, encode, png_header, scene, tiff

pytestmark = pytest.mark.slow

PHOTO = encode(Image.open(PAGODA), "JPEG", quality=90)


def png(*chunks: tuple[bytes, bytes], interlaced: bool = False) -> bytes:
    """A PNG of 64 x 64 pixels with these chunks between header and picture."""
    header = struct.pack(">IIBBBBB", 64, 64, 8, 2, 0, 0, interlaced)
    rows = zlib.compress(bytes(64 * (64 * 3 + 1) + 10 * 64), 1)
    parts = [(b"IHDR", header), *chunks, (b"IDAT", rows), (b"IEND", b"")]
    found = (struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body)) for name, body in parts)
    return b"\x89PNG\r\n\x1a\n" + b"".join(found)


def of_many_scans(side: int, scans: int, progressive: bool = True) -> bytes:
    """A JPEG that ends in so many scans of nothing."""
    content = encode(Image.new("L", (side, side)), "JPEG", quality=50, progressive=progressive)
    scan = content[content.rindex(b"\xff\xda") :][:10]
    return content[:-2] + (scan + b"\0") * scans + content[-2:]


def odd_exif(orientation: int = 6) -> bytes:
    """Exif with a resolution of 2**32 - 1 by 0, which cannot be written again."""
    entries = struct.pack(">HHIHH", 0x0112, 3, 1, orientation, 0) + struct.pack(">HHII", 0x011A, 5, 1, 38)
    return b"Exif\0\0MM\0*\0\0\0\x08\0\2" + entries + bytes(4) + struct.pack(">II", 2**32 - 1, 0)


def heic(side: int) -> bytes:
    """64 x 64 pixels in HEIC whose header promises `side` x `side`."""
    content = encode(Image.fromarray(scene(64, 64)), "HEIF")
    place = content.index(b"ispe") + 8
    return content[:place] + struct.pack(">II", side, side) + content[place + 8 :]


HOSTILE: dict[str, tuple[Callable[[], bytes], str]] = {
    "scans": (lambda: of_many_scans(4000, 1200), "scans or more, which take too long"),
    "scans of a baseline JPEG": (lambda: of_many_scans(4000, 1200, progressive=False), "scans or more, which take too long"),
    "coefficients": (
        lambda: claiming(encode(Image.new("RGB", (64, 64)), "JPEG", progressive=True, subsampling=0), 14_000),
        "scans",
    ),
    "tags that share their bytes": (lambda: tiff(20_000, 20_000_000), "takes too much memory"),
    "text that unfolds": (lambda: png((b"zTXt", b"Raw\0\0" + zlib.compress(bytes(10**8), 1))), "damaged"),
    "a profile that unfolds": (lambda: png((b"iCCP", b"Raw\0\0" + zlib.compress(bytes(10**8), 1))), "damaged"),
    "many texts that unfold": (lambda: png(*[(b"zTXt", b"Raw\0\0" + zlib.compress(bytes(6 * 10**7), 1))] * 20), "damaged"),
    "HEIC that promises more than it holds": (lambda: heic(8900), "damaged"),
    "HEIC that promises less than it holds": (lambda: heic(32), "damaged"),
    "HEIC that promises too much": (lambda: heic(30_000), "too many pixels"),
    "a header alone": (lambda: png_header(8900, 8900), "damaged"),
}
GOOD: dict[str, tuple[Callable[[], bytes], tuple[int, int]]] = {
    "Exif that unfolds": (lambda: png((b"eXIf", tiff(20_000, 10_000_000))), (64, 64)),
    "Exif of nonsense": (lambda: encode(Image.new("RGB", (60, 40)), "JPEG", exif=b"Exif\0\0nonsense"), (60, 40)),
    "a profile of 2 MB": (lambda: png((b"iCCP", b"Raw\0\0" + zlib.compress(bytes(2 * 10**6)))), (64, 64)),
    "2 MB of notes": (lambda: png((b"zTXt", b"Raw\0\0" + zlib.compress(bytes(2 * 10**6)))), (64, 64)),
    "an end that is missing": (lambda: png()[:-12], (64, 64)),
    "interlaced": (lambda: png(interlaced=True), (64, 64)),
    "thousands of frames": (
        lambda: encode(
            Image.new("P", (60, 40)),
            "GIF",
            save_all=True,
            append_images=[Image.new("P", (60, 40), n % 255) for n in range(3000)],
        ),
        (60, 40),
    ),
    "a JPEG without its end mark": (lambda: PHOTO[:-2], (640, 427)),
    "half an end mark": (lambda: PHOTO[:-1], (640, 427)),
    "a progressive JPEG without its end mark": (
        lambda: encode(Image.open(PAGODA), "JPEG", progressive=True)[:-2],
        (640, 427),
    ),
    "a film behind the photo": (lambda: PHOTO + b"\xff\xda\0\x0c\1\1\0\0\x3f\0" * 10_000, (640, 427)),
    "an index of pictures that is damaged": (lambda: PHOTO[:2] + b"\xff\xe2\0\x0cMPF\0MM\0*?!" + PHOTO[2:], (640, 427)),
    "HEIC": (lambda: encode(Image.fromarray(scene(64, 96)), "HEIF"), (96, 64)),
    "108 megapixels": (lambda: encode(Image.new("L", (12_000, 9_000), 99), "JPEG"), (6000, 4500)),
}


def memory(kind: str) -> int:
    """Resident bytes of the process that decodes: VmRSS now, VmHWM at most."""
    process = photos._decoder._process
    assert process is not None
    status = Path(f"/proc/{process.pid}/status").read_text()
    return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith(kind))


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files_are_refused_within_seconds_and_bounded_memory(name: str) -> None:
    make, sentence = HOSTILE[name]
    content, before = make(), time.process_time()
    assert len(content) <= photos.MAX_FILE_BYTES
    read_photo(PHOTO)
    start = time.monotonic()
    with pytest.raises(PhotoError, match=sentence) as error:
        read_photo(content)
    assert str(error.value).endswith(".")
    translated(error.value)
    assert time.monotonic() - start < 20 and time.process_time() - before < 5
    assert memory("VmHWM") < 2**30
    assert read_photo(PHOTO).shape == (427, 640, 3), "and the next one is drawn"


@pytest.mark.parametrize("name", GOOD)
def test_good_pictures_in_odd_files_are_drawn(name: str) -> None:
    make, (width, height) = GOOD[name]
    content, start = make(), time.monotonic()
    picture = read_photo(content)
    assert picture.shape == (height, width, 3)
    if "end mark" in name:
        whole = encode(Image.open(PAGODA), "JPEG", progressive=True) if "progressive" in name else PHOTO
        np.testing.assert_array_equal(picture, read_photo(whole))
    assert time.monotonic() - start < 20


@pytest.mark.parametrize("cut", [20_000, -600, -30])
@pytest.mark.parametrize("progressive", [False, True])
def test_a_jpeg_whose_end_is_missing_is_no_picture(cut: int, progressive: bool) -> None:
    content = encode(Image.open(PAGODA), "JPEG", quality=90, progressive=progressive)
    with pytest.raises(PhotoError, match="damaged or cut off"):
        read_photo(content[:cut])


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "AVIF", "TIFF"])
def test_upright_whatever_the_exif_says_besides(kind: str, orientation: int) -> None:
    """Each corner of another light, so that every turn and reflection differs."""
    light = np.kron(np.array([[20, 90], [160, 230]], np.uint8), np.ones((20, 30), np.uint8))
    image = Image.fromarray(light).convert("RGB")
    options = {"lossless": True} if kind == "WEBP" else {} if kind == "TIFF" else {"quality": 95}
    if kind == "TIFF":
        exif = Image.Exif()
        exif[0x0112] = orientation
        content = encode(image, kind, exif=exif)
    else:
        content = encode(image, kind, exif=odd_exif(orientation), **options)
    turns = {1: (0, 0), 2: (0, 1), 3: (2, 0), 4: (2, 1), 5: (3, 1), 6: (3, 0), 7: (1, 1), 8: (1, 0)}
    rotated, reflected = turns[orientation]
    expected = np.rot90(light, rotated)
    expected = expected[:, ::-1] if reflected else expected
    picture, size = read_scaled(content)
    assert size == (expected.shape[1], expected.shape[0])
    corners = picture[[5, 5, -5, -5], [5, -5, 5, -5], 0].astype(int)
    assert np.abs(corners - expected[[5, 5, -5, -5], [5, -5, 5, -5]].astype(int)).max() < 12


def test_what_a_file_has_is_told_though_less_is_decoded() -> None:
    picture, size = read_scaled(GOOD["108 megapixels"][0](), 512)
    assert picture.shape == (384, 512, 3) and size == (12_000, 9_000) and np.abs(picture.astype(int) - 99).max() <= 1


def test_a_decoder_that_dies_or_hangs_is_told_and_started_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    def end(number: int) -> None:
        process = photos._decoder._process
        assert process is not None
        os.kill(process.pid, signal.SIGSTOP)  # it hangs
        if number:
            threading.Timer(0.5, lambda: [os.kill(process.pid, one) for one in (number, signal.SIGCONT)]).start()

    for number, sentence in [
        (0, "takes too long"),
        (signal.SIGXCPU, "takes too long"),
        (signal.SIGSEGV, "cannot be decoded"),
    ]:
        monkeypatch.setattr(photos, "WALL_SECONDS", 60.0)  # a new one has to start
        assert read_photo(PHOTO).shape == (427, 640, 3)
        end(number)
        monkeypatch.setattr(photos, "WALL_SECONDS", 60.0 if number else 2.0)
        start = time.monotonic()
        with pytest.raises(PhotoError, match=sentence):
            read_photo(PHOTO)
        assert time.monotonic() - start < 30, "the signal ended it, not the clock"
    monkeypatch.setattr(photos, "WALL_SECONDS", 60.0)
    assert read_photo(PHOTO).shape == (427, 640, 3)


def test_only_regular_files_of_a_bounded_size_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (Path("/dev/zero"), Path("/dev/random"), tmp_path / "pipe", tmp_path, tmp_path / "gone", Path("a\0b")):
        with pytest.raises(PhotoError, match="no longer here"):
            read_file(path)
    monkeypatch.setattr(photos, "MAX_FILE_BYTES", 2**20)
    with (tmp_path / "large").open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(PhotoError, match="larger than 1 MB"):
        read_file(tmp_path / "large")


def test_samples_of_a_checkpoint_are_bounded_alike(tmp_path: Path) -> None:
    folder = tmp_path / "tiny" / "epoch-001"
    tiny_checkpoint(folder)
    (folder / SAMPLES).write_bytes(of_many_scans(4000, 2000))
    start = time.monotonic()
    with pytest.raises(CheckpointError, match=f"{SAMPLES} is a JPEG of .* scans"):
        read_samples(folder)
    with pytest.raises(PhotoError, match="scans or more"):
        read_photo(folder / SAMPLES)
    assert time.monotonic() - start < 5


def test_the_cpu_limit_ends_a_picture_and_not_the_next_one() -> None:
    """Seconds are counted for each picture anew, in a process that lives through many."""
    program = """
from animegan_app import decoding
real = decoding.decode
def decode(content, *options):
    while content == b"endless":
        pass
    return real(content, *options)
decoding.CPU_SECONDS, decoding.decode = 1, decode
decoding.main()
"""
    content = encode(Image.fromarray(scene(1500, 1500)), "PNG", compress_level=1)

    def ask(picture: bytes, times: int) -> None:
        assert process.stdin and process.stdout
        for _ in range(times):
            process.stdin.write(photos.QUESTION.pack(len(picture), 64, False) + picture)
            process.stdin.flush()
            *_, length = photos.ANSWER.unpack(photos.exactly(process.stdout, photos.ANSWER.size))
            photos.exactly(process.stdout, length)

    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT
    ) as process:
        ask(content, 40)  # each well below a second, all of them above the limit
        with pytest.raises((BrokenPipeError, EOFError)):
            ask(b"endless", 1)
        assert process.wait(30) == -signal.SIGXCPU


def test_an_answer_that_nobody_had_room_for_is_not_taken_for_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    real, refused = photos.exactly, list[int]()

    def full(file: Any, size: int) -> bytearray:
        if size > photos.ANSWER.size and not refused:
            refused.append(size)
            raise MemoryError
        return real(file, size)

    monkeypatch.setattr(photos, "exactly", full)
    with pytest.raises(MemoryError):
        photos.read_photo(PHOTO)
    found = photos.read_photo(encode(Image.new("RGB", (60, 40), (9, 90, 200)), "PNG"))
    assert found.shape == (40, 60, 3) and (found == (9, 90, 200)).all()
