"""Batches of pictures in memory: exact positions, orders, what is held out, and every augmentation."""

from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from hub_export import pixels
from train import batches
from train.batches import TrainingData
from train.settings import DataConfig


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


@pytest.mark.slow
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


@pytest.mark.slow
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
        return data._cut(tf.constant(picture), tf.stack([tf.constant(2, tf.int64), seed]), augment)

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


def test_frames_are_only_resized_where_photos_alone_are_augmented() -> None:
    random = np.random.default_rng(0)
    photos = [random.integers(0, 256, (64, 64, 3), np.uint8) for _ in range(3)]
    frames = [random.integers(0, 256, (64, 64, 6), np.uint8) for _ in range(3)]
    data = TrainingData(DataConfig(size=64, augment="enlarge-crop", augment_frames=False), list(photos), list(frames))
    for element in data.batches(2, seed=0).take(6).as_numpy_iterator():
        for anime, smooth, photo in zip(*(element[name] for name in ("anime", "smooth", "photo")), strict=True):
            beside = np.dstack([pixels.from_model(anime), pixels.from_model(smooth)])
            assert any(np.array_equal(beside, frame) for frame in frames)
            assert not any(np.array_equal(pixels.from_model(photo), other) for other in photos)


def test_enlarge_crop_takes_windows_of_the_enlarged_square() -> None:
    picture = noise(80, 100)
    enlarged = np.asarray(tf.image.resize(picture[:, 10:90], (72, 72), "bilinear", antialias=True)).clip(0, 255)
    places = [window_in(enlarged, cut) for cut in cut_both_ways("enlarge-crop", picture)]
    assert len(set(places)) > 12
