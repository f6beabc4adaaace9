"""What was measured of a checkpoint. Records keep it as flat numbers; only this module knows what their names mean.

style          its value                            style_error                          its error
style_photos   of the photos themselves             style_error_photos                   error of that
style_anime    of anime against itself              style_error_anime                    error of that
style_change   against the base, on the same photos style_change_error                   error of that
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from hub_export.record import Record

ENDS = ("photos", "anime")
"""The two ends of a figure's scale."""
_PARTS = ("_error", "_photos", "_anime", "_change")


@dataclass(frozen=True)
class Figure:
    """A number that was measured, with its error where that is known: "126 ± 24", or "+126 ± 24" as f"{figure:+}"."""

    value: float
    error: float | None = None

    def __format__(self, sign: str) -> str:
        return f"{self.value:{sign}.3g}" + ("" if self.error is None else f" ± {self.error:.2g}")

    def __str__(self) -> str:
        return f"{self}"


@dataclass(frozen=True)
class Measurement(Figure):
    """One measured figure of a checkpoint.

    Args:
        photos, anime: the ends of its scale: the same figure of the photos themselves, and of anime against itself.
        change: against the checkpoint's base; its error is smaller than those of both, as they drew the same photos.
    """

    photos: Figure | None = None
    anime: Figure | None = None
    change: Figure | None = None


def measurements(metrics: Mapping[str, float]) -> dict[str, Measurement]:
    """What the flat numbers of a record, or of `train.evaluate`, say, by name."""

    def figure(name: str, error: str) -> Figure | None:
        return Figure(metrics[name], metrics.get(error)) if name in metrics else None

    return {
        name: Measurement(
            value,
            metrics.get(f"{name}_error"),
            figure(f"{name}_photos", f"{name}_error_photos"),
            figure(f"{name}_anime", f"{name}_error_anime"),
            figure(f"{name}_change", f"{name}_change_error"),
        )
        for name, value in metrics.items()
        if not name.endswith(_PARTS)
    }


def flat_ends(ends: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """As a record keeps the ends of the scales: {"photos": {"style": 90.0, "style_error": 5.0}} by one of ENDS."""
    return {f"{name}_{end}": value for end, figures in ends.items() for name, value in figures.items()}


def flat_changes(changes: Mapping[str, tuple[float, float]]) -> dict[str, float]:
    """As a record keeps changes against the base, (value, error) by the figure's name."""
    values = {f"{name}_change": value for name, (value, _) in changes.items()}
    return values | {f"{name}_change_error": error for name, (_, error) in changes.items()}


def same_scale(first: Mapping[str, float], second: Mapping[str, float]) -> bool:
    """Whether two flat measurements found the same style distance, between the same ends."""
    return all(first.get(name) == second.get(name) for name in ("style", *(f"style_{end}" for end in ENDS)))


def yardsticks(records: Iterable[Record]) -> tuple[str, str]:
    """Names of the style and the content distance that compare checkpoints.

    They are the independent ones, in a network that nothing is trained against, where all that were measured have them.
    """
    measured = [record.metrics.keys() for record in records if "style" in record.metrics]
    independent = "independent_style", "independent_content"
    return independent if measured and all(names >= set(independent) for names in measured) else ("style", "content")
