"""What the app says, in both its languages."""

import ast
import re
from pathlib import Path
from string import Formatter
from types import SimpleNamespace
from typing import Any

from playwright.sync_api import Browser, expect

from animegan_app import uploads
from animegan_app.ui.words import CHINESE, PHRASES, WORDS, read
from hub_export.folder import BUNDLED
from hub_export.record import read_record
from support.app import PAGODA, ROOT, WAIT, Server, choose, facts, opened, remove, upload


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
        said |= {record.question, *(record.data[name] for name in ("source", "terms", "measured"))}
    chinese: Any = SimpleNamespace(headers={"accept-language": "zh-CN"})
    assert [text for text in said if re.search("[a-z]{3} [a-z]", read(text, chinese))] == []
    assert read("mine, changed: seed=1.", chinese) == "mine，改动：seed=1." and read("By me.", chinese) == "By me."
    paths = [*(ROOT / "hub_export").glob("*.py"), ROOT / "animegan_app" / "catalog.py"]
    code = "".join(path.read_text("utf-8") for path in paths)
    code = code.replace("{fault}", "names") + code.replace("{fault}", "does not name")
    assert [english for english in PHRASES if english not in code] == []
    for english in PHRASES:
        assert not any(part in english for part in list(PHRASES)[: list(PHRASES).index(english)]), (
            f"{english} comes too late"
        )
    assert WORDS["example_names"][0].split(", ") == [path.stem for path in uploads.EXAMPLES]


def test_chinese_for_who_reads_it(browser: Browser, server: Server, tmp_path: Path) -> None:
    for page in opened(browser, server, width=1280, height=900, locale="zh-CN"):
        expect(page.get_by_role("tab", name="来源")).to_be_visible()
        expect(page).to_have_title(re.compile("AnimeGAN 实验室"))
        expect(page.get_by_role("button", name="宝塔")).to_be_visible()
        expect(page.locator("#about")).to_contain_text("深色线条")
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
