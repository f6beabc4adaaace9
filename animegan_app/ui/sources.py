"""The last tab: where checkpoints come from, what is here already and what would be downloaded; more of the Hub."""

import html
import os
import re

import gradio as gr

from animegan_app.studio import Studio, megabytes
from animegan_app.ui import components
from animegan_app.ui.i18n import label, say
from hub_export.record import CheckpointError
from hub_export.sentences import ExplainedError, Sentence
from hub_export.store import CACHED, HubStore

SETTING, ANY = "ANIMEGAN_ADD", "*"
MAX_SOURCES = 50
"""How many namespaces and repos a running app accepts from the page, those it was started with included."""
MAX_NOTICES = 20


class Sources:
    """The tab."""

    def __init__(self, studio: Studio):
        self.table = gr.HTML(describe(studio, None), elem_id="listing")
        with gr.Row(elem_id="add-row", visible=may_add(studio.catalog.hub)):
            self.name = gr.Textbox(
                placeholder=label("name_example"),
                label=label("name_or_repo"),
                max_lines=1,
                max_length=200,
                min_width=260,
                scale=1,
                elem_id="source",
            )
            self.add = gr.Button(label("add"), scale=0, min_width=180, elem_id="add-source")


def describe(studio: Studio, request: gr.Request | None) -> str:
    """HTML: every experiment on offer with what is here and what would be downloaded, and what cannot be offered."""
    catalog = studio.catalog
    rows = []
    for offers in catalog.experiments().values():
        missing: list[int] = []
        for offer in offers:
            try:
                missing.append(catalog.missing_bytes(offer))
            except CheckpointError:  # it went while we looked
                continue
        here, size = missing.count(0), sum(missing)
        place = say(offers[0].source, request)
        rows.append((place, offers[0].name, len(missing), here, megabytes(size) if size else "–"))
    head = [say(key, request) for key in ("place", "offers", "checkpoints", "here_already", "would_download")]
    markup = components.table(head, rows)
    if catalog.hub and catalog.hub.sources:
        names = ", ".join(catalog.hub.sources)
        markup += f"<p>{html.escape(say('looks_at', request, names=names))}</p>"
    problems = [say(problem, request) for problem in catalog.problems()]
    if problems:
        shown = problems[:MAX_NOTICES]
        if len(problems) > MAX_NOTICES:
            shown.append(say("more", request, count=len(problems) - MAX_NOTICES))
        items = "".join(f"<li>{html.escape(problem)}</li>" for problem in shown)
        markup += f"<div class='notice'>{say('not_offered', request)}<ul>{items}</ul></div>"
    return markup


def addable() -> list[str] | None:
    """Names and repos that may be added from the page, None for any: `SETTING` or, without it, any but on a Space none.

    On a Space with a token only names count: else its visitors would list and use what its owner alone may see.
    """
    on_space = bool(os.environ.get("SPACE_ID"))
    names = re.split(r"[,\s]+", os.environ.get(SETTING, "" if on_space else ANY).strip(", \n"))
    if ANY in names and not (on_space and os.environ.get("HF_TOKEN")):
        return None
    return [name for name in names if name not in ("", ANY)]


def may_add(hub: HubStore | None) -> bool:
    """Whether anything may be added from the page."""
    return hub is not None and addable() != []


def add(hub: HubStore | None, text: str) -> str:
    """Adds a namespace or repo that has a checkpoint, and lists it. Returns its name. Raises ExplainedError."""
    if hub is None or not may_add(hub):
        raise ExplainedError("Nothing can be added here.")
    asked = HubStore([text[:200]], hub.cache, hub.list_seconds)  # so that a wrong one leaves nothing behind
    name, names = asked.sources[0], addable()
    if names is not None and not {name, name.partition("/")[0]} & set(names):
        raise ExplainedError("{name} may not be added here, only: {names}", name=name, names=", ".join(names))
    if name not in hub.sources and len(hub.sources) >= MAX_SOURCES:
        full = "The app already looks at {most} places on the Hub: restart it to choose others."
        raise ExplainedError(full, most=MAX_SOURCES)
    asked.refresh()
    if not asked.experiments():
        problem = next(iter(asked.problems()), Sentence("{name} has no checkpoint for this app", name=name))
        raise ExplainedError(Sentence.of(problem.values["problem"]) if problem.english == CACHED else problem)
    hub.add(name)
    hub.refresh()
    if not any(f"{experiment}/".startswith(f"{name}/") for experiment in hub.experiments()):
        raise ExplainedError("{name} was added, but the Hub is slow: reload the page in a while", name=name)
    return name
