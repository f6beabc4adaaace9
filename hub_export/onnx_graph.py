"""A generator as an ONNX graph: a node or two for each of its layers.

Written layer by layer because the general converter (tf2onnx, which `keras.Model.export` uses) makes 190 nodes of `lite`
and 1,196 of `v1`, with loops over indices for what is one padding, which a browser's GPU cannot run.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

if TYPE_CHECKING:
    import keras

OPSET, IR_VERSION = 17, 8
"""Of 2022: what browsers, phones and servers read."""
PAD_MODES = {"reflect": "reflect", "constant": "constant", "symmetric": "edge"}
"""The last for a border of one pixel, which is all that is symmetric here."""
BINARY = {"Add": "Add", "Subtract": "Sub", "Multiply": "Mul", "Divide": "Div"}
PLACE = {0: 0, 1: 2, 2: 3, 3: 1, -1: 1}
"""Where the axes of (B, H, W, C) are in (B, C, H, W)."""


class UnknownLayerError(ValueError):
    """A generator has a layer for which no ONNX is written here."""


def onnx_model(generator: "keras.Model", half: bool, notes: Mapping[str, str]) -> onnx.ModelProto:
    """Writes a generator as ONNX.

    Args:
        generator: as `build_generator` makes it, float32.
        half: keep its numbers in float16. The graph makes float32 of them when it is loaded, and computes in that.
        notes: what else the file says of itself.

    Returns:
        photo (batch, height, width, 3) float32 [-1, 1] -> anime, the same; opset `OPSET`.

    Raises:
        UnknownLayerError: another layer than those of `generator.BODIES`.
    """
    graph = _Graph(half)
    config = generator.get_config()
    weights = {layer.name: [np.asarray(weight) for weight in layer.weights] for layer in generator.layers if layer.weights}
    for layer in config["layers"]:
        graph.add(layer, weights.get(layer["name"], []))
    graph.fuse_upsampling()
    (name, _, index) = config["output_layers"]
    graph.node("Transpose", [graph.tensors[name][index]], output="anime", perm=[0, 2, 3, 1])
    ends = [
        helper.make_tensor_value_info(end, TensorProto.FLOAT, ["batch", "height", "width", 3]) for end in ("photo", "anime")
    ]
    model = helper.make_model(
        helper.make_graph(graph.nodes, generator.name, ends[:1], ends[1:], graph.initializers),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="hub_export",
    )
    helper.set_model_props(model, dict(notes))
    onnx.checker.check_model(model, full_check=True)
    return model


class _Graph:
    """Nodes so far, all of (B, C, H, W), and the names of every layer's outputs."""

    def __init__(self, half: bool):
        self.half = half
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []
        self.tensors: dict[str, list[str]] = {}

    def node(self, kind: str, inputs: list[str], output: str = "", **attributes: Any) -> str:
        """Adds one of one output, whose name is returned."""
        output = output or f"{kind.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [output], name=output, **attributes))
        return output

    def numbers(self, values: Any) -> str:
        """A constant: integers, or floats in the file's precision."""
        array = np.asarray(values)
        name = f"numbers_{len(self.initializers)}"
        if array.dtype.kind == "i":
            self.initializers.append(numpy_helper.from_array(array.astype(np.int64), name))
            return name
        self.initializers.append(numpy_helper.from_array(array.astype(np.float16 if self.half else np.float32), name))
        return self.node("Cast", [name], to=TensorProto.FLOAT) if self.half else name

    def exact(self, value: Any) -> str:
        """A constant that is no weight, in float32."""
        name = f"numbers_{len(self.initializers)}"
        self.initializers.append(numpy_helper.from_array(np.asarray(value, np.float32), name))
        return name

    def add(self, layer: Mapping[str, Any], weights: list[np.ndarray]) -> None:
        """Adds what a layer of a Functional model's config does."""
        kind, name = layer["class_name"], layer["name"]
        if kind == "InputLayer":
            self.tensors[name] = [self.node("Transpose", [name], perm=[0, 3, 1, 2])]
            return
        (call,) = layer["inbound_nodes"]
        inputs = [self._input(value) for value in _flat(call["args"])]
        write = getattr(self, f"_{kind.lower()}", self._binary if kind in BINARY else None)
        if write is None:
            raise UnknownLayerError(kind)
        (shape, *_) = [value["config"]["shape"] for value in _flat(call["args"]) if isinstance(value, Mapping)]
        outputs = write(inputs, {**layer["config"], "class_name": kind, "channels": shape[-1]}, weights)
        self.tensors[name] = outputs if isinstance(outputs, list) else [outputs]

    def _input(self, value: Any) -> str:
        if isinstance(value, Mapping):
            name, _, index = value["config"]["keras_history"]
            return self.tensors[name][index]
        return self.exact(value)

    def _binary(self, inputs: list[str], config: Mapping[str, Any], weights: list[np.ndarray]) -> str:
        first, *others = inputs
        for other in others:
            first = self.node(BINARY[config["class_name"]], [first, other])
        return first

    def _conv2d(self, inputs: list[str], config: Mapping[str, Any], weights: list[np.ndarray], kind: str = "Conv") -> str:
        kernel, *bias = weights
        numbers = [self.numbers(kernel.transpose(3, 2, 0, 1)), *map(self.numbers, bias)]
        return self.node(kind, [*inputs, *numbers], kernel_shape=config["kernel_size"], strides=config["strides"])

    def _conv2dtranspose(self, inputs: list[str], config: Mapping[str, Any], weights: list[np.ndarray]) -> str:
        return self._conv2d(inputs, config, weights, "ConvTranspose")

    def _depthwiseconv2d(self, inputs: list[str], config: Mapping[str, Any], weights: list[np.ndarray]) -> str:
        kernel, *bias = weights
        numbers = [self.numbers(kernel.transpose(2, 3, 0, 1)), *map(self.numbers, bias)]
        shape = {"kernel_shape": config["kernel_size"], "strides": config["strides"], "group": kernel.shape[2]}
        return self.node("Conv", [*inputs, *numbers], **shape)

    def _groupnormalization(self, inputs: list[str], config: Mapping[str, Any], weights: list[np.ndarray]) -> str:
        """Over each channel of a picture, or over all of them as one channel that is reshaped."""
        groups, channels = config["groups"], config["channels"]
        if groups not in (1, channels):
            raise UnknownLayerError(f"GroupNormalization of {groups} groups")
        scale, shift = weights or (np.ones(channels, np.float32), np.zeros(channels, np.float32))
        epsilon = config["epsilon"]
        if groups == channels:
            return self.node("InstanceNormalization", [*inputs, self.numbers(scale), self.numbers(shift)], epsilon=epsilon)
        whole = self.node("Reshape", [*inputs, self.numbers([0, 1, -1])])
        plain = [self.exact(np.ones(1)), self.exact(np.zeros(1))]
        normal = self.node("InstanceNormalization", [whole, *plain], epsilon=epsilon)
        normal = self.node("Reshape", [normal, self.node("Shape", inputs)])
        scaled = self.node("Mul", [normal, self.numbers(scale.reshape(1, -1, 1, 1))])
        return self.node("Add", [scaled, self.numbers(shift.reshape(1, -1, 1, 1))])

    def _batchnormalization(self, inputs: list[str], config: Mapping[str, Any], weights: list[np.ndarray]) -> str:
        return self.node("BatchNormalization", [*inputs, *map(self.numbers, weights)], epsilon=config["epsilon"])

    def _pad(self, inputs: list[str], config: Mapping[str, Any], weights: list[np.ndarray]) -> str:
        if config["mode"] == "symmetric" and max(map(max, config["pad_width"])) > 1:
            raise UnknownLayerError("Pad with a symmetric border of more than one pixel")
        before, after = zip(*(config["pad_width"][axis] for axis in (0, 3, 1, 2)), strict=True)
        return self.node("Pad", [inputs[0], self.numbers([*before, *after])], mode=PAD_MODES[config["mode"]])

    def _upsampling2d(self, inputs: list[str], config: Mapping[str, Any], weights: list[np.ndarray]) -> str:
        scales = self.exact(np.array([1, 1, *config["size"]]))
        how = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
        return self.node("Resize", [*inputs, "", scales], **how)

    def _averagepooling2d(self, inputs: list[str], config: Mapping[str, Any], weights: list[np.ndarray]) -> str:
        return self.node("AveragePool", inputs, kernel_shape=config["pool_size"], strides=config["strides"])

    def _cropping2d(self, inputs: list[str], config: Mapping[str, Any], weights: list[np.ndarray]) -> str:
        starts = [start for start, _ in config["cropping"]]
        ends = [-end if end else np.iinfo(np.int64).max for _, end in config["cropping"]]
        return self.node("Slice", [*inputs, *map(self.numbers, (starts, ends, [2, 3]))])

    def _leakyrelu(self, inputs: list[str], config: Mapping[str, Any], weights: list[np.ndarray]) -> str:
        return self.node("LeakyRelu", inputs, alpha=config["negative_slope"])

    def _activation(self, inputs: list[str], config: Mapping[str, Any], weights: list[np.ndarray]) -> str:
        return self.node({"relu": "Relu", "tanh": "Tanh"}[config["activation"]], inputs)

    def _cast(self, inputs: list[str], config: Mapping[str, Any], weights: list[np.ndarray]) -> str:
        return inputs[0]  # all is float32

    def _sqrt(self, inputs: list[str], config: Mapping[str, Any], weights: list[np.ndarray]) -> str:
        return self.node("Sqrt", inputs)

    def _clip(self, inputs: list[str], config: Mapping[str, Any], weights: list[np.ndarray]) -> str:
        return self.node("Clip", [*inputs, self.exact(config["x_min"]), self.exact(config["x_max"])])

    def _mean(self, inputs: list[str], config: Mapping[str, Any], weights: list[np.ndarray]) -> str:
        return self.node("ReduceMean", inputs, axes=_axes(config), keepdims=int(config["keepdims"]))

    def _var(self, inputs: list[str], config: Mapping[str, Any], weights: list[np.ndarray]) -> str:
        centred = self.node("Sub", [*inputs, self.node("ReduceMean", inputs, axes=_axes(config), keepdims=1)])
        return self._mean([self.node("Mul", [centred, centred])], config, weights)

    def _sum(self, inputs: list[str], config: Mapping[str, Any], weights: list[np.ndarray]) -> str:
        return self.node("ReduceSum", [*inputs, self.numbers(_axes(config))], keepdims=int(config["keepdims"]))

    def _softmax(self, inputs: list[str], config: Mapping[str, Any], weights: list[np.ndarray]) -> str:
        if _axes(config) != [2, 3]:
            raise UnknownLayerError("Softmax over other axes than height and width")
        rows = self.node("Softmax", [self.node("Reshape", [*inputs, self.numbers([0, 0, -1])])], axis=-1)
        return self.node("Reshape", [rows, self.node("Shape", inputs)])

    def _split(self, inputs: list[str], config: Mapping[str, Any], weights: list[np.ndarray]) -> list[str]:
        parts = config["indices_or_sections"]
        outputs = [f"split_{len(self.nodes)}_{part}" for part in range(parts)]
        self.nodes.append(helper.make_node("Split", inputs, outputs, name=outputs[0], axis=_axes(config)[0]))
        return outputs

    def fuse_upsampling(self) -> None:
        """Makes one bilinear Resize of `generator._upsample`'s four nodes: the same numbers, in a fraction of the time."""
        made = {node.output[0]: node for node in self.nodes}
        for last in [node for node in self.nodes if _is_box(node)]:
            chain = [last]
            while len(chain) < 4 and (before := made.get(chain[-1].input[0])):
                chain.append(before)
            kinds = [node.op_type for node in chain]
            if kinds != ["AveragePool", "AveragePool", "Pad", "Resize"] or not _is_box(chain[1]):
                continue
            resize = chain[3]
            how = {"mode": "linear", "coordinate_transformation_mode": "half_pixel"}
            fused = helper.make_node("Resize", resize.input, last.output, name=last.name, **how)
            self.nodes[self.nodes.index(last)] = fused
            for node in chain[1:]:
                self.nodes.remove(node)
        used = {name for node in self.nodes for name in node.input}
        self.initializers = [one for one in self.initializers if one.name in used]


def _is_box(node: onnx.NodeProto) -> bool:
    values = {attribute.name: list(attribute.ints) for attribute in node.attribute}
    return node.op_type == "AveragePool" and values == {"kernel_shape": [2, 2], "strides": [1, 1]}


def _axes(config: Mapping[str, Any]) -> list[int]:
    axes = config["axis"]
    return [PLACE[axis] for axis in (axes if isinstance(axes, (list, tuple)) else [axes])]


def _flat(args: Any) -> list[Any]:
    """The tensors and numbers a layer is called with; some take a list of them."""
    return [one for value in args for one in (value if isinstance(value, (list, tuple)) else [value])]
