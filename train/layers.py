"""Layers for training: convolutions with spectral normalisation, and a fast instance normalisation.

Reference: Miyato et al. 2018, "Spectral Normalization for GANs".
"""

from typing import Any

import keras
import tensorflow as tf

from hub_export.generator import STOCK


class SpectralConv2D(keras.layers.Conv2D):
    """Conv2D whose kernel is divided by its largest singular value σ on the fly.

    Gradients flow through σ = vᵀWu, with u and v constant. u is advanced by one power iteration per training step, by
    `advance_power_iteration`, and not by a call: the discriminator sees several batches a step and all see one kernel.
    `keras.layers.SpectralNormalization` instead overwrites the kernel at every training call and stops gradients at σ.
    """

    def add_weight(self, *args: Any, **kwargs: Any) -> Any:
        """Weights stay float32 inside `call` under mixed precision, as σ is computed from them."""
        return super().add_weight(*args, autocast=False, **kwargs)

    def build(self, input_shape: Any) -> None:
        super().build(input_shape)
        self.u = self.add_weight(
            shape=(self.filters,),
            initializer=keras.initializers.RandomNormal(),
            trainable=False,
            aggregation="only_first_replica",  # all replicas have the same kernel
            name="u",
        )

    def _iterate(self) -> tuple[Any, Any]:
        """One power iteration on the (k·k·in, out) matrix: returns u (out,) and v (k·k·in,), both constant, float32."""
        matrix = tf.stop_gradient(self._matrix())
        v = tf.math.l2_normalize(tf.linalg.matvec(matrix, tf.convert_to_tensor(self.u)))
        u = tf.math.l2_normalize(tf.linalg.matvec(matrix, v, transpose_a=True))
        return u, v

    def _matrix(self) -> Any:
        return tf.reshape(tf.convert_to_tensor(self._kernel), (-1, self.filters))

    def normalised_kernel(self) -> Any:
        """kernel/σ, float32, same shape as the kernel."""
        u, v = self._iterate()
        sigma = tf.reduce_sum(v * tf.linalg.matvec(self._matrix(), u))
        return self._kernel / sigma

    def advance_power_iteration(self) -> None:
        """Moves u one power iteration on; once per training step, before the forward pass."""
        self.u.assign(self._iterate()[0])

    def call(self, inputs: Any) -> Any:
        outputs = self.convolution_op(inputs, tf.cast(self.normalised_kernel(), inputs.dtype))
        return outputs + tf.cast(self.bias, outputs.dtype) if self.use_bias else outputs


def advance_power_iterations(model: keras.Model) -> None:
    """One power iteration in every spectrally normalised layer of a model."""
    for layer in model.layers:
        if isinstance(layer, SpectralConv2D):
            layer.advance_power_iteration()


def fold_spectral_norm(trained: keras.Model, plain: keras.Model) -> None:
    """Copies weights into a model of the same structure with plain convolutions, kernels already divided by σ."""
    sources = [layer for layer in trained.layers if layer.weights]
    targets = [layer for layer in plain.layers if layer.weights]
    for source, target in zip(sources, targets, strict=True):
        weights = [weight.numpy() for weight in source.trainable_weights + source.non_trainable_weights]
        if isinstance(source, SpectralConv2D):
            weights = [source.normalised_kernel().numpy(), *weights[1:-1]]
        target.set_weights(weights)


def unfold(plain: keras.Model, trained: keras.Model) -> None:
    """The opposite of `fold_spectral_norm`: starts a model in training from a plain one of the same structure."""
    sources = [layer for layer in plain.layers if layer.weights]
    targets = [layer for layer in trained.layers if layer.weights]
    for source, target in zip(sources, targets, strict=True):
        for weight, value in zip(target.trainable_weights, source.get_weights(), strict=True):
            weight.assign(value)


class InstanceNormalization(keras.layers.GroupNormalization):
    """Keras' layer for groups of one channel, on a CPU.

    Each sample goes alone through TensorFlow's fused batch normalisation, which is oneDNN's: it reads and writes the compute
    dtype and sums in float32, where Keras' layer makes a dozen passes in float32. Takes a static batch size. There is no
    second derivative, as gradient penalties need.
    """

    def call(self, inputs: Any) -> Any:
        samples, moments = tf.split(inputs, inputs.shape[0]), tf.zeros(0)  # none are given: they are taken
        gamma, beta = tf.convert_to_tensor(self.gamma), tf.convert_to_tensor(self.beta)
        normalised = [
            tf.raw_ops.FusedBatchNormV3(
                x=sample, scale=gamma, offset=beta, mean=moments, variance=moments, epsilon=self.epsilon, is_training=True
            ).y
            for sample in samples
        ]
        return tf.concat(normalised, axis=0)


def group_norm(groups: int, **options: Any) -> Any:
    """As `STOCK.group_norm`, with the faster layer where there is one."""
    fast = groups == -1 and not tf.config.list_physical_devices("GPU")
    return InstanceNormalization(groups, **options) if fast else STOCK.group_norm(groups, **options)
