"""The third tab: all experiments, their loss curves, the style-content plane, fixed samples and model cards."""

import html
import json
import re
from collections.abc import Sequence
from itertools import compress
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
from animegan_app.ui.parts import Outputs
from animegan_app.ui.stylize import Stylize, duration
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


class Experiments:
    """The tab.

    Args:
        studio: what draws.
        stylize: where a checkpoint that is clicked gets chosen.
        tab: itself.
        tabs: where the first tab is then shown.
        known: changes when the catalog does.
    """

    def __init__(self, studio: Studio, stylize: Stylize, tab: gr.Tab, tabs: gr.Tabs, known: gr.Textbox):
        self.catalog, self.stylize, self.tabs = studio.catalog, stylize, tabs
        self.overview = gr.HTML(_overview(self.catalog.experiments(), None), elem_id="overview")
        self.charts, self.one = Charts(self.catalog), OneExperiment(self.catalog)
        chosen: list[Any] = [self.charts.shown, self.one.experiment, self.one.checkpoint]
        gr.on([tab.select, known.change], self.renew, chosen, [self.overview, *chosen], **parts.LAST)
        self.charts.wire(tab)
        self.one.wire(tab)
        target: list[Any] = [tabs, stylize.experiment, stylize.checkpoint]
        self.one.draw.click(self.use, self.one.checkpoint, target, preprocess=False, **parts.QUICK)
        self.charts.clicks.click(self.use_clicked, None, target, **parts.QUICK)

    def renew(self, shown: list[str] | None, experiment: str | None, checkpoint: str | None, request: gr.Request) -> Outputs:
        """The table and all choices, for what is on offer now."""
        experiments = self.catalog.experiments()
        return {
            self.overview: _overview(experiments, request),
            **self.charts.renew(experiments, shown, request),
            **self.one.renew(experiments, experiment, checkpoint, request),
        }

    def use(self, key: str | None, request: gr.Request) -> Outputs:
        """The first tab, with this checkpoint chosen."""
        try:
            offer = self.catalog.find(key or "")
        except CheckpointError as error:
            raise parts.error(error, request) from None
        return {self.tabs: gr.Tabs(selected="stylise"), **self.stylize.choose(offer, request)}

    def use_clicked(self, event: gr.EventData, request: gr.Request) -> Outputs:
        """`use` of the point that was clicked."""
        return self.use(str(event.key), request)


class Charts:
    """Loss curves, and the plane of style and content, of several experiments."""

    def __init__(self, catalog: Catalog):
        self.catalog = catalog
        experiments = catalog.experiments()
        gr.HTML(label("curves_title"))
        self.shown = gr.Dropdown(
            parts.experiment_choices(experiments, None),
            value=list(experiments)[:OVERLAID],
            multiselect=True,
            label=label("overlaid"),
            elem_id="overlaid",
        )
        with gr.Row():
            self.terms = gr.Dropdown(
                [], multiselect=True, label=label("terms_shown"), scale=3, min_width=300, elem_id="terms"
            )
            words: Any = {"label": label("smoothing"), "info": label("smoothing_info")}
            self.reach = gr.Slider(0, 20, 2, step=1, **words, min_width=240, elem_id="smoothing")
            self.logarithmic = gr.Checkbox(True, label=label("logarithmic"), min_width=180, elem_id="logarithmic")
        self.losses = gr.Plot(show_label=False, elem_id="losses")
        gr.HTML(label("plane_title"))
        with gr.HTML(html_template="@children", js_on_load=LISTEN) as self.clicks:
            self.plane = gr.Plot(show_label=False, elem_id="plane")
        self.notes = gr.HTML(elem_id="notes")

    def wire(self, tab: gr.Tab) -> None:
        """Says what follows from what. What is drawn is looked at again while it is on the screen."""
        self.drawn, self.timer = gr.State(None), gr.Timer(LOOK_SECONDS, active=False)
        settings: list[Any] = [self.shown, self.terms, self.logarithmic, self.reach, self.drawn]
        charts: list[Any] = [self.terms, self.losses, self.plane, self.notes, self.drawn]
        adjusted = [self.shown.change, self.terms.input, self.logarithmic.input, self.reach.release]
        gr.on([tab.select, *adjusted], self.chart, settings, charts, **parts.LAST)
        tab.select(lambda: {self.timer: gr.Timer(active=True)}, None, self.timer, **parts.QUICK)
        looked = [self.timer, *settings], [self.timer, *charts]
        self.timer.tick(self.look, *looked, js=ON_SCREEN, preprocess=False, **parts.QUICK)

    def renew(self, experiments: dict[str, list[Offer]], shown: list[str] | None, request: gr.Request) -> Outputs:
        """Which are shown, for what is on offer now."""
        kept = [name for name in shown or [] if name in experiments] or list(experiments)[:OVERLAID]
        return {self.shown: parts.renewed(parts.experiment_choices(experiments, request), shown, kept)}

    def chart(
        self,
        shown: list[str] | None,
        terms: list[str] | None,
        logarithmic: bool,
        reach: int,
        drawn: dict[str, int] | None,
        request: gr.Request,
    ) -> Outputs:
        """The choice of terms, both figures, and what cannot be shown, each where it changed; and what is drawn now.

        Args:
            drawn: a hash of what each shows already, so that what is as it was keeps its zoom.
        """
        named, curves, notes = self._read(shown or [], request)
        found = list(dict.fromkeys(term for course in curves.values() for term in course.terms))
        fresh = not (drawn and drawn["terms"])  # no term was on offer yet; afterwards none is a choice too
        chosen = [term for term in (USUAL_TERMS if fresh else terms or ()) if term in found]
        ways = scales(named)
        told = [(", ".join(names), say(recorded(text), request)) for way in ways for text, names in way.items()]
        plane = _plot(_plane(named, request))
        if len(ways) > 1:
            notes.append(say("other_scales", request))
        if plane is None:
            notes.append(say("not_measured", request))
        losses = _plot(loss_figure(curves, chosen, logarithmic, reach, say("step", request)) if chosen else None)
        offered = gr.update(choices=found, value=chosen) if fresh or chosen != terms else gr.update(choices=found)
        outputs = {self.terms: offered, self.losses: losses, self.plane: plane, self.notes: _notes(notes, told)}
        shows = {"terms": found, "losses": losses and losses.plot, "plane": plane and plane.plot, "notes": [notes, told]}
        prints = {name: hash(str(value)) if value else 0 for name, value in shows.items()}
        old = drawn or {}
        changed = [prints[name] != old.get(name) for name in prints]
        return dict(compress(outputs.items(), changed)) | {self.drawn: prints}

    def look(
        self,
        seconds: float,
        shown: list[str] | None,
        terms: list[str] | None,
        logarithmic: bool,
        reach: int,
        drawn: dict[str, int] | None,
        request: gr.Request,
    ) -> Outputs:
        """`chart` again while it is on the screen (`seconds` is 0 where it is not) and shows what may train here."""
        if not seconds or all(name.startswith(f"{HUB}/") for name in shown or []):
            return {self.timer: gr.Timer(active=False)}
        return self.chart(shown, terms, logarithmic, reach, drawn, request)

    def _read(self, shown: list[str], request: gr.Request) -> tuple[dict[str, list[Offer]], dict[str, Curves], list[str]]:
        """By title, the experiments that are shown and the curves of those that have any; and why the others have none."""
        experiments = {name: offers for name, offers in self.catalog.experiments().items() if name in shown}
        titles = [title for title, _ in parts.experiment_choices(experiments, request)]
        named = dict(zip(titles, experiments.values(), strict=True))
        curves, notes = {}, []
        for title, offers in named.items():
            try:
                curves[title] = with_measured(_read(self.catalog, offers), [offer.record for offer in offers])
            except CheckpointError as error:
                notes.append(f"{title}: {say(error.sentence, request)}")
        return named, curves, notes


class OneExperiment:
    """The fixed samples of one experiment's checkpoints, and the card of one of them."""

    def __init__(self, catalog: Catalog):
        self.catalog = catalog
        experiments = catalog.experiments()
        first = next(iter(experiments), None)
        offers = experiments[first] if first else []
        gr.HTML(label("one_title"))
        with gr.Row():
            self.experiment = gr.Dropdown(
                parts.experiment_choices(experiments, None),
                value=first,
                label=label("experiment"),
                min_width=260,
                elem_id="looked-at",
            )
            self.checkpoint = gr.Dropdown(
                parts.checkpoint_choices(offers, None),
                value=self.catalog.first(offers).key if offers else None,
                label=label("checkpoint"),
                min_width=260,
                elem_id="looked-at-checkpoint",
            )
            self.draw = gr.Button(label("draw_with"), variant="primary", scale=0, min_width=180, elem_id="draw-with")
        gr.HTML(label("samples"))
        self.samples = parts.gallery("samples", ["fullscreen"])
        self.card = gr.HTML(elem_id="card")

    def wire(self, tab: gr.Tab) -> None:
        """Says what follows from what."""
        gr.on([tab.select, self.experiment.change], self.list_samples, self.experiment, self.samples, **parts.LAST)
        gr.on([tab.select, self.checkpoint.change], self.show_card, self.checkpoint, self.card, **parts.LAST)
        self.experiment.input(self.choose, self.experiment, self.checkpoint, **parts.LAST)

    def renew(
        self,
        experiments: dict[str, list[Offer]],
        experiment: str | None,
        checkpoint: str | None,
        request: gr.Request,
    ) -> Outputs:
        """Both choices, for what is on offer now."""
        one = experiment if experiment in experiments else next(iter(experiments), None)
        offers = experiments[one] if one else []
        names, choices = parts.experiment_choices(experiments, request), parts.checkpoint_choices(offers, request)
        first = self.catalog.first(offers).key if offers else None
        return {
            self.experiment: parts.renewed(names, experiment, one),
            self.checkpoint: parts.renewed(choices, checkpoint, first),
        }

    def list_samples(self, experiment: str | None, request: gr.Request) -> Any:
        """The fixed samples of an experiment's checkpoints that are here, with captions."""
        found = []
        for offer in evenly(self.catalog.experiments().get(experiment or "", []), MAX_SAMPLES):
            try:
                if not self.catalog.missing_bytes(offer):
                    name = f"{offer.record.experiment}-{offer.record.checkpoint}-samples.jpg"
                    path = parts.save(read_photo(self.catalog.fetch(offer) / SAMPLES), name)
                    found.append((path, f"{offer.record.checkpoint} · {parts.phase(offer.record, request)}"))
            except (CheckpointError, PhotoError):  # who draws with it is told
                continue
        return gr.Gallery(value=found, visible=bool(found))

    def choose(self, experiment: str | None, request: gr.Request) -> Any:
        """Its checkpoints, with the one to show first chosen."""
        offers = self.catalog.experiments().get(experiment or "", [])
        if not offers:
            return gr.Dropdown(choices=[], value=None)
        return gr.Dropdown(choices=parts.checkpoint_choices(offers, request), value=self.catalog.first(offers).key)

    def show_card(self, key: str | None, request: gr.Request) -> str:
        """HTML of a checkpoint's card or, as long as that is not here, of the card that its record makes."""
        try:
            return _card(self.catalog, self.catalog.find(key), request) if key else ""
        except CheckpointError as error:
            raise parts.error(error, request) from None


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


def _plane(named: dict[str, list[Offer]], request: gr.Request) -> dict[str, Any] | None:
    """The plane with words for who asks; None if nothing in it was measured."""
    words = {key: say(f"plane_{key}", request) for key in PLANE_WORDS}
    words |= {phase: say(phase, request) for phase in parts.PHASES}
    figure = plane_figure(named, words)
    return figure if figure["data"] else None


def _plot(figure: dict[str, Any] | None) -> PlotData | None:
    return PlotData(type="plotly", plot=json.dumps(figure)) if figure else None


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
