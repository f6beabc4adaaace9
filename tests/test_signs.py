"""Signs set into photos: what is written stays, in the target's light, and a share of the pictures has one."""

import functools

import numpy as np
import pytest

from hub_export import pixels
from train import batches, signs, targets
from train.batches import TrainingData
from train.settings import DataConfig


def luma(picture: np.ndarray) -> np.ndarray:
    return np.asarray(picture.astype(np.float64) @ [0.299, 0.587, 0.114])


def is_board(sign: np.ndarray) -> bool:
    """Whether letters have a ground of their own."""
    rows, columns = np.where(sign[..., 6])
    return bool((sign[rows.min() : rows.max(), columns.min() : columns.max(), 6] > 0).mean() > 0.6)


def test_signs_are_drawn_as_they_are_in_the_targets_light() -> None:
    made = signs.make_signs("flat | light(1.4, 20, 0)", count=40)
    assert made.shape == (40, signs.HEIGHT, signs.WIDTH, 7) and made.dtype == np.uint8
    np.testing.assert_array_equal(made, signs.make_signs("flat | light(1.4, 20, 0)", count=40), "always the same ones")
    assert len({sign.tobytes() for sign in made}) == 40
    alike, gains, boards = [], [], [sign for sign in made if is_board(sign)]
    assert 30 <= len(boards) < 40, "a few are letters alone"
    for sign in boards:
        whole = sign[..., 6] == 255
        shot, drawn = luma(sign[..., :3])[whole], luma(sign[..., 3:6])[whole]
        assert np.ptp(shot) > 45, "ink and ground differ"
        alike.append(np.corrcoef(shot, drawn)[0, 1])
        gains.append(np.median(drawn - shot))
    assert np.median(alike) > 0.9 and min(alike) > 0.5, "the same letters"
    assert np.median(gains) > 5, "the target opens shadows"


def test_writing_is_blurred_and_grainy_only_as_photographed() -> None:
    made = signs.make_signs("light(1, 0, 0)", count=40)
    grain = [np.abs(np.diff(made[..., part].astype(int), axis=2))[made[:, :, 1:, 6] == 255] for part in (0, 3)]
    still = [float((part == 0).mean()) for part in grain]
    assert still[1] > 2 * still[0], "grounds are plain where they are drawn"
    steep = [float(np.percentile(part, 99)) for part in grain]
    assert steep[1] > 1.1 * steep[0], "and letters crisp"


def test_a_line_surrounds_signs_where_the_target_draws_lines() -> None:
    without, lined = (signs.make_signs(f"light(1, 0, 0){more}", count=40) for more in ("", " | lines(2)"))
    np.testing.assert_array_equal(without[..., :3], lined[..., :3])
    changed = (without[..., 3:6] != lined[..., 3:6]).any(-1)
    assert np.mean(changed.any((1, 2))) > 0.7, "boards have one, letters alone have none"
    darker = luma(without[..., 3:6]) - luma(lined[..., 3:6])
    assert (darker[changed] > -2).all() and np.mean(changed[without[..., 6] > 0]) < 0.2


def test_no_sign_is_taken_for_a_sky() -> None:
    plain, clouded = (signs.make_signs(target, count=40) for target in ("light", "light | clouds"))
    np.testing.assert_array_equal(plain, clouded)


@pytest.mark.parametrize("size", [64, 224])  # signs are wider than the one, and lower than the other
def test_a_share_of_the_pictures_has_a_sign_in_photo_and_target_alike(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "make_signs", functools.partial(signs.make_signs, count=24))
    config = DataConfig(size=size, augment="crop", target="light", signs=0.25)
    wall, drawn_wall = np.uint8([90, 200, 31]), np.uint8([121, 20, 220])
    data = TrainingData(config, [np.tile(np.concatenate([wall, drawn_wall]), (240, 240, 1))], [])
    count, places, elements = 0, set(), list(data.batches(4, seed=3).take(40).as_numpy_iterator())
    for element in elements:
        assert element.keys() == {"photo", "target"}
        for photo, target in zip(pixels.from_model(element["photo"]), pixels.from_model(element["target"]), strict=True):
            changed = (photo != wall).any(-1)
            count += bool(changed.any())
            assert size == 64 or changed.mean() < 0.35, "a sign, and the photo around it"
            assert not ((target != drawn_wall).any(-1) & ~changed).sum() > 0.02 * changed.sum() + 20, "at the same place"
            if changed.any():
                places.add(tuple(np.argwhere(changed).mean(0).round()))
    assert 25 <= count <= 58, "a quarter of 160"
    assert len(places) > 0.9 * count
    later = next(data.batches(4, seed=3, start_step=7).as_numpy_iterator())
    for name, value in elements[7].items():
        np.testing.assert_array_equal(value, later[name], strict=True)


def test_without_signs_nothing_is_set_into_photos() -> None:
    data = TrainingData(DataConfig(size=64, augment="crop", target="light"), [np.full((80, 80, 6), 90, np.uint8)], [])
    for element in data.batches(8, seed=0).take(3).as_numpy_iterator():
        assert (pixels.from_model(element["photo"]) == 90).all()


def test_small_writing_that_a_target_would_take_for_texture_is_kept() -> None:
    target, kept, painted = "denoise | flat(0.02) | dabs | light(1, 0, 0)", [], []
    for sign in signs.make_signs(target, count=60):
        whole = sign[..., 6] == 255
        if is_board(sign) and whole.sum() < 1500:
            photo = np.where(sign[..., 6:] > 0, sign[..., :3], 128).astype(np.uint8)
            for found, drawn in ((kept, sign[..., 3:6]), (painted, targets.paint(photo, target))):
                found.append(
                    np.ptp(np.percentile(luma(drawn)[whole], [5, 95])) / np.ptp(np.percentile(luma(photo)[whole], [5, 95]))
                )
    assert len(kept) > 5 and np.median(kept) > 0.95 > 0.85 > np.median(painted), (np.median(kept), np.median(painted))
