"""Real tiny pictures: finding, preparing and reusing them, every reason to skip one, and every error."""

import functools
import http.server
import io
import shutil
import struct
import threading
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds
from PIL import Image, ImageDraw

from train import datasets
from train.datasets import Source, open_data
from train.settings import DataConfig
from train.smooth import flatten, smooth_edges

CONFIG = DataConfig(style="Hayao", resolution=0, size=64, augment="crop")


def drawing(index: int, width: int = 80, height: int = 72) -> Image.Image:
    """Flat shapes and a little noise: edges to smooth, and no two windows alike."""
    random = np.random.default_rng(index)
    picture = Image.new("RGB", (width, height), tuple(map(int, random.integers(0, 256, 3))))
    draw = ImageDraw.Draw(picture)
    for _ in range(4):
        left, top = map(int, random.integers(0, 50, 2))
        draw.ellipse((left, top, left + 25, top + 20), fill=tuple(map(int, random.integers(0, 256, 3))), outline=(0, 0, 0))
    noisy = np.asarray(picture) + random.normal(0, 2, (height, width, 3))
    return Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8))


def fill(folder: Path, count: int, first: int = 0, suffix: str = "jpg", **size: int) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for index in range(first, first + count):
        drawing(index, **size).save(folder / f"{index:03d}.{suffix}", quality=95)
    return folder


@pytest.fixture
def layout(tmp_path: Path) -> Path:
    root = tmp_path / "animegan"
    fill(root / "Hayao" / "style", 5)
    fill(root / "Hayao" / "smooth", 5, first=50)
    fill(root / "train_photo", 7, first=100, width=96)
    return root


def prepared_sets(cache: Path) -> list[Path]:
    return sorted((cache / "animegan_pictures").glob("*/2.0.0"))


# What may be given


def test_layout_folder(layout: Path, tmp_path: Path) -> None:
    data = open_data(CONFIG, Source(data=str(layout)), tmp_path / "cache")
    assert (data.photo_count, data.anime_count) == (7, 5)
    summary = data.summary()
    assert summary["photos"] == 7 and summary["anime"] == 5
    assert summary["source"] == "Style Hayao of animegan, in AnimeGAN's layout."
    assert str(tmp_path) not in str(summary)
    element = next(iter(data.batches(2, seed=0)))
    assert set(element) == {"photo", "target", "anime", "anime_gray", "smooth", "smooth_gray"}
    for value in element.values():
        assert value.shape == (2, 64, 64, 3) and value.dtype == tf.float32
        assert float(tf.reduce_min(value)) >= -1.0 and float(tf.reduce_max(value)) <= 1.0


def test_zip_with_the_layout_one_folder_deeper_gives_the_same_pictures(
    layout: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    archive = tmp_path / "dataset.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for path in sorted(layout.rglob("*.jpg"), reverse=True):
            file.write(path, f"dataset/{path.relative_to(layout)}")
        file.writestr("__MACOSX/dataset/Hayao/style/._000.jpg", b"resource fork")
        file.writestr("dataset/Hayao/style/.DS_Store", b"")
    zipped = open_data(CONFIG, Source(data=str(archive)), tmp_path / "cache")
    folder = open_data(CONFIG, Source(data=str(layout)), tmp_path / "cache")
    assert "skipped" not in capsys.readouterr().out
    for store in ("_photos", "_anime"):
        np.testing.assert_array_equal(getattr(zipped, store).flat, getattr(folder, store).flat)


def test_two_folders_of_any_size_with_sub_folders(tmp_path: Path) -> None:
    fill(tmp_path / "photos" / "2019", 2, width=300, height=90)
    fill(tmp_path / "photos" / "2020", 1, first=1)
    fill(tmp_path / "frames", 3, suffix="png")
    source = Source.of(None, str(tmp_path / "photos"), str(tmp_path / "frames"))
    data = open_data(CONFIG, source, tmp_path / "cache")
    assert (data.photo_count, data.anime_count) == (3, 3)
    assert sorted(photo.shape for photo in data.fixed_photos(9)) == [(72, 80, 3), (90, 300, 3), (90, 300, 3)]
    assert data.summary()["source"] == "Own pictures: photos and frames."


def test_generated_needs_no_files_and_is_the_same_everywhere(tmp_path: Path) -> None:
    config = DataConfig(style="generated", resolution=0, size=64, augment="crop", holdout=2)
    one = open_data(config, Source(), tmp_path / "one")
    two = open_data(config, Source(), tmp_path / "two")
    assert one.photo_count == one.anime_count == datasets.GENERATED_COUNT - 2
    np.testing.assert_array_equal(one._anime.flat, two._anime.flat)
    np.testing.assert_array_equal(one._photos.flat, two._photos.flat)
    assert all(photo.shape == (96, 128, 3) for photo in one.held_out_photos())
    assert "generated" in one.summary()["terms"]
    assert np.any(one._anime.picture(0)[..., 3:] != one._anime.picture(0)[..., :3]), "nothing was smoothed"


def test_photos_of_monet2photo(layout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets, "MONET2PHOTO_URL", (layout / "train_photo" / "100.jpg").as_uri())
    real = datasets._monet2photo

    def mocked(*args: Any) -> Iterator[np.ndarray]:
        with tfds.testing.mock_data(num_examples=4):  # only here: the anime set is prepared and read for real
            return iter(list(real(*args)))

    monkeypatch.setattr(datasets, "_monet2photo", mocked)
    config = DataConfig(style="Hayao", photos="monet2photo", resolution=64, size=64, flatten=0.4)
    data = open_data(config, Source(data=str(layout)), tmp_path / "cache")
    assert (data.photo_count, data.anime_count) == (4, 5)
    assert all(photo.shape == (64, 64, 3) for photo in data.fixed_photos(4))
    assert "monet2photo" in data.summary()["source"] and "Flickr" in data.summary()["terms"]
    frames_only = open_data(config, Source(anime=layout / "Hayao" / "style"), tmp_path / "cache")
    assert frames_only.photo_count == 4


@pytest.fixture
def web(layout: Path, tmp_path: Path) -> Iterator[str]:
    served = tmp_path / "web"
    served.mkdir()
    with zipfile.ZipFile(served / "dataset.zip", "w") as file:
        for path in layout.rglob("*.jpg"):
            file.write(path, f"dataset/{path.relative_to(layout)}")
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(served))
    handler.log_message = lambda *_: None  # type: ignore[attr-defined]
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_official_release_is_downloaded_once(web: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets, "OFFICIAL_URL", f"{web}/dataset.zip")
    data = open_data(CONFIG, Source(data="official"), tmp_path / "cache")
    assert (data.photo_count, data.anime_count) == (7, 5)
    assert "non-commercial" in data.summary()["terms"]
    monkeypatch.setattr(datasets, "OFFICIAL_URL", "http://127.0.0.1:1/dataset.zip")
    assert open_data(CONFIG, Source(data="official"), tmp_path / "cache").photo_count == 7


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/dataset.zip", "{web}/missing.zip"])
def test_official_release_out_of_reach(url: str, web: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets, "OFFICIAL_URL", url.format(web=web))
    with pytest.raises(ValueError, match=r"cannot be reached .* download it elsewhere and pass --data dataset\.zip"):
        open_data(CONFIG, Source(data="official"), tmp_path / "cache")


def test_monet2photo_out_of_reach(layout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets, "MONET2PHOTO_URL", "http://127.0.0.1:1/monet2photo.zip")
    config = DataConfig(style="Hayao", photos="monet2photo", resolution=64, size=64)
    with pytest.raises(ValueError, match=r"monet2photo.zip cannot be reached .* data.photos=folder"):
        open_data(config, Source(data=str(layout)), tmp_path / "cache")


# What may be wrong


@pytest.mark.parametrize(
    ("style", "message"),
    [
        ("Hayo", r"no folder Hayo/style in .*: found styles Hayao, Paprika; did you mean Hayao\?"),
        ("zzz", r"found styles Hayao, Paprika; choose from Hayao, Paprika"),
    ],
)
def test_unknown_style_names_those_found(style: str, message: str, layout: Path, tmp_path: Path) -> None:
    fill(layout / "Paprika" / "style", 1)
    with pytest.raises(ValueError, match=message):
        open_data(DataConfig(style=style), Source(data=str(layout)), tmp_path / "cache")


def test_folders_and_zips_that_are_not_in_the_layout(layout: Path, tmp_path: Path) -> None:
    def assert_refused(data: Path, message: str) -> None:
        with pytest.raises(ValueError, match=message):
            open_data(CONFIG, Source(data=str(data)), tmp_path / "cache")

    assert_refused(tmp_path / "nothing", "does not exist: pass --data a folder or zip")
    (tmp_path / "text.zip").write_text("no zip")
    assert_refused(tmp_path / "text.zip", "neither a folder nor a readable zip")
    (tmp_path / "empty").mkdir()
    assert_refused(tmp_path / "empty", "nor any other STYLE/style")
    shutil.rmtree(layout / "train_photo")
    assert_refused(layout, "no folder train_photo in .*, only Hayao")
    (layout / "train_photo").mkdir()
    assert_refused(layout, "no pictures in .*train_photo: the folder is empty")
    (layout / "train_photo" / "notes.txt").write_text("no picture")
    assert_refused(layout, "no picture in .* can be used: 1 unreadable: notes.txt")
    assert len(prepared_sets(tmp_path / "cache")) == 1, "only the anime set may be taken as whole"


def test_contradictions_on_the_command_line(layout: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="choose one"):
        Source.of("data", "photos", None)
    with pytest.raises(ValueError, match="--photos DIR needs --anime DIR"):
        Source.of(None, "photos", None)
    photos, anime = layout / "train_photo", layout / "Hayao" / "style"
    monet = DataConfig(photos="monet2photo")
    for config, source, message in [
        (CONFIG, Source(), "no pictures given for style Hayao: pass --data DIR"),
        (CONFIG, Source(anime=anime), "--anime DIR needs --photos DIR, or data.photos=monet2photo"),
        (CONFIG, Source(photos=photos, anime=layout / "missing"), "--anime .*missing is not a folder"),
        (CONFIG, Source(photos=layout, anime=anime), "hold each other"),
        (CONFIG, Source(photos=anime, anime=anime), "hold each other"),
        (monet, Source(photos=photos, anime=anime), "leave --photos out"),
    ]:
        with pytest.raises(ValueError, match=message):
            open_data(config, source, tmp_path / "cache")


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
    monkeypatch.setattr(datasets, "MAXIMUM_BYTES", 50_000)
    for index, mode in enumerate(["L", "LA", "1", "I"]):
        picture.convert("L").convert(mode).save(folder / f"gray-{index}.png")
    Image.fromarray(np.asarray(picture, np.uint16)[..., 0] * 256).save(folder / "gray-4.png")
    picture.convert("L").convert("RGB").save(folder / "gray-5.jpg")
    picture.convert("L").convert("P").save(folder / "gray-6.gif")
    picture.convert("CMYK").save(folder / "print.jpg")
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
        "skipped anime: 1 CMYK: print.jpg",
        "skipped anime: 7 gray: gray-0.png, gray-1.png, gray-2.png, gray-3.png, gray-4.png, ...",
        "skipped anime: 1 larger than 0 MB: heavy.bin",
        "skipped anime: 2 more than 80 megapixels: bomb.png, large.png",
        "skipped anime: 1 smaller than 64 pixels: tiny.png",
        "skipped anime: 3 unreadable: cut.jpg, readme.txt, video.mp4",
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
    file = fill(tmp_path / "photos", 1, width=64, height=64) / "000.jpg"
    example = datasets._prepare("photo", 64, 0.0, file.read_bytes)
    assert example == {"photo": file.read_bytes()}
    resized = datasets._prepare("photo", 0, 0.0, (fill(tmp_path / "large", 1, width=600, height=550) / "000.jpg").read_bytes)
    assert isinstance(resized, dict) and Image.open(io.BytesIO(resized["photo"])).format == "PNG"


def test_the_versions_of_a_picture_come_from_one_decode(layout: Path, tmp_path: Path) -> None:
    config = DataConfig(style="Hayao", resolution=0, size=64, flatten=0.4)
    data = open_data(config, Source(data=str(layout)), tmp_path / "cache")
    flat = functools.partial(flatten, strength=0.4)
    for store, folder, version in (
        (data._anime, layout / "Hayao" / "style", smooth_edges),
        (data._photos, layout / "train_photo", flat),
    ):
        stored = [store.picture(index) for index in range(len(store.sizes))]
        for path in folder.iterdir():
            original = np.asarray(Image.open(path))
            both = np.dstack([original, version(original)])
            assert np.any(both[..., :3] != both[..., 3:]) and any(np.array_equal(both, picture) for picture in stored)


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
        folder.rename(folder.with_name("incomplete.ABCDEF_2.0.0"))
        next(folder.with_name("incomplete.ABCDEF_2.0.0").glob("*.tfrecord*")).write_bytes(b"half")
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
