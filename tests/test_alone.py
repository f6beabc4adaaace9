"""What measures time, so that no other test may run beside it."""

import os
import time
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Browser, expect

from support.app import Server, opened
from train.batches import TrainingData
from train.settings import DataConfig


def rest(server: Server) -> None:
    """Waits until the server takes less than 0.2 s of CPU time in a second, for a minute at most: Gradio idles at 0.05 s."""
    stat, before = Path(f"/proc/{server.process.pid}/stat"), 0.0
    for _ in range(60):
        user, system = map(int, stat.read_text().rpartition(")")[2].split()[11:13])  # see proc(5)
        now = (user + system) / os.sysconf("SC_CLK_TCK")
        if now - before < 0.2:
            break
        before = now
        time.sleep(1)


def test_first_page_opens_within_three_seconds(browser: Browser, server: Server) -> None:
    """Best of five: the machine may be busy, with TensorFlow too, which the first page makes the app load behind it."""
    seconds: list[float] = []
    while not seconds or (min(seconds) >= 3 and len(seconds) < 5):
        if seconds:
            rest(server)
        start = time.perf_counter()
        for page in opened(browser, server, width=1280, height=900):
            seconds.append(time.perf_counter() - start)
            expect(page.locator("#looks")).to_contain_text("Clean cel")  # in the person's language, once the page is up
    print("seconds to the first page:", seconds)
    assert min(seconds) < 3


@pytest.mark.slow
def test_batches_are_let_go_of_at_once() -> None:
    """A tuner of TensorFlow's would be waited for, about as long again as they were drawn from."""
    photos, frames = (list(np.zeros((4, 40, 40, channels), np.uint8)) for channels in (3, 6))
    data = TrainingData(DataConfig(style="generated", size=32, holdout=0), photos, frames)
    drawn = iter(data.batches(2, seed=0))
    for _ in range(30):
        next(drawn)
        time.sleep(0.05)
    started = time.monotonic()
    del drawn
    assert time.monotonic() - started < 0.3
