"""Many photos at once: all drawn with the chosen look, in turn with everybody's, and handed over as one zip."""

import asyncio
import contextlib
import os
import tempfile
import zipfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import gradio as gr

from animegan_app import uploads
from animegan_app.photos import PhotoError
from animegan_app.studio import Studio
from animegan_app.ui import components
from animegan_app.ui.components import Outputs
from animegan_app.ui.i18n import label, say
from animegan_app.ui.stylize import SAVE, TRAIN, Stylize, file_name
from animegan_app.writing import encoded
from hub_export.record import CheckpointError
from hub_export.sentences import Sentence

MAX_PHOTOS = 50
MAX_ZIP_BYTES = 2**29
"""Of one zip: an eighth of what all visitors' files may take."""

CSS = """
#several-files { min-height: 8rem; }
#several-buttons { align-items: center; }
#several .stop { display: none; }
#several:has(#several-status [data-testid="status-tracker"]:not(.hide)):not(:has(#several-status .error)) .stop {
  display: block; }
#several-status { min-height: 3.4rem; }
#several-status p { margin: 0; }
"""


class Several:
    """A fold below the first tab's laboratory."""

    def __init__(self, studio: Studio):
        self.studio = studio
        with gr.Accordion(label("several"), open=False, elem_id="several"):
            self.files = components.photo_files("several-files", "several_files", 160)
            with gr.Row(elem_id="several-buttons"):
                self.draw = gr.Button(label("several_draw"), variant="primary", elem_id="several-draw")
                self.cancel = gr.Button(label("cancel"), elem_id="several-cancel", elem_classes="stop")
            self.status = gr.HTML(elem_id="several-status")
            self.file = gr.DownloadButton(visible="hidden")

    def wire(self, stylize: Stylize) -> None:
        """Says what follows from what. Draws as is chosen in `stylize`."""
        drawing = self.draw.click(
            self.make,
            [self.files, stylize.checkpoint, stylize.longest_side, stylize.strength, stylize.photo_colours],
            [self.status, self.file],
            show_progress_on=self.status,
            **components.SLOW,
        )
        drawing.success(None, self.file, None, js=f"(file) => file && ({SAVE})(file)", **components.QUICK)
        self.files.change(lambda: {self.status: "", self.file: None}, None, [self.status, self.file], **components.QUICK)
        self.cancel.click(lambda: "", None, self.status, cancels=[drawing], **components.QUICK)

    async def make(
        self,
        files: list[dict[str, Any]] | None,
        checkpoint: str | None,
        longest_side: int,
        strength: float,
        photo_colours: float,
        request: gr.Request,
        progress: gr.Progress = gr.Progress(),  # noqa: B008  Gradio finds it by this default
    ) -> AsyncIterator[Outputs]:
        """The zip, after how it goes. A photo that cannot be drawn stops no other."""
        if not files:
            raise components.error("no_photo", request)
        if len(files) > MAX_PHOTOS:
            raise components.error("too_many_photos", request, most=MAX_PHOTOS)
        if not checkpoint:
            raise components.error("nothing_to_draw_with", request, command=TRAIN)
        handle, name = tempfile.mkstemp(dir=uploads.FOLDER, suffix=".zip")
        os.close(handle)
        target, problems, names = Path(name), list[str](), set[str]()
        mixed = strength / 100, photo_colours / 100
        try:
            with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
                for number, file in enumerate(files):
                    said = Path(str(file.get("orig_name") or file.get("path"))).name

                    def report(done: float, doing: Sentence, number: int = number) -> None:
                        words = f"{number + 1}/{len(files)} · {say(doing, request)}"
                        progress((number + done) / len(files), desc=words)

                    try:
                        path = uploads.take(file)
                        drawing = await self.studio.draw(path, checkpoint, longest_side, report)
                        picture = await self.studio.finish(drawing, path, *mixed, report)
                    except (PhotoError, CheckpointError) as problem:
                        problems.append(f"{said}: {say(Sentence.of(problem), request)}")
                    else:
                        suffix = ".jpg" if picture.shape[2] == 3 else ".png"
                        content = await asyncio.to_thread(encoded, picture, suffix)
                        if target.stat().st_size + len(content) > MAX_ZIP_BYTES:
                            problems.append(say("zip_full", request, name=said, most=MAX_ZIP_BYTES // 2**20))
                            break
                        stem = file_name(path.stem, drawing.record, strength, photo_colours)
                        await asyncio.to_thread(archive.writestr, _free(stem, suffix, names), content)
                    yield {self.status: components.drawn_so_far(len(names), len(files), problems, request), self.file: None}
            if names:
                zipped = str(_named(target, f"{drawing.record.experiment}-{len(names)}.zip"))
                yield {self.status: components.drawn_so_far(len(names), len(files), problems, request), self.file: zipped}
        finally:
            with contextlib.suppress(OSError):
                target.unlink(missing_ok=True)


def _named(target: Path, name: str) -> Path:
    """The same file where its name is its own; Gradio deletes it as it deletes all there."""
    named = Path(tempfile.mkdtemp(dir=uploads.FOLDER), name)
    return target.rename(named)


def _free(stem: str, suffix: str, names: set[str]) -> str:
    """A name that no other file of the archive has, as two photos may have one name."""
    name, number = f"{stem}{suffix}", 1
    while name in names:
        number += 1
        name = f"{stem}-{number}{suffix}"
    names.add(name)
    return name
