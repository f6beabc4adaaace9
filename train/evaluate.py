"""Measures checkpoints on pictures that they were not trained on, and writes the figures beside them.

    python -m train.evaluate runs/fast-hayao --data DIR                       every checkpoint of a run
    python -m train.evaluate runs/fast-hayao/epoch-015 --data DIR --no-write  one; only prints
    python -m train.evaluate RUN --data DIR --pictures PHOTOS OUTPUTS         and another model's pictures of PHOTOS

Each checkpoint's own configuration says which photos and frames were held out. Photos themselves and anime itself (one
half of the frames against the other) are the two ends of the scale. The figures go into checkpoint.json and the model
card, and as `eval_...` into the run's history.jsonl and the checkpoints' own; measuring again changes nothing. Measure a run
that is not training.

Of runs that are measured in one call, the last checkpoint of each is compared with the last one of the run that its
experiment differs from: both drew the same photos, so that the change of style has a smaller error than the styles. A run
that repeats an experiment with another seed is compared with that experiment's base at the same seed; where that is not
measured, with the experiment itself, which tells what a seed alone changes.
"""

import argparse
import dataclasses
import json
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import keras
import numpy as np
import tensorflow as tf
from PIL import Image, UnidentifiedImageError

from hub_export import checkpoint, pixels
from hub_export.card import model_card
from hub_export.checkpoint import Record
from train.batches import TrainingData
from train.datasets import Source, open_data
from train.experiments import EXPERIMENTS, DataConfig, FeatureConfig
from train.features import build_features

LAYERS = {"conv2_2": 3, "conv3_3": 6}
"""The two depths, after their ReLU, by their place among the convolutions of VGG16 and of VGG19."""
PATCHES = 128
"""Feature vectors drawn from each picture at each depth."""
MINIMUM_PICTURES = 6
"""Half of them must still be three, for the standard error."""
FLAT_GRADIENT = 2.0
"""Levels of 255 a pixel: a smaller luma gradient is flat."""
LINE_WIDTH, LINE_DEPTH = 5, 24.0
"""A line is narrower than so many pixels, and darker than both its sides by so many levels of 255."""
CONTENT_BOUND, COLOUR_BOUND = 0.10, 12.0
RULE = (
    f"lowest style distance among adversarial checkpoints with content distance below {CONTENT_BOUND:g} and colour shift "
    f"below {COLOUR_BOUND:g}; where there is none, the lowest content distance"
)

Draw = Callable[[np.ndarray], np.ndarray]


def kernel_means(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Mean kernel between the features of every two pictures: (n, k, d), (m, l, d) -> (n, m).

    The kernel is KID's, (x·y / d + 1)^3 (Bińkowski et al. 2018, Demystifying MMD GANs).
    """
    others, dimensions = y.reshape(-1, y.shape[-1]).T, y.shape[-1]
    rows = []
    for patches in x:
        base = patches @ others / dimensions + 1.0
        rows.append((base * base * base).mean(axis=0, dtype=np.float64).reshape(len(y), -1).mean(axis=1))
    return np.stack(rows)


@dataclasses.dataclass(frozen=True)
class Distance:
    """A squared maximum mean discrepancy, and what it would be without each picture.

    Args:
        value: around 0 and also below it for one distribution.
        without: (n,) values, each without one of the n pictures of one side; then (m,) for the other side.
    """

    value: float
    without: tuple[np.ndarray, np.ndarray]

    @property
    def error(self) -> float:
        """Standard error of the value: the jackknife's over the pictures of both sides."""
        return _jackknife(self.without)

    def change_from(self, other: "Distance") -> tuple[float, float]:
        """How much larger it is than another one of the same pictures, and the standard error of that."""
        pairs = zip(self.without, other.without, strict=True)
        return self.value - other.value, _jackknife([mine - its for mine, its in pairs])


def _jackknife(sides: Iterable[np.ndarray]) -> float:
    return float(np.sqrt(sum((len(side) - 1) * np.var(side) for side in sides)))


def mmd(xx: np.ndarray, xy: np.ndarray, yy: np.ndarray) -> Distance:
    """Squared maximum mean discrepancy, unbiased.

    Features of one picture resemble each other, so pictures are the units: no pair within one picture counts
    (U-statistic, Gretton et al. 2012, eq. 3).

    Args:
        xx, xy, yy: `kernel_means` (n, n), (n, m), (m, m); n and m at least 3.
    """

    def leave_one_out(square: np.ndarray, cross: np.ndarray, own: float) -> np.ndarray:
        count = len(square)
        pairs = square - np.diag(np.diag(square))
        inside = (pairs.sum() - 2 * pairs.sum(axis=1)) / ((count - 1) * (count - 2))
        between = (cross.sum() - cross.sum(axis=1)) / ((count - 1) * cross.shape[1])
        return np.asarray(inside - 2 * between + own)

    inner_x, inner_y = ((m.sum() - np.trace(m)) / (len(m) * (len(m) - 1)) for m in (xx, yy))
    without = leave_one_out(xx, xy, inner_y), leave_one_out(yy, xy.T, inner_x)
    return Distance(float(inner_x + inner_y - 2 * xy.mean()), without)


def content_distance(photo: np.ndarray, output: np.ndarray) -> float:
    """1 - mean cosine of two (h, w, d) feature maps at the same place: 0 the same, at most 1 for features after a ReLU."""
    return float(1.0 - np.mean(np.sum(_unit(photo) * _unit(output), axis=-1)))


def mean_lab(picture: np.ndarray) -> np.ndarray:
    """Mean CIE Lab colour (3,) of uint8 RGB (H, W, 3); L in [0, 100]."""
    return cv2.cvtColor(picture.astype(np.float32) / 255.0, cv2.COLOR_RGB2LAB).mean(axis=(0, 1), dtype=np.float64)


def colour_shift(photo: np.ndarray, output: np.ndarray) -> float:
    """Distance (CIE76 ΔE) of the mean colours of two uint8 RGB pictures; 2.3 is just noticeable."""
    return float(np.linalg.norm(mean_lab(photo) - mean_lab(output)))


def flatness(picture: np.ndarray) -> float:
    """Share in [0, 1] of pixels of uint8 RGB (H, W, 3) with a luma gradient (Sobel) below FLAT_GRADIENT."""
    luma = _luma(picture)
    across, down = (cv2.Sobel(luma, cv2.CV_32F, *order, ksize=3, scale=1 / 8) for order in ((1, 0), (0, 1)))
    return float(np.mean(np.hypot(across, down) < FLAT_GRADIENT))


def line_share(picture: np.ndarray) -> float:
    """Share in [0, 1] of pixels of uint8 RGB (H, W, 3) on thin dark lines: black top-hat of luma above LINE_DEPTH."""
    window = np.ones((LINE_WIDTH, LINE_WIDTH), np.uint8)
    return float(np.mean(cv2.morphologyEx(_luma(picture), cv2.MORPH_BLACKHAT, window) > LINE_DEPTH))


class Gauge:
    """The measuring networks.

    Args:
        network, weights: as `FeatureConfig`, vgg19 or hed-vgg16.
        kid: measure KID in InceptionV3 too.

    Raises:
        ValueError: weights that cannot be had here.
    """

    def __init__(self, network: str = "hed-vgg16", weights: str = "pretrained", kid: bool = False):
        self.network = network
        keras.utils.set_random_seed(0)  # random weights are the same ones every time
        try:
            whole = build_features(FeatureConfig(network, weights))  # type: ignore[arg-type]
        except ValueError as error:
            text = str(error).replace("--set features.weights=none", "--weights none")
            text = text.replace("--set features.weights=", "--weights ").replace("--set features.network=", "--network ")
            raise ValueError(text) from None
        convolutions = [layer for layer in whole.layers if isinstance(layer, keras.layers.Conv2D)]
        self._features = _traced(keras.Model(whole.input, [convolutions[place].output for place in LAYERS.values()]))
        self._inception = _inception() if kid else None

    def maps(self, picture: np.ndarray) -> list[np.ndarray]:
        """uint8 RGB (H, W, 3) -> the features (h, w, d) at the two depths."""
        return [np.asarray(values[0]) for values in self._features(pixels.to_model(picture)[None])]

    def samples(self, maps: Sequence[np.ndarray], index: int, picture: np.ndarray) -> list[np.ndarray]:
        """PATCHES vectors (k, d) at each depth, of norm √d, drawn by the picture's number; then Inception's (1, 2048)."""
        drawn = []
        for depth, values in enumerate(maps):
            vectors = values.reshape(-1, values.shape[-1])
            chosen = np.random.default_rng([index, depth]).integers(len(vectors), size=PATCHES)
            drawn.append(_unit(vectors[chosen]) * np.float32(np.sqrt(vectors.shape[-1])))
        if self._inception is not None:
            square = np.asarray(Image.fromarray(picture).resize((299, 299), Image.Resampling.BICUBIC))
            drawn.append(np.asarray(self._inception(pixels.to_model(square)[None])))
        return drawn


@dataclasses.dataclass(frozen=True)
class Measured:
    """Features of a set of pictures, one array (n, k, d) for each depth, and the means of its other figures."""

    features: list[np.ndarray]
    figures: dict[str, float]


def measure(
    gauge: Gauge, pairs: Iterable[tuple[np.ndarray, np.ndarray]], contents: Sequence[np.ndarray] | None = None
) -> Measured:
    """Measures outputs against their photos, one at a time.

    Args:
        pairs: (photo, output), uint8 RGB of one size.
        contents: the photos' own features at the deeper depth, where they are known already.
    """
    features, rows = [], []
    for index, (photo, output) in enumerate(pairs):
        maps = gauge.maps(output)
        features.append(gauge.samples(maps, index, output))
        row = {"content": 0.0, "colour": 0.0, "flat": flatness(output), "lines": line_share(output)}
        if output is not photo:
            row["content"] = content_distance(contents[index] if contents else gauge.maps(photo)[-1], maps[-1])
            row["colour"] = colour_shift(photo, output)
        rows.append(row)
    if len(rows) < MINIMUM_PICTURES:
        raise ValueError(f"{len(rows)} pictures are too few to measure on: give at least {MINIMUM_PICTURES}")
    return Measured(
        [np.stack(depth) for depth in zip(*features, strict=True)],
        {name: float(np.mean([row[name] for row in rows])) for name in rows[0]},
    )


@dataclasses.dataclass(frozen=True)
class Score:
    """All figures of a set of pictures, and its style distance: `style` is 1000 × that, `kid` likewise 1000 × KID."""

    figures: dict[str, float]
    style: Distance


def compare(outputs: Measured, anime: Measured) -> Score:
    """Scores pictures against anime; the style distance is the mean of the two depths."""
    kernels = [
        (kernel_means(x, x), kernel_means(x, y), kernel_means(y, y))
        for x, y in zip(outputs.features, anime.features, strict=True)
    ]
    depths = kernels[: len(LAYERS)]
    style = mmd(*(np.mean(part, axis=0) for part in zip(*depths, strict=True)))
    figures = {"style": 1000 * style.value, "style_error": 1000 * style.error}
    figures |= {f"style_{name}": 1000 * mmd(*parts).value for name, parts in zip(LAYERS, depths, strict=True)}
    if kernels[len(LAYERS) :]:
        kid = mmd(*kernels[-1])
        figures |= {"kid": 1000 * kid.value, "kid_error": 1000 * kid.error}
    return Score(figures | outputs.figures, style)


def itself(anime: Measured) -> dict[str, float]:
    """The far end of the scale: even frames against odd ones. Content and colour, which need a photo, are not there."""
    even, odd = (Measured([values[start::2] for values in anime.features], anime.figures) for start in (0, 1))
    return {name: value for name, value in compare(even, odd).figures.items() if name not in ("content", "colour")}


class Scale:
    """Held-out pictures, with the figures of photos and of anime themselves.

    Args:
        data: opened pictures with some held out.
        size: longest side that is measured.
    """

    def __init__(self, gauge: Gauge, data: TrainingData, size: int):
        self.gauge, self.size = gauge, size
        self.photos = [pixels.limit_size(photo, size) for photo in data.held_out_photos()]
        frames = [pixels.limit_size(frame, size) for frame in data.held_out_anime()]
        self.anime = measure(gauge, ((frame, frame) for frame in frames))
        self.contents = [_unit(gauge.maps(photo)[-1]).astype(np.float16) for photo in self.photos]
        self.ends = {"photos": self.score((photo, photo) for photo in self.photos), "anime": itself(self.anime)}

    def score(self, pairs: Iterable[tuple[np.ndarray, np.ndarray]]) -> dict[str, float]:
        """The figures of outputs, as `compare`."""
        return compare(measure(self.gauge, pairs), self.anime).figures

    def score_generator(self, draw: Draw) -> Score:
        """What `draw` makes of the held-out photos."""
        pairs = ((photo, draw(photo)) for photo in self.photos)
        return compare(measure(self.gauge, pairs, self.contents), self.anime)


def read_pairs(photos: Path, outputs: Path, size: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Photos and another model's pictures of them, paired by name without ending; outputs take the photo's size.

    Raises:
        ValueError: a folder is missing, names differ, or a file is no picture.
    """
    named = []
    for folder in (photos, outputs):
        if not folder.is_dir():
            raise ValueError(f"--pictures: {folder} is not a folder")
        named.append({path.stem: path for path in sorted(folder.iterdir()) if not path.name.startswith(".")})
    if odd := sorted(named[0].keys() ^ named[1].keys()):
        raise ValueError(f"{photos} and {outputs} must hold pictures of the same names: {odd[0]!r} is in only one of them")
    for name in sorted(named[0]):
        photo, output = (_read(of[name]) for of in named)
        photo = pixels.limit_size(photo, size)
        height, width = photo.shape[:2]
        if output.shape != photo.shape:
            output = np.asarray(Image.fromarray(output).resize((width, height), Image.Resampling.LANCZOS))
        yield photo, output


def find_checkpoints(path: Path) -> list[Path]:
    """The folder itself if it is a checkpoint, else the checkpoints in it. Raises ValueError if there is none."""
    if (path / checkpoint.RECORD).is_file():
        return [path]
    found = sorted(entry.parent for entry in path.glob(f"*/{checkpoint.RECORD}") if not entry.parent.name.startswith("."))
    if not found:
        raise ValueError(f"{path} holds no checkpoint: give a checkpoint's folder or a run's, like runs/fast-hayao")
    return found


def recommended(figures: Mapping[str, Mapping[str, float]]) -> str:
    """The name that RULE chooses among {name: figures} of adversarial checkpoints, at least one."""
    allowed = [name for name, of in figures.items() if of["content"] < CONTENT_BOUND and of["colour"] < COLOUR_BOUND]
    if allowed:
        return min(allowed, key=lambda name: figures[name]["style"])
    return min(figures, key=lambda name: figures[name]["content"])


def compared_with(record: Record, others: Iterable[Record]) -> str | None:
    """The experiment among others that a run is measured against: its base, at the same seed if only the seed is its own."""
    names = {other.experiment: other for other in others}
    if record.changes.keys() == {"seed"} and record.base in EXPERIMENTS:
        base = EXPERIMENTS[record.base].base
        for name, other in names.items():
            if other.base == base and other.changes == record.changes:
                return name
    return record.base if record.base in names else None


def write_figures(folder: Path, metrics: dict[str, float], about: dict[str, str], rows: Sequence[dict[str, Any]]) -> None:
    """Puts the figures into a checkpoint's record and card, and evaluations into its history and that of its run.

    What else an earlier call found (the change against the base, KID) stays where the style is still what it was then.

    Args:
        about: how they were measured, and against which experiment, for the record's data.
        rows: `evaluation` of this checkpoint and of others of the run; its own history takes those up to its step.

    The new folder is finished beside the old one and then takes its place, so that a kill leaves a whole checkpoint.
    """
    record = checkpoint.read_record(folder)
    if all(record.metrics.get(name) == metrics.get(name) for name in ("style", "style_photos", "style_anime")):
        metrics = record.metrics | metrics
    record = dataclasses.replace(record, metrics=metrics, data=record.data | about)
    aside = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        shutil.copytree(folder, aside, dirs_exist_ok=True)
        own = [row for row in rows if row["step"] <= record.step]
        if len(checkpoint.read_history(folder)) + len(own) <= checkpoint.MAX_HISTORY_ROWS:
            for row in own:
                _insert(aside / checkpoint.HISTORY, row)
        checkpoint.write_aside(aside / checkpoint.CARD, model_card(record).encode())
        checkpoint.write_record(aside, record)
        checkpoint.replace_folder(aside, folder)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    history = folder.parent / checkpoint.HISTORY
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
    checkpoint.write_aside(history, text.encode())


def parser() -> argparse.ArgumentParser:
    """The command line."""
    raw = argparse.RawTextHelpFormatter
    p = argparse.ArgumentParser(prog="python -m train.evaluate", description=__doc__, formatter_class=raw)
    p.add_argument("paths", nargs="+", metavar="PATH", type=Path, help="a run's folder or a checkpoint's")
    p.add_argument("--data", metavar="PATH", help="the pictures it was trained with, as for train.run")
    p.add_argument("--photos", metavar="DIR", help="a folder of photos, with --anime")
    p.add_argument("--anime", metavar="DIR", help="a folder of anime frames, with --photos")
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
    folders = [folder for path in arguments.paths for folder in find_checkpoints(path)]
    source = Source.of(arguments.data, arguments.photos, arguments.anime)
    if arguments.size < pixels.MINIMUM_SIDE:
        raise ValueError(f"--size must be at least {pixels.MINIMUM_SIDE}, got {arguments.size}")
    configs = {folder: _data_config(checkpoint.read_record(folder)) for folder in folders}
    gauge = Gauge(arguments.network, arguments.weights, arguments.kid)
    adversarial: dict[Path, dict[str, dict[str, float]]] = {}
    for config in dict.fromkeys(configs.values()):
        scale = Scale(gauge, open_data(config, source, arguments.cache), arguments.size)
        on = f"held-out {len(scale.photos)} photos and {len(scale.anime.features[0])} frames, longest side {arguments.size}"
        print(
            f"\n{on}; {gauge.network} {', '.join(LAYERS)}\n{_line('', None)}\n{_line('photos', scale.ends['photos'])}",
            flush=True,
        )
        ends = {f"{name}_{end}": value for end, of in scale.ends.items() for name, value in of.items()}
        rows: dict[Path, list[dict[str, Any]]] = {}
        last: dict[str, tuple[Path, Score]] = {}
        for folder in (folder for folder, of in configs.items() if of == config):
            record = checkpoint.read_record(folder)
            score = scale.score_generator(_drawer(folder, record))
            note = _kinship(record, gauge.network)
            print(_line(f"{record.experiment}/{record.checkpoint}", score.figures) + note, flush=True)
            if record.phase == "adversarial":
                adversarial.setdefault(folder.parent, {})[str(folder)] = score.figures
            last[record.experiment] = folder, score
            if arguments.write:
                metrics = _rounded(score.figures | ends)
                sentence = f"{on[0].upper()}{on[1:]}; {gauge.network} {' and '.join(LAYERS)}{note}."
                rows.setdefault(folder.parent, []).append(evaluation(record, metrics))
                write_figures(folder, metrics, {"measured": sentence}, rows[folder.parent])
        records = {name: checkpoint.read_record(folder) for name, (folder, _) in last.items()}
        for name, (folder, score) in last.items():
            record = records[name]
            opponent = compared_with(record, records.values())
            if opponent:
                base = last[opponent][1]
                change, error = (1000 * value for value in score.style.change_from(base.style))
                content = score.figures["content"] - base.figures["content"]
                print(f"{name} against {opponent}: style {change:+.1f} ± {error:.1f}, content {content:+.3f}", flush=True)
                if arguments.write:
                    metrics = record.metrics | _rounded({"style_change": change, "style_change_error": error})
                    about = {"measured": record.data["measured"], "compared_with": opponent}
                    write_figures(folder, metrics, about, rows[folder.parent])
        for photos, outputs in arguments.pictures:
            given = [(photos / "themselves", photos), (outputs, outputs)]
            for label, folder in given:
                pairs = read_pairs(photos, folder, arguments.size)
                print(_line(f"{label.parent.name}/{label.name}", scale.score(pairs)), flush=True)
        print(_line("anime", scale.ends["anime"]))
    for figures_of in adversarial.values():
        print(f"\nrecommended: {recommended(figures_of)}", end="")
    if adversarial:
        print(f"\nrule: {RULE}")


def _rounded(figures: Mapping[str, float]) -> dict[str, float]:
    return {name: float(f"{value:.4g}") for name, value in figures.items()}


def _kinship(record: Record, network: str) -> str:
    """How near the measuring network is to what a checkpoint was trained against: "", or a remark in brackets."""
    if record.config.get("features", {}).get("network") != network:
        return ""
    if record.config.get("discriminator", {}).get("kind") == "projected":
        return " (its discriminator looked through the same network and layers, which flatters its style)"
    return " (same network as trained against, other layers)"


def _data_config(record: Record) -> DataConfig:
    label = f"{record.experiment}/{record.checkpoint}"
    try:
        config = DataConfig(**record.config["data"])
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
    generator, stride = _traced(checkpoint.load_generator(folder)), record.generator_config.stride
    return lambda photo: pixels.draw(generator, photo, stride)


def _traced(model: keras.Model) -> Any:
    """One trace for every size."""
    return tf.function(model, input_signature=[tf.TensorSpec((1, None, None, 3), tf.float32)], autograph=False)


def _inception() -> Any:
    try:
        return _traced(keras.applications.InceptionV3(include_top=False, pooling="avg", weights="imagenet"))
    except Exception as error:  # Keras wraps network failures in a bare Exception
        cause = str(error).splitlines()[0]
        raise ValueError(f"InceptionV3's weights could not be downloaded ({cause}): leave --kid out here") from None


def _unit(vectors: np.ndarray) -> np.ndarray:
    """Vectors along the last axis at length 1; a vector of zeros stays."""
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-8)


def _luma(picture: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY).astype(np.float32)


def _read(path: Path) -> np.ndarray:
    try:
        with Image.open(path) as image:
            return np.asarray(image.convert("RGB"))
    except (OSError, UnidentifiedImageError):
        raise ValueError(f"--pictures: {path} is not a picture that can be read: take it out") from None


def _line(name: str, figures: Mapping[str, float] | None) -> str:
    """A row of the table, or its head."""
    columns = ("content", "colour", "flat", "lines")
    if figures is None:
        return f"{name:32} {'style ± error':>16} " + " ".join(f"{column:>8}" for column in columns)
    cells = [f"{figures[column]:8.3f}" if column in figures else f"{'-':>8}" for column in columns]
    kid = f"  kid {figures['kid']:.1f} ± {figures['kid_error']:.1f}" if "kid" in figures else ""
    style = f"{figures['style']:.1f} ± {figures['style_error']:.1f}"
    return f"{name:32} {style:>16} {' '.join(cells)}{kid}"


if __name__ == "__main__":
    try:
        main(parser().parse_args())
    except ValueError as error:
        sys.exit(f"train.evaluate: {error}")
