"""Spectral normalisation, shapes, parameter count, and that fakes, dropout and norms do what the recipe says."""

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf

from hub_export.architecture import GeneratorConfig
from hub_export.generator import STOCK, build_generator, dtype_policy
from train.discriminator import build_discriminator
from train.features import build_features
from train.layers import SpectralConv2D, advance_power_iterations, fold_spectral_norm
from train.settings import DiscriminatorConfig, FeatureConfig

SMALL = DiscriminatorConfig(channels=8)


def settled(model: keras.Model) -> keras.Model:
    advance = tf.function(lambda: advance_power_iterations(model), autograph=False)
    for _ in range(200):
        advance()
    return model


def test_parameter_count_and_shape() -> None:
    model = build_discriminator(DiscriminatorConfig())
    assert sum(int(np.prod(weight.shape)) for weight in model.trainable_weights) == 1_128_800
    assert model(np.zeros((2, 64, 96, 3), np.float32)).shape == (2, 16, 24, 1)


def test_projected_heads_judge_three_depths_of_a_frozen_network() -> None:
    features = build_features(FeatureConfig("hed-vgg16", "none"))
    before = [weight.numpy() for weight in features.weights]
    model = build_discriminator(dataclasses.replace(SMALL, kind="projected"), features)
    pictures = tf.random.stateless_uniform((2, 64, 96, 3), (0, 1), -1.0, 1.0)
    with tf.GradientTape() as tape:
        tape.watch(pictures)
        logits = model(pictures)
        loss = tf.reduce_mean(tf.square(logits))
    gradient, *own = tape.gradient(loss, [pictures, *model.trainable_variables])
    assert logits.shape == (2, 16, 24, 3)
    assert all(float(tf.reduce_max(tf.abs(part))) > 0 for part in (gradient, *own))
    assert not {id(weight) for weight in model.trainable_variables} & {id(weight) for weight in features.variables}
    keras.optimizers.SGD(1.0).apply(own, model.trainable_variables)
    assert all(np.array_equal(old, new) for old, new in zip(before, features.weights, strict=True))


def test_a_projected_discriminator_needs_a_vgg() -> None:
    config = dataclasses.replace(SMALL, kind="projected")
    for features in (None, build_features(FeatureConfig("mobilenetv2", "none"))):
        with pytest.raises(ValueError, match="to vgg19 or hed-vgg16"):
            build_discriminator(config, features)


def test_sigma_is_the_largest_singular_value() -> None:
    model = settled(build_discriminator(SMALL))
    layers = [layer for layer in model.layers if isinstance(layer, SpectralConv2D)]
    assert len(layers) == 7
    for layer in layers:
        kernel = layer.normalised_kernel().numpy()
        assert np.linalg.svd(kernel.reshape(-1, kernel.shape[-1]))[1].max() == pytest.approx(1.0, abs=2e-3)


def test_gradient_passes_through_sigma() -> None:
    """d/dK of a function of K/σ(K): scaling K changes nothing, so the gradient has no component along K."""
    model = settled(build_discriminator(SMALL))
    layer = next(layer for layer in model.layers if isinstance(layer, SpectralConv2D))
    target = np.random.default_rng(0).normal(size=layer.kernel.shape).astype(np.float32)
    with tf.GradientTape() as tape:
        value = tf.reduce_sum(layer.normalised_kernel() * target)
    gradient = tape.gradient(value, layer.trainable_variables[0])
    along = float(tf.reduce_sum(gradient * layer.kernel)) / float(tf.norm(gradient) * tf.norm(layer.kernel))
    assert abs(along) < 1e-3
    step, start = 1e-3, layer.kernel.numpy()
    direction = np.random.default_rng(1).normal(size=start.shape)
    direction /= np.linalg.norm(direction)

    def value_at(kernel: np.ndarray) -> float:
        sigma = np.linalg.svd(kernel.reshape(-1, kernel.shape[-1]))[1].max()
        return float((kernel / sigma * target).sum())

    numeric = (value_at(start + step * direction) - value_at(start - step * direction)) / (2 * step)
    assert float((gradient.numpy() * direction).sum()) == pytest.approx(
        numeric, rel=2e-2, abs=1e-2 * float(tf.norm(gradient))
    )


def test_a_call_does_not_advance_the_power_iteration() -> None:
    model = build_discriminator(SMALL)
    before = [variable.numpy() for variable in model.non_trainable_variables]
    model(np.ones((1, 32, 32, 3), np.float32), training=True)
    for variable, value in zip(model.non_trainable_variables, before, strict=True):
        np.testing.assert_array_equal(variable.numpy(), value)
    advance_power_iterations(model)
    assert any(not np.array_equal(v.numpy(), b) for v, b in zip(model.non_trainable_variables, before, strict=True))


@pytest.mark.parametrize("norm", ["instance", "layer"])
def test_stacked_batches_equal_separate_calls(norm: str) -> None:
    model = build_discriminator(dataclasses.replace(SMALL, norm=norm))
    pictures = np.random.default_rng(0).uniform(-1, 1, (4, 32, 32, 3)).astype(np.float32)
    together = model(pictures, training=True)
    apart = tf.concat([model(pictures[i : i + 1], training=True) for i in range(4)], axis=0)
    np.testing.assert_allclose(together, apart, atol=1e-5)


def test_norms_differ_and_dropout_acts_in_training_only() -> None:
    pictures = np.random.default_rng(0).uniform(-1, 1, (2, 32, 32, 3)).astype(np.float32)
    instance, layer = (build_discriminator(dataclasses.replace(SMALL, norm=norm)) for norm in ("instance", "layer"))
    layer.set_weights(instance.get_weights())
    assert np.abs(instance(pictures) - layer(pictures)).max() > 1e-4
    dropout = build_discriminator(dataclasses.replace(SMALL, dropout=0.5))
    assert np.array_equal(dropout(pictures), dropout(pictures))
    assert not np.array_equal(dropout(pictures, training=True), dropout(pictures, training=True))


def test_sigma_stays_float32_in_mixed_precision() -> None:
    with dtype_policy("mixed_bfloat16"):
        model = build_discriminator(SMALL)
    kernels = []
    original = SpectralConv2D.normalised_kernel
    SpectralConv2D.normalised_kernel = lambda self: kernels.append(original(self)) or kernels[-1]  # type: ignore[method-assign]
    try:
        logits = model(np.ones((1, 32, 32, 3), np.float32))
    finally:
        SpectralConv2D.normalised_kernel = original  # type: ignore[method-assign]
    assert {kernel.dtype for kernel in kernels} == {tf.float32} and logits.dtype == tf.float32


@pytest.mark.slow
@pytest.mark.parametrize("architecture", ["v1", "v2", "lite"])
def test_generator_spectral_norm_folds_into_plain_kernels(architecture: str) -> None:
    config = GeneratorConfig(architecture, channels=8)
    trained, plain = build_generator(config, dataclasses.replace(STOCK, conv2d=SpectralConv2D)), build_generator(config)
    for weight in trained.trainable_weights:  # biases start at zero
        weight.assign(np.random.default_rng(0).normal(size=weight.shape, scale=0.3))
    settled(trained)
    plain.set_weights(fold_spectral_norm(trained))
    photo = np.random.default_rng(0).uniform(-1, 1, (1, 32, 40, 3)).astype(np.float32)
    drawn = trained(photo)
    np.testing.assert_allclose(plain(photo), drawn, atol=1e-5)
    assert np.std(drawn) > 1e-4
    assert {type(layer).__module__.split(".")[0] for layer in plain.layers} == {"keras"}
