"""The models, the optimizers and the training steps of the two phases.

Warm-up: the generator learns to reproduce the photo (content loss, optionally pixels). Adversarial: a discriminator
step, then a generator step against the discriminator just updated, both on one set of fakes: the generator does not
change in between, so computing them once is the references' mathematics. Likewise the discriminator sees its four kinds
of pictures in one call, since its normalisation is per sample. What has weight 0 is not computed.

Reference: AnimeGAN.py, build_model and train.
"""

import functools
import json
import math
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from hub_export.architecture import GeneratorConfig
from hub_export.generator import STOCK, Layers, build_generator, dtype_policy
from train import losses
from train.discriminator import build_discriminator
from train.experiments import Experiment, ScheduleConfig
from train.features import build_features
from train.layers import FastConv2D, SpectralConv2D, advance_power_iterations, fold_spectral_norm, group_norm, unfold
from train.workers import await_workers


def automatic_precision() -> str:
    """mixed_bfloat16 where the device computes in it, else float32."""
    for gpu in tf.config.list_physical_devices("GPU"):
        capability = tf.config.experimental.get_device_details(gpu).get("compute_capability", (0, 0))
        return "mixed_bfloat16" if capability >= (8, 0) else "mixed_float16" if capability >= (7, 0) else "float32"
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            flags = next((line for line in file if line.startswith("flags")), "")
    except OSError:
        flags = ""
    return "mixed_bfloat16" if "avx512_bf16" in flags or "amx_bf16" in flags else "float32"


def open_strategy(name: str, wait: float = 600.0) -> tf.distribute.Strategy:
    """The devices that share every batch; to be called before TensorFlow does anything else.

    Args:
        name: "one" device, "mirrored" for all GPUs of this machine, or "multiworker" for the machines in TF_CONFIG.
        wait: how many seconds the other machines may take to start.

    Raises:
        ValueError: there is one device only, or TF_CONFIG does not name the workers and which of them this one is.
        RuntimeError: a worker did not start in time.
    """
    if name == "mirrored":
        devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
        if len(devices) < 2:
            raise ValueError(
                f"--strategy mirrored shares every batch among several GPUs, and this machine has only {devices[0].name}: "
                "leave it out"
            )
        return tf.distribute.MirroredStrategy([device.name for device in devices])
    if name == "multiworker":
        try:
            told = json.loads(os.environ.get("TF_CONFIG", "{}"))
            workers = [address for job in told["cluster"].values() for address in job]
            own = told["cluster"][told["task"]["type"]][int(told["task"]["index"])]
        except (ValueError, LookupError, TypeError, AttributeError):
            raise ValueError(
                "--strategy multiworker needs TF_CONFIG in the environment of every worker, the same but for the index: "
                '\'{"cluster": {"worker": ["10.0.0.1:5000", "10.0.0.2:5000"]}, "task": {"type": "worker", "index": 0}}\''
            ) from None
        print(f"waiting at most {wait:g} seconds for all {len(workers)} workers", flush=True)
        await_workers(workers, own, wait)
        return tf.distribute.MultiWorkerMirroredStrategy()
    return tf.distribute.get_strategy()


class Adam(keras.optimizers.Adam):
    """Keras' Adam for float32 with TensorFlow's one operation for each variable, where Keras' own step takes a dozen.

    The steps' graphs are a third smaller for it, and so faster to trace and to start.
    """

    def apply(self, grads: Any, trainable_variables: Any = None) -> None:
        step = tf.cast(self.iterations + 1, tf.float32)
        beta1, beta2 = tf.constant(self.beta_1), tf.constant(self.beta_2)
        powers = {"beta1_power": tf.pow(beta1, step), "beta2_power": tf.pow(beta2, step)}
        self._of_all = {"beta1": beta1, "beta2": beta2, "epsilon": tf.constant(self.epsilon), **powers}
        super().apply(grads, trainable_variables)

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        index = self._get_variable_index(variable)
        momentum, velocity = self._momentums[index].value, self._velocities[index].value
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle, m=momentum.handle, v=velocity.handle, lr=learning_rate, grad=gradient, **self._of_all
        )


class Trainer:
    """Everything that learns, and how.

    Args:
        experiment: what to build.
        precision: a Keras dtype policy; normalisation, σ, Gram matrices, losses and optimizers stay float32 in all.
        strategy: the devices to share every batch among; the default is one device.
        xla: compile the steps with XLA.
        norm: the normalisation of all models; another than this device's fastest tells what it would cost elsewhere.
    """

    def __init__(
        self,
        experiment: Experiment,
        precision: str,
        strategy: tf.distribute.Strategy | None = None,
        xla: bool = False,
        norm: Callable[..., Any] = group_norm,
    ):
        self.experiment, self.precision = experiment, precision
        self.strategy = strategy or tf.distribute.get_strategy()
        keras.utils.set_random_seed(experiment.seed)
        self.teachers: list[keras.Model] = []
        self._plain_layers = Layers(FastConv2D, norm)
        layers = Layers(SpectralConv2D, norm) if experiment.spectral_norm else self._plain_layers
        penalised = experiment.loss.adversarial in losses.PENALTY_KINDS  # the discriminator is differentiated twice
        with self.strategy.scope(), dtype_policy(precision):
            self.features = build_features(experiment.features)
            self.generator = build_generator(experiment.generator, layers)
            self.averaged = build_generator(experiment.generator, layers) if experiment.schedule.ema else None
            if self.averaged:
                self.averaged.set_weights(self.generator.get_weights())
            judged_by = STOCK.group_norm if penalised else norm
            self.discriminator = build_discriminator(experiment.discriminator, self.features, judged_by)
            self.warmup_optimizer = self._optimizer(self.generator)
            self.generator_optimizer = self._optimizer(self.generator)
            self.discriminator_optimizer = self._optimizer(self.discriminator)
            self.noise_seed = tf.Variable([experiment.seed, 0], dtype=tf.int64, trainable=False)
        self._warmup_step = self._shared(self._warm_up, xla)
        self._adversarial_step = self._shared(functools.partial(self._train_on, update_discriminator=True), xla)
        self._generator_step = self._shared(functools.partial(self._train_on, update_discriminator=False), xla)

    def _shared(self, phase: Callable[[Any], dict[str, Any]], xla: bool) -> Any:
        """A graph that runs a phase's step on every replica's share of a batch; the terms are means over all of it."""

        def share(batch: Mapping[str, Any]) -> Any:
            return tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.MEAN, phase(batch))

        def step(batch: Mapping[str, Any]) -> dict[str, Any]:
            terms = self.strategy.run(share, args=(batch,))
            return {name: self.strategy.experimental_local_results(value)[0] for name, value in terms.items()}

        return tf.function(step, jit_compile=xla or None, autograph=False)

    def _optimizer(self, model: keras.Model) -> Any:
        schedule = self.experiment.schedule
        optimizer = Adam(1.0, schedule.beta_1, schedule.beta_2, schedule.epsilon)
        if self.precision == "mixed_float16":
            optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
        optimizer.build(model.trainable_variables)
        return optimizer

    @tf.function
    def _mean(self, values: Any) -> Any:
        def share(own: Any) -> Any:
            return tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.MEAN, tf.identity(own))

        return self.strategy.experimental_local_results(self.strategy.run(share, args=(values,)))[0]

    def mean_of_workers(self, values: Sequence[float]) -> list[float]:
        """The means over all workers, each of which gives its own values at the same moment; one alone gets its own back."""
        return self._mean(tf.constant(values, tf.float32)).numpy().tolist()

    def step(self, batch: Mapping[str, Any], step: int, warmup_steps: int, total_steps: int) -> dict[str, float]:
        """Trains on one batch, or on what a strategy's dataset gives for one: every replica's share of it.

        Args:
            batch: photo, target, anime, anime_gray, smooth, smooth_gray, each (B, S, S, 3) float32 [-1, 1]; target is
                what content and colour are held to, the photo or its flat version, and with loss.drawn so much of the
                light of what the teachers draw is added to it. Where features are kept, their
                target_features and style_gram too, see train/kept.py.
            step: number of steps taken before this one; with the seed it determines noise and learning rates.
            warmup_steps, total_steps: the schedule in steps.

        Returns:
            Unweighted terms by name ("content", "d_real", ...) and the weighted sums "generator", "discriminator".
        """
        schedule = self.experiment.schedule
        self.noise_seed.assign([self.experiment.seed, step])
        if step < warmup_steps:
            self.warmup_optimizer.learning_rate = schedule.warmup_rate
            terms = self._warmup_step(batch)
        else:
            done = (step - warmup_steps) / max(total_steps - warmup_steps, 1)
            factor = decay_factor(schedule, done)
            self.generator_optimizer.learning_rate = schedule.generator_rate * factor
            self.discriminator_optimizer.learning_rate = schedule.discriminator_rate * factor
            both = (step - warmup_steps) % schedule.generator_steps == 0
            terms = self._adversarial_step(batch) if both else self._generator_step(batch)
        if self.averaged:
            self._average(self.averaged, tf.constant(min(schedule.ema, (1 + step) / (10 + step)), tf.float32))
        return {name: float(value) for name, value in terms.items()}

    def _warm_up(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        loss = self.experiment.loss
        photo, target = batch["photo"], self._target(batch)
        target_features = batch["target_features"] if "target_features" in batch else self.features(target)
        advance_power_iterations(self.generator)
        with tf.GradientTape() as tape:
            fake = self.generator(photo, training=True)
            terms = {"content": losses.content_loss(target_features, self.features(fake))}
            weights = {"content": loss.content_weight}
            if loss.pixel_weight:
                terms["pixel"] = losses.pixel_loss(target, fake)
                weights["pixel"] = loss.pixel_weight
            total = weighted_sum(terms, weights)
            scaled = self._scale(total, self.warmup_optimizer)
        self._apply(tape, scaled, self.warmup_optimizer, self.generator)
        return {**terms, "generator": total}

    def _train_on(self, batch: Mapping[str, Any], update_discriminator: bool) -> dict[str, Any]:
        loss = self.experiment.loss
        photo, target = batch["photo"], self._target(batch)
        if "target_features" in batch:
            target_features, style_gram = batch["target_features"], batch["style_gram"]
        else:
            both = tf.concat([target, batch[style_entry(self.experiment)]], axis=0)
            target_features, style_features = tf.split(self.features(both), 2)
            style_gram = losses.gram_matrix(style_features)
        colours = target if loss.colour_saturation == 1.0 else losses.saturate(target, loss.colour_saturation)
        advance_power_iterations(self.generator)
        with tf.GradientTape() as tape:
            fake = self.generator(photo, training=True)
            with tape.stop_recording():
                discriminator_terms = self._update_discriminator(batch, fake) if update_discriminator else {}
            fake_features = self.features(fake)
            fake_logits = self.discriminator(self._seen(fake, 0), training=True)
            terms = {
                "content": losses.content_loss(target_features, fake_features),
                "style": losses.style_loss(style_gram, fake_features),
                "colour": losses.colour_loss(colours, fake, loss.colour_range, loss.colour_uv, loss.chroma_weight),
                "tv": losses.total_variation_loss(fake),
                "adversarial": losses.generator_adversarial_loss(loss.adversarial, fake_logits),
            }
            weights = {
                "content": loss.content_weight,
                "style": loss.style_weight,
                "colour": loss.colour_weight * loss.colour_count,
                "tv": loss.tv_weight,
                "adversarial": loss.generator_weight,
            }
            total = weighted_sum(terms, weights)
            scaled = self._scale(total, self.generator_optimizer)
        self._apply(tape, scaled, self.generator_optimizer, self.generator)
        return {**terms, "generator": total, **discriminator_terms}

    def _target(self, batch: Mapping[str, Any]) -> Any:
        """What content, colour and pixels are held to: (B, S, S, 3) [-1, 1], the target in the light of the drawings."""
        if not self.teachers:
            return batch["target"]
        photo = batch["photo"]
        drawn = [tf.cast(teacher(photo, training=False), tf.float32) for teacher in self.teachers]
        light = losses.to_gray(tf.add_n(drawn) / len(drawn) - photo)
        return tf.clip_by_value(batch["target"] + self.experiment.loss.drawn * light, -1.0, 1.0)

    def _update_discriminator(self, batch: Mapping[str, Any], fake: Any) -> dict[str, Any]:
        loss = self.experiment.loss
        smooth = batch["smooth_gray"] if loss.smooth_target == "gray" else batch["smooth"]
        judged = {
            "real": (batch["anime"], loss.real_weight),
            "fake": (fake, loss.fake_weight),
            "gray": (batch["anime_gray"], loss.gray_weight),
            "smooth": (smooth, loss.smooth_weight),
        }
        pictures = {name: picture for name, (picture, weight) in judged.items() if weight}
        stacked = tf.concat([self._seen(picture, stream) for stream, picture in enumerate(pictures.values(), 1)], axis=0)
        advance_power_iterations(self.discriminator)
        with tf.GradientTape() as tape:
            logits = tf.split(self.discriminator(stacked, training=True), len(pictures))
            terms = losses.discriminator_losses(loss.adversarial, dict(zip(pictures, logits, strict=True)))
            total = loss.discriminator_weight * weighted_sum(terms, {name: weight for name, (_, weight) in judged.items()})
            if loss.adversarial in losses.PENALTY_KINDS:
                terms["penalty"] = self._penalty(self._seen(batch["anime"], 5), self._seen(fake, 5))
                total += loss.penalty_weight * terms["penalty"]
            scaled = self._scale(total, self.discriminator_optimizer)
        self._apply(tape, scaled, self.discriminator_optimizer, self.discriminator)
        return {**{f"d_{name}": value for name, value in terms.items()}, "discriminator": total}

    def _penalty(self, anime: Any, fake: Any) -> Any:
        alpha = self._uniform((anime.shape[0], 1, 1, 1), 2)
        noise = self._spread(anime) * self._uniform(anime.shape, 3)
        judge = functools.partial(self.discriminator, training=True)
        return losses.gradient_penalty(self.experiment.loss.adversarial, judge, anime, fake, alpha, noise)

    def _spread(self, pictures: Any) -> Any:
        """The standard deviation over the whole batch, of which each replica has a share."""
        moments = tf.reduce_mean(pictures), tf.reduce_mean(tf.square(pictures))
        mean, square = tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.MEAN, moments)
        return tf.sqrt(tf.maximum(square - mean * mean, 0.0))

    def _seen(self, picture: Any, stream: int) -> Any:
        """What the discriminator sees of pictures: see `sees` and `colour_jitter` of DiscriminatorConfig."""
        strength = self.experiment.discriminator.colour_jitter
        if self.experiment.discriminator.sees == "gray":
            picture = losses.to_gray(picture)
        if not strength:
            return picture
        random = self._uniform((picture.shape[0], 1, 1, 5), 10 + stream)
        gains = 1.0 + strength * (2.0 * random[..., :3] - 1.0)
        saturation = (1.0 + strength) * random[..., 3:4]
        brightness = strength * (2.0 * random[..., 4:] - 1.0)
        gray = tf.reduce_mean(picture, axis=-1, keepdims=True)
        return (gray + saturation * (picture - gray) + 1.0) * gains - 1.0 + brightness

    def _uniform(self, shape: Any, stream: int) -> Any:
        """Uniform in [0, 1) for every sample, a function of the experiment's seed, the step and the stream's number.

        Each replica takes its samples' part of them. Under XLA, TensorFlow's Philox gives other numbers than without.
        """
        replicas, replica = self.strategy.num_replicas_in_sync, tf.distribute.get_replica_context().replica_id_in_sync_group
        seed = self.noise_seed + tf.constant([1_000_003 * stream, 0], tf.int64)
        everyone = tf.random.stateless_uniform((replicas, *shape), seed, alg="philox")
        return everyone[replica]

    def _scale(self, loss: Any, optimizer: Any) -> Any:
        """What to take gradients of: the optimizer adds up the replicas', each of which has a mean over its share."""
        return optimizer.scale_loss(loss / self.strategy.num_replicas_in_sync)

    def _apply(self, tape: tf.GradientTape, loss: Any, optimizer: Any, model: keras.Model) -> None:
        variables = model.trainable_variables
        gradients = tape.gradient(loss, variables)
        if self.precision == "mixed_float16" and self.strategy.num_replicas_in_sync > 1:
            # Keras skips a step by what it finds in the first replica's own gradients: 0, or nan for all if for one
            broken = tf.add_n([tf.reduce_sum(0.0 * gradient) for gradient in gradients])
            gradients[0] += tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, broken)
        optimizer.apply(gradients, variables)

    @tf.function
    def _average(self, averaged: keras.Model, decay: Any) -> None:
        for average, variable in zip(averaged.variables, self.generator.variables, strict=True):
            average.assign(decay * average + (1.0 - decay) * variable)

    def start_from(self, generator: keras.Model) -> None:
        """Takes the weights of a checkpoint's generator. Raises ValueError if it is not the experiment's."""
        mine = [weight.shape for weight in self.generator.trainable_weights]
        if generator.name != self.generator.name or mine != [weight.shape for weight in generator.trainable_weights]:
            raise ValueError(
                f"init: the checkpoint holds a {generator.name} of other sizes than {self.experiment.generator}"
            )
        for model in (self.generator, self.averaged):
            if model:
                unfold(generator, model)

    def learn_from(self, config: GeneratorConfig, generator: keras.Model) -> None:
        """Adds a checkpoint's generator, as `config` describes it, to those whose drawings loss.drawn asks for.

        To be called before the first step.
        """
        with self.strategy.scope(), dtype_policy(self.precision):
            teacher = build_generator(config, self._plain_layers)
        unfold(generator, teacher)
        self.teachers.append(teacher)

    def export(self) -> Callable[[], keras.Model]:
        """Takes the weights as they are now; a call builds the generator of them, which may be later and in another thread.

        It is as a checkpoint holds it: averaged if the experiment says so, plain stock layers, float32.
        """
        weights = fold_spectral_norm(self.averaged or self.generator)

        def build() -> keras.Model:
            plain = build_generator(self.experiment.generator)
            plain.set_weights(weights)
            return plain

        return build

    def state(self) -> dict[str, np.ndarray]:
        """Every variable that resuming needs, by name: weights, power-iteration vectors, optimizers, dropout seeds."""
        return {f"{name}/{index}": variable.numpy() for name, index, variable in self._variables()}

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Takes back what `state` gave. Raises ValueError if it is of another experiment."""
        variables = {f"{name}/{index}": variable for name, index, variable in self._variables()}
        if variables.keys() != set(state) or any(variable.shape != state[key].shape for key, variable in variables.items()):
            raise ValueError("the saved state is of another experiment or version: start again under another --name")
        for key, variable in variables.items():
            variable.assign(state[key])

    def _variables(self) -> list[tuple[str, int, Any]]:
        owners = {
            "generator": self.generator,
            "discriminator": self.discriminator,
            "warmup_optimizer": self.warmup_optimizer,
            "generator_optimizer": self.generator_optimizer,
            "discriminator_optimizer": self.discriminator_optimizer,
        }
        if self.averaged:
            owners["averaged"] = self.averaged
        frozen = {id(variable) for variable in self.features.variables}  # a projected discriminator holds them too
        return [
            (name, index, variable)
            for name, owner in owners.items()
            for index, variable in enumerate(variable for variable in owner.variables if id(variable) not in frozen)
        ]


def style_entry(experiment: Experiment) -> str:
    """Which of a batch's entries has the style."""
    return "anime_gray" if experiment.loss.style_target == "gray" else "anime"


def weighted_sum(terms: Mapping[str, Any], weights: Mapping[str, float]) -> Any:
    """Σ weight · term; a term of weight 0 is left out, so that its gradient costs nothing."""
    return sum((weights[name] * terms[name] for name in terms if weights[name]), tf.constant(0.0))


def decay_factor(schedule: ScheduleConfig, done: float) -> float:
    """Factor on the adversarial learning rates after the share `done` of that phase, in [0, 1]."""
    if schedule.decay == "constant":
        return 1.0
    return 0.05 + 0.95 * (1.0 + math.cos(math.pi * min(done, 1.0))) / 2.0
