"""The training step against a plainly written one, phases and ratios, mixed precision, exact state."""

import dataclasses
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from hub_export import pixels
from train import losses
from train.experiments import Experiment, get_experiment, override
from train.layers import advance_power_iterations
from train.trainer import Adam, Trainer, decay_factor

SIZE, BATCH = 32, 2


def tiny(*settings: str) -> Experiment:
    base = ["discriminator.channels=8", "discriminator.colour_jitter=0", "loss.gray_weight=0.3", f"data.size={SIZE}"]
    return override(get_experiment("smoke"), [*base, *settings], "tiny")


def batch(seed: int = 0) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    names = ("photo", "target", "anime", "anime_gray", "smooth", "smooth_gray")
    return {name: tf.constant(rng.uniform(-1, 1, (BATCH, SIZE, SIZE, 3)), tf.float32) for name in names}


def plain_step(trainer: Trainer, pictures: dict[str, Any]) -> None:
    """One adversarial step as the references write it: four discriminator calls, fakes drawn twice, no shared work."""
    loss, d = trainer.experiment.loss, trainer.discriminator
    advance_power_iterations(d)
    with tf.GradientTape() as tape:
        fake = tf.stop_gradient(trainer.generator(pictures["photo"], training=True))
        judged = {"real": pictures["anime"], "fake": fake, "gray": pictures["anime_gray"], "smooth": pictures["smooth_gray"]}
        terms = losses.discriminator_losses(loss.adversarial, {name: d(picture) for name, picture in judged.items()})
        value = loss.discriminator_weight * (
            loss.real_weight * terms["real"]
            + loss.fake_weight * terms["fake"]
            + loss.gray_weight * terms["gray"]
            + loss.smooth_weight * terms["smooth"]
        )
    variables = d.trainable_variables
    trainer.discriminator_optimizer.apply(tape.gradient(value, variables), variables)

    style = pictures["anime_gray"] if loss.style_target == "gray" else pictures["anime"]
    with tf.GradientTape() as tape:
        fake = trainer.generator(pictures["photo"], training=True)
        value = (
            loss.content_weight * losses.content_loss(trainer.features(pictures["target"]), trainer.features(fake))
            + loss.style_weight * losses.style_loss(losses.gram_matrix(trainer.features(style)), trainer.features(fake))
            + loss.colour_weight
            * loss.colour_count
            * losses.colour_loss(pictures["target"], fake, loss.colour_range, loss.colour_uv)
            + loss.tv_weight * losses.total_variation_loss(fake)
            + loss.generator_weight * losses.generator_adversarial_loss(loss.adversarial, d(fake))
        )
    variables = trainer.generator.trainable_variables
    trainer.generator_optimizer.apply(tape.gradient(value, variables), variables)


BALANCED = {"content": 0.12, "style": 1000, "colour": 0.3, "tv": 6, "generator": 0.06, "discriminator": 1}
BALANCED |= {"real": 1, "fake": 1, "gray": 1, "smooth": 1}
"""Weights under which every term's gradient is about as large as the others', so that none hides behind another."""


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize("target", ["gray", "colour"])
def test_step_equals_the_plain_step_gradient_by_gradient(target: str) -> None:
    """With plain gradient descent at rate 1 the change of a weight is its gradient."""
    weights = [f"loss.{term}_weight={weight}" for term, weight in BALANCED.items()]
    experiment = tiny(f"loss.style_target={target}", "loss.colour_saturation=1", "schedule.ema=0", *weights)
    trainers = [Trainer(experiment, "float32") for _ in range(2)]
    before = trainers[0].state()
    for trainer in trainers:
        trainer.restore(before)
        trainer.generator_optimizer = keras.optimizers.SGD(1.0)
        trainer.discriminator_optimizer = keras.optimizers.SGD(1.0)
    rates = ["schedule.generator_rate=1", "schedule.discriminator_rate=1", "schedule.decay=constant"]
    trainers[0].experiment = override(experiment, rates, "tiny")
    trainers[0].step(batch(), 0, 0, 1)
    plain_step(trainers[1], batch())
    for model in ("generator", "discriminator"):
        fast, plain = (getattr(trainer, model).trainable_variables for trainer in trainers)
        for index, (a, b) in enumerate(zip(fast, plain, strict=True)):
            start = before[f"{model}/{[v is a for v in getattr(trainers[0], model).variables].index(True)}"]
            gradient = np.abs(b.numpy() - start).max()
            np.testing.assert_allclose(
                a.numpy(), b.numpy(), atol=2e-3 * gradient + 1e-6, err_msg=f"{model} {index} {a.path}"
            )


@pytest.mark.usefixtures("eager")
def test_steps_compiled_by_xla_give_the_losses_of_the_plain_ones() -> None:
    """Without colour jitter, whose random numbers TensorFlow draws otherwise under XLA."""
    experiment = tiny("discriminator.layers=1")
    plain, compiled = Trainer(experiment, "float32"), Trainer(experiment, "float32", xla=True)
    for step in range(3):
        tf.config.run_functions_eagerly(False)
        found = compiled.step(batch(step), step, 1, 3)
        tf.config.run_functions_eagerly(True)
        expected = plain.step(batch(step), step, 1, 3)
        assert found == pytest.approx(expected, rel=1e-3)


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
    trainer = Trainer(tiny("schedule.warmup_rate=0.003"), "float32")
    judge = [value.numpy() for value in trainer.discriminator.variables]
    pictures = batch()
    pictures["photo"] = pictures["target"] = tf.tile(
        tf.constant([[[[0.6, -0.3, 0.1]]], [[[-0.5, 0.4, 0.2]]]]), (1, SIZE, SIZE, 1)
    )
    first, *_, last = [trainer.step(pictures, step, 100, 100)["pixel"] for step in range(60)]
    assert last < 0.6 * first
    for value, variable in zip(judge, trainer.discriminator.variables, strict=True):
        np.testing.assert_array_equal(value, variable.numpy())


@pytest.mark.usefixtures("eager")
def test_three_generator_steps_for_each_discriminator_step() -> None:
    trainer = Trainer(tiny("schedule.generator_steps=3"), "float32")
    updated = ["d_real" in trainer.step(batch(step), step, 2, 20) for step in range(9)]
    assert updated == [False, False, True, False, False, True, False, False, True]


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize("kind", ["gan", "lsgan", "wgan-gp", "wgan-lp", "dragan", "hinge"])
def test_every_adversarial_loss_trains(kind: str) -> None:
    trainer = Trainer(tiny(f"loss.adversarial={kind}"), "float32")
    terms = [trainer.step(batch(step), step, 0, 10) for step in range(2)][-1]
    assert all(np.isfinite(value) for value in terms.values())
    assert ("d_penalty" in terms) == (kind in losses.PENALTY_KINDS)
    kernels = [variable for variable in trainer.discriminator.trainable_variables if variable.path.endswith("kernel")]
    gradients_seen = [np.abs(m.numpy()).max() for m in trainer.discriminator_optimizer._momentums]
    assert len(kernels) == 7 and min(gradients_seen) > 0


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize("precision", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision_keeps_float32_where_it_matters(precision: str) -> None:
    trainer = Trainer(tiny("spectral_norm=true", "generator.colours=kept"), precision)
    terms = trainer.step(batch(), 0, 0, 10)
    assert all(np.isfinite(value) for value in terms.values())
    assert {variable.dtype for variable in trainer.generator.variables + trainer.discriminator.variables} == {"float32"}
    convolutions = [layer for layer in trainer.generator.layers if isinstance(layer, keras.layers.Conv2D)]
    assert {layer.compute_dtype for layer in convolutions} == {precision.removeprefix("mixed_")}
    assert (precision == "mixed_float16") == isinstance(trainer.generator_optimizer, keras.optimizers.LossScaleOptimizer)
    exported = trainer.export()()
    assert {layer.compute_dtype for layer in exported.layers} == {"float32"}


@pytest.mark.parametrize(
    ("settings", "warmup_steps", "eager"),
    [
        (["discriminator.dropout=0.3"], 0, False),
        (["loss.adversarial=dragan", "spectral_norm=true"], 0, True),
        (["discriminator.kind=projected", "discriminator.sees=gray", "loss.gray_weight=0"], 3, True),
    ],
    indirect=["eager"],
)
def test_restored_state_goes_on_to_the_last_bit(settings: list[str], warmup_steps: int, eager: None) -> None:
    experiment = tiny("discriminator.colour_jitter=0.3", *settings)
    straight = Trainer(experiment, "float32")
    for step in range(2):
        straight.step(batch(step), step, warmup_steps, 6)
    state = straight.state()
    other = Trainer(experiment, "float32")
    other.restore(state)
    for step in range(2, 5):
        assert straight.step(batch(step), step, warmup_steps, 6) == other.step(batch(step), step, warmup_steps, 6)
    expected, found = straight.state(), other.state()
    assert expected.keys() == found.keys()
    for key, value in expected.items():
        np.testing.assert_array_equal(found[key], value, err_msg=key)


def test_state_of_another_experiment_is_refused() -> None:
    state = Trainer(tiny(), "float32").state()
    with pytest.raises(ValueError, match="another experiment"):
        Trainer(tiny("generator.channels=16"), "float32").restore(state)


@pytest.mark.usefixtures("eager")
def test_export_is_the_average() -> None:
    trainer = Trainer(tiny("schedule.ema=0.9"), "float32")
    weights = [trainer.generator.get_weights()]
    expected = [weight.copy() for weight in weights[0]]
    for step in range(3):
        trainer.step(batch(step), step, 0, 3)
        decay = np.float32(min(0.9, (1 + step) / (10 + step)))
        expected = [decay * a + (1 - decay) * b for a, b in zip(expected, trainer.generator.get_weights(), strict=True)]
    for a, b in zip(trainer.export()().get_weights(), expected, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)
    assert not np.allclose(trainer.generator.get_weights()[0], expected[0], atol=1e-6)


def test_colour_jitter_keeps_gray_monochrome_and_hides_casts() -> None:
    trainer = Trainer(tiny("discriminator.colour_jitter=0.4"), "float32")
    gray = tf.repeat(tf.random.stateless_uniform((1024, 8, 8, 1), [1, 2], -1, 1), 3, axis=-1)
    jittered = trainer._seen(gray, 0).numpy()
    for sample in jittered:  # each channel stays an affine function of the gray value
        assert abs(np.corrcoef(sample[..., 0].ravel(), sample[..., 2].ravel())[0, 1]) > 0.9999
    casts = jittered.mean(axis=(1, 2))
    assert np.abs(casts[:, 0] - casts[:, 2]).max() > 0.1
    assert abs(np.mean(jittered) - np.mean(gray)) < 0.05
    assert Trainer(tiny(), "float32")._seen(gray, 0) is gray


def test_a_discriminator_that_sees_gray_pushes_no_colour() -> None:
    trainer = Trainer(tiny("discriminator.sees=gray", "loss.gray_weight=0"), "float32")
    fake = tf.Variable(batch()["photo"])
    with tf.GradientTape() as tape:
        logits = trainer.discriminator(trainer._seen(fake, 0))
    gradient = tape.gradient(logits, fake).numpy()
    luma = np.array(pixels.GRAY_WEIGHTS, np.float32)
    assert np.abs(gradient).max() > 0
    np.testing.assert_allclose(gradient, gradient.sum(-1, keepdims=True) * luma, atol=1e-6 * np.abs(gradient).max())


@pytest.mark.usefixtures("eager")
def test_smooth_target_decides_which_smooth_frames_are_judged() -> None:
    terms = {}
    for target in ("gray", "colour"):
        trainer = Trainer(tiny(f"loss.smooth_target={target}"), "float32")
        pictures = batch()
        terms[target] = trainer.step(pictures, 0, 0, 1)["d_smooth"]
        alone = trainer.step(pictures | {"smooth_gray" if target == "colour" else "smooth": pictures["photo"] * 0}, 1, 0, 2)
        assert np.isfinite(alone["d_smooth"])
    assert terms["gray"] != terms["colour"]


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize("warmup_steps", [0, 1])
def test_targets_have_the_light_of_the_mean_drawing_and_their_own_colours(warmup_steps: int) -> None:
    others = [tiny("seed=1"), tiny("seed=2", "generator.channels=4")]
    first, second = (Trainer(other, "float32").export()() for other in others)
    trainer = Trainer(tiny("loss.drawn=0.5"), "float32")
    trainer.start_from(first)
    for other, generator in zip(others, (first, second), strict=True):
        trainer.learn_from(other.generator, generator)
    pictures = batch()
    luma = np.array(pixels.GRAY_WEIGHTS, np.float32)
    mean = (first(pictures["photo"]) + second(pictures["photo"])) / 2
    light = (mean - pictures["photo"]).numpy() @ luma
    expected = np.clip(pictures["target"] + 0.5 * light[..., None], -1, 1)
    np.testing.assert_allclose(trainer._target(pictures), expected, atol=1e-5)
    contents = [trainer.step(pictures, step, warmup_steps, 3)["content"] for step in range(3)]
    held_to = losses.content_loss(trainer.features(expected), trainer.features(first(pictures["photo"])))
    assert contents[0] == pytest.approx(float(held_to), rel=1e-3)
    np.testing.assert_allclose(trainer._target(pictures), expected, atol=1e-5)  # what learns is not what asks
    assert not np.allclose(trainer.generator(pictures["photo"]), first(pictures["photo"]), atol=1e-3)
    assert trainer.state().keys() == Trainer(tiny(), "float32").state().keys()


def test_cosine_decay() -> None:
    schedule = dataclasses.replace(tiny().schedule, decay="cosine")
    assert [round(decay_factor(schedule, done), 4) for done in (0.0, 0.5, 1.0, 2.0)] == [1.0, 0.525, 0.05, 0.05]
    assert decay_factor(dataclasses.replace(schedule, decay="constant"), 0.7) == 1.0
