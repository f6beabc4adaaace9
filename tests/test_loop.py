"""The plan of a run, and what stops one."""

from pathlib import Path

import numpy as np
import pytest

from train.datasets import TrainingData
from train.experiments import get_experiment, override
from train.loop import COLLAPSE_STEPS, Run, TrainingStopped, plan, sample_grid


def test_plan_from_epochs_and_from_steps() -> None:
    official = plan(get_experiment("official-v1"), steps_per_epoch=1109)
    assert (official.steps_per_epoch, official.warmup_steps, official.total_steps) == (1109, 5 * 1109, 101 * 1109)
    assert [official.epoch(step) for step in (1, 1109, 1110)] == [1, 1, 2]
    short = plan(override(get_experiment("fast-hayao"), ["schedule.warmup_steps=300", "schedule.steps=600"], "x"), 5)
    assert (short.steps_per_epoch, short.warmup_steps, short.total_steps) == (100, 300, 600)


@pytest.fixture
def short_run(tmp_path: Path) -> Run:
    rng = np.random.default_rng(0)
    photos = [rng.integers(0, 256, (70, 80, 3), np.uint8) for _ in range(4)]
    frames = [rng.integers(0, 256, (70, 80, 4), np.uint8) for _ in range(4)]
    experiment = override(get_experiment("smoke"), ["data.holdout=1", "data.flatten=0"], "x")
    return Run(experiment, TrainingData(experiment.data, photos, frames), tmp_path / "x")


def test_a_collapsed_discriminator_stops_the_run(short_run: Run) -> None:
    won = {"d_real": 1e-4, "d_fake": 1e-4, "generator": 1.0}
    for _ in range(COLLAPSE_STEPS - 1):
        short_run._check(won)
    short_run._check({**won, "d_fake": 0.2})  # one fake that passes is enough
    for _ in range(COLLAPSE_STEPS - 1):
        short_run._check(won)
    with pytest.raises(TrainingStopped, match=r"told every fake from anime.*generator_steps=3.*dropout"):
        short_run._check(won)


def test_sample_grid_shows_each_photo_above_its_drawing() -> None:
    photos = [np.full((40, 50, 3), value, np.uint8) for value in (10, 200)]
    grid = sample_grid(lambda pictures: -np.asarray(pictures), photos, stride=8)
    assert grid.shape == (80, 80, 3)
    assert [int(grid[0, 0, 0]), int(grid[0, 79, 0]), int(grid[79, 0, 0]), int(grid[79, 79, 0])] == [10, 200, 245, 55]
