"""Layers for training: convolutions with a fast gradient or with spectral normalisation, fast normalisations.

Reference: Miyato et al. 2018, "Spectral Normalization for GANs".
"""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from hub_export.generator import STOCK
from train.tensors import Tensor

FAST_KERNELS = ((3, 3), (5, 5), (7, 7))
"""Square, odd, and larger than one pixel."""
FEWEST_CHANNELS = 16
"""Below this many channels (RGB has 3) TensorFlow's own kernel gradient is faster."""


@tf.custom_gradient
def convolve(pictures: Tensor, kernel: Tensor) -> tuple[Tensor, Callable[[Tensor], tuple[Tensor, Tensor]]]:
    """`tf.nn.conv2d` of stride 1 without padding, whose gradient for the kernel is made of matrix products.

    TensorFlow's own reaches a third of a CPU's peak there, the products two thirds. All rows of all pictures are one list of
    pixels; each tap of the kernel then reads a shifted slice of it, and no pixel is copied.

    Args:
        pictures: (B, H, W, C), static shape.
        kernel: (k, k, C, K).

    Returns:
        (B, H-k+1, W-k+1, K).
    """

    scope = backward_scope()

    def gradients(upstream: Tensor) -> tuple[Tensor, Tensor]:
        with tf.name_scope(scope):
            back = tf.nn.conv2d_transpose(upstream, kernel, pictures.shape, 1, "VALID")
            return back, kernel_gradient(pictures, upstream, kernel.shape[0])

    return tf.nn.conv2d(pictures, kernel, 1, "VALID"), gradients


def backward_scope() -> str:
    """The name scope that TensorFlow gives gradients, so that profiles and FLOP counts attribute ours to the right layer."""
    return "/".join(["gradient_tape", *filter(None, [tf.get_current_name_scope()]), ""])


def kernel_gradient(pictures: Tensor, upstream: Tensor, size: int) -> Tensor:
    """The gradient (k, k, C, K) of a convolution of stride 1 without padding.

    Args:
        pictures: what was convolved, (B, H, W, C), static shape.
        upstream: gradient of the result, (B, H-k+1, W-k+1, K).
        size: k.
    """
    width, channels, filters = pictures.shape[2], pictures.shape[3], upstream.shape[3]
    edge = size - 1
    pixels = tf.reshape(pictures, (-1, channels))
    answers = tf.reshape(tf.pad(upstream, [(0, 0), (0, edge), (0, edge), (0, 0)]), (-1, filters))
    count = pixels.shape[0] - edge * width - edge  # from here on answers are 0: those of the last picture's last rows
    rows = [slice(row * width, row * width + count) for row in range(size)]
    if channels <= filters:
        seen = tf.concat([pixels[column : column + count + edge * width] for column in range(size)], axis=1)
        products = [tf.matmul(seen[row], answers[:count], transpose_a=True) for row in rows]  # (k·C, K) each
        return tf.reshape(tf.stack(products), (size, size, channels, filters))
    answers = tf.pad(answers[:count], [(edge, edge), (0, 0)])
    count += edge
    rows = [slice(row * width, row * width + count) for row in range(size)]
    asked = tf.concat([answers[edge - column : edge - column + count] for column in range(size)], axis=1)
    products = [tf.matmul(pixels[row], asked, transpose_a=True) for row in rows]  # (C, k·K) each
    return tf.transpose(tf.reshape(tf.stack(products), (size, channels, size, filters)), (0, 2, 1, 3))


class FastConv2D(keras.layers.Conv2D):
    """Keras' layer with `convolve` where that is faster: on a CPU, in float32, at stride 1, with many channels.

    Without dilation and groups, which nothing here has.
    """

    def convolution_op(self, inputs: Tensor, kernel: Tensor) -> Tensor:
        fast = self.strides == (1, 1) and self.kernel_size in FAST_KERNELS
        fast = fast and min(inputs.shape[-1], self.filters) >= FEWEST_CHANNELS
        if not fast or inputs.dtype != tf.float32 or None in inputs.shape or tf.config.list_physical_devices("GPU"):
            return super().convolution_op(inputs, kernel)
        if self.padding == "same":
            margin = (self.kernel_size[0] // 2,) * 2
            inputs = tf.pad(inputs, [(0, 0), margin, margin, (0, 0)])
        return convolve(inputs, tf.convert_to_tensor(kernel))


class SpectralConv2D(FastConv2D):
    """Conv2D whose kernel is divided by its largest singular value σ on the fly.

    Gradients flow through σ = vᵀWu, with u and v constant. u is advanced by one power iteration per training step, by
    `advance_power_iteration`, and not by a call: the discriminator sees several batches a step and all see one kernel.
    `keras.layers.SpectralNormalization` instead overwrites the kernel at every training call and stops gradients at σ.

    The divided kernel has the norm 1. Where training starts from a plain kernel, `scale` multiplies by that one's norm.
    """

    scale: tf.Variable | None = None

    def add_weight(self, *args: Any, **kwargs: Any) -> Any:
        """Under mixed precision weights stay float32 inside `call`, since σ is computed from them."""
        return super().add_weight(*args, autocast=False, **kwargs)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        super().build(input_shape)
        self.u = self.add_weight(
            shape=(self.filters,),
            initializer=keras.initializers.RandomNormal(),
            trainable=False,
            aggregation="only_first_replica",  # all replicas have the same kernel
            name="u",
        )

    def _iterate(self) -> tuple[Tensor, Tensor]:
        """One power iteration on the (k·k·in, out) matrix: returns u (out,) and v (k·k·in,), both constant, float32."""
        matrix = tf.stop_gradient(self._matrix())
        v = tf.math.l2_normalize(tf.linalg.matvec(matrix, tf.convert_to_tensor(self.u)))
        u = tf.math.l2_normalize(tf.linalg.matvec(matrix, v, transpose_a=True))
        return u, v

    def _matrix(self) -> Tensor:
        return tf.reshape(tf.convert_to_tensor(self._kernel), (-1, self.filters))

    def normalised_kernel(self) -> Tensor:
        """kernel/σ, float32, same shape as the kernel."""
        u, v = self._iterate()
        sigma = tf.reduce_sum(v * tf.linalg.matvec(self._matrix(), u))
        normalised = self._kernel / sigma
        return normalised if self.scale is None else normalised * self.scale

    def match(self, kernel: np.ndarray) -> None:
        """Takes a plain kernel such that `normalised_kernel` is that one; `scale` must be a variable."""
        assert self.scale is not None
        _, (sigma, *_), right = np.linalg.svd(kernel.reshape(-1, self.filters).astype(np.float64), full_matrices=False)
        self._kernel.assign(kernel)
        self.u.assign(right[0])
        self.scale.assign(sigma)

    def advance_power_iteration(self) -> None:
        """Moves u one power iteration on; once per training step, before the forward pass."""
        self.u.assign(self._iterate()[0])

    def call(self, inputs: Tensor) -> Tensor:
        outputs = self.convolution_op(inputs, tf.cast(self.normalised_kernel(), inputs.dtype))
        return outputs + tf.cast(self.bias, outputs.dtype) if self.use_bias else outputs


def advance_power_iterations(model: keras.Model) -> None:
    """One power iteration in every spectrally normalised layer of a model."""
    for layer in model.layers:
        if isinstance(layer, SpectralConv2D):
            layer.advance_power_iteration()


def fold_spectral_norm(trained: keras.Model) -> list[np.ndarray]:
    """Weights for a model of the same structure with plain convolutions: kernels are already divided by σ."""
    folded: list[np.ndarray] = []
    for layer in trained.layers:
        weights = [weight.numpy() for weight in layer.trainable_weights + layer.non_trainable_weights]
        if isinstance(layer, SpectralConv2D):
            weights = [layer.normalised_kernel().numpy(), *weights[1:-1]]
        folded += weights
    return folded


class Scales:
    """The scales of a model's spectrally normalised kernels, which may then start from plain ones.

    Args:
        models: of one structure, which share them; the first is built in the current strategy's scope.

    Attributes:
        variables: the scales, in the order of the layers; none without spectral normalisation.
    """

    def __init__(self, *models: keras.Model):
        self.variables: list[tf.Variable] = []
        for same in zip(*(model.layers for model in models), strict=True):
            if isinstance(same[0], SpectralConv2D):
                self.variables.append(tf.Variable(1.0, trainable=False, dtype=tf.float32))
                for layer in same:
                    layer.scale = self.variables[-1]


def unfold(plain: keras.Model, trained: keras.Model) -> None:
    """The opposite of `fold_spectral_norm`: a model in training, which has `Scales`, then draws what the plain one does.

    Raises:
        ValueError: it is another model, or of other sizes.
    """
    shapes = [[weight.shape for weight in model.trainable_weights] for model in (plain, trained)]
    if plain.name != trained.name or shapes[0] != shapes[1]:
        raise ValueError(f"init: the checkpoint holds a {plain.name} of other sizes than the experiment's {trained.name}")
    sources = [layer for layer in plain.layers if layer.weights]
    targets = [layer for layer in trained.layers if layer.weights]
    for source, target in zip(sources, targets, strict=True):
        if isinstance(target, SpectralConv2D):  # which has its σ and power iteration besides
            for weight, value in zip(target.trainable_weights, source.get_weights(), strict=True):
                weight.assign(value)
            target.match(source.get_weights()[0])
        else:
            target.set_weights(source.get_weights())  # with the moments of a batch norm


class RecallConv2D(keras.layers.Conv2D):
    """A 1x1 convolution by M'W: M is what another one looks into a memory by, W its own; see `generator.Layers.recall`.

    Args:
        memory: the other, a 1x1 convolution of c channels to as many as the memory has rows.
        filters: W is (c, filters).
    """

    def __init__(self, memory: keras.layers.Conv2D, filters: int, **options: Any):
        super().__init__(filters, 1, use_bias=False, **options)
        self._look = lambda: tf.convert_to_tensor(memory._kernel)[0, 0]  # (c, rows); an attribute would be saved twice

    def build(self, input_shape: Any) -> None:
        super().build((*input_shape[:-1], self._look().shape[0]))
        self.input_spec = None  # what it is given has as many channels as the memory has rows

    def kernel_now(self) -> Any:
        """M'W, float32 (1, 1, rows, filters): the kernel of a plain convolution in its place."""
        return tf.matmul(self._look(), tf.convert_to_tensor(self._kernel)[0, 0], transpose_a=True)[None, None]

    def call(self, inputs: Any) -> Any:
        return self.convolution_op(inputs, tf.cast(self.kernel_now(), inputs.dtype))

    def match(self, kernel: np.ndarray) -> None:
        """Takes the W by which `kernel_now` is this one.

        Raises:
            ValueError: there is none, as where it has more rows than channels and came from no memory.
        """
        look, kernel = self._look().numpy().astype(np.float64), kernel[0, 0].astype(np.float64)
        found = np.linalg.lstsq(look.T, kernel, rcond=None)[0]
        if np.linalg.norm(look.T @ found - kernel) > 0.01 * np.linalg.norm(kernel):  # more than float16 rounds
            raise ValueError("no W makes this kernel of the memory")
        self._kernel.assign(found[None, None])


class InstanceNormalization(keras.layers.GroupNormalization):
    """Keras' layer for groups of one channel, on a CPU.

    Each sample goes alone through TensorFlow's fused batch normalisation, which is oneDNN's: it reads and writes the compute
    dtype and sums in float32, where Keras' layer makes a dozen passes in float32. The batch size must be static. It has no
    second derivative, which gradient penalties need.
    """

    def call(self, inputs: Tensor) -> Tensor:
        samples, moments = tf.split(inputs, inputs.shape[0]), tf.zeros(0)  # none are given: they are taken
        channels = inputs.shape[-1]
        gamma = tf.convert_to_tensor(self.gamma) if self.scale else tf.ones(channels)
        beta = tf.convert_to_tensor(self.beta) if self.center else tf.zeros(channels)
        normalised = [
            tf.raw_ops.FusedBatchNormV3(
                x=sample, scale=gamma, offset=beta, mean=moments, variance=moments, epsilon=self.epsilon, is_training=True
            ).y
            for sample in samples
        ]
        return tf.concat(normalised, axis=0)


class LayerNormalization(keras.layers.GroupNormalization):
    """Keras' layer for one group, on a CPU, in 16 bits: twice as fast there; in float32 Keras' own is as good.

    TensorFlow's fused batch normalisation gives the moments of each sample's channels, from which the sample's own moments
    follow; a second call normalises by those. The restrictions are those of `InstanceNormalization`.
    """

    def call(self, inputs: Tensor) -> Tensor:
        channels = inputs.shape[-1]
        gamma = tf.convert_to_tensor(self.gamma) if self.scale else tf.ones(channels)
        beta = tf.convert_to_tensor(self.beta) if self.center else tf.zeros(channels)
        samples = tf.split(inputs, inputs.shape[0])
        return tf.concat([_normalise(sample, gamma, beta, self.epsilon) for sample in samples], axis=0)


def _normalise(sample: Tensor, gamma: Tensor, beta: Tensor, epsilon: float) -> Tensor:
    """Layer normalisation of one sample (1, H, W, C), static shape; gamma and beta (C,) float32."""
    pixels, none, scope = sample.shape[1] * sample.shape[2], tf.zeros(0), backward_scope()

    @tf.custom_gradient
    def normalise(sample: Tensor, gamma: Tensor, beta: Tensor) -> tuple[Tensor, Callable[[Tensor], tuple[Tensor, ...]]]:
        own = tf.raw_ops.FusedBatchNormV3(
            x=sample, scale=gamma, offset=beta, mean=none, variance=none, epsilon=epsilon, is_training=True
        )
        mean = tf.reduce_mean(own.batch_mean)
        biased = own.batch_variance * ((pixels - 1) / pixels)
        variance = tf.reduce_mean(biased + tf.square(own.batch_mean - mean))
        moments = {"mean": tf.fill(gamma.shape, mean), "variance": tf.fill(gamma.shape, variance)}
        normalised = tf.raw_ops.FusedBatchNormV3(
            x=sample, scale=gamma, offset=beta, **moments, epsilon=epsilon, is_training=False
        ).y

        def gradients(upstream: Tensor) -> tuple[Tensor, ...]:
            with tf.name_scope(scope):
                grads = tf.raw_ops.FusedBatchNormGradV3(
                    y_backprop=upstream,
                    x=sample,
                    scale=gamma,
                    reserve_space_1=moments["mean"],
                    reserve_space_2=moments["variance"],
                    reserve_space_3=none,
                    epsilon=epsilon,
                    is_training=False,
                )
                slope = tf.math.rsqrt(variance + epsilon)
                by_mean = slope * tf.reduce_mean(gamma * grads.offset_backprop) / pixels
                by_variance = tf.square(slope) * tf.reduce_mean(gamma * grads.scale_backprop) / pixels
                offset = tf.cast(by_mean - by_variance * mean, sample.dtype)
                through_moments = sample * tf.cast(by_variance, sample.dtype) + offset
                return grads.x_backprop - through_moments, grads.scale_backprop, grads.offset_backprop

        return normalised, gradients

    return normalise(sample, gamma, beta)


def group_norm(groups: int, **options: Any) -> keras.Layer:
    """`STOCK.group_norm`, or the faster layer of this module where there is one."""
    if tf.config.list_physical_devices("GPU"):
        return STOCK.group_norm(groups, **options)
    if groups == -1:
        return InstanceNormalization(groups, **options)
    if groups == 1 and keras.config.dtype_policy().compute_dtype != "float32":
        return LayerNormalization(groups, **options)
    return STOCK.group_norm(groups, **options)
