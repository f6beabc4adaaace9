"""Settings from the command line, files and records of every version: typed, checked, and named where they are wrong."""

import json
from typing import Any

import pytest

from hub_export.architecture import GeneratorConfig
from support.records import EVERY
from train.configuration import RENAMED, RETIRED, changed, flat_settings, from_dict, override, to_dict
from train.experiments import EXPERIMENTS, changes, get_experiment
from train.run import main, parser
from train.settings import AnimeGANConfig, DataConfig, DiscriminatorConfig, LossConfig


def test_round_trip_through_json() -> None:
    for experiment in EXPERIMENTS.values():
        assert from_dict(json.loads(json.dumps(to_dict(experiment)))) == experiment
    with pytest.raises(ValueError, match="not an experiment"):
        from_dict({"surprise": 1})
    with pytest.raises(ValueError, match="did you mean animegan"):
        from_dict(to_dict(get_experiment("smoke")) | {"recipe": "animegam"})


@pytest.mark.parametrize(
    "record", [record for _, record in EVERY], ids=[f"{name} {record['step']}" for name, record in EVERY]
)
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
    for name, record in EVERY:
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


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["smok"], "did you mean smoke"),
        (["smoke", "--set", "loss.stylewieght=3", "--name", "x"], "did you mean loss.style_weight"),
        (["smoke", "--set", "loss.style_weight", "--name", "x"], "KEY=VALUE"),
        (["smoke", "--set", "loss.style_weight=lots", "--name", "x"], "takes float, got 'lots'"),
        (["smoke", "--set", "loss.style_weight=nan", "--name", "x"], "loss.style_weight must be 0 or more, got nan"),
        (["smoke", "--set", "loss.style_weight=inf", "--name", "x"], "loss.style_weight must be 0 or more, got inf"),
        (["smoke", "--set", f"loss.style_weight=1{400 * '0'}", "--name", "x"], "loss.style_weight must be"),
        (["smoke", "--set", "loss.fake_weight=-1", "--name", "x"], "loss.fake_weight must be 0 or more, got -1"),
        (["smoke", "--set", f"schedule.batch=1{400 * '0'}", "--name", "x"], r"schedule.batch must be from 1 to 65536"),
        (["smoke", "--set", "schedule.epsilon=0", "--name", "x"], "schedule.epsilon must be 1e-12 or more, got 0"),
        (["smoke", "--set", "data.resolution=1", "--name", "x"], "data.resolution must be from 32 to 2048, got 1"),
        (["smoke", "--set", "data.size=4096", "--name", "x"], "data.size must be from 32 to 2048, got 4096"),
        (
            ["smoke", *(f"--set=loss.{name}_weight=0" for name in ("real", "fake", "gray", "smooth")), "--name", "x"],
            "leave the discriminator no picture",
        ),
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
        (["smoke", "--set", "schedule.batch=0", "--name", "x"], "schedule.batch must be from 1 to 65536, got 0"),
        (["smoke", "--set", "schedule.warmup=soon", "--name", "x"], 'a duration is written "300 steps"'),
        (["smoke", "--set", "schedule.epoch=2 epochs", "--name", "x"], "schedule.epoch is a number of steps"),
        (["smoke", "--set", "schedule.warmup=3 epochs", "--name", "x"], "leaves nothing of schedule.length='3 epochs'"),
        (["smoke", "--set", "seed=-1", "--name", "x"], "seed must be from 0"),
        (["smoke", "--set", "data.redrawn=2", "--name", "x"], "data.redrawn must be from 0 to 1, got 2"),
        (["smoke", "--set", "data.redrawn=1", "--name", "x"], "name a target, or set data.redrawn to 0"),
        (["smoke", "--set", "data.signs=1", "--name", "x"], "name a target, or set data.signs to 0"),
        (["smoke", "--set", "data.resolution=64", "--set", "data.enlarged=1", "--name", "x"], "set data.resolution to 0"),
        (["smoke", "--set", "data.target=flat | ligth", "--name", "x"], "unknown operation 'ligth': did you mean light"),
        (["smoke", "--set", "data.holdout=-1", "--name", "x"], "data.holdout must be 0 or more, got -1"),
        (["smoke", "--set", "loss.style_weight=3"], "give it a name with --name"),
        (["smoke", "--set", "discriminator.input=gray", "--name", "x"], "add --set loss.gray_weight=0"),
        (["repro-projected-laptop", "--set", "features.network=mobilenetv2", "--name", "x"], "must be vgg19 or hed-vgg16"),
        (["smoke", "--name", "../escape"], "cannot name a run"),
        (["smoke", "--steps", "many"], "takes a total like 600"),
        (["smoke", "--steps", "20+0"], "a warm-up of 20 steps leaves nothing"),
        (["smoke", "--steps", "20+20", "--epochs", "3"], "schedule.length is set by --steps and by --epochs: leave one"),
        (
            ["smoke", "--set", "schedule.warmup=5", "--steps", "20+20", "--name", "x"],
            "schedule.warmup is set by --set and by --steps",
        ),
        (["smoke", "--set", "schedule.length=9", "--steps", "20", "--name", "x"], "schedule.length is set by --set and by"),
        (["smoke", "--set", "data.size=64", "--size", "32", "--name", "x"], "data.size is set by --set and by --size"),
        (["smoke", "--set", "init=a", "--init", "b", "--name", "x"], "init is set by --set and by --init"),
        (
            ["smoke", "--set", "precision=auto", "--precision", "float32", "--name", "x"],
            "precision is set by --set and by --precision",
        ),
        (["smoke", "--set", "seed=1", "--set", "seed=2", "--name", "x"], "seed is set by --set and by --set"),
        (["smoke", "--size", "100"], "multiple of 8"),
        (["cyclegan", "--set", "buffer=-1", "--name", "x"], "buffer must be from 0"),
        (["cyclegan", "--set", "loss.cycle_weight=-1", "--name", "x"], "loss.cycle_weight must be 0 or more"),
        (["cyclegan", "--set", "schedule.warmup=5 steps", "--name", "x"], "the recipe cyclegan has no warm-up"),
        (
            ["cyclegan", "--set", "schedule.generator_steps=2", "--name", "x"],
            "in the recipe cyclegan all networks step together",
        ),
        (["smoke", "--epochs", "0"], "at least one step"),
        (["cel", "--set", f"look.name={'x' * 25}", "--name", "x"], "look.name holds a text of more than 24 characters"),
        (["cel", "--set", "look.nam=x", "--name", "x"], "did you mean look.name"),
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
    with pytest.raises(ValueError, match=r"data\.size must be a multiple of 8, got 41"):
        DataConfig(size=40 + 1)
    with pytest.raises(ValueError, match=r"add --set loss\.gray_weight=0"):
        AnimeGANConfig(discriminator=DiscriminatorConfig(input="gray"))
    with pytest.raises(ValueError, match="seed must be from 0"):
        from_dict(to_dict(get_experiment("smoke")) | {"seed": -1})
    assert LossConfig(style_weight=3) == LossConfig(style_weight=3.0)
    wide = changed(get_experiment("smoke"), {"generator": GeneratorConfig("v1"), "loss": {"style_weight": 1}})
    assert (wide.generator.channels, flat_settings(wide)["loss.style_weight"]) == (64, 1.0)


def test_a_whole_number_that_no_float_holds_is_told() -> None:
    with pytest.raises(ValueError, match="style_weight is larger than a float can be"):
        LossConfig(style_weight=10**5000)
