"""Talking to the Hugging Face Hub: names, time limits, errors in words. Nothing here is called while importing.

The client has no time limit for most calls, and retries for 23 seconds where there is no network; here every socket
operation has one, and `within` gives a whole task one. Errors are told in our own words, so that no header, token or
signed address of a request ends up in a log or on a page.
"""

import errno
import os
import re
import threading
import time
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, TypeVar

import httpx2
from huggingface_hub import HfApi, set_client_factory
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    OfflineModeIsEnabled,
    RemoteEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.utils._http import default_client_factory  # the only way to keep its offline mode

SOCKET_SECONDS = 60.0
"""How long the Hub may be silent, where a task has no limit of its own."""
HUB_ERRORS = (
    *(HfHubHTTPError, httpx2.HTTPError, OSError),
    *(ValueError, LookupError, TypeError, AttributeError, RuntimeError),
)
"""What the client raises for a Hub that refuses, is away, or answers nonsense."""
PART = r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,94}[A-Za-z0-9_])?"
REPO, NAMESPACE = re.compile(f"{PART}/{PART}"), re.compile(PART)
REFERENCE = "hub:"

Result = TypeVar("Result")
_deadline: ContextVar[float | None] = ContextVar("deadline", default=None)


@dataclass(frozen=True)
class Reference:
    """A checkpoint on the Hub.

    Args:
        repo: "you/animegan-hayao".
        checkpoint: "epoch-060", or None for the recommended one.
    """

    repo: str
    checkpoint: str | None = None

    def __str__(self) -> str:
        return REFERENCE + self.repo + (f"@{self.checkpoint}" if self.checkpoint else "")


def parse_reference(text: str) -> Reference:
    """Parses "hub:you/animegan-hayao@epoch-060"; "hub:" and "@..." may be left out. Raises ValueError."""
    repo, at, checkpoint = text.strip().removeprefix(REFERENCE).partition("@")
    if not REPO.fullmatch(repo) or ".." in repo or "--" in repo or (at and not NAMESPACE.fullmatch(checkpoint)):
        raise ValueError(f"{text!r} names no checkpoint on the Hub: write hub:you/animegan-hayao@epoch-060")
    return Reference(repo, checkpoint or None)


def connect() -> HfApi:
    """A client of $HF_ENDPOINT, or huggingface.co, with the token of $HF_TOKEN or `hf auth login`."""
    _set_limits()
    return HfApi(endpoint=os.environ.get("HF_ENDPOINT") or None, library_name="animegan-lab")


def open_repo(api: HfApi, repo: str, private: bool, **kind: Any) -> tuple[str | None, dict[str, str]]:
    """Creates a repo unless it is there.

    Args:
        private: create it so that only its owner sees it.
        kind: {} for a model, {"repo_type": "space", "space_sdk": ...} for a Space.

    Returns:
        The commit sha of `main`, None if it has none, and those of the tags by name.
    """
    place = {key: value for key, value in kind.items() if key == "repo_type"}
    try:
        refs = api.list_repo_refs(repo, **place)
    except HfHubHTTPError as error:
        if error.response.status_code not in (401, 404):
            raise
        api.create_repo(repo, private=private or None, exist_ok=True, **kind)
        refs = api.list_repo_refs(repo, **place)
    head = next((branch.target_commit for branch in refs.branches if branch.name == "main"), None)
    return head, {tag.name: tag.target_commit for tag in refs.tags}


def within(seconds: float, task: Callable[..., Result], *arguments: Any) -> Result:
    """Runs a task in a thread of its own and waits for it so long.

    Raises:
        TimeoutError: it is not done; it ends by itself at its next request.
    """
    outcome: list[tuple[Result | None, BaseException | None]] = []

    def run() -> None:
        _deadline.set(time.monotonic() + seconds)
        try:
            outcome.append((task(*arguments), None))
        except BaseException as error:
            outcome.append((None, error))

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    if not outcome:
        raise TimeoutError(f"not done within {seconds:.0f} seconds")
    result, error = outcome[0]
    if error is not None:
        raise error
    return result  # type: ignore[return-value]


def time_left() -> float:
    """Seconds that the task in this thread still has, `SOCKET_SECONDS` at most. Raises TimeoutError if none."""
    deadline = _deadline.get()
    left = SOCKET_SECONDS if deadline is None else deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError("the time limit is over")
    return min(left, SOCKET_SECONDS)


def explain(error: BaseException) -> str:
    """What went wrong on the Hub, as the end of a sentence that begins with the repo's name."""
    while getattr(error, "response", None) is None and isinstance(error.__cause__, HUB_ERRORS):
        error = error.__cause__  # the client wraps what happened in "not in the cache either", "error while uploading"
    status = getattr(getattr(error, "response", None), "status_code", 0)
    if isinstance(error, RevisionNotFoundError):
        return "is no longer there"
    if isinstance(error, RemoteEntryNotFoundError):
        return "lacks a file that every checkpoint has"
    if isinstance(error, RepositoryNotFoundError | GatedRepoError) or status in (401, 404):
        return "is missing or private; set HF_TOKEN"
    if status == 403:
        return "may not be changed or read with this HF_TOKEN"
    if status == 429:
        return "cannot be asked now: the Hub says there were too many requests"
    if status:
        return f"cannot be asked now: the Hub answers with error {status}"
    if isinstance(error, OfflineModeIsEnabled):
        return "was not asked: HF_HUB_OFFLINE is set"
    if isinstance(error, TimeoutError | httpx2.TimeoutException):
        return "cannot be asked now: the Hub does not answer in time"
    if isinstance(error, httpx2.HTTPError | ConnectionError):
        return "cannot be asked now: the Hub cannot be reached"
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return "cannot be stored: the disk is full"
    if isinstance(error, OSError) and not error.errno:
        return "was cut off on its way"
    return f"is answered for in a way that this program does not understand ({type(error).__name__})"


def _limited_client() -> httpx2.Client:
    client = default_client_factory()
    client.event_hooks["request"].append(_limit)
    return client


def _limit(request: httpx2.Request) -> None:
    limits = request.extensions.get("timeout") or dict.fromkeys(("connect", "read", "write", "pool"))
    most = time_left()
    request.extensions["timeout"] = {key: min(value or most, most) for key, value in limits.items()}


_once = threading.Lock()
_limited = False


def _set_limits() -> None:
    """Gives the process's Hub client time limits, before its first request."""
    global _limited
    with _once:
        if not _limited:
            set_client_factory(_limited_client)
            _limited = True
