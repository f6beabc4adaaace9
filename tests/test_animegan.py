"""The training step against a plainly written one, phases and ratios, mixed precision, exact state."""

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from hub_export import pixels
from hub_export.generator import build_generator
from support.training import assert_same_state, built, take
from train import losses
from train.configuration import override
from train.engine import Adam, restore, state
from train.experiments import get_experiment
from train.layers import advance_power_iterations
from train.recipes.animegan import COLLAPSE_STEPS, Recipe
from train.settings import Experiment

pytestmark = pytest.mark.slow

SIZE, BATCH = 32, 2


def tiny(*settings: str) -> Experiment:
    base = ["discriminator.channels=8", "loss.gray_weight=0.3", f"data.size={SIZE}"]
    return override(get_experiment("smoke"), [*base, *settings], "tiny")


def batch(seed: int = 0) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    names = ("photo", "target", "anime", "anime_gray", "smooth", "smooth_gray")
    return {name: tf.constant(rng.uniform(-1, 1, (BATCH, SIZE, SIZE, 3)), tf.float32) for name in names}


def plain_step(recipe: Recipe, pictures: dict[str, Any]) -> None:
    """One adversarial step as the references write it: four discriminator calls, fakes drawn twice, no shared work.

    Or as the diary does, both gradients before either network moves.
    """
    loss, d = recipe.loss, recipe.discriminator

    def discriminator_gradients() -> Any:
        advance_power_iterations(d)
        with tf.GradientTape() as tape:
            fake = tf.stop_gradient(recipe.generator(pictures["photo"], training=True))
            smooth = pictures["smooth_gray" if loss.smooth_target == "gray" else "smooth"]
            judged = {"real": pictures["anime"], "fake": fake, "gray": pictures["anime_gray"], "smooth": smooth}
            terms = losses.discriminator_losses(loss.adversarial, {name: d(picture) for name, picture in judged.items()})
            value = loss.discriminator_weight * (
                loss.real_weight * terms["real"]
                + loss.fake_weight * terms["fake"]
                + loss.gray_weight * terms["gray"]
                + loss.smooth_weight * terms["smooth"]
            )
        return tape.gradient(value, d.trainable_variables)

    def generator_gradients() -> Any:
        style = pictures["anime_gray"] if loss.style_target == "gray" else pictures["anime"]
        with tf.GradientTape() as tape:
            fake = recipe.generator(pictures["photo"], training=True)
            value = (
                loss.content_weight * losses.content_loss(recipe.features(pictures["target"]), recipe.features(fake))
                + loss.style_weight * losses.style_loss(losses.gram_matrix(recipe.features(style)), recipe.features(fake))
                + loss.colour_weight * loss.colour_count * losses.colour_loss(pictures["target"], fake, loss.colour_range)
                + loss.tv_weight * losses.total_variation_loss(fake)
                + loss.generator_weight * losses.generator_adversarial_loss(loss.adversarial, d(fake))
            )
        return tape.gradient(value, recipe.generator.trainable_variables)

    at_once = generator_gradients() if recipe.config.simultaneous else None
    recipe.discriminator_optimizer.apply(discriminator_gradients(), d.trainable_variables)
    recipe.generator_optimizer.apply(at_once or generator_gradients(), recipe.generator.trainable_variables)


def exported(recipe: Recipe) -> keras.Model:
    """The generator as a checkpoint holds it."""
    generator = build_generator(recipe.experiment.generator)
    generator.set_weights(recipe.export())
    return generator


BALANCED = {"content": 0.12, "style": 1000, "colour": 0.3, "tv": 6, "generator": 0.06, "discriminator": 1}
BALANCED |= {"real": 1, "fake": 1, "gray": 1, "smooth": 1}
"""Weights under which every term's gradient is about as large as the others', so that none hides behind another."""


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize("diary", [[], ["simultaneous=true", "loss.style_target=colour", "loss.smooth_target=colour"]])
def test_step_equals_the_plain_step_gradient_by_gradient(diary: list[str]) -> None:
    """With plain gradient descent at rate 1 the change of a weight is its gradient."""
    weights = [f"loss.{term}_weight={weight}" for term, weight in BALANCED.items()]
    experiment = tiny(*diary, "schedule.ema=0", *weights)
    rates = ["schedule.generator_rate=1", "schedule.discriminator_rate=1", "schedule.decay=constant"]
    recipes = [built(override(experiment, rates, "tiny")) for _ in range(2)]
    before = state(recipes[0])
    for recipe in recipes:
        restore(recipe, before)
        recipe.generator_optimizer = keras.optimizers.SGD(1.0)
        recipe.discriminator_optimizer = keras.optimizers.SGD(1.0)
    take(recipes[0], batch(), 0, 0, 1)
    plain_step(recipes[1], batch())
    for model in ("generator", "discriminator"):
        fast, plain = (getattr(recipe, model).trainable_variables for recipe in recipes)
        for index, (a, b) in enumerate(zip(fast, plain, strict=True)):
            start = before[f"{model}/{[v is a for v in getattr(recipes[0], model).variables].index(True)}"]
            gradient = np.abs(b.numpy() - start).max()
            np.testing.assert_allclose(
                a.numpy(), b.numpy(), atol=2e-3 * gradient + 1e-6, err_msg=f"{model} {index} {a.path}"
            )


def test_adam_takes_the_steps_of_keras() -> None:
    taken = []
    for kind in (keras.optimizers.Adam, Adam):
        rng = np.random.default_rng(0)
        variables = [keras.Variable(rng.normal(size=shape).astype(np.float32)) for shape in ((3, 3, 4, 8), (8,))]
        optimizer = kind(1.0, 0.5, 0.999, 1e-8)
        optimizer.build(variables)
        for step in range(10):
            optimizer.learning_rate = 0.001 * (step + 1)
            optimizer.apply([tf.constant(rng.normal(size=v.shape), tf.float32) for v in variables], variables)
        taken.append([variable.numpy() for variable in (*variables, *optimizer.variables)])
    for expected, found in zip(*taken, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=2e-6)


def test_warm_up_touches_the_generator_only_and_learns_the_photo() -> None:
    recipe = built(tiny("schedule.warmup_rate=0.003"))
    judge = [value.numpy() for value in recipe.discriminator.variables]
    pictures = batch()
    pictures["photo"] = pictures["target"] = tf.tile(
        tf.constant([[[[0.6, -0.3, 0.1]]], [[[-0.5, 0.4, 0.2]]]]), (1, SIZE, SIZE, 1)
    )
    first, *_, last = [take(recipe, pictures, step, 100, 100)["pixel"] for step in range(60)]
    assert last < 0.6 * first
    for value, variable in zip(judge, recipe.discriminator.variables, strict=True):
        np.testing.assert_array_equal(value, variable.numpy())


@pytest.mark.usefixtures("eager")
def test_three_generator_steps_for_each_discriminator_step() -> None:
    recipe = built(tiny("schedule.generator_steps=3"))
    updated = ["d_real" in take(recipe, batch(step), step, 1, 20) for step in range(5)]
    assert updated == [False, True, False, False, True]


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize("kind", ["gan", "lsgan", "wgan-gp", "wgan-lp", "dragan", "hinge"])
def test_every_adversarial_loss_trains(kind: str) -> None:
    recipe = built(tiny(f"loss.adversarial={kind}"))
    terms = take(recipe, batch(), 0, 0, 10)
    assert all(np.isfinite(value) for value in terms.values())
    assert ("d_penalty" in terms) == (kind in losses.PENALTY_KINDS)
    kernels = [variable for variable in recipe.discriminator.trainable_variables if variable.path.endswith("kernel")]
    gradients_seen = [np.abs(m.numpy()).max() for m in recipe.discriminator_optimizer._momentums]
    assert len(kernels) == 7 and min(gradients_seen) > 0


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize(
    ("settings", "warmup_steps"),
    [
        (["discriminator.dropout=0.3", "loss.adversarial=dragan"], 0),
        (["discriminator.kind=projected", "discriminator.input=gray", "loss.gray_weight=0"], 2),
    ],
)
def test_restored_state_goes_on_to_the_last_bit(settings: list[str], warmup_steps: int) -> None:
    experiment = tiny(*settings)
    straight, other = built(experiment), built(experiment)
    take(straight, batch(), 0, warmup_steps, 6)
    restore(other, state(straight))
    for step in (1, 2):
        assert take(straight, batch(step), step, warmup_steps, 6) == take(other, batch(step), step, warmup_steps, 6)
    assert_same_state(state(other), state(straight))


def test_state_of_another_experiment_is_refused() -> None:
    saved = state(built(tiny()))
    with pytest.raises(ValueError, match="another experiment"):
        restore(built(tiny("generator.channels=16")), saved)


def test_a_discriminator_that_sees_gray_pushes_no_colour() -> None:
    recipe = built(tiny("discriminator.input=gray", "loss.gray_weight=0"))
    fake = tf.Variable(batch()["photo"])
    with tf.GradientTape() as tape:
        logits = recipe.discriminator(recipe._seen(fake))
    gradient = tape.gradient(logits, fake).numpy()
    luma = np.array(pixels.GRAY_WEIGHTS, np.float32)
    assert np.abs(gradient).max() > 0
    np.testing.assert_allclose(gradient, gradient.sum(-1, keepdims=True) * luma, atol=1e-6 * np.abs(gradient).max())


def test_a_collapsed_discriminator_is_told() -> None:
    recipe = built(tiny("discriminator.layers=1"))
    won = {"d_real": 1e-4, "d_fake": 1e-4, "generator": 1.0}
    assert all(recipe.advice(won) is None for _ in range(COLLAPSE_STEPS - 1))
    assert recipe.advice({**won, "d_fake": 0.2}) is None  # one fake that passes is enough
    assert all(recipe.advice(won) is None for _ in range(COLLAPSE_STEPS - 1))
    told = recipe.advice(won)
    assert told and "told every fake from anime" in told and "generator_steps=3" in told and "dropout" in told


@pytest.mark.usefixtures("eager")
def test_every_term_has_words_and_the_weights_make_the_sums_with_a_penalty_too() -> None:
    recipe = built(tiny("loss.adversarial=dragan", "loss.colour_count=2", "loss.tv_weight=0.5"))
    for step, phase in ((0, "warm-up"), (1, "adversarial")):
        terms = take(recipe, batch(), step, 1, 3)
        weights = recipe.weights(phase)
        assert terms.keys() <= recipe.terms.keys() and weights.keys() <= terms.keys()
        for total, own in weights.items():
            assert terms[total] == pytest.approx(sum(weight * terms.get(name, 0) for name, weight in own.items()), rel=1e-4)
        assert terms.keys() == {*weights, *(name for own in weights.values() for name in own if name in terms)}


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize(("architecture", "spectral"), [("v1", "true"), ("v2", "true"), ("lite", "false")])
def test_training_starts_from_what_the_checkpoint_draws(architecture: str, spectral: str) -> None:
    settings = [f"generator.architecture={architecture}", "generator.channels=4", f"spectral_norm={spectral}", "init=x"]
    experiment = tiny(*settings, "discriminator.layers=1")
    checkpoint = build_generator(experiment.generator)
    rng = np.random.default_rng(0)
    checkpoint.set_weights([weight * 1.5 + rng.normal(0, 0.05, weight.shape) for weight in checkpoint.get_weights()])
    recipe, photo = built(experiment), batch()["photo"]
    recipe.start_from(checkpoint)
    expected = np.asarray(checkpoint(photo))
    assert np.std(expected) > 0.05
    for generator in (recipe.generator, recipe.averaged, exported(recipe)):
        assert generator
        np.testing.assert_allclose(generator(photo), expected, atol=2e-3)
    take(recipe, batch(), 0, 0, 3)
    resumed = built(experiment)
    restore(resumed, state(recipe))
    np.testing.assert_array_equal(exported(resumed)(photo), exported(recipe)(photo))
