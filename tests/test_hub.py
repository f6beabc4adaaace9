"""What stands between this machine and the Hub is told from what the Hub says: over real HTTP, through a real proxy."""

import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import huggingface_hub
import pytest

from hub_export.hub import explain
from hub_export.store import HubStore
from support.hub import HubServer
from support.language import translated

pytestmark = pytest.mark.slow

REPO = "you/animegan-tiny"
PAGE = {"Content-Type": "text/html; charset=utf-8"}
NOT_THE_HUB = "a proxy, a sign-in page or a wrong HF_ENDPOINT answers in place of the Hub"
NO_PASSWORD = "the proxy wants a user name and a password: HTTPS_PROXY=http://NAME:PASSWORD@HOST:PORT"


class Proxy(BaseHTTPRequestHandler):
    """Answers every request for any host, as its server's `behaviour` says."""

    def do_GET(self) -> None:
        behaviour = self.server.behaviour  # type: ignore[attr-defined]
        if behaviour == "portal" and "login.example" not in self.path:
            return self._send(302, b"", {"Location": "http://login.example/"})
        if behaviour == "portal":
            return self._send(200, b"\n<!DOCTYPE html><title>Welcome to our hotel</title>", PAGE)
        status = int(behaviour.split()[0])
        headers = {"Proxy-Authenticate": 'Basic realm="office"'} if status == 407 else {}
        return self._send(status, b"<html>ERROR</html>", headers | ({} if "bare" in behaviour else PAGE))

    do_HEAD = do_POST = do_CONNECT = do_GET

    def _send(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for key, value in (headers | {"Content-Length": str(len(body))}).items():
            self.send_header(key, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Tests print nothing."""


@pytest.fixture
def proxy(monkeypatch: pytest.MonkeyPatch) -> Iterator[ThreadingHTTPServer]:
    """A proxy that this process uses for every host."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Proxy)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    for name in ("HTTP_PROXY", "HTTPS_PROXY"):
        for written in (name, name.lower()):
            monkeypatch.setenv(written, f"http://user:secret@127.0.0.1:{server.server_port}")
    for name in ("NO_PROXY", "no_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_TOKEN", "hf_set_and_good")
    huggingface_hub.close_session()
    yield server
    server.shutdown()
    server.server_close()
    huggingface_hub.close_session()


def problem(cache: Path) -> str:
    store = HubStore([REPO], cache)
    store.refresh()
    (said,) = store.problems()
    translated(said)
    assert said.startswith(f"{REPO} ") and "secret" not in said and "hf_set" not in said
    return said.removeprefix(f"{REPO} ").removesuffix("; showing what is cached")


@pytest.mark.parametrize(
    ("behaviour", "scheme", "words"),
    [
        ("403", "http", f"{NOT_THE_HUB} (error 403)"),
        ("403 bare", "http", f"{NOT_THE_HUB} (error 403)"),
        ("403", "https", "the proxy does not connect to the Hub"),
        ("401", "http", f"{NOT_THE_HUB} (error 401)"),
        ("404", "http", f"{NOT_THE_HUB} (error 404)"),
        ("502", "http", f"{NOT_THE_HUB} (error 502)"),
        ("502", "https", "the proxy does not connect to the Hub"),
        ("407", "http", NO_PASSWORD),
        ("407", "https", NO_PASSWORD),
        ("200", "http", f"{NOT_THE_HUB} (a web page)"),
        ("200 bare", "http", f"{NOT_THE_HUB} (a web page)"),
        ("portal", "http", f"{NOT_THE_HUB} (a web page)"),
        ("portal", "https", "the proxy does not connect to the Hub"),
        ("511", "http", "this network wants you to sign in first; open any page in a browser"),
    ],
)
def test_a_proxy_is_not_taken_for_the_hub(
    proxy: ThreadingHTTPServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, behaviour: str, scheme: str, words: str
) -> None:
    proxy.behaviour = behaviour  # type: ignore[attr-defined]
    monkeypatch.setenv("HF_ENDPOINT", f"{scheme}://hub.example")
    assert problem(tmp_path) == f"cannot be asked now: {words}"


def test_a_proxy_that_is_away_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, proxy: ThreadingHTTPServer) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # bound, never listening
        for name in ("HTTPS_PROXY", "https_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{closed.getsockname()[1]}")
        monkeypatch.setenv("HF_ENDPOINT", "https://hub.example")
        huggingface_hub.close_session()
        assert problem(tmp_path) == "cannot be asked now: the Hub cannot be reached through the proxy of HTTPS_PROXY"
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{closed.getsockname()[1]}")
        huggingface_hub.close_session()
        assert problem(tmp_path) == "cannot be asked now: the Hub cannot be reached"


def test_a_certificate_that_is_not_trusted_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As behind a proxy that reads along."""
    names = ["-keyout", f"{tmp_path}/key", "-out", f"{tmp_path}/certificate", "-subj", "/CN=127.0.0.1"]
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", *names]
    subprocess.run(command, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "certificate", tmp_path / "key")
    server = ThreadingHTTPServer(("127.0.0.1", 0), Proxy)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    monkeypatch.setenv("HF_ENDPOINT", f"https://127.0.0.1:{server.server_port}")
    huggingface_hub.close_session()
    try:
        assert "the Hub's certificate is not trusted here" in problem(tmp_path)
    finally:
        server.shutdown()
        server.server_close()
        huggingface_hub.close_session()


FEW_FILES = """
import contextlib, os, resource, sys
from pathlib import Path
from hub_export.hub import connect
from hub_export.store import HubStore
store = HubStore(["you/animegan-tiny"], Path(sys.argv[1]))
store.refresh()
print(store.problems())
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
import huggingface_hub
huggingface_hub.close_session()
huggingface_hub.get_session()
with contextlib.suppress(OSError):
    while True:
        os.open("/dev/null", os.O_RDONLY)
store.refresh()
print(store.problems())
"""


def test_too_many_open_files_are_not_the_hubs_fault(hub: HubServer, tmp_path: Path) -> None:
    command = [sys.executable, "-c", FEW_FILES, str(tmp_path)]
    done = subprocess.run(command, env=hub.environment(), capture_output=True, text=True, check=True)
    before, after = done.stdout.splitlines()
    assert "is missing" in before and "too many files are open: raise the limit with ulimit -n" in after, done.stderr


def test_a_disk_that_refuses_is_told_with_its_remedy() -> None:
    for error, words in (
        (OSError(28, "No space left on device"), "cannot be stored: the disk is full: free some space"),
        (OSError(30, "Read-only file system"), "cannot be stored: the file system is read-only: choose another folder"),
        (OSError("Can't write data (file write failed: errno = 28, error message = 'No space')"), "was cut off on its way"),
    ):
        assert explain(error, REPO) == f"{REPO} {words}"
        translated(explain(error, REPO))
