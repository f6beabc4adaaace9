"""Real tiny pictures: preparing and reusing them, and every reason to skip one."""

import functools
import io
import shutil
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from folders import drawing, fill, fill_layout
from PIL import Image

from train import datasets, sources, targets
from train.datasets import open_data
from train.settings import DataConfig
from train.smooth import smooth_edges
from train.sources import Source

CONFIG = DataConfig(style="Hayao", resolution=0, size=64, augment="crop")


@pytest.fixture
def layout(tmp_path: Path) -> Path:
    return fill_layout(tmp_path / "animegan")


def prepared_sets(cache: Path) -> list[Path]:
    return sorted((cache / "animegan_pictures").glob("*/3.0.0"))


def test_a_cache_that_cannot_be_written(layout: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ValueError, match="choose another --cache"):
        open_data(CONFIG, Source(data=str(layout)), tmp_path / "file")


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
        listing = sources.Listing("", {}, [])
        config = datasets.PictureConfig(
            name="one", kind="photo", resolution=resolution, target="", cut_bars=False, listing=listing
        )
        result = datasets._prepare(config, file.read_bytes)
        assert not isinstance(result, str) and list(result.example) == ["photo"]
        return result.example["photo"]

    file = fill(tmp_path / "photos", 1, width=64, height=64) / "000.jpg"
    assert prepared(file, 64) == file.read_bytes()
    resized = prepared(fill(tmp_path / "large", 1, width=600, height=550) / "000.jpg", 0)
    assert Image.open(io.BytesIO(resized)).format == "PNG"


def test_the_versions_of_a_picture_come_from_one_decode(layout: Path, tmp_path: Path) -> None:
    config = DataConfig(style="Hayao", resolution=0, size=64, target="flat | light")
    data = open_data(config, Source(data=str(layout)), tmp_path / "cache")
    painted, unpainted = (functools.partial(paint, target="flat | light") for paint in (targets.paint, targets.unpaint))
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


# Prepared once


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
