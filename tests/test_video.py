"""The tab for clips, and what a clip and a large picture leave to others, with tiny real checkpoints."""

import asyncio
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, Route, expect

from animegan_app import enlarge
from animegan_app.catalog import Catalog
from animegan_app.clips import Clip, Limits
from animegan_app.photos import PhotoError
from animegan_app.studio import Studio
from hub_export.folder import FolderStore
from hub_export.record import Record
from hub_export.sentences import Sentence
from support.app import WAIT, Server, choose, opened
from support.checkpoints import tiny_checkpoint
from support.clips import read_clip, write_clip
from support.pictures import scene

KEY = "local/tiny/epoch-001"


@pytest.fixture
def studio(tmp_path: Path) -> Studio:
    tiny_checkpoint(tmp_path / "runs" / "tiny" / "epoch-001")
    return Studio(Catalog({"local": FolderStore(tmp_path / "runs")}))


def silent(done: float, doing: Sentence) -> None:
    """For a report nobody reads."""


async def until_begun(told: list[float]) -> None:
    for _ in range(1500):
        if told and told[-1] > 0:
            return
        await asyncio.sleep(0.02)
    raise AssertionError("it did not begin")


@pytest.mark.slow
def test_a_clip_and_a_large_picture_do_not_block_a_small_one(
    studio: Studio, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All three are under way at once, on one thread; who gives a clip up frees its place and leaves nothing."""
    monkeypatch.setattr(enlarge, "STRIP_PIXELS", 2000 * 4)
    clip = write_clip(tmp_path / "clip.mp4", [np.roll(scene(96, 160), shift, 1) for shift in range(120)], sound=None)
    for seed, size in enumerate([(1500, 2000), (40, 60), (40, 61)]):
        Image.fromarray(np.roll(scene(*size), seed)).save(tmp_path / f"{seed}.png")
    threads: set[str] = set()
    stylize = studio.stylizer.stylize

    def watched(photo: np.ndarray, folder: Path) -> object:
        threads.add(threading.current_thread().name)
        return stylize(photo, folder)

    monkeypatch.setattr(studio.stylizer, "stylize", watched)

    async def crowd() -> tuple[Clip, Record]:
        large = await studio.draw(tmp_path / "0.png", KEY, 512, silent)
        frames, strips = list[float](), list[float]()
        clipping = asyncio.create_task(
            studio.draw_clip(
                clip, tmp_path / "out.mp4", KEY, 384, 1, False, Limits(), lambda done, doing: frames.append(done)
            )
        )
        await until_begun(frames)
        finishing = asyncio.create_task(
            studio.finish(large, tmp_path / "0.png", 1, 0, lambda done, doing: strips.append(done))
        )
        await until_begun(strips)
        given_up = asyncio.create_task(
            studio.draw_clip(clip, tmp_path / "given up.mp4", KEY, 384, 1, False, Limits(), silent)
        )
        start = time.monotonic()
        for name in ("1.png", "2.png"):
            await studio.draw(tmp_path / name, KEY, 512, silent)
        small = time.monotonic() - start
        assert not clipping.done() and not finishing.done(), "both still had to go on"
        given_up.cancel()
        assert (await finishing).shape == (1500, 2000, 3)
        made = await clipping
        print(f"two small photos took {small:.2f} s beside a clip and a picture that took {time.monotonic() - start:.2f} s")
        while any(studio._lines.values()):  # then nobody writes any more
            assert time.monotonic() < start + 60
            await asyncio.sleep(0.02)
        return made

    made, record = asyncio.run(crowd())
    assert (made.frames, record.checkpoint) == (120, "epoch-001") and threads == {"drawing"}
    assert len(read_clip(tmp_path / "out.mp4")[0]) == 120
    assert not list(tmp_path.glob("*given up*")) and not any(studio._lines.values())


@pytest.mark.slow
def test_what_is_wrong_with_a_clip_is_told_and_the_next_is_drawn(studio: Studio, tmp_path: Path) -> None:
    (tmp_path / "text.mp4").write_text("I am no clip.")
    clip = write_clip(tmp_path / "clip.mp4", [scene(48, 80)] * 3, sound=None)

    def drawn(path: Path, side: int = 384) -> Clip:
        return asyncio.run(studio.draw_clip(path, tmp_path / "out.mp4", KEY, side, 1, False, Limits(), silent))[0]

    for path, side, sentence in (
        (tmp_path / "text.mp4", 384, "not a clip that can be read"),
        (clip, 100_000, "longest side must be one of 384"),
    ):
        with pytest.raises(PhotoError, match=sentence):
            drawn(path, side)
    assert drawn(clip).frames == 3


def test_the_tab_says_what_draws_however_early_it_is_opened(browser: Browser, server: Server) -> None:
    waiting: list[Route] = []
    holding = [True]

    def hold(route: Route) -> None:
        asked = '"data":' in (route.request.post_data or "")
        waiting.append(route) if holding and asked else route.fallback()

    for page in opened(browser, server, 1280, 900, prepare=lambda page: page.route("**/gradio_api/**", hold)):
        page.get_by_role("tab", name="Video").click()
        expect(page.locator("#clip-with")).to_contain_text("epoch-", timeout=WAIT)
        deadline = time.monotonic() + WAIT / 1000
        while not waiting:
            assert time.monotonic() < deadline, "nothing is asked"
            page.wait_for_timeout(50)
        holding.clear()
        for route in list(waiting):
            route.fallback()
        expect(page.locator("#clip-with")).to_contain_text("Draws with ", timeout=WAIT)


def test_a_clip_from_upload_to_download(page: Page, tmp_path: Path) -> None:
    tiles = np.kron(scene(9, 16), np.ones((10, 10, 1), np.uint8))
    clip = write_clip(tmp_path / "walk.mp4", [np.roll(tiles, shift, 1) for shift in range(8)])
    choose(page, "experiment", "other · local runs")
    page.get_by_role("tab", name="Video").click()
    expect(page.locator("#clip-with")).to_contain_text("Draws with other epoch-002")
    page.locator("#clip-draw").click()
    expect(page.get_by_text("Choose a clip first.")).to_be_visible(timeout=WAIT)
    (tmp_path / "text.mp4").write_text("I am no clip.")
    page.set_input_files("#clip input[type=file]", tmp_path / "text.mp4")
    expect(page.locator("#clip")).to_contain_text("text", timeout=WAIT)
    page.locator("#clip-draw").click()
    expect(page.get_by_text("not a clip that can be read")).to_be_visible(timeout=WAIT)
    page.locator("#clip").get_by_label("Remove this file").or_(page.locator("#clip").get_by_label("Clear")).first.click()
    page.set_input_files("#clip input[type=file]", clip)
    expect(page.locator("#clip")).to_contain_text("walk", timeout=WAIT)
    page.locator("#clip-side label", has_text="384").click()
    page.locator("#clip-strength input[type=number]").fill("0")
    page.locator("#clip-draw").click()
    expect(page.locator("#clip-facts")).to_contain_text("160 × 90 px · 0.3 s, 8 frames · other epoch-002", timeout=WAIT)
    video = page.locator("#clip-result video")
    expect(video).to_have_js_property("videoWidth", 160)
    with page.expect_download() as download:
        page.locator("#clip-result").get_by_label("Download").first.click()
    assert download.value.suggested_filename == "walk-other-epoch-002-strength-0.mp4"
    frames, _, heard = read_clip(Path(download.value.path()))
    assert len(frames) == 8 and heard > 0.2
    for found, given in zip(frames, read_clip(clip)[0], strict=True):
        assert np.abs(found.astype(int) - given).mean() < 12, "a strength of 0 is the clip itself"

    long = write_clip(tmp_path / "long.mp4", [np.roll(tiles, shift, 1) for shift in range(200)])
    page.locator("#clip").get_by_label("Remove this file").or_(page.locator("#clip").get_by_label("Clear")).first.click()
    page.set_input_files("#clip input[type=file]", long)
    expect(page.locator("#clip")).to_contain_text("long", timeout=WAIT)
    page.locator("#clip-draw").click()
    page.locator("#clip-cancel").click(timeout=WAIT)
    expect(page.locator("#clip-cancel")).to_be_hidden(timeout=WAIT)
    expect(page.locator("#clip-facts")).to_contain_text("0.3 s, 8 frames")  # the former clip is still there, with its facts
    expect(video).to_have_js_property("videoWidth", 160)
