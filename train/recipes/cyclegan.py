"""CycleGAN: a generator each way between photos and anime, a discriminator on either side, and no feature network.

What goes there and back again must be what it was, so that a drawing keeps its photo's content; what is anime already must
stay as it is. One forward pass serves all: first both generators learn, against the discriminators as they are, then both
discriminators, from drawings out of a buffer of earlier ones. A generator draws photos and frames in one call, since no norm
looks over a batch. `cyclegan-edges` shows the anime discriminator frames with smooth edges too, as CartoonGAN does.

Reference: Zhu et al. 2017, "Unpaired Image-to-Image Translation using Cycle-Consistent Adversarial Networks", section 7;
junyanz/CycleGAN and its PyTorch version, whose order of steps this is; Chen et al. 2018 (CartoonGAN), section 3.1.
"""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import keras
import tensorflow as tf

from hub_export.generator import Layers, build_generator
from train import losses, recipes
from train.engine import Engine
from train.layers import FastConv2D, group_norm
from train.schedule import Moment, decay_factor
from train.settings import CycleGANConfig, Experiment
from train.tensors import Batch, Tensor, Terms

TERMS = {
    "adversarial": "adversarial: drawings taken for anime",
    "cycle": "cycle: photos drawn and drawn back, absolute difference",
    "identity": "identity: anime drawn as anime, absolute difference",
    "back_adversarial": "back, adversarial: frames taken for photos",
    "back_cycle": "back, cycle: frames made photos and drawn again",
    "back_identity": "back, identity: photos made photos",
    "d_real": "discriminator: anime frames",
    "d_fake": "discriminator: drawings",
    "d_smooth": "discriminator: frames with smooth edges",
    "back_d_real": "back, discriminator: photos",
    "back_d_fake": "back, discriminator: frames made photos",
    "generator": "both generators, weighted sum",
    "discriminator": "both discriminators, weighted sum",
}
"""In words."""


class Recipe(recipes.Recipe):
    """See `train.recipes.Recipe`. `experiment.recipe` is a CycleGANConfig; what leads from anime to photos is named back."""

    terms = TERMS

    def __init__(self, experiment: Experiment, engine: Engine, norm: Callable[..., Any] = group_norm):
        assert isinstance(experiment.recipe, CycleGANConfig)
        self.experiment, self.engine, self.config = experiment, engine, experiment.recipe
        batch, size = experiment.schedule.batch, experiment.data.size
        self.entries = frozenset({"photo", "anime"} | ({"smooth"} if self.config.loss.smooth_weight else set()))
        with engine.scope():
            build = functools.partial(build_generator, experiment.generator, Layers(FastConv2D, norm))
            self.generator, self.back_generator = build(), build()
            self.averaged = engine.average(self.generator, build)
            self.discriminator, self.back_discriminator = (
                build_discriminator(self.config.discriminator_channels, norm) for _ in range(2)
            )
            self.generator_optimizer = engine.optimizer(Both(self.generator, self.back_generator))
            self.discriminator_optimizer = engine.optimizer(Both(self.discriminator, self.back_discriminator))
            self.buffer, self.back_buffer = (Buffer(self.config.buffer, batch, size) for _ in range(2))
        self.cycle_step = engine.shared(self._train)

    @property
    def saved(self) -> dict[str, Any]:
        """What resuming needs, by its name in state.npz."""
        owners = {
            "generator": self.generator,
            "back_generator": self.back_generator,
            "discriminator": self.discriminator,
            "back_discriminator": self.back_discriminator,
            "generator_optimizer": self.generator_optimizer,
            "discriminator_optimizer": self.discriminator_optimizer,
            "buffer": self.buffer,
            "back_buffer": self.back_buffer,
        }
        return owners | ({"averaged": self.averaged} if self.averaged else {})

    def weights(self, phase: str) -> dict[str, dict[str, float]]:
        """The weights of the terms of "generator" and "discriminator"."""
        loss = self.config.loss
        way = {"adversarial": 1.0, "cycle": loss.cycle_weight, "identity": loss.identity_weight}
        judged = {"d_real": 0.5, "d_fake": 0.5}
        back, back_judged = ({f"back_{name}": weight for name, weight in own.items()} for own in (way, judged))
        return {"generator": way | back, "discriminator": judged | {"d_smooth": 0.5 * loss.smooth_weight} | back_judged}

    def step(self, batch: Batch, moment: Moment) -> Terms:
        """One step on `photo`, `anime` and, for some, `smooth`, each (B, S, S, 3) float32 [-1, 1]."""
        schedule = self.experiment.schedule
        factor = decay_factor(schedule.decay, moment.done)
        self.generator_optimizer.learning_rate = schedule.generator_rate * factor
        self.discriminator_optimizer.learning_rate = schedule.discriminator_rate * factor
        return self.cycle_step(batch)

    def _train(self, batch: Batch) -> Terms:
        photo, anime = batch["photo"], batch["anime"]
        with tf.GradientTape() as tape:
            # 1. Both ways, and what each generator makes of what is there already.
            drawn, same_anime = _split(self.generator, photo, anime)
            undrawn, same_photo = _split(self.back_generator, anime, photo)
            # 2. And back again.
            photo_again = self.back_generator(drawn, training=True)
            anime_again = self.generator(undrawn, training=True)
            # 3. The generators' terms, against the discriminators as they are.
            terms = {
                "adversarial": losses.generator_adversarial_loss("lsgan", self.discriminator(drawn, training=True)),
                "cycle": losses.pixel_loss(photo, photo_again),
                "identity": losses.pixel_loss(anime, same_anime),
                "back_adversarial": losses.generator_adversarial_loss(
                    "lsgan", self.back_discriminator(undrawn, training=True)
                ),
                "back_cycle": losses.pixel_loss(anime, anime_again),
                "back_identity": losses.pixel_loss(photo, same_photo),
            }
            total = losses.weighted_sum(terms, self.weights("adversarial")["generator"])
            scaled = self.engine.scale(total, self.generator_optimizer)
        # 4. The generators learn, then the discriminators.
        self.engine.apply(tape, scaled, self.generator_optimizer, Both(self.generator, self.back_generator))
        return {**terms, "generator": total, **self._train_discriminators(batch, drawn, undrawn)}

    def _train_discriminators(self, batch: Batch, drawn: Tensor, undrawn: Tensor) -> Terms:
        judged = {"real": batch["anime"], "fake": self._earlier(self.buffer, drawn, 2)}
        if self.config.loss.smooth_weight:
            judged["smooth"] = batch["smooth"]
        back_judged = {"real": batch["photo"], "fake": self._earlier(self.back_buffer, undrawn, 3)}
        with tf.GradientTape() as tape:
            terms = {f"d_{name}": term for name, term in _judge(self.discriminator, judged).items()}
            terms |= {f"back_d_{name}": term for name, term in _judge(self.back_discriminator, back_judged).items()}
            total = losses.weighted_sum(terms, self.weights("adversarial")["discriminator"])
            scaled = self.engine.scale(total, self.discriminator_optimizer)
        self.engine.apply(tape, scaled, self.discriminator_optimizer, Both(self.discriminator, self.back_discriminator))
        return {**terms, "discriminator": total}

    def _earlier(self, buffer: "Buffer", pictures: Tensor, stream: int) -> Tensor:
        """What the discriminator sees for these pictures. Every replica keeps the whole batch's, as one device would."""
        replica = tf.distribute.get_replica_context()
        chance = self.engine.uniform((pictures.shape[0], 2), stream)
        everyone = buffer.exchange(replica.all_gather(pictures, axis=0), replica.all_gather(chance, axis=0))
        return tf.reshape(everyone, (-1, *pictures.shape))[replica.replica_id_in_sync_group]


class Both:
    """Two models that one optimizer trains."""

    def __init__(self, *models: keras.Model):
        self.trainable_variables = [variable for model in models for variable in model.trainable_variables]


class Buffer:
    """The pictures a discriminator has been shown, of which it is shown one again in place of every second new one.

    Reference: Shrivastava et al. 2017, "Learning from Simulated and Unsupervised Images", section 2.3; junyanz/CycleGAN,
    util/image_pool.lua.

    Args:
        places: how many pictures it keeps; 0 for none.
        batch: pictures of a step, on all devices.
        size: their height and width.
    """

    def __init__(self, places: int, batch: int, size: int):
        self.places, self.batch = places, batch
        first = functools.partial(
            tf.Variable, trainable=False, aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA
        )  # all replicas keep the same
        self.pictures = first(tf.zeros((places, size, size, 3)))
        self.count = first(tf.constant(0, tf.int64))
        self.variables = [self.pictures, self.count] if places else []

    def exchange(self, pictures: Tensor, chance: Tensor) -> Tensor:
        """Until it is full it keeps every picture and gives it back; then it gives back an earlier one for half of them.

        Args:
            pictures: (B, S, S, 3) float32.
            chance: (B, 2) in [0, 1): whether to exchange, below a half, and which.

        Returns:
            Like pictures.
        """
        if not self.places:
            return pictures
        kept, count, outputs = self.pictures.read_value(), self.count.read_value(), []
        for index in range(self.batch):
            picture, filling, exchanged = pictures[index], count < self.places, chance[index, 0] < 0.5
            place = tf.where(filling, count, tf.cast(chance[index, 1] * self.places, tf.int64))
            earlier = kept[place]
            outputs.append(tf.where(exchanged & ~filling, earlier, picture))
            kept = tf.tensor_scatter_nd_update(kept, [[place]], [tf.where(exchanged | filling, picture, earlier)])
            count += tf.cast(filling, tf.int64)
        self.pictures.assign(kept)
        self.count.assign(count)
        return tf.stack(outputs)


def build_discriminator(channels: int, group_norm: Callable[..., Any]) -> keras.Model:
    """CycleGAN's discriminator, each of whose answers sees 70 x 70 pixels, under the current Keras dtype policy.

    Args:
        channels: of the first layer; 64 give 2,765,568 parameters.
        group_norm: the class that normalises.

    Returns:
        A Functional model `(B, H, W, 3) [-1, 1] -> (B, H/8 - 2, W/8 - 2, 1) float32`.
    """

    def conv(x: Any, filters: int, stride: int) -> Any:
        start = keras.initializers.RandomNormal(stddev=0.02)
        x = keras.layers.ZeroPadding2D(1)(x)
        return keras.layers.Conv2D(filters, 4, stride, use_bias=False, kernel_initializer=start)(x)

    def activate(x: Any) -> Any:
        return keras.layers.LeakyReLU(negative_slope=0.2)(x)

    pictures = keras.Input((None, None, 3), name="pictures")
    x = activate(conv(pictures, channels, 2))
    for filters, stride in ((2 * channels, 2), (4 * channels, 2), (8 * channels, 1)):
        x = activate(group_norm(-1, epsilon=1e-5)(conv(x, filters, stride)))
    logits = keras.layers.Activation("linear", dtype="float32", name="logits")(conv(x, 1, 1))
    return keras.Model(pictures, logits, name="discriminator")


def _split(generator: keras.Model, one: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
    """What a generator makes of two batches."""
    first, second = tf.split(generator(tf.concat([one, other], axis=0), training=True), 2)
    return first, second


def _judge(discriminator: keras.Model, pictures: Mapping[str, Tensor]) -> Terms:
    """The discriminator's least-squares terms for batches of pictures by name, of which "real" is the real one."""
    logits = tf.split(discriminator(tf.concat([*pictures.values()], axis=0), training=True), len(pictures))
    return losses.discriminator_losses("lsgan", dict(zip(pictures, logits, strict=True)))
