"""Every experiment by name; an entry is its difference from its base.

    python -m train.run NAME                                  run it
    python -m train.run NAME --dry-run                        print its whole configuration
    python -m train.run NAME --set loss.style_weight=30 --name mine

`official-*` are the references' own settings; `repro-*` are the founding diary's six runs and the questions it left
open, and those that end in `-laptop` the same for two CPU cores. A new experiment is one entry here.
"""

from typing import Any

from hub_export.architecture import GeneratorConfig
from train.checks import nearest
from train.settings import Experiment, PairsConfig, changed, flat_settings

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


def _register(base: Experiment | None, name: str, question: str, cost: str = "", **sections: Any) -> Experiment:
    """Derives an experiment; `sections` as in `settings.changed`."""
    about = {"name": name, "question": question, "base": base.name if base else None, "cost": cost}
    EXPERIMENTS[name] = changed(base or Experiment(name, question), about | sections)
    return EXPERIMENTS[name]


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
        "warmup": "1 epoch",
        "length": "61 epochs",
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
    "schedule": {
        "warmup": "2 epochs",
        "length": "10 epochs",
        "epoch": "100 steps",
        "warmup_rate": 5e-4,
        "checkpoint_epochs": 2,
    },
    "precision": "float32",  # the same numbers on every machine
}
"""What turns a founding experiment into one for two CPU cores, the same for all of them."""


for _name, _whole in list(EXPERIMENTS.items()):
    if _name.startswith("repro-"):
        _base = EXPERIMENTS.get(f"{_whole.base}-laptop", repro_1)
        _about = {"name": f"{_name}-laptop", "base": _base.name, "question": f"On two CPU cores: {_whole.question}"}
        _about |= {"cost": "half an hour, 2 cores"}
        EXPERIMENTS[f"{_name}-laptop"] = changed(_whole, _about | LAPTOP)
_register(
    EXPERIMENTS["repro-colour-unit-laptop"],
    "repro-projected-laptop",
    "The diary suspected a too strong discriminator. Ours was too weak: does one on frozen features draw anime?",
    cost="18 min, 2 cores",
    discriminator={"kind": "projected", "channels": 128, "sees": "gray"},
    loss={"gray_weight": 0.0},
    schedule={"discriminator_rate": 1e-3},
)

cel = _register(
    None,
    "cel",
    "Does a generator that imitates a painted target, and redraws anime frames, draw where AnimeGAN tints a photo?",
    cost="40 min, 2 cores, shared",
    generator=GeneratorConfig("lite"),
    recipe=PairsConfig(),
    loss={"line_weight": 2.0},
    data={
        "resolution": 0,
        "size": 160,
        "augment": "crop",
        "target": "denoise | flat | dabs | light | lines",
        "redrawn": 0.3,
        "holdout": 48,
    },
    schedule={
        "batch": 8,
        "warmup": "0 steps",
        "length": "2400 steps",
        "epoch": "300 steps",
        "generator_rate": 1.5e-3,
        "decay": "cosine",
        "beta_1": 0.9,
        "beta_2": 0.99,
        "ema": 0.998,
        "checkpoint_epochs": 2,
    },
)
LOOK: dict[str, Any] = {
    "init": "bundled:cel@epoch-008",
    "schedule": {"length": "300 steps", "epoch": "300 steps", "generator_rate": 5e-4, "checkpoint_epochs": 1},
}
"""How another look is learnt by a generator that draws already."""

for _name, _question, _target in (
    (
        "background",
        "Do warm lights, cool darks and few lines give the painted background of a film?",
        "denoise | flat | dabs | light(1.25, 10, 8) | bloom(0.15) | lines(0.3, 1, 0.6)",
    ),
    (
        "sky",
        "Do open shadows and light that spills over give a luminous sky?",
        "denoise | flat | dabs | light(1.7, 30, 1) | bloom(0.6, 16) | lines(0.7, 0.9, 0.7)",
    ),
    (
        "evening",
        "Can a photo of a day be drawn as its evening?",
        "denoise | flat | dabs | light(1.2, 4, 0) | dusk | lines(0.8)",
    ),
):
    _register(cel, _name, _question, data={"target": _target, "redrawn": 0.0}, **LOOK)
_register(
    cel,
    "ink",
    "How well does a generator draw that has seen no anime frame, only photos and a target of shades and heavy lines?",
    data={"target": "denoise | flat | dabs | shades(5) | light(1, 6, 0) | lines(1.6, 1.8, 0.97)", "redrawn": 0.0},
    schedule={"length": "1200 steps"},
)
_register(
    cel,
    "pairs",
    "How near does a small generator come to one's own filter, hand or model, given photos and drawings of them?",
    data={"target": "", "redrawn": 0.0, "holdout": 8},
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
