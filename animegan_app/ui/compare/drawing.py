"""A photo drawn by one checkpoint after the other, for whatever shows several."""

import asyncio
import html
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from animegan_app import uploads
from animegan_app.catalog import Offer
from animegan_app.photos import PhotoError
from animegan_app.sheet import Labelled
from animegan_app.studio import Studio
from animegan_app.ui import parts
from animegan_app.ui.words import say
from hub_export.record import CheckpointError, Record
from hub_export.sentences import Sentence

MAX_CHOSEN = 100
PHOTO = "photo"
"""Stands for the photo among keys of checkpoints."""


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

    @property
    def labelled(self) -> Labelled:
        """For a sheet or a moving picture."""
        return Labelled(Path(self.path), self.lines)


@dataclass(frozen=True)
class Series:
    """What has been drawn so far.

    Args:
        pictures: the photo first.
        problems: sentences on those that failed, in the person's language.
        count: how many are to be drawn.
    """

    pictures: list[Picture]
    problems: list[str]
    count: int

    def told(self, request: gr.Request) -> str:
        """HTML: how far it is, and what failed."""
        line = say("drawn", request, count=max(0, len(self.pictures) - 1), all=self.count)
        items = "".join(f"<li>{html.escape(problem)}</li>" for problem in self.problems)
        return f"<p>{html.escape(line)}</p>" + (f"<div class='notice'><ul>{items}</ul></div>" if items else "")


async def draw_all(
    studio: Studio,
    photo: dict[str, Any] | None,
    offers: Sequence[Offer],
    longest_side: int,
    caption: Callable[[Offer, gr.Request], str],
    request: gr.Request,
    progress: gr.Progress,
) -> AsyncIterator[Series]:
    """Draws a photo with checkpoints in turn.

    Args:
        photo: as Gradio hands it over.
        caption: what is written under an offer's picture.

    Yields:
        All so far, each time that there is one more. A checkpoint that fails is told of, and the next one drawn.

    Raises:
        gr.Error: there is no photo, or it cannot be used.
    """
    if photo is None:
        raise parts.error("no_photo", request)
    pictures: list[Picture] = []
    problems: list[str] = []
    try:
        path = uploads.take(photo)
        for number, offer in enumerate(offers):

            def report(done: float, doing: Sentence, number: int = number) -> None:
                progress((number + done) / len(offers), desc=f"{number + 1}/{len(offers)} · {say(doing, request)}")

            try:
                drawing = await studio.draw(path, offer.key, longest_side, report)
            except CheckpointError as error:
                problems.append(say(error.sentence, request))
            else:
                if not pictures:
                    file = await asyncio.to_thread(parts.save, drawing.photo, f"{path.stem}.png")
                    pictures.append(Picture(PHOTO, file, ("photo",), say("photo", request)))
                name = parts.file_name(path.stem, drawing.record)
                file = await asyncio.to_thread(parts.save, drawing.anime, f"{name}.png")
                pictures.append(Picture(offer.key, file, _lines(offer), caption(offer, request)))
            yield Series(list(pictures), list(problems), len(offers))
    except PhotoError as error:
        raise parts.error(error, request) from None


def _lines(offer: Offer) -> tuple[str, ...]:
    record: Record = offer.record
    return f"{offer.name} · {offer.source}", f"{record.checkpoint} · {record.phase} · step {record.step:,}"
