"""What two devices of one machine train, in a process of its own: TensorFlow has its devices for good when it starts.

Prints what `steps_in_float16` and `steps_of_v3` found as JSON, in its last line.
"""

import json
import sys
from typing import Any

import numpy as np
import tensorflow as tf

from support.training import built, noise, take, tiny_v3
from train.configuration import override
from train.engine import open_strategy, state, variables_of
from train.experiments import get_experiment
from train.run import main, parser


def apart(recipe: Any) -> list[str]:
    """Names of variables that differ between the devices."""
    copies = recipe.engine.strategy.experimental_local_results
    own = {name: [copy.numpy() for copy in copies(variable.value)] for name, variable in variables_of(recipe).items()}
    return [name for name, (one, other) in own.items() if not np.array_equal(one, other)]


def shared(strategy: tf.distribute.Strategy, batch: dict[str, Any]) -> dict[str, Any]:
    """A batch of two, one for each device."""
    return strategy.experimental_distribute_values_from_function(
        lambda context: {name: value[context.replica_id_in_sync_group :][:1] for name, value in batch.items()}
    )


def steps_in_float16(strategy: tf.distribute.Strategy) -> dict[str, Any]:
    """Two steps with dropout and a gradient penalty, and a third that is not finite on one device alone."""
    settings = ["discriminator.dropout=0.3", "loss.adversarial=dragan", "discriminator.layers=1", "schedule.ema=0"]
    experiment = override(get_experiment("smoke"), ["data.size=32", *settings], "odd")
    recipe = built(experiment, "mixed_float16", strategy=strategy)
    optimizers = recipe.generator_optimizer, recipe.discriminator_optimizer
    for optimizer in optimizers:
        optimizer.dynamic_scale.assign(1.0)  # else the first steps would be skipped: it starts too high
    before = state(recipe)
    terms = [take(recipe, shared(strategy, noise(recipe, step)), step, 0, 3) for step in range(2)]
    different = apart(recipe)
    moved = [name for name, value in state(recipe).items() if not np.array_equal(value, before[name])]
    poisoned = {name: tf.concat([value[:1], tf.fill(value[1:].shape, np.nan)], 0) for name, value in noise(recipe).items()}
    take(recipe, shared(strategy, poisoned), 2, 0, 3)
    broken = [name for name, value in state(recipe).items() if not np.isfinite(value).all()]
    scales = [float(optimizer.dynamic_scale.numpy()) for optimizer in optimizers]
    return {"terms": terms, "apart": different, "moved": moved, "broken": broken, "scales": scales}


def steps_of_v3(strategy: tf.distribute.Strategy) -> dict[str, Any]:
    """Two steps by one device and by two."""
    experiment = tiny_v3(style="shinkai")
    alone, both = (built(experiment, strategy=one) for one in (None, strategy))
    terms = []
    for step in range(2):
        batch = noise(alone, step)
        terms += [take(alone, batch, step, 1, 3), take(both, shared(strategy, batch), step, 1, 3)]
    found, wanted = state(both), state(alone)
    off = {name: float(np.abs(found[name] - value).max() / (np.abs(value).max() + 1e-3)) for name, value in wanted.items()}
    return {"terms": terms, "apart": apart(both), "off": off}


def train() -> None:
    """To be called as `python -c`: processes that work for the steps load the main module again, and need no TensorFlow."""
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    for words in json.loads(sys.argv[1]):
        main(parser().parse_args(words))
    float16 = steps_in_float16(open_strategy("mirrored"))
    tf.config.run_functions_eagerly(True)  # tracing takes longer than two steps
    print(json.dumps({"float16": float16, "v3": steps_of_v3(open_strategy("mirrored"))}))
