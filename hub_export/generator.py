"""Generators of stock layers: v1 (AnimeGAN), v2 (AnimeGANv2), v3 (AnimeGANv3's main tail), CycleGAN's, and ours.

All are fully convolutional, take `(B, H, W, 3) float32 [-1, 1] RGB` with H and W multiples of `GeneratorConfig.stride`
(see `pixels.pad` for other sizes) and return the same shape and range.

Reference: Chen et al. 2019, "AnimeGAN: a novel lightweight GAN for photo animation"; AnimeGANv2 (2020); Liu et al. 2024, "A
Novel Double-Tail Generative Adversarial Network for Fast Photo Animation" (AnimeGANv3); Zhu et al. 2017, "Unpaired
Image-to-Image Translation using Cycle-Consistent Adversarial Networks", section 7.2, and junyanz/CycleGAN.
Differences from the references: bilinear resizing uses half-pixel centres (TF1 did not), and v2's layer norm has
epsilon 1e-5 (TF1: 1e-12).
"""

import contextlib
import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import keras

from hub_export.architecture import GeneratorConfig
from hub_export.pixels import GRAY_WEIGHTS

V3_SCALES = ("full", "half", "quarter", "eighth")
"""The layers of v3 whose output at H, H/2, H/4 and H/8 every tail starts from."""
MEMORIES = 128
"""Rows of the memory that v3's external attention looks into."""
SHIFT_REACH = 4
"""Over how many pixels, about, kept colours can be shifted at the least."""


@dataclass(frozen=True)
class Layers:
    """The classes a model is built of; training has some of its own."""

    conv2d: Callable[..., Any]
    group_norm: Callable[..., Any]
    recall: Callable[[Any, int], Any] = lambda memory, filters: keras.layers.Conv2D(filters, 1, use_bias=False)
    """What v3 reads out of a memory, given the layer that looks into it; see `_attention`."""


STOCK = Layers(keras.layers.Conv2D, functools.partial(keras.layers.GroupNormalization, dtype="float32"))
"""Keras' own, as every checkpoint holds them."""


class _Blocks:
    """The layers a generator is written in.

    An `initializer` is called for every layer: one Keras initializer gives all layers of a shape the same numbers.
    `padding` is "reflect", or "constant" for zeros; `halving` how much of it there is before and after for stride 2.
    """

    def __init__(
        self,
        layers: Layers,
        norm: str,
        initializer: Callable[[], Any],
        halving: tuple[int, int] = (0, 1),
        padding: str = "reflect",
    ):
        self.layers, self.norm_kind, self.initializer = layers, norm, initializer
        self.halving, self.padding = halving, padding

    def pad(self, x: Any, kernel: int, stride: int) -> Any:
        """kernel//2 on every side; for stride 2 as much as is seen of it: (0, 1) in v1 and v2, (1, 0) with one around."""
        before, after = self.halving if stride == 2 else (kernel // 2, kernel // 2)
        margin = [(0, 0), (before, after), (before, after), (0, 0)]
        return keras.ops.pad(x, margin, mode=self.padding) if before + after else x

    def conv(
        self, x: Any, filters: int, kernel: int = 3, stride: int = 1, use_bias: bool = False, initializer: Any = None
    ) -> Any:
        x = self.pad(x, kernel, stride)
        start = (initializer or self.initializer)()
        return self.layers.conv2d(filters, kernel, stride, use_bias=use_bias, kernel_initializer=start)(x)

    def depthwise(self, x: Any, stride: int = 1, use_bias: bool = False, initializer: Any = None, kernel: int = 3) -> Any:
        x = self.pad(x, kernel, stride)
        start = (initializer or self.initializer)()
        return keras.layers.DepthwiseConv2D(kernel, stride, use_bias=use_bias, depthwise_initializer=start)(x)

    def norm(self, x: Any, epsilon: float = 1e-5) -> Any:
        if self.norm_kind == "lade":
            return lade(x, self.conv(x, x.shape[-1], 1), self.layers.group_norm)
        groups = {"instance": -1, "layer": 1}[self.norm_kind]
        return self.layers.group_norm(groups, epsilon=epsilon)(x)

    def activate(self, x: Any, name: str | None = None) -> Any:
        return keras.layers.LeakyReLU(negative_slope=0.2, name=name)(x)

    def conv_norm(self, x: Any, filters: int, kernel: int = 3, stride: int = 1, name: str | None = None) -> Any:
        return self.activate(self.norm(self.conv(x, filters, kernel, stride)), name)

    def separable(self, x: Any, filters: int, stride: int = 1) -> Any:
        """Depthwise 3x3, pointwise 1x1, then one norm with contrib's default epsilon."""
        x = self.conv(self.depthwise(x, stride), filters, 1)
        return self.activate(self.norm(x, 1e-6))

    def inverted_residual(self, x: Any, filters: int, bottleneck: int, depthwise: dict[str, Any]) -> Any:
        y = self.conv_norm(x, bottleneck, 1)
        y = self.activate(self.norm(self.depthwise(y, **depthwise)))
        y = self.norm(self.conv(y, filters, 1))
        return keras.layers.Add()([x, y]) if x.shape[-1] == filters else y


def _upsample(x: Any) -> Any:
    """Bilinear x2 with half-pixel centres for any size: nearest x2, then a [1,2,1] filter as two box filters.

    `UpSampling2D(interpolation="bilinear")` fails in graph mode when height and width are dynamic.
    """
    x = keras.layers.UpSampling2D(2)(x)
    x = keras.ops.pad(x, [(0, 0), (1, 1), (1, 1), (0, 0)], mode="symmetric")
    for _ in range(2):
        x = keras.layers.AveragePooling2D(2, 1)(x)
    return x


def _v1(photo: Any, c: int, layers: Layers, diary: bool = False) -> Any:
    """AnimeGAN's, or as the diary built it: zeros around, one convolution less in the middle, all kernels of one kind.

    The diary's biases before norms, which take them out again, are left out.
    """
    zeros: dict[str, Any] = {"halving": (1, 0), "padding": "constant"}
    b = _Blocks(layers, "instance", keras.initializers.GlorotUniform, **(zeros if diary else {}))
    truncated = functools.partial(keras.initializers.TruncatedNormal, stddev=0.02)
    depthwise = {"initializer": None if diary else truncated}

    def down(x: Any, filters: int) -> Any:
        half = keras.layers.AveragePooling2D(2)(x)  # bilinear x1/2 with half-pixel centres
        return keras.layers.Add()([b.separable(x, filters, stride=2), b.separable(half, filters)])

    x = b.conv_norm(b.conv_norm(photo, c), c)  # (B, H, W, c)
    x = down(x, 2 * c)  # (B, H/2, W/2, 2c)
    x = b.separable(b.conv_norm(x, 2 * c), 2 * c)
    x = down(x, 4 * c)  # (B, H/4, W/4, 4c)
    x = b.conv_norm(x, 4 * c)
    for _ in range(8):
        x = b.inverted_residual(x, 4 * c, 8 * c, depthwise)
    if not diary:
        x = b.conv_norm(x, 4 * c)
    x = b.separable(_upsample(x), 2 * c)  # (B, H/2, W/2, 2c)
    x = b.conv_norm(b.separable(x, 2 * c), 2 * c)
    x = b.separable(_upsample(x), 2 * c)  # (B, H, W, 2c)
    x = b.conv_norm(b.conv_norm(x, c), c)
    return b.conv(x, 3, 1)


def _v2(photo: Any, c: int, layers: Layers) -> Any:
    b = _Blocks(layers, "layer", keras.initializers.HeNormal)
    x = b.conv_norm(photo, c, 7)  # (B, H, W, c)
    x = b.conv_norm(b.conv_norm(x, 2 * c, stride=2), 2 * c)  # (B, H/2, W/2, 2c)
    x = b.conv_norm(b.conv_norm(x, 4 * c, stride=2), 4 * c)  # (B, H/4, W/4, 4c)
    x = b.conv_norm(x, 4 * c)
    for _ in range(4):
        x = b.inverted_residual(x, 8 * c, 2 * x.shape[-1], {"use_bias": True})
    x = b.conv_norm(x, 4 * c)
    x = b.conv_norm(b.conv_norm(_upsample(x), 4 * c), 4 * c)  # (B, H/2, W/2, 4c)
    x = b.conv_norm(b.conv_norm(_upsample(x), 2 * c), 2 * c)  # (B, H, W, 2c)
    x = b.conv_norm(x, c, 7)
    return b.conv(x, 3, 1)


def lade(x: Any, adapted: Any, group_norm: Callable[..., Any]) -> Any:
    """Linearly adaptive denormalisation: x normalised over its picture, then given the deviation and mean of another.

    Args:
        x: (B, H, W, C).
        adapted: a 1x1 convolution of x, (B, H, W, C), whose moments over H and W it gets.
        group_norm: the class that normalises.
    """
    adapted = keras.ops.cast(adapted, "float32")
    mean = keras.ops.mean(adapted, axis=(1, 2), keepdims=True)
    deviation = keras.ops.sqrt(keras.ops.add(keras.ops.var(adapted, axis=(1, 2), keepdims=True), 1e-5))
    normalised = group_norm(-1, epsilon=1e-5, center=False, scale=False)(x)
    return keras.ops.add(keras.ops.multiply(normalised, deviation), mean)


def _attention(b: _Blocks, x: Any) -> Any:
    """External attention: every position asks a memory of MEMORIES rows that was learnt, and all of them share its rows.

    The softmax of a row runs over all positions of the picture. The reference reads out with the memory's transpose M' and a
    1x1 convolution W after it; both are linear, so here `Layers.recall` is one convolution by M'W.
    """
    memory = b.layers.conv2d(MEMORIES, 1, use_bias=False, kernel_initializer=b.initializer())
    shares = keras.layers.Softmax(axis=(1, 2), dtype="float32")(memory(b.conv(x, x.shape[-1], 1)))
    shares = keras.ops.divide(shares, keras.ops.add(keras.ops.sum(shares, axis=-1, keepdims=True), 1e-9))
    recalled = b.layers.recall(memory, x.shape[-1])(shares)
    recalled = keras.layers.BatchNormalization(momentum=0.999, epsilon=1e-3, dtype="float32")(recalled)
    return b.activate(keras.layers.Add()([x, recalled]))


def v3_tail(scales: Sequence[Any], layers: Layers) -> Any:
    """One of AnimeGANv3's two tails, before its tanh, from what V3_SCALES name: (B, H, W, 3)."""
    b = _Blocks(layers, "lade", keras.initializers.GlorotUniform)
    full, half, quarter, eighth = scales
    x = _attention(b, eighth)  # (B, H/8, W/8, 4c)
    for skip in (quarter, half, full):
        filters = skip.shape[-1]
        x = keras.layers.Add()([b.conv_norm(_upsample(x), filters), skip])
        x = b.conv_norm(x, filters)
    return b.conv(x, 3, 7)


def _v3(photo: Any, c: int, layers: Layers) -> Any:
    """The main tail of AnimeGANv3. LADE's moments and the attention's softmax are taken over the whole picture.

    So a picture cannot be drawn in tiles: each would get the contrast and colours that suit it alone, and seams would show.
    """
    b = _Blocks(layers, "lade", keras.initializers.GlorotUniform, halving=(1, 0))
    full, half, quarter, eighth = V3_SCALES
    scales = [b.conv_norm(photo, c, 7, name=full)]  # (B, H, W, c)
    for filters, name in ((c, half), (2 * c, quarter), (4 * c, eighth)):
        x = b.conv_norm(scales[-1], filters, stride=2)
        scales.append(b.conv_norm(x, min(2 * filters, 4 * c), name=name))  # to (B, H/8, W/8, 4c)
    return v3_tail(scales, layers)


def _lite(photo: Any, c: int, layers: Layers, blocks: int, kernel: int, finish: int) -> Any:
    """Ours: an encoder-decoder with additive skips at every scale and no normalisation.

    The skips make the identity easy to learn, so a short warm-up suffices; without normalisation over the picture a
    pixel depends only on its neighbourhood, which keeps large pictures free of seams and is fast on a CPU.

    Args:
        blocks: residual blocks at H/8.
        kernel: of their depthwise convolutions, whose reach is 8 · (kernel // 2) pixels each.
        finish: convolutions at full size before the last.
    """
    b = _Blocks(layers, "none", keras.initializers.HeNormal)
    add = keras.layers.Add
    small = functools.partial(
        keras.initializers.RandomNormal, stddev=0.01
    )  # blocks start near the identity, the output near gray

    def conv(x: Any, filters: int, kernel: int = 3, stride: int = 1) -> Any:
        return b.activate(b.conv(x, filters, kernel, stride, use_bias=True))

    def residual(x: Any, kernel: int = 3) -> Any:
        y = conv(x, 2 * x.shape[-1], 1)
        y = b.activate(b.depthwise(y, use_bias=True, kernel=kernel))
        return add()([x, b.conv(y, x.shape[-1], 1, use_bias=True, initializer=small)])

    def up(x: Any, skip: Any) -> Any:
        x = b.conv(x, skip.shape[-1], 1, use_bias=True)
        return add()([_upsample(x), skip])

    full = conv(photo, c)  # (B, H, W, c)
    half = conv(conv(full, 2 * c, stride=2), 2 * c)  # (B, H/2, W/2, 2c)
    quarter = residual(conv(half, 4 * c, stride=2))  # (B, H/4, W/4, 4c)
    x = conv(quarter, 4 * c, stride=2)  # (B, H/8, W/8, 4c)
    for _ in range(blocks):
        x = residual(x, kernel)
    x = residual(up(x, quarter))  # (B, H/4, W/4, 4c)
    x = conv(up(x, half), 2 * c)  # (B, H/2, W/2, 2c)
    x = up(x, full)  # (B, H, W, c)
    for _ in range(finish):
        x = conv(x, c)
    return b.conv(x, 3, 3, use_bias=True, initializer=small)


def _resnet(photo: Any, c: int, layers: Layers, blocks: int) -> Any:
    """CycleGAN's, as its authors' first code has it: no biases, since it zeroes them, and norms with scale and shift."""
    normal = functools.partial(keras.initializers.RandomNormal, stddev=0.02)
    b, zeros = (_Blocks(layers, "instance", normal, (1, 0), padding) for padding in ("reflect", "constant"))

    def activate(x: Any) -> Any:
        return keras.layers.Activation("relu")(b.norm(x))

    def down(x: Any, filters: int) -> Any:
        return activate(zeros.conv(x, filters, stride=2))

    def residual(x: Any) -> Any:
        y = activate(b.conv(x, x.shape[-1]))
        return keras.layers.Add()([x, b.norm(b.conv(y, x.shape[-1]))])

    def up(x: Any, filters: int) -> Any:
        x = keras.layers.Conv2DTranspose(filters, 3, 2, use_bias=False, kernel_initializer=normal())(x)  # 2H+1 rows
        return activate(keras.layers.Cropping2D(((1, 0), (1, 0)))(x))

    x = activate(b.conv(photo, c, 7))  # (B, H, W, c)
    x = down(down(x, 2 * c), 4 * c)  # (B, H/4, W/4, 4c)
    for _ in range(blocks):
        x = residual(x)
    x = up(up(x, 2 * c), c)  # (B, H, W, c)
    return b.conv(x, 3, 7)


def _keep_colours(photo: Any, drawn: Any) -> Any:
    """The drawing's luma, the photo's colours, and the mean over areas of what the drawing's colours differ from those."""
    change = keras.ops.subtract(drawn, photo)
    of_luma = [
        keras.ops.multiply(x, weight) for x, weight in zip(keras.ops.split(change, 3, axis=-1), GRAY_WEIGHTS, strict=True)
    ]
    luma = keras.layers.Add()(of_luma)  # (B, H, W, 1)
    shift = keras.layers.AveragePooling2D(SHIFT_REACH)(keras.ops.subtract(change, luma))
    for _ in range(SHIFT_REACH.bit_length() - 1):
        shift = _upsample(shift)
    return keras.ops.clip(keras.ops.add(keras.layers.Add()([photo, shift]), luma), -1.0, 1.0)


BODIES: dict[str, Callable[[Any, int, Layers], Any]] = {
    "v1": _v1,
    "diary": functools.partial(_v1, diary=True),
    "v2": _v2,
    "v3": _v3,
    "lite": functools.partial(_lite, blocks=3, kernel=3, finish=1),
    "lite2": functools.partial(_lite, blocks=6, kernel=5, finish=2),
    "resnet6": functools.partial(_resnet, blocks=6),
    "resnet9": functools.partial(_resnet, blocks=9),
}
"""What builds each of `architecture.KINDS`: photo, channels, layers -> (B, H, W, 3) before tanh."""


@contextlib.contextmanager
def dtype_policy(name: str) -> Iterator[None]:
    """Layers built inside have this Keras dtype policy, whatever the process has set."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def build_generator(config: GeneratorConfig, layers: Layers = STOCK) -> keras.Model:
    """Builds an untrained generator under the current Keras dtype policy, of the given layers.

    Returns:
        A Functional model `(B, H, W, 3) [-1, 1] -> (B, H, W, 3) float32 [-1, 1]`, any H, W that `config.stride` divides.
    """
    body = BODIES[config.architecture]
    photo = keras.Input((None, None, 3), name="photo")
    anime = keras.layers.Activation("tanh", dtype="float32", name="anime")(body(photo, config.channels, layers))
    if config.colours == "kept":
        with dtype_policy("float32"):
            anime = _keep_colours(photo, anime)
    return keras.Model(photo, anime, name=f"generator_{config.architecture}")
