"""What holds for every recipe: exact resuming, averages, precision, XLA, devices, and what it says of its terms."""

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from hub_export.generator import build_generator
from support.training import built, take
from train.engine import restore, state
from train.experiments import get_experiment
from train.settings import RECIPES, Experiment, override

pytestmark = pytest.mark.slow

SMALL = ["data.size=32", "schedule.batch=2", "schedule.decay=constant", "precision=float32"]
OWN = {
    "animegan": ("smoke", ["discriminator.channels=8", "discriminator.layers=1", "generator.channels=4"]),
    "pairs": ("cel", ["generator.channels=4"]),
    "cyclegan": ("cyclegan-edges-laptop", ["discriminator_channels=4", "buffer=3", "generator.channels=4"]),
    "animeganv3": (
        "official-v3-hayao",
        ["generator.channels=4", "discriminator_channels=4", "features.network=hed-vgg16", "features.weights=none"],
    ),
}
"""For each recipe an experiment and what makes it tiny."""


@pytest.fixture(params=RECIPES)
def kind(request: pytest.FixtureRequest) -> str:
    """Each recipe's."""
    return str(request.param)


def tiny(kind: str, *settings: str) -> Experiment:
    name, own = OWN[kind]
    return override(get_experiment(name), [*SMALL, *own, *settings], "tiny")


def batch(recipe: Any, seed: int = 0) -> dict[str, Any]:
    """What its steps read, and no more."""
    rng = np.random.default_rng(seed)
    return {name: tf.constant(rng.uniform(-1, 1, (2, 32, 32, 3)), tf.float32) for name in sorted(recipe.entries)}


@pytest.mark.usefixtures("eager")
def test_restored_state_goes_on_to_the_last_bit(kind: str) -> None:
    experiment = tiny(kind, "schedule.ema=0.9")
    straight, other = built(experiment), built(experiment)
    for step in range(3):
        take(straight, batch(straight, step), step, 0, 6)
    restore(other, state(straight))
    for step in range(3, 5):
        terms = [take(recipe, batch(recipe, step), step, 0, 6) for recipe in (straight, other)]
        assert terms[0] == terms[1]
    expected, found = state(straight), state(other)
    assert expected.keys() == found.keys()
    for key, value in expected.items():
        np.testing.assert_array_equal(found[key], value, err_msg=key)


@pytest.mark.usefixtures("eager")
def test_export_is_the_average(kind: str) -> None:
    recipe, plain = built(tiny(kind, "schedule.ema=0.9")), built(tiny(kind, "schedule.ema=0"))
    expected = [weight.copy() for weight in recipe.generator.get_weights()]
    for step in range(3):
        take(recipe, batch(recipe, step), step, 0, 3)
        decay = np.float32(min(0.9, (1 + step) / (10 + step)))
        expected = [decay * a + (1 - decay) * b for a, b in zip(expected, recipe.generator.get_weights(), strict=True)]
    plain.generator.set_weights(expected)
    for a, b in zip(recipe.export(), plain.export(), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)
    assert not np.allclose(recipe.generator.get_weights()[0], expected[0], atol=1e-6)


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize("precision", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision_keeps_float32_where_it_matters(kind: str, precision: str) -> None:
    recipe = built(tiny(kind), precision)
    terms = take(recipe, batch(recipe), 0, 0, 10)
    assert all(np.isfinite(value) for value in terms.values())
    assert {value.dtype for value in recipe.generator.variables} == {"float32"}
    plain = build_generator(recipe.experiment.generator)
    plain.set_weights(recipe.export())
    assert {layer.compute_dtype for layer in plain.layers} == {"float32"}


@pytest.mark.usefixtures("eager")
def test_steps_compiled_by_xla_give_the_losses_of_the_plain_ones(kind: str) -> None:
    chance = ["buffer=0"] if kind == "cyclegan" else []  # XLA's random numbers are others: it would show earlier drawings
    plain, compiled = built(tiny(kind, *chance)), built(tiny(kind, *chance), xla=True)
    for step in range(2):
        tf.config.run_functions_eagerly(False)
        found = take(compiled, batch(compiled, step), step, 0, 3)
        tf.config.run_functions_eagerly(True)
        assert found == pytest.approx(take(plain, batch(plain, step), step, 0, 3), rel=1e-3, abs=1e-6)


@pytest.mark.usefixtures("eager")
def test_every_term_has_words_and_the_weights_make_the_sums(kind: str) -> None:
    recipe = built(tiny(kind))
    terms, weights = take(recipe, batch(recipe), 0, 0, 3), recipe.weights(recipe.experiment.recipe.phases[-1])
    assert terms.keys() <= recipe.terms.keys() and weights.keys() <= terms.keys()
    for total, own in weights.items():
        assert terms[total] == pytest.approx(sum(weight * terms.get(name, 0) for name, weight in own.items()), rel=1e-4)
    assert terms.keys() == {*weights, *(name for own in weights.values() for name in own if name in terms)}


def test_training_starts_from_what_the_checkpoint_draws(kind: str) -> None:
    experiment = tiny(kind, "init=x", "schedule.ema=0.9", "schedule.warmup=0 steps")
    other, recipe = built(tiny(kind, "seed=1", "schedule.ema=0")), built(experiment)
    rng = np.random.default_rng(0)
    for variable in other.generator.variables:
        variable.assign(1.5 * variable + rng.uniform(0, 0.05, variable.shape))
    checkpoint = build_generator(experiment.generator)
    checkpoint.set_weights(other.export())
    recipe.start_from(checkpoint)
    photo = rng.uniform(-1, 1, (2, 32, 32, 3)).astype(np.float32)
    for generator in (recipe.generator, recipe.averaged):
        for drawn in tf.nest.flatten(generator(photo)):  # AnimeGANv3 draws with two tails
            np.testing.assert_allclose(drawn, checkpoint(photo), atol=2e-3)
    with pytest.raises(ValueError, match=r"init: the checkpoint holds a generator_\w+ of other sizes"):
        recipe.start_from(build_generator(override(experiment, ["generator.channels=8"], "x").generator))
