"""Recipes as tests build and step them."""

import contextlib
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from train import features
from train.configuration import flat_settings, override
from train.engine import Engine
from train.experiments import get_experiment
from train.recipes import build_recipe
from train.run_folder import PREVIOUS, STATE, RunFolder
from train.schedule import Plan
from train.settings import Experiment


def built(experiment: Experiment, precision: str = "float32", **options: Any) -> Any:
    """An experiment's recipe with new weights; options are the engine's. A VGG with random ones has an eighth of its
    channels: a CPU needs seconds for each step of the whole in float16."""
    before = features.VGG_CHANNELS
    if flat_settings(experiment).get("features.weights") == "none":
        features.VGG_CHANNELS = before // 8
    try:
        return build_recipe(experiment, Engine(experiment.schedule, experiment.seed, precision, **options))
    finally:
        features.VGG_CHANNELS = before


def take(recipe: Any, batch: Any, step: int, warmup_steps: int, total_steps: int) -> dict[str, float]:
    """Its step number `step` (from 0) of a run with so many; the terms."""
    plan = Plan(1, warmup_steps, total_steps, recipe.experiment.recipe.phases[-1])
    return recipe.engine.step(recipe, batch, plan.moment(step))


def earlier(run: Path, copy: Path, experiment: Experiment) -> RunFolder:
    """A copy of a run that has only come to the save before its last, to be resumed."""
    shutil.copytree(run, copy)
    (copy / PREVIOUS).replace(copy / STATE)
    return RunFolder(copy, experiment, resume=True)


def assert_same_state(found: Mapping[str, np.ndarray], expected: Mapping[str, np.ndarray]) -> None:
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value, err_msg=name)


@contextlib.contextmanager
def eagerly() -> Iterator[None]:
    """Steps run operation by operation: the same mathematics, without the seconds in which TensorFlow builds a graph."""
    tf.config.run_functions_eagerly(True)
    try:
        yield
    finally:
        tf.config.run_functions_eagerly(False)


def noise(recipe: Any, seed: int = 0) -> dict[str, Any]:
    """A batch of two pictures of noise for every entry that the recipe reads."""
    rng = np.random.default_rng(seed)
    return {name: tf.constant(rng.uniform(-1, 1, (2, 32, 32, 3)), tf.float32) for name in sorted(recipe.entries)}


def tiny_v3(*settings: str, style: str = "hayao") -> Experiment:
    """AnimeGANv3 with networks and pictures as small as they can be, and random features."""
    small = ["generator.channels=4", "discriminator_channels=4", "features.network=hed-vgg16", "features.weights=none"]
    small += ["data.style=generated", "data.size=32", "schedule.batch=2", "smoothing.region=8"]
    return override(get_experiment(f"official-v3-{style}"), [*small, *settings], "tiny-v3")
