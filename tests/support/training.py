"""Recipes as tests build and step them."""

from typing import Any

from train.engine import Engine
from train.recipes import build_recipe
from train.schedule import Plan
from train.settings import Experiment


def built(experiment: Experiment, precision: str = "float32", **options: Any) -> Any:
    """An experiment's recipe with new weights; options are the engine's."""
    return build_recipe(experiment, Engine(experiment.schedule, experiment.seed, precision, **options))


def take(recipe: Any, batch: Any, step: int, warmup_steps: int, total_steps: int) -> dict[str, float]:
    """Its step number `step` (from 0) of a run with so many; the terms."""
    return recipe.engine.step(recipe, batch, Plan(1, warmup_steps, total_steps).moment(step))
