"""Every experiment by name; an entry is its difference from its base.

    python -m train.run NAME                                  run it
    python -m train.run NAME --dry-run                        print its whole configuration
    python -m train.run NAME --set loss.style_weight=30 --name mine

`official-*` are the references' own settings; `repro-*` are the founding diary's six runs and the questions it left
open, and those that end in `-laptop` the same for two CPU cores. A new experiment is one entry here.
"""

from collections.abc import Mapping
from typing import Any

from hub_export.architecture import GeneratorConfig
from train.checks import nearest
from train.configuration import changed, flat_settings
from train.settings import AnimeGANv3Config, CycleGANConfig, Experiment, Look, PairsConfig

EXPERIMENTS: dict[str, Experiment] = {}


def get_experiment(name: str) -> Experiment:
    """The registered experiment. Raises ValueError with the nearest names for an unknown one."""
    if name not in EXPERIMENTS:
        raise ValueError(f"unknown experiment {name!r}: {nearest(name, EXPERIMENTS)}")
    return EXPERIMENTS[name]


def changes(experiment: Experiment) -> dict[str, list[Any]]:
    """What differs from the base: {"loss.style_weight": [base's value, its own]}; {} for a base of its own."""
    if experiment.base is None:
        return {}
    own, base = flat_settings(experiment), flat_settings(get_experiment(experiment.base))
    return {key: [base.get(key), value] for key, value in own.items() if value != base.get(key)}


def _register(
    base: Experiment | None, name: str, question: str, cost: str = "", look: Look | None = None, **sections: Any
) -> Experiment:
    """Derives an experiment; `sections` as in `configuration.changed`."""
    about = {"name": name, "question": question, "base": base.name if base else None, "cost": cost, "look": look or Look()}
    EXPERIMENTS[name] = changed(base or Experiment(name, question), about | sections)
    return EXPERIMENTS[name]


def _joined(sections: Mapping[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    """Sections with more settings in them."""
    joined = dict(sections)
    for name, own in more.items():
        joined[name] = {**sections.get(name, {}), **own} if isinstance(own, Mapping) else own
    return joined


official_v1 = _register(
    None,
    "official-v1",
    "What does AnimeGAN's own recipe give, trained from scratch?",
    generator=GeneratorConfig("v1"),
    precision="float32",  # as the reference, its variants and the diary's runs trained
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
        "warmup": "10 epochs",
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

TWO_CORES: dict[str, Any] = {
    "features": {"network": "hed-vgg16"},
    "loss": {"pixel_weight": 20.0},
    "data": {"resolution": 0, "size": 128, "augment": "crop", "holdout": 48},
    "schedule": {"warmup": "2 epochs", "length": "10 epochs", "epoch": "100 steps", "checkpoint_epochs": 2},
    "precision": "float32",  # the same numbers on every machine
}
"""What turns an experiment into one for two CPU cores."""
OFFICIAL_LAPTOP = _joined(TWO_CORES, {"schedule": {"batch": 4}})
"""What turns a reference's own run into one for them."""
_register(
    official_v2,
    "official-v2-hayao-laptop",
    "On two CPU cores: What does AnimeGANv2's own recipe give in Hayao's style?",
    cost="2 h in bfloat16, one of 2 cores",
    # Its generator, which has no way around its body, needs a longer warm-up to find the photo; at five times the
    # reference's rates it did not.
    **_joined(OFFICIAL_LAPTOP, {"schedule": {"warmup": "20 epochs", "length": "30 epochs", "checkpoint_epochs": 5}}),
)

official_v3 = _register(
    None,
    "official-v3-hayao",
    "What does AnimeGANv3's own recipe give in Hayao's style?",
    generator=GeneratorConfig("v3"),
    recipe=AnimeGANv3Config(),
    data={"target": "regions"},
    schedule={
        "batch": 8,
        "length": "100 epochs",
        "warmup_rate": 2e-4,
        "generator_rate": 1e-4,
        "discriminator_rate": 1e-4,
    },
    precision="float32",
)
_register(
    official_v3,
    "official-v3-shinkai",
    "What does AnimeGANv3's own recipe give in Shinkai's style?",
    data={"style": "Shinkai"},
    loss={
        "style_3_weight": 2.0,
        "style_4_weight": 28.0,
        "region_weight": 0.8,
        "photo_region_weight": 0.5,
        "colour_weight": 8.0,
        "tv_weight": 1e-4,
        "smooth_weight": 5.0,
        "warmup_main_weight": 0.0,
    },
    # Its regions are Felzenszwalb's too: SLIC is commented out in the reference. A window of 6 is 7 to OpenCV.
    smoothing={"region": 100, "strength": 7.0, "window": 7, "salt": 0.1},
)
_register(
    official_v3,
    "official-v3-hayao-laptop",
    "On two CPU cores: What does AnimeGANv3's own recipe give in Hayao's style?",
    "1 h 43 min, 2 cores",
    moments_decay=0.98,
    # The warm-up alone is at five times the reference's rate: after it, too, all drawings became yellow at step 623.
    **_joined(OFFICIAL_LAPTOP, {"schedule": {"warmup_rate": 1e-3}}),
)

# The diary's runs as he ran them, read from his code of those days (zhen8838/K210_Yolo_framework, branch dev, and
# zhen8838/AnimeGAN). What differs on purpose: photos are resized bilinearly and not to the nearest pixel; a smooth frame is
# the version of the frame beside it and not of another one; biases before norms, which take them out again, are left out;
# the discriminator pads one zero on every side, as v1's; σ is advanced once a step, and a gradient flows through it.
repro_1 = _register(
    official_v1,
    "repro-1",
    "The diary's first run. He saw: outputs drift back to photos. Do they?",
    generator=GeneratorConfig("diary"),
    simultaneous=True,
    features={"network": "mobilenetv2"},  # the diary's; his code of that day has VGG19, fed [-1, 1]
    loss={"colour_range": "byte"},
    data={"augment": "enlarge-crop", "augment_frames": False},
    schedule={
        "batch": 2,
        "warmup": "1 epoch",
        "length": "61 epochs",
        "generator_rate": 1.6e-4,  # the two rates swapped relative to v1
        "discriminator_rate": 8e-5,
        "epsilon": 1e-7,
    },
)
LATER: dict[str, Any] = {"loss": {"colour_count": 2}, "data": {"augment": "flip"}}
"""What changed beside in his code of 18 April 2020, before the runs after the first: the colour loss was added twice."""
LAPTOP = _joined(
    TWO_CORES,
    {
        "generator": GeneratorConfig("lite"),
        "data": {"augment_frames": True},
        "schedule": {"warmup_rate": 5e-4, "epsilon": 1e-8},
    },
)
"""What turns an experiment of the diary into one for two CPU cores, the same for all of them."""
ON_LAPTOP = "On two CPU cores: "
"""How its question begins there."""

AS_MEASURED: dict[str, Any] = {"spectral_norm": True, "simultaneous": False, "loss": LAPTOP["loss"] | {"colour_count": 2}}
"""As the diary was read when its runs were measured on two cores. They stay so, and comparable: each differs from its base
in what it asks, where the diary's own runs differ in more."""
_register(repro_1, "repro-1-laptop", ON_LAPTOP + repro_1.question, "half an hour, 2 cores", **LAPTOP | AS_MEASURED)


def _ask(
    base: str,
    name: str,
    question: str,
    besides: Mapping[str, Any] = {},
    cost: str = "half an hour, 2 cores",
    **asked: Any,
) -> None:
    """One of the diary's runs, or one it wished for, and its question on two CPU cores, where no more than it differs.

    Args:
        besides: what differed in his run too.
        cost: on two cores.
    """
    _register(EXPERIMENTS[base], name, question, **_joined(asked, besides))
    _register(EXPERIMENTS[f"{base}-laptop"], f"{name}-laptop", ON_LAPTOP + question, cost, **asked)


_ask(
    "repro-1",
    "repro-2",
    "Does a heavier fake term (2.5) make outputs less photographic? He saw: still very realistic.",
    LATER,
    loss={"fake_weight": 2.5},
)
_ask(
    "repro-1",
    "repro-4",
    "Does style weight x10 help with ImageNet features? He could not tell it from run 3.",
    LATER,
    loss={"style_weight": 30.0},
)
_ask(
    "repro-4",
    "repro-3",
    "Does it matter whether the feature network is pretrained? He saw: a little more anime, same as run 4.",
    features={"weights": "none"},
)
_ask(
    "repro-4",
    "repro-5",
    "Does fake weight 5 help once the style weight is x10? He saw: first picture a bit anime, the rest realistic.",
    loss={"fake_weight": 5.0},
)
_ask(
    "repro-4",
    "repro-6",
    "Does a colour style target differ from a gray one? He saw: no visible difference.",
    {"loss": {"smooth_target": "colour"}},  # his release has style weight 20 and 3:1, too; the diary says 30
    loss={"style_target": "colour"},
)
_ask(
    "repro-4",
    "repro-fake-half",
    "The diary's suggestion after run 5: does fake weight 0.5 keep the discriminator from winning?",
    loss={"fake_weight": 0.5},
)
_ask(
    "repro-4",
    "repro-dropout",
    "The diary's wish: does dropout keep the discriminator from becoming too good?",
    {"discriminator": {"dropout": 0.2}},  # his, for an hour
    discriminator={"dropout": 0.3},
)
_ask(
    "repro-4",
    "repro-steps-3to1",
    "From the issue the diary links: do three generator steps for each discriminator step restore the balance?",
    schedule={"generator_steps": 3},
)
_ask(
    "repro-1",
    "repro-colour-unit",
    "Nobody tested it: was the colour loss on [0, 255] what kept the outputs photographic?",
    loss={"colour_range": "unit", "colour_count": 1},
)
_ask(
    "repro-colour-unit",
    "repro-unit-style",
    "Where the colour loss is not half of all: does style weight x10 help?",
    cost="65 min, one of 2 cores",
    loss={"style_weight": 30.0},
)
_ask(
    "repro-colour-unit",
    "repro-unit-fake-5",
    "Where the colour loss is not half of all: does fake weight 5 make outputs more real?",
    cost="18 min in bfloat16, one of 2 cores",
    loss={"fake_weight": 5.0},
)
_ask(
    "repro-colour-unit",
    "repro-unit-target",
    "Where the colour loss is not half of all: does a colour style target differ from a gray one?",
    cost="18 min in bfloat16, one of 2 cores",
    loss={"style_target": "colour"},
)
_ask(
    "repro-colour-unit",
    "repro-unit-random",
    "Where the colour loss is not half of all: does it matter whether the feature network is pretrained?",
    cost="18 min in bfloat16, one of 2 cores",
    features={"weights": "none"},
)
_ask(
    "repro-colour-unit",
    "repro-unit-fake-half",
    "Where the colour loss is not half of all: does fake weight 0.5 keep the discriminator from winning?",
    loss={"fake_weight": 0.5},
)
_ask(
    "repro-colour-unit",
    "repro-unit-dropout",
    "Where the colour loss is not half of all: does dropout keep the discriminator from becoming too good?",
    discriminator={"dropout": 0.3},
)
_ask(
    "repro-colour-unit",
    "repro-unit-steps-3to1",
    "Where the colour loss is not half of all: do three generator steps for each of the discriminator restore the balance?",
    schedule={"generator_steps": 3},
)
# His network with random weights puts out 1e-6, so that his weights of content and style, made for VGG19, left these terms
# at 1e-6 and 1e-12 beside hundreds. Of 16 drawings of 128 pixels that `repro-colour-unit-laptop`, whose weights are v1's,
# made at step 400, VGG16 (hed-vgg16, for want of VGG19) has content 2.32 and style 0.102, and his network with seed 0
# content 1.39e-6 and style 9.77e-14. These weights are v1's, 1.5 and 3, times the ratios; the colour loss is v1's. The
# network with another seed, or with ImageNet's weights, needs others: compare `share_content` and `share_style` in the
# history of some hundred steps with those of `repro-colour-unit-laptop`.
SHARES: dict[str, Any] = {
    "loss": {"content_weight": 2.5e6, "style_weight": 3.1e12, "colour_range": "unit", "colour_count": 1},
    "precision": "float32",  # in float16 his network puts out 0
}
repro_shares = _register(
    EXPERIMENTS["repro-3"],
    "repro-shares",
    "His weights, made for VGG19, were not heard on MobileNetV2: do the shares of AnimeGAN's terms draw anime?",
    **SHARES,
)
_register(
    EXPERIMENTS["repro-3-laptop"],
    "repro-shares-laptop",
    ON_LAPTOP + repro_shares.question,
    "half an hour, 2 cores",
    features={"network": "mobilenetv2"},
    **SHARES,
)
_register(
    EXPERIMENTS["repro-colour-unit-laptop"],
    "repro-projected-laptop",
    "The diary suspected a too strong discriminator. Ours was too weak: does one on frozen features draw anime?",
    cost="18 min, 2 cores",
    discriminator={"kind": "projected", "channels": 128, "input": "gray"},
    loss={"gray_weight": 0.0},
    schedule={"discriminator_rate": 1e-3},
)

cyclegan = _register(
    None,
    "cyclegan",
    "The diary's conclusion: is CycleGAN the better way?",
    generator=GeneratorConfig("resnet9"),
    recipe=CycleGANConfig(),
    data={"augment": "enlarge-crop"},
    schedule={
        "batch": 1,
        "warmup": "0 steps",
        "length": "200 epochs",
        "generator_rate": 2e-4,
        "discriminator_rate": 2e-4,
        "decay": "linear",
        "checkpoint_epochs": 5,
    },
    precision="float32",
)
cyclegan_edges = _register(
    cyclegan,
    "cyclegan-edges",
    "The diary missed lines at the edges of objects: does CycleGAN draw them when frames without them count as fake?",
    loss={"smooth_weight": 1.0},
)
# As many pictures as the diary's runs there, each of which CycleGAN draws three times; nothing but the recipe differs.
_register(
    EXPERIMENTS["repro-1-laptop"],
    "cyclegan-laptop",
    ON_LAPTOP + cyclegan.question,
    "47 min, 2 cores",
    recipe=cyclegan.recipe,
    schedule={"warmup": "0 steps", "generator_rate": 2e-4, "discriminator_rate": 2e-4, "decay": "linear"},
)
_register(
    EXPERIMENTS["cyclegan-laptop"],
    "cyclegan-edges-laptop",
    ON_LAPTOP + cyclegan_edges.question,
    "half an hour, 2 cores",
    loss={"smooth_weight": 1.0},
)

cel = _register(
    None,
    "cel",
    "Does a generator that imitates a painted target, and redraws anime frames, draw where AnimeGAN tints a photo?",
    cost="1 to 3 h, 2 cores",
    look=Look(
        "Clean cel",
        "Flat colours, thin lines",
        "people, streets, everyday things",
        "清爽赛璐璐",
        "平涂的颜色，纤细的线条",
        "人物、街景、日常物件",
    ),
    generator=GeneratorConfig("lite2"),
    recipe=PairsConfig(),
    loss={"line_weight": 3.0, "adversarial_weight": 0.15},
    data={
        "resolution": 0,
        "size": 224,
        "augment": "crop",
        "enlarged": 0.25,
        "target": "denoise | flat(0.02) | dabs | contours(1, 0.75) | shades(7, 1.5) | light(1.35, 11) "
        "| clouds | lines(0.6, 0.8, 0.9)",
        "redrawn": 0.15,
        "signs": 0.3,
        "holdout": 48,
    },
    schedule={
        "batch": 4,
        "warmup": "1800 steps",
        "length": "7500 steps",
        "epoch": "300 steps",
        "warmup_rate": 1.5e-3,
        "generator_rate": 7e-4,
        "discriminator_rate": 1e-3,
        "decay": "cosine",
        "beta_1": 0.9,
        "beta_2": 0.99,
        "ema": 0.998,
        "checkpoint_epochs": 1,
    },
)
FROM_CEL: dict[str, Any] = {
    "init": "bundled:cel@epoch-025",
    "schedule": {"warmup": "0 steps", "length": "300 steps", "generator_rate": 5e-4},
}
"""How another look is learnt by a generator that draws already."""

for _name, _question, _target, _look in (
    (
        "ink",
        "Do shades in steps and heavy lines give a comic?",
        "denoise | flat(0.02) | dabs | contours(1, 0.75) | shades(5) | light(1, 6, 0) | lines(1.4, 1.6, 0.97)",
        Look(
            "Ink comic",
            "Heavy black lines, shades in steps",
            "faces, animals, buildings",
            "墨线漫画",
            "粗黑的线条，分级的明暗",
            "人像、动物、建筑",
        ),
    ),
    (
        "background",
        "Do warm lights, cool darks and few lines give the painted background of a film?",
        "denoise | flat | dabs | light(1.25, 10, 8) | clouds | bloom(0.15) | lines(0.3, 1, 0.6)",
        Look(
            "Painted background",
            "Warm light, cool shadows, few lines",
            "landscapes, gardens, old houses",
            "手绘背景",
            "暖光冷影，线条很少",
            "风景、庭院、老房子",
        ),
    ),
    (
        "sky",
        "Do open shadows and light that spills over give a luminous sky?",
        "denoise | flat(0.02) | dabs | contours(1, 0.75) | light(1.25, 50, 3) | clouds | bloom(0.8, 20)",
        Look(
            "Luminous sky",
            "Open shadows, light that spills over",
            "skies, the sea, wide views",
            "澄澈天空",
            "通透的暗部，四溢的光",
            "天空、大海、开阔的景色",
        ),
    ),
    (
        "evening",
        "Can a photo of a day be drawn as its evening?",
        "denoise | flat(0.02) | dabs | contours(1, 0.75) | light(1.2, 4, 0) | dusk",
        Look(
            "Evening glow",
            "The day of your photo, at dusk",
            "streets, skylines, summer days",
            "黄昏余晖",
            "把白天画成傍晚",
            "街道、天际线、夏日",
        ),
    ),
):
    _register(cel, _name, _question, "4 to 7 min, 2 cores", _look, data={"target": _target, "redrawn": 0.0}, **FROM_CEL)
_register(
    cel,
    "poster",
    "Can a generator draw that has seen photos alone, and no anime frame?",
    "13 min, 2 cores",
    Look(
        "Sunny poster",
        "Bright colours in few tones",
        "streets, sports, plants",
        "晴日海报",
        "明亮的颜色，寥寥几个色阶",
        "街景、运动、植物",
    ),
    data={
        "target": "denoise | flat(0.02) | dabs | contours(1, 0.75) | shades(3, 4) | light(2.2, 18, 4) | lines(0.8, 1, 0.95)",
        "redrawn": 0.0,
    },
    schedule={"warmup": "1200 steps", "length": "1800 steps"},
)
_register(
    cel,
    "pairs",
    "How near does a small generator come to one's own filter, hand or model, given photos and drawings of them?",
    loss={"adversarial_weight": 0.0},
    data={"target": "", "redrawn": 0.0, "signs": 0.0, "enlarged": 0.0, "holdout": 8},
    schedule={"warmup": "0 steps", "generator_rate": 1.5e-3},
)
_register(
    official_v2,
    "smoke",
    "Does the whole machine work? Generated pictures, tiny networks, a few steps: seconds on a CPU.",
    cost="1 min, 2 cores",
    generator=GeneratorConfig("lite", channels=8),
    discriminator={"channels": 16},
    features={"network": "hed-vgg16", "weights": "none"},
    loss={"pixel_weight": 20.0, "gray_weight": 1.0, "tv_weight": 0.0},
    data={"style": "generated", "resolution": 0, "size": 64, "augment": "crop", "holdout": 2},
    schedule={
        "batch": 2,
        "warmup": "1 epoch",
        "length": "3 epochs",
        "epoch": "10 steps",
        "warmup_rate": 5e-4,
        "generator_rate": 3e-4,
        "discriminator_rate": 1e-3,
        "decay": "cosine",
        "ema": 0.9,
    },
)
