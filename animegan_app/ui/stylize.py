"""The first tab: a photo, a checkpoint, and a slider between photo and anime."""

import asyncio
import html
import json
from pathlib import Path
from typing import Any

import gradio as gr

from animegan_app import photos, uploads
from animegan_app.catalog import HUB, RECOMMENDED, SHIPPED, Catalog, Offer, gone
from animegan_app.photos import PhotoError
from animegan_app.studio import Drawing, Studio, megabytes
from animegan_app.stylize import DEFAULT_LONGEST_SIDE, LONGEST_SIDES, MOST_STRENGTH, blend
from animegan_app.ui import components, picture
from animegan_app.ui.components import Outputs
from animegan_app.ui.i18n import device, label, recorded, say
from animegan_app.ui.looks import DRAWN, WANTED, Looks, looks, name_of
from hub_export.record import WEIGHTS, CheckpointError, Record
from hub_export.sentences import Sentence

TRAIN = "python -m train.run cel --photos PHOTOS --anime FRAMES"
SAVE = """(file) => {
    const link = document.createElement("a");
    Object.assign(link, { href: file.url, download: file.orig_name ?? file.path.split("/").pop() });
    link.click();
}"""
"""Gives a file that was made to who asked for it."""

WANT = """(photo, checkpoint, side) => JSON.stringify([photo?.path ?? null, checkpoint, side])"""
"""What there is to draw, as a text: a photo and a choice that arrive together are one change of it, drawn once.

The choice is read from here alone: the dropdowns may say more already, which is then the next change.
"""
AGAIN = WANT.replace("side]", "side, Date.now()]")
"""The same as a change in any case."""
FIRST = f"{SHIPPED}/{RECOMMENDED}/", DEFAULT_LONGEST_SIDE, 100, 0
"""What drew `uploads.FIRST`: how the checkpoint's key begins, the longest side, the strength and the share of colours."""


CSS = """
#stage { display: grid; grid-template-columns: minmax(0, 1fr) 300px; gap: 1rem 1.25rem;
  grid-template-rows: auto auto auto 1fr;
  grid-template-areas: "sight choice" "sight examples" "sight keep" "looks keep"; }
#sight { grid-area: sight; position: relative; min-width: 0; }
#choice { grid-area: choice; min-width: 0; min-height: 105px; }
#photo-examples { grid-area: examples; min-width: 0; min-height: 190px; }
#looks { grid-area: looks; min-width: 0; }
#keep { grid-area: keep; min-width: 0; gap: .7rem; }
#cancel, #again { position: absolute; z-index: 30; left: 50%; bottom: 1rem; transform: translateX(-50%); width: auto;
  min-width: 9rem; min-height: 44px; box-shadow: 0 2px 10px rgb(0 0 0 / .35); }
#cancel, #stylize:has(#slider [data-testid="status-tracker"]:not(.hide)):not(:has(#slider .error)) #again { display: none; }
#stylize:has(#slider [data-testid="status-tracker"]:not(.hide)):not(:has(#slider .error)) #cancel { display: block; }
#slider [data-testid="status-tracker"]:has(.error) { display: none; } /* what was cancelled may end so; errors are said */
:is(#looks, #facts) > .html-container { padding: 0; }
:is(#slider .icon-button, #strength button, #colours button) { min-width: 28px; min-height: 28px; }
:is(#laboratory, #several) { padding-block: 0; }
:is(#laboratory, #several) > button { min-height: 48px; margin: 0; align-items: center; }
#facts { font-size: .92rem; overflow-wrap: anywhere; min-height: 3rem; color: var(--body-text-color-subdued); }
#facts p { margin: 0; }
#facts .problem { color: var(--body-text-color); border-left: 4px solid #dc2626; padding-left: .6rem; }
#facts:has([data-testid="status-tracker"]:not(.hide)) .prose { visibility: hidden; }
#result { flex-wrap: nowrap; align-items: center; gap: .5rem; }
#download { min-height: 48px; }
#format .wrap { flex-wrap: nowrap; gap: .3rem; }
#format label { padding: .55rem .6rem; }
#format input { position: absolute; opacity: 0; }
#format label span { margin: 0; }
#photo-examples .gallery { grid-template-columns: repeat(3, 1fr); gap: .4rem; }
#photo-examples img { aspect-ratio: 4 / 3; max-height: none; }
#photo-examples .gallery button { aspect-ratio: 4 / 3; overflow: hidden; position: relative; }
#photo-examples .gallery button::after { content: attr(data-name); position: absolute; inset: auto 0 0; padding-top: .9rem;
  font-size: .75rem; line-height: 1.6; color: #fff; background: linear-gradient(transparent, rgb(0 0 0 / .7)); }
@media (max-width: 1200px) {
  #looks label { flex-basis: 5.8rem; }
}
@media (max-width: 860px) {
  #choice, #photo-examples { min-height: 0; }
  #stage { grid-template-columns: minmax(0, 1fr); grid-template-rows: none; gap: .75rem;
    grid-template-areas: "sight" "choice" "looks" "keep" "examples"; }
  #sight { --frame: min(88vw, 56vh); }
  #photo-examples .gallery { grid-template-columns: repeat(6, 1fr); }
  #photo-examples img, #photo-examples .gallery button { aspect-ratio: 1; }
}
@media (max-width: 500px) {
  #photo-examples .gallery { grid-template-columns: repeat(3, 1fr); }
  #photo-examples img, #photo-examples .gallery button { aspect-ratio: 4 / 3; }
}
"""


class Stylize:
    """The tab. `photo`, `experiment` and `checkpoint` are there for other tabs to read and to set.

    Args:
        studio: what draws.
        known: changes when the catalog does.
    """

    def __init__(self, studio: Studio, known: gr.Textbox):
        self.studio, self.catalog = studio, studio.catalog
        self._turn, self._choosing = asyncio.Lock(), asyncio.Lock()
        with gr.Column(elem_id="stage"):  # a grid: what stands where is in CSS, and the phone's order is this one
            with gr.Column(elem_id="sight"):
                self._lay_out_picture()
            with gr.Column(elem_id="choice"):
                self.photo = picture.photo_bar()
            self.looks = Looks(studio)
            with gr.Column(elem_id="keep") as self.keeping:
                self._lay_out_keeping()
            picture.examples(self.photo)
        with gr.Accordion(label("laboratory"), open=False, elem_id="laboratory") as self.laboratory:
            self._lay_out_laboratory()
        self.wanted = gr.Textbox(visible="hidden", elem_id="wanted")
        self.shown = gr.State()
        """What the picture shows: `finish`'s photo, checkpoint, side, strength, colours; {} for the first sight, None
        before that and once Gradio has forgotten this page."""
        self._wire_drawing(known)
        self._wire_choice(known)

    def _lay_out_picture(self) -> None:
        self.slider = picture.picture_slider()
        self.cancel = gr.Button(label("cancel"), elem_id="cancel")
        self.again = gr.Button(label("again"), visible=False, elem_id="again")

    def _lay_out_keeping(self) -> None:
        self.facts = gr.HTML(label("first_sight"), elem_id="facts")
        with gr.Row(elem_id="result") as self.result:
            self.download = gr.Button(label("download"), variant="primary", interactive=False, elem_id="download")
            self.suffix = gr.Radio(
                [("PNG", "png"), ("JPEG", "jpg")],
                value="png",
                label=label("format"),
                show_label=False,
                container=False,
                scale=0,
                min_width=150,
                elem_id="format",
            )
        # Here comes what else keeps and shares the picture that is shown: `self.shown` says which it is.
        self.file = gr.DownloadButton(visible="hidden")  # holds what was made for the button above
        self.strength = gr.Slider(
            0, MOST_STRENGTH, 100, step=1, label=label("strength"), info=label("strength_info"), elem_id="strength"
        )

    def _lay_out_laboratory(self) -> None:
        with gr.Row():
            self.experiment, self.checkpoint = _choices(self.catalog, self.catalog.default(), None)
        with gr.Row():
            self.longest_side = gr.Radio(
                [(f"{side} px", side) for side in LONGEST_SIDES],
                value=DEFAULT_LONGEST_SIDE,
                label=label("strokes"),
                info=label("strokes_info"),
                min_width=260,
                elem_id="longest-side",
            )
            self.photo_colours = gr.Slider(
                0,
                100,
                0,
                step=1,
                label=label("photo_colours"),
                info=label("photo_colours_info"),
                min_width=260,
                elem_id="colours",
            )
        self.identity = gr.HTML(elem_id="identity")
        self.about = gr.HTML(elem_id="about")  # filled by `describe`, in the person's language

    def _wire_drawing(self, known: gr.Textbox) -> None:
        chosen: list[Any] = [self.photo, self.checkpoint, self.longest_side]
        said = [component.change for component in (*chosen, known)]  # an open page is first told what is known
        gr.on(said, None, chosen, self.wanted, js=WANT, **components.QUICK)
        self.again.click(None, chosen, self.wanted, js=AGAIN, **components.QUICK)
        results = [
            *(self.slider, self.shown, self.download, self.facts),
            *(self.identity, self.longest_side, self.again),
        ]
        drawn: Any = {
            "fn": self.show,
            "inputs": [self.wanted, *chosen, self.strength, self.photo_colours],
            "outputs": results,
            "preprocess": False,  # Pillow reads the file in `read_photo` alone, whose errors are sentences
            "trigger_mode": "always_last",
            "concurrency_limit": components.QUEUE_SIZE,
            "api_visibility": "private",
        }
        self.wanted.change(None, self.wanted, None, js=WANTED, **components.QUICK)
        drawing = self.wanted.change(**drawn, show_progress_on=self.slider)
        drawing.success(None, None, None, js=DRAWN, **components.QUICK)
        # What had to be downloaded is here now.
        drawing.success(self.describe, self.checkpoint, self.about, preprocess=False, **components.QUICK)
        drawing.failure(lambda: {self.again: gr.Button(visible=True)}, None, self.again, **components.QUICK)
        adjusting = gr.on([self.strength.change, self.photo_colours.change], **drawn, show_progress="hidden")
        finishing = self.download.click(
            self.finish, [self.shown, self.suffix], self.file, **components.SLOW, show_progress_on=self.facts
        )
        finishing.success(None, self.file, None, js=SAVE, **components.QUICK)
        self.cancel.click(
            lambda: {self.again: gr.Button(visible=True)},
            None,
            self.again,
            cancels=[drawing, adjusting],
            **components.QUICK,
        )

    def _wire_choice(self, known: gr.Textbox) -> None:
        chosen: list[Any] = [self.experiment, self.checkpoint]
        self.looks.row.select(self.choose_look, None, chosen, **components.EACH)
        components.answer_in_turn([self.experiment.input, known.change], self.list_checkpoints, chosen, self.checkpoint)
        components.answer_in_turn([known.change], self.renew_looks, None, [self.looks.row, self.longest_side])
        components.answer_in_turn([self.checkpoint.change, known.change], self.describe, self.checkpoint, self.about)
        components.answer_in_turn([self.checkpoint.change], self.reveal, self.checkpoint, self.laboratory)

    def choose(self, offer: Offer | None, request: gr.Request | None) -> Outputs:
        """Both dropdowns with everything on offer and `offer` chosen."""
        experiment, checkpoint = _choices(self.catalog, offer, request)
        return {self.experiment: experiment, self.checkpoint: checkpoint}

    async def choose_look(self, event: gr.EventData, request: gr.Request) -> Outputs:
        """The same for the look that was chosen in the row; who goes on to the next one is answered in that order."""
        try:
            async with self._choosing:
                offer = await asyncio.to_thread(self.catalog.find, event.key)
                return await asyncio.to_thread(self.choose, offer, request)
        except CheckpointError as error:
            raise components.error(error, request) from None

    def renew_looks(self, request: gr.Request) -> Outputs:
        """The row and the sizes, in the person's language."""
        sizes = [(say(f"side_{side}", request, side=side), side) for side in LONGEST_SIDES]
        return {self.looks.row: self.looks.state(request), self.longest_side: gr.Radio(choices=sizes)}

    def reveal(self, key: str | None) -> dict[str, Any]:
        """Opens the laboratory if what is chosen is none of the looks: it is to be seen where it was chosen."""
        seen = key is None or key in {offer.key for offer in looks(self.catalog)}
        return gr.skip() if seen else gr.update(open=True)

    def list_checkpoints(self, experiment: str | None, checkpoint: str | None, request: gr.Request) -> Any:
        """The experiment's, also when what is on offer has changed. One of them that is chosen stays.

        Gradio tells of a choice also where a list is just left.
        """
        if not experiment:
            return gr.skip()
        offers = self.catalog.experiments().get(experiment)
        if not offers:
            raise components.error(gone(experiment), request)
        return components.renewed(components.checkpoint_choices(offers, request), checkpoint, self.catalog.first(offers).key)

    def describe(self, key: str | None, request: gr.Request) -> str:
        """HTML: what the chosen checkpoint is."""
        try:
            return about_checkpoint(self.studio, self.catalog.find(key) if key else None, request)
        except CheckpointError as error:
            return components.alert(error, request)

    async def show(
        self,
        wanted: str,
        photo: dict[str, Any] | None,
        checkpoint: str | None,
        longest_side: int,
        strength: float | None,
        photo_colours: float | None,
        request: gr.Request,
        progress: gr.Progress = gr.Progress(),  # noqa: B008  Gradio finds it by this default
    ) -> Outputs:
        """The photo and its anime version, facts, and what the sizes cost. Before there is a photo, those of an example.

        What cannot be drawn is told in place of the facts, and what was shown stays. Nothing is answered while `wanted` does
        not say yet what is chosen: it will, and asks again.

        Args:
            wanted: see `WANT`.
            strength, photo_colours: None while a number is being typed.
        """
        chosen = [photo["path"] if photo else None, checkpoint, longest_side]
        if not wanted or json.loads(wanted)[:3] != chosen or strength is None or photo_colours is None:
            return gr.skip()
        settings = {"checkpoint": checkpoint, "side": longest_side, "strength": strength, "colours": photo_colours}

        def report(done: float, doing: Sentence) -> None:
            progress(done, desc=say(doing, request))

        try:
            if photo is None and self._is_first(settings):
                return self._first_sight(request)
            if not checkpoint:
                return self._problem("nothing_to_draw_with", request, command=TRAIN)
            path = uploads.take(photo) if photo else uploads.FIRST[0]  # not the path in the text
            drawing = await self.studio.draw(path, checkpoint, longest_side, report)
        except (PhotoError, CheckpointError) as problem:
            kept = {} if photo else self._first_sight(request)  # a photo that was taken away is shown no longer
            return {**kept, **self._problem(problem, request)}
        name = file_name(path.stem, drawing.record, strength, photo_colours)
        async with self._turn:  # whoever drags the strength is answered in order
            pictures = await asyncio.to_thread(_saved, drawing, strength / 100, photo_colours / 100, name)
        return {
            self.slider: pictures,
            self.shown: {"photo": str(path), **settings},
            self.download: gr.Button(interactive=True),
            self.facts: facts(drawing, request),
            self.identity: identity(drawing, request),
            self.longest_side: gr.Radio(choices=_costs(self.studio, drawing, request)),
            self.again: gr.Button(visible=False),
        }

    async def retell(self, shown: dict[str, Any] | None, request: gr.Request) -> Outputs:
        """The facts in another language."""
        if not shown:
            return {self.facts: say("first_sight", request), self.identity: ""}
        drawing = await self.studio.recall(Path(shown["photo"]), shown["checkpoint"], shown["side"])
        return {self.facts: facts(drawing, request), self.identity: identity(drawing, request)} if drawing else gr.skip()

    def _problem(self, problem: Exception | str, request: gr.Request, **values: object) -> Outputs:
        return {self.facts: components.alert(problem, request, **values), self.again: gr.Button(visible=True)}

    def _is_first(self, settings: dict[str, Any]) -> bool:
        """Whether the picture that ships is what these give, or what is given while nothing is here to draw with."""
        key, *rest = settings.values()
        start, *first = FIRST
        if not key or (str(key).startswith(start) and rest == first):
            return True
        return self.catalog.missing_bytes(self.catalog.find(key)) > 0

    def _first_sight(self, request: gr.Request) -> Outputs:
        return {
            self.slider: tuple(map(str, uploads.FIRST)),
            self.shown: {},
            self.download: gr.Button(interactive=False),
            self.facts: say("first_sight", request),
            self.identity: "",
            self.again: gr.Button(visible=False),
        }

    async def finish(
        self,
        shown: dict[str, Any] | None,
        suffix: str,
        request: gr.Request,
        progress: gr.Progress = gr.Progress(),  # noqa: B008  Gradio finds it by this default
    ) -> str:
        """What is shown as a file in the photo's own size."""

        def report(done: float, doing: Sentence) -> None:
            progress(done, desc=say(doing, request))

        if not shown:
            raise components.error(photos.gone(), request)
        strength, colours = shown["strength"], shown["colours"]
        try:
            path = uploads.take({"path": shown["photo"]})
            drawing = await self.studio.draw(path, shown["checkpoint"], shown["side"], report)
            picture = await self.studio.finish(drawing, path, strength / 100, colours / 100, report)
        except (PhotoError, CheckpointError) as problem:
            raise components.error(problem, request) from None
        name = file_name(path.stem, drawing.record, strength, colours)
        return await asyncio.to_thread(components.save, picture, f"{name}.{suffix}")


def _saved(drawing: Drawing, strength: float, colours: float, name: str) -> tuple[str, str]:
    """Files of the photo and of what is shown of its drawing."""
    anime = blend(drawing.photo, drawing.anime, strength, colours)
    return components.save(drawing.photo, "photo.png"), components.save(anime, f"{name}.png")


def _choices(catalog: Catalog, offer: Offer | None, request: gr.Request | None) -> tuple[gr.Dropdown, gr.Dropdown]:
    """Both dropdowns with everything on offer and `offer` chosen.

    Without a request the page is only being built: nothing can be chosen before it is what its address asks for, as that
    answer would undo the choice.
    """
    experiments = catalog.experiments()
    return (
        gr.Dropdown(
            components.experiment_choices(experiments, request),
            value=offer.experiment if offer else None,
            label=label("experiment"),
            interactive=request is not None,
            min_width=260,
            elem_id="experiment",
        ),
        gr.Dropdown(
            components.checkpoint_choices(experiments.get(offer.experiment, []) if offer else [], request),
            value=offer.key if offer else None,
            label=label("checkpoint"),
            interactive=request is not None,
            min_width=260,
            elem_id="checkpoint",
        ),
    )


def about_checkpoint(studio: Studio, offer: Offer | None, request: gr.Request | None) -> str:
    """HTML: what a checkpoint is, from its record alone; every value escaped, for a record may come from a stranger."""
    if offer is None:
        return ""
    record = offer.record
    data, compute = record.data, record.compute
    rows = {
        "question": say(recorded(record.question), request),
        "taken_at": say(
            "taken", request, epoch=record.epoch, phase=components.phase(record, request), step=f"{record.step:,}"
        ),
        "data": say(
            "pictures",
            request,
            photos=_count(data.get("photos"), request),
            anime=_count(data.get("anime"), request),
            source=recorded(str(data.get("source", ""))),
        ),
        "terms": say(recorded(str(data.get("terms", ""))), request),
        "compute": say(
            "spent",
            request,
            time=duration(compute.get("seconds"), request),
            device=device(str(compute["device"])) if compute.get("device") else say("unknown_device", request),
        ),
        "generator": say(
            "megabytes_of_weights",
            request,
            architecture=record.generator.get("architecture", ""),
            size=megabytes(record.files[WEIGHTS]["size"]),
        ),
    }
    if offer.source == HUB:
        try:
            rows["from"] = say("from_hub", request, name=offer.name, sha=studio.catalog.commit(offer))
            missing_bytes = studio.catalog.missing_bytes(offer)
            rows["to_download"] = say("first", request, size=megabytes(missing_bytes)) if missing_bytes else ""
        except CheckpointError as error:
            rows["from"] = say(error.sentence, request)
    items = "".join(f"<dt>{say(key, request)}</dt><dd>{html.escape(text)}</dd>" for key, text in rows.items() if text)
    title = f"<h2>{html.escape(offer.name)} {html.escape(record.checkpoint)}</h2>"
    return f"{title}<dl>{items}</dl>{_differences(record, request)}"


def facts(drawing: Drawing, request: gr.Request | None) -> str:
    """HTML: which look, how long it took, and how large the download is."""
    name, seconds = name_of(drawing.offer, request), f"{drawing.seconds:.1f}"
    return html.escape(say("drawn_in", request, name=name, seconds=seconds, full=components.pixels_of(drawing.full)))


def identity(drawing: Drawing, request: gr.Request | None) -> str:
    """HTML: what was drawn at which size, by which weights and, from the Hub, of which commit."""
    words = [
        f"{drawing.offer.name} {drawing.record.checkpoint}",
        say("drawn_at", request, size=components.pixels_of(drawing.size)),
        say("weights", request, sha=drawing.record.sha256[:12]),
    ]
    if drawing.commit:
        words.append(say("commit", request, sha=drawing.commit[:12]))
    return html.escape(" · ".join(words))


def file_name(photo: str, record: Record, strength: float, photo_colours: float) -> str:
    """Tells photo, checkpoint and what was changed, e.g. "pagoda-cel-epoch-060-strength-80-colours-50"."""
    name = components.file_name(photo, record)
    if strength != 100:
        name += f"-strength-{strength:g}"
    return f"{name}-colours-{photo_colours:g}" if photo_colours else name


def _differences(record: Record, request: gr.Request | None) -> str:
    if not record.base:
        return ""
    title = html.escape(say("differs", request, base=record.base, count=len(record.changes)))
    head = say("setting", request), record.base, say("here", request)
    rows = [(key, *values) for key, values in record.changes.items()]
    return f"<details><summary>{title}</summary>{components.table(head, rows)}</details>"


def _costs(studio: Studio, drawing: Drawing, request: gr.Request | None) -> list[tuple[str, int]]:
    """The size limits with what a drawing of this photo will take with such a generator on this machine."""
    choices = []
    for side in LONGEST_SIDES:
        scale = min(1.0, side / max(drawing.original))
        width, height = (max(1, round(length * scale)) for length in drawing.original)
        seconds = studio.expected_seconds(drawing.record, width, height)
        words = say(f"side_{side}", request, side=side)
        choices.append((words if seconds is None else say("seconds", request, words=words, seconds=f"{seconds:.1f}"), side))
    return choices


def _count(value: Any, request: gr.Request | None) -> str:
    return f"{value:,}" if isinstance(value, int) else say("unknown", request)


def duration(seconds: Any, request: gr.Request | None) -> str:
    """A time in words, e.g. "1 h 12 min"."""
    if not isinstance(seconds, int | float):
        return say("unknown_time", request)
    minutes = max(1, round(seconds / 60))
    if minutes < 60:
        return say("minutes", request, minutes=minutes)
    return say("hours", request, hours=minutes // 60, minutes=minutes % 60)
