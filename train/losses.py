"""The losses as pure functions of tensors: named, unweighted terms; weights are applied in one place, `trainer.py`.

Pictures are `(B, H, W, 3) float32 [-1, 1] RGB`, features `(B, h, w, C)`, logits `(B, h, w, 1)`; every loss is a float32
scalar. Reference: AnimeGAN and AnimeGANv2, tools/ops.py; the six adversarial losses as listed there.
"""

from collections.abc import Callable, Mapping
from typing import Any

import tensorflow as tf

from hub_export import pixels

PENALTY_KINDS = ("wgan-gp", "wgan-lp", "dragan")


def to_gray(picture: Any) -> Any:
    """(..., 3) RGB -> (..., 3) with three equal channels, its luma."""
    luma = sum(weight * picture[..., channel : channel + 1] for channel, weight in enumerate(pixels.GRAY_WEIGHTS))
    return tf.repeat(luma, 3, axis=-1)


def saturate(picture: Any, factor: float) -> Any:
    """(..., 3) RGB -> the same luma, its distance from gray times `factor`, clipped to [-1, 1]."""
    gray = to_gray(picture)
    return tf.clip_by_value(gray + factor * (picture - gray), -1.0, 1.0)


def gram_matrix(features: Any) -> Any:
    """(B, h, w, C) -> (B, C, C) float32: XᵀX/(h·w·C), per sample."""
    features = tf.cast(features, tf.float32)
    shape = tf.shape(features)
    flat = tf.reshape(features, (shape[0], -1, features.shape[-1]))  # (B, h·w, C)
    size = tf.cast(tf.reduce_prod(shape[1:]), tf.float32)
    return tf.matmul(flat, flat, transpose_a=True) / size


def content_loss(photo_features: Any, fake_features: Any) -> Any:
    """Mean absolute difference of features."""
    return _l1(photo_features, fake_features)


def style_loss(anime_gram: Any, fake_features: Any) -> Any:
    """Mean absolute difference of Gram matrices; `anime_gram` is (B, C, C)."""
    return _l1(anime_gram, gram_matrix(fake_features))


def colour_loss(photo: Any, fake: Any, colour_range: str = "unit", uv: str = "huber", chroma_weight: float = 1.0) -> Any:
    """L1 on Y plus a loss on U and on V, of RGB scaled to the given range.

    Args:
        colour_range: "unit" for RGB in [0, 1] (the references), "byte" for [0, 255] (the diary).
        uv: "huber" with delta 1 (the references), or "l1".
        chroma_weight: of U and of V; that of Y is 1.
    """
    scale = {"unit": 1.0 / 255.0, "byte": 1.0}[colour_range]
    difference = tf.image.rgb_to_yuv(scale * (pixels.to_bytes_range(photo) - pixels.to_bytes_range(fake)))  # linear in RGB
    y, u, v = tf.unstack(tf.abs(difference), axis=-1)
    chroma: Callable[[Any], Any] = {"huber": _huber, "l1": tf.identity}[uv]
    return tf.reduce_mean(y) + chroma_weight * (tf.reduce_mean(chroma(u)) + tf.reduce_mean(chroma(v)))


def total_variation_loss(fake: Any) -> Any:
    """Half the mean squared difference of vertical, plus that of horizontal neighbours."""
    rows, columns = fake[:, 1:] - fake[:, :-1], fake[:, :, 1:] - fake[:, :, :-1]
    return (tf.reduce_mean(tf.square(rows)) + tf.reduce_mean(tf.square(columns))) / 2.0


def pixel_loss(photo: Any, fake: Any) -> Any:
    """Mean absolute difference of pixels."""
    return _l1(photo, fake)


def generator_adversarial_loss(kind: str, fake_logits: Any) -> Any:
    """What the generator minimises: fakes should be taken for anime."""
    return {
        "gan": lambda: _cross_entropy(fake_logits, 1.0),
        "dragan": lambda: _cross_entropy(fake_logits, 1.0),
        "lsgan": lambda: tf.reduce_mean(tf.square(fake_logits - 1.0)),
        "wgan-gp": lambda: -tf.reduce_mean(fake_logits),
        "wgan-lp": lambda: -tf.reduce_mean(fake_logits),
        "hinge": lambda: -tf.reduce_mean(fake_logits),
    }[kind]()


def discriminator_losses(kind: str, logits: Mapping[str, Any]) -> dict[str, Any]:
    """The discriminator's terms by name from its logits: "real" should be taken for anime, all others should not."""
    real, not_real = {
        "gan": (lambda x: _cross_entropy(x, 1.0), lambda x: _cross_entropy(x, 0.0)),
        "dragan": (lambda x: _cross_entropy(x, 1.0), lambda x: _cross_entropy(x, 0.0)),
        "lsgan": (lambda x: tf.reduce_mean(tf.square(x - 1.0)), lambda x: tf.reduce_mean(tf.square(x))),
        "wgan-gp": (lambda x: -tf.reduce_mean(x), tf.reduce_mean),
        "wgan-lp": (lambda x: -tf.reduce_mean(x), tf.reduce_mean),
        "hinge": (lambda x: tf.reduce_mean(tf.nn.relu(1.0 - x)), lambda x: tf.reduce_mean(tf.nn.relu(1.0 + x))),
    }[kind]
    return {name: real(values) if name == "real" else not_real(values) for name, values in logits.items()}


def gradient_penalty(kind: str, discriminator: Callable[[Any], Any], anime: Any, fake: Any, alpha: Any, noise: Any) -> Any:
    """Penalises the norm of the discriminator's gradient between two pictures, with correct second-order gradients.

    Args:
        kind: wgan-gp and dragan pull the norm to 1, wgan-lp only down to 1.
        discriminator: pictures -> logits.
        anime, fake: (B, H, W, 3); dragan uses anime plus noise instead of fake.
        alpha: (B, 1, 1, 1) in [0, 1), where between the two.
        noise: like anime, in [0, the batch's standard deviation), used by dragan only.
    """
    if kind == "dragan":
        fake = anime + 0.5 * noise
    between = anime + alpha * (fake - anime)
    with tf.GradientTape() as tape:
        tape.watch(between)
        logits = discriminator(between)
    gradient = tape.gradient(logits, between)
    norm = tf.sqrt(tf.reduce_sum(tf.square(gradient), axis=(1, 2, 3)) + 1e-12)  # no infinite gradient at norm 0
    excess = tf.nn.relu(norm - 1.0) if kind == "wgan-lp" else norm - 1.0
    return tf.reduce_mean(tf.square(excess))


def _l1(a: Any, b: Any) -> Any:
    return tf.reduce_mean(tf.abs(tf.cast(a, tf.float32) - tf.cast(b, tf.float32)))


def _huber(distance: Any) -> Any:
    return tf.where(distance <= 1.0, 0.5 * tf.square(distance), distance - 0.5)


def _cross_entropy(logits: Any, label: float) -> Any:
    return tf.reduce_mean(tf.nn.sigmoid_cross_entropy_with_logits(tf.fill(tf.shape(logits), label), logits))
