"""Two checkpoints judged blind: photos one after another, two drawings of each in an order that nobody sees."""

import asyncio
import random
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import gradio as gr

from animegan_app.catalog import Offer
from animegan_app.photos import PhotoError
from animegan_app.studio import Studio
from animegan_app.stylize import DEFAULT_LONGEST_SIDE
from animegan_app.ui import components
from animegan_app.ui.compare.drawing import chosen_photos
from animegan_app.ui.components import Outputs
from animegan_app.ui.i18n import label, say
from animegan_app.ui.looks import choices, names_apart
from hub_export.record import CheckpointError
from hub_export.sentences import Sentence

SIDES = ("left", "right")

SHEET = """
{{#if value}}<section class="blind" tabindex="0" aria-label="{{value.words.title}}">
    <p class="place" aria-live="polite"></p>
    <img class="original" alt="{{value.words.photo}}">
    <div class="sides">
        <button data-side="left" aria-label="{{value.words.left}}"><img alt=""></button>
        <button data-side="right" aria-label="{{value.words.right}}"><img alt=""></button>
    </div>
    <button class="neither">{{value.words.neither}}</button>
    <div class="verdict" hidden><p></p><a download="blind.csv">{{value.words.csv}}</a></div>
</section>{{/if}}
"""

JUDGE = """
let answers = [];
const asked = () => element.querySelector(".blind");
const ended = () => answers.length === props.value.pairs.length;
const show = () => {
    if (!asked()) return;
    const { pairs, words, names, exact } = props.value;
    const find = (name) => asked().querySelector(name);
    const over = ended(), pair = pairs[answers.length];
    for (const name of [".original", ".sides", ".neither"]) find(name).hidden = over;
    find(".verdict").hidden = !over;
    find(".place").textContent = over ? words.over : `${answers.length + 1} / ${pairs.length} · ${words.question}`;
    if (!over) {
        const [width, height] = pair.size;
        Object.assign(find(".original"), { src: pair.photo, width, height });
        for (const side of ["left", "right"]) {
            Object.assign(find(`[data-side=${side}] img`), { src: pair[side].address, width, height });
        }
        return;
    }
    const chosen = answers.map((side, index) => (side ? pairs[index][side].of : -1));
    const decided = chosen.filter((of) => of >= 0).length, first = chosen.filter((of) => of === 0).length;
    const share = decided ? first / decided : 0.5;
    const error = decided ? Math.sqrt((share * (1 - share)) / decided) : 0;
    const counted = `${names[0]} ${first} : ${decided - first} ${names[1]}`;
    find(".verdict p").textContent = `${counted} · ${share.toFixed(2)} ± ${error.toFixed(2)}`;
    const rows = pairs.map((pair, index) => [pair.name, exact[pair.left.of], exact[pair.right.of], answers[index] || ""]);
    const table = csv([["photo", "left", "right", "chosen"], ...rows]);
    find("a").href = URL.createObjectURL(new Blob([table], { type: "text/csv" }));
};
const answer = (side) => {
    if (!asked() || ended()) return;
    answers.push(side);
    show();
};
element.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (button) { answer(button.dataset.side ?? ""); asked().focus(); }
});
element.addEventListener("keydown", (event) => {
    const side = { ArrowLeft: "left", ArrowRight: "right", ArrowDown: "" }[event.key];
    if (side === undefined) return;
    event.preventDefault();
    answer(side);
});
watch("value", () => {
    answers = [];
    show();
    asked()?.scrollIntoView({ block: "nearest" });
    asked()?.focus();
});
show();
"""
"""All answers stay in the page: keys or taps, then the tally with its standard error, and the answers as a table."""


class Blind:
    """Takes the photos from elsewhere."""

    def __init__(self, studio: Studio):
        self.studio, self.catalog = studio, studio.catalog
        listed, (first, second) = choices(self.catalog.experiments(), None), self._firsts()
        gr.HTML(label("blind_about"))
        with gr.Row():
            self.first = gr.Dropdown(listed, value=first, label=label("blind_one"), min_width=260, elem_id="blind-first")
            self.second = gr.Dropdown(
                listed, value=second, label=label("blind_other"), min_width=260, elem_id="blind-second"
            )
        with gr.Row():
            self.start = gr.Button(label("blind_start"), variant="primary", elem_id="blind-start")
            self.stop = gr.Button(label("cancel"), elem_id="blind-cancel", elem_classes="stop")
        self.status = gr.HTML(elem_id="blind-status")
        self.sheet = gr.HTML(html_template=SHEET, js_on_load=components.CSV + JUDGE, elem_id="blind")

    def wire(self, photos: gr.File) -> None:
        """Says what follows from what."""
        drawing = self.start.click(
            self.draw,
            [photos, self.first, self.second],
            [self.sheet, self.status],
            show_progress_on=self.status,
            **components.SLOW,
        )
        self.stop.click(None, None, None, cancels=drawing, **components.QUICK)

    def renew(self, first: str | None, second: str | None, request: gr.Request) -> Outputs:
        """Both choices, for what is on offer now."""
        listed, (one, other) = choices(self.catalog.experiments(), request), self._firsts()
        return {self.first: components.renewed(listed, first, one), self.second: components.renewed(listed, second, other)}

    async def draw(
        self,
        photos: list[dict[str, Any]] | None,
        first: str | None,
        second: str | None,
        request: gr.Request,
        progress: gr.Progress = gr.Progress(),  # noqa: B008  Gradio finds it by this default
    ) -> AsyncIterator[Outputs]:
        """Draws all photos with both, and asks about them in an order of their own."""
        paths = chosen_photos(photos, request)
        try:
            offers = [self.catalog.find(key or "") for key in (first, second)]
        except CheckpointError as error:
            raise components.error(error, request) from None
        if offers[0].key == offers[1].key:
            raise components.error("same_twice", request)
        yield {self.sheet: None, self.status: ""}
        pairs, problems = [], []
        for number, path in enumerate(paths):

            def report(done: float, doing: Sentence, number: int = number) -> None:
                progress((number + done) / len(paths), desc=f"{number + 1}/{len(paths)} · {say(doing, request)}")

            try:
                pairs.append(await self._pair(number, path, offers, report))
            except (CheckpointError, PhotoError) as error:
                problems.append((path.name, say(error.sentence, request)))
        random.shuffle(pairs)
        names = names_apart(offers, request)
        words = {
            key: say(f"blind_{key}", request) for key in ("title_plain", "question", "left", "right", "neither", "over")
        }
        words |= {"title": words["title_plain"], "photo": say("photo", request), "csv": say("blind_csv", request)}
        table = components.table([say("photo", request), ""], problems) if problems else ""
        exact = [f"{offer.name} {offer.record.checkpoint} {offer.source}" for offer in offers]
        asked = {"pairs": pairs, "names": names, "exact": exact, "words": words}
        yield {self.sheet: asked if pairs else None, self.status: table}

    async def _pair(self, number: int, path: Path, offers: list[Offer], report: Any) -> dict[str, Any]:
        """A photo and its two drawings, each on a side that chance has chosen, under addresses that do not tell whose."""
        drawings = [await self.studio.draw(path, offer.key, DEFAULT_LONGEST_SIDE, report) for offer in offers]
        places = random.sample(range(2), 2)
        pair: dict[str, Any] = {"name": path.name, "size": drawings[0].size}
        pair["photo"] = components.address(await asyncio.to_thread(components.save, drawings[0].photo, f"{number}.png"))
        for side, of in zip(SIDES, places, strict=True):
            file = await asyncio.to_thread(components.save, drawings[of].anime, f"{number}-{side}.png")
            pair[side] = {"address": components.address(file), "of": of}
        return pair

    def _firsts(self) -> tuple[str | None, str | None]:
        """What the first two experiments show first."""
        keys = [self.catalog.first(offers).key for offers in self.catalog.experiments().values()]
        first, second = (*keys[:2], None, None)[:2]
        return first, second
