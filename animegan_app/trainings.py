"""Trainings in progress on this machine: runs whose folder a process holds, and how far they are.

A run's folder is described in train/run_folder.py, which is not there where the app runs alone.
"""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from animegan_app.catalog import SHIPPED, Catalog
from hub_export.checkpoint import read_history
from hub_export.folder import FolderStore
from hub_export.record import NAME, CheckpointError, is_number

try:
    import fcntl
except ImportError:  # not on Windows, where nothing tells whether a run is held
    fcntl = None  # type: ignore[assignment]

CONFIG, LOCK = "experiment.json", ".lock"
MAX_CONFIG = 2**17
"""Bytes of a configuration that are read."""
PACE_ROWS = 10
"""The last rows of a history, whose pace is taken for what is to come."""


@dataclass(frozen=True)
class Training:
    """A training in progress.

    Args:
        source, name: as an `Offer`'s; there may be no checkpoint yet.
        folder: the run's.
        question: what its experiment asks, "" where that cannot be read.
        step, steps: how many are done, and of how many; 0 where that is not known.
        seconds: how long the others will take, None where that is not known.
    """

    source: str
    name: str
    folder: Path
    question: str
    step: int = 0
    steps: int = 0
    seconds: float | None = None

    @property
    def experiment(self) -> str:
        """Identity of its experiment, see `Offer.experiment`."""
        return f"{self.source}/{self.name}"


def in_progress(catalog: Catalog) -> dict[str, Training]:
    """All trainings in progress by `Training.experiment`."""
    folders = [
        (source, lock.parent)
        for source, store in catalog.stores.items()
        if isinstance(store, FolderStore) and source != SHIPPED
        for lock in sorted(store.root.glob(f"*/{LOCK}"))
    ]
    trainings = [_training(source, folder) for source, folder in folders if NAME.fullmatch(folder.name) and _held(folder)]
    return {training.experiment: training for training in trainings}


def _held(folder: Path) -> bool:
    """Whether a process holds the lock. To find out, it is shared for a moment, for which a run that starts waits."""
    if fcntl is None:
        return False
    try:
        handle = os.open(folder / LOCK, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return False
    except BlockingIOError:
        return True
    except OSError:  # a file system without locks
        return False
    finally:
        os.close(handle)


def _training(source: str, folder: Path) -> Training:
    question = _question(folder)
    try:
        rows = read_history(folder)
    except CheckpointError:  # nothing is logged yet, or it is just being written
        return Training(source, folder.name, folder, question)
    if not rows:
        return Training(source, folder.name, folder, question)
    last = max(rows, key=lambda row: row["step"])
    steps = last.get("steps", 0)
    steps = int(steps) if is_number(steps) and steps >= last["step"] else 0
    return Training(source, folder.name, folder, question, int(last["step"]), steps, _left(rows, last["step"], steps))


def _left(rows: Sequence[Mapping[str, Any]], step: float, steps: int) -> float | None:
    paces = [row["seconds"] for row in rows[-PACE_ROWS:] if is_number(row.get("seconds"))]
    return (steps - step) * sum(paces) / len(paces) if steps and paces else None


def _question(folder: Path) -> str:
    try:
        with (folder / CONFIG).open("rb") as file:
            config = json.loads(file.read(MAX_CONFIG))
    except (OSError, ValueError, RecursionError):
        return ""
    return str(config.get("question", "")) if isinstance(config, dict) else ""
