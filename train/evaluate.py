"""Measures checkpoints on pictures that they were not trained on, and writes the figures beside them.

    python -m train.evaluate runs/cel --data DIR                       every checkpoint of a run
    python -m train.evaluate runs/cel/epoch-025 --data DIR --no-write  one; only prints
    python -m train.evaluate RUN --data DIR --pictures PHOTOS OUTPUTS         and another model's pictures of PHOTOS; given
                                                                              more than once, each against the first

Each checkpoint's own configuration says which photos and frames were held out. Photos themselves and anime itself (one
half of the frames against the other) are the two ends of the scale. Style and content distance are measured twice: in a
network like those that are trained against and, as "independent", in EfficientNet-Lite0, against which nothing is trained.
The figures go into checkpoint.json and the model card, and as `eval_...` into the run's history.jsonl
and the checkpoints' own; measuring again changes nothing. A run that is being trained is measured with --no-write alone.

Of runs that are measured in one call, the last checkpoint of each is compared with the last one of the run that its
experiment differs from: both drew the same photos, so that a change has a smaller error than the two distances. A run
that repeats an experiment with another seed is compared with that experiment's base at the same seed; where that is not
measured, with the experiment itself, which tells what a seed alone changes.
"""

import argparse
import contextlib
import dataclasses
import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from hub_export import checkpoint, pixels
from hub_export.files import write_aside
from hub_export.folder import find_checkpoints
from hub_export.metrics import flat_changes, flat_ends, measurements, same_scale
from hub_export.record import HISTORY, MAX_HISTORY_ROWS, Record, read_record
from hub_export.release import open_runs
from train.datasets import decode, open_data
from train.experiments import EXPERIMENTS
from train.measure import CONVOLUTIONS, MINIMUM_PICTURES, Draw, FeatureExtractors, HeldOut, Scores, traced
from train.run_folder import rewrite, writing
from train.schedule import WARM_UP
from train.settings import DataConfig
from train.sources import Source, Unusable

COLUMNS = {
    "style": ("style ± error", 15),
    "independent_style": ("independent", 15),
    "content": ("content", 8),
    "independent_content": ("indep.", 8),
    "colour": ("colour", 8),
    "flat": ("flat", 8),
    "texture": ("texture", 8),
    "lines": ("lines", 8),
    "drawn": ("drawn", 8),
}
"""What is printed: its title and its width."""
RULE = (
    "the most drawn after the warm-up: the largest share of its thin dark lines runs through calm places, as blind "
    "eyes have it: photos 0.07, AnimeGAN's pictures 0.11, AnimeGANv3's 0.27, frames 0.46; chosen on every other held-out "
    "photo, where the figure above is of those in between"
)


SHAPE_TOLERANCE = 0.1
"""By how much an output's width to height may differ from its photo's: some models draw sides that are multiples of 32."""


def read_pairs(photos: Path, outputs: Path, size: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Photos and another model's pictures of them, paired by name without ending; outputs take the photo's size.

    Raises:
        ValueError: a folder is missing, names differ or come twice, shapes differ, or a file is no picture.
    """
    named = []
    for folder in (photos, outputs):
        if not folder.is_dir():
            raise ValueError(f"--pictures: {folder} is not a folder")
        paths = [path for path in sorted(folder.iterdir()) if not path.name.startswith(".")]
        named.append({path.stem: path for path in paths})
        if twice := [path.name for path in paths if named[-1][path.stem] != path]:
            raise ValueError(f"--pictures: {folder} holds {twice[0]} and another picture of that name: take one out")
    if odd := sorted(named[0].keys() ^ named[1].keys()):
        raise ValueError(f"{photos} and {outputs} must hold pictures of the same names: {odd[0]!r} is in only one of them")
    for name in sorted(named[0]):
        photo, output = (_read(of[name]) for of in named)
        photo = pixels.limit_size(photo, size)
        height, width = photo.shape[:2]
        if abs(output.shape[1] * height / (output.shape[0] * width) - 1) > SHAPE_TOLERANCE:
            raise ValueError(f"--pictures: {outputs}/{name} is of another shape than its photo: take both out")
        if output.shape != photo.shape:
            output = np.asarray(Image.fromarray(output).resize((width, height), Image.Resampling.LANCZOS))
        yield photo, output


def recommended(scores: Mapping[str, Scores]) -> str:
    """The name that RULE chooses among {name: scores} of checkpoints after the warm-up, at least one."""
    return max(scores, key=lambda name: scores[name].choosing)


def compared_with(record: Record, others: Iterable[Record]) -> str | None:
    """The experiment among others that a run is measured against: its base.

    A run under a name of its own, say with another seed or a longer schedule, asks its experiment's question anew: it is
    measured against the run that changes the same of that experiment's base, if there is one.
    """
    names = {other.experiment: other for other in others}
    if record.experiment not in EXPERIMENTS and record.base in EXPERIMENTS:
        base = EXPERIMENTS[record.base].base
        for name, other in names.items():
            if other.base == base and other.changes == record.changes:
                return name
    return record.base if record.base in names else None


def write_figures(folder: Path, metrics: dict[str, float], about: dict[str, Any], rows: Sequence[dict[str, Any]]) -> None:
    """Puts the figures into a checkpoint's record and card, and evaluations into its history and that of its run.

    What else an earlier call found (the change against the base, KID) stays where the style is still what it was then.

    Args:
        about: how they were measured, and against which experiment, for the record's data.
        rows: `evaluation` of this checkpoint and of others of the run; its own history takes those up to its step.

    A kill leaves the old checkpoint or the new one.
    """
    record = read_record(folder)
    if same_scale(record.metrics, metrics):
        metrics = record.metrics | metrics
    record = dataclasses.replace(record, metrics=metrics, data=record.data | about)

    def insert(aside: Path) -> None:
        own = [row for row in rows if row["step"] <= record.step]
        if len(checkpoint.read_history(folder)) + len(own) <= MAX_HISTORY_ROWS:
            for row in own:
                _insert(aside / HISTORY, row)

    rewrite(folder, record, insert)
    history = folder.parent / HISTORY
    if history.is_file():
        for row in rows:
            _insert(history, row)


def evaluation(record: Record, metrics: Mapping[str, float]) -> dict[str, Any]:
    """A row of a history that tells what was measured at a checkpoint."""
    about = {"step": record.step, "epoch": record.epoch, "phase": record.phase}
    return about | {f"eval_{name}": value for name, value in metrics.items()}


def _insert(history: Path, row: dict[str, Any]) -> None:
    """Puts an evaluation after the rows up to its step, in place of an earlier one of that step."""
    before: list[str] = []
    after: list[str] = []
    for line in history.read_text("utf-8").splitlines():
        try:
            other = json.loads(line)
        except ValueError:  # a kill can cut the last line
            continue
        if other["step"] != row["step"] or "eval_style" not in other:
            (before if other["step"] <= row["step"] else after).append(line)
    text = "".join(line + "\n" for line in [*before, json.dumps(row), *after])
    write_aside(history, text.encode())


def parser() -> argparse.ArgumentParser:
    """The command line."""
    raw = argparse.RawTextHelpFormatter
    p = argparse.ArgumentParser(prog="python -m train.evaluate", description=__doc__, formatter_class=raw)
    p.add_argument("paths", nargs="+", metavar="PATH", type=Path, help="a run's folder or a checkpoint's, or an archive")
    p.add_argument("--data", metavar="PATH", help="the pictures it was trained with, as for train.run")
    p.add_argument("--photos", metavar="DIR", help="a folder of photos, with --anime")
    p.add_argument("--anime", metavar="DIR", help="a folder of anime frames, with --photos")
    p.add_argument("--drawings", metavar="DIR", help="the drawings that it was trained with: photos without one were none")
    p.add_argument("--cache", metavar="DIR", type=Path, help="where prepared pictures are kept (default: TFDS_DATA_DIR)")
    p.add_argument("--size", type=int, default=512, metavar="PIXELS", help="longest side that is measured (default: 512)")
    p.add_argument("--pictures", nargs=2, action="append", default=[], type=Path, metavar=("PHOTOS", "OUTPUTS"))
    p.add_argument("--network", choices=["hed-vgg16", "vgg19"], default="hed-vgg16", help="measuring network")
    p.add_argument("--weights", default="pretrained", metavar="FILE", help="its weights: pretrained, none or a Keras file")
    p.add_argument("--kid", action="store_true", help="KID too, in InceptionV3 with ImageNet weights")
    p.add_argument("--write", action=argparse.BooleanOptionalAction, default=True, help="write the figures down")
    return p


def main(arguments: argparse.Namespace) -> None:
    """Runs the command. Raises ValueError with a sentence for the user."""
    archives = [path for path in arguments.paths if path.is_file()]
    if archives and arguments.write:
        raise ValueError(f"{archives[0]}: figures are written beside checkpoints, not into an archive: add --no-write")
    folders = [folder for path in arguments.paths for folder in find_checkpoints(open_runs(path))]
    source = Source.of(arguments.data, arguments.photos, arguments.anime, arguments.drawings)
    if not source.has_frames:
        raise ValueError("drawings are measured against anime frames: give some with --anime DIR")
    if arguments.size < pixels.MINIMUM_SIDE:
        raise ValueError(f"--size must be at least {pixels.MINIMUM_SIDE}, got {arguments.size}")
    with contextlib.ExitStack() as held:
        for run in {folder.parent for folder in folders} if arguments.write else ():
            try:
                held.enter_context(writing(run))
            except ValueError as error:
                raise ValueError(f"{error}, or measure without writing anything down: add --no-write") from None
        _measure(folders, source, arguments)


def _measure(folders: Sequence[Path], source: Source, arguments: argparse.Namespace) -> None:
    configs = {folder: _data_config(read_record(folder)) for folder in folders}
    extractors = FeatureExtractors(arguments.network, arguments.weights, arguments.kid)
    trained: dict[Path, dict[str, Scores]] = {}
    for config in dict.fromkeys(configs.values()):
        held_out = HeldOut(extractors, open_data(config, source, arguments.cache), arguments.size)
        on = f"held-out {len(held_out.photos)} photos and {held_out.frames} frames, longest side {arguments.size}"
        print(
            f"\n{on}; {extractors.network} {', '.join(CONVOLUTIONS)}\n{_line('', None)}\n"
            + _line("photos", held_out.ends["photos"]),
            flush=True,
        )
        ends = flat_ends(held_out.ends)
        rows: dict[Path, list[dict[str, Any]]] = {}
        last: dict[str, tuple[Path, Scores]] = {}
        for folder in (folder for folder, own in configs.items() if own == config):
            record = read_record(folder)
            score = held_out.score_generator(_drawer(folder, record))
            note = _kinship(record, extractors.network)
            print(_line(f"{record.experiment}/{record.checkpoint}", score.figures) + note, flush=True)
            if record.phase != WARM_UP:
                trained.setdefault(folder.parent, {})[str(folder)] = score
            last[record.experiment] = folder, score
            if arguments.write:
                metrics = _rounded(score.figures | ends)
                networks = f"{extractors.network} {' and '.join(CONVOLUTIONS)}{note}; independent: EfficientNet-Lite0"
                sentence = f"{on[0].upper()}{on[1:]}; {networks}."
                rows.setdefault(folder.parent, []).append(evaluation(record, metrics))
                about = {"measured": sentence, "chosen_by": round(score.choosing, 6)}
                write_figures(folder, metrics, about, rows[folder.parent])
        records = {name: read_record(folder) for name, (folder, _) in last.items()}
        for name, (folder, score) in last.items():
            record = records[name]
            opponent = compared_with(record, records.values())
            if opponent:
                base = last[opponent][1]
                changes = score.changes_from(base)
                print(_against(name, score, opponent, base), flush=True)
                if arguments.write:
                    about = {"measured": record.data["measured"], "compared_with": opponent}
                    write_figures(folder, record.metrics | _rounded(flat_changes(changes)), about, rows[folder.parent])
        comparisons: dict[Path, dict[Path, Scores]] = {}
        for photos, outputs in arguments.pictures:
            scores = comparisons.setdefault(photos, {})
            for label, folder in ((photos / "themselves", photos), (outputs, outputs)):
                if label not in scores:
                    scores[label] = held_out.score(read_pairs(photos, folder, arguments.size))
                    print(_line(_short(label), scores[label].figures), flush=True)
        for scores in comparisons.values():
            _, (first, theirs), *others = scores.items()
            for label, score in others:
                print(_against(_short(label), score, _short(first), theirs), flush=True)
        print(_line("anime", held_out.ends["anime"]))
    for checkpoints in trained.values():
        print(f"\nrecommended: {recommended(checkpoints)}", end="")
    if trained:
        print(f"\nrule: {RULE}")


def _rounded(figures: Mapping[str, float]) -> dict[str, float]:
    return {name: float(f"{value:.4g}") for name, value in figures.items()}


def _kinship(record: Record, network: str) -> str:
    """How near the measuring network is to what a checkpoint was trained against: "", or a remark in brackets."""
    features, discriminator = (record.config.get(name) for name in ("features", "discriminator"))
    used = record.data.get("feature_network", True)  # which earlier versions did not say
    if not used or not isinstance(features, dict) or features.get("network") != network:
        return ""
    if isinstance(discriminator, dict) and discriminator.get("kind") == "projected":
        return " (its discriminator looked through the same network and layers, which flatters its style)"
    said = " ".join(map(str, record.data.get("losses", {}).values()))
    if any(layer in said for layer in CONVOLUTIONS):  # AnimeGANv3's style
        return " (same network and layers as trained against, which flatters its style)"
    return " (same network as trained against, other layers)"


def _data_config(record: Record) -> DataConfig:
    """What of a checkpoint's own configuration says which pictures were held out: whoever shares it drew the same photos."""
    label = f"{record.experiment}/{record.checkpoint}"
    try:
        settings = {"cut_bars": False} | record.config["data"]  # which the first versions did not have
        config = DataConfig(**{name: settings[name] for name in ("style", "photos", "resolution", "holdout", "cut_bars")})
    except (KeyError, TypeError) as error:
        raise ValueError(f"{label}: its data configuration is not one of this version ({error})") from None
    if not config.holdout:
        raise ValueError(
            f"{label}: its experiment held nothing out (data.holdout is 0): train with --set data.holdout=48 and --name"
        )
    if config.holdout < MINIMUM_PICTURES:
        raise ValueError(f"{label}: {config.holdout} held-out pictures are too few: it takes {MINIMUM_PICTURES} or more")
    return config


def _drawer(folder: Path, record: Record) -> Draw:
    generator, config = traced(checkpoint.load_generator(folder)), record.generator_config
    return lambda photo: pixels.draw(generator, photo, config.stride, config.reach)


def _read(path: Path) -> np.ndarray:
    try:
        return np.asarray(decode(path.read_bytes(), gray=True)[0])
    except (Unusable, OSError) as reason:
        raise ValueError(f"--pictures: {path} cannot be read: {reason}; take it out") from None


def _short(folder: Path) -> str:
    return f"{folder.parent.name}/{folder.name}"


def _against(name: str, score: Scores, other: str, theirs: Scores) -> str:
    """What changed from another model's drawings of the same photos."""
    changes = score.changes_from(theirs).items()
    distances = ", ".join(f"{distance} {change:+.1f} ± {error:.1f}" for distance, (change, error) in changes)
    return f"{name} against {other}: {distances}, content {score.figures['content'] - theirs.figures['content']:+.3f}"


def _line(name: str, figures: Mapping[str, float] | None) -> str:
    """A row of the table, or its head."""
    if figures is None:
        return " ".join([f"{name:32}", *(f"{words:>{width}}" for words, width in COLUMNS.values())])
    values, cells = measurements(figures), [f"{name:32}"]
    for column, (_, width) in COLUMNS.items():
        figure = values.get(column)
        cell = "-" if figure is None else f"{figure.value:.3f}"
        if figure and figure.error is not None:
            cell = f"{figure.value:.1f} ± {figure.error:.1f}"
        cells.append(f"{cell:>{width}}")
    kid = f"  kid {values['kid'].value:.1f} ± {values['kid'].error:.1f}" if "kid" in values else ""
    return " ".join(cells) + kid


if __name__ == "__main__":
    try:
        main(parser().parse_args())
    except ValueError as error:
        sys.exit(f"train.evaluate: {error}")
