"""The discriminators.

Reference: AnimeGAN net/discriminator.py (architecture); Sauer et al. 2021, "Projected GANs Converge Faster".
"""

from collections.abc import Callable
from typing import Any

import keras

from hub_export.generator import STOCK
from train.layers import FastConv2D, SpectralConv2D
from train.settings import DiscriminatorConfig
from train.tensors import Tensor

PROJECTED = ("block1_relu2", "block2_relu2", "block3_relu3")
"""Where a projected discriminator looks: the last convolutions, after their ReLU, of VGG16's blocks at H, H/2 and H/4.
Deeper ones would judge what is in a picture, which photos and anime differ in too and the generator must not change."""


def build_discriminator(
    config: DiscriminatorConfig, features: keras.Model | None = None, group_norm: Callable[..., Any] = STOCK.group_norm
) -> keras.Model:
    """Builds the discriminator under the current Keras dtype policy.

    Args:
        features: the frozen network that a projected discriminator looks through, see `build_features`.
        group_norm: the class that normalises.

    Returns:
        A Functional model `(B, H, W, 3) [-1, 1] -> float32` logits, `(B, H/4, W/4, 1)` for a patch discriminator at the
        default depth, `(B, H/4, W/4, 3)` for a projected one.

    Raises:
        ValueError: a projected one without a VGG.
    """
    pictures = keras.Input((None, None, 3), name="pictures")
    if config.kind == "patch":
        logits = _patch(config, pictures, group_norm)
    else:
        logits = _projected(config, pictures, features, group_norm)
    logits = keras.layers.Activation("linear", dtype="float32", name="logits")(logits)
    return keras.Model(pictures, logits, name="discriminator")


def _patch(config: DiscriminatorConfig, pictures: Tensor, group_norm: Callable[..., Any]) -> Tensor:
    plain = config.norm == "none"  # nothing makes up for kernels that are too small, or takes out a bias

    def conv(x: Tensor, filters: int, stride: int) -> Tensor:
        start = keras.initializers.HeNormal() if plain else keras.initializers.RandomNormal(stddev=0.02)
        return _conv(config, x, filters, stride, use_bias=plain, kernel_initializer=start)

    def conv_norm(x: Tensor, filters: int) -> Tensor:
        if config.dropout:
            x = keras.layers.Dropout(config.dropout)(x)
        x = conv(x, filters, 1)
        return _activate(x if plain else group_norm({"instance": -1, "layer": 1}[config.norm], epsilon=1e-5)(x))

    channels = config.channels // 2
    x = _activate(conv(pictures, channels, 1))
    for _ in range(config.layers - 1):
        x = _activate(conv(x, 2 * channels, 2))
        x = conv_norm(x, 4 * channels)
        channels *= 2
    x = conv_norm(x, 2 * channels)
    return conv(x, 1, 1)


def _projected(
    config: DiscriminatorConfig, pictures: Tensor, features: keras.Model | None, group_norm: Callable[..., Any]
) -> Tensor:
    """One small head on each of the maps of PROJECTED; all heads answer at H/4."""
    names = {layer.name for layer in features.layers} if features else set()
    if not features or not names.issuperset(PROJECTED):
        raise ValueError("discriminator.kind=projected looks through a VGG: set features.network to vgg19 or hed-vgg16")
    maps = keras.Model(features.input, [features.get_layer(name).output for name in PROJECTED], name="projection")(pictures)
    answers = []
    for strides, x in zip([(2, 2), (2, 1), (1, 1)], maps, strict=True):
        x = group_norm(1, epsilon=1e-5, center=False, scale=False)(x)
        for stride in strides:
            if config.dropout:
                x = keras.layers.Dropout(config.dropout)(x)
            x = _activate(_conv(config, x, config.channels, stride, kernel_initializer="he_normal"))
        answers.append(_conv(config, x, 1, 1, kernel_initializer="he_normal"))
    return keras.layers.Concatenate()(answers)


def _conv(config: DiscriminatorConfig, x: Tensor, filters: int, stride: int, **options: Any) -> Tensor:
    """3x3 with one zero on every side; for stride 2 Keras' "same" pads otherwise."""
    layer = SpectralConv2D if config.spectral_norm else FastConv2D
    if stride == 1:
        return layer(filters, 3, padding="same", **options)(x)
    return layer(filters, 3, stride, **options)(keras.layers.ZeroPadding2D(1)(x))


def _activate(x: Tensor) -> Tensor:
    return keras.layers.LeakyReLU(negative_slope=0.2)(x)
