"""Experiments from text and files: `--set`, JSON, and the records of earlier versions; and settings by their names.

As JSON, and wherever a setting is named, the sections of a recipe stand beside all others: "loss.style_weight", not
"recipe.loss.style_weight". What a setting may be is in settings.py.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal, get_origin, get_type_hints

from train.checks import nearest
from train.settings import RECIPES, AnimeGANConfig, Experiment

ABOUT = ("name", "question", "base", "cost", "look")
"""What an experiment says of itself; everything else is a setting."""


def changed(experiment: Experiment, sections: Mapping[str, Any]) -> Experiment:
    """The same but for `sections`: a dict changes settings of a section, anything else takes the old value's place."""

    def new(owner: Any, names: set[str]) -> dict[str, Any]:
        return {
            name: replace(getattr(owner, name), **value) if isinstance(value, dict) else value
            for name, value in sections.items()
            if name in names
        }

    whole = {entry.name for entry in dataclasses.fields(experiment)}
    base = sections.get("recipe", experiment.recipe)
    recipe = replace(base, **new(base, sections.keys() - whole))
    return replace(experiment, **{**new(experiment, whole), "recipe": recipe})


def to_dict(experiment: Experiment) -> dict[str, Any]:
    """As JSON keeps it: the recipe's kind, and its sections beside the others."""
    values = dataclasses.asdict(experiment)
    recipe = values.pop("recipe")
    about = {name: values.pop(name) for name in ABOUT}
    return {**about, "recipe": experiment.recipe.kind, **recipe, **values}


def flat_settings(experiment: Experiment) -> dict[str, Any]:
    """The whole configuration as {"loss.style_weight": 3.0, ...}, without what the experiment says of itself."""
    flat: dict[str, Any] = {}
    for key, value in to_dict(experiment).items():
        if key in ABOUT:
            continue
        if isinstance(value, dict):
            flat.update({f"{key}.{inner}": setting for inner, setting in value.items()})
        else:
            flat[key] = value
    return flat


def override(experiment: Experiment, settings: list[str], name: str) -> Experiment:
    """Derives an experiment from `KEY=VALUE` settings.

    Args:
        experiment: the base.
        settings: e.g. ["loss.style_weight=30", "schedule.warmup=300 steps"]; values take the type of the field.
        name: the derived experiment's name.

    Raises:
        ValueError: no "=", an unknown key (names the nearest), or a value that the setting does not take.
    """
    known = [key for key in flat_settings(experiment) if key != "recipe"]
    known += [f"look.{entry.name}" for entry in dataclasses.fields(experiment.look)]
    sections: dict[str, Any] = {}
    for setting in settings:
        key, equals, text = setting.partition("=")
        if not equals:
            raise ValueError(f"--set takes KEY=VALUE, got {setting!r}")
        if key not in known:
            raise ValueError(f"unknown setting {key!r}: {nearest(key, known)}")
        section, _, inner = key.rpartition(".")
        owner: Any = experiment if hasattr(experiment, section or inner) else experiment.recipe
        owner = getattr(owner, section) if section else owner
        value = parse_value(text, get_type_hints(type(owner))[inner], key)
        (sections.setdefault(section, {}) if section else sections)[inner] = value
    if sections.get("generator", {}).get("channels") == 0:  # 0 stands for the architecture's own, which --set can name
        raise ValueError("generator.channels must be 1 or more, got 0")
    question = f"{experiment.name}, changed: {', '.join(settings)}."
    return changed(experiment, sections | {"name": name, "base": experiment.name, "question": question, "cost": ""})


def parse_value(text: str, kind: Any, key: str) -> Any:
    """A setting's value from text: "30", "true". Raises ValueError that names the setting."""
    if get_origin(kind) is Literal:
        return text  # which of them it is, the settings check
    if kind is bool:
        if text.lower() not in ("true", "false"):
            raise ValueError(f"{key} takes true or false, got {text!r}")
        return text.lower() == "true"
    try:
        return kind(text)
    except ValueError:
        raise ValueError(f"{key} takes {kind.__name__}, got {text!r}") from None


RETIRED: dict[str, Any] = {
    "data.warm": 0.0,
    "data.vivid": 0.0,
    "data.tones": 0.0,
    "data.night": 0.0,
    "data.lines": 0.0,
    "data.flatten": 0.0,
    "loss.drawn": 0.0,
    "loss.drawn_by": "",
    "loss.drawn_edge": 0.0,
    "loss.textured_content": 1.0,
    "loss.chroma_weight": 1.0,
    "loss.colour_saturation": 1.0,
    "loss.colour_uv": "huber",
    "discriminator.colour_jitter": 0.0,
}
"""Settings of earlier versions, with the value at which they did nothing."""
RENAMED = {"discriminator.sees": "input"}
"""Settings of earlier versions, and their names in the same section now."""


def from_dict(values: Mapping[str, Any]) -> Experiment:
    """Rebuilds an experiment from `to_dict`'s values, or from those of an earlier version.

    Raises:
        ValueError: a setting is unknown, retired, or out of range; the message names it.
    """
    values = {key: dict(value) if isinstance(value, Mapping) else value for key, value in values.items()}
    for name, neutral in RETIRED.items():
        section, _, inner = name.partition(".")
        old = values.get(section)
        if isinstance(old, dict) and inner in old and (value := old.pop(inner)) != neutral:
            raise ValueError(
                f"{name}={value} was a setting of an earlier version and is retired: what was trained with it still draws, "
                "but cannot be trained again or further by this version"
            )
    for name, new in RENAMED.items():
        section, _, inner = name.partition(".")
        if isinstance(own := values.get(section), dict) and inner in own:
            own[new] = own.pop(inner)
    if isinstance(values.get("schedule"), dict):
        values["schedule"] = _with_durations(values["schedule"])
    kind = values.pop("recipe", AnimeGANConfig.kind)  # earlier versions had no other
    if kind not in RECIPES:
        raise ValueError(f"unknown recipe {kind!r}: {nearest(str(kind), RECIPES)}")
    own = {entry.name for entry in dataclasses.fields(RECIPES[kind])}
    recipe = _build(RECIPES[kind], {key: value for key, value in values.items() if key in own})
    return _build(Experiment, {key: value for key, value in values.items() if key not in own} | {"recipe": recipe})


def _build(kind: Any, values: Mapping[str, Any]) -> Any:
    hints = get_type_hints(kind)
    try:
        return kind(
            **{
                key: hints[key](**value) if isinstance(value, dict) and dataclasses.is_dataclass(hints.get(key)) else value
                for key, value in values.items()
            }
        )
    except TypeError as error:
        raise ValueError(f"not an experiment of this version: {error}") from None


def _with_durations(schedule: dict[str, Any]) -> dict[str, Any]:
    """A schedule of an earlier version, with five numbers for the three durations; 0 steps meant: as the epochs say."""
    old: dict[str, Any] = {
        name: schedule.pop(name)
        for name in ("warmup_epochs", "epochs", "steps_per_epoch", "warmup_steps", "steps")
        if name in schedule
    }
    for steps, epochs, name in (("warmup_steps", "warmup_epochs", "warmup"), ("steps", "epochs", "length")):
        if old.get(steps):
            schedule[name] = f"{old[steps]} steps"
        elif epochs in old:
            schedule[name] = f"{old[epochs]} epochs"
    if old.get("steps_per_epoch"):
        schedule["epoch"] = f"{old['steps_per_epoch']} steps"
    return schedule
