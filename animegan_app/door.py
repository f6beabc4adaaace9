"""What a request must be, to get as far as Gradio: for a name of this app, of a bounded size, one of not too many.

A page of a stranger can reach an app on its reader's own machine: by another name for 127.0.0.1 (DNS rebinding), or by a
form that is sent across. So an app that listens on the loopback alone answers to its own names alone. ANIMEGAN_HOSTS names
more, e.g. that of a reverse proxy: "pictures.example.org,other.example.org".
"""

import ipaddress
import json
import os
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any
from urllib.parse import urlsplit

from animegan_app.photos import MAX_FILE_BYTES
from hub_export.sentences import Sentence

SETTING = "ANIMEGAN_HOSTS"
MAX_WAITING = 32
"""Requests that one visitor may have waiting: half of what the app takes. 20 people behind one address are one visitor."""
MAX_OPEN = 256
"""Requests of all kinds that one visitor may have open; a page has three."""
HOUR, MAX_HOURLY_BYTES = 3600.0, 2**30
"""What one visitor may upload in an hour."""
MAX_UPLOAD_BYTES = 2**29
"""Of the photos that are chosen at once; of each file, Gradio takes no more than it was launched with."""
MAX_BYTES = 2**20
"""Of a request that is no upload."""
UPLOADS = {"/gradio_api/upload": MAX_UPLOAD_BYTES, "/gradio_api/mcp": MAX_FILE_BYTES * 4 // 3 + 2**16}
"""Where files come, and how many bytes at most; in a tool's call they are base64."""
CLOSED = tuple(f"/gradio_api/{service}" for service in ("process_recording", "file=http", "file/", "proxy=", "deep_link"))
"""Gradio's services that no page of this app needs: they run ffmpeg, fetch from elsewhere (`file/` as `file=`), or keep
files."""
TOO_LARGE = 413, Sentence("This is more than one request may bring.")
TOO_MUCH = 429, Sentence("Too much was uploaded from here within an hour: try again later.")
NO_UPLOAD = 415, Sentence("Files are taken at {path} alone.", path=next(iter(UPLOADS)))
"""Elsewhere Gradio would put the parts of a form into files that nobody deletes."""
HEADERS = {
    b"x-content-type-options": b"nosniff",
    b"referrer-policy": b"same-origin",
    b"content-security-policy": b"default-src 'self'; "
    b"script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; "  # Gradio makes functions of text, Plotly workers of blobs
    b"style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; media-src 'self' data: blob:; font-src 'self' data:; "
    b"connect-src 'self' data: blob:; worker-src 'self' blob:; object-src 'none'; base-uri 'self'; form-action 'self'",
}

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]


class Door:
    """Stands in front of an ASGI application.

    Args:
        app: the application.
        names: host names that it answers to beside those of the loopback; None for any.
        waiting: how many requests of a visitor wait in its queue.
        say: tells a sentence to who made a request.
    """

    def __init__(
        self, app: App, names: Iterable[str] | None, waiting: Callable[[str], int], say: Callable[[Sentence, Message], str]
    ):
        self.app, self.say = app, say
        self.names = None if names is None else {name.lower() for name in names}
        self.waiting = waiting
        self._open: Counter[str] = Counter()
        self._asked: Counter[str] = Counter()
        self._uploaded: Counter[str] = Counter()
        self._hour = time.monotonic()

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answers a request, or has it answered."""
        if scope["type"] != "http":  # the start and the end; Gradio has no web sockets
            if scope["type"] == "lifespan":
                await self.app(scope, receive, send)
            return

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                names = {name.lower() for name, _ in message.get("headers", ())}
                new = [(name, value) for name, value in HEADERS.items() if name not in names]
                message["headers"] = [*message.get("headers", ()), *new]
            await send(message)

        async def refuse(status: int, sentence: Sentence) -> None:
            await _refuse(answer, status, self.say(sentence, scope))

        problem = self._problem(scope)
        if problem:
            await refuse(*problem)
            return
        who, asks = visitor(scope), scope["method"] == "POST"
        left = most = _most(scope)
        begun = False

        async def read() -> Message:
            nonlocal left
            message = await receive()
            size = len(message.get("body", b""))
            if most > MAX_BYTES:
                self._uploaded[who] += size
            problem = TOO_LARGE if left < size else TOO_MUCH if self._too_much(who, scope) else None
            if problem and left >= 0 and not begun:
                await refuse(*problem)
            left = -1 if problem else left - size
            return message if left >= 0 else {"type": "http.disconnect"}

        async def answer_if_read(message: Message) -> None:
            nonlocal begun
            if left >= 0:
                begun = True
                await answer(message)

        self._open[who] += 1
        self._asked[who] += asks
        try:
            await self.app(scope, read, answer_if_read)
        except Exception:
            if left >= 0:  # else it complains of what was refused
                raise
        finally:
            self._open[who] -= 1
            self._asked[who] -= asks
            self._open, self._asked = +self._open, +self._asked  # forgets who has none

    def _problem(self, scope: Message) -> tuple[int, Sentence] | None:
        """Status and sentence, where a request is refused at once."""
        headers: dict[str, list[str]] = {}
        for name, value in scope["headers"]:
            headers.setdefault(name.decode("latin-1").lower(), []).append(value.decode("latin-1"))
        if not self._is_ours(headers):
            english = "This app answers to its own names alone: {setting}=NAME, set where it is started, adds one."
            return 403, Sentence(english, setting=SETTING)
        path = scope["path"].removeprefix(scope.get("root_path", "").rstrip("/"))
        if path.startswith(CLOSED):
            return 404, Sentence("There is nothing here.")
        who = visitor(scope)
        length = headers.get("content-length", ["0"])[0]
        if length.isdigit() and int(length) > _most(scope):
            return TOO_LARGE
        if time.monotonic() - self._hour > HOUR:
            self._hour = time.monotonic()
            self._uploaded.clear()
        too_many = scope["method"] == "POST" and self._asked[who] + self.waiting(who) >= MAX_WAITING
        if too_many or self._open[who] >= MAX_OPEN:
            return 429, Sentence("Too many requests from here are waited for: try again in a minute.")
        if self._too_much(who, scope):
            return TOO_MUCH
        form = any(kind.strip().lower().startswith("multipart/") for kind in headers.get("content-type", []))
        return NO_UPLOAD if form and _most(scope) == MAX_BYTES else None

    def _too_much(self, who: str, scope: Message) -> bool:
        return self._uploaded[who] > MAX_HOURLY_BYTES and _most(scope) > MAX_BYTES

    def _is_ours(self, headers: dict[str, list[str]]) -> bool:
        if self.names is None:
            return True
        hosts = headers.get("host", [])
        forwarded = [host for value in headers.get("x-forwarded-host", []) for host in value.split(",")]
        origins = headers.get("origin", [])
        return (
            bool(hosts)
            and all(self._is_name(f"//{host.strip()}") for host in [*hosts, *forwarded])
            and all(self._is_name(origin) for origin in origins)
        )

    def _is_name(self, address: str) -> bool:
        try:
            name = urlsplit(address).hostname or ""
        except ValueError:
            return False
        return is_loopback(name) or name in (self.names or ())


def allowed(host: str) -> list[str] | None:
    """Names that an app answers to that listens on `host`: of the loopback's, only those; None, any, of the world's."""
    named = [name.strip() for name in os.environ.get(SETTING, "").split(",") if name.strip()]
    return [*named, host] if named or is_loopback(host) else None


def is_loopback(name: str) -> bool:
    """Whether a host name or an address, with or without brackets, is this machine's to itself."""
    name = name.strip("[]").rstrip(".").lower()
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name == "localhost" or name.endswith(".localhost")


def visitor(scope: Message) -> str:
    """The address a request comes from; of IPv6 the network, as everybody has one with addresses without number.

    Behind a proxy, as on a Space and where ANIMEGAN_HOSTS names one, whose own address is private, it is the last public one
    of those that the request names: others may be made up. Without a proxy all of them may.
    """
    peer = (scope.get("client") or ("",))[0]
    if public_peer := _public(peer):
        return public_peer
    if not (os.environ.get(SETTING) or os.environ.get("SPACE_ID")):
        return peer
    named = [value.decode("latin-1") for name, value in scope["headers"] if name.lower() == b"x-forwarded-for"]
    addresses = [_public(part.strip()) for value in named for part in value.split(",")]
    return next((address for address in reversed(addresses) if address), peer)


def _public(address: str) -> str:
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return ""
    if isinstance(ip, ipaddress.IPv6Address):
        ip = ip.ipv4_mapped or ip
    if not ip.is_global:
        return ""
    return str(ip) if ip.version == 4 else str(ipaddress.ip_network((int(ip), 64), strict=False))


def _most(scope: Message) -> int:
    path = scope["path"].removeprefix(scope.get("root_path", "").rstrip("/"))
    return next((most for start, most in UPLOADS.items() if path.startswith(start)), MAX_BYTES)


async def _refuse(send: Send, status: int, sentence: str) -> None:
    content = json.dumps({"detail": sentence}).encode()
    headers = [(b"content-type", b"application/json"), (b"connection", b"close")]
    if status == 429:
        headers.append((b"retry-after", b"60"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": content})
