"""What every recipe promises the loop, whichever it is; AnimeGAN, with all its variants, is in test_animegan.py."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from hub_export.generator import build_generator
from support.training import built, noise, take, tiny_pairs, tiny_v3
from train.engine import restore, state
from train.settings import Experiment

pytestmark = pytest.mark.slow

Tiny = Callable[..., Experiment]
RECIPES: dict[str, Tiny] = {
    "pairs": tiny_pairs,
    "animeganv3": tiny_v3,
    "animeganv3-shinkai": lambda *settings: tiny_v3(*settings, style="shinkai"),
}


@pytest.fixture(params=RECIPES)
def tiny(request: pytest.FixtureRequest) -> Tiny:
    return RECIPES[request.param]


def warmup_steps(recipe: Any) -> int:
    return len(recipe.experiment.recipe.phases) - 1


def exported(recipe: Any) -> keras.Model:
    """The generator as a checkpoint holds it."""
    generator = build_generator(recipe.experiment.generator)
    generator.set_weights(recipe.export())
    return generator


@pytest.mark.usefixtures("eager")
def test_every_term_has_words_and_the_weights_make_the_sums(tiny: Tiny) -> None:
    recipe = built(tiny())
    for step, phase in enumerate(recipe.experiment.recipe.phases):
        terms = take(recipe, noise(recipe), step, warmup_steps(recipe), 3)
        weights = recipe.weights(phase)
        assert terms.keys() <= recipe.terms.keys() and "generator" in weights
        for total, own in weights.items():
            assert terms[total] == pytest.approx(sum(weight * terms[name] for name, weight in own.items()), rel=1e-4)
        assert terms.keys() == {*weights, *(name for own in weights.values() for name in own)}


@pytest.mark.usefixtures("eager")
def test_restored_state_goes_on_to_the_last_bit(tiny: Tiny) -> None:
    experiment = tiny("schedule.ema=0.9")
    straight = built(experiment)
    phases = warmup_steps(straight), 6
    for step in range(2):
        take(straight, noise(straight, step), step, *phases)
    other = built(experiment)
    restore(other, state(straight))
    for step in range(2, 4):
        assert take(straight, noise(straight, step), step, *phases) == take(other, noise(other, step), step, *phases)
    expected, found = state(straight), state(other)
    assert expected.keys() == found.keys()
    for key, value in expected.items():
        np.testing.assert_array_equal(found[key], value, err_msg=key)


@pytest.mark.usefixtures("eager")
def test_export_is_the_average(tiny: Tiny) -> None:
    recipe = built(tiny("schedule.ema=0.9"))
    plain = built(tiny())
    expected = [weight.copy() for weight in recipe.generator.get_weights()]
    for step in range(2):
        take(recipe, noise(recipe, step), step, 0, 3)
        decay = np.float32(min(0.9, (1 + step) / (10 + step)))
        expected = [decay * a + (1 - decay) * b for a, b in zip(expected, recipe.generator.get_weights(), strict=True)]
    plain.generator.set_weights(expected)
    for a, b in zip(exported(recipe).get_weights(), plain.export(), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)
    assert any(np.abs(a - b).max() > 1e-5 for a, b in zip(recipe.generator.get_weights(), expected, strict=True))


@pytest.mark.usefixtures("eager")
def test_training_starts_from_what_the_checkpoint_draws(tiny: Tiny) -> None:
    other, rng = built(tiny("seed=1")), np.random.default_rng(0)
    for variable in other.generator.variables:
        variable.assign(variable * 1.5 + rng.uniform(0, 0.05, variable.shape))
    checkpoint = exported(other)
    recipe = built(tiny("schedule.ema=0.9", "init=x", "schedule.warmup=0 steps"))
    recipe.start_from(checkpoint)
    photo = noise(recipe)["photo"]
    expected = np.asarray(checkpoint(photo))
    assert np.std(expected) > 0.01
    np.testing.assert_allclose(exported(recipe)(photo), expected, atol=2e-3)
    for model in (recipe.generator, recipe.averaged):
        for drawn in tf.nest.flatten(model(photo)):
            np.testing.assert_allclose(drawn, expected, atol=2e-3)
    with pytest.raises(ValueError, match=r"init: the checkpoint holds a generator_.* of other sizes than"):
        recipe.start_from(exported(built(tiny("generator.channels=5"))))


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize("precision", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision_keeps_float32_where_it_matters(tiny: Tiny, precision: str) -> None:
    recipe = built(tiny(), precision)
    terms = take(recipe, noise(recipe), 0, 0, 10)
    assert all(np.isfinite(value) for value in terms.values())
    assert {variable.dtype for variable in recipe.generator.variables} == {"float32"}
    convolutions = [layer for layer in recipe.generator.layers if isinstance(layer, keras.layers.Conv2D)]
    assert {layer.compute_dtype for layer in convolutions} == {precision.removeprefix("mixed_")}
    assert {layer.compute_dtype for layer in exported(recipe).layers} == {"float32"}
    exact = take(built(tiny()), noise(recipe), 0, 0, 10)
    assert terms["generator"] == pytest.approx(exact["generator"], rel=0.05)


def test_steps_compiled_by_xla_give_the_losses_of_the_plain_ones() -> None:
    """Of AnimeGANv3, whose step is three graphs with work on the host between them."""
    experiment = tiny_v3()
    plain, compiled = built(experiment), built(experiment, xla=True)
    for step in range(2):
        tf.config.run_functions_eagerly(False)
        found = take(compiled, noise(compiled, step), step, 1, 3)
        tf.config.run_functions_eagerly(True)
        try:
            expected = take(plain, noise(plain, step), step, 1, 3)
        finally:
            tf.config.run_functions_eagerly(False)
        assert found == pytest.approx(expected, rel=2e-3)
