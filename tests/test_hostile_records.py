"""Whatever a stranger's record or history says: it is refused in a sentence, or everything that shows it can."""

import copy
import gc
import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr
import orjson
import pytest
from gradio.context import LocalContext

from animegan_app.catalog import Catalog, Offer
from animegan_app.charts import differences, loss_figure, plane_figure, read_curves, scales, with_measured
from animegan_app.studio import Studio
from animegan_app.ui import components
from animegan_app.ui.compare.grid import _heads
from animegan_app.ui.experiments.charts import PLANE_WORDS as PLANE
from animegan_app.ui.experiments.overview import _card, _row
from animegan_app.ui.experiments.single import render_card
from animegan_app.ui.looks import name_of
from animegan_app.ui.stylize import about_checkpoint
from hub_export.card import model_card
from hub_export.checkpoint import read_history
from hub_export.folder import FolderStore
from hub_export.metrics import yardsticks
from hub_export.record import (
    CARD,
    HISTORY,
    MAX_HISTORY_ROWS,
    RECORD,
    SIZE_LIMITS,
    CheckpointError,
    Record,
    parse_record,
    read_record,
    record_text,
)
from support.checkpoints import reseal, save_tiny
from support.language import translated
from train.evaluate import compared_with, evaluation

PLANE_WORDS = dict.fromkeys(PLANE, "word")


def nested(levels: int, inner: Any = 0) -> Any:
    for level in range(levels):
        inner = [inner] if level % 2 else {"a": inner}
    return inner


TEXTS = {
    "a lone surrogate": "\ud800",
    "a surrogate in the middle": "a\udfffb",
    "a surrogate pair the wrong way": "\ude00\ud83d",
    "a zero": "a\0b",
    "an escape sequence": "\x1b[2J\x1b]0;owned\x07",
    "a megabyte": "x" * 2**20,
    "100 KB": "x" * 100_000,
    "an emoji": "🎨",
    "both directions": "\u202egpj.exe",
    "line ends": "a\r\nb\u2028c\n\n---\nd",
    "YAML": "---\nlicense: mit\n---\n{{ 1 }} {% raw %} ${x} %s {0} {name}",
    "HTML": "<script>alert(1)</script><img src=x onerror=alert(1)>",
    "Markdown": "[" * 3000 + "](javascript:alert(1)) | `` ``` \\ |",
    "empty": "",
    "a path": "../../etc/passwd",
}
VALUES: dict[str, Any] = TEXTS | {
    "null": None,
    "true": True,
    "five": 5,
    "minus one": -1,
    "zero": 0,
    "half": 0.5,
    "NaN": float("nan"),
    "infinity": float("inf"),
    "minus infinity": float("-inf"),
    "1e308": 1e308,
    "5e-324": 5e-324,
    "minus zero": -0.0,
    "2**53": 2**53,
    "2**53 - 1": 2**53 - 1,
    "10**400": 10**400,
    "10**4299": 10**4299,
    "a list": [],
    "an object": {},
    "a list of lists": [[["\ud800"]]],
    "an object with an odd key": {"\udc00": 1},
    "an object with an empty key": {"": {"": ""}},
    "nested 6 times": nested(6),
    "nested 100 times": nested(100),
    "nested 900 times": nested(900),
    "100,000 values": [0] * 100_000,
    "5,000 names": {str(number): 1 for number in range(5000)},
    "1,500 names": {str(number): 1 for number in range(1500)},
}


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Paths to everything in a record."""
    if path:
        yield path
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from places(inner, (*path, key))


def changed(values: Any, path: tuple[Any, ...], value: Any) -> Any:
    found = inside = copy.copy(values)
    for key in path[:-1]:
        inside[key] = copy.copy(inside[key])
        inside = inside[key]
    inside[path[-1]] = value
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "tiny" / "epoch-001"
    metrics = {"style": 0.25, "style_error": 0.1, "content": 0.2, "style_photos": 9.0, "style_anime": 0.0}
    config = {
        "name": "tiny",
        "init": "hub:you/x@epoch-001",
        "loss": {"style_weight": 3.0},
        "features": {"network": "hed-vgg16"},
        "data": {"style": "Hayao", "holdout": 48},
    }
    data = {"photos": 12, "anime": 12, "source": "Ours.", "terms": "Free.", "measured": "On 8.", "compared_with": "other"}
    look = {"name": "Plain", "line": "As it comes", "good_for": "anything", "name_zh": "素净"}
    save_tiny(folder, config=config, metrics=metrics, data=data, look=look)
    return folder


@pytest.fixture(scope="module")
def values(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / RECORD).read_text()))


@pytest.fixture(scope="module")
def studio(folder: Path) -> Iterator[Studio]:
    """What shows offers, as while an event is answered. What other tests left in memory is no garbage to look through."""
    LocalContext.blocks.set(gr.Blocks())
    gc.freeze()
    yield Studio(Catalog({"bundled": FolderStore(folder.parents[1])}))
    gc.unfreeze()
    LocalContext.blocks.set(None)


def show(record: Record, other: Record, studio: Studio) -> None:
    """Everything that shows a record, as bytes that could be sent."""
    offers = {"one": [Offer("bundled", "tiny", record)], "<b>other": [Offer("bundled", "other", other)]}
    for repo in (None, "you/animegan-tiny"):
        card = model_card(record, repo)
        assert len(card.encode()) <= SIZE_LIMITS[CARD]
        render_card(card).encode()
    curves = with_measured(read_curves(studio.catalog.fetch(Offer("bundled", "tiny", other))), [record, other])
    figures = [
        plane_figure(offers, PLANE_WORDS),
        loss_figure({"one": curves}, list(curves.terms)[:8], logarithmic=True, reach=2),
        scales(offers),
        differences(record, other),
        [evaluation(record, record.metrics), compared_with(record, [other])],
        [components.experiment_choices(offers, None), components.checkpoint_choices(offers["one"], None)],
    ]
    for figure in figures:
        json.dumps(figure, allow_nan=False).encode()
        orjson.dumps(figure)
    about_checkpoint(studio, offers["one"][0], None).encode()
    style, content = yardsticks([record, other])
    for each in offers.values():
        orjson.dumps([_card(studio.catalog, each, None), _row(studio.catalog, each, style, content, None)])
    orjson.dumps(_heads([each[0] for each in offers.values()], None))
    orjson.dumps([record.question, record.phase, record.epoch, record.step, record.sha256])
    orjson.dumps([name_of(offers["one"][0], None), record.look])
    assert parse_record(record_text(record), "again") == record, "what was read can be written and read again"


def read(text: str) -> Record | None:
    """The record of a text, or None if it was refused in a sentence."""
    try:
        return parse_record(text, "a stranger's")
    except CheckpointError as error:
        said = str(error)
        translated(error)
    assert len(said.encode()) < 500 and said.isprintable(), said
    return None


@pytest.mark.slow
def test_every_part_of_a_record_may_be_hostile(folder: Path, values: dict[str, Any], studio: Studio) -> None:
    other, accepted, slowest = read_record(folder), 0, 0.0
    shown: set[str] = set()
    show(other, other, studio)  # what takes long the first time
    for path in places(values):
        for name, value in VALUES.items():
            text = json.dumps(changed(values, path, value))
            started = time.thread_time()
            record = read(text)
            accepted += record is not None
            # of settings with the same kind of value, showing one is enough
            kind = f"{path[:2] if path[0] == 'config' else path if path[0] not in ('probe', 'files') else path[0]} {name}"
            if record and kind not in shown:
                shown.add(kind)
                try:
                    show(record, other, studio)
                except Exception as error:
                    raise AssertionError(f"{path} = {name} was accepted and cannot be shown") from error
            slowest = max(slowest, time.thread_time() - started)
    assert accepted > 500, "most texts of a setting are fine"
    assert slowest < 2, "in seconds"


@pytest.mark.parametrize("name", TEXTS)
def test_every_name_in_a_record_may_be_hostile(folder: Path, values: dict[str, Any], studio: Studio, name: str) -> None:
    other = read_record(folder)
    for path in [(), *places(values)]:
        inside = values
        for key in path:
            inside = inside[key]
        if isinstance(inside, dict):
            for value in (1, "text", None, [1, 2], {"a": 1}):
                more = inside | {TEXTS[name]: value}
                record = read(json.dumps(changed(values, path, more) if path else more))
                if record:
                    show(record, other, studio)


ROWS: dict[str, bytes] = {
    "a lone surrogate in a text": rb'{"step": 1, "phase": "\ud800"}',
    "a lone surrogate in a name": rb'{"step": 1, "\ud800": 1}',
    "raw bytes of a surrogate": b'{"step": 1, "phase": "\xed\xa0\x80"}',
    "not UTF-8": b'{"step": 1, "phase": "\xff"}',
    "a zero": rb'{"step": 1, "phase": "\u0000"}',
    "an escape sequence": rb'{"step": 1, "\u001b[2J": 1}',
    "NaN": b'{"step": 1, "content": NaN}',
    "infinity": b'{"step": 1, "content": 1e999}',
    "a step of 400 digits": b'{"step": 1' + b"0" * 400 + b"}",
    "a step of 5000 digits": b'{"step": 1' + b"0" * 5000 + b"}",
    "a true step": b'{"step": true}',
    "half a step": b'{"step": 1.5}',
    "a list": b'{"step": 1, "content": [1]}',
    "nested": b'{"step": 1, "content": ' + b"[" * 5000 + b"]" * 5000 + b"}",
    "a name of 16 KB": b'{"step": 1, "' + b"x" * 20_000 + b'": 1}',
    "no step": b'{"content": 1}',
    "UTF-16": '{"step": 1}'.encode("utf-16"),
}


@pytest.mark.parametrize("name", ROWS)
def test_a_hostile_row_of_a_history_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / HISTORY).write_bytes(b'{"step": 1, "epoch": 1, "phase": "warm-up", "content": 1}\n' * 3 + ROWS[name] + b"\n")
    with pytest.raises(CheckpointError, match=HISTORY) as refusal:
        read_history(tmp_path)
    assert str(refusal.value).isprintable() and len(str(refusal.value)) < 400
    translated(refusal.value)


def test_a_history_of_a_million_names_is_refused_early(tmp_path: Path) -> None:
    rows = (json.dumps({"step": 1} | {f"{row}-{name}": 1 for name in range(300)}) for row in range(4000))
    (tmp_path / HISTORY).write_text("\n".join(rows))
    started = time.process_time()
    with pytest.raises(CheckpointError, match="names of terms") as refusal:
        read_history(tmp_path)
    translated(refusal.value)
    assert time.process_time() - started < 1


@pytest.mark.slow
def test_the_longest_history_is_read_and_shown(tmp_path: Path) -> None:
    rows = [
        {"step": step, "epoch": 1, "phase": "Ω", **{f"t{term}": -1e15 for term in range(12)}} for step in (-(2**53) + 1, 0)
    ]
    text = "".join(json.dumps(row) + "\n" for row in rows) * (MAX_HISTORY_ROWS // 2)
    (tmp_path / HISTORY).write_text(text)
    started = time.process_time()
    orjson.dumps(loss_figure({"one": read_curves(tmp_path)}, ["t1"], logarithmic=False))
    assert time.process_time() - started < 10


def test_a_hostile_record_hides_itself_alone(folder: Path, tmp_path: Path) -> None:
    for number, text in enumerate(["Harmless?", *TEXTS.values()], 1):
        bad = Path(shutil.copytree(folder, tmp_path / "tiny" / f"epoch-{number:03}"))
        reseal(bad, checkpoint=bad.name, question=text)
    store = FolderStore(tmp_path)
    offered = [record.checkpoint for record in store.checkpoints("tiny")]
    assert "epoch-001" in offered and len(offered) + len(store.problems()) == len(TEXTS) + 1
    for record in store.checkpoints("tiny"):
        orjson.dumps([record.question, model_card(record)])
    "".join(store.problems()).encode()
