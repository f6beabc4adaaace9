"""Seconds per training step, by generator, feature network and precision.

    python -m benchmarks.training --quick          under a minute: fast-hayao's networks, 128 px, batch 4
    python -m benchmarks.training                  every generator x feature network x precision

Pictures are random and in memory, so this times the step alone; a run's own history has the share of waiting for data.
FLOPs are counted from the traced step, forward and backward. The peak is measured on large matrix products, in the same
process, so that the share of it holds for this machine at this hour; it is noisy on shared machines: compare ratios
from one call.
"""

import argparse
import contextlib
import io
import itertools
import os
import resource
import time
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import tensorflow as tf

from train.experiments import get_experiment, override
from train.trainer import Trainer, automatic_precision

KEYS = ("photo", "target", "anime", "anime_gray", "smooth_gray")


def peak_flops(dtype: str, size: int = 2048, repeats: int = 5) -> float:
    """FLOP/s of a large matrix product."""
    a = tf.cast(tf.random.normal((size, size)), dtype)
    multiply = tf.function(lambda x: tf.matmul(x, x))
    multiply(a)
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        multiply(a).numpy()
        times.append(time.perf_counter() - started)
    return 2 * size**3 / min(times)


def count_flops(trainer: Trainer, batch: dict[str, Any]) -> int:
    """FLOPs of one adversarial step, forward and backward, from its traced graph."""
    graph = trainer._adversarial_step.get_concrete_function(batch).graph
    profiler = tf.compat.v1.profiler
    options = profiler.ProfileOptionBuilder(profiler.ProfileOptionBuilder.float_operation()).with_empty_output().build()
    with contextlib.redirect_stdout(io.StringIO()):
        return int(profiler.profile(graph, options=options).total_float_ops)


def measure(generator: str, features: str, precision: str, size: int, batch_size: int, steps: int) -> dict[str, float]:
    """Times the adversarial step of fast-hayao with other networks; random feature weights cost the same."""
    settings = [
        f"generator.architecture={generator}",
        "generator.channels=0",
        f"features.network={features}",
        "features.weights=none",
    ]
    trainer = Trainer(override(get_experiment("fast-hayao"), settings, "benchmark"), precision)
    rng = np.random.default_rng(0)
    batch = {key: tf.constant(rng.uniform(-1, 1, (batch_size, size, size, 3)), tf.float32) for key in KEYS}
    trainer.step(batch, 0, 0, steps)
    times = []
    for step in range(1, steps + 1):
        started = time.perf_counter()
        trainer.step(batch, step, 0, steps)
        times.append(time.perf_counter() - started)
    return {"seconds": float(np.median(times)), "flops": count_flops(trainer, batch)}


def main() -> None:
    """Prints one line for each combination."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--steps", type=int, default=5)
    arguments = parser.parse_args()
    precisions = sorted({"float32", automatic_precision()})
    generators, features = (["lite"], ["hed-vgg16"]) if arguments.quick else (["v1", "v2", "lite"], ["vgg19", "mobilenetv2"])
    peaks = {precision: peak_flops(precision.removeprefix("mixed_")) for precision in precisions}
    for precision, peak in peaks.items():
        print(f"peak {precision}: {peak / 1e9:.0f} GFLOP/s")
    figures = f"{'s/step':>8}{'images/s':>10}{'GFLOP':>8}{'GFLOP/s':>9}{'of peak':>9}"
    print(f"{'generator':10}{'features':13}{'precision':16}{figures}")
    for generator, network, precision in itertools.product(generators, features, precisions):
        found = measure(generator, network, precision, arguments.size, arguments.batch, arguments.steps)
        rate = found["flops"] / found["seconds"]
        print(
            f"{generator:10}{network:13}{precision:16}{found['seconds']:8.2f}{arguments.batch / found['seconds']:10.1f}"
            f"{found['flops'] / 1e9:8.0f}{rate / 1e9:9.0f}{rate / peaks[precision]:9.0%}",
            flush=True,
        )
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.1f} GiB")


if __name__ == "__main__":
    main()
