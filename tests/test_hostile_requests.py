"""Requests of strangers: none reads a file, shuts others out, or keeps the app from ending. A real server, real HTTP."""

import asyncio
import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr
import httpx
import numpy as np
import pytest
from gradio.state_holder import SessionState
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from PIL import Image

from animegan_app import door, uploads
from animegan_app.door import MAX_BYTES, MAX_WAITING, allowed, is_loopback, visitor
from animegan_app.photos import PhotoError
from animegan_app.ui import serving
from hub_export import environment
from support.app import PAGODA, ROOT, WAIT, Server, finish
from support.checkpoints import tiny_checkpoint
from support.pictures import encode, scene
from support.processes import ended

pytestmark = pytest.mark.long

GONE = "photo is no file that was uploaded here"
http = httpx.Client(trust_env=False, timeout=WAIT / 1000)
CANARY = (61, 47)
"""Width and height of a picture that nobody uploaded."""


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    runs = tmp_path_factory.mktemp("runs")
    tiny_checkpoint(runs / "tiny" / "epoch-001", seed=1)
    return runs


@pytest.fixture(scope="module")
def server(runs: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Apart from that of other tests, since some here keep it busy."""
    with Server(runs, tmp_path_factory.mktemp("server")) as server:
        yield server


@pytest.fixture(scope="module")
def canary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("private") / "canary.png"
    Image.fromarray(scene(*reversed(CANARY))).save(path)
    return path


def own_folder(server: Server) -> Path:
    (folder,) = (server.temporary / "gradio").glob(f"{uploads.PREFIX}*")
    return folder


def sent(server: Server, content: bytes, name: str = "photo.png", **headers: str) -> str:
    """Uploads and returns the path that the server tells."""
    answer = http.post(f"{server.url}gradio_api/upload", files={"files": (name, content)}, headers=headers)
    assert answer.status_code == 200, answer.text
    return str(answer.json()[0])


def called(server: Server, photo: object, key: object = "local/tiny/epoch-001", *rest: object, **headers: str) -> str:
    """What the endpoint for programs answers, as Gradio's events."""
    call = f"{server.url}gradio_api/call/stylize"
    data = [photo, key, *(rest or (512, 100, 0))]
    answer = http.post(call, content=json.dumps({"data": data}), headers={"Content-Type": "application/json", **headers})
    assert answer.status_code == 200, answer.text
    return http.get(f"{call}/{answer.json()['event_id']}", headers=headers).text


def joined(server: Server, function: int, data: list[object], session: str) -> str:
    """What a private function of the page answers, over the queue as the page asks it."""
    body = {"data": data, "fn_index": function, "session_hash": session, "event_data": None, "trigger_id": None}
    answer = http.post(f"{server.url}gradio_api/queue/join", json=body)
    if answer.status_code != 200:
        return answer.text
    address = f"{server.url}gradio_api/queue/data?session_hash={session}"
    told: list[str] = []
    with http.stream("GET", address) as lines:
        for line in lines.iter_lines():
            told.append(line)
            if "process_completed" in line or "heartbeat" in line:  # some answer nothing, or wait for what does not come
                break
    return "\n".join(told)


def foreign(path: Path, server: Server) -> list[object]:
    """A file of the server as a request may name it."""
    folder = own_folder(server)
    link = folder / f"{path.stem}-link.png"
    if not link.is_symlink():
        link.symlink_to(path)
    (folder / "linked").exists() or (folder / "linked").symlink_to(path.parent)
    meta = {"_type": "gradio.FileData"}
    return [
        {"path": str(path)},
        {"path": str(path), "meta": meta},
        {"path": str(path), "url": str(path), "orig_name": "photo.png", "meta": {"_type": "other"}},
        {"path": str(folder / ".." / ".." / ".." / str(path)[1:])},
        {"path": f"{folder}/../../../../../../../../..{path}"},
        {"path": str(link)},
        {"path": str(link), "meta": meta},
        {"path": str(folder / "linked" / path.name)},
        {"path": f"/proc/self/root{path}"},
        {"path": f"{server.url}gradio_api/file={path}"},
        {"path": f"https://example.org/gradio_api/file={folder}/%2e%2e/%2e%2e/%2e%2e{path}", "meta": meta},
        {"path": os.path.relpath(path, ROOT)},
        {"path": [str(path)]},
        {"path": {"path": str(path)}},
        {"image": {"path": str(path)}},
        [{"path": str(path)}],
        str(path),
        f"file://{path}",
    ]


def test_no_name_of_a_file_of_the_server_is_a_photo(server: Server, canary: Path) -> None:
    """And what is answered tells nobody whether there is such a file."""
    answers = [called(server, given) for given in foreign(canary, server)]
    others = [called(server, given) for given in foreign(canary.parent / "missing.png", server)]
    assert answers == others
    assert all(answer.startswith("event: error") and GONE in answer for answer in answers), answers
    own = own_folder(server)
    odd: list[object] = [None, 7, True, "", {}, {"path": ""}, {"path": "a\0b"}, {"path": "\ud800"}, {"path": "x" * 10_000}]
    odd += [{"path": str(own)}, {"path": "/dev/zero"}, {"path": "/proc/self/environ"}, {"path": f"{own}/{uploads.LOCK}/.."}]
    odd += [
        {"path": address, "meta": {"_type": "gradio.FileData"}} for address in ("http://127.0.0.1/", "https://example.org")
    ]
    for given in odd:
        answer = called(server, given)
        assert answer.startswith("event: error") and GONE in answer, (given, answer)


def test_no_function_of_the_page_reads_a_file_of_the_server(server: Server, canary: Path) -> None:
    functions = http.get(f"{server.url}config").json()["dependencies"]
    assert len(functions) > 20
    plain, marked, *_ = foreign(canary, server)
    wanted = json.dumps([str(canary), "local/tiny/epoch-001", 512])
    for function in functions:
        size = len(function["inputs"])
        for number, data in enumerate(([plain] * size, [wanted, None, plain, 0, 0, "png", plain][:size], [marked] * size)):
            if size and (number < 2 or function["backend_fn"]):
                joined(server, function["id"], data, f"s-{function['id']}-{number}")
    for path in own_folder(server).rglob("*.*"):
        if path.is_file() and not path.is_symlink():
            assert path.read_bytes() != canary.read_bytes()
            assert path.suffix not in (".png", ".jpg", ".webp") or Image.open(path).size != CANARY, path


def test_uploads_and_examples_are_photos(server: Server) -> None:
    content = encode(Image.fromarray(scene(40, 60)), "PNG")
    path = sent(server, content)
    meta, address = {"_type": "gradio.FileData"}, f"{server.url}gradio_api/file={path}"
    for given in (
        {"path": path},
        {"path": path, "meta": meta},
        {"path": str(uploads.FIRST[0])},
        {"path": address, "meta": meta},
    ):
        assert called(server, given).rpartition("event: ")[2].startswith("complete"), given
    status = os.stat(own_folder(server))
    assert status.st_mode & 0o777 == 0o700, "nobody else may look at them"


def test_odd_values_are_told_in_a_sentence(server: Server) -> None:
    photo = {"path": str(uploads.FIRST[0])}
    for values, sentence in [
        (({"a": 1}, 512, 100, 0), "is neither a key"),
        (("local/tiny/epoch-001\ud800", 512, 100, 0), "is neither a key"),
        (("local/tiny/epoch-001", "512", 100, 0), "must be one of"),
        (("local/tiny/epoch-001", [512], 100, 0), "must be one of"),
        (("local/tiny/epoch-001", None, 100, 0), "must be one of"),
        (("local/tiny/epoch-001", 512, None, 0), "strength must be"),
        (("local/tiny/epoch-001", 512, "100", 0), "strength must be"),
        (("local/tiny/epoch-001", 512, float("nan"), 0), "strength must be"),
        (("local/tiny/epoch-001", 512, 100, {}), "photo_colours must be"),
    ]:
        answer = called(server, photo, *values)
        assert answer.startswith("event: error") and sentence in answer, (values, answer)


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},
        {"Host": "localhost.evil.example:80"},
        {"Host": "127.0.0.1.evil.example"},
        {"Host": "0.0.0.0"},
        {"Host": "["},
        {"X-Forwarded-Host": "evil.example"},
        {"X-Forwarded-Host": "localhost, evil.example"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"},
    ],
)
def test_an_app_of_this_machine_answers_to_its_own_names_alone(server: Server, headers: dict[str, str]) -> None:
    for method, path in [("GET", ""), ("GET", "config"), ("POST", "gradio_api/upload"), ("OPTIONS", "gradio_api/upload")]:
        answer = http.request(method, server.url + path, headers=headers)
        assert answer.status_code == 403 and "ANIMEGAN_HOSTS" in answer.json()["detail"]
        assert "access-control-allow-origin" not in answer.headers


def test_own_names_are_those_of_the_loopback_and_of_the_owner(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    port = server.url.split(":")[-1].strip("/")
    for host in ("localhost", "127.0.0.1", "[::1]", "LOCALHOST", "app.localhost", "127.1.2.3"):
        headers = {"Host": f"{host}:{port}", "Origin": f"http://{host}:{port}"}
        assert http.get(f"{server.url}config", headers=headers).status_code == 200, host
    assert not is_loopback("localhost.example.org") and not is_loopback("::2") and is_loopback("[::1]")
    assert allowed("0.0.0.0") is None and allowed("192.168.1.2") is None and allowed("127.0.0.1") == ["127.0.0.1"]
    monkeypatch.setenv("ANIMEGAN_HOSTS", "pictures.example.org, other.example.org")
    assert allowed("0.0.0.0") == ["pictures.example.org", "other.example.org", "0.0.0.0"]


def test_one_visitor_leaves_places_to_others(server: Server) -> None:
    address = ("127.0.0.1", int(server.url.split(":")[-1].strip("/")))
    fields = ["Host: localhost", "X-Forwarded-For: 8.8.8.8", "Content-Length: 99", "", "{"]
    head = "\r\n".join(["POST /gradio_api/call/stylize HTTP/1.1", *fields])
    hanging = [socket.create_connection(address) for _ in range(MAX_WAITING + 8)]
    try:
        for connection in hanging:
            connection.sendall(head.encode())
        deadline, refused = time.monotonic() + 300, 0
        for connection in reversed(hanging):
            connection.settimeout(30 if refused < 8 else 0.1)
            try:
                refused += b" 429 " in connection.recv(2000)
            except TimeoutError:
                continue
            assert time.monotonic() < deadline
        assert refused == 8
        own = {"X-Forwarded-For": "9.9.9.9"}
        path = sent(server, encode(Image.fromarray(scene(41, 60)), "PNG"), **own)
        assert "event: complete" in called(server, {"path": path}, **own)
        spoofed = http.post(f"{server.url}gradio_api/upload", headers={"X-Forwarded-For": "1.1.1.1, 8.8.8.8"})
        assert spoofed.status_code == 429 and "Too many requests" in spoofed.json()["detail"]
    finally:
        for connection in hanging:
            connection.close()
    deadline = time.monotonic() + 30
    while http.post(f"{server.url}gradio_api/upload", headers={"X-Forwarded-For": "8.8.8.8"}).status_code == 429:
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_who_a_visitor_is(monkeypatch: pytest.MonkeyPatch) -> None:
    def who(peer: str, *forwarded: str) -> str:
        return visitor({"client": (peer, 1), "headers": [(b"x-forwarded-for", value.encode()) for value in forwarded]})

    assert who("10.0.0.1", "9.9.9.9") == "10.0.0.1", "without a proxy anybody could name anybody"
    monkeypatch.setenv("ANIMEGAN_HOSTS", "pictures.example.org")
    assert who("8.8.8.8", "9.9.9.9") == "8.8.8.8", "who is here directly names nobody else"
    assert who("10.0.0.1", "9.9.9.9") == "9.9.9.9"
    assert who("10.0.0.1", "1.1.1.1, 9.9.9.9, 10.0.0.2") == "9.9.9.9", "only the last one was added by a proxy of ours"
    assert who("10.0.0.1", "nonsense") == who("10.0.0.1") == "10.0.0.1"
    assert who("2a00:1450:4001:82b::200e") == who("2a00:1450:4001:82b:1::1") == "2a00:1450:4001:82b::/64"
    assert who("::ffff:8.8.8.8") == "8.8.8.8"
    assert visitor({"client": None, "headers": []}) == ""


def test_what_a_visitor_sends_is_not_kept() -> None:
    with serving.Blocks("a page", "") as page:
        box = gr.Textbox("at first")
    session = SessionState(page)
    session._update_value_in_config(box._id, "sent")
    assert "at first" in str(session.config_values) and "sent" not in str(session.config_values)


def test_a_request_is_of_a_bounded_size(server: Server) -> None:
    def endless() -> Iterator[bytes]:
        for _ in range(200):
            yield bytes(2**20)

    for path, most in [("call/stylize", MAX_BYTES), ("queue/join", MAX_BYTES), ("component_server", MAX_BYTES)]:
        answer = http.post(f"{server.url}gradio_api/{path}", content=b"[" * (most + 1))
        assert answer.status_code == 413, answer.text
    boundary = b'--x\r\nContent-Disposition: form-data; name="files"; filename="a.png"\r\n\r\n'
    for path in ("call/stylize", "upload"):
        start = time.monotonic()
        try:
            headers = {"Content-Type": "multipart/form-data; boundary=x"}
            content = (part for parts in ([boundary], endless()) for part in parts)
            answer = http.post(f"{server.url}gradio_api/{path}", content=content, headers=headers, timeout=60)
            assert answer.status_code in (400, 413, 415), answer.text
        except httpx.WriteError:  # it hung up
            pass
        assert time.monotonic() - start < 30
    for path in (
        "process_recording",
        "file=http://example.org/a.png",
        "file/http://example.org/a.png",
        "proxy=https://a.hf.space/",
        "deep_link?session_hash=a",
    ):
        assert http.get(f"{server.url}gradio_api/{path}").status_code == 404


def test_files_come_in_one_way_alone(server: Server) -> None:
    """A form that breaks off would leave its parts in the system's folder for ever, where Gradio takes one."""
    cut = b'--x\r\nContent-Disposition: form-data; name="files"; filename="a.png"\r\n\r\nabc'
    for kind in ("multipart/form-data; boundary=x", "Multipart/Form-Data; boundary=x"):
        answer = http.post(f"{server.url}gradio_api/component_server", content=cut, headers={"Content-Type": kind})
        assert answer.status_code == 415 and "/gradio_api/upload" in answer.json()["detail"]


def test_uploads_at_once_share_the_hour(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(door, "MAX_HOURLY_BYTES", 1000)
    taken: list[int] = []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        size = 0
        while (message := await receive())["type"] == "http.request":
            size += len(message["body"])
            taken.append(len(message["body"]))
            await asyncio.sleep(0)  # the others' turn

    async def upload() -> int:
        statuses: list[int] = []

        async def receive() -> Any:
            return {"type": "http.request", "body": bytes(100), "more_body": True}

        async def send(message: Any) -> None:
            statuses.append(message.get("status", 0))

        scope = {"type": "http", "method": "POST", "path": "/gradio_api/upload", "headers": [], "client": ("8.8.8.8", 1)}
        await entrance(scope, receive, send)
        return statuses[0]

    entrance = door.Door(application, None, lambda who: 0, lambda sentence, scope: str(sentence))

    async def four() -> list[int]:
        return await asyncio.gather(*(upload() for _ in range(4)))

    assert finish(four()) == [429] * 4
    assert sum(taken) == 1000
    assert finish(upload()) == 429


def test_what_is_old_or_too_much_is_deleted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "FOLDER", tmp_path)
    (tmp_path / uploads.LOCK).touch()
    for number in range(5):
        (tmp_path / f"{number}").mkdir()
        (tmp_path / f"{number}" / "photo.png").write_bytes(bytes(1000))
        time.sleep(0.05)
    example = str(tmp_path / "0" / "photo.png")

    def left() -> list[str]:
        return sorted(path.parent.name for path in tmp_path.glob("*/photo.png"))

    uploads.clean(3600, {example}, most=3500)
    assert left() == ["0", "2", "3", "4"], "the oldest went; the example stays and does not count"
    uploads.clean(3600, {example}, most=3500)
    assert left() == ["0", "2", "3", "4"]
    uploads.clean(0, {example})
    assert left() == ["0"] and (tmp_path / uploads.LOCK).exists()
    assert not (tmp_path / "4").exists()


def test_one_way_from_a_request_to_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "FOLDER", tmp_path.resolve())
    (tmp_path / "photo.png").touch()
    os.mkfifo(tmp_path / "pipe")
    assert uploads.take({"path": str(tmp_path / "photo.png")}) == tmp_path.resolve() / "photo.png"
    for given in ({"path": str(tmp_path / "pipe")}, {"path": str(tmp_path)}, {"path": f"{tmp_path}/../{tmp_path.name}2"}):
        with pytest.raises(PhotoError, match="The photo is no longer here"):
            uploads.take(given)
    with pytest.raises(PhotoError, match="The photo is no longer here"):
        uploads.take_all([1, {"a": [{"b": {"path": "/etc/passwd"}}]}])
    uploads.take_all([{"path": None, "url": None}, [[{}]], {"path": str(uploads.FIRST[0])}])


def test_a_browser_is_told_what_the_page_may_do(server: Server) -> None:
    headers = http.get(server.url).headers
    assert headers["x-content-type-options"] == "nosniff" and "default-src 'self'" in headers["content-security-policy"]


ODD = {
    "HTTP_PROXY": "http://127.0.0.1:9",
    "https_proxy": "http://127.0.0.1:9",
    "ALL_PROXY": "socks5://127.0.0.1:9",
    "FTP_PROXY": "nonsense",
    "KERAS_BACKEND": "jax",
    "PYTHONIOENCODING": "ascii",
    "HF_TOKEN": "hf_\udcff\n",
    "GRADIO_NUM_PORTS": "many",
    "SSL_CERT_FILE": "/nowhere/certificates.pem",
    "GRADIO_SERVER_NAME": "localhost",
    "ANIMEGAN_HUB": "you",
}


@pytest.mark.slow
def test_in_an_odd_environment_it_draws_ends_and_leaves_nothing(runs: Path, tmp_path: Path) -> None:
    """Killed, it leaves photos behind that are gone when it starts again; terminated, it ends though everything hangs."""
    (tmp_path / "home" / ".keras").mkdir(parents=True)
    (tmp_path / "home" / ".keras" / "keras.json").write_text('{"image_data_format": "channels_first", "backend": "torch"}')
    settings = ODD | {"HOME": str(tmp_path / "home")}
    settings["HF_TOKEN"] = os.fsdecode(b"hf_\xff\n")
    with Server(runs, tmp_path, **settings) as server:
        result = Client(server.url, verbose=False).predict(
            handle_file(PAGODA), "local/tiny/epoch-001", 512, api_name="/stylize"
        )
        assert np.asarray(Image.open(result[0])).shape == (342, 512, 3)
        with pytest.raises(AppError, match="is neither a key that"):
            Client(server.url, verbose=False).predict(handle_file(PAGODA), "hub/you/x/epoch-001", 512, api_name="/stylize")
        log = (tmp_path / "log.txt").read_text("ascii")
        assert "HF_TOKEN is left out" in log and "SSL_CERT_FILE is left out" in log and "Traceback" not in log
        left = own_folder(server)
        server.process.send_signal(signal.SIGKILL)
        server.process.wait()
        assert list(left.rglob("pagoda.jpg"))
    with Server(runs, tmp_path, **settings) as server:
        assert not left.exists(), "gone when the next one starts"
        path = sent(server, encode(Image.fromarray(scene(40, 60)), "PNG"))
        call = f"{server.url}gradio_api/call/stylize"
        http.post(call, json={"data": [{"path": path}, "local/tiny/epoch-001", 512, 100, 0]})
        deadline = time.monotonic() + 60
        while not (found := decoders(server.process.pid)):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        os.kill(found[0], signal.SIGSTOP)  # and with it the thread that draws
        path = sent(server, encode(Image.fromarray(scene(40, 61)), "PNG"))
        http.post(call, json={"data": [{"path": path}, "local/tiny/epoch-001", 512, 100, 0]})
        start = time.monotonic()
        server.process.terminate()
        assert server.process.wait(5) == 0 and time.monotonic() - start < 5
        os.kill(found[0], signal.SIGCONT)
        assert server.files() == []


def decoders(parent: int) -> list[int]:
    """Processes of a server that decode."""
    found = subprocess.run(["ps", "-o", "pid=,args=", "--ppid", str(parent)], capture_output=True, text=True).stdout
    return [int(line.split()[0]) for line in found.splitlines() if "animegan_app.decoding" in line]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--port", "70000"], "'70000' is no port: they are numbered from 1 to 65535"),
        (["--port", "0"], "'0' is no port"),
        (["--port", "http"], "'http' is no port"),
        (["--port", "TAKEN"], "is taken, perhaps by this app: name another one with --port, or none."),
        (["--host", "nobody.invalid"], "'nobody.invalid' is no name or address that is known here"),
        (["--host", "203.0.113.7"], "203.0.113.7 is no address of this machine"),
    ],
)
def test_where_it_cannot_listen_it_says_so(
    arguments: list[str], sentence: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from animegan_app.address import free_port

    with socket.create_server(("127.0.0.1", 0)) as taken:
        arguments = [str(taken.getsockname()[1]) if part == "TAKEN" else part for part in arguments]
        if "is no port" in sentence:
            assert sentence in ended(monkeypatch, capsys, *arguments)
            return
        given = dict(zip(arguments[::2], arguments[1::2], strict=True))
        with pytest.raises(SystemExit, match=re.escape(sentence)):
            free_port(given.get("--host", "127.0.0.1"), int(given["--port"]) if "--port" in given else None)


def has_ipv6() -> bool:
    """Whether this machine has it, and not only this Python."""
    with contextlib.suppress(OSError), socket.create_server(("::1", 0), family=socket.AF_INET6):
        return True
    return False


def test_ports_of_either_family_are_found() -> None:
    from animegan_app.address import PORTS, free_port

    assert free_port("127.0.0.1", None) in PORTS
    if has_ipv6():
        assert free_port("::1", None) in PORTS


def test_settings_of_other_programs_are_settled(tmp_path: Path) -> None:
    home = {"HOME": str(tmp_path)}

    def settled(**given: str) -> tuple[dict[str, str], list[str]]:
        environ = home | given
        return environ, environment.settle(environ)

    environ, notes = settled()
    assert environ == home | {"KERAS_BACKEND": "tensorflow"} and notes == []
    environ, notes = settled(ALL_PROXY="socks://127.0.0.1:1080/", NO_PROXY="example.org, [::1]")
    assert environ["ALL_PROXY"] == "socks5://127.0.0.1:1080/" and notes == []
    assert environ["NO_PROXY"] == environ["no_proxy"] == "example.org,::1,localhost,127.0.0.1"
    for proxy in (
        "socks4://a:1",
        "nonsense://a",
        "http://u:p#w@a:1",
        "http://a:port",
        "http://",
        "http://ä:1",
        "http://a b",
    ):
        environ, notes = settled(https_proxy=proxy)
        assert "https_proxy" not in environ and "https_proxy is left out" in notes[0], proxy
    for proxy in ("http://user:secret@proxy.example:3128", "proxy:3128", "socks5h://proxy:1080", "https://[::1]:8080"):
        environ, notes = settled(HTTP_PROXY=proxy)
        assert environ["HTTP_PROXY"] == proxy and notes == []
    assert "secret" not in str(settled(HTTP_PROXY="gopher://user:secret@proxy")[1])
    assert settled(HF_TOKEN="hf_abc\r\n ")[0]["HF_TOKEN"] == "hf_abc"
    for token in ("hf_\udcff", "hf_a\nb", "hf ä"):
        environ, notes = settled(HF_TOKEN=token)
        assert "HF_TOKEN" not in environ and token not in str(notes)
    for name in environment.NUMBERS:
        assert name not in settled(**{name: "ten"})[0] and settled(**{name: "10"})[0][name] == "10"
    assert "SSL_CERT_DIR" not in settled(SSL_CERT_DIR=str(tmp_path / "gone"))[0]

    (tmp_path / ".keras" / "models").mkdir(parents=True)
    for text in ('{"image_data_format": "channels_first"}', '{"floatx": "float16"}', '{"epsilon": 1}', "[]", "{"):
        (tmp_path / ".keras" / "keras.json").write_text(text)
        own = Path(settled()[0]["KERAS_HOME"])
        assert not (own / "keras.json").exists() or "channels_last" in (own / "keras.json").read_text()
        assert (own / "models").is_symlink()
    (tmp_path / ".keras" / "keras.json").write_text('{"backend": "jax", "floatx": "float32"}')
    assert "KERAS_HOME" not in settled()[0]

    (tmp_path / "file").touch()
    for gone in (str(tmp_path / "gone"), str(tmp_path / "file"), "relative"):
        environ = {"HOME": gone}
        (note,) = environment.settle(environ)
        assert (
            Path(environ["HOME"]).is_dir() and os.stat(environ["HOME"]).st_mode & 0o77 == 0 and "cannot be written" in note
        )


def test_text_that_a_terminal_lacks_is_written_all_the_same(tmp_path: Path) -> None:
    for encoding in ("ascii", "latin-1", "utf-8"):
        with (tmp_path / encoding).open("w", encoding=encoding) as stream:
            environment.forgiving(stream)
            stream.write("640 × 427 → 动漫, caf\udce9.jpg")
        assert (tmp_path / encoding).read_text(encoding).startswith("640 ")
    environment.forgiving(None)
