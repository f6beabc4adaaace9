"""The same photo at every checkpoint of an experiment, with a slider that moves through the training."""

from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import gradio as gr
from gradio.route_utils import API_PREFIX

from animegan_app import sheet
from animegan_app.catalog import Offer, gone
from animegan_app.studio import Studio
from animegan_app.ui import parts
from animegan_app.ui.compare.drawing import MAX_CHOSEN, Picture, draw_all
from animegan_app.ui.parts import Outputs
from animegan_app.ui.words import label, say

COURSE = """
{{#if value}}<figure class="course">
    <input type="range" min="0" max="${value?.pictures.length - 1}" value="${value?.pictures.length - 1}" step="1"
        aria-label="{{value.name}}">
    <figcaption></figcaption>
    {{#each value.pictures}}<img src="{{address}}" alt="{{caption}}" hidden>{{/each}}
</figure>{{/if}}
"""
"""All pictures of a course in one place and a slider that says which one shows."""

SCRUB = """
const show = () => {
    const range = element.querySelector("input");
    if (!range) return;
    const images = element.querySelectorAll("img");
    images.forEach((image, index) => { image.hidden = index !== Number(range.value); });
    const caption = images[range.value]?.alt ?? "";
    element.querySelector("figcaption").textContent = caption;
    range.setAttribute("aria-valuetext", caption);
};
element.addEventListener("input", show);
watch("value", show);
"""
"""Moves through pictures that are already on the page."""


class Course:
    """Takes the photo and its size from elsewhere."""

    def __init__(self, studio: Studio):
        self.studio, self.catalog = studio, studio.catalog
        experiments = self.catalog.experiments()
        gr.HTML(label("course_title"))
        with gr.Row():
            self.experiment = gr.Dropdown(
                parts.experiment_choices(experiments, None),
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

    def wire(self, photo: gr.Image, longest_side: gr.Radio) -> None:
        """Says what follows from what."""
        self.drawn = gr.State([])
        drawing = self.start.click(
            self.draw,
            [photo, self.experiment, longest_side],
            [self.drawn, self.scrubber, self.get_course, self.status],
            show_progress_on=self.status,
            **parts.SLOW,
        )
        stopping = self.stop.click(None, None, None, cancels=drawing, **parts.QUICK)
        for ended in (drawing, stopping):
            ended.then(self.make_course, self.drawn, self.get_course, show_progress="hidden", api_visibility="private")

    def renew(self, experiments: dict[str, list[Offer]], experiment: str | None, request: gr.Request) -> Outputs:
        """The choice, for what is on offer now."""
        choices = parts.experiment_choices(experiments, request)
        return {self.experiment: parts.renewed(choices, experiment, _first(experiments))}

    async def draw(
        self,
        photo: dict[str, Any] | None,
        experiment: str | None,
        longest_side: int,
        request: gr.Request,
        progress: gr.Progress = gr.Progress(),  # noqa: B008  Gradio finds it by this default
    ) -> AsyncIterator[Outputs]:
        """The pictures, each time that there is one more, and how it goes."""
        offers = self.catalog.experiments().get(experiment or "", [])
        if not offers:
            raise parts.error(gone(experiment), request)
        offers = sheet.evenly(offers, MAX_CHOSEN)
        async for series in draw_all(self.studio, photo, offers, longest_side, _moment, request, progress):
            yield {
                self.drawn: series.pictures,
                self.scrubber: _shown(series.pictures, request),
                self.get_course: gr.DownloadButton(value=None, interactive=False),
                self.status: series.told(request),
            }

    def make_course(self, pictures: list[Picture]) -> Any:
        """The course of what was drawn as an animated picture, for download."""
        if not pictures:
            return gr.skip()
        content = sheet.course([picture.labelled for picture in pictures])
        file = parts.keep(content, f"{Path(pictures[-1].path).stem}-course.webp")
        return gr.DownloadButton(value=file, interactive=True)


def _first(experiments: dict[str, list[Offer]]) -> str | None:
    """The first experiment that has a course: more than one checkpoint."""
    courses = [name for name, offers in experiments.items() if len(offers) > 1]
    return next(iter(courses or experiments), None)


def _moment(offer: Offer, request: gr.Request | None) -> str:
    record = offer.record
    return f"{record.checkpoint} · {parts.phase(record, request)} · {say('step', request)} {record.step:,}"


def _shown(pictures: Sequence[Picture], request: gr.Request | None) -> dict[str, Any]:
    """What `COURSE` shows; Gradio sends of it only what is new."""
    addresses = [f"{API_PREFIX.strip('/')}/file={quote(picture.path)}" for picture in pictures]
    shown = [{"address": address, "caption": each.caption} for address, each in zip(addresses, pictures, strict=True)]
    return {"name": say("scrub", request), "pictures": shown}
