"""Tiny real checkpoints, and what a forger does to them."""

import dataclasses
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np

from hub_export.architecture import GeneratorConfig
from hub_export.checkpoint import save_checkpoint
from hub_export.generator import build_generator
from hub_export.record import RECORD, Record

HISTORY_ROWS = [{"step": 10 * step, "epoch": 1, "phase": "warm-up", "g_content": 1 / step} for step in range(1, 40)]


def tiny_record(folder: Path, **changes: Any) -> Record:
    """The record of a lite generator with 4 channels."""
    record = Record(
        experiment=folder.parent.name,
        checkpoint=folder.name,
        question="What does a generator draw that has learned nothing?",
        base="official-v1",
        changes={"generator.channels": [64, 4]},
        config={"name": "tiny"},
        generator={"architecture": "lite", "channels": 4},
        phase="warm-up",
        epoch=1,
        step=390,
        seed=0,
        data={"photos": 12, "anime": 1200, "source": "Generated pictures.", "terms": "Free to use."},
        compute={"device": "a CPU", "seconds": 90.0, "images": 120, "precision": "float32"},
        libraries={"keras": keras.__version__},
        metrics={"style": 0.25},
    )
    return dataclasses.replace(record, **changes)


def save_tiny(folder: Path, seed: int = 0, **changes: Any) -> keras.Model:
    """Writes a real checkpoint with random weights, a history and samples, and returns its generator."""
    keras.utils.set_random_seed(seed)
    generator = build_generator(GeneratorConfig("lite", channels=4))
    samples = np.random.default_rng(seed).integers(0, 256, (64, 128, 3), np.uint8)
    save_checkpoint(folder, generator, tiny_record(folder, **changes), HISTORY_ROWS, samples)
    return generator


def tiny_checkpoint(folder: Path, seed: int = 0, **changes: Any) -> Record:
    """Writes a real checkpoint of a lite generator with 8 channels and random weights, at .../EXPERIMENT/CHECKPOINT."""
    keras.utils.set_random_seed(seed)
    config = GeneratorConfig("lite", channels=8)
    own = {"changes": {"generator.channels": [64, 8]}, "config": {}, "generator": dataclasses.asdict(config), "metrics": {}}
    record = tiny_record(folder, **own | {"step": 10 + seed, "seed": seed} | changes)
    return save_checkpoint(folder, build_generator(config), record, [], np.zeros((8, 8, 3), np.uint8))


def reseal(folder: Path, **changes: Any) -> None:
    """What a forger does: new hashes for the files as they are now, and changes to the record."""
    values = json.loads((folder / RECORD).read_text())
    for name, entry in values["files"].items():
        if (folder / name).is_file():
            content = (folder / name).read_bytes()
            entry |= {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content)}
    values |= changes
    (folder / RECORD).write_text(json.dumps(values))


def edit(name: str, change: Callable[[bytes], bytes], forge: bool = True) -> Callable[[Path], None]:
    def mutate(folder: Path) -> None:
        (folder / name).write_bytes(change((folder / name).read_bytes()))
        if forge:
            reseal(folder)

    return mutate


def edit_json(name: str, change: Callable[[Any], Any]) -> Callable[[Path], None]:
    return edit(name, lambda content: json.dumps(change(json.loads(content))).encode())


def layer(network: dict[str, Any], **changes: Any) -> dict[str, Any]:
    network["config"]["layers"][2] |= changes
    return network
