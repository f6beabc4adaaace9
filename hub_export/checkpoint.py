"""The checkpoint format: a folder that Keras, the Hub and our app all read.

    config.json  metadata.json  model.weights.h5   Keras' own unzipped layout, stock layers only
    checkpoint.json                                the record: what it is, where it came from, sha256 of every file, a probe
    history.jsonl  samples.jpg  README.md          every loss term so far, fixed photos, the model card

Writing is aside, fsync, rename: a folder with the final name is complete. Reading trusts nothing: names, sizes and
hashes are checked, the generator is rebuilt from `GeneratorConfig`, takes only numbers from the weights file (weights.py)
and none of the classes that config.json names, and a probe (fixed input, known output) shows that it draws what it drew
when it was saved. Keras loads only when weights do.
"""

import dataclasses
import hashlib
import io
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from hub_export import jpeg, pixels
from hub_export.architecture import GeneratorConfig
from hub_export.weights import DATATYPES, assign_weights, read_weights

if TYPE_CHECKING:
    import keras

SCHEMA = 1
RECORD, CARD, HISTORY, SAMPLES = "checkpoint.json", "README.md", "history.jsonl", "samples.jpg"
CONFIG, METADATA, WEIGHTS = "config.json", "metadata.json", "model.weights.h5"
SIZE_LIMITS = {
    RECORD: 2**20,
    CARD: 2**20,
    HISTORY: 2**25,
    SAMPLES: 2**24,
    CONFIG: 2**22,
    METADATA: 2**16,
    WEIGHTS: 2**28,
}
"""Every file of a checkpoint and its largest size in bytes."""
MAX_HISTORY_ROWS, MAX_HISTORY_ROW = 50_000, 2**14
"""Longer histories are thinned when saved; a row has at most this many characters."""
MAX_SAMPLES_SIDE = 4096
STOCK_CLASSES = {
    *("Functional", "InputLayer", "Conv2D", "DepthwiseConv2D", "GroupNormalization", "LeakyReLU", "Activation", "Add"),
    *("UpSampling2D", "AveragePooling2D", "Pad", "Subtract", "Multiply", "Split", "Clip", "DTypePolicy", "__keras_tensor__"),
    *("HeNormal", "GlorotUniform", "TruncatedNormal", "RandomNormal", "Zeros", "Ones"),
}
"""The only classes that config.json may name, all of Keras itself, so that stock Keras runs no code of a stranger."""
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}")
PROBE_TOLERANCE = 0.02
"""Largest deviation of the probe in [-1, 1]: 2.5 of 255 levels, room for other hardware's rounding."""


class CheckpointError(ValueError):
    """A checkpoint is missing, damaged or not what it claims to be; the message names it and the cause."""


@dataclasses.dataclass(frozen=True)
class Record:
    """What a checkpoint says about itself; `checkpoint.json` is this as JSON.

    Args:
        experiment, checkpoint: names, e.g. "fast-hayao" and "epoch-060".
        question: what the experiment asks, in a sentence.
        base: the experiment it derives from; `changes` maps "loss.style_weight" to [base's value, its own].
        config: the full typed experiment, nested.
        generator: GeneratorConfig as a dict.
        phase: "warm-up" or "adversarial".
        epoch, step, seed: where in training it was taken.
        data: {"anime", "photos"}: counts; {"source", "terms"}: where the pictures come from and what may be done.
        compute: {"device", "seconds", "images", "precision"}: what was really spent up to here.
        libraries: versions.
        metrics: measured figures, name to number.
        probe: fixed-input output values, see `probe_values`.
        files: name to {"sha256", "size"} of every other file.
        weights: "float32", or "float16" where the weights file keeps half the digits (release.py); loaded, all are float32.
    """

    experiment: str
    checkpoint: str
    question: str
    base: str | None
    changes: dict[str, list[Any]]
    config: dict[str, Any]
    generator: dict[str, Any]
    phase: str
    epoch: int
    step: int
    seed: int
    data: dict[str, Any]
    compute: dict[str, Any]
    libraries: dict[str, str]
    metrics: dict[str, float] = dataclasses.field(default_factory=dict)
    pixels: dict[str, Any] = dataclasses.field(default_factory=lambda: dict(pixels.CONTRACT))
    probe: list[float] = dataclasses.field(default_factory=list)
    files: dict[str, dict[str, Any]] = dataclasses.field(default_factory=dict)
    weights: str = "float32"
    schema: int = SCHEMA

    @property
    def generator_config(self) -> GeneratorConfig:
        """Which generator to rebuild. Raises CheckpointError if the record names none we know."""
        try:
            return GeneratorConfig(**self.generator)
        except (TypeError, ValueError) as error:
            raise CheckpointError(f"{self.experiment}/{self.checkpoint}: {error}") from None

    @property
    def sha256(self) -> str:
        """Identity of the weights: the first 12 digits tell two checkpoints apart."""
        return str(self.files.get(WEIGHTS, {}).get("sha256", ""))


def read_record(folder: Path) -> Record:
    """Reads and checks checkpoint.json; neither weights nor Keras are touched.

    Raises:
        CheckpointError: no record, unreadable, another schema version, or values of the wrong type.
    """
    if not (Path(folder) / RECORD).exists():
        raise CheckpointError(f"{folder}: no checkpoint here ({RECORD} is missing)")
    try:
        return parse_record(_read(folder, RECORD).decode(), str(Path(folder) / RECORD))
    except UnicodeDecodeError:
        raise CheckpointError(f"{folder}: {RECORD} is not text") from None


def parse_record(text: str, origin: str) -> Record:
    """Parses the text of a checkpoint.json; `origin` names it in errors. Raises CheckpointError."""
    try:
        values = json.loads(text)
    except (ValueError, RecursionError):
        raise CheckpointError(f"{origin}: not valid JSON") from None
    if not isinstance(values, dict):
        raise CheckpointError(f"{origin}: not a checkpoint record")
    if values.get("schema") != SCHEMA:
        found = values.get("schema")
        raise CheckpointError(
            f"{origin}: schema version {found!r}, this program reads {SCHEMA}; update the older of the two"
        )
    values.setdefault("weights", "float32")  # records older than the choice lack it
    missing = [name for name in _FIELDS if name not in values]
    if missing:
        raise CheckpointError(f"{origin}: the record lacks {', '.join(missing)}")
    for name, kind in _FIELDS.items():
        if not _is(values[name], kind):
            raise CheckpointError(f"{origin}: {name} has the wrong type")
    record = Record(**{name: values[name] for name in _FIELDS})
    for name in (record.experiment, record.checkpoint):
        if not NAME.fullmatch(name):
            raise CheckpointError(f"{origin}: {name!r} is not a valid name")
    if odd := sorted(set(record.files) ^ (set(SIZE_LIMITS) - {RECORD})):
        fault = "names" if odd[0] in record.files else "does not name"
        raise CheckpointError(f"{origin}: the record {fault} a file {odd[0]!r}")
    for name, entry in record.files.items():
        if not 0 <= entry["size"] <= SIZE_LIMITS[name]:
            raise CheckpointError(f"{origin}: {name} is larger than the limit of {SIZE_LIMITS[name]} bytes")
    if record.weights not in DATATYPES:
        raise CheckpointError(f"{origin}: weights are neither {' nor '.join(DATATYPES)}")
    if any(len(values) != 2 for values in record.changes.values()):
        raise CheckpointError(f"{origin}: changes has the wrong type")
    if record.pixels != pixels.CONTRACT:
        raise CheckpointError(f"{origin}: pixel contract {record.pixels}, this program knows {pixels.CONTRACT}")
    return record


_NUMBER = (int, float)
_FIELDS: dict[str, Any] = {
    "experiment": str,
    "checkpoint": str,
    "question": str,
    "base": (str, type(None)),
    "changes": {str: [object]},
    "config": {str: object},
    "generator": {"architecture": str, "channels": int},
    "phase": str,
    "epoch": int,
    "step": int,
    "seed": int,
    "data": {"anime": int, "photos": int, "source": str, "terms": str},
    "compute": {"device": str, "seconds": _NUMBER, "images": int, "precision": str},
    "libraries": {str: str},
    "metrics": {str: _NUMBER},
    "pixels": {str: object},
    "probe": [_NUMBER],
    "files": {str: {"sha256": str, "size": int}},
    "weights": str,
    "schema": int,
}
"""What a record holds, as types; {str: ...} is any dict of such values, [...] any list, {"name": ...} at least these."""


def _is(value: Any, kind: Any) -> bool:
    """Whether a value from JSON is of a kind as `_FIELDS` writes it; numbers are finite and below 2**53."""
    if isinstance(kind, dict):
        if not isinstance(value, dict):
            return False
        if str in kind:
            return all(_is(item, kind[str]) for item in value.values())
        return all(name in value and _is(value[name], inner) for name, inner in kind.items())
    if isinstance(kind, list):
        return isinstance(value, list) and all(_is(item, kind[0]) for item in value)
    if isinstance(value, bool) or not isinstance(value, kind):
        return kind is object
    return not isinstance(value, int | float) or abs(value) < 2**53  # NaN is not


def yardsticks(records: Iterable[Record]) -> tuple[str, str]:
    """Names of the style and the content distance that compare checkpoints.

    They are the independent ones, in a network that nothing is trained against, where all that were measured have them.
    """
    measured = [record.metrics.keys() for record in records if "style" in record.metrics]
    independent = "independent_style", "independent_content"
    return independent if measured and all(names >= set(independent) for names in measured) else ("style", "content")


def verify_files(folder: Path, record: Record, names: Iterable[str] | None = None) -> None:
    """Compares size and sha256 of every file, or of those named, with the record. Raises CheckpointError for the first."""
    for name in record.files if names is None else names:
        if name == RECORD:
            continue
        path, entry = Path(folder) / name, record.files[name]
        if not path.is_file():
            raise CheckpointError(f"{folder}: {name} is missing")
        if path.stat().st_size != entry["size"] or _sha256(path) != entry["sha256"]:
            raise CheckpointError(f"{folder}: {name} is damaged or was changed (its sha256 differs from the record)")


def load_generator(folder: Path, into: "keras.Model | None" = None) -> "keras.Model":
    """Rebuilds the generator of a checkpoint and verifies the whole checkpoint.

    Args:
        folder: .../EXPERIMENT/CHECKPOINT.
        into: a generator of the same config, which takes the weights instead of a new one: that is quicker.

    Returns:
        A Functional model of stock layers, float32, see `hub_export.generator`.

    Raises:
        CheckpointError: missing, damaged, tampered with, or its probe draws something else.
    """
    folder = Path(folder)
    record = read_record(folder)
    verify_files(folder, record)
    read_history(folder)
    read_samples(folder)
    config = record.generator_config

    from hub_export.generator import build_generator, dtype_policy

    with dtype_policy("float32"):
        generator = build_generator(config) if into is None else into
    _check_config(folder, [type(operation).__name__ for operation in generator.operations])
    try:
        assign_weights(generator, (folder / WEIGHTS).read_bytes(), record.weights)
    except ValueError as error:
        raise CheckpointError(f"{folder}: {error}") from None
    if len(record.probe) != 3 * len(PROBE_POINTS):
        raise CheckpointError(f"{folder}: the probe has {len(record.probe)} values, not {3 * len(PROBE_POINTS)}")
    difference = float(np.max(np.abs(probe_values(generator) - np.asarray(record.probe))))
    if not difference <= PROBE_TOLERANCE:
        raise CheckpointError(
            f"{folder}: the generator does not draw what its record says (probe differs by {difference:.3f})"
        )
    return generator


def read_history(folder: Path) -> list[dict[str, Any]]:
    """Every loss term so far, a row per logged step: {"step": 10, "epoch": 1, "phase": "warm-up", "g_content": 0.2, ...}.

    Raises:
        CheckpointError: missing, or not what `save_checkpoint` writes.
    """
    lines = _read(folder, HISTORY).splitlines()
    if len(lines) > MAX_HISTORY_ROWS or any(len(line) > MAX_HISTORY_ROW for line in lines):
        raise CheckpointError(f"{folder}: {HISTORY} is longer than any training")
    rows = [_parse_json(folder, HISTORY, line) for line in lines]
    if not all(_is(row, {"step": int}) and _is(row, {str: (str, *_NUMBER)}) for row in rows):
        raise CheckpointError(f"{folder}: {HISTORY} is not a list of loss terms")
    return rows


def read_samples(folder: Path) -> np.ndarray:
    """The picture of fixed photos, uint8 RGB (H, W, 3). Raises CheckpointError for anything but a JPEG of a sane size."""
    try:
        with Image.open(io.BytesIO(jpeg.bounded(_read(folder, SAMPLES))), formats=["JPEG"]) as image:
            if max(image.size) > MAX_SAMPLES_SIDE:
                raise CheckpointError(f"{folder}: {SAMPLES} has {image.width} x {image.height} pixels")
            return np.asarray(image.convert("RGB"))
    except CheckpointError:
        raise
    except Exception:  # Pillow raises many kinds for a malformed file
        raise CheckpointError(f"{folder}: {SAMPLES} is not a JPEG picture") from None


def save_checkpoint(
    folder: Path,
    generator: "keras.Model",
    record: Record,
    history: Sequence[Mapping[str, Any]],
    samples: np.ndarray,
) -> Record:
    """Writes a complete checkpoint folder; a kill at any moment leaves the old one or none, never half of one.

    Args:
        folder: .../EXPERIMENT/CHECKPOINT; replaced if it exists.
        generator: plain model as `build_generator` makes it, float32.
        record: without `probe`, `files` and `weights`, which are determined here.
        history: one mapping per logged step.
        samples: uint8 (H, W, 3), fixed photos and what the generator makes of them.

    Returns:
        The completed record.
    """
    from hub_export.card import model_card

    folder = Path(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    aside.chmod(0o755)
    try:
        generator.save(aside / "keras", zipped=False)
        for name in (CONFIG, METADATA, WEIGHTS):
            (aside / "keras" / name).rename(aside / name)
        shutil.rmtree(aside / "keras")
        read_weights((aside / WEIGHTS).read_bytes())
        rows = history[:: -(-len(history) // MAX_HISTORY_ROWS) or 1]
        (aside / HISTORY).write_text("".join(json.dumps(dict(row)) + "\n" for row in rows), "utf-8")
        picture = io.BytesIO()
        Image.fromarray(samples).save(picture, "JPEG", quality=90)
        (aside / SAMPLES).write_bytes(picture.getvalue())
        probe = [round(float(value), 6) for value in probe_values(generator)]
        record = dataclasses.replace(record, probe=probe, weights="float32", files=_measure(aside))
        (aside / CARD).write_text(model_card(record), "utf-8")
        record = write_record(aside, record)
        for path in aside.iterdir():
            _fsync(path)
        _fsync(aside)
        replace_folder(aside, folder)
    except ValueError as error:
        raise CheckpointError(f"{folder} cannot be saved: {error}") from None
    finally:
        for leftover in folder.parent.glob(f".{folder.name}-*"):  # this one's, and those of saves that were killed
            shutil.rmtree(leftover, ignore_errors=True)
    return record


def write_record(folder: Path, record: Record) -> Record:
    """Writes checkpoint.json with the sizes and hashes of the files now in `folder`; returns the record written.

    Raises:
        CheckpointError: `read_record` would not take it.
    """
    record = dataclasses.replace(record, files=_measure(folder))
    text = record_text(record)
    parse_record(text, str(Path(folder) / RECORD))
    write_aside(Path(folder) / RECORD, text.encode())
    return record


def record_text(record: Record) -> str:
    """checkpoint.json of a record."""
    return json.dumps(dataclasses.asdict(record), indent=1)


def write_aside(path: Path, content: bytes) -> None:
    """Replaces a file in one step: write beside it, fsync, rename."""
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    with open(aside, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    aside.replace(path)
    _fsync(path.parent)


def replace_folder(aside: Path, folder: Path) -> None:
    """Puts the finished folder `aside` in place of `folder`, which may exist."""
    if folder.exists():
        old = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
        folder.rename(old / "old")
        aside.rename(folder)
        shutil.rmtree(old)
    else:
        aside.rename(folder)
    _fsync(folder.parent)


_ROWS, _COLUMNS = np.mgrid[0:64, 0:64].astype(np.float32)
PROBE_INPUT = np.stack(
    [np.sin(_ROWS / 5.0), np.cos(_COLUMNS / 7.0), np.sin((_ROWS + 2.0 * _COLUMNS) / 11.0)], axis=-1, dtype=np.float32
)[None]
"""(1, 64, 64, 3) in [-1, 1]: smooth waves, the same on every machine."""
PROBE_POINTS = [(row, column) for row in (3, 20, 37, 58) for column in (5, 26, 43, 61)]


def probe_values(generator: "keras.Model") -> np.ndarray:
    """What a generator draws at 16 points of `PROBE_INPUT`, (48,) float32: the RGB values in order."""
    drawn = np.asarray(generator(PROBE_INPUT, training=False), np.float32)[0]
    return np.concatenate([drawn[row, column] for row, column in PROBE_POINTS])


def _check_config(folder: Path, layers: list[str]) -> None:
    """Refuses files that stock Keras should not be given: config.json names other classes or layers than the generator's."""
    _parse_json(folder, METADATA, _read(folder, METADATA))
    config = _parse_json(folder, CONFIG, _read(folder, CONFIG))
    pending: list[Any] = [config]
    while pending:
        item = pending.pop()
        if isinstance(item, dict):
            name, module = item.get("class_name"), str(item.get("module") or "keras")
            own = module == "keras" or module.startswith("keras.")
            own = own and str(name) in STOCK_CLASSES and item.get("registered_name") in (None, name)
            if "class_name" in item and not own:
                raise CheckpointError(f"{folder}: {CONFIG} names {module}.{name}, which is no part of a generator")
            pending.extend(item.values())
        elif isinstance(item, list):
            pending.extend(item)
    try:
        found = [layer["class_name"] for layer in config["config"]["layers"]]
    except (KeyError, TypeError):
        found = []
    if config.get("class_name") != "Functional" or found != layers:
        raise CheckpointError(f"{folder}: {CONFIG} describes another network than the record")


def _read(folder: Path, name: str) -> bytes:
    path = Path(folder) / name
    try:
        if not path.is_file() or path.stat().st_size > SIZE_LIMITS[name]:
            raise CheckpointError(f"{folder}: {name} is no file, or larger than the limit of {SIZE_LIMITS[name]} bytes")
        return path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"{folder}: {name} cannot be read ({error.strerror})") from None


def _parse_json(folder: Path, name: str, content: bytes) -> dict[str, Any]:
    try:
        values = json.loads(content)
    except (ValueError, RecursionError):
        raise CheckpointError(f"{folder}: {name} is not valid JSON") from None
    if not isinstance(values, dict):
        raise CheckpointError(f"{folder}: {name} holds no JSON object")
    return values


def _measure(folder: Path) -> dict[str, dict[str, Any]]:
    """Name to {"sha256", "size"} of a checkpoint's files, without the record."""
    return {
        path.name: {"sha256": _sha256(path), "size": path.stat().st_size}
        for path in sorted(Path(folder).iterdir())
        if path.name in SIZE_LIMITS and path.name != RECORD
    }


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _fsync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
