"""The command that draws, run in this process with a tiny real checkpoint, and once as a command."""

import dataclasses
import os
import shutil
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from animegan_app.draw import Painter, Report, Work, checkpoint_folder, main
from animegan_app.enlarge import enlarge
from animegan_app.stylize import Stylizer, blend, read_photo
from hub_export import pixels
from hub_export.checkpoint import write_record
from hub_export.record import read_record
from support.app import PAGODA, ROOT
from support.checkpoints import tiny_checkpoint
from support.clips import read_clip, seconds_of, write_clip
from support.pictures import encode, scene

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "tiny" / "epoch-001"
    tiny_checkpoint(folder)
    return folder


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder as people have it."""
    folder = tmp_path / "photos"
    (folder / "day 1" / ".hidden").mkdir(parents=True)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(scene(40, 60)).save(folder / "day 1" / "upright.jpg", exif=exif)
    Image.fromarray(scene(40, 60)).save(folder / "day 1" / ".hidden" / "thumbnail.jpg")
    (folder / "day 1" / "phone.HEIC").write_bytes(encode(Image.fromarray(scene(40, 60)), "HEIF"))
    cut_out = np.dstack([scene(30, 50), np.tile(np.arange(50, dtype=np.uint8) * 5, (30, 1))])
    Image.fromarray(cut_out).save(folder / "sticker.webp", lossless=True)
    Image.fromarray(scene(30, 50)).save(folder / "sticker.png")
    (folder / "notes.txt").write_text("no photo")
    return folder


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_a_folder_is_drawn_with_its_names_and_again_only_what_is_new(
    photos: Path, checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = photos / "drawn"
    command = [str(checkpoint.parent), str(photos), "--out", str(out)]
    assert main(command) == 0
    assert "4 drawn, 0 already there, 0 failed" in capsys.readouterr().out
    assert files(out) == ["day 1/phone.png", "day 1/upright.jpg", "sticker.png", "sticker.webp.png"]
    assert Image.open(out / "day 1" / "upright.jpg").size == (40, 60)
    sticker = np.asarray(Image.open(out / "sticker.webp.png"))
    np.testing.assert_array_equal(sticker[..., 3], np.tile(np.arange(50, dtype=np.uint8) * 5, (30, 1)))
    expected = Stylizer().stylize(scene(30, 50), checkpoint).anime
    np.testing.assert_array_equal(np.asarray(Image.open(out / "sticker.png")), expected)

    assert main(command) == 0
    assert "0 drawn, 4 already there, 0 failed" in capsys.readouterr().out
    (out / "sticker.png").unlink()
    os.utime(photos / "sticker.webp", (2e9, 2e9))  # changed since
    assert main(command) == 0
    assert "2 drawn, 2 already there" in capsys.readouterr().out
    assert main([*command, "--strength", "50"]) == 0
    assert "4 drawn, 0 already there" in capsys.readouterr().out
    half = blend(scene(30, 50), expected, 0.5, 0)
    np.testing.assert_array_equal(np.asarray(Image.open(out / "sticker.png")), half)


def test_no_drawing_takes_the_place_of_a_photo_or_of_another_drawing(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for day in ("day 1", "day 2"):
        (tmp_path / day).mkdir()
        Image.fromarray(scene(24, 32)).save(tmp_path / day / "IMG_1.png")
    own = tmp_path / "day 1" / "IMG_1.png"
    before = own.read_bytes()
    assert main([str(checkpoint), str(own), "--out", str(own.parent)]) == 2
    told = capsys.readouterr().err
    assert "choose another --out" in told and str(own) in told and own.read_bytes() == before
    days = [str(tmp_path / day) for day in ("day 1", "day 2")]
    assert main([str(checkpoint), *days, "--out", str(tmp_path / "drawn")]) == 0
    assert files(tmp_path / "drawn") == ["day 1/IMG_1.png", "day 2/IMG_1.png"]
    (tmp_path / "more").mkdir()
    shutil.copytree(tmp_path / "day 1", tmp_path / "more" / "day 1")
    assert main([str(checkpoint), *days[:1], str(tmp_path / "more" / "day 1"), "--out", str(tmp_path / "x")]) == 2
    assert "would both become" in capsys.readouterr().err


def test_what_is_there_and_is_no_drawing_of_the_photo_stays(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number, day in enumerate(("one", "two", "album")):
        (tmp_path / day).mkdir()
        Image.fromarray(scene(24, 32 + number)).save(tmp_path / day / "IMG 1.jpg")
    own = (tmp_path / "album" / "IMG 1.jpg").read_bytes()
    command = [str(checkpoint), str(tmp_path / "one"), "--sheet", "--out"]
    assert main([*command, str(tmp_path / "album")]) == 1
    told = capsys.readouterr()
    assert "0 drawn, 0 already there, 1 failed" in told.out
    assert f"one/IMG 1.jpg: {tmp_path}/album/IMG 1.jpg is no drawing of it: choose another --out" in told.err
    assert (tmp_path / "album" / "IMG 1.jpg").read_bytes() == own and files(tmp_path / "album") == ["IMG 1.jpg"]

    assert main([*command, str(tmp_path / "out")]) == 0
    drawing = (tmp_path / "out" / "IMG 1.jpg").read_bytes()
    assert main([str(checkpoint), str(tmp_path / "two"), "--out", str(tmp_path / "out")]) == 1, "another photo of that name"
    assert (tmp_path / "out" / "IMG 1.jpg").read_bytes() == drawing
    (tmp_path / "out" / "IMG 1.sheet.png").write_bytes(encode(Image.new("RGB", (9, 9)), "PNG"))
    assert main([*command, str(tmp_path / "out")]) == 1, "somebody's own sheet"
    (tmp_path / "out" / "IMG 1.sheet.png").unlink()
    (tmp_path / "one").rename(tmp_path / "moved")
    capsys.readouterr()
    assert main([str(checkpoint), str(tmp_path / "moved"), "--out", str(tmp_path / "out")]) == 0
    assert "0 drawn, 1 already there" in capsys.readouterr().out, "the same photo elsewhere"
    Image.fromarray(scene(24, 40)).save(tmp_path / "moved" / "IMG 1.jpg")
    assert main([str(checkpoint), str(tmp_path / "moved"), "--out", str(tmp_path / "out")]) == 1, "neither it nor its place"
    (tmp_path / "moved").rename(tmp_path / "one")
    assert main([str(checkpoint), str(tmp_path / "one"), "--out", str(tmp_path / "out")]) == 0, "an edited one"
    assert Image.open(tmp_path / "out" / "IMG 1.jpg").size == (40, 24)


def test_a_checkpoint_that_is_damaged_ends_the_command(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    damaged = Path(shutil.copytree(checkpoint, tmp_path / "runs" / "tiny" / "epoch-001"))
    (damaged / "model.weights.h5").write_bytes(b"spoiled")
    assert main([str(damaged), str(PAGODA), "--out", str(tmp_path / "out")]) == 2
    assert "model.weights.h5 is damaged" in capsys.readouterr().err


def test_odd_files_in_a_folder_stop_nothing(
    photos: Path, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (photos / "loop.jpg").symlink_to("loop.jpg")
    assert main([str(checkpoint), str(photos), "--out", str(tmp_path / "out")]) == 0
    real = Painter.draw

    def then_deleted(self: Painter, work: Work, report: Report) -> str:
        (photos / "sticker.webp").unlink(missing_ok=True)
        return real(self, work, report)

    monkeypatch.setattr(Painter, "draw", then_deleted)
    assert main([str(checkpoint), str(photos), "--out", str(tmp_path / "other")]) == 1
    assert "sticker.webp: it is missing, or was deleted meanwhile" in capsys.readouterr().err


def test_a_run_draws_by_the_last_checkpoint_in_training(checkpoint: Path, tmp_path: Path) -> None:
    """By name, step-000500 comes after epoch-010."""
    for name, step in (("epoch-1000", 30), ("epoch-999", 20), ("step-000005", 5)):
        shutil.copytree(checkpoint, tmp_path / "run" / name)
        write_record(tmp_path / "run" / name, dataclasses.replace(read_record(checkpoint), checkpoint=name, step=step))
    shutil.copytree(tmp_path / "run" / "epoch-1000", tmp_path / "run" / "epoch-1000-before")
    assert checkpoint_folder(str(tmp_path / "run")).name == "epoch-1000", "and not by a copy"


def test_one_bad_file_stops_nothing_and_is_named(
    photos: Path, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (photos / "bad.jpg").write_bytes(PAGODA.read_bytes()[:20_000])
    (photos / "not.mp4").write_text("I am no clip.")
    assert main([str(checkpoint), str(photos / "*.*g"), str(photos / "not.mp4"), "--out", str(tmp_path / "out")]) == 1
    told = capsys.readouterr()
    assert "1 drawn, 0 already there, 2 failed: bad.jpg, not.mp4" in told.out
    assert "bad.jpg: The picture file is damaged or cut off" in told.err
    assert files(tmp_path / "out") == ["sticker.png"]


def test_size_and_sheet(checkpoint: Path, tmp_path: Path) -> None:
    assert main([str(checkpoint), str(PAGODA), "--out", str(tmp_path), "--size", "512", "--sheet"]) == 0
    assert files(tmp_path) == ["pagoda.jpg", "pagoda.sheet.png"]
    anime = Stylizer().stylize(pixels.limit_size(read_photo(PAGODA), 512), checkpoint).anime
    found = np.asarray(Image.open(tmp_path / "pagoda.jpg")).astype(int)
    assert np.abs(found - enlarge(anime, (640, 427))).mean() < 3, "JPEG changes a little"
    sheet = Image.open(tmp_path / "pagoda.sheet.png")
    assert sheet.width > 2 * 512 or sheet.height > 2 * 342


def test_a_clip_of_ten_seconds_keeps_its_sound_and_length(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "in").mkdir()
    moments = [Fraction(number, 5) for number in range(50)]
    frames = [np.roll(scene(48, 80), number, axis=1) for number in range(50)]
    source = write_clip(tmp_path / "in" / "walk.mov", frames, moments)
    command = [str(checkpoint), str(tmp_path / "in"), "--out", str(tmp_path / "out"), "--steady"]
    assert main(command) == 0
    assert "80 × 48 px, 10.0 s of 50 frames" in capsys.readouterr().out
    drawn, times, heard = read_clip(tmp_path / "out" / "walk.mp4")
    assert len(drawn) == 50 and drawn[0].shape == (48, 80, 3)
    np.testing.assert_allclose(times, [float(moment) for moment in moments], atol=0.001)
    assert seconds_of(source) == seconds_of(tmp_path / "out" / "walk.mp4") == 10
    assert heard == pytest.approx(read_clip(source)[2], abs=0.05) and heard == pytest.approx(10, abs=0.1)
    assert main(command) == 0
    assert "0 drawn, 1 already there" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["no/such/folder", str(PAGODA)], "no/such/folder holds no checkpoint: give a checkpoint's folder"),
        (["no-such-look", str(PAGODA)], "no experiment no-such-look ships: choose from background, cel"),
        (["cel", "no-such-photo.jpg"], "no-such-photo.jpg: there is no such file or folder"),
        (["cel", "."], "no photo or clip in it"),
    ],
)
def test_what_cannot_begin_is_told_at_once(
    arguments: list[str],
    sentence: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main([*arguments, "--out", str(tmp_path / "out")]) == 2
    assert sentence in capsys.readouterr().err


def test_the_command_says_what_it_takes() -> None:
    command = [sys.executable, "-m", "animegan_app.draw"]
    done = subprocess.run(
        [*command, "cel", "x", "--out", "y", "--strength", "200"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 2 and "'200' is not from 0 to 150" in done.stderr
