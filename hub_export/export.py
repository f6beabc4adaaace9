"""Writes a checkpoint for other programs: ONNX, LiteRT, a SavedModel, or a web page that draws in the browser.

    pip install -r requirements-export.txt
    python -m hub_export.export animegan_app/checkpoints/cel/epoch-025 --format web
    python -m hub_export.export bundled:cel --format onnx --out build/export --photo mine.jpg

The result is a folder DIR/EXPERIMENT-CHECKPOINT-FORMAT with the checkpoint's card, which tells its licence:

    onnx         model.onnx, photo (B, H, W, 3) float32 RGB in [-1, 1] -> anime, the same; for ONNX Runtime
    litert       model.tflite, the same contract, built-in operations only; for phones
    saved_model  Keras' SavedModel, endpoint "serve"; for TensorFlow Serving
    web          index.html and what it needs; serve the folder with `python -m http.server`, or put it on any web space

Every export draws the checkpoint's probe and its samples, at three sizes, and the photo given, if any. One whose picture
differs from Keras' own by more than two levels of 255 is not kept. Numbers are stored in float16 where the checkpoint does
so, and always for the web.
"""

import argparse
import functools
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from hub_export import pixels
from hub_export.card import model_card
from hub_export.checkpoint import PROBE_INPUT, load_generator, read_samples
from hub_export.files import os_sentence, replacing
from hub_export.pictures import Content, bounded, upright
from hub_export.record import CARD, SAMPLES, CheckpointError, Record, read_record
from hub_export.store import resolve
from hub_export.web import write_page

if TYPE_CHECKING:
    import keras

LARGEST_DIFFERENCE = 2.0
"""In levels of 255."""
SIDES = 512, 320
"""Longest sides at which samples and photo are compared, the second time turned by a quarter."""
Drawer = Callable[[np.ndarray], np.ndarray]
"""(1, H, W, 3) float32 [-1, 1] -> the same."""


def export(source: Path, kind: str, out: Path, photo: np.ndarray | None = None) -> tuple[Path, float]:
    """Exports a checkpoint.

    Args:
        source: .../EXPERIMENT/CHECKPOINT, verified before.
        kind: one of FORMATS.
        out: the folder of exports; the new one replaces one of the same name in it.
        photo: uint8 RGB (H, W, 3), drawn for comparison beside the checkpoint's own samples.

    Returns:
        The export's folder, and by how many levels of 255 its pictures differ from Keras' at most.

    Raises:
        CheckpointError: not a checkpoint, damaged, it draws something else, or a package or download is missing.
    """
    generator, record = load_generator(source), read_record(source)
    folder = out / f"{record.experiment}-{record.checkpoint}-{kind}"
    pictures = [read_samples(source), *([] if photo is None else [photo])]
    with replacing(folder) as aside:
        try:
            draw = FORMATS[kind](generator, record, aside)
        except ModuleNotFoundError as error:
            lacking = f"{error.name} is not installed: pip install -r requirements-export.txt"
            raise CheckpointError(f"{source} cannot be exported as {kind}: {lacking}") from None
        difference = max(
            127.5 * float(np.max(np.abs(draw(values) - np.asarray(generator(values, training=False)))))
            for values in _inputs(pictures, record.generator_config.stride)
        )
        if not difference <= LARGEST_DIFFERENCE:
            what = f"its picture would differ by {difference:.1f} of 255 levels from Keras'"
            raise CheckpointError(f"{source} cannot be exported as {kind}: {what}; use the checkpoint itself")
        (aside / CARD).write_text(model_card(record, use=USES[kind]), "utf-8")
        shutil.copyfile(source / SAMPLES, aside / SAMPLES)
        if kind == "web":
            write_page(aside, record)
    return folder, difference


def _inputs(pictures: list[np.ndarray], stride: int) -> Iterator[np.ndarray]:
    yield PROBE_INPUT
    for picture in pictures:
        for turns, side in enumerate(SIDES):
            turned = np.rot90(pixels.limit_size(picture, side), turns)
            yield pixels.to_model(pixels.pad(turned, stride))[np.newaxis]


def onnx_drawer(
    generator: "keras.Model", path: Path, half: bool = False, notes: Mapping[str, str] = MappingProxyType({})
) -> Drawer:
    """Writes path, model.onnx, and returns what draws with it; see `onnx_graph.onnx_model`."""
    import onnxruntime

    from hub_export.onnx_graph import onnx_model

    path.write_bytes(onnx_model(generator, half, notes).SerializeToString(deterministic=True))
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return lambda values: np.asarray(session.run(None, {"photo": values})[0])


def litert_drawer(generator: "keras.Model", path: Path, half: bool = False) -> Drawer:
    """Writes path, model.tflite, and returns what draws with it."""
    import tensorflow as tf
    from ai_edge_litert.interpreter import Interpreter

    from hub_export.static_layers import with_static_channels

    target: dict[str, Any] = {"supported_ops": [tf.lite.OpsSet.TFLITE_BUILTINS]}
    options: dict[str, Any] = {}
    if half:
        options["optimizations"] = [tf.lite.Optimize.DEFAULT]
        target["supported_types"] = [tf.float16]
    with_static_channels(generator).export(path, format="litert", verbose=False, target_spec=target, **options)
    interpreter = Interpreter(str(path), num_threads=os.cpu_count())
    photo, anime = (ends()[0]["index"] for ends in (interpreter.get_input_details, interpreter.get_output_details))

    def draw(values: np.ndarray) -> np.ndarray:
        interpreter.resize_tensor_input(photo, values.shape)
        interpreter.allocate_tensors()
        interpreter.set_tensor(photo, values)
        interpreter.invoke()
        return np.array(interpreter.get_tensor(anime))

    return draw


def _onnx(generator: "keras.Model", record: Record, folder: Path, half: bool = False) -> Drawer:
    notes = {
        "checkpoint": f"{record.experiment}/{record.checkpoint}",
        "weights_sha256": record.sha256,
        "terms": str(record.data["terms"]),
        "stride": str(record.generator_config.stride),
        "pixels": str(record.pixels),
    }
    return onnx_drawer(generator, folder / "model.onnx", half or record.weights == "float16", notes)


def _litert(generator: "keras.Model", record: Record, folder: Path) -> Drawer:
    return litert_drawer(generator, folder / "model.tflite", record.weights == "float16")


def _saved_model(generator: "keras.Model", record: Record, folder: Path) -> Drawer:
    import tensorflow as tf

    generator.export(folder, format="tf_saved_model", verbose=False)
    loaded = tf.saved_model.load(folder)
    return lambda values: np.asarray(loaded.serve(values))


FORMATS: dict[str, Callable[["keras.Model", Record, Path], Drawer]] = {
    "onnx": _onnx,
    "litert": _litert,
    "saved_model": _saved_model,
    "web": functools.partial(_onnx, half=True),
}
"""What writes an export into a folder and returns what draws with the files that it wrote."""

USES = {
    "onnx": """```python
import numpy as np, onnxruntime
session = onnxruntime.InferenceSession("model.onnx")
photo = np.zeros((1, 256, 256, 3), "float32")  # RGB in [-1, 1], height and width multiples of 8
(anime,) = session.run(None, {"photo": photo})
```""",
    "litert": """```python
import numpy as np
from ai_edge_litert.interpreter import Interpreter
interpreter = Interpreter("model.tflite")
photo = np.zeros((1, 256, 256, 3), "float32")  # RGB in [-1, 1], height and width multiples of 8
interpreter.resize_tensor_input(interpreter.get_input_details()[0]["index"], photo.shape)
interpreter.allocate_tensors()
interpreter.set_tensor(interpreter.get_input_details()[0]["index"], photo)
interpreter.invoke()
anime = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
```""",
    "saved_model": """```python
import numpy as np, tensorflow as tf
generator = tf.saved_model.load(".")
photo = np.zeros((1, 256, 256, 3), "float32")  # RGB in [-1, 1], height and width multiples of 8
anime = generator.serve(photo)
```""",
    "web": """```
python -m http.server
```

Then open http://localhost:8000, or put this folder on any web space. The page draws in the browser and sends nothing.
`runtime/` is ONNX Runtime, see `runtime/LICENSE.txt`.""",
}
"""How an export is used, for its card."""


def _read_photo(path: Path) -> np.ndarray:
    content = path.read_bytes()
    try:
        if content.startswith(b"\xff\xd8"):
            bounded(content)
        with Image.open(Content(content), formats=("JPEG", "PNG", "WEBP")) as image:  # others may start programs
            return np.asarray(upright(image).convert("RGB"))
    except Exception:  # Pillow raises many kinds
        raise CheckpointError(f"{path} is not a picture that can be read: give a JPEG, PNG or WebP") from None


def main(arguments: argparse.Namespace) -> None:
    """Runs the command. Raises CheckpointError, OSError, ValueError."""
    photo = _read_photo(arguments.photo) if arguments.photo else None
    folder, difference = export(resolve(arguments.checkpoint), arguments.format, arguments.out, photo)
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    print(f"{folder}: {size / 1e6:.1f} MB, differs from Keras by at most {difference:.2g} of 255 levels")
    if arguments.format == "web":
        print(f"look at it: python -m http.server --directory {folder}, then open http://localhost:8000")


def parser() -> argparse.ArgumentParser:
    """The command line."""
    raw = argparse.RawTextHelpFormatter
    p = argparse.ArgumentParser(prog="python -m hub_export.export", description=__doc__, formatter_class=raw)
    p.add_argument("checkpoint", metavar="CHECKPOINT", help="a checkpoint's folder, bundled:NAME or hub:you/REPO@CHECKPOINT")
    p.add_argument("--format", required=True, choices=FORMATS)
    p.add_argument("--out", metavar="DIR", type=Path, default=Path("build/export"), help="where exports go (build/export)")
    p.add_argument("--photo", metavar="FILE", type=Path, help="a photo that both draw as well, for the comparison")
    return p


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        main(parser().parse_args())
    except OSError as error:
        sys.exit(f"hub_export.export: {os_sentence(error)}")
    except ValueError as error:
        sys.exit(f"hub_export.export: {error}")
