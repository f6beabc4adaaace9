"""The experiments: the references' values, differences from bases, typed overrides, and errors that name the nearest."""

import dataclasses
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from hub_export.architecture import GeneratorConfig
from hub_export.folder import BUNDLED
from hub_export.record import read_record
from train.experiments import EXPERIMENTS, changes, get_experiment
from train.run import check, configure, main, parser
from train.settings import (
    RENAMED,
    RETIRED,
    AnimeGANConfig,
    DataConfig,
    DiscriminatorConfig,
    Experiment,
    LossConfig,
    changed,
    flat_settings,
    from_dict,
    override,
    parse_value,
    to_dict,
)

ROOT = Path(__file__).parents[1]
EARLIER = json.loads((ROOT / "tests" / "support" / "earlier_records.json").read_text())
"""Of the records that the release archive holds, what is read again: by experiment, as earlier versions wrote it."""
SHIPPED = {record.experiment: dataclasses.asdict(record) for record in map(read_record, BUNDLED.glob("*/*"))}


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
        assert e.generator.architecture == "diary"
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
    measured = {name: record for name, record in (EARLIER | SHIPPED).items() if name in EXPERIMENTS and "-laptop" in name}
    assert len(measured) > 5
    for name, record in measured.items():
        assert flat_settings(from_dict(record["config"])) == flat_settings(get_experiment(name)), name


def test_round_trip_through_json() -> None:
    for experiment in EXPERIMENTS.values():
        assert from_dict(json.loads(json.dumps(to_dict(experiment)))) == experiment
    with pytest.raises(ValueError, match="not an experiment"):
        from_dict({"surprise": 1})
    with pytest.raises(ValueError, match="did you mean animegan"):
        from_dict(to_dict(get_experiment("smoke")) | {"recipe": "animegam"})


@pytest.mark.parametrize("record", [*SHIPPED.values(), *EARLIER.values()], ids=[*SHIPPED, *(f"old {x}" for x in EARLIER)])
def test_the_settings_of_every_version_are_read_or_the_retired_one_is_named(record: dict[str, Any]) -> None:
    config = record["config"]
    assert GeneratorConfig(**record["generator"]).channels == record["generator"]["channels"], "it still draws"
    retired = {
        name: value
        for name, neutral in RETIRED.items()
        if (value := config.get(name.partition(".")[0], {}).get(name.partition(".")[2], neutral)) != neutral
    }
    if not retired:
        experiment = from_dict(config)
        flat = flat_settings(experiment)
        assert experiment.recipe.kind == config.get("recipe", "animegan") and experiment.seed == record["seed"]
        for name, (_, value) in record["changes"].items():
            section = name.partition(".")[0]
            name = f"{section}.{RENAMED[name]}" if name in RENAMED else name
            assert name not in flat or flat[name] == value
        total = experiment.plan(1).total_steps
        assert record["step"] <= total
        return
    with pytest.raises(ValueError, match="retired") as refusal:
        from_dict(config)
    assert any(f"{name}={value} " in str(refusal.value) for name, value in retired.items())


def test_what_differs_is_what_it_was_but_for_the_new_name() -> None:
    for name, record in (EARLIER | SHIPPED).items():
        if name in EXPERIMENTS and name != "repro-1-laptop":  # whose own base was another once
            told = changes(from_dict(record["config"]))
            renamed = {f"{old.partition('.')[0]}.{new}": old for old, new in RENAMED.items()}
            assert {renamed.get(key, key): value for key, value in told.items()} == record["changes"], name


def test_durations_of_earlier_versions() -> None:
    old = to_dict(get_experiment("repro-1"))
    counts = {"warmup_epochs": 5, "epochs": 35, "steps_per_epoch": 450, "warmup_steps": 0, "steps": 0}
    for name in ("warmup", "length", "epoch"):
        del old["schedule"][name]
    del old["recipe"]
    read = from_dict(old | {"schedule": old["schedule"] | counts}).schedule
    assert (read.warmup, read.length, read.epoch) == ("5 epochs", "35 epochs", "450 steps")
    counts |= {"warmup_steps": 300, "steps": 1800, "steps_per_epoch": 0}
    read = from_dict(old | {"schedule": old["schedule"] | counts}).schedule
    assert (read.warmup, read.length, read.epoch) == ("300 steps", "1800 steps", "auto")


def test_override_is_typed_and_records_the_difference() -> None:
    derived = override(get_experiment("repro-1"), ["loss.style_weight=30", "spectral_norm=true", "seed=3"], "mine")
    assert changes(derived) == {"loss.style_weight": [3.0, 30.0], "spectral_norm": [False, True], "seed": [0, 3]}
    assert set(flat_settings(derived)) == set(flat_settings(get_experiment("repro-1")))
    both = ["discriminator.input=gray", "loss.gray_weight=0"]
    first, second = (override(get_experiment("repro-1"), settings, "x").recipe for settings in (both, both[::-1]))
    assert first == second
    assert parse_value("a, b,", tuple[str, ...], "names") == ("a", "b")
    assert parse_value("1,2", tuple[int, ...], "numbers") == (1, 2)
    with pytest.raises(ValueError, match="numbers takes int, got 'x'"):
        parse_value("1,x", tuple[int, ...], "numbers")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["smok"], "did you mean smoke"),
        (["smoke", "--set", "loss.stylewieght=3", "--name", "x"], "did you mean loss.style_weight"),
        (["smoke", "--set", "loss.style_weight", "--name", "x"], "KEY=VALUE"),
        (["smoke", "--set", "loss.style_weight=lots", "--name", "x"], "takes float, got 'lots'"),
        (["smoke", "--set", "loss.style_weight=nan", "--name", "x"], "loss.style_weight must be 0 or more, got nan"),
        (["smoke", "--set", "loss.style_weight=inf", "--name", "x"], "loss.style_weight must be 0 or more, got inf"),
        (["smoke", "--set", "loss.fake_weight=-1", "--name", "x"], "loss.fake_weight must be 0 or more, got -1"),
        (["smoke", "--set", "loss.adversarial=wgan", "--name", "x"], "did you mean .*wgan-gp"),
        (["smoke", "--set", "spectral_norm=maybe", "--name", "x"], "true or false"),
        (["smoke", "--set", "generator.architecture=v9", "--name", "x"], "v1"),
        (["smoke", "--set", "generator.channels=0", "--name", "x"], "generator.channels must be 1 or more, got 0"),
        (["smoke", "--set", "generator.colours=kept", "--name", "x"], "generator.colours=kept is retired"),
        (["smoke", "--set", "discriminator.channels=0", "--name", "x"], "discriminator.channels must be from 2"),
        (["smoke", "--set", "discriminator.layers=0", "--name", "x"], "discriminator.layers must be from 1"),
        (["smoke", "--set", "discriminator.dropout=1", "--name", "x"], "discriminator.dropout must be from 0"),
        (
            ["smoke", "--set", "schedule.generator_rate=-1", "--name", "x"],
            "schedule.generator_rate must be 0 or more, got -1",
        ),
        (["smoke", "--set", "schedule.ema=1", "--name", "x"], "schedule.ema must be from 0"),
        (["smoke", "--set", "schedule.batch=0", "--name", "x"], "schedule.batch must be 1 or more, got 0"),
        (["smoke", "--set", "schedule.warmup=soon", "--name", "x"], 'a duration is written "300 steps"'),
        (["smoke", "--set", "schedule.epoch=2 epochs", "--name", "x"], "schedule.epoch is a number of steps"),
        (["smoke", "--set", "schedule.warmup=3 epochs", "--name", "x"], "leaves nothing of schedule.length='3 epochs'"),
        (["smoke", "--set", "seed=-1", "--name", "x"], "seed must be from 0"),
        (["smoke", "--set", "data.redrawn=2", "--name", "x"], "data.redrawn must be from 0 to 1, got 2"),
        (["smoke", "--set", "data.redrawn=1", "--name", "x"], "name a target, or set data.redrawn to 0"),
        (["smoke", "--set", "data.target=flat | ligth", "--name", "x"], "unknown operation 'ligth': did you mean light"),
        (["smoke", "--set", "data.holdout=-1", "--name", "x"], "data.holdout must be 0 or more, got -1"),
        (["smoke", "--set", "loss.style_weight=3"], "give it a name with --name"),
        (["smoke", "--set", "discriminator.input=gray", "--name", "x"], "add --set loss.gray_weight=0"),
        (["repro-projected-laptop", "--set", "features.network=mobilenetv2", "--name", "x"], "must be vgg19 or hed-vgg16"),
        (["smoke", "--name", "../escape"], "cannot name a run"),
        (["smoke", "--steps", "many"], "takes a total like 600"),
        (["smoke", "--steps", "20+0"], "a warm-up of 20 steps leaves nothing"),
        (["smoke", "--size", "100"], "multiple of 8"),
        (["cyclegan", "--set", "buffer=-1", "--name", "x"], "buffer must be from 0"),
        (["cyclegan", "--set", "loss.cycle_weight=-1", "--name", "x"], "loss.cycle_weight must be 0 or more"),
        (["cyclegan", "--set", "schedule.warmup=5 steps", "--name", "x"], "the recipe cyclegan has no warm-up"),
        (["smoke", "--epochs", "0"], "at least one step"),
    ],
)
def test_bad_command_lines(
    words: list[str], message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ValueError, match=message) as refusal:
        main(parser().parse_args([*words, "--dry-run"]))
    assert capsys.readouterr().out == "" and "\n" not in str(refusal.value)


def test_python_and_files_meet_the_same_checks() -> None:
    with pytest.raises(ValueError, match=r"discriminator\.kind=patsh: did you mean patch"):
        DiscriminatorConfig(kind="patsh")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"loss\.style_weight takes float, got 'x'"):
        LossConfig(style_weight="x")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"data\.size must be a multiple of 8 from 32"):
        DataConfig(size=40 + 1)
    with pytest.raises(ValueError, match=r"add --set loss\.gray_weight=0"):
        AnimeGANConfig(discriminator=DiscriminatorConfig(input="gray"))
    with pytest.raises(ValueError, match="seed must be from 0"):
        from_dict(to_dict(get_experiment("smoke")) | {"seed": -1})
    assert LossConfig(style_weight=3) == LossConfig(style_weight=3.0)
    wide = changed(get_experiment("smoke"), {"generator": GeneratorConfig("v1"), "loss": {"style_weight": 1}})
    assert (wide.generator.channels, flat_settings(wide)["loss.style_weight"]) == (64, 1.0)


def test_shorthand_flags() -> None:
    experiment = configured("repro-1-laptop", "--steps", "300+300", "--size", "96", "--precision", "mixed_bfloat16")
    assert experiment.name == "repro-1-laptop-300-300-steps-96px" and experiment.base == "repro-1-laptop"
    assert (experiment.schedule.warmup, experiment.schedule.length, experiment.data.size) == ("300 steps", "600 steps", 96)
    assert experiment.precision == "mixed_bfloat16"
    assert configured("official-v1", "--steps", "1010").schedule.warmup == "50 steps"
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
