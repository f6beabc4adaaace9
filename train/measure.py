"""What pictures measure: style distance to anime, content distance and colour shift from photos, and how they are drawn.

Style and content are measured in two networks: in one of the kind that generators are trained against, and in
EfficientNet-Lite0, trained to tell ImageNet's classes, against which nothing here is trained: it cannot flatter. Both are
fond of grain and tint. What agrees with eyes that compare pictures blind takes no network: `drawn`.
"""

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import cv2
import keras
import numpy as np
import tensorflow as tf
from PIL import Image

from hub_export import pixels
from train.batches import TrainingData
from train.efficientnet import efficientnet_lite0
from train.features import build_features
from train.settings import FeatureConfig

CONVOLUTIONS = {"conv2_2": 3, "conv3_3": 6}
"""What is measured at, after its ReLU, by its place among the convolutions of VGG16 and of VGG19."""
BLOCKS = "block2", "block4", "block8"
"""What is measured at in EfficientNet-Lite0: a 4th, an 8th and a 16th of the picture's size."""
STYLES = {"style": tuple(CONVOLUTIONS), "independent_style": BLOCKS}
"""The style distances, each the mean over its layers."""
CONTENTS = {"content": "conv3_3", "independent_content": "block4"}
"""The content distances."""
PATCHES = 128
"""Feature vectors drawn from each picture at each depth."""
MINIMUM_PICTURES = 6
"""Half of them must still be three, for the standard error."""
FLAT_GRADIENT, STEEP_GRADIENT = 2.0, 12.0
"""Levels of 255 a pixel: a smaller luma gradient is flat, one between the two is texture."""
LINE_WIDTH, LINE_DEPTH = 5, 10.0
"""A line is narrower than so many pixels, and darker than both its sides by so many levels of 255."""
FEWEST_LINES = 0.002
"""Share of the pixels that count as lines where fewer are; of 183 photos none has less than 0.015."""
CALM_GRADIENT, CALM_SHARE, CALM_WINDOW = 3.0, 0.35, 13
"""A place is calm if in so large a share of a window of so many pixels the gradient is smaller."""

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

    def scaled(self, factor: float) -> "Distance":
        """In other units."""
        here, there = self.without
        return Distance(factor * self.value, (factor * here, factor * there))

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


def drawing_figures(picture: np.ndarray) -> dict[str, float]:
    """How a picture is drawn, of uint8 RGB (H, W, 3); shares in [0, 1] of its pixels, but for the last.

    Returns:
        flat, texture: luma gradient (Sobel) below FLAT_GRADIENT, and from there to STEEP_GRADIENT.
        lines: thin dark lines, a black top-hat of luma above LINE_DEPTH.
        drawn: share of those lines that run through calm places, as a draughtsman's do and the gaps of foliage do not; a
            picture of fewer lines than FEWEST_LINES counts as if it had as many, or three dark specks made a drawing.
    """
    luma = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY).astype(np.float32)
    across, down = (cv2.Sobel(luma, cv2.CV_32F, *order, ksize=3, scale=1 / 8) for order in ((1, 0), (0, 1)))
    gradient = np.hypot(across, down)
    window = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (LINE_WIDTH, LINE_WIDTH))
    lines = cv2.morphologyEx(luma, cv2.MORPH_BLACKHAT, window) > LINE_DEPTH
    calm = cv2.blur((gradient < CALM_GRADIENT).astype(np.float32), (CALM_WINDOW, CALM_WINDOW)) > CALM_SHARE
    return {
        "flat": float(np.mean(gradient < FLAT_GRADIENT)),
        "texture": float(np.mean((gradient >= FLAT_GRADIENT) & (gradient < STEEP_GRADIENT))),
        "lines": float(np.mean(lines)),
        "drawn": float(np.mean(lines & calm)) / max(float(np.mean(lines)), FEWEST_LINES),
    }


class FeatureExtractors:
    """The measuring networks.

    Args:
        network, weights: the one beside EfficientNet-Lite0, as `FeatureConfig`, vgg19 or hed-vgg16.
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
        outputs = {name: convolutions[place].output for name, place in CONVOLUTIONS.items()}
        self._features = traced(keras.Model(whole.input, outputs))
        lite = efficientnet_lite0()
        self._independent = traced(keras.Model(lite.input, {name: lite.output[name] for name in BLOCKS}))
        self._inception = _inception() if kid else None

    def maps(self, picture: np.ndarray) -> dict[str, np.ndarray]:
        """uint8 RGB (H, W, 3) -> the features (h, w, d), at each of CONVOLUTIONS, after its ReLU, and of BLOCKS."""
        batch = pixels.to_model(picture)[None]
        maps = {name: np.maximum(values[0], 0.0) for name, values in self._features(batch).items()}
        return maps | {name: values[0].numpy() for name, values in self._independent(batch).items()}

    def samples(self, maps: dict[str, np.ndarray], index: int, picture: np.ndarray) -> dict[str, np.ndarray]:
        """Of a picture, drawn by its number: PATCHES vectors (k, d) of norm √d of each map; "kid", Inception's features
        (1, 2048), where they are wanted."""
        drawn = {}
        for depth, (name, values) in enumerate(maps.items()):
            vectors = values.reshape(-1, values.shape[-1])
            chosen = np.random.default_rng([index, depth]).integers(len(vectors), size=PATCHES)
            drawn[name] = _unit(vectors[chosen]) * np.float32(np.sqrt(vectors.shape[-1]))
        if self._inception is not None:
            square = np.asarray(Image.fromarray(picture).resize((299, 299), Image.Resampling.BICUBIC))
            drawn["kid"] = np.asarray(self._inception(pixels.to_model(square)[None]))
        return drawn


@dataclasses.dataclass(frozen=True)
class Measured:
    """Features of a set of pictures, arrays (n, k, d) named as in `FeatureExtractors.samples`, and means of the rest.

    A checkpoint is chosen by `choosing`, the figure `drawn` of every other picture; `drawn` itself is of those in between:
    what is reported is not what was chosen by.
    """

    features: dict[str, np.ndarray]
    figures: dict[str, float]
    choosing: float


def measure(
    extractors: FeatureExtractors,
    pairs: Iterable[tuple[np.ndarray, np.ndarray]],
    contents: Sequence[dict[str, np.ndarray]] | None = None,
) -> Measured:
    """Measures outputs against their photos, one at a time.

    Args:
        pairs: (photo, output), uint8 RGB of one size.
        contents: the photos' own features at the layers of CONTENTS, where they are known already.
    """
    features, rows = [], []
    for index, (photo, output) in enumerate(pairs):
        maps = extractors.maps(output)
        features.append(extractors.samples(maps, index, output))
        row = dict.fromkeys([*CONTENTS, "colour"], 0.0) | drawing_figures(output)
        if output is not photo:
            own = contents[index] if contents else extractors.maps(photo)
            row |= {name: content_distance(own[layer], maps[layer]) for name, layer in CONTENTS.items()}
            row["colour"] = colour_shift(photo, output)
        rows.append(row)
    if len(rows) < MINIMUM_PICTURES:
        raise ValueError(f"{len(rows)} pictures are too few to measure on: give at least {MINIMUM_PICTURES}")
    figures = {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}
    choosing, figures["drawn"] = (float(np.mean([row["drawn"] for row in rows[start::2]])) for start in (0, 1))
    return Measured({name: np.stack([drawn[name] for drawn in features]) for name in features[0]}, figures, choosing)


@dataclasses.dataclass(frozen=True)
class Scores:
    """All figures of a set of pictures, and those of them that are distances to anime, unbiased, with their errors.

    Those of STYLES are 1000 × the style distance, `kid` is 1000 × KID. `choosing`: see `Measured`.
    """

    figures: dict[str, float]
    distances: dict[str, Distance]
    choosing: float

    def changes_from(self, other: "Scores") -> dict[str, tuple[float, float]]:
        """How much larger the style distances are than another one's of the same photos, with their errors."""
        return {name: self.distances[name].change_from(other.distances[name]) for name in STYLES}


def compare(outputs: Measured, anime: Measured) -> Scores:
    """Scores pictures against anime."""
    kernels = {}
    for name, x in outputs.features.items():
        y = anime.features[name]
        kernels[name] = kernel_means(x, x), kernel_means(x, y), kernel_means(y, y)
    distances, figures = {}, {}
    for name, layers in (STYLES | {"kid": ("kid",)} if "kid" in kernels else STYLES).items():
        means = (np.mean(part, axis=0) for part in zip(*(kernels[layer] for layer in layers), strict=True))
        distances[name] = mmd(*means).scaled(1000.0)
    for layer in STYLES["style"]:
        figures[f"style_{layer}"] = 1000.0 * mmd(*kernels[layer]).value
    for name, distance in distances.items():
        figures |= {name: distance.value, f"{name}_error": distance.error}
    return Scores(figures | outputs.figures, distances, outputs.choosing)


def anime_against_itself(anime: Measured) -> dict[str, float]:
    """The distance of anime to itself, even frames against odd: the best any output can reach.

    Content and colour, which need a photo, are not there.
    """
    halves = ({name: values[start::2] for name, values in anime.features.items()} for start in (0, 1))
    even, odd = (Measured(half, anime.figures, anime.choosing) for half in halves)
    return {name: value for name, value in compare(even, odd).figures.items() if name not in (*CONTENTS, "colour")}


class HeldOut:
    """Held-out pictures, with the figures of photos and of anime themselves.

    Args:
        data: opened pictures with some held out.
        size: longest side that is measured.
    """

    def __init__(self, extractors: FeatureExtractors, data: TrainingData, size: int):
        self.extractors, self.size = extractors, size
        self.photos = [pixels.limit_size(photo, size) for photo in data.held_out_photos()]
        frames = [pixels.limit_size(frame, size) for frame in data.held_out_anime()]
        self.frames = len(frames)
        self.anime = measure(extractors, ((frame, frame) for frame in frames))
        self.contents = [self._content(photo) for photo in self.photos]
        self.ends = {
            "photos": self.score((photo, photo) for photo in self.photos).figures,
            "anime": anime_against_itself(self.anime),
        }

    def _content(self, photo: np.ndarray) -> dict[str, np.ndarray]:
        maps = self.extractors.maps(photo)
        return {layer: _unit(maps[layer]).astype(np.float16) for layer in CONTENTS.values()}

    def score(self, pairs: Iterable[tuple[np.ndarray, np.ndarray]]) -> Scores:
        """Scores (photo, output)."""
        return compare(measure(self.extractors, pairs), self.anime)

    def score_generator(self, draw: Draw) -> Scores:
        """What `draw` makes of the held-out photos."""
        pairs = ((photo, draw(photo)) for photo in self.photos)
        return compare(measure(self.extractors, pairs, self.contents), self.anime)


def traced(model: keras.Model) -> Any:
    """One trace for every size."""
    return tf.function(model, input_signature=[tf.TensorSpec((1, None, None, 3), tf.float32)], autograph=False)


def _inception() -> Any:
    try:
        return traced(keras.applications.InceptionV3(include_top=False, pooling="avg", weights="imagenet"))
    except Exception as error:  # Keras wraps network failures in a bare Exception
        cause = str(error).splitlines()[0]
        raise ValueError(f"InceptionV3's weights could not be downloaded ({cause}): leave --kid out here") from None


def _unit(vectors: np.ndarray) -> np.ndarray:
    """Vectors along the last axis at length 1; a vector of zeros stays."""
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-8)
