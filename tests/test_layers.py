"""The fast instance normalisation against Keras' own, values and gradients."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from hub_export.generator import STOCK, dtype_policy
from train.layers import InstanceNormalization, group_norm


@pytest.mark.parametrize(("precision", "tolerance"), [("float32", 2e-6), ("mixed_bfloat16", 1e-2)])
def test_instance_normalization_is_keras_own(precision: str, tolerance: float) -> None:
    rng = np.random.default_rng(0)
    offsets = rng.normal(0, 3, (3, 1, 1, 8))  # every channel of every sample has moments of its own
    pictures = tf.constant(rng.normal(offsets, 1 + np.abs(offsets), (3, 12, 10, 8)), tf.float32)
    pull = tf.constant(rng.normal(0, 1, pictures.shape), tf.float32)
    found = {}
    with dtype_policy(precision):
        layers = {"own": group_norm(-1, epsilon=1e-5), "keras": STOCK.group_norm(-1, epsilon=1e-5)}
    assert isinstance(layers["own"], InstanceNormalization) and layers["own"].compute_dtype in precision
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


def test_layer_normalization_stays_keras_own() -> None:
    assert type(group_norm(1, epsilon=1e-5)) is keras.layers.GroupNormalization
