"""What the app says, in both its languages."""

import ast
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from string import Formatter
from types import SimpleNamespace
from typing import Any

import pytest
from playwright.sync_api import Browser, expect

from animegan_app import uploads
from animegan_app.ui import sources
from animegan_app.ui.words import CHINESE, PHRASES, WORDS, explain, read
from hub_export.checkpoint import load_generator, read_history
from hub_export.folder import BUNDLED
from hub_export.record import HISTORY, RECORD, WEIGHTS, CheckpointError, read_record
from hub_export.store import HubStore
from support.app import PAGODA, ROOT, WAIT, Server, choose, facts, opened, remove, upload
from support.checkpoints import reseal, save_tiny

CHINESE_READER: Any = SimpleNamespace(headers={"accept-language": "zh-CN"})


def test_every_sentence_has_a_chinese_one_with_the_same_names() -> None:
    def names(template: str) -> set[str | None]:
        return {name for _, name, _, _ in Formatter().parse(template) if name is not None}

    found: dict[str, set[str | None]] = {}
    elsewhere: list[str] = []
    for path in (ROOT / "animegan_app").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("Sentence", "PhotoError"):
                match node.args:
                    case [ast.Constant(str(english))]:
                        found[english] = {keyword.arg for keyword in node.keywords}
                    case _:
                        elsewhere.append(ast.unparse(node))
    assert elsewhere == ["Sentence(english, **values)"], "what PhotoError is given itself"
    assert len(found) > 10 and found.keys() == CHINESE.keys()
    for english, given in found.items():
        assert given in (names(english), {None}) and names(CHINESE[english]) == names(english), english
    for key, (english, chinese) in WORDS.items():
        assert names(english) == names(chinese), key


def test_what_ships_and_what_goes_wrong_is_told_in_chinese_too() -> None:
    said: set[str] = set()
    for record in map(read_record, BUNDLED.glob("*/*")):
        said |= {record.question, *(str(record.data.get(name, "")) for name in ("source", "terms", "measured"))}
    assert [text for text in said if re.search("[a-z]{3} [a-z]", read(text, CHINESE_READER))] == []
    assert (
        read("mine, changed: seed=1.", CHINESE_READER) == "mine，改动：seed=1."
        and read("By me.", CHINESE_READER) == "By me."
    )
    for english in PHRASES:
        assert not any(part in english for part in list(PHRASES)[: list(PHRASES).index(english)]), (
            f"{english} comes too late"
        )
    assert WORDS["example_names"][0].split(", ") == [path.stem for path in uploads.EXAMPLES]


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
    chinese = explain(told.value, CHINESE_READER)
    assert re.search("[一-鿿]", chinese) and not re.search("[a-z]{3} [a-z]{3}", chinese.replace(str(folder), "")), chinese


@pytest.mark.parametrize("name", ["a/b/c", "you@", "nobody"])
def test_what_is_wrong_with_a_place_is_told_in_chinese_too(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(ValueError, match=name) as told:
        sources.add(HubStore([], tmp_path, list_seconds=1), name, None)
    chinese = explain(told.value, CHINESE_READER)
    assert re.search("[一-鿿]", chinese) and not re.search("[a-z]{3} [a-z]{3}", chinese), chinese


def test_chinese_for_who_reads_it(browser: Browser, server: Server, tmp_path: Path) -> None:
    for page in opened(browser, server, width=1280, height=900, locale="zh-CN"):
        expect(page.get_by_role("tab", name="来源")).to_be_visible()
        expect(page).to_have_title(re.compile("AnimeGAN 实验室"))
        expect(page.get_by_role("button", name="宝塔")).to_be_visible()
        expect(page.locator("#about")).to_contain_text("画好的目标")
        expect(page.get_by_role("button", name="下载")).to_be_visible()
        expect(page.locator("#about")).to_contain_text("张照片")
        choose(page, "experiment", "tiny · 本地训练")
        expect(page.locator("#checkpoint input")).to_have_value("epoch-002 · 对抗")
        upload(page, PAGODA)
        facts(page, "640 × 427 像素", "权重")
        remove(page)
        (tmp_path / "photo.jpg").write_text("I am no picture.")
        upload(page, tmp_path / "photo.jpg")
        expect(page.get_by_text("此文件不是可读取的图片")).to_be_visible(timeout=WAIT)
        page.get_by_role("tab", name="来源").click()
        expect(page.locator(".notice")).to_contain_text("broken/epoch-001/checkpoint.json: 不是有效的 JSON")
