"""`python app.py` as a real process, its page in a real browser, and what one does there."""

import asyncio
import io
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from PIL import Image
from playwright.sync_api import Browser, ConsoleMessage, Page, Request, Route, expect

from animegan_app.stylize import DEFAULT_LONGEST_SIDE, Stylizer, read_photo
from hub_export import pixels
from hub_export.store import SETTING
from support.processes import free_port

ROOT = Path(__file__).parents[2]
PAGODA = ROOT / "tests" / "support" / "pagoda.jpg"
"""A pagoda in the Summer Palace, Beijing, by danielbuechele, 2011, CC BY 2.0: scikit-learn's `china.jpg`."""
REPO = "you/animegan-tiny"
CHROMIUM = "/usr/bin/chromium"
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
]
WAIT = 90_000  # milliseconds; TensorFlow may still be loading
REFUSED = "https://refused.example/"
"""What the test of the content policy has a page ask for."""
ASKED: WeakKeyDictionary[Page, set[Request]] = WeakKeyDictionary()
"""What each page has asked the server and has no answer to yet."""
STYLIZER = Stylizer()
"""For all drawings that are compared: what it keeps loaded, it finds by the folder and the weights' hash."""
expect.set_options(timeout=20_000)  # the machine may be busy with something else


class Server:
    """`python app.py` as a subprocess with its own temporary folder; bundled checkpoints are on offer too, if any.

    Args:
        settings: what its environment has besides.
    """

    def __init__(self, runs: Path, temporary: Path, program: tuple[str, ...] = (str(ROOT / "app.py"),), **settings: str):
        self.temporary = temporary
        port = free_port()
        self.url = f"http://127.0.0.1:{port}/"
        self.log = open(temporary / "log.txt", "w")  # noqa: SIM115  closed at the end
        self.process = subprocess.Popen(
            [sys.executable, *program, "--port", str(port)],
            cwd=temporary,  # as on a server, not the app's own folder
            env={name: value for name, value in os.environ.items() if name != "TF_NUM_INTRAOP_THREADS"}
            | {"ANIMEGAN_RUNS": str(runs), "GRADIO_TEMP_DIR": str(temporary / "gradio"), SETTING: ""}
            | {"HF_HOME": str(temporary / "hub"), "HF_HUB_CACHE": str(temporary / "hub" / "cache")}
            | {"HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
            | {"PYTHONPATH": str(ROOT)}
            | {"ANIMEGAN_HOSTS": "proxy.example"}  # visitors are told apart by what a proxy says
            | settings,
            stdout=self.log,
            stderr=subprocess.STDOUT,
        )
        deadline = time.monotonic() + 300
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                return
            except OSError:
                assert self.process.poll() is None and time.monotonic() < deadline, (temporary / "log.txt").read_text()
                time.sleep(0.05)

    def files(self) -> list[str]:
        """Names of what uploads and results left behind."""
        return sorted(path.name for path in (self.temporary / "gradio").rglob("*") if path.is_file())

    def __enter__(self) -> "Server":
        return self

    def __exit__(self, *error: object) -> None:
        self.process.terminate()
        self.process.wait(30)
        self.log.close()


def opened(
    browser: Browser,
    server: Server,
    width: int,
    height: int,
    locale: str = "en-GB",
    touch: bool = False,
    address: str = "",
    prepare: Callable[[Page], None] | None = None,
) -> Iterator[Page]:
    """The app's page; fails afterwards if it asked for anything beyond the server, or for what its content policy refuses.

    Args:
        address: what follows the server's own.
        prepare: is given the page before it is loaded.
    """
    strangers: list[str] = []
    refused: list[str] = []

    def watch(request: Request) -> None:
        if request.url.startswith("http") and not request.url.startswith(server.url):
            strangers.append(request.url)

    def listen(message: ConsoleMessage) -> None:
        if re.search("Content.Security", message.text) and REFUSED not in message.text:
            refused.append(message.text)

    context = browser.new_context(
        viewport={"width": width, "height": height}, accept_downloads=True, locale=locale, has_touch=touch, is_mobile=touch
    )
    context.set_default_timeout(WAIT)  # also of a click on what a drawing has to be waited for
    context.on("request", watch)  # a route would switch off the cache and double what it costs to open a page
    context.on("console", listen)
    page = context.new_page()
    asked = ASKED[page] = set()
    page.on("request", lambda request: asked.add(request) if request.method == "POST" else None)
    for end in ("requestfinished", "requestfailed"):
        page.on(end, lambda request: asked.discard(request))  # Playwright marks the function, which a method does not take
    if prepare:
        prepare(page)
    page.goto(server.url + address)
    expect(page.locator("#laboratory > button")).to_be_visible(timeout=WAIT)
    yield page
    context.close()
    assert strangers == []
    assert refused == []


def settled(page: Page) -> None:
    """Waits until the page has and shows all answers but drawings, which stream, and asks nothing more because of them."""
    frames = "new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done())))"
    deadline, quiet = time.monotonic() + WAIT / 1000, 0
    while quiet < 3:
        assert time.monotonic() < deadline, [request.post_data for request in ASKED[page]]
        page.evaluate(frames)
        quiet = 0 if ASKED[page] else quiet + 1


def laboratory(page: Page) -> None:
    """Opens the fold of experiments and checkpoints, if it is closed."""
    if not page.locator("#checkpoint input").is_visible():
        page.locator("#laboratory > button").click()


def choose(page: Page, dropdown: str, option: str) -> None:
    if dropdown in ("experiment", "checkpoint"):
        laboratory(page)
    page.locator(f"#{dropdown} input").click()
    page.locator(f"#{dropdown}").get_by_role("option", name=option).click()


def upload(page: Page, path: Path) -> None:
    page.set_input_files("#photo input[type=file]", path)


def remove(page: Page) -> None:
    page.locator("#photo-bar .remove").click()


def facts(page: Page, *texts: str) -> None:
    """Waits until the line of facts holds these texts."""
    for text in texts:
        expect(page.locator("#facts")).to_contain_text(text, timeout=WAIT)


def identity(page: Page, *texts: str) -> None:
    """Waits until the laboratory says that these have drawn."""
    laboratory(page)
    for text in texts:
        expect(page.locator("#identity")).to_contain_text(text, timeout=WAIT)


def downloaded(page: Page, name: str) -> np.ndarray:
    """What the download button gives, as soon as it is named `name`."""
    deadline = time.monotonic() + WAIT / 1000
    while True:
        with page.expect_download() as download:
            page.locator("#download").click()
        if download.value.suggested_filename == name:
            return np.asarray(Image.open(io.BytesIO(download.value.path().read_bytes())))
        assert time.monotonic() < deadline, download.value.suggested_filename
        page.wait_for_timeout(200)


def held(page: Page, data: str) -> Route:
    """Waits until the page sends something with this data, and keeps it from the server."""
    found: list[Route] = []

    def hold(route: Route) -> None:
        if not found and re.search(data, route.request.post_data or ""):
            found.append(route)
        else:
            route.fallback()

    page.route("**/gradio_api/**", hold)
    deadline = time.monotonic() + WAIT / 1000
    while not found:
        assert time.monotonic() < deadline, data
        page.wait_for_timeout(100)
    return found[0]


def accessible_names(page: Page) -> set[str]:
    """What a screen reader calls the parts that are on the screen now, apart from their text."""
    found = """[...document.querySelectorAll("*")].filter((each) => each.checkVisibility()).flatMap((each) =>
        ["aria-label", "title", "alt", "placeholder", "aria-valuetext"].map((name) => each.getAttribute(name)))"""
    return set(filter(None, page.evaluate(found)))


def finish(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Its result, from another thread: this one has the browser's event loop."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, coroutine).result()


def drawn(path: Path, folder: Path, longest_side: int = DEFAULT_LONGEST_SIDE) -> np.ndarray:
    return STYLIZER.stylize(pixels.limit_size(read_photo(path), longest_side), folder).anime
