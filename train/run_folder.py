"""A run's folder on disk: who writes it, the state to resume from, the history, and which checkpoints stay.

runs/NAME/
    experiment.json      the configuration
    history.jsonl        every loss term, one line for LOG_STEPS steps (their mean), with the step and of how many it is one
    samples/             a grid of fixed photos for every checkpoint
    epoch-004/ ...       checkpoints (hub_export/checkpoint.py): `runs/` is a FolderStore
    state.npz            weights, optimizers, averages, power-iteration vectors, and the step
    state-previous.npz   the same of the save before
    .lock                held by the one process that writes here
"""

import contextlib
import dataclasses
import errno
import io
import json
import os
import shutil
import socket
import time
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hub_export import checkpoint
from hub_export.card import model_card
from hub_export.files import os_sentence, replacing, write_aside
from hub_export.record import CARD, HISTORY, RECORD, CheckpointError, Record, read_record
from train.configuration import flat_settings, from_dict, to_dict
from train.schedule import WARM_UP
from train.settings import Experiment

DISK_FULL = (errno.ENOSPC, errno.EDQUOT)
ELSEWHERE = "choose another folder with --runs"
ASKING_SECONDS = 0.1
"""Longer than an app shares the lock to ask whether it is held."""
CONFIG, STATE, PREVIOUS, LOCK = "experiment.json", "state.npz", "state-previous.npz", ".lock"


class RunFolder:
    """A run's folder, open for writing by this process alone until `close`.

    Args:
        path: runs/NAME.
        experiment: what is run.
        resume: go on with the run that is there; without it the folder must be new.
        chief: whether this worker is the one that writes; the others only read.

    Raises:
        ValueError: another process writes there; the folder holds a run and resume is off, or none and it is on, or one of
            other settings; it cannot be written. The message names the remedy.
    """

    def __init__(self, path: Path, experiment: Experiment, resume: bool = False, chief: bool = True):
        self.path, self.experiment, self.chief = path, experiment, chief
        self._is_new = not path.exists()
        self.history: list[dict[str, Any]] = []
        self._lock: Any = None
        self._history_is_whole = True
        if resume and not (path / CONFIG).is_file():
            raise ValueError(f"{path} holds no run to resume: start it without --resume")
        try:
            if chief:
                path.mkdir(parents=True, exist_ok=True)
                self._lock = lock(path)
            if resume:
                self._check_same()
            else:
                self._check_new()
            if not chief:
                return
            if not resume:
                (path / HISTORY).unlink(missing_ok=True)  # of a try that ended before its first save
                shutil.rmtree(path / "tensorboard", ignore_errors=True)
                self._write_config()
            for record in self._records():
                if record.experiment != path.name:  # the folder was renamed or copied
                    rewrite(path / record.checkpoint, dataclasses.replace(record, experiment=path.name))
        except OSError as error:
            self.close()
            raise ValueError(os_sentence(error, path, ELSEWHERE)) from None
        except ValueError:
            self.close()
            raise

    @property
    def name(self) -> str:
        """The run's name."""
        return self.path.name

    def close(self) -> None:
        """Lets others write."""
        if self._lock:
            self._lock.close()
            self._lock = None

    def abandon(self) -> None:
        """Lets others write; of a run that has not begun nothing is left."""
        if self._is_new and self._lock:
            with contextlib.suppress(OSError):
                for name in (CONFIG, LOCK):
                    (self.path / name).unlink()
                self.path.rmdir()
        self.close()

    def checkpoints(self) -> list[Path]:
        """The checkpoints' folders."""
        return sorted(record.parent for record in self.path.glob(f"[!.]*/{RECORD}"))

    def _records(self) -> list[Record]:
        """The records of its checkpoints, without those that cannot be read, and without copies that somebody put beside."""
        records = []
        for folder in self.checkpoints():
            with contextlib.suppress(CheckpointError):
                record = read_record(folder)
                if record.checkpoint == folder.name:
                    records.append(record)
        return records

    def _check_new(self) -> None:
        if any((self.path / name).exists() for name in (STATE, PREVIOUS)):
            raise ValueError(f"{self.path} exists: go on with --resume, or choose another --name")
        if self.checkpoints():
            raise ValueError(f"{self.path} holds checkpoints of an earlier run: choose another --name, or move them away")

    def _check_same(self) -> None:
        """The settings must be those of the run, but for a schedule.length that is another."""
        own, wanted = flat_settings(from_dict(self._read_config())), flat_settings(self.experiment)
        differing = [
            f"{name} is {json.dumps(own.get(name))} there and {json.dumps(wanted.get(name))} here"
            for name in {**own, **wanted}
            if own.get(name) != wanted.get(name) and name != "schedule.length"
        ]
        if differing:
            raise ValueError(
                f"{self.path} was started with other settings: {'; '.join(differing)}. Resume with the same ones, or start "
                "another run with --name"
            )

    def _read_config(self) -> dict[str, Any]:
        try:
            return dict(json.loads((self.path / CONFIG).read_text("utf-8")))
        except (OSError, ValueError) as error:
            raise ValueError(f"{self.path / CONFIG} cannot be read ({error}): choose another --name") from None

    def _write_config(self) -> None:
        write_aside(self.path / CONFIG, json.dumps(to_dict(self.experiment), indent=1).encode())

    # --- state -------------------------------------------------------------------------------------------------------

    def save_state(self, state: Mapping[str, Any]) -> None:
        """Writes the state in one step and keeps the one before."""
        content = io.BytesIO()
        np.savez(content, **state)
        try:
            if (self.path / STATE).exists():
                aside = self.path / f".{PREVIOUS}"
                aside.unlink(missing_ok=True)
                try:
                    os.link(self.path / STATE, aside)
                except OSError:  # a file system without hard links
                    shutil.copyfile(self.path / STATE, aside)
                aside.replace(self.path / PREVIOUS)
            write_aside(self.path / STATE, content.getvalue())
        except OSError:
            for leftover in self.path.glob(f".{STATE}.*"):
                leftover.unlink(missing_ok=True)
            raise

    def load_state(self) -> dict[str, np.ndarray] | None:
        """The newest state that can be read, None where none was saved yet.

        Raises:
            ValueError: states are there, and all are damaged.
        """
        damaged: list[str] = []
        for name in (STATE, PREVIOUS):
            try:
                with np.load(self.path / name, allow_pickle=False) as saved:
                    state = dict(saved)
                if damaged:
                    print(f"{'; '.join(damaged)}: going on from {name}, step {int(state['step'])}")
                return state
            except FileNotFoundError:
                continue
            except (OSError, ValueError, KeyError, EOFError, RuntimeError, zipfile.BadZipFile) as error:
                damaged.append(f"{self.path / name} is damaged ({error})")
        if damaged:
            raise ValueError(f"{'; '.join(damaged)}: start again under another --name, with --init from the last checkpoint")
        return None

    # --- history -----------------------------------------------------------------------------------------------------

    def begin_at(self, step: int) -> None:
        """The run can go on from a step: takes back the rows up to it, drops all others, and keeps its new length.

        Raises:
            ValueError: the folder cannot be written; the message names the remedy.
        """
        try:
            lines = (self.path / HISTORY).read_text("utf-8").splitlines()
        except FileNotFoundError:
            lines = []
        self.history = [row for row in map(_parse_row, lines) if row and row["step"] <= step]
        if not self.chief:
            return
        try:
            self._write_history()
            self._write_config()
        except OSError as error:
            raise ValueError(os_sentence(error, self.path, ELSEWHERE)) from None

    def log(self, row: dict[str, Any]) -> None:
        """Appends a row; where the disk is full, it is written with the next save."""
        self.history.append(row)
        try:
            with open(self.path / HISTORY, "a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")
        except OSError as error:
            if error.errno not in DISK_FULL:
                raise
            self._history_is_whole = False

    def complete_history(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Writes the rows again if some are missing in the file."""
        if not self._history_is_whole:
            self._write_history(rows)
            self._history_is_whole = True

    def _write_history(self, rows: Sequence[Mapping[str, Any]] | None = None) -> None:
        text = "".join(json.dumps(row) + "\n" for row in (self.history if rows is None else rows))
        write_aside(self.path / HISTORY, text.encode())

    # --- checkpoints -------------------------------------------------------------------------------------------------

    def remove_superseded(self, keep: int) -> None:
        """Removes all but the newest `keep` checkpoints and those that `superseded` spares."""
        for leftover in self.path.glob(".*-removed"):  # of a kill
            shutil.rmtree(leftover)
        for name in superseded(self._records(), keep):
            aside = self.path / f".{name}-removed"
            (self.path / name).rename(aside)  # in one step: a kill leaves no half of a checkpoint
            shutil.rmtree(aside)


def lock(path: Path) -> Any:
    """Takes a folder's lock, which the kernel releases when the process ends in whatever way: the file that holds it.

    Raises:
        ValueError: another process has it; the message says which.
    """
    try:
        import fcntl
    except ImportError:  # Windows has none; two writers are then told apart by nobody
        return None
    file = open(path / LOCK, "a+", encoding="utf-8")  # noqa: SIM115  open for as long as the lock is held
    try:
        for left in range(20, -1, -1):  # whoever asks holds it for a moment
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if not left:
                    raise
                time.sleep(ASKING_SECONDS / 10)
    except BlockingIOError:
        file.seek(0)
        holder = file.read().strip() or "another process"
        file.close()
        raise ValueError(f"{path} is being written by {holder}: wait for it, or end it first") from None
    except OSError:  # a network file system without locks
        return file
    file.truncate(0)
    file.write(f"process {os.getpid()} on {socket.gethostname()}, since {time.strftime('%Y-%m-%d %H:%M')}\n")
    file.flush()
    return file


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Holds the lock of a run's folder for a while; other folders are not locked. Raises ValueError as `lock` does."""
    held = None
    with contextlib.suppress(OSError):  # a folder that cannot be written tells so by itself
        held = lock(path) if (path / CONFIG).is_file() else None
    try:
        yield
    finally:
        if held:
            held.close()


def rewrite(folder: Path, record: Record, change: Callable[[Path], None] = lambda aside: None) -> None:
    """Gives a checkpoint another record and the card of it; a kill leaves the old checkpoint or the new one.

    Args:
        change: what else to change of the files, in the folder that will take the old one's place.
    """
    with replacing(folder) as aside:
        shutil.copytree(folder, aside, dirs_exist_ok=True)
        change(aside)
        write_aside(aside / CARD, model_card(record).encode())
        checkpoint.write_record(aside, record)


def superseded(records: Iterable[Record], keep: int) -> list[str]:
    """Names of the checkpoints that may go when the newest `keep` (at least 1) stay.

    The warm-up's last one stays too, and so does the one after it that `train.evaluate` recommends, where that was measured.
    """
    ordered = sorted(records, key=lambda record: record.step)
    warmup = [record for record in ordered if record.phase == WARM_UP]
    measured = [record for record in ordered if record.phase != WARM_UP and "drawn" in record.metrics]
    best = sorted(measured, key=lambda record: record.data.get("chosen_by", record.metrics["drawn"]), reverse=True)
    stay = {record.checkpoint for record in [*ordered[-keep:], *warmup[-1:], *best[:1]]}
    return [record.checkpoint for record in ordered if record.checkpoint not in stay]


def _parse_row(line: str) -> dict[str, Any] | None:
    try:
        return dict(json.loads(line))
    except ValueError:  # a kill can cut the last line
        return None
