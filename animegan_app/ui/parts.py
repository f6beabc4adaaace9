"""What several tabs show: choices, tables, errors, names of files. Text from records is a stranger's and always escaped."""

import html
import io
import re
from collections.abc import Iterable
from typing import Any

import gradio as gr
import numpy as np
from gradio.context import LocalContext
from gradio.processing_utils import save_bytes_to_cache
from gradio.utils import get_upload_folder
from PIL import Image

from animegan_app import uploads
from animegan_app.catalog import Offer
from animegan_app.ui.words import label, say
from hub_export.record import Record
from hub_export.sentences import Sentence

QUEUE_SIZE = 64
"""How many requests may wait; all of them may, for a download or for the one drawing that is made at a time. One visitor's
half of them leaves the other half to others."""
ERROR_SECONDS = 20
JPEG_QUALITY = 95
PHASES = ("warm-up", "adversarial", "imitation")

Outputs = dict[Any, Any]
"""What an event changes: component to value or update. Of those that it may change, one that is not there stays as it is."""
QUICK: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
"""How an event is answered that waits for no drawing."""
LAST = QUICK | {"preprocess": False, "trigger_mode": "always_last"}
"""The same with one answer at a time, so that the last choice's comes last."""
SLOW: dict[str, Any] = {
    "preprocess": False,
    "concurrency_limit": QUEUE_SIZE,
    "trigger_mode": "once",
    "api_visibility": "private",
}
"""How an event is answered that waits for drawings."""

NAME_EXAMPLES = """
const examples = element.closest(".examples"), names = element.textContent.trim().split(", ");
const name = () => examples.querySelectorAll("button").forEach((button, index) => { button.ariaLabel = names[index]; });
new MutationObserver(name).observe(examples, { childList: true, subtree: true });
name();
"""
"""Says what the example pictures show, for screen readers."""

MOVE_HANDLE = """
const listen = () => {
    const handle = element.querySelector(".outer:not([role='slider'])");
    if (!handle) return;
    const place = () => new DOMMatrix(getComputedStyle(handle).transform).e;
    const wide = () => handle.parentElement.getBoundingClientRect();
    const tell = () => { handle.ariaValueNow = Math.round(100 * place() / wide().width); };
    Object.assign(handle, { role: "slider", tabIndex: 0, ariaLabel: element.querySelector(".name").textContent });
    Object.assign(handle, { ariaValueMin: 0, ariaValueMax: 100 });
    new MutationObserver(tell).observe(handle, { attributeFilter: ["style"] });
    tell();
    handle.addEventListener("keydown", (event) => {
        const share = { ArrowLeft: -0.02, ArrowRight: 0.02, Home: -1, End: 1 }[event.key];
        if (!share) return;
        event.preventDefault();
        const clientX = wide().left + place() + share * wide().width;
        for (const type of ["mousedown", "mouseup"]) {
            const target = type === "mousedown" ? handle : window;
            target.dispatchEvent(new MouseEvent(type, { view: window, bubbles: true, clientX }));
        }
    });
};
new MutationObserver(listen).observe(element, { childList: true, subtree: true });
listen();
"""
"""gr.ImageSlider knows the mouse and the finger alone: gives its handle a name, a value, and the keys of a slider."""


LEAVE_FULL_SCREEN = """
new MutationObserver(() => {
    const gallery = element.querySelector(".fullscreen");
    if (gallery && !gallery.querySelector(".preview")) window.dispatchEvent(new KeyboardEvent("keydown", { key: "Escape" }));
}).observe(element, { childList: true, subtree: true });
"""
"""gr.Gallery enters the full screen with an enlarged picture, whose closing takes away the button that leaves it."""


def error(problem: Exception | str, request: gr.Request | None, **values: object) -> gr.Error:
    """Tells who asks what went wrong: what was raised, or what `say` knows by a key and values.

    Gradio renders messages as HTML, so names from files are escaped.
    """
    text = say(Sentence.of(problem) if isinstance(problem, Exception) else problem, request, **values)
    text = text.encode("utf-8", "replace").decode()  # a name that a program sent may be no valid text
    return gr.Error(html.escape(text), duration=ERROR_SECONDS, print_exception=False)


def photo_input(name: str, height: int) -> gr.Image:
    """A photo to upload, paste or take, or to choose among the examples below it.

    Args:
        name: id of its element; the examples' is f"{name}-examples".
        height: in pixels.
    """
    photo = gr.Image(
        label=label("photo"),
        type="filepath",
        image_mode=None,
        sources=["upload", "clipboard", "webcam"],
        height=height,
        buttons=["fullscreen"],
        placeholder=label("drop"),
        elem_id=name,
    )
    with gr.Column(elem_id=f"{name}-examples", elem_classes="examples"):
        gr.Examples([str(path) for path in uploads.EXAMPLES], photo, label=label("examples"), api_visibility="private")
        gr.HTML(label("example_names"), js_on_load=NAME_EXAMPLES, visible="hidden")
    return photo


def picture_slider(name: str, height: int, title: str, shows_title: bool) -> gr.ImageSlider:
    """A slider between two pictures of one size.

    Args:
        name: id of its element.
        height: what it has at most, in pixels, where it does not fill the screen.
        title: key of what it is called, by screen readers also where it does not show its title.
    """
    with gr.HTML(
        label(title),
        html_template="<span class='name' hidden>${value}</span>@children",
        js_on_load=MOVE_HANDLE,
        elem_classes="picture-slider",
    ):
        return gr.ImageSlider(
            label=label(title),
            show_label=shows_title,
            type="filepath",
            interactive=False,
            max_height=height,
            buttons=["fullscreen"],
            elem_id=name,
        )


def gallery(name: str, buttons: list[Any]) -> gr.Gallery:
    """Pictures side by side, at their own shape; a click enlarges one.

    Args:
        name: id of its element.
        buttons: Gradio's, on an enlarged picture.
    """
    with gr.HTML(html_template="@children", js_on_load=LEAVE_FULL_SCREEN):
        return gr.Gallery(
            show_label=False,
            columns=None,
            height="auto",
            object_fit="contain",
            interactive=False,
            buttons=buttons,
            elem_id=name,
        )


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
    """Which phase of training a checkpoint was taken in."""
    return say(record.phase, request) if record.phase in PHASES else record.phase


def file_name(photo: str, record: Record) -> str:
    """Tells photo and checkpoint, e.g. "pagoda-cel-epoch-060"."""
    plain = re.sub(r"[^\w.-]+", "-", photo)[:60]
    return f"{plain}-{record.experiment}-{record.checkpoint}"


def pixels_of(size: Any) -> str:
    """Width and height, e.g. "640 × 427"."""
    return f"{size[0]} × {size[1]}"


def save(picture: np.ndarray, name: str) -> str:
    """A picture as a file that Gradio serves and deletes."""
    content = io.BytesIO()
    image = Image.fromarray(picture)
    if name.endswith(".jpg"):
        image.save(content, "JPEG", quality=JPEG_QUALITY, subsampling=0)
    else:
        image.save(content, "PNG", compress_level=1)  # a third larger than the default and six times as fast
    return keep(content.getvalue(), name)


def keep(content: bytes, name: str) -> str:
    """A file that Gradio serves and deletes, also where no component ever shows it; only while an event is answered."""
    path = save_bytes_to_cache(content, name, get_upload_folder())
    blocks = LocalContext.blocks.get()
    assert blocks is not None
    blocks.upload_file_set.add(path)
    return path
