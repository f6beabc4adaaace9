"""The report of tiny runs: numbers as the records have them, plots of every run, a page whose words stay."""

import dataclasses
import re
import shlex
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from animegan_app.charts import Curves
from benchmarks import report
from benchmarks.report import BEGIN, END, command, generator_course, generator_plot, insert, look, loss_plot, main, parser
from hub_export.architecture import GeneratorConfig
from hub_export.checkpoint import save_checkpoint, write_record
from hub_export.generator import build_generator
from hub_export.record import HISTORY, RECORD, read_record
from support.checkpoints import tiny_record
from train.configuration import override, to_dict
from train.experiments import EXPERIMENTS, changes
from train.run import configure
from train.run import parser as train_parser

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "experiments.md"
ENDS = {"style_photos": 260.0, "style_error_photos": 38.0, "content_photos": 0.0, "style_anime": -6.0, "flat_anime": 0.54}

CHANGE = {"style_change": 10.5, "style_change_error": 4.2}
CHANGE |= {"independent_style_change": 5.0, "independent_style_change_error": 4.2}


def history(steps: int) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = [
        {"step": 10 * n, "phase": "warm-up", "content": 5 / n, "generator": 9 / n} for n in (1, 2, 3)
    ]
    for step in range(40, steps + 1, 10):
        fall_and_rise = 100 + abs(step - 250) / 10
        rows.append({"step": step, "phase": "adversarial", "generator": fall_and_rise, "d_real": 0.46, "d_fake": 0.1})
    return rows


def save_run(folder: Path, styles: tuple[float, ...]) -> Path:
    """A run of the experiment that the folder is named after: a generator for each style distance, last step 600."""
    experiment = EXPERIMENTS[folder.name]
    for number, style in enumerate(styles, 1):
        step = 600 * number // len(styles)
        checkpoint = folder / f"epoch-{number:03d}"
        record = dataclasses.replace(
            tiny_record(checkpoint, base=experiment.base, changes=changes(experiment), step=step, epoch=number),
            config=to_dict(experiment),
            phase="warm-up" if number == 1 else "adversarial",
            metrics={"style": style, "style_error": 3.0, "content": number / 50, "colour": 2.5, "flat": 0.3}
            | {"independent_style": style + 10, "independent_style_error": 4.0, "independent_content": number / 25}
            | ENDS
            | CHANGE,
        )
        generator = build_generator(GeneratorConfig("lite", channels=4))
        save_checkpoint(checkpoint, generator, record, history(step), np.zeros((8, 8, 3), np.uint8))
    shutil.copy(folder / f"epoch-{len(styles):03d}" / HISTORY, folder / HISTORY)
    return folder


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    runs = tmp_path_factory.mktemp("report") / "runs"
    save_run(runs / "repro-1-laptop", (200.0, 120.0))
    save_run(runs / "repro-2-laptop", (200.0, 130.5))
    return runs


@pytest.fixture
def place(original: Path, tmp_path: Path) -> Path:
    """A folder with runs/, photos/ and a page."""
    shutil.copytree(original, tmp_path / "runs")
    (tmp_path / "photos").mkdir()
    Image.effect_noise((96, 64), 60).convert("RGB").save(tmp_path / "photos" / "noise.jpg")
    (tmp_path / "page.md").write_text(f"# Words\n\n{BEGIN}\nold\n{END}\n\nMore words.\n", "utf-8")
    return tmp_path


def write(place: Path, *words: str) -> None:
    runs = [str(place / "runs" / name) for name in ("repro-1-laptop", "repro-2-laptop")]
    main(parser().parse_args([*runs, "--photos", str(place / "photos"), "--page", str(place / "page.md"), *words]))


def cells(text: str, start: str) -> list[str]:
    (row,) = (line for line in text.splitlines() if line.startswith(start))
    return [cell.strip() for cell in row.strip("|").split("|")]


@pytest.mark.slow
def test_the_report_tells_what_the_records_say(place: Path) -> None:
    write(place, "--course", "repro-2-laptop")
    text = (place / "page.md").read_text("utf-8")
    assert text.startswith(f"# Words\n\n{BEGIN}\n") and text.endswith(f"{END}\n\nMore words.\n") and "old" not in text

    first = cells(text, "| `repro-1-laptop` epoch-002 |")
    assert first[1:] == [
        *(f"{len(changes(EXPERIMENTS['repro-1-laptop']))} settings; from repro-1", "120 ± 3", "130 ± 4"),
        *("0.04", "0.08", "2.5", "0.3", ""),
        *("600 of 1,000", "90", "0", "`python -m train.run repro-1-laptop --data DIR`"),
    ]
    second = cells(text, "| `repro-2-laptop` epoch-002 |")
    assert second[1] == "loss.fake_weight 1.0 → 2.5; from repro-1-laptop"
    assert cells(text, "| photos themselves |")[2:5] == ["260 ± 38", "", "0"]
    compared = cells(text, "| `repro-2-laptop` | `repro-1-laptop` |")
    assert compared[2:] == ["loss.fake_weight 1.0 → 2.5", "**+10.5 ± 4.2**", "+5 ± 4.2", "+0.000"]
    course = cells(text, "| `repro-1-laptop` | 1")
    assert course[5] == "falls, then rises" and re.search("at 2[45]0", course[2])
    assert course[6] == "0.46, 0.10 (constant 0.46, 0.10)"

    pictures = re.findall(r"\]\((page/[a-z0-9.-]+)\)", text)
    assert len(pictures) == len(set(pictures)) == 5
    assert {path.name for path in (place / "page").iterdir()} == {Path(name).name for name in pictures}
    for name in pictures:
        with Image.open(place / name) as picture:
            assert picture.width > 200 and np.ptp(np.asarray(picture.convert("L"))) > 100

    write(place)
    assert "The course of `repro-1-laptop`" in (place / "page.md").read_text("utf-8"), "written again in place of the first"


def test_the_plots_show_every_run_in_its_own_colour_everywhere(original: Path) -> None:
    runs = report.read_runs([original / "repro-1-laptop", original / "repro-2-laptop"])
    colours = [look(place)["color"] for place in range(2)]
    plots = [loss_plot(runs), generator_plot(runs), report.plane_plot(runs)]
    for plot in plots:
        (legend,) = plot.legends
        assert [text.get_text() for text in legend.get_texts()] == ["repro-1-laptop", "repro-2-laptop"]
        assert [line.get_color() for line in legend.get_lines()] == colours
        assert set(colours) <= {line.get_color() for axes in plot.axes for line in axes.lines if len(line.get_xdata())}
    assert [axes.get_title(loc="left") for axes in plots[0].axes if axes.get_visible()] == [
        *("content", "d_fake", "d_real", "generator")
    ]
    assert len({(look(place)["color"], look(place)["linestyle"]) for place in range(20)}) == 20


@pytest.mark.parametrize(
    ("values", "verdict"),
    [
        (lambda x: 100 - x, "falls"),
        (lambda x: 100 + x, "rises"),
        (lambda x: 100 + np.abs(x - 40), "falls, then rises"),
        (lambda x: 100 + np.random.default_rng(0).normal(0, 5, len(x)), "stays within the noise"),
    ],
)
def test_how_a_loss_went(values: Any, verdict: str) -> None:
    places = np.arange(100.0)
    random = np.random.default_rng(1).normal(0, 1, 100)
    course = generator_course(Curves({"generator": (10 * places, values(places) + random)}, 0))
    assert course is not None and course.verdict == verdict and 0.5 < course.noise < 7


def test_what_a_constant_answer_costs_a_discriminator() -> None:
    costs = {"repro-1-laptop": "0.46, 0.10", "cyclegan-laptop": "0.25, 0.25", "cyclegan-edges-laptop": "0.44, 0.11"}
    for name, told in costs.items():
        record = dataclasses.replace(tiny_record(Path(name) / "epoch-001"), config=to_dict(EXPERIMENTS[name]))
        assert report._constant(record) == f" (constant {told})"
    assert report._constant(dataclasses.replace(record, config=to_dict(EXPERIMENTS["cel"]))) == ""


def test_five_changed_settings_are_named_and_more_are_counted() -> None:
    projected = dataclasses.replace(
        tiny_record(Path("x") / "epoch-001"), changes=changes(EXPERIMENTS["repro-projected-laptop"])
    )
    named = report.own_difference(projected)
    assert named.count(" → ") == 5 and "discriminator.channels 64 → 128" in named
    assert report.own_difference(projected, most=3) == "5 settings"
    assert report.difference([("discriminator.sees", "colour", "gray")]) == "discriminator.input colour → gray"


def test_the_command_makes_the_same_experiment() -> None:
    changed = override(EXPERIMENTS["repro-1-laptop"], ["loss.fake_weight=0.25", "data.size=64"], "mine")
    for name, experiment in {"repro-4-laptop": EXPERIMENTS["repro-4-laptop"], "mine": changed}.items():
        record = dataclasses.replace(tiny_record(Path(name) / "epoch-001"), config=to_dict(experiment))
        words = shlex.split(command(record))
        made = configure(train_parser().parse_args(words[3:]))
        assert dataclasses.replace(made, question="") == dataclasses.replace(experiment, question="")
    unknown = dataclasses.replace(record, config=record.config | {"name": "mine", "base": "gone"})
    with pytest.raises(ValueError, match="neither mine nor gone is an experiment"):
        command(unknown)


def harm(place: Path, kind: str) -> tuple[str, list[str]]:
    run = place / "runs" / "repro-2-laptop"
    folder = run / "epoch-001"
    record = read_record(folder)
    if kind == "unmeasured":
        write_record(folder, dataclasses.replace(record, metrics={}))
        return f"{folder} is not measured: run `python -m train.evaluate {run} --data DIR`", []
    if kind == "another scale":
        write_record(folder, dataclasses.replace(record, metrics=record.metrics | {"style_anime": 1.0}))
        return "measured on 2 scales", []
    if kind == "no checkpoint":
        shutil.rmtree(run)
        return f"{run} holds no checkpoint", []
    if kind == "no history":
        (run / HISTORY).unlink()
        (run / "epoch-002" / HISTORY).unlink()
        return "history.jsonl is no file", []
    if kind == "no losses":
        (run / HISTORY).write_text('{"step": 10, "phase": "warm-up", "seconds": 1.0}\n', "utf-8")
        return f"{run}: its history holds no losses; repro-2-laptop is trained by `python -m train.run repro-2", []
    if kind == "damaged":
        (folder / RECORD).write_text("{", "utf-8")
        return "not valid JSON", []
    if kind == "no markers":
        (place / "page.md").write_text(f"{END}\n{BEGIN}\n", "utf-8")
        return "must have the line", []
    if kind == "no page":
        return "there is no /nowhere.md", ["--page", "/nowhere.md"]
    if kind == "no photos":
        return "holds no JPEG, PNG or WebP", ["--photos", str(run)]
    return "is none of the runs: choose from repro-1-laptop", ["--course", "mine"]


@pytest.mark.parametrize(
    "kind",
    [
        *("unmeasured", "another scale", "no checkpoint", "no history", "no losses", "damaged", "no markers", "no page"),
        *("no photos", "no such course"),
    ],
)
def test_what_is_missing_is_said_in_a_sentence_and_nothing_is_written(place: Path, kind: str) -> None:
    message, words = harm(place, kind)
    before = (place / "page.md").read_text("utf-8")
    with pytest.raises(ValueError, match=re.escape(message)) as refusal:
        write(place, *words)
    assert "\n" not in str(refusal.value)
    assert (place / "page.md").read_text("utf-8") == before and not (place / "page").exists()


def test_the_page_itself() -> None:
    text = PAGE.read_text("utf-8")
    assert insert(text, "x", PAGE) != text
    commands = re.findall(r"python -m train\.run [^`\n]+", text)
    assert len(commands) >= 10
    for words in map(shlex.split, commands):
        configure(train_parser().parse_args(words[3:]))
    for target in re.findall(r"\]\(([^)#]+)\)", text):
        assert target.startswith("https://") or (PAGE.parent / target).exists(), target
    assert all(name in EXPERIMENTS for name in re.findall(r"repro-[a-z0-9-]+-laptop", text))
