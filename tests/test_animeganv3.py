"""AnimeGANv3: its networks and a step against plainly written ones, every term against its formula, and the host's work."""

import functools
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import keras
import numpy as np
import pytest
import tensorflow as tf

from hub_export import checkpoint
from hub_export.generator import build_generator
from support.processes import until
from support.training import assert_same_state, built, earlier, noise, take, tiny_v3
from train import features, losses, processes, regions, targets
from train.batches import TrainingData
from train.configuration import override
from train.engine import Engine, restore, state
from train.evaluate import _kinship
from train.experiments import get_experiment
from train.features import build_features, with_shallow_layers
from train.layers import SpectralConv2D, advance_power_iterations
from train.loop import Run, RunOptions
from train.recipes import animeganv3 as v3
from train.run_folder import RunFolder
from train.settings import AnimeGANv3Config, Experiment, FeatureConfig

pytestmark = pytest.mark.long

ROOT = Path(__file__).parents[1]


def random_picture(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-1, 1, shape).astype(np.float32)


def patches(size: int = 64, noise: float = 0.05) -> np.ndarray:
    """A picture of four areas with grain: float32 (size, size, 3) [-1, 1]."""
    rng = np.random.default_rng(0)
    areas = np.array([[[-0.7, -0.2, 0.3], [0.5, 0.1, -0.4]], [[0.1, 0.7, 0.6], [-0.3, 0.4, -0.8]]], np.float32)
    flat = areas.repeat(size // 2, 0).repeat(size // 2, 1)
    return np.clip(flat + rng.normal(0, noise, flat.shape), -1, 1).astype(np.float32)


# --- the networks --------------------------------------------------------------------------------------------------------


def count(weights: Any) -> int:
    return sum(int(np.prod(weight.shape)) for weight in weights)


def test_the_networks_have_the_references_shapes_and_sizes() -> None:
    experiment = override(get_experiment("official-v3-hayao"), ["features.network=hed-vgg16", "features.weights=none"], "v3")
    recipe = built(experiment)
    base = [(7, 3, 32), (3, 32, 32), (3, 32, 64), (3, 64, 64), (3, 64, 128), (3, 128, 128), (3, 128, 128)]
    tail = [(3, 128, 128), (3, 128, 128), (3, 128, 64), (3, 64, 64), (3, 64, 32), (3, 32, 32)]

    def with_lade(kernels: list[tuple[int, int, int]]) -> list[tuple[int, int, int]]:
        return [kernel for own in kernels for kernel in (own, (1, own[2], own[2]))]

    wanted = [*with_lade(base), (1, 128, 128), (1, 128, 128), (1, 128, 128), *with_lade(tail), (7, 32, 3)]
    for index in range(2):
        layers = v3.one_tail(recipe.generator, index).layers
        kernels = [layer.kernel.shape for layer in layers if isinstance(layer, keras.layers.Conv2D)]
        assert [(shape[0], *shape[2:]) for shape in kernels] == wanted
        assert not any(layer.use_bias for layer in layers if isinstance(layer, keras.layers.Conv2D))
        assert count(weight for layer in layers for weight in layer.trainable_weights) == 1_027_520
    assert count(recipe.generator.trainable_weights) == 1_557_792
    assert count(recipe.discriminator.trainable_weights) == 2 * 693_088
    assert build_generator(experiment.generator).count_params() == 1_027_520 + 2 * 128, "and the moments"


def plain_tail(kernels: Iterator[Any], photo: Any, training: bool) -> Any:
    """A tail with its base as the reference writes it: the memory's transpose, then a convolution."""

    def conv(x: Any, stride: int = 1) -> Any:
        kernel = next(kernels)
        padding = [(1, 0)] * 2 if stride == 2 else [(kernel.shape[0] // 2,) * 2] * 2
        return tf.nn.conv2d(tf.pad(x, [(0, 0), *padding, (0, 0)], "REFLECT"), kernel, stride, "VALID")

    def block(x: Any, stride: int = 1) -> Any:
        x = conv(x, stride)
        t_mean, t_variance = tf.nn.moments(conv(x), [1, 2], keepdims=True)
        mean, variance = tf.nn.moments(x, [1, 2], keepdims=True)
        x = (x - mean) / tf.sqrt(variance + 1e-5) * tf.sqrt(t_variance + 1e-5) + t_mean
        return tf.nn.leaky_relu(x, 0.2)

    full = block(photo)
    half = block(block(full, 2))
    quarter = block(block(half, 2))
    eighth = block(block(quarter, 2))
    positions = tf.reshape(conv(eighth), (photo.shape[0], -1, eighth.shape[-1]))
    memory = next(kernels)[0, 0]
    shares = tf.nn.softmax(positions @ memory, axis=1)
    shares = shares / (1e-9 + tf.reduce_sum(shares, axis=2, keepdims=True))
    recalled = conv(tf.reshape(shares @ tf.transpose(memory), eighth.shape))
    gamma, beta, mean, variance = (next(kernels) for _ in range(4))
    if training:
        mean, variance = tf.nn.moments(recalled, [0, 1, 2])
    recalled = tf.nn.batch_normalization(recalled, mean, variance, beta, gamma, 1e-3)
    x = tf.nn.leaky_relu(recalled + eighth, 0.2)
    for skip in (quarter, half, full):
        x = block(block(tf.image.resize(x, skip.shape[1:3])) + skip)
    return tf.tanh(conv(x))


def varied(recipe: Any) -> Any:
    """With all that starts at zero or one moved elsewhere."""
    rng = np.random.default_rng(5)
    for layer in recipe.generator.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.set_weights([weight + rng.uniform(0.1, 0.5, weight.shape) for weight in layer.get_weights()])
    return recipe


@pytest.fixture(scope="module")
def hayao() -> Any:
    """A recipe whose networks are looked at and not trained."""
    return varied(built(tiny_v3()))


@pytest.fixture(scope="module")
def shinkai() -> Any:
    return built(tiny_v3(style="shinkai"))


@pytest.mark.slow
@pytest.mark.parametrize("training", [True, False])
def test_both_tails_draw_what_the_plainly_written_ones_do(hayao: Any, training: bool) -> None:
    photo = tf.constant(random_picture(2, 32, 48, 3))
    weights = [v3.one_tail(hayao.generator, index).get_weights() for index in range(2)]
    drawn = hayao.generator(photo, training=training)
    for found, own in zip(drawn, weights, strict=True):
        rest = iter(own)
        wanted = plain_tail(rest, photo, training)
        assert next(rest, None) is None and np.std(wanted) > 0.05
        np.testing.assert_allclose(found, wanted, atol=2e-5)
    assert np.abs(drawn[0] - drawn[1]).max() > 0.1, "two tails"


@pytest.mark.slow
def test_the_export_draws_what_the_main_tail_does_at_any_size(hayao: Any) -> None:
    plain = build_generator(hayao.experiment.generator)
    plain.set_weights(hayao.export())
    for shape in ((1, 32, 32, 3), (2, 64, 40, 3)):
        photo = random_picture(*shape)
        np.testing.assert_allclose(plain(photo), hayao.generator(photo)[1], atol=2e-5)


@pytest.mark.slow
def test_the_discriminators_judge_as_the_plainly_written_ones_do(hayao: Any) -> None:
    model, pictures = hayao.discriminator, tf.constant(random_picture(2, 32, 48, 3))
    answers = model([pictures, pictures])
    for index, found in enumerate(answers):
        layers = keras.Model(model.inputs[index], model.outputs[index]).layers
        kernels = iter([layer.normalised_kernel() for layer in layers if isinstance(layer, SpectralConv2D)])

        def conv(x: Any, stride: int = 1) -> Any:
            kernel = next(kernels)  # noqa: B023
            padding = [(1, 0)] * 2 if stride == 2 else [(kernel.shape[0] // 2,) * 2] * 2
            return tf.nn.conv2d(tf.pad(x, [(0, 0), *padding, (0, 0)], "REFLECT"), kernel, stride, "VALID")

        x = tf.nn.leaky_relu(conv(pictures), 0.2)
        for stride in (2, 1, 2, 1, 2, 1):
            x = conv(x, stride)
            t_mean, t_variance = tf.nn.moments(conv(x), [1, 2], keepdims=True)
            mean, variance = tf.nn.moments(x, [1, 2], keepdims=True)
            x = (x - mean) / tf.sqrt(variance + 1e-5) * tf.sqrt(t_variance + 1e-5) + t_mean
            x = tf.nn.leaky_relu(x, 0.2)
        wanted = conv(x)
        assert wanted.shape == (2, 4, 6, 1) and next(kernels, None) is None
        np.testing.assert_allclose(found, wanted, atol=2e-5)
    assert np.abs(answers[0] - answers[1]).max() > 1e-3, "two discriminators"


# --- the terms -----------------------------------------------------------------------------------------------------------


def test_the_guided_filter_is_its_formula() -> None:
    picture = random_picture(1, 9, 12, 3) * np.linspace(0.01, 1, 12, dtype=np.float32)[:, None]
    guide = (picture[0].astype(np.float64) + 1) / 2

    def mean(x: np.ndarray) -> np.ndarray:
        near = [
            (slice(max(row - 2, 0), row + 3), slice(max(column - 2, 0), column + 3)) for row, column in np.ndindex(9, 12)
        ]
        return np.array([x[window].mean(axis=(0, 1)) for window in near]).reshape(x.shape)

    variance = mean(guide * guide) - mean(guide) ** 2
    a = variance / (variance + 0.01)
    wanted = np.clip((mean(a) * guide + mean(mean(guide) - a * mean(guide))) * 2 - 1, -1, 1)
    found = v3.guided_filter(tf.constant(picture))
    np.testing.assert_allclose(found[0], wanted, atol=1e-5)
    faint = 0.05 * random_picture(1, 20, 20, 3)
    assert np.std(v3.guided_filter(tf.constant(faint))) < 0.3 * np.std(faint), "grain goes"
    with tf.GradientTape() as tape:
        tape.watch(given := tf.constant(picture))
        total = tf.reduce_sum(v3.guided_filter(given) * picture)
    gradient = tape.gradient(total, given).numpy()
    step = np.zeros_like(picture)
    step[0, 4, 5, 1] = 1e-2
    higher, lower = (tf.reduce_sum(v3.guided_filter(tf.constant(picture + by)) * picture) for by in (step, -step))
    assert gradient[0, 4, 5, 1] == pytest.approx(float(higher - lower) / 2e-2, rel=2e-2, abs=2e-3)


def numpy_lab(picture: np.ndarray) -> np.ndarray:
    rgb = (picture.astype(np.float64) + 1) / 2
    linear = np.where(rgb > 0.04045, ((rgb + 0.055) / 1.055) ** 2.4, rgb / 12.92)
    matrix = np.array([[0.412453, 0.357580, 0.180423], [0.212671, 0.715160, 0.072169], [0.019334, 0.119193, 0.950227]])
    xyz = linear @ matrix.T / [0.95047, 1.0, 1.08883]
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.stack([116 * f[..., 1] - 16, 500 * (f[..., 0] - f[..., 1]), 200 * (f[..., 1] - f[..., 2])], axis=-1)


def test_lab_is_its_formula_and_opencvs() -> None:
    picture = np.concatenate([random_picture(40, 9, 3), np.full((1, 9, 3), -1, np.float32), np.ones((1, 9, 3), np.float32)])
    found = v3.lab(tf.constant(picture)).numpy()
    np.testing.assert_allclose(found, numpy_lab(picture), atol=2e-3)
    np.testing.assert_allclose(found, cv2.cvtColor((picture + 1) / 2, cv2.COLOR_RGB2LAB), atol=0.6)


def test_the_colour_loss_is_its_formula_and_has_a_gradient_at_black() -> None:
    photo, fake = random_picture(2, 6, 7, 3), random_picture(2, 6, 7, 3, seed=1)
    fake[0] = -1
    a, b = numpy_lab(photo), numpy_lab(fake)
    wanted = 2 * np.abs(a[..., 0] / 100 - b[..., 0] / 100).mean()
    wanted += sum(np.abs((a[..., k] + 128) / 255 - (b[..., k] + 128) / 255).mean() for k in (1, 2))
    with tf.GradientTape() as tape:
        tape.watch(given := tf.constant(fake))
        found = v3.lab_loss(tf.constant(photo), given)
    assert float(found) == pytest.approx(wanted, rel=1e-4)
    gradient = tape.gradient(found, given).numpy()
    assert np.isfinite(gradient).all() and np.abs(gradient[0]).max() > 0


def test_feature_and_style_losses_are_their_formulas() -> None:
    a, b = random_picture(2, 5, 6, 4), random_picture(2, 5, 6, 4, seed=1)
    assert float(v3.feature_loss(tf.constant(a), tf.constant(b))) == pytest.approx(np.abs(a - b).mean() / 4, rel=1e-5)

    def gram(features: np.ndarray) -> np.ndarray:
        flat = features.reshape(-1, 4).astype(np.float64)
        flat = flat - flat.mean(axis=0)
        return flat.T @ flat / (5 * 6 * 4)

    grams = [np.stack([gram(sample) for sample in batch]) for batch in (a + 3, b)]  # the mean is taken off
    found = [v3.centred_gram(tf.constant(batch)) for batch in (a, b)]
    np.testing.assert_allclose(found[0], grams[0], atol=1e-6)
    assert float(v3.style_loss(*found)) == pytest.approx(np.abs(grams[0] - grams[1]).mean() / 4, rel=1e-4)


def test_adversarial_terms_are_squares() -> None:
    logits = random_picture(2, 4, 4, 1)
    assert float(v3.squares(tf.constant(logits), 0.9)) == pytest.approx(((logits - 0.9) ** 2).mean(), rel=1e-5)


def test_style_is_compared_in_three_layers_before_their_relu() -> None:
    network = build_features(FeatureConfig("hed-vgg16", "none"))
    pictures = random_picture(1, 32, 32, 3)
    layers = with_shallow_layers(network)(pictures)
    assert [layer.shape for layer in layers] == [(1, 16, 16, 128), (1, 8, 8, 256), (1, 4, 4, 512)]
    for layer, relu in zip(layers, ("block2_relu2", "block3_relu3", None), strict=True):
        assert (layer.numpy() < 0).any()
        if relu:
            after = keras.Model(network.input, network.get_layer(relu).output)(pictures)
            np.testing.assert_allclose(np.maximum(layer, 0), after, atol=1e-6)
    np.testing.assert_allclose(layers[-1], network(pictures), atol=1e-6)


@pytest.mark.slow
def test_the_weights_are_the_references(hayao: Any, shinkai: Any) -> None:
    both = {}
    for style, recipe in (("hayao", hayao), ("shinkai", shinkai)):
        both[style] = recipe.weights("adversarial")
        assert recipe.weights("warm-up")["generator"] == {"content": 1, "main_photo": style == "hayao", "pixel": 0}
    wanted = {"content": 0.5, "style_2": 0.1, "style_3": 5, "style_4": 25, "regions": 0.2, "photo_regions": 0.2}
    wanted |= {"colour": 10, "tv": 1e-3, "main_tv": 1e-3, "adversarial": 1}
    wanted |= {"main_pixel": 50, "main_content": 0.5, "main_adversarial": 0.02}
    judged = {"d_real": 0.5, "d_fake": 1, "d_smooth": 2, "d_main_real": 0.1, "d_main_fake": 0.1}
    assert both["hayao"] == {"generator": wanted, "discriminator": judged}
    wanted |= {"style_3": 2, "style_4": 28, "regions": 0.8, "photo_regions": 0.5, "colour": 8, "tv": 1e-4, "main_tv": 1e-4}
    assert both["shinkai"] == {"generator": wanted, "discriminator": judged | {"d_smooth": 5}}


# --- the host's work -----------------------------------------------------------------------------------------------------


def test_region_means_are_the_references() -> None:
    from skimage.color import label2rgb
    from skimage.segmentation import felzenszwalb

    image = ((patches(noise=0.15) + 1) * 127.5).astype(np.uint8)
    labels = felzenszwalb(image, scale=5, sigma=0.8, min_size=50)
    assert labels.max() > 3
    np.testing.assert_array_equal(regions.average_regions(image), label2rgb(labels, image, bg_label=-1, kind="avg"))
    found = regions.regions_of(patches(noise=0.15), 50)
    assert found.dtype == np.float32
    np.testing.assert_allclose((found + 1) * 127.5, regions.average_regions(image), atol=1e-4)
    np.testing.assert_array_equal(targets.paint(image, "regions"), regions.average_regions(image))
    fewer = [len(np.unique(regions.average_regions(image, least).reshape(-1, 3), axis=0)) for least in (10, 400)]
    assert fewer[0] > fewer[1] >= 4


def wrapped_l0(picture: np.ndarray, threshold: float) -> np.ndarray:
    """L0 gradient minimisation by Fourier transforms, whose picture goes on at the other side."""
    kernel = np.zeros((2, *picture.shape[:2]))
    kernel[0, 0, [0, -1]], kernel[1, [0, -1], 0] = (1, -1), (1, -1)
    power = (np.abs(np.fft.fft2(kernel)) ** 2).sum(axis=0)[..., None]
    given, flat, beta = np.fft.fft2(picture, axes=(0, 1)), picture.astype(np.float64), 2 * threshold
    while beta < 1e5:
        right, down = np.roll(flat, -1, 1) - flat, np.roll(flat, -1, 0) - flat
        faint = (right**2 + down**2).sum(-1) < threshold / beta
        right[faint], down[faint] = 0, 0
        divergence = np.roll(right, 1, 1) - right + np.roll(down, 1, 0) - down
        flat = np.real(np.fft.ifft2((given + beta * np.fft.fft2(divergence, axes=(0, 1))) / (1 + beta * power), axes=(0, 1)))
        beta *= 2
    return flat


def test_a_drawing_loses_its_texture_as_in_the_reference() -> None:
    drawing = patches()
    found = regions.without_texture(drawing, 5, 5)
    assert found.dtype == np.float32 and np.abs(found).max() <= 1
    image = np.clip((drawing + 1) * 127.5, 0, 255).astype(np.uint8)
    quiet = cv2.fastNlMeansDenoisingColored(image, None, 5, 6, 5, 7) / 255
    mirrored = np.pad(quiet, [(0, 64), (0, 64), (0, 0)], "symmetric")  # which goes on at the other side without a step
    np.testing.assert_allclose(found, wrapped_l0(mirrored, 0.005)[:64, :64] * 2 - 1, atol=2e-3)
    for area in (np.s_[8:24, 8:24], np.s_[40:56, 40:56]):
        assert found[area].std(axis=(0, 1)).max() < 0.2 * drawing[area].std(axis=(0, 1)).min()
    steps = [np.abs(np.diff(picture, axis=1))[8:24, 31].mean() for picture in (found, drawing)]
    assert steps[0] > 0.8 * steps[1], "edges stay"
    blurred = [regions.without_texture(drawing, strength, 5) for strength in (1, 5)]
    assert np.abs(blurred[0] - blurred[1]).max() > 0.01


def test_a_patch_of_six_pixels_is_one_of_seven() -> None:
    """As Shinkai's setting has it."""
    image = ((patches() + 1) * 127.5).astype(np.uint8)
    six, seven = (cv2.fastNlMeansDenoisingColored(image, None, 7, 6, window, 7) for window in (6, 7))
    np.testing.assert_array_equal(six, seven)


@pytest.mark.slow
def test_work_on_the_host_is_done_picture_by_picture_in_other_processes() -> None:
    engine = Engine(tiny_v3().schedule, 0, "float32")
    pictures = np.stack([patches(32, 0.02 * index) for index in range(3)])
    results = engine.on_host(functools.partial(regions.regions_of, least=8), tf.constant(pictures))
    found = results()
    assert engine.host_seconds > 0
    for picture, one in zip(pictures, found, strict=True):
        np.testing.assert_array_equal(one, regions.regions_of(picture, 8))
    identities = {processes.pool().submit(os.getpid).result() for _ in range(8)}
    assert os.getpid() not in identities


KILLED = """
import os, signal
from concurrent.futures import ProcessPoolExecutor
import numpy as np
import tensorflow as tf
from train import processes
from train.engine import Engine
from train.schedule import ScheduleConfig

engine = Engine(ScheduleConfig(), 0, "float32")
picture = tf.ones((1, 32, 32, 3))
submit, left = ProcessPoolExecutor.submit, 1

def submit_and_kill(self, *arguments):
    global left
    job = submit(self, *arguments)
    if left:
        left -= 1
        for identity in self._processes:
            os.kill(identity, signal.SIGKILL)
    return job

ProcessPoolExecutor.submit = submit_and_kill
both = [engine.on_host(np.negative, picture) for _ in range(2)]
print(*(float(tf.reduce_mean(results())) for results in both))
processes.end_pool()  # processes that start take a while, so that none has done its work before it is killed
left = 2
try:
    engine.on_host(np.negative, picture)()
except RuntimeError as error:
    print(error)
print(engine.on_host(np.negative, picture)().shape)
print(*processes.pool()._processes, flush=True)
input()
"""


def alive(identity: int) -> bool:
    try:
        os.kill(identity, 0)
    except ProcessLookupError:
        return False
    return not Path(f"/proc/{identity}/stat").exists() or " Z " not in Path(f"/proc/{identity}/stat").read_text()


@pytest.mark.slow
def test_work_of_killed_processes_is_done_again_and_told_if_killed_again_and_others_end_with_the_training() -> None:
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", KILLED], cwd=ROOT, stdin=pipe, stdout=pipe, text=True) as process:
        assert process.stdout
        again, told, shape, identities = (process.stdout.readline() for _ in range(4))
        assert again == "-1.0 -1.0\n"
        assert "was killed, perhaps for want of memory: free some" in told and shape == "(1, 32, 32, 3)\n"
        others = [int(word) for word in identities.split()]
        assert others and all(map(alive, others))
        process.send_signal(signal.SIGKILL)
    until(lambda: not any(map(alive, others)), seconds=60)


# --- the steps -----------------------------------------------------------------------------------------------------------


def plain_step(recipe: Any, pictures: dict[str, Any]) -> None:
    """One step as the reference writes it: every network called by itself, each term at RECIPE's weight for Hayao."""
    g, d, network = recipe.generator, recipe.discriminator, with_shallow_layers(recipe.features)
    gray_judge, main_judge = (keras.Model(d.inputs[index], d.outputs[index]) for index in range(2))
    photo = pictures["photo"]

    def vgg(a: Any, b: Any) -> Any:
        return tf.reduce_mean(tf.abs(network(a)[-1] - network(b)[-1])) / 512

    raw, _ = g(photo, training=True)
    drawn = v3.guided_filter(raw)
    superpixels = np.stack([regions.regions_of(picture, 8) for picture in drawn.numpy()])
    smooth = np.stack([regions.without_texture(picture, 5, 5) for picture in raw.numpy()])
    advance_power_iterations(d)
    with tf.GradientTape() as tape:
        raw, main = g(photo, training=True)
        s = v3.guided_filter(raw)
        gray = losses.to_gray(s)
        value = 0.5 * vgg(photo, s) + 0.2 * vgg(superpixels, s) + 0.2 * vgg(pictures["target"], s)
        for weight, a, b in zip((0.1, 5, 25), network(pictures["anime_gray"]), network(gray), strict=True):
            value += weight * tf.reduce_mean(tf.abs(v3.centred_gram(a) - v3.centred_gram(b))) / a.shape[-1]
        value += 10 * v3.lab_loss(photo, s) + tf.reduce_mean((gray_judge(gray) - 0.9) ** 2)
        value += 50 * tf.reduce_mean(tf.abs(smooth - main)) + 0.5 * vgg(smooth, main)
        value += 0.02 * tf.reduce_mean((main_judge(main) - 1) ** 2)
        value += 0.001 * (losses.total_variation_loss(s) + losses.total_variation_loss(main))
    recipe.generator_optimizer.apply(tape.gradient(value, g.trainable_variables), g.trainable_variables)
    raw, main = g(photo, training=True)
    with tf.GradientTape() as tape:
        value = 0.5 * tf.reduce_mean((gray_judge(pictures["anime_gray"]) - 0.9) ** 2)
        value += tf.reduce_mean((gray_judge(losses.to_gray(v3.guided_filter(raw))) - 0.1) ** 2)
        value += 2 * tf.reduce_mean((gray_judge(pictures["smooth_gray"]) - 0.1) ** 2)
        value += 0.1 * (tf.reduce_mean((main_judge(smooth) - 1) ** 2) + tf.reduce_mean(main_judge(main) ** 2))
    recipe.discriminator_optimizer.apply(tape.gradient(value, d.trainable_variables), d.trainable_variables)


@pytest.mark.slow
@pytest.mark.usefixtures("eager")
def test_step_equals_the_plain_step_gradient_by_gradient() -> None:
    """With plain gradient descent the change of a weight is its gradient times the rate."""
    experiment = tiny_v3("schedule.generator_rate=0.001", "schedule.discriminator_rate=1")
    recipes = [built(experiment) for _ in range(2)]
    for recipe in recipes:
        recipe.generator_optimizer = keras.optimizers.SGD(0.001)
        recipe.discriminator_optimizer = keras.optimizers.SGD(1.0)
        before = state(recipe)
    pictures = noise(recipes[0])
    take(recipes[0], pictures, 0, 0, 1)
    plain_step(recipes[1], pictures)
    for model in ("generator", "discriminator"):
        found, wanted = (getattr(recipe, model).variables for recipe in recipes)
        for index, (a, b) in enumerate(zip(found, wanted, strict=True)):
            change = np.abs(b.numpy() - before[f"{model}/{index}"]).max()
            np.testing.assert_allclose(a.numpy(), b.numpy(), atol=2e-3 * change + 1e-6, err_msg=f"{model} {index} {a.path}")


@pytest.mark.slow
@pytest.mark.usefixtures("eager")
def test_the_main_tail_need_not_warm_up(hayao: Any, shinkai: Any) -> None:
    for recipe, moves in ((hayao, True), (shinkai, False)):
        saved, judges = state(recipe), recipe.discriminator.get_weights()
        names = [weight.path for weight in v3.one_tail(recipe.generator, 1).layers[-2].trainable_weights]
        before = v3.one_tail(recipe.generator, 1).layers[-2].get_weights()
        take(recipe, noise(recipe), 0, 9, 20)
        after = v3.one_tail(recipe.generator, 1).layers[-2].get_weights()
        assert names and np.array_equal(before[0], after[0]) != moves
        for old, new in zip(judges, recipe.discriminator.get_weights(), strict=True):
            np.testing.assert_array_equal(old, new)
        restore(recipe, saved)


@pytest.mark.slow
def test_warm_up_learns_the_photo() -> None:
    recipe = built(tiny_v3("schedule.warmup_rate=0.01", "loss.pixel_weight=20"))
    colours = tf.constant([[[[0.6, -0.3, 0.1]]], [[[-0.5, 0.4, 0.2]]]])
    photo = 0.9 * tf.tile(colours, (1, 32, 32, 1)) + 0.05 * noise(recipe)["photo"]
    first, *_, last = [take(recipe, {"photo": photo}, step, 100, 101)["pixel"] for step in range(12)]
    assert last < 0.8 * first


@pytest.mark.slow
def test_salt_is_strewn_over_a_share_of_pixels_anew_at_every_step(hayao: Any, shinkai: Any) -> None:
    gray = losses.to_gray(tf.constant(random_picture(2, 64, 64, 3)))
    found = []
    for step in range(2):
        shinkai.engine._noise_seed.assign([0, step])
        found.append(shinkai._with_salt(gray).numpy())
        white = (found[-1] == 1).all(-1)
        assert white.mean() == pytest.approx(0.1, abs=0.02)
        np.testing.assert_array_equal(found[-1][~white], gray.numpy()[~white])
    assert np.any(found[0] != found[1])
    assert hayao._with_salt(gray) is gray


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("generator.architecture=v2", "trains generator v3, not v2: set generator.architecture to v3"),
        ("features.network=mobilenetv2", "features.network must be vgg19 or hed-vgg16"),
        ("smoothing.window=4", "smoothing.window must be odd, got 4"),
        ("smoothing.salt=1.5", "smoothing.salt must be from 0 to 1"),
        ("discriminator_channels=0", "discriminator_channels must be from 1 to 256"),
        ("moments_decay=1", "moments_decay must be from 0 to"),
        ("loss.colour_weight=nan", "loss.colour_weight must be 0 or more"),
    ],
)
def test_settings_out_of_range_are_told(setting: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        override(get_experiment("official-v3-hayao"), [setting], "x")


def test_both_styles_are_registered_as_the_reference_has_them() -> None:
    hayao, shinkai = (get_experiment(f"official-v3-{style}") for style in ("hayao", "shinkai"))
    assert isinstance(hayao.recipe, AnimeGANv3Config) and isinstance(shinkai.recipe, AnimeGANv3Config)
    for experiment in (hayao, shinkai):
        schedule = experiment.schedule
        assert (schedule.batch, schedule.warmup, schedule.length) == (8, "5 epochs", "100 epochs")
        assert (schedule.warmup_rate, schedule.generator_rate, schedule.discriminator_rate) == (2e-4, 1e-4, 1e-4)
        assert (schedule.beta_1, schedule.beta_2) == (0.5, 0.999)
        assert (experiment.data.size, experiment.data.augment, experiment.data.target) == (256, "none", "regions")
        assert (experiment.precision, experiment.recipe.features.network) == ("float32", "vgg19")
    assert (hayao.recipe.smoothing.region, hayao.recipe.smoothing.strength, hayao.recipe.smoothing.window) == (50, 5, 5)
    assert (shinkai.recipe.smoothing.region, shinkai.recipe.smoothing.strength) == (100, 7)


# --- a whole run -------------------------------------------------------------------------------------------------------


def pictures_of(experiment: Experiment) -> TrainingData:
    """Photos with their region means, frames with smooth edges."""
    rng = np.random.default_rng(0)
    photos = [rng.integers(0, 256, (3, 4, 3), np.uint8).repeat(16, 0).repeat(16, 1) for _ in range(6)]
    with_targets = [np.dstack([photo, targets.paint(photo, experiment.data.target)]) for photo in photos]
    frames = [rng.integers(0, 256, (48, 64, 6), np.uint8) for _ in range(5)]
    return TrainingData(experiment.data, with_targets, frames)


@pytest.mark.slow
@pytest.mark.usefixtures("eager")  # tracing takes longer than some steps
@pytest.mark.filterwarnings("ignore:Even though the .tf.config")
def test_it_trains_and_goes_on_where_it_stopped_to_the_bit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(features, "VGG_CHANNELS", 8)
    short = ["schedule.epoch=2 steps", "schedule.warmup=1 step", "schedule.length=3 steps", "schedule.checkpoint_epochs=1"]
    experiment = tiny_v3("data.holdout=1", "schedule.ema=0.9", *short)
    folder = RunFolder(tmp_path / "tiny", experiment, resume=False)
    whole = Run(pictures_of(experiment), folder, RunOptions(profile=True))
    whole.train()
    assert list(folder.path.glob("profile/plugins/profile/*/*.xplane.pb"))
    last = folder.history[-1]
    assert last["phase"] == "adversarial" and 0 < last["host_wait"] < 1
    record = checkpoint.read_record(folder.path / "step-000003")
    assert record.data["losses"] == whole.recipe.terms and record.data["feature_network"]
    assert "same network and layers" in _kinship(record, "hed-vgg16")
    assert whole.waits().keys() == {"data_wait", "host_wait"}
    assert whole.recipe.averaged is not None
    photo, drawn = random_picture(1, 32, 32, 3), checkpoint.load_generator(folder.path / "step-000003")
    np.testing.assert_allclose(drawn(photo), whole.recipe.averaged(photo)[1], atol=2e-3)

    resumed = Run(pictures_of(experiment), earlier(folder.path, tmp_path / "again", experiment))
    assert resumed.step == 2
    resumed.train()
    assert_same_state(state(resumed.recipe), state(whole.recipe))
