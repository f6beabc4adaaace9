"""Real tiny pictures: preparing and reusing them, and every reason to skip one."""

import contextlib
import functools
import io
import os
import resource
import shutil
import signal
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image, ImageCms

from support.folders import drawing, fill, fill_layout
from support.pictures import tiff
from train import batches, datasets, processes, sources, targets
from train.datasets import open_data
from train.settings import DataConfig
from train.signs import make_signs
from train.smooth import smooth_edges
from train.sources import Source

CONFIG = DataConfig(style="Hayao", resolution=0, size=64, augment="crop")


@pytest.fixture
def layout(tmp_path: Path) -> Path:
    return fill_layout(tmp_path / "animegan")


def prepared_sets(cache: Path) -> list[Path]:
    return sorted((cache / "animegan_pictures").glob("*/3.0.0"))


# What the system refuses


def test_a_cache_that_cannot_be_written(layout: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(
        ValueError, match=r"cannot prepare pictures in .*file.*: a file is where a folder should be: choose another --cache"
    ):
        open_data(CONFIG, Source(data=str(layout)), tmp_path / "file")


@contextlib.contextmanager
def limited(kind: int, value: int) -> Iterator[None]:
    before = resource.getrlimit(kind)
    resource.setrlimit(kind, (value, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(kind, before)


def assert_nothing_half(cache: Path, source: Source) -> None:
    """Nothing is left behind, and preparing again works."""
    assert not list(cache.rglob("*incomplete*")) and not list(cache.rglob("*.tfrecord*"))
    assert open_data(CONFIG, source, cache).photo_count == 7


def test_a_disk_that_takes_no_more(layout: Path, tmp_path: Path) -> None:
    source, cache = Source(data=str(layout)), tmp_path / "cache"
    with limited(resource.RLIMIT_FSIZE, 20_000):
        with pytest.raises(
            ValueError,
            match=r"cache: the file is larger than this system allows: raise .*, or choose another --cache",
        ):
            open_data(CONFIG, source, cache)
    assert_nothing_half(cache, source)


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0, reason="only root mounts a disk")
def test_a_full_disk(layout: Path, tmp_path: Path) -> None:
    source, cache = Source(data=str(layout)), tmp_path / "cache"
    cache.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=20k", "none", cache], capture_output=True).returncode:
        pytest.skip("not even root mounts a disk here")
    try:
        with pytest.raises(ValueError, match="cache: the disk is full: free some space, or choose another --cache"):
            open_data(CONFIG, source, cache)
        subprocess.run(["mount", "-o", "remount,size=9m", cache], check=True)
        assert_nothing_half(cache, source)
    finally:
        subprocess.run(["umount", cache], check=True)


def test_too_many_open_files(layout: Path, tmp_path: Path) -> None:
    listing = sources.locate(CONFIG, Source(data=str(layout)), tmp_path).photos
    assert listing is not None
    with limited(resource.RLIMIT_NOFILE, 3):
        limit = r"100.jpg: too many files are open: raise the limit with ulimit -n 4096, or take it out"
        with pytest.raises(ValueError, match=limit):
            listing.pictures["100.jpg"]()


def test_a_picture_that_is_gone_when_its_turn_comes(layout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, source, cache = datasets.locate, Source(data=str(layout)), tmp_path / "cache"

    def then_deleted(*arguments: Any) -> Any:
        found = real(*arguments)
        (layout / "Hayao" / "style" / "003.jpg").rename(tmp_path / "003.jpg")
        return found

    with monkeypatch.context() as patch:
        patch.setattr(datasets, "locate", then_deleted)
        with pytest.raises(ValueError, match=r"^\S*003.jpg: it is missing, or was deleted meanwhile: take it out"):
            open_data(CONFIG, source, cache)
    assert_nothing_half(cache, source)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_permissions(layout: Path, tmp_path: Path) -> None:
    source, cache = Source(data=str(layout)), tmp_path / "cache"
    for path, message in [
        (layout / "train_photo" / "101.jpg", r"101.jpg: access is denied: change its permissions, or take it out"),
        (layout / "train_photo", r"train_photo: access is denied: change its permissions, or choose other"),
    ]:
        mode = path.stat().st_mode
        path.chmod(0)
        with pytest.raises(ValueError, match=message):
            open_data(CONFIG, source, cache)
        path.chmod(mode)
    assert open_data(CONFIG, source, cache).photo_count == 7


def truncate(file: Path) -> None:
    os.truncate(file, file.stat().st_size // 2)


@pytest.mark.parametrize("spoil", [truncate, Path.unlink, lambda file: file.write_bytes(b"")], ids=["cut", "gone", "empty"])
@pytest.mark.parametrize("name", ["*.tfrecord*", "dataset_info.json"])
def test_a_prepared_set_that_was_spoilt(spoil: Callable[[Path], None], name: str, layout: Path, tmp_path: Path) -> None:
    source, cache = Source(data=str(layout)), tmp_path / "cache"
    open_data(CONFIG, source, cache)
    folder = prepared_sets(cache)[0]
    spoil(next(folder.glob(name)))
    with pytest.raises(ValueError, match=f"^{folder.parent}.*delete that folder, and it is made again") as caught:
        open_data(CONFIG, source, cache)
    assert "{{" not in str(caught.value)
    shutil.rmtree(folder)
    assert open_data(CONFIG, source, cache).anime_count == 5


@pytest.mark.slow
def test_killed_while_preparing(layout: Path, tmp_path: Path) -> None:
    source, cache = Source(data=str(layout)), tmp_path / "cache"
    code = f"""
import os, signal
from pathlib import Path
from train import datasets, sources
from train.settings import DataConfig
datasets.smooth_edges = lambda image: os.kill(os.getpid(), signal.SIGKILL)
datasets.open_data(DataConfig(resolution=0, size=64), sources.Source(data={str(layout)!r}), Path({str(cache)!r}))
"""
    assert subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == -signal.SIGKILL
    assert list(cache.rglob("*incomplete*")) and not prepared_sets(cache)
    assert open_data(CONFIG, source, cache).anime_count == 5


def test_what_a_killed_try_painted_is_not_painted_again(
    layout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, cache = Source(data=str(layout)), tmp_path / "cache"
    config, painted, start = replace(CONFIG, target="flat(0.02) | light"), [], targets.start

    def killed(photo: np.ndarray, target: str) -> np.ndarray:
        painted.append(photo)
        if len(painted) == 4:
            raise KeyboardInterrupt
        return start(photo, target)

    monkeypatch.setattr(targets, "start", killed)
    monkeypatch.setattr(processes, "cores", lambda: 1)
    with pytest.raises(KeyboardInterrupt):
        open_data(config, source, cache)
    other = next((cache / "begun").rglob("*.png")).with_name("of another set.png")
    other.touch()
    data = open_data(config, source, cache)
    assert data.photo_count == 7 and len(painted) == 4 + (7 - 3)
    assert list((cache / "begun").rglob("*.png")) == [other], "another set's are its own"
    assert open_data(config, source, tmp_path / "other")._photos.flat.tobytes() == data._photos.flat.tobytes()


def test_a_containers_quota_bounds_how_much_is_done_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: range(64), raising=False)
    monkeypatch.setattr(processes, "QUOTA", tmp_path / "cpu.max")
    assert processes.cores() == 64
    for said, expected in (("max 100000\n", 64), ("800000 100000\n", 8), ("50000 100000\n", 1), ("9900000 100000\n", 64)):
        (tmp_path / "cpu.max").write_text(said)
        assert processes.cores() == expected


# Which pictures are taken


def huge_png(width: int, height: int) -> bytes:
    """A valid header and no pixels: reading on would need the memory that the bound protects."""
    chunks = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0), b"IDAT"
    framed = [struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk)) for chunk in chunks]
    return b"\x89PNG\r\n\x1a\n" + b"".join(framed)


def test_every_reason_to_skip_is_counted_and_named(
    layout: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, picture = layout / "Hayao" / "style", drawing(7)
    monkeypatch.setattr(sources, "MAXIMUM_BYTES", 50_000)
    for index, mode in enumerate(["L", "LA", "1", "I"]):
        picture.convert("L").convert(mode).save(folder / f"gray-{index}.png")
    Image.fromarray(np.asarray(picture, np.uint16)[..., 0] * 256).save(folder / "gray-4.png")
    picture.convert("L").convert("RGB").save(folder / "gray-5.jpg")
    picture.convert("L").convert("P").save(folder / "gray-6.gif")
    drawing(1, width=200, height=63).save(folder / "tiny.png")
    content = io.BytesIO()
    picture.save(content, "JPEG")
    (folder / "cut.jpg").write_bytes(content.getvalue()[:900])
    (folder / "video.mp4").write_bytes(b"\x00\x00\x00\x18ftypmp42")
    (folder / "readme.txt").write_text("no picture")
    (folder / "bomb.png").write_bytes(huge_png(60_000, 60_000))
    (folder / "large.png").write_bytes(huge_png(10_000, 8_001))
    (folder / "heavy.bin").write_bytes(bytes(50_001))
    (folder / ".hidden.jpg").write_bytes(b"")
    source, cache = Source(data=str(layout)), tmp_path / "cache"
    assert open_data(CONFIG, source, cache).anime_count == 5
    assert capsys.readouterr().out.splitlines() == [
        "skipped anime: 1 cut off: cut.jpg",
        "skipped anime: 7 gray: gray-0.png, gray-1.png, gray-2.png, gray-3.png, gray-4.png, ...",
        "skipped anime: 1 larger than 0 MB: heavy.bin",
        "skipped anime: 2 more than 80 megapixels: bomb.png, large.png",
        "skipped anime: 2 not a picture in a known format: readme.txt, video.mp4",
        "skipped anime: 1 smaller than 64 pixels: tiny.png",
    ]
    assert open_data(CONFIG, source, cache).anime_count == 5
    assert not capsys.readouterr().out, "said once, when the set is made"


def prepared_alone(content: bytes, resolution: int = 0, cut_bars: bool = False) -> datasets._Prepared | str:
    config = datasets.PictureConfig(
        name="one",
        kind="photo",
        resolution=resolution,
        enlarged=0.0,
        target="",
        cut_bars=cut_bars,
        listing=sources.Listing("", {}, []),
        begun=Path(),
    )
    return datasets._prepare(config, datasets._painter(1), lambda: content)


def encoded(picture: Image.Image, kind: str = "JPEG", **options: Any) -> bytes:
    content = io.BytesIO()
    picture.save(content, kind, **options)
    return content.getvalue()


def pixels_of(result: datasets._Prepared | str) -> np.ndarray:
    assert not isinstance(result, str), result
    return np.asarray(Image.open(io.BytesIO(result.example["photo"])))


def odd_exif() -> bytes:
    """Orientation 6 and an exposure bias of -1/0, which is read as no number and cannot be written again."""
    entries = struct.pack("<HHLLHHLL", 0x0112, 3, 1, 6, 0x9204, 10, 1, 38)
    return b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<H", 2) + entries + bytes(4) + struct.pack("<ll", -1, 0)


def test_good_photos_of_odd_programs_are_taken() -> None:
    photo = drawing(3)
    plain = np.asarray(Image.open(io.BytesIO(encoded(photo))))
    np.testing.assert_array_equal(pixels_of(prepared_alone(encoded(photo, exif=odd_exif()))), np.rot90(plain, -1))
    for lost in (1, 2):
        np.testing.assert_array_equal(pixels_of(prepared_alone(encoded(photo)[:-lost])), plain)
    np.testing.assert_array_equal(
        pixels_of(prepared_alone(encoded(photo, "MPO", save_all=True, append_images=[drawing(4)]))), plain
    )
    deep = np.asarray(photo, np.uint16) * 257
    for suffix in (".png", ".tiff"):
        content = cv2.imencode(suffix, deep[..., ::-1])[1].tobytes()
        assert np.abs(pixels_of(prepared_alone(content)).astype(int) - np.asarray(photo)).max() <= 1
    palette = photo.quantize(32)
    clear = np.asarray(palette.convert("RGB")).copy()
    clear[np.asarray(palette) == 5] = 255
    np.testing.assert_array_equal(pixels_of(prepared_alone(encoded(palette, "PNG", transparency=5))), clear)
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()  # none for CMYK, so that it cannot be used
    for options in ({}, {"icc_profile": profile}):
        printed = pixels_of(prepared_alone(encoded(photo.convert("CMYK"), quality=95, **options)))
        assert np.abs(printed.astype(int) - np.asarray(photo)).mean() < 5


def test_causes_are_the_true_ones() -> None:
    photo = drawing(3)
    many = encoded(photo, progressive=True)
    last = many.rindex(b"\xff\xda")
    for content, reason in [
        (
            many[:-2] + many[last:-2] * 3000 + many[-2:],
            "a JPEG of 2000 scans or segments or more, which only slow its reader down",
        ),
        (encoded(photo)[:-20], "cut off"),
        (encoded(photo, "PNG")[:-200], "cut off"),
        (encoded(photo, "WEBP")[:-200], datasets.UNDECODABLE),
        (encoded(photo, "AVIF")[:-200], datasets.UNDECODABLE),
        (tiff(2_000, 1_000_000), datasets.UNDECODABLE),
        (b"", "empty"),
        (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS pointer, to be replaced by git lfs pull"),
        (b"\0\0\0\x18ftypheic" + bytes(99), "HEIC, to be saved as JPEG first"),
        (b"<html>", "not a picture in a known format"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 99 99\n", "not a picture in a known format"),
    ]:
        assert prepared_alone(content) == reason


@pytest.mark.slow
def test_large_jpegs_are_decoded_at_a_fraction() -> None:
    large = Image.fromarray(np.asarray(drawing(3, 512, 512))).resize((9600, 9000), Image.Resampling.BICUBIC)
    pixels = pixels_of(prepared_alone(encoded(large, quality=90), resolution=256))  # more pixels than are decoded
    expected = np.asarray(datasets._fit(large, 256))
    assert pixels.shape == (256, 256, 3) and np.abs(pixels.astype(int) - expected).mean() < 2


def test_black_bars_are_told_and_cut_on_request(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    frames, photos = tmp_path / "frames", fill(tmp_path / "photos", 2)
    frames.mkdir()
    for index, (width, height) in enumerate([(0, 20), (30, 0), (30, 20), (0, 0)]):
        canvas = Image.new("RGB", (120 + 2 * width, 90 + 2 * height), (4, 4, 4))
        canvas.paste(drawing(index, 120, 90), (width, height))
        canvas.save(frames / f"{index}.jpg", quality=90)
    night = np.asarray(drawing(7, 120, 90)).copy()
    night[:30] = 0  # a dark sky alone is no bar
    Image.fromarray(night).save(frames / "night.png")
    source, cache = Source(photos=photos, anime=frames), tmp_path / "cache"
    assert open_data(CONFIG, source, cache).anime_count == 5
    told = "3 pictures would be learnt: cut them off with --set data.cut_bars=true (0.jpg, 1.jpg, 2.jpg)"
    assert capsys.readouterr().out == f"anime: black bars at the edges of {told}\n"
    cut = open_data(replace(CONFIG, cut_bars=True), source, cache)
    assert "black bars at the edges of 3 pictures were cut off" in capsys.readouterr().out
    for index in range(cut.anime_count):
        picture = cut._anime.picture(index)[..., :3]
        assert picture.shape[0] in range(84, 91) and picture.shape[1] in range(114, 121)


@pytest.mark.parametrize("thickness", [1, 3, 4, 9, 30])
@pytest.mark.parametrize("cut_bars", [False, True])
def test_a_thin_light_in_the_dark_is_no_picture_between_bars(thickness: int, cut_bars: bool) -> None:
    for across in (False, True):
        night = np.zeros((200, 300, 3), np.uint8)
        turned = night.transpose(1, 0, 2) if across else night
        start = (len(turned) - thickness) // 2
        turned[start : start + thickness] = (250, 200, 90)
        content = encoded(Image.fromarray(night), "PNG")
        assert pixels_of(prepared_alone(content, cut_bars=cut_bars)).shape == (200, 300, 3)


def test_pictures_of_the_same_bytes_count_once(layout: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copy(layout / "train_photo" / "101.jpg", layout / "train_photo" / "copy.jpg")
    assert open_data(CONFIG, Source(data=str(layout)), tmp_path / "cache").photo_count == 7
    assert capsys.readouterr().out == "skipped photo: 1 the same as another: copy.jpg\n"


@pytest.mark.slow
def test_a_name_that_is_no_text(layout: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copy(layout / "train_photo" / "101.jpg", os.fsencode(layout) + b"/train_photo/\xff.jpg")
    (layout / "train_photo" / os.fsdecode(b"\xfe.txt")).write_text("no picture")
    assert open_data(CONFIG, Source(data=str(layout)), tmp_path / "cache").photo_count == 7
    capsys.readouterr().out.encode("utf-8")


def test_modes_orientation_and_animation(tmp_path: Path) -> None:
    picture = drawing(3)
    frames, photos = tmp_path / "frames", fill(tmp_path / "photos", 1)
    frames.mkdir()
    clear = picture.convert("RGBA")
    clear.putalpha(Image.new("L", picture.size, 0))
    clear.paste(picture.crop((0, 0, 40, 72)), (0, 0))
    expected = {"clear": np.asarray(Image.alpha_composite(Image.new("RGBA", clear.size, "white"), clear).convert("RGB"))}
    clear.save(frames / "clear.png")
    palette = picture.quantize(64)
    palette.save(frames / "palette.png")
    expected["palette"] = np.asarray(palette.convert("RGB"))
    palette.save(frames / "moving.gif", save_all=True, append_images=[drawing(4).quantize(64)])
    expected["moving"] = expected["palette"]
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise
    picture.save(frames / "turned.jpg", quality=95, exif=exif)
    turned = np.asarray(Image.open(frames / "turned.jpg").transpose(Image.Transpose.ROTATE_270))
    expected["turned"] = turned
    data = open_data(CONFIG, Source(photos=photos, anime=frames), tmp_path / "cache")
    read = [data._anime.picture(index)[..., :3] for index in range(data.anime_count)]
    assert len(read) == 4
    for name, wanted in expected.items():
        assert any(np.array_equal(picture, wanted) for picture in read), name


@pytest.mark.parametrize(
    ("size", "resolution", "fitted"),
    [
        ((300, 100), 0, (300, 100)),
        ((900, 100), 0, (400, 100)),
        ((100, 900), 0, (100, 400)),
        ((1024, 2048), 0, (512, 1024)),
        ((6000, 1024), 0, (2048, 512)),
        ((80, 72), 256, (256, 256)),
        ((533, 288), 256, (256, 256)),
        ((256, 256), 256, (256, 256)),
    ],
)
def test_size_of_a_prepared_picture(size: tuple[int, int], resolution: int, fitted: tuple[int, int]) -> None:
    picture = Image.new("RGB", size)
    result = datasets._fit(picture, resolution)
    assert result.size == fitted and (result is picture) == (size == fitted)


def test_the_centre_is_kept_and_shrinking_does_not_alias() -> None:
    stripes = np.zeros((1200, 1800, 3), np.uint8)
    stripes[:, ::2] = 255
    stripes[:, :300] = stripes[:, 1500:] = (255, 0, 0)  # cut off with the sides
    fitted = np.asarray(datasets._fit(Image.fromarray(stripes), 256), np.int64)
    assert np.abs(fitted[:, 4:-4] - 127).max() <= 3


def test_a_jpeg_of_the_right_size_is_kept_byte_by_byte(tmp_path: Path) -> None:
    def prepared(file: Path, resolution: int) -> bytes:
        result = prepared_alone(file.read_bytes(), resolution)
        assert not isinstance(result, str) and list(result.example) == ["photo"]
        return result.example["photo"]

    file = fill(tmp_path / "photos", 1, width=64, height=64) / "000.jpg"
    assert prepared(file, 64) == file.read_bytes()
    resized = prepared(fill(tmp_path / "large", 1, width=600, height=550) / "000.jpg", 0)
    assert Image.open(io.BytesIO(resized)).format == "PNG"


def test_the_versions_of_a_picture_come_from_one_decode(
    layout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batches, "make_signs", functools.partial(make_signs, count=1))
    config = DataConfig(style="Hayao", resolution=0, size=64, target="flat | light", redrawn=0.5)
    open_data(config, Source(data=str(layout)), tmp_path / "cache")
    sets = sorted((tmp_path / "cache" / "animegan_pictures").iterdir())
    config = replace(config, target="flat | dusk | light(1.2)")
    data = open_data(config, Source(data=str(layout)), tmp_path / "cache")
    assert sorted((tmp_path / "cache" / "animegan_pictures").iterdir()) == sets, "nothing slow is done again"
    painted, unpainted = (functools.partial(paint, target=config.target) for paint in (targets.paint, targets.unpaint))
    for store, folder, versions in (
        (data._anime, layout / "Hayao" / "style", [smooth_edges, unpainted]),
        (data._photos, layout / "train_photo", [painted]),
    ):
        stored = [store.picture(index) for index in range(len(store.sizes))]
        for path in folder.iterdir():
            original = np.asarray(Image.open(path))
            made = [version(original) for version in versions]
            assert all(np.any(original != version) for version in made)
            assert any(np.array_equal(np.dstack([original, *made]), picture) for picture in stored)
    frames = open_data(replace(config, redrawn=0.0, signs=0.1), Source(data=str(layout)), tmp_path / "cache")._anime
    assert frames.picture(0).shape[-1] == 6, "nothing is undone where no frame is redrawn"


def test_a_share_of_the_photos_is_enlarged_before_it_is_painted(layout: Path, tmp_path: Path) -> None:
    folder = layout / "train_photo"

    def photos(share: float, drawings: Path | None = None) -> list[np.ndarray]:
        config = DataConfig(resolution=0, size=64, target="" if drawings else "light", enlarged=share)
        source = Source(photos=folder, drawings=drawings) if drawings else Source(data=str(layout))
        data = open_data(config, source, tmp_path / "cache")
        if data._anime:
            assert {min(data._anime.picture(index).shape[:2]) for index in range(data.anime_count)} == own
        return [data._photos.picture(index) for index in range(data.photo_count)]

    copied = Path(shutil.copytree(folder, tmp_path / "drawings"))
    own = {min(Image.open(path).size) for path in folder.iterdir()}
    assert len(own) == 1 and own < {*range(512)}
    shorter = {share: [min(photo.shape[:2]) for photo in photos(share)] for share in (0.0, 0.5, 1.0)}
    assert {*shorter[0.0]} == own and {*shorter[1.0]} == {512} and {*shorter[0.5]} == {*own, 512}
    assert shorter[0.5] == [min(photo.shape[:2]) for photo in photos(0.5)], "the same ones again"
    assert shorter[0.5] == [min(photo.shape[:2]) for photo in photos(0.5, copied)], "drawings too"
    for photo in photos(0.5):
        np.testing.assert_array_equal(targets.paint(photo[..., :3], "light"), photo[..., 3:])


# Prepared once


@pytest.mark.slow
def test_an_unchanged_folder_is_reused_and_a_changed_one_rebuilt(
    layout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, cache = Source(data=str(layout)), tmp_path / "cache"
    first = open_data(CONFIG, source, cache)
    assert len(prepared_sets(cache)) == 2

    def no_work(image: np.ndarray) -> np.ndarray:
        raise AssertionError("smoothed again")

    with monkeypatch.context() as patch:
        patch.setattr(datasets, "smooth_edges", no_work)
        again = open_data(CONFIG, source, cache)
    np.testing.assert_array_equal(first._anime.flat, again._anime.flat)
    assert len(prepared_sets(cache)) == 2
    drawing(99).save(layout / "Hayao" / "style" / "000.jpg", quality=95)
    changed = open_data(CONFIG, source, cache)
    assert len(prepared_sets(cache)) == 3 and changed.anime_count == 5
    assert not np.array_equal(first._anime.flat, changed._anime.flat)
    (layout / "train_photo" / "100.jpg").unlink()
    assert open_data(CONFIG, source, cache).photo_count == 6
    assert len(prepared_sets(cache)) == 4
    square = DataConfig(style="Hayao", resolution=64, size=64)
    assert open_data(square, source, cache).fixed_photos(1)[0].shape == (64, 64, 3)
    assert len(prepared_sets(cache)) == 6
    assert open_data(DataConfig(style="Hayao", resolution=0, size=32, holdout=1), source, cache).photo_count == 5
    assert len(prepared_sets(cache)) == 6, "size, augmentation and holdout ask for no other set"


def test_the_same_photos_alone_are_not_prepared_again(layout: Path, tmp_path: Path) -> None:
    open_data(CONFIG, Source(data=str(layout)), tmp_path / "cache")
    open_data(CONFIG, Source(photos=layout / "train_photo"), tmp_path / "cache")
    assert len(prepared_sets(tmp_path / "cache")) == 2, "photos and frames"


def test_copied_and_zipped_pictures_are_not_prepared_again(layout: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    open_data(CONFIG, Source(data=str(layout)), cache)
    shutil.copytree(layout, tmp_path / "copy", copy_function=shutil.copy)  # files are of today
    archive = shutil.make_archive(str(tmp_path / "packed"), "zip", layout)
    for data in (str(tmp_path / "copy"), archive):
        assert open_data(CONFIG, Source(data=data), cache).photo_count == 7
        assert len(prepared_sets(cache)) == 2
    frame = tmp_path / "copy" / "Hayao" / "style" / "000.jpg"
    before, content = frame.stat(), bytearray(frame.read_bytes())
    content[-100] ^= 1
    frame.write_bytes(content)
    os.utime(frame, ns=(before.st_atime_ns, before.st_mtime_ns))
    open_data(CONFIG, Source(data=str(tmp_path / "copy")), cache)
    assert len(prepared_sets(cache)) == 3, "another content is noticed whatever its time says"


def test_an_interrupted_build_is_not_taken_as_whole(layout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, cache = Source(data=str(layout)), tmp_path / "cache"
    calls = []

    def interrupted(image: np.ndarray) -> np.ndarray:
        calls.append(image)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return smooth_edges(image)

    with monkeypatch.context() as patch:
        patch.setattr(datasets, "smooth_edges", interrupted)
        with pytest.raises(KeyboardInterrupt):
            open_data(CONFIG, source, cache)
    assert not prepared_sets(cache) and not list((cache / "animegan_pictures").glob("*/incomplete*"))
    whole = open_data(CONFIG, source, cache)
    assert whole.anime_count == 5
    for folder in prepared_sets(cache):  # what a kill leaves behind
        folder.rename(folder.with_name("incomplete.ABCDEF_3.0.0"))
        next(folder.with_name("incomplete.ABCDEF_3.0.0").glob("*.tfrecord*")).write_bytes(b"half")
    np.testing.assert_array_equal(open_data(CONFIG, source, cache)._anime.flat, whole._anime.flat)


def test_another_process_may_finish_the_same_set_first(
    layout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = Source(data=str(layout))
    whole = open_data(CONFIG, source, tmp_path / "theirs")

    def meanwhile(image: np.ndarray) -> np.ndarray:
        shutil.copytree(tmp_path / "theirs", tmp_path / "ours", dirs_exist_ok=True)
        return smooth_edges(image)

    monkeypatch.setattr(datasets, "smooth_edges", meanwhile)
    data = open_data(CONFIG, source, tmp_path / "ours")
    np.testing.assert_array_equal(data._anime.flat, whole._anime.flat)


def test_the_default_cache(layout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "tfds"))
    open_data(CONFIG, Source(data=str(layout)))
    assert len(prepared_sets(tmp_path / "tfds")) == 2


@pytest.mark.slow
def test_many_pictures_are_painted_in_other_processes_alike() -> None:
    few, many = datasets._painter(1), datasets._painter(datasets.FEWEST_FOR_PROCESSES)
    assert few(os.getpid) == os.getpid() != many(os.getpid)
    photo = np.random.default_rng(0).integers(0, 255, (64, 80, 3), np.uint8)
    np.testing.assert_array_equal(*(paint(targets.paint, photo, "light | lines") for paint in (few, many)))
