"""What several tabs show: choices, tables, errors, names of files. Text from records is a stranger's and always escaped."""

import html
import re
import tempfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import gradio as gr
import numpy as np
from gradio.context import LocalContext
from gradio.processing_utils import hash_bytes
from gradio.route_utils import API_PREFIX
from gradio.utils import get_upload_folder

from animegan_app.catalog import Offer
from animegan_app.ui.i18n import WORDS, label, say
from animegan_app.writing import encoded
from hub_export.record import Record
from hub_export.sentences import Sentence

QUEUE_SIZE = 64
"""How many requests may wait; all of them may, for a download or for the one drawing that is made at a time. One visitor's
half of them leaves the other half to others."""
ERROR_SECONDS = 6

Outputs = dict[Any, Any]
"""What an event changes: component to value or update. Of those that it may change, one that is not there stays as it is."""
QUICK: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
"""How an event is answered that waits for no drawing."""
EACH = QUICK | {"trigger_mode": "multiple"}
"""The same for a choice by a click, of which Gradio would drop the next one until this one is answered."""
AFTER: dict[str, Any] = {"show_progress": "hidden", "trigger_mode": "always_last", "api_visibility": "private"}
"""What follows from a drawing's end: if another ends meanwhile, the newest is answered."""
SLOW: dict[str, Any] = {
    "preprocess": False,
    "concurrency_limit": QUEUE_SIZE,
    "trigger_mode": "once",
    "api_visibility": "private",
}
"""How an event is answered that waits for drawings."""

CSV = """
const harmless = (text) => String(text ?? "").replace(/^(?=[=+@\\t\\r-])/, "'").replaceAll('"', '""');
const quoted = (value) => (typeof value === "number" ? value : `"${harmless(value)}"`);
const csv = (rows) => rows.map((row) => row.map(quoted).join(",")).join("\\r\\n");
"""
"""A table in which no cell is a formula to whoever opens it."""


def answer_in_turn(events: Sequence[Any], fn: Callable[..., Any], inputs: Any, outputs: Any) -> None:
    """Answers what changed one at a time, so that the last choice's answer comes last; `fn` takes values as they are sent.

    What an answer waits for begins anew with the whole event in Gradio 6.31: two such answers to one event would begin
    each other again and again. So each has an event to itself. What waits is forgotten where `fn` raises an error: it
    returns what `alert` makes of it where there is a place for that.

    A dropdown says twice in one breath that it was changed; only after a breath Gradio knows that it waits for the first
    answer, and asks for no second one beside it.
    """
    ended = gr.on(events, None, None, None, js="() => new Promise((done) => setTimeout(done))", **QUICK)
    ended.then(fn, inputs, outputs, preprocess=False, trigger_mode="always_last", **QUICK)


def error(problem: Exception | str, request: gr.Request | None, **values: object) -> gr.Error:
    """Tells who asks what went wrong: what was raised, or what `say` knows by a key and values.

    Gradio renders messages as HTML.
    """
    return gr.Error(in_words(problem, request, **values), duration=ERROR_SECONDS, print_exception=False)


def alert(problem: Exception | str, request: gr.Request | None, **values: object) -> str:
    """The same as a paragraph, which is read out."""
    return f"<p class='problem' role='alert'>{in_words(problem, request, **values)}</p>"


def in_words(problem: Exception | str, request: gr.Request | None, **values: object) -> str:
    """The same as HTML, in which names from files are escaped."""
    text = say(Sentence.of(problem) if isinstance(problem, Exception) else problem, request, **values)
    return html.escape(text.encode("utf-8", "replace").decode())  # a name that a program sent may be no valid text


def drawn_so_far(count: int, of: int, problems: Sequence[str], request: gr.Request | None) -> str:
    """HTML: how many pictures are drawn, and what could not be."""
    line = html.escape(say("drawn", request, count=count, all=of))
    items = "".join(f"<li>{html.escape(problem)}</li>" for problem in problems)
    return f"<p role='status'>{line}</p>" + (f"<div class='notice'><ul>{items}</ul></div>" if items else "")


TAKE_ANY = """
const isOdd = (file) => !file.type.startsWith("image/");
const typed = (files) => {
    const all = new DataTransfer();
    for (const file of files) all.items.add(isOdd(file) ? new File([file], file.name, { type: "image/heic" }) : file);
    return all;
};
element.addEventListener("click", () => {
    for (const input of element.querySelectorAll("input[type=file]")) input.accept = "image/*,.heic,.heif,.hif";
}, true);
element.addEventListener("change", ({ target }) => {
    if (target.files && [...target.files].some(isOdd)) target.files = typed(target.files).files;
}, true);
element.addEventListener("drop", (event) => {
    const { dataTransfer, target } = event;
    if (![...(dataTransfer?.files ?? [])].some(isOdd)) return;
    event.preventDefault();
    event.stopImmediatePropagation();
    const named = { bubbles: true, cancelable: true, dataTransfer: typed(dataTransfer.files) };
    target.dispatchEvent(new DragEvent("drop", named));
}, true);
"""
"""gr.Image takes what the browser calls an image, and most browsers have no name for HEIC. What has none gets that name: if
it is something else, `read_photo` says so, in the person's language."""


def photo_files(name: str, title: str, height: int) -> gr.File:
    """Several photos to choose at once; what the browser takes for no picture is taken too, see `TAKE_ANY`.

    Args:
        name: id of its element.
        title: key of what it is called.
        height: in pixels.
    """
    with gr.HTML(html_template="@children", js_on_load=TAKE_ANY, elem_classes="bare"):
        return gr.File(file_count="multiple", file_types=["image"], label=label(title), height=height, elem_id=name)


def table(head: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    """HTML of a small table; every cell escaped."""
    titles = "".join(f"<th scope='col'>{html.escape(title)}</th>" for title in head)
    lines = "".join(f"<tr>{''.join(f'<td>{html.escape(str(cell))}</td>' for cell in row)}</tr>" for row in rows)
    return f"<div class='table'><table><thead><tr>{titles}</tr></thead><tbody>{lines}</tbody></table></div>"


def experiment_choices(experiments: dict[str, list[Offer]], request: gr.Request | None) -> list[tuple[str, str]]:
    """What a dropdown of experiments shows and gives: "cel · bundled", "bundled/cel"."""
    return [(f"{offers[0].name} · {say(offers[0].source, request)}", key) for key, offers in experiments.items()]


def checkpoint_choices(offers: list[Offer], request: gr.Request | None) -> list[tuple[str, str]]:
    """What a dropdown of checkpoints shows and gives, the newest first: "epoch-015 · adversarial", its key."""
    return [(f"{offer.record.checkpoint} · {phase(offer.record, request)}", offer.key) for offer in reversed(offers)]


def renewed(choices: list[tuple[str, str]], value: Any, default: Any) -> dict[str, Any]:
    """A dropdown with what is on offer now. What is chosen and on offer is not set again: it may have changed meanwhile.

    A list from which all was taken out is a choice too.
    """
    offered = {key for _, key in choices}
    kept = offered.issuperset(value if isinstance(value, list) else [value])
    return gr.update(choices=choices) if kept else gr.update(choices=choices, value=default)


def phase(record: Record, request: gr.Request | None) -> str:
    """Which phase of training a checkpoint was taken in, in the reader's language where we know the recipe's word."""
    key = f"phase_{record.phase}"
    return say(key, request) if key in WORDS else record.phase


def file_name(photo: str, record: Record) -> str:
    """Tells photo and checkpoint, e.g. "pagoda-cel-epoch-060"."""
    plain = re.sub(r"[^\w.-]+", "-", photo)[:60]
    return f"{plain}-{record.experiment}-{record.checkpoint}"


def pixels_of(size: Any) -> str:
    """Width and height, e.g. "640 × 427"."""
    return f"{size[0]} × {size[1]}"


def save(picture: np.ndarray, name: str) -> str:
    """A picture, RGB or RGBA, as a file that Gradio serves and deletes."""
    return keep(encoded(picture, Path(name).suffix), name)


def address(path: str) -> str:
    """Where the page finds a file that `keep` or `save` made."""
    return f"{API_PREFIX.strip('/')}/file={quote(path)}"


def keep(content: bytes, name: str) -> str:
    """A file that Gradio serves and deletes, also where no component ever shows it; only while an event is answered.

    The same content has the same file, which is replaced in one step: a page may be loading it.
    """
    folder = Path(get_upload_folder(), hash_bytes(content))
    folder.mkdir(parents=True, exist_ok=True)
    handle, aside = tempfile.mkstemp(dir=folder)
    with open(handle, "wb") as file:
        file.write(content)
    path = str(Path(aside).replace(folder / name))
    blocks = LocalContext.blocks.get()
    assert blocks is not None
    blocks.upload_file_set.add(path)
    return path
