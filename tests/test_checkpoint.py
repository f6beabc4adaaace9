"""A checkpoint comes back as it was saved; a killed save leaves the old one or none; a hostile one is refused in words."""

import base64
import contextlib
import dataclasses
import hashlib
import io
import json
import marshal
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest
from PIL import Image

from hub_export.architecture import GeneratorConfig
from hub_export.checkpoint import PROBE_INPUT, load_generator, read_history, read_samples, save_checkpoint, write_record
from hub_export.generator import build_generator, dtype_policy
from hub_export.record import (
    CARD,
    CONFIG,
    HISTORY,
    METADATA,
    RECORD,
    SAMPLES,
    SIZE_LIMITS,
    WEIGHTS,
    CheckpointError,
    read_record,
)
from hub_export.weights import DATATYPES, half_weights, read_weights
from support.checkpoints import HISTORY_ROWS, edit, edit_json, layer, reseal, save_tiny, tiny_record
from support.language import translated
from support.pictures import with_scans, with_segments
from support.processes import Peak

KERNEL = "layers/conv2d_1/vars/0"


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, keras.Model]:
    folder = tmp_path_factory.mktemp("runs") / "tiny" / "epoch-001"
    return folder, save_tiny(folder)


@pytest.fixture
def folder(original: tuple[Path, keras.Model], tmp_path: Path) -> Path:
    return Path(shutil.copytree(original[0], tmp_path / "tiny" / "epoch-001"))


# --- saving and loading ---------------------------------------------------------------------------------------------


def test_round_trip(original: tuple[Path, keras.Model]) -> None:
    folder, generator = original
    assert {path.name for path in folder.iterdir()} == set(SIZE_LIMITS)
    loaded = load_generator(folder)
    assert all(np.array_equal(a, b) for a, b in zip(generator.get_weights(), loaded.get_weights(), strict=True))
    assert np.array_equal(generator(PROBE_INPUT), loaded(PROBE_INPUT))
    record = read_record(folder)
    assert dataclasses.replace(record, files={}, probe=[]) == tiny_record(folder)
    assert record.generator_config == GeneratorConfig("lite", channels=4)
    assert record.sha256 == hashlib.sha256((folder / WEIGHTS).read_bytes()).hexdigest()
    assert read_history(folder) == HISTORY_ROWS
    assert read_samples(folder).shape == (64, 128, 3)


def test_loads_in_float32_whatever_the_policy(original: tuple[Path, keras.Model]) -> None:
    with dtype_policy("mixed_bfloat16"):
        assert load_generator(original[0]).layers[1].compute_dtype == "float32"
        assert keras.config.dtype_policy().name == "mixed_bfloat16"


@pytest.mark.slow
def test_the_reader_agrees_with_hdf5_on_every_generator(tmp_path: Path) -> None:
    for architecture, channels in [("v1", 64), ("v2", 8), ("lite", 32)]:
        build_generator(GeneratorConfig(architecture, channels)).save(tmp_path / architecture, zipped=False)  # type: ignore[arg-type]
        path = tmp_path / architecture / WEIGHTS
        names: list[str] = []
        with h5py.File(path) as file:
            file.visit(names.append)
            found = {name: file[name][()] for name in names if isinstance(file[name], h5py.Dataset)}
        ours = read_weights(path.read_bytes())
        assert list(ours) == list(found) and all(np.array_equal(ours[name], found[name]) for name in found)


def test_half_weights_are_read_as_the_nearest_float32(tmp_path: Path) -> None:
    numbers = {
        "layers/conv2d/vars/0": np.array([[0.1, -65504.0, 6e-8, 0.0]], np.float32),
        "layers/conv2d/vars/1": np.linspace(-1, 1, 7, dtype=np.float32),
    }
    content = half_weights(numbers)
    found = read_weights(content, "float16")
    assert list(found) == list(numbers)
    for name, values in numbers.items():
        assert found[name].dtype == np.float32 and np.array_equal(found[name], values.astype(np.float16))
    with pytest.raises(ValueError, match="vars/0 does not hold float32 numbers"):
        read_weights(content)
    with pytest.raises(ValueError, match="vars/0 holds numbers that are not finite"):
        read_weights(half_weights({"layers/conv2d/vars/0": np.array([70_000.0])}), "float16")


def test_a_record_from_before_float16_and_looks_is_read(folder: Path) -> None:
    values = json.loads((folder / RECORD).read_text())
    assert (values.pop("weights"), values.pop("look")) == ("float32", {})
    (folder / RECORD).write_text(json.dumps(values))
    assert (read_record(folder).weights, read_record(folder).look) == ("float32", {})
    load_generator(folder)


def test_a_long_history_is_thinned(tmp_path: Path) -> None:
    folder = tmp_path / "tiny" / "epoch-001"
    generator = build_generator(GeneratorConfig("lite", channels=4))
    rows = [{"step": step} for step in range(120_000)]
    save_checkpoint(folder, generator, tiny_record(folder), rows, np.zeros((8, 8, 3), np.uint8))
    kept = read_history(folder)
    assert len(kept) == 40_000 and kept[:2] == [{"step": 0}, {"step": 3}]
    wide = {f"a_term_with_a_long_name_{number}": 0.123456789 for number in range(40)}  # CycleGAN's rows are as wide as this
    rows = [{"step": step} | wide for step in range(20_000)]  # 34 MB, more than a history may have
    save_checkpoint(folder, generator, tiny_record(folder), rows, np.zeros((8, 8, 3), np.uint8))
    kept = read_history(folder)
    assert len(kept) == 6_667 and [row["step"] for row in kept[:2]] == [0, 3]


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_broken_weights_are_not_saved_and_the_old_ones_stay(folder: Path, value: float) -> None:
    before = read_record(folder)
    generator = load_generator(folder)
    generator.layers[-2].bias.assign([value, 0, 0])
    with pytest.raises(CheckpointError, match=r"cannot be saved: .* not finite"):
        save_checkpoint(folder, generator, tiny_record(folder), [], np.zeros((8, 8, 3), np.uint8))
    assert read_record(folder) == before and [path.name for path in folder.parent.iterdir()] == [folder.name]


def test_a_record_that_could_not_be_read_is_not_written(folder: Path) -> None:
    before = (folder / RECORD).read_bytes()
    with pytest.raises(CheckpointError, match="metrics holds a number that is not finite"):
        write_record(folder, dataclasses.replace(read_record(folder), metrics={"style": float("nan")}))
    assert (folder / RECORD).read_bytes() == before


def test_no_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no checkpoint here"):
        load_generator(tmp_path / "nothing")
    (tmp_path / "folder" / RECORD).mkdir(parents=True)
    with pytest.raises(CheckpointError, match="is no file"):
        read_record(tmp_path / "folder")


KILLED_WHILE_SAVING = """
import itertools, os, random, signal, sys, time
from pathlib import Path
sys.path.insert(0, "tests")
from support.checkpoints import save_tiny  # Keras is imported once; its threads start with the first model, in the child
chance = random.Random(0)
for folder in map(Path, sys.argv[1:]):
    child = os.fork()
    if not child:
        try:
            for seed in itertools.count():
                save_tiny(folder, seed)
        finally:
            os._exit(1)
    while not (folder / "checkpoint.json").exists():  # then it saves the next one, and the next
        assert os.waitpid(child, os.WNOHANG) == (0, 0), "it ended by itself"
        time.sleep(0.01)
    time.sleep(chance.uniform(0, 0.4))
    os.kill(child, signal.SIGKILL)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
"""


@pytest.mark.slow
def test_kill_9_while_saving_leaves_the_old_one_or_none(tmp_path: Path) -> None:
    folders = [tmp_path / f"run-{number}" / "epoch-001" for number in range(5)]
    script = [sys.executable, "-c", KILLED_WHILE_SAVING, *map(str, folders)]
    done = subprocess.run(script, cwd=Path(__file__).parents[1], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    for folder in folders:
        if folder.exists():
            load_generator(folder)
    save_tiny(folder, 99)
    assert [path.name for path in folder.parent.iterdir()] == ["epoch-001"]  # what the killed save left is gone
    load_generator(folder)


# --- hostile checkpoints --------------------------------------------------------------------------------------------


def edit_h5(change: Callable[[h5py.File], Any]) -> Callable[[Path], None]:
    def mutate(folder: Path) -> None:
        with h5py.File(folder / WEIGHTS, "a") as file:
            change(file)
        reseal(folder)

    return mutate


def replace_dataset(path: str = KERNEL, **options: Any) -> Callable[[Path], None]:
    def change(file: h5py.File) -> None:
        options.setdefault("shape", file[path].shape)
        options.setdefault("dtype", "float32")
        del file[path]
        file.create_dataset(path, **options)

    return edit_h5(change)


def record(**changes: Any) -> Callable[[Path], None]:
    return lambda folder: reseal(folder, **changes)


def record_files(change: Callable[[dict[str, Any]], Any]) -> Callable[[Path], None]:
    def mutate(folder: Path) -> None:
        files = json.loads((folder / RECORD).read_text())["files"]
        change(files)
        reseal(folder, files=files)

    return mutate


def setting(network: dict[str, Any], **changes: Any) -> dict[str, Any]:
    network["config"]["layers"][2]["config"] |= changes
    return network


def flip(content: bytes, seed: int) -> bytes:
    changed = bytearray(content)
    changed[random.Random(seed).randrange(len(changed))] ^= 1 << (seed % 8)
    return bytes(changed)


def evil() -> None:
    open("/tmp/animegan-hostile-checkpoint", "w").close()


MARKER = Path("/tmp/animegan-hostile-checkpoint")
CODE = base64.b64encode(marshal.dumps(evil.__code__)).decode()
LAMBDA = {"class_name": "__lambda__", "config": {"code": CODE, "defaults": None, "closure": None}}
ENTRY = {"sha256": "0" * 64, "size": 1}


def virtual(file: h5py.File) -> None:
    shape = file[KERNEL].shape
    del file[KERNEL]
    layout = h5py.VirtualLayout(shape, "float32")
    layout[...] = h5py.VirtualSource("/etc/hostname", "data", shape)
    file.create_virtual_dataset(KERNEL, layout)


def link(name: str, target: Any) -> Callable[[Path], None]:
    def change(file: h5py.File) -> None:
        if name in file:
            del file[name]
        file[name] = target

    return edit_h5(change)


def numbers(value: float) -> Callable[[h5py.File], None]:
    def change(file: h5py.File) -> None:
        file[KERNEL][0, 0, 0, 0] = value

    return change


def latest(folder: Path) -> None:
    with h5py.File(folder / WEIGHTS) as old, h5py.File(folder / "new", "w", libver="latest") as new:
        for name in old:
            old.copy(name, new)
    (folder / "new").rename(folder / WEIGHTS)
    reseal(folder)


def deep(file: h5py.File) -> None:
    file.create_group("layers/" + "/".join("d" * 200))


def bomb(mode: str, size: tuple[int, int]) -> Callable[[Path], None]:
    """A picture that is small on disk and large in memory."""

    def mutate(folder: Path) -> None:
        Image.new(mode, size).save(folder / SAMPLES, "JPEG", quality=1)
        reseal(folder)

    return mutate


def many_scans(folder: Path) -> None:
    """Half a megabyte that keeps a decoder busy for a minute."""
    content = io.BytesIO()
    Image.new("L", (4096, 4096)).save(content, "JPEG", progressive=True)
    (folder / SAMPLES).write_bytes(with_scans(content.getvalue(), 1200))
    reseal(folder)


def as_png(folder: Path) -> None:
    Image.new("RGB", (8, 8)).save(folder / SAMPLES, "PNG")
    reseal(folder)


def other_network(folder: Path) -> None:
    other = build_generator(GeneratorConfig("lite", channels=4))
    keras.Model(other.input, other.layers[3].output).save(folder / "other", zipped=False)
    shutil.copyfile(folder / "other" / CONFIG, folder / CONFIG)
    shutil.rmtree(folder / "other")
    reseal(folder)


def symlink_out(folder: Path) -> None:
    (folder / WEIGHTS).unlink()
    (folder / WEIGHTS).symlink_to("/dev/zero")
    reseal(folder)


def fifo(name: str) -> Callable[[Path], None]:
    def mutate(folder: Path) -> None:
        (folder / name).unlink()
        os.mkfifo(folder / name)

    return mutate


def hostile() -> dict[str, Callable[[Path], None]]:
    """Well over two hundred ways to harm a checkpoint, by name; most are forged, so that hashes do not give them away."""
    found: dict[str, Callable[[Path], None]] = {}
    for name in SIZE_LIMITS:
        if name != RECORD:
            found |= {f"bit {seed} in {name}": edit(name, lambda c, s=seed: flip(c, s), forge=False) for seed in range(12)}
        for part in (0.0, 0.3, 0.7, 0.99):
            found[f"{part:.0%} of {name}"] = edit(name, lambda c, p=part: c[: int(len(c) * p)], forge=False)
            if name not in (RECORD, CARD, HISTORY):  # a shorter card or history is still one
                found[f"forged {part:.0%} of {name}"] = edit(name, lambda c, p=part: c[: int(len(c) * p)])
        found[f"no {name}"] = lambda folder, n=name: (folder / n).unlink()  # type: ignore[misc]
        found[f"{name} is a folder"] = lambda folder, n=name: ((folder / n).unlink(), (folder / n).mkdir())  # type: ignore[misc]
        found[f"{name} is a pipe"] = fifo(name)
        found[f"{name} with a tail"] = edit(name, lambda c: c + b"\0", forge=False)

    for version in (0, 2, "1", None, [1], 1.5):
        found[f"schema {version!r}"] = record(schema=version)
    for name in ("experiment", "checkpoint"):
        for value in ("../evil", "/etc", "a/b", "a\\b", "..", "", ".hidden", "x" * 97, "a\0b", "a\nb", 7, None):
            found[f"{name} {value!r}"] = record(**{name: value})
    for name in ("../evil", "/etc/passwd", "keras/../../evil", "..\\evil", "model.weights.h5/", RECORD, "evil.py", ""):
        found[f"names a file {name!r}"] = record_files(lambda files, n=name: files.update({n: ENTRY}))
    for name in (WEIGHTS, CONFIG, CARD, SAMPLES):
        found[f"does not name {name}"] = record_files(lambda files, n=name: files.pop(n))
        for key, value in [("size", "1"), ("size", -1), ("size", 2**40), ("size", None), ("sha256", 5), ("sha256", None)]:
            found[f"{key} {value!r} of {name}"] = lambda folder, n=name, k=key, v=value: _set_entry(folder, n, k, v)  # type: ignore[misc]
    found["no files"] = record(files={})
    found["files is a list"] = record(files=[WEIGHTS])
    found["file entry is a text"] = record_files(lambda files: files.update({CONFIG: "x"}))
    for name, values in {
        "question": [None, 1, ["x"]],
        "base": [1, {}],
        "changes": [[], {"x": 1}, {"x": []}, {"x": [1, 2, 3]}],
        "config": [[], "x"],
        "look": [None, [], {"name": 1}, {"name": "x" * 25}, {"line_zh": "x" * 81}, {"name": "a\nb"}, {"name": "\u202e"}],
        "phase": [None],
        "epoch": ["1", None, 1.5, True, 2**60],
        "step": [10**400, float("nan")],
        "seed": [None],
        "data": [{}, {"anime": "many", "photos": 1, "source": "", "terms": ""}, []],
        "compute": [{}, {"device": 1, "seconds": 1, "images": 1, "precision": ""}],
        "libraries": [{"keras": 3}],
        "metrics": [{"style": "good"}, {"style": float("inf")}, {"style": True}],
        "pixels": [{}, {"order": "BGR", "range": [-1.0, 1.0]}, {"order": "RGB", "range": [0.0, 1.0]}],
        "weights": ["float16", "float64", "bfloat16", "", None, ["float32"], 32],
        "probe": [[], [0.0], [0.0] * 48, ["x"] * 48, [float("nan")] * 48, [10**400] * 48, [[0.0] * 48]],
        "generator": [
            {},
            {"architecture": "v2", "channels": 4},
            {"architecture": "lite", "channels": 8},
            {"architecture": "lite", "channels": 10**9},
            {"architecture": "v1", "channels": 512},
            {"architecture": "lite", "channels": "4"},
            {"architecture": "lite", "channels": 4.5},
            {"architecture": ["lite"], "channels": 4},
            {"architecture": "os.system", "channels": 4},
            {"architecture": "lite", "channels": 4, "conv2d": "os.system"},
        ],
    }.items():
        found |= {f"{name} {str(value)[:60]}": record(**{name: value}) for value in values}
    for text in ("", "[]", "7", "null", '{"schema": 1}', "[" * 100_000, '{"a":' * 50_000, "\ufeff{}", "\xff", "9" * 5000):
        found[f"record {text[:8]!r}"] = edit(RECORD, lambda _, t=text: t.encode("latin-1", "replace"), forge=False)
    found["a record of 2 MB"] = edit(RECORD, lambda c: c + b" " * 2**21, forge=False)

    for text in ("", "[]", "null", "[" * 100_000, "{}", '{"class_name": "Functional", "config": {"layers": 3}}'):
        found[f"config {text[:12]!r}"] = edit(CONFIG, lambda _, t=text: t.encode())
    found |= {
        "config of another network": other_network,
        "a Lambda layer": edit_json(CONFIG, lambda c: layer(c, class_name="Lambda", config={"function": LAMBDA})),
        "a lambda as activation": edit_json(CONFIG, lambda c: setting(c, activation=LAMBDA)),
        "a class of another module": edit_json(CONFIG, lambda c: layer(c, module="os", class_name="Conv2D")),
        "a class of a module like Keras'": edit_json(CONFIG, lambda c: layer(c, module="keras_evil.layers")),
        "a function": edit_json(CONFIG, lambda c: layer(c, module="builtins", class_name="function", config="exec")),
        "a registered class": edit_json(CONFIG, lambda c: layer(c, registered_name="evil>Conv2D")),
        "a class name that is none": edit_json(CONFIG, lambda c: layer(c, class_name=["Conv2D"])),
        "a torch module": edit_json(CONFIG, lambda c: layer(c, module="keras.layers", class_name="TorchModuleWrapper")),
        "os.system": edit_json(CONFIG, lambda c: {"module": "os", "class_name": "system", "config": "true"}),
        "a layer too few": edit_json(CONFIG, lambda c: c["config"]["layers"].pop() and c),
        "a Sequential": edit_json(CONFIG, lambda c: c | {"class_name": "Sequential"}),
        "metadata is a list": edit(METADATA, lambda _: b"[]"),
        "config larger than allowed": edit(CONFIG, lambda c: c + b" " * 2**22),
    }
    for text in (b"x", b"[]\n", b'{"step": "1"}\n', b'{"step": 1, "x": NaN}\n', b'{"step": 1, "x": []}\n', b"{}\n"):
        found[f"history {text.decode()!r}"] = edit(HISTORY, lambda _, t=text: t)
    found["history of a hundred thousand rows"] = edit(HISTORY, lambda _: b'{"step": 1}\n' * 100_000)
    found["history in one row"] = edit(HISTORY, lambda _: b'{"step": 1, "x": "' + b"x" * 2**20 + b'"}\n')
    found["history larger than allowed"] = edit(HISTORY, lambda _: b'{"step": 1}\n' * 3_000_000)
    found |= {
        "samples are a PNG": as_png,
        "samples are a text": edit(SAMPLES, lambda _: b"GIF89a; not a picture"),
        "samples of 1200 scans": many_scans,
        "samples of a hundred thousand segments": lambda folder: (
            (folder / SAMPLES).write_bytes(with_segments(100_000)),
            reseal(folder),
        ),
        "samples of 60000 x 60": bomb("RGB", (60000, 60)),
        "samples of 20000 x 20000": bomb("L", (20000, 20000)),
    }

    found |= {
        "weights link to another file": link("evil", h5py.ExternalLink("/etc/hostname", "x")),
        "a kernel links to another file": link(KERNEL, h5py.ExternalLink("/etc/hostname", "x")),
        "weights hold a soft link": link("evil", h5py.SoftLink("/layers")),
        "a kernel is a soft link": link(KERNEL, h5py.SoftLink("/layers/conv2d/vars/0")),
        "a group links to its parent": edit_h5(lambda file: file.__setitem__("layers/conv2d/loop", file["layers"])),
        "a kernel is a hard link": edit_h5(lambda f: (f.pop(KERNEL), f.__setitem__(KERNEL, f["layers/conv2d/vars/0"]))),
        "a virtual kernel": edit_h5(virtual),
        "a kernel in another file": replace_dataset(external=[("/dev/zero", 0, h5py.h5f.UNLIMITED)]),
        "a compressed kernel": replace_dataset(compression="gzip"),
        "a compressed bomb": replace_dataset(shape=(2**31,), chunks=(2**20,), compression="gzip", fillvalue=1.0),
        "a huge chunk": replace_dataset(shape=(2**28,), chunks=(2**28,)),
        "a kernel of a terabyte that is not there": replace_dataset(shape=(2**38,)),
        "a chunked kernel": replace_dataset(chunks=True),
        "a compact file of the newest format": latest,
        "a kernel of doubles": replace_dataset(dtype="float64"),
        "a kernel of big-endian floats": replace_dataset(dtype=">f4"),
        "a kernel of half floats": replace_dataset(dtype="float16"),
        "a kernel of texts": replace_dataset(shape=(3,), dtype=h5py.string_dtype()),
        "a kernel of references": replace_dataset(shape=(3,), dtype=h5py.ref_dtype),
        "a kernel of records": replace_dataset(shape=(3,), dtype=[("a", "f4"), ("b", "f4")]),
        "a scalar kernel": replace_dataset(shape=()),
        "an empty kernel": replace_dataset(shape=(0,)),
        "a kernel without data": edit_h5(lambda f: (f.pop(KERNEL), f.create_dataset(KERNEL, data=h5py.Empty("f4")))),
        "a kernel of wrong shape": replace_dataset(shape=(3, 3, 4, 9), data=np.zeros((3, 3, 4, 9), "f4")),
        "a transposed kernel": replace_dataset(shape=(8, 4, 3, 3), data=np.zeros((8, 4, 3, 3), "f4")),
        "a kernel of rank 7": replace_dataset(shape=(3, 3, 1, 4, 1, 8, 1), data=np.zeros((3, 3, 1, 4, 1, 8, 1), "f4")),
        "no kernel": edit_h5(lambda file: file.pop(KERNEL)),
        "no layers": edit_h5(lambda file: file.pop("layers")),
        "an array too many": edit_h5(lambda file: file.create_dataset("evil", data=np.zeros(3, "f4"))),
        "a group of 200 levels": edit_h5(deep),
        "twenty thousand groups": edit_h5(lambda file: [file.create_group(f"x/{number}") for number in range(20_000)]),
        "a NaN": edit_h5(numbers(np.nan)),
        "an infinity": edit_h5(numbers(-np.inf)),
        "other numbers": edit_h5(numbers(50.0)),
        "weights of another seed": lambda folder: _swap_weights(folder),
        "a kernel named with a slash": edit(WEIGHTS, lambda c: c.replace(b"conv2d_1\0", b"conv2d/1\0")),
        "weights after a user block": edit(WEIGHTS, lambda c: b"\0" * 512 + c),
        "weights are a pickle": edit(WEIGHTS, lambda _: b"cos\nsystem\n(S'touch " + bytes(MARKER) + b"'\ntR."),
        "weights are zeros": edit(WEIGHTS, lambda c: bytes(len(c))),
        "weights are /dev/zero": symlink_out,
    }
    return found


def _set_entry(folder: Path, name: str, key: str, value: Any) -> None:
    values = json.loads((folder / RECORD).read_text())
    values["files"][name][key] = value
    (folder / RECORD).write_text(json.dumps(values))


def _swap_weights(folder: Path) -> None:
    save_tiny(folder.parent / "other", seed=1)
    (folder.parent / "other" / WEIGHTS).rename(folder / WEIGHTS)
    reseal(folder)


def half(folder: Path) -> None:
    """Keeps the weights in float16, as release.py does."""
    (folder / WEIGHTS).write_bytes(half_weights(read_weights((folder / WEIGHTS).read_bytes())))
    reseal(folder, weights="float16")


@pytest.fixture(scope="module")
def in_half(original: tuple[Path, keras.Model], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = Path(shutil.copytree(original[0], tmp_path_factory.mktemp("half") / "epoch-001"))
    half(folder)
    load_generator(folder)
    return folder


def hostile_half() -> dict[str, Callable[[Path], None]]:
    """Ways to harm a checkpoint whose weights are float16, by name."""
    shape = (3, 3, 4, 8)
    found: dict[str, Callable[[Path], None]] = {
        f"bit {seed} in half weights": edit(WEIGHTS, lambda c, s=seed: flip(c, s), forge=False) for seed in range(12)
    }
    for part in (0.0, 0.3, 0.7, 0.99):
        found[f"forged {part:.0%} of half weights"] = edit(WEIGHTS, lambda c, p=part: c[: int(len(c) * p)])
    return found | {
        "half weights said to be float32": record(weights="float32"),
        "one kernel of floats among halves": replace_dataset(data=np.zeros(shape, "f4"), dtype="float32"),
        "one kernel of doubles among halves": replace_dataset(dtype="float64"),
        "one kernel of integers of two bytes": replace_dataset(dtype="<i2"),
        "a big-endian half kernel": replace_dataset(dtype=">f2"),
        "a kernel of bfloat16": edit(WEIGHTS, lambda c: c.replace(DATATYPES["float16"], BFLOAT16)),
        "halves that say they are floats": edit(WEIGHTS, lambda c: c.replace(DATATYPES["float16"], DATATYPES["float32"])),
        "a compressed half kernel": replace_dataset(dtype="float16", compression="gzip"),
        "a chunked half kernel": replace_dataset(dtype="float16", chunks=True),
        "a half kernel of a terabyte that is not there": replace_dataset(dtype="float16", shape=(2**39,)),
        "a half kernel in another file": replace_dataset(dtype="float16", external=[("/dev/zero", 0, h5py.h5f.UNLIMITED)]),
        "an empty half kernel": replace_dataset(dtype="float16", shape=(0,)),
        "a transposed half kernel": replace_dataset(dtype="float16", shape=shape[::-1], data=np.zeros(shape[::-1], "f2")),
        "a half kernel of twice the size": replace_dataset(
            dtype="float16", data=np.zeros((2, *shape), "f2"), shape=(2, *shape)
        ),
        "a half NaN": edit_h5(numbers(np.nan)),
        "a half infinity": edit_h5(numbers(np.inf)),
        "other halves": edit_h5(numbers(50.0)),
        "no half kernel": edit_h5(lambda file: file.pop(KERNEL)),
        "a half array too many": edit_h5(lambda file: file.create_dataset("evil", data=np.zeros(3, "f2"))),
        "a half kernel is a soft link": link(KERNEL, h5py.SoftLink("/layers/conv2d/vars/0")),
    }


BFLOAT16 = bytes.fromhex("11200f00 02000000 00001000 0708 0007 7f000000")
HOSTILE = hostile()
HOSTILE_HALF = hostile_half()


def test_there_are_enough_of_them() -> None:
    assert len(HOSTILE) >= 200


@pytest.mark.slow
@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_checkpoints_are_refused(name: str, folder: Path) -> None:
    refuses(folder, HOSTILE[name])


@pytest.mark.slow
@pytest.mark.parametrize("name", HOSTILE_HALF)
def test_hostile_half_checkpoints_are_refused(name: str, in_half: Path, tmp_path: Path) -> None:
    refuses(Path(shutil.copytree(in_half, tmp_path / "tiny" / "epoch-001")), HOSTILE_HALF[name])


def refuses(folder: Path, harm: Callable[[Path], None]) -> None:
    MARKER.unlink(missing_ok=True)
    harm(folder)
    peak, started = Peak(), time.monotonic()
    with pytest.raises(CheckpointError) as refusal:
        load_generator(folder)
    assert time.monotonic() - started < 10
    assert peak.rise() < 300 * 2**20
    assert "tiny/epoch-001" in str(refusal.value) and len(str(refusal.value)) < 500, "says which, and briefly"
    assert not MARKER.exists()
    translated(refusal.value)


@pytest.mark.slow
@pytest.mark.parametrize("precision", DATATYPES)
def test_random_damage_to_the_structure_is_refused_or_harmless_and_never_hangs(folder: Path, precision: str) -> None:
    """The HDF5 library itself loops for ever on about one in two thousand of these."""
    if precision == "float16":
        half(folder)
    content = (folder / WEIGHTS).read_bytes()
    structure = [place for place in range(len(content)) if content[place]]
    for seed in range(1500):
        chance = random.Random(seed)
        damaged = bytearray(content)
        for _ in range(chance.choice([1, 1, 2, 8, 64])):
            damaged[chance.choice(structure)] = chance.choice([0, 1, 255, chance.randrange(256)])
        started = time.monotonic()
        with contextlib.suppress(ValueError):
            read_weights(bytes(damaged), precision)
        assert time.monotonic() - started < 2
