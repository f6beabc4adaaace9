"""Checkpoints of the Hub in the app: added, downloaded while others draw, cancelled, damaged."""

import time
from pathlib import Path

import numpy as np
import pytest
from gradio_client import Client, handle_file
from playwright.sync_api import Browser, expect

from animegan_app.ui import sources
from hub_export.store import HubStore
from support.app import (
    PAGODA,
    REPO,
    ROOT,
    WAIT,
    Server,
    choose,
    downloaded,
    drawn,
    facts,
    held,
    identity,
    opened,
    settled,
    upload,
)
from support.hub import HubServer

pytestmark = [pytest.mark.slow, pytest.mark.long]


def test_added_from_the_hub(browser: Browser, tiny_hub: HubServer, runs: Path, tmp_path: Path) -> None:
    tiny_hub.create("you/private", private=True)
    with Server(runs, tmp_path) as server:
        for page in opened(browser, server, width=1280, height=900):
            choose(page, "experiment", "other · local runs")
            page.get_by_role("tab", name="Sources").click()
            name = page.locator("#source input, #source textarea")
            for text, sentence in [
                ("a/b/c", "is no place on the Hub"),
                ("you/private", "you/private is missing or private; set HF_TOKEN"),
                ("nobody", "nobody has no checkpoint for this app"),
            ]:
                name.fill(text)
                page.locator("#add-source").click()
                expect(page.get_by_text(sentence)).to_be_visible(timeout=WAIT)
                expect(page.locator("#experiment input")).to_have_value("other · local runs")
            look = held(page, r'"data":\["[0-9a-f]{64}",null,"local/other"')
            name.fill(REPO)
            page.locator("#add-source").click()
            expect(page.locator("#experiment input")).to_have_value(f"{REPO} · Hugging Face Hub", timeout=WAIT)
            expect(page.locator("#checkpoint input")).to_have_value("epoch-001 · warm-up")
            with page.expect_response(look.request.url):
                look.fallback()  # the answer to what the page asked before comes after the new choice
            sha = tiny_hub.repo(REPO).tags["epoch-001"]
            expect(page.locator("#listing tr", has_text=REPO)).to_contain_text("MB")
            page.get_by_role("tab", name="Stylise").click()
            settled(page)
            expect(page.locator("#about")).to_contain_text(f"commit {sha}")
            page.locator("#checkpoint input").click()
            expect(page.get_by_role("option")).to_have_count(2)
            page.locator("#title").click()
            expect(page.locator("#about")).to_contain_text("MB to download first")
            fault = tiny_hub.fail("GET .*/model.weights.h5", silence=9, times=1)  # the client asks again after ten
            upload(page, PAGODA)
            progress = page.get_by_text(f"from {REPO} on the Hugging Face Hub").first
            expect(progress).to_contain_text("Downloading", timeout=WAIT)
            fault.over.set()
            facts(page, f"{REPO} epoch-001")
            identity(page, f"commit {sha[:12]}")
            expect(page.locator("#about")).not_to_contain_text("to download first")
            anime = downloaded(page, "pagoda-tiny-epoch-001.png")
            np.testing.assert_array_equal(anime, drawn(PAGODA, runs / "tiny" / "epoch-001"))

            tiny_hub.stop()
            page.reload()
            page.get_by_role("tab", name="Sources").click()
            expect(page.get_by_text("showing what is cached")).to_be_visible(timeout=WAIT)
            page.get_by_role("tab", name="Stylise").click()
            choose(page, "experiment", f"{REPO} · Hugging Face Hub")
            upload(page, PAGODA)
            facts(page, f"{REPO} epoch-001")


def test_with_the_hub_alone_and_a_tampered_checkpoint(browser: Browser, tiny_hub: HubServer, tmp_path: Path) -> None:
    files = tiny_hub.repo(REPO).commits[tiny_hub.repo(REPO).tags["epoch-002"]]
    files["model.weights.h5"] = files["model.weights.h5"][:-1] + b"?"
    fault = tiny_hub.fail("GET /api/.*", silence=12, times=1)  # it is given up after fifteen
    program = (
        "import sys\n"
        "from animegan_app.catalog import HUB, Catalog\n"
        "from animegan_app.ui import build_demo, launch\n"
        "from hub_export.store import HubStore\n"
        "launch(build_demo(Catalog({HUB: HubStore(['you'])})), port=int(sys.argv[-1]))\n"
    )
    with Server(tmp_path / "none", tmp_path, ("-c", program)) as server:
        for page in opened(browser, server, width=390, height=844):
            expect(page.get_by_text("There is no checkpoint yet.")).to_be_visible()
            fault.over.set()
            expect(page.get_by_text("There is no checkpoint yet.")).to_be_hidden(timeout=WAIT)
            expect(page.locator("#experiment input")).to_have_value(f"{REPO} · Hugging Face Hub")
            expect(page.locator("#checkpoint input")).to_have_value("epoch-001 · warm-up")
            page.get_by_role("tab", name="Sources").click()
            expect(page.locator("#add-source")).to_be_visible()
            assert page.evaluate("document.documentElement.scrollWidth") <= 390
            page.get_by_role("tab", name="Stylise").click()
            upload(page, PAGODA)
            facts(page, f"{REPO} epoch-001")
            choose(page, "checkpoint", "epoch-002 · adversarial")
            damaged = page.get_by_role("alert").filter(has_text=f"{REPO}@epoch-002: model.weights.h5 is damaged")
            expect(damaged).to_be_visible(timeout=WAIT)
            with page.expect_response("**/queue/join*"):
                page.locator("#again").click()
            settled(page)
            expect(damaged).to_have_count(1)
            choose(page, "checkpoint", "epoch-001 · warm-up")
            facts(page, f"{REPO} epoch-001")
            expect(page.locator("#again")).to_be_hidden()


def test_nobody_waits_for_a_download_that_drips_and_who_cancels_stops_waiting(
    browser: Browser, tiny_hub: HubServer, runs: Path, tmp_path: Path
) -> None:
    with Server(runs, tmp_path, (str(ROOT / "app.py"), "--hub", REPO)) as server:
        for slow in opened(browser, server, width=1280, height=900):
            choose(slow, "experiment", f"{REPO} · Hugging Face Hub")
            fault = tiny_hub.fail("GET .*/model.weights.h5", drip=0.5)
            upload(slow, PAGODA)
            expect(slow.get_by_text(f"from {REPO} on the Hugging Face Hub").first).to_be_visible(timeout=WAIT)
            program = Client(server.url, verbose=False)
            same = program.submit(handle_file(PAGODA), f"hub/{REPO}/epoch-001", 512, api_name="/stylize")
            for quick in opened(browser, server, width=1280, height=900):
                upload(quick, PAGODA)
                facts(quick, "640 × 427 px")
            start = time.monotonic()
            program.predict(handle_file(PAGODA), "local/tiny/epoch-001", 512, api_name="/stylize")
            assert time.monotonic() - start < 60, "not the minutes of the other one"
            expect(slow.locator("#facts")).not_to_contain_text(REPO)  # at most what was drawn before the choice arrived
            assert not same.done()
            fault.drip = 0.0
            facts(slow, f"{REPO} epoch-001")
            assert same.result(30)[1]["checkpoint"] == f"hub/{REPO}/epoch-001"
            assert sum(line.startswith("GET") and line.endswith("model.weights.h5") for line in tiny_hub.requests) == 1

        for page in opened(browser, server, width=1280, height=900):
            cancel = page.locator("#cancel")
            expect(cancel).to_be_hidden()
            choose(page, "experiment", f"{REPO} · Hugging Face Hub")
            expect(page.locator("#checkpoint input")).to_have_value("epoch-001 · warm-up")
            choose(page, "checkpoint", "epoch-002 · adversarial")  # not here yet
            fault.drip = 0.5
            upload(page, PAGODA)
            expect(page.get_by_text(f"from {REPO} on the Hugging Face Hub").first).to_be_visible(timeout=WAIT)
            cancel.click()
            expect(cancel).to_be_hidden()
            expect(page.get_by_text("Downloading")).to_have_count(0)
            page.locator("#again").click()
            expect(page.get_by_text(f"from {REPO} on the Hugging Face Hub").first).to_be_visible(timeout=WAIT)
            expect(page.locator("#again")).to_be_hidden()
            cancel.click()
            choose(page, "experiment", "tiny · local runs")
            facts(page, "tiny epoch-002")
            fault.drip = 0.0
            choose(page, "experiment", f"{REPO} · Hugging Face Hub")
            expect(page.locator("#checkpoint input")).to_have_value("epoch-001 · warm-up")
            choose(page, "checkpoint", "epoch-002 · adversarial")
            facts(page, f"{REPO} epoch-002")


def test_the_page_accepts_only_so_many_sources(tmp_path: Path) -> None:
    hub = HubStore([f"you-{number}" for number in range(sources.MAX_SOURCES)], tmp_path, list_seconds=1)
    with pytest.raises(ValueError, match=f"already looks at {sources.MAX_SOURCES} places"):
        sources.add(hub, "one-more")
    assert len(hub.sources) == sources.MAX_SOURCES


def test_the_hub_is_asked_after_the_page_is_up_and_a_choice_stays(
    browser: Browser, tiny_hub: HubServer, runs: Path, tmp_path: Path
) -> None:
    fault = tiny_hub.fail("GET /api/.*", silence=12, times=1)  # it is given up after fifteen
    with Server(runs, tmp_path, (str(ROOT / "app.py"), "--hub", "you")) as server:
        assert tiny_hub.requests == []
        start = time.monotonic()
        for page in opened(browser, server, width=1280, height=900):
            assert time.monotonic() - start < 11, "it does not wait for the silent Hub"
            known = page.locator("#known textarea")
            expect(known).not_to_have_value("")  # what is here
            before = known.input_value()
            choose(page, "experiment", "tiny · local runs")
            choose(page, "checkpoint", "epoch-001 · warm-up")
            upload(page, PAGODA)
            facts(page, "tiny epoch-001", "640 × 427 px")
            expect(page.locator("#about h2")).to_have_text("tiny epoch-001")
            line = page.locator("#facts").inner_text()
            found = page.get_by_role("option", name=f"{REPO} · Hugging Face Hub")
            fault.over.set()
            expect(known).not_to_have_value(before, timeout=WAIT)  # now it is known what the Hub has
            settled(page)
            page.locator("#experiment input").click()
            expect(found).to_be_visible()
            expect(page.locator("#checkpoint input")).to_have_value("epoch-001 · warm-up")
            expect(page.locator("#about h2")).to_have_text("tiny epoch-001")
            assert page.locator("#facts").inner_text() == line, "not drawn again"
            found.click()
            facts(page, f"{REPO} epoch-001")


def test_visitors_of_a_space_add_what_its_owner_names(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    hub = HubStore([], tmp_path, list_seconds=30)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    assert sources.addable() is None
    monkeypatch.setenv("SPACE_ID", "you/animegan-space")
    assert not sources.may_add(hub), "not even without a token"
    with pytest.raises(ValueError, match="Nothing can be added here"):
        sources.add(hub, "you/animegan-hayao")
    monkeypatch.setenv(sources.SETTING, "you, them/animegan-hayao")
    assert sources.may_add(hub)
    for name in ("them", "them/animegan-paprika", "you-too"):
        with pytest.raises(ValueError, match=f"{name} may not be added here, only: you, them/animegan-hayao"):
            sources.add(hub, name)
    for name in ("you", "you/animegan-hayao", "them/animegan-hayao"):
        with pytest.raises(ValueError, match="cannot be reached"):  # asked, in vain
            sources.add(hub, name)
    monkeypatch.setenv(sources.SETTING, "*")
    assert sources.addable() is None
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    assert not sources.may_add(hub), "they would spend its token"
