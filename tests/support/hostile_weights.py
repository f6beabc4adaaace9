"""Writes HDF5 files that the HDF5 library would not write, byte by byte: a library for tests.

Reference: HDF5 File Format Specification 3.0, sections II.A, III.A-D, IV.A.
"""

import struct
from collections.abc import Sequence

SIGNATURE = b"\x89HDF\r\n\x1a\n" + bytes([0, 0, 0, 0, 0, 8, 8, 0])
FLOAT32 = bytes.fromhex("11201f00 04000000 00002000 1708 0017 7f000000")
FLOAT16 = bytes.fromhex("11200f00 02000000 00001000 0a05 000a 0f000000")
UNDEFINED = 2**64 - 1


class Writer:
    """Appends structures to a file; every method returns the address of what it wrote."""

    def __init__(self) -> None:
        self.content = bytearray(96)
        self.content[:16] = SIGNATURE

    def put(self, content: bytes) -> int:
        self.content.extend(bytes(-len(self.content) % 8))
        address = len(self.content)
        self.content.extend(content)
        return address

    def header(self, messages: Sequence[tuple[int, bytes]], count: int | None = None) -> int:
        """An object header with messages (type, body)."""
        bodies = [(kind, body + bytes(-len(body) % 8)) for kind, body in messages]
        packed = b"".join(struct.pack("<HHB3x", kind, len(body), 0) + body for kind, body in bodies)
        return self.put(struct.pack("<BxHII4x", 1, len(messages) if count is None else count, 1, len(packed)) + packed)

    def array(self, address: int, size: int, shape: Sequence[int] | None = None, half: bool = False) -> int:
        """The header of a dataset whose numbers lie at an address already written."""
        shape = shape or [size // (2 if half else 4)]
        space = struct.pack(f"<BBB5x{len(shape)}Q", 1, len(shape), 0, *shape)
        layout = struct.pack("<BBQQ", 3, 1, address, size)
        return self.header([(1, space), (3, FLOAT16 if half else FLOAT32), (8, layout)])

    def chunked(self, shape: Sequence[int], chunk: Sequence[int], tree: int) -> int:
        """The header of a dataset in chunks, whose B-tree lies at an address."""
        space = struct.pack(f"<BBB5x{len(shape)}Q", 1, len(shape), 0, *shape)
        layout = struct.pack(f"<BBBQ{len(chunk) + 1}I", 3, 2, len(chunk) + 1, tree, *chunk, 4)
        return self.header([(1, space), (3, FLOAT32), (8, layout)])

    def heap(self, names: bytes) -> int:
        start = self.put(names)
        return self.put(b"HEAP\0\0\0\0" + struct.pack("<QQQ", len(names), UNDEFINED, start))

    def node(self, entries: Sequence[tuple[int, int]]) -> int:
        """A symbol table node of (offset of the name in the heap, address of the object's header)."""
        rows = b"".join(struct.pack("<QQI4x16x", name, header, 0) for name, header in entries)
        return self.put(b"SNOD\1\0" + struct.pack("<H", len(entries)) + rows)

    def tree(self, children: Sequence[int]) -> int:
        rows = struct.pack("<Q", 0) + b"".join(struct.pack("<QQ", child, 0) for child in children)
        return self.put(b"TREE\0\0" + struct.pack("<HQQ", len(children), UNDEFINED, UNDEFINED) + rows)

    def group(self, tree: int, heap: int) -> int:
        return self.header([(0x11, struct.pack("<QQ", tree, heap))])

    def folder(self, members: dict[str, int]) -> int:
        """A group of named objects."""
        names, offsets = bytearray(8), []
        for name in members:
            offsets.append(len(names))
            names += name.encode() + b"\0"
        node = self.node(list(zip(offsets, members.values(), strict=True)))
        return self.group(self.tree([node]), self.heap(bytes(names)))

    def file(self, root: int) -> bytes:
        struct.pack_into("<HHI", self.content, 16, 4, 16, 0)
        struct.pack_into("<QQQQ", self.content, 24, 0, UNDEFINED, len(self.content), UNDEFINED)
        struct.pack_into("<QQ", self.content, 56, 0, root)
        return bytes(self.content)


def plain() -> bytes:
    """A file that is as it should be: two arrays in two groups."""
    w = Writer()
    one, other = w.array(w.put(bytes(400)), 400, [10, 10]), w.array(w.put(bytes(40)), 40)
    return w.file(w.folder({"layers": w.folder({"one": one, "other": other})}))


def same_bytes(count: int, size: int, half: bool = False) -> bytes:
    """`count` arrays that all lie in the same bytes."""
    w = Writer()
    data = w.put(bytes(size))
    return w.file(w.folder({f"{number:x}": w.array(data, size, half=half) for number in range(count)}))


def overlapping(count: int, size: int, step: int) -> bytes:
    """Arrays each of which begins `step` bytes after the one before, and ends within another."""
    w = Writer()
    data = w.put(bytes(size + count * step))
    return w.file(w.folder({f"{number:x}": w.array(data + number * step, size) for number in range(count)}))


def inside() -> bytes:
    """A small array that lies within a large one."""
    w = Writer()
    data = w.put(bytes(4000))
    return w.file(w.folder({"large": w.array(data, 4000), "small": w.array(data + 2000, 40)}))


def same_header() -> bytes:
    """One array by two names."""
    w = Writer()
    array = w.array(w.put(bytes(40)), 40)
    return w.file(w.folder({"a": array, "b": array}))


def long_names(count: int, length: int) -> bytes:
    """Names that are the ends of one long name, so that together they are half a square of it."""
    w = Writer()
    node = w.node([(number, w.array(w.put(bytes(4)), 4)) for number in range(count)])
    return w.file(w.group(w.tree([node]), w.heap(b"x" * length + b"\0")))


def one_heap(count: int, length: int) -> bytes:
    """Groups in a row that all have the same large heap of names."""
    w = Writer()
    heap = w.heap(b"a\0" + b"x" * length)
    child = w.array(w.put(bytes(4)), 4)
    for _ in range(count):
        child = w.group(w.tree([w.node([(0, child)])]), heap)
    return w.file(child)


def wide_tree(count: int) -> bytes:
    """A group's tree whose node names itself over and over."""
    w = Writer()
    address = len(w.content)
    assert w.tree([address] * count) == address
    return w.file(w.group(address, w.heap(b"a\0")))


def circle(depth: int) -> bytes:
    """A group that holds itself, some levels further down."""
    w = Writer()
    names = w.heap(b"a\0")
    node = w.node([(0, 0)])
    root = child = w.group(w.tree([node]), names)
    for _ in range(depth):
        child = w.folder({"a": child})
    struct.pack_into("<Q", w.content, node + 16, child)
    return w.file(root)


def endless_header() -> bytes:
    """A header that continues in itself."""
    w = Writer()
    address = len(w.content)
    w.header([(0x10, struct.pack("<QQ", address + 16, 24))], count=16)
    return w.file(address)


def chunks(shape: Sequence[int], chunk: Sequence[int]) -> bytes:
    """An array in chunks; all of its chunks lie in the same bytes."""
    w = Writer()
    data = w.put(bytes(64))
    key = struct.pack(f"<II{len(chunk) + 1}Q", 64, 0, *[0] * (len(chunk) + 1))
    tree = w.put(b"TREE\1\0" + struct.pack("<HQQ", 64, UNDEFINED, UNDEFINED) + (key + struct.pack("<Q", data)) * 64 + key)
    return w.file(w.folder({"a": w.chunked(shape, chunk, tree)}))
