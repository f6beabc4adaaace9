"""The generators: sizes, shapes, bilinear resizing, stock layers only."""

import inspect
import json
from typing import Any, get_args

import keras
import numpy as np
import pytest
import tensorflow as tf

from hub_export import pixels
from hub_export.architecture import KINDS as ARCHITECTURES
from hub_export.architecture import Colours, GeneratorConfig
from hub_export.checkpoint import STOCK_CLASSES
from hub_export.generator import BODIES, _upsample, build_generator, dtype_policy
from hub_export.weights import VARIABLE_NAMES

KINDS: list[tuple[str, Colours]] = [("v1", "drawn"), ("v2", "kept"), ("v3", "drawn"), ("lite", "drawn"), ("lite", "kept")]
KINDS += [("diary", "drawn"), ("resnet6", "drawn"), ("lite2", "drawn")]


@pytest.fixture(scope="module", params=KINDS, ids="-".join)
def tiny(request: pytest.FixtureRequest) -> tuple[keras.Model, GeneratorConfig]:
    keras.utils.set_random_seed(0)
    config = GeneratorConfig(request.param[0], channels=4, colours=request.param[1])
    return build_generator(config), config


@pytest.mark.parametrize(("architecture", "parameters"), [("v1", 3_956_096), ("v2", 2_143_552)])
def test_parameters_as_published(architecture: str, parameters: int) -> None:
    assert build_generator(GeneratorConfig(architecture)).count_params() == parameters


def test_the_diarys_is_the_first_without_a_convolution_in_the_middle_and_with_zeros_around() -> None:
    assert build_generator(GeneratorConfig("diary")).count_params() == 3_956_096 - 3 * 3 * 256 * 256 - 2 * 256
    generator = build_generator(GeneratorConfig("diary", channels=2))
    pads = [layer for layer in generator.operations if type(layer).__name__ == "Pad"]  # type: ignore[union-attr]
    assert {pad.mode for pad in pads} == {"constant", "symmetric"}, "symmetric to upsample"
    photo = keras.Input((8, 8, 3))
    conv = keras.layers.Conv2D(2, 3, 2, use_bias=False)
    ours, theirs = (keras.Model(photo, conv(keras.ops.pad(photo, [(0, 0), m, m, (0, 0)]))) for m in ((1, 0), (1, 1)))
    picture = np.random.default_rng(0).normal(size=(1, 8, 8, 3)).astype(np.float32)
    np.testing.assert_array_equal(ours(picture), theirs(picture))


def test_lite_is_small() -> None:
    assert build_generator(GeneratorConfig("lite")).count_params() < 800_000


@pytest.mark.parametrize("size", [(1, 1), (1, 97), (33, 64), (40, 200)])
def test_any_size_through_padding(tiny: tuple[keras.Model, GeneratorConfig], size: tuple[int, int]) -> None:
    generator, config = tiny
    photo = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    padded = pixels.pad(photo, config.stride)
    drawn = np.asarray(generator(pixels.to_model(padded)[None]))[0]
    assert drawn.shape == padded.shape and drawn.dtype == np.float32
    assert np.isfinite(drawn).all() and np.abs(drawn).max() <= 1
    assert pixels.unpad(pixels.from_model(drawn), *size).shape == photo.shape


@pytest.mark.slow
def test_one_trace_draws_every_size_and_batch(tiny: tuple[keras.Model, GeneratorConfig]) -> None:
    generator, _ = tiny
    draw = tf.function(generator, input_signature=[tf.TensorSpec((None, None, None, 3))], autograph=False)
    for shape in [(1, 32, 32, 3), (2, 64, 40, 3), (1, 48, 96, 3)]:
        batch = np.random.default_rng(0).uniform(-1, 1, shape).astype(np.float32)
        np.testing.assert_allclose(draw(batch), generator(batch), atol=1e-4)
    assert draw.experimental_get_tracing_count() == 1


def test_there_is_one_table_beside_the_other() -> None:
    assert BODIES.keys() == ARCHITECTURES.keys()


@pytest.mark.parametrize("colours", get_args(Colours))
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_what_stock_keras_is_told_to_load_is_all_allowed(architecture: str, colours: Colours) -> None:
    """Whoever adds a generator sees here which classes `STOCK_CLASSES` and `VARIABLE_NAMES` lack."""
    generator = build_generator(GeneratorConfig(architecture, channels=2, colours=colours))
    named: set[str] = set()
    pending = [json.loads(generator.to_json())]
    while pending:
        item = pending.pop()
        if isinstance(item, dict):
            named |= {item["class_name"]} if "class_name" in item else set()
            pending.extend(item.values())
        elif isinstance(item, list):
            pending.extend(item)
    assert named <= STOCK_CLASSES
    assert {type(layer).__name__ for layer in generator.layers if layer.weights} <= VARIABLE_NAMES.keys()


def test_built_of_stock_keras_only(tiny: tuple[keras.Model, GeneratorConfig]) -> None:
    assert {inspect.getmodule(type(part)).__name__.split(".")[0] for part in tiny[0].operations} == {"keras"}  # type: ignore[union-attr]


def test_a_float32_model_whatever_its_policy(tiny: tuple[keras.Model, GeneratorConfig]) -> None:
    with dtype_policy("mixed_bfloat16"):
        mixed = build_generator(tiny[1])
    drawn = mixed(np.zeros((1, 32, 32, 3), np.float32))
    assert drawn.dtype == tf.float32


@pytest.mark.parametrize("size", [(1, 1), (3, 5), (8, 8)])
def test_upsampling_is_bilinear_with_half_pixel_centres(size: tuple[int, int]) -> None:
    photo = keras.Input((None, None, 2))
    double = keras.Model(photo, _upsample(photo))
    image = np.random.default_rng(0).normal(size=(2, *size, 2)).astype(np.float32)
    reference = tf.image.resize(image, (2 * size[0], 2 * size[1]), "bilinear")
    np.testing.assert_allclose(double(image), reference, atol=1e-6)


def test_v1_halves_bilinearly() -> None:
    image = np.random.default_rng(0).normal(size=(1, 8, 6, 2)).astype(np.float32)
    np.testing.assert_allclose(
        keras.layers.AveragePooling2D(2)(image), tf.image.resize(image, (4, 3), "bilinear"), atol=1e-6
    )


def test_lite_starts_near_gray_and_sees_only_a_neighbourhood() -> None:
    """Without normalisation over the picture, a far pixel has no say: large pictures may be drawn in tiles."""
    generator = build_generator(GeneratorConfig("lite", channels=4))
    photo = np.random.default_rng(0).uniform(-1, 1, (1, 32, 320, 3)).astype(np.float32)
    other = photo.copy()
    other[:, :, 256:] = 0.0
    drawn, changed = np.asarray(generator(photo)), np.asarray(generator(other))
    assert np.abs(drawn).mean() < 0.5
    np.testing.assert_allclose(drawn[:, :, :64], changed[:, :, :64], atol=1e-6)


def test_kept_colours_are_the_photos_and_only_areas_shift() -> None:
    drawing = build_generator(GeneratorConfig("lite", channels=4))
    keeping = build_generator(GeneratorConfig("lite", channels=4, colours="kept"))
    random = np.random.default_rng(0)
    weights = [random.normal(0, 0.3, weight.shape) for weight in drawing.get_weights()]
    weights[-2:] = [0.005 * weight for weight in weights[-2:]]  # faint, so that nothing is clipped
    drawing.set_weights(weights)
    keeping.set_weights(weights)
    photo = random.uniform(-0.2, 0.2, (1, 64, 64, 3)).astype(np.float32)
    drawn, kept = np.asarray(drawing(photo)), np.asarray(keeping(photo))
    luma = np.array(pixels.GRAY_WEIGHTS, np.float32)

    def colours(picture: np.ndarray) -> np.ndarray:
        return picture - (picture @ luma)[..., None]

    np.testing.assert_allclose(kept @ luma, drawn @ luma, atol=1e-5)
    areas = colours(drawn - photo).reshape(1, 16, 4, 16, 4, 3).mean(axis=(2, 4))
    shift = tf.image.resize(tf.image.resize(areas, (32, 32)), (64, 64))
    assert np.abs(shift).max() > 0.02
    np.testing.assert_allclose(colours(kept - photo), shift, atol=1e-5)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"architecture": "v9"}, "unknown generator 'v9'"),
        ({"architecture": ["v1"]}, "unknown generator"),
        ({"architecture": "v1", "channels": 65}, "from 1 to 64"),
        ({"architecture": "v2", "channels": 129}, "from 1 to 128"),
        ({"architecture": "v2", "channels": -1}, "from 1 to 128"),
        ({"architecture": "v2", "channels": 8.5}, "from 1 to 128"),
        ({"architecture": "v2", "channels": True}, "from 1 to 128"),
        ({"architecture": "v2", "colours": "loud"}, "one of drawn, kept, got 'loud'"),
        ({"architecture": "v2", "colours": ["kept"]}, "one of drawn, kept"),
    ],
)
def test_what_cannot_be_built_says_why(values: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        GeneratorConfig(**values)
