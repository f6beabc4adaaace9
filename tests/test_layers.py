"""Our layers against Keras' own, values and gradients."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from hub_export.generator import STOCK, dtype_policy
from train.layers import FEWEST_CHANNELS, FastConv2D, InstanceNormalization, LayerNormalization, group_norm


@pytest.mark.parametrize(
    ("layer", "precision", "tolerance"),
    [
        (InstanceNormalization, "float32", 2e-6),
        (InstanceNormalization, "mixed_bfloat16", 1e-2),
        (LayerNormalization, "mixed_bfloat16", 1e-2),
        (LayerNormalization, "mixed_float16", 2e-3),
    ],
)
def test_normalization_is_keras_own(layer: type, precision: str, tolerance: float) -> None:
    rng = np.random.default_rng(0)
    offsets = rng.normal(0, 3, (3, 1, 1, 8))  # every channel of every sample has moments of its own
    pictures = tf.constant(rng.normal(offsets, 1 + np.abs(offsets), (3, 12, 10, 8)), tf.float32)
    pull = tf.constant(rng.normal(0, 1, pictures.shape), tf.float32)
    groups = {InstanceNormalization: -1, LayerNormalization: 1}[layer]
    found = {}
    with dtype_policy(precision):
        layers = {"own": group_norm(groups, epsilon=1e-5), "keras": STOCK.group_norm(groups, epsilon=1e-5)}
    assert type(layers["own"]) is layer and layers["own"].compute_dtype in precision
    for name, norm in layers.items():
        norm.build(pictures.shape)
        for index, weight in enumerate(norm.trainable_variables):
            assert weight.dtype == "float32"
            weight.assign(np.random.default_rng(index).normal(1, 1, weight.shape))
        with tf.GradientTape() as tape:
            tape.watch(pictures)
            normalised = norm(tf.cast(pictures, norm.compute_dtype))
            value = tf.reduce_sum(tf.cast(normalised, tf.float32) * pull)
        assert normalised.dtype == norm.compute_dtype
        found[name] = [normalised, *tape.gradient(value, [pictures, *norm.trainable_variables])]
    for own, theirs in zip(found["own"], found["keras"], strict=True):
        np.testing.assert_allclose(tf.cast(own, tf.float32), theirs, atol=tolerance * np.abs(theirs).max())


def test_layer_normalization_exactly() -> None:
    """In float32, where the gradient's formula must hold to rounding; also without gamma and beta."""
    pictures = tf.random.stateless_normal((2, 7, 5, 6), (1, 2)) * 2.0 + 3.0
    for options in ({}, {"center": False, "scale": False}):
        found = []
        for layer in (LayerNormalization(1, epsilon=1e-5, **options), STOCK.group_norm(1, epsilon=1e-5, **options)):
            layer.build(pictures.shape)
            for index, weight in enumerate(layer.trainable_variables):
                weight.assign(np.random.default_rng(index).normal(1, 1, weight.shape))
            with tf.GradientTape() as tape:
                tape.watch(pictures)
                normalised = layer(pictures)
                value = tf.reduce_sum(tf.sin(normalised))
            found.append([normalised, *tape.gradient(value, [pictures, *layer.trainable_variables])])
        for own, theirs in zip(*found, strict=True):
            np.testing.assert_allclose(own, theirs, atol=3e-6 * np.abs(theirs).max())


def test_layer_normalization_in_float32_stays_keras_own() -> None:
    assert type(group_norm(1, epsilon=1e-5)) is keras.layers.GroupNormalization


@pytest.mark.parametrize("padding", ["valid", "same"])
@pytest.mark.parametrize(("channels", "filters"), [(16, 24), (24, 16), (16, 16)])
@pytest.mark.parametrize("kernel", [3, 7])
def test_fast_convolution_is_keras_own(padding: str, channels: int, filters: int, kernel: int) -> None:
    pictures = tf.random.stateless_normal((3, 11, 9, channels), (1, 2))
    found = {}
    for layer in (FastConv2D, keras.layers.Conv2D):
        convolution = layer(filters, kernel, padding=padding, kernel_initializer=keras.initializers.HeNormal(3))
        convolution.build(pictures.shape)
        with tf.GradientTape() as outer:
            outer.watch(pictures)
            with tf.GradientTape() as inner:
                inner.watch(pictures)
                answer = convolution(pictures)
                value = tf.reduce_sum(tf.sin(answer))
            slope = inner.gradient(value, pictures)
            penalty = tf.reduce_sum(tf.square(slope))  # as gradient penalties differentiate twice
        found[layer] = [answer, slope, *outer.gradient(penalty, [pictures, *convolution.trainable_variables])]
    for own, theirs in zip(*found.values(), strict=True):
        np.testing.assert_allclose(own, theirs, atol=3e-6 * np.abs(theirs).max())


def test_few_channels_strides_and_unknown_sizes_stay_keras_own() -> None:
    def operations(channels: int, size: int | None, **options: int) -> set[str]:
        layer = FastConv2D(FEWEST_CHANNELS, 3, **options)
        layer.build((2, size, size, channels))

        @tf.function(input_signature=[tf.TensorSpec((2, size, size, channels), tf.float32)])
        def gradient(pictures: tf.Tensor) -> tf.Tensor:
            with tf.GradientTape() as tape:
                value = tf.reduce_sum(layer(pictures))
            return tape.gradient(value, layer.kernel.value)

        return {operation.type for operation in gradient.get_concrete_function().graph.get_operations()}

    assert "MatMul" in operations(FEWEST_CHANNELS, 12)
    for own in (operations(3, 12), operations(FEWEST_CHANNELS, None), operations(FEWEST_CHANNELS, 12, strides=2)):
        assert "Conv2DBackpropFilter" in own and "MatMul" not in own
