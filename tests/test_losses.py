"""Every loss against a NumPy formula, gradients against finite differences."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from train import losses

KINDS = ["gan", "lsgan", "wgan-gp", "wgan-lp", "dragan", "hinge"]


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(1)


def pictures(rng: np.random.Generator, size: int = 6) -> np.ndarray:
    return rng.uniform(-1, 1, (2, size, size, 3)).astype(np.float32)


def numpy_gram(features: np.ndarray) -> np.ndarray:
    _, height, width, channels = features.shape
    grams = [sample.reshape(-1, channels).T @ sample.reshape(-1, channels) for sample in features]
    return np.stack(grams) / (height * width * channels)


def numpy_colour(photo: np.ndarray, fake: np.ndarray, top: float) -> float:
    kernel = np.array(
        [[0.299, -0.14714119, 0.61497538], [0.587, -0.28886916, -0.51496512], [0.114, 0.43601035, -0.10001026]]
    )
    difference = np.abs(((photo + 1) / 2 * top) @ kernel - ((fake + 1) / 2 * top) @ kernel)
    y, u, v = np.moveaxis(difference, -1, 0)

    def huber(d: np.ndarray) -> np.ndarray:
        return np.where(d <= 1, d**2 / 2, d - 0.5)

    return float(y.mean() + huber(u).mean() + huber(v).mean())


def test_gram_is_per_sample(rng: np.random.Generator) -> None:
    features = rng.normal(size=(3, 4, 5, 7)).astype(np.float32)
    np.testing.assert_allclose(losses.gram_matrix(features), numpy_gram(features), rtol=1e-5, atol=1e-6)
    changed = features.copy()
    changed[1:] = 0
    np.testing.assert_array_equal(losses.gram_matrix(features)[0], losses.gram_matrix(changed)[0])


def test_gram_is_float32_for_low_precision_features(rng: np.random.Generator) -> None:
    features = tf.cast(rng.normal(size=(1, 4, 4, 3)), tf.bfloat16)
    assert losses.gram_matrix(features).dtype == tf.float32


def test_content_style_pixel(rng: np.random.Generator) -> None:
    a, b = rng.normal(size=(2, 2, 4, 5, 7)).astype(np.float32)
    np.testing.assert_allclose(losses.content_loss(a, b), np.abs(a - b).mean(), rtol=1e-5)
    expected = np.abs(numpy_gram(a) - numpy_gram(b)).mean()
    np.testing.assert_allclose(losses.style_loss(losses.gram_matrix(a), b), expected, rtol=1e-4)
    np.testing.assert_allclose(losses.pixel_loss(a, b), np.abs(a - b).mean(), rtol=1e-5)


@pytest.mark.parametrize(("colour_range", "top"), [("unit", 1.0), ("byte", 255.0)])
def test_colour(rng: np.random.Generator, colour_range: str, top: float) -> None:
    photo, fake = pictures(rng), pictures(rng)
    found = losses.colour_loss(photo, fake, colour_range)
    np.testing.assert_allclose(found, numpy_colour(photo, fake, top), rtol=1e-4)


def test_total_variation(rng: np.random.Generator) -> None:
    fake = pictures(rng)
    expected = sum(np.sum(np.diff(fake, axis=axis) ** 2) / 2 / np.diff(fake, axis=axis).size for axis in (1, 2))
    np.testing.assert_allclose(losses.total_variation_loss(fake), expected, rtol=1e-5)


def numpy_terms(kind: str) -> tuple[Callable[[Any], Any], Callable[[Any], Any]]:
    def softplus(x: Any) -> Any:
        return np.log1p(np.exp(x))

    return {
        "gan": (lambda x: softplus(-x).mean(), lambda x: softplus(x).mean()),
        "dragan": (lambda x: softplus(-x).mean(), lambda x: softplus(x).mean()),
        "lsgan": (lambda x: ((x - 1) ** 2).mean(), lambda x: (x**2).mean()),
        "wgan-gp": (lambda x: -x.mean(), lambda x: x.mean()),
        "wgan-lp": (lambda x: -x.mean(), lambda x: x.mean()),
        "hinge": (lambda x: np.maximum(1 - x, 0).mean(), lambda x: np.maximum(1 + x, 0).mean()),
    }[kind]


def test_paired_terms_compare_place_by_place(rng: np.random.Generator) -> None:
    target, fake = rng.normal(size=(2, 2, 4, 4, 1)).astype(np.float32)
    wanted = np.log1p(np.exp(fake - target)).mean()
    assert float(losses.paired_discriminator_loss(target, fake)) == pytest.approx(wanted, rel=1e-5)
    assert float(losses.paired_generator_loss(target, fake)) == pytest.approx(
        np.log1p(np.exp(target - fake)).mean(), rel=1e-5
    )


@pytest.mark.parametrize("kind", KINDS)
def test_adversarial_terms(rng: np.random.Generator, kind: str) -> None:
    anime, fake, gray, smooth = rng.normal(size=(4, 2, 3, 3, 1)).astype(np.float32)
    real, not_real = numpy_terms(kind)
    found = losses.discriminator_losses(kind, {"real": anime, "fake": fake, "gray": gray, "smooth": smooth})
    expected = {"real": real(anime), "fake": not_real(fake), "gray": not_real(gray), "smooth": not_real(smooth)}
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-4, err_msg=name)
    generator = -fake.mean() if kind == "hinge" else real(fake)  # hinge has no margin on the generator's side
    np.testing.assert_allclose(losses.generator_adversarial_loss(kind, fake), generator, rtol=1e-4)


def quadratic(weights: Any) -> Callable[[Any], Any]:
    """A discriminator with a known gradient: D(x) = sum(w · x²)/2, dD/dx = w · x."""
    return lambda x: tf.reduce_sum(weights * tf.square(x), axis=(1, 2, 3)) / 2.0


@pytest.mark.parametrize("kind", losses.PENALTY_KINDS)
@pytest.mark.parametrize("scale", [0.05, 1.0])
def test_gradient_penalty(rng: np.random.Generator, kind: str, scale: float) -> None:
    anime, fake = pictures(rng), pictures(rng)
    alpha, noise = rng.uniform(size=(2, 1, 1, 1)), anime.std() * rng.uniform(size=anime.shape)
    weights = scale * rng.normal(size=(1, 6, 6, 3))
    anime, fake = anime.astype(np.float64), fake.astype(np.float64)
    end = anime + 0.5 * noise if kind == "dragan" else fake
    norm = np.sqrt((np.square(weights * (anime + alpha * (end - anime)))).sum(axis=(1, 2, 3)))
    excess = np.maximum(norm - 1, 0) if kind == "wgan-lp" else norm - 1
    found = losses.gradient_penalty(kind, quadratic(weights), tf.constant(anime), tf.constant(fake), alpha, noise)
    np.testing.assert_allclose(found, np.mean(excess**2), rtol=1e-6)


@pytest.mark.parametrize("kind", losses.PENALTY_KINDS)
def test_gradient_penalty_second_order(rng: np.random.Generator, kind: str) -> None:
    """The gradient of the penalty with respect to the discriminator's weights, against central differences."""
    anime, fake = (tf.constant(pictures(rng, 4), tf.float64) for _ in range(2))
    alpha, noise = rng.uniform(size=(2, 1, 1, 1)), rng.uniform(size=anime.shape)
    weights = tf.Variable(rng.normal(size=(3, 3, 3, 1)))

    def penalty() -> Any:
        def judge(x: Any) -> Any:
            return tf.nn.conv2d(
                tf.tanh(tf.nn.conv2d(x, weights, 1, "VALID")) ** 2, tf.ones((2, 2, 1, 1), tf.float64), 1, "VALID"
            )

        return losses.gradient_penalty(kind, judge, anime, fake, alpha, noise)

    with tf.GradientTape() as tape:
        value = penalty()
    check_gradient(penalty, weights, tape.gradient(value, weights))


LOSSES: dict[str, Callable[[Any, Any], Any]] = {
    "content": losses.content_loss,
    "style": lambda a, b: losses.style_loss(losses.gram_matrix(tf.cast(a, tf.float32)), b),
    "colour unit": losses.colour_loss,
    "colour byte": lambda a, b: losses.colour_loss(a, b, "byte"),
    "tv": lambda a, b: losses.total_variation_loss(b),
    **{f"G {kind}": lambda a, b, kind=kind: losses.generator_adversarial_loss(kind, b) for kind in KINDS},
    **{
        f"D {kind}": lambda a, b, kind=kind: sum(losses.discriminator_losses(kind, {"real": a, "fake": b}).values())
        for kind in KINDS
    },
}


@pytest.mark.parametrize("name", LOSSES)
def test_first_order_gradients(rng: np.random.Generator, name: str) -> None:
    photo = tf.constant(pictures(rng, 4))
    fake = tf.Variable(pictures(rng, 4))
    with tf.GradientTape() as tape:
        value = LOSSES[name](photo, fake)
    check_gradient(lambda: LOSSES[name](photo, fake), fake, tape.gradient(value, fake), step=2e-3, tolerance=2e-2)


def check_gradient(
    function: Callable[[], Any], variable: Any, gradient: Any, step: float = 1e-5, tolerance: float = 1e-4
) -> None:
    """Compares directional derivatives along random directions with central differences."""
    rng = np.random.default_rng(2)
    start = variable.numpy()
    scale = float(np.linalg.norm(gradient)) + 1e-12
    for _ in range(4):
        direction = rng.normal(size=start.shape)
        direction /= np.linalg.norm(direction)
        variable.assign(start + step * direction)
        above = float(function())
        variable.assign(start - step * direction)
        below = float(function())
        variable.assign(start)
        analytic = float(np.sum(np.asarray(gradient, np.float64) * direction))
        assert abs(analytic - (above - below) / (2 * step)) < tolerance * scale + 1e-9
    assert scale > 1e-8
