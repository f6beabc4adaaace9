"""CycleGAN: its step against a plainly written one, its buffer, its networks against formulas, exact resuming."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from hub_export import checkpoint
from hub_export.architecture import GeneratorConfig
from hub_export.generator import STOCK, build_generator
from support.training import assert_same_state, built, earlier, take
from train.batches import TrainingData
from train.configuration import override
from train.engine import restore, state
from train.experiments import get_experiment
from train.loop import Run, RunOptions
from train.recipes.cyclegan import Buffer, Recipe, build_discriminator
from train.run_folder import RunFolder
from train.settings import Experiment

SIZE, BATCH = 32, 2


def tiny(*settings: str) -> Experiment:
    small = ["discriminator_channels=4", "generator.channels=4", f"data.size={SIZE}", "buffer=3", "data.holdout=1"]
    short = ["schedule.epoch=3 steps", "schedule.length=6 steps", "schedule.checkpoint_epochs=1"]
    return override(get_experiment("cyclegan-edges-laptop"), [*small, *short, *settings], "tiny")


def batch(seed: int = 0) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    return {
        name: tf.constant(rng.uniform(-1, 1, (BATCH, SIZE, SIZE, 3)), tf.float32) for name in ("photo", "anime", "smooth")
    }


def plain_terms(recipe: Recipe, pictures: dict[str, Any]) -> dict[str, float]:
    """The terms of the first step as the reference writes them, one picture and one network at a time, in NumPy."""

    def draw(generator: keras.Model, given: np.ndarray) -> np.ndarray:
        return np.concatenate([generator(picture[None]).numpy() for picture in given])

    def answers(discriminator: keras.Model, given: np.ndarray) -> np.ndarray:
        return np.concatenate([discriminator(picture[None]).numpy() for picture in given]).astype(np.float64)

    there, back, judge, back_judge = (
        recipe.generator,
        recipe.back_generator,
        recipe.discriminator,
        recipe.back_discriminator,
    )
    photo, anime, smooth = (pictures[name].numpy() for name in ("photo", "anime", "smooth"))
    drawn, undrawn = draw(there, photo), draw(back, anime)
    return {
        "adversarial": np.mean((answers(judge, drawn) - 1) ** 2),
        "cycle": np.mean(np.abs(draw(back, drawn) - photo)),
        "identity": np.mean(np.abs(draw(there, anime) - anime)),
        "back_adversarial": np.mean((answers(back_judge, undrawn) - 1) ** 2),
        "back_cycle": np.mean(np.abs(draw(there, undrawn) - anime)),
        "back_identity": np.mean(np.abs(draw(back, photo) - photo)),
        "d_real": np.mean((answers(judge, anime) - 1) ** 2),
        "d_fake": np.mean(answers(judge, drawn) ** 2),
        "d_smooth": np.mean(answers(judge, smooth) ** 2),
        "back_d_real": np.mean((answers(back_judge, photo) - 1) ** 2),
        "back_d_fake": np.mean(answers(back_judge, undrawn) ** 2),
    }


@pytest.mark.slow
@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize("architecture", ["lite", "resnet6"])
def test_every_term_is_its_formula_and_the_sums_are_the_references(architecture: str) -> None:
    recipe = built(tiny(f"generator.architecture={architecture}", "loss.smooth_weight=2"))
    expected = plain_terms(recipe, batch())
    found = take(recipe, batch(), 0, 0, 4)
    assert found == pytest.approx(expected | {name: found[name] for name in ("generator", "discriminator")}, rel=1e-4)
    there, back = (
        expected[f"{way}adversarial"] + 10 * expected[f"{way}cycle"] + 5 * expected[f"{way}identity"]
        for way in ("", "back_")
    )
    assert found["generator"] == pytest.approx(there + back, rel=1e-4)
    judged = [expected[name] for name in ("d_real", "d_fake", "back_d_real", "back_d_fake")]
    assert found["discriminator"] == pytest.approx(0.5 * sum(judged) + expected["d_smooth"], rel=1e-4)


@pytest.mark.slow
@pytest.mark.usefixtures("eager")
def test_a_step_is_the_references_gradient_by_gradient() -> None:
    """With plain gradient descent at rate 1 the change of a weight is its gradient: the generators' is taken against the
    discriminators as they were, and theirs from what the generators drew before they learnt."""
    experiment = tiny("schedule.generator_rate=1", "schedule.discriminator_rate=1")
    recipe, plain = built(experiment), built(experiment)
    restore(plain, state(recipe))
    recipe.generator_optimizer, recipe.discriminator_optimizer = keras.optimizers.SGD(1.0), keras.optimizers.SGD(1.0)
    pictures = batch()
    photo, anime, smooth = (pictures[name] for name in ("photo", "anime", "smooth"))
    there, back, judge, back_judge = plain.generator, plain.back_generator, plain.discriminator, plain.back_discriminator
    before = [weight.numpy() for model in (there, back, judge, back_judge) for weight in model.trainable_variables]

    def mean_square(answers: Any, wanted: float) -> Any:
        return tf.reduce_mean(tf.square(answers - wanted))

    def difference(one: Any, other: Any) -> Any:
        return tf.reduce_mean(tf.abs(one - other))

    with tf.GradientTape(persistent=True) as tape:
        drawn, undrawn = there(photo), back(anime)
        generators = (
            mean_square(judge(drawn), 1)
            + mean_square(back_judge(undrawn), 1)
            + 10 * (difference(back(drawn), photo) + difference(there(undrawn), anime))
            + 5 * (difference(there(anime), anime) + difference(back(photo), photo))
        )
        drawn, undrawn = tf.stop_gradient(drawn), tf.stop_gradient(undrawn)
        first = 0.5 * (mean_square(judge(anime), 1) + mean_square(judge(drawn), 0) + mean_square(judge(smooth), 0))
        second = 0.5 * (mean_square(back_judge(photo), 1) + mean_square(back_judge(undrawn), 0))
    losses = ((generators, there), (generators, back), (first, judge), (second, back_judge))
    expected = [gradient.numpy() for loss, model in losses for gradient in tape.gradient(loss, model.trainable_variables)]

    take(recipe, pictures, 0, 0, 4)
    models = (recipe.generator, recipe.back_generator, recipe.discriminator, recipe.back_discriminator)
    after = [weight.numpy() for model in models for weight in model.trainable_variables]
    for start, gradient, end in zip(before, expected, after, strict=True):
        np.testing.assert_allclose(start - end, gradient, atol=2e-3 * np.abs(gradient).max() + 1e-6)


def test_the_buffer_keeps_what_it_is_given_until_it_is_full_and_then_exchanges_half() -> None:
    buffer = Buffer(3, 2, 1)

    def exchange(first: float, second: float, *chances: tuple[float, float]) -> tuple[list[float], list[float]]:
        pictures = tf.fill((2, 1, 1, 3), 1.0) * np.reshape([first, second], (2, 1, 1, 1)).astype(np.float32)
        given = buffer.exchange(pictures, tf.constant(chances))
        return given[:, 0, 0, 0].numpy().tolist(), buffer.pictures[:, 0, 0, 0].numpy().tolist()

    assert exchange(1, 2, (0.1, 0.9), (0.1, 0.9)) == ([1, 2], [1, 2, 0]), "whatever the chance"
    assert exchange(3, 4, (0.1, 0.9), (0.7, 0.0)) == ([3, 4], [1, 2, 3]), "full now, and the fourth is not exchanged"
    assert exchange(5, 6, (0.49, 0.99), (0.1, 0.34)) == ([3, 2], [1, 6, 5])
    assert exchange(7, 8, (0.1, 0.0), (0.2, 0.1)) == ([1, 7], [8, 6, 5]), "one picture after the other"
    assert int(buffer.count) == 3


def test_without_a_buffer_what_was_drawn_is_judged() -> None:
    pictures, none = tf.random.uniform((2, 4, 4, 3)), Buffer(0, 2, 4)
    assert none.exchange(pictures, tf.zeros((2, 2))) is pictures and none.variables == []


@pytest.mark.slow
@pytest.mark.usefixtures("eager")
def test_the_discriminators_see_earlier_drawings_but_for_the_first() -> None:
    recipe, seen = built(tiny("buffer=2", "schedule.generator_rate=0", "schedule.discriminator_rate=0")), []
    for step in range(8):
        terms = take(recipe, batch(step), step, 0, 12)
        now = np.mean(recipe.discriminator(recipe.generator(batch(step)["photo"])).numpy().astype(np.float64) ** 2)
        seen.append(terms["d_fake"] == pytest.approx(now, rel=1e-5))
    assert seen[0] and 0 < sum(seen[1:]) < 7
    assert float(tf.reduce_max(tf.abs(recipe.buffer.pictures - recipe.back_buffer.pictures))) > 0.1


def test_each_answer_of_the_discriminator_sees_70_pixels() -> None:
    discriminator = build_discriminator(64, STOCK.group_norm)
    assert discriminator.count_params() == 2_764_737 - (64 + 128 + 256 + 512 + 1) + 2 * (128 + 256 + 512)
    assert discriminator.compute_output_shape((1, 256, 256, 3)) == (1, 30, 30, 1)
    small, pictures = build_discriminator(2, lambda *_, **__: keras.layers.Activation("linear")), tf.ones((1, 128, 128, 3))
    with tf.GradientTape() as tape:
        tape.watch(pictures)
        answer = small(pictures)[0, 7, 7, 0]
    rows = np.flatnonzero(np.abs(tape.gradient(answer, pictures).numpy()).sum(axis=(0, 2, 3)))
    assert rows[-1] - rows[0] + 1 == 70


def test_strides_are_those_of_the_reference() -> None:
    """PyTorch's Conv2d(3, stride=2, padding=1) and ConvTranspose2d(3, stride=2, padding=1, output_padding=1)."""
    generator = build_generator(GeneratorConfig("resnet6", channels=2))
    layers = {type(layer).__name__: layer for layer in reversed(generator.layers)}
    first, down = [layer for layer in generator.layers if isinstance(layer, keras.layers.Conv2D)][:2]
    rng, up, crop = np.random.default_rng(0), layers["Conv2DTranspose"], layers["Cropping2D"]
    parts = keras.Model(generator.input, [first.output, down.output, up.input, crop.output])
    seen, half, small, large = (
        part[0] for part in map(np.asarray, parts(rng.uniform(-1, 1, (1, 16, 24, 3)).astype(np.float32)))
    )
    seen = np.maximum(_instance_norm(seen), 0)
    padded, kernel = np.pad(seen, ((1, 1), (1, 1), (0, 0))), down.get_weights()[0]
    for row, column in ((0, 0), (7, 11), (3, 5)):
        window = padded[2 * row : 2 * row + 3, 2 * column : 2 * column + 3]
        np.testing.assert_allclose(half[row, column], np.einsum("ijc,ijcf->f", window, kernel), atol=1e-4)
    kernel, wanted = up.get_weights()[0], np.zeros((large.shape[0] + 2, large.shape[1] + 2, large.shape[2]))
    for row, column in np.ndindex(small.shape[:2]):
        wanted[2 * row : 2 * row + 3, 2 * column : 2 * column + 3] += kernel @ small[row, column]
    np.testing.assert_allclose(large, wanted[1:-1, 1:-1], atol=1e-4)


def _instance_norm(picture: np.ndarray) -> np.ndarray:
    return (picture - picture.mean((0, 1))) / np.sqrt(picture.var((0, 1)) + 1e-5)


@pytest.mark.parametrize(("architecture", "parameters"), [("resnet6", 7_837_699), ("resnet9", 11_378_179)])
def test_parameters_are_the_references_but_for_biases_that_norms_take_out(architecture: str, parameters: int) -> None:
    """PyTorch's version has biases, and norms without scale and shift; the first one zeroes its biases."""
    generator = build_generator(GeneratorConfig(architecture))
    normalised = 2 * (64 + 128) + 256 + 256 * 2 * int(architecture[-1])
    assert generator.count_params() == parameters - (normalised + 3) + 2 * normalised


def pictures_of(experiment: Experiment) -> TrainingData:
    """Photos in green, frames in red."""
    rng = np.random.default_rng(0)
    photos = [rng.integers(0, 256, (3, 4, 3), np.uint8).repeat(16, 0).repeat(16, 1) for _ in range(6)]
    frames = [rng.integers(0, 256, (48, 64, 6), np.uint8) for _ in range(4)]
    for picture, channel in [*((photo, 1) for photo in photos), *((frame, 0) for frame in frames)]:
        picture[..., channel] = 250
    return TrainingData(experiment.data, photos, frames)


@pytest.mark.slow
@pytest.mark.usefixtures("eager")  # tracing four networks takes longer than a dozen steps
@pytest.mark.filterwarnings("ignore:Even though the .tf.config")
def test_it_trains_and_goes_on_where_it_stopped_to_the_bit(tmp_path: Path) -> None:
    experiment = tiny("schedule.generator_rate=0.005", "schedule.ema=0.9")
    folder = RunFolder(tmp_path / "tiny", experiment, resume=False)
    whole = Run(pictures_of(experiment), folder, RunOptions(profile=True))
    whole.train()
    assert list(folder.path.glob("profile/plugins/profile/*/*.xplane.pb"))
    first, *_, last = whole.folder.history
    assert last["phase"] == "adversarial" and last["cycle"] < first["cycle"] and last["identity"] < first["identity"]
    own = ("adversarial", "cycle", "identity")
    assert sum(last[f"share_{name}"] + last[f"share_back_{name}"] for name in own) == pytest.approx(1, abs=1e-3)
    record = checkpoint.read_record(tmp_path / "tiny" / "epoch-002")
    assert record.data["losses"] == Recipe.terms and "Nothing was pretrained." in (
        tmp_path / "tiny" / "epoch-002" / "README.md"
    ).read_text("utf-8")
    drawn = checkpoint.load_generator(tmp_path / "tiny" / "epoch-002")
    assert whole.recipe.averaged is not None
    np.testing.assert_array_equal(drawn.get_weights()[0], whole.recipe.averaged.get_weights()[0])

    resumed = Run(pictures_of(experiment), earlier(whole.folder.path, tmp_path / "again", experiment))
    assert resumed.step == 3 and state(resumed.recipe)["buffer/1"] == 3
    resumed.train()
    assert_same_state(state(resumed.recipe), state(whole.recipe))
