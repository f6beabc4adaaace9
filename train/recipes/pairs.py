"""Imitation: a generator learns to draw what a filter, a hand or another model drew of the same photos.

The target of a photo is painted by `targets.py` (data.target), or is a drawing given with it (--drawings). Absolute
difference of pixels, and of their steps to the right and down, without which an imitator blurs; both can count more on
dark lines of the target and, while a discriminator judges, on those that the imitation alone has. With data.redrawn a share
of each batch are anime frames, unpainted, which the generator learns to draw again: how lines really run, no filter knows.
With data.signs a share get a sign, whose letters stay: photos hold too few to learn from.

What is unsure comes out faint and smooth, which costs least. So, after a warm-up, a discriminator may judge, place by place,
which of a target and its imitation is the target; targets are painted photos, and redrawn frames. Asked about one picture
alone it learnt nothing here in hundreds of steps, since pictures differ more in what they show than in how.

Reference: Chen et al. 2017, "Fast Image Processing with Fully-Convolutional Networks"; Wang et al. 2018, "ESRGAN", whose
discriminator compares, too; AnimeGANv3, which trains its second tail on what smoothing made of its first, before a
discriminator.
"""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import tensorflow as tf

from hub_export.generator import Layers, build_generator
from train import losses, recipes
from train.discriminator import build_discriminator
from train.engine import Engine
from train.features import build_features
from train.layers import FastConv2D, advance_power_iterations, group_norm
from train.schedule import WARM_UP, Moment, decay_factor
from train.settings import Experiment, PairsConfig
from train.tensors import Batch, Tensor, Terms

TERMS = {
    "pixel": "pixels: absolute difference from the target",
    "gradient": "gradients: absolute difference of the steps between pixels",
    "generator": "generator, weighted sum",
}
JUDGED_TERMS = {
    "adversarial": "adversarial: imitations that look more like targets than these do",
    "discriminator": "discriminator: targets told from their imitations",
}
"""In words."""


class Recipe(recipes.Recipe):
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
        return {"generator": generator | {"adversarial": self.loss.adversarial_weight}}

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
        with tf.GradientTape() as tape:
            fake = self.generator(photo, training=True)
            counts = losses.line_counts(self.loss.line_weight, target, *([fake] if judged else []))
            terms = {
                "pixel": losses.pixel_loss(target, fake, counts),
                "gradient": losses.gradient_loss(target, fake, counts),
            }
            if judged:
                with tape.stop_recording():
                    comparison, target_logits = self._update_discriminator(target, fake)
                # What it said of a target is from before its own step, which spares a pass: that changes how long the
                # gradient is, not where it points.
                logits = self.discriminator(self._seen(fake), training=True)
                terms["adversarial"] = losses.paired_generator_loss(target_logits, logits)
            total = losses.weighted_sum(terms, self.weights("imitation")["generator"])
            scaled = self.engine.scale(total, self.optimizer)
        self.engine.apply(tape, scaled, self.optimizer, self.generator)
        return {**terms, "generator": total, **({"discriminator": comparison} if judged else {})}

    def _update_discriminator(self, target: Tensor, fake: Tensor) -> tuple[Tensor, Tensor]:
        """Its loss, and what it said of the targets."""
        pictures = tf.concat([self._seen(target), self._seen(fake)], axis=0)
        advance_power_iterations(self.discriminator)
        with tf.GradientTape() as tape:
            target_logits, fake_logits = tf.split(self.discriminator(pictures, training=True), 2)
            comparison = losses.paired_discriminator_loss(target_logits, fake_logits)
            scaled = self.engine.scale(comparison, self.discriminator_optimizer)
        self.engine.apply(tape, scaled, self.discriminator_optimizer, self.discriminator)
        return comparison, target_logits

    def _seen(self, picture: Tensor) -> Tensor:
        """What the discriminator sees of pictures, see `input` of DiscriminatorConfig."""
        return losses.to_gray(picture) if self.config.input == "gray" else picture
