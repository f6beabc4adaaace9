"""Copies checkpoints to where they ship, at half their size: their weights in float16.

    python -m hub_export.half runs/cel/epoch-025 --into animegan_app/checkpoints
    python -m hub_export.half runs/cel runs/ink/epoch-003 --into build/half    # a run: all its checkpoints

What both precisions draw of the checkpoint's own samples is compared: a copy whose picture would change by more than one
level of 255 is not made. The copy is a checkpoint like any other: app, publishing, evaluation and `--init` take it, and
stock Keras loads it into float32 variables.
"""

import argparse
import dataclasses
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hub_export import pixels
from hub_export.card import model_card
from hub_export.checkpoint import load_generator, probe_values, read_samples, write_record
from hub_export.files import explain_os, os_sentence, replacing, write_aside
from hub_export.record import CARD, RECORD, WEIGHTS, CheckpointError, read_record
from hub_export.sentences import Sentence
from hub_export.weights import assign_weights, half_weights, read_weights

if TYPE_CHECKING:
    import keras

LARGEST_CHANGE = 1.0
"""In levels of 255."""
MOST_PIXELS = 2_000_000
"""Of samples, of which ours have half as many: a generator takes up to 2 kB for each."""


def copy_in_half(source: Path, into: Path) -> tuple[Path, float]:
    """Copies one checkpoint with its weights in float16.

    Args:
        source: .../EXPERIMENT/CHECKPOINT, verified before; its metrics stay those of its own weights.
        into: the copy is INTO/EXPERIMENT/CHECKPOINT and replaces what is there; a kill leaves the old one or none.

    Returns:
        The copy's folder, and by how many levels of 255 its picture of the samples differs at most.

    Raises:
        CheckpointError: not a checkpoint, damaged, or its picture would change by more than LARGEST_CHANGE.
    """
    generator, record = load_generator(source), read_record(source)
    samples = read_samples(source)
    if samples.shape[0] * samples.shape[1] > MOST_PIXELS:
        samples = pixels.limit_size(samples, 1024)
    before = _drawn(generator, samples, record.generator_config.stride)
    content = half_weights(read_weights((source / WEIGHTS).read_bytes(), record.weights))
    try:
        assign_weights(generator, content, "float16")
    except ValueError as error:
        raise CheckpointError("{place} cannot be kept in float16: {why}", place=source, why=Sentence.of(error)) from None
    change = 127.5 * float(np.max(np.abs(_drawn(generator, samples, record.generator_config.stride) - before)))
    if not change <= LARGEST_CHANGE:
        raise CheckpointError(
            "{place} cannot be kept in float16: its picture would change by {change:.1f} of 255 levels; ship it as it is",
            place=source,
            change=change,
        )
    probe = [round(float(value), 6) for value in probe_values(generator)]
    record = dataclasses.replace(record, weights="float16", probe=probe)
    folder = into / record.experiment / record.checkpoint
    try:
        with replacing(folder) as aside:
            for name in record.files:
                shutil.copyfile(source / name, aside / name)
            write_aside(aside / WEIGHTS, content)
            record = write_record(aside, record)  # its card tells the hash of the weights
            write_aside(aside / CARD, model_card(record).encode())
            write_record(aside, record)
    except OSError as error:
        why = explain_os(error)
        raise CheckpointError("{place} cannot be copied to {folder}: {why}", place=source, folder=folder, why=why) from error
    return folder, change


def _drawn(generator: "keras.Model", picture: np.ndarray, stride: int) -> np.ndarray:
    return np.asarray(generator(pixels.to_model(pixels.pad(picture, stride))[np.newaxis]))


def main(arguments: argparse.Namespace) -> None:
    """Copies every checkpoint that can be; raises CheckpointError with the first refusal once the others are done."""
    refusals = []
    size = 0
    for path in arguments.paths:
        inside = sorted(entry.parent for entry in path.glob(f"[!.]*/{RECORD}"))
        for source in inside or [path]:
            try:
                folder, change = copy_in_half(source, arguments.into)
            except CheckpointError as error:
                print(error, file=sys.stderr, flush=True)
                refusals.append(source)
                continue
            copied = sum(file.stat().st_size for file in folder.iterdir())
            size += copied
            print(f"{folder}: {copied / 1e6:.1f} MB, differs by at most {change:.2f} of 255 levels", flush=True)
    print(f"together {size / 1e6:.1f} MB")
    if refusals:
        raise CheckpointError("not copied: {places}", places=", ".join(map(str, refusals)))


def parser() -> argparse.ArgumentParser:
    """The command line."""
    raw = argparse.RawTextHelpFormatter
    p = argparse.ArgumentParser(prog="python -m hub_export.half", description=__doc__, formatter_class=raw)
    p.add_argument("paths", nargs="+", metavar="PATH", type=Path, help="a checkpoint's folder, or a run's for all of them")
    p.add_argument("--into", required=True, metavar="DIR", type=Path, help="the copies are DIR/EXPERIMENT/CHECKPOINT")
    return p


if __name__ == "__main__":
    try:
        main(parser().parse_args())
    except CheckpointError as error:
        sys.exit(f"hub_export.half: {error}")
    except OSError as error:
        sys.exit(f"hub_export.half: {os_sentence(error)}")
