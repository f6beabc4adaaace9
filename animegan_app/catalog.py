"""What is on offer: the checkpoints of several stores. Reads records only; neither weights nor Keras are touched."""

import asyncio
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from hub_export.checkpoint import verify_files
from hub_export.folder import BUNDLED, FolderStore
from hub_export.record import CheckpointError, Record
from hub_export.release import open_runs
from hub_export.sentences import Sentence
from hub_export.store import HubStore, hub_sources

RECOMMENDED = "cel"
"""The experiment a person sees first."""
SHIPPED = "bundled"
"""Name of the store of the checkpoints in `BUNDLED`."""
HUB = "hub"
"""Name of the store whose checkpoints may have to be downloaded first."""


class Store(Protocol):
    """A place that keeps checkpoints; it answers at once, only `fetch` may take its time."""

    def experiments(self) -> list[str]: ...

    def checkpoints(self, experiment: str) -> list[Record]: ...

    def problems(self) -> list[Sentence]: ...

    def fetch(self, experiment: str, checkpoint: str) -> Path: ...


@dataclass(frozen=True)
class Offer:
    """One checkpoint on offer.

    Args:
        source: name of its store, which tells a bundled "cel" from a local one.
        name: what its store calls its experiment: "cel", or a repo, "you/animegan-hayao".
        record: what it says about itself.
    """

    source: str
    name: str
    record: Record

    @property
    def experiment(self) -> str:
        """Identity of its experiment, e.g. "bundled/cel" or "hub/you/animegan-hayao"."""
        return f"{self.source}/{self.name}"

    @property
    def key(self) -> str:
        """Identity among all offers, e.g. "bundled/cel/epoch-025"."""
        return f"{self.experiment}/{self.record.checkpoint}"


@dataclass(frozen=True)
class Catalog:
    """The stores by name, in the order of offering. Every call looks anew, so a training in progress shows up."""

    stores: Mapping[str, Store]

    @property
    def hub(self) -> HubStore | None:
        """The store that can be given more sources and asked for what is new."""
        store = self.stores.get(HUB)
        return store if isinstance(store, HubStore) else None

    def experiments(self) -> dict[str, list[Offer]]:
        """Undamaged checkpoints in training order by experiment, e.g. "bundled/cel".

        `RECOMMENDED` comes first, then a person's own runs, then what ships, then what is on the Hub.
        """
        experiments = [
            [Offer(source, name, record) for record in store.checkpoints(name)]
            for source, store in self.stores.items()
            for name in store.experiments()
        ]
        experiments = [offers for offers in experiments if offers]

        def place(offers: list[Offer]) -> tuple[bool, bool, bool]:
            source, recommended = offers[0].source, offers[0].record.experiment == RECOMMENDED
            return source == HUB, not recommended, source == SHIPPED and not recommended

        experiments.sort(key=place)
        return {offers[0].experiment: offers for offers in experiments}

    def first(self, offers: list[Offer]) -> Offer:
        """Which checkpoint of an experiment to show first: the one that its source or repo recommends, or the newest."""
        recommended = self.hub.recommended(offers[0].name) if self.hub and offers[0].source == HUB else None
        return next((offer for offer in offers if offer.record.checkpoint == recommended), offers[-1])

    def default(self) -> Offer | None:
        """What the Hub's sources prefer, or what to show first of the first experiment; None if there is nothing at all."""
        preferred = self.hub.preferred() if self.hub else None
        if preferred:
            return self.find("/".join((HUB, *preferred)))
        return next((self.first(offers) for offers in self.experiments().values()), None)

    def find(self, key: str) -> Offer:
        """The offer with this key. Raises CheckpointError if it is not, or no longer, on offer."""
        experiment, _, checkpoint = str(key).rpartition("/")  # a program may send anything
        source, _, name = experiment.partition("/")
        if source in self.stores and name in self.stores[source].experiments():
            for record in self.stores[source].checkpoints(name):
                if record.checkpoint == checkpoint:
                    return Offer(source, name, record)
        raise gone(key)

    def named(self, name: str) -> Offer:
        """The offer with this key or, by the name of an experiment or of its look, what to show of that first.

        Raises:
            CheckpointError: there is neither.
        """
        try:
            return self.find(name)
        except CheckpointError:
            wanted = str(name).strip().casefold()
            for offers in self.experiments().values():
                first = self.first(offers)
                names = {first.name, first.experiment, *(first.record.look.get(key, "") for key in ("name", "name_zh"))}
                if wanted and wanted in map(str.casefold, names):
                    return first
            raise

    def fetch(self, offer: Offer) -> Path:
        """The folder that holds the files of an offer, downloaded if need be. Raises CheckpointError if it cannot be had."""
        return self.stores[offer.source].fetch(offer.name, offer.record.checkpoint)

    def file(self, offer: Offer, name: str) -> Path:
        """One file of an offer, downloaded if need be; a stranger's may be a link to some other file of this machine.

        Raises:
            CheckpointError: it cannot be had, or is not what the record says.
        """
        folder = self.fetch(offer)
        verify_files(folder, offer.record, [name])
        return folder / name

    async def pull(self, offer: Offer) -> None:
        """Downloads an offer, if need be, without holding a thread. Raises CheckpointError if it cannot be had."""
        if self.hub and offer.source == HUB:
            await asyncio.wrap_future(self.hub.pull(offer.name, offer.record.checkpoint))

    def commit(self, offer: Offer) -> str:
        """The commit sha of an offer on the Hub, "" for one in a folder. Raises CheckpointError if it is gone."""
        return self.hub.commit(offer.name, offer.record.checkpoint) if self.hub and offer.source == HUB else ""

    def missing_bytes(self, offer: Offer) -> int:
        """What `fetch` would download, in bytes. Raises CheckpointError if the offer is gone."""
        return self.hub.missing_bytes(offer.name, offer.record.checkpoint) if self.hub and offer.source == HUB else 0

    def problems(self) -> list[Sentence]:
        """One sentence for each checkpoint that is there and cannot be offered, and each place that cannot be asked."""
        return [problem for store in self.stores.values() for problem in store.problems()]


def gone(name: object) -> CheckpointError:
    """The answer to whoever chooses an experiment or a checkpoint that is not, or no longer, there."""
    return CheckpointError("{name} is not on offer: reload the page to see what is", name=name)


def open_catalog(runs: Path | None = None, hub: Iterable[str] | None = None) -> Catalog:
    """The checkpoints that ship with the app, those of local training, and those on the Hub. Asks nothing of the network.

    Args:
        runs: folder of local training, or an archive of checkpoints; None for the environment's ANIMEGAN_RUNS, or `runs`
            beside app.py.
        hub: what to offer beside `hub_sources`, see `HubStore`.

    Raises:
        ValueError: one of them is no place on the Hub, or an archive is not what it should be.
    """
    runs = runs or Path(os.environ.get("ANIMEGAN_RUNS") or Path(__file__).parents[1] / "runs")
    sources = [*hub_sources(), *(hub or ())]
    return Catalog({SHIPPED: FolderStore(BUNDLED), "local": FolderStore(open_runs(runs)), HUB: HubStore(sources)})
