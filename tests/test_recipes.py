"""What holds for every recipe: exact resuming, averages, precision, XLA, devices, and what it says of its terms."""

from typing import Any, NamedTuple

import keras
import numpy as np
import pytest
import tensorflow as tf

from hub_export.generator import build_generator
from support.training import assert_same_state, built, eagerly, noise, take
from train.configuration import override
from train.engine import restore, state, variables_of
from train.experiments import get_experiment
from train.settings import RECIPES, Experiment

pytestmark = [pytest.mark.slow, pytest.mark.long]

SMALL = ["data.size=32", "schedule.batch=2", "schedule.decay=constant", "schedule.ema=0.9", "precision=float32"]
OWN = {
    "animegan": (
        "smoke",
        ["discriminator.channels=8", "discriminator.layers=1", "generator.channels=4", "spectral_norm=true"],
    ),
    "pairs": ("cel", ["generator.channels=4", "data.signs=0"]),
    "cyclegan": ("cyclegan-edges-laptop", ["discriminator_channels=4", "buffer=4", "generator.channels=4"]),
    "animeganv3": (
        "official-v3-hayao",
        ["generator.channels=4", "discriminator_channels=4", "features.network=hed-vgg16", "features.weights=none"],
    ),
}
"""For each recipe an experiment and what makes it tiny. A buffer of four exchanges nothing in the first two steps."""


class Trained(NamedTuple):
    """A recipe after two steps, and what there was of them. Whoever changes it brings it back to `saved`."""

    recipe: Any
    terms: list[dict[str, float]]
    averages: list[np.ndarray]
    """Of the generator's weights, by the formula."""
    saved: dict[str, np.ndarray]


@pytest.fixture(scope="module", params=RECIPES)
def kind(request: pytest.FixtureRequest) -> str:
    """Each recipe's."""
    return str(request.param)


@pytest.fixture(scope="module")
def trained(kind: str) -> Trained:
    recipe, terms = built(tiny(kind)), []
    averages = [weight.copy() for weight in recipe.generator.get_weights()]
    with eagerly():
        for step in range(2):
            terms.append(take(recipe, noise(recipe, step), step, 0, 6))
            decay = np.float32(min(0.9, (1 + step) / (10 + step)))
            averages = [decay * a + (1 - decay) * b for a, b in zip(averages, recipe.generator.get_weights(), strict=True)]
    return Trained(recipe, terms, averages, state(recipe))


def tiny(kind: str, *settings: str) -> Experiment:
    name, own = OWN[kind]
    return override(get_experiment(name), [*SMALL, *own, *settings], "tiny")


@pytest.mark.usefixtures("eager")
def test_restored_state_goes_on_to_the_last_bit(kind: str, trained: Trained) -> None:
    straight, other = trained.recipe, built(tiny(kind))
    restore(other, trained.saved)
    for step in (2, 3):
        terms = [take(recipe, noise(recipe, step), step, 0, 6) for recipe in (straight, other)]
        assert terms[0] == terms[1]
    expected, found = state(straight), state(other)
    restore(straight, trained.saved)
    assert_same_state(found, expected)


def test_export_is_the_average(trained: Trained, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe, exported = trained.recipe, trained.recipe.export()
    assert not np.allclose(recipe.generator.get_weights()[0], trained.averages[0], atol=1e-6)
    recipe.generator.set_weights(trained.averages)
    monkeypatch.setattr(recipe, "averaged", None)
    for a, b in zip(exported, recipe.export(), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)
    monkeypatch.undo()
    restore(recipe, trained.saved)


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize("precision", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision_keeps_float32_where_it_matters(kind: str, precision: str) -> None:
    recipe = built(tiny(kind), precision)
    terms = take(recipe, noise(recipe), 0, 0, 10)
    assert all(np.isfinite(value) for value in terms.values())
    assert not {tf.as_dtype(value.dtype) for value in variables_of(recipe).values()} & {tf.float16, tf.bfloat16}
    convolutions = [layer for layer in recipe.generator.layers if isinstance(layer, keras.layers.Conv2D)]
    assert {layer.compute_dtype for layer in convolutions} == {precision.removeprefix("mixed_")}
    for name, owner in recipe.saved.items():
        scaled = isinstance(owner, keras.optimizers.LossScaleOptimizer)
        assert scaled == (name.endswith("optimizer") and precision == "mixed_float16"), name
    plain = build_generator(recipe.experiment.generator)
    plain.set_weights(recipe.export())
    assert {layer.compute_dtype for layer in plain.layers} == {"float32"}


def test_steps_compiled_by_xla_give_the_losses_of_the_plain_ones(kind: str, trained: Trained) -> None:
    compiled = built(tiny(kind), xla=True)
    for step, terms in enumerate(trained.terms):
        assert take(compiled, noise(compiled, step), step, 0, 6) == pytest.approx(terms, rel=1e-3, abs=1e-6)


def test_every_term_has_words_and_the_weights_make_the_sums(trained: Trained) -> None:
    recipe, terms = trained.recipe, trained.terms[0]
    weights = recipe.weights(recipe.experiment.recipe.phases[-1])
    assert terms.keys() <= recipe.terms.keys() and weights.keys() <= terms.keys()
    for total, own in weights.items():
        assert terms[total] == pytest.approx(sum(weight * terms.get(name, 0) for name, weight in own.items()), rel=1e-4)
    explained = {*weights, *(name for own in weights.values() for name in own if name in terms)}
    alone = {"discriminator"}  # it has no terms of its own where it compares pairs
    assert terms.keys() - alone == explained - alone


@pytest.mark.parametrize("architecture", ["its own", "v3"])
def test_training_starts_from_what_the_checkpoint_draws(kind: str, architecture: str) -> None:
    """Also where it has the moments of a batch norm."""
    if (kind, architecture) == ("animeganv3", "v3"):
        pytest.skip("its own")
    other = (
        [] if architecture == "its own" else ["spectral_norm=false"] * (kind == "animegan") + ["generator.architecture=v3"]
    )
    experiment = tiny(kind, "init=x", "schedule.warmup=0 steps", *other)
    recipe, checkpoint, rng = built(experiment), build_generator(experiment.generator), np.random.default_rng(0)
    checkpoint.set_weights([weight + rng.normal(0, 0.02, weight.shape) for weight in checkpoint.get_weights()])
    if kind == "animeganv3":
        with pytest.raises(ValueError, match="init: the checkpoint's external attention was trained by another recipe"):
            recipe.start_from(checkpoint)
        donor = built(experiment)
        donor.averaged.set_weights([weight + rng.normal(0, 0.02, weight.shape) for weight in donor.averaged.get_weights()])
        checkpoint.set_weights(donor.export())
    recipe.start_from(checkpoint)
    photo = rng.uniform(-1, 1, (2, 32, 32, 3)).astype(np.float32)
    expected = np.asarray(checkpoint(photo))
    assert np.std(expected) > 0.05
    for generator in (recipe.generator, recipe.averaged):
        for drawn in tf.nest.flatten(generator(photo)):  # AnimeGANv3 draws with two tails
            np.testing.assert_allclose(drawn, expected, atol=2e-3)
    with pytest.raises(ValueError, match=r"init: the checkpoint holds a generator_\w+ of other sizes"):
        recipe.start_from(build_generator(override(experiment, ["generator.channels=8"], "x").generator))
