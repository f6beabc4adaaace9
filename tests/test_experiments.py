"""The registry: recipe values, derivation, typed overrides, and errors that name the nearest."""

import dataclasses
import json

import pytest

from train.experiments import EXPERIMENTS, changes, flatten, from_dict, get_experiment, override
from train.run import check, configure, parser

NAMES = [
    "official-v1 official-v2-hayao official-v2-paprika official-v2-shinkai",
    "repro-1 repro-2 repro-3 repro-4 repro-5 repro-6",
    "repro-fake-half repro-dropout repro-steps-3to1 repro-colour-unit fast-hayao fast-hayao-faithful fast-hayao-vivid",
    "fast-hayao-styled smoke",
    "hayao-gpu hayao-gpu-gray hayao-gpu-patch hayao-gpu-painted hayao-gpu-style hayao-clear hayao-lines hayao-night",
    "repro-1-laptop repro-2-laptop repro-3-laptop repro-4-laptop repro-5-laptop repro-6-laptop repro-fake-half-laptop",
    "repro-dropout-laptop repro-steps-3to1-laptop repro-colour-unit-laptop repro-projected-laptop",
]


def configured(*words: str) -> object:
    arguments = parser().parse_args(words)
    check(arguments)
    return configure(arguments)


def test_every_experiment_is_there_and_asks_something() -> None:
    assert sorted(EXPERIMENTS) == sorted(" ".join(NAMES).split())
    for name, experiment in EXPERIMENTS.items():
        assert experiment.name == name and "?" in experiment.question
        assert experiment.base is None or changes(experiment), f"{name} does not differ from its base"


def test_official_values() -> None:
    v1 = get_experiment("official-v1")
    assert (v1.generator.architecture, v1.features.network, v1.discriminator.norm) == ("v1", "vgg19", "instance")
    assert (v1.loss.content_weight, v1.loss.style_weight, v1.loss.colour_weight) == (1.5, 3.0, 10.0)
    assert (v1.loss.generator_weight, v1.loss.discriminator_weight, v1.loss.smooth_weight) == (300.0, 300.0, 0.1)
    assert (v1.schedule.batch, v1.schedule.epochs, v1.schedule.warmup_epochs) == (6, 101, 5)
    assert (v1.schedule.warmup_rate, v1.schedule.generator_rate, v1.schedule.discriminator_rate) == (1e-4, 8e-5, 1.6e-4)
    table = {
        "hayao": (1.5, 2.5, 15.0, 1.0, 1.2, 1.2, 1.2, 0.8),
        "paprika": (2.0, 0.6, 50.0, 0.1, 1.0, 1.0, 1.0, 0.005),
        "shinkai": (1.2, 2.0, 10.0, 1.0, 1.7, 1.7, 1.7, 1.0),
    }
    for style, values in table.items():
        loss = get_experiment(f"official-v2-{style}").loss
        found = (loss.content_weight, loss.style_weight, loss.colour_weight, loss.tv_weight)
        assert (*found, loss.real_weight, loss.fake_weight, loss.gray_weight, loss.smooth_weight) == values


def test_the_diary() -> None:
    table = {  # style, fake weight, feature weights, style target
        "repro-1": (3.0, 1.0, "pretrained", "gray"),
        "repro-2": (3.0, 2.5, "pretrained", "gray"),
        "repro-3": (30.0, 1.0, "none", "gray"),
        "repro-4": (30.0, 1.0, "pretrained", "gray"),
        "repro-5": (30.0, 5.0, "pretrained", "gray"),
        "repro-6": (30.0, 1.0, "pretrained", "colour"),
    }
    for name, values in table.items():
        e = get_experiment(name)
        assert (e.loss.style_weight, e.loss.fake_weight, e.features.weights, e.loss.style_target) == values
        assert (e.loss.colour_range, e.loss.colour_count, e.schedule.batch, e.data.augment) == ("byte", 2, 2, "flip")
        assert (e.schedule.generator_rate, e.schedule.discriminator_rate) == (1.6e-4, 8e-5)
    assert changes(get_experiment("repro-colour-unit")) == {
        "loss.colour_range": ["byte", "unit"],
        "loss.colour_count": [2, 1],
    }


def test_a_laptop_keeps_the_difference_that_is_asked_about() -> None:
    laptops = [name for name in EXPERIMENTS if name.startswith("repro-") and name.endswith("-laptop")]
    for name in laptops:
        whole = EXPERIMENTS.get(name.removesuffix("-laptop"))
        if whole and name != "repro-1-laptop":
            assert changes(get_experiment(name)) == changes(whole), name
    budgets = [
        (e.generator, e.data, dataclasses.replace(e.schedule, generator_steps=1, discriminator_rate=0), e.seed)
        for e in map(get_experiment, laptops)
    ]
    assert len(laptops) == 11 and budgets.count(budgets[0]) == 11


def test_round_trip_through_json() -> None:
    for experiment in EXPERIMENTS.values():
        assert from_dict(json.loads(json.dumps(dataclasses.asdict(experiment)))) == experiment
    with pytest.raises(ValueError, match="not an experiment"):
        from_dict({"surprise": 1})


def test_override_is_typed_and_records_the_difference() -> None:
    derived = override(get_experiment("repro-1"), ["loss.style_weight=30", "spectral_norm=false", "seed=3"], "mine")
    assert changes(derived) == {"loss.style_weight": [3.0, 30.0], "spectral_norm": [True, False], "seed": [0, 3]}
    assert set(flatten(derived)) == set(flatten(get_experiment("repro-1")))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["fast-hayo"], "did you mean fast-hayao"),
        (["smoke", "--set", "loss.stylewieght=3", "--name", "x"], "did you mean loss.style_weight"),
        (["smoke", "--set", "loss.style_weight", "--name", "x"], "KEY=VALUE"),
        (["smoke", "--set", "loss.style_weight=lots", "--name", "x"], "takes float, got 'lots'"),
        (["smoke", "--set", "loss.adversarial=wgan", "--name", "x"], "did you mean .*wgan-gp"),
        (["smoke", "--set", "spectral_norm=maybe", "--name", "x"], "true or false"),
        (["smoke", "--set", "generator.architecture=v9", "--name", "x"], "v1"),
        (["smoke", "--set", "loss.style_weight=3"], "give it a name with --name"),
        (["smoke", "--set", "discriminator.sees=gray", "--name", "x"], "add --set loss.gray_weight=0"),
        (["fast-hayao", "--set", "features.network=mobilenetv2", "--name", "x"], "must be vgg19 or hed-vgg16"),
        (["smoke", "--name", "../escape"], "cannot name a run"),
        (["smoke", "--steps", "many"], "takes a total like 600"),
        (["smoke", "--size", "100"], "multiple of 8"),
        (["smoke", "--epochs", "0"], "at least 1"),
    ],
)
def test_bad_command_lines(words: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        configured(*words)


def test_shorthand_flags() -> None:
    experiment = configured("fast-hayao", "--steps", "300+300", "--size", "96", "--precision", "float32")
    assert experiment.name == "fast-hayao-300-300-steps-96px" and experiment.base == "fast-hayao"
    assert (experiment.schedule.warmup_steps, experiment.schedule.steps, experiment.data.size) == (300, 600, 96)
    assert experiment.precision == "float32"
    assert configured("official-v1", "--steps", "1010").schedule.warmup_steps == 50
    assert configured("fast-hayao") == get_experiment("fast-hayao")
