"""The report of the laboratory: plots, pictures and tables of finished, measured runs, put into docs/experiments.md.

    python -m benchmarks.report runs/repro-*-laptop                              photos: the app's own examples
    python -m benchmarks.report runs/repro-*-laptop --photos DIR --course repro-4-laptop

Writes the pictures into docs/experiments/ and the tables between two markers in docs/experiments.md; the words around them
stay. A run keeps its colour in all plots, in the order of the command line.
"""

import argparse
import io
import shlex
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter
from PIL import Image

from animegan_app.catalog import Offer
from animegan_app.charts import MEASURED, Curves, read_curves, scales, smoothed, with_measured
from animegan_app.contact_sheet import Labelled, evenly, sheet
from animegan_app.stylize import Stylizer, read_photo
from hub_export import pixels
from hub_export.files import write_aside
from hub_export.folder import find_checkpoints
from hub_export.metrics import Figure as Measured
from hub_export.metrics import measurements
from hub_export.record import CheckpointError, Record, read_record
from train.configuration import RENAMED, flat_settings, from_dict
from train.evaluate import compared_with
from train.experiments import EXPERIMENTS

BEGIN, END = "<!-- begin: written by benchmarks.report -->", "<!-- end: written by benchmarks.report -->"
EXAMPLES = Path("animegan_app/examples")
PHOTO_SIDE, MAX_PHOTOS, MAX_COURSE = 512, 3, 12
"""Longest side of a drawn photo, as `train.evaluate` measures; how many photos and how many checkpoints of a course."""
WIDTH, DPI = 8.3, 200
"""Inches and dots an inch: README's width at twice its pixels."""
NOT_LOSSES = ("seconds", "data_wait", "host_wait")
REACH = 5
"""Rows of the history on either side over which curves are smoothed."""
MAX_SETTINGS, MAX_ON_SHEET = 5, 3
"""More changed settings are only counted, in a table and below a picture."""


@dataclass(frozen=True)
class Run:
    """A finished run: its folder, its checkpoints and their records in training order, its curves."""

    folder: Path
    checkpoints: list[Path]
    records: list[Record]
    curves: Curves

    @property
    def name(self) -> str:
        return self.last.experiment

    @property
    def last(self) -> Record:
        return self.records[-1]


def read_run(folder: Path) -> Run:
    """Opens a run. Raises ValueError, CheckpointError among them, with the command to run where something is missing."""
    train = f"python -m train.run {folder.name} --data DIR"
    try:
        checkpoints = find_checkpoints(folder)
        curves = read_curves(checkpoints[-1])
    except ValueError as error:
        raise ValueError(f"{error}; {folder.name} is trained by `{train}`") from None
    if not any(_is_loss(name) for name in curves.terms):
        raise ValueError(f"{folder}: its history holds no losses; {folder.name} is trained by `{train}`")
    records = [read_record(path) for path in checkpoints]
    for record in records:
        figures = measurements(record.metrics)
        if not {"style", "content"} <= figures.keys() or figures["style"].error is None:
            raise ValueError(
                f"{folder}/{record.checkpoint} is not measured: run `python -m train.evaluate {folder} --data DIR` first"
            )
    return Run(folder, checkpoints, records, with_measured(curves, records))


def read_runs(folders: Sequence[Path]) -> list[Run]:
    """Opens runs that may be compared. Raises ValueError also if two have one name, or were measured on two scales."""
    runs = [read_run(folder) for folder in folders]
    names = [run.name for run in runs]
    if len(set(names)) < len(names):
        raise ValueError(f"two of the runs have one name: give each of {', '.join(sorted(set(names)))} once")
    groups = scales({run.name: [Offer("runs", run.name, record) for record in run.records] for run in runs})
    if len(groups) > 1:
        raise ValueError(
            f"the runs were measured on {len(groups)} scales, whose figures cannot be compared: measure all of them again, "
            f"`python -m train.evaluate {' '.join(str(run.folder) for run in runs)} --data DIR`"
        )
    return runs


# --- words and tables ------------------------------------------------------------------------------------------------


def command(record: Record) -> str:
    """What trains the run again: its experiment's name or, where settings were changed, its base and the settings.

    Raises:
        ValueError: neither is known to this version.
    """
    own = from_dict(record.config)
    start = EXPERIMENTS.get(own.name) or EXPERIMENTS.get(own.base or "")
    if start is None:
        raise ValueError(f"{record.experiment}: neither {own.name} nor {own.base} is an experiment of this version")
    known = flat_settings(start)
    changed = [f"{key}={value}" for key, value in flat_settings(own).items() if value != known.get(key)]
    words = ["python", "-m", "train.run", start.name, "--data", "DIR"]
    if changed or record.experiment != start.name:
        words += [word for setting in changed for word in ("--set", setting)] + ["--name", record.experiment]
    return shlex.join(words)


def settings_apart(first: Record, second: Record) -> list[tuple[str, object, object]]:
    """The settings that two runs have and differ in, as this version reads them: (name, the first's value, the second's)."""
    one, other = (flat_settings(from_dict(record.config)) for record in (first, second))
    return [(name, value, other[name]) for name, value in one.items() if other.get(name, value) != value]


def difference(changes: Sequence[tuple[str, object, object]], arrow: str = " → ", most: int = MAX_SETTINGS) -> str:
    """Changed settings, "loss.fake_weight 1.0 → 2.5"; only their number if it is more than `most`."""
    if len(changes) > most:
        return f"{len(changes)} settings"
    return ", ".join(f"{_today(key)} {before}{arrow}{after}" for key, before, after in changes)


def _today(setting: str) -> str:
    """A setting's name in this version: what `--set` takes."""
    section, dot, _ = setting.rpartition(".")
    return f"{section}{dot}{RENAMED[setting]}" if setting in RENAMED else setting


def own_difference(record: Record, arrow: str = " → ", most: int = MAX_SETTINGS) -> str:
    """What an experiment changed of its base."""
    return difference([(key, before, after) for key, (before, after) in record.changes.items()], arrow, most)


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return "\n".join("| " + " | ".join(cells) + " |" for cells in [head, ["---"] * len(head), *rows])


def results_table(runs: Sequence[Run]) -> str:
    """A row for each run's last checkpoint, between the two ends of the scale."""
    figures = {"style": "style ± error", "independent_style": "independent style"}
    figures |= {"content": "content", "independent_content": "independent content"}
    figures |= {name: name for name in ("colour", "flat", "lines")}
    scale = measurements(runs[0].last.metrics)
    rows = []
    for run in runs:
        record, values = run.last, measurements(run.last.metrics)
        planned = from_dict(record.config).plan(1).total_steps  # at least: without a number of steps the data says it
        steps = f"{record.step:,}" + (f" of {planned:,}" if record.step < planned else "")
        base = f"{own_difference(record)}; from {record.base}" if record.base else "a base of its own"
        cells = [f"`{run.name}` {record.checkpoint}", base, *(str(values.get(name, "")) for name in figures)]
        rows.append([*cells, steps, f"{record.compute['seconds']:,.0f}", str(record.seed), f"`{command(record)}`"])
    for words, end in (("photos themselves", "photos"), ("anime itself, half against half", "anime")):
        rows.append([words, "", *(str(getattr(scale.get(name), end, None) or "") for name in figures), "", "", "", ""])
    return table(["experiment", "differs in", *figures.values(), "steps", "seconds", "seed", "trained by"], rows)


def comparison_table(runs: Sequence[Run]) -> str:
    """Every run against its base, at the same seed, where that is among the runs.

    Raises:
        ValueError: a run was not measured together with its base.
    """
    rows = []
    by_name = {run.name: run for run in runs}
    for run in runs:
        base = by_name.get(compared_with(run.last, (other.last for other in runs)) or "")
        if base:
            own, other = measurements(run.last.metrics), measurements(base.last.metrics)
            if own["style"].change is None or run.last.data.get("compared_with", run.last.base) != base.name:
                raise ValueError(
                    f"{run.folder} was not measured together with its base: run "
                    f"`python -m train.evaluate {base.folder} {run.folder} --data DIR` first"
                )
            cells = [change(own[name].change) if name in own else "" for name in ("style", "independent_style")]
            cells.append(f"{own['content'].value - other['content'].value:+.3f}")
            rows.append([f"`{run.name}`", f"`{base.name}`", difference(settings_apart(base.last, run.last)), *cells])
    head = ["experiment", "against", "its difference", "style", "independent style", "content"]
    if not rows:
        return "None of the runs is the base of another."
    note = "The error is the jackknife's of the change itself: both drew the same photos. It is not over seeds of training."
    return f"{table(head, rows)}\n\n{note} What is beyond twice its error stands out."


def change(figure: Measured | None) -> str:
    """How a distance changed against the base, with its error; in bold where that is beyond twice the error."""
    if figure is None or figure.error is None:
        return ""
    return f"**{figure:+}**" if abs(figure.value) > 2 * figure.error else f"{figure:+}"


def course_table(runs: Sequence[Run]) -> str:
    """How both losses went in the adversarial phase, in numbers."""
    rows = []
    for run in runs:
        course = generator_course(run.curves)
        if course is None:
            rows.append([f"`{run.name}`", *[""] * 6])
            continue
        ends = [f"{np.mean(_adversarial(run.curves, name)[1][-2 * REACH :]):.2f}" for name in ("d_real", "d_fake")]
        values = [
            f"{course.first:.4g}",
            f"{course.lowest:.4g} at {course.step:,}",
            f"{course.last:.4g}",
            f"{course.noise:.3g}",
        ]
        rows.append([f"`{run.name}`", *values, course.verdict, f"{', '.join(ends)}{_constant(run.last)}"])
    head = [
        "experiment",
        "generator's loss at first",
        "lowest, at step",
        "at last",
        "noise",
        "so it",
        "D real, fake at last",
    ]
    return table(head, rows)


@dataclass(frozen=True)
class Course:
    """The generator's smoothed loss in the adversarial phase; `noise` is the spread of the rows around it (their median)."""

    first: float
    lowest: float
    step: int
    last: float
    noise: float

    @property
    def verdict(self) -> str:
        """A change counts above twice the noise: the lowest of many smoothed values lies a whole noise below their mean."""
        falls, rises = (value - self.lowest > 2 * self.noise for value in (self.first, self.last))
        return {(True, True): "falls, then rises", (True, False): "falls", (False, True): "rises"}.get(
            (falls, rises), "stays within the noise"
        )


def generator_course(curves: Curves) -> Course | None:
    """The course of the weighted sum of the generator's terms; None without an adversarial phase."""
    steps, values = _adversarial(curves, "generator")
    if len(steps) == 0:
        return None
    smooth = smoothed(values, REACH)
    lowest = int(np.argmin(smooth))
    noise = 1.4826 * float(np.median(np.abs(values - smooth)))  # σ of a normal spread, whatever the first rows do
    return Course(float(smooth[0]), float(smooth[lowest]), round(steps[lowest]), float(smooth[-1]), noise)


def _adversarial(curves: Curves, term: str) -> tuple[np.ndarray, np.ndarray]:
    """Steps and values of a term after the warm-up."""
    steps, values = curves.terms.get(term, (np.empty(0), np.empty(0)))
    return steps[steps > curves.warmup], values[steps > curves.warmup]


def _constant(record: Record) -> str:
    """What a discriminator would lose that gives every picture the one answer that costs it least (least squares only)."""
    weights = from_dict(record.config).recipe.label_weights
    if weights is None:
        return ""
    answer = weights[0] / sum(weights)
    return f" (constant {(1 - answer) ** 2:.2f}, {answer**2:.2f})"


def _is_loss(name: str) -> bool:
    return name not in NOT_LOSSES and not name.startswith(MEASURED)


# --- plots -----------------------------------------------------------------------------------------------------------


def look(place: int) -> dict[str, Any]:
    """Colour and line of the run at a place of the command line: ten colours, then the same ten dashed, then dotted."""
    colours = colormaps["tab10"].colors  # type: ignore[attr-defined]
    return {"color": colours[place % 10], "linestyle": ("-", "--", ":")[place // 10 % 3]}


def loss_plot(runs: Sequence[Run]) -> Figure:
    """A panel for every loss term, smoothed, with all runs over each other."""
    terms = sorted({name for run in runs for name in run.curves.terms if _is_loss(name)})
    columns = min(3, len(terms))
    rows = -(-len(terms) // columns)
    plot = Figure(figsize=(WIDTH, 1.75 * rows + 0.25 * len(runs) / 3 + 0.4), layout="constrained")
    panels = plot.subplots(rows, columns, squeeze=False, sharex=True).flat
    for axes in panels[len(terms) :]:
        axes.set_visible(False)
    for number, (axes, term) in enumerate(zip(panels, terms, strict=False)):
        shown = []
        for place, run in enumerate(runs):
            if term in run.curves.terms:
                steps, values = run.curves.terms[term]
                for phase in (steps <= run.curves.warmup, steps > run.curves.warmup):
                    if phase.any():
                        shown.append(smoothed(values[phase], REACH))
                        axes.plot(steps[phase], shown[-1], linewidth=1, **look(place))
        _frame(axes, runs)
        _scale_steps(axes, runs)
        axes.set_title(term, fontsize=9, loc="left")
        lowest, highest = min(map(np.min, shown)), max(map(np.max, shown))
        if lowest > 0 and highest > 30 * lowest:
            axes.set_yscale("log")
            axes.yaxis.set_minor_formatter(NullFormatter())
        axes.tick_params(labelbottom=True)
        if number >= columns * (rows - 1):
            axes.set_xlabel("step", fontsize=8)
    plot.supylabel(f"loss, mean of up to {2 * REACH + 1} rows of the history", fontsize=8)
    _legend(plot, runs)
    return plot


def generator_plot(runs: Sequence[Run]) -> Figure:
    """The generator's loss after the warm-up, relative to where it begins, as weights give each run another level."""
    plot = Figure(figsize=(WIDTH, 3.6 + 0.25 * len(runs) / 3), layout="constrained")
    axes = plot.subplots()
    for place, run in enumerate(runs):
        steps, values = _adversarial(run.curves, "generator")
        if len(steps):
            smooth = smoothed(values, REACH)
            axes.plot(steps, values / smooth[0], linewidth=0.5, alpha=0.25, **look(place))
            axes.plot(steps, smooth / smooth[0], linewidth=1.6, **look(place))
    _frame(axes, runs)
    _scale_steps(axes, runs)
    axes.set_xlabel("step", fontsize=9)
    axes.set_ylabel("generator's loss / its first value", fontsize=9)
    axes.set_ylim(*_limits(axes))
    _legend(plot, runs)
    return plot


def _limits(axes: Axes) -> tuple[float, float]:
    """Where the smoothed curves are: single first rows may lie far above."""
    drawn = np.concatenate([np.asarray(line.get_ydata()) for line in axes.lines if line.get_linewidth() > 1])
    margin = 0.1 * np.ptp(drawn) + 0.01
    return float(drawn.min() - margin), float(drawn.max() + margin)


def plane_plot(runs: Sequence[Run]) -> Figure:
    """Style over content distance: every measured checkpoint a point, hollow in the warm-up, large at the end."""
    plot = Figure(figsize=(WIDTH, 5 + 0.25 * len(runs) / 3), layout="constrained")
    axes = plot.subplots()
    for place, run in enumerate(runs):
        (steps, content), (_, style) = (run.curves.terms[MEASURED + name] for name in ("content", "style"))
        colour = look(place)["color"]
        axes.plot(content, style, linewidth=0.8, alpha=0.7, **look(place))
        faces = ["white" if step <= run.curves.warmup else colour for step in steps]
        sizes = [22] * (len(steps) - 1) + [70]
        axes.scatter(content, style, sizes, faces, edgecolors=[colour], linewidths=1, zorder=3)
    scale = measurements(runs[0].last.metrics)["style"]
    if scale.photos:
        photos, error = scale.photos.value, scale.photos.error
        axes.errorbar([0], [photos], error, fmt="D", color="black", markersize=7, elinewidth=0.8, clip_on=False, zorder=4)
        axes.annotate("photos themselves", (0, photos), (9, -28), textcoords="offset points", fontsize=8)
    if scale.anime:
        anime, spread = scale.anime.value, scale.anime.error or 0.0
        axes.axhline(anime, color="black", linewidth=0.8)
        axes.axhspan(anime - spread, anime + spread, color="black", alpha=0.08, linewidth=0)
        axes.annotate(
            "anime itself, half against half",
            (1, anime),
            (-3, 4),
            xycoords=axes.get_yaxis_transform(),
            textcoords="offset points",
            fontsize=8,
            ha="right",
        )
    _frame(axes)
    axes.set_xlim(left=-0.004)  # so that the bar of the photos is not on the axis
    axes.set_xlabel("content distance to the photo, 1 - cosine (further right keeps less of the photo)", fontsize=9)
    axes.set_ylabel("style distance to anime, 1000 × MMD² (lower is more anime)", fontsize=9)
    _legend(plot, runs)
    return plot


def _frame(axes: Axes, runs: Sequence[Run] = ()) -> None:
    """Faint grid, small figures, and a dotted line where the warm-up of each run ends."""
    axes.grid(color="0.9", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=7)
    for step in {run.curves.warmup for run in runs if run.curves.warmup}:
        axes.axvline(step, color="0.5", linewidth=0.8, linestyle=":")


def _scale_steps(axes: Axes, runs: Sequence[Run]) -> None:
    """Logarithmic where one run is several times as long as another, which would be a stub beside it."""
    steps = [run.last.step for run in runs]
    if max(steps) > 4 * min(steps):
        axes.set_xscale("log")


def _legend(plot: Figure, runs: Sequence[Run]) -> None:
    lines = [plot.axes[0].plot([], [], linewidth=2, label=run.name, **look(place))[0] for place, run in enumerate(runs)]
    plot.legend(handles=lines, loc="outside lower center", ncols=3, fontsize=8, frameon=False)


# --- pictures --------------------------------------------------------------------------------------------------------


def draw_sheet(cells: Sequence[tuple[np.ndarray, tuple[str, ...]]]) -> bytes:
    """Labelled uint8 RGB pictures on one page, as JPEG."""
    with tempfile.TemporaryDirectory() as folder:
        pictures = []
        for number, (picture, lines) in enumerate(cells):
            pictures.append(Labelled(Path(folder) / f"{number}.png", lines))
            Image.fromarray(picture).save(pictures[-1].path, compress_level=1)
        page = Image.open(io.BytesIO(sheet(pictures)))
    content = io.BytesIO()
    page.convert("RGB").save(content, "JPEG", quality=88)
    return content.getvalue()


def experiments_sheet(stylizer: Stylizer, photo: np.ndarray, runs: Sequence[Run]) -> bytes:
    """One photo and what the last checkpoint of each run draws of it."""
    cells: list[tuple[np.ndarray, tuple[str, ...]]] = [(photo, ("photo",))]
    for run in runs:
        record = run.last
        base = f"{record.base}, " if record.base else ""
        changed = own_difference(record, " > ", MAX_ON_SHEET)
        lines = (f"{run.name} {record.checkpoint}", f"{base}{changed}", _measured(record))
        cells.append((stylizer.stylize(photo, run.checkpoints[-1]).anime, lines))
    return draw_sheet(cells)


def course_sheet(stylizer: Stylizer, photo: np.ndarray, run: Run) -> bytes:
    """One photo and what the checkpoints of one run draw of it, in training order."""
    cells: list[tuple[np.ndarray, tuple[str, ...]]] = [(photo, ("photo",))]
    for folder, record in evenly(list(zip(run.checkpoints, run.records, strict=True)), MAX_COURSE):
        lines = (f"{record.checkpoint}, step {record.step:,}, {record.phase}", _measured(record))
        cells.append((stylizer.stylize(photo, folder).anime, lines))
    return draw_sheet(cells)


def _measured(record: Record) -> str:
    figures = measurements(record.metrics)
    return f"style {figures['style']}, content {figures['content']}"


# --- the page --------------------------------------------------------------------------------------------------------


def block(runs: Sequence[Run], course: Run, sheets: Sequence[str], folder: str) -> str:
    """The generated Markdown.

    Args:
        course: the run whose course is shown.
        sheets: file names of the pictures of photos.
        folder: of the pictures, as the page names it.
    """
    record = runs[0].last
    devices = sorted({f"{run.last.compute['device']} in {run.last.compute['precision']}" for run in runs})
    counts = sorted({f"{run.last.data['photos']:,} photos and {run.last.data['anime']:,} frames" for run in runs})
    photos = "\n\n".join(f"![a photo and what every experiment makes of it]({folder}/{name})" for name in sheets)
    return f"""{results_table(runs)}

Measured: {record.data.get("measured", "unknown on what")} Trained on {" or ".join(devices)}, on \
{" or ".join(counts)}. Style distance, its error and the other figures are `train.evaluate`'s; the error is over pictures, \
not over training runs.

### Against the base

{comparison_table(runs)}

### One photo through all experiments

{photos}

### Style and content

![style over content distance of every checkpoint]({folder}/plane.png)

Hollow points are of the warm-up, the large one is a run's last checkpoint. The bar of the photos is their standard error;
the points' own are as large, but all of them drew the same photos: see the changes above for what is beyond chance.

### Does the generator's loss first fall, then rise?

![the generator's loss after the warm-up, relative to its start]({folder}/generator.png)

{course_table(runs)}

A change counts where it is larger than twice the noise, the spread of single rows of the history \
({_row_steps(runs)} steps each) around the smoothed curve. *Constant* is what a discriminator loses that gives every \
picture the same, best answer.

### Every loss term

![all loss terms of all runs]({folder}/losses.png)

Terms are as they are logged, before their weights; `generator` and `discriminator` are the weighted sums. The dotted line \
ends the warm-up.

### The course of `{course.name}`

![a photo and what each checkpoint of {course.name} makes of it]({folder}/course.jpg)"""


def _row_steps(runs: Sequence[Run]) -> int:
    """How many steps a row of the histories stands for."""
    return round(float(np.median(np.concatenate([np.diff(run.curves.terms["generator"][0]) for run in runs]))))


def insert(page: str, text: str, origin: Path) -> str:
    """The page with the text between its markers. Raises ValueError if it has not both of them once, in order."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end or BEGIN in rest or END in before or END in after:
        raise ValueError(f"{origin} must have the line {BEGIN!r} once and after it {END!r}: what is between is written anew")
    return f"{before}{BEGIN}\n\n{text}\n\n{END}{after}"


def read_photos(folder: Path) -> list[np.ndarray]:
    """At most MAX_PHOTOS of a folder's pictures, evenly chosen by name, scaled to PHOTO_SIDE. Raises ValueError."""
    paths = sorted(path for path in folder.glob("[!.]*") if path.suffix.lower() in (".jpg", ".jpeg", ".png", ".webp"))
    if not paths:
        raise ValueError(f"--photos: {folder} holds no JPEG, PNG or WebP pictures")
    return [pixels.limit_size(read_photo(path), PHOTO_SIDE) for path in evenly(paths, MAX_PHOTOS)]


def main(arguments: argparse.Namespace) -> None:
    """Writes the report. Raises ValueError with a sentence for the user before anything is written."""
    page: Path = arguments.page
    if not page.is_file():
        raise ValueError(f"--page: there is no {page}")
    insert(page.read_text("utf-8"), "", page)
    runs, photos = read_runs(arguments.runs), read_photos(arguments.photos)
    named = {run.name: run for run in runs}
    course = named.get(arguments.course or runs[0].name)
    if course is None:
        raise ValueError(f"--course {arguments.course} is none of the runs: choose from {', '.join(named)}")

    folder = page.with_suffix("")
    stylizer = Stylizer()
    sheets = {f"photo-{number}.jpg": experiments_sheet(stylizer, photo, runs) for number, photo in enumerate(photos, 1)}
    pictures = {**sheets, "course.jpg": course_sheet(stylizer, photos[0], course)}
    text = insert(page.read_text("utf-8"), block(runs, course, list(sheets), folder.name), page)
    folder.mkdir(exist_ok=True)
    for name, content in pictures.items():
        write_aside(folder / name, content)
    for name, plot in {"plane": plane_plot(runs), "generator": generator_plot(runs), "losses": loss_plot(runs)}.items():
        plot.savefig(folder / f"{name}.png", dpi=DPI)
    write_aside(page, text.encode())
    print(f"{page} and {folder}/ tell of {len(runs)} runs")


def parser() -> argparse.ArgumentParser:
    """The command line."""
    raw = argparse.RawTextHelpFormatter
    p = argparse.ArgumentParser(prog="python -m benchmarks.report", description=__doc__, formatter_class=raw)
    p.add_argument(
        "runs", nargs="+", metavar="RUN", type=Path, help="folders of finished runs that train.evaluate has measured"
    )
    p.add_argument(
        "--photos", metavar="DIR", type=Path, default=EXAMPLES, help=f"of which {MAX_PHOTOS} are drawn (default: {EXAMPLES})"
    )
    p.add_argument("--course", metavar="NAME", help="the run whose checkpoints are all drawn (default: the first)")
    p.add_argument(
        "--page", metavar="FILE", type=Path, default=Path("docs/experiments.md"), help="(default: docs/experiments.md)"
    )
    return p


if __name__ == "__main__":
    try:
        main(parser().parse_args())
    except (ValueError, CheckpointError) as error:
        sys.exit(f"benchmarks.report: {error}")
