"""A weights file of n bytes costs n bytes and little time to read, or is refused, whatever it holds."""

import time
from collections.abc import Callable

import numpy as np
import pytest

from hub_export.architecture import GeneratorConfig
from hub_export.generator import build_generator
from hub_export.weights import assign_weights, find_arrays, read_weights
from support.hostile_weights import (
    Writer,
    chunks,
    circle,
    endless_header,
    inside,
    long_names,
    one_heap,
    overlapping,
    plain,
    same_bytes,
    same_header,
    wide_tree,
)
from support.language import translated
from support.processes import Peak

UNFOLDING: dict[str, tuple[Callable[[], bytes], str]] = {
    "two arrays in the same bytes": (lambda: same_bytes(2, 400), "share the same bytes"),
    "a thousand arrays in the same megabyte": (lambda: same_bytes(1000, 10**6), "share the same bytes"),
    "more arrays than any generator": (lambda: same_bytes(2100, 4), "too many objects"),
    "arrays that overlap by half": (lambda: overlapping(100, 4000, 2000), "share the same bytes"),
    "arrays that overlap by one number": (lambda: overlapping(3, 40, 36), "share the same bytes"),
    "an array within another": (inside, "share the same bytes"),
    "an array by two names": (same_header, "holds a link"),
    "names that are the ends of one": (lambda: long_names(1500, 16_000), "is damaged"),
    "a name without an end": (lambda: long_names(1, 16_383), "is damaged"),
    "a thousand groups with one heap of 16 MB": (lambda: one_heap(1000, 2**24), "is damaged"),
    "groups in a row": (lambda: one_heap(1000, 2**10), "too many objects"),
    "a tree of itself": (lambda: wide_tree(60_000), "holds a link"),
    "a group in itself": (lambda: circle(0), "holds a link"),
    "a group in its grandchild": (lambda: circle(2), "holds a link"),
    "a header that continues in itself": (endless_header, "neither a group nor an array"),
    "a terabyte of chunks": (lambda: chunks([2**19, 2**19], [1, 1]), "is compressed, chunked"),
    "one chunk of many gigabytes": (lambda: chunks([2**31], [2**31]), "is compressed, chunked"),
    "chunks that share their bytes": (lambda: chunks([1024], [16]), "is compressed, chunked"),
    "an array of 2^80 numbers": (
        lambda: (w := Writer()).file(w.folder({"a": w.array(96, 40, [2**20] * 4)})),
        "is cut off",
    ),
    "an array whose size overflows 64 bits": (
        lambda: (w := Writer()).file(w.folder({"a": w.array(96, 40, [2**32, 2**32, 10])})),
        "is cut off",
    ),
}


@pytest.mark.parametrize("name", UNFOLDING)
def test_what_unfolds_is_refused_before_it_does(name: str) -> None:
    make, words = UNFOLDING[name]
    content = make()
    peak, started = Peak(), time.process_time()
    with pytest.raises(ValueError, match=words) as refusal:
        read_weights(content)
    assert time.process_time() - started < 1 and len(str(refusal.value)) < 300
    translated(refusal.value)
    assert peak.rise() < 20 * 2**20


def test_the_writer_writes_what_the_reader_reads() -> None:
    """So that what is refused above is refused for what is wrong with it."""
    assert {name: array.shape for name, array in read_weights(plain()).items()} == {
        "layers/one": (10, 10),
        "layers/other": (10,),
    }


def test_no_more_is_read_than_the_file_holds() -> None:
    generator = build_generator(GeneratorConfig("lite", channels=4))
    w = Writer()
    content = w.file(w.folder({f"{number}": w.array(w.put(bytes(400)), 400) for number in range(300)}))
    arrays = find_arrays(content)
    assert len(arrays) == 300 and sum(array.size for array in arrays.values()) <= len(content)
    with pytest.raises(ValueError, match=r"is (too much|missing) in the weights file"):
        assign_weights(generator, content)


def test_names_and_shapes_are_checked_before_any_number() -> None:
    """The numbers are not finite, and that is not what is told."""
    w = Writer()
    data = w.put(np.full(10**6, np.nan, np.float32).tobytes())
    content = w.file(w.folder({"layers": w.folder({"evil": w.array(data, 4 * 10**6)})}))
    with pytest.raises(ValueError, match=r"is (too much|missing) in the weights file"):
        assign_weights(build_generator(GeneratorConfig("lite", channels=4)), content)


def test_refused_weights_leave_the_generator_as_it_was(tmp_path: object) -> None:
    generator = build_generator(GeneratorConfig("lite", channels=4))
    before = generator.get_weights()
    generator.layers[-2].bias.assign([np.nan, 0, 0])
    generator.save(f"{tmp_path}/broken", zipped=False)
    generator.set_weights(before)
    with open(f"{tmp_path}/broken/model.weights.h5", "rb") as file, pytest.raises(ValueError, match="not finite"):
        assign_weights(generator, file.read())
    assert all(np.array_equal(a, b) for a, b in zip(before, generator.get_weights(), strict=True))
