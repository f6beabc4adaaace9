"""Photos by checkpoints: a row for each photo, a column for each checkpoint, and any of them enlarged side by side."""

from collections.abc import AsyncIterator, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

import gradio as gr

from animegan_app import contact_sheet
from animegan_app.catalog import Catalog, Offer
from animegan_app.studio import Studio
from animegan_app.stylize import LONGEST_SIDES
from animegan_app.ui import components
from animegan_app.ui.compare import viewer
from animegan_app.ui.compare.drawing import MAX_CHOSEN, Picture, chosen_photos, draw_all, labelled
from animegan_app.ui.components import Outputs
from animegan_app.ui.i18n import label, say
from animegan_app.ui.looks import choices, is_look, names_apart, titles
from hub_export.record import CheckpointError

HANDFUL = 6
"""How many checkpoints the grid shows unasked: looks, and the reference as the last."""
REFERENCE = "repro-"
"""How experiments are called that repeat others' instead of being a look."""
LONGEST_SIDE = LONGEST_SIDES[0]
VIEWER_WORDS = (
    *("enlarged", "side_by_side", "difference", "mean", "close", "previous", "next"),
    *("nearer", "farther", "fit", "hint", "enlarge", "grid_name", "failed"),
)
"""Keys of what `TABLE` says by itself."""

TABLE = """
const scroll = element.querySelector(".scroll");
let layout = "", enlarged = "";
const build = ({ heads, rows, words }) => {
    const head = make("tr", {}, ...heads.map(({ name, detail }) => (
        make("th", { scope: "col" }, make("b", { textContent: name }), make("small", { textContent: detail }))
    )));
    const body = rows.map(({ name }) => make("tr", {}, ...heads.map((_, column) => make(column ? "td" : "th", {}))));
    const table = make("table", {}, make("thead", {}, head), make("tbody", {}, ...body));
    table.style.setProperty("--columns", heads.length);
    scroll.ariaLabel = words.grid_name;
    scroll.replaceChildren(table);
};
const fill = (place, row, at, column) => {
    const cell = row.cells[column], state = JSON.stringify([cell, row.wide, row.high]);
    if (place.dataset.state === state) return;
    place.dataset.state = state;
    const { words } = props.value, name = named(column), said = `${words.enlarge}: ${name}, ${row.name}`;
    const inside = cell?.address
        ? make("button", { ariaLabel: said }, make("img", { src: cell.address, alt: "" }))
        : make("div", { className: cell ? "problem" : "empty", textContent: cell?.problem ?? "" });
    if (cell?.problem) inside.prepend(make("b", { textContent: words.failed }));
    if (cell?.address) inside.onclick = () => enlarge(at, column);
    inside.style.aspectRatio = `${row.wide} / ${row.high}`;
    place.replaceChildren(inside, ...(column ? [] : [make("small", { textContent: row.name })]));
    if (!column) place.scope = "row";
};
const show = () => {
    const value = props.value;
    if (!value) return scroll.replaceChildren();
    const now = JSON.stringify([value.heads, value.rows.map((row) => row.name)]);
    if (now !== layout || !scroll.firstChild) build(value);
    layout = now;
    scroll.querySelectorAll("tbody tr").forEach((line, at) => {
        [...line.children].forEach((place, column) => fill(place, value.rows[at], at, column));
    });
    const cells = JSON.stringify(value.rows[row]?.cells);
    if (dialog.open && cells !== enlarged) draw();
    enlarged = cells;
};
scroll.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[event.key];
    const cell = event.target.closest("th, td");
    if (!step || !cell) return;
    event.preventDefault();
    const line = [...cell.closest("tbody").children][cell.parentElement.rowIndex - 1 + step[0]];
    line?.children[cell.cellIndex + step[1]]?.querySelector("button")?.focus();
});
watch("value", show);
show();
"""

CSS = """
#compare:has(#grid-status [data-testid="status-tracker"]:not(.hide)) #grid { min-height: min(45vh, 400px); }
#chosen .token { max-width: 100%; white-space: normal; overflow-wrap: anywhere; }
#grid .scroll { max-height: min(85vh, 1100px); overflow: auto; }
#grid .scroll table { width: max(min(100%, calc(var(--columns) * 420px)), calc(var(--columns) * 9.5rem)); margin: 0;
  border: 0; table-layout: fixed; border-collapse: separate; border-spacing: 0; }
#grid .scroll :is(th, td) { padding: 4px !important; border: 0 !important; vertical-align: top; text-align: left;
  font-weight: 400; background: var(--body-background-fill); }
#grid .scroll thead th { position: sticky; top: 0; z-index: 2; }
#grid .scroll :is(thead, tbody) th:first-child { position: sticky; left: 0; z-index: 1; }
#grid .scroll thead th:first-child { z-index: 3; }
#grid .scroll th b { display: block; font-weight: 600; overflow-wrap: anywhere; }
#grid .scroll small { display: block; color: var(--body-text-color-subdued); font-size: .75rem; line-height: 1.3;
  overflow-wrap: anywhere; }
#grid .scroll td > *, #grid .scroll th > :is(button, div) { display: block; width: 100%; border-radius: 8px;
  overflow: hidden; background: var(--background-fill-secondary); }
#grid .scroll button { padding: 0; border: 0; cursor: zoom-in; }
#grid .scroll button:focus-visible { outline-offset: -2px; }
#grid .scroll tbody img { width: 100%; height: 100%; object-fit: cover; margin: 0; }
#grid .scroll .problem { padding: .5rem; font-size: .8rem; overflow: auto; overflow-wrap: anywhere;
  border: 1px dashed var(--border-color-primary); }
@media (max-width: 640px) {
  #grid-buttons { flex-direction: column; align-items: stretch; }
  #grid .scroll table { width: calc(var(--columns) * 7.4rem); }
}
"""


class Grid:
    """`photos` and `longest_side` are there for others to read."""

    def __init__(self, studio: Studio):
        self.studio, self.catalog = studio, studio.catalog
        with gr.Row():
            with gr.Column(scale=2, min_width=280):
                self.photos = components.photo_files("compare-photos", "compare_photos", 190)
            with gr.Column(scale=3, min_width=280):
                self.chosen = gr.Dropdown(
                    choices(self.catalog.experiments(), None),
                    value=handful(self.catalog),
                    multiselect=True,
                    label=label("chosen"),
                    info=label("chosen_info"),
                    elem_id="chosen",
                )
                self.longest_side = gr.Radio(
                    [(f"{side}", side) for side in LONGEST_SIDES],
                    value=LONGEST_SIDE,
                    label=label("longest_side"),
                    elem_id="compare-longest-side",
                )
        with gr.Row(elem_id="grid-buttons") as self.buttons:
            self.fill = gr.Button(label("draw_grid"), variant="primary", elem_id="fill")
            self.stop = gr.Button(label("cancel"), elem_id="grid-cancel", elem_classes="stop")
        self.status = gr.HTML(elem_id="grid-status")
        self.table = gr.HTML(
            html_template=f"<div class='scroll' role='region' tabindex='0'></div>{viewer.DIALOG}",
            js_on_load=viewer.VIEWER + TABLE,
            elem_id="grid",
        )
        self.get_sheet = gr.DownloadButton(label("get_sheet"), interactive=False, elem_id="get-sheet")

    def wire(self) -> None:
        """Says what follows from what."""
        self.drawn = gr.State([])
        filling = self.fill.click(
            self.draw,
            [self.photos, self.chosen, self.longest_side],
            [self.drawn, self.table, self.get_sheet, self.status],
            show_progress_on=self.status,
            **components.SLOW,
        )
        self.stop.click(None, None, None, cancels=filling, **components.QUICK)  # then what follows from its end follows too
        filling.then(self.make_sheet, self.drawn, self.get_sheet, **components.AFTER)

    def renew(self, experiments: dict[str, list[Offer]], keys: list[str] | None, request: gr.Request) -> Outputs:
        """The choice, for what is on offer now; those that went are taken out."""
        listed = choices(experiments, request)
        offered = {key for _, key in listed}
        kept = [key for key in keys or [] if key in offered]
        return {self.chosen: components.renewed(listed, keys, kept or handful(self.catalog))}

    async def draw(
        self,
        photos: list[dict[str, Any]] | None,
        keys: list[str],
        longest_side: int,
        request: gr.Request,
        progress: gr.Progress = gr.Progress(),  # noqa: B008  Gradio finds it by this default
    ) -> AsyncIterator[Outputs]:
        """The table, each time that there is one cell more, and how it goes."""
        if not keys:
            raise components.error("no_choice", request)
        if len(keys) > MAX_CHOSEN:
            raise components.error("too_many", request, most=MAX_CHOSEN)
        offers, paths = _find(self.catalog, keys, request), chosen_photos(photos, request)
        heads = [{"name": say("photo", request), "called": say("photo", request), "detail": ""}, *_heads(offers, request)]
        rows: list[dict[str, Any]] = [
            {"name": path.name, "wide": 4, "high": 3, "cells": [None] * len(heads)} for path in paths
        ]
        words = {key: say(key, request) for key in VIEWER_WORDS}
        kept: list[tuple[Picture, Offer | None]] = []
        count = len(paths) * len(offers)

        def so_far() -> Outputs:
            drawings = sum(1 for _, offer in kept if offer)
            return {
                self.drawn: [list(kept), len(heads)],
                self.table: deepcopy({"heads": heads, "rows": rows, "words": words}),  # Gradio sends what is new in it
                self.get_sheet: gr.DownloadButton(value=None, interactive=False),
                self.status: f"<p role='status'>{say('drawn', request, count=drawings, all=count)}</p>",
            }

        yield so_far()
        async for picture in draw_all(self.studio, paths, offers, longest_side, request, progress):
            row, column = rows[picture.row], picture.column
            row["cells"][column] = {"problem": picture.problem} if picture.problem else {"address": picture.address}
            if not picture.problem:
                kept.append((picture, offers[column - 1] if column else None))
            if not column:
                row |= {"wide": picture.size[0], "high": picture.size[1]}
                if picture.row + 1 < len(paths):
                    continue  # all photos at once: the page moves once
            yield so_far()

    def make_sheet(self, drawn: list[Any]) -> Any:
        """The sheet of what was drawn, for download."""
        if not drawn:
            return gr.skip()
        kept, columns = drawn
        if not kept:
            return gr.skip()
        places = {(picture.row, picture.column): labelled(picture, offer) for picture, offer in kept}
        rows = sorted({row for row, _ in places})
        cells = [places.get((row, column)) for row in rows for column in range(columns)]
        name = Path(kept[0][0].path).stem if len(rows) == 1 else "photos"
        return gr.DownloadButton(
            value=components.keep(contact_sheet.sheet(cells, columns), f"{name}-sheet.png"), interactive=True
        )


def handful(catalog: Catalog) -> list[str]:
    """Keys of what is compared unasked, as far as it is here already: what experiments that are looks show first, each look
    once, and one that is none, to compare them with."""
    here = [offer for offer in map(catalog.first, catalog.experiments().values()) if not _missing(catalog, offer)]
    references = [offer for offer in here if offer.record.experiment.startswith(REFERENCE)][:1]
    looks = [offer for offer in here if not offer.record.experiment.startswith(REFERENCE)]
    looks.sort(key=lambda offer: not is_look(offer.record))
    once: dict[str, Offer] = {}
    for offer in looks:
        once.setdefault(offer.record.look.get("name") or offer.key, offer)
    return [offer.key for offer in [*list(once.values())[: HANDFUL - len(references)], *references]]


def _find(catalog: Catalog, keys: Sequence[str], request: gr.Request) -> list[Offer]:
    try:
        return [catalog.find(key) for key in dict.fromkeys(keys)]
    except CheckpointError as error:
        raise components.error(error, request) from None


def _missing(catalog: Catalog, offer: Offer) -> int:
    try:
        return catalog.missing_bytes(offer)
    except CheckpointError:  # it went while we looked
        return 1


def _heads(offers: Sequence[Offer], request: gr.Request) -> list[dict[str, str]]:
    """What stands above each column, and what the column is called where it stands alone, beside others of one name too."""
    short = names_apart(offers, request, lambda offer, request: titles(offer, request)[0])
    heads = (titles(offer, request) for offer in offers)
    return [{"name": name, "detail": detail, "called": called} for (name, detail), called in zip(heads, short, strict=True)]
