"""What records and histories tell: loss curves, the style-content plane, and what differs between two experiments.

Figures are Plotly's JSON (https://plotly.com/javascript/reference): the page carries plotly.js, so Python needs no Plotly.
Names of terms may come from a stranger, and Plotly reads some HTML in texts, so they are escaped.
"""

import html
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from animegan_app.catalog import Offer
from hub_export.checkpoint import read_history
from hub_export.metrics import measurements, yardsticks
from hub_export.record import HISTORY, CheckpointError, Record

MAX_POINTS = 400
"""Points of a curve; a longer one is shown by the means of so many equal parts."""
MAX_TERMS = 100
"""Terms of a history that are read; a run has some twenty."""
MEASURED = "eval_"
"""How the terms begin that `train.evaluate` measured."""
COLOURS = ("#0d9488", "#d97706", "#7c3aed", "#dc2626", "#2563eb", "#65a30d", "#db2777", "#57534e")
"""One for each experiment, then the same again in the next of MARKS; readable on light and on dark paper."""
MARKS = (("circle", "solid"), ("diamond", "dash"), ("square", "dashdot"))
"""Symbols of points and dashes of lines."""
GRAY, FAINT = "#8a8580", "rgba(138, 133, 128, 0.3)"
CHART_HEIGHT, PLANE_HEIGHT, HEAD = 200, 480, 50
"""In pixels; the head holds the legend."""
LEGEND_ROW, LEGEND_COLUMNS = 19, 2
"""A row's pixels, and how many columns of long names fit a wide page; what the plane grows by."""
MAX_SETTING = 200
"""Characters of a setting's value that are shown."""
PLACE = {"step", "steps", "epoch", "phase"}
"""Parts of a history's row that say where it is."""
ABOUT = {"name", "question", "base", "cost", "look"}
"""Parts of a configuration that say which experiment it is and what it is called: no settings."""

Term = tuple[np.ndarray, np.ndarray]
"""Steps and values, both (n,) float64, by step."""
Figure = dict[str, Any]


@dataclass(frozen=True)
class Curves:
    """The course of an experiment in numbers.

    Args:
        terms: by name, e.g. "content", or "eval_style" for what was measured.
        warmup: the last step of the warm-up, 0 without one.
    """

    terms: dict[str, Term]
    warmup: int


def read_curves(folder: Path) -> Curves:
    """The curves up to a checkpoint or, where it lies in a run's folder, up to the last step that the run has logged.

    Raises:
        CheckpointError: the history is missing, damaged or too large.
    """
    try:
        return read_run(folder.parent)
    except CheckpointError:  # no run, or one that is just being written
        return _read(folder, _version(folder))


def read_run(folder: Path) -> Curves:
    """The curves up to the last step that a run, in its own folder, has logged. Raises CheckpointError as `read_curves`."""
    return _read(folder, _version(folder))


def with_measured(curves: Curves, records: Iterable[Record]) -> Curves:
    """The curves with what the checkpoints' own records say was measured, which may be more recent than the history."""
    series: dict[str, dict[float, float]] = {}
    for record in records:
        for name, measured in measurements(record.metrics).items():
            series.setdefault(MEASURED + name, {})[record.step] = measured.value
    terms = dict(curves.terms)
    for name, values in list(series.items())[:MAX_TERMS]:
        logged = np.stack(terms[name], axis=1).tolist() if name in terms else []
        terms[name] = _term(sorted((dict(logged) | values).items()))
    return Curves(terms, curves.warmup)


def smoothed(values: np.ndarray, reach: int) -> np.ndarray:
    """Mean of each of (n,) values with up to `reach` neighbours on either side."""
    sums, places = np.concatenate([[0.0], np.cumsum(values)]), np.arange(len(values))
    first, end = np.maximum(places - reach, 0), np.minimum(places + reach + 1, len(values))
    return (sums[end] - sums[first]) / (end - first)


def loss_figure(
    curves: Mapping[str, Curves], terms: Sequence[str], logarithmic: bool, reach: int = 0, step: str = "step"
) -> Figure:
    """A chart for each term, one above the other, with the curves of all experiments over each other.

    Args:
        curves: by the experiment's name.
        logarithmic: the scale of the values; those that are not above 0 then have no place.
        reach: how far loss terms are smoothed, see `smoothed`; what was measured is shown as points, as it is.
        step: the title of the axis of steps.
    """
    data, shapes, titles = [], [], []
    height = HEAD + CHART_HEIGHT * len(terms)
    layout = _layout(height, legend=1 + HEAD / height)  # above the first chart's title
    layout["xaxis"] |= {"title": {"text": step}, "anchor": f"y{len(terms)}"}
    for number, term in enumerate(terms, 1):
        top, bottom = 1 - (number - 1) / len(terms), 1 - number / len(terms)
        gap = 0.15 / len(terms)
        layout[f"yaxis{number}"] = layout["yaxis"] | {
            "type": "log" if logarithmic else "linear",
            "nticks": 3 if logarithmic else 5,  # so that a decade has at most its 1, 2 and 5
            "tickformat": "~g",  # 20 and not a small 2, which Plotly has between decades
            "domain": [bottom + gap * (number < len(terms)), top - gap / 2],
        }
        titles.append(
            _note(html.escape(term), x=0, y=top - gap / 2, xanchor="left", yanchor="bottom", xref="paper", yref="paper")
        )
        for place, (name, course) in enumerate(curves.items()):
            colour, (_, dash) = _look(place)
            if course.warmup:
                line = {"color": colour, "width": 1, "dash": "dot"}
                shapes.append({"type": "line", "x0": course.warmup, "x1": course.warmup, "y0": 0, "y1": 1, "line": line})
                shapes[-1] |= {"xref": "x", "yref": f"y{number} domain", "opacity": 0.6}
            if term in course.terms:
                steps, values = course.terms[term]
                measured = term.startswith(MEASURED)
                data.append(
                    {
                        "type": "scatter",
                        "mode": "lines+markers" if measured or len(steps) == 1 else "lines",
                        "x": steps.tolist(),
                        "y": (values if measured else smoothed(values, reach)).tolist(),
                        "yaxis": f"y{number}",
                        "name": html.escape(name),
                        "legendgroup": name,
                        "line": {"color": colour, "width": 1.6, "dash": dash},
                        "hovertemplate": f"%{{y:.4g}} · {step} %{{x:,.0f}}",
                    }
                )
    shown: set[str] = set()
    for trace in data:
        trace["showlegend"] = trace["name"] not in shown
        shown.add(trace["name"])
    del layout["yaxis"]
    return _figure(data, layout | {"shapes": shapes, "annotations": titles})


def plane_figure(experiments: Mapping[str, Sequence[Offer]], words: Mapping[str, str]) -> Figure:
    """Style distance over content distance: a point for each measured checkpoint, whose customdata is its key.

    Both are `yardsticks` of all that is shown. Photos themselves and anime itself, the ends of the scale, are shown where
    a record has them.

    Args:
        experiments: offers in training order by the experiment's name.
        words: titles of the axes by the names of `yardsticks`, and of the ends, "photos" and "anime"; what a "point"
            shows, in Plotly's template language; names of phases.
    """
    style, content = yardsticks(offer.record for offers in experiments.values() for offer in offers)
    data: list[Figure] = []
    layout = _layout(PLANE_HEIGHT)
    layout["xaxis"] |= {"title": {"text": words[content]}, "rangemode": "tozero"}
    layout["yaxis"] |= {"title": {"text": words[style]}}
    photos: dict[float, None] = {}
    anime: dict[float, None] = {}
    for place, (name, offers) in enumerate(experiments.items()):
        measured = [offer for offer in offers if {style, content} <= offer.record.metrics.keys()]
        if measured:
            colour, (shape, _) = _look(place)
            data.append(_course(name, measured, (style, content), colour, shape, words))
        for figure in (measurements(offer.record.metrics)[style] for offer in measured):
            for distances, end in ((photos, figure.photos), (anime, figure.anime)):
                distances |= dict.fromkeys([end.value] if end else [])
    if photos:
        data.append(
            {
                "type": "scatter",
                "mode": "markers+text",
                "x": [0] * len(photos),
                "y": list(photos),
                "text": [words["photos"]] * len(photos),
                "textposition": "middle right",
                "marker": {"size": 12, "color": GRAY, "symbol": "star"},
                "hovertemplate": "%{text}: %{y:.3g}<extra></extra>",
                "showlegend": False,
                "cliponaxis": False,
            }
        )
    layout["height"] += LEGEND_ROW * (sum(trace.get("showlegend", True) for trace in data) // LEGEND_COLUMNS)
    line = {"color": GRAY, "width": 1.5, "dash": "dash"}
    layout["shapes"] = [{"xref": "paper", "x0": 0, "x1": 1, "y0": style, "y1": style, "line": line} for style in anime]
    layout["annotations"] = [
        _note(words["anime"], x=1, y=style, xref="paper", xanchor="right", yanchor="bottom") for style in anime
    ]
    return _figure(data, layout)


def _look(place: int) -> tuple[str, tuple[str, str]]:
    """Colour and mark of the experiment at this place; they come round again after the last."""
    return COLOURS[place % len(COLOURS)], MARKS[place // len(COLOURS) % len(MARKS)]


def _course(
    name: str, offers: Sequence[Offer], distances: tuple[str, str], colour: str, shape: str, words: Mapping[str, str]
) -> Figure:
    """The way of one experiment's measured checkpoints over the plane."""
    (style, content), records = distances, [offer.record for offer in offers]
    errors = [measurements(record.metrics)[style].error or 0 for record in records]
    symbols = [f"{shape}-open" if record.phase == "warm-up" else shape for record in records]
    return {
        "type": "scatter",
        "mode": "lines+markers",
        "x": [record.metrics[content] for record in records],
        "y": [record.metrics[style] for record in records],
        "error_y": {"type": "data", "array": errors, "color": FAINT, "thickness": 1},
        "name": html.escape(name),
        "line": {"color": colour, "width": 1},
        "marker": {"size": 12, "color": colour, "symbol": symbols},
        "text": [html.escape(f"{record.checkpoint} · {words.get(record.phase, record.phase)}") for record in records],
        "customdata": [offer.key for offer in offers],
        "hovertemplate": f"%{{text}}<br>{words['point']}",
    }


def scales(experiments: Mapping[str, Sequence[Offer]]) -> list[dict[str, list[str]]]:
    """How the offers were measured: for each scale, the experiments' names by the sentence that tells it.

    Where its ends lie tells one scale from another; only figures of one may be compared.
    """
    by_ends: dict[tuple[float | None, ...], dict[str, list[str]]] = {}
    for name, offers in experiments.items():
        for record in (offer.record for offer in offers if "style" in offer.record.metrics):
            style = measurements(record.metrics)["style"]
            ends = tuple(end.value if end else None for end in (style.photos, style.anime))
            names = by_ends.setdefault(ends, {}).setdefault(str(record.data.get("measured", "")), [])
            names += [name] * (name not in names)
    return list(by_ends.values())


def differences(first: Record, second: Record) -> list[tuple[str, str, str]]:
    """The settings in which two experiments differ: (name, the first's value, the second's), "" where one has none such."""
    one, other = (
        _settings({name: value for name, value in record.config.items() if name not in ABOUT}) for record in (first, second)
    )
    names = sorted(one.keys() | other.keys())
    return [(name, one.get(name, ""), other.get(name, "")) for name in names if one.get(name) != other.get(name)]


def _settings(config: Mapping[str, Any]) -> dict[str, str]:
    """{"loss": {"style_weight": 3.0}} -> {"loss.style_weight": "3.0"}"""
    settings: dict[str, str] = {}
    pending = [("", config)]
    while pending:
        prefix, section = pending.pop()
        for name, value in section.items():
            if isinstance(value, Mapping):
                pending.append((f"{prefix}{name}.", value))
            else:
                text = value if isinstance(value, str) else json.dumps(value)
                settings[prefix + name] = text if len(text) <= MAX_SETTING else f"{text[:MAX_SETTING]}…"
    return settings


def _version(folder: Path) -> tuple[int, int]:
    """Changes when the history does."""
    try:
        status = (folder / HISTORY).stat()
    except OSError:
        return 0, 0
    return status.st_mtime_ns, status.st_size


@lru_cache(maxsize=32)
def _read(folder: Path, version: tuple[int, int]) -> Curves:
    rows = sorted(read_history(folder), key=lambda row: row["step"])
    names = dict.fromkeys(name for row in rows for name in row if name not in PLACE and not name.startswith("share_"))
    terms = {}
    for name in list(names)[:MAX_TERMS]:
        points = [(row["step"], row[name]) for row in rows if isinstance(row.get(name), int | float)]
        if points:
            terms[name] = _term(points)
    return Curves(terms, max((row["step"] for row in rows if row.get("phase") == "warm-up"), default=0))


def _term(points: Sequence[tuple[float, float]]) -> Term:
    values = np.asarray(points, np.float64)
    if len(values) > MAX_POINTS:
        bounds = np.linspace(0, len(values), MAX_POINTS + 1).astype(int)
        values = np.add.reduceat(values, bounds[:-1], axis=0) / np.diff(bounds)[:, np.newaxis]
    return values[:, 0], values[:, 1]


def _layout(height: int, legend: float = 1.0) -> Figure:
    """Transparent, with the page's own font; the colours of text and lines are CSS, which knows light from dark."""
    axis: Figure = {"gridcolor": FAINT, "zerolinecolor": FAINT, "linecolor": FAINT, "automargin": True}
    return {
        "height": height,
        "margin": {"l": 56, "r": 12, "t": 36, "b": 44},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"family": "system-ui, sans-serif", "color": GRAY},
        "hoverlabel": {"namelength": -1},
        "dragmode": False,  # a finger scrolls the page; the zoom is a button
        "modebar": {"bgcolor": "rgba(0,0,0,0)"},
        "legend": {"orientation": "h", "x": 0, "y": legend, "yanchor": "bottom"},
        "xaxis": dict(axis),
        "yaxis": dict(axis),
    }


def _note(text: str, **place: Any) -> Figure:
    return {"text": text, "showarrow": False, "font": {"size": 13}} | place


def _figure(data: list[Figure], layout: Figure) -> Figure:
    buttons = ["select2d", "lasso2d", "zoomIn2d", "zoomOut2d", "autoScale2d"]
    return {"data": data, "layout": layout, "config": {"displaylogo": False, "modeBarButtonsToRemove": buttons}}
