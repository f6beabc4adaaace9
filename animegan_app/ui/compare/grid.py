"""One photo by many checkpoints side by side, and two of the pictures under a slider."""

import math
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import gradio as gr

from animegan_app import sheet
from animegan_app.catalog import Catalog, Offer
from animegan_app.studio import Studio
from animegan_app.stylize import LONGEST_SIDES
from animegan_app.ui import parts
from animegan_app.ui.compare.drawing import MAX_CHOSEN, PHOTO, Picture, draw_all
from animegan_app.ui.parts import Outputs
from animegan_app.ui.words import label, say
from hub_export.record import CheckpointError

HANDFUL = 6
"""How many checkpoints the grid shows unasked."""
LONGEST_SIDE = LONGEST_SIDES[0]


class Grid:
    """`photo` and `longest_side` are there for others to read."""

    def __init__(self, studio: Studio):
        self.studio, self.catalog = studio, studio.catalog
        with gr.Row():
            with gr.Column(scale=2, min_width=300):
                self.photo = parts.photo_input("compare-photo", 300)
            with gr.Column(scale=3, min_width=300):
                self.chosen = gr.Dropdown(
                    _choices(self.catalog.experiments(), None),
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
                with gr.Row():
                    self.fill = gr.Button(label("draw_grid"), variant="primary", elem_id="fill")
                    self.stop = gr.Button(label("cancel"), elem_id="grid-cancel", elem_classes="stop")
                self.status = gr.HTML(elem_id="grid-status")
        self.gallery = parts.gallery("grid", ["fullscreen", "download"])
        self.get_sheet = gr.DownloadButton(label("get_sheet"), interactive=False, elem_id="get-sheet")
        with gr.Row():
            self.left = gr.Dropdown([], label=label("left"), min_width=260, elem_id="left")
            self.right = gr.Dropdown([], label=label("right"), min_width=260, elem_id="right")
        self.slider = parts.picture_slider("pair", 560, "pair", shows_title=False)

    def wire(self) -> None:
        """Says what follows from what."""
        self.drawn = gr.State([])
        filling = self.fill.click(
            self.draw,
            [self.photo, self.chosen, self.longest_side, self.left, self.right],
            [self.drawn, self.gallery, self.get_sheet, self.left, self.right, self.status],
            show_progress_on=self.status,
            **parts.SLOW,
        )
        stopping = self.stop.click(None, None, None, cancels=filling, **parts.QUICK)
        for ended in (filling, stopping):
            ended.then(self.make_sheet, self.drawn, self.get_sheet, show_progress="hidden", api_visibility="private")
        shown: list[Any] = [self.drawn, self.left, self.right]
        gr.on([each.change for each in shown], self.pair, shown, self.slider, preprocess=False, **parts.QUICK)

    def renew(self, experiments: dict[str, list[Offer]], keys: list[str] | None, request: gr.Request) -> Outputs:
        """The choice, for what is on offer now; those that went are taken out."""
        choices = _choices(experiments, request)
        offered = {key for _, key in choices}
        kept = [key for key in keys or [] if key in offered]
        return {self.chosen: parts.renewed(choices, keys, kept or handful(self.catalog))}

    async def draw(
        self,
        photo: dict[str, Any] | None,
        keys: list[str],
        longest_side: int,
        left: str | None,
        right: str | None,
        request: gr.Request,
        progress: gr.Progress = gr.Progress(),  # noqa: B008  Gradio finds it by this default
    ) -> AsyncIterator[Outputs]:
        """The pictures, each time that there is one more, two of them under the slider, and how it goes."""
        if photo and not keys:
            raise parts.error("no_choice", request)
        if len(keys) > MAX_CHOSEN:
            raise parts.error("too_many", request, most=MAX_CHOSEN)
        offers = _find(self.catalog, keys, request)
        async for series in draw_all(self.studio, photo, offers, longest_side, _name, request, progress):
            choices = [(picture.caption, picture.key) for picture in series.pictures]
            drawn = [picture.key for picture in series.pictures]
            yield {
                self.drawn: series.pictures,
                self.gallery: [(picture.path, picture.caption) for picture in series.pictures],
                self.get_sheet: gr.DownloadButton(value=None, interactive=False),
                self.left: gr.Dropdown(choices=choices, value=left if left in drawn else PHOTO if drawn else None),
                self.right: gr.Dropdown(choices=choices, value=right if right in drawn else drawn[1] if drawn else None),
                self.status: series.told(request),
            }

    def make_sheet(self, pictures: list[Picture]) -> Any:
        """The sheet of what was drawn, for download."""
        if not pictures:
            return gr.skip()
        content = sheet.sheet([picture.labelled for picture in pictures])
        file = parts.keep(content, f"{Path(pictures[0].path).stem}-sheet.png")
        return gr.DownloadButton(value=file, interactive=True)

    def pair(self, pictures: list[Picture], left: str | None, right: str | None) -> Any:
        """Two of the pictures, for the slider."""
        paths = {picture.key: picture.path for picture in pictures}
        if left in paths and right in paths:
            return paths[left], paths[right]
        return None


def handful(catalog: Catalog) -> list[str]:
    """Keys of what experiments show first, as far as it is here already: the first one's, then what changes photos most."""
    firsts = [offer for offer in map(catalog.first, catalog.experiments().values()) if not _missing(catalog, offer)]
    others = sorted(firsts[1:], key=lambda offer: -offer.record.metrics.get("content", math.inf))
    return [offer.key for offer in [*firsts[:1], *others]][:HANDFUL]


def _choices(experiments: dict[str, list[Offer]], request: gr.Request | None) -> list[tuple[str, str]]:
    return [(_name(offer, request), offer.key) for offers in experiments.values() for offer in offers]


def _find(catalog: Catalog, keys: Sequence[str], request: gr.Request) -> list[Offer]:
    try:
        return [catalog.find(key) for key in dict.fromkeys(keys)]
    except CheckpointError as error:
        raise parts.error(error, request) from None


def _missing(catalog: Catalog, offer: Offer) -> int:
    try:
        return catalog.missing_bytes(offer)
    except CheckpointError:  # it went while we looked
        return 1


def _name(offer: Offer, request: gr.Request | None) -> str:
    return f"{offer.name} {offer.record.checkpoint} · {say(offer.source, request)}"
