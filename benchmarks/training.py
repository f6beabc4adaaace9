"""Seconds per training step, by generator, feature network and precision, and where they go.

    python -m benchmarks.training --quick            a minute on two idle cores: repro-projected-laptop's networks, 128 px
    python -m benchmarks.training                    every generator x feature network x precision
    python -m benchmarks.training --port DIR         in turn with a clone of github.com/ptran1203/pytorch-animeGAN
    python -m benchmarks.training --names NAME…      experiments at their own size and batch, for GPUs; --xla compiles steps
    python -m benchmarks.training --memory NAME…     what experiments need on a GPU: counted, no step is taken

Pictures are random and come through the training pipeline. FLOPs are counted from the traced step, forward and backward,
for every part. The peak is the better of a large matrix product and a large convolution, measured in the same process,
so that the share of it holds for this machine at this hour; it is noisy on shared machines: compare ratios from one call.
"""

import argparse
import contextlib
import io
import itertools
import os
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")  # as `train.use_onednn`, which train.run calls

import numpy as np
import tensorflow as tf

from hub_export.architecture import GeneratorConfig
from hub_export.generator import STOCK
from train.batches import ENTRIES, TrainingData
from train.configuration import changed, override
from train.engine import Engine, automatic_precision, state
from train.experiments import get_experiment
from train.layers import group_norm
from train.losses import gram_matrix
from train.recipes.animegan import Recipe
from train.schedule import Plan
from train.settings import Experiment

PRECISIONS = ("float32", "mixed_bfloat16")
PARTS = ("generator", "discriminator", "features")
BACKWARD = "gradient_tape"
"""In the names of the operations that gradients are made of."""
EQUAL_WORK = ["features.weights=none", "data.augment=none", "data.holdout=0"]


def build(experiment: Experiment, precision: str, xla: bool = False, norm: Any = group_norm) -> Recipe:
    """AnimeGAN's recipe with new weights."""
    return Recipe(experiment, Engine(experiment.schedule, experiment.seed, precision, xla=xla), norm)


def take_step(recipe: Recipe, batch: Any, step: int) -> None:
    """An adversarial step."""
    recipe.engine.step(recipe, batch, Plan(1, 0, 10_000).moment(step))


def peak_flops(dtype: str, repeats: int = 5) -> dict[str, float]:
    """FLOP/s of a large matrix product and of a 3x3 convolution of 256 channels, as a VGG has."""
    side, batch = (16384, 256) if _gpu() else (2048, 4)
    square = tf.cast(tf.random.normal((side, side)), dtype)
    pictures, kernel = (tf.cast(tf.random.normal(shape), dtype) for shape in ((batch, 64, 64, 256), (3, 3, 256, 256)))
    work = {
        "matrix product": (lambda: tf.matmul(square, square), 2 * side**3),
        "convolution": (lambda: tf.nn.conv2d(pictures, kernel, 1, "SAME"), 2 * batch * 64 * 64 * 9 * 256 * 256),
    }
    peaks = {}
    for name, (function, flops) in work.items():
        compiled = tf.function(lambda: tf.reshape(function(), [-1])[0])  # noqa: B023  one number waits for all of them
        compiled()
        peaks[name] = flops / min(_seconds(lambda: compiled().numpy()) for _ in range(repeats))  # noqa: B023
    return peaks


def _executed(graph: tf.Graph) -> set[str]:
    """Names of a traced step's operations without those that nothing asks for, e.g. gradients of frozen kernels."""
    wanted = [operation.name for operation in graph.control_outputs] + [tensor.op.name for tensor in graph.outputs]
    return {node.name for node in tf.compat.v1.graph_util.extract_sub_graph(graph.as_graph_def(), wanted).node}


def count_flops(recipe: Recipe, batch: dict[str, Any]) -> dict[str, int]:
    """FLOPs of one adversarial step, forward and backward, from its traced graph: in all, and of each part."""
    graph = recipe.adversarial_step.get_concrete_function(batch).graph
    executed = _executed(graph)
    root = _profile(graph)
    scopes = {"features": recipe.features.name, "generator": recipe.generator.name, "discriminator": "discriminator"}
    counts = dict.fromkeys(("all", *PARTS), 0)

    def visit(node: Any) -> None:
        names = {name.rstrip("_0123456789") for name in node.name.split("/")}
        part = next((part for part, scope in scopes.items() if scope.rstrip("_0123456789") in names), None)
        if node.name in executed:
            counts["all"] += node.float_ops
            if part:
                counts[part] += node.float_ops
        for child in node.children:
            visit(child)

    visit(root)
    return counts


def graph_flops(graph: tf.Graph) -> int:
    """FLOPs of all operations of a traced graph whose shapes are known."""
    return int(_profile(graph).total_float_ops)


def _profile(graph: tf.Graph) -> Any:
    builder = tf.compat.v1.profiler.ProfileOptionBuilder
    options = builder(builder.float_operation()).with_empty_output().build()
    with contextlib.redirect_stdout(io.StringIO()):
        return tf.compat.v1.profiler.profile(graph, cmd="scope", options=options)


def count_activations(recipe: Recipe, batch: dict[str, Any]) -> int:
    """Bytes of all that an adversarial step keeps from its forward passes for its backward passes, from its traced graph.

    The discriminator's part is free again before the generator's backward pass begins, so a step needs less at a time.
    """
    graph = recipe.adversarial_step.get_concrete_function(batch).graph
    executed, kept = _executed(graph), {}
    for backward in graph.get_operations():
        if BACKWARD not in backward.name or backward.name not in executed:
            continue
        for tensor in backward.inputs:
            if BACKWARD not in tensor.op.name and tensor.op.type not in ("ReadVariableOp", "Const", "Placeholder"):
                kept[tensor.name] = tensor.shape.num_elements() * tensor.dtype.size
    return sum(kept.values())


def experiment(base: str, *settings: str) -> Experiment:
    """A registered experiment with random feature weights, which cost the same."""
    return override(get_experiment(base), [*EQUAL_WORK, *settings], "benchmark")


def measure(recipe: Recipe, steps: int) -> dict[str, Any]:
    """Times adversarial steps on random pictures that come through the training pipeline."""
    schedule, size = recipe.experiment.schedule, recipe.experiment.data.size
    rng = np.random.default_rng(0)
    photos = [rng.integers(0, 256, (2 * size, 2 * size, 3), np.uint8) for _ in range(2 * schedule.batch)]
    frames = [rng.integers(0, 256, (2 * size, 2 * size, 6), np.uint8) for _ in range(2 * schedule.batch)]
    batches = iter(TrainingData(recipe.experiment.data, photos, frames).batches(schedule.batch, 0))
    batch = next(batches)
    take_step(recipe, batch, 0)
    reset_peak_memory()
    waits, times = [], []
    for step in range(1, steps + 1):
        started = time.perf_counter()
        batch = next(batches)
        waits.append(time.perf_counter() - started)
        take_step(recipe, batch, step)
        times.append(time.perf_counter() - started)
    return {
        "seconds": float(np.median(times)),
        "wait": sum(waits) / sum(times),
        "memory": peak_memory(),
        "flops": count_flops(recipe, batch),
    }


def peak_memory() -> int:
    """Bytes of memory that this process had at most since `reset_peak_memory`, on the GPU where there is one."""
    if _gpu():
        return int(tf.config.experimental.get_memory_info("GPU:0")["peak"])
    status = Path("/proc/self/status").read_text("ascii").splitlines()
    return 1024 * int(next(line for line in status if line.startswith("VmHWM")).split()[1])


def reset_peak_memory() -> None:
    """Begins to measure `peak_memory` anew."""
    if _gpu():
        tf.config.experimental.reset_memory_stats("GPU:0")
        return
    Path("/proc/self/clear_refs").write_text("5", "ascii")  # proc(5)


def _gpu() -> bool:
    return bool(tf.config.list_physical_devices("GPU"))


def _seconds(function: Any) -> float:
    started = time.perf_counter()
    function()
    return time.perf_counter() - started


def against_port(folder: str, python: str, size: int, batch: int, steps: int, xla: bool = False) -> None:
    """Prints seconds per step of the port and of official-v2-hayao, which has the same networks, taken in turn.

    "cached" is ours with --cache-features, once features are there: that recipe does not augment, so they stay the same.
    """
    command = [python, str(Path(__file__).with_name("port.py")), folder, str(size), str(batch)]
    ours = experiment("official-v2-hayao", f"data.size={size}", f"schedule.batch={batch}")
    recipes = {precision: build(ours, precision, xla) for precision in sorted({"float32", automatic_precision()})}
    rng = np.random.default_rng(0)
    pictures = {name: tf.constant(rng.uniform(-1, 1, (batch, size, size, 3)), tf.float32) for name in ENTRIES}
    cached = {
        precision: {
            **pictures,
            "target_features": recipe.features(pictures["target"]),
            "style_gram": gram_matrix(recipe.features(pictures[recipe.style_entry])),
        }
        for precision, recipe in recipes.items()
    }
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as port:
        assert port.stdin and port.stdout
        asked, answered = port.stdin, port.stdout

        def theirs(precision: str) -> float:
            print(precision.removeprefix("mixed_"), file=asked, flush=True)
            return float(answered.readline())

        if answered.readline().strip() != "ready":
            sys.exit(f"benchmarks.training: the port in {folder} did not start; does {python} have torch, opencv and tqdm?")
        times: dict[tuple[str, str], list[float]] = {}
        for step in range(steps + 1):
            for precision, recipe in recipes.items():
                taken = {
                    "port": theirs(precision),
                    "ours": _seconds(lambda: take_step(recipe, pictures, step)),  # noqa: B023
                    "cached": _seconds(lambda: take_step(recipe, cached[precision], step)),  # noqa: B023
                }
                print(f"step {step} {precision:15}" + "".join(f" {who} {taken[who]:6.2f} s" for who in taken), flush=True)
                for who, seconds in taken.items():
                    times.setdefault((who, precision), []).append(seconds)
        asked.close()
    medians = {key: float(np.median(taken[1:])) for key, taken in times.items()}  # the first steps build graphs
    for (who, precision), seconds in medians.items():
        print(f"{who:6}{precision:16}{seconds:8.2f} s/step")
    best = min(seconds for (who, _), seconds in medians.items() if who == "port")
    for who in ("ours", "cached"):
        print(f"{who} takes {medians[who, automatic_precision()] / best:.2f} of the port's best time")


def print_memory(names: list[str]) -> None:
    """Prints for each experiment, at its own size and batch, what its variables take and what a step keeps, by precision."""
    print(f"{'experiment':24}{'size':>5}{'batch':>6}{'variables':>11}" + "".join(f"{name:>16}" for name in PRECISIONS))
    for name in names:
        counted = experiment(name)
        shape = (counted.schedule.batch, counted.data.size, counted.data.size, 3)
        batch = {key: tf.zeros(shape) for key in ENTRIES}
        sizes = {}
        for precision in PRECISIONS:
            recipe = build(counted, precision, norm=STOCK.group_norm)  # as on a GPU
            sizes[precision] = count_activations(recipe, batch)
        variables = sum(value.nbytes for value in state(recipe).values()) + 4 * recipe.features.count_params()
        figures = "".join(f"{size / 2**30:12.1f} GiB" for size in sizes.values())
        print(f"{name:24}{counted.data.size:5}{counted.schedule.batch:6}{variables / 2**30:7.2f} GiB{figures}", flush=True)


def print_speeds(cases: Iterable[tuple[str, Experiment, str]], steps: int, xla: bool) -> None:
    """Prints a line for each (label, experiment, precision), below the peaks of those precisions."""
    cases = list(cases)
    peaks = {precision: peak_flops(precision.removeprefix("mixed_")) for precision in sorted({case[2] for case in cases})}
    for precision, rates in peaks.items():
        print(f"peak {precision}: " + ", ".join(f"{rate / 1e9:.0f} GFLOP/s in a {name}" for name, rate in rates.items()))
    figures = f"{'s/step':>8}{'images/s':>10}{'GFLOP':>8}{'GFLOP/s':>9}{'of peak':>9}{'waiting':>9}{'GiB':>6}"
    print(f"{'':24}{'precision':16}{figures}  GFLOP of {', '.join(PARTS)}")
    for label, timed, precision in cases:
        measured = measure(build(timed, precision, xla), steps)
        seconds, flops = measured["seconds"], measured["flops"]
        rate = flops["all"] / seconds
        parts = ", ".join(f"{flops[part] / 1e9:.0f}" for part in PARTS)
        print(
            f"{label:24}{precision:16}{seconds:8.3f}{timed.schedule.batch / seconds:10.1f}"
            f"{flops['all'] / 1e9:8.0f}{rate / 1e9:9.0f}{rate / max(peaks[precision].values()):9.0%}"
            f"{measured['wait']:9.1%}{measured['memory'] / 2**30:6.1f}  {parts}",
            flush=True,
        )


def combinations(quick: bool, size: int, batch: int) -> Iterator[tuple[str, Experiment]]:
    """repro-projected-laptop with every generator and feature network, or, `quick`, with its own."""
    generators: tuple[str, ...] = ("lite",) if quick else ("v1", "v2", "lite")
    features = ["hed-vgg16"] if quick else ["vgg19", "mobilenetv2"]
    for generator, network in itertools.product(generators, features):
        settings = [f"features.network={network}", f"data.size={size}", f"schedule.batch={batch}", "spectral_norm=false"]
        settings += ["discriminator.kind=patch"] if network == "mobilenetv2" else []  # a projected one looks through a VGG
        timed = experiment("repro-projected-laptop", *settings)
        yield f"{generator} {network}", changed(timed, {"generator": GeneratorConfig(generator)})


def main() -> None:
    """Prints one line for each combination."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--xla", action="store_true", help="compile the steps with XLA")
    parser.add_argument("--port", metavar="DIR", help="a clone of the port, to be timed in turn with official-v2-hayao")
    parser.add_argument("--python", default=sys.executable, help="with --port: a Python that has torch, opencv and tqdm")
    parser.add_argument("--names", metavar="NAME", nargs="+", help="experiments to be timed at their own size and batch")
    parser.add_argument("--memory", metavar="NAME", nargs="+", help="experiments whose memory is to be counted")
    arguments = parser.parse_args()
    for gpu in tf.config.list_physical_devices("GPU"):
        tf.config.experimental.set_memory_growth(gpu, True)
    if arguments.memory:
        print_memory(arguments.memory)
    elif arguments.port:
        against_port(arguments.port, arguments.python, arguments.size, arguments.batch, arguments.steps, arguments.xla)
    else:
        own = automatic_precision()
        precisions = [own] if arguments.quick else sorted({"float32", own})
        if arguments.names:
            recipes = [(name, experiment(name)) for name in arguments.names]
        else:
            recipes = list(combinations(arguments.quick, arguments.size, arguments.batch))
        cases = [(label, recipe, precision) for label, recipe in recipes for precision in precisions]
        print_speeds(cases, arguments.steps, arguments.xla)


if __name__ == "__main__":
    main()
