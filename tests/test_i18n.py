"""What the app says, in both its languages."""

import ast
import asyncio
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from string import Formatter
from types import SimpleNamespace
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, expect

from animegan_app import studio as studio_module
from animegan_app import uploads
from animegan_app.catalog import HUB, Catalog
from animegan_app.chinese import SENTENCES
from animegan_app.door import MAX_BYTES
from animegan_app.photos import MAX_FILE_BYTES, PhotoError, read_photo
from animegan_app.studio import Studio
from animegan_app.stylize import Stylizer
from animegan_app.ui import i18n, sources
from animegan_app.ui.i18n import RECORDS, WORDS, device, recorded, say
from hub_export.checkpoint import load_generator, read_history
from hub_export.files import REMEDIES
from hub_export.folder import BUNDLED
from hub_export.hub import explain
from hub_export.record import HISTORY, RECORD, WEIGHTS, CheckpointError, read_record
from hub_export.sentences import ExplainedError, Sentence
from hub_export.store import HubStore
from support.app import PAGODA, REPO, WAIT, Server, choose, facts, finish, identity, laboratory, opened, remove, upload
from support.checkpoints import reseal, save_tiny
from support.hub import HubServer
from support.language import translated
from support.pictures import encode, png_header

SAYING = {"say", "label", "components.error", "self._problem"}
"""What takes a key of `WORDS` first."""
CHINESE_READER: Any = SimpleNamespace(headers={"accept-language": "zh-CN"})


def chinese(told: Sentence) -> str:
    return say(told, CHINESE_READER)


def names(template: str) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(template) if name is not None}


def test_every_word_that_is_said_is_there_and_every_one_that_is_there_is_said() -> None:
    """A key that is asked for by a path that few people take is missed by nobody else before one of them comes."""
    said, texts, beginnings, asking = set[str](), set[str](), set[str](), set[str]()
    files = set(Path(uploads.__file__).parent.rglob("*.py")) - {Path(i18n.__file__)}
    for node in (node for path in files for node in ast.walk(ast.parse(path.read_text()))):
        match node:
            case ast.Constant(str(text)):
                texts.add(text)
            case ast.JoinedStr([ast.Constant(str(text)), *_]) if text.endswith("_"):
                beginnings.add(text)
            case ast.Call(func, [ast.Constant(str(text)), *_]) if ast.unparse(func) in SAYING:
                said.add(text)
                asking.add(ast.unparse(func))
    assert asking == SAYING, "a renamed one would go unchecked"
    assert len(said) > 100 and said <= WORDS.keys(), said - WORDS.keys()
    unsaid = {word for word in WORDS if word not in texts and not word.startswith(tuple(beginnings))}
    assert not unsaid


def test_both_languages_fill_in_the_same_and_chinese_is_chinese() -> None:
    for english, told in [*SENTENCES.items(), *RECORDS.items(), *WORDS.values()]:
        assert names(english) == names(told), english
    for english, told in (SENTENCES | RECORDS).items():
        plain = re.sub(r"\{[^}]*\}", "", english)
        assert re.search("[一-鿿]", told) or not re.search("[a-z]", plain), english
    assert not any(map(names, RECORDS)), "a record's text is no template"
    assert {len(names.split(", ")) for names in WORDS["example_names"]} == {len(uploads.EXAMPLES)}


def test_a_sentence_within_another_is_told_in_the_same_language_and_strangers_text_stays() -> None:
    inner = Sentence("{place}: {fault}", place="你/{name}", fault=Sentence("the weights file is damaged"))
    missing = Sentence("{text}", text="is missing or private; set HF_TOKEN")
    told = Sentence("{fault}; {problem}", fault=inner, problem=missing)
    assert told == "你/{name}: the weights file is damaged; is missing or private; set HF_TOKEN" == say(told, None)
    assert chinese(told) == "你/{name}: 权重文件已损坏；is missing or private; set HF_TOKEN"


def test_braces_of_a_text_without_values_stay() -> None:
    told = ExplainedError("{x}: no {such} file").sentence
    assert told == "{x}: no {such} file" == say(told, None) == chinese(told)


def test_what_ships_is_told_in_chinese_too() -> None:
    said: set[str] = set()
    for record in map(read_record, BUNDLED.glob("*/*")):
        said |= {record.question, *(str(record.data.get(name, "")) for name in ("source", "terms", "measured"))}
    assert [text for text in said if re.search("[a-z]{3} [a-z]", chinese(recorded(text)))] == []
    for text in (*said, "mine, changed: seed=1.", "{0} On two CPU cores: {question}", "On two CPU cores: By me."):
        assert say(recorded(text), None) == text
    question = "What does AnimeGAN's own recipe give, trained from scratch?"
    assert chinese(recorded(f"{question}, changed: seed=1.")) == f"{RECORDS[question]}，改动：seed=1."
    assert chinese(recorded("By me.")) == "By me."
    assert chinese(recorded("Style A of my {0}, in AnimeGAN's layout.")) == "my {0} 文件夹中的 A 风格，按 AnimeGAN 的布局。"


PHOTOS: dict[str, Callable[[], bytes]] = {
    "text": lambda: b"I am no picture.",
    "HEIC": lambda: b"\0\0\0\x18ftypheic",
    "raw": lambda: b"IIRO\x08\0\0\0",
    "cut off": lambda: PAGODA.read_bytes()[:20_000],
    "too many pixels": lambda: png_header(20_000, 20_000),
    "far too many pixels": lambda: png_header(2**30, 2**30),
    "a strip": lambda: encode(Image.new("L", (99, 3)), "PNG"),
    "32 bits": lambda: encode(Image.fromarray(np.full((9, 9), 1.5, np.float32)), "TIFF"),
    "too large": lambda: b" " * (MAX_FILE_BYTES + 1),
}


@pytest.mark.parametrize("text", ["AMD EPYC, 2 cores", "Intel, Xeon, 1 core", "NVIDIA H200", "cores, a few cores"])
def test_what_a_training_ran_on(text: str) -> None:
    assert say(device(text), None) == text
    cores = re.search(r"(\d+) cores?$", text)
    assert chinese(device(text)) == (f"{text[: cores.start() - 2]}，{cores[1]} 核" if cores else text)


@pytest.mark.slow
@pytest.mark.parametrize("name", PHOTOS)
def test_what_is_wrong_with_a_photo_is_told_in_chinese_too(name: str, tmp_path: Path) -> None:
    (tmp_path / "photo").write_bytes(PHOTOS[name]())
    with pytest.raises(PhotoError) as told:
        read_photo(tmp_path / "photo")
    translated(told.value)


@pytest.mark.slow
def test_what_a_drawing_is_doing_and_why_it_is_not_made_is_told_in_chinese_too(
    tiny_hub: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", tiny_hub.endpoint)
    store = HubStore([REPO], tmp_path / "cache")
    store.refresh()
    studio = Studio(Catalog({HUB: store}))
    key = f"{HUB}/{REPO}/epoch-001"
    said: list[Sentence] = []

    def refused(path: Path = PAGODA, key: str = key, side: int = 512) -> None:
        with pytest.raises((PhotoError, CheckpointError)) as told:
            finish(studio.draw(path, key, side, lambda done, doing: said.append(doing)))
        said.append(told.value.sentence)

    async def crowd() -> None:
        Image.new("L", (99, 99)).save(tmp_path / "small.png")
        sides = zip([PAGODA, tmp_path / "small.png"] * 2, (1536, 1024, 768, 512), strict=True)
        drawn = (studio.draw(path, key, side, lambda done, doing: said.append(doing)) for path, side in sides)
        await asyncio.gather(*drawn)

    refused(side=99), refused(tmp_path / "gone.jpg"), refused(key="gone")
    monkeypatch.setattr(studio_module, "MAX_WAITING", 0)
    refused()
    monkeypatch.undo()
    monkeypatch.setattr(studio_module, "LOOK_SECONDS", 0.001)
    finish(crowd())
    translated(*said)
    for english in ("Downloading", "Waiting for 1", "Waiting for 2", "Reading", "Drawing", "Too many drawings", "longest"):
        assert any(told.startswith(english) or english in told for told in said), english
    with pytest.raises(PhotoError) as told:
        Stylizer().stylize(np.zeros((5000, 5000, 3), np.uint8), tmp_path)
    translated(told.value)


def no_json(folder: Path) -> None:
    (folder / RECORD).write_text("{")


def no_object(folder: Path) -> None:
    (folder / RECORD).write_text("[]")


def no_weights(folder: Path) -> None:
    (folder / WEIGHTS).unlink()


def other_weights(folder: Path) -> None:
    (folder / WEIGHTS).write_bytes(b"spoiled")


def no_history(folder: Path) -> None:
    (folder / HISTORY).write_text("no JSON")
    reseal(folder)


@pytest.mark.parametrize(
    "spoil",
    [
        shutil.rmtree,
        no_json,
        no_object,
        no_weights,
        other_weights,
        no_history,
        lambda folder: reseal(folder, schema=99),
        lambda folder: reseal(folder, pixels="other"),
        lambda folder: reseal(folder, files={}),
        lambda folder: reseal(folder, epoch="one"),
    ],
)
def test_what_is_wrong_with_a_checkpoint_is_told_in_chinese_too(spoil: Callable[[Path], Any], tmp_path: Path) -> None:
    save_tiny(folder := tmp_path / "tiny" / "epoch-001")
    spoil(folder)
    with pytest.raises(CheckpointError) as told:
        load_generator(folder), read_history(folder)
    translated(told.value)
    said = chinese(told.value.sentence).replace(str(folder), "")
    assert re.search("[一-鿿]", said) and not re.search("[a-z]{3} [a-z]{3}", said), said


@pytest.mark.parametrize("name", ["a/b/c", "you@", "nobody"])
def test_what_is_wrong_with_a_place_is_told_in_chinese_too(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(ExplainedError, match=name) as told:
        sources.add(HubStore([], tmp_path, list_seconds=30), name)
    translated(told.value)
    said = chinese(told.value.sentence)
    assert re.search("[一-鿿]", said) and not re.search("[a-z]{3} [a-z]{3}", said), said


@pytest.mark.parametrize("number", REMEDIES)
def test_what_a_disk_refuses_is_told_in_chinese_too(number: int) -> None:
    told = explain(OSError(number, "words of the system"), REPO)
    translated(told)
    assert not re.search("[a-z]{3} [a-z]{3}", chinese(told).replace(REPO, "").replace("ulimit", "")), chinese(told)


def test_a_refused_request_is_told_in_chinese_too(server: Server) -> None:
    headers = {"accept-language": "zh-CN,zh;q=0.9"}
    asked = httpx.Client(base_url=server.url, trust_env=False, headers=headers, timeout=60)
    answers = [
        asked.get("gradio_api/proxy=http://a.example/"),
        asked.get("", headers={"host": "rebound.example"}),
        asked.post("gradio_api/queue/join", content=b" " * (MAX_BYTES + 1)),
    ]
    assert [answer.status_code for answer in answers] == [404, 403, 413]
    assert all(re.match("[一-鿿]", answer.json()["detail"]) for answer in answers), [answer.text for answer in answers]


def test_chinese_for_who_reads_it(browser: Browser, server: Server, tmp_path: Path) -> None:
    for page in opened(browser, server, width=1280, height=900, locale="zh-CN"):
        expect(page.get_by_role("tab", name="来源")).to_be_visible()
        expect(page).to_have_title(re.compile("AnimeGAN 实验室"))
        expect(page.get_by_role("button", name="美食")).to_be_visible()
        expect(page.locator("#looks")).to_contain_text("清爽赛璐璐")
        expect(page.locator("#looks .about")).to_contain_text("适合人物")
        expect(page.get_by_role("button", name="选择照片")).to_be_visible()
        laboratory(page)
        expect(page.locator("#about")).to_contain_text("画好的目标")
        expect(page.locator("#longest-side")).to_contain_text("粗放 · 512 像素")
        expect(page.get_by_role("button", name="下载")).to_be_visible()
        expect(page.locator("#about")).to_contain_text("张照片")
        choose(page, "experiment", "tiny · 本地训练")
        expect(page.locator("#checkpoint input")).to_have_value("epoch-002 · 对抗")
        upload(page, PAGODA)
        facts(page, "640 × 427 像素")
        identity(page, "权重")
        remove(page)
        (tmp_path / "photo.jpg").write_text("I am no picture.")
        upload(page, tmp_path / "photo.jpg")
        expect(page.get_by_text("此文件不是可读取的图片")).to_be_visible(timeout=WAIT)
        page.get_by_role("tab", name="来源").click()
        expect(page.locator(".notice")).to_contain_text("broken/epoch-001/checkpoint.json: 不是有效的 JSON")
