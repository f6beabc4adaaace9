"""Puts checkpoints on the Hub: one repo per experiment, one commit and tag per checkpoint, `main` the recommended one.

    python -m hub_export.publish runs/cel you/animegan-cel
    python -m hub_export.publish runs/cel you/animegan-cel --epochs 2-4,6 --recommend epoch-006 --private

Publishing again changes nothing that is there, and goes on where it was interrupted, be it between commit and tag. Where
the Hub asks to wait or fails in passing, it waits and goes on. What
others have committed is never overwritten. Needs HF_TOKEN with write access, or `hf auth login`.
"""

import argparse
import dataclasses
import hashlib
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import CommitOperationAdd, constants
from huggingface_hub.errors import HfHubHTTPError, RemoteEntryNotFoundError
from huggingface_hub.hf_api import RepoFile

from hub_export.card import model_card
from hub_export.checkpoint import verify_files
from hub_export.files import os_sentence
from hub_export.hub import HUB_ERRORS, REPO, connect, explain, open_repo, patiently
from hub_export.record import (
    CARD,
    RECORD,
    SIZE_LIMITS,
    WEIGHTS,
    CheckpointError,
    Record,
    parse_record,
    read_record,
    record_text,
)
from hub_export.store import download

CLOSE_SECONDS = 300.0
REMEDIES = "publish to another repo, leave it out with --epochs, or delete that tag"


class PublishError(RuntimeError):
    """Nothing, or not all, was published; the message names the repo, the cause and what to do."""


@dataclass(frozen=True)
class Published:
    """What a repo holds after publishing.

    Args:
        url: its page.
        commits: checkpoint to commit sha, for all that were to be published.
        new: the checkpoints that were not there before.
        recommended: the checkpoint on `main`.
    """

    url: str
    commits: dict[str, str]
    new: list[str]
    recommended: str


def publish(
    source: Path,
    repo: str,
    private: bool = False,
    epochs: str | None = None,
    recommend: str | None = None,
    log: Callable[[str], None] = print,
) -> Published:
    """Publishes a run, or one checkpoint.

    Args:
        source: runs/NAME, or a checkpoint folder.
        repo: "you/animegan-hayao"; created if it is not there.
        private: create it so that only you see it.
        epochs: which, e.g. "20-40,60"; None for all.
        recommend: the checkpoint that `main` holds in the end, e.g. "epoch-060"; None for the newest of those published.
        log: told of each step in a sentence.

    Raises:
        CheckpointError: no checkpoints, or damaged ones.
        PublishError: the Hub refuses or is away, or the repo holds what is not ours to overwrite.
        ValueError: no such epochs, checkpoint or repo name.
    """
    if not REPO.fullmatch(repo):
        raise ValueError(f"{repo!r} names no repo: write you/animegan-hayao")
    folders = _select(_checkpoints(source), epochs)
    if recommend is not None and recommend not in folders:
        raise ValueError(f"cannot recommend {recommend}: choose from {', '.join(folders)}")
    going = _Publishing(repo, log)
    try:
        return patiently(lambda: going.run(folders, private, recommend), repo, log, lambda: len(going.new))
    except (PublishError, CheckpointError):
        raise
    except HUB_ERRORS as error:
        if isinstance(error, HfHubHTTPError) and error.response.status_code == 412:
            raise PublishError(f"{repo}: someone else committed meanwhile; nothing was overwritten, publish again") from None
        if isinstance(error, OSError) and error.filename:
            raise PublishError(os_sentence(error)) from None
        raise PublishError(explain(error, repo)) from None


def published_files(folder: Path, repo: str) -> tuple[Record, dict[str, bytes | Path]]:
    """The checkpoint's files as uploaded: its card names the repo, so card and record differ from those on disk.

    All but the weights are read now: `train.evaluate` may replace them meanwhile, and the record then names other hashes.

    Raises:
        CheckpointError: the record cannot be read.
        OSError: a file cannot be read.
        PublishError: a file is not the one that the record describes.
    """
    record = read_record(folder)
    files: dict[str, bytes | Path] = {WEIGHTS: folder / WEIGHTS}
    for name in SIZE_LIMITS.keys() - {WEIGHTS, CARD, RECORD}:
        files[name] = content = (folder / name).read_bytes()
        if hashlib.sha256(content).hexdigest() != record.files[name]["sha256"]:
            raise PublishError(f"{folder}: {name} changed meanwhile; publish again")
    card = model_card(record, repo).encode()
    entry = {"sha256": hashlib.sha256(card).hexdigest(), "size": len(card)}
    record = dataclasses.replace(record, files=record.files | {CARD: entry})
    return record, files | {CARD: card, RECORD: record_text(record).encode()}


class Publisher:
    """Publishes a run while it trains: called with every new checkpoint, it works in a thread and never raises.

    A failure is logged, and made up for at the next checkpoint or by `close`.
    """

    def __init__(self, repo: str, private: bool = False, log: Callable[[str], None] = print):
        self.repo, self.private, self.log = repo, private, log
        self._run: Path | None = None
        self._changed = threading.Condition()
        self._waiting = self._failed = self._closing = False
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def __call__(self, folder: Path) -> None:
        """Asks for everything in the checkpoint's run to be published; returns at once."""
        with self._changed:
            self._run, self._waiting = folder.parent, True
            self._changed.notify()

    def close(self, seconds: float = CLOSE_SECONDS) -> None:
        """Waits until all is published, once more trying what failed, but not longer than that."""
        with self._changed:
            self._closing, self._waiting = True, self._waiting or self._failed
            self._changed.notify()
        self._thread.join(seconds)
        if self._thread.is_alive() or self._failed:
            self.log(f"not all is on {self.repo} yet: python -m hub_export.publish {self._run} {self.repo}")

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._closing)
                if not self._waiting or self._run is None:
                    return
                self._waiting, run = False, self._run
            try:
                publish(run, self.repo, self.private, log=self.log)
                self._failed = False
            except Exception as error:  # training goes on whatever this is
                self._failed = True
                self.log(f"not published: {error}. Training goes on; tried again at the next checkpoint")


class _Publishing:
    """One go at a repo; knows where `main` is."""

    def __init__(self, repo: str, log: Callable[[str], None]):
        self.repo, self.log, self.api = repo, log, connect()
        self.head: str | None = None
        self.on_main: Record | None = None
        self.new: list[str] = []

    def run(self, folders: dict[str, Path], private: bool, recommend: str | None) -> Published:
        """Publishes what is not there yet; after a failure it may be run again.

        A tag that stands for other weights is left as it is. Where an earlier one is this run's, which then was resumed from
        before that checkpoint, the later ones are published all the same; else the repo is another run's.
        """
        self.head, tags = open_repo(self.api, self.repo, private)
        self.on_main = self._record_at(self.head) if self.head else None
        commits: dict[str, str] = {}
        refused: list[str] = []
        checked = False
        for name, folder in folders.items():
            if name in tags:
                if self._is_same(folder, tags[name]):
                    commits[name] = tags[name]
                elif commits:
                    refused.append(name)
                else:
                    raise PublishError(f"{self.repo} has another {name} already, which is not overwritten: {REMEDIES}")
                continue
            record, _ = published_files(folder, self.repo)
            if self._holds(record) and self.head:
                self.log(f"{self.repo}: {name} was committed before, its tag was missing")
            else:
                if not checked:
                    self._check_ours(record, set(tags.values()))
                checked = True
                self._commit(folder, f"{name}: step {record.step:,}, {record.phase} phase")
            assert self.head
            if name not in self.new:  # before the tag, whose answer may be lost
                self.new.append(name)
            self.api.create_tag(self.repo, tag=name, revision=self.head)
            self.log(f"{self.repo}: {name} is published")
            commits[name] = self.head
        chosen = recommend or (list(commits)[-1] if self.new else None)
        if chosen not in refused:
            self._recommend(folders, chosen, set(tags.values()) | set(commits.values()))
        if refused:
            names = ", ".join(refused)
            raise PublishError(
                f"{self.repo} has another {names} already, which is not overwritten; all others are there: {REMEDIES}"
            )
        assert self.on_main
        return Published(f"{self.api.endpoint}/{self.repo}", commits, self.new, self.on_main.checkpoint)

    def _commit(self, folder: Path, title: str) -> None:
        verify_files(folder, read_record(folder))
        record, files = published_files(folder, self.repo)
        try:
            operations = [CommitOperationAdd(name, content) for name, content in files.items()]
        except ValueError:
            raise PublishError(f"{folder}: a file of it was deleted meanwhile; publish again") from None
        self.head = self.api.create_commit(self.repo, operations, commit_message=title, parent_commit=self.head).oid
        self.on_main = record

    def _recommend(self, folders: dict[str, Path], name: str | None, ours: set[str]) -> None:
        """Commits a checkpoint's files once more if `main` does not hold them as they are now."""
        if name is None:
            return
        record, _ = published_files(folders[name], self.repo)
        if self.on_main is None or record_text(self.on_main) != record_text(record):
            self._check_ours(record, ours)
            self._commit(folders[name], f"main: {name}")
            self.log(f"{self.repo}: main holds {name}")

    def _holds(self, record: Record) -> bool:
        main = self.on_main
        return main is not None and (main.checkpoint, main.sha256) == (record.checkpoint, record.sha256)

    def _is_same(self, folder: Path, sha: str) -> bool:
        """Whether a tagged commit holds these weights."""
        theirs = self._record_at(sha)
        return theirs is not None and theirs.sha256 == read_record(folder).sha256

    def _check_ours(self, record: Record, ours: set[str]) -> None:
        """Refuses to overwrite files on `main` that this program has not put there.

        A tagged commit is ours; of any other, every file must be what its record says.
        """
        if self.head is None or self.head in ours:
            return
        entries = self.api.list_repo_tree(self.repo, recursive=True, revision=self.head)
        files = {entry.path: entry for entry in entries if isinstance(entry, RepoFile) and entry.path in SIZE_LIMITS}
        if self.on_main is None:
            if files:
                raise PublishError(
                    f"{self.repo} holds a {min(files)} that is not ours: remove it, or publish to another repo"
                )
            return
        if self.on_main.experiment != record.experiment:
            raise PublishError(f"{self.repo} holds experiment {self.on_main.experiment}: use a repo for each experiment")
        for name, entry in self.on_main.files.items():
            if name not in files or self._sha256(files[name]) != entry["sha256"]:
                raise PublishError(
                    f"{self.repo}: someone else changed {name} on main, which is not overwritten: put it back, or publish "
                    "to another repo"
                )

    def _sha256(self, file: RepoFile) -> str:
        """Of a file on `main`: the tree knows it of large ones, small ones are looked at."""
        if file.lfs:
            return str(file.lfs.sha256)
        assert self.head
        path = download(self.api, self.repo, self.head, file.path, Path(constants.HF_HUB_CACHE))
        return hashlib.sha256(path.read_bytes()).hexdigest()

    def _record_at(self, sha: str) -> Record | None:
        """The record in a commit; None if there is none that can be read."""
        try:
            path = download(self.api, self.repo, sha, RECORD, Path(constants.HF_HUB_CACHE))
            return parse_record(path.read_text("utf-8"), self.repo)
        except (RemoteEntryNotFoundError, CheckpointError, UnicodeDecodeError):
            return None


def _checkpoints(source: Path) -> dict[str, Path]:
    """Checkpoint folders of a run in training order, or the one given. Raises CheckpointError."""
    if (source / RECORD).is_file():
        return {read_record(source).checkpoint: source}
    records = [(read_record(path.parent), path.parent) for path in source.glob(f"[!.]*/{RECORD}")]
    if not records:
        raise CheckpointError("{place}: neither a run with checkpoints nor a checkpoint", place=source)
    if len({record.experiment for record, _ in records}) > 1:
        raise CheckpointError("{place}: holds checkpoints of several experiments", place=source)
    for record, folder in records:
        if record.checkpoint != folder.name:
            raise CheckpointError("{place}: the record is of {name}", place=folder, name=record.checkpoint)
    return {record.checkpoint: folder for record, folder in sorted(records, key=lambda pair: pair[0].step)}


def _select(folders: dict[str, Path], epochs: str | None) -> dict[str, Path]:
    """Those of "20-40,60,epoch-080". Raises ValueError for a part that names none."""
    if epochs is None:
        return folders
    numbers = {name: read_record(folder).epoch for name, folder in folders.items()}
    chosen: set[str] = set()
    for part in epochs.split(","):
        first, dash, last = part.strip().partition("-")
        if part.strip() in folders:
            named = {part.strip()}
        elif first.isdecimal() and (last.isdecimal() or not dash):
            named = {name for name, number in numbers.items() if int(first) <= number <= int(last or first)}
        else:
            named = set()
        if not named:
            raise ValueError(f"no checkpoint is {part.strip()!r}: choose from {', '.join(folders)}")
        chosen |= named
    return {name: folder for name, folder in folders.items() if name in chosen}


def main(arguments: list[str] | None = None) -> None:
    """The command."""
    p = argparse.ArgumentParser(
        "python -m hub_export.publish", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    p.add_argument("source", type=Path, metavar="RUN_OR_FOLDER", help="runs/NAME, or one checkpoint's folder")
    p.add_argument("repo", metavar="YOU/REPO", help="repo on the Hub, created if it is not there")
    p.add_argument("--private", action="store_true", help="create it so that only you see it")
    p.add_argument("--epochs", metavar="LIST", help="which checkpoints, e.g. 20-40,60 (default: all)")
    p.add_argument("--recommend", metavar="NAME", help="checkpoint that main holds, e.g. epoch-060 (default: the newest)")
    chosen = p.parse_args(arguments)
    try:
        done = publish(chosen.source, chosen.repo, chosen.private, chosen.epochs, chosen.recommend)
    except (PublishError, ValueError) as error:
        sys.exit(f"hub_export.publish: {error}")
    except OSError as error:
        sys.exit(f"hub_export.publish: {os_sentence(error, chosen.source)}")
    print(f"{done.url}: {len(done.commits)} checkpoints, {len(done.new)} of them new; main is {done.recommended}")


if __name__ == "__main__":
    main()
