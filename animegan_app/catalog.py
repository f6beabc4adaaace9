"""What is on offer: the checkpoints of several stores. Reads records only; neither weights nor Keras are touched."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from hub_export.checkpoint import NAME, CheckpointError, Record
from hub_export.store import FolderStore

BUNDLED = Path(__file__).parent / "checkpoints"
RECOMMENDED = "fast-hayao"
"""The experiment a person sees first."""


@dataclass(frozen=True)
class Offer:
    """One checkpoint on offer.

    Args:
        source: name of its store, which tells a bundled "fast-hayao" from a local one.
        record: what it says about itself.
    """

    source: str
    record: Record

    @property
    def experiment(self) -> str:
        """Identity of its experiment, e.g. "bundled/fast-hayao"."""
        return f"{self.source}/{self.record.experiment}"

    @property
    def key(self) -> str:
        """Identity among all offers, e.g. "bundled/fast-hayao/epoch-060"."""
        return f"{self.experiment}/{self.record.checkpoint}"


@dataclass(frozen=True)
class Catalog:
    """The stores by name, in the order of offering. Every call looks anew, so a training in progress shows up."""

    stores: Mapping[str, FolderStore]

    def experiments(self) -> dict[str, list[Offer]]:
        """Undamaged checkpoints in training order by experiment, e.g. "bundled/fast-hayao"; `RECOMMENDED` comes first."""
        found = [
            [Offer(source, record) for record in store.checkpoints(experiment)]
            for source, store in self.stores.items()
            for experiment in store.experiments()
        ]
        found = [offers for offers in found if offers]
        found.sort(key=lambda offers: offers[0].record.experiment != RECOMMENDED)
        return {offers[0].experiment: offers for offers in found}

    def default(self) -> Offer | None:
        """The newest checkpoint of the first experiment; None if there is no checkpoint at all."""
        return next((offers[-1] for offers in self.experiments().values()), None)

    def find(self, key: str) -> Offer:
        """The offer with this key. Raises CheckpointError if it is not, or no longer, on offer."""
        source, _, rest = key.partition("/")
        experiment, _, checkpoint = rest.partition("/")
        if source in self.stores and NAME.fullmatch(experiment):
            for record in self.stores[source].checkpoints(experiment):
                if record.checkpoint == checkpoint:
                    return Offer(source, record)
        raise CheckpointError(f"{key} is not on offer: reload the page to see what is")

    def fetch(self, offer: Offer) -> Path:
        """The folder that holds the files of an offer. Raises CheckpointError if it is gone."""
        return self.stores[offer.source].fetch(offer.record.experiment, offer.record.checkpoint)

    def problems(self) -> list[str]:
        """One sentence for each checkpoint that is there and cannot be offered."""
        return [problem for store in self.stores.values() for problem in store.problems()]


def open_catalog(runs: Path | None = None) -> Catalog:
    """The checkpoints that ship with the app, and those of local training.

    Args:
        runs: folder of local training; None for the environment's ANIMEGAN_RUNS, or `runs` beside app.py.
    """
    runs = runs or Path(os.environ.get("ANIMEGAN_RUNS") or Path(__file__).parents[1] / "runs")
    return Catalog({"bundled": FolderStore(BUNDLED), "local": FolderStore(runs)})
