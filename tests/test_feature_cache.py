"""Cached features are those of the pictures beside them, computed once, and train as computed ones do."""

from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from hub_export.generator import dtype_policy
from train.batches import TrainingData
from train.configuration import override
from train.experiments import get_experiment
from train.feature_cache import FeatureCache
from train.features import build_features
from train.loop import Run, RunOptions
from train.losses import gram_matrix
from train.run_folder import RunFolder
from train.settings import Experiment, FeatureConfig

pytestmark = pytest.mark.slow

STILL = ["data.size=32", "data.augment=none", "data.target=light", "data.holdout=1", "schedule.batch=3"]


def experiment(*settings: str) -> Experiment:
    return override(get_experiment("smoke"), [*STILL, *settings], "still")


def data(seed: int = 0) -> TrainingData:
    rng = np.random.default_rng(seed)
    photos, frames = ([rng.integers(0, 256, (40, 44, 6), np.uint8) for _ in range(count)] for count in (10, 12))
    return TrainingData(experiment().data, photos, frames)


@pytest.fixture(params=["float32", "mixed_bfloat16"])
def features(request: pytest.FixtureRequest) -> keras.Model:
    keras.utils.set_random_seed(0)
    with dtype_policy(request.param):
        return build_features(FeatureConfig("hed-vgg16", "none"))


@pytest.mark.parametrize("style", ["anime", "anime_gray"])
def test_every_picture_comes_with_its_own(features: keras.Model, style: str, tmp_path: Path) -> None:
    cached = FeatureCache(tmp_path, features, data(), style)
    for batch in data().batches(3, seed=1, beside=cached.beside).take(5):  # more than an epoch
        expected = features(batch["target"])
        assert batch["target_features"].dtype == expected.dtype == features.compute_dtype
        scale = float(tf.reduce_max(tf.abs(tf.cast(expected, tf.float32))))
        found, expected = (tf.cast(values, tf.float32) for values in (batch["target_features"], expected))
        np.testing.assert_allclose(
            found, expected, atol=1e-2 * scale if features.compute_dtype == "bfloat16" else 1e-5 * scale
        )
        gram = gram_matrix(features(batch[style])).numpy()
        np.testing.assert_allclose(batch["style_gram"], gram, atol=1e-2 * gram.max())


def test_they_are_computed_once_for_one_network_and_one_set_of_pictures(features: keras.Model, tmp_path: Path) -> None:
    FeatureCache(tmp_path, features, data(), "anime")
    first = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    assert len(first) == 2
    FeatureCache(tmp_path, features, data(), "anime")
    assert {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == first
    FeatureCache(tmp_path, features, data(seed=1), "anime")
    assert len(list(tmp_path.iterdir())) == 4
    features.layers[-1].set_weights([weight + 1 for weight in features.layers[-1].get_weights()])
    FeatureCache(tmp_path, features, data(), "anime")
    assert len(list(tmp_path.iterdir())) == 6


def test_a_full_disk_is_told(features: keras.Model, tmp_path: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no disk that is full")
    FeatureCache(tmp_path / "disk", features, data(), "anime")
    (tmp_path / "full").mkdir()
    for path in (tmp_path / "disk").iterdir():
        (tmp_path / "full" / path.name).with_suffix(".partial").symlink_to("/dev/full")
    with pytest.raises(ValueError, match=r"cannot be cached in .*the disk is full: .*, or train without --cache-features"):
        FeatureCache(tmp_path / "full", features, data(), "anime")


@pytest.mark.usefixtures("eager")
@pytest.mark.filterwarnings("ignore:Even though the .tf.config")  # the data's graph stays one
def test_a_run_with_cached_features_has_the_losses_of_one_without(tmp_path: Path) -> None:
    short = experiment("schedule.warmup=1 step", "schedule.length=2 steps", "loss.style_weight=1000")
    rows = {}
    for caching in (False, True):
        folder = RunFolder(tmp_path / f"{caching}", short)
        Run(data(), folder, RunOptions(cache_features=caching)).train()
        rows[caching] = folder.history
        assert (folder.path / "features").exists() == caching
    for plain, cached in zip(rows[False], rows[True], strict=True):
        for name, value in plain.items():
            if isinstance(value, float) and name not in ("seconds", "data_wait"):
                assert cached[name] == pytest.approx(value, rel=1e-3), (plain["step"], name)
