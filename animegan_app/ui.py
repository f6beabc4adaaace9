"""The page: a photo, a checkpoint, and a slider between photo and anime. The only module that imports Gradio.

Nothing that a person uploads leaves the machine or stays on it: no analytics, no run history, temporary files removed.
"""

import asyncio
import html
import os
import re
import signal
from pathlib import Path
from typing import Any

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # read when gradio is imported
os.environ["GRADIO_RUN_HISTORY"] = "False"  # read at launch, also where a Space launches

import gradio as gr
from gradio.processing_utils import save_pil_to_cache
from PIL import Image

from animegan_app.catalog import HUB, Catalog, Offer, open_catalog
from animegan_app.stylize import DEFAULT_LONGEST_SIDE, LONGEST_SIDES, PhotoError, Stylizer, read_photo
from hub_export import pixels
from hub_export.checkpoint import WEIGHTS, CheckpointError, Record, read_record
from hub_export.store import CACHED, HubStore

EXAMPLES = [str(path) for path in sorted((Path(__file__).parent / "examples").glob("*.jpg"))]
SOURCES = {"bundled": "bundled", "local": "local runs", HUB: "Hugging Face Hub"}
"""Store names in words."""
TRAIN = "python -m train.run fast-hayao"
MAX_SOURCES = 50
"""How many namespaces and repos a running app accepts from the page, those it was started with included."""
MAX_NOTICES, MAX_SESSIONS = 20, 1000
QUEUE_SIZE = 32
ERROR_SECONDS = 20
KEPT_SECONDS = 3600
"""Uploads and results older than this are deleted four times as often; until then a page left open still works."""

CSS = """
.gradio-container { max-width: 1180px !important; width: 100%; margin: 0 auto !important; }
#title h1 { font-size: 1.9rem; line-height: 1.2; margin: .2rem 0; letter-spacing: -.01em; }
#title p, #facts { color: var(--body-text-color-subdued); margin: 0; }
#result { align-items: center; }
#facts { font-size: .92rem; overflow-wrap: anywhere; }
#slider, #slider .empty { min-height: min(400px, 60vw); }
#examples .gallery { display: grid; grid-template-columns: repeat(5, 1fr); gap: .5rem; }
#examples .gallery span, #examples .gallery .container { display: block; width: 100%; height: auto; max-height: none; }
#examples img { width: 100%; height: auto; aspect-ratio: 1; max-width: none; object-fit: cover; }
#about h2 { font-size: 1.05rem; font-weight: 600; margin: 0 0 .6rem; }
#about dl { display: grid; grid-template-columns: max-content 1fr; gap: .35rem 1.2rem; margin: 0; }
#about dt { color: var(--body-text-color-subdued); }
#about dd { margin: 0; overflow-wrap: anywhere; }
#add-row { align-items: end; padding: 0 .8rem .8rem 0; }
#add-source { margin-bottom: 10px; }
#experiment input, #checkpoint input { text-overflow: ellipsis; }
.notice { border-left: 4px solid var(--color-accent); padding: .6rem .9rem; background: var(--background-fill-secondary);
          overflow-wrap: anywhere; }
.notice ul { list-style: disc; margin: .3rem 0 0; padding-left: 1.2rem; }
@media (max-width: 640px) {
  #title h1 { font-size: 1.5rem; }
  #result { flex-direction: column; align-items: stretch; }
  #add-row { flex-direction: column; align-items: stretch; padding: 0 .8rem .4rem; }
  #download { width: 100% !important; }
  #about dl { grid-template-columns: 1fr; }
  #about dd { margin-bottom: .4rem; }
}
"""


def build_demo(catalog: Catalog | None = None) -> gr.Blocks:
    """The whole app. Reads records only: TensorFlow loads, and the Hub is asked, after the first page is up.

    Args:
        catalog: what to offer; None for `open_catalog()`.
    """
    catalog = catalog or open_catalog()
    stylizer = Stylizer()
    failed: dict[str | None, tuple[Any, ...]] = {}  # by session, what was tried last, if it failed

    def failure(error: Exception, session: str | None, tried: tuple[Any, ...]) -> gr.Error:
        """The error, shown to a person once: a choice and a photo that arrive together are both reason to draw."""
        known = session is not None and failed.get(session) == tried
        if len(failed) >= MAX_SESSIONS:
            failed.clear()
        failed[session] = tried
        return _error(error, visible=not known)

    def refresh() -> tuple[Any, ...]:
        """What is on offer now, for a page that was just opened."""
        offer = catalog.default()
        return (_missing(offer), *_choices(catalog, offer), _about(catalog, offer), _damaged(catalog))

    def warm_up() -> None:
        """Lets TensorFlow start to load behind the page, unless all there is has to be downloaded first."""
        offer = catalog.default()
        try:
            if offer and not catalog.missing_bytes(offer):
                stylizer.warm_up(catalog.fetch(offer))
        except CheckpointError:
            return  # who chooses this checkpoint is told

    async def ask_hub() -> None:
        """Waits, without holding a thread, until the Hub was asked or the time for it is over."""
        if catalog.hub and catalog.hub.sources:
            asking = catalog.hub.refresh_in_background()
            while asking.is_alive():
                await asyncio.sleep(0.1)

    def show_found(experiment: str | None, checkpoint: str | None) -> tuple[Any, ...]:
        """What is on offer now, for a page where somebody may have chosen already: a choice on offer stays."""
        experiments = catalog.experiments()
        offers = experiments.get(experiment or "", [])
        if not offers:
            offer = catalog.default()
            return (_missing(offer), *_choices(catalog, offer), _about(catalog, offer), _damaged(catalog))
        chosen = next((offer for offer in offers if offer.key == checkpoint), None)
        return (
            _missing(offers[0]),
            gr.update(choices=_experiment_choices(experiments)),
            gr.update(choices=_checkpoint_choices(offers)) if chosen else gr.skip(),  # if not, it is about to change
            _about(catalog, chosen) if chosen else gr.skip(),
            _damaged(catalog),
        )

    def add_source(text: str | None) -> tuple[Any, ...]:
        """Adds a namespace or repo of the Hub, if it has a checkpoint, and chooses its first experiment."""
        try:
            name = _add_source(catalog.hub, text or "")
        except ValueError as error:
            raise _error(error) from None
        found = [offers for key, offers in catalog.experiments().items() if f"{key}/".startswith(f"{HUB}/{name}/")]
        offer = catalog.first(found[0]) if found else catalog.default()
        return ("", _missing(offer), *_choices(catalog, offer), _damaged(catalog))

    def choose_experiment(experiment: str, checkpoint: str | None) -> Any:
        """Its checkpoints. One of them that is chosen stays: Gradio tells of a choice also where a list is just left."""
        offers = catalog.experiments().get(experiment)
        if not offers:
            raise _error(f"{experiment} is not on offer: reload the page to see what is")
        kept = checkpoint if checkpoint in [offer.key for offer in offers] else catalog.first(offers).key
        return gr.Dropdown(choices=_checkpoint_choices(offers), value=kept)

    def describe(key: str | None) -> str:
        try:
            return _about(catalog, catalog.find(key) if key else None)
        except CheckpointError as error:
            raise _error(error) from None

    async def stylise(
        photo: dict[str, Any] | None,
        checkpoint: str | None,
        longest_side: int,
        request: gr.Request,
        progress: gr.Progress = gr.Progress(),  # noqa: B008  Gradio finds it by this default
    ) -> tuple[Any, ...]:
        """Draws a photo with one checkpoint; nobody's drawing waits for somebody else's download.

        Returns the photo as it was drawn and its anime version, the anime version as a PNG file, and a line of facts.
        """
        tried = photo and photo["path"], checkpoint, longest_side
        if failed.get(request.session_hash) != tried:
            failed.pop(request.session_hash, None)
        if photo is None:
            return None, None, ""
        try:
            if not checkpoint:
                raise CheckpointError(f"There is no checkpoint to draw with: train one with {TRAIN}, then reload the page")
            if longest_side not in LONGEST_SIDES:
                raise PhotoError(f"The longest side must be one of {', '.join(map(str, LONGEST_SIDES))} pixels.")
            offer = catalog.find(checkpoint)
            missing_bytes = catalog.missing_bytes(offer)
            if missing_bytes:
                progress(0.1, desc=f"Downloading {_megabytes(missing_bytes)} from {offer.name} on the Hugging Face Hub")
            await catalog.pull(offer)
            return await asyncio.to_thread(draw, Path(photo["path"] or ""), offer, longest_side, progress)
        except (PhotoError, CheckpointError) as error:
            raise failure(error, request.session_hash, tried) from None

    def draw(path: Path, offer: Offer, longest_side: int, progress: gr.Progress) -> tuple[Any, ...]:
        """What `stylise` returns. The stylizer draws one picture at a time."""
        progress(0.2, desc="Reading the photo")
        original = read_photo(path)
        small = pixels.limit_size(original, longest_side)
        folder = catalog.fetch(offer)
        progress(0.3, desc=f"Drawing {_size(small)} with {offer.record.checkpoint}")
        result = stylizer.stylize(small, folder)
        record = read_record(folder)
        progress(0.9, desc="Saving the picture")
        name = _file_name(path.stem, record)
        anime = save_pil_to_cache(Image.fromarray(result.anime), download.GRADIO_CACHE, name, "png")
        size = _size(small) if small is original else f"{_size(small)}, reduced from {_size(original)}"
        line = f"{size} · {result.seconds:.1f} s · {offer.name} {record.checkpoint} · weights {record.sha256[:12]}"
        if offer.source == HUB:
            line += f" · commit {folder.name[:12]}"
        return (result.photo, anime), anime, html.escape(line)

    with gr.Blocks(title="AnimeGAN laboratory", delete_cache=(KEPT_SECONDS // 4, KEPT_SECONDS)) as demo:
        gr.HTML(
            "<h1>AnimeGAN laboratory</h1><p>Your photo, redrawn by generators from different experiments and moments of "
            "their training. It is sent nowhere else and deleted within two hours.</p>",
            elem_id="title",
        )
        offer = catalog.default()
        missing = _missing(offer)
        with gr.Row():
            with gr.Column(scale=2, min_width=300):
                photo = gr.Image(
                    label="Photo",
                    type="filepath",
                    image_mode=None,
                    sources=["upload", "clipboard", "webcam"],
                    height=360,
                    buttons=["fullscreen"],
                    placeholder="Drop or paste a photo\n- or -\nclick to choose one",
                    elem_id="photo",
                )
                with gr.Column(elem_id="examples"):
                    gr.Examples(EXAMPLES, photo, label="Or try one of these", api_visibility="private")
            with gr.Column(scale=3, min_width=300):
                slider = gr.ImageSlider(
                    label="Photo ⇄ anime",
                    type="numpy",
                    format="png",
                    interactive=False,
                    max_height=440,
                    buttons=["fullscreen"],
                    elem_id="slider",
                )
                with gr.Row(elem_id="result"):
                    facts = gr.HTML(elem_id="facts")
                    download = gr.DownloadButton(
                        "Download PNG", variant="primary", interactive=False, scale=0, min_width=180, elem_id="download"
                    )
        with gr.Row():
            experiment, checkpoint = _choices(catalog, offer)
            longest_side = gr.Radio(
                [(f"{side}", side) for side in LONGEST_SIDES],
                value=DEFAULT_LONGEST_SIDE,
                label="Longest side at most, in pixels",
                min_width=260,
                elem_id="longest-side",
            )
        about = gr.HTML(_about(catalog, offer), elem_id="about")
        with gr.Accordion("Add from the Hub", open=False, visible=_may_add(catalog.hub), elem_id="add"):
            with gr.Row(elem_id="add-row"):
                source = gr.Textbox(
                    placeholder="you, or you/animegan-hayao",
                    label="Name or repo on the Hugging Face Hub",
                    max_lines=1,
                    max_length=200,
                    min_width=260,
                    scale=1,
                    elem_id="source",
                )
                add = gr.Button("Add", scale=0, min_width=180, elem_id="add-source")
        damaged = _damaged(catalog)

        results = [slider, download, facts]
        drawing = gr.on(
            [photo.change, checkpoint.change, longest_side.change],
            stylise,
            [photo, checkpoint, longest_side],
            results,
            preprocess=False,  # Pillow reads the file in `read_photo` alone, whose errors are sentences
            trigger_mode="always_last",
            show_progress_on=slider,
            concurrency_limit=QUEUE_SIZE,  # most may be waiting for a download
            api_name="stylise",
        )
        drawing.success(
            describe, checkpoint, about, preprocess=False, queue=False, show_progress="hidden", api_visibility="private"
        )  # what had to be downloaded is here now
        drawing.failure(lambda: (None, None, ""), None, results, queue=False, api_visibility="private")
        download.change(
            lambda file: gr.DownloadButton(interactive=file is not None),
            download,
            download,
            preprocess=False,
            queue=False,
            show_progress="hidden",
            api_visibility="private",
        )
        experiment.input(
            choose_experiment,
            [experiment, checkpoint],
            checkpoint,
            preprocess=False,
            queue=False,
            api_visibility="private",
        )
        checkpoint.change(describe, checkpoint, about, preprocess=False, queue=False, api_visibility="private")
        gr.on(
            [add.click, source.submit],
            add_source,
            source,
            [source, missing, experiment, checkpoint, damaged],
            preprocess=False,
            show_progress_on=source,
            trigger_mode="once",
            api_visibility="private",
        )
        page = [missing, experiment, checkpoint, about, damaged]
        loading = demo.load(refresh, None, page, queue=False, api_visibility="private")
        loading.then(warm_up, None, None, queue=False, show_progress="hidden", api_visibility="private")
        if catalog.hub:
            asking = loading.then(ask_hub, None, None, queue=False, show_progress="hidden", api_visibility="private")
            asking.then(
                show_found,
                [experiment, checkpoint],
                page,
                preprocess=False,
                queue=False,
                show_progress="hidden",
                api_visibility="private",
            )
    demo.queue(max_size=QUEUE_SIZE, default_concurrency_limit=1)
    return demo


def launch(demo: gr.Blocks, host: str | None = None, port: int | None = None) -> None:
    """Serves the app until it is interrupted or terminated, then removes all temporary files.

    Args:
        host, port: None for Gradio's own, GRADIO_SERVER_NAME and GRADIO_SERVER_PORT or this machine only and from 7860.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a plain termination would leave uploads behind
    _, url, _ = demo.launch(
        server_name=host,
        server_port=port,
        share=False,
        ssr_mode=False,
        max_file_size="50mb",
        footer_links=["api", "settings"],
        theme=_theme(),
        css=CSS,
        quiet=True,
        prevent_thread_lock=True,
    )
    print(f"AnimeGAN laboratory: {url} (Ctrl+C ends it)", flush=True)
    demo.block_thread()


def _theme() -> gr.themes.Base:
    """Fonts of the system only: the page must look the same without a network."""
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
        block_title_background_fill="transparent",
        block_title_background_fill_dark="transparent",
        block_title_text_color="*neutral_600",
        block_title_text_color_dark="*neutral_300",
        block_title_padding="0",
    )


def _choices(catalog: Catalog, offer: Offer | None) -> tuple[gr.Dropdown, gr.Dropdown]:
    """Both dropdowns with everything on offer and `offer` chosen."""
    experiments = catalog.experiments()
    return (
        gr.Dropdown(
            _experiment_choices(experiments),
            value=offer.experiment if offer else None,
            label="Experiment",
            min_width=260,
            elem_id="experiment",
        ),
        gr.Dropdown(
            _checkpoint_choices(experiments.get(offer.experiment, []) if offer else []),
            value=offer.key if offer else None,
            label="Checkpoint",
            min_width=260,
            elem_id="checkpoint",
        ),
    )


def _experiment_choices(experiments: dict[str, list[Offer]]) -> list[tuple[str, str]]:
    return [(f"{offers[0].name} · {SOURCES[offers[0].source]}", key) for key, offers in experiments.items()]


def _checkpoint_choices(offers: list[Offer]) -> list[tuple[str, str]]:
    return [(f"{offer.record.checkpoint} · {offer.record.phase}", offer.key) for offer in reversed(offers)]


def _may_add(hub: HubStore | None) -> bool:
    """Not on a Space with a token: its visitors would list and use what only its owner may see."""
    return hub is not None and not (os.environ.get("SPACE_ID") and os.environ.get("HF_TOKEN"))


def _add_source(hub: HubStore | None, text: str) -> str:
    """Adds a namespace or repo that has a checkpoint, and lists it. Returns its name. Raises ValueError with a sentence."""
    if hub is None or not _may_add(hub):
        raise ValueError("Nothing can be added here.")
    asked = HubStore([text[:200]], hub.cache, hub.list_seconds)  # so that a wrong one leaves nothing behind
    name = asked.sources[0]
    if name not in hub.sources and len(hub.sources) >= MAX_SOURCES:
        raise ValueError(f"The app already looks at {MAX_SOURCES} places on the Hub: restart it to choose others.")
    asked.refresh()
    if not asked.experiments():
        raise ValueError(next(iter(asked.problems()), f"{name} has no checkpoint for this app").removesuffix(CACHED))
    hub.add(name)
    hub.refresh()
    if not any(f"{experiment}/".startswith(f"{name}/") for experiment in hub.experiments()):
        raise ValueError(f"{name} was added, but the Hub is slow: reload the page in a while")
    return name


def _about(catalog: Catalog, offer: Offer | None) -> str:
    """What a checkpoint is, in words, from its record alone; every value escaped, for a record may come from a stranger."""
    if offer is None:
        return ""
    record = offer.record
    data, compute = record.data, record.compute
    rows = {
        "Question": record.question,
        "Taken at": f"epoch {record.epoch}, {record.phase} phase, step {record.step:,}",
        "Data": f"{_count(data.get('photos'))} photos, {_count(data.get('anime'))} anime frames. {data.get('source', '')}",
        "Terms": str(data.get("terms", "")),
        "Compute": f"{_duration(compute.get('seconds'))} on {compute.get('device', 'an unnamed device')}",
        "Generator": f"{record.generator.get('architecture', '')}, {record.files[WEIGHTS]['size'] / 1e6:.1f} MB of weights",
    }
    if record.base:
        changes = [f"{key} {' → '.join(map(str, values))}" for key, values in record.changes.items()]
        rows["Differs"] = f"from {record.base}: {', '.join(changes) or 'in nothing'}"
    if offer.source == HUB:
        try:
            rows["From"] = f"{offer.name} on the Hugging Face Hub, commit {catalog.commit(offer)}"
            missing_bytes = catalog.missing_bytes(offer)
            rows["Download"] = f"{_megabytes(missing_bytes)} to download first" if missing_bytes else ""
        except CheckpointError as error:
            rows["From"] = str(error)
    items = "".join(f"<dt>{name}</dt><dd>{html.escape(text)}</dd>" for name, text in rows.items() if text)
    return f"<h2>{html.escape(offer.name)} {html.escape(record.checkpoint)}</h2><dl>{items}</dl>"


def _missing(offer: Offer | None) -> gr.HTML:
    text = f"There is no checkpoint yet. Train one with <code>{TRAIN}</code>, then reload this page."
    return gr.HTML(f"<p class='notice'>{text}</p>", visible=offer is None)


def _damaged(catalog: Catalog) -> gr.HTML:
    problems = catalog.problems()
    if len(problems) > MAX_NOTICES:
        problems[MAX_NOTICES:] = [f"and {len(problems) - MAX_NOTICES} more"]
    items = "".join(f"<li>{html.escape(problem)}</li>" for problem in problems)
    text = f"<div class='notice'>Not everything can be offered now:<ul>{items}</ul></div>"
    return gr.HTML(text, visible=bool(problems))


def _count(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else "an unknown number of"


def _duration(seconds: Any) -> str:
    if not isinstance(seconds, int | float):
        return "An unknown time"
    minutes = max(1, round(seconds / 60))
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min"


def _megabytes(size: int) -> str:
    return f"{max(size / 1e6, 0.1):.1f} MB"


def _size(image: Any) -> str:
    return f"{image.shape[1]} × {image.shape[0]} px"


def _file_name(photo: str, record: Record) -> str:
    """Tells photo and checkpoint, e.g. "pagoda-fast-hayao-epoch-060"."""
    plain = re.sub(r"[^\w.-]+", "-", photo)[:60]
    return f"{plain}-{record.experiment}-{record.checkpoint}"


def _error(message: object, visible: bool = True) -> gr.Error:
    """Gradio renders messages as HTML, so names from files are escaped."""
    return gr.Error(html.escape(str(message)), duration=ERROR_SECONDS, visible=visible, print_exception=False)
