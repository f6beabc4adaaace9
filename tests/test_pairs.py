"""Imitation: its terms against formulas, frames redrawn, what it learns, and exact resuming."""

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from hub_export import checkpoint, pixels
from train import losses
from train.batches import TrainingData
from train.engine import state
from train.experiments import get_experiment
from train.loop import Run
from train.run_folder import RunFolder
from train.settings import DataConfig, Experiment, override


def tiny(*settings: str) -> Experiment:
    small = ["data.style=generated", "data.size=32", "data.holdout=1", "generator.channels=8", "schedule.batch=4"]
    length = ["schedule.length=40 steps", "schedule.epoch=20 steps", "schedule.checkpoint_epochs=1", "precision=float32"]
    return override(get_experiment("cel"), [*small, *length, *settings], "tiny")


def negatives(experiment: Experiment) -> TrainingData:
    """Smooth photos, with their negatives for targets, and frames of noise, unpainted to gray."""
    rng = np.random.default_rng(0)
    photos = [rng.integers(0, 256, (3, 4, 3), np.uint8).repeat(16, 0).repeat(16, 1) for _ in range(6)]
    frames = [rng.integers(0, 256, (48, 64, 9), np.uint8) for _ in range(4)]
    for frame in frames:
        frame[..., 6:] = 128
    return TrainingData(experiment.data, [np.dstack([photo, 255 - photo]) for photo in photos], frames)


def test_the_gradient_loss_is_its_formula():
    rng = np.random.default_rng(0)
    target, fake = (rng.uniform(-1, 1, (2, 5, 6, 3)).astype(np.float32) for _ in range(2))
    wanted = sum(np.abs(np.diff(fake, axis=axis) - np.diff(target, axis=axis)).mean() for axis in (1, 2))
    assert float(losses.gradient_loss(tf.constant(target), tf.constant(fake))) == pytest.approx(wanted, rel=1e-5)
    assert float(losses.gradient_loss(tf.constant(target), tf.constant(target) + 0.3)) == pytest.approx(0, abs=1e-6)


def test_the_gradient_loss_has_the_gradient_of_finite_differences():
    rng = np.random.default_rng(1)
    target, fake = (tf.constant(rng.uniform(-1, 1, (1, 3, 4, 3)), tf.float64) for _ in range(2))
    with tf.GradientTape() as tape:
        tape.watch(fake)
        loss = losses.gradient_loss(target, fake)
    step = np.zeros(fake.shape)
    step[0, 1, 2, 0] = 1e-6
    numeric = (losses.gradient_loss(target, fake + step) - losses.gradient_loss(target, fake - step)) / 2e-6
    assert float(tape.gradient(loss, fake)[0, 1, 2, 0]) == pytest.approx(float(numeric), rel=1e-4)


def test_a_share_of_pictures_are_frames_with_a_photos_grain():
    redrawn = 0
    for element in negatives(tiny("data.redrawn=0.5")).batches(4, seed=0).take(25).as_numpy_iterator():
        for photo, target, anime, smooth in zip(
            *(element[name] for name in ("photo", "target", "anime", "smooth")), strict=True
        ):
            assert np.any(anime != smooth)
            if np.array_equal(target, anime):
                redrawn += 1
                assert np.abs(photo - pixels.to_model(np.uint8([[[128] * 3]]))).max() < 0.4, "gray, grain and noise"
                assert photo.std() > 0
            else:
                np.testing.assert_allclose(target, -photo, atol=1e-6)
    assert 35 <= redrawn <= 65, "half of a hundred"


def test_none_are_where_none_are_asked_for():
    for element in negatives(tiny("data.redrawn=0")).batches(4, seed=0).take(9).as_numpy_iterator():
        np.testing.assert_allclose(element["target"], -element["photo"], atol=1e-6)


def test_photos_alone_are_enough():
    config = DataConfig(size=32, augment="crop")
    data = TrainingData(config, [np.full((40, 40, 6), number, np.uint8) for number in range(5)], [])
    assert (data.photo_count, data.anime_count) == (5, 0) and data.held_out_anime() == []
    elements = list(data.batches(2, seed=0).take(6).as_numpy_iterator())
    assert elements[0].keys() == {"photo", "target"}
    again = list(data.batches(2, seed=0, start_step=3).take(3).as_numpy_iterator())
    for wanted, found in zip(elements[3:], again, strict=True):
        np.testing.assert_array_equal(wanted["photo"], found["photo"])


def test_it_learns_its_targets_and_goes_on_where_it_stopped_to_the_bit(tmp_path: Path):
    experiment = tiny("data.redrawn=0.25", "schedule.generator_rate=0.003")
    whole = Run(negatives(experiment), RunFolder(tmp_path / "tiny", experiment, resume=False))
    whole.train()
    first, *_, last = whole.folder.history
    assert last["phase"] == "imitation" and last["pixel"] < 0.75 * first["pixel"]
    assert last["share_pixel"] + last["share_gradient"] == pytest.approx(1, abs=1e-3)
    record = checkpoint.read_record(tmp_path / "tiny" / "epoch-002")
    assert record.data["losses"].keys() == {"pixel", "gradient", "generator"}

    part = Run(negatives(experiment), RunFolder(tmp_path / "part", experiment, resume=False))
    steps = iter(range(13))
    part._asked_to_stop = lambda: next(steps, None) is None  # type: ignore[method-assign]
    part.train()
    resumed = Run(negatives(experiment), RunFolder(tmp_path / "part", experiment, resume=True))
    assert resumed.step == 13
    resumed.train()
    for name, value in state(whole.recipe).items():
        np.testing.assert_array_equal(value, state(resumed.recipe)[name], err_msg=name)
