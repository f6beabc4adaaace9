"""Puts the app on a Hugging Face Space with one command.

    python -m hub_export.space you/animegan-space
    python -m hub_export.space you/animegan-space --checkpoints hub:you/animegan-hayao@epoch-060 hub:them/animegan-paprika
    python -m hub_export.space you/animegan-space --dry-run build/space       writes the folder and sends nothing

The Space offers the checkpoints that ship with the app and those named; the first named one is downloaded while the
Space is built (`preload_from_hub`) and is what its visitors see first. For private checkpoints give the Space a secret
HF_TOKEN in its settings.
"""

import argparse
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from importlib import metadata
from pathlib import Path

import yaml
from huggingface_hub import CommitOperationAdd, CommitOperationDelete
from huggingface_hub.errors import HfHubHTTPError
from huggingface_hub.hf_api import RepoFile

from hub_export.card import LICENCE
from hub_export.files import os_sentence, replacing
from hub_export.folder import BUNDLED
from hub_export.hub import HUB_ERRORS, REPO, connect, explain, open_repo, parse_reference, patiently
from hub_export.publish import PublishError
from hub_export.record import RECORD, SIZE_LIMITS, CheckpointError, Record, read_record
from hub_export.store import SOURCES_FILE, HubStore

ROOT = Path(__file__).parents[1]
ROOMS = ("animegan_app", "hub_export")
PARTS = ("app.py", "LICENSE", *ROOMS)


def space_files(checkpoints: Sequence[str] = ()) -> dict[str, bytes]:
    """All files of the Space by path. Asks the Hub only where `checkpoints` are named.

    Args:
        checkpoints: references such as "hub:you/animegan-hayao@epoch-060", see `hub_export.hub.parse_reference`.

    Raises:
        ValueError: not a reference.
        CheckpointError: a named checkpoint is not to be found.
    """
    pinned = [_pin(reference) for reference in checkpoints]
    named = {repo: checkpoint for repo, checkpoint, *_ in reversed(pinned)}  # of a repo named twice, the first
    repos = list(dict.fromkeys(repo for repo, *_ in pinned))
    files = {path.relative_to(ROOT).as_posix(): path.read_bytes() for part in PARTS for path in _walk(ROOT / part)}
    files["requirements.txt"] = _requirements((ROOT / "requirements.txt").read_text("utf-8")).encode()
    shipped = sorted(BUNDLED.glob(f"*/*/{RECORD}"))
    records = [*(record for *_, record in pinned), *(read_record(path.parent) for path in shipped)]
    files["README.md"] = _readme(repos, [named[:3] for named in pinned[:1]], records).encode()
    if repos:
        files[SOURCES_FILE] = "".join(f"{repo}@{named[repo]}\n" for repo in repos).encode()
    return files


def write_space(folder: Path, checkpoints: Sequence[str] = ()) -> None:
    """Writes the Space into a new or empty folder. Raises ValueError if it holds anything, and as `space_files`."""
    if folder.exists() and any(folder.iterdir()):
        raise ValueError(f"{folder} is not empty: name a new folder")
    files = space_files(checkpoints)
    with replacing(folder) as aside:
        for path, content in files.items():
            (aside / path).parent.mkdir(parents=True, exist_ok=True)
            (aside / path).write_bytes(content)


def push_space(
    space: str, checkpoints: Sequence[str] = (), private: bool = False, log: Callable[[str], None] = print
) -> str:
    """Makes a Space hold exactly our files, in one commit; other files of its owner stay. Returns its address.

    Raises:
        ValueError, CheckpointError: see `space_files`.
        PublishError: the Hub refuses or is away, or somebody commits at the same moment.
    """
    if not REPO.fullmatch(space):
        raise ValueError(f"{space!r} names no Space: write you/animegan-space")
    files = space_files(checkpoints)
    try:
        return patiently(lambda: _push(space, files, private, log), space, log)
    except HUB_ERRORS as error:
        if isinstance(error, HfHubHTTPError) and error.response.status_code == 412:
            raise PublishError(f"{space}: someone else committed meanwhile; nothing was overwritten, try again") from None
        raise PublishError(explain(error, space)) from None


def _push(space: str, files: dict[str, bytes], private: bool, log: Callable[[str], None]) -> str:
    api = connect()
    url = f"{api.endpoint}/spaces/{space}"
    head, _ = open_repo(api, space, private, repo_type="space", space_sdk="gradio")
    there = api.list_repo_tree(space, repo_type="space", recursive=True, revision=head) if head else []
    stale = [
        entry.path
        for entry in there
        if isinstance(entry, RepoFile)
        and entry.path not in files
        and (entry.path == SOURCES_FILE or entry.path.startswith(tuple(f"{room}/" for room in ROOMS)))
    ]
    operations: list[CommitOperationAdd | CommitOperationDelete] = [
        *(CommitOperationAdd(path, content) for path, content in files.items()),
        *(CommitOperationDelete(path) for path in stale),
    ]
    done = api.create_commit(
        space, operations, commit_message="The AnimeGAN laboratory's app", repo_type="space", parent_commit=head
    )
    log(f"{url} {'is as it should be already' if done.oid == head else f'holds {len(files)} files and builds now'}")
    return url


def _pin(reference: str) -> tuple[str, str, str, Record]:
    """Repo, checkpoint, commit sha and record of a reference. Raises ValueError, CheckpointError."""
    wanted = parse_reference(reference)
    store = HubStore([wanted.repo])
    store.refresh()
    known = {record.checkpoint: record for record in store.checkpoints(wanted.repo)}
    checkpoint = wanted.checkpoint or store.recommended(wanted.repo) or next(reversed(known), "at all")
    return wanted.repo, checkpoint, store.commit(wanted.repo, checkpoint), known[checkpoint]


def _walk(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    files = [inner for inner in sorted(path.rglob("*")) if inner.is_file()]
    return [
        inner for inner in files if not any(part.startswith((".", "__pycache__")) for part in inner.relative_to(path).parts)
    ]


def _requirements(ours: str) -> str:
    """What a Space installs: not gradio, which `sdk_version` brings, and TensorFlow without the GPU's half."""
    lines = [line for line in ours.splitlines() if line and not line.startswith("#") and not re.match(r"gradio\b", line)]
    lines = [re.sub(r"^tensorflow\b", "tensorflow-cpu", line) for line in lines]
    return "# Gradio comes from sdk_version in README.md. A Space's CPU needs no CUDA: 600 MB less to install.\n" + "".join(
        f"{line}\n" for line in lines
    )


def _terms(records: Iterable[Record]) -> str:
    """What records say may be done with them: a line for each, with the experiments that say so."""
    named: dict[str, set[str]] = {}
    for record in records:
        named.setdefault(" ".join(str(record.data["terms"]).split()), set()).add(f"`{record.experiment}`")
    return "\n".join(f"- {', '.join(sorted(names))}: {text}" for text, names in named.items())


def _readme(repos: list[str], preloaded: list[tuple[str, str, str]], records: list[Record]) -> str:
    front: dict[str, object] = {
        "title": "AnimeGAN laboratory",
        "emoji": "🎨",
        "colorFrom": "indigo",
        "colorTo": "pink",
        "sdk": "gradio",
        "sdk_version": metadata.version("gradio"),
        "python_version": "3.11",
        "app_file": "app.py",
        "short_description": "Your photo as anime, by several networks side by side",
        "suggested_hardware": "cpu-basic",
        **LICENCE,
    }
    if repos:
        front["models"] = repos
        front["preload_from_hub"] = [f"{repo} {','.join(SIZE_LIMITS)} {sha}" for repo, _, sha in preloaded]
    terms = _terms(records)
    return f"""---
{yaml.safe_dump(front, sort_keys=False, allow_unicode=True, width=1000)}---
# AnimeGAN laboratory

Hold a slider between your photo and its anime version, and checkpoints of different experiments against each other.
Nothing you upload is kept.

## Terms
The program is under the Apache License 2.0, see LICENSE. The checkpoints are for research and personal use, as their cards
say:

{terms}

Written by `python -m hub_export.space`; change the project it comes from, not this copy.
"""


def main(arguments: list[str] | None = None) -> None:
    """The command."""
    p = argparse.ArgumentParser(
        "python -m hub_export.space", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    p.add_argument("space", metavar="YOU/SPACE", help="the Space, created if it is not there")
    p.add_argument(
        "--checkpoints", metavar="REFERENCE", nargs="+", default=[], help="hub:you/repo@epoch-060; the first is shown first"
    )
    p.add_argument("--private", action="store_true", help="create it so that only you see it")
    p.add_argument("--dry-run", metavar="DIR", type=Path, help="write the files to this folder and send nothing")
    chosen = p.parse_args(arguments)
    try:
        if chosen.dry_run:
            write_space(chosen.dry_run, chosen.checkpoints)
            print(f"{chosen.dry_run} holds what {chosen.space} would hold")
        else:
            push_space(chosen.space, chosen.checkpoints, chosen.private)
    except (PublishError, CheckpointError, ValueError, metadata.PackageNotFoundError) as error:
        sys.exit(f"hub_export.space: {error}")
    except OSError as error:
        sys.exit(f"hub_export.space: {os_sentence(error, chosen.dry_run)}")


if __name__ == "__main__":
    main()
