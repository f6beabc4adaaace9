"""Batches of pictures in memory: exact positions, orders, what is held out, and every augmentation."""

from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from hub_export import pixels
from train import batches
from train.batches import TrainingData
from train.experiments import DataConfig


def arrays(count: int, channels: int, height: int = 72, width: int = 80) -> list[np.ndarray]:
    """Pictures of the size asked for whose first pixel is their number."""
    random = np.random.default_rng(0)
    pictures = [random.integers(0, 256, (height, width, channels), np.uint8) for _ in range(count)]
    for index, picture in enumerate(pictures):
        picture[...] = index
    return pictures


def gray(colour: np.ndarray) -> np.ndarray:
    return np.asarray(Image.fromarray(colour).convert("L"))


def window_in(picture: np.ndarray, window: np.ndarray) -> tuple[int, int, bool]:
    """Where the window is in the picture, as it is or mirrored."""
    size = window.shape[0]
    for mirrored in (False, True):
        wanted = window[:, ::-1] if mirrored else window
        for top in range(picture.shape[0] - size + 1):
            for left in range(picture.shape[1] - size + 1):
                if np.array_equal(picture[top : top + size, left : left + size], wanted):
                    return top, left, mirrored
    raise AssertionError("the window is nowhere in the picture")


def contains(picture: np.ndarray, window: np.ndarray) -> bool:
    try:
        window_in(picture, window)
    except AssertionError:
        return False
    return True


def recoloured(**config: float) -> dict[tuple[int, ...], np.ndarray]:
    """What targets make of black, white, gray and two dull colours, by colour."""
    colours = [[0, 0, 0], [255, 255, 255], [128, 128, 128], [150, 100, 90], [60, 120, 70]]
    photo = np.repeat(np.array(colours, np.uint8), 16, axis=0)[None].repeat(64, axis=0)
    data = TrainingData(DataConfig(size=64, augment="crop", **config), [photo], [noise(64, 80, 6)])  # type: ignore[arg-type]
    element = next(iter(data.batches(1, seed=0).as_numpy_iterator()))
    shown, target = (pixels.from_model(element[name]).reshape(-1, 3) for name in ("photo", "target"))
    found = {tuple(before): after.astype(int) for before, after in zip(shown.tolist(), target, strict=True)}
    assert len(found) >= 4
    return found


def test_vivid_targets_are_deeper_warmer_and_more_colourful() -> None:
    for before, after in recoloured(vivid=1.0).items():
        saturation = np.ptp(before)
        if before in ((0, 0, 0), (255, 255, 255)):
            assert tuple(after) == before
        elif saturation:
            assert np.ptp(after) > 1.2 * saturation and after @ pixels.GRAY_WEIGHTS < before @ np.array(pixels.GRAY_WEIGHTS)
        else:
            assert before[0] - 12 < after[1] < before[0] and after[0] > after[1] > after[2]


def test_tones_are_what_gray_is_in_the_frames() -> None:
    cream, dusk, red, blue = (230, 225, 205), (20, 22, 32), (200, 40, 40), (60, 90, 200)
    frame = np.repeat(np.array([cream, dusk, red, blue], np.uint8), 20, axis=0)[None].repeat(64, axis=0)
    held_out = np.full_like(frame, 240)
    held_out[..., 2] = 230
    colours = [[255, 255, 255], [23, 23, 23], [255, 250, 252], [40, 14, 20]]
    photo = np.repeat(np.array(colours, np.uint8), 16, axis=0)[None].repeat(64, axis=0)

    def targets(tones: float) -> np.ndarray:
        frames = [np.dstack([picture, picture]) for picture in (frame, held_out)]
        config = DataConfig(size=64, tones=tones, holdout=1)
        element = next(iter(TrainingData(config, [photo, photo], frames).batches(1, seed=0).as_numpy_iterator()))
        return np.asarray(127.5 * (element["target"][0, 0, ::16] + 1.0))

    before, whole, half = targets(0.0), targets(1.0), targets(0.5)
    np.testing.assert_allclose(whole[:2], [cream, dusk], atol=1.5)
    np.testing.assert_allclose(half, (before + whole) / 2, atol=0.1)
    np.testing.assert_allclose((whole - before)[2:], (whole - before)[:2], atol=1.5, err_msg="colours move with their gray")


def test_softer_lights_keep_the_contrast_within_them() -> None:
    tones = np.zeros((256, 3), np.float32)
    tones[200:, 0] = -0.5 * np.arange(56)  # white becomes 228
    texture = np.where(np.indices((64, 128)).sum(axis=0) % 2, 240.0, 250.0)
    texture[:, 80:] = 20.0
    toned = batches.tint(np.repeat(texture[..., None], 3, axis=-1).astype(np.float32), tones).numpy()
    lights = toned[:, :40]
    assert lights.mean() == pytest.approx(245 - 0.5 * 45, abs=1) and np.ptp(lights) == pytest.approx(10, abs=1)
    np.testing.assert_allclose(toned[:, 80:], 20, atol=0.1, err_msg="another area's tones")


def test_lines_are_on_the_dark_sides_of_edges_and_change_luma_alone() -> None:
    picture = np.full((40, 40, 3), (200, 180, 160), np.float32)
    picture[:, 20:] = (60, 90, 120)
    half, whole = (batches.outline(picture, strength).numpy() - picture for strength in (0.5, 1.0))
    dark = np.argwhere(whole[20, :, 0] < -1).ravel()
    assert dark.min() == 20 and 1 <= len(dark) <= 3 and whole.min() < -10
    np.testing.assert_allclose(whole, whole[:1, :, :1] * np.ones((40, 1, 3)), atol=1e-3, err_msg="luma alone, all along")
    np.testing.assert_allclose(whole, 2 * half, atol=1e-3)
    np.testing.assert_array_equal(whole[:, [*range(19), *range(25, 40)]], 0)
    shallow = np.where(picture[..., :1] > 100, 105.0, 100.0) * np.ones(3)
    np.testing.assert_array_equal(batches.outline(shallow.astype(np.float32), 1.0), shallow)


def test_nights_are_the_frames_with_the_least_red_and_photos_become_as_dark() -> None:
    frames = [
        np.full((64, 64, 6), colour * 2, np.uint8) for colour in ([200, 180, 160], [20, 40, 80], [90, 200, 90], [22, 40, 80])
    ]
    photos = [np.full((64, 64, 3), level, np.uint8) for level in (100, 160, 30)]
    data = TrainingData(DataConfig(size=64, night=0.34, tones=1.0, holdout=1), photos, frames)
    assert (data.anime_count, data.photo_count) == (1, 2)
    np.testing.assert_array_equal(data.held_out_anime()[0][0, 0], [22, 40, 80])
    dark = np.array([20, 40, 80]) @ pixels.GRAY_WEIGHTS / 130
    for element in data.batches(1, seed=0).take(4).as_numpy_iterator():
        photo, target, frame = (
            pixels.from_model(element[name])[0, 0, 0].astype(int) for name in ("photo", "target", "anime")
        )
        np.testing.assert_array_equal(frame, [20, 40, 80])
        assert target @ pixels.GRAY_WEIGHTS == pytest.approx(dark * photo[0], abs=1.5)
        assert target[2] - target[0] == pytest.approx(60, abs=2), "blue as the frames are"


@pytest.mark.parametrize("flat", [False, True])
def test_all_versions_of_a_picture_are_cut_alike(flat: bool) -> None:
    photos = [noise(72, 80 + index, 6) for index in range(3)]
    frames = [noise(72 + index, 80, 6) for index in range(1, 3)]
    given = photos if flat else [photo[..., :3] for photo in photos]
    data = TrainingData(DataConfig(size=64, augment="crop"), list(given), list(frames))
    for element in data.batches(2, seed=3).take(3).as_numpy_iterator():
        shown = {name: pixels.from_model(value) for name, value in element.items()}
        whole = photos if flat else [np.dstack([photo, photo]) for photo in given]
        for names, pictures in ((("photo", "target"), whole), (("anime", "smooth"), frames)):
            for window in np.concatenate([shown[name] for name in names], axis=-1):
                assert any(contains(picture, window) for picture in pictures)
        for name in ("anime", "smooth"):
            monochrome = shown[f"{name}_gray"]
            assert np.all(monochrome == monochrome[..., :1])
            for coloured, luma in zip(shown[name], monochrome[..., 0].astype(int), strict=True):
                assert np.abs(luma - gray(coloured)).max() <= 1


def test_a_holdout_that_leaves_nothing() -> None:
    with pytest.raises(
        ValueError, match="7 photos and 5 anime frames leave nothing to train on when 5 of each are held out"
    ):
        TrainingData(DataConfig(holdout=5), arrays(7, 3), arrays(5, 6))


@pytest.mark.parametrize("augment", ["none", "flip", "crop", "enlarge-crop"])
def test_position_is_exact_to_the_bit(augment: Any) -> None:
    random = np.random.default_rng(0)
    photos = [random.integers(0, 256, (70 + index, 90 - index, 3), np.uint8) for index in range(7)]
    anime = [random.integers(0, 256, (64, 80 + index, 6), np.uint8) for index in range(5)]
    config = DataConfig(size=64, augment=augment)
    data = TrainingData(config, list(photos), list(anime))
    from_start = list(data.batches(3, seed=9).take(12).as_numpy_iterator())
    for start in (0, 1, 4, 5, 9):  # epochs of 7 photos and of 5 frames end inside batches of 3
        resumed = TrainingData(config, list(photos), list(anime)).batches(3, seed=9, start_step=start)
        for wanted, element in zip(from_start[start:], resumed.as_numpy_iterator(), strict=False):
            for key, value in wanted.items():
                np.testing.assert_array_equal(value, element[key], strict=True)
    other = next(data.batches(3, seed=10).as_numpy_iterator())
    assert any(np.any(other[key] != from_start[0][key]) for key in other)


def test_element_spec_is_static_and_far_positions_and_large_seeds_work() -> None:
    data = TrainingData(DataConfig(size=64), arrays(3, 3), arrays(2, 6))
    for seed in (0, 2**40, -5):
        batches = data.batches(4, seed=seed, start_step=10**9)
        assert all(spec.shape == (4, 64, 64, 3) for spec in batches.element_spec.values())
        assert next(iter(batches))["photo"].shape == (4, 64, 64, 3)


def test_every_picture_once_an_epoch_in_orders_of_their_own() -> None:
    photos, anime, batch = 8, 6, 4
    data = TrainingData(DataConfig(size=64), arrays(photos, 3), arrays(anime, 6))
    shown: dict[str, list[int]] = {"photo": [], "anime": []}
    for element in data.batches(batch, seed=1).take(12).as_numpy_iterator():
        for key, numbers in shown.items():
            numbers.extend(pixels.from_model(element[key])[:, 0, 0, 0].tolist())
    for key, count in (("photo", photos), ("anime", anime)):
        epochs = np.array(shown[key]).reshape(-1, count)
        np.testing.assert_array_equal(np.sort(epochs, axis=1), np.tile(np.arange(count), (48 // count, 1)))
        assert len({tuple(epoch) for epoch in epochs.tolist()}) > len(epochs) - 2, "epochs repeat their order"
    assert shown["photo"][:6] != shown["anime"][:6]
    assert data.steps_per_epoch(batch) == 2 and data.steps_per_epoch(100) == 1


def test_order_has_no_preference() -> None:
    first = [int(next(iter(batches._order(3, 4 * seed, 0)))) for seed in range(60)]
    assert min(np.bincount(first, minlength=3)) >= 10


def test_holdout_is_never_trained_on() -> None:
    data = TrainingData(DataConfig(size=64, holdout=2), arrays(5, 3), arrays(4, 6))
    assert (data.photo_count, data.anime_count) == (3, 2)
    assert [int(photo[0, 0, 0]) for photo in data.held_out_photos()] == [3, 4]
    assert [int(frame[0, 0, 0]) for frame in data.held_out_anime()] == [2, 3]
    assert all(frame.shape == (72, 80, 3) and frame.dtype == np.uint8 for frame in data.held_out_anime())
    assert [int(photo[0, 0, 0]) for photo in data.fixed_photos(1)] == [3]
    assert len(data.fixed_photos(9)) == 2
    for element in data.batches(6, seed=0).take(2).as_numpy_iterator():
        assert pixels.from_model(element["photo"]).max() == 2 and pixels.from_model(element["anime"]).max() == 1
    everything = TrainingData(DataConfig(size=64), arrays(5, 3), arrays(4, 6))
    assert everything.held_out_photos() == [] and [int(photo[0, 0, 0]) for photo in everything.fixed_photos(2)] == [0, 1]


# Augmentations, eagerly and inside tf.data


def cut_both_ways(augment: Any, picture: np.ndarray, size: int = 64, count: int = 24) -> np.ndarray:
    """`count` cuts with seeds 0, 1, ...: (count, size, size, C) float32, the same eagerly as inside tf.data."""
    data = TrainingData(DataConfig(size=size, augment=augment), arrays(1, 3), arrays(1, 6))

    def cut(seed: Any) -> Any:
        return data._cut(tf.constant(picture), tf.stack([tf.constant(2, tf.int64), seed]))

    mapped = tf.data.Dataset.range(count).map(cut)
    assert mapped.element_spec.shape == (size, size, picture.shape[-1])
    inside = np.stack(list(mapped.as_numpy_iterator()))
    eager = np.stack([cut(tf.constant(seed, tf.int64)) for seed in range(count)])
    np.testing.assert_array_equal(inside, eager)
    assert inside.dtype == np.float32 and inside.min() >= 0.0 and inside.max() <= 255.0
    return inside


def noise(height: int, width: int, channels: int = 4) -> np.ndarray:
    return np.random.default_rng(5).integers(0, 256, (height, width, channels), np.uint8)


def test_none_resizes_the_central_square_with_antialiasing() -> None:
    picture = noise(128, 150)
    square = tf.constant(picture[:, 11:139], tf.float32)
    wanted = tf.image.resize(square, (64, 64), "bilinear", antialias=True)
    for cut in cut_both_ways("none", picture, count=3):
        np.testing.assert_allclose(cut, wanted, atol=1e-3)
    assert np.std(wanted) < np.std(square) / 1.5, "the mean of several pixels varies less than each"
    exact = noise(64, 64)
    np.testing.assert_array_equal(cut_both_ways("none", exact, count=1)[0], exact)


def test_flip_mirrors_about_half() -> None:
    picture = noise(64, 64)
    cuts = cut_both_ways("flip", picture)
    straight = sum(np.array_equal(cut, picture) for cut in cuts)
    mirrored = sum(np.array_equal(cut, picture[:, ::-1]) for cut in cuts)
    assert straight + mirrored == len(cuts) and min(straight, mirrored) >= 5


def test_crop_takes_windows_at_the_pictures_own_scale() -> None:
    picture = noise(67, 70)
    places = [window_in(picture, cut.astype(np.uint8)) for cut in cut_both_ways("crop", picture, count=60)]
    tops, lefts, mirrors = (set(values) for values in zip(*places, strict=True))
    assert tops == set(range(4)) and lefts == set(range(7)) and mirrors == {False, True}


def test_crop_enlarges_a_small_picture_to_fit() -> None:
    picture = noise(32, 48, 3)
    enlarged = np.asarray(tf.image.resize(picture, (64, 96), "bilinear", antialias=True)).clip(0, 255)
    for cut in cut_both_ways("crop", picture, count=6):
        window_in(enlarged, cut)


def test_enlarge_crop_takes_windows_of_the_enlarged_square() -> None:
    picture = noise(80, 100)
    enlarged = np.asarray(tf.image.resize(picture[:, 10:90], (72, 72), "bilinear", antialias=True)).clip(0, 255)
    places = [window_in(enlarged, cut) for cut in cut_both_ways("enlarge-crop", picture)]
    assert len(set(places)) > 12
