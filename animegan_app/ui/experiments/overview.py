"""All experiments: a card for each with a picture, its question and how far it came, and below them a table of figures."""

from functools import lru_cache
from pathlib import Path
from typing import Any

import gradio as gr

from animegan_app.catalog import Catalog, Offer
from animegan_app.photos import PhotoError, read_photo
from animegan_app.ui import components
from animegan_app.ui.i18n import device, recorded, say
from animegan_app.ui.looks import titles
from animegan_app.ui.stylize import duration
from animegan_app.writing import encoded
from hub_export.metrics import measurements, yardsticks
from hub_export.record import SAMPLES, CheckpointError, Record

MAX_CARDS, MAX_QUESTION = 60, 160
HIDDEN = {"question", "place", "phase", "generator", "device"}
"""Columns that are shown when they are asked for."""
WORDS = (
    "draw_with",
    "open_it",
    "search",
    "columns",
    "download_csv",
    "download_json",
    "nothing_found",
    "all_experiments",
    "what",
)
"""Keys of what the page says by itself."""

TEMPLATE = """
<div class="cards" role="list"></div>
<div class="tools" hidden><input type="search"><details><summary></summary><div></div></details><button class="csv"></button>
<button class="json"></button></div>
<div class="rows" role="region" tabindex="0"></div>
<div class="hint" popover></div>
"""

SHOW = """
const find = (name) => element.querySelector(name);
const make = (tag, properties, ...children) => {
    const node = Object.assign(document.createElement(tag), properties);
    node.append(...children);
    return node;
};
const cards = find(".cards"), rows = find(".rows"), hint = find(".hint"), search = find("input[type=search]");
const choice = find("details div");
let sorted = { by: -1, down: false }, hidden = null, known = "";

const act = (key, what) => trigger("click", { key, what });
const card = ({ key, name, detail, picture, question, verdict }) => {
    const { words } = props.value;
    const draw = make("button", { textContent: words.draw_with, ariaLabel: `${words.draw_with}: ${name}` });
    const open = make("button", { textContent: words.open_it, ariaLabel: `${words.open_it}: ${name}` });
    draw.onclick = () => act(key, "draw");
    open.onclick = () => act(key, "open");
    const frame = make("div", { className: "frame" });
    if (picture) frame.append(make("img", { src: picture, alt: "", loading: "lazy", width: 512, height: 256 }));
    const text = make("div", {}, make("h3", { textContent: name }), make("small", { textContent: detail }));
    text.append(make("p", { textContent: question }), make("p", { className: "verdict", textContent: verdict }));
    const node = make("article", {}, frame, text, make("footer", {}, draw, open));
    node.setAttribute("role", "listitem");
    return node;
};
const explain = (mark, text) => {
    hint.textContent = text;
    hint.showPopover();
    const at = mark.getBoundingClientRect(), room = hint.getBoundingClientRect();
    hint.style.left = `${Math.max(8, Math.min(at.left, innerWidth - room.width - 8))}px`;
    hint.style.top = `${at.bottom + room.height + 8 > innerHeight ? at.top - room.height - 4 : at.bottom + 4}px`;
};
const head = ({ title, about }, index) => {
    const arrow = sorted.by === index ? (sorted.down ? " ▼" : " ▲") : "";
    const sort = make("button", { className: "sort", textContent: title + arrow });
    sort.onclick = () => {
        sorted = { by: index, down: sorted.by === index && !sorted.down };
        table();
        rows.querySelectorAll(".sort")[shown().indexOf(index)].focus();
    };
    const cell = make("th", { scope: "col" }, sort);
    cell.ariaSort = sorted.by === index ? (sorted.down ? "descending" : "ascending") : "none";
    if (about) {
        const mark = make("button", { className: "mark", textContent: "i", title: about });
        mark.ariaLabel = `${props.value.words.what} ${title}: ${about}`;
        mark.onclick = () => explain(mark, about);
        cell.append(mark);
    }
    return cell;
};
const shown = () => props.value.columns.map((_, index) => index).filter((index) => !hidden.has(index));
const found = () => {
    const asked = search.value.trim().toLowerCase();
    const lines = props.value.rows.filter(({ cells }) => cells.some((cell) => cell.toLowerCase().includes(asked)));
    if (sorted.by < 0) return lines;
    const way = sorted.down ? -1 : 1, value = ({ values }) => values[sorted.by];
    const order = (one, other) => (typeof one === "number" ? one - other : one.localeCompare(other));
    return lines.sort((one, other) => (value(one) === null) - (value(other) === null) ||
        (value(one) === null ? 0 : way * order(value(one), value(other))));
};
const table = () => {
    const { columns, words } = props.value, lines = found();
    const body = lines.map(({ key, cells }) => {
        const name = make("button", { textContent: cells[0], ariaLabel: `${words.open_it}: ${cells[0]}` });
        const others = shown().slice(1).map((index) => (
            make("td", { textContent: cells[index], className: columns[index].number ? "number" : "" })
        ));
        const line = make("tr", {}, make("th", { scope: "row" }, name), ...others);
        line.onclick = () => act(key, "open");
        return line;
    });
    const heads = make("tr", {}, ...shown().map((index) => head(columns[index], index)));
    rows.replaceChildren(make("table", {}, make("thead", {}, heads), make("tbody", {}, ...body)));
    if (!lines.length) rows.append(make("p", { textContent: words.nothing_found }));
};
const choose = () => {
    choice.replaceChildren(...props.value.columns.slice(1).map(({ title }, index) => {
        const box = make("input", { type: "checkbox", checked: !hidden.has(index + 1) });
        box.onchange = () => {
            if (box.checked) hidden.delete(index + 1);
            else hidden.add(index + 1);
            table();
        };
        return make("label", {}, box, title);
    }));
};
const save = (text, name, type) => {
    const link = make("a", { href: URL.createObjectURL(new Blob([text], { type })), download: name });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
};
find(".csv").onclick = () => {
    const data = found().map((row) => row.data), names = [...new Set(data.flatMap(Object.keys))];
    save(csv([names, ...data.map((each) => names.map((name) => each[name]))]), "experiments.csv", "text/csv");
};
find(".json").onclick = () => {
    save(JSON.stringify(found().map((row) => row.data), null, 1), "experiments.json", "application/json");
};
const show = () => {
    const value = props.value, text = JSON.stringify(value);
    if (!value || text === known) return;
    known = text;
    element.querySelector(".tools").hidden = false;
    const { words, columns } = value;
    hidden ??= new Set(columns.flatMap(({ hidden: away }, index) => (away ? [index] : [])));
    cards.replaceChildren(...value.cards.map(card));
    Object.assign(search, { placeholder: words.search, ariaLabel: words.search });
    find("summary").textContent = words.columns;
    find(".csv").textContent = words.download_csv;
    find(".json").textContent = words.download_json;
    rows.ariaLabel = words.all_experiments;
    choose();
    table();
};
search.oninput = table;
document.addEventListener("click", ({ target }) => {
    if (!find("details").contains(target)) find("details").open = false;
});
rows.addEventListener("keydown", (event) => {
    const step = { ArrowUp: -1, ArrowDown: 1 }[event.key], line = event.target.closest("tbody tr");
    if (!step || !line) return;
    event.preventDefault();
    (step > 0 ? line.nextElementSibling : line.previousElementSibling)?.querySelector("button").focus();
});
watch("value", show);
show();
"""

STYLE = """
#overview { min-height: 600px; color: var(--body-text-color); }
#overview .cards { display: grid; grid-template-columns: repeat(auto-fill, minmax(250px, 1fr)); gap: .8rem;
                   max-height: 1230px; overflow-y: auto; padding: 3px; }
#overview article { display: flex; flex-direction: column; border: 1px solid var(--border-color-primary); overflow: hidden;
                    border-radius: 12px; background: var(--background-fill-primary); }
#overview .frame { aspect-ratio: 2; background: var(--background-fill-secondary); }
#overview .frame img { width: 100%; height: 100%; object-fit: cover; margin: 0; }
#overview article > div:not(.frame) { padding: .6rem .8rem 0; flex: 1; overflow-wrap: anywhere; }
#overview h3 { margin: 0; font-size: 1rem; font-weight: 600; }
#overview small { color: var(--body-text-color-subdued); font-size: .78rem; }
#overview :is(button, summary) { margin: 0; line-height: 1.4; }
#overview article p { margin: .35rem 0 0; font-size: .88rem; line-height: 1.4; }
#overview .verdict { color: var(--body-text-color-subdued); }
#overview footer { display: flex; gap: .4rem; padding: .7rem .8rem; }
#overview footer button, #overview .tools button, #overview summary { padding: .3rem .7rem; min-height: 2.1rem;
    font-size: .85rem; border: 1px solid var(--border-color-primary); border-radius: 8px; cursor: pointer;
    background: var(--background-fill-secondary); }
#overview footer button:first-child { background: var(--button-primary-background-fill); border-color: transparent;
                                      color: var(--button-primary-text-color); }
#overview .tools[hidden] { display: none; }
#overview .tools { display: flex; flex-wrap: wrap; gap: .5rem; align-items: start; margin: 1rem 0 .4rem; }
#overview [type=search] { flex: 1 1 12rem; min-height: 2.1rem; padding: .3rem .7rem; border-radius: 8px; color: inherit;
                          border: 1px solid var(--border-color-primary); background: var(--background-fill-primary); }
#overview details { position: relative; }
#overview summary { list-style: none; display: block; }
#overview details div { position: absolute; z-index: 5; right: 0; padding: .5rem .8rem; border-radius: 8px; min-width: 14rem;
    background: var(--background-fill-primary); border: 1px solid var(--border-color-primary);
    box-shadow: var(--shadow-drop-lg); }
#overview label { display: flex; gap: .5rem; align-items: center; min-height: 1.9rem; font-size: .88rem; }
#overview label input { appearance: auto; width: 1.1rem; height: 1.1rem; accent-color: var(--color-accent); }
#overview .rows { overflow: auto; max-height: 430px; }
#overview table { border-collapse: separate; border-spacing: 0; border: 0; margin: 0; min-width: 100%; font-size: .88rem; }
#overview :is(th, td) { padding: .25rem .9rem .25rem 0 !important; border: 0 !important; text-align: left; font-weight: 400;
    border-bottom: 1px solid var(--border-color-primary) !important; background: var(--body-background-fill);
    vertical-align: middle; }
#overview td { max-width: 22rem; }
#overview .number { white-space: nowrap; font-variant-numeric: tabular-nums; }
#overview thead th { position: sticky; top: 0; z-index: 1; white-space: nowrap; color: var(--body-text-color-subdued); }
#overview tbody tr { cursor: pointer; }
#overview tbody tr:hover :is(th, td) { background: var(--background-fill-secondary); }
#overview tbody th { white-space: nowrap; }
#overview tbody button { font-weight: 600; min-width: 2rem; text-align: left; min-height: 1.9rem; }
#overview .sort { min-height: 1.75rem; color: inherit; }
#overview .mark { width: 1.6rem; height: 1.6rem; margin-left: .3rem; border-radius: 50%; font: italic 600 .8rem serif;
                  border: 1px solid var(--border-color-primary); }
#overview .hint { position: fixed; inset: auto; margin: 0; max-width: min(22rem, 92vw); padding: .6rem .8rem;
    border-radius: 8px; font-size: .88rem; color: var(--body-text-color); background: var(--background-fill-primary);
    border: 1px solid var(--border-color-primary); box-shadow: var(--shadow-drop-lg); }
@media (max-width: 640px) {
  #overview .cards { grid-auto-flow: column; grid-template-columns: none; grid-auto-columns: 78%; overflow-x: auto;
                     max-height: none; scroll-snap-type: x proximity; }
  #overview article { scroll-snap-align: start; }
  #overview details div { left: 0; right: auto; }
}
"""


def overview(catalog: Catalog, request: gr.Request) -> dict[str, Any]:
    """What the page shows: cards, the columns and rows of the table, and words. Only while an event is answered."""
    experiments = catalog.experiments()
    style, content = yardsticks(offer.record for offers in experiments.values() for offer in offers)
    names = {offers[0].name for offers in experiments.values()}
    return {
        "cards": [_card(catalog, offers, request) for offers in list(experiments.values())[:MAX_CARDS]],
        "columns": _columns(style, content, len(names) == len(experiments), request),
        "rows": [_row(catalog, offers, style, content, request) for offers in experiments.values()],
        "words": {key: say(key, request) for key in WORDS},
    }


def _card(catalog: Catalog, offers: list[Offer], request: gr.Request) -> dict[str, Any]:
    offer = catalog.first(offers)
    name, detail = titles(offer, request)
    return {
        "key": offer.key,
        "name": name,
        "detail": detail,
        "picture": _picture(catalog, offer),
        "question": _question(offer.record, request),
        "verdict": verdict(offer.record, request),
    }


def verdict(record: Record, request: gr.Request | None) -> str:
    """How far a checkpoint came from photos to anime, in a sentence.

    That is its style distance on the scale between those two, in the independent network where that was measured.
    """
    figures = measurements(record.metrics)
    figure = figures.get("independent_style") or figures.get("style")
    if figure is None:
        return say("verdict_unmeasured", request)
    if not figure.photos or not figure.anime or figure.photos.value <= figure.anime.value:
        return say("verdict_unscaled", request, figure=figure)
    percent = 100 / (figure.photos.value - figure.anime.value)
    way, error = percent * (figure.photos.value - figure.value), percent * (figure.error or 0)
    if abs(way) <= 2 * error:
        return say("verdict_photo", request, bound=f"{max(0.0, way + 2 * error):.0f}")
    estimate = f"{abs(way):.0f} ± {error:.0f}" if error else f"{abs(way):.0f}"
    return say("verdict_way" if way > 0 else "verdict_farther", request, way=estimate)


def _columns(style: str, content: str, named_apart: bool, request: gr.Request) -> list[dict[str, Any]]:
    """Where two experiments have one name, the place that parts them is shown unasked."""
    hidden = HIDDEN if named_apart else HIDDEN - {"place"}
    keys = ("experiment", "question", "place", style, content, "best", "steps", "phase", "generator", "compute", "device")
    about = {key: say(f"about_{key}", request) for key in (style, content, "best", "steps", "compute")}
    numbers = {style, content, "steps", "compute"}
    return [
        {"title": say(key, request), "about": about.get(key), "hidden": key in hidden, "number": key in numbers}
        for key in keys
    ]


def _row(catalog: Catalog, offers: list[Offer], style: str, content: str, request: gr.Request) -> dict[str, Any]:
    """An experiment as its newest checkpoint tells it, with the figures of the best one that was measured."""
    newest, offer = offers[-1].record, offers[-1]
    measured = [each.record for each in offers if style in each.record.metrics]
    best = min(measured, key=lambda record: record.metrics[style], default=None)
    figures = measurements(best.metrics) if best else {}
    compute, generator = newest.compute, newest.generator
    pairs: list[tuple[str, Any]] = [
        (offer.name, offer.name),
        (_question(newest, request), newest.question),
        (say(offer.source, request), offer.source),
        *((str(figures.get(name, "–")), figures[name].value if name in figures else None) for name in (style, content)),
        (best.checkpoint if best else "", best.step if best else None),
        (f"{newest.step:,}", newest.step),
        (components.phase(newest, request), newest.phase),
        (f"{generator['architecture']}, {generator['channels']}", generator["architecture"]),
        (duration(compute["seconds"], request), compute["seconds"]),
        (say(device(compute["device"]), request), compute["device"]),
    ]
    data = {
        "experiment": offer.name,
        "place": offer.source,
        "question": newest.question,
        "checkpoint": newest.checkpoint,
        "step": newest.step,
        "phase": newest.phase,
        "architecture": generator["architecture"],
        "channels": generator["channels"],
        "seconds": compute["seconds"],
        "device": compute["device"],
        "measured": best.checkpoint if best else None,
        **(best.metrics if best else {}),
    }
    cells, values = zip(*pairs, strict=True)
    return {"key": catalog.first(offers).key, "cells": cells, "values": values, "data": data}


def _question(record: Record, request: gr.Request) -> str:
    text = say(recorded(record.question), request)
    return text if len(text) <= MAX_QUESTION else f"{text[:MAX_QUESTION]}…"


def _picture(catalog: Catalog, offer: Offer) -> str | None:
    """Where the page finds two of the offer's drawings; None where its samples are not here, or cannot be read."""
    try:
        if catalog.missing_bytes(offer):
            return None
        content = _crop(catalog.file(offer, SAMPLES), offer.record.files[SAMPLES]["sha256"])
    except (CheckpointError, PhotoError):
        return None
    return components.address(components.keep(content, f"{offer.record.experiment}-{offer.record.checkpoint}-card.jpg"))


@lru_cache(maxsize=64)
def _crop(path: Path, sha256: str) -> bytes:
    """The two drawings in the middle of a grid of samples, which has them below their photos, as JPEG."""
    samples = read_photo(path)
    height, width = samples.shape[:2]
    side = max(1, height // 2)
    left = max(0, (width // side - 1) // 2) * side
    return encoded(samples[height // 2 :, left : left + 2 * side], ".jpg")
