"""What programs may call, over Gradio's API and as tools of the Model Context Protocol."""

import asyncio
from typing import Any

import gradio as gr
from gradio.data_classes import FileData
from gradio.events import api

from animegan_app import catalog, photos, uploads
from animegan_app.photos import PhotoError
from animegan_app.studio import Studio
from animegan_app.stylize import DEFAULT_LONGEST_SIDE, MOST_STRENGTH, blend
from animegan_app.ui import components
from animegan_app.ui.i18n import say
from animegan_app.ui.stylize import TRAIN, file_name
from hub_export.record import CheckpointError
from hub_export.sentences import ExplainedError, Sentence

FOR_PROGRAMS = {
    photos.gone().sentence.english: (
        "photo is no file that was uploaded here: hand it over by gradio_client.handle_file, as a data: URL, or by the URL "
        "or path of its upload; other URLs are not fetched."
    ),
    catalog.gone("").sentence.english: (
        "{name} is neither a key that /checkpoints lists nor the name of an experiment or look there."
    ),
}
"""What is told to programs in place of what a person is told, both in English."""


class Programs:
    """The endpoints /stylize and /checkpoints. Their docstrings are what programs and models are told."""

    def __init__(self, studio: Studio):
        self.studio = studio
        # Gradio shows every tool's caller the picture only of what is not queued; its own client queues all the same.
        api(self.stylize, api_name="stylize", queue=False, concurrency_limit=components.QUEUE_SIZE)
        api(self.checkpoints, api_name="checkpoints", queue=False)

    async def stylize(
        self,
        photo: FileData,
        request: gr.Request,
        checkpoint: str = "",
        longest_side: int = DEFAULT_LONGEST_SIDE,
        strength: float = 100,
        photo_colours: float = 0,
        full_size: bool = False,
    ) -> tuple[FileData, dict[str, Any]]:
        """Redraws a photo as anime.

        A local photo is handed over in Python by gradio_client.handle_file("photo.jpg"); by a tool's caller as a data: URL
        (data:image/jpeg;base64,...) or as the URL that the tool upload_file_to_gradio answers with, which the program
        `gradio upload-mcp APP_URL FOLDER` offers for the files of a folder; over HTTP by POST to /gradio_api/upload, and the
        path that it answers with. Any other URL is refused, for nothing is downloaded.

        Args:
            photo: a JPEG, PNG, WebP, AVIF, HEIC, GIF, BMP or TIFF file of up to 50 MB.
            checkpoint: a key that /checkpoints lists, or the name of an experiment or look there; left out, the first one.
            longest_side: the picture is drawn at no more than 512, 768, 1024 or 1536 pixels.
            strength: 0 (the photo) over 100 (anime) to 150 (what makes it anime, exaggerated by half).
            photo_colours: 0 (anime's colours) to 100 (the photo's).
            full_size: raises the drawing to the photo's own size, up to 80 megapixels, and keeps its transparency; slower.

        Returns:
            The picture as a PNG file, and width, height, seconds, checkpoint, weights (sha256) and commit (on the Hub).
        """
        try:
            if not _is_percent(strength, MOST_STRENGTH):
                raise PhotoError("strength must be from 0 to {most}.", most=MOST_STRENGTH)
            if not _is_percent(photo_colours, 100):
                raise PhotoError("photo_colours must be from 0 to 100.")
            offer = self.studio.catalog.named(checkpoint) if checkpoint else self.studio.catalog.default()
            if offer is None:
                raise CheckpointError("There is no checkpoint to draw with: train one with {command}", command=TRAIN)
            path = uploads.take(photo)  # a dict, as Gradio hands it over
            drawing = await self.studio.draw(path, offer.key, longest_side, _silent)
            mixed = strength / 100, photo_colours / 100
            if full_size:
                picture = await self.studio.finish(drawing, path, *mixed, _silent)
            else:
                picture = blend(drawing.photo, drawing.anime, *mixed)
        except (PhotoError, CheckpointError) as problem:
            raise error(problem, request) from None
        name = file_name(path.stem, drawing.record, strength, photo_colours)
        facts = {
            "width": picture.shape[1],
            "height": picture.shape[0],
            "seconds": round(drawing.seconds, 3),
            "checkpoint": offer.key,
            "weights": drawing.record.sha256,
            "commit": drawing.commit,
        }
        return FileData(path=await asyncio.to_thread(components.save, picture, f"{name}.png")), facts

    def checkpoints(self) -> list[dict[str, Any]]:
        """Lists the checkpoints that photos can be drawn with.

        Returns:
            For each its key, experiment, checkpoint, question (what the experiment asks), phase, epoch and step of training,
            and missing_bytes (what has to be downloaded before it can draw).
        """
        return [
            {
                "key": offer.key,
                "experiment": offer.name,
                "checkpoint": offer.record.checkpoint,
                "question": offer.record.question,
                "phase": offer.record.phase,
                "epoch": offer.record.epoch,
                "step": offer.record.step,
                "missing_bytes": self.studio.catalog.missing_bytes(offer),
            }
            for offers in self.studio.catalog.experiments().values()
            for offer in offers
        ]


def error(problem: ExplainedError, request: gr.Request | None) -> gr.Error:
    """Tells a program what went wrong, as plain text, and what is for it to do instead of to press."""
    wording = FOR_PROGRAMS.get(problem.sentence.english)
    sentence = Sentence(wording, **problem.sentence.values) if wording else problem.sentence
    return gr.Error(say(sentence, request).encode("utf-8", "replace").decode(), print_exception=False)


def _silent(done: float, doing: Sentence) -> None:
    """For programs, which are not told how far it is."""


def _is_percent(value: object, most: int) -> bool:
    return isinstance(value, int | float) and 0 <= value <= most
