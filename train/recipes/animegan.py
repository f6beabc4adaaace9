"""AnimeGAN and AnimeGANv2: one generator, one discriminator, and a frozen network in which content and style are compared.

Warm-up: the generator learns to reproduce the photo (content loss, optionally pixels). Adversarial: a discriminator
step, then a generator step against the discriminator just updated, both on one set of fakes: the generator does not
change in between, so computing them once is the references' mathematics. The diary takes both steps from where both were.
The discriminator sees its four kinds of pictures in one call, since its normalisation is per sample; a kind of weight 0 is
not shown to it. A smooth frame is the version of the frame beside it, where the references take any other.

Reference: AnimeGAN.py, build_model and train.
"""

import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from hub_export.generator import STOCK, Layers, build_generator
from train import losses, recipes
from train.batches import TrainingData
from train.discriminator import build_discriminator
from train.engine import Engine
from train.feature_cache import FeatureCache
from train.features import build_features
from train.layers import (
    FastConv2D,
    Scales,
    SpectralConv2D,
    advance_power_iterations,
    fold_spectral_norm,
    group_norm,
)
from train.schedule import WARM_UP, Moment, decay_factor
from train.settings import AnimeGANConfig, Experiment
from train.tensors import Batch, Tensor, Terms

COLLAPSE_STEPS = 300
"""How many steps the discriminator's losses must stay below COLLAPSE_LOSS before the run is stopped."""
COLLAPSE_LOSS = 1e-3

TERMS = {
    "content": "content: features against the target's",
    "pixel": "pixels: absolute difference from the target",
    "style": "style: Gram matrices against anime's",
    "colour": "colour: YUV against the target's",
    "tv": "total variation",
    "adversarial": "adversarial: drawings taken for anime",
    "d_real": "discriminator: anime frames",
    "d_fake": "discriminator: drawings",
    "d_gray": "discriminator: gray frames",
    "d_smooth": "discriminator: frames with smooth edges",
    "d_penalty": "discriminator: gradient penalty",
    "generator": "generator, weighted sum",
    "discriminator": "discriminator, weighted sum",
}
"""In words."""


class Recipe(recipes.Recipe):
    """See `train.recipes.Recipe`.

    Args:
        experiment: its recipe is an AnimeGANConfig.
        norm: the normalisation of all models; another than this device's fastest tells what it would cost elsewhere.
    """

    terms = TERMS

    def __init__(self, experiment: Experiment, engine: Engine, norm: Callable[..., Any] = group_norm):
        assert isinstance(experiment.recipe, AnimeGANConfig)
        self.experiment, self.engine, self.config, self.loss = experiment, engine, experiment.recipe, experiment.recipe.loss
        layers = Layers(SpectralConv2D if self.config.spectral_norm else FastConv2D, norm)
        penalised = self.loss.adversarial in losses.PENALTY_KINDS  # the discriminator is differentiated twice
        with engine.scope():
            self.features = build_features(self.config.features)
            build = functools.partial(build_generator, experiment.generator, layers)
            self.generator = build()
            self.averaged = engine.average(self.generator, build)
            self.scales = Scales(*filter(None, (self.generator, self.averaged))) if experiment.init else None
            self.discriminator = build_discriminator(
                self.config.discriminator, self.features, STOCK.group_norm if penalised else norm
            )
            self.warmup_optimizer = engine.optimizer(self.generator)
            self.generator_optimizer = engine.optimizer(self.generator)
            self.discriminator_optimizer = engine.optimizer(self.discriminator)
        self.warmup_step = engine.shared(self._warm_up)
        self.adversarial_step = engine.shared(functools.partial(self._train_both, update_discriminator=True))
        self.generator_step = engine.shared(functools.partial(self._train_both, update_discriminator=False))
        self.entries = frozenset({"photo", "target", "anime", "anime_gray", self.smooth_entry})
        self.frozen = list(self.features.variables)  # which a projected discriminator holds too
        self._collapsed_steps = 0

    @property
    def saved(self) -> dict[str, Any]:
        """What resuming needs, by its name in state.npz."""
        owners = {
            "generator": self.generator,
            "discriminator": self.discriminator,
            "warmup_optimizer": self.warmup_optimizer,
            "generator_optimizer": self.generator_optimizer,
            "discriminator_optimizer": self.discriminator_optimizer,
        }
        more = {"averaged": self.averaged, "generator_scales": self.scales}
        return owners | {name: owner for name, owner in more.items() if owner}

    @property
    def smooth_entry(self) -> str:
        """Which entry of a batch has the frames with smooth edges."""
        return "smooth_gray" if self.loss.smooth_target == "gray" else "smooth"

    @property
    def style_entry(self) -> str:
        """Which entry of a batch has the style."""
        return "anime_gray" if self.loss.style_target == "gray" else "anime"

    def weights(self, phase: str) -> dict[str, dict[str, float]]:
        """The weights of the terms of "generator" and "discriminator"."""
        loss = self.loss
        if phase == WARM_UP:
            return {"generator": {"content": loss.content_weight, "pixel": loss.pixel_weight}}
        generator = {
            "content": loss.content_weight,
            "style": loss.style_weight,
            "colour": loss.colour_weight * loss.colour_count,
            "tv": loss.tv_weight,
            "adversarial": loss.generator_weight,
        }
        judged = {f"d_{name}": loss.discriminator_weight * weight for name, weight in self._judged_weights().items()}
        penalty = loss.penalty_weight if loss.adversarial in losses.PENALTY_KINDS else 0.0
        return {"generator": generator, "discriminator": {**judged, "d_penalty": penalty}}

    def _judged_weights(self) -> dict[str, float]:
        loss = self.loss
        return {
            "real": loss.real_weight,
            "fake": loss.fake_weight,
            "gray": loss.gray_weight,
            "smooth": loss.smooth_weight,
        }

    def step(self, batch: Batch, moment: Moment) -> Terms:
        """One step of the phase that the moment is in.

        Args:
            batch: `entries`, each (B, S, S, 3) float32 [-1, 1]; target: what content and colour are compared with.
                Where features are cached, their target_features and style_gram too.
        """
        schedule = self.experiment.schedule
        if moment.phase == WARM_UP:
            self.warmup_optimizer.learning_rate = schedule.warmup_rate
            return self.warmup_step(batch)
        factor = decay_factor(schedule.decay, moment.done)
        self.generator_optimizer.learning_rate = schedule.generator_rate * factor
        self.discriminator_optimizer.learning_rate = schedule.discriminator_rate * factor
        both = moment.index % schedule.generator_steps == 0
        return self.adversarial_step(batch) if both else self.generator_step(batch)

    def _warm_up(self, batch: Batch) -> Terms:
        photo, target = batch["photo"], batch["target"]
        target_features = batch["target_features"] if "target_features" in batch else self.features(target)
        advance_power_iterations(self.generator)
        with tf.GradientTape() as tape:
            fake = self.generator(photo, training=True)
            terms = {"content": losses.content_loss(target_features, self.features(fake))}
            if self.loss.pixel_weight:
                terms["pixel"] = losses.pixel_loss(target, fake)
            total = losses.weighted_sum(terms, self.weights(WARM_UP)["generator"])
            scaled = self.engine.scale(total, self.warmup_optimizer)
        self.engine.apply(tape, scaled, self.warmup_optimizer, self.generator)
        return {**terms, "generator": total}

    def _train_both(self, batch: Batch, update_discriminator: bool) -> Terms:
        loss, photo, target = self.loss, batch["photo"], batch["target"]
        # 1. What the drawing is compared with: the target's features and colours, the style of a frame.
        if "target_features" in batch:
            target_features, style_gram = batch["target_features"], batch["style_gram"]
        else:
            both = tf.concat([target, batch[self.style_entry]], axis=0)
            target_features, style_features = tf.split(self.features(both), 2)
            style_gram = losses.gram_matrix(style_features)
        advance_power_iterations(self.generator)
        with tf.GradientTape() as tape:
            # 2. The generator draws the photo.
            fake = self.generator(photo, training=True)
            # 3. The discriminator learns to tell drawings from frames.
            discriminator_terms: Terms = {}
            if update_discriminator and not self.config.simultaneous:
                with tape.stop_recording():
                    discriminator_terms = self._update_discriminator(batch, fake)
            # 4. The generator's terms, against the discriminator just updated, or as it is.
            fake_features = self.features(fake)
            fake_logits = self.discriminator(self._seen(fake), training=True)
            terms = {
                "content": losses.content_loss(target_features, fake_features),
                "style": losses.style_loss(style_gram, fake_features),
                "colour": losses.colour_loss(target, fake, loss.colour_range),
                "tv": losses.total_variation_loss(fake),
                "adversarial": losses.generator_adversarial_loss(loss.adversarial, fake_logits),
            }
            total = losses.weighted_sum(terms, self.weights("adversarial")["generator"])
            scaled = self.engine.scale(total, self.generator_optimizer)
        # 5. The generator learns.
        self.engine.apply(tape, scaled, self.generator_optimizer, self.generator)
        if update_discriminator and self.config.simultaneous:
            discriminator_terms = self._update_discriminator(batch, fake)
        return {**terms, "generator": total, **discriminator_terms}

    def _update_discriminator(self, batch: Batch, fake: Tensor) -> Terms:
        loss, weights = self.loss, self._judged_weights()
        judged = {"real": batch["anime"], "fake": fake, "gray": batch["anime_gray"]}
        judged["smooth"] = batch[self.smooth_entry]
        pictures = {name: self._seen(picture) for name, picture in judged.items() if weights[name]}
        advance_power_iterations(self.discriminator)
        with tf.GradientTape() as tape:
            logits = tf.split(self.discriminator(tf.concat([*pictures.values()], axis=0), training=True), len(pictures))
            terms = losses.discriminator_losses(loss.adversarial, dict(zip(pictures, logits, strict=True)))
            total = loss.discriminator_weight * losses.weighted_sum(terms, weights)
            if loss.adversarial in losses.PENALTY_KINDS:
                terms["penalty"] = self._penalty(self._seen(batch["anime"]), self._seen(fake))
                total += loss.penalty_weight * terms["penalty"]
            scaled = self.engine.scale(total, self.discriminator_optimizer)
        self.engine.apply(tape, scaled, self.discriminator_optimizer, self.discriminator)
        return {**{f"d_{name}": value for name, value in terms.items()}, "discriminator": total}

    def _penalty(self, anime: Tensor, fake: Tensor) -> Tensor:
        alpha = self.engine.uniform((anime.shape[0], 1, 1, 1), 2)
        noise = self.engine.spread(anime) * self.engine.uniform(anime.shape, 3)
        judge = functools.partial(self.discriminator, training=True)
        return losses.gradient_penalty(self.loss.adversarial, judge, anime, fake, alpha, noise)

    def _seen(self, picture: Tensor) -> Tensor:
        """What the discriminator gets of pictures, see `input` of DiscriminatorConfig."""
        return losses.to_gray(picture) if self.config.discriminator.input == "gray" else picture

    def export(self) -> list[np.ndarray]:
        """The generator's weights, averaged if the schedule says so, its kernels divided by σ."""
        return fold_spectral_norm(self.averaged or self.generator)

    def advice(self, terms: Mapping[str, float]) -> str | None:
        """A discriminator that tells every drawing from anime teaches nothing more."""
        judged = [terms[name] for name in ("d_real", "d_fake") if name in terms]
        if judged and self.loss.adversarial in ("gan", "lsgan", "dragan", "hinge"):
            self._collapsed_steps = self._collapsed_steps + 1 if max(judged) < COLLAPSE_LOSS else 0
        if self._collapsed_steps < COLLAPSE_STEPS:
            return None
        return (
            f"for {COLLAPSE_STEPS} steps the discriminator has told every fake from anime (losses below {COLLAPSE_LOSS}), "
            "so the generator learns nothing more from it. Try schedule.generator_steps=3, discriminator.dropout=0.3, or a "
            "lower schedule.discriminator_rate or loss.fake_weight"
        )

    def cache_features(self, folder: Path, data: TrainingData) -> Callable[[Tensor, Tensor], dict[str, Tensor]]:
        """The target's features and the Gram matrix of a frame. Raises ValueError where the files cannot be written."""
        return FeatureCache(folder, self.features, data, self.style_entry).beside
