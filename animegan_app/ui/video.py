"""The third tab: a clip, drawn with the checkpoint that is chosen for photos."""

import contextlib
import html
import os
import tempfile
from pathlib import Path
from typing import Any

import gradio as gr

from animegan_app import clips, uploads
from animegan_app.catalog import Offer
from animegan_app.clips import Clip, Limits
from animegan_app.photos import PhotoError
from animegan_app.studio import Studio
from animegan_app.stylize import MOST_STRENGTH
from animegan_app.ui import components
from animegan_app.ui.components import Outputs
from animegan_app.ui.i18n import label, say
from animegan_app.ui.looks import name_of
from animegan_app.ui.stylize import TRAIN, Stylize, file_name
from hub_export.record import CheckpointError, Record
from hub_export.sentences import Sentence

CSS = """
#clip-result video { max-height: 70vh; }
#video .stop { display: none; }
#video:not(:has(#clip-result .error)):has(#clip-result [data-testid="status-tracker"]:not(.hide)) #clip-cancel {
  display: block;
}
"""
LIMITS = Limits()


class Video:
    """The tab.

    Args:
        studio: what draws.
        stylize: whose checkpoint is taken.
        tab: itself.
        known: changes when the catalog does.
    """

    def __init__(self, studio: Studio, stylize: Stylize, tab: gr.Tab, known: gr.Textbox):
        self.studio, self.checkpoint = studio, stylize.checkpoint
        with gr.Row():
            with gr.Column(scale=2, min_width=300):
                # Not gr.Video, whose editor fetches a program from elsewhere.
                self.clip = gr.File(
                    label=label("clip"), file_types=[*sorted(clips.SUFFIXES)], type="filepath", height=160, elem_id="clip"
                )
                gr.HTML(label("clip_limits"), elem_id="clip-limits")
                self.side = gr.Radio(
                    list(clips.SIDES),
                    value=clips.DEFAULT_SIDE,
                    label=label("longest_side"),
                    info=label("clip_side_info"),
                    elem_id="clip-side",
                )
                self.strength = gr.Slider(
                    0,
                    MOST_STRENGTH,
                    100,
                    step=1,
                    label=label("strength"),
                    info=label("clip_strength_info"),
                    elem_id="clip-strength",
                )
                self.steady = gr.Checkbox(label=label("steady"), info=label("steady_info"), elem_id="clip-steady")
                offer = studio.catalog.default()
                # A name, which no language changes, until the first answer is there.
                self.with_ = gr.HTML(html.escape(_name(offer)) if offer else "", elem_id="clip-with")
                with gr.Row():
                    self.draw = gr.Button(label("again"), variant="primary", elem_id="clip-draw")
                    self.cancel = gr.Button(label("cancel"), elem_id="clip-cancel", elem_classes="stop")
            with gr.Column(scale=3, min_width=300):
                self.result = gr.Video(
                    label=label("drawn_clip"), interactive=False, buttons=["download"], elem_id="clip-result"
                )
                self.facts = gr.HTML(elem_id="clip-facts")
        components.answer_in_turn([tab.select, self.checkpoint.change, known.change], self.tell, self.checkpoint, self.with_)
        drawing = self.draw.click(
            self.show,
            [self.clip, self.checkpoint, self.side, self.strength, self.steady],
            [self.result, self.facts],
            show_progress_on=self.result,
            **components.SLOW,
        )
        self.cancel.click(None, None, None, cancels=[drawing], **components.QUICK)  # the former clip stays, with its facts

    def tell(self, key: str | None, request: gr.Request) -> str:
        """HTML: which checkpoint draws."""
        try:
            offer = self.studio.catalog.find(key) if key else None
        except CheckpointError as error:
            return components.alert(error, request)
        return html.escape(say("draws_with", request, name=name_of(offer, request))) if offer else ""

    async def show(
        self,
        clip: dict[str, Any] | None,
        key: str | None,
        side: int,
        strength: float,
        steady: bool,
        request: gr.Request,
        progress: gr.Progress = gr.Progress(),  # noqa: B008  Gradio finds it by this default
    ) -> Outputs:
        """The drawn clip, and facts."""
        if not clip:
            raise components.error("no_clip", request)
        if not key:
            raise components.error("nothing_to_draw_with", request, command=TRAIN)

        def report(done: float, doing: Sentence) -> None:
            progress(done, desc=say(doing, request))

        target = Path(tempfile.mkdtemp(dir=uploads.FOLDER), "drawn.mp4")
        try:
            path = uploads.take(clip)
            made, record = await self.studio.draw_clip(path, target, key, side, strength / 100, bool(steady), LIMITS, report)
            file = components.keep(target.read_bytes(), f"{file_name(path.stem, record, strength, 0)}.mp4")
        except (PhotoError, CheckpointError) as problem:
            raise components.error(problem, request) from None
        finally:
            with contextlib.suppress(OSError):
                target.unlink(missing_ok=True)
                os.rmdir(target.parent)
        return {self.result: file, self.facts: html.escape(" · ".join(_facts(made, record, request)))}


def _name(offer: Offer) -> str:
    return f"{offer.name} {offer.record.checkpoint}"


def _facts(made: Clip, record: Record, request: gr.Request) -> list[str]:
    return [
        say("size", request, size=components.pixels_of((made.width, made.height))),
        say("clip_length", request, seconds=f"{made.seconds:.1f}", frames=made.frames),
        f"{record.experiment} {record.checkpoint}",
    ]
