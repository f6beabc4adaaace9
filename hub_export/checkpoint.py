"""The checkpoint format: a folder that Keras, the Hub and our app all read.

    config.json  metadata.json  model.weights.h5   Keras' own unzipped layout, stock layers only
    checkpoint.json                                the record: what it is, where it came from, sha256 of every file, a probe
    history.jsonl  samples.jpg  README.md          every loss term so far, fixed photos, the model card

Writing is aside, fsync, rename: a folder with the final name is complete. Reading trusts nothing: names and sizes are
checked, the generator is rebuilt from `GeneratorConfig` and takes only numbers from the weights file, and a probe
(fixed input, known output) shows that it draws what it drew when it was saved. Keras loads only when weights do.
"""

import contextlib
import dataclasses
import hashlib
import io
import json
import math
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from hub_export import pixels

if TYPE_CHECKING:
    import keras

    from hub_export.generator import GeneratorConfig

SCHEMA = 1
RECORD, CARD, HISTORY, SAMPLES = "checkpoint.json", "README.md", "history.jsonl", "samples.jpg"
CONFIG, METADATA, WEIGHTS = "config.json", "metadata.json", "model.weights.h5"
SIZE_LIMITS = {
    RECORD: 2**20,
    CARD: 2**20,
    HISTORY: 2**26,
    SAMPLES: 2**24,
    CONFIG: 2**22,
    METADATA: 2**16,
    WEIGHTS: 2**28,
}
"""Every file a checkpoint may hold and its largest size in bytes."""
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
    schema: int = SCHEMA

    @property
    def generator_config(self) -> "GeneratorConfig":
        """Which generator to rebuild. Loads Keras. Raises CheckpointError if the record names none we know."""
        from hub_export.generator import GeneratorConfig

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
    path = Path(folder) / RECORD
    try:
        if path.stat().st_size > SIZE_LIMITS[RECORD]:
            raise CheckpointError(f"{path}: larger than any checkpoint record")
        return parse_record(path.read_text("utf-8"), str(path))
    except FileNotFoundError:
        raise CheckpointError(f"{folder}: no checkpoint here ({RECORD} is missing)") from None
    except (OSError, UnicodeDecodeError) as error:
        raise CheckpointError(f"{path}: cannot be read ({error})") from None


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
        raise CheckpointError(f"{origin}: schema version {found!r}, this program reads {SCHEMA}; update the older of the two")
    types = {field.name: field.type for field in dataclasses.fields(Record)}
    missing = [name for name in types if name not in values]
    if missing:
        raise CheckpointError(f"{origin}: the record lacks {', '.join(missing)}")
    record = Record(**{name: values[name] for name in types})
    plain = {str: (str,), int: (int,), str | None: (str, type(None))}
    for name, declared in types.items():
        allowed = plain.get(declared) or ((list,) if str(declared).startswith("list") else (dict,))  # type: ignore[call-overload]
        if not isinstance(values[name], allowed) or isinstance(values[name], bool):
            raise CheckpointError(f"{origin}: {name} has the wrong type")
    for name in (record.experiment, record.checkpoint):
        if not NAME.fullmatch(name):
            raise CheckpointError(f"{origin}: {name!r} is not a valid name")
    for name, entry in record.files.items():
        if name not in SIZE_LIMITS or name == RECORD:
            raise CheckpointError(f"{origin}: a checkpoint holds no file named {name!r}")
        if not isinstance(entry, dict) or not isinstance(entry.get("size"), int) or not isinstance(entry.get("sha256"), str):
            raise CheckpointError(f"{origin}: no size and sha256 for {name}")
        if not 0 <= entry["size"] <= SIZE_LIMITS[name]:
            raise CheckpointError(f"{origin}: {name} is larger than the limit of {SIZE_LIMITS[name]} bytes")
    if WEIGHTS not in record.files:
        raise CheckpointError(f"{origin}: the record names no {WEIGHTS}")
    if record.pixels != pixels.CONTRACT:
        raise CheckpointError(f"{origin}: pixel contract {record.pixels}, this program knows {pixels.CONTRACT}")
    if not record.probe or not all(isinstance(value, float | int) and math.isfinite(value) for value in record.probe):
        raise CheckpointError(f"{origin}: the probe is not a list of numbers")
    return record


def verify_files(folder: Path, record: Record) -> None:
    """Compares size and sha256 of every file with the record. Raises CheckpointError naming the first that differs."""
    for name, entry in record.files.items():
        path = Path(folder) / name
        if not path.is_file():
            raise CheckpointError(f"{folder}: {name} is missing")
        if path.stat().st_size != entry["size"] or _sha256(path) != entry["sha256"]:
            raise CheckpointError(f"{folder}: {name} is damaged or was changed (its sha256 differs from the record)")


def load_generator(folder: Path) -> "keras.Model":
    """Rebuilds the generator of a checkpoint and verifies it.

    Returns:
        A Functional model of stock layers, float32, see `hub_export.generator`.

    Raises:
        CheckpointError: missing, damaged, tampered with, or its probe draws something else.
    """
    folder = Path(folder)
    record = read_record(folder)
    verify_files(folder, record)
    config = record.generator_config

    import keras

    from hub_export.generator import build_generator

    with _float32_policy(keras):
        generator = build_generator(config)
    _check_weights_file(folder / WEIGHTS, generator)
    try:
        generator.load_weights(folder / WEIGHTS)
    except Exception as error:  # h5py and Keras raise many kinds for a malformed file
        raise CheckpointError(f"{folder}: the weights do not fit generator {config.architecture} ({type(error).__name__})") from None
    difference = np.max(np.abs(probe_values(generator) - np.asarray(record.probe)), initial=0.0)
    if len(record.probe) != len(PROBE_POINTS) * 3 or not difference <= PROBE_TOLERANCE:
        raise CheckpointError(f"{folder}: the generator does not draw what its record says (probe differs by {difference:.3f})")
    return generator


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
        record: without `probe` and `files`, which are measured here.
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
        (aside / HISTORY).write_text("".join(json.dumps(dict(row)) + "\n" for row in history), "utf-8")
        picture = io.BytesIO()
        Image.fromarray(samples).save(picture, "JPEG", quality=90)
        (aside / SAMPLES).write_bytes(picture.getvalue())
        record = dataclasses.replace(record, probe=[round(float(value), 6) for value in probe_values(generator)])
        write_record(aside, record)
        (aside / CARD).write_text(model_card(record), "utf-8")
        record = write_record(aside, record)
        for path in aside.iterdir():
            _fsync(path)
        _fsync(aside)
        replace_folder(aside, folder)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return record


def write_record(folder: Path, record: Record) -> Record:
    """Writes checkpoint.json with the sizes and hashes of the files now in `folder`; returns the record written."""
    files = {
        path.name: {"sha256": _sha256(path), "size": path.stat().st_size}
        for path in sorted(Path(folder).iterdir())
        if path.name in SIZE_LIMITS and path.name != RECORD
    }
    record = dataclasses.replace(record, files=files)
    write_aside(Path(folder) / RECORD, json.dumps(dataclasses.asdict(record), indent=1).encode())
    return record


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


def _check_weights_file(path: Path, generator: "keras.Model") -> None:
    """Refuses an h5 file that links outside itself or is larger in memory than the model it is for."""
    import h5py

    limit = 2 * sum(math.prod(weight.shape) for weight in generator.weights) + 2**20
    try:
        with h5py.File(path, "r") as file:
            total = sum(math.prod(dataset.shape) for dataset in _datasets(file))
    except CheckpointError:
        raise
    except Exception as error:
        raise CheckpointError(f"{path}: not a readable weights file ({type(error).__name__})") from None
    if total > limit:
        raise CheckpointError(f"{path}: holds {total} numbers, the generator has {limit // 2}")


def _datasets(group: Any, depth: int = 0) -> Iterator[Any]:
    import h5py

    if depth > 12:
        raise CheckpointError(f"{group.file.filename}: nested too deeply")
    for name in group:
        if not isinstance(group.get(name, getlink=True), h5py.HardLink):
            raise CheckpointError(f"{group.file.filename}: {name} is a link, which a checkpoint may not hold")
        item = group[name]
        if isinstance(item, h5py.Group):
            yield from _datasets(item, depth + 1)
        elif isinstance(item, h5py.Dataset):
            if item.external or item.is_virtual or item.dtype.kind not in "fiubSO":
                raise CheckpointError(f"{group.file.filename}: {name} is stored outside the file")
            yield item


@contextlib.contextmanager
def _float32_policy(keras: Any) -> Iterator[None]:
    """Builds in float32 whatever policy training has set."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float32")
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _fsync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
