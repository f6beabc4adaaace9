"""What the first tab takes a photo with and shows it in: a bar of buttons, examples, and a slider between photo and drawing.

All three are Gradio's parts with a script around them, for what Gradio's lack.
"""

import gradio as gr

from animegan_app import uploads
from animegan_app.ui.components import TAKE_ANY
from animegan_app.ui.i18n import label

CSS = """
.picture-slider > .html-container { padding: 0; }
.picture-slider > .html-container > div { gap: 0; }
.picture-slider .slider-wrap, .picture-slider .outer { touch-action: pan-y !important; cursor: ew-resize; }
.picture-slider .outer { width: 44px; left: -22px; }
.picture-slider .icon-wrap { left: 22px; width: 44px; height: 44px; border-radius: 50%; color: #1c1917; background: #fff;
  box-shadow: 0 0 0 1.5px rgb(0 0 0 / .55), 0 2px 8px rgb(0 0 0 / .4); opacity: 1 !important; }
.picture-slider .inner { width: 3px; background: #fff !important; box-shadow: 0 0 0 1px rgb(0 0 0 / .5); }
.picture-slider { position: relative; }
.picture-slider .half { position: absolute; bottom: .6rem; z-index: 20; padding: .1rem .6rem; border-radius: 1rem;
  font-size: .8rem; color: #fff; background: rgb(0 0 0 / .6); pointer-events: none; transition: opacity .15s; }
.picture-slider .half.before { left: .6rem; }
.picture-slider .half.after { right: .6rem; }
[data-halves="after"] .before, [data-halves="before"] .after { opacity: 0; }
.photo-bar > .html-container { padding: 0; }
.photo-bar .block { display: none; }
.photo-bar .block:has(video) { display: block; }
.photo-bar:not(:has(input[type="file"])) .bar { opacity: .6; cursor: progress; }
.photo-bar .bar { display: grid; grid-template-columns: 1.5fr 1fr; gap: .5rem; }
.photo-bar .bar span { color: inherit; }
.photo-bar .bar button { height: 48px; line-height: 1; margin: 0; padding: .3rem .5rem; white-space: nowrap;
  font-weight: 600; border-radius: var(--radius-lg);
  border: 1px solid var(--border-color-primary); background: var(--button-secondary-background-fill); }
.photo-bar .bar .choose { color: #fff; border-color: transparent; background: var(--button-primary-background-fill); }
.photo-bar .bar button:hover { filter: brightness(1.08); }
.photo-bar .hint { margin: .45rem 0 0; font-size: .85rem; color: var(--body-text-color-subdued); }
.photo-bar .remove, .photo-bar .other { display: none; }
.photo-bar:has(.taken) .remove, .photo-bar:has(.taken) .other { display: revert; }
.photo-bar:has(.taken) .first { display: none; }
.photo-bar:has(.taken) .bar { grid-template-columns: 1.5fr 1fr 48px; }
.photo-bar .hint span { color: inherit; }
#sight { --frame: min(clamp(300px, calc(100vh - 330px), 640px), 48vw); min-height: var(--frame); }
#slider { border: 0; border-radius: var(--radius-xl); }
#slider .image-container, #slider .empty { height: var(--frame); }
#slider.fullscreen .image-container { height: 100%; }
#slider .slider-wrap img { width: 100%; height: 100%; max-height: none !important; background: none !important; }
#slider .wrap:has(> .content) { isolation: isolate; }
#slider .image-container::before { content: ""; position: absolute; inset: -40px; background: var(--mat) center / cover;
  filter: blur(28px) brightness(.6) saturate(.8); }
#slider .image-container { overflow: hidden; }
#slider [data-testid="status-tracker"] { justify-content: end; padding-bottom: 5rem !important; background: none; }
#slider [data-testid="status-tracker"] * { color: #fff; text-shadow: 0 1px 3px #000; }
#slider [data-testid="status-tracker"] .meta-text { display: none; }
#slider .progress-bar-wrap { width: min(60%, 20rem); }
#slider img { transition: filter .2s; }
#slider:has([data-testid="status-tracker"]:not(.hide)) img { filter: brightness(.55) saturate(.6); }
@media (pointer: coarse), (max-width: 640px) { .photo-bar .drop { display: none; } }
"""

NAME_EXAMPLES = """
const examples = element.closest(".examples"), names = () => element.textContent.trim().split(", ");
const name = () => examples.querySelectorAll("button").forEach((button, index) => {
    Object.assign(button, { ariaLabel: names()[index] });
    button.dataset.name = names()[index];
});
new MutationObserver(name).observe(examples, { childList: true, subtree: true, characterData: true });
name();
"""
"""Says what the example pictures show; CSS writes it on them."""

MOVE_HANDLE = """
const move = (target, type, clientX) => target.dispatchEvent(new MouseEvent(type, { view: window, bubbles: true, clientX }));
const listen = () => {
    const handle = element.querySelector(".outer:not([role='slider'])");
    const named = element.querySelector("[data-testid='block-label']");
    if (!handle || !named) return;
    const picture = handle.closest(".slider-wrap"), images = picture.querySelectorAll("img");
    const place = () => new DOMMatrix(getComputedStyle(handle).transform).e;
    const shown = () => {
        const { left, width, height } = handle.parentElement.getBoundingClientRect();
        const wide = Math.min(width, (height * images[0].naturalWidth) / images[0].naturalHeight || width);
        return { frame: left, left: (width - wide) / 2, width: wide };
    };
    const share = (place) => Math.min(Math.max((place - shown().left) / shown().width, 0), 1);
    const tell = () => {
        const part = share(place());
        handle.ariaValueNow = Math.round(100 * part);
        element.dataset.halves = part < 0.15 ? "after" : part > 0.85 ? "before" : "both";
    };
    Object.assign(handle, { role: "slider", tabIndex: 0, ariaLabel: named.textContent.trim() });
    Object.assign(handle, { ariaValueMin: 0, ariaValueMax: 100 });
    new MutationObserver(tell).observe(handle, { attributeFilter: ["style"] });
    const mat = () => element.style.setProperty("--mat", `url("${images[0].src}")`);
    new MutationObserver(mat).observe(images[0], { attributeFilter: ["src"] });
    tell();
    mat();
    handle.addEventListener("keydown", (event) => {
        const step = { ArrowLeft: -0.02, ArrowRight: 0.02, Home: -1, End: 1 }[event.key];
        if (!step) return;
        event.preventDefault();
        const { frame, left, width } = shown(), to = Math.min(Math.max(share(place()) + step, 0), 1);
        move(handle, "mousedown", frame + left + to * width);
        move(window, "mouseup", frame + left + to * width);
    });
    const enlarged = () => new DOMMatrix(getComputedStyle(images[0]).transform).a > 1.01;
    picture.addEventListener("wheel", (event) => { if (!event.ctrlKey) event.stopPropagation(); }, true);
    picture.addEventListener("touchstart", (event) => {
        if (event.touches.length === 1 && !enlarged()) event.stopPropagation();
    }, true);
    let held = null, follows = false;
    picture.addEventListener("pointerdown", (event) => {
        held = event.isPrimary && event.button === 0 && !enlarged() ? event : null;
        follows = false;
        const pressed = held && event.pointerType === "mouse" && !handle.contains(event.target);
        if (pressed) move(handle, "mousedown", event.clientX);
    });
    picture.addEventListener("pointermove", (event) => {
        if (!held || event.pointerType === "mouse") return;
        const [across, along] = [event.clientX - held.clientX, event.clientY - held.clientY].map(Math.abs);
        follows ||= across > 6 && across > along;
        if (!follows) return;
        move(handle, "mousedown", event.clientX);
        move(window, "mouseup", event.clientX);
    });
    for (const end of ["pointerup", "pointercancel"]) picture.addEventListener(end, () => { held = null; });
};
new MutationObserver(listen).observe(element, { childList: true, subtree: true });
listen();
"""
"""gr.ImageSlider knows the mouse and the finger on its handle alone, and takes the wheel and every touch of the picture.

Its handle gets a name, a value and the keys of a slider, and follows a press anywhere on the picture. A wheel and a finger
that moves up or down scroll the page; the wheel enlarges with Ctrl, as two fingers do. The halves are labelled, a label
leaves when its half does, and what the frame has beside the picture is filled with the photo, blurred.
"""

TAKE_PHOTO = """
const image = () => element.querySelector(".block"), input = () => element.querySelector("input[type=file]");
const press = (name) => image().querySelector(`button[aria-label="${name}"]`)?.click();
const choose = (camera) => {
    if (!input()) return;
    input().toggleAttribute("capture", camera);
    input().click();
};
const take = (files) => {
    if (!files?.length || !element.offsetParent) return false;
    if (!input()) return true;
    input().files = typed([files[0]]).files;
    input().dispatchEvent(new Event("change", { bubbles: true }));
    return true;
};
element.addEventListener("click", ({ target }) => {
    if (target.closest(".choose")) choose(false);
    if (target.closest(".remove")) press("Remove Image");
    if (!target.closest(".camera")) return;
    if (matchMedia("(pointer: coarse)").matches) choose(true);
    else press("Capture from camera");
});
const look = () => element.classList.toggle("taken", Boolean(image()?.querySelector("img")));
new MutationObserver(look).observe(element, { childList: true, subtree: true });
look();
document.addEventListener("dragover", (event) => { if (element.offsetParent) event.preventDefault(); });
document.addEventListener("drop", (event) => {
    if (!event.defaultPrevented && take(event.dataTransfer?.files)) event.preventDefault();
});
document.addEventListener("paste", (event) => { if (take(event.clipboardData?.files)) event.preventDefault(); });
"""
"""Stands for a gr.Image that shows nothing but its camera: large buttons, and the whole page to drop or paste a photo on.

Where a finger points, the camera is the phone's own. While a photo uploads Gradio has no input for another.
"""


def photo_bar() -> gr.Image:
    """A photo to upload, paste or take: a bar of buttons, as the photo is shown elsewhere."""
    with gr.HTML(
        label("photo_bar"),
        html_template="${value}@children",
        js_on_load=TAKE_ANY + TAKE_PHOTO,
        elem_id="photo-bar",
        elem_classes="photo-bar",
    ):
        return gr.Image(
            label=label("photo"),
            type="filepath",
            image_mode=None,
            sources=["upload", "clipboard", "webcam"],
            height=300,
            buttons=["fullscreen"],
            placeholder=label("drop"),
            elem_id="photo",
        )


def examples(photo: gr.Image) -> None:
    """Photos to choose among."""
    with gr.Column(elem_id="photo-examples", elem_classes="examples"):
        gr.Examples([str(path) for path in uploads.EXAMPLES], photo, label=label("examples"), api_visibility="private")
        gr.HTML(label("example_names"), js_on_load=NAME_EXAMPLES, visible="hidden")


def picture_slider() -> gr.ImageSlider:
    """A slider between two pictures of one size, at first those that ship."""
    with gr.HTML(label("halves"), html_template="${value}@children", js_on_load=MOVE_HANDLE, elem_classes="picture-slider"):
        return gr.ImageSlider(
            (str(uploads.FIRST[0]), str(uploads.FIRST[1])),
            label=label("slider"),
            show_label=False,
            type="filepath",
            interactive=False,
            max_height=640,
            buttons=["fullscreen"],
            elem_id="slider",
        )
