"""What one does with a drawing: files of photo and drawing, links, what was drawn before, many photos; in a real browser."""

import io
import threading
import zipfile
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
import pytest
from gradio.context import LocalContext
from PIL import Image
from playwright.sync_api import Browser, Page, expect

from animegan_app import keepsakes
from animegan_app.ui import components
from animegan_app.ui.link import Link
from support.app import PAGODA, WAIT, Server, drawn, facts, opened, settled, upload
from support.clips import read_clip
from support.pictures import scene

NEVER_HALF = 200
"""Times that a file is written while another thread reads it."""
STAND_IN = """
navigator.canShare = ({ files }) => files.length === 1;
navigator.share = async ({ files }) => { window.shared = [files[0].name, files[0].type, files[0].size]; };
"""
"""What a phone's browser has and this one lacks."""


def made(kind: str, photo: np.ndarray, anime: np.ndarray) -> bytes:
    steps = keepsakes.wipe(photo, anime, kind)
    while True:
        try:
            assert 0 <= next(steps) < 1
        except StopIteration as end:
            return end.value


def test_a_page_may_load_a_file_while_the_same_drawing_is_saved_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    content = bytes(1 << 20)
    read: list[int] = []
    blocks = gr.Blocks()
    LocalContext.blocks.set(blocks)
    try:
        path = Path(components.keep(content, "photo.png"))
        done = threading.Event()
        reader = threading.Thread(target=lambda: [read.append(len(path.read_bytes())) for _ in iter(done.is_set, True)])
        reader.start()
        for _ in range(NEVER_HALF):
            assert components.keep(content, "photo.png") == str(path)
        done.set()
        reader.join()
    finally:
        LocalContext.blocks.set(None)
    assert set(read) == {len(content)}, "whole each time"
    assert [*path.parent.iterdir()] == [path] and str(path) in blocks.upload_file_set


def test_a_collage_is_as_wide_or_high_as_its_pictures_ask() -> None:
    for size, expected in (((90, 160), (160, 182)), ((160, 90), (182, 160)), ((3000, 4000), (1600, 2407))):
        photo, anime = np.full((*size, 3), 90, np.uint8), np.full((*size, 3), 200, np.uint8)
        page = Image.open(io.BytesIO(keepsakes.collage(photo, anime, ("photo", "cel"))))
        assert page.size == expected
        pixels = np.asarray(page).astype(int)
        assert abs(pixels[5, 5] - 90).max() < 3 and abs(pixels[5, -5] - (200 if size[1] <= size[0] else 90)).max() < 3
        assert (abs(pixels[-24:, :40] - 90) > 30).any(), "a label, light on dark, in the corner"


@pytest.mark.slow
@pytest.mark.parametrize("kind", keepsakes.SIDES)
def test_a_wipe_sweeps_across_and_back_within_three_seconds(kind: str, tmp_path: Path) -> None:
    photo, anime = np.full((108, 160, 3), 60, np.uint8), np.full((108, 160, 3), 190, np.uint8)
    content = made(kind, photo, anime)
    if kind == keepsakes.MP4:
        (tmp_path / "wipe.mp4").write_bytes(content)
        pictures, moments, _ = read_clip(tmp_path / "wipe.mp4")
        assert moments[-1] == pytest.approx(3 - 1 / 25)
    else:
        image = Image.open(io.BytesIO(content))
        pictures, milliseconds = [], 0
        for number in range(image.n_frames):  # type: ignore[attr-defined]
            image.seek(number)
            pictures.append(np.asarray(image.convert("RGB")))
            milliseconds += image.info["duration"]
        assert milliseconds == pytest.approx(3000, abs=60) and image.info["loop"] == 0
    shares = np.array([(picture.mean(axis=(0, 2)) > 125).mean() for picture in pictures])
    assert shares[0] == pytest.approx(0.5, abs=0.05), "what shows the first picture alone shows both"
    assert shares.max() > 0.97 and shares.min() < 0.04, "all is drawing, and all is photo"
    assert abs(np.diff([*shares, shares[0]])).max() < 0.2, "without a jump, from the end to the beginning too"


@pytest.mark.slow
def test_what_moves_is_small_enough_to_send() -> None:
    photo = np.kron(scene(48, 64), np.ones((40, 40, 1), np.uint8))
    for kind, side in keepsakes.SIDES.items():
        content = made(kind, photo, photo[::-1].copy())
        assert len(content) < 4_000_000, kind
        if kind != keepsakes.MP4:
            assert max(Image.open(io.BytesIO(content)).size) == side


@pytest.mark.parametrize(
    ("values", "found"),
    [
        ({}, Link()),
        (
            {
                "experiment": "local/tiny",
                "side": "512",
                "strength": "80",
                "colours": "5.5",
                "tab": "compare",
                "compare": "a,b",
            },
            Link("local/tiny", "", 512, 80, 5.5, "compare", ("a", "b")),
        ),
        ({"side": "513", "strength": "nan", "colours": "-1", "tab": "<script>"}, Link()),
        ({"side": "1e9", "strength": "1" * 9999, "colours": "inf", "tab": "", "experiment": "x" * 9999}, Link()),
        ({"compare": ",".join(map(str, range(99)))}, Link(compared=tuple(map(str, range(24))))),
        ({"compare": "a,,a,"}, Link(compared=("a",))),
    ],
)
def test_a_link_holds_what_is_valid(values: dict[str, str], found: Link) -> None:
    assert Link.of(values) == found


def kept(page: Page, item: str) -> Any:
    """What an entry of the menu gives to download."""
    page.locator("#keep-open").click()
    with page.expect_download(timeout=WAIT) as download:
        page.locator(f"#keep-{item}").click()
    expect(page.locator("#keep-menu")).to_be_hidden()
    return download.value


def test_a_drawing_is_kept_shared_and_found_again(browser: Browser, server: Server, runs: Path) -> None:
    def equip(page: Page) -> None:
        page.context.grant_permissions(["clipboard-read", "clipboard-write"])
        page.add_init_script(STAND_IN)

    address = "?experiment=local/tiny&checkpoint=epoch-001&side=512&strength=0&colours=x&tab=stylize"
    for page in opened(browser, server, width=390, height=844, address=address, prepare=equip):
        facts(page, "tiny epoch-001")
        upload(page, PAGODA)
        expect(page.locator("#visit button")).to_have_count(2, timeout=WAIT)
        expect(page.locator("#strength input[type=number]")).to_have_value("0")
        page.locator("#keep-open").press("ArrowDown")
        expect(page.locator("#keep-share")).to_be_focused()
        box = page.locator("#keep-menu").bounding_box()
        assert box and box["x"] >= 0 and box["x"] + box["width"] <= 390 and box["y"] >= 0
        page.keyboard.press("Escape")
        expect(page.locator("#keep-open")).to_be_focused()
        collage = kept(page, "collage")
        assert collage.suggested_filename == "pagoda-tiny-epoch-001-strength-0-before-after.jpg"
        pictures = np.asarray(Image.open(collage.path())).astype(int)
        assert abs(pictures[:200] - pictures[344:544]).mean() < 3, "a strength of 0 is the photo twice"
        assert kept(page, "gif").suggested_filename == "pagoda-tiny-epoch-001-strength-0-wipe.gif"
        page.locator("#keep-open").click()
        page.locator("#keep-share").click()
        page.wait_for_function("window.shared", timeout=WAIT)
        name, kind, size = page.evaluate("window.shared")
        assert (name, kind) == ("pagoda-tiny-epoch-001-strength-0.png", "image/png") and size > 100_000
        page.locator("#keep-open").click()
        page.locator("#keep-copy").click()
        expect(page.get_by_text("The picture is copied.")).to_be_visible(timeout=WAIT)
        assert page.evaluate("navigator.clipboard.read().then(([item]) => item.types)") == ["image/png"]
        page.locator("#strength input[type=number]").fill("120")
        page.locator("#strength input[type=number]").press("Enter")
        page.wait_for_function("window.location.search.includes('strength=120')", timeout=WAIT)
        page.locator("#keep-open").click()
        page.locator("#keep-link").click()
        expect(page.get_by_text("The link is copied")).to_be_visible(timeout=WAIT)
        link = page.evaluate("navigator.clipboard.readText()")
        assert "strength=120" in link and "checkpoint=epoch-001" in link and "side=512" in link and "pagoda" not in link
        before = page.locator("#visit button").count()
        page.locator("#visit button").nth(1).click()  # the example, as it was when the page was opened
        facts(page, "768 × 512")
        expect(page.locator("#strength input[type=number]")).to_have_value("0")
        expect(page.locator("#visit button")).to_have_count(before)
        expect(page.locator("#visit button").first).to_have_attribute("aria-label", "street · tiny")


def test_several_photos_become_a_zip_and_one_bad_one_is_named(
    browser: Browser, server: Server, runs: Path, tmp_path: Path
) -> None:
    address = "?experiment=local/tiny&checkpoint=epoch-009&side=512"
    for page in opened(browser, server, width=1280, height=900, address=address):
        expect(page.locator(".notice").first).to_contain_text("local/tiny epoch-009 is not on offer")
        # A known experiment's first; the fold is open, as it is none of the looks.
        expect(page.locator("#checkpoint input")).to_have_value("epoch-002 · adversarial", timeout=WAIT)
        page.locator("#several > button").click()
        page.locator("#several-draw").click()
        expect(page.get_by_text("Choose a photo first.")).to_be_visible(timeout=WAIT)
        (tmp_path / "other").mkdir()
        names = [tmp_path / "one.png", tmp_path / "bad.jpg", tmp_path / "other" / "one.png"]
        for number, path in enumerate(names):
            Image.fromarray(np.roll(scene(40, 60), number, 1)).save(path)
        names[1].write_text("I am no picture.")
        page.set_input_files("#several-files input[type=file]", names)
        expect(page.locator("#several-files")).to_contain_text("bad", timeout=WAIT)
        with page.expect_download(timeout=WAIT) as download:
            page.locator("#several-draw").click()
        assert download.value.suggested_filename == "tiny-2.zip"
        expect(page.locator("#several-status")).to_contain_text("2 of 3 drawn")
        expect(page.locator("#several-status")).to_contain_text("bad.jpg: This file is not a picture")
        with zipfile.ZipFile(download.value.path()) as archive:
            assert archive.namelist() == ["one-tiny-epoch-002.jpg", "one-tiny-epoch-002-2.jpg"]
            found = np.asarray(Image.open(io.BytesIO(archive.read("one-tiny-epoch-002.jpg")))).astype(int)
        assert abs(found - drawn(names[0], runs / "tiny" / "epoch-002", 512)).mean() < 4


def test_the_language_of_the_page_is_that_of_all_it_says(page: Page, tmp_path: Path) -> None:
    upload(page, PAGODA)
    facts(page, "The download has 640 × 427 px.")
    page.get_by_role("button", name="Settings").click()
    page.get_by_role("combobox", name="Language").click()
    page.get_by_role("option", name="简体中文").click()
    page.get_by_role("dialog").get_by_role("button").first.click()
    facts(page, "下载的图片为 640 × 427 像素")
    expect(page).to_have_title("AnimeGAN 实验室")
    expect(page.get_by_role("tab", name="来源")).to_have_count(1)
    expect(page.get_by_role("button", name="街景")).to_have_count(1)
    expect(page.locator("#looks .about")).to_contain_text("适合")
    (tmp_path / "text.pdf").write_text("I am no photo.")
    page.set_input_files("#photo input[type=file]", tmp_path / "text.pdf")
    facts(page, "此文件不是可读取的图片")
    page.locator("#several > button").click()
    page.locator("#several-draw").click()
    toast = page.get_by_test_id("toast-body")
    expect(toast).to_contain_text("请先选择照片")
    expect(toast).to_contain_text("错误")
    expect(toast).to_have_count(0, timeout=8_000)
    settled(page)
    english = page.evaluate(
        """[...document.querySelectorAll("[aria-label]")].map((each) => each.ariaLabel)
            .filter((name) => /[a-z]{3}/.test(name) && !/[一-鿿]/.test(name))"""
    )
    assert english == []
    page.get_by_role("tab", name="比较").evaluate("(tab) => tab.click()")
    page.wait_for_function("window.location.search.includes('tab=compare')")
    page.reload()
    expect(page.get_by_role("tab", name="Compare")).to_have_attribute("aria-selected", "true", timeout=WAIT)
