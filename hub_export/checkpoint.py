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
import math
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from hub_export.card import model_card
from hub_export.files import explain_os, replacing, write_aside
from hub_export.pictures import bounded
from hub_export.record import (
    BAD_TEXT,
    CARD,
    CONFIG,
    HISTORY,
    MAX_HISTORY_ROW,
    MAX_HISTORY_ROWS,
    MAX_SAMPLES_SIDE,
    MAX_TEXTS,
    METADATA,
    RECORD,
    SAMPLES,
    SIZE_LIMITS,
    WEIGHTS,
    CheckpointError,
    Record,
    brief,
    is_kind,
    is_number,
    parse_record,
    read_file,
    read_record,
    record_text,
)
from hub_export.sentences import Sentence
from hub_export.weights import assign_weights, read_weights

if TYPE_CHECKING:
    import keras

STOCK_CLASSES = {
    *("Functional", "InputLayer", "Conv2D", "DepthwiseConv2D", "GroupNormalization", "LeakyReLU", "Activation", "Add"),
    *("UpSampling2D", "AveragePooling2D", "Pad", "Subtract", "Multiply", "Split", "Clip", "DTypePolicy", "__keras_tensor__"),
    *("BatchNormalization", "Softmax", "Cast", "Mean", "Var", "Sqrt", "Sum", "Divide"),
    *("HeNormal", "GlorotUniform", "TruncatedNormal", "RandomNormal", "Zeros", "Ones"),
    *("Conv2DTranspose", "Cropping2D"),
}
"""The only classes that config.json may name, all of Keras itself, so that stock Keras runs no code of a stranger."""
PROBE_TOLERANCE = 0.02
"""Largest deviation of the probe in [-1, 1]: 2.5 of 255 levels, room for other hardware's rounding."""


def verify_files(folder: Path, record: Record, names: Iterable[str] | None = None) -> None:
    """Compares size and sha256 of every file, or of those named, with the record. Raises CheckpointError for the first."""
    for name in record.files if names is None else names:
        if name == RECORD:
            continue
        path, entry = Path(folder) / name, record.files[name]
        try:
            if not path.is_file():
                raise CheckpointError("{place}: {file} is missing", place=folder, file=name)
            intact = path.stat().st_size == entry["size"] and _sha256(path) == entry["sha256"]
        except OSError as error:
            why = explain_os(error)
            raise CheckpointError("{place}: {file} cannot be read ({why})", place=folder, file=name, why=why) from None
        if not intact:
            raise CheckpointError(
                "{place}: {file} is damaged or was changed (its sha256 differs from the record)", place=folder, file=name
            )


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
        assign_weights(generator, read_file(folder, WEIGHTS), record.weights)
    except ValueError as error:
        raise CheckpointError("{place}: {fault}", place=folder, fault=Sentence.of(error)) from None
    if len(record.probe) != 3 * len(PROBE_POINTS):
        count, known = len(record.probe), 3 * len(PROBE_POINTS)
        raise CheckpointError("{place}: the probe has {count} values, not {known}", place=folder, count=count, known=known)
    difference = float(np.max(np.abs(probe_values(generator) - np.asarray(record.probe))))
    if not difference <= PROBE_TOLERANCE:
        raise CheckpointError(
            "{place}: the generator does not draw what its record says (probe differs by {difference:.3f})",
            place=folder,
            difference=difference,
        )
    return generator


def read_history(folder: Path) -> list[dict[str, Any]]:
    """Every loss term so far, a row per logged step: {"step": 10, "epoch": 1, "phase": "warm-up", "g_content": 0.2, ...}.

    Raises:
        CheckpointError: missing, or not what `save_checkpoint` writes.
    """
    lines = read_file(folder, HISTORY).splitlines()
    if len(lines) > MAX_HISTORY_ROWS or any(len(line) > MAX_HISTORY_ROW for line in lines):
        raise CheckpointError("{place}: {file} is longer than any training", place=folder, file=HISTORY)
    rows, texts = [], set[str]()
    for line in lines:
        row = _parse_json(folder, HISTORY, line)
        if not (is_kind(row.get("step"), int) and all(isinstance(x, str) or is_number(x) for x in row.values())):
            raise CheckpointError("{place}: {file} is not a list of loss terms", place=folder, file=HISTORY)
        texts.update(row, (value for value in row.values() if isinstance(value, str)))
        if len(texts) > MAX_TEXTS:
            raise CheckpointError(
                "{place}: {file} holds more than {most} names of terms", place=folder, file=HISTORY, most=MAX_TEXTS
            )
        rows.append(row)
    if any(map(BAD_TEXT.search, texts)):
        fault = Sentence("a text with characters that cannot be shown")
        raise CheckpointError("{place}: {name} holds {fault}", place=folder, name=HISTORY, fault=fault)
    return rows


def read_samples(folder: Path) -> np.ndarray:
    """The picture of fixed photos, uint8 RGB (H, W, 3). Raises CheckpointError for anything but a JPEG of a sane size."""
    content = read_file(folder, SAMPLES)
    try:
        content = bounded(content)
    except ValueError as error:
        raise CheckpointError("{place}: {file} is {fault}", place=folder, file=SAMPLES, fault=Sentence.of(error)) from None
    try:
        with Image.open(io.BytesIO(content), formats=["JPEG"]) as image:
            if max(image.size) > MAX_SAMPLES_SIDE:
                size = {"width": image.width, "height": image.height}
                raise CheckpointError("{place}: {file} has {width} x {height} pixels", place=folder, file=SAMPLES, **size)
            return np.asarray(image.convert("RGB"))
    except CheckpointError:
        raise
    except Exception:  # Pillow raises many kinds for a malformed file
        raise CheckpointError("{place}: {file} is not a JPEG picture", place=folder, file=SAMPLES) from None


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

    Raises:
        CheckpointError: a number is not finite; or the disk is full or may not be written, then its cause is the OSError.
    """
    folder = Path(folder)
    try:
        with replacing(folder) as aside:
            generator.save(aside / "keras", zipped=False)
            for name in (CONFIG, METADATA, WEIGHTS):
                (aside / "keras" / name).rename(aside / name)
            shutil.rmtree(aside / "keras")
            read_weights((aside / WEIGHTS).read_bytes())
            (aside / HISTORY).write_text(_thinned(history), "utf-8")
            picture = io.BytesIO()
            Image.fromarray(samples).save(picture, "JPEG", quality=90)
            (aside / SAMPLES).write_bytes(picture.getvalue())
            probe = [round(float(value), 6) for value in probe_values(generator)]
            record = dataclasses.replace(record, probe=probe, weights="float32", files=_file_entries(aside))
            (aside / CARD).write_text(model_card(record), "utf-8")
            record = write_record(aside, record)
    except OSError as error:
        raise CheckpointError("{place} cannot be saved: {why}", place=folder, why=explain_os(error)) from error
    except ValueError as error:
        raise CheckpointError("{place} cannot be saved: {why}", place=folder, why=Sentence.of(error)) from None
    finally:
        for leftover in folder.parent.glob(f".{folder.name}-*"):  # of saves that were killed
            shutil.rmtree(leftover, ignore_errors=True)
    return record


def _thinned(history: Sequence[Mapping[str, Any]]) -> str:
    """Every n-th row, so that `read_history` takes them and evaluations have room beside them."""
    lines = [json.dumps(dict(row)) + "\n" for row in history]
    size = sum(map(len, lines))
    every = max(math.ceil(len(lines) / MAX_HISTORY_ROWS), math.ceil(2 * size / SIZE_LIMITS[HISTORY]), 1)
    return "".join(lines[::every])


def write_record(folder: Path, record: Record) -> Record:
    """Writes checkpoint.json with the sizes and hashes of the files now in `folder`; returns the record written.

    Raises:
        CheckpointError: `read_record` would not take it.
    """
    record = dataclasses.replace(record, files=_file_entries(folder))
    text = record_text(record)
    parse_record(text, Path(folder) / RECORD)
    write_aside(Path(folder) / RECORD, text.encode())
    return record


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
    _parse_json(folder, METADATA, read_file(folder, METADATA))
    config = _parse_json(folder, CONFIG, read_file(folder, CONFIG))
    pending: list[Any] = [config]
    while pending:
        item = pending.pop()
        if isinstance(item, dict):
            name, module = item.get("class_name"), str(item.get("module") or "keras")
            own = module == "keras" or module.startswith("keras.")
            own = own and str(name) in STOCK_CLASSES and item.get("registered_name") in (None, name)
            if "class_name" in item and not own:
                named = brief(f"{module}.{name}").strip("'")
                raise CheckpointError(
                    "{place}: {file} names {named}, which is no part of a generator", place=folder, file=CONFIG, named=named
                )
            pending.extend(item.values())
        elif isinstance(item, list):
            pending.extend(item)
    try:
        classes = [layer["class_name"] for layer in config["config"]["layers"]]
    except (KeyError, TypeError):
        classes = []
    if config.get("class_name") != "Functional" or classes != layers:
        raise CheckpointError("{place}: {file} describes another network than the record", place=folder, file=CONFIG)


def _parse_json(folder: Path, name: str, content: bytes) -> dict[str, Any]:
    try:
        values = json.loads(content.decode())
    except (ValueError, RecursionError):
        raise CheckpointError("{place}: {file} is not valid JSON", place=folder, file=name) from None
    if not isinstance(values, dict):
        raise CheckpointError("{place}: {file} holds no JSON object", place=folder, file=name)
    return values


def _file_entries(folder: Path) -> dict[str, dict[str, Any]]:
    """Name to {"sha256", "size"} of a checkpoint's files, without the record."""
    return {
        path.name: {"sha256": _sha256(path), "size": path.stat().st_size}
        for path in sorted(Path(folder).iterdir())
        if path.name in SIZE_LIMITS and path.name != RECORD
    }


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
