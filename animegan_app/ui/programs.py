"""What programs may call, over Gradio's API and as tools of the Model Context Protocol."""

from typing import Any

import gradio as gr
from gradio.data_classes import FileData
from gradio.events import api

from animegan_app import uploads
from animegan_app.photos import PhotoError
from animegan_app.studio import Studio
from animegan_app.stylize import DEFAULT_LONGEST_SIDE, blend
from animegan_app.ui import parts
from animegan_app.ui.stylize import MOST_STRENGTH, TRAIN, file_name
from hub_export.record import CheckpointError


class Programs:
    """The endpoints /stylise and /checkpoints. Their docstrings are what programs and models are told."""

    def __init__(self, studio: Studio):
        self.studio = studio
        # Gradio shows every tool's caller the picture only of what is not queued; its own client queues all the same.
        api(self.stylise, api_name="stylise", queue=False, concurrency_limit=parts.QUEUE_SIZE)
        api(self.checkpoints, api_name="checkpoints", queue=False)

    async def stylise(
        self,
        photo: FileData,
        request: gr.Request,
        checkpoint: str = "",
        longest_side: int = DEFAULT_LONGEST_SIDE,
        strength: float = 100,
        photo_colours: float = 0,
    ) -> tuple[FileData, dict[str, Any]]:
        """Redraws a photo as anime.

        Args:
            photo: a JPEG, PNG, WebP, AVIF, GIF, BMP or TIFF file.
            checkpoint: one of the keys that /checkpoints lists; the app's first choice if it is left out.
            longest_side: the picture is scaled down to at most 512, 768, 1024 or 1536 pixels.
            strength: 0 (the photo) over 100 (anime) to 150 (what makes it anime, exaggerated by half).
            photo_colours: 0 (anime's colours) to 100 (the photo's).

        Returns:
            The picture as a PNG file, and width, height, seconds, checkpoint, weights (sha256) and commit (on the Hub).
        """
        try:
            if not _is_percent(strength, MOST_STRENGTH):
                raise PhotoError("strength must be from 0 to {most}.", most=MOST_STRENGTH)
            if not _is_percent(photo_colours, 100):
                raise PhotoError("photo_colours must be from 0 to 100.")
            offer = self.studio.catalog.find(checkpoint) if checkpoint else self.studio.catalog.default()
            if offer is None:
                raise parts.error("nothing_for_programs", request, command=TRAIN)
            path = uploads.take(photo)  # a dict, as Gradio hands it over
            drawing = await self.studio.draw(path, offer.key, longest_side, lambda done, doing: None)
        except (PhotoError, CheckpointError) as error:
            raise parts.error(error, request) from None
        anime = blend(drawing.photo, drawing.anime, strength / 100, photo_colours / 100)
        name = file_name(path.stem, drawing.record, strength, photo_colours)
        width, height = drawing.size
        facts = {
            "width": width,
            "height": height,
            "seconds": round(drawing.seconds, 3),
            "checkpoint": offer.key,
            "weights": drawing.record.sha256,
            "commit": drawing.commit,
        }
        return FileData(path=parts.save(anime, f"{name}.png")), facts

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


def _is_percent(value: object, most: int) -> bool:
    return isinstance(value, int | float) and 0 <= value <= most
