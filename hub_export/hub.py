"""Talking to the Hugging Face Hub: names, time limits, errors in words. Nothing here is called while importing.

The client has no time limit for most calls, and retries for 23 seconds where there is no network; here every socket
operation has one, and `within` gives a whole task one. Errors are told in our own words, so that no header, token or
signed address of a request ends up in a log or on a page.
"""

import errno
import json
import os
import re
import ssl
import threading
import time
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import httpx2
from huggingface_hub import HfApi, constants, set_client_factory
from huggingface_hub.errors import (
    DisabledRepoError,
    FileMetadataError,
    GatedRepoError,
    HfHubHTTPError,
    OfflineModeIsEnabled,
    RemoteEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.utils._http import (  # private, but nothing else keeps the offline mode or reads these headers
    _parse_retry_after,
    default_client_factory,
    hf_raise_for_status,
    parse_ratelimit_headers,
)

from hub_export.files import explain_os
from hub_export.sentences import ExplainedError, Sentence

SOCKET_SECONDS = 60.0
"""How long the Hub may be silent, where a task has no limit of its own."""
WAITS, LONGEST_WAIT = (2.0, 5.0, 15.0, 60.0, 240.0), 900
"""Seconds between tries where the Hub names none, and the most that it may ask for; it counts requests in 5 minutes."""
PASSING = (429, 500, 502, 503, 504)
"""What the Hub answers when it is asked too much, or is not well."""
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
        raise ExplainedError(
            "{text} names no checkpoint on the Hub: write hub:you/animegan-hayao@epoch-060", text=repr(text)
        )
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


def patiently(
    task: Callable[[], Result], name: str, log: Callable[[str], None], progress: Callable[[], int] = lambda: 0
) -> Result:
    """Does a task again after the wait that the Hub asks for, or after WAITS where it fails in passing.

    Args:
        task: can be done again after any failure.
        name: of the repo, for the log.
        progress: grows with what is done; then waiting starts anew.

    Raises:
        One of HUB_ERRORS: the Hub refuses, asks to wait longer than LONGEST_WAIT, or still fails in the end.
    """
    waits, reached = iter(WAITS), progress()
    while True:
        try:
            return task()
        except HUB_ERRORS as error:
            if progress() > reached:
                waits, reached = iter(WAITS), progress()
            seconds = _wait(_cause(error), next(waits, None))
            if seconds is None:
                raise
            log(f"{explain(error, name)}; trying again in {seconds:.0f} s")
        time.sleep(seconds)


def _wait(error: BaseException, usual: float | None) -> float | None:
    """Seconds after which to try again; None if that is no use."""
    response = getattr(error, "response", None)
    if usual is None or not isinstance(response, httpx2.Response) or response.status_code not in PASSING:
        return None
    asked = _asked(response)
    if asked is None:
        return usual
    return None if asked > LONGEST_WAIT else float(asked)


def _asked(response: httpx2.Response) -> int | None:
    """Seconds that an answer asks to wait."""
    limit = parse_ratelimit_headers(response.headers)
    return limit.reset_in_seconds if limit and limit.remaining == 0 else _parse_retry_after(response.headers)


def explain(error: BaseException, name: str) -> Sentence:
    """What went wrong on the Hub with what has this name."""
    error = _cause(error)
    response = getattr(error, "response", None)
    if isinstance(response, httpx2.Response):
        return _explain_answer(error, response, name)
    if isinstance(error, OfflineModeIsEnabled):
        return Sentence("{name} was not asked: HF_HUB_OFFLINE is set", name=name)
    if isinstance(error, UnicodeEncodeError | httpx2.LocalProtocolError):
        return Sentence("{name} was not asked: HF_TOKEN holds a character that no token has", name=name)
    if reason := _not_reached(error):
        return _not_now(name, reason)
    if isinstance(error, OSError) and error.errno:
        return Sentence("{name} cannot be stored: {why}", name=name, why=explain_os(error))
    if isinstance(error, OSError):
        return Sentence("{name} was cut off on its way", name=name)
    kind = type(error).__name__
    return Sentence("{name} gave an unexpected answer ({kind})", name=name, kind=kind)


def _cause(error: BaseException) -> BaseException:
    """What happened, which the client wraps in "not in the cache either" or "error while uploading"."""
    while getattr(error, "response", None) is None and isinstance(error.__cause__, HUB_ERRORS):
        error = error.__cause__
    return error


NO_PASSWORD = "the proxy wants a user name and a password: HTTPS_PROXY=http://NAME:PASSWORD@HOST:PORT"
NOT_THE_HUB = "a proxy, a sign-in page or a wrong HF_ENDPOINT answers in place of the Hub"


def _not_now(name: str, reason: Sentence) -> Sentence:
    return Sentence("{name} cannot be asked now: {reason}", name=name, reason=reason)


def _not_reached(error: BaseException) -> Sentence | None:
    """Why there is no answer of the Hub; None if that is not what went wrong."""
    if isinstance(error, TimeoutError | httpx2.TimeoutException):
        return Sentence("the Hub does not answer in time")
    if inner := _out_of_files(error):
        return explain_os(inner)
    if isinstance(error, httpx2.ProxyError):
        return Sentence(NO_PASSWORD if "407" in str(error) else "the proxy does not connect to the Hub")
    if isinstance(error, httpx2.HTTPError | ConnectionError | ssl.SSLError):
        if "CERTIFICATE_VERIFY_FAILED" in str(error):
            return Sentence(
                "the Hub's certificate is not trusted here; if a proxy puts its own in place, name that in SSL_CERT_FILE"
            )
        if setting := _proxy_setting():
            return Sentence("the Hub cannot be reached through the proxy of {setting}", setting=setting)
        return Sentence("the Hub cannot be reached")
    if isinstance(error, FileMetadataError) or (isinstance(error, json.JSONDecodeError) and _is_page(error.doc)):
        return Sentence(NOT_THE_HUB + " (a web page)")
    return None


def _explain_answer(error: BaseException, response: httpx2.Response, name: str) -> Sentence:
    status = response.status_code
    if status == 407:
        return _not_now(name, Sentence(NO_PASSWORD))
    if status == 511:
        return _not_now(name, Sentence("this network wants you to sign in first; open any page in a browser"))
    if "html" in response.headers.get("content-type", "") or (response.is_closed and _is_page(response.text)):
        return _not_now(name, Sentence(NOT_THE_HUB + " (error {status})", status=status))
    if english := _refusal(error, status, "authorization" in response.request.headers):
        return Sentence(english, name=name)
    if status == 429:
        return _not_now(name, Sentence("the Hub says there were too many requests"))
    return _not_now(name, Sentence("the Hub answers with error {status}", status=status))


def _refusal(error: BaseException, status: int, known: bool) -> str | None:
    """How the Hub refuses, to who is `known` by a token or not; None if it is not well itself."""
    if isinstance(error, RevisionNotFoundError):
        return "{name} is no longer there"
    if isinstance(error, RemoteEntryNotFoundError):
        return "{name} lacks a file that every checkpoint has"
    if isinstance(error, GatedRepoError) and known:
        return "{name} is gated: accept its terms on its page with the account of this HF_TOKEN"
    if isinstance(error, GatedRepoError):
        return "{name} is gated: accept its terms on its page, and set HF_TOKEN of the account that did"
    if isinstance(error, DisabledRepoError):
        return "{name} was disabled by the Hub"
    if status in (401, 404) and not known:
        return "{name} is missing or private; set HF_TOKEN"
    if status == 404 or isinstance(error, RepositoryNotFoundError):
        return "{name} is missing, or private and not for the account of this HF_TOKEN"
    if status == 401:
        return "{name} cannot be asked: the Hub does not accept this HF_TOKEN; make a new one in your settings there"
    if status == 403 and known:
        return "{name} may not be changed or read with this HF_TOKEN: it needs the right to, in your settings on the Hub"
    return "{name} may not be changed or read without HF_TOKEN" if status == 403 else None


def _out_of_files(error: BaseException) -> OSError | None:
    """The reason that no connection could be opened, if it lies in this process or machine."""
    inner: BaseException | None = error
    while inner is not None:
        if isinstance(inner, OSError) and inner.errno in (errno.EMFILE, errno.ENFILE):
            return inner
        inner = inner.__cause__ or inner.__context__
    return None


def _is_page(text: str) -> bool:
    return text[:100].lstrip("\ufeff \r\n\t").startswith("<")


def _proxy_setting() -> str:
    """By which setting the Hub is asked through a proxy; "" if it is not."""
    endpoint = urlsplit(os.environ.get("HF_ENDPOINT") or constants.ENDPOINT)
    proxies = getproxies()
    scheme = next((name for name in (endpoint.scheme, "all") if name in proxies), None)
    bypassed = endpoint.hostname is None or proxy_bypass(endpoint.hostname)
    return f"{scheme.upper()}_PROXY" if scheme and not bypassed else ""


def _limited_client() -> httpx2.Client:
    client = default_client_factory()
    client.event_hooks["request"].append(_limit)
    client.event_hooks["response"].append(_refuse_long_waits)
    return client


def _refuse_long_waits(response: httpx2.Response) -> None:
    """Keeps the client, which obeys any Retry-After, from sleeping for hours."""
    if response.status_code in PASSING and (_asked(response) or 0) > LONGEST_WAIT:
        response.read()
        hf_raise_for_status(response)


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
