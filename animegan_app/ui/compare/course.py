"""The same photo at every checkpoint of an experiment, with a slider that moves through the training."""

from collections.abc import AsyncIterator
from typing import Any

import gradio as gr

from animegan_app import contact_sheet
from animegan_app.catalog import Offer, gone
from animegan_app.contact_sheet import Labelled
from animegan_app.studio import Studio
from animegan_app.ui import components
from animegan_app.ui.compare.drawing import MAX_CHOSEN, chosen_photos, draw_all, labelled
from animegan_app.ui.components import Outputs
from animegan_app.ui.i18n import label, say

COURSE = """
<figure class="course" hidden><input type="range" min="0" step="1"><figcaption></figcaption><div></div></figure>
"""
"""All pictures of a course in one place and a slider that says which one shows. What they are called may be a stranger's
words, and Gradio runs a template as a program: text comes from the script."""

SCRUB = """
const figure = element.querySelector(".course"), range = figure.querySelector("input");
const show = () => {
    const images = [...figure.querySelectorAll("img")];
    images.forEach((image, index) => { image.hidden = index !== Number(range.value); });
    const caption = images[range.value]?.alt ?? "";
    figure.querySelector("figcaption").textContent = caption;
    range.setAttribute("aria-valuetext", caption);
};
const lay = () => {
    const pictures = props.value?.pictures ?? [], paper = figure.querySelector("div");
    figure.hidden = !pictures.length;
    range.ariaLabel = props.value?.name ?? "";
    const here = new Map([...paper.children].map((image) => [image.getAttribute("src"), image]));
    paper.replaceChildren(...pictures.map(({ address, caption, size: [width, height] }) => (
        Object.assign(here.get(address) ?? document.createElement("img"), { src: address, alt: caption, width, height })
    )));
    range.max = pictures.length - 1;
    range.value = pictures.length - 1;
    show();
};
range.addEventListener("input", show);
watch("value", lay);
lay();
"""
"""Moves through pictures that are already on the page."""


class Course:
    """Takes the photo and its size from elsewhere."""

    def __init__(self, studio: Studio):
        self.studio, self.catalog = studio, studio.catalog
        experiments = self.catalog.experiments()
        gr.HTML(label("course_about"))
        with gr.Row():
            self.experiment = gr.Dropdown(
                components.experiment_choices(experiments, None),
                value=_first(experiments),
                label=label("experiment"),
                elem_id="course-experiment",
            )
            with gr.Column():
                self.start = gr.Button(label("draw_course"), variant="primary", elem_id="draw-course")
                self.stop = gr.Button(label("cancel"), elem_id="course-cancel", elem_classes="stop")
                self.get_course = gr.DownloadButton(label("get_course"), interactive=False, elem_id="get-course")
        self.status = gr.HTML(elem_id="course-status")
        self.scrubber = gr.HTML(html_template=COURSE, js_on_load=SCRUB, elem_id="course")

    def wire(self, photos: gr.File, longest_side: gr.Radio) -> None:
        """Says what follows from what."""
        self.drawn = gr.State([])
        drawing = self.start.click(
            self.draw,
            [photos, self.experiment, longest_side],
            [self.drawn, self.scrubber, self.get_course, self.status],
            show_progress_on=self.status,
            **components.SLOW,
        )
        self.stop.click(None, None, None, cancels=drawing, **components.QUICK)  # then what follows from its end follows too
        drawing.then(self.make_course, self.drawn, self.get_course, **components.AFTER)

    def renew(self, experiments: dict[str, list[Offer]], experiment: str | None, request: gr.Request) -> Outputs:
        """The choice, for what is on offer now."""
        choices = components.experiment_choices(experiments, request)
        return {self.experiment: components.renewed(choices, experiment, _first(experiments))}

    async def draw(
        self,
        photos: list[dict[str, Any]] | None,
        experiment: str | None,
        longest_side: int,
        request: gr.Request,
        progress: gr.Progress = gr.Progress(),  # noqa: B008  Gradio finds it by this default
    ) -> AsyncIterator[Outputs]:
        """The pictures of the first photo, each time that there is one more, and how it goes."""
        offers = self.catalog.experiments().get(experiment or "", [])
        if not offers:
            raise components.error(gone(experiment), request)
        offers = contact_sheet.evenly(offers, MAX_CHOSEN)
        kept: list[Labelled] = []
        shown: list[dict[str, Any]] = []
        problems: list[str] = []
        async for picture in draw_all(
            self.studio, chosen_photos(photos, request)[:1], offers, longest_side, request, progress
        ):
            offer = offers[picture.column - 1] if picture.column else None
            if picture.problem:
                problems.append(picture.problem)
            else:
                kept.append(labelled(picture, offer))
                caption = _moment(offer, request) if offer else say("photo", request)
                shown.append({"address": picture.address, "caption": caption, "size": picture.size})
            yield {
                self.drawn: list(kept),
                self.scrubber: {"name": say("scrub", request), "pictures": list(shown)},
                self.get_course: gr.DownloadButton(value=None, interactive=False),
                self.status: components.drawn_so_far(max(0, len(kept) - 1), len(offers), problems, request),
            }

    def make_course(self, pictures: list[Labelled]) -> Any:
        """The course of what was drawn as an animated picture, for download."""
        if not pictures:
            return gr.skip()
        file = components.keep(contact_sheet.course(pictures), f"{pictures[-1].path.stem}-course.webp")
        return gr.DownloadButton(value=file, interactive=True)


def _first(experiments: dict[str, list[Offer]]) -> str | None:
    """The first experiment that has a course: more than one checkpoint."""
    courses = [name for name, offers in experiments.items() if len(offers) > 1]
    return next(iter(courses or experiments), None)


def _moment(offer: Offer, request: gr.Request | None) -> str:
    record = offer.record
    return f"{record.checkpoint} · {components.phase(record, request)} · {say('step', request)} {record.step:,}"
