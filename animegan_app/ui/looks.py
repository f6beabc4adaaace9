"""The looks on offer: a row of thumbnails of the person's own photo, of which a tap chooses one; and their names."""

import base64
from collections import Counter
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import gradio as gr

from animegan_app import uploads
from animegan_app.catalog import SHIPPED, Catalog, Offer
from animegan_app.photos import PhotoError
from animegan_app.studio import THUMBNAIL_SIDE, Drawing, Studio, megabytes
from animegan_app.ui.i18n import is_chinese, say
from animegan_app.writing import encoded
from hub_export.record import CheckpointError, Record

MAX_LOOKS = 24
"""How many are shown; the others are found in the laboratory."""

CSS = """
#looks .looks { display: flex; gap: .75rem; overflow-x: auto; padding: 4px; margin: -4px; scrollbar-width: thin;
  scroll-behavior: smooth; position: relative; }
#looks label { flex: 1 0 6.5rem; max-width: 11rem; min-width: 0; cursor: pointer; text-align: center; }
#looks input { position: absolute; opacity: 0; pointer-events: none; }
#looks .frame { display: block; aspect-ratio: 4 / 3; border-radius: var(--radius-lg); overflow: hidden;
  background: var(--background-fill-secondary); border: 1px solid var(--border-color-primary); }
#looks .frame img { width: 100%; height: 100%; margin: 0; object-fit: cover; transition: filter .2s, opacity .2s; }
#looks .stale img { filter: saturate(.3); opacity: .45; }
#looks .name { display: block; min-height: 1.5em; margin-top: .3rem; font-size: .88rem; line-height: 1.25; }
#looks label:hover .frame { border-color: var(--color-accent); }
#looks label:has(:checked) .frame { border-color: var(--color-accent); box-shadow: 0 0 0 2px var(--color-accent); }
#looks label:has(:checked) .name { font-weight: 700; }
#looks .about { margin: .35rem 0 0; min-height: 1.5em; color: var(--body-text-color-subdued); font-size: .92rem; }
"""

ROW = """
<div class="looks" role="radiogroup">
    {{#each value.looks}}<label>
        <input type="radio" name="look"><span class="frame"><img alt="" hidden></span><span class="name"></span>
    </label>{{/each}}
</div>
<p class="about" aria-live="polite"></p>
"""
"""No text is filled in here: Gradio evaluates what a template has become as a JavaScript template once more, and these texts
come from strangers' records."""

CHOOSE = """
const thumbnails = new Map();
const read = (text) => JSON.parse(text || "[]");
let wanted = read(document.querySelector("#wanted textarea")?.value), turn = 0;
const looks = () => props.value?.looks ?? [];
const show = () => {
    const [photo = null, checkpoint] = wanted, row = element.querySelector(".looks");
    row.ariaLabel = props.value?.title ?? "";
    for (const [index, input] of element.querySelectorAll("input").entries()) {
        const label = input.parentElement, image = label.querySelector("img"), { key, name, first } = looks()[index] ?? {};
        if (first && !thumbnails.has(key)) thumbnails.set(key, [null, first]);
        input.value = key;
        label.querySelector(".name").textContent = name;
        const [of, address] = thumbnails.get(input.value) ?? [], chosen = input.value === checkpoint;
        if (chosen && !input.checked) row.scrollTo({ left: label.offsetLeft - (row.clientWidth - label.offsetWidth) / 2 });
        input.checked = chosen;
        label.classList.toggle("stale", of !== photo);
        image.hidden = !address;
        if (address && image.src !== address) image.src = address;
    }
    element.querySelector(".about").textContent = looks().find(({ key }) => key === checkpoint)?.about ?? "";
};
const draw = async () => {
    const [photo, checkpoint, side] = wanted, own = ++turn, keys = looks().map(({ key }) => key);
    for (const key of keys) {
        if (thumbnails.get(key)?.[0] === photo) continue;
        const address = await server.thumbnail([photo, key]).catch(() => "");
        if (photo !== wanted[0] || own !== turn) return;
        if (address) thumbnails.set(key, [photo, address]);
        show();
    }
    const next = keys[(keys.indexOf(checkpoint) + 1) % keys.length];
    if (next && next !== checkpoint) server.ahead([photo, next, side]).catch(() => {});
};
element.addEventListener("change", ({ target }) => trigger("select", { key: target.value }));
window.addEventListener("wanted", ({ detail }) => { wanted = read(detail); show(); });
window.addEventListener("drawn", draw);
const renew = () => { show(); if (turn) draw(); };
watch("value", () => { renew(); requestAnimationFrame(renew); });
show();
if (wanted.length) requestAnimationFrame(draw);
"""
"""Each thumbnail is kept with the photo it is of: one of another photo is dimmed until the photo's own has come, and what
comes too late for its photo is thrown away. They are asked for one by one, from when the drawing is shown; those of
the first photo come with the page."""

WANTED = "(wanted) => { window.dispatchEvent(new CustomEvent('wanted', { detail: wanted })); }"
DRAWN = "() => { window.dispatchEvent(new Event('drawn')); }"
"""Tell the row what is wanted now, see `stylize.WANT`, and that it is shown."""


class Looks:
    """The row. `row` is there to be told of, to be renewed and to be heard when one is chosen.

    Args:
        studio: what draws the thumbnails, behind all drawings that somebody waits for.
    """

    def __init__(self, studio: Studio):
        self.studio = studio

        async def thumbnail(asked: Any) -> str:
            drawing = await self._ahead(asked, THUMBNAIL_SIDE)
            return _address(drawing) if drawing else ""

        async def ahead(asked: Any) -> None:
            if studio.idle:
                await self._ahead(asked)

        self.row = gr.HTML(
            self.state(None),
            html_template=ROW,
            js_on_load=CHOOSE,
            server_functions=[thumbnail, ahead],
            elem_id="looks",
        )

    def state(self, request: gr.Request | None) -> dict[str, Any]:
        """What the row shows, in the person's language; while the page is only being built, without words."""
        offers = looks(self.studio.catalog)
        shown = [
            {
                "key": offer.key,
                "name": name if request else "",
                "about": self._line(offer, request) if request else "",
                "first": _first(offer.record.experiment) if offer.source == SHIPPED else "",
            }
            for offer, name in zip(offers, names_apart(offers, request), strict=True)
        ]
        return {"title": say("looks", request), "looks": shown}

    def _line(self, offer: Offer, request: gr.Request | None) -> str:
        good_for = _text(offer.record, "good_for", request)
        words = [_text(offer.record, "line", request), good_for and say("good_for", request, photos=good_for)]
        try:
            if missing_bytes := self.studio.catalog.missing_bytes(offer):
                words.append(say("first", request, size=megabytes(missing_bytes)))
        except CheckpointError:
            pass  # it is told when it is chosen
        return " · ".join(filter(None, words))

    async def _ahead(self, asked: Any, *side: int) -> Drawing | None:
        """A drawing of what the page asks for, [photo or None, key] with this side or its own; None if it cannot be had."""
        try:
            values: list[Any] = [*list(asked), *side]
            photo, key, longest_side = values
            path = uploads.FIRST[0] if photo is None else uploads.take({"path": photo})
            return await self.studio.draw_ahead(path, str(key), longest_side)
        except (TypeError, ValueError, PhotoError, CheckpointError):
            return None  # the drawing itself tells what is wrong


def looks(catalog: Catalog) -> list[Offer]:
    """Of every experiment with a look the checkpoint to show first, see `Catalog.first`."""
    looked = ([offer for offer in offers if is_look(offer.record)] for offers in catalog.experiments().values())
    return [catalog.first(offers) for offers in looked if offers][:MAX_LOOKS]


def is_look(record: Record) -> bool:
    """Whether people find it by a name of its own."""
    return bool(record.look.get("name"))


def name_of(offer: Offer, request: gr.Request | None) -> str:
    """What a checkpoint is called: by its look, or by the names of experiment and checkpoint."""
    return _text(offer.record, "name", request) or f"{offer.name} {offer.record.checkpoint}"


def choices(experiments: dict[str, list[Offer]], request: gr.Request | None) -> list[tuple[str, str]]:
    """What a dropdown of all checkpoints shows and gives: "Clean cel · cel epoch-025 · bundled", its key."""
    offers = (offer for offers in experiments.values() for offer in offers)
    return [((" · " if is_look(offer.record) else " ").join(titles(offer, request)), offer.key) for offer in offers]


def titles(offer: Offer, request: gr.Request | None) -> tuple[str, str]:
    """The name of its look, or of its experiment, and which checkpoint it is."""
    checkpoint = f"{offer.record.checkpoint} · {say(offer.source, request)}"
    if is_look(offer.record):
        return name_of(offer, request), f"{offer.name} {checkpoint}"
    return offer.name, checkpoint


def names_apart(
    offers: Sequence[Offer], request: gr.Request | None, called: Callable[[Offer, gr.Request | None], str] = name_of
) -> list[str]:
    """What each of several checkpoints is `called`, followed by what parts it from others of its name."""
    names = [called(offer, request) for offer in offers]
    count = Counter(names)
    details = [(offer.name, offer.record.checkpoint, say(offer.source, request)) for offer in offers]
    labels = []
    for name, own in zip(names, details, strict=True):
        alike = [detail for other, detail in zip(names, details, strict=True) if other == name]
        parting = [detail for detail, *others in zip(own, *alike, strict=True) if len(set(others)) > 1]
        alone = [detail for detail in parting if sum(detail in other for other in alike) == 1]
        labels.append(" · ".join([name, *(alone[:1] or parting)]) if count[name] > 1 else name)
    return labels


def _text(record: Record, name: str, request: gr.Request | None) -> str:
    english = record.look.get(name, "")
    return record.look.get(f"{name}_zh", english) if is_chinese(request) else english


@cache
def _first(experiment: str) -> str:
    """What an experiment that ships makes of the first photo, drawn beforehand; "" if nobody did."""
    path = uploads.FIRST[1].with_name(f"{experiment}.jpg")
    return _held(path.read_bytes()) if path.is_file() else ""


def _address(drawing: Drawing) -> str:
    """A small picture as an address that holds it: no file is written that somebody would have to delete."""
    return _held(encoded(drawing.anime, ".jpg"))


def _held(content: bytes) -> str:
    return "data:image/jpeg;base64," + base64.b64encode(content).decode()
