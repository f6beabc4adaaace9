"""Seconds and memory of drawing, by generator, size and engine, beside the limit that the machine's peak sets.

    python -m benchmarks.inference                                              lite, lite2, v2 and v3 at 512 and 1024 pixels
    python -m benchmarks.inference --generators lite --sizes 768x576 --rounds 10
    python -m benchmarks.inference --torch DIR --python PYTHON                  in turn with a clone of
                                                                  github.com/bryandlee/animegan2-pytorch, which is v2

Engines: Keras as it stands (eager), a tf.function (what the app draws with), ONNX Runtime and LiteRT, each with all cores,
weights random. All engines draw in turn, once in every round; seconds are medians. "limit" is what the counted FLOPs take at
the better of a large matrix product's and a large convolution's speed, measured in the same process: compare ratios from one
call. Memory is by how much the process grew at most while an engine drew its first picture of that size. "differs" is the
largest difference to Keras in levels of 255.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
os.environ.setdefault("TF_ONEDNN_USE_SYSTEM_ALLOCATOR", "1")  # as `memory` does, which comes too late here

import keras
import numpy as np
import tensorflow as tf

from animegan_app import memory
from benchmarks.training import graph_flops, peak_flops, peak_memory, reset_peak_memory
from hub_export.architecture import KINDS, GeneratorConfig
from hub_export.export import Drawer, litert_drawer, onnx_drawer
from hub_export.generator import build_generator

PHOTO = tf.TensorSpec((1, None, None, 3), tf.float32)


def engines(generator: keras.Model, folder: Path) -> dict[str, Callable[[], Drawer]]:
    """What makes each engine ready, by name."""

    def compiled() -> Drawer:
        function = tf.function(lambda values: generator(values, training=False), input_signature=[PHOTO])
        return lambda values: np.asarray(function(values))

    return {
        "keras": lambda: lambda values: np.asarray(generator(values, training=False)),
        "tf.function": compiled,
        "onnx": lambda: onnx_drawer(generator, folder / "model.onnx"),
        "litert": lambda: litert_drawer(generator, folder / "model.tflite"),
    }


def resident() -> int:
    """Bytes of memory that this process has now."""
    status = Path("/proc/self/status").read_text("ascii").splitlines()
    return 1024 * int(next(line for line in status if line.startswith("VmRSS")).split()[1])


def first_picture(draw: Drawer, photo: np.ndarray) -> tuple[np.ndarray, int]:
    """A picture, and by how many bytes the process grew at most for it."""
    before = resident()
    reset_peak_memory()
    return draw(photo), max(0, peak_memory() - before)


@contextmanager
def torch_package(folder: str | None, python: str) -> Iterator[dict[str, Callable[[np.ndarray], float]]]:
    """The PyTorch package's engine, which answers with seconds; none without its folder."""
    if folder is None:
        yield {}
        return
    command = [python, str(Path(__file__).with_name("animegan2.py")), folder]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as package:
        assert package.stdin and package.stdout
        asked, answered = package.stdin, package.stdout
        if answered.readline().strip() != "ready":
            sys.exit(f"benchmarks.inference: the package in {folder} did not start; does {python} have torch?")

        def seconds(photo: np.ndarray) -> float:
            print(*photo.shape[1:3], file=asked, flush=True)
            return float(answered.readline())

        yield {"animegan2-pytorch": seconds}
        asked.close()


def measure(
    name: str, sizes: list[tuple[int, int]], rounds: int, peak: float, package: dict[str, Callable[[np.ndarray], float]]
) -> None:
    """Prints a line for each size and engine."""
    generator = build_generator(GeneratorConfig(name))
    function = tf.function(lambda values: generator(values, training=False))
    with tempfile.TemporaryDirectory() as folder:
        ready = {engine: make() for engine, make in engines(generator, Path(folder)).items()}
        for width, height in sizes:
            photo = np.random.default_rng(0).uniform(-1, 1, (1, height, width, 3)).astype(np.float32)
            flops = graph_flops(function.get_concrete_function(tf.TensorSpec(photo.shape, tf.float32)).graph)
            first = {engine: first_picture(draw, photo) for engine, draw in ready.items()}
            times: dict[str, list[float]] = {engine: [] for engine in (*ready, *package)}
            for _ in range(rounds):
                for engine, draw in ready.items():
                    started = time.perf_counter()
                    draw(photo)
                    times[engine].append(time.perf_counter() - started)
                for engine, ask in package.items():
                    times[engine].append(ask(photo))
            for engine, taken in times.items():
                seconds, limit, cells = float(np.median(taken)), flops / peak, ""
                if engine in first:
                    drawn, grown = first[engine]
                    differs = 127.5 * float(np.max(np.abs(drawn - first["keras"][0])))
                    cells = f"{grown / 2**20:9.0f}{differs:9.2g}"
                print(
                    f"{name:9}{f'{width}x{height}':>10} {engine:18}{seconds:8.3f}{limit:8.3f}{limit / seconds:7.0%}{cells}",
                    flush=True,
                )


def size(text: str) -> tuple[int, int]:
    """Width and height of "768x576"."""
    width, height = map(int, text.split("x"))
    if width % 8 or height % 8 or min(width, height) < 32:
        raise ValueError
    return width, height


def main() -> None:
    raw = argparse.RawTextHelpFormatter
    parser = argparse.ArgumentParser(prog="python -m benchmarks.inference", description=__doc__, formatter_class=raw)
    parser.add_argument("--generators", nargs="+", choices=KINDS, default=["lite", "lite2", "v2", "v3"], metavar="NAME")
    parser.add_argument(
        "--sizes", nargs="+", type=size, default=[(512, 512), (1024, 768)], metavar="WxH", help="multiples of 8"
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--torch", metavar="DIR", help="a clone of the PyTorch package, to draw in turn")
    parser.add_argument("--python", default=sys.executable, help="with --torch: a Python that has torch")
    arguments = parser.parse_args()
    memory.keep_at_hand()
    peaks = peak_flops("float32")
    print("peak float32: " + ", ".join(f"{rate / 1e9:.0f} GFLOP/s in a {name}" for name, rate in peaks.items()))
    print(
        f"{'generator':9}{'size':>10} {'engine':18}{'seconds':>8}{'limit':>8}{'of it':>7}{'MiB':>9}{'differs':>9}",
        flush=True,
    )
    with torch_package(arguments.torch, arguments.python) as package:
        for name in arguments.generators:
            measure(name, arguments.sizes, arguments.rounds, max(peaks.values()), package)


if __name__ == "__main__":
    main()
