"""The recipes: what a run trains, and by which losses.

The recipe of kind "animegan" (`settings.RECIPES`) is the class `Recipe` in train/recipes/animegan.py. A new one is such a
file and its settings; the loop, the app and the card ask no recipe who it is, they use what it says of itself.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, cast

import keras
import numpy as np

from train.batches import TrainingData
from train.engine import Engine
from train.layers import unfold
from train.schedule import Moment
from train.settings import Experiment
from train.tensors import Batch, Tensor, Terms


class Recipe(ABC):
    """Networks, optimizers and steps. Built by `build_recipe`; called by `Engine.step` and the loop.

    A recipe writes what is abstract here, and of the rest only what it does in another way.

    Attributes:
        experiment, engine: as given.
        terms: each loss term in words, by its name in what `step` returns.
        entries: what of a batch the steps read, e.g. {"photo", "target", "anime"}; nothing else is computed.
        frozen: variables of pretrained networks, which never change and need not be saved.
        generator: what is trained to draw photos.
        averaged: what `Engine.average` gives for it.
    """

    experiment: Experiment
    engine: Engine
    terms: Mapping[str, str]
    entries: frozenset[str]
    frozen: Iterable[Any] = ()
    generator: keras.Model
    averaged: keras.Model | None

    @property
    @abstractmethod
    def saved(self) -> Mapping[str, Any]:
        """What resuming needs, by its name in state.npz: anything with `variables`, networks and optimizers."""

    @abstractmethod
    def step(self, batch: Batch, moment: Moment) -> Terms:
        """One training step; its unweighted terms, and the weighted sums that were minimised."""

    @abstractmethod
    def weights(self, phase: str) -> Mapping[str, Mapping[str, float]]:
        """For each weighted sum of a phase, "generator" for one, the weights of its terms by name."""

    def export(self) -> list[np.ndarray]:
        """The weights, as they are now, of the plain generator that the experiment's GeneratorConfig describes.

        Averaged ones if the schedule says so.
        """
        return (self.averaged or self.generator).get_weights()

    def start_from(self, generator: keras.Model) -> None:
        """Draws what a checkpoint's generator does; the experiment has an init. Raises ValueError if it is another's."""
        for model in filter(None, (self.generator, self.averaged)):
            unfold(generator, model)

    def advice(self, terms: Mapping[str, float]) -> str | None:
        """Asked after every step with its terms: why the run cannot usefully go on, and what to try; None if it can."""
        return None

    def cache_features(self, folder: Path, data: TrainingData) -> Callable[[Tensor, Tensor], dict[str, Tensor]]:
        """Computes what can be computed once for every picture; gives more entries for a batch from a photo's and a
        frame's index. Only for recipes whose settings say that they cache features."""
        raise NotImplementedError


def build_recipe(experiment: Experiment, engine: Engine, **options: Any) -> Recipe:
    """The experiment's recipe with new weights; further options are the recipe's own."""
    module = import_module(f"train.recipes.{experiment.recipe.kind}")
    return cast(Recipe, module.Recipe(experiment, engine, **options))
