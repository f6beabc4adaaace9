"""Where the pictures to train on are found, and every error when they are not."""

import functools
import http.server
import os
import shutil
import tarfile
import threading
import unicodedata
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from tensorflow_datasets.image_classification import cycle_gan

from support.folders import fill, fill_layout
from train import sources, targets
from train.datasets import open_data
from train.settings import DataConfig
from train.sources import Source

CONFIG = DataConfig(style="Hayao", resolution=0, size=64, augment="crop")


@pytest.fixture
def layout(tmp_path: Path) -> Path:
    return fill_layout(tmp_path / "animegan")


def prepared_sets(cache: Path) -> list[Path]:
    return sorted((cache / "animegan_pictures").glob("*/3.0.0"))


# What may be given


def test_layout_folder(layout: Path, tmp_path: Path) -> None:
    data = open_data(CONFIG, Source(data=str(layout)), tmp_path / "cache")
    assert (data.photo_count, data.anime_count) == (7, 5)
    summary = data.summary()
    assert summary["photos"] == 7 and summary["anime"] == 5
    assert data.summary({"photo", "target"})["anime"] == 0, "a recipe without frames was not trained on those that lie there"
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
    assert one.photo_count == one.anime_count == sources.GENERATED_COUNT - 2
    np.testing.assert_array_equal(one._anime.flat, two._anime.flat)
    np.testing.assert_array_equal(one._photos.flat, two._photos.flat)
    assert all(photo.shape == (96, 128, 3) for photo in one.held_out_photos())
    assert "generated" in one.summary()["terms"]
    assert np.any(one._anime.picture(0)[..., 3:] != one._anime.picture(0)[..., :3]), "nothing was smoothed"


@pytest.fixture
def web(layout: Path, tmp_path: Path) -> Iterator[str]:
    served = tmp_path / "web"
    served.mkdir()
    with zipfile.ZipFile(served / "dataset.zip", "w") as file:
        for path in layout.rglob("*.jpg"):
            file.write(path, f"dataset/{path.relative_to(layout)}")
    fill(tmp_path / "v2" / "Hayao" / "style", 6, first=40)
    with tarfile.open(served / "Hayao.tar.gz", "w:gz") as archive:
        archive.add(tmp_path / "v2" / "Hayao", "Hayao")
        archive.add(layout / "train_photo" / "100.jpg", "../outside.jpg")
    (served / "Shinkai.tar.gz").write_bytes((served / "Hayao.tar.gz").read_bytes()[:-3000])
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(served))
    handler.log_message = lambda *_: None  # type: ignore[attr-defined]
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_photos_of_monet2photo(web: str, layout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder in ("trainA", "trainB", "testA", "testB"):
        fill(tmp_path / "monet2photo" / folder, 4 if folder == "trainB" else 1, first=60)
    shutil.make_archive(str(tmp_path / "web" / "monet2photo"), "zip", tmp_path, "monet2photo")
    monkeypatch.setattr(sources, "MONET2PHOTO_URL", f"{web}/monet2photo.zip")
    monkeypatch.setitem(cycle_gan._DL_URLS, "monet2photo", sources.MONET2PHOTO_URL)
    config = DataConfig(style="Hayao", photos="monet2photo", resolution=64, size=64, target="light")
    painted: list[Any] = []
    finish = targets.finish
    monkeypatch.setattr(targets, "finish", lambda *pictures: painted.append(pictures) or finish(*pictures))
    for _ in range(2):
        data = open_data(config, Source(data=str(layout)), tmp_path / "cache")
        assert (data.photo_count, data.anime_count) == (4, 5)
        monkeypatch.setattr(sources, "MONET2PHOTO_URL", "http://127.0.0.1:1/monet2photo.zip")
    assert len(painted) == 4, "they are painted once"
    assert all(photo.shape == (64, 64, 3) for photo in data.fixed_photos(4))
    assert "monet2photo" in data.summary()["source"] and "Flickr" in data.summary()["terms"]
    frames_only = open_data(config, Source(anime=layout / "Hayao" / "style"), tmp_path / "cache")
    assert frames_only.photo_count == 4


def test_official_release_is_downloaded_once(web: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "OFFICIAL_URL", f"{web}/dataset.zip")
    data = open_data(CONFIG, Source(data="official"), tmp_path / "cache")
    assert (data.photo_count, data.anime_count) == (7, 5)
    assert "non-commercial" in data.summary()["terms"]
    monkeypatch.setattr(sources, "OFFICIAL_URL", "http://127.0.0.1:1/dataset.zip")
    assert open_data(CONFIG, Source(data="official"), tmp_path / "cache").photo_count == 7


def test_frames_of_v2_s_release_go_with_the_photos_of_the_first(
    web: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path / "cache"
    monkeypatch.setattr(sources, "OFFICIAL_URL", f"{web}/dataset.zip")
    monkeypatch.setattr(sources, "OFFICIAL_V2_URL", f"{web}/{{style}}.tar.gz")
    data = open_data(CONFIG, Source(data="official-v2"), cache)
    assert (data.photo_count, data.anime_count) == (7, 6)
    assert f"{web}/Hayao.tar.gz" in data.summary()["source"] and "non-commercial" in data.summary()["terms"]
    assert not list(cache.rglob("outside.jpg")) and not list(tmp_path.glob("outside.jpg"))
    with pytest.raises(ValueError, match=r"no style Hayoa: .*Hayao"):
        open_data(replace(CONFIG, style="Hayoa"), Source(data="official-v2"), cache)
    with pytest.raises(ValueError, match=r"Paprika\.tar\.gz cannot be reached .* unpack it beside AnimeGAN's train_photo"):
        sources._download_v2_frames(cache, "Paprika")
    with pytest.raises(ValueError, match=r"Shinkai\.tar\.gz is damaged or cut off: delete .*animegan2-Shinkai"):
        sources._download_v2_frames(cache, "Shinkai")
    monkeypatch.setattr(sources, "OFFICIAL_V2_URL", "http://127.0.0.1:1/{style}.tar.gz")
    assert open_data(CONFIG, Source(data="official-v2"), cache).anime_count == 6


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/dataset.zip", "{web}/missing.zip"])
def test_official_release_out_of_reach(url: str, web: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "OFFICIAL_URL", url.format(web=web))
    with pytest.raises(ValueError, match=r"cannot be reached .* download it elsewhere and pass --data dataset\.zip"):
        open_data(CONFIG, Source(data="official"), tmp_path / "cache")


def test_monet2photo_out_of_reach(layout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "MONET2PHOTO_URL", "http://127.0.0.1:1/monet2photo.zip")
    config = DataConfig(style="Hayao", photos="monet2photo", resolution=64, size=64)
    with pytest.raises(ValueError, match=r"monet2photo.zip cannot be reached .* data.photos=folder"):
        open_data(config, Source(data=str(layout)), tmp_path / "cache")


# Folders as people have them


def listed(folder: Path, config: DataConfig = CONFIG) -> tuple[list[str], list[str], sources.Located]:
    """Names of photos and of frames."""
    found = sources.locate(config, Source(data=str(folder)), folder / "cache")
    assert found.photos is not None
    return sorted(found.photos.pictures), sorted(found.anime.pictures), found


def test_each_real_file_counts_once(layout: Path) -> None:
    photos = layout / "train_photo"
    whole = listed(layout)[0]
    (photos / "2024").mkdir()
    (photos / "a_link").symlink_to(photos)
    (photos / "latest").symlink_to(".")
    (photos / "2024" / "up").symlink_to("..")
    (photos / "000.jpg").symlink_to("104.jpg")
    (photos / "loop").symlink_to("loop")
    (photos / "nowhere.jpg").symlink_to("deleted.jpg")
    os.link(photos / "101.jpg", photos / "hard.jpg")
    names, _, found = listed(layout)
    assert names == whole and found.photos is not None
    assert found.photos.left_out["link that leads nowhere"] == ["loop", "nowhere.jpg"]
    twice = ["000.jpg", "2024/up", "a_link", "hard.jpg", "latest"]
    assert sorted(found.photos.left_out["already here by another name"]) == twice


def test_what_links_lead_to_elsewhere_is_taken(layout: Path, tmp_path: Path) -> None:
    fill(tmp_path / "elsewhere", 2, first=200)
    (layout / "train_photo" / "more").symlink_to(tmp_path / "elsewhere")
    assert [name for name in listed(layout)[0] if "more" in name] == ["more/200.jpg", "more/201.jpg"]


def test_a_link_to_itself_leaves_the_held_out_photos_out(layout: Path, tmp_path: Path) -> None:
    (layout / "train_photo" / "latest").symlink_to(".")
    data = open_data(replace(CONFIG, holdout=2), Source(data=str(layout)), tmp_path / "cache")
    trained = [data._photos.picture(index)[..., :3] for index in range(data.photo_count)]
    assert len(trained) == 5
    assert not any(np.array_equal(photo, held) for photo in trained for held in data.held_out_photos())


@pytest.mark.parametrize(
    "name", ["@eaDir", ".@__thumb", ".thumbnails", "_thumb", "Thumbs", "2019_thumbnails", "#recycle", "$RECYCLE.BIN"]
)
def test_copies_that_systems_make_are_skipped(name: str, layout: Path) -> None:
    whole = listed(layout)[:2]
    for folder in (layout, layout / "train_photo", layout / "Hayao" / "style"):
        fill(folder / name / "101.jpg", 1, first=300)
        for extra in ("Thumbs.db", ".DS_Store", "._101.jpg", "desktop.ini", "ehthumbs_vista.db"):
            (folder / extra).write_bytes(b"no picture")
    assert listed(layout)[:2] == whole


def test_a_folder_of_nothing_but_thumbnails(layout: Path) -> None:
    shutil.rmtree(layout / "train_photo")
    fill(layout / "train_photo" / "thumbs", 1)
    with pytest.raises(ValueError, match=r"no pictures in .*train_photo, only 1 folder of thumbnails: thumbs"):
        listed(layout)


def test_capitals_and_umlauts_in_names(layout: Path) -> None:
    whole = listed(layout)[:2]
    (layout / "train_photo").rename(layout / "Train_Photo")
    (layout / "Hayao" / "style").rename(layout / "Hayao" / "Style")
    assert listed(layout)[:2] == whole
    assert listed(layout, replace(CONFIG, style="HAYAO"))[:2] == whole
    (layout / "Hayao").rename(layout / unicodedata.normalize("NFD", "Möwe"))
    assert listed(layout, replace(CONFIG, style=unicodedata.normalize("NFC", "möwe")))[:2] == whole
    fill(layout / "möwe" / "style", 1)
    assert listed(layout, replace(CONFIG, style="möwe"))[1] == ["000.jpg"], "the very name comes first"


def test_frames_without_the_folder_style(layout: Path, tmp_path: Path) -> None:
    whole = listed(layout)[:2]
    for frame in sorted((layout / "Hayao" / "style").iterdir()):
        frame.rename(layout / "Hayao" / frame.name)
    (layout / "Hayao" / "style").rmdir()
    assert listed(layout)[:2] == whole, "without the smooth ones"
    outer = tmp_path / "outer"
    outer.mkdir()
    layout.rename(outer / "animegan")
    assert listed(outer)[:2] == whole
    with pytest.raises(ValueError, match="found styles Hayao"):
        listed(outer, replace(CONFIG, style="Paprika"))
    fill(outer / "animegan" / "Hayao" / "film", 1)
    with pytest.raises(ValueError, match=r"Hayao holds frames and folders \(film\): move the frames .* to .*Hayao/style"):
        listed(outer)


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
    assert_refused(tmp_path / "text.zip", "neither a folder nor a zip")
    (tmp_path / "empty").mkdir()
    assert_refused(tmp_path / "empty", "nor any other STYLE/style")
    shutil.rmtree(layout / "train_photo")
    assert_refused(layout, "no folder train_photo in .*, only Hayao")
    (layout / "train_photo").mkdir()
    assert_refused(layout, "no pictures in .*train_photo: the folder is empty")
    (layout / "train_photo" / "notes.txt").write_text("no picture")
    assert_refused(layout, "no picture in .* can be used: 1 not a picture in a known format: notes.txt")
    assert len(prepared_sets(tmp_path / "cache")) == 1, "only the anime set may be taken as whole"


def test_contradictions_on_the_command_line(layout: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="choose one"):
        Source.of("data", "photos", None)
    with pytest.raises(ValueError, match="--drawings DIR needs --photos DIR"):
        Source.of(None, None, None, "drawings")
    photos, anime = layout / "train_photo", layout / "Hayao" / "style"
    monet = DataConfig(photos="monet2photo")
    for config, source, message in [
        (CONFIG, Source(), "no pictures given for style Hayao: pass --data DIR"),
        (CONFIG, Source(anime=anime), "--anime DIR needs --photos DIR, or data.photos=monet2photo"),
        (CONFIG, Source(photos=photos, anime=layout / "missing"), "--anime .*missing is not a folder"),
        (CONFIG, Source(photos=layout, anime=anime), "hold each other"),
        (CONFIG, Source(photos=anime, anime=anime), "hold each other"),
        (CONFIG, Source(photos=photos, anime=anime, drawings=anime), "--anime .* and --drawings .* hold each other"),
        (monet, Source(photos=photos, anime=anime), "leave --photos out"),
    ]:
        with pytest.raises(ValueError, match=message):
            open_data(config, source, tmp_path / "cache")
