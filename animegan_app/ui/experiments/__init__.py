"""The fourth tab: all experiments as cards and as a table, their loss curves, the style-content plane, and one by one.

Trainings in progress are told above all of it, and looked at again while they are on the screen.
"""

import html
from typing import Any

import gradio as gr

from animegan_app.studio import Studio
from animegan_app.trainings import Training, in_progress
from animegan_app.ui import components
from animegan_app.ui.components import Outputs
from animegan_app.ui.experiments.charts import Charts, Plane
from animegan_app.ui.experiments.overview import SHOW, STYLE, TEMPLATE, overview
from animegan_app.ui.experiments.single import OneExperiment
from animegan_app.ui.i18n import label, recorded, say
from animegan_app.ui.stylize import Stylize, duration
from hub_export.record import CheckpointError

LOOK_SECONDS = 10
"""How often trainings in progress are looked at while the tab is on the screen."""

CSS = f"""
#trainings p {{ margin: 0; padding: .5rem .9rem; border-left: 4px solid var(--color-accent); overflow-wrap: anywhere;
               background: var(--background-fill-secondary); }}
#trainings:not(:has(p)) {{ display: none; }}
#experiments .js-plotly-plot .main-svg g:not(.hovertext) > text {{ fill: var(--body-text-color) !important; }}
#experiments summary {{ cursor: pointer; min-height: 1.75rem; }}
#experiments dl {{ margin: .3rem 0; }}
#experiments dt {{ font-weight: 600; }}
#experiments dd {{ margin: 0 0 .4rem; }}
#losses {{ min-height: 300px; }}
#plane {{ min-height: 480px; }}
#plane .point {{ cursor: pointer; }}
#samples .grid-container {{ grid-template-columns: repeat(auto-fill, minmax(min(340px, 100%), 1fr));
                             row-gap: 2.2rem; padding-bottom: 2rem; }}
#samples .grid-wrap {{ height: auto; min-height: 0; max-height: 640px; }}
#samples .thumbnail-lg {{ aspect-ratio: auto; max-width: 640px; overflow: visible; }}
#samples .caption-label {{ inset: calc(100% + .2rem) auto auto 0; max-width: 100%; border: 0;
                          box-shadow: none; background: none; }}
#card {{ overflow: auto; overflow-wrap: anywhere; max-height: 720px; }}
#card table {{ display: block; overflow-x: auto; overflow-wrap: normal; }}
#card pre {{ overflow-x: auto; padding: .6rem .9rem; background: var(--background-fill-secondary); }}
{STYLE}"""

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
        self.trainings = gr.HTML(elem_id="trainings")
        with gr.Tabs(elem_id="experiments-tabs", overflow_behavior="wrap") as self.rooms:
            with gr.Tab(label("overview"), id="overview"):
                self.overview = gr.HTML(
                    html_template=TEMPLATE, js_on_load=components.CSV + SHOW, apply_default_css=False, elem_id="overview"
                )
            with gr.Tab(label("curves"), id="curves") as curves:
                self.charts = Charts(self.catalog)
            with gr.Tab(label("plane"), id="plane") as plane:
                self.plane = Plane(self.catalog)
            with gr.Tab(label("samples_tab"), id="one") as one:
                self.one = OneExperiment(self.catalog)
        self.timer = gr.Timer(LOOK_SECONDS, active=False)
        chosen: list[Any] = [self.charts.shown, self.charts.seen, self.one.experiment]
        renewed = [self.trainings, self.overview, *chosen]
        tab.select(lambda: {self.timer: gr.Timer(active=True)}, None, self.timer, **components.QUICK)
        components.answer_in_turn([tab.select, known.change], self.renew, chosen, renewed)
        self.charts.wire([tab, curves], self.timer)
        self.plane.wire([tab, plane], known)
        self.one.wire([tab, one], known)
        inputs = [self.timer, self.charts.seen, self.charts.shown]
        looked = [self.timer, self.trainings, self.charts.seen, self.charts.shown]
        self.timer.tick(self.look, inputs, looked, js=ON_SCREEN, preprocess=False, **components.QUICK)
        target: list[Any] = [tabs, stylize.experiment, stylize.checkpoint]
        self.one.draw.click(self.use, self.one.checkpoint, target, preprocess=False, **components.QUICK)
        self.plane.clicks.click(self.use_clicked, None, target, **components.EACH)
        opened: list[Any] = [self.rooms, self.one.experiment, self.one.checkpoint]
        self.overview.click(self.open_or_use, None, [*target, *opened], **components.EACH)

    def renew(
        self,
        shown: list[str] | None,
        seen: list[str],
        experiment: str | None,
        request: gr.Request,
    ) -> Outputs:
        """The overview and all choices, for what is on offer now."""
        trainings = in_progress(self.catalog)
        return {
            self.trainings: progress(trainings, request),
            self.overview: overview(self.catalog, request),
            **self.charts.renew(trainings, shown, seen, request),
            **self.one.renew(self.catalog.experiments(), experiment, request),
        }

    def look(self, seconds: float, seen: list[str], shown: list[str] | None, request: gr.Request) -> Outputs:
        """How far the trainings are, while the tab is on the screen (`seconds` is 0 where not)."""
        if not seconds:
            return {self.timer: gr.Timer(active=False)}
        trainings = in_progress(self.catalog)
        return {self.trainings: progress(trainings, request), **self.charts.renew(trainings, shown, seen, request)}

    def use(self, key: str | None, request: gr.Request) -> Outputs:
        """The first tab, with this checkpoint chosen."""
        try:
            offer = self.catalog.find(key or "")
        except CheckpointError as error:
            raise components.error(error, request) from None
        return {self.tabs: gr.Tabs(selected="stylize"), **self.stylize.choose(offer, request)}

    def use_clicked(self, event: gr.EventData, request: gr.Request) -> Outputs:
        """`use` of the point that was clicked."""
        return self.use(str(event.key), request)

    def open_or_use(self, event: gr.EventData, request: gr.Request) -> Outputs:
        """`use` of a card, or its checkpoint shown here: its samples and its model card."""
        if event.what == "draw":
            return self.use(str(event.key), request)
        try:
            offer = self.catalog.find(str(event.key))
        except CheckpointError as error:
            raise components.error(error, request) from None
        return {self.rooms: gr.Tabs(selected="one"), **self.one.show(offer, request)}


def progress(trainings: dict[str, Training], request: gr.Request | None) -> str:
    """HTML: how far each training is."""
    lines = []
    for training in trainings.values():
        line = say("running", request)
        if training.step:
            known = "running_step" if training.steps else "running_open"
            line = say(known, request, step=training.step, steps=training.steps)
        if training.seconds is not None:
            line = say("time_left", request, line=line, time=duration(training.seconds, request))
        question = say(recorded(training.question), request)
        lines.append(f"<p><b>{html.escape(training.name)}</b> {html.escape(line)}<br>{html.escape(question)}</p>")
    return "".join(lines)
