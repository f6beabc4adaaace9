"""The record of a checkpoint: what `checkpoint.json` holds, and which files there are.

A record may be a stranger's. Whatever is read here holds values of the kinds written below, text that can be shown,
numbers that can be computed with, and no more of them than a page can bear. Neither weights nor Keras are touched.
"""

import dataclasses
import json
import os
import re
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, NotRequired, TypedDict, get_args, get_origin, get_type_hints, is_typeddict

from hub_export import pixels
from hub_export.architecture import GeneratorConfig
from hub_export.files import explain_os
from hub_export.sentences import ExplainedError, Sentence
from hub_export.weights import DATATYPES

SCHEMA = 1
RECORD, CARD, HISTORY, SAMPLES = "checkpoint.json", "README.md", "history.jsonl", "samples.jpg"
CONFIG, METADATA, WEIGHTS = "config.json", "metadata.json", "model.weights.h5"
SIZE_LIMITS = {
    RECORD: 2**17,
    CARD: 2**20,
    HISTORY: 2**25,
    SAMPLES: 2**24,
    CONFIG: 2**22,
    METADATA: 2**16,
    WEIGHTS: 2**28,
}
"""Every file of a checkpoint and its largest size in bytes."""
MAX_HISTORY_ROWS, MAX_HISTORY_ROW = 50_000, 2**14
"""Histories of more rows, or of more than half their largest size, are thinned when saved; a row has at most so many
characters."""
MAX_TEXTS = 1000
"""Different names and texts in a history: its terms, and the phases."""
MAX_TEXT, MAX_VALUES, MAX_NESTING = 4000, 2000, 8
"""Characters of a text in a record, values of one of its parts, and how deep they lie: ten times what ours have."""
BAD_TEXT = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")
"""Control characters, and halves of characters, which no page, file or terminal can show."""
MAX_LOOK = {"name": 24, "line": 80, "good_for": 80}
"""Characters of what a look says, in either language."""
MAX_SAMPLES_SIDE = 4096
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}")


class CheckpointError(ExplainedError):
    """A checkpoint is missing, damaged or not what it claims to be; the message names it and the cause.

    The value `place` of its sentence, where that is a Path, is the checkpoint's folder or record on this machine.
    """


class Look(TypedDict, total=False):
    """Under what people find its drawings: a name of two words, what they look like, which photos suit; in both languages.

    Without a name they find the experiment alone.
    """

    name: str
    line: str
    good_for: str
    name_zh: str
    line_zh: str
    good_for_zh: str


class Generator(TypedDict):
    """Which generator it is: at least these settings of `GeneratorConfig`."""

    architecture: str
    channels: int


class Data(TypedDict):
    """What it was trained on: how many pictures, where they come from, and what may be done with them.

    measured: how its metrics were measured; compared_with: the experiment that "change" in them is against, if not its base;
    chosen_by: how much it is drawn by the photos on which `train.evaluate` recommends, where `drawn` is by the others;
    losses: each term of the loss in words; shares: of every weighted sum, how much each term was of it at last;
    feature_network: whether a frozen network took part.
    target_networks: the pretrained networks that painted what was imitated, each in a few words.
    """

    anime: int
    photos: int
    source: str
    terms: str
    measured: NotRequired[str]
    compared_with: NotRequired[str]
    chosen_by: NotRequired[float]
    losses: NotRequired[dict[str, str]]
    shares: NotRequired[dict[str, dict[str, float]]]
    feature_network: NotRequired[bool]
    target_networks: NotRequired[list[str]]


class Compute(TypedDict):
    """What was really spent up to here."""

    device: str
    seconds: float
    images: int
    precision: str


class File(TypedDict):
    """A file as it was when it was saved."""

    sha256: str
    size: int


@dataclasses.dataclass(frozen=True)
class Record:
    """What a checkpoint says about itself; `checkpoint.json` is this as JSON.

    Args:
        experiment, checkpoint: names, e.g. "cel" and "epoch-006".
        question: what the experiment asks, in a sentence.
        base: the experiment it derives from; `changes` maps "loss.style_weight" to [base's value, its own].
        config: the full typed experiment, nested.
        generator: GeneratorConfig as a dict.
        phase: of the recipe's, e.g. "warm-up" or "adversarial".
        epoch, step, seed: where in training it was taken.
        data, compute: see `Data` and `Compute`.
        libraries: versions.
        metrics: measured figures by name, see metrics.py.
        pixels: the pixel contract, see pixels.py.
        probe: fixed-input output values, see `probe_values`.
        files: every other file by name.
        look: see `Look`.
        weights: "float32", or "float16" where the weights file keeps half the digits (half.py); loaded, all are float32.
        schema: version of this format.
    """

    experiment: str
    checkpoint: str
    question: str
    base: str | None
    changes: dict[str, list[Any]]
    config: dict[str, Any]
    generator: Annotated[dict[str, Any], Generator]
    phase: str
    epoch: int
    step: int
    seed: int
    data: Annotated[dict[str, Any], Data]
    compute: Annotated[dict[str, Any], Compute]
    libraries: dict[str, str]
    metrics: dict[str, float] = dataclasses.field(default_factory=dict)
    pixels: dict[str, Any] = dataclasses.field(default_factory=lambda: dict(pixels.CONTRACT))
    probe: list[float] = dataclasses.field(default_factory=list)
    files: Annotated[dict[str, dict[str, Any]], dict[str, File]] = dataclasses.field(default_factory=dict)
    look: Annotated[dict[str, str], Look] = dataclasses.field(default_factory=dict)
    weights: str = "float32"
    schema: int = SCHEMA

    @property
    def generator_config(self) -> GeneratorConfig:
        """Which generator to rebuild. Raises CheckpointError if the record names none we know."""
        place = f"{self.experiment}/{self.checkpoint}"
        known = {field.name for field in dataclasses.fields(GeneratorConfig)}
        if odd := sorted(self.generator.keys() - known):
            raise CheckpointError("{place}: generator has an unknown setting {name}", place=place, name=brief(odd[0]))
        try:
            return GeneratorConfig(**self.generator)
        except ValueError as error:
            raise CheckpointError("{place}: {fault}", place=place, fault=Sentence.of(error)) from None

    @property
    def sha256(self) -> str:
        """Identity of the weights: the first 12 digits tell two checkpoints apart."""
        return str(self.files.get(WEIGHTS, {}).get("sha256", ""))


_KINDS: dict[str, Any] = {
    name: get_args(hint)[1] if get_origin(hint) is Annotated else hint
    for name, hint in get_type_hints(Record, include_extras=True).items()
}
"""What a record's fields hold."""


def is_kind(value: Any, kind: Any) -> bool:
    """Whether a value from JSON is of a type; numbers are finite and below 2**53, whole ones are floats too."""
    if kind is Any:
        return True
    if is_typeddict(kind):
        return isinstance(value, dict) and all(
            is_kind(value[name], inner) if name in value else name in kind.__optional_keys__
            for name, inner in get_type_hints(kind).items()
        )
    origin, inner = get_origin(kind), get_args(kind)
    if origin is UnionType:
        return any(is_kind(value, one) for one in inner)
    if origin is dict:
        return isinstance(value, dict) and all(is_kind(item, inner[1]) for item in value.values())
    if origin is list:
        return isinstance(value, list) and all(is_kind(item, inner[0]) for item in value)
    if kind is float:
        return is_number(value)
    return isinstance(value, kind) and (kind is not int or is_number(value))


def is_number(value: Any) -> bool:
    """Whether a value from JSON is a number to compute with: finite and below 2**53."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 2**53  # NaN is not


def read_record(folder: Path) -> Record:
    """Reads and checks checkpoint.json; neither weights nor Keras are touched.

    Raises:
        CheckpointError: no record, unreadable, another schema version, or values of the wrong type.
    """
    if not os.path.lexists(Path(folder) / RECORD):
        raise CheckpointError("{place}: no checkpoint here ({file} is missing)", place=folder, file=RECORD)
    try:
        return parse_record(read_file(folder, RECORD).decode(), Path(folder) / RECORD)
    except UnicodeDecodeError:
        raise CheckpointError("{place}: {file} is not text", place=folder, file=RECORD) from None


def parse_record(text: str, place: Path | str) -> Record:
    """Parses the text of a checkpoint.json; `place` names it in errors. Raises CheckpointError."""
    try:
        values = json.loads(text)
    except (ValueError, RecursionError):
        raise CheckpointError("{place}: not valid JSON", place=place) from None
    if not isinstance(values, dict):
        raise CheckpointError("{place}: not a checkpoint record", place=place)
    if values.get("schema") != SCHEMA:
        raise CheckpointError(
            "{place}: schema version {version}, this program reads {known}; update the older of the two",
            place=place,
            version=brief(values.get("schema")),
            known=SCHEMA,
        )
    values = {"weights": "float32", "look": {}, **values}  # records older than these lack them
    missing = [name for name in _KINDS if name not in values]
    if missing:
        raise CheckpointError("{place}: the record lacks {names}", place=place, names=", ".join(missing))
    for name, kind in _KINDS.items():
        if fault := _fault(values[name]):
            raise CheckpointError("{place}: {name} holds {fault}", place=place, name=name, fault=fault)
        if not is_kind(values[name], kind):
            raise CheckpointError("{place}: {name} has the wrong type", place=place, name=name)
    record = Record(**{name: values[name] for name in _KINDS})
    for name in (record.experiment, record.checkpoint):
        if not NAME.fullmatch(name):
            raise CheckpointError("{place}: {name} is not a valid name", place=place, name=brief(name))
    if odd := sorted(set(record.files) ^ (set(SIZE_LIMITS) - {RECORD})):
        named = odd[0] in record.files
        template = "{place}: the record names a file {file}" if named else "{place}: the record does not name a file {file}"
        raise CheckpointError(template, place=place, file=brief(odd[0]))
    for name, entry in record.files.items():
        if not 0 <= entry["size"] <= SIZE_LIMITS[name]:
            most = SIZE_LIMITS[name]
            raise CheckpointError(
                "{place}: {file} is larger than the limit of {most} bytes", place=place, file=name, most=most
            )
    if record.weights not in DATATYPES:
        one, other = DATATYPES
        raise CheckpointError("{place}: weights are neither {one} nor {other}", place=place, one=one, other=other)
    for name in sorted(record.look.keys() & Look.__optional_keys__):
        if fault := look_fault(name, record.look[name]):
            raise CheckpointError("{place}: {name} holds {fault}", place=place, name="look", fault=fault)
    if any(len(values) != 2 for values in record.changes.values()):
        raise CheckpointError("{place}: {name} has the wrong type", place=place, name="changes")
    if record.pixels != pixels.CONTRACT:
        raise CheckpointError(
            "{place}: pixel contract {contract}, this program knows {known}",
            place=place,
            contract=brief(record.pixels),
            known=pixels.CONTRACT,
        )
    _ = record.generator_config  # raises
    return record


def _fault(value: Any) -> Sentence | None:
    """What in a value from JSON nobody could show, save or compute with, as the end of a sentence; None if nothing."""
    pending, count = [(value, 0)], 0
    while pending:
        item, depth = pending.pop()
        count += 1
        if count > MAX_VALUES:
            return Sentence("more than {most} values", most=MAX_VALUES)
        if depth > MAX_NESTING:
            return Sentence("values nested deeper than {most} levels", most=MAX_NESTING)
        if isinstance(item, dict):
            pending += [(inner, depth + 1) for pair in item.items() for inner in pair]
        elif isinstance(item, list):
            pending += [(inner, depth + 1) for inner in item]
        elif isinstance(item, str):
            if len(item) > MAX_TEXT:
                return Sentence("a text of more than {most} characters", most=MAX_TEXT)
            if BAD_TEXT.search(item):
                return Sentence("a text with characters that cannot be shown")
        elif isinstance(item, int | float) and not abs(item) < 2**53:
            return Sentence("a number that is not finite or too large")
    return None


def look_fault(name: str, text: str) -> Sentence | None:
    """Why a text cannot be this part of a `Look`, as the end of a sentence; None if it can."""
    most = MAX_LOOK[name.removesuffix("_zh")]
    if len(text) > most:
        return Sentence("a text of more than {most} characters", most=most)
    return None if text.isprintable() else Sentence("a text with characters that cannot be shown")


def brief(value: Any) -> str:
    """A stranger's value in a sentence, in visible characters."""
    text = ascii(value)
    return text if len(text) <= 80 else f"{text[:80]}…"


def record_text(record: Record) -> str:
    """checkpoint.json of a record."""
    return json.dumps(dataclasses.asdict(record), indent=1)


def read_file(folder: Path, name: str) -> bytes:
    path = Path(folder) / name
    try:
        if not path.is_file() or path.stat().st_size > SIZE_LIMITS[name]:
            raise CheckpointError(
                "{place}: {file} is no file, or larger than the limit of {most} bytes",
                place=folder,
                file=name,
                most=SIZE_LIMITS[name],
            )
        return path.read_bytes()
    except OSError as error:
        why = explain_os(error)
        raise CheckpointError("{place}: {file} cannot be read ({why})", place=folder, file=name, why=why) from None
