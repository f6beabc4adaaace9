"""The losses as pure functions of tensors: named, unweighted terms; weights are applied by `weighted_sum`.

Pictures are `(B, H, W, 3) float32 [-1, 1] RGB`, features `(B, h, w, C)`, logits `(B, h, w, 1)`; every loss is a float32
scalar. `target` is what a drawing is compared with: the photo itself, where the experiment paints none.
Reference: AnimeGAN and AnimeGANv2, tools/ops.py; the six adversarial losses as listed there.
"""

import functools
from collections.abc import Callable, Mapping

import tensorflow as tf

from hub_export import pixels
from train.tensors import Tensor

PENALTY_KINDS = ("wgan-gp", "wgan-lp", "dragan")


def weighted_sum(terms: Mapping[str, Tensor], weights: Mapping[str, float]) -> Tensor:
    """Σ weight · term; a term of weight 0 is left out, so that its gradient costs nothing."""
    return sum((weights[name] * terms[name] for name in terms if weights[name]), tf.constant(0.0))


def to_gray(picture: Tensor) -> Tensor:
    """(..., 3) RGB -> (..., 3) with three equal channels, its luma."""
    luma = sum(weight * picture[..., channel : channel + 1] for channel, weight in enumerate(pixels.GRAY_WEIGHTS))
    return tf.repeat(luma, 3, axis=-1)


def gradient_loss(target: Tensor, fake: Tensor, counts: Tensor) -> Tensor:
    """Mean absolute difference of the steps from pixel to pixel, down plus to the right, each times how much the pixel that
    it leads to `counts`, (B, H, W, 1)."""
    difference = fake - target
    down, right = difference[:, 1:] - difference[:, :-1], difference[:, :, 1:] - difference[:, :, :-1]
    return tf.reduce_mean(counts[:, 1:] * tf.abs(down)) + tf.reduce_mean(counts[:, :, 1:] * tf.abs(right))


def line_map(picture: Tensor) -> Tensor:
    """Where a picture has dark lines: (B, H, W, 1), from 0 at 6 levels under the mean of 9 x 9 pixels to 1 at 18."""
    luma = to_gray(picture)[..., :1]
    depth = tf.nn.avg_pool2d(luma, 9, 1, "SAME") - luma
    return tf.clip_by_value((127.5 * depth - 6.0) / 12.0, 0.0, 1.0)


def line_counts(weight: float, *pictures: Tensor) -> Tensor:
    """How much a pixel counts: (B, H, W, 1), from 1 to 1 + weight where one of these pictures has a dark line."""
    lines = functools.reduce(tf.maximum, map(line_map, pictures))
    return 1.0 + weight * tf.stop_gradient(lines)


def gram_matrix(features: Tensor) -> Tensor:
    """(B, h, w, C) -> (B, C, C) float32: XᵀX/(h·w·C), per sample."""
    features = tf.cast(features, tf.float32)
    shape = tf.shape(features)
    flat = tf.reshape(features, (shape[0], -1, features.shape[-1]))  # (B, h·w, C)
    size = tf.cast(tf.reduce_prod(shape[1:]), tf.float32)
    return tf.matmul(flat, flat, transpose_a=True) / size


def content_loss(target_features: Tensor, fake_features: Tensor) -> Tensor:
    """Mean absolute difference of features."""
    return _l1(target_features, fake_features)


def style_loss(anime_gram: Tensor, fake_features: Tensor) -> Tensor:
    """Mean absolute difference of Gram matrices; `anime_gram` is (B, C, C)."""
    return _l1(anime_gram, gram_matrix(fake_features))


def colour_loss(target: Tensor, fake: Tensor, colour_range: str = "unit") -> Tensor:
    """L1 on Y plus Huber with delta 1 on U and on V, of RGB scaled to the given range.

    Args:
        colour_range: "unit" for RGB in [0, 1] (the references), "byte" for [0, 255] (the diary).
    """
    scale = {"unit": 1.0 / 255.0, "byte": 1.0}[colour_range]
    difference = tf.image.rgb_to_yuv(scale * (pixels.to_bytes_range(target) - pixels.to_bytes_range(fake)))  # linear in RGB
    y, u, v = tf.unstack(tf.abs(difference), axis=-1)
    return tf.reduce_mean(y) + (tf.reduce_mean(_huber(u)) + tf.reduce_mean(_huber(v)))


def total_variation_loss(fake: Tensor) -> Tensor:
    """Half the mean squared difference of vertical, plus that of horizontal neighbours."""
    rows, columns = fake[:, 1:] - fake[:, :-1], fake[:, :, 1:] - fake[:, :, :-1]
    return (tf.reduce_mean(tf.square(rows)) + tf.reduce_mean(tf.square(columns))) / 2.0


def pixel_loss(target: Tensor, fake: Tensor, counts: Tensor | float = 1.0) -> Tensor:
    """Mean absolute difference of pixels, each times how much it `counts`, (B, H, W, 1)."""
    return tf.reduce_mean(counts * tf.abs(fake - target))


def generator_adversarial_loss(kind: str, fake_logits: Tensor) -> Tensor:
    """What the generator minimises: fakes should be taken for anime."""
    return {
        "gan": lambda: _cross_entropy(fake_logits, 1.0),
        "dragan": lambda: _cross_entropy(fake_logits, 1.0),
        "lsgan": lambda: tf.reduce_mean(tf.square(fake_logits - 1.0)),
        "wgan-gp": lambda: -tf.reduce_mean(fake_logits),
        "wgan-lp": lambda: -tf.reduce_mean(fake_logits),
        "hinge": lambda: -tf.reduce_mean(fake_logits),
    }[kind]()


def discriminator_losses(kind: str, logits: Mapping[str, Tensor]) -> dict[str, Tensor]:
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


def paired_discriminator_loss(target_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """Every place of a target should look more like one than the same place of its imitation: mean softplus(fake - target).

    What is in the picture is the same in both and cancels; what is left is how it is drawn. Reference: Jolicoeur-Martineau
    2019, "The relativistic discriminator: a key element missing from standard GAN".
    """
    return tf.reduce_mean(tf.nn.softplus(fake_logits - target_logits))


def paired_generator_loss(target_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """The imitation should look more like a target than the target does: mean softplus(target - fake)."""
    return paired_discriminator_loss(fake_logits, target_logits)


def gradient_penalty(
    kind: str, discriminator: Callable[[Tensor], Tensor], anime: Tensor, fake: Tensor, alpha: Tensor, noise: Tensor
) -> Tensor:
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


def _l1(a: Tensor, b: Tensor) -> Tensor:
    return tf.reduce_mean(tf.abs(tf.cast(a, tf.float32) - tf.cast(b, tf.float32)))


def _huber(distance: Tensor) -> Tensor:
    return tf.where(distance <= 1.0, 0.5 * tf.square(distance), distance - 0.5)


def _cross_entropy(logits: Tensor, label: float) -> Tensor:
    return tf.reduce_mean(tf.nn.sigmoid_cross_entropy_with_logits(tf.fill(tf.shape(logits), label), logits))
