"""The app as a person meets it: a real server process, a real browser, no network but the loopback."""

import base64
import io
import json
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, Locator, Page, Route, expect

from animegan_app import ui, uploads
from animegan_app.catalog import BUNDLED, SHIPPED, Catalog
from animegan_app.enlarge import enlarge
from animegan_app.studio import THUMBNAIL_SIDE
from animegan_app.stylize import blend, read_photo
from animegan_app.ui.looks import is_look
from hub_export.folder import FolderStore
from hub_export.record import read_record
from support.app import (
    PAGODA,
    ROOT,
    WAIT,
    Server,
    choose,
    downloaded,
    drawn,
    facts,
    finish,
    identity,
    laboratory,
    opened,
    remove,
    settled,
    upload,
)
from support.checkpoints import tiny_checkpoint
from support.pictures import encode, png_header, scene

pytestmark = pytest.mark.long


@pytest.mark.slow
def test_importing_the_app_is_enough_for_a_space_and_loads_no_tensorflow() -> None:
    program = (
        "import sys, app, gradio\n"
        "assert isinstance(app.demo, gradio.Blocks)\n"
        "assert not {'tensorflow', 'keras', 'train'} & set(sys.modules)\n"
        "assert not app.demo.analytics_enabled\n"
    )
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True, timeout=300)


def test_upload_to_download(page: Page, server: Server, runs: Path) -> None:
    choose(page, "experiment", "other · local runs")
    upload(page, PAGODA)
    facts(page, "other epoch-002", "640 × 427 px")
    identity(page, "other epoch-002", "drawn at 640 × 427 px", "weights")
    pictures = page.locator("#slider img")
    expect(pictures).to_have_count(2)
    for picture in pictures.all():  # loaded after what the facts say
        expect(picture).to_have_js_property("naturalWidth", 640)
        expect(picture).to_have_js_property("naturalHeight", 427)
    anime = downloaded(page, "pagoda-other-epoch-002.png")
    np.testing.assert_array_equal(anime, drawn(PAGODA, runs / "other" / "epoch-002"))


def test_the_first_sight_is_a_result(page: Page) -> None:
    """The picture and its looks are drawn beforehand: they are there before TensorFlow is."""
    expect(page.locator("#facts")).to_contain_text("An example.")
    expect(page.locator("#checkpoint input")).to_be_hidden()
    expect(page.locator("#looks").get_by_role("radio", name="Clean cel")).to_be_checked()
    expect(page.locator("#looks .about")).to_contain_text("Flat colours")
    expect(page.locator("#download")).to_be_disabled()
    for picture in page.locator("#slider img").all():
        expect(picture).to_have_js_property("naturalWidth", 768)
    photo, shown = (np.asarray(Image.open(path), np.float32) for path in uploads.FIRST)
    redrawn = drawn(uploads.FIRST[0], ROOT / "animegan_app/checkpoints/cel/epoch-025")
    assert np.abs(shown - redrawn).mean() < 3 < np.abs(shown - photo).mean(), "what the checkpoint draws, as a JPEG"
    shipped = [path.parent for path in BUNDLED.glob("*/*") if is_look(read_record(path))]
    thumbnails = page.locator("#looks label:not(.stale) img:not([hidden])")
    expect(thumbnails).to_have_count(len(shipped))
    for folder in shipped:
        small = drawn(uploads.FIRST[0], next(folder.iterdir()), THUMBNAIL_SIDE)
        content = uploads.FIRST[1].with_name(f"{folder.name}.jpg").read_bytes()
        assert np.abs(np.asarray(Image.open(io.BytesIO(content)), np.float32) - small).mean() < 5
        held = base64.b64encode(content).decode()
        assert page.locator(
            f"#looks label:has([value='{SHIPPED}/{folder.name}/{next(folder.iterdir()).name}']) img"
        ).evaluate("(image, held) => image.src.endsWith(held)", held)


def test_choosing_changes_the_picture_and_what_is_said(page: Page, runs: Path) -> None:
    upload(page, PAGODA)
    facts(page, "640 × 427 px")
    choose(page, "experiment", "tiny · local runs")
    facts(page, "tiny epoch-002")
    expect(page.locator("#about")).to_contain_text("adversarial phase")
    expect(page.locator("#about")).to_contain_text("<img src=http://stranger.example/>")  # as text, not as a picture
    choose(page, "checkpoint", "epoch-001 · warm-up")
    facts(page, "tiny epoch-001")
    page.locator("#longest-side label", has_text="512").click()
    identity(page, "drawn at 512 × 342 px")
    facts(page, "The download has 640 × 427 px")
    expect(page.locator("#longest-side label").first).to_have_text(re.compile(r"Bold · 512 px · \d+\.\d s"))
    anime = downloaded(page, "pagoda-tiny-epoch-001.png")
    np.testing.assert_array_equal(anime, enlarge(drawn(PAGODA, runs / "tiny" / "epoch-001", 512), (640, 427)))


def test_looking_at_the_experiments_keeps_the_checkpoint(page: Page) -> None:
    choose(page, "experiment", "tiny · local runs")
    choose(page, "checkpoint", "epoch-001 · warm-up")
    expect(page.locator("#about h2")).to_have_text("tiny epoch-001")
    page.locator("#experiment input").click()
    expect(page.get_by_role("option", name="tiny · local runs")).to_be_visible()
    page.locator("#title").click()
    settled(page)
    expect(page.locator("#checkpoint input")).to_have_value("epoch-001 · warm-up")


def test_two_clicks_from_opening_to_a_picture_worth_keeping(page: Page) -> None:
    examples = page.locator("#photo-examples .gallery-item")
    expect(examples).to_have_count(6)
    expect(examples.last).to_have_attribute("data-name", "Street")
    written = examples.evaluate_all("all => all.map((each) => getComputedStyle(each, '::after').content.slice(1, -1))")
    assert written == ["Food", "Animals", "Face", "Landscape", "Night", "Street"]
    page.get_by_role("button", name="Street").click()
    with page.expect_download(timeout=WAIT) as download:
        page.locator("#download").click()  # as soon as there is something to download
    assert download.value.suggested_filename == "street-cel-epoch-025.png"
    kept = np.asarray(Image.open(download.value.path()), np.float32)
    photo = read_photo(uploads.FIRST[0])
    assert kept.shape == photo.shape and np.abs(kept - photo).mean() > 5
    facts(page, "768 × 512 px")
    expect(page.locator("#photo-bar")).to_contain_text("Another photo")
    remove(page)
    facts(page, "An example.")
    expect(page.locator("#photo-bar")).to_contain_text("Choose a photo")
    expect(page.locator("#slider img").first).to_have_js_property("naturalWidth", 768)
    expect(page.locator("#download")).to_be_disabled()


def test_bad_files_are_refused_in_words(page: Page, tmp_path: Path) -> None:
    upload(page, PAGODA)
    facts(page, "640 × 427 px")
    for content, sentence in (
        (b"I am no picture.", "not a picture that can be read: choose a photo saved as JPEG"),
        (PAGODA.read_bytes()[:20_000], "damaged or cut off"),
        (png_header(30_000, 30_000), "too many pixels: scale it down"),
        (encode(Image.new("RGB", (20_000, 10)), "PNG"), "strip of 20000 × 10 pixels: crop it"),
    ):
        shown = page.locator("#slider img").nth(1).get_attribute("src")
        (tmp_path / "photo.jpg").write_bytes(content)
        upload(page, tmp_path / "photo.jpg")
        expect(page.get_by_role("alert").filter(has_text=sentence)).to_be_visible(timeout=WAIT)
        expect(page.locator("#slider img").nth(1)).to_have_attribute("src", shown or "")
        expect(page.locator("#looks .stale")).to_have_count(page.locator("#looks label").count())
        upload(page, PAGODA)
        facts(page, "640 × 427 px")
        expect(page.locator("#looks .stale")).to_have_count(0, timeout=WAIT)


def test_unusual_files_are_drawn_as_a_person_sees_them(page: Page, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held upright
    Image.fromarray(scene(40, 60)).save(tmp_path / "upright.jpg", exif=exif)
    frames = [Image.new("P", (50, 30), colour) for colour in (3, 9)]
    frames[0].save(tmp_path / "animated.gif", save_all=True, append_images=frames[1:])
    Image.new("CMYK", (35, 25), (255, 0, 0, 0)).save(tmp_path / "print.jpg")
    Image.new("RGBA", (1, 1), (9, 9, 9, 9)).save(tmp_path / "dot.png")
    (tmp_path / "phone.HEIC").write_bytes(encode(Image.fromarray(scene(64, 96)), "HEIF"))
    for name, size in (
        ("upright.jpg", "40 × 60"),
        ("animated.gif", "50 × 30"),
        ("print.jpg", "35 × 25"),
        ("dot.png", "1 × 1"),
        ("phone.HEIC", "96 × 64"),
    ):
        upload(page, tmp_path / name)
        facts(page, f"{size} px")
    content = base64.b64encode(encode(Image.fromarray(scene(32, 64)), "HEIF")).decode()
    drop = """(element, content) => {
        const files = new DataTransfer();
        files.items.add(new File([Uint8Array.from(atob(content), (one) => one.charCodeAt(0))], "dropped.heic"));
        element.dispatchEvent(new DragEvent("drop", { bubbles: true, cancelable: true, dataTransfer: files }));
    }"""
    page.locator("#photo input[type=file]").locator("..").evaluate(drop, content)
    facts(page, "64 × 32 px")


def test_nothing_is_drawn_that_is_no_longer_chosen(page: Page) -> None:
    """What is chosen is asked for next: the other's answer could come last, and what was chosen would be drawn twice."""
    choose(page, "experiment", "tiny")
    upload(page, PAGODA)
    facts(page, "tiny epoch-", "640 × 427 px")
    wanted = page.locator("#wanted textarea")
    photo, checkpoint, side = json.loads(wanted.input_value())
    set_text = "(element, text) => { element.value = text; element.dispatchEvent(new Event('input')); }"
    for stale in ([photo, "local/other/epoch-002", side], [None, checkpoint, side], [photo, checkpoint, 1], []):
        with page.expect_response("**/queue/join*"):
            wanted.evaluate(set_text, json.dumps(stale))
    wanted.evaluate(set_text, json.dumps([photo, checkpoint, side]))
    settled(page)
    downloaded(page, f"pagoda-tiny-{checkpoint.split('/')[-1]}.png")
    facts(page, "tiny epoch-")
    expect(page.get_by_role("alert")).to_have_count(0)


def test_a_number_that_is_being_typed_is_none_yet(page: Page) -> None:
    upload(page, PAGODA)
    choose(page, "experiment", "other · local runs")
    facts(page, "other epoch-002")
    number = page.locator("#strength input[type=number]")
    with page.expect_response("**/queue/join*"):
        number.fill("")
    number.fill("40")
    number.press("Tab")
    downloaded(page, "pagoda-other-epoch-002-strength-40.png")
    expect(page.get_by_role("alert")).to_have_count(0)


def test_damaged_checkpoints_are_told_in_place_until_another_is_drawn(page: Page) -> None:
    page.get_by_role("tab", name="Sources").click()
    notice = page.locator(".notice", has_text="Not everything can be offered now")
    expect(notice.locator("li")).to_have_count(1)
    expect(notice).to_contain_text("broken/epoch-001/checkpoint.json: not valid JSON")
    page.get_by_role("tab", name="Stylise").click()
    laboratory(page)
    page.locator("#experiment input").click()
    expect(page.get_by_role("option", name="tiny")).to_be_visible()
    expect(page.get_by_role("option", name="broken")).to_have_count(0)
    page.get_by_role("option", name="spoiled").click()
    upload(page, PAGODA)
    told = page.get_by_role("alert").filter(has_text="model.weights.h5 is damaged or was changed")
    expect(told).to_be_visible(timeout=WAIT)
    expect(page.locator("#again")).to_be_visible()
    expect(page.locator("#slider img")).to_have_count(2)
    choose(page, "experiment", "tiny")
    facts(page, "tiny epoch-")
    expect(told).to_have_count(0)
    expect(page.locator("#again")).to_be_hidden()


def test_strength_and_colours_need_no_new_drawing(page: Page, runs: Path) -> None:
    upload(page, PAGODA)
    choose(page, "experiment", "other · local runs")
    facts(page, "other epoch-002", "640 × 427 px")
    line = page.locator("#facts").inner_text()
    for slider, value in (("strength", "60"), ("colours", "50")):
        page.locator(f"#{slider} input[type=number]").fill(value)
        page.locator(f"#{slider} input[type=number]").press("Tab")
    page.locator("#format label", has_text="JPEG").click()
    anime = downloaded(page, "pagoda-other-epoch-002-strength-60-colours-50.jpg")
    photo = read_photo(PAGODA)
    expected = blend(photo, drawn(PAGODA, runs / "other" / "epoch-002"), 0.6, 0.5)
    assert np.abs(anime.astype(int) - expected).mean() < 3, "JPEG changes a little"
    page.locator("#strength input[type=number]").fill("140")
    page.locator("#strength input[type=number]").press("Tab")
    anime = downloaded(page, "pagoda-other-epoch-002-strength-140-colours-50.jpg")
    expected = blend(photo, drawn(PAGODA, runs / "other" / "epoch-002"), 1.4, 0.5)
    assert np.abs(anime.astype(int) - expected).mean() < 4, "JPEG changes a little"
    assert page.locator("#facts").inner_text() == line, "the seconds are those of the one drawing"


def test_a_link_leads_to_its_checkpoint_and_choosing_changes_the_address(browser: Browser, server: Server) -> None:
    address = "?experiment=local/tiny&checkpoint=epoch-001&other=kept"
    for page in opened(browser, server, width=1280, height=900, address=address):
        expect(page.locator("#checkpoint input")).to_have_value("epoch-001 · warm-up")  # no look: the fold is open
        expect(page.locator("#about h2")).to_have_text("tiny epoch-001")
        choose(page, "checkpoint", "epoch-002 · adversarial")
        expect(page.locator("#about h2")).to_have_text("tiny epoch-002")
        page.wait_for_url("**/?experiment=local%2Ftiny&checkpoint=epoch-002&other=kept")
        page.reload()
        expect(page.locator("#checkpoint input")).to_have_value("epoch-002 · adversarial")
        page.goto(f"{server.url}?experiment=local/<b>gone</b>&checkpoint=epoch-001")
        expect(page.get_by_text("local/<b>gone</b> epoch-001 is not on offer here")).to_be_visible()
        expect(page.locator("#looks").get_by_role("radio", name="Clean cel")).to_be_checked()


def test_every_control_has_a_name_and_is_reached_by_keyboard(page: Page) -> None:
    upload(page, PAGODA)
    facts(page, "640 × 427 px")
    unnamed = r"- (?:button|radio|slider|spinbutton|combobox|textbox|tab)\b(?! \").*"
    laboratory(page)
    for tab, role, name in (("compare", "cell", "pagoda"), ("stylize", "button", "Street")):
        page.locator(f"#{tab}-button").click()
        expect(page.locator(f"#{tab}").get_by_role(role, name=name)).to_be_visible()
        tree = page.locator(f"#{tab}").aria_snapshot()
        assert not re.findall(unnamed, tree), tree
    page.locator("#stylize-button").focus()
    reached: set[str] = set()
    for _ in range(40):
        page.keyboard.press("Tab")
        focused = page.locator("*:focus")
        if focused.count():
            found, outline = focused.evaluate(
                """element => [
                    (element.closest("#looks, #photo-bar") ?? element.closest("[id]:not(input)"))?.id ?? "",
                    getComputedStyle(element.type === "radio" ? element.closest("label") : element).outlineStyle,
                ]"""
            )
            reached.add(found)
            assert outline != "none", found
    wanted = {"photo-bar", "slider", "looks", "format", "download", "strength", "laboratory"}
    wanted |= {"colours", "experiment", "checkpoint", "longest-side"}
    assert wanted <= reached, reached


def test_the_slider_by_keyboard_and_on_the_full_screen(page: Page) -> None:
    upload(page, PAGODA)
    facts(page, "640 × 427 px")
    slider = page.locator("#slider")
    handle, anime = slider.get_by_role("slider", name="Photo ⇄ drawing"), slider.locator("img").nth(1)
    expect(handle).to_have_attribute("aria-valuenow", "50")
    handle.press("ArrowRight")
    expect(handle).to_have_attribute("aria-valuenow", "52")
    expect(anime).to_have_css("clip-path", re.compile(r"inset\(0px 0px 0px 5[12].*"))
    handle.press("Home")
    expect(handle).to_have_attribute("aria-valuenow", "0")
    slider.get_by_role("button", name="Fullscreen").click()
    expect(slider).to_have_class(re.compile("fullscreen"))
    handle.press("End")
    expect(handle).to_have_attribute("aria-valuenow", "100")
    page.keyboard.press("Escape")
    expect(slider).not_to_have_class(re.compile("fullscreen"))


def test_a_training_in_progress_appears_by_itself(page: Page, runs: Path) -> None:
    folder = runs / "tiny" / "epoch-003"
    choose(page, "experiment", "tiny · local runs")
    choose(page, "checkpoint", "epoch-001 · warm-up")
    expect(page.locator("#about h2")).to_have_text("tiny epoch-001")
    tiny_checkpoint(folder, seed=4)
    try:
        page.get_by_role("tab", name="Sources").click()
        expect(page.locator("#listing tr", has_text="tiny")).to_contain_text("3", timeout=WAIT)
        page.get_by_role("tab", name="Stylise").click()
        expect(page.locator("#checkpoint input")).to_have_value("epoch-001 · warm-up")
        choose(page, "checkpoint", "epoch-003")
        upload(page, PAGODA)
        facts(page, "tiny epoch-003")
    finally:
        shutil.rmtree(folder)


@pytest.mark.slow
def test_news_keep_what_is_chosen_and_on_offer(runs: Path) -> None:
    tiny_checkpoint(runs.parent / "news" / "other" / "epoch-001")
    for name in ("epoch-001", "epoch-002"):
        tiny_checkpoint(runs.parent / "news" / "tiny" / name)
    demo = ui.build_demo(Catalog({"local": FolderStore(runs.parent / "news")}))
    renew = next(event.fn for event in demo.fns.values() if event.name == "list_checkpoints")
    another = renew("local/tiny", "local/other/epoch-001", None)
    assert len(another["choices"]) == 2 and another["value"].startswith("local/tiny/")
    kept = renew("local/tiny", "local/tiny/epoch-001", None)
    assert len(kept["choices"]) == 2 and "value" not in kept
    removed = renew("local/tiny", "local/tiny/epoch-003", None)
    assert len(removed["choices"]) == 2 and removed["value"].startswith("local/tiny/")


@pytest.mark.slow
def test_no_event_has_two_answers_in_turn(runs: Path) -> None:
    """An answer that had to wait has its whole event begin anew: two of them would keep a page asking for ever."""
    demo = ui.build_demo(Catalog({"local": FolderStore(runs)}))
    in_turn = [event for event in demo.fns.values() if event.fn and event.trigger_mode == "always_last"]
    events = [target for event in in_turn for target in event.targets if target[0] is not None]
    assert len(in_turn) > 10 and len(events) == len(set(events))


ODD = "<b>${1+1}</b>{{key}}"
"""A stranger's name for a look."""


@pytest.fixture
def looks(runs: Path) -> Iterator[None]:
    """Two more, on offer before the page is opened."""
    names = {runs / "look-7": "Plain", runs / "look-8": ODD}
    for seed, (folder, name) in enumerate(names.items(), 7):
        look = {"name": name, "line": "As it comes", "good_for": ODD}
        tiny_checkpoint(folder / "epoch-001", seed=seed, look=look)
    yield
    for folder in names:
        shutil.rmtree(folder)


@pytest.mark.usefixtures("looks")
def test_looks_are_thumbnails_of_the_photo_and_one_tap_each(page: Page, runs: Path) -> None:
    """A stranger's name for one is text; what comes too late for its photo is thrown away."""
    row = page.locator("#looks")
    drawn_of_this = row.locator("label:not(.stale) img:not([hidden])")

    def addresses() -> list[str]:
        expect(drawn_of_this).to_have_count(row.locator("label").count(), timeout=WAIT)
        return [image.get_attribute("src") or "" for image in drawn_of_this.all()]

    upload(page, PAGODA)
    facts(page, "Clean cel", "640 × 427 px")
    for place, name in enumerate(("Clean cel", "Plain", ODD)):  # then the others that ship
        expect(row.locator("label").nth(place)).to_have_text(name)
    pagoda = addresses()
    thumbnail = Image.open(io.BytesIO(base64.b64decode(pagoda[1].partition(",")[2])))
    small = drawn(PAGODA, runs / "look-7" / "epoch-001", THUMBNAIL_SIDE)
    assert np.abs(np.asarray(thumbnail, int) - small).mean() < 5 and len(set(pagoda)) == len(pagoda)
    row.locator("label", has_text="Plain").click()
    facts(page, "Plain, drawn in")
    plain, other = (row.get_by_role("radio", name=name, exact=True) for name in ("Plain", ODD))
    expect(plain).to_be_checked()
    expect(row.locator(".about")).to_have_text(f"As it comes · good for {ODD}")
    expect(page.locator("#checkpoint input")).to_be_hidden()
    plain.press("ArrowRight")
    facts(page, f"{ODD}, drawn in")
    expect(other).to_be_checked()
    expect(other).to_be_focused()

    late: list[Route] = []
    asked = threading.Event()
    page.route(re.compile("component_server"), lambda route: route.continue_() if asked.is_set() else late.append(route))
    page.locator("#photo-examples .gallery-item").first.click()
    facts(page, "600 × 400 px")
    expect(row.locator(".stale")).to_have_count(len(pagoda))
    while not late:
        page.wait_for_timeout(50)
    asked.set()
    upload(page, PAGODA)
    facts(page, "640 × 427 px")
    assert addresses() == pagoda
    with page.expect_response(late[0].request.url):
        late[0].continue_()
    settled(page)
    assert addresses() == pagoda


@pytest.mark.slow
def test_no_thumbnail_of_what_is_not_ones_own(runs: Path) -> None:
    """A program may ask for anything, and is told nothing."""
    demo = ui.build_demo(Catalog({"local": FolderStore(runs)}))
    row: Any = next(block for block in demo.blocks.values() if getattr(block, "elem_id", None) == "looks")
    key, strange = "local/tiny/epoch-001", [None, 7, "text", [], ["a"], {"a": 1}, [None, "gone"], [["x"], "k"]]
    for asked in [*strange, ["/etc/passwd", key], [{"path": str(PAGODA)}, key], [None, key, 7, 8]]:
        assert finish(row.thumbnail(asked)) == "" and finish(row.ahead(asked)) is None
    for side in ("512", [512], None, 10**9):
        assert finish(row.ahead([None, key, side])) is None


def test_the_picture_never_goes_blank_and_nothing_jumps(browser: Browser, server: Server) -> None:
    waiting: list[Route] = []

    def watch(page: Page) -> None:
        page.add_init_script(
            """window.shifts = 0;
            new PerformanceObserver((list) => {
                for (const entry of list.getEntries()) if (!entry.hadRecentInput) window.shifts += entry.value;
            }).observe({ type: "layout-shift", buffered: true });"""
        )

    for page in opened(browser, server, width=1280, height=900, prepare=watch):
        pictures, handle = page.locator("#slider img"), page.locator("#slider").get_by_role("slider")
        upload(page, PAGODA)
        facts(page, "Clean cel", "640 × 427 px")
        page.get_by_text("Photo", exact=True).first.click(force=True)  # a press anywhere takes the handle there
        expect(handle).to_have_attribute("aria-valuenow", re.compile("^[2-9]$"))
        handle.press("ArrowRight")
        place = handle.get_attribute("aria-valuenow") or ""
        shown = pictures.nth(1).get_attribute("src") or ""
        choose(page, "experiment", "tiny")  # opens the fold, by a click
        facts(page, "tiny epoch-002")
        before = pictures.nth(1).get_attribute("src") or ""
        assert before != shown
        page.evaluate(
            """window.blank = 0;
            new MutationObserver(() => { window.blank += document.querySelectorAll("#slider img[src]").length < 2; })
                .observe(document.querySelector("#slider"), { childList: true, subtree: true, attributes: true });"""
        )
        page.route("**/queue/join*", lambda route: waiting.append(route))
        page.locator("#looks label", has_text="Clean cel").click()
        while not waiting:
            page.wait_for_timeout(50)
        expect(pictures.nth(1)).to_have_attribute("src", before)
        expect(pictures.nth(1)).to_have_css("filter", re.compile("brightness"))
        for route in waiting:
            route.continue_()
        page.unroute("**/queue/join*")
        facts(page, "Clean cel, drawn in")
        expect(pictures.nth(1)).to_have_attribute("src", shown)
        expect(pictures.nth(1)).to_have_css("filter", "none")
        expect(handle).to_have_attribute("aria-valuenow", place)
        choose(page, "experiment", "spoiled")
        expect(page.get_by_role("alert")).to_contain_text("model.weights.h5 is damaged", timeout=WAIT)
        expect(pictures.nth(1)).to_have_attribute("src", shown)
        downloaded(page, "pagoda-cel-epoch-025.png")  # what is shown, not what is chosen
        remove(page)
        expect(pictures.first).to_have_js_property("naturalWidth", 768, timeout=WAIT)  # what was taken away is gone
        page.locator("#looks label", has_text="Clean cel").click()
        facts(page, "An example.")
        assert page.evaluate("window.blank") == 0
        assert page.evaluate("window.shifts") < 0.1


def test_phone_first(browser: Browser, server: Server) -> None:
    for phone in opened(browser, server, width=390, height=844, touch=True):
        upload(phone, PAGODA)
        facts(phone, "640 × 427 px")
        loaded(phone.locator("#slider img").first, 640)
        assert phone.evaluate("document.documentElement.scrollWidth") <= 390
        parts = ["#title h1", "#slider", "#photo-bar", "#looks", "#download", "#photo-examples", "#laboratory"]
        boxes = [phone.locator(part).bounding_box() or {} for part in parts]
        tops = [box["y"] for box in boxes]
        assert tops == sorted(tops) and tops[3] < 844, "in this order, the looks on the first screen"
        assert boxes[0]["height"] < 40 and boxes[1]["width"] > 350
        small = phone.evaluate(
            """[...document.querySelectorAll("#stylize button, #stylize label, #stylize [role=slider]")].map((element) =>
                [element.innerText || element.ariaLabel, element.getBoundingClientRect()])
                .filter(([, { width, height }]) => width && height && Math.min(width, height) < 24).map(([name]) => name)"""
        )
        assert not small, small
        for main in phone.locator("#photo-bar .choose, #photo-bar .camera, #download").all():
            assert (main.bounding_box() or {})["height"] >= 44
        handle = phone.locator("#slider").get_by_role("slider")
        finger = boxes[1]["x"] + 60, boxes[1]["y"] + 250
        swipe(phone, finger, (150, 0))
        expect(handle).to_have_attribute("aria-valuenow", re.compile("^5[5-9]$"))
        assert phone.evaluate("scrollY") == 0
        place = handle.get_attribute("aria-valuenow") or ""
        swipe(phone, finger, (0, -150))
        phone.wait_for_function("scrollY > 100")  # a finger that moves up scrolls the page
        expect(handle).to_have_attribute("aria-valuenow", place)
        phone.evaluate("scrollTo(0, 0)")
        middle = boxes[1]["x"] + 90, boxes[1]["y"] + 170
        pinch(phone, middle, (20, 80))
        zoom, place_of = phone.locator("#slider img").nth(1), "image => getComputedStyle(image).transform"
        expect(zoom).to_have_css("transform", re.compile(r"matrix\(4, "))  # the last move has arrived
        assert phone.evaluate("visualViewport.scale") == 1
        enlarged = zoom.evaluate(place_of)
        swipe(phone, middle, (40, 30))
        settled(phone)  # the last move has arrived
        moved = zoom.evaluate(place_of)
        assert moved != enlarged and moved.split(",")[0] == enlarged.split(",")[0], "one finger moves what is enlarged"
        phone.locator("#looks label", has_text="Ink comic").tap()
        facts(phone, "Ink comic, drawn in")
        stayed, were = ([float(part) for part in re.findall(r"-?[\d.]+", text)] for text in (zoom.evaluate(place_of), moved))
        np.testing.assert_allclose(stayed, were, atol=1, err_msg="eyes stay where they were")
        expect(handle).to_have_attribute("aria-valuenow", place)


def pinch(page: Page, middle: tuple[float, float], apart: tuple[float, float], steps: int = 8) -> None:
    """Two fingers, so far from the middle on either side at first and at last."""
    devices = page.context.new_cdp_session(page)
    for step in range(steps + 1):
        far = apart[0] + (apart[1] - apart[0]) * step / steps
        points = [{"x": middle[0] + side * far, "y": middle[1], "id": number} for number, side in enumerate((-1, 1))]
        devices.send("Input.dispatchTouchEvent", {"type": "touchMove" if step else "touchStart", "touchPoints": points})
        page.wait_for_timeout(16)
    devices.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})


def swipe(page: Page, start: tuple[float, float], way: tuple[float, float], steps: int = 12) -> None:
    devices = page.context.new_cdp_session(page)
    for step in range(steps + 1):
        point = {"x": start[0] + way[0] * step / steps, "y": start[1] + way[1] * step / steps}
        kind = "touchMove" if step else "touchStart"
        devices.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": [point]})
        page.wait_for_timeout(16)
    devices.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})


def loaded(image: Locator, width: int) -> None:
    """Waits until a picture is there: Gradio puts an enlarged one back when it is loaded."""
    expect(image).to_have_js_property("naturalWidth", width)
    expect(image).to_have_js_property("complete", True)


def test_the_wheel_scrolls_and_enlarges_with_ctrl(page: Page) -> None:
    image = page.locator("#slider img").first
    for each in page.locator("#slider img").all():
        loaded(each, 768)
    settled(page)
    page.locator("#slider").hover(position={"x": 100, "y": 200})
    page.mouse.wheel(0, 200)
    page.wait_for_function("scrollY > 100")
    expect(image).to_have_css("transform", "matrix(1, 0, 0, 1, 0, 0)")
    page.evaluate("scrollTo(0, 0)")
    page.wait_for_function("scrollY === 0")
    page.keyboard.down("Control")
    enlarged = re.compile(r"matrix\(1\.[0-9]*[1-9]")
    for _ in range(20):  # a busy browser passes a turn over
        page.mouse.wheel(0, -200)
        page.wait_for_timeout(200)
        if enlarged.match(image.evaluate("image => getComputedStyle(image).transform")):
            break
    page.keyboard.up("Control")
    expect(image).to_have_css("transform", enlarged)
    assert page.evaluate("scrollY") == 0


@pytest.mark.parametrize("locale", ["en-GB", "zh-CN"])
def test_every_tab_is_in_reach_on_a_phone(browser: Browser, server: Server, locale: str) -> None:
    for phone in opened(browser, server, width=390, height=844, locale=locale):
        tabs = phone.get_by_role("tab")
        expect(tabs).to_have_count(5)
        boxes = [tab.bounding_box() for tab in tabs.all()]
        assert all(box and box["x"] >= 0 and box["x"] + box["width"] <= 390 and box["height"] >= 44 for box in boxes), boxes
        tabs.first.focus()
        for _ in range(4):
            phone.keyboard.press("Tab")
        phone.keyboard.press("Enter")
        expect(phone.locator("#add-source")).to_be_visible()


def test_without_a_checkpoint_the_page_says_what_to_do(browser: Browser, tmp_path: Path) -> None:
    program = (
        "import sys\n"
        "from animegan_app.catalog import Catalog\n"
        "from animegan_app.ui import build_demo, launch\n"
        "launch(build_demo(Catalog({})), port=int(sys.argv[-1]))\n"
    )
    with Server(tmp_path / "none", tmp_path, ("-c", program)) as server:
        for page in opened(browser, server, width=1280, height=900):
            expect(page.get_by_text("There is no checkpoint yet.")).to_be_visible()
            upload(page, PAGODA)
            expect(page.get_by_text("There is no checkpoint to draw with")).to_be_visible(timeout=WAIT)


def test_nothing_personal_is_left_after_the_end(browser: Browser, runs: Path, tmp_path: Path) -> None:
    Image.fromarray(scene(40, 60)).save(tmp_path / "private.png")
    with Server(runs, tmp_path) as server:
        for page in opened(browser, server, width=1280, height=900):
            upload(page, tmp_path / "private.png")
            facts(page, "60 × 40 px")
            assert "private.png" in server.files()
            page.get_by_role("tab", name="Compare").click()
            page.set_input_files("#compare-photos input[type=file]", tmp_path / "private.png")
            expect(page.locator("#compare-photos")).to_contain_text("private")
            page.locator("#course-fold button").first.click()
            choose(page, "course-experiment", "tiny · local runs")
            page.locator("#draw-course").click()
            expect(page.locator("#course-status")).to_contain_text("2 of 2 drawn", timeout=WAIT)
            assert "private-tiny-epoch-001.png" in server.files()
            assert page.evaluate("JSON.stringify([localStorage, sessionStorage])").find("private") < 0
    assert server.files() == []


def test_cancel_of_a_drawing_that_has_begun(page: Page, tmp_path: Path) -> None:
    Image.fromarray(scene(1500, 1500)).save(tmp_path / "large.png")
    choose(page, "experiment", "repro-1-laptop · bundled")
    page.locator("#longest-side label", has_text="1536").click()
    settled(page)  # one drawing is asked for, and no other before it
    upload(page, tmp_path / "large.png")  # seconds
    expect(page.locator("#slider")).to_contain_text("Drawing 1500 × 1500 px", timeout=WAIT)
    page.locator("#cancel").click()
    expect(page.locator("#cancel")).to_be_hidden()
    expect(page.locator("#slider")).not_to_contain_text("Drawing")
    page.locator("#longest-side label", has_text="512").click()  # waits until the other, which nobody waits for, is done
    identity(page, "drawn at 512 × 512 px")
    facts(page, "1500 × 1500")
    expect(page.locator("#again")).to_be_hidden()
    page.locator("#longest-side label", has_text="1536").click()
    identity(page, "drawn at 1500 × 1500 px")
