"""The Compare and Experiments tabs as a person meets them: a real server, a real browser, no network but the loopback."""

import dataclasses
import io
import json
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, expect

from animegan_app.catalog import BUNDLED, SHIPPED, Catalog, FolderStore
from animegan_app.ui.compare.grid import HANDFUL, handful
from animegan_app.ui.experiments import render_card
from hub_export.checkpoint import write_record
from hub_export.record import CARD, HISTORY, read_record
from support.app import PAGODA, REPO, WAIT, Server, drawn, opened, settled
from support.checkpoints import tiny_checkpoint
from support.hub import HubServer
from support.pictures import scene

FAIL_TO_LOAD = "new Promise(done => Object.assign(new Image(), {onerror: () => done(), src: 'data:,'}))"
EVIL = "<img src=http://stranger.example/x.png onerror='window.ran=1'>"
CARD_TEXT = f"""---
license: other
---
# A stranger's card

{EVIL} <script>window.ran = 1</script>
![their picture](http://stranger.example/y.png) ![][again] [run](javascript:window.ran=1) [site](https://example.org/a)

| a | b |
| --- | --- |
| 1 | {EVIL} |

[again]: http://stranger.example/z.png
"""
ENDS = {"style_photos": 260.0, "style_anime": -5.0}


def rows(steps: range, **terms: float) -> str:
    return "".join(
        json.dumps(
            {"step": step, "epoch": 1, "phase": "warm-up" if step <= 20 else "adversarial", "content": 9 / step} | terms
        )
        + "\n"
        for step in steps
    )


@pytest.fixture(scope="module")
def laboratory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two experiments with histories, figures and a stranger's card; a third whose history is damaged."""
    folders = tmp_path_factory.mktemp("laboratory")
    one = {"loss": {"style_weight": 3.0, "content_weight": 1.5}, "note": EVIL}
    two = {"loss": {"style_weight": 10.0, "content_weight": 1.5}, "note": "plain"}
    for epoch, phase, figures in [
        (1, "warm-up", {"style": 200.0, "content": 0.02}),
        (2, "adversarial", {"style": 150.0, "content": 0.05, "style_error": 9.0}),
        (3, "adversarial", {"style": 90.0, "content": 0.11, "style_error": 8.0}),
    ]:
        folder = folders / "first" / f"epoch-{epoch:03d}"
        measured = {
            "metrics": figures | ENDS,
            "data": {"photos": 1, "anime": 1, "source": "", "terms": "", "measured": "On 48."},
        }
        tiny_checkpoint(folder, seed=epoch, phase=phase, step=20 * epoch, config=one, question=EVIL, **measured)
    (folders / "first" / HISTORY).write_text(rows(range(10, 61, 10), style=0.1))
    (folder / CARD).write_text(CARD_TEXT)
    write_record(folder, read_record(folder))
    tiny_checkpoint(folders / "second" / "epoch-001", seed=7, config=two)
    (folders / "second" / HISTORY).write_text(rows(range(10, 31, 10)))
    tiny_checkpoint(folders / "spoiled" / "epoch-001", seed=5)
    (folders / "spoiled" / "epoch-001" / HISTORY).write_text("no history")
    return folders


@pytest.fixture(scope="module")
def server(laboratory: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(laboratory, tmp_path_factory.mktemp("server")) as server:
        yield server


def show(page: Page, tab: str) -> None:
    page.get_by_role("tab", name=tab).click()


def pick(page: Page, dropdown: str, *options: str) -> None:
    """Chooses in a dropdown; from one that holds several, all others are taken out first."""
    if page.locator(f"#{dropdown} .token-remove.remove-all").count():
        page.locator(f"#{dropdown} .token-remove.remove-all").click()
    for option in options:
        page.locator(f"#{dropdown} input").click()
        page.locator(f"#{dropdown}").get_by_role("option", name=option, exact=True).click()
    page.locator(f"#{dropdown} input").blur()
    expect(page.get_by_role("option")).to_have_count(0)


def compare(page: Page, photo: Path = PAGODA) -> None:
    show(page, "Compare")
    page.set_input_files("#compare-photo input[type=file]", photo)
    expect(page.locator("#compare-photo img")).to_be_visible()


def saved(page: Page, button: str, name: str) -> Image.Image:
    expect(page.locator(f"#{button}")).to_be_enabled(timeout=WAIT)
    with page.expect_download() as download:
        page.locator(f"#{button}").click()
    assert download.value.suggested_filename == name
    return Image.open(io.BytesIO(download.value.path().read_bytes()))


def pixels_at(page: Page, selector: str) -> np.ndarray:
    """The picture that an img shows."""
    content = page.request.get(page.locator(selector).evaluate("image => image.src")).body()
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))


def test_a_grid_of_checkpoints_and_two_of_them_under_a_slider(page: Page, laboratory: Path) -> None:
    show(page, "Compare")
    page.locator("#fill").click()
    expect(page.get_by_text("Choose a photo first.")).to_be_visible()
    compare(page)
    pick(page, "chosen", "first epoch-001 · local runs", "spoiled epoch-001 · local runs", "second epoch-001 · local runs")
    page.locator("#fill").click()
    expect(page.locator("#grid-status")).to_contain_text("2 of 3 drawn", timeout=WAIT)
    expect(page.locator("#grid-status .notice")).to_contain_text(f"{HISTORY} is damaged")
    expect(page.locator("#grid .thumbnail-item")).to_have_count(3)
    expected = drawn(PAGODA, laboratory / "second" / "epoch-001", 512)
    np.testing.assert_array_equal(pixels_at(page, "#grid .thumbnail-item >> nth=2 >> img"), expected)
    sheet = np.asarray(saved(page, "get-sheet", "pagoda-sheet.png").convert("RGB"))
    width = expected.shape[1]
    found = np.lib.stride_tricks.sliding_window_view(sheet[:, :, 0], width, axis=1)
    assert (found == expected[0, :, 0]).all(axis=2).any(), "its first row is somewhere on the sheet"

    expect(page.locator("#pair img")).to_have_count(2)
    expect(page.locator("#pair").get_by_role("slider", name="Left ⇄ right")).to_be_visible()
    pick(page, "left", "first epoch-001 · local runs")
    pick(page, "right", "second epoch-001 · local runs")
    expect(page.locator("#pair img").last).to_have_attribute(
        "src", page.locator("#grid img").nth(2).get_attribute("src") or ""
    )
    shown = {pixels_at(page, f"#pair img >> nth={side}").tobytes() for side in (0, 1)}
    assert shown == {drawn(PAGODA, laboratory / name / "epoch-001", 512).tobytes() for name in ("first", "second")}
    page.locator("#grid .thumbnail-item").nth(1).click()
    expect(page.locator("#grid").get_by_role("button", name="Close")).to_be_visible()
    page.locator("#grid").get_by_role("button", name="Fullscreen").click()
    expect(page.locator("#grid")).to_have_class(re.compile("fullscreen"))
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Escape")
    expect(page.locator("#grid")).not_to_have_class(re.compile("fullscreen"))


def test_the_course_of_an_experiment_is_scrubbed_without_the_server(page: Page, laboratory: Path) -> None:
    compare(page)
    pick(page, "course-experiment", "first · local runs")
    page.locator("#draw-course").click()
    expect(page.locator("#course-status")).to_contain_text("3 of 3 drawn", timeout=2 * WAIT)
    expect(page.locator("#course img")).to_have_count(4)
    caption, range_ = page.locator("#course figcaption"), page.locator("#course input")
    expect(caption).to_have_text("epoch-003 · adversarial · step 60")
    page.wait_for_function("[...document.querySelectorAll('#course img')].every(i => i.complete && i.naturalWidth)")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if "/file=" in request.url else None)
    range_.press("Home")
    expect(caption).to_have_text("Photo")
    range_.press("ArrowRight")
    expect(caption).to_have_text("epoch-001 · warm-up · step 20")
    expect(range_).to_have_attribute("aria-valuetext", "epoch-001 · warm-up · step 20")
    expect(page.locator("#course img:visible")).to_have_count(1)
    assert asked == []
    expected = drawn(PAGODA, laboratory / "first" / "epoch-001", 512)
    np.testing.assert_array_equal(pixels_at(page, "#course img:visible"), expected)
    moving = saved(page, "get-course", "pagoda-first-epoch-003-course.webp")
    assert (moving.format, moving.n_frames) == ("WEBP", 4)


def test_what_differs_and_the_photo_of_the_first_tab(page: Page) -> None:
    page.set_input_files("#photo input[type=file]", PAGODA)
    show(page, "Compare")
    expect(page.locator("#compare-photo img")).to_be_visible()
    pick(page, "first", "first · local runs")
    pick(page, "second", "second · local runs")
    table = page.locator("#differences table")
    expect(table.locator("tbody tr")).to_have_count(2)
    expect(table).to_contain_text("loss.style_weight")
    expect(table).to_contain_text(EVIL)  # as text, not as a picture
    expect(table).not_to_contain_text("content_weight")
    pick(page, "second", "first · local runs")
    expect(page.locator("#differences")).to_have_text("They do not differ in any setting.")


def test_chinese_for_who_reads_it(browser: Browser, server: Server) -> None:
    for page in opened(browser, server, width=1280, height=900, locale="zh-CN"):
        show(page, "比较")
        expect(page.locator("#differences th").first).to_have_text("设置")
        page.locator("#fill").click()
        expect(page.get_by_text("请先选择照片。")).to_be_visible()
        show(page, "实验")
        plot = page.locator("#plane .js-plotly-plot")
        expect(plot).to_be_visible()
        texts = plot.evaluate("plot => plot.data.flatMap(trace => [...trace.text, trace.hovertemplate])")
        assert "epoch-001 · 预热" in texts and any("风格" in text for text in texts), texts


def test_cancel_keeps_what_is_drawn(page: Page, tmp_path: Path) -> None:
    Image.fromarray(scene(1500, 1500)).save(tmp_path / "large.png")
    compare(page, tmp_path / "large.png")
    page.locator("#compare-longest-side label", has_text="1536").click()
    bundled = sorted((BUNDLED / "repro-projected-laptop").iterdir())
    slow = [f"repro-projected-laptop {path.name} · bundled" for path in bundled]  # seconds each
    pick(page, "chosen", "first epoch-001 · local runs", *slow)
    page.locator("#fill").click()
    expect(page.locator("#grid .thumbnail-item")).to_have_count(2, timeout=WAIT)
    page.locator("#grid-cancel").click()
    expect(page.locator("#grid-cancel")).to_be_hidden()
    expect(page.locator("#get-sheet")).to_be_enabled(timeout=WAIT)  # the sheet of what was drawn, made after the end
    settled(page)
    assert 2 <= page.locator("#grid .thumbnail-item").count() < len(slow) + 2
    page.locator("#compare-longest-side label", has_text="512").click()
    pick(page, "chosen", "second epoch-001 · local runs")
    page.locator("#fill").click()
    expect(page.locator("#grid-status")).to_contain_text("1 of 1 drawn", timeout=WAIT)


def test_experiments_curves_and_a_point_that_leads_to_its_checkpoint(page: Page, laboratory: Path) -> None:
    show(page, "Experiments")
    overview = page.locator("#overview")
    expect(overview).to_contain_text(EVIL)
    expect(overview.get_by_role("row", name="first local runs")).to_contain_text("90 ± 8")
    pick(page, "overlaid", "first · local runs", "second · local runs", "spoiled · local runs")
    expect(page.locator("#notes")).to_contain_text(f"spoiled · local runs: {laboratory}/spoiled/epoch-001: {HISTORY}")
    expect(page.locator("#notes")).to_contain_text("On 48.")
    names = "plot => plot.data.map(trace => [trace.name, trace.yaxis, trace.x.length])"
    plot = page.locator("#losses .js-plotly-plot")
    expect(plot.locator(".annotation-text")).to_have_text(["content", "style", "eval_style"])
    assert plot.evaluate(names) == [
        ["first · local runs", "y", 6],
        ["second · local runs", "y", 3],
        ["first · local runs", "y2", 6],
        ["first · local runs", "y3", 3],
    ]
    pick(page, "terms", "eval_content")
    expect(plot.locator(".annotation-text")).to_have_text(["eval_content"])

    before = plot.evaluate("plot => plot.data[0].x.length")
    assert before == 3
    pick(page, "terms", "content")
    expect(plot.locator(".annotation-text")).to_have_text(["content"])
    with open(laboratory / "first" / HISTORY, "a") as file:
        file.write(rows(range(70, 101, 10)))
    page.wait_for_function("document.querySelector('#losses .js-plotly-plot').data[0].x.length === 10", timeout=WAIT)

    points = page.locator("#plane .point")
    expect(points).to_have_count(4)  # three checkpoints and the photos
    points.nth(1).scroll_into_view_if_needed()
    points.nth(1).click(force=True)  # Plotly's own layer lies over its points
    expect(page.locator("#checkpoint input")).to_be_visible()
    expect(page.locator("#experiment input")).to_have_value("first · local runs")
    expect(page.locator("#checkpoint input")).to_have_value("epoch-002 · adversarial")
    expect(page.locator("#about h2")).to_have_text("first epoch-002")


def test_samples_and_a_stranger_s_card(page: Page) -> None:
    show(page, "Experiments")
    pick(page, "looked-at", "first · local runs")
    expect(page.locator("#samples .thumbnail-item")).to_have_count(3)
    expect(page.locator("#samples")).to_contain_text("epoch-001 · warm-up")
    card = page.locator("#card")
    expect(card.locator("h1")).to_have_text("A stranger's card")
    expect(card).to_contain_text(EVIL)
    expect(card.locator("td")).to_have_count(2)
    expect(card.locator("img")).to_have_count(0)
    expect(card.locator("a[href]")).to_have_count(1)
    page.evaluate(FAIL_TO_LOAD)  # after any other picture has failed
    assert page.evaluate("window.ran") is None
    page.locator("#draw-with").click()
    expect(page.locator("#about h2")).to_have_text("first epoch-003")


def test_a_card_in_markdown_and_nothing_else() -> None:
    text = render_card(CARD_TEXT)
    assert "license" not in text and "<h1>A stranger&#x27;s card</h1>" in text.replace("'", "&#x27;")
    assert "<em>their picture</em>" in text and "<td>1</td>" in text
    assert "<img" not in text and "<script" not in text and "stranger.example" in text
    assert "href='https://example.org/a'" in text and "href='javascript" not in text


@pytest.mark.slow
def test_what_is_compared_unasked(tmp_path: Path) -> None:
    for number in range(HANDFUL + 2):
        tiny_checkpoint(tmp_path / f"run-{number}" / "epoch-001", metrics={"content": 0.01 * (number * 5 % 8)})
    catalog = Catalog({SHIPPED: FolderStore(BUNDLED), "local": FolderStore(tmp_path)})
    keys = handful(catalog)
    distances = [catalog.find(key).record.metrics["content"] for key in keys[1:]]
    offer = catalog.default()
    assert offer and keys[0] == offer.key and len(keys) == HANDFUL and distances == sorted(distances, reverse=True)
    assert min(distances) >= max(
        catalog.first(offers).record.metrics["content"]
        for offers in catalog.experiments().values()
        if catalog.first(offers).key not in keys
    )


def test_phone_width(phone: Page) -> None:
    compare(phone)
    pick(phone, "chosen", "second epoch-001 · local runs")
    phone.locator("#fill").click()
    expect(phone.locator("#grid-status")).to_contain_text("1 of 1 drawn", timeout=WAIT)
    assert phone.evaluate("document.documentElement.scrollWidth") <= 390
    grid = phone.locator("#grid")
    grid.locator(".thumbnail-item").nth(1).click()
    grid.get_by_role("button", name="Fullscreen").click()
    expect(grid).to_have_class(re.compile("fullscreen"))
    grid.get_by_role("button", name="Close").click()
    expect(grid).not_to_have_class(re.compile("fullscreen"))
    show(phone, "Experiments")
    expect(phone.locator("#plane .point").first).to_be_visible()
    box = phone.locator("#losses").bounding_box()
    assert box and box["width"] > 280
    assert phone.evaluate("document.documentElement.scrollWidth") <= 390


def test_sixty_checkpoints(browser: Browser, laboratory: Path, tmp_path: Path) -> None:
    original = laboratory / "second" / "epoch-001"
    for epoch in range(1, 61):
        folder = tmp_path / "runs" / "long" / f"epoch-{epoch:03d}"
        shutil.copytree(original, folder)
        names = {"experiment": "long", "checkpoint": folder.name, "epoch": epoch, "step": 10 * epoch}
        write_record(folder, dataclasses.replace(read_record(folder), **names))  # type: ignore[arg-type]
    Image.fromarray(scene(64, 96)).save(tmp_path / "small.png")  # what takes long with many is not the size
    with Server(tmp_path / "runs", tmp_path) as server:
        for page in opened(browser, server, width=1280, height=900):
            start = time.monotonic()
            show(page, "Experiments")
            pick(page, "looked-at", "long · local runs")
            expect(page.locator("#samples .thumbnail-item")).to_have_count(60, timeout=WAIT)
            print("seconds to sixty samples:", time.monotonic() - start)
            compare(page, tmp_path / "small.png")
            pick(page, "course-experiment", "long · local runs")
            page.locator("#draw-course").click()
            expect(page.locator("#course-status")).to_contain_text("60 of 60 drawn", timeout=4 * WAIT)
            expect(page.locator("#course img")).to_have_count(61)
            assert saved(page, "get-course", "small-long-epoch-060-course.webp").n_frames == 61


def test_nothing_is_downloaded_for_a_look(
    browser: Browser,
    tiny_hub: HubServer,
    laboratory: Path,
    tmp_path: Path,
) -> None:
    with Server(laboratory, tmp_path, ("app.py", "--hub", REPO)) as server:
        for page in opened(browser, server, width=1280, height=900):
            show(page, "Experiments")
            expect(page.locator("#overview")).to_contain_text(REPO, timeout=WAIT)
            pick(page, "overlaid", f"{REPO} · Hugging Face Hub")
            expect(page.locator("#notes")).to_contain_text("come with a checkpoint, and none is downloaded yet")
            pick(page, "looked-at", f"{REPO} · Hugging Face Hub")
            expect(page.locator("#card")).to_contain_text("This card is made from the record", timeout=WAIT)
            expect(page.locator("#card h1")).to_contain_text("tiny")
            show(page, "Compare")
            expect(page.locator("#chosen")).to_contain_text("second epoch-001")
            expect(page.locator("#chosen")).not_to_contain_text(REPO)
            got = [line for line in tiny_hub.requests if line.startswith("GET") and "/resolve/" in line]
            assert got and all(line.endswith("checkpoint.json") for line in got), got
