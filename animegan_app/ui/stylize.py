"""The first tab: a photo, a checkpoint, and a slider between photo and anime."""

import html
import json
from typing import Any

import gradio as gr

from animegan_app import uploads
from animegan_app.catalog import HUB, Catalog, Offer, gone
from animegan_app.photos import PhotoError
from animegan_app.studio import Drawing, Studio, megabytes
from animegan_app.stylize import DEFAULT_LONGEST_SIDE, LONGEST_SIDES, blend
from animegan_app.ui import parts
from animegan_app.ui.parts import Outputs
from animegan_app.ui.words import label, recorded, say
from hub_export.record import WEIGHTS, CheckpointError, Record
from hub_export.sentences import Sentence

TRAIN = "python -m train.run cel --photos PHOTOS --anime FRAMES"
MOST_STRENGTH = 150
"""Percent; the bundled checkpoint shown first stays clean up to it, by eye."""
SHARE = """(experiment, checkpoint) => {
    const address = new URL(window.location);
    if (checkpoint) {
        address.searchParams.set("experiment", experiment);
        address.searchParams.set("checkpoint", checkpoint.split("/").pop());
    }
    window.history.replaceState(window.history.state, "", address);
}"""
"""Puts the choice into the page's address."""

WANT = """(photo, checkpoint, side) => photo ? JSON.stringify([photo.path, checkpoint, side]) : \"\""""
"""What there is to draw, as a text: a photo and a choice that arrive together are one change of it, drawn once.

The choice is read from here alone: the dropdowns may say more already, which is then the next change.
"""
AGAIN = WANT.replace("side]", "side, Date.now()]")
"""The same as a change in any case."""


class Stylize:
    """The tab. `photo`, `experiment` and `checkpoint` are there for other tabs to read and to set.

    Args:
        studio: what draws.
        known: changes when the catalog does.
    """

    def __init__(self, studio: Studio, known: gr.Textbox):
        self.studio, self.catalog = studio, studio.catalog
        with gr.Row():
            with gr.Column(scale=2, min_width=300):
                self.photo = parts.photo_input("photo", 360)
            with gr.Column(scale=3, min_width=300):
                self._lay_out_result()
        self._lay_out_choice()
        self.about = gr.HTML(elem_id="about")  # filled by `describe`, in the person's language
        self.wanted = gr.Textbox(visible="hidden", elem_id="wanted")
        self.refused = gr.State([])
        """What of it could not be drawn, and was told: Gradio may ask twice for the last of fast changes."""
        self._wire_drawing()
        self._wire_choice(known)

    def _lay_out_result(self) -> None:
        self.slider = parts.picture_slider("slider", 440, "slider", shows_title=True)
        with gr.Row(elem_id="result"):
            self.facts = gr.HTML(elem_id="facts")
            self.cancel = gr.Button(label("cancel"), scale=0, min_width=120, elem_id="cancel")
            self.again = gr.Button(label("again"), scale=0, min_width=120, visible=False, elem_id="again")
            self.suffix = gr.Radio(
                [("PNG", "png"), ("JPEG", "jpg")],
                value="png",
                label=label("format"),
                show_label=False,
                container=False,
                scale=0,
                min_width=170,
                elem_id="format",
            )
            self.download = gr.DownloadButton(
                label("download"), variant="primary", interactive=False, scale=0, min_width=150, elem_id="download"
            )
        with gr.Row():
            self.strength = gr.Slider(
                0, MOST_STRENGTH, 100, step=1, label=label("strength"), info=label("strength_info"), elem_id="strength"
            )
            self.photo_colours = gr.Slider(
                0, 100, 0, step=1, label=label("photo_colours"), info=label("photo_colours_info"), elem_id="colours"
            )

    def _lay_out_choice(self) -> None:
        with gr.Row():
            self.experiment, self.checkpoint = _choices(self.catalog, self.catalog.default(), None)
            self.longest_side = gr.Radio(
                [(f"{side}", side) for side in LONGEST_SIDES],
                value=DEFAULT_LONGEST_SIDE,
                label=label("longest_side"),
                min_width=260,
                elem_id="longest-side",
            )

    def _wire_drawing(self) -> None:
        chosen: list[Any] = [self.photo, self.checkpoint, self.longest_side]
        gr.on([component.change for component in chosen], None, chosen, self.wanted, js=WANT, **parts.QUICK)
        self.again.click(None, chosen, self.wanted, js=AGAIN, **parts.QUICK)
        self.photo.clear(lambda: {self.again: gr.Button(visible=False)}, None, self.again, **parts.QUICK)
        results = [self.slider, self.download, self.facts, self.longest_side, self.again]
        drawn: Any = {
            "fn": self.show,
            "inputs": [self.wanted, self.refused, self.photo, self.strength, self.photo_colours, self.suffix],
            "outputs": results,
            "preprocess": False,  # Pillow reads the file in `read_photo` alone, whose errors are sentences
            "trigger_mode": "always_last",
            "concurrency_limit": parts.QUEUE_SIZE,
            "api_visibility": "private",
        }
        drawing = self.wanted.change(**drawn, show_progress_on=self.slider)
        # What had to be downloaded is here now.
        drawing.success(self.describe, self.checkpoint, self.about, preprocess=False, **parts.QUICK)
        drawing.failure(lambda: self.nothing(again=True), None, results, **parts.QUICK)
        adjusted = [self.strength.change, self.photo_colours.change, self.suffix.change]
        adjusting = gr.on(adjusted, **drawn, show_progress="hidden")
        self.cancel.click(
            lambda: {self.wanted: "", self.again: gr.Button(visible=True)},
            None,
            [self.wanted, self.again],
            cancels=[drawing, adjusting],
            **parts.QUICK,
        )

    def _wire_choice(self, known: gr.Textbox) -> None:
        chosen: list[Any] = [self.experiment, self.checkpoint]
        self.experiment.input(self.list_checkpoints, chosen, self.checkpoint, **parts.LAST)
        known.change(self.renew_checkpoints, chosen, self.checkpoint, **parts.LAST)
        gr.on([self.checkpoint.change, known.change], self.describe, self.checkpoint, self.about, **parts.LAST)
        self.checkpoint.change(None, chosen, None, js=SHARE, **parts.QUICK)

    def choose(self, offer: Offer | None, request: gr.Request | None) -> Outputs:
        """Both dropdowns with everything on offer and `offer` chosen."""
        experiment, checkpoint = _choices(self.catalog, offer, request)
        return {self.experiment: experiment, self.checkpoint: checkpoint}

    def list_checkpoints(self, experiment: str | None, checkpoint: str | None, request: gr.Request) -> Any:
        """The experiment's. One of them that is chosen stays: Gradio tells of a choice also where a list is just left."""
        if not experiment:
            return gr.skip()
        offers = self.catalog.experiments().get(experiment)
        if not offers:
            raise parts.error(gone(experiment), request)
        return parts.renewed(parts.checkpoint_choices(offers, request), checkpoint, self.catalog.first(offers).key)

    def renew_checkpoints(self, experiment: str | None, checkpoint: str | None, request: gr.Request) -> Any:
        """What is on offer has changed. While a new experiment's own list is under way, that is left to it: this answer
        may come when one of the list has been chosen already, and would undo that."""
        if experiment and checkpoint and not checkpoint.startswith(f"{experiment}/"):
            return gr.skip()
        return self.list_checkpoints(experiment, checkpoint, request)

    def describe(self, key: str | None, request: gr.Request) -> str:
        """HTML: what the chosen checkpoint is."""
        try:
            return about_checkpoint(self.studio, self.catalog.find(key) if key else None, request)
        except CheckpointError as error:
            raise parts.error(error, request) from None

    def nothing(self, again: bool) -> Outputs:
        """No result, and whether the same may be asked for again."""
        return {
            self.slider: None,
            self.download: gr.DownloadButton(value=None, interactive=False),
            self.facts: "",
            self.again: gr.Button(visible=again),
        }

    async def show(
        self,
        wanted: str,
        refused: list[str],
        photo: dict[str, Any] | None,
        strength: float,
        photo_colours: float,
        suffix: str,
        request: gr.Request,
        progress: gr.Progress = gr.Progress(),  # noqa: B008  Gradio finds it by this default
    ) -> Outputs:
        """The photo and its anime version, the same as a file, facts, and what the sizes cost.

        Args:
            wanted: see `WANT`.
            refused: what of it was told to be impossible.
        """
        if refused != [wanted]:
            refused.clear()
        if not wanted or photo is None:
            return self.nothing(again=photo is not None)
        _, checkpoint, longest_side, *_ = json.loads(wanted)
        if not checkpoint:
            raise parts.error("nothing_to_draw_with", request, command=TRAIN)

        def report(done: float, doing: Sentence) -> None:
            progress(done, desc=say(doing, request))

        try:
            path = uploads.take(photo)  # not the path in the text
            drawing = await self.studio.draw(path, checkpoint, longest_side, report)
        except (PhotoError, CheckpointError) as problem:
            error = parts.error(problem, request)
            error.visible = wanted not in refused
            refused[:] = [wanted]
            raise error from None
        anime = blend(drawing.photo, drawing.anime, strength / 100, photo_colours / 100)
        name = file_name(path.stem, drawing.record, strength, photo_colours)
        shown = parts.save(drawing.photo, "photo.png"), parts.save(anime, f"{name}.png")
        file = shown[1] if suffix == "png" else parts.save(anime, f"{name}.{suffix}")
        return {
            self.slider: shown,
            self.download: gr.DownloadButton(value=file, interactive=True),
            self.facts: facts(drawing, request),
            self.longest_side: gr.Radio(choices=_costs(self.studio, drawing, request)),
            self.again: gr.Button(visible=False),
        }


def _choices(catalog: Catalog, offer: Offer | None, request: gr.Request | None) -> tuple[gr.Dropdown, gr.Dropdown]:
    """Both dropdowns with everything on offer and `offer` chosen.

    Without a request the page is only being built: nothing can be chosen before it is what its address asks for, as that
    answer would undo the choice.
    """
    experiments = catalog.experiments()
    return (
        gr.Dropdown(
            parts.experiment_choices(experiments, request),
            value=offer.experiment if offer else None,
            label=label("experiment"),
            interactive=request is not None,
            min_width=260,
            elem_id="experiment",
        ),
        gr.Dropdown(
            parts.checkpoint_choices(experiments.get(offer.experiment, []) if offer else [], request),
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
        "taken_at": say("taken", request, epoch=record.epoch, phase=parts.phase(record, request), step=f"{record.step:,}"),
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
            device=compute.get("device") or say("unknown_device", request),
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
    """HTML: size, seconds, checkpoint, identity of the weights and, from the Hub, of the commit."""
    size = parts.pixels_of(drawing.size)
    reduced = say("reduced", request, size=size, original=parts.pixels_of(drawing.original))
    words = [
        say("size", request, size=size) if drawing.size == drawing.original else reduced,
        say("time", request, seconds=f"{drawing.seconds:.1f}"),
        f"{drawing.offer.name} {drawing.record.checkpoint}",
        say("weights", request, sha=drawing.record.sha256[:12]),
    ]
    if drawing.commit:
        words.append(say("commit", request, sha=drawing.commit[:12]))
    return html.escape(" · ".join(words))


def file_name(photo: str, record: Record, strength: float, photo_colours: float) -> str:
    """Tells photo, checkpoint and what was changed, e.g. "pagoda-cel-epoch-060-strength-80-colours-50"."""
    name = parts.file_name(photo, record)
    if strength != 100:
        name += f"-strength-{strength:g}"
    return f"{name}-colours-{photo_colours:g}" if photo_colours else name


def _differences(record: Record, request: gr.Request | None) -> str:
    if not record.base:
        return ""
    title = html.escape(say("differs", request, base=record.base, count=len(record.changes)))
    head = say("setting", request), record.base, say("here", request)
    rows = [(key, *values) for key, values in record.changes.items()]
    return f"<details><summary>{title}</summary>{parts.table(head, rows)}</details>"


def _costs(studio: Studio, drawing: Drawing, request: gr.Request | None) -> list[tuple[str, int]]:
    """The size limits with what a drawing of this photo will take with such a generator on this machine."""
    found = []
    for side in LONGEST_SIDES:
        scale = min(1.0, side / max(drawing.original))
        width, height = (max(1, round(length * scale)) for length in drawing.original)
        seconds = studio.expected_seconds(drawing.record, width, height)
        text = f"{side}" if seconds is None else say("seconds", request, side=side, seconds=f"{seconds:.1f}")
        found.append((text, side))
    return found


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
