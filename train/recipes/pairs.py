"""Imitation: a generator learns to draw what a filter, a hand or another model drew of the same photos.

The target of a photo is painted by `targets.py` (data.target), or is a drawing given with it (--drawings). Absolute
difference of pixels, and of their steps to the right and down, without which an imitator blurs. With data.redrawn a share
of each batch are anime frames, unpainted, which the generator learns to draw again: how lines really run, no filter knows.

Reference: Chen et al. 2017, "Fast Image Processing with Fully-Convolutional Networks"; AnimeGANv3, which trains its second
tail on what smoothing made of its first.
"""

import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from hub_export.generator import Layers, build_generator
from train import losses
from train.batches import TrainingData
from train.engine import Engine
from train.layers import FastConv2D, group_norm, unfold
from train.schedule import Moment, decay_factor
from train.settings import Experiment, PairsConfig
from train.tensors import Batch, Tensor, Terms


class Recipe:
    """See `train.recipes.Recipe`. `experiment.recipe` is a PairsConfig."""

    terms: Mapping[str, str] = {
        "pixel": "pixels: absolute difference from the target",
        "gradient": "gradients: absolute difference of the steps between pixels",
        "generator": "generator, weighted sum",
    }
    entries = frozenset({"photo", "target"})
    frozen = ()

    def __init__(self, experiment: Experiment, engine: Engine, norm: Callable[..., Any] = group_norm):
        assert isinstance(experiment.recipe, PairsConfig)
        self.experiment, self.engine, self.loss = experiment, engine, experiment.recipe.loss
        with engine.scope():
            build = functools.partial(build_generator, experiment.generator, Layers(FastConv2D, norm))
            self.generator = build()
            self.averaged = engine.average(self.generator, build)
            self.optimizer = engine.optimizer(self.generator)
        self.imitation_step = engine.shared(self._imitate)

    @property
    def saved(self) -> dict[str, Any]:
        """What resuming needs, by its name in state.npz."""
        owners = {"generator": self.generator, "optimizer": self.optimizer}
        return owners | ({"averaged": self.averaged} if self.averaged else {})

    def weights(self, phase: str) -> dict[str, dict[str, float]]:
        """The weights of the terms of "generator"."""
        return {"generator": {"pixel": self.loss.pixel_weight, "gradient": self.loss.gradient_weight}}

    def check(self, data: TrainingData) -> None:
        """There must be something to imitate."""
        if not data.has_targets:
            raise ValueError("nothing to imitate: give drawings of the photos with --drawings DIR, or set data.target")

    def step(self, batch: Batch, moment: Moment) -> Terms:
        """One step on `photo` and `target`, each (B, S, S, 3) float32 [-1, 1]."""
        schedule = self.experiment.schedule
        self.optimizer.learning_rate = schedule.generator_rate * decay_factor(schedule.decay, moment.done)
        return self.imitation_step(batch)

    def _imitate(self, batch: Batch) -> Terms:
        with tf.GradientTape() as tape:
            fake = self.generator(batch["photo"], training=True)
            terms = {
                "pixel": losses.pixel_loss(batch["target"], fake),
                "gradient": losses.gradient_loss(batch["target"], fake),
            }
            total = losses.weighted_sum(terms, self.weights("imitation")["generator"])
            scaled = self.engine.scale(total, self.optimizer)
        self.engine.apply(tape, scaled, self.optimizer, self.generator)
        return {**terms, "generator": total}

    def export(self) -> list[np.ndarray]:
        """The generator's weights, averaged if the schedule says so."""
        return (self.averaged or self.generator).get_weights()

    def start_from(self, generator: keras.Model) -> None:
        """Takes the weights of a checkpoint's generator. Raises ValueError if it is not the experiment's."""
        for model in filter(None, (self.generator, self.averaged)):
            unfold(generator, model)

    def advice(self, terms: Mapping[str, float]) -> str | None:
        """Imitation can always go on."""
        return None

    def cache_features(self, folder: Path, data: TrainingData) -> Callable[[Tensor, Tensor], dict[str, Tensor]]:
        """Raises ValueError: pairs are compared pixel by pixel."""
        raise ValueError("the recipe pairs has no features to cache: train without --cache-features")
