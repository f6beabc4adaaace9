"""Clips: what is kept of them, and what a stranger's may not do."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Generator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from animegan_app import clips
from animegan_app.clip_process import steadied
from animegan_app.clips import Clip, Limits, comment_of, draw_clip, is_clip
from animegan_app.photos import PhotoError
from support.clips import read_clip, write_clip
from support.language import translated

pytestmark = pytest.mark.slow


def moving(count: int, height: int = 48, width: int = 80) -> list[np.ndarray]:
    """A bright square on its way to the right over two colours; the upper half is reddish."""
    frames = []
    for number in range(count):
        frame = np.full((height, width, 3), (200, 60, 50), np.uint8)
        frame[height // 2 :] = (40, 90, 170)
        frame[10:30, 4 + 2 * number : 24 + 2 * number] = (250, 240, 120)
        frames.append(frame)
    return frames


def made(making: Generator[float, None, Clip]) -> tuple[Clip, list[float]]:
    """What a generator returns, and what it told on the way."""
    told = []
    while True:
        try:
            told.append(next(making))
        except StopIteration as end:
            return end.value, told


def itself(frame: np.ndarray) -> np.ndarray:
    return frame


def test_frames_times_sound_and_colours_are_kept(tmp_path: Path) -> None:
    """Of a variable rate."""
    moments = [Fraction(number * (number + 25), 1000) for number in range(20)]
    source = write_clip(tmp_path / "clip.mp4", moving(20), moments)
    clip, told = made(draw_clip(source, tmp_path / "out.mp4", itself, comment="cel"))
    assert (clip.width, clip.height, clip.frames) == (80, 48, 20)
    assert told == sorted(told) and len(set(told)) == 20 and 0 <= told[0] < 0.1 < 0.9 < told[-1] <= 1
    frames, times, heard = read_clip(tmp_path / "out.mp4")
    np.testing.assert_allclose(times, [float(moment) for moment in moments], atol=0.001)
    assert heard == pytest.approx(read_clip(source)[2], abs=0.03) and heard > 0.5
    for found, before in zip(frames, moving(20), strict=True):
        assert np.abs(found.astype(int) - before).mean() < 6
    assert comment_of(tmp_path / "out.mp4") == "cel" and comment_of(source) == ""
    assert sorted(os.listdir(tmp_path)) == ["clip.mp4", "out.mp4"]


def test_a_phones_clip_is_upright_and_drawn_small_but_as_large_as_it_was(tmp_path: Path) -> None:
    source = write_clip(tmp_path / "phone.mov", moving(3, 240, 400), quarter_turns=1)
    seen: list[np.ndarray] = []

    def draw(frame: np.ndarray) -> np.ndarray:
        seen.append(frame)
        return frame

    clip, _ = made(draw_clip(source, tmp_path / "out.mp4", draw, 200))
    assert (clip.width, clip.height) == (240, 400) and seen[0].shape == (200, 120, 3)
    for picture in (seen[0], read_clip(tmp_path / "out.mp4")[0][0]):
        height, width = picture.shape[:2]
        left, right = picture[height // 2, width // 4].astype(int), picture[height // 2, width - width // 8].astype(int)
        assert left[2] > left[0] and right[0] > right[2], "what was above is on the right"


@pytest.mark.parametrize(
    ("name", "codec", "sound"),
    [("a.webm", "libvpx-vp9", "libopus"), ("a.avi", "mpeg4", "libmp3lame"), ("a.mkv", "libx264", None)],
)
def test_other_kinds_become_mp4_with_their_sound(name: str, codec: str, sound: str | None, tmp_path: Path) -> None:
    source = write_clip(tmp_path / name, moving(12), codec=codec, sound=sound)
    made(draw_clip(source, tmp_path / "out.mp4", itself))
    frames, times, heard = read_clip(tmp_path / "out.mp4")
    _, before, heard_before = read_clip(source)
    assert len(frames) == 12 and heard == pytest.approx(heard_before, abs=0.08)
    np.testing.assert_allclose(np.diff(times), np.diff(before), atol=0.002)


def test_what_a_killed_one_left_goes_and_a_persons_own_stays(tmp_path: Path) -> None:
    source = write_clip(tmp_path / "clip.mkv", moving(3), sound=None)
    for name in (".out.mp4.123.456", ".out.mp4.mine"):
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (1, 1))
    made(draw_clip(source, tmp_path / "out.mp4", itself))
    assert sorted(path.name for path in tmp_path.iterdir()) == [".out.mp4.mine", "clip.mkv", "out.mp4"]


@pytest.mark.parametrize(
    ("name", "sound", "rate", "repeats"),
    [
        ("joined.mkv", "aac", 48_000, True),
        ("camera.avi", "pcm_s16le", 11_024, False),
        ("odd.avi", "pcm_s16le", 7875, False),
        ("radio.avi", "libmp3lame", 8000, False),
    ],
)
def test_odd_sound_is_written_as_an_mp4_can_hold_it(name: str, sound: str, rate: int, repeats: bool, tmp_path: Path) -> None:
    codec = "libx264" if name.endswith("mkv") else "mpeg4"
    source = write_clip(tmp_path / name, moving(25), codec=codec, sound=sound, rate=rate, repeats=repeats)
    made(draw_clip(source, tmp_path / "out.mp4", itself))
    frames, _, heard = read_clip(tmp_path / "out.mp4")
    assert len(frames) == 25 and heard == pytest.approx(read_clip(source)[2], abs=0.3)


def test_what_does_not_move_is_drawn_once_and_noise_is_steadied(tmp_path: Path) -> None:
    numbers, calls = np.random.default_rng(0), []

    def draw(frame: np.ndarray) -> np.ndarray:
        calls.append(frame.astype(int))
        return frame

    write_clip(tmp_path / "still.mp4", moving(1) * 8, sound=None)
    made(draw_clip(tmp_path / "still.mp4", tmp_path / "out.mp4", draw))
    assert 1 <= len(calls) < 8
    before, frame = moving(2)
    noisy = np.clip(frame + numbers.normal(0, 2, frame.shape), 0, 255).astype(np.uint8)
    found = steadied(before, noisy)
    assert np.abs(found[35:].astype(int) - before[35:]).mean() < 0.1 < np.abs(noisy[35:].astype(int) - before[35:]).mean()
    moved = np.abs(frame.astype(int) - before).max(2) > 60
    assert np.abs(found[moved].astype(int) - noisy[moved]).mean() < 2, "what moves does not lag"


def refused(source: Path, **limits: Any) -> str:
    with pytest.raises(PhotoError) as told:
        made(draw_clip(source, source.with_name("out.mp4"), itself, limits=Limits(**limits)))
    translated(told.value)
    assert not source.with_name("out.mp4").exists() and not list(source.parent.glob(".*")), "nothing is left"
    return str(told.value)


def test_limits_are_told_before_work_and_kept_to(tmp_path: Path) -> None:
    source = write_clip(tmp_path / "clip.mp4", moving(50), sound=None)
    assert "2 s long: cut it to at most 1 s" in refused(source, seconds=1)
    assert "frames of 80 × 48 pixels: scale it down" in refused(source, pixels=2000)
    assert "longer than it says" in refused(source, frames=20)
    content = source.read_bytes()
    source.write_bytes(content[:200])
    assert "damaged" in refused(source)
    source.write_bytes(b"I am no clip at all.")
    assert "not a clip that can be read" in refused(source)


def test_a_clip_that_takes_too_long_is_given_up(tmp_path: Path) -> None:
    noise = list(np.random.default_rng(0).integers(0, 256, (24, 720, 1280, 3), np.uint8))
    assert "too much time or memory" in refused(write_clip(tmp_path / "clip.mp4", noise, sound=None), cpu_seconds=2)


@pytest.mark.parametrize(
    "content",
    [
        "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\nfile://{secret}\n#EXT-X-ENDLIST\n",
        "ffconcat version 1.0\nfile {secret}\n",
        "<?xml version='1.0'?><MPD xmlns='urn:mpeg:dash:schema:mpd:2011'><Period><BaseURL>{secret}</BaseURL></Period></MPD>",
    ],
)
def test_lists_of_other_files_are_refused(content: str, tmp_path: Path) -> None:
    secret = write_clip(tmp_path / "secret.mp4", moving(3), sound=None)
    (tmp_path / "list.mp4").write_text(content.format(secret=secret))
    assert "not a clip that can be read" in refused(tmp_path / "list.mp4")


def test_names_are_no_options(tmp_path: Path) -> None:
    for name in ("-i clip%d,|.mp4", "concat:a.mp4"):
        source = write_clip(tmp_path / "plain.mp4", moving(2), sound=None).rename(tmp_path / name)
        made(draw_clip(source, tmp_path / f"drawn {name}", itself))
        assert len(read_clip(Path(f"file:{tmp_path}/drawn {name}"))[0]) == 2


def test_a_broken_middle_costs_no_more_than_that(tmp_path: Path) -> None:
    source = write_clip(tmp_path / "clip.mkv", moving(40), sound=None)
    content = bytearray(source.read_bytes())
    place = len(content) * 3 // 4
    content[place : place + 60] = bytes(60)
    source.write_bytes(content)
    clip, _ = made(draw_clip(source, tmp_path / "out.mp4", itself))
    assert 5 < clip.frames <= 40


def test_who_gives_up_leaves_neither_file_nor_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = write_clip(tmp_path / "clip.mp4", moving(30), sound=None)
    making = draw_clip(source, tmp_path / "out.mp4", itself)
    next(making), next(making)
    process = making.gi_frame.f_locals["process"].process
    making.close()
    assert process.poll() is not None and os.listdir(tmp_path) == ["clip.mp4"]
    monkeypatch.setattr(clips, "STALLED_SECONDS", 2.0)

    def stopping(frame: np.ndarray) -> np.ndarray:
        stopped.gi_frame.f_locals["process"].process.send_signal(signal.SIGSTOP)
        return frame

    stopped = draw_clip(source, tmp_path / "out.mp4", stopping)
    start = time.monotonic()
    with pytest.raises(PhotoError, match="too much time"):
        made(stopped)
    assert time.monotonic() - start < 60 and os.listdir(tmp_path) == ["clip.mp4"]


def test_clips_are_told_from_pictures(tmp_path: Path) -> None:
    for name in ("a.mp4", "a.mov", "a.mkv", "a.webm", "a.avi"):
        codec, sound = ("libvpx-vp9", None) if name.endswith("webm") else ("mpeg4", None)
        assert is_clip(write_clip(tmp_path / name, moving(2), codec=codec, sound=sound).read_bytes()[:16]), name
    for kind in ("JPEG", "PNG", "WEBP", "AVIF", "GIF", "BMP", "TIFF"):
        Image.new("RGB", (64, 64)).save(tmp_path / "photo", kind)
        assert not is_clip((tmp_path / "photo").read_bytes()[:16]), kind


def test_memory_is_bounded_by_frames_in_flight(tmp_path: Path) -> None:
    """Ten times as many frames take no more."""
    program = (
        "import re, resource, sys\n"
        "from pathlib import Path\n"
        "from animegan_app.clips import draw_clip\n"
        "for _ in draw_clip(Path(sys.argv[1]), Path(sys.argv[2]), lambda frame: frame): pass\n"
        "print(re.search(r'VmHWM:\\s+(\\d+)', open('/proc/self/status').read())[1])\n"
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)\n"
    )
    used = []
    for count in (15, 150):
        source = write_clip(tmp_path / f"{count}.mp4", moving(15, 360, 640) * (count // 15), sound=None)
        command = [sys.executable, "-c", program, str(source), str(tmp_path / "out.mp4")]
        done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[1])
        used.append([int(size) / 1024 for size in done.stdout.split()])
    print("MB to draw and to read and write:", used)
    assert used[1][0] < used[0][0] + 30 and used[1][1] < used[0][1] + 60
