"""Curves, planes and differences from records and histories on disk."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from animegan_app import charts as module
from animegan_app.catalog import Offer
from animegan_app.charts import (
    LEGEND_ROW,
    Curves,
    differences,
    loss_figure,
    plane_figure,
    read_curves,
    scales,
    smoothed,
    with_measured,
)
from hub_export.record import HISTORY, CheckpointError, Record

WORDS = {"content": "content", "style": "style", "photos": "photos", "anime": "anime", "point": "%{x}", "warm-up": "预热"}


def record(checkpoint: str = "epoch-001", **changes: Any) -> Record:
    values: dict[str, Any] = {
        "experiment": "tiny",
        "checkpoint": checkpoint,
        "question": "What?",
        "base": None,
        "changes": {},
        "config": {},
        "generator": {"architecture": "lite", "channels": 8},
        "phase": "adversarial",
        "epoch": int(checkpoint[-3:]),
        "step": 100 * int(checkpoint[-3:]),
        "seed": 0,
        "data": {"photos": 1, "anime": 1, "source": "", "terms": ""},
        "compute": {"device": "a CPU", "seconds": 1, "images": 1, "precision": "float32"},
        "libraries": {},
    }
    return Record(**values | changes)


def write(folder: Path, rows: list[dict[str, Any]]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / HISTORY).write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def row(step: int, phase: str = "adversarial", **terms: Any) -> dict[str, Any]:
    return {"step": step, "epoch": 1, "phase": phase, **terms}


def test_terms_have_their_own_steps_in_order(tmp_path: Path) -> None:
    rows = [row(10, "warm-up", content=3.0), row(30, style=0.5, content=1.0), row(20, content=2.0, note="text")]
    found = read_curves(write(tmp_path / "epoch-001", rows))
    assert found.warmup == 10 and set(found.terms) == {"content", "style"}
    np.testing.assert_array_equal(found.terms["content"], [[10, 20, 30], [3, 2, 1]])
    np.testing.assert_array_equal(found.terms["style"], [[30], [0.5]])


def test_a_run_in_progress_is_ahead_of_its_newest_checkpoint(tmp_path: Path) -> None:
    folder = write(tmp_path / "run" / "epoch-001", [row(10, content=1.0)])
    assert read_curves(folder).terms["content"][0].tolist() == [10]
    write(tmp_path / "run", [row(10, content=1.0), row(20, content=0.5)])
    assert read_curves(folder).terms["content"][0].tolist() == [10, 20]
    write(tmp_path / "run", [row(10, content=1.0), row(20, content=0.5), row(30, content=0.4)])
    assert read_curves(folder).terms["content"][0].tolist() == [10, 20, 30]
    with open(tmp_path / "run" / HISTORY, "a") as file:
        file.write('{"step": 4')  # a line that is just being written, or was cut by a kill
    assert read_curves(folder).terms["content"][0].tolist() == [10]


@pytest.mark.parametrize("text", [None, "no JSON", '{"step": "ten"}', '{"step": 1, "content": NaN}', "[]", "{}"])
def test_a_bad_history_is_a_sentence(tmp_path: Path, text: str | None) -> None:
    folder = tmp_path / "epoch-001"
    folder.mkdir()
    if text is not None:
        (folder / HISTORY).write_text(text)
    with pytest.raises(CheckpointError, match=f"epoch-001: {HISTORY} "):
        read_curves(folder)


def test_a_long_history_with_many_terms_is_bounded(tmp_path: Path) -> None:
    rows = [row(step, content=step, **{f"t{step % 300}": 1}) for step in range(1, 20_001)]
    found = read_curves(write(tmp_path / "epoch-001", rows))
    assert len(found.terms) == module.MAX_TERMS
    steps, values = found.terms["content"]
    assert len(steps) == module.MAX_POINTS
    np.testing.assert_allclose(steps, values)
    assert steps[0] == np.mean(range(1, 51)) and steps[-1] == np.mean(range(19_951, 20_001))


def test_measured_figures_join_the_history(tmp_path: Path) -> None:
    logged = read_curves(write(tmp_path / "epoch-001", [row(100, eval_style=9.0), row(200, eval_style=8.0)]))
    metrics = {"style": 5.0, "style_error": 1.0, "style_photos": 90.0, "style_anime": 0.0}
    found = with_measured(logged, [record("epoch-002", metrics=metrics), record("epoch-003", metrics={"style": 4.0})])
    assert set(found.terms) == {"eval_style"}
    np.testing.assert_array_equal(found.terms["eval_style"], [[100, 200, 300], [9, 5, 4]])
    assert logged.terms["eval_style"][1].tolist() == [9, 8], "what is cached stays as it was"


def test_smoothed_against_plain_means() -> None:
    values = np.random.default_rng(0).normal(size=17)
    expected = [values[max(0, place - 3) : place + 4].mean() for place in range(17)]
    np.testing.assert_allclose(smoothed(values, 3), expected)
    np.testing.assert_allclose(smoothed(values, 0), values)
    np.testing.assert_allclose(smoothed(values[:1], 20), values[:1])


def test_a_chart_for_each_term_with_all_experiments() -> None:
    steps = np.array([1.0, 2.0, 3.0])
    one = Curves({"content": (steps, steps), "<b>": (steps, steps), "eval_style": (steps, -steps)}, warmup=2)
    other = Curves({"content": (steps, 2 * steps)}, warmup=0)
    figure = loss_figure({"one": one, "<i>other": other}, ["content", "<b>", "eval_style"], logarithmic=True, reach=1)
    traces = [(trace["name"], trace["yaxis"], trace["showlegend"]) for trace in figure["data"]]
    assert traces == [
        ("one", "y1", True),
        ("&lt;i&gt;other", "y1", True),
        ("one", "y2", False),
        ("one", "y3", False),
    ]
    assert figure["data"][0]["y"] == [1.5, 2, 2.5], "smoothed"
    assert figure["data"][3]["y"] == [-1, -2, -3], "measured, as it is"
    assert [note["text"] for note in figure["layout"]["annotations"]] == ["content", "&lt;b&gt;", "eval_style"]
    domains = [figure["layout"][f"yaxis{number}"]["domain"] for number in (1, 2, 3)]
    assert all(low < high for low, high in domains) and domains[0][0] > domains[1][1] > domains[1][0] > domains[2][1]
    assert {figure["layout"][f"yaxis{number}"]["type"] for number in (1, 2, 3)} == {"log"}
    assert [shape["x0"] for shape in figure["layout"]["shapes"]] == [2, 2, 2], "where one's warm-up ends"
    json.dumps(figure, allow_nan=False)


def test_the_plane_holds_every_measured_checkpoint_and_both_ends() -> None:
    ends = {"style_photos": 260.0, "style_anime": -5.0}
    offers = [
        Offer("local", "tiny", record("epoch-001", phase="warm-up", metrics={"style": 200.0, "content": 0.05} | ends)),
        Offer("local", "tiny", record("epoch-002", metrics={"style": 90.0, "content": 0.1, "style_error": 7.0} | ends)),
        Offer("local", "tiny", record("epoch-003")),
    ]
    other = [Offer("hub", "you/x", record("epoch-001", metrics={"style": 80.0}))]
    figure = plane_figure({"tiny": offers, "x": other}, WORDS)
    course, photos = figure["data"]
    assert (course["x"], course["y"]) == ([0.05, 0.1], [200, 90])
    assert course["customdata"] == ["local/tiny/epoch-001", "local/tiny/epoch-002"]
    assert course["error_y"]["array"] == [0, 7]
    assert course["text"] == ["epoch-001 · 预热", "epoch-002 · adversarial"]
    assert course["marker"]["symbol"] == ["circle-open", "circle"]
    assert (photos["x"], photos["y"]) == ([0], [260])
    assert [shape["y0"] for shape in figure["layout"]["shapes"]] == [-5]
    assert plane_figure({"x": other}, WORDS)["data"] == []


def test_the_plane_is_the_independent_network_s_where_all_were_measured_in_it() -> None:
    figures = {"style": 90.0, "style_photos": 260.0, "style_anime": -5.0, "content": 0.1}
    independent = {"independent_style": 120.0, "independent_style_error": 9.0, "independent_content": 0.2}
    independent |= {"independent_style_photos": 270.0, "independent_style_anime": -8.0}
    words = WORDS | {"independent_style": "its style", "independent_content": "its content"}
    both = [Offer("local", "tiny", record(metrics=figures | independent)), Offer("local", "tiny", record("epoch-002"))]
    figure = plane_figure({"tiny": both}, words)
    course, photos = figure["data"]
    assert (course["x"], course["y"], course["error_y"]["array"]) == ([0.2], [120], [9])
    assert photos["y"] == [270] and figure["layout"]["shapes"][0]["y0"] == -8
    assert figure["layout"]["xaxis"]["title"]["text"] == "its content"
    assert figure["layout"]["yaxis"]["title"]["text"] == "its style"
    figure = plane_figure({"tiny": both, "old": [Offer("local", "old", record(metrics=figures))]}, words)
    assert [trace["y"] for trace in figure["data"]] == [[90], [90], [260]], "figures of one network only"
    assert figure["layout"]["yaxis"]["title"]["text"] == "style"


def test_two_dozen_experiments_look_different_and_more_are_drawn_too() -> None:
    offer = Offer("local", "tiny", record("epoch-001", metrics={"style": 200.0, "content": 0.05}))
    figure, one = (plane_figure({f"experiment {number}": [offer] for number in range(count)}, WORDS) for count in (30, 1))
    assert figure["layout"]["height"] == one["layout"]["height"] + 15 * LEGEND_ROW, "the plot itself keeps its height"
    traces = figure["data"]
    looks = [(trace["marker"]["color"], trace["marker"]["symbol"][0]) for trace in traces]
    assert len(looks) == 30 and len(set(looks[:24])) == 24


def test_scales_are_told_apart_by_their_ends() -> None:
    def measured(checkpoint: str, photos: float, sentence: str) -> Offer:
        metrics = {"style": 1.0, "style_photos": photos, "style_anime": -5.0}
        return Offer("local", "tiny", record(checkpoint, metrics=metrics, data={"measured": sentence}))

    offers = [
        measured("epoch-001", 260.0, "48 photos"),
        measured("epoch-002", 260.0, "48 photos (same network as trained against)"),
        Offer("local", "tiny", record("epoch-003", data={"measured": "nothing"})),
    ]
    same = {"48 photos": ["one", "other"], "48 photos (same network as trained against)": ["one"]}
    assert scales({"one": [*offers, *offers], "other": offers[:1]}) == [same]
    assert scales({"one": offers, "other": offers[:1], "third": [measured("epoch-004", 149.0, "6 photos")]}) == [
        same,
        {"6 photos": ["third"]},
    ]


def test_only_settings_that_differ_are_told() -> None:
    one = {"name": "a", "seed": 0, "init": "", "loss": {"style_weight": 3.0, "deep": {"x": [1, 2]}}}
    other = {"name": "b", "seed": 0, "init": "y" * 900, "loss": {"style_weight": 10.0, "deep": {"x": [1, 2]}, "new": True}}
    assert differences(record(config=one), record(config=other)) == [
        ("init", "", "y" * module.MAX_SETTING + "…"),
        ("loss.new", "", "true"),
        ("loss.style_weight", "3.0", "10.0"),
    ]
    assert differences(record(config=one), record(config=one)) == []
    nested: dict[str, Any] = {}
    for _ in range(2000):
        nested = {"a": nested}
    assert differences(record(config=nested), record(config={})) == []
