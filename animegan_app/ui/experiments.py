"""The third tab: all experiments, their loss curves, the style-content plane, fixed samples and model cards."""

import html
import json
import re
from collections.abc import Sequence
from typing import Any

import gradio as gr
from gradio.components.plot import PlotData
from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token

from animegan_app.catalog import HUB, Catalog, Offer
from animegan_app.curves import COLOURS, MARKS, Curves, loss_figure, plane_figure, read_curves, scales, with_measured
from animegan_app.photos import PhotoError, read_photo
from animegan_app.sheet import evenly
from animegan_app.studio import Studio, megabytes
from animegan_app.ui import parts
from animegan_app.ui.stylise import Stylise, choices, duration
from animegan_app.ui.words import label, recorded, say
from hub_export.card import model_card
from hub_export.metrics import measurements, yardsticks
from hub_export.record import CARD, SAMPLES, CheckpointError

OVERLAID = len(MARKS) * len(COLOURS)
"""How many experiments the charts show unasked; so many look different."""
USUAL_TERMS = ("content", "style", "d_real", "d_fake", "eval_style", "eval_independent_style")
"""The terms that the charts show unasked, as far as they are there."""
PLANE_WORDS = ("style", "content", "independent_style", "independent_content", "photos", "anime", "point")
"""Keys of what `plane_figure` is told in words, each after "plane_"."""
MAX_SAMPLES, MAX_QUESTION = 60, 160
MAX_CARD = 50_000
"""Bytes of a card that are shown."""
LOOK_SECONDS = 10
"""How often the charts look for new rows of a training in progress while they are on the screen."""

CSS = """
#experiments h2 { font-size: 1.15rem; font-weight: 600; margin: 1.2rem 0 0; }
#overview :is(th, td) { padding-right: .8rem !important; }
#overview td { font-size: .92rem; }
#overview td:nth-child(3) { min-width: 16rem; word-break: normal; }
#overview td:not(:nth-child(3), :nth-child(10)) { white-space: nowrap; }
#overview td:nth-child(10) { min-width: 9rem; }
#experiments .js-plotly-plot .main-svg g:not(.hovertext) > text { fill: var(--body-text-color) !important; }
#plane .point { cursor: pointer; }
#samples .grid-container { grid-template-columns: repeat(auto-fill, minmax(min(340px, 100%), 1fr)); }
#samples .grid-wrap { max-height: 80vh; }
#samples .thumbnail-lg { aspect-ratio: auto; }
#card { overflow-wrap: anywhere; }
#card table { display: block; overflow-x: auto; overflow-wrap: normal; }
#card pre { overflow-x: auto; padding: .6rem .9rem; background: var(--background-fill-secondary); }
"""

LISTEN = """
element.addEventListener("pointerover", (event) => {
    const plot = event.target.closest(".js-plotly-plot");
    if (!plot || plot.listened) return;
    plot.listened = true;
    plot.on("plotly_click", ({ points: [point] }) => { if (point.customdata) trigger("click", { key: point.customdata }); });
});
"""
"""gr.Plot tells nobody about clicks, and draws with a new plot whenever its value changes."""
ON_SCREEN = "(seconds, ...given) => [document.querySelector('#experiments').checkVisibility() ? seconds : 0, ...given]"


def build(studio: Studio, stylise: Stylise, tab: gr.Tab, tabs: gr.Tabs, known: gr.Textbox) -> None:
    """Builds the tab.

    Args:
        stylise: where a checkpoint that is clicked gets chosen.
        tab: itself.
        tabs: where the first tab is then shown.
        known: changes when the catalog does.
    """
    catalog = studio.catalog

    def renew(
        shown: list[str] | None, experiment: str | None, checkpoint: str | None, request: gr.Request
    ) -> tuple[Any, ...]:
        """The table and all choices, for what is on offer now."""
        experiments = catalog.experiments()
        names = parts.experiment_choices(experiments, request)
        kept = [name for name in shown or [] if name in experiments] or list(experiments)[:OVERLAID]
        one = experiment if experiment in experiments else next(iter(experiments), None)
        offers = experiments[one] if one else []
        return (
            _overview(experiments, request),
            parts.renewed(names, shown, kept),
            parts.renewed(names, experiment, one),
            parts.renewed(
                parts.checkpoint_choices(offers, request), checkpoint, catalog.first(offers).key if offers else None
            ),
        )

    def chart(
        shown: list[str] | None,
        terms: list[str] | None,
        logarithmic: bool,
        reach: int,
        drawn: list[int] | None,
        request: gr.Request,
    ) -> tuple[Any, ...]:
        """The choice of terms, both figures where they changed, what cannot be shown, and what is drawn now."""
        experiments = {name: offers for name, offers in catalog.experiments().items() if name in (shown or [])}
        titles = dict(zip(experiments, (text for text, _ in parts.experiment_choices(experiments, request)), strict=True))
        curves: dict[str, Curves] = {}
        notes = []
        for name, offers in experiments.items():
            try:
                curves[titles[name]] = with_measured(_read(catalog, offers), [offer.record for offer in offers])
            except CheckpointError as error:
                notes.append(f"{titles[name]}: {say(error.sentence, request)}")
        found = list(dict.fromkeys(term for course in curves.values() for term in course.terms))
        fresh = not (drawn and drawn[0])  # no term was on offer yet; afterwards none is a choice too
        chosen = [term for term in (USUAL_TERMS if fresh else terms or ()) if term in found]
        named = {titles[name]: offers for name, offers in experiments.items()}
        ways = scales(named)
        told = [(", ".join(names), say(recorded(text), request)) for way in ways for text, names in way.items()]
        if len(ways) > 1:
            notes.append(say("other_scales", request))
        words = {key: say(f"plane_{key}", request) for key in PLANE_WORDS}
        words |= {phase: say(phase, request) for phase in parts.PHASES}
        plane = plane_figure(named, words)
        if not plane["data"]:
            notes.append(say("not_measured", request))
        losses = loss_figure(curves, chosen, logarithmic, reach, say("step", request)) if chosen else None
        figures = [json.dumps(losses), json.dumps(plane if plane["data"] else None)]
        offered = gr.update(choices=found, value=chosen) if fresh or chosen != terms else gr.update(choices=found)
        values = [offered, *map(_plot, figures), _notes(notes, told)]
        prints = [hash(text) if text else 0 for text in (" ".join(found), *figures, json.dumps([notes, told]))]
        if drawn:  # what is as it was stays untouched, with its zoom
            values = [gr.skip() if new == old else value for value, new, old in zip(values, prints, drawn, strict=True)]
        return *values, prints

    def look(
        seconds: float,
        shown: list[str] | None,
        terms: list[str] | None,
        logarithmic: bool,
        reach: int,
        drawn: list[int] | None,
        request: gr.Request,
    ) -> tuple[Any, ...]:
        """`chart` again while it is on the screen (`seconds` is 0 where it is not) and shows what may train here."""
        if not seconds or all(name.startswith(f"{HUB}/") for name in shown or []):
            return gr.Timer(active=False), *(gr.skip(),) * len(charts)
        return gr.skip(), *chart(shown, terms, logarithmic, reach, drawn, request)

    def list_samples(experiment: str | None, request: gr.Request) -> Any:
        """The fixed samples of an experiment's checkpoints that are here, with captions."""
        found = []
        for offer in evenly(catalog.experiments().get(experiment or "", []), MAX_SAMPLES):
            try:
                if not catalog.missing_bytes(offer):
                    name = f"{offer.record.experiment}-{offer.record.checkpoint}-samples.jpg"
                    path = parts.save(read_photo(catalog.fetch(offer) / SAMPLES), name)
                    found.append((path, f"{offer.record.checkpoint} · {parts.phase(offer.record, request)}"))
            except (CheckpointError, PhotoError):  # who draws with it is told
                continue
        return gr.Gallery(value=found, visible=bool(found))

    def choose_experiment(experiment: str | None, request: gr.Request) -> Any:
        """Its checkpoints, with the one to show first chosen."""
        offers = catalog.experiments().get(experiment or "", [])
        if not offers:
            return gr.Dropdown(choices=[], value=None)
        return gr.Dropdown(choices=parts.checkpoint_choices(offers, request), value=catalog.first(offers).key)

    def show_card(key: str | None, request: gr.Request) -> str:
        """HTML of a checkpoint's card or, as long as that is not here, of the card that its record makes."""
        try:
            return _card(catalog, catalog.find(key), request) if key else ""
        except CheckpointError as error:
            raise parts.error(error, request) from None

    def use(key: str | None, request: gr.Request) -> tuple[Any, ...]:
        """The first tab, with this checkpoint chosen."""
        try:
            offer = catalog.find(key or "")
        except CheckpointError as error:
            raise parts.error(error, request) from None
        return gr.Tabs(selected="stylise"), *choices(studio, offer, request)

    def use_clicked(event: gr.EventData, request: gr.Request) -> tuple[Any, ...]:
        """`use` of the point that was clicked."""
        return use(str(event.key), request)

    experiments = catalog.experiments()
    names, first = parts.experiment_choices(experiments, None), next(iter(experiments), None)
    offers = experiments[first] if first else []
    overview = gr.HTML(_overview(experiments, None), elem_id="overview")
    gr.HTML(label("curves_title"))
    shown = gr.Dropdown(
        names, value=list(experiments)[:OVERLAID], multiselect=True, label=label("overlaid"), elem_id="overlaid"
    )
    with gr.Row():
        terms = gr.Dropdown([], multiselect=True, label=label("terms_shown"), scale=3, min_width=300, elem_id="terms")
        reach = gr.Slider(
            0, 20, 2, step=1, label=label("smoothing"), info=label("smoothing_info"), min_width=240, elem_id="smoothing"
        )
        logarithmic = gr.Checkbox(True, label=label("logarithmic"), min_width=180, elem_id="logarithmic")
    losses = gr.Plot(show_label=False, elem_id="losses")
    gr.HTML(label("plane_title"))
    with gr.HTML(html_template="@children", js_on_load=LISTEN) as clicks:
        plane = gr.Plot(show_label=False, elem_id="plane")
    notes = gr.HTML(elem_id="notes")
    gr.HTML(label("one_title"))
    with gr.Row():
        experiment = gr.Dropdown(names, value=first, label=label("experiment"), min_width=260, elem_id="looked-at")
        checkpoint = gr.Dropdown(
            parts.checkpoint_choices(offers, None),
            value=catalog.first(offers).key if offers else None,
            label=label("checkpoint"),
            min_width=260,
            elem_id="looked-at-checkpoint",
        )
        draw = gr.Button(label("draw_with"), variant="primary", scale=0, min_width=180, elem_id="draw-with")
    gr.HTML(label("samples"))
    samples = parts.gallery("samples", ["fullscreen"])
    card = gr.HTML(elem_id="card")

    drawn, timer = gr.State(None), gr.Timer(LOOK_SECONDS, active=False)
    quick: Any = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
    chosen = [shown, experiment, checkpoint]
    listed = [overview, *chosen]
    settings = [shown, terms, logarithmic, reach, drawn]
    charts = [terms, losses, plane, notes, drawn]
    last: Any = quick | {"preprocess": False, "trigger_mode": "always_last"}  # one answer at a time, the last choice's last
    gr.on([tab.select, known.change], renew, chosen, listed, **last)
    adjusted = [shown.change, terms.input, logarithmic.input, reach.release]
    gr.on([tab.select, *adjusted], chart, settings, charts, **last)
    gr.on([tab.select, experiment.change], list_samples, experiment, samples, **last)
    gr.on([tab.select, checkpoint.change], show_card, checkpoint, card, **last)
    experiment.input(choose_experiment, experiment, checkpoint, **last)
    tab.select(lambda: gr.Timer(active=True), None, timer, **quick)
    timer.tick(look, [timer, *settings], [timer, *charts], js=ON_SCREEN, preprocess=False, **quick)
    target = [tabs, stylise.experiment, stylise.checkpoint]
    draw.click(use, checkpoint, target, preprocess=False, **quick)
    clicks.click(use_clicked, None, target, **quick)


def _overview(experiments: dict[str, list[Offer]], request: gr.Request | None) -> str:
    """HTML of the table of all experiments, each as its newest checkpoint tells it."""
    rows = []
    style, content = yardsticks(offer.record for offers in experiments.values() for offer in offers)
    for offers in experiments.values():
        newest = offers[-1].record
        measured = [offer.record for offer in offers if style in offer.record.metrics]
        best = min(measured, key=lambda record: record.metrics[style], default=None)
        generator, compute = newest.generator, newest.compute
        question = say(recorded(newest.question), request)
        rows.append(
            (
                offers[0].name,
                say(offers[0].source, request),
                question if len(question) <= MAX_QUESTION else f"{question[:MAX_QUESTION]}…",
                *(str(measurements(best.metrics).get(name, "–")) if best else "–" for name in (style, content)),
                best.checkpoint if best else "",
                f"{newest.step:,}",
                parts.phase(newest, request),
                f"{generator['architecture']}, {generator['channels']}",
                say("spent", request, time=duration(compute["seconds"], request), device=compute["device"]),
            )
        )
    keys = ("experiment", "place", "question", style, content, "best", "steps", "phase", "generator", "compute")
    return parts.table([say(key, request) for key in keys], rows)


def _read(catalog: Catalog, offers: Sequence[Offer]) -> Curves:
    """The curves of the newest checkpoint that is here. Raises CheckpointError if none is, or it is damaged."""
    here = [offer for offer in offers if not catalog.missing_bytes(offer)]
    if not here:
        raise CheckpointError("its curves and samples come with a checkpoint, and none is downloaded yet: draw with one")
    return read_curves(catalog.fetch(here[-1]))


def _plot(figure: str) -> PlotData | None:
    return None if figure == "null" else PlotData(type="plotly", plot=figure)


def _notes(notes: list[str], told: list[tuple[str, str]]) -> str:
    """HTML: how what is shown was measured, with the experiments' names where that differs, and what cannot be shown."""
    items = "".join(f"<li>{html.escape(note)}</li>" for note in notes)
    lines = [text if len(told) == 1 else f"{names}: {text}" for names, text in told]
    return "".join(f"<p>{html.escape(line)}</p>" for line in lines) + (
        f"<div class='notice'><ul>{items}</ul></div>" if notes else ""
    )


def _card(catalog: Catalog, offer: Offer, request: gr.Request | None) -> str:
    missing = catalog.missing_bytes(offer)
    if missing:
        told = say("card_of_record", request, size=megabytes(missing))
        return f"<p class='notice'>{html.escape(told)}</p>{render_card(model_card(offer.record, offer.name))}"
    path = catalog.fetch(offer) / CARD
    try:
        with path.open("rb") as file:
            content = file.read(MAX_CARD)
    except OSError:
        raise CheckpointError("{path} cannot be read", path=path) from None
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
