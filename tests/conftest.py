import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
os.environ.setdefault("HF_HUB_DISABLE_XET", "1")  # the loopback Hub speaks LFS, not Xet
os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")  # two processes test at a time; the app's server keeps all cores

from collections.abc import Iterator
from pathlib import Path

import huggingface_hub
import pytest
from app_server import ARGUMENTS, CHROMIUM, REPO, Server, opened
from hub_server import HubServer
from playwright.sync_api import Browser, Page, sync_playwright
from test_stylize import tiny_checkpoint

from hub_export.publish import publish

LONGEST = (
    "test_hostile_requests.py",
    "test_distribute.py",
    "test_run.py",
    "test_trainer.py",
    "test_app.py",
    "test_sources.py",
    "test_compare.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files first, so that of two processes none has one of them left when the other is done."""
    items.sort(key=lambda item: LONGEST.index(item.path.name) if item.path.name in LONGEST else len(LONGEST))


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[HubServer]:
    """An empty Hub on the loopback, whose token this process has; the client's cache is temporary."""
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
def browser() -> Iterator[Browser]:
    assert Path(CHROMIUM).exists(), f"{CHROMIUM} is missing: apt-get install chromium"
    with sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    runs = tmp_path_factory.mktemp("runs")
    tiny_checkpoint(runs / "tiny" / "epoch-001", seed=1)
    tiny_checkpoint(runs / "tiny" / "epoch-002", seed=2, phase="adversarial", question="<img src=http://stranger.example/>")
    tiny_checkpoint(runs / "other" / "epoch-002", seed=3)
    tiny_checkpoint(runs / "spoiled" / "epoch-001", seed=5)
    (runs / "spoiled" / "epoch-001" / "model.weights.h5").write_bytes(b"spoiled")
    (runs / "broken" / "epoch-001").mkdir(parents=True)
    (runs / "broken" / "epoch-001" / "checkpoint.json").write_text("{")
    return runs


@pytest.fixture(scope="module")
def server(runs: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(runs, tmp_path_factory.mktemp("server")) as server:
        yield server


@pytest.fixture
def page(browser: Browser, server: Server) -> Iterator[Page]:
    yield from opened(browser, server, width=1280, height=900)


@pytest.fixture
def phone(browser: Browser, server: Server) -> Iterator[Page]:
    yield from opened(browser, server, width=390, height=844)


@pytest.fixture
def tiny_hub(hub: HubServer, runs: Path, monkeypatch: pytest.MonkeyPatch) -> HubServer:
    """Holds the run "tiny" and recommends its first checkpoint; this process is a visitor without a token."""
    publish(runs / "tiny", REPO, recommend="epoch-001", log=lambda line: None)
    monkeypatch.setenv("HF_TOKEN", "")
    hub.requests.clear()
    return hub
