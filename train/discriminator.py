"""The discriminators and their spectral normalisation.

Reference: AnimeGAN net/discriminator.py (architecture); Miyato et al. 2018, "Spectral Normalization for GANs"; Sauer et
al. 2021, "Projected GANs Converge Faster".
"""

from typing import Any

import keras
import tensorflow as tf

from train.experiments import DiscriminatorConfig


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


PROJECTED = ("block1_conv2", "block2_conv2", "block3_conv3")
"""Where a projected discriminator looks: the last convolutions, after their ReLU, of VGG16's blocks at H, H/2 and H/4.
Deeper ones would judge what is in a picture, which photos and anime differ in too and the generator must not change."""


def build_discriminator(config: DiscriminatorConfig, features: keras.Model | None = None) -> keras.Model:
    """Builds the discriminator under the current Keras dtype policy.

    Args:
        features: the frozen network that a projected discriminator looks through, see `build_features`.

    Returns:
        A Functional model `(B, H, W, 3) [-1, 1] -> float32` logits, `(B, H/4, W/4, 1)` for a patch discriminator at the
        default depth, `(B, H/4, W/4, 3)` for a projected one.

    Raises:
        ValueError: a projected one without a VGG.
    """
    pictures = keras.Input((None, None, 3), name="pictures")
    logits = _patch(config, pictures) if config.kind == "patch" else _projected(config, pictures, features)
    logits = keras.layers.Activation("linear", dtype="float32", name="logits")(logits)
    return keras.Model(pictures, logits, name="discriminator")


def _patch(config: DiscriminatorConfig, pictures: Any) -> Any:
    def conv(x: Any, filters: int, stride: int) -> Any:
        return _conv(
            config, x, filters, stride, use_bias=False, kernel_initializer=keras.initializers.RandomNormal(stddev=0.02)
        )

    def conv_norm(x: Any, filters: int) -> Any:
        if config.dropout:
            x = keras.layers.Dropout(config.dropout)(x)
        groups = {"instance": -1, "layer": 1}[config.norm]
        return _activate(keras.layers.GroupNormalization(groups, epsilon=1e-5, dtype="float32")(conv(x, filters, 1)))

    channels = config.channels // 2
    x = _activate(conv(pictures, channels, 1))
    for _ in range(config.layers - 1):
        x = _activate(conv(x, 2 * channels, 2))
        x = conv_norm(x, 4 * channels)
        channels *= 2
    x = conv_norm(x, 2 * channels)
    return conv(x, 1, 1)


def _projected(config: DiscriminatorConfig, pictures: Any, features: keras.Model | None) -> Any:
    """One small head on each of the maps of PROJECTED; all heads answer at H/4."""
    names = {layer.name for layer in features.layers} if features else set()
    if not features or not names.issuperset(PROJECTED):
        raise ValueError("discriminator.kind=projected looks through a VGG: set features.network to vgg19 or hed-vgg16")
    maps = keras.Model(features.input, [features.get_layer(name).output for name in PROJECTED], name="projection")(pictures)
    answers = []
    for strides, x in zip([(2, 2), (2, 1), (1, 1)], maps, strict=True):
        x = keras.layers.GroupNormalization(1, epsilon=1e-5, dtype="float32", center=False, scale=False)(x)
        for stride in strides:
            if config.dropout:
                x = keras.layers.Dropout(config.dropout)(x)
            x = _activate(_conv(config, x, config.channels, stride, kernel_initializer="he_normal"))
        answers.append(_conv(config, x, 1, 1, kernel_initializer="he_normal"))
    return keras.layers.Concatenate()(answers)


def _conv(config: DiscriminatorConfig, x: Any, filters: int, stride: int, **options: Any) -> Any:
    layer = SpectralConv2D if config.spectral_norm else keras.layers.Conv2D
    return layer(filters, 3, stride, **options)(keras.layers.ZeroPadding2D(1)(x))


def _activate(x: Any) -> Any:
    return keras.layers.LeakyReLU(negative_slope=0.2)(x)
