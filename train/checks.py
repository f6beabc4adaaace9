"""The checks that all settings share: one of the values they may take, a number in its range. Errors name the setting."""

import dataclasses
import difflib
import math
from collections.abc import Iterable
from typing import Any, Literal, get_args, get_origin, get_type_hints


def nearest(name: str, known: Iterable[str]) -> str:
    """The end of an error message: the closest valid names, or all of them."""
    known = list(known)
    close = difflib.get_close_matches(name, known, n=3, cutoff=0.4)
    return f"did you mean {' or '.join(close)}?" if close else f"choose from {', '.join(known)}"


def check_choices(config: Any, prefix: str) -> None:
    """Raises ValueError for a field of a dataclass whose value its type does not have: a Literal's, a text, a number.

    A whole number for a float becomes one, as JSON and people write it.
    """
    hints = get_type_hints(type(config))
    for field in dataclasses.fields(config):
        kind, value, name = hints[field.name], getattr(config, field.name), prefix + field.name
        if get_origin(kind) is Literal:
            if value not in get_args(kind):
                raise ValueError(f"{name}={value}: {nearest(str(value), map(str, get_args(kind)))}")
        elif kind is float and type(value) is int:
            try:
                object.__setattr__(config, field.name, float(value))
            except OverflowError:
                raise ValueError(f"{name} is larger than a float can be") from None
        elif kind in (bool, int, float, str) and type(value) is not kind:
            raise ValueError(f"{name} takes {kind.__name__}, got {value!r}")


def check_numbers(config: Any, prefix: str, most: float = math.inf, **least: float) -> None:
    """Raises ValueError for a field that is not a finite number from its least value up to `most`."""
    for name, low in least.items():
        value = getattr(config, name)
        if not low <= value <= most or value == math.inf:
            bounds = f"from {low:g} to {most:g}" if math.isfinite(most) else f"{low:g} or more"
            raise ValueError(f"{prefix}{name} must be {bounds}, got {value if isinstance(value, int) else f'{value:g}'}")
