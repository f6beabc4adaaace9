"""Reads numbers from a stranger's model.weights.h5, and nothing but numbers.

The HDF5 library trusts its files: one altered byte can make it loop for ever, links and external storage read other
files, chunks and filters unfold to any size. A generator needs none of that, so this reads only what Keras writes for
one: groups as symbol tables, float32 or float16 datasets stored contiguously inside the file. Everything else is refused.
What is read can never be more than the file: every object is visited once, names are short, and no two arrays share bytes.
Names, shapes and places come first, and numbers only once they are those that a generator needs.

Reference: HDF5 File Format Specification 3.0, sections II.A, III.A-D, IV.A.
"""

import io
import math
import struct
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from hub_export.sentences import ExplainedError

if TYPE_CHECKING:
    import keras

SUPERBLOCK = b"\x89HDF\r\n\x1a\n" + bytes([0, 0, 0, 0, 0, 8, 8, 0])
"""Signature, version 0 of everything, 8-byte offsets and lengths."""
DATATYPES = {
    "float32": bytes.fromhex("11201f00 04000000 00002000 1708 0017 7f000000"),
    "float16": bytes.fromhex("11200f00 02000000 00001000 0a05 000a 0f000000"),
}
"""The datatype messages of little-endian IEEE numbers, by the precision in which a file may keep them."""
DATASPACE, DATATYPE, LAYOUT, CONTINUATION, SYMBOL_TABLE = 0x1, 0x3, 0x8, 0x10, 0x11
HARMLESS = {0x0, 0x4, 0x5, 0xC, 0x12}
"""Messages that say nothing about where numbers are: nil, fill values, attributes, modification time."""
MAX_OBJECTS, MAX_DEPTH, MAX_MESSAGES = 2_000, 6, 16
"""Groups, arrays and nodes of trees, their nesting, and messages of one; the largest generator, v1, has 958, 4 and 5."""
MAX_NAMES, MAX_NAME = 2**14, 64
"""Bytes of all names in a group and of one; v1 has 2,816 and 20."""
VARIABLE_NAMES = {
    "Conv2D": "conv2d",
    "Conv2DTranspose": "conv2d_transpose",
    "DepthwiseConv2D": "depthwise_conv2d",
    "GroupNormalization": "group_normalization",
    "BatchNormalization": "batch_normalization",
}
"""How Keras names the layers that have weights in the file."""


@dataclass(frozen=True)
class Array:
    """Where in the file an array lies.

    Args:
        shape: of one to four axes.
        offset, size: of its numbers, in bytes.
    """

    shape: tuple[int, ...]
    offset: int
    size: int


def find_arrays(content: bytes, precision: str = "float32") -> dict[str, Array]:
    """Finds every dataset of a weights file without reading its numbers.

    Args:
        content: the whole file.
        precision: in which it keeps all its numbers, one of `DATATYPES`.

    Returns:
        Path in the file, e.g. "layers/conv2d_1/vars/0", to its array; no two of them share bytes.

    Raises:
        ValueError: not HDF5, or any feature that Keras' weights files do not need.
    """
    try:
        arrays = dict(_Reader(content, precision).arrays())
    except (struct.error, IndexError, UnicodeDecodeError):
        raise ExplainedError("the weights file is damaged") from None
    in_order = sorted(arrays.items(), key=lambda item: item[1].offset)
    for (first, one), (second, other) in pairwise(in_order):
        if one.offset + one.size > other.offset:
            raise ExplainedError(
                "{first} and {second} share the same bytes, which a checkpoint's arrays may not", first=first, second=second
            )
    return arrays


def read_weights(content: bytes, precision: str = "float32") -> dict[str, np.ndarray]:
    """Reads every dataset of a weights file, see `find_arrays`, as float32 arrays by their paths.

    Raises:
        ValueError: see `find_arrays`; or a number that is not finite.
    """
    return {path: _numbers(content, path, array, precision) for path, array in find_arrays(content, precision).items()}


def _numbers(content: bytes, path: str, array: Array, precision: str) -> np.ndarray:
    dtype = np.dtype(precision).newbyteorder("<")
    numbers = np.frombuffer(content, dtype, math.prod(array.shape), array.offset).reshape(array.shape)
    if not np.isfinite(numbers).all():
        raise ExplainedError("{path} holds numbers that are not finite", path=path)
    return numbers.astype(np.float32, copy=False)


def half_weights(weights: Mapping[str, np.ndarray]) -> bytes:
    """A weights file that keeps the numbers of `read_weights` in float16; Keras converts them to float32 when it loads.

    A number above 65,504 becomes infinite, which `read_weights` refuses.
    """
    import h5py

    content = io.BytesIO()
    with np.errstate(over="ignore"), h5py.File(content, "w") as file:
        for path, numbers in weights.items():
            file[path] = numbers.astype("<f2")
    return content.getvalue()


def assign_weights(generator: "keras.Model", content: bytes, precision: str = "float32") -> None:
    """Puts the numbers of a weights file, see `read_weights`, into a generator of stock layers.

    Raises:
        ValueError: see `read_weights`; or other layers or shapes than the generator's. The generator is as it was then.
    """
    arrays = find_arrays(content, precision)
    wanted = {}
    used: Counter[str] = Counter()
    for layer in generator.layers:
        if layer.weights:
            name = VARIABLE_NAMES[type(layer).__name__]
            group = f"{name}_{used[name]}" if used[name] else name
            used[name] += 1
            wanted.update({f"layers/{group}/vars/{index}": variable for index, variable in enumerate(layer.weights)})
    if set(arrays) != set(wanted):
        odd = sorted(set(arrays) ^ set(wanted))[0]
        fault = "{path} is too much in the weights file" if odd in arrays else "{path} is missing in the weights file"
        raise ExplainedError(fault, path=odd)
    for path, variable in wanted.items():
        if arrays[path].shape != tuple(variable.shape):
            shape, needed = arrays[path].shape, tuple(variable.shape)
            raise ExplainedError(
                "{path} has shape {shape}, the generator needs {needed}", path=path, shape=shape, needed=needed
            )
    numbers = {path: _numbers(content, path, array, precision) for path, array in arrays.items()}
    for path, variable in wanted.items():
        variable.assign(numbers[path])


class _Reader:
    def __init__(self, content: bytes, precision: str):
        self.content, self.precision = content, precision
        self.visited: set[int] = set()

    def unpack(self, layout: str, offset: int) -> tuple[int, ...]:
        """Little-endian integers at an offset; beyond the end is an error like any other damage."""
        if offset > len(self.content):  # also keeps 64-bit offsets out of C
            raise IndexError
        return struct.unpack_from("<" + layout, self.content, offset)

    def arrays(self) -> Iterator[tuple[str, Array]]:
        if not self.content.startswith(SUPERBLOCK):
            raise ExplainedError("the weights file is not HDF5 as Keras writes it")
        (base,) = self.unpack("Q", 24)
        if base:
            raise ExplainedError("the weights file does not start at its beginning")
        yield from self.walk("", self.unpack("Q", 64)[0], 0)

    def walk(self, path: str, address: int, depth: int) -> Iterator[tuple[str, Array]]:
        self.visit(path, address, depth)
        messages = self.messages(path, address)
        if SYMBOL_TABLE not in messages:
            yield path, self.array(path, messages)
            return
        tree, heap = self.unpack("QQ", messages[SYMBOL_TABLE])
        names: set[str] = set()
        for name, child in self.children(path, tree, self.heap(heap), 0):
            if name in names or not name or "/" in name:
                raise ExplainedError("{path} holds {name!r}, which is no name for one thing", path=path, name=name)
            names.add(name)
            yield from self.walk(f"{path}/{name}" if path else name, child, depth + 1)

    def visit(self, path: str, address: int, depth: int) -> None:
        if address in self.visited:
            raise ExplainedError("{path} holds a link, which a checkpoint may not hold", path=path)
        self.visited.add(address)
        if len(self.visited) > MAX_OBJECTS or depth > MAX_DEPTH:
            raise ExplainedError("the weights file holds too many objects")

    def messages(self, path: str, address: int) -> dict[int, int]:
        """Offsets of an object's header messages by type."""
        version, count, _, size = self.unpack("BxHII", address)
        if version != 1 or count > MAX_MESSAGES:
            raise ExplainedError("{path} has an object header that Keras does not write", path=path)
        offsets: dict[int, int] = {}
        blocks = [(address + 16, size)]
        for start, length in blocks:
            offset = start
            while offset + 8 <= start + length and count > 0:
                kind, size, flags = self.unpack("HHB", offset)
                offset, count = offset + 8, count - 1
                if kind == CONTINUATION:
                    where, length_there = self.unpack("QQ", offset)
                    blocks.append((where, length_there))
                elif kind not in HARMLESS:
                    if kind not in (DATASPACE, DATATYPE, LAYOUT, SYMBOL_TABLE) or kind in offsets or flags & 2:
                        raise ExplainedError(
                            "{path} is stored in a way that a checkpoint may not use (message {kind:#x})",
                            path=path,
                            kind=kind,
                        )
                    offsets[kind] = offset
                offset += size
        return offsets

    def array(self, path: str, messages: dict[int, int]) -> Array:
        if set(messages) != {DATASPACE, DATATYPE, LAYOUT}:
            raise ExplainedError("{path} is neither a group nor an array", path=path)
        if not self.content.startswith(DATATYPES[self.precision], messages[DATATYPE]):
            raise ExplainedError("{path} does not hold {precision} numbers", path=path, precision=self.precision)
        version, rank = self.unpack("BB", messages[DATASPACE])
        if version != 1 or not 1 <= rank <= 4:
            raise ExplainedError("{path} has a shape that no layer has", path=path)
        shape = self.unpack(f"{rank}Q", messages[DATASPACE] + 8)
        version, kind = self.unpack("BB", messages[LAYOUT])
        if (version, kind) != (3, 1):
            raise ExplainedError("{path} is compressed, chunked or stored outside the file", path=path)
        start, size = self.unpack("QQ", messages[LAYOUT] + 2)
        itemsize = np.dtype(self.precision).itemsize
        if size != itemsize * math.prod(shape) or not size or start + size > len(self.content):
            raise ExplainedError("{path} is cut off", path=path)
        return Array(shape, start, size)

    def heap(self, address: int) -> bytes:
        """The names of a group, each ended by a zero byte."""
        (size,) = self.unpack("Q", address + 8)
        (start,) = self.unpack("Q", address + 24)
        if not self.content.startswith(b"HEAP\0", address) or size > MAX_NAMES:
            raise IndexError
        return self.content[start : start + size]

    def children(self, path: str, address: int, heap: bytes, depth: int) -> Iterator[tuple[str, int]]:
        """Names and header addresses in a group's B-tree."""
        self.visit(path, address, depth)
        if self.content.startswith(b"SNOD\1", address):
            (count,) = self.unpack("H", address + 6)
            for index in range(count):
                name, header, kind = self.unpack("QQI", address + 8 + 40 * index)
                if kind > 1:
                    raise ExplainedError("{path} holds a link, which a checkpoint may not hold", path=path)
                end = heap.find(b"\0", name, name + MAX_NAME + 1)
                if end < 0:
                    raise IndexError
                yield heap[name:end].decode("ascii"), header
        elif self.content.startswith(b"TREE\0", address):
            (count,) = self.unpack("H", address + 6)
            for index in range(count):
                yield from self.children(path, self.unpack("Q", address + 32 + 16 * index)[0], heap, depth + 1)
        else:
            raise IndexError
