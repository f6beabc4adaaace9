"""How the page is served: in its own look, from its own folder, to whom and how much, and how it ends."""

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import AsyncIterator
from importlib.util import find_spec
from typing import Any

import gradio as gr
from gradio.components.api_component import Api
from gradio.context import LocalContext
from gradio.state_holder import SessionState
from starlette.requests import HTTPConnection

from animegan_app import address, uploads
from animegan_app.door import Door, allowed, visitor
from animegan_app.memory import give_back
from animegan_app.photos import MAX_FILE_BYTES, PhotoError
from animegan_app.ui import api, components
from animegan_app.ui.i18n import TRANSLATIONS, say

KEPT_SECONDS = 3600
"""Uploads and results older than this are deleted; until then a page left open still works."""
CLEAN_SECONDS = 30.0
"""How often; only so long may there be more on disk than `uploads.MAX_FOLDER_BYTES`."""
MAX_SESSIONS = 500
"""Visitors of whom Gradio remembers what their page shows, 0.27 MB each; who was forgotten loses a grid, not a photo."""
END_SECONDS = 8.0
"""How long deleting the temporary files may take; what is left is deleted when the app starts again."""


def _keep_nothing(session: SessionState, key: int, value: Any) -> None:
    """In place of what keeps every visitor's last inputs, whatever their size, for deep links, which are closed."""


SessionState._update_value_in_config = _keep_nothing  # type: ignore[assignment,method-assign]


class Blocks(gr.Blocks):
    """Gradio's, launched as this app needs it by whoever launches it, and stricter with what a request brings.

    Args:
        title, css: of the page.
    """

    def __init__(self, title: str, css: str):
        super().__init__(title=title)
        self._css = css

    def launch(self, *arguments: Any, **settings: Any) -> Any:
        """`gr.Blocks.launch`, with this app's settings where none are given. Ends the program if it cannot listen there."""
        host = (settings.pop("server_name", None) or address.HOST or "127.0.0.1").strip("[]")
        port = address.free_port(host, settings.pop("server_port", None) or address.PORT)
        names = allowed(host)

        @contextlib.asynccontextmanager
        async def guarded(app: Any) -> AsyncIterator[None]:
            inner, tell = app.middleware_stack, lambda sentence, scope: say(sentence, HTTPConnection(scope))
            app.middleware_stack = Door(inner, names, self._waiting, tell)  # outside of Gradio's own
            yield

        ours: dict[str, Any] = {
            "server_name": f"[{host}]" if ":" in host else host,
            "server_port": port,
            "share": False,
            "allowed_paths": [str(uploads.FIRST[0].parent)],  # wherever the app is started from
            "ssr_mode": False,
            "max_file_size": MAX_FILE_BYTES,
            "footer_links": ["api", "settings"],
            "theme": _theme(),
            "css": self._css,
            "i18n": TRANSLATIONS,
            "mcp_server": find_spec("mcp") is not None,
            "state_session_capacity": MAX_SESSIONS,
            "max_threads": components.QUEUE_SIZE,  # Gradio has no more places in its queue
            "app_kwargs": {"lifespan": guarded},
            "_frontend": False,  # Gradio's own look at its page, which a busy machine fails within its 3 s
        }
        threading.Thread(target=_keep_cleaning, args=(self,), daemon=True).start()
        try:
            return super().launch(*arguments, **ours | settings)
        except OSError as error:  # somebody else took the port meanwhile
            sys.exit(f"{host}, port {port}, cannot be listened at: {error}")

    async def preprocess_data(self, block_fn: Any, inputs: list[Any], *rest: Any, **named: Any) -> Any:
        """`gr.Blocks.preprocess_data` of what names no file but a visitor's; from elsewhere Gradio would download it.

        What a program leaves out at the end is what its endpoint takes then.
        """
        missing = block_fn.inputs[len(inputs) :]
        if all(isinstance(block, Api) for block in missing):  # who calls by place may leave out what was added since
            inputs = [*inputs, *(block.value for block in missing)]
        try:
            inputs = uploads.take_all(inputs)
        except PhotoError as error:
            request = LocalContext.request.get(None)
            if block_fn.inputs and all(isinstance(block, Api) for block in block_fn.inputs):
                raise api.error(error, request) from None
            raise components.error(error, request) from None
        return await super().preprocess_data(block_fn, inputs, *rest, **named)

    def _waiting(self, who: str) -> int:
        return sum(visitor(event.request.scope) == who for event in list(self._queue.event_ids_to_events.values()))


def launch(demo: gr.Blocks, host: str | None = None, port: int | None = None) -> None:
    """Serves the app until it is interrupted or terminated, then removes all temporary files.

    Programs are served too and, where `gradio[mcp]` is installed, those that speak the Model Context Protocol.

    Args:
        host, port: None for GRADIO_SERVER_NAME and GRADIO_SERVER_PORT or this machine only and the first free one from 7860.
    """
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _end)
    _, url, _ = demo.launch(server_name=host, server_port=port, quiet=True, prevent_thread_lock=True)
    print(f"AnimeGAN laboratory: {url} (Ctrl+C ends it)", flush=True)
    threading.Event().wait()


def _end(number: int, frame: Any) -> None:
    """Ends the process at once: the interpreter's own end waits for threads that hang, and takes long with TensorFlow."""
    watch = threading.Timer(END_SECONDS, os._exit, (0,))
    watch.daemon = True
    watch.start()
    uploads.remove()
    os._exit(0)


def _keep_cleaning(demo: gr.Blocks) -> None:
    """Deletes what is old or too much, whoever put it there; the copies of the examples stay. Gives free memory back."""
    while True:
        time.sleep(CLEAN_SECONDS)
        kept = {str(path) for block in list(demo.blocks.values()) for path in getattr(block, "keep_in_cache", ())}
        uploads.clean(KEPT_SECONDS, kept)
        for files in demo.temp_file_sets:
            files.difference_update([path for path in list(files) if not os.path.exists(path)])
        give_back()


def _theme() -> gr.themes.Base:
    """Fonts of the system only: the page must look the same without a network. Teal is dark enough to read."""
    theme = gr.themes.Soft(
        primary_hue="teal",
        secondary_hue="teal",
        neutral_hue="stone",
        font=("system-ui", "sans-serif"),
        font_mono=("ui-monospace", "monospace"),
    )
    return theme.set(
        body_background_fill="*neutral_50",
        body_background_fill_dark="*neutral_950",
        body_text_color_subdued="*neutral_600",
        body_text_color_subdued_dark="*neutral_400",
        color_accent="*primary_700",
        block_label_text_color="*primary_700",
        block_label_background_fill_dark="*primary_700",
        button_primary_background_fill="*primary_700",
        button_primary_background_fill_dark="*primary_700",
        button_primary_background_fill_hover="*primary_600",
        button_primary_background_fill_hover_dark="*primary_600",
        checkbox_label_background_fill_selected="*primary_700",
        checkbox_label_background_fill_selected_dark="*primary_700",
        checkbox_border_color="*neutral_400",
        block_title_background_fill="transparent",
        block_title_background_fill_dark="transparent",
        block_title_text_color="*neutral_600",
        block_title_text_color_dark="*neutral_300",
        block_title_padding="0",
    )
