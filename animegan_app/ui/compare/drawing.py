"""Photos drawn by checkpoints in turn, for whatever shows several."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np

from animegan_app import uploads
from animegan_app.catalog import Offer
from animegan_app.contact_sheet import Labelled
from animegan_app.photos import PhotoError, read_scaled
from animegan_app.studio import Studio
from animegan_app.stylize import LONGEST_SIDES
from animegan_app.ui import components
from animegan_app.ui.i18n import say
from hub_export.record import CheckpointError
from hub_export.sentences import Sentence

MAX_CHOSEN = 100
"""Checkpoints at a time."""
MAX_PHOTOS = 40
READING = asyncio.Semaphore(1)
"""One photo is decoded at a time: who waits for that holds no thread, of which every drawing needs one."""


@dataclass(frozen=True)
class Picture:
    """One cell of what is drawn: a photo, or what a checkpoint made of it.

    Args:
        row, column: of which photo and, from 1, by which checkpoint; column 0 is the photo itself.
        path: the file, "" where there is none.
        size: its width and height.
        problem: why there is none, in the person's language.
    """

    row: int
    column: int
    path: str = ""
    size: tuple[int, int] = (4, 3)
    problem: str = ""

    @property
    def address(self) -> str:
        """Where the page finds the file; "" where there is none."""
        return components.address(self.path) if self.path else ""


async def draw_all(
    studio: Studio,
    photos: Sequence[Path],
    offers: Sequence[Offer],
    longest_side: int,
    request: gr.Request,
    progress: gr.Progress,
) -> AsyncIterator[Picture]:
    """All photos, then what every checkpoint makes of the first, then of the second, and so on.

    A photo that cannot be read and a checkpoint that cannot draw is a cell that says so; all others are drawn.

    Args:
        longest_side: one of `LONGEST_SIDES`; the first of them for anything else.
    """
    longest_side = longest_side if longest_side in LONGEST_SIDES else LONGEST_SIDES[0]
    readable = []
    for row, path in enumerate(photos):
        try:
            async with READING:
                photo, _ = await asyncio.to_thread(read_scaled, path, longest_side)
        except PhotoError as error:
            yield Picture(row, 0, problem=say(error.sentence, request))
        else:
            readable.append((row, path))
            yield await _kept(row, 0, photo, path.stem)
    work = [(row, path, column, offer) for row, path in readable for column, offer in enumerate(offers, 1)]
    for number, (row, path, column, offer) in enumerate(work):

        def report(done: float, doing: Sentence, number: int = number) -> None:
            progress((number + done) / len(work), desc=f"{number + 1}/{len(work)} · {say(doing, request)}")

        try:
            drawing = await studio.draw(path, offer.key, longest_side, report)
        except (CheckpointError, PhotoError) as error:
            yield Picture(row, column, problem=say(error.sentence, request))
        else:
            yield await _kept(row, column, drawing.anime, components.file_name(path.stem, drawing.record))


async def _kept(row: int, column: int, picture: np.ndarray, name: str) -> Picture:
    path = await asyncio.to_thread(components.save, picture, f"{name}.png")
    return Picture(row, column, path, (picture.shape[1], picture.shape[0]))


def chosen_photos(given: list[dict[str, Any]] | None, request: gr.Request) -> list[Path]:
    """The photos that were chosen, as Gradio hands them over; the examples if there are none.

    Raises:
        gr.Error: too many, or one is no longer there.
    """
    if len(given or ()) > MAX_PHOTOS:
        raise components.error("too_many_photos", request, most=MAX_PHOTOS)
    try:
        return [uploads.take(photo) for photo in given or ()] or list(uploads.EXAMPLES)
    except PhotoError as error:
        raise components.error(error, request) from None


def labelled(picture: Picture, offer: Offer | None) -> Labelled:
    """A picture for a sheet or a moving picture, whose labels are in ASCII; without an offer it is the photo."""
    if offer is None:
        return Labelled(Path(picture.path), ("photo",))
    record = offer.record
    lines = f"{offer.name} · {offer.source}", f"{record.checkpoint} · {record.phase} · step {record.step:,}"
    return Labelled(Path(picture.path), lines)
