"""A released checkpoint has half the size, draws the same and is a checkpoint like any other; others are not made."""

import dataclasses
import hashlib
import json
import re
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np
import pytest

from hub_export import pixels
from hub_export.architecture import KINDS, GeneratorConfig
from hub_export.card import model_card
from hub_export.checkpoint import PROBE_INPUT, load_generator, probe_values, read_samples, save_checkpoint
from hub_export.folder import FolderStore
from hub_export.generator import build_generator
from hub_export.half import copy_in_half, main, parser
from hub_export.publish import publish
from hub_export.record import CARD, RECORD, WEIGHTS, CheckpointError, read_record
from hub_export.store import resolve
from support.checkpoints import reseal, save_tiny, tiny_record
from support.hub import HubServer
from train import run as training

pytestmark = pytest.mark.slow

CONFIGS: dict[str, dict[str, Any]] = {name: {"architecture": name, "channels": 16} for name in KINDS}
CONFIGS["lite-kept"] = CONFIGS["lite"] | {"colours": "kept"}
PICTURE = np.random.default_rng(0).integers(0, 256, (64, 128, 3), np.uint8)


def run(*words: Path | str) -> None:
    main(parser().parse_args([str(word) for word in words]))


def soften(generator: keras.Model, factor: float) -> None:
    """Scales what enters the final tanh; untrained, v1 is steeper than anything trained."""
    kernel = generator.layers[-2].kernel
    kernel.assign(factor * kernel)


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "tiny" / "epoch-001"
    save_tiny(folder)
    return folder


class Halved(NamedTuple):
    """A checkpoint and its generator, its release, that one's generator, and the change that this makes to the picture."""

    source: Path
    generator: keras.Model
    release: Path
    loaded: keras.Model
    change: float


@pytest.fixture(scope="module")
def halved(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Halved]:
    """By config."""
    runs, found = tmp_path_factory.mktemp("every architecture"), {}
    for name, config in CONFIGS.items():
        keras.utils.set_random_seed(len(found))
        source = runs / name / "epoch-001"
        generator = build_generator(GeneratorConfig(**config))
        if name in ("v1", "diary"):
            soften(generator, 0.25)
        save_checkpoint(source, generator, tiny_record(source, generator=config), [], PICTURE)
        before = (source / RECORD).read_bytes()
        release, change = copy_in_half(source, runs / "release")
        found[name] = Halved(source, generator, release, load_generator(release), change)
        assert (source / RECORD).read_bytes() == before
    return found


@pytest.mark.parametrize("name", CONFIGS)
def test_half_the_size_and_the_same_picture(halved: dict[str, Halved], name: str) -> None:
    source, generator, folder, loaded, change = halved[name]
    assert folder == source.parents[1] / "release" / name / "epoch-001" and 0 < change <= 1
    assert read_record(source).weights == "float32"

    record = read_record(folder)
    sizes = [path.stat().st_size for path in (folder / WEIGHTS, source / WEIGHTS)]
    assert sizes[0] < 0.62 * sizes[1], "groups and names are not halved"
    for new, old in zip(loaded.weights, generator.weights, strict=True):
        assert new.dtype == "float32" and np.array_equal(new, np.asarray(old).astype(np.float16))
    drawn = [pixels.draw(model, PICTURE, 8).astype(int) for model in (loaded, generator)]
    assert np.abs(drawn[0] - drawn[1]).max() <= 1
    assert np.allclose(record.probe, probe_values(loaded), atol=1e-5)
    expected = tiny_record(source, generator=CONFIGS[name], weights="float16")
    assert dataclasses.replace(record, files={}, probe=[]) == expected
    assert (folder / CARD).read_text("utf-8") == model_card(record) and f"`{record.sha256}`, float16" in model_card(record)
    assert np.array_equal(read_samples(folder), read_samples(source))


def test_stock_keras_draws_the_same_picture_bit_for_bit(halved: dict[str, Halved], tmp_path: Path) -> None:
    photo = PROBE_INPUT[:, :40]  # not square
    np.save(tmp_path / "photo.npy", photo)
    folders = [str(folder) for each in halved.values() for folder in (each.source, each.release)]
    code = f"""
import hashlib, sys, keras, numpy as np
photo = np.load("photo.npy")
for folder in {folders!r}:
    generator = keras.saving.load_model(folder)
    assert {{variable.dtype for variable in generator.weights}} == {{"float32"}}
    print(hashlib.sha256(np.asarray(generator(photo)).tobytes()).hexdigest())
assert not {{"hub_export", "train", "animegan_app"}} & set(sys.modules)
"""
    stock = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)

    def digest(generator: keras.Model) -> str:
        """Of what it draws."""
        return hashlib.sha256(np.asarray(generator(photo)).tobytes()).hexdigest()

    ours = [digest(model) for each in halved.values() for model in (load_generator(each.source), each.loaded)]
    assert stock.stdout.split() == ours
    assert ours[::2] == [digest(each.generator) for each in halved.values()], "as it was saved"


def test_a_run_is_released_whole_again_and_from_a_release(
    original: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_tiny(tmp_path / "runs" / "other" / "epoch-001", 1)
    save_tiny(tmp_path / "runs" / "other" / "epoch-002", 2, step=800)
    into = tmp_path / "release"
    for _ in range(2):  # the second replaces the first
        run(original, tmp_path / "runs" / "other", "--into", into)
        lines = capsys.readouterr().out.splitlines()
        assert len(lines) == 4 and lines[0].startswith(str(into / "tiny" / "epoch-001"))
        copied = sum(path.stat().st_size for path in into.rglob("*") if path.is_file())
        assert lines[-1] == f"together {copied / 1e6:.1f} MB"
    assert sorted(path.name for path in into.glob("*/.*")) == []
    store = FolderStore(into)
    assert [record.step for record in store.checkpoints("other")] == [390, 800] and not store.problems()
    sha = read_record(into / "tiny" / "epoch-001").sha256
    folder, change = copy_in_half(into / "tiny" / "epoch-001", tmp_path / "again")
    assert change == 0 and read_record(folder).sha256 == sha


def test_what_would_not_draw_the_same_is_not_made_and_the_others_are(
    original: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    large, steep = (tmp_path / "runs" / "tiny" / name for name in ("epoch-002", "epoch-003"))
    samples = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    generator = save_tiny(large)
    generator.layers[-2].bias.assign([70_000.0, 0, 0])  # beyond float16
    save_checkpoint(large, generator, tiny_record(large), [], samples)
    generator = build_generator(GeneratorConfig("v1", 16))
    soften(generator, 4.0)
    config = {"architecture": "v1", "channels": 16}
    save_checkpoint(steep, generator, tiny_record(steep, generator=config), [], samples)
    into = tmp_path / "release"
    with pytest.raises(CheckpointError, match=re.escape(f"not copied: {large}, {steep}")):
        run(large, steep, original, "--into", into)
    first, second = capsys.readouterr().err.splitlines()
    assert first == f"{large} cannot be kept in float16: layers/conv2d_20/vars/1 holds numbers that are not finite"
    assert second.startswith(f"{steep} cannot be kept in float16: its picture would change by ")
    assert second.endswith(" of 255 levels; ship it as it is")
    assert [path.name for path in into.glob("*/*")] == ["epoch-001"]


def test_a_damaged_checkpoint_is_not_released(
    original: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "tiny" / "epoch-001"
    save_tiny(folder)
    content = bytearray((folder / WEIGHTS).read_bytes())
    content[-1] ^= 1
    (folder / WEIGHTS).write_bytes(content)
    with pytest.raises(CheckpointError, match="its sha256 differs"):
        copy_in_half(folder, tmp_path / "release")
    reseal(folder, probe=[0.0] * 48)
    with pytest.raises(CheckpointError, match="does not draw what its record says"):
        copy_in_half(folder, tmp_path / "release")
    assert not (tmp_path / "release").exists()
    monkeypatch.setattr(sys, "argv", ["release", str(tmp_path), "--into", str(tmp_path / "release")])
    with pytest.raises(SystemExit, match=re.escape(f"hub_export.half: not copied: {tmp_path}")):
        runpy.run_module("hub_export.half", run_name="__main__")
    assert f"{tmp_path}: no checkpoint here" in capsys.readouterr().err


def test_a_released_checkpoint_is_published_and_fetched(hub: HubServer, original: Path, tmp_path: Path) -> None:
    folder, _ = copy_in_half(original, tmp_path / "release")
    publish(folder, "you/animegan-tiny", log=lambda line: None)
    fetched = resolve("hub:you/animegan-tiny@epoch-001")
    assert read_record(fetched).weights == "float16" and json.loads((fetched / RECORD).read_text())["weights"] == "float16"
    pairs = zip(load_generator(fetched).weights, load_generator(folder).weights, strict=True)
    assert all(np.array_equal(one, other) for one, other in pairs)


@pytest.mark.usefixtures("eager")
@pytest.mark.filterwarnings("ignore:Even though the .tf.config")
def test_training_starts_from_a_released_checkpoint(tmp_path: Path, original: Path) -> None:
    folder, _ = copy_in_half(original, tmp_path / "release")
    words = ["smoke", "--init", str(folder), "--set", "generator.channels=4", "--set", "schedule.generator_rate=0"]
    words += ["--steps", "0+1", "--precision", "float32", "--name", "from-half"]
    words += ["--runs", str(tmp_path), "--cache", str(tmp_path / "cache"), "--set", "schedule.ema=0"]
    training.main(training.parser().parse_args(words))
    (trained,) = (tmp_path / "from-half").glob("step-*")
    assert read_record(trained).weights == "float32"
    pairs: list[tuple[keras.Variable, keras.Variable]] = list(
        zip(load_generator(trained).weights, load_generator(folder).weights, strict=True)
    )
    assert all(np.array_equal(one, other) for one, other in pairs)
