"""AnimeGANv3: a generator with two tails, of which the second learns what smoothing makes of the first's drawings.

The support tail is trained against anime by style, regions, colour and a discriminator that sees gray. Its drawing, after a
guided filter, is s. On the host the raw drawing loses its texture (non-local means, L0 gradients), which gives r; the main
tail, m, learns to draw r at once, with a discriminator of its own, and is what is exported.

A step: both tails draw; other processes then make r and the means over regions of s, while the devices compute what else
does not change in the step, the features of photo and frame; then the generator learns, then both discriminators, from what
the generator draws now. The reference does the same in the same order. What differs: the L0 minimisation mirrors the picture
at its border where the reference's wraps around, a power iteration is made once a step, not at every call, and a smooth
frame is the version of the frame beside it, where the reference takes any other.

Reference: AnimeGANv3_hayao.py, AnimeGANv3_shinkai.py, tools/ops.py, net/.
"""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from hub_export.architecture import GeneratorConfig
from hub_export.generator import V3_SCALES, Layers, build_generator, lade, v3_tail
from train import losses, recipes
from train.engine import Engine
from train.features import build_features, with_shallow_layers
from train.layers import FastConv2D, RecallConv2D, SpectralConv2D, advance_power_iterations, group_norm
from train.regions import regions_of, without_texture
from train.schedule import WARM_UP, Moment, decay_factor
from train.settings import AnimeGANv3Config, Experiment
from train.tensors import Batch, Tensor, Terms

RADIUS, EPSILON = 2, 0.01
"""Of the guided filter: its window reaches so many pixels to each side; variances below, in [0, 1], are smoothed away."""
REAL, FAKE = 0.9, 0.1
"""What the gray discriminator should answer."""

TERMS = {
    "content": "content: features against the photo's",
    "pixel": "pixels: absolute difference of both tails from the photo",
    "style_2": "style: centred Gram matrices of conv2_2 against anime's",
    "style_3": "style: centred Gram matrices of conv3_3 against anime's",
    "style_4": "style: centred Gram matrices of conv4_4 against anime's",
    "regions": "regions: features against those of the drawing's own region means",
    "photo_regions": "regions: features against those of the photo's region means",
    "colour": "colour: CIE Lab against the photo's",
    "tv": "total variation of the support tail",
    "adversarial": "adversarial: gray drawings taken for anime",
    "main_photo": "main tail: features against the photo's",
    "main_pixel": "main tail: pixels against the support tail's drawing without texture",
    "main_content": "main tail: features against those of the support tail's drawing without texture",
    "main_adversarial": "main tail, adversarial: drawings taken for ones without texture",
    "main_tv": "total variation of the main tail",
    "d_real": "gray discriminator: anime frames",
    "d_fake": "gray discriminator: drawings",
    "d_smooth": "gray discriminator: frames with smooth edges",
    "d_main_real": "main discriminator: drawings without texture",
    "d_main_fake": "main discriminator: drawings of the main tail",
    "generator": "generator, weighted sum",
    "discriminator": "both discriminators, weighted sum",
}
"""In words."""


class Recipe(recipes.Recipe):
    """See `train.recipes.Recipe`. `experiment.recipe` is an AnimeGANv3Config.

    Args:
        norm: the normalisation of all models; another than this device's fastest tells what it would cost elsewhere.
    """

    terms = TERMS
    entries = frozenset({"photo", "target", "anime_gray", "smooth_gray"})

    def __init__(self, experiment: Experiment, engine: Engine, norm: Callable[..., Any] = group_norm):
        assert isinstance(experiment.recipe, AnimeGANv3Config)
        self.experiment, self.engine, self.config, self.loss = experiment, engine, experiment.recipe, experiment.recipe.loss
        layers = Layers(FastConv2D, norm, RecallConv2D)
        with engine.scope():
            self.features = build_features(self.config.features)
            self.frozen = list(self.features.variables)
            self.deep_and_shallow = with_shallow_layers(self.features)
            build = functools.partial(build_tails, experiment.generator, layers, self.config.moments_decay)
            self.generator = build()
            self.averaged = engine.average(self.generator, build)
            self.discriminator = build_discriminators(self.config.discriminator_channels, norm)
            self.warmup_optimizer = engine.optimizer(self.generator)
            self.generator_optimizer = engine.optimizer(self.generator)
            self.discriminator_optimizer = engine.optimizer(self.discriminator)
        self.warmup_step = engine.shared(self._warm_up)
        self.drawing = engine.apart(self._draw)
        self.comparison = engine.apart(self._compare_with)
        self.adversarial_step = engine.shared(functools.partial(self._train_all, update_discriminators=True))
        self.generator_step = engine.shared(functools.partial(self._train_all, update_discriminators=False))
        smoothing = self.config.smoothing
        self.segment = functools.partial(regions_of, least=smoothing.region)
        self.without_texture = functools.partial(without_texture, strength=smoothing.strength, window=smoothing.window)

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
        return owners | ({"averaged": self.averaged} if self.averaged else {})

    def weights(self, phase: str) -> dict[str, dict[str, float]]:
        """The weights of the terms of "generator" and "discriminator"."""
        loss = self.loss
        if phase == WARM_UP:
            return {"generator": {"content": 1.0, "main_photo": loss.warmup_main_weight, "pixel": loss.pixel_weight}}
        generator = {
            "content": loss.content_weight,
            "style_2": loss.style_2_weight,
            "style_3": loss.style_3_weight,
            "style_4": loss.style_4_weight,
            "regions": loss.region_weight,
            "photo_regions": loss.photo_region_weight,
            "colour": loss.colour_weight,
            "tv": loss.tv_weight,
            "adversarial": loss.adversarial_weight,
            "main_pixel": loss.main_pixel_weight,
            "main_content": loss.main_content_weight,
            "main_adversarial": loss.main_adversarial_weight,
            "main_tv": loss.tv_weight,
        }
        discriminator = {
            "d_real": loss.real_weight,
            "d_fake": loss.fake_weight,
            "d_smooth": loss.smooth_weight,
            "d_main_real": loss.main_discriminator_weight,
            "d_main_fake": loss.main_discriminator_weight,
        }
        return {"generator": generator, "discriminator": discriminator}

    def step(self, batch: Batch, moment: Moment) -> Terms:
        """One step of the phase that the moment is in.

        Args:
            batch: photo, target (the photo's region means), anime_gray, smooth_gray, each (B, S, S, 3) float32 [-1, 1].
        """
        schedule = self.experiment.schedule
        if moment.phase == WARM_UP:
            self.warmup_optimizer.learning_rate = schedule.warmup_rate
            return self.warmup_step(batch)
        factor = decay_factor(schedule.decay, moment.done)
        self.generator_optimizer.learning_rate = schedule.generator_rate * factor
        self.discriminator_optimizer.learning_rate = schedule.discriminator_rate * factor
        raw, filtered = self.drawing(batch)
        regions, textureless = self.engine.on_host(self.segment, filtered), self.engine.on_host(self.without_texture, raw)
        known = self.comparison(batch)
        both = moment.index % schedule.generator_steps == 0
        train = self.adversarial_step if both else self.generator_step
        return train(batch, known, regions(), textureless())

    def _warm_up(self, batch: Batch) -> Terms:
        photo = batch["photo"]
        photo_features = self.features(photo)
        with tf.GradientTape() as tape:
            raw, main = self.generator(photo, training=True)
            filtered = guided_filter(raw)
            drawn, main_drawn = tf.split(self.features(tf.concat([filtered, main], axis=0)), 2)
            terms = {
                "content": feature_loss(photo_features, drawn),
                "main_photo": feature_loss(photo_features, main_drawn),
                "pixel": losses.pixel_loss(photo, filtered) + losses.pixel_loss(photo, main),
            }
            total = losses.weighted_sum(terms, self.weights(WARM_UP)["generator"])
            scaled = self.engine.scale(total, self.warmup_optimizer)
        self.engine.apply(tape, scaled, self.warmup_optimizer, self.generator)
        return {**terms, "generator": total}

    def _draw(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """The support tail's drawing, raw and filtered."""
        raw, _ = self.generator(batch["photo"], training=True)
        return raw, guided_filter(raw)

    def _compare_with(self, batch: Batch) -> dict[str, Any]:
        """What the drawings are compared with, as far as it does not depend on them."""
        photo, regions = tf.split(self.features(tf.concat([batch["photo"], batch["target"]], axis=0)), 2)
        styles = [centred_gram(layer) for layer in self.deep_and_shallow(batch["anime_gray"])]
        return {"photo": photo, "photo_regions": regions, "styles": styles}

    def _train_all(
        self, batch: Batch, known: Mapping[str, Any], regions: Tensor, textureless: Tensor, update_discriminators: bool
    ) -> Terms:
        """Generator and discriminators, given the region means of s and the drawing without texture, r."""
        photo = batch["photo"]
        region_features, textureless_features = tf.split(self.features(tf.concat([regions, textureless], axis=0)), 2)
        advance_power_iterations(self.discriminator)
        with tf.GradientTape() as tape:
            raw, main = self.generator(photo, training=True)
            drawn = guided_filter(raw)
            gray = losses.to_gray(drawn)
            drawn_features, main_features = tf.split(self.features(tf.concat([drawn, main], axis=0)), 2)
            styles = [centred_gram(layer) for layer in self.deep_and_shallow(gray)]
            logits, main_logits = self.discriminator([gray, main], training=True)
            terms = {
                "content": feature_loss(known["photo"], drawn_features),
                **{
                    f"style_{block}": style_loss(anime_gram, gram)
                    for block, anime_gram, gram in zip((2, 3, 4), known["styles"], styles, strict=True)
                },
                "regions": feature_loss(region_features, drawn_features),
                "photo_regions": feature_loss(known["photo_regions"], drawn_features),
                "colour": lab_loss(photo, drawn),
                "tv": losses.total_variation_loss(drawn),
                "adversarial": squares(logits, REAL),
                "main_pixel": losses.pixel_loss(textureless, main),
                "main_content": feature_loss(textureless_features, main_features),
                "main_adversarial": squares(main_logits, 1.0),
                "main_tv": losses.total_variation_loss(main),
            }
            total = losses.weighted_sum(terms, self.weights("adversarial")["generator"])
            scaled = self.engine.scale(total, self.generator_optimizer)
        self.engine.apply(tape, scaled, self.generator_optimizer, self.generator)
        judged = self._update_discriminators(batch, textureless) if update_discriminators else {}
        return {**terms, "generator": total, **judged}

    def _update_discriminators(self, batch: Batch, textureless: Tensor) -> Terms:
        raw, main = self.generator(batch["photo"], training=True)
        frames = self._with_salt(batch["smooth_gray"])
        gray = tf.concat([batch["anime_gray"], losses.to_gray(guided_filter(raw)), frames], axis=0)
        with tf.GradientTape() as tape:
            logits, main_logits = self.discriminator([gray, tf.concat([textureless, main], axis=0)], training=True)
            (real, fake, edgeless), (main_real, main_fake) = tf.split(logits, 3), tf.split(main_logits, 2)
            terms = {
                "d_real": squares(real, REAL),
                "d_fake": squares(fake, FAKE),
                "d_smooth": squares(edgeless, FAKE),
                "d_main_real": squares(main_real, 1.0),
                "d_main_fake": squares(main_fake, 0.0),
            }
            total = losses.weighted_sum(terms, self.weights("adversarial")["discriminator"])
            scaled = self.engine.scale(total, self.discriminator_optimizer)
        self.engine.apply(tape, scaled, self.discriminator_optimizer, self.discriminator)
        return {**terms, "discriminator": total}

    def _with_salt(self, pictures: Tensor) -> Tensor:
        """Pictures with a share of white pixels, other ones at every step; the reference strews them once."""
        if not self.config.smoothing.salt:
            return pictures
        white = self.engine.uniform((*pictures.shape[:3], 1), 1) < self.config.smoothing.salt
        return tf.where(white, 1.0, pictures)

    def export(self) -> list[np.ndarray]:
        """The weights of base and main tail, averaged if the schedule says so, as a plain generator holds them."""
        exported: list[np.ndarray] = []
        for layer in one_tail(self.averaged or self.generator, 1).layers:
            exported += [layer.kernel_now().numpy()] if isinstance(layer, RecallConv2D) else layer.get_weights()
        return exported

    def start_from(self, generator: keras.Model) -> None:
        """Both tails draw what a checkpoint's generator does. Raises ValueError if it is not the experiment's."""
        mine = build_generator(self.experiment.generator)
        if generator.name != mine.name or [w.shape for w in generator.weights] != [w.shape for w in mine.weights]:
            raise ValueError(
                f"init: the checkpoint holds a {generator.name} of other sizes than {self.experiment.generator}"
            )
        for model in filter(None, (self.generator, self.averaged)):
            for tail in range(2):
                start(one_tail(model, tail), generator)


def build_tails(config: GeneratorConfig, layers: Layers, moments_decay: float) -> keras.Model:
    """Photo -> the support tail's drawing and the main tail's, each (B, H, W, 3) float32 [-1, 1]."""
    main = build_generator(config, layers)
    scales = [main.get_layer(name).output for name in V3_SCALES]
    support = keras.layers.Activation("tanh", dtype="float32", name="support")(v3_tail(scales, layers))
    tails = keras.Model(main.input, [support, main.output], name="two_tails")
    for layer in tails.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = moments_decay
            layer.synchronized = tf.distribute.get_strategy().num_replicas_in_sync > 1  # moments of the whole batch
    return tails


def one_tail(tails: keras.Model, index: int) -> keras.Model:
    """The base and the support tail (0) or the main one (1), of the layers of a plain generator, in the same order."""
    return keras.Model(tails.input, tails.outputs[index])


def start(tail: keras.Model, plain: keras.Model) -> None:
    """A tail in training takes the weights of a plain generator. Raises ValueError where it cannot draw the same."""
    targets, sources = ([layer for layer in model.layers if layer.weights] for model in (tail, plain))
    for target, source in zip(targets, sources, strict=True):
        if isinstance(target, RecallConv2D):
            try:
                target.match(source.get_weights()[0])
            except ValueError:
                raise ValueError(
                    "init: the checkpoint's external attention was trained by another recipe, and AnimeGANv3's cannot draw "
                    "the same: take a checkpoint of AnimeGANv3, or one with generator.channels=32"
                ) from None
        else:
            target.set_weights(source.get_weights())


def build_discriminators(channels: int, group_norm: Callable[..., Any]) -> keras.Model:
    """Two discriminators of one shape: gray pictures and coloured ones -> float32 logits of each, (B, H/8, W/8, 1)."""
    pictures = [keras.Input((None, None, 3), name=name) for name in ("gray", "coloured")]
    return keras.Model(pictures, [_discriminator(one, channels, group_norm) for one in pictures], name="discriminators")


def _discriminator(pictures: Any, channels: int, group_norm: Callable[..., Any]) -> Any:
    def conv(x: Any, filters: int, kernel: int, stride: int = 1) -> Any:
        before, after = (1, 0) if stride == 2 else (kernel // 2, kernel // 2)
        if before:
            x = keras.ops.pad(x, [(0, 0), (before, after), (before, after), (0, 0)], mode="reflect")
        return SpectralConv2D(
            filters, kernel, stride, use_bias=False, kernel_initializer=keras.initializers.GlorotUniform()
        )(x)

    def activate(x: Any) -> Any:
        return keras.layers.LeakyReLU(negative_slope=0.2)(x)

    def conv_lade(x: Any, filters: int, stride: int) -> Any:
        x = conv(x, filters, 3, stride)
        return activate(lade(x, conv(x, filters, 1), group_norm))

    x = activate(conv(pictures, channels, 7))
    for _ in range(3):
        x = conv_lade(x, channels, 2)
        channels *= 2
        x = conv_lade(x, channels, 1)
    return keras.layers.Activation("linear", dtype="float32")(conv(x, 1, 1))


# --- terms ---------------------------------------------------------------------------------------------------------------


def guided_filter(picture: Tensor) -> Tensor:
    """A picture smoothed where it has little contrast, its own guide: (B, H, W, 3) float32 [-1, 1] to the same."""
    guide = (picture + 1.0) / 2.0

    def mean(x: Tensor) -> Tensor:  # over a window, or what of it lies within the picture
        return tf.nn.avg_pool2d(x, 2 * RADIUS + 1, 1, "SAME")

    middle = mean(guide)
    variance = mean(guide * guide) - middle * middle
    slope = variance / (variance + EPSILON)
    offset = middle - slope * middle
    return tf.clip_by_value((mean(slope) * guide + mean(offset)) * 2.0 - 1.0, -1.0, 1.0)


def feature_loss(a: Tensor, b: Tensor) -> Tensor:
    """Mean absolute difference of features, over the number of their channels."""
    return losses.content_loss(a, b) / a.shape[-1]


def centred_gram(features: Tensor) -> Tensor:
    """The Gram matrix of features less their mean over the picture: (B, h, w, C) -> (B, C, C) float32, per sample."""
    features = tf.cast(features, tf.float32)
    return losses.gram_matrix(features - tf.reduce_mean(features, axis=(1, 2), keepdims=True))


def style_loss(anime_gram: Tensor, fake_gram: Tensor) -> Tensor:
    """Mean absolute difference of Gram matrices (B, C, C), over C."""
    return tf.reduce_mean(tf.abs(anime_gram - fake_gram)) / anime_gram.shape[-1]


def lab(picture: Tensor) -> Tensor:
    """sRGB (..., 3) float32 [-1, 1] to CIE Lab under D65: L in [0, 100], a and b in [-128, 127]."""
    rgb = (picture + 1.0) / 2.0
    linear = tf.where(rgb > 0.04045, tf.pow((tf.maximum(rgb, 0.04045) + 0.055) / 1.055, 2.4), rgb / 12.92)
    to_xyz = tf.constant([[0.412453, 0.357580, 0.180423], [0.212671, 0.715160, 0.072169], [0.019334, 0.119193, 0.950227]])
    xyz = tf.linalg.matvec(to_xyz, linear) / tf.constant([0.95047, 1.0, 1.08883])
    # the root is taken of nothing near 0, where its gradient is infinite even if the other branch is chosen
    root = tf.where(xyz > 0.008856, tf.pow(tf.maximum(xyz, 0.008856), 1 / 3), 7.787 * xyz + 16 / 116)
    x, y, z = tf.unstack(root, axis=-1)
    return tf.stack([116.0 * y - 16.0, 500.0 * (x - y), 200.0 * (y - z)], axis=-1)


def lab_loss(photo: Tensor, fake: Tensor) -> Tensor:
    """2 L1(L/100) + L1(a/255) + L1(b/255)."""
    return tf.reduce_sum(tf.reduce_mean(tf.abs(lab(photo) - lab(fake)), axis=(0, 1, 2)) * [2 / 100, 1 / 255, 1 / 255])


def squares(logits: Tensor, label: float) -> Tensor:
    """Mean squared difference of logits from what they should be."""
    return tf.reduce_mean(tf.square(logits - label))
