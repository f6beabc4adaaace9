"""The second tab: one photo by many checkpoints, two of them under a slider, the course of an experiment, what differs."""

import asyncio
import html
import math
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import gradio as gr
from gradio.route_utils import API_PREFIX

from animegan_app import sheet, uploads
from animegan_app.catalog import Catalog, Offer, gone
from animegan_app.curves import differences
from animegan_app.photos import PhotoError
from animegan_app.sheet import Labelled
from animegan_app.studio import Studio
from animegan_app.stylize import LONGEST_SIDES
from animegan_app.ui import parts
from animegan_app.ui.stylise import Stylise
from animegan_app.ui.words import label, say
from hub_export.record import CheckpointError, Record
from hub_export.sentences import Sentence

HANDFUL = 6
"""How many checkpoints the grid shows unasked."""
MAX_CHOSEN = 100
MAX_DIFFERENCES = 200
LONGEST_SIDE = LONGEST_SIDES[0]
PHOTO = "photo"
"""Stands for the photo among keys of checkpoints."""

CSS = """
#compare h2 { font-size: 1.15rem; font-weight: 600; margin: 1.2rem 0 0; }
#grid .grid-wrap { max-height: 80vh; }
#grid .thumbnail-lg { aspect-ratio: auto; }
#grid .caption-label { white-space: normal; text-align: right; font-size: .72rem; padding: .1rem .35rem; }
#grid .grid-container { grid-template-columns: repeat(auto-fill, minmax(min(260px, 100%), 1fr)); }
#grid-status, #course-status { min-height: 3.4rem; }
#compare .stop { display: none; }
#compare:not(:has(#grid-status .error)):has(#grid-status [data-testid="status-tracker"]:not(.hide)) #grid-cancel,
#compare:not(:has(#course-status .error)):has(#course-status [data-testid="status-tracker"]:not(.hide)) #course-cancel {
  display: block;
}
.course { margin: 0; }
.course input { width: 100%; accent-color: var(--color-accent); margin: .6rem 0 0; }
.course img { width: 100%; max-height: 70vh; object-fit: contain; margin: 0; }
.course figcaption { text-align: center; margin: 0; }
@media (max-width: 640px) { #grid .grid-wrap { max-height: none; } }
"""

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


@dataclass(frozen=True)
class Picture:
    """What was drawn, as a file.

    Args:
        key: of its checkpoint, or `PHOTO`.
        lines: what it is, in ASCII for a picture's label.
        caption: the same in the person's language.
    """

    key: str
    path: str
    lines: tuple[str, ...]
    caption: str


def build(studio: Studio, stylise: Stylise, known: gr.Textbox) -> None:
    """Builds the tab.

    Args:
        stylise: whose photo is taken over.
        known: changes when the catalog does.
    """
    catalog = studio.catalog

    async def draw_all(
        photo: dict[str, Any] | None,
        offers: Sequence[Offer],
        longest_side: int,
        caption: Callable[[Offer, gr.Request | None], str],
        request: gr.Request,
        progress: gr.Progress,
    ) -> AsyncIterator[tuple[list[Picture], list[str]]]:
        """All pictures so far, the photo first, each time that there is one more, and sentences on those that failed."""
        if photo is None:
            raise parts.error("no_photo", request)
        try:
            path = uploads.take(photo)
        except PhotoError as error:
            raise parts.error(error, request) from None
        pictures: list[Picture] = []
        problems: list[str] = []
        for number, offer in enumerate(offers):

            def report(done: float, doing: Sentence, number: int = number) -> None:
                progress((number + done) / len(offers), desc=f"{number + 1}/{len(offers)} · {say(doing, request)}")

            try:
                drawing = await studio.draw(path, offer.key, longest_side, report)
            except CheckpointError as error:
                problems.append(say(error.sentence, request))
                yield pictures, problems
                continue
            except PhotoError as error:
                raise parts.error(error, request) from None
            if not pictures:
                file = await asyncio.to_thread(parts.save, drawing.photo, f"{path.stem}.png")
                pictures.append(Picture(PHOTO, file, ("photo",), say("photo", request)))
            name = parts.file_name(path.stem, drawing.record)
            file = await asyncio.to_thread(parts.save, drawing.anime, f"{name}.png")
            pictures.append(Picture(offer.key, file, _lines(offer), caption(offer, request)))
            yield pictures, problems

    async def fill_grid(
        photo: dict[str, Any] | None,
        keys: list[str],
        longest_side: int,
        left: str | None,
        right: str | None,
        request: gr.Request,
        progress: gr.Progress = gr.Progress(),  # noqa: B008  Gradio finds it by this default
    ) -> AsyncIterator[tuple[Any, ...]]:
        """The pictures, the grid, the sheet, the two choices of the slider, and a line on how it goes."""
        if photo and not keys:
            raise parts.error("no_choice", request)
        if len(keys) > MAX_CHOSEN:
            raise parts.error("too_many", request, most=MAX_CHOSEN)
        offers = _find(catalog, keys, request)
        async for pictures, problems in draw_all(photo, offers, longest_side, _name, request, progress):
            choices = [(picture.caption, picture.key) for picture in pictures]
            drawn = [picture.key for picture in pictures]
            yield (
                list(pictures),
                [(picture.path, picture.caption) for picture in pictures],
                gr.DownloadButton(value=None, interactive=False),
                gr.Dropdown(choices=choices, value=left if left in drawn else PHOTO if drawn else None),
                gr.Dropdown(choices=choices, value=right if right in drawn else drawn[1] if drawn else None),
                _told(say("drawn", request, count=max(0, len(drawn) - 1), all=len(offers)), problems),
            )

    def make_sheet(pictures: list[Picture]) -> Any:
        """The sheet of what was drawn, for download."""
        if not pictures:
            return gr.skip()
        content = sheet.sheet([Labelled(Path(picture.path), picture.lines) for picture in pictures])
        file = parts.keep(content, f"{Path(pictures[0].path).stem}-sheet.png")
        return gr.DownloadButton(value=file, interactive=True)

    def pair(pictures: list[Picture], left: str | None, right: str | None) -> Any:
        """Two of the pictures, for the slider."""
        paths = {picture.key: picture.path for picture in pictures}
        if left in paths and right in paths:
            return paths[left], paths[right]
        return None

    async def draw_course(
        photo: dict[str, Any] | None,
        experiment: str | None,
        longest_side: int,
        request: gr.Request,
        progress: gr.Progress = gr.Progress(),  # noqa: B008  Gradio finds it by this default
    ) -> AsyncIterator[tuple[Any, ...]]:
        """The pictures, the scrubber, the download, and a line on how it goes."""
        offers = catalog.experiments().get(experiment or "", [])
        if not offers:
            raise parts.error(gone(experiment), request)
        offers = sheet.evenly(offers, MAX_CHOSEN)
        async for pictures, problems in draw_all(photo, offers, longest_side, _moment, request, progress):
            told = _told(say("drawn", request, count=max(0, len(pictures) - 1), all=len(offers)), problems)
            yield list(pictures), _course(pictures, request), gr.DownloadButton(value=None, interactive=False), told

    def make_course(pictures: list[Picture]) -> Any:
        """The course of what was drawn as an animated picture, for download."""
        if not pictures:
            return gr.skip()
        content = sheet.course([Labelled(Path(picture.path), picture.lines) for picture in pictures])
        file = parts.keep(content, f"{Path(pictures[-1].path).stem}-course.webp")
        return gr.DownloadButton(value=file, interactive=True)

    def differ(first: str | None, second: str | None, request: gr.Request | None) -> str:
        """HTML: the settings in which two experiments differ."""
        experiments = catalog.experiments()
        if first not in experiments or second not in experiments:
            return ""
        one, other = experiments[first][-1], experiments[second][-1]
        rows = differences(one.record, other.record)
        if not rows:
            return f"<p>{say('nothing_differs', request)}</p>"
        names = (one.name, other.name) if one.name != other.name else (one.experiment, other.experiment)
        found = parts.table([say("setting", request), *names], rows[:MAX_DIFFERENCES])
        if len(rows) > MAX_DIFFERENCES:
            found += f"<p>{say('more', request, count=len(rows) - MAX_DIFFERENCES)}</p>"
        return found

    def listing(request: gr.Request | None) -> list[tuple[list[tuple[str, str]], Any]]:
        """Choices and first value of each dropdown, for what is on offer now."""
        experiments = catalog.experiments()
        every = [(_name(offer, request), offer.key) for offers in experiments.values() for offer in offers]
        names = parts.experiment_choices(experiments, request)
        first, second = (list(experiments)[place : place + 1] for place in (0, 1))
        return [
            (every, handful(catalog)),
            (names, _first_course(experiments)),
            (names, first[0] if first else None),
            (names, second[0] if second else None),
        ]

    def renew(
        keys: list[str] | None, experiment: str | None, first: str | None, second: str | None, request: gr.Request
    ) -> list[Any]:
        """The dropdowns, for what is on offer now; of several checkpoints, those that went are taken out."""
        listed = listing(request)
        offered = {key for _, key in listed[0][0]}
        listed[0] = listed[0][0], [key for key in keys or [] if key in offered] or listed[0][1]
        given = keys, experiment, first, second
        return [parts.renewed(choices, value, new) for value, (choices, new) in zip(given, listed, strict=True)]

    (every, kept), (names, course), (_, one), (_, other) = listing(None)
    with gr.Row():
        with gr.Column(scale=2, min_width=300):
            photo = parts.photo_input("compare-photo", 300)
        with gr.Column(scale=3, min_width=300):
            chosen = gr.Dropdown(
                every,
                value=kept,
                multiselect=True,
                label=label("chosen"),
                info=label("chosen_info"),
                elem_id="chosen",
            )
            longest_side = gr.Radio(
                [(f"{side}", side) for side in LONGEST_SIDES],
                value=LONGEST_SIDE,
                label=label("longest_side"),
                elem_id="compare-longest-side",
            )
            with gr.Row():
                fill = gr.Button(label("draw_grid"), variant="primary", elem_id="fill")
                stop_grid = gr.Button(label("cancel"), elem_id="grid-cancel", elem_classes="stop")
            grid_status = gr.HTML(elem_id="grid-status")
    grid = parts.gallery("grid", ["fullscreen", "download"])
    get_sheet = gr.DownloadButton(label("get_sheet"), interactive=False, elem_id="get-sheet")
    with gr.Row():
        left = gr.Dropdown([], label=label("left"), min_width=260, elem_id="left")
        right = gr.Dropdown([], label=label("right"), min_width=260, elem_id="right")
    slider = parts.picture_slider("pair", 560, "pair", shows_title=False)
    gr.HTML(label("course_title"))
    with gr.Row():
        experiment = gr.Dropdown(names, value=course, label=label("experiment"), elem_id="course-experiment")
        with gr.Column():
            draw = gr.Button(label("draw_course"), variant="primary", elem_id="draw-course")
            stop_course = gr.Button(label("cancel"), elem_id="course-cancel", elem_classes="stop")
            get_course = gr.DownloadButton(label("get_course"), interactive=False, elem_id="get-course")
    course_status = gr.HTML(elem_id="course-status")
    scrubber = gr.HTML(html_template=COURSE, js_on_load=SCRUB, elem_id="course")
    gr.HTML(label("differences_title"))
    with gr.Row():
        first = gr.Dropdown(names, value=one, label=label("one"), min_width=260, elem_id="first")
        second = gr.Dropdown(names, value=other, label=label("other"), min_width=260, elem_id="second")
    table = gr.HTML(differ(one, other, None), elem_id="differences")

    gridded, coursed = gr.State([]), gr.State([])
    quick: Any = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
    slow: Any = {"concurrency_limit": parts.QUEUE_SIZE, "trigger_mode": "once", "api_visibility": "private"}
    stylise.photo.change(lambda given: given and str(uploads.take(given)), stylise.photo, photo, preprocess=False, **quick)
    listed = [chosen, experiment, first, second]
    known.change(renew, listed, listed, preprocess=False, **quick)

    filling = fill.click(
        fill_grid,
        [photo, chosen, longest_side, left, right],
        [gridded, grid, get_sheet, left, right, grid_status],
        preprocess=False,
        show_progress_on=grid_status,
        **slow,
    )
    stopping = stop_grid.click(None, None, None, cancels=filling, **quick)
    for ended in (filling, stopping):
        ended.then(make_sheet, gridded, get_sheet, show_progress="hidden", api_visibility="private")
    gr.on([gridded.change, left.change, right.change], pair, [gridded, left, right], slider, preprocess=False, **quick)

    drawing = draw.click(
        draw_course,
        [photo, experiment, longest_side],
        [coursed, scrubber, get_course, course_status],
        preprocess=False,
        show_progress_on=course_status,
        **slow,
    )
    stopping = stop_course.click(None, None, None, cancels=drawing, **quick)
    for ended in (drawing, stopping):
        ended.then(make_course, coursed, get_course, show_progress="hidden", api_visibility="private")
    gr.on([known.change, first.change, second.change], differ, [first, second], table, preprocess=False, **quick)


def handful(catalog: Catalog) -> list[str]:
    """Keys of what experiments show first, as far as it is here already: the first one's, then what changes photos most."""
    firsts = [offer for offer in map(catalog.first, catalog.experiments().values()) if not _missing(catalog, offer)]
    others = sorted(firsts[1:], key=lambda offer: -offer.record.metrics.get("content", math.inf))
    return [offer.key for offer in [*firsts[:1], *others]][:HANDFUL]


def _find(catalog: Catalog, keys: Sequence[str], request: gr.Request) -> list[Offer]:
    try:
        return [catalog.find(key) for key in dict.fromkeys(keys)]
    except CheckpointError as error:
        raise parts.error(error, request) from None


def _missing(catalog: Catalog, offer: Offer) -> int:
    try:
        return catalog.missing_bytes(offer)
    except CheckpointError:  # it went while we looked
        return 1


def _first_course(experiments: dict[str, list[Offer]]) -> str | None:
    """The first experiment that has a course: more than one checkpoint."""
    courses = [name for name, offers in experiments.items() if len(offers) > 1]
    return next(iter(courses or experiments), None)


def _lines(offer: Offer) -> tuple[str, ...]:
    record: Record = offer.record
    return f"{offer.name} · {offer.source}", f"{record.checkpoint} · {record.phase} · step {record.step:,}"


def _name(offer: Offer, request: gr.Request | None) -> str:
    return f"{offer.name} {offer.record.checkpoint} · {say(offer.source, request)}"


def _moment(offer: Offer, request: gr.Request | None) -> str:
    record = offer.record
    return f"{record.checkpoint} · {parts.phase(record, request)} · {say('step', request)} {record.step:,}"


def _told(line: str, problems: list[str]) -> str:
    items = "".join(f"<li>{html.escape(problem)}</li>" for problem in problems)
    return f"<p>{html.escape(line)}</p>" + (f"<div class='notice'><ul>{items}</ul></div>" if problems else "")


def _course(pictures: Sequence[Picture], request: gr.Request | None) -> dict[str, Any]:
    """What `COURSE` shows; Gradio sends of it only what is new."""
    addresses = [f"{API_PREFIX.strip('/')}/file={quote(picture.path)}" for picture in pictures]
    shown = [{"address": address, "caption": each.caption} for address, each in zip(addresses, pictures, strict=True)]
    return {"name": say("scrub", request), "pictures": shown}
