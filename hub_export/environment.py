"""Settings of other programs that would break this one, settled before anything reads them: import this module first.

    import hub_export.environment

- Proxies: HTTP_PROXY and the like never stand before this machine itself; one that cannot be used is left out, with a note.
- Keras: TensorFlow, channels last and float32, whatever KERAS_BACKEND and keras.json say.
- The terminal: what its encoding lacks is written as \\u2026.
- No home, or one that cannot be written: a folder in the temporary one.
- HF_TOKEN: without spaces and newlines around it; left out, with a note, if no header can carry it.
- Numbers and certificates that are none: left out, with a note.
"""

import contextlib
import json
import os
import re
import stat
import sys
import tempfile
from collections.abc import MutableMapping
from importlib.util import find_spec
from pathlib import Path
from typing import TextIO
from urllib.parse import urlsplit

PROXIES = {"http_proxy", "https_proxy", "all_proxy"}
LOOPBACK = ("localhost", "127.0.0.1", "::1")
KERAS = {"image_data_format": "channels_last", "floatx": "float32", "epsilon": 1e-7}
TOKENS = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")
NUMBERS = (
    *("GRADIO_SERVER_PORT", "GRADIO_NUM_PORTS", "GRADIO_ANALYTICS_MAX_EVENTS", "GRADIO_ANALYTICS_CACHE_FREQUENCY"),
    *("HF_HUB_ETAG_TIMEOUT", "HF_HUB_DOWNLOAD_TIMEOUT"),
)
"""Read as whole numbers when their libraries are imported."""
CERTIFICATES = ("SSL_CERT_FILE", "SSL_CERT_DIR")


def settle(environ: MutableMapping[str, str]) -> list[str]:
    """Changes an environment so that this program works in it. Returns a sentence for each setting that is left out."""
    notes: list[str] = []
    _proxies(environ, notes)
    _home(environ, notes)
    _keras(environ)
    for name in TOKENS:
        if name in environ:
            environ[name] = environ[name].strip()
            if not re.fullmatch("[!-~]*", environ[name]):
                _leave_out(environ, name, "a token has no spaces, newlines or foreign letters in it", notes)
    for name in NUMBERS:
        if environ.get(name) and not re.fullmatch(r"\s*[0-9]{1,9}\s*", environ[name]):
            _leave_out(environ, name, f"{environ[name]!r} is no whole number", notes)
    for name in CERTIFICATES:
        if environ.get(name) and not Path(environ[name]).exists():
            _leave_out(environ, name, f"there is no {environ[name]}", notes)
    return notes


def forgiving(stream: TextIO | None) -> None:
    """Has a stream write what its encoding lacks as \\u2026 in place of an error; UTF-8 lacks some files' names."""
    if getattr(stream, "errors", None) == "strict" and hasattr(stream, "reconfigure"):
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]


def _leave_out(environ: MutableMapping[str, str], name: str, why: str, notes: list[str]) -> None:
    del environ[name]
    notes.append(f"{name} is left out: {why}.")


def _proxies(environ: MutableMapping[str, str], notes: list[str]) -> None:
    for name in [name for name in environ if name.lower() in PROXIES]:
        proxy = environ[name] = re.sub("^socks://", "socks5://", environ[name].strip())  # as GNOME writes it
        if proxy and not _usable(proxy):
            shown = re.sub("//.*@", "//…@", proxy)
            _leave_out(
                environ, name, f"{shown!r} is no proxy of a kind known here, say http://HOST:PORT or socks5://…", notes
            )
    known = environ.get("no_proxy") or environ.get("NO_PROXY") or ""
    if known.strip() != "*" and any(name.lower() in PROXIES for name in environ):
        hosts = [host.strip().strip("[]") for host in known.split(",") if host.strip()]
        environ["no_proxy"] = environ["NO_PROXY"] = ",".join(dict.fromkeys([*hosts, *LOOPBACK]))


def _usable(proxy: str) -> bool:
    try:
        parts = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
        _ = parts.port  # raises ValueError
    except ValueError:
        return False
    kinds = {"http", "https"} | ({"socks5", "socks5h"} if find_spec("socksio") else set())
    return bool(re.fullmatch("[!-~]+", proxy) and parts.hostname) and parts.scheme in kinds and not parts.fragment


def _home(environ: MutableMapping[str, str], notes: list[str]) -> None:
    home = Path(environ.get("HOME") or os.path.expanduser("~"))
    if os.name == "nt" or (home.is_absolute() and home.is_dir() and os.access(home, os.W_OK | os.X_OK)):
        environ.setdefault("HOME", str(home))
        return
    token = home / ".cache" / "huggingface" / "token"
    if os.access(token, os.R_OK):
        environ.setdefault("HF_TOKEN_PATH", str(token))
    environ["HOME"] = str(_private("home"))
    notes.append(f"{home} cannot be written: caches are in {environ['HOME']}. Set HOME to keep them elsewhere.")


def _keras(environ: MutableMapping[str, str]) -> None:
    environ["KERAS_BACKEND"] = "tensorflow"
    home = Path(environ.get("KERAS_HOME") or Path(environ["HOME"]) / ".keras")
    try:
        config = json.loads((home / "keras.json").read_text("utf-8"))
        fits = all(config.get(key, value) == value for key, value in KERAS.items())
    except FileNotFoundError:
        return
    except (OSError, ValueError, AttributeError):
        fits = False
    if not fits:  # a home of our own, with the same downloaded networks
        own = _private("keras")
        with contextlib.suppress(OSError):
            (home / "models").mkdir(exist_ok=True)
            (own / "models").symlink_to(home / "models")
        environ["KERAS_HOME"] = str(own)


def _private(name: str) -> Path:
    """A folder for nobody else, the same in every process of this user as long as nobody else made it first."""
    user = os.geteuid() if hasattr(os, "geteuid") else "user"
    folder = Path(tempfile.gettempdir()) / f"animegan-{name}-{user}"
    with contextlib.suppress(OSError):
        folder.mkdir(mode=0o700, exist_ok=True)
        status = folder.lstat()
        if stat.S_ISDIR(status.st_mode) and (status.st_uid, status.st_mode & 0o77) == (user, 0):
            return folder
    return Path(tempfile.mkdtemp(prefix=f"animegan-{name}-"))


for _stream in (sys.stdout, sys.stderr):
    forgiving(_stream)
for _note in settle(os.environ):
    print(_note, file=sys.stderr)
