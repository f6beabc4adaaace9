"""Keras' layers once more, so that the number of channels stays known to who converts a graph of any height and width.

The stock ones reshape in ways after which TensorFlow no longer knows it, and LiteRT has no convolution of unknown channels.
"""

from typing import Any

import keras


class GroupNorm(keras.layers.GroupNormalization):
    """Over each channel of a picture, or over all."""

    def call(self, inputs: Any) -> Any:
        axes = (1, 2) if self.groups == inputs.shape[-1] else (1, 2, 3)
        mean, variance = keras.ops.moments(inputs, axes, keepdims=True)
        normal = (inputs - mean) * keras.ops.rsqrt(variance + self.epsilon)
        normal = normal * self.gamma if self.scale else normal
        return normal + self.beta if self.center else normal


class UpSampling(keras.layers.UpSampling2D):
    """Nearest x2."""

    def call(self, inputs: Any) -> Any:
        batch, height, width, channels = keras.ops.shape(inputs)
        wide = keras.ops.reshape(keras.ops.concatenate([inputs, inputs], -1), (batch, height, 2 * width, channels))
        return keras.ops.reshape(keras.ops.concatenate([wide, wide], 2), (batch, 2 * height, 2 * width, channels))


STATIC: dict[type, type] = {keras.layers.GroupNormalization: GroupNorm, keras.layers.UpSampling2D: UpSampling}


def with_static_channels(generator: keras.Model) -> keras.Model:
    """The same generator with the same numbers, of these layers; it has been called, as `export` wants."""

    def copied(layer: keras.Layer) -> Any:
        kind: Any = STATIC.get(type(layer), type(layer))
        return kind.from_config(layer.get_config())

    same = keras.models.clone_model(generator, clone_function=copied)
    same.set_weights(generator.get_weights())
    same(keras.ops.zeros((1, 64, 64, 3)))
    return same
