"""What measures time, so that no other test may run beside it."""

import time

from playwright.sync_api import Browser, expect

from support.app import Server, opened


def test_first_page_opens_within_three_seconds(browser: Browser, server: Server) -> None:
    """Best of five: the machine may be busy, with TensorFlow too, which the first page makes the app load behind it."""
    seconds: list[float] = []
    while not seconds or (min(seconds) >= 3 and len(seconds) < 5):
        time.sleep(15 * bool(seconds))
        start = time.perf_counter()
        for page in opened(browser, server, width=1280, height=900):
            seconds.append(time.perf_counter() - start)
            expect(page.locator("#looks")).to_contain_text("Clean cel")  # in the person's language, once the page is up
    print("seconds to the first page:", seconds)
    assert min(seconds) < 3
