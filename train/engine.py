"""What every recipe trains with: devices, precision, Adam, averaged weights, noise, and the state that resuming needs.

A recipe (train/recipes/) builds its networks inside `Engine.scope`, makes its steps with `Engine.shared` and calls the rest
from within them. One that has work for the host in the midst of a step makes the part before it with `Engine.apart` and has
it done by `Engine.on_host`; the loop writes down how long the devices waited for it. The engine knows no recipe's networks
or losses.
"""

import contextlib
import functools
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import tensorflow as tf

from hub_export.generator import dtype_policy
from train import processes
from train.schedule import Moment, ScheduleConfig
from train.tensors import Batch, Tensor, Terms
from train.workers import await_workers

if TYPE_CHECKING:
    from train.recipes import Recipe


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
        return _mirrored(*(device.name for device in devices))
    if name == "multiworker":
        try:
            config = json.loads(os.environ.get("TF_CONFIG", "{}"))
            workers = [address for job in config["cluster"].values() for address in job]
            own = config["cluster"][config["task"]["type"]][int(config["task"]["index"])]
        except (ValueError, LookupError, TypeError, AttributeError):
            raise ValueError(
                "--strategy multiworker needs TF_CONFIG in the environment of every worker, the same but for the index: "
                '\'{"cluster": {"worker": ["10.0.0.1:5000", "10.0.0.2:5000"]}, "task": {"type": "worker", "index": 0}}\''
            ) from None
        print(f"waiting at most {wait:g} seconds for all {len(workers)} workers", flush=True)
        await_workers(workers, own, wait)
        return tf.distribute.MultiWorkerMirroredStrategy()
    return tf.distribute.get_strategy()


@functools.cache
def _mirrored(*devices: str) -> tf.distribute.Strategy:
    """One for all runs of a process: collective operations of two would have the same numbers, and fail."""
    return tf.distribute.MirroredStrategy(list(devices))


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


class Engine:
    """Devices, precision and state of one training run.

    Args:
        schedule: Adam's settings and the decay of averaged weights.
        seed: of weights and noise.
        precision: a Keras dtype policy, or "auto"; normalisation, σ, losses and optimizers are always float32.
        strategy: the devices to share every batch among; the default is one device.
        xla: compile the steps with XLA.

    Attributes:
        host_seconds: how long the last step waited for work `on_host`.
    """

    def __init__(
        self,
        schedule: ScheduleConfig,
        seed: int,
        precision: str = "auto",
        strategy: tf.distribute.Strategy | None = None,
        xla: bool = False,
    ):
        self.schedule, self.seed, self.xla = schedule, seed, xla
        self.precision = automatic_precision() if precision == "auto" else precision
        self.strategy = strategy or tf.distribute.get_strategy()
        keras.utils.set_random_seed(seed)
        self.host_seconds = 0.0
        self._averages: list[tuple[keras.Model, keras.Model]] = []
        with self.strategy.scope():
            self._noise_seed = tf.Variable([seed, 0], dtype=tf.int64, trainable=False)

    # --- for building ------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def scope(self) -> Iterator[None]:
        """Where networks and optimizers are made: on all devices, in the run's precision."""
        with self.strategy.scope(), dtype_policy(self.precision):
            yield

    def optimizer(self, model: keras.Model) -> Any:
        """An Adam for a model's weights; its learning rate is set in every step."""
        optimizer = Adam(1.0, self.schedule.beta_1, self.schedule.beta_2, self.schedule.epsilon)
        if self.precision == "mixed_float16":
            optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
        optimizer.build(model.trainable_variables)
        return optimizer

    def average(self, model: keras.Model, build: Callable[[], keras.Model]) -> keras.Model | None:
        """A copy of a model that `step` holds at the moving average of its weights; None without schedule.ema.

        Args:
            build: makes a model of the same structure.
        """
        if not self.schedule.ema:
            return None
        averaged = build()
        averaged.set_weights(model.get_weights())
        self._averages.append((averaged, model))
        return averaged

    def shared(self, phase: Callable[..., Terms]) -> Any:
        """A graph that runs a step on every replica's share of what it is given; its terms are means over the whole batch.

        It is given a batch, and whatever else graphs made by `apart` and `on_host` gave.
        """

        def share(*inputs: Any) -> Any:
            return tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.MEAN, phase(*inputs))

        def step(*inputs: Any) -> Terms:
            terms = self.strategy.run(share, args=inputs)
            return {name: self.strategy.experimental_local_results(value)[0] for name, value in terms.items()}

        return tf.function(step, jit_compile=self.xla or None, autograph=False)

    def apart(self, part: Callable[[Batch], Any]) -> Any:
        """A graph that runs a part of a step on every replica's share of a batch; each keeps the tensors that it gets."""
        return tf.function(
            lambda batch: self.strategy.run(part, args=(batch,)), jit_compile=self.xla or None, autograph=False
        )

    # --- between two graphs of a step ---------------------------------------------------------------------------------

    def on_host(self, work: Callable[[np.ndarray], np.ndarray], pictures: Tensor) -> Callable[[], Tensor]:
        """Starts work on every picture of what a graph made by `apart` gave, in other processes and all at once.

        Args:
            work: a function of a module that loads no TensorFlow, or a `functools.partial` of one; float32 (H, W, C) to
                the same.
            pictures: (B, H, W, C) on every replica.

        Returns:
            What waits for the work and gives its results in the shape of `pictures`; until it is called, the devices may do
            something else. Only the waiting counts as `host_seconds`.
        """
        shares = [share.numpy() for share in self.strategy.experimental_local_results(pictures)]
        waiting = [processes.begin(work, share) for share in shares]

        def results() -> Tensor:
            started = time.perf_counter()
            done = [tf.constant(np.stack(wait())) for wait in waiting]
            self.host_seconds += time.perf_counter() - started
            if len(done) == 1:
                return done[0]
            own = iter(done)
            return self.strategy.experimental_distribute_values_from_function(lambda context: next(own))

        return results

    # --- inside a step -----------------------------------------------------------------------------------------------

    def scale(self, loss: Tensor, optimizer: Any) -> Tensor:
        """What to take gradients of: the optimizer adds up the replicas', each of which has a mean over its share."""
        return optimizer.scale_loss(loss / self.strategy.num_replicas_in_sync)

    def apply(self, tape: tf.GradientTape, loss: Tensor, optimizer: Any, model: keras.Model) -> None:
        """One optimizer step on a model's weights; `loss` is what `scale` gave within the tape."""
        variables = model.trainable_variables
        # 0 for what no term of the loss depends on, as where a weight is 0
        gradients = tape.gradient(loss, variables, unconnected_gradients=tf.UnconnectedGradients.ZERO)
        if self.precision == "mixed_float16" and self.strategy.num_replicas_in_sync > 1:
            # Keras skips a step by what it finds in the first replica's own gradients: 0, or nan for all if for one
            broken = tf.add_n([tf.reduce_sum(0.0 * gradient) for gradient in gradients])
            gradients[0] += tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, broken)
        optimizer.apply(gradients, variables)

    def spread(self, pictures: Tensor) -> Tensor:
        """The standard deviation over the whole batch, of which each replica has a share."""
        moments = tf.reduce_mean(pictures), tf.reduce_mean(tf.square(pictures))
        mean, square = tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.MEAN, moments)
        return tf.sqrt(tf.maximum(square - mean * mean, 0.0))

    def uniform(self, shape: Any, stream: int) -> Tensor:
        """Uniform in [0, 1) for every sample, a function of the seed, the step and the stream's number.

        Each replica takes its samples' part of them. Under XLA, TensorFlow's Philox gives other numbers than without.
        """
        replicas, replica = self.strategy.num_replicas_in_sync, tf.distribute.get_replica_context().replica_id_in_sync_group
        seed = self._noise_seed + tf.constant([1_000_003 * stream, 0], tf.int64)
        everyone = tf.random.stateless_uniform((replicas, *shape), seed, alg="philox")
        return everyone[replica]

    # --- for the loop ------------------------------------------------------------------------------------------------

    def step(self, recipe: "Recipe", batch: Batch, moment: Moment) -> dict[str, float]:
        """Trains on one batch, or on what a strategy's dataset gives for one: every replica's share of it.

        Returns:
            The recipe's unweighted terms and its weighted sums, by name.
        """
        self._noise_seed.assign([self.seed, moment.step])
        self.host_seconds = 0.0
        terms = recipe.step(batch, moment)
        decay = tf.constant(min(self.schedule.ema, (1 + moment.step) / (10 + moment.step)), tf.float32)
        for averaged, model in self._averages:
            self._move(averaged, model, decay)
        return {name: float(value) for name, value in terms.items()}

    @tf.function
    def _move(self, averaged: keras.Model, model: keras.Model, decay: Tensor) -> None:
        for average, variable in zip(averaged.variables, model.variables, strict=True):
            average.assign(decay * average + (1.0 - decay) * variable)

    def mean_of_workers(self, values: Sequence[float]) -> list[float]:
        """The means over all workers, each of which gives its own values at the same moment; one alone gets its own back."""
        return self._mean(tf.constant(values, tf.float32)).numpy().tolist()

    @tf.function
    def _mean(self, values: Tensor) -> Tensor:
        def share(own: Tensor) -> Tensor:
            return tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.MEAN, tf.identity(own))

        return self.strategy.experimental_local_results(self.strategy.run(share, args=(values,)))[0]


def variables_of(recipe: "Recipe") -> dict[str, Any]:
    """Every variable that resuming needs, by name: weights, power-iteration vectors, optimizers, dropout seeds."""
    frozen = {id(variable) for variable in recipe.frozen}
    return {
        f"{name}/{index}": variable
        for name, owner in recipe.saved.items()
        for index, variable in enumerate(variable for variable in owner.variables if id(variable) not in frozen)
    }


def state(recipe: "Recipe") -> dict[str, np.ndarray]:
    """The values of `variables_of`, as they are now."""
    return {name: variable.numpy() for name, variable in variables_of(recipe).items()}


def restore(recipe: "Recipe", values: Mapping[str, np.ndarray]) -> None:
    """Takes back what `state` gave. Raises ValueError if it is of another experiment."""
    variables = variables_of(recipe)
    if variables.keys() != set(values) or any(variable.shape != values[key].shape for key, variable in variables.items()):
        raise ValueError("the saved state is of another experiment or version: start again under another --name")
    for key, variable in variables.items():
        variable.assign(values[key])
