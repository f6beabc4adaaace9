"""Sheets and courses, read back from their files."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from animegan_app import contact_sheet as module
from animegan_app.contact_sheet import Labelled, course, evenly, sheet

COLOURS = [(200, 40, 40), (40, 200, 40), (40, 40, 200), (200, 200, 40), (40, 200, 200)]


def pictures(folder: Path, size: tuple[int, int], count: int) -> list[Labelled]:
    found = []
    for index in range(count):
        path = folder / f"{index}.png"
        Image.new("RGB", size, COLOURS[index]).save(path)
        found.append(Labelled(path, ("tiny", f"epoch-{index:03d}")))
    return found


def opened(content: bytes) -> Image.Image:
    return Image.open(io.BytesIO(content))


def test_evenly_keeps_both_ends() -> None:
    assert evenly(range(3), 5) == [0, 1, 2]
    assert evenly(range(101), 5) == [0, 25, 50, 75, 100]
    assert len(set(evenly(range(1000), 100))) == 100


def test_a_sheet_shows_every_picture_once_and_writes_below_it(tmp_path: Path) -> None:
    page = np.asarray(opened(sheet(pictures(tmp_path, (120, 80), 5))))
    for colour in COLOURS:
        rows, columns = np.nonzero(np.all(page == colour, axis=2))
        assert len(rows) == 120 * 80
        bottom, left, right = rows.max() + 1, columns.min(), columns.max()
        label = page[bottom : bottom + 32, left : right + 1]
        assert (label < 100).all(axis=2).any(), "ink"
    assert (page[-1] == 255).all() and (page[:, -1] == 255).all(), "the sheet ends in paper"


def test_a_sheet_is_as_wide_as_rows_and_columns_allow(tmp_path: Path) -> None:
    four = opened(sheet(pictures(tmp_path, (120, 80), 4)))
    assert 240 < four.width < 300 and 160 < four.height < 260, "two by two"
    tall = opened(sheet(pictures(tmp_path, (40, 160), 4)))
    assert tall.width > 4 * 40 and tall.height < 2 * 160, "all beside each other"


def test_a_sheet_has_as_many_columns_as_asked_for_and_empty_cells(tmp_path: Path) -> None:
    one, two, three = pictures(tmp_path, (120, 80), 3)
    page = np.asarray(opened(sheet([one, None, two, three], columns=2)))
    places = [np.argwhere((page == colour).all(axis=2)).min(axis=0) for colour in COLOURS[:3]]
    assert places[0][1] == places[1][1] < places[2][1] and places[0][0] < places[1][0] == places[2][0]
    assert (page[: places[1][0], places[2][1] :] == 255).all(), "nothing is in the cell without a picture"


def test_a_sheet_of_large_pictures_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_SHEET_PIXELS", 100_000)
    page = opened(sheet(pictures(tmp_path, (600, 400), 5)))
    assert page.width * page.height < 200_000


def test_pictures_of_another_size_are_fitted_not_stretched(tmp_path: Path) -> None:
    first, second = pictures(tmp_path, (120, 80), 2)
    Image.new("RGB", (60, 120), COLOURS[1]).save(second.path)
    page = np.asarray(opened(sheet([first, second])))
    rows, columns = np.nonzero(np.all(page == COLOURS[1], axis=2))
    assert (np.ptp(rows) + 1, np.ptp(columns) + 1) == (80, 40)


def test_a_label_that_is_too_long_is_written_smaller(tmp_path: Path) -> None:
    (picture,) = pictures(tmp_path, (120, 80), 1)
    page = np.asarray(opened(sheet([Labelled(picture.path, ("a-rather-long-name",))])))
    ink = (page[90:] < 100).all(axis=2)
    assert ink.any() and not ink[:, -2:].any()


def test_a_course_moves_through_all_pictures_with_a_bar(tmp_path: Path) -> None:
    moving = opened(course(pictures(tmp_path, (120, 80), 3)))
    assert (moving.format, moving.n_frames, moving.info["loop"]) == ("WEBP", 3, 0)
    done = []
    for index in range(3):
        moving.seek(index)
        moving.load()
        frame = np.asarray(moving.convert("RGB")).astype(int)
        assert np.abs(frame[10:70, 10:110] - COLOURS[index]).max() < 12
        done.append((np.abs(frame[80] - (13, 148, 136)).max(axis=1) < 60).sum())
    assert done[0] < 10 < done[1] < 80 < done[2]
    assert moving.info["duration"] == 2000, "the last frame stays"


def test_a_course_is_bounded_in_frames_and_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_FRAMES", 3)
    monkeypatch.setattr(module, "FRAME_SIDE", 60)
    moving = opened(course(pictures(tmp_path, (120, 80), 5)))
    assert moving.n_frames == 3 and moving.width == 60 and moving.height < 90
