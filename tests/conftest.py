"""Fixtures that several files share, and which tests are slow. What they are made of is in tests/support."""

import os
import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
os.environ.setdefault("HF_HUB_DISABLE_XET", "1")  # the loopback Hub speaks LFS, not Xet
os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
# Compiling takes a quarter of the time: nothing is optimised, and fusions are written by XLA itself, not through MLIR.
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false")
os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")  # two processes test at a time; the app's server keeps all cores

import pytest

if TYPE_CHECKING:  # otherwise imported by the fixture that needs it: a test of a loss needs neither browser nor Hub
    from playwright.sync_api import Browser, Page

    from support.app import Server
    from support.hub import HubServer

pytest.register_assert_rewrite("support")
SLOW_FIXTURES = {"browser", "hub", "server", "web"}


@pytest.hookimpl(tryfirst=True)  # before -m chooses by marks
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks tests that use a browser or a server as slow. Long files come first, then those with most slow tests, so that of
    two processes none begins a file of minutes when the other has nothing left."""
    for item in items:
        if SLOW_FIXTURES.intersection(getattr(item, "fixturenames", ())):
            item.add_marker("slow")
    slow = Counter(item.path for item in items if item.get_closest_marker("slow"))
    long = {item.path for item in items if item.get_closest_marker("long")}
    items.sort(key=lambda item: (item.path not in long, -slow[item.path]))


@pytest.fixture(autouse=True, scope="module")
def seeded() -> None:
    """Keras draws the seeds of initializers from here: a file's weights do not depend on the files before it."""
    random.seed(0)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator["HubServer"]:
    """An empty Hub on the loopback, whose token this process has; the client's cache is temporary."""
    import huggingface_hub

    from support.hub import HubServer

    with HubServer() as server:
        monkeypatch.setenv("HF_ENDPOINT", server.endpoint)
        monkeypatch.setenv("HF_TOKEN", server.token)
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "publisher's cache"))
        yield server


@pytest.fixture
def eager(request: pytest.FixtureRequest) -> Iterator[None]:
    """Steps run operation by operation: the same mathematics, without the seconds in which TensorFlow builds a graph."""
    import tensorflow as tf

    tf.config.run_functions_eagerly(getattr(request, "param", True))
    yield
    tf.config.run_functions_eagerly(False)


@pytest.fixture(scope="module")
def browser() -> Iterator["Browser"]:
    from playwright.sync_api import sync_playwright

    from support.app import ARGUMENTS, CHROMIUM

    assert Path(CHROMIUM).exists(), f"{CHROMIUM} is missing: apt-get install chromium"
    with sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three checkpoints to draw with, a spoiled one and a broken one."""
    from support.checkpoints import tiny_checkpoint

    runs = tmp_path_factory.mktemp("runs")
    tiny_checkpoint(runs / "tiny" / "epoch-001", seed=1)
    tiny_checkpoint(runs / "tiny" / "epoch-002", seed=2, phase="adversarial", question="<img src=http://stranger.example/>")
    tiny_checkpoint(runs / "other" / "epoch-002", seed=3)
    tiny_checkpoint(runs / "spoiled" / "epoch-001", seed=5)
    (runs / "spoiled" / "epoch-001" / "model.weights.h5").write_bytes(b"spoiled")
    (runs / "broken" / "epoch-001").mkdir(parents=True)
    (runs / "broken" / "epoch-001" / "checkpoint.json").write_text("{")
    return runs


@pytest.fixture(scope="session")
def server(runs: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator["Server"]:
    """The app, as a process of its own, for all files: who changes `runs` or starves it starts another."""
    from support.app import Server

    with Server(runs, tmp_path_factory.mktemp("server")) as server:
        yield server


@pytest.fixture
def page(browser: "Browser", server: "Server") -> Iterator["Page"]:
    from support.app import opened

    yield from opened(browser, server, width=1280, height=900)


@pytest.fixture
def phone(browser: "Browser", server: "Server") -> Iterator["Page"]:
    from support.app import opened

    yield from opened(browser, server, width=390, height=844)


@pytest.fixture
def tiny_hub(hub: "HubServer", runs: Path, monkeypatch: pytest.MonkeyPatch) -> "HubServer":
    """Holds the run "tiny" and recommends its first checkpoint; this process is a visitor without a token."""
    from hub_export.publish import publish
    from support.app import REPO

    publish(runs / "tiny", REPO, recommend="epoch-001", log=lambda line: None)
    monkeypatch.setenv("HF_TOKEN", "")
    hub.requests.clear()
    return hub
