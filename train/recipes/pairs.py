"""Imitation: a generator learns to draw what a filter, a hand or another model drew of the same photos.

The target of a photo is painted by `targets.py` (data.target), or is a drawing given with it (--drawings). Absolute
difference of pixels, and of their steps to the right and down, without which an imitator blurs; both can count more on
dark lines. With data.redrawn a share of each batch are anime frames, unpainted, which the generator learns to draw again:
how lines really run, no filter knows.

What is unsure comes out faint and smooth, which costs least. So, after a warm-up, a discriminator may judge: targets, which
are painted photos and frames at their own scale, are its real pictures, drawings are its fakes.

Reference: Chen et al. 2017, "Fast Image Processing with Fully-Convolutional Networks"; Isola et al. 2017, "Image-to-Image
Translation with Conditional Adversarial Networks", whose discriminator sees the photo too; AnimeGANv3, which trains its
second tail on what smoothing made of its first, before a discriminator.
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
from train.discriminator import build_discriminator
from train.engine import Engine
from train.features import build_features
from train.layers import FastConv2D, advance_power_iterations, group_norm, unfold
from train.schedule import WARM_UP, Moment, decay_factor
from train.settings import Experiment, PairsConfig
from train.tensors import Batch, Tensor, Terms

TERMS = {
    "pixel": "pixels: absolute difference from the target",
    "gradient": "gradients: absolute difference of the steps between pixels",
    "generator": "generator, weighted sum",
}
JUDGED_TERMS = {
    "adversarial": "adversarial: drawings taken for targets",
    "d_real": "discriminator: targets",
    "d_fake": "discriminator: drawings",
    "discriminator": "discriminator, weighted sum",
}
"""In words."""


class Recipe:
    """See `train.recipes.Recipe`. `experiment.recipe` is a PairsConfig."""

    entries = frozenset({"photo", "target"})

    def __init__(self, experiment: Experiment, engine: Engine, norm: Callable[..., Any] = group_norm):
        assert isinstance(experiment.recipe, PairsConfig)
        self.experiment, self.engine, self.loss = experiment, engine, experiment.recipe.loss
        self.config = experiment.recipe.discriminator
        self.frozen: list[Any] = []
        self.terms: Mapping[str, str] = TERMS | (JUDGED_TERMS if self.loss.adversarial_weight else {})
        with engine.scope():
            build = functools.partial(build_generator, experiment.generator, Layers(FastConv2D, norm))
            self.generator = build()
            self.averaged = engine.average(self.generator, build)
            self.optimizer = engine.optimizer(self.generator)
            if self.loss.adversarial_weight:
                features = build_features(experiment.recipe.features) if self.config.kind == "projected" else None
                self.frozen = list(features.variables) if features else []
                self.discriminator = build_discriminator(self.config, features, norm)
                self.discriminator_optimizer = engine.optimizer(self.discriminator)
        self.imitation_step = engine.shared(functools.partial(self._imitate, judged=False))
        self.judged_step = engine.shared(functools.partial(self._imitate, judged=True))

    @property
    def saved(self) -> dict[str, Any]:
        """What resuming needs, by its name in state.npz."""
        owners = {"generator": self.generator, "optimizer": self.optimizer}
        if self.loss.adversarial_weight:
            owners |= {"discriminator": self.discriminator, "discriminator_optimizer": self.discriminator_optimizer}
        return owners | ({"averaged": self.averaged} if self.averaged else {})

    def weights(self, phase: str) -> dict[str, dict[str, float]]:
        """The weights of the terms of "generator" and "discriminator"."""
        generator = {"pixel": self.loss.pixel_weight, "gradient": self.loss.gradient_weight}
        if phase == WARM_UP or not self.loss.adversarial_weight:
            return {"generator": generator}
        judged = {"d_real": 1.0, "d_fake": 1.0}
        return {"generator": generator | {"adversarial": self.loss.adversarial_weight}, "discriminator": judged}

    def check(self, data: TrainingData) -> None:
        """There must be something to imitate."""
        if not data.has_targets:
            raise ValueError("nothing to imitate: give drawings of the photos with --drawings DIR, or set data.target")

    def step(self, batch: Batch, moment: Moment) -> Terms:
        """One step on `photo` and `target`, each (B, S, S, 3) float32 [-1, 1]."""
        schedule = self.experiment.schedule
        factor = 1.0 if moment.phase == WARM_UP else decay_factor(schedule.decay, moment.done)
        rate = schedule.warmup_rate if moment.phase == WARM_UP else schedule.generator_rate
        self.optimizer.learning_rate = rate * factor
        if moment.phase == WARM_UP or not self.loss.adversarial_weight:
            return self.imitation_step(batch)
        self.discriminator_optimizer.learning_rate = schedule.discriminator_rate * factor
        return self.judged_step(batch)

    def _imitate(self, batch: Batch, judged: bool) -> Terms:
        photo, target = batch["photo"], batch["target"]
        counts = 1.0 + self.loss.line_weight * losses.line_map(target) if self.loss.line_weight else 1.0
        with tf.GradientTape() as tape:
            fake = self.generator(photo, training=True)
            with tape.stop_recording():
                discriminator_terms = self._update_discriminator(target, fake) if judged else {}
            terms = {
                "pixel": losses.pixel_loss(target, fake, counts),
                "gradient": losses.gradient_loss(target, fake, counts),
            }
            if judged:
                logits = self.discriminator(self._seen(fake), training=True)
                terms["adversarial"] = losses.generator_adversarial_loss("lsgan", logits)
            total = losses.weighted_sum(terms, self.weights("imitation")["generator"])
            scaled = self.engine.scale(total, self.optimizer)
        self.engine.apply(tape, scaled, self.optimizer, self.generator)
        return {**terms, "generator": total, **discriminator_terms}

    def _update_discriminator(self, target: Tensor, fake: Tensor) -> Terms:
        pictures = tf.concat([self._seen(target), self._seen(fake)], axis=0)
        advance_power_iterations(self.discriminator)
        with tf.GradientTape() as tape:
            real_logits, fake_logits = tf.split(self.discriminator(pictures, training=True), 2)
            terms = losses.discriminator_losses("lsgan", {"real": real_logits, "fake": fake_logits})
            total = terms["real"] + terms["fake"]
            scaled = self.engine.scale(total, self.discriminator_optimizer)
        self.engine.apply(tape, scaled, self.discriminator_optimizer, self.discriminator)
        return {**{f"d_{name}": value for name, value in terms.items()}, "discriminator": total}

    def _seen(self, picture: Tensor) -> Tensor:
        """What the discriminator sees of pictures, see `input` of DiscriminatorConfig."""
        return losses.to_gray(picture) if self.config.input == "gray" else picture

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
