"""The Compare and Experiments tabs as a person meets them: a real server, a real browser, no network but the loopback."""

import csv
import dataclasses
import io
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, expect

from animegan_app.catalog import BUNDLED, SHIPPED, Catalog, FolderStore
from animegan_app.ui import build_demo
from animegan_app.ui.compare.grid import HANDFUL, handful
from animegan_app.ui.experiments.overview import _picture, verdict
from animegan_app.ui.experiments.single import _card, render_card
from animegan_app.ui.looks import choices, names_apart
from hub_export.checkpoint import write_record
from hub_export.record import CARD, HISTORY, SAMPLES, CheckpointError, read_record
from support.app import PAGODA, REFUSED, REPO, ROOT, WAIT, Server, accessible_names, drawn, opened, settled
from support.checkpoints import tiny_checkpoint
from support.hub import HubServer
from support.pictures import encode, scene
from train.run_folder import lock

pytestmark = pytest.mark.long

FAIL_TO_LOAD = "new Promise(done => Object.assign(new Image(), {onerror: () => done(), src: 'data:,'}))"
PROGRAM = "${Object.assign(window, {ran: 1})}"
"""Gradio runs a template as JavaScript, with what its braces name put in before."""
WATCH_SHIFTS = """{
    window.shifted = 0;
    const unasked = ({ hadRecentInput, value }) => (hadRecentInput ? 0 : value);
    const add = (list) => list.getEntries().forEach((shift) => { window.shifted += unasked(shift); });
    new PerformanceObserver(add).observe({ type: "layout-shift" });
}"""
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


def rows(steps: range, /, **terms: float) -> str:
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
        (2, PROGRAM, {"style": 150.0, "content": 0.05, "style_error": 9.0}),
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
    page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")  # Gradio fills it now


def pick(page: Page, dropdown: str, *options: str) -> None:
    """Chooses in a dropdown; from one that holds several, all others are taken out first."""
    if page.locator(f"#{dropdown} .token-remove.remove-all").count():
        page.locator(f"#{dropdown} .token-remove.remove-all").click()
    for option in options:
        page.locator(f"#{dropdown} input").click()
        page.locator(f"#{dropdown}").get_by_role("option", name=option, exact=True).click()
        page.locator(f"#{dropdown} input").blur()  # its list may lie over where the input is next
        expect(page.get_by_role("option")).to_have_count(0)


def unfold(page: Page, name: str) -> None:
    page.locator(f"#{name}-fold button").first.click()


def compare(page: Page, *photos: Path) -> None:
    show(page, "Compare")
    page.set_input_files("#compare-photos input[type=file]", photos or [PAGODA])
    expect(page.locator("#compare-photos")).to_contain_text((photos or [PAGODA])[0].stem)


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


def cell(row: int, column: int) -> str:
    """Of the grid, both from 1; column 1 is the photo."""
    return f"#grid tbody tr:nth-child({row}) > :nth-child({column})"


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """A wide one and a high one, and a file that is none."""
    folder = tmp_path_factory.mktemp("photos")
    Image.fromarray(scene(96, 160)).save(folder / "wide.png")
    Image.fromarray(scene(160, 96)).save(folder / "high.png")
    (folder / "broken.png").write_bytes(b"no picture")
    return [folder / "wide.png", folder / "broken.png", folder / "high.png"]


def test_photos_by_checkpoints_fill_a_grid_and_what_fails_says_so_in_its_cell(
    page: Page, laboratory: Path, photos: list[Path]
) -> None:
    compare(page, *photos)
    page.locator("#chosen .token-remove.remove-all").click()
    page.locator("#fill").click()
    expect(page.get_by_text("Choose at least one checkpoint.")).to_be_visible()
    pick(page, "chosen", "first epoch-001 · local runs", "spoiled epoch-001 · local runs", "second epoch-001 · local runs")
    page.evaluate(WATCH_SHIFTS)
    page.locator("#fill").click()
    expect(page.locator("#grid-status")).to_contain_text("4 of 9 drawn", timeout=WAIT)
    settled(page)
    assert page.evaluate("window.shifted") < 0.1, "the page keeps still while pictures come"
    expect(page.locator("#grid thead th b")).to_have_text(["Photo", "first", "spoiled", "second"])
    expect(page.locator("#grid tbody th")).to_contain_text(["wide.png", "broken.png", "high.png"])
    for row in (1, 3):
        for column, name in ((2, "first"), (4, "second")):
            expected = drawn(photos[row - 1], laboratory / name / "epoch-001", 512)
            np.testing.assert_array_equal(pixels_at(page, f"{cell(row, column)} img"), expected)
        expect(page.locator(cell(row, 3))).to_contain_text(
            f"Not drawn: {laboratory}/spoiled/epoch-001: {HISTORY} is damaged"
        )
    expect(page.locator(cell(2, 1))).to_contain_text("Not drawn: This file is not a picture")
    box, photo = page.locator(f"{cell(3, 2)} img").bounding_box(), page.locator(f"{cell(3, 1)} img").bounding_box()
    assert box and photo and box["height"] == photo["height"] > box["width"], "each row is as high as its photo asks for"
    page.locator("#grid .scroll").evaluate("place => place.scrollTo(50, 150)")
    heads = [page.locator(f"#grid {name}").bounding_box() for name in (".scroll", "thead th:first-child")]
    assert heads[0] and heads[1] and heads[0]["y"] == heads[1]["y"] and heads[0]["x"] == heads[1]["x"], "the heads stay"

    sheet = np.asarray(saved(page, "get-sheet", "photos-sheet.png").convert("RGB"))
    expected = drawn(photos[0], laboratory / "second" / "epoch-001", 512)
    found = np.lib.stride_tricks.sliding_window_view(sheet[:, :, 0], expected.shape[1], axis=1)
    assert (found == expected[0, :, 0]).all(axis=2).any(), "its first row is somewhere on the sheet"

    page.locator(f"{cell(1, 1)} button").focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")  # a cell without a picture takes no focus
    expect(page.get_by_role("button", name="Enlarge: first, wide.png")).to_be_focused()
    page.keyboard.press("ArrowDown")
    expect(page.get_by_role("button", name="Enlarge: first, wide.png")).to_be_focused()


def test_pictures_of_one_photo_are_enlarged_zoomed_and_moved_together(
    page: Page, laboratory: Path, photos: list[Path]
) -> None:
    compare(page, photos[0], photos[2])
    pick(page, "chosen", "first epoch-001 · local runs", "second epoch-001 · local runs")
    page.locator("#fill").click()
    expect(page.locator("#grid-status")).to_contain_text("4 of 4 drawn", timeout=WAIT)
    page.locator(f"{cell(1, 2)} button").click()
    viewer = page.get_by_role("dialog", name="Enlarged pictures")
    box = viewer.bounding_box()
    assert box == {"x": 0, "y": 0, "width": 1280, "height": 900}, "where one looks"
    windows, pictures = viewer.locator(".window"), viewer.locator(".window > *")
    expect(viewer.locator("figcaption")).to_have_text(["Photo", "first"])
    places = (
        "pictures => pictures.map(each => new DOMMatrix(getComputedStyle(each).transform)).map(({ a, e, f }) => [a, e, f])"
    )

    def together() -> list[float]:
        first, *others = pictures.evaluate_all(places)
        assert others and all(other == first for other in others)
        return list(first)

    assert together() == [1, 0, 0]
    page.keyboard.press("+")
    scale, x, y = together()
    assert scale == 1.5 and x < 0 and y < 0, "about the middle"
    page.keyboard.press("ArrowRight")
    assert together()[1] == x - 60
    page.keyboard.press("0")
    assert together() == [1, 0, 0]
    middle = windows.first.bounding_box()
    assert middle
    page.mouse.move(middle["x"] + 100, middle["y"] + 80)
    page.mouse.wheel(0, -300)
    assert together() == [1, 0, 0], "a wheel alone is no zoom"
    page.keyboard.down("Control")
    page.mouse.wheel(0, -300)
    page.keyboard.up("Control")
    page.wait_for_function("document.querySelector('.viewer output').textContent !== '100 %'")
    scale, x, y = together()
    assert scale > 2 and x == pytest.approx(100 * (1 - scale)) and y == pytest.approx(80 * (1 - scale)), "about the pointer"
    page.mouse.down()
    page.mouse.move(middle["x"] + 60, middle["y"] + 50)
    page.mouse.up()
    assert together() == pytest.approx([scale, x - 40, y - 30])
    viewer.get_by_role("button", name="Fit").click()
    viewer.get_by_role("button", name="Zoom in").click()
    assert together()[0] == 1.5

    viewer.get_by_role("button", name="second").click()
    viewer.get_by_role("button", name="Photo", exact=True).click()
    difference = viewer.get_by_role("button", name="Difference")
    difference.click()
    expect(difference).to_be_focused()
    expect(windows).to_have_count(3)
    assert together()[0] == 1.5
    one, other = (drawn(photos[0], laboratory / name / "epoch-001", 512).astype(int) for name in ("first", "second"))
    apart = np.abs(one - other).mean(axis=2)
    map_ = viewer.locator("canvas")
    expect(map_).to_have_attribute("aria-label", f"Difference: |first − second| · mean {apart.mean():.1f} / 255")
    expect(viewer.locator("figcaption").last).to_contain_text("96+ / 255")
    read = "map => [map.width, ...map.getContext('2d').getImageData(0, 0, map.width, map.height).data]"
    width, *values = map_.evaluate(read)
    light = np.reshape(values, (-1, width, 4))[..., :3].sum(axis=2)
    order = np.corrcoef(light.ravel(), np.minimum(apart, 96).ravel())[0, 1]
    assert light.shape == apart.shape and order > 0.9, "light where they differ"
    page.keyboard.press("PageDown")
    expect(viewer.locator("header")).to_contain_text("high.png")
    expect(map_).to_have_js_property("height", 160)
    expect(viewer.get_by_role("button", name="Next photo")).to_be_disabled()
    page.keyboard.press("Escape")
    expect(viewer).to_be_hidden()
    expect(page.locator(f"{cell(1, 2)} button")).to_be_focused()


def test_the_course_of_an_experiment_is_scrubbed_without_the_server(page: Page, laboratory: Path) -> None:
    compare(page)
    unfold(page, "course")
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
    range_.press("ArrowRight")
    expect(caption).to_have_text(f"epoch-002 · {PROGRAM} · step 40")
    assert page.evaluate("window.ran") is None, "a stranger's words are no program"
    range_.press("ArrowLeft")
    expect(page.locator("#course img:visible")).to_have_count(1)
    assert asked == []
    expected = drawn(PAGODA, laboratory / "first" / "epoch-001", 512)
    np.testing.assert_array_equal(pixels_at(page, "#course img:visible"), expected)
    moving = saved(page, "get-course", "pagoda-first-epoch-003-course.webp")
    assert (moving.format, moving.n_frames) == ("WEBP", 4)


def test_two_checkpoints_are_judged_blind_by_taps_and_keys(page: Page, laboratory: Path, tmp_path: Path) -> None:
    photos = [tmp_path / f"{name}.png" for name in ("a", "b", "c", "d")]
    for seed, path in enumerate(photos):
        Image.fromarray(np.roll(scene(96, 128), seed, axis=1)).save(path)
    (tmp_path / "broken.png").write_bytes(b"no picture")
    compare(page, *photos, tmp_path / "broken.png")
    unfold(page, "blind")
    pick(page, "blind-first", "first epoch-001 · local runs")
    pick(page, "blind-second", "first epoch-001 · local runs")
    page.locator("#blind-start").click()
    expect(page.get_by_text("Choose two different checkpoints.")).to_be_visible()
    pick(page, "blind-second", "second epoch-001 · local runs")
    page.locator("#blind-start").click()
    place = page.locator(".blind .place")
    expect(place).to_have_text("1 / 4 · Which is more of a drawing?", timeout=WAIT)
    expect(page.locator("#blind-status")).to_contain_text("broken.png")
    drawings = {
        (name, path.stem): drawn(path, laboratory / name / "epoch-001").tobytes()
        for name in ("first", "second")
        for path in photos
    }
    liked = []
    for number, key in enumerate(["tap", "ArrowRight", "ArrowDown", "ArrowLeft"], start=1):
        expect(place).to_contain_text(f"{number} / 4")
        sides = [pixels_at(page, f".blind [data-side={side}] img").tobytes() for side in ("left", "right")]
        names = [next(known for known, content in drawings.items() if content == side) for side in sides]
        assert {name for name, _ in names} == {"first", "second"} and names[0][1] == names[1][1], "one photo by both"
        address = page.locator(".blind [data-side=left] img").evaluate("image => image.src")
        assert "first" not in address and "second" not in address and "epoch" not in address
        if key == "tap":
            page.locator(".blind [data-side=left]").click()
        else:
            page.keyboard.press(key)
        liked += [names[1][0] if key == "ArrowRight" else names[0][0]] if key != "ArrowDown" else [""]
    first, second = liked.count("first"), liked.count("second")
    expect(page.locator(".blind .verdict p")).to_contain_text(f"first epoch-001 {first} : {second} second epoch-001")
    expect(page.locator(".blind .verdict p")).to_contain_text(f"{first / 3:.2f} ± {(first * second / 27) ** 0.5:.2f}")
    with page.expect_download() as download:
        page.get_by_role("link", name="Your answers as a table (CSV)").click()
    head, *answers = list(csv.reader(io.StringIO(download.value.path().read_text("utf-8"))))
    assert head == ["photo", "left", "right", "chosen"] and {row[0] for row in answers} == {path.name for path in photos}
    chosen = [dict(zip(head, row, strict=True)) for row in answers]
    assert [row[row["chosen"]].split()[0] if row["chosen"] else "" for row in chosen] == liked


def test_what_differs_and_the_photo_of_the_first_tab(page: Page) -> None:
    page.set_input_files("#photo input[type=file]", PAGODA)
    show(page, "Compare")
    expect(page.locator("#compare-photos")).to_contain_text("pagoda")
    unfold(page, "differences")
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
        page.locator("#chosen .token-remove.remove-all").click()
        page.locator("#fill").click()
        expect(page.get_by_text("请至少选择一个检查点。")).to_be_visible()
        unfold(page, "differences")
        expect(page.locator("#differences th").first).to_have_text("设置")
        show(page, "实验")
        expect(page.locator("#overview article").first).to_contain_text("清爽赛璐璐")
        room(page, "风格与内容")
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
    expect(page.locator("#grid tbody img")).to_have_count(2, timeout=WAIT)
    page.locator("#grid-cancel").click()
    expect(page.locator("#grid-cancel")).to_be_hidden()
    expect(page.locator("#get-sheet")).to_be_enabled(timeout=WAIT)  # the sheet of what was drawn, made after the end
    settled(page)
    assert 2 <= page.locator("#grid tbody img").count() < len(slow) + 2
    page.locator("#compare-longest-side label", has_text="512").click()
    pick(page, "chosen", "second epoch-001 · local runs")
    page.locator("#fill").click()
    expect(page.locator("#grid-status")).to_contain_text("1 of 1 drawn", timeout=WAIT)


def room(page: Page, name: str) -> None:
    page.locator("#experiments-tabs").get_by_role("tab", name=name).click()


def names(page: Page) -> list[str]:
    """Of the table's experiments, in order."""
    return page.locator("#overview tbody th").all_text_contents()


def test_experiments_as_cards_and_as_a_table_that_sorts_searches_and_exports(page: Page, laboratory: Path) -> None:
    show(page, "Experiments")
    card = page.locator("#overview article").filter(has=page.get_by_role("heading", name="first", exact=True))
    expect(card).to_contain_text(EVIL)
    expect(card).to_contain_text("64 ± 3 % of the way from photo to anime")
    expect(card.locator("img")).to_be_visible()
    cel = page.locator("#overview article").first
    expect(cel.get_by_role("heading")).to_have_text("Clean cel")
    expect(cel).to_contain_text("redraws anime frames")
    page.wait_for_function("document.querySelector('#overview img').naturalWidth === 512", timeout=WAIT)

    table = page.locator("#overview table")
    expect(table.get_by_role("row", name="Open: first")).to_contain_text("90 ± 8")
    sort = table.get_by_role("button", name="Style distance", exact=True)
    sort.press("Enter")
    expect(table.locator("th[aria-sort=ascending]")).to_contain_text("Style distance")
    order = names(page)
    assert order.index("cel") < order.index("first") < order.index("repro-1-laptop") < order.index("second"), "none is last"
    expect(table.get_by_role("button", name="Style distance ▲")).to_be_focused()
    page.keyboard.press("Enter")
    order = names(page)
    assert order.index("repro-1-laptop") < order.index("first") < order.index("cel") < order.index("second")
    table.get_by_role("button", name="What is Style distance").press("Enter")
    expect(page.locator("#overview .hint")).to_contain_text("Lower is more anime.")
    page.keyboard.press("Escape")
    expect(page.locator("#overview .hint")).to_be_hidden()

    page.get_by_role("searchbox", name="Search experiments").fill("window.ran")
    assert names(page) == ["first"], "also by what is hidden"
    page.locator("#overview summary").click()
    expect(table.get_by_role("columnheader", name="Question")).to_have_count(0)
    page.locator("#overview details").get_by_label("Question").check()
    expect(table.locator("td").first).to_have_text(EVIL)
    assert page.evaluate("window.ran") is None
    with page.expect_download() as download:
        page.get_by_role("button", name="CSV").click()
    head, row = csv.reader(io.StringIO(download.value.path().read_text("utf-8")))
    found = dict(zip(head, row, strict=True))
    assert found["experiment"] == "first" and float(found["style"]) == 90 and float(found["style_anime"]) == -5
    assert found["question"] == EVIL and found["measured"] == "epoch-003"
    page.get_by_role("searchbox", name="Search experiments").fill("")
    with page.expect_download() as download:
        page.get_by_role("button", name="JSON").click()
    exported = {each["experiment"]: each for each in json.loads(download.value.path().read_text("utf-8"))}
    assert exported["first"]["style_error"] == 8 and exported["second"]["measured"] is None
    page.get_by_role("searchbox", name="Search experiments").fill("nowhere")
    expect(page.locator("#overview .rows")).to_contain_text("No experiment has these words.")
    page.get_by_role("searchbox", name="Search experiments").fill("")

    table.get_by_role("button", name="Open: first").focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowUp")
    expect(table.get_by_role("button", name="Open: first")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#looked-at input")).to_have_value("first · local runs")
    expect(page.locator("#samples .thumbnail-item")).to_have_count(3)
    assert page.evaluate("document.documentElement.scrollHeight") < 2000
    room(page, "Overview")
    assert page.evaluate("document.documentElement.scrollHeight") < 2000
    card.get_by_role("button", name="Draw with it").click()
    expect(page.locator("#about h2")).to_have_text("first epoch-003")


def test_curves_and_a_point_that_leads_to_its_checkpoint(page: Page, laboratory: Path) -> None:
    show(page, "Experiments")
    room(page, "Curves")
    expect(page.locator("#overlaid .token")).to_have_count(4)
    pick(page, "overlaid", "first · local runs", "second · local runs", "spoiled · local runs")
    expect(page.locator("#notes")).to_contain_text(f"spoiled · local runs: {laboratory}/spoiled/epoch-001: {HISTORY}")
    series = "plot => plot.data.map(trace => [trace.name, trace.yaxis, trace.x.length])"
    plot = page.locator("#losses .js-plotly-plot")
    unfold(page, "terms")
    expect(page.locator("#terms .token")).to_have_text(["content", "eval_style", "style"])
    pick(page, "terms", "content", "style", "eval_style")
    expect(plot.locator(".annotation-text")).to_have_text(["content", "style", "eval_style"])
    assert plot.evaluate(series) == [
        ["first · local runs", "y", 6],
        ["second · local runs", "y", 3],
        ["first · local runs", "y2", 6],
        ["first · local runs", "y3", 3],
    ]
    expect(page.locator("#notes dt")).to_have_text(["content", "style", "eval_style"])
    expect(page.locator("#notes dd").last).to_contain_text("Lower is more anime.")
    assert page.evaluate("document.documentElement.scrollHeight") < 2000
    pick(page, "terms", "content")
    expect(plot.locator(".annotation-text")).to_have_text(["content"])
    with open(laboratory / "first" / HISTORY, "a") as file:
        file.write(rows(range(70, 101, 10)))
    page.wait_for_function("document.querySelector('#losses .js-plotly-plot').data[0].x.length === 10", timeout=WAIT)

    room(page, "Plane")
    expect(page.locator("#plane-notes")).to_contain_text("not all measured in the same way")
    page.locator("#plane-notes summary").click()
    expect(page.locator("#plane-notes")).to_contain_text("On 48.")
    found = page.locator("#plane .js-plotly-plot").evaluate(
        "plot => plot.data.map(trace => [trace.name, trace.error_y?.array])"
    )
    assert ["first · local runs", [0, 9, 8]] in found
    point = (
        page.locator("#plane .trace").nth([name for name, _ in found].index("first · local runs")).locator(".point").nth(1)
    )
    point.scroll_into_view_if_needed()
    assert page.evaluate("document.documentElement.scrollHeight") < 2000
    point.click(force=True)  # Plotly's own layer lies over its points
    expect(page.locator("#checkpoint input")).to_be_visible()
    expect(page.locator("#experiment input")).to_have_value("first · local runs")
    expect(page.locator("#about h2")).to_have_text("first epoch-002")


@pytest.mark.slow
@pytest.mark.parametrize("chart", ["losses", "plane"])
def test_one_event_alone_draws_a_chart(laboratory: Path, chart: str) -> None:
    """Of two at a time, what one takes for drawn could be what the other has just taken away; the page would stay empty."""
    config = build_demo(Catalog({"local": FolderStore(laboratory)})).get_config_file()
    [number] = [part["id"] for part in config["components"] if part["props"].get("elem_id") == chart]
    [event] = [event for event in config["dependencies"] if number in event["outputs"]]
    assert event["trigger_mode"] == "always_last", "the last choice's answer comes last"


def test_a_training_in_progress_tells_how_far_it_is_and_is_among_the_curves(page: Page, laboratory: Path) -> None:
    folder = laboratory / "going"
    folder.mkdir()
    held = lock(folder)
    try:
        (folder / "experiment.json").write_text(json.dumps({"question": f"Does it go? {EVIL}"}))
        (folder / HISTORY).write_text(rows(range(10, 131, 10), seconds=0.5, steps=660))
        show(page, "Experiments")
        trainings = page.locator("#trainings")
        expect(trainings).to_contain_text("going is running, step 130 of 660, 4 min left")
        expect(trainings).to_contain_text(f"Does it go? {EVIL}")
        room(page, "Curves")
        expect(page.locator("#overlaid .token").first).to_contain_text("going · local runs")
        points = (
            "(document.querySelector('#losses .js-plotly-plot')?.data.find(({ name }) => name.startsWith('going'))?.x.length"
        )
        page.wait_for_function(f"{points} === 13)", timeout=WAIT)
        with open(folder / HISTORY, "a") as file:
            file.write(rows(range(140, 151, 10), seconds=0.5, steps=660))
        expect(trainings).to_contain_text("step 150 of 660", timeout=WAIT)
        page.wait_for_function(f"{points} === 15)", timeout=WAIT)
        held.close()
        expect(trainings).to_have_text("", timeout=WAIT)
    finally:
        held.close()
        shutil.rmtree(folder)


def test_samples_and_a_stranger_s_card(page: Page) -> None:
    show(page, "Experiments")
    room(page, "Samples")
    pick(page, "looked-at", "first · local runs")
    expect(page.locator("#samples .thumbnail-item")).to_have_count(3)
    expect(page.locator("#samples")).to_contain_text("epoch-001 · warm-up")
    unfold(page, "card")
    card = page.locator("#card")
    expect(card.locator("h1")).to_have_text("A stranger's card")
    expect(card).to_contain_text(EVIL)
    expect(card.locator("td")).to_have_count(2)
    expect(card.locator("img")).to_have_count(0)
    expect(card.locator("a[href]")).to_have_count(1)
    page.evaluate(FAIL_TO_LOAD)  # after any other picture has failed
    assert page.evaluate("window.ran") is None
    with page.expect_console_message(lambda told: REFUSED in told.text and "Content Security" in told.text):
        refused = page.evaluate("address => fetch(address).then(() => '', String)", REFUSED)
    assert refused, "a page that was tricked into it sends nothing elsewhere"
    page.locator("#draw-with").click()
    expect(page.locator("#about h2")).to_have_text("first epoch-003")


def test_a_card_in_markdown_and_nothing_else() -> None:
    text = render_card(CARD_TEXT)
    assert "license" not in text and "<h1>A stranger&#x27;s card</h1>" in text.replace("'", "&#x27;")
    assert "<em>their picture</em>" in text and "<td>1</td>" in text
    assert "<img" not in text and "<script" not in text and "stranger.example" in text
    assert "href='https://example.org/a'" in text and "href='javascript" not in text


def test_what_a_stranger_s_checkpoint_links_to_is_not_shown(tmp_path: Path) -> None:
    folder = tmp_path / "runs" / "tiny" / "epoch-001"
    tiny_checkpoint(folder)
    catalog = Catalog({"local": FolderStore(tmp_path / "runs")})
    offer = catalog.find("local/tiny/epoch-001")
    assert "<h1>" in _card(catalog, offer, None)
    for name, secret in ((CARD, b"a token"), (SAMPLES, encode(Image.new("RGB", (64, 64)), "JPEG"))):
        (tmp_path / name).write_bytes(secret)
        (folder / name).unlink()
        (folder / name).symlink_to(tmp_path / name)
    assert _picture(catalog, offer) is None
    with pytest.raises(CheckpointError, match=r"README\.md"):
        _card(catalog, offer, None)


def test_how_far_a_checkpoint_came_is_said_in_words() -> None:
    record = read_record(BUNDLED / "repro-1-laptop" / "epoch-010")
    assert "%" in verdict(record, None), "what ships is measured, whatever the figures are"

    def told(**metrics: float) -> str:
        return verdict(dataclasses.replace(record, metrics=metrics), None)

    assert told() == "Not measured yet."
    assert told(style=90.0, style_error=8.0) == "Style distance 90 ± 8; lower is more anime."
    assert told(style=110.0, style_error=10.0, style_photos=210.0, style_anime=10.0).startswith("50 ± 5 % of the way")
    assert told(style=195.0, style_error=10.0, style_photos=210.0, style_anime=10.0).startswith(
        "Cannot be told from a photo"
    )
    style = {"style": 110.0, "style_error": 10.0, "style_photos": 210.0, "style_anime": 10.0}
    independent = {f"independent_{key}": value for key, value in (style | {"style": 206.0}).items()}
    as_a_photo = "Cannot be told from a photo by its textures: at most {} % of the way to anime."
    assert told(**style, **independent) == as_a_photo.format(12), "2 ± 5"
    assert told(**style | {"style": 222.0, "style_error": 20.0}) == as_a_photo.format(14), "-6 ± 10"
    assert told(**style | {"style": 234.0, "style_error": 12.0}) == as_a_photo.format(0), "-12 ± 6"
    assert re.match("Its textures are farther from anime .* by 20 ± 5 %", told(**style | {"style": 250.0}))


@pytest.mark.slow
def test_looks_and_one_plain_reference_are_compared_unasked(tmp_path: Path) -> None:
    for number in range(HANDFUL + 2):
        tiny_checkpoint(tmp_path / f"run-{number}" / "epoch-001")
    tiny_checkpoint(tmp_path / "repro-0" / "epoch-001")
    catalog = Catalog({SHIPPED: FolderStore(BUNDLED), "local": FolderStore(tmp_path)})
    *looks, reference = map(catalog.find, handful(catalog))
    offer = catalog.default()
    assert offer and looks[0].key == offer.key and len(looks) == HANDFUL - 1
    assert reference.name.startswith("repro-") and not any(look.name.startswith("repro-") for look in looks)


def test_phone_width(phone: Page, photos: list[Path]) -> None:
    compare(phone, photos[0], photos[2])
    pick(phone, "chosen", "first epoch-001 · local runs", "second epoch-001 · local runs")
    phone.evaluate(WATCH_SHIFTS)
    phone.locator("#fill").click()
    expect(phone.locator("#grid-status")).to_contain_text("4 of 4 drawn", timeout=WAIT)
    settled(phone)
    assert phone.evaluate("window.shifted") < 0.1
    assert phone.evaluate("document.documentElement.scrollWidth") <= 390
    phone.locator(f"{cell(1, 3)} button").click()
    viewer = phone.get_by_role("dialog", name="Enlarged pictures")
    above, below = viewer.locator(".window").all()
    one, other = above.bounding_box(), below.bounding_box()
    assert one and other and one["y"] + one["height"] < other["y"] < other["y"] + other["height"] < 844, "both at once"
    sides = "buttons => buttons.map(each => each.getBoundingClientRect()).flatMap(({ width, height }) => [width, height])"
    assert min(viewer.get_by_role("button").evaluate_all(sides)) >= 24
    viewer.get_by_role("button", name="Close").click()

    unfold(phone, "blind")
    pick(phone, "blind-first", "first epoch-001 · local runs")
    pick(phone, "blind-second", "second epoch-001 · local runs")
    phone.locator("#blind-start").click()
    expect(phone.locator(".blind .place")).to_contain_text("1 / 2", timeout=WAIT)
    phone.wait_for_function("[...document.querySelectorAll('.blind img')].every(image => image.complete)", timeout=WAIT)
    for part in (".original", "[data-side=left]", "[data-side=right]", ".neither"):
        box = phone.locator(f".blind {part}").bounding_box()
        assert box and box["y"] >= 0 and box["y"] + box["height"] <= 844, f"{part} is on the screen with the others"
    phone.locator(".blind .neither").click()
    phone.locator(".blind [data-side=left]").click()
    expect(phone.locator(".blind .verdict a")).to_be_visible()
    assert phone.evaluate("document.documentElement.scrollWidth") <= 390

    show(phone, "Experiments")
    for name, shows in [("Curves", "#losses .main-svg"), ("Plane", "#plane .point"), ("Overview", "article")]:
        room(phone, name)
        expect(phone.locator(shows).first).to_be_visible()
        width, height = phone.evaluate("[document.documentElement.scrollWidth, document.documentElement.scrollHeight]")
        assert width <= 390 and height < 2000, (name, width, height)
    assert min(phone.locator("#overview").get_by_role("button").evaluate_all(sides)) >= 24


@pytest.fixture
def long_run(laboratory: Path) -> Iterator[Path]:
    """Of thirty checkpoints."""
    original, long = laboratory / "second" / "epoch-001", laboratory / "long"
    for epoch in range(1, 31):
        folder = long / f"epoch-{epoch:03d}"
        shutil.copytree(original, folder)
        names = {"experiment": "long", "checkpoint": folder.name, "epoch": epoch, "step": 10 * epoch}
        write_record(folder, dataclasses.replace(read_record(folder), **names))  # type: ignore[arg-type]
    yield long
    shutil.rmtree(long)


@pytest.mark.usefixtures("long_run")
def test_many_checkpoints(page: Page, tmp_path: Path) -> None:
    Image.fromarray(scene(64, 96)).save(tmp_path / "small.png")  # what takes long with many is not the size
    show(page, "Experiments")
    room(page, "Samples")
    pick(page, "looked-at", "long · local runs")
    expect(page.locator("#samples .thumbnail-item")).to_have_count(30, timeout=WAIT)
    compare(page, tmp_path / "small.png")
    unfold(page, "course")
    pick(page, "course-experiment", "long · local runs")
    page.locator("#draw-course").click()
    expect(page.locator("#course-status")).to_contain_text("30 of 30 drawn", timeout=4 * WAIT)
    expect(page.locator("#course img")).to_have_count(31)
    assert saved(page, "get-course", "small-long-epoch-030-course.webp").n_frames == 31


def test_nothing_is_downloaded_for_a_look(
    browser: Browser,
    tiny_hub: HubServer,
    laboratory: Path,
    tmp_path: Path,
) -> None:
    with Server(laboratory, tmp_path, (str(ROOT / "app.py"), "--hub", REPO)) as server:
        for page in opened(browser, server, width=1280, height=900):
            show(page, "Experiments")
            expect(page.locator("#overview")).to_contain_text(REPO, timeout=WAIT)
            room(page, "Curves")
            pick(page, "overlaid", f"{REPO} · Hugging Face Hub")
            expect(page.locator("#notes")).to_contain_text("come with a checkpoint, and none is downloaded yet")
            room(page, "Samples")
            pick(page, "looked-at", f"{REPO} · Hugging Face Hub")
            unfold(page, "card")
            expect(page.locator("#card")).to_contain_text("This card is made from the record", timeout=WAIT)
            expect(page.locator("#card h1")).to_contain_text("tiny")
            show(page, "Compare")
            expect(page.locator("#chosen")).to_contain_text("ink epoch-001")
            expect(page.locator("#chosen")).not_to_contain_text(REPO)
            got = [line for line in tiny_hub.requests if line.startswith("GET") and "/resolve/" in line]
            assert got and all(line.endswith("checkpoint.json") for line in got), got


def test_a_name_that_two_share_is_followed_by_what_parts_them(tmp_path: Path) -> None:
    look = {"name": "Plain", "name_zh": "朴素"}
    for place in ("a", "b"):
        for checkpoint in ("epoch-001", "epoch-002"):
            tiny_checkpoint(tmp_path / place / "one" / checkpoint, look=look)
    tiny_checkpoint(tmp_path / "a" / "two" / "epoch-001")
    catalog = Catalog({SHIPPED: FolderStore(tmp_path / "a"), "local": FolderStore(tmp_path / "b")})

    def named(*keys: str) -> list[str]:
        return names_apart([catalog.find(key) for key in keys], None)

    assert named("bundled/one/epoch-001", "bundled/two/epoch-001") == ["Plain", "two epoch-001"]
    assert named("bundled/one/epoch-001", "bundled/one/epoch-002") == ["Plain · epoch-001", "Plain · epoch-002"]
    assert named("bundled/one/epoch-001", "local/one/epoch-001") == ["Plain · bundled", "Plain · local runs"]
    three = named("bundled/one/epoch-001", "bundled/one/epoch-002", "local/one/epoch-002")
    assert three == ["Plain · epoch-001", "Plain · epoch-002 · bundled", "Plain · local runs"]
    assert ("Plain · one epoch-001 · bundled", "bundled/one/epoch-001") in choices(catalog.experiments(), None)
    looks = [catalog.find(key).record.look.get("name") for key in handful(catalog)]
    assert looks == ["Plain", None], "each look once"


def test_nothing_moves_where_a_tab_is_opened_first_and_every_name_is_words(
    browser: Browser, server: Server, photos: list[Path]
) -> None:
    for page in opened(browser, server, width=1024, height=768, locale="zh-CN"):
        called: set[str] = set()
        page.evaluate(WATCH_SHIFTS)
        for tab in ("compare", "video", "experiments", "sources"):
            page.evaluate("window.shifted = 0")
            page.locator(f"#{tab}-button").click()
            if tab == "compare":
                page.set_input_files("#compare-photos input[type=file]", photos[0])
                expect(page.locator("#compare-photos")).to_contain_text("wide")
            if tab == "experiments":
                expect(page.locator("#overview article").first).to_be_visible(timeout=WAIT)
                for name, shows in [("曲线", "#losses .main-svg"), ("样例", "#samples img"), ("总览", "article")]:
                    room(page, name)
                    expect(page.locator(shows).first).to_be_visible(timeout=WAIT)
                    called |= accessible_names(page)
            settled(page)
            called |= accessible_names(page)
            assert page.evaluate("window.shifted") < 0.1, tab
        strange = {name for name in called if not re.search("[一-鿿]", name)}
        assert "上传" in called and strange <= {"wide.png"}, strange
        numbered = {name for name in called if re.search(r"(移除|Remove) \d+$", name)}
        assert not numbered, "it is told what is taken out"
