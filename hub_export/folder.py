"""Checkpoints in folders: `ROOT/EXPERIMENT/CHECKPOINT/`, those of local training and those that ship with the app."""

from dataclasses import dataclass, replace
from pathlib import Path

from hub_export.record import NAME, RECORD, CheckpointError, Record, read_record
from hub_export.sentences import ExplainedError, Sentence

SCHEME = "bundled:"
BUNDLED = Path(__file__).parents[1] / "animegan_app" / "checkpoints"
"""What ships with the app, wherever the program is run from."""


@dataclass(frozen=True)
class FolderStore:
    """Checkpoints as `ROOT/EXPERIMENT/CHECKPOINT/`, e.g. `runs/cel/epoch-025/`."""

    root: Path

    def experiments(self) -> list[str]:
        """Names of the experiments that hold at least one checkpoint, sorted; [] if there is no such folder."""
        return sorted({path.parent.parent.name for path in self.root.glob(f"*/*/{RECORD}") if _named(path)})

    def checkpoints(self, experiment: str) -> list[Record]:
        """Readable checkpoints of one experiment in training order; damaged ones are left out, see `problems`."""
        return sorted((record for record, _ in self._read(experiment) if record), key=lambda record: record.step)

    def problems(self) -> list[Sentence]:
        """One sentence for each checkpoint in the store that cannot be offered."""
        return [problem for experiment in self.experiments() for _, problem in self._read(experiment) if problem]

    def fetch(self, experiment: str, checkpoint: str) -> Path:
        """The folder of a checkpoint. Raises CheckpointError if it is not here."""
        folder = self.root / experiment / checkpoint
        if not NAME.fullmatch(experiment) or not NAME.fullmatch(checkpoint) or not (folder / RECORD).is_file():
            name = f"{experiment}/{checkpoint}"
            raise CheckpointError("{root} has no checkpoint {name}", root=self.root, name=name)
        return folder

    def _read(self, experiment: str) -> list[tuple[Record | None, Sentence | None]]:
        records: list[tuple[Path, Record]] = []
        entries: list[tuple[Record | None, Sentence | None]] = []
        for path in sorted((self.root / experiment).glob(f"*/{RECORD}")):
            if _named(path):
                try:
                    records.append((path.parent, read_record(path.parent)))
                except CheckpointError as error:
                    entries.append((None, error.sentence))
        renamed = len({record.experiment for _, record in records}) == 1  # a run's folder, as a whole, or a copy of one
        for folder, record in records:
            if record.checkpoint == folder.name and (renamed or record.experiment == experiment):
                entries.append((replace(record, experiment=experiment), None))
            else:
                name = f"{record.experiment}/{record.checkpoint}"
                entries.append((None, Sentence("{place}: the record is of {name}", place=folder, name=name)))
        return entries


def _named(record: Path) -> bool:
    return bool(NAME.fullmatch(record.parent.name) and NAME.fullmatch(record.parent.parent.name))


def find_checkpoints(path: Path) -> list[Path]:
    """The folder itself if it is a checkpoint, else the checkpoints in it if it is a run's, else those of all runs in it.

    Those of a run are in training order, first those whose record cannot be read, or is another's, as in a copy.

    Raises:
        CheckpointError: there is none.
    """
    if (path / RECORD).is_file():
        return [path]
    for levels in ("[!.]*", "[!.]*/[!.]*"):
        if folders := [record.parent for record in path.glob(f"{levels}/{RECORD}")]:
            return sorted(folders, key=lambda folder: (folder.parent, *_step(folder), folder.name))
    raise CheckpointError(f"{path} holds no checkpoint: give a checkpoint's folder, a run's like runs/cel, or one of runs")


def _step(folder: Path) -> tuple[bool, int]:
    try:
        record = read_record(folder)
        return record.checkpoint == folder.name, record.step
    except CheckpointError:
        return False, -1  # whoever opens it is told


def open_bundled(reference: str) -> Path:
    """The folder of "bundled:cel@epoch-025", or of the newest checkpoint without "@...".

    Raises:
        ValueError: not such a reference.
        CheckpointError: no such checkpoint ships.
    """
    name, at, checkpoint = reference.strip().removeprefix(SCHEME).partition("@")
    if not NAME.fullmatch(name) or (at and not NAME.fullmatch(checkpoint)):
        raise ExplainedError("{text} names no checkpoint that ships: write bundled:cel@epoch-025", text=repr(reference))
    store = FolderStore(BUNDLED)
    records = store.checkpoints(name)
    if not records:
        known = ", ".join(store.experiments()) or "none"
        raise CheckpointError("no experiment {name} ships: choose from {known}", name=name, known=known)
    shipped = [record.checkpoint for record in records]
    if at and checkpoint not in shipped:
        raise CheckpointError(
            "{name} ships without a checkpoint {checkpoint}: choose from {known}",
            name=name,
            checkpoint=checkpoint,
            known=", ".join(shipped),
        )
    return store.fetch(name, checkpoint or shipped[-1])
