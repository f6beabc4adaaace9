"""The page: a tab for each thing to do with a photo and checkpoints. Only this package imports Gradio.

Nothing that a person uploads leaves the machine or stays on it: no analytics, no run history, temporary files removed.
"""

import asyncio
import hashlib
import html
import os
from typing import Any

from animegan_app import address as address
from animegan_app import uploads

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # read when gradio is imported
os.environ["GRADIO_RUN_HISTORY"] = "False"  # read at launch, also where a Space launches
os.environ[uploads.SETTING] = str(uploads.FOLDER)

import gradio as gr

from animegan_app.catalog import HUB, Catalog, Offer, open_catalog
from animegan_app.studio import Studio
from animegan_app.ui import compare, experiments, parts
from animegan_app.ui.compare import Compare
from animegan_app.ui.experiments import Experiments
from animegan_app.ui.parts import Outputs
from animegan_app.ui.programs import Programs
from animegan_app.ui.serving import Blocks
from animegan_app.ui.serving import launch as launch
from animegan_app.ui.sources import Sources, add, describe
from animegan_app.ui.stylize import TRAIN, Stylize
from animegan_app.ui.words import label, say
from hub_export.record import CheckpointError
from hub_export.sentences import ExplainedError

CSS = """
.gradio-container { max-width: 1180px !important; width: 100%; margin: 0 auto !important; }
#title h1 { font-size: 1.9rem; line-height: 1.2; margin: .2rem 0; letter-spacing: -.01em; }
#title p, #facts { color: var(--body-text-color-subdued); margin: 0; }
#result { align-items: center; }
#format { flex-wrap: nowrap; }
#facts { font-size: .92rem; overflow-wrap: anywhere; }
.picture-slider > .html-container { padding: 0; }
.picture-slider > .html-container > div { gap: 0; }
#slider, #slider .empty { min-height: min(400px, 60vw); }
#cancel, #stylise:has(#slider [data-testid="status-tracker"]:not(.hide)) #again { display: none; }
#stylise:has(#slider [data-testid="status-tracker"]:not(.hide)) #cancel { display: block; }
.examples .gallery { display: grid; grid-template-columns: repeat(5, 1fr); gap: .5rem; }
.examples .gallery span, .examples .gallery .container { display: block; width: 100%; height: auto; max-height: none; }
.examples img { width: 100%; height: auto; aspect-ratio: 1; max-width: none; object-fit: cover; }
#about h2 { font-size: 1.05rem; font-weight: 600; margin: 0 0 .6rem; }
#about summary { cursor: pointer; margin: .6rem 0 .4rem; }
#about dl { display: grid; grid-template-columns: max-content 1fr; gap: .35rem 1.2rem; margin: 0; }
#about dt { color: var(--body-text-color-subdued); }
#about dd { margin: 0; overflow-wrap: anywhere; }
#add-row { align-items: end; }
#experiment input, #checkpoint input { text-overflow: ellipsis; }
.dark { --color-accent: var(--primary-500); }
.table { overflow-x: auto; word-break: keep-all; }
.table table, .table tr, .table th, .table td { border: 0 !important; border-collapse: collapse; }
.table th, .table td { text-align: left; vertical-align: top; padding: .25rem 1.2rem .25rem 0 !important; }
.table tr { border-bottom: 1px solid var(--border-color-primary) !important; }
.table th { color: var(--body-text-color-subdued); font-weight: 400; }
.notice { border-left: 4px solid var(--color-accent); padding: .6rem .9rem; background: var(--background-fill-secondary);
          overflow-wrap: anywhere; }
.notice ul { list-style: disc; margin: .3rem 0 0; padding-left: 1.2rem; }
button:focus-visible, summary:focus-visible, input:focus-visible, .outer:focus-visible, label:has(input:focus-visible) {
  outline: 2px solid var(--color-accent) !important; outline-offset: 2px; }
@media (max-width: 640px) {
  #title h1 { font-size: 1.5rem; }
  #tabs [role="tablist"] { background: none; }
  #tabs [role="tab"] { flex: 1 0 auto; justify-content: center; height: 2.75rem; padding: 0 .4rem; }
  #result, #add-row { flex-direction: column; align-items: stretch; }
  #download { width: 100% !important; }
  #about dl { grid-template-columns: 1fr; }
  #about dd { margin-bottom: .4rem; }
}
"""

LOOK_SECONDS = 10
"""How often an open page asks whether there are new checkpoints on this machine."""

TITLE = """document.title = element.querySelector("h1").textContent;"""
"""The browser's tab in the person's language."""


def build_demo(catalog: Catalog | None = None) -> Blocks:
    """The whole app. Reads records only: TensorFlow loads, and the Hub is asked, after the first page is up.

    Args:
        catalog: what to offer; None for `open_catalog()`.
    """
    with Blocks(title="AnimeGAN laboratory", css=CSS + compare.CSS + experiments.CSS) as demo:
        Page(demo, catalog or open_catalog())
    demo.queue(max_size=parts.QUEUE_SIZE, default_concurrency_limit=1)
    return demo


class Page:
    """The frame of the tabs: what the address asks for, what comes and goes, and what is added from the Hub.

    Args:
        demo: it is built inside of this.
        catalog: what to offer.
    """

    def __init__(self, demo: Blocks, catalog: Catalog):
        self.catalog, self.studio = catalog, Studio(catalog)
        gr.HTML(label("title"), js_on_load=TITLE, elem_id="title")
        self.notice = _notice(catalog.default(), ("", ""), None)
        self.link = gr.State(("", ""))
        """What the address asks for and is not on offer: an experiment and a checkpoint."""
        self.known = gr.Textbox(visible="hidden", elem_id="known")  # a State tells of no change outside the queue
        with gr.Tabs(elem_id="tabs", overflow_behavior="wrap") as tabs:
            with gr.Tab(label("stylise"), id="stylise", elem_id="stylise"):
                self.stylize = Stylize(self.studio, self.known)
            with gr.Tab(label("compare"), id="compare", elem_id="compare"):
                Compare(self.studio, self.stylize, self.known)
            with gr.Tab(label("experiments"), id="experiments", elem_id="experiments") as tab:
                Experiments(self.studio, self.stylize, tab, tabs, self.known)
            with gr.Tab(label("sources"), id="sources", elem_id="sources"):
                self.sources = Sources(self.studio)
        Programs(self.studio)
        self._wire(demo)

    def _wire(self, demo: Blocks) -> None:
        experiment, checkpoint = self.stylize.experiment, self.stylize.checkpoint
        page: list[Any] = [self.known, self.link, self.notice, experiment, checkpoint, self.sources.table]
        looked: list[Any] = [self.known, self.link, experiment]
        loading = demo.load(self.opened, None, page, **parts.QUICK)
        loading.then(self.warm_up, None, None, **parts.QUICK)
        if self.catalog.hub:
            asking = loading.then(self.ask_hub, None, None, **parts.QUICK)
            asking.then(self.look, looked, page, preprocess=False, **parts.QUICK)
        gr.on(  # whoever chooses no longer waits for what the address asked for
            [experiment.input, checkpoint.input],
            lambda: {self.link: ("", ""), self.notice: gr.HTML(visible=False)},
            None,
            [self.link, self.notice],
            **parts.QUICK,
        )
        gr.Timer(LOOK_SECONDS).tick(self.look, looked, page, preprocess=False, **parts.QUICK)
        gr.on(
            [self.sources.add.click, self.sources.name.submit],
            self.add_source,
            self.sources.name,
            [self.sources.name, *page],
            preprocess=False,
            show_progress_on=self.sources.name,
            trigger_mode="once",
            api_visibility="private",
        )

    def opened(self, request: gr.Request) -> Outputs:
        """The page as its address asks for it, "?experiment=bundled/cel&checkpoint=epoch-015"."""
        link = request.query_params.get("experiment", ""), request.query_params.get("checkpoint", "")
        offer = self._linked(link)
        return self._showing(offer, request) if offer else self._showing(self.catalog.default(), request, link)

    def look(self, known: str, link: tuple[str, str], experiment: str | None, request: gr.Request) -> Outputs:
        """What came or went since the page last looked; an experiment that is on offer stays chosen.

        While it is, nothing here is of that one alone: the answer may come after another has been chosen.
        """
        stamp = _stamp(self.catalog)
        if stamp == known:
            return gr.skip()
        offer = self._linked(link)
        if offer:
            return self._showing(offer, request)  # what the address asked for has come
        experiments = self.catalog.experiments()
        offers = experiments.get(experiment or "", [])
        if not offers:
            return self._showing(self.catalog.default(), request, link)
        return {
            self.known: stamp,
            self.link: link,
            self.notice: _notice(offers[0], link, request),
            self.stylize.experiment: gr.update(choices=parts.experiment_choices(experiments, request)),
            self.sources.table: describe(self.studio, request),
        }

    def warm_up(self) -> None:
        """Lets TensorFlow start to load behind the page, unless all there is has to be downloaded first."""
        offer = self.catalog.default()
        try:
            if offer and not self.catalog.missing_bytes(offer):
                self.studio.stylizer.warm_up(self.catalog.fetch(offer))
        except CheckpointError:
            return  # who chooses this checkpoint is told

    async def ask_hub(self) -> None:
        """Waits, without holding a thread, until the Hub was asked or the time for it is over."""
        if self.catalog.hub and self.catalog.hub.sources:
            asking = self.catalog.hub.refresh_in_background()
            while asking.is_alive():
                await asyncio.sleep(0.1)

    def add_source(self, text: str | None, request: gr.Request) -> Outputs:
        """Adds a namespace or repo of the Hub, if it has a checkpoint, and chooses its first experiment."""
        try:
            name = add(self.catalog.hub, text or "")
        except ExplainedError as error:
            raise parts.error(error, request) from None
        experiments = self.catalog.experiments().items()
        found = next((offers for key, offers in experiments if f"{key}/".startswith(f"{HUB}/{name}/")), None)
        offer = self.catalog.first(found) if found else self.catalog.default()
        return {self.sources.name: "", **self._showing(offer, request)}

    def _linked(self, link: tuple[str, str]) -> Offer | None:
        """The offer that an experiment and a checkpoint name; without a checkpoint, the experiment's first."""
        offers = self.catalog.experiments().get(link[0], [])
        if offers and not link[1]:
            return self.catalog.first(offers)
        return next((offer for offer in offers if offer.record.checkpoint == link[1]), None)

    def _showing(self, offer: Offer | None, request: gr.Request, link: tuple[str, str] = ("", "")) -> Outputs:
        """The page with everything that is on offer now, and `offer` chosen; `link` is what is not on offer."""
        return {
            self.known: _stamp(self.catalog),
            self.link: link,
            self.notice: _notice(offer, link, request),
            **self.stylize.choose(offer, request),
            self.sources.table: describe(self.studio, request),
        }


def _stamp(catalog: Catalog) -> str:
    """Another text wherever a page that lists the catalog would be another page."""
    keys = [(offer.key, offer.record.sha256) for offers in catalog.experiments().values() for offer in offers]
    shown = keys, catalog.problems(), catalog.hub.sources if catalog.hub else []
    return hashlib.sha256(repr(shown).encode()).hexdigest()


def _notice(offer: Offer | None, link: tuple[str, str], request: gr.Request | None) -> gr.HTML:
    """Says that there is nothing to choose, or not what the address asks for."""
    text = ""
    if any(link):
        text = html.escape(say("not_on_offer", request, name=" ".join(link).strip()))
    elif offer is None:
        text = say("no_checkpoint", request, command=TRAIN)
    return gr.HTML(f"<p class='notice'>{text}</p>", visible=bool(text))
