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
from animegan_app.ui import compare, components, experiments, keep, looks, picture, several, stylize, video
from animegan_app.ui.api import Programs
from animegan_app.ui.compare import Compare
from animegan_app.ui.components import Outputs
from animegan_app.ui.experiments import Experiments
from animegan_app.ui.i18n import label, language_of, say
from animegan_app.ui.keep import Keep, Visit
from animegan_app.ui.language import FOLLOW
from animegan_app.ui.link import WRITE, Link
from animegan_app.ui.serving import Blocks
from animegan_app.ui.serving import launch as launch
from animegan_app.ui.several import Several
from animegan_app.ui.sources import Sources, add, describe
from animegan_app.ui.stylize import TRAIN, Stylize
from animegan_app.ui.video import Video
from hub_export.record import CheckpointError
from hub_export.sentences import ExplainedError

CSS = """
footer .divider { @media (max-width: 640px) { display: none !important; } }
.gradio-container .fillable { max-width: 1280px !important; }
#title .prose { display: flex; flex-wrap: wrap; align-items: baseline; gap: 0 .9rem; }
#title h1 { font-size: 1.5rem; line-height: 1.2; margin: .2rem 0; letter-spacing: -.01em; }
#title p { color: var(--body-text-color-subdued); margin: 0; }
.examples .gallery { display: grid; grid-template-columns: repeat(6, 1fr); gap: .5rem; }
.examples .gallery span, .examples .gallery .container { display: block; width: 100%; height: auto; }
.examples .gallery .container { max-width: none; max-height: none; }
.examples img { width: 100%; height: auto; aspect-ratio: 1; max-width: none; object-fit: cover; }
#identity { color: var(--body-text-color-subdued); font-size: .92rem; overflow-wrap: anywhere; min-height: 1.5rem; }
#about h2 { font-size: 1.05rem; font-weight: 600; margin: 0 0 .6rem; }
#about summary { cursor: pointer; margin: .6rem 0 .4rem; }
#about dl { display: grid; grid-template-columns: max-content 1fr; gap: .35rem 1.2rem; margin: 0; }
#about dt { color: var(--body-text-color-subdued); }
#about dd { margin: 0; overflow-wrap: anywhere; }
#add-row { align-items: end; }
:is(#experiment, #checkpoint, #blind-first, #blind-second) input { text-overflow: ellipsis; }
.bare > .html-container { padding: 0; }
.bare > .html-container > div { gap: 0; }
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
  #title, #tabs { width: auto; margin-inline: -20px; }
  #title { padding: 0; }
  #title h1 { font-size: 1.25rem; }
  #title p { display: none; }
  #tabs [role="tablist"] { background: none; }
  #tabs [role="tab"] { flex: 1 0 auto; justify-content: center; height: 2.75rem; padding: 0 .15rem; font-size: .92rem; }
  #add-row { flex-direction: column; align-items: stretch; }
  #about dl { grid-template-columns: 1fr; }
  #about dd { margin-bottom: .4rem; }
}
"""

LOOK_SECONDS = 10
"""How often an open page asks whether there are new checkpoints on this machine."""


def build_demo(catalog: Catalog | None = None) -> Blocks:
    """The whole app. Reads records only: TensorFlow loads, and the Hub is asked, after the first page is up.

    Args:
        catalog: what to offer; None for `open_catalog()`.
    """
    rooms = picture, looks, stylize, keep, several, compare, video, experiments
    with Blocks(title="AnimeGAN laboratory", css=CSS + "".join(room.CSS for room in rooms)) as demo:
        Page(demo, catalog or open_catalog())
    demo.queue(max_size=components.QUEUE_SIZE, default_concurrency_limit=1)
    return demo


class Page:
    """The frame of the tabs: what the address asks for, what comes and goes, and what is added from the Hub.

    Args:
        demo: it is built inside of this.
        catalog: what to offer.
    """

    def __init__(self, demo: Blocks, catalog: Catalog):
        self.catalog, self.studio = catalog, Studio(catalog)
        title = gr.HTML(label("title"), js_on_load=FOLLOW, elem_id="title")
        self.language = gr.Textbox(language_of(None), visible="hidden")
        """Changes with the language of the page; `title` is told of that by the browser."""
        self.notice = _notice(catalog.default(), ("", ""), None)
        self.link = gr.State(("", ""))
        """What the address asks for and is not on offer: an experiment and a checkpoint."""
        self.known = gr.Textbox(visible="hidden", elem_id="known")  # a State tells of no change outside the queue
        with gr.Tabs(elem_id="tabs", overflow_behavior="wrap") as tabs:
            with gr.Tab(label("stylize"), id="stylize", elem_id="stylize"):
                self.stylize = Stylize(self.studio, self.known)
                with self.stylize.result:
                    keeping = Keep(self.studio)
                with self.stylize.keeping:
                    visit = Visit(self.studio)
                many = Several(self.studio)
            with gr.Tab(label("compare"), id="compare", elem_id="compare"):
                self.compare = Compare(self.studio, self.stylize, self.known)
                with self.compare.grid.buttons:
                    comparison = gr.Button(label("copy_comparison"), elem_id="compare-link")
            with gr.Tab(label("video"), id="video", elem_id="video") as tab:
                Video(self.studio, self.stylize, tab, self.known)
            with gr.Tab(label("experiments"), id="experiments", elem_id="experiments") as tab:
                Experiments(self.studio, self.stylize, tab, tabs, self.known)
            with gr.Tab(label("sources"), id="sources", elem_id="sources"):
                self.sources = Sources(self.studio)
        Programs(self.studio)
        for part in (keeping, visit, many):
            part.wire(self.stylize)
        keeping.copies_link(comparison)
        self.tabs = tabs
        drawn = [visit.drawn, self.stylize.shown]
        components.answer_in_turn([self.language.change], visit.strip_of, drawn, visit.strip)
        self._wire(demo, title)

    def _wire(self, demo: Blocks, title: gr.HTML) -> None:
        experiment, checkpoint = self.stylize.experiment, self.stylize.checkpoint
        page: list[Any] = [
            *(self.known, self.language, self.link, self.notice),
            *(experiment, checkpoint, self.sources.table),
        ]
        looked: list[Any] = [self.known, self.link, experiment]
        stylize = self.stylize
        linked: list[Any] = [
            *(experiment, checkpoint, stylize.longest_side, stylize.strength, stylize.photo_colours),
            self.compare.grid.chosen,
        ]
        changed = [*(each.change for each in linked[1:]), self.tabs.select]
        gr.on(changed, None, linked, None, js=WRITE, **components.QUICK)
        title.submit(self.look, looked, page, preprocess=False, **components.QUICK)
        outputs = [stylize.facts, stylize.identity]
        components.answer_in_turn([self.language.change], stylize.retell, [stylize.shown], outputs)
        loading = demo.load(self.opened, None, [*page, *linked[2:], self.tabs], **components.QUICK)
        loading.then(self.warm_up, None, None, **components.QUICK)
        if self.catalog.hub:
            asking = loading.then(self.ask_hub, None, None, **components.QUICK)
            asking.then(self.look, looked, page, preprocess=False, **components.QUICK)
        gr.on(  # whoever chooses no longer waits for what the address asked for
            [experiment.input, checkpoint.input, self.stylize.looks.row.select],
            lambda: {self.link: ("", ""), self.notice: gr.HTML(visible=False)},
            None,
            [self.link, self.notice],
            **components.QUICK,
        )
        gr.Timer(LOOK_SECONDS).tick(self.look, looked, page, preprocess=False, **components.QUICK)
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
        """The page as its address asks for it, see `Link`; of a checkpoint that is not on offer, the experiment's first."""
        link = Link.of(request.query_params)
        names = link.experiment, link.checkpoint
        offer = self._linked(names)
        near = offer or self._linked((link.experiment, "")) or self.catalog.default()
        offered = {offer.key for offers in self.catalog.experiments().values() for offer in offers}
        stylize, compared = self.stylize, [key for key in link.compared if key in offered]
        asked = {
            stylize.longest_side: link.side,
            stylize.strength: link.strength,
            stylize.photo_colours: link.colours,
            self.compare.grid.chosen: compared or None,
        }
        updates = self._showing(near, request, ("", "") if offer else names)
        updates |= {part: gr.update(value=value) for part, value in asked.items() if value is not None}
        return updates | ({self.tabs: gr.Tabs(selected=link.tab)} if link.tab else {})

    def look(self, known: str, link: tuple[str, str], experiment: str | None, request: gr.Request) -> Outputs:
        """What came or went since the page last looked; an experiment that is on offer stays chosen.

        While it is, nothing here is of that one alone: the answer may come after another has been chosen.
        """
        stamp = _stamp(self.catalog, request)
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
            self.language: language_of(request),
            self.link: link,
            self.notice: _notice(offers[0], link, request),
            self.stylize.experiment: gr.update(choices=components.experiment_choices(experiments, request)),
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
            raise components.error(error, request) from None
        experiments = self.catalog.experiments().items()
        checkpoints = next((offers for key, offers in experiments if f"{key}/".startswith(f"{HUB}/{name}/")), None)
        offer = self.catalog.first(checkpoints) if checkpoints else self.catalog.default()
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
            self.known: _stamp(self.catalog, request),
            self.language: language_of(request),
            self.link: link,
            self.notice: _notice(offer, link, request),
            **self.stylize.choose(offer, request),
            self.sources.table: describe(self.studio, request),
        }


def _stamp(catalog: Catalog, request: gr.Request) -> str:
    """Another text wherever a page that lists the catalog would be another page, be it in another language."""
    keys = [(offer.key, offer.record.sha256) for offers in catalog.experiments().values() for offer in offers]
    shown = language_of(request), keys, catalog.problems(), catalog.hub.sources if catalog.hub else []
    return hashlib.sha256(repr(shown).encode()).hexdigest()


def _notice(offer: Offer | None, link: tuple[str, str], request: gr.Request | None) -> gr.HTML:
    """Says that there is nothing to choose, or not what the address asks for."""
    text = ""
    if any(link):
        text = html.escape(say("not_on_offer", request, name=" ".join(link).strip()))
    elif offer is None:
        text = say("no_checkpoint", request, command=TRAIN)
    return gr.HTML(f"<p class='notice'>{text}</p>", visible=bool(text))
