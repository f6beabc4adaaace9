"""One experiment: the fixed samples of its checkpoints, and the card of one of them."""

import html
import re
from collections.abc import Sequence
from typing import Any

import gradio as gr
from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token

from animegan_app.catalog import Catalog, Offer
from animegan_app.contact_sheet import evenly
from animegan_app.photos import PhotoError, read_photo
from animegan_app.studio import megabytes
from animegan_app.ui import components
from animegan_app.ui.components import Outputs
from animegan_app.ui.i18n import label, say
from hub_export.card import model_card
from hub_export.record import CARD, SAMPLES, CheckpointError, read_file

MAX_SAMPLES = 60
MAX_CARD = 50_000
"""Bytes of a card that are shown."""

LEAVE_FULL_SCREEN = """
new MutationObserver(() => {
    const gallery = element.querySelector(".fullscreen");
    if (gallery && !gallery.querySelector(".preview")) window.dispatchEvent(new KeyboardEvent("keydown", { key: "Escape" }));
}).observe(element, { childList: true, subtree: true });
"""
"""gr.Gallery enters the full screen with an enlarged picture, whose closing takes away the button that leaves it."""


class OneExperiment:
    """The fixed samples of one experiment's checkpoints, and the card of one of them."""

    def __init__(self, catalog: Catalog):
        self.catalog = catalog
        experiments = catalog.experiments()
        first = next(iter(experiments), None)
        offers = experiments[first] if first else []
        with gr.Row():
            self.experiment = gr.Dropdown(
                components.experiment_choices(experiments, None),
                value=first,
                label=label("experiment"),
                min_width=260,
                elem_id="looked-at",
            )
            self.checkpoint = gr.Dropdown(
                components.checkpoint_choices(offers, None),
                value=self.catalog.first(offers).key if offers else None,
                label=label("checkpoint"),
                min_width=260,
                elem_id="looked-at-checkpoint",
            )
            self.draw = gr.Button(label("draw_with"), variant="primary", scale=0, min_width=180, elem_id="draw-with")
        gr.HTML(label("samples"))
        with gr.HTML(html_template="@children", js_on_load=LEAVE_FULL_SCREEN):
            self.samples = gr.Gallery(
                show_label=False,
                columns=None,
                height="auto",
                object_fit="contain",
                interactive=False,
                buttons=["fullscreen"],
                elem_id="samples",
            )
        with gr.Accordion(label("card_fold"), open=False, elem_id="card-fold"):
            self.card = gr.HTML(elem_id="card")

    def wire(self, tabs: Sequence[gr.Tab], known: gr.Textbox) -> None:
        """Says what follows from what. `known` changes when the catalog does."""
        selected = [tab.select for tab in tabs]
        components.answer_in_turn([*selected, self.experiment.change], self.list_samples, self.experiment, self.samples)
        components.answer_in_turn([*selected, self.checkpoint.change], self.show_card, self.checkpoint, self.card)
        named = [*selected, known.change, self.experiment.input]
        components.answer_in_turn(named, self.choose, [self.experiment, self.checkpoint], self.checkpoint)

    def renew(self, experiments: dict[str, list[Offer]], experiment: str | None, request: gr.Request) -> Outputs:
        """The experiments on offer now; `choose` answers for the checkpoints."""
        names = components.experiment_choices(experiments, request)
        return {self.experiment: components.renewed(names, experiment, next(iter(experiments), None))}

    def show(self, offer: Offer, request: gr.Request) -> Outputs:
        """Both choices with everything on offer and `offer` chosen."""
        experiments = self.catalog.experiments()
        choices = components.checkpoint_choices(experiments.get(offer.experiment, []), request)
        names = components.experiment_choices(experiments, request)
        return {
            self.experiment: gr.Dropdown(choices=names, value=offer.experiment),
            self.checkpoint: gr.Dropdown(choices=choices, value=offer.key),
        }

    def list_samples(self, experiment: str | None, request: gr.Request) -> Any:
        """The fixed samples of an experiment's checkpoints that are here, with captions."""
        samples = []
        for offer in evenly(self.catalog.experiments().get(experiment or "", []), MAX_SAMPLES):
            try:
                if not self.catalog.missing_bytes(offer):
                    name = f"{offer.record.experiment}-{offer.record.checkpoint}-samples.jpg"
                    path = components.save(read_photo(self.catalog.file(offer, SAMPLES)), name)
                    samples.append((path, f"{offer.record.checkpoint} · {components.phase(offer.record, request)}"))
            except (CheckpointError, PhotoError):  # who draws with it is told
                continue
        return gr.Gallery(value=samples, visible=bool(samples))

    def choose(self, experiment: str | None, checkpoint: str | None, request: gr.Request) -> Any:
        """The checkpoints of the experiment on offer, with the one to show first chosen unless one of them is."""
        experiments = self.catalog.experiments()
        offers = experiments.get(experiment or "") or next(iter(experiments.values()), [])
        first = self.catalog.first(offers).key if offers else None
        return components.renewed(components.checkpoint_choices(offers, request), checkpoint, first)

    def show_card(self, key: str | None, request: gr.Request) -> str:
        """HTML of a checkpoint's card or, as long as that is not here, of the card that its record makes."""
        try:
            return _card(self.catalog, self.catalog.find(key), request) if key else ""
        except CheckpointError as error:
            return components.alert(error, request)


def _card(catalog: Catalog, offer: Offer, request: gr.Request | None) -> str:
    missing = catalog.missing_bytes(offer)
    if missing:
        notice = say("card_of_record", request, size=megabytes(missing))
        return f"<p class='notice'>{html.escape(notice)}</p>{render_card(model_card(offer.record, offer.name))}"
    content = read_file(catalog.file(offer, CARD).parent, CARD)[:MAX_CARD]
    return render_card(content.decode("utf-8", "replace"))


def render_card(text: str) -> str:
    """HTML of a card that may be a stranger's: HTML in it is text, a picture its description, a link leads to the web."""
    text = re.sub(r"\A---\n.*?\n---\n", "", text, flags=re.DOTALL)
    return MarkdownIt("commonmark", {"html": False}, renderer_cls=_CardRenderer).enable("table").render(text)


class _CardRenderer(RendererHTML):
    def image(self, tokens: Sequence[Token], index: int, options: Any, environment: Any) -> str:
        return f"<em>{html.escape(tokens[index].content)}</em>"

    def link_open(self, tokens: Sequence[Token], index: int, options: Any, environment: Any) -> str:
        address = str(tokens[index].attrs.get("href", ""))
        if not address.startswith(("https://", "http://")):
            return "<a>"
        return f"<a href='{html.escape(address)}' target='_blank' rel='noopener noreferrer'>"
