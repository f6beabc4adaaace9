"""What one does with a drawing: copy it, share it, keep it beside its photo or moving, and find what was drawn before."""

import asyncio
import base64
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
from PIL import Image

from animegan_app import keepsakes, photos, uploads
from animegan_app.keepsakes import GIF, MP4, WEBP
from animegan_app.photos import PhotoError
from animegan_app.studio import PICTURES, Report, Studio, described
from animegan_app.stylize import blend
from animegan_app.ui import components
from animegan_app.ui.i18n import label, say
from animegan_app.ui.link import COPY_LINK
from animegan_app.ui.looks import titles
from animegan_app.ui.stylize import FIRST, SAVE, Stylize, file_name
from animegan_app.writing import encoded
from hub_export.record import CheckpointError, Record
from hub_export.sentences import Sentence

MAX_DRAWN = 12
"""How many drawings of this visit are shown; each is 3 kB in memory."""
THUMBNAIL_SIDE = 160

CSS = """
#result { flex-wrap: wrap !important; }
#download { flex: 1 1 100%; }
#keep-box { position: relative; flex: 1 1 8rem; min-width: 0 !important; overflow: visible !important; }
#keep-box > .html-container, #visit > .html-container { padding: 0; }
#keep-open { width: 100%; min-height: 44px; white-space: nowrap; }
#keep-menu { display: none; position: absolute; right: 0; bottom: calc(100% + .4rem); z-index: 60; width: min(20rem, 86vw);
  padding: .4rem; gap: .1rem !important; border-radius: var(--radius-lg); border: 1px solid var(--border-color-primary);
  background: var(--background-fill-primary); box-shadow: 0 8px 28px rgb(0 0 0 / .22); }
#keep-box .open #keep-menu { display: flex; }
#keep-menu button { justify-content: flex-start; min-height: 44px; padding: .3rem .8rem; border: 0; box-shadow: none;
  background: none; font-weight: 400; text-align: left; }
#keep-menu button:is(:hover, :focus-visible) { background: var(--background-fill-secondary); }
#keep-moving { align-items: center; gap: .2rem; flex-wrap: nowrap; }
#keep-moving > * { flex: 0 0 auto; min-width: 0 !important; width: auto; }
#keep-moving > :first-child { flex: 1 1 auto; padding: 0 0 0 .8rem; }
#keep-moving .html-container { padding: 0; }
#keep-moving p { margin: 0; font-size: var(--button-large-text-size); }
#keep-moving button { min-width: 3.4rem !important; padding: .3rem .5rem; justify-content: center;
  color: var(--color-accent); font-weight: 600; }
.no-share #keep-share, .no-copy #keep-copy { display: none; }
#visit .row { display: flex; gap: .5rem; align-items: center; overflow-x: auto; padding: 4px; margin: -4px;
  scrollbar-width: thin; }
#visit p { margin: 0 0 .3rem; font-size: .85rem; color: var(--body-text-color-subdued); }
#visit button { flex: 0 0 auto; padding: 0; border-radius: var(--radius-md); overflow: hidden; line-height: 0;
  border: 1px solid var(--border-color-primary); }
#visit button[aria-current="true"] { border-color: var(--color-accent); box-shadow: 0 0 0 1px var(--color-accent); }
#visit img { height: 56px; width: auto; max-width: 96px; object-fit: cover; margin: 0; }
#visit { min-height: 84px; }
#visit:not(:has(button)) { visibility: hidden; }
@media (max-width: 640px) { #visit:not(:has(button)) { display: none; } }
"""

MENU = """
const open = () => element.querySelector("#keep-open"), isOpen = () => element.classList.contains("open");
const shown = () => [...element.querySelectorAll("#keep-menu button")].filter((button) => button.offsetParent);
const show = (wanted) => { element.classList.toggle("open", wanted); open()?.setAttribute("aria-expanded", wanted); };
const close = () => { show(false); open().focus(); };
element.addEventListener("click", ({ target }) => {
    if (target.closest("#keep-open")) show(!isOpen());
    else if (target.closest("#keep-menu button")) close();
});
document.addEventListener("click", ({ target }) => { if (isOpen() && !element.contains(target)) show(false); });
element.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && isOpen()) close();
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    show(true);
    const buttons = shown(), place = buttons.indexOf(document.activeElement);
    buttons.at(place < 0 && step < 0 ? -1 : (place + step) % buttons.length)?.focus();
});
new MutationObserver((_, watching) => {
    if (!open()) return;
    watching.disconnect();
    open().setAttribute("aria-controls", "keep-menu");
    show(false);
}).observe(element, { childList: true, subtree: true });
const picture = new File([""], "a.png", { type: "image/png" });
element.classList.toggle("no-share", !navigator.canShare?.({ files: [picture] }));
element.classList.toggle("no-copy", !(navigator.clipboard?.write && window.ClipboardItem));
"""
"""A menu above its button; Escape, a choice and a click elsewhere close it. What the browser cannot do is not in it."""

COPY = """async (pictures) => {
    const png = async () => {
        const blob = await (await fetch(pictures[1].url)).blob();
        if (blob.type === "image/png") return blob;
        const bitmap = await createImageBitmap(blob), canvas = document.createElement("canvas");
        Object.assign(canvas, { width: bitmap.width, height: bitmap.height }).getContext("2d").drawImage(bitmap, 0, 0);
        return new Promise((done) => canvas.toBlob(done, "image/png"));
    };
    const writing = navigator.clipboard.write([new ClipboardItem({ "image/png": png() })]);
    return `${await writing.then(() => "copied", () => "not_copied")} ${Date.now()}`;
}"""
"""A promise of the picture is handed over, as Safari takes none that comes later than the tap."""
SHARE = """async (pictures) => {
    const { url, path, orig_name } = pictures[1], blob = await (await fetch(url)).blob();
    const file = new File([blob], orig_name ?? path.split("/").pop(), { type: blob.type });
    const sharing = navigator.share({ files: [file] });
    const outcome = await sharing.then(() => "", ({ name }) => name === "AbortError" ? "" : "not_shared");
    return outcome && `${outcome} ${Date.now()}`;
}"""
"""Both take the drawing that the slider shows."""

STRIP = """
const show = () => {
    const { title, drawn = [], shown } = props.value ?? {};
    const buttons = drawn.map(({ name, address, key }) => {
        const button = document.createElement("button"), image = document.createElement("img");
        Object.assign(image, { src: address, alt: "" });
        Object.assign(button, { type: "button", title: name, ariaLabel: name, ariaCurrent: String(key === shown) });
        button.append(image);
        button.addEventListener("click", () => trigger("select", { key }));
        return button;
    });
    const line = document.createElement("p"), row = document.createElement("div");
    line.textContent = title ?? "";
    row.className = "row";
    row.append(...buttons);
    element.replaceChildren(line, row);
};
watch("value", show);
show();
"""
"""The names come from records, strangers' among them: they are set as text, and no template sees them."""


@dataclass(frozen=True)
class Kept:
    """A drawing of this visit.

    Args:
        shown: what drew it, see `Stylize.shown`.
        name: what it is.
        thumbnail: as an address that holds it.
    """

    shown: dict[str, Any]
    name: str
    thumbnail: str

    @property
    def key(self) -> str:
        """Its identity: strength and colours aside, of which the last ones count."""
        return "\n".join(str(self.shown[name]) for name in ("photo", "checkpoint", "side"))


class Keep:
    """A menu beside the download. Below the picture, `Visit` shows what was drawn."""

    def __init__(self, studio: Studio):
        self.studio = studio
        with gr.HTML(html_template="@children", js_on_load=MENU, elem_id="keep-box"):
            gr.Button(label("keep"), elem_id="keep-open")
            with gr.Column(elem_id="keep-menu"):
                self.share = gr.Button(label("share"), elem_id="keep-share")
                self.copy = gr.Button(label("copy"), elem_id="keep-copy")
                self.collage = gr.Button(label("collage"), elem_id="keep-collage")
                with gr.Row(elem_id="keep-moving"):
                    gr.HTML(label("moving"))
                    self.moving = {kind: gr.Button(kind.upper(), elem_id=f"keep-{kind}") for kind in (MP4, GIF, WEBP)}
                self.link = gr.Button(label("copy_link"), elem_id="keep-link")
        self.file = gr.DownloadButton(visible="hidden")  # holds what was made for the buttons above
        self.outcome = gr.Textbox(visible="hidden")

    def wire(self, stylize: Stylize) -> None:
        """Says what follows from what. Keeps what `stylize` shows."""
        self.copy.click(None, stylize.slider, self.outcome, js=COPY, **components.QUICK)
        self.share.click(None, stylize.slider, self.outcome, js=SHARE, **components.QUICK)
        self.copies_link(self.link)
        # Through the queue, without which Gradio tells nobody anything but errors.
        self.outcome.change(tell, self.outcome, None, show_progress="hidden", api_visibility="private")
        made: dict[Any, Callable[..., Any]] = {self.collage: self.make_collage}
        made |= {button: self.make_moving(kind) for kind, button in self.moving.items()}
        for button, make in made.items():
            making = button.click(make, stylize.shown, self.file, show_progress_on=stylize.facts, **components.SLOW)
            making.success(None, self.file, None, js=SAVE, **components.QUICK)

    def copies_link(self, button: gr.Button) -> None:
        """Has a button copy the page's address, and tells of it."""
        button.click(None, None, self.outcome, js=COPY_LINK, **components.QUICK)

    async def make_collage(
        self,
        shown: dict[str, Any] | None,
        request: gr.Request,
        progress: gr.Progress = gr.Progress(),  # noqa: B008  Gradio finds it by this default
    ) -> str:
        """Photo and drawing in one picture, labelled."""
        drawn = await self._drawn(shown, request, progress)
        labels = "photo", drawn.record.look.get("name", "") or drawn.record.experiment
        content = await asyncio.to_thread(keepsakes.collage, drawn.photo, drawn.anime, labels)
        return components.keep(content, f"{drawn.name}-before-after.jpg")

    def make_moving(self, kind: str) -> Callable[..., Any]:
        """What makes a file of this kind: a boundary that sweeps across photo and drawing."""

        async def make(
            shown: dict[str, Any] | None,
            request: gr.Request,
            progress: gr.Progress = gr.Progress(),  # noqa: B008  Gradio finds it by this default
        ) -> str:
            drawn = await self._drawn(shown, request, progress)
            steps = described(keepsakes.wipe(drawn.photo, drawn.anime, kind), Sentence("Making the moving picture"))
            try:
                content = await self.studio.in_turn(PICTURES, steps, reporting(progress, request))
            except PhotoError as problem:
                raise components.error(problem, request) from None
            return components.keep(content, f"{drawn.name}-wipe.{kind}")

        return make

    async def _drawn(self, shown: dict[str, Any] | None, request: gr.Request, progress: gr.Progress) -> "_Drawn":
        try:
            return await _drawn(self.studio, shown, reporting(progress, request))
        except (PhotoError, CheckpointError) as problem:
            raise components.error(problem, request) from None


class Visit:
    """The drawings of this visit, the last first: small pictures in the page's own state, no file of their own."""

    def __init__(self, studio: Studio):
        self.studio = studio
        self.drawn = gr.State([])
        self.strip = gr.HTML(html_template="", js_on_load=STRIP, elem_id="visit")

    def wire(self, stylize: Stylize) -> None:
        """Says what follows from what. Shows what `stylize` has shown."""
        shown: list[Any] = [self.drawn, stylize.shown]
        stylize.shown.change(self.remember, shown, [self.drawn, self.strip], **components.QUICK)
        self.strip.select(
            self.bring_back,
            self.drawn,
            [stylize.photo, stylize.experiment, stylize.checkpoint, *_settings(stylize)],
            **components.EACH,
        )
        self.stylize = stylize

    async def remember(
        self, drawn: list[Kept], shown: dict[str, Any] | None, request: gr.Request
    ) -> tuple[list[Kept], dict[str, Any]]:
        """The drawings with the one that is shown now in front."""
        if shown:
            drawing = await self.studio.recall(Path(shown["photo"]), shown["checkpoint"], shown["side"])
            if drawing is None:  # it was the largest of many at once
                return drawn, self.strip_of(drawn, shown, request)
            name = f"{Path(shown['photo']).stem} · {titles(drawing.offer, request)[0]}"
            strength, colours = shown["strength"] / 100, shown["colours"] / 100
            anime = await asyncio.to_thread(blend, drawing.photo, drawing.anime, strength, colours)
            kept = Kept(shown, name, _thumbnail(anime))
            drawn = [kept, *(other for other in drawn if other.key != kept.key)][:MAX_DRAWN]
        return drawn, self.strip_of(drawn, shown, request)

    def strip_of(self, drawn: list[Kept], shown: dict[str, Any] | None, request: gr.Request) -> dict[str, Any]:
        """What the strip shows, from the second drawing on."""
        pictures = [{"key": kept.key, "name": kept.name, "address": kept.thumbnail} for kept in drawn]
        return {
            "title": say("visit", request),
            "drawn": pictures if len(pictures) > 1 else [],
            "shown": Kept(shown, "", "").key if shown else "",
        }

    def bring_back(self, drawn: list[Kept], event: gr.EventData, request: gr.Request) -> components.Outputs:
        """Photo, checkpoint and settings as they were; what they gave is in memory, or drawn again."""
        kept = next((kept for kept in drawn if kept.key == event.key), None)
        if kept is None:
            return gr.skip()
        shown, stylize = kept.shown, self.stylize
        try:
            path = uploads.take({"path": shown["photo"]})
            offer = self.studio.catalog.find(shown["checkpoint"])
        except (PhotoError, CheckpointError) as problem:
            raise components.error(problem, request) from None
        values = (shown["side"], shown["strength"], shown["colours"])
        return {
            stylize.photo: None if path == uploads.FIRST[0] else str(path),  # what is drawn while there is no photo
            **stylize.choose(offer, request),
            **dict(zip(_settings(stylize), values, strict=True)),
        }


@dataclass(frozen=True)
class _Drawn:
    photo: np.ndarray
    anime: np.ndarray
    record: Record
    name: str


async def _drawn(studio: Studio, shown: dict[str, Any] | None, report: Report) -> _Drawn:
    """What is shown, at the size at which it was drawn; before there was a photo, the example.

    Raises:
        PhotoError, CheckpointError: it is no longer here, or is not known any more.
    """
    if shown is None:
        raise photos.gone()
    if not shown:
        pictures = [await asyncio.to_thread(_pixels, path) for path in uploads.FIRST]
        offers = studio.catalog.experiments().get(FIRST[0].rstrip("/"))
        if not offers:
            raise PhotoError("There is no checkpoint to draw with.")
        offer = studio.catalog.first(offers)
        return _Drawn(pictures[0], pictures[1], offer.record, file_name(uploads.FIRST[0].stem, offer.record, 100, 0))
    path = uploads.take({"path": shown["photo"]})
    drawing = await studio.draw(path, shown["checkpoint"], shown["side"], report)
    strength, colours = shown["strength"], shown["colours"]
    anime = await asyncio.to_thread(blend, drawing.photo, drawing.anime, strength / 100, colours / 100)
    return _Drawn(drawing.photo, anime, drawing.record, file_name(path.stem, drawing.record, strength, colours))


def tell(what: str, request: gr.Request) -> None:
    """What the browser answered: a key of `WORDS`, and when."""
    key = what.partition(" ")[0]
    if key in ("copied", "link_copied"):
        gr.Info(say(key, request), duration=3)
    elif key in ("not_copied", "not_shared"):
        raise components.error(key, request)


def reporting(progress: gr.Progress, request: gr.Request) -> Report:
    """Tells a person how far something is."""
    return lambda done, doing: progress(done, desc=say(doing, request))


def _settings(stylize: Stylize) -> list[Any]:
    return [stylize.longest_side, stylize.strength, stylize.photo_colours]


def _thumbnail(anime: np.ndarray) -> str:
    image = Image.fromarray(anime)
    image.thumbnail((THUMBNAIL_SIDE, THUMBNAIL_SIDE))
    return "data:image/jpeg;base64," + base64.b64encode(encoded(np.asarray(image), ".jpg")).decode()


def _pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))
