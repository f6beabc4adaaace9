"""The recipes: what a run trains, and by which losses.

The recipe of kind "animegan" (`settings.RECIPES`) is the class `Recipe` in train/recipes/animegan.py. A new one is such a
file and its settings; the loop, the app and the card ask no recipe who it is, they use what it says of itself.
"""

from collections.abc import Callable, Iterable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol, cast

import keras
import numpy as np

from train.batches import TrainingData
from train.engine import Engine
from train.schedule import Moment
from train.settings import Experiment
from train.tensors import Batch, Tensor, Terms


class Recipe(Protocol):
    """Networks, optimizers and steps. Built by `build_recipe`; called by `Engine.step` and the loop."""

    @property
    def terms(self) -> Mapping[str, str]:
        """Each loss term in words, by its name in what `step` returns."""

    @property
    def entries(self) -> frozenset[str]:
        """What of a batch the steps read, e.g. {"photo", "target", "anime"}; nothing else is computed."""

    @property
    def saved(self) -> Mapping[str, Any]:
        """What resuming needs, by its name in state.npz: anything with `variables`, networks and optimizers."""

    @property
    def frozen(self) -> Iterable[Any]:
        """Variables in `saved` that never change and need not be saved."""

    def check(self, data: TrainingData) -> None:
        """Raises ValueError, with the remedy, if these pictures are not what it learns from."""

    def step(self, batch: Batch, moment: Moment) -> Terms:
        """One training step; its unweighted terms, and the weighted sums that were minimised."""

    def weights(self, phase: str) -> Mapping[str, Mapping[str, float]]:
        """For each weighted sum of a phase, "generator" for one, the weights of its terms by name."""

    def export(self) -> list[np.ndarray]:
        """The weights, as they are now, of the plain generator that the experiment's GeneratorConfig describes."""

    def start_from(self, generator: keras.Model) -> None:
        """Takes the weights of a checkpoint's generator. Raises ValueError if it is not the experiment's."""

    def advice(self, terms: Mapping[str, float]) -> str | None:
        """Asked after every step with its terms: why the run cannot usefully go on, and what to try; None if it can."""

    def cache_features(self, folder: Path, data: TrainingData) -> Callable[[Tensor, Tensor], dict[str, Tensor]]:
        """Computes what can be computed once for every picture; gives more entries for a batch from a photo's and a
        frame's index. Raises ValueError where nothing can."""


def build_recipe(experiment: Experiment, engine: Engine, **options: Any) -> Recipe:
    """The experiment's recipe with new weights; further options are the recipe's own."""
    module = import_module(f"train.recipes.{experiment.recipe.kind}")
    return cast(Recipe, module.Recipe(experiment, engine, **options))
