"""The experiments: the references' values, differences from bases, and what the command line makes of them."""

import dataclasses
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from support.records import EVERY, SHIPPED
from train.configuration import changed, flat_settings, from_dict, override, to_dict
from train.experiments import EXPERIMENTS, changes, get_experiment
from train.run import check, configure, parser
from train.settings import AnimeGANConfig, Experiment

ROOT = Path(__file__).parents[1]


def configured(*words: str) -> Experiment:
    arguments = parser().parse_args(words)
    check(arguments)
    return configure(arguments)


def recipe(name: str) -> AnimeGANConfig:
    found = get_experiment(name).recipe
    assert isinstance(found, AnimeGANConfig)
    return found


def test_every_experiment_asks_something_and_differs_from_its_base() -> None:
    for name, experiment in EXPERIMENTS.items():
        assert experiment.name == name and "?" in experiment.question
        assert experiment.base is None or changes(experiment), f"{name} does not differ from its base"


def test_what_the_benchmark_of_a_step_changes_are_settings() -> None:
    from benchmarks.training import experiment  # imports TensorFlow

    for name in ("official-v1", "official-v2-hayao", "repro-1", "repro-1-laptop"):
        found = experiment(name).recipe
        assert isinstance(found, AnimeGANConfig) and found.features.weights == "none"


def test_looks_are_told_in_both_languages_and_are_no_settings() -> None:
    looks = {name: experiment.look for name, experiment in EXPERIMENTS.items() if experiment.look.name}
    assert looks.keys() >= {"cel", "ink", "background", "sky", "evening", "poster"}
    assert not [name for name in looks if name.startswith("repro-")]
    for look in looks.values():
        told = dataclasses.astuple(look)
        assert all(told) and all(map(str.isascii, told[:3])) and not any(map(str.isascii, told[3:]))
    assert len({look.name for look in looks.values()}) == len({look.name_zh for look in looks.values()}) == len(looks)
    mine = configured("ink", "--set", "look.name=My ink", "--name", "mine")
    assert (mine.look.name, mine.look.line) == ("My ink", looks["ink"].line)
    assert from_dict(json.loads(json.dumps(to_dict(mine)))) == mine
    assert flat_settings(mine) == flat_settings(get_experiment("ink")) and changes(mine) == {}
    shipped = {record["experiment"]: record["look"] for record in SHIPPED if record["look"]}
    assert shipped.keys() == looks.keys(), "a person finds what ships as what would be trained"
    assert all(shipped[name] == dataclasses.asdict(look) for name, look in looks.items())


def test_official_values() -> None:
    v1, own = get_experiment("official-v1"), recipe("official-v1")
    assert (v1.generator.architecture, own.features.network, own.discriminator.norm) == ("v1", "vgg19", "instance")
    assert (own.loss.content_weight, own.loss.style_weight, own.loss.colour_weight) == (1.5, 3.0, 10.0)
    assert (own.loss.generator_weight, own.loss.discriminator_weight, own.loss.smooth_weight) == (300.0, 300.0, 0.1)
    assert (v1.schedule.batch, v1.schedule.length, v1.schedule.warmup) == (6, "101 epochs", "5 epochs")
    assert (v1.schedule.warmup_rate, v1.schedule.generator_rate, v1.schedule.discriminator_rate) == (1e-4, 8e-5, 1.6e-4)
    table = {
        "hayao": (1.5, 2.5, 15.0, 1.0, 1.2, 1.2, 1.2, 0.8),
        "paprika": (2.0, 0.6, 50.0, 0.1, 1.0, 1.0, 1.0, 0.005),
        "shinkai": (1.2, 2.0, 10.0, 1.0, 1.7, 1.7, 1.7, 1.0),
    }
    for style, values in table.items():
        loss = recipe(f"official-v2-{style}").loss
        found = (loss.content_weight, loss.style_weight, loss.colour_weight, loss.tv_weight)
        assert (*found, loss.real_weight, loss.fake_weight, loss.gray_weight, loss.smooth_weight) == values


def test_the_diary() -> None:
    table = {  # style, fake weight, feature weights, style and smooth target, colour count, augmentation
        "repro-1": (3.0, 1.0, "pretrained", "gray", "gray", 1, "enlarge-crop"),
        "repro-2": (3.0, 2.5, "pretrained", "gray", "gray", 2, "flip"),
        "repro-3": (30.0, 1.0, "none", "gray", "gray", 2, "flip"),
        "repro-4": (30.0, 1.0, "pretrained", "gray", "gray", 2, "flip"),
        "repro-5": (30.0, 5.0, "pretrained", "gray", "gray", 2, "flip"),
        "repro-6": (30.0, 1.0, "pretrained", "colour", "colour", 2, "flip"),
    }
    for name, values in table.items():
        e, own = get_experiment(name), recipe(name)
        loss = own.loss
        found = (loss.style_weight, loss.fake_weight, own.features.weights, loss.style_target, loss.smooth_target)
        assert (*found, loss.colour_count, e.data.augment) == values
        assert (loss.colour_range, e.schedule.batch, e.data.augment_frames) == ("byte", 2, False)
        assert (own.simultaneous, own.spectral_norm, own.discriminator.spectral_norm) == (True, False, True)
        assert (e.schedule.generator_rate, e.schedule.discriminator_rate) == (1.6e-4, 8e-5)
        assert (e.schedule.epsilon, e.schedule.warmup, e.schedule.length) == (1e-7, "1 epoch", "61 epochs")
        assert (e.schedule.warmup_rate, e.schedule.generator_steps) == (1e-4, 1)
        assert (loss.real_weight, loss.gray_weight, loss.smooth_weight) == (1.0, 1.0, 0.1)
        assert (e.generator.architecture, own.features.network) == ("diary", "mobilenetv2")
    assert changes(get_experiment("repro-colour-unit")) == {"loss.colour_range": ["byte", "unit"]}


def test_on_a_laptop_nothing_but_what_is_asked_differs() -> None:
    laptops = {name: e for name, e in EXPERIMENTS.items() if name.endswith("-laptop") and e.generator.architecture == "lite"}
    assert laptops.keys() > {"repro-4-laptop", "cyclegan-laptop", "cyclegan-edges-laptop"}
    budgets = []
    for name, e in laptops.items():
        whole, base = EXPERIMENTS.get(name.removesuffix("-laptop")), EXPERIMENTS[e.base or ""]
        assert whole is None or e.question == f"On two CPU cores: {whole.question}"
        if name.startswith("repro-") and base.name in laptops:
            asked = changes(e)
            budget = {"loss.colour_count", "features.network"}
            assert whole is None or asked.keys() <= changes(whole).keys() | budget, name
        same = {"warmup": "", "warmup_rate": 0.0, "generator_steps": 1, "generator_rate": 0.0, "discriminator_rate": 0.0}
        schedule = changed(e, {"schedule": {**same, "warmup": "0 steps", "decay": "constant"}}).schedule
        if not name.startswith("official-"):  # which keep the reference's generator and target
            budgets.append((e.generator, e.data, schedule, e.precision, e.seed))
    assert all(budget == budgets[0] for budget in budgets)


def test_what_was_measured_on_a_laptop_can_be_trained_again() -> None:
    """The names of the laptop's runs mean what they meant when their checkpoints were trained."""
    measured = [(name, record) for name, record in EVERY if name in EXPERIMENTS and "-laptop" in name]
    assert len(measured) > 5
    for name, record in measured:
        assert flat_settings(from_dict(record["config"])) == flat_settings(get_experiment(name)), name


def test_shorthand_flags() -> None:
    experiment = configured("repro-1-laptop", "--steps", "300+300", "--size", "96", "--precision", "mixed_bfloat16")
    assert experiment.name == "repro-1-laptop-300-300-steps-96px" and experiment.base == "repro-1-laptop"
    assert (experiment.schedule.warmup, experiment.schedule.length, experiment.data.size) == ("300 steps", "600 steps", 96)
    assert experiment.precision == "mixed_bfloat16"
    assert configured("official-v1", "--steps", "1010").schedule.warmup == "50 steps"
    warm = configured("official-v1", "--set", "schedule.warmup=300 steps", "--steps", "1010", "--name", "warm").schedule
    assert (warm.warmup, warm.length) == ("300 steps", "1010 steps")
    assert configured("smoke") == get_experiment("smoke")


def test_who_starts_from_a_checkpoint_is_not_warmed_up_unless_asked_to() -> None:
    for words in (["--init", "x"], ["--set", "init=x", "--name", "y"]):
        plan = configured("smoke", *words).plan(10)
        assert (plan.warmup_steps, plan.total_steps) == (0, 30)
    assert configured("smoke", "--init", "x", "--steps", "20").plan(10).warmup_steps == 0
    assert configured("smoke", "--init", "x", "--steps", "5+20").plan(10).warmup_steps == 5
    warm = configured("smoke", "--init", "x", "--set", "schedule.warmup=2 epochs", "--name", "y").plan(10)
    assert (warm.warmup_steps, warm.total_steps) == (20, 30)


def test_checkpoints_of_one_schedule_never_share_a_name() -> None:
    for settings in (["schedule.warmup=300 steps", "schedule.epoch=450 steps", "schedule.length=1800 steps"], []):
        e = override(get_experiment("smoke"), settings, "x")
        for steps in ("20+20", "7+93", "450+450"):
            warmup, rest = map(int, steps.split("+"))
            e = override(e, [f"schedule.warmup={warmup}", f"schedule.length={warmup + rest}"], "x")
            plan = e.plan(10)
            due = [step for step in range(1, plan.total_steps + 1) if plan.checkpoint_due(step, 1)]
            names = [plan.checkpoint_name(step) for step in due]
            assert len(set(names)) == len(names) > 1 and plan.total_steps in due and plan.warmup_steps in due
    plan = override(get_experiment("smoke"), ["schedule.warmup=300 steps", "schedule.epoch=450 steps"], "x").plan(1)
    assert [plan.checkpoint_name(step) for step in (300, 450, 900)] == ["step-000300", "epoch-001", "epoch-002"]


@pytest.mark.slow
def test_a_new_experiment_is_one_entry_in_one_file(tmp_path: Path) -> None:
    """What the list, the page of experiments and the command need to know of it is all in that entry."""
    for room in ("train", "hub_export"):
        shutil.copytree(ROOT / room, tmp_path / room, ignore=shutil.ignore_patterns("__pycache__"))
    with open(tmp_path / "train" / "experiments.py", "a", encoding="utf-8") as file:
        file.write('_register(official_v1, "mine", "Is one entry enough?", cost="1 min", seed=7)\n')
    done = subprocess.run(
        [sys.executable, "-m", "train.run", "mine", "--dry-run"], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0 and json.loads(done.stdout)["seed"] == 7, done.stderr
