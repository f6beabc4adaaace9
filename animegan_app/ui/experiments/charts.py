"""Loss curves of several experiments, and the plane of style and content of all."""

import html
import json
from collections.abc import Mapping, Sequence
from itertools import compress
from typing import Any

import gradio as gr
from gradio.components.plot import PlotData

from animegan_app.catalog import Catalog, Offer
from animegan_app.charts import (
    COLOURS,
    MARKS,
    MEASURED,
    Curves,
    loss_figure,
    plane_figure,
    read_curves,
    read_run,
    scales,
    with_measured,
)
from animegan_app.trainings import Training, in_progress
from animegan_app.ui import components
from animegan_app.ui.components import Outputs
from animegan_app.ui.i18n import WORDS, label, recorded, say
from hub_export.record import CheckpointError

UNASKED, CHARTS = 4, 3
"""How many experiments the curves are of, and how many charts of them there are, unasked."""
OVERLAID = len(MARKS) * len(COLOURS)
"""How many experiments the plane shows; so many look different."""
USUAL_TERMS = ("generator", "content", "eval_independent_style", "eval_style", "style", "d_real", "d_fake")
"""The terms that the charts show unasked, as far as they are there."""
PLANE_WORDS = ("style", "content", "independent_style", "independent_content", "photos", "anime", "point")
"""Keys of what `plane_figure` is told in words, each after "plane_"."""

LISTEN = """
element.addEventListener("pointerover", (event) => {
    const plot = event.target.closest(".js-plotly-plot");
    if (!plot || plot.listened) return;
    plot.listened = true;
    plot.on("plotly_click", ({ points: [point] }) => { if (point.customdata) trigger("click", { key: point.customdata }); });
});
"""
"""gr.Plot tells nobody about clicks, and draws with a new plot whenever its value changes."""


class Charts:
    """Curves. What is drawn is drawn again while it is on the screen, as a training may go on."""

    def __init__(self, catalog: Catalog):
        self.catalog = catalog
        trainings = in_progress(catalog)
        self.shown = gr.Dropdown(
            self._choices(trainings, None),
            value=self._unasked(trainings),
            multiselect=True,
            label=label("overlaid"),
            elem_id="overlaid",
        )
        self.seen = gr.State(list(trainings))
        with gr.Accordion(label("terms_fold"), open=False, elem_id="terms-fold"), gr.Row():
            self.terms = gr.Dropdown(
                [], multiselect=True, label=label("terms_shown"), scale=3, min_width=300, elem_id="terms"
            )
            words: Any = {"label": label("smoothing"), "info": label("smoothing_info")}
            self.reach = gr.Slider(0, 20, 2, step=1, **words, min_width=240, elem_id="smoothing")
            self.logarithmic = gr.Checkbox(True, label=label("logarithmic"), min_width=180, elem_id="logarithmic")
        self.losses = gr.Plot(show_label=False, elem_id="losses")
        self.notes = gr.HTML(elem_id="notes")

    def wire(self, tabs: Sequence[gr.Tab], timer: gr.Timer) -> None:
        """Says what follows from what. `timer` ticks while the charts may be on the screen.

        One event alone draws: of two at a time, the one that was asked first could write last what is `drawn`, and the page
        would show nothing for what the other took for drawn.
        """
        drawn = self.drawn = gr.State(None)
        adjusted = [self.shown.change, self.terms.input, self.logarithmic.input, self.reach.release]
        settings: list[Any] = [self.shown, self.terms, self.logarithmic, self.reach, drawn]
        outputs: list[Any] = [self.terms, self.losses, self.notes, drawn]
        components.answer_in_turn([*(tab.select for tab in tabs), timer.tick, *adjusted], self.chart, settings, outputs)

    def renew(
        self, trainings: dict[str, Training], shown: list[str] | None, seen: list[str], request: gr.Request
    ) -> Outputs:
        """Which are shown, for what there is now. A training not `seen` yet is among them; taken out, it stays out."""
        choices = self._choices(trainings, request)
        offered = {key for _, key in choices}
        kept = [name for name in shown or [] if name in offered] or self._unasked(trainings)
        new = [key for key in trainings if key not in seen and key not in kept]
        if not new:
            return {self.shown: components.renewed(choices, shown, kept)}
        chosen = [*new, *kept][: max(UNASKED, len(kept))]
        return {self.shown: gr.update(choices=choices, value=chosen), self.seen: [*seen, *new]}

    def chart(
        self,
        shown: list[str] | None,
        terms: list[str] | None,
        logarithmic: bool,
        reach: int,
        drawn: dict[str, int] | None,
        request: gr.Request,
    ) -> Outputs:
        """The choice of terms, the figure, and what cannot be shown, each where it changed; and what is drawn now.

        Args:
            drawn: a hash of what each shows already, so that what is as it was keeps its zoom.
        """
        curves, glossary, notes = self._read(shown or [], request)
        choices = list(dict.fromkeys(term for course in curves.values() for term in course.terms))
        # No term was on offer yet, or those are chosen that were chosen unasked; afterwards none is a choice too.
        fresh = not (drawn and drawn["terms"]) or hash(str(terms)) == drawn["unasked"]
        chosen = [term for term in (USUAL_TERMS if fresh else terms or ()) if term in choices]
        chosen = chosen[:CHARTS] if fresh else chosen
        meanings = [(term, meaning(term, glossary, request)) for term in chosen]
        losses = plot(loss_figure(curves, chosen, logarithmic, reach, say("step", request)) if chosen else None)
        # What is chosen already is not set again: it may have changed meanwhile.
        offered = gr.update(choices=choices) if chosen == terms else gr.update(choices=choices, value=chosen)
        outputs = {self.terms: offered, self.losses: losses, self.notes: _meanings(meanings, request) + notice(notes)}
        shows = {"terms": choices, "losses": losses and losses.plot, "notes": [meanings, notes]}
        return changed(outputs, shows, drawn, self.drawn, unasked=hash(str(chosen)) if fresh else 0)

    def _read(self, shown: list[str], request: gr.Request) -> tuple[dict[str, Curves], dict[str, str], list[str]]:
        """By title, the curves of those that have any; what their terms are called; and why the others have none."""
        experiments, trainings = self.catalog.experiments(), in_progress(self.catalog)
        titles = {key: title for title, key in self._choices(trainings, request)}
        curves: dict[str, Curves] = {}
        glossary: dict[str, str] = {}
        notes: list[str] = []
        for key in [name for name in titles if name in shown]:
            offers = experiments.get(key, [])
            for offer in offers:
                glossary |= offer.record.data.get("losses", {})
            try:
                course = read_run(trainings[key].folder) if key in trainings else _read(self.catalog, offers)
                curves[titles[key]] = with_measured(course, [offer.record for offer in offers])
            except CheckpointError as error:
                notes.append(f"{titles[key]}: {say(error.sentence, request)}")
        return curves, glossary, notes

    def _choices(self, trainings: dict[str, Training], request: gr.Request | None) -> list[tuple[str, str]]:
        """All experiments, and before them the trainings in progress, which may have no checkpoint yet."""
        listed = components.experiment_choices(self.catalog.experiments(), request)
        known = {key: title for title, key in listed}
        running = [
            (known.get(key) or f"{training.name} · {say(training.source, request)}", key)
            for key, training in trainings.items()
        ]
        return [*running, *(choice for choice in listed if choice[1] not in trainings)]

    def _unasked(self, trainings: dict[str, Training]) -> list[str]:
        return [key for _, key in self._choices(trainings, None)][:UNASKED]


class Plane:
    """Every measured checkpoint as a point."""

    def __init__(self, catalog: Catalog):
        self.catalog = catalog
        gr.HTML(label("plane_about"))
        with gr.HTML(html_template="@children", js_on_load=LISTEN) as self.clicks:
            self.plane = gr.Plot(show_label=False, elem_id="plane")
        self.notes = gr.HTML(elem_id="plane-notes")

    def wire(self, tabs: Sequence[gr.Tab], known: gr.Textbox) -> None:
        """Says what follows from what. `known` changes when the catalog does."""
        drawn = self.drawn = gr.State(None)
        events = [*(tab.select for tab in tabs), known.change]
        components.answer_in_turn(events, self.draw, drawn, [self.plane, self.notes, drawn])

    def draw(self, drawn: dict[str, int] | None, request: gr.Request) -> Outputs:
        """The figure, and how what it shows was measured, each where it changed; and what is drawn now."""
        experiments = {
            name: offers
            for name, offers in self.catalog.experiments().items()
            if any("style" in offer.record.metrics for offer in offers)
        }
        titles = [title for title, _ in components.experiment_choices(experiments, request)]
        named = dict(list(zip(titles, experiments.values(), strict=True))[:OVERLAID])
        records = [offer.record for offers in named.values() for offer in offers]
        words = {record.phase: components.phase(record, request) for record in records}
        words |= {key: say(f"plane_{key}", request) for key in PLANE_WORDS}
        figure = plane_figure(named, words)
        plane = plot(figure if figure["data"] else None)
        groups = scales(named)
        methods = [(", ".join(names), say(recorded(text), request)) for group in groups for text, names in group.items()]
        notes = [say("other_scales", request)] if len(groups) > 1 else []
        if plane is None:
            notes.append(say("not_measured", request))
        outputs = {self.plane: plane, self.notes: notice(notes) + _measured(methods, request)}
        return changed(outputs, {"plane": plane and plane.plot, "notes": [notes, methods]}, drawn, self.drawn)


def changed(
    outputs: Outputs, shows: Mapping[str, Any], drawn: dict[str, int] | None, state: gr.State, **more: int
) -> Outputs:
    """Those outputs, in the order of what they show, that show something else than what is drawn; and what is drawn now."""
    prints = {name: hash(str(value)) if value else 0 for name, value in shows.items()}
    old = drawn or {}
    return dict(compress(outputs.items(), [prints[name] != old.get(name) for name in prints])) | {state: prints | more}


def plot(figure: dict[str, Any] | None) -> PlotData | None:
    """A figure of Plotly's as Gradio shows it."""
    return PlotData(type="plotly", plot=json.dumps(figure)) if figure else None


def meaning(term: str, losses: Mapping[str, str], request: gr.Request | None) -> str:
    """What a term is and which way is better, in a sentence: ours, or what a record says of it; "" if nobody says."""
    key = f"about_{term.removeprefix(MEASURED)}" if term.startswith(MEASURED) else f"term_{term}"
    if key in WORDS:
        return say(key, request)
    return say(recorded(losses[term]), request) if term in losses else ""


def notice(notes: Sequence[str]) -> str:
    """HTML: what cannot be shown or compared."""
    items = "".join(f"<li>{html.escape(note)}</li>" for note in notes)
    return f"<div class='notice'><ul>{items}</ul></div>" if notes else ""


def _meanings(meanings: Sequence[tuple[str, str]], request: gr.Request | None) -> str:
    items = "".join(f"<dt>{html.escape(term)}</dt><dd>{html.escape(text)}</dd>" for term, text in meanings if text)
    return f"<details open><summary>{say('meanings', request)}</summary><dl>{items}</dl></details>" if items else ""


def _measured(methods: Sequence[tuple[str, str]], request: gr.Request | None) -> str:
    lines = [text if len(methods) == 1 else f"{names}: {text}" for names, text in methods]
    items = "".join(f"<p>{html.escape(line)}</p>" for line in lines)
    return f"<details><summary>{say('how_measured', request)}</summary>{items}</details>" if items else ""


def _read(catalog: Catalog, offers: Sequence[Offer]) -> Curves:
    """The curves of the newest checkpoint that is here. Raises CheckpointError if none is, or it is damaged."""
    here = [offer for offer in offers if not catalog.missing_bytes(offer)]
    if not here:
        raise CheckpointError("its curves and samples come with a checkpoint, and none is downloaded yet: draw with one")
    return read_curves(catalog.fetch(here[-1]))
